//! Schemes, seals, and sealed loaders.

use std::borrow::Cow;

use sha2::Digest as _;

use crate::certificate::Certificate;
use crate::error::SealError;
use crate::hex;
use crate::key::Signer;
use crate::trust::TrustStore;
use crate::verify::{Attestation, MAX_SIGNATURE, Rejection, verify_detached};
use crate::writer;

/// Which bytes are signed, and who checks them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scheme {
    /// Linux ≥ 7.3: instructions, then metadata; the kernel checks both in `BPF_PROG_LOAD`,
    /// before any security module is asked.
    LoadTime,
}

impl Scheme {
    /// All of them, strongest first.
    pub const ALL: [Self; 1] = [Self::LoadTime];

    /// Names of the statics of a Rust skeleton: instructions and signature.
    pub(crate) fn constants(self) -> (&'static str, &'static str) {
        match self {
            Self::LoadTime => ("LOAD_TIME_INSTRUCTIONS", "LOAD_TIME_SIGNATURE"),
        }
    }

    /// Name of the variant, for generated code.
    #[must_use]
    pub fn variant(self) -> &'static str {
        match self {
            Self::LoadTime => "LoadTime",
        }
    }

    /// Name on the command line and in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::LoadTime => "load-time",
        }
    }
}

/// A scheme, its signature, and the digest that the metadata map is bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seal {
    /// The scheme.
    pub scheme: Scheme,
    /// CMS `SignedData` in DER.
    pub signature: Cow<'static, [u8]>,
    /// SHA-256 of the instructions: only a program of that digest may use the map.
    pub excl_prog_hash: [u8; 32],
}

/// The digest that a loader's metadata map is bound to: SHA-256 of its instructions.
#[must_use]
pub fn excl_prog_hash(instructions: &[u8]) -> [u8; 32] {
    sha2::Sha256::digest(instructions).into()
}

/// Signs a loader for load-time verification.
///
/// # Errors
/// [`SealError`] when key and certificate do not belong together, the certificate has no key
/// identifier, or the key can not sign.
pub fn seal_load_time(
    instructions: &[u8],
    metadata: &[u8],
    key: &dyn Signer,
    certificate: &Certificate,
) -> Result<Seal, SealError> {
    check_key(key, certificate)?;
    let key_id = certificate
        .subject_key_id()
        .ok_or_else(|| SealError::NoKeyIdentifier {
            subject: certificate.subject(),
        })?;
    let message = [instructions, metadata].concat();
    let signature = key.sign_sha256(&message)?;
    let signature = writer::signed_data(key_id, key.algorithm(), signature)?;
    if signature.len() > MAX_SIGNATURE {
        return Err(SealError::TooLong {
            size: signature.len(),
            limit: MAX_SIGNATURE,
        });
    }
    Ok(Seal {
        scheme: Scheme::LoadTime,
        signature: Cow::Owned(signature),
        excl_prog_hash: excl_prog_hash(instructions),
    })
}

/// Checks that a key is the certificate's: both have to have the same public key.
///
/// # Errors
/// [`SealError::KeyMismatch`], which says which key the certificate wants.
pub fn check_key(key: &dyn Signer, certificate: &Certificate) -> Result<(), SealError> {
    let given = key.public_key();
    if given == certificate.public_key() {
        return Ok(());
    }
    let short = |bytes: &[u8]| hex(&sha2::Sha256::digest(bytes)[..10]);
    Err(SealError::KeyMismatch {
        subject: certificate.subject(),
        wanted: certificate_key_name(certificate),
        wanted_id: short(certificate.public_key()),
        given: key.algorithm().to_string(),
        given_id: short(&given),
    })
}

fn certificate_key_name(certificate: &Certificate) -> String {
    use crate::public_key::{P256, P384, P521};
    match certificate.public_key_curve() {
        Some(P256) => "ECDSA P-256".to_owned(),
        Some(P384) => "ECDSA P-384".to_owned(),
        Some(P521) => "ECDSA P-521".to_owned(),
        _ if certificate.public_key_algorithm().to_string() == "1.2.840.113549.1.1.1" => {
            // SEQUENCE { modulus INTEGER, exponent INTEGER }
            let bits = crate::ber::Reader::new(certificate.public_key())
                .next()
                .and_then(|sequence| sequence.inside().next())
                .map_or(0, |modulus| {
                    modulus.value.iter().skip_while(|b| **b == 0).count() * 8
                });
            format!("RSA-{bits}")
        }
        _ => certificate.public_key_algorithm().to_string(),
    }
}

/// A loader with its seal, from wherever it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealedLoader<'a> {
    /// The loader's instructions.
    pub instructions: &'a [u8],
    /// The value of its metadata map.
    pub metadata: &'a [u8],
    /// What vouches for them.
    pub seal: &'a Seal,
}

impl SealedLoader<'_> {
    /// Checks the seal as the kernel would, against what is trusted.
    ///
    /// # Errors
    /// The [`Rejection`] that the kernel would hit first.
    pub fn verify(&self, trust: &TrustStore) -> Result<Attestation, Rejection> {
        // Binding the map comes before the signature.
        let computed = excl_prog_hash(self.instructions);
        if computed != self.seal.excl_prog_hash {
            return Err(Rejection::ExclProgHash {
                found: hex(&self.seal.excl_prog_hash),
                computed: hex(&computed),
            });
        }
        match self.seal.scheme {
            Scheme::LoadTime => verify_detached(
                &[self.instructions, self.metadata],
                &self.seal.signature,
                trust,
            ),
        }
    }
}
