//! `bpfseal seal`: objects to sealed artifacts, many at once.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::IsTerminal as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use bpfseal::artifact::{Artifact, ArtifactError, ArtifactFile, ArtifactKind, Bundle};
use bpfseal::model::foresee::{Foreseen, foresee};
use bpfseal::model::kernel::Profile;
use bpfseal::seal::Signer;
use bpfseal::{Made, Sealed, Sealer};
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};

use super::generate::{libraries, read_source};
use crate::args::SchemeArgs;
use crate::failure::{Failure, Outcome, Report};
use crate::files;
use crate::host::{HostArgs, Values};
use crate::input::{SealFile, read_seal};
use crate::signer::SignArgs;
use crate::terminal::say;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    bpfseal seal prog.bpf.o -k key.pem -i cert.pem             writes prog.lskel.h\n  \
    bpfseal seal prog.bpf.o -k key.pem -i cert.pem -o out.h\n  \
    bpfseal seal *.bpf.o -k key.pem -i cert.pem -o sealed/     one artifact for each object\n  \
    bpfseal seal prog.bpf.o -k key.pem -i cert.pem --scheme all-kernels -o prog.bpfseal\n  \
    bpfseal seal prog.bpf.o -k key.pem -i cert.pem -o prog.seal     signatures alone, beside the object\n  \
    bpfseal seal prog.bpfseal --add-signature -k operator.key -i operator.pem\n  \
    bpfseal seal - -k key.pem -i cert.pem --name prog -o - < prog.bpf.o > prog.lskel.h\n\n\
    A signed loader ignores what a program sets in rodata before loading it.")]
pub(crate) struct Args {
    /// BPF objects; with --add-signature bundles; `-` is standard input
    #[arg(required = true, value_name = "OBJ")]
    objects: Vec<PathBuf>,

    #[command(flatten)]
    sign: SignArgs,

    #[command(flatten)]
    scheme: SchemeArgs,

    /// Add a signature to those of a bundle, which is given instead of an object, or to those of an
    /// object's detached seal, which --seal names; without --output the file is replaced. A kernel
    /// takes the artifact when it trusts one of the signers, and refuses it when any of the
    /// signatures does not hold
    #[arg(long, conflicts_with_all = ["provenance", "emit", "name"])]
    add_signature: bool,

    #[command(flatten)]
    seal: SealFile,

    /// Put the certificates, and how it was made, into a bundle too
    #[arg(long)]
    provenance: bool,

    /// Where to write: a file, a folder, or `-`; without it, into the current folder, named after
    /// the object
    #[arg(short, long, value_name = "OUT")]
    output: Option<PathBuf>,

    /// What to write; without it, OUT's ending decides
    #[arg(long, value_name = "FORMAT")]
    emit: Option<Format>,

    /// Make a C light skeleton that needs no libbpf, for user space
    #[arg(long)]
    standalone: bool,

    /// Name of the object instead of that of its file; it becomes part of the signed bytes
    #[arg(long)]
    name: Option<String>,

    #[command(flatten)]
    host: HostArgs,
}

/// Forms of an artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Bundle: one file for every kernel, for `load` and the library
    Bundle,
    /// C light skeleton
    C,
    /// Rust light skeleton, for programs that use the crate `bpfseal`
    Rust,
    /// Signatures alone, beside the object that stays as it is
    Detached,
    /// C light skeleton that needs no libbpf
    #[value(skip)]
    Standalone,
}

impl Args {
    /// The format, with --standalone.
    fn format(&self, format: Format) -> Result<Format, Failure> {
        match (self.standalone, format) {
            (false, format) => Ok(format),
            (true, Format::C) => Ok(Format::Standalone),
            (true, _) => Err(Failure::usage(
                "--standalone is for C light skeletons",
                "leave it away, or write a C light skeleton: --emit c",
            )),
        }
    }
}

impl Format {
    fn ending(self) -> &'static str {
        match self {
            Self::Bundle => "bpfseal",
            Self::C | Self::Standalone => "lskel.h",
            Self::Rust => "rs",
            Self::Detached => "seal",
        }
    }

    /// Whether it names the digest of the object's file.
    pub(super) fn names_file(self) -> bool {
        matches!(self, Self::Bundle | Self::Detached)
    }

    /// The format that is asked for, by an option or by the output's name.
    pub(super) fn of(output: &Path, emit: Option<Self>) -> Result<Self, Failure> {
        let by_name = || match files::is_stdio(output) {
            true => Some(Self::C),
            false => Self::of_file(output),
        };
        emit.or_else(by_name).ok_or_else(|| {
            Failure::usage(
                format!("`{}` has no ending that names a format", output.display()),
                "use .h for a C light skeleton, .rs for a Rust one, .bpfseal for a bundle, .seal for a detached seal; or give --emit",
            )
        })
    }

    /// The format that a file's name asks for.
    fn of_file(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "bpfseal" => Some(Self::Bundle),
            "h" => Some(Self::C),
            "rs" => Some(Self::Rust),
            "seal" => Some(Self::Detached),
            _ => None,
        }
    }
}

/// One object and where its artifact goes.
struct Job<'a> {
    object: &'a Path,
    output: PathBuf,
    format: Format,
}

/// What there is to do.
struct Plan<'a> {
    jobs: Vec<Job<'a>>,
    /// A directory for the artifacts, which may not be there yet.
    folder: Option<PathBuf>,
}

/// What all jobs share.
struct Shop<'a> {
    sealer: Sealer<'a>,
    key: &'a (dyn Signer + Sync),
    host: &'a Values,
    name: Option<&'a str>,
}

pub(crate) fn run(args: &Args) -> Outcome {
    if args.add_signature {
        return add_signatures(args);
    }
    if args.seal.path.is_some() {
        return Err(Failure::usage(
            "--seal names what a signature is added to",
            "say --add-signature too; to write a detached seal: -o NAME.seal",
        ));
    }
    let Plan { jobs, folder } = plan(args)?;
    let schemes = args.scheme.schemes()?;
    if schemes.len() > 1
        && jobs
            .iter()
            .any(|job| matches!(job.format, Format::C | Format::Standalone))
    {
        return Err(Failure::usage(
            "a C light skeleton has one signature, and several schemes were asked for",
            "write a bundle (-o OUT.bpfseal) or a Rust skeleton (-o OUT.rs), or name one scheme",
        ));
    }
    let (key, certificate) = args.sign.load()?;
    let host = args.host.load()?;
    let sealer = args.scheme.sealer(&certificate, &host)?;
    let shop = Shop {
        sealer: sealer.provenance(args.provenance),
        key: &*key,
        host: &host,
        name: args.name.as_deref(),
    };
    if let Some(folder) = folder {
        files::create_directory(&folder)?;
    }
    if let [job] = jobs.as_slice() {
        let notes = shop.seal(job)?;
        for note in notes {
            say!("{note}");
        }
        if !files::is_stdio(&job.output) {
            say!("sealed: {}", files::shown(&job.output));
        }
        return Ok(());
    }
    many(&shop, &jobs)
}

/// Adds a signature to artifacts that have some.
fn add_signatures(args: &Args) -> Outcome {
    let many = args.objects.len() > 1;
    if many && (args.output.is_some() || args.seal.path.is_some()) {
        return Err(Failure::usage(
            "--output and --seal are for one artifact",
            "leave them away: each artifact is replaced",
        ));
    }
    let (key, certificate) = args.sign.load()?;
    let host = Values::default();
    let sealer = args.scheme.sealer(&certificate, &host)?;
    for path in &args.objects {
        let add = |artifact: &mut Artifact| {
            let added = sealer.add_to(artifact, &*key);
            added.map_err(|e| {
                let help = "check what is there with `bpfseal verify`";
                Report::new(&files::shown(path), &e, help)
            })
        };
        let (bytes, target) = match &args.seal.path {
            Some(file) => {
                let mut artifact = args.seal.artifact(path)?;
                add(&mut artifact)?;
                let mut seal = read_seal(file)?;
                seal.seals = artifact.sealed().map(|one| one.seal.clone()).collect();
                (seal.encode(), file)
            }
            None => {
                let mut bundle = read_bundle(path)?;
                add(&mut bundle.artifact)?;
                (bundle.encode(), path)
            }
        };
        let output = args.output.as_ref().unwrap_or(target);
        if output == target {
            files::replace(output, &bytes)?;
        } else {
            files::write(output, &bytes)?;
        }
        if !files::is_stdio(output) {
            say!("signature added: {}", files::shown(output));
        }
    }
    Ok(())
}

fn read_bundle(path: &Path) -> Result<Bundle, Report> {
    let place = files::shown(path);
    let bytes = files::read(path)?;
    match ArtifactFile::parse(&bytes) {
        Ok(file) if file.kind == ArtifactKind::Bundle => Ok(file.into_bundle()),
        Err(ArtifactError::Bundle(error)) => {
            let help = "give a bundle as `bpfseal seal` writes it";
            Err(Report::new(&place, &error, help))
        }
        Ok(_) | Err(_) => {
            let error =
                std::io::Error::other("it is no bundle, and signatures are added to bundles");
            let help = "give a .bpfseal file; or an object, and its detached seal with --seal";
            Err(Report::new(&place, &error, help))
        }
    }
}

/// Decides on the outputs before anything is read.
fn plan(args: &Args) -> Result<Plan<'_>, Failure> {
    let many = args.objects.len() > 1;
    if many && args.name.is_some() {
        return Err(Failure::usage(
            "--name is for one object",
            "leave it away: each object is named after its file",
        ));
    }
    for object in &args.objects {
        files::announce(object);
    }
    let folder = match &args.output {
        None => Some(PathBuf::new()),
        Some(path) if path.is_dir() || path.as_os_str().as_encoded_bytes().ends_with(b"/") => {
            Some(path.clone())
        }
        Some(path) if many && !files::is_stdio(path) => {
            if path.symlink_metadata().is_ok() || Format::of_file(path).is_some() {
                return Err(Failure::usage(
                    format!(
                        "`{}` is one file, and there are {} objects",
                        path.display(),
                        args.objects.len()
                    ),
                    "give a directory: -o DIR/",
                ));
            }
            Some(path.clone())
        }
        Some(path) if many => Some(path.clone()),
        Some(_) => None,
    };
    let Some(folder) = folder else {
        let output = args.output.clone().unwrap_or_default();
        let format = args.format(Format::of(&output, args.emit)?)?;
        let job = Job {
            object: &args.objects[0],
            output,
            format,
        };
        return Ok(Plan {
            jobs: vec![job],
            folder: None,
        });
    };
    if many && files::is_stdio(&folder) {
        return Err(Failure::usage(
            "several artifacts can not go to standard output",
            "give a folder: -o DIR",
        ));
    }
    let format = args.format(args.emit.unwrap_or(Format::C))?;
    let ending = format.ending();
    let mut taken: HashMap<PathBuf, &Path> = HashMap::new();
    let mut jobs = Vec::new();
    for object in &args.objects {
        if files::is_stdio(object) && args.output.is_none() {
            return Err(Failure::usage(
                "an object from standard input has no name for its artifact",
                "say where to write: -o OUT",
            ));
        }
        let Some(stem) = stem(object) else {
            return Err(Failure::usage(
                format!("`{}` has no name for its artifact", object.display()),
                "say where to write: -o OUT",
            ));
        };
        let mut name = stem.to_owned();
        name.push(".");
        name.push(ending);
        let output = folder.join(name);
        if let Some(other) = taken.insert(output.clone(), object) {
            return Err(Failure::usage(
                format!(
                    "`{}` and `{}` would both be written to `{}`",
                    other.display(),
                    object.display(),
                    output.display()
                ),
                "seal them one by one, or into different folders",
            ));
        }
        jobs.push(Job {
            object,
            output,
            format,
        });
    }
    let folder = Some(folder).filter(|folder| !folder.as_os_str().is_empty());
    Ok(Plan { jobs, folder })
}

/// The file's name without `.bpf.o` or `.o`, if anything is left.
fn stem(object: &Path) -> Option<&OsStr> {
    if files::is_stdio(object) {
        return Some("stdin".as_ref());
    }
    let name = object.file_name()?.as_bytes();
    let name = name.strip_suffix(b".o").unwrap_or(name);
    let name = name.strip_suffix(b".bpf").unwrap_or(name);
    (!name.is_empty()).then(|| OsStr::from_bytes(name))
}

impl Shop<'_> {
    /// Seals one object; returns what there is to note.
    fn seal(&self, job: &Job<'_>) -> Result<Vec<String>, Failure> {
        let place = files::shown(job.object);
        let source = read_source(job.object, self.name, job.format.names_file())?;
        let sealed = self.sealer.seal(source, self.key);
        let sealed = sealed.map_err(|e| Report::new(&place, &e, e.advice()))?;
        let mut notes = super::generate::notes(&place, &sealed.made, self.host);
        notes.extend(refused(&place, &sealed.made));
        write_sealed(sealed, &place, self.host, job.format, &job.output)?;
        Ok(notes)
    }
}

/// What the newest kernel refuses of it. A signed loader has no second chance, so it is said now;
/// sealing goes on, because it is a kernel that decides.
pub(super) fn refused(place: &str, made: &Made) -> Vec<String> {
    let found = foresee(&made.plan, Profile::V7_3.release());
    let warning = |found: &Foreseen| {
        let text = format!("warning: {place}: {found}");
        crate::terminal::one_line(&text).into_owned()
    };
    found.iter().map(warning).collect()
}

/// Writes what was sealed. Faults of the contents are those of `place`.
pub(super) fn write_sealed(
    sealed: Sealed,
    place: &str,
    host: &Values,
    format: Format,
    output: &Path,
) -> Outcome {
    match format {
        Format::Bundle => files::write(output, &sealed.into_bundle().encode())?,
        Format::Detached => {
            let detached = sealed.into_detached(host);
            let detached = detached.map_err(|e| Report::new(place, &e, e.advice()))?;
            files::write(output, &detached.encode())?;
        }
        Format::C | Format::Standalone => {
            let standalone = format == Format::Standalone;
            let header = sealed.c_header().and_then(|h| libraries(h, standalone));
            let header = header.map_err(|e| Report::new(place, &e, e.advice()))?;
            files::write(output, &header)?;
        }
        Format::Rust => {
            let module = sealed.rust_module();
            let module = module.map_err(|e| Report::new(place, &e, e.advice()))?;
            files::write(output, &module)?;
        }
    }
    Ok(())
}

/// Seals many objects on all cores; goes on after a bad one.
fn many(shop: &Shop<'_>, jobs: &[Job<'_>]) -> Outcome {
    let bar = if std::io::stderr().is_terminal() {
        let style = ProgressStyle::with_template("{bar:40} {pos}/{len} {wide_msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        ProgressBar::new(jobs.len() as u64).with_style(style)
    } else {
        ProgressBar::hidden()
    };
    let say = |text: &str| {
        if bar.is_hidden() {
            say!("{text}");
        } else {
            bar.println(text);
        }
    };
    let next = AtomicUsize::new(0);
    let failed: Mutex<Vec<usize>> = Mutex::new(Vec::new());
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers.min(jobs.len()) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(job) = jobs.get(index) else { break };
                    bar.set_message(files::shown(job.object));
                    match shop.seal(job) {
                        Ok(notes) => notes.iter().for_each(|note| say(note)),
                        Err(failure) => {
                            if let Some(text) = failure.text() {
                                say(&text);
                            }
                            if let Ok(mut failed) = failed.lock() {
                                failed.push(index);
                            }
                        }
                    }
                    bar.inc(1);
                }
            });
        }
    });
    bar.finish_and_clear();
    let mut failed = failed.into_inner().unwrap_or_default();
    failed.sort_unstable();
    say!(
        "sealed: {} of {} objects",
        jobs.len() - failed.len(),
        jobs.len()
    );
    if failed.is_empty() {
        return Ok(());
    }
    say!("failed:");
    for index in failed {
        say!("  {}", files::shown(jobs[index].object));
    }
    Err(Failure::Some)
}
