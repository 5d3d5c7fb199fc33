//! `bpfseal gen skeleton`: what bpftool takes; a C header with the same API and bytes.

use std::path::{Path, PathBuf};

use bpfseal::artifact::CHeader;
use bpfseal::loader::Form;
use bpfseal::object::Object;
use bpfseal::{Made, MakeError, Sealer, Source};

use crate::args::name_of;
use crate::failure::{Failure, Outcome, Report};
use crate::files;
use crate::host::{HostArgs, Values};
use crate::input::object_report;
use crate::signer::{SignArgs, Unshown};
use crate::terminal::{one_line, say};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,

    #[command(flatten)]
    options: Options,
}

/// Options of bpftool, before or after `skeleton`.
#[derive(Debug, clap::Args)]
struct Options {
    /// Make a light skeleton, the only kind that there is here
    #[arg(short = 'L', long, global = true)]
    use_loader: bool,

    /// Sign the loader; needs -k and -i, implies -L
    #[arg(short = 'S', long, global = true)]
    sign: bool,

    /// Private key: PEM, not encrypted
    #[arg(short = 'k', value_name = "KEY.pem", global = true)]
    key: Option<Unshown>,

    /// Certificate of that key: PEM or DER
    #[arg(short = 'i', value_name = "CERT", global = true)]
    cert: Option<PathBuf>,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// A C light skeleton, on standard output
    #[command(after_help = "Examples:\n  \
        bpfseal gen skeleton -L prog.bpf.o > prog.lskel.h\n  \
        bpfseal gen skeleton -L -S -k key.pem -i cert.pem prog.bpf.o name prog > prog.lskel.h")]
    Skeleton(Skeleton),
    /// A Rust light skeleton, on standard output; implies -L
    #[command(after_help = "Examples:\n  \
        bpfseal gen rust prog.bpf.o > prog.rs\n  \
        bpfseal gen rust -S -k key.pem -i cert.pem prog.bpf.o name prog > prog.rs")]
    Rust(Skeleton),
}

#[derive(Debug, clap::Args)]
struct Skeleton {
    /// BPF object; `-` is standard input
    #[arg(value_name = "OBJ")]
    object: PathBuf,

    /// `name NAME`: name of the object instead of that of its file
    #[arg(value_name = "name NAME", num_args = 0..=2)]
    name: Vec<String>,

    /// Make a C header that needs no libbpf, for user space
    #[arg(long)]
    standalone: bool,

    #[command(flatten)]
    host: HostArgs,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let (skeleton, rust) = match &args.what {
        What::Skeleton(skeleton) => (skeleton, false),
        What::Rust(skeleton) => (skeleton, true),
    };
    let options = &args.options;
    let sign = SignArgs::new(options.key.clone(), options.cert.clone());
    if !options.use_loader && !options.sign && !rust {
        return Err(Failure::usage(
            "only light skeletons are made here",
            "add -L, or use bpftool for a skeleton that needs libbpf",
        ));
    }
    if !options.sign && !sign.is_empty() {
        return Err(Failure::usage(
            "a key or certificate was given, but not -S",
            "add -S to sign, or leave -k and -i away",
        ));
    }
    let name = match skeleton.name.as_slice() {
        [] => None,
        [word, name] if !word.is_empty() && "name".starts_with(word.as_str()) => {
            Some(name.as_str())
        }
        _ => {
            return Err(Failure::usage(
                format!("`{}` is not understood", skeleton.name.join(" ")),
                "after the object there can only be: name NAME",
            ));
        }
    };
    let host = skeleton.host.load()?;
    let place = files::shown(&skeleton.object);
    let report = |e: bpfseal::MakeError| Report::new(&place, &e, e.advice());
    let output = Path::new("-");
    let made = if options.sign {
        let (key, certificate) = sign.load()?;
        let object = read_source(&skeleton.object, name, false)?;
        let sealed = Sealer::new(&certificate)
            .host(&host)
            .seal(object, &*key)
            .map_err(report)?;
        if rust {
            files::write(output, &sealed.rust_module().map_err(|e| report(e.into()))?)?;
        } else {
            let header = sealed.c_header().map_err(report)?;
            files::write(
                output,
                &libraries(header, skeleton.standalone).map_err(report)?,
            )?;
        }
        sealed.made
    } else {
        let object = read_source(&skeleton.object, name, false)?;
        let made = bpfseal::make_loader(object, &host, Form::Unsigned).map_err(report)?;
        if rust {
            files::write(output, &made.rust_module().map_err(|e| report(e.into()))?)?;
        } else {
            let header = made.c_header().map_err(|e| report(e.into()))?;
            files::write(
                output,
                &libraries(header, skeleton.standalone).map_err(report)?,
            )?;
        }
        made
    };
    for note in notes(&place, &made, &host) {
        say!("{note}");
    }
    Ok(())
}

/// The header with what it loads by: libbpf, or its own functions.
pub(super) fn libraries(header: CHeader<'_>, standalone: bool) -> Result<CHeader<'_>, MakeError> {
    match standalone {
        true => Ok(header.standalone()?),
        false => Ok(header),
    }
}

/// Reads an object; the bytes of its file are let go of. Their digest is computed only where it
/// will be named: that takes as long as much of the rest.
pub(crate) fn read_source(
    path: &Path,
    name: Option<&str>,
    with_digest: bool,
) -> Result<Source, Failure> {
    let name = name_of(path, name)?;
    let bytes = files::read(path)?;
    let source = if with_digest {
        Source::parse(&bytes, &name)
    } else {
        Object::parse(&bytes, &name)
            .map(Source::from)
            .map_err(MakeError::from)
    };
    Ok(source.map_err(|e| object_report(&files::shown(path), &bytes, &e, e.advice()))?)
}

/// What there is to say about a loader that was made.
pub(crate) fn notes(place: &str, made: &Made, host: &Values) -> Vec<String> {
    let mut notes: Vec<String> = made
        .object
        .notes
        .iter()
        .chain(&made.plan.notes)
        .map(|note| format!("note: {place}: {note}"))
        .collect();
    let taken: Vec<String> = host
        .of_running_host(&made.plan.host)
        .iter()
        .map(ToString::to_string)
        .collect();
    if let [first, rest @ ..] = taken.as_slice() {
        let more = match rest.len() {
            0 => String::new(),
            1 => format!("; {}", rest[0]),
            n => format!(" and {n} more (`bpfseal inspect` lists them)"),
        };
        notes.push(format!(
            "note: {place}: the output depends on this host: {first}{more}"
        ));
    }
    for note in &mut notes {
        *note = one_line(note).into_owned();
    }
    notes
}
