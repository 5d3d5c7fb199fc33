//! placeholder
#![forbid(unsafe_code)]
pub use {bpfseal_loader as loader, bpfseal_object as object, bpfseal_seal as seal};
