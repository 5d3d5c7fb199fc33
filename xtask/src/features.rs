//! `cargo xtask features`: the libraries with each of their features alone, and with none.
//!
//! Each has to compile without a warning, and to bring no more than it is for.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::bail;

use crate::project;

/// Packages, a feature, crates that it may not bring, and how many it may bring at most.
const FEATURES: [(&str, &str, &[&str], usize); 12] = [
    (
        "bpfseal",
        "",
        &[KERNEL, MODEL, "ring", "rustix", "serde"],
        75,
    ),
    ("bpfseal", "host", &[KERNEL, MODEL, "ring", "serde"], 85),
    ("bpfseal", "kernel", &[MODEL, "ring", "flate2", "serde"], 80),
    ("bpfseal", "model", &[KERNEL, "ring", "rustix", "serde"], 80),
    ("bpfseal", "pkcs11", &[KERNEL, MODEL, "serde"], 110),
    ("bpfseal", "serde", &[KERNEL, MODEL, "ring", "rustix"], 80),
    ("bpfseal", "sign", &[KERNEL, MODEL, "serde"], 100),
    // What only loads knows nothing of cryptography but one digest.
    (
        "bpfseal-rt",
        "",
        &[MODEL, "der", "ml-dsa", "p256", "ring"],
        30,
    ),
    ("bpfseal-artifact", "", &["der", "p256", "ring"], 25),
    ("bpfseal-seal", "", &["der", "p256", "ring"], 25),
    ("bpfseal-seal", "verify", &["ring", "rand"], 75),
    ("bpfseal-seal", "sign", &[], 90),
];
const KERNEL: &str = "bpfseal-kernel";
const MODEL: &str = "bpfseal-model";

pub(crate) fn run() -> anyhow::Result<()> {
    for (package, feature, forbidden, most) in FEATURES {
        let crates = crates_of(package, feature)?;
        println!("{package:<17} {feature:<8} {} crates", crates.len());
        if let Some(found) = forbidden.iter().find(|name| crates.contains(**name)) {
            bail!("feature `{feature}` of `{package}` brings `{found}`");
        }
        if crates.len() > most {
            bail!("feature `{feature}` of `{package}` brings more than {most} crates");
        }
        project::run(
            "cargo",
            &[
                "clippy",
                "--quiet",
                "--package",
                package,
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

/// Names of what is compiled for a feature of a package, itself included.
fn crates_of(package: &str, feature: &str) -> anyhow::Result<BTreeSet<String>> {
    let output = Command::new("cargo")
        .args(["tree", "--package", package, "--no-default-features"])
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
