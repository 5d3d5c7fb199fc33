//! Where things are, and how commands are run.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, bail};
use serde::Deserialize;

/// The project's folder.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("."))
}

/// Objects compiled from the programs in `bpf/`.
pub(crate) fn objects() -> PathBuf {
    root().join("testdata/objects")
}

/// Material that lives beside the project, where it is there: `../shared/NAME`.
pub(crate) fn shared(name: &str) -> Option<PathBuf> {
    let path = root().join("../shared").join(name);
    path.exists().then_some(path)
}

/// Where builds go.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// All files of a folder and its folders that end in `.o`, sorted.
pub(crate) fn objects_in(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries =
            std::fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))?;
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "o") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Does something with each item, on all processors; what comes of it is in the same order.
pub(crate) fn in_parallel<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let mut done: Vec<(usize, R)> = std::thread::scope(|scope| {
        let worker = || {
            let mut done = Vec::new();
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                match items.get(at) {
                    Some(item) => done.push((at, work(item))),
                    None => return done,
                }
            }
        };
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(worker)).collect();
        let joined = workers.into_iter().map(|worker| match worker.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        joined.flatten().collect()
    });
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

/// Runs a command in the project's folder; it has to succeed.
pub(crate) fn run(program: &str, arguments: &[impl AsRef<OsStr>]) -> anyhow::Result<()> {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root());
    check(&mut command)
}

/// Runs a prepared command; it has to succeed.
pub(crate) fn check(command: &mut Command) -> anyhow::Result<()> {
    let status = command
        .status()
        .with_context(|| format!("running {:?}", command.get_program()))?;
    if !status.success() {
        bail!("{command:?} failed: {status}");
    }
    Ok(())
}

/// Builds the command and says where it is.
pub(crate) fn build_command(release: bool) -> anyhow::Result<PathBuf> {
    let mut arguments = vec!["build", "--quiet", "--package", "bpfseal-cli"];
    if release {
        arguments.push("--release");
    }
    run("cargo", &arguments)?;
    let profile = if release { "release" } else { "debug" };
    Ok(target().join(profile).join("bpfseal"))
}

/// A file that Cargo has built, as it says in JSON.
#[derive(Debug, Deserialize)]
pub(crate) struct Built {
    pub(crate) package_id: String,
    pub(crate) manifest_path: PathBuf,
    pub(crate) target: Target,
    pub(crate) profile: Profile,
    pub(crate) filenames: Vec<PathBuf>,
    pub(crate) executable: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) kind: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Profile {
    /// Whether it is a test.
    pub(crate) test: bool,
}

impl Built {
    /// Whether others are linked with it.
    pub(crate) fn is_library(&self) -> bool {
        let library = |kind: &String| kind.ends_with("lib") || kind == "proc-macro";
        !self.profile.test && self.target.kind.iter().any(library)
    }
}

/// Runs `cargo build` and says what there is after it.
pub(crate) fn build(arguments: &[&str], folder: &Path) -> anyhow::Result<Vec<Built>> {
    let mut cargo = Command::new("cargo");
    cargo
        .args([
            "build",
            "--quiet",
            "--message-format",
            "json-render-diagnostics",
        ])
        .args(arguments)
        .current_dir(folder)
        .stderr(std::process::Stdio::inherit());
    let output = cargo.output().context("running cargo")?;
    if !output.status.success() {
        bail!("{cargo:?} failed: {}", output.status);
    }
    let mut built = Vec::new();
    for line in output.stdout.split(|byte| *byte == b'\n') {
        let message: serde_json::Value = match serde_json::from_slice(line) {
            Ok(message) => message,
            Err(_) if line.is_empty() => continue,
            Err(error) => return Err(error).context("reading what cargo says"),
        };
        if message["reason"] == "compiler-artifact" {
            built.push(serde_json::from_value(message)?);
        }
    }
    Ok(built)
}

/// What `cargo metadata` says of the workspace.
pub(crate) fn metadata() -> anyhow::Result<serde_json::Value> {
    let mut cargo = Command::new("cargo");
    cargo
        .args(["metadata", "--format-version", "1"])
        .current_dir(root());
    let output = cargo.output().context("running cargo")?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The packages of the workspace that are published, as `cargo metadata` has them.
pub(crate) fn published() -> anyhow::Result<Vec<serde_json::Value>> {
    let mut metadata = metadata()?;
    let members = metadata["workspace_members"].take();
    let members = members.as_array().context("cargo names no members")?;
    let packages = match metadata["packages"].take() {
        serde_json::Value::Array(packages) => packages,
        _ => bail!("cargo names no packages"),
    };
    let wanted = |package: &serde_json::Value| {
        let private = package["publish"].as_array().is_some_and(Vec::is_empty);
        !private && members.contains(&package["id"])
    };
    Ok(packages.into_iter().filter(wanted).collect())
}

/// Flags of a static build: no library of the system is needed, and starting is twice as fast.
pub(crate) const STATIC: &str =
    "-Ctarget-feature=+crt-static -Clink-arg=-Wl,-z,pack-relative-relocs";

/// The host as a target, for static builds: with a target the flags are for what is built alone,
/// not for what builds it.
fn host() -> anyhow::Result<String> {
    let version = Command::new("rustc").arg("-vV").output()?;
    String::from_utf8(version.stdout)?
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .map(str::to_owned)
        .context("rustc names no host")
}

/// A `cargo` command that builds static files into a folder of their own; and that folder.
pub(crate) fn static_cargo(verb: &str) -> anyhow::Result<(Command, PathBuf)> {
    let triple = host()?;
    let dist = target().join("dist");
    let mut command = Command::new("cargo");
    command
        .args([verb, "--target", &triple, "--target-dir"])
        .arg(&dist)
        .env("RUSTFLAGS", STATIC)
        .current_dir(root());
    Ok((command, dist.join(triple)))
}

/// Builds the command as it is given away, one static file; where it is.
pub(crate) fn build_dist() -> anyhow::Result<PathBuf> {
    let (mut cargo, built) = static_cargo("build")?;
    check(cargo.args(["--quiet", "--release", "--package", "bpfseal-cli"]))?;
    let placed = target().join("dist/bpfseal");
    std::fs::copy(built.join("release/bpfseal"), &placed)?;
    Ok(placed)
}

/// Whether a command can be found.
pub(crate) fn has(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|paths| {
        std::env::split_paths(&paths).any(|folder| folder.join(program).is_file())
    })
}

/// Whether this runs in continuous integration, where nothing may be skipped.
pub(crate) fn in_ci() -> bool {
    std::env::var_os("CI").is_some_and(|v| !v.is_empty() && v != "false")
}
