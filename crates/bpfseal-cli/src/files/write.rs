//! Writing outputs, without harm to what is there.
//!
//! A file is written whole or not at all: into a file without a name, which gets one when it is
//! complete. A killed process leaves nothing behind. An output keeps the mode and the owner of the
//! file that it replaces, goes through symbolic links, is fed to devices and pipes, and never takes
//! the place of an input, unless it is asked to.

use std::fs::{File, Metadata};
use std::io::{self, IsTerminal as _, Write};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use bpfseal::artifact::{CHeader, RustModule};
use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, Uid};

use crate::failure::Report;
use crate::terminal::{self, one_line, visible};

use super::interrupt;
use super::read::{is_input, is_stdio};

/// Bytes that are collected before they are written: few, so that little memory is touched.
const BUFFER: usize = 8192;

/// Links that are followed before a path counts as a loop, as in the kernel.
const MAX_LINKS: usize = 40;

/// Names of temporary files begin so.
const PREFIX: &str = ".bpfseal-";

/// What can be written. All that can go wrong with it has gone wrong before.
pub(crate) trait Contents {
    fn write_to(&self, out: &mut dyn Write) -> io::Result<()>;

    /// As a text, if it is one; it may be printed on a terminal.
    fn text(&self) -> Option<String>;
}

impl Contents for Vec<u8> {
    fn write_to(&self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(self)
    }

    fn text(&self) -> Option<String> {
        None
    }
}

impl Contents for String {
    fn write_to(&self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(self.as_bytes())
    }

    fn text(&self) -> Option<String> {
        Some(self.clone())
    }
}

impl Contents for CHeader<'_> {
    fn write_to(&self, out: &mut dyn Write) -> io::Result<()> {
        write!(out, "{self}")
    }

    fn text(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl Contents for RustModule {
    fn write_to(&self, out: &mut dyn Write) -> io::Result<()> {
        write!(out, "{self}")
    }

    fn text(&self) -> Option<String> {
        Some(self.to_string())
    }
}

/// Writes an output. What was read is not replaced: a slip in `-o` would cost a key.
pub(crate) fn write(path: &Path, contents: &dyn Contents) -> Result<(), Report> {
    if is_input(path) {
        let error = io::Error::other("it is an input of this command and would be replaced");
        return Err(Report::output(
            &shown(path),
            &error,
            "write to another file",
        ));
    }
    replace(path, contents)
}

/// [`fn@write`], also over what was read.
pub(crate) fn replace(path: &Path, contents: &dyn Contents) -> Result<(), Report> {
    let written = Place::of(path).and_then(|place| match place {
        Place::Stdout => {
            let out = io::stdout();
            feed(&mut out.lock(), out.is_terminal(), contents)
        }
        Place::Stream(path) => {
            // At the end of what a descriptor has already; a device has no end.
            let mut file = File::options().append(true).open(path)?;
            let terminal = file.is_terminal();
            feed(&mut file, terminal, contents)
        }
        Place::File { path, old } => write_file(&path, old.as_ref(), contents),
    });
    written.map_err(|e| Report::output(&shown(path), &e, help(&e)))
}

/// Writes a file that must not be there, with this mode.
pub(crate) fn create(path: &Path, mode: u32, contents: &dyn Contents) -> Result<(), Report> {
    let report = |e: io::Error| {
        let help = match e.kind() {
            io::ErrorKind::AlreadyExists => "existing files are not replaced: give another name",
            _ => help(&e),
        };
        Report::output(&shown(path), &e, help)
    };
    let mut temporary = Temporary::new(folder_of(path), mode).map_err(report)?;
    // Not collected first: a key leaves no copy in memory.
    contents.write_to(temporary.file()).map_err(report)?;
    temporary.appear(path).map_err(report)
}

/// Makes a directory for outputs, and those above it.
pub(crate) fn create_directory(path: &Path) -> Result<(), Report> {
    std::fs::create_dir_all(path).map_err(|e| Report::output(&shown(path), &e, help(&e)))
}

/// Prints results.
pub(crate) fn print(text: &str) -> Result<(), Report> {
    print_safe(&visible(text))
}

/// Prints a report as JSON.
pub(crate) fn print_json(report: &impl serde::Serialize) -> Result<(), Report> {
    print_safe(&json(report)?)
}

/// A report as JSON, with a line end.
pub(crate) fn json(report: &impl serde::Serialize) -> Result<String, Report> {
    let text =
        serde_json::to_string_pretty(report).map_err(|e| Report::new("the report", &e, ""))?;
    Ok(terminal::json(text + "\n"))
}

fn print_safe(text: &str) -> Result<(), Report> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|e| Report::output("standard output", &e, ""))
}

fn shown(path: &Path) -> String {
    if is_stdio(path) {
        "standard output".to_owned()
    } else {
        one_line(&path.to_string_lossy()).into_owned()
    }
}

fn help(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::IsADirectory => "give the name of a file",
        io::ErrorKind::NotFound => "create the directory first",
        io::ErrorKind::PermissionDenied => "write to a directory that you may write to",
        // What to do about a full disk or a closed pipe is known.
        _ => "",
    }
}

/// Where an output goes.
enum Place {
    /// Standard output, by whatever name.
    Stdout,
    /// Something that can be written to but not replaced: a device, a pipe, an open descriptor.
    Stream(PathBuf),
    /// A file, all symbolic links resolved, and what is there now.
    File {
        path: PathBuf,
        old: Option<Metadata>,
    },
}

impl Place {
    fn of(path: &Path) -> io::Result<Self> {
        if is_stdio(path) {
            return Ok(Self::Stdout);
        }
        let mut path = path.to_owned();
        for _ in 0..MAX_LINKS {
            if path.as_os_str().as_bytes().ends_with(b"/") {
                return Err(io::ErrorKind::IsADirectory.into());
            }
            let there = match path.symlink_metadata() {
                Ok(there) => there,
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    return Ok(Self::File { path, old: None });
                }
                Err(e) => return Err(e),
            };
            let kind = there.file_type();
            if kind.is_dir() {
                return Err(io::ErrorKind::IsADirectory.into());
            } else if kind.is_file() {
                let old = Some(there);
                return Ok(Self::File { path, old });
            } else if !kind.is_symlink() {
                return Ok(Self::Stream(path));
            }
            let folder = folder_of(&path);
            if let Some(stream) = descriptor(&path, folder) {
                return Ok(stream);
            }
            check_link(&there, folder)?;
            let target = std::fs::read_link(&path)?;
            path = folder.join(target);
        }
        Err(rustix::io::Errno::LOOP.into())
    }
}

/// A link of `/proc` that stands for an open descriptor: what is behind it may have no name, or
/// belong to a shell that appends to it.
fn descriptor(path: &Path, folder: &Path) -> Option<Place> {
    let folder = folder.canonicalize().ok()?;
    if !folder.starts_with("/proc") {
        return None;
    }
    let own = Path::new("/proc/self/fd").canonicalize().ok();
    if own.as_ref() == Some(&folder) && path.file_name() == Some("1".as_ref()) {
        return Some(Place::Stdout);
    }
    // Links to other links of /proc lead here again.
    let number = path.file_name()?.to_str()?.parse::<u32>().is_ok();
    (number && folder.ends_with("fd")).then(|| Place::Stream(path.to_owned()))
}

/// Refuses a link that somebody else has put into a directory where everybody may put something,
/// such as /tmp: what the kernel does where `fs.protected_symlinks` is set.
fn check_link(link: &Metadata, folder: &Path) -> io::Result<()> {
    const STICKY_FOR_ALL: u32 = 0o1002;
    let folder = folder.metadata()?;
    let foreign = link.uid() != rustix::process::geteuid().as_raw() && link.uid() != folder.uid();
    if folder.mode() & STICKY_FOR_ALL == STICKY_FOR_ALL && foreign {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "it is another user's symbolic link in a directory that everybody can write to",
        ));
    }
    Ok(())
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn feed(out: &mut dyn Write, terminal: bool, contents: &dyn Contents) -> io::Result<()> {
    if !terminal {
        return write_to(out, contents);
    }
    let text = contents.text().ok_or_else(|| {
        io::Error::other("it is a terminal, and the output is binary: redirect it to a file")
    })?;
    out.write_all(visible(&text).as_bytes())?;
    out.flush()
}

fn write_to(out: &mut dyn Write, contents: &dyn Contents) -> io::Result<()> {
    let mut out = io::BufWriter::with_capacity(BUFFER, out);
    contents.write_to(&mut out)?;
    out.flush()
}

fn write_file(path: &Path, old: Option<&Metadata>, contents: &dyn Contents) -> io::Result<()> {
    let folder = folder_of(path);
    let temporary = match Temporary::new(folder, 0o666) {
        // The directory may be another user's, and the file in it is ours to write.
        Err(e) if old.is_some() && is_not_permitted(&e) => return write_in_place(path, contents),
        other => other,
    };
    let mut temporary = temporary?;
    let Some(old) = old else {
        write_to(temporary.file(), contents)?;
        return temporary.replace(path);
    };
    if !keep_owner(temporary.file(), old)? {
        return write_in_place(path, contents);
    }
    write_to(temporary.file(), contents)?;
    let mode = std::fs::Permissions::from_mode(old.mode() & 0o7777);
    temporary.file().set_permissions(mode)?;
    temporary.replace(path)
}

/// The way that needs no rights but those on the file. It is not all or nothing.
fn write_in_place(path: &Path, contents: &dyn Contents) -> io::Result<()> {
    let mut file = File::options().write(true).truncate(true).open(path)?;
    write_to(&mut file, contents)
}

fn is_not_permitted(error: &io::Error) -> bool {
    use io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
    matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem)
}

/// Gives a file the owner and group of another; whether that was allowed.
fn keep_owner(file: &File, old: &Metadata) -> io::Result<bool> {
    let new = file.metadata()?;
    let uid = (new.uid() != old.uid()).then(|| Uid::from_raw(old.uid()));
    let gid = (new.gid() != old.gid()).then(|| Gid::from_raw(old.gid()));
    if uid.is_none() && gid.is_none() {
        return Ok(true);
    }
    match rustix::fs::fchown(file, uid, gid) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::PERM) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// A file that is not there yet.
enum Temporary {
    /// Without a name: gone with the process, however that ends.
    Unnamed(File),
    /// Where the file system has no files without names.
    Named(tempfile::NamedTempFile<(File, interrupt::Guard)>),
}

impl Temporary {
    fn new(folder: &Path, mode: u32) -> io::Result<Self> {
        use rustix::io::Errno;
        let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
        match rustix::fs::open(folder, flags, Mode::from_raw_mode(mode)) {
            Ok(file) => Ok(Self::Unnamed(file.into())),
            // What kernels and file systems answer that do not know of it.
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => Self::named(folder, mode),
            Err(e) => Err(e.into()),
        }
    }

    fn named(folder: &Path, mode: u32) -> io::Result<Self> {
        let mut options = File::options();
        options.write(true).create_new(true).mode(mode);
        let made = tempfile::Builder::new()
            .prefix(PREFIX)
            .make_in(folder, |path| {
                interrupt::create(path, || options.open(path))
            })?;
        Ok(Self::Named(made))
    }

    fn file(&mut self) -> &mut File {
        match self {
            Self::Unnamed(file) => file,
            Self::Named(named) => &mut named.as_file_mut().0,
        }
    }

    /// Gets a name that must not be taken.
    fn appear(self, path: &Path) -> io::Result<()> {
        match self {
            Self::Unnamed(file) => link(&file, path),
            Self::Named(named) => {
                named.persist_noclobber(path).map_err(|e| e.error)?;
                Ok(())
            }
        }
    }

    /// Takes the place of what is there.
    fn replace(self, path: &Path) -> io::Result<()> {
        match self {
            Self::Unnamed(file) => match link(&file, path) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => rename_over(&file, path),
                other => other,
            },
            Self::Named(named) => {
                named.persist(path).map_err(|e| e.error)?;
                Ok(())
            }
        }
    }
}

/// Gives a name to a file that has none.
fn link(file: &File, path: &Path) -> io::Result<()> {
    // Without privileges, this is the way (open(2), O_TMPFILE).
    let open = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
    rustix::fs::linkat(CWD, open, CWD, path, AtFlags::SYMLINK_FOLLOW)?;
    Ok(())
}

/// A link never replaces anything, so a file without a name takes a second one first.
fn rename_over(file: &File, path: &Path) -> io::Result<()> {
    let named = tempfile::Builder::new()
        .prefix(PREFIX)
        .make_in(folder_of(path), |name| {
            interrupt::create(name, || link(file, name))
        })?;
    named.persist(path).map_err(|e| e.error)?;
    Ok(())
}
