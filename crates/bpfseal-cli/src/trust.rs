//! Trust as a command line gives it: certificates, directories of them, what is revoked, and the
//! kernel that decides. What cannot be read whole is refused, never passed over.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use bpfseal::report::UntrustedReport;
use bpfseal::seal::{Certificate, CertificateError, KernelConfig, Revocation, TrustStore};
use clap::Args;

use crate::failure::{Failure, Report};
use crate::files;
use crate::recognise::{Wanted, instead};
use crate::terminal::say;

/// The configuration of the kernel that decides.
#[derive(Debug, Default, Args)]
pub(crate) struct KernelArgs {
    /// Configuration of the kernel, by name and changes
    ///
    /// `debian` (the default) is Debian's kernel 7.3.4 on a little-endian machine, without SHA-3 and
    /// ML-DSA. `all` has every algorithm. Changes follow with commas, `+NAME` or `-NAME`:
    /// big-endian, ecdsa, fips, ml-dsa, rsa, sha1, sha256, sha3, sha512.
    #[arg(
        long,
        value_name = "NAME[,+OPTION…]",
        value_parser = parse_options,
        conflicts_with = "kernel_config"
    )]
    kernel_options: Option<KernelConfig>,

    /// Configuration of the kernel, from its file
    ///
    /// Such as /boot/config-7.3.4. What is built as a module counts as missing.
    #[arg(long, value_name = "FILE")]
    kernel_config: Option<PathBuf>,
}

fn parse_options(text: &str) -> Result<KernelConfig, String> {
    text.parse()
        .map_err(|error| format!("{error}; write {}", KernelConfig::FORM))
}

impl KernelArgs {
    fn config(&self) -> Result<KernelConfig, Report> {
        let Some(path) = &self.kernel_config else {
            return Ok(self.kernel_options.unwrap_or_default());
        };
        let text = files::read(path)?;
        KernelConfig::from_config(&String::from_utf8_lossy(&text)).map_err(|error| {
            let help = "give a kernel configuration such as /boot/config-$(uname -r)";
            Report::new(&files::shown(path), &error, help)
        })
    }

    /// An empty trust store of that kernel.
    pub(crate) fn anchors(&self) -> Result<Anchors, Report> {
        Ok(Anchors {
            store: TrustStore::for_kernel(self.config()?),
            files: Vec::new(),
        })
    }
}

/// What is trusted and revoked, with where it came from.
pub(crate) struct Anchors {
    pub(crate) store: TrustStore,
    /// Certificates as they were given, and their file.
    files: Vec<(Vec<u8>, String)>,
}

impl Anchors {
    /// Trusts the certificates of a file or directory. One that the kernel would not hold is no
    /// trust anchor, which [`Self::untrusted`] says.
    pub(crate) fn trust(&mut self, path: &Path) -> Result<(), Report> {
        for file in certificate_files(path)? {
            for der in split(&file)? {
                // The store keeps what it refuses.
                let _refused = self.store.add_der(&der);
                self.files.push((der, files::shown(&file)));
            }
        }
        Ok(())
    }

    /// Revokes what is named: text that begins as a revocation is one, and all other text names a
    /// file or directory of certificates.
    pub(crate) fn revoke(&mut self, given: &OsStr) -> Result<(), Failure> {
        if Revocation::is_meant(given.as_encoded_bytes()) {
            let text = given.to_string_lossy();
            let revocation = text.parse().map_err(|error| {
                Failure::usage(
                    format!("`{text}` is not a revocation: {error}"),
                    "write tbs:HEX or bin:HEX with 64 digits, or key:HEX; write ./ before a file of that name",
                )
            })?;
            self.store.revoke_by(revocation);
            return Ok(());
        }
        for file in certificate_files(Path::new(given))? {
            for der in split(&file)? {
                let certificate =
                    Certificate::from_der(&der).map_err(|e| report(&file, &der, &e))?;
                if certificate.has_trailing_bytes() {
                    let error = std::io::Error::other("there is more after the certificate");
                    let help = "give one certificate in DER, or several in PEM";
                    return Err(Report::new(&files::shown(&file), &error, help).into());
                }
                self.store.revoke(certificate);
            }
        }
        Ok(())
    }

    /// Says where the certificates came from that are no trust anchors, and prints a note of each
    /// unless the report is printed as JSON.
    pub(crate) fn untrusted(&self, reports: &mut [UntrustedReport], json: bool) {
        for report in reports {
            let mut files = self.files.iter().filter(|(der, _)| *der == report.der);
            report.file = files.next().map(|(_, file)| file.clone());
            if !json {
                let file = report.file.as_deref().unwrap_or("a certificate");
                let UntrustedReport { errno, reason, .. } = report;
                say!("note: {file} is not a trust anchor: the kernel answers {errno}: {reason}");
            }
        }
    }
}

/// A file, or all files of a directory, by name. A directory has certificates in it and nothing
/// else: what is passed over could be the one that matters.
fn certificate_files(path: &Path) -> Result<Vec<PathBuf>, Report> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let report = |e: &std::io::Error| Report::new(&files::shown(path), e, "check the directory");
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(path).map_err(|e| report(&e))? {
        paths.push(entry.map_err(|e| report(&e))?.path());
    }
    paths.sort();
    if paths.is_empty() {
        return Err(report(&std::io::Error::other("the directory is empty")));
    }
    if let Some(inner) = paths.iter().find(|path| path.is_dir()) {
        let error = std::io::Error::other("a directory inside a directory of certificates");
        let help = "give it by itself, and keep certificates alone in such a directory";
        return Err(Report::new(&files::shown(inner), &error, help));
    }
    Ok(paths)
}

/// The certificates of a file, as they are encoded.
fn split(file: &Path) -> Result<Vec<Vec<u8>>, Report> {
    let bytes = files::read(file)?;
    Certificate::split(&bytes).map_err(|e| report(file, &bytes, &e))
}

/// Reads all certificates of a file, or of all files of a directory.
pub(crate) fn read_certificates(path: &Path) -> Result<Vec<Certificate>, Report> {
    let mut all = Vec::new();
    for file in certificate_files(path)? {
        let bytes = files::read(&file)?;
        all.extend(Certificate::all_from_bytes(&bytes).map_err(|e| report(&file, &bytes, &e))?);
    }
    Ok(all)
}

/// Reads one certificate.
pub(crate) fn read_certificate(path: &Path) -> Result<Certificate, Report> {
    let bytes = files::read(path)?;
    Certificate::from_bytes(&bytes).map_err(|e| report(path, &bytes, &e))
}

fn report(path: &Path, bytes: &[u8], error: &CertificateError) -> Report {
    let place = files::shown(path);
    if let Some(report) = instead(&place, bytes, Wanted::Certificate) {
        return report;
    }
    let help = match error {
        CertificateError::Refused(_) => "give a certificate that the kernel takes",
        _ => "give an X.509 certificate, PEM or DER; a directory may have nothing else in it",
    };
    Report::new(&place, error, help)
}
