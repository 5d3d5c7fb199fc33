//! Names in bpffs: objects that stay when the last descriptor is closed.

use std::ffi::CString;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use bpfseal_uapi::attr::obj as at;
use bpfseal_uapi::{Command, Errno, cmd};

use crate::attr::Attr;
use crate::error::SyscallError;
use crate::system::{System, make};

/// `BPF_OBJ_PIN`: gives a map, program or link a name in bpffs, so that it stays.
///
/// # Errors
/// `EPERM` outside of bpffs, `EEXIST` when the name is taken.
pub fn pin(system: &dyn System, object: BorrowedFd<'_>, path: &Path) -> Result<(), SyscallError> {
    let text = text(cmd::OBJ_PIN, path)?;
    let mut attr = Attr::new(cmd::OBJ_PIN, at::FILE_FLAGS.end());
    attr.put_bytes(at::PATHNAME, text.as_bytes_with_nul())
        .put_fd(at::BPF_FD, object);
    system
        .bpf(&mut attr)
        .map(drop)
        .map_err(|errno| error(cmd::OBJ_PIN, path, errno))
}

/// `BPF_OBJ_GET`: the map, program or link behind a name in bpffs.
///
/// # Errors
/// `ENOENT` when there is none.
pub fn get(system: &dyn System, path: &Path) -> Result<OwnedFd, SyscallError> {
    let text = text(cmd::OBJ_GET, path)?;
    let mut attr = Attr::new(cmd::OBJ_GET, at::FILE_FLAGS.end());
    attr.put_bytes(at::PATHNAME, text.as_bytes_with_nul());
    make(system, &mut attr).map_err(|errno| error(cmd::OBJ_GET, path, errno))
}

fn text(command: Command, path: &Path) -> Result<CString, SyscallError> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| error(command, path, Errno::EINVAL))
}

fn error(command: Command, path: &Path, errno: Errno) -> SyscallError {
    SyscallError::new(command.call(), format!("`{}`", path.display()), errno)
}
