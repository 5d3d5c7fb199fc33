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

/// The benchmark; where it is packed, nothing else is.
const BENCH: &str = "/vm-bench";

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
    // Tests look at their process group, and a first process has none.
    if let Err(error) = rustix::process::setsid() {
        println!("bpfseal-vm: no session: {error}");
    }
    if let Err(error) = loopback_up() {
        println!("bpfseal-vm: the loopback interface is not up: {error}");
    }
    if let Ok(version) = std::fs::read_to_string("/proc/version") {
        println!("bpfseal-vm: {}", version.trim());
    }
    if Path::new(BENCH).exists() {
        println!("bpfseal-vm: measuring");
        let status = Command::new(BENCH).status();
        return usize::from(!status.is_ok_and(|status| status.success()));
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

/// Brings the loopback interface up, by one message of rtnetlink.
fn loopback_up() -> rustix::io::Result<()> {
    use rustix::net::{AddressFamily, SendFlags, SocketType, send, socket};
    const RTM_NEWLINK: u16 = 16;
    const REQUEST: u16 = 1;
    const UP: u32 = 1;
    let mut message = Vec::new();
    // struct nlmsghdr: length, type, flags, sequence number, port.
    message.extend(32u32.to_ne_bytes());
    message.extend(RTM_NEWLINK.to_ne_bytes());
    message.extend(REQUEST.to_ne_bytes());
    message.extend([0; 8]);
    // struct ifinfomsg: family, padding, type, index, flags, which flags to change.
    message.extend([0; 4]);
    message.extend(1i32.to_ne_bytes());
    message.extend(UP.to_ne_bytes());
    message.extend(UP.to_ne_bytes());
    // Protocol 0 is NETLINK_ROUTE.
    let socket = socket(AddressFamily::NETLINK, SocketType::RAW, None)?;
    send(&socket, &message, SendFlags::empty()).map(drop)
}
