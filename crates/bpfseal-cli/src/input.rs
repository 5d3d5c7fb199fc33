//! Artifacts as they come in: a file of its own, or an object with its detached seal.

use std::path::{Path, PathBuf};

use bpfseal::artifact::{Artifact, ArtifactError, ArtifactFile, DetachedSeal};
use clap::Args;

use crate::failure::{Failure, Report};
use crate::files;
use crate::recognise::{Wanted, instead};

/// The signatures of an object, where they are in a file of their own.
#[derive(Debug, Default, Args)]
pub(crate) struct SealFile {
    /// Detached seal of the object that is given instead of an artifact: its loader is made again,
    /// and held against what was signed
    #[arg(long = "seal", value_name = "FILE.seal")]
    pub(crate) path: Option<PathBuf>,
}

/// A fault of an object, or what its file is instead.
pub(crate) fn object_report(
    place: &str,
    bytes: &[u8],
    error: &dyn std::error::Error,
    help: &str,
) -> Report {
    instead(place, bytes, Wanted::Object).unwrap_or_else(|| Report::new(place, error, help))
}

/// Whether a file is an ELF file.
pub(crate) fn is_object(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x7fELF")
}

impl SealFile {
    /// Reads an artifact, or makes it of an object and its seal.
    pub(crate) fn artifact(&self, path: &Path) -> Result<Artifact, Failure> {
        let bytes = files::read(path)?;
        self.artifact_of(&files::shown(path), &bytes)
    }

    /// The same, of bytes that are read already.
    pub(crate) fn artifact_of(&self, place: &str, bytes: &[u8]) -> Result<Artifact, Failure> {
        let Some(seal) = &self.path else {
            return Ok(read_artifact(place, bytes)?.artifact);
        };
        if !is_object(bytes) {
            return Err(Failure::usage(
                format!("{place} is no object, and --seal was given"),
                "give the object that was sealed; an artifact has its signatures inside",
            ));
        }
        let seal = read_seal(seal)?;
        let artifact = bpfseal::reunite(bytes, &seal);
        Ok(artifact.map_err(|e| Report::new(place, &e, e.advice()))?)
    }
}

/// Reads a detached seal.
pub(crate) fn read_seal(path: &Path) -> Result<DetachedSeal, Report> {
    let bytes = files::read(path)?;
    DetachedSeal::decode(&bytes).map_err(|e| {
        let help = "give a .seal file as `bpfseal seal -o NAME.seal` writes it";
        Report::new(&files::shown(path), &e, help)
    })
}

/// Reads an artifact, with what its file says of it.
pub(crate) fn read_artifact(place: &str, bytes: &[u8]) -> Result<ArtifactFile, Report> {
    ArtifactFile::parse(bytes).map_err(|error| {
        if let Some(report) = instead(place, bytes, Wanted::Artifact) {
            return report;
        }
        let help = match error {
            ArtifactError::Object => "seal it first, with `bpfseal seal`; or give its detached seal with --seal",
            ArtifactError::Detached => "give the object that it is for, and this with --seal",
            _ => "give what `bpfseal seal` or `bpftool gen skeleton -L` write: a light skeleton or a bundle",
        };
        Report::new(place, &error, help)
    })
}
