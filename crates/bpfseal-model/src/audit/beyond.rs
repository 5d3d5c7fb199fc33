//! Steps that other loaders than libbpf's may take: they are recovered, and said to be such.

use bpfseal_loader::plan::{
    AttachTarget, MapAttr, MemberValue, ProgramRef, Step, StructOpsMember, StructOpsType,
};
use bpfseal_object::{Contents, MapIdx};

use super::Finding;
use super::recover::Recovery;
use crate::record::ProgramAct;

/// Bytes of the number that stands for a program in the value of a struct_ops map.
const WORD: usize = 8;
/// What the kernel calls the types of values of struct_ops maps, before the name of the struct.
const VALUE_PREFIX: &str = "bpf_struct_ops_";

impl Recovery<'_> {
    /// Says that libbpf's loaders do not do this.
    fn beyond(&mut self, insn: usize, what: &'static str) {
        self.findings.push(Finding::Dialect { insn, what });
    }

    /// A struct_ops map, by the type of its value that the loader looked up.
    pub(super) fn create_struct_ops(
        &mut self,
        insn: usize,
        map: MapIdx,
        attr: MapAttr,
        value_type: u32,
    ) -> Step {
        self.beyond(insn, "makes a struct_ops map");
        let found = self.recorder.type_of_id(value_type);
        let name = found.and_then(|(name, _)| name.strip_prefix(VALUE_PREFIX));
        let value = StructOpsType {
            section: String::new(),
            name: name.unwrap_or("?").to_owned(),
            btf_type_id: 0,
        };
        Step::CreateStructOps {
            map,
            attr,
            value: Box::new(value),
        }
    }

    /// The value of a struct_ops map, in the layout of a kernel that is not known here: members
    /// have offsets and no names.
    pub(super) fn set_struct_ops(&mut self, insn: usize, map: MapIdx, value: &Contents) -> Step {
        self.beyond(insn, "sets the value of a struct_ops map");
        let mut members: Vec<StructOpsMember> = Vec::new();
        // Bytes between programs are one member.
        let mut between: Vec<u8> = Vec::new();
        let member = |end: usize, value| StructOpsMember {
            name: String::new(),
            bit_offset: u32::try_from(end * 8).unwrap_or(u32::MAX),
            value,
        };
        let flush = |members: &mut Vec<StructOpsMember>, between: &mut Vec<u8>, end: usize| {
            let bytes = std::mem::take(between);
            if bytes.iter().any(|byte| *byte != 0) {
                members.push(member(end - bytes.len(), MemberValue::Bytes(bytes)));
            }
        };
        let head = value.head();
        for (index, word) in head.chunks(WORD).enumerate() {
            let at = index * WORD;
            match self.program_in(word) {
                Some(program) => {
                    flush(&mut members, &mut between, at);
                    members.push(member(at, MemberValue::Program(program)));
                }
                None => between.extend_from_slice(word),
            }
        }
        flush(&mut members, &mut between, head.len());
        Step::SetStructOps { map, members }
    }

    /// The program whose descriptor a word is.
    fn program_in(&self, word: &[u8]) -> Option<ProgramRef> {
        let mut bytes = [0; WORD];
        bytes[..word.len()].copy_from_slice(word);
        let number = self.recorder.endian.u64(bytes);
        self.program_of(i32::try_from(number).ok()?)
    }

    fn program_of(&self, fd: i32) -> Option<ProgramRef> {
        let (place, name) = self.programs.get(&fd)?;
        Some(ProgramRef {
            name: name.clone(),
            place: Some(*place),
        })
    }

    /// A slot of a program array.
    pub(super) fn set_program(
        &mut self,
        insn: usize,
        map: MapIdx,
        slot: u32,
        fd: i32,
    ) -> Option<Step> {
        self.beyond(insn, "fills a slot of a program array");
        let Some(program) = self.program_of(fd) else {
            self.findings.push(Finding::ForeignProgram { insn, fd });
            return None;
        };
        Some(Step::SetProgram { map, slot, program })
    }

    /// The link that registers a struct_ops map.
    pub(super) fn link_struct_ops(&mut self, insn: usize, map_fd: i32) -> Option<Step> {
        self.beyond(insn, "registers a struct_ops map by a link");
        let map = self.place(insn, map_fd)?;
        Some(Step::LinkStructOps { map })
    }

    /// What a struct_ops program is for: the struct that was looked up, and the place of the member
    /// in the running kernel.
    pub(super) fn struct_ops_target(&mut self, insn: usize, act: &ProgramAct) -> AttachTarget {
        self.beyond(insn, "loads a program for struct_ops");
        let found = self.recorder.type_of_id(act.attach_btf_id);
        AttachTarget::StructOps {
            type_name: found.map_or_else(|| "?".to_owned(), |(name, _)| name.clone()),
            member: format!("member {}", act.attach_type.0),
        }
    }
}
