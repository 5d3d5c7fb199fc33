//! What virtual machines start from: the first process, every test, the command, examples, and the
//! sealed corpus, as one file for all kernels. Which tests a machine runs, its command line says.
//!
//! The programs are those that are tested on this host too. They find its libraries in the file;
//! the command is linked once more without any, as it is given away.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use bpfseal::Sealer;
use bpfseal::artifact::Artifact;
use bpfseal::object::{Endian, Object, object_name};
use bpfseal::seal::{Certificate, Scheme, SigningKey};
use bpfseal_proof::signatures::prepared;
use serde::{Deserialize, Serialize};

use crate::reference::Reference;
use crate::{headers, project, roster, static_link};

/// The name of the benchmark among the tests.
pub(crate) const BENCHMARK: &str = "benchmark";

/// Files, and their names in the machine.
type Files = Vec<(PathBuf, String)>;

/// The programs that one build of the workspace gives, by their names.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Programs {
    commands: BTreeMap<String, PathBuf>,
    /// Of the crates in `tests/`.
    tests: BTreeMap<String, PathBuf>,
}

fn folder() -> PathBuf {
    project::target().join("kernels")
}

fn list() -> PathBuf {
    folder().join("programs.json")
}

/// Where [`with_tests`] writes.
pub(crate) fn path_with_tests() -> PathBuf {
    folder().join("initramfs.cpio")
}

/// Builds everything in the workspace, once for all who run or pack it, and what belongs to the
/// workspace of examples.
pub(crate) fn build() -> anyhow::Result<()> {
    let programs = build_workspace()?;
    std::fs::create_dir_all(folder())?;
    std::fs::write(list(), serde_json::to_string(&programs)?)?;
    Ok(())
}

fn build_workspace() -> anyhow::Result<Programs> {
    let artifacts = project::build(&["--workspace", "--all-targets"], project::root())?;
    static_link::command(&artifacts)?;
    let mut programs = Programs::default();
    let tests = project::root().join("tests");
    for artifact in artifacts {
        let Some(path) = artifact.executable else {
            continue;
        };
        let name = artifact.target.name;
        let kind = |kind: &str| artifact.target.kind.iter().any(|k| k == kind);
        if kind("bin") && !artifact.profile.test {
            programs.commands.insert(name, path);
        } else if kind("test") && artifact.manifest_path.starts_with(&tests) {
            programs.tests.insert(name, path);
        }
    }
    Ok(programs)
}

/// Packs the tests. Everything has been built.
pub(crate) fn with_tests() -> anyhow::Result<PathBuf> {
    let text = std::fs::read_to_string(list()).context("nothing has been built")?;
    let programs: Programs = serde_json::from_str(&text)?;
    let find = |from: &BTreeMap<String, PathBuf>, name: &str| {
        let path = from.get(name).cloned();
        path.with_context(|| format!("`{name}` was not built"))
    };
    let mut files = Files::new();
    files.push((find(&programs.commands, "vm-init")?, "init".to_owned()));
    files.push((find(&programs.commands, "watch")?, "bin/watch".to_owned()));
    files.push((static_link::path(), "bin/bpfseal".to_owned()));
    for name in roster::names() {
        files.push((find(&programs.tests, name)?, format!("tests/{name}")));
    }
    files.push((
        signature_cases()?,
        prepared::PATH.trim_start_matches('/').to_owned(),
    ));
    files.extend(examples_in_c()?);
    files.extend(handover()?);
    files.extend(seal_corpus()?);
    pack(files, &path_with_tests())
}

/// Builds the benchmark in release mode and packs it.
pub(crate) fn with_benchmark() -> anyhow::Result<PathBuf> {
    let (mut cargo, built) = project::static_cargo("build")?;
    project::check(
        cargo
            .args(["--quiet", "--release", "--package", "vm-init"])
            .args([
                "--package",
                "xtask",
                "--bin",
                "vm-bench",
                "--bin",
                "vm-init",
            ])
            .args(["--package", "bpfseal-cli", "--bin", "bpfseal"]),
    )?;
    let keys = project::root().join("testdata/keys");
    let mut files = vec![
        (built.join("release/vm-init"), "init".to_owned()),
        (built.join("release/vm-bench"), format!("tests/{BENCHMARK}")),
        (built.join("release/bpfseal"), "bin/bpfseal".to_owned()),
        (keys.join("rsa2048.cert.pem"), "bench/cert.pem".to_owned()),
    ];
    files.extend(examples_in_c()?);
    let identity = Identity::read(&keys)?;
    let reference = Reference::fetch()?;
    for name in BENCH_OBJECTS {
        let path = project::objects().join(format!("{name}.bpf.o"));
        files.extend(identity.seal(&path, name, "bench", Some(&reference))?);
    }
    pack(files, &folder().join("benchmark.cpio"))
}

/// The messages and certificates that a kernel is asked about.
fn signature_cases() -> anyhow::Result<PathBuf> {
    std::fs::create_dir_all(folder())?;
    let path = folder().join("signatures.jsonl");
    let mut out = std::io::BufWriter::new(std::fs::File::create(&path)?);
    prepared::write(&mut out)?;
    std::io::Write::flush(&mut out)?;
    Ok(path)
}

/// Objects that loading is measured with: a small one, one with many maps, one with many programs.
const BENCH_OBJECTS: [&str; 4] = ["one_map", "work_maps", "work_probes", "subprograms"];

/// Programs in C, static: our headers with each scheme, and what loads the reference's bytes.
fn examples_in_c() -> anyhow::Result<Files> {
    let counters = Scheme::KERNELS.map(|scheme| {
        let name = format!("counter-{}", scheme.name());
        (name, headers::c_example(scheme))
    });
    let reference = ("reference-loader".to_owned(), headers::reference_loader());
    let mut files = Files::new();
    for (name, built) in counters.into_iter().chain([reference]) {
        match built {
            Ok(path) => files.push((path, format!("bin/{name}"))),
            Err(error) if !project::in_ci() => {
                eprintln!("SKIPPED: `{name}`, a program in C that was not built: {error:#}");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(files)
}

/// The examples that hand maps over to other libraries: a workspace of their own.
const HANDOVER: [&str; 2] = ["handover-aya", "handover-libbpf-rs"];

/// Builds them.
pub(crate) fn build_handover() -> anyhow::Result<()> {
    // Where the C compiler finds static libraries; libbpf-sys does not ask it.
    let libelf = Command::new("gcc")
        .arg("-print-file-name=libelf.a")
        .output()?;
    let libelf = PathBuf::from(String::from_utf8(libelf.stdout)?.trim());
    let mut cargo = Command::new("cargo");
    cargo
        .args(["build", "--quiet", "--features", "checked"])
        .env(
            "LIBBPF_SYS_LIBRARY_PATH",
            libelf.parent().unwrap_or(&libelf),
        )
        .env("CARGO_TARGET_DIR", project::target())
        .current_dir(project::root().join("examples/handover"));
    for name in HANDOVER {
        cargo.args(["--package", name]);
    }
    match project::check(&mut cargo) {
        Err(error) if !project::in_ci() => {
            eprintln!(
                "SKIPPED: the examples of handing maps over, which were not built: {error:#}"
            );
            Ok(())
        }
        result => result,
    }
}

fn handover() -> anyhow::Result<Files> {
    let mut files = Files::new();
    for name in HANDOVER {
        let path = project::target().join("debug").join(name);
        if path.exists() {
            files.push((path, format!("bin/{name}")));
        } else if project::in_ci() {
            bail!("`{name}` was not built");
        } else {
            eprintln!("SKIPPED: the example `{name}`, which was not built");
        }
    }
    Ok(files)
}

/// The libraries that programs are linked with, at the places where they look for them.
fn libraries(files: &Files) -> anyhow::Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    for (path, name) in files {
        if name != "init" && !name.starts_with("bin/") && !name.starts_with("tests/") {
            continue;
        }
        // It says "not a dynamic executable", and fails, for a static one.
        let output = Command::new("ldd")
            .arg(path)
            .output()
            .context("running ldd")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let words = text.lines().flat_map(str::split_whitespace);
        found.extend(
            words
                .filter(|word| word.starts_with('/'))
                .map(PathBuf::from),
        );
    }
    Ok(found)
}

/// Writes the file that a machine starts from.
fn pack(mut files: Files, path: &Path) -> anyhow::Result<PathBuf> {
    for library in libraries(&files)? {
        let name = library.strip_prefix("/")?.to_string_lossy().into_owned();
        files.push((library, name));
    }
    std::fs::create_dir_all(folder())?;
    let mut out = std::io::BufWriter::new(std::fs::File::create(path)?);
    let mut folders: BTreeSet<&Path> = ["bench", "corpus", "dev"].map(Path::new).into();
    for (_, name) in &files {
        folders.extend(Path::new(name).ancestors().skip(1));
    }
    folders.remove(Path::new(""));
    let mut entries = Vec::new();
    for name in folders {
        let name = name.to_string_lossy();
        entries.push((cpio::NewcBuilder::new(&name).mode(0o040_755), Vec::new()));
    }
    for (from, to) in &files {
        let bytes = std::fs::read(from).with_context(|| from.display().to_string())?;
        entries.push((cpio::NewcBuilder::new(to).mode(0o100_755), bytes));
    }
    let inputs = entries
        .into_iter()
        .enumerate()
        .map(|(inode, (entry, bytes))| {
            let inode = u32::try_from(inode).unwrap_or(0) + 1;
            (entry.ino(inode), std::io::Cursor::new(bytes))
        });
    cpio::write_cpio(inputs, &mut out)?;
    Ok(path.to_owned())
}

/// Seals the corpus that may lie beside the project, with ours and with the reference.
fn seal_corpus() -> anyhow::Result<Files> {
    let Some(corpus) = project::shared("corpus") else {
        eprintln!("SKIPPED: no corpus beside the project");
        return Ok(Vec::new());
    };
    let reference = Reference::fetch_or_skip()?;
    let identity = Identity::read(&project::root().join("testdata/keys"))?;
    let mut files = Vec::new();
    for path in project::objects_in(&corpus)? {
        let name = path
            .strip_prefix(&corpus)?
            .to_string_lossy()
            .replace('/', ":");
        files.extend(identity.seal(&path, &name, "corpus", reference.as_ref())?);
    }
    Ok(files)
}

/// Who signs what goes into a machine.
struct Identity {
    key_path: PathBuf,
    certificate_path: PathBuf,
    key: SigningKey,
    certificate: Certificate,
}

impl Identity {
    fn read(keys: &Path) -> anyhow::Result<Self> {
        let key_path = keys.join("rsa2048.key.pem");
        let certificate_path = keys.join("rsa2048.cert.pem");
        Ok(Self {
            key: SigningKey::from_pem(&std::fs::read(&key_path)?)?,
            certificate: Certificate::from_bytes(&std::fs::read(&certificate_path)?)?,
            key_path,
            certificate_path,
        })
    }

    /// Our artifact of an object, and the reference's; none for an object that has no loader, or
    /// one for machines of another byte order.
    fn seal(
        &self,
        path: &Path,
        name: &str,
        place: &str,
        reference: Option<&Reference>,
    ) -> anyhow::Result<Files> {
        let mut files = Files::new();
        let bytes = std::fs::read(path)?;
        let object = Object::parse(&bytes, &object_name(&path.to_string_lossy()));
        let Some(object) = object.ok().filter(|object| object.endian == Endian::Little) else {
            return Ok(files);
        };
        let Ok(sealed) = Sealer::new(&self.certificate).seal(object, &self.key) else {
            return Ok(files);
        };
        let folder = project::target().join("kernels").join(place);
        std::fs::create_dir_all(&folder)?;
        let to = folder.join(format!("{name}.lskel.h"));
        std::fs::write(&to, sealed.c_header()?.to_string())?;
        files.push((to, format!("{place}/{name}.lskel.h")));
        if let Some(reference) = reference {
            let sign = Some((self.key_path.as_path(), self.certificate_path.as_path()));
            let output = reference.skeleton(path, sign)?;
            if output.status.success() {
                let to = folder.join(format!("{name}.pieces"));
                std::fs::write(&to, pieces(&Artifact::parse(&output.stdout)?))?;
                files.push((to, format!("{place}/{name}.pieces")));
            }
        }
        Ok(files)
    }
}

/// An artifact in the form that `xtask/c/reference_loader.c` reads.
fn pieces(artifact: &Artifact) -> Vec<u8> {
    let form = &artifact.forms[0];
    let signature = form.seal().map_or(&[][..], |seal| &seal.signature);
    let context = artifact.interface.context();
    let size = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let words = [
        context.maps,
        context.programs,
        size(&artifact.metadata),
        size(form.instructions()),
        size(signature),
    ];
    let mut out: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    out.extend(form.excl_prog_hash());
    out.extend(&*artifact.metadata);
    out.extend(form.instructions());
    out.extend(signature);
    out
}
