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

/// The digest that a loader of an in-loader scheme compares its metadata with: the constants of
/// the comparison that it begins with.
#[must_use]
pub fn checked_digest(instructions: &[u8]) -> Option<[u8; 32]> {
    // Registers share a byte, whose halves are the other way round in big-endian code; the first
    // instruction is `r6 = r1`.
    let big = instructions.get(1) == Some(&0x61);
    let registers = |dst: u8, src: u8| if big { dst << 4 | src } else { src << 4 | dst };
    let insns: Vec<&[u8]> = instructions.chunks_exact(8).collect();
    let mut digest = [0; 32];
    let mut words = 0;
    // `r1 = map`, in two; `r2 = *(u64 *)(r1 + 8 * word)`; `r3 = constant`, in two.
    for window in insns.windows(5) {
        let offset: u8 = words * 8;
        let wanted = if big { [0, offset] } else { [offset, 0] };
        let found = window[0][..2] == [0x18, registers(1, 5)]
            && window[2][..2] == [0x79, registers(2, 1)]
            && window[2][2..4] == wanted
            && window[3][..2] == [0x18, registers(3, 0)];
        if !found {
            continue;
        }
        let halves = if big {
            [&window[4][4..8], &window[3][4..8]]
        } else {
            [&window[3][4..8], &window[4][4..8]]
        };
        let at = usize::from(offset);
        digest[at..at + 8].copy_from_slice(&halves.concat());
        words += 1;
        if words == 4 {
            return Some(digest);
        }
    }
    None
}
