//! `union bpf_attr`, built in one place: zeroed, with fields at the offsets of
//! `include/uapi/linux/bpf.h` (Linux 7.3).

use std::marker::PhantomData;

use crate::system::Command;

/// Bytes of the union up to the last field that is used here (`keyring_id`).
const SIZE: usize = 168;

/// The size or count of something that the kernel only reads, as a call tells it.
///
/// These can be changed by a [`System`](crate::System) that stands in front of another
/// ([`Attr::claim`]), so that it can be seen what a kernel makes of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Claim {
    /// `excl_prog_hash_size` of `BPF_MAP_CREATE`, in bytes.
    ExclProgHashSize,
    /// `fd_array_cnt` of `BPF_PROG_LOAD`.
    FdArrayCount,
    /// `signature_size` of `BPF_PROG_LOAD`, in bytes.
    SignatureSize,
}

impl Claim {
    /// The call that it is told in.
    #[must_use]
    pub fn command(self) -> Command {
        match self {
            Self::ExclProgHashSize => Command::MapCreate,
            Self::FdArrayCount | Self::SignatureSize => Command::ProgLoad,
        }
    }

    fn offset(self) -> usize {
        match self {
            Self::ExclProgHashSize => 88,
            Self::FdArrayCount => 148,
            Self::SignatureSize => 160,
        }
    }
}

/// Attributes of one call. Whatever they point at is borrowed for `'a`.
///
/// Only this crate makes them; [`System`](crate::System) hands them on.
#[derive(Debug)]
pub struct Attr<'a> {
    // The kernel reads and writes it as 64-bit words.
    words: [u64; SIZE / 8],
    len: usize,
    borrows: PhantomData<&'a mut [u8]>,
}

impl<'a> Attr<'a> {
    /// Attributes of `len` bytes, all zero.
    pub(crate) fn new(len: usize) -> Self {
        assert!(len <= SIZE, "no call here has more attributes");
        Self {
            words: [0; SIZE / 8],
            len,
            borrows: PhantomData,
        }
    }

    /// What the kernel gets, and writes back into.
    pub(crate) fn as_mut_ptr(&mut self) -> *mut u64 {
        self.words.as_mut_ptr()
    }

    /// Bytes that the kernel is told of.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// A 32-bit field.
    pub(crate) fn u32(&self, at: usize) -> u32 {
        let word = self.words[at / 8].to_ne_bytes();
        let at = at % 8;
        u32::from_ne_bytes([word[at], word[at + 1], word[at + 2], word[at + 3]])
    }

    /// Sets a 32-bit field.
    pub(crate) fn put_u32(&mut self, at: usize, value: u32) -> &mut Self {
        let mut word = self.words[at / 8].to_ne_bytes();
        word[at % 8..at % 8 + 4].copy_from_slice(&value.to_ne_bytes());
        self.words[at / 8] = u64::from_ne_bytes(word);
        self
    }

    /// Sets a 32-bit field to a descriptor.
    pub(crate) fn put_fd(&mut self, at: usize, fd: i32) -> &mut Self {
        self.put_u32(at, fd.cast_unsigned())
    }

    /// Sets a 64-bit field.
    pub(crate) fn put_u64(&mut self, at: usize, value: u64) -> &mut Self {
        assert!(at.is_multiple_of(8));
        self.words[at / 8] = value;
        self
    }

    /// Tells the kernel another size or count than that of what it gets. It is to be one of a call
    /// of [`Claim::command`].
    ///
    /// Too large a one does no harm here: the kernel reads what lies behind, or answers `EFAULT`.
    pub fn claim(&mut self, claim: Claim, value: u32) {
        self.len = self.len.max(claim.offset() + 4);
        self.put_u32(claim.offset(), value);
    }

    /// Points a field at bytes that the kernel reads; at nothing when there are none.
    pub(crate) fn put_bytes(&mut self, at: usize, bytes: &'a [u8]) -> &mut Self {
        // The kernel tells nothing from something by the address.
        let address = if bytes.is_empty() {
            0
        } else {
            bytes.as_ptr() as u64
        };
        self.put_u64(at, address)
    }

    /// Points a field at bytes that the kernel reads, also when there are none.
    pub(crate) fn put_any_bytes(&mut self, at: usize, bytes: &'a [u8]) -> &mut Self {
        self.put_u64(at, bytes.as_ptr() as u64)
    }

    /// Points a field at bytes that the kernel writes.
    pub(crate) fn put_buffer(&mut self, at: usize, bytes: &'a mut [u8]) -> &mut Self {
        self.put_u64(at, bytes.as_mut_ptr() as u64)
    }

    /// Writes a name of at most 15 bytes; what is longer is cut.
    pub(crate) fn put_name(&mut self, at: usize, name: &str) -> &mut Self {
        for (i, byte) in name.bytes().take(15).enumerate() {
            let at = at + i;
            let mut word = self.words[at / 8].to_ne_bytes();
            word[at % 8] = byte;
            self.words[at / 8] = u64::from_ne_bytes(word);
        }
        self
    }
}

/// Bytes of `struct perf_event_attr` up to `config2`, included (`PERF_ATTR_SIZE_VER1`).
const PERF_SIZE: usize = 72;

/// `struct perf_event_attr`, zeroed but for what it is made with.
#[derive(Debug)]
pub struct PerfAttr<'a> {
    words: [u64; PERF_SIZE / 8],
    borrows: PhantomData<&'a [u8]>,
}

impl<'a> PerfAttr<'a> {
    /// An event by type (`PERF_TYPE_*`, or that of a dynamic event source) and what the type
    /// wants. `period` is that of samples.
    pub(crate) fn new(event_type: u32, config: u64, period: u64) -> Self {
        let mut words = [0; PERF_SIZE / 8];
        words[0] = u64::from(event_type) | (PERF_SIZE as u64) << 32;
        words[1] = config;
        words[2] = period;
        Self {
            words,
            borrows: PhantomData,
        }
    }

    /// Sets `config1` to the address of a text, and `config2` to an offset.
    pub(crate) fn with_text(mut self, text: &'a std::ffi::CStr, offset: u64) -> Self {
        self.words[7] = text.as_ptr() as u64;
        self.words[8] = offset;
        self
    }

    /// What the kernel gets.
    pub(crate) fn as_mut_ptr(&mut self) -> *mut u64 {
        self.words.as_mut_ptr()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_makes_room_for_itself() {
        let mut attr = Attr::new(72);
        attr.claim(Claim::ExclProgHashSize, 31);
        assert_eq!((attr.len(), attr.u32(88)), (92, 31));
        attr.claim(Claim::ExclProgHashSize, 33);
        assert_eq!((attr.len(), attr.u32(88)), (92, 33));
    }

    #[test]
    fn fields_do_not_touch_each_other() {
        let mut attr = Attr::new(64);
        attr.put_u32(4, 7).put_u32(0, 9).put_u64(8, 11);
        assert_eq!((attr.u32(0), attr.u32(4), attr.u32(8)), (9, 7, 11));
        attr.put_name(28, "abcd");
        assert_eq!(attr.u32(28).to_ne_bytes(), *b"abcd");
        assert_eq!(attr.u32(32), 0);
    }
}
