//! Plans and loaders of the project's own objects.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;

use bpfseal_loader::plan::Step;
use bpfseal_loader::{EmitOptions, FixedHost, Form, HostDependency, LoadPlan, Loader};
use bpfseal_object::{MapIdx, Object};

fn object(name: &str) -> Object {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../testdata/objects")
        .join(format!("{name}.bpf.o"));
    Object::parse(&std::fs::read(path).unwrap(), "test").unwrap()
}

fn plan(name: &str) -> LoadPlan {
    let host = FixedHost {
        page_size: 4096,
        possible_cpus: Some(3),
        kernel_version: Some(0x0007_0304),
        kconfig: Some(b"CONFIG_BPF_SYSCALL=y\nCONFIG_NET=m\nCONFIG_HZ=250\n".to_vec()),
        kallsyms: Some(b"ffffffff81000000 D init_task\n".to_vec()),
    };
    LoadPlan::new(&object(name), &host).unwrap()
}

fn loader(plan: &LoadPlan, form: Form) -> Loader {
    Loader::new(plan, EmitOptions::new(form)).unwrap()
}

#[test]
fn a_plan_is_in_order() {
    let plan = plan("sample");
    let words: Vec<&str> = plan
        .steps
        .iter()
        .map(|step| match step {
            Step::LoadBtf { .. } => "btf",
            Step::CreateInnerMap { .. } => "template",
            Step::CreateMap { .. } => "create",
            Step::SeedMap { .. } => "seed",
            Step::FreezeMap { .. } => "freeze",
            Step::SetInnerMap { .. } => "slot",
            Step::LoadProgram(_) => "program",
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        words,
        [
            "btf", "create", "create", "create", "seed", "freeze", "create", "seed", "program"
        ]
    );
}

#[test]
fn maps_of_maps_are_filled_after_their_inner_maps_are_made() {
    let plan = plan("inner_maps");
    let mut made = Vec::new();
    let mut slots = Vec::new();
    for step in &plan.steps {
        match step {
            Step::CreateMap { map, .. } => made.push(*map),
            Step::SetInnerMap { outer, slot, inner } => {
                assert!(made.contains(outer) && made.contains(inner));
                slots.push(*slot);
            }
            _ => {}
        }
    }
    assert_eq!(slots, [0, 3, 4]);
}

#[test]
fn the_signed_form_leaves_the_host_out() {
    for name in ["sample", "globals", "maps", "inner_maps", "subprograms"] {
        let plan = plan(name);
        let signed = loader(&plan, Form::Signed);
        let unsigned = loader(&plan, Form::Unsigned);
        assert_eq!(signed.metadata, unsigned.metadata, "{name}");
        // Five instructions ask the host for the size of each map. For a value it is asked too,
        // by more of them.
        let maps = plan.maps().count() * 5 * 8;
        let less = unsigned.instructions.len() - signed.instructions.len();
        assert!(
            less >= maps,
            "{name}: {less} bytes less, of {maps} for the maps"
        );
    }
}

#[test]
fn a_log_is_written_only_when_it_is_asked_for() {
    let plan = plan("sample");
    let quiet = loader(&plan, Form::Signed);
    let loud = Loader::new(&plan, EmitOptions::new(Form::Signed).with_log()).unwrap();
    assert!(loud.instructions.len() > quiet.instructions.len());
    let text = String::from_utf8_lossy(&loud.metadata).into_owned();
    assert!(
        text.contains("map_create calls"),
        "the log names what is done"
    );
    assert!(!String::from_utf8_lossy(&quiet.metadata).contains("map_create"));
}

#[test]
fn the_context_has_a_place_for_every_map_and_program() {
    let plan = plan("subprograms");
    let loader = loader(&plan, Form::Unsigned);
    let context = &loader.context;
    assert_eq!((context.maps, context.programs), (2, 4));
    assert_eq!(context.map_offset(MapIdx(0)), 24);
    assert_eq!(context.map_offset(MapIdx(1)), 40);
    assert_eq!(context.program_offset(0), 56);
    assert_eq!(context.size(), 72);
}

#[test]
fn what_the_host_gave_is_written_down() {
    let names =
        |name: &str| -> Vec<String> { plan(name).host.iter().map(ToString::to_string).collect() };
    assert!(plan("subprograms").host.is_empty());
    let kconfig = plan("kconfig").host;
    assert!(kconfig.contains(&HostDependency::Kconfig("LINUX_KERNEL_VERSION".to_owned())));
    assert!(kconfig.contains(&HostDependency::Kconfig("CONFIG_HZ".to_owned())));
    assert!(names("maps").contains(&"count of CPUs, as the size of map `perf`".to_owned()));
    assert!(names("ksyms").iter().any(|name| name.contains("init_task")));
}

#[test]
fn every_byte_has_a_place() {
    let plan = plan("core");
    let loader = loader(&plan, Form::Signed);
    for insn in 0..loader.instructions.len() / 8 {
        assert!(loader.describe_insn(&plan, insn).contains('('));
    }
    let mut kinds = std::collections::BTreeSet::new();
    for offset in (0..loader.metadata.len()).step_by(4) {
        let place = loader.describe_data(&plan, offset);
        assert!(
            place.starts_with(&format!("metadata byte {offset} (")),
            "{place}"
        );
        for kind in [
            "BTF type",
            "attribute `insn_cnt`",
            "of `helper`",
            "record",
            "strings",
        ] {
            if place.contains(kind) {
                kinds.insert(kind);
            }
        }
    }
    assert_eq!(kinds.len(), 5, "{kinds:?}");
}

#[test]
fn big_endian_objects_have_big_endian_loaders() {
    let little = plan("subprograms");
    let big = plan("big-endian/subprograms");
    assert_eq!(little.steps.len(), big.steps.len());
    let (little, big) = (loader(&little, Form::Signed), loader(&big, Form::Signed));
    assert_eq!(little.instructions.len(), big.instructions.len());
    // The first instruction moves the context into r6: registers swap their halves of the byte.
    assert_eq!(little.instructions[..2], [0xbf, 0x16]);
    assert_eq!(big.instructions[..2], [0xbf, 0x61]);
}
