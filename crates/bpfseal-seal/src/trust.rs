//! The trust store: what a verification starts from, as the kernel's keyring does.

use std::str::FromStr;

use crate::certificate::Certificate;
use crate::config::KernelConfig;
use crate::hex::hex;
use crate::x509::{CertificateFault, X509};

/// Certificates that are trusted, what is revoked, and the algorithms of the kernel that would
/// decide.
#[derive(Debug, Clone, Default)]
pub struct TrustStore {
    config: KernelConfig,
    trusted: Vec<Certificate>,
    refused: Vec<RefusedAnchor>,
    revoked: Vec<Revocation>,
}

/// A certificate that was to be trusted, and that no keyring of the kernel would hold: it is no
/// trust anchor.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RefusedAnchor {
    /// As it was given.
    pub der: Vec<u8>,
    /// Its subject, as text; none for one that the kernel cannot read.
    pub subject: Option<String>,
    /// Why, and what `add_key` answers.
    pub fault: CertificateFault,
}

/// Something that is not to be trusted any more.
///
/// The kernel has two places for it: its keyring `.blacklist` holds digests, and with
/// `CONFIG_SYSTEM_REVOCATION_LIST` certificates too.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Revocation {
    /// A certificate, as in the kernel's revocation list: a message in which any signer leads to
    /// it is refused, whoever else signed.
    Certificate(Box<Certificate>),
    /// A key, by its subjectKeyIdentifier: as a certificate of that key in the revocation list.
    KeyId(Vec<u8>),
    /// A certificate by the SHA-256 of its signed part, `tbs:` in the kernel's blacklist. The
    /// kernel looks at embedded certificates alone, and passes over their signers; others decide.
    CertificateDigest([u8; 32]),
    /// Signed content by its SHA-256, `bin:` in the kernel's blacklist: which the kernel asks for
    /// files (IMA), but not for BPF.
    Content([u8; 32]),
}

/// Text that begins as a revocation and is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RevocationError {
    /// It begins with none of [`Revocation::KINDS`].
    #[error("a revocation begins with `tbs:`, `bin:` or `key:`")]
    Kind,
    /// What follows is not hexadecimal digits in pairs, with or without a colon between pairs.
    #[error("the part after `{kind}` is not pairs of hexadecimal digits")]
    Digits {
        /// With its colon.
        kind: &'static str,
    },
    /// A digest is too short or too long.
    #[error("`{kind}` takes 64 hexadecimal digits (SHA-256), not {digits}")]
    Length {
        /// With its colon.
        kind: &'static str,
        /// How many there are.
        digits: usize,
    },
}

impl Revocation {
    /// What the text of a revocation begins with, for [`FromStr`]: text that begins so is never the
    /// name of a file, and other text is never a revocation.
    pub const KINDS: [&str; 3] = ["bin:", "key:", "tbs:"];

    /// Whether text begins as a revocation, in exactly these letters.
    #[must_use]
    pub fn is_meant(text: &[u8]) -> bool {
        let mut kinds = Self::KINDS.iter();
        kinds.any(|kind| text.starts_with(kind.as_bytes()))
    }
}

/// Pairs of hexadecimal digits, with or without a colon between two pairs. At least one.
fn pairs(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    loop {
        let [high, low, after @ ..] = rest else {
            return None;
        };
        let nibble = |digit: u8| char::from(digit).to_digit(16);
        // Two digits fit a byte.
        bytes.push((nibble(*high)? << 4 | nibble(*low)?) as u8);
        rest = match after {
            [] => return Some(bytes),
            [b':', after @ ..] => after,
            after => after,
        };
    }
}

impl FromStr for Revocation {
    type Err = RevocationError;

    /// Of the form that the kernel's blacklist has, `tbs:HEX` or `bin:HEX` with a SHA-256, or
    /// `key:HEX` for a key's identifier. Digits may be of either case, and pairs of them may have a
    /// colon in between, as `openssl x509` prints them.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let kind = Self::KINDS
            .into_iter()
            .find(|kind| text.starts_with(kind))
            .ok_or(RevocationError::Kind)?;
        let bytes = pairs(&text[kind.len()..]).ok_or(RevocationError::Digits { kind })?;
        if kind == "key:" {
            return Ok(Self::KeyId(bytes));
        }
        let digits = bytes.len() * 2;
        let digest = bytes
            .try_into()
            .map_err(|_| RevocationError::Length { kind, digits })?;
        Ok(if kind == "tbs:" {
            Self::CertificateDigest(digest)
        } else {
            Self::Content(digest)
        })
    }
}

impl std::fmt::Display for Revocation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Certificate(certificate) => {
                write!(f, "certificate `{}`", certificate.subject())
            }
            Self::KeyId(id) => write!(f, "key id {}", hex(id)),
            Self::CertificateDigest(digest) => write!(f, "tbs:{}", hex(digest)),
            Self::Content(digest) => write!(f, "bin:{}", hex(digest)),
        }
    }
}

/// What a look-up in a keyring found.
pub(crate) enum Found<'a> {
    Key(&'a Certificate),
    /// A key of that name, whose key identifier is another: the kernel refuses then.
    Mismatch,
    /// The name is empty: the kernel asks for none then.
    Unnamed,
    None,
}

impl TrustStore {
    /// An empty store, which trusts nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty store, for a kernel with these algorithms.
    #[must_use]
    pub fn for_kernel(config: KernelConfig) -> Self {
        Self {
            config,
            ..Self::default()
        }
    }

    /// The algorithms of the kernel that would decide.
    #[must_use]
    pub fn config(&self) -> &KernelConfig {
        &self.config
    }

    /// Trusts a certificate, and what it has issued, if the kernel would take it into a keyring;
    /// else it is one of [`Self::refused`].
    pub fn add(&mut self, certificate: Certificate) {
        let _refused = self.add_key(certificate);
    }

    /// Trusts a certificate, and what it has issued, as `add_key` takes it.
    ///
    /// # Errors
    /// What the kernel answers: a certificate that says that it signed itself has to have done so,
    /// with a key and an algorithm that the kernel can check.
    pub fn add_key(&mut self, certificate: Certificate) -> Result<(), CertificateFault> {
        if let Err(fault) = certificate.parsed().own_signature(&self.config) {
            self.refused.push(RefusedAnchor {
                der: certificate.der().to_vec(),
                subject: Some(certificate.subject()),
                fault,
            });
            return Err(fault);
        }
        if !self.trusted.contains(&certificate) {
            self.trusted.push(certificate);
        }
        Ok(())
    }

    /// Trusts an encoded certificate as `add_key` does, which reads it first.
    ///
    /// # Errors
    /// What the kernel answers to a certificate that it cannot read or does not take.
    pub fn add_der(&mut self, der: &[u8]) -> Result<(), CertificateFault> {
        match X509::parse(der) {
            Ok(parsed) => self.add_key(Certificate::new(der, parsed)),
            Err(fault) => {
                self.refused.push(RefusedAnchor {
                    der: der.to_vec(),
                    subject: None,
                    fault,
                });
                Err(fault)
            }
        }
    }

    /// The certificates that were to be trusted and are no trust anchors, because the kernel would
    /// not take them into a keyring: those that [`Self::add_key`] and [`Self::add_der`] refused, and
    /// those whose digest is revoked.
    #[must_use]
    pub fn refused(&self) -> Vec<RefusedAnchor> {
        let revoked = self.trusted.iter().filter(|c| self.is_blacklisted(c));
        let revoked = revoked.map(|certificate| RefusedAnchor {
            der: certificate.der().to_vec(),
            subject: Some(certificate.subject()),
            fault: CertificateFault::REVOKED,
        });
        self.refused.iter().cloned().chain(revoked).collect()
    }

    /// Revokes a certificate: a message that it, or anything it has issued, signed is refused.
    pub fn revoke(&mut self, certificate: Certificate) {
        self.revoke_by(Revocation::Certificate(Box::new(certificate)));
    }

    /// Revokes something.
    pub fn revoke_by(&mut self, revocation: Revocation) {
        self.revoked.push(revocation);
    }

    /// The trusted certificates.
    #[must_use]
    pub fn certificates(&self) -> &[Certificate] {
        &self.trusted
    }

    /// What is revoked.
    #[must_use]
    pub fn revocations(&self) -> &[Revocation] {
        &self.revoked
    }

    /// Whether a certificate's digest is on the blacklist.
    pub(crate) fn is_blacklisted(&self, certificate: &Certificate) -> bool {
        let digests = self.revoked.iter().filter_map(|r| match r {
            Revocation::CertificateDigest(digest) => Some(digest),
            _ => None,
        });
        let mut digests = digests.peekable();
        digests.peek().is_some() && {
            let own = certificate.tbs_digest();
            digests.any(|digest| *digest == own)
        }
    }

    pub(crate) fn has_revoked_content(&self) -> bool {
        let mut all = self.revoked.iter();
        all.any(|r| matches!(r, Revocation::Content(_)))
    }

    pub(crate) fn is_content_revoked(&self, digest: &[u8]) -> bool {
        self.revoked
            .iter()
            .any(|r| matches!(r, Revocation::Content(known) if known == digest))
    }

    /// The revocation list: certificates, to be walked as a keyring.
    pub(crate) fn revocation_list(&self) -> Vec<&Certificate> {
        let listed = self.revoked.iter().filter_map(|r| match r {
            Revocation::Certificate(certificate) => Some(&**certificate),
            _ => None,
        });
        listed.collect()
    }

    pub(crate) fn is_key_revoked(&self, id: &[u8]) -> bool {
        self.revoked
            .iter()
            .any(|r| matches!(r, Revocation::KeyId(known) if known == id))
    }

    /// The trusted certificates, to be walked as a keyring. The kernel takes none into a keyring
    /// whose digest is on its blacklist.
    pub(crate) fn keyring(&self) -> Vec<&Certificate> {
        let good = self.trusted.iter().filter(|c| !self.is_blacklisted(c));
        good.collect()
    }
}

/// Looks for a key by its first name, or without one by its second; with both, both have to fit
/// (`find_asymmetric_key` of Linux 7.3).
pub(crate) fn find<'a>(
    keyring: &[&'a Certificate],
    first: Option<&[u8]>,
    second: Option<&[u8]>,
) -> Found<'a> {
    let Some(name) = first.or(second) else {
        return Found::None;
    };
    if name.is_empty() {
        return Found::Unnamed;
    }
    let found = keyring
        .iter()
        .find(|c| c.id() == name || c.subject_key_id() == Some(name));
    match (found, first, second) {
        (Some(key), Some(_), Some(wanted)) if key.subject_key_id() != Some(wanted) => {
            Found::Mismatch
        }
        (Some(key), _, _) => Found::Key(key),
        (None, ..) => Found::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revocations_are_read_in_the_kernels_form() {
        let digest = "00".repeat(31) + "ff";
        for text in [format!("tbs:{digest}"), format!("bin:{digest}")] {
            let parsed: Revocation = text.parse().unwrap();
            assert_eq!(parsed.to_string(), text);
        }
        assert_eq!("key:0A:ff".parse(), Ok(Revocation::KeyId(vec![10, 255])));
        assert_eq!("key:0aFF".parse(), Ok(Revocation::KeyId(vec![10, 255])));
        for bad in [
            "key:", "key:0", "key:0g", "key:0:a", "key::0a", "key:0a:", "key: 0a", "tbs:0",
        ] {
            let error = bad.parse::<Revocation>().unwrap_err();
            assert!(matches!(error, RevocationError::Digits { .. }), "{bad}");
            assert!(Revocation::is_meant(bad.as_bytes()), "{bad}");
        }
        let short = "tbs:00".parse::<Revocation>();
        let (kind, digits) = ("tbs:", 2);
        assert_eq!(short, Err(RevocationError::Length { kind, digits }));
        for other in ["cert:00", "00", "KEY:00", " key:00", "./key:00", ""] {
            assert_eq!(other.parse::<Revocation>(), Err(RevocationError::Kind));
            assert!(!Revocation::is_meant(other.as_bytes()), "{other}");
        }
    }
}
