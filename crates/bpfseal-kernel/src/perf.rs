//! Events that programs can be attached to: tracepoints, probes, clocks.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use bpfseal_uapi::{Errno, PERF_COUNT_SW_CPU_CLOCK, PERF_TYPE_SOFTWARE, PERF_TYPE_TRACEPOINT};

use crate::attr::PerfAttr;
use crate::error::{SyscallError, of_io};
use crate::system::System;

/// An open event. Dropping it closes it; a link keeps it open.
#[derive(Debug)]
pub struct PerfEvent {
    fd: OwnedFd,
}

impl PerfEvent {
    /// A tracepoint, such as `syscalls` and `sys_enter_openat`. Needs tracefs.
    ///
    /// # Errors
    /// `ENOENT` when there is no such tracepoint.
    pub fn tracepoint(
        system: &dyn System,
        category: &str,
        name: &str,
    ) -> Result<Self, SyscallError> {
        let path = format!("/sys/kernel/tracing/events/{category}/{name}/id");
        let id = number(&path, str::parse)?;
        let on = format!("tracepoint {category}/{name}");
        open(
            system,
            PerfAttr::new(PERF_TYPE_TRACEPOINT, id, 1),
            -1,
            0,
            on,
        )
    }

    /// The entry of a kernel's function, or its return.
    ///
    /// # Errors
    /// `ENOENT` when there is no such function.
    pub fn kprobe(
        system: &dyn System,
        function: &str,
        offset: u64,
        at_return: bool,
    ) -> Result<Self, SyscallError> {
        let on = format!("function `{function}`");
        let text = CString::new(function)
            .map_err(|_| SyscallError::new("perf_event_open", &on, Errno::EINVAL))?;
        let attr = probe("kprobe", at_return)?.with_text(&text, offset);
        open(system, attr, -1, 0, on)
    }

    /// An offset in an executable or library, or the return of the function that begins there.
    /// `pid` −1 is for all processes.
    ///
    /// # Errors
    /// `ENOENT` when there is no such file.
    pub fn uprobe(
        system: &dyn System,
        path: &Path,
        offset: u64,
        at_return: bool,
        pid: i32,
    ) -> Result<Self, SyscallError> {
        let on = format!("`{}`", path.display());
        let text = CString::new(path.as_os_str().as_bytes())
            .map_err(|_| SyscallError::new("perf_event_open", &on, Errno::EINVAL))?;
        let attr = probe("uprobe", at_return)?.with_text(&text, offset);
        let cpu = if pid < 0 { 0 } else { -1 };
        open(system, attr, pid, cpu, on)
    }

    /// A clock of one CPU, every `period` nanoseconds of its work.
    ///
    /// # Errors
    /// `ENODEV` when there is no such CPU.
    pub fn cpu_clock(system: &dyn System, cpu: i32, period: u64) -> Result<Self, SyscallError> {
        let attr = PerfAttr::new(PERF_TYPE_SOFTWARE, PERF_COUNT_SW_CPU_CLOCK, period);
        open(system, attr, -1, cpu, format!("the clock of CPU {cpu}"))
    }
}

impl AsFd for PerfEvent {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn open(
    system: &dyn System,
    mut attr: PerfAttr<'_>,
    pid: i32,
    cpu: i32,
    on: String,
) -> Result<PerfEvent, SyscallError> {
    system
        .perf_event_open(&mut attr, pid, cpu)
        .map(|fd| PerfEvent { fd })
        .map_err(|errno| SyscallError::new("perf_event_open", on, errno))
}

/// A dynamic event source, whose type and bit for returns the kernel tells in sysfs.
fn probe<'a>(source: &str, at_return: bool) -> Result<PerfAttr<'a>, SyscallError> {
    let folder = format!("/sys/bus/event_source/devices/{source}");
    let event_type = number(&format!("{folder}/type"), str::parse::<u64>)?;
    let bit = if at_return {
        let path = format!("{folder}/format/retprobe");
        1 << number(&path, |text| {
            text.trim_start_matches("config:").parse::<u32>()
        })?
        .min(63)
    } else {
        0
    };
    let event_type = u32::try_from(event_type).unwrap_or(u32::MAX);
    Ok(PerfAttr::new(event_type, bit, 0))
}

fn number<T, E>(path: &str, parse: impl Fn(&str) -> Result<T, E>) -> Result<T, SyscallError> {
    let error = |errno| SyscallError::new("read", format!("`{path}`"), errno);
    let text = std::fs::read_to_string(path).map_err(|e| error(of_io(&e)))?;
    parse(text.trim()).map_err(|_| error(Errno::EIO))
}
