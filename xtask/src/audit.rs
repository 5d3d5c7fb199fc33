//! `cargo xtask audit`: every loader is run in the model, and the plan that it carries out has to
//! be the plan of its object, and has to give the loader's bytes again. Ours in all forms, and the
//! reference's.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::bail;
use bpfseal::RunningHost;
use bpfseal::artifact::{Artifact, Interface};
use bpfseal::loader::plan::MAX_PROGRAMS;
use bpfseal::loader::{EmitOptions, Form, LoadPlan, Loader};
use bpfseal::model::audit::{Finding, Subject, audit, compare};
use bpfseal::object::{Object, object_name};

use crate::project;
use crate::reference::Reference;

#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Leave out the reference's loaders
    #[arg(long)]
    no_reference: bool,

    /// Leave out the corpus beside the project
    #[arg(long)]
    no_corpus: bool,
}

#[derive(Debug, Default)]
struct Count {
    ours: usize,
    reference: usize,
    none: usize,
    wrong: usize,
    time: Duration,
    longest: Duration,
    /// Of the objects that the reference makes loaders of: what the audit takes, what it takes.
    beside: (Duration, Duration),
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let reference = if args.no_reference {
        None
    } else {
        Reference::fetch_or_skip()?
    };
    let mut folders = vec![project::objects()];
    if !args.no_corpus {
        match project::shared("corpus") {
            Some(corpus) => folders.push(corpus),
            None => eprintln!("SKIPPED: no corpus beside the project"),
        }
    }
    for folder in folders {
        let mut count = Count::default();
        for path in project::objects_in(&folder)? {
            one(&path, reference.as_ref(), &mut count)?;
        }
        println!(
            "{}: of {} objects the loader's plan is the object's; of the reference's loaders {}; {} objects have no loader; {} are wrong",
            folder.file_name().unwrap_or_default().display(),
            count.ours,
            count.reference,
            count.none,
            count.wrong
        );
        println!(
            "  auditing a signed loader: {:.1} ms on average, {:.1} ms at most",
            count.time.as_secs_f64() * 1000.0 / count.ours.max(1) as f64,
            count.longest.as_secs_f64() * 1000.0
        );
        if let Some(peak) = peak_memory() {
            println!("  memory of this process, which holds all of them in turn: {peak} at most");
        }
        let (ours, theirs) = count.beside;
        if !theirs.is_zero() {
            println!(
                "  auditing {} loaders {:.2} s, the reference generating them {:.2} s: {:.2} times{}",
                count.reference,
                ours.as_secs_f64(),
                theirs.as_secs_f64(),
                ours.as_secs_f64() / theirs.as_secs_f64(),
                if cfg!(debug_assertions) {
                    " (not optimised: cargo run --release -p xtask -- audit)"
                } else {
                    ""
                }
            );
        }
        if count.wrong > 0 {
            bail!("the audit of {} loaders is wrong", count.wrong);
        }
    }
    Ok(())
}

/// The most memory that this process has had so far, in the kernel's words.
fn peak_memory() -> Option<String> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().to_owned())
}

/// What has to be seen of a loader of that form.
fn check(subject: &Subject<'_>, plan: &LoadPlan, form: Form) -> Vec<String> {
    let found = audit(subject);
    let mut wrong: Vec<String> = compare(&found.plan, plan)
        .iter()
        .map(ToString::to_string)
        .collect();
    if !found.reproduction.is_reproduced() {
        wrong.push(found.reproduction.to_string());
    }
    let refused = plan.function_count as usize > MAX_PROGRAMS;
    let findings = found
        .findings
        .iter()
        .filter(|finding| !(refused && matches!(finding, Finding::Frame { .. })));
    wrong.extend(findings.map(ToString::to_string));
    let asked = found
        .influences
        .iter()
        .any(|i| i.what.starts_with("`max_entries` of map"));
    let open = form == Form::Unsigned && plan.map_count > 0;
    if !open {
        wrong.extend(found.influences.iter().map(|i| format!("host: {}", i.what)));
    } else if !asked {
        wrong.push("that a host can change the size of maps is not seen".to_owned());
    }
    wrong
}

fn one(path: &Path, reference: Option<&Reference>, count: &mut Count) -> anyhow::Result<()> {
    let bytes = std::fs::read(path)?;
    let name = object_name(&path.to_string_lossy());
    let plan = Object::parse(&bytes, &name)
        .ok()
        .and_then(|object| Some((LoadPlan::new(&object, &RunningHost).ok()?, object)))
        .filter(|(plan, _)| Loader::new(plan, EmitOptions::new(Form::Signed)).is_ok());
    let Some((plan, object)) = plan else {
        count.none += 1;
        return Ok(());
    };
    let context = Interface::new(&object, &name).context();
    let mut wrong = Vec::new();
    let mut audited = Duration::ZERO;
    let forms = [
        Form::Signed,
        Form::Unsigned,
        Form::CheckingMetadata,
        Form::CheckingExclusive,
    ];
    for form in forms {
        let loader = Loader::new(&plan, EmitOptions::new(form))?;
        let subject = Subject {
            instructions: &loader.instructions,
            metadata: &loader.metadata,
            context,
            endian: loader.endian,
        };
        let start = Instant::now();
        let found = check(&subject, &plan, form);
        if form == Form::Signed {
            let took = start.elapsed();
            count.time += took;
            count.longest = count.longest.max(took);
            audited = took;
        }
        wrong.extend(found.into_iter().map(|text| format!("{form:?}: {text}")));
    }
    count.ours += 1;
    if let Some(reference) = reference {
        let start = Instant::now();
        let output = reference.skeleton(path, None)?;
        let took = start.elapsed();
        if output.status.success() {
            count.beside.0 += audited;
            count.beside.1 += took;
            let artifact = Artifact::parse(&output.stdout)?;
            if let Some(instructions) = artifact.unsigned() {
                let subject = Subject {
                    instructions,
                    metadata: &artifact.metadata,
                    context,
                    endian: plan.endian,
                };
                let found = check(&subject, &plan, Form::Unsigned);
                wrong.extend(
                    found
                        .into_iter()
                        .map(|text| format!("the reference's: {text}")),
                );
                count.reference += 1;
            }
        }
    }
    if !wrong.is_empty() {
        count.wrong += 1;
        println!("{}:", path.display());
        for text in wrong.iter().take(8) {
            println!("  {text}");
        }
    }
    Ok(())
}
