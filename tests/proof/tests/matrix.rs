//! Schemes and kernels: which artifact loads where, and one bundle for all.
//!
//! Runs on every kernel of `cargo xtask kernels`; elsewhere it says that it was skipped.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "tests")]

use bpfseal::artifact::install::InstallPlan;
use bpfseal::artifact::{Artifact, Bundle, LoaderForm};
use bpfseal::kernel::probe::{self, Verification};
use bpfseal::kernel::{self, KeyringId, Link, Linux};
use bpfseal::object::Object;
use bpfseal::seal::Scheme;
use bpfseal::{LoadError, LoadOptions, Loaded, Sealed, Sealer};
use bpfseal_proof::bench::{Person, in_any_machine, person, release, trust};
use bpfseal_proof::object;
use bpfseal_uapi::Errno;

/// Kernels by the start of their release, and what they answer to each scheme: load-time,
/// in-loader-exclusive, in-loader; nothing when it loads.
const MATRIX: [(&str, [Answer; 3]); 5] = [
    ("6.19.", [REJECTED, DENIED, None]),
    ("7.0.", [REJECTED, DENIED, None]),
    // As of 7.1.13, which has the mark of exclusive maps.
    ("7.1.", [REJECTED, None, None]),
    ("7.2.", [REJECTED, None, None]),
    ("7.3.", [None, DENIED, DENIED]),
];
type Answer = Option<Errno>;
const DENIED: Answer = Some(Errno::EACCES);
const REJECTED: Answer = Some(Errno::EKEYREJECTED);

fn sealed(schemes: &[Scheme]) -> Sealed {
    let Person {
        key, certificate, ..
    } = person("rsa2048");
    let object = Object::parse(object!("one_map"), "one_map").unwrap();
    Sealer::new(&certificate)
        .schemes(schemes)
        .seal(object, &key)
        .unwrap()
}

fn load(artifact: &Artifact) -> Result<Loaded, LoadError> {
    let options = LoadOptions::from_keyring(KeyringId::SESSION).accept_weaker(Scheme::InLoader);
    bpfseal::load(artifact, &options)
}

#[track_caller]
fn errno(result: &Result<Loaded, LoadError>) -> Answer {
    match result {
        Ok(_) => None,
        Err(LoadError::Refused(error)) => Some(error.errno()),
        // What the kernel is not even asked for.
        Err(LoadError::OtherScheme { .. } | LoadError::Mismatch { .. }) => Some(Errno::EINVAL),
        Err(other) => panic!("{other}"),
    }
}

/// What the kernel itself answers to the first form: `load` does not ask it for every scheme.
fn asked(artifact: &Artifact) -> Answer {
    let plan = InstallPlan::of(artifact, &artifact.forms[0], KeyringId::SESSION);
    kernel::install(&Linux, &plan)
        .err()
        .map(|error| error.errno())
}

/// Does what it is for: counts system calls.
fn works(loaded: &Loaded) -> bool {
    let map = loaded.map("counts").unwrap();
    let count = || map.lookup(&Linux, &[0; 4]).unwrap();
    let before = count();
    let program = loaded.program("count").unwrap();
    let _link = Link::raw_tracepoint(&Linux, Some("sys_enter"), program).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(20));
    count() != before
}

#[test]
fn one_bundle_loads_verified_on_every_kernel() {
    if !in_any_machine() {
        return;
    }
    let release = release();
    let row = MATRIX
        .iter()
        .find(|(start, _)| release.starts_with(start))
        .unwrap_or_else(|| panic!("kernel {release} is not in the table"));
    let bundle = sealed(&Scheme::KERNELS).into_bundle().encode();
    let all = Bundle::decode(&bundle).unwrap().artifact;
    // The loader's key is nowhere yet.
    assert_eq!(errno(&load(&all)), Some(Errno::ENOKEY));
    trust();

    println!("  kernel {}", release);
    for (scheme, expect) in Scheme::KERNELS.into_iter().zip(row.1) {
        let artifact = sealed(&[scheme]).into_artifact();
        let result = load(&artifact);
        let answer = asked(&artifact);
        let said = answer.map_or("loads".to_owned(), |e| e.to_string());
        println!("  {:<20} {said}", scheme.name());
        assert_eq!(answer, expect, "{}", scheme.name());
        assert_eq!(result.is_ok(), expect.is_none(), "{}", scheme.name());
        if let Ok(loaded) = result {
            assert!(works(&loaded));
        }
        // The same by a program in C, with our header of that scheme.
        if let Some(counts) = c_program_counts(scheme) {
            assert_eq!(counts, expect.is_none(), "{} in C", scheme.name());
        }
    }

    let loaded = load(&all).unwrap();
    let (scheme, _) = loaded.verified.unwrap();
    println!("  the bundle loads by {}", scheme.name());
    let strongest = row.1.iter().position(Option::is_none).unwrap();
    assert_eq!(scheme, Scheme::KERNELS[strongest]);
    assert!(works(&loaded));

    // Verified indeed: each form, tampered with, is refused.
    for form in 0..all.forms.len() {
        let mut bad = all.clone();
        let forms = &mut bad.forms;
        forms.swap(0, form);
        forms.truncate(1);
        let LoaderForm::Sealed { instructions, seal } = &mut forms[0] else {
            panic!("every form is signed");
        };
        // The immediate of an early instruction.
        instructions[20] ^= 1;
        seal.excl_prog_hash = bpfseal::seal::excl_prog_hash(instructions);
        assert_ne!(errno(&load(&bad)), None, "{}", seal_name(&bad));
    }
    let mut bad = all.clone();
    let last = bad.metadata.len() - 1;
    bad.metadata[last] ^= 1;
    assert_ne!(errno(&load(&bad)), None, "metadata");

    // Nothing weaker, unless it is asked for.
    let strict = LoadOptions::from_keyring(KeyringId::SESSION);
    let result = bpfseal::load(&all, &strict);
    let load_time = probe::verification(&Linux) == Verification::LoadTime;
    assert_eq!(result.is_ok(), load_time);
    let old = sealed(&[Scheme::InLoader]).into_artifact();
    let error = bpfseal::load(&old, &strict).unwrap_err();
    assert!(matches!(error, LoadError::TooWeak { .. }), "{error}");
}

/// Whether the example in C loads and counts; `None` where it was not built.
fn c_program_counts(scheme: Scheme) -> Option<bool> {
    let program = format!("/bin/counter-{}", scheme.name());
    if !std::path::Path::new(&program).exists() {
        eprintln!("  skipped: {program} was not built");
        return None;
    }
    let certificate = std::env::temp_dir().join("counter.der");
    std::fs::create_dir_all(std::env::temp_dir()).unwrap();
    let der = include_bytes!("../../../testdata/keys/rsa2048.cert.der");
    std::fs::write(&certificate, der).unwrap();
    let output = std::process::Command::new(&program)
        .arg(&certificate)
        .output()
        .unwrap();
    Some(output.status.success())
}

fn seal_name(artifact: &Artifact) -> &'static str {
    artifact.forms[0].seal().unwrap().scheme.name()
}
