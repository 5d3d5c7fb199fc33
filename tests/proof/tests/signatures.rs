//! Changed messages and certificates on a real kernel, and offline: the same verdict, and the same
//! errno.
//!
//! The cases are made before the machine starts. One that differs is made smaller, change by change,
//! and printed.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::io::BufReader;

use bpfseal::kernel::{
    InstallError, KeyringId, Linux, Program, ProgramSpec, Signature, add_certificate, join_session,
};
use bpfseal::loader::FixedHost;
use bpfseal::model::Errno;
use bpfseal::object::Object;
use bpfseal::{LoadError, LoadOptions, Sealer, load};
use bpfseal_proof::bench::{in_machine, person};
use bpfseal_proof::object;
use bpfseal_proof::signatures::prepared::{self, Answers, What, offline};
use bpfseal_proof::signatures::{CONTENT, Case, undigested};
use bpfseal_uapi::{BPF_F_SLEEPABLE, prog};

/// How many that differ are printed.
const PRINTED: usize = 8;

/// The running kernel's answers.
fn kernel(trusted: &[Vec<u8>], signature: &[u8]) -> Answers {
    join_session(&Linux).unwrap();
    let mut answers = Answers::new();
    for (number, der) in trusted.iter().enumerate() {
        let name = format!("certificate {number}");
        let added = add_certificate(&Linux, KeyringId::SESSION, &name, der);
        answers.push(added.err().map(|error| error.errno));
    }
    if !signature.is_empty() {
        let loaded = Program::load(
            &Linux,
            &ProgramSpec {
                prog_type: prog::SYSCALL,
                instructions: &CONTENT,
                license: "GPL",
                name: "nothing",
                flags: BPF_F_SLEEPABLE,
                fd_array: &[],
                fd_array_cnt: 0,
                signature: Some(Signature {
                    bytes: signature,
                    keyring: KeyringId::SESSION,
                }),
                log_level: 0,
            },
        );
        answers.push(loaded.err().map(|error| error.errno));
    }
    answers
}

fn differs(case: &Case) -> bool {
    let built = case.build();
    kernel(&built.trusted, &built.signature) != offline(&built).0
}

fn names(answers: &[Option<Errno>]) -> Vec<String> {
    let name = |errno: &Option<Errno>| errno.map_or("ok".to_owned(), |errno| errno.to_string());
    answers.iter().map(name).collect()
}

fn print(seed: u64, case: &Case) {
    let built = case.build();
    let shown = |answers: &[Option<Errno>]| format!("{:?}", names(answers));
    let answers = [
        ("kernel", shown(&kernel(&built.trusted, &built.signature))),
        ("offline", shown(&offline(&built).0)),
    ];
    println!("{}", case.describe(seed, &answers));
}

/// Asks the kernel about the cases that were prepared for it.
#[track_caller]
fn compare(what: What) {
    if !in_machine() {
        return;
    }
    let file = std::fs::File::open(prepared::PATH).unwrap();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut wrong = 0;
    let mut refused_here = 0;
    for case in prepared::read(BufReader::new(file)) {
        let case = case.unwrap();
        if case.what != what {
            continue;
        }
        let answers = kernel(&case.trusted, &case.signature);
        let last = &answers[answers.len().saturating_sub(1)..];
        *seen.entry(names(last).concat()).or_default() += 1;
        refused_here += usize::from(case.refused);
        if answers == case.predicted() {
            continue;
        }
        wrong += 1;
        if wrong <= PRINTED {
            print(case.seed, &what.case(case.seed).shrunk(differs));
        }
    }
    let count: usize = seen.values().sum();
    println!("  {count} {what:?}: {wrong} differ; answers of the kernel: {seen:?}");
    if refused_here > 0 {
        println!("  {refused_here} that the kernel takes are refused here nevertheless");
    }
    assert!(count > 0, "nothing was prepared");
    assert_eq!(wrong, 0);
}

#[test]
fn messages_are_answered_as_the_kernel_does() {
    compare(What::Messages);
}

#[test]
fn certificates_are_answered_as_the_kernel_does() {
    compare(What::Certificates);
}

/// A certificate that nobody signed, made of what everybody knows of a trusted authority
/// (`SECURITY.md`). A kernel that answers otherwise has mended it: then say so there.
#[test]
fn the_kernel_takes_a_certificate_that_nobody_signed() {
    if !in_machine() {
        return;
    }
    let built = undigested();
    assert_eq!(kernel(&built.trusted, &built.signature), [None, None]);
    assert_eq!(offline(&built), (vec![None, None], true));
}

/// Signed well, and in the byte order of other machines.
#[test]
fn a_big_endian_loader_is_refused() {
    if !in_machine() {
        return;
    }
    let signer = person("p256");
    join_session(&Linux).unwrap();
    add_certificate(&Linux, KeyringId::SESSION, "test", signer.certificate.der()).unwrap();
    let object = Object::parse(object!("big-endian/minimal"), "big").unwrap();
    let artifact = Sealer::new(&signer.certificate)
        .host(&FixedHost::default())
        .seal(object, &signer.key)
        .unwrap()
        .into_artifact();
    let options = LoadOptions::from_keyring(KeyringId::SESSION);
    let answer = match load(&artifact, &options) {
        Err(LoadError::Refused(InstallError::Call { source, .. })) => source.errno_name(),
        other => format!("{:?}", other.err()),
    };
    assert_eq!(answer, "EACCES");
}
