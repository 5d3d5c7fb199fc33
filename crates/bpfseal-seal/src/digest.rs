//! Digest algorithms that the kernel's PKCS#7 parser knows, by object identifier.
//!
//! Source: `pkcs7_sig_note_digest_algo` of Linux 7.3. SM3 and Streebog are known there, and not
//! computed here: no kernel that is modelled has them built in.

use der::asn1::ObjectIdentifier;
use sha2::Digest as _;

use crate::ber::{OCTET_STRING, SEQUENCE};
use crate::config::KernelConfig;
use crate::encode::{algorithm_identifier, tlv};

/// A digest algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the names are the algorithms'")]
pub enum DigestAlgorithm {
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
    Sha3_256,
    Sha3_384,
    Sha3_512,
}

/// Algorithm, and its name in the kernel's crypto API.
const DIGESTS: [(DigestAlgorithm, &str); 8] = [
    (DigestAlgorithm::Sha1, "sha1"),
    (DigestAlgorithm::Sha224, "sha224"),
    (DigestAlgorithm::Sha256, "sha256"),
    (DigestAlgorithm::Sha384, "sha384"),
    (DigestAlgorithm::Sha512, "sha512"),
    (DigestAlgorithm::Sha3_256, "sha3-256"),
    (DigestAlgorithm::Sha3_384, "sha3-384"),
    (DigestAlgorithm::Sha3_512, "sha3-512"),
];

/// A digest algorithm that a signature names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the names are the algorithms'")]
pub enum DigestName {
    Known(DigestAlgorithm),
    Sm3,
    Streebog256,
    Streebog512,
}

/// Those that are not computed here: object identifier, name.
const NAMED_ONLY: [(DigestName, ObjectIdentifier, &str); 3] = [
    (
        DigestName::Sm3,
        ObjectIdentifier::new_unwrap("1.2.156.10197.1.401"),
        "sm3",
    ),
    (
        DigestName::Streebog256,
        ObjectIdentifier::new_unwrap("1.2.643.7.1.1.2.2"),
        "streebog256",
    ),
    (
        DigestName::Streebog512,
        ObjectIdentifier::new_unwrap("1.2.643.7.1.1.2.3"),
        "streebog512",
    ),
];

impl DigestName {
    /// By the contents of an object identifier.
    pub(crate) fn from_oid(oid: &[u8]) -> Option<Self> {
        let known = DIGESTS.iter().map(|row| row.0);
        let mut known = known.filter(|digest| digest.oid_contents() == oid);
        known.next().map(Self::Known).or_else(|| {
            let row = NAMED_ONLY.iter().find(|row| row.1.as_bytes() == oid);
            row.map(|row| row.0)
        })
    }

    /// The kernel's name of it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Known(digest) => digest.name(),
            other => NAMED_ONLY
                .iter()
                .find(|row| row.0 == other)
                .map_or("", |row| row.2),
        }
    }

    /// The algorithm, if a kernel has it.
    pub(crate) fn in_kernel(self, config: &KernelConfig) -> Option<DigestAlgorithm> {
        let Self::Known(digest) = self else {
            return None;
        };
        let there = match digest {
            DigestAlgorithm::Sha1 => config.sha1,
            DigestAlgorithm::Sha224 | DigestAlgorithm::Sha256 => config.sha256,
            DigestAlgorithm::Sha384 | DigestAlgorithm::Sha512 => config.sha512,
            DigestAlgorithm::Sha3_256 | DigestAlgorithm::Sha3_384 | DigestAlgorithm::Sha3_512 => {
                config.sha3
            }
        };
        there.then_some(digest)
    }
}

impl DigestAlgorithm {
    /// Contents of the object identifier.
    pub(crate) fn oid_contents(self) -> &'static [u8] {
        match self {
            Self::Sha1 => &[0x2b, 14, 3, 2, 26],
            Self::Sha224 => &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 4],
            Self::Sha256 => &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1],
            Self::Sha384 => &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2],
            Self::Sha512 => &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3],
            Self::Sha3_256 => &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 8],
            Self::Sha3_384 => &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 9],
            Self::Sha3_512 => &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 10],
        }
    }

    /// The kernel's name of it.
    #[must_use]
    pub fn name(self) -> &'static str {
        DIGESTS
            .iter()
            .find(|row| row.0 == self)
            .map_or("", |row| row.1)
    }

    /// A digest with its algorithm, as PKCS#1 v1.5 signs it (`DigestInfo`, RFC 8017, 9.2): for
    /// tokens that are given the digest.
    #[must_use]
    pub fn digest_info(self, digest: &[u8]) -> Vec<u8> {
        const NULL: &[u8] = &[5, 0];
        let parts = [
            algorithm_identifier(self.oid_contents(), NULL),
            tlv(OCTET_STRING, digest),
        ];
        tlv(SEQUENCE, &parts.concat())
    }

    /// The digest of bytes.
    #[must_use]
    pub fn digest(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha1 => sha1::Sha1::digest(bytes).to_vec(),
            Self::Sha224 => sha2::Sha224::digest(bytes).to_vec(),
            Self::Sha256 => sha2::Sha256::digest(bytes).to_vec(),
            Self::Sha384 => sha2::Sha384::digest(bytes).to_vec(),
            Self::Sha512 => sha2::Sha512::digest(bytes).to_vec(),
            Self::Sha3_256 => sha3::Sha3_256::digest(bytes).to_vec(),
            Self::Sha3_384 => sha3::Sha3_384::digest(bytes).to_vec(),
            Self::Sha3_512 => sha3::Sha3_512::digest(bytes).to_vec(),
        }
    }
}
