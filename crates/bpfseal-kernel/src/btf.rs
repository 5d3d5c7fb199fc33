//! Type information in the kernel.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::attr::Attr;
use crate::error::SyscallError;
use crate::map::owned_fd;
use crate::system::{Command, System};

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
        let mut attr = Attr::new(28);
        attr.put_bytes(0, bytes)
            .put_u32(16, u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        let fd = system.bpf(Command::BtfLoad, &mut attr).map_err(|errno| {
            SyscallError::new(Command::BtfLoad.name(), "type information", errno)
        })?;
        Ok(Self { fd: owned_fd(fd) })
    }
}

impl AsFd for Btf {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
