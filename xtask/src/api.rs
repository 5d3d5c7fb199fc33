//! `cargo xtask api`: the public interface of each published crate as text, in `docs/api`.
//!
//! Whoever changes it sees it in the difference, and says in the changelog what users have to do
//! (CONTRIBUTING, "Versions"). It is made of what rustdoc writes as JSON. That format changes with
//! the compiler, and so does the crate that reads it: both are named here.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::project;

/// The compiler whose JSON the crate `public-api` reads, in the version that is locked.
const RUSTC: &str = "1.95.";

#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Only compare the files with what would be written
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let folder = project::root().join("docs/api");
    std::fs::create_dir_all(&folder)?;
    let Some(texts) = texts()? else {
        return Ok(());
    };
    let mut differences = Vec::new();
    for (name, text) in &texts {
        let path = folder.join(format!("{name}.txt"));
        if !args.check {
            std::fs::write(&path, text)?;
            continue;
        }
        let there = std::fs::read_to_string(&path).unwrap_or_default();
        differences.extend(difference(name, &there, text));
    }
    for entry in std::fs::read_dir(&folder)? {
        let path = entry?.path();
        let known = path.file_stem().is_some_and(|stem| {
            let stem = stem.to_string_lossy();
            texts.iter().any(|(name, _)| *name == stem)
        });
        if !known {
            bail!("{} is of no published crate", path.display());
        }
    }
    if !differences.is_empty() {
        bail!(
            "the public interface has changed; `cargo xtask api` writes it anew:\n{}",
            differences.join("\n")
        );
    }
    println!(
        "the public interface of {} crates is that of docs/api",
        texts.len()
    );
    Ok(())
}

/// For `cargo xtask test`.
pub(crate) fn check() -> anyhow::Result<()> {
    run(&Args { check: true })
}

/// The lines that only one of two texts has.
fn difference(name: &str, before: &str, after: &str) -> Vec<String> {
    let only = |sign: &str, of: &str, other: &str| -> Vec<String> {
        let there: std::collections::BTreeSet<&str> = other.lines().collect();
        let lines = of.lines().filter(|line| !there.contains(line));
        lines.map(|line| format!("{name}: {sign} {line}")).collect()
    };
    [only("-", before, after), only("+", after, before)].concat()
}

/// The published crates with a library: name, and name of the library.
fn libraries() -> anyhow::Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    for package in project::published()? {
        let targets = package["targets"].as_array().into_iter().flatten();
        let mut libraries = targets.filter(|target| target["kind"][0] == "lib");
        if let (Some(name), Some(library)) = (package["name"].as_str(), libraries.next()) {
            let library = library["name"].as_str().context("a library has a name")?;
            found.push((name.to_owned(), library.to_owned()));
        }
    }
    found.sort();
    Ok(found)
}

/// The texts by crates; none with another compiler, outside of CI.
fn texts() -> anyhow::Result<Option<Vec<(String, String)>>> {
    let rustdoc = Command::new("rustdoc").arg("--version").output()?;
    let version = String::from_utf8_lossy(&rustdoc.stdout).into_owned();
    if !version.starts_with(&format!("rustdoc {RUSTC}")) {
        if project::in_ci() {
            bail!("the public interface is made with Rust {RUSTC}x, and this is {version}");
        }
        eprintln!("SKIPPED: the public interface, which is made with Rust {RUSTC}x: {version}");
        return Ok(None);
    }
    let libraries = libraries()?;
    let mut cargo = Command::new("cargo");
    // The whole workspace, for the same features as everywhere.
    cargo
        .args(["doc", "--workspace", "--lib", "--no-deps", "--quiet"])
        .env("RUSTDOC", wrapper()?)
        .env("RUSTDOCFLAGS", "-Z unstable-options --output-format json")
        .current_dir(project::root());
    project::check(&mut cargo)?;
    let mut texts = Vec::new();
    for (name, library) in libraries {
        let json = project::target().join(format!("doc/{library}.json"));
        let api = public_api::Builder::from_rustdoc_json(&json)
            .omit_auto_trait_impls(true)
            .omit_blanket_impls(true)
            .build()
            .with_context(|| json.display().to_string())?;
        let mut text = String::new();
        for item in api.items() {
            writeln!(text, "{item}")?;
        }
        texts.push((name, text));
    }
    Ok(Some(texts))
}

/// A rustdoc that takes unstable options. The variable that allows it is not set for Cargo itself:
/// build scripts look at it, and everything would be built once more.
fn wrapper() -> anyhow::Result<PathBuf> {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = project::target().join("api");
    std::fs::create_dir_all(&folder)?;
    let path = folder.join("rustdoc");
    std::fs::write(&path, "#!/bin/sh\nRUSTC_BOOTSTRAP=1 exec rustdoc \"$@\"\n")?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::difference;

    #[test]
    fn what_changes_is_named() {
        assert_eq!(difference("x", "a\nb\n", "a\nc\n"), ["x: - b", "x: + c"]);
        assert_eq!(difference("x", "a\n", "a\n"), Vec::<String>::new());
    }
}
