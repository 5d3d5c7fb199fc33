//! The first process of a virtual machine: mounts what tests need, runs every test, says how it
//! went, and ends the machine.
#![forbid(unsafe_code)]

use std::path::Path;
use std::process::Command;

use rustix::mount::{MountFlags, mount};
use rustix::system::{RebootCommand, reboot};

/// File systems: type and place.
const MOUNTS: [(&str, &str); 7] = [
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("devtmpfs", "/dev"),
    ("bpf", "/sys/fs/bpf"),
    ("tracefs", "/sys/kernel/tracing"),
    ("securityfs", "/sys/kernel/security"),
    ("cgroup2", "/sys/fs/cgroup"),
];

fn main() {
    let failed = run();
    // The line that the other side waits for.
    println!(
        "bpfseal-vm: {}",
        if failed == 0 { "passed" } else { "failed" }
    );
    let _ = reboot(RebootCommand::Restart);
    // A first process must not end.
    loop {
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
}

/// Runs everything; how many failed.
fn run() -> usize {
    for (kind, place) in MOUNTS {
        let _ = std::fs::create_dir_all(place);
        if let Err(error) = mount(kind, place, kind, MountFlags::empty(), None) {
            println!("bpfseal-vm: {place} is not mounted: {error}");
        }
    }
    if let Ok(version) = std::fs::read_to_string("/proc/version") {
        println!("bpfseal-vm: {}", version.trim());
    }
    let mut tests: Vec<_> = std::fs::read_dir(Path::new("/tests"))
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    tests.sort();
    let mut failed = usize::from(tests.is_empty());
    for test in tests {
        println!("bpfseal-vm: running {}", test.display());
        let status = Command::new(&test)
            .env("BPFSEAL_VM", "1")
            .env("BPFSEAL_BIN", "/bin/bpfseal")
            .env("RUST_BACKTRACE", "0")
            .args(["--test-threads=1", "--nocapture"])
            .status();
        if !status.is_ok_and(|status| status.success()) {
            println!("bpfseal-vm: {} failed", test.display());
            failed += 1;
        }
    }
    failed
}
