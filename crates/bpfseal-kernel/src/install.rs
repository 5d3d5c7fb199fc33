//! Carrying out a plan on the running kernel: what its loader installs comes back as descriptors.
//!
//! The plan says which calls there are, and in which order. What it cannot say is here: a refused
//! load or run is repeated with a log, and the loader runs where nobody else reaches what it makes.
//! A log never changes an answer: what counts is always an attempt without one, or one that went well.

use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};

use bpfseal_artifact::install::{
    Checks, Code, Context, Executor, Failed, InstallPlan, NewMap, NewProgram, Refusal, Step,
    UnknownObject,
};
use bpfseal_loader::ContextLayout;
use bpfseal_object::Endian;
use bpfseal_uapi::{BPF_LOG_STATS, Errno, limits, loader};

use crate::error::SyscallError;
use crate::map::{Map, MapSpec};
use crate::program::{LOG_SIZES, Program, ProgramSpec, Signature};
use crate::running::{self, Id, Kind};
use crate::system::{Place, System};
use crate::text::text;

bpfseal_object::debug_as_chain!(InstallError);

/// Errors are logged, and not every instruction on the way to them, which takes many times as long.
const BRIEF_LOG: u32 = BPF_LOG_STATS;
/// The byte order of this machine.
const NATIVE: Endian = if cfg!(target_endian = "big") {
    Endian::Big
} else {
    Endian::Little
};

/// Why nothing was installed.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum InstallError {
    /// A call failed.
    #[error("the kernel refused {}", .refusal.step.describe())]
    Call {
        /// Where, and what it means.
        refusal: Box<Refusal>,
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
    #[error("the loader ran and answered errno {} ({}): a map or program of the object was refused", .refusal.errno.0, .refusal.errno.name().unwrap_or("unnamed"))]
    Loader {
        /// What it answered, and what that means; with what the verifier said of the program that it
        /// refused, if it was a program.
        refusal: Box<Refusal>,
    },
    /// A value to start with was not of the size of the map's values. Everything that was made is
    /// closed again.
    #[error("map {map} was to start with {found} bytes, and its values have {expected}")]
    InitialValue {
        /// The map's place among those of the object.
        map: usize,
        /// Bytes that were given.
        found: usize,
        /// Bytes of the map's values.
        expected: u32,
    },
    /// The plan is none that can be carried out.
    #[error(transparent)]
    Plan(#[from] UnknownObject),
    /// The plan runs nothing.
    #[error("the plan does not run the loader")]
    NotRun,
}

impl InstallError {
    /// The refusal of the kernel, or of the loader; none where nobody refused.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Call { refusal, .. } | Self::Loader { refusal } => Some(refusal),
            Self::Descriptor { .. } | Self::InitialValue { .. } | Self::Plan(_) | Self::NotRun => {
                None
            }
        }
    }

    /// The errno, wherever it came from.
    #[must_use]
    pub fn errno(&self) -> Errno {
        match (self.refusal(), self) {
            (Some(refusal), _) => refusal.errno,
            (None, Self::Descriptor { .. }) => Errno::EBADF,
            (None, _) => Errno::EINVAL,
        }
    }

    /// What it means, in a word.
    #[must_use]
    pub fn code(&self) -> Code {
        match (self.refusal(), self) {
            (Some(refusal), _) => refusal.code,
            (None, Self::Descriptor { .. }) => Code::NotALoader,
            (None, _) => Code::Refused,
        }
    }

    /// What it means, in words.
    #[must_use]
    pub fn meaning(&self) -> String {
        let refusal = self.refusal().map(ToString::to_string);
        refusal.unwrap_or_else(|| self.code().meaning().to_owned())
    }
}

/// What a loader has installed. Dropping it closes everything.
#[derive(Debug)]
#[non_exhaustive]
pub struct Installed {
    /// Maps, in the object's order.
    pub maps: Vec<OwnedFd>,
    /// Programs, in the order of loading. Fewer than the context has places for, when the object
    /// has programs that are not loaded by default.
    pub programs: Vec<OwnedFd>,
    /// What the verifier said of the last program, if it was asked to.
    pub log: String,
}

/// How a plan is carried out, besides what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct InstallOptions {
    /// How much the kernel is to log, of the loader and of what it loads; 0 asks for a log only
    /// when something is refused.
    pub log_level: u32,
}

impl InstallOptions {
    /// With that much of a log.
    #[must_use]
    pub fn with_log_level(mut self, level: u32) -> Self {
        self.log_level = level;
        self
    }
}

/// Loads a loader into the kernel and runs it once.
///
/// # Errors
/// The first call that failed, with the kernel's log if it was the one that checks the signature.
pub fn install(system: &dyn System, plan: &InstallPlan<'_>) -> Result<Installed, InstallError> {
    install_with(system, plan, InstallOptions::default())
}

/// [`install`], with options.
///
/// # Errors
/// As [`install`].
pub fn install_with(
    system: &dyn System,
    plan: &InstallPlan<'_>,
    options: InstallOptions,
) -> Result<Installed, InstallError> {
    let mut running = Running {
        system,
        log_level: options.log_level,
        before: Before::default(),
        largest: limits::MAX_STACK,
    };
    let refused = |step, errno, log: &str| {
        let refusal = plan.refusal(step, errno, log, Checks::Unknown);
        Box::new(refusal)
    };
    let ran = plan.execute(&mut running).map_err(|failed| match failed {
        Failed::Call { step, source } => InstallError::Call {
            refusal: refused(step, source.errno, &source.log),
            source,
        },
        Failed::Plan(error) => error.into(),
    })?;
    let ran = ran.ok_or(InstallError::NotRun)?;
    if ran.answer < 0 {
        return Err(InstallError::Loader {
            refusal: refused(Step::InstallObject, ran.errno(), &ran.log),
        });
    }
    if too_many(&ran.left) {
        let errno = Errno::EMFILE;
        return Err(InstallError::Loader {
            refusal: refused(Step::InstallObject, errno, &ran.log),
        });
    }
    let mut installed = take(ran.left, ran.maps)?;
    // A signed loader has ignored what it was given.
    if plan.scheme.is_none() {
        check_sizes(&ran.given, &installed)?;
    }
    installed.log = ran.log;
    Ok(installed)
}

/// The running kernel, as the executor of a plan.
struct Running<'s> {
    system: &'s dyn System,
    log_level: u32,
    before: Before,
    /// Most bytes that the loader can copy at once: it copies into its stack, its context, or a map
    /// of the plan, and the verifier has seen that they fit.
    largest: usize,
}

/// The last map and program that were created before a loader runs, if the running kernel knows
/// them.
#[derive(Debug, Clone, Copy, Default)]
struct Before {
    map: Option<Id>,
    program: Option<Id>,
}

/// A descriptor that a loader has left: the offset of its place, its number, and itself, if it can
/// be the loader's.
type Leaving = (usize, i32, Result<OwnedFd, Errno>);

/// A run of a loader.
struct Ran {
    /// 0, or the negative errno of what failed.
    answer: i32,
    /// What it left.
    left: Vec<Leaving>,
    /// How many maps are among it, the first ones.
    maps: usize,
    /// Bytes of the values that maps were to start with.
    given: Vec<Option<usize>>,
    log: String,
}

impl Ran {
    /// What a negative answer says.
    fn errno(&self) -> Errno {
        Errno(self.answer.saturating_neg())
    }
}

/// A log for the kernel to write.
#[derive(Clone, Copy)]
struct Log {
    level: u32,
    size: usize,
}

impl Running<'_> {
    fn run_once(
        &self,
        program: &Program,
        context: &Context<'_>,
        log: Option<Log>,
    ) -> Result<Ran, SyscallError> {
        let values = Values::new(context, self.largest);
        let mut bytes = values.context;
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        let mut buffer = vec![0; log.map_or(0, |log| log.size)];
        if let Some(Log { level, size }) = log {
            let size = u32::try_from(size).unwrap_or(u32::MAX);
            let address = buffer.as_mut_ptr() as u64;
            put(loader::ctx::LOG_LEVEL.offset(), &level.to_ne_bytes());
            put(loader::ctx::LOG_SIZE.offset(), &size.to_ne_bytes());
            put(loader::ctx::LOG_BUF.offset(), &address.to_ne_bytes());
        }
        let places = places(context.layout, self.before);
        let ran = program.run_leaving(self.system, &mut bytes, &places)?;
        // The log and the values live until here: the kernel has used their addresses.
        drop(values.bytes);
        Ok(Ran {
            answer: ran.answer,
            left: ran.left,
            maps: context.layout.maps as usize,
            given: sizes_of(context),
            log: text(&buffer),
        })
    }

    /// With a log, which is enlarged until it fits; without one where none fits.
    fn run_logged(
        &self,
        program: &Program,
        context: &Context<'_>,
        level: u32,
    ) -> Result<Ran, SyscallError> {
        for size in LOG_SIZES {
            let log = Some(Log { level, size });
            let ran = self.run_once(program, context, log)?;
            if ran.answer != -Errno::ENOSPC.0 {
                return Ok(ran);
            }
        }
        self.run_once(program, context, None)
    }
}

/// Whether descriptors are missing because this process may not have that many.
fn too_many(left: &[Leaving]) -> bool {
    let is_missing = |(_, _, fd): &Leaving| matches!(fd, Err(errno) if *errno == Errno::EMFILE);
    left.iter().any(is_missing)
}

impl Running<'_> {
    /// A loader that is about to run: what is created after it and its maps is its own.
    fn loaded(&mut self, loader: Program, fd_array: &[&Map]) -> Program {
        let last = fd_array.last();
        self.before = Before {
            map: last.and_then(|map| running::id(map.as_fd()).ok()),
            program: running::id(loader.as_fd()).ok(),
        };
        loader
    }
}

/// A context, and the values that it has the addresses of.
struct Values {
    context: Vec<u8>,
    bytes: Vec<u8>,
}

impl Values {
    /// The loader takes as many bytes of a value as its map's values have, and is not told how many
    /// there are. So the values are copied, with zeroes behind them for as much as it can take:
    /// what else is in this process's memory does not get into a map.
    fn new(context: &Context<'_>, largest: usize) -> Self {
        let inputs = context.inputs.iter().take(context.layout.maps as usize);
        let values = inputs.filter_map(|input| input.initial_value);
        let mut bytes = Vec::new();
        values.for_each(|value| bytes.extend_from_slice(value));
        if !bytes.is_empty()
            || context
                .inputs
                .iter()
                .any(|input| input.initial_value.is_some())
        {
            let behind = largest.max(context.layout.size() as usize);
            bytes.resize(bytes.len() + behind, 0);
        }
        let mut address = bytes.as_ptr() as u64;
        let context = context.encode(NATIVE, |value| {
            let here = address;
            address += value.len() as u64;
            here
        });
        Self { context, bytes }
    }
}

/// Bytes of the values that maps are to start with, by map.
fn sizes_of(context: &Context<'_>) -> Vec<Option<usize>> {
    let inputs = context.inputs.iter().take(context.layout.maps as usize);
    inputs
        .map(|input| input.initial_value.map(<[u8]>::len))
        .collect()
}

/// Whether the values that maps were to start with had their sizes.
fn check_sizes(given: &[Option<usize>], installed: &Installed) -> Result<(), InstallError> {
    for (map, (found, fd)) in given.iter().zip(&installed.maps).enumerate() {
        let Some(found) = *found else { continue };
        // A map whose sizes are not known is one that nothing can be said about.
        let Ok(sizes) = running::sizes(fd.as_fd()) else {
            continue;
        };
        if found != sizes.value_size as usize {
            return Err(InstallError::InitialValue {
                map,
                found,
                expected: sizes.value_size,
            });
        }
    }
    Ok(())
}

impl Executor for Running<'_> {
    type Map = Map;
    type Program = Program;
    type Ran = Ran;
    type Error = SyscallError;

    fn create_map(&mut self, map: &NewMap<'_>) -> Result<Map, SyscallError> {
        self.largest = self.largest.max(map.value_size as usize);
        Map::create(
            self.system,
            &MapSpec {
                map_type: map.map_type,
                key_size: map.key_size,
                value_size: map.value_size,
                max_entries: map.max_entries,
                name: &map.name,
                excl_prog_hash: map.excl_prog_hash.as_ref().map(|hash| &hash[..]),
                ..MapSpec::default()
            },
        )
    }

    fn write_map(&mut self, map: &Map, value: &[u8]) -> Result<(), SyscallError> {
        map.update(self.system, &0u32.to_ne_bytes(), value, 0)
    }

    fn freeze_map(&mut self, map: &Map) -> Result<(), SyscallError> {
        map.freeze(self.system)
    }

    fn digest_map(&mut self, map: &Map) -> Result<(), SyscallError> {
        map.hash(self.system, limits::HASH_SIZE as u32).map(drop)
    }

    /// Without a log first, unless one is asked for: most loads do not need one. What is answered
    /// without it is what counts.
    fn load_program(
        &mut self,
        program: &NewProgram<'_>,
        fd_array: &[&Map],
    ) -> Result<Program, SyscallError> {
        let fds = fd_array.iter().map(|map| map.as_fd().as_raw_fd());
        let fds: Vec<_> = fds.collect();
        let signature = program.signature.as_ref();
        let load = |log_level| {
            let spec = ProgramSpec {
                prog_type: program.prog_type,
                instructions: &program.instructions,
                license: &program.license,
                name: &program.name,
                flags: program.flags,
                fd_array: &fds,
                fd_array_cnt: program.fd_array_cnt,
                signature: signature.map(|signature| Signature {
                    bytes: &signature.bytes,
                    keyring: signature.keyring,
                }),
                log_level,
            };
            Program::load(self.system, &spec)
        };
        let said = match self.log_level {
            0 => None,
            level => match load(level) {
                Ok(loaded) => return Ok(self.loaded(loaded, fd_array)),
                said => said.err(),
            },
        };
        let mut first = match load(0) {
            Ok(loaded) => return Ok(self.loaded(loaded, fd_array)),
            Err(first) => first,
        };
        let said = said.or_else(|| load(BRIEF_LOG).err());
        if let Some(said) = said.filter(|said| said.errno == first.errno) {
            first.log = said.log;
        }
        Err(first)
    }

    /// A loader that is refused something is run a second time, with or without a log: what it had
    /// made is closed again, and it is the same loader. What it answers without a log is what counts.
    fn run_program(
        &mut self,
        program: &Program,
        context: &Context<'_>,
    ) -> Result<Ran, SyscallError> {
        let (mut counts, said) = match self.log_level {
            0 => {
                let first = self.run_once(program, context, None)?;
                if first.answer >= 0 {
                    return Ok(first);
                }
                (first, self.run_logged(program, context, BRIEF_LOG).ok())
            }
            level => {
                let said = self.run_logged(program, context, level)?;
                if said.answer >= 0 {
                    return Ok(said);
                }
                (self.run_once(program, context, None)?, Some(said))
            }
        };
        // Of another answer the log says nothing, and nobody has asked for what was made then.
        if let Some(said) = said.filter(|said| said.answer == counts.answer) {
            counts.log = said.log;
        }
        Ok(counts)
    }
}

/// Offset of a map in a context.
fn map_at(index: usize) -> usize {
    loader::ctx::LEN + index * loader::map::LEN
}

/// Where a loader leaves its maps and programs: each has to be one that it created.
fn places(context: ContextLayout, before: Before) -> Vec<Place> {
    let (maps, programs) = (context.maps as usize, context.programs as usize);
    let of_maps = (0..maps).map(|index| Place {
        offset: map_at(index) + loader::map::MAP_FD.offset(),
        kind: Kind::Map,
        before: before.map,
    });
    let of_programs = (0..programs).map(|index| Place {
        offset: map_at(maps) + index * loader::prog::LEN,
        kind: Kind::Program,
        before: before.program,
    });
    of_maps.chain(of_programs).collect()
}

/// The descriptors that the loader has left, maps first. If one is wrong, all are closed.
fn take(left: Vec<Leaving>, maps: usize) -> Result<Installed, InstallError> {
    let left = left
        .into_iter()
        .map(|(offset, found, fd)| fd.map_err(|_| InstallError::Descriptor { offset, found }));
    let mut fds = left.collect::<Result<Vec<_>, _>>()?;
    let programs = fds.split_off(maps.min(fds.len()));
    Ok(Installed {
        maps: fds,
        programs,
        log: String::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attr::Attr;
    use crate::system::Left;
    use bpfseal_uapi::attr::prog_run;
    use bpfseal_uapi::{Command, cmd};
    use std::cell::RefCell;
    use std::collections::VecDeque;

    /// A kernel that writes down the calls, fails at the one that it is told, whose loader answers
    /// what it is told, run by run, and 0 after that, and whose even numbers are descriptors.
    #[derive(Default)]
    struct Double {
        calls: RefCell<Vec<Command>>,
        fail: Option<Command>,
        answers: RefCell<VecDeque<i32>>,
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
            if command == cmd::PROG_RUN {
                let answer = self.answers.borrow_mut().pop_front().unwrap_or(0);
                attr.put_u32(prog_run::RETVAL, answer.cast_unsigned());
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

    fn plan() -> InstallPlan<'static> {
        let context = ContextLayout {
            maps: 0,
            programs: 0,
        };
        InstallPlan::unsigned(&[0; 8], b"metadata", context)
    }

    const CALLS: [(Command, Step); 5] = [
        (cmd::MAP_CREATE, Step::CreateMetadata),
        (cmd::MAP_UPDATE_ELEM, Step::FillMetadata),
        (cmd::MAP_FREEZE, Step::FreezeMetadata),
        (cmd::PROG_LOAD, Step::LoadLoader),
        (cmd::PROG_RUN, Step::RunLoader),
    ];

    #[test]
    fn the_calls_are_in_order() {
        let double = Double::default();
        assert!(install(&double, &plan()).is_ok());
        assert_eq!(double.calls.into_inner(), CALLS.map(|(command, _)| command));
    }

    #[test]
    fn a_failure_names_its_step() {
        for (command, step) in CALLS {
            let double = Double {
                fail: Some(command),
                ..Double::default()
            };
            let error = install(&double, &plan()).unwrap_err();
            assert_eq!(double.calls.borrow().last(), Some(&command));
            assert!(matches!(error, InstallError::Call { .. }), "{error}");
            assert_eq!(error.refusal().map(|refusal| refusal.step), Some(step));
            assert_eq!(error.errno(), Errno::EPERM);
        }
    }

    /// A loader takes as many bytes as its map has, however few were given.
    #[test]
    fn behind_values_there_are_zeroes() {
        use std::borrow::Cow;

        use bpfseal_artifact::install::Input;

        let input = |value| Input {
            initial_value: value,
            ..Input::default()
        };
        let context = Context {
            layout: ContextLayout {
                maps: 3,
                programs: 0,
            },
            // One for a map that there is not.
            inputs: Cow::Owned(vec![
                input(Some(&b"ab"[..])),
                input(None),
                input(Some(b"cde")),
                input(Some(b"f")),
            ]),
        };
        let values = Values::new(&context, 4096);
        assert_eq!(&values.bytes[..5], b"abcde");
        assert_eq!(values.bytes[5..], [0; 4096]);
        let start = values.bytes.as_ptr() as u64;
        let address = |map: usize| {
            let at = map_at(map) + loader::map::INITIAL_VALUE.offset();
            u64::from_ne_bytes(values.context[at..at + 8].try_into().unwrap())
        };
        assert_eq!([0, 1, 2].map(address), [start, 0, start + 2]);
        assert_eq!(sizes_of(&context), [Some(2), None, Some(3)]);
        let nothing = Context {
            inputs: Cow::Borrowed(&[]),
            ..context
        };
        assert!(Values::new(&nothing, 4096).bytes.is_empty());
    }

    /// A second run, for a log, says nothing about what the first one was answered.
    #[test]
    fn the_first_answer_of_a_loader_counts() {
        for answers in [[-13, -13], [-13, -22], [-13, 0]] {
            let double = Double {
                answers: RefCell::new(answers.into()),
                ..Double::default()
            };
            let error = install(&double, &plan()).unwrap_err();
            let runs = double.calls.borrow();
            let runs = runs.iter().filter(|call| **call == cmd::PROG_RUN);
            assert_eq!(runs.count(), 2);
            assert!(matches!(error, InstallError::Loader { .. }), "{error}");
            assert_eq!(error.errno(), Errno::EACCES, "{answers:?}");
            assert_eq!(error.code(), Code::ObjectVerifier);
        }
        // With a log from the beginning, the one without it counts.
        for (answers, good) in [([-13, 0], true), ([-28, 0], true), ([-13, -13], false)] {
            let double = Double {
                answers: RefCell::new(answers.into()),
                ..Double::default()
            };
            let options = InstallOptions { log_level: 1 };
            let installed = install_with(&double, &plan(), options);
            assert_eq!(installed.is_ok(), good, "{answers:?}");
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
        let program = Program::from_fd(descriptor().unwrap(), "loader");
        let places = places(context, Before::default());
        let ran = program.run_leaving(system, &mut bytes, &places).unwrap();
        take(ran.left, 2)
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
            assert_eq!(
                *double.adopted.borrow(),
                asked,
                "the others are taken, to be closed"
            );
        }
    }

    /// A kernel whose log does not fit below a size, and that refuses with this behind it.
    struct Verbose {
        needs: u32,
        refuses: Option<Errno>,
        sizes: RefCell<Vec<(Command, u32)>>,
    }

    impl Verbose {
        fn new(needs: u32, refuses: Option<Errno>) -> Self {
            Self {
                needs,
                refuses,
                sizes: RefCell::default(),
            }
        }

        fn answer(&self, command: Command, size: u32) -> Option<Errno> {
            self.sizes.borrow_mut().push((command, size));
            let is_short = size > 0 && size < self.needs;
            is_short.then_some(Errno::ENOSPC).or(self.refuses)
        }
    }

    impl System for Verbose {
        fn bpf(&self, attr: &mut Attr<'_>) -> Result<Option<OwnedFd>, Errno> {
            let command = attr.command();
            if command == cmd::PROG_LOAD {
                let size = attr.u32(bpfseal_uapi::attr::prog_load::LOG_SIZE);
                if let Some(errno) = self.answer(command, size) {
                    return Err(errno);
                }
            }
            let makes = command.makes_descriptor();
            makes.then(descriptor).transpose()
        }

        fn run_leaving(&self, leaving: &mut crate::Leaving<'_>) -> Result<crate::Ran, Errno> {
            let at = loader::ctx::LOG_SIZE.range();
            let size = leaving.context()[at].try_into().map(u32::from_ne_bytes);
            let answer = self.answer(cmd::PROG_RUN, size.unwrap());
            Ok(crate::Ran {
                answer: answer.map_or(0, |errno| -errno.0),
                left: Vec::new(),
            })
        }
    }

    /// Whatever a log needs, and whether it is asked for or not: what is good is loaded, and what is
    /// refused is refused with the kernel's own errno.
    #[test]
    fn a_log_changes_no_answer() {
        for needs in [1, 100 << 10, 2 << 20, u32::MAX] {
            for log_level in [0, 1, 2, 4] {
                let options = InstallOptions { log_level };
                let good = Verbose::new(needs, None);
                assert!(install_with(&good, &plan(), options).is_ok(), "{needs}");
                let bad = Verbose::new(needs, Some(Errno::EACCES));
                let error = install_with(&bad, &plan(), options).unwrap_err();
                assert_eq!(error.errno(), Errno::EACCES, "{needs} {log_level}");
                let sizes = bad.sizes.borrow();
                let largest = sizes.iter().map(|(_, size)| *size).max();
                let fits = LOG_SIZES.iter().any(|size| *size as u32 >= needs);
                assert_eq!(largest >= Some(needs), fits, "it is enlarged: {sizes:?}");
            }
        }
    }

    /// Fields that are applied to a program after its signature was checked are never sent.
    #[test]
    fn what_no_signature_covers_is_not_sent() {
        use bpfseal_uapi::attr::prog_load as at;
        struct Looking;
        impl System for Looking {
            fn bpf(&self, attr: &mut Attr<'_>) -> Result<Option<OwnedFd>, Errno> {
                if attr.command() == cmd::PROG_LOAD {
                    let fields = [at::CORE_RELO_CNT, at::FUNC_INFO_CNT, at::LINE_INFO_CNT];
                    assert_eq!(fields.map(|field| attr.u32(field)), [0; 3]);
                    assert_eq!(attr.u32(at::PROG_TYPE), bpfseal_uapi::prog::SYSCALL.0);
                    assert_eq!(attr.u32(at::PROG_FLAGS), bpfseal_uapi::BPF_F_SLEEPABLE);
                }
                let makes = attr.command().makes_descriptor();
                makes.then(descriptor).transpose()
            }
        }
        assert!(install(&Looking, &plan()).is_ok());
    }

    #[test]
    fn more_than_a_process_may_have_open_is_said() {
        let left = vec![(24, 4, descriptor()), (40, 6, Err(Errno::EMFILE))];
        assert!(too_many(&left));
        assert!(!too_many(&[
            (24, 4, descriptor()),
            (40, 6, Err(Errno::EBADF))
        ]));
    }

    #[test]
    fn what_this_process_had_before_stays_open() {
        let file = std::fs::File::open("/dev/null").unwrap();
        for number in [file.as_raw_fd(), 0, 1, 2, -1, 999_999] {
            for kind in [Kind::Map, Kind::Program] {
                let left = Left {
                    number,
                    kind,
                    before: None,
                };
                assert!(crate::Linux.adopt(left).is_err());
            }
        }
        assert!(file.metadata().is_ok());
    }
}
