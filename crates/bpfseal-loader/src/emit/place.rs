//! Places in a loader in words: which step of the plan a byte is for, and what it is there.
//!
//! For whoever compares two loaders: an offset alone says nothing.

use bpfseal_object::btf::Btf;

use super::{Loader, Part, attr};
use crate::LoadPlan;
use crate::plan::Step;

/// Fields of `union bpf_attr` by command: name and offset, in order of offsets.
type Fields = &'static [(&'static str, u32)];

const BTF_LOAD: Fields = &[
    ("btf", attr::btf_load::BTF),
    ("btf_log_buf", attr::btf_load::LOG_BUF),
    ("btf_size", attr::btf_load::BTF_SIZE as u32),
    ("btf_log_size", attr::btf_load::LOG_SIZE),
    ("btf_log_level", attr::btf_load::LOG_LEVEL),
];

const MAP_CREATE: Fields = &[
    ("map_type", 0),
    ("key_size", 4),
    ("value_size", 8),
    ("max_entries", 12),
    ("map_flags", 16),
    ("inner_map_fd", 20),
    ("numa_node", 24),
    ("map_name", 28),
    ("map_ifindex", 44),
    ("btf_fd", 48),
    ("btf_key_type_id", 52),
    ("btf_value_type_id", 56),
    ("btf_vmlinux_value_type_id", 60),
    ("map_extra", 64),
];

const MAP_UPDATE: Fields = &[("map_fd", 0), ("key", 8), ("value", 16), ("flags", 24)];

const PROG_LOAD: Fields = &[
    ("prog_type", 0),
    ("insn_cnt", 4),
    ("insns", 8),
    ("license", 16),
    ("log_level", 24),
    ("log_size", 28),
    ("log_buf", 32),
    ("kern_version", 40),
    ("prog_flags", 44),
    ("prog_name", 48),
    ("prog_ifindex", 64),
    ("expected_attach_type", 68),
    ("prog_btf_fd", 72),
    ("func_info_rec_size", 76),
    ("func_info", 80),
    ("func_info_cnt", 88),
    ("line_info_rec_size", 92),
    ("line_info", 96),
    ("line_info_cnt", 104),
    ("attach_btf_id", 108),
    ("attach_btf_obj_fd", 112),
    ("core_relo_cnt", 116),
    ("fd_array", 120),
    ("core_relos", 128),
    ("core_relo_rec_size", 136),
];

fn field(fields: Fields, at: usize) -> String {
    fields
        .iter()
        .rev()
        .find(|(_, start)| *start as usize <= at)
        .map_or_else(String::new, |(name, _)| format!("attribute `{name}`"))
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
        (Part::BtfAttr, _) => field(BTF_LOAD, at),
        (Part::MapAttr, _) => field(MAP_CREATE, at),
        (Part::UpdateAttr, _) => field(MAP_UPDATE, at),
        (Part::ProgramAttr, _) => field(PROG_LOAD, at),
        (Part::ProgramInsns, Some(Step::LoadProgram(program))) => {
            let insn = u32::try_from(at / 8).unwrap_or(u32::MAX);
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
        (Part::CoreRelos, _) => format!("record {}, word {}", at / 16, at % 16 / 4),
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
    fn fields_are_in_order() {
        for fields in [BTF_LOAD, MAP_CREATE, MAP_UPDATE, PROG_LOAD] {
            assert!(fields.is_sorted_by_key(|(_, at)| *at));
        }
        assert_eq!(field(MAP_CREATE, 30), "attribute `map_name`");
        assert_eq!(field(PROG_LOAD, 4), "attribute `insn_cnt`");
    }
}
