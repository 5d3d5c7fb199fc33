//! The trust store: what a verification starts from, as the kernel's keyring does.

use crate::certificate::Certificate;
use crate::hex::hex;
use crate::profile::CryptoProfile;
use crate::x509::CertificateFault;

/// Certificates that are trusted, what is revoked, and the algorithms of the kernel that would
/// decide.
#[derive(Debug, Clone, Default)]
pub struct TrustStore {
    profile: CryptoProfile,
    trusted: Vec<Certificate>,
    refused: Vec<(Certificate, CertificateFault)>,
    revoked: Vec<Revocation>,
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

impl Revocation {
    /// Of the form that the kernel's blacklist has, `tbs:HEX` or `bin:HEX`, or `key:HEX` for a
    /// key's identifier. `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, digits) = text.split_once(':')?;
        let digits: Vec<u8> = digits.bytes().filter(|b| *b != b':').collect();
        let nibble = |b: &u8| char::from(*b).to_digit(16);
        let bytes: Option<Vec<u8>> = digits
            .chunks(2)
            .map(|pair| match pair {
                // Two digits fit a byte.
                [high, low] => Some((nibble(high)? << 4 | nibble(low)?) as u8),
                _ => None,
            })
            .collect();
        let bytes = bytes.filter(|bytes| !bytes.is_empty())?;
        match kind {
            "tbs" => Some(Self::CertificateDigest(bytes.try_into().ok()?)),
            "bin" => Some(Self::Content(bytes.try_into().ok()?)),
            "key" => Some(Self::KeyId(bytes)),
            _ => None,
        }
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
    pub fn for_kernel(profile: CryptoProfile) -> Self {
        Self {
            profile,
            ..Self::default()
        }
    }

    /// The algorithms of the kernel that would decide.
    #[must_use]
    pub fn profile(&self) -> &CryptoProfile {
        &self.profile
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
        if let Err(fault) = certificate.parsed().own_signature(&self.profile) {
            self.refused.push((certificate, fault));
            return Err(fault);
        }
        if !self.trusted.contains(&certificate) {
            self.trusted.push(certificate);
        }
        Ok(())
    }

    /// The certificates that were to be trusted, and that the kernel would not take.
    #[must_use]
    pub fn refused(&self) -> &[(Certificate, CertificateFault)] {
        &self.refused
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
            let parsed = Revocation::parse(&text).unwrap();
            assert_eq!(parsed.to_string(), text);
        }
        assert_eq!(
            Revocation::parse("key:0A:ff"),
            Some(Revocation::KeyId(vec![10, 255]))
        );
        for bad in ["tbs:00", "key:", "key:0", "key:0g", "cert:00", "00"] {
            assert_eq!(Revocation::parse(bad), None, "{bad}");
        }
    }
}
