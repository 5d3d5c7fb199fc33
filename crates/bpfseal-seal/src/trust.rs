//! The trust store: what a verification starts from, as the kernel's keyring does.

use crate::certificate::Certificate;

/// Certificates that are trusted, and such that are revoked.
#[derive(Debug, Clone, Default)]
pub struct TrustStore {
    trusted: Vec<Certificate>,
    revoked: Vec<Certificate>,
}

/// What a look-up in a keyring found.
pub(crate) enum Found<'a> {
    Key(&'a Certificate),
    /// A key of that name, whose key identifier is another: the kernel refuses then.
    Mismatch,
    None,
}

impl TrustStore {
    /// An empty store, which trusts nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Trusts a certificate, and what it has issued.
    pub fn add(&mut self, certificate: Certificate) {
        if !self.trusted.contains(&certificate) {
            self.trusted.push(certificate);
        }
    }

    /// Revokes a certificate: a signature that it, or anything it has issued, made is refused.
    pub fn revoke(&mut self, certificate: Certificate) {
        self.revoked.push(certificate);
    }

    /// The trusted certificates.
    #[must_use]
    pub fn certificates(&self) -> &[Certificate] {
        &self.trusted
    }

    pub(crate) fn is_revoked(&self, certificate: &Certificate) -> bool {
        self.revoked.contains(certificate)
    }

    /// Looks for a key by its first name, or without one by its second; with both, both have to
    /// fit (`find_asymmetric_key` of Linux 7.3).
    pub(crate) fn find(&self, first: Option<&[u8]>, second: Option<&[u8]>) -> Found<'_> {
        let Some(name) = first.or(second) else {
            return Found::None;
        };
        let found = self
            .trusted
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
}
