//! Keyrings: where the kernel looks for the keys of signers.

use std::ffi::{CStr, CString};

use bpfseal_uapi::{Errno, KeyringId, key_type};

use crate::error::SyscallError;
use crate::system::{KeyCall, System};
use crate::text::text as until_nul;

/// The serial number of a key or keyring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeySerial(pub i32);

impl From<KeySerial> for KeyringId {
    fn from(serial: KeySerial) -> Self {
        Self(serial.0)
    }
}

/// What the kernel says of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyInfo {
    /// Its number.
    pub serial: KeySerial,
    /// Its type: `asymmetric`, `keyring`, …
    pub key_type: String,
    /// User who owns it.
    pub uid: u32,
    /// Who may do what, as the kernel's bits.
    pub permissions: u32,
    /// Description: of a certificate, what it was added with.
    pub description: String,
}

/// Longest description that is read, bytes.
const DESCRIPTION_LEN: usize = 4096;
/// Most keys of one keyring that are read.
const MOST_KEYS: usize = 16 * 1024;

/// Adds a certificate (DER) to a keyring, as a key that signatures are verified with.
///
/// # Errors
/// `EBADMSG` for what is no certificate, `EACCES` for a keyring that may not be written.
pub fn add_certificate(
    system: &dyn System,
    keyring: KeyringId,
    description: &str,
    certificate: &[u8],
) -> Result<KeySerial, SyscallError> {
    add(
        system,
        key_type::ASYMMETRIC,
        description,
        certificate,
        keyring,
    )
}

/// Makes a keyring in another one.
///
/// # Errors
/// `EDQUOT` when the user has too many keys.
pub fn new_keyring(
    system: &dyn System,
    parent: KeyringId,
    description: &str,
) -> Result<KeySerial, SyscallError> {
    add(system, key_type::KEYRING, description, &[], parent)
}

fn add(
    system: &dyn System,
    key_type: &CStr,
    description: &str,
    payload: &[u8],
    keyring: KeyringId,
) -> Result<KeySerial, SyscallError> {
    let on = format!("keyring {keyring}");
    let description = text(description, &on)?;
    let call = KeyCall::Add {
        key_type,
        description: &description,
        payload,
        keyring: keyring.0,
    };
    run(system, call, on).map(serial)
}

/// Gives this thread, and processes that it starts, a new and empty session keyring.
///
/// # Errors
/// `EDQUOT` when the user has too many keys.
pub fn join_session(system: &dyn System) -> Result<KeySerial, SyscallError> {
    run(system, KeyCall::JoinSession, "a new session".to_owned()).map(serial)
}

/// The serial number of a keyring that is named by a special id or a serial number.
///
/// # Errors
/// `ENOKEY` when there is no such keyring.
pub fn keyring_serial(system: &dyn System, keyring: KeyringId) -> Result<KeySerial, SyscallError> {
    let call = KeyCall::Serial { keyring: keyring.0 };
    run(system, call, format!("keyring {keyring}")).map(serial)
}

/// What the kernel says of a key or keyring.
///
/// # Errors
/// `ENOKEY` when there is none, `EACCES` when it may not be seen.
pub fn describe_key(system: &dyn System, key: KeySerial) -> Result<KeyInfo, SyscallError> {
    let mut buffer = vec![0; DESCRIPTION_LEN];
    let call = KeyCall::Describe {
        key: key.0,
        buffer: &mut buffer,
    };
    run(system, call, format!("key {}", key.0))?;
    let said = until_nul(&buffer);
    let mut parts = said.splitn(5, ';');
    let mut next = || parts.next().unwrap_or_default();
    let key_type = next().to_owned();
    let uid = next().parse().unwrap_or(u32::MAX);
    let _gid = next();
    let permissions = u32::from_str_radix(next(), 16).unwrap_or(0);
    Ok(KeyInfo {
        serial: key,
        key_type,
        uid,
        permissions,
        description: next().to_owned(),
    })
}

/// The keys of a keyring, by number.
///
/// # Errors
/// `ENOKEY` when there is no such keyring, `EACCES` when it may not be read, `ENOTDIR` or
/// `EOPNOTSUPP` for a key that is no keyring.
pub fn keys_of(system: &dyn System, keyring: KeyringId) -> Result<Vec<KeySerial>, SyscallError> {
    let mut room = 64;
    loop {
        let mut buffer = vec![0; room * 4];
        let call = KeyCall::Read {
            key: keyring.0,
            buffer: &mut buffer,
        };
        let size = run(system, call, format!("keyring {keyring}"))?;
        let size = usize::try_from(size).unwrap_or(0);
        if size <= buffer.len() || room >= MOST_KEYS {
            return Ok(buffer[..size.min(room * 4)]
                .chunks_exact(4)
                .map(|word| KeySerial(i32::from_ne_bytes([word[0], word[1], word[2], word[3]])))
                .collect());
        }
        room = (size / 4).min(MOST_KEYS);
    }
}

/// Looks for a certificate in a keyring and those in it, by the hexadecimal digits of its key id,
/// or by the last of them.
///
/// # Errors
/// `ENOKEY` when it is not there.
pub fn find_by_key_id(
    system: &dyn System,
    keyring: KeyringId,
    key_id: &str,
) -> Result<KeySerial, SyscallError> {
    let on = format!("keyring {keyring}, key id {key_id}");
    // The prefix that the kernel's type `asymmetric` knows for parts of an id.
    let description = text(&format!("id:{key_id}"), &on)?;
    let call = KeyCall::Search {
        keyring: keyring.0,
        key_type: key_type::ASYMMETRIC,
        description: &description,
    };
    run(system, call, on).map(serial)
}

/// Puts a key into a keyring too.
///
/// # Errors
/// `EPERM` when the keyring is restricted and the key not one that it takes.
pub fn link_key(
    system: &dyn System,
    key: KeySerial,
    keyring: KeyringId,
) -> Result<(), SyscallError> {
    let call = KeyCall::Link {
        key: key.0,
        keyring: keyring.0,
    };
    run(system, call, format!("keyring {keyring}, key {}", key.0)).map(drop)
}

/// Takes a key out of a keyring.
///
/// # Errors
/// `ENOENT` when it is not there.
pub fn unlink_key(
    system: &dyn System,
    key: KeySerial,
    keyring: KeyringId,
) -> Result<(), SyscallError> {
    let call = KeyCall::Unlink {
        key: key.0,
        keyring: keyring.0,
    };
    run(system, call, format!("keyring {keyring}, key {}", key.0)).map(drop)
}

/// Makes a key useless, for everybody and for good.
///
/// # Errors
/// `EACCES` when this process may not.
pub fn revoke_key(system: &dyn System, key: KeySerial) -> Result<(), SyscallError> {
    let call = KeyCall::Revoke { key: key.0 };
    run(system, call, format!("key {}", key.0)).map(drop)
}

/// What a keyring takes from now on. Exhaustive: these are the kernel's rules for certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Restriction {
    /// Nothing any more.
    Nothing,
    /// What a builtin key vouches for.
    Builtin,
    /// What a builtin or secondary key vouches for.
    BuiltinAndSecondary,
    /// What a key of another keyring vouches for; with `chain`, of this one too.
    KeyOrKeyring {
        /// The other keyring, or one key.
        serial: KeySerial,
        /// Whether a key of the keyring itself may vouch.
        chain: bool,
    },
}

/// Restricts a keyring. That can not be taken back, nor done twice.
///
/// # Errors
/// `EEXIST` when it is restricted already.
pub fn restrict_keyring(
    system: &dyn System,
    keyring: KeyringId,
    restriction: &Restriction,
) -> Result<(), SyscallError> {
    let on = format!("keyring {keyring}");
    let rule = match restriction {
        Restriction::Nothing => None,
        Restriction::Builtin => Some("builtin_trusted".to_owned()),
        Restriction::BuiltinAndSecondary => Some("builtin_and_secondary_trusted".to_owned()),
        Restriction::KeyOrKeyring { serial, chain } => Some(format!(
            "key_or_keyring:{}{}",
            serial.0,
            if *chain { ":chain" } else { "" }
        )),
    };
    let rule = rule.map(|rule| text(&rule, &on)).transpose()?;
    let call = KeyCall::Restrict {
        keyring: keyring.0,
        rule: rule.as_deref().map(|rule| (key_type::ASYMMETRIC, rule)),
    };
    run(system, call, on).map(drop)
}

fn run(system: &dyn System, call: KeyCall<'_>, on: String) -> Result<i64, SyscallError> {
    let name = call.name();
    system
        .key(call)
        .map_err(|errno| SyscallError::new(name, on, errno))
}

fn serial(answer: i64) -> KeySerial {
    // The kernel's serial numbers are positive 32-bit ones.
    KeySerial(i32::try_from(answer).unwrap_or(0))
}

fn text(text: &str, on: &str) -> Result<CString, SyscallError> {
    CString::new(text).map_err(|_| SyscallError::new("keyctl", on, Errno::EINVAL))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attr::Attr;
    use std::os::fd::OwnedFd;

    /// A kernel with one keyring of `count` keys, which all have the same description.
    struct Double {
        count: i32,
    }

    impl System for Double {
        fn bpf(&self, _: &mut Attr<'_>) -> Result<Option<OwnedFd>, Errno> {
            Err(Errno::ENOSYS)
        }

        fn key(&self, call: KeyCall<'_>) -> Result<i64, Errno> {
            match call {
                KeyCall::Read { buffer, .. } => {
                    for (word, serial) in buffer.chunks_exact_mut(4).zip(0..self.count) {
                        word.copy_from_slice(&serial.to_ne_bytes());
                    }
                    Ok(i64::from(self.count) * 4)
                }
                KeyCall::Describe { buffer, .. } => {
                    let said = b"asymmetric;7;0;1f030000;Me; and you\0";
                    buffer[..said.len()].copy_from_slice(said);
                    Ok(said.len() as i64)
                }
                KeyCall::Restrict { rule, .. } => {
                    let (key_type, rule) = rule.ok_or(Errno::EEXIST)?;
                    assert_eq!(key_type, c"asymmetric");
                    assert_eq!(rule, c"key_or_keyring:9:chain");
                    Ok(0)
                }
                _ => Err(Errno::ENOKEY),
            }
        }
    }

    #[test]
    fn a_keyring_of_any_size_is_read() {
        for count in [0, 1, 64, 65, 1000] {
            let keys = keys_of(&Double { count }, KeyringId::SESSION).unwrap();
            assert_eq!(keys, (0..count).map(KeySerial).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_description_may_have_separators() {
        let info = describe_key(&Double { count: 0 }, KeySerial(5)).unwrap();
        assert_eq!((info.key_type.as_str(), info.uid), ("asymmetric", 7));
        assert_eq!(info.description, "Me; and you");
    }

    #[test]
    fn restrictions_are_the_kernels_rules() {
        let rule = Restriction::KeyOrKeyring {
            serial: KeySerial(9),
            chain: true,
        };
        let double = Double { count: 0 };
        assert!(restrict_keyring(&double, KeyringId::SESSION, &rule).is_ok());
        let nothing = Restriction::Nothing;
        let error = restrict_keyring(&double, KeyringId::SESSION, &nothing).unwrap_err();
        assert_eq!(error.errno, Errno::EEXIST);
    }
}
