//! Signing BPF loaders, and verifying the signatures offline as the kernel would.
//!
//! For whoever holds a key, and for whoever has to trust a signature. Bytes in, bytes out; no
//! files, no keyrings, no kernel.
//!
//! ```text
//! instructions ‖ metadata ──┐
//! Signer, Certificate ──────┴─ Seal ──┬─ SealedLoader ── verify(TrustStore) ─┬─ Attestation
//!                                                                            └─ Rejection
//! ```
//!
//! The scheme of this version is **load-time** (Linux 7.3): one CMS signature over the loader's
//! instructions and its metadata. The signature is byte-identical to bpftool's for RSA keys;
//! ECDSA signatures are deterministic (RFC 6979).
#![forbid(unsafe_code)]

mod ber;
mod certificate;
mod digest;
mod error;
mod hornet;
mod key;
mod message;
mod ml_dsa;
mod public_key;
mod rejection;
mod scheme;
mod seal;
mod summary;
mod trust;
mod verify;
mod walk;
mod writer;

pub use certificate::Certificate;
pub use digest::DigestAlgorithm;
pub use error::{CertificateError, KeyError, SealError};
pub use hornet::{ListedMap, listed_maps};
pub use key::{KeyAlgorithm, SIGNING_DIGESTS, Signer, SigningKey};
pub use ml_dsa::MlDsaSet;
pub use public_key::{SignatureAlgorithm, ecdsa_to_der};
pub use rejection::Rejection;
pub use scheme::{Scheme, chain};
pub use seal::{
    Seal, SealOptions, SealedLoader, ToBeSigned, check_key, checked_digest, excl_prog_hash, seal,
    seal_load_time,
};
pub use summary::{SignatureSummary, SignerSummary};
pub use trust::{Revocation, TrustStore};
pub use verify::{Attestation, SignatureVerdict, SignerId, Strictness, TrustPath, verify_detached};

/// Bytes as lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
