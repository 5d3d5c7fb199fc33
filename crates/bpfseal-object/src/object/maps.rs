//! Maps in libbpf's order: declared ones, global data, kconfig.
//!
//! Source: `bpf_object__init_maps` of libbpf 1.8.

use super::{MAX_ZEROES, Object, Roles, map_idx};
use crate::Error;
use crate::btf::{Kind, TypeId, VarLinkage};
use crate::elf::{Elf, Section, SectionIdx};
use crate::externs;
use crate::map::{self, DataKind, GlobalData, Map, MapDef, MapIdx};
use crate::map_error::MapFault;
use crate::uapi;

impl Object {
    pub(super) fn read_maps(&mut self, elf: &Elf<'_>, roles: &Roles) -> Result<(), Error> {
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
