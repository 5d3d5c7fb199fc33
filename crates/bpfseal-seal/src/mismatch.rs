//! A seal that does not go with its loader: what can be told without a certificate.

use std::fmt;

use bpfseal_uapi::Errno;
use bpfseal_uapi::limits::{MAX_SIGNATURE, MAX_SIGNED_PAYLOAD};

use crate::hex::hex;
use crate::recognise::{metadata_check, uses_metadata};
use crate::scheme::Scheme;
use crate::sealed::{SealedLoader, excl_prog_hash, sha256};

/// Why a seal does not go with its loader, whoever signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mismatch {
    /// The digest that the metadata map is bound to is not that of the instructions.
    ExclProgHash {
        /// In the seal.
        found: [u8; 32],
        /// Of the instructions.
        computed: [u8; 32],
    },
    /// The metadata is not what the loader checks it to be when it runs.
    Metadata {
        /// What the loader asks for.
        found: [u8; 32],
        /// Of the metadata.
        computed: [u8; 32],
    },
    /// The label is that of a scheme whose loaders check their metadata in another way.
    Label {
        /// The scheme that the seal names.
        label: Scheme,
        /// The scheme that the loader is made for; none if it checks nothing.
        loader: Option<Scheme>,
    },
    /// The loader works with a metadata map, and there is no metadata.
    NoMetadata,
    /// No signature, or one that is too long.
    SignatureSize {
        /// Bytes.
        size: usize,
    },
    /// There is more to be signed than a kernel takes.
    PayloadSize {
        /// Bytes.
        size: usize,
    },
}

impl Mismatch {
    /// What the kernel, or the loader when it runs, answers; none where the kernel takes it, because
    /// it knows nothing of labels.
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::ExclProgHash { .. } => Some(Errno::EACCES),
            Self::Metadata { .. } | Self::NoMetadata | Self::SignatureSize { .. } => {
                Some(Errno::EINVAL)
            }
            Self::Label { .. } => None,
            Self::PayloadSize { .. } => Some(Errno::E2BIG),
        }
    }

    /// The check that failed, in a word for scripts.
    #[must_use]
    pub fn check(&self) -> &'static str {
        match self {
            Self::ExclProgHash { .. } => "excl_prog_hash",
            Self::Metadata { .. } | Self::NoMetadata => "metadata",
            Self::Label { .. } => "scheme",
            Self::SignatureSize { .. } | Self::PayloadSize { .. } => "form",
        }
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ExclProgHash { found, computed } => write!(
                f,
                "excl_prog_hash is {}, but the instructions have SHA-256 {}",
                hex(found),
                hex(computed)
            ),
            Self::Metadata { found, computed } => write!(
                f,
                "the loader checks its metadata for SHA-256 {}, but the metadata has {}: it would refuse to run",
                hex(found),
                hex(computed)
            ),
            Self::Label { label, loader } => {
                let loader = match loader {
                    None => "checks no metadata".to_owned(),
                    Some(scheme) => format!("is one of `{}`", scheme.name()),
                };
                write!(
                    f,
                    "the form is labelled `{}`, but its loader {loader}",
                    label.name()
                )
            }
            Self::NoMetadata => {
                f.write_str("the loader uses its metadata map, but the artifact has no metadata")
            }
            Self::SignatureSize { size } => write!(
                f,
                "the signature has {size} bytes; the kernel takes 1 to {MAX_SIGNATURE}"
            ),
            Self::PayloadSize { size } => write!(
                f,
                "instructions and metadata have {size} bytes; the kernel takes at most {MAX_SIGNED_PAYLOAD}"
            ),
        }
    }
}

impl std::error::Error for Mismatch {}

impl SealedLoader<'_> {
    /// Whether the seal goes with the loader, as far as that can be told without a certificate: the
    /// digests, the sizes, and that the loader is one of the scheme that the seal names. The scheme
    /// is recognised by the loader's instructions, never by its label.
    ///
    /// # Errors
    /// The first [`Mismatch`], in the order in which a kernel would find it.
    pub fn check(&self) -> Result<(), Mismatch> {
        let computed = excl_prog_hash(self.instructions);
        if computed != self.seal.excl_prog_hash {
            return Err(Mismatch::ExclProgHash {
                found: self.seal.excl_prog_hash,
                computed,
            });
        }
        let label = self.seal.scheme;
        if label.checks_in_loader() {
            let Some(check) = metadata_check(self.instructions) else {
                let loader = None;
                return Err(Mismatch::Label { label, loader });
            };
            let computed = sha256(self.metadata);
            if check.digest != computed {
                return Err(Mismatch::Metadata {
                    found: check.digest,
                    computed,
                });
            }
            if check.scheme() != label {
                let loader = Some(check.scheme());
                return Err(Mismatch::Label { label, loader });
            }
        }
        if self.metadata.is_empty() && uses_metadata(self.instructions) {
            return Err(Mismatch::NoMetadata);
        }
        let size = self.seal.signature.len();
        if size == 0 || size > MAX_SIGNATURE {
            return Err(Mismatch::SignatureSize { size });
        }
        let size = self.instructions.len().saturating_add(self.metadata.len());
        if label == Scheme::LoadTime && size > MAX_SIGNED_PAYLOAD {
            return Err(Mismatch::PayloadSize { size });
        }
        Ok(())
    }
}
