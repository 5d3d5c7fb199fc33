//! Artifacts in the running kernel: loaded, attached, pinned.
//!
//! The right end of the way of the data. What is loaded is held by descriptors: dropping
//! [`Loaded`] closes everything, dropping [`Links`] detaches.

use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::kernel::probe::{self, Verification};
use crate::kernel::{
    self, Input, InstallError, InstallOptions, Installed, KeyringId, Link, Linux, LoaderImage, Map,
    Mapping, Program, Step, SyscallError,
};
use crate::loader::{AutoAttach, Interface};
use crate::seal::{Artifact, Scheme, SealedLoader};

/// Keyrings that are asked when none is named, in this order: a kernel does not tell what its own
/// ones hold.
pub const KEYRINGS: [KeyringId; 5] = [
    KeyringId::SESSION,
    KeyringId::USER,
    KeyringId::BUILTIN,
    KeyringId::SECONDARY,
    KeyringId::PLATFORM,
];

/// How an artifact is loaded.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// Where the signer's key is looked for: the first keyring that has it is taken.
    pub keyrings: Vec<KeyringId>,
    /// The weakest scheme that is taken, if a kernel checks no stronger one of the artifact.
    pub min_scheme: Scheme,
    /// How much the kernel is to log; 0 asks for a log only when something is refused.
    pub log_level: u32,
    /// What an unsigned loader is asked for, by map.
    inputs: Vec<(u32, Option<Vec<u8>>)>,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            keyrings: KEYRINGS.to_vec(),
            min_scheme: Scheme::InLoader,
            log_level: 0,
            inputs: Vec::new(),
        }
    }
}

impl LoadOptions {
    /// With one keyring.
    #[must_use]
    pub fn from_keyring(keyring: KeyringId) -> Self {
        Self {
            keyrings: vec![keyring],
            ..Self::default()
        }
    }

    /// What a map is to start with, by its place among the maps. For unsigned loaders; signed ones
    /// are refused with it, because they would ignore it.
    pub fn set_initial_value(&mut self, map: usize, value: Vec<u8>) {
        self.input(map).1 = Some(value);
    }

    /// How many entries a map is to have, by its place among the maps. For unsigned loaders;
    /// signed ones are refused with it, because they would ignore it.
    pub fn set_max_entries(&mut self, map: usize, count: u32) {
        self.input(map).0 = count;
    }

    fn input(&mut self, map: usize) -> &mut (u32, Option<Vec<u8>>) {
        if self.inputs.len() <= map {
            self.inputs.resize(map + 1, (0, None));
        }
        &mut self.inputs[map]
    }
}

/// Why nothing was loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The kernel refused. [`InstallError::explain`] says what that means.
    #[error("the kernel refused it: {0}")]
    Refused(#[source] InstallError),
    /// It is not signed.
    #[error("the artifact is not signed")]
    NotSigned,
    /// It is not signed by a scheme that is strong enough.
    #[error(
        "the artifact is not signed by a scheme that is taken: it has {found}, and {} or stronger is wanted", wanted.name()
    )]
    TooWeak {
        /// What it has.
        found: String,
        /// The weakest that is taken.
        wanted: Scheme,
    },
    /// It has signed forms only.
    #[error("the artifact has no unsigned form")]
    NotUnsigned,
    /// Something was to be set that a signature fixes.
    #[error(
        "map `{map}` was given an initial value or size, which a signed loader ignores: change the BPF program and sign it again"
    )]
    Fixed {
        /// The map.
        map: String,
    },
    /// No keyring was named.
    #[error("there is no keyring to look for the signer's key in")]
    NoKeyring,
    /// The kernel did not say what was installed, or did not let it be mapped.
    #[error("{0}")]
    Call(#[source] SyscallError),
    /// A section of global data that is not there, or of another size.
    #[error("map `{map}` has {found} bytes, and variables up to {expected}")]
    Data {
        /// The map.
        map: String,
        /// Bytes of the mapping.
        found: usize,
        /// Bytes that there should be.
        expected: usize,
    },
}

/// Why something was not attached.
#[derive(Debug, thiserror::Error)]
#[error("program `{program}` can not be attached: {source}")]
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

/// Loads a signed artifact: the kernel checks the signature.
///
/// # Errors
/// [`LoadError::Refused`] with the kernel's answer: for a key that no keyring has, that of the
/// keyring which came nearest.
pub fn load(artifact: &Artifact, options: &LoadOptions) -> Result<Loaded, LoadError> {
    if let Some(map) = options
        .inputs
        .iter()
        .position(|(entries, value)| *entries != 0 || value.is_some())
    {
        let map = artifact.interface.maps.get(map).map_or("?", |name| &**name);
        return Err(LoadError::Fixed {
            map: map.to_owned(),
        });
    }
    let candidates = candidates(artifact, options.min_scheme)?;
    let mut last: Option<InstallError> = None;
    for (index, sealed) in candidates.iter().enumerate() {
        for keyring in &options.keyrings {
            let image = LoaderImage::sealed(*sealed, *keyring);
            match install(&image, artifact, options) {
                Ok(installed) => {
                    let verified = Some((sealed.seal.scheme, *keyring));
                    return Loaded::new(artifact, installed, verified);
                }
                Err(error) if is_elsewhere(&error) => {
                    // That a key is missing says more than that a keyring is.
                    let better = error.errno() == ENOKEY || last.is_none();
                    if better {
                        last = Some(error);
                    }
                }
                Err(error) if index + 1 < candidates.len() && is_for_newer(&error) => break,
                Err(error) => return Err(LoadError::Refused(error)),
            }
        }
    }
    Err(last.map_or(LoadError::NoKeyring, LoadError::Refused))
}

/// The seals to try, strongest first: those that the running kernel checks, or all that are taken
/// when it checks none of them, so that its answer can be explained.
fn candidates(artifact: &Artifact, min: Scheme) -> Result<Vec<SealedLoader<'_>>, LoadError> {
    let all: Vec<_> = artifact.sealed().collect();
    if all.is_empty() {
        return Err(LoadError::NotSigned);
    }
    let mut taken: Vec<_> = all
        .iter()
        .copied()
        .filter(|sealed| sealed.seal.scheme <= min)
        .collect();
    if taken.is_empty() {
        let names: Vec<_> = all.iter().map(|sealed| sealed.seal.scheme.name()).collect();
        return Err(LoadError::TooWeak {
            found: names.join(", "),
            wanted: min,
        });
    }
    taken.sort_by_key(|sealed| sealed.seal.scheme);
    let checked = |scheme: Scheme| match verification() {
        Verification::LoadTime => scheme.binds_map(),
        Verification::InLoader => scheme.checks_in_loader(),
        _ => true,
    };
    let fit: Vec<_> = taken
        .iter()
        .copied()
        .filter(|sealed| checked(sealed.seal.scheme))
        .collect();
    Ok(if fit.is_empty() { taken } else { fit })
}

/// What the running kernel checks: found out by trying, once.
fn verification() -> Verification {
    static FOUND: OnceLock<Verification> = OnceLock::new();
    *FOUND.get_or_init(|| probe::verification(&Linux))
}

/// Whether the kernel may take an older scheme's loader, but not this one's: the mark of exclusive
/// maps, which Linux 7.2 has, can not be read before.
fn is_for_newer(error: &InstallError) -> bool {
    matches!(error, InstallError::Call { step: Step::LoadLoader, source } if source.errno == EACCES)
}

/// Loads the unsigned form of an artifact: nobody vouches for it.
///
/// # Errors
/// [`LoadError::Refused`] with the kernel's answer.
pub fn insecure_load_unsigned(
    artifact: &Artifact,
    options: &LoadOptions,
) -> Result<Loaded, LoadError> {
    let instructions = artifact.unsigned().ok_or(LoadError::NotUnsigned)?;
    let image = LoaderImage::unsigned(instructions, &artifact.metadata);
    let installed = install(&image, artifact, options).map_err(LoadError::Refused)?;
    Loaded::new(artifact, installed, None)
}

/// `ENOKEY`.
const ENOKEY: i32 = 126;
/// `EACCES`.
const EACCES: i32 = 13;
/// `EINVAL`.
const EINVAL: i32 = 22;

/// Whether another keyring may have the key: this one has not, or is not there.
fn is_elsewhere(error: &InstallError) -> bool {
    match error {
        InstallError::Call {
            step: Step::LoadLoader,
            source,
        } => {
            source.errno == ENOKEY
                // Kernels before 7.3 say nothing in their log.
                || (source.errno == EINVAL
                    && (source.log.is_empty() || source.log.contains("keyring")))
        }
        _ => false,
    }
}

fn install(
    image: &LoaderImage<'_>,
    artifact: &Artifact,
    options: &LoadOptions,
) -> Result<Installed, InstallError> {
    let inputs: Vec<_> = options
        .inputs
        .iter()
        .map(|(max_entries, value)| Input {
            max_entries: *max_entries,
            initial_value: value.as_deref(),
        })
        .collect();
    kernel::install_with(
        &Linux,
        image,
        artifact.interface.context(),
        &InstallOptions {
            log_level: options.log_level,
            inputs: &inputs,
        },
    )
}

impl Loaded {
    fn new(
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
        /// `BPF_F_RDONLY_PROG`: such a map is frozen too.
        const READ_ONLY: u32 = 1 << 7;
        let map = self.map_at(index);
        let info = map.info(&Linux).map_err(LoadError::Call)?;
        let writable = info.flags & READ_ONLY == 0;
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

    /// Pins maps, programs and links into a folder of bpffs: all or nothing.
    ///
    /// Everything is pinned into a folder beside it first (see [`staging_folder`]), which then
    /// becomes `folder` in one step. The folder must not be there, or be empty. Links are called
    /// `link_PROGRAM`.
    ///
    /// # Errors
    /// [`PinError`]; nothing is left behind.
    pub fn pin(&self, folder: &Path, links: &[(String, Link)]) -> Result<(), PinError> {
        let staging = Staging::new(folder)?;
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
        staging.commit(folder)
    }
}

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
/// own. It is there only while [`Loaded::pin`] runs; a process that is killed then leaves it.
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
struct Staging {
    folder: PathBuf,
    /// Folders above it that were made for it, innermost first.
    made: Vec<PathBuf>,
    committed: bool,
}

impl Staging {
    fn new(folder: &Path) -> Result<Self, PinError> {
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

    fn commit(mut self, folder: &Path) -> Result<(), PinError> {
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

    #[test]
    fn a_signed_artifact_can_not_be_given_values() {
        let artifact = Artifact {
            interface: Interface {
                maps: vec!["rodata".into()].into(),
                ..Interface::default()
            },
            metadata: Vec::new().into(),
            forms: Vec::new().into(),
        };
        let mut options = LoadOptions::default();
        options.set_initial_value(0, vec![1]);
        let error = load(&artifact, &options).unwrap_err();
        assert!(error.to_string().contains("`rodata`"), "{error}");
        assert!(error.to_string().contains("sign it again"), "{error}");
    }
}
