//! Light skeletons: a loader as source code, with what its users hold on to.
//!
//! For programs that load an object without libbpf. [`Object`](bpfseal_object::Object),
//! [`LoadPlan`](bpfseal_loader::LoadPlan) and [`Loader`](bpfseal_loader::Loader) go in, text comes out. Signing is not done here; a seal is handed in
//! as bytes.
//!
//! [`CSkeleton`] becomes a [`CHeader`], which has the API of `bpftool gen skeleton -L`: the same
//! names, the same struct offsets, the same arrays (`opts_data`, `opts_insn`, `opts_sig`,
//! `opts_excl_hash`). The text is our own. [`RustSkeleton`] becomes a [`RustModule`] for programs
//! that use the crate `bpfseal`.

mod c_bytes;
mod c_header;
mod c_types;
mod data;
pub(crate) mod ident;
mod rust_module;
mod rust_types;

pub use c_header::{CHeader, CSkeleton, SkeletonSeal};
pub use c_types::DeclarationError;
pub use rust_module::{RustForm, RustModule, RustSkeleton};

/// Why an object has no skeleton, although it has a loader.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields are what the message names")]
pub enum SkeletonError {
    /// Two variables of a data section overlap.
    #[error(
        "section `{section}`: variable `{variable}` is at offset {offset}, inside the one before it, which ends at {end}"
    )]
    Overlap {
        section: String,
        variable: String,
        offset: u32,
        end: u32,
    },
    /// A variable's alignment can not be told.
    #[error("section `{section}`: variable `{variable}` has a type without alignment")]
    Alignment { section: String, variable: String },
    /// More types than a module is written for.
    #[error("the variables have more types, or deeper ones, than a module is written for")]
    TooManyTypes,
    /// A variable's type can not be written in C.
    #[error("section `{section}`: variable `{variable}` can not be declared in C: {source}")]
    Declaration {
        section: String,
        variable: String,
        #[source]
        source: DeclarationError,
    },
}

impl SkeletonError {
    /// What whoever holds the object can do about it.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        "the BTF of the section does not describe C variables; compile the object again with an unmodified compiler, or take the raw pieces with `extract`"
    }
}
