//! Verification of a detached signature, and what it attests to.
//!
//! The verdict is the kernel's: [`crate::walk`] goes its way. Where the kernel takes what nobody
//! should trust, the verdict here is a rejection that has no errno.

use bpfseal_uapi::Errno;
use bpfseal_uapi::limits::{MAX_INSNS, MAX_SIGNATURE, MAX_SIGNED_PAYLOAD};

use crate::attestation::{Attestation, SignatureVerdict, TrustPath};
use crate::certificate::Certificate;
use crate::digest::DigestAlgorithm;
use crate::hex::hex;
use crate::message::Message;
use crate::rejection::Rejection;
use crate::scheme::Scheme;
use crate::sealed::SealedLoader;
use crate::trust::TrustStore;
use crate::walk::{Trusted, Walk, revoked_key};

/// Bytes of an instruction.
const INSN_SIZE: usize = 8;

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
    let size = content.iter().map(|part| part.len()).sum();
    if size > MAX_SIGNED_PAYLOAD {
        return Err(Rejection::PayloadSize {
            size,
            limit: MAX_SIGNED_PAYLOAD,
        });
    }
    let message = Message::parse(signature, trust.config())?;
    let content = content.concat();
    let mut walk = Walk::new(&message, &content, trust);
    // First what the message says of itself, then whether any of it is trusted.
    let checks = walk.verify()?;
    walk.check_revocation_list(&checks)?;
    let found = walk.validate(&trust.keyring(), &checks)?;
    for (signer, verdict) in message.signers.iter().zip(&found) {
        revoked_key(signer, verdict, trust)?;
    }
    let mut found: Vec<_> = found
        .into_iter()
        .map(|one| one.and_then(with_digests))
        .collect();
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
            signer: signer.signer(),
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

/// What the kernel answers to a detached signature: it takes some that nobody should trust.
///
/// # Errors
/// The kernel's errno.
pub fn kernel_answer(content: &[&[u8]], signature: &[u8], trust: &TrustStore) -> Result<(), Errno> {
    match verify_detached(content, signature, trust) {
        Ok(_) => Ok(()),
        Err(rejection) => rejection.errno().map_or(Ok(()), Err),
    }
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

/// Refuses trust that a signature without a digest is part of: anybody could have made it.
fn with_digests(trusted: Trusted) -> Result<(Certificate, TrustPath), Rejection> {
    match trusted.undigested {
        Some(certificate) => Err(Rejection::UndigestedButTaken { certificate }),
        None => Ok((trusted.key, trusted.path)),
    }
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

impl SealedLoader<'_> {
    /// Checks the seal as the kernel would, against what is trusted.
    ///
    /// # Errors
    /// The [`Rejection`] that the kernel would hit first.
    pub fn verify(&self, trust: &TrustStore) -> Result<Attestation, Rejection> {
        let count = self.instructions.len() / INSN_SIZE;
        if count == 0 || count > MAX_INSNS {
            let limit = MAX_INSNS;
            return Err(Rejection::Instructions { count, limit });
        }
        // Binding the map comes before the signature.
        self.check()?;
        let scheme = self.seal.scheme;
        let content = scheme.content(self.instructions, self.metadata);
        let content: Vec<&[u8]> = content.iter().map(|part| &**part).collect();
        let attestation = verify_detached(&content, &self.seal.signature, trust)?;
        if scheme == Scheme::Hornet {
            crate::hornet::check(&self.seal.signature, attestation.decisive, &[self.metadata])?;
        }
        Ok(attestation)
    }
}
