//! What a kernel will refuse of an object, before a loader is made of it.
//!
//! A signed loader has no second chance: what is wrong in the object stays wrong. Each finding
//! names the place in the object, the answer, and what to do.

use bpfseal_loader::LoadPlan;
use bpfseal_loader::plan::{MAX_PROGRAMS, MapAttr, Step};
use bpfseal_uapi::{Errno, Version};

use crate::btf_check::{self, Types};
use crate::map_check::{self, Wanted};
use crate::names::check_object_name;
use crate::stack::stack_fault;

/// Something that a kernel refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foreseen {
    /// What it is in the object, such as ``map `events` (section .maps)``.
    pub place: String,
    /// The kernel's answer.
    pub errno: Errno,
    /// Why.
    pub why: String,
    /// What to do about it.
    pub mend: String,
}

impl std::fmt::Display for Foreseen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            place,
            errno,
            why,
            mend,
        } = self;
        write!(f, "{place}: {why} (the kernel answers {errno}); {mend}")
    }
}

/// What a release refuses of a signed loader for a plan, in the order of its steps.
#[must_use]
pub fn foresee(plan: &LoadPlan, release: Version) -> Vec<Foreseen> {
    let mut found = Vec::new();
    if plan.function_count as usize > MAX_PROGRAMS {
        found.push(Foreseen {
            place: "loader".to_owned(),
            errno: Errno::EACCES,
            why: format!(
                "the object has {} functions, and the stack of its loader has room for \
                 {MAX_PROGRAMS}",
                plan.function_count
            ),
            mend: "use fewer functions, or split the object".to_owned(),
        });
    }
    let mut types: Option<Types> = None;
    let mut template = false;
    for step in &plan.steps {
        match step {
            Step::LoadBtf { data } => match btf_check::check(data, plan.endian, release) {
                Ok(good) => types = Some(good),
                Err(refused) => found.push(Foreseen {
                    place: match &refused.at {
                        Some(at) => format!("section .BTF, {at}"),
                        None => "section .BTF".to_owned(),
                    },
                    errno: refused.errno,
                    why: refused.what,
                    mend: "change the name or type in the source, or let another compiler or \
                           `pahole` write the BTF"
                        .to_owned(),
                }),
            },
            Step::CreateInnerMap { attr } => {
                template = true;
                found.extend(map(attr, "inner map", release, types.as_ref()));
            }
            Step::CreateMap { attr, .. } | Step::CreateLegacyMap { attr, .. } => {
                let outer = attr.map_type.holds_maps();
                found.extend(map(attr, "map", release, types.as_ref()));
                if outer && !template {
                    found.push(Foreseen {
                        place: format!("map `{}` (section .maps)", attr.name),
                        errno: Errno::EINVAL,
                        why: "it holds maps, and has no inner map to tell which".to_owned(),
                        mend: "define it with `__array(values, …)`".to_owned(),
                    });
                }
                template = false;
            }
            Step::LoadProgram(program) => {
                let place = format!("program `{}` (section {})", program.name, program.section);
                let name = program.name.as_bytes();
                let name = &name[..name.len().min(bpfseal_uapi::limits::OBJ_NAME_LEN - 1)];
                if let Err(fault) = check_object_name(name) {
                    found.push(Foreseen {
                        place: place.clone(),
                        errno: Errno::EINVAL,
                        why: fault.to_string(),
                        mend: "name it with letters, digits, `_` and `.` only".to_owned(),
                    });
                }
                if let Some(fault) = stack_fault(&program.insns) {
                    found.push(Foreseen {
                        place: format!("{place}, instruction {}", fault.insn),
                        errno: Errno::EACCES,
                        why: fault.to_string(),
                        mend: "use less of the stack: a frame has 512 bytes".to_owned(),
                    });
                }
            }
            // The kernel's own types decide about maps of struct_ops.
            _ => {}
        }
    }
    found
}

fn map(attr: &MapAttr, what: &str, release: Version, types: Option<&Types>) -> Option<Foreseen> {
    let mut wanted = Wanted::of_plan(attr);
    if types.is_none() {
        // The BTF is refused before the map is asked for.
        wanted.trust_types();
        if matches!(
            attr.map_type,
            bpfseal_uapi::map::SK_STORAGE
                | bpfseal_uapi::map::INODE_STORAGE
                | bpfseal_uapi::map::TASK_STORAGE
                | bpfseal_uapi::map::CGRP_STORAGE
        ) {
            return None;
        }
    }
    let refused = map_check::check(&wanted, release, types).err()?;
    Some(Foreseen {
        place: format!("{what} `{}` (section .maps)", attr.name),
        errno: refused.errno,
        why: refused.fault.to_string(),
        mend: refused.fault.mend().to_owned(),
    })
}
