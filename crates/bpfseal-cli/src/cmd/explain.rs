//! `bpfseal explain`: which kernels take an artifact, and why not?

use std::fmt::Write as _;
use std::path::PathBuf;

use bpfseal::model::kernel::{Policy, Profile};
use bpfseal::report::{ExplainOptions, FormAnswer, InstallStep, KernelAnswer};
use bpfseal::seal::Scheme;

use crate::advice::{Asker, advice};
use crate::args::parse_keyring;
use crate::failure::{Failure, Outcome};
use crate::files;
use crate::input::SealFile;
use crate::symbols::SymbolArgs;
use crate::terminal::one_line;
use crate::trust::KernelArgs;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Asks a model of the kernel, which answers as real ones do (docs/model.md). For \
    each kernel the forms of the artifact are tried as `bpfseal load` does, strongest first.\n\n\
    Examples:\n  \
    bpfseal explain prog.bpfseal --keyring cert.pem                 all kernels, as a table\n  \
    bpfseal explain prog.lskel.h --keyring ca.pem --kernel 7.3      one, in detail\n  \
    bpfseal explain prog.bpfseal --kernel $(uname -r) --json\n  \
    bpfseal explain prog.bpfseal --keyring ca.pem --keyring-id builtin --policy signed=builtin\n\n\
    Policies: signed, user space loads only verified programs, and what a loader installs is let \
    through; signed=builtin,platform and the like, with a key of one of these keyrings; all-signed, \
    every program is to be verified itself.\n\n\
    Exit codes: 0 every named kernel takes it, and with `all` at least one does; 1 otherwise; 2 wrong \
    usage; 3 an input can not be read."
)]
pub(crate) struct Args {
    /// A bundle, a C or Rust light skeleton of ours, or one of bpftool's; with --seal an object;
    /// `-` is standard input
    #[arg(value_name = "ARTIFACT|OBJ")]
    artifact: PathBuf,

    #[command(flatten)]
    seal: SealFile,

    /// Kernel: a version such as 7.3 or 6.19.14, hash-chain or hornet for the proposals, or all;
    /// can be given several times
    #[arg(long, value_name = "VERSION", default_value = "all")]
    kernel: Vec<String>,

    /// Certificate in the keyring, or directory of them
    ///
    /// PEM or DER; a directory may have nothing but certificates in it. One that the kernel would
    /// not take into a keyring is not in it, and a note says why. Repeatable.
    #[arg(long, num_args = 1.., value_name = "CERT|DIR")]
    keyring: Vec<PathBuf>,

    #[command(flatten)]
    config: KernelArgs,

    /// Where these certificates are: builtin, secondary, platform, session, user, or the number of
    /// a keyring
    #[arg(long, value_name = "KEYRING", default_value = "session")]
    keyring_id: String,

    /// Policy of a security module: signed, signed=KEYRING,… or all-signed; can be given several
    /// times
    #[arg(long, value_name = "POLICY", value_parser = policy)]
    policy: Vec<Policy>,

    #[command(flatten)]
    symbols: SymbolArgs,

    /// Print as JSON
    #[arg(long)]
    json: bool,
}

fn policy(text: &str) -> Result<Policy, String> {
    text.parse()
        .map_err(|error| format!("{error}; there are {}", Policy::FORMS))
}

pub(crate) fn run(args: &Args) -> Outcome {
    let artifact = args.seal.artifact(&args.artifact)?;
    let mut anchors = args.config.anchors()?;
    for path in &args.keyring {
        anchors.trust(path)?;
    }
    let mut options = ExplainOptions::new(anchors.store.clone());
    options.keyring_id = parse_keyring(&args.keyring_id)?;
    options.policies = args.policy.clone();
    options.symbols = args.symbols.load(artifact.endian)?;
    for name in &args.kernel {
        options.ask(name).map_err(|_| {
            let names = Profile::ALL.map(Profile::name).join(", ");
            Failure::usage(
                format!("`{name}` is no kernel"),
                format!("give a version such as 7.3, or one of {names}"),
            )
        })?;
    }
    let mut report = bpfseal::explain(&artifact, &options);
    report.artifact = files::shown(&args.artifact);
    anchors.untrusted(&mut report.untrusted, args.json);
    for form in report
        .kernels
        .iter_mut()
        .flat_map(|kernel| &mut kernel.forms)
    {
        if let Some(refusal) = &mut form.refusal {
            refusal.help = Some(advice(refusal.code, Asker::Explain));
        }
    }
    if args.json {
        files::print_json(&report)?;
    } else {
        let text = match report.kernels.as_slice() {
            [one] => to_text(one, &report.artifact),
            all => table(&report.artifact, all, is_taken(&args.kernel, all)),
        };
        files::print(&text)?;
    }
    if is_taken(&args.kernel, &report.kernels) {
        Ok(())
    } else {
        Err(Failure::Rejected)
    }
}

/// Whether each kernel that was named takes the artifact, and any of `all`: not every kernel can.
fn is_taken(names: &[String], kernels: &[KernelAnswer]) -> bool {
    let named = kernels
        .iter()
        .filter(|kernel| names.contains(&kernel.kernel));
    let all = names.iter().any(|name| name == "all");
    let any = !all || kernels.iter().any(|kernel| kernel.accepted);
    any && named.clone().all(|kernel| kernel.accepted)
}

/// Names of the kernels that take the artifact, or do not.
fn named(kernels: &[KernelAnswer], accepted: bool) -> String {
    let some = kernels.iter().filter(|kernel| kernel.accepted == accepted);
    let names: Vec<&str> = some.map(|kernel| kernel.kernel.as_str()).collect();
    names.join(", ")
}

fn table(place: &str, kernels: &[KernelAnswer], taken: bool) -> String {
    let (yes, no) = (named(kernels, true), named(kernels, false));
    let verdict = match (taken, yes.as_str(), no.as_str()) {
        (_, "", _) => format!("refused: {place}, by every kernel that was asked"),
        (_, _, "") => format!("taken: {place}, by every kernel that was asked"),
        (true, _, _) => format!("taken: {place}, by {yes}; not by {no}"),
        (false, _, _) => format!("refused: {place}, by {no}; taken by {yes}"),
    };
    let mut out = verdict + "\n";
    let _ = writeln!(
        out,
        "  {:<12} {:<20} {:<13} why",
        "kernel", "form", "answer"
    );
    for kernel in kernels {
        let Some(form) = kernel.decisive_form() else {
            continue;
        };
        let (what, why) = match &form.refusal {
            None => ("takes it", ""),
            Some(refusal) => (refusal.errno.as_str(), refusal.meaning.as_str()),
        };
        let scheme = form_name(form);
        let line = format!("  {:<12} {scheme:<20} {what:<13} {why}", kernel.kernel);
        let _ = writeln!(out, "{}", one_line(line.trim_end()));
    }
    out
}

fn form_name(form: &FormAnswer) -> &'static str {
    form.scheme.map_or("unsigned", Scheme::name)
}

fn to_text(kernel: &KernelAnswer, place: &str) -> String {
    let mut out = String::new();
    let verdict = if kernel.accepted { "taken" } else { "refused" };
    let _ = writeln!(
        out,
        "{verdict}: {place}, by {} ({})",
        kernel.kernel, kernel.kernels
    );
    let mut row = |name: &str, value: &str| {
        let _ = writeln!(out, "  {name:<11} {}", one_line(value));
    };
    for form in &kernel.forms {
        row("form", form_name(form));
        match &form.refusal {
            None => row("  answer", "takes it"),
            Some(refusal) => {
                row(
                    "  answer",
                    &format!("{}: {}", refusal.errno, refusal.meaning),
                );
                let InstallStep { text, command, .. } = refusal.step;
                row("  step", &format!("{text} ({command})"));
                for line in &refusal.log {
                    row("  kernel", line);
                }
                if let Some(help) = refusal.help {
                    row("  help", help);
                }
            }
        }
        for admission in &form.admissions {
            let by = if admission.kernel {
                ", loaded by the loader"
            } else {
                ""
            };
            let end = if admission.loaded { "" } else { "; not loaded" };
            row(
                "  told",
                &format!("`{}`{by}: {}{end}", admission.program, admission.told),
            );
        }
        if let Some(fault) = &form.not_run {
            row("  run", &format!("not followed to its end: {fault}"));
        }
    }
    out
}
