//! Places in a loader in words: which step of the plan a byte is for, and what it is there.
//!
//! For whoever compares two loaders: an offset alone says nothing.

use bpfseal_object::btf::Btf;
use bpfseal_uapi::attr::{btf_load, map_create, map_elem, prog_load};
use bpfseal_uapi::{FieldInfo, bpf_insn, core_relo};

use super::{Loader, Part};
use crate::LoadPlan;
use crate::plan::Step;

/// Fields that share a place with one that loaders set.
const ELSEWHERE: [FieldInfo; 2] = [prog_load::ATTACH_PROG_FD.info(), map_elem::NEXT_KEY.info()];

/// The attribute at an offset, or before a gap.
fn field(fields: &[FieldInfo], at: usize) -> String {
    fields
        .iter()
        .rev()
        .find(|field| field.offset <= at && !ELSEWHERE.contains(field))
        .map_or_else(String::new, |field| format!("attribute `{}`", field.name))
}

impl Loader {
    /// What an instruction of the loader is for.
    #[must_use]
    pub fn describe_insn(&self, plan: &LoadPlan, insn: usize) -> String {
        let Some(region) = self.insn_region(insn) else {
            return format!("instruction {insn}");
        };
        format!(
            "instruction {insn} ({}): `{}`, instruction {} of it",
            step_text(plan, region.step),
            region.what,
            insn - region.start
        )
    }

    /// What a byte of the metadata is.
    #[must_use]
    pub fn describe_data(&self, plan: &LoadPlan, offset: usize) -> String {
        let Some(region) = self.data_region(offset) else {
            return format!("metadata byte {offset}");
        };
        let at = offset - region.start;
        let inside = if at >= region.len {
            "padding".to_owned()
        } else {
            inside(plan, region.step, region.part, at)
        };
        format!(
            "metadata byte {offset} ({}): {}, {inside}",
            step_text(plan, region.step),
            region.part.name()
        )
    }
}

fn step_text(plan: &LoadPlan, step: Option<usize>) -> String {
    match step {
        Some(step) => format!("step {}: {}", step + 1, plan.describe_step(step)),
        None => "outside of the steps".to_owned(),
    }
}

/// The place inside of a stretch.
fn inside(plan: &LoadPlan, step: Option<usize>, part: Part, at: usize) -> String {
    let step = step.and_then(|index| plan.steps.get(index));
    match (part, step) {
        (Part::BtfAttr, _) => field(btf_load::FIELDS, at),
        (Part::MapAttr, _) => field(map_create::FIELDS, at),
        (Part::UpdateAttr, _) => field(map_elem::FIELDS, at),
        (Part::ProgramAttr, _) => field(prog_load::FIELDS, at),
        (Part::ProgramInsns, Some(Step::LoadProgram(program))) => {
            let insn = u32::try_from(at / bpf_insn::LEN).unwrap_or(u32::MAX);
            let function = program
                .subprograms
                .iter()
                .rev()
                .find(|(start, _)| *start <= insn);
            match function {
                Some((start, name)) => {
                    format!("instruction {insn}, {} of `{name}`", insn - start)
                }
                None => format!("instruction {insn}"),
            }
        }
        (Part::Btf, Some(Step::LoadBtf { data })) => {
            Btf::parse(data, plan.endian).map_or_else(|_| format!("byte {at}"), |btf| btf.place(at))
        }
        (Part::CoreRelos, _) => record(at, core_relo::LEN as u32),
        (Part::FuncInfo, Some(Step::LoadProgram(program))) => {
            record(at, program.func_info.record_size)
        }
        (Part::LineInfo, Some(Step::LoadProgram(program))) => {
            record(at, program.line_info.record_size)
        }
        _ => format!("byte {at}"),
    }
}

fn record(at: usize, size: u32) -> String {
    match size as usize {
        0 => format!("byte {at}"),
        size => format!("record {}, word {}", at / size, at % size / 4),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_attributes_are_named() {
        for fields in [
            btf_load::FIELDS,
            map_create::FIELDS,
            map_elem::FIELDS,
            prog_load::FIELDS,
        ] {
            assert!(fields.is_sorted_by_key(|field| field.offset));
        }
        assert_eq!(field(map_create::FIELDS, 30), "attribute `map_name`");
        assert_eq!(field(prog_load::FIELDS, 4), "attribute `insn_cnt`");
        assert_eq!(
            field(prog_load::FIELDS, 112),
            "attribute `attach_btf_obj_fd`"
        );
        assert_eq!(field(map_elem::FIELDS, 17), "attribute `value`");
    }
}
