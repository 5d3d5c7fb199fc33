//! Messages and certificates by seed: what tools make, in every form, and changed by somebody who
//! knows DER.
//!
//! A change is made to what a signature is over before it is signed, so that it is reached, or to
//! what is around it. The kernel's answers and ours have to be the same.

mod change;
mod der;
mod form;
mod keys;
pub mod prepared;
mod undigested;

use std::fmt::Write as _;

use bpfseal_seal::hex;

use crate::random::Random;
use change::{Change, Target};

pub use form::{Built, CONTENT};
pub use undigested::undigested;

/// How many forms there are.
const FORMS: usize = 8000;

/// A case: a form, and what is changed of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    kind: Kind,
    form: u64,
    changes: Vec<Change>,
    /// Which of the trusted certificates are left away.
    without: Vec<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Certificates,
    Message,
}

impl Case {
    /// A message and the certificates that are trusted.
    #[must_use]
    pub fn message(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let targets: Vec<_> = (0..random.pick(&[0, 1, 1, 1, 1, 1, 2, 2, 3, 5]))
            .map(|_| match random.below(24) {
                0..5 => Target::ToBeSigned(random.below(3)),
                5..7 => Target::Certificate(random.below(3)),
                7..9 => Target::Attributes(random.pick(&[0, 0, 0, 1])),
                9..19 => Target::Message,
                19..22 => Target::Bytes,
                _ => Target::Trusted(random.pick(&[0, 0, 1])),
            })
            .collect();
        Self::new(Kind::Message, &targets, random)
    }

    /// Certificates alone.
    #[must_use]
    pub fn certificates(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let targets: Vec<_> = (0..random.pick(&[0, 1, 1, 1, 2, 2, 3, 4]))
            .map(|_| {
                // The first is always there, the others are not.
                let index = random.pick(&[0, 0, 0, 1, 1, 2]);
                match random.below(6) {
                    0 => Target::Trusted(index),
                    1 => Target::Certificate(index),
                    _ => Target::ToBeSigned(index),
                }
            })
            .collect();
        Self::new(Kind::Certificates, &targets, random)
    }

    fn new(kind: Kind, targets: &[Target], mut random: Random) -> Self {
        Self {
            kind,
            // Signing takes longer than everything else: the same forms come again.
            form: random.below(FORMS) as u64,
            changes: targets
                .iter()
                .map(|target| Change {
                    target: *target,
                    seed: random.next(),
                })
                .collect(),
            without: Vec::new(),
        }
    }

    /// Makes it.
    #[must_use]
    pub fn build(&self) -> Built {
        let maker = form::Maker::new(self.form, &self.changes);
        let mut built = match self.kind {
            Kind::Certificates => maker.certificates(),
            Kind::Message => maker.message(),
        };
        let mut number = 0..;
        built
            .trusted
            .retain(|_| !self.without.contains(&number.next().unwrap_or(0)));
        built
    }

    /// The same with fewer changes and fewer trusted certificates, as long as that is still so.
    #[must_use]
    pub fn shrunk(mut self, is_so: impl Fn(&Self) -> bool) -> Self {
        let mut at = 0;
        while at < self.changes.len() {
            let mut fewer = self.clone();
            fewer.changes.remove(at);
            if is_so(&fewer) {
                self = fewer;
                // What was needed before may not be any more.
                at = 0;
            } else {
                at += 1;
            }
        }
        let trusted = self.build().trusted.len();
        for left_away in (0..trusted).rev() {
            let mut fewer = self.clone();
            fewer.without.push(left_away);
            if is_so(&fewer) {
                self = fewer;
            }
        }
        self
    }

    /// The case in words, as it is printed when two answers differ: what was changed, the answers
    /// by who gave them, and the bytes.
    #[must_use]
    pub fn describe(&self, seed: u64, answers: &[(&str, String)]) -> String {
        let built = self.build();
        let mut out = format!("  seed {seed}, form {}: {:?}\n", self.form, built.notes);
        for (who, answer) in answers {
            let _ = writeln!(out, "  {who:<8} {answer}");
        }
        for der in &built.trusted {
            let _ = writeln!(out, "  trusted  {}", hex(der));
        }
        let _ = writeln!(out, "  message  {}", hex(&built.signature));
        out
    }
}

#[cfg(test)]
mod tests {
    use bpfseal_seal::{KernelConfig, TrustStore, kernel_answer};

    use super::*;

    /// What a kernel of that configuration answers to the message.
    fn answer(case: &Case, config: KernelConfig) -> String {
        let built = case.build();
        let mut store = TrustStore::for_kernel(config);
        for der in &built.trusted {
            let _refused = store.add_der(der);
        }
        match kernel_answer(&[&CONTENT], &built.signature, &store) {
            Ok(()) => "ok".to_owned(),
            Err(errno) => errno.to_string(),
        }
    }

    #[test]
    fn cases_are_the_same_every_time() {
        for seed in 0..20 {
            assert_eq!(Case::message(seed).build(), Case::message(seed).build());
        }
    }

    /// A form that nobody changed is taken in many cases, or the changes would find nothing.
    #[test]
    fn forms_are_good() {
        let case = |form| Case {
            kind: Kind::Message,
            form,
            changes: Vec::new(),
            without: Vec::new(),
        };
        let answers = (0..100).map(|form| answer(&case(form), KernelConfig::default()));
        let taken = answers.filter(|answer| answer == "ok").count();
        assert!(taken > 25, "{taken}");
    }

    /// A case that two kernels answer differently is made as small as it gets, and printed with
    /// what is needed to try it elsewhere.
    #[test]
    fn a_case_that_differs_is_made_smaller_and_printed() {
        // SHA-1 in the place of a fault in the model.
        let without: KernelConfig = "debian,-sha1".parse().unwrap();
        let differs = |case: &Case| answer(case, without) != answer(case, KernelConfig::default());
        let found = (0..).map(|seed| (seed, Case::message(seed)));
        let mut found = found.filter(|(_, case)| case.changes.len() > 2 && differs(case));
        let (seed, case) = found.next().unwrap();
        let small = case.clone().shrunk(differs);
        assert!(differs(&small));
        assert!(small.changes.len() < case.changes.len(), "{small:?}");
        for index in 0..small.changes.len() {
            let mut fewer = small.clone();
            fewer.changes.remove(index);
            assert!(!differs(&fewer), "{fewer:?}");
        }
        let answers = [("kernel", answer(&small, KernelConfig::default()))];
        let text = small.describe(seed, &answers);
        let built = small.build();
        for part in [
            &format!("seed {seed}"),
            &answers[0].1,
            &hex(&built.signature),
        ] {
            assert!(text.contains(part), "{text}");
        }
        assert_eq!(text.matches("  trusted").count(), built.trusted.len());
    }
}
