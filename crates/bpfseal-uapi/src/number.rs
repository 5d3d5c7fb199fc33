//! Enumerations of the kernel's interface: a type for each, with names and first kernels.

use core::fmt;

use crate::Version;

/// A number with its names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Entry {
    /// The kernel's name, such as `BPF_MAP_TYPE_HASH`.
    pub kernel_name: &'static str,
    /// The name in lower case without prefix, such as `hash`.
    pub name: &'static str,
    /// The number.
    pub number: u32,
    /// The first kernel that has it, where that is known.
    pub since: Option<Version>,
}

impl Entry {
    pub(crate) const fn new(
        kernel_name: &'static str,
        name: &'static str,
        number: u32,
        since: Option<Version>,
    ) -> Self {
        Self {
            kernel_name,
            name,
            number,
            since,
        }
    }
}

macro_rules! numbers {
    ($($(#[$doc:meta])* $type:ident,)*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
            pub struct $type(pub u32);

            impl $type {
                fn entry(self) -> Option<&'static Entry> {
                    Self::ALL.iter().find(|entry| entry.number == self.0)
                }

                /// The name in lower case without prefix, if the number has one.
                #[must_use]
                pub fn name(self) -> Option<&'static str> {
                    self.entry().map(|entry| entry.name)
                }

                /// The kernel's name, if the number has one.
                #[must_use]
                pub fn kernel_name(self) -> Option<&'static str> {
                    self.entry().map(|entry| entry.kernel_name)
                }

                /// The first kernel that has it, where that is known.
                #[must_use]
                pub fn since(self) -> Option<Version> {
                    self.entry().and_then(|entry| entry.since)
                }

                /// The number of a name, in lower case without prefix.
                #[must_use]
                pub fn from_name(name: &str) -> Option<Self> {
                    let found = Self::ALL.iter().find(|entry| entry.name == name);
                    found.map(|entry| Self(entry.number))
                }
            }
        )*
    };
}

numbers! {
    /// `enum bpf_cmd`: commands of `bpf(2)`.
    Command,
    /// `enum bpf_map_type`.
    MapType,
    /// `enum bpf_prog_type`.
    ProgType,
    /// `enum bpf_attach_type`.
    AttachType,
    /// `enum bpf_link_type`.
    LinkType,
    /// `enum bpf_func_id`: helpers that programs call.
    Helper,
    /// `enum bpf_sig_keyring`: the kind of keyring that held the signer's key.
    KeyringType,
    /// `enum bpf_sig_verdict`: the verdict on a program's signature.
    SigVerdict,
    /// `BTF_KIND_*`: kinds of types.
    BtfKind,
}

macro_rules! named {
    ($($type:ident)*) => {
        $(
            impl fmt::Display for $type {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    match self.name() {
                        Some(name) => f.write_str(name),
                        None => write!(f, "{}", self.0),
                    }
                }
            }
        )*
    };
}

named!(MapType ProgType AttachType LinkType KeyringType SigVerdict BtfKind);

impl Command {
    /// The kernel's name for messages: `bpf` for a command without one.
    #[must_use]
    pub fn call(self) -> &'static str {
        self.kernel_name().unwrap_or("bpf")
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kernel_name() {
            Some(name) => f.write_str(name),
            None => write!(f, "command {}", self.0),
        }
    }
}

impl AttachType {
    /// No attach type. The kernel uses the same number for `BPF_CGROUP_INET_INGRESS`.
    pub const NONE: Self = Self(0);
}

impl Helper {
    /// The `imm` field of an instruction that calls it.
    #[must_use]
    pub const fn imm(self) -> i32 {
        self.0.cast_signed()
    }
}

impl fmt::Display for Helper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kernel_name() {
            Some(name) => f.write_str(name),
            None => write!(f, "helper {}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{attach, cmd, helper, map, prog};
    use alloc::string::ToString as _;

    #[test]
    fn numbers_and_names_are_unique_and_in_order() {
        for table in [
            Command::ALL,
            MapType::ALL,
            ProgType::ALL,
            AttachType::ALL,
            LinkType::ALL,
            Helper::ALL,
            KeyringType::ALL,
            SigVerdict::ALL,
            BtfKind::ALL,
        ] {
            // The kernel numbers them one after the other, so one that is left out shows.
            for (number, entry) in table.iter().enumerate() {
                assert_eq!(entry.number as usize, number, "{}", entry.kernel_name);
                let same = |other: &&Entry| other.name == entry.name;
                assert_eq!(table.iter().filter(same).count(), 1, "{}", entry.name);
            }
        }
    }

    #[test]
    fn numbers_have_their_names() {
        assert_eq!(
            map::PERCPU_CGROUP_STORAGE.name(),
            Some("percpu_cgroup_storage")
        );
        assert_eq!(prog::SYSCALL, ProgType(31));
        assert_eq!(attach::BPF_TRACE_FENTRY.to_string(), "trace_fentry");
        assert_eq!(cmd::PROG_RUN.to_string(), "BPF_PROG_RUN");
        assert_eq!(Command(999).to_string(), "command 999");
        for (number, name) in [
            (1, "bpf_map_lookup_elem"),
            (6, "bpf_trace_printk"),
            (36, "bpf_probe_write_user"),
            (58, "bpf_override_return"),
            (166, "bpf_sys_bpf"),
            (211, "bpf_cgrp_storage_delete"),
        ] {
            assert_eq!(Helper(number).to_string(), name);
        }
        assert_eq!(Helper(9999).to_string(), "helper 9999");
        assert_eq!(helper::SYS_BPF.imm(), 166);
        assert_eq!(Helper::from_name("sys_bpf"), Some(helper::SYS_BPF));
        assert_eq!(MapType::from_name("nonsense"), None);
    }

    #[test]
    fn first_kernels() {
        for (since, expect) in [
            (map::ARENA.since(), Version::new(6, 9, 0)),
            (prog::SYSCALL.since(), Version::new(5, 14, 0)),
            (cmd::PROG_LOAD.since(), Version::new(3, 18, 0)),
            (helper::SYS_BPF.since(), Version::new(5, 14, 0)),
        ] {
            assert_eq!(since, Some(expect));
        }
    }
}
