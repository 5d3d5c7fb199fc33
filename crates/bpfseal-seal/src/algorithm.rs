//! The tables of algorithms: of signatures, of public keys, and of keys that sign.
//!
//! What the kernel knows by an object identifier, and what is written. Nothing is computed here.

use bpfseal_uapi::Errno;
use der::asn1::ObjectIdentifier;

use crate::digest::{DigestAlgorithm, DigestName};
use crate::ecdsa::Curve;
#[cfg(feature = "sign")]
use crate::encode::algorithm_identifier;
use crate::fault::SignatureFault;
use crate::ml_dsa::MlDsaSet;
use crate::oid::{EC_PUBLIC_KEY, GOST_256, GOST_512, P192, P256, P384, P521, RSA};

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

/// Algorithm and size of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyAlgorithm {
    /// ECDSA on NIST P-256.
    EcdsaP256,
    /// ECDSA on NIST P-384.
    EcdsaP384,
    /// ECDSA on NIST P-521.
    EcdsaP521,
    /// ML-DSA (FIPS 204), pure: over the message itself.
    MlDsa(MlDsaSet),
    /// RSA, PKCS#1 v1.5, with that many bits.
    Rsa(usize),
}

impl std::fmt::Display for KeyAlgorithm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::EcdsaP256 => f.write_str("ECDSA P-256"),
            Self::EcdsaP384 => f.write_str("ECDSA P-384"),
            Self::EcdsaP521 => f.write_str("ECDSA P-521"),
            Self::MlDsa(set) => write!(f, "{set}"),
            Self::Rsa(bits) => write!(f, "RSA-{bits}"),
        }
    }
}

impl KeyAlgorithm {
    /// The digest that is named beside a signature where none was asked for.
    #[must_use]
    pub fn default_digest(self) -> DigestAlgorithm {
        match self {
            // Not used, where no attributes are signed (RFC 9882, section 3.3).
            Self::MlDsa(_) => DigestAlgorithm::Sha512,
            _ => DigestAlgorithm::Sha256,
        }
    }

    /// Whether a digest can stand beside its signatures: with ML-DSA, which takes the message, the
    /// kernel takes SHA-512 alone.
    #[must_use]
    pub fn takes(self, digest: DigestAlgorithm) -> bool {
        match self {
            Self::MlDsa(_) => digest == DigestAlgorithm::Sha512,
            _ => SIGNING_DIGESTS.contains(&digest),
        }
    }

    /// The algorithm of a signature as CMS names it: for RSA without the digest, as bpftool does.
    #[cfg(feature = "sign")]
    pub(crate) fn signature_identifier(self, digest: DigestAlgorithm) -> Vec<u8> {
        const NULL: &[u8] = &[5, 0];
        match self {
            Self::Rsa(_) => algorithm_identifier(RSA.as_bytes(), NULL),
            Self::MlDsa(set) => algorithm_identifier(set.oid_contents(), &[]),
            Self::EcdsaP256 | Self::EcdsaP384 | Self::EcdsaP521 => {
                // ecdsa-with-SHA224 to -SHA512 (RFC 5758).
                let last = match digest {
                    DigestAlgorithm::Sha224 => 1,
                    DigestAlgorithm::Sha384 => 3,
                    DigestAlgorithm::Sha512 => 4,
                    _ => 2,
                };
                algorithm_identifier(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, last], &[])
            }
        }
    }
}

/// Digests that signatures are made with.
pub const SIGNING_DIGESTS: [DigestAlgorithm; 3] = [
    DigestAlgorithm::Sha256,
    DigestAlgorithm::Sha384,
    DigestAlgorithm::Sha512,
];

#[cfg(test)]
mod tests {
    use super::*;

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
