//! Load plans in reports: steps with what they are about.

use super::parts::ByteOrder;
use crate::loader::LoadPlan;
use crate::loader::plan;
use crate::object::MapIdx;

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
    /// `BPF_MAP_CREATE` of a map by a definition of the first years.
    #[non_exhaustive]
    CreateLegacyMap {
        /// Its place among the maps.
        index: u32,
        /// Its attributes.
        #[cfg_attr(feature = "serde", serde(flatten))]
        map: MapReport,
        /// What follows the five known fields of the definition, in words.
        extra: Vec<u32>,
    },
    /// `BPF_MAP_CREATE`.
    #[non_exhaustive]
    CreateMap {
        /// Its place among the maps, by which programs refer to it.
        index: u32,
        /// Its attributes.
        #[cfg_attr(feature = "serde", serde(flatten))]
        map: MapReport,
    },
    /// `BPF_MAP_CREATE` of a struct_ops map. Its `value_size` is that of the object's struct.
    #[non_exhaustive]
    CreateStructOps {
        /// Its place among the maps.
        index: u32,
        /// Its attributes.
        #[cfg_attr(feature = "serde", serde(flatten))]
        map: MapReport,
        /// The struct of the kernel's.
        #[cfg_attr(feature = "serde", serde(rename = "struct"))]
        struct_name: String,
        /// The type of its value in the kernel.
        value_type: String,
    },
    /// Variables of an arena get their initial values; there is no command for it.
    #[non_exhaustive]
    FillArena {
        /// Name of the arena.
        map: String,
        /// Its place among the maps.
        index: u32,
        /// Offset of the variables in the arena, bytes.
        offset: u64,
        /// Bytes of the variables.
        bytes: usize,
    },
    /// `BPF_LINK_CREATE` of a struct_ops map, which registers it.
    #[non_exhaustive]
    LinkStructOps {
        /// Name of the map.
        map: String,
        /// Its place among the maps.
        index: u32,
    },
    /// `BPF_OBJ_PIN`.
    #[non_exhaustive]
    PinMap {
        /// Name of the map.
        map: String,
        /// Its place among the maps.
        index: u32,
        /// `pinning` as in the object: 1 is by name, libbpf knows no others.
        pinning: u32,
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
    /// `BPF_MAP_UPDATE_ELEM` of a slot of a program array.
    #[non_exhaustive]
    SetProgram {
        /// Name of the program array.
        map: String,
        /// Its place among the maps.
        index: u32,
        /// The slot.
        slot: u32,
        /// Name of the program that is put in.
        program: String,
        /// Whether the program is loaded by default.
        loaded: bool,
    },
    /// `BPF_MAP_UPDATE_ELEM` of the value of a struct_ops map, which registers it if it needs no
    /// link.
    #[non_exhaustive]
    SetStructOps {
        /// Name of the map.
        map: String,
        /// Its place among the maps.
        index: u32,
        /// Members that are not zero.
        members: Vec<MemberReport>,
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
        /// Count of jump tables.
        jump_tables: usize,
        /// Count of places that take a symbol of another object.
        undefined_symbols: usize,
    },
}

/// A member of a struct_ops map.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct MemberReport {
    /// Its name.
    pub name: String,
    /// Offset in the object's declaration of the struct, bits.
    pub bit_offset: u32,
    /// The program that is put in, if it is a function.
    pub program: Option<String>,
    /// The value, in words.
    pub value: String,
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

/// The name of what a program is loaded for.
pub(super) fn attach_target(program: &plan::ProgramLoad) -> Option<String> {
    let target = program.attach_target.as_ref()?;
    target.name().map(str::to_owned)
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
                attach_target: attach_target(program),
                core_relocations: program.core_refs.len(),
                kernel_symbols: program.kernel_refs.len(),
                jump_tables: program.jump_tables.len(),
                undefined_symbols: program.undefined.len(),
            },
            plan::Step::CreateLegacyMap { map, attr, extra } => Self::CreateLegacyMap {
                index: map.0,
                map: attr.into(),
                extra: extra.clone(),
            },
            plan::Step::CreateStructOps { map, attr, value } => Self::CreateStructOps {
                index: map.0,
                map: attr.into(),
                struct_name: value.name.clone(),
                value_type: value.value_type(),
            },
            plan::Step::FillArena {
                map,
                offset,
                contents,
            } => Self::FillArena {
                map: map_name(plan, *map),
                index: map.0,
                offset: *offset,
                bytes: contents.len(),
            },
            plan::Step::LinkStructOps { map } => Self::LinkStructOps {
                map: map_name(plan, *map),
                index: map.0,
            },
            plan::Step::PinMap { map, pinning } => Self::PinMap {
                map: map_name(plan, *map),
                index: map.0,
                pinning: pinning.number(),
            },
            plan::Step::SetProgram { map, slot, program } => Self::SetProgram {
                map: map_name(plan, *map),
                index: map.0,
                slot: *slot,
                program: program.name.clone(),
                loaded: program.place.is_some(),
            },
            plan::Step::SetStructOps { map, members } => Self::SetStructOps {
                map: map_name(plan, *map),
                index: map.0,
                members: members
                    .iter()
                    .map(|member| MemberReport {
                        name: member.name.clone(),
                        bit_offset: member.bit_offset,
                        program: match &member.value {
                            plan::MemberValue::Program(program) => Some(program.name.clone()),
                            _ => None,
                        },
                        value: plan.describe_value(&member.value),
                    })
                    .collect(),
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
