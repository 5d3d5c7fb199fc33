//! What a run on every kernel has seen, written down for the release that it was made for.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use crate::project;

/// What one machine has shown.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// The release that the kernel itself names.
    pub(crate) release: String,
    pub(crate) firmware: bool,
    /// Test files, and how many tests of each have passed.
    pub(crate) tests: Vec<(String, u32)>,
}

impl Seen {
    /// What the first process says: the kernel's version, and which test file comes.
    pub(crate) fn note(&mut self, said: &str) {
        if let Some(version) = said.strip_prefix("Linux version ") {
            self.release = version.split(' ').next().unwrap_or_default().to_owned();
        } else if let Some(test) = said.strip_prefix("running ") {
            self.tests.push((test.to_owned(), 0));
        }
    }

    /// What a test file says at its end.
    pub(crate) fn count(&mut self, line: &str) {
        let passed = line
            .strip_prefix("test result: ok. ")
            .and_then(|rest| rest.split(' ').next()?.parse::<u32>().ok());
        if let (Some(passed), Some((_, count))) = (passed, self.tests.last_mut()) {
            *count += passed;
        }
    }
}

fn folder() -> PathBuf {
    project::target().join("kernels/seen")
}

/// Keeps what a machine has shown until all are through.
pub(crate) fn keep(seen: &Seen) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder())?;
    let what = if seen.firmware { "-firmware" } else { "" };
    // A kernel can have several machines.
    let first = seen.tests.first().map_or("", |(name, _)| name);
    let path = folder().join(format!("{}{what}-{first}.json", seen.release));
    std::fs::write(path, serde_json::to_string(seen)?)?;
    Ok(())
}

fn git(arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new("git")
        .args(arguments)
        .current_dir(project::root())
        .output()
        .context("running git")?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// Only what is committed can be recorded. Forgets what was seen before.
pub(crate) fn check_tree() -> anyhow::Result<()> {
    if !git(&["status", "--porcelain", "--untracked-files=no"])?.is_empty() {
        bail!("commit first: the record says which commit was tested");
    }
    match std::fs::remove_dir_all(folder()) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// Writes `testdata/proof.json`.
pub(crate) fn record() -> anyhow::Result<()> {
    let mut machines: Vec<Seen> = Vec::new();
    for entry in std::fs::read_dir(folder()).context("no machine has run")? {
        let text = std::fs::read_to_string(entry?.path())?;
        let seen: Seen = serde_json::from_str(&text)?;
        let mut kernels = machines.iter_mut();
        let same =
            |other: &&mut Seen| (&other.release, other.firmware) == (&seen.release, seen.firmware);
        match kernels.find(same) {
            Some(kernel) => kernel.tests.extend(seen.tests),
            None => machines.push(seen),
        }
    }
    for kernel in &mut machines {
        kernel.tests.sort();
    }
    machines.sort_by_key(|seen| (seen.release.clone(), seen.firmware));
    let rustc = Command::new("rustc").arg("--version").output()?;
    let record = serde_json::json!({
        "commit": git(&["rev-parse", "HEAD"])?,
        "subject": git(&["log", "-1", "--format=%s"])?,
        "rustc": String::from_utf8(rustc.stdout)?.trim(),
        "corpus": project::shared("corpus").is_some(),
        "machines": machines,
    });
    let path = project::root().join("testdata/proof.json");
    std::fs::write(&path, format!("{record:#}\n"))?;
    println!("\nwritten: {}; commit it", path.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_machine_says_is_noted() {
        let mut seen = Seen {
            release: String::new(),
            firmware: false,
            tests: Vec::new(),
        };
        seen.note("Linux version 7.3.4+deb13-cloud-amd64 (someone@example.org) (gcc)");
        seen.note("running attacks");
        seen.count("test result: ok. 3 passed; 0 failed; 0 ignored");
        seen.note("running broken");
        seen.count("test result: FAILED. 2 passed; 1 failed; 0 ignored");
        assert_eq!(seen.release, "7.3.4+deb13-cloud-amd64");
        assert_eq!(
            seen.tests,
            [("attacks".to_owned(), 3), ("broken".to_owned(), 0)]
        );
    }
}
