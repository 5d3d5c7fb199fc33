//! What the running kernel can do, found by trying, not by its version.
//!
//! Nothing is left behind: what is made for a trial is closed right away. No key is needed either:
//! in which order a kernel refuses tells what it checks.
//!
//! ```no_run
//! use bpfseal_kernel::Linux;
//! use bpfseal_kernel::probe::{Verification, verification};
//!
//! if verification(&Linux) == Verification::LoadTime {
//!     println!("this kernel checks signatures before anything runs");
//! }
//! ```

use std::os::fd::{AsFd as _, AsRawFd as _};

use bpfseal_uapi::{BPF_F_SLEEPABLE, BPF_LOG_LEVEL1, Errno, KeyringId, map, prog};

use crate::error::SyscallError;
use crate::map::{Map, MapSpec};
use crate::program::{Program, ProgramSpec, Signature};
use crate::system::System;

/// `r0 = 0; exit`.
const RETURN_ZERO: [u8; 16] = [0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];

/// What a trial has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Ability {
    /// The kernel can do it.
    Yes,
    /// It can not.
    No,
    /// This process may not find out.
    Unknown,
}

/// How a kernel verifies signatures of BPF programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Verification {
    /// At load time, over instructions and bound maps (Linux 7.3).
    LoadTime,
    /// Over instructions only; the loader checks its metadata itself (Linux 6.18 to 7.2).
    InLoader,
    /// It knows signatures, but was built without what verifies them.
    NotBuiltIn,
    /// It does not know signatures.
    None,
    /// This process may not find out.
    Unknown,
}

/// Whether this process can make a map.
#[must_use]
pub fn bpf(system: &dyn System) -> Ability {
    ability(&trial_map(system, None))
}

/// Whether maps can be bound to one program.
#[must_use]
pub fn exclusive_maps(system: &dyn System) -> Ability {
    match bpf(system) {
        Ability::Yes => ability(&trial_map(system, Some(&[1; 32]))),
        other => other,
    }
}

fn trial_map(system: &dyn System, hash: Option<&[u8]>) -> Result<Map, SyscallError> {
    Map::create(
        system,
        &MapSpec {
            map_type: map::ARRAY,
            key_size: 4,
            value_size: 8,
            max_entries: 1,
            name: "bpfseal_trial",
            excl_prog_hash: hash,
            ..MapSpec::default()
        },
    )
}

fn ability<T>(result: &Result<T, SyscallError>) -> Ability {
    match result {
        Ok(_) => Ability::Yes,
        Err(error) if error.errno == Errno::EPERM => Ability::Unknown,
        Err(_) => Ability::No,
    }
}

/// How signatures are verified: a program is loaded with something that is no signature, bound to
/// a map that is not exclusive. Who folds maps into what is signed refuses the map first; who does
/// not refuses the signature.
#[must_use]
pub fn verification(system: &dyn System) -> Verification {
    let Ok(map) = trial_map(system, None) else {
        return match bpf(system) {
            Ability::Unknown => Verification::Unknown,
            _ => Verification::None,
        };
    };
    if map.freeze(system).is_err() {
        return Verification::Unknown;
    }
    let result = Program::load(
        system,
        &ProgramSpec {
            prog_type: prog::SYSCALL,
            instructions: &RETURN_ZERO,
            license: "GPL",
            name: "bpfseal_trial",
            flags: BPF_F_SLEEPABLE,
            fd_array: &[map.as_fd().as_raw_fd()],
            fd_array_cnt: 1,
            signature: Some(Signature {
                bytes: b"no signature",
                keyring: KeyringId::BUILTIN,
            }),
            log_level: BPF_LOG_LEVEL1,
        },
    );
    match result {
        // Nobody has looked at it.
        Ok(_) => Verification::None,
        Err(error) => match error.errno {
            Errno::EPERM if error.log.contains("exclusive") => Verification::LoadTime,
            Errno::EPERM => Verification::Unknown,
            Errno::EBADMSG => Verification::InLoader,
            Errno::EOPNOTSUPP => Verification::NotBuiltIn,
            _ => Verification::None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attr::Attr;
    use bpfseal_uapi::cmd;
    use std::os::fd::OwnedFd;

    /// A kernel that answers every map and every program in one way.
    struct Double {
        map: Result<(), Errno>,
        program: Errno,
    }

    impl System for Double {
        fn bpf(&self, attr: &mut Attr<'_>) -> Result<Option<OwnedFd>, Errno> {
            match attr.command() {
                cmd::MAP_CREATE => {
                    self.map?;
                    let file = std::fs::File::open("/dev/null").map_err(|_| Errno::EIO)?;
                    Ok(Some(file.into()))
                }
                cmd::PROG_LOAD => Err(self.program),
                _ => Ok(None),
            }
        }
    }

    #[test]
    fn the_errno_tells_the_scheme() {
        for (program, expect) in [
            (Errno::EBADMSG, Verification::InLoader),
            (Errno::EOPNOTSUPP, Verification::NotBuiltIn),
            (Errno::EINVAL, Verification::None),
            // Without the log's words it may be anything.
            (Errno::EPERM, Verification::Unknown),
        ] {
            let map = Ok(());
            assert_eq!(verification(&Double { map, program }), expect);
        }
    }

    #[test]
    fn without_rights_nothing_is_claimed() {
        let double = Double {
            map: Err(Errno::EPERM),
            program: Errno::EPERM,
        };
        assert_eq!(bpf(&double), Ability::Unknown);
        assert_eq!(exclusive_maps(&double), Ability::Unknown);
        assert_eq!(verification(&double), Verification::Unknown);
        let none = Double {
            map: Err(Errno::ENOSYS),
            program: Errno::ENOSYS,
        };
        assert_eq!(bpf(&none), Ability::No);
        assert_eq!(verification(&none), Verification::None);
    }
}
