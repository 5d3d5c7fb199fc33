//! `cargo xtask kernels`: the tests that need a kernel, on real ones.
//!
//! Fetches kernels of Debian, packs the tests as static files into an initramfs, and boots each
//! kernel under QEMU in software: no rights and no hardware are needed.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use bpfseal::Sealer;
use bpfseal::artifact::Artifact;
use bpfseal::object::{Endian, Object, object_name};
use bpfseal::seal::{Certificate, Scheme, SigningKey};

use crate::reference::Reference;
use crate::{firmware, headers, project, reference};

/// The kernel that all tests are run on without being told which.
const DEFAULT: &str = "7.3";
/// The kernels of the older schemes, and the tests that are run on them.
const OLDER: [&str; 4] = ["6.19", "7.0", "7.1", "7.2"];
const OLDER_TESTS: [&str; 5] = ["attacks", "broken", "load", "matrix", "random"];
/// A kernel that knows no signatures, and the tests that are run on it.
const OLDEST: [&str; 1] = ["6.12"];
const OLDEST_TESTS: [&str; 2] = ["broken", "random"];
/// The tests that are run in a machine.
const TESTS: [&str; 14] = [
    "admission",
    "attacks",
    "broken",
    "end_to_end",
    "examples",
    "faults",
    "load",
    "matrix",
    "random",
    "refusals",
    "revocation",
    "scenarios",
    "signatures",
    "work",
];
/// The tests that need a firmware.
const FIRMWARE_TESTS: [&str; 1] = ["revocation"];
/// How long a machine may take, and its first process to start.
const LIMIT: Duration = Duration::from_secs(600);
const BOOT_LIMIT: Duration = Duration::from_secs(120);
/// Variables that the tests in a machine see: how many random cases, and where to begin.
const VARIABLES: [&str; 4] = [
    "BPFSEAL_CERTIFICATES",
    "BPFSEAL_MESSAGES",
    "BPFSEAL_SCENARIOS",
    "BPFSEAL_SEED",
];
/// For many cases: how long a machine may take, in seconds.
const LIMIT_VARIABLE: &str = "BPFSEAL_LIMIT";

/// A machine's limit, as it was asked for.
fn limit() -> Duration {
    let asked = std::env::var(LIMIT_VARIABLE).ok();
    asked
        .and_then(|seconds| seconds.parse().ok())
        .map_or(LIMIT, Duration::from_secs)
}

#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Versions, such as 7.3: the newest package of each is taken
    versions: Vec<String>,

    /// Only this test file, such as `work`; can be given several times
    #[arg(long = "test", value_name = "NAME", value_parser = TESTS)]
    tests: Vec<String>,

    /// Measure what loading costs, instead of running tests
    #[arg(long, conflicts_with = "tests")]
    bench: bool,

    /// Another kernel, by its image
    #[arg(long, value_name = "FILE")]
    kernel: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    if !project::has("qemu-system-x86_64") {
        bail!("`qemu-system-x86_64` is needed: apt-get install qemu-system-x86");
    }
    let tests = if args.tests.is_empty() {
        TESTS.map(str::to_owned).to_vec()
    } else {
        args.tests.clone()
    };
    let mut images = Vec::new();
    if let Some(image) = &args.kernel {
        images.push((image.display().to_string(), image.clone()));
    }
    let told = !args.versions.is_empty() || args.kernel.is_some();
    let versions = if told {
        args.versions.clone()
    } else {
        vec![DEFAULT.to_owned()]
    };
    for version in versions {
        match fetch(&version) {
            Ok(Some(image)) => images.push((version, image)),
            Ok(None) => bail!("Debian has no kernel {version}"),
            Err(error) if !project::in_ci() => {
                eprintln!("SKIPPED: kernel {version}, which can not be had: {error:#}");
            }
            Err(error) => return Err(error),
        }
    }
    if args.bench {
        let initramfs = initramfs(&[])?;
        for (version, image) in &images {
            println!("kernel {version}:");
            run_in(image, &initramfs, &[])?;
        }
        return Ok(());
    }
    run_all(&images, &tests)?;
    run_with_firmware(&images, &tests)?;
    if told || !args.tests.is_empty() {
        return Ok(());
    }
    run_older(&OLDER, &OLDER_TESTS)?;
    run_older(&OLDEST, &OLDEST_TESTS)
}

/// The scenarios, on every kernel.
pub(crate) fn scenarios() -> anyhow::Result<()> {
    let versions: Vec<String> = [DEFAULT]
        .iter()
        .chain(&OLDER)
        .chain(&OLDEST)
        .map(|version| (*version).to_owned())
        .collect();
    run(&Args {
        versions,
        tests: vec!["random".to_owned()],
        ..Args::default()
    })
}

/// Tests on kernels that need not be to be had.
fn run_older(versions: &[&str], tests: &[&str]) -> anyhow::Result<()> {
    let mut images = Vec::new();
    for version in versions {
        match fetch(version) {
            Ok(Some(image)) => images.push(((*version).to_owned(), image)),
            // Suites drop old versions.
            Ok(None) => eprintln!("SKIPPED: kernel {version}, which Debian has not got (any more)"),
            Err(error) if !project::in_ci() => {
                eprintln!("SKIPPED: kernel {version}, which can not be had: {error:#}");
            }
            Err(error) => return Err(error),
        }
    }
    let tests: Vec<String> = tests.iter().map(|test| (*test).to_owned()).collect();
    run_all(&images, &tests)
}

fn run_all(images: &[(String, PathBuf)], tests: &[String]) -> anyhow::Result<()> {
    let needs_firmware = |test: &&String| FIRMWARE_TESTS.contains(&test.as_str());
    let tests: Vec<String> = tests
        .iter()
        .filter(|t| !needs_firmware(t))
        .cloned()
        .collect();
    run_as(images, &tests, &[], "")
}

/// The tests that want a firmware, in machines that have one.
fn run_with_firmware(images: &[(String, PathBuf)], tests: &[String]) -> anyhow::Result<()> {
    let mut wanted = tests.to_vec();
    wanted.retain(|test| FIRMWARE_TESTS.contains(&test.as_str()));
    if wanted.is_empty() {
        return Ok(());
    }
    match firmware::options()? {
        Some(options) => run_as(images, &wanted, &options, ", with firmware"),
        None => Ok(()),
    }
}

fn run_as(
    images: &[(String, PathBuf)],
    tests: &[String],
    options: &[String],
    what: &str,
) -> anyhow::Result<()> {
    if images.is_empty() || tests.is_empty() {
        return Ok(());
    }
    let initramfs = initramfs(tests)?;
    for (version, image) in images {
        println!("kernel {version}{what}:");
        run_in(image, &initramfs, options).with_context(|| format!("kernel {version}{what}"))?;
    }
    Ok(())
}

/// The image of the newest kernel package of a version; `None` when there is none.
fn fetch(version: &str) -> anyhow::Result<Option<PathBuf>> {
    let folder = project::target().join("kernels").join(version);
    let root = folder.join("root");
    if let Some(image) = find_image(&root) {
        return Ok(Some(image));
    }
    std::fs::create_dir_all(&folder)?;
    let mut names = Vec::new();
    for prefix in ["linux-binary-unsigned-", "linux-binary-", "linux-image-"] {
        let found = reference::package_names(&folder, &format!("{prefix}{version}."))?;
        names.extend(
            found
                .into_iter()
                .filter(|name| name.ends_with("-cloud-amd64")),
        );
        if !names.is_empty() {
            break;
        }
    }
    let Some(newest) = names.into_iter().max_by_key(|name| numbers(name)) else {
        return Ok(None);
    };
    eprintln!("fetching {newest} ...");
    let debs = reference::download(&folder, &[&newest])?;
    reference::unpack(&debs, &root)?;
    let image = find_image(&root).with_context(|| format!("`{newest}` has no kernel image"))?;
    Ok(Some(image))
}

/// The numbers in a name, to sort by.
fn numbers(name: &str) -> Vec<u32> {
    name.split(|c: char| !c.is_ascii_digit())
        .filter_map(|part| part.parse().ok())
        .collect()
}

fn find_image(root: &Path) -> Option<PathBuf> {
    let mut folders = vec![root.join("boot"), root.join("usr/lib/modules")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if entry.file_name().to_string_lossy().starts_with("vmlinuz") {
                return Some(path);
            }
        }
    }
    None
}

/// Files, and their names in the machine.
type Files = Vec<(PathBuf, String)>;

/// Builds what is needed and packs it with the first process. Without tests, the benchmark.
fn initramfs(tests: &[String]) -> anyhow::Result<PathBuf> {
    let (mut cargo, built) = project::static_cargo("build")?;
    // All in one go: what they share is built once.
    for program in ["vm-init", "watch", "bpfseal-cli"] {
        cargo.args(["--package", program]);
    }
    project::check(cargo.args(["--quiet", "--bins"]))?;
    let mut files = vec![(built.join("debug/vm-init"), "init".to_owned())];
    if tests.is_empty() {
        files.extend(bench_files(&built)?);
    } else {
        files.extend(test_files(&built, tests)?);
    }
    let counters = Scheme::KERNELS.map(|scheme| {
        let name = format!("counter-{}", scheme.name());
        (name, headers::c_example(scheme))
    });
    let reference = ("reference-loader".to_owned(), headers::reference_loader());
    for (name, built) in counters.into_iter().chain([reference]) {
        match built {
            Ok(path) => files.push((path, format!("bin/{name}"))),
            Err(error) if !project::in_ci() => {
                eprintln!(
                    "SKIPPED: `{name}`, a program in C that can not be built here: {error:#}"
                );
            }
            Err(error) => return Err(error),
        }
    }
    pack(files)
}

/// The tests, the command and the examples.
fn test_files(built: &Path, tests: &[String]) -> anyhow::Result<Files> {
    let mut files = Files::new();
    for name in ["bpfseal", "watch"] {
        files.push((built.join("debug").join(name), format!("bin/{name}")));
    }
    let (mut cargo, _) = project::static_cargo("test")?;
    let output = cargo
        .args(["--quiet", "--no-run", "--message-format", "json"])
        .args(["--package", "bpfseal-proof", "--package", "bpfseal-work"])
        .args(tests.iter().flat_map(|test| ["--test", test]))
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        bail!("the tests do not compile");
    }
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let message: serde_json::Value = serde_json::from_str(line)?;
        if let (Some(path), Some(name)) = (
            message["executable"].as_str(),
            message["target"]["name"].as_str(),
        ) && tests.iter().any(|test| test == name)
        {
            files.push((PathBuf::from(path), format!("tests/{name}")));
        }
    }
    let wanted = |name| tests.iter().any(|test| test == name);
    if wanted("end_to_end") {
        files.extend(seal_corpus()?);
    }
    if wanted("examples") {
        files.extend(handover(built)?);
    }
    Ok(files)
}

/// The examples that hand maps over to other libraries: a workspace of their own.
fn handover(built: &Path) -> anyhow::Result<Files> {
    let mut files = Files::new();
    for name in ["handover-aya", "handover-libbpf-rs"] {
        let (mut cargo, _) = project::static_cargo("build")?;
        // Where the C compiler finds static libraries; libbpf-sys does not ask it.
        let libelf = Command::new("gcc")
            .arg("-print-file-name=libelf.a")
            .output()?;
        let libelf = PathBuf::from(String::from_utf8(libelf.stdout)?.trim());
        cargo
            .args(["--quiet", "--package", name])
            .env(
                "LIBBPF_SYS_LIBRARY_PATH",
                libelf.parent().unwrap_or(&libelf),
            )
            .current_dir(project::root().join("examples/handover"));
        match project::check(&mut cargo) {
            Ok(()) => files.push((built.join("debug").join(name), format!("bin/{name}"))),
            Err(error) if !project::in_ci() => {
                eprintln!("SKIPPED: the example `{name}`, which can not be built here: {error:#}");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(files)
}

/// Objects that loading is measured with: a small one, one with many maps, one with many programs.
const BENCH_OBJECTS: [&str; 4] = ["one_map", "work_maps", "work_probes", "subprograms"];

/// The benchmark, in release mode, and its objects.
fn bench_files(built: &Path) -> anyhow::Result<Files> {
    let (mut cargo, _) = project::static_cargo("build")?;
    project::check(
        cargo
            .args([
                "--quiet",
                "--release",
                "--package",
                "xtask",
                "--bin",
                "vm-bench",
            ])
            .args(["--package", "bpfseal-cli", "--bin", "bpfseal"]),
    )?;
    let keys = project::root().join("testdata/keys");
    let certificate = keys.join("rsa2048.cert.pem");
    let mut files = vec![
        (built.join("release/vm-bench"), "vm-bench".to_owned()),
        (built.join("release/bpfseal"), "bin/bpfseal".to_owned()),
        (certificate, "bench/cert.pem".to_owned()),
    ];
    let identity = Identity::read(&keys)?;
    let reference = Reference::fetch()?;
    for name in BENCH_OBJECTS {
        let path = project::objects().join(format!("{name}.bpf.o"));
        files.extend(identity.seal(&path, name, "bench", Some(&reference))?);
    }
    Ok(files)
}

/// Writes the file that a machine starts from.
fn pack(files: Files) -> anyhow::Result<PathBuf> {
    let folder = project::target().join("kernels");
    std::fs::create_dir_all(&folder)?;
    let path = folder.join("initramfs.cpio");
    let mut out = std::fs::File::create(&path)?;
    let mut entries = Vec::new();
    for name in ["bench", "bin", "corpus", "dev", "tests"] {
        entries.push((cpio::NewcBuilder::new(name).mode(0o040_755), Vec::new()));
    }
    for (from, to) in files {
        let bytes = std::fs::read(&from).with_context(|| from.display().to_string())?;
        entries.push((cpio::NewcBuilder::new(&to).mode(0o100_755), bytes));
    }
    let inputs = entries
        .into_iter()
        .enumerate()
        .map(|(inode, (entry, bytes))| {
            let inode = u32::try_from(inode).unwrap_or(0) + 1;
            (entry.ino(inode), std::io::Cursor::new(bytes))
        });
    cpio::write_cpio(inputs, &mut out)?;
    Ok(path)
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

/// How often a machine is started that does not come to its first process.
const STARTS: u32 = 3;

/// Runs the tests in a machine. One that dies or hangs while it boots is started again: that is the
/// emulation's fault, and no test has run yet.
fn run_in(image: &Path, initramfs: &Path, options: &[String]) -> anyhow::Result<()> {
    for _ in 0..STARTS {
        match boot(image, initramfs, options)? {
            Some(true) => return Ok(()),
            Some(false) => bail!("tests failed"),
            None => println!("  the machine did not boot; starting it again"),
        }
    }
    bail!("the machine did not boot, {STARTS} times");
}

/// What a kernel is started with. Variables that it does not know are its first process's.
fn command_line() -> String {
    let mut line =
        "console=ttyS0 quiet oops=panic panic=-1 lsm=lockdown,bpf rdinit=/init".to_owned();
    for name in VARIABLES {
        if let Ok(value) = std::env::var(name) {
            line += &format!(" {name}={value}");
        }
    }
    line
}

/// Boots a kernel and shows what it says: whether all has passed, or nothing when the first
/// process never ran.
fn boot(image: &Path, initramfs: &Path, options: &[String]) -> anyhow::Result<Option<bool>> {
    let mut machine = Command::new("qemu-system-x86_64")
        // One processor: with several, QEMU's software emulation now and then lets one of them run
        // into code that another is just patching, and the kernel dies while it boots.
        .args(["-accel", "tcg", "-cpu", "max", "-m", "1024", "-smp", "1"])
        .args(["-nographic", "-no-reboot", "-net", "none"])
        .args(options)
        .arg("-kernel")
        .arg(image)
        .arg("-initrd")
        .arg(initramfs)
        .arg("-append")
        .arg(command_line())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("starting QEMU")?;
    let start = Instant::now();
    let output = machine.stdout.take().context("QEMU has an output")?;
    let (send, receive) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            if send.send(line).is_err() {
                break;
            }
        }
    });
    let mut verdict = None;
    let mut started = false;
    loop {
        let limit = if started { limit() } else { BOOT_LIMIT };
        let left = limit.saturating_sub(start.elapsed());
        match receive.recv_timeout(left) {
            Ok(line) => {
                println!("  {line}");
                started |= line.contains("bpfseal-vm: ");
                match line.strip_prefix("bpfseal-vm: ") {
                    Some("passed") => verdict = Some(true),
                    Some("failed") => verdict = Some(false),
                    _ => {}
                }
            }
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
                machine.kill()?;
                machine.wait()?;
                if !started {
                    return Ok(None);
                }
                bail!("the machine took longer than {} s", limit.as_secs());
            }
        }
    }
    machine.wait()?;
    println!("  ({} s)", start.elapsed().as_secs());
    match verdict {
        None if started => bail!("the machine died before the tests were through"),
        verdict => Ok(verdict),
    }
}
