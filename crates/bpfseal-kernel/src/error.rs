//! How a system call fails.

/// A system call that failed: which, on what, and with which errno.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{call} of {on}: {}", errno_text(*.errno))]
pub struct SyscallError {
    /// The call, such as `BPF_MAP_CREATE`.
    pub call: &'static str,
    /// What it was called on.
    pub on: String,
    /// The errno.
    pub errno: i32,
    /// What the kernel said in its log, if it was asked to.
    pub log: String,
}

impl SyscallError {
    pub(crate) fn new(call: &'static str, on: impl Into<String>, errno: i32) -> Self {
        Self {
            call,
            on: on.into(),
            errno,
            log: String::new(),
        }
    }

    /// The errno's name, such as `EPERM`; a number for one without a name here.
    #[must_use]
    pub fn errno_name(&self) -> String {
        errno_name(self.errno).map_or_else(|| self.errno.to_string(), str::to_owned)
    }
}

/// Errnos that BPF and keys answer, by name.
const ERRNOS: [(i32, &str); 27] = [
    (libc::E2BIG, "E2BIG"),
    (libc::EACCES, "EACCES"),
    (libc::EAGAIN, "EAGAIN"),
    (libc::EBADF, "EBADF"),
    (libc::EBADMSG, "EBADMSG"),
    (libc::EBUSY, "EBUSY"),
    (libc::EDQUOT, "EDQUOT"),
    (libc::EEXIST, "EEXIST"),
    (libc::EFAULT, "EFAULT"),
    (libc::EINVAL, "EINVAL"),
    (libc::EKEYEXPIRED, "EKEYEXPIRED"),
    (libc::EKEYREJECTED, "EKEYREJECTED"),
    (libc::EKEYREVOKED, "EKEYREVOKED"),
    (libc::EMFILE, "EMFILE"),
    (libc::ENODEV, "ENODEV"),
    (libc::ENOENT, "ENOENT"),
    (libc::ENOKEY, "ENOKEY"),
    (libc::ENOMEM, "ENOMEM"),
    (libc::ENOPKG, "ENOPKG"),
    (libc::ENOSPC, "ENOSPC"),
    (libc::ENOSYS, "ENOSYS"),
    (libc::ENOTSUP, "EOPNOTSUPP"),
    (libc::EPERM, "EPERM"),
    (libc::ERANGE, "ERANGE"),
    (libc::ESRCH, "ESRCH"),
    (libc::ENODATA, "ENODATA"),
    (524, "ENOTSUPP"),
];

/// An errno's name, if it is one that BPF and keys answer.
#[must_use]
pub fn errno_name(errno: i32) -> Option<&'static str> {
    ERRNOS
        .iter()
        .find(|(number, _)| *number == errno)
        .map(|(_, name)| *name)
}

fn errno_text(errno: i32) -> String {
    let text = std::io::Error::from_raw_os_error(errno).to_string();
    // The standard library adds the number in brackets; the name says more.
    let text = text.split(" (os error").next().unwrap_or(&text).to_owned();
    match errno_name(errno) {
        Some(name) => format!("{text} ({name})"),
        None => format!("{text} ({errno})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_call_object_and_errno() {
        let error = SyscallError::new("BPF_MAP_FREEZE", "map `a`", libc::EBUSY);
        let text = error.to_string();
        assert!(text.starts_with("BPF_MAP_FREEZE of map `a`: "), "{text}");
        assert!(text.ends_with("(EBUSY)"), "{text}");
    }

    #[test]
    fn every_errno_has_one_name() {
        let mut numbers: Vec<_> = ERRNOS.iter().map(|(number, _)| number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), ERRNOS.len());
    }
}
