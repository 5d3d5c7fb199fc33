//! The numbers of the kernel's interface for BPF, each in one place: commands and attributes of
//! `bpf(2)`, types of maps, programs, attachments and links, helpers, flags, errnos, keyrings,
//! limits, and known holes, with the kernel that had them first.
//!
//! Used by every crate that shares a format with the kernel. Facts only: no system calls, no
//! dependencies, no allocation. The generator of loaders and the audit both read these numbers, and
//! neither uses the other's code.
//!
//! ```
//! use bpfseal_uapi::{MapType, attr, cmd, map};
//!
//! assert_eq!(cmd::PROG_LOAD.kernel_name(), Some("BPF_PROG_LOAD"));
//! assert_eq!(attr::prog_load::KEYRING_ID.offset(), 164);
//! assert_eq!(map::RINGBUF.to_string(), "ringbuf");
//! assert_eq!(map::RINGBUF.since().unwrap().to_string(), "5.8");
//! assert_eq!(MapType(99).to_string(), "99");
//! ```
//!
//! The numbers come from the tables in `table/`; `cargo xtask codegen` generates `src/generated/`
//! from them.
//! Types are open-ended: a number that has no name here is kept, and printed as a number.
//! Constants keep the kernel's spelling; those of an enumeration leave out its prefix.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate alloc;

mod cve;
mod errno;
mod field;
mod generated;
mod keyring;
mod kinds;
mod limit;
mod number;
mod version;

pub use cve::{Affected, Cve};
pub use errno::Errno;
pub use field::{Fd, Field, FieldInfo, FieldType, Pointer, Text};
pub use generated::cves;
pub use generated::enums::{attach, btf_kind, cmd, keyring_type, link, map, prog, verdict};
pub use generated::flags::*;
pub use generated::helpers::helper;
pub use generated::insns as insn;
pub use generated::keys::{key_type, keyctl};
pub use generated::layouts::{attr, bpf_insn, core_relo, info, loader, map_object, perf};
pub use generated::limits;
pub use keyring::KeyringId;
pub use limit::Limit;
pub use number::{
    AttachType, BtfKind, Command, Entry, Helper, KeyringType, LinkType, MapType, ProgType,
    SigVerdict,
};
pub use version::Version;
