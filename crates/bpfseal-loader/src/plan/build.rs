//! Makes the plan of an object: the steps in libbpf's order, with everything resolved that can
//! be before the loader runs.
//!
//! Source of the order: `bpf_object_load` of libbpf 1.8, with a loader generator and without.

use std::collections::HashMap;

use bpfseal_object::btf::TypeId;
use bpfseal_object::uapi::{self, AttachType, ProgType};
use bpfseal_object::{
    Contents, DataKind, ExternKind, Map, MapDef, MapIdx, Object, Pinning, Program, ProgramIdx,
    SectionDef, Slot,
};

use super::link::{KernelAddresses, Linker};
use super::{
    AttachTarget, LeftOut, LoadPlan, MAX_PROGRAMS, MapAttr, ProgramLoad, ProgramRef, Step,
    Unresolved, kconfig, struct_ops,
};
use crate::{Error, Host, HostDependency};

const KIND_TYPEDEF: u32 = uapi::btf_kind::TYPEDEF.0;
const KIND_FUNC: u32 = uapi::btf_kind::FUNC.0;

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
    /// The programs that are loaded, by their place among all that are.
    loaded: HashMap<ProgramIdx, u32>,
    steps: Vec<Step>,
    unresolved: Vec<Unresolved>,
    depends: Vec<HostDependency>,
    notes: Vec<String>,
}

impl LoadPlan {
    /// Makes the plan that installs an object.
    ///
    /// What no loader can do, and what the host has no value for, is in the plan all the same.
    ///
    /// # Errors
    /// When the parts of the object do not fit together: a call that goes nowhere, records that are
    /// missing, or more code than can be linked.
    pub fn new(object: &Object, host: &dyn Host) -> Result<Self, Error> {
        build(object, host)
    }
}

fn build(object: &Object, host: &dyn Host) -> Result<LoadPlan, Error> {
    let mut builder = Builder {
        object,
        host,
        loaded: HashMap::new(),
        steps: Vec::new(),
        unresolved: undefined(object),
        depends: Vec::new(),
        notes: object.notes.clone(),
    };
    let kconfig = builder.kconfig_values();
    let addresses = builder.kernel_addresses();
    // All programs are linked before anything is installed: a fault in the last one leaves
    // nothing half done, and the order of messages is the reference's.
    let programs = builder.programs(&addresses)?;
    if let Some(btf) = &object.btf {
        builder.steps.push(Step::LoadBtf {
            data: btf.to_bytes(),
        });
    }
    builder.maps(kconfig);
    for program in programs {
        builder.steps.push(Step::LoadProgram(Box::new(program)));
    }
    builder.program_arrays();
    builder.register_struct_ops();
    let left_out = builder.left_out();
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
        page_size: host.page_size(),
        map_count: count32(object.maps.len()),
        function_count: count32(object.programs.len()),
        steps: builder.steps,
        left_out,
        unresolved: builder.unresolved,
        host: builder.depends,
        notes: builder.notes,
    })
}

/// Counts of maps and functions are bounded by 16-bit section numbers and file sizes.
fn count32(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Symbols of objects that this one was not linked with.
fn undefined(object: &Object) -> Vec<Unresolved> {
    let externs = object.externs.iter();
    externs
        .filter_map(|ext| match &ext.kind {
            ExternKind::Undefined { section } => Some(Unresolved::Undefined {
                name: ext.name.clone(),
                section: section.clone(),
            }),
            ExternKind::Kconfig { .. } | ExternKind::Ksym { .. } => None,
        })
        .collect()
}

impl Builder<'_> {
    fn kconfig_values(&mut self) -> Option<Contents> {
        let map = self.object.kconfig_map()?;
        let size = self.object.maps[map.0 as usize].def.value_size;
        let mut values = vec![0; size as usize];
        let unresolved = kconfig::fill(&self.object.externs, &mut values, self.host);
        self.unresolved.extend(unresolved);
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
        Some(Contents::new(&values))
    }

    /// Addresses on the host of ksyms without a type.
    fn kernel_addresses(&mut self) -> KernelAddresses {
        let wanted: HashMap<&str, bool> = self
            .object
            .externs
            .iter()
            .filter(|e| matches!(e.kind, ExternKind::Ksym { typed: false, .. }))
            .map(|e| (e.name.as_str(), e.weak))
            .collect();
        let mut found = KernelAddresses::new();
        let Some(first) = wanted.keys().min() else {
            return found;
        };
        let dependencies = wanted
            .keys()
            .map(|name| HostDependency::KernelSymbol((*name).to_owned()));
        self.depends.extend(dependencies);
        let table = match self.host.kallsyms() {
            Ok(table) => table,
            Err(error) => {
                self.unresolved.push(Unresolved::Host {
                    name: (*first).to_owned(),
                    map: None,
                    reason: error.reason(),
                });
                return found;
            }
        };
        let mut ambiguous: Vec<String> = Vec::new();
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
                    // One other address tells as much as a thousand.
                    if !ambiguous.iter().any(|known| known == name) {
                        ambiguous.push(name.to_owned());
                        self.unresolved.push(Unresolved::Missing {
                            name: name.to_owned(),
                            reason: format!("the kernel has it at {other:#x} and at {address:#x}"),
                        });
                    }
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
                self.unresolved.push(Unresolved::Missing {
                    name: ext.name.clone(),
                    reason: "the host's kernel has no such symbol".to_owned(),
                });
            }
        }
        found
    }

    fn programs(&mut self, addresses: &KernelAddresses) -> Result<Vec<ProgramLoad>, Error> {
        let arena = self.arena().map(|(map, offset, _)| (map, offset));
        let mut linker = Linker::new(self.object, addresses, arena);
        let mut targets = struct_ops::targets(self.object);
        let mut out = Vec::new();
        for (index, program) in self.object.entry_programs() {
            if program.autoload {
                self.loaded.insert(index, count32(out.len()));
                let target = targets.remove(&index).filter(|_| program.is_struct_ops());
                out.push(load_of(&mut linker, index, program, target)?);
            }
        }
        Ok(out)
    }

    fn program_ref(&self, index: ProgramIdx) -> ProgramRef {
        ProgramRef {
            name: self.object.programs[index.0].name.clone(),
            place: self.loaded.get(&index).copied(),
        }
    }

    fn maps(&mut self, kconfig: Option<Contents>) {
        for (index, map) in self.object.maps.iter().enumerate() {
            let idx = MapIdx(count32(index));
            if map.struct_ops.as_ref().is_some_and(|s| !s.autocreate) {
                continue;
            }
            if map.is_map_of_maps()
                && let Some(inner) = &map.inner
            {
                let name = format!("{}.inner", map.name);
                let attr = self.attr(idx, &name, inner);
                self.steps.push(Step::CreateInnerMap { attr });
            }
            let attr = self.attr(idx, &map.name, &map.def);
            self.steps.push(match (&map.struct_ops, &map.legacy) {
                (Some(struct_ops), _) => struct_ops::create(idx, attr, struct_ops),
                (None, Some(legacy)) => Step::CreateLegacyMap {
                    map: idx,
                    attr,
                    extra: legacy.extra.clone(),
                },
                (None, None) => Step::CreateMap { map: idx, attr },
            });
            self.contents(idx, map, kconfig.as_ref());
            if map.pinning != Pinning::None {
                self.steps.push(Step::PinMap {
                    map: idx,
                    pinning: map.pinning,
                });
            }
        }
    }

    fn contents(&mut self, idx: MapIdx, map: &Map, kconfig: Option<&Contents>) {
        if let Some((arena, offset, contents)) = self.arena()
            && arena == idx
        {
            self.steps.push(Step::FillArena {
                map: idx,
                offset,
                contents: contents.clone(),
            });
        }
        if let Some(data) = &map.data {
            let value = match (data.kind, kconfig) {
                (DataKind::Kconfig, Some(values)) => values.clone(),
                _ => data.contents.clone(),
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

    /// Program arrays are filled when the programs are there.
    fn program_arrays(&mut self) {
        for (index, map) in self.object.maps.iter().enumerate() {
            for (slot, target) in &map.slots {
                if let Slot::Program(program) = target {
                    let program = self.program_ref(*program);
                    self.steps.push(Step::SetProgram {
                        map: MapIdx(count32(index)),
                        slot: *slot,
                        program,
                    });
                }
            }
        }
    }

    /// So are struct_ops maps, and then they are registered.
    fn register_struct_ops(&mut self) {
        for (index, map) in self.object.maps.iter().enumerate() {
            let Some(struct_ops) = map.struct_ops.as_ref().filter(|s| s.autocreate) else {
                continue;
            };
            let idx = MapIdx(count32(index));
            let program = |index| self.program_ref(index);
            let members = struct_ops::members(self.object, struct_ops, &program);
            self.steps.push(Step::SetStructOps { map: idx, members });
            if struct_ops.link {
                self.steps.push(Step::LinkStructOps { map: idx });
            }
        }
    }

    /// What is not installed by default.
    fn left_out(&self) -> Vec<LeftOut> {
        let programs = self
            .object
            .entry_programs()
            .filter(|(index, _)| !self.loaded.contains_key(index))
            .map(|(_, program)| LeftOut::Program {
                name: program.name.clone(),
                section: program.section_name.clone(),
                is_static: !program.global,
            });
        let maps = self.object.maps.iter().enumerate();
        let maps = maps.filter_map(|(index, map)| {
            let struct_ops = map.struct_ops.as_ref().filter(|s| !s.autocreate)?;
            Some(LeftOut::StructOps {
                map: MapIdx(count32(index)),
                name: map.name.clone(),
                section: struct_ops.section_name.clone(),
            })
        });
        programs.chain(maps).collect()
    }

    /// The arena that has variables, where they begin in it, and what they start with: libbpf puts
    /// them into its last pages (since 1.7), so that the first ones can be left unmapped.
    fn arena(&self) -> Option<(MapIdx, u64, &Contents)> {
        let contents = self.object.arena_data.as_ref()?;
        let mut maps = self.object.maps.iter();
        let index = maps.position(|map| map.def.map_type == uapi::map::ARENA)?;
        let page = u64::from(self.host.page_size().max(1));
        let size = u64::from(self.object.maps[index].def.max_entries) * page;
        let taken = (contents.len() as u64).next_multiple_of(page);
        // An arena that is too small is refused by every kernel.
        let offset = size.saturating_sub(taken);
        Some((MapIdx(count32(index)), offset, contents))
    }

    /// Attributes of a map; sizes that only the host knows are filled in.
    fn attr(&mut self, map: MapIdx, name: &str, def: &MapDef) -> MapAttr {
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
            match self.host.possible_cpus() {
                Ok(cpus) => max_entries = cpus,
                Err(error) => self.unresolved.push(Unresolved::Host {
                    name: name.to_owned(),
                    map: Some(map),
                    reason: error.reason(),
                }),
            }
            self.depends
                .push(HostDependency::PossibleCpus(name.to_owned()));
        }
        let with_btf = self.object.btf.is_some() && !WITHOUT_BTF.contains(&def.map_type);
        let btf = |id: TypeId| if with_btf { id.0 } else { 0 };
        MapAttr {
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
        }
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
    struct_ops: Option<AttachTarget>,
) -> Result<ProgramLoad, Error> {
    let def = program.def;
    let mut flags = 0;
    if def.is_some_and(|def| def.sleepable) {
        flags |= uapi::BPF_F_SLEEPABLE;
    }
    if def.is_some_and(|def| def.xdp_frags) {
        flags |= uapi::BPF_F_XDP_HAS_FRAGS;
    }
    let attach_type = match def {
        None => AttachType::NONE,
        Some(def) if def.usdt => uapi::attach::BPF_TRACE_UPROBE_MULTI,
        Some(def) => def.attach_type,
    };
    let attach_target = struct_ops.or_else(|| attach_target(def?, program));
    let linked = linker.link(index)?;
    Ok(ProgramLoad {
        name: program.name.clone(),
        section: program.section_name.clone(),
        is_static: !program.global,
        prog_type: def.map_or(uapi::prog::UNSPEC, |def| def.prog_type),
        attach_type,
        flags,
        insns: linked.insns,
        subprograms: linked.subprograms,
        func_info: linked.func_info,
        line_info: linked.line_info,
        core_refs: linked.core_refs,
        kernel_refs: linked.kernel_refs,
        jump_tables: linked.jump_tables,
        undefined: linked.undefined,
        attach_target,
    })
}

fn attach_target(def: &SectionDef, program: &Program) -> Option<AttachTarget> {
    let target = program.attach_target();
    if is_tracing_multi(def.prog_type, def.attach_type)
        && let Some(target) = target.filter(|target| target.contains(':'))
    {
        return Some(AttachTarget::Module {
            name: target.to_owned(),
        });
    }
    if !def.attach_btf {
        return None;
    }
    if def.prog_type == uapi::prog::EXT {
        return Some(AttachTarget::Program {
            function: target.map(str::to_owned),
        });
    }
    let Some(target) = target else {
        return Some(AttachTarget::Unnamed);
    };
    let (prefix, btf_kind) = match def.attach_type {
        uapi::attach::BPF_TRACE_RAW_TP => ("btf_trace_", KIND_TYPEDEF),
        uapi::attach::BPF_LSM_MAC | uapi::attach::BPF_LSM_CGROUP => ("bpf_lsm_", KIND_FUNC),
        uapi::attach::BPF_TRACE_ITER => ("bpf_iter_", KIND_FUNC),
        _ => ("", KIND_FUNC),
    };
    Some(AttachTarget::Kernel {
        name: format!("{prefix}{target}"),
        btf_kind,
    })
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
