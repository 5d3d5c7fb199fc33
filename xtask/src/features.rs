//! `cargo xtask features`: the library with each of its features alone, and with none.
//!
//! Each has to compile without a warning, and to compile no more than it is for.

use std::process::Command;

use anyhow::bail;

use crate::project;

/// Features, and crates that none of them may bring.
const FEATURES: [(&str, &[&str]); 6] = [
    ("", &["bpfseal-kernel", "bpfseal-model", "rustix", "serde"]),
    ("host", &["bpfseal-kernel", "bpfseal-model", "serde"]),
    ("kernel", &["bpfseal-model", "flate2", "serde"]),
    ("model", &["bpfseal-kernel", "rustix", "serde"]),
    ("serde", &["bpfseal-kernel", "bpfseal-model", "rustix"]),
    ("sign", &["bpfseal-kernel", "bpfseal-model", "serde"]),
];

pub(crate) fn run() -> anyhow::Result<()> {
    for (feature, forbidden) in FEATURES {
        let crates = crates_of(feature)?;
        println!("{:<8} {} crates", feature, crates.len());
        if let Some(found) = forbidden.iter().find(|name| crates.contains(**name)) {
            bail!("feature `{feature}` of `bpfseal` brings `{found}`");
        }
        project::run(
            "cargo",
            &[
                "clippy",
                "--quiet",
                "--package",
                "bpfseal",
                "--no-default-features",
                "--features",
                feature,
                "--",
                "-D",
                "warnings",
            ],
        )?;
    }
    Ok(())
}

/// Names of what is compiled for a feature of the library, itself included.
fn crates_of(feature: &str) -> anyhow::Result<std::collections::BTreeSet<String>> {
    let output = Command::new("cargo")
        .args(["tree", "--package", "bpfseal", "--no-default-features"])
        .args(["--features", feature, "--edges", "normal,build"])
        .args(["--prefix", "none", "--format", "{p}"])
        .current_dir(project::root())
        .output()?;
    if !output.status.success() {
        bail!("cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    }
    let text = String::from_utf8(output.stdout)?;
    let name = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
    Ok(text.lines().map(name).collect())
}
