//! The load plan: the ordered list of what must happen to install an object. Pure data.
//!
//! A plan is complete: it has everything that the object asks for, whether or not a loader can do
//! it. Everything is resolved but what only the running kernel knows (symbols, CO-RE relocations,
//! attach targets, layouts of struct_ops), which is recorded by name, and what the host has no
//! value for, which is recorded with the reason. A loader is the plan's compiled form in some
//! [`Dialect`](crate::Dialect), which may refuse it; a report prints it; an audit recovers it from
//! a loader and compares.
//!
//! ```text
//! Object ── link ──┐
//! Host ── kconfig ─┴─ LoadPlan ── refuse ── emit ── Loader
//! ```
//!
//! The steps are in the order of a load by libbpf: the BTF; each map with what it holds at first,
//! and its pin; the programs; then what needs descriptors of programs, which is the slots of
//! program arrays and the registration of struct_ops.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use bpfseal_loader::{FixedHost, LoadPlan};
//! use bpfseal_object::Object;
//!
//! let object = Object::parse(&std::fs::read("prog.bpf.o")?, "prog")?;
//! let plan = LoadPlan::new(&object, &FixedHost::default())?;
//! for step in 0..plan.steps.len() {
//!     println!("{}", plan.describe_step(step));
//! }
//! for missing in &plan.unresolved {
//!     println!("no value: {missing}");
//! }
//! # Ok(())
//! # }
//! ```

mod build;
mod describe;
mod kconfig;
mod link;
mod struct_ops;
mod unresolved;

use bpfseal_object::uapi::{AttachType, MapType, ProgType};
use bpfseal_object::{Contents, CoreRelo, Endian, Insn, MapIdx, Pinning};

use crate::{Error, HostDependency};

pub use unresolved::Unresolved;

/// Most maps that a loader of libbpf's dialect has slots for.
pub const MAX_MAPS: usize = 64;
/// Most programs, subprograms counted, whose cleanup stays inside the loader's stack frame. The
/// reference generates loaders for more, and the verifier refuses them.
pub const MAX_PROGRAMS: usize = 32;
/// Most bytes of attach target, prefix included, in libbpf's dialect.
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

/// What a program is loaded for, where the kernel wants to know that before it is attached.
///
/// Exhaustive: these are the ways that `BPF_PROG_LOAD` has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttachTarget {
    /// A function or type of the kernel or of a module, looked up by name in their BTF
    /// (`attach_btf_id`, `attach_btf_obj_fd`).
    Kernel {
        /// Name with the kernel's prefix, such as `bpf_lsm_file_open`.
        name: String,
        /// `BTF_KIND_FUNC` (12) or `BTF_KIND_TYPEDEF` (8).
        btf_kind: u32,
    },
    /// Functions of one module, as `module:pattern`: the BTF of the module has to be found first.
    Module {
        /// Module and pattern as written after the `/` of the section.
        name: String,
    },
    /// A function of another BPF program (`attach_prog_fd`), which only whoever loads knows.
    Program {
        /// Name of the function; `None` where the section names none.
        function: Option<String>,
    },
    /// A member of a struct of the kernel's: `attach_btf_id` is that of the struct,
    /// `expected_attach_type` the place of the member, both as in the running kernel.
    StructOps {
        /// The struct, such as `tcp_congestion_ops`.
        type_name: String,
        /// The member, such as `ssthresh`.
        member: String,
    },
    /// A function of the kernel that the section should name, and does not: whoever loads has to
    /// say which.
    Unnamed,
}

impl AttachTarget {
    /// The name that is looked up, if there is one.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Kernel { name, .. } | Self::Module { name } => Some(name),
            Self::Program { function } => function.as_deref(),
            Self::StructOps { member, .. } => Some(member),
            Self::Unnamed => None,
        }
    }
}

/// In words: what it is, with its name.
impl std::fmt::Display for AttachTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Kernel { name, .. } => write!(f, "`{name}`"),
            Self::Module { name } => write!(f, "`{name}` of a module"),
            Self::Program {
                function: Some(name),
            } => write!(f, "`{name}` of another program"),
            Self::Program { function: None } => f.write_str("another program"),
            Self::StructOps { type_name, member } => write!(f, "`{member}` of `{type_name}`"),
            Self::Unnamed => f.write_str("a function that is named when it is loaded"),
        }
    }
}

/// A program that something else of the plan needs: a slot of a program array, or a member of a
/// struct_ops map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramRef {
    /// Name of its function.
    pub name: String,
    /// Its place among [`LoadPlan::programs`]; `None` for a program that is not loaded by default,
    /// so that whoever carries the plan out has nothing to put there.
    pub place: Option<u32>,
}

/// The type of a struct_ops map.
///
/// The map's value in the kernel is not the object's struct: its type is that of
/// [`Self::value_type`], which holds the kernel's own declaration of the struct behind a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StructOpsType {
    /// Section of the map, such as `.struct_ops.link`.
    pub section: String,
    /// Name of the struct in the kernel, such as `tcp_congestion_ops`.
    pub name: String,
    /// The object's own declaration of it, in the BTF that the plan loads.
    pub btf_type_id: u32,
}

impl StructOpsType {
    /// Name of the value's type, whose id in the kernel's BTF is `btf_vmlinux_value_type_id` of
    /// `BPF_MAP_CREATE`, and whose size there is `value_size`.
    #[must_use]
    pub fn value_type(&self) -> String {
        format!("bpf_struct_ops_{}", self.name)
    }
}

/// A member of a struct_ops map that has a value. Members of the kernel's struct are found by
/// name; those that are not listed are zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StructOpsMember {
    /// Name; empty for an anonymous member.
    pub name: String,
    /// Offset in the object's declaration of the struct, bits.
    pub bit_offset: u32,
    /// What it holds.
    pub value: MemberValue,
}

/// What a member of a struct_ops map holds. Exhaustive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberValue {
    /// A bit-field of this width with this value.
    Bits {
        /// Width, bits.
        width: u32,
        /// The value, not shifted.
        value: u64,
    },
    /// These bytes, as many as the member has in the object's declaration.
    Bytes(Vec<u8>),
    /// The descriptor of a program, as a number of eight bytes.
    Program(ProgramRef),
}

/// A jump table: a map of instructions (`BPF_MAP_TYPE_INSN_ARRAY`, key 4 bytes, value
/// `struct bpf_insn_array_value`) of the program that it belongs to, filled and frozen before the
/// program is loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JumpTable {
    /// The 64-bit loads that take the address of the map's value. They stand in the program as they
    /// were compiled.
    pub loads: Vec<u32>,
    /// Where it jumps to: instructions of the linked program (`orig_off`), by key.
    pub targets: Vec<u32>,
}

/// An instruction that refers to a symbol of an object that this one was not linked with. It
/// stands in the program as it was compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct UndefinedRef {
    /// The instruction: a call, or a 64-bit load.
    pub insn: u32,
    /// Name of the symbol.
    pub name: String,
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
    /// Whether its function is `static`.
    pub is_static: bool,
    /// `prog_type`; 0 when the section's name tells none, and whoever loads has to say it.
    pub prog_type: ProgType,
    /// `expected_attach_type`; for struct_ops it follows from [`Self::attach_target`].
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
    /// Jump tables.
    pub jump_tables: Vec<JumpTable>,
    /// Symbols of other objects, in order.
    pub undefined: Vec<UndefinedRef>,
    /// What it is loaded for, if the kernel wants to know.
    pub attach_target: Option<AttachTarget>,
}

/// One step of a plan. Exhaustive, so that whoever carries out, compares or prints plans misses
/// none.
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
    /// `BPF_MAP_CREATE` of a map whose definition is one of the first years (`SEC("maps")`).
    CreateLegacyMap {
        /// Place of the map.
        map: MapIdx,
        /// Attributes; such a definition tells no types.
        attr: MapAttr,
        /// What follows the five known fields of the definition, in words; its meaning depends on
        /// the loader that the object was written for.
        extra: Vec<u32>,
    },
    /// `BPF_MAP_CREATE`.
    CreateMap {
        /// Place of the map, and of its descriptor in the loader's `fd_array`.
        map: MapIdx,
        /// Attributes.
        attr: MapAttr,
    },
    /// `BPF_MAP_CREATE` of a struct_ops map.
    CreateStructOps {
        /// Place of the map.
        map: MapIdx,
        /// Attributes. `value_size` is that of the object's struct, not of the kernel's value.
        attr: MapAttr,
        /// The type of its value.
        value: Box<StructOpsType>,
    },
    /// Variables of an arena get their initial values: there is no command for it, whoever loads
    /// maps the arena into memory and writes them.
    FillArena {
        /// The arena.
        map: MapIdx,
        /// Offset in the arena, bytes: the variables are its last pages.
        offset: u64,
        /// The values.
        contents: Contents,
    },
    /// `BPF_MAP_FREEZE`.
    FreezeMap {
        /// The map.
        map: MapIdx,
    },
    /// `BPF_LINK_CREATE` with attach type `BPF_STRUCT_OPS`: registers a struct_ops map of
    /// `.struct_ops.link`, for as long as the link is there.
    LinkStructOps {
        /// The map.
        map: MapIdx,
    },
    /// `BPF_OBJ_PIN`: a map that is pinned there already is used instead of the new one, if it is
    /// alike.
    PinMap {
        /// The map.
        map: MapIdx,
        /// How it is pinned: [`Pinning::ByName`], in the bpf file system of whoever loads, or a
        /// number that libbpf does not know.
        pinning: Pinning,
    },
    /// `BPF_MAP_UPDATE_ELEM` of key 0.
    SeedMap {
        /// The map.
        map: MapIdx,
        /// The value.
        value: Contents,
        /// Flags of the update.
        flags: u64,
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
    /// `BPF_MAP_UPDATE_ELEM` of a slot of a program array.
    SetProgram {
        /// The program array.
        map: MapIdx,
        /// The slot.
        slot: u32,
        /// The program that is put in.
        program: ProgramRef,
    },
    /// `BPF_MAP_UPDATE_ELEM` of key 0 of a struct_ops map, in the kernel's layout. For a map of
    /// `.struct_ops` this registers it; for one of `.struct_ops.link`, the link does.
    SetStructOps {
        /// The map.
        map: MapIdx,
        /// Its members that have a value, in the order of the object's struct.
        members: Vec<StructOpsMember>,
    },
    /// `BPF_PROG_LOAD`.
    LoadProgram(Box<ProgramLoad>),
}

/// What an object has and does not install by default: a section that begins with `?`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeftOut {
    /// A program; or a struct_ops program that only such maps use.
    Program {
        /// Name of its function.
        name: String,
        /// Its section, without the `?`.
        section: String,
        /// Whether its function is `static`.
        is_static: bool,
    },
    /// A struct_ops map.
    StructOps {
        /// Place of the map.
        map: MapIdx,
        /// Its name.
        name: String,
        /// Its section, with the `?`.
        section: String,
    },
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
    /// Bytes of a page of the host that the plan was made for: ring buffers and arenas are made of
    /// whole pages. 0 where it is not known.
    pub page_size: u32,
    /// Count of maps.
    pub map_count: u32,
    /// Count of functions of the object, subprograms and unloaded programs included: the
    /// loader's cleanup code has an entry for each.
    pub function_count: u32,
    /// The steps.
    pub steps: Vec<Step>,
    /// What is not installed by default.
    pub left_out: Vec<LeftOut>,
    /// What has no value.
    pub unresolved: Vec<Unresolved>,
    /// Values of the host that went into the plan.
    pub host: Vec<HostDependency>,
    /// What is odd about the plan, in words.
    pub notes: Vec<String>,
}

impl LoadPlan {
    /// The plan, if everything in it has a value: for whoever compares it with what was made
    /// elsewhere.
    ///
    /// # Errors
    /// The first of [`Self::unresolved`].
    pub fn resolved(self) -> Result<Self, Error> {
        match self.unresolved.first() {
            Some(unresolved) => Err(Error::from(unresolved)),
            None => Ok(self),
        }
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
            Step::CreateMap { map, attr }
            | Step::CreateLegacyMap { map, attr, .. }
            | Step::CreateStructOps { map, attr, .. } => Some((*map, attr)),
            _ => None,
        })
    }
}
