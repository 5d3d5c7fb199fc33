//! ML-DSA (FIPS 204): signatures as in RFC 9882.
//!
//! Pure, without a context: over the message itself, as the kernel checks it.

use bpfseal_uapi::Errno;
use ml_dsa::{
    EncodedVerifyingKey, MlDsa44, MlDsa65, MlDsa87, MlDsaParams, Signature, VerifyingKey,
};

use crate::fault::SignatureFault;

/// A set of parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are the standard's")]
pub enum MlDsaSet {
    MlDsa44,
    MlDsa65,
    MlDsa87,
}

impl std::fmt::Display for MlDsaSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::MlDsa44 => "ML-DSA-44",
            Self::MlDsa65 => "ML-DSA-65",
            Self::MlDsa87 => "ML-DSA-87",
        })
    }
}

impl MlDsaSet {
    const ALL: [Self; 3] = [Self::MlDsa44, Self::MlDsa65, Self::MlDsa87];

    /// Of a key or a signature, by the contents of an object identifier: both have the same one.
    pub(crate) fn from_oid(oid: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|set| set.oid_contents() == oid)
    }

    /// Contents of its object identifier, 2.16.840.1.101.3.4.3.17 to .19.
    pub(crate) fn oid_contents(self) -> &'static [u8] {
        match self {
            Self::MlDsa44 => &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3, 17],
            Self::MlDsa65 => &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3, 18],
            Self::MlDsa87 => &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3, 19],
        }
    }

    /// Checks a signature over a message (`crypto/mldsa.c` and `lib/crypto/mldsa.c` of Linux 7.3).
    pub(crate) fn verify(
        self,
        key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), SignatureFault> {
        match self {
            Self::MlDsa44 => verify::<MlDsa44>(key, message, signature),
            Self::MlDsa65 => verify::<MlDsa65>(key, message, signature),
            Self::MlDsa87 => verify::<MlDsa87>(key, message, signature),
        }
    }
}

fn verify<P: MlDsaParams>(
    key: &[u8],
    message: &[u8],
    signature: &[u8],
) -> Result<(), SignatureFault> {
    let key = EncodedVerifyingKey::<P>::try_from(key).map_err(|_| {
        SignatureFault::new(
            Errno::EINVAL,
            "the ML-DSA key is not as long as its set wants",
        )
    })?;
    // One of another length, or no encoding.
    let signature = Signature::<P>::try_from(signature)
        .map_err(|_| SignatureFault::new(Errno::EBADMSG, "the ML-DSA signature is malformed"))?;
    let key = VerifyingKey::<P>::decode(&key);
    if key.verify_with_context(message, &[], &signature) {
        Ok(())
    } else {
        Err(SignatureFault::MISMATCH)
    }
}
