//! The kernel's side of signed BPF, as a pure model.
//!
//! Runs loaders without a kernel: [`audit`] recovers the load plan from what a loader really does,
//! whoever made it, and compares it with the plan of an object. Stands between what is made
//! ([`bpfseal_loader`], [`bpfseal_seal`]) and the running kernel, and depends on neither clock nor
//! files nor system calls.
//!
//! ```text
//! instructions ‖ metadata ── run ── what it asks the kernel for ── LoadPlan ══ LoadPlan ── object
//! ```
#![forbid(unsafe_code)]

mod attr;
pub mod audit;
pub mod btf_check;
pub mod disasm;
pub mod explain;
pub mod foresee;
mod helpers;
pub mod install;
pub mod kernel;
pub mod map_check;
mod memory;
pub mod names;
mod record;
mod run;
pub mod stack;
mod symbols;

pub use bpfseal_uapi::Errno;
pub use helpers::helper_power;
pub use memory::OutOfBounds;
pub use run::Fault;
pub use symbols::{KernelSymbols, Symbols};
