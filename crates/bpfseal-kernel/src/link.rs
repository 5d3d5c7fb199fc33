//! Links: programs attached, until the link is dropped.
//!
//! One constructor for each kind of attachment; what the kinds of programs need is in
//! [`bpfseal_uapi::attr`] (`BPF_LINK_CREATE`, `BPF_RAW_TRACEPOINT_OPEN`).

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use bpfseal_uapi::attr::{iter_create, link_create as at, raw_tracepoint};
use bpfseal_uapi::{
    AttachType, BPF_F_KPROBE_MULTI_RETURN, BPF_F_UPROBE_MULTI_RETURN, Errno, LinkType, attach, cmd,
    info,
};

use crate::attr::Attr;
use crate::error::SyscallError;
use crate::get_info::get_info;
use crate::map::Map;
use crate::perf::PerfEvent;
use crate::program::Program;
use crate::system::{System, make};
use crate::text::word;

/// Bytes of the attributes up to the last field that is used here.
const LEN: usize = at::UPROBE_MULTI_PATH_FD.end();

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
#[non_exhaustive]
pub struct LinkInfo {
    /// Type.
    pub link_type: LinkType,
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
            SyscallError::new(cmd::RAW_TRACEPOINT_OPEN.call(), on, errno)
        };
        let text = name
            .map(CString::new)
            .transpose()
            .map_err(|_| error(Errno::EINVAL))?;
        let mut attr = Attr::new(cmd::RAW_TRACEPOINT_OPEN, raw_tracepoint::PROG_FD.end());
        if let Some(text) = &text {
            attr.put_bytes(raw_tracepoint::NAME, text.as_bytes_with_nul());
        }
        attr.put_fd(raw_tracepoint::PROG_FD, program.as_fd());
        let fd = make(system, &mut attr).map_err(error)?;
        Ok(Self { fd })
    }

    /// `BPF_LINK_CREATE` on a descriptor or interface index, for kinds that need no more.
    ///
    /// # Errors
    /// What the kind of attachment answers.
    pub fn create(
        system: &dyn System,
        program: &Program,
        target: i32,
        attach_type: AttachType,
        flags: u32,
    ) -> Result<Self, SyscallError> {
        let mut attr = start(program, target, attach_type);
        attr.put_u32(at::FLAGS, flags);
        create(system, &mut attr, &format!("target {target}"))
    }

    /// An iterator over all of its things: reading from what [`Link::iterate`] opens runs it.
    ///
    /// # Errors
    /// `EINVAL` for one that needs to be told over what.
    pub fn iterator(system: &dyn System, program: &Program) -> Result<Self, SyscallError> {
        create(
            system,
            &mut start(program, 0, attach::BPF_TRACE_ITER),
            "its iterator",
        )
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
        let mut attr = start(program, 0, attach::BPF_TRACE_ITER);
        attr.put_bytes(at::ITER_INFO, &info)
            .put_u32(at::ITER_INFO_LEN, info.len() as u32);
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
        let mut attr = start(program, interface.cast_signed(), attach::BPF_XDP);
        attr.put_u32(at::FLAGS, flags);
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
            Direction::Egress => attach::BPF_TCX_EGRESS,
            Direction::Ingress => attach::BPF_TCX_INGRESS,
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
        attach_type: AttachType,
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
        let mut attr = start(program, 0, attach::BPF_NETFILTER);
        attr.put_u32(at::NETFILTER_PF, hook.protocol)
            .put_u32(at::NETFILTER_HOOKNUM, hook.hook)
            .put_i32(at::NETFILTER_PRIORITY, hook.priority);
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
            .map_err(|_| SyscallError::new(cmd::LINK_CREATE.call(), &on, Errno::EINVAL))?;
        let addresses: Vec<u8> = texts
            .iter()
            .flat_map(|text| (text.as_ptr() as u64).to_ne_bytes())
            .collect();
        let mut attr = start(program, 0, attach::BPF_TRACE_KPROBE_MULTI);
        let flags = if at_return {
            BPF_F_KPROBE_MULTI_RETURN
        } else {
            0
        };
        let count = u32::try_from(symbols.len()).unwrap_or(u32::MAX);
        attr.put_u32(at::KPROBE_MULTI_FLAGS, flags)
            .put_u32(at::KPROBE_MULTI_CNT, count)
            .put_bytes(at::KPROBE_MULTI_SYMS, &addresses);
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
            .map_err(|_| SyscallError::new(cmd::LINK_CREATE.call(), &on, Errno::EINVAL))?;
        let bytes: Vec<u8> = offsets.iter().flat_map(|o| o.to_ne_bytes()).collect();
        let mut attr = start(program, 0, attach::BPF_TRACE_UPROBE_MULTI);
        let flags = if at_return {
            BPF_F_UPROBE_MULTI_RETURN
        } else {
            0
        };
        let count = u32::try_from(offsets.len()).unwrap_or(u32::MAX);
        attr.put_bytes(at::UPROBE_MULTI_PATH, text.as_bytes_with_nul())
            .put_bytes(at::UPROBE_MULTI_OFFSETS, &bytes)
            .put_u32(at::UPROBE_MULTI_CNT, count)
            .put_u32(at::UPROBE_MULTI_FLAGS, flags)
            .put_u32(at::UPROBE_MULTI_PID, pid);
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
        let mut attr = start(program, fd, attach::BPF_PERF_EVENT);
        create(system, &mut attr, "the event")
    }

    /// A table of functions (`struct_ops`), by its map, which was made with `BPF_F_LINK`.
    ///
    /// # Errors
    /// `EINVAL` for another map.
    pub fn struct_ops(system: &dyn System, map: &Map) -> Result<Self, SyscallError> {
        let mut attr = Attr::new(cmd::LINK_CREATE, LEN);
        attr.put_fd(at::MAP_FD, map.as_fd())
            .put_u32(at::ATTACH_TYPE, attach::BPF_STRUCT_OPS.0);
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
        let mut attr = Attr::new(cmd::ITER_CREATE, iter_create::LEN);
        attr.put_fd(iter_create::LINK_FD, self.fd.as_fd());
        let fd = make(system, &mut attr)
            .map_err(|errno| SyscallError::new(cmd::ITER_CREATE.call(), "a link", errno))?;
        Ok(std::fs::File::from(fd))
    }

    /// What the kernel says of it.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn info(&self, system: &dyn System) -> Result<LinkInfo, SyscallError> {
        let mut buffer = [0; info::link::LEN];
        get_info(system, self.fd.as_fd(), &mut buffer)
            .map_err(|errno| SyscallError::new(cmd::OBJ_GET_INFO_BY_FD.call(), "a link", errno))?;
        Ok(LinkInfo {
            link_type: LinkType(word(&buffer, info::link::TYPE)),
            id: word(&buffer, info::link::ID),
            program: word(&buffer, info::link::PROG_ID),
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
fn start<'a>(program: &Program, target: i32, attach_type: AttachType) -> Attr<'a> {
    let mut attr = Attr::new(cmd::LINK_CREATE, LEN);
    attr.put_fd(at::PROG_FD, program.as_fd())
        .put_number(at::TARGET_FD, target)
        .put_u32(at::ATTACH_TYPE, attach_type.0);
    attr
}

fn create(system: &dyn System, attr: &mut Attr<'_>, on: &str) -> Result<Link, SyscallError> {
    make(system, attr)
        .map(|fd| Link { fd })
        .map_err(|errno| SyscallError::new(cmd::LINK_CREATE.call(), on, errno))
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
