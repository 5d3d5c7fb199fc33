//! Two plans side by side: what a loader does, and what it should do.

use std::collections::BTreeSet;
use std::fmt::Debug;

use bpfseal_loader::LoadPlan;
use bpfseal_loader::plan::{KernelRefKind, MapAttr, ProgramLoad, Step};
use bpfseal_object::{Insn, MAX_KERNEL_NAME};

use super::Powers;

/// Something that a loader does otherwise than it should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Which step: what it is about, such as ``map `counts` ``.
    pub of: String,
    /// What is other, in words.
    pub what: String,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.of, self.what)
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
        out.add(
            "the loader",
            format!("it is {:?}-endian, not {:?}", found.endian, wanted.endian),
        );
    }
    if found.license != wanted.license && wanted.programs().next().is_some() {
        let what = format!("it is `{}`, not `{}`", found.license, wanted.license);
        out.add("the license", what);
    }
    let mut matched = BTreeSet::new();
    let mut order = Vec::new();
    for step in &wanted.steps {
        let key = key_of(step, &wanted);
        let mut same_key = found.steps.iter().enumerate().filter(|(index, candidate)| {
            !matched.contains(index) && key_of(candidate, &found) == key
        });
        match same_key.next() {
            Some((index, candidate)) => {
                matched.insert(index);
                order.push(index);
                compare_step(&mut out, &key, candidate, step);
            }
            None => out.add(&key, "it is left out"),
        }
    }
    for (index, step) in found.steps.iter().enumerate() {
        if !matched.contains(&index) {
            out.add(&key_of(step, &found), "it should not be there");
        }
    }
    if out.0.is_empty() && !order.is_sorted() {
        let late = order.windows(2).find(|pair| pair[0] > pair[1]);
        let step = late.and_then(|pair| found.steps.get(pair[1]));
        let key = step.map_or_else(String::new, |step| key_of(step, &found));
        out.add(&key, "it comes too early");
    }
    out.0
}

struct Differences(Vec<Difference>);

impl Differences {
    fn add(&mut self, of: &str, what: impl Into<String>) {
        self.0.push(Difference {
            of: of.to_owned(),
            what: what.into(),
        });
    }

    fn field<T: PartialEq + Debug>(&mut self, of: &str, name: &str, found: &T, wanted: &T) {
        if found != wanted {
            self.add(of, format!("{name} is {found:?}, not {wanted:?}"));
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
            Step::CreateInnerMap { attr } | Step::CreateMap { attr, .. } => {
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

/// What a step is about: the same step in another plan has the same.
fn key_of(step: &Step, plan: &LoadPlan) -> String {
    let name = |map| {
        let attr = plan.maps().find(|(known, _)| *known == map);
        attr.map_or_else(|| format!("{}", map.0), |(_, attr)| attr.name.clone())
    };
    match step {
        Step::LoadBtf { .. } => "the BTF".to_owned(),
        Step::CreateInnerMap { .. } => "template of inner maps".to_owned(),
        Step::CreateMap { map, .. } => format!("map {} (`{}`)", map.0, name(*map)),
        Step::SeedMap { map, .. } => format!("initial value of map `{}`", name(*map)),
        Step::FreezeMap { map } => format!("freezing of map `{}`", name(*map)),
        Step::SetInnerMap { outer, slot, .. } => {
            format!("slot {slot} of map `{}`", name(*outer))
        }
        Step::LoadProgram(program) => format!("program `{}`", program.name),
    }
}

fn compare_step(out: &mut Differences, of: &str, found: &Step, wanted: &Step) {
    match (found, wanted) {
        (Step::LoadBtf { data: found }, Step::LoadBtf { data: wanted }) => {
            bytes(out, of, found, wanted);
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
            bytes(out, of, &found[..known], &wanted[..known]);
            out.field(of, "flags", found_flags, wanted_flags);
        }
        (Step::SetInnerMap { inner: found, .. }, Step::SetInnerMap { inner: wanted, .. }) => {
            out.field(of, "the map in it", &found.0, &wanted.0);
        }
        (Step::LoadProgram(found), Step::LoadProgram(wanted)) => {
            program(out, of, found, wanted);
        }
        _ => {}
    }
}

fn bytes(out: &mut Differences, of: &str, found: &[u8], wanted: &[u8]) {
    if found.len() != wanted.len() {
        let (found, wanted) = (found.len(), wanted.len());
        return out.add(of, format!("it has {found} bytes, not {wanted}"));
    }
    let other = found.iter().zip(wanted).filter(|(a, b)| a != b).count();
    if let Some(first) = found.iter().zip(wanted).position(|(a, b)| a != b) {
        out.add(
            of,
            format!(
                "{other} bytes are other, the first at {first}: {:#04x}, not {:#04x}",
                found[first], wanted[first]
            ),
        );
    }
}

fn map(out: &mut Differences, of: &str, found: &MapAttr, wanted: &MapAttr) {
    out.field(of, "name", &found.name, &wanted.name);
    if found.map_type != wanted.map_type {
        let what = format!("its type is {}, not {}", found.map_type, wanted.map_type);
        out.add(of, what);
    }
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
        out.field(of, name, &found, &wanted);
    }
    out.field(of, "map_extra", &found.map_extra, &wanted.map_extra);
}

fn program(out: &mut Differences, of: &str, found: &ProgramLoad, wanted: &ProgramLoad) {
    if found.prog_type != wanted.prog_type {
        let what = format!("its type is {}, not {}", found.prog_type, wanted.prog_type);
        out.add(of, what);
    }
    if found.attach_type != wanted.attach_type {
        let what = format!(
            "its attach type is {}, not {}",
            found.attach_type, wanted.attach_type
        );
        out.add(of, what);
    }
    out.field(of, "prog_flags", &found.flags, &wanted.flags);
    if found.attach_target != wanted.attach_target {
        let name = |program: &ProgramLoad| match &program.attach_target {
            Some(target) => format!("`{}`", target.name),
            None => "nothing".to_owned(),
        };
        let what = format!("it is for {}, not {}", name(found), name(wanted));
        out.add(of, what);
    }
    code(out, of, &found.insns, &wanted.insns);
    let (powers, allowed) = (Powers::of(found), Powers::of(wanted));
    let gained: Vec<_> = powers
        .helpers
        .difference(&allowed.helpers)
        .chain(powers.symbols.difference(&allowed.symbols))
        .cloned()
        .collect();
    if !gained.is_empty() {
        out.add(of, format!("it also uses {}", gained.join(", ")));
    }
    let lost: Vec<_> = allowed
        .symbols
        .difference(&powers.symbols)
        .cloned()
        .collect();
    if !lost.is_empty() {
        out.add(of, format!("it does not use {}", lost.join(", ")));
    }
    if powers.symbols == allowed.symbols && found.kernel_refs != wanted.kernel_refs {
        out.add(
            of,
            "it takes symbols of the kernel at other places, or does without others",
        );
    }
    for (what, same) in [
        ("function records", found.func_info == wanted.func_info),
        ("line records", found.line_info == wanted.line_info),
        ("CO-RE relocations", found.core_refs == wanted.core_refs),
    ] {
        if !same {
            out.add(of, format!("its {what} are other"));
        }
    }
}

fn code(out: &mut Differences, of: &str, found: &[Insn], wanted: &[Insn]) {
    if found.len() != wanted.len() {
        let what = format!("it has {} instructions, not {}", found.len(), wanted.len());
        out.add(of, what);
    }
    let other = found.iter().zip(wanted).filter(|(a, b)| a != b).count();
    let first = found.iter().zip(wanted).position(|(a, b)| a != b);
    if let Some(at) = first {
        out.add(
            of,
            format!("{other} instructions are other, the first is {at}"),
        );
    }
}
