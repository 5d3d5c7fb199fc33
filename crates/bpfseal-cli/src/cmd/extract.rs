//! `bpfseal extract`: the raw pieces of a loader, for other tools.

use std::path::PathBuf;

use bpfseal::Sealer;
use bpfseal::loader::Form;
use bpfseal::object::Object;
use bpfseal::seal::excl_prog_hash;
use clap::ValueEnum;

use crate::args::name_of;
use crate::failure::{Failure, Outcome, Report};
use crate::files;
use crate::host::HostArgs;
use crate::input::{SealFile, is_object, object_report};
use crate::signer::SignArgs;
use crate::terminal::say;

const INSNS: &str = "insns.bin";
const METADATA: &str = "metadata.bin";
const SIGNATURE: &str = "signature.der";
const EXCL_PROG_HASH: &str = "excl_prog_hash.bin";

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Writes insns.bin, metadata.bin, excl_prog_hash.bin (SHA-256 of the \
    instructions) and, where there is a signature, signature.der. What is signed is insns.bin \
    followed by metadata.bin.\n\nExamples:\n  \
    bpfseal extract prog.bpf.o --dir out\n  \
    bpfseal extract prog.bpf.o --dir out -k key.pem -i cert.pem\n  \
    bpfseal extract prog.bpf.o --dir out --form signed       for a signature made elsewhere\n  \
    bpfseal extract prog.lskel.h --dir out"
)]
pub(crate) struct Args {
    /// BPF object or artifact; `-` is standard input
    #[arg(value_name = "OBJ|ARTIFACT")]
    input: PathBuf,

    /// Folder to write into; made if it is not there
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,

    #[command(flatten)]
    sign: SignArgs,

    /// Form of an object's loader: with a key it is always the signed one
    #[arg(long)]
    form: Option<FormArg>,

    /// Name of the object instead of that of its file
    #[arg(long)]
    name: Option<String>,

    #[command(flatten)]
    host: HostArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FormArg {
    /// Ignores what the host asks for, so that it can be signed
    Signed,
    /// Takes max_entries and initial values from the host
    Unsigned,
}

struct Pieces {
    instructions: Vec<u8>,
    metadata: Vec<u8>,
    signature: Option<Vec<u8>>,
    excl_prog_hash: [u8; 32],
}

pub(crate) fn run(args: &Args) -> Outcome {
    let bytes = files::read(&args.input)?;
    let pieces = if is_object(&bytes) {
        from_object(args, &bytes)?
    } else {
        from_artifact(args, &bytes)?
    };
    let dir = &args.dir;
    let signature = dir.join(SIGNATURE);
    if pieces.signature.is_none() && signature.symlink_metadata().is_ok() {
        return Err(Failure::usage(
            format!(
                "`{}` would stay beside pieces that it does not belong to",
                signature.display()
            ),
            "remove it, or give another directory",
        ));
    }
    files::create_directory(dir)?;
    files::write(&dir.join(INSNS), &pieces.instructions)?;
    files::write(&dir.join(METADATA), &pieces.metadata)?;
    files::write(&dir.join(EXCL_PROG_HASH), &pieces.excl_prog_hash.to_vec())?;
    if let Some(bytes) = &pieces.signature {
        files::write(&signature, bytes)?;
    }
    Ok(())
}

fn from_object(args: &Args, bytes: &[u8]) -> Result<Pieces, Failure> {
    let name = name_of(&args.input, args.name.as_deref())?;
    let host = args.host.load()?;
    let place = files::shown(&args.input);
    let report = |e: bpfseal::MakeError| Report::new(&place, &e, e.advice());
    let object =
        Object::parse(bytes, &name).map_err(|e| object_report(&place, bytes, &e, e.advice()))?;
    let (made, signature) = if args.sign.is_empty() {
        let form = match args.form {
            Some(FormArg::Signed) => Form::Signed,
            Some(FormArg::Unsigned) | None => Form::Unsigned,
        };
        let made = bpfseal::make_loader(object, &host, form).map_err(report)?;
        (made, None)
    } else {
        if args.form == Some(FormArg::Unsigned) {
            return Err(Failure::usage(
                "the unsigned form is not to be signed",
                "leave --form away, or -k and -i",
            ));
        }
        let (key, certificate) = args.sign.load()?;
        let sealed = Sealer::new(&certificate)
            .host(&host)
            .seal(object, &*key)
            .map_err(report)?;
        let signature = sealed.sealed_loader().seal.signature.to_vec();
        (sealed.made, Some(signature))
    };
    for note in super::generate::notes(&place, &made, &host) {
        say!("{note}");
    }
    Ok(Pieces {
        excl_prog_hash: excl_prog_hash(&made.loader.instructions),
        instructions: made.loader.instructions,
        metadata: made.loader.metadata,
        signature,
    })
}

fn from_artifact(args: &Args, bytes: &[u8]) -> Result<Pieces, Failure> {
    if !args.sign.is_empty() || args.form.is_some() || args.name.is_some() {
        return Err(Failure::usage(
            "an artifact is taken apart as it is",
            "give an object to sign it, or leave -k, -i, --form and --name away",
        ));
    }
    let artifact = SealFile::bytes_only(true).artifact_of(&files::shown(&args.input), bytes)?;
    // There is always one: an artifact without a form is not read.
    let form = artifact.forms.first().ok_or(Failure::Rejected)?;
    Ok(Pieces {
        instructions: form.instructions().to_vec(),
        excl_prog_hash: form.excl_prog_hash(),
        signature: form.seal().map(|seal| seal.signature.to_vec()),
        metadata: artifact.metadata,
    })
}
