//! Attacks on signed loaders, tried in the model and on machines: what stops each, and what a
//! security module had been told by then.
//!
//! Each attack is a twist of the honest plan of installation, or something that somebody else does
//! while it is carried out. It is tried with every scheme, on the kernel that checks the scheme.

use std::borrow::Cow;

use bpfseal_artifact::install::{
    Call, Context, Executor, Failed, Input, InstallPlan, NewMap, NewProgram, Step,
};
use bpfseal_loader::ContextLayout;
use bpfseal_model::explain::{Setting, describe_admission};
use bpfseal_model::install::{map_create, prog_load};
use bpfseal_model::kernel::{CoreRelo, End, Fd, Hook, Kernel, MapCreate, Policy, Profile};
use bpfseal_model::{KernelSymbols, Symbols};
use bpfseal_object::Endian;
use bpfseal_seal::{
    Certificate, Scheme, Seal, SealError, SealOptions, SealedLoader, SigningKey, TrustStore,
    excl_prog_hash, seal,
};
use bpfseal_uapi::{Errno, KeyringId, prog};

use crate::machine::Machine;

/// `r0 = 7; exit`: a program that can be signed without being a loader.
pub const PLAIN: [u8; 16] = [0xb7, 0, 0, 0, 7, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];

/// Seals for [`PLAIN`], by every scheme that a kernel checks.
///
/// # Errors
/// When the key does not sign.
pub fn plain_seals(key: &SigningKey, certificate: &Certificate) -> Result<Vec<Seal>, SealError> {
    let options = SealOptions::default();
    let seals = Scheme::KERNELS.iter();
    seals
        .map(|scheme| seal(*scheme, &PLAIN, &[], key, certificate, &options))
        .collect()
}

/// [`PLAIN`], with these seals.
#[must_use]
pub fn plain(seals: &[Seal]) -> Vec<SealedLoader<'_>> {
    let loaders = seals.iter().map(|seal| SealedLoader {
        instructions: &PLAIN,
        metadata: &[],
        seal,
    });
    loaders.collect()
}

/// What stops an attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// A call on the map.
    AtTheMap(Errno),
    /// The load.
    AtTheLoad(Errno),
    /// The run, or the loader itself when it runs.
    AtRunTime(Errno),
    /// Nothing refuses it, and nothing comes of it: the loader does not listen.
    Ignored,
    /// Nothing.
    Never,
}

/// An attack with one scheme.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// What stops it.
    pub stopped: Stopped,
    /// Whether a security module had been asked by then.
    pub admitted: bool,
    /// What it was told of the loader, if it was asked.
    pub told: Option<String>,
    /// Of how many programs it was told after that, which the loader installs.
    pub nested: usize,
}

/// An attack with every scheme, in the order of [`Scheme::ALL`].
#[derive(Debug, Clone)]
pub struct Row {
    /// The attack.
    pub name: &'static str,
    /// What comes of it; none without a loader of the scheme.
    pub cells: Vec<Option<Cell>>,
    /// Whether [`on`] tries it on real kernels, too.
    pub real: bool,
}

/// What is needed to try: an honest loader for each scheme, whose signer is trusted.
#[derive(Clone, Copy)]
pub struct Material<'a> {
    /// Loaders by scheme, with the same metadata.
    pub honest: &'a [SealedLoader<'a>],
    /// An older version of the same object's loaders, signed as well.
    pub older: &'a [SealedLoader<'a>],
    /// A program without maps, [`PLAIN`], by the schemes of kernels.
    pub plain: &'a [SealedLoader<'a>],
    /// Byte order of all of them.
    pub endian: Endian,
    /// The signer.
    pub trust: &'a TrustStore,
}

/// One way of loading.
struct Attempt<'a> {
    plan: InstallPlan<'a>,
    /// What somebody else does.
    hand: Option<Hand>,
    /// What of the kernel's symbols there is; a real kernel has its own.
    symbols: Symbols,
    policy: Option<Policy>,
}

/// What somebody else does while a plan is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hand {
    /// User space changes the metadata between load and run.
    UserSpace,
    /// Another program does.
    AnotherProgram,
    /// A program does that has the map as an inner map.
    ThroughOuter,
    /// The instructions name the map by its descriptor.
    Raw,
    /// A BTF gets into `fd_array`.
    Btf,
    /// The load has a CO-RE record for the first instruction.
    Record,
}

/// Changes a plan, or what is around it.
type Twist = fn(&mut Attempt<'_>);

/// An attack: whether real kernels can be asked as it stands, and what it does.
struct Attack {
    name: &'static str,
    real: bool,
    twist: Twist,
}

const fn attack(name: &'static str, twist: Twist) -> Attack {
    Attack {
        name,
        real: true,
        twist,
    }
}

/// One that needs a kernel that is made for it: other symbols, a security module.
const fn modelled(name: &'static str, twist: Twist) -> Attack {
    Attack {
        name,
        real: false,
        twist,
    }
}

const ATTACKS: [Attack; 21] = [
    attack("none: the honest loader", |_| {}),
    attack("changed instructions, map bound to them", |a| {
        let mut digest = None;
        if let Some(program) = a.plan.program_mut() {
            // Of the third instruction, a byte of its number.
            if let Some(byte) = program.instructions.to_mut().get_mut(20) {
                *byte ^= 1;
            }
            digest = Some(excl_prog_hash(&program.instructions));
        }
        a.bind_to(digest);
    }),
    attack("changed metadata", |a| {
        if let Some(value) = a.plan.value_mut() {
            flip(value.to_mut());
        }
    }),
    attack("an unfrozen map", |a| a.leave_unfrozen()),
    attack("an unfrozen map, changed between check and use", |a| {
        a.leave_unfrozen();
        a.hand = Some(Hand::UserSpace);
    }),
    attack("a frozen map, changed nevertheless", |a| {
        a.hand = Some(Hand::UserSpace);
    }),
    attack("a map that is not exclusive", |a| a.bind_to(None)),
    attack(
        "the same, changed by another program: a stale digest",
        |a| {
            a.bind_to(None);
            a.hand = Some(Hand::AnotherProgram);
        },
    ),
    attack("an exclusive map, changed by another program", |a| {
        a.hand = Some(Hand::AnotherProgram);
    }),
    attack("an exclusive map, changed as an inner map", |a| {
        a.hand = Some(Hand::ThroughOuter);
    }),
    attack("a map that is bound to another program", |a| {
        a.bind_to(Some([7; 32]));
    }),
    attack("another map in its place", |a| {
        a.make_another_map();
        for call in &mut a.plan.calls {
            match call {
                Call::DigestMap { map } => *map = 1,
                Call::LoadProgram(program) => program.fd_array = vec![1],
                _ => {}
            }
        }
    }),
    attack("a second map smuggled in", |a| {
        a.make_another_map();
        if let Some(program) = a.plan.program_mut() {
            program.fd_array = vec![0, 1];
            let chained = &mut program.signature_maps;
            widen(2, chained, &mut program.fd_array_cnt);
        }
    }),
    attack("a map by its raw descriptor", |a| a.hand = Some(Hand::Raw)),
    attack("the map left out of the count (sparse array)", |a| {
        a.leave_uncounted()
    }),
    attack("a BTF through fd_array", |a| a.hand = Some(Hand::Btf)),
    attack("junk for a signature", |a| {
        let program = a.plan.program_mut();
        if let Some(signature) = program.and_then(|program| program.signature.as_mut()) {
            signature.bytes = Cow::Borrowed(&[0x30, 0x42, 0x13, 0x37]);
        }
    }),
    attack("no signature at all", |a| {
        if let Some(program) = a.plan.program_mut() {
            program.signature = None;
        }
        // Without one the kernel binds no exclusive map.
        a.leave_uncounted();
    }),
    modelled("a good signature, and a payload that fails", |a| {
        a.symbols = Symbols::Of(KernelSymbols::none());
    }),
    modelled(
        "its unsigned programs, under a policy that wants all signed",
        |a| {
            a.policy = Some(Policy::AllSigned);
        },
    ),
    modelled(ASKING, |a| {
        a.plan = a.plan.clone().asking(&ASKED);
    }),
];

/// The attack that asks for sizes and values.
const ASKING: &str = "sizes and values that the host gives";

/// What it asks for, of every map.
const ASKED: [Input<'static>; 64] = [Input {
    max_entries: 0x5eed,
    initial_value: Some(b"not what was signed"),
}; 64];

/// The row about another artifact.
const REPLAY: Attack = attack("an older artifact, well signed, once more", |_| {});

/// What no signature covers, tried with a signed program that has no maps.
const UNSIGNED_FIELDS: [Attack; 4] = [
    attack(
        "a program without maps, with a CO-RE record of the host: another constant runs",
        |a| a.add_record(),
    ),
    attack(
        "the same signature for a program of another type (a socket filter)",
        |a| a.change_type(),
    ),
    modelled(
        "the CO-RE record, under a policy that takes none of a signed program",
        |a| {
            a.add_record();
            a.policy = Some(Policy::Signed {
                keyrings: Vec::new(),
            });
        },
    ),
    modelled(
        "the other type, under a policy that takes only loaders",
        |a| {
            a.change_type();
            a.policy = Some(Policy::Signed {
                keyrings: Vec::new(),
            });
        },
    ),
];

fn flip(bytes: &mut [u8]) {
    if let Some(last) = bytes.last_mut() {
        *last ^= 1;
    }
}

/// Tries every attack with every scheme in the model.
#[must_use]
pub fn catalogue(material: &Material<'_>) -> Vec<Row> {
    all(material)
        .map(|(attack, loaders)| Row {
            name: attack.name,
            cells: by_scheme(loaders)
                .map(|loader| Some(attempt(loader?, material, attack)))
                .collect(),
            real: attack.real,
        })
        .collect()
}

fn all<'m>(
    material: &'m Material<'_>,
) -> impl Iterator<Item = (&'static Attack, &'m [SealedLoader<'m>])> {
    let honest = ATTACKS.iter().map(|attack| (attack, material.honest));
    let plain = UNSIGNED_FIELDS
        .iter()
        .map(|attack| (attack, material.plain));
    honest.chain([(&REPLAY, material.older)]).chain(plain)
}

fn by_scheme<'m>(
    loaders: &'m [SealedLoader<'m>],
) -> impl Iterator<Item = Option<&'m SealedLoader<'m>>> {
    Scheme::ALL
        .into_iter()
        .map(|scheme| loaders.iter().find(|loader| loader.seal.scheme == scheme))
}

/// An attack on a machine: by name, with what stopped it there and in the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// The attack.
    pub name: &'static str,
    /// What stopped it on the machine.
    pub real: Stopped,
    /// What stops it in the model.
    pub model: Stopped,
}

/// Tries every attack that can be tried as it stands on machines, such as real kernels, with the
/// loaders of one scheme, whose signer is in the session keyring there.
pub fn on<M: Machine>(
    scheme: Scheme,
    material: &Material<'_>,
    mut machine: impl FnMut() -> M,
) -> Vec<Tried> {
    let mut tried = Vec::new();
    for (attack, loaders) in all(material).filter(|(attack, _)| attack.real) {
        if let Some(loader) = loaders.iter().find(|l| l.seal.scheme == scheme) {
            tried.push(Tried {
                name: attack.name,
                real: Attempt::new(loader, attack).run_on(&mut machine(), material.endian),
                model: attempt(loader, material, attack).stopped,
            });
        }
    }
    tried
}

fn attempt(loader: &SealedLoader<'_>, material: &Material<'_>, attack: &Attack) -> Cell {
    let attempt = Attempt::new(loader, attack);
    let mut setting = Setting::new(Profile::of_scheme(loader.seal.scheme), material.trust);
    setting.policies = attempt.policy.clone().into_iter().collect();
    setting.symbols = attempt.symbols.clone();
    let mut kernel = setting.kernel(material.endian);
    let stopped = if attack.name == ASKING {
        attempt.heard_by(&mut kernel)
    } else {
        attempt.run_on(&mut kernel, material.endian)
    };
    let mut trail = kernel.modules.trail.iter();
    let integrity = trail.find(|told| told.hook == Hook::ProgLoadIntegrity);
    let integrity = integrity.and_then(|told| told.integrity);
    let first = kernel.admissions.first();
    let admissions = kernel.admissions.iter();
    Cell {
        stopped,
        admitted: first.is_some(),
        told: match integrity {
            Some(verdict) => first.map(|_| verdict.name().to_owned()),
            None => first.map(describe_admission),
        },
        nested: admissions.filter(|told| told.caller.is_kernel()).count(),
    }
}

impl<'a> Attempt<'a> {
    fn new(loader: &SealedLoader<'a>, attack: &Attack) -> Self {
        // More than any loader here has: what it leaves is not looked at.
        let context = ContextLayout {
            maps: 64,
            programs: 64,
        };
        let mut attempt = Self {
            plan: InstallPlan::sealed(*loader, KeyringId::SESSION, context),
            hand: None,
            symbols: Symbols::All,
            policy: None,
        };
        (attack.twist)(&mut attempt);
        attempt
    }

    fn bind_to(&mut self, digest: Option<[u8; 32]>) {
        if let Some(map) = self.plan.map_mut() {
            map.excl_prog_hash = digest;
        }
    }

    /// Leaves the map out altogether.
    fn without_map(&mut self) {
        let stays =
            |call: &Call<'_>| matches!(call, Call::LoadProgram(_) | Call::RunProgram { .. });
        self.plan.calls.retain(stays);
        if let Some(program) = self.plan.program_mut() {
            program.fd_array.clear();
        }
        self.leave_uncounted();
    }

    fn add_record(&mut self) {
        self.without_map();
        self.hand = Some(Hand::Record);
    }

    fn change_type(&mut self) {
        self.without_map();
        let stays = |call: &Call<'_>| !matches!(call, Call::RunProgram { .. });
        self.plan.calls.retain(stays);
        if let Some(program) = self.plan.program_mut() {
            program.prog_type = prog::SOCKET_FILTER;
        }
    }

    fn leave_unfrozen(&mut self) {
        let stays = |call: &Call<'_>| !matches!(call, Call::FreezeMap { .. });
        self.plan.calls.retain(stays);
    }

    fn leave_uncounted(&mut self) {
        if let Some(program) = self.plan.program_mut() {
            program.fd_array_cnt = 0;
            program.signature_maps.clear();
        }
    }

    /// A second map, like the first but for its value.
    fn make_another_map(&mut self) {
        let (Some(map), Some(value)) = (
            self.plan.map_mut().cloned(),
            self.plan.value_mut().map(|value| value.clone()),
        ) else {
            return;
        };
        let mut value = value.into_owned();
        flip(&mut value);
        let value = value.into();
        let needs_maps =
            |call: &Call<'_>| matches!(call, Call::DigestMap { .. } | Call::LoadProgram(_));
        let calls = &mut self.plan.calls;
        let at = calls.iter().position(needs_maps).unwrap_or(calls.len());
        let made = [
            Call::CreateMap(map),
            Call::WriteMap { map: 1, value },
            Call::FreezeMap { map: 1 },
        ];
        calls.splice(at..at, made);
    }

    fn run_on(&self, machine: &mut dyn Machine, endian: Endian) -> Stopped {
        let mut driver = Driver {
            machine,
            endian,
            hand: self.hand,
            map: -1,
            value: Vec::new(),
            meddled: None,
        };
        match self.plan.execute(&mut driver) {
            Ok(Some(returned @ ..0)) => {
                let errno = i32::try_from(-returned).map_or(Errno::EINVAL, Errno);
                Stopped::AtRunTime(errno)
            }
            // What was signed ran.
            Ok(Some(7)) if self.hand == Some(Hand::Record) => Stopped::Ignored,
            Ok(_) => Stopped::Never,
            Err(failed) => match driver.meddled {
                Some(errno) => Stopped::AtTheMap(errno),
                None => Stopped::at(failed, |errno| errno),
            },
        }
    }

    /// Whether what the context asks for is listened to.
    fn heard_by(&self, kernel: &mut Kernel) -> Stopped {
        match self.plan.execute(kernel) {
            Err(failed) => Stopped::at(failed, |refused| refused.errno),
            Ok(Some(ran)) if ran.influences.is_empty() => match ran.end {
                End::Returned(0..) => Stopped::Ignored,
                _ => Stopped::Never,
            },
            Ok(_) => Stopped::Never,
        }
    }
}

impl Stopped {
    fn at<E>(failed: Failed<E>, errno: impl FnOnce(E) -> Errno) -> Self {
        match failed {
            Failed::Call { step, source } => match step {
                Step::LoadLoader => Self::AtTheLoad(errno(source)),
                Step::RunLoader | Step::InstallObject => Self::AtRunTime(errno(source)),
                _ => Self::AtTheMap(errno(source)),
            },
            // A twist that is none.
            Failed::Plan(_) => Self::AtTheMap(Errno::EINVAL),
        }
    }
}

/// Counts one more descriptor, the way that the scheme counts: the older ones do not, unless there
/// is something to smuggle in.
fn widen(count: u32, chained: &mut Vec<u32>, fd_array_cnt: &mut u32) {
    if chained.is_empty() {
        *fd_array_cnt = count;
    } else {
        *chained = (0..count).collect();
    }
}

/// A machine on which a plan is carried out, and somebody else has a hand in it.
struct Driver<'m> {
    machine: &'m mut dyn Machine,
    endian: Endian,
    hand: Option<Hand>,
    /// The map that the loader gets, and what was written into it.
    map: Fd,
    value: Vec<u8>,
    /// What was answered to whoever meddled.
    meddled: Option<Errno>,
}

impl Driver<'_> {
    fn meddle(&mut self) -> Result<(), Errno> {
        let mut changed = self.value.clone();
        flip(&mut changed);
        // The metadata is below 2 GiB.
        let last = changed.len().saturating_sub(1) as u32;
        let byte = changed.last().copied().unwrap_or_default();
        let (machine, map) = (&mut self.machine, self.map);
        match self.hand {
            Some(Hand::UserSpace) => machine.update(map, 0, &changed, 0),
            Some(Hand::AnotherProgram) => machine.poke(map, last, byte),
            Some(Hand::ThroughOuter) => {
                let outer = machine.create_map(&MapCreate::of_maps("outer".to_owned(), map))?;
                machine.update(outer, 0, &map.to_ne_bytes(), 0)?;
                machine.poke_inner(outer, last, byte)
            }
            Some(Hand::Raw | Hand::Btf | Hand::Record) | None => Ok(()),
        }
    }
}

impl Executor for Driver<'_> {
    type Map = Fd;
    type Program = Fd;
    type Ran = i64;
    type Error = Errno;

    fn create_map(&mut self, map: &NewMap<'_>) -> Result<Fd, Errno> {
        self.machine.create_map(&map_create(map))
    }

    fn write_map(&mut self, map: &Fd, value: &[u8]) -> Result<(), Errno> {
        self.value = value.to_vec();
        self.machine.update(*map, 0, value, 0)
    }

    fn freeze_map(&mut self, map: &Fd) -> Result<(), Errno> {
        self.machine.freeze(*map)
    }

    fn digest_map(&mut self, map: &Fd) -> Result<(), Errno> {
        self.machine.digest(*map, 32)
    }

    fn load_program(&mut self, program: &NewProgram<'_>, maps: &[&Fd]) -> Result<Fd, Errno> {
        let mut fds: Vec<Fd> = maps.iter().map(|map| **map).collect();
        self.map = fds.first().copied().unwrap_or(-1);
        let with_btf = self.hand == Some(Hand::Btf);
        if with_btf {
            fds.push(self.machine.load_btf()?);
        }
        let count = fds.len() as u32;
        let mut load = prog_load(program, fds);
        if with_btf {
            widen(count, &mut load.signature_maps, &mut load.fd_array_cnt);
        }
        if self.hand == Some(Hand::Raw) {
            by_descriptor(&mut load.instructions, self.map);
        }
        if self.hand == Some(Hand::Record) {
            load.core_relos = vec![CoreRelo {
                insn: 0,
                type_id: 1,
            }];
        }
        self.machine.load(&load).result
    }

    fn run_program(&mut self, program: &Fd, context: &Context<'_>) -> Result<i64, Errno> {
        if let Err(errno) = self.meddle() {
            self.meddled = Some(errno);
            return Err(errno);
        }
        let context = context.encode(self.endian, |_| 0);
        self.machine.run(*program, context)
    }

    fn close_map(&mut self, map: Fd) {
        self.machine.close(map);
    }

    fn close_program(&mut self, program: Fd) {
        self.machine.close(program);
    }
}

/// The first place that takes a map by its index takes it by its descriptor.
fn by_descriptor(instructions: &mut [u8], map: Fd) {
    // `BPF_PSEUDO_MAP_IDX_VALUE` and `BPF_PSEUDO_MAP_VALUE`, in the upper half of a byte.
    let wide = instructions
        .chunks_exact_mut(8)
        .find(|insn| insn[0] == 0x18 && matches!(insn[1] >> 4, 5 | 6));
    if let Some(insn) = wide {
        insn[1] = insn[1] & 0x0f | ((insn[1] >> 4) - 4) << 4;
        insn[4..8].copy_from_slice(&map.to_le_bytes());
    }
}
