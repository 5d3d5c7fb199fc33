//! Detached seals: the loader is made again from the object, and held against what was signed.
//!
//! Stands beside [`crate::Sealer`]: there an object becomes a loader that is signed, here
//! the same loader finds its signature again.

use bpfseal_artifact::{Artifact, DetachedSeal, Interface, LoaderForm};
use bpfseal_loader::{EmitOptions, HostError, LoadPlan, Loader};
use bpfseal_object::{Endian, Object};
use bpfseal_seal::{Scheme, excl_prog_hash, hex, sha256};

use crate::MakeError;

bpfseal_object::debug_as_chain!(ReuniteError);

/// Why an object and a seal do not go together.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum ReuniteError {
    /// The seal is for another object, or for this one before it was changed.
    #[error("the seal is for an object with SHA-256 {wanted}, this one has {found}")]
    OtherObject {
        /// The digest in the seal.
        wanted: String,
        /// The object's.
        found: String,
    },
    /// The seal of an object names the digest of its file, which is not known.
    #[error("the file of the object is not known, and a detached seal names its digest")]
    NoFile,
    /// The seal says another byte order than the object has.
    #[error("the seal is for {wanted:?}-endian machines, the object is not")]
    OtherEndian {
        /// The byte order in the seal.
        wanted: Endian,
    },
    /// A value of the host is not available.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The object has no loader.
    #[error(transparent)]
    Make(#[from] MakeError),
    /// The loader that was made is not the one that was signed.
    #[error(
        "the loader that is made of it for the scheme {} is not the one that was signed: its {part} have SHA-256 {found}, not {wanted}",
        scheme.name()
    )]
    OtherLoader {
        /// The scheme.
        scheme: Scheme,
        /// Instructions or metadata.
        part: &'static str,
        /// The digest in the seal.
        wanted: String,
        /// That of what was made.
        found: String,
    },
}

impl ReuniteError {
    /// What can be done about it.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match self {
            Self::OtherObject { .. } => {
                "give the object that was sealed, as it was then: not stripped or linked again"
            }
            Self::Host(_) => "give the value with the options for values of the host",
            Self::Make(error) => error.advice(),
            Self::NoFile => "read the object with `Source::parse`",
            Self::OtherEndian { .. } | Self::OtherLoader { .. } => {
                "the seal is damaged, or it is from a version of this tool that made other loaders"
            }
        }
    }
}

/// Makes an object's loader again, as it was when it was sealed, and puts the signatures to it.
/// The signatures are not verified yet.
///
/// # Errors
/// [`ReuniteError`], when they do not belong together.
pub fn reunite(object: &[u8], seal: &DetachedSeal) -> Result<Artifact, ReuniteError> {
    let found = sha256(object);
    if found != seal.object_digest {
        return Err(ReuniteError::OtherObject {
            wanted: hex(&seal.object_digest),
            found: hex(&found),
        });
    }
    let object = Object::parse(object, &seal.name).map_err(MakeError::from)?;
    remake(&object, seal)
}

/// The same of an object that was read already.
pub(crate) fn remake(object: &Object, seal: &DetachedSeal) -> Result<Artifact, ReuniteError> {
    let plan = LoadPlan::new(object, &seal.host).map_err(MakeError::from)?;
    if plan.endian != seal.endian {
        return Err(ReuniteError::OtherEndian {
            wanted: seal.endian,
        });
    }
    let mut metadata = Vec::new();
    let mut forms = Vec::new();
    for one in &seal.seals {
        let scheme = one.scheme;
        let other = |part, wanted: &[u8; 32], found: [u8; 32]| ReuniteError::OtherLoader {
            scheme,
            part,
            wanted: hex(wanted),
            found: hex(&found),
        };
        let loader =
            Loader::new(&plan, EmitOptions::new(scheme.form())).map_err(MakeError::from)?;
        let found = sha256(&loader.metadata);
        if found != seal.metadata_digest {
            return Err(other("metadata", &seal.metadata_digest, found));
        }
        let found = excl_prog_hash(&loader.instructions);
        if found != one.excl_prog_hash {
            return Err(other("instructions", &one.excl_prog_hash, found));
        }
        metadata = loader.metadata;
        forms.push(LoaderForm::Sealed {
            instructions: loader.instructions,
            seal: one.clone(),
        });
    }
    Ok(Artifact {
        interface: Interface::new(object, &plan.name),
        metadata,
        forms,
        endian: plan.endian,
    })
}
