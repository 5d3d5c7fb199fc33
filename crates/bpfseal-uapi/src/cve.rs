//! Known vulnerabilities of the kernel that concern signed programs, and the affected releases.

use core::fmt;

use crate::Version;

/// A vulnerability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cve {
    /// Its id, such as `CVE-2026-74364`.
    pub id: &'static str,
    /// The fault, in a few words.
    pub what: &'static str,
    /// Affected releases, oldest first. Empty if they are not known.
    pub affected: &'static [Affected],
}

/// A range of releases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Affected {
    /// The first affected release.
    pub first: Version,
    /// The first fixed release after it.
    pub fixed: Version,
}

impl fmt::Display for Affected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} before {}", self.first, self.fixed)
    }
}

impl fmt::Display for Cve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.id, self.what)?;
        for (i, range) in self.affected.iter().enumerate() {
            write!(f, "{}{range}", if i == 0 { " (" } else { ", " })?;
        }
        if self.affected.is_empty() {
            return Ok(());
        }
        f.write_str(")")
    }
}

impl Cve {
    /// Whether a release is affected; `None` if that is not known. Vendors also fix older releases.
    #[must_use]
    pub fn affects(&self, release: Version) -> Option<bool> {
        if self.affected.is_empty() {
            return None;
        }
        let within = |range: &Affected| (range.first..range.fixed).contains(&release);
        Some(self.affected.iter().any(within))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cves::{CVE_2026_45927, CVE_2026_74364};
    use alloc::string::ToString as _;

    #[test]
    fn the_fixed_release_is_not_affected() {
        let affects = |text| CVE_2026_74364.affects(Version::parse(text).unwrap());
        for (release, expect) in [
            ("6.17.9", false),
            ("6.18", true),
            ("6.18.39", true),
            ("6.18.40", false),
            ("6.19.14", true),
            ("7.0.13", true),
            ("7.1.4", true),
            ("7.1.5", false),
            ("7.2", false),
        ] {
            assert_eq!(affects(release), Some(expect), "{release}");
        }
    }

    #[test]
    fn a_hole_says_which_releases_have_it() {
        assert_eq!(
            CVE_2026_74364.to_string(),
            "CVE-2026-74364: an exclusive map can be reached as an inner map (6.18 before 6.18.40, 6.19 before 7.1.5)"
        );
        assert!(CVE_2026_45927.to_string().ends_with("could be cached"));
    }

    #[test]
    fn ranges_are_in_order() {
        for cve in Cve::ALL {
            let mut last = Version::new(0, 0, 0);
            for range in cve.affected {
                assert!(
                    last < range.first && range.first < range.fixed,
                    "{}",
                    cve.id
                );
                last = range.fixed;
            }
        }
    }
}
