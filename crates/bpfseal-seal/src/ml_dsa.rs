//! ML-DSA (FIPS 204): keys as in RFC 9881, signatures as in RFC 9882.
//!
//! Pure, without a context: over the message itself, as the kernel checks it.

use bpfseal_uapi::Errno;
use ml_dsa::signature::SignatureEncoding as _;
use ml_dsa::{
    EncodedVerifyingKey, ExpandedSigningKey, KeyExport as _, MlDsa44, MlDsa65, MlDsa87,
    MlDsaParams, Signature, VerifyingKey,
};

use crate::ber::{OCTET_STRING, Reader, SEQUENCE};
use crate::fault::SignatureFault;

/// Bytes of the seed that a key is made of.
const SEED: usize = 32;
/// Tag of a seed in a private key: `[0] IMPLICIT OCTET STRING`.
const SEED_TAG: u8 = 0x80;

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

/// A private key. Wiped when it goes.
pub(crate) enum MlDsaKey {
    MlDsa44(Box<ExpandedSigningKey<MlDsa44>>),
    MlDsa65(Box<ExpandedSigningKey<MlDsa65>>),
    MlDsa87(Box<ExpandedSigningKey<MlDsa87>>),
}

impl MlDsaKey {
    /// Of a private key's contents: a seed, or a seed and the expanded key (RFC 9881, section 6).
    /// An expanded key alone is refused: the library can not tell a malformed one, and dies of it.
    pub(crate) fn from_choice(set: MlDsaSet, bytes: &[u8]) -> Result<Self, &'static str> {
        Ok(match set {
            MlDsaSet::MlDsa44 => Self::MlDsa44(expanded(bytes)?),
            MlDsaSet::MlDsa65 => Self::MlDsa65(expanded(bytes)?),
            MlDsaSet::MlDsa87 => Self::MlDsa87(expanded(bytes)?),
        })
    }

    pub(crate) fn set(&self) -> MlDsaSet {
        match self {
            Self::MlDsa44(_) => MlDsaSet::MlDsa44,
            Self::MlDsa65(_) => MlDsaSet::MlDsa65,
            Self::MlDsa87(_) => MlDsaSet::MlDsa87,
        }
    }

    pub(crate) fn public_key(&self) -> Vec<u8> {
        match self {
            Self::MlDsa44(key) => key.verifying_key().to_bytes().to_vec(),
            Self::MlDsa65(key) => key.verifying_key().to_bytes().to_vec(),
            Self::MlDsa87(key) => key.verifying_key().to_bytes().to_vec(),
        }
    }

    /// Deterministic: the same message has the same signature.
    pub(crate) fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        Some(match self {
            Self::MlDsa44(key) => key.sign_deterministic(message, &[]).ok()?.to_vec(),
            Self::MlDsa65(key) => key.sign_deterministic(message, &[]).ok()?.to_vec(),
            Self::MlDsa87(key) => key.sign_deterministic(message, &[]).ok()?.to_vec(),
        })
    }
}

fn expanded<P: MlDsaParams>(bytes: &[u8]) -> Result<Box<ExpandedSigningKey<P>>, &'static str> {
    const SHAPE: &str = "it is no ML-DSA key (RFC 9881)";
    let choice = Reader::new(bytes).next().map_err(|_| SHAPE)?;
    let from_seed = |seed: &[u8]| {
        let seed: [u8; SEED] = seed.try_into().map_err(|_| SHAPE)?;
        Ok(Box::new(ExpandedSigningKey::from_seed(&seed.into())))
    };
    match choice.tag {
        SEED_TAG => from_seed(choice.value),
        // Both: the seed is the shorter way to the same key.
        SEQUENCE => {
            let seed = choice.inside().expect(OCTET_STRING, SHAPE);
            from_seed(seed.map_err(|_| SHAPE)?.value)
        }
        OCTET_STRING => Err("it has the expanded key alone; write it anew with its seed"),
        _ => Err(SHAPE),
    }
}
