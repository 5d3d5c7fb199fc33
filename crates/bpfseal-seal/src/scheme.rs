//! The five schemes: which bytes are signed, and who checks the rest.
//!
//! Three are the kernel's, two were proposed. The loader's instructions differ for those that
//! check the metadata themselves; the metadata is the same for all.

use bpfseal_uapi::Cve;
use bpfseal_uapi::cves::{CVE_2026_45927, CVE_2026_74364};
use std::borrow::Cow;

use bpfseal_loader::Form;
use sha2::{Digest as _, Sha256};

/// Which bytes are signed, and who checks them. Ordered by strength, strongest first: what a
/// weaker one attests to, a stronger one attests to as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Scheme {
    /// Linux 7.3: instructions, then metadata; the kernel checks both in `BPF_PROG_LOAD`, before
    /// any security module is asked.
    LoadTime,
    /// Proposed in 2025, in no kernel: a digest over a chain of the instructions' and the maps'
    /// digests, checked by the kernel at load time.
    HashChain,
    /// A security module proposed in 2025 and 2026, in no kernel: instructions, and digests of
    /// maps in a signed attribute, checked by the module.
    Hornet,
    /// Linux 7.2: instructions; the loader checks its metadata, and that its map is bound to it.
    InLoaderExclusive,
    /// Linux 6.18 to 7.2: instructions; the loader checks its metadata.
    InLoader,
}

/// What there is to say about a scheme.
struct Facts {
    scheme: Scheme,
    name: &'static str,
    kernels: &'static str,
    attests: &'static str,
    weakness: Option<&'static str>,
    /// Known holes of kernels that check it.
    holes: &'static [Cve],
}

/// Sources: the kernel's sources of 6.18 to 7.3, the proposals on its mailing lists, and what was
/// seen on real kernels.
const FACTS: [Facts; 5] = [
    Facts {
        scheme: Scheme::LoadTime,
        name: "load-time",
        kernels: "Linux 7.3 and later",
        attests: "instructions and metadata, checked by the kernel when the loader is loaded, before any security module is asked",
        weakness: None,
        holes: &[],
    },
    Facts {
        scheme: Scheme::HashChain,
        name: "hash-chain",
        kernels: "no kernel (proposed in 2025)",
        attests: "instructions and metadata, by their digests",
        weakness: Some("no kernel checks it"),
        holes: &[],
    },
    Facts {
        scheme: Scheme::Hornet,
        name: "hornet",
        kernels: "no kernel (a security module, proposed in 2025 and 2026)",
        attests: "instructions, and the metadata by a signed attribute; without the attribute, instructions alone",
        weakness: Some("no kernel checks it"),
        holes: &[],
    },
    Facts {
        scheme: Scheme::InLoaderExclusive,
        name: "in-loader-exclusive",
        kernels: "Linux 7.2, and 7.1 in its later releases",
        attests: "instructions, checked by the kernel; the metadata is checked by the loader when it runs, after security modules were asked",
        weakness: Some("at admission the metadata is not covered"),
        holes: &[CVE_2026_74364],
    },
    Facts {
        scheme: Scheme::InLoader,
        name: "in-loader",
        kernels: "Linux 6.18 to 7.2",
        attests: "instructions, checked by the kernel; the metadata is checked by the loader when it runs, after security modules were asked",
        weakness: Some(
            "at admission the metadata is not covered, and the map need not be bound to the loader",
        ),
        holes: &[CVE_2026_45927],
    },
];

impl Scheme {
    /// All of them, strongest first.
    pub const ALL: [Self; 5] = [
        Self::LoadTime,
        Self::HashChain,
        Self::Hornet,
        Self::InLoaderExclusive,
        Self::InLoader,
    ];

    /// Those that a kernel checks: together, one for every kernel since 6.18.
    pub const KERNELS: [Self; 3] = [Self::LoadTime, Self::InLoaderExclusive, Self::InLoader];

    /// Whether there are kernels that check it: it is no proposal.
    #[must_use]
    pub fn is_in_kernels(self) -> bool {
        Self::KERNELS.contains(&self)
    }

    fn facts(self) -> &'static Facts {
        let row = FACTS.iter().find(|row| row.scheme == self);
        // A test sees that each has a row.
        row.unwrap_or(&FACTS[0])
    }

    /// Name on the command line, in bundles and in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.facts().name
    }

    /// By name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        FACTS
            .iter()
            .find(|row| row.name == name)
            .map(|row| row.scheme)
    }

    /// Which kernels check it.
    #[must_use]
    pub fn kernels(self) -> &'static str {
        self.facts().kernels
    }

    /// What a good signature attests to, and who checks it.
    #[must_use]
    pub fn attests(self) -> &'static str {
        self.facts().attests
    }

    /// What it does not, if there is something to say.
    #[must_use]
    pub fn weakness(self) -> Option<String> {
        let facts = self.facts();
        let mut text = facts.weakness?.to_owned();
        for hole in facts.holes {
            text.push_str(&format!("; {hole}"));
        }
        Some(text)
    }

    /// Known holes of kernels that check it.
    #[must_use]
    pub fn holes(self) -> &'static [Cve] {
        self.facts().holes
    }

    /// The form of the loader that it is for.
    #[must_use]
    pub fn form(self) -> Form {
        match self {
            Self::LoadTime | Self::HashChain => Form::Signed,
            Self::InLoaderExclusive => Form::CheckingExclusive,
            // Hornet's signature is over the instructions, as those of the in-loader schemes: kernels
            // of these take it, and then it is the loader that has to check its metadata.
            Self::Hornet | Self::InLoader => Form::CheckingMetadata,
        }
    }

    /// Whether the kernel binds the metadata map to the loader while it checks the signature.
    #[must_use]
    pub fn binds_map(self) -> bool {
        self == Self::LoadTime
    }

    /// Whether it is the loader alone that checks its metadata, by the kernel's digest of its map.
    #[must_use]
    pub fn checks_in_loader(self) -> bool {
        matches!(self, Self::InLoaderExclusive | Self::InLoader)
    }

    /// Whether loaders that are made for it compare the kernel's digest of their metadata map, so that
    /// the kernel has to be asked for the digest first.
    #[must_use]
    pub fn needs_digest(self) -> bool {
        self.form() != Form::Signed
    }

    /// The content that the signature is over, in pieces.
    #[must_use]
    pub fn content<'a>(self, instructions: &'a [u8], metadata: &'a [u8]) -> Vec<Cow<'a, [u8]>> {
        match self {
            Self::LoadTime => vec![instructions.into(), metadata.into()],
            Self::HashChain => vec![chain(instructions, &[metadata]).to_vec().into()],
            Self::Hornet | Self::InLoaderExclusive | Self::InLoader => vec![instructions.into()],
        }
    }
}

/// The end of a hash chain: SHA-256(SHA-256(instructions) ‖ h₀), where hₙ = SHA-256(hₙ₊₁ ‖
/// SHA-256(mapₙ)) and the last h is SHA-256 of the last map.
#[must_use]
pub fn chain(instructions: &[u8], maps: &[&[u8]]) -> [u8; 32] {
    let mut links = maps.iter().rev().map(Sha256::digest);
    let program = Sha256::digest(instructions);
    let Some(last) = links.next() else {
        return program.into();
    };
    let first = links.fold(last, |next, map| {
        Sha256::new()
            .chain_update(next)
            .chain_update(map)
            .finalize()
    });
    Sha256::new()
        .chain_update(program)
        .chain_update(first)
        .finalize()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scheme_has_one_row() {
        for scheme in Scheme::ALL {
            assert_eq!(scheme.facts().scheme, scheme);
            assert_eq!(Scheme::from_name(scheme.name()), Some(scheme));
        }
        assert_eq!(FACTS.len(), Scheme::ALL.len());
        assert!(Scheme::ALL.is_sorted() && Scheme::KERNELS.is_sorted());
    }
}
