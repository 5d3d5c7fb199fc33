//! Who signs: a key in a file, a token, or a command, and where its passphrase or PIN is.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use bpfseal::seal::{Certificate, KeyError, Secret, Signer, SigningKey, check_key};
use bpfseal::signers::{CommandInput, CommandSigner, TokenError, TokenSigner, TokenUri};
use clap::Args;

use crate::args::read_certificate;
use crate::failure::{Failure, Report};
use crate::files;
use crate::prompt::ask;
use crate::recognise::{Wanted, instead};

/// Key and certificate.
#[derive(Debug, Default, Args)]
pub(crate) struct SignArgs {
    /// Private key: PEM (PKCS#8, encrypted or not, PKCS#1 or SEC1; RSA 2048 to 4096 bits, ECDSA
    /// P-256, P-384 or P-521, ML-DSA-44, -65 or -87); or of a token, by its URI:
    /// pkcs11:token=NAME;object=NAME?pin-source=FILE&module-path=FILE
    #[arg(short = 'k', long = "key", value_name = "KEY.pem|URI")]
    key: Option<Unshown>,

    /// File with the passphrase of the key, or the PIN of the token, in its first line; `-` is standard input, and
    /// /dev/fd/N a descriptor
    #[arg(long, value_name = "FILE", conflicts_with = "passphrase_env")]
    passphrase_file: Option<PathBuf>,

    /// Command that signs, instead of a key: a shell runs it with the message on its standard
    /// input, and it answers the raw signature (PKCS#1 v1.5, or ECDSA in DER); BPFSEAL_DIGEST says
    /// which digest
    #[arg(long, value_name = "COMMAND", conflicts_with = "key")]
    signer_command: Option<Unshown>,

    /// Give that command the digest instead of the message
    #[arg(long, requires = "signer_command")]
    signer_digest: bool,

    /// Environment variable with the passphrase of the key, or the PIN of the token
    #[arg(long, value_name = "NAME")]
    passphrase_env: Option<Unshown>,

    /// Certificate of that key: PEM or DER
    #[arg(short = 'i', long = "cert", value_name = "CERT")]
    cert: Option<PathBuf>,
}

/// A value from the command line that has a secret in it if somebody made a mistake.
#[derive(Clone)]
pub(crate) struct Unshown(OsString);

impl From<OsString> for Unshown {
    fn from(value: OsString) -> Self {
        Self(value)
    }
}

impl std::fmt::Debug for Unshown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(not shown)")
    }
}

impl SignArgs {
    /// A key that asks for nothing, and its certificate.
    pub(crate) fn new(key: Option<Unshown>, cert: Option<PathBuf>) -> Self {
        Self {
            key,
            cert,
            ..Self::default()
        }
    }

    /// The passphrase, from where it was said to be.
    fn passphrase(&self) -> Result<Option<Secret>, Failure> {
        if let Some(path) = &self.passphrase_file {
            return Ok(Some(files::read_secret(path)?.first_line()));
        }
        let Some(name) = &self.passphrase_env else {
            return Ok(None);
        };
        // Neither the name is repeated, which may be the passphrase, nor the value.
        let value = std::env::var_os(&name.0).ok_or_else(|| {
            Failure::usage(
                "the environment variable that --passphrase-env names is not set",
                "give the name of a variable, and set it to the passphrase",
            )
        })?;
        Ok(Some(Secret::new(value.into_encoded_bytes())))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.key.is_none() && self.cert.is_none() && self.signer_command.is_none()
    }

    /// Reads both; they have to be given together.
    pub(crate) fn load(&self) -> Result<(Box<dyn Signer + Sync>, Certificate), Failure> {
        if let (Some(command), Some(cert)) = (&self.signer_command, &self.cert) {
            let certificate = read_certificate(cert)?;
            let input = if self.signer_digest {
                CommandInput::Digest
            } else {
                CommandInput::Message
            };
            let signer = CommandSigner::new(&command.0, input, &certificate).ok_or_else(|| {
                Failure::usage(
                    "the certificate's key is of a kind that the kernel does not take for BPF",
                    "use RSA, ECDSA or ML-DSA",
                )
            })?;
            return Ok((Box::new(signer), certificate));
        }
        let (Some(Unshown(key)), Some(cert)) = (&self.key, &self.cert) else {
            return Err(Failure::usage(
                "signing needs a key and its certificate",
                "give both: -k KEY.pem -i CERT.pem",
            ));
        };
        if TokenUri::is_uri(key.as_encoded_bytes()) {
            let certificate = read_certificate(cert)?;
            let signer = self.token(key, &certificate)?;
            return Ok((Box::new(signer), certificate));
        }
        let key = self.key_in_file(Path::new(key))?;
        let certificate = read_certificate(cert)?;
        if is_compressed_point(&certificate) {
            let error = std::io::Error::other(
                "its public key is a compressed point, which no kernel reads",
            );
            let help = "write the key with `openssl ec -conv_form uncompressed`, and make the certificate again";
            return Err(Report::new(&files::shown(cert), &error, help).into());
        }
        // Before any object is looked at: it is not to blame.
        check_key(&key, &certificate).map_err(|e| {
            let help = "give the key and the certificate that belong together";
            Report::new(&files::shown(cert), &e, help)
        })?;
        Ok((Box::new(key), certificate))
    }

    fn token(&self, uri: &OsStr, certificate: &Certificate) -> Result<TokenSigner, Failure> {
        const FORM: &str =
            "write it as pkcs11:token=NAME;object=NAME?pin-source=FILE&module-path=FILE";
        let uri = uri
            .to_str()
            .ok_or_else(|| Failure::usage("the URI of the token is not text", FORM))?;
        let uri = TokenUri::parse(uri)
            .map_err(|e| Failure::usage(format!("the URI of the token: {e}"), FORM))?;
        TokenSigner::open(&uri, certificate, || {
            Ok(self.passphrase()?.or_else(|| ask("PIN of the token")))
        })
    }

    fn key_in_file(&self, path: &Path) -> Result<SigningKey, Failure> {
        let pem = files::read_secret(path)?;
        let given = self.passphrase()?;
        let mut parsed = SigningKey::from_encrypted_pem(pem.expose(), given.as_ref());
        if matches!(parsed, Err(KeyError::Encrypted))
            && let Some(typed) = ask(&format!("passphrase of {}", files::shown(path)))
        {
            parsed = SigningKey::from_encrypted_pem(pem.expose(), Some(&typed));
        }
        Ok(parsed.map_err(|e| {
            let place = files::shown(path);
            if let Some(report) = instead(&place, pem.expose(), Wanted::Key) {
                return report;
            }
            let help = match e {
                KeyError::OldEncryption => "encrypt it anew: `openssl pkcs8 -topk8 -in KEY.pem -out NEW.pem`",
                KeyError::RsaSize { .. } => "make another: `openssl genrsa -out key.pem 3072`",
                KeyError::TraditionalEncryption => "encrypt it anew, in the newer form",
                KeyError::Encrypted => "say where its passphrase is: --passphrase-file or --passphrase-env; on a terminal it is asked for",
                KeyError::Passphrase => "check the passphrase",
                _ => "give a private key in PEM; to make one: openssl req -new -x509 -newkey rsa:2048 -noenc -keyout key.pem -out cert.pem -subj /CN=me",
            };
            Report::new(&place, &e, help)
        })?)
    }
}

/// Whether a certificate has an elliptic curve's point in the short form.
fn is_compressed_point(certificate: &Certificate) -> bool {
    use bpfseal::seal::KeyAlgorithm::{EcdsaP256, EcdsaP384, EcdsaP521};
    let curve = matches!(
        certificate.key_algorithm(),
        Some(EcdsaP256 | EcdsaP384 | EcdsaP521)
    );
    curve && matches!(certificate.public_key().first(), Some(2 | 3))
}

impl From<TokenError> for Failure {
    fn from(error: TokenError) -> Self {
        Self::Input(Report::new("the token", &error, advice(&error)))
    }
}

/// What can be done about it here.
fn advice(error: &TokenError) -> &'static str {
    match error {
        TokenError::Algorithm => "use RSA or ECDSA",
        TokenError::Static => "use one that is not, or sign with --signer-command",
        TokenError::Module { .. } => {
            "name the token's module with `?module-path=FILE` in the URI, or in PKCS11_MODULE_PATH; for SoftHSM it is libsofthsm2.so"
        }
        TokenError::NoToken { .. } => "put it in, or name another with `token=` in the URI",
        TokenError::ManyTokens { .. } => {
            "name it more exactly, with `token=` or `serial=` in the URI"
        }
        TokenError::PinSource { .. } => "check the path, and who may read it",
        TokenError::NoPin { .. } => {
            "say where it is: `?pin-source=FILE` in the URI, --passphrase-file or --passphrase-env; on a terminal it is asked for"
        }
        TokenError::WrongPin { .. } => {
            "check the PIN; many tokens lock themselves after a few wrong ones"
        }
        TokenError::LockedPin { .. } => "its security officer can unlock it",
        TokenError::UnsetPin { .. } => "initialise it, with the tools of its maker",
        TokenError::NoKey { .. } | TokenError::ManyKeys { .. } => {
            "name the key with `object=` or `id=` in the URI"
        }
        TokenError::Call { token: None, .. } => "check that the token is there",
        _ => "check the token with the tools of its maker",
    }
}
