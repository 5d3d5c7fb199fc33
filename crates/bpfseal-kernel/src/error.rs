//! How a system call fails.

use bpfseal_uapi::Errno;

bpfseal_object::debug_as_chain!(SyscallError);

/// A system call that failed: which, on what, and with which errno.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("{call} of {on}: {}", errno_text(*.errno))]
#[non_exhaustive]
pub struct SyscallError {
    /// The call, such as `BPF_MAP_CREATE`.
    pub call: &'static str,
    /// What it was called on.
    pub on: String,
    /// The errno.
    pub errno: Errno,
    /// What the kernel said in its log, if it was asked to.
    pub log: String,
}

impl SyscallError {
    pub(crate) fn new(call: &'static str, on: impl Into<String>, errno: Errno) -> Self {
        Self {
            call,
            on: on.into(),
            errno,
            log: String::new(),
        }
    }

    /// The errno's name, such as `EPERM`; a number for one without a name.
    #[must_use]
    pub fn errno_name(&self) -> String {
        let name = self.errno.name();
        name.map_or_else(|| self.errno.0.to_string(), str::to_owned)
    }
}

/// What it means, and its name.
fn errno_text(errno: Errno) -> String {
    match (errno.meaning(), errno.name()) {
        (Some(meaning), Some(name)) => format!("{meaning} ({name})"),
        _ => format!("Unknown error ({})", errno.0),
    }
}

/// The errno of the C library's last call that failed in this thread.
pub(crate) fn last_errno() -> Errno {
    of_io(&std::io::Error::last_os_error())
}

/// The errno of an error of the standard library; `EIO` for one that did not come from the kernel.
pub(crate) fn of_io(error: &std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_call_object_and_errno() {
        let error = SyscallError::new("BPF_MAP_FREEZE", "map `a`", Errno::EBUSY);
        let text = error.to_string();
        assert_eq!(
            text,
            "BPF_MAP_FREEZE of map `a`: Device or resource busy (EBUSY)"
        );
        let unknown = SyscallError::new("bpf", "map `a`", Errno(9999));
        assert_eq!(unknown.errno_name(), "9999");
        assert!(unknown.to_string().ends_with("Unknown error (9999)"));
    }

    /// The numbers are those of the machine that this is built for.
    #[test]
    fn numbers_are_the_c_librarys() {
        for (errno, number) in [
            (Errno::EPERM, libc::EPERM),
            (Errno::EDQUOT, libc::EDQUOT),
            (Errno::ENOPKG, libc::ENOPKG),
            (Errno::ENOKEY, libc::ENOKEY),
            (Errno::EKEYREJECTED, libc::EKEYREJECTED),
            (Errno::EBADMSG, libc::EBADMSG),
            (Errno::EOPNOTSUPP, libc::ENOTSUP),
            (Errno::ENOSYS, libc::ENOSYS),
        ] {
            assert_eq!(errno.0, number, "{errno}");
        }
    }
}
