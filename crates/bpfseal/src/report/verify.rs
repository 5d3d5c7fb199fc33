//! What the signatures of an artifact attest to, and whether they are trusted.

use super::parts::{CertificateReport, Hex, SignerReport};
use super::schema::schema;
use crate::artifact::Artifact;
use crate::seal::{
    Attestation, Certificate, Rejection, Scheme, SealedLoader, SignatureVerdict, Strictness,
    TrustPath, TrustStore,
};

schema!(
    /// Name and version of the schema.
    VerifySchema = "bpfseal/verify/1"
);

/// Verifies every signature of an artifact as the kernel would, and beyond that as `strictness`
/// asks. No validity dates are looked at unless it asks for them, because no kernel does.
#[must_use]
pub fn verify(artifact: &Artifact, trust: &TrustStore, strictness: &Strictness) -> VerifyReport {
    let verify = |sealed: &SealedLoader<'_>| {
        let attestation = sealed.verify(trust)?;
        attestation.check(strictness, trust)?;
        Ok(attestation)
    };
    let mut forms: Vec<FormVerdict> = artifact
        .sealed()
        .map(|sealed| match verify(&sealed) {
            Ok(attestation) => FormVerdict::Good(Box::new(GoodForm::new(&sealed, &attestation))),
            Err(rejection) => {
                let form = RejectedForm::new(sealed.seal.scheme, &rejection);
                FormVerdict::Rejected(Box::new(form))
            }
        })
        .collect();
    let decisive = forms.iter().find(|form| !form.is_good()).or(forms.first());
    let decisive = match decisive {
        Some(form) => form.clone(),
        None => FormVerdict::Rejected(Box::new(RejectedForm::unsigned())),
    };
    if forms.len() < 2 {
        forms.clear();
    }
    VerifyReport {
        schema: VerifySchema::V1,
        artifact: artifact.interface.name.to_string(),
        decisive,
        schemes: forms,
    }
}

/// What the signatures of an artifact come to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct VerifyReport {
    /// Name and version of the schema.
    pub schema: VerifySchema,
    /// The file, or else the name of the object.
    pub artifact: String,
    /// What decides: a form that was rejected, or else the one with the strongest scheme.
    #[cfg_attr(feature = "serde", serde(flatten))]
    pub decisive: FormVerdict,
    /// All forms, strongest scheme first, of an artifact with several.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Vec::is_empty"))]
    pub schemes: Vec<FormVerdict>,
}

impl VerifyReport {
    /// Whether every signature holds and is trusted. An artifact without a signature is not good.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.decisive.is_good()
    }

    /// All forms, strongest scheme first; at least one.
    #[must_use]
    pub fn forms(&self) -> &[FormVerdict] {
        if self.schemes.is_empty() {
            std::slice::from_ref(&self.decisive)
        } else {
            &self.schemes
        }
    }
}

/// What one form of an artifact comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(tag = "verdict", rename_all = "lowercase")
)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum FormVerdict {
    /// The signature holds, and its signer is trusted.
    Good(Box<GoodForm>),
    /// It does not, or there is none.
    Rejected(Box<RejectedForm>),
}

impl FormVerdict {
    /// Whether the signature holds and its signer is trusted.
    #[must_use]
    pub fn is_good(&self) -> bool {
        matches!(self, Self::Good(_))
    }

    /// The scheme; none for a form without a signature.
    #[must_use]
    pub fn scheme(&self) -> Option<Scheme> {
        match self {
            Self::Good(form) => Some(form.scheme),
            Self::Rejected(form) => form.scheme,
        }
    }
}

/// A form with a good signature.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct GoodForm {
    /// The scheme.
    #[cfg_attr(feature = "serde", serde(serialize_with = "super::names::scheme"))]
    #[cfg_attr(feature = "schema", schemars(with = "super::names::SchemeName"))]
    pub scheme: Scheme,
    /// Which kernels check it.
    pub kernels: &'static str,
    /// What the scheme attests to.
    pub attests: &'static str,
    /// What it does not attest to, if there is something to say.
    pub weakness: Option<String>,
    /// Bytes of content that the signature covers.
    pub covered_bytes: u64,
    /// Bytes of the loader's instructions.
    pub instruction_bytes: usize,
    /// Bytes of the metadata.
    pub metadata_bytes: usize,
    /// SHA-256 of the instructions, which the metadata map is bound to.
    pub excl_prog_hash: Hex,
    /// How it was signed, such as `rsa with sha256`.
    pub algorithm: String,
    /// Who signed.
    pub signer: SignerReport,
    /// The trusted certificate that vouches for the signer.
    pub trusted: CertificateReport,
    /// Subjects of embedded certificates from the signer upwards; empty when the signer itself is
    /// trusted.
    pub chain: Vec<String>,
    /// All signatures of the message, in its order: one of them decided.
    pub signatures: Vec<SignatureReport>,
}

impl GoodForm {
    fn new(sealed: &SealedLoader<'_>, attestation: &Attestation) -> Self {
        let scheme = sealed.seal.scheme;
        let chain = match &attestation.path {
            TrustPath::Chain(chain) => chain.iter().map(Certificate::subject).collect(),
            _ => Vec::new(),
        };
        Self {
            scheme,
            kernels: scheme.kernels(),
            attests: scheme.attests(),
            weakness: scheme.weakness(),
            covered_bytes: attestation.covered,
            instruction_bytes: sealed.instructions.len(),
            metadata_bytes: sealed.metadata.len(),
            excl_prog_hash: sealed.seal.excl_prog_hash.into(),
            algorithm: attestation.algorithm.to_string(),
            signer: (&attestation.signer).into(),
            trusted: (&attestation.trusted).into(),
            chain,
            signatures: attestation.signatures.iter().map(Into::into).collect(),
        }
    }
}

/// A form that is rejected.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct RejectedForm {
    /// The scheme; none for a form without a signature.
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "super::names::scheme_or_none")
    )]
    #[cfg_attr(
        feature = "schema",
        schemars(with = "Option<super::names::SchemeName>")
    )]
    pub scheme: Option<Scheme>,
    /// Why, as a sentence.
    pub reason: String,
    /// The check that failed, as a word: `excl_prog_hash`, `metadata`, `form`, `signature`,
    /// `trust`, `dates`, `usage` or `unsigned`.
    pub check: &'static str,
    /// The errno that the kernel answers; none where no kernel refuses it.
    pub errno: Option<&'static str>,
    /// What to do.
    pub help: &'static str,
}

impl RejectedForm {
    fn new(scheme: Scheme, rejection: &Rejection) -> Self {
        Self {
            scheme: Some(scheme),
            reason: rejection.reason(),
            check: rejection.check(),
            errno: rejection.errno_name(),
            help: rejection.advice(),
        }
    }

    fn unsigned() -> Self {
        Self {
            scheme: None,
            reason: "the artifact is not signed".to_owned(),
            check: "unsigned",
            errno: None,
            help: "sign it: bpfseal seal OBJ -k KEY.pem -i CERT.pem",
        }
    }
}

/// What one signature of a message comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct SignatureReport {
    /// Who signed.
    pub signer: SignerReport,
    /// How it was signed.
    pub algorithm: String,
    /// The trusted certificate that vouches for the signer.
    pub trusted: Option<CertificateReport>,
    /// Why it does not count, as a sentence.
    pub reason: Option<String>,
}

impl From<&SignatureVerdict> for SignatureReport {
    fn from(signature: &SignatureVerdict) -> Self {
        let verdict = signature.verdict.as_ref();
        Self {
            signer: (&signature.signer).into(),
            algorithm: signature.algorithm.to_string(),
            trusted: verdict.ok().map(|(by, _)| by.into()),
            reason: verdict.err().map(ToString::to_string),
        }
    }
}
