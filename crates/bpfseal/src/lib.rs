//! The toolchain for signed BPF.
//!
//! One front door to the crates behind it: [`object`] reads a `.bpf.o`, [`loader`] plans how it
//! is installed and compiles the plan to a loader, [`seal`] signs the loader and verifies
//! signatures offline, [`artifact`] writes and reads the files that it comes in, [`kernel`] loads
//! it into the running kernel.
//!
//! ```text
//! .bpf.o ── Object ── LoadPlan ── Loader ── seal ── artifact ── verify
//! ```
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use bpfseal::object::Object;
//! use bpfseal::seal::{Certificate, SigningKey, TrustStore};
//!
//! let key = SigningKey::from_pem(&std::fs::read("key.pem")?)?;
//! let certificate = Certificate::from_bytes(&std::fs::read("cert.pem")?)?;
//!
//! let name = bpfseal::object::object_name("prog.bpf.o");
//! let object = Object::parse(&std::fs::read("prog.bpf.o")?, &name)?;
//! let sealed = bpfseal::seal_object(object, &bpfseal::RunningHost, &key, &certificate)?;
//! for dependency in &sealed.made.plan.host {
//!     println!("depends on this host: {dependency}");
//! }
//! std::fs::write("prog.lskel.h", sealed.c_header()?.to_string())?;
//!
//! let mut trust = TrustStore::new();
//! trust.add(certificate);
//! let attestation = sealed.sealed_loader().verify(&trust)?;
//! println!("{} bytes are covered", attestation.covered);
//!
//! // Into the running kernel, which verifies it again.
//! let loaded = bpfseal::load(&sealed.into_artifact(), &bpfseal::LoadOptions::default())?;
//! let links = loaded.attach()?;
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

pub mod data;
mod detached;
mod host;
mod load;
mod loaded;
mod pins;
pub mod report;
pub mod skeleton;

pub use bpfseal_artifact as artifact;
pub use bpfseal_kernel as kernel;
pub use bpfseal_loader as loader;
pub use bpfseal_model as model;
pub use bpfseal_object as object;
pub use bpfseal_seal as seal;

pub use detached::{ReuniteError, reunite};
pub use host::{RunningHost, parse_version};
pub use load::{KEYRINGS, LoadError, LoadOptions, insecure_load_unsigned, load};
pub use loaded::{AttachError, Links, Loaded};
pub use pins::{PinError, remove_pins, staging_folder};
pub use report::{audit, diff, explain, inspect_artifact, inspect_object, list_keyring, verify};

use std::borrow::Cow;

use artifact::skeleton::{
    CHeader, CSkeleton, RustForm, RustModule, RustSkeleton, SkeletonError, SkeletonSeal,
};
use artifact::{Artifact, Bundle, Interface, LoaderForm};
use loader::{EmitOptions, Form, Host, LoadPlan, Loader};
use object::Object;
use seal::{Certificate, Scheme, Seal, SealError, SealOptions, SealedLoader, Signer, ToBeSigned};

/// Why nothing could be made from the bytes of an object.
#[derive(Debug, thiserror::Error)]
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
    /// No signature was given for a scheme.
    #[error("there is no signature for the scheme {}", scheme.name())]
    Missing {
        /// The scheme.
        scheme: Scheme,
    },
    /// The loader can not be signed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The loader can not be written as a skeleton.
    #[error(transparent)]
    Skeleton(#[from] SkeletonError),
}

impl MakeError {
    /// What whoever holds the object can do about it.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Object(error) => error.advice(),
            Self::Loader(error) => error.advice(),
            Self::Missing { .. } => "give a signature for each scheme",
            Self::NoScheme => "name at least one scheme",
            Self::Seal(_) => "sign with a key and the certificate that belongs to it",
            Self::Skeleton(error) => error.advice(),
        }
    }
}

/// An object and what was made of it.
#[derive(Debug, Clone)]
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
    pub fn rust_module(&self) -> Result<RustModule<'_>, SkeletonError> {
        self.rust(vec![RustForm {
            scheme: "",
            instructions: &self.loader.instructions,
            seal: None,
        }])
    }

    /// The names of what is installed.
    #[must_use]
    pub fn interface(&self) -> Interface {
        Interface::new(&self.object, &self.plan.name)
    }

    fn rust<'a>(&'a self, forms: Vec<RustForm<'a>>) -> Result<RustModule<'a>, SkeletonError> {
        RustSkeleton {
            object: &self.object,
            plan: &self.plan,
            metadata: &self.loader.metadata,
            forms,
        }
        .into_module()
    }

    fn skeleton<'a>(
        &'a self,
        instructions: &'a [u8],
        seal: Option<SkeletonSeal<'a>>,
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

/// An object's loader, signed by one scheme or several.
#[derive(Debug, Clone)]
pub struct Sealed {
    /// The object and its loader, in the form of the first scheme.
    pub made: Made,
    /// A seal for each scheme, with the instructions that it is for; strongest first.
    forms: Vec<(Vec<u8>, Seal)>,
}

impl Sealed {
    /// The seals, with the instructions that each is for; strongest first. There is at least one.
    pub fn forms(&self) -> impl Iterator<Item = SealedLoader<'_>> {
        self.forms.iter().map(|(instructions, seal)| SealedLoader {
            instructions,
            metadata: &self.made.loader.metadata,
            seal,
        })
    }

    /// The strongest seal and what it is for.
    #[must_use]
    pub fn sealed_loader(&self) -> SealedLoader<'_> {
        let (instructions, seal) = &self.forms[0];
        SealedLoader {
            instructions,
            metadata: &self.made.loader.metadata,
            seal,
        }
    }

    /// The strongest seal as a C light skeleton.
    ///
    /// # Errors
    /// When the object's global variables can not be declared in C.
    pub fn c_header(&self) -> Result<CHeader<'_>, SkeletonError> {
        let (instructions, seal) = &self.forms[0];
        let seal = skeleton_seal(seal);
        self.made.skeleton(instructions, Some(seal)).to_header()
    }

    /// All seals as a Rust light skeleton.
    ///
    /// # Errors
    /// When the object's global variables can not be declared.
    pub fn rust_module(&self) -> Result<RustModule<'_>, SkeletonError> {
        let forms = self.forms.iter().map(|(instructions, seal)| RustForm {
            scheme: seal.scheme.variant(),
            instructions,
            seal: Some(skeleton_seal(seal)),
        });
        self.made.rust(forms.collect())
    }

    /// What is in such a skeleton, ready to be loaded.
    #[must_use]
    pub fn into_artifact(self) -> Artifact {
        let interface = self.made.interface();
        let forms = self
            .forms
            .into_iter()
            .map(|(instructions, seal)| LoaderForm::Sealed {
                instructions: Cow::Owned(instructions),
                seal,
            });
        Artifact {
            interface,
            metadata: Cow::Owned(self.made.loader.metadata),
            forms: forms.collect(),
        }
    }

    /// All seals as a bundle.
    #[must_use]
    pub fn into_bundle(self) -> Bundle {
        Bundle {
            endian: self.made.plan.endian,
            artifact: self.into_artifact(),
            object_digest: None,
            certificates: Vec::new(),
            provenance: None,
        }
    }
}

fn skeleton_seal(seal: &Seal) -> SkeletonSeal<'_> {
    SkeletonSeal {
        signature: &seal.signature,
        excl_prog_hash: &seal.excl_prog_hash,
    }
}

/// Plans how an object is installed, and makes its loader.
///
/// # Errors
/// When the object has no loader, or the host lacks a value that it needs.
pub fn make_loader(object: Object, host: &dyn Host, form: Form) -> Result<Made, MakeError> {
    let plan = LoadPlan::new(&object, host)?;
    let loader = Loader::new(&plan, EmitOptions::new(form))?;
    Ok(Made {
        object,
        plan,
        loader,
    })
}

/// Makes an object's loader, and signs it for load-time verification.
///
/// # Errors
/// When the object has no loader, or key and certificate do not go together.
pub fn seal_object(
    object: Object,
    host: &dyn Host,
    key: &dyn Signer,
    certificate: &Certificate,
) -> Result<Sealed, MakeError> {
    let options = SealOptions::default();
    seal_object_as(
        &[Scheme::LoadTime],
        object,
        host,
        key,
        certificate,
        &options,
    )
}

/// Makes an object's loader for each of some schemes, and signs each.
///
/// # Errors
/// As [`seal_object`]; [`MakeError::NoScheme`] without one.
pub fn seal_object_as(
    schemes: &[Scheme],
    object: Object,
    host: &dyn Host,
    key: &dyn Signer,
    certificate: &Certificate,
    options: &SealOptions,
) -> Result<Sealed, MakeError> {
    seal::check_key(key, certificate)?;
    prepare(schemes, object, host, certificate, options)?.sign(key)
}

/// Makes an object's loader for each of some schemes, and what is to be signed: the first of two
/// steps, for keys that are somewhere else.
///
/// # Errors
/// As [`seal_object_as`].
pub fn prepare(
    schemes: &[Scheme],
    object: Object,
    host: &dyn Host,
    certificate: &Certificate,
    options: &SealOptions,
) -> Result<Prepared, MakeError> {
    let mut schemes = schemes.to_vec();
    schemes.sort_unstable();
    schemes.dedup();
    let first = *schemes.first().ok_or(MakeError::NoScheme)?;
    let made = make_loader(object, host, first.form())?;
    let mut forms = Vec::new();
    for scheme in schemes {
        let instructions = if scheme.form() == made.loader.form {
            made.loader.instructions.clone()
        } else {
            Loader::new(&made.plan, EmitOptions::new(scheme.form()))?.instructions
        };
        let metadata = &made.loader.metadata;
        let tbs = ToBeSigned::new(scheme, &instructions, metadata, certificate, options)?;
        forms.push((instructions, tbs));
    }
    Ok(Prepared { made, forms })
}

/// An object's loader, with what is to be signed for each scheme.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// The object and its loader, in the form of the first scheme.
    pub made: Made,
    forms: Vec<(Vec<u8>, ToBeSigned)>,
}

impl Prepared {
    /// What is to be signed, strongest scheme first.
    pub fn to_be_signed(&self) -> impl Iterator<Item = &ToBeSigned> {
        self.forms.iter().map(|(_, tbs)| tbs)
    }

    /// Signs everything with one key.
    ///
    /// # Errors
    /// When the key can not sign.
    pub fn sign(self, key: &dyn Signer) -> Result<Sealed, MakeError> {
        let mut forms = Vec::new();
        for (instructions, tbs) in self.forms {
            let seal = tbs.sign(key, &instructions, &self.made.loader.metadata)?;
            forms.push((instructions, seal));
        }
        let made = self.made;
        Ok(Sealed { made, forms })
    }

    /// Puts in signatures that were made somewhere else, raw or as CMS, one for each scheme: the
    /// second step. Each is checked.
    ///
    /// # Errors
    /// [`SealError::WrongSignature`] for one that does not hold, [`MakeError::Missing`] for a
    /// scheme without one.
    pub fn attach(self, signatures: &[(Scheme, Vec<u8>)]) -> Result<Sealed, MakeError> {
        let mut forms = Vec::new();
        for (instructions, tbs) in self.forms {
            let scheme = tbs.scheme();
            let found = signatures.iter().find(|(known, _)| *known == scheme);
            let (_, signature) = found.ok_or(MakeError::Missing { scheme })?;
            let seal = tbs.attach(&instructions, &self.made.loader.metadata, signature)?;
            forms.push((instructions, seal));
        }
        let made = self.made;
        Ok(Sealed { made, forms })
    }
}
