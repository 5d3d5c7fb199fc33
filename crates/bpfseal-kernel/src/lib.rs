//! The running kernel: maps, programs, links and keys, and loading sealed loaders into it.
//!
//! The only crate with unsafe code, and with system calls. For whoever loads what
//! [`bpfseal_seal`] made, and for tests that ask a real kernel.
//!
//! ```text
//! SealedLoader ──┐
//! KeyringId ─────┴─ install ── Installed {maps, programs} ── links, pins
//! ```
//!
//! Every call goes through [`System`], which has a test double, so that the order of calls is
//! tested without rights. Descriptors are owned; whatever goes wrong, none is left open.
#![deny(unsafe_op_in_unsafe_fn)]

mod attr;
mod btf;
mod error;
mod explain;
mod install;
mod keyring;
mod link;
mod map;
pub mod probe;
mod program;
mod system;

pub use btf::Btf;
pub use error::{SyscallError, errno_name};
pub use install::{InstallError, Installed, LoaderImage, Step, install};
pub use keyring::{KeySerial, KeyringId, add_certificate, keyring_serial, new_keyring};
pub use link::{Link, pin};
pub use map::{Map, MapInfo, MapSpec, Mapping};
pub use program::{Program, ProgramInfo, ProgramSpec, Signature};
pub use system::{Command, Linux, System};
