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
//!
//! | feature | what |
//! |---|---|
//! | (none) | [`Scheme`], [`Seal`], digests: what is loaded |
//! | `verify` | certificates, signatures, trust |
//! | `sign` | private keys, and signing; with `verify`, and on by default |
#![forbid(unsafe_code)]

#[cfg(feature = "verify")]
mod algorithm;
#[cfg(feature = "verify")]
mod asn1;
#[cfg(feature = "verify")]
mod attestation;
#[cfg(feature = "verify")]
mod ber;
#[cfg(feature = "verify")]
mod certificate;
#[cfg(feature = "verify")]
mod config;
#[cfg(feature = "verify")]
mod digest;
#[cfg(feature = "verify")]
mod ecdsa;
#[cfg(feature = "verify")]
mod encode;
#[cfg(feature = "verify")]
mod error;
#[cfg(feature = "verify")]
mod fault;
mod hex;
#[cfg(feature = "verify")]
mod hornet;
#[cfg(feature = "sign")]
mod key;
#[cfg(feature = "verify")]
mod message;
mod mismatch;
#[cfg(feature = "verify")]
mod ml_dsa;
#[cfg(feature = "sign")]
mod ml_dsa_key;
#[cfg(feature = "verify")]
mod oid;
#[cfg(feature = "sign")]
mod p256_key;
#[cfg(feature = "verify")]
mod power;
#[cfg(feature = "verify")]
mod public_key;
mod recognise;
#[cfg(feature = "verify")]
mod rejection;
#[cfg(feature = "verify")]
mod rsa;
mod scheme;
#[cfg(feature = "sign")]
mod seal;
mod sealed;
#[cfg(feature = "sign")]
mod secret;
#[cfg(feature = "verify")]
mod strictness;
#[cfg(feature = "verify")]
mod summary;
#[cfg(feature = "verify")]
mod trust;
#[cfg(feature = "verify")]
mod verify;
#[cfg(feature = "verify")]
mod walk;
#[cfg(feature = "sign")]
mod writer;
#[cfg(feature = "verify")]
mod x509;

#[cfg(feature = "sign")]
pub use error::{KeyError, SealError};
pub use hex::hex;
#[cfg(feature = "sign")]
pub use key::{Signer, SigningKey};
pub use mismatch::Mismatch;
pub use recognise::{MetadataCheck, metadata_check, recognise};
pub use scheme::{Scheme, chain};
#[cfg(feature = "sign")]
pub use seal::{SealOptions, ToBeSigned, check_key, seal, seal_load_time};
pub use sealed::{Seal, SealedLoader, excl_prog_hash, sha256};
#[cfg(feature = "sign")]
pub use secret::Secret;
#[cfg(feature = "verify")]
pub use {
    algorithm::{KeyAlgorithm, SIGNING_DIGESTS, SignatureAlgorithm},
    attestation::{Attestation, SignatureVerdict, SignerId, TrustPath},
    certificate::Certificate,
    config::{KernelConfig, KernelConfigError},
    digest::{DigestAlgorithm, DigestName},
    error::CertificateError,
    fault::SignatureFault,
    hornet::{ListedMap, listed_maps},
    ml_dsa::MlDsaSet,
    public_key::ecdsa_to_der,
    rejection::Rejection,
    strictness::Strictness,
    summary::{SignatureSummary, SignerSummary},
    trust::{RefusedAnchor, Revocation, RevocationError, TrustStore},
    verify::{kernel_answer, verify_detached},
    x509::CertificateFault,
};
