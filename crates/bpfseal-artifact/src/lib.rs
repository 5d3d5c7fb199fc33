//! Sealed loaders as they come in files.
//!
//! For programs that write or read artifacts. A loader and what vouches for it go in, bytes of one
//! of four formats come out: a C light skeleton, a Rust one, a bundle, or a detached seal beside
//! an unchanged object. Pure: no files, no keyrings, no kernel.
//!
//! ```text
//! Object, LoadPlan ─┐
//! SealedLoader ─────┴─ Artifact ─┬─ CSkeleton ── .lskel.h ──┐
//!                                ├─ Bundle ───── .bpfseal ──┼─ ArtifactFile
//!                                │    └─ RustSkeleton  .rs ─┘
//!                                └─ DetachedSeal .seal
//! ```
//!
//! Each format has a module with its writer beside its reader. A Rust skeleton is a bundle with
//! types around it. [`ArtifactFile::parse`] tells the formats apart and keeps what a file says, so
//! that nobody has to guess it later: its format, the byte order, certificates, provenance, the
//! digest of the object, and the tool that made it.
//!
//! The **byte order** is part of the [`Artifact`], not of a format: it is needed wherever the
//! bytes are looked at. C headers say nothing of it; their reader takes it from the loader's first
//! instruction, and nobody else looks there.
#![forbid(unsafe_code)]

mod artifact;
mod bundle;
mod c;
mod cbor;
mod data;
mod detached;
mod error;
mod file;
mod grammar;
mod ident;
pub mod install;
mod interface;
mod literal;
mod rust;
mod text;

pub use artifact::{Artifact, LoaderForm};
pub use bpfseal_object::Endian;
pub use bundle::Bundle;
pub use c::{CHeader, CSkeleton, DeclarationError};
pub use cbor::CborError;
pub use detached::DetachedSeal;
pub use error::{LskelError, SkeletonError};
pub use file::{ArtifactError, ArtifactFile, ArtifactKind};
pub use grammar::{FormatError, Provenance};
pub use interface::{AutoAttach, Interface, NameError, ProgramInterface};
pub use rust::{RustModule, RustSkeleton};
pub use text::Text;
