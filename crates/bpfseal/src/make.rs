//! From an object to its loader: what is made before anybody signs.

use crate::artifact::{
    Artifact, Bundle, CHeader, CSkeleton, Interface, LoaderForm, RustModule, RustSkeleton,
    SkeletonError,
};
use crate::loader::{self, EmitOptions, Form, Host, LoadPlan, Loader};
use crate::object::{self, Object};
#[cfg(feature = "sign")]
use crate::seal::SealError;
use crate::seal::{Scheme, Seal, sha256};

bpfseal_object::debug_as_chain!(MakeError);

/// An object that a loader is made of, from the bytes of its file or as it was read.
#[derive(Debug, Clone)]
pub struct Source {
    pub(crate) object: Object,
    /// SHA-256 of the file.
    pub(crate) digest: Option<[u8; 32]>,
}

impl Source {
    /// Reads an object. The name becomes part of what is signed
    /// ([`object_name`](crate::object::object_name) has that of a file).
    ///
    /// # Errors
    /// [`MakeError::Object`] that names the place in the file.
    pub fn parse(bytes: &[u8], name: &str) -> Result<Self, MakeError> {
        Ok(Self {
            object: Object::parse(bytes, name)?,
            digest: Some(sha256(bytes)),
        })
    }

    /// The object.
    #[must_use]
    pub fn object(&self) -> &Object {
        &self.object
    }

    /// SHA-256 of the file, if it was read from its bytes.
    #[must_use]
    pub fn digest(&self) -> Option<[u8; 32]> {
        self.digest
    }
}

/// Without the bytes of the file: a bundle will not name their digest, and there is no detached
/// seal.
impl From<Object> for Source {
    fn from(object: Object) -> Self {
        Self {
            object,
            digest: None,
        }
    }
}

/// Why nothing could be made from the bytes of an object.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum MakeError {
    /// The bytes are no object that can be read.
    #[error(transparent)]
    Object(#[from] object::Error),
    /// The object can be read, but has no loader.
    #[error(transparent)]
    Loader(#[from] loader::Error),
    /// No scheme was named.
    #[error("there is no scheme to sign by")]
    NoScheme,
    /// A C light skeleton has one signature.
    #[error("a C light skeleton has one signature, and there are several schemes")]
    OneScheme,
    /// No signature was given for a scheme.
    #[error("there is no signature for the scheme {}", scheme.name())]
    Missing {
        /// The scheme.
        scheme: Scheme,
    },
    /// The loader can not be signed.
    #[cfg(feature = "sign")]
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The loader can not be written as a skeleton.
    #[error(transparent)]
    Skeleton(#[from] SkeletonError),
}

impl MakeError {
    /// What to do about it.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Object(error) => error.advice(),
            Self::Loader(error) => error.advice(),
            Self::Missing { .. } => "give a signature for each scheme",
            Self::NoScheme => "name at least one scheme",
            Self::OneScheme => "write a bundle or a Rust skeleton, or name one scheme",
            #[cfg(feature = "sign")]
            Self::Seal(_) => "sign with a key and the certificate that belongs to it",
            Self::Skeleton(error) => error.advice(),
        }
    }
}

/// An object and what was made of it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Made {
    /// The object.
    pub object: Object,
    /// The plan.
    pub plan: LoadPlan,
    /// The loader.
    pub loader: Loader,
}

impl Made {
    /// The loader as an unsigned C light skeleton.
    ///
    /// # Errors
    /// When the object's global variables can not be declared in C.
    pub fn c_header(&self) -> Result<CHeader<'_>, SkeletonError> {
        self.skeleton(&self.loader.instructions, None).to_header()
    }

    /// The loader as an unsigned Rust light skeleton.
    ///
    /// # Errors
    /// When the object's global variables can not be declared.
    pub fn rust_module(&self) -> Result<RustModule, SkeletonError> {
        let form = LoaderForm::Unsigned {
            instructions: self.loader.instructions.clone(),
        };
        self.rust(Bundle::from(self.artifact(vec![form])))
    }

    /// The names of what is installed.
    #[must_use]
    pub fn interface(&self) -> Interface {
        Interface::new(&self.object, &self.plan.name)
    }

    pub(crate) fn artifact(&self, forms: Vec<LoaderForm>) -> Artifact {
        Artifact {
            interface: self.interface(),
            metadata: self.loader.metadata.clone(),
            forms,
            endian: self.plan.endian,
        }
    }

    pub(crate) fn rust(&self, bundle: Bundle) -> Result<RustModule, SkeletonError> {
        RustSkeleton {
            object: &self.object,
            plan: &self.plan,
            bundle,
        }
        .into_module()
    }

    pub(crate) fn skeleton<'a>(
        &'a self,
        instructions: &'a [u8],
        seal: Option<&'a Seal>,
    ) -> CSkeleton<'a> {
        CSkeleton {
            object: &self.object,
            plan: &self.plan,
            instructions,
            metadata: &self.loader.metadata,
            seal,
        }
    }
}

/// Plans how an object is installed, and makes its loader.
///
/// # Errors
/// When the object has no loader, or the host lacks a value that it needs.
pub fn make_loader(
    source: impl Into<Source>,
    host: &dyn Host,
    form: Form,
) -> Result<Made, MakeError> {
    let object = source.into().object;
    let plan = LoadPlan::new(&object, host)?;
    let loader = Loader::new(&plan, EmitOptions::new(form))?;
    Ok(Made {
        object,
        plan,
        loader,
    })
}
