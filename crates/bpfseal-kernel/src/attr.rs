//! `union bpf_attr`, built in one place: zeroed, with the fields of [`bpfseal_uapi::attr`].

use std::marker::PhantomData;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use bpfseal_uapi::attr::{map_create, prog_load, prog_run};
use bpfseal_uapi::{Command, Fd, Field, FieldType, Pointer, Text, cmd, perf};

/// Bytes of the union up to the last field that is used here.
const SIZE: usize = prog_load::KEYRING_ID.end();

/// The size or count of something that the kernel only reads, as a call tells it.
///
/// These can be changed by a [`System`](crate::System) that stands in front of another
/// ([`Attr::claim`]), to test the kernel's own checks.
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
            Self::ExclProgHashSize => cmd::MAP_CREATE,
            Self::FdArrayCount | Self::SignatureSize => cmd::PROG_LOAD,
        }
    }

    fn field(self) -> Field<u32> {
        match self {
            Self::ExclProgHashSize => map_create::EXCL_PROG_HASH_SIZE,
            Self::FdArrayCount => prog_load::FD_ARRAY_CNT,
            Self::SignatureSize => prog_load::SIGNATURE_SIZE,
        }
    }
}

/// A call of `bpf(2)`: the command and its attributes. The memory that they point to is borrowed
/// for `'a`.
///
/// Only this crate creates them; a [`System`](crate::System) passes them on. A command can therefore
/// not be given the attributes of another command.
#[derive(Debug)]
pub struct Attr<'a> {
    command: Command,
    // The kernel reads and writes it as 64-bit words.
    words: [u64; SIZE / 8],
    len: usize,
    /// Whether keys and values have the sizes that the kernel reports ([`Attr::with_real_sizes`]).
    real_sizes: bool,
    borrows: PhantomData<&'a mut [u8]>,
}

impl<'a> Attr<'a> {
    /// Attributes of `len` bytes, all zero.
    pub(crate) fn new(command: Command, len: usize) -> Self {
        assert!(len <= SIZE, "no call here has more attributes");
        Self {
            command,
            words: [0; SIZE / 8],
            len,
            real_sizes: false,
            borrows: PhantomData,
        }
    }

    /// Sets whether the buffers for keys and values have the sizes that the running kernel reports for
    /// this map. The calls that copy whole keys and values carry no sizes of their own.
    pub(crate) fn with_real_sizes(self, real_sizes: bool) -> Self {
        Self { real_sizes, ..self }
    }

    /// Whether the kernel stays within the buffers.
    pub(crate) fn is_bounded(&self) -> bool {
        let by_map = matches!(
            self.command,
            cmd::MAP_LOOKUP_ELEM
                | cmd::MAP_LOOKUP_AND_DELETE_ELEM
                | cmd::MAP_UPDATE_ELEM
                | cmd::MAP_DELETE_ELEM
                | cmd::MAP_GET_NEXT_KEY
        );
        !by_map || self.real_sizes
    }

    /// The command.
    #[must_use]
    pub fn command(&self) -> Command {
        self.command
    }

    /// The attributes, for the kernel to read and write.
    pub(crate) fn as_mut_ptr(&mut self) -> *mut u64 {
        self.words.as_mut_ptr()
    }

    /// Length of the attributes, in bytes.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Tells the kernel a size or count that differs from the real one. Has no effect on commands
    /// other than [`Claim::command`].
    ///
    /// Too large a one does no harm here: the kernel reads what lies behind, or answers `EFAULT`.
    pub fn claim(&mut self, claim: Claim, value: u32) {
        if claim.command() == self.command {
            self.len = self.len.max(claim.field().end());
            self.put_u32(claim.field(), value);
        }
    }

    /// A 32-bit field.
    pub(crate) fn u32(&self, field: Field<u32>) -> u32 {
        let at = field.offset();
        let word = self.words[at / 8].to_ne_bytes();
        let at = at % 8;
        u32::from_ne_bytes([word[at], word[at + 1], word[at + 2], word[at + 3]])
    }

    fn put<T: FieldType>(&mut self, field: Field<T>, bytes: &[u8]) -> &mut Self {
        put(&mut self.words, field, bytes);
        self
    }

    /// Sets a 32-bit field.
    pub(crate) fn put_u32(&mut self, field: Field<u32>, value: u32) -> &mut Self {
        self.put(field, &value.to_ne_bytes())
    }

    /// Sets a 32-bit field with a sign.
    pub(crate) fn put_i32(&mut self, field: Field<i32>, value: i32) -> &mut Self {
        self.put(field, &value.to_ne_bytes())
    }

    /// Sets a field to a descriptor.
    pub(crate) fn put_fd(&mut self, field: Field<Fd>, fd: BorrowedFd<'_>) -> &mut Self {
        self.put(field, &fd.as_raw_fd().to_ne_bytes())
    }

    /// Sets a descriptor field to a number that may not be a descriptor.
    pub(crate) fn put_number(&mut self, field: Field<Fd>, number: i32) -> &mut Self {
        self.put(field, &number.to_ne_bytes())
    }

    /// Sets a 64-bit field.
    pub(crate) fn put_u64(&mut self, field: Field<u64>, value: u64) -> &mut Self {
        self.put(field, &value.to_ne_bytes())
    }

    /// Points a field at bytes that the kernel reads; at nothing when there are none.
    pub(crate) fn put_bytes(&mut self, field: Field<Pointer>, bytes: &'a [u8]) -> &mut Self {
        // The kernel tells nothing from something by the address.
        if bytes.is_empty() {
            return self.put(field, &[0; 8]);
        }
        self.put_any_bytes(field, bytes)
    }

    /// Points a field at bytes that the kernel reads, also when there are none.
    pub(crate) fn put_any_bytes(&mut self, field: Field<Pointer>, bytes: &'a [u8]) -> &mut Self {
        self.put(field, &(bytes.as_ptr() as u64).to_ne_bytes())
    }

    /// Points a field at bytes that the kernel writes.
    pub(crate) fn put_buffer(&mut self, field: Field<Pointer>, bytes: &'a mut [u8]) -> &mut Self {
        self.put(field, &(bytes.as_mut_ptr() as u64).to_ne_bytes())
    }

    /// Writes a name. A longer one is truncated.
    pub(crate) fn put_name<const N: usize>(
        &mut self,
        field: Field<Text<N>>,
        name: &str,
    ) -> &mut Self {
        let len = name.len().min(N - 1);
        self.put(field, &name.as_bytes()[..len])
    }
}

/// `BPF_PROG_RUN` of a program that takes a context.
pub(crate) fn run_attr<'a>(program: BorrowedFd<'_>, context: &'a mut [u8]) -> Attr<'a> {
    let len = u32::try_from(context.len()).unwrap_or(u32::MAX);
    // Rounded up as the kernel's union is.
    let mut attr = Attr::new(cmd::PROG_RUN, prog_run::LEN.next_multiple_of(8));
    attr.put_fd(prog_run::PROG_FD, program)
        .put_u32(prog_run::CTX_SIZE_IN, len)
        .put_buffer(prog_run::CTX_IN, context);
    attr
}

/// Writes a field of a structure that is kept as words.
fn put<T: FieldType>(words: &mut [u64], field: Field<T>, bytes: &[u8]) {
    for (at, byte) in field.range().zip(bytes) {
        let mut word = words[at / 8].to_ne_bytes();
        word[at % 8] = *byte;
        words[at / 8] = u64::from_ne_bytes(word);
    }
}

/// Bytes of `struct perf_event_attr` up to `config2`, included (`PERF_ATTR_SIZE_VER1`).
const PERF_SIZE: usize = perf::attr::CONFIG2.end();

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
        use perf::attr as at;
        let mut attr = Self {
            words: [0; PERF_SIZE / 8],
            borrows: PhantomData,
        };
        put(&mut attr.words, at::TYPE, &event_type.to_ne_bytes());
        put(&mut attr.words, at::SIZE, &(PERF_SIZE as u32).to_ne_bytes());
        put(&mut attr.words, at::CONFIG, &config.to_ne_bytes());
        put(&mut attr.words, at::SAMPLE_PERIOD, &period.to_ne_bytes());
        attr
    }

    /// Sets `config1` to the address of a text, and `config2` to an offset.
    pub(crate) fn with_text(mut self, text: &'a std::ffi::CStr, offset: u64) -> Self {
        let address = text.as_ptr() as u64;
        put(&mut self.words, perf::attr::CONFIG1, &address.to_ne_bytes());
        put(&mut self.words, perf::attr::CONFIG2, &offset.to_ne_bytes());
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
        let size = map_create::EXCL_PROG_HASH_SIZE;
        let mut attr = Attr::new(cmd::MAP_CREATE, map_create::MAP_EXTRA.end());
        attr.claim(Claim::ExclProgHashSize, 31);
        assert_eq!((attr.len(), attr.u32(size)), (size.end(), 31));
        attr.claim(Claim::ExclProgHashSize, 33);
        assert_eq!((attr.len(), attr.u32(size)), (size.end(), 33));
        attr.claim(Claim::SignatureSize, 7);
        assert_eq!(attr.len(), size.end());
    }

    #[test]
    fn fields_do_not_touch_each_other() {
        use map_create as at;
        let mut attr = Attr::new(cmd::MAP_CREATE, at::MAP_EXTRA.end());
        attr.put_u32(at::KEY_SIZE, 7).put_u32(at::MAP_TYPE, 9);
        attr.put_u64(at::MAP_EXTRA, u64::MAX);
        attr.put_name(at::MAP_NAME, "a name of sixteen bytes or more");
        assert_eq!((attr.u32(at::MAP_TYPE), attr.u32(at::KEY_SIZE)), (9, 7));
        assert_eq!(attr.u32(at::MAP_IFINDEX), 0);
        assert_eq!(attr.u32(at::BTF_VMLINUX_VALUE_TYPE_ID), 0);
        assert_eq!(attr.words[5].to_ne_bytes()[..4], *b"xte\0");
    }

    #[test]
    fn what_moves_keys_and_values_has_to_know_their_sizes() {
        let bounded = |command| Attr::new(command, 32).is_bounded();
        assert!(!bounded(cmd::MAP_LOOKUP_ELEM) && !bounded(cmd::MAP_GET_NEXT_KEY));
        assert!(bounded(cmd::MAP_FREEZE) && bounded(cmd::PROG_RUN));
        let attr = Attr::new(cmd::MAP_LOOKUP_ELEM, 32).with_real_sizes(true);
        assert!(attr.is_bounded());
    }
}
