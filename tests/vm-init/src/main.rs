//! The first process of a virtual machine: mounts what tests need, runs the tests that the kernel's
//! command line names, says how it went, and ends the machine.
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

/// Where tests are, and the word of the kernel's command line that says which are run.
const TESTS: &str = "/tests";
const PARAMETER: &str = "bpfseal.tests=";

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
    let tests = match std::fs::read_to_string("/proc/cmdline") {
        Ok(line) => chosen(&line),
        Err(error) => {
            println!("bpfseal-vm: no command line: {error}");
            Vec::new()
        }
    };
    let mut failed = usize::from(tests.is_empty());
    for test in tests {
        println!("bpfseal-vm: running {test}");
        let status = Command::new(Path::new(TESTS).join(&test))
            .env("BPFSEAL_VM", "1")
            .env("BPFSEAL_BIN", "/bin/bpfseal")
            .env("RUST_BACKTRACE", "0")
            .args(["--test-threads=1", "--nocapture"])
            .status();
        if !status.is_ok_and(|status| status.success()) {
            println!("bpfseal-vm: {test} failed");
            failed += 1;
        }
    }
    failed
}

/// The tests that a kernel's command line names.
fn chosen(line: &str) -> Vec<String> {
    let names = line
        .split_whitespace()
        .filter_map(|word| word.strip_prefix(PARAMETER));
    let names = names.flat_map(|names| names.split(','));
    names
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
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

#[cfg(test)]
mod tests {
    use super::chosen;

    #[test]
    fn tests_are_named_on_the_command_line() {
        assert_eq!(chosen("quiet bpfseal.tests=a,b rdinit=/init\n"), ["a", "b"]);
        assert_eq!(chosen("quiet bpfseal.tests= x\n"), [""; 0]);
        assert_eq!(chosen(""), [""; 0]);
    }
}
