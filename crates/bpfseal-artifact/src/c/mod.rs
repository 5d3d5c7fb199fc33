//! C light skeletons (`.lskel.h`): [`CSkeleton`] becomes a [`CHeader`], which has the API of
//! `bpftool gen skeleton -L`: the same names, the same struct offsets, the same arrays
//! (`opts_data`, `opts_insn`, `opts_sig`, `opts_excl_hash`). The text is our own. Headers of both
//! tools are read.

mod bpftool;
pub(crate) mod canonical;
mod header;
mod names;
pub(crate) mod read;
mod runtime;
mod text;
mod types;

pub use header::{CHeader, CSkeleton};
pub use types::DeclarationError;
