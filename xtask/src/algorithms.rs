//! `cargo xtask algorithms`: signatures of every kind of key, checked by OpenSSL.
//!
//! With the `openssl` of Debian's trixie, fetched beside the system, because older ones do not know
//! ML-DSA. Of its CMS command it does not know it either, so there the raw signature is checked.

use std::path::Path;

use anyhow::{Context as _, bail};
use bpfseal::seal::{
    Certificate, KeyAlgorithm, SIGNING_DIGESTS, Scheme, SealOptions, SigningKey, seal,
};

use crate::project;
use crate::reference::{OPENSSL, Reference};

const KEYS: [&str; 9] = [
    "rsa2048", "rsa3072", "rsa4096", "p256", "p384", "p521", "mldsa44", "mldsa65", "mldsa87",
];
const INSTRUCTIONS: [u8; 16] = [0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];
const METADATA: &[u8] = b"metadata of a small loader";

pub(crate) fn run() -> anyhow::Result<()> {
    let Some(reference) = Reference::fetch_or_skip()? else {
        return Ok(());
    };
    let keys = project::root().join("testdata/keys");
    let content = [&INSTRUCTIONS, METADATA].concat();
    let folder = tempfile::tempdir()?;
    let path = folder.path();
    std::fs::write(path.join("content"), &content)?;
    std::fs::write(path.join("changed"), [&content[..], &[0]].concat())?;
    println!(
        "{:<12} {:<8} {:>6}  checked by OpenSSL",
        "key", "digest", "bytes"
    );
    for name in KEYS {
        let certificate_path = keys.join(format!("{name}.cert.pem"));
        let key = SigningKey::from_pem(&std::fs::read(keys.join(format!("{name}.key.pem")))?)?;
        let certificate = Certificate::from_bytes(&std::fs::read(&certificate_path)?)?;
        let algorithm = certificate.key_algorithm().context("a key that signs")?;
        for digest in SIGNING_DIGESTS.into_iter().filter(|d| algorithm.takes(*d)) {
            let options = SealOptions {
                digest: Some(digest),
                ..SealOptions::default()
            };
            let seal = seal(
                Scheme::LoadTime,
                &INSTRUCTIONS,
                METADATA,
                &key,
                &certificate,
                &options,
            )?;
            std::fs::write(path.join("message"), &*seal.signature)?;
            let raw = matches!(algorithm, KeyAlgorithm::MlDsa(_));
            if raw {
                std::fs::write(path.join("raw"), last_element(&seal.signature)?)?;
            }
            let check = |content: &str| check(&reference, path, content, &certificate_path, raw);
            if !check("content")? {
                bail!(
                    "{name} with {}: OpenSSL refuses the signature",
                    digest.name()
                );
            }
            if check("changed")? {
                bail!(
                    "{name} with {}: OpenSSL takes a changed content",
                    digest.name()
                );
            }
            println!(
                "{:<12} {:<8} {:>6}  {}",
                algorithm.to_string(),
                digest.name(),
                seal.signature.len(),
                if raw { "raw signature" } else { "CMS" }
            );
        }
    }
    Ok(())
}

/// The value of the last element of a message, which is the signature.
fn last_element(message: &[u8]) -> anyhow::Result<&[u8]> {
    // Its octet string has a length of two bytes.
    let mut heads = (0..message.len().saturating_sub(4)).filter(|at| {
        let head = &message[*at..at + 4];
        let len = usize::from(head[2]) << 8 | usize::from(head[3]);
        head[..2] == [4, 0x82] && at + 4 + len == message.len()
    });
    let at = heads
        .next_back()
        .context("the message ends in a signature")?;
    Ok(&message[at + 4..])
}

fn check(
    reference: &Reference,
    folder: &Path,
    content: &str,
    certificate: &Path,
    raw: bool,
) -> anyhow::Result<bool> {
    let mut openssl = reference.tool_command(OPENSSL);
    openssl.env("OPENSSL_CONF", "/dev/null").current_dir(folder);
    if raw {
        openssl
            .args(["pkeyutl", "-verify", "-rawin", "-sigfile", "raw", "-certin"])
            .args(["-in", content, "-inkey"]);
    } else {
        openssl
            .args(["cms", "-verify", "-binary", "-inform", "DER", "-noverify"])
            .args(["-in", "message", "-out", "/dev/null", "-content", content])
            .arg("-certfile");
    }
    let output = openssl
        .arg(certificate)
        .output()
        .context("running OpenSSL")?;
    Ok(output.status.success())
}
