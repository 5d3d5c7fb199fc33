//! Load plans, and the loaders that carry them out.
//!
//! For everything that makes or checks a loader. An [`Object`](bpfseal_object::Object) and a
//! [`Host`] go in; a [`LoadPlan`] comes out; a [`Loader`] is its compiled form. Pure: the same
//! object and host values give the same bytes everywhere, and by default they are the bytes of
//! libbpf 1.8's generator.
//!
//! A plan has everything that an object asks for; a loader is made in a [`Dialect`], which refuses
//! what it cannot express.
//!
//! ```text
//! Object ──┐
//!          ├─ LoadPlan ──(Dialect)── Loader {instructions, metadata, context}
//! Host ────┘
//! ```
#![forbid(unsafe_code)]

mod emit;
mod error;
mod host;
pub mod plan;

pub use crate::emit::{
    ContextLayout, DataRegion, Dialect, EmitOptions, Form, InsnRegion, Loader, Part,
};
pub use crate::error::Error;
pub use crate::host::{FixedHost, Host, HostDependency, HostError};
pub use crate::plan::LoadPlan;
