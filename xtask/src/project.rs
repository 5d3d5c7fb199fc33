//! Where things are, and how commands are run.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

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

/// Flags of a static build: no library of the system is needed, and starting is twice as fast.
const STATIC: &str = "-Ctarget-feature=+crt-static -Clink-arg=-Wl,-z,pack-relative-relocs";

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
        // Debug information would fill the machines' memory.
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        // Code that is not optimised at all is very slow in an emulated machine.
        .env("CARGO_PROFILE_DEV_OPT_LEVEL", "1")
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
