//! Sealed loaders as they come in files.
//!
//! For programs that write or read artifacts. A loader and what vouches for it go in, bytes of one
//! of four formats come out: a C light skeleton, a Rust one, a bundle, or a detached seal beside
//! an unchanged object. Pure: no files, no keyrings, no kernel.
//!
//! ```text
//! Object, LoadPlan ─┐
//! SealedLoader ─────┴─ Artifact, Interface ──┬─ .lskel.h, .rs   light skeletons
//!                                            ├─ .bpfseal        bundle
//!                                            └─ .seal           detached seal
//! ```
#![forbid(unsafe_code)]

mod artifact;
mod bundle;
mod cbor;
mod detached;
mod interface;
mod lskel;
pub mod skeleton;

pub use artifact::{Artifact, ArtifactError, ArtifactKind, LoaderForm};
pub use bundle::{Bundle, Provenance};
pub use cbor::CborError;
pub use detached::DetachedSeal;
pub use interface::{AutoAttach, Interface, ProgramInterface};
pub use lskel::LskelError;
