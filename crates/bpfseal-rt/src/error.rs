//! Why an artifact was not loaded.

use crate::artifact::FormatError;
use crate::kernel::probe::Verification;
use crate::kernel::{InstallError, SyscallError};
use crate::seal::{Mismatch, Scheme};

bpfseal_object::debug_as_chain!(LoadError);

/// Why nothing was loaded.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The kernel refused. [`InstallError::meaning`] says what that means.
    #[error(transparent)]
    Refused(InstallError),
    /// The bundle in a Rust skeleton can not be read.
    #[error("the bundle in the skeleton can not be read")]
    Skeleton(#[from] FormatError),
    /// It is not signed.
    #[error("the artifact is not signed")]
    NotSigned,
    /// It is not signed by a scheme that is strong enough.
    #[error(
        "the artifact is not signed by a scheme that is taken: it has {found}, and {} or stronger is wanted", wanted.name()
    )]
    TooWeak {
        /// What it has.
        found: String,
        /// The weakest that is taken.
        wanted: Scheme,
    },
    /// A seal does not go with its loader. Nothing was asked of the kernel.
    #[error("the form `{}` does not go with its seal", scheme.name())]
    Mismatch {
        /// The scheme that the seal names.
        scheme: Scheme,
        /// What does not go together.
        source: Mismatch,
    },
    /// It is signed by proposals only, which no kernel checks.
    #[error("it is signed by {found}: a proposal, which no kernel checks")]
    Proposal {
        /// The schemes that it has.
        found: String,
    },
    /// It is signed by schemes that the running kernel does not check.
    #[error(
        "this kernel checks another scheme: it verifies {}, and the artifact is signed by {found}",
        match checked {
            Verification::LoadTime => "load-time",
            _ => "in-loader schemes",
        }
    )]
    OtherScheme {
        /// The schemes that it has.
        found: String,
        /// How the kernel verifies.
        checked: Verification,
    },
    /// It has signed forms only.
    #[error("the artifact has no unsigned form")]
    NotUnsigned,
    /// Something was to be set that a signature fixes.
    #[error(
        "map `{map}` was given an initial value or size, which a signed loader ignores: change the BPF program and sign it again"
    )]
    Fixed {
        /// The map.
        map: String,
    },
    /// No keyring was named.
    #[error("there is no keyring to look for the signer's key in")]
    NoKeyring,
    /// The kernel did not say what was installed, or did not let it be mapped.
    #[error(transparent)]
    Call(SyscallError),
    /// A section of global data that is not there, or of another size.
    #[error("map `{map}` has {found} bytes, and variables up to {expected}")]
    Data {
        /// The map.
        map: String,
        /// Bytes of the mapping.
        found: usize,
        /// Bytes that there should be.
        expected: usize,
    },
}
