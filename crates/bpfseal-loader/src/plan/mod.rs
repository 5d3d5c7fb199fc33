//! The load plan: the ordered list of what must happen to install an object. Pure data.
//!
//! A plan is complete: everything is resolved but what only the running kernel knows (symbols,
//! CO-RE relocations, attach targets), and that is recorded by name. A loader is its compiled
//! form, a report prints it, an audit recovers it from a loader and compares.
//!
//! ```text
//! Object ── link ──┐
//! Host ── kconfig ─┴─ LoadPlan ── emit ── Loader
//! ```

mod build;
mod describe;
mod kconfig;
mod link;

use bpfseal_object::uapi::{AttachType, MapType, ProgType};
use bpfseal_object::{CoreRelo, Endian, Insn, MapIdx, Object};

use crate::{Error, Host, HostDependency};

/// Most maps that a loader has slots for.
pub const MAX_MAPS: usize = 64;
/// Most programs, subprograms counted, whose cleanup stays inside the loader's stack frame. The
/// reference generates loaders for more, and the verifier refuses them.
pub const MAX_PROGRAMS: usize = 32;
/// Most bytes of attach target, prefix included.
pub const MAX_ATTACH_TARGET: usize = 127;

/// Attributes of a map, as they go into `BPF_MAP_CREATE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapAttr {
    /// Name, not yet cut to the kernel's 15 bytes.
    pub name: String,
    /// `map_type`.
    pub map_type: MapType,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value.
    pub value_size: u32,
    /// Count of entries.
    pub max_entries: u32,
    /// `BPF_F_*`.
    pub map_flags: u32,
    /// `map_extra`.
    pub map_extra: u64,
    /// NUMA node.
    pub numa_node: u32,
    /// BTF id of the key's type, 0 for none.
    pub btf_key_type_id: u32,
    /// BTF id of the value's type, 0 for none.
    pub btf_value_type_id: u32,
}

/// What a program attaches to, by the name that the kernel's BTF has for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttachTarget {
    /// Name with the kernel's prefix, such as `bpf_lsm_file_open`.
    pub name: String,
    /// `BTF_KIND_FUNC` (12) or `BTF_KIND_TYPEDEF` (8).
    pub btf_kind: u32,
}

/// Records of `.BTF.ext` for a linked program, with instruction offsets in instructions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Info {
    /// Bytes of one record; 0 when there are none.
    pub record_size: u32,
    /// All records, as words.
    pub words: Vec<u32>,
}

impl Info {
    /// Count of records.
    #[must_use]
    pub fn count(&self) -> u32 {
        match self.record_size {
            0 => 0,
            // A record is at least eight bytes, so the count of words fits.
            size => u32::try_from(self.words.len()).unwrap_or(u32::MAX) / (size / 4),
        }
    }
}

/// Where an instruction takes something that only the running kernel knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelRef {
    /// The instruction.
    pub insn: u32,
    /// Name of the symbol.
    pub name: String,
    /// Whether the program does without it.
    pub weak: bool,
    /// How it is looked up and put in.
    pub kind: KernelRefKind,
}

/// How a kernel symbol is looked up and put into an instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KernelRefKind {
    /// A call of a kernel function, by BTF.
    Call,
    /// The address of a function, by BTF.
    FunctionAddress,
    /// The address of a variable, by kallsyms.
    UntypedAddress,
    /// The address of a variable, by BTF.
    VariableAddress,
}

/// A CO-RE relocation of a linked program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CoreRef {
    /// The instruction.
    pub insn: u32,
    /// What it asks for.
    pub relo: CoreRelo,
}

/// A program, linked and ready but for what the running kernel supplies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramLoad {
    /// Name of the entry function.
    pub name: String,
    /// Section it came from.
    pub section: String,
    /// `prog_type`.
    pub prog_type: ProgType,
    /// `expected_attach_type`.
    pub attach_type: AttachType,
    /// `prog_flags`.
    pub flags: u32,
    /// The code: entry function, then its subprograms.
    pub insns: Vec<Insn>,
    /// Where each subprogram starts, by name.
    pub subprograms: Vec<(u32, String)>,
    /// `struct bpf_func_info` records.
    pub func_info: Info,
    /// `struct bpf_line_info` records.
    pub line_info: Info,
    /// CO-RE relocations in order.
    pub core_refs: Vec<CoreRef>,
    /// Kernel symbols in order.
    pub kernel_refs: Vec<KernelRef>,
    /// BTF target, for programs that attach by one.
    pub attach_target: Option<AttachTarget>,
}

/// One step of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// `BPF_BTF_LOAD`.
    LoadBtf {
        /// The BTF in the object's byte order.
        data: Vec<u8>,
    },
    /// `BPF_MAP_CREATE` of the template for the map of maps that comes next.
    CreateInnerMap {
        /// Attributes.
        attr: MapAttr,
    },
    /// `BPF_MAP_CREATE`.
    CreateMap {
        /// Place of the map, and of its descriptor in the loader's `fd_array`.
        map: MapIdx,
        /// Attributes.
        attr: MapAttr,
    },
    /// `BPF_MAP_UPDATE_ELEM` of key 0.
    SeedMap {
        /// The map.
        map: MapIdx,
        /// The value.
        value: Vec<u8>,
        /// Flags of the update.
        flags: u64,
    },
    /// `BPF_MAP_FREEZE`.
    FreezeMap {
        /// The map.
        map: MapIdx,
    },
    /// `BPF_MAP_UPDATE_ELEM` of a slot of a map of maps.
    SetInnerMap {
        /// The map of maps.
        outer: MapIdx,
        /// The slot.
        slot: u32,
        /// The map that is put in.
        inner: MapIdx,
    },
    /// `BPF_PROG_LOAD`.
    LoadProgram(Box<ProgramLoad>),
}

/// What must happen to install an object, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadPlan {
    /// Name of the object.
    pub name: String,
    /// Byte order of the kernel that the plan is for.
    pub endian: Endian,
    /// License, which every program gets.
    pub license: String,
    /// Count of maps.
    pub map_count: u32,
    /// Count of functions of the object, subprograms and unloaded programs included: the
    /// loader's cleanup code has an entry for each.
    pub function_count: u32,
    /// The steps.
    pub steps: Vec<Step>,
    /// Values of the host that went into the plan.
    pub host: Vec<HostDependency>,
    /// What is odd about the plan, in words.
    pub notes: Vec<String>,
}

impl LoadPlan {
    /// Makes the plan that installs an object.
    ///
    /// # Errors
    /// When the object needs something that a loader can not do, or the host has no value for
    /// something that the object asks of it.
    pub fn new(object: &Object, host: &dyn Host) -> Result<Self, Error> {
        build::build(object, host)
    }

    /// The programs that the plan loads, in order.
    pub fn programs(&self) -> impl Iterator<Item = &ProgramLoad> {
        self.steps.iter().filter_map(|step| match step {
            Step::LoadProgram(program) => Some(&**program),
            _ => None,
        })
    }

    /// The maps that the plan creates, in order.
    pub fn maps(&self) -> impl Iterator<Item = (MapIdx, &MapAttr)> {
        self.steps.iter().filter_map(|step| match step {
            Step::CreateMap { map, attr } => Some((*map, attr)),
            _ => None,
        })
    }
}
