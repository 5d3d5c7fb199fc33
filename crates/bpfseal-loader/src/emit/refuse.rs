//! What a dialect of loaders cannot express: goes through a plan before anything of it is emitted.
//!
//! Stands between the plan, which has everything that an object asks for, and the emitter, which
//! gets the steps that are left. Nothing else refuses because of a dialect. Where several reasons
//! apply, the answer is the one that the reference stumbles over first.

use std::collections::{HashMap, HashSet};

use bpfseal_object::uapi::{map as map_type, prog};
use bpfseal_object::{Contents, MapIdx, Pinning};

use crate::Error;
use crate::plan::{
    AttachTarget, LeftOut, LoadPlan, MAX_ATTACH_TARGET, MAX_MAPS, MapAttr, ProgramLoad, Step,
    Unresolved,
};

/// Most zeroes in maps that have nothing else. They are in the loader's metadata one by one, of
/// which a kernel takes about 16 MiB.
const MAX_ZEROES: u64 = 64 << 20;

/// A step that loaders of libbpf 1.8 have.
pub(super) enum LibbpfStep<'p> {
    LoadBtf(&'p [u8]),
    /// `None` for the template of a map of maps.
    CreateMap(Option<MapIdx>, &'p MapAttr),
    SeedMap(MapIdx, &'p Contents, u64),
    FreezeMap(MapIdx),
    SetInnerMap {
        outer: MapIdx,
        slot: u32,
        inner: MapIdx,
    },
    LoadProgram(&'p ProgramLoad),
}

/// The steps of a plan, if a loader of libbpf 1.8 has all of them.
pub(super) fn libbpf(plan: &LoadPlan) -> Result<Vec<LibbpfStep<'_>>, Error> {
    // libbpf opens an object (sections, externs, maps), resolves externs, relocates programs,
    // creates maps, loads programs, and fills program arrays.
    static_functions(plan)?;
    legacy_maps(plan)?;
    zeroes(plan)?;
    unresolved(plan, |one| matches!(one, Unresolved::Undefined { .. }))?;
    pinned_in_other_ways(plan)?;
    struct_ops(plan)?;
    // Sizes of maps are asked for when the maps are created.
    unresolved(plan, |one| {
        !matches!(one, Unresolved::Host { map: Some(_), .. })
    })?;
    plan.programs().try_for_each(program)?;
    maps(plan)?;
    plan.steps
        .iter()
        .map(|step| translate(plan, step))
        .collect()
}

/// A step as libbpf's loaders have it.
fn translate<'p>(plan: &'p LoadPlan, step: &'p Step) -> Result<LibbpfStep<'p>, Error> {
    let name = |map: &MapIdx| plan.map_name(*map).to_owned();
    let struct_ops = |map: &MapIdx| {
        let section = plan.steps.iter().find_map(|step| match step {
            Step::CreateStructOps {
                map: known, value, ..
            } if known == map => Some(value.section.clone()),
            _ => None,
        });
        Error::StructOps {
            section: section.unwrap_or_default(),
        }
    };
    Ok(match step {
        Step::LoadBtf { data } => LibbpfStep::LoadBtf(data),
        Step::CreateInnerMap { attr } => LibbpfStep::CreateMap(None, attr),
        Step::CreateMap { map, attr } => LibbpfStep::CreateMap(Some(*map), attr),
        Step::SeedMap { map, value, flags } => LibbpfStep::SeedMap(*map, value, *flags),
        Step::FreezeMap { map } => LibbpfStep::FreezeMap(*map),
        Step::SetInnerMap { outer, slot, inner } => LibbpfStep::SetInnerMap {
            outer: *outer,
            slot: *slot,
            inner: *inner,
        },
        Step::LoadProgram(program) => LibbpfStep::LoadProgram(program),
        Step::CreateLegacyMap { .. } => return Err(Error::LegacyMaps),
        Step::CreateStructOps { map, .. }
        | Step::LinkStructOps { map }
        | Step::SetStructOps { map, .. } => return Err(struct_ops(map)),
        Step::FillArena { map, contents, .. } => {
            return Err(Error::ArenaData {
                map: name(map),
                size: contents.len(),
            });
        }
        Step::PinMap { map, .. } => return Err(Error::Pinned { map: name(map) }),
        Step::SetProgram { map, .. } => {
            return Err(Error::ProgramArraySlots { map: name(map) });
        }
    })
}

/// Fails with the first value of a kind that is missing.
fn unresolved(plan: &LoadPlan, which: impl Fn(&Unresolved) -> bool) -> Result<(), Error> {
    match plan.unresolved.iter().find(|one| which(one)) {
        Some(one) => Err(Error::from(one)),
        None => Ok(()),
    }
}

fn static_functions(plan: &LoadPlan) -> Result<(), Error> {
    let loaded = plan.programs().filter(|program| program.is_static);
    let loaded = loaded.map(|program| (&program.name, &program.section));
    let left_out = plan.left_out.iter().filter_map(|one| match one {
        LeftOut::Program {
            name,
            section,
            is_static: true,
        } => Some((name, section)),
        LeftOut::Program { .. } | LeftOut::StructOps { .. } => None,
    });
    match loaded.chain(left_out).next() {
        Some((program, section)) => Err(Error::StaticProgram {
            program: program.clone(),
            section: section.clone(),
        }),
        None => Ok(()),
    }
}

fn legacy_maps(plan: &LoadPlan) -> Result<(), Error> {
    let is_legacy = |step: &Step| matches!(step, Step::CreateLegacyMap { .. });
    if plan.steps.iter().any(is_legacy) {
        return Err(Error::LegacyMaps);
    }
    Ok(())
}

fn zeroes(plan: &LoadPlan) -> Result<(), Error> {
    let mut sum: u64 = 0;
    for step in &plan.steps {
        if let Step::SeedMap { map, value, .. } = step
            && value.is_zero()
        {
            let size = value.len() as u64;
            sum = sum.saturating_add(size);
            if sum > MAX_ZEROES {
                return Err(Error::TooManyZeroes {
                    map: plan.map_name(*map).to_owned(),
                    size,
                    limit: MAX_ZEROES,
                });
            }
        }
    }
    Ok(())
}

fn pinned_in_other_ways(plan: &LoadPlan) -> Result<(), Error> {
    let found = plan.steps.iter().find_map(|step| match step {
        Step::PinMap {
            map,
            pinning: Pinning::Other(value),
        } => Some((map, value)),
        _ => None,
    });
    match found {
        Some((map, value)) => Err(Error::Pinning {
            map: plan.map_name(*map).to_owned(),
            value: *value,
        }),
        None => Ok(()),
    }
}

/// Maps of struct_ops, whether they are created by default or not: the first in the file.
fn struct_ops(plan: &LoadPlan) -> Result<(), Error> {
    let created = plan.steps.iter().filter_map(|step| match step {
        Step::CreateStructOps { map, value, .. } => Some((*map, &value.section)),
        _ => None,
    });
    let left_out = plan.left_out.iter().filter_map(|one| match one {
        LeftOut::StructOps { map, section, .. } => Some((*map, section)),
        LeftOut::Program { .. } => None,
    });
    match created.chain(left_out).min_by_key(|(map, _)| *map) {
        Some((_, section)) => Err(Error::StructOps {
            section: section.clone(),
        }),
        None => Ok(()),
    }
}

/// What a program of libbpf's loaders has to have, and may not have.
fn program(load: &ProgramLoad) -> Result<(), Error> {
    let (program, section) = (load.name.clone(), load.section.clone());
    match load.prog_type {
        prog::UNSPEC => return Err(Error::UnknownSection { program, section }),
        prog::STRUCT_OPS => return Err(Error::StructOpsProgram { program, section }),
        _ => {}
    }
    match &load.attach_target {
        Some(AttachTarget::Module { .. }) => {
            return Err(Error::AttachToModule { program, section });
        }
        Some(AttachTarget::Unnamed | AttachTarget::Program { function: None }) => {
            return Err(Error::NoAttachTarget { program, section });
        }
        Some(AttachTarget::Program { .. }) => {
            return Err(Error::AttachToProgram { program, section });
        }
        Some(AttachTarget::StructOps { .. }) => {
            return Err(Error::StructOpsProgram { program, section });
        }
        Some(AttachTarget::Kernel { name, .. }) if name.len() > MAX_ATTACH_TARGET => {
            return Err(Error::AttachTargetLength {
                program,
                length: name.len(),
                limit: MAX_ATTACH_TARGET,
            });
        }
        Some(AttachTarget::Kernel { .. }) | None => {}
    }
    let loads = load.jump_tables.iter().flat_map(|table| &table.loads);
    match loads.min() {
        Some(insn) => Err(Error::JumpTable {
            program,
            insn: *insn,
        }),
        None => Ok(()),
    }
}

/// Maps one by one, as they are created.
fn maps(plan: &LoadPlan) -> Result<(), Error> {
    let count = plan.map_count as usize;
    if count > MAX_MAPS {
        return Err(Error::TooManyMaps {
            count,
            limit: MAX_MAPS,
        });
    }
    let mut pinned = HashSet::new();
    let mut filled = HashMap::new();
    for step in &plan.steps {
        match step {
            Step::PinMap { map, .. } => {
                pinned.insert(*map);
            }
            Step::FillArena { map, contents, .. } => {
                filled.insert(*map, contents.len());
            }
            _ => {}
        }
    }
    for (map, attr) in plan.maps() {
        let name = || attr.name.clone();
        if pinned.contains(&map) {
            return Err(Error::Pinned { map: name() });
        }
        unresolved(
            plan,
            |one| matches!(one, Unresolved::Host { map: Some(of), .. } if *of == map),
        )?;
        if let Some(size) = filled.get(&map) {
            return Err(Error::ArenaData {
                map: name(),
                size: *size,
            });
        }
        // The reference maps the arena into its own memory even when it only makes a loader.
        let page = u64::from(plan.page_size.max(1));
        let mappable = attr.max_entries != 0 && attr.map_extra.is_multiple_of(page);
        if attr.map_type == map_type::ARENA && !mappable {
            return Err(Error::ArenaShape {
                map: name(),
                max_entries: attr.max_entries,
                address: attr.map_extra,
            });
        }
    }
    Ok(())
}
