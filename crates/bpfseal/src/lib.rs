//! The toolchain for signed BPF.
//!
//! One front door to the crates behind it: [`object`] reads a `.bpf.o`, [`loader`] plans how it
//! is installed and compiles the plan to a loader, [`seal`] signs the loader and verifies
//! signatures offline, [`artifact`] writes and reads the files that it comes in, [`kernel`] loads
//! it into the running kernel; [`uapi`] has the kernel's numbers.
//!
//! | feature | what |
//! |---|---|
//! | (none) | reading and verifying artifacts |
//! | `kernel` | loading into the running kernel |
//! | `model` | the kernel as a model: `audit`, `explain`, `diff` |
//! | `sign` | private keys, and sealing |
//! | `pkcs11` | keys in PKCS#11 tokens |
//! | `host` | the running host as an input of load plans; comes with `sign` |
//! | `serde` | reports serialize |
//! | `schema` | reports describe their JSON |
//!
//! `kernel`, `model` and `sign` are on by default. A feature adds names; it changes nothing that is
//! there without it.
//!
//! ```text
//! .bpf.o ── Object ── LoadPlan ── Loader ── seal ── artifact ── verify
//! ```
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use bpfseal::object::Object;
//! use bpfseal::Sealer;
//! use bpfseal::seal::{Certificate, SigningKey, TrustStore};
//!
//! let key = SigningKey::from_pem(&std::fs::read("key.pem")?)?;
//! let certificate = Certificate::from_bytes(&std::fs::read("cert.pem")?)?;
//!
//! let name = bpfseal::object::object_name("prog.bpf.o");
//! let object = Object::parse(&std::fs::read("prog.bpf.o")?, &name)?;
//! let sealed = Sealer::new(&certificate).seal(object, &key)?;
//! for dependency in &sealed.made.plan.host {
//!     println!("depends on this host: {dependency}");
//! }
//! std::fs::write("prog.lskel.h", sealed.c_header()?.to_string())?;
//!
//! let mut trust = TrustStore::new();
//! trust.add(certificate);
//! let attestation = sealed.sealed_loader().verify(&trust)?;
//! println!("{} bytes are covered", attestation.covered);
//!
//! // Into the running kernel, which verifies it again.
//! let loaded = bpfseal::load(&sealed.into_artifact(), &bpfseal::LoadOptions::default())?;
//! let links = loaded.attach()?;
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod detached;
#[cfg(feature = "host")]
mod host;
mod make;
pub mod report;
#[cfg(feature = "sign")]
mod sealer;
#[cfg(feature = "kernel")]
mod trusted;

pub use bpfseal_artifact as artifact;
#[cfg(feature = "kernel")]
pub use bpfseal_kernel as kernel;
pub use bpfseal_loader as loader;
#[cfg(feature = "model")]
pub use bpfseal_model as model;
pub use bpfseal_object as object;
#[cfg(feature = "kernel")]
pub use bpfseal_rt as rt;
pub use bpfseal_seal as seal;
#[cfg(feature = "sign")]
pub use bpfseal_signers as signers;
pub use bpfseal_uapi as uapi;

#[cfg(feature = "kernel")]
pub use bpfseal_rt::{
    AttachError, KEYRINGS, Links, LoadError, LoadOptions, Loaded, PinError, PinPlace, data,
    insecure_load_unsigned, load, remove_staging, skeleton,
};
pub use detached::{ReuniteError, reunite};
#[cfg(feature = "host")]
pub use host::{RunningHost, parse_version};
pub use make::{Made, MakeError, Source, make_loader};
#[cfg(feature = "kernel")]
pub use report::list_keyring;
#[cfg(feature = "model")]
pub use report::{audit, diff, explain};
pub use report::{inspect_artifact, inspect_object, verify};
#[cfg(feature = "sign")]
pub use sealer::{Prepared, Sealed, Sealer};
#[cfg(feature = "kernel")]
pub use trusted::{LoadTrustedError, load_trusted};
