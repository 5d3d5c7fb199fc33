//! Random scenarios on a real kernel and in the model: the same answers, call by call.
//!
//! `BPFSEAL_SCENARIOS` says how many, `BPFSEAL_SEED` where to begin. A scenario that differs is
//! made smaller, call by call, and printed.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;

use bpfseal::model::Errno;
use bpfseal::model::kernel::{Kernel, Profile, SESSION};
use bpfseal_proof::bench::Setup;
use bpfseal_proof::machine::Running;
use bpfseal_proof::scenario::{Call, Outcome, Scenario, Signers, named, run};

/// How many random scenarios, on the kernel that verifies at load time and on others.
const LOAD_TIME: u64 = 3000;
const OTHERS: u64 = 500;

/// Both sides of a scenario.
struct Pair<'a> {
    profile: Profile,
    signers: Signers<'a>,
}

impl Pair<'_> {
    fn real(&self, scenario: &Scenario) -> Vec<Outcome> {
        run(scenario, &mut Running::default(), &self.signers)
    }

    fn model(&self, scenario: &Scenario) -> Vec<Outcome> {
        let mut kernel = Kernel::new(self.profile);
        let trusted = self.signers.trusted.1.clone();
        kernel.keyring_mut(SESSION).store.add(trusted);
        run(scenario, &mut kernel, &self.signers)
    }

    fn differs(&self, scenario: &Scenario) -> bool {
        self.real(scenario) != self.model(scenario)
    }

    /// Leaves out calls at the end, and then the others one by one, as long as it still differs.
    /// Calls are named by their places, so one that is left out becomes one that does nothing.
    fn shrunk(&self, mut scenario: Scenario) -> Scenario {
        while scenario.calls.len() > 1 {
            let mut shorter = scenario.clone();
            shorter.calls.pop();
            if !self.differs(&shorter) {
                break;
            }
            scenario = shorter;
        }
        for slot in 0..scenario.calls.len() {
            let mut without = scenario.clone();
            without.calls[slot] = Call::Close { of: usize::MAX };
            if self.differs(&without) {
                scenario = without;
            }
        }
        scenario
    }
}

fn short(errno: Option<Errno>) -> String {
    errno.map_or("ok".to_owned(), |errno| errno.to_string())
}

#[test]
fn named_scenarios_have_their_answers() {
    let Some(setup) = Setup::new() else { return };
    let pair = Pair {
        profile: setup.profile,
        signers: setup.signers(),
    };
    println!("  {:<60} {:<14} {}", "scenario", "model", setup.release);
    for one in named() {
        let (real, model) = (pair.real(&one.scenario), pair.model(&one.scenario));
        let last = |all: &[Outcome]| all.last().and_then(|outcome| outcome.errno);
        let (seen, told) = (last(&real), last(&model));
        println!("  {:<60} {:<14} {}", one.name, short(told), short(seen));
        assert_eq!(real, model, "{}", one.name);
        if setup.profile == Profile::V7_3 {
            assert_eq!(seen, one.answer, "{}", one.name);
        }
    }
}

#[test]
fn the_model_answers_as_the_kernel_does() {
    let Some(setup) = Setup::new() else { return };
    let pair = Pair {
        profile: setup.profile,
        signers: setup.signers(),
    };
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let default = if setup.profile == Profile::V7_3 {
        LOAD_TIME
    } else {
        OTHERS
    };
    let count = number("BPFSEAL_SCENARIOS").unwrap_or(default);
    let first = number("BPFSEAL_SEED").unwrap_or(0);
    let mut calls = 0;
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut wrong = 0;
    for seed in first..first + count {
        let scenario = Scenario::random(seed);
        let real = pair.real(&scenario);
        calls += real.len();
        for outcome in &real {
            *seen.entry(short(outcome.errno)).or_default() += 1;
        }
        if real == pair.model(&scenario) {
            continue;
        }
        wrong += 1;
        if wrong <= 5 {
            let small = pair.shrunk(scenario);
            println!("  scenario {seed}: {small:#?}");
            println!("  kernel: {:?}", pair.real(&small));
            println!("  model:  {:?}", pair.model(&small));
        }
    }
    println!("  {count} scenarios, {calls} calls: {wrong} differ; answers of the kernel: {seen:?}");
    assert_eq!(wrong, 0);
}
