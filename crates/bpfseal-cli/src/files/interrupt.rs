//! Files that must not be left behind when a signal ends the command.
//!
//! Most outputs have no name before they are complete and need nothing of this. A file that has a
//! temporary name for a while is removed here when SIGINT, SIGTERM or SIGHUP arrives.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

/// Files with temporary names.
static TEMPORARY: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

fn temporary() -> MutexGuard<'static, Vec<PathBuf>> {
    // A list of names is whole whatever a thread did with it.
    TEMPORARY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps a file on the list.
pub(crate) struct Guard(PathBuf);

impl Drop for Guard {
    fn drop(&mut self) {
        let mut list = temporary();
        if let Some(at) = list.iter().position(|path| *path == self.0) {
            list.swap_remove(at);
        }
    }
}

/// Creates a file that is removed if a signal comes before the guard goes.
pub(crate) fn create<T>(
    path: &Path,
    make: impl FnOnce() -> io::Result<T>,
) -> io::Result<(T, Guard)> {
    static STARTED: Once = Once::new();
    // Without the thread a signal leaves a file behind, and nothing else happens.
    STARTED.call_once(|| drop(watch()));
    // Held meanwhile: who removes files finds this one, or it is never made.
    let mut list = temporary();
    let made = make()?;
    list.push(path.to_owned());
    Ok((made, Guard(path.to_owned())))
}

/// Waits for signals, in a thread of its own. Signals that are ignored, as by `nohup`, stay so.
fn watch() -> io::Result<()> {
    let ignored = ignored()?;
    let wanted = [SIGHUP, SIGINT, SIGTERM];
    let wanted = wanted.into_iter().filter(|n| ignored >> (n - 1) & 1 == 0);
    let mut signals = Signals::new(wanted)?;
    std::thread::Builder::new().spawn(move || {
        for signal in &mut signals {
            // Held until the end: no file gets a name any more.
            let list = temporary();
            for path in &*list {
                let _ = std::fs::remove_file(path);
            }
            let _ = emulate_default_handler(signal);
        }
    })?;
    Ok(())
}

/// The signals that this process ignores, a bit each.
fn ignored() -> io::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = line.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok());
    mask.ok_or_else(|| io::ErrorKind::InvalidData.into())
}
