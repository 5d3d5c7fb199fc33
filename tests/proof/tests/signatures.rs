//! Changed messages and certificates on a real kernel, and offline: the same verdict, and the same
//! errno.
//!
//! `BPFSEAL_MESSAGES` and `BPFSEAL_CERTIFICATES` say how many, `BPFSEAL_SEED` where to begin. One
//! that differs is made smaller, change by change, and printed.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;

use bpfseal::kernel::{
    KeyringId, Linux, Program, ProgramSpec, Signature, add_certificate, join_session,
};
use bpfseal::model::Errno;
use bpfseal::seal::{Certificate, CertificateError, Rejection, TrustStore, hex, verify_detached};
use bpfseal_proof::bench::in_machine;
use bpfseal_proof::signatures::{Built, CONTENT, Case};
use bpfseal_uapi::{BPF_F_SLEEPABLE, prog};

/// How many in a test run without being told.
const MESSAGES: u64 = 1000;
const CERTIFICATES: u64 = 500;
/// How many that differ are printed.
const PRINTED: usize = 8;
/// What is answered to a case: for each certificate, then for the load.
type Answers = Vec<Option<Errno>>;

/// The running kernel's answers.
fn kernel(built: &Built) -> Answers {
    join_session(&Linux).unwrap();
    let mut answers = Answers::new();
    for (number, der) in built.trusted.iter().enumerate() {
        let name = format!("certificate {number}");
        let added = add_certificate(&Linux, KeyringId::SESSION, &name, der);
        answers.push(added.err().map(|error| error.errno));
    }
    if !built.signature.is_empty() {
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
                    bytes: &built.signature,
                    keyring: KeyringId::SESSION,
                }),
                log_level: 0,
            },
        );
        answers.push(loaded.err().map(|error| error.errno));
    }
    answers
}

/// The answers that are predicted, and whether a message that the kernel takes is refused here.
fn offline(built: &Built) -> (Answers, bool) {
    let mut store = TrustStore::new();
    let mut answers = Answers::new();
    let mut refused = false;
    for der in &built.trusted {
        let added = match Certificate::from_der(der) {
            Ok(certificate) => store.add_key(certificate),
            Err(CertificateError::Refused(fault)) => Err(fault),
            Err(other) => panic!("{other}"),
        };
        answers.push(added.err().map(|fault| fault.errno()));
    }
    if !built.signature.is_empty() {
        let verdict = verify_detached(&[&CONTENT], &built.signature, &store);
        let errno = verdict.as_ref().err().and_then(Rejection::errno);
        refused = verdict.is_err() && errno.is_none();
        answers.push(errno);
    }
    (answers, refused)
}

fn differs(case: &Case) -> bool {
    let built = case.build();
    kernel(&built) != offline(&built).0
}

fn names(answers: &[Option<Errno>]) -> Vec<String> {
    let name = |errno: &Option<Errno>| errno.map_or("ok".to_owned(), |errno| errno.to_string());
    answers.iter().map(name).collect()
}

fn print(seed: u64, case: &Case) {
    let built = case.build();
    println!("  seed {seed}: {:?}", built.notes);
    println!("  kernel:  {:?}", names(&kernel(&built)));
    println!("  offline: {:?}", names(&offline(&built).0));
    for der in &built.trusted {
        println!("  trusted: {}", hex(der));
    }
    println!("  message: {}", hex(&built.signature));
}

/// Compares so many cases.
#[track_caller]
fn compare(what: &str, variable: &str, default: u64, make: fn(u64) -> Case) {
    if !in_machine() {
        return;
    }
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let count = number(variable).unwrap_or(default);
    let first = number("BPFSEAL_SEED").unwrap_or(0);
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut wrong = 0;
    let mut refused_here = 0;
    for seed in first..first + count {
        let case = make(seed);
        let built = case.build();
        let answers = kernel(&built);
        let last = &answers[answers.len().saturating_sub(1)..];
        *seen.entry(names(last).concat()).or_default() += 1;
        let (predicted, refused) = offline(&built);
        refused_here += usize::from(refused);
        if answers == predicted {
            continue;
        }
        wrong += 1;
        if wrong <= PRINTED {
            print(seed, &case.shrunk(differs));
        }
    }
    println!("  {count} {what}: {wrong} differ; answers of the kernel: {seen:?}");
    if refused_here > 0 {
        println!("  {refused_here} that the kernel takes are refused here nevertheless");
    }
    assert_eq!(wrong, 0);
}

#[test]
fn messages_are_answered_as_the_kernel_does() {
    compare("messages", "BPFSEAL_MESSAGES", MESSAGES, Case::message);
}

#[test]
fn certificates_are_answered_as_the_kernel_does() {
    compare(
        "certificates",
        "BPFSEAL_CERTIFICATES",
        CERTIFICATES,
        Case::certificates,
    );
}
