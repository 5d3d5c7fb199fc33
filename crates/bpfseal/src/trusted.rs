//! Loading what given certificates vouch for, and nothing else.
//!
//! The certificates are in a keyring of this load's own: nothing is added to a keyring that lives
//! longer than the process.

use crate::artifact::Artifact;
use crate::kernel::{
    self, KeySerial, KeyringId, Linux, SyscallError, add_certificate, new_keyring,
};
use crate::report::VerifyReport;
use crate::rt::{LoadError, LoadOptions, Loaded, load};
use crate::seal::{Certificate, KernelConfig, Strictness, TrustStore};

/// Why nothing was loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadTrustedError {
    /// The signatures do not hold, or nobody who is trusted made them. Nothing was asked of the
    /// kernel.
    #[error("{}", .0.summary)]
    Rejected(Box<VerifyReport>),
    /// The kernel does not take a certificate as a key.
    #[error("the kernel does not take the certificate `{subject}`")]
    Certificate {
        /// Whose certificate it is.
        subject: String,
        /// Its answer.
        #[source]
        source: SyscallError,
    },
    /// The keyring could not be made.
    #[error("a keyring for the certificates could not be made")]
    Keyring(#[source] SyscallError),
    /// Loading failed.
    #[error(transparent)]
    Load(#[from] LoadError),
}

/// A keyring that goes away with the process.
struct OwnKeyring(KeySerial);

impl OwnKeyring {
    fn new() -> Result<Self, SyscallError> {
        new_keyring(&Linux, KeyringId::PROCESS, "bpfseal_load").map(Self)
    }
}

impl Drop for OwnKeyring {
    fn drop(&mut self) {
        // What is left of it after this goes away with the process.
        let _ = kernel::unlink_key(&Linux, self.0, KeyringId::PROCESS);
    }
}

/// Loads a signed artifact that these certificates vouch for. Every signature of it has to be one
/// that [`verify`](crate::verify) calls good: first here, then in the kernel, which looks for the
/// signer's key among these certificates, and then in the keyrings of `options`.
///
/// # Errors
/// [`LoadTrustedError::Rejected`] before anything is asked of the kernel.
pub fn load_trusted(
    artifact: &Artifact,
    certificates: &[Certificate],
    options: &LoadOptions,
) -> Result<Loaded, LoadTrustedError> {
    // Which algorithms it has, the running kernel says itself.
    let mut config = KernelConfig::EVERYTHING;
    config.big_endian = cfg!(target_endian = "big");
    let mut trust = TrustStore::for_kernel(config);
    for certificate in certificates {
        trust.add(certificate.clone());
    }
    let report = crate::verify(artifact, &trust, &Strictness::default());
    if !report.is_good() {
        return Err(LoadTrustedError::Rejected(Box::new(report)));
    }
    let own = OwnKeyring::new().map_err(LoadTrustedError::Keyring)?;
    for certificate in certificates {
        let subject = certificate.subject();
        add_certificate(&Linux, own.0.into(), &subject, certificate.der())
            .map_err(|source| LoadTrustedError::Certificate { subject, source })?;
    }
    let mut options = options.clone();
    options.keyrings.insert(0, own.0.into());
    Ok(load(artifact, &options)?)
}
