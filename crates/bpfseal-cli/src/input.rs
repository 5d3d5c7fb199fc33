//! Artifacts as they come in: a file of its own, or an object with its detached seal.

use std::path::{Path, PathBuf};

use bpfseal::artifact::{Artifact, ArtifactError, ArtifactFile, DetachedSeal, Text};
use clap::Args;

use crate::failure::{Failure, Refused, Report};
use crate::files;
use crate::recognise::{Wanted, instead};

/// The signatures of an object, where they are in a file of their own.
#[derive(Debug, Default, Args)]
pub(crate) struct SealFile {
    /// Detached seal of the object that is given instead of an artifact: its loader is made again,
    /// and held against what was signed
    #[arg(long = "seal", value_name = "FILE.seal")]
    pub(crate) path: Option<PathBuf>,

    /// Look at the bytes of a light skeleton alone; without it, its text has to be what bpfseal or
    /// bpftool write for them
    #[arg(long)]
    pub(crate) bytes_only: bool,
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
        let (artifact, other) = self.artifact_and_text(place, bytes)?;
        match other {
            Some(line) => Err(other_text(place, line)),
            None => Ok(artifact),
        }
    }

    /// The artifact, and the first line of its text that was not generated, if that counts.
    pub(crate) fn artifact_and_text(
        &self,
        place: &str,
        bytes: &[u8],
    ) -> Result<(Artifact, Option<usize>), Failure> {
        let Some(seal) = &self.path else {
            let file = read_artifact(place, bytes)?;
            let line = other_line(&file).filter(|_| !self.bytes_only);
            return Ok((file.artifact, line));
        };
        if !is_object(bytes) {
            return Err(Failure::usage(
                format!("{place} is no object, and --seal was given"),
                "give the object that was sealed; an artifact has its signatures inside",
            ));
        }
        let seal = read_seal(seal)?;
        let artifact = bpfseal::reunite(bytes, &seal);
        let artifact = artifact.map_err(|e| Report::new(place, &e, e.advice()))?;
        Ok((artifact, None))
    }

    /// Reads bytes alone: for what makes no statement about the file.
    pub(crate) fn bytes_only(bytes_only: bool) -> Self {
        Self {
            path: None,
            bytes_only,
        }
    }
}

/// The first line of a skeleton's text that was not generated.
fn other_line(file: &ArtifactFile) -> Option<usize> {
    match file.text {
        Some(Text::Other { line }) => Some(line),
        _ => None,
    }
}

/// The answer to a skeleton whose text says more than its bytes.
fn other_text(place: &str, line: usize) -> Failure {
    Failure::Refused(Box::new(Refused {
        place: Some(place.to_owned()),
        code: Some("text".to_owned()),
        message: format!(
            "the text around the loader is not what bpfseal or bpftool write: line {line}"
        ),
        help: "generate it again; or give --bytes-only to look at the loader's bytes alone"
            .to_owned(),
        ..Refused::default()
    }))
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
