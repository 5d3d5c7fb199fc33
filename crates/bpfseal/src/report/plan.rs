//! Load plans in reports: steps with what they are about.

use std::collections::BTreeMap;

use super::inspect::ByteOrder;
use crate::loader::LoadPlan;
use crate::loader::plan;
use crate::model::audit::Powers;
use crate::model::disasm::{PlanNames, disassemble, target};
use crate::object::MapIdx;
use crate::object::btf::Btf;

/// One step of a load plan.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Step {
    /// What is done.
    #[cfg_attr(feature = "serde", serde(flatten))]
    pub kind: StepKind,
    /// The step in words.
    pub text: String,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(tag = "do", rename_all = "kebab-case")
)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub enum StepKind {
    /// `BPF_BTF_LOAD`.
    #[non_exhaustive]
    LoadBtf {
        /// Bytes of the BTF.
        bytes: usize,
    },
    /// `BPF_MAP_CREATE` of the template for the map of maps that comes next.
    #[non_exhaustive]
    CreateInnerMap(MapReport),
    /// `BPF_MAP_CREATE`.
    #[non_exhaustive]
    CreateMap {
        /// Its place among the maps, by which programs refer to it.
        index: u32,
        /// Its attributes.
        #[cfg_attr(feature = "serde", serde(flatten))]
        map: MapReport,
    },
    /// `BPF_MAP_UPDATE_ELEM` of the initial value.
    #[non_exhaustive]
    SeedMap {
        /// Name of the map.
        map: String,
        /// Its place among the maps.
        index: u32,
        /// Bytes of the value.
        bytes: usize,
    },
    /// `BPF_MAP_FREEZE`.
    #[non_exhaustive]
    FreezeMap {
        /// Name of the map.
        map: String,
        /// Its place among the maps.
        index: u32,
    },
    /// `BPF_MAP_UPDATE_ELEM` of a slot of a map of maps.
    #[non_exhaustive]
    SetInnerMap {
        /// Name of the map of maps.
        map: String,
        /// Its place among the maps.
        index: u32,
        /// The slot.
        slot: u32,
        /// Name of the map that is put in.
        inner: String,
        /// Its place among the maps.
        inner_index: u32,
    },
    /// `BPF_PROG_LOAD`.
    #[non_exhaustive]
    LoadProgram {
        /// Name of the program.
        program: String,
        /// Its type.
        #[cfg_attr(feature = "serde", serde(rename = "type"))]
        program_type: String,
        /// Count of instructions.
        instructions: usize,
        /// What it attaches to, for programs that are loaded for a target.
        attach_target: Option<String>,
        /// Count of CO-RE relocations, which the kernel resolves.
        core_relocations: usize,
        /// Count of places that take a symbol of the kernel.
        kernel_symbols: usize,
    },
}

/// Attributes of a map, as they go into `BPF_MAP_CREATE`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct MapReport {
    /// Its name.
    #[cfg_attr(feature = "serde", serde(rename = "map"))]
    pub name: String,
    /// Its type.
    #[cfg_attr(feature = "serde", serde(rename = "type"))]
    pub map_type: String,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value.
    pub value_size: u32,
    /// Count of entries.
    pub max_entries: u32,
    /// `BPF_F_*`.
    pub flags: u32,
}

impl From<&plan::MapAttr> for MapReport {
    fn from(attr: &plan::MapAttr) -> Self {
        Self {
            name: attr.name.clone(),
            map_type: attr.map_type.to_string(),
            key_size: attr.key_size,
            value_size: attr.value_size,
            max_entries: attr.max_entries,
            flags: attr.map_flags,
        }
    }
}

impl Step {
    /// The steps of a plan, in order.
    #[must_use]
    pub fn all_of(plan: &LoadPlan) -> Vec<Self> {
        let step = |(index, step)| Self {
            kind: StepKind::of(plan, step),
            text: plan.describe_step(index),
        };
        plan.steps.iter().enumerate().map(step).collect()
    }
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// The name of a map of a plan; its place where it has none.
pub(super) fn map_name(plan: &LoadPlan, of: MapIdx) -> String {
    let found = plan.maps().find(|(map, _)| *map == of);
    found.map_or_else(|| of.0.to_string(), |(_, attr)| attr.name.clone())
}

impl StepKind {
    fn of(plan: &LoadPlan, step: &plan::Step) -> Self {
        match step {
            plan::Step::LoadBtf { data } => Self::LoadBtf { bytes: data.len() },
            plan::Step::CreateInnerMap { attr } => Self::CreateInnerMap(attr.into()),
            plan::Step::CreateMap { map, attr } => Self::CreateMap {
                index: map.0,
                map: attr.into(),
            },
            plan::Step::SeedMap { map, value, .. } => Self::SeedMap {
                map: map_name(plan, *map),
                index: map.0,
                bytes: value.len(),
            },
            plan::Step::FreezeMap { map } => Self::FreezeMap {
                map: map_name(plan, *map),
                index: map.0,
            },
            plan::Step::SetInnerMap { outer, slot, inner } => Self::SetInnerMap {
                map: map_name(plan, *outer),
                index: outer.0,
                slot: *slot,
                inner: map_name(plan, *inner),
                inner_index: inner.0,
            },
            plan::Step::LoadProgram(program) => Self::LoadProgram {
                program: program.name.clone(),
                program_type: program.prog_type.to_string(),
                instructions: program.insns.len(),
                attach_target: program.attach_target.as_ref().map(|t| t.name.clone()),
                core_relocations: program.core_refs.len(),
                kernel_symbols: program.kernel_refs.len(),
            },
        }
    }
}

/// A program that a plan loads, and what it can do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ProgramReport {
    /// Its name.
    pub name: String,
    /// Its type.
    #[cfg_attr(feature = "serde", serde(rename = "type"))]
    pub program_type: String,
    /// What it attaches to, for programs that are loaded for a target.
    pub attach_target: Option<String>,
    /// Count of instructions.
    pub instructions: usize,
    /// Helpers that it calls.
    pub helpers: Vec<String>,
    /// Kernel functions and variables that it takes.
    pub kernel_symbols: Vec<String>,
    /// Names of the maps that it uses.
    pub maps: Vec<String>,
    /// What of it reaches beyond its own maps, in words.
    pub notable: Vec<&'static str>,
}

impl ProgramReport {
    pub(super) fn new(plan: &LoadPlan, program: &plan::ProgramLoad, powers: &Powers) -> Self {
        let map = |place: &u32| map_name(plan, MapIdx(*place));
        Self {
            name: program.name.clone(),
            program_type: program.prog_type.to_string(),
            attach_target: program.attach_target.as_ref().map(|t| t.name.clone()),
            instructions: program.insns.len(),
            helpers: powers.helpers.iter().cloned().collect(),
            kernel_symbols: powers.symbols.iter().cloned().collect(),
            maps: powers.maps.iter().map(map).collect(),
            notable: powers.notable.iter().copied().collect(),
        }
    }

    /// The programs of a plan, in order.
    pub(super) fn all_of(plan: &LoadPlan, powers: &[Powers]) -> Vec<Self> {
        plan.programs()
            .zip(powers)
            .map(|(program, powers)| Self::new(plan, program, powers))
            .collect()
    }
}

/// All that a plan installs, with instructions and source lines.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct PlanReport {
    /// License, which every program gets; empty for none.
    pub license: String,
    /// Byte order.
    pub byte_order: ByteOrder,
    /// The maps, in order.
    pub maps: Vec<PlannedMap>,
    /// The programs, in order.
    pub programs: Vec<PlannedProgram>,
    /// The steps, in order.
    pub steps: Vec<Step>,
}

/// A map that a plan makes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct PlannedMap {
    /// Its place among the maps, by which programs refer to it.
    pub index: u32,
    /// Its attributes.
    #[cfg_attr(feature = "serde", serde(flatten))]
    pub map: MapReport,
}

/// A program that a plan loads.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct PlannedProgram {
    /// What it is and can do.
    #[cfg_attr(feature = "serde", serde(flatten))]
    pub program: ProgramReport,
    /// What it attaches to, in words.
    pub attach: String,
    /// Places of the maps that it uses.
    pub map_indexes: Vec<u32>,
    /// Count of CO-RE relocations, which the kernel resolves.
    pub core_relocations: usize,
    /// Its instructions.
    pub code: Vec<CodeLine>,
}

/// An instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct CodeLine {
    /// Its place.
    pub instruction: usize,
    /// The instruction as text.
    pub text: String,
    /// Where it may go on instead of at the next one.
    pub target: Option<usize>,
    /// The subprogram that begins here.
    pub function: Option<String>,
    /// The source line that begins here.
    pub source: Option<SourceLine>,
}

/// A source line.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct SourceLine {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// The text.
    pub text: String,
}

impl PlanReport {
    /// Of a plan. `powers` are those of its programs where they are known already; `attach` says
    /// what a program attaches to.
    pub(super) fn new(
        plan: &LoadPlan,
        powers: Option<&[Powers]>,
        attach: impl Fn(&plan::ProgramLoad) -> String,
    ) -> Self {
        let btf = btf_of(plan);
        let program = |(index, program): (usize, &plan::ProgramLoad)| {
            let known = powers.and_then(|powers| powers.get(index)).cloned();
            let powers = known.unwrap_or_else(|| Powers::of(program));
            PlannedProgram {
                program: ProgramReport::new(plan, program, &powers),
                attach: attach(program),
                map_indexes: powers.maps.iter().copied().collect(),
                core_relocations: program.core_refs.len(),
                code: code(plan, program, btf.as_ref()),
            }
        };
        Self {
            license: plan.license.clone(),
            byte_order: plan.endian.into(),
            maps: plan
                .maps()
                .map(|(map, attr)| PlannedMap {
                    index: map.0,
                    map: attr.into(),
                })
                .collect(),
            programs: plan.programs().enumerate().map(program).collect(),
            steps: Step::all_of(plan),
        }
    }
}

/// The BTF that the plan loads, which has the source lines.
fn btf_of(plan: &LoadPlan) -> Option<Btf> {
    let data = plan.steps.iter().find_map(|step| match step {
        plan::Step::LoadBtf { data } => Some(data),
        _ => None,
    })?;
    Btf::parse(data, plan.endian).ok()
}

/// The source lines of a program, by the instruction that they stand before: records of
/// `struct bpf_line_info` are instruction, file, line, and line number and column in one word.
fn sources(program: &plan::ProgramLoad, btf: &Btf) -> BTreeMap<u32, SourceLine> {
    let record = (program.line_info.record_size / 4) as usize;
    if record < 4 {
        return BTreeMap::new();
    }
    let records = program.line_info.words.chunks_exact(record);
    let mut all: Vec<(u32, SourceLine)> = records
        .filter_map(|words| {
            let source = SourceLine {
                file: btf.str(words[1])?.to_owned(),
                line: words[3] >> 10,
                text: btf.str(words[2])?.trim().to_owned(),
            };
            Some((words[0], source))
        })
        .collect();
    // Another column of the same line is said once.
    all.dedup_by(|next, before| next.1 == before.1);
    all.into_iter().collect()
}

fn code(plan: &LoadPlan, program: &plan::ProgramLoad, btf: Option<&Btf>) -> Vec<CodeLine> {
    let mut sources = btf.map(|btf| sources(program, btf)).unwrap_or_default();
    let starts: BTreeMap<u32, &String> = program
        .subprograms
        .iter()
        .map(|(at, name)| (*at, name))
        .collect();
    let lines = disassemble(&program.insns, &PlanNames { plan, program });
    lines
        .into_iter()
        .map(|line| {
            let at = u32::try_from(line.insn).unwrap_or(u32::MAX);
            let insn = program.insns.get(line.insn);
            CodeLine {
                instruction: line.insn,
                target: insn.and_then(|insn| target(line.insn, *insn, program.insns.len())),
                text: line.text,
                function: starts.get(&at).map(|name| (*name).clone()),
                source: sources.remove(&at),
            }
        })
        .collect()
}
