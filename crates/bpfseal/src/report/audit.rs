//! What a loader does when it runs, whether that is what an object says, and the verdict on it.

use std::collections::BTreeSet;

use super::parts::{FindingReport, Hex, HostInfluence};
use super::plan::{ProgramReport, Step};
use super::schema::schema;
use crate::artifact::{Artifact, LoaderForm};
use crate::loader::LoadPlan;
use crate::model::Symbols;
use crate::model::audit::{self as model, Audit, Powers, Reproduction, Subject, Unlike};
use crate::seal::Scheme;

schema!(
    /// Name and version of the schema.
    AuditSchema = "bpfseal/audit/1"
);

/// What an artifact is audited against, and what counts against it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct AuditOptions<'a> {
    /// The plan of the object that the artifact is said to be made of. Its object has to be read
    /// under the name of the artifact's interface.
    pub plan: Option<&'a LoadPlan>,
    /// The symbols of the kernel that the artifact is for.
    pub symbols: Option<&'a Symbols>,
    /// The reasons that make the verdict bad.
    pub fail_on: Vec<Reason>,
}

impl Default for AuditOptions<'_> {
    fn default() -> Self {
        Self {
            plan: None,
            symbols: None,
            fail_on: vec![Reason::NotReproduced, Reason::Finding, Reason::Differs],
        }
    }
}

/// What can count against an artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "kebab-case")
)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub enum Reason {
    /// The generator makes other bytes of what the loader does: nobody can say that it does that
    /// on a kernel, too.
    NotReproduced,
    /// The loader does something that no loader does, or it does not run.
    Finding,
    /// It has an instruction, jump or helper call that no loader has. Implies `finding`.
    UnknownInstruction,
    /// It carries out another plan than that of the object.
    Differs,
    /// A host can change what it installs.
    HostInfluenced,
    /// A program uses a helper or kernel symbol that the object does not use.
    NewCapability,
    /// The kernel lacks a symbol without which the loader does not load.
    MissingSymbol,
}

/// Whether something counts against an artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "lowercase")
)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Verdict {
    /// Something holds that was asked not to.
    Bad,
    /// Nothing does.
    Good,
}

/// Runs every form of an artifact in the model of the kernel, and judges what it does.
#[must_use]
pub fn audit(artifact: &Artifact, options: &AuditOptions<'_>) -> AuditReport {
    let mut first: Option<LoadPlan> = None;
    let forms: Vec<AuditedForm> = artifact
        .forms
        .iter()
        .map(|form| {
            let subject = Subject::of(artifact, form);
            let audit = model::audit(&subject);
            let mut report = AuditedForm::new(form, &audit, options);
            if let Some(symbols) = options.symbols {
                let lacking = model::lacking(&subject, symbols);
                report.kernel_lacks = Some(KernelLacks {
                    loads: lacking.returned == Ok(0),
                    symbols: lacking.symbols,
                });
            }
            match &first {
                Some(first) => {
                    report.same_as_first = model::compare(&audit.plan, first).is_empty();
                }
                None => first = Some(audit.plan),
            }
            report.judge(&options.fail_on);
            report
        })
        .collect();
    let bad = forms.iter().any(|form| form.verdict == Verdict::Bad);
    AuditReport {
        schema: AuditSchema::V1,
        artifact: artifact.interface.name.to_string(),
        object: None,
        verdict: if bad { Verdict::Bad } else { Verdict::Good },
        forms,
    }
}

/// What the loader of an artifact does, and the verdict on it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct AuditReport {
    /// Name and version of the schema.
    pub schema: AuditSchema,
    /// The file, or else the name of the object.
    pub artifact: String,
    /// The file of the object that it was compared with, if the caller says so.
    pub object: Option<String>,
    /// `bad` when that of any form is.
    pub verdict: Verdict,
    /// Each form of the loader, strongest scheme first.
    pub forms: Vec<AuditedForm>,
}

impl AuditReport {
    /// Whether no reason of [`AuditOptions::fail_on`] holds for any form.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.verdict == Verdict::Good
    }
}

/// What one form of a loader does.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct AuditedForm {
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
    /// Whether a reason that was asked for holds.
    pub verdict: Verdict,
    /// All reasons that hold, whether they were asked for or not.
    pub reasons: Vec<Reason>,
    /// What the scheme attests to; none for a form without a signature.
    pub attests: Option<&'static str>,
    /// SHA-256 of the instructions, which the metadata map is bound to.
    pub excl_prog_hash: Hex,
    /// Whether the generator makes the same bytes of what the loader does.
    pub reproduction: ReproductionReport,
    /// Whether it carries out the plan of the first form.
    pub same_as_first: bool,
    /// What the loader does, in order.
    pub steps: Vec<Step>,
    /// The programs that it loads.
    pub programs: Vec<ProgramReport>,
    /// What it does that loaders do not do.
    pub findings: Vec<FindingReport>,
    /// What a host can change of what it installs.
    pub host_influences: Vec<HostInfluence>,
    /// Whether it carries out the plan of the object; none without an object.
    pub same_as_object: Option<bool>,
    /// Where it differs from the plan of the object; none without an object.
    pub differences: Option<Vec<Difference>>,
    /// Helpers and kernel symbols that its programs use, and those of the object do not.
    pub new_capabilities: Vec<String>,
    /// Helpers and kernel symbols that the programs of the object use, and its own do not.
    pub lost_capabilities: Vec<String>,
    /// What the kernel lacks that was given; none without a kernel.
    pub kernel_lacks: Option<KernelLacks>,
}

impl AuditedForm {
    fn new(form: &LoaderForm, audit: &Audit, options: &AuditOptions<'_>) -> Self {
        let used = capabilities(&audit.powers);
        let (gained, lost) = match options.plan {
            Some(plan) => {
                let powers: Vec<Powers> = plan.programs().map(Powers::of).collect();
                let allowed = capabilities(&powers);
                let only = |these: &BTreeSet<String>, those: &BTreeSet<String>| {
                    these.difference(those).cloned().collect()
                };
                (only(&used, &allowed), only(&allowed, &used))
            }
            None => (Vec::new(), Vec::new()),
        };
        let differences = options.plan.map(|plan| {
            let all = model::compare(&audit.plan, plan);
            let report = |one: &model::Difference| Difference::new(one, one.as_fault());
            all.iter().map(report).collect::<Vec<_>>()
        });
        let scheme = form.seal().map(|seal| seal.scheme);
        Self {
            scheme,
            verdict: Verdict::Good,
            reasons: Vec::new(),
            attests: scheme.map(Scheme::attests),
            excl_prog_hash: form.excl_prog_hash().into(),
            reproduction: (&audit.reproduction).into(),
            same_as_first: true,
            steps: Step::all_of(&audit.plan),
            programs: ProgramReport::all_of(&audit.plan, &audit.powers),
            findings: FindingReport::all_of(audit),
            host_influences: HostInfluence::all_of(audit),
            same_as_object: differences.as_ref().map(Vec::is_empty),
            differences,
            new_capabilities: gained,
            lost_capabilities: lost,
            kernel_lacks: None,
        }
    }

    /// Finds the reasons that hold, and the verdict.
    fn judge(&mut self, fail_on: &[Reason]) {
        let holds = |reason: Reason| match reason {
            Reason::NotReproduced => !self.reproduction.reproduced,
            Reason::Finding => !self.findings.is_empty(),
            Reason::UnknownInstruction => self.findings.iter().any(|f| f.kind == "fault"),
            Reason::Differs => self.same_as_object == Some(false),
            Reason::HostInfluenced => !self.host_influences.is_empty(),
            Reason::NewCapability => !self.new_capabilities.is_empty(),
            Reason::MissingSymbol => self.kernel_lacks.as_ref().is_some_and(|l| !l.loads),
        };
        let reasons: Vec<Reason> = Reason::ALL.into_iter().filter(|r| holds(*r)).collect();
        if reasons.iter().any(|reason| fail_on.contains(reason)) {
            self.verdict = Verdict::Bad;
        }
        self.reasons = reasons;
    }
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::NotReproduced,
        Self::Finding,
        Self::UnknownInstruction,
        Self::Differs,
        Self::HostInfluenced,
        Self::NewCapability,
        Self::MissingSymbol,
    ];
}

/// Whether a loader is byte for byte what the generator makes of what it does. Only then is it sure
/// that it does the same on every kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ReproductionReport {
    /// Whether it is.
    pub reproduced: bool,
    /// The first instruction that the generator writes otherwise; none where the instructions are
    /// the same, or where no loader can be generated.
    pub instruction: Option<usize>,
    /// The first byte of the metadata that the generator writes otherwise; none where it is the
    /// same, or an instruction differs.
    pub metadata_offset: Option<usize>,
    /// The answer in words.
    pub text: String,
}

impl From<&Reproduction> for ReproductionReport {
    fn from(reproduction: &Reproduction) -> Self {
        let (instruction, metadata_offset) = match reproduction {
            Reproduction::Differs(Unlike::Instruction { insn, .. }) => (Some(*insn), None),
            Reproduction::Differs(Unlike::Metadata { offset, .. }) => (None, Some(*offset)),
            _ => (None, None),
        };
        Self {
            reproduced: reproduction.is_reproduced(),
            instruction,
            metadata_offset,
            text: reproduction.to_string(),
        }
    }
}

/// What programs use of the kernel.
fn capabilities(powers: &[Powers]) -> BTreeSet<String> {
    let each = |one: &Powers| one.helpers.union(&one.symbols).cloned().collect::<Vec<_>>();
    powers.iter().flat_map(each).collect()
}

/// What a kernel lacks that a loader looks up.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct KernelLacks {
    /// Symbols that it does not have, in the order in which they are looked up.
    pub symbols: Vec<String>,
    /// Whether the loader loads without them.
    pub loads: bool,
}

/// Something in which two plans differ.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Difference {
    /// Which step: what it is about, such as ``map 0 (`counts`)``.
    pub of: String,
    /// What changed, from the older plan or that of the object to the newer one or the loader's.
    #[cfg_attr(feature = "serde", serde(flatten))]
    pub change: Change,
    /// The difference in words.
    pub text: String,
}

/// What is different: from one plan (the older one, or that of an object) to another (the newer
/// one, or what a loader does).
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(tag = "change", rename_all = "kebab-case")
)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub enum Change {
    /// The step is there, and was not.
    Added,
    /// Some of the bytes changed.
    #[non_exhaustive]
    Bytes {
        /// How many.
        count: usize,
        /// The first of them.
        first: usize,
        /// Its value before.
        from: u8,
        /// Its value after.
        to: u8,
    },
    /// Helpers and kernel symbols are used that were not.
    #[non_exhaustive]
    Gained {
        /// Their names.
        names: Vec<String>,
    },
    /// Some of the instructions changed.
    #[non_exhaustive]
    Instructions {
        /// How many.
        count: usize,
        /// The first of them.
        first: usize,
    },
    /// Kernel symbols are not used any more.
    #[non_exhaustive]
    Lost {
        /// Their names.
        names: Vec<String>,
    },
    /// The step comes before others that it came after.
    Moved,
    /// Records beside the instructions changed.
    #[non_exhaustive]
    Records {
        /// Which records.
        what: &'static str,
    },
    /// The step is gone.
    Removed,
    /// The same kernel symbols are used in another way.
    Symbols,
    /// A value changed.
    #[non_exhaustive]
    Value {
        /// Its name.
        name: &'static str,
        /// The value before.
        from: String,
        /// The value after.
        to: String,
    },
}

impl Difference {
    pub(super) fn new(difference: &model::Difference, text: String) -> Self {
        Self {
            of: difference.of.clone(),
            change: (&difference.change).into(),
            text,
        }
    }
}

impl From<&model::Change> for Change {
    fn from(change: &model::Change) -> Self {
        match change {
            model::Change::Added => Self::Added,
            model::Change::Bytes {
                count,
                first,
                found,
                wanted,
            } => Self::Bytes {
                count: *count,
                first: *first,
                from: *wanted,
                to: *found,
            },
            model::Change::Gained(names) => Self::Gained {
                names: names.clone(),
            },
            model::Change::Instructions { count, first } => Self::Instructions {
                count: *count,
                first: *first,
            },
            model::Change::LeftOut => Self::Removed,
            model::Change::Lost(names) => Self::Lost {
                names: names.clone(),
            },
            model::Change::Records(what) => Self::Records { what },
            model::Change::TooEarly => Self::Moved,
            model::Change::Value {
                name,
                found,
                wanted,
            } => Self::Value {
                name,
                from: wanted.clone(),
                to: found.clone(),
            },
            // Of those that this version does not know, the words say what there is to say.
            _ => Self::Symbols,
        }
    }
}
