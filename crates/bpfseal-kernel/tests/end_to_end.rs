//! The project's objects on a real kernel: sealed by us, loaded with a verified loader, attached,
//! and at work.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use bpfseal_kernel::{InstallError, Link, Linux, LoaderImage, Map, Program, install};
use bpfseal_loader::Form;

use common::{Subject, in_vm, trust};

/// Objects, and whether a kernel 7.3 takes them. Those that it does not take have programs that
/// its verifier refuses whoever loads them; they are here for their bytes.
const OBJECTS: [(&str, &[u8]); 21] = [
    ("core", object!("core")),
    ("exceptions", object!("exceptions")),
    ("globals", object!("globals")),
    ("host_values", object!("host_values")),
    ("inner_maps", object!("inner_maps")),
    ("kconfig", object!("kconfig")),
    ("ksyms", object!("ksyms")),
    ("maps", object!("maps")),
    ("minimal", object!("minimal")),
    ("nothing", object!("nothing")),
    ("observer", object!("observer")),
    ("one_map", object!("one_map")),
    ("optional", object!("optional")),
    ("percpu", object!("percpu")),
    ("plain", object!("plain")),
    ("sample", object!("sample")),
    ("sections_cgroup", object!("sections_cgroup")),
    ("sections_network", object!("sections_network")),
    ("sections_probes", object!("sections_probes")),
    ("sections_tracing", object!("sections_tracing")),
    ("subprograms", object!("subprograms")),
];

#[test]
fn what_loads_signed_loads_unsigned_and_the_other_way_round() {
    if !in_vm() {
        return;
    }
    trust();
    let answer = |result: Result<_, InstallError>| match result {
        Ok(_) => "loads".to_owned(),
        Err(error) => bpfseal_kernel::errno_name(error.errno())
            .map_or_else(|| error.errno().to_string(), str::to_owned),
    };
    let mut loaded = 0;
    for (name, bytes) in OBJECTS {
        let subject = Subject::new(bytes, Form::Signed);
        let signed = answer(install(&Linux, &subject.image(), subject.context));
        let image = LoaderImage::unsigned(&subject.instructions, &subject.metadata);
        let unsigned = answer(install(&Linux, &image, subject.context));
        println!("  {name:<18} {signed}");
        assert_eq!(signed, unsigned, "{name}");
        loaded += usize::from(signed == "loads");
    }
    println!("  {loaded} of {} load", OBJECTS.len());
}

#[test]
fn a_counter_moves() {
    if !in_vm() {
        return;
    }
    trust();
    let subject = Subject::new(object!("one_map"), Form::Signed);
    let installed = install(&Linux, &subject.image(), subject.context).unwrap();
    let program = installed.programs.into_iter().next().unwrap();
    let program = Program::from_fd(program, "count");
    let map = Map::from_fd(&Linux, installed.maps.into_iter().next().unwrap()).unwrap();
    let count = || {
        let value = map.lookup(&Linux, &[0; 4]).unwrap();
        u64::from_ne_bytes(value.try_into().unwrap())
    };
    assert_eq!(count(), 0);
    let link = Link::raw_tracepoint(&Linux, Some("sys_enter"), &program).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(20));
    assert!(count() > 0, "system calls are counted");
    drop(link);
    let stopped = count();
    std::thread::sleep(std::time::Duration::from_millis(20));
    assert_eq!(count(), stopped, "dropping the link detaches");
}
