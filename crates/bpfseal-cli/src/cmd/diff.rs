//! `bpfseal diff`: what changed between two objects or artifacts?

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use bpfseal::loader::LoadPlan;
use bpfseal::object::Object;
use bpfseal::report::{DiffReport, DiffSide};

use crate::args::name_of;
use crate::failure::{Failure, Outcome, Report};
use crate::files;
use crate::host::{HostArgs, Values};
use crate::input::{SealFile, is_object, object_report};
use crate::terminal::one_line;

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

    /// Look at the bytes of light skeletons alone, whatever the text around them is
    #[arg(long)]
    bytes_only: bool,

    /// Print as JSON
    #[arg(long)]
    json: bool,

    /// Name of both objects instead of those of their files: it is in the names of their maps
    #[arg(long)]
    name: Option<String>,

    #[command(flatten)]
    host: HostArgs,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let host = args.host.load()?;
    let name = common_name(args)?;
    let old = read_side(&args.old, &name, &host, args.bytes_only)?;
    let new = read_side(&args.new, &name, &host, args.bytes_only)?;
    let report = bpfseal::diff(&old, &new);
    if args.json {
        files::print_json(&report)?;
    } else {
        files::print(&to_text(&report, args.brief))?;
    }
    if args.exit_code && !report.same {
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
            let file = SealFile::bytes_only(args.bytes_only);
            let artifact = file.artifact_of(&files::shown(path), &bytes)?;
            return Ok(artifact.interface.name);
        }
    }
    name_of(&args.new, None)
}

fn read_side(
    path: &Path,
    name: &str,
    host: &Values,
    bytes_only: bool,
) -> Result<DiffSide, Failure> {
    let place = files::shown(path);
    let bytes = files::read(path)?;
    if is_object(&bytes) {
        let object = Object::parse(&bytes, name)
            .map_err(|e| object_report(&place, &bytes, &e, e.advice()))?;
        let plan = LoadPlan::new(&object, host).map_err(|e| Report::new(&place, &e, e.advice()))?;
        return Ok(DiffSide::object(&place, plan));
    }
    let artifact = SealFile::bytes_only(bytes_only).artifact_of(&place, &bytes)?;
    Ok(DiffSide::artifact(&place, &artifact))
}

fn to_text(report: &DiffReport, brief: bool) -> String {
    let (old, new) = (&report.old, &report.new);
    let mut out = format!("{} -> {}\n", old.file, new.file);
    for side in [old, new] {
        if let Some(why) = &side.no_loader {
            let why = one_line(why);
            let _ = writeln!(out, "  no loader can be made of {}: {why}", side.file);
        }
    }
    for side in [old, new] {
        if let Some(why) = &side.not_reproduced {
            let why = one_line(why);
            let _ = writeln!(out, "  what {} does is not sure: {why}", side.file);
        }
    }
    if report.same {
        out.push_str("  the same\n");
        return out;
    }
    if old.artifact && new.artifact {
        for (sign, these, those) in [('-', old, new), ('+', new, old)] {
            let only = these.signatures.iter();
            for signature in only.filter(|one| !those.signatures.contains(one)) {
                let signature = signature.to_string();
                let _ = writeln!(out, "  {sign} signed {}", one_line(&signature));
            }
            if these.signatures.is_empty() && !those.signatures.is_empty() {
                let _ = writeln!(out, "  {sign} not signed");
            }
        }
    }
    for finding in new.findings.iter().filter(|f| !old.findings.contains(f)) {
        let _ = writeln!(out, "  + {}", one_line(&finding.to_string()));
    }
    for change in &report.changes {
        let line = format!("{}: {}", change.of, change.text);
        let _ = writeln!(out, "  {}", one_line(&line));
    }
    if !report.new_capabilities.is_empty() {
        let names = report.new_capabilities.join(", ");
        let _ = writeln!(out, "  new capabilities: {}", one_line(&names));
    }
    if !brief {
        for (name, text) in &report.instructions {
            let _ = writeln!(out, "\nprogram `{}`:\n{}", one_line(name), text.trim_end());
        }
    }
    out
}
