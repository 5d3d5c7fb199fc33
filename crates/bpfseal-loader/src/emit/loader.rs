//! What comes out: the loader's bytes, and where each of them comes from.

use bpfseal_object::{Endian, MapIdx};

use super::ctx;

/// What a loader is made for: who checks it, and what of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// For a signature over its instructions alone: checks its metadata itself when it runs, by
    /// the digest that the kernel has of it, and that the map is exclusive (Linux 7.2).
    CheckingExclusive,
    /// For a signature over its instructions alone: checks its metadata itself (Linux 6.18).
    CheckingMetadata,
    /// For a signature over instructions and metadata (Linux 7.3): ignores `max_entries` and
    /// `initial_value` of the context, as the two above, so that no host can change what was
    /// signed.
    Signed,
    /// Without a signature: the context can give maps another size or initial value.
    Unsigned,
}

/// What a loader can do, and how it does it: the generator whose loaders it is like.
///
/// A plan has everything that an object asks for; each dialect refuses what it cannot express.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Dialect {
    /// libbpf 1.8's, byte for byte: at most 64 maps; no struct_ops, filled program arrays, arenas
    /// with values, pins, jump tables or maps of the first years; only programs whose type and
    /// target their section tells.
    #[default]
    Libbpf,
}

/// How a loader is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct EmitOptions {
    /// The generator whose loaders it is like.
    pub dialect: Dialect,
    /// Whether it is to be signed.
    pub form: Form,
    /// Whether the loader prints each of its steps to the kernel's trace pipe
    /// (`log_level` of libbpf's generator).
    pub log: bool,
}

impl EmitOptions {
    /// A loader of that form, in libbpf's dialect and without a log.
    #[must_use]
    pub fn new(form: Form) -> Self {
        Self {
            dialect: Dialect::default(),
            form,
            log: false,
        }
    }

    /// The same, with a loader that prints each of its steps.
    #[must_use]
    pub fn with_log(mut self) -> Self {
        self.log = true;
        self
    }
}

/// What a stretch of the metadata is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the names say it; `name` puts them into words")]
pub enum Part {
    AttachTarget,
    Btf,
    BtfAttr,
    CoreRelos,
    FdArray,
    FreezeAttr,
    FuncInfo,
    KernelFunctionSlot,
    Key,
    License,
    LineInfo,
    LogFormat,
    MapAttr,
    ProgramAttr,
    ProgramInsns,
    SymbolAddress,
    SymbolName,
    UpdateAttr,
    Value,
}

impl Part {
    /// In words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::AttachTarget => "name of the attach target",
            Self::Btf => "BTF",
            Self::BtfAttr => "attributes of BPF_BTF_LOAD",
            Self::CoreRelos => "CO-RE relocations",
            Self::FdArray => "slots of descriptors",
            Self::FreezeAttr => "attributes of BPF_MAP_FREEZE",
            Self::FuncInfo => "function records",
            Self::KernelFunctionSlot => "slot of a module's BTF descriptor",
            Self::Key => "key",
            Self::License => "license",
            Self::LineInfo => "line records",
            Self::LogFormat => "format of a log line",
            Self::MapAttr => "attributes of BPF_MAP_CREATE",
            Self::ProgramAttr => "attributes of BPF_PROG_LOAD",
            Self::ProgramInsns => "instructions",
            Self::SymbolAddress => "address of a kernel symbol",
            Self::SymbolName => "name of a kernel symbol",
            Self::UpdateAttr => "attributes of BPF_MAP_UPDATE_ELEM",
            Self::Value => "value",
        }
    }
}

/// A stretch of the loader's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct InsnRegion {
    /// First instruction; the stretch ends where the next begins.
    pub start: usize,
    /// The step of the plan that it is for.
    pub step: Option<usize>,
    /// What it does.
    pub what: &'static str,
}

/// A stretch of the metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct DataRegion {
    /// Offset of its first byte.
    pub start: usize,
    /// Bytes without padding.
    pub len: usize,
    /// The step of the plan that it is for.
    pub step: Option<usize>,
    /// What it is.
    pub part: Part,
}

/// Where the loader's context has its fields (`struct bpf_loader_ctx` and what follows it).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContextLayout {
    /// Count of `struct bpf_map_desc`.
    pub maps: u32,
    /// Count of `struct bpf_prog_desc` that the loader fills in.
    pub programs: u32,
}

impl ContextLayout {
    /// Offset of a map's descriptor, bytes.
    #[must_use]
    pub fn map_offset(&self, map: MapIdx) -> u32 {
        ctx::SIZE + ctx::MAP_DESC * map.0
    }

    /// Offset of a program's descriptor, by its place among the loaded programs, bytes.
    #[must_use]
    pub fn program_offset(&self, program: u32) -> u32 {
        ctx::SIZE + ctx::MAP_DESC * self.maps + ctx::PROG_DESC * program
    }

    /// Bytes of the whole context.
    #[must_use]
    pub fn size(&self) -> u32 {
        self.program_offset(self.programs)
    }
}

/// A loader: a `BPF_PROG_TYPE_SYSCALL` program and its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loader {
    /// Byte order of both.
    pub endian: Endian,
    /// Its form.
    pub form: Form,
    /// The program, 8 bytes an instruction.
    pub instructions: Vec<u8>,
    /// The value of the metadata map.
    pub metadata: Vec<u8>,
    /// What it expects of its context.
    pub context: ContextLayout,
    /// Where the instructions come from, in order.
    pub insn_regions: Vec<InsnRegion>,
    /// Where the metadata comes from, in order.
    pub data_regions: Vec<DataRegion>,
}

impl Loader {
    /// The stretch that an instruction belongs to.
    #[must_use]
    pub fn insn_region(&self, insn: usize) -> Option<&InsnRegion> {
        let after = self.insn_regions.partition_point(|r| r.start <= insn);
        self.insn_regions.get(after.checked_sub(1)?)
    }

    /// The stretch that a byte of the metadata belongs to, its padding included.
    #[must_use]
    pub fn data_region(&self, offset: usize) -> Option<&DataRegion> {
        let after = self.data_regions.partition_point(|r| r.start <= offset);
        self.data_regions.get(after.checked_sub(1)?)
    }
}
