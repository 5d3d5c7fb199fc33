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

mod asn1;
mod attestation;
mod ber;
mod certificate;
mod digest;
mod ecdsa;
mod error;
mod fault;
mod hornet;
mod key;
mod message;
mod ml_dsa;
mod profile;
mod public_key;
mod rejection;
mod rsa;
mod scheme;
mod seal;
mod secret;
mod strictness;
mod summary;
mod trust;
mod verify;
mod walk;
mod writer;
mod x509;

pub use attestation::{Attestation, SignatureVerdict, SignerId, TrustPath};
pub use certificate::Certificate;
pub use digest::{DigestAlgorithm, DigestName};
pub use error::{CertificateError, KeyError, SealError};
pub use fault::SignatureFault;
pub use hornet::{ListedMap, listed_maps};
pub use key::{KeyAlgorithm, SIGNING_DIGESTS, Signer, SigningKey};
pub use ml_dsa::MlDsaSet;
pub use profile::CryptoProfile;
pub use public_key::{SignatureAlgorithm, ecdsa_to_der};
pub use rejection::Rejection;
pub use scheme::{Scheme, chain};
pub use seal::{
    Seal, SealOptions, SealedLoader, ToBeSigned, check_key, checked_digest, excl_prog_hash, seal,
    seal_load_time,
};
pub use secret::Secret;
pub use strictness::Strictness;
pub use summary::{SignatureSummary, SignerSummary};
pub use trust::{Revocation, TrustStore};
pub use verify::{kernel_answer, verify_detached};
pub use x509::CertificateFault;

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
