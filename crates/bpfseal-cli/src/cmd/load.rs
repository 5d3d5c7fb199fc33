//! `bpfseal load`: an artifact into the running kernel.

use std::path::{Path, PathBuf};

use bpfseal::artifact::AutoAttach;
use bpfseal::kernel::{self, InstallError, KeyringId, Linux};
use bpfseal::object::uapi::{MapType, ProgType};
use bpfseal::report::LoadReport;
use bpfseal::{Links, LoadError, LoadOptions, Loaded, PinError, PinPlace};

use crate::advice::{Asker, advice};
use crate::args::{parse_keyring, parse_scheme, read_certificates};
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

    /// Where the signer's key is: session, user, process, builtin, secondary, platform, bpf, or a
    /// serial number; without it, the first of session, user, builtin, secondary and platform
    /// that has it
    #[arg(long, value_name = "KEYRING", allow_hyphen_values = true)]
    keyring: Option<String>,

    /// Certificate to add to the session keyring first; can be given several times
    #[arg(long, value_name = "CERT")]
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
    options.min_scheme = parse_scheme(&args.min_scheme)?;
    for path in &args.trust {
        trust(path)?;
    }
    let signed = artifact.sealed().next().is_some();
    let loaded = if signed {
        bpfseal::load(&artifact, &options)
    } else if args.insecure_unsigned {
        bpfseal::insecure_load_unsigned(&artifact, &options)
    } else {
        Err(LoadError::NotSigned)
    };
    let loaded = loaded.map_err(|error| failure(&place, &error))?;
    if let Some((scheme, keyring)) = loaded.verified {
        say!(
            "verified with a key of the {keyring} keyring, by the scheme {}",
            scheme.name()
        );
    }
    for line in loaded.log.lines() {
        say!("kernel: {}", one_line(line));
    }
    let links = if args.attach {
        loaded.attach().map_err(|error| {
            Failure::from(Refused {
                place: Some(place.clone()),
                message: error.to_string(),
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

/// Adds the certificates of a file to the session keyring.
fn trust(path: &Path) -> Result<(), Failure> {
    for certificate in read_certificates(path)? {
        let subject = certificate.subject();
        kernel::add_certificate(&Linux, KeyringId::SESSION, &subject, certificate.der()).map_err(
            |e| {
                let help = "the session keyring has to be writable, and the kernel to know the key's algorithm; or add it to another keyring with `bpfseal keyring add`, and leave --trust away";
                Report::new(&files::shown(path), &e, help)
            },
        )?;
    }
    Ok(())
}

fn failure(place: &str, error: &LoadError) -> Failure {
    match error {
        LoadError::Refused(error) => refused(place, error),
        LoadError::NotSigned => Failure::usage(
            format!("{place} is not signed"),
            "sign it with `bpfseal seal`, or say --insecure-unsigned to load it as it is",
        ),
        LoadError::TooWeak { .. } => {
            let refused = Refused {
                place: Some(place.to_owned()),
                message: error.to_string(),
                help: "seal the object with --scheme all-kernels, or lower --min-scheme".into(),
                ..Refused::default()
            };
            refused.into()
        }
        other => Report::new(place, other, "nothing was left in the kernel").into(),
    }
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
            .map(|refusal| refusal.step.describe().to_owned()),
        answer: Some(error.to_string()),
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
