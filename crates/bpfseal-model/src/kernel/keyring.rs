//! Keyrings: which keys a signature is held against.

use bpfseal_seal::TrustStore;
use bpfseal_uapi::KeyringId;

/// `enum bpf_sig_keyring` of Linux 7.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[allow(missing_docs, reason = "the names are the kernel's")]
pub enum KeyringType {
    #[default]
    None,
    Builtin,
    Secondary,
    Platform,
    User,
}

/// The session keyring's special id.
pub const SESSION: i32 = KeyringId::SESSION.0;

/// A keyring.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Keyring {
    /// Its keys, and what is revoked.
    pub store: TrustStore,
    /// Its serial number.
    pub serial: i32,
}

/// `bpf_classify_keyring`.
pub(super) fn classify(id: i32) -> KeyringType {
    match KeyringId(id) {
        KeyringId::BUILTIN => KeyringType::Builtin,
        KeyringId::SECONDARY => KeyringType::Secondary,
        KeyringId::PLATFORM => KeyringType::Platform,
        _ => KeyringType::User,
    }
}
