//! The order of crates and files: nothing on the left knows of anything on the right, and no file
//! is part of a circle.
//!
//! **Crates.** Each crate of the library has a place in [`ORDER`], and may depend on those before
//! it; for its tests too. Crates that are not of the library (tests, examples, tools) may depend
//! on all of it, and none of it on them.
//!
//! **Files.** A file uses another when its code names something that is defined there, in a `use`
//! or in a path. What counts:
//!
//! - A name that comes through a re-export counts as a use of the file that *defines* it, however
//!   many files hand it on. So `lib.rs` and `mod.rs`, which re-export their children, are no
//!   circle by that; and siblings do not hide one behind their parent.
//! - A re-export is no use by the file that it stands in, unless that file's own code has the name
//!   too. A `mod.rs` that defines something, which its child uses, while its own code uses the
//!   child, is a circle.
//! - Importing a module counts as a use of its file.
//! - Code that only tests see (`#[cfg(test)]`) does not count: a test may use everything.
//!
//! What is not seen: methods, which need no import of the file that defines them, and names that
//! macros make.

mod modules;
mod rings;
mod tokens;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use serde::Deserialize;

use crate::project;
use modules::Crate;

/// The crates of the library from left to right; those in one line do not know of each other.
const ORDER: [&[&str]; 10] = [
    &["bpfseal-uapi"],
    &["bpfseal-object"],
    &["bpfseal-loader"],
    &["bpfseal-seal"],
    &["bpfseal-artifact", "bpfseal-signers"],
    &["bpfseal-policy"],
    &["bpfseal-model", "bpfseal-kernel"],
    &["bpfseal-rt"],
    &["bpfseal"],
    &["bpfseal-cli"],
];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
    dependencies: Vec<Dependency>,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    /// Where it is, for one of this workspace.
    path: Option<PathBuf>,
    /// `dev`, `build`, or nothing.
    kind: Option<String>,
}

#[derive(Deserialize)]
struct Target {
    kind: Vec<String>,
    src_path: PathBuf,
}

/// Checks the order of crates, and that files use each other in no circle.
pub(crate) fn run() -> anyhow::Result<()> {
    let output = Command::new("cargo")
        .args(["metadata", "--no-deps", "--format-version=1", "--offline"])
        .current_dir(project::root())
        .output()?;
    if !output.status.success() {
        bail!(
            "cargo metadata: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let mut metadata: Metadata = serde_json::from_slice(&output.stdout)?;
    let place = |package: &Package| place(&package.name).unwrap_or(ORDER.len());
    metadata
        .packages
        .sort_by_key(|package| (place(package), package.name.clone()));
    let mut faults = Vec::new();
    for package in &metadata.packages {
        println!("{}", line(package));
        faults.extend(wrong_way(package));
    }
    let mut files = 0;
    let mut left = 0;
    for package in &metadata.packages {
        let (count, circles) = circles(package)?;
        files += count;
        if circles.len() > allowed(&package.name) {
            faults.extend(circles);
        } else {
            left += circles.len();
            circles.iter().for_each(|circle| println!("{circle}"));
        }
    }
    if !faults.is_empty() {
        bail!("the structure is not in order:\n{}", faults.join("\n"));
    }
    println!(
        "{} crates in order, {files} files, {left} circles that are known and left to untie",
        metadata.packages.len()
    );
    Ok(())
}

/// Crates that still have circles of files, and how many. Every other crate may have none; these
/// may not get more, and the numbers only go down.
const KNOWN_CIRCLES: [(&str, usize); 1] = [("bpfseal-model", 1)];

/// How many circles of files a crate may have.
fn allowed(name: &str) -> usize {
    let known = KNOWN_CIRCLES
        .iter()
        .find(|(crate_name, _)| *crate_name == name);
    known.map_or(0, |(_, count)| *count)
}

/// Where a crate stands in the order.
fn place(name: &str) -> Option<usize> {
    ORDER.iter().position(|row| row.contains(&name))
}

/// A crate and what it depends on, from right to left.
fn line(package: &Package) -> String {
    let mut own: Vec<_> = package
        .dependencies
        .iter()
        .filter(|one| one.path.is_some() && one.kind.as_deref() != Some("dev"))
        .map(|one| one.name.as_str())
        .collect();
    own.sort_by_key(|name| (std::cmp::Reverse(place(name)), *name));
    own.dedup();
    let own = if own.is_empty() {
        "nothing of ours".to_owned()
    } else {
        own.join(", ")
    };
    format!("{} → {own}", package.name)
}

/// The dependencies of a crate that go the wrong way.
fn wrong_way(package: &Package) -> Vec<String> {
    let own = place(&package.name);
    if own.is_none() && package.manifest_path.to_string_lossy().contains("/crates/") {
        return vec![format!(
            "{}: it has no place in the order of crates; give it one in xtask/src/structure.rs",
            package.name
        )];
    }
    let Some(own) = own else {
        return Vec::new();
    };
    let dependencies = package.dependencies.iter().filter(|one| one.path.is_some());
    dependencies
        .filter(|one| place(&one.name).is_none_or(|place| place >= own))
        .map(|one| {
            let kind = one.kind.as_deref().unwrap_or("normal");
            format!(
                "{}: it depends on {}, which is not to the left of it ({kind} dependency)",
                package.name, one.name
            )
        })
        .collect()
}

/// The count of a crate's files, and the circles among them.
fn circles(package: &Package) -> anyhow::Result<(usize, Vec<String>)> {
    let folder = package.manifest_path.parent().context("no folder")?;
    let mut sources = BTreeMap::new();
    read(folder, &folder.join("src"), &mut sources)?;
    let mut faults = Vec::new();
    let mut count = 0;
    let roots = package.targets.iter().filter(|target| {
        let kinds = ["lib", "bin", "rlib", "proc-macro"];
        target
            .kind
            .iter()
            .any(|kind| kinds.contains(&kind.as_str()))
    });
    for root in roots {
        let root = root.src_path.strip_prefix(folder)?.to_string_lossy();
        let whole = Crate::new(&root, &sources);
        count += whole.files().len();
        let uses = whole.uses();
        let edges = uses.keys().map(|(from, to)| (from.as_str(), to.as_str()));
        for (ring, members) in rings::rings(edges) {
            let mut text = format!(
                "{}: {} files use each other in a circle:",
                package.name,
                members.len()
            );
            for (at, file) in ring.iter().enumerate() {
                let next = ring[(at + 1) % ring.len()];
                let line = uses[&((*file).to_owned(), next.to_owned())];
                text.push_str(&format!("\n  {file}:{line} uses {next}"));
            }
            if members.len() > ring.len() {
                text.push_str(&format!("\n  all of them: {}", members.join(", ")));
            }
            faults.push(text);
        }
    }
    Ok((count, faults))
}

/// Reads the Rust files below a folder, by their paths from the crate's folder.
fn read(root: &Path, folder: &Path, into: &mut BTreeMap<String, String>) -> anyhow::Result<()> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Ok(());
    };
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            read(root, &path, into)?;
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let name = path.strip_prefix(root)?.to_string_lossy().into_owned();
            let text =
                std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            into.insert(name, text);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, dependency: &str) -> Package {
        Package {
            name: name.to_owned(),
            manifest_path: PathBuf::from("/x/crates/y/Cargo.toml"),
            dependencies: vec![Dependency {
                name: dependency.to_owned(),
                path: Some(PathBuf::new()),
                kind: None,
            }],
            targets: Vec::new(),
        }
    }

    #[test]
    fn dependencies_go_to_the_left() {
        let wrong = |name, dependency| wrong_way(&package(name, dependency)).len();
        assert_eq!(wrong("bpfseal-artifact", "bpfseal-seal"), 0);
        assert_eq!(wrong("bpfseal-seal", "bpfseal-artifact"), 1);
        assert_eq!(wrong("bpfseal-model", "bpfseal-kernel"), 1);
        assert_eq!(wrong("bpfseal", "xtask"), 1);
        assert_eq!(wrong("bpfseal-new", "bpfseal-uapi"), 1);
    }
}
