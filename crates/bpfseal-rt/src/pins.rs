//! Pins that appear all at once or not at all.
//!
//! They are made in a staging directory beside the wanted one, which then takes its name. Whatever
//! this module makes or removes is reached through descriptors, never by a path that is looked up
//! again: a directory is known to lie on a bpf file system, and stays the one that was checked.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, Mode, OFlags, fstatfs, mkdirat, openat, renameat, unlinkat};
use rustix::io::Errno;

use crate::kernel::SyscallError;

bpfseal_object::debug_as_chain!(PinError);

/// What `statfs(2)` answers as the type of a bpf file system (`BPF_FS_MAGIC` of `linux/magic.h`).
const BPF_FS_MAGIC: u32 = 0xcafe_4a11;
/// How the name of every staging directory begins.
const STAGING_PREFIX: &str = "bpfseal-";
/// Deepest nesting that is removed: deeper than any path that the kernel takes.
const MAX_DEPTH: usize = 2048;

/// Why nothing was pinned.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum PinError {
    /// A directory could not be opened, made or renamed.
    #[error("{what} `{}`", folder.display())]
    Folder {
        /// What was tried.
        what: &'static str,
        /// The directory.
        folder: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Pins were asked for outside of a bpf file system.
    #[error("`{}` is not on a bpf file system", folder.display())]
    NotBpffs {
        /// The nearest directory above the wanted one that exists.
        folder: PathBuf,
    },
    /// The kernel refused a pin.
    #[error(transparent)]
    Pin(SyscallError),
}

/// A place for pins: a directory on a bpf file system that does not exist yet, or is empty.
///
/// Nothing is made before [`crate::Loaded::pin_into`].
#[derive(Debug)]
pub struct PinPlace {
    /// As the caller wrote it.
    folder: PathBuf,
    /// The nearest directory above that exists, and its path.
    anchor: OwnedFd,
    anchor_path: PathBuf,
    /// What is missing below it; the last is the wanted directory itself.
    names: Vec<OsString>,
    /// The name, in the anchor, that the first of them has until everything is pinned.
    staging: OsString,
    magic: u32,
}

impl PinPlace {
    /// Looks for the place; directories above it may be missing too.
    ///
    /// # Errors
    /// [`PinError::NotBpffs`] outside of a bpf file system, [`PinError::Folder`] for a path that
    /// could not be opened.
    pub fn new(folder: &Path) -> Result<Self, PinError> {
        Self::on(folder, BPF_FS_MAGIC)
    }

    fn on(folder: &Path, magic: u32) -> Result<Self, PinError> {
        let fault = |what, folder: &Path, source: Errno| PinError::Folder {
            what,
            folder: folder.to_owned(),
            source: source.into(),
        };
        let mut names = Vec::new();
        let mut at = folder;
        let (anchor, anchor_path) = loop {
            let (Some(name), Some(above)) = (at.file_name(), at.parent()) else {
                return Err(fault("could not use", folder, Errno::INVAL));
            };
            names.push(name.to_owned());
            let path = if above.as_os_str().is_empty() {
                Path::new(".")
            } else {
                above
            };
            match rustix::fs::open(path, DIRECTORY | OFlags::PATH, Mode::empty()) {
                Ok(anchor) => break (anchor, path.to_owned()),
                Err(Errno::NOENT) if path == above => at = above,
                Err(errno) => return Err(fault("could not open", path, errno)),
            }
        };
        names.reverse();
        if !is_on(&anchor, magic)
            .map_err(|errno| fault("could not look at", &anchor_path, errno))?
        {
            return Err(PinError::NotBpffs {
                folder: anchor_path,
            });
        }
        Ok(Self {
            staging: staging_name(&names[0], std::process::id()),
            folder: folder.to_owned(),
            anchor,
            anchor_path,
            names,
            magic,
        })
    }

    /// The directory in which the staging directory is while something is being pinned.
    #[must_use]
    pub fn anchor(&self) -> BorrowedFd<'_> {
        self.anchor.as_fd()
    }

    /// The name of the staging directory. A process that is killed while it pins leaves it;
    /// [`remove_staging`] removes it.
    #[must_use]
    pub fn staging(&self) -> &OsStr {
        &self.staging
    }

    fn fault(&self, what: &'static str, folder: PathBuf) -> impl FnOnce(Errno) -> PinError + use<> {
        move |errno| PinError::Folder {
            what,
            folder,
            source: errno.into(),
        }
    }
}

/// How directories are opened: never through a symbolic link that is not part of the caller's path.
const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC);

fn is_on(directory: impl AsFd, magic: u32) -> rustix::io::Result<bool> {
    // The type has another width and sign on each architecture; the number has 32 bits on all.
    Ok(fstatfs(directory)?.f_type as u32 == magic)
}

/// `bpfseal-PROCESS-NAME`, without dots: a bpf file system takes no names with them.
fn staging_name(name: &OsStr, process: u32) -> OsString {
    let name = name.to_string_lossy().replace('.', "_");
    OsString::from(format!("{STAGING_PREFIX}{process}-{name}"))
}

fn is_staging_name(name: &OsStr) -> bool {
    name.to_str()
        .and_then(|name| name.strip_prefix(STAGING_PREFIX)?.split_once('-'))
        .is_some_and(|(process, name)| {
            !process.is_empty()
                && process.bytes().all(|b| b.is_ascii_digit())
                && !name.contains('/')
        })
}

/// Removes the staging directory of a process that was killed, with the pins in it.
///
/// `anchor` and `name` are those of its [`PinPlace`]. Nothing is removed that is not called like a
/// staging directory, or is not on a bpf file system; no symbolic link is followed.
///
/// # Errors
/// When it is there and was not removed; `EINVAL` for any other directory.
pub fn remove_staging(anchor: BorrowedFd<'_>, name: &OsStr) -> std::io::Result<()> {
    remove_staging_on(anchor, name, BPF_FS_MAGIC).map_err(Into::into)
}

fn remove_staging_on(anchor: BorrowedFd<'_>, name: &OsStr, magic: u32) -> rustix::io::Result<()> {
    if !is_staging_name(name) {
        return Err(Errno::INVAL);
    }
    remove_tree(anchor, name, magic, 0)
}

/// Removes a directory and what is in it, as far as all of it is on such a file system.
fn remove_tree(
    parent: BorrowedFd<'_>,
    name: &OsStr,
    magic: u32,
    depth: usize,
) -> rustix::io::Result<()> {
    if depth > MAX_DEPTH || !is_on(parent, magic)? {
        return Err(Errno::INVAL);
    }
    let flags = DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY;
    let directory = match openat(parent, name, flags, Mode::empty()) {
        Ok(directory) => directory,
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(errno),
    };
    if !is_on(&directory, magic)? {
        return Err(Errno::INVAL);
    }
    for entry in entries(directory.as_fd())? {
        match unlinkat(&directory, &entry, AtFlags::empty()) {
            Err(Errno::ISDIR) => remove_tree(directory.as_fd(), &entry, magic, depth + 1)?,
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    unlinkat(parent, name, AtFlags::REMOVEDIR)
}

/// Names in a directory, all of them before any is removed.
fn entries(directory: BorrowedFd<'_>) -> rustix::io::Result<Vec<OsString>> {
    use std::os::unix::ffi::OsStrExt as _;
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name != "." && name != ".." {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

/// A staging directory. It goes away again unless it is committed.
pub(crate) struct Staging<'a> {
    place: &'a PinPlace,
    /// Where pins go until then.
    pub(crate) folder: PathBuf,
    committed: bool,
}

impl<'a> Staging<'a> {
    pub(crate) fn new(place: &'a PinPlace) -> Result<Self, PinError> {
        let mode = Mode::RWXU | Mode::RWXG | Mode::RWXO;
        let folder = place.anchor_path.join(&place.staging);
        mkdirat(&place.anchor, &place.staging, mode)
            .map_err(place.fault("could not make", folder.clone()))?;
        let mut staging = Self {
            place,
            folder,
            committed: false,
        };
        // From here on, dropping it removes what there is.
        let mut below = &place.staging;
        let mut parent = None::<OwnedFd>;
        for name in &place.names[1..] {
            let above = parent.as_ref().map_or(place.anchor(), AsFd::as_fd);
            let made = openat(
                above,
                below,
                DIRECTORY | OFlags::NOFOLLOW | OFlags::PATH,
                Mode::empty(),
            )
            .and_then(|directory| mkdirat(&directory, name, mode).map(|()| directory));
            staging.folder.push(name);
            parent = Some(made.map_err(place.fault("could not make", staging.folder.clone()))?);
            below = name;
        }
        Ok(staging)
    }

    /// Gives it the wanted name: of an empty directory, if there is one.
    pub(crate) fn commit(mut self) -> Result<(), PinError> {
        let place = self.place;
        renameat(
            &place.anchor,
            &place.staging,
            &place.anchor,
            &place.names[0],
        )
        .map_err(place.fault("could not put the pins into", place.folder.clone()))?;
        self.committed = true;
        Ok(())
    }
}

impl Drop for Staging<'_> {
    fn drop(&mut self) {
        if !self.committed {
            // Nobody is left to be told; what could not be removed stays.
            let place = self.place;
            let _ = remove_staging_on(place.anchor(), &place.staging, place.magic);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The type of the file system that temporary files are on: it stands for a bpf one here.
    fn magic(folder: &Path) -> u32 {
        fstatfs(open(folder)).unwrap().f_type as u32
    }

    fn open(folder: &Path) -> OwnedFd {
        rustix::fs::open(folder, DIRECTORY, Mode::empty()).unwrap()
    }

    #[test]
    fn what_is_staged_goes_away_unless_committed() {
        let root = tempfile::tempdir().unwrap();
        let magic = magic(root.path());
        for below in ["pins", "a/b/pins"] {
            let folder = root.path().join(below);
            let place = PinPlace::on(&folder, magic).unwrap();
            let empty = || std::fs::read_dir(root.path()).unwrap().next().is_none();
            let staging = Staging::new(&place).unwrap();
            std::fs::write(staging.folder.join("map"), "").unwrap();
            drop(staging);
            assert!(empty(), "{below}");
            let staging = Staging::new(&place).unwrap();
            std::fs::write(staging.folder.join("map"), "").unwrap();
            staging.commit().unwrap();
            assert!(folder.join("map").exists());
            assert!(!root.path().join(place.staging()).exists());
            // Not empty any more.
            let place = PinPlace::on(&folder, magic).unwrap();
            let error = Staging::new(&place).unwrap().commit().unwrap_err();
            assert!(
                error.to_string().contains("could not put the pins into"),
                "{error}"
            );
            assert!(folder.join("map").exists());
            std::fs::remove_dir_all(root.path().join(below.split('/').next().unwrap())).unwrap();
            assert!(empty(), "{below}");
        }
    }

    #[test]
    fn outside_of_a_bpf_file_system_nothing_is_made() {
        let root = tempfile::tempdir().unwrap();
        let error = PinPlace::new(&root.path().join("a/pins")).unwrap_err();
        assert!(matches!(error, PinError::NotBpffs { .. }), "{error}");
        assert!(std::fs::read_dir(root.path()).unwrap().next().is_none());
        for bad in ["", "/", "..", "a/.."] {
            let error = PinPlace::on(Path::new(bad), magic(root.path())).unwrap_err();
            assert!(matches!(error, PinError::Folder { .. }), "{bad}: {error}");
        }
    }

    #[test]
    fn nothing_else_is_removed() {
        let root = tempfile::tempdir().unwrap();
        let magic = magic(root.path());
        let anchor = open(root.path());
        let make = |name: &str| {
            std::fs::create_dir_all(root.path().join(name)).unwrap();
            std::fs::write(root.path().join(name).join("file"), "").unwrap();
        };
        let remove = |name: &str, magic| remove_staging_on(anchor.as_fd(), name.as_ref(), magic);
        let there = |name: &str| root.path().join(name).join("file").exists();
        let good = "bpfseal-17-pins";
        make(good);
        // Another file system than a bpf one.
        assert!(remove_staging(anchor.as_fd(), good.as_ref()).is_err());
        assert!(there(good));
        // Other names.
        for name in [
            "precious",
            "bpfseal-",
            "bpfseal-x-pins",
            "bpfseal--pins",
            "bpfseal-17-pins/../precious",
            ".",
            "..",
            "",
        ] {
            make("precious");
            if !name.is_empty() {
                make(name);
            }
            assert_eq!(remove(name, magic), Err(Errno::INVAL), "{name}");
            assert!(there(name) && there("precious"), "{name}");
        }
        // A link to somewhere else, by the name and inside.
        let link = "bpfseal-18-link";
        std::os::unix::fs::symlink("precious", root.path().join(link)).unwrap();
        assert!(remove(link, magic).is_err());
        std::os::unix::fs::symlink("../precious", root.path().join(good).join("link")).unwrap();
        std::fs::create_dir(root.path().join(good).join("below")).unwrap();
        assert_eq!(remove(good, magic), Ok(()));
        assert!(!root.path().join(good).exists() && there("precious"));
        // One that is gone already.
        assert_eq!(remove(good, magic), Ok(()));
    }
}
