//! Offsets in the loader's context, as instructions have them ([`bpfseal_uapi::loader`]).

use bpfseal_uapi::loader::{ctx, map, prog};

pub(super) const FLAGS: u32 = ctx::FLAGS.offset() as u32;
pub(super) const LOG_LEVEL: u32 = ctx::LOG_LEVEL.offset() as u32;
pub(super) const LOG_SIZE: u32 = ctx::LOG_SIZE.offset() as u32;
pub(super) const LOG_BUF: u32 = ctx::LOG_BUF.offset() as u32;
/// Bytes of the header.
pub(super) const SIZE: u32 = ctx::LEN as u32;
/// Bytes of what is about one map, and offsets in it.
pub(super) const MAP_DESC: u32 = map::LEN as u32;
pub(super) const MAX_ENTRIES: u32 = map::MAX_ENTRIES.offset() as u32;
pub(super) const INITIAL_VALUE: u32 = map::INITIAL_VALUE.offset() as u32;
/// Bytes of what is about one program.
pub(super) const PROG_DESC: u32 = prog::LEN as u32;
/// Bit of `flags`: the loader was called from the kernel.
pub(super) const SKEL_KERNEL: i32 = bpfseal_uapi::BPF_SKEL_KERNEL.cast_signed();
