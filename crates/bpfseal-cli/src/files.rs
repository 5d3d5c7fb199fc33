//! Reading inputs and writing outputs: `-` is standard input or output, and a file is either
//! written whole or not at all.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

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
    let report = |error: &io::Error| {
        let help = match error.kind() {
            io::ErrorKind::NotFound => "check the path",
            io::ErrorKind::PermissionDenied => "check who may read it",
            io::ErrorKind::IsADirectory => "give a file",
            _ => "",
        };
        Report::new(&shown(path), error, help)
    };
    let mut bytes = Vec::new();
    let read = if is_stdio(path) {
        io::stdin()
            .lock()
            .take(MAX_INPUT + 1)
            .read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|file| {
            let len = file.metadata().map_or(0, |m| m.len()).min(MAX_INPUT);
            bytes.reserve_exact(usize::try_from(len).unwrap_or(0));
            file.take(MAX_INPUT + 1).read_to_end(&mut bytes)
        })
    };
    read.map_err(|e| report(&e))?;
    if bytes.len() as u64 > MAX_INPUT {
        let error = io::Error::other(format!("it is larger than {MAX_INPUT} bytes"));
        return Err(Report::new(
            &shown(path),
            &error,
            "give a BPF object or an artifact",
        ));
    }
    Ok(bytes)
}

/// Writes a whole output, by way of a temporary file beside it.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), Report> {
    let written = if is_stdio(path) {
        let mut out = io::stdout().lock();
        out.write_all(bytes).and_then(|()| out.flush())
    } else {
        write_file(path, bytes)
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

fn write_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // Something that is no ordinary file (a pipe, /dev/stdout) can not be replaced, only fed.
    if std::fs::metadata(path).is_ok_and(|m| !m.is_file()) {
        return File::options().write(true).open(path)?.write_all(bytes);
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
    file.write_all(bytes)?;
    file.persist(path).map_err(|e| e.error)?;
    Ok(())
}

/// Prints a line of results. A reader that has gone away is no error of ours.
pub(crate) fn print(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes());
    let _ = out.flush();
}
