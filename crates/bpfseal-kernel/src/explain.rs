//! What a refusal means and what to do about it: one table, by step and errno.
//!
//! Source: the order of checks in `BPF_PROG_LOAD` of Linux 7.3, and what was seen on real kernels.

use bpfseal_uapi::Errno;

use crate::install::{InstallError, Step};

/// Step, errno, part of the kernel's log if that tells cases apart, what it means, what to do.
type Row = (Step, Errno, &'static str, &'static str, &'static str);

/// The first row that fits counts: what the log says comes before what only an errno says.
const ROWS: [Row; 27] = [
    (
        Step::CreateMetadata,
        Errno::EPERM,
        "",
        "this process may not use BPF",
        "run as root, or with CAP_BPF and CAP_PERFMON",
    ),
    (
        Step::CreateMetadata,
        Errno::EINVAL,
        "",
        "this kernel has no exclusive maps",
        "use Linux 6.18 or later; signatures are verified at load time since 7.3",
    ),
    (
        Step::CreateMetadata,
        Errno::E2BIG,
        "",
        "this kernel has no exclusive maps",
        "use Linux 6.18 or later; signatures are verified at load time since 7.3",
    ),
    (
        Step::CreateMetadata,
        Errno::ENOSYS,
        "",
        "this kernel has no BPF",
        "use a kernel with CONFIG_BPF_SYSCALL",
    ),
    (
        Step::CreateMetadata,
        Errno::EMFILE,
        "",
        "this process has too many open files",
        "raise the limit with `ulimit -n`",
    ),
    (
        Step::LoadLoader,
        Errno::EMFILE,
        "",
        "this process has too many open files",
        "raise the limit with `ulimit -n`",
    ),
    (
        Step::LoadLoader,
        Errno::ENOKEY,
        "",
        "the signer's key is not in the keyring",
        "add its certificate with --trust, or name the keyring that has it with --keyring",
    ),
    (
        Step::LoadLoader,
        Errno::EKEYREJECTED,
        "",
        "the signature does not hold: instructions or metadata were changed, the key is revoked, or the kernel checks another scheme",
        "get the artifact from its maker again; `bpfseal verify` says which part is wrong",
    ),
    (
        Step::LoadLoader,
        Errno::EBADMSG,
        "",
        "the signature is no PKCS#7 message",
        "get the artifact from its maker again",
    ),
    (
        Step::LoadLoader,
        Errno::ENOPKG,
        "",
        "the kernel has not got the signature's algorithm",
        "sign with RSA and SHA-256",
    ),
    (
        Step::LoadLoader,
        Errno::EOPNOTSUPP,
        "",
        "this kernel does not verify signatures of BPF programs",
        "use Linux 7.3 or later with CONFIG_SYSTEM_DATA_VERIFICATION",
    ),
    (
        Step::LoadLoader,
        Errno::E2BIG,
        "payload too large",
        "instructions and metadata are larger than the kernel verifies, about 16 MiB",
        "make the object smaller, its zeroed data first",
    ),
    (
        Step::LoadLoader,
        Errno::E2BIG,
        "",
        "this kernel does not know signatures of BPF programs, or more than 4,096 maps are bound",
        "use Linux 7.3 or later",
    ),
    (
        Step::LoadLoader,
        Errno::EINVAL,
        "cannot resolve signing keyring",
        "there is no such keyring",
        "name another one with --keyring",
    ),
    (
        Step::LoadLoader,
        Errno::EINVAL,
        "must be an array",
        "a bound map is no array, and only arrays can be covered by a signature",
        "this is a fault of who loads; please report it, if that was bpfseal",
    ),
    (
        Step::LoadLoader,
        Errno::EINVAL,
        "not pointing to valid bpf_map or btf",
        "something is bound that is no map",
        "this is a fault of who loads; please report it, if that was bpfseal",
    ),
    (
        Step::LoadLoader,
        Errno::EINVAL,
        "by fd",
        "the loader names a map by its descriptor, which no signature can cover",
        "make the loader with bpfseal or bpftool, which name maps by their place",
    ),
    (
        Step::LoadLoader,
        Errno::EINVAL,
        "",
        "the kernel does not take the size of the signature (1 to 8,192 bytes), or the loader's instructions",
        "look at the artifact with `bpfseal inspect`, and get it from its maker again",
    ),
    (
        Step::LoadLoader,
        Errno::EBADF,
        "",
        "something is bound that is not open",
        "this is a fault of who loads; please report it, if that was bpfseal",
    ),
    (
        Step::LoadLoader,
        Errno::EBUSY,
        "",
        "the metadata map is being written to",
        "let nobody else write to it, and try again",
    ),
    (
        Step::LoadLoader,
        Errno::EPERM,
        "must be",
        "the metadata map is not frozen, or not exclusive, as a signature needs it",
        "this is a fault of who loads; please report it, if that was bpfseal",
    ),
    (
        Step::LoadLoader,
        Errno::EPERM,
        "",
        "a security module refused the loader, or this process may not load programs",
        "ask the module's policy, or run as root",
    ),
    (
        Step::LoadLoader,
        Errno::EACCES,
        "excl_prog_hash",
        "the metadata map is bound to another program",
        "the artifact was changed: get it from its maker again",
    ),
    (
        Step::LoadLoader,
        Errno::EACCES,
        "cannot bind any BTF",
        "the loader uses type information or functions of a module, which no signature covers",
        "make the loader with bpfseal or bpftool",
    ),
    (
        Step::LoadLoader,
        Errno::EACCES,
        "signed program",
        "the loader uses a map that the signature does not cover",
        "the loader is not one for load-time verification: seal the object again",
    ),
    (
        Step::LoadLoader,
        Errno::EACCES,
        "",
        "the verifier or a security module refused the loader",
        "look at the kernel's log above",
    ),
    (
        Step::RunLoader,
        Errno::EPERM,
        "",
        "this process may not run programs, or a security module refused",
        "run as root, or with CAP_BPF",
    ),
];

/// What a call of the loader itself answers: errno, what it means, what to do.
const LOADER_ROWS: [(Errno, &str, &str); 8] = [
    (
        Errno::EMFILE,
        "the signature was good, and there are too many open files for all maps and programs of the object",
        "raise the limit with `ulimit -n`",
    ),
    (
        Errno::ENOMEM,
        "the signature was good, and there is not enough memory for the maps of the object",
        "make its maps smaller, or the memory larger",
    ),
    (
        Errno::ESRCH,
        "the signature was good, and this kernel has not got a function or type that the object needs",
        "load it on a kernel that has it, or make its program `SEC(\"?…\")`",
    ),
    (
        Errno::ENOENT,
        "the signature was good, and this kernel has not got a symbol that the object needs",
        "load it on a kernel that has it, or declare it `__weak`",
    ),
    (
        Errno::EACCES,
        "the signature was good, and the verifier refused a program of the object",
        "the verifier's log above says why; --log-level 1 shows the whole way to it",
    ),
    (
        Errno::EINVAL,
        "the signature was good, and a map or program of the object is not what this kernel takes",
        "the verifier's log above says more when it was a program; --log-level 1 shows the whole way to it",
    ),
    (
        Errno::EPERM,
        "the signature was good, and this process, or a security module, may not load a map or program of the object",
        "run as root, or with CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN",
    ),
    (
        Errno::E2BIG,
        "the signature was good, and a program or map of the object is larger than the kernel takes",
        "the verifier's log above says more when it was a program",
    ),
];

/// What any other errno means.
const LOADER_OTHER: (&str, &str) = (
    "the signature was good, and a map or program of the object was refused",
    "the verifier's log above says more when it was a program; --log-level 1 shows the whole way to it",
);

impl InstallError {
    /// What the refusal means, and what to do about it.
    #[must_use]
    pub fn explain(&self) -> (&'static str, &'static str) {
        match self {
            Self::Call { step, source } => ROWS
                .iter()
                .find(|row| row.0 == *step && row.1 == source.errno && source.log.contains(row.2))
                .map_or(
                    (
                        "the kernel refused a call",
                        "look at its log, and at `dmesg`",
                    ),
                    |row| (row.3, row.4),
                ),
            Self::Loader { errno, .. } => LOADER_ROWS
                .iter()
                .find(|row| row.0 == *errno)
                .map_or(LOADER_OTHER, |row| (row.1, row.2)),
            Self::Descriptor { .. } => (
                "the loader is not one that libbpf or bpfseal made",
                "look at it with `bpfseal inspect`",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::SyscallError;

    fn explain(step: Step, errno: Errno, log: &str) -> &'static str {
        let mut source = SyscallError::new(step.command().call(), "test", errno);
        source.log = log.to_owned();
        InstallError::Call { step, source }.explain().0
    }

    #[test]
    fn the_log_tells_cases_apart() {
        let large = explain(
            Step::LoadLoader,
            Errno::E2BIG,
            "signed payload too large: 9 bytes",
        );
        assert!(large.contains("16 MiB"));
        assert!(explain(Step::LoadLoader, Errno::E2BIG, "").contains("does not know"));
        assert!(explain(Step::LoadLoader, Errno::ENOKEY, "").contains("not in the keyring"));
    }

    #[test]
    fn no_row_hides_behind_another() {
        for (i, row) in ROWS.iter().enumerate() {
            for other in &ROWS[..i] {
                let hidden = other.0 == row.0 && other.1 == row.1 && row.2.contains(other.2);
                assert!(!hidden, "{:?} {} {}", row.0, row.1, row.3);
            }
        }
    }
}
