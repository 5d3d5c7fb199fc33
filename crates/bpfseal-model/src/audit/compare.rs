//! Two plans side by side: what a loader does, and what it should do.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt::Display;

use bpfseal_loader::LoadPlan;
use bpfseal_loader::plan::{
    KernelRefKind, MapAttr, MemberValue, ProgramLoad, Step, StructOpsMember, StructOpsType,
};
use bpfseal_object::{Contents, Insn, MAX_KERNEL_NAME, MapIdx, Pinning};

use super::Powers;

/// Something in which two plans differ.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Difference {
    /// Which step: what it is about, such as ``map 0 (`counts`)``.
    pub of: String,
    /// What is other.
    pub change: Change,
}

/// What is other in the first plan, which was found, than in the second, which was wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields are what the message names")]
pub enum Change {
    /// The step is not there.
    LeftOut,
    /// The step is there, and was not wanted.
    Added,
    /// The step is there, before others that it should come after.
    TooEarly,
    /// A value is another.
    Value {
        name: &'static str,
        found: String,
        wanted: String,
    },
    /// Some of the bytes are other.
    Bytes {
        count: usize,
        first: usize,
        found: u8,
        wanted: u8,
    },
    /// Some of the instructions are other.
    Instructions { count: usize, first: usize },
    /// Helpers and symbols of the kernel are used that were not.
    Gained(Vec<String>),
    /// Symbols of the kernel are not used any more.
    Lost(Vec<String>),
    /// The same symbols are used otherwise.
    Symbols,
    /// Records beside the instructions are other.
    Records(&'static str),
}

impl Difference {
    /// The change from the plan that was wanted to the one that was found: for who compares two
    /// versions.
    #[must_use]
    pub fn as_change(&self) -> String {
        match &self.change {
            Change::LeftOut => "removed".to_owned(),
            Change::Added => "added".to_owned(),
            Change::TooEarly => "moved forward".to_owned(),
            Change::Value {
                name,
                found,
                wanted,
            } => format!("{name}: {wanted} -> {found}"),
            Change::Bytes { count, first, .. } => {
                format!("{count} bytes changed, the first at {first}")
            }
            Change::Instructions { count, first } => {
                format!("{count} instructions changed, the first is {first}")
            }
            Change::Gained(names) => format!("now uses {}", names.join(", ")),
            Change::Lost(names) => format!("no longer uses {}", names.join(", ")),
            Change::Symbols => "takes symbols of the kernel otherwise".to_owned(),
            Change::Records(what) => format!("{what} changed"),
        }
    }

    /// What is wrong with the plan that was found: for those who expect the other one.
    #[must_use]
    pub fn as_fault(&self) -> String {
        match &self.change {
            Change::LeftOut => "it is left out".to_owned(),
            Change::Added => "it should not be there".to_owned(),
            Change::TooEarly => "it comes too early".to_owned(),
            Change::Value {
                name,
                found,
                wanted,
            } => format!("{name} is {found}, not {wanted}"),
            Change::Bytes {
                count,
                first,
                found,
                wanted,
            } => format!(
                "{count} bytes are other, the first at {first}: {found:#04x}, not {wanted:#04x}"
            ),
            Change::Instructions { count, first } => {
                format!("{count} instructions are other, the first is {first}")
            }
            Change::Gained(names) => format!("it also uses {}", names.join(", ")),
            Change::Lost(names) => format!("it does not use {}", names.join(", ")),
            Change::Symbols => {
                "it takes symbols of the kernel at other places, or does without others".to_owned()
            }
            Change::Records(what) => format!("its {what} are other"),
        }
    }
}

/// As a fault: what was found is not what was wanted.
impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.of, self.as_fault())
    }
}

/// Compares what was recovered from a loader with the plan that it should carry out. What a loader
/// does not contain is not compared: names of sections and subprograms, and names past the 15
/// bytes that the kernel keeps.
#[must_use]
pub fn compare(found: &LoadPlan, wanted: &LoadPlan) -> Vec<Difference> {
    let (found, wanted) = (normal(found), normal(wanted));
    let mut out = Differences(Vec::new());
    if found.endian != wanted.endian {
        let name = |endian| format!("{endian:?}-endian");
        out.value(
            "the loader",
            "byte order",
            name(found.endian),
            name(wanted.endian),
        );
    }
    if found.license != wanted.license && wanted.programs().next().is_some() {
        let name = |plan: &LoadPlan| format!("`{}`", plan.license);
        out.value("the plan", "license", name(&found), name(&wanted));
    }
    let keys = keys(&found);
    let mut by_key: HashMap<&str, VecDeque<usize>> = HashMap::new();
    for (index, key) in keys.iter().enumerate() {
        by_key.entry(key).or_default().push_back(index);
    }
    let mut matched = BTreeSet::new();
    let mut order = Vec::new();
    for (step, key) in wanted.steps.iter().zip(self::keys(&wanted)) {
        match by_key.get_mut(key.as_str()).and_then(VecDeque::pop_front) {
            Some(index) => {
                matched.insert(index);
                order.push(index);
                compare_step(&mut out, &key, &found.steps[index], step);
            }
            None => out.add(&key, Change::LeftOut),
        }
    }
    for (index, key) in keys.iter().enumerate() {
        if !matched.contains(&index) {
            out.add(key, Change::Added);
        }
    }
    if out.0.is_empty() && !order.is_sorted() {
        let late = order.windows(2).find(|pair| pair[0] > pair[1]);
        let key = late.and_then(|pair| keys.get(pair[1]));
        out.add(key.map_or("", String::as_str), Change::TooEarly);
    }
    out.0
}

struct Differences(Vec<Difference>);

impl Differences {
    fn add(&mut self, of: &str, change: Change) {
        self.0.push(Difference {
            of: of.to_owned(),
            change,
        });
    }

    /// A value, if it is another.
    fn value<T: PartialEq + Display>(&mut self, of: &str, name: &'static str, found: T, wanted: T) {
        if found != wanted {
            let change = Change::Value {
                name,
                found: found.to_string(),
                wanted: wanted.to_string(),
            };
            self.add(of, change);
        }
    }
}

fn cut(name: &str) -> String {
    let bytes = name.as_bytes();
    String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_KERNEL_NAME)]).into_owned()
}

/// A plan without what a loader does not contain.
fn normal(plan: &LoadPlan) -> LoadPlan {
    let mut plan = plan.clone();
    let strong: BTreeSet<String> = plan
        .programs()
        .flat_map(|program| &program.kernel_refs)
        .filter(|r| !r.weak && r.kind != KernelRefKind::UntypedAddress)
        .map(|r| r.name.clone())
        .collect();
    for step in &mut plan.steps {
        match step {
            Step::CreateInnerMap { attr }
            | Step::CreateLegacyMap { attr, .. }
            | Step::CreateMap { attr, .. }
            | Step::CreateStructOps { attr, .. } => {
                attr.name = cut(&attr.name);
            }
            Step::LoadProgram(program) => {
                program.name = cut(&program.name);
                program.section = String::new();
                program.subprograms = Vec::new();
                program.kernel_refs.sort_by_key(|r| r.insn);
                for reference in &mut program.kernel_refs {
                    // Looked up by address, every symbol can be missing.
                    reference.weak = reference.kind == KernelRefKind::UntypedAddress
                        || !strong.contains(&reference.name);
                    let at = reference.insn as usize;
                    let is_call = reference.kind == KernelRefKind::Call;
                    if let Some(insn) = program.insns.get_mut(at) {
                        insn.imm = 0;
                        if is_call {
                            insn.off = 0;
                        }
                    }
                    if let Some(insn) = program.insns.get_mut(at + 1).filter(|_| !is_call) {
                        insn.imm = 0;
                    }
                }
            }
            _ => {}
        }
    }
    plan
}

/// What each step of a plan is about: the same step in another plan has the same.
fn keys(plan: &LoadPlan) -> Vec<String> {
    let names: HashMap<MapIdx, &str> = plan
        .maps()
        .map(|(map, attr)| (map, attr.name.as_str()))
        .collect();
    let key = |step| key_of(step, &names);
    plan.steps.iter().map(key).collect()
}

fn key_of(step: &Step, names: &HashMap<MapIdx, &str>) -> String {
    let name = |map: MapIdx| match names.get(&map) {
        Some(name) => (*name).to_owned(),
        None => map.0.to_string(),
    };
    match step {
        Step::LoadBtf { .. } => "the BTF".to_owned(),
        Step::CreateInnerMap { .. } => "template of inner maps".to_owned(),
        Step::CreateMap { map, .. }
        | Step::CreateLegacyMap { map, .. }
        | Step::CreateStructOps { map, .. } => format!("map {} (`{}`)", map.0, name(*map)),
        Step::SeedMap { map, .. } | Step::SetStructOps { map, .. } => {
            format!("initial value of map `{}`", name(*map))
        }
        Step::FillArena { map, .. } => format!("variables of arena `{}`", name(*map)),
        Step::FreezeMap { map } => format!("freezing of map `{}`", name(*map)),
        Step::LinkStructOps { map } => format!("link of map `{}`", name(*map)),
        Step::PinMap { map, .. } => format!("pin of map `{}`", name(*map)),
        Step::SetInnerMap {
            outer: map, slot, ..
        }
        | Step::SetProgram { map, slot, .. } => format!("slot {slot} of map `{}`", name(*map)),
        Step::LoadProgram(program) => format!("program `{}`", program.name),
    }
}

fn compare_step(out: &mut Differences, of: &str, found: &Step, wanted: &Step) {
    match (found, wanted) {
        (Step::LoadBtf { data: found }, Step::LoadBtf { data: wanted }) => {
            bytes(out, of, &Contents::new(found), &Contents::new(wanted));
        }
        (Step::CreateInnerMap { attr: found }, Step::CreateInnerMap { attr: wanted })
        | (Step::CreateMap { attr: found, .. }, Step::CreateMap { attr: wanted, .. }) => {
            map(out, of, found, wanted);
        }
        (
            Step::SeedMap {
                value: found,
                flags: found_flags,
                ..
            },
            Step::SeedMap {
                value: wanted,
                flags: wanted_flags,
                ..
            },
        ) => {
            // The kernel reads as much as a value of the map has.
            let known = found.len().min(wanted.len());
            bytes(out, of, &found.truncated(known), &wanted.truncated(known));
            out.value(of, "flags", *found_flags, *wanted_flags);
        }
        (
            Step::CreateLegacyMap {
                attr: found,
                extra: found_extra,
                ..
            },
            Step::CreateLegacyMap {
                attr: wanted,
                extra: wanted_extra,
                ..
            },
        ) => {
            map(out, of, found, wanted);
            let words = |words: &[u32]| format!("{words:?}");
            out.value(of, "extra words", words(found_extra), words(wanted_extra));
        }
        // By what a loader does, the two are the same.
        (Step::CreateMap { attr: found, .. }, Step::CreateLegacyMap { attr: wanted, .. })
        | (Step::CreateLegacyMap { attr: found, .. }, Step::CreateMap { attr: wanted, .. }) => {
            map(out, of, found, wanted);
        }
        (
            Step::CreateStructOps {
                attr: found,
                value: found_value,
                ..
            },
            Step::CreateStructOps {
                attr: wanted,
                value: wanted_value,
                ..
            },
        ) => {
            map(out, of, found, wanted);
            let struct_name = |value: &StructOpsType| format!("`{}`", value.name);
            out.value(
                of,
                "struct",
                struct_name(found_value),
                struct_name(wanted_value),
            );
        }
        (
            Step::FillArena {
                offset: found_at,
                contents: found,
                ..
            },
            Step::FillArena {
                offset: wanted_at,
                contents: wanted,
                ..
            },
        ) => {
            out.value(of, "offset", *found_at, *wanted_at);
            bytes(out, of, found, wanted);
        }
        (
            Step::PinMap { pinning: found, .. },
            Step::PinMap {
                pinning: wanted, ..
            },
        ) => {
            let way = |pinning: &Pinning| format!("{pinning:?}");
            out.value(of, "way", way(found), way(wanted));
        }
        (
            Step::SetProgram { program: found, .. },
            Step::SetProgram {
                program: wanted, ..
            },
        ) => {
            out.value(of, "the program in it", &found.name, &wanted.name);
        }
        (
            Step::SetStructOps { members: found, .. },
            Step::SetStructOps {
                members: wanted, ..
            },
        ) => struct_ops(out, of, found, wanted),
        (Step::SetInnerMap { inner: found, .. }, Step::SetInnerMap { inner: wanted, .. }) => {
            out.value(of, "the map in it", found.0, wanted.0);
        }
        (Step::LoadProgram(found), Step::LoadProgram(wanted)) => {
            program(out, of, found, wanted);
        }
        // Nothing but what their keys have told.
        (Step::FreezeMap { .. }, Step::FreezeMap { .. })
        | (Step::LinkStructOps { .. }, Step::LinkStructOps { .. }) => {}
        (found, wanted) => out.value(of, "kind", kind_of(found), kind_of(wanted)),
    }
}

/// What tells apart steps that are about the same.
fn kind_of(step: &Step) -> &'static str {
    match step {
        Step::LoadBtf { .. } => "BTF",
        Step::CreateInnerMap { .. } => "template",
        Step::CreateLegacyMap { .. } => "map by a legacy definition",
        Step::CreateMap { .. } => "map",
        Step::CreateStructOps { .. } => "struct_ops map",
        Step::FillArena { .. } => "variables",
        Step::FreezeMap { .. } => "freezing",
        Step::LinkStructOps { .. } => "link",
        Step::PinMap { .. } => "pin",
        Step::SeedMap { .. } => "value",
        Step::SetInnerMap { .. } => "map in a slot",
        Step::SetProgram { .. } => "program in a slot",
        Step::SetStructOps { .. } => "value of a struct_ops map",
        Step::LoadProgram(_) => "program",
    }
}

fn bytes(out: &mut Differences, of: &str, found: &Contents, wanted: &Contents) {
    out.value(of, "size", found.len(), wanted.len());
    if found.len() != wanted.len() {
        return;
    }
    let mut other = found.differences(wanted);
    if let Some((first, found, wanted)) = other.next() {
        let change = Change::Bytes {
            count: 1 + other.count(),
            first,
            found,
            wanted,
        };
        out.add(of, change);
    }
}

/// Members by name: an update may declare the struct in another way.
fn struct_ops(
    out: &mut Differences,
    of: &str,
    found: &[StructOpsMember],
    wanted: &[StructOpsMember],
) {
    let by_name = |members: &[StructOpsMember]| -> BTreeMap<String, String> {
        let named = members.iter().map(|member| {
            let value = match &member.value {
                MemberValue::Bits { value, .. } => format!("{value}"),
                MemberValue::Bytes(bytes) => bpfseal_seal::hex(bytes),
                MemberValue::Program(program) => format!("`{}`", program.name),
            };
            // A loader has no names of members.
            let name = match member.name.as_str() {
                "" => format!("at bit {}", member.bit_offset),
                name => name.to_owned(),
            };
            (name, value)
        });
        named.collect()
    };
    let (found, wanted) = (by_name(found), by_name(wanted));
    let names: BTreeSet<&String> = found.keys().chain(wanted.keys()).collect();
    let value = |members: &BTreeMap<String, String>, name| {
        members.get(name).map_or("0", String::as_str).to_owned()
    };
    for name in names {
        out.value(
            &format!("member `{name}` in the {of}"),
            "value",
            value(&found, name),
            value(&wanted, name),
        );
    }
}

fn map(out: &mut Differences, of: &str, found: &MapAttr, wanted: &MapAttr) {
    out.value(of, "name", &found.name, &wanted.name);
    out.value(of, "type", found.map_type, wanted.map_type);
    for (name, found, wanted) in [
        ("key_size", found.key_size, wanted.key_size),
        ("value_size", found.value_size, wanted.value_size),
        ("max_entries", found.max_entries, wanted.max_entries),
        ("map_flags", found.map_flags, wanted.map_flags),
        ("numa_node", found.numa_node, wanted.numa_node),
        (
            "btf_key_type_id",
            found.btf_key_type_id,
            wanted.btf_key_type_id,
        ),
        (
            "btf_value_type_id",
            found.btf_value_type_id,
            wanted.btf_value_type_id,
        ),
    ] {
        out.value(of, name, found, wanted);
    }
    out.value(of, "map_extra", found.map_extra, wanted.map_extra);
}

fn program(out: &mut Differences, of: &str, found: &ProgramLoad, wanted: &ProgramLoad) {
    out.value(of, "type", found.prog_type, wanted.prog_type);
    out.value(of, "attach type", found.attach_type, wanted.attach_type);
    out.value(of, "prog_flags", found.flags, wanted.flags);
    let target = |program: &ProgramLoad| match &program.attach_target {
        Some(target) => target.to_string(),
        None => "nothing".to_owned(),
    };
    out.value(of, "attach target", target(found), target(wanted));
    code(out, of, &found.insns, &wanted.insns);
    let (powers, allowed) = (Powers::of(found), Powers::of(wanted));
    let gained: Vec<_> = powers
        .helpers
        .difference(&allowed.helpers)
        .chain(powers.symbols.difference(&allowed.symbols))
        .cloned()
        .collect();
    if !gained.is_empty() {
        out.add(of, Change::Gained(gained));
    }
    let lost: Vec<_> = allowed
        .symbols
        .difference(&powers.symbols)
        .cloned()
        .collect();
    if !lost.is_empty() {
        out.add(of, Change::Lost(lost));
    }
    if powers.symbols == allowed.symbols && found.kernel_refs != wanted.kernel_refs {
        out.add(of, Change::Symbols);
    }
    for (what, same) in [
        ("function records", found.func_info == wanted.func_info),
        ("line records", found.line_info == wanted.line_info),
        ("CO-RE relocations", found.core_refs == wanted.core_refs),
        ("jump tables", found.jump_tables == wanted.jump_tables),
        (
            "symbols of other objects",
            found.undefined == wanted.undefined,
        ),
    ] {
        if !same {
            out.add(of, Change::Records(what));
        }
    }
}

fn code(out: &mut Differences, of: &str, found: &[Insn], wanted: &[Insn]) {
    out.value(of, "count of instructions", found.len(), wanted.len());
    let other = || {
        found
            .iter()
            .zip(wanted)
            .enumerate()
            .filter(|(_, (a, b))| a != b)
    };
    if let Some((first, _)) = other().next() {
        let count = other().count();
        out.add(of, Change::Instructions { count, first });
    }
}
