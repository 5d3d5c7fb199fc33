//! The project's objects on a real kernel: sealed by us, loaded with a verified loader, attached,
//! and at work.
#![allow(clippy::unwrap_used, reason = "tests")]

use bpfseal::artifact::Artifact;
use bpfseal::artifact::install::{Code, InstallPlan};
use bpfseal::kernel::probe::{self, Verification};
use bpfseal::kernel::{InstallError, Link, Linux, Map, Program, install};
use bpfseal::loader::Form;
use bpfseal_uapi::Errno;

use bpfseal_proof::bench::{SESSION, Subject, in_any_machine, in_machine, trust};
use bpfseal_proof::object;

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
    if !in_machine() {
        return;
    }
    trust();
    let answer = |result: Result<_, InstallError>| match result {
        Ok(_) => "loads".to_owned(),
        Err(error) => text(error.errno()),
    };
    let mut loaded = 0;
    for (name, bytes) in OBJECTS {
        let subject = Subject::new(bytes, Form::Signed);
        let signed = answer(install(&Linux, &subject.plan()));
        let unsigned = answer(install(&Linux, &subject.unsigned()));
        println!("  {name:<18} {signed}");
        assert_eq!(signed, unsigned, "{name}");
        loaded += usize::from(signed == "loads");
    }
    println!("  {loaded} of {} load", OBJECTS.len());
}

/// The sealed corpus, where there is one: a table of what this kernel answers to our artifact, and
/// to the reference's, loaded by the reference's own code. Both have to be the same.
#[test]
fn the_corpus_gets_the_answers_of_the_references() {
    if !in_machine() {
        return;
    }
    trust();
    let mut answers = std::collections::BTreeMap::<String, Vec<String>>::new();
    let mut compared = 0;
    for entry in std::fs::read_dir("/corpus").into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "pieces") {
            continue;
        }
        let name = path.file_name().unwrap().to_string_lossy();
        let name = name.trim_end_matches(".lskel.h").to_owned();
        let bytes = std::fs::read(&path).unwrap();
        let artifact = Artifact::parse(&bytes).unwrap();
        let sealed = artifact.sealed().next().unwrap();
        let context = artifact.interface.context();
        let result = install(&Linux, &InstallPlan::sealed(sealed, SESSION, context));
        let errno = result.as_ref().map_or_else(|error| error.errno().0, |_| 0);
        let answer = match result {
            Ok(_) => "loads".to_owned(),
            // The loader itself has been verified and run.
            Err(InstallError::Loader { refusal }) => format!("its object: {}", text(refusal.errno)),
            Err(error) => format!("its loader: {} ({error})", text(error.errno())),
        };
        let theirs = path.with_file_name(format!("{name}.pieces"));
        if theirs.exists() && std::path::Path::new("/bin/reference-loader").exists() {
            let output = std::process::Command::new("/bin/reference-loader")
                .arg(theirs)
                .output()
                .unwrap();
            let theirs = String::from_utf8(output.stdout).unwrap();
            assert_eq!(
                errno.to_string(),
                theirs.trim(),
                "{name}: ours and the reference's"
            );
            compared += 1;
        }
        answers.entry(answer).or_default().push(name);
    }
    let all: usize = answers.values().map(Vec::len).sum();
    println!(
        "  {all} artifacts, {compared} of them with the reference's beside them: same answers"
    );
    for (answer, mut names) in answers {
        names.sort();
        println!("  {:4}  {answer}", names.len());
        // A loader that is refused for its signature would be a fault of ours; one with more than
        // 32 functions is refused by the verifier, as the reference's.
        assert!(
            !answer.contains("EKEYREJECTED") && !answer.contains("EBADMSG"),
            "{names:?}"
        );
        if answer != "loads" {
            println!("        {}", names.join(" "));
        }
    }
}

fn text(errno: Errno) -> String {
    let name = errno.name();
    name.map_or_else(|| errno.0.to_string(), str::to_owned)
}

/// Kernels before 7.3 verify the instructions alone, so what was signed with the metadata does
/// not hold for them.
#[test]
fn kernels_of_the_older_scheme_refuse() {
    if !in_any_machine() || probe::verification(&Linux) != Verification::InLoader {
        eprintln!("skipped: this is no kernel of the in-loader scheme");
        return;
    }
    trust();
    let subject = Subject::new(object!("minimal"), Form::Signed);
    let error = install(&Linux, &subject.plan()).unwrap_err();
    assert_eq!(text(error.errno()), "EKEYREJECTED");
    assert_eq!(error.code(), Code::ChangedOrOtherScheme);
    // Without a signature it runs.
    assert!(install(&Linux, &subject.unsigned()).is_ok());
}

#[test]
fn a_counter_moves() {
    if !in_machine() {
        return;
    }
    trust();
    let subject = Subject::new(object!("one_map"), Form::Signed);
    let installed = install(&Linux, &subject.plan()).unwrap();
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
