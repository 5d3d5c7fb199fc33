//! What there is in the kernel, by number.

use bpfseal_uapi::attr::get_id as at;
use bpfseal_uapi::{Command, Errno, cmd};

use crate::attr::Attr;
use crate::error::SyscallError;
use crate::system::System;

/// The numbers of all maps (`BPF_MAP_GET_NEXT_ID`). Needs `CAP_SYS_ADMIN`.
///
/// # Errors
/// `EPERM` without rights.
pub fn map_ids(system: &dyn System) -> Result<Vec<u32>, SyscallError> {
    ids(system, cmd::MAP_GET_NEXT_ID)
}

/// The numbers of all programs (`BPF_PROG_GET_NEXT_ID`). Needs `CAP_SYS_ADMIN`.
///
/// # Errors
/// `EPERM` without rights.
pub fn program_ids(system: &dyn System) -> Result<Vec<u32>, SyscallError> {
    ids(system, cmd::PROG_GET_NEXT_ID)
}

fn ids(system: &dyn System, command: Command) -> Result<Vec<u32>, SyscallError> {
    let mut found = Vec::new();
    loop {
        let mut attr = Attr::new(command, at::OPEN_FLAGS.end());
        attr.put_u32(at::START_ID, found.last().copied().unwrap_or(0));
        match system.bpf(&mut attr) {
            Ok(_) => found.push(attr.u32(at::NEXT_ID)),
            Err(Errno::ENOENT) => return Ok(found),
            Err(errno) => return Err(SyscallError::new(command.call(), "all", errno)),
        }
    }
}
