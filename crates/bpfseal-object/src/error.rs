//! Why an object can not be read: what, where, and what to do.

use crate::map_error::MapFault;

crate::debug_as_chain!(Error);

/// A fault of an object.
///
/// The text is one level: lower case, names in backquotes; [`Error::advice`] says what to do.
#[derive(thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields are what the message names")]
pub enum Error {
    /// Arena variables without an arena.
    #[error("section `.addr_space.1` holds arena variables, but `.maps` declares no arena")]
    ArenaDataWithoutArena,
    /// `.BTF` is malformed.
    #[error("section `.BTF`, offset {offset:#x}: {what}")]
    Btf { offset: usize, what: &'static str },
    /// `.BTF.ext` is malformed.
    #[error("section `.BTF.ext`, offset {offset:#x}: {what}")]
    BtfExt { offset: usize, what: &'static str },
    /// A function without a prototype.
    #[error("section `.BTF`: function [{type_id}] refers to [{referenced}], which is no prototype")]
    BtfFuncProto { type_id: u32, referenced: u32 },
    /// A reference to a type that does not exist.
    #[error("section `.BTF`: type [{type_id}] refers to [{referenced}], which does not exist")]
    BtfReference { type_id: u32, referenced: u32 },
    /// A name outside of the strings.
    #[error("section `.BTF`: type [{type_id}] has a name at {offset:#x}, beyond the strings")]
    BtfString { type_id: u32, offset: u32 },
    /// A variable that a linker would have to place.
    #[error("variable `{symbol}` is a common symbol, which has no place in a section yet")]
    CommonSymbol { symbol: String },
    /// A CO-RE relocation is malformed.
    #[error("section `.BTF.ext`: CO-RE relocation for section `{section}` at {offset:#x} {what}")]
    CoreRelocation {
        section: String,
        offset: u32,
        what: &'static str,
    },
    /// BTF and ELF disagree on a data section.
    #[error("section `.BTF`: data section `{section}` {what}{}", named(.variable))]
    Datasec {
        section: String,
        variable: String,
        what: &'static str,
    },
    /// ELF structure is malformed.
    #[error("ELF {what} is malformed")]
    ElfMalformed {
        what: &'static str,
        /// What the reader of ELF says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An extern that BTF does not describe.
    #[error("extern `{symbol}` is not described in BTF")]
    ExternBtf { symbol: String },
    /// A symbol that is extern in ELF but defined in BTF.
    #[error("extern `{symbol}` is defined, not extern, by BTF")]
    ExternLinkage { symbol: String },
    /// BTF describes an extern without a symbol.
    #[error("section `{section}` of BTF has `{symbol}`, which is no extern of the object")]
    ExternUnused {
        section: &'static str,
        symbol: String,
    },
    /// An extern in an object without BTF.
    #[error("extern `{symbol}` needs BTF, but the object has none")]
    ExternWithoutBtf { symbol: String },
    /// kconfig values are larger than any map.
    #[error("the kconfig values of the object are too large")]
    KconfigTooLarge,
    /// A kconfig extern of a type that no value fits.
    #[error(
        "kconfig extern `{symbol}` is of an unsupported type, expected bool, char, an integer, `enum libbpf_tristate` or an array of char"
    )]
    KconfigType { symbol: String },
    /// A map definition of the first years that is not one.
    #[error("section `maps`, map `{map}`: {size} bytes at {offset:#x} {what}")]
    LegacyMap {
        map: String,
        offset: u64,
        size: u64,
        what: &'static str,
    },
    /// No text in `license`.
    #[error("section `license` is empty or is not text")]
    LicenseSection,
    /// A map is declared wrongly.
    #[error("section `.maps`, map `{map}`: {fault}")]
    Map { map: String, fault: MapFault },
    /// A slot of a map is filled wrongly.
    #[error("section `.rel.maps`, offset {offset:#x}: `{symbol}` {what}")]
    MapRelocation {
        offset: u64,
        symbol: String,
        what: &'static str,
    },
    /// Something that is not a variable among maps.
    #[error("section `.maps`: entry {index} is a nameless variable or a {found}")]
    MapVariable { index: usize, found: &'static str },
    /// Maps without BTF.
    #[error("the object has maps or struct_ops but no `.BTF` section")]
    NoBtf,
    /// Maps that BTF does not describe.
    #[error("section `.maps` has no data section of that name in BTF")]
    NoMapsDatasec,
    /// Symbols without names.
    #[error("the symbol table names section {link} for its strings, which does not exist")]
    NoSymbolStrings { link: u32 },
    /// No symbols.
    #[error("the object has no symbol table")]
    NoSymbolTable,
    /// ELF, but not a BPF object.
    #[error(
        "not a BPF object: ELF type {file_type}, machine {machine}; expected type 1 (relocatable), machine 247 (BPF)"
    )]
    NotBpfObject { file_type: u16, machine: u16 },
    /// Not ELF.
    #[error("not an ELF file")]
    NotElf,
    /// 32-bit ELF.
    #[error("not a 64-bit ELF file: class {class}")]
    NotElf64 { class: u8 },
    /// A function that does not fit its section.
    #[error("section `{section}`: program `{symbol}` at {offset:#x} of {size} bytes {what}")]
    Program {
        section: String,
        symbol: String,
        offset: u64,
        size: u64,
        what: &'static str,
    },
    /// A relocation that can not be understood.
    #[error("program `{program}`, instruction {insn}: relocation against `{symbol}` {what}")]
    Relocation {
        program: String,
        insn: u64,
        symbol: String,
        what: &'static str,
    },
    /// A relocation outside of the code.
    #[error(
        "section `{section}`: relocation at {offset:#x} is no instruction of the code of {size} bytes"
    )]
    RelocationOffset {
        section: String,
        offset: u64,
        size: u64,
    },
    /// A section of relocations is malformed.
    #[error(
        "section `{section}`: entries of {entry_size} bytes for section {target}, expected 16 bytes for an existing section"
    )]
    RelocationSection {
        section: String,
        entry_size: u64,
        target: u32,
    },
    /// A relocation against an unusable symbol.
    #[error("section `{section}`: relocation at {offset:#x}: symbol {symbol} {what}")]
    RelocationSymbol {
        section: String,
        offset: u64,
        symbol: u32,
        what: &'static str,
    },
    /// A relocation against a section that is neither data nor maps.
    #[error(
        "program `{program}`, instruction {insn}: relocation against `{symbol}` in section `{section}`, which holds neither maps nor data"
    )]
    RelocationTarget {
        program: String,
        insn: u64,
        symbol: String,
        section: String,
    },
    /// Two arenas.
    #[error("section `.maps`: `{first}` and `{second}` are both arenas, an object can have one")]
    SecondArena { first: String, second: String },
    /// The name of a section is not text.
    #[error("section {index}: the name is not text")]
    SectionNameNotText { index: u32 },
    /// A section lies outside of the file.
    #[error(
        "section `{section}`: {size} bytes at {offset:#x} reach beyond the file of {file_size} bytes"
    )]
    SectionOutOfFile {
        section: String,
        offset: u64,
        size: u64,
        file_size: u64,
    },
    /// A section is of the wrong type.
    #[error("section `{section}` is of type {found}, expected 1 (program data)")]
    SectionType { section: String, found: u32 },
    /// Two symbol tables.
    #[error("the object has several symbol tables")]
    SeveralSymbolTables,
    /// A struct_ops map is declared wrongly.
    #[error("section `{section}`, struct_ops map `{map}` {what}")]
    StructOps {
        section: String,
        map: String,
        what: &'static str,
    },
    /// A member of a struct_ops map is filled wrongly.
    #[error("section `.rel{section}`, offset {offset:#x}: `{symbol}` {what}")]
    StructOpsRelocation {
        section: String,
        offset: u64,
        symbol: String,
        what: &'static str,
    },
    /// The name of a symbol can not be read.
    #[error("symbol {index}: the name at {offset:#x} is not text of the string table")]
    SymbolName { index: usize, offset: u32 },
    /// The symbol table is malformed.
    #[error("section `{section}`: {size} bytes in entries of {entry_size}, expected entries of 24")]
    SymbolTableShape {
        section: String,
        entry_size: u64,
        size: u64,
    },
    /// A data section of zeroes that is larger than the value of any map.
    #[error("section `{section}` is {size} bytes of zeroes, more than the {limit} of any map")]
    TooManyZeroes {
        section: String,
        size: u64,
        limit: u64,
    },
    /// More sections than can be numbered.
    #[error("the object has too many sections")]
    TooManySections,
    /// `version` is not a number of four bytes.
    #[error("section `version` has {size} bytes, expected 4")]
    VersionSection { size: u64 },
}

fn named(variable: &str) -> String {
    if variable.is_empty() {
        String::new()
    } else {
        format!(": `{variable}`")
    }
}

impl Error {
    /// What whoever holds the object can do about it.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match self {
            Self::ArenaDataWithoutArena => "declare a map of type BPF_MAP_TYPE_ARENA in `.maps`",
            Self::CommonSymbol { .. } => "compile with `-fno-common`",
            Self::ExternBtf { .. }
            | Self::ExternWithoutBtf { .. }
            | Self::NoBtf
            | Self::NoMapsDatasec => "compile with `-g`, and strip with `llvm-strip -g` only",
            Self::ExternLinkage { .. } | Self::ExternUnused { .. } => {
                "declare it `extern … __ksym` or `extern … __kconfig` and use it"
            }
            Self::KconfigTooLarge | Self::KconfigType { .. } => {
                "declare the extern with the type of its configuration value"
            }
            Self::LegacyMap { .. } => "declare maps with BTF, in SEC(\".maps\")",
            Self::LicenseSection => "declare `char LICENSE[] SEC(\"license\") = \"GPL\";`",
            Self::Map {
                fault: MapFault::Linkage { .. },
                ..
            } => "make it a global variable, and compile without `-fvisibility=hidden`",
            Self::Map { .. } | Self::MapVariable { .. } | Self::SecondArena { .. } => {
                "mend the declaration in SEC(\".maps\")"
            }
            Self::MapRelocation { .. } => "mend the `values` of the map",
            Self::NoSymbolTable => "use an object that is not stripped of its symbols",
            Self::NotBpfObject { .. } | Self::NotElf | Self::NotElf64 { .. } => {
                "give a `.bpf.o` as `clang -target bpf -g -O2 -c` writes it"
            }
            Self::Relocation { .. } | Self::RelocationTarget { .. } => {
                "refer to maps, global variables, functions or declared externs only"
            }
            Self::StructOps { .. } | Self::StructOpsRelocation { .. } => {
                "declare a global variable of a struct type whose members are programs or values"
            }
            Self::TooManyZeroes { .. } => "make the global array a map",
            Self::VersionSection { .. } => {
                "declare it as `int VERSION SEC(\"version\")`, or leave it out"
            }
            _ => "the file is damaged; compile it anew",
        }
    }
}
