//! Rust light skeletons (`.rs`): a bundle, and types for what its loader installs.
//! [`RustSkeleton`] becomes a [`RustModule`], for programs that depend on the crate
//! `bpfseal-rt`.

pub(crate) mod canonical;
mod module;
pub(crate) mod read;
mod types;

pub use module::{RustModule, RustSkeleton};
