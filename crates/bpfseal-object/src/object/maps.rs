//! Maps in libbpf's order: definitions of the first years, declared ones, global data, kconfig.
//!
//! Source: `bpf_object__init_maps` of libbpf 1.8, and of 0.8 for the definitions of the first years.

use object::elf as raw;

use super::{MAX_KCONFIG, Object, Roles, map_idx};
use crate::Error;
use crate::btf::{Kind, TypeId, VarLinkage};
use crate::contents::Contents;
use crate::elf::{Elf, Section, SectionIdx};
use crate::externs;
use crate::index::MapIdx;
use crate::map::{self, DataKind, GlobalData, LegacyDef, Map, MapDef};
use crate::map_error::MapFault;
use crate::uapi;

impl Object {
    pub(super) fn read_maps(&mut self, elf: &Elf<'_>, roles: &Roles) -> Result<(), Error> {
        if let Some(section) = roles.legacy_maps.and_then(|i| elf.section(i)) {
            self.read_legacy_maps(elf, section)?;
        }
        if let Some(section) = roles.maps.and_then(|i| elf.section(i)) {
            self.read_declared_maps(section)?;
        }
        for &(index, kind) in &roles.data {
            if let Some(section) = elf.section(index) {
                let contents = match kind {
                    // Bounded where the section was classified.
                    DataKind::Bss => Contents::zeroes(usize::try_from(section.size).unwrap_or(0)),
                    _ => Contents::new(section.data),
                };
                self.add_data_map(section.name, index, kind, contents);
            }
        }
        let kconfig_end = self
            .externs
            .iter()
            .filter_map(|e| match e.kind {
                externs::ExternKind::Kconfig { offset, size, .. } => Some(offset + size),
                externs::ExternKind::Ksym { .. } | externs::ExternKind::Undefined { .. } => None,
            })
            .next_back();
        if let Some(end) = kconfig_end {
            if u64::from(end) > MAX_KCONFIG {
                return Err(Error::KconfigTooLarge);
            }
            self.add_data_map(
                ".kconfig",
                elf.symtab,
                DataKind::Kconfig,
                Contents::zeroes(end as usize),
            );
        }
        Ok(())
    }

    /// Reads `SEC("maps")`: a struct of words for each symbol, of which the first five are known.
    /// How long a definition is, the symbol says; where it does not, the next one's place.
    fn read_legacy_maps(&mut self, elf: &Elf<'_>, section: &Section<'_>) -> Result<(), Error> {
        let mut symbols: Vec<_> = elf
            .symbols
            .iter()
            .filter(|symbol| {
                u32::from(symbol.section) == section.index.0
                    && !symbol.name.is_empty()
                    && matches!(symbol.kind, raw::STT_OBJECT | raw::STT_NOTYPE)
            })
            .collect();
        symbols.sort_by_key(|symbol| symbol.value);
        symbols.dedup_by_key(|symbol| symbol.value);
        let ends = symbols.iter().skip(1).map(|next| next.value);
        let ends: Vec<u64> = ends.chain([section.data.len() as u64]).collect();
        for (symbol, end) in symbols.iter().zip(ends) {
            let size = match symbol.size {
                0 => end.saturating_sub(symbol.value),
                size => size,
            };
            let fault = |what| Error::LegacyMap {
                map: symbol.name.to_owned(),
                offset: symbol.value,
                size,
                what,
            };
            let bytes = usize::try_from(symbol.value)
                .ok()
                .zip(usize::try_from(size).ok())
                .and_then(|(start, size)| section.data.get(start..start.checked_add(size)?))
                .ok_or_else(|| fault("reach beyond the section"))?;
            if bytes.len() % 4 != 0 {
                return Err(fault("are no whole words"));
            }
            let words = self.endian.words(bytes);
            // The earliest loaders knew no flags.
            let [map_type, key_size, value_size, max_entries, ref rest @ ..] = words[..] else {
                return Err(fault("are too few for type, sizes and entries"));
            };
            let def = MapDef {
                map_type: uapi::MapType(map_type),
                key_size,
                value_size,
                max_entries,
                map_flags: rest.first().copied().unwrap_or(0),
                ..MapDef::default()
            };
            self.maps.push(Map {
                section_offset: symbol.value,
                declared_size: u32::try_from(size).unwrap_or(u32::MAX),
                legacy: Some(LegacyDef {
                    extra: rest.get(1..).unwrap_or_default().to_vec(),
                }),
                ..Map::new(symbol.name, section.index, def)
            });
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
            if t.var_linkage() == VarLinkage::GlobalExtern {
                // Of another object; it is among the externs if anything refers to it.
                continue;
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
        contents: Contents,
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
        let name = map::internal_map_name(&self.name, section_name, kind);
        let def = MapDef {
            map_type: if kind == DataKind::Percpu {
                uapi::map::PERCPU_ARRAY
            } else {
                uapi::map::ARRAY
            },
            key_size: 4,
            value_size: u32::try_from(contents.len()).unwrap_or(u32::MAX),
            max_entries: 1,
            map_flags,
            btf_value: datasec,
            ..MapDef::default()
        };
        self.maps.push(Map {
            data: Some(GlobalData {
                kind,
                section_name: section_name.to_owned(),
                contents,
            }),
            ..Map::new(&name, section, def)
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

    pub(super) fn map_by_name(&self, name: &str) -> Option<MapIdx> {
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
}
