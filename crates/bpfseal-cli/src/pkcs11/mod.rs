//! Keys in a token, by PKCS#11: smart cards, HSMs.
//!
//! The digest is computed here, the token signs it; the key never leaves it.

mod uri;

use std::path::PathBuf;
use std::sync::Mutex;

use bpfseal::seal::{Certificate, DigestAlgorithm, KeyAlgorithm, KeyError, Signer, ecdsa_to_der};
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use cryptoki::types::RawAuthPin;
use zeroize::Zeroizing;

use crate::failure::{Failure, Report};
use uri::Uri;

/// Where the module is, when the URI does not say it: as other tools have it.
const MODULE_VARIABLE: &str = "PKCS11_MODULE_PATH";
/// The module that stands for all that the system knows.
const MODULE: &str = "p11-kit-proxy.so";

/// Whether a key is named by a URI.
pub(crate) fn is_uri(key: &str) -> bool {
    key.starts_with(uri::SCHEME)
}

/// A private key in a token.
pub(crate) struct TokenSigner {
    /// For messages.
    name: String,
    algorithm: KeyAlgorithm,
    public_key: Vec<u8>,
    key: ObjectHandle,
    session: Mutex<Session>,
}

/// A fault, and what to do about it.
struct Fault(String, &'static str);

impl Fault {
    fn new(message: impl Into<String>, help: &'static str) -> Self {
        Self(message.into(), help)
    }
}

impl TokenSigner {
    /// Finds the key that a URI names, for a certificate. `pin` gives the PIN where the URI does
    /// not say where it is.
    pub(crate) fn open(
        text: &str,
        certificate: &Certificate,
        pin: &dyn Fn() -> Result<Option<Zeroizing<String>>, Failure>,
    ) -> Result<Self, Failure> {
        let uri = Uri::parse(text).map_err(|reason| {
            Failure::usage(
                format!("`{text}`: {reason}"),
                "write it as pkcs11:token=NAME;object=NAME?pin-source=FILE&module-path=FILE",
            )
        })?;
        let report = |Fault(message, help)| {
            let error = std::io::Error::other(message);
            Failure::Input(Report::new("the token", &error, help))
        };
        let algorithm = KeyAlgorithm::of(certificate)
            .filter(|algorithm| !matches!(algorithm, KeyAlgorithm::MlDsa(_)))
            .ok_or_else(|| {
                report(Fault::new(
                    "the certificate's key is of a kind that is not signed with through PKCS#11",
                    "use RSA or ECDSA",
                ))
            })?;
        let module = load_module(&uri).map_err(report)?;
        let (slot, token) = find_token(&module, &uri).map_err(report)?;
        let session = module
            .open_ro_session(slot)
            .map_err(|e| report(Fault::new(say(&e), "try again")))?;
        let pin = match &uri.pin_source {
            Some(path) => Some(crate::args::first_line(path)?),
            None => pin()?,
        };
        log_in(&session, &token, pin).map_err(report)?;
        let key = find_key(&session, &token, &uri).map_err(report)?;
        Ok(Self {
            name: format!("token `{}`", token.label()),
            algorithm,
            public_key: certificate.public_key().to_vec(),
            key,
            session: Mutex::new(session),
        })
    }
}

/// An error in few words: those of the library explain the standard.
fn say(error: &Error) -> String {
    match error {
        Error::Pkcs11(code, function) => format!("{function}: {code:?}"),
        other => other.to_string(),
    }
}

fn load_module(uri: &Uri) -> Result<Pkcs11, Fault> {
    const HELP: &str = "name the token's module with `?module-path=FILE` in the URI, or in PKCS11_MODULE_PATH; for SoftHSM it is libsofthsm2.so";
    if cfg!(target_feature = "crt-static") {
        return Err(Fault::new(
            "this build of bpfseal is static, and can load no PKCS#11 module",
            "use one that is not, or sign with --signer-command",
        ));
    }
    let path = uri
        .module_path
        .clone()
        .or_else(|| std::env::var_os(MODULE_VARIABLE).map(PathBuf::from))
        .unwrap_or_else(|| PathBuf::from(MODULE));
    let failed = |e: &Error| {
        let text = format!("module `{}`: {}", path.display(), say(e));
        Fault::new(text, HELP)
    };
    let module = Pkcs11::new(&path).map_err(|e| failed(&e))?;
    module
        .initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
        .map_err(|e| failed(&e))?;
    Ok(module)
}

fn find_token(module: &Pkcs11, uri: &Uri) -> Result<(Slot, TokenInfo), Fault> {
    let failed = |e: Error| Fault::new(say(&e), "check that the token is there");
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
    let there = if names.is_empty() {
        "there is none".to_owned()
    } else {
        format!("there are {}", names.join(", "))
    };
    match found.len() {
        1 => Ok(found.swap_remove(0)),
        0 => Err(Fault::new(
            format!("no token {}; {there}", uri.token_name()),
            "put it in, or name another with `token=` in the URI",
        )),
        _ => Err(Fault::new(
            format!("more than one token is {}; {there}", uri.token_name()),
            "name it more exactly, with `token=` or `serial=` in the URI",
        )),
    }
}

fn log_in(
    session: &Session,
    token: &TokenInfo,
    pin: Option<Zeroizing<String>>,
) -> Result<(), Fault> {
    if !token.login_required() {
        return Ok(());
    }
    let name = token.label();
    let pin = match pin {
        None if token.protected_authentication_path() => None,
        None => {
            return Err(Fault::new(
                format!("token `{name}` wants a PIN, and none was given"),
                "say where it is: `?pin-source=FILE` in the URI, --passphrase-file or --passphrase-env; on a terminal it is asked for",
            ));
        }
        pin => pin,
    };
    let result = match pin {
        Some(pin) => {
            let pin: RawAuthPin = RawAuthPin::new(pin.as_bytes().to_vec().into());
            session.login_with_raw(UserType::User, &pin)
        }
        None => session.login(UserType::User, None),
    };
    match result {
        Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
        Err(Error::Pkcs11(RvError::PinIncorrect | RvError::PinLenRange, _)) => Err(Fault::new(
            format!("the PIN is not that of token `{name}`"),
            "check the PIN; many tokens lock themselves after a few wrong ones",
        )),
        Err(Error::Pkcs11(RvError::PinLocked, _)) => Err(Fault::new(
            format!("the PIN of token `{name}` is locked, after too many wrong ones"),
            "its security officer can unlock it",
        )),
        Err(Error::Pkcs11(RvError::UserPinNotInitialized, _)) => Err(Fault::new(
            format!("token `{name}` has no PIN yet"),
            "initialise it, with the tools of its maker",
        )),
        Err(error) => Err(Fault::new(
            format!("token `{name}`: {}", say(&error)),
            "check the token with the tools of its maker",
        )),
    }
}

fn find_key(session: &Session, token: &TokenInfo, uri: &Uri) -> Result<ObjectHandle, Fault> {
    let failed = |e: Error| Fault::new(say(&e), "check the token with the tools of its maker");
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
                Attribute::Id(id) => words.push(format!("(id {})", bpfseal::seal::hex(&id))),
                _ => {}
            }
        }
        names.push(words.join(" "));
    }
    let there = if names.is_empty() {
        "it has none".to_owned()
    } else {
        format!("it has {}", names.join(", "))
    };
    let many = if found.is_empty() {
        "no private key"
    } else {
        "more than one private key"
    };
    Err(Fault::new(
        format!(
            "token `{}` has {many} {}; {there}",
            token.label(),
            uri.key_name()
        ),
        "name the key with `object=` or `id=` in the URI",
    ))
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
