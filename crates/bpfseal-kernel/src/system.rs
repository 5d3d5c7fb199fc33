//! The seam to the kernel: every system call of this crate goes through [`System`].

use std::collections::BTreeSet;
use std::ffi::CStr;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};

use bpfseal_uapi::attr::prog_run;
use bpfseal_uapi::{Errno, PERF_FLAG_FD_CLOEXEC, keyctl};

use crate::apart::apart;
use crate::attr::{Attr, PerfAttr, run_attr};
use crate::error::last_errno;
use crate::mapping::Mapping;
use crate::running::{self, Id, Kind};

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

/// A descriptor that a syscall program has left open, as the number that it reported.
#[derive(Debug, Clone, Copy)]
pub struct Left {
    pub(crate) number: i32,
    pub(crate) kind: Kind,
    /// The last map or program that was created before the run, if the running kernel knows it.
    pub(crate) before: Option<Id>,
}

impl Left {
    /// The number.
    #[must_use]
    pub fn number(&self) -> i32 {
        self.number
    }
}

/// A run of a syscall program that leaves descriptors behind: `BPF_PROG_RUN`, and which places of
/// the context say what was left.
#[derive(Debug)]
pub struct Leaving<'a> {
    program: BorrowedFd<'a>,
    context: &'a mut [u8],
    places: &'a [Place],
}

/// A place of a context where a program leaves a descriptor.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    /// Offset, in bytes.
    pub(crate) offset: usize,
    pub(crate) kind: Kind,
    /// The last map or program that was created before the run, if the running kernel knows it.
    pub(crate) before: Option<Id>,
}

/// What came of such a run.
#[derive(Debug)]
pub struct Ran {
    /// What the program answered: 0, or a negative errno.
    pub(crate) answer: i32,
    /// What was left, by its place: the number, and the descriptor, if it can be the program's.
    pub(crate) left: Vec<(usize, i32, Result<OwnedFd, Errno>)>,
}

impl<'a> Leaving<'a> {
    pub(crate) fn new(program: BorrowedFd<'a>, context: &'a mut [u8], places: &'a [Place]) -> Self {
        Self {
            program,
            context,
            places,
        }
    }

    /// The context.
    #[cfg(test)]
    pub(crate) fn context(&self) -> &[u8] {
        self.context
    }

    /// Makes the call; what the program answered.
    fn run(&mut self, call: impl FnOnce(&mut Attr<'_>) -> Result<(), Errno>) -> Result<i32, Errno> {
        let mut attr = run_attr(self.program, self.context);
        call(&mut attr)?;
        Ok(attr.u32(prog_run::RETVAL).cast_signed())
    }

    /// What the program has left, by its place; nothing after a failure, when it closes what it made
    /// itself. A number that occurs twice counts once: it would be closed twice.
    fn left(&self, answer: i32) -> Vec<(usize, Option<Left>, i32)> {
        let mut seen = BTreeSet::new();
        let mut all = Vec::new();
        for place in self.places.iter().filter(|_| answer >= 0) {
            let bytes = self.context.get(place.offset..place.offset + 4);
            let word = bytes.and_then(|bytes| bytes.try_into().ok());
            let number = word.map_or(0, i32::from_ne_bytes);
            // The places behind those of the loaded programs stay as they were.
            if number == 0 && place.kind == Kind::Program {
                break;
            }
            let left = Left {
                number,
                kind: place.kind,
                before: place.before,
            };
            let left = seen.insert(number).then_some(left);
            all.push((place.offset, left, number));
        }
        all
    }
}

/// The kernel, or a test double of it. Failures are errnos. Calls that a double does not implement
/// fail with `ENOSYS`.
///
/// The safety of this crate does not depend on what an implementation returns: descriptors are
/// returned as [`OwnedFd`], and buffers for map elements have the sizes that the running kernel
/// itself reports.
pub trait System {
    /// `bpf(2)`. Returns the descriptor of commands that create one ([`Command::makes_descriptor`]).
    ///
    /// [`Command::makes_descriptor`]: bpfseal_uapi::Command::makes_descriptor
    ///
    /// # Errors
    /// The errno.
    fn bpf(&self, attr: &mut Attr<'_>) -> Result<Option<OwnedFd>, Errno>;

    /// Takes ownership of a descriptor that a program has left open.
    ///
    /// # Errors
    /// `EBADF` or `EINVAL` for a number that cannot be the program's.
    fn adopt(&self, left: Left) -> Result<OwnedFd, Errno> {
        let _ = left;
        Err(Errno::ENOSYS)
    }

    /// Runs a program that leaves descriptors behind, and takes them.
    ///
    /// Here by [`Self::bpf`] and [`Self::adopt`], on this thread. [`Linux`] does it on a thread whose
    /// descriptor table nobody shares.
    ///
    /// # Errors
    /// The errno, where the program is not run.
    fn run_leaving(&self, leaving: &mut Leaving<'_>) -> Result<Ran, Errno> {
        let answer = leaving.run(|attr| self.bpf(attr).map(drop))?;
        let left = leaving.left(answer).into_iter();
        let left = left.map(|(offset, left, number)| {
            let fd = left.ok_or(Errno::EBADF).and_then(|left| self.adopt(left));
            (offset, number, fd)
        });
        Ok(Ran {
            answer,
            left: left.collect(),
        })
    }

    /// `add_key(2)` and `keyctl(2)`: a serial number or a length.
    ///
    /// # Errors
    /// The errno.
    fn key(&self, call: KeyCall<'_>) -> Result<i64, Errno> {
        let _ = call;
        Err(Errno::ENOSYS)
    }

    /// `perf_event_open(2)`: the descriptor of the event.
    ///
    /// # Errors
    /// The errno.
    fn perf_event_open(
        &self,
        attr: &mut PerfAttr<'_>,
        pid: i32,
        cpu: i32,
    ) -> Result<OwnedFd, Errno> {
        let _ = (attr, pid, cpu);
        Err(Errno::ENOSYS)
    }

    /// `mmap(2)` of the first bytes behind a descriptor, shared.
    ///
    /// # Errors
    /// The errno.
    fn mmap(&self, fd: BorrowedFd<'_>, len: usize, writable: bool) -> Result<Mapping, Errno> {
        let _ = (fd, len, writable);
        Err(Errno::ENOSYS)
    }

    /// `setsockopt(2)` with `SO_ATTACH_BPF`.
    ///
    /// # Errors
    /// The errno.
    fn filter_socket(&self, socket: BorrowedFd<'_>, program: BorrowedFd<'_>) -> Result<(), Errno> {
        let _ = (socket, program);
        Err(Errno::ENOSYS)
    }
}

/// Runs a command that creates a descriptor.
pub(crate) fn make(system: &dyn System, attr: &mut Attr<'_>) -> Result<OwnedFd, Errno> {
    system.bpf(attr)?.ok_or(Errno::EBADF)
}

/// The running kernel.
#[derive(Debug, Clone, Copy, Default)]
pub struct Linux;

fn answer(result: i64) -> Result<i64, Errno> {
    if result < 0 {
        Err(last_errno())
    } else {
        Ok(result)
    }
}

impl System for Linux {
    fn bpf(&self, attr: &mut Attr<'_>) -> Result<Option<OwnedFd>, Errno> {
        let result = running::bpf(attr)?;
        if attr.command().makes_descriptor() {
            return running::owned(result).map(Some);
        }
        Ok(None)
    }

    fn adopt(&self, left: Left) -> Result<OwnedFd, Errno> {
        let before = left.before.ok_or(Errno::EBADF)?;
        running::adopt(left.number, left.kind, before)
    }

    fn run_leaving(&self, leaving: &mut Leaving<'_>) -> Result<Ran, Errno> {
        let program = leaving.program;
        let (ran, fds) = apart(program, |hand| {
            let answer = leaving.run(|attr| running::bpf(attr).map(drop))?;
            let left = leaving.left(answer).into_iter();
            let left = left.map(|(offset, left, number)| {
                let fd = left.ok_or(Errno::EBADF).and_then(|left| self.adopt(left));
                (offset, number, fd.map(|fd| hand.push(fd)))
            });
            Ok((answer, left.collect::<Vec<_>>()))
        })?;
        let (answer, left) = ran?;
        let mut fds = fds.into_iter();
        let left = left.into_iter().map(|(offset, number, adopted)| {
            // Those that did not come over were too many for this process.
            let fd = adopted.and_then(|()| fds.next().ok_or(Errno::EMFILE));
            (offset, number, fd)
        });
        Ok(Ran {
            answer,
            left: left.collect(),
        })
    }

    fn key(&self, call: KeyCall<'_>) -> Result<i64, Errno> {
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
                    keyctl::KEYCTL_DESCRIBE,
                    key,
                    buffer.as_mut_ptr(),
                    buffer.len(),
                ),
                KeyCall::JoinSession => libc::syscall(
                    libc::SYS_keyctl,
                    keyctl::KEYCTL_JOIN_SESSION_KEYRING,
                    NOTHING,
                ),
                KeyCall::Link { key, keyring } => {
                    libc::syscall(libc::SYS_keyctl, keyctl::KEYCTL_LINK, key, keyring)
                }
                KeyCall::Read { key, buffer } => libc::syscall(
                    libc::SYS_keyctl,
                    keyctl::KEYCTL_READ,
                    key,
                    buffer.as_mut_ptr(),
                    buffer.len(),
                ),
                KeyCall::Restrict { keyring, rule } => {
                    let (key_type, rule) = rule.map_or((NOTHING, NOTHING), |(key_type, rule)| {
                        (key_type.as_ptr(), rule.as_ptr())
                    });
                    libc::syscall(
                        libc::SYS_keyctl,
                        keyctl::KEYCTL_RESTRICT_KEYRING,
                        keyring,
                        key_type,
                        rule,
                    )
                }
                KeyCall::Revoke { key } => {
                    libc::syscall(libc::SYS_keyctl, keyctl::KEYCTL_REVOKE, key)
                }
                KeyCall::Search {
                    keyring,
                    key_type,
                    description,
                } => libc::syscall(
                    libc::SYS_keyctl,
                    keyctl::KEYCTL_SEARCH,
                    keyring,
                    key_type.as_ptr(),
                    description.as_ptr(),
                    0,
                ),
                KeyCall::Serial { keyring } => {
                    libc::syscall(libc::SYS_keyctl, keyctl::KEYCTL_GET_KEYRING_ID, keyring, 0)
                }
                KeyCall::Unlink { key, keyring } => {
                    libc::syscall(libc::SYS_keyctl, keyctl::KEYCTL_UNLINK, key, keyring)
                }
            }
        })
    }

    fn perf_event_open(
        &self,
        attr: &mut PerfAttr<'_>,
        pid: i32,
        cpu: i32,
    ) -> Result<OwnedFd, Errno> {
        // SAFETY: the attributes are initialised memory of the size that they name, and what they
        // point at ends in a NUL and is borrowed for as long as they live.
        let result = unsafe {
            libc::syscall(
                libc::SYS_perf_event_open,
                attr.as_mut_ptr(),
                pid,
                cpu,
                -1,
                PERF_FLAG_FD_CLOEXEC,
            )
        };
        running::owned(answer(result)?)
    }

    fn mmap(&self, fd: BorrowedFd<'_>, len: usize, writable: bool) -> Result<Mapping, Errno> {
        Mapping::new(fd, len, writable)
    }

    fn filter_socket(&self, socket: BorrowedFd<'_>, program: BorrowedFd<'_>) -> Result<(), Errno> {
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
