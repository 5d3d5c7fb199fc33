//! `bpfseal audit`: what does a loader do, and is that the object?

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;

use bpfseal::artifact::{Artifact, LoaderForm};
use bpfseal::loader::LoadPlan;
use bpfseal::model::audit::{
    Audit, Difference, Finding, Lacking, Powers, Subject, audit, compare, lacking,
};
use bpfseal::object::Object;
use bpfseal::seal::hex;
use clap::ValueEnum;
use serde_json::{Value, json};

use crate::Outcome;
use crate::failure::{Failure, Report};
use crate::files;
use crate::host::HostArgs;
use crate::input::SealFile;
use crate::symbols::SymbolArgs;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "The loader is run in a model of the kernel that grants everything and writes down \
    what it is asked for: who made the loader, and how, does not matter. With --object that is held \
    against the plan of the object.\n\n\
    No signature is verified: for that there is `bpfseal verify`.\n\nExamples:\n  \
    bpfseal audit prog.bpfseal\n  \
    bpfseal audit prog.lskel.h --object prog.bpf.o\n  \
    bpfseal audit vendor.bpfseal --object prog.bpf.o --fail-on differs,new-capability --json\n\n\
    Exit codes: 0 good, 1 something of --fail-on, 2 wrong usage, 3 an input can not be read."
)]
pub(crate) struct Args {
    /// A bundle, a C or Rust light skeleton of ours, or one of bpftool's; with --seal an object;
    /// `-` is standard input
    #[arg(value_name = "ARTIFACT|OBJ")]
    artifact: PathBuf,

    #[command(flatten)]
    seal: SealFile,

    /// Object that the artifact is said to be made of
    #[arg(long, value_name = "OBJ")]
    object: Option<PathBuf>,

    /// What is a reason to end with exit code 1, with commas
    #[arg(
        long,
        value_name = "WHAT,…",
        value_delimiter = ',',
        default_value = "finding,differs"
    )]
    fail_on: Vec<FailOn>,

    /// Print as JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    symbols: SymbolArgs,

    #[command(flatten)]
    host: HostArgs,
}

/// Reasons to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FailOn {
    /// The loader does something that loaders do not do, or does not run
    Finding,
    /// Of that: it has an instruction, jump or helper that loaders do not have
    UnknownInstruction,
    /// It carries out another plan than that of the object
    Differs,
    /// A host can change what it installs
    HostInfluenced,
    /// A program uses a helper or kernel symbol that the object's does not
    NewCapability,
    /// The kernel of --kernel-btf or --kernel-symbols lacks something without which it does not load
    MissingSymbol,
    /// Nothing
    Never,
}

/// One form of an artifact, audited.
struct Audited<'a> {
    form: &'a LoaderForm,
    audit: Audit,
    differences: Option<Vec<Difference>>,
    /// What programs use that the object's do not.
    gained: BTreeSet<String>,
    /// What a kernel that was given lacks.
    lacking: Option<Lacking>,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let place = files::shown(&args.artifact);
    let artifact = args.seal.artifact(&args.artifact)?;
    let plan = args
        .object
        .as_ref()
        .map(|_| object_plan(args, &artifact))
        .transpose()?;
    let all: Vec<Audited<'_>> = artifact
        .forms
        .iter()
        .map(|form| {
            let mut one = Audited::new(form, &artifact, plan.as_ref());
            if args.symbols.given() {
                let subject = Subject::of(&artifact, form);
                let symbols = args.symbols.load(subject.endian)?;
                one.lacking = Some(lacking(&subject, &symbols));
            }
            Ok(one)
        })
        .collect::<Result<_, Failure>>()?;
    let failed = all.iter().any(|one| one.fails(&args.fail_on));
    if args.json {
        let forms: Vec<Value> = all.iter().map(|one| one.to_json(&args.fail_on)).collect();
        let verdict = if failed { "bad" } else { "good" };
        let whole = json!({ "artifact": place, "verdict": verdict, "forms": forms });
        files::print(&format!("{whole:#}\n"));
    } else {
        let first = &all[0].audit.plan;
        for (index, one) in all.iter().enumerate() {
            // What is the same is said once.
            let same = index > 0 && compare(&one.audit.plan, first).is_empty();
            files::print(&one.to_text(&place, args, same));
        }
    }
    if failed {
        Err(Failure::Rejected)
    } else {
        Ok(())
    }
}

/// The plan of the object, under the name that it had when it was sealed.
fn object_plan(args: &Args, artifact: &Artifact) -> Result<LoadPlan, Failure> {
    let Some(path) = &args.object else {
        return Err(Failure::Rejected);
    };
    let place = files::shown(path);
    let bytes = files::read(path)?;
    let host = args.host.load()?;
    let object = Object::parse(&bytes, &artifact.interface.name)
        .map_err(|e| Report::new(&place, &e, e.advice()))?;
    let plan = LoadPlan::new(&object, &host).map_err(|e| Report::new(&place, &e, e.advice()))?;
    Ok(plan)
}

impl<'a> Audited<'a> {
    fn new(form: &'a LoaderForm, artifact: &Artifact, plan: Option<&LoadPlan>) -> Self {
        let audit = audit(&Subject::of(artifact, form));
        let allowed: Option<BTreeSet<String>> = plan.map(|plan| {
            let all = plan.programs().map(Powers::of);
            all.flat_map(|p| p.helpers.into_iter().chain(p.symbols))
                .collect()
        });
        let used = audit
            .powers
            .iter()
            .flat_map(|p| p.helpers.iter().chain(&p.symbols));
        let gained = allowed.map(|allowed| {
            used.filter(|name| !allowed.contains(*name))
                .cloned()
                .collect()
        });
        Self {
            differences: plan.map(|plan| compare(&audit.plan, plan)),
            gained: gained.unwrap_or_default(),
            lacking: None,
            form,
            audit,
        }
    }

    /// The reasons to fail that hold.
    fn reasons(&self) -> Vec<FailOn> {
        let mut reasons = Vec::new();
        if !self.audit.findings.is_empty() {
            reasons.push(FailOn::Finding);
        }
        let fault = |finding: &Finding| matches!(finding, Finding::Fault(_));
        if self.audit.findings.iter().any(fault) {
            reasons.push(FailOn::UnknownInstruction);
        }
        if self.lacking.as_ref().is_some_and(|l| l.returned != Ok(0)) {
            reasons.push(FailOn::MissingSymbol);
        }
        if self.differences.as_ref().is_some_and(|d| !d.is_empty()) {
            reasons.push(FailOn::Differs);
        }
        if !self.audit.influences.is_empty() {
            reasons.push(FailOn::HostInfluenced);
        }
        if !self.gained.is_empty() {
            reasons.push(FailOn::NewCapability);
        }
        reasons
    }

    fn fails(&self, on: &[FailOn]) -> bool {
        self.reasons().iter().any(|reason| on.contains(reason))
    }

    /// What a signature vouches for, in words.
    fn covers(&self) -> String {
        match self.form.seal() {
            Some(seal) => format!("{}: {}", seal.scheme.name(), seal.scheme.attests()),
            None => "none: nobody vouches for it".to_owned(),
        }
    }

    fn scheme(&self) -> &'static str {
        self.form
            .seal()
            .map_or("unsigned", |seal| seal.scheme.name())
    }

    fn to_text(&self, place: &str, args: &Args, same: bool) -> String {
        let mut out = String::new();
        let verdict = if self.fails(&args.fail_on) {
            "bad"
        } else {
            "good"
        };
        let _ = writeln!(out, "{verdict}: {place}, {}", self.scheme());
        let mut row = |name: &str, value: &str| {
            let _ = writeln!(out, "  {name:<11} {value}");
        };
        row("signature", &self.covers());
        row(
            "loader",
            &format!("sha256 {}", hex(&self.form.excl_prog_hash())),
        );
        let audit = &self.audit;
        for finding in &audit.findings {
            row("finding", &finding.to_string());
        }
        match &self.differences {
            Some(differences) if differences.is_empty() => {
                let object = args.object.as_deref().map(files::shown).unwrap_or_default();
                row(
                    "object",
                    &format!("the loader does what `{object}` says, and nothing else"),
                );
            }
            Some(differences) => {
                for difference in differences {
                    row("differs", &difference.to_string());
                }
            }
            None => row("object", "not compared: give it with --object"),
        }
        if !self.gained.is_empty() {
            let names: Vec<&str> = self.gained.iter().map(String::as_str).collect();
            row("new", &names.join(", "));
        }
        if audit.influences.is_empty() {
            row("host", "can change nothing of what is installed");
        }
        for influence in &audit.influences {
            let what = &influence.what;
            row(
                "host",
                &format!("instruction {}: gives {what}", influence.insn),
            );
        }
        if let Some(lacking) = &self.lacking {
            let names: Vec<String> = lacking.symbols.iter().map(|n| format!("`{n}`")).collect();
            let names = names.join(", ");
            let text = match &lacking.returned {
                Ok(0) if names.is_empty() => "has all that is looked up".to_owned(),
                Ok(0) => format!("lacks {names}, without which it loads"),
                _ => format!("lacks {names}: it does not load there"),
            };
            row("kernel", &text);
        }
        if same {
            row("steps", "as above");
            return out;
        }
        for index in 0..audit.plan.steps.len() {
            row(
                &format!("step {}", index + 1),
                &audit.plan.describe_step(index),
            );
        }
        for (program, powers) in audit.plan.programs().zip(&audit.powers) {
            row(
                "program",
                &format!("`{}`, {}", program.name, program.prog_type),
            );
            for (what, names) in [("calls", &powers.helpers), ("takes", &powers.symbols)] {
                if !names.is_empty() {
                    let names: Vec<&str> = names.iter().map(String::as_str).collect();
                    row(&format!("  {what}"), &names.join(", "));
                }
            }
            let maps = self.map_names(powers);
            if !maps.is_empty() {
                row("  maps", &maps.join(", "));
            }
            for notable in &powers.notable {
                row("  notable", notable);
            }
        }
        out
    }

    fn map_names(&self, powers: &Powers) -> Vec<String> {
        let name = |index: &u32| {
            let found = self.audit.plan.maps().find(|(map, _)| map.0 == *index);
            found.map_or_else(|| index.to_string(), |(_, attr)| attr.name.clone())
        };
        powers.maps.iter().map(name).collect()
    }

    fn to_json(&self, on: &[FailOn]) -> Value {
        let audit = &self.audit;
        let steps: Vec<String> = (0..audit.plan.steps.len())
            .map(|index| audit.plan.describe_step(index))
            .collect();
        let programs: Vec<Value> = audit
            .plan
            .programs()
            .zip(&audit.powers)
            .map(|(program, powers)| {
                json!({
                    "name": program.name,
                    "type": program.prog_type.to_string(),
                    "attach_target": program.attach_target.as_ref().map(|t| t.name.as_str()),
                    "instructions": program.insns.len(),
                    "helpers": powers.helpers,
                    "kernel_symbols": powers.symbols,
                    "maps": self.map_names(powers),
                    "notable": powers.notable,
                })
            })
            .collect();
        let texts = |all: &mut dyn Iterator<Item = String>| all.collect::<Vec<_>>();
        json!({
            "scheme": self.form.seal().map(|seal| seal.scheme.name()),
            "verdict": if self.fails(on) { "bad" } else { "good" },
            "covers": self.covers(),
            "excl_prog_hash": hex(&self.form.excl_prog_hash()),
            "steps": steps,
            "programs": programs,
            "findings": audit.findings.iter().map(|finding| json!({
                "kind": finding.kind(),
                "text": finding.to_string(),
            })).collect::<Vec<_>>(),
            "host_influences": audit.influences.iter().map(|influence| json!({
                "instruction": influence.insn,
                "what": influence.what,
            })).collect::<Vec<_>>(),
            "same_as_object": self.differences.as_ref().map(Vec::is_empty),
            "differences": self
                .differences
                .as_ref()
                .map(|all| texts(&mut all.iter().map(ToString::to_string))),
            "new_capabilities": self.gained,
            "kernel_lacks": self.lacking.as_ref().map(|lacking| json!({
                "symbols": lacking.symbols,
                "loads": lacking.returned == Ok(0),
            })),
        })
    }
}
