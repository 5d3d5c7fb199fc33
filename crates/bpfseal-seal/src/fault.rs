//! Why a signature does not hold, and what the kernel's crypto code answers then.

use bpfseal_uapi::Errno;

use crate::ber::BerError;

bpfseal_object::debug_as_chain!(SignatureFault);

/// A signature that does not hold with a key, or cannot be checked with it.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
#[non_exhaustive]
pub struct SignatureFault {
    pub(crate) errno: Errno,
    pub(crate) what: &'static str,
}

impl SignatureFault {
    pub(crate) const fn new(errno: Errno, what: &'static str) -> Self {
        Self { errno, what }
    }

    /// Another content, or another key: what a signature that was made well comes to.
    pub(crate) const MISMATCH: Self = Self::new(
        Errno::EKEYREJECTED,
        "the content was changed, or another key signed it",
    );

    /// What the kernel's check answers.
    #[must_use]
    pub fn errno(&self) -> Errno {
        self.errno
    }

    /// The kernel lacks the algorithm.
    pub(crate) fn is_missing_algorithm(self) -> bool {
        self.errno == Errno::ENOENT
    }
}

impl From<BerError> for SignatureFault {
    fn from(error: BerError) -> Self {
        Self::new(Errno::EBADMSG, error.what)
    }
}
