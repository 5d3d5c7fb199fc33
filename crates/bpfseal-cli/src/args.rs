//! Arguments that several verbs share, and how they become values.

use std::path::{Path, PathBuf};

use bpfseal::kernel::KeyringId;
use bpfseal::object::object_name;
use bpfseal::seal::{Certificate, SigningKey, check_key};
use clap::Args;

use crate::Outcome;
use crate::failure::{Failure, Report};
use crate::files;

/// Key and certificate.
#[derive(Debug, Args)]
pub(crate) struct SignArgs {
    /// Private key: PEM, not encrypted (PKCS#8, PKCS#1 or SEC1; RSA 2048 to 4096 bits, ECDSA
    /// P-256 or P-384)
    #[arg(short = 'k', long = "key", value_name = "KEY.pem")]
    pub(crate) key: Option<PathBuf>,

    /// Certificate of that key: PEM or DER
    #[arg(short = 'i', long = "cert", value_name = "CERT")]
    pub(crate) cert: Option<PathBuf>,
}

impl SignArgs {
    pub(crate) fn is_empty(&self) -> bool {
        self.key.is_none() && self.cert.is_none()
    }

    /// Reads both; they have to be given together.
    pub(crate) fn load(&self) -> Result<(SigningKey, Certificate), Failure> {
        let (Some(key), Some(cert)) = (&self.key, &self.cert) else {
            return Err(Failure::usage(
                "signing needs a key and its certificate",
                "give both: -k KEY.pem -i CERT.pem",
            ));
        };
        let key_bytes = files::read(key)?;
        let key = SigningKey::from_pem(&key_bytes).map_err(|e| {
            let help = "give a private key in PEM; to make one: openssl req -new -x509 -newkey rsa:2048 -noenc -keyout key.pem -out cert.pem -subj /CN=me";
            Report::new(&files::shown(key), &e, help)
        })?;
        let certificate = read_certificate(cert)?;
        // Before any object is looked at: it is not to blame.
        check_key(&key, &certificate).map_err(|e| {
            let help = "give the key and the certificate that belong together";
            Report::new(&files::shown(cert), &e, help)
        })?;
        Ok((key, certificate))
    }
}

/// Reads one certificate.
pub(crate) fn read_certificate(path: &Path) -> Result<Certificate, Report> {
    let bytes = files::read(path)?;
    Certificate::from_bytes(&bytes).map_err(|e| certificate_report(path, &e))
}

/// Reads all certificates of a file, or of all files of a folder.
pub(crate) fn read_certificates(path: &Path) -> Result<Vec<Certificate>, Report> {
    if !path.is_dir() {
        let bytes = files::read(path)?;
        return Certificate::all_from_bytes(&bytes).map_err(|e| certificate_report(path, &e));
    }
    let report = |e: &std::io::Error| Report::new(&files::shown(path), e, "check the folder");
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(path).map_err(|e| report(&e))? {
        let path = entry.map_err(|e| report(&e))?.path();
        let is_certificate = path
            .extension()
            .and_then(|e| e.to_str())
            .is_some_and(|e| ["pem", "crt", "cer", "der", "x509"].contains(&e));
        if is_certificate && path.is_file() {
            paths.push(path);
        }
    }
    paths.sort();
    let mut all = Vec::new();
    for path in paths {
        let bytes = files::read(&path)?;
        match Certificate::all_from_bytes(&bytes) {
            Ok(found) => all.extend(found),
            // Keys lie beside certificates.
            Err(bpfseal::seal::CertificateError::NoCertificate { .. }) => {}
            Err(e) => return Err(certificate_report(&path, &e)),
        }
    }
    if all.is_empty() {
        let error = std::io::Error::other("the folder has no certificates");
        let help = "give a folder with .pem, .crt, .cer, .der or .x509 files";
        return Err(Report::new(&files::shown(path), &error, help));
    }
    Ok(all)
}

fn certificate_report(path: &Path, error: &bpfseal::seal::CertificateError) -> Report {
    Report::new(
        &files::shown(path),
        error,
        "give an X.509 certificate, PEM or DER",
    )
}

/// A keyring, by name or number.
pub(crate) fn parse_keyring(text: &str) -> Result<KeyringId, Failure> {
    KeyringId::parse(text).ok_or_else(|| {
        Failure::usage(
            format!("`{text}` is no keyring"),
            "name session, user, process, builtin, secondary, platform or bpf, or give a serial number",
        )
    })
}

/// The name of an object: as given, or from its file.
pub(crate) fn name_of(path: &Path, given: Option<&str>) -> Result<String, Failure> {
    match given {
        Some(name) => {
            check_name(name)?;
            Ok(name.to_owned())
        }
        None if files::is_stdio(path) => Ok("stdin".to_owned()),
        None => Ok(object_name(&path.to_string_lossy())),
    }
}

/// A name that is given has to be good for C.
fn check_name(name: &str) -> Outcome {
    let good = name.len() <= 63
        && !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if good {
        return Ok(());
    }
    Err(Failure::usage(
        format!("`{name}` can not be the name of an object"),
        "use at most 63 letters, digits and `_`, and no digit first: it becomes part of C names",
    ))
}
