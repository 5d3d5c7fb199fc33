//! Scenarios in the model alone: the named ones have their answers, and random ones are the same
//! each time.
#![allow(clippy::unwrap_used, reason = "tests")]

use bpfseal::model::kernel::{Kernel, KeyringType, Profile, SESSION};
use bpfseal_proof::bench::person;
use bpfseal_proof::scenario::{Outcome, Scenario, Signatures, Signers, named, run};

fn run_on(profile: Profile, scenario: &Scenario) -> (Kernel, Vec<Outcome>) {
    let (trusted, other) = (person("p256"), person("rsa2048"));
    let mut kernel = Kernel::new(profile);
    let store = &mut kernel.keyring_mut(SESSION).store;
    store.add(trusted.certificate.clone());
    let made = Signatures::default();
    let signers = Signers {
        trusted: (&trusted.key, &trusted.certificate),
        other: (&other.key, &other.certificate),
        made: &made,
    };
    let outcomes = run(scenario, &mut kernel, &signers);
    (kernel, outcomes)
}

#[test]
fn named_scenarios_have_their_answers() {
    for one in named() {
        let (_, outcomes) = run_on(Profile::V7_3, &one.scenario);
        let last = outcomes.last().unwrap();
        assert_eq!(last.errno, one.answer, "{}: {last:?}", one.name);
    }
}

/// What a security module is told: of unsigned loads, of signed ones, and of one that is verified
/// and then fails.
#[test]
fn security_modules_are_told() {
    let admission = |name: &str| {
        let one = named().into_iter().find(|one| one.name == name).unwrap();
        let (kernel, _) = run_on(Profile::V7_3, &one.scenario);
        kernel.admissions.last().cloned()
    };
    let unsigned = admission("unsigned, its map in a sparse fd_array").unwrap();
    assert!(!unsigned.verdict.verified && unsigned.loaded);
    assert_eq!(unsigned.verdict.keyring, KeyringType::None);
    let signed = admission("signed, with its map").unwrap();
    assert!(signed.verdict.verified && signed.loaded);
    assert_eq!(signed.verdict.keyring, KeyringType::User);
    assert_ne!(signed.verdict.serial, 0);
    let failing = admission("signed over instructions, the map left out of fd_array_cnt").unwrap();
    assert!(failing.verdict.verified && !failing.loaded);
    // One that is refused before is not told of.
    assert_eq!(admission("junk for a signature"), None);
}

#[test]
fn random_scenarios_are_known_by_their_seeds() {
    let mut lengths = std::collections::BTreeSet::new();
    for seed in 0..500 {
        let scenario = Scenario::random(seed);
        assert_eq!(scenario, Scenario::random(seed));
        assert!((1..=12).contains(&scenario.calls.len()));
        lengths.insert(scenario.calls.len());
        for profile in Profile::ALL {
            let _ = run_on(profile, &scenario);
        }
    }
    assert!(lengths.len() > 8, "{lengths:?}");
}
