//! Loading a loader and running it: what it installs comes back as descriptors.
//!
//! The calls and their order are those of `bpf_load_and_run` in libbpf's `skel_internal.h`: an
//! exclusive metadata map, filled and frozen; the loader, bound to it; one run.

use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};

use bpfseal_loader::ContextLayout;
use bpfseal_seal::{Scheme, SealedLoader, excl_prog_hash};
use bpfseal_uapi::{
    BPF_F_SLEEPABLE, BPF_LOG_STATS, Command, Errno, KeyringId, cmd, limits, loader, map, prog,
};

use crate::error::SyscallError;
use crate::map::{Map, MapSpec};
use crate::program::{Program, ProgramSpec, Signature};
use crate::running::{self, Id, Kind};
use crate::system::{Left, System};
use crate::text::text;

/// Errors are logged, and not every instruction on the way to them, which takes many times as long.
const BRIEF_LOG: u32 = BPF_LOG_STATS;
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
    /// What vouches for it; `None` loads it unsigned.
    pub signature: Option<LoaderSignature<'a>>,
}

/// The signature of a loader, and how it is checked.
#[derive(Debug, Clone, Copy)]
pub struct LoaderSignature<'a> {
    /// What the signature is over: whether the kernel binds the map, or only has to know its
    /// digest.
    pub scheme: Scheme,
    /// CMS, in DER.
    pub bytes: &'a [u8],
    /// Where the signer's key is looked for.
    pub keyring: KeyringId,
}

impl<'a> LoaderImage<'a> {
    /// A sealed loader, whose signer's key is looked for in a keyring.
    #[must_use]
    pub fn sealed(sealed: SealedLoader<'a>, keyring: KeyringId) -> Self {
        Self {
            instructions: sealed.instructions,
            metadata: sealed.metadata,
            excl_prog_hash: sealed.seal.excl_prog_hash,
            signature: Some(LoaderSignature {
                scheme: sealed.seal.scheme,
                bytes: &sealed.seal.signature,
                keyring,
            }),
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
    /// The loader ran and answered 0, but left something else than descriptors of maps and programs
    /// that it made.
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
    #[error("the loader ran and answered errno {} ({}): a map or program of the object was refused", .errno.0, .errno.name().unwrap_or("unnamed"))]
    Loader {
        /// The errno.
        errno: Errno,
        /// What the verifier said of the program that it refused; empty when it was not a program.
        log: String,
    },
}

impl InstallError {
    /// The errno, wherever it came from.
    #[must_use]
    pub fn errno(&self) -> Errno {
        match self {
            Self::Call { source, .. } => source.errno,
            Self::Loader { errno, .. } => *errno,
            Self::Descriptor { .. } => Errno::EBADF,
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
    let (program, before) = load_loader(system, image, options)?;
    let (mut answer, mut bytes, mut log) =
        run_loader(system, &program, context, options, options.log_level)?;
    if answer < 0 && options.log_level == 0 {
        // A second time with a log: what it had made is closed again, and it is the same loader.
        (answer, bytes, log) = run_loader(system, &program, context, options, BRIEF_LOG)?;
    }
    if answer < 0 {
        return Err(InstallError::Loader {
            errno: Errno(answer.saturating_neg()),
            log,
        });
    }
    let mut installed = take(system, &bytes, context, before)?;
    installed.log = log;
    Ok(installed)
}

/// The last map and program that were created before a loader runs, if the running kernel knows
/// them.
#[derive(Debug, Clone, Copy, Default)]
struct Before {
    map: Option<Id>,
    program: Option<Id>,
}

/// Makes the metadata map, and loads the loader that alone may use it.
fn load_loader(
    system: &dyn System,
    image: &LoaderImage<'_>,
    options: &InstallOptions<'_>,
) -> Result<(Program, Before), InstallError> {
    let at = |step| move |source| InstallError::Call { step, source };
    let value_size = u32::try_from(image.metadata.len()).unwrap_or(u32::MAX);
    let map = Map::create(
        system,
        &MapSpec {
            map_type: map::ARRAY,
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
    let signed_by = |asked: fn(Scheme) -> bool| {
        let signature = image.signature.as_ref();
        signature.is_some_and(|signature| asked(signature.scheme))
    };
    if signed_by(Scheme::checks_in_loader) {
        map.hash(system, limits::HASH_SIZE as u32)
            .map_err(at(Step::DigestMetadata))?;
    }
    let spec = ProgramSpec {
        prog_type: prog::SYSCALL,
        instructions: image.instructions,
        license: "Dual BSD/GPL",
        name: "__loader.prog",
        flags: BPF_F_SLEEPABLE,
        fd_array: &[map.as_fd().as_raw_fd()],
        // The kernel folds bound maps into what the signature covers.
        bind: signed_by(Scheme::binds_map),
        signature: image.signature.map(|signature| Signature {
            bytes: signature.bytes,
            keyring: signature.keyring,
        }),
        log_level: options.log_level,
    };
    // A second time with a log, if it fails: most loads do not need one.
    let program = Program::load(system, &spec)
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
        .map_err(at(Step::LoadLoader))?;
    let before = Before {
        map: running::id(map.as_fd()).ok(),
        program: running::id(program.as_fd()).ok(),
    };
    Ok((program, before))
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
    put(loader::ctx::SZ.offset(), &context.size().to_ne_bytes());
    let mut log = vec![0; if log_level > 0 { LOG_LEN } else { 0 }];
    if log_level > 0 {
        let address = log.as_mut_ptr() as u64;
        put(loader::ctx::LOG_LEVEL.offset(), &log_level.to_ne_bytes());
        put(
            loader::ctx::LOG_SIZE.offset(),
            &(LOG_LEN as u32).to_ne_bytes(),
        );
        put(loader::ctx::LOG_BUF.offset(), &address.to_ne_bytes());
    }
    for (index, input) in options
        .inputs
        .iter()
        .take(context.maps as usize)
        .enumerate()
    {
        let at = map_at(index);
        let max_entries = at + loader::map::MAX_ENTRIES.offset();
        put(max_entries, &input.max_entries.to_ne_bytes());
        let address = input.initial_value.map_or(0, |value| value.as_ptr() as u64);
        put(
            at + loader::map::INITIAL_VALUE.offset(),
            &address.to_ne_bytes(),
        );
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

/// Offset of a map in a context.
fn map_at(index: usize) -> usize {
    loader::ctx::LEN + index * loader::map::LEN
}

/// The descriptors that the loader has left in its context.
///
/// Each must refer to a map or program that the loader created, and no number may occur twice:
/// closing a descriptor that belongs to another part of the process would break it. If one is wrong,
/// the others are still taken, so that they are closed.
fn take(
    system: &dyn System,
    bytes: &[u8],
    context: ContextLayout,
    before: Before,
) -> Result<Installed, InstallError> {
    let (maps, programs) = (context.maps as usize, context.programs as usize);
    let of_maps = (0..maps).map(|i| (Kind::Map, map_at(i) + loader::map::MAP_FD.offset()));
    let of_programs = (0..programs).map(|i| (Kind::Program, map_at(maps) + i * loader::prog::LEN));
    let mut seen = std::collections::BTreeSet::new();
    let (mut fds, mut wrong) = (Vec::new(), None);
    for (kind, offset) in of_maps.chain(of_programs) {
        let found = number_at(bytes, offset);
        // The places behind those of the loaded programs stay as they were.
        if found == 0 && kind == Kind::Program {
            break;
        }
        let left = Left {
            number: found,
            kind,
            before: match kind {
                Kind::Map => before.map,
                Kind::Program => before.program,
            },
        };
        // A number that occurs twice would be closed twice.
        let fd = seen.insert(found).then(|| system.adopt(left));
        match fd {
            Some(Ok(fd)) => fds.push(fd),
            Some(Err(_)) | None => {
                wrong.get_or_insert(InstallError::Descriptor { offset, found });
            }
        }
    }
    if let Some(wrong) = wrong {
        return Err(wrong);
    }
    let programs = fds.split_off(maps);
    Ok(Installed {
        maps: fds,
        programs,
        log: String::new(),
    })
}

fn number_at(bytes: &[u8], offset: usize) -> i32 {
    let word = bytes
        .get(offset..offset + 4)
        .and_then(|b| b.try_into().ok());
    word.map_or(0, i32::from_ne_bytes)
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
            Self::CreateMetadata => cmd::MAP_CREATE,
            Self::FillMetadata => cmd::MAP_UPDATE_ELEM,
            Self::FreezeMetadata => cmd::MAP_FREEZE,
            Self::DigestMetadata => cmd::OBJ_GET_INFO_BY_FD,
            Self::LoadLoader => cmd::PROG_LOAD,
            Self::RunLoader => cmd::PROG_RUN,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attr::Attr;
    use std::cell::RefCell;

    /// A kernel that writes down the calls, fails at the one that it is told, and whose loader has
    /// made what has an even number.
    #[derive(Default)]
    struct Double {
        calls: RefCell<Vec<Command>>,
        fail: Option<Command>,
        adopted: RefCell<Vec<i32>>,
    }

    /// A real descriptor, so that dropping it closes nothing else.
    fn descriptor() -> Result<OwnedFd, Errno> {
        let file = std::fs::File::open("/dev/null").map_err(|_| Errno::EIO)?;
        Ok(file.into())
    }

    impl System for Double {
        fn bpf(&self, attr: &mut Attr<'_>) -> Result<Option<OwnedFd>, Errno> {
            let command = attr.command();
            self.calls.borrow_mut().push(command);
            if self.fail == Some(command) {
                return Err(Errno::EPERM);
            }
            if command == cmd::PROG_LOAD {
                // Signed: the one map is bound.
                assert_eq!(attr.u32(bpfseal_uapi::attr::prog_load::FD_ARRAY_CNT), 1);
            }
            let makes = command.makes_descriptor();
            makes.then(descriptor).transpose()
        }

        fn adopt(&self, left: Left) -> Result<OwnedFd, Errno> {
            self.adopted.borrow_mut().push(left.number());
            if left.number() % 2 != 0 {
                return Err(Errno::EBADF);
            }
            descriptor()
        }
    }

    fn run(fail: Option<Command>) -> (Vec<Command>, Result<Installed, InstallError>) {
        let double = Double {
            fail,
            ..Double::default()
        };
        let image = LoaderImage {
            signature: Some(LoaderSignature {
                scheme: Scheme::LoadTime,
                bytes: b"signature",
                keyring: KeyringId::SESSION,
            }),
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
                cmd::MAP_CREATE,
                cmd::MAP_UPDATE_ELEM,
                cmd::MAP_FREEZE,
                cmd::PROG_LOAD,
                cmd::PROG_RUN
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

    /// Takes what a loader of two maps and two programs has left.
    fn take_from(system: &dyn System, left: [i32; 4]) -> Result<Installed, InstallError> {
        let context = ContextLayout {
            maps: 2,
            programs: 2,
        };
        let mut bytes = vec![0; context.size() as usize];
        for (offset, number) in [24, 40, 56, 60].into_iter().zip(left) {
            bytes[offset..offset + 4].copy_from_slice(&i32::to_ne_bytes(number));
        }
        take(system, &bytes, context, Before::default())
    }

    #[test]
    fn what_the_loader_made_is_taken() {
        let double = Double::default();
        let installed = take_from(&double, [4, 6, 8, 10]).unwrap();
        assert_eq!((installed.maps.len(), installed.programs.len()), (2, 2));
        // Behind a program that is not loaded by default there are none.
        let installed = take_from(&double, [4, 6, 8, 0]).unwrap();
        assert_eq!((installed.maps.len(), installed.programs.len()), (2, 1));
    }

    #[test]
    fn one_that_is_wrong_does_not_keep_the_others_open() {
        for (left, offset) in [([4, 5, 8, 10], 40), ([4, 4, 8, 10], 40), ([4, 6, 8, 7], 60)] {
            let double = Double::default();
            match take_from(&double, left) {
                Err(InstallError::Descriptor { offset: at, .. }) => assert_eq!(at, offset),
                other => panic!("{other:?}"),
            }
            let mut asked = left.to_vec();
            asked.dedup();
            assert_eq!(*double.adopted.borrow(), asked);
        }
    }

    #[test]
    fn what_this_process_had_before_stays_open() {
        let file = std::fs::File::open("/dev/null").unwrap();
        for number in [file.as_raw_fd(), 0, 1, 2, -1, 999_999] {
            assert!(take_from(&crate::Linux, [number; 4]).is_err());
        }
        assert!(file.metadata().is_ok());
    }
}
