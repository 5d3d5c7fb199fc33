//! Why no loader can be made from an object: what, where, and what to do.

bpfseal_object::debug_as_chain!(Error);

/// A reason why an object has no loader.
#[derive(thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields are what the message names")]
pub enum Error {
    /// An arena with initialised variables.
    #[error(
        "section `.addr_space.1`: the arena `{map}` has {size} bytes of variables, which a loader can not fill in"
    )]
    ArenaData { map: String, size: usize },
    /// An arena that no host can map.
    #[error("map `{map}`: an arena of {max_entries} pages at {address:#x} can not be mapped")]
    ArenaShape {
        map: String,
        max_entries: u32,
        address: u64,
    },
    /// An attach target that is too long.
    #[error("program `{program}`: the attach target has {length} bytes, at most {limit} are kept")]
    AttachTargetLength {
        program: String,
        length: usize,
        limit: usize,
    },
    /// A program that attaches to another program.
    #[error(
        "program `{program}` in section `{section}` attaches to a program, which is not known when the loader is made"
    )]
    AttachToProgram { program: String, section: String },
    /// A symbol of another object.
    #[error("extern `{symbol}` is defined nowhere, and declared neither `__ksym` nor `__kconfig`")]
    ExternUndefined { symbol: String },
    /// A symbol of another object, in a section that is not for externs.
    #[error("extern `{symbol}` is in section `{section}`, expected `.ksyms` or `.kconfig`")]
    ExternUnknownSection { symbol: String, section: String },
    /// A program attached by BTF without a target.
    #[error("program `{program}` in section `{section}` names no attach target")]
    NoAttachTarget { program: String, section: String },
    /// A program for functions of a kernel module.
    #[error(
        "program `{program}` in section `{section}` attaches to functions of a module, which is not known when the loader is made"
    )]
    AttachToModule { program: String, section: String },
    /// Exception callback that is not usable.
    #[error("program `{program}`: exception callback `{callback}` {what}")]
    ExceptionCallback {
        program: String,
        callback: String,
        what: &'static str,
    },
    /// An extern without a value.
    #[error("extern `{name}` is not weak and has no value: {reason}")]
    ExternUnresolved { name: String, reason: String },
    /// Something that the host has to supply could not be had.
    #[error("`{name}` depends on the host: {reason}")]
    Host { name: String, reason: String },
    /// A program or function without records where others have them.
    #[error("program `{program}`: function `{function}` has no {what} in `.BTF.ext`")]
    InfoMissing {
        program: String,
        function: String,
        what: &'static str,
    },
    /// Jump tables.
    #[error(
        "program `{program}`, instruction {insn}: a jump table needs a map of instructions, which a loader can not make"
    )]
    JumpTable { program: String, insn: u32 },
    /// A jump of the loader does not reach.
    #[error(
        "the loader has {insns} instructions; its cleanup code is out of reach of jumps (±32767)"
    )]
    JumpTooFar { insns: usize },
    /// A kconfig value that does not fit its extern.
    #[error("kconfig extern `{name}`: value `{value}` {what}")]
    KconfigValue {
        name: String,
        value: String,
        what: &'static str,
    },
    /// Maps of the first years.
    #[error("section `maps` holds map definitions of the legacy kind")]
    LegacyMaps,
    /// More kfuncs than an instruction can number.
    #[error("program `{program}` calls too many kernel functions of modules")]
    KfuncSlots { program: String },
    /// A map that asks to be pinned.
    #[error("map `{map}` asks to be pinned by name, which a loader can not do")]
    Pinned { map: String },
    /// A map that asks to be pinned in a way that nobody knows.
    #[error(
        "section `.maps`, map `{map}`: attribute `pinning` is {value}, expected 0 (none) or 1 (by name)"
    )]
    Pinning { map: String, value: u32 },
    /// Program arrays with slots.
    #[error("map `{map}`: a loader can not fill the slots of a program array")]
    ProgramArraySlots { map: String },
    /// A relocation that does not fit its instruction.
    #[error("program `{program}`, instruction {insn}: {what}")]
    Relocation {
        program: String,
        insn: u64,
        what: &'static str,
    },
    /// A static function outside of `.text`.
    #[error("section `{section}`: program `{program}` is static")]
    StaticProgram { program: String, section: String },
    /// struct_ops maps.
    #[error("section `{section}` holds struct_ops maps, which a loader can not create")]
    StructOps { section: String },
    /// A struct_ops program that no map uses.
    #[error(
        "program `{program}` in section `{section}` is for struct_ops, which a loader can not load"
    )]
    StructOpsProgram { program: String, section: String },
    /// Everything together is too large.
    #[error("{what} take {size} bytes, more than the {limit} that a loader can carry here")]
    TooLarge {
        what: &'static str,
        size: u64,
        limit: u64,
    },
    /// More maps than the loader has room for.
    #[error("the object has {count} maps, a loader has room for {limit}")]
    TooManyMaps { count: usize, limit: usize },
    /// More zeroes than a loader can carry.
    #[error(
        "map `{map}` is {size} bytes of zeroes; together with others before it, that is more than the {limit} that a loader can carry"
    )]
    TooManyZeroes { map: String, size: u64, limit: u64 },
    /// A section name that libbpf does not know.
    #[error("program `{program}`: section name `{section}` tells no program type")]
    UnknownSection { program: String, section: String },
}

impl Error {
    /// What whoever holds the object can do about it.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match self {
            Self::ArenaData { .. } => {
                "initialise arena variables from a program, or load the object with libbpf"
            }
            Self::ArenaShape { .. } => "give the arena a size, and an address that is a page's",
            Self::AttachTargetLength { .. } => "shorten the name after `/`",
            Self::AttachToModule { .. } | Self::AttachToProgram { .. } => {
                "load the object with libbpf, or mark the program SEC(\"?…\") to leave it out"
            }
            Self::ExceptionCallback { .. } => "make it a global function that is not hidden",
            Self::ExternUndefined { .. } => {
                "define it, or declare it `extern … __ksym` for a symbol of the kernel"
            }
            Self::ExternUnknownSection { .. } => {
                "declare it `extern … __ksym` or `extern … __kconfig` and use it"
            }
            Self::ExternUnresolved { .. } => "declare it `__weak`, or build where it has a value",
            Self::Host { .. } => "build where the host can tell, or give the value by option",
            Self::InfoMissing { .. } => "compile all files of the object with `-g`",
            Self::JumpTable { .. } => "compile with `-mcpu=v3`, or `-fno-jump-tables`",
            Self::JumpTooFar { .. } | Self::TooLarge { .. } | Self::TooManyMaps { .. } => {
                "split the object"
            }
            Self::KconfigValue { .. } => "declare the extern with a type that the value fits",
            Self::KfuncSlots { .. } => "split the program",
            Self::LegacyMaps => "declare maps with BTF, in SEC(\".maps\")",
            Self::NoAttachTarget { .. } => "name it in the section: SEC(\"type/target\")",
            Self::Pinned { .. } => "drop `pinning` from the map and pin it after loading",
            Self::Pinning { .. } => "mend the declaration in SEC(\".maps\")",
            Self::ProgramArraySlots { .. } => "drop the `values` and fill the slots after loading",
            Self::Relocation { .. } => "the file is damaged; compile it anew",
            Self::StaticProgram { .. } => "make the function global, or move it out of its SEC()",
            Self::StructOps { .. } | Self::StructOpsProgram { .. } => {
                "load the object with libbpf; light skeletons have no struct_ops"
            }
            Self::TooManyZeroes { .. } => "make the global array a map",
            Self::UnknownSection { .. } => "use a section name of libbpf's table, such as `xdp`",
        }
    }
}
