//! `bpfseal doctor`: what can the running kernel do, and what is wrong?

mod trial;

use std::fmt::Write as _;

use bpfseal::kernel::probe::{self, Ability, Verification};
use bpfseal::kernel::{Errno, KeyringId, Linux, keyring_serial};
use bpfseal::report::{DoctorReport, HostFinding, HostState};
use bpfseal::seal::Scheme;
use bpfseal::uapi::{Cve, Version};

use crate::failure::{Failure, Outcome};
use crate::files;
use crate::terminal::one_line;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Found by trying, not by the kernel's version. What is tried leaves nothing \
    behind.\n\nExamples:\n  \
    sudo bpfseal doctor\n  \
    bpfseal doctor --json\n\n\
    Exit codes: 0 this kernel verifies signatures at load time, 1 it does not or it can not be told."
)]
pub(crate) struct Args {
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

fn mark(state: HostState) -> &'static str {
    match state {
        HostState::Good => "good",
        HostState::Bad => "BAD",
        HostState::Unknown => "?",
        HostState::Note => "note",
    }
}

fn finding(
    name: &'static str,
    state: HostState,
    text: impl Into<String>,
    help: impl Into<String>,
) -> HostFinding {
    HostFinding {
        name,
        state,
        text: text.into(),
        help: help.into(),
    }
}

pub(crate) fn run(args: &Args) -> Outcome {
    let release = read("/proc/sys/kernel/osrelease").unwrap_or_default();
    let scheme = probe::verification(&Linux);
    let mut findings = vec![
        finding("kernel", HostState::Note, &release, ""),
        bpf(),
        exclusive(),
        verification(scheme),
    ];
    if scheme == Verification::LoadTime {
        findings.extend(algorithms());
    }
    if matches!(scheme, Verification::LoadTime | Verification::InLoader) {
        findings.extend(uncovered());
    }
    findings.extend(holes(scheme, &release));
    findings.extend([btf(), bpffs(), lsm(), lockdown()]);
    findings.extend(keyrings());
    let report = DoctorReport::from(findings);
    if args.json {
        files::print_json(&report)?;
    } else {
        files::print(&to_text(&report))?;
    }
    if scheme == Verification::LoadTime {
        Ok(())
    } else {
        Err(Failure::Rejected)
    }
}

fn to_text(report: &DoctorReport) -> String {
    let mut out = String::new();
    for f in &report.findings {
        let _ = writeln!(
            out,
            "{:<5} {:<12} {}",
            mark(f.state),
            f.name,
            one_line(&f.text)
        );
        if !f.help.is_empty() {
            let _ = writeln!(out, "{:<19}help: {}", "", f.help);
        }
    }
    out
}

/// A small file of the kernel, without white space at its ends.
fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path)
        .ok()
        .map(|text| text.trim().to_owned())
}

fn bpf() -> HostFinding {
    match probe::bpf(&Linux) {
        Ability::Yes => finding("bpf", HostState::Good, "this process may use BPF", ""),
        Ability::No => finding(
            "bpf",
            HostState::Bad,
            "this kernel has no BPF",
            "use a kernel with CONFIG_BPF_SYSCALL",
        ),
        _ => finding(
            "bpf",
            HostState::Unknown,
            "this process may not use BPF, so most can not be told",
            "run as root, or with CAP_BPF and CAP_PERFMON",
        ),
    }
}

fn exclusive() -> HostFinding {
    let name = "exclusive";
    match probe::exclusive_maps(&Linux) {
        Ability::Yes => finding(
            name,
            HostState::Good,
            "maps can be bound to one program",
            "",
        ),
        Ability::No => finding(
            name,
            HostState::Bad,
            "maps can not be bound to one program",
            "use Linux 6.18 or later",
        ),
        _ => finding(
            name,
            HostState::Unknown,
            "exclusive maps can not be tried",
            "",
        ),
    }
}

fn verification(scheme: Verification) -> HostFinding {
    let name = "signatures";
    match scheme {
        Verification::LoadTime => finding(
            name,
            HostState::Good,
            "verified at load time, over instructions and metadata",
            "",
        ),
        Verification::InLoader => finding(
            name,
            HostState::Bad,
            "verified over instructions only (in-loader scheme); load-time artifacts are refused",
            "use Linux 7.3 or later for artifacts of bpfseal",
        ),
        Verification::NotBuiltIn => finding(
            name,
            HostState::Bad,
            "known, but this kernel was built without their verification",
            "use a kernel with CONFIG_SYSTEM_DATA_VERIFICATION",
        ),
        Verification::Unknown => finding(
            name,
            HostState::Unknown,
            "whether signatures are verified can not be tried",
            "run as root",
        ),
        _ => finding(
            name,
            HostState::Bad,
            "this kernel does not know signatures of BPF programs",
            "use Linux 7.3 or later",
        ),
    }
}

/// Loads the smallest loader with each kind of signature.
fn algorithms() -> Vec<HostFinding> {
    let findings = trial::TRIALS.iter().map(|one| {
        let name = one.name;
        match trial::verified(one) {
            Ok(()) => finding(
                "algorithm",
                HostState::Good,
                format!("{name}: a signature was verified"),
                "",
            ),
            Err(reason) => finding(
                "algorithm",
                HostState::Note,
                format!("{name}: {reason}"),
                "sign with a key and a digest that this kernel verifies",
            ),
        }
    });
    findings.collect()
}

/// What no signature covers, found by trying.
fn uncovered() -> [HostFinding; 2] {
    let hole = |open: Result<bool, Errno>, yes: &str, no: &str, help: &str| match open {
        Ok(true) => finding("hole", HostState::Bad, yes, help),
        Ok(false) | Err(Errno::EACCES) => finding("hole", HostState::Good, no, ""),
        Err(errno) => finding(
            "hole",
            HostState::Unknown,
            format!("whether {yes} can not be tried: {errno}"),
            "",
        ),
    };
    [
        hole(
            trial::records_change_it(),
            "CO-RE records of the host change a signed program after its signature was checked",
            "CO-RE records do not change signed programs",
            "have a security module refuse signed loads with core_relo_cnt other than 0",
        ),
        hole(
            trial::any_type_is_taken(),
            "the signature of a program is good for a program of any other type",
            "the signature of a program is good for its type only",
            "have a security module take signed programs of type syscall only",
        ),
    ]
}

/// Known holes, by the version: they cannot be tried.
fn holes(scheme: Verification, release: &str) -> Vec<HostFinding> {
    let Some(release) = Version::parse(release) else {
        return Vec::new();
    };
    let found = Cve::ALL.iter().filter_map(|cve| {
        let (state, help) = match cve.affects(release) {
            Some(false) => return None,
            Some(true) => {
                let fixed = cve.affected.iter().map(|range| range.fixed.to_string());
                let fixed: Vec<String> = fixed.collect();
                let help = format!(
                    "use {} or later, unless your vendor has mended it",
                    fixed.join(", ")
                );
                (HostState::Bad, help)
            }
            // Which releases have it is not known, but whom it concerns.
            None => {
                let mut schemes = Scheme::KERNELS
                    .into_iter()
                    .filter(|s| s.holes().contains(cve));
                if scheme != Verification::InLoader || schemes.next().is_none() {
                    return None;
                }
                let help =
                    "look whether your kernel has mended it; the load-time scheme has no such hole";
                (HostState::Note, help.to_owned())
            }
        };
        Some(finding(
            "hole",
            state,
            format!("{}: {}", cve.id, cve.what),
            help,
        ))
    });
    found.collect()
}

fn btf() -> HostFinding {
    if std::path::Path::new("/sys/kernel/btf/vmlinux").exists() {
        return finding("btf", HostState::Good, "the kernel's types are there", "");
    }
    finding(
        "btf",
        HostState::Bad,
        "the kernel's types are not there: CO-RE, kfuncs, tracing and LSM programs do not load",
        "use a kernel with CONFIG_DEBUG_INFO_BTF, and mount sysfs",
    )
}

fn bpffs() -> HostFinding {
    let mounts = read("/proc/self/mounts").unwrap_or_default();
    let place = mounts.lines().find_map(|line| {
        let mut words = line.split(' ');
        let place = words.nth(1)?;
        (words.next()? == "bpf").then_some(place)
    });
    match place {
        Some(place) => finding("bpffs", HostState::Good, format!("mounted at {place}"), ""),
        None => finding(
            "bpffs",
            HostState::Note,
            "not mounted: nothing can be pinned",
            "mount -t bpf bpf /sys/fs/bpf",
        ),
    }
}

fn lsm() -> HostFinding {
    let help = "boot with `bpf` in lsm= for BPF programs that decide what may load";
    match read("/sys/kernel/security/lsm") {
        Some(list) if list.split(',').any(|name| name == "bpf") => finding(
            "lsm",
            HostState::Good,
            format!("BPF LSM is active ({list})"),
            "",
        ),
        Some(list) => finding(
            "lsm",
            HostState::Note,
            format!("BPF LSM is not active ({list})"),
            help,
        ),
        None => finding(
            "lsm",
            HostState::Unknown,
            "securityfs is not mounted or can not be read",
            "mount -t securityfs securityfs /sys/kernel/security",
        ),
    }
}

fn lockdown() -> HostFinding {
    match read("/sys/kernel/security/lockdown") {
        // The mode in force stands in brackets.
        Some(modes) if modes.contains("[none]") => {
            finding("lockdown", HostState::Note, "not locked down", "")
        }
        Some(modes) => finding(
            "lockdown",
            HostState::Note,
            format!("locked down: {modes}"),
            "with `confidentiality`, programs that read kernel memory are refused",
        ),
        None => finding("lockdown", HostState::Note, "no lockdown", ""),
    }
}

fn keyrings() -> Vec<HostFinding> {
    let keys = read("/proc/keys").unwrap_or_default();
    let mut found = Vec::new();
    for (keyring, system_name) in [
        (KeyringId::BUILTIN, ".builtin_trusted_keys"),
        (KeyringId::SECONDARY, ".secondary_trusted_keys"),
        (KeyringId::PLATFORM, ".platform"),
    ] {
        let line = keys
            .lines()
            .find(|line| line.contains(&format!(" {system_name}: ")));
        let (state, text) = match line.and_then(|line| line.rsplit(": ").next()) {
            Some(count) => (HostState::Note, format!("{keyring}: keys: {count}")),
            None => (HostState::Unknown, format!("{keyring}: can not be seen")),
        };
        found.push(finding("keyring", state, text, ""));
    }
    for keyring in [KeyringId::SESSION, KeyringId::USER] {
        found.push(match keyring_serial(&Linux, keyring) {
            Ok(serial) => finding(
                "keyring",
                HostState::Good,
                format!(
                    "{keyring}: serial number {}, keys can be added with load --trust",
                    serial.0
                ),
                "",
            ),
            Err(error) => finding(
                "keyring",
                HostState::Unknown,
                format!("{keyring}: {error}"),
                "",
            ),
        });
    }
    found
}
