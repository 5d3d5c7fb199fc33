//! The plan: calls, with what they are given.

use std::borrow::Cow;

use bpfseal_loader::ContextLayout;
use bpfseal_object::{Endian, MapIdx};
use bpfseal_seal::{Scheme, SealedLoader};
use bpfseal_uapi::{BPF_F_SLEEPABLE, KeyringId, MapType, ProgType, loader, map, prog};

use super::step::Step;
use crate::{Artifact, LoaderForm};

bpfseal_object::debug_as_chain!(UnknownObject);

/// Name of a loader's metadata map.
const MAP_NAME: &str = "__loader.map";
/// Name of a loader.
const PROGRAM_NAME: &str = "__loader.prog";
/// License of a loader.
const LICENSE: &str = "Dual BSD/GPL";

/// A map that is to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NewMap<'a> {
    /// Name.
    pub name: Cow<'a, str>,
    /// `map_type`.
    pub map_type: MapType,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value.
    pub value_size: u32,
    /// Count of entries.
    pub max_entries: u32,
    /// Digest of the only program that may use it. Needs Linux 6.18.
    pub excl_prog_hash: Option<[u8; 32]>,
}

/// A signature, and where the key of its signer is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature<'a> {
    /// CMS in DER.
    pub bytes: Cow<'a, [u8]>,
    /// The keyring.
    pub keyring: KeyringId,
}

/// A program that is to be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NewProgram<'a> {
    /// Name.
    pub name: Cow<'a, str>,
    /// License.
    pub license: Cow<'a, str>,
    /// `prog_type`.
    pub prog_type: ProgType,
    /// `prog_flags`.
    pub flags: u32,
    /// Instructions.
    pub instructions: Cow<'a, [u8]>,
    /// `fd_array`: maps of the plan, by their numbers.
    pub fd_array: Vec<usize>,
    /// `fd_array_cnt`: how many of them the kernel is told of, and binds to the program. 0 leaves
    /// the array sparse.
    pub fd_array_cnt: u32,
    /// `signature_maps` of the proposed hash chain: places in `fd_array`. No kernel has it.
    pub signature_maps: Vec<u32>,
    /// The signature, for a signed program.
    pub signature: Option<Signature<'a>>,
}

/// What a host asks of a loader for one map. An unsigned loader follows it; a signed one ignores
/// it, because nobody has signed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Input<'a> {
    /// Count of entries; 0 leaves it as it is.
    pub max_entries: u32,
    /// Value to start with, of exactly the size of the map's values: a loader is not told how many
    /// bytes there are, and takes as many as it needs.
    pub initial_value: Option<&'a [u8]>,
}

/// The context that a loader is run with (`struct bpf_loader_ctx`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context<'a> {
    /// How many maps and programs it has places for.
    pub layout: ContextLayout,
    /// What is asked for, by map in their order; there may be fewer than maps.
    pub inputs: Cow<'a, [Input<'a>]>,
}

impl Context<'_> {
    /// Its bytes. `address` says where whoever runs the loader has a value that is asked for.
    #[must_use]
    pub fn encode(&self, endian: Endian, mut address: impl FnMut(&[u8]) -> u64) -> Vec<u8> {
        let size = self.layout.size();
        let mut bytes = vec![0; size as usize];
        let mut put = |at: usize, value: &[u8]| {
            if let Some(place) = bytes.get_mut(at..at + value.len()) {
                place.copy_from_slice(value);
            }
        };
        put(loader::ctx::SZ.offset(), &endian.put_u32(size));
        for (map, input) in (0..self.layout.maps).zip(self.inputs.iter()) {
            let at = self.layout.map_offset(MapIdx(map)) as usize;
            let entries = at + loader::map::MAX_ENTRIES.offset();
            put(entries, &endian.put_u32(input.max_entries));
            if let Some(value) = input.initial_value {
                let value = endian.put_u64(address(value));
                put(at + loader::map::INITIAL_VALUE.offset(), &value);
            }
        }
        bytes
    }
}

/// One call. Maps and programs are named by their numbers: which of the plan's maps, or programs,
/// was made first, second and so on, from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Call<'a> {
    /// `BPF_MAP_CREATE`.
    CreateMap(NewMap<'a>),
    /// `BPF_MAP_UPDATE_ELEM`, of the first element of an array.
    WriteMap {
        /// The map.
        map: usize,
        /// The value.
        value: Cow<'a, [u8]>,
    },
    /// `BPF_MAP_FREEZE`.
    FreezeMap {
        /// The map.
        map: usize,
    },
    /// `BPF_OBJ_GET_INFO_BY_FD`, for the digest of a frozen map, which the kernel then keeps.
    DigestMap {
        /// The map.
        map: usize,
    },
    /// `BPF_PROG_LOAD`.
    LoadProgram(NewProgram<'a>),
    /// `BPF_PROG_RUN`, once.
    RunProgram {
        /// The program.
        program: usize,
        /// What it is run with.
        context: Context<'a>,
    },
}

impl Call<'_> {
    /// The step that it is.
    #[must_use]
    pub fn step(&self) -> Step {
        match self {
            Self::CreateMap(_) => Step::CreateMetadata,
            Self::WriteMap { .. } => Step::FillMetadata,
            Self::FreezeMap { .. } => Step::FreezeMetadata,
            Self::DigestMap { .. } => Step::DigestMetadata,
            Self::LoadProgram(_) => Step::LoadLoader,
            Self::RunProgram { .. } => Step::RunLoader,
        }
    }
}

/// What has to be undone: nothing that a plan makes is needed once its loader has run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Undo {
    /// Closing a map, by its number.
    CloseMap(usize),
    /// Closing a program, by its number.
    CloseProgram(usize),
}

/// A call on something that the plan does not make before it. No plan of an artifact has one.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the plan has no {kind} {number} at the step of {}", .step.describe())]
#[non_exhaustive]
pub struct UnknownObject {
    /// Where.
    pub step: Step,
    /// Map or program.
    pub kind: &'static str,
    /// Which one.
    pub number: usize,
}

/// How a loader is installed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct InstallPlan<'a> {
    /// The scheme that the loader is signed by; none for an unsigned one.
    pub scheme: Option<Scheme>,
    /// The calls, in order.
    pub calls: Vec<Call<'a>>,
}

impl<'a> InstallPlan<'a> {
    /// Of one form of an artifact; the signer's key is looked for in a keyring.
    #[must_use]
    pub fn of(artifact: &'a Artifact, form: &'a LoaderForm, keyring: KeyringId) -> Self {
        let context = artifact.interface.context();
        match form {
            LoaderForm::Sealed { instructions, seal } => {
                let sealed = SealedLoader {
                    instructions,
                    metadata: &artifact.metadata,
                    seal,
                };
                Self::sealed(sealed, keyring, context)
            }
            LoaderForm::Unsigned { instructions } => {
                Self::unsigned(instructions, &artifact.metadata, context)
            }
        }
    }

    /// Of a sealed loader: the metadata map is bound to it, and the signer's key is looked for in a
    /// keyring.
    #[must_use]
    pub fn sealed(loader: SealedLoader<'a>, keyring: KeyringId, context: ContextLayout) -> Self {
        let SealedLoader {
            instructions,
            metadata,
            seal,
        } = loader;
        let mut plan = Self::new(instructions, metadata, context, Some(seal.scheme));
        if let Some(map) = plan.map_mut() {
            map.excl_prog_hash = Some(seal.excl_prog_hash);
        }
        if let Some(program) = plan.program_mut() {
            program.signature = Some(Signature {
                bytes: Cow::Borrowed(&seal.signature),
                keyring,
            });
            match seal.scheme {
                // The kernel folds bound maps into what the signature covers.
                Scheme::LoadTime => program.fd_array_cnt = 1,
                Scheme::HashChain => program.signature_maps = vec![0],
                // The older schemes, and Hornet, name the map and bind nothing.
                _ => {}
            }
        }
        plan
    }

    /// Of a loader without a signature. Its map is not bound to it: kernels that know nothing of
    /// signatures know nothing of that either, and nobody vouches for the loader.
    #[must_use]
    pub fn unsigned(instructions: &'a [u8], metadata: &'a [u8], context: ContextLayout) -> Self {
        Self::new(instructions, metadata, context, None)
    }

    fn new(
        instructions: &'a [u8],
        metadata: &'a [u8],
        layout: ContextLayout,
        scheme: Option<Scheme>,
    ) -> Self {
        let map = NewMap {
            name: MAP_NAME.into(),
            map_type: map::ARRAY,
            key_size: 4,
            // What does not fit is refused by the kernel.
            value_size: u32::try_from(metadata.len()).unwrap_or(u32::MAX),
            max_entries: 1,
            excl_prog_hash: None,
        };
        let program = NewProgram {
            name: PROGRAM_NAME.into(),
            license: LICENSE.into(),
            prog_type: prog::SYSCALL,
            flags: BPF_F_SLEEPABLE,
            instructions: instructions.into(),
            fd_array: vec![0],
            fd_array_cnt: 0,
            signature_maps: Vec::new(),
            signature: None,
        };
        let mut calls = vec![
            Call::CreateMap(map),
            Call::WriteMap {
                map: 0,
                value: metadata.into(),
            },
            Call::FreezeMap { map: 0 },
        ];
        if scheme.is_some_and(Scheme::needs_digest) {
            calls.push(Call::DigestMap { map: 0 });
        }
        calls.push(Call::LoadProgram(program));
        calls.push(Call::RunProgram {
            program: 0,
            context: Context {
                layout,
                inputs: Cow::Borrowed(&[]),
            },
        });
        Self { scheme, calls }
    }

    /// The same, with what a host asks for; see [`Input`].
    #[must_use]
    pub fn asking(mut self, asked: &'a [Input<'a>]) -> Self {
        for call in &mut self.calls {
            if let Call::RunProgram { context, .. } = call {
                context.inputs = Cow::Borrowed(asked);
            }
        }
        self
    }

    /// The first map that is created: that of the metadata.
    pub fn map_mut(&mut self) -> Option<&mut NewMap<'a>> {
        self.calls.iter_mut().find_map(|call| match call {
            Call::CreateMap(map) => Some(map),
            _ => None,
        })
    }

    /// The first value that is written: the metadata.
    pub fn value_mut(&mut self) -> Option<&mut Cow<'a, [u8]>> {
        self.calls.iter_mut().find_map(|call| match call {
            Call::WriteMap { value, .. } => Some(value),
            _ => None,
        })
    }

    /// The first program that is loaded: the loader.
    pub fn program_mut(&mut self) -> Option<&mut NewProgram<'a>> {
        self.calls.iter_mut().find_map(|call| match call {
            Call::LoadProgram(program) => Some(program),
            _ => None,
        })
    }

    /// What has to be undone when that many calls have been made, whether the next one fails or all
    /// went well: the last first.
    #[must_use]
    pub fn undo(&self, done: usize) -> Vec<Undo> {
        let (mut maps, mut programs) = (0, 0);
        let mut all = Vec::new();
        for call in &self.calls[..done.min(self.calls.len())] {
            match call {
                Call::CreateMap(_) => {
                    all.push(Undo::CloseMap(maps));
                    maps += 1;
                }
                Call::LoadProgram(_) => {
                    all.push(Undo::CloseProgram(programs));
                    programs += 1;
                }
                _ => {}
            }
        }
        all.reverse();
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_is_written_in_its_byte_order() {
        let context = Context {
            layout: ContextLayout {
                maps: 2,
                programs: 1,
            },
            // More than there are maps.
            inputs: Cow::Owned(vec![
                Input {
                    max_entries: 7,
                    initial_value: None,
                },
                Input {
                    max_entries: 0,
                    initial_value: Some(b"value"),
                },
                Input::default(),
            ]),
        };
        for endian in [Endian::Little, Endian::Big] {
            let bytes = context.encode(endian, |value| 0x1000 + value.len() as u64);
            let (size, max_entries) = (24 + 2 * 16 + 4, 7);
            let mut wanted = vec![0; size as usize];
            wanted[..4].copy_from_slice(&endian.put_u32(size));
            wanted[28..32].copy_from_slice(&endian.put_u32(max_entries));
            wanted[48..56].copy_from_slice(&endian.put_u64(0x1005));
            assert_eq!(bytes, wanted);
        }
    }

    #[test]
    fn an_unsigned_loader_is_bound_to_nothing() {
        let context = ContextLayout {
            maps: 0,
            programs: 0,
        };
        let mut plan = InstallPlan::unsigned(&[0; 8], b"metadata", context);
        assert_eq!(plan.scheme, None);
        assert_eq!(plan.map_mut().and_then(|map| map.excl_prog_hash), None);
        let program = plan.program_mut().expect("a plan loads its loader");
        assert_eq!((program.fd_array_cnt, &program.signature), (0, &None));
    }
}
