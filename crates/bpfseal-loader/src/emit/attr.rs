//! Attributes of `bpf(2)` as a loader's metadata has them.
//!
//! Offsets of fields, and the sizes up to the last field that is used, by command. Source:
//! `union bpf_attr` of Linux 7.3.

use bpfseal_object::Endian;

/// Commands of `bpf(2)`.
pub(super) mod cmd {
    pub(in super::super) const MAP_CREATE: i32 = 0;
    pub(in super::super) const MAP_UPDATE_ELEM: i32 = 2;
    pub(in super::super) const PROG_LOAD: i32 = 5;
    pub(in super::super) const BTF_LOAD: i32 = 18;
    pub(in super::super) const MAP_FREEZE: i32 = 22;
}

pub(super) mod btf_load {
    pub(in super::super) const BTF: u32 = 0;
    pub(in super::super) const LOG_BUF: u32 = 8;
    pub(in super::super) const BTF_SIZE: usize = 16;
    pub(in super::super) const LOG_SIZE: u32 = 20;
    pub(in super::super) const LOG_LEVEL: u32 = 24;
    pub(in super::super) const LEN: usize = 28;
}
pub(super) mod map_create {
    pub(in super::super) const MAP_TYPE: usize = 0;
    pub(in super::super) const KEY_SIZE: usize = 4;
    pub(in super::super) const VALUE_SIZE: usize = 8;
    pub(in super::super) const MAX_ENTRIES: usize = 12;
    pub(in super::super) const MAP_FLAGS: usize = 16;
    pub(in super::super) const INNER_MAP_FD: u32 = 20;
    pub(in super::super) const NUMA_NODE: usize = 24;
    pub(in super::super) const MAP_NAME: usize = 28;
    pub(in super::super) const BTF_FD: u32 = 48;
    pub(in super::super) const BTF_KEY_TYPE_ID: usize = 52;
    pub(in super::super) const BTF_VALUE_TYPE_ID: usize = 56;
    pub(in super::super) const MAP_EXTRA: usize = 64;
    pub(in super::super) const LEN: usize = 72;
}
pub(super) mod map_update {
    pub(in super::super) const MAP_FD: u32 = 0;
    pub(in super::super) const KEY: u32 = 8;
    pub(in super::super) const VALUE: u32 = 16;
    pub(in super::super) const FLAGS: usize = 24;
    pub(in super::super) const LEN: usize = 32;
}
pub(super) mod map_freeze {
    pub(in super::super) const MAP_FD: u32 = 0;
    pub(in super::super) const LEN: usize = 4;
}
pub(super) mod prog_load {
    pub(in super::super) const PROG_TYPE: usize = 0;
    pub(in super::super) const INSN_CNT: usize = 4;
    pub(in super::super) const INSNS: u32 = 8;
    pub(in super::super) const LICENSE: u32 = 16;
    pub(in super::super) const LOG_LEVEL: u32 = 24;
    pub(in super::super) const LOG_SIZE: u32 = 28;
    pub(in super::super) const LOG_BUF: u32 = 32;
    pub(in super::super) const PROG_FLAGS: usize = 44;
    pub(in super::super) const PROG_NAME: usize = 48;
    pub(in super::super) const EXPECTED_ATTACH_TYPE: usize = 68;
    pub(in super::super) const PROG_BTF_FD: u32 = 72;
    pub(in super::super) const FUNC_INFO_REC_SIZE: usize = 76;
    pub(in super::super) const FUNC_INFO: u32 = 80;
    pub(in super::super) const FUNC_INFO_CNT: usize = 88;
    pub(in super::super) const LINE_INFO_REC_SIZE: usize = 92;
    pub(in super::super) const LINE_INFO: u32 = 96;
    pub(in super::super) const LINE_INFO_CNT: usize = 104;
    pub(in super::super) const ATTACH_BTF_ID: usize = 108;
    pub(in super::super) const ATTACH_BTF_OBJ_FD: u32 = 112;
    pub(in super::super) const CORE_RELO_CNT: usize = 116;
    pub(in super::super) const FD_ARRAY: u32 = 120;
    pub(in super::super) const CORE_RELOS: u32 = 128;
    pub(in super::super) const CORE_RELO_REC_SIZE: usize = 136;
    pub(in super::super) const LEN: usize = 140;
}

/// Bytes of `struct bpf_core_relo`.
pub(super) const CORE_RELO_SIZE: u32 = 16;
/// Bytes of a name in `union bpf_attr`, the NUL included.
pub(super) const NAME_LEN: usize = bpfseal_object::MAX_KERNEL_NAME + 1;

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

    pub(super) fn put32(&mut self, at: usize, value: u32) {
        self.bytes[at..at + 4].copy_from_slice(&self.endian.put_u32(value));
    }

    pub(super) fn put64(&mut self, at: usize, value: u64) {
        self.bytes[at..at + 8].copy_from_slice(&self.endian.put_u64(value));
    }

    pub(super) fn put_name(&mut self, at: usize, name: &str) {
        let len = name.len().min(NAME_LEN - 1);
        self.bytes[at..at + len].copy_from_slice(&name.as_bytes()[..len]);
    }
}
