//! What a verification comes to.

use crate::algorithm::SignatureAlgorithm;
use crate::certificate::Certificate;
use crate::rejection::Rejection;

/// How the signer is named in a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignerId {
    /// By issuer and serial number, hexadecimal.
    IssuerAndSerial {
        /// The issuer's name in DER.
        issuer: String,
        /// The serial number.
        serial: String,
    },
    /// By subjectKeyIdentifier, hexadecimal.
    SubjectKeyId(String),
}

impl std::fmt::Display for SignerId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::IssuerAndSerial { serial, .. } => write!(f, "serial number {serial}"),
            Self::SubjectKeyId(id) => write!(f, "key id {id}"),
        }
    }
}

/// How trust in the signer was found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrustPath {
    /// The trusted certificate made the signature itself.
    Direct,
    /// Through certificates in the signature, from the signer upwards.
    Chain(Vec<Certificate>),
}

/// What a good signature says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attestation {
    /// Bytes of content that the signature covers.
    pub covered: u64,
    /// How it was signed.
    pub algorithm: SignatureAlgorithm,
    /// Who signed.
    pub signer: SignerId,
    /// The trusted certificate that vouches for it.
    pub trusted: Certificate,
    /// How the two are connected.
    pub path: TrustPath,
    /// All signatures of the message, in its order: one of them decided.
    pub signatures: Vec<SignatureVerdict>,
    /// Which one.
    pub decisive: usize,
}

/// What one signature of a message comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SignatureVerdict {
    /// Who signed.
    pub signer: SignerId,
    /// How it was signed.
    pub algorithm: SignatureAlgorithm,
    /// Who vouches for the signer, and how; or why it does not count.
    pub verdict: Result<(Certificate, TrustPath), Rejection>,
}

impl Attestation {
    /// Embedded certificates between the signer and what is trusted, from the signer upwards.
    #[must_use]
    pub fn chain(&self) -> &[Certificate] {
        match &self.path {
            TrustPath::Direct => &[],
            TrustPath::Chain(chain) => chain,
        }
    }
}
