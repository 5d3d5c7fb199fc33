//! What the signatures of an artifact attest to, and whether they are trusted.

use super::parts::{ByteOrder, CertificateReport, Hex, SignerReport, UntrustedReport, untrusted};
use super::schema::schema;
use crate::artifact::{Artifact, LoaderForm};
use crate::object::Endian;
use crate::seal::{
    Attestation, Certificate, Rejection, Scheme, SealedLoader, SignatureVerdict, Strictness,
    TrustPath, TrustStore, recognise, sha256,
};

schema!(
    /// Name and version of the schema.
    VerifySchema = "bpfseal/verify/1"
);

/// Verifies every signature of an artifact as a kernel of the trust store's configuration would, and
/// beyond that as `strictness` asks. No validity dates are looked at unless it asks for them, because
/// no kernel does.
///
/// A form without a signature is rejected, also beside forms with one: nobody vouches for it.
#[must_use]
pub fn verify(artifact: &Artifact, trust: &TrustStore, strictness: &Strictness) -> VerifyReport {
    let forms = artifact.forms.iter().map(|form| {
        let LoaderForm::Sealed { instructions, seal } = form else {
            return FormVerdict::Rejected(Box::new(RejectedForm::unsigned()));
        };
        let sealed = SealedLoader {
            instructions,
            metadata: &artifact.metadata,
            seal,
        };
        match verify_form(&sealed, artifact.endian, trust, strictness) {
            Ok(attestation) => FormVerdict::Good(Box::new(GoodForm::new(&sealed, &attestation))),
            Err(rejection) => {
                let form = RejectedForm::new(seal.scheme, &rejection);
                FormVerdict::Rejected(Box::new(form))
            }
        }
    });
    let mut forms: Vec<FormVerdict> = forms.collect();
    let decisive = forms.iter().find(|form| !form.is_good()).or(forms.first());
    let decisive = match decisive {
        Some(form) => form.clone(),
        None => FormVerdict::Rejected(Box::new(RejectedForm::unsigned())),
    };
    if forms.len() < 2 {
        forms.clear();
    }
    let mut report = VerifyReport {
        schema: VerifySchema::V1,
        artifact: artifact.interface.name.to_string(),
        summary: String::new(),
        byte_order: artifact
            .forms
            .first()
            .map_or(artifact.endian, |form| {
                byte_order(form.instructions(), artifact.endian)
            })
            .into(),
        untrusted: untrusted(trust),
        decisive,
        schemes: forms,
    };
    report.summary = report.summarize();
    report
}

/// Verifies one form of an artifact.
///
/// # Errors
/// Why it is rejected.
pub(crate) fn verify_form(
    sealed: &SealedLoader<'_>,
    endian: Endian,
    trust: &TrustStore,
    strictness: &Strictness,
) -> Result<Attestation, Rejection> {
    let attestation = sealed.verify(trust)?;
    check_byte_order(byte_order(sealed.instructions, endian), trust)?;
    // Kernels of the in-loader schemes take this signature too, and ask for no list of maps.
    let checks = recognise(sealed.instructions, &sha256(sealed.metadata));
    if sealed.seal.scheme == Scheme::Hornet && checks.is_none() {
        return Err(Rejection::BlankCheque);
    }
    attestation.check(strictness, trust)?;
    Ok(attestation)
}

/// The byte order of a loader's instructions. Loaders begin with `r6 = r1`, which says it; other
/// code does not, and is what its file says.
fn byte_order(instructions: &[u8], said: Endian) -> Endian {
    match instructions {
        [0xbf, 0x16, ..] => Endian::Little,
        [0xbf, 0x61, ..] => Endian::Big,
        _ => said,
    }
}

/// A kernel reads instructions in its own byte order, and finds no loader in the other.
fn check_byte_order(loader: Endian, trust: &TrustStore) -> Result<(), Rejection> {
    let kernel = if trust.config().big_endian {
        Endian::Big
    } else {
        Endian::Little
    };
    if loader == kernel {
        return Ok(());
    }
    Err(Rejection::ByteOrder {
        loader: ByteOrder::from(loader).name(),
        kernel: ByteOrder::from(kernel).name(),
    })
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
    /// The verdict in one line, for people: what is good, what that does not cover, and which forms
    /// are rejected or not signed.
    pub summary: String,
    /// The byte order of the machines that the loader is for.
    pub byte_order: ByteOrder,
    /// Certificates that were given as trusted and are no trust anchors.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Vec::is_empty"))]
    pub untrusted: Vec<UntrustedReport>,
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

    /// Asks for a scheme: one of the good forms has to be signed by it, or by a stronger one that a
    /// kernel checks. Weaker forms do not make up for it.
    pub fn require(&mut self, min: Scheme) {
        let is_enough = |form: &FormVerdict| {
            let scheme = form.scheme();
            form.is_good() && scheme.is_some_and(|s| s.is_in_kernels() && s <= min)
        };
        if !self.is_good() || self.forms().iter().any(is_enough) {
            return;
        }
        let found = self.forms().iter().filter_map(FormVerdict::scheme);
        let found: Vec<&str> = found.map(Scheme::name).collect();
        let form = RejectedForm {
            scheme: self.decisive.scheme(),
            reason: format!(
                "no form is signed by {} or a stronger scheme; there is {}",
                min.name(),
                found.join(", ")
            ),
            check: "scheme",
            errno: None,
            help: "get an artifact that is sealed for it, or ask for a weaker scheme",
        };
        self.reject(form);
    }

    /// Says that the text of a skeleton is not what was generated, from this line on
    /// ([`Text::Other`](crate::artifact::Text::Other)): good bytes do not make up for it.
    pub fn refuse_text(&mut self, line: usize) {
        if !self.is_good() {
            return;
        }
        self.reject(RejectedForm {
            scheme: self.decisive.scheme(),
            reason: format!(
                "the bytes are good, the text around them is not what bpfseal or bpftool write: line {line}"
            ),
            check: "text",
            errno: None,
            help: "generate it again; or give --bytes-only to verify the loader's bytes alone",
        });
    }

    /// Rejects for what is no form's fault.
    fn reject(&mut self, form: RejectedForm) {
        self.summary.clone_from(&form.reason);
        self.decisive = FormVerdict::Rejected(Box::new(form));
    }

    /// What is good, what that does not cover, which forms are rejected or not signed.
    fn summarize(&self) -> String {
        let forms = self.forms();
        let good = forms.iter().filter(|form| form.is_good());
        let good: Vec<Scheme> = good.filter_map(FormVerdict::scheme).collect();
        let mut parts: Vec<String> = Vec::new();
        for form in forms {
            if let FormVerdict::Rejected(form) = form {
                parts.push(match form.scheme {
                    Some(scheme) if forms.len() > 1 => {
                        format!("{}: {}", scheme.name(), form.reason)
                    }
                    None if forms.len() > 1 => "one form is not signed".to_owned(),
                    _ => form.reason.clone(),
                });
            }
        }
        let is_good = parts.is_empty();
        if !good.is_empty() {
            let names: Vec<&str> = good.iter().map(|scheme| scheme.name()).collect();
            let (list, verb) = match names.as_slice() {
                [one] => ((*one).to_owned(), "is"),
                [first @ .., last] => (format!("{} and {last}", first.join(", ")), "are"),
                [] => (String::new(), ""),
            };
            let state = if is_good { "verified" } else { "good" };
            parts.push(format!("{list} {verb} {state}"));
        }
        let by = |wanted: fn(Scheme) -> bool| {
            let names = good.iter().copied().filter(|scheme| wanted(*scheme));
            let names: Vec<&str> = names.map(Scheme::name).collect();
            (!names.is_empty()).then(|| names.join(", "))
        };
        if is_good {
            if let Some(names) = by(Scheme::checks_in_loader) {
                let line = "no signature covers the metadata at admission, the loader checks it when it runs";
                parts.push(format!("{names}: {line}"));
            }
            if let Some(names) = by(|scheme| !scheme.is_in_kernels()) {
                parts.push(format!("{names}: no kernel checks it"));
            }
            parts.push("names and attach targets are not signed".to_owned());
        }
        parts.join("; ")
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
    /// The check that failed, as a word: `excl_prog_hash`, `metadata`, `scheme`, `form`,
    /// `signature`, `trust`, `byte-order`, `dates`, `usage`, `text` or `unsigned`.
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
            reason: "it is not signed".to_owned(),
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
