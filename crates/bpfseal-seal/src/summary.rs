//! What a signature says of itself, without any trust.

use crate::certificate::Certificate;
use crate::digest::DigestAlgorithm;
use crate::message::Message;
use crate::public_key::SignatureAlgorithm;
use crate::rejection::Rejection;
use crate::verify::{SignerId, signer_id};

/// What a CMS signature says of itself. Nothing of it is verified.
#[derive(Debug, Clone)]
pub struct SignatureSummary {
    /// Who claims to have signed.
    pub signers: Vec<SignerSummary>,
    /// Certificates that came along.
    pub certificates: Vec<Certificate>,
}

/// One of the signatures in a message.
#[derive(Debug, Clone)]
pub struct SignerSummary {
    /// How the signer is named.
    pub id: SignerId,
    /// How it was signed.
    pub algorithm: SignatureAlgorithm,
    /// The digest that is named beside it.
    pub digest: DigestAlgorithm,
    /// Whether attributes are signed, and the content through them.
    pub signed_attributes: bool,
}

impl SignatureSummary {
    /// Reads a signature.
    ///
    /// # Errors
    /// The [`Rejection`] that the kernel's parser would answer.
    pub fn parse(signature: &[u8]) -> Result<Self, Rejection> {
        let message = Message::parse(signature)?;
        Ok(Self {
            signers: message
                .signers
                .iter()
                .map(|signer| SignerSummary {
                    id: signer_id(signer),
                    algorithm: signer.algorithm,
                    digest: signer.digest,
                    signed_attributes: signer.attributes.is_some(),
                })
                .collect(),
            certificates: message.certificates,
        })
    }
}
