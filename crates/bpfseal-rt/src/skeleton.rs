//! What generated Rust skeletons use. Names here are part of the generated code's language: they
//! stay as they are.

pub use std::borrow::Cow;

pub use crate::artifact::{Artifact, AutoAttach, Interface, LoaderForm, ProgramInterface};
pub use crate::data::{Const, Pointer, Value, Var, bits, field, put, put_bits};
pub use crate::kernel::{Map, Mapping, Program};
pub use crate::load::{LoadError, LoadOptions, insecure_load_unsigned, load};
pub use crate::loaded::{AttachError, Links, Loaded};
pub use crate::seal::{Scheme, Seal};

/// Bytes with a value's fields written over them.
#[must_use]
pub fn value_over<T: Value>(bytes: &[u8], value: T) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    value.write(&mut bytes);
    bytes
}
