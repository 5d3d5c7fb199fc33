//! Keyrings, as the `keyring_id` of a load names them.

use core::fmt;

/// A keyring: a serial number, or one of the special ids. Open-ended: kernels after 7.3 have more
/// special ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyringId(pub i32);

impl KeyringId {
    /// The name of a special id.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        let found = Self::ALL.iter().find(|(id, _)| *id == self);
        found.map(|(_, name)| *name)
    }

    /// Parses a name or a number.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let found = Self::ALL.iter().find(|(_, name)| *name == text);
        found
            .map(|(id, _)| *id)
            .or_else(|| text.parse().ok().map(Self))
    }

    /// Whether it is one of the kernel's own keyrings. All others are user keyrings.
    #[must_use]
    pub const fn is_system(self) -> bool {
        matches!(self, Self::BUILTIN | Self::SECONDARY | Self::PLATFORM)
    }
}

impl fmt::Display for KeyringId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "{}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString as _;

    #[test]
    fn by_name_and_number() {
        assert_eq!(KeyringId::parse("session"), Some(KeyringId::SESSION));
        assert_eq!(KeyringId::parse("-3"), Some(KeyringId::SESSION));
        assert_eq!(KeyringId::parse("12345"), Some(KeyringId(12345)));
        assert_eq!(KeyringId::parse("nonsense"), None);
        assert_eq!(KeyringId(12345).to_string(), "12345");
        assert_eq!(KeyringId::BUILTIN.to_string(), "builtin");
        for (i, (id, name)) in KeyringId::ALL.iter().enumerate() {
            assert_eq!(KeyringId::parse(name), Some(*id));
            assert!(KeyringId::ALL[..i].iter().all(|(other, _)| other != id));
        }
    }
}
