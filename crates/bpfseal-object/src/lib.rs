//! A compiled BPF object (`.bpf.o`) as libbpf 1.8 sees it, and what libbpf would refuse to see.
//!
//! For everything that needs to know what is in an object: the load plan above all. Bytes in,
//! [`Object`] out; no I/O, no host, no kernel. An object asks for more than any loader can do:
//! all of it is kept here, and refused where a loader is made. Only a file that is damaged or
//! ambiguous is an error.
//!
//! ```text
//! .bpf.o bytes ── elf ─┬─ btf, btf.ext ──┐
//!                      ├─ programs ──────┼── Object
//!                      ├─ maps, data ────┤
//!                      └─ externs ───────┘
//! ```
//!
//! BTF comes out with the fix-ups that libbpf makes before it gives it to the kernel; code comes
//! out as compiled, with its relocations beside it. Nothing is resolved or linked: that is the
//! load plan's work.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let bytes = std::fs::read("prog.bpf.o")?;
//! let object = bpfseal_object::Object::parse(&bytes, &bpfseal_object::object_name("prog.bpf.o"))?;
//! for (_, program) in object.entry_programs() {
//!     println!("{} in {}", program.name, program.section_name);
//! }
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

pub mod btf;
mod chain;
mod contents;
mod elf;
mod endian;
mod error;
mod externs;
mod index;
mod insn;
mod map;
mod map_error;
mod object;
mod program;
mod section_def;

pub use crate::chain::Chain;
pub use crate::contents::Contents;
pub use crate::elf::SectionIdx;
pub use crate::endian::Endian;
pub use crate::error::Error;
pub use crate::externs::{Extern, ExternIdx, ExternKind, KconfigType};
pub use crate::index::{MapIdx, ProgramIdx};
pub use crate::insn::{
    BPF_INSN_SZ, BPF_PSEUDO_BTF_ID, BPF_PSEUDO_CALL, BPF_PSEUDO_FUNC, BPF_PSEUDO_KFUNC_CALL,
    BPF_PSEUDO_MAP_IDX, BPF_PSEUDO_MAP_IDX_VALUE, CALL, EXIT, Insn, LD_IMM64,
};
pub use crate::map::{
    DataKind, GlobalData, LegacyDef, MAX_KERNEL_NAME, Map, MapDef, Pinning, Slot, StructOps,
};
pub use crate::map_error::MapFault;
pub use crate::object::Object;
pub use crate::program::{CoreRelo, Program, Reloc, RelocKind};
pub use crate::section_def::{SECTION_DEFS, SectionDef};
/// The kernel's numbers.
pub use bpfseal_uapi as uapi;

/// Longest name of an object that is kept (`MAX_OBJ_NAME_LEN` − 1 of bpftool).
const MAX_OBJECT_NAME: usize = 63;

/// The name of an object by its file's path, as bpftool makes it: without directory and `.o`,
/// other characters than letters, digits and `_` replaced by `_`.
#[must_use]
pub fn object_name(path: &str) -> String {
    let path = path.trim_end_matches('/');
    let base = path.rsplit('/').next().unwrap_or(path).as_bytes();
    let base = &base[..base.len().min(MAX_OBJECT_NAME)];
    let base = base.strip_suffix(b".o").unwrap_or(base);
    base.iter()
        .map(|&b| {
            if b.is_ascii_alphanumeric() {
                char::from(b)
            } else {
                '_'
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn object_names_follow_the_file() {
        assert_eq!(object_name("dir/my-prog.bpf.o"), "my_prog_bpf");
        assert_eq!(object_name("a.o"), "a");
        assert_eq!(object_name("plain"), "plain");
        assert_eq!(object_name("über.o"), "__ber");
        assert_eq!(object_name(&"x".repeat(80)), "x".repeat(63));
    }
}
