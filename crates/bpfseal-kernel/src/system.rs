//! The seam to the kernel: every system call of this crate goes through [`System`].

use std::ffi::CStr;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use crate::attr::{Attr, PerfAttr};
use crate::map::Mapping;

/// `KEYCTL_RESTRICT_KEYRING`, which the C library does not name.
const RESTRICT_KEYRING: u32 = 29;

/// Commands of `bpf(2)` that are used here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the names are the kernel's")]
pub enum Command {
    BtfLoad,
    IterCreate,
    LinkCreate,
    MapCreate,
    MapDeleteElem,
    MapFreeze,
    MapGetNextId,
    MapGetNextKey,
    MapLookupAndDeleteElem,
    MapLookupElem,
    MapUpdateElem,
    ObjGet,
    ObjGetInfoByFd,
    ObjPin,
    ProgGetNextId,
    ProgLoad,
    ProgRun,
    RawTracepointOpen,
}

/// Command, number (`enum bpf_cmd`), name.
const COMMANDS: [(Command, i64, &str); 18] = [
    (Command::MapCreate, 0, "BPF_MAP_CREATE"),
    (Command::MapLookupElem, 1, "BPF_MAP_LOOKUP_ELEM"),
    (Command::MapUpdateElem, 2, "BPF_MAP_UPDATE_ELEM"),
    (Command::MapDeleteElem, 3, "BPF_MAP_DELETE_ELEM"),
    (Command::MapGetNextKey, 4, "BPF_MAP_GET_NEXT_KEY"),
    (Command::ProgLoad, 5, "BPF_PROG_LOAD"),
    (Command::ObjPin, 6, "BPF_OBJ_PIN"),
    (Command::ObjGet, 7, "BPF_OBJ_GET"),
    (Command::ProgRun, 10, "BPF_PROG_RUN"),
    (Command::ProgGetNextId, 11, "BPF_PROG_GET_NEXT_ID"),
    (Command::MapGetNextId, 12, "BPF_MAP_GET_NEXT_ID"),
    (Command::ObjGetInfoByFd, 15, "BPF_OBJ_GET_INFO_BY_FD"),
    (Command::RawTracepointOpen, 17, "BPF_RAW_TRACEPOINT_OPEN"),
    (Command::BtfLoad, 18, "BPF_BTF_LOAD"),
    (
        Command::MapLookupAndDeleteElem,
        21,
        "BPF_MAP_LOOKUP_AND_DELETE_ELEM",
    ),
    (Command::MapFreeze, 22, "BPF_MAP_FREEZE"),
    (Command::LinkCreate, 28, "BPF_LINK_CREATE"),
    (Command::IterCreate, 33, "BPF_ITER_CREATE"),
];

impl Command {
    fn row(self) -> (i64, &'static str) {
        COMMANDS
            .iter()
            .find(|row| row.0 == self)
            .map_or((-1, "bpf"), |row| (row.1, row.2))
    }

    /// The kernel's name of it.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().1
    }
}

/// A call on keys: `add_key(2)`, or an operation of `keyctl(2)`. Keys and keyrings are given by
/// serial number or special id.
#[derive(Debug)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields are the arguments of the calls")]
pub enum KeyCall<'a> {
    /// `add_key(2)`: the new key's serial number.
    Add {
        key_type: &'a CStr,
        description: &'a CStr,
        payload: &'a [u8],
        keyring: i32,
    },
    /// `KEYCTL_DESCRIBE`: text into the buffer; how long the whole text is.
    Describe { key: i32, buffer: &'a mut [u8] },
    /// `KEYCTL_JOIN_SESSION_KEYRING`, a new one: its serial number.
    JoinSession,
    /// `KEYCTL_LINK`.
    Link { key: i32, keyring: i32 },
    /// `KEYCTL_READ`: content into the buffer; how long the whole content is.
    Read { key: i32, buffer: &'a mut [u8] },
    /// `KEYCTL_RESTRICT_KEYRING`: with a type and a rule, or for all keys.
    Restrict {
        keyring: i32,
        rule: Option<(&'a CStr, &'a CStr)>,
    },
    /// `KEYCTL_REVOKE`.
    Revoke { key: i32 },
    /// `KEYCTL_SEARCH`: the serial number of what was found.
    Search {
        keyring: i32,
        key_type: &'a CStr,
        description: &'a CStr,
    },
    /// `KEYCTL_GET_KEYRING_ID`: the serial number behind a special id.
    Serial { keyring: i32 },
    /// `KEYCTL_UNLINK`.
    Unlink { key: i32, keyring: i32 },
}

impl KeyCall<'_> {
    /// The kernel's name of it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Add { .. } => "add_key",
            Self::Describe { .. } => "KEYCTL_DESCRIBE",
            Self::JoinSession => "KEYCTL_JOIN_SESSION_KEYRING",
            Self::Link { .. } => "KEYCTL_LINK",
            Self::Read { .. } => "KEYCTL_READ",
            Self::Restrict { .. } => "KEYCTL_RESTRICT_KEYRING",
            Self::Revoke { .. } => "KEYCTL_REVOKE",
            Self::Search { .. } => "KEYCTL_SEARCH",
            Self::Serial { .. } => "KEYCTL_GET_KEYRING_ID",
            Self::Unlink { .. } => "KEYCTL_UNLINK",
        }
    }
}

/// The kernel, or a test double of it. Results are those of the system calls; failures are errnos.
/// What a double leaves out fails with `ENOSYS`.
pub trait System {
    /// `bpf(2)`.
    ///
    /// # Errors
    /// The errno.
    fn bpf(&self, command: Command, attr: &mut Attr<'_>) -> Result<i64, i32>;

    /// `add_key(2)` and `keyctl(2)`.
    ///
    /// # Errors
    /// The errno.
    fn key(&self, call: KeyCall<'_>) -> Result<i64, i32> {
        let _ = call;
        Err(libc::ENOSYS)
    }

    /// `perf_event_open(2)`: the descriptor of the event.
    ///
    /// # Errors
    /// The errno.
    fn perf_event_open(&self, attr: &mut PerfAttr<'_>, pid: i32, cpu: i32) -> Result<i64, i32> {
        let _ = (attr, pid, cpu);
        Err(libc::ENOSYS)
    }

    /// `mmap(2)` of the first bytes behind a descriptor, shared.
    ///
    /// # Errors
    /// The errno.
    fn mmap(&self, fd: BorrowedFd<'_>, len: usize, writable: bool) -> Result<Mapping, i32> {
        let _ = (fd, len, writable);
        Err(libc::ENOSYS)
    }

    /// `setsockopt(2)` with `SO_ATTACH_BPF`.
    ///
    /// # Errors
    /// The errno.
    fn filter_socket(&self, socket: BorrowedFd<'_>, program: BorrowedFd<'_>) -> Result<(), i32> {
        let _ = (socket, program);
        Err(libc::ENOSYS)
    }
}

/// The running kernel.
#[derive(Debug, Clone, Copy, Default)]
pub struct Linux;

fn answer(result: i64) -> Result<i64, i32> {
    if result < 0 {
        Err(std::io::Error::last_os_error()
            .raw_os_error()
            .unwrap_or(libc::EIO))
    } else {
        Ok(result)
    }
}

impl System for Linux {
    fn bpf(&self, command: Command, attr: &mut Attr<'_>) -> Result<i64, i32> {
        let len = attr.len();
        // SAFETY: the attributes are `len` bytes of initialised memory, and whatever they point at
        // is borrowed for as long as they live, mutably where the kernel writes. That the sizes
        // in them fit what they point at is kept by the functions of this crate that fill them
        // in, which nothing outside of it can do.
        answer(unsafe { libc::syscall(libc::SYS_bpf, command.row().0, attr.as_mut_ptr(), len) })
    }

    fn key(&self, call: KeyCall<'_>) -> Result<i64, i32> {
        const NOTHING: *const libc::c_char = std::ptr::null();
        // SAFETY: texts end in a NUL, contents and buffers are given with their lengths, and all
        // of them are borrowed by `call`, mutably where the kernel writes. The rest are numbers.
        answer(unsafe {
            match call {
                KeyCall::Add {
                    key_type,
                    description,
                    payload,
                    keyring,
                } => libc::syscall(
                    libc::SYS_add_key,
                    key_type.as_ptr(),
                    description.as_ptr(),
                    payload.as_ptr(),
                    payload.len(),
                    keyring,
                ),
                KeyCall::Describe { key, buffer } => libc::syscall(
                    libc::SYS_keyctl,
                    libc::KEYCTL_DESCRIBE,
                    key,
                    buffer.as_mut_ptr(),
                    buffer.len(),
                ),
                KeyCall::JoinSession => {
                    libc::syscall(libc::SYS_keyctl, libc::KEYCTL_JOIN_SESSION_KEYRING, NOTHING)
                }
                KeyCall::Link { key, keyring } => {
                    libc::syscall(libc::SYS_keyctl, libc::KEYCTL_LINK, key, keyring)
                }
                KeyCall::Read { key, buffer } => libc::syscall(
                    libc::SYS_keyctl,
                    libc::KEYCTL_READ,
                    key,
                    buffer.as_mut_ptr(),
                    buffer.len(),
                ),
                KeyCall::Restrict { keyring, rule } => {
                    let (key_type, rule) = rule.map_or((NOTHING, NOTHING), |(key_type, rule)| {
                        (key_type.as_ptr(), rule.as_ptr())
                    });
                    libc::syscall(libc::SYS_keyctl, RESTRICT_KEYRING, keyring, key_type, rule)
                }
                KeyCall::Revoke { key } => {
                    libc::syscall(libc::SYS_keyctl, libc::KEYCTL_REVOKE, key)
                }
                KeyCall::Search {
                    keyring,
                    key_type,
                    description,
                } => libc::syscall(
                    libc::SYS_keyctl,
                    libc::KEYCTL_SEARCH,
                    keyring,
                    key_type.as_ptr(),
                    description.as_ptr(),
                    0,
                ),
                KeyCall::Serial { keyring } => {
                    libc::syscall(libc::SYS_keyctl, libc::KEYCTL_GET_KEYRING_ID, keyring, 0)
                }
                KeyCall::Unlink { key, keyring } => {
                    libc::syscall(libc::SYS_keyctl, libc::KEYCTL_UNLINK, key, keyring)
                }
            }
        })
    }

    fn perf_event_open(&self, attr: &mut PerfAttr<'_>, pid: i32, cpu: i32) -> Result<i64, i32> {
        const CLOSE_ON_EXEC: libc::c_ulong = 8;
        // SAFETY: the attributes are initialised memory of the size that they name, and what they
        // point at ends in a NUL and is borrowed for as long as they live.
        answer(unsafe {
            libc::syscall(
                libc::SYS_perf_event_open,
                attr.as_mut_ptr(),
                pid,
                cpu,
                -1,
                CLOSE_ON_EXEC,
            )
        })
    }

    fn mmap(&self, fd: BorrowedFd<'_>, len: usize, writable: bool) -> Result<Mapping, i32> {
        Mapping::new(fd, len, writable)
    }

    fn filter_socket(&self, socket: BorrowedFd<'_>, program: BorrowedFd<'_>) -> Result<(), i32> {
        let fd = program.as_raw_fd();
        // SAFETY: the option's value is a descriptor, given with its size.
        let result = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_ATTACH_BPF,
                (&raw const fd).cast(),
                size_of_val(&fd) as libc::socklen_t,
            )
        };
        answer(result.into()).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_in_the_table_once() {
        let numbers: std::collections::BTreeSet<_> = COMMANDS.iter().map(|row| row.1).collect();
        assert_eq!(numbers.len(), COMMANDS.len());
        assert_eq!(Command::ProgLoad.name(), "BPF_PROG_LOAD");
    }
}
