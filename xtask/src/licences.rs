//! Licences, bans and sources of everything that is built, from `cargo metadata`.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, bail};
use serde::Deserialize;

use crate::project;

/// Licences that a dependency may have, by their SPDX identifiers.
const LICENCES: [&str; 8] = [
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "MIT",
    // LLVM's fuzzer in `libfuzzer-sys`, which only the fuzz targets have.
    "NCSA",
    // The tables of `unicode-ident`, which only runs while compiling.
    "Unicode-3.0",
    "Zlib",
];

/// Crates that are not wanted, and why.
const BANNED: [(&str, &str); 2] = [
    ("openssl", OPENSSL_IS_A_JUDGE),
    ("openssl-sys", OPENSSL_IS_A_JUDGE),
];
const OPENSSL_IS_A_JUDGE: &str = "OpenSSL checks results in tests, and is no part of the build";

/// Where crates come from.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// The workspaces of the project, and the platforms that they are built for.
const WORKSPACES: [&str; 3] = [
    "Cargo.toml",
    "examples/handover/Cargo.toml",
    "fuzz/Cargo.toml",
];
const PLATFORMS: [&str; 2] = ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"];

#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Debug, Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
struct Node {
    id: String,
}

#[derive(Debug, Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    /// None for a package of the project.
    source: Option<String>,
    dependencies: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    name: String,
    req: String,
    source: Option<String>,
}

pub(crate) fn run() -> anyhow::Result<()> {
    let mut faults = Vec::new();
    for workspace in WORKSPACES {
        let packages = packages(&project::root().join(workspace))?;
        for package in &packages {
            let place = format!("{workspace}: {} {}", package.name, package.version);
            let found = check(package);
            faults.extend(found.into_iter().map(|fault| format!("{place}: {fault}")));
        }
        let mut licences: BTreeMap<&str, usize> = BTreeMap::new();
        for licence in packages.iter().filter_map(|p| p.license.as_deref()) {
            *licences.entry(licence).or_default() += 1;
        }
        println!("{workspace}: {} crates", packages.len());
        for (licence, count) in licences {
            println!("  {count:4}  {licence}");
        }
    }
    if !faults.is_empty() {
        bail!("{}", faults.join("\n"));
    }
    Ok(())
}

/// The packages that are built on one of the platforms, with all features.
fn packages(manifest: &Path) -> anyhow::Result<Vec<Package>> {
    let mut cargo = Command::new("cargo");
    cargo
        .args(["metadata", "--format-version", "1", "--all-features"])
        .arg("--locked")
        .arg("--manifest-path")
        .arg(manifest);
    for platform in PLATFORMS {
        cargo.args(["--filter-platform", platform]);
    }
    let output = cargo.output().context("running cargo")?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let metadata: Metadata = serde_json::from_slice(&output.stdout)?;
    let built = |package: &Package| metadata.resolve.nodes.iter().any(|n| n.id == package.id);
    let packages = metadata.packages.into_iter();
    Ok(packages.filter(built).collect())
}

/// What is wrong with a package.
fn check(package: &Package) -> Vec<String> {
    let mut faults = Vec::new();
    match package.license.as_deref() {
        None => faults.push("no licence is stated".to_owned()),
        Some(licence) => match allowed(licence) {
            Ok(true) => {}
            Ok(false) => faults.push(format!("the licence `{licence}` is not allowed")),
            Err(error) => faults.push(format!("the licence `{licence}`: {error:#}")),
        },
    }
    if let Some((_, why)) = BANNED.iter().find(|(name, _)| *name == package.name) {
        faults.push(format!("is banned: {why}"));
    }
    match package.source.as_deref() {
        Some(REGISTRY) => {}
        Some(other) => faults.push(format!("comes from `{other}`")),
        None => {
            let wild = package.dependencies.iter().filter(|d| d.req == "*");
            for dependency in wild.filter(|d| d.source.is_some()) {
                faults.push(format!("takes any version of `{}`", dependency.name));
            }
        }
    }
    faults
}

/// Whether an SPDX expression can be met with the allowed licences.
fn allowed(expression: &str) -> anyhow::Result<bool> {
    // The older way to write a choice.
    let expression = expression.replace('/', " OR ");
    let spaced = expression.replace('(', " ( ").replace(')', " ) ");
    let mut words = spaced.split_whitespace().peekable();
    let result = any(&mut words)?;
    match words.next() {
        None => Ok(result),
        Some(word) => bail!("`{word}` is not expected"),
    }
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

/// Terms joined by `OR`, which binds weaker than `AND`.
fn any(words: &mut Words<'_>) -> anyhow::Result<bool> {
    let mut result = all(words)?;
    while words.next_if_eq(&"OR").is_some() {
        result |= all(words)?;
    }
    Ok(result)
}

/// Terms joined by `AND`.
fn all(words: &mut Words<'_>) -> anyhow::Result<bool> {
    let mut result = term(words)?;
    while words.next_if_eq(&"AND").is_some() {
        result &= term(words)?;
    }
    Ok(result)
}

/// A licence, or an expression in brackets.
fn term(words: &mut Words<'_>) -> anyhow::Result<bool> {
    match words.next() {
        Some("(") => {
            let result = any(words)?;
            if words.next() != Some(")") {
                bail!("a bracket is not closed");
            }
            Ok(result)
        }
        Some(word) if !["OR", "AND", "WITH", ")"].contains(&word) => {
            let allowed = LICENCES.contains(&word);
            // An exception only adds permissions.
            if words.next_if_eq(&"WITH").is_some() {
                words.next().context("an exception has no name")?;
            }
            Ok(allowed)
        }
        other => bail!("a licence is expected, not {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_expression(expression: &str, expect: bool) {
        assert_eq!(allowed(expression).unwrap(), expect, "{expression}");
    }

    #[test]
    fn expressions_are_met_or_not() {
        check_expression("MIT", true);
        check_expression("GPL-3.0-only", false);
        check_expression("MIT OR GPL-3.0-only", true);
        check_expression("GPL-3.0-only OR MIT", true);
        check_expression("MIT AND GPL-3.0-only", false);
        check_expression("MIT/Apache-2.0", true);
        check_expression("(MIT OR GPL-2.0) AND Unicode-3.0", true);
        check_expression("MIT OR GPL-2.0 AND GPL-3.0-only", true);
        check_expression("(MIT OR GPL-2.0) AND GPL-3.0-only", false);
        check_expression("Apache-2.0 WITH LLVM-exception OR MIT", true);
        for broken in ["", "MIT OR", "(MIT", "MIT)", "MIT MIT", "AND", "MIT WITH"] {
            assert!(allowed(broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn faults_are_found() {
        let good = || Package {
            id: String::new(),
            name: "x".to_owned(),
            version: "1.0.0".to_owned(),
            license: Some("MIT".to_owned()),
            source: Some(REGISTRY.to_owned()),
            dependencies: Vec::new(),
        };
        assert_eq!(check(&good()), Vec::<String>::new());
        let mut package = good();
        package.license = None;
        package.name = "openssl".to_owned();
        package.source = Some("git+https://example.org/x".to_owned());
        assert_eq!(check(&package).len(), 3);
        let mut own = good();
        own.source = None;
        own.dependencies.push(Dependency {
            name: "y".to_owned(),
            req: "*".to_owned(),
            source: Some(REGISTRY.to_owned()),
        });
        assert_eq!(check(&own), ["takes any version of `y`"]);
    }
}
