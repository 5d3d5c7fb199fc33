//! Steps of a plan in words, for reports and for naming differences.

use std::fmt::Write as _;

use bpfseal_object::MapIdx;

use super::{LoadPlan, Step};

impl LoadPlan {
    /// Name of a map of the plan.
    fn map_name(&self, map: MapIdx) -> &str {
        self.maps()
            .find(|(index, _)| *index == map)
            .map_or("?", |(_, attr)| &attr.name)
    }

    /// A step in words, without its number; empty when there is no such step.
    #[must_use]
    pub fn describe_step(&self, index: usize) -> String {
        let Some(step) = self.steps.get(index) else {
            return String::new();
        };
        match step {
            Step::LoadBtf { data } => format!("load BTF, {} bytes", data.len()),
            Step::CreateInnerMap { attr } => {
                format!("create the template `{}`, {}", attr.name, attr.map_type)
            }
            Step::CreateMap { attr, .. } => format!(
                "create map `{}`, {}, {} entries of {} + {} bytes",
                attr.name, attr.map_type, attr.max_entries, attr.key_size, attr.value_size
            ),
            Step::SeedMap { map, value, .. } => {
                format!("set `{}` to its {} bytes", self.map_name(*map), value.len())
            }
            Step::FreezeMap { map } => format!("freeze `{}`", self.map_name(*map)),
            Step::SetInnerMap { outer, slot, inner } => format!(
                "put `{}` into slot {slot} of `{}`",
                self.map_name(*inner),
                self.map_name(*outer)
            ),
            Step::LoadProgram(program) => {
                let mut text = format!(
                    "load program `{}`, {}, {} instructions",
                    program.name,
                    program.prog_type,
                    program.insns.len()
                );
                if let Some(target) = &program.attach_target {
                    let _ = write!(text, ", for `{}`", target.name);
                }
                for (count, what) in [
                    (program.core_refs.len(), "CO-RE relocations"),
                    (program.kernel_refs.len(), "kernel symbols"),
                ] {
                    if count > 0 {
                        let _ = write!(text, ", {count} {what}");
                    }
                }
                text
            }
        }
    }
}
