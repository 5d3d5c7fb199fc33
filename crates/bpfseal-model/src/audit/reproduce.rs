//! Is a loader what the generator makes of the plan that was recovered from it?
//!
//! A run shows one way through a loader, and a loader can tell the model from a kernel: by the
//! numbers of descriptors, by times, by anything that a kernel answers. Its bytes cannot. When the
//! generator makes the same instructions and the same metadata of the recovered plan, the loader
//! does on every kernel what any loader of that plan does, and nothing else. That is why the plan
//! has to be recovered without the generator's help, and only then is the generator asked.

use bpfseal_loader::{EmitOptions, Form, LoadPlan, Loader};
use bpfseal_object::{BPF_INSN_SZ, Insn};

use super::Subject;
use crate::disasm::{Names, disassemble};

/// Whether the generator makes the same loader of what a loader does.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reproduction {
    /// Byte for byte, instructions and metadata.
    Reproduced,
    /// It makes another loader of the plan.
    Differs(Unlike),
    /// It makes none of the plan; why not.
    NoLoader(String),
}

impl Reproduction {
    /// Whether the generator makes the same bytes.
    #[must_use]
    pub fn is_reproduced(&self) -> bool {
        *self == Self::Reproduced
    }
}

impl std::fmt::Display for Reproduction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Reproduced => f.write_str("reproduced from what it does, byte for byte"),
            Self::Differs(unlike) => write!(f, "not reproduced: {unlike}"),
            Self::NoLoader(why) => {
                write!(
                    f,
                    "not reproduced: no loader can be generated from what it does: {why}"
                )
            }
        }
    }
}

/// Where a loader differs first from the one that the generator makes of the same plan.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unlike {
    /// An instruction.
    #[non_exhaustive]
    Instruction {
        /// Its number, from 0.
        insn: usize,
        /// The loader's, disassembled; none where the loader ends.
        found: Option<String>,
        /// The generator's; none where the generated loader ends.
        generated: Option<String>,
    },
    /// A byte of the metadata; the instructions are the same.
    #[non_exhaustive]
    Metadata {
        /// Its offset in the metadata.
        offset: usize,
        /// What the generated loader has there, in words; none where it has nothing.
        part: Option<String>,
    },
}

impl std::fmt::Display for Unlike {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Instruction {
                insn,
                found,
                generated,
            } => {
                let found = found.as_deref().unwrap_or("missing");
                let generated = generated.as_deref().unwrap_or("nothing more");
                write!(
                    f,
                    "instruction {insn} is `{found}`, and the generator writes `{generated}`"
                )
            }
            Self::Metadata { offset, part } => match part {
                Some(part) => write!(f, "byte {offset} of the metadata ({part}) is another"),
                None => write!(f, "byte {offset} of the metadata is one too many"),
            },
        }
    }
}

/// The forms of loaders, those without checks of their own first.
const FORMS: [Form; 4] = [
    Form::Signed,
    Form::Unsigned,
    Form::CheckingExclusive,
    Form::CheckingMetadata,
];

/// Generates the loader of a recovered plan, in each form, and compares.
pub(super) fn reproduce(subject: &Subject<'_>, plan: &LoadPlan) -> Reproduction {
    let mut plan = plan.clone();
    plan.function_count = function_count(subject, &plan);
    let mut closest: Option<(Reach, Unlike)> = None;
    for form in FORMS {
        let loader = match Loader::new(&plan, EmitOptions::new(form)) {
            Ok(loader) => loader,
            Err(error) => return Reproduction::NoLoader(error.to_string()),
        };
        let Some((reach, unlike)) = compare(subject, &plan, &loader) else {
            return Reproduction::Reproduced;
        };
        if closest.as_ref().is_none_or(|(other, _)| reach > *other) {
            closest = Some((reach, unlike));
        }
    }
    match closest {
        Some((_, unlike)) => Reproduction::Differs(unlike),
        None => unreachable!("there are forms"),
    }
}

/// How many bytes of the instructions are the same, and of the metadata.
type Reach = (usize, usize);

/// The first difference, if there is one.
fn compare(subject: &Subject<'_>, plan: &LoadPlan, loader: &Loader) -> Option<(Reach, Unlike)> {
    let code = first_difference(subject.instructions, &loader.instructions);
    let data = first_difference(subject.metadata, &loader.metadata);
    let reach = (code.unwrap_or(usize::MAX), data.unwrap_or(usize::MAX));
    let unlike = match (code, data) {
        (None, None) => return None,
        (Some(at), _) => {
            let insn = at / BPF_INSN_SZ;
            Unlike::Instruction {
                insn,
                found: instruction(subject, subject.instructions, insn),
                generated: instruction(subject, &loader.instructions, insn),
            }
        }
        (None, Some(offset)) => Unlike::Metadata {
            offset,
            part: (offset < loader.metadata.len()).then(|| loader.describe_data(plan, offset)),
        },
    };
    Some((reach, unlike))
}

fn first_difference(these: &[u8], those: &[u8]) -> Option<usize> {
    if these == those {
        return None;
    }
    let differs = these.iter().zip(those).position(|(a, b)| a != b);
    Some(differs.unwrap_or_else(|| these.len().min(those.len())))
}

/// Nothing in a loader has a name.
struct NoNames;

impl Names for NoNames {
    fn map(&self, _place: u32) -> Option<String> {
        None
    }

    fn symbol(&self, _insn: usize) -> Option<String> {
        None
    }
}

/// One instruction as text.
fn instruction(subject: &Subject<'_>, code: &[u8], insn: usize) -> Option<String> {
    let rest = code.get(insn * BPF_INSN_SZ..)?;
    // A load of 64 bits has two halves.
    let two = rest.get(..rest.len().min(2 * BPF_INSN_SZ))?;
    let insns = Insn::decode_all(two, subject.endian);
    let line = disassemble(&insns, &NoNames).into_iter().next()?;
    Some(line.text)
}

/// The number of functions in the object, for each of which a generated loader has room to keep a
/// descriptor. The jump over the clean-up code, the seventh instruction, tells it. No loader has
/// room for fewer than it loads.
fn function_count(subject: &Subject<'_>, plan: &LoadPlan) -> u32 {
    const JUMP: usize = 6;
    let jump = subject.instructions.chunks_exact(BPF_INSN_SZ).nth(JUMP);
    let off = jump.map_or(0, |jump| subject.endian.u16([jump[2], jump[3]]));
    // The code's last two instructions return. Six close a map, three a descriptor on the stack,
    // and two of those are of no program.
    let descriptors = u32::from(off).saturating_sub(2 + 6 * plan.map_count) / 3;
    let programs = u32::try_from(plan.programs().count()).unwrap_or(u32::MAX);
    descriptors.saturating_sub(2).max(programs)
}
