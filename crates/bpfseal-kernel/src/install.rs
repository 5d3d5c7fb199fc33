//! Loading a loader and running it: what it installs comes back as descriptors.
//!
//! The calls and their order are those of `bpf_load_and_run` in libbpf's `skel_internal.h`: an
//! exclusive metadata map, filled and frozen; the loader, bound to it; one run.

use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};

use bpfseal_loader::ContextLayout;
use bpfseal_seal::{Scheme, SealedLoader, excl_prog_hash};

use crate::error::SyscallError;
use crate::keyring::KeyringId;
use crate::map::{ARRAY, Map, MapSpec, owned_fd, text};
use crate::program::{Program, ProgramSpec, Signature};
use crate::system::{Command, System};

/// `BPF_PROG_TYPE_SYSCALL`.
const SYSCALL: u32 = 31;
/// `BPF_F_SLEEPABLE`.
const SLEEPABLE: u32 = 1 << 4;
/// Bytes of `struct bpf_loader_ctx`.
const CTX_HEADER: usize = 24;
/// Bytes of `struct bpf_map_desc`.
const MAP_DESC: usize = 16;
/// `BPF_LOG_STATS`: errors are logged, and not every instruction on the way to them, which takes
/// many times as long.
const BRIEF_LOG: u32 = 4;
/// Bytes that the log of what a loader loads may have; of a longer one the end is kept.
const LOG_LEN: usize = 1024 * 1024;

/// A loader as the kernel takes it.
#[derive(Debug, Clone, Copy)]
pub struct LoaderImage<'a> {
    /// Its instructions.
    pub instructions: &'a [u8],
    /// The value of its metadata map.
    pub metadata: &'a [u8],
    /// The digest that the map is bound to.
    pub excl_prog_hash: [u8; 32],
    /// CMS signature and the keyring of its key; `None` loads it unsigned.
    pub signature: Option<(&'a [u8], KeyringId)>,
    /// What the signature is over: whether the kernel binds the map, or only has to know its
    /// digest.
    pub scheme: Scheme,
}

impl<'a> LoaderImage<'a> {
    /// A sealed loader, whose signer's key is looked for in a keyring.
    #[must_use]
    pub fn sealed(sealed: SealedLoader<'a>, keyring: KeyringId) -> Self {
        Self {
            instructions: sealed.instructions,
            metadata: sealed.metadata,
            excl_prog_hash: sealed.seal.excl_prog_hash,
            signature: Some((&sealed.seal.signature, keyring)),
            scheme: sealed.seal.scheme,
        }
    }

    /// A loader without a signature.
    #[must_use]
    pub fn unsigned(instructions: &'a [u8], metadata: &'a [u8]) -> Self {
        Self {
            instructions,
            metadata,
            excl_prog_hash: excl_prog_hash(instructions),
            signature: None,
            scheme: Scheme::LoadTime,
        }
    }
}

/// The step that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Step {
    /// Making the metadata map.
    CreateMetadata,
    /// Writing it.
    FillMetadata,
    /// Freezing it.
    FreezeMetadata,
    /// Having the kernel compute its digest, for loaders that check it themselves.
    DigestMetadata,
    /// Loading the loader: here the kernel checks the signature.
    LoadLoader,
    /// Running it.
    RunLoader,
}

/// Why nothing was installed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InstallError {
    /// A call failed.
    #[error("{source}")]
    Call {
        /// Where.
        step: Step,
        /// Which call, and how.
        #[source]
        source: SyscallError,
    },
    /// The loader ran and answered 0, but left something else than descriptors.
    #[error(
        "the loader ran, but left {found} where a descriptor should be, at offset {offset} of its context"
    )]
    Descriptor {
        /// Offset in the context.
        offset: usize,
        /// What is there.
        found: i32,
    },
    /// The loader ran, and one of its own calls failed.
    #[error("the loader ran and answered errno {errno} ({}): a map or program of the object was refused", crate::errno_name(*.errno).unwrap_or("unnamed"))]
    Loader {
        /// The errno, positive.
        errno: i32,
        /// What the verifier said of the program that it refused; empty when it was not a program.
        log: String,
    },
}

impl InstallError {
    /// The errno, wherever it came from.
    #[must_use]
    pub fn errno(&self) -> i32 {
        match self {
            Self::Call { source, .. } => source.errno,
            Self::Loader { errno, .. } => *errno,
            Self::Descriptor { .. } => libc::EBADF,
        }
    }
}

/// What a loader has installed. Dropping it closes everything.
#[derive(Debug)]
pub struct Installed {
    /// Maps, in the object's order.
    pub maps: Vec<OwnedFd>,
    /// Programs, in the order of loading. Fewer than the context has places for, when the object
    /// has programs that are not loaded by default.
    pub programs: Vec<OwnedFd>,
    /// What the verifier said of the last program, if it was asked to.
    pub log: String,
}

/// What the host asks of a loader for one map. An unsigned loader follows it; a signed one ignores
/// it, because nobody has signed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Input<'a> {
    /// Count of entries; 0 leaves it as it is.
    pub max_entries: u32,
    /// Value to start with, of the size of the map's values.
    pub initial_value: Option<&'a [u8]>,
}

/// How a loader is run, besides what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct InstallOptions<'a> {
    /// How much the kernel is to log, of the loader and of what it loads; 0 asks for a log only
    /// when something is refused.
    pub log_level: u32,
    /// For maps, in their order; there may be fewer than maps.
    pub inputs: &'a [Input<'a>],
}

/// Loads a loader into the kernel and runs it once.
///
/// # Errors
/// The first call that failed, with the kernel's log if it was the one that checks the signature.
pub fn install(
    system: &dyn System,
    image: &LoaderImage<'_>,
    context: ContextLayout,
) -> Result<Installed, InstallError> {
    install_with(system, image, context, &InstallOptions::default())
}

/// [`install`], with options.
///
/// # Errors
/// As [`install`].
pub fn install_with(
    system: &dyn System,
    image: &LoaderImage<'_>,
    context: ContextLayout,
    options: &InstallOptions<'_>,
) -> Result<Installed, InstallError> {
    let program = load_loader(system, image, options)?;
    let (mut answer, mut bytes, mut log) =
        run_loader(system, &program, context, options, options.log_level)?;
    if answer < 0 && options.log_level == 0 {
        // A second time with a log: what it had made is closed again, and it is the same loader.
        (answer, bytes, log) = run_loader(system, &program, context, options, BRIEF_LOG)?;
    }
    if answer < 0 {
        return Err(InstallError::Loader {
            errno: -answer,
            log,
        });
    }
    let mut installed = take(&bytes, context)?;
    installed.log = log;
    Ok(installed)
}

/// Makes the metadata map, and loads the loader that alone may use it.
fn load_loader(
    system: &dyn System,
    image: &LoaderImage<'_>,
    options: &InstallOptions<'_>,
) -> Result<Program, InstallError> {
    let at = |step| move |source| InstallError::Call { step, source };
    let value_size = u32::try_from(image.metadata.len()).unwrap_or(u32::MAX);
    let map = Map::create(
        system,
        &MapSpec {
            map_type: ARRAY,
            key_size: 4,
            value_size,
            max_entries: 1,
            name: "__loader.map",
            excl_prog_hash: Some(&image.excl_prog_hash),
            ..MapSpec::default()
        },
    )
    .map_err(at(Step::CreateMetadata))?;
    map.update(system, &0u32.to_ne_bytes(), image.metadata, 0)
        .map_err(at(Step::FillMetadata))?;
    map.freeze(system).map_err(at(Step::FreezeMetadata))?;
    if image.scheme.checks_in_loader() {
        map.hash(system, 32).map_err(at(Step::DigestMetadata))?;
    }
    let spec = ProgramSpec {
        prog_type: SYSCALL,
        instructions: image.instructions,
        license: "Dual BSD/GPL",
        name: "__loader.prog",
        flags: SLEEPABLE,
        fd_array: &[map.as_fd().as_raw_fd()],
        // The kernel folds bound maps into what the signature covers.
        bind: image.signature.is_some() && image.scheme.binds_map(),
        signature: image
            .signature
            .map(|(bytes, keyring)| Signature { bytes, keyring }),
        log_level: options.log_level,
    };
    // A second time with a log, if it fails: most loads do not need one.
    Program::load(system, &spec)
        .or_else(|first| {
            if options.log_level > 0 {
                return Err(first);
            }
            let spec = ProgramSpec {
                log_level: BRIEF_LOG,
                ..spec.clone()
            };
            match Program::load(system, &spec) {
                Ok(program) => Ok(program),
                Err(second) if second.errno == first.errno => Err(second),
                Err(_) => Err(first),
            }
        })
        .map_err(at(Step::LoadLoader))
}

/// Runs it once: its answer, its context, and what was logged.
fn run_loader(
    system: &dyn System,
    program: &Program,
    context: ContextLayout,
    options: &InstallOptions<'_>,
    log_level: u32,
) -> Result<(i32, Vec<u8>, String), InstallError> {
    let mut bytes = vec![0; context.size() as usize];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(0, &context.size().to_ne_bytes());
    let mut log = vec![0; if log_level > 0 { LOG_LEN } else { 0 }];
    if log_level > 0 {
        put(8, &log_level.to_ne_bytes());
        put(12, &(LOG_LEN as u32).to_ne_bytes());
        put(16, &(log.as_mut_ptr() as u64).to_ne_bytes());
    }
    for (index, input) in options
        .inputs
        .iter()
        .take(context.maps as usize)
        .enumerate()
    {
        let at = CTX_HEADER + index * MAP_DESC;
        put(at + 4, &input.max_entries.to_ne_bytes());
        let address = input.initial_value.map_or(0, |value| value.as_ptr() as u64);
        put(at + 8, &address.to_ne_bytes());
    }
    let answer = program
        .run(system, &mut bytes)
        .map_err(|source| InstallError::Call {
            step: Step::RunLoader,
            source,
        })?;
    // The log lives until here: the kernel has written through its address.
    Ok((answer, bytes, text(&log)))
}

/// The descriptors that the loader has left in its context.
///
/// Standard input, output and error are nothing that it can have made, nor is anything twice: who
/// closes such a descriptor would close another's.
fn take(bytes: &[u8], context: ContextLayout) -> Result<Installed, InstallError> {
    let mut seen = std::collections::BTreeSet::new();
    let mut offsets = Vec::new();
    let maps = context.maps as usize;
    let programs = CTX_HEADER + maps * MAP_DESC;
    offsets.extend((0..maps).map(|i| CTX_HEADER + i * MAP_DESC));
    offsets.extend((0..context.programs as usize).map(|i| programs + i * 4));
    let mut fds = Vec::new();
    for (index, offset) in offsets.into_iter().enumerate() {
        let word = [
            bytes[offset],
            bytes[offset + 1],
            bytes[offset + 2],
            bytes[offset + 3],
        ];
        let found = i32::from_ne_bytes(word);
        // The places behind those of the loaded programs stay as they were.
        if found == 0 && index >= maps {
            break;
        }
        if found <= 2 || !seen.insert(found) {
            return Err(InstallError::Descriptor { offset, found });
        }
        fds.push(owned_fd(i64::from(found)));
    }
    let programs = fds.split_off(maps);
    Ok(Installed {
        maps: fds,
        programs,
        log: String::new(),
    })
}

/// The calls of an installation, for whoever explains it.
impl Step {
    /// In words.
    #[must_use]
    pub fn describe(self) -> &'static str {
        match self {
            Self::CreateMetadata => "making the metadata map",
            Self::FillMetadata => "writing the metadata map",
            Self::FreezeMetadata => "freezing the metadata map",
            Self::DigestMetadata => "asking for the digest of the metadata map",
            Self::LoadLoader => "loading the loader, where the kernel checks the signature",
            Self::RunLoader => "running the loader",
        }
    }

    /// The command of `bpf(2)`.
    #[must_use]
    pub fn command(self) -> Command {
        match self {
            Self::CreateMetadata => Command::MapCreate,
            Self::FillMetadata => Command::MapUpdateElem,
            Self::FreezeMetadata => Command::MapFreeze,
            Self::DigestMetadata => Command::ObjGetInfoByFd,
            Self::LoadLoader => Command::ProgLoad,
            Self::RunLoader => Command::ProgRun,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attr::Attr;
    use std::cell::RefCell;

    /// A kernel that writes down the calls and fails at the one that it is told.
    struct Double {
        calls: RefCell<Vec<Command>>,
        fail: Option<Command>,
    }

    impl System for Double {
        fn bpf(&self, command: Command, attr: &mut Attr<'_>) -> Result<i64, i32> {
            self.calls.borrow_mut().push(command);
            if self.fail == Some(command) {
                return Err(libc::EPERM);
            }
            if command == Command::ProgLoad {
                // Signed: the one map is bound.
                assert_eq!(attr.u32(148), 1);
            }
            match command {
                // Real descriptors, so that dropping them closes nothing else.
                Command::MapCreate | Command::ProgLoad => {
                    let file = std::fs::File::open("/dev/null").map_err(|_| libc::EIO)?;
                    Ok(i64::from(std::os::fd::IntoRawFd::into_raw_fd(file)))
                }
                _ => Ok(0),
            }
        }
    }

    fn run(fail: Option<Command>) -> (Vec<Command>, Result<Installed, InstallError>) {
        let double = Double {
            calls: RefCell::new(Vec::new()),
            fail,
        };
        let image = LoaderImage {
            signature: Some((b"signature", KeyringId::SESSION)),
            ..LoaderImage::unsigned(&[0; 8], b"metadata")
        };
        let context = ContextLayout {
            maps: 0,
            programs: 0,
        };
        let result = install(&double, &image, context);
        (double.calls.into_inner(), result)
    }

    #[test]
    fn the_calls_are_in_order() {
        let (calls, result) = run(None);
        assert!(result.is_ok());
        assert_eq!(
            calls,
            [
                Command::MapCreate,
                Command::MapUpdateElem,
                Command::MapFreeze,
                Command::ProgLoad,
                Command::ProgRun
            ]
        );
    }

    #[test]
    fn a_failure_names_its_step() {
        for step in [
            Step::CreateMetadata,
            Step::FillMetadata,
            Step::FreezeMetadata,
            Step::LoadLoader,
            Step::RunLoader,
        ] {
            let (calls, result) = run(Some(step.command()));
            assert_eq!(calls.last(), Some(&step.command()));
            match result {
                Err(InstallError::Call { step: found, .. }) => assert_eq!(found, step),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn what_is_no_descriptor_is_not_taken() {
        let context = ContextLayout {
            maps: 0,
            programs: 1,
        };
        for bad in [1, 2, -1] {
            let mut bytes = vec![0; context.size() as usize];
            bytes[24..28].copy_from_slice(&i32::to_ne_bytes(bad));
            assert!(take(&bytes, context).is_err());
        }
        let nothing = vec![0; context.size() as usize];
        assert!(take(&nothing, context).unwrap().programs.is_empty());
    }
}
