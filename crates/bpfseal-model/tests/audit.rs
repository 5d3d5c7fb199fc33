//! The audit of loaders that somebody changed, and signed: only running them shows it.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;

use bpfseal_artifact::Interface;
use bpfseal_loader::plan::{AttachTarget, ProgramLoad, Step};
use bpfseal_loader::{EmitOptions, FixedHost, Form, LoadPlan, Loader, Part};
use bpfseal_model::audit::{Audit, Finding, Subject, audit, compare};
use bpfseal_object::{Insn, MapIdx, Object};
use bpfseal_uapi::{MapType, attach, cmd, prog};

/// An object, its plan, and what its caller expects of a context.
struct Original {
    plan: LoadPlan,
    interface: Interface,
}

fn original(name: &str) -> Original {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../testdata/objects")
        .join(format!("{name}.bpf.o"));
    let object = Object::parse(&std::fs::read(path).unwrap(), name).unwrap();
    let host = FixedHost {
        kallsyms: Some(Vec::new()),
        ..FixedHost::default()
    };
    Original {
        plan: LoadPlan::new(&object, &host).unwrap(),
        interface: Interface::new(&object, name),
    }
}

fn loader(plan: &LoadPlan, form: Form) -> Loader {
    Loader::new(plan, EmitOptions::new(form)).unwrap()
}

impl Original {
    fn audit(&self, loader: &Loader) -> Audit {
        self.audit_bytes(&loader.instructions, &loader.metadata)
    }

    fn audit_bytes(&self, instructions: &[u8], metadata: &[u8]) -> Audit {
        audit(&Subject {
            instructions,
            metadata,
            context: self.interface.context(),
            endian: self.plan.endian,
        })
    }

    /// The plan, changed and compiled again: the audit has to say these words.
    #[track_caller]
    fn planted(&self, words: &str, change: impl FnOnce(&mut LoadPlan)) {
        let mut plan = self.plan.clone();
        change(&mut plan);
        let found = self.audit(&loader(&plan, Form::Signed));
        self.said(&found, words);
    }

    #[track_caller]
    fn said(&self, found: &Audit, words: &str) {
        let mut all: Vec<String> = compare(&found.plan, &self.plan)
            .iter()
            .map(ToString::to_string)
            .collect();
        all.extend(found.findings.iter().map(ToString::to_string));
        all.extend(found.influences.iter().map(|i| i.what.clone()));
        assert!(
            all.iter().any(|text| text.contains(words)),
            "no `{words}` in {all:#?}"
        );
    }
}

/// The programs of a plan.
fn programs(plan: &mut LoadPlan) -> impl Iterator<Item = &mut ProgramLoad> {
    plan.steps.iter_mut().filter_map(|step| match step {
        Step::LoadProgram(program) => Some(&mut **program),
        _ => None,
    })
}

fn program(plan: &mut LoadPlan) -> &mut ProgramLoad {
    programs(plan).next().unwrap()
}

#[test]
fn nothing_is_said_of_a_good_loader() {
    for name in ["sample", "globals", "ksyms", "inner_maps", "work_tracing"] {
        let original = original(name);
        for form in [
            Form::Signed,
            Form::CheckingMetadata,
            Form::CheckingExclusive,
        ] {
            let found = original.audit(&loader(&original.plan, form));
            assert_eq!(compare(&found.plan, &original.plan), [], "{name} {form:?}");
            assert_eq!(found.findings, [], "{name} {form:?}");
            assert_eq!(found.influences, [], "{name} {form:?}");
        }
    }
}

/// Planted in a plan: what is signed is a loader in good form, which does something else.
#[test]
fn a_changed_plan_is_named() {
    let sample = original("sample");
    // 1: another program under the same name.
    let code = program(&mut original("globals").plan).insns.clone();
    sample.planted("count of instructions is 165, not 64", |plan| {
        program(plan).insns = code;
    });
    // 2: another size of a map; 3: another type.
    let attr_of_calls = |plan: &mut LoadPlan, entries: u32, kind: u32| {
        for step in &mut plan.steps {
            if let Step::CreateMap {
                map: MapIdx(0),
                attr,
            } = step
            {
                attr.max_entries = entries;
                attr.map_type = MapType(kind);
            }
        }
    };
    sample.planted("map 0 (`calls`): max_entries is 1, not 1024", |plan| {
        attr_of_calls(plan, 1, 1);
    });
    sample.planted("type is array, not hash", |plan| {
        attr_of_calls(plan, 1024, 2);
    });
    // 4: another helper.
    sample.planted("it also uses bpf_probe_write_user", |plan| {
        let insns = &mut program(plan).insns;
        let call = insns.iter_mut().find(|i| i.helper().is_some()).unwrap();
        call.imm = 36;
    });
    // 5: a map that is not frozen.
    sample.planted("freezing of map `sample.rodata`: it is left out", |plan| {
        plan.steps
            .retain(|step| !matches!(step, Step::FreezeMap { .. }));
    });
    // 6: another initial value.
    sample.planted(
        "initial value of map `sample.rodata`: 1 bytes are other",
        |plan| {
            for step in &mut plan.steps {
                if let Step::SeedMap {
                    map: MapIdx(2),
                    value,
                    ..
                } = step
                {
                    let mut bytes = value.to_vec();
                    bytes[0] ^= 1;
                    *value = bytes.into();
                }
            }
        },
    );
    // 7: a jump that goes elsewhere.
    sample.planted("1 instructions are other", |plan| {
        let insns = &mut program(plan).insns;
        let jump = insns.iter_mut().find(|i| i.code & 7 == 5 && i.off > 0);
        jump.unwrap().off += 1;
    });
    // 8: another type of program.
    sample.planted("type is kprobe, not raw_tracepoint", |plan| {
        program(plan).prog_type = prog::KPROBE;
    });
    // 9: a program that is left out, and 10: one that is added.
    sample.planted("program `on_sys_enter`: it is left out", |plan| {
        plan.steps
            .retain(|step| !matches!(step, Step::LoadProgram(_)));
    });
    sample.planted("program `more`: it should not be there", |plan| {
        let mut more = program(plan).clone();
        more.name = "more".to_owned();
        plan.steps.push(Step::LoadProgram(Box::new(more)));
    });
    // 11: another license, which other helpers are for.
    sample.planted("license is `GPL v2`, not `Dual MIT/GPL`", |plan| {
        plan.license = "GPL v2".to_owned();
    });
    // 12: steps in another order.
    sample.planted("it comes too early", |plan| plan.steps.swap(1, 2));

    let tracing = original("work_tracing");
    // 13: another attach target; 14: another attach type.
    tracing.planted("attach target is `security_file_open`", |plan| {
        for program in programs(plan) {
            if let Some(AttachTarget::Kernel { name, .. }) = &mut program.attach_target {
                *name = "security_file_open".to_owned();
            }
        }
    });
    tracing.planted("attach type is trace_iter", |plan| {
        program(plan).attach_type = attach::BPF_TRACE_ITER;
    });
    let inner = original("inner_maps");
    // 15: another map in a slot.
    inner.planted("the map in it", |plan| {
        let count = plan.map_count;
        for step in &mut plan.steps {
            if let Step::SetInnerMap { inner, .. } = step {
                inner.0 = (inner.0 + 1) % count;
            }
        }
    });
    let ksyms = original("ksyms");
    // 16: another function of the kernel.
    ksyms.planted("it also uses bpf_task_acquire", |plan| {
        for reference in programs(plan).flat_map(|p| &mut p.kernel_refs) {
            if reference.name == "bpf_task_from_pid" {
                reference.name = "bpf_task_acquire".to_owned();
            }
        }
    });
    // 17: it does without a function that it should not do without.
    ksyms.planted("does without others", |plan| {
        for reference in programs(plan).flat_map(|p| &mut p.kernel_refs) {
            reference.weak = true;
        }
    });
}

/// `r1 = number`, as before a command.
fn command(insns: &[Insn], number: i32) -> usize {
    let found = insns
        .iter()
        .position(|i| i.code == 0xb7 && i.dst == 1 && i.imm == number);
    found.unwrap()
}

const FREEZE: i32 = cmd::MAP_FREEZE.0.cast_signed();

/// Planted behind a command: what would tell a kernel from the model by what it answers.
#[test]
fn a_loader_that_looks_at_answers_is_named() {
    const ADDRESS: &str = "answer as an address";
    const BRANCH: &str = "branches on more of the kernel's answer";
    const CALCULATION: &str = "calculates with the kernel's answer";
    let sample = original("sample");
    let good = loader(&sample.plan, Form::Signed);
    let op = Insn::new;
    // Compares, with a number or a register; calculates without a branch; indexes; by the stack.
    let mut means: Vec<(Vec<Insn>, &str)> = Vec::new();
    for code in [
        0x15, 0x25, 0x35, 0x45, 0x55, 0x65, 0x75, 0xa5, 0xb5, 0xc5, 0xd5, 0x16, 0x26, 0x36, 0x46,
        0x56, 0x66, 0x76, 0xa6, 0xb6, 0xc6, 0xd6, 0x1d, 0x3d, 0x5d, 0x6d, 0xbd,
    ] {
        let imm = if code & 8 == 0 { 1000 } else { 0 };
        means.push((vec![op(code, 0, 10, 0, imm)], BRANCH));
    }
    for code in [
        0x07, 0x17, 0x27, 0x37, 0x47, 0x57, 0x67, 0x77, 0x97, 0xa7, 0xc7, 0x04, 0x54, 0x94, 0xa4,
    ] {
        means.push((vec![op(code, 0, 0, 0, 3)], CALCULATION));
    }
    means.push((
        vec![op(0xbf, 1, 10, 0, 0), op(0x1f, 1, 0, 0, 0)],
        CALCULATION,
    ));
    means.push((vec![op(0x71, 1, 0, 0, 0)], ADDRESS));
    means.push((
        vec![
            op(0x7b, 10, 0, -8, 0),
            op(0x71, 1, 10, -8, 0),
            op(0x15, 1, 0, 0, 7),
        ],
        BRANCH,
    ));
    let original = Insn::decode_all(&good.instructions, good.endian);
    let call = original
        .iter()
        .rposition(|i| i.code == 0x85 && i.imm == 166);
    let after = call.unwrap() + 1;
    for (inserted, used) in means {
        let mut insns = original.clone();
        insns.splice(after..after, inserted.iter().copied());
        let bytes: Vec<u8> = insns.iter().flat_map(|i| i.encode(good.endian)).collect();
        let found = sample.audit_bytes(&bytes, &good.metadata);
        sample.said(&found, used);
    }
}

/// Planted in a loader's own code, where no plan has it.
#[test]
fn a_changed_loader_is_named() {
    let sample = original("sample");
    // A host that sets sizes and values: the form that is not for signatures, signed.
    let open = loader(&sample.plan, Form::Unsigned);
    let found = sample.audit(&open);
    sample.said(&found, "`max_entries` of map `calls`");
    sample.said(&found, "the initial value of map `sample.rodata`");

    let good = loader(&sample.plan, Form::Signed);
    #[track_caller]
    fn check(sample: &Original, good: &Loader, words: &str, edit: impl FnOnce(&mut [Insn])) {
        let mut insns = Insn::decode_all(&good.instructions, good.endian);
        edit(&mut insns);
        let bytes: Vec<u8> = insns.iter().flat_map(|i| i.encode(good.endian)).collect();
        let found = sample.audit_bytes(&bytes, &good.metadata);
        sample.said(&found, words);
    }
    let check = |words: &str, edit: &dyn Fn(&mut [Insn])| check(&sample, &good, words, edit);
    // The command that freezes is another, or jumped over.
    let looks_up = |insns: &mut [Insn]| insns[command(insns, FREEZE)].imm = 1;
    check("command 1 of bpf(2)", &looks_up);
    check("freezing of map `sample.rodata`: it is left out", &looks_up);
    check(
        "freezing of map `sample.rodata`: it is left out",
        &|insns| {
            // Behind the call and its result: the result is still that of the call before.
            insns[command(insns, FREEZE)] = Insn::new(0x05, 0, 0, 5, 0);
        },
    );
    // Two maps are handed over the wrong way round.
    check("the caller gets map `events` for map `calls`", &|insns| {
        let stores: Vec<usize> = (0..insns.len())
            .filter(|at| insns[*at].code == 0x63 && insns[*at].dst == 6)
            .collect();
        // The program's, then the maps'.
        let (a, b) = (stores[1], stores[2]);
        let off = insns[a].off;
        insns[a].off = insns[b].off;
        insns[b].off = off;
    });
    // It ends with an error, or not at all.
    let end = good.instructions.len() / 8 - 1;
    check("it returns -1", &|insns| insns[end - 1].imm = -1);
    check("runs a second time", &|insns| {
        insns[end] = Insn::new(0x05, 0, 0, -2, 0);
    });
    check("helper 36 is not one that loaders use", &|insns| {
        insns[end - 1] = Insn::new(0x85, 0, 0, 0, 36);
    });
    check("writes 8 bytes", &|insns| {
        insns[end - 1] = Insn::new(0x7a, 10, 0, -600, 0);
    });
    // What a host gives is used as an address, or decides on the way.
    check("an address that the host gives", &|insns| {
        insns[end - 3] = Insn::new(0x79, 1, 6, 16, 0);
        insns[end - 2] = Insn::new(0x7a, 1, 0, 0, 0);
    });
    check("which way the loader goes", &|insns| {
        insns[end - 3] = Insn::new(0x61, 1, 6, 28, 0);
        insns[end - 2] = Insn::new(0x15, 1, 0, 0, 0);
    });
}

#[test]
fn what_is_no_loader_is_refused() {
    let sample = original("sample");
    for bytes in [
        &[][..],
        &[0; 7],
        &[0; 8],
        &[0x18, 0, 0, 0, 0, 0, 0, 0],
        &[0xb7, 0, 0, 0, 0, 0, 0, 0],
    ] {
        let found = sample.audit_bytes(bytes, &[]);
        let fault = matches!(found.findings[..], [Finding::Fault(_), ..]);
        assert!(fault, "{bytes:?}");
    }
}

/// Nothing that is made of a loader by chance makes the audit panic, hang, or take memory without
/// bounds: every run ends after at most as many steps as there are instructions.
#[test]
fn ten_thousand_changed_loaders_do_no_harm() {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let subjects: Vec<(Original, Loader)> = ["minimal", "sample", "inner_maps", "ksyms"]
        .into_iter()
        .map(|name| {
            let original = original(name);
            let loader = loader(&original.plan, Form::Unsigned);
            (original, loader)
        })
        .collect();
    let mut unharmed = 0;
    for round in 0..10_000 {
        let (original, loader) = &subjects[round % subjects.len()];
        let (mut code, mut data) = (loader.instructions.clone(), loader.metadata.clone());
        for _ in 0..=random(4) {
            let value = random(256) as u8;
            let bytes = if random(2) == 0 { &mut code } else { &mut data };
            let at = random(bytes.len());
            bytes[at] = value;
        }
        let found = original.audit_bytes(&code, &data);
        let _ = compare(&found.plan, &original.plan);
        unharmed += usize::from(found.findings.is_empty());
    }
    assert!((1..10_000).contains(&unharmed), "{unharmed}");
}

/// Fields that no plan has a place for.
#[test]
fn what_no_plan_has_is_found() {
    let sample = original("one_map");
    let good = loader(&sample.plan, Form::Signed);
    let place = |part| {
        let mut regions = good.data_regions.iter();
        regions.find(|region| region.part == part).unwrap().start
    };
    for (part, offset, words) in [
        (Part::ProgramAttr, 64, "`prog_ifindex` of program"),
        (Part::MapAttr, 44, "`map_ifindex` of map"),
        (Part::MapAttr, 60, "`btf_vmlinux_value_type_id` of map"),
    ] {
        let mut metadata = good.metadata.clone();
        metadata[place(part) + offset] = 1;
        let found = sample.audit_bytes(&good.instructions, &metadata);
        let texts: Vec<String> = found.findings.iter().map(ToString::to_string).collect();
        assert!(texts.iter().any(|text| text.contains(words)), "{texts:?}");
    }
}

/// A map, and its value written again and again: what is kept of it is bounded.
#[test]
fn a_loader_that_repeats_itself_is_bounded() {
    const VALUE: usize = 1 << 20;
    const TIMES: usize = 100;
    // `BPF_MAP_CREATE` of an array, then `BPF_MAP_UPDATE_ELEM`, then key and value.
    let create = [2, 4, VALUE as u32, 1];
    let mut metadata: Vec<u8> = create.iter().flat_map(|w: &u32| w.to_le_bytes()).collect();
    metadata.resize(64 + 32 + 8 + VALUE, 0);
    let value_of = |register, offset| {
        [
            Insn::new(0x18, register, 6, 0, 0),
            Insn::new(0, 0, 0, 0, offset),
        ]
    };
    let call = |command, attr, len| {
        let mut out = vec![Insn::new(0xb7, 1, 0, 0, command)];
        out.extend(value_of(2, attr));
        out.push(Insn::new(0xb7, 3, 0, 0, len));
        out.push(Insn::new(0x85, 0, 0, 0, 166));
        out
    };
    let mut code = vec![Insn::new(0xbf, 6, 1, 0, 0)];
    code.extend(call(0, 0, 64));
    // The descriptor and the addresses go into the attributes of the update.
    code.extend(value_of(1, 64));
    code.push(Insn::new(0x63, 1, 0, 0, 0));
    for (at, what) in [(8, 96), (16, 104)] {
        code.extend(value_of(2, what));
        code.push(Insn::new(0x7b, 1, 2, at, 0));
    }
    for _ in 0..TIMES {
        code.extend(call(2, 64, 32));
    }
    code.push(Insn::new(0x95, 0, 0, 0, 0));
    let little = bpfseal_object::Endian::Little;
    let code: Vec<u8> = code.iter().flat_map(|insn| insn.encode(little)).collect();
    let found = original("one_map").audit_bytes(&code, &metadata);
    let fails = Finding::Fails { returned: -12 };
    assert!(found.findings.contains(&fails), "{:?}", found.findings);
    let steps = found.plan.steps.iter();
    let kept = steps.filter(|step| matches!(step, Step::SeedMap { .. }));
    assert!((1..TIMES).contains(&kept.count()));
}
