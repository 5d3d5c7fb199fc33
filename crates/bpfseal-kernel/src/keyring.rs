//! Keyrings: where the kernel looks for the keys of signers.

use std::ffi::CString;

use crate::error::SyscallError;
use crate::system::System;

/// A keyring by what `keyring_id` of a load takes: a serial number, or one of the special ids.
/// Open-ended: kernels after 7.3 know more of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyringId(pub i32);

impl KeyringId {
    /// Keys that were compiled into the kernel.
    pub const BUILTIN: Self = Self(0);
    /// Keys that were added to it, and vouched for by builtin ones.
    pub const SECONDARY: Self = Self(1);
    /// Keys of the platform's firmware.
    pub const PLATFORM: Self = Self(2);
    /// Keyring of this process (`KEY_SPEC_PROCESS_KEYRING`).
    pub const PROCESS: Self = Self(-2);
    /// Keyring of this session (`KEY_SPEC_SESSION_KEYRING`).
    pub const SESSION: Self = Self(-3);
    /// Keyring of this user (`KEY_SPEC_USER_KEYRING`).
    pub const USER: Self = Self(-4);
    /// The sealed keyring `.bpf`, of development kernels after 7.3.
    pub const BPF: Self = Self(-9);

    /// Names on the command line.
    const NAMES: [(Self, &'static str); 7] = [
        (Self::BPF, "bpf"),
        (Self::BUILTIN, "builtin"),
        (Self::PLATFORM, "platform"),
        (Self::PROCESS, "process"),
        (Self::SECONDARY, "secondary"),
        (Self::SESSION, "session"),
        (Self::USER, "user"),
    ];

    /// By name, or by number.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::NAMES
            .iter()
            .find(|(_, name)| *name == text)
            .map(|(id, _)| *id)
            .or_else(|| text.parse().ok().map(Self))
    }
}

impl std::fmt::Display for KeyringId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match Self::NAMES.iter().find(|(id, _)| id == self) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "{}", self.0),
        }
    }
}

/// The serial number of a key or keyring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeySerial(pub i32);

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
    add(system, c"asymmetric", description, certificate, keyring)
}

/// The serial number of a keyring that is named by a special id.
///
/// # Errors
/// `ENOKEY` when there is no such keyring.
pub fn keyring_serial(system: &dyn System, keyring: KeyringId) -> Result<KeySerial, SyscallError> {
    system
        .keyring_serial(keyring.0)
        .map(KeySerial)
        .map_err(|errno| {
            SyscallError::new("KEYCTL_GET_KEYRING_ID", format!("keyring {keyring}"), errno)
        })
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
    add(system, c"keyring", description, &[], parent)
}

fn add(
    system: &dyn System,
    key_type: &std::ffi::CStr,
    description: &str,
    payload: &[u8],
    keyring: KeyringId,
) -> Result<KeySerial, SyscallError> {
    let error = |errno| SyscallError::new("add_key", format!("keyring {keyring}"), errno);
    let text = CString::new(description).map_err(|_| error(libc::EINVAL))?;
    system
        .add_key(key_type, &text, payload, keyring.0)
        .map(KeySerial)
        .map_err(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keyrings_by_name_and_number() {
        assert_eq!(KeyringId::parse("session"), Some(KeyringId::SESSION));
        assert_eq!(KeyringId::parse("-3"), Some(KeyringId::SESSION));
        assert_eq!(KeyringId::parse("12345"), Some(KeyringId(12345)));
        assert_eq!(KeyringId::parse("nonsense"), None);
        assert_eq!(KeyringId(12345).to_string(), "12345");
        assert_eq!(KeyringId::BUILTIN.to_string(), "builtin");
    }
}
