//! Reading an object: sections are sorted by what they hold, BTF is fixed up, maps, programs,
//! externs and relocations are collected, in libbpf's order.
//!
//! This is where the parts of the crate meet. Source of the order: `bpf_object_open` and
//! `bpf_object__elf_collect` of libbpf 1.8.

use std::collections::HashMap;

use object::elf as raw;

use crate::btf::ext::BtfExt;
use crate::btf::{Btf, FuncLinkage, Kind, TypeId, VarLinkage};
use crate::elf::{Elf, Rel, SHN_LORESERVE, SHT_LLVM_ADDRSIG, Section, SectionIdx, Symbol};
use crate::externs::{self, Extern, ExternIdx};
use crate::insn::{BPF_INSN_SZ, Insn};
use crate::map::{self, DataKind, GlobalData, Map, MapDef, MapIdx, Slot};
use crate::map_error::MapFault;
use crate::program::{CoreRelo, Program, ProgramIdx, Reloc, RelocKind};
use crate::section_def::SectionDef;
use crate::uapi;
use crate::{Endian, Error};

/// Longest license that is kept, without the NUL.
const MAX_LICENSE: usize = 63;
/// Largest section of zeroes that is read. The map that it makes would be copied whole into the
/// loader's metadata, and a header of 64 bytes must not ask for gigabytes.
const MAX_ZEROES: u64 = 64 << 20;

/// A compiled BPF object.
#[derive(Debug, Clone)]
pub struct Object {
    /// The object's name: it goes into the names of its global data maps.
    pub name: String,
    /// Byte order.
    pub endian: Endian,
    /// License as declared; empty when there is none.
    pub license: String,
    /// Type information after libbpf's fix-ups.
    pub btf: Option<Btf>,
    /// Function, line and CO-RE records.
    pub btf_ext: Option<BtfExt>,
    /// Maps in libbpf's order: declared ones, global data, kconfig.
    pub maps: Vec<Map>,
    /// All functions, ordered by section and offset.
    pub programs: Vec<Program>,
    /// Externs in libbpf's order.
    pub externs: Vec<Extern>,
    /// Initial contents of arena variables (section `.addr_space.1`).
    pub arena_data: Option<Vec<u8>>,
    /// Names of the sections that hold struct_ops maps.
    pub struct_ops_sections: Vec<String>,
    /// What was skipped or odd, in words, for whoever reads a report.
    pub notes: Vec<String>,
    text: Option<SectionIdx>,
}

/// Sections by what they hold.
#[derive(Debug, Default)]
struct Roles {
    maps: Option<SectionIdx>,
    btf: Option<SectionIdx>,
    btf_ext: Option<SectionIdx>,
    text: Option<SectionIdx>,
    arena: Option<SectionIdx>,
    jump_tables: Option<SectionIdx>,
    /// Global data sections in file order.
    data: Vec<(SectionIdx, DataKind)>,
    struct_ops: Vec<SectionIdx>,
    /// Bytes of all sections of zeroes.
    zeroes: u64,
    relocations: Vec<SectionIdx>,
}

impl Roles {
    fn data_kind(&self, section: SectionIdx) -> Option<DataKind> {
        self.data
            .iter()
            .find(|(idx, _)| *idx == section)
            .map(|(_, kind)| *kind)
    }
}

impl Object {
    /// Reads an object from the bytes of its file.
    ///
    /// `name` is the object's name, as [`crate::object_name`] makes it from a file's name.
    ///
    /// # Errors
    /// When the file is not a BPF object that libbpf would open; the error names the place.
    pub fn parse(bytes: &[u8], name: &str) -> Result<Self, Error> {
        let elf = Elf::parse(bytes)?;
        let mut object = Self {
            name: name.to_owned(),
            endian: elf.endian,
            license: String::new(),
            btf: None,
            btf_ext: None,
            maps: Vec::new(),
            programs: Vec::new(),
            externs: Vec::new(),
            arena_data: None,
            struct_ops_sections: Vec::new(),
            notes: Vec::new(),
            text: None,
        };
        let roles = object.collect_sections(&elf)?;
        object.text = roles.text;
        object.programs.reverse();
        // The reference's sort puts the later of two functions at one place first.
        object.programs.sort_by_key(|p| (p.section, p.section_insn));
        object.read_btf(&elf, &roles)?;
        object.externs = externs::collect(&elf, object.btf.as_mut())?;
        if let Some(btf) = &mut object.btf {
            fix_up_datasecs(btf, &elf)?;
        }
        object.read_maps(&elf, &roles)?;
        object.collect_relocations(&elf, &roles)?;
        object.collect_core_relocations()?;
        object.mark_hidden_subprograms();
        for program in &mut object.programs {
            program.relocs.sort_by_key(Reloc::sort_key);
        }
        Ok(object)
    }

    /// Entry points: all programs but subprograms, loaded or not, in order.
    pub fn entry_programs(&self) -> impl Iterator<Item = (ProgramIdx, &Program)> {
        self.programs
            .iter()
            .enumerate()
            .filter(|(_, p)| !p.subprogram)
            .map(|(i, p)| (ProgramIdx(i), p))
    }

    /// The map of kconfig values.
    #[must_use]
    pub fn kconfig_map(&self) -> Option<MapIdx> {
        self.maps
            .iter()
            .position(|m| matches!(&m.data, Some(d) if d.kind == DataKind::Kconfig))
            .and_then(map_idx)
    }

    /// The program that holds an instruction of a section.
    #[must_use]
    pub fn program_at(&self, section: SectionIdx, insn: u64) -> Option<ProgramIdx> {
        let after = self
            .programs
            .partition_point(|p| (p.section, p.section_insn) <= (section, insn));
        let index = after.checked_sub(1)?;
        self.programs[index]
            .contains(section, insn)
            .then_some(ProgramIdx(index))
    }

    /// The subprogram that holds an instruction of `.text`.
    #[must_use]
    pub fn subprogram_at(&self, insn: u64) -> Option<ProgramIdx> {
        self.program_at(self.text?, insn)
    }

    fn collect_sections(&mut self, elf: &Elf<'_>) -> Result<Roles, Error> {
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
                "maps" => return Err(Error::LegacyMaps),
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
                    self.add_programs(elf, section, roles.text == Some(section.index))?;
                } else if let Some(kind) = data_kind(name) {
                    roles.data.push((section.index, kind));
                } else if is_struct_ops(name) {
                    roles.struct_ops.push(section.index);
                    self.struct_ops_sections.push(name.to_owned());
                } else if name == ".addr_space.1" {
                    roles.arena = Some(section.index);
                    self.arena_data = Some(section.data.to_vec());
                } else if name == ".jumptables" {
                    roles.jump_tables = Some(section.index);
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
                // An empty one makes no map.
                roles.zeroes = roles.zeroes.saturating_add(section.size);
                if roles.zeroes > MAX_ZEROES {
                    return Err(Error::TooManyZeroes {
                        section: name.to_owned(),
                        size: section.size,
                        limit: MAX_ZEROES,
                    });
                }
                if section.size > 0 {
                    roles.data.push((section.index, DataKind::Bss));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn add_programs(
        &mut self,
        elf: &Elf<'_>,
        section: &Section<'_>,
        subprograms: bool,
    ) -> Result<(), Error> {
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
            if !subprograms && symbol.bind == raw::STB_LOCAL {
                return Err(Error::StaticProgram {
                    section: section.name.to_owned(),
                    symbol: symbol.name.to_owned(),
                });
            }
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

    fn read_btf(&mut self, elf: &Elf<'_>, roles: &Roles) -> Result<(), Error> {
        for program in &mut self.programs {
            program.subprogram = roles.text == Some(program.section);
        }
        let needed = roles.maps.is_some() || !roles.struct_ops.is_empty();
        let bytes = |idx: Option<SectionIdx>| idx.and_then(|i| elf.section(i)).map(|s| s.data);
        let Some(btf) = bytes(roles.btf) else {
            return if needed { Err(Error::NoBtf) } else { Ok(()) };
        };
        match Btf::parse(btf, self.endian) {
            Ok(btf) => self.btf = Some(btf),
            Err(error) if needed => return Err(error),
            Err(error) => {
                self.notes
                    .push(format!("`.BTF` is left out, it can not be read: {error}"));
                return Ok(());
            }
        }
        let (Some(ext), Some(btf)) = (bytes(roles.btf_ext), &self.btf) else {
            return Ok(());
        };
        match BtfExt::parse(ext, self.endian) {
            Ok(mut ext) => {
                ext.resolve_sections(|name_off| {
                    let name = btf.str(name_off).filter(|n| !n.is_empty())?;
                    elf.section_by_name(name).map(|s| s.index)
                });
                self.btf_ext = Some(ext);
            }
            Err(error) if needed => return Err(error),
            Err(error) => self.notes.push(format!(
                "`.BTF.ext` is left out, it can not be read: {error}"
            )),
        }
        Ok(())
    }

    fn read_maps(&mut self, elf: &Elf<'_>, roles: &Roles) -> Result<(), Error> {
        if let Some(section) = roles.maps.and_then(|i| elf.section(i)) {
            self.read_declared_maps(section)?;
        }
        for &(index, kind) in &roles.data {
            if let Some(section) = elf.section(index) {
                let bytes = match kind {
                    // Bounded where the section was classified.
                    DataKind::Bss => vec![0; usize::try_from(section.size).unwrap_or(0)],
                    _ => section.data.to_vec(),
                };
                self.add_data_map(section.name, index, kind, bytes);
            }
        }
        let kconfig_end = self
            .externs
            .iter()
            .filter_map(|e| match e.kind {
                externs::ExternKind::Kconfig { offset, size, .. } => Some(offset + size),
                externs::ExternKind::Ksym { .. } => None,
            })
            .next_back();
        if let Some(end) = kconfig_end {
            if u64::from(end) > MAX_ZEROES {
                return Err(Error::KconfigTooLarge);
            }
            self.add_data_map(
                ".kconfig",
                elf.symtab,
                DataKind::Kconfig,
                vec![0; end as usize],
            );
        }
        Ok(())
    }

    fn read_declared_maps(&mut self, section: &Section<'_>) -> Result<(), Error> {
        let btf = self.btf.as_ref().ok_or(Error::NoBtf)?;
        let datasec = btf
            .find_kind(".maps", Kind::Datasec)
            .ok_or(Error::NoMapsDatasec)?;
        let mut arena: Option<String> = None;
        for (index, var) in datasec.vars().enumerate() {
            let t = btf.ty(var.type_id);
            let name = t.name();
            if name.is_empty() || t.kind() != Kind::Var {
                return Err(Error::MapVariable {
                    index,
                    found: t.kind().name(),
                });
            }
            let end = u64::from(var.offset) + u64::from(var.size);
            if end > section.size {
                return Err(Error::Map {
                    map: name.to_owned(),
                    fault: MapFault::OutOfSection {
                        offset: var.offset,
                        end,
                        size: section.size,
                    },
                });
            }
            let map = map::parse_declaration(btf, t, var.size, section.index, var.offset)?;
            if map.def.map_type == uapi::map::ARENA
                && let Some(first) = arena.replace(map.name.clone())
            {
                return Err(Error::SecondArena {
                    first,
                    second: map.name,
                });
            }
            self.maps.push(map);
        }
        if self.arena_data.is_some() && arena.is_none() {
            return Err(Error::ArenaDataWithoutArena);
        }
        Ok(())
    }

    fn add_data_map(
        &mut self,
        section_name: &str,
        section: SectionIdx,
        kind: DataKind,
        bytes: Vec<u8>,
    ) {
        let datasec = self
            .btf
            .as_ref()
            .and_then(|btf| btf.find(section_name))
            .map_or(TypeId::VOID, |t| t.id);
        let mut map_flags = match kind {
            DataKind::Rodata | DataKind::Kconfig => uapi::BPF_F_RDONLY_PROG,
            _ => 0,
        };
        if kind != DataKind::Percpu && self.has_visible_variable(datasec) {
            map_flags |= uapi::BPF_F_MMAPABLE;
        }
        self.maps.push(Map {
            name: map::internal_map_name(&self.name, section_name, kind),
            section,
            section_offset: 0,
            declared_size: 0,
            declaration: TypeId::VOID,
            def: MapDef {
                map_type: if kind == DataKind::Percpu {
                    uapi::map::PERCPU_ARRAY
                } else {
                    uapi::map::ARRAY
                },
                key_size: 4,
                value_size: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
                max_entries: 1,
                map_flags,
                btf_value: datasec,
                ..MapDef::default()
            },
            inner: None,
            data: Some(GlobalData {
                kind,
                section_name: section_name.to_owned(),
                bytes,
            }),
            slots: Vec::new(),
            pin_by_name: false,
        });
    }

    /// User space maps a data section into memory only for variables that it can name.
    fn has_visible_variable(&self, datasec: TypeId) -> bool {
        let Some(btf) = &self.btf else { return false };
        btf.ty(datasec).vars().any(|v| {
            let t = btf.ty(v.type_id);
            t.kind() == Kind::Var && t.var_linkage() != VarLinkage::Static
        })
    }

    fn collect_relocations(&mut self, elf: &Elf<'_>, roles: &Roles) -> Result<(), Error> {
        for section in roles.relocations.iter().filter_map(|&i| elf.section(i)) {
            let target = SectionIdx(section.info);
            if roles.struct_ops.contains(&target) {
                continue;
            }
            let relocations = elf.relocations(section);
            if roles.maps == Some(target) {
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
            let slot = self.slot_target(&self.maps[index], symbol, maps_section, &place)?;
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

    fn slot_target(
        &self,
        map: &Map,
        symbol: &Symbol<'_>,
        maps_section: SectionIdx,
        place: &dyn Fn(&'static str) -> Error,
    ) -> Result<Slot, Error> {
        if map.is_map_of_maps() {
            if u32::from(symbol.section) != maps_section.0 {
                return Err(place("is no map that is declared with BTF"));
            }
            if map.def.map_type == uapi::map::HASH_OF_MAPS && map.def.key_size != 4 {
                return Err(place("fills a hash of maps whose key is not 4 bytes"));
            }
            return self
                .map_by_name(symbol.name)
                .map(Slot::Map)
                .ok_or_else(|| place("is no map of this object"));
        }
        if map.def.map_type == uapi::map::PROG_ARRAY {
            let (index, program) = self
                .entry_programs()
                .find(|(_, p)| p.name == symbol.name)
                .ok_or_else(|| place("is no program of this object"))?;
            if program.section.0 != u32::from(symbol.section)
                || program.section_insn * BPF_INSN_SZ as u64 != symbol.value
            {
                return Err(place("is not the start of a program"));
            }
            return Ok(Slot::Program(index.0));
        }
        Err(place("fills a map that holds neither maps nor programs"))
    }

    fn map_by_name(&self, name: &str) -> Option<MapIdx> {
        self.maps
            .iter()
            .position(|m| {
                if name.starts_with('.') {
                    matches!(&m.data, Some(d) if d.section_name == name)
                } else {
                    m.user_name() == name
                }
            })
            .and_then(map_idx)
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
        if roles.maps == Some(section) {
            return self
                .maps
                .iter()
                .position(|m| {
                    m.data.is_none() && m.section == section && m.section_offset == symbol.value
                })
                .and_then(map_idx)
                .map(RelocKind::Map)
                .ok_or_else(|| place.fault("refers to no map of `.maps`"));
        }
        Err(Error::RelocationTarget {
            program: place.program.to_owned(),
            insn: place.insn,
            symbol: place.symbol.to_owned(),
            section: elf.section(section).map_or("", |s| s.name).to_owned(),
        })
    }

    /// Hidden subprograms are static to the verifier, which then knows what their callers know.
    fn mark_hidden_subprograms(&mut self) {
        let Some(btf) = &mut self.btf else { return };
        let mut global: HashMap<&str, TypeId> = HashMap::new();
        for t in btf.types() {
            if t.kind() == Kind::Func && t.func_linkage() == FuncLinkage::Global {
                global.entry(t.name()).or_insert(t.id);
            }
        }
        let ids: Vec<TypeId> = self
            .programs
            .iter()
            .filter(|p| p.subprogram && p.hidden)
            .filter_map(|p| global.get(p.name.as_str()).copied())
            .collect();
        for id in ids {
            btf.set_func_static(id);
        }
    }

    fn collect_core_relocations(&mut self) -> Result<(), Error> {
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

fn map_idx(index: usize) -> Option<MapIdx> {
    u32::try_from(index).ok().map(MapIdx)
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

fn symbol_of<'e, 'a>(
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
        return Err(fault("has no section"));
    }
    Ok(symbol)
}

/// A static function or variable is referred to through its section.
fn symbol_name<'a>(elf: &Elf<'a>, symbol: &Symbol<'a>) -> &'a str {
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

/// Gives data sections their size and their variables the offsets that only ELF knows, and
/// marks hidden variables as static.
fn fix_up_datasecs(btf: &mut Btf, elf: &Elf<'_>) -> Result<(), Error> {
    let mut variables: HashMap<&str, &Symbol<'_>> = HashMap::new();
    for symbol in &elf.symbols {
        if symbol.kind == raw::STT_OBJECT
            && (symbol.bind == raw::STB_GLOBAL || symbol.bind == raw::STB_WEAK)
        {
            variables.entry(symbol.name).or_insert(symbol);
        }
    }
    let datasecs: Vec<TypeId> = btf
        .types()
        .filter(|t| t.kind() == Kind::Datasec)
        .map(|t| t.id)
        .collect();
    for id in datasecs {
        let name = btf.ty(id).name().to_owned();
        let fault = |what: &'static str, variable: &str| Error::Datasec {
            section: name.clone(),
            variable: variable.to_owned(),
            what,
        };
        // The sections of externs were laid out when the externs were collected.
        if name != ".kconfig" && name != ".ksyms" {
            let fix_offsets = btf.ty(id).size() == 0;
            if fix_offsets {
                let size = elf.section_by_name(&name).map_or(0, |s| s.size);
                let size = u32::try_from(size)
                    .ok()
                    .filter(|&s| s != 0)
                    .ok_or_else(|| fault("has no section of that name with contents", ""))?;
                btf.set_size(id, size);
            }
            let vars: Vec<_> = btf.ty(id).vars().collect();
            for (index, mut var) in vars.into_iter().enumerate() {
                let t = btf.ty(var.type_id);
                if t.kind() != Kind::Var {
                    return Err(fault("holds a type that is not a variable", t.name()));
                }
                if matches!(
                    t.var_linkage(),
                    VarLinkage::Static | VarLinkage::GlobalExtern
                ) {
                    continue;
                }
                let symbol = variables
                    .get(t.name())
                    .ok_or_else(|| fault("has a variable without a symbol", t.name()))?;
                if symbol.is_hidden() {
                    btf.set_var_linkage(var.type_id, VarLinkage::Static);
                }
                if fix_offsets {
                    var.offset = symbol.value as u32;
                    btf.set_var_secinfo(id, index, var);
                }
            }
        }
        btf.sort_vars(id);
    }
    Ok(())
}
