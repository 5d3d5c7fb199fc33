//! Checking a signature with a public key, the way the kernel's `public_key.c` does.

use std::borrow::Cow;

use bpfseal_uapi::Errno;

use crate::algorithm::{PublicKeyAlgorithm, SignatureAlgorithm};
use crate::ber::{INTEGER, SEQUENCE};
use crate::config::KernelConfig;
use crate::digest::{DigestAlgorithm, DigestName};
use crate::ecdsa::{self, Curve};
use crate::encode::tlv;
use crate::fault::SignatureFault;
use crate::rsa;

/// A public key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PublicKey<'a> {
    pub(crate) algorithm: PublicKeyAlgorithm,
    /// As in `subjectPublicKey`.
    pub(crate) bytes: &'a [u8],
}

/// What a signature is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Signed<'a> {
    /// A digest.
    Digest(Vec<u8>),
    /// A message, for an algorithm that takes one.
    Message(Cow<'a, [u8]>),
    /// Something of which the kernel cannot compute the digest, and has none.
    NoDigest,
}

/// A signature, and what it is over.
#[derive(Debug, Clone)]
pub(crate) struct Signature<'a> {
    pub(crate) algorithm: SignatureAlgorithm,
    pub(crate) signed: Signed<'a>,
    pub(crate) bytes: &'a [u8],
}

/// Checks a signature (`public_key_verify_signature`).
pub(crate) fn verify(
    key: PublicKey<'_>,
    signature: &Signature<'_>,
    config: &KernelConfig,
) -> Result<(), SignatureFault> {
    const MISSING: SignatureFault =
        SignatureFault::new(Errno::ENOENT, "the kernel does not have the algorithm");
    let SignatureAlgorithm { kind, digest } = signature.algorithm;
    if key.algorithm.kind() != kind {
        return Err(SignatureFault::new(
            Errno::EKEYREJECTED,
            "the key is of another kind than the signature",
        ));
    }
    let over: &[u8] = match &signature.signed {
        Signed::Digest(digest) => digest,
        Signed::Message(message) => message,
        Signed::NoDigest => &[],
    };
    match (key.algorithm, digest) {
        (PublicKeyAlgorithm::Rsa, DigestName::Known(digest)) => {
            if !config.rsa || config.fips && digest == DigestAlgorithm::Sha1 {
                return Err(MISSING);
            }
            rsa::verify(key.bytes, digest, over, signature.bytes, config.fips)
        }
        (PublicKeyAlgorithm::Ecdsa(curve), DigestName::Known(_)) => {
            if !config.ecdsa || config.fips && curve == Curve::P192 {
                return Err(MISSING);
            }
            ecdsa::verify(curve, key.bytes, over, signature.bytes)
        }
        (PublicKeyAlgorithm::MlDsa(set), digest) => {
            let beside = matches!(digest, DigestName::Known(DigestAlgorithm::Sha512));
            if !beside {
                return Err(SignatureFault::new(
                    Errno::EINVAL,
                    "ML-DSA stands beside SHA-512 alone",
                ));
            }
            if !config.ml_dsa {
                return Err(MISSING);
            }
            set.verify(key.bytes, over, signature.bytes)
        }
        (PublicKeyAlgorithm::Ecrdsa, DigestName::Streebog256 | DigestName::Streebog512) => {
            Err(MISSING)
        }
        (
            PublicKeyAlgorithm::Rsa | PublicKeyAlgorithm::Ecdsa(_) | PublicKeyAlgorithm::Ecrdsa,
            _,
        ) => Err(SignatureFault::new(
            Errno::EINVAL,
            "the key and the digest do not go together",
        )),
    }
}

/// Two numbers of the field's size, as tokens answer an ECDSA signature, as `ECDSA-Sig-Value` in
/// DER. `None` for bytes of another length.
#[must_use]
pub fn ecdsa_to_der(raw: &[u8], size: usize) -> Option<Vec<u8>> {
    if size == 0 || raw.len() != size * 2 {
        return None;
    }
    let number = |bytes: &[u8]| {
        let skipped = bytes.iter().take_while(|b| **b == 0).count();
        let bytes = &bytes[skipped.min(bytes.len() - 1)..];
        // A number whose first bit is set would be negative.
        let sign: &[u8] = if bytes[0] & 0x80 == 0 { &[] } else { &[0] };
        tlv(INTEGER, &[sign, bytes].concat())
    };
    let (r, s) = raw.split_at(size);
    Some(tlv(SEQUENCE, &[number(r), number(s)].concat()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_signatures_of_ecdsa_are_encoded() {
        let der = ecdsa_to_der(&[0, 0x80, 0, 0], 2).unwrap();
        assert_eq!(der, [0x30, 7, 2, 2, 0, 0x80, 2, 1, 0]);
        assert_eq!(ecdsa_to_der(&[1, 2, 3], 2), None);
        assert_eq!(ecdsa_to_der(&[], 0), None);
    }
}
