//! A plan has everything that an object asks for; what a loader cannot do is refused when one is
//! made.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::path::{Path, PathBuf};

use bpfseal_loader::plan::{
    AttachTarget, JumpTable, LeftOut, MemberValue, ProgramLoad, ProgramRef, Step, StructOpsMember,
    UndefinedRef,
};
use bpfseal_loader::{
    EmitOptions, Error, FixedHost, Form, Host, HostDependency, HostError, LoadPlan, Loader,
};
use bpfseal_object::uapi::{BPF_F_LINK, attach, prog};
use bpfseal_object::{Contents, DataKind, MapIdx, Object, Pinning};

fn objects() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/objects")
}

fn object(name: &str) -> Object {
    let path = objects().join(format!("{name}.bpf.o"));
    Object::parse(&std::fs::read(path).unwrap(), "test").unwrap()
}

/// A host that knows nothing but its page size.
fn silent() -> FixedHost {
    FixedHost {
        page_size: 4096,
        ..FixedHost::default()
    }
}

fn plan(name: &str) -> LoadPlan {
    LoadPlan::new(&object(name), &silent()).unwrap()
}

fn refusal(plan: &LoadPlan) -> String {
    Loader::new(plan, EmitOptions::new(Form::Signed))
        .unwrap_err()
        .to_string()
}

fn program<'p>(plan: &'p LoadPlan, name: &str) -> &'p ProgramLoad {
    plan.programs().find(|p| p.name == name).unwrap()
}

fn loaded(name: &str, place: u32) -> ProgramRef {
    ProgramRef {
        name: name.to_owned(),
        place: Some(place),
    }
}

fn member(name: &str, offset: u32, value: MemberValue) -> StructOpsMember {
    StructOpsMember {
        name: name.to_owned(),
        bit_offset: offset * 8,
        value,
    }
}

fn text(text: &str) -> MemberValue {
    let mut bytes = text.as_bytes().to_vec();
    bytes.resize(16, 0);
    MemberValue::Bytes(bytes)
}

#[test]
fn struct_ops_of_every_kind() {
    let plan = plan("refused/struct_ops_kinds");
    let created: Vec<_> = plan
        .steps
        .iter()
        .filter_map(|step| match step {
            Step::CreateStructOps { map, attr, value } => Some((
                map.0,
                attr.name.as_str(),
                attr.map_flags,
                value.section.as_str(),
                value.value_type(),
            )),
            _ => None,
        })
        .collect();
    let value_type = "bpf_struct_ops_tcp_congestion_ops".to_owned();
    assert_eq!(
        created,
        [
            (0, "at_once", 0, ".struct_ops", value_type.clone()),
            (
                1,
                "linked",
                BPF_F_LINK,
                ".struct_ops.link",
                value_type.clone()
            ),
            (2, "second", BPF_F_LINK, ".struct_ops.link", value_type),
        ]
    );
    let last = &plan.steps[plan.steps.len() - 5..];
    assert_eq!(
        last,
        [
            Step::SetStructOps {
                map: MapIdx(0),
                members: vec![
                    member("ssthresh", 0, MemberValue::Program(loaded("ssthresh", 0))),
                    member(
                        "release",
                        16,
                        MemberValue::Program(loaded("local_release", 3))
                    ),
                    member(
                        "flags",
                        24,
                        MemberValue::Bytes(vec![0x78, 0x56, 0x34, 0x12])
                    ),
                    member("one", 28, MemberValue::Bits { width: 3, value: 5 }),
                    StructOpsMember {
                        name: "two".to_owned(),
                        bit_offset: 28 * 8 + 3,
                        value: MemberValue::Bits {
                            width: 7,
                            value: 66
                        },
                    },
                    member("name", 30, text("at_once")),
                ],
            },
            Step::SetStructOps {
                map: MapIdx(1),
                members: vec![
                    member("name", 0, text("linked")),
                    member("release", 16, MemberValue::Program(loaded("release", 1))),
                ],
            },
            Step::LinkStructOps { map: MapIdx(1) },
            Step::SetStructOps {
                map: MapIdx(2),
                members: vec![
                    member("ssthresh", 0, MemberValue::Program(loaded("ssthresh", 0))),
                    member(
                        "cong_avoid",
                        8,
                        MemberValue::Program(loaded("cong_avoid", 2))
                    ),
                ],
            },
            Step::LinkStructOps { map: MapIdx(2) },
        ]
    );
    // A program is for the member that it is put into, whatever its section says.
    assert_eq!(
        program(&plan, "local_release").attach_target,
        Some(AttachTarget::StructOps {
            type_name: "tcp_congestion_ops".to_owned(),
            member: "release".to_owned(),
        })
    );
    // It is loaded if a map that is created uses it, whatever its section says.
    assert_eq!(
        plan.left_out,
        [
            LeftOut::Program {
                name: "lazy".to_owned(),
                section: "struct_ops".to_owned(),
                is_static: false,
            },
            LeftOut::StructOps {
                map: MapIdx(3),
                name: "by_request".to_owned(),
                section: "?.struct_ops".to_owned(),
            },
        ]
    );
    assert_eq!(plan.map_count, 4);
}

#[test]
fn slots_of_program_arrays() {
    let plan = plan("refused/program_slots");
    let slots = &plan.steps[plan.steps.len() - 3..];
    let slot = |map, slot, program| Step::SetProgram {
        map: MapIdx(map),
        slot,
        program,
    };
    let not_loaded = ProgramRef {
        name: "by_request".to_owned(),
        place: None,
    };
    assert_eq!(
        slots,
        [
            slot(0, 0, loaded("second", 1)),
            slot(0, 2, not_loaded),
            slot(1, 1, loaded("first", 0)),
        ]
    );
    assert!(refusal(&plan).starts_with("map `jumps`: "));
}

#[test]
fn variables_of_an_arena_are_its_last_pages() {
    let plan = plan("refused/arena_data");
    let fill = plan
        .steps
        .iter()
        .find(|step| matches!(step, Step::FillArena { .. }));
    assert_eq!(
        fill,
        Some(&Step::FillArena {
            map: MapIdx(0),
            offset: 3 * 4096,
            contents: Contents::new(&[7, 0, 0, 0]),
        })
    );
    let insns = &program(&plan, "use").insns;
    let load = insns.iter().position(|i| i.is_ld_imm64()).unwrap();
    assert_eq!((insns[load].imm, insns[load + 1].imm), (0, 3 * 4096));
    // Without a page size that is known, and with another one.
    let host = FixedHost {
        page_size: 16384,
        ..FixedHost::default()
    };
    let plan = LoadPlan::new(&object("refused/arena_data"), &host).unwrap();
    let insns = &program(&plan, "use").insns;
    assert_eq!(insns[load + 1].imm, 3 * 16384);
}

#[test]
fn pins_come_with_their_maps() {
    let steps = plan("refused/pinned").steps;
    let pin = steps
        .iter()
        .position(|step| {
            *step
                == Step::PinMap {
                    map: MapIdx(0),
                    pinning: Pinning::ByName,
                }
        })
        .unwrap();
    assert!(matches!(
        steps[pin - 1],
        Step::CreateMap { map: MapIdx(0), .. }
    ));
    let is_pin = |step: &&Step| matches!(step, Step::PinMap { .. });
    assert_eq!(steps.iter().filter(is_pin).count(), 1);
    let steps = plan("refused/pinned_otherwise").steps;
    assert!(steps.contains(&Step::PinMap {
        map: MapIdx(0),
        pinning: Pinning::Other(2),
    }));
}

#[test]
fn legacy_maps_of_every_length() {
    let plan = plan("refused/legacy_kinds");
    let mut found = Vec::new();
    for step in &plan.steps {
        if let Step::CreateLegacyMap { map, attr, extra } = step {
            assert_eq!((attr.btf_key_type_id, attr.btf_value_type_id), (0, 0));
            found.push((
                map.0,
                attr.name.as_str(),
                attr.map_type.0,
                attr.value_size,
                attr.max_entries,
                attr.map_flags,
                extra.clone(),
            ));
        }
    }
    assert_eq!(
        found,
        [
            (0, "shortest", 2, 8, 2, 0, vec![]),
            (1, "usual", 1, 4, 100, 1, vec![]),
            (2, "longer", 2, 16, 3, 0, vec![7, 1]),
        ]
    );
    // The one that is declared with BTF comes after them, and the program knows them apart.
    assert_eq!(plan.maps().count(), 4);
    let loads = program(&plan, "use").insns.iter();
    let mut places: Vec<i32> = loads.filter(|i| i.is_ld_imm64()).map(|i| i.imm).collect();
    places.sort_unstable();
    assert_eq!(places, [0, 1, 2, 3]);
}

#[test]
fn programs_of_every_kind() {
    let unknown = plan("refused/unknown_section");
    let odd = program(&unknown, "odd");
    assert_eq!(
        (odd.prog_type, &*odd.section),
        (prog::UNSPEC, "my_own_name/here")
    );

    let target = |name: &str, program_name: &str| {
        let plan = plan(name);
        program(&plan, program_name).attach_target.clone().unwrap()
    };
    assert_eq!(
        target("refused/replace", "replace"),
        AttachTarget::Program {
            function: Some("handle".to_owned()),
        }
    );
    assert_eq!(
        target("refused/replace_any", "replace"),
        AttachTarget::Program { function: None }
    );
    assert_eq!(target("refused/no_target", "lonely"), AttachTarget::Unnamed);
    assert_eq!(
        target("refused/of_a_module", "each"),
        AttachTarget::Module {
            name: "nf_tables:nft_*".to_owned(),
        }
    );
    let of_a_module = plan("refused/of_a_module");
    assert_eq!(
        program(&of_a_module, "each").attach_type,
        attach::BPF_TRACE_FENTRY_MULTI
    );

    let plan = plan("refused/static_entry");
    assert!(program(&plan, "local").is_static);
    assert!(!program(&plan, "global").is_static);
    // Each has its own code.
    assert_eq!(program(&plan, "local").insns[0].imm, 4);
    assert_eq!(program(&plan, "global").insns[0].imm, 5);
}

#[test]
fn more_maps_than_a_loader_has_room_for() {
    let plan = plan("refused/many_maps");
    assert_eq!(plan.maps().count(), 65);
    assert_eq!(
        refusal(&plan),
        "the object has 65 maps, a loader has room for 64"
    );
}

#[test]
fn symbols_of_other_objects() {
    let plan = plan("refused/unlinked");
    let load = program(&plan, "use");
    let names: Vec<&str> = load.undefined.iter().map(|u| u.name.as_str()).collect();
    assert_eq!(
        names,
        ["map_elsewhere", "variable_elsewhere", "helper_elsewhere"]
    );
    for UndefinedRef { insn, name, .. } in &load.undefined {
        let insn = load.insns[*insn as usize];
        assert_eq!(insn.is_call(), name == "helper_elsewhere");
        assert_eq!(insn.is_ld_imm64(), name != "helper_elsewhere");
    }
    let unresolved: Vec<String> = plan.unresolved.iter().map(ToString::to_string).collect();
    assert_eq!(
        unresolved,
        [
            "extern `map_elsewhere` is in section `.maps`, expected `.ksyms` or `.kconfig`",
            "extern `variable_elsewhere` is defined nowhere, and declared neither `__ksym` nor `__kconfig`",
            "extern `helper_elsewhere` is defined nowhere, and declared neither `__ksym` nor `__kconfig`",
        ]
    );
    assert_eq!(refusal(&plan), unresolved[0]);
}

#[test]
fn jump_tables_lead_into_the_linked_program() {
    let plan = plan("refused/jump_tables");
    let load = program(&plan, "use");
    let (start, _) = load.subprograms[0];
    assert_eq!(
        load.jump_tables,
        [
            JumpTable {
                loads: vec![0, 2],
                targets: vec![0, 2, 3],
            },
            JumpTable {
                loads: vec![start],
                targets: vec![start + 1, start],
            },
        ]
    );
}

/// A host that a value cannot be had from.
struct Broken;

impl Host for Broken {
    fn page_size(&self) -> u32 {
        4096
    }

    fn possible_cpus(&self) -> Result<u32, HostError> {
        Err(HostError::new("nobody counted"))
    }

    fn kernel_version(&self) -> Result<u32, HostError> {
        let cause = std::io::Error::other("no such file");
        Err(HostError::caused_by("`version` could not be read", cause))
    }

    fn kconfig(&self) -> Result<Vec<u8>, HostError> {
        Err(HostError::new("nobody configured"))
    }

    fn kallsyms(&self) -> Result<Vec<u8>, HostError> {
        Err(HostError::new("nobody looked"))
    }
}

#[test]
fn a_plan_does_without_a_host() {
    let unresolved = |name: &str, host: &dyn Host| -> Vec<String> {
        let plan = LoadPlan::new(&object(name), host).unwrap();
        let all: Vec<String> = plan.unresolved.iter().map(ToString::to_string).collect();
        assert!(!plan.host.is_empty(), "{name}");
        assert_eq!(refusal(&plan), all[0], "{name}");
        all
    };
    assert_eq!(
        unresolved("maps", &Broken),
        ["`perf` depends on the host: nobody counted"]
    );
    assert_eq!(
        unresolved("ksyms", &Broken)[0],
        "`init_task` depends on the host: nobody looked"
    );
    assert_eq!(
        unresolved("kconfig", &Broken)[..2],
        [
            "`LINUX_KERNEL_VERSION` depends on the host: `version` could not be read: no such file",
            "`CONFIG_HZ` depends on the host: nobody configured",
        ]
    );
    // All that is wrong is there, and what is right has its value.
    let host = FixedHost {
        kernel_version: Some(0x0007_0304),
        kconfig: Some(b"CONFIG_BPF_SYSCALL=y\nCONFIG_HZ=\"x\"\nCONFIG_NO\nCONFIG_NOR\n".to_vec()),
        ..silent()
    };
    let all = unresolved("kconfig", &host);
    assert_eq!(
        all[..2],
        [
            "kconfig extern `CONFIG_HZ`: value `\"x\"` needs an array of char",
            "kconfig extern `CONFIG_NO`: value `` is missing: the line has no `=`",
        ]
    );
    assert!(all[2..].iter().all(|one| one.contains("does not set it")));
    let plan = LoadPlan::new(&object("kconfig"), &host).unwrap();
    let values = plan.steps.iter().find_map(|step| match step {
        Step::SeedMap { value, .. } if value.head().contains(&7) => Some(value),
        _ => None,
    });
    assert!(
        values
            .unwrap()
            .to_vec()
            .windows(4)
            .any(|w| w == [4, 3, 7, 0])
    );
}

#[test]
fn a_symbol_at_two_addresses_has_none() {
    let host = FixedHost {
        kallsyms: Some(b"1000 D init_task\n2000 D init_task\n3000 D init_task\n".to_vec()),
        ..silent()
    };
    let plan = LoadPlan::new(&object("ksyms"), &host).unwrap();
    let twice = plan.unresolved.iter().map(ToString::to_string);
    let twice: Vec<String> = twice.filter(|text| text.contains("0x1000")).collect();
    assert_eq!(
        twice,
        [
            "extern `init_task` is not weak and has no value: the kernel has it at 0x1000 and at 0x2000"
        ]
    );
    let depends = HostDependency::KernelSymbol("init_task".to_owned());
    assert!(plan.host.contains(&depends));
}

#[test]
fn several_refusals_come_in_the_references_order() {
    /// Makes a plan worse.
    type Worsen = fn(&mut LoadPlan);
    let source = |name: &str| plan(name);
    let mut plan = plan("refused/program_slots");
    let worse: [(Worsen, &str); 9] = [
        (|_| {}, "map `jumps`: a loader can not fill"),
        (
            |plan| {
                plan.steps.push(Step::PinMap {
                    map: MapIdx(1),
                    pinning: Pinning::ByName,
                });
            },
            "map `more` asks to be pinned",
        ),
        (|plan| plan.map_count = 70, "the object has 70 maps"),
        (
            |plan| {
                for step in &mut plan.steps {
                    if let Step::LoadProgram(program) = step {
                        program.attach_target = Some(AttachTarget::Unnamed);
                    }
                }
            },
            "names no attach target",
        ),
        (
            |plan| {
                plan.left_out.push(LeftOut::StructOps {
                    map: MapIdx(9),
                    name: "ops".to_owned(),
                    section: "?.struct_ops".to_owned(),
                });
            },
            "section `?.struct_ops` holds struct_ops maps",
        ),
        (
            |plan| {
                plan.steps.push(Step::PinMap {
                    map: MapIdx(0),
                    pinning: Pinning::Other(3),
                });
            },
            "attribute `pinning` is 3",
        ),
        (
            |plan| {
                plan.steps.push(Step::SeedMap {
                    map: MapIdx(0),
                    value: Contents::zeroes(65 << 20),
                    flags: 0,
                });
            },
            "map `jumps` is 68157440 bytes of zeroes",
        ),
        (
            |plan| {
                let attr = plan.maps().next().unwrap().1.clone();
                plan.steps.push(Step::CreateLegacyMap {
                    map: MapIdx(5),
                    attr,
                    extra: Vec::new(),
                });
            },
            "section `maps` holds map definitions of the legacy kind",
        ),
        (
            |plan| {
                plan.left_out.push(LeftOut::Program {
                    name: "local".to_owned(),
                    section: "tc".to_owned(),
                    is_static: true,
                });
            },
            "section `tc`: program `local` is static",
        ),
    ];
    for (worsen, expect) in worse {
        worsen(&mut plan);
        let text = refusal(&plan);
        assert!(text.contains(expect), "{text}, not {expect}");
    }
    // Undefined symbols are found before maps are looked at, other values after that.
    let mut plan = source("refused/unlinked");
    plan.unresolved.extend(source("kconfig").unresolved);
    plan.steps.extend(source("refused/pinned_otherwise").steps);
    assert!(refusal(&plan).starts_with("extern `map_elsewhere`"));
    plan.unresolved.drain(..3);
    assert!(refusal(&plan).contains("`pinning`"));
    plan.steps.pop();
    plan.steps
        .retain(|step| !matches!(step, Step::PinMap { .. }));
    assert!(refusal(&plan).starts_with("`LINUX_KERNEL_VERSION` depends on the host"));
}

#[test]
fn zeroes_are_a_number_until_they_are_written() {
    let object = object("globals");
    let bss = object.maps.iter().find_map(|map| {
        let data = map.data.as_ref()?;
        (data.kind == DataKind::Bss).then_some(&data.contents)
    });
    let bss = bss.unwrap();
    assert!(bss.is_zero() && !bss.is_empty());
    let plan = LoadPlan::new(&object, &silent()).unwrap();
    let seeded = plan.steps.iter().any(|step| {
        matches!(step, Step::SeedMap { value, .. } if value == bss && value.head().is_empty())
    });
    assert!(seeded);
}

fn objects_in(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            objects_in(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "o") {
            found.push(path);
        }
    }
}

/// Every object that can be read has a plan, without a host that knows anything, and making a
/// loader of it is a loader or a refusal.
#[test]
fn every_object_has_a_plan() {
    let mut paths = Vec::new();
    objects_in(&objects(), &mut paths);
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus");
    let has_corpus = corpus.exists();
    if has_corpus {
        objects_in(&corpus, &mut paths);
    } else {
        eprintln!("skipped: no corpus beside the project");
    }
    let (mut planned, mut emitted) = (0, 0);
    for path in &paths {
        let bytes = std::fs::read(path).unwrap();
        let object = match Object::parse(&bytes, "any") {
            Ok(object) => object,
            Err(error) => {
                let known = path.ends_with("refused/map_attribute.bpf.o");
                assert!(known, "{}: {error}", path.display());
                continue;
            }
        };
        let plan = LoadPlan::new(&object, &silent())
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        planned += 1;
        for index in 0..plan.steps.len() {
            assert!(!plan.describe_step(index).is_empty());
        }
        let result = Loader::new(&plan, EmitOptions::new(Form::Signed));
        emitted += usize::from(result.is_ok());
        if let Err(error) = result {
            let refused: &Error = &error;
            assert!(!refused.advice().is_empty());
        }
    }
    eprintln!(
        "{} objects, {planned} plans, {emitted} loaders",
        paths.len()
    );
    assert_eq!(planned, paths.len() - 1);
    assert!(!has_corpus || planned >= 224);
}
