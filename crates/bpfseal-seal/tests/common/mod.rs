//! What the tests share: the test keys, the vectors, and a way to ask OpenSSL.
#![allow(
    dead_code,
    clippy::unwrap_used,
    missing_docs,
    unreachable_pub,
    reason = "test support"
)]

use std::path::{Path, PathBuf};
use std::process::Command;

use bpfseal_seal::{
    Attestation, Certificate, KernelConfig, Rejection, Seal, SealedLoader, SigningKey, TrustStore,
};

/// Names of the keys that sign.
pub const KEYS: [&str; 5] = ["rsa2048", "rsa3072", "rsa4096", "p256", "p384"];

pub fn keys_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/keys")
}

pub fn file(name: &str) -> Vec<u8> {
    std::fs::read(keys_dir().join(name)).unwrap()
}

pub fn key(name: &str) -> SigningKey {
    SigningKey::from_pem(&file(&format!("{name}.key.pem"))).unwrap()
}

pub fn certificate(name: &str) -> Certificate {
    Certificate::from_bytes(&file(&format!("{name}.cert.pem"))).unwrap()
}

/// For a kernel with every algorithm.
pub fn trust(name: &str) -> TrustStore {
    let mut store = TrustStore::for_kernel(KernelConfig::EVERYTHING);
    store.add(certificate(name));
    store
}

/// A sealed loader that can be changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Owned {
    pub instructions: Vec<u8>,
    pub metadata: Vec<u8>,
    pub seal: Seal,
}

impl Owned {
    pub fn verify(&self, trust: &TrustStore) -> Result<Attestation, Rejection> {
        SealedLoader {
            instructions: &self.instructions,
            metadata: &self.metadata,
            seal: &self.seal,
        }
        .verify(trust)
    }
}

/// The signed samples that live beside the project, where they are there.
pub fn vectors() -> Option<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors");
    if !dir.is_dir() {
        eprintln!("skipped: no vectors beside the project");
        return None;
    }
    Some(dir)
}

/// Whether OpenSSL's command takes a detached signature of ours.
pub fn openssl_accepts(content: &[u8], signature: &[u8], certificate: &Path) -> bool {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("content"), content).unwrap();
    std::fs::write(dir.path().join("signature"), signature).unwrap();
    Command::new("openssl")
        .args(["cms", "-verify", "-binary", "-inform", "DER", "-noverify"])
        .args([
            "-content",
            "content",
            "-in",
            "signature",
            "-out",
            "/dev/null",
        ])
        .arg("-certfile")
        .arg(certificate.canonicalize().unwrap())
        .current_dir(&dir)
        .output()
        .expect("the tests need the `openssl` command")
        .status
        .success()
}
