//! Changed messages and certificates on a real kernel, and offline: the same verdict, and the same
//! errno.
//!
//! The cases are made before the machine starts. One that differs is made smaller, change by change,
//! and printed.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::io::BufReader;

use bpfseal::kernel::{
    KeyringId, Linux, Program, ProgramSpec, Signature, add_certificate, join_session,
};
use bpfseal::model::Errno;
use bpfseal::seal::hex;
use bpfseal_proof::bench::in_machine;
use bpfseal_proof::signatures::prepared::{self, Answers, What, offline};
use bpfseal_proof::signatures::{CONTENT, Case};
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
    println!("  seed {seed}: {:?}", built.notes);
    println!(
        "  kernel:  {:?}",
        names(&kernel(&built.trusted, &built.signature))
    );
    println!("  offline: {:?}", names(&offline(&built).0));
    for der in &built.trusted {
        println!("  trusted: {}", hex(der));
    }
    println!("  message: {}", hex(&built.signature));
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
