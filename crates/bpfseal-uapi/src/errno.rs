//! Errnos: the kernel's answers to requests that it refuses or that fail.

use core::fmt;

/// An errno, as a positive number. The names are those of Linux on most machines
/// (`asm-generic/errno.h`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Errno(pub i32);

impl Errno {
    fn row(self) -> Option<&'static (Self, &'static str, &'static str)> {
        Self::ALL.iter().find(|row| row.0 == self)
    }

    /// Its name, such as `EPERM`.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        self.row().map(|row| row.1)
    }

    /// What it means, in a few words.
    #[must_use]
    pub fn meaning(self) -> Option<&'static str> {
        self.row().map(|row| row.2)
    }

    /// The errno of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|row| row.1 == name).map(|row| row.0)
    }

    /// What a function of the kernel returns for it: the negative number.
    #[must_use]
    pub const fn negative(self) -> i64 {
        -(self.0 as i64)
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "errno {}", self.0),
        }
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString as _;

    #[test]
    fn numbers_and_names_are_unique() {
        for (i, row) in Errno::ALL.iter().enumerate() {
            for other in &Errno::ALL[..i] {
                assert!(other.0.0 < row.0.0 && other.1 != row.1, "{}", row.1);
            }
            assert_eq!(Errno::from_name(row.1), Some(row.0));
            assert!(!row.2.is_empty());
        }
    }

    #[test]
    fn names() {
        assert_eq!(Errno::EKEYREJECTED.0, 129);
        assert_eq!(Errno(1).to_string(), "EPERM");
        assert_eq!(Errno(524).name(), Some("ENOTSUPP"));
        assert_eq!(Errno(9999).to_string(), "errno 9999");
        assert_eq!(Errno::ENOENT.negative(), -2);
        assert_eq!(Errno::from_name("ENONSENSE"), None);
    }
}
