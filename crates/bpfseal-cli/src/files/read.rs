//! Reading inputs, and remembering which they were.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bpfseal::seal::Secret;

use crate::failure::Report;
use crate::terminal::one_line;

/// Most bytes of an input.
const MAX_INPUT: u64 = 1 << 30;

/// The path of an input as people wrote it, on one line.
pub(crate) fn shown(path: &Path) -> String {
    if is_stdio(path) {
        "standard input".to_owned()
    } else {
        one_line(&path.to_string_lossy()).into_owned()
    }
}

/// Whether a path stands for standard input or output.
pub(crate) fn is_stdio(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Reads a whole input.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Report> {
    let mut bytes = Vec::new();
    read_into(&mut bytes, path, MAX_INPUT)?;
    Ok(bytes)
}

/// Most bytes of a file with a key or a passphrase.
const MAX_SECRET: u64 = 1 << 20;

/// Reads a key or a passphrase.
pub(crate) fn read_secret(path: &Path) -> Result<Secret, Report> {
    // All of a pipe's at once: a buffer that grows leaves copies behind.
    let mut bytes = Vec::with_capacity(if is_stdio(path) { 64 << 10 } else { 0 });
    let read = read_into(&mut bytes, path, MAX_SECRET);
    let secret = Secret::new(bytes);
    read?;
    Ok(secret)
}

fn read_into(bytes: &mut Vec<u8>, path: &Path, limit: u64) -> Result<(), Report> {
    let report = |error: &io::Error| {
        let help = match error.kind() {
            io::ErrorKind::NotFound => "check the path",
            io::ErrorKind::PermissionDenied => "check who may read it",
            io::ErrorKind::IsADirectory => "give a file",
            _ => "",
        };
        Report::new(&shown(path), error, help)
    };
    let read = if is_stdio(path) {
        let stdin = io::stdin();
        // What a shell opened is an input like any other.
        if let Ok(file) = stdin.as_fd().try_clone_to_owned().map(File::from)
            && let Ok(metadata) = file.metadata()
        {
            remember(&metadata);
        }
        stdin.lock().take(limit + 1).read_to_end(bytes)
    } else {
        File::open(path).and_then(|file| {
            let metadata = file.metadata()?;
            remember(&metadata);
            let len = metadata.len().min(limit);
            bytes.reserve_exact(usize::try_from(len).unwrap_or(0));
            file.take(limit + 1).read_to_end(bytes)
        })
    };
    read.map_err(|e| report(&e))?;
    if bytes.len() as u64 > limit {
        let error = io::Error::other(format!("it is larger than {limit} bytes"));
        let help = if limit == MAX_SECRET {
            "give a key in PEM, or a passphrase"
        } else {
            "give a BPF object or an artifact"
        };
        return Err(Report::new(&shown(path), &error, help));
    }
    Ok(())
}

/// Inputs: device and inode number.
static INPUTS: Mutex<Vec<(u64, u64)>> = Mutex::new(Vec::new());

fn inputs() -> MutexGuard<'static, Vec<(u64, u64)>> {
    // A list of numbers is whole whatever a thread did with it.
    INPUTS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn remember(input: &Metadata) {
    if input.is_file() {
        inputs().push((input.dev(), input.ino()));
    }
}

/// Protects a file that will be read later. One that is not there is noticed then.
pub(crate) fn announce(path: &Path) {
    if let Ok(metadata) = path.metadata() {
        remember(&metadata);
    }
}

/// Whether a path leads to a file that was read or announced.
pub(crate) fn is_input(path: &Path) -> bool {
    let there = path.metadata().ok().filter(Metadata::is_file);
    there.is_some_and(|there| inputs().contains(&(there.dev(), there.ino())))
}
