//! What a kernel's configuration decides about signed loaders: which algorithms it has, and which
//! byte order.

use std::str::FromStr;

/// What a kernel's configuration decides about signed loaders. An algorithm that a kernel lacks
/// makes it refuse the signature, with an errno of its own.
///
/// What is built as a module counts as missing: it may be loaded on demand or not be there, so an
/// artifact that needs it loads on some machines of that kernel and not on others.
///
/// ```
/// # use bpfseal_seal::KernelConfig;
/// let config: KernelConfig = "debian,+sha3".parse()?;
/// assert!(config.sha3 && !config.ml_dsa);
/// # Ok::<(), bpfseal_seal::KernelConfigError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct KernelConfig {
    /// `CONFIG_CPU_BIG_ENDIAN`: the kernel reads instructions with the most significant byte first.
    pub big_endian: bool,
    /// `CONFIG_CRYPTO_ECDSA`: NIST P-192, P-256, P-384 and P-521.
    pub ecdsa: bool,
    /// Booted with `fips=1` (`CONFIG_CRYPTO_FIPS`): no RSA below 2,048 bits, with small or even
    /// exponents or with SHA-1, and no P-192. By source, not measured.
    pub fips: bool,
    /// `CONFIG_CRYPTO_MLDSA`, Linux 7.0 and later.
    pub ml_dsa: bool,
    /// `CONFIG_CRYPTO_RSA`.
    pub rsa: bool,
    /// `CONFIG_CRYPTO_SHA1`.
    pub sha1: bool,
    /// `CONFIG_CRYPTO_SHA256`: SHA-224 and SHA-256.
    pub sha256: bool,
    /// `CONFIG_CRYPTO_SHA3`.
    pub sha3: bool,
    /// `CONFIG_CRYPTO_SHA512`: SHA-384 and SHA-512.
    pub sha512: bool,
}

/// Where a configuration says whether there is something.
type Field = fn(&mut KernelConfig) -> &mut bool;

/// Name, option of the kernel unless it is decided at boot, and place of each.
const OPTIONS: [(&str, &str, Field); 9] = [
    ("big-endian", "CONFIG_CPU_BIG_ENDIAN", |config| {
        &mut config.big_endian
    }),
    ("ecdsa", "CONFIG_CRYPTO_ECDSA", |config| &mut config.ecdsa),
    ("fips", "", |config| &mut config.fips),
    ("ml-dsa", "CONFIG_CRYPTO_MLDSA", |config| &mut config.ml_dsa),
    ("rsa", "CONFIG_CRYPTO_RSA", |config| &mut config.rsa),
    ("sha1", "CONFIG_CRYPTO_SHA1", |config| &mut config.sha1),
    ("sha256", "CONFIG_CRYPTO_SHA256", |config| {
        &mut config.sha256
    }),
    ("sha3", "CONFIG_CRYPTO_SHA3", |config| &mut config.sha3),
    ("sha512", "CONFIG_CRYPTO_SHA512", |config| {
        &mut config.sha512
    }),
];

/// Configurations that have a name.
const NAMED: [(&str, KernelConfig); 2] = [
    ("all", KernelConfig::EVERYTHING),
    ("debian", KernelConfig::DEBIAN_7_3),
];

/// A description that is not of a kernel's configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KernelConfigError {
    /// The first part is not the name of a configuration.
    #[error("`{0}` is not the name of a kernel configuration")]
    Name(String),
    /// A further part is not an option with its sign.
    #[error("`{0}` is not `+` or `-` and an option")]
    Option(String),
    /// The text of a kernel configuration has no option in it.
    #[error("no `CONFIG_` line found")]
    Empty,
}

impl KernelConfig {
    /// Debian's cloud kernel 7.3.4 for little-endian machines: SHA-3 is a module, ML-DSA is not
    /// set.
    pub const DEBIAN_7_3: Self = Self {
        big_endian: false,
        ecdsa: true,
        fips: false,
        ml_dsa: false,
        rsa: true,
        sha1: true,
        sha256: true,
        sha3: false,
        sha512: true,
    };

    /// A little-endian kernel with every algorithm that is computed here.
    pub const EVERYTHING: Self = Self {
        ml_dsa: true,
        sha3: true,
        ..Self::DEBIAN_7_3
    };

    /// How a configuration is written for [`FromStr`].
    pub const FORM: &str = "debian or all, then any of +NAME and -NAME with commas: big-endian, \
        ecdsa, fips, ml-dsa, rsa, sha1, sha256, sha3, sha512";

    /// Reads the text of a kernel's configuration, as in `/boot/config-…`: `CONFIG_NAME=y` on a
    /// line of its own.
    ///
    /// # Errors
    /// [`KernelConfigError::Empty`] for text that is no configuration.
    pub fn from_config(text: &str) -> Result<Self, KernelConfigError> {
        let is_config = text.lines().any(|line| {
            line.strip_prefix("# ")
                .unwrap_or(line)
                .starts_with("CONFIG_")
        });
        if !is_config {
            return Err(KernelConfigError::Empty);
        }
        let mut config = Self::EVERYTHING;
        for (_, _, field) in OPTIONS {
            *field(&mut config) = false;
        }
        for line in text.lines() {
            let Some((name, "y")) = line.trim_end().split_once('=') else {
                continue;
            };
            if let Some((_, _, field)) = OPTIONS.iter().find(|row| row.1 == name) {
                *field(&mut config) = true;
            }
        }
        Ok(config)
    }
}

impl FromStr for KernelConfig {
    type Err = KernelConfigError;

    /// Reads [`Self::FORM`].
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.split(',');
        let name = parts.next().unwrap_or_default();
        let named = NAMED.iter().find(|row| row.0 == name);
        let mut config = named
            .ok_or_else(|| KernelConfigError::Name(name.to_owned()))?
            .1;
        for part in parts {
            let found = [("+", true), ("-", false)]
                .into_iter()
                .find_map(|(sign, there)| {
                    let name = part.strip_prefix(sign)?;
                    let row = OPTIONS.iter().find(|row| row.0 == name)?;
                    Some((row.2, there))
                });
            let (field, there) = found.ok_or_else(|| KernelConfigError::Option(part.to_owned()))?;
            *field(&mut config) = there;
        }
        Ok(config)
    }
}

impl Default for KernelConfig {
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
            KernelConfig::from_config(debian),
            Ok(KernelConfig::DEBIAN_7_3)
        );
        let named = OPTIONS.iter().filter(|row| !row.1.is_empty());
        let all: String = named.map(|row| format!("{}=y\n", row.1)).collect();
        let big = KernelConfig {
            big_endian: true,
            ..KernelConfig::EVERYTHING
        };
        assert_eq!(KernelConfig::from_config(&all), Ok(big));
        assert_eq!(
            KernelConfig::from_config("a certificate"),
            Err(KernelConfigError::Empty)
        );
    }

    #[test]
    fn a_configuration_has_a_name_and_what_differs() {
        let read = str::parse::<KernelConfig>;
        assert_eq!(read("debian"), Ok(KernelConfig::default()));
        assert_eq!(read("debian,+sha3,+ml-dsa"), Ok(KernelConfig::EVERYTHING));
        for (name, _, field) in OPTIONS {
            for (base, mut config) in NAMED {
                for (sign, there) in [('+', true), ('-', false)] {
                    *field(&mut config) = there;
                    assert_eq!(read(&format!("{base},{sign}{name}")), Ok(config));
                }
            }
            assert!(KernelConfig::FORM.contains(name), "{name}");
        }
        for bad in [
            "",
            "Debian",
            "+sha3",
            "debian,",
            "debian,sha3",
            "debian,+md5",
            "debian +sha3",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
