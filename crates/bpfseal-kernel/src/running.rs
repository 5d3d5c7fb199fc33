//! Direct queries of the running kernel. The safety of this crate must not depend on a
//! [`System`](crate::System), which can be implemented in safe code.

use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

use bpfseal_uapi::attr::{map_batch, obj_info, prog_bind_map};
use bpfseal_uapi::{Errno, MapType, cmd, info};

use crate::attr::Attr;
use crate::error::last_errno;
use crate::text::word;

/// Calls `bpf(2)`.
pub(crate) fn bpf(attr: &mut Attr<'_>) -> Result<i64, Errno> {
    if !attr.is_bounded() {
        // The kernel would copy as much as the map's sizes say; the buffers may be smaller.
        return Err(Errno::EINVAL);
    }
    let (command, len) = (attr.command().0, attr.len());
    // SAFETY: the attributes are `len` bytes of initialised memory, made for this very command, and
    // whatever they point at is borrowed for as long as they live, mutably where the kernel writes.
    // That the sizes in them fit what they point at is kept by the functions of this crate that
    // fill them in, which nothing outside of it can do; where there is no size in them, the check
    // above has seen that the buffers are as large as the kernel says.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attr.as_mut_ptr(), len) };
    if result < 0 {
        return Err(last_errno());
    }
    Ok(result)
}

/// Takes a descriptor that a system call has just returned.
pub(crate) fn owned(result: i64) -> Result<OwnedFd, Errno> {
    let fd = i32::try_from(result).ok().filter(|fd| *fd >= 0);
    let fd = fd.ok_or(Errno::EBADF)?;
    // SAFETY: the caller has just got it from a system call that creates descriptors, so it has no
    // other owner.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Sizes of a map, as the kernel has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub(crate) map_type: MapType,
    pub(crate) key_size: u32,
    pub(crate) value_size: u32,
    pub(crate) max_entries: u32,
}

/// The sizes of the map behind a descriptor. For a descriptor of another kind the numbers are
/// meaningless, and the kernel refuses every map command on it.
pub(crate) fn sizes(fd: BorrowedFd<'_>) -> Result<Sizes, Errno> {
    use info::map as at;
    let mut buffer = [0; at::MAX_ENTRIES.end()];
    info(fd, &mut buffer)?;
    Ok(Sizes {
        map_type: MapType(word(&buffer, at::TYPE)),
        key_size: word(&buffer, at::KEY_SIZE),
        value_size: word(&buffer, at::VALUE_SIZE),
        max_entries: word(&buffer, at::MAX_ENTRIES),
    })
}

fn info(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<(), Errno> {
    let len = u32::try_from(buffer.len()).unwrap_or(0);
    let mut attr = Attr::new(cmd::OBJ_GET_INFO_BY_FD, obj_info::LEN);
    attr.put_fd(obj_info::BPF_FD, fd)
        .put_u32(obj_info::INFO_LEN, len)
        .put_buffer(obj_info::INFO, buffer);
    bpf(&mut attr).map(drop)
}

/// The kind of object that a descriptor must refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Map,
    Program,
}

/// The kernel's id of a map or program. Ids are assigned in ascending order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Id(u32);

impl Id {
    /// Whether it was assigned after another id. After the largest, 2³¹ − 1, the kernel starts again
    /// from 1.
    fn is_after(self, other: Self) -> bool {
        const ALL: u32 = 1 << 31;
        let distance = self.0.wrapping_sub(other.0) % ALL;
        (1..ALL / 2).contains(&distance)
    }
}

/// The id of the map or program behind a descriptor.
pub(crate) fn id(fd: BorrowedFd<'_>) -> Result<Id, Errno> {
    // A program's id is at the same offset.
    use info::map as at;
    let mut buffer = [0; at::ID.end()];
    info(fd, &mut buffer)?;
    Ok(Id(word(&buffer, at::ID)))
}

/// Whether a descriptor may be of a kind. Uses calls that have no effect, and that fail with `EINVAL`
/// for another kind before anything else is checked. Any other answer, such as a security module's
/// `EPERM`, does not rule the kind out.
fn is_of_kind(fd: BorrowedFd<'_>, kind: Kind) -> bool {
    let mut attr = match kind {
        Kind::Map => {
            // A batch of no elements.
            let mut attr = Attr::new(cmd::MAP_LOOKUP_BATCH, map_batch::LEN);
            attr.put_fd(map_batch::MAP_FD, fd);
            attr
        }
        Kind::Program => {
            // There is no map to bind.
            let mut attr = Attr::new(cmd::PROG_BIND_MAP, prog_bind_map::LEN);
            attr.put_fd(prog_bind_map::PROG_FD, fd)
                .put_number(prog_bind_map::MAP_FD, -1);
            attr
        }
    };
    bpf(&mut attr) != Err(Errno::EINVAL)
}

/// Takes ownership of a descriptor that a program in the kernel has left in this process's table, by
/// its number.
///
/// The program can report any number. It must be an open descriptor of the right kind, and its
/// object must be newer than one that was created right before the run. So no descriptor that this
/// process had before the run is taken, and none of another kind. A map or program that another
/// thread creates during the run cannot be told apart.
///
/// # Errors
/// `EBADF` if the number is not an open descriptor, or if its object existed before; `EINVAL` if it
/// is of another kind.
pub(crate) fn adopt(number: i32, kind: Kind, before: Id) -> Result<OwnedFd, Errno> {
    // Standard input, output and error are never a program's.
    if number <= libc::STDERR_FILENO {
        return Err(Errno::EBADF);
    }
    // SAFETY: only checks whether the number is open.
    if unsafe { libc::fcntl(number, libc::F_GETFD) } < 0 {
        return Err(Errno::EBADF);
    }
    // SAFETY: it is open. If another thread closes it meanwhile, the calls below answer `EBADF`.
    let fd = unsafe { BorrowedFd::borrow_raw(number) };
    let id = id(fd)?;
    if !is_of_kind(fd, kind) {
        return Err(Errno::EINVAL);
    }
    if !id.is_after(before) {
        return Err(Errno::EBADF);
    }
    // SAFETY: its object was created during the run, so the run has opened it, and only the caller,
    // who ran the program, learns its number.
    Ok(unsafe { OwnedFd::from_raw_fd(fd.as_fd().as_raw_fd()) })
}

/// The number of possible CPUs. Read from sysfs, because the C library counts only those that are
/// present.
pub(crate) fn possible_cpus() -> Result<usize, Errno> {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/possible")
        .map_err(|e| crate::error::of_io(&e))?;
    count(text.trim()).ok_or(Errno::EIO)
}

/// Counts the CPUs in a list such as `0-3,8`.
fn count(list: &str) -> Option<usize> {
    let mut count = 0_usize;
    for range in list.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        count = count.checked_add(last.checked_sub(first)?.checked_add(1)?)?;
    }
    Some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_are_counted() {
        for (list, expect) in [
            ("0", Some(1)),
            ("0-3", Some(4)),
            ("0-3,8,10-11", Some(7)),
            ("3-0", None),
            ("0-18446744073709551615", None),
            ("", None),
            ("all", None),
        ] {
            assert_eq!(count(list), expect, "{list}");
        }
    }

    #[test]
    fn numbers_are_given_out_in_order() {
        let after = |new, old| Id(new).is_after(Id(old));
        assert!(after(8, 7) && after(1, i32::MAX as u32));
        assert!(!after(7, 7) && !after(6, 7) && !after(i32::MAX as u32, 1));
    }

    #[test]
    fn what_is_not_ours_is_not_taken() {
        let file = std::fs::File::open("/dev/null").unwrap();
        for number in [-1, 0, 1, 2, 999_999, file.as_raw_fd()] {
            for kind in [Kind::Map, Kind::Program] {
                assert!(adopt(number, kind, Id(0)).is_err(), "{number}");
            }
        }
        assert!(file.metadata().is_ok(), "it is still open");
    }

    #[test]
    fn calls_without_known_sizes_do_not_reach_the_kernel() {
        let mut attr = Attr::new(cmd::MAP_LOOKUP_ELEM, 32);
        assert_eq!(bpf(&mut attr), Err(Errno::EINVAL));
    }
}
