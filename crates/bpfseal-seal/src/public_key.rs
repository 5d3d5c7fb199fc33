//! Checking a signature with a public key, the way the kernel's `public_key.c` does.

use std::borrow::Cow;

use bpfseal_uapi::Errno;
use der::asn1::ObjectIdentifier;

use crate::ber::{INTEGER, SEQUENCE};
use crate::digest::{DigestAlgorithm, DigestName};
use crate::ecdsa::{self, Curve};
use crate::encode::tlv;
use crate::fault::SignatureFault;
use crate::ml_dsa::MlDsaSet;
use crate::profile::CryptoProfile;
use crate::rsa;

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
/// NIST P-192.
const P192: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.1");
/// NIST P-256.
pub(crate) const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
/// NIST P-384.
pub(crate) const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
/// NIST P-521.
pub(crate) const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");
/// GOST R 34.10-2012.
const GOST_256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.643.7.1.1.1.1");
const GOST_512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.643.7.1.1.1.2");

/// The family of a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum KeyKind {
    Ecdsa,
    /// GOST R 34.10-2012. Known to the parsers; no kernel that is modelled has it built in.
    Ecrdsa,
    Rsa,
    MlDsa(MlDsaSet),
}

impl KeyKind {
    /// By the signature algorithm of a message, as the contents of an object identifier: of an
    /// ECDSA one only the family counts, the digest has an identifier of its own
    /// (`pkcs7_sig_note_pkey_algo`).
    pub(crate) fn from_signature_oid(oid: &[u8]) -> Option<Self> {
        if oid == RSA.as_bytes() {
            return Some(Self::Rsa);
        }
        if [GOST_256, GOST_512]
            .iter()
            .any(|gost| gost.as_bytes() == oid)
        {
            return Some(Self::Ecrdsa);
        }
        match SignatureAlgorithm::of_certificate(oid) {
            Some(SignatureAlgorithm {
                kind: kind @ (Self::Ecdsa | Self::MlDsa(_)),
                ..
            }) => Some(kind),
            _ => None,
        }
    }
}

/// How something was signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SignatureAlgorithm {
    pub(crate) kind: KeyKind,
    pub(crate) digest: DigestName,
}

/// Signature algorithms of certificates (`x509_note_sig_algo`).
const CERTIFICATE_ALGORITHMS: [(&str, KeyKind, DigestName); 18] = {
    use DigestAlgorithm as D;
    use DigestName::{Known, Streebog256, Streebog512};
    use KeyKind::{Ecdsa, Ecrdsa, Rsa};
    [
        ("1.2.643.7.1.1.3.2", Ecrdsa, Streebog256),
        ("1.2.643.7.1.1.3.3", Ecrdsa, Streebog512),
        ("1.2.840.10045.4.1", Ecdsa, Known(D::Sha1)),
        ("1.2.840.10045.4.3.1", Ecdsa, Known(D::Sha224)),
        ("1.2.840.10045.4.3.2", Ecdsa, Known(D::Sha256)),
        ("1.2.840.10045.4.3.3", Ecdsa, Known(D::Sha384)),
        ("1.2.840.10045.4.3.4", Ecdsa, Known(D::Sha512)),
        ("1.2.840.113549.1.1.11", Rsa, Known(D::Sha256)),
        ("1.2.840.113549.1.1.12", Rsa, Known(D::Sha384)),
        ("1.2.840.113549.1.1.13", Rsa, Known(D::Sha512)),
        ("1.2.840.113549.1.1.14", Rsa, Known(D::Sha224)),
        ("1.2.840.113549.1.1.5", Rsa, Known(D::Sha1)),
        ("2.16.840.1.101.3.4.3.10", Ecdsa, Known(D::Sha3_256)),
        ("2.16.840.1.101.3.4.3.11", Ecdsa, Known(D::Sha3_384)),
        ("2.16.840.1.101.3.4.3.12", Ecdsa, Known(D::Sha3_512)),
        ("2.16.840.1.101.3.4.3.14", Rsa, Known(D::Sha3_256)),
        ("2.16.840.1.101.3.4.3.15", Rsa, Known(D::Sha3_384)),
        ("2.16.840.1.101.3.4.3.16", Rsa, Known(D::Sha3_512)),
    ]
};

impl SignatureAlgorithm {
    /// By the signature algorithm of a certificate, as the contents of an object identifier: it
    /// names the digest too.
    pub(crate) fn of_certificate(oid: &[u8]) -> Option<Self> {
        if let Some(set) = MlDsaSet::from_oid(oid) {
            // It takes the message itself; SHA-512 is what stands beside it in a message.
            return Some(Self {
                kind: KeyKind::MlDsa(set),
                digest: DigestName::Known(DigestAlgorithm::Sha512),
            });
        }
        let mut rows = CERTIFICATE_ALGORITHMS.iter();
        let row = rows.find(|row| ObjectIdentifier::new_unwrap(row.0).as_bytes() == oid)?;
        Some(Self {
            kind: row.1,
            digest: row.2,
        })
    }
}

impl std::fmt::Display for SignatureAlgorithm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match self.kind {
            KeyKind::Ecdsa => "ecdsa",
            KeyKind::Ecrdsa => "ecrdsa",
            KeyKind::Rsa => "rsa",
            KeyKind::MlDsa(set) => return write!(f, "{set}"),
        };
        write!(f, "{kind} with {}", self.digest.name())
    }
}

/// The algorithm of a public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum PublicKeyAlgorithm {
    Ecdsa(Curve),
    Ecrdsa,
    Rsa,
    MlDsa(MlDsaSet),
}

impl PublicKeyAlgorithm {
    /// By the algorithm of a certificate's key, and its parameters as they are encoded
    /// (`x509_extract_key_data`).
    pub(crate) fn of_certificate(
        oid: &[u8],
        parameters: Option<&[u8]>,
    ) -> Result<Self, SignatureFault> {
        const UNKNOWN: SignatureFault =
            SignatureFault::new(Errno::ENOPKG, "the kernel knows no keys of that algorithm");
        if oid == RSA.as_bytes() {
            return Ok(Self::Rsa);
        }
        if [GOST_256, GOST_512]
            .iter()
            .any(|gost| gost.as_bytes() == oid)
        {
            return Ok(Self::Ecrdsa);
        }
        if oid != EC_PUBLIC_KEY.as_bytes() {
            return MlDsaSet::from_oid(oid).map(Self::MlDsa).ok_or(UNKNOWN);
        }
        let Some([0x06, len, curve @ ..]) = parameters else {
            return Err(NO_CURVE);
        };
        if curve.is_empty() || usize::from(*len) != curve.len() {
            return Err(NO_CURVE);
        }
        let curves = [
            (P192, Curve::P192),
            (P256, Curve::P256),
            (P384, Curve::P384),
            (P521, Curve::P521),
        ];
        let known = curves.iter().find(|row| row.0.as_bytes() == curve);
        known
            .map(|row| Self::Ecdsa(row.1))
            .ok_or(SignatureFault::new(
                Errno::ENOPKG,
                "the kernel has the curves P-192, P-256, P-384 and P-521 alone",
            ))
    }

    pub(crate) fn kind(self) -> KeyKind {
        match self {
            Self::Ecdsa(_) => KeyKind::Ecdsa,
            Self::Ecrdsa => KeyKind::Ecrdsa,
            Self::Rsa => KeyKind::Rsa,
            Self::MlDsa(set) => KeyKind::MlDsa(set),
        }
    }
}

const NO_CURVE: SignatureFault =
    SignatureFault::new(Errno::EBADMSG, "the public key does not name its curve");

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
    profile: &CryptoProfile,
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
            if !profile.rsa {
                return Err(MISSING);
            }
            rsa::verify(key.bytes, digest, over, signature.bytes)
        }
        (PublicKeyAlgorithm::Ecdsa(curve), DigestName::Known(_)) => {
            if !profile.ecdsa {
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
            if !profile.ml_dsa {
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

    #[test]
    fn every_algorithm_is_listed_once() {
        let mut all: Vec<_> = CERTIFICATE_ALGORITHMS.iter().map(|row| row.0).collect();
        all.dedup();
        assert_eq!(all.len(), CERTIFICATE_ALGORITHMS.len());
        assert!(all.is_sorted());
        for oid in all {
            let oid = ObjectIdentifier::new_unwrap(oid);
            assert!(SignatureAlgorithm::of_certificate(oid.as_bytes()).is_some());
        }
    }
}
