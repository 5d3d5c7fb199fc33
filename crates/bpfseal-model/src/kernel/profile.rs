//! Kernels, as far as they differ in what is modelled.

use bpfseal_seal::Scheme;
use bpfseal_uapi::Version;

/// A kernel, or a proposal for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Profile {
    /// Before 6.18: `union bpf_attr` has no signatures, and no exclusive maps.
    V6_12,
    /// 6.18 to 7.0, and 7.1 in its first releases: signatures over instructions, checked before
    /// anything else is looked at.
    V6_18,
    /// 7.1 in its later releases (seen on 7.1.13), and 7.2: a loader can see whether its map is
    /// exclusive.
    V7_2,
    /// 7.3: signatures over instructions and bound maps, checked in the verifier's entry.
    V7_3,
    /// The proposal of 2025 with a chain of digests.
    HashChain,
    /// The proposal of 2025 and 2026 of integrity verdicts by security modules, with Hornet.
    Hornet,
}

impl Profile {
    /// All of them, oldest first, then the proposals.
    pub const ALL: [Self; 6] = [
        Self::V6_12,
        Self::V6_18,
        Self::V7_2,
        Self::V7_3,
        Self::HashChain,
        Self::Hornet,
    ];

    /// Its name on the command line and in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::V6_12 => "6.12",
            Self::V6_18 => "6.18",
            Self::V7_2 => "7.2",
            Self::V7_3 => "7.3",
            Self::HashChain => "hash-chain",
            Self::Hornet => "hornet",
        }
    }

    /// Which kernels it stands for, in words.
    #[must_use]
    pub fn kernels(self) -> &'static str {
        match self {
            Self::V6_12 => "Linux before 6.18",
            Self::V6_18 => "Linux 6.18 to 7.0",
            Self::V7_2 => "Linux 7.1 (later releases) and 7.2",
            Self::V7_3 => "Linux 7.3 and later",
            Self::HashChain => "proposed in 2025: hash chain",
            Self::Hornet => "proposed in 2025 and 2026: Hornet",
        }
    }

    /// The release that it stands for, where releases differ in what is no signature. The proposals
    /// were made for the kernels of their time.
    #[must_use]
    pub fn release(self) -> Version {
        match self {
            Self::V6_12 => Version::new(6, 12, 0),
            Self::V6_18 | Self::HashChain | Self::Hornet => Version::new(6, 18, 0),
            Self::V7_2 => Version::new(7, 2, 0),
            Self::V7_3 => Version::new(7, 3, 0),
        }
    }

    /// The profile of a kernel's version, such as `7.2.12`, or of a name.
    #[must_use]
    pub fn of(text: &str) -> Option<Self> {
        if let Some(found) = Self::ALL.into_iter().find(|p| p.name() == text) {
            return Some(found);
        }
        let mut numbers = text.split(['.', '-', '+']).map(str::parse::<u32>);
        let version = (numbers.next()?.ok()?, numbers.next()?.ok()?);
        let patch = numbers.next().and_then(Result::ok).unwrap_or(u32::MAX);
        Some(match version {
            (..6, _) | (6, ..18) => Self::V6_12,
            (6, _) | (7, 0) => Self::V6_18,
            // Where between the first release and 7.1.13 it came is not known.
            (7, 1) if patch < 13 => Self::V6_18,
            (7, 1 | 2) => Self::V7_2,
            _ => Self::V7_3,
        })
    }

    /// The kernel, or the proposal, that checks a scheme.
    #[must_use]
    pub fn of_scheme(scheme: Scheme) -> Self {
        let own = |profile: &Self| profile.scheme() == Some(scheme);
        // A test sees that each scheme has one.
        Self::ALL.into_iter().find(own).unwrap_or(Self::V7_3)
    }

    /// Whether a load can carry a signature at all.
    pub(crate) fn has_signatures(self) -> bool {
        self != Self::V6_12
    }

    /// Whether the signature is checked in the verifier's entry, with the bound maps.
    pub(crate) fn binds_maps(self) -> bool {
        self == Self::V7_3
    }

    /// Whether an exclusive map cannot be an inner one. Of the releases that stand for a profile here,
    /// the older ones have [`bpfseal_uapi::cves::CVE_2026_74364`].
    pub(crate) fn keeps_exclusive_maps_out(self) -> bool {
        matches!(self, Self::V7_2 | Self::V7_3)
    }

    /// Whether one value can be written for all processors (`BPF_F_ALL_CPUS`; Linux 7.0 has it, and
    /// shares a profile with 6.18, which has not).
    pub(crate) fn writes_all_processors(self) -> bool {
        matches!(self, Self::V7_2 | Self::V7_3)
    }

    /// Whether a program may read this offset of `struct bpf_map`, as loaders that check their
    /// metadata do.
    pub(crate) fn shows_map_field(self, offset: i16) -> bool {
        if self == Self::V6_12 {
            return false;
        }
        offset < 32 || self.shows_mark()
    }

    /// Whether a program can see the mark of exclusive maps.
    fn shows_mark(self) -> bool {
        matches!(self, Self::V7_2 | Self::V7_3)
    }

    /// The scheme that it checks by itself.
    #[must_use]
    pub fn scheme(self) -> Option<Scheme> {
        match self {
            Self::V6_12 => None,
            Self::V6_18 => Some(Scheme::InLoader),
            Self::V7_2 => Some(Scheme::InLoaderExclusive),
            Self::V7_3 => Some(Scheme::LoadTime),
            Self::HashChain => Some(Scheme::HashChain),
            Self::Hornet => Some(Scheme::Hornet),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemes_have_profiles() {
        for scheme in Scheme::ALL {
            assert_eq!(Profile::of_scheme(scheme).scheme(), Some(scheme));
        }
    }

    #[test]
    fn versions_have_profiles() {
        for (version, profile) in [
            ("5.15.0", Profile::V6_12),
            ("6.12", Profile::V6_12),
            ("6.17.9", Profile::V6_12),
            ("6.18.0", Profile::V6_18),
            ("6.19.14+deb13-cloud-amd64", Profile::V6_18),
            ("7.0.13", Profile::V6_18),
            ("7.1.4", Profile::V6_18),
            ("7.1.13", Profile::V7_2),
            ("7.2.12", Profile::V7_2),
            ("7.3", Profile::V7_3),
            ("7.3.4", Profile::V7_3),
            ("8.0", Profile::V7_3),
            ("hornet", Profile::Hornet),
        ] {
            assert_eq!(Profile::of(version), Some(profile), "{version}");
        }
        assert_eq!(Profile::of("next"), None);
    }
}
