//! Verification of a detached signature, and what it attests to.
//!
//! The verdict is the kernel's: [`crate::walk`] goes its way. What is stricter than the kernel is
//! asked for with [`Strictness`].

use crate::certificate::Certificate;
use crate::digest::DigestAlgorithm;
use crate::hex;
use crate::message::{Message, SignerInfo};
use crate::public_key::SignatureAlgorithm;
use crate::rejection::Rejection;
use crate::trust::TrustStore;
use crate::walk::{Walk, revoked_key};

/// Longest signature that `BPF_PROG_LOAD` takes, bytes.
pub(crate) const MAX_SIGNATURE: usize = 8192;

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
pub struct SignatureVerdict {
    /// Who signed.
    pub signer: SignerId,
    /// How it was signed.
    pub algorithm: SignatureAlgorithm,
    /// Who vouches for the signer, and how; or why it does not count.
    pub verdict: Result<(Certificate, TrustPath), Rejection>,
}

/// What is asked of a signature beyond what the kernel asks.
#[derive(Debug, Clone, Default)]
pub struct Strictness {
    /// All certificates have to be valid at this time, in seconds since 1970.
    pub at: Option<u64>,
    /// The signer's certificate has to be for signing code.
    pub code_signing: bool,
    /// Trust has to come from this certificate, or from one that it issued.
    pub chain_to: Option<Certificate>,
}

impl Attestation {
    /// Asks for more than the kernel does. The trust store is where issuers of the trusted
    /// certificate are looked for.
    ///
    /// # Errors
    /// [`Rejection::NotValid`], [`Rejection::NotForCode`] or [`Rejection::NotBelow`].
    pub fn check(&self, strictness: &Strictness, trust: &TrustStore) -> Result<(), Rejection> {
        let embedded: &[Certificate] = match &self.path {
            TrustPath::Direct => &[],
            TrustPath::Chain(chain) => chain,
        };
        let all = || embedded.iter().chain([&self.trusted]);
        if let Some(now) = strictness.at
            && let Some(bad) = all().find(|c| now < c.validity().0 || now > c.validity().1)
        {
            return Err(Rejection::NotValid {
                certificate: bad.subject(),
            });
        }
        let signer = embedded.first().unwrap_or(&self.trusted);
        if strictness.code_signing && !signer.is_for_code_signing() {
            return Err(Rejection::NotForCode {
                certificate: signer.subject(),
            });
        }
        let Some(wanted) = &strictness.chain_to else {
            return Ok(());
        };
        // The chain below what is trusted was checked.
        let mut at = &self.trusted;
        for _ in 0..MAX_CHAIN {
            if at == wanted || all().any(|c| c == wanted) {
                return Ok(());
            }
            let mut issuers = trust.certificates().iter().chain([wanted]);
            let issuer = issuers.find(|issuer| *issuer != at && at.is_issued_by(issuer));
            match issuer {
                Some(issuer) => at = issuer,
                None => break,
            }
        }
        Err(Rejection::NotBelow {
            trusted: self.trusted.subject(),
            wanted: wanted.subject(),
        })
    }
}

/// Most certificates above a trusted one.
const MAX_CHAIN: usize = 8;

/// Verifies a detached signature over content that comes in pieces.
///
/// # Errors
/// The [`Rejection`] that the kernel would hit first; [`Rejection::RevokedContent`] and
/// [`Rejection::RevokedButTaken`] where the kernel would take what is revoked.
pub fn verify_detached(
    content: &[&[u8]],
    signature: &[u8],
    trust: &TrustStore,
) -> Result<Attestation, Rejection> {
    if signature.is_empty() || signature.len() > MAX_SIGNATURE {
        return Err(Rejection::Size {
            size: signature.len(),
            limit: MAX_SIGNATURE,
        });
    }
    let message = Message::parse(signature)?;
    let content = content.concat();
    let mut walk = Walk::new(&message, &content, trust);
    // First what the message says of itself, then whether any of it is trusted.
    let checks = walk.verify()?;
    walk.check_revocation_list(&checks)?;
    let mut found = walk.validate(&trust.keyring(), &checks)?;
    for (signer, verdict) in message.signers.iter().zip(&found) {
        revoked_key(signer, verdict, trust)?;
    }
    // A revoked signer that is trusted nevertheless: the kernel would take it.
    let mut taken = None;
    for (check, verdict) in checks.iter().zip(&mut found) {
        if let Err(rejection) = check {
            if let (Rejection::Revoked { certificate }, Ok(_)) = (rejection, &verdict) {
                taken = Some(certificate.clone());
            }
            *verdict = Err(rejection.clone());
        }
    }
    let signatures: Vec<_> = message
        .signers
        .iter()
        .zip(found)
        .map(|(signer, verdict)| SignatureVerdict {
            signer: signer_id(signer),
            algorithm: signer.algorithm,
            verdict,
        })
        .collect();
    let decisive = signatures.iter().position(|s| s.verdict.is_ok());
    let Some(decisive) = decisive else {
        return Err(match taken {
            Some(certificate) => Rejection::RevokedButTaken { certificate },
            None => strongest(&signatures),
        });
    };
    let covered = content.len() as u64;
    check_content(&content, trust)?;
    let one = &signatures[decisive];
    let (trusted, path) = one.verdict.clone()?;
    Ok(Attestation {
        covered,
        algorithm: one.algorithm,
        signer: one.signer.clone(),
        trusted,
        path,
        signatures,
        decisive,
    })
}

/// The kernel's answer where nobody is trusted: a missing algorithm goes before a missing key, and
/// that before a revoked signer, who was passed over.
fn strongest(signatures: &[SignatureVerdict]) -> Rejection {
    let rank = |rejection: &&Rejection| match rejection {
        Rejection::UnsupportedAlgorithm { .. } => 0,
        Rejection::NoKey { .. } | Rejection::EmbeddedByKeyId { .. } => 1,
        _ => 2,
    };
    signatures
        .iter()
        .filter_map(|s| s.verdict.as_ref().err())
        .min_by_key(rank)
        .cloned()
        .unwrap_or(Rejection::NoKey {
            signer: String::new(),
        })
}

fn check_content(content: &[u8], trust: &TrustStore) -> Result<(), Rejection> {
    if !trust.has_revoked_content() {
        return Ok(());
    }
    let digest = DigestAlgorithm::Sha256.digest(content);
    if trust.is_content_revoked(&digest) {
        return Err(Rejection::RevokedContent {
            digest: hex(&digest),
        });
    }
    Ok(())
}

pub(crate) fn signer_id(signer: &SignerInfo<'_>) -> SignerId {
    if signer.by_key_id {
        SignerId::SubjectKeyId(hex(&signer.id))
    } else {
        SignerId::IssuerAndSerial {
            issuer: hex(signer.issuer),
            serial: hex(signer.serial),
        }
    }
}
