//! Steps of a plan in words, for reports and for naming differences.

use std::fmt::Write as _;

use bpfseal_object::uapi::prog;
use bpfseal_object::{MapIdx, Pinning};

use super::{LoadPlan, MapAttr, MemberValue, ProgramLoad, ProgramRef, Step};

fn shape(attr: &MapAttr) -> String {
    format!(
        "`{}`, {}, {} entries of {} + {} bytes",
        attr.name, attr.map_type, attr.max_entries, attr.key_size, attr.value_size
    )
}

fn reference(program: &ProgramRef) -> String {
    match program.place {
        Some(_) => format!("`{}`", program.name),
        None => format!("`{}` (not loaded by default)", program.name),
    }
}

fn type_name(program: &ProgramLoad) -> String {
    match program.prog_type {
        prog::UNSPEC => "unknown type".to_owned(),
        known => known.to_string(),
    }
}

impl LoadPlan {
    /// Name of a map of the plan.
    pub(crate) fn map_name(&self, map: MapIdx) -> &str {
        self.maps()
            .find(|(index, _)| *index == map)
            .map_or("?", |(_, attr)| &attr.name)
    }

    /// The value of a member of a struct_ops map in words.
    #[must_use]
    pub fn describe_value(&self, value: &MemberValue) -> String {
        match value {
            MemberValue::Program(program) => reference(program),
            MemberValue::Bits { value, .. } => value.to_string(),
            MemberValue::Bytes(bytes) => self.describe_bytes(bytes),
        }
    }

    /// Bytes as a number or text, if they look like one.
    fn describe_bytes(&self, bytes: &[u8]) -> String {
        let number = match *bytes {
            [byte] => Some(u64::from(byte)),
            [a, b] => Some(u64::from(self.endian.u16([a, b]))),
            [a, b, c, d] => Some(u64::from(self.endian.u32([a, b, c, d]))),
            _ => <[u8; 8]>::try_from(bytes)
                .ok()
                .map(|bytes| self.endian.u64(bytes)),
        };
        if let Some(number) = number {
            return format!("{number:#x}");
        }
        let end = bytes.iter().position(|byte| *byte == 0);
        let (text, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
        let is_text = text.iter().all(|byte| (b' '..=b'~').contains(byte));
        if is_text && rest.iter().all(|byte| *byte == 0) {
            return format!("{:?}", String::from_utf8_lossy(text));
        }
        format!("{} bytes", bytes.len())
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
            Step::CreateMap { attr, .. } => format!("create map {}", shape(attr)),
            Step::CreateLegacyMap { attr, extra, .. } => {
                let mut text = format!("create map {}, by a legacy definition", shape(attr));
                if !extra.is_empty() {
                    let _ = write!(text, " with {} more words", extra.len());
                }
                text
            }
            Step::CreateStructOps { attr, value, .. } => format!(
                "create struct_ops map `{}`, value `{}`",
                attr.name,
                value.value_type()
            ),
            Step::FillArena {
                map,
                offset,
                contents,
            } => format!(
                "put {} bytes of variables into arena `{}` at {offset:#x}",
                contents.len(),
                self.map_name(*map)
            ),
            Step::LinkStructOps { map } => {
                format!("register `{}` by a link", self.map_name(*map))
            }
            Step::PinMap { map, pinning } => match pinning {
                Pinning::Other(number) => {
                    format!("pin `{}`, in the unknown way {number}", self.map_name(*map))
                }
                Pinning::None | Pinning::ByName => {
                    format!("pin `{}` by its name", self.map_name(*map))
                }
            },
            Step::SetProgram { map, slot, program } => format!(
                "put program {} into slot {slot} of `{}`",
                reference(program),
                self.map_name(*map)
            ),
            Step::SetStructOps { map, members } => {
                let mut text = format!("set `{}`", self.map_name(*map));
                for (index, member) in members.iter().enumerate() {
                    text.push_str(if index == 0 { " to " } else { ", " });
                    let value = self.describe_value(&member.value);
                    let _ = write!(text, "{} = {value}", member.name);
                }
                text
            }
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
                    type_name(program),
                    program.insns.len()
                );
                if let Some(target) = &program.attach_target {
                    let _ = write!(text, ", for {target}");
                }
                for (count, what) in [
                    (program.core_refs.len(), "CO-RE relocations"),
                    (program.kernel_refs.len(), "kernel symbols"),
                    (program.jump_tables.len(), "jump tables"),
                    (program.undefined.len(), "symbols of other objects"),
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
