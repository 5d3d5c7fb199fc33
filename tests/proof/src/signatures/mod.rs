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

pub use form::{Built, CONTENT};

use crate::random::Random;
use change::{Change, Target};

/// How many forms there are.
const FORMS: usize = 2000;

/// A case: a form, and what is changed of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    kind: Kind,
    form: u64,
    changes: Vec<Change>,
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
            .map(|_| match random.below(20) {
                0..5 => Target::ToBeSigned(random.below(3)),
                5..7 => Target::Certificate(random.below(3)),
                7..9 => Target::Attributes(0),
                9..19 => Target::Message,
                _ => Target::Bytes,
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
                if random.once_in(4) {
                    Target::Certificate(index)
                } else {
                    Target::ToBeSigned(index)
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
        }
    }

    /// Makes it.
    #[must_use]
    pub fn build(&self) -> Built {
        let maker = form::Maker::new(self.form, &self.changes);
        match self.kind {
            Kind::Certificates => maker.certificates(),
            Kind::Message => maker.message(),
        }
    }

    /// The same with fewer changes, as long as that is still so.
    #[must_use]
    pub fn shrunk(mut self, is_so: impl Fn(&Self) -> bool) -> Self {
        let mut at = 0;
        while at < self.changes.len() {
            let mut fewer = self.clone();
            fewer.changes.remove(at);
            if is_so(&fewer) {
                self = fewer;
            } else {
                at += 1;
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use bpfseal_seal::{Certificate, TrustStore, kernel_answer};

    use super::*;

    #[test]
    fn cases_are_the_same_every_time() {
        for seed in 0..20 {
            assert_eq!(Case::message(seed).build(), Case::message(seed).build());
        }
    }

    /// A form that nobody changed is taken in most cases, or the changes would find nothing.
    #[test]
    fn forms_are_good() {
        let mut taken = 0;
        for form in 0..100 {
            let case = Case {
                kind: Kind::Message,
                form,
                changes: Vec::new(),
            };
            let built = case.build();
            let mut store = TrustStore::new();
            for der in &built.trusted {
                if let Ok(certificate) = Certificate::from_der(der) {
                    store.add(certificate);
                }
            }
            taken += usize::from(kernel_answer(&[&CONTENT], &built.signature, &store).is_ok());
        }
        assert!(taken > 40, "{taken}");
    }
}
