//! Releases of Linux.

use core::fmt;

/// A release of Linux, such as 6.18 or 7.1.5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version {
    /// 7 of 7.1.5.
    pub major: u16,
    /// 1 of 7.1.5.
    pub minor: u16,
    /// 5 of 7.1.5; 0 for 7.1.
    pub patch: u16,
}

impl Version {
    /// Creates a version from its three numbers.
    #[must_use]
    pub const fn new(major: u16, minor: u16, patch: u16) -> Self {
        Self {
            major,
            minor,
            patch,
        }
    }

    /// Parses a release as `uname -r` prints it, such as `7.1.5-2-amd64`. Anything after the numbers
    /// is ignored. `None` if there are fewer than two numbers.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut numbers = text
            .split(['.', '-', '+', '~', '_', ' '])
            .map(str::parse::<u16>);
        let major = numbers.next()?.ok()?;
        let minor = numbers.next()?.ok()?;
        let patch = numbers.next().and_then(Result::ok).unwrap_or(0);
        Some(Self::new(major, minor, patch))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)?;
        match self.patch {
            0 => Ok(()),
            patch => write!(f, ".{patch}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString as _;

    #[test]
    fn kernels_name_themselves() {
        for (text, expect) in [
            ("7.1.5", Some(Version::new(7, 1, 5))),
            ("7.3.4+deb13-cloud-amd64", Some(Version::new(7, 3, 4))),
            ("6.18-rc3", Some(Version::new(6, 18, 0))),
            ("6.12", Some(Version::new(6, 12, 0))),
            ("7", None),
            ("next", None),
        ] {
            assert_eq!(Version::parse(text), expect, "{text}");
        }
        assert_eq!(Version::new(6, 18, 0).to_string(), "6.18");
        assert_eq!(Version::new(6, 18, 40).to_string(), "6.18.40");
        assert!(Version::new(6, 9, 0) < Version::new(6, 18, 0));
    }
}
