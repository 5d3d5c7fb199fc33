//! Seals, and loaders with them: what is in artifacts, and what is loaded.

use sha2::Digest as _;

use crate::scheme::Scheme;

/// A scheme, its signature, and the digest that the metadata map is bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seal {
    /// The scheme.
    pub scheme: Scheme,
    /// CMS `SignedData` in DER.
    pub signature: Vec<u8>,
    /// SHA-256 of the instructions: only a program of that digest may use the map.
    pub excl_prog_hash: [u8; 32],
}

/// The digest that a loader's metadata map is bound to: SHA-256 of its instructions.
#[must_use]
pub fn excl_prog_hash(instructions: &[u8]) -> [u8; 32] {
    sha2::Sha256::digest(instructions).into()
}

/// SHA-256.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    sha2::Sha256::digest(bytes).into()
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
