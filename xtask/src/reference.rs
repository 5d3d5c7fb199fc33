//! The reference: bpftool of Debian's `trixie-backports`, fetched beside the system.
//!
//! Nothing is installed: packages are downloaded with a private apt state and unpacked under
//! `target/reference`, and bpftool runs through the dynamic loader that comes with them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context as _, bail};

use crate::project;

const BPFTOOL: &str = "usr/sbin/bpftool";
/// OpenSSL's command, which knows ML-DSA.
pub(crate) const OPENSSL: &str = "usr/bin/openssl";

/// bpftool and the libraries that it needs.
const PACKAGES: [&str; 8] = [
    "bpftool",
    "openssl",
    "libc6",
    "libelf1t64",
    "zlib1g",
    "libssl3t64",
    "libcap2",
    "libzstd1",
];

/// The reference, ready to run.
pub(crate) struct Reference {
    root: PathBuf,
}

impl Reference {
    /// Fetches it, or finds it where it was fetched before.
    pub(crate) fn fetch() -> anyhow::Result<Self> {
        let folder = project::target().join("reference");
        let reference = Self {
            root: folder.join("root"),
        };
        if !reference.tool().is_file() || !reference.root.join(OPENSSL).is_file() {
            eprintln!("fetching bpftool (22 MB) ...");
            unpack(&download(&folder, &PACKAGES)?, &reference.root)?;
        }
        let version = reference.command().arg("version").output()?;
        if !version.status.success() {
            bail!("the fetched bpftool does not run: {version:?}");
        }
        eprintln!(
            "reference: {}",
            String::from_utf8_lossy(&version.stdout)
                .lines()
                .collect::<Vec<_>>()
                .join(", ")
        );
        Ok(reference)
    }

    /// Fetches that of Linux 7.2, which signs for the in-loader scheme with exclusive maps.
    pub(crate) fn fetch_in_loader() -> anyhow::Result<Self> {
        let folder = project::target().join("reference-in-loader");
        let reference = Self {
            root: folder.join("root"),
        };
        if !reference.tool().is_file() {
            eprintln!("fetching bpftool of Linux 7.2 ...");
            let debs = download_from(TESTING, &folder, &PACKAGES)?;
            let name = debs[0].file_name().unwrap_or_default().to_string_lossy();
            if !name.contains("7.2.") {
                bail!("Debian's testing has no bpftool of Linux 7.2 any more, but `{name}`");
            }
            unpack(&debs, &reference.root)?;
        }
        Ok(reference)
    }

    /// Fetches it; outside of CI a machine without network does without, and says so.
    pub(crate) fn fetch_or_skip() -> anyhow::Result<Option<Self>> {
        match Self::fetch() {
            Ok(reference) => Ok(Some(reference)),
            Err(error) if !project::in_ci() => {
                eprintln!("SKIPPED: comparison with bpftool, which can not be had: {error:#}");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn tool(&self) -> PathBuf {
        self.root.join(BPFTOOL)
    }

    /// The command line that runs bpftool.
    pub(crate) fn command(&self) -> Command {
        self.tool_command(BPFTOOL)
    }

    /// The command line that runs a program of these packages.
    pub(crate) fn tool_command(&self, program: &str) -> Command {
        let libraries = self
            .root
            .join(format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH));
        let loader = match std::env::consts::ARCH {
            "aarch64" => "ld-linux-aarch64.so.1",
            _ => "ld-linux-x86-64.so.2",
        };
        let mut command = Command::new(libraries.join(loader));
        command
            .arg("--library-path")
            .arg(&libraries)
            .arg(self.root.join(program));
        command
    }

    /// `gen skeleton -L`, signed when key and certificate are given.
    pub(crate) fn skeleton(
        &self,
        object: &Path,
        sign: Option<(&Path, &Path)>,
    ) -> anyhow::Result<Output> {
        let mut command = self.command();
        command.args(["gen", "skeleton", "-L"]);
        if let Some((key, certificate)) = sign {
            command
                .arg("-S")
                .arg("-k")
                .arg(key)
                .arg("-i")
                .arg(certificate);
        }
        command
            .arg(object)
            .output()
            .context("running the reference")
    }
}

/// Where packages come from: suites of Debian, the preferred one last.
pub(crate) type Suites = &'static [&'static str];
/// The suites of the reference.
const STABLE: Suites = &["trixie", "trixie-backports"];
/// The suite whose bpftool is that of Linux 7.2, for as long as it is.
const TESTING: Suites = &["forky"];

/// Downloads packages of `trixie-backports`, or of `trixie` where they are not in there.
pub(crate) fn download(folder: &Path, packages: &[&str]) -> anyhow::Result<Vec<PathBuf>> {
    download_from(STABLE, folder, packages)
}

fn download_from(suites: Suites, folder: &Path, packages: &[&str]) -> anyhow::Result<Vec<PathBuf>> {
    let state = folder.join("apt");
    let debs = folder.join("debs");
    for sub in ["lists/partial", "cache/archives/partial"] {
        std::fs::create_dir_all(state.join(sub))?;
    }
    std::fs::create_dir_all(&debs)?;
    let apt = Apt::new(suites, &state, &debs)?;
    let mut found = Vec::new();
    for package in packages {
        project::check(
            apt.command("apt-get")
                .args(["-t", suites.last().copied().unwrap_or_default(), "download"])
                .arg(package),
        )?;
        let prefix = format!("{package}_");
        let newest = std::fs::read_dir(&debs)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| {
                path.file_name()
                    .is_some_and(|name| name.to_string_lossy().starts_with(&prefix))
            })
            .max_by_key(|path| path.metadata().and_then(|m| m.modified()).ok());
        found.push(newest.with_context(|| format!("`{package}` was not downloaded"))?);
    }
    Ok(found)
}

/// Names of all packages that begin so.
pub(crate) fn package_names(folder: &Path, prefix: &str) -> anyhow::Result<Vec<String>> {
    let state = folder.join("apt");
    for sub in ["lists/partial", "cache/archives/partial"] {
        std::fs::create_dir_all(state.join(sub))?;
    }
    let apt = Apt::new(STABLE, &state, folder)?;
    let output = apt
        .command("apt-cache")
        .arg("pkgnames")
        .arg(prefix)
        .output()?;
    Ok(String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(str::to_owned)
        .collect())
}

/// apt with a state of its own, beside the system's.
struct Apt {
    options: Vec<String>,
    folder: PathBuf,
}

impl Apt {
    /// With fresh lists of some suites.
    fn new(suites: Suites, state: &Path, folder: &Path) -> anyhow::Result<Self> {
        let mirror = mirror()?;
        let keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
        let sources: String = suites
            .iter()
            .map(|suite| format!("deb [signed-by={keyring}] {mirror} {suite} main\n"))
            .collect();
        let list = state.join("sources.list");
        std::fs::write(&list, sources)?;
        let options = [
            ("Dir::Etc::sourcelist", list.display().to_string()),
            ("Dir::Etc::sourceparts", "/dev/null".to_owned()),
            ("Dir::Etc::preferences", "/dev/null".to_owned()),
            ("Dir::Etc::preferencesparts", "/dev/null".to_owned()),
            (
                "Dir::State::lists",
                state.join("lists").display().to_string(),
            ),
            ("Dir::State::status", "/dev/null".to_owned()),
            ("Dir::Cache", state.join("cache").display().to_string()),
            ("APT::Sandbox::User", String::new()),
            ("Acquire::Languages", "none".to_owned()),
            ("Acquire::Retries", "3".to_owned()),
        ];
        let apt = Self {
            options: options
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect(),
            folder: folder.to_owned(),
        };
        project::check(apt.command("apt-get").arg("update"))?;
        Ok(apt)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        for option in &self.options {
            command.arg("-o").arg(option);
        }
        command.arg("-qq").current_dir(&self.folder);
        command
    }
}

/// The Debian mirror that this machine's own apt uses.
fn mirror() -> anyhow::Result<String> {
    let output = Command::new("apt-get")
        .args([
            "indextargets",
            "--format",
            "$(REPO_URI)",
            "Created-By: Packages",
        ])
        .output()
        .context("running apt-get; the reference comes from Debian")?;
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .find(|uri| !uri.contains("security") && uri.contains("/debian"))
        .map(str::to_owned)
        .context("apt has no Debian mirror configured")
}

pub(crate) fn unpack(debs: &[PathBuf], root: &Path) -> anyhow::Result<()> {
    // Into a folder of another name first: what is there under the right one is whole.
    let partial = root.with_extension("partial");
    let _ = std::fs::remove_dir_all(&partial);
    std::fs::create_dir_all(&partial)?;
    for deb in debs {
        project::check(Command::new("dpkg-deb").arg("-x").arg(deb).arg(&partial))?;
    }
    let _ = std::fs::remove_dir_all(root);
    std::fs::rename(&partial, root)?;
    Ok(())
}
