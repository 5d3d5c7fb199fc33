//! Sections by what they hold, and the functions in them.
//!
//! The first pass over the file. Source: `bpf_object__elf_collect` and
//! `bpf_object__add_programs` of libbpf 1.8.

use object::elf as raw;

use super::{MAX_VALUE, Object, Roles};
use crate::Error;
use crate::contents::Contents;
use crate::elf::{Elf, SHT_LLVM_ADDRSIG, Section};
use crate::insn::{BPF_INSN_SZ, Insn};
use crate::map::DataKind;
use crate::program::Program;
use crate::section_def::SectionDef;

/// Longest license that is kept, without the NUL.
const MAX_LICENSE: usize = 63;

impl Object {
    pub(super) fn collect_sections(&mut self, elf: &Elf<'_>) -> Result<Roles, Error> {
        let mut roles = Roles::default();
        for section in elf.sections.iter().skip(1) {
            if is_ignored(section) {
                continue;
            }
            match section.name {
                "license" => self.license = license(section)?,
                "version" => {
                    if section.data.len() != 4 {
                        return Err(Error::VersionSection { size: section.size });
                    }
                }
                "maps" => roles.legacy_maps = Some(section.index),
                ".maps" => roles.maps = Some(section.index),
                ".BTF" | ".BTF.ext" => {
                    if section.kind != raw::SHT_PROGBITS {
                        return Err(Error::SectionType {
                            section: section.name.to_owned(),
                            found: section.kind,
                        });
                    }
                    if section.name == ".BTF" {
                        roles.btf = Some(section.index);
                    } else {
                        roles.btf_ext = Some(section.index);
                    }
                }
                _ => self.classify(elf, section, &mut roles)?,
            }
        }
        Ok(roles)
    }

    /// Finds the role of a section without a fixed name.
    fn classify(
        &mut self,
        elf: &Elf<'_>,
        section: &Section<'_>,
        roles: &mut Roles,
    ) -> Result<(), Error> {
        let name = section.name;
        match section.kind {
            raw::SHT_SYMTAB => {}
            raw::SHT_PROGBITS if section.size > 0 => {
                if section.is_executable() {
                    if name == ".text" {
                        roles.text = Some(section.index);
                    }
                    self.add_programs(elf, section)?;
                } else if let Some(kind) = data_kind(name) {
                    roles.data.push((section.index, kind));
                } else if is_struct_ops(name) {
                    roles.struct_ops.push(section.index);
                } else if name == ".addr_space.1" {
                    roles.arena = Some(section.index);
                    self.arena_data = Some(Contents::new(section.data));
                } else if name == ".jumptables" {
                    roles.jump_tables = Some(section.index);
                    self.jump_tables = Some(Contents::new(section.data));
                } else {
                    self.notes
                        .push(format!("section `{name}` holds data that nothing uses"));
                }
            }
            raw::SHT_REL => {
                if section.entry_size != 16 || section.info as usize >= elf.sections.len() {
                    return Err(Error::RelocationSection {
                        section: name.to_owned(),
                        entry_size: section.entry_size,
                        target: section.info,
                    });
                }
                let target = &elf.sections[section.info as usize];
                let wanted = target.is_executable()
                    || name == ".rel.maps"
                    || name.strip_prefix(".rel").is_some_and(is_struct_ops);
                if wanted {
                    roles.relocations.push(section.index);
                } else {
                    self.notes.push(format!(
                        "relocations in `{name}` for section `{}` are not used",
                        target.name
                    ));
                }
            }
            raw::SHT_NOBITS if name == ".bss" || name.starts_with(".bss.") => {
                if section.size > MAX_VALUE {
                    return Err(Error::TooManyZeroes {
                        section: name.to_owned(),
                        size: section.size,
                        limit: MAX_VALUE,
                    });
                }
                // An empty one makes no map.
                if section.size > 0 {
                    roles.data.push((section.index, DataKind::Bss));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn add_programs(&mut self, elf: &Elf<'_>, section: &Section<'_>) -> Result<(), Error> {
        for symbol in &elf.symbols {
            if u32::from(symbol.section) != section.index.0 || symbol.kind != raw::STT_FUNC {
                continue;
            }
            let place = |what: &'static str| Error::Program {
                section: section.name.to_owned(),
                symbol: symbol.name.to_owned(),
                offset: symbol.value,
                size: symbol.size,
                what,
            };
            let bytes = usize::try_from(symbol.value)
                .ok()
                .zip(usize::try_from(symbol.size).ok())
                .and_then(|(start, size)| section.data.get(start..start.checked_add(size)?))
                .ok_or_else(|| place("reaches beyond its section"))?;
            if bytes.is_empty() {
                return Err(place("has no instructions"));
            }
            if bytes.len() % BPF_INSN_SZ != 0 || symbol.value % BPF_INSN_SZ as u64 != 0 {
                return Err(place("is not made of whole instructions of 8 bytes"));
            }
            let (section_name, autoload) = match section.name.strip_prefix('?') {
                Some(rest) => (rest, false),
                None => (section.name, true),
            };
            let global = symbol.bind != raw::STB_LOCAL;
            self.programs.push(Program {
                name: symbol.name.to_owned(),
                section_name: section_name.to_owned(),
                section: section.index,
                section_insn: symbol.value / BPF_INSN_SZ as u64,
                insns: Insn::decode_all(bytes, self.endian),
                relocs: Vec::new(),
                autoload,
                subprogram: false,
                global,
                hidden: global && symbol.is_hidden(),
                def: SectionDef::find(section_name),
            });
        }
        Ok(())
    }
}

fn is_struct_ops(name: &str) -> bool {
    let name = name.strip_prefix('?').unwrap_or(name);
    name == ".struct_ops" || name == ".struct_ops.link"
}

fn data_kind(name: &str) -> Option<DataKind> {
    [
        (".data", DataKind::Data),
        (".rodata", DataKind::Rodata),
        (".percpu", DataKind::Percpu),
    ]
    .into_iter()
    .find(|(prefix, _)| {
        name.strip_prefix(prefix)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    })
    .map(|(_, kind)| kind)
}

/// Sections that are of no use here: strings, debug information, relocations of BTF.
fn is_ignored(section: &Section<'_>) -> bool {
    let name = section.name;
    section.kind == raw::SHT_STRTAB
        || section.kind == SHT_LLVM_ADDRSIG
        || (section.kind == raw::SHT_PROGBITS && section.size == 0 && name == ".text")
        || name.starts_with(".debug_")
        || name
            .strip_prefix(".rel")
            .is_some_and(|of| of.starts_with(".debug_") || of == ".BTF" || of == ".BTF.ext")
}

fn license(section: &Section<'_>) -> Result<String, Error> {
    if section.data.is_empty() {
        return Err(Error::LicenseSection);
    }
    let end = section
        .data
        .iter()
        .position(|&b| b == 0)
        .unwrap_or(section.data.len())
        .min(MAX_LICENSE);
    String::from_utf8(section.data[..end].to_vec()).map_err(|_| Error::LicenseSection)
}
