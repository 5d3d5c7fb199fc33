//! Sealing: objects to signed loaders, in one step or, for keys that are somewhere else, in two.
//!
//! ```text
//! Source ── Sealer ─┬─ seal(key) ──────────────────────────────── Sealed ─┬─ c_header, rust_module
//!                   └─ prepare ── Prepared ── attach(signatures) ───┘     └─ into_bundle, into_detached
//! ```

use crate::artifact::{
    Artifact, Bundle, CHeader, DetachedSeal, LoaderForm, Provenance, RustModule, SkeletonError,
};
use crate::detached::{ReuniteError, remake};
use crate::host::RunningHost;
use crate::loader::{EmitOptions, FixedHost, Host, Loader};
use crate::make::{Made, MakeError, Source, make_loader};
use crate::seal::{
    self, Certificate, DigestAlgorithm, Scheme, Seal, SealError, SealOptions, SealedLoader, Signer,
    ToBeSigned,
};

/// Seals objects: who signs, by which schemes, and how.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use bpfseal::seal::{Certificate, Scheme, SigningKey};
/// use bpfseal::{Sealer, Source};
///
/// let key = SigningKey::from_pem(&std::fs::read("key.pem")?)?;
/// let certificate = Certificate::from_bytes(&std::fs::read("cert.pem")?)?;
/// let source = Source::parse(&std::fs::read("prog.bpf.o")?, "prog")?;
///
/// let sealer = Sealer::new(&certificate).schemes(&Scheme::KERNELS).provenance(true);
/// let bundle = sealer.seal(source, &key)?.into_bundle();
/// std::fs::write("prog.bpfseal", bundle.encode())?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Sealer<'a> {
    certificate: &'a Certificate,
    schemes: Vec<Scheme>,
    options: SealOptions,
    host: &'a (dyn Host + Sync),
    provenance: bool,
}

impl std::fmt::Debug for Sealer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealer")
            .field("certificate", &self.certificate.subject())
            .field("schemes", &self.schemes)
            .field("options", &self.options)
            .field("provenance", &self.provenance)
            .finish_non_exhaustive()
    }
}

impl<'a> Sealer<'a> {
    /// For the key of this certificate: by load-time verification, with SHA-256 (ML-DSA: SHA-512),
    /// and with the values of the running host.
    #[must_use]
    pub fn new(certificate: &'a Certificate) -> Self {
        Self {
            certificate,
            schemes: vec![Scheme::LoadTime],
            options: SealOptions::default(),
            host: &RunningHost,
            provenance: false,
        }
    }

    /// Signs by these schemes, in any order: a signature for each.
    #[must_use]
    pub fn schemes(mut self, schemes: &[Scheme]) -> Self {
        self.schemes = schemes.to_vec();
        self.schemes.sort_unstable();
        self.schemes.dedup();
        self
    }

    /// Signs with these options, instead of those that were set before.
    #[must_use]
    pub fn options(mut self, options: SealOptions) -> Self {
        self.options = options;
        self
    }

    /// Signs with this digest.
    #[must_use]
    pub fn digest(mut self, digest: DigestAlgorithm) -> Self {
        self.options.digest = Some(digest);
        self
    }

    /// Embeds the signer's certificate and those between it and what is trusted. The signer is
    /// named by issuer and serial number then, as the kernel's walk wants it.
    #[must_use]
    pub fn embed_chain(mut self, between: impl IntoIterator<Item = Certificate>) -> Self {
        self.options.embed = vec![self.certificate.clone()];
        for certificate in between {
            if !self.options.embed.contains(&certificate) {
                self.options.embed.push(certificate);
            }
        }
        self
    }

    /// Says when it was signed, in seconds since 1970: in Hornet's signatures, which have to.
    #[must_use]
    pub fn signing_time(mut self, seconds: u64) -> Self {
        self.options.signing_time = seconds;
        self
    }

    /// Takes values that an object depends on from this host.
    #[must_use]
    pub fn host(mut self, host: &'a (dyn Host + Sync)) -> Self {
        self.host = host;
        self
    }

    /// Puts the certificate, and how it was made, into bundles and detached seals. That is a
    /// statement, which is not signed.
    #[must_use]
    pub fn provenance(mut self, provenance: bool) -> Self {
        self.provenance = provenance;
        self
    }

    /// Makes an object's loader for each scheme, and signs each. What a signer answers that is not
    /// a key of this process is checked.
    ///
    /// # Errors
    /// [`MakeError`]: when the object has no loader, key and certificate do not belong together, or
    /// the key does not sign.
    pub fn seal(&self, source: impl Into<Source>, key: &dyn Signer) -> Result<Sealed, MakeError> {
        // Before the object is looked at: it is not to blame.
        seal::check_key(key, self.certificate)?;
        let (made, origin, instructions) = self.make(source.into())?;
        let metadata = &made.loader.metadata;
        let forms = self.schemes.iter().zip(instructions);
        let forms = forms.map(|(scheme, instructions)| {
            let seal = self
                .to_be_signed(*scheme, &instructions, metadata)?
                .sign(key)?;
            Ok((instructions, seal))
        });
        let forms = forms.collect::<Result<_, SealError>>()?;
        Ok(Sealed {
            made,
            forms,
            origin,
        })
    }

    /// Makes an object's loader for each scheme, and what is to be signed: the first of two steps,
    /// for keys that are somewhere else.
    ///
    /// # Errors
    /// As [`Self::seal`]; [`MakeError::NoScheme`] without a scheme.
    pub fn prepare(&self, source: impl Into<Source>) -> Result<Prepared, MakeError> {
        let (made, origin, instructions) = self.make(source.into())?;
        let metadata = &made.loader.metadata;
        let forms = self.schemes.iter().zip(&instructions);
        let forms = forms.map(|(scheme, instructions)| {
            let tbs = self.to_be_signed(*scheme, instructions, metadata)?;
            Ok(tbs.into_owned())
        });
        let forms = forms.collect::<Result<_, SealError>>()?;
        Ok(Prepared {
            made,
            forms,
            origin,
        })
    }

    /// Makes an object's loader, and its instructions for each scheme.
    fn make(&self, source: Source) -> Result<(Made, Origin, Vec<Vec<u8>>), MakeError> {
        let Source { object, digest } = source;
        let first = *self.schemes.first().ok_or(MakeError::NoScheme)?;
        let made = make_loader(object, self.host, first.form())?;
        let mut all = Vec::new();
        for scheme in &self.schemes {
            all.push(if scheme.form() == made.loader.form {
                made.loader.instructions.clone()
            } else {
                Loader::new(&made.plan, EmitOptions::new(scheme.form()))?.instructions
            });
        }
        let origin = Origin {
            object_digest: digest,
            certificate: self.provenance.then(|| self.certificate.der().to_vec()),
            provenance: self.provenance.then(|| self.statement(&made)),
        };
        Ok((made, origin, all))
    }

    fn to_be_signed<'b>(
        &'b self,
        scheme: Scheme,
        instructions: &'b [u8],
        metadata: &'b [u8],
    ) -> Result<ToBeSigned<'b>, SealError> {
        ToBeSigned::new(
            scheme,
            instructions,
            metadata,
            self.certificate,
            &self.options,
        )
    }

    /// Adds a signature to those that each signed form of an artifact has: vendor and operator,
    /// say. A kernel takes the artifact when it trusts one of the signers, and refuses it when any
    /// of the signatures does not hold.
    ///
    /// # Errors
    /// [`SealError`], when the artifact is not signed, or the kernel would take no message with
    /// both signatures.
    pub fn add_to(&self, artifact: &mut Artifact, key: &dyn Signer) -> Result<(), SealError> {
        artifact.add_signature(key, self.certificate, &self.options)
    }

    /// How something is made, for those who want to know.
    fn statement(&self, made: &Made) -> Provenance {
        let schemes: Vec<&str> = self.schemes.iter().map(|scheme| scheme.name()).collect();
        let mut options = vec![format!("scheme {}", schemes.join(","))];
        if let Some(digest) = self.options.digest {
            options.push(format!("digest {}", digest.name()));
        }
        Provenance {
            tool: concat!("bpfseal ", env!("CARGO_PKG_VERSION")).to_owned(),
            options,
            host: made.plan.host.iter().map(ToString::to_string).collect(),
        }
    }
}

/// Where something comes from, as far as it is to be said.
#[derive(Debug, Clone, Default)]
pub(crate) struct Origin {
    /// SHA-256 of the object's file.
    pub(crate) object_digest: Option<[u8; 32]>,
    /// The signer's certificate in DER.
    pub(crate) certificate: Option<Vec<u8>>,
    pub(crate) provenance: Option<Provenance>,
}

/// An object's loader, with what is to be signed for each scheme.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// The object and its loader, in the form of the first scheme.
    pub made: Made,
    forms: Vec<ToBeSigned<'static>>,
    origin: Origin,
}

impl Prepared {
    /// What is to be signed, strongest scheme first.
    pub fn to_be_signed(&self) -> impl Iterator<Item = &ToBeSigned<'static>> {
        self.forms.iter()
    }

    /// Signs everything with one key.
    ///
    /// # Errors
    /// As [`ToBeSigned::sign`].
    pub fn sign(self, key: &dyn Signer) -> Result<Sealed, MakeError> {
        let mut forms = Vec::new();
        for tbs in &self.forms {
            forms.push((tbs.instructions().to_vec(), tbs.sign(key)?));
        }
        Ok(Sealed {
            made: self.made,
            forms,
            origin: self.origin,
        })
    }

    /// Puts in signatures that were made somewhere else, raw or as CMS, one for each scheme: the
    /// second step. Each is checked.
    ///
    /// # Errors
    /// [`SealError::WrongSignature`] for one that does not hold, [`MakeError::Missing`] for a
    /// scheme without one.
    pub fn attach(self, signatures: &[(Scheme, Vec<u8>)]) -> Result<Sealed, MakeError> {
        let mut forms = Vec::new();
        for tbs in &self.forms {
            let scheme = tbs.scheme();
            let found = signatures.iter().find(|(known, _)| *known == scheme);
            let (_, signature) = found.ok_or(MakeError::Missing { scheme })?;
            forms.push((tbs.instructions().to_vec(), tbs.attach(signature)?));
        }
        Ok(Sealed {
            made: self.made,
            forms,
            origin: self.origin,
        })
    }
}

/// An object's loader, signed by one scheme or several.
#[derive(Debug, Clone)]
pub struct Sealed {
    /// The object and its loader, in the form of the first scheme.
    pub made: Made,
    /// A seal for each scheme, with the instructions that it is for; strongest first.
    pub(crate) forms: Vec<(Vec<u8>, Seal)>,
    pub(crate) origin: Origin,
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

    /// The seal as a C light skeleton.
    ///
    /// # Errors
    /// [`MakeError::OneScheme`] for several schemes; [`MakeError::Skeleton`] when the object's global
    /// variables cannot be declared in C.
    pub fn c_header(&self) -> Result<CHeader<'_>, MakeError> {
        let [(instructions, seal)] = self.forms.as_slice() else {
            return Err(MakeError::OneScheme);
        };
        Ok(self.made.skeleton(instructions, Some(seal)).to_header()?)
    }

    /// All seals as a Rust light skeleton.
    ///
    /// # Errors
    /// When the object's global variables cannot be declared.
    pub fn rust_module(&self) -> Result<RustModule, SkeletonError> {
        self.made.rust(self.bundle())
    }

    /// What is in such a skeleton, ready to be loaded.
    #[must_use]
    pub fn into_artifact(self) -> Artifact {
        self.artifact()
    }

    /// All seals as a bundle.
    #[must_use]
    pub fn into_bundle(self) -> Bundle {
        self.bundle()
    }

    fn artifact(&self) -> Artifact {
        let forms = self
            .forms
            .iter()
            .map(|(instructions, seal)| LoaderForm::Sealed {
                instructions: instructions.clone(),
                seal: seal.clone(),
            });
        self.made.artifact(forms.collect())
    }

    fn bundle(&self) -> Bundle {
        Bundle {
            object_digest: self.origin.object_digest,
            certificates: self.origin.certificate.iter().cloned().collect(),
            provenance: self.origin.provenance.clone(),
            artifact: self.artifact(),
        }
    }

    /// The signatures alone, for an object that stays as it is. The host has to be the one that this
    /// was made with; that object and seal find together again is tried.
    ///
    /// # Errors
    /// [`ReuniteError::NoFile`] unless the object was read by [`Source::parse`];
    /// [`ReuniteError::Host`] when the host can not be asked any more; else as [`reunite`](crate::reunite).
    pub fn into_detached(self, host: &dyn Host) -> Result<DetachedSeal, ReuniteError> {
        let object_digest = self.origin.object_digest.ok_or(ReuniteError::NoFile)?;
        let host = FixedHost::taken_from(host, &self.made.plan.host)?;
        let seal = DetachedSeal {
            name: self.made.plan.name.clone(),
            endian: self.made.plan.endian,
            seals: self.forms.into_iter().map(|(_, seal)| seal).collect(),
            object_digest,
            metadata_digest: seal::sha256(&self.made.loader.metadata),
            host,
            certificates: self.origin.certificate.into_iter().collect(),
            provenance: self.origin.provenance,
        };
        remake(&self.made.object, &seal)?;
        Ok(seal)
    }
}
