//! Pins that come all or not at all: they are made in a folder beside the wanted one, which is then
//! renamed.

use std::path::{Path, PathBuf};

use crate::kernel::SyscallError;

/// Why nothing was pinned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PinError {
    /// The folder can not be made.
    #[error("{what} `{}`: {source}", folder.display())]
    Folder {
        /// What was tried.
        what: &'static str,
        /// The folder.
        folder: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The kernel refused a pin.
    #[error("{0}")]
    Pin(#[source] SyscallError),
}

/// The folder that a process pins into before it becomes `folder`: beside it, with a name of its
/// own. It is there only while [`crate::Loaded::pin`] runs; a process that is killed then leaves it.
#[must_use]
pub fn staging_folder(folder: &Path, process: u32) -> PathBuf {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    // No dots: bpffs has no names with them.
    folder.with_file_name(format!("bpfseal-{process}-{}", name.replace('.', "_")))
}

/// Removes a folder of pins.
///
/// # Errors
/// When it is there and can not be removed.
pub fn remove_pins(folder: &Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// A folder that goes away again unless it is committed.
pub(crate) struct Staging {
    pub(crate) folder: PathBuf,
    /// Folders above it that were made for it, innermost first.
    made: Vec<PathBuf>,
    committed: bool,
}

impl Staging {
    pub(crate) fn new(folder: &Path) -> Result<Self, PinError> {
        let fault = |what, folder: &Path| {
            let folder = folder.to_owned();
            move |source| PinError::Folder {
                what,
                folder,
                source,
            }
        };
        let mut staging = Self {
            folder: staging_folder(folder, std::process::id()),
            made: Vec::new(),
            committed: false,
        };
        let parent = folder.parent().unwrap_or(Path::new(""));
        let missing: Vec<_> = parent
            .ancestors()
            .take_while(|above| !above.as_os_str().is_empty() && !above.exists())
            .map(Path::to_owned)
            .collect();
        for above in missing.into_iter().rev() {
            std::fs::create_dir(&above).map_err(fault("can not make", &above))?;
            staging.made.insert(0, above);
        }
        std::fs::create_dir(&staging.folder).map_err(fault("can not make", &staging.folder))?;
        Ok(staging)
    }

    pub(crate) fn commit(mut self, folder: &Path) -> Result<(), PinError> {
        std::fs::rename(&self.folder, folder).map_err(|source| PinError::Folder {
            what: "can not put the pins into",
            folder: folder.to_owned(),
            source,
        })?;
        self.committed = true;
        Ok(())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if self.committed {
            return;
        }
        // Nobody is left to be told; what can not be removed stays.
        let _ = remove_pins(&self.folder);
        for above in &self.made {
            let _ = std::fs::remove_dir(above);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_staged_goes_away_unless_committed() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("a/b/pins");
        let staging = Staging::new(&folder).unwrap();
        let stage = staging.folder.clone();
        std::fs::write(stage.join("map"), "").unwrap();
        drop(staging);
        assert!(!root.path().join("a").exists());
        let staging = Staging::new(&folder).unwrap();
        std::fs::write(stage.join("map"), "").unwrap();
        staging.commit(&folder).unwrap();
        assert!(folder.join("map").exists() && !stage.exists());
        // Not empty any more.
        let error = Staging::new(&folder).unwrap().commit(&folder).unwrap_err();
        assert!(error.to_string().contains("can not put the pins into"));
        assert!(folder.join("map").exists() && !stage.exists());
    }
}
