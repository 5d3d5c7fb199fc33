//! What will a kernel say to an artifact, and why?
//!
//! Goes the way of the loading side, call by call, against the model of a kernel: metadata map,
//! value, freezing, digest where a loader checks it, the loader itself, its run. The answer is the
//! first refusal, with what it means.

use bpfseal_object::{BPF_PSEUDO_MAP_IDX, Insn};
use bpfseal_seal::{LoaderForm, Scheme, SealedLoader, TrustStore};

use crate::audit::{Subject, endian_of, returned};
use crate::errno::Errno;
use crate::kernel::{
    Admission, Hornet, Kernel, KeyringType, MapCreate, Profile, ProgLoad, SESSION, Signature,
};

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
    /// A security module's verdict, of a proposal.
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
            Self::SecurityModule => "the security module's verdict",
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
    /// What security modules were told of the loader.
    pub admission: Option<Admission>,
}

/// Explains one form of an artifact, with these certificates in the session keyring.
#[must_use]
pub fn explain(
    form: &LoaderForm,
    metadata: &[u8],
    profile: Profile,
    keyring: &TrustStore,
) -> Explanation {
    let scheme = form.seal().map(|seal| seal.scheme);
    let mut kernel = Kernel::new(profile);
    kernel.endian = endian_of(form.instructions());
    kernel.keyring_mut(SESSION).store = keyring.clone();
    let refusal = match profile {
        Profile::HashChain => chain(form, metadata, keyring),
        Profile::Hornet => {
            kernel.modules.add(Box::new(Hornet));
            load(&mut kernel, form, metadata)
        }
        _ => load(&mut kernel, form, metadata),
    };
    Explanation {
        profile,
        scheme,
        refusal,
        admission: kernel.admissions.into_iter().next(),
    }
}

fn refuse(
    step: Step,
    errno: Errno,
    log: Vec<String>,
    scheme: Option<Scheme>,
    profile: Profile,
) -> Refusal {
    let (meaning, help) = say(step, errno, &log, scheme, profile);
    Refusal {
        step,
        errno,
        log,
        meaning,
        help,
    }
}

/// The loading side against a kernel that there is: the refusal, if there is one.
fn load(kernel: &mut Kernel, form: &LoaderForm, metadata: &[u8]) -> Option<Refusal> {
    let profile = kernel.profile;
    let scheme = form.seal().map(|seal| seal.scheme);
    let in_loader = scheme.is_some_and(Scheme::checks_in_loader);
    let refused = |step, errno, log| Some(refuse(step, errno, log, scheme, profile));
    // Without a signature nobody asks for the digest, and the map need not be bound.
    let mut wanted = MapCreate::metadata(
        u32::try_from(metadata.len()).unwrap_or(u32::MAX),
        form.excl_prog_hash(),
    );
    if form.seal().is_none() && !profile.has_signatures() {
        wanted.excl_prog_hash = None;
        wanted.excl_prog_hash_size = 0;
    }
    let map = match kernel.map_create(&wanted) {
        Ok(map) => map,
        Err(errno) => return refused(Step::CreateMetadata, errno, Vec::new()),
    };
    if let Err(errno) = kernel.map_update(map, &[0; 4], metadata, 0) {
        return refused(Step::FillMetadata, errno, Vec::new());
    }
    if let Err(errno) = kernel.map_freeze(map) {
        return refused(Step::FreezeMetadata, errno, Vec::new());
    }
    if in_loader && let Err(errno) = kernel.map_digest(map, 32) {
        return refused(Step::DigestMetadata, errno, Vec::new());
    }
    // Hornet's loading side names the map, and binds nothing.
    let bind = form.seal().is_some() && !in_loader && profile != Profile::Hornet;
    let answer = kernel.prog_load(&ProgLoad {
        name: "__loader.prog".to_owned(),
        prog_type: SYSCALL,
        instructions: form.instructions().to_vec(),
        fd_array: Some(vec![map]),
        fd_array_cnt: u32::from(bind),
        signature: form.seal().map(|seal| Signature {
            bytes: seal.signature.to_vec(),
            size: u32::try_from(seal.signature.len()).unwrap_or(u32::MAX),
            keyring: SESSION,
        }),
        kernel: false,
    });
    if let Err(errno) = answer.result {
        let verdict = kernel
            .modules
            .trail
            .iter()
            .rev()
            .find(|told| told.answer.is_err());
        if let Some(verdict) = verdict.and_then(|told| told.integrity) {
            let log = vec![format!("verdict: {}", verdict.name())];
            return refused(Step::SecurityModule, errno, log);
        }
        return refused(Step::LoadLoader, errno, answer.log);
    }
    // What the verifier's data flow says to a loader that looks at the kernel's object of its map.
    let shown = |offset: &i16| profile.shows_map_field(*offset);
    if !fields_read(form.instructions()).iter().all(shown) {
        return refused(Step::LoadLoader, Errno::EACCES, Vec::new());
    }
    run(form.instructions(), metadata, true)
        .and_then(|errno| refused(Step::RunLoader, errno, Vec::new()))
}

/// `BPF_PROG_TYPE_SYSCALL`.
const SYSCALL: u32 = 31;

/// Offsets that a loader reads of `struct bpf_map`.
fn fields_read(instructions: &[u8]) -> Vec<i16> {
    let insns = Insn::decode_all(instructions, endian_of(instructions));
    let pairs = insns.windows(3);
    pairs
        .filter(|w| w[0].is_ld_imm64() && w[0].src == BPF_PSEUDO_MAP_IDX)
        // A load by the register that the address was put into.
        .filter(|w| w[2].code & 7 == 1 && w[2].src == w[0].dst)
        .map(|w| w[2].off)
        .collect()
}

/// Whether the loader refuses to run, by its own check of its map.
pub(crate) fn run(instructions: &[u8], metadata: &[u8], exclusive: bool) -> Option<Errno> {
    let subject = Subject {
        instructions,
        metadata,
        context: bpfseal_loader::ContextLayout {
            maps: 64,
            programs: 4096,
        },
        endian: endian_of(instructions),
    };
    match returned(&subject, exclusive) {
        Ok(answer) if answer < 0 => {
            let number = i32::try_from(-answer).unwrap_or(Errno::EINVAL.0);
            Some(Errno(number))
        }
        // What is no loader is not judged here.
        _ => None,
    }
}

/// The proposal with a chain of digests: the signature alone is modelled.
fn chain(form: &LoaderForm, metadata: &[u8], keyring: &TrustStore) -> Option<Refusal> {
    // An unsigned loader is nobody's business there.
    let seal = form.seal()?;
    let scheme = Some(seal.scheme);
    let mut seal = seal.clone();
    seal.scheme = Scheme::HashChain;
    let sealed = SealedLoader {
        instructions: form.instructions(),
        metadata,
        seal: &seal,
    };
    let rejection = sealed.verify(keyring).err()?;
    let errno = Errno::of_rejection(&rejection);
    let (step, profile) = (Step::LoadLoader, Profile::HashChain);
    Some(refuse(step, errno, Vec::new(), scheme, profile))
}

/// What a refusal means, and what to do: what the log says comes before what only an errno says.
fn say(
    step: Step,
    errno: Errno,
    log: &[String],
    scheme: Option<Scheme>,
    profile: Profile,
) -> (String, &'static str) {
    const RESEAL: &str = "seal it for this kernel too: `bpfseal seal --scheme all-kernels`";
    const AGAIN: &str =
        "get the artifact from its maker again; `bpfseal verify` says which part is wrong";
    let said = |words: &str| log.iter().any(|line| line.contains(words));
    let other_scheme = scheme.is_some_and(|scheme| Some(scheme) != profile.scheme());
    let (meaning, help) = match (step, errno) {
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
    };
    (meaning.to_owned(), help)
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
