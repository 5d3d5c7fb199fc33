//! A second process that removes unfinished pins if this one is killed while it pins.
//!
//! It is this program again, but no verb: nothing on a command line starts it. It is called without
//! arguments, with the name of the staging directory in its environment and the directory above it
//! as an open descriptor, and it removes nothing but staging directories on bpf file systems.

use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use bpfseal::PinPlace;

/// Names the staging directory, to the second process alone.
const VARIABLE: &str = "BPFSEAL_UNFINISHED_PINS";

/// The second process, seen from the first. A system without the means for it goes without.
pub(crate) struct Cleaner(Option<Child>);

impl Cleaner {
    /// Starts it, before anything is pinned.
    pub(crate) fn start(place: &PinPlace) -> Self {
        let child = place.anchor().try_clone_to_owned().and_then(|anchor| {
            Command::new("/proc/self/exe")
                .arg0("bpfseal: removes unfinished pins")
                .env_clear()
                .env(VARIABLE, place.staging())
                // Where it reads when this process is done or dead: the end of the pipe.
                .stdin(Stdio::piped())
                .stdout(Stdio::from(anchor))
                .stderr(Stdio::null())
                // An interrupt from the terminal is meant for this process.
                .process_group(0)
                .spawn()
        });
        Self(child.ok())
    }

    /// All is pinned, or cleaned up already.
    pub(crate) fn dismiss(self) {
        if let Some(mut child) = self.0 {
            // Ends, because its input ends; there is nothing left for it to remove.
            drop(child.stdin.take());
            let _ = child.wait();
        }
    }
}

/// Whether this is the second process; if so, does its work.
pub(crate) fn run_if_called() -> bool {
    if std::env::args_os().len() > 1 {
        return false;
    }
    let Some(staging) = std::env::var_os(VARIABLE) else {
        return false;
    };
    let _ = std::io::stdin().lock().read_to_end(&mut Vec::new());
    let _ = bpfseal::remove_staging(std::io::stdout().as_fd(), &staging);
    true
}
