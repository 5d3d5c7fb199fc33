//! `bpfseal diff`: what changed between two objects or artifacts?

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use bpfseal::artifact::Artifact;
use bpfseal::loader::LoadPlan;
use bpfseal::loader::plan::ProgramLoad;
use bpfseal::model::audit::{Change, Difference, Subject, audit, compare};
use bpfseal::model::disasm::{PlanNames, disassemble};
use bpfseal::object::Object;
use bpfseal::seal::SignatureSummary;
use serde_json::{Value, json};
use similar::{ChangeTag, TextDiff};

use crate::Outcome;
use crate::args::name_of;
use crate::failure::{Failure, Report};
use crate::files;
use crate::host::{HostArgs, Values};
use crate::input::{SealFile, is_object};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "For the review of an update. Of an artifact it is what its loader does that is \
    compared, found out by running it in the model; so an object can be held against an artifact, \
    too.\n\nExamples:\n  \
    bpfseal diff old.bpf.o new.bpf.o\n  \
    bpfseal diff vendor-1.bpfseal vendor-2.bpfseal --exit-code\n\n\
    Exit codes: 0 done, 1 they differ and --exit-code was given, 2 wrong usage, 3 an input can not \
    be read."
)]
pub(crate) struct Args {
    /// The old one: an object or an artifact
    #[arg(value_name = "A")]
    old: PathBuf,

    /// The new one
    #[arg(value_name = "B")]
    new: PathBuf,

    /// End with exit code 1 when they differ
    #[arg(long)]
    exit_code: bool,

    /// Leave out the instructions
    #[arg(long)]
    brief: bool,

    /// Print as JSON
    #[arg(long)]
    json: bool,

    /// Name of both objects instead of those of their files: it is in the names of their maps
    #[arg(long)]
    name: Option<String>,

    #[command(flatten)]
    host: HostArgs,
}

/// One of the two.
struct Side {
    place: String,
    plan: LoadPlan,
    /// Schemes with the signers of each; none for an object.
    signatures: Vec<String>,
    findings: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let host = args.host.load()?;
    let name = common_name(args)?;
    let old = Side::read(&args.old, &name, &host)?;
    let new = Side::read(&args.new, &name, &host)?;
    let changes = compare(&new.plan, &old.plan);
    // An object has none to compare.
    let both = !old.signatures.is_empty() && !new.signatures.is_empty();
    let signed = both && old.signatures != new.signatures;
    let same = changes.is_empty() && !signed && old.findings == new.findings;
    if args.json {
        let whole = to_json(&old, &new, &changes, same);
        files::print(&format!("{whole:#}\n"));
    } else {
        files::print(&to_text(&old, &new, &changes, same, args.brief));
    }
    if args.exit_code && !same {
        Err(Failure::Rejected)
    } else {
        Ok(())
    }
}

/// The name that objects are read under: the same for both, so that the same object in another
/// file is the same object; that of the artifact, where one of them is.
fn common_name(args: &Args) -> Result<String, Failure> {
    if let Some(name) = &args.name {
        return Ok(name.clone());
    }
    for path in [&args.new, &args.old] {
        // Standard input is read once.
        if files::is_stdio(path) {
            continue;
        }
        let bytes = files::read(path)?;
        if !is_object(&bytes) {
            let artifact = SealFile::default().artifact_of(&files::shown(path), &bytes)?;
            return Ok(artifact.interface.name.into_owned());
        }
    }
    name_of(&args.new, None)
}

impl Side {
    fn read(path: &Path, name: &str, host: &Values) -> Result<Self, Failure> {
        let place = files::shown(path);
        let bytes = files::read(path)?;
        if is_object(&bytes) {
            let object =
                Object::parse(&bytes, name).map_err(|e| Report::new(&place, &e, e.advice()))?;
            let plan =
                LoadPlan::new(&object, host).map_err(|e| Report::new(&place, &e, e.advice()))?;
            return Ok(Self {
                place,
                plan,
                signatures: Vec::new(),
                findings: Vec::new(),
            });
        }
        let artifact = SealFile::default().artifact_of(&place, &bytes)?;
        let form = artifact.forms.first().ok_or(Failure::Rejected)?;
        let audit = audit(&Subject::of(&artifact, form));
        let findings = audit.findings.iter().map(ToString::to_string);
        let influences = audit
            .influences
            .iter()
            .map(|i| format!("a host gives {}", i.what));
        Ok(Self {
            findings: findings.chain(influences).collect(),
            signatures: signatures(&artifact),
            plan: audit.plan,
            place,
        })
    }
}

/// What each signature says of itself.
fn signatures(artifact: &Artifact) -> Vec<String> {
    let mut all = Vec::new();
    for sealed in artifact.sealed() {
        let scheme = sealed.seal.scheme.name();
        match SignatureSummary::parse(&sealed.seal.signature) {
            Ok(summary) => all.extend(
                summary
                    .signers
                    .iter()
                    .map(|signer| format!("{scheme}: {}, {}", signer.id, signer.algorithm)),
            ),
            Err(rejection) => all.push(format!("{scheme}: {rejection}")),
        }
    }
    if all.is_empty() {
        all.push("not signed".to_owned());
    }
    all
}

/// Programs by the name that the kernel keeps, as text.
fn listings(plan: &LoadPlan) -> BTreeMap<String, Vec<String>> {
    let listing = |program: &ProgramLoad| {
        let lines = disassemble(&program.insns, &PlanNames { plan, program });
        let lines = lines.into_iter().map(|line| line.text + "\n");
        let name: String = program.name.chars().take(15).collect();
        (name, lines.collect())
    };
    plan.programs().map(listing).collect()
}

/// Lines of an instruction listing around a change.
const CONTEXT: usize = 3;

fn code_changes(old: &Side, new: &Side) -> BTreeMap<String, String> {
    let (before, after) = (listings(&old.plan), listings(&new.plan));
    let mut all = BTreeMap::new();
    for (name, lines) in &after {
        let Some(earlier) = before.get(name).filter(|earlier| *earlier != lines) else {
            continue;
        };
        let (earlier, lines) = (earlier.concat(), lines.concat());
        let diff = TextDiff::from_lines(&earlier, &lines);
        let mut text = String::new();
        for group in diff.grouped_ops(CONTEXT) {
            if let Some(first) = group.first() {
                let _ = writeln!(text, "@@ line {}", first.new_range().start + 1);
            }
            for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
                let sign = match change.tag() {
                    ChangeTag::Delete => '-',
                    ChangeTag::Insert => '+',
                    ChangeTag::Equal => ' ',
                };
                let _ = write!(text, "{sign} {}", change.value());
            }
        }
        all.insert(name.clone(), text);
    }
    all
}

/// What programs use that they did not.
fn gained(changes: &[Difference]) -> Vec<String> {
    let names = changes
        .iter()
        .filter_map(|difference| match &difference.change {
            Change::Gained(names) => Some(names.clone()),
            _ => None,
        });
    let mut all: Vec<String> = names.flatten().collect();
    all.sort();
    all.dedup();
    all
}

fn to_text(old: &Side, new: &Side, changes: &[Difference], same: bool, brief: bool) -> String {
    let mut out = format!("{} -> {}\n", old.place, new.place);
    if same {
        out.push_str("  the same\n");
        return out;
    }
    for (sign, gone, there) in [
        ('-', &old.signatures, &new.signatures),
        ('+', &new.signatures, &old.signatures),
    ] {
        let both = !gone.is_empty() && !there.is_empty();
        for signature in gone
            .iter()
            .filter(|signature| both && !there.contains(signature))
        {
            let _ = writeln!(out, "  {sign} signed {signature}");
        }
    }
    for finding in new.findings.iter().filter(|f| !old.findings.contains(f)) {
        let _ = writeln!(out, "  + {finding}");
    }
    for difference in changes {
        let _ = writeln!(out, "  {}: {}", difference.of, difference.as_change());
    }
    let gained = gained(changes);
    if !gained.is_empty() {
        let _ = writeln!(out, "  new capabilities: {}", gained.join(", "));
    }
    if !brief {
        for (name, text) in code_changes(old, new) {
            let _ = writeln!(out, "\nprogram `{name}`:\n{}", text.trim_end());
        }
    }
    out
}

fn to_json(old: &Side, new: &Side, changes: &[Difference], same: bool) -> Value {
    let changes_json: Vec<Value> = changes
        .iter()
        .map(|d| json!({ "of": d.of, "change": d.as_change() }))
        .collect();
    let side = |side: &Side| {
        json!({
            "file": side.place,
            "signatures": side.signatures,
            "findings": side.findings,
        })
    };
    json!({
        "same": same,
        "old": side(old),
        "new": side(new),
        "changes": changes_json,
        "new_capabilities": gained(changes),
        "instructions": code_changes(old, new),
    })
}
