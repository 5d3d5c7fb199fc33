//! What changed between two objects or artifacts.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use imara_diff::{Algorithm, Diff, Hunk, InternedInput, Token};

use super::audit::{Change, Difference};
use super::parts::SignerReport;
use super::schema::schema;
use crate::artifact::{Artifact, LoaderForm};
use crate::loader::plan::ProgramLoad;
use crate::loader::{EmitOptions, Form, LoadPlan, Loader};
use crate::model::audit::{self as model, Subject};
use crate::model::disasm::{PlanNames, disassemble};
use crate::seal::{Scheme, SignatureSummary};

schema!(
    /// Name and version of the schema.
    DiffSchema = "bpfseal/diff/1"
);

/// One of two that are compared: an object's plan, or what the loader of an artifact does.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DiffSide {
    plan: LoadPlan,
    report: SideReport,
    /// Digests of the instructions and the metadata of a loader that could not be reproduced: it is
    /// the same as another only if its bytes are.
    opaque: Option<[[u8; 32]; 2]>,
}

impl DiffSide {
    /// An object, by its plan. Both objects have to be read under the same name: it is in the
    /// names of their maps.
    #[must_use]
    pub fn object(file: &str, plan: LoadPlan) -> Self {
        let loader = Loader::new(&plan, EmitOptions::new(Form::Signed));
        let no_loader = loader.err();
        Self {
            plan,
            report: SideReport {
                file: file.to_owned(),
                artifact: false,
                signatures: Vec::new(),
                findings: Vec::new(),
                not_reproduced: None,
                no_loader: no_loader.map(|error| format!("{error}; {}", error.advice())),
            },
            opaque: None,
        }
    }

    /// An artifact: its strongest form is run in the model.
    #[must_use]
    pub fn artifact(file: &str, artifact: &Artifact) -> Self {
        // Without a form there is nothing that runs, which the audit says.
        let nothing = LoaderForm::Unsigned {
            instructions: Vec::new(),
        };
        let form = artifact.forms.first().unwrap_or(&nothing);
        let audit = model::audit(&Subject::of(artifact, form));
        let findings = audit.findings.iter().map(ToString::to_string);
        let influences = audit
            .influences
            .iter()
            .map(|influence| format!("a host gives {}", influence.what));
        let reproduced = audit.reproduction.is_reproduced();
        let opaque = (!reproduced).then(|| {
            let metadata = crate::seal::sha256(&artifact.metadata);
            [crate::seal::sha256(form.instructions()), metadata]
        });
        let report = SideReport {
            file: file.to_owned(),
            artifact: true,
            signatures: SignatureClaim::all_of(artifact),
            findings: findings.chain(influences).collect(),
            not_reproduced: (!reproduced).then(|| audit.reproduction.to_string()),
            no_loader: None,
        };
        Self {
            plan: audit.plan,
            report,
            opaque,
        }
    }
}

/// Compares two objects or artifacts, an older one and a newer one.
#[must_use]
pub fn diff(old: &DiffSide, new: &DiffSide) -> DiffReport {
    let differences = model::compare(&new.plan, &old.plan);
    let changes: Vec<Difference> = differences
        .iter()
        .map(|one| Difference::new(one, one.as_change()))
        .collect();
    let (before, after) = (&old.report, &new.report);
    // An object has no signatures to compare.
    let signed = before.artifact && after.artifact && before.signatures != after.signatures;
    DiffReport {
        schema: DiffSchema::V1,
        same: changes.is_empty()
            && !signed
            && before.findings == after.findings
            && old.opaque == new.opaque,
        old: before.clone(),
        new: after.clone(),
        new_capabilities: names_of(&changes, |change| match change {
            Change::Gained { names } => Some(names),
            _ => None,
        }),
        lost_capabilities: names_of(&changes, |change| match change {
            Change::Lost { names } => Some(names),
            _ => None,
        }),
        changes,
        instructions: code_changes(&old.plan, &new.plan),
    }
}

/// What changed between two objects or artifacts.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct DiffReport {
    /// Name and version of the schema.
    pub schema: DiffSchema,
    /// Whether nothing differs. A loader that is not reproduced is the same only as one of the
    /// same bytes.
    pub same: bool,
    /// The older one.
    pub old: SideReport,
    /// The newer one.
    pub new: SideReport,
    /// What changed in what is installed.
    pub changes: Vec<Difference>,
    /// Helpers and kernel symbols that programs use now, and did not.
    pub new_capabilities: Vec<String>,
    /// Kernel symbols that programs do not use any more.
    pub lost_capabilities: Vec<String>,
    /// By program: the changed lines of its instructions, as in a unified diff.
    pub instructions: BTreeMap<String, String>,
}

/// One of the two.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct SideReport {
    /// The file.
    pub file: String,
    /// Whether it is an artifact; else it is an object.
    pub artifact: bool,
    /// What the signatures of an artifact say of themselves.
    pub signatures: Vec<SignatureClaim>,
    /// What the loader of an artifact does that loaders do not do, and what a host can change, in
    /// words.
    pub findings: Vec<String>,
    /// Why it is not sure what the loader of an artifact does: the generator makes other bytes of
    /// what it does in the model. None where it makes the same, and for an object.
    pub not_reproduced: Option<String>,
    /// Why no loader can be made of an object.
    pub no_loader: Option<String>,
}

/// What a signature says of itself. Nothing of it is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct SignatureClaim {
    /// The scheme.
    #[cfg_attr(feature = "serde", serde(serialize_with = "super::names::scheme"))]
    #[cfg_attr(feature = "schema", schemars(with = "super::names::SchemeName"))]
    pub scheme: Scheme,
    /// Who claims to have signed; none for a message that cannot be read.
    pub signer: Option<SignerReport>,
    /// How it was signed.
    pub algorithm: Option<String>,
    /// Why the message cannot be read.
    pub malformed: Option<String>,
}

impl SignatureClaim {
    fn all_of(artifact: &Artifact) -> Vec<Self> {
        let mut all = Vec::new();
        for sealed in artifact.sealed() {
            let scheme = sealed.seal.scheme;
            match SignatureSummary::parse(&sealed.seal.signature) {
                Ok(summary) => all.extend(summary.signers.iter().map(|signer| Self {
                    scheme,
                    signer: Some((&signer.id).into()),
                    algorithm: Some(signer.algorithm.to_string()),
                    malformed: None,
                })),
                Err(rejection) => all.push(Self {
                    scheme,
                    signer: None,
                    algorithm: None,
                    malformed: Some(rejection.reason()),
                }),
            }
        }
        all
    }
}

impl std::fmt::Display for SignatureClaim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: ", self.scheme.name())?;
        if let Some(signer) = &self.signer {
            write!(f, "{signer}, ")?;
        }
        let rest = self.algorithm.as_ref().or(self.malformed.as_ref());
        f.write_str(rest.map_or("", String::as_str))
    }
}

/// Names in changes of one kind, sorted.
fn names_of(changes: &[Difference], of: impl Fn(&Change) -> Option<&Vec<String>>) -> Vec<String> {
    let names = changes.iter().filter_map(|one| of(&one.change));
    let mut all: Vec<String> = names.flatten().cloned().collect();
    all.sort();
    all.dedup();
    all
}

/// Programs by the name that the kernel keeps, as text.
fn listings(plan: &LoadPlan) -> BTreeMap<String, String> {
    let listing = |program: &ProgramLoad| {
        let lines = disassemble(&program.insns, &PlanNames { plan, program });
        let lines = lines.into_iter().map(|line| line.text + "\n");
        let name: String = program.name.chars().take(15).collect();
        (name, lines.collect())
    };
    plan.programs().map(listing).collect()
}

/// Lines of an instruction listing around a change.
const CONTEXT: u32 = 3;

fn code_changes(old: &LoadPlan, new: &LoadPlan) -> BTreeMap<String, String> {
    let (before, after) = (listings(old), listings(new));
    let mut all = BTreeMap::new();
    for (name, lines) in &after {
        let Some(earlier) = before.get(name).filter(|earlier| *earlier != lines) else {
            continue;
        };
        all.insert(name.clone(), changed_lines(earlier, lines));
    }
    all
}

/// The lines that differ between two texts, with some around them.
fn changed_lines(before: &str, after: &str) -> String {
    let input = InternedInput::new(before, after);
    // Of tens of thousands of lines that differ, which ones belong together is found within a
    // bounded time, not at any price.
    let mut diff = Diff::compute(Algorithm::Histogram, &input);
    diff.postprocess_no_heuristic(&input);
    let mut text = String::new();
    let put = |text: &mut String, sign: char, tokens: &[Token]| {
        for token in tokens {
            let _ = write!(text, "{sign} {}", input.interner[*token]);
        }
    };
    let (old, new) = (&input.before, &input.after);
    let at = |line: u32| (line as usize).min(new.len());
    let mut end: Option<u32> = None;
    for Hunk { before, after } in diff.hunks() {
        match end {
            // Near enough to the change before it to show all that is between them.
            Some(end) if after.start - end <= 2 * CONTEXT => {
                put(&mut text, ' ', &new[at(end)..at(after.start)]);
            }
            _ => {
                if let Some(end) = end {
                    put(&mut text, ' ', &new[at(end)..at(end + CONTEXT)]);
                }
                let start = after.start.saturating_sub(CONTEXT);
                let _ = writeln!(text, "@@ line {}", start + 1);
                put(&mut text, ' ', &new[at(start)..at(after.start)]);
            }
        }
        put(
            &mut text,
            '-',
            &old[before.start as usize..before.end as usize],
        );
        put(&mut text, '+', &new[at(after.start)..at(after.end)]);
        end = Some(after.end);
    }
    if let Some(end) = end {
        put(&mut text, ' ', &new[at(end)..at(end + CONTEXT)]);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(before: &str, after: &str, expect: &str) {
        let text = |words: &str| words.replace(' ', "\n") + "\n";
        let found = changed_lines(&text(before), &text(after));
        assert_eq!(found.replace('\n', "|"), expect);
    }

    #[test]
    fn changes_stand_among_their_neighbours() {
        check("a b c", "a x c", "@@ line 1|  a|- b|+ x|  c|");
        check("a b c", "a c", "@@ line 1|  a|- b|  c|");
        check("a", "a b", "@@ line 1|  a|+ b|");
        // Six lines between two changes are shown, seven are not.
        check(
            "a 1 2 3 4 5 6 b",
            "x 1 2 3 4 5 6 y",
            "@@ line 1|- a|+ x|  1|  2|  3|  4|  5|  6|- b|+ y|",
        );
        check(
            "a 1 2 3 4 5 6 7 b",
            "x 1 2 3 4 5 6 7 y",
            "@@ line 1|- a|+ x|  1|  2|  3|@@ line 6|  5|  6|  7|- b|+ y|",
        );
    }
}
