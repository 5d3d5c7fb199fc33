//! The toolchain for signed BPF.
//!
//! One front door to the crates behind it: [`object`] reads a `.bpf.o`, [`loader`] plans how it
//! is installed and compiles the plan to a loader, [`seal`] signs the loader and verifies
//! signatures offline.
//!
//! ```text
//! .bpf.o ── Object ── LoadPlan ── Loader ── seal ── artifact ── verify
//! ```
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use bpfseal::loader::Form;
//!
//! let bytes = std::fs::read("prog.bpf.o")?;
//! let made = bpfseal::make_loader(&bytes, "prog", &bpfseal::RunningHost, Form::Signed)?;
//! println!("{} bytes of instructions", made.loader.instructions.len());
//! for dependency in &made.plan.host {
//!     println!("depends on this host: {dependency}");
//! }
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod host;

pub use bpfseal_loader as loader;
pub use bpfseal_object as object;
pub use bpfseal_seal as seal;

pub use host::{RunningHost, parse_version};

use loader::{EmitOptions, Form, Host, LoadPlan, Loader};
use object::Object;

/// Why no loader could be made from the bytes of an object.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MakeError {
    /// The bytes are no object that can be read.
    #[error(transparent)]
    Object(#[from] object::Error),
    /// The object can be read, but has no loader.
    #[error(transparent)]
    Loader(#[from] loader::Error),
}

impl MakeError {
    /// What whoever holds the object can do about it.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Object(error) => error.advice(),
            Self::Loader(error) => error.advice(),
        }
    }
}

/// An object and what was made of it.
#[derive(Debug, Clone)]
pub struct Made {
    /// The object.
    pub object: Object,
    /// The plan.
    pub plan: LoadPlan,
    /// The loader.
    pub loader: Loader,
}

/// Reads an object and makes its loader.
///
/// `name` is the object's name, which becomes part of the loader; see [`object::object_name`].
///
/// # Errors
/// When the object is malformed, or has no loader.
pub fn make_loader(
    bytes: &[u8],
    name: &str,
    host: &dyn Host,
    form: Form,
) -> Result<Made, MakeError> {
    let object = Object::parse(bytes, name)?;
    let plan = LoadPlan::new(&object, host)?;
    let loader = Loader::new(&plan, EmitOptions::new(form))?;
    Ok(Made {
        object,
        plan,
        loader,
    })
}
