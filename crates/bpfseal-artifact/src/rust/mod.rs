//! Rust light skeletons (`.rs`): a bundle, and types for what its loader installs.
//! [`RustSkeleton`] becomes a [`RustModule`], for programs that use the crate `bpfseal`.

mod module;
pub(crate) mod read;
mod types;

pub use module::{RustModule, RustSkeleton};
