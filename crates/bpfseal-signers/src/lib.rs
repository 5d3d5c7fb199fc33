//! Signers whose keys are somewhere else: a command that signs ([`CommandSigner`]), and a PKCS#11
//! token (`TokenSigner`, feature `pkcs11`).
//!
//! They run programs and load modules, which the crates to the left do not do. What they answer is
//! checked by those who ask: a [`Signer`](bpfseal_seal::Signer) is not believed. No message shows a
//! PIN, or a command line, which may have secrets in it.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use bpfseal_seal::{Certificate, seal_load_time};
//! use bpfseal_signers::{CommandInput, CommandSigner};
//!
//! let certificate = Certificate::from_bytes(&std::fs::read("cert.pem")?)?;
//! let command = "openssl dgst -$BPFSEAL_DIGEST -sign key.pem";
//! let signer = CommandSigner::new(command, CommandInput::Message, &certificate)
//!     .ok_or("the certificate's key is of a kind that nothing is signed with")?;
//! let seal = seal_load_time(b"instructions", b"metadata", &signer, &certificate)?;
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod command;
#[cfg(feature = "pkcs11")]
mod token;

pub use command::{CommandInput, CommandSigner};
#[cfg(feature = "pkcs11")]
pub use token::{TokenError, TokenSigner, TokenUri, UriError};
