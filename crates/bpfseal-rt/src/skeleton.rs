//! What generated Rust skeletons use. Names here are part of the generated code's language: they
//! stay as they are.
//!
//! ```no_run
//! use bpfseal_rt::skeleton as rt;
//!
//! static ARTIFACT: rt::Embedded = rt::Embedded::new(b"the bytes of a bundle");
//!
//! fn open_and_load() -> Result<rt::Loaded, rt::LoadError> {
//!     rt::load(ARTIFACT.artifact()?, &rt::LoadOptions::default())
//! }
//! ```

use std::sync::OnceLock;

use crate::artifact::Bundle;

pub use crate::artifact::Artifact;
pub use crate::data::{Const, Pointer, Value, Var, bits, field, put, put_bits};
pub use crate::error::LoadError;
pub use crate::kernel::{Map, Mapping, Program};
pub use crate::load::{LoadOptions, insecure_load_unsigned, load};
pub use crate::loaded::{AttachError, Links, Loaded};

/// The bundle that is embedded in a skeleton. It is read when it is first asked for.
#[derive(Debug)]
pub struct Embedded {
    bundle: &'static [u8],
    read: OnceLock<Artifact>,
}

impl Embedded {
    /// Of the bytes of a bundle.
    #[must_use]
    pub const fn new(bundle: &'static [u8]) -> Self {
        Self {
            bundle,
            read: OnceLock::new(),
        }
    }

    /// What is in it.
    ///
    /// # Errors
    /// [`LoadError::Skeleton`] for bytes that are not a bundle: the generated code was changed.
    pub fn artifact(&self) -> Result<&Artifact, LoadError> {
        if let Some(artifact) = self.read.get() {
            return Ok(artifact);
        }
        let artifact = Bundle::decode(self.bundle)?.artifact;
        Ok(self.read.get_or_init(|| artifact))
    }
}

/// Bytes with a value's fields written over them.
#[must_use]
pub fn value_over<T: Value>(bytes: &[u8], value: T) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    value.write(&mut bytes);
    bytes
}
