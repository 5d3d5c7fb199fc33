//! From what a loader asked for to the plan that it carries out.

use std::collections::BTreeMap;

use bpfseal_loader::LoadPlan;
use bpfseal_loader::plan::{AttachTarget, KernelRef, KernelRefKind, MAX_MAPS, ProgramLoad, Step};
use bpfseal_object::{
    BPF_PSEUDO_BTF_ID, BPF_PSEUDO_KFUNC_CALL, BPF_PSEUDO_MAP_IDX, BPF_PSEUDO_MAP_IDX_VALUE,
    Contents, Endian, MapIdx,
};

use bpfseal_uapi::map::{PROG_ARRAY, STRUCT_OPS};
use bpfseal_uapi::{MapType, btf_kind, loader, prog};

use super::{Audit, Finding, Grants, Powers, Reproduction, Run, Subject};
use crate::record::{Act, ProgramAct, Recorder};

/// Kind of the types that functions are.
const KIND_FUNC: i32 = btf_kind::FUNC.0.cast_signed();

/// What is known of a map while the plan is put together.
struct Known {
    /// Its place, if it has one: templates have none.
    place: Option<MapIdx>,
    name: String,
    map_type: MapType,
}

pub(super) struct Recovery<'a> {
    pub(super) recorder: &'a Recorder<Grants>,
    maps: BTreeMap<i32, Known>,
    btf_fd: Option<i32>,
    license: Option<String>,
    /// Programs by descriptor: their places, and their names.
    pub(super) programs: BTreeMap<i32, (u32, String)>,
    pub(super) findings: Vec<Finding>,
}

pub(super) fn recover(subject: &Subject<'_>, run: &Run) -> Audit {
    let recorder = &run.recorder;
    let slots = words(&run.slots, subject.endian, MAX_MAPS);
    let mut recovery = Recovery {
        recorder,
        maps: BTreeMap::new(),
        btf_fd: None,
        license: None,
        programs: BTreeMap::new(),
        findings: Vec::new(),
    };
    match &run.returned {
        Err(fault) => recovery.findings.push(Finding::Fault(fault.clone())),
        Ok(0) => {}
        Ok(returned) => recovery.findings.push(Finding::Fails {
            returned: *returned,
        }),
    }
    if let Some(insn) = run.above_frame {
        recovery.findings.push(Finding::Frame { insn });
    }
    for &(insn, used) in &run.answers_used {
        recovery.findings.push(Finding::Dialect {
            insn,
            what: used.describe(),
        });
    }
    let mut steps = Vec::new();
    for (insn, act) in &recorder.acts {
        steps.extend(recovery.step(*insn, act, &slots));
    }
    if run.returned == Ok(0) {
        recovery.check_context(subject, run, &slots);
    }
    for (insn, what) in &recorder.unplanned {
        recovery.findings.push(Finding::Field {
            insn: *insn,
            what: what.clone(),
        });
    }
    if recorder.printed > 0 {
        recovery.findings.push(Finding::Prints {
            times: recorder.printed,
        });
    }
    let places = recovery.maps.values().filter(|map| map.place.is_some());
    let map_count = u32::try_from(places.count()).unwrap_or(u32::MAX);
    let plan = LoadPlan {
        name: String::new(),
        endian: subject.endian,
        license: recovery.license.unwrap_or_default(),
        page_size: 0,
        map_count,
        function_count: 0,
        steps,
        left_out: Vec::new(),
        unresolved: Vec::new(),
        host: Vec::new(),
        notes: Vec::new(),
    };
    Audit {
        powers: plan.programs().map(Powers::of).collect(),
        plan,
        influences: Vec::new(),
        findings: recovery.findings,
        // Asked when the plan is complete.
        reproduction: Reproduction::NoLoader(String::new()),
    }
}

fn words(bytes: &[u8], endian: Endian, count: usize) -> Vec<i32> {
    bytes
        .chunks_exact(4)
        .take(count)
        .map(|word| {
            endian
                .u32([word[0], word[1], word[2], word[3]])
                .cast_signed()
        })
        .collect()
}

fn is_of_maps(map_type: MapType) -> bool {
    map_type.holds_maps()
}

impl Recovery<'_> {
    fn step(&mut self, insn: usize, act: &Act, slots: &[i32]) -> Option<Step> {
        match act {
            Act::LoadBtf { fd, data } => {
                self.btf_fd = Some(*fd);
                Some(Step::LoadBtf { data: data.clone() })
            }
            Act::CreateMap {
                fd,
                attr,
                inner_fd,
                btf_fd,
                value_type,
                ..
            } => {
                let place = slots.iter().position(|slot| slot == fd);
                // There are 64 of them.
                let place = place.map(|place| MapIdx(place as u32));
                let map_type = attr.map_type;
                // A loader gives a BTF for the type of a value; with 0 there is none.
                let has_btf = attr.btf_value_type_id != 0 || *btf_fd != 0;
                if has_btf && Some(*btf_fd) != self.btf_fd {
                    self.findings.push(Finding::ForeignBtf {
                        insn,
                        name: attr.name.clone(),
                    });
                }
                if is_of_maps(map_type) && !self.maps.contains_key(inner_fd) {
                    let fd = *inner_fd;
                    self.findings.push(Finding::ForeignMap { insn, fd });
                }
                self.maps.insert(
                    *fd,
                    Known {
                        place,
                        name: attr.name.clone(),
                        map_type,
                    },
                );
                let attr = (**attr).clone();
                Some(match place {
                    Some(map) if map_type == STRUCT_OPS => {
                        self.create_struct_ops(insn, map, attr, *value_type)
                    }
                    Some(map) => Step::CreateMap { map, attr },
                    None => Step::CreateInnerMap { attr },
                })
            }
            Act::Update {
                map_fd,
                key,
                value,
                flags,
                ..
            } => self.update(insn, *map_fd, key, value, *flags),
            Act::Freeze { map_fd } => {
                let map = self.place(insn, *map_fd)?;
                Some(Step::FreezeMap { map })
            }
            Act::LinkStructOps { map_fd, .. } => self.link_struct_ops(insn, *map_fd),
            Act::LoadProgram(program) => {
                // There are fewer than a loader has instructions.
                let place = self.programs.len() as u32;
                self.programs
                    .insert(program.fd, (place, program.name.clone()));
                Some(Step::LoadProgram(Box::new(self.program(insn, program))))
            }
            Act::Other { command } => {
                let command = command.0.cast_signed();
                self.findings.push(Finding::Command { insn, command });
                None
            }
        }
    }

    /// The place of a map, or a finding.
    pub(super) fn place(&mut self, insn: usize, fd: i32) -> Option<MapIdx> {
        let place = self.maps.get(&fd).and_then(|map| map.place);
        if place.is_none() {
            self.findings.push(Finding::ForeignMap { insn, fd });
        }
        place
    }

    fn update(
        &mut self,
        insn: usize,
        fd: i32,
        key: &[u8],
        value: &Contents,
        flags: u64,
    ) -> Option<Step> {
        let map = self.place(insn, fd)?;
        let known = &self.maps[&fd];
        let (of_maps, of_programs) = (is_of_maps(known.map_type), known.map_type == PROG_ARRAY);
        if of_maps || of_programs {
            let number = |bytes: &[u8]| -> Option<[u8; 4]> { bytes.try_into().ok() };
            let endian = self.recorder.endian;
            let slot = number(key).map_or(u32::MAX, |bytes| endian.u32(bytes));
            let value = value.range(0, value.len().min(8));
            let fd = number(&value).map_or(-1, |bytes| endian.u32(bytes).cast_signed());
            if of_programs {
                return self.set_program(insn, map, slot, fd);
            }
            let inner = self.place(insn, fd)?;
            return Some(Step::SetInnerMap {
                outer: map,
                slot,
                inner,
            });
        }
        if known.map_type == STRUCT_OPS {
            return Some(self.set_struct_ops(insn, map, value));
        }
        if key.iter().any(|byte| *byte != 0) {
            self.findings.push(Finding::Key {
                insn,
                map: known.name.clone(),
                key: bpfseal_seal::hex(key),
            });
        }
        Some(Step::SeedMap {
            map,
            value: value.clone(),
            flags,
        })
    }

    fn program(&mut self, insn: usize, act: &ProgramAct) -> ProgramLoad {
        if act.btf_fd != 0 && Some(act.btf_fd) != self.btf_fd {
            self.findings.push(Finding::ForeignBtf {
                insn,
                name: act.name.clone(),
            });
        }
        match &self.license {
            None => self.license = Some(act.license.clone()),
            Some(license) if *license != act.license => self.findings.push(Finding::License {
                insn,
                program: act.name.clone(),
                license: act.license.clone(),
            }),
            Some(_) => {}
        }
        let attach_target = (act.attach_btf_id != 0).then(|| {
            if act.prog_type == prog::STRUCT_OPS {
                return self.struct_ops_target(insn, act);
            }
            let found = self.recorder.type_of_id(act.attach_btf_id);
            if found.is_none() {
                self.unknown(insn, act, act.attach_btf_id);
            }
            let (name, kind) = found.cloned().unwrap_or_default();
            AttachTarget::Kernel {
                name,
                btf_kind: kind.cast_unsigned(),
            }
        });
        let (insns, kernel_refs) = self.code(insn, act);
        ProgramLoad {
            name: act.name.clone(),
            section: String::new(),
            is_static: false,
            prog_type: act.prog_type,
            attach_type: act.attach_type,
            flags: act.flags,
            insns,
            subprograms: Vec::new(),
            func_info: act.func_info.clone(),
            line_info: act.line_info.clone(),
            core_refs: act.core_refs.clone(),
            kernel_refs,
            jump_tables: Vec::new(),
            undefined: Vec::new(),
            attach_target,
        }
    }

    fn unknown(&mut self, insn: usize, act: &ProgramAct, id: u32) {
        self.findings.push(Finding::UnknownId {
            insn,
            program: act.name.clone(),
            id,
        });
    }

    /// The program's instructions, with the places of maps as they were when it was loaded, and
    /// what the loader put in of the kernel taken out again.
    fn code(
        &mut self,
        insn: usize,
        act: &ProgramAct,
    ) -> (Vec<bpfseal_object::Insn>, Vec<KernelRef>) {
        let mut insns = act.insns.clone();
        let mut references = Vec::new();
        let mut at = 0;
        while at < insns.len() {
            let one = insns[at];
            let mut refer = |name: &str, kind| {
                references.push(KernelRef {
                    // A program has at most 2^20.
                    insn: at as u32,
                    name: name.to_owned(),
                    weak: false,
                    kind,
                });
            };
            if one.is_call() && one.src == BPF_PSEUDO_KFUNC_CALL {
                let id = one.imm.cast_unsigned();
                match self.recorder.type_of_id(id) {
                    Some((name, _)) => refer(name, KernelRefKind::Call),
                    None => self.unknown(insn, act, id),
                }
                insns[at].imm = 0;
                insns[at].off = 0;
            }
            if !one.is_ld_imm64() || at + 1 >= insns.len() {
                at += 1;
                continue;
            }
            let (low, high) = (one.imm.cast_unsigned(), insns[at + 1].imm.cast_unsigned());
            match one.src {
                BPF_PSEUDO_BTF_ID => {
                    match self.recorder.type_of_id(low) {
                        Some((name, KIND_FUNC)) => refer(name, KernelRefKind::FunctionAddress),
                        Some((name, _)) => refer(name, KernelRefKind::VariableAddress),
                        None => self.unknown(insn, act, low),
                    }
                    insns[at].imm = 0;
                    insns[at + 1].imm = 0;
                }
                BPF_PSEUDO_MAP_IDX | BPF_PSEUDO_MAP_IDX_VALUE => {
                    let fd = act.slots.get(low as usize).copied().unwrap_or(-1);
                    if let Some(place) = self.place(insn, fd) {
                        insns[at].imm = place.0.cast_signed();
                    }
                }
                0 => {
                    let address = u64::from(high) << 32 | u64::from(low);
                    if let Some(name) = self.recorder.symbol_at(address) {
                        refer(name, KernelRefKind::UntypedAddress);
                        insns[at].imm = 0;
                        insns[at + 1].imm = 0;
                    }
                }
                _ => {}
            }
            at += 2;
        }
        (insns, references)
    }

    /// Whether the caller gets what it takes the places of the context for.
    fn check_context(&mut self, subject: &Subject<'_>, run: &Run, slots: &[i32]) {
        let read = |at: usize| -> i32 {
            let word = run.context.get(at..at + 4);
            let word = word.and_then(|word| <[u8; 4]>::try_from(word).ok());
            word.map_or(0, |word| subject.endian.u32(word).cast_signed())
        };
        let maps = subject.context.maps as usize;
        for map in 0..maps {
            let found = read(loader::ctx::LEN + map * loader::map::LEN);
            let wanted = slots.get(map).copied().unwrap_or(0);
            if found != wanted {
                let what = self.describe(found);
                let place = self.describe(wanted);
                self.findings.push(Finding::HandsOver { place, what });
            }
        }
        let programs: Vec<(i32, String)> = run
            .recorder
            .acts
            .iter()
            .filter_map(|(_, act)| match act {
                Act::LoadProgram(program) => Some((program.fd, program.name.clone())),
                _ => None,
            })
            .collect();
        for (index, (fd, name)) in programs.iter().enumerate() {
            let found =
                read(loader::ctx::LEN + maps * loader::map::LEN + index * loader::prog::LEN);
            if found != *fd {
                let known = programs.iter().find(|(fd, _)| *fd == found);
                let what = known.map_or_else(
                    || self.describe(found),
                    |(_, name)| format!("program `{name}`"),
                );
                self.findings.push(Finding::HandsOver {
                    place: format!("program `{name}`"),
                    what,
                });
            }
        }
    }

    fn describe(&self, fd: i32) -> String {
        match self.maps.get(&fd) {
            Some(map) => format!("map `{}`", map.name),
            None if fd == 0 => "nothing".to_owned(),
            None => format!("descriptor {fd}"),
        }
    }
}
