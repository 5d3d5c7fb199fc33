//! `cargo xtask kernels`: the tests that need a kernel, on real ones.
//!
//! Says which tests are run on which kernels, and fetches kernels of Debian. What they start from
//! is in `initramfs`, which tests there are in `roster`, how they are started in `machine`.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::initramfs;
use crate::machine::Machine;
use crate::roster::{Asks, Half, TESTS};
use crate::{firmware, project, proof, reference};

/// How a kernel verifies the signature of a loader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verifies {
    Never,
    /// The instructions alone: the loader checks its metadata.
    InLoader,
    AtLoadTime,
}

/// A kernel of Debian, by the start of its version.
#[derive(Debug)]
pub(crate) struct Kernel {
    pub(crate) version: &'static str,
    verifies: Verifies,
    /// Whether every test run has it, and not only the one before a release.
    pub(crate) always: bool,
}

const fn kernel(version: &'static str, verifies: Verifies, always: bool) -> Kernel {
    Kernel {
        version,
        verifies,
        always,
    }
}

/// The kernels that tests are run on, the newest first.
pub(crate) const KERNELS: [Kernel; 6] = [
    kernel("7.3", Verifies::AtLoadTime, true),
    // It has both in-loader schemes.
    kernel("7.2", Verifies::InLoader, true),
    kernel("7.1", Verifies::InLoader, false),
    kernel("7.0", Verifies::InLoader, false),
    kernel("6.19", Verifies::InLoader, false),
    kernel("6.12", Verifies::Never, true),
];

/// What one machine of a kernel is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Share {
    All,
    Half(Half),
    /// What needs a firmware that revokes.
    Firmware,
}

/// The tests of a machine.
fn tests_of(kernel: &Kernel, share: Share) -> Vec<&'static str> {
    let wanted = |asks: Asks, half: Half| {
        let firmware = share == Share::Firmware;
        let asked = match asks {
            Asks::All => !firmware,
            Asks::Verifying => !firmware && kernel.verifies != Verifies::Never,
            Asks::LoadTime => !firmware && kernel.verifies == Verifies::AtLoadTime,
            Asks::Firmware => firmware && kernel.verifies == Verifies::AtLoadTime,
        };
        asked && (matches!(share, Share::All | Share::Firmware) || share == Share::Half(half))
    };
    let tests = TESTS.into_iter();
    let tests = tests.filter(|(_, asks, half)| wanted(*asks, *half));
    tests.map(|(name, ..)| name).collect()
}

/// A machine of a test run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Planned {
    kernel: &'static Kernel,
    share: Share,
    /// Whether it waits in the second of two queues, which run side by side.
    pub(crate) second: bool,
}

impl Planned {
    /// All of them, those that take the longest first.
    pub(crate) fn all() -> Vec<Self> {
        let machine = |kernel, share, second| Self {
            kernel,
            share,
            second,
        };
        let mut machines = Vec::new();
        for kernel in &KERNELS {
            if kernel.verifies == Verifies::AtLoadTime {
                machines.push(machine(kernel, Share::Half(Half::First), false));
                machines.push(machine(kernel, Share::Half(Half::Second), true));
                machines.push(machine(kernel, Share::Firmware, true));
            } else {
                machines.push(machine(kernel, Share::All, true));
            }
        }
        machines
    }

    /// The name of its step.
    pub(crate) fn name(self) -> String {
        let what = match self.share {
            Share::All => "",
            Share::Half(Half::First) => ", first half",
            Share::Half(Half::Second) => ", second half",
            Share::Firmware => " with firmware",
        };
        format!("kernel {}{what}", self.kernel.version)
    }

    /// Whether every test run has it.
    pub(crate) fn always(self) -> bool {
        self.kernel.always
    }

    /// Runs it from files that are there: `initramfs` has packed them.
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let Some(image) = fetch_or_skip(self.kernel.version)? else {
            return Ok(());
        };
        run_in(
            self.kernel.version,
            &image,
            &initramfs::path_with_tests(),
            self.share == Share::Firmware,
            &tests_of(self.kernel, self.share),
        )
    }
}

#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Versions, such as 7.3: the newest package of each is taken
    versions: Vec<String>,

    /// Only this test file, such as `work`; can be given several times
    #[arg(long = "test", value_name = "NAME", value_parser = TESTS.map(|(name, ..)| name))]
    tests: Vec<String>,

    /// Measure what loading costs, instead of running tests
    #[arg(long, conflicts_with = "tests")]
    bench: bool,

    /// Another kernel, by its image
    #[arg(long, value_name = "FILE")]
    kernel: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let image = args.kernel.iter().map(|image| image.display().to_string());
    let mut names: Vec<String> = image.chain(args.versions.iter().cloned()).collect();
    if names.is_empty() {
        let default = KERNELS.iter().filter(|kernel| {
            kernel.always && (args.tests.is_empty() && !args.bench || kernel.version == "7.3")
        });
        names.extend(default.map(|kernel| kernel.version.to_owned()));
    }
    let initramfs = if args.bench {
        initramfs::with_benchmark()?
    } else {
        initramfs::build()?;
        initramfs::with_tests()?
    };
    for name in names {
        let image = match &args.kernel {
            Some(image) if image.display().to_string() == name => image.clone(),
            _ => match fetch_or_skip(&name)? {
                Some(image) => image,
                None => continue,
            },
        };
        for firmware in [false, true] {
            // A kernel that is in no table is taken for one that can do everything.
            let known = KERNELS.iter().find(|kernel| kernel.version == name);
            let share = if firmware {
                Share::Firmware
            } else {
                Share::All
            };
            let mut tests = tests_of(known.unwrap_or(&KERNELS[0]), share);
            if !args.tests.is_empty() {
                tests.retain(|test| args.tests.iter().any(|wanted| wanted == test));
            }
            if args.bench && !firmware {
                tests = vec![initramfs::BENCHMARK];
            } else if args.bench {
                tests.clear();
            }
            if !tests.is_empty() {
                run_in(&name, &image, &initramfs, firmware, &tests)?;
            }
        }
    }
    Ok(())
}

/// The scenarios, on every kernel.
pub(crate) fn scenarios() -> anyhow::Result<()> {
    run(&Args {
        versions: KERNELS.iter().map(|k| k.version.to_owned()).collect(),
        tests: vec!["random".to_owned()],
        ..Args::default()
    })
}

fn run_in(
    name: &str,
    kernel: &Path,
    initramfs: &Path,
    firmware: bool,
    tests: &[&str],
) -> anyhow::Result<()> {
    let (options, what) = match firmware {
        false => (Vec::new(), ""),
        true => match firmware::options()? {
            Some(options) => (options, ", with firmware"),
            None => return Ok(()),
        },
    };
    println!("kernel {name}{what}:");
    let machine = Machine {
        kernel,
        initramfs,
        options: &options,
        tests,
    };
    let seen = machine
        .run()
        .with_context(|| format!("kernel {name}{what}"))?;
    proof::keep(&seen)
}

/// Fetches a kernel; outside of CI a machine without network does without, and says so.
pub(crate) fn fetch_or_skip(version: &str) -> anyhow::Result<Option<PathBuf>> {
    match fetch(version) {
        Ok(Some(image)) => Ok(Some(image)),
        Ok(None) if KERNELS[0].version == version => bail!("Debian has no kernel {version}"),
        // Suites drop old versions.
        Ok(None) => {
            eprintln!("SKIPPED: kernel {version}, which Debian does not have (any more)");
            Ok(None)
        }
        Err(error) if !project::in_ci() => {
            eprintln!("SKIPPED: kernel {version}, which is not available: {error:#}");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The image of the newest kernel package of a version; `None` when there is none.
fn fetch(version: &str) -> anyhow::Result<Option<PathBuf>> {
    let folder = project::target().join("kernels").join(version);
    let root = folder.join("root");
    if let Some(image) = find_image(&root) {
        return Ok(Some(image));
    }
    std::fs::create_dir_all(&folder)?;
    let mut names = Vec::new();
    for prefix in ["linux-binary-unsigned-", "linux-binary-", "linux-image-"] {
        let found = reference::package_names(&folder, &format!("{prefix}{version}."))?;
        names.extend(
            found
                .into_iter()
                .filter(|name| name.ends_with("-cloud-amd64")),
        );
        if !names.is_empty() {
            break;
        }
    }
    let Some(newest) = names.into_iter().max_by_key(|name| numbers(name)) else {
        return Ok(None);
    };
    eprintln!("fetching {newest} ...");
    let debs = reference::download(&folder, &[&newest])?;
    reference::unpack(&debs, &root)?;
    let image = find_image(&root).with_context(|| format!("`{newest}` has no kernel image"))?;
    Ok(Some(image))
}

/// The numbers in a name, to sort by.
fn numbers(name: &str) -> Vec<u32> {
    name.split(|c: char| !c.is_ascii_digit())
        .filter_map(|part| part.parse().ok())
        .collect()
}

fn find_image(root: &Path) -> Option<PathBuf> {
    let mut folders = vec![root.join("boot"), root.join("usr/lib/modules")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if entry.file_name().to_string_lossy().starts_with("vmlinuz") {
                return Some(path);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_test_is_run_in_every_test_run() {
        let always = KERNELS.iter().filter(|kernel| kernel.always);
        let run: std::collections::BTreeSet<_> = always
            .flat_map(|kernel| tests_of(kernel, Share::All))
            .chain(tests_of(&KERNELS[0], Share::Firmware))
            .collect();
        assert_eq!(run, crate::roster::names().collect());
        assert!(TESTS.is_sorted_by_key(|(name, ..)| *name));
    }

    #[test]
    fn the_machines_of_a_kernel_run_what_it_is_asked() {
        let machines = Planned::all();
        for kernel in &KERNELS {
            let of = machines
                .iter()
                .filter(|m| m.kernel.version == kernel.version);
            let mut run: Vec<_> = of.flat_map(|m| tests_of(kernel, m.share)).collect();
            run.sort_unstable();
            let mut asked = tests_of(kernel, Share::All);
            asked.extend(tests_of(kernel, Share::Firmware));
            asked.sort_unstable();
            assert_eq!(run, asked);
        }
    }

    #[test]
    fn every_way_to_verify_is_in_every_test_run() {
        for verifies in [Verifies::Never, Verifies::InLoader, Verifies::AtLoadTime] {
            let mut all = KERNELS.iter().filter(|kernel| kernel.always);
            assert!(
                all.any(|kernel| kernel.verifies == verifies),
                "{verifies:?}"
            );
        }
    }
}
