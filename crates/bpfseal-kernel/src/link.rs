//! Links: programs attached, until the link is dropped.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use crate::attr::Attr;
use crate::error::SyscallError;
use crate::map::owned_fd;
use crate::program::Program;
use crate::system::{Command, System};

/// An attached program. Dropping it detaches.
#[derive(Debug)]
pub struct Link {
    fd: OwnedFd,
}

impl Link {
    /// `BPF_RAW_TRACEPOINT_OPEN`: with a name for raw tracepoints; without one for programs that
    /// were loaded for their target (tracing, LSM).
    ///
    /// # Errors
    /// `ENOENT` for a tracepoint that is not there.
    pub fn raw_tracepoint(
        system: &dyn System,
        name: Option<&str>,
        program: &Program,
    ) -> Result<Self, SyscallError> {
        let error = |errno| {
            let on = name.map_or("its target".to_owned(), |name| {
                format!("tracepoint `{name}`")
            });
            SyscallError::new(Command::RawTracepointOpen.name(), on, errno)
        };
        let text = name
            .map(CString::new)
            .transpose()
            .map_err(|_| error(libc::EINVAL))?;
        let mut attr = Attr::new(12);
        if let Some(text) = &text {
            attr.put_bytes(0, text.as_bytes_with_nul());
        }
        attr.put_fd(8, program.as_fd().as_raw_fd());
        let fd = system
            .bpf(Command::RawTracepointOpen, &mut attr)
            .map_err(error)?;
        Ok(Self { fd: owned_fd(fd) })
    }

    /// `BPF_LINK_CREATE` on a descriptor or interface index.
    ///
    /// # Errors
    /// What the kind of attachment answers.
    pub fn create(
        system: &dyn System,
        program: &Program,
        target: i32,
        attach_type: u32,
        flags: u32,
    ) -> Result<Self, SyscallError> {
        let mut attr = Attr::new(48);
        attr.put_fd(0, program.as_fd().as_raw_fd())
            .put_fd(4, target)
            .put_u32(8, attach_type)
            .put_u32(12, flags);
        let fd = system
            .bpf(Command::LinkCreate, &mut attr)
            .map_err(|errno| {
                SyscallError::new(
                    Command::LinkCreate.name(),
                    format!("target {target}"),
                    errno,
                )
            })?;
        Ok(Self { fd: owned_fd(fd) })
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// `BPF_OBJ_PIN`: gives a map, program or link a name in bpffs, so that it stays.
///
/// # Errors
/// `EPERM` outside of bpffs, `EEXIST` when the name is taken.
pub fn pin(system: &dyn System, object: BorrowedFd<'_>, path: &Path) -> Result<(), SyscallError> {
    let error = |errno| {
        SyscallError::new(
            Command::ObjPin.name(),
            format!("`{}`", path.display()),
            errno,
        )
    };
    let text = CString::new(path.as_os_str().as_bytes()).map_err(|_| error(libc::EINVAL))?;
    let mut attr = Attr::new(16);
    attr.put_bytes(0, text.as_bytes_with_nul())
        .put_fd(8, object.as_raw_fd());
    system
        .bpf(Command::ObjPin, &mut attr)
        .map(drop)
        .map_err(error)
}
