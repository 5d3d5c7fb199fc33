//! Byte order of an object and of everything that is made from it.
//!
//! The order comes from the ELF header alone; the host's own order plays no role anywhere in this
//! crate, so the same file gives the same values on every host.

/// Byte order of a BPF object and of the kernel it is built for.
///
/// Exhaustive: ELF knows no third order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Endian {
    /// Most significant byte first (`-target bpfeb`, for example s390x).
    Big,
    /// Least significant byte first (`-target bpfel`, for example x86-64 and arm64).
    Little,
}

impl Endian {
    /// Reads two bytes.
    #[must_use]
    pub fn u16(self, bytes: [u8; 2]) -> u16 {
        match self {
            Self::Big => u16::from_be_bytes(bytes),
            Self::Little => u16::from_le_bytes(bytes),
        }
    }

    /// Reads four bytes.
    #[must_use]
    pub fn u32(self, bytes: [u8; 4]) -> u32 {
        match self {
            Self::Big => u32::from_be_bytes(bytes),
            Self::Little => u32::from_le_bytes(bytes),
        }
    }

    /// Reads eight bytes.
    #[must_use]
    pub fn u64(self, bytes: [u8; 8]) -> u64 {
        match self {
            Self::Big => u64::from_be_bytes(bytes),
            Self::Little => u64::from_le_bytes(bytes),
        }
    }

    /// Writes two bytes.
    #[must_use]
    pub fn put_u16(self, value: u16) -> [u8; 2] {
        match self {
            Self::Big => value.to_be_bytes(),
            Self::Little => value.to_le_bytes(),
        }
    }

    /// Writes four bytes.
    #[must_use]
    pub fn put_u32(self, value: u32) -> [u8; 4] {
        match self {
            Self::Big => value.to_be_bytes(),
            Self::Little => value.to_le_bytes(),
        }
    }

    /// Writes eight bytes.
    #[must_use]
    pub fn put_u64(self, value: u64) -> [u8; 8] {
        match self {
            Self::Big => value.to_be_bytes(),
            Self::Little => value.to_le_bytes(),
        }
    }

    /// Writes a run of 32-bit words, the form that BTF and its records are kept in.
    #[must_use]
    pub fn put_words(self, words: &[u32]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(words.len() * 4);
        for &word in words {
            bytes.extend_from_slice(&self.put_u32(word));
        }
        bytes
    }

    /// Reads a run of 32-bit words; bytes past the last whole word are left out.
    #[must_use]
    pub fn words(self, bytes: &[u8]) -> Vec<u32> {
        bytes
            .chunks_exact(4)
            .map(|c| self.u32([c[0], c[1], c[2], c[3]]))
            .collect()
    }
}

impl std::fmt::Display for Endian {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Big => "big-endian",
            Self::Little => "little-endian",
        })
    }
}
