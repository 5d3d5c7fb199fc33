//! Reading inputs and writing outputs: `-` is standard input or output, and a file is either
//! written whole or not at all. An output never takes the place of an input, unless it is asked to.

use std::fs::{File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bpfseal::artifact::{CHeader, RustModule};
use bpfseal::seal::Secret;

use crate::failure::Report;

/// Most bytes of an input.
const MAX_INPUT: u64 = 1 << 30;

/// A path as people wrote it.
pub(crate) fn shown(path: &Path) -> String {
    if is_stdio(path) {
        "standard input".to_owned()
    } else {
        path.display().to_string()
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
        io::stdin().lock().take(limit + 1).read_to_end(bytes)
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

/// Files that were read: device and number.
static INPUTS: Mutex<Vec<(u64, u64)>> = Mutex::new(Vec::new());

fn inputs() -> MutexGuard<'static, Vec<(u64, u64)>> {
    // A list of numbers is whole whatever a thread did with it.
    INPUTS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn remember(input: &Metadata) {
    inputs().push((input.dev(), input.ino()));
}

/// Bytes that are collected before they are written: few, so that little memory is touched.
const BUFFER: usize = 8192;

/// Writes a whole output, by way of a temporary file beside it. All that can go wrong with the
/// contents has to have gone wrong before. What was read is not replaced: a wrong `-o` would cost a
/// key.
pub(crate) fn write(path: &Path, contents: &dyn Contents) -> Result<(), Report> {
    let there = std::fs::metadata(path).ok().filter(Metadata::is_file);
    if there.is_some_and(|there| inputs().contains(&(there.dev(), there.ino()))) {
        let error = io::Error::other("it is an input of this command, and would be replaced");
        return Err(Report::new(&shown(path), &error, "write somewhere else"));
    }
    replace(path, contents)
}

/// [`fn@write`], also over what was read.
pub(crate) fn replace(path: &Path, contents: &dyn Contents) -> Result<(), Report> {
    let written = if is_stdio(path) {
        write_to(&mut io::stdout().lock(), contents)
    } else {
        write_file(path, contents)
    };
    written.map_err(|e| {
        let place = if is_stdio(path) {
            "standard output".to_owned()
        } else {
            shown(path)
        };
        Report::new(&place, &e, "check the place and its free space")
    })
}

fn write_file(path: &Path, contents: &dyn Contents) -> io::Result<()> {
    // Something that is no ordinary file (a pipe, /dev/stdout) can not be replaced, only fed.
    if std::fs::metadata(path).is_ok_and(|m| !m.is_file()) {
        return write_to(&mut File::options().write(true).open(path)?, contents);
    }
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".bpfseal-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // As an ordinary new file; the umask is applied.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let mut file = builder.tempfile_in(folder)?;
    write_to(file.as_file_mut(), contents)?;
    file.persist(path).map_err(|e| e.error)?;
    Ok(())
}

fn write_to(out: &mut dyn Write, contents: &dyn Contents) -> io::Result<()> {
    let mut out = io::BufWriter::with_capacity(BUFFER, out);
    contents.write_to(&mut out)?;
    out.flush()
}

/// What can be written.
pub(crate) trait Contents {
    /// Writes all of it.
    fn write_to(&self, out: &mut dyn Write) -> io::Result<()>;
}

impl Contents for Vec<u8> {
    fn write_to(&self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(self)
    }
}

impl Contents for CHeader<'_> {
    fn write_to(&self, out: &mut dyn Write) -> io::Result<()> {
        write!(out, "{self}")
    }
}

impl Contents for RustModule<'_> {
    fn write_to(&self, out: &mut dyn Write) -> io::Result<()> {
        write!(out, "{self}")
    }
}

/// Prints a line of results. A reader that has gone away is no error of ours.
pub(crate) fn print(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes());
    let _ = out.flush();
}

/// A report as JSON, with a line end.
pub(crate) fn json(report: &impl serde::Serialize) -> Result<String, Report> {
    let text =
        serde_json::to_string_pretty(report).map_err(|e| Report::new("the report", &e, ""))?;
    Ok(text + "\n")
}

/// Prints a report as JSON.
pub(crate) fn print_json(report: &impl serde::Serialize) -> Result<(), Report> {
    print(&json(report)?);
    Ok(())
}
