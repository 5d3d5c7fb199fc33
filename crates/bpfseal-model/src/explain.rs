//! What will a kernel say to an artifact, and why?
//!
//! Carries out the plan of the loading side against the model of a kernel. The answer is the first
//! refusal, with what it means.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use bpfseal_artifact::Artifact;
//! use bpfseal_model::explain::{Setting, explain};
//! use bpfseal_model::kernel::Profile;
//! use bpfseal_seal::TrustStore;
//!
//! let artifact = Artifact::parse(&std::fs::read("prog.bpfseal")?)?;
//! let keyring = TrustStore::new();
//! for form in &artifact.forms {
//!     let said = explain(&artifact, form, &Setting::new(Profile::V7_3, &keyring));
//!     match said.refusal {
//!         Some(refusal) => println!("refused with {}: {refusal}", refusal.errno),
//!         None => println!("taken"),
//!     }
//! }
//! # Ok(())
//! # }
//! ```

use bpfseal_artifact::install::{Checks, Code, Failed, InstallPlan, Refusal, Step};
use bpfseal_artifact::{Artifact, LoaderForm};
use bpfseal_object::Endian;
use bpfseal_seal::{Scheme, TrustStore};
use bpfseal_uapi::{Errno, KeyringId};

use crate::install::Refused;
use crate::kernel::{
    Admission, End, Hook, Hornet, Kernel, KeyringType, Policy, PolicyModule, Profile, Ran, SESSION,
    Told,
};
use crate::run::Fault;
use crate::symbols::Symbols;

/// What a kernel says to one form of an artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explanation {
    /// The kernel.
    pub profile: Profile,
    /// The scheme of the form; none for an unsigned one.
    pub scheme: Option<Scheme>,
    /// Whether it is taken, or why not.
    pub refusal: Option<Refusal>,
    /// What security modules were told: of the loader, then of what it installs.
    pub admissions: Vec<Admission>,
    /// Where the run of the loader was not followed to its end.
    pub not_run: Option<Fault>,
}

/// The kernel that is asked, and what it has.
#[derive(Debug, Clone)]
pub struct Setting<'a> {
    /// Which kernel.
    pub profile: Profile,
    /// Certificates of the keyring that the load names.
    pub keyring: &'a TrustStore,
    /// The id of that keyring.
    pub keyring_id: i32,
    /// Policies of its security modules, in the order in which they are asked.
    pub policies: Vec<Policy>,
    /// Symbols that it has.
    pub symbols: Symbols,
    /// Byte order of the machine: little-endian, but for a few.
    pub endian: Endian,
}

impl<'a> Setting<'a> {
    /// A kernel with these certificates in the session keyring, without policies.
    #[must_use]
    pub fn new(profile: Profile, keyring: &'a TrustStore) -> Self {
        Self {
            profile,
            keyring,
            keyring_id: SESSION,
            policies: Vec::new(),
            symbols: Symbols::All,
            endian: Endian::Little,
        }
    }

    /// That kernel, on a machine of a byte order.
    #[must_use]
    pub fn kernel(&self, endian: Endian) -> Kernel {
        let mut kernel = Kernel::new(self.profile);
        kernel.endian = endian;
        kernel.symbols = self.symbols.clone();
        kernel.keyring_mut(self.keyring_id).store = self.keyring.clone();
        if self.profile == Profile::Hornet {
            kernel.modules.add(Box::new(Hornet::default()));
        }
        for policy in &self.policies {
            kernel
                .modules
                .add(Box::new(PolicyModule::new(policy.clone())));
        }
        kernel
    }
}

/// Explains one form of an artifact.
#[must_use]
pub fn explain(artifact: &Artifact, form: &LoaderForm, setting: &Setting<'_>) -> Explanation {
    let plan = InstallPlan::of(artifact, form, KeyringId(setting.keyring_id));
    let mut kernel = setting.kernel(setting.endian);
    let result = plan.execute(&mut kernel);
    let attempt = Attempt {
        plan: &plan,
        kernel: &kernel,
    };
    let (refusal, not_run) = match result {
        Err(Failed::Call { step, source }) => (Some(attempt.refused(step, source)), None),
        Ok(Some(ran)) => attempt.after(ran),
        // No plan of an artifact is without a run, or names what it does not make.
        Ok(None) | Err(Failed::Plan(_)) => (None, None),
    };
    Explanation {
        profile: setting.profile,
        scheme: plan.scheme,
        refusal,
        not_run,
        admissions: kernel.admissions,
    }
}

/// What a kernel of a profile checks.
fn checks(profile: Profile) -> Checks {
    profile.scheme().map_or(Checks::Nothing, Checks::Scheme)
}

/// A plan that was carried out, and the kernel that answered.
struct Attempt<'k> {
    plan: &'k InstallPlan<'k>,
    kernel: &'k Kernel,
}

impl Attempt<'_> {
    fn refusal(&self, step: Step, errno: Errno, log: &[String]) -> Refusal {
        let checks = checks(self.kernel.profile);
        self.plan.refusal(step, errno, log.join("\n"), checks)
    }

    /// A call of the loading side that was refused.
    fn refused(&self, step: Step, refused: Refused) -> Refusal {
        let refusal = self.refusal(step, refused.errno, &refused.log);
        let Some(told) = self.last_refusal() else {
            return refusal;
        };
        let mut refusal = refusal.with_code(Code::Policy).by(told.module);
        refusal.log.clear();
        if let Some(verdict) = told.integrity {
            refusal.code = Code::Unlisted;
            refusal.log = format!("verdict: {}", verdict.name());
        }
        refusal
    }

    /// What came of the run: a refusal, or where it was not followed.
    fn after(&self, ran: Ran) -> (Option<Refusal>, Option<Fault>) {
        match ran.end {
            End::Returned(0..) => (None, None),
            End::Returned(answer) => {
                let errno = i32::try_from(-answer).map_or(Errno::EINVAL, Errno);
                (Some(self.refused_by_loader(errno, &ran)), None)
            }
            End::Refused(errno) => (Some(self.refused(Step::RunLoader, errno.into())), None),
            // What is no loader is not judged here.
            End::NotModelled(fault) => (None, Some(fault)),
        }
    }

    /// The loader itself ended with an error.
    fn refused_by_loader(&self, errno: Errno, ran: &Ran) -> Refusal {
        let log = ran.denied.as_ref().map_or(&[][..], |denied| &denied.log);
        let refusal = self.refusal(Step::InstallObject, errno, log);
        match (&ran.denied, self.last_refusal(), ran.missing.last()) {
            (Some(denied), Some(told), _) => refusal
                .with_code(Code::PolicyOnObject)
                .by(told.module)
                .of(format!("{} (by the loader)", denied.what)),
            (Some(denied), None, _) => refusal.of(denied.what.clone()),
            (None, _, Some(name)) => refusal.of(format!("`{name}`")),
            // Nothing was asked for that was refused.
            (None, _, None) => refusal.with_code(Code::MetadataChanged),
        }
    }

    /// The last question to a security module, if it was answered with a refusal.
    fn last_refusal(&self) -> Option<&Told> {
        // The end of a program, which comes after a refusal, is no question.
        let mut trail = self.kernel.modules.trail.iter().rev();
        let last = trail.find(|told| told.hook != Hook::ProgFree);
        last.filter(|told| told.answer.is_err())
    }
}

/// In words, what a security module is told.
#[must_use]
pub fn describe_admission(admission: &Admission) -> String {
    let verdict = admission.verdict;
    if !verdict.verified {
        return "unsigned".to_owned();
    }
    let keyring = match verdict.keyring {
        KeyringType::None => "no",
        KeyringType::Builtin => "the builtin",
        KeyringType::Secondary => "the secondary",
        KeyringType::Platform => "the platform",
        KeyringType::User => "a user's",
    };
    format!("verified, with a key of {keyring} keyring")
}
