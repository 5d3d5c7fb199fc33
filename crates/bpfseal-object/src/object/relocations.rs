//! Relocations: which map, function, variable, extern or type an instruction or a map's slot is
//! about.
//!
//! The last pass. Source: `bpf_object__collect_relos`, `bpf_program__record_reloc` and
//! `bpf_object__collect_map_relos` of libbpf 1.8.

use std::collections::HashMap;

use object::elf as raw;

use super::{Object, Roles, map_idx};
use crate::Error;
use crate::elf::{Elf, Rel, SHN_LORESERVE, Section, SectionIdx, Symbol};
use crate::externs::ExternIdx;
use crate::index::ProgramIdx;
use crate::insn::{BPF_INSN_SZ, Insn};
use crate::map::{Map, Slot};
use crate::program::{CoreRelo, Reloc, RelocKind};
use crate::uapi;

impl Object {
    pub(super) fn collect_relocations(
        &mut self,
        elf: &Elf<'_>,
        roles: &Roles,
    ) -> Result<(), Error> {
        for section in roles.relocations.iter().filter_map(|&i| elf.section(i)) {
            let target = SectionIdx(section.info);
            let relocations = elf.relocations(section);
            if roles.struct_ops.contains(&target) {
                self.struct_ops_relocations(elf, section, &relocations, target)?;
            } else if roles.maps == Some(target) {
                self.map_relocations(elf, section, &relocations, target)?;
            } else {
                self.code_relocations(elf, section, &relocations, target, roles)?;
            }
        }
        Ok(())
    }

    fn map_relocations(
        &mut self,
        elf: &Elf<'_>,
        section: &Section<'_>,
        relocations: &[Rel],
        maps_section: SectionIdx,
    ) -> Result<(), Error> {
        for rel in relocations {
            let symbol = symbol_of(elf, section, *rel)?;
            let place = |what: &'static str| Error::MapRelocation {
                offset: rel.offset,
                symbol: symbol.name.to_owned(),
                what,
            };
            let index = self
                .maps
                .iter()
                .position(|m| {
                    m.section == maps_section
                        && m.data.is_none()
                        && m.section_offset <= rel.offset
                        && rel.offset.saturating_add(8)
                            <= m.section_offset + u64::from(m.declared_size)
                })
                .ok_or_else(|| place("stands in no map"))?;
            let map = &self.maps[index];
            let slot = if map.def.map_type == uapi::map::PROG_ARRAY {
                self.pointed_program(elf, symbol, maps_section, rel.offset)
                    .filter(|program| !self.programs[program.0].subprogram)
                    .map(Slot::Program)
                    .ok_or_else(|| place("is not a program of this object"))?
            } else {
                self.inner_map(map, symbol, maps_section, &place)?
            };
            let map = &mut self.maps[index];
            let btf = self.btf.as_ref().ok_or(Error::NoBtf)?;
            let definition = btf.skip_mods_and_typedefs(map.declaration);
            let values = definition
                .members()
                .last()
                .filter(|m| btf.str(m.name_off) == Some("values"))
                .ok_or_else(|| place("fills a map without a `values` attribute"))?;
            let member_offset = u64::from(values.bit_offset / 8);
            let number = (rel.offset - map.section_offset)
                .checked_sub(member_offset)
                .filter(|bytes| bytes % 8 == 0)
                .and_then(|bytes| u32::try_from(bytes / 8).ok())
                .ok_or_else(|| place("fills no whole slot of `values`"))?;
            match map.slots.binary_search_by_key(&number, |(n, _)| *n) {
                Ok(at) => map.slots[at].1 = slot,
                Err(at) => map.slots.insert(at, (number, slot)),
            }
        }
        Ok(())
    }

    fn inner_map(
        &self,
        map: &Map,
        symbol: &Symbol<'_>,
        maps_section: SectionIdx,
        place: &dyn Fn(&'static str) -> Error,
    ) -> Result<Slot, Error> {
        if !map.is_map_of_maps() {
            return Err(place("fills a map that holds neither maps nor programs"));
        }
        if u32::from(symbol.section) != maps_section.0 {
            return Err(place("is not a map that is declared with BTF"));
        }
        if map.def.map_type == uapi::map::HASH_OF_MAPS && map.def.key_size != 4 {
            return Err(place("fills a hash of maps whose key is not 4 bytes"));
        }
        self.map_by_name(symbol.name)
            .map(Slot::Map)
            .ok_or_else(|| place("is not a map of this object"))
    }

    fn code_relocations(
        &mut self,
        elf: &Elf<'_>,
        section: &Section<'_>,
        relocations: &[Rel],
        target: SectionIdx,
        roles: &Roles,
    ) -> Result<(), Error> {
        let code_size = elf.section(target).map_or(0, |s| s.size);
        let extern_of: HashMap<usize, ExternIdx> = self
            .externs
            .iter()
            .enumerate()
            .filter_map(|(i, e)| Some((e.symbol, ExternIdx(u32::try_from(i).ok()?))))
            .collect();
        for rel in relocations {
            let symbol = symbol_of(elf, section, *rel)?;
            if rel.offset % BPF_INSN_SZ as u64 != 0 || rel.offset >= code_size {
                return Err(Error::RelocationOffset {
                    section: section.name.to_owned(),
                    offset: rel.offset,
                    size: code_size,
                });
            }
            let insn = rel.offset / BPF_INSN_SZ as u64;
            // Code without a program is a weak function that the linker replaced.
            let Some(ProgramIdx(index)) = self.program_at(target, insn) else {
                continue;
            };
            let program = &self.programs[index];
            let local = insn - program.section_insn;
            let place = RelocationPlace {
                program: &program.name,
                insn: local,
                symbol: symbol_name(elf, symbol),
            };
            let code = program.insns[usize::try_from(local).unwrap_or(0)];
            let kind = if symbol.is_extern() {
                let ext = *extern_of
                    .get(&(rel.symbol as usize))
                    .ok_or_else(|| place.fault("refers to an extern that was not found"))?;
                place.must_be_call_or_load(code)?;
                if code.is_call() {
                    RelocKind::ExternCall(ext)
                } else {
                    RelocKind::ExternLd64(ext)
                }
            } else {
                self.code_relocation(code, symbol, &place, elf, roles)?
            };
            if code.is_ld_imm64() && local + 1 >= program.insns.len() as u64 {
                return Err(place.fault("is in a 64-bit load that the program's end cuts off"));
            }
            let reloc = Reloc {
                insn: u32::try_from(local).unwrap_or(u32::MAX),
                kind,
            };
            self.programs[index].relocs.push(reloc);
        }
        Ok(())
    }

    fn code_relocation(
        &self,
        code: Insn,
        symbol: &Symbol<'_>,
        place: &RelocationPlace<'_>,
        elf: &Elf<'_>,
        roles: &Roles,
    ) -> Result<RelocKind, Error> {
        place.must_be_call_or_load(code)?;
        let section = SectionIdx(u32::from(symbol.section));
        // Offsets in a section are kept in 32 bits, as the reference does.
        let offset = symbol.value as u32;
        if code.is_call() {
            if code.src != crate::insn::BPF_PSEUDO_CALL {
                return Err(place.fault("is in a call that is not a call of a function"));
            }
            if section.0 == 0 || roles.text != Some(section) {
                return Err(place.fault("calls a function outside of `.text`"));
            }
            if !symbol.value.is_multiple_of(BPF_INSN_SZ as u64) {
                return Err(place.fault("calls into the middle of an instruction"));
            }
            return Ok(RelocKind::Call(offset));
        }
        if section.0 == 0 || symbol.section >= SHN_LORESERVE {
            return Err(place.fault(
                "refers to a variable without a place; an uninitialised global needs `= 0`",
            ));
        }
        if is_subprogram_symbol(symbol, roles.text) {
            if !symbol.value.is_multiple_of(BPF_INSN_SZ as u64)
                || code.imm % BPF_INSN_SZ as i32 != 0
            {
                return Err(place.fault("takes the address of the middle of an instruction"));
            }
            return Ok(RelocKind::SubprogAddr(offset));
        }
        if roles.arena == Some(section) {
            let arena = self
                .maps
                .iter()
                .position(|m| m.def.map_type == uapi::map::ARENA && m.data.is_none())
                .and_then(map_idx)
                .ok_or_else(|| place.fault("refers to arena data, but there is no arena map"))?;
            return Ok(RelocKind::Data(arena, offset));
        }
        if roles.jump_tables == Some(section) {
            return Ok(RelocKind::InsnArray(offset, symbol.size));
        }
        if let Some(kind) = roles.data_kind(section) {
            return self
                .maps
                .iter()
                .position(|m| m.section == section && matches!(&m.data, Some(d) if d.kind == kind))
                .and_then(map_idx)
                .map(|map| RelocKind::Data(map, offset))
                .ok_or_else(|| place.fault("refers to data without a map"));
        }
        if roles.maps == Some(section) || roles.legacy_maps == Some(section) {
            return self
                .maps
                .iter()
                .position(|m| {
                    m.data.is_none() && m.section == section && m.section_offset == symbol.value
                })
                .and_then(map_idx)
                .map(RelocKind::Map)
                .ok_or_else(|| place.fault("refers to no map of its section"));
        }
        Err(Error::RelocationTarget {
            program: place.program.to_owned(),
            insn: place.insn,
            symbol: place.symbol.to_owned(),
            section: elf.section(section).map_or("", |s| s.name).to_owned(),
        })
    }

    pub(super) fn collect_core_relocations(&mut self) -> Result<(), Error> {
        let (Some(ext), Some(btf)) = (self.btf_ext.take(), &self.btf) else {
            return Ok(());
        };
        let mut found: Vec<(usize, Reloc)> = Vec::new();
        for section in &ext.core_relo.sections {
            let name = btf.str(section.name_off).unwrap_or("");
            if name.is_empty() {
                return Err(Error::CoreRelocation {
                    section: String::new(),
                    offset: 0,
                    what: "is for a section without a name",
                });
            }
            let Some(elf_section) = section.section else {
                continue;
            };
            for record in ext.core_relo.records(section) {
                let fail = |what| Error::CoreRelocation {
                    section: name.to_owned(),
                    offset: record[0],
                    what,
                };
                if !(record[0] as usize).is_multiple_of(BPF_INSN_SZ) {
                    return Err(fail("is not at the start of an instruction"));
                }
                let insn = u64::from(record[0]) / BPF_INSN_SZ as u64;
                // As for other relocations: code of a weak function that was replaced.
                let Some(ProgramIdx(index)) = self.program_at(elf_section, insn) else {
                    continue;
                };
                let program = &self.programs[index];
                if !program.autoload {
                    continue;
                }
                let local = insn - program.section_insn;
                let code = program.insns[usize::try_from(local).unwrap_or(0)];
                if code.is_ld_imm64() && local + 1 >= program.insns.len() as u64 {
                    return Err(fail("is in a 64-bit load that the program's end cuts off"));
                }
                found.push((
                    index,
                    Reloc {
                        insn: u32::try_from(local).unwrap_or(u32::MAX),
                        kind: RelocKind::Core(CoreRelo {
                            type_id: record[1],
                            access_str_off: record[2],
                            kind: record[3],
                        }),
                    },
                ));
            }
        }
        for (index, reloc) in found {
            self.programs[index].relocs.push(reloc);
        }
        self.btf_ext = Some(ext);
        Ok(())
    }
}

/// Where a relocation of code stands, for messages.
struct RelocationPlace<'a> {
    program: &'a str,
    insn: u64,
    symbol: &'a str,
}

impl RelocationPlace<'_> {
    fn fault(&self, what: &'static str) -> Error {
        Error::Relocation {
            program: self.program.to_owned(),
            insn: self.insn,
            symbol: self.symbol.to_owned(),
            what,
        }
    }

    fn must_be_call_or_load(&self, code: Insn) -> Result<(), Error> {
        if code.is_call() || code.is_ld_imm64() {
            Ok(())
        } else {
            Err(self.fault("is in an instruction that is neither a call nor a 64-bit load"))
        }
    }
}

pub(super) fn symbol_of<'e, 'a>(
    elf: &'e Elf<'a>,
    section: &Section<'_>,
    rel: Rel,
) -> Result<&'e Symbol<'a>, Error> {
    let fault = |what| Error::RelocationSymbol {
        section: section.name.to_owned(),
        offset: rel.offset,
        symbol: rel.symbol,
        what,
    };
    let symbol = elf
        .symbols
        .get(rel.symbol as usize)
        .ok_or_else(|| fault("is beyond the symbol table"))?;
    if usize::from(symbol.section) >= elf.sections.len() {
        return Err(match symbol.section {
            raw::SHN_COMMON => Error::CommonSymbol {
                symbol: symbol.name.to_owned(),
            },
            _ => fault("has no section"),
        });
    }
    Ok(symbol)
}

/// A static function or variable is referred to through its section.
pub(super) fn symbol_name<'a>(elf: &Elf<'a>, symbol: &Symbol<'a>) -> &'a str {
    if symbol.kind == raw::STT_SECTION && symbol.unnamed {
        elf.sections
            .get(usize::from(symbol.section))
            .map_or("", |s| s.name)
    } else {
        symbol.name
    }
}

fn is_subprogram_symbol(symbol: &Symbol<'_>, text: Option<SectionIdx>) -> bool {
    text.is_some_and(|t| u32::from(symbol.section) == t.0)
        && ((symbol.bind == raw::STB_LOCAL && symbol.kind == raw::STT_SECTION)
            || ((symbol.bind == raw::STB_GLOBAL || symbol.bind == raw::STB_WEAK)
                && symbol.kind == raw::STT_FUNC))
}
