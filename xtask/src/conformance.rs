//! `cargo xtask conformance`: are our bytes those of the reference?
//!
//! Subjects are the project's own objects, every folder that is given, and the corpus beside the
//! project with its manifest. A difference is named by its place in the load plan.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use bpfseal::artifact::{Artifact, LoaderForm};
use bpfseal::loader::{Form, HostDependency};
use bpfseal::object::{Object, object_name};
use bpfseal::seal::{Certificate, Scheme, Seal, SigningKey, hex, seal_load_time};
use bpfseal::{Made, RunningHost, make_loader};
use sha2::Digest as _;

use crate::headers;
use crate::manifest::{self, Entry};
use crate::project;
use crate::reference::Reference;

#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Folders with objects to compare besides the project's own
    folders: Vec<PathBuf>,

    /// Leave the corpus beside the project out
    #[arg(long)]
    no_corpus: bool,

    /// Run the reference on every object of the corpus instead of trusting its manifest
    #[arg(long)]
    rerun: bool,

    /// Leave out what compiles C headers
    #[arg(long)]
    no_headers: bool,

    /// Compare loaders of the in-loader scheme with the bpftool of Linux 7.2 instead
    #[arg(long)]
    in_loader: bool,

    /// Write down what the reference makes of the project's objects, for tests without it
    #[arg(long)]
    record: bool,
}

/// Key and certificate that both sides sign with.
struct Identity {
    key_path: PathBuf,
    certificate_path: PathBuf,
    key: SigningKey,
    certificate: Certificate,
}

impl Identity {
    fn read(key_path: PathBuf, certificate_path: PathBuf) -> anyhow::Result<Self> {
        let key = SigningKey::from_pem(&std::fs::read(&key_path)?)?;
        let certificate = Certificate::from_bytes(&std::fs::read(&certificate_path)?)?;
        Ok(Self {
            key_path,
            certificate_path,
            key,
            certificate,
        })
    }
}

/// What came of one comparison. The order is that of the report.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// Every byte is the same.
    Same,
    /// Both refuse.
    BothRefuse,
    /// The reference crashed where ours makes a loader.
    ReferenceCrashes,
    /// Could not be compared here.
    Skipped(String),
    /// Ours refuses what the reference takes.
    OursRefuses(String),
    /// The reference refuses what ours takes.
    ReferenceRefuses(String),
    /// Other bytes.
    Differs(Vec<String>),
}

impl Outcome {
    fn title(&self) -> &'static str {
        match self {
            Self::Same => "same bytes",
            Self::BothRefuse => "refused by both",
            Self::ReferenceCrashes => "made by ours, while the reference crashes",
            Self::Skipped(_) => "NOT COMPARED",
            Self::OursRefuses(_) => "REFUSED BY OURS ONLY",
            Self::ReferenceRefuses(_) => "REFUSED BY THE REFERENCE ONLY",
            Self::Differs(_) => "DIFFERENT BYTES",
        }
    }

    fn details(&self) -> Vec<String> {
        match self {
            Self::Same | Self::BothRefuse | Self::ReferenceCrashes => Vec::new(),
            Self::Skipped(why) | Self::OursRefuses(why) | Self::ReferenceRefuses(why) => {
                vec![why.clone()]
            }
            Self::Differs(places) => places.clone(),
        }
    }

    fn is_failure(&self) -> bool {
        matches!(
            self,
            Self::OursRefuses(_) | Self::ReferenceRefuses(_) | Self::Differs(_)
        )
    }
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    if args.in_loader {
        return in_loader(args);
    }
    let reference = Reference::fetch_or_skip()?;
    let mut failures = 0;
    if let Some(reference) = &reference {
        let keys = project::root().join("testdata/keys");
        let identity = Identity::read(keys.join("rsa2048.key.pem"), keys.join("rsa2048.cert.pem"))?;
        let mut folders = vec![project::objects()];
        folders.extend(args.folders.iter().cloned());
        if args.record {
            record(reference, &identity)?;
        }
        for folder in folders {
            let objects = project::objects_in(&folder)?;
            failures += compare_all(&folder.display().to_string(), &objects, |path| {
                against_reference(reference, &identity, path)
            })?;
        }
    }
    match project::shared("corpus") {
        _ if args.no_corpus => {}
        None => eprintln!("SKIPPED: no corpus beside the project"),
        Some(corpus) => {
            failures += compare_corpus(&corpus, reference.as_ref(), args.rerun)?;
        }
    }
    if let Some(reference) = &reference
        && !args.no_headers
    {
        headers::run(reference)?;
    }
    if failures > 0 {
        bail!("{failures} objects do not conform");
    }
    Ok(())
}

/// Writes `testdata/objects/reference.jsonl`, the reference's answers in the form of the corpus'
/// manifest, for objects that take nothing of the kernel that runs here.
fn record(reference: &Reference, identity: &Identity) -> anyhow::Result<()> {
    let root = project::objects();
    let mut lines = String::new();
    for path in project::objects_in(&root)? {
        let dependent = make(&path, Form::Signed)?
            .is_ok_and(|made| made.plan.host.iter().any(depends_on_kernel));
        if dependent {
            continue;
        }
        let sign = Some((
            identity.key_path.as_path(),
            identity.certificate_path.as_path(),
        ));
        let unsigned = recorded(&reference.skeleton(&path, None)?)?;
        let signed = recorded(&reference.skeleton(&path, sign)?)?;
        let line = serde_json::json!({
            "path": path.strip_prefix(&root)?,
            "unsigned": unsigned,
            "signed": signed,
        });
        lines.push_str(&format!("{line}\n"));
    }
    std::fs::write(root.join("reference.jsonl"), lines)?;
    Ok(())
}

fn recorded(output: &std::process::Output) -> anyhow::Result<serde_json::Value> {
    use std::os::unix::process::ExitStatusExt as _;
    let sha256 = |bytes: &[u8]| hex(&sha2::Sha256::digest(bytes));
    if !output.status.success() {
        let code = output.status.code();
        let signal = output.status.signal().map(|signal| -signal);
        return Ok(serde_json::json!({ "rc": code.or(signal) }));
    }
    let theirs = Artifact::parse(&output.stdout)?;
    let insns = sha256(theirs.forms[0].instructions());
    let metadata = sha256(&theirs.metadata);
    Ok(match &theirs.forms[0] {
        LoaderForm::Unsigned { .. } => serde_json::json!({
            "insns_sha256": insns,
            "metadata_sha256": metadata,
        }),
        LoaderForm::Sealed { seal, .. } => serde_json::json!({
            "insns_sha256": insns,
            "metadata_sha256": metadata,
            "signature_sha256": sha256(&seal.signature),
            "excl_prog_hash": hex(&seal.excl_prog_hash),
        }),
    })
}

fn compare_corpus(
    corpus: &Path,
    reference: Option<&Reference>,
    rerun: bool,
) -> anyhow::Result<usize> {
    let identity = Identity::read(corpus.join("key.pem"), corpus.join("cert.pem"))?;
    let entries: BTreeMap<PathBuf, Entry> = manifest::read(corpus)?
        .into_iter()
        .map(|entry| (corpus.join(&entry.path), entry))
        .collect();
    let objects: Vec<PathBuf> = entries.keys().cloned().collect();
    compare_all("corpus", &objects, |path| match reference {
        Some(reference) if rerun => against_reference(reference, &identity, path),
        _ => {
            let entry = entries.get(path).context("not in the manifest")?;
            against_manifest(entry, reference, &identity, path)
        }
    })
}

/// Compares many objects on all cores and prints what came of it; how many failed.
fn compare_all(
    title: &str,
    objects: &[PathBuf],
    compare: impl Fn(&Path) -> anyhow::Result<Outcome> + Sync,
) -> anyhow::Result<usize> {
    let outcomes = project::in_parallel(objects, |path| compare(path));
    let mut by_outcome: BTreeMap<&str, Vec<(PathBuf, Outcome)>> = BTreeMap::new();
    let mut failures = 0;
    for (path, outcome) in objects.iter().zip(outcomes) {
        let outcome = outcome.with_context(|| path.display().to_string())?;
        failures += usize::from(outcome.is_failure());
        by_outcome
            .entry(outcome.title())
            .or_default()
            .push((path.clone(), outcome));
    }
    println!("{title}: {} objects", objects.len());
    for (title, mut subjects) in by_outcome {
        println!("  {:4}  {title}", subjects.len());
        subjects.sort();
        for (path, outcome) in subjects {
            for detail in outcome.details() {
                println!("          {}: {detail}", path.display());
            }
        }
    }
    Ok(failures)
}

fn make(path: &Path, form: Form) -> anyhow::Result<Result<Made, String>> {
    let bytes = std::fs::read(path)?;
    let name = object_name(&path.to_string_lossy());
    Ok(Object::parse(&bytes, &name)
        .map_err(bpfseal::MakeError::from)
        .and_then(|object| make_loader(object, &RunningHost, form))
        .map_err(|e| e.to_string()))
}

fn seal(made: &Made, identity: &Identity) -> anyhow::Result<Seal> {
    Ok(seal_load_time(
        &made.loader.instructions,
        &made.loader.metadata,
        &identity.key,
        &identity.certificate,
    )?)
}

/// Compares loaders that check their metadata themselves with those of the reference of Linux 7.2.
fn in_loader(args: &Args) -> anyhow::Result<()> {
    let reference = Reference::fetch_in_loader()?;
    let keys = project::root().join("testdata/keys");
    let identity = Identity::read(keys.join("rsa2048.key.pem"), keys.join("rsa2048.cert.pem"))?;
    let mut folders = vec![project::objects()];
    folders.extend(args.folders.iter().cloned());
    folders.extend(project::shared("corpus").filter(|_| !args.no_corpus));
    let mut failures = 0;
    for folder in folders {
        let objects = project::objects_in(&folder)?;
        failures += compare_all(&folder.display().to_string(), &objects, |path| {
            against_in_loader(&reference, &identity, path)
        })?;
    }
    if failures > 0 {
        bail!("{failures} objects differ");
    }
    Ok(())
}

fn against_in_loader(
    reference: &Reference,
    identity: &Identity,
    path: &Path,
) -> anyhow::Result<Outcome> {
    let sign = Some((
        identity.key_path.as_path(),
        identity.certificate_path.as_path(),
    ));
    let output = reference.skeleton(path, sign)?;
    let bytes = std::fs::read(path)?;
    let ours = Object::parse(&bytes, &object_name(&path.to_string_lossy()))
        .map_err(bpfseal::MakeError::from)
        .and_then(|object| {
            bpfseal::Sealer::new(&identity.certificate)
                .schemes(&[Scheme::InLoaderExclusive])
                .seal(object, &identity.key)
        });
    let (ours, theirs) = match (ours, output.status.success()) {
        (Err(_), false) => return Ok(Outcome::BothRefuse),
        (Err(why), true) => return Ok(Outcome::OursRefuses(why.to_string())),
        (Ok(_), false) if output.status.code().is_none() => return Ok(Outcome::ReferenceCrashes),
        (Ok(_), false) => {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            // It is older, and knows less.
            return Ok(Outcome::Skipped(format!(
                "the older reference refuses it: {said}"
            )));
        }
        (Ok(ours), true) => (ours, Artifact::parse(&output.stdout)?),
    };
    let ours = ours.sealed_loader();
    let form = &theirs.forms[0];
    let their_seal = form.seal().context("the reference's is signed")?;
    let mut places = Vec::new();
    for (what, same) in [
        ("the instructions", ours.instructions == form.instructions()),
        ("the metadata", ours.metadata == &*theirs.metadata),
        ("the signature", ours.seal.signature == their_seal.signature),
        (
            "excl_prog_hash",
            ours.seal.excl_prog_hash == their_seal.excl_prog_hash,
        ),
    ] {
        if !same {
            places.push(what.to_owned());
        }
    }
    Ok(if places.is_empty() {
        Outcome::Same
    } else {
        Outcome::Differs(places)
    })
}

/// Compares with what the reference makes of the object now.
fn against_reference(
    reference: &Reference,
    identity: &Identity,
    path: &Path,
) -> anyhow::Result<Outcome> {
    let sign = Some((
        identity.key_path.as_path(),
        identity.certificate_path.as_path(),
    ));
    let mut places = Vec::new();
    for (form, sign) in [(Form::Unsigned, None), (Form::Signed, sign)] {
        let output = reference.skeleton(path, sign)?;
        let made = make(path, form)?;
        let theirs = output
            .status
            .success()
            .then(|| Artifact::parse(&output.stdout))
            .transpose()?;
        let (made, theirs) = match (made, theirs) {
            (Err(_), None) => return Ok(Outcome::BothRefuse),
            (Err(why), Some(_)) => return Ok(Outcome::OursRefuses(why)),
            (Ok(_), None) if output.status.code().is_none() => {
                return Ok(Outcome::ReferenceCrashes);
            }
            (Ok(_), None) => {
                return Ok(Outcome::ReferenceRefuses(
                    String::from_utf8_lossy(&output.stderr).trim().to_owned(),
                ));
            }
            (Ok(made), Some(theirs)) => (made, theirs),
        };
        let form = &theirs.forms[0];
        places.extend(differences(&made, form.instructions(), &theirs.metadata));
        if let Some(their_seal) = form.seal() {
            let seal = seal(&made, identity)?;
            if seal.signature != their_seal.signature {
                places.push("the signature".to_owned());
            }
            if seal.excl_prog_hash != their_seal.excl_prog_hash {
                places.push("excl_prog_hash".to_owned());
            }
        }
    }
    Ok(if places.is_empty() {
        Outcome::Same
    } else {
        Outcome::Differs(places)
    })
}

/// The first difference of instructions and of metadata, by their places.
fn differences(made: &Made, instructions: &[u8], metadata: &[u8]) -> Vec<String> {
    let loader = &made.loader;
    let form = match loader.form {
        Form::CheckingExclusive => "in-loader, exclusive",
        Form::CheckingMetadata => "in-loader",
        Form::Signed => "signed",
        Form::Unsigned => "unsigned",
    };
    let mut places = Vec::new();
    if let Some(at) = first_difference(&loader.instructions, instructions) {
        places.push(format!(
            "{form}: {} ({} bytes, the reference has {})",
            loader.describe_insn(&made.plan, at / 8),
            loader.instructions.len(),
            instructions.len()
        ));
    }
    if let Some(at) = first_difference(&loader.metadata, metadata) {
        places.push(format!(
            "{form}: {} ({} bytes, the reference has {})",
            loader.describe_data(&made.plan, at),
            loader.metadata.len(),
            metadata.len()
        ));
    }
    places
}

fn first_difference(ours: &[u8], theirs: &[u8]) -> Option<usize> {
    if ours == theirs {
        return None;
    }
    let common = ours.iter().zip(theirs).position(|(a, b)| a != b);
    Some(common.unwrap_or(ours.len().min(theirs.len())))
}

/// Compares with what the manifest says; where that depends on a host, with the reference here.
fn against_manifest(
    entry: &Entry,
    reference: Option<&Reference>,
    identity: &Identity,
    path: &Path,
) -> anyhow::Result<Outcome> {
    use manifest::Made::{Failed, Pieces};
    let mut places = Vec::new();
    for (form, theirs) in [
        (Form::Unsigned, &entry.unsigned),
        (Form::Signed, &entry.signed),
    ] {
        let made = make(path, form)?;
        let (made, pieces) = match (made, theirs) {
            (Err(_), Failed { .. }) => return Ok(Outcome::BothRefuse),
            (Err(why), Pieces(_)) => return Ok(Outcome::OursRefuses(why)),
            (Ok(_), Failed { rc, .. }) if *rc < 0 => return Ok(Outcome::ReferenceCrashes),
            (Ok(_), Failed { error, .. }) => {
                return Ok(Outcome::ReferenceRefuses(error.clone().unwrap_or_default()));
            }
            (Ok(made), Pieces(pieces)) => (made, pieces),
        };
        if made.plan.host.iter().any(depends_on_kernel) {
            return match reference {
                Some(reference) => against_reference(reference, identity, path),
                None => Ok(Outcome::Skipped(
                    "depends on the host, and there is no reference to run".to_owned(),
                )),
            };
        }
        let mut check = |what: &str, ours: &str, theirs: &str| {
            if ours != theirs {
                places.push(format!("{form:?}: {what}"));
            }
        };
        let sha256 = |bytes: &[u8]| hex(&sha2::Sha256::digest(bytes));
        check(
            "instructions",
            &sha256(&made.loader.instructions),
            &pieces.insns_sha256,
        );
        check(
            "metadata",
            &sha256(&made.loader.metadata),
            &pieces.metadata_sha256,
        );
        if form == Form::Signed {
            let seal = seal(&made, identity)?;
            let signature = pieces.signature_sha256.as_deref();
            check(
                "signature",
                &sha256(&seal.signature),
                signature.context("the manifest has no signature")?,
            );
            let hash = pieces.excl_prog_hash.as_deref();
            check(
                "excl_prog_hash",
                &hex(&seal.excl_prog_hash),
                hash.context("the manifest has no excl_prog_hash")?,
            );
        }
    }
    if places.is_empty() {
        return Ok(Outcome::Same);
    }
    // Where exactly is known only beside the reference's own bytes.
    match reference {
        Some(reference) => match against_reference(reference, identity, path)? {
            Outcome::Same => {
                places.push("(but the reference run here gives our bytes)".to_owned());
                Ok(Outcome::Differs(places))
            }
            other => Ok(other),
        },
        None => Ok(Outcome::Differs(places)),
    }
}

/// Whether a value is one of the kernel of the manifest's host.
fn depends_on_kernel(dependency: &HostDependency) -> bool {
    !matches!(dependency, HostDependency::PageSize(_))
}
