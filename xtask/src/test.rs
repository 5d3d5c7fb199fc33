//! `cargo xtask test`: everything that CI runs, in the order in which it is likely to fail.

use std::process::Command;
use std::sync::OnceLock;
use std::time::Instant;

use crate::algorithms;
use crate::attacks;
use crate::audit;
use crate::conformance;
use crate::features;
use crate::kernels;
use crate::project::{self, has, in_ci};
use crate::schema;
use crate::skeletons;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only what needs no network: leaves out the reference, the licences and the
    /// kernels
    #[arg(long)]
    offline: bool,
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
    install_tools()?;
    step("format");
    project::run("cargo", &["fmt", "--all", "--check"])?;
    step("numbers of the kernel");
    codegen::check()?;
    step("lints");
    project::run(
        "cargo",
        &[
            "clippy",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ],
    )?;
    step("tests");
    project::run("cargo", &["test", "--workspace", "--quiet"])?;
    step("catalogue of attacks");
    attacks::check()?;
    step("features");
    features::run()?;
    step("schemas");
    schema::check()?;
    step("Rust skeletons");
    skeletons::run()?;
    step("documentation");
    project::check(
        Command::new("cargo")
            .args(["doc", "--workspace", "--no-deps", "--quiet"])
            .env("RUSTDOCFLAGS", "-D warnings")
            .current_dir(project::root()),
    )?;
    step("fuzz targets");
    fuzz_targets()?;
    if args.offline {
        eprintln!("SKIPPED: licences, the reference and kernels, by --offline");
    } else {
        step("licences");
        licences()?;
        step("conformance with the reference");
        conformance::run(&conformance::Args::default())?;
        step("signatures by OpenSSL");
        algorithms::run()?;
        step("what loaders do");
        audit::run(&audit::Args::default())?;
        step("real kernels");
        kernels::run(&kernels::Args::default())?;
    }
    step("all passed");
    Ok(())
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

/// Says what comes, and how long everything before it took.
fn step(name: &str) {
    static START: OnceLock<Instant> = OnceLock::new();
    let passed = START.get_or_init(Instant::now).elapsed().as_secs();
    println!("\n== {name} ({} min {:02} s)", passed / 60, passed % 60);
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
        anyhow::bail!("the tests need {}; please install them", missing.join(", "));
    }
    step("installing what the tests need");
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

/// The fuzz targets are a workspace of their own; here they only have to compile.
fn fuzz_targets() -> anyhow::Result<()> {
    project::check(
        Command::new("cargo")
            .args(["check", "--quiet", "--manifest-path", "fuzz/Cargo.toml"])
            .env("CARGO_TARGET_DIR", project::target().join("fuzz"))
            .current_dir(project::root()),
    )
}

/// Licences, bans and sources of all dependencies, by `cargo deny`.
fn licences() -> anyhow::Result<()> {
    let own = project::target().join("tools");
    let own_deny = own.join("bin/cargo-deny");
    if !has("cargo-deny") && !own_deny.is_file() {
        if !in_ci() {
            eprintln!("SKIPPED: licences; `cargo install cargo-deny --locked` to check them here");
            return Ok(());
        }
        project::check(
            Command::new("cargo")
                .args([
                    "install",
                    "cargo-deny@0.20.2",
                    "--locked",
                    "--quiet",
                    "--root",
                ])
                .arg(&own),
        )?;
    }
    let deny = if has("cargo-deny") {
        "cargo-deny".into()
    } else {
        own_deny
    };
    project::check(
        Command::new(deny)
            .args(["check", "bans", "licenses", "sources"])
            .current_dir(project::root()),
    )
}
