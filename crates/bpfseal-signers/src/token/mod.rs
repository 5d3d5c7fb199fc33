//! Keys in a token, by PKCS#11: smart cards, HSMs.
//!
//! The digest is computed here, the token signs it; the key never leaves it.

mod uri;

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use bpfseal_seal::{
    Certificate, DigestAlgorithm, KeyAlgorithm, KeyError, Secret, Signer, ecdsa_to_der, hex,
};
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use cryptoki::types::RawAuthPin;

pub use uri::{TokenUri, UriError};

bpfseal_object::debug_as_chain!(TokenError);

/// Where the module is, when the URI does not say it: as other tools have it.
const MODULE_VARIABLE: &str = "PKCS11_MODULE_PATH";
/// The module that stands for all that the system knows.
const MODULE: &str = "p11-kit-proxy.so";
/// Most bytes of a file with a PIN that are read.
const MAX_PIN_FILE: u64 = 4096;

/// Why a token does not sign.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The certificate's key is one that tokens do not sign with.
    #[error("the certificate's key is of a kind that is not signed with through PKCS#11")]
    Algorithm,
    /// A static program can load no module.
    #[error("this build of bpfseal is static, and can load no PKCS#11 module")]
    Static,
    /// The module could not be loaded.
    #[error("module `{}`: {reason}", path.display())]
    Module {
        /// Its path.
        path: PathBuf,
        /// What the system or the module says.
        reason: String,
    },
    /// There is no such token.
    #[error("no token {wanted}; {}", there(.found, "there is none", "there are"))]
    NoToken {
        /// What the URI asks for.
        wanted: String,
        /// The tokens that there are.
        found: Vec<String>,
    },
    /// There is more than one such token.
    #[error("more than one token is {wanted}; {}", there(.found, "there is none", "there are"))]
    ManyTokens {
        /// What the URI asks for.
        wanted: String,
        /// The tokens that there are.
        found: Vec<String>,
    },
    /// The file with the PIN could not be read.
    #[error("pin-source `{}`", path.display())]
    PinSource {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The token asks for a PIN.
    #[error("token `{token}` wants a PIN, and none was given")]
    NoPin {
        /// The token.
        token: String,
    },
    /// The PIN is wrong.
    #[error("the PIN is not that of token `{token}`")]
    WrongPin {
        /// The token.
        token: String,
    },
    /// The PIN is locked.
    #[error("the PIN of token `{token}` is locked, after too many wrong ones")]
    LockedPin {
        /// The token.
        token: String,
    },
    /// The token was never given a PIN.
    #[error("token `{token}` has no PIN yet")]
    UnsetPin {
        /// The token.
        token: String,
    },
    /// There is no such key.
    #[error("token `{token}` has no private key {wanted}; {}", there(.found, "it has none", "it has"))]
    NoKey {
        /// The token.
        token: String,
        /// What the URI asks for.
        wanted: String,
        /// The keys that it has.
        found: Vec<String>,
    },
    /// There is more than one such key.
    #[error(
        "token `{token}` has more than one private key {wanted}; {}",
        there(.found, "it has none", "it has")
    )]
    ManyKeys {
        /// The token.
        token: String,
        /// What the URI asks for.
        wanted: String,
        /// The keys that it has.
        found: Vec<String>,
    },
    /// The token, or its module, refused a call.
    #[error("{}{reason}", .token.as_ref().map_or_else(String::new, |token| format!("token `{token}`: ")))]
    Call {
        /// The token, if it is known already.
        token: Option<String>,
        /// What it says.
        reason: String,
    },
}

fn there(found: &[String], none: &str, some: &str) -> String {
    if found.is_empty() {
        none.to_owned()
    } else {
        format!("{some} {}", found.join(", "))
    }
}

/// A private key in a token.
pub struct TokenSigner {
    /// For messages.
    name: String,
    algorithm: KeyAlgorithm,
    public_key: Vec<u8>,
    key: ObjectHandle,
    session: Mutex<Session>,
}

impl std::fmt::Debug for TokenSigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenSigner")
            .field("name", &self.name)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

impl TokenSigner {
    /// Finds the key that a URI names, for a certificate. `pin` is asked for the PIN where the URI
    /// does not say in which file it is.
    ///
    /// # Errors
    /// [`TokenError`], or what `pin` fails with.
    pub fn open<E: From<TokenError>>(
        uri: &TokenUri,
        certificate: &Certificate,
        pin: impl FnOnce() -> Result<Option<Secret>, E>,
    ) -> Result<Self, E> {
        let algorithm = certificate
            .key_algorithm()
            .filter(|algorithm| !matches!(algorithm, KeyAlgorithm::MlDsa(_)))
            .ok_or(TokenError::Algorithm)?;
        let module = load_module(uri)?;
        let (slot, token) = find_token(&module, uri)?;
        let session = module.open_ro_session(slot).map_err(|e| call(&e))?;
        let pin = match &uri.pin_source {
            Some(path) => Some(pin_file(path)?),
            None => pin()?,
        };
        log_in(&session, &token, pin.as_ref())?;
        let key = find_key(&session, &token, uri)?;
        Ok(Self {
            name: format!("token `{}`", token.label()),
            algorithm,
            public_key: certificate.public_key().to_vec(),
            key,
            session: Mutex::new(session),
        })
    }
}

/// The PIN in the first line of a file.
fn pin_file(path: &Path) -> Result<Secret, TokenError> {
    let fault = |source| TokenError::PinSource {
        path: path.to_owned(),
        source,
    };
    // All at once, so that no copy is left where the buffer was before it grew.
    let mut bytes = Vec::with_capacity(MAX_PIN_FILE as usize);
    let mut file = std::fs::File::open(path).map_err(fault)?.take(MAX_PIN_FILE);
    let read = file.read_to_end(&mut bytes);
    let secret = Secret::new(bytes);
    read.map_err(fault)?;
    Ok(secret.first_line())
}

fn call(error: &Error) -> TokenError {
    TokenError::Call {
        token: None,
        reason: say(error),
    }
}

/// An error in few words: those of the library explain the standard.
fn say(error: &Error) -> String {
    match error {
        Error::Pkcs11(code, function) => format!("{function}: {code:?}"),
        other => other.to_string(),
    }
}

fn load_module(uri: &TokenUri) -> Result<Pkcs11, TokenError> {
    if cfg!(target_feature = "crt-static") {
        return Err(TokenError::Static);
    }
    let path = uri
        .module_path
        .clone()
        .or_else(|| std::env::var_os(MODULE_VARIABLE).map(PathBuf::from))
        .unwrap_or_else(|| PathBuf::from(MODULE));
    let failed = |e: &Error| TokenError::Module {
        path: path.clone(),
        reason: say(e),
    };
    let module = Pkcs11::new(&path).map_err(|e| failed(&e))?;
    module
        .initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
        .map_err(|e| failed(&e))?;
    Ok(module)
}

fn find_token(module: &Pkcs11, uri: &TokenUri) -> Result<(Slot, TokenInfo), TokenError> {
    let failed = |e: Error| call(&e);
    let mut names = Vec::new();
    let mut found = Vec::new();
    for slot in module.get_slots_with_token().map_err(failed)? {
        let info = module.get_token_info(slot).map_err(failed)?;
        if !info.token_initialized() {
            continue;
        }
        let fits = |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|w| w == is);
        names.push(format!("`{}`", info.label()));
        if fits(&uri.token, info.label())
            && fits(&uri.serial, info.serial_number())
            && fits(&uri.manufacturer, info.manufacturer_id())
            && fits(&uri.model, info.model())
            && uri.slot_id.is_none_or(|id| id == slot.id())
        {
            found.push((slot, info));
        }
    }
    let wanted = uri.token_name();
    match found.len() {
        1 => Ok(found.swap_remove(0)),
        0 => Err(TokenError::NoToken {
            wanted,
            found: names,
        }),
        _ => Err(TokenError::ManyTokens {
            wanted,
            found: names,
        }),
    }
}

fn log_in(session: &Session, token: &TokenInfo, pin: Option<&Secret>) -> Result<(), TokenError> {
    if !token.login_required() {
        return Ok(());
    }
    let name = || token.label().to_owned();
    let result = match pin {
        Some(pin) => {
            // Wiped when it goes, too.
            let pin = RawAuthPin::new(pin.expose().to_vec().into());
            session.login_with_raw(UserType::User, &pin)
        }
        None if token.protected_authentication_path() => session.login(UserType::User, None),
        None => return Err(TokenError::NoPin { token: name() }),
    };
    match result {
        Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
        Err(Error::Pkcs11(RvError::PinIncorrect | RvError::PinLenRange, _)) => {
            Err(TokenError::WrongPin { token: name() })
        }
        Err(Error::Pkcs11(RvError::PinLocked, _)) => Err(TokenError::LockedPin { token: name() }),
        Err(Error::Pkcs11(RvError::UserPinNotInitialized, _)) => {
            Err(TokenError::UnsetPin { token: name() })
        }
        Err(error) => Err(TokenError::Call {
            token: Some(name()),
            reason: say(&error),
        }),
    }
}

fn find_key(
    session: &Session,
    token: &TokenInfo,
    uri: &TokenUri,
) -> Result<ObjectHandle, TokenError> {
    let failed = |e: Error| TokenError::Call {
        token: Some(token.label().to_owned()),
        reason: say(&e),
    };
    let private = Attribute::Class(ObjectClass::PRIVATE_KEY);
    let mut template = vec![private.clone()];
    template.extend(
        uri.object
            .as_ref()
            .map(|name| Attribute::Label(name.as_bytes().to_vec())),
    );
    template.extend(uri.id.clone().map(Attribute::Id));
    let found = session.find_objects(&template).map_err(failed)?;
    if let [key] = found.as_slice() {
        return Ok(*key);
    }
    let mut names = Vec::new();
    for key in session.find_objects(&[private]).map_err(failed)? {
        let attributes = session.get_attributes(key, &[AttributeType::Label, AttributeType::Id]);
        let mut words = Vec::new();
        for attribute in attributes.unwrap_or_default() {
            match attribute {
                Attribute::Label(label) => {
                    words.push(format!("`{}`", String::from_utf8_lossy(&label)));
                }
                Attribute::Id(id) => words.push(format!("(id {})", hex(&id))),
                _ => {}
            }
        }
        names.push(words.join(" "));
    }
    let (token, wanted) = (token.label().to_owned(), uri.key_name());
    Err(if found.is_empty() {
        TokenError::NoKey {
            token,
            wanted,
            found: names,
        }
    } else {
        TokenError::ManyKeys {
            token,
            wanted,
            found: names,
        }
    })
}

impl Signer for TokenSigner {
    fn algorithm(&self) -> KeyAlgorithm {
        self.algorithm
    }

    fn public_key(&self) -> Vec<u8> {
        self.public_key.clone()
    }

    fn sign(&self, digest: DigestAlgorithm, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let failed = |reason: String| KeyError::Signer {
            signer: self.name.clone(),
            reason,
        };
        let hashed = digest.digest(message);
        let (mechanism, input, size) = match self.algorithm {
            KeyAlgorithm::Rsa(_) => (Mechanism::RsaPkcs, digest.digest_info(&hashed), None),
            // Tokens take no more than the curve has.
            KeyAlgorithm::EcdsaP256 => (Mechanism::Ecdsa, hashed, Some(32)),
            KeyAlgorithm::EcdsaP384 => (Mechanism::Ecdsa, hashed, Some(48)),
            KeyAlgorithm::EcdsaP521 => (Mechanism::Ecdsa, hashed, Some(66)),
            other => {
                return Err(failed(format!(
                    "{other} is not signed with through PKCS#11"
                )));
            }
        };
        let session = self
            .session
            .lock()
            .map_err(|_| failed("another signature failed".to_owned()))?;
        let len = size.unwrap_or(input.len()).min(input.len());
        let signature = session
            .sign(&mechanism, self.key, &input[..len])
            .map_err(|e| failed(say(&e)))?;
        match size {
            None => Ok(signature),
            Some(size) => ecdsa_to_der(&signature, size)
                .ok_or_else(|| failed("its answer is no ECDSA signature".to_owned())),
        }
    }
}
