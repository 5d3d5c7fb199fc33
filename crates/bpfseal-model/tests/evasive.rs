//! Loaders that behave in the model and misbehave in a kernel: none of them is reproduced.
//!
//! Each is a generated loader with a probe behind its first call, and behind the probe a change of
//! what it installs, which the model never comes to.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;

use bpfseal_artifact::Interface;
use bpfseal_loader::{EmitOptions, FixedHost, Form, LoadPlan, Loader};
use bpfseal_model::audit::{Audit, Subject, audit, compare};
use bpfseal_object::{Insn, Object};
use proptest::prelude::*;

/// An object's plan and a loader of it.
struct Subjects {
    plan: LoadPlan,
    loader: Loader,
    interface: Interface,
}

impl Subjects {
    fn new(name: &str, form: Form) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../testdata/objects")
            .join(format!("{name}.bpf.o"));
        let object = Object::parse(&std::fs::read(path).unwrap(), name).unwrap();
        let plan = LoadPlan::new(&object, &FixedHost::default()).unwrap();
        Self {
            loader: Loader::new(&plan, EmitOptions::new(form)).unwrap(),
            interface: Interface::new(&object, name),
            plan,
        }
    }

    fn audit(&self, instructions: &[u8], metadata: &[u8]) -> Audit {
        audit(&Subject {
            instructions,
            metadata,
            context: self.interface.context(),
            endian: self.plan.endian,
        })
    }

    /// The loader with more instructions in front of one. Jumps over that place grow with it.
    fn with(&self, at: usize, added: &[Insn]) -> Vec<u8> {
        let mut insns = Insn::decode_all(&self.loader.instructions, self.plan.endian);
        let mut from = 0;
        while from < insns.len() {
            let insn = insns[from];
            let class = insn.code & 7;
            let jumps = matches!(class, 5 | 6) && !matches!(insn.code, 0x85 | 0x95);
            if jumps {
                let to = from as i64 + 1 + i64::from(insn.off);
                let (from_at, at) = (from as i64, at as i64);
                let more = added.len() as i16;
                if from_at < at && to >= at {
                    insns[from].off += more;
                } else if from_at >= at && to < at {
                    insns[from].off -= more;
                }
            }
            from += if insn.is_ld_imm64() { 2 } else { 1 };
        }
        insns.splice(at..at, added.iter().copied());
        self.encode(&insns)
    }

    fn encode(&self, insns: &[Insn]) -> Vec<u8> {
        insns
            .iter()
            .flat_map(|insn| insn.encode(self.plan.endian))
            .collect()
    }

    /// Behind the check of the first call's answer, where r7 is the descriptor of the BTF.
    fn behind_first_call(&self) -> usize {
        let insns = Insn::decode_all(&self.loader.instructions, self.plan.endian);
        // The first is in the clean-up code's look at its stack.
        let calls = |insn: &Insn| insn.code == 0x85 && insn.imm == 166;
        insns.iter().position(calls).unwrap() + 3
    }
}

fn insn(code: u8, dst: u8, src: u8, off: i16, imm: i32) -> Insn {
    Insn {
        code,
        dst,
        src,
        off,
        imm,
    }
}

/// `dst op= imm` on 64 bits, `r1 = imm` and so on.
fn alu(op: u8, dst: u8, imm: i32) -> Insn {
    insn(op | 7, dst, 0, 0, imm)
}

fn mov(dst: u8, src: u8) -> Insn {
    insn(0xbf, dst, src, 0, 0)
}

fn call(helper: i32) -> Insn {
    insn(0x85, 0, 0, 0, helper)
}

/// `r1 = address of the metadata, and an offset`.
fn metadata(dst: u8, offset: i32) -> [Insn; 2] {
    [insn(0x18, dst, 6, 0, 0), insn(0, 0, 0, 0, offset)]
}

const JEQ: u8 = 0x15;
const JGT: u8 = 0x25;
const JGE: u8 = 0x35;
const JSET: u8 = 0x45;
const JNE: u8 = 0x55;
const JSGT: u8 = 0x65;
const JLT: u8 = 0xa5;
const JSLE: u8 = 0xd5;

/// Looks at r7 or another answer, and passes over `payload` in the model.
fn probes() -> Vec<(&'static str, Vec<Insn>)> {
    // A jump over the payload, which has this many instructions.
    const OVER: i16 = 3;
    // Descriptors of the model begin far above those of a process.
    let jump = |op: u8, register: u8, imm: i32| insn(op, register, 0, OVER, imm);
    let with = |first: &[Insn], last: Insn| [first, &[last]].concat();
    let stack = |code: u8, dst: u8, src: u8, off: i16| insn(code, dst, src, off, 0);
    let mut all = vec![
        ("descriptor, at least", vec![jump(JGE, 7, 1000)]),
        ("descriptor, more than", vec![jump(JGT, 7, 500)]),
        ("descriptor, signed", vec![jump(JSGT, 7, 500)]),
        ("descriptor, not", vec![jump(JNE, 7, 4)]),
        ("descriptor, one number", vec![jump(JEQ, 7, 1001)]),
        ("descriptor, a bit", vec![jump(JSET, 7, 0x3f8)]),
        (
            "descriptor, less than",
            vec![insn(JLT, 7, 0, 1, 500), insn(0x05, 0, 0, OVER, 0)],
        ),
        ("descriptor, 32 bits", vec![jump(JGE | 1, 7, 1000)]),
        (
            "descriptor, by a register",
            vec![alu(0xb0, 1, 1000), insn(0x3d, 7, 1, OVER, 0)],
        ),
        (
            "descriptor, the other side",
            vec![alu(0xb0, 1, 1000), insn(0xbd, 1, 7, OVER, 0)],
        ),
    ];
    for (name, op, imm) in [
        ("minus", 0x10, 1000),
        ("plus", 0, -1000),
        ("times", 0x20, 3),
        ("divided", 0x30, 100),
        ("and", 0x50, 0x3f8),
        ("or", 0x40, 1),
        ("shifted right", 0x70, 9),
        ("shifted left", 0x60, 20),
        ("modulo", 0x90, 900),
        ("exclusive or", 0xa0, 3),
        ("shifted with its sign", 0xc0, 9),
    ] {
        let name: &'static str = Box::leak(format!("descriptor, {name}").into_boxed_str());
        // A value that the model does not come to.
        all.push((name, with(&[mov(1, 7), alu(op, 1, imm)], jump(JNE, 1, 7))));
    }
    all.extend([
        (
            "descriptor, by the stack",
            with(
                &[stack(0x7b, 10, 7, -400), stack(0x79, 1, 10, -400)],
                jump(JGE, 1, 1000),
            ),
        ),
        (
            "descriptor, a byte of it",
            with(
                &[stack(0x7b, 10, 7, -400), stack(0x71, 1, 10, -399)],
                jump(JNE, 1, 0),
            ),
        ),
        (
            "descriptor, by the metadata",
            [
                &metadata(1, 0)[..],
                &[
                    stack(0x63, 1, 7, 0),
                    stack(0x61, 2, 1, 0),
                    jump(JGE, 2, 1000),
                ],
            ]
            .concat(),
        ),
        (
            "descriptor, as an index",
            [
                &metadata(1, 0)[..],
                &[
                    insn(0x0f, 1, 7, 0, 0),
                    stack(0x71, 2, 1, 0),
                    jump(JNE, 2, 0x77),
                ],
            ]
            .concat(),
        ),
        (
            "descriptor, hashed",
            with(
                &[
                    mov(1, 7),
                    alu(0x20, 1, 0x0100_0193),
                    alu(0xa0, 1, 0x1234),
                    alu(0x20, 1, 31),
                ],
                jump(JNE, 1, 0),
            ),
        ),
        (
            "answer of close",
            with(&[alu(0xb0, 1, 99), call(168)], jump(JEQ, 0, 0)),
        ),
        (
            "errno of an unknown command",
            with(
                &[
                    alu(0xb0, 1, 999),
                    mov(2, 10),
                    alu(0, 2, -400),
                    alu(0xb0, 3, 8),
                    call(166),
                ],
                jump(JNE, 0, -22),
            ),
        ),
        (
            "context, its size",
            with(&[stack(0x61, 1, 6, 0)], jump(JNE, 1, 0x777)),
        ),
        (
            "context, its flags",
            with(&[stack(0x61, 1, 6, 20)], jump(JNE, 1, 0x777)),
        ),
        (
            "byte order",
            with(
                &[insn(0x7a, 10, 0, -400, 1), stack(0x71, 1, 10, -400)],
                jump(JNE, 1, 0),
            ),
        ),
        (
            "a second run",
            [
                &metadata(1, 8)[..],
                &[
                    stack(0x61, 2, 1, 0),
                    insn(0x62, 1, 0, 0, 1),
                    jump(JEQ, 2, 0),
                ],
            ]
            .concat(),
        ),
        (
            "the kernel's object of the map",
            vec![
                insn(0x18, 1, 5, 0, 0),
                insn(0, 0, 0, 0, 0),
                stack(0x61, 1, 1, 0),
                jump(JNE, 1, 0x777),
            ],
        ),
        ("the time", with(&[call(5)], jump(JNE, 0, 0x777))),
        ("the process", with(&[call(14)], jump(JNE, 0, 0x777))),
        ("the processor", with(&[call(8)], jump(JNE, 0, 0x777))),
        ("chance", with(&[call(7)], jump(JNE, 0, 0x777))),
        (
            "a jump that always jumps",
            vec![alu(0xb0, 1, 1), jump(JNE, 1, 0)],
        ),
        (
            "code that nothing comes to",
            vec![insn(0x05, 0, 0, OVER, 0)],
        ),
        (
            "a loop",
            with(
                &[
                    alu(0xb0, 1, 9),
                    alu(0x10, 1, 1),
                    insn(JSLE | 0x80, 1, 0, -2, 0),
                ],
                jump(JNE, 1, 9),
            ),
        ),
    ]);
    all
}

#[test]
fn no_evasive_loader_is_reproduced() {
    let mut seen = 0;
    for (name, form) in [
        ("sample", Form::Signed),
        ("one_map", Form::CheckingExclusive),
    ] {
        let subjects = Subjects::new(name, form);
        let at = subjects.behind_first_call();
        // What the model passes over: the first instruction of a program.
        let payload = [&metadata(1, 0x200)[..], &[insn(0x62, 1, 0, 0, 0x00b7)]].concat();
        for (means, probe) in probes() {
            let code = subjects.with(at, &[&probe[..], &payload].concat());
            let found = subjects.audit(&code, &subjects.loader.metadata);
            let text = found.reproduction.to_string();
            assert!(!found.reproduction.is_reproduced(), "{name}: {means}");
            assert!(
                text.starts_with("not reproduced"),
                "{name}: {means}: {text}"
            );
            seen += 1;
        }
        // Without a change it is, so that the ones above are what is seen.
        let found = subjects.audit(&subjects.loader.instructions, &subjects.loader.metadata);
        assert!(found.reproduction.is_reproduced(), "{name}");
    }
    assert!(seen >= 60, "{seen}");
}

/// The place is named, with both instructions.
#[test]
fn a_difference_is_named_by_its_place() {
    let subjects = Subjects::new("sample", Form::Signed);
    let at = subjects.behind_first_call();
    let code = subjects.with(at, &[insn(JGE, 7, 0, 0, 1000)]);
    let found = subjects.audit(&code, &subjects.loader.metadata);
    // It begins with the jump to the clean-up code that is no further away, but the next ones are.
    let text = found.reproduction.to_string();
    assert!(
        text.contains(&format!("instruction {at} is `if r7 >= 1000")),
        "{text}"
    );

    let mut metadata = subjects.loader.metadata.clone();
    metadata.push(0);
    let found = subjects.audit(&subjects.loader.instructions, &metadata);
    let text = found.reproduction.to_string();
    assert!(text.contains("of the metadata"), "{text}");
    assert!(!found.reproduction.is_reproduced());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    /// Whatever is changed of a loader: if it is reproduced, and its plan is the object's, it is
    /// the object's loader, byte for byte.
    #[test]
    fn a_changed_loader_is_reproduced_only_as_what_it_is(
        form in prop::sample::select(vec![Form::Signed, Form::CheckingExclusive]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0..8usize, any::<u8>()), 1..4),
        data in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        swap in prop::option::of((any::<prop::sample::Index>(), any::<prop::sample::Index>())),
    ) {
        let subjects = Subjects::new("one_map", form);
        let mut code = subjects.loader.instructions.clone();
        let mut metadata = subjects.loader.metadata.clone();
        for (at, byte, value) in changes {
            let at = at.index(code.len() / 8) * 8 + byte;
            code[at] = value;
        }
        for (at, value) in data {
            let at = at.index(metadata.len());
            metadata[at] = value;
        }
        if let Some((one, other)) = swap {
            let (one, other) = (one.index(code.len() / 8) * 8, other.index(code.len() / 8) * 8);
            for byte in 0..8 {
                code.swap(one + byte, other + byte);
            }
        }
        let found = subjects.audit(&code, &metadata);
        let same_bytes = code == subjects.loader.instructions && metadata == subjects.loader.metadata;
        let same = found.reproduction.is_reproduced() && compare(&found.plan, &subjects.plan).is_empty();
        prop_assert_eq!(same, same_bytes);
    }
}
