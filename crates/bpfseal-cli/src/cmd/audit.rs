//! `bpfseal audit`: what does a loader do, and is that the object?

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use bpfseal::artifact::Artifact;
use bpfseal::loader::LoadPlan;
use bpfseal::object::Object;
use bpfseal::report::{AuditOptions, AuditReport, AuditedForm, KernelLacks, Reason, Verdict};
use bpfseal::seal::Scheme;
use clap::ValueEnum;

use crate::failure::{Failure, Outcome, Report};
use crate::files;
use crate::host::HostArgs;
use crate::input::{SealFile, object_report};
use crate::symbols::SymbolArgs;
use crate::terminal::one_line;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "The loader is run in a model of the kernel that grants everything and writes down \
    what it is asked for. What it does there is compiled again: only a loader with the same bytes \
    is sure to do the same on every kernel, and any other is `not reproduced`. With --object that is \
    held against the plan of the object.\n\n\
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
        default_value = "not-reproduced,finding,differs"
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
    /// The generator makes other bytes of what the loader does in the model: on a kernel it can do
    /// something else
    NotReproduced,
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

impl FailOn {
    /// The library's reason; none for nothing.
    fn reason(self) -> Option<Reason> {
        Some(match self {
            Self::NotReproduced => Reason::NotReproduced,
            Self::Finding => Reason::Finding,
            Self::UnknownInstruction => Reason::UnknownInstruction,
            Self::Differs => Reason::Differs,
            Self::HostInfluenced => Reason::HostInfluenced,
            Self::NewCapability => Reason::NewCapability,
            Self::MissingSymbol => Reason::MissingSymbol,
            Self::Never => return None,
        })
    }
}

pub(crate) fn run(args: &Args) -> Outcome {
    let artifact = args.seal.artifact(&args.artifact)?;
    let plan = match &args.object {
        Some(path) => Some(object_plan(path, args, &artifact)?),
        None => None,
    };
    let symbols = match args.symbols.given() {
        true => Some(args.symbols.load(artifact.endian)?),
        false => None,
    };
    let mut options = AuditOptions::default();
    options.plan = plan.as_ref();
    options.symbols = symbols.as_ref();
    options.fail_on = args.fail_on.iter().filter_map(|f| f.reason()).collect();
    let mut report = bpfseal::audit(&artifact, &options);
    report.artifact = files::shown(&args.artifact);
    report.object = args.object.as_deref().map(files::shown);
    if args.json {
        files::print_json(&report)?;
    } else {
        let texts = report.forms.iter().enumerate();
        let texts = texts.map(|(index, form)| to_text(form, &report, index > 0));
        files::print(&texts.collect::<String>())?;
    }
    if report.is_good() {
        Ok(())
    } else {
        Err(Failure::Rejected)
    }
}

/// The plan of the object, under the name that it had when it was sealed.
fn object_plan(path: &Path, args: &Args, artifact: &Artifact) -> Result<LoadPlan, Failure> {
    let place = files::shown(path);
    let bytes = files::read(path)?;
    let host = args.host.load()?;
    let object = Object::parse(&bytes, &artifact.interface.name)
        .map_err(|e| object_report(&place, &bytes, &e, e.advice()))?;
    let plan = LoadPlan::new(&object, &host).and_then(LoadPlan::resolved);
    let plan = plan.map_err(|e| Report::new(&place, &e, e.advice()))?;
    Ok(plan)
}

fn to_text(form: &AuditedForm, report: &AuditReport, later: bool) -> String {
    let verdict = match form.verdict {
        Verdict::Bad => "bad",
        Verdict::Good => "good",
    };
    let scheme = form.scheme.map_or("unsigned", Scheme::name);
    let mut out = format!("{verdict}: {}, {scheme}\n", report.artifact);
    let mut row = |name: &str, value: &str| {
        let _ = writeln!(out, "  {name:<11} {}", one_line(value));
    };
    let covers = match form.attests {
        // What the scheme attests to is worth nothing while nobody has verified it.
        Some(_) => "not verified; for that there is `bpfseal verify`".to_owned(),
        None => "none: nobody vouches for it".to_owned(),
    };
    row("signature", &covers);
    row("loader", &format!("sha256 {}", form.excl_prog_hash));
    row("bytes", &form.reproduction.text);
    for finding in &form.findings {
        row("finding", &finding.text);
    }
    match (&form.differences, &report.object) {
        (Some(differences), object) if differences.is_empty() => {
            let object = object.as_deref().unwrap_or_default();
            row(
                "object",
                &format!("the loader does what `{object}` says, and nothing else"),
            );
        }
        (Some(differences), _) => {
            for difference in differences {
                row(
                    "differs",
                    &format!("{}: {}", difference.of, difference.text),
                );
            }
        }
        (None, _) => row("object", "not compared: give it with --object"),
    }
    if !form.new_capabilities.is_empty() {
        row("new", &form.new_capabilities.join(", "));
    }
    if form.host_influences.is_empty() {
        row("host", "can change nothing of what is installed");
    }
    for influence in &form.host_influences {
        row(
            "host",
            &format!(
                "instruction {}: gives {}",
                influence.instruction, influence.what
            ),
        );
    }
    if let Some(lacks) = &form.kernel_lacks {
        row("kernel", &lacks_text(lacks));
    }
    // What is the same is said once.
    if later && form.same_as_first {
        row("steps", "as above");
        return out;
    }
    for (index, step) in form.steps.iter().enumerate() {
        row(&format!("step {}", index + 1), &step.text);
    }
    for program in &form.programs {
        row(
            "program",
            &format!("`{}`, {}", program.name, program.program_type),
        );
        for (what, names) in [
            ("calls", &program.helpers),
            ("takes", &program.kernel_symbols),
            ("maps", &program.maps),
        ] {
            if !names.is_empty() {
                row(&format!("  {what}"), &names.join(", "));
            }
        }
        for notable in &program.notable {
            row("  notable", notable);
        }
    }
    out
}

fn lacks_text(lacks: &KernelLacks) -> String {
    let names: Vec<String> = lacks.symbols.iter().map(|n| format!("`{n}`")).collect();
    let names = names.join(", ");
    match lacks.loads {
        true if names.is_empty() => "has all that is looked up".to_owned(),
        true => format!("lacks {names}, without which it loads"),
        false => format!("lacks {names}: it does not load there"),
    }
}
