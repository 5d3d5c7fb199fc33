//! What drives the model of the kernel and real kernels alike, to see that they answer the same.
//!
//! Not part of the product and not published: [`scenario`] and [`attacks`] are sequences of calls
//! for any [`machine`], [`signatures`] are messages and certificates for any of them, and [`mod@bench`] is what tests in virtual machines start from.
//! `cargo xtask kernels` runs those tests; elsewhere each says that it was skipped.
//!
//! ```text
//! scenarios ─┐                ┌─ the model
//!            ├─ a Machine is ─┤             outcomes are compared, call by call
//! attacks ───┘                └─ the running kernel
//! ```
#![forbid(unsafe_code)]

pub mod attacks;
pub mod bench;
pub mod machine;
mod random;
pub mod scenario;
pub mod signatures;
pub mod taken;
