//! A virtual machine under QEMU in software: no rights and no hardware are needed.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::project;
use crate::proof::Seen;

pub(crate) const QEMU: &str = "qemu-system-x86_64";
/// How long a machine may take, and its first process to start.
const LIMIT: Duration = Duration::from_secs(1200);
const BOOT_LIMIT: Duration = Duration::from_secs(120);
/// Variables that the tests in a machine see: how many random cases, and where to begin.
const VARIABLES: [&str; 4] = [
    "BPFSEAL_BTF",
    "BPFSEAL_MAPS",
    "BPFSEAL_SCENARIOS",
    "BPFSEAL_SEED",
];
/// For many cases: how long a machine may take, in seconds.
const LIMIT_VARIABLE: &str = "BPFSEAL_LIMIT";
/// How often a machine is started that does not come to its first process.
const STARTS: u32 = 3;
/// What the first process begins its lines with.
const SAYS: &str = "bpfseal-vm: ";

/// A machine's limit, as it was asked for.
fn limit() -> Duration {
    let asked = std::env::var(LIMIT_VARIABLE).ok();
    asked
        .and_then(|seconds| seconds.parse().ok())
        .map_or(LIMIT, Duration::from_secs)
}

/// What a machine is started with.
pub(crate) struct Machine<'a> {
    pub(crate) kernel: &'a Path,
    pub(crate) initramfs: &'a Path,
    /// Options for QEMU.
    pub(crate) options: &'a [String],
    /// The tests that it runs.
    pub(crate) tests: &'a [&'a str],
}

impl Machine<'_> {
    /// Runs the tests in a machine. One that dies or hangs while it boots is started again: that
    /// is the emulation's fault, and no test has run yet.
    pub(crate) fn run(&self) -> anyhow::Result<Seen> {
        if !project::has(QEMU) {
            bail!("`{QEMU}` is needed: apt-get install qemu-system-x86");
        }
        for _ in 0..STARTS {
            match self.boot()? {
                Some((true, seen)) => return Ok(seen),
                Some((false, _)) => bail!("tests failed"),
                None => println!("  the machine did not boot; starting it again"),
            }
        }
        bail!("the machine did not boot, {STARTS} times");
    }

    fn command(&self) -> Command {
        let mut command = Command::new(QEMU);
        command
            // One processor: with several, QEMU's software emulation now and then lets one of
            // them run into code that another is just patching, and the kernel dies while it boots.
            .args(["-accel", "tcg", "-cpu", "max", "-m", "1024", "-smp", "1"])
            .args(["-nographic", "-no-reboot", "-net", "none"])
            .args(self.options)
            .arg("-kernel")
            .arg(self.kernel)
            .arg("-initrd")
            .arg(self.initramfs)
            .arg("-append")
            .arg(self.command_line())
            .stdin(Stdio::null());
        command
    }

    /// What the kernel is started with. Variables that it does not know are its first process's.
    fn command_line(&self) -> String {
        let mut line =
            "console=ttyS0 quiet oops=panic panic=-1 lsm=lockdown,bpf rdinit=/init".to_owned();
        line += &format!(" bpfseal.tests={}", self.tests.join(","));
        for name in VARIABLES {
            if let Ok(value) = std::env::var(name) {
                line += &format!(" {name}={value}");
            }
        }
        line
    }

    /// Boots the kernel and shows what it says: whether all has passed, or nothing when the first
    /// process never ran.
    fn boot(&self) -> anyhow::Result<Option<(bool, Seen)>> {
        let mut machine = self
            .command()
            .stdout(Stdio::piped())
            .spawn()
            .context("starting QEMU")?;
        let start = Instant::now();
        let output = machine.stdout.take().context("QEMU has an output")?;
        let (send, receive) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                if send.send(line).is_err() {
                    break;
                }
            }
        });
        let mut verdict = None;
        let mut seen = Seen {
            release: String::new(),
            firmware: !self.options.is_empty(),
            tests: Vec::new(),
        };
        let mut started = false;
        loop {
            let limit = if started { limit() } else { BOOT_LIMIT };
            let left = limit.saturating_sub(start.elapsed());
            match receive.recv_timeout(left) {
                Ok(line) => {
                    println!("  {line}");
                    started |= line.contains(SAYS);
                    match line.strip_prefix(SAYS) {
                        Some("passed") => verdict = Some(true),
                        Some("failed") => verdict = Some(false),
                        Some(said) => seen.note(said),
                        None => seen.count(&line),
                    }
                }
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
                    machine.kill()?;
                    machine.wait()?;
                    if !started {
                        return Ok(None);
                    }
                    bail!("the machine took longer than {} s", limit.as_secs());
                }
            }
        }
        machine.wait()?;
        println!("  ({} s)", start.elapsed().as_secs());
        match verdict {
            None if started => bail!("the machine died before the tests were through"),
            verdict => Ok(verdict.map(|good| (good, seen))),
        }
    }
}
