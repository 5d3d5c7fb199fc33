//! What was loaded: maps, programs and global data by name, to be attached and pinned.
//!
//! It is held by descriptors: dropping [`Loaded`] closes everything, dropping [`Links`] detaches.

use std::os::fd::AsFd as _;
use std::path::Path;

use bpfseal_uapi::BPF_F_RDONLY_PROG;

use crate::artifact::{Artifact, AutoAttach, Interface};
use crate::error::LoadError;
use crate::kernel::{self, Installed, KeyringId, Link, Linux, Map, Mapping, Program, SyscallError};
use crate::pins::{PinError, PinPlace, Staging};
use crate::seal::Scheme;

bpfseal_object::debug_as_chain!(AttachError);

/// Why something was not attached.
#[derive(thiserror::Error)]
#[error("program `{program}` could not be attached")]
#[non_exhaustive]
pub struct AttachError {
    /// The program.
    pub program: String,
    /// Which call failed, and how.
    #[source]
    pub source: SyscallError,
}

/// What was loaded. Dropping it closes everything.
#[derive(Debug)]
pub struct Loaded {
    interface: Interface,
    maps: Vec<Map>,
    /// In the order of the interface; `None` for what is not loaded by default.
    programs: Vec<Option<Program>>,
    /// By which scheme it was verified, and where the signer's key was; `None` for an unsigned
    /// loader.
    pub verified: Option<(Scheme, KeyringId)>,
    /// What the kernel logged, if it was asked to.
    pub log: String,
}

/// Links by the name of their program. Dropping them detaches.
pub type Links = Vec<(String, Link)>;

impl Loaded {
    pub(crate) fn new(
        artifact: &Artifact,
        installed: Installed,
        verified: Option<(Scheme, KeyringId)>,
    ) -> Result<Self, LoadError> {
        let interface = artifact.interface.clone();
        let maps = installed
            .maps
            .into_iter()
            .map(|fd| Map::from_fd(&Linux, fd))
            .collect::<Result<Vec<_>, _>>()
            .map_err(LoadError::Call)?;
        let mut programs: Vec<Option<Program>> = Vec::new();
        programs.resize_with(interface.programs.len(), || None);
        let all = installed.programs.len() == interface.programs.len();
        for (index, fd) in installed.programs.into_iter().enumerate() {
            let program = Program::from_fd(fd, "installed");
            // The loader leaves no gaps for what it does not load, and an artifact may not say
            // what that is. The kernel has the names, cut to 15 bytes.
            let place = if all {
                Some(index)
            } else {
                let name = program.info(&Linux).map_err(LoadError::Call)?.name;
                (index..interface.programs.len()).find(|at| {
                    let known = &interface.programs[*at];
                    programs[*at].is_none()
                        && known.autoload != Some(false)
                        && known.name.get(..15).unwrap_or(&known.name) == name
                })
            };
            if let Some(place) = place {
                programs[place] = Some(program.with_name(&interface.programs[place].name));
            }
        }
        Ok(Self {
            interface,
            maps,
            programs,
            verified,
            log: installed.log,
        })
    }

    /// Name of the object.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.interface.name
    }

    /// The maps and their names, in the object's order.
    pub fn maps(&self) -> impl Iterator<Item = (&str, &Map)> {
        let names = self.interface.maps.iter().map(|name| &**name);
        names.zip(&self.maps)
    }

    /// The programs that were loaded and their names, in the object's order.
    pub fn programs(&self) -> impl Iterator<Item = (&str, &Program)> {
        let names = self.interface.programs.iter().map(|program| &*program.name);
        names
            .zip(&self.programs)
            .filter_map(|(name, program)| Some((name, program.as_ref()?)))
    }

    /// A map by name. Global data is called by its section, without the dot: `rodata`, `bss`.
    #[must_use]
    pub fn map(&self, name: &str) -> Option<&Map> {
        self.maps()
            .find(|(known, _)| *known == name)
            .map(|(_, map)| map)
    }

    /// A program by name.
    #[must_use]
    pub fn program(&self, name: &str) -> Option<&Program> {
        let found = self.programs().find(|(known, _)| *known == name);
        found.map(|(_, program)| program)
    }

    /// A map by its place, for generated code.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn map_at(&self, index: usize) -> &Map {
        &self.maps[index]
    }

    /// A program by its place; `None` for one that is not loaded by default.
    #[must_use]
    pub fn program_at(&self, index: usize) -> Option<&Program> {
        self.programs.get(index)?.as_ref()
    }

    /// A program by its place, for generated code.
    ///
    /// # Panics
    /// When it was not loaded.
    #[must_use]
    pub fn loaded_program_at(&self, index: usize) -> &Program {
        match self.program_at(index) {
            Some(program) => program,
            None => panic!("program {index} is loaded by default"),
        }
    }

    /// Global data by name of its map (`bss`), mapped into memory: writable if programs may write
    /// it too.
    ///
    /// # Errors
    /// [`LoadError::Data`] when there is no such map; what `mmap` answers for a map that is no
    /// global data.
    pub fn data(&self, name: &str) -> Result<Mapping, LoadError> {
        let index = self.interface.maps.iter().position(|known| known == name);
        let index = index.ok_or_else(|| LoadError::Data {
            map: name.to_owned(),
            found: 0,
            expected: 0,
        })?;
        self.data_at(index, 0)
    }

    /// Global data by the place of its map, which has to have at least so many bytes.
    ///
    /// # Errors
    /// As [`Self::data`].
    pub fn data_at(&self, index: usize, expected: usize) -> Result<Mapping, LoadError> {
        let map = self.map_at(index);
        let info = map.info(&Linux).map_err(LoadError::Call)?;
        // A map that programs only read is frozen too.
        let writable = info.flags & BPF_F_RDONLY_PROG == 0;
        let mapping = map.mmap(&Linux, writable).map_err(LoadError::Call)?;
        if mapping.len() < expected {
            return Err(LoadError::Data {
                map: self.interface.maps[index].to_string(),
                found: mapping.len(),
                expected,
            });
        }
        Ok(mapping)
    }

    /// How a program is attached by [`Self::attach`].
    #[must_use]
    pub fn auto_attach(&self, program: &str) -> Option<&AutoAttach> {
        self.interface
            .programs
            .iter()
            .find(|known| known.name == program)
            .map(|known| &known.attach)
    }

    /// Attaches every program whose section says what to: raw tracepoints, tracing, LSM,
    /// iterators. The others are left to the caller ([`Link`] has a constructor for each kind).
    ///
    /// # Errors
    /// [`AttachError`] for the first that fails; what was attached before is detached again.
    pub fn attach(&self) -> Result<Links, AttachError> {
        let mut links = Links::new();
        for (known, program) in self.interface.programs.iter().zip(&self.programs) {
            let Some(program) = program else { continue };
            let link = match &known.attach {
                AutoAttach::Iterator => Link::iterator(&Linux, program),
                AutoAttach::RawTracepoint(name) => {
                    Link::raw_tracepoint(&Linux, Some(name), program)
                }
                AutoAttach::Target => Link::raw_tracepoint(&Linux, None, program),
                AutoAttach::Manual => continue,
            };
            let link = link.map_err(|source| AttachError {
                program: known.name.to_string(),
                source,
            })?;
            links.push((known.name.to_string(), link));
        }
        Ok(links)
    }

    /// Pins maps, programs and links into a directory of a bpf file system: all or nothing.
    ///
    /// The directory must not exist, or be empty. Links are called `link_PROGRAM`.
    ///
    /// # Errors
    /// [`PinError`]; nothing is left behind.
    pub fn pin(&self, folder: &Path, links: &[(String, Link)]) -> Result<(), PinError> {
        self.pin_into(&PinPlace::new(folder)?, links)
    }

    /// [`Self::pin`], for a caller that has something to prepare in case it is killed meanwhile:
    /// see [`PinPlace::staging`].
    ///
    /// # Errors
    /// As [`Self::pin`].
    pub fn pin_into(&self, place: &PinPlace, links: &[(String, Link)]) -> Result<(), PinError> {
        let staging = Staging::new(place)?;
        let objects = self
            .maps()
            .map(|(name, map)| (name.to_owned(), map.as_fd()))
            .chain(
                self.programs()
                    .map(|(name, program)| (name.to_owned(), program.as_fd())),
            )
            .chain(
                links
                    .iter()
                    .map(|(name, link)| (format!("link_{name}"), link.as_fd())),
            );
        for (name, fd) in objects {
            kernel::pin(&Linux, fd, &staging.folder.join(name)).map_err(PinError::Pin)?;
        }
        staging.commit()
    }
}
