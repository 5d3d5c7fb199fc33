//! Makes the plan of an object: the steps in libbpf's order, with everything resolved that can
//! be before the loader runs.
//!
//! Source of the order: `bpf_object_load` with a loader generator, libbpf 1.8.

use std::collections::HashMap;

use bpfseal_object::uapi::{self, AttachType, ProgType};
use bpfseal_object::{
    DataKind, ExternKind, Map, MapDef, MapIdx, Object, Program, ProgramIdx, SectionDef, Slot,
};

use super::link::{KernelAddresses, Linker};
use super::{
    AttachTarget, LoadPlan, MAX_ATTACH_TARGET, MAX_MAPS, MAX_PROGRAMS, MapAttr, ProgramLoad, Step,
    kconfig,
};
use crate::{Error, Host, HostDependency};

/// `BTF_KIND_TYPEDEF`.
const KIND_TYPEDEF: u32 = 8;
/// `BTF_KIND_FUNC`.
const KIND_FUNC: u32 = 12;

/// Map types whose keys and values the kernel takes no BTF for.
const WITHOUT_BTF: [uapi::MapType; 14] = [
    uapi::map::PERF_EVENT_ARRAY,
    uapi::map::CGROUP_ARRAY,
    uapi::map::STACK_TRACE,
    uapi::map::ARRAY_OF_MAPS,
    uapi::map::HASH_OF_MAPS,
    uapi::map::DEVMAP,
    uapi::map::DEVMAP_HASH,
    uapi::map::CPUMAP,
    uapi::map::XSKMAP,
    uapi::map::SOCKMAP,
    uapi::map::SOCKHASH,
    uapi::map::QUEUE,
    uapi::map::STACK,
    uapi::map::ARENA,
];

struct Builder<'a> {
    object: &'a Object,
    host: &'a dyn Host,
    steps: Vec<Step>,
    depends: Vec<HostDependency>,
    notes: Vec<String>,
}

pub(super) fn build(object: &Object, host: &dyn Host) -> Result<LoadPlan, Error> {
    if let Some(section) = object.struct_ops_sections.first() {
        return Err(Error::StructOps {
            section: section.clone(),
        });
    }
    let mut builder = Builder {
        object,
        host,
        steps: Vec::new(),
        depends: Vec::new(),
        notes: object.notes.clone(),
    };
    let kconfig = builder.kconfig_values()?;
    let addresses = builder.kernel_addresses()?;
    // All programs are linked before anything is installed: a fault in the last one leaves
    // nothing half done, and the order of messages is the reference's.
    let programs = builder.programs(&addresses)?;
    if let Some(btf) = &object.btf {
        builder.steps.push(Step::LoadBtf {
            data: btf.to_bytes(),
        });
    }
    builder.maps(kconfig.as_deref())?;
    for program in programs {
        builder.steps.push(Step::LoadProgram(Box::new(program)));
    }
    if let Some(map) = object
        .maps
        .iter()
        .find(|m| m.def.map_type == uapi::map::PROG_ARRAY && !m.slots.is_empty())
    {
        return Err(Error::ProgramArraySlots {
            map: map.name.clone(),
        });
    }
    if object.programs.len() > MAX_PROGRAMS {
        builder.notes.push(format!(
            "the object has {} functions; the verifier refuses a loader for more than {MAX_PROGRAMS}, as its cleanup code would leave the stack",
            object.programs.len()
        ));
    }
    builder.depends.sort();
    builder.depends.dedup();
    Ok(LoadPlan {
        name: object.name.clone(),
        endian: object.endian,
        license: object.license.clone(),
        map_count: count32(object.maps.len()),
        function_count: count32(object.programs.len()),
        steps: builder.steps,
        host: builder.depends,
        notes: builder.notes,
    })
}

/// Counts of maps and functions are bounded by 16-bit section numbers and file sizes.
fn count32(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

impl Builder<'_> {
    fn kconfig_values(&mut self) -> Result<Option<Vec<u8>>, Error> {
        let Some(map) = self.object.kconfig_map() else {
            return Ok(None);
        };
        let size = self.object.maps[map.0 as usize].def.value_size;
        let mut values = vec![0; size as usize];
        kconfig::fill(&self.object.externs, &mut values, self.host)?;
        for ext in &self.object.externs {
            let of_host = ext.name.starts_with("CONFIG_") || ext.name == "LINUX_KERNEL_VERSION";
            if matches!(ext.kind, ExternKind::Kconfig { .. }) && of_host {
                self.depends.push(HostDependency::Kconfig(ext.name.clone()));
            }
        }
        if self.object.endian == bpfseal_object::Endian::Big && size > 0 {
            self.notes.push(
                "kconfig values are laid out little-endian although the object is big-endian, as the reference does"
                    .to_owned(),
            );
        }
        Ok(Some(values))
    }

    /// Addresses on the host of ksyms without a type.
    fn kernel_addresses(&mut self) -> Result<KernelAddresses, Error> {
        let wanted: HashMap<&str, bool> = self
            .object
            .externs
            .iter()
            .filter(|e| matches!(e.kind, ExternKind::Ksym { typed: false, .. }))
            .map(|e| (e.name.as_str(), e.weak))
            .collect();
        let mut found = KernelAddresses::new();
        let Some(first) = wanted.keys().min() else {
            return Ok(found);
        };
        let table = self.host.kallsyms().map_err(|reason| Error::Host {
            name: (*first).to_owned(),
            reason,
        })?;
        for (address, kind, name) in kallsyms_lines(&table) {
            // Clang's LTO renames static data: `name.llvm.123`.
            let name = match name.find(".llvm.") {
                Some(end) if kind == b'd' => &name[..end],
                _ => name,
            };
            if !wanted.contains_key(name) {
                continue;
            }
            match found.get(name) {
                Some(&other) if other != address => {
                    return Err(Error::ExternUnresolved {
                        name: name.to_owned(),
                        reason: format!("the kernel has it at {other:#x} and at {address:#x}"),
                    });
                }
                Some(_) => {}
                None => {
                    found.insert(name.to_owned(), address);
                }
            }
        }
        for ext in &self.object.externs {
            let Some(weak) = wanted.get(ext.name.as_str()) else {
                continue;
            };
            if !weak && !found.contains_key(&ext.name) {
                return Err(Error::ExternUnresolved {
                    name: ext.name.clone(),
                    reason: "the host's kernel has no such symbol".to_owned(),
                });
            }
            self.depends
                .push(HostDependency::KernelSymbol(ext.name.clone()));
        }
        Ok(found)
    }

    fn programs(&self, addresses: &KernelAddresses) -> Result<Vec<ProgramLoad>, Error> {
        let mut linker = Linker::new(self.object, addresses);
        let mut out = Vec::new();
        for (index, program) in self.object.entry_programs() {
            if program.autoload {
                out.push(load_of(&mut linker, index, program)?);
            }
        }
        Ok(out)
    }

    fn maps(&mut self, kconfig: Option<&[u8]>) -> Result<(), Error> {
        if self.object.maps.len() > MAX_MAPS {
            return Err(Error::TooManyMaps {
                count: self.object.maps.len(),
                limit: MAX_MAPS,
            });
        }
        for (index, map) in self.object.maps.iter().enumerate() {
            let idx = MapIdx(count32(index));
            if map.pin_by_name {
                return Err(Error::Pinned {
                    map: map.name.clone(),
                });
            }
            if map.is_map_of_maps()
                && let Some(inner) = &map.inner
            {
                let name = format!("{}.inner", map.name);
                let attr = self.attr(&name, inner)?;
                self.steps.push(Step::CreateInnerMap { attr });
            }
            let attr = self.attr(&map.name, &map.def)?;
            self.check_arena(map)?;
            self.steps.push(Step::CreateMap { map: idx, attr });
            self.contents(idx, map, kconfig);
        }
        Ok(())
    }

    fn contents(&mut self, idx: MapIdx, map: &Map, kconfig: Option<&[u8]>) {
        if let Some(data) = &map.data {
            let value = match (data.kind, kconfig) {
                (DataKind::Kconfig, Some(values)) => values.to_vec(),
                _ => data.bytes.clone(),
            };
            self.steps.push(Step::SeedMap {
                map: idx,
                value,
                flags: if data.kind == DataKind::Percpu {
                    uapi::BPF_F_ALL_CPUS
                } else {
                    0
                },
            });
            if matches!(data.kind, DataKind::Rodata | DataKind::Kconfig) {
                self.steps.push(Step::FreezeMap { map: idx });
            }
        }
        for (slot, target) in &map.slots {
            if let Slot::Map(inner) = target {
                self.steps.push(Step::SetInnerMap {
                    outer: idx,
                    slot: *slot,
                    inner: *inner,
                });
            }
        }
    }

    /// Attributes of a map; sizes that only the host knows are filled in.
    fn attr(&mut self, name: &str, def: &MapDef) -> Result<MapAttr, Error> {
        let mut max_entries = def.max_entries;
        if def.map_type == uapi::map::RINGBUF || def.map_type == uapi::map::USER_RINGBUF {
            let page = self.host.page_size().max(1);
            max_entries = ring_buffer_size(def.max_entries, page);
            // A size that every page size in use divides is the same on all hosts.
            let same_everywhere =
                (12..=16).all(|shift| ring_buffer_size(def.max_entries, 1 << shift) == max_entries);
            if !same_everywhere {
                self.depends.push(HostDependency::PageSize(name.to_owned()));
            }
        }
        if def.map_type == uapi::map::PERF_EVENT_ARRAY && max_entries == 0 {
            max_entries = self.host.possible_cpus().map_err(|reason| Error::Host {
                name: name.to_owned(),
                reason,
            })?;
            self.depends
                .push(HostDependency::PossibleCpus(name.to_owned()));
        }
        let with_btf = self.object.btf.is_some() && !WITHOUT_BTF.contains(&def.map_type);
        let btf = |id: bpfseal_object::btf::TypeId| if with_btf { id.0 } else { 0 };
        Ok(MapAttr {
            name: name.to_owned(),
            map_type: def.map_type,
            key_size: def.key_size,
            value_size: def.value_size,
            max_entries,
            map_flags: def.map_flags,
            map_extra: def.map_extra,
            numa_node: def.numa_node,
            btf_key_type_id: btf(def.btf_key),
            btf_value_type_id: if def.map_type == uapi::map::STRUCT_OPS {
                0
            } else {
                btf(def.btf_value)
            },
        })
    }

    fn check_arena(&self, map: &Map) -> Result<(), Error> {
        if map.def.map_type != uapi::map::ARENA {
            return Ok(());
        }
        if let Some(data) = &self.object.arena_data {
            return Err(Error::ArenaData {
                map: map.name.clone(),
                size: data.len(),
            });
        }
        // The reference maps the arena into its own memory even when it only makes a loader.
        if map.def.max_entries == 0
            || !map
                .def
                .map_extra
                .is_multiple_of(u64::from(self.host.page_size().max(1)))
        {
            return Err(Error::ArenaShape {
                map: map.name.clone(),
                max_entries: map.def.max_entries,
                address: map.def.map_extra,
            });
        }
        Ok(())
    }
}

/// Size of a ring buffer: a power of two of pages. A size that is not one grows to the next.
fn ring_buffer_size(size: u32, page: u32) -> u32 {
    if size == 0 || (size.is_multiple_of(page) && (size / page).is_power_of_two()) {
        return size;
    }
    let mut mul: u32 = 1;
    while mul != 0 && mul <= u32::MAX / page {
        if mul * page > size {
            return mul * page;
        }
        mul = mul.wrapping_shl(1);
    }
    // Nothing fits: left as it is, for the kernel to refuse.
    size
}

fn kallsyms_lines(table: &[u8]) -> impl Iterator<Item = (u64, u8, &str)> {
    table.split(|&b| b == b'\n').filter_map(|line| {
        let line = std::str::from_utf8(line).ok()?;
        let mut fields = line.split_ascii_whitespace();
        let address = u64::from_str_radix(fields.next()?, 16).ok()?;
        let kind = *fields.next()?.as_bytes().first()?;
        Some((address, kind, fields.next()?))
    })
}

/// The program's load: its type and target from the section name, its code from the linker.
fn load_of(
    linker: &mut Linker<'_>,
    index: ProgramIdx,
    program: &Program,
) -> Result<ProgramLoad, Error> {
    let Some(def) = program.def else {
        return Err(Error::UnknownSection {
            program: program.name.clone(),
            section: program.section_name.clone(),
        });
    };
    if def.prog_type == uapi::prog::STRUCT_OPS {
        return Err(Error::StructOpsProgram {
            program: program.name.clone(),
            section: program.section_name.clone(),
        });
    }
    let attach_type = if def.usdt {
        uapi::attach::BPF_TRACE_UPROBE_MULTI
    } else {
        def.attach_type
    };
    let attach_target = attach_target(def, program)?;
    let mut flags = 0;
    if def.sleepable {
        flags |= uapi::BPF_F_SLEEPABLE;
    }
    if def.xdp_frags {
        flags |= uapi::BPF_F_XDP_HAS_FRAGS;
    }
    let linked = linker.link(index)?;
    Ok(ProgramLoad {
        name: program.name.clone(),
        section: program.section_name.clone(),
        prog_type: def.prog_type,
        attach_type,
        flags,
        insns: linked.insns,
        subprograms: linked.subprograms,
        func_info: linked.func_info,
        line_info: linked.line_info,
        core_refs: linked.core_refs,
        kernel_refs: linked.kernel_refs,
        attach_target,
    })
}

fn attach_target(def: &SectionDef, program: &Program) -> Result<Option<AttachTarget>, Error> {
    let place = || (program.name.clone(), program.section_name.clone());
    if is_tracing_multi(def.prog_type, def.attach_type)
        && program.attach_target().is_some_and(|t| t.contains(':'))
    {
        let (program, section) = place();
        return Err(Error::AttachToModule { program, section });
    }
    if !def.attach_btf {
        return Ok(None);
    }
    let Some(target) = program.attach_target() else {
        let (program, section) = place();
        return Err(Error::NoAttachTarget { program, section });
    };
    if def.prog_type == uapi::prog::EXT {
        let (program, section) = place();
        return Err(Error::AttachToProgram { program, section });
    }
    let (prefix, btf_kind) = match def.attach_type {
        uapi::attach::BPF_TRACE_RAW_TP => ("btf_trace_", KIND_TYPEDEF),
        uapi::attach::BPF_LSM_MAC | uapi::attach::BPF_LSM_CGROUP => ("bpf_lsm_", KIND_FUNC),
        uapi::attach::BPF_TRACE_ITER => ("bpf_iter_", KIND_FUNC),
        _ => ("", KIND_FUNC),
    };
    let name = format!("{prefix}{target}");
    if name.len() > MAX_ATTACH_TARGET {
        return Err(Error::AttachTargetLength {
            program: program.name.clone(),
            length: name.len(),
            limit: MAX_ATTACH_TARGET,
        });
    }
    Ok(Some(AttachTarget { name, btf_kind }))
}

fn is_tracing_multi(prog_type: ProgType, attach_type: AttachType) -> bool {
    prog_type == uapi::prog::TRACING
        && [
            uapi::attach::BPF_TRACE_FENTRY_MULTI,
            uapi::attach::BPF_TRACE_FEXIT_MULTI,
            uapi::attach::BPF_TRACE_FSESSION_MULTI,
        ]
        .contains(&attach_type)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(size: u32, page: u32, expect: u32) {
        assert_eq!(ring_buffer_size(size, page), expect);
    }

    #[test]
    fn ring_buffers_are_powers_of_two_of_pages() {
        check(0, 4096, 0);
        check(4096, 4096, 4096);
        check(1, 4096, 4096);
        check(4097, 4096, 8192);
        check(12288, 4096, 16384);
        check(4096, 65536, 65536);
        check(u32::MAX, 4096, u32::MAX);
    }
}
