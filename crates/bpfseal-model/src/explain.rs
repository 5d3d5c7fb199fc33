//! What will a kernel say to an artifact, and why?
//!
//! Goes the way of the loading side, call by call, against the model of a kernel: metadata map,
//! value, freezing, digest where a loader checks it, the loader itself, its run. The answer is the
//! first refusal, with what it means.

use bpfseal_artifact::{Artifact, LoaderForm};
use bpfseal_object::Endian;
use bpfseal_seal::{Scheme, TrustStore};

use crate::kernel::{
    Admission, Denied, End, Fd, Hook, Hornet, Kernel, KeyringType, MapCreate, Policy, PolicyModule,
    Profile, ProgLoad, SESSION, Signature, Told,
};
use crate::run::Fault;
use crate::symbols::Symbols;
use bpfseal_uapi::{Errno, prog};

/// A step of the loading side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// `BPF_MAP_CREATE` of the metadata map.
    CreateMetadata,
    /// `BPF_MAP_UPDATE_ELEM` of its value.
    FillMetadata,
    /// `BPF_MAP_FREEZE`.
    FreezeMetadata,
    /// `BPF_OBJ_GET_INFO_BY_FD` with a digest, for loaders that check their metadata themselves.
    DigestMetadata,
    /// `BPF_PROG_LOAD` of the loader.
    LoadLoader,
    /// `BPF_PROG_RUN` of it.
    RunLoader,
    /// A security module.
    SecurityModule,
}

impl Step {
    /// In words.
    #[must_use]
    pub fn describe(self) -> &'static str {
        match self {
            Self::CreateMetadata => "making the metadata map (BPF_MAP_CREATE)",
            Self::FillMetadata => "writing the metadata map (BPF_MAP_UPDATE_ELEM)",
            Self::FreezeMetadata => "freezing the metadata map (BPF_MAP_FREEZE)",
            Self::DigestMetadata => "the metadata map's digest (BPF_OBJ_GET_INFO_BY_FD)",
            Self::LoadLoader => "loading the loader (BPF_PROG_LOAD)",
            Self::RunLoader => "running the loader (BPF_PROG_RUN)",
            Self::SecurityModule => "a security module",
        }
    }
}

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// At which step.
    pub step: Step,
    /// The kernel's answer.
    pub errno: Errno,
    /// What it logs.
    pub log: Vec<String>,
    /// What that means.
    pub meaning: String,
    /// What to do.
    pub help: &'static str,
}

/// What a kernel says to one form of an artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
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
        }
    }

    /// That kernel, in the byte order of these instructions.
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
    let mut kernel = setting.kernel(artifact.endian);
    let mut attempt = Attempt {
        kernel: &mut kernel,
        scheme: form.seal().map(|seal| seal.scheme),
        keyring: setting.keyring_id,
        not_run: None,
    };
    let refusal = attempt.load(artifact, form).err();
    let not_run = attempt.not_run;
    Explanation {
        profile: setting.profile,
        scheme: form.seal().map(|seal| seal.scheme),
        refusal,
        admissions: kernel.admissions,
        not_run,
    }
}

/// `BPF_PROG_LOAD` of a loader as the loading side of its scheme asks for it: `array` are its maps,
/// the metadata first.
#[must_use]
pub fn request(
    scheme: Option<Scheme>,
    instructions: Vec<u8>,
    array: Vec<Fd>,
    signature: Option<Signature>,
) -> ProgLoad {
    let signed = signature.is_some();
    let count = u32::try_from(array.len()).unwrap_or(u32::MAX);
    let (bound, chained) = match scheme {
        Some(Scheme::LoadTime) if signed => (count, 0),
        Some(Scheme::HashChain) if signed => (0, count),
        // Hornet's loading side names the map, and binds nothing.
        _ => (0, 0),
    };
    ProgLoad {
        name: "__loader.prog".to_owned(),
        prog_type: prog::SYSCALL,
        instructions,
        fd_array: Some(array),
        fd_array_cnt: bound,
        signature_maps: (0..chained).collect(),
        signature,
    }
}

/// An artifact on its way into a kernel.
struct Attempt<'k> {
    kernel: &'k mut Kernel,
    scheme: Option<Scheme>,
    keyring: i32,
    not_run: Option<Fault>,
}

impl Attempt<'_> {
    /// Why it is refused.
    fn refused(&self, step: Step, errno: Errno, log: Vec<String>) -> Refusal {
        let profile = self.kernel.profile;
        let (meaning, help) = say(step, errno, &log, self.scheme, profile);
        Refusal {
            step,
            errno,
            log,
            meaning: meaning.to_owned(),
            help,
        }
    }

    /// The loading side, call by call.
    fn load(&mut self, artifact: &Artifact, form: &LoaderForm) -> Result<(), Refusal> {
        let metadata = &artifact.metadata;
        let profile = self.kernel.profile;
        let in_loader = self.scheme.is_some_and(Scheme::checks_in_loader);
        // Without a signature nobody asks for the digest, and the map need not be bound.
        let mut wanted = MapCreate::metadata(
            u32::try_from(metadata.len()).unwrap_or(u32::MAX),
            form.excl_prog_hash(),
        );
        if form.seal().is_none() && !profile.has_signatures() {
            wanted.excl_prog_hash = None;
            wanted.excl_prog_hash_size = 0;
        }
        let at = |step| move |errno| (step, errno);
        let map = self
            .kernel
            .map_create(&wanted)
            .map_err(at(Step::CreateMetadata))
            .and_then(|map| {
                self.kernel
                    .map_update(map, &[0; 4], metadata, 0)
                    .map_err(at(Step::FillMetadata))?;
                self.kernel
                    .map_freeze(map)
                    .map_err(at(Step::FreezeMetadata))?;
                if in_loader {
                    self.kernel
                        .map_digest(map, 32)
                        .map_err(at(Step::DigestMetadata))?;
                }
                Ok(map)
            })
            .map_err(|(step, errno)| self.refused(step, errno, Vec::new()))?;
        let signature = form.seal().map(|seal| Signature {
            bytes: seal.signature.to_vec(),
            size: u32::try_from(seal.signature.len()).unwrap_or(u32::MAX),
            keyring: self.keyring,
        });
        let instructions = form.instructions().to_vec();
        let answer =
            self.kernel
                .prog_load(&request(self.scheme, instructions, vec![map], signature));
        let loader = match answer.result {
            Ok(loader) => loader,
            Err(errno) => {
                return Err(self
                    .refused_by_module(errno)
                    .unwrap_or_else(|| self.refused(Step::LoadLoader, errno, answer.log)));
            }
        };
        let context = vec![0; artifact.interface.context().size() as usize];
        let ran = self.kernel.prog_run(loader, context);
        match ran.end {
            End::Returned(0..) => Ok(()),
            End::Returned(answer) => {
                let errno = i32::try_from(-answer).map_or(Errno::EINVAL, Errno);
                Err(self.refused_at_run(errno, ran.denied, &ran.missing))
            }
            End::Refused(errno) => Err(self
                .refused_by_module(errno)
                .unwrap_or_else(|| self.refused(Step::RunLoader, errno, Vec::new()))),
            // What is no loader is not judged here.
            End::NotModelled(fault) => {
                self.not_run = Some(fault);
                Ok(())
            }
        }
    }

    /// The last question to a security module, if it was answered with a refusal.
    fn last_refusal(&self) -> Option<&Told> {
        // The end of a program, which comes after a refusal, is no question.
        let mut trail = self.kernel.modules.trail.iter().rev();
        let last = trail.find(|told| told.hook != Hook::ProgFree);
        last.filter(|told| told.answer.is_err())
    }

    /// The refusal of a security module, if the last answer was one.
    fn refused_by_module(&self, errno: Errno) -> Option<Refusal> {
        let told = self.last_refusal()?;
        let log = told
            .integrity
            .map(|verdict| format!("verdict: {}", verdict.name()));
        let mut refusal = self.refused(Step::SecurityModule, errno, log.into_iter().collect());
        if told.integrity.is_none() {
            refusal.meaning = by_policy(told, "the loader");
            refusal.help = "sign it with a key that the policy takes; `bpfseal keyring` puts certificates into keyrings";
        }
        Some(refusal)
    }

    fn refused_at_run(&self, errno: Errno, denied: Option<Denied>, missing: &[String]) -> Refusal {
        let mut refusal = self.refused(Step::RunLoader, errno, Vec::new());
        match (denied, self.last_refusal(), missing.last()) {
            (Some(denied), Some(told), _) => {
                refusal.step = Step::SecurityModule;
                refusal.meaning = by_policy(told, &format!("{} (by the loader)", denied.what));
                refusal.help = "what a loader installs comes from the kernel and has no signature of its own: a policy has to let it through";
            }
            (Some(denied), None, _) => {
                refusal.meaning = format!("the loader runs, and {} is refused", denied.what);
                refusal.log = denied.log;
                refusal.help = "`bpfseal audit` says what the loader does";
            }
            (None, _, Some(name)) => {
                refusal.meaning = format!("the loader runs, and the kernel has no `{name}`");
                refusal.help = "make the symbol weak in the program, or use a kernel that has it";
            }
            (None, _, None) => {}
        }
        refusal
    }
}

fn by_policy(told: &Told, what: &str) -> String {
    format!("the policy `{}` refuses {what}", told.module)
}

/// What a refusal means, and what to do: what the log says comes before what only an errno says.
fn say(
    step: Step,
    errno: Errno,
    log: &[String],
    scheme: Option<Scheme>,
    profile: Profile,
) -> (&'static str, &'static str) {
    const RESEAL: &str = "seal it for this kernel too: `bpfseal seal --scheme all-kernels`";
    const AGAIN: &str =
        "get the artifact from its maker again; `bpfseal verify` says which part is wrong";
    let said = |words: &str| log.iter().any(|line| line.contains(words));
    let other_scheme = scheme.is_some_and(|scheme| Some(scheme) != profile.scheme());
    match (step, errno) {
        (Step::CreateMetadata, _) if !profile.has_signatures() => (
            "this kernel knows neither exclusive maps nor signatures of BPF",
            "use Linux 6.18 or later; signatures cover everything since 7.3",
        ),
        (Step::CreateMetadata, Errno::EINVAL) => ("the loader has no metadata", AGAIN),
        (Step::LoadLoader, _) if said("must bind maps") => (
            "the loader is of the older scheme, which binds no map to its signature",
            RESEAL,
        ),
        (Step::LoadLoader, _) if said("payload too large") => (
            "instructions and metadata are larger than the kernel verifies, about 16 MiB",
            "make the object smaller, its zeroed data first",
        ),
        (Step::LoadLoader, _) if said("excl_prog_hash") => (
            "the metadata map is bound to another program: the instructions were changed, or the digest",
            AGAIN,
        ),
        (Step::LoadLoader, Errno::EACCES) => (
            "the loader looks at the mark of exclusive maps, which this kernel does not show to programs",
            RESEAL,
        ),
        (Step::LoadLoader, Errno::ENOKEY) => (
            "the signer's key is not in the keyring",
            "add its certificate to the keyring; for a signer with an embedded chain, that of its issuer",
        ),
        (Step::LoadLoader, Errno::EKEYREJECTED) if other_scheme => (
            "this kernel checks another scheme: what it takes for signed is not what was signed",
            RESEAL,
        ),
        (Step::LoadLoader, Errno::EKEYREJECTED) => (
            "the signature does not hold: instructions or metadata were changed, or the key is revoked",
            AGAIN,
        ),
        (Step::LoadLoader, Errno::EBADMSG) => ("the signature is no PKCS#7 message", AGAIN),
        (Step::LoadLoader, Errno::ENOPKG) => (
            "the kernel has not got the signature's algorithm",
            "sign with RSA or ECDSA and SHA-256",
        ),
        (Step::LoadLoader, Errno::EINVAL) => (
            "the signature is empty or too long, or not of a form that the kernel takes",
            AGAIN,
        ),
        (Step::RunLoader, _) => (
            "the loader refuses to run: the metadata is not that whose digest is in its instructions",
            AGAIN,
        ),
        (Step::SecurityModule, _) => (
            "the security module refuses what is not signed with the digests of its maps",
            "sign with --scheme hornet",
        ),
        _ => ("the kernel refuses it", AGAIN),
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
