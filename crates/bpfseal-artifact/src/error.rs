//! Why an object has no skeleton, and why a text is none.

use crate::c::DeclarationError;
use crate::grammar::FormatError;
use crate::literal::LiteralError;

bpfseal_object::debug_as_chain!(SkeletonError);
bpfseal_object::debug_as_chain!(LskelError);

/// Why an object has no skeleton, although it has a loader.
#[derive(thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields are what the message names")]
pub enum SkeletonError {
    /// A header without libbpf for a scheme that it has no functions for.
    #[error("a standalone header loads what is signed for `load-time`, not for `{scheme}`")]
    Standalone { scheme: &'static str },
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
    #[error("section `{section}`: variable `{variable}` can not be declared in C")]
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
        if let Self::Standalone { .. } = self {
            return "leave --standalone away, or seal for `load-time`";
        }
        "the BTF of the section does not describe C variables; compile the object again with an unmodified compiler, or take the raw pieces with `extract`"
    }
}

/// Why a text is not a light skeleton.
#[derive(thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields are what the message names")]
pub enum LskelError {
    /// Not text.
    #[error("the header is not text")]
    NotText,
    /// Text of something else.
    #[error("this is neither a bundle nor a light skeleton (`gen skeleton -L`)")]
    SomethingElse,
    /// The bundle in a Rust module can not be read.
    #[error("the bundle in the skeleton can not be read")]
    Bundle(#[from] FormatError),
    /// An array is missing.
    #[error("the light skeleton has no array `{array}`")]
    Missing { array: &'static str },
    /// An array can not be read.
    #[error("line {line}: array `{array}`: {what}")]
    Array {
        line: usize,
        array: &'static str,
        what: &'static str,
    },
    /// Only one of signature and digest.
    #[error("the header has `{found}` but no `{missing}`")]
    HalfSealed {
        found: &'static str,
        missing: &'static str,
    },
    /// A digest of another length.
    #[error("array `opts_excl_hash` has {size} bytes, expected 32")]
    HashSize { size: usize },
    /// Instructions that are not whole.
    #[error("array `opts_insn` has {size} bytes, which are no whole instructions of 8 bytes")]
    InsnSize { size: usize },
}

impl LskelError {
    /// A fault of the literal that an array is initialised with.
    pub(crate) fn of_array(array: &'static str, fault: LiteralError) -> Self {
        Self::Array {
            line: fault.line,
            array,
            what: fault.what,
        }
    }
}
