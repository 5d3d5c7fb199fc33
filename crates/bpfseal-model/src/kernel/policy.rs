//! Policies: what a security module makes of a verdict, for asking what a kernel with one would
//! answer.

use super::keyring::KeyringType;
use super::{Asked, Integrity, SecurityModule};
use bpfseal_uapi::{Errno, prog};

bpfseal_object::debug_as_chain!(PolicyError);

/// A policy, as a module on `security_bpf_prog_load` has it. It refuses with `EPERM`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Policy {
    /// User space loads only verified programs, with a key of one of these keyrings, or of any if
    /// none is named. They have to be what signatures are for: of type syscall, and without CO-RE
    /// records, which no signature covers. What a loader installs while it runs is let through: the
    /// signature of the loader covers it. What else the kernel loads is treated as user space's.
    Signed {
        /// Kinds of keyrings.
        keyrings: Vec<KeyringType>,
    },
    /// Every program is to be verified itself. Nothing that a loader installs is, so that no loader
    /// gets anything done: a mistake that is easily made.
    AllSigned,
}

/// A policy that there is not.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no policy")]
pub struct PolicyError(pub String);

impl Policy {
    /// How policies are written.
    pub const FORMS: &'static str =
        "signed, signed=KEYRING,… with builtin, secondary, platform or user, or all-signed";

    const KEYRINGS: [(&'static str, KeyringType); 4] = [
        ("builtin", KeyringType::Builtin),
        ("secondary", KeyringType::Secondary),
        ("platform", KeyringType::Platform),
        ("user", KeyringType::User),
    ];
}

impl std::str::FromStr for Policy {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, PolicyError> {
        let error = || PolicyError(text.to_owned());
        let keyring = |name: &str| {
            let found = Self::KEYRINGS.iter().find(|(known, _)| *known == name);
            found.map(|(_, keyring)| *keyring).ok_or_else(error)
        };
        match text.split_once('=') {
            None if text == "signed" => Ok(Self::Signed {
                keyrings: Vec::new(),
            }),
            None if text == "all-signed" => Ok(Self::AllSigned),
            Some(("signed", keyrings)) => Ok(Self::Signed {
                keyrings: keyrings.split(',').map(keyring).collect::<Result<_, _>>()?,
            }),
            _ => Err(error()),
        }
    }
}

/// A policy at work.
#[derive(Debug)]
pub(crate) struct PolicyModule {
    policy: Policy,
    /// Whether another module said of this load that its integrity is good, where modules do.
    vouched: bool,
}

impl PolicyModule {
    pub(crate) fn new(policy: Policy) -> Self {
        Self {
            policy,
            vouched: false,
        }
    }
}

impl SecurityModule for PolicyModule {
    fn name(&self) -> &'static str {
        match self.policy {
            Policy::Signed { .. } => "signed",
            Policy::AllSigned => "all-signed",
        }
    }

    fn prog_load_post_integrity(
        &mut self,
        _asked: &Asked<'_>,
        _module: &'static str,
        verdict: Integrity,
    ) -> Result<(), Errno> {
        self.vouched = verdict == Integrity::Ok;
        Ok(())
    }

    fn prog_load(&mut self, asked: &Asked<'_>) -> Result<(), Errno> {
        let keyring = asked.verdict.keyring;
        let verified = asked.verdict.verified || std::mem::take(&mut self.vouched);
        let good = match &self.policy {
            Policy::Signed { keyrings } => {
                let known = keyrings.is_empty() || keyrings.contains(&keyring);
                let is_loader =
                    asked.load.prog_type == prog::SYSCALL && asked.load.core_relos.is_empty();
                asked.caller.run().is_some() || (verified && known && is_loader)
            }
            Policy::AllSigned => verified,
        };
        if good { Ok(()) } else { Err(Errno::EPERM) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_read() {
        let signed = |keyrings: &[KeyringType]| Policy::Signed {
            keyrings: keyrings.to_vec(),
        };
        assert_eq!("signed".parse(), Ok(signed(&[])));
        assert_eq!(
            "signed=builtin,user".parse(),
            Ok(signed(&[KeyringType::Builtin, KeyringType::User]))
        );
        assert_eq!("all-signed".parse(), Ok(Policy::AllSigned));
        for wrong in ["", "signed=", "signed=mine", "unsigned", "all-signed=user"] {
            assert_eq!(
                wrong.parse::<Policy>(),
                Err(PolicyError(wrong.to_owned())),
                "{wrong}"
            );
        }
    }
}
