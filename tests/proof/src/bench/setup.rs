//! A session with one trusted key in it, for comparing the running kernel with its model.

use bpfseal_kernel::{KeyringId, Linux, add_certificate, join_session};
use bpfseal_model::kernel::Profile;

use super::{Person, in_any_machine, person};
use crate::scenario::{Signatures, Signers};

/// The running kernel's release, such as `7.3.4+deb13-cloud-amd64`.
#[must_use]
pub fn release() -> String {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    release.trim().to_owned()
}

/// What tests start from that compare a kernel with its model: a session of their own, with one key
/// in it.
#[derive(Debug)]
pub struct Setup {
    /// The kernel that runs.
    pub profile: Profile,
    /// Its release.
    pub release: String,
    /// Whose key is in the session keyring.
    pub trusted: Person,
    /// Whose key is nowhere.
    pub other: Person,
    /// What both have signed so far.
    pub made: Signatures,
}

impl Setup {
    /// Joins a session; nothing outside of machines.
    #[must_use]
    pub fn new() -> Option<Self> {
        if !in_any_machine() {
            return None;
        }
        let release = release();
        join_session(&Linux).unwrap();
        let trusted = person("p256");
        let certificate = trusted.certificate.der();
        add_certificate(&Linux, KeyringId::SESSION, "trusted", certificate).unwrap();
        Some(Self {
            profile: Profile::of(&release).unwrap(),
            release,
            trusted,
            other: person("rsa2048"),
            made: Signatures::default(),
        })
    }

    /// Both, to sign scenarios.
    #[must_use]
    pub fn signers(&self) -> Signers<'_> {
        Signers {
            trusted: (&self.trusted.key, &self.trusted.certificate),
            other: (&self.other.key, &self.other.certificate),
            made: &self.made,
        }
    }
}
