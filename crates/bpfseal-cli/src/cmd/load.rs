//! `bpfseal load`: an artifact into the running kernel.

use std::path::{Path, PathBuf};

use bpfseal::artifact::{Artifact, AutoAttach};
use bpfseal::kernel::InstallError;
use bpfseal::object::Chain;
use bpfseal::object::uapi::{MapType, ProgType};
use bpfseal::report::{FormVerdict, LoadReport};
use bpfseal::seal::{Certificate, Rejection, SignatureSummary};
use bpfseal::{Links, LoadError, LoadOptions, LoadTrustedError, Loaded, PinError, PinPlace};

use crate::advice::{Asker, advice};
use crate::args::{parse_kernel_scheme, parse_keyring, read_certificates};
use crate::cleaner::Cleaner;
use crate::failure::{Failure, Outcome, Refused, Report};
use crate::files;
use crate::input::SealFile;
use crate::terminal::{one_line, say};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Without --pin everything goes away again when the command ends: it was a trial. \
    --attach attaches what the object's sections say what to attach to: raw tracepoints, tracing, \
    LSM, iterators; the rest is left to the program that uses the pins.\n\nExamples:\n  \
    bpfseal load prog.lskel.h --trust cert.pem                 does this kernel take it?\n  \
    bpfseal load prog.lskel.h --attach --pin /sys/fs/bpf/prog\n  \
    bpfseal load prog.lskel.h --keyring builtin --json\n  \
    bpfseal load prog.bpf.o --seal prog.seal --trust cert.pem\n\n\
    Exit codes: 0 loaded, 1 the kernel refused, 2 wrong usage, 3 the artifact can not be read, or \
    not be pinned."
)]
pub(crate) struct Args {
    /// A bundle, a C or Rust light skeleton of ours, or one of bpftool's; with --seal an object;
    /// `-` is standard input
    #[arg(value_name = "ARTIFACT|OBJ")]
    artifact: PathBuf,

    #[command(flatten)]
    seal: SealFile,

    /// Look for the signer's key in this keyring
    ///
    /// One of session, user, process, builtin, secondary, platform and bpf, or a serial number.
    /// Without it, and without --trust, the first of session, user, builtin, secondary and platform
    /// that has the key is taken.
    #[arg(long, value_name = "KEYRING", allow_hyphen_values = true)]
    keyring: Option<String>,

    /// Load only what this certificate vouches for. Repeatable
    ///
    /// The artifact is verified first, as `bpfseal verify` does. The kernel finds the certificate in
    /// a keyring of this process, which goes away with it.
    #[arg(long, value_name = "CERT|DIR")]
    trust: Vec<PathBuf>,

    /// The weakest scheme to take: load-time, in-loader-exclusive or in-loader
    #[arg(long, value_name = "SCHEME", default_value = "in-loader")]
    min_scheme: String,

    /// Attach the programs whose sections say what to
    #[arg(long)]
    attach: bool,

    /// Folder in bpffs to pin maps, programs and links into: a new or empty one
    #[arg(long, value_name = "DIR")]
    pin: Option<PathBuf>,

    /// How much the kernel is to log: 1, 2 or 4, or their sum, as for `bpf(2)`; what is refused is
    /// logged without it too
    #[arg(long, value_name = "LEVEL", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=7))]
    log_level: u32,

    /// Load an artifact that is not signed
    #[arg(long)]
    insecure_unsigned: bool,

    /// Print what was installed as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let place = files::shown(&args.artifact);
    let artifact = args.seal.artifact(&args.artifact)?;
    let mut options = match &args.keyring {
        Some(text) => LoadOptions::from_keyring(parse_keyring(text)?),
        None => LoadOptions::default(),
    };
    options.log_level = args.log_level;
    options.min_scheme = parse_kernel_scheme(&args.min_scheme)?;
    check(&place, &artifact)?;
    let mut certificates = Vec::new();
    for path in &args.trust {
        certificates.extend(read_certificates(path)?);
    }
    let loaded = load(&artifact, &certificates, options, args);
    let loaded = loaded.map_err(|error| failure(&place, &error))?;
    if let Some((scheme, keyring)) = loaded.verified {
        let whose = match args.trust.is_empty() {
            true => format!("a key of the {keyring} keyring"),
            false => "a certificate of --trust".to_owned(),
        };
        say!("verified with {whose}, by the scheme {}", scheme.name());
    }
    for line in loaded.log.lines() {
        say!("kernel: {}", one_line(line));
    }
    let links = if args.attach {
        loaded.attach().map_err(|error| {
            Failure::from(Refused {
                place: Some(place.clone()),
                message: Chain(&error).to_string(),
                help: "what was attached before is detached again, and nothing is loaded".into(),
                ..Refused::default()
            })
        })?
    } else {
        Links::new()
    };
    if let Some(folder) = &args.pin {
        pin(folder, &loaded, &links)?;
    }
    let mut report = LoadReport::new(&loaded, &links).map_err(|e| Report::new(&place, &e, ""))?;
    report.artifact = place;
    report.pinned = args
        .pin
        .as_deref()
        .map(|folder| folder.display().to_string());
    if args.json {
        files::print_json(&report)?;
    } else {
        files::print(&to_text(&report, &loaded, args.attach))?;
    }
    Ok(())
}

fn load(
    artifact: &Artifact,
    trusted: &[Certificate],
    mut options: LoadOptions,
    args: &Args,
) -> Result<Loaded, LoadTrustedError> {
    let signed = artifact.sealed().next().is_some();
    Ok(match (signed, trusted) {
        (true, []) => bpfseal::load(artifact, &options)?,
        (true, trusted) => {
            if args.keyring.is_none() {
                options.keyrings.clear();
            }
            bpfseal::load_trusted(artifact, trusted, &options)?
        }
        (false, []) if args.insecure_unsigned => {
            bpfseal::insecure_load_unsigned(artifact, &options)?
        }
        (false, _) => return Err(LoadError::NotSigned.into()),
    })
}

/// Refuses what can be told without a certificate, before the kernel is asked for anything: what
/// does not go with its seal, and what is no message that a kernel reads.
fn check(place: &str, artifact: &Artifact) -> Outcome {
    for sealed in artifact.sealed() {
        let sound = sealed.check().map_err(Rejection::from);
        let parsed = sound.and_then(|()| SignatureSummary::parse(&sealed.seal.signature).map(drop));
        parsed.map_err(|rejection| {
            let checks = (rejection.check(), rejection.errno_name());
            not_asked(place, rejection.reason(), checks, rejection.advice())
        })?;
    }
    Ok(())
}

/// A refusal for which the kernel was not asked: what was checked, and what it would answer.
fn not_asked(
    place: &str,
    message: String,
    (check, errno): (&str, Option<&str>),
    help: &str,
) -> Failure {
    let answer = match errno {
        Some(errno) => format!("none: the kernel was not asked; it would answer {errno}"),
        None => "none: the kernel was not asked, and does not look at this".to_owned(),
    };
    let refused = Refused {
        place: Some(place.to_owned()),
        code: Some(check.to_owned()),
        message,
        step: Some(format!("checking the artifact ({check})")),
        answer: Some(answer),
        help: help.to_owned(),
        ..Refused::default()
    };
    refused.into()
}

fn failure(place: &str, error: &LoadTrustedError) -> Failure {
    match error {
        LoadTrustedError::Load(error) => of_load(place, error),
        LoadTrustedError::Rejected(report) => {
            let first = report.forms().iter().find_map(|form| match form {
                FormVerdict::Rejected(form) => Some(form),
                FormVerdict::Good(_) => None,
            });
            let (checks, help) = first.map_or((("signature", None), ""), |form| {
                ((form.check, form.errno), form.help)
            });
            not_asked(place, report.summary.clone(), checks, help)
        }
        LoadTrustedError::Certificate { .. } => {
            let help = "`bpfseal doctor` lists the algorithms of this kernel";
            Report::new(place, error, help).into()
        }
        other => Report::new(place, other, "nothing was left in the kernel").into(),
    }
}

fn of_load(place: &str, error: &LoadError) -> Failure {
    let help = match error {
        LoadError::Refused(error) => return refused(place, error),
        LoadError::NotSigned => {
            return Failure::usage(
                format!("{place} is not signed"),
                "sign it with `bpfseal seal`, or load it as it is with --insecure-unsigned",
            );
        }
        LoadError::TooWeak { .. } => {
            "seal the object with --scheme all-kernels, or lower --min-scheme"
        }
        LoadError::Proposal { .. } | LoadError::OtherScheme { .. } => {
            "seal it for this kernel too: `bpfseal seal --scheme all-kernels`"
        }
        other => return Report::new(place, other, "nothing was left in the kernel").into(),
    };
    not_asked(place, error.to_string(), ("scheme", None), help)
}

/// Lines of a log that are shown: the last ones say what was wrong.
const LOG_LINES: usize = 12;

/// Says what the kernel answered, what that means, and what to do.
fn refused(place: &str, error: &InstallError) -> Failure {
    let log = error.refusal().map_or("", |refusal| &refusal.log);
    let lines: Vec<_> = log.lines().filter(|line| !line.is_empty()).collect();
    let skipped = lines.len().saturating_sub(LOG_LINES);
    let refused = Refused {
        place: Some(place.to_owned()),
        code: Some(error.code().name().to_owned()),
        message: error.meaning().to_owned(),
        step: error
            .refusal()
            .map(|refusal| refusal.describe_step().to_owned()),
        answer: Some(match error {
            // The step is said already.
            InstallError::Call { source, .. } => source.to_string(),
            other => Chain(other).to_string(),
        }),
        log_skipped: skipped,
        log: lines[skipped..].iter().map(ToString::to_string).collect(),
        help: advice(error.code(), Asker::Load).to_owned(),
    };
    refused.into()
}

/// Pins everything, or nothing, even if this process is killed meanwhile.
fn pin(folder: &Path, loaded: &Loaded, links: &Links) -> Outcome {
    let result = PinPlace::new(folder).and_then(|place| {
        let cleaner = Cleaner::start(&place);
        let result = loaded.pin_into(&place, links);
        cleaner.dismiss();
        result
    });
    result.map_err(|error| {
        let help = match &error {
            PinError::Pin(_) | PinError::NotBpffs { .. } => {
                "pins live in bpffs, usually under /sys/fs/bpf; nothing was left behind"
            }
            _ => "give a new or empty folder in bpffs, usually under /sys/fs/bpf; nothing was left behind",
        };
        Report::new(&files::shown(folder), &error, help).into()
    })
}

fn to_text(report: &LoadReport, loaded: &Loaded, attach: bool) -> String {
    let mut out = format!("loaded: {}\n", report.artifact);
    for map in &report.maps {
        let kind = MapType(map.map_type);
        let name = one_line(&map.name);
        out.push_str(&format!("  map {name}: id {}, {kind}\n", map.id));
    }
    for program in &report.programs {
        let kind = ProgType(program.program_type);
        let manual = loaded.auto_attach(&program.name) == Some(&AutoAttach::Manual);
        let attached = match program.link {
            Some(link) => format!(", attached: link {link}"),
            None if attach && manual => {
                ", not attached: only its user knows what to attach it to".to_owned()
            }
            None => String::new(),
        };
        out.push_str(&format!(
            "  program {}: id {}, {kind}, tag {}{attached}\n",
            one_line(&program.name),
            program.id,
            program.tag
        ));
    }
    match &report.pinned {
        Some(folder) => out.push_str(&format!("pinned in {folder}\n")),
        None => out.push_str("not pinned: it goes away now\n"),
    }
    out
}
