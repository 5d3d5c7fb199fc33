//! What a kernel's configuration decides about signatures: which algorithms it has.

/// The algorithms of a kernel, by its configuration. What a kernel does not have it answers with
/// an errno, and then it does not take the signature.
///
/// What is built as a module counts as missing: it may be loaded on demand, or not be there, and
/// an artifact that needs it loads on some machines of that kernel and not on others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct CryptoProfile {
    /// `CONFIG_CRYPTO_RSA`.
    pub rsa: bool,
    /// `CONFIG_CRYPTO_ECDSA`: NIST P-192, P-256, P-384 and P-521.
    pub ecdsa: bool,
    /// `CONFIG_CRYPTO_MLDSA`, Linux 7.0 and later.
    pub ml_dsa: bool,
    /// `CONFIG_CRYPTO_SHA1`.
    pub sha1: bool,
    /// `CONFIG_CRYPTO_SHA256`: SHA-224 and SHA-256.
    pub sha256: bool,
    /// `CONFIG_CRYPTO_SHA512`: SHA-384 and SHA-512.
    pub sha512: bool,
    /// `CONFIG_CRYPTO_SHA3`.
    pub sha3: bool,
}

/// Where a profile says whether there is an algorithm.
type Field = fn(&mut CryptoProfile) -> &mut bool;

/// The option of each algorithm.
const OPTIONS: [(&str, Field); 7] = [
    ("CONFIG_CRYPTO_ECDSA", |profile| &mut profile.ecdsa),
    ("CONFIG_CRYPTO_MLDSA", |profile| &mut profile.ml_dsa),
    ("CONFIG_CRYPTO_RSA", |profile| &mut profile.rsa),
    ("CONFIG_CRYPTO_SHA1", |profile| &mut profile.sha1),
    ("CONFIG_CRYPTO_SHA256", |profile| &mut profile.sha256),
    ("CONFIG_CRYPTO_SHA3", |profile| &mut profile.sha3),
    ("CONFIG_CRYPTO_SHA512", |profile| &mut profile.sha512),
];

impl CryptoProfile {
    /// Debian's cloud kernel 7.3.4: SHA-3 is a module, ML-DSA is not set.
    pub const DEBIAN_7_3: Self = Self {
        rsa: true,
        ecdsa: true,
        ml_dsa: false,
        sha1: true,
        sha256: true,
        sha512: true,
        sha3: false,
    };

    /// A kernel with every algorithm that is computed here.
    pub const EVERYTHING: Self = Self {
        ml_dsa: true,
        sha3: true,
        ..Self::DEBIAN_7_3
    };

    /// Of a kernel's configuration, as in `/boot/config-…`: `CONFIG_NAME=y` on a line of its own.
    /// `None` for text that is no configuration.
    #[must_use]
    pub fn from_config(text: &str) -> Option<Self> {
        let is_config = text.lines().any(|line| {
            line.strip_prefix("# ")
                .unwrap_or(line)
                .starts_with("CONFIG_")
        });
        if !is_config {
            return None;
        }
        let mut profile = Self {
            rsa: false,
            ecdsa: false,
            ml_dsa: false,
            sha1: false,
            sha256: false,
            sha512: false,
            sha3: false,
        };
        for line in text.lines() {
            let Some((name, "y")) = line.trim_end().split_once('=') else {
                continue;
            };
            if let Some((_, field)) = OPTIONS.iter().find(|(option, _)| *option == name) {
                *field(&mut profile) = true;
            }
        }
        Some(profile)
    }
}

impl Default for CryptoProfile {
    /// [`Self::DEBIAN_7_3`].
    fn default() -> Self {
        Self::DEBIAN_7_3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_says_which_algorithms_there_are() {
        let debian = "# Automatically generated file\nCONFIG_CRYPTO_RSA=y\nCONFIG_CRYPTO_ECDSA=y\n\
            # CONFIG_CRYPTO_MLDSA is not set\nCONFIG_CRYPTO_SHA1=y\nCONFIG_CRYPTO_SHA256=y\n\
            CONFIG_CRYPTO_SHA512=y\nCONFIG_CRYPTO_SHA3=m\n";
        assert_eq!(
            CryptoProfile::from_config(debian),
            Some(CryptoProfile::DEBIAN_7_3)
        );
        let all: String = OPTIONS
            .iter()
            .map(|(name, _)| format!("{name}=y\n"))
            .collect();
        assert_eq!(
            CryptoProfile::from_config(&all),
            Some(CryptoProfile::EVERYTHING)
        );
        assert_eq!(CryptoProfile::from_config("a certificate"), None);
    }
}
