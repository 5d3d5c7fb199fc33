//! `cargo xtask msrv`: the published crates compile with the oldest compiler that they promise.
//!
//! Not part of every test run: it is for changes of `rust-version`, and before releases. Debian has
//! only compilers that are older than what dependencies need, or newer than what is promised, so
//! the compiler comes by rustup, beside the system's.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::project;

pub(crate) fn run() -> anyhow::Result<()> {
    let packages = packages()?;
    let (_, version) = packages.first().context("nothing is published")?;
    if let Some((name, other)) = packages.iter().find(|(_, other)| other != version) {
        bail!("`{name}` promises {other}, and others {version}");
    }
    let toolchain = fetch(version)?;
    let mut cargo = Command::new(toolchain.join("bin/cargo"));
    cargo
        .args(["check", "--locked", "--all-features"])
        .env("PATH", path(&toolchain)?)
        .env("CARGO_TARGET_DIR", project::target().join("msrv/build"))
        .env_remove("RUSTUP_TOOLCHAIN")
        .current_dir(project::root());
    for (name, _) in &packages {
        cargo.args(["--package", name]);
    }
    project::check(&mut cargo)?;
    println!("{} crates compile with Rust {version}", packages.len());
    Ok(())
}

/// Published crates, and the compiler that each promises.
fn packages() -> anyhow::Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    for package in project::published()? {
        let name = package["name"].as_str().context("a package has a name")?;
        let version = package["rust_version"].as_str();
        let version = version.with_context(|| format!("`{name}` promises no compiler"))?;
        found.push((name.to_owned(), version.to_owned()));
    }
    Ok(found)
}

/// Installs a compiler beside the system's; its folder.
fn fetch(version: &str) -> anyhow::Result<PathBuf> {
    if !project::has("rustup") {
        bail!("`rustup` is needed, to fetch Rust {version}: https://rustup.rs");
    }
    let home = project::target().join("msrv/rustup");
    std::fs::create_dir_all(&home)?;
    project::check(
        Command::new("rustup")
            .args(["toolchain", "install", version, "--profile", "minimal"])
            .arg("--no-self-update")
            .env("RUSTUP_HOME", &home),
    )?;
    let start = format!("{version}-");
    for entry in std::fs::read_dir(home.join("toolchains"))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(&start) {
            return Ok(path);
        }
    }
    bail!("rustup did not install Rust {version}")
}

/// The search path with a compiler before all others.
fn path(toolchain: &Path) -> anyhow::Result<std::ffi::OsString> {
    let old = std::env::var_os("PATH").unwrap_or_default();
    let paths = std::iter::once(toolchain.join("bin")).chain(std::env::split_paths(&old));
    Ok(std::env::join_paths(paths)?)
}
