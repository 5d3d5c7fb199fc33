//! Links: programs attached, until the link is dropped.
//!
//! One constructor for each kind of attachment; what the kinds of programs need is in
//! `include/uapi/linux/bpf.h` (`BPF_LINK_CREATE`, `BPF_RAW_TRACEPOINT_OPEN`) of Linux 7.3.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use crate::attr::Attr;
use crate::error::SyscallError;
use crate::map::{Map, get_info, owned_fd};
use crate::perf::PerfEvent;
use crate::program::Program;
use crate::system::{Command, System};

/// Numbers of `enum bpf_attach_type` that are not chosen by who attaches.
mod kind {
    pub(super) const ITER: u32 = 28;
    pub(super) const XDP: u32 = 37;
    pub(super) const PERF_EVENT: u32 = 41;
    pub(super) const KPROBE_MULTI: u32 = 42;
    pub(super) const STRUCT_OPS: u32 = 44;
    pub(super) const NETFILTER: u32 = 45;
    pub(super) const TCX_INGRESS: u32 = 46;
    pub(super) const TCX_EGRESS: u32 = 47;
    pub(super) const UPROBE_MULTI: u32 = 48;
}

/// `BPF_F_KPROBE_MULTI_RETURN` and `BPF_F_UPROBE_MULTI_RETURN`.
const MULTI_RETURN: u32 = 1;
/// Bytes of the attributes up to the last field that is used here.
const LEN: usize = 64;

/// The way of packets that a program of a network device sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Direction {
    Egress,
    Ingress,
}

/// Where a netfilter program is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NetfilterHook {
    /// `NFPROTO_IPV4` (2) or `NFPROTO_IPV6` (10).
    pub protocol: u32,
    /// `NF_INET_*`: 0 before routing, 1 in, 2 forwarded, 3 out, 4 after routing.
    pub hook: u32,
    /// Order among others; the first and the last possible value are the kernel's.
    pub priority: i32,
}

/// What the kernel says of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkInfo {
    /// `BPF_LINK_TYPE_*`.
    pub link_type: u32,
    /// Its number in this kernel.
    pub id: u32,
    /// The program's number.
    pub program: u32,
}

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

    /// `BPF_LINK_CREATE` on a descriptor or interface index, for kinds that need no more.
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
        let mut attr = start(program, target, attach_type);
        attr.put_u32(12, flags);
        create(system, &mut attr, &format!("target {target}"))
    }

    /// An iterator over all of its things: reading from what [`Link::iterate`] opens runs it.
    ///
    /// # Errors
    /// `EINVAL` for one that needs to be told over what.
    pub fn iterator(system: &dyn System, program: &Program) -> Result<Self, SyscallError> {
        create(system, &mut start(program, 0, kind::ITER), "its iterator")
    }

    /// An iterator over the elements of a map.
    ///
    /// # Errors
    /// `EPERM` for an exclusive map, `EINVAL` for a type of map that is not iterated.
    pub fn map_iterator(
        system: &dyn System,
        program: &Program,
        map: &Map,
    ) -> Result<Self, SyscallError> {
        // `union bpf_iter_link_info`, of which the map's descriptor is the first word.
        let mut info = [0; 16];
        info[..4].copy_from_slice(&map.as_fd().as_raw_fd().to_ne_bytes());
        let mut attr = start(program, 0, kind::ITER);
        attr.put_bytes(16, &info).put_u32(24, info.len() as u32);
        create(system, &mut attr, "the map's iterator")
    }

    /// XDP on a network device. `flags` are those of `XDP_FLAGS_*`; 2 asks for the generic mode.
    ///
    /// # Errors
    /// `ENODEV` for an index that is none, `EBUSY` when the device has a program.
    pub fn xdp(
        system: &dyn System,
        program: &Program,
        interface: u32,
        flags: u32,
    ) -> Result<Self, SyscallError> {
        let mut attr = start(program, interface.cast_signed(), kind::XDP);
        attr.put_u32(12, flags);
        create(system, &mut attr, &format!("interface {interface}"))
    }

    /// Traffic control of a network device (Linux 6.6).
    ///
    /// # Errors
    /// `ENODEV` for an index that is none.
    pub fn tcx(
        system: &dyn System,
        program: &Program,
        interface: u32,
        direction: Direction,
    ) -> Result<Self, SyscallError> {
        let attach_type = match direction {
            Direction::Egress => kind::TCX_EGRESS,
            Direction::Ingress => kind::TCX_INGRESS,
        };
        let mut attr = start(program, interface.cast_signed(), attach_type);
        create(system, &mut attr, &format!("interface {interface}"))
    }

    /// A cgroup, by a descriptor of its folder; `attach_type` is that of the program
    /// (`BPF_CGROUP_*`).
    ///
    /// # Errors
    /// `EBADF` for a descriptor of something else, `EINVAL` for another type than the program's.
    pub fn cgroup(
        system: &dyn System,
        program: &Program,
        cgroup: BorrowedFd<'_>,
        attach_type: u32,
    ) -> Result<Self, SyscallError> {
        let mut attr = start(program, cgroup.as_raw_fd(), attach_type);
        create(system, &mut attr, "the cgroup")
    }

    /// A netfilter hook (Linux 6.4).
    ///
    /// # Errors
    /// `EAFNOSUPPORT` and `EPROTO` for a protocol or hook that there is not, `EBUSY` for a
    /// priority that is taken.
    pub fn netfilter(
        system: &dyn System,
        program: &Program,
        hook: NetfilterHook,
    ) -> Result<Self, SyscallError> {
        let mut attr = start(program, 0, kind::NETFILTER);
        attr.put_u32(16, hook.protocol)
            .put_u32(20, hook.hook)
            .put_u32(24, hook.priority.cast_unsigned());
        create(system, &mut attr, "the netfilter hook")
    }

    /// Entries (or returns) of functions of the kernel, all by one link (Linux 5.18). For programs
    /// of `SEC("kprobe.multi")`.
    ///
    /// # Errors
    /// `ESRCH` when a symbol is none.
    pub fn kprobe_multi(
        system: &dyn System,
        program: &Program,
        symbols: &[&str],
        at_return: bool,
    ) -> Result<Self, SyscallError> {
        let on = format!("functions {}", symbols.join(", "));
        let texts = symbols
            .iter()
            .map(|symbol| CString::new(*symbol))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| SyscallError::new(Command::LinkCreate.name(), &on, libc::EINVAL))?;
        let addresses: Vec<u8> = texts
            .iter()
            .flat_map(|text| (text.as_ptr() as u64).to_ne_bytes())
            .collect();
        let mut attr = start(program, 0, kind::KPROBE_MULTI);
        attr.put_u32(16, if at_return { MULTI_RETURN } else { 0 })
            .put_u32(20, u32::try_from(symbols.len()).unwrap_or(u32::MAX))
            .put_bytes(24, &addresses);
        create(system, &mut attr, &on)
    }

    /// Offsets of an executable or library, all by one link (Linux 6.6). For programs of
    /// `SEC("uprobe.multi")`; `pid` 0 is for all processes.
    ///
    /// # Errors
    /// `ENOENT` for a file that is not there, `ESRCH` for a process.
    pub fn uprobe_multi(
        system: &dyn System,
        program: &Program,
        path: &Path,
        offsets: &[u64],
        at_return: bool,
        pid: u32,
    ) -> Result<Self, SyscallError> {
        let on = format!("`{}`", path.display());
        let text = CString::new(path.as_os_str().as_bytes())
            .map_err(|_| SyscallError::new(Command::LinkCreate.name(), &on, libc::EINVAL))?;
        let bytes: Vec<u8> = offsets.iter().flat_map(|o| o.to_ne_bytes()).collect();
        let mut attr = start(program, 0, kind::UPROBE_MULTI);
        attr.put_bytes(16, text.as_bytes_with_nul())
            .put_bytes(24, &bytes)
            .put_u32(48, u32::try_from(offsets.len()).unwrap_or(u32::MAX))
            .put_u32(52, if at_return { MULTI_RETURN } else { 0 })
            .put_u32(56, pid);
        create(system, &mut attr, &on)
    }

    /// An event: a tracepoint, a probe, a clock. The event stays until the link is dropped.
    ///
    /// # Errors
    /// `EINVAL` for an event of another kind than the program's.
    pub fn perf_event(
        system: &dyn System,
        program: &Program,
        event: &PerfEvent,
    ) -> Result<Self, SyscallError> {
        let fd = event.as_fd().as_raw_fd();
        let mut attr = start(program, fd, kind::PERF_EVENT);
        create(system, &mut attr, "the event")
    }

    /// A table of functions (`struct_ops`), by its map, which was made with `BPF_F_LINK`.
    ///
    /// # Errors
    /// `EINVAL` for another map.
    pub fn struct_ops(system: &dyn System, map: &Map) -> Result<Self, SyscallError> {
        let mut attr = Attr::new(LEN);
        attr.put_fd(0, map.as_fd().as_raw_fd())
            .put_u32(8, kind::STRUCT_OPS);
        create(system, &mut attr, "the struct_ops map")
    }

    /// A link that was pinned in bpffs.
    ///
    /// # Errors
    /// `ENOENT` when there is none.
    pub fn pinned(system: &dyn System, path: &Path) -> Result<Self, SyscallError> {
        crate::pin::get(system, path).map(|fd| Self { fd })
    }

    /// `BPF_ITER_CREATE`: a file whose text the iterator's program writes.
    ///
    /// # Errors
    /// `EINVAL` for a link of another kind.
    pub fn iterate(&self, system: &dyn System) -> Result<std::fs::File, SyscallError> {
        let mut attr = Attr::new(8);
        attr.put_fd(0, self.fd.as_raw_fd());
        let fd = system
            .bpf(Command::IterCreate, &mut attr)
            .map_err(|errno| SyscallError::new(Command::IterCreate.name(), "a link", errno))?;
        Ok(std::fs::File::from(owned_fd(fd)))
    }

    /// What the kernel says of it.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn info(&self, system: &dyn System) -> Result<LinkInfo, SyscallError> {
        let mut buffer = [0; 16];
        get_info(system, self.fd.as_fd(), &mut buffer)
            .map_err(|errno| SyscallError::new(Command::ObjGetInfoByFd.name(), "a link", errno))?;
        let word = |at: usize| {
            u32::from_ne_bytes([buffer[at], buffer[at + 1], buffer[at + 2], buffer[at + 3]])
        };
        Ok(LinkInfo {
            link_type: word(0),
            id: word(4),
            program: word(8),
        })
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<Link> for OwnedFd {
    fn from(link: Link) -> Self {
        link.fd
    }
}

/// Attributes with what every kind has.
fn start<'a>(program: &Program, target: i32, attach_type: u32) -> Attr<'a> {
    let mut attr = Attr::new(LEN);
    attr.put_fd(0, program.as_fd().as_raw_fd())
        .put_fd(4, target)
        .put_u32(8, attach_type);
    attr
}

fn create(system: &dyn System, attr: &mut Attr<'_>, on: &str) -> Result<Link, SyscallError> {
    system
        .bpf(Command::LinkCreate, attr)
        .map(|fd| Link { fd: owned_fd(fd) })
        .map_err(|errno| SyscallError::new(Command::LinkCreate.name(), on, errno))
}

/// Makes a program the filter of a socket (`SO_ATTACH_BPF`): it decides what the socket receives,
/// until the socket is closed.
///
/// # Errors
/// `ENOTSOCK` for a descriptor of something else, `EINVAL` for a program of another type.
pub fn filter_socket(
    system: &dyn System,
    socket: BorrowedFd<'_>,
    program: &Program,
) -> Result<(), SyscallError> {
    system
        .filter_socket(socket, program.as_fd())
        .map_err(|errno| SyscallError::new("SO_ATTACH_BPF", "a socket", errno))
}
