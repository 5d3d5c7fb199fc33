//! Private keys of ML-DSA, as in RFC 9881.

use ml_dsa::signature::SignatureEncoding as _;
use ml_dsa::{ExpandedSigningKey, KeyExport as _, MlDsa44, MlDsa65, MlDsa87, MlDsaParams};

use crate::ber::{OCTET_STRING, Reader, SEQUENCE};
use crate::ml_dsa::MlDsaSet;

/// Bytes of the seed that a key is made of.
const SEED: usize = 32;
/// Tag of a seed in a private key: `[0] IMPLICIT OCTET STRING`.
const SEED_TAG: u8 = 0x80;

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
