//! Artifacts: sealed loaders as they come in files.
//!
//! What `bpfseal seal` writes, and what is verified, inspected and
//! loaded. One value of the metadata map, and the loader in one or several forms.

use std::borrow::Cow;

use bpfseal_seal::{
    Certificate, Seal, SealError, SealOptions, SealedLoader, Signer, ToBeSigned, excl_prog_hash,
};

use crate::bundle::Bundle;
use crate::cbor::{self, CborError};
use crate::interface::Interface;
use crate::lskel::{self, LskelError};

/// A loader with what vouches for it, and the names of what it installs. Can be a constant, for
/// generated code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// What is installed.
    pub interface: Interface,
    /// The value of the metadata map, which all forms share.
    pub metadata: Cow<'static, [u8]>,
    /// The forms, strongest first; at least one.
    pub forms: Cow<'static, [LoaderForm]>,
}

/// A loader's instructions, signed by one scheme or not at all. Exhaustive: nothing is between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoaderForm {
    /// Signed.
    Sealed {
        /// The loader's instructions.
        instructions: Cow<'static, [u8]>,
        /// What vouches for them.
        seal: Seal,
    },
    /// Not signed.
    Unsigned {
        /// The loader's instructions.
        instructions: Cow<'static, [u8]>,
    },
}

impl LoaderForm {
    /// The loader's instructions.
    #[must_use]
    pub fn instructions(&self) -> &[u8] {
        match self {
            Self::Sealed { instructions, .. } | Self::Unsigned { instructions } => instructions,
        }
    }

    /// What vouches for them, if anything does.
    #[must_use]
    pub fn seal(&self) -> Option<&Seal> {
        match self {
            Self::Sealed { seal, .. } => Some(seal),
            Self::Unsigned { .. } => None,
        }
    }

    /// The digest that the metadata map is to be bound to.
    #[must_use]
    pub fn excl_prog_hash(&self) -> [u8; 32] {
        match self {
            Self::Sealed { seal, .. } => seal.excl_prog_hash,
            Self::Unsigned { instructions } => excl_prog_hash(instructions),
        }
    }
}

/// Kinds of files that an artifact comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ArtifactKind {
    /// A bundle.
    Bundle,
    /// A C header, bpftool's or ours.
    CSkeleton,
    /// A Rust module of ours.
    RustSkeleton,
}

impl ArtifactKind {
    /// What bytes look like; everything unknown is taken for C.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        if bytes.starts_with(&cbor::MAGIC) {
            Self::Bundle
        } else if lskel::is_rust(bytes) {
            Self::RustSkeleton
        } else {
            Self::CSkeleton
        }
    }

    /// In words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Bundle => "bundle",
            Self::CSkeleton => "C light skeleton",
            Self::RustSkeleton => "Rust light skeleton",
        }
    }
}

/// Why bytes are no artifact.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArtifactError {
    /// A bundle that can not be read.
    #[error(transparent)]
    Bundle(#[from] CborError),
    /// A light skeleton that can not be read.
    #[error(transparent)]
    Skeleton(#[from] LskelError),
}

impl Artifact {
    /// Reads an artifact of any kind: a C light skeleton, bpftool's or ours, a Rust one of ours, or a bundle.
    ///
    /// # Errors
    /// [`ArtifactError`] that names the place.
    pub fn parse(bytes: &[u8]) -> Result<Self, ArtifactError> {
        Ok(match ArtifactKind::of(bytes) {
            ArtifactKind::Bundle => Bundle::decode(bytes)?.artifact,
            ArtifactKind::CSkeleton => lskel::parse_c(bytes)?,
            ArtifactKind::RustSkeleton => lskel::parse_rust(bytes)?,
        })
    }

    /// The signed forms, strongest first.
    pub fn sealed(&self) -> impl Iterator<Item = SealedLoader<'_>> {
        self.forms.iter().filter_map(|form| match form {
            LoaderForm::Sealed { instructions, seal } => Some(SealedLoader {
                instructions,
                metadata: &self.metadata,
                seal,
            }),
            LoaderForm::Unsigned { .. } => None,
        })
    }

    /// Adds a signature to those that each signed form has.
    ///
    /// # Errors
    /// As [`ToBeSigned::new`], [`ToBeSigned::beside`] and [`ToBeSigned::sign`];
    /// [`SealError::NotSigned`] without a signed form.
    pub fn add_signature(
        &mut self,
        key: &dyn Signer,
        certificate: &Certificate,
        options: &SealOptions,
    ) -> Result<(), SealError> {
        let mut forms = self.forms.to_vec();
        let mut added = false;
        for form in &mut forms {
            let LoaderForm::Sealed { instructions, seal } = form else {
                continue;
            };
            let tbs = ToBeSigned::new(
                seal.scheme,
                instructions,
                &self.metadata,
                certificate,
                options,
            )?;
            let signed = tbs.beside(seal)?.sign(key)?;
            *seal = signed;
            added = true;
        }
        if !added {
            return Err(SealError::NotSigned);
        }
        self.forms = Cow::Owned(forms);
        Ok(())
    }

    /// The instructions of the form that is not signed, if there is one.
    #[must_use]
    pub fn unsigned(&self) -> Option<&[u8]> {
        self.forms.iter().find_map(|form| match form {
            LoaderForm::Unsigned { instructions } => Some(&**instructions),
            LoaderForm::Sealed { .. } => None,
        })
    }
}
