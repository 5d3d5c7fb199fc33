//! Programs of an object, entry points and subprograms, with the relocations of their code.
//!
//! The code is as compiled; linking subprograms and resolving relocations is part of the load
//! plan.

use crate::elf::SectionIdx;
use crate::externs::ExternIdx;
use crate::index::MapIdx;
use crate::insn::Insn;
use crate::section_def::SectionDef;
use crate::uapi::prog;

/// `struct bpf_core_relo` without the instruction: what a CO-RE relocation asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CoreRelo {
    /// Root type in the object's BTF.
    pub type_id: u32,
    /// Offset of the access string in the BTF strings, such as `0:1:2`.
    pub access_str_off: u32,
    /// `enum bpf_core_relo_kind`.
    pub kind: u32,
}

/// What a relocation of code refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RelocKind {
    /// The address of a map.
    Map(MapIdx),
    /// A call of a subprogram: offset of the symbol in `.text`, in bytes.
    Call(u32),
    /// Data in the value of a map: the map and the offset of the symbol in its section, in bytes.
    Data(MapIdx, u32),
    /// A load of an extern's address.
    ExternLd64(ExternIdx),
    /// A call of a kernel function.
    ExternCall(ExternIdx),
    /// The address of a subprogram: offset of the symbol in `.text`, in bytes.
    SubprogAddr(u32),
    /// A CO-RE relocation.
    Core(CoreRelo),
    /// A jump table: offset of the symbol in `.jumptables` and its size, in bytes.
    InsnArray(u32, u64),
}

impl RelocKind {
    /// Order of several relocations of one instruction, as libbpf's `enum reloc_type`.
    fn order(self) -> u8 {
        match self {
            Self::Map(_) => 0,
            Self::Call(_) => 1,
            Self::Data(..) => 2,
            Self::ExternLd64(_) => 3,
            Self::ExternCall(_) => 4,
            Self::SubprogAddr(_) => 5,
            Self::Core(_) => 6,
            Self::InsnArray(..) => 7,
        }
    }
}

/// A relocation of one instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Reloc {
    /// The instruction, counted from the start of the program.
    pub insn: u32,
    /// What it refers to.
    pub kind: RelocKind,
}

impl Reloc {
    pub(crate) fn sort_key(&self) -> (u32, u8) {
        (self.insn, self.kind.order())
    }
}

/// One function of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Name of the function.
    pub name: String,
    /// Name of its section, without a leading `?`.
    pub section_name: String,
    /// Its section.
    pub section: SectionIdx,
    /// Offset in the section, in instructions.
    pub section_insn: u64,
    /// Code as compiled.
    pub insns: Vec<Insn>,
    /// Relocations, ordered by instruction.
    pub relocs: Vec<Reloc>,
    /// Whether it is loaded with the object: false for sections that begin with `?`. A program that
    /// struct_ops maps use goes by the maps instead.
    pub autoload: bool,
    /// Whether it is a subprogram: code in `.text`, loaded only as part of entry points.
    pub subprogram: bool,
    /// Whether the symbol is global or weak.
    pub global: bool,
    /// Whether a global symbol is hidden, so that the verifier treats it as static.
    pub hidden: bool,
    /// What the section name says; `None` for one that libbpf does not know.
    pub def: Option<&'static SectionDef>,
}

impl Program {
    /// The part of the section name after the first `/`, if it has one.
    #[must_use]
    pub fn attach_target(&self) -> Option<&str> {
        self.section_name.split_once('/').map(|(_, target)| target)
    }

    /// Whether it is for struct_ops.
    #[must_use]
    pub fn is_struct_ops(&self) -> bool {
        self.def
            .is_some_and(|def| def.prog_type == prog::STRUCT_OPS)
    }

    pub(crate) fn contains(&self, section: SectionIdx, insn: u64) -> bool {
        self.section == section
            && insn >= self.section_insn
            && insn - self.section_insn < self.insns.len() as u64
    }
}
