//! The running kernel, told other sizes than those of what it gets.

use std::os::fd::OwnedFd;

use bpfseal_kernel::{Attr, Claim, Errno, Leaving, Left, Linux, Ran, System};

/// [`Linux`], with claims about the sizes of what it reads: its checks of them are what is tested.
#[derive(Debug, Clone, Default)]
pub struct Claiming(Vec<(Claim, u32)>);

impl Claiming {
    /// With one claim.
    #[must_use]
    pub fn one(claim: Claim, value: u32) -> Self {
        Self(vec![(claim, value)])
    }

    /// Adds a claim, unless it is what the kernel would be told anyway.
    pub(super) fn claim(&mut self, claim: Claim, value: u32, honest: u32) {
        if value != honest {
            self.0.push((claim, value));
        }
    }
}

impl System for Claiming {
    fn bpf(&self, attr: &mut Attr<'_>) -> Result<Option<OwnedFd>, Errno> {
        for (claim, value) in &self.0 {
            attr.claim(*claim, *value);
        }
        Linux.bpf(attr)
    }

    fn adopt(&self, left: Left) -> Result<OwnedFd, Errno> {
        Linux.adopt(left)
    }

    fn run_leaving(&self, leaving: &mut Leaving<'_>) -> Result<Ran, Errno> {
        Linux.run_leaving(leaving)
    }
}
