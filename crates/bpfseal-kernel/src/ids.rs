//! What there is in the kernel, by number.

use crate::attr::Attr;
use crate::error::SyscallError;
use crate::system::{Command, System};

/// The numbers of all maps (`BPF_MAP_GET_NEXT_ID`). Needs `CAP_SYS_ADMIN`.
///
/// # Errors
/// `EPERM` without rights.
pub fn map_ids(system: &dyn System) -> Result<Vec<u32>, SyscallError> {
    ids(system, Command::MapGetNextId)
}

/// The numbers of all programs (`BPF_PROG_GET_NEXT_ID`). Needs `CAP_SYS_ADMIN`.
///
/// # Errors
/// `EPERM` without rights.
pub fn program_ids(system: &dyn System) -> Result<Vec<u32>, SyscallError> {
    ids(system, Command::ProgGetNextId)
}

fn ids(system: &dyn System, command: Command) -> Result<Vec<u32>, SyscallError> {
    let mut found = Vec::new();
    loop {
        let mut attr = Attr::new(12);
        attr.put_u32(0, found.last().copied().unwrap_or(0));
        match system.bpf(command, &mut attr) {
            Ok(_) => found.push(attr.u32(4)),
            Err(libc::ENOENT) => return Ok(found),
            Err(errno) => return Err(SyscallError::new(command.name(), "all", errno)),
        }
    }
}
