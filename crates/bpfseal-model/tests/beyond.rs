//! Loaders that do more than libbpf's do: what they do is recovered, and said to be unusual.
#![allow(clippy::unwrap_used, reason = "tests")]

use bpfseal_loader::ContextLayout;
use bpfseal_loader::plan::{AttachTarget, MemberValue, ProgramRef, Step, StructOpsMember};
use bpfseal_model::audit::{Audit, Finding, Subject, audit};
use bpfseal_object::uapi::{attr, cmd, map, prog};
use bpfseal_object::{Endian, Insn, MapIdx};

/// A loader while it is written: calls of `bpf(2)` by attributes in the metadata, whose first
/// words are the descriptors of maps.
struct Script {
    code: Vec<Insn>,
    metadata: Vec<u8>,
}

/// Descriptors of programs are kept behind those of maps.
const PROGRAMS: usize = 64;

impl Script {
    fn new() -> Self {
        Self {
            code: vec![Insn::new(0xbf, 6, 1, 0, 0)],
            metadata: vec![0; 4 * 320],
        }
    }

    fn data(&mut self, bytes: &[u8]) -> i32 {
        let at = self.metadata.len();
        self.metadata.extend_from_slice(bytes);
        self.metadata
            .resize(self.metadata.len().next_multiple_of(8), 0);
        i32::try_from(at).unwrap()
    }

    /// `register = &metadata[offset]`.
    fn address(&mut self, register: u8, offset: i32) {
        self.code.push(Insn::new(0x18, register, 6, 0, 0));
        self.code.push(Insn::new(0, 0, 0, 0, offset));
    }

    /// Attributes with these words at these offsets.
    fn attr(&mut self, words: &[(usize, u32)]) -> i32 {
        let mut bytes = [0; 152];
        for (at, word) in words {
            bytes[*at..at + 4].copy_from_slice(&word.to_le_bytes());
        }
        self.data(&bytes)
    }

    /// An address of the metadata, in the attributes.
    fn pointer(&mut self, attr: i32, at: usize, target: i32) {
        self.address(0, target);
        self.address(1, attr + i32::try_from(at).unwrap());
        self.code.push(Insn::new(0x7b, 1, 0, 0, 0));
    }

    /// A word of the metadata, somewhere else in it.
    fn copy(&mut self, from: i32, to: i32) {
        self.address(2, from);
        self.code.push(Insn::new(0x61, 0, 2, 0, 0));
        self.address(1, to);
        self.code.push(Insn::new(0x63, 1, 0, 0, 0));
    }

    /// The call; a descriptor that comes of it goes into a slot.
    fn call(&mut self, command: u32, attr: i32, slot: Option<usize>) {
        let command = i32::try_from(command).unwrap();
        self.code.push(Insn::new(0xb7, 1, 0, 0, command));
        self.address(2, attr);
        self.code.push(Insn::new(0xb7, 3, 0, 0, 152));
        self.code.push(Insn::new(0x85, 0, 0, 0, 166));
        if let Some(slot) = slot {
            self.address(1, i32::try_from(slot * 4).unwrap());
            self.code.push(Insn::new(0x63, 1, 0, 0, 0));
        }
    }

    /// The id of a type of the kernel, into the attributes.
    fn find(&mut self, name: &str, kind: i32, to: i32) {
        let text = self.data(format!("{name}\0").as_bytes());
        let len = i32::try_from(name.len() + 1).unwrap();
        self.address(1, text);
        for (register, value) in [(2, len), (3, kind), (4, 0)] {
            self.code.push(Insn::new(0xb7, register, 0, 0, value));
        }
        self.code.push(Insn::new(0x85, 0, 0, 0, 167));
        self.address(1, to);
        self.code.push(Insn::new(0x63, 1, 0, 0, 0));
    }

    fn audit(mut self, maps: u32) -> Audit {
        self.code.push(Insn::new(0xb7, 0, 0, 0, 0));
        self.code.push(Insn::new(0x95, 0, 0, 0, 0));
        let code = self
            .code
            .iter()
            .flat_map(|insn| insn.encode(Endian::Little));
        let code: Vec<u8> = code.collect();
        audit(&Subject {
            instructions: &code,
            metadata: &self.metadata,
            context: ContextLayout { maps, programs: 0 },
            endian: Endian::Little,
        })
    }
}

fn dialect(found: &Audit) -> Vec<&'static str> {
    let findings = found.findings.iter();
    let said = findings.filter_map(|finding| match finding {
        Finding::Dialect { what, .. } => Some(*what),
        _ => None,
    });
    said.collect()
}

fn program(script: &mut Script, slot: usize, words: &[(usize, u32)], find: Option<&str>) {
    let code = [Insn::new(0xb7, 0, 0, 0, 0), Insn::new(0x95, 0, 0, 0, 0)];
    let code: Vec<u8> = code.iter().flat_map(|i| i.encode(Endian::Little)).collect();
    let code = script.data(&code);
    let license = script.data(b"GPL\0");
    let load = attr::prog_load::INSN_CNT.offset();
    let attr = script.attr(&[words, &[(load, 2), (48, u32::from(b'p'))]].concat());
    script.pointer(attr, attr::prog_load::INSNS.offset(), code);
    script.pointer(attr, attr::prog_load::LICENSE.offset(), license);
    script.pointer(attr, attr::prog_load::FD_ARRAY.offset(), 0);
    if let Some(name) = find {
        let id = i32::try_from(attr::prog_load::ATTACH_BTF_ID.offset()).unwrap();
        script.find(name, 4, attr + id);
    }
    script.call(cmd::PROG_LOAD.0, attr, Some(slot));
}

#[test]
fn slots_of_program_arrays_are_recovered() {
    let mut script = Script::new();
    let create = script.attr(&[(0, map::PROG_ARRAY.0), (4, 4), (8, 4), (12, 8)]);
    script.call(cmd::MAP_CREATE.0, create, Some(0));
    program(&mut script, PROGRAMS, &[(0, prog::SCHED_CLS.0)], None);
    // Slot 5 gets the program, slot 6 the map itself, which is none.
    for (slot, value) in [(5_u32, PROGRAMS as i32 * 4), (6, 0)] {
        let key = script.data(&slot.to_le_bytes());
        let update = script.attr(&[]);
        script.copy(0, update);
        script.pointer(update, 8, key);
        script.pointer(update, 16, value);
        script.call(cmd::MAP_UPDATE_ELEM.0, update, None);
    }
    let found = script.audit(1);
    let set = found.plan.steps.last().unwrap();
    assert_eq!(
        *set,
        Step::SetProgram {
            map: MapIdx(0),
            slot: 5,
            program: ProgramRef {
                name: "p".to_owned(),
                place: Some(0),
            },
        }
    );
    assert_eq!(dialect(&found), ["fills a slot of a program array"; 2]);
    let foreign = |finding: &Finding| matches!(finding, Finding::ForeignProgram { .. });
    assert!(found.findings.iter().any(foreign), "{:?}", found.findings);
}

#[test]
fn struct_ops_are_recovered() {
    let mut script = Script::new();
    let create = script.attr(&[(0, map::STRUCT_OPS.0), (4, 4), (8, 64), (12, 1)]);
    script.find("bpf_struct_ops_tcp_congestion_ops", 4, create + 60);
    script.call(cmd::MAP_CREATE.0, create, Some(0));
    let load = [(0, prog::STRUCT_OPS.0), (68, 3)];
    program(&mut script, PROGRAMS, &load, Some("tcp_congestion_ops"));
    let key = script.data(&[0; 4]);
    let mut value = [0; 64];
    value[20] = 7;
    let value = script.data(&value);
    // Descriptors are numbers of eight bytes there.
    script.copy(PROGRAMS as i32 * 4, value + 32);
    let update = script.attr(&[]);
    script.copy(0, update);
    script.pointer(update, 8, key);
    script.pointer(update, 16, value);
    script.call(cmd::MAP_UPDATE_ELEM.0, update, None);
    // `BPF_STRUCT_OPS`; another kind of link is a command that loaders do not give.
    let link = script.attr(&[(8, 44)]);
    script.copy(0, link);
    script.call(cmd::LINK_CREATE.0, link, None);
    let other = script.attr(&[(8, 37)]);
    script.call(cmd::LINK_CREATE.0, other, None);

    let found = script.audit(1);
    let steps = &found.plan.steps;
    let Step::CreateStructOps { value, .. } = &steps[0] else {
        panic!("{:?}", steps[0]);
    };
    assert_eq!(value.name, "tcp_congestion_ops");
    assert_eq!(
        found.plan.programs().next().unwrap().attach_target,
        Some(AttachTarget::StructOps {
            type_name: "tcp_congestion_ops".to_owned(),
            member: "member 3".to_owned(),
        })
    );
    let member = |at: u32, value| StructOpsMember {
        name: String::new(),
        bit_offset: at * 8,
        value,
    };
    let mut bytes = vec![0; 32];
    bytes[20] = 7;
    let program = ProgramRef {
        name: "p".to_owned(),
        place: Some(0),
    };
    assert_eq!(
        steps[2..],
        [
            Step::SetStructOps {
                map: MapIdx(0),
                members: vec![
                    member(0, MemberValue::Bytes(bytes)),
                    member(32, MemberValue::Program(program)),
                ],
            },
            Step::LinkStructOps { map: MapIdx(0) },
        ]
    );
    assert_eq!(
        dialect(&found),
        [
            "makes a struct_ops map",
            "loads a program for struct_ops",
            "sets the value of a struct_ops map",
            "registers a struct_ops map by a link",
        ]
    );
    let command = |finding: &Finding| matches!(finding, Finding::Command { command: 28, .. });
    assert!(found.findings.iter().any(command), "{:?}", found.findings);
}
