//! Names in bpffs: objects that stay when the last descriptor is closed.

use std::ffi::CString;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use crate::attr::Attr;
use crate::error::SyscallError;
use crate::map::owned_fd;
use crate::system::{Command, System};

/// `BPF_OBJ_PIN`: gives a map, program or link a name in bpffs, so that it stays.
///
/// # Errors
/// `EPERM` outside of bpffs, `EEXIST` when the name is taken.
pub fn pin(system: &dyn System, object: BorrowedFd<'_>, path: &Path) -> Result<(), SyscallError> {
    let text = text(Command::ObjPin, path)?;
    let mut attr = Attr::new(16);
    attr.put_bytes(0, text.as_bytes_with_nul())
        .put_fd(8, object.as_raw_fd());
    system
        .bpf(Command::ObjPin, &mut attr)
        .map(drop)
        .map_err(|errno| error(Command::ObjPin, path, errno))
}

/// `BPF_OBJ_GET`: the map, program or link behind a name in bpffs.
///
/// # Errors
/// `ENOENT` when there is none.
pub fn get(system: &dyn System, path: &Path) -> Result<OwnedFd, SyscallError> {
    let text = text(Command::ObjGet, path)?;
    let mut attr = Attr::new(16);
    attr.put_bytes(0, text.as_bytes_with_nul());
    system
        .bpf(Command::ObjGet, &mut attr)
        .map(owned_fd)
        .map_err(|errno| error(Command::ObjGet, path, errno))
}

fn text(command: Command, path: &Path) -> Result<CString, SyscallError> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| error(command, path, libc::EINVAL))
}

fn error(command: Command, path: &Path, errno: i32) -> SyscallError {
    SyscallError::new(command.name(), format!("`{}`", path.display()), errno)
}
