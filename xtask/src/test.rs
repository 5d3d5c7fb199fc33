//! `cargo xtask test`: everything that CI runs.
//!
//! What is built first is what the virtual machines need: they run while the rest is looked at.

use std::process::Command;

use anyhow::bail;

use crate::kernels::{self, KERNELS};
use crate::project::{self, has};
use crate::reference::Reference;
use crate::steps::{self, Lane, Step};
use crate::{algorithms, api, attacks, audit, conformance, features, headers, initramfs, licences};
use crate::{proof, schema, skeletons, structure};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only what needs no network: leaves out the reference, the licences and the
    /// kernels
    #[arg(long)]
    offline: bool,

    /// Every kernel, and write down what was seen, which is done before a release
    #[arg(long, conflicts_with_all = ["offline", "step"])]
    all_kernels: bool,

    /// Only this step, such as `lints`
    #[arg(long, value_name = "NAME")]
    step: Option<String>,

    /// End when the standard input does: another process waits for this step
    #[arg(long, hide = true, requires = "step")]
    watched: bool,
}

/// Commands and files that the tests need, and the Debian packages that have them.
const TOOLS: [(&str, &str); 10] = [
    ("gcc", "gcc"),
    ("g++", "g++"),
    ("openssl", "openssl"),
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("softhsm2-util", "softhsm2"),
    ("/usr/share/OVMF/OVMF_CODE_4M.fd", "ovmf"),
    ("/usr/include/libelf.h", "libelf-dev"),
    ("/usr/include/zlib.h", "zlib1g-dev"),
    ("/usr/bin/chromium", "chromium"),
    ("/usr/bin/chromedriver", "chromium-driver"),
];

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    if let Some(name) = &args.step {
        if args.watched {
            steps::watch()?;
        }
        let steps = all_steps();
        let Some(step) = steps.iter().find(|step| step.name == *name) else {
            let names: Vec<&str> = steps.iter().map(|step| step.name.as_str()).collect();
            bail!("no step is called `{name}`; there are {}", names.join(", "));
        };
        return (step.run)();
    }
    if args.all_kernels {
        proof::check_tree()?;
    }
    install_tools()?;
    let mut steps = all_steps();
    if args.offline {
        steps.retain(|step| !step.network);
        println!("SKIPPED: licences, the reference and kernels, by --offline");
    }
    if !args.all_kernels {
        steps.retain(|step| !step.release);
    }
    steps::run(&steps)?;
    if args.all_kernels {
        proof::record()?;
    }
    println!("\n== all passed");
    Ok(())
}

/// All steps; those that come first go first, where they can.
fn all_steps() -> Vec<Step> {
    let local = |name: &str, lane, after: &[&'static str], run: fn() -> anyhow::Result<()>| Step {
        name: name.to_owned(),
        lane,
        after: after.to_vec(),
        network: false,
        release: false,
        run: Box::new(run),
    };
    let network =
        |name: &str, lane, after: &[&'static str], run: fn() -> anyhow::Result<()>| Step {
            network: true,
            ..local(name, lane, after, run)
        };
    let mut steps = vec![
        network("fetch", Lane::Fetch, &[], fetch),
        local("format", Lane::Work, &[], format),
        local("build", Lane::Build, &["format"], initramfs::build),
        local("numbers of the kernel", Lane::Work, &[], codegen::check),
        local("attacks", Lane::Work, &[], attacks::check),
        local("schemas", Lane::Work, &[], schema::check),
        local("structure", Lane::Work, &[], structure::run),
        network("licences", Lane::Work, &[], licences::run),
        network(
            "handover",
            Lane::Build,
            &["build"],
            initramfs::build_handover,
        ),
        network(
            "initramfs",
            Lane::Machine,
            &["build", "fetch", "handover"],
            || initramfs::with_tests().map(drop),
        ),
    ];
    for machine in kernels::Planned::all() {
        let lane = if machine.second {
            Lane::OtherMachine
        } else {
            Lane::Machine
        };
        steps.push(Step {
            release: !machine.always(),
            run: Box::new(move || machine.run()),
            ..network(&machine.name(), lane, &["initramfs"], || Ok(()))
        });
    }
    steps.extend([
        local("tests", Lane::Work, &["build"], tests),
        local("lints", Lane::Build, &["build"], lints),
        local("documentation", Lane::Build, &["lints"], documentation),
        local(
            "public interface",
            Lane::Build,
            &["documentation"],
            api::check,
        ),
        local("Rust skeletons", Lane::Build, &["lints"], skeletons::run),
        local("fuzz targets", Lane::Build, &["lints"], fuzz_targets),
        local("features", Lane::Build, &["lints"], features::run),
        network("conformance", Lane::Work, &["fetch"], || {
            conformance::run(&conformance::Args::default())
        }),
        network(
            "signatures by OpenSSL",
            Lane::Work,
            &["fetch"],
            algorithms::run,
        ),
        network("what loaders do", Lane::Work, &["fetch"], || {
            audit::run(&audit::Args::default())
        }),
    ]);
    steps
}

/// Rewrites the golden files.
pub(crate) fn bless() -> anyhow::Result<()> {
    project::check(
        Command::new("cargo")
            .args(["test", "--workspace", "--quiet"])
            .env("INSTA_UPDATE", "always")
            .env("INSTA_FORCE_PASS", "1")
            .current_dir(project::root()),
    )
}

/// Installs what is missing, where that can be done without asking.
fn install_tools() -> anyhow::Result<()> {
    let missing: Vec<&str> = TOOLS
        .iter()
        .filter(|(needed, _)| !has(needed) && !std::path::Path::new(needed).is_file())
        .map(|(_, package)| *package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !has("apt-get") {
        bail!("the tests need {}; please install them", missing.join(", "));
    }
    println!("\n== installing {}", missing.join(", "));
    let script = format!(
        "apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq -y install {}",
        missing.join(" ")
    );
    if has("sudo") {
        project::run("sudo", &["sh", "-c", &script])
    } else {
        project::run("sh", &["-c", &script])
    }
}

/// Everything that comes from Debian, before several steps want it at once.
fn fetch() -> anyhow::Result<()> {
    Reference::fetch_or_skip()?;
    for kernel in KERNELS.iter().filter(|kernel| kernel.always) {
        kernels::fetch_or_skip(kernel.version)?;
    }
    headers::fetch_or_skip()
}

fn format() -> anyhow::Result<()> {
    project::run("cargo", &["fmt", "--all", "--check"])
}

fn tests() -> anyhow::Result<()> {
    project::run("cargo", &["test", "--workspace", "--quiet"])
}

fn lints() -> anyhow::Result<()> {
    let arguments = [
        "--workspace",
        "--all-targets",
        "--quiet",
        "--",
        "-D",
        "warnings",
    ];
    project::run("cargo", &[&["clippy"], &arguments[..]].concat())
}

fn documentation() -> anyhow::Result<()> {
    project::check(
        Command::new("cargo")
            .args(["doc", "--workspace", "--no-deps", "--quiet"])
            .env("RUSTDOCFLAGS", "-D warnings")
            .current_dir(project::root()),
    )
}

/// The fuzz targets are a workspace of their own; here they only have to compile.
fn fuzz_targets() -> anyhow::Result<()> {
    project::check(
        Command::new("cargo")
            .args(["check", "--quiet", "--features", "checked"])
            .env("CARGO_TARGET_DIR", project::target())
            // Not linked here, so the C++ of the fuzzer need not be compiled.
            .env("CUSTOM_LIBFUZZER_PATH", "/usr/lib/libFuzzer.a")
            .current_dir(project::root().join("fuzz")),
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_table_of_steps_is_sound() {
        crate::steps::check(&super::all_steps()).unwrap();
    }
}
