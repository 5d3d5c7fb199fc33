//! struct_ops maps: variables of the sections `.struct_ops` and `.struct_ops.link`, and the
//! relocations that fill their members with programs.
//!
//! Source: `init_struct_ops_maps`, `bpf_object__collect_st_ops_relos` and
//! `bpf_object_adjust_struct_ops_autoload` of libbpf 1.8.

use std::collections::BTreeMap;

use object::elf as raw;

use super::relocations::{symbol_name, symbol_of};
use super::{Object, Roles};
use crate::Error;
use crate::btf::{Btf, Kind, Type};
use crate::contents::Contents;
use crate::elf::{Elf, Rel, Section, SectionIdx, Symbol};
use crate::index::ProgramIdx;
use crate::insn::BPF_INSN_SZ;
use crate::map::{Map, MapDef, StructOps};
use crate::uapi;

/// Bytes of a function pointer.
const POINTER: u64 = 8;
/// Most members of all struct_ops maps together: every map is looked through member by member, and
/// many maps can share one large struct.
const MAX_MEMBERS: usize = 1 << 20;
/// Bits of a byte, which offsets of members are counted in.
const BITS: u64 = 8;

impl Object {
    pub(super) fn read_struct_ops(&mut self, elf: &Elf<'_>, roles: &Roles) -> Result<(), Error> {
        let mut members_left = MAX_MEMBERS;
        for section in roles.struct_ops.iter().filter_map(|i| elf.section(*i)) {
            self.read_struct_ops_section(section, &mut members_left)?;
        }
        Ok(())
    }

    fn read_struct_ops_section(
        &mut self,
        section: &Section<'_>,
        members_left: &mut usize,
    ) -> Result<(), Error> {
        let btf = self.btf.as_ref().ok_or(Error::NoBtf)?;
        let datasec = btf
            .find_kind(section.name, Kind::Datasec)
            .ok_or_else(|| Error::Datasec {
                section: section.name.to_owned(),
                variable: String::new(),
                what: "is missing, which describes its struct_ops maps",
            })?;
        let plain_name = section.name.strip_prefix('?').unwrap_or(section.name);
        let mut end_before = 0;
        for var in datasec.vars() {
            let variable = btf.ty(var.type_id);
            let name = variable.name();
            let fault = |what| Error::StructOps {
                section: section.name.to_owned(),
                map: name.to_owned(),
                what,
            };
            if variable.kind() != Kind::Var || name.is_empty() {
                return Err(fault("is not a variable with a name"));
            }
            let t = btf.skip_mods_and_typedefs(variable.type_ref());
            if t.kind() != Kind::Struct || t.name().is_empty() {
                return Err(fault("is not of a struct type with a name"));
            }
            *members_left = members_left
                .checked_sub(t.members().len())
                .ok_or_else(|| fault("has too many members"))?;
            if !is_in_order(btf, t) {
                return Err(fault("is of a struct whose members overlap"));
            }
            let start = var.offset as usize;
            if start < end_before {
                return Err(fault("overlaps the one before it"));
            }
            end_before = start.saturating_add(t.size() as usize);
            let bytes = section
                .data
                .get(start..start.saturating_add(t.size() as usize))
                .ok_or_else(|| fault("reaches beyond its section"))?;
            let def = MapDef {
                map_type: uapi::map::STRUCT_OPS,
                key_size: 4,
                value_size: t.size(),
                max_entries: 1,
                ..MapDef::default()
            };
            let struct_ops = StructOps {
                section_name: section.name.to_owned(),
                type_id: t.id,
                type_name: without_flavour(t.name()).to_owned(),
                contents: Contents::new(bytes),
                programs: Vec::new(),
                link: plain_name == ".struct_ops.link",
                autocreate: plain_name == section.name,
            };
            self.maps.push(Map {
                section_offset: u64::from(var.offset),
                declared_size: t.size(),
                declaration: variable.type_ref(),
                struct_ops: Some(struct_ops),
                ..Map::new(name, section.index, def)
            });
        }
        Ok(())
    }

    /// Puts programs into the members that relocations of a section name.
    pub(super) fn struct_ops_relocations(
        &mut self,
        elf: &Elf<'_>,
        section: &Section<'_>,
        relocations: &[Rel],
        target: SectionIdx,
    ) -> Result<(), Error> {
        let name = elf.section(target).map_or("", |s| s.name);
        // Contents of the maps that are changed, by place of the map.
        let mut changed: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
        for rel in relocations {
            let symbol = symbol_of(elf, section, *rel)?;
            let fault = |what| Error::StructOpsRelocation {
                section: name.to_owned(),
                offset: rel.offset,
                symbol: symbol_name(elf, symbol).to_owned(),
                what,
            };
            let map = self
                .maps
                .iter()
                .position(|map| {
                    map.section == target
                        && map.struct_ops.is_some()
                        && map.section_offset <= rel.offset
                        && rel.offset - map.section_offset < u64::from(map.def.value_size)
                })
                .ok_or_else(|| fault("stands in no struct_ops map"))?;
            let program = self
                .pointed_program(elf, symbol, target, rel.offset)
                .ok_or_else(|| fault("is not a program of this object"))?;
            let btf = self.btf.as_ref().ok_or(Error::NoBtf)?;
            let Map {
                section_offset,
                struct_ops: Some(struct_ops),
                ..
            } = &mut self.maps[map]
            else {
                continue;
            };
            let at = rel.offset - *section_offset;
            let member = member_at(btf.ty(struct_ops.type_id), at)
                .ok_or_else(|| fault("fills no member of the struct"))?;
            // What the compiler left there is the addend of the relocation, not a value.
            let bytes = changed
                .entry(map)
                .or_insert_with(|| struct_ops.contents.to_vec());
            let place = usize::try_from(at).unwrap_or(usize::MAX);
            for byte in bytes.iter_mut().skip(place).take(POINTER as usize) {
                *byte = 0;
            }
            let programs = &mut struct_ops.programs;
            match programs.binary_search_by_key(&member, |(known, _)| *known) {
                Ok(known) => programs[known].1 = program,
                Err(place) => programs.insert(place, (member, program)),
            }
        }
        for (map, bytes) in changed {
            if let Some(struct_ops) = &mut self.maps[map].struct_ops {
                struct_ops.contents = Contents::new(&bytes);
            }
        }
        Ok(())
    }

    /// Loads a program that maps use if one of the maps is created by default, whatever the
    /// program's section says. One that no map uses goes by its section.
    pub(super) fn adjust_struct_ops_autoload(&mut self) {
        let mut used: BTreeMap<ProgramIdx, bool> = BTreeMap::new();
        for map in self.maps.iter().filter_map(|map| map.struct_ops.as_ref()) {
            for (_, program) in &map.programs {
                *used.entry(*program).or_default() |= map.autocreate;
            }
        }
        for (index, autoload) in used {
            let program = &mut self.programs[index.0];
            if program.is_struct_ops() {
                program.autoload = autoload;
            }
        }
    }

    /// The program that a pointer in a data section points to. The pointer holds what has to be
    /// added to a symbol of a whole section, as compilers write it for static functions.
    pub(super) fn pointed_program(
        &self,
        elf: &Elf<'_>,
        symbol: &Symbol<'_>,
        section: SectionIdx,
        offset: u64,
    ) -> Option<ProgramIdx> {
        let mut value = symbol.value;
        if symbol.kind == raw::STT_SECTION {
            let start = usize::try_from(offset).ok()?;
            let end = start.checked_add(POINTER as usize)?;
            let pointer = elf.section(section)?.data.get(start..end)?;
            value = value.checked_add(self.endian.u64(pointer.try_into().ok()?))?;
        }
        if !value.is_multiple_of(BPF_INSN_SZ as u64) {
            return None;
        }
        let insn = value / BPF_INSN_SZ as u64;
        let found = self.program_at(SectionIdx(u32::from(symbol.section)), insn)?;
        (self.programs[found.0].section_insn == insn).then_some(found)
    }
}

/// Whether each member of a struct begins where the one before it has ended, or behind that.
fn is_in_order(btf: &Btf, t: Type<'_>) -> bool {
    let mut end_before = 0;
    t.members().all(|member| {
        let start = u64::from(member.bit_offset);
        let bits = match member.bit_size {
            0 => u64::from(btf.resolve_size(member.type_id).unwrap_or(0)) * BITS,
            bits => u64::from(bits),
        };
        let in_order = start >= end_before;
        end_before = start + bits;
        in_order
    })
}

/// The place of the member that begins at an offset, if it is one for a pointer.
fn member_at(t: Type<'_>, offset: u64) -> Option<u32> {
    let bits = offset.checked_mul(BITS)?;
    let at = |place: usize| t.members().nth(place);
    // They are in order: how many begin at the offset or before it?
    let (mut low, mut high) = (0, t.members().len());
    while low < high {
        let middle = low + (high - low) / 2;
        if u64::from(at(middle)?.bit_offset) <= bits {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    let place = low.checked_sub(1)?;
    let member = at(place)?;
    let begins = u64::from(member.bit_offset) == bits && member.bit_size == 0;
    u32::try_from(place).ok().filter(|_| begins)
}

/// The name of a struct without its flavour: what follows the last `___` is for telling apart
/// declarations of the same struct. Source: `bpf_core_essential_name_len` of libbpf 1.8.
fn without_flavour(name: &str) -> &str {
    let bytes = name.as_bytes();
    let separator = (0..bytes.len().saturating_sub(4))
        .rev()
        .find(|&at| bytes[at] != b'_' && &bytes[at + 1..at + 4] == b"___" && bytes[at + 4] != b'_');
    separator.map_or(name, |at| &name[..=at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flavours_are_cut_off() {
        for (name, expect) in [
            ("tcp_congestion_ops", "tcp_congestion_ops"),
            ("tcp_congestion_ops___local", "tcp_congestion_ops"),
            ("a___b___c", "a___b"),
            ("a____b", "a____b"),
            ("___b", "___b"),
            ("a___", "a___"),
            ("é___b", "é"),
        ] {
            assert_eq!(without_flavour(name), expect);
        }
    }
}
