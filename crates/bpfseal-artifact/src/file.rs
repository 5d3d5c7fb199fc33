//! Files that hold an artifact: which of the formats it is, and everything that the file says.
//!
//! The dispatcher over the formats; it stands to the right of all of them.

use crate::artifact::Artifact;
use crate::bundle::Bundle;
use crate::cbor::MAGIC;
use crate::detached::DetachedSeal;
use crate::error::LskelError;
use crate::grammar::{FormatError, Provenance};
use crate::interface::NameError;
use crate::text::Text;
use crate::{c, rust};

bpfseal_object::debug_as_chain!(ArtifactError);

/// An artifact with everything that its file says about it. Nothing of it is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArtifactFile {
    /// The format of the file.
    pub kind: ArtifactKind,
    /// What is loaded.
    pub artifact: Artifact,
    /// SHA-256 of the object that it was made of, where the file says so.
    pub object_digest: Option<[u8; 32]>,
    /// Certificates in DER, for verifiers: being here makes none of them trusted.
    pub certificates: Vec<Vec<u8>>,
    /// How it was made. A statement, no proof.
    pub provenance: Option<Provenance>,
    /// The tool that made it, as the first lines of a skeleton or the provenance of a bundle name
    /// it: `bpfseal 0.1.0`, `bpftool`.
    pub generator: Option<String>,
    /// Whether a skeleton's text is what was generated; none for a bundle, which has no text.
    pub text: Option<Text>,
}

/// Formats that an artifact comes in.
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

/// Why bytes are not an artifact.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum ArtifactError {
    /// An ELF file.
    #[error("this is an object, not an artifact")]
    Object,
    /// A detached seal.
    #[error("this is a detached seal, which has no loader in it")]
    Detached,
    /// A bundle that can not be read.
    #[error(transparent)]
    Bundle(#[from] FormatError),
    /// A name that nothing may have.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A light skeleton that can not be read.
    #[error(transparent)]
    Skeleton(#[from] LskelError),
}

impl ArtifactFile {
    /// Reads an artifact of any format. What begins like none of them is taken for a C header.
    ///
    /// # Errors
    /// [`ArtifactError`] that names the place.
    pub fn parse(bytes: &[u8]) -> Result<Self, ArtifactError> {
        if bytes.starts_with(b"\x7fELF") {
            return Err(ArtifactError::Object);
        }
        if DetachedSeal::is_detached(bytes) {
            return Err(ArtifactError::Detached);
        }
        if bytes.starts_with(&MAGIC) {
            let bundle = Bundle::decode(bytes)?;
            let tool = bundle.provenance.as_ref().map(|p| p.tool.clone());
            return Self::new(ArtifactKind::Bundle, bundle, tool, None);
        }
        if let Some(generator) = rust::read::generator(bytes) {
            let bundle = rust::read::bundle(bytes)?;
            let text = rust::read::text(bytes, &bundle, &generator);
            let kind = ArtifactKind::RustSkeleton;
            return Self::new(kind, bundle, Some(generator), Some(text));
        }
        let artifact = c::read::artifact(bytes)?;
        let text = c::read::text(bytes, &artifact);
        let generator = c::read::generator(bytes);
        let bundle = Bundle::from(artifact);
        Self::new(ArtifactKind::CSkeleton, bundle, generator, Some(text))
    }

    fn new(
        kind: ArtifactKind,
        bundle: Bundle,
        generator: Option<String>,
        text: Option<Text>,
    ) -> Result<Self, ArtifactError> {
        bundle.artifact.interface.check_names()?;
        Ok(Self {
            kind,
            artifact: bundle.artifact,
            object_digest: bundle.object_digest,
            certificates: bundle.certificates,
            provenance: bundle.provenance,
            generator,
            text,
        })
    }

    /// The same as a bundle, whatever format it came in.
    #[must_use]
    pub fn into_bundle(self) -> Bundle {
        Bundle {
            artifact: self.artifact,
            object_digest: self.object_digest,
            certificates: self.certificates,
            provenance: self.provenance,
        }
    }
}

impl Artifact {
    /// Reads an artifact of any format, for which the rest of its file is of no interest.
    ///
    /// # Errors
    /// As [`ArtifactFile::parse`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ArtifactError> {
        Ok(ArtifactFile::parse(bytes)?.artifact)
    }
}
