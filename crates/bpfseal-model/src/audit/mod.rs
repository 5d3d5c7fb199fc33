//! What does a loader do? Answered by running it.
//!
//! The loader runs against a kernel that grants everything and writes down what it was asked for.
//! From that comes a load plan, whoever made the loader and however; beside it, what a host has a
//! say in, and what no loader does. A plan that was made of an object is compared with it step by
//! step.
//!
//! Runs are repeated: once with a context of zeroes, once with one that asks for everything a host
//! can ask for, and once for each symbol that the loader does not do without.

mod beyond;
mod compare;
mod power;
mod recover;
mod reproduce;

use std::borrow::Cow;
use std::collections::BTreeSet;

use bpfseal_artifact::install::{Context, Input};
use bpfseal_artifact::{Artifact, LoaderForm};
use bpfseal_loader::plan::{KernelRef, MAX_MAPS, ProgramLoad};
use bpfseal_loader::{ContextLayout, LoadPlan};
use bpfseal_object::Endian;

pub use compare::{Change, Difference, compare};
pub use power::Powers;
pub use reproduce::{Reproduction, Unlike};

pub use crate::record::Influence;
use crate::record::{Act, Answers, Recorder};
use crate::run::{AnswerUse, Fault, Machine};
use crate::symbols::Symbols;

/// What a loader does.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Audit {
    /// The plan that it carries out, as far as it got. It has no names of sections and subprograms,
    /// which are not in a loader, and its own names are cut to what the kernel keeps.
    pub plan: LoadPlan,
    /// What a host can change of it.
    pub influences: Vec<Influence>,
    /// What is not as it is in loaders.
    pub findings: Vec<Finding>,
    /// What the programs can do, in the order of the plan's programs.
    pub powers: Vec<Powers>,
    /// Whether the loader is what the generator makes of the plan.
    pub reproduction: Reproduction,
}

/// Something that loaders do not do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields are what the message names")]
pub enum Finding {
    /// It does not run to its end.
    Fault(Fault),
    /// It uses more than its stack frame, as loaders of more than 32 functions do: the kernel's
    /// verifier refuses it.
    Frame { insn: usize },
    /// It ends with an error although everything is granted.
    Fails { returned: i64 },
    /// A command that loaders have no use for.
    Command { insn: usize, command: i32 },
    /// Something is done to a descriptor that is not a map of the loader's.
    ForeignMap { insn: usize, fd: i32 },
    /// Something that loaders of libbpf's dialect never do.
    Dialect { insn: usize, what: &'static str },
    /// A descriptor that is not one of the loader's programs is put where a program belongs.
    ForeignProgram { insn: usize, fd: i32 },
    /// A value is put under another key than 0.
    Key {
        insn: usize,
        map: String,
        key: String,
    },
    /// A program or map is used with a BTF that is not the loader's.
    ForeignBtf { insn: usize, name: String },
    /// A program takes something of the kernel that the loader did not look up.
    UnknownId {
        insn: usize,
        program: String,
        id: u32,
    },
    /// A program has another license than the others.
    License {
        insn: usize,
        program: String,
        license: String,
    },
    /// A place of the context has another descriptor than the one that belongs there.
    HandsOver { place: String, what: String },
    /// It sets something that loaders leave alone.
    Field { insn: usize, what: String },
    /// It prints to the kernel's log.
    Prints { times: usize },
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fault(fault) => write!(f, "it does not run: {fault}"),
            Self::Frame { insn } => write!(
                f,
                "instruction {insn}: it uses more than its stack frame, so the kernel refuses it (more than 32 functions?)"
            ),
            Self::Fails { returned } => {
                write!(f, "it returns {returned} although everything is granted")
            }
            Self::Command { insn, command } => write!(
                f,
                "instruction {insn}: command {command} of bpf(2), which loaders do not give"
            ),
            Self::ForeignMap { insn, fd } => {
                write!(
                    f,
                    "instruction {insn}: descriptor {fd} is no map of the loader's"
                )
            }
            Self::Dialect { insn, what } => write!(
                f,
                "instruction {insn}: it {what}, which loaders of libbpf never do"
            ),
            Self::ForeignProgram { insn, fd } => write!(
                f,
                "instruction {insn}: descriptor {fd} is not a program of the loader"
            ),
            Self::Key { insn, map, key } => write!(
                f,
                "instruction {insn}: map `{map}` gets a value under the key {key}, not 0"
            ),
            Self::ForeignBtf { insn, name } => {
                write!(
                    f,
                    "instruction {insn}: `{name}` has a BTF that the loader did not load"
                )
            }
            Self::UnknownId { insn, program, id } => write!(
                f,
                "instruction {insn}: program `{program}` takes {id:#x} of the kernel, which the loader did not look up"
            ),
            Self::License {
                insn,
                program,
                license,
            } => write!(
                f,
                "instruction {insn}: program `{program}` has the license `{license}`, unlike those before"
            ),
            Self::HandsOver { place, what } => {
                write!(f, "the caller gets {what} for {place}")
            }
            Self::Field { insn, what } => {
                write!(
                    f,
                    "instruction {insn}: it sets {what}, which loaders do not"
                )
            }
            Self::Prints { times } => write!(f, "it prints to the kernel's log, {times} times"),
        }
    }
}

impl Finding {
    /// A word for scripts.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Fault(_) => "fault",
            Self::Frame { .. } => "frame",
            Self::Fails { .. } => "fails",
            Self::Command { .. } => "command",
            Self::ForeignMap { .. } => "foreign-map",
            Self::Dialect { .. } => "dialect",
            Self::ForeignProgram { .. } => "foreign-program",
            Self::Key { .. } => "key",
            Self::ForeignBtf { .. } => "foreign-btf",
            Self::UnknownId { .. } => "unknown-id",
            Self::License { .. } => "license",
            Self::HandsOver { .. } => "hands-over",
            Self::Field { .. } => "field",
            Self::Prints { .. } => "prints",
        }
    }
}

/// A loader, from wherever it came.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Its instructions.
    pub instructions: &'a [u8],
    /// The value of its metadata map.
    pub metadata: &'a [u8],
    /// What its caller expects in the context.
    pub context: ContextLayout,
    /// Byte order.
    pub endian: Endian,
}

impl<'a> Subject<'a> {
    /// One form of an artifact.
    #[must_use]
    pub fn of(artifact: &'a Artifact, form: &'a LoaderForm) -> Self {
        Self {
            instructions: form.instructions(),
            metadata: &artifact.metadata,
            context: artifact.interface.context(),
            endian: artifact.endian,
        }
    }
}

/// Most symbols whose absence is tried.
const MAX_TRIES: usize = 4096;

/// What a loader looks up that a kernel lacks, and how it ends there.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lacking {
    /// Names of symbols, in the order in which they are looked up.
    pub symbols: Vec<String>,
    /// What the loader returns: 0 where it does without them, else a negative errno.
    pub returned: Result<i64, Fault>,
}

/// Runs a loader against the symbols of a kernel.
#[must_use]
pub fn lacking(subject: &Subject<'_>, kernel: &Symbols) -> Lacking {
    let object = map_object(subject.metadata, subject.endian);
    let nothing = vec![0; context_size(subject)];
    let run = run(subject, &object, nothing, kernel.clone());
    let symbols = run.recorder.missing.iter();
    Lacking {
        symbols: symbols
            .map(|name| String::from_utf8_lossy(name).into_owned())
            .collect(),
        returned: run.returned,
    }
}

/// Audits a loader.
#[must_use]
pub fn audit(subject: &Subject<'_>) -> Audit {
    let object = map_object(subject.metadata, subject.endian);
    let nothing = vec![0; context_size(subject)];
    let quiet = run(subject, &object, nothing, Symbols::All);
    let asking = run(subject, &object, asking_context(subject), Symbols::All);
    let mut audit = recover::recover(subject, &quiet);
    audit.influences = asking.recorder.influences.into_iter().collect();
    for insn in asking.recorder.decided {
        // What it decides is seen in what is done; a way that is not taken is not.
        if !audit.influences.iter().any(|known| known.insn >= insn) {
            audit.influences.push(Influence {
                insn,
                what: "which way the loader goes".to_owned(),
            });
        }
    }
    let strong = strong_symbols(subject, &object, &quiet);
    for program in programs_mut(&mut audit.plan) {
        for reference in &mut program.kernel_refs {
            reference.weak = !strong.contains(reference.name.as_bytes());
        }
    }
    audit.reproduction = reproduce::reproduce(subject, &audit.plan);
    audit
}

/// A kernel that grants everything.
#[derive(Debug, Default)]
struct Grants {
    symbols: Symbols,
    opened: i32,
}

/// Descriptors begin here, well apart from what is open in any process.
const FIRST_FD: i32 = 1000;

impl Answers for Grants {
    fn answer(&mut self, _insn: usize, act: &Act) -> i64 {
        match act {
            Act::LoadBtf { .. }
            | Act::CreateMap { .. }
            | Act::LinkStructOps { .. }
            | Act::LoadProgram(_) => {
                self.opened += 1;
                i64::from(FIRST_FD + self.opened)
            }
            Act::Update { .. } | Act::Freeze { .. } | Act::Other { .. } => 0,
        }
    }

    fn close(&mut self, _fd: i32) -> i64 {
        0
    }

    fn symbols(&self) -> &Symbols {
        &self.symbols
    }
}

/// How a run went.
struct Run {
    recorder: Recorder<Grants>,
    returned: Result<i64, Fault>,
    above_frame: Option<usize>,
    answers_used: Vec<(usize, AnswerUse)>,
    /// The beginning of the metadata, which holds the descriptors of maps.
    slots: Vec<u8>,
    context: Vec<u8>,
}

/// `object` is how the kernel's object of the metadata map begins.
fn run(subject: &Subject<'_>, object: &[u8], context: Vec<u8>, symbols: Symbols) -> Run {
    let grants = Grants { symbols, opened: 0 };
    let mut recorder = Recorder::new(subject.endian, grants, subject.metadata.len());
    let map = (Cow::Borrowed(subject.metadata), object.to_vec());
    let machine = Machine::new(
        subject.instructions,
        vec![Some(map)],
        context,
        subject.endian,
        &mut recorder,
    );
    let (returned, above_frame, answers_used, slots, context) = match machine {
        Ok(mut machine) => {
            let returned = machine.run();
            let slots = machine.start_of(0, MAX_MAPS * 4);
            let used = std::mem::take(&mut machine.answers_used);
            (
                returned,
                machine.above_frame,
                used,
                slots,
                machine.context(),
            )
        }
        Err(fault) => (Err(fault), None, Vec::new(), Vec::new(), Vec::new()),
    };
    Run {
        recorder,
        returned,
        above_frame,
        answers_used,
        slots,
        context,
    }
}

/// How the kernel's object of the metadata map begins when all is well.
fn map_object(metadata: &[u8], endian: Endian) -> Vec<u8> {
    use sha2::Digest as _;
    crate::run::map_object(sha2::Sha256::digest(metadata).into(), true, endian)
}

fn context_size(subject: &Subject<'_>) -> usize {
    subject.context.size() as usize
}

/// A context that asks for everything that a host can ask for.
fn asking_context(subject: &Subject<'_>) -> Vec<u8> {
    let asked = Input {
        max_entries: 0x5eed,
        initial_value: Some(&[]),
    };
    let context = Context {
        layout: subject.context,
        inputs: vec![asked; subject.context.maps as usize].into(),
    };
    context.encode(subject.endian, |_| 0x5eed_5eed_0000)
}

/// The symbols that the loader does not do without: it ends where one of them is missing.
fn strong_symbols(subject: &Subject<'_>, object: &[u8], quiet: &Run) -> BTreeSet<Vec<u8>> {
    let types = quiet.recorder.types.iter().map(|(name, _)| name);
    let all: Vec<Vec<u8>> = types
        .chain(&quiet.recorder.addresses)
        .map(|name| name.as_bytes().to_vec())
        .collect();
    let mut missing: BTreeSet<Vec<u8>> = all.into_iter().collect();
    let mut strong = BTreeSet::new();
    if missing.is_empty() || quiet.returned != Ok(0) {
        return strong;
    }
    for _ in 0..MAX_TRIES {
        let symbols = Symbols::AllBut(missing.clone());
        let tried = run(subject, object, vec![0; context_size(subject)], symbols);
        if tried.returned == Ok(0) {
            break;
        }
        // The last one that was not there ended it.
        let Some(last) = tried.recorder.last_missing else {
            break;
        };
        missing.remove(&last);
        strong.insert(last);
    }
    strong
}

fn programs_mut(plan: &mut LoadPlan) -> impl Iterator<Item = &mut ProgramLoad> {
    plan.steps.iter_mut().filter_map(|step| match step {
        bpfseal_loader::plan::Step::LoadProgram(program) => Some(&mut **program),
        _ => None,
    })
}

/// Names of symbols that a program calls or takes the address of.
fn symbol_names(references: &[KernelRef]) -> BTreeSet<&str> {
    references.iter().map(|r| r.name.as_str()).collect()
}
