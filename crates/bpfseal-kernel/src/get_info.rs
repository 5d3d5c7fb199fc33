//! `BPF_OBJ_GET_INFO_BY_FD`: information about a kernel object.

use std::os::fd::BorrowedFd;

use bpfseal_uapi::attr::obj_info;
use bpfseal_uapi::{Errno, cmd};

use crate::attr::Attr;
use crate::system::System;

/// Fills in the structure for the object's kind ([`bpfseal_uapi::info`]).
pub(crate) fn get_info(
    system: &dyn System,
    fd: BorrowedFd<'_>,
    buffer: &mut [u8],
) -> Result<(), Errno> {
    let len = u32::try_from(buffer.len()).unwrap_or(0);
    let mut attr = Attr::new(cmd::OBJ_GET_INFO_BY_FD, obj_info::LEN);
    attr.put_fd(obj_info::BPF_FD, fd)
        .put_u32(obj_info::INFO_LEN, len)
        .put_buffer(obj_info::INFO, buffer);
    system.bpf(&mut attr).map(drop)
}
