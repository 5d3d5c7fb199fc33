//! Type information in the kernel.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use bpfseal_uapi::attr::btf_load as at;
use bpfseal_uapi::cmd;

use crate::attr::Attr;
use crate::error::SyscallError;
use crate::system::{System, make};

/// Type information that is held by its descriptor.
#[derive(Debug)]
pub struct Btf {
    fd: OwnedFd,
}

impl Btf {
    /// `BPF_BTF_LOAD` of a section as an object has it.
    ///
    /// # Errors
    /// `EINVAL` for what the kernel does not take.
    pub fn load(system: &dyn System, bytes: &[u8]) -> Result<Self, SyscallError> {
        let size = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let mut attr = Attr::new(cmd::BTF_LOAD, at::BTF_LOG_LEVEL.end());
        attr.put_bytes(at::BTF, bytes).put_u32(at::BTF_SIZE, size);
        let fd = make(system, &mut attr)
            .map_err(|errno| SyscallError::new(cmd::BTF_LOAD.call(), "type information", errno))?;
        Ok(Self { fd })
    }
}

impl AsFd for Btf {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
