//! What a signature says of itself, without any trust.

use crate::algorithm::SignatureAlgorithm;
use crate::attestation::SignerId;
use crate::certificate::Certificate;
use crate::config::KernelConfig;
use crate::digest::DigestName;
use crate::message::Message;
use crate::rejection::Rejection;

/// What a CMS signature says of itself. Nothing of it is verified.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SignatureSummary {
    /// Who claims to have signed.
    pub signers: Vec<SignerSummary>,
    /// Certificates that came along.
    pub certificates: Vec<Certificate>,
}

/// One of the signatures in a message.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SignerSummary {
    /// How the signer is named.
    pub id: SignerId,
    /// How it was signed.
    pub algorithm: SignatureAlgorithm,
    /// The digest that is named beside it.
    pub digest: DigestName,
    /// Whether attributes are signed, and the content through them.
    pub signed_attributes: bool,
}

impl SignatureSummary {
    /// Reads a signature.
    ///
    /// # Errors
    /// The [`Rejection`] that the parser of a kernel with every algorithm would answer.
    pub fn parse(signature: &[u8]) -> Result<Self, Rejection> {
        let message = Message::parse(signature, &KernelConfig::EVERYTHING)?;
        Ok(Self {
            signers: message
                .signers
                .iter()
                .map(|signer| SignerSummary {
                    id: signer.signer(),
                    algorithm: signer.algorithm,
                    digest: signer.algorithm.digest,
                    signed_attributes: signer.attributes.is_some(),
                })
                .collect(),
            certificates: message
                .certificates
                .into_iter()
                .map(|embedded| embedded.certificate)
                .collect(),
        })
    }
}
