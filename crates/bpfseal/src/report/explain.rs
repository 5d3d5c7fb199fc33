//! Which kernels take an artifact, and why the others do not.

use super::parts::{UntrustedReport, untrusted};
use super::schema::schema;
use crate::artifact::install::{Code, Refusal};
use crate::artifact::{Artifact, LoaderForm};
use crate::model::Symbols;
use crate::model::explain::{Explanation, Setting, describe_admission};
use crate::model::kernel::{Admission, Policy, Profile};
use crate::seal::{Scheme, TrustStore};
use crate::uapi::KeyringId;

bpfseal_object::debug_as_chain!(UnknownKernel);

schema!(
    /// Name and version of the schema.
    ExplainSchema = "bpfseal/explain/1"
);

/// Which kernels are asked, and what they have.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ExplainOptions {
    /// Certificates of the keyring that the load names.
    pub keyring: TrustStore,
    /// That keyring.
    pub keyring_id: KeyringId,
    /// Policies of security modules, in the order in which they are asked.
    pub policies: Vec<Policy>,
    /// Symbols that the kernels have.
    pub symbols: Symbols,
    /// The kernels, as they were named.
    kernels: Vec<(String, Profile)>,
}

/// A kernel that is not known.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is no kernel: give a version such as 7.3, `all`, or one of {}", Profile::ALL.map(Profile::name).join(", "))]
#[non_exhaustive]
pub struct UnknownKernel {
    /// What was given.
    pub name: String,
}

impl ExplainOptions {
    /// Kernels with these certificates in the session keyring. None is asked yet.
    #[must_use]
    pub fn new(keyring: TrustStore) -> Self {
        Self {
            keyring,
            keyring_id: KeyringId::SESSION,
            policies: Vec::new(),
            symbols: Symbols::All,
            kernels: Vec::new(),
        }
    }

    /// Asks a kernel: a version such as `7.3` or `6.19.14`, a proposal (`hash-chain`, `hornet`), or
    /// `all` that are known.
    ///
    /// # Errors
    /// [`UnknownKernel`] for anything else.
    pub fn ask(&mut self, name: &str) -> Result<(), UnknownKernel> {
        if name == "all" {
            let all = Profile::ALL.map(|profile| (profile.name().to_owned(), profile));
            self.kernels.extend(all);
            return Ok(());
        }
        let profile = Profile::of(name).ok_or_else(|| UnknownKernel {
            name: name.to_owned(),
        })?;
        self.kernels.push((name.to_owned(), profile));
        Ok(())
    }
}

/// Asks a model of each kernel whether it takes an artifact. The forms are tried as
/// [`crate::load`] does, strongest scheme first.
#[must_use]
pub fn explain(artifact: &Artifact, options: &ExplainOptions) -> ExplainReport {
    let answer = |(name, profile): &(String, Profile)| {
        let setting = Setting {
            keyring_id: options.keyring_id.0,
            policies: options.policies.clone(),
            symbols: options.symbols.clone(),
            ..Setting::new(*profile, &options.keyring)
        };
        let forms = artifact.forms.iter().map(|form| {
            let explanation = crate::model::explain::explain(artifact, form, &setting);
            let mut answer = FormAnswer::from(explanation);
            if answer.accepted {
                answer.refusal = not_loaded(artifact, form, *profile);
                answer.accepted = answer.refusal.is_none();
            }
            answer
        });
        KernelAnswer::new(name.clone(), *profile, forms.collect())
    };
    ExplainReport {
        schema: ExplainSchema::V1,
        artifact: artifact.interface.name.to_string(),
        untrusted: untrusted(&options.keyring),
        kernels: options.kernels.iter().map(answer).collect(),
    }
}

/// Why [`crate::load`] does not load what a kernel would take: a kernel knows nothing of labels, and
/// takes some signatures for more than they were made for.
fn not_loaded(artifact: &Artifact, form: &LoaderForm, profile: Profile) -> Option<RefusalReport> {
    let label = form.seal()?.scheme;
    // One form that was changed spoils the artifact.
    let mismatch = artifact.sealed().find_map(|sealed| sealed.check().err());
    let (code, meaning) = if let Some(mismatch) = mismatch {
        (Code::Mismatch, mismatch.to_string())
    } else {
        // The kernels of one in-loader scheme take the other's loaders, where they can.
        if Some(label) == profile.scheme() || label.checks_in_loader() {
            return None;
        }
        (Code::OtherScheme, Code::OtherScheme.meaning().to_owned())
    };
    Some(RefusalReport {
        step: InstallStep {
            name: "none",
            text: "before the kernel is asked",
            command: "none",
        },
        errno: "none".to_owned(),
        log: Vec::new(),
        code,
        meaning,
        module: None,
        help: None,
    })
}

/// What kernels answer to an artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ExplainReport {
    /// Name and version of the schema.
    pub schema: ExplainSchema,
    /// The file, or else the name of the object.
    pub artifact: String,
    /// Certificates that were to be in the keyring, and that the kernel would not take into it.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Vec::is_empty"))]
    pub untrusted: Vec<UntrustedReport>,
    /// Each kernel that was asked.
    pub kernels: Vec<KernelAnswer>,
}

impl ExplainReport {
    /// Whether every kernel that was asked takes the artifact.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.kernels.iter().all(|kernel| kernel.accepted)
    }
}

/// What one kernel answers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct KernelAnswer {
    /// The kernel, as it was named.
    pub kernel: String,
    /// The kernel of the model that stands for it.
    pub profile: &'static str,
    /// Which kernels that one stands for, in words.
    pub kernels: &'static str,
    /// Whether it takes a form of the artifact.
    pub accepted: bool,
    /// Which form decides: the first that is taken, or that of the kernel's own scheme, or the
    /// first.
    pub decisive: usize,
    /// What it answers to each form, strongest scheme first.
    pub forms: Vec<FormAnswer>,
}

impl KernelAnswer {
    fn new(kernel: String, profile: Profile, forms: Vec<FormAnswer>) -> Self {
        let taken = forms.iter().position(|form| form.accepted);
        let own = forms
            .iter()
            .position(|form| form.scheme == profile.scheme());
        Self {
            kernel,
            profile: profile.name(),
            kernels: profile.kernels(),
            accepted: taken.is_some(),
            decisive: taken.or(own).unwrap_or(0),
            forms,
        }
    }

    /// The form that decides.
    #[must_use]
    pub fn decisive_form(&self) -> Option<&FormAnswer> {
        self.forms.get(self.decisive)
    }
}

/// What a kernel answers to one form of an artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct FormAnswer {
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
    /// Whether the kernel takes it.
    pub accepted: bool,
    /// Why it does not.
    #[cfg_attr(feature = "serde", serde(flatten))]
    pub refusal: Option<RefusalReport>,
    /// What security modules are told, in order: of the loader, then of what it installs.
    pub admissions: Vec<AdmissionReport>,
    /// Why the run of the loader was not followed to its end.
    pub not_run: Option<String>,
}

/// Why a kernel refuses a form.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct RefusalReport {
    /// At which step.
    pub step: InstallStep,
    /// The kernel's answer: the errno's name; `none` where the kernel would take it, and `load` does
    /// not ask it.
    pub errno: String,
    /// What the kernel logs.
    pub log: Vec<String>,
    /// What that means, in a word.
    #[cfg_attr(feature = "serde", serde(serialize_with = "super::names::code"))]
    #[cfg_attr(feature = "schema", schemars(with = "super::names::CodeName"))]
    pub code: Code,
    /// What that means.
    pub meaning: String,
    /// The security module that refuses it, where it is one.
    pub module: Option<&'static str>,
    /// What to do. The library leaves it to whoever talks to people; the command fills it in.
    pub help: Option<&'static str>,
}

/// A step of loading an artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct InstallStep {
    /// Its name, as a word; `none` before the first.
    pub name: &'static str,
    /// The step in words.
    pub text: &'static str,
    /// The command of `bpf(2)`.
    pub command: &'static str,
}

impl From<&Refusal> for InstallStep {
    fn from(refusal: &Refusal) -> Self {
        Self {
            name: refusal.step.name(),
            text: refusal.describe_step(),
            command: refusal.step.command().call(),
        }
    }
}

impl From<Refusal> for RefusalReport {
    fn from(refusal: Refusal) -> Self {
        Self {
            step: (&refusal).into(),
            errno: refusal.errno.to_string(),
            log: refusal.log.lines().map(str::to_owned).collect(),
            code: refusal.code,
            meaning: refusal.to_string(),
            module: refusal.module,
            help: None,
        }
    }
}

/// What a security module is told of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct AdmissionReport {
    /// Name of the program.
    pub program: String,
    /// Whether it is the kernel that loads it, for a loader.
    pub kernel: bool,
    /// Whether the kernel recorded that it is verified.
    pub verified: bool,
    /// What the module is told, in words.
    pub told: String,
    /// Whether it was loaded.
    pub loaded: bool,
}

impl From<&Admission> for AdmissionReport {
    fn from(admission: &Admission) -> Self {
        Self {
            program: admission.name.clone(),
            kernel: admission.caller.is_kernel(),
            verified: admission.verdict.verified,
            told: describe_admission(admission),
            loaded: admission.loaded,
        }
    }
}

impl From<Explanation> for FormAnswer {
    fn from(explanation: Explanation) -> Self {
        Self {
            scheme: explanation.scheme,
            accepted: explanation.refusal.is_none(),
            admissions: explanation.admissions.iter().map(Into::into).collect(),
            not_run: explanation.not_run.map(|fault| fault.to_string()),
            refusal: explanation.refusal.map(Into::into),
        }
    }
}
