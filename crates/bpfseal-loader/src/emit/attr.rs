//! Attributes of `bpf(2)` as a loader's metadata has them.
//!
//! Where the fields are is said by [`bpfseal_uapi::attr`]; how much of them libbpf's generator gives
//! the kernel, by command, is said here.

use bpfseal_object::Endian;
use bpfseal_uapi::attr::{btf_load, map_create, map_elem, prog_load};
use bpfseal_uapi::{Field, FieldType, Text};

use super::code::Blob;

/// Bytes up to the last field that is used, by command.
pub(super) mod len {
    use super::{btf_load, map_create, map_elem, prog_load};

    pub(in super::super) const BTF_LOAD: usize = btf_load::BTF_LOG_LEVEL.end();
    pub(in super::super) const MAP_CREATE: usize = map_create::MAP_EXTRA.end();
    pub(in super::super) const MAP_FREEZE: usize = map_elem::MAP_FD.end();
    pub(in super::super) const MAP_UPDATE: usize = map_elem::FLAGS.end();
    pub(in super::super) const PROG_LOAD: usize = prog_load::CORE_RELO_REC_SIZE.end();
}

/// A field of attributes that lie somewhere in the metadata.
pub(super) fn field<T: FieldType>(attr: Blob, field: Field<T>) -> Blob {
    attr + field.offset() as Blob
}

/// Attributes of one call while they are filled in, in the target's byte order.
pub(super) struct Attr {
    endian: Endian,
    pub(super) bytes: Vec<u8>,
}

impl Attr {
    pub(super) fn new(endian: Endian, len: usize) -> Self {
        Self {
            endian,
            bytes: vec![0; len],
        }
    }

    pub(super) fn put32(&mut self, field: Field<u32>, value: u32) {
        self.bytes[field.range()].copy_from_slice(&self.endian.put_u32(value));
    }

    pub(super) fn put64(&mut self, field: Field<u64>, value: u64) {
        self.bytes[field.range()].copy_from_slice(&self.endian.put_u64(value));
    }

    pub(super) fn put_name<const N: usize>(&mut self, field: Field<Text<N>>, name: &str) {
        let (at, len) = (field.offset(), name.len().min(N - 1));
        self.bytes[at..at + len].copy_from_slice(&name.as_bytes()[..len]);
    }
}
