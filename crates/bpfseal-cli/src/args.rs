//! Arguments that several verbs share, and how they become values.

use std::path::{Path, PathBuf};

use bpfseal::Sealer;
use bpfseal::kernel::KeyringId;
use bpfseal::object::object_name;
use bpfseal::seal::{Certificate, SIGNING_DIGESTS, Scheme};
use clap::Args;

use crate::failure::{Failure, Outcome};
use crate::files;
use crate::host::Values;
pub(crate) use crate::trust::{read_certificate, read_certificates};

/// How to sign, besides with which key.
#[derive(Debug, Args)]
pub(crate) struct SchemeArgs {
    /// Schemes to sign by, with commas: load-time, in-loader-exclusive, in-loader, hash-chain,
    /// hornet; or all-kernels for the first three. Several need a bundle or a Rust skeleton
    #[arg(
        long,
        value_name = "SCHEME,…",
        default_value = "load-time",
        value_delimiter = ','
    )]
    scheme: Vec<String>,

    /// Digest of the signature: sha256, sha384 or sha512; without it sha256, and sha512 for ML-DSA
    #[arg(long, value_name = "DIGEST")]
    digest: Option<String>,

    /// Certificates to embed besides the signer's own: those between it and what is trusted. Then
    /// only the topmost has to be in the keyring; without a value, the signer's alone
    #[arg(long, value_name = "CERT", num_args = 0..)]
    embed_chain: Option<Vec<PathBuf>>,
}

impl SchemeArgs {
    /// The schemes, strongest first.
    pub(crate) fn schemes(&self) -> Result<Vec<Scheme>, Failure> {
        let mut schemes = Vec::new();
        for name in &self.scheme {
            if name == "all-kernels" {
                schemes.extend(Scheme::KERNELS);
            } else {
                schemes.push(parse_scheme(name)?);
            }
        }
        schemes.sort_unstable();
        schemes.dedup();
        Ok(schemes)
    }

    /// What seals so, for the key of a certificate.
    pub(crate) fn sealer<'a>(
        &self,
        certificate: &'a Certificate,
        host: &'a Values,
    ) -> Result<Sealer<'a>, Failure> {
        let mut sealer = Sealer::new(certificate)
            .schemes(&self.schemes()?)
            .signing_time(now())
            .host(host);
        if let Some(name) = &self.digest {
            let mut known = SIGNING_DIGESTS.into_iter();
            let digest = known.find(|digest| digest.name() == name);
            sealer = sealer.digest(digest.ok_or_else(|| {
                Failure::usage(
                    format!("`{name}` is no digest to sign with"),
                    "say sha256, sha384 or sha512",
                )
            })?);
        }
        if let Some(paths) = &self.embed_chain {
            let mut between = Vec::new();
            for path in paths {
                between.extend(read_certificates(path)?);
            }
            sealer = sealer.embed_chain(between);
        }
        Ok(sealer)
    }
}

/// Seconds since 1970 for what is written, by `SOURCE_DATE_EPOCH` where it is set.
pub(crate) fn now() -> u64 {
    let given = std::env::var("SOURCE_DATE_EPOCH").ok();
    given
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(clock)
}

/// Seconds since 1970, by the clock: for what is checked, where nothing else has a say.
pub(crate) fn clock() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |time| time.as_secs())
}

/// A scheme, by name.
pub(crate) fn parse_scheme(name: &str) -> Result<Scheme, Failure> {
    Scheme::from_name(name).ok_or_else(|| {
        let names = Scheme::ALL.map(Scheme::name).join(", ");
        Failure::usage(
            format!("`{name}` is no scheme"),
            format!("say one of {names}"),
        )
    })
}

/// A scheme that a kernel checks, by name.
pub(crate) fn parse_kernel_scheme(name: &str) -> Result<Scheme, Failure> {
    let scheme = parse_scheme(name)?;
    if scheme.is_in_kernels() {
        return Ok(scheme);
    }
    let names = Scheme::KERNELS.map(Scheme::name).join(", ");
    Err(Failure::usage(
        format!("no kernel checks the scheme `{name}`"),
        format!("say one of {names}"),
    ))
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
