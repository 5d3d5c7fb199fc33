//! Loading signed BPF at run time: what generated Rust skeletons use, and what a program needs that
//! loads, attaches and reads, and does nothing else.
//!
//! It brings no signing, no verification of its own (the kernel's is the one that counts) and no
//! model. Programs that seal or verify use the crate `bpfseal`, which has all of this too.
//!
//! ```text
//! skeleton, bundle ── Artifact ── load ── Loaded ─┬─ attach ── Links
//!                                                 ├─ data, maps, ring buffers
//!                                                 └─ pin
//! ```
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use bpfseal_rt::artifact::Artifact;
//! use bpfseal_rt::kernel::{Linux, RingBuffer};
//! use bpfseal_rt::{LoadOptions, load};
//!
//! let artifact = Artifact::parse(&std::fs::read("prog.bpfseal")?)?;
//! let loaded = load(&artifact, &LoadOptions::default())?;
//! let _links = loaded.attach()?;
//! let events = loaded.map("events").ok_or("the object has no map `events`")?;
//! let mut ring = RingBuffer::new(&Linux, events)?;
//! while ring.wait(Some(Duration::from_secs(1)))? {
//!     while let Some(record) = ring.next_record() {
//!         println!("{} bytes", record.len());
//!     }
//! }
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

pub mod data;
mod error;
mod load;
mod loaded;
mod pins;
pub mod skeleton;

pub use bpfseal_artifact as artifact;
pub use bpfseal_kernel as kernel;
pub use bpfseal_loader as loader;
pub use bpfseal_seal as seal;

pub use error::LoadError;
pub use load::{KEYRINGS, LoadOptions, insecure_load_unsigned, load};
pub use loaded::{AttachError, Links, Loaded};
pub use pins::{PinError, PinPlace, remove_staging};
