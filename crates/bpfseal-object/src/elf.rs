//! The ELF container of an object: sections and symbols, with every offset checked once.
//!
//! Gives names, types and bytes; what a section means is decided in [`crate::Object`].

use object::Endianness;
use object::elf;
use object::read::elf::{FileHeader, Rel as _, SectionHeader, Sym as _};

use crate::{Endian, Error};

/// `SHT_LLVM_ADDRSIG`: a table of address-significant symbols, of no use after compilation.
pub(crate) const SHT_LLVM_ADDRSIG: u32 = 0x6fff_4c03;
/// Section indices from here on are reserved and name no section.
pub(crate) const SHN_LORESERVE: u16 = elf::SHN_LORESERVE;

/// Index of a section in the section header table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SectionIdx(pub u32);

/// One section.
#[derive(Debug, Clone)]
pub(crate) struct Section<'a> {
    pub(crate) index: SectionIdx,
    pub(crate) name: &'a str,
    pub(crate) kind: u32,
    pub(crate) flags: u64,
    pub(crate) link: u32,
    pub(crate) info: u32,
    pub(crate) entry_size: u64,
    /// Declared size; the same as `data.len()` except for `SHT_NOBITS`.
    pub(crate) size: u64,
    pub(crate) data: &'a [u8],
}

impl Section<'_> {
    pub(crate) fn is_executable(&self) -> bool {
        self.flags & u64::from(elf::SHF_EXECINSTR) != 0
    }
}

/// One symbol.
#[derive(Debug, Clone)]
pub(crate) struct Symbol<'a> {
    pub(crate) name: &'a str,
    /// Whether the symbol table gives it no name of its own.
    pub(crate) unnamed: bool,
    pub(crate) section: u16,
    pub(crate) value: u64,
    pub(crate) size: u64,
    pub(crate) bind: u8,
    pub(crate) kind: u8,
    pub(crate) visibility: u8,
}

impl Symbol<'_> {
    /// Undefined, without a type, global or weak: to be supplied by someone else.
    pub(crate) fn is_extern(&self) -> bool {
        self.section == elf::SHN_UNDEF
            && (self.bind == elf::STB_GLOBAL || self.bind == elf::STB_WEAK)
            && self.kind == elf::STT_NOTYPE
    }

    /// Visible outside its file, but not outside the linked object.
    pub(crate) fn is_hidden(&self) -> bool {
        self.visibility == elf::STV_HIDDEN || self.visibility == elf::STV_INTERNAL
    }
}

/// One relocation of an `SHT_REL` section.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rel {
    pub(crate) offset: u64,
    pub(crate) symbol: u32,
}

/// A parsed container.
#[derive(Debug)]
pub(crate) struct Elf<'a> {
    pub(crate) endian: Endian,
    raw_endian: Endianness,
    /// All sections, that of index 0 included.
    pub(crate) sections: Vec<Section<'a>>,
    pub(crate) symbols: Vec<Symbol<'a>>,
    pub(crate) symtab: SectionIdx,
}

impl<'a> Elf<'a> {
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        if bytes.len() < 4 || bytes[..4] != elf::ELFMAG {
            return Err(Error::NotElf);
        }
        if bytes.get(4) != Some(&elf::ELFCLASS64) {
            return Err(Error::NotElf64 {
                class: bytes.get(4).copied().unwrap_or(0),
            });
        }
        let broken = |what: &'static str| {
            move |source: object::Error| Error::ElfMalformed {
                what,
                source: source.into(),
            }
        };
        let header = elf::FileHeader64::<Endianness>::parse(bytes).map_err(broken("header"))?;
        let raw_endian = header.endian().map_err(broken("byte order"))?;
        let endian = match raw_endian {
            Endianness::Big => Endian::Big,
            Endianness::Little => Endian::Little,
        };
        let machine = header.e_machine(raw_endian);
        let file_type = header.e_type(raw_endian);
        // Compilers of the first years wrote no machine at all.
        if file_type != elf::ET_REL || (machine != elf::EM_NONE && machine != elf::EM_BPF) {
            return Err(Error::NotBpfObject { file_type, machine });
        }

        let table = header
            .sections(raw_endian, bytes)
            .map_err(broken("section header table"))?;
        let mut sections = Vec::with_capacity(table.len());
        let mut symtab: Option<SectionIdx> = None;
        for (index, header) in table.iter().enumerate() {
            let index = u32::try_from(index).map_err(|_| Error::TooManySections)?;
            let kind = header.sh_type(raw_endian);
            let name_bytes = if index == 0 {
                &[][..]
            } else {
                table
                    .section_name(raw_endian, header)
                    .map_err(broken("section name"))?
            };
            let name =
                std::str::from_utf8(name_bytes).map_err(|_| Error::SectionNameNotText { index })?;
            let size = header.sh_size(raw_endian);
            let data = if index == 0 {
                &[][..]
            } else {
                header
                    .data(raw_endian, bytes)
                    .map_err(|_| Error::SectionOutOfFile {
                        section: name.to_owned(),
                        offset: header.sh_offset(raw_endian),
                        size,
                        file_size: bytes.len() as u64,
                    })?
            };
            if kind == elf::SHT_SYMTAB {
                if symtab.is_some() {
                    return Err(Error::SeveralSymbolTables);
                }
                symtab = Some(SectionIdx(index));
            }
            sections.push(Section {
                index: SectionIdx(index),
                name,
                kind,
                flags: header.sh_flags(raw_endian),
                link: header.sh_link(raw_endian),
                info: header.sh_info(raw_endian),
                entry_size: header.sh_entsize(raw_endian),
                size,
                data,
            });
        }
        let symtab = symtab.ok_or(Error::NoSymbolTable)?;
        let symbols = Self::read_symbols(&sections, symtab, raw_endian)?;
        Ok(Self {
            endian,
            raw_endian,
            sections,
            symbols,
            symtab,
        })
    }

    fn read_symbols(
        sections: &[Section<'a>],
        symtab: SectionIdx,
        endian: Endianness,
    ) -> Result<Vec<Symbol<'a>>, Error> {
        let table = &sections[symtab.0 as usize];
        let entry = size_of::<elf::Sym64<Endianness>>();
        if table.entry_size != entry as u64 || !table.data.len().is_multiple_of(entry) {
            return Err(Error::SymbolTableShape {
                section: table.name.to_owned(),
                entry_size: table.entry_size,
                size: table.size,
            });
        }
        let strings = sections
            .get(table.link as usize)
            .filter(|s| s.index.0 != 0)
            .ok_or(Error::NoSymbolStrings { link: table.link })?
            .data;
        let raw: &[elf::Sym64<Endianness>] = object::pod::slice_from_all_bytes(table.data)
            .map_err(|()| Error::SymbolTableShape {
                section: table.name.to_owned(),
                entry_size: table.entry_size,
                size: table.size,
            })?;
        raw.iter()
            .enumerate()
            .map(|(index, sym)| {
                let offset = sym.st_name(endian);
                let name =
                    c_str(strings, offset as usize).ok_or(Error::SymbolName { index, offset })?;
                Ok(Symbol {
                    name,
                    unnamed: offset == 0,
                    section: sym.st_shndx(endian),
                    value: sym.st_value(endian),
                    size: sym.st_size(endian),
                    bind: sym.st_bind(),
                    kind: sym.st_type(),
                    visibility: sym.st_visibility(),
                })
            })
            .collect()
    }

    /// The first section of that name.
    pub(crate) fn section_by_name(&self, name: &str) -> Option<&Section<'a>> {
        self.sections.iter().skip(1).find(|s| s.name == name)
    }

    pub(crate) fn section(&self, index: SectionIdx) -> Option<&Section<'a>> {
        self.sections.get(index.0 as usize)
    }

    /// The relocations of a section; the caller has checked the entry size.
    pub(crate) fn relocations(&self, section: &Section<'a>) -> Vec<Rel> {
        let entry = size_of::<elf::Rel64<Endianness>>();
        let whole = section.data.len() / entry * entry;
        let raw: &[elf::Rel64<Endianness>] =
            object::pod::slice_from_all_bytes(&section.data[..whole]).unwrap_or(&[]);
        raw.iter()
            .map(|r| Rel {
                offset: r.r_offset(self.raw_endian),
                symbol: r.r_sym(self.raw_endian),
            })
            .collect()
    }
}

/// Longest name that is read. Far above anything a compiler writes; without a bound, many symbols
/// that share one huge string would cost quadratic time.
const MAX_NAME: usize = 4096;

/// The NUL-terminated text at an offset; `None` when it is out of bounds, too long or not text.
pub(crate) fn c_str(bytes: &[u8], offset: usize) -> Option<&str> {
    let rest = bytes.get(offset..)?;
    let rest = &rest[..rest.len().min(MAX_NAME)];
    let end = rest.iter().position(|&b| b == 0)?;
    std::str::from_utf8(&rest[..end]).ok()
}
