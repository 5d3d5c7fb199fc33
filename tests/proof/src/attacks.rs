//! Attacks on signed loaders, tried in the model and on machines: what stops each, and what a
//! security module had been told by then.
//!
//! Each attack is a way of loading that differs from the honest one in one place. It is tried with
//! every scheme, on the kernel that checks the scheme.

use bpfseal_model::audit::{Subject, asking_context};
use bpfseal_model::explain::{Setting, describe_admission, request};
use bpfseal_model::kernel::{
    End, Fd, Hook, Kernel, MapCreate, Policy, Profile, SESSION, Signature,
};
use bpfseal_model::{Errno, KernelSymbols, Symbols};
use bpfseal_object::Endian;
use bpfseal_seal::{Scheme, SealedLoader, TrustStore, excl_prog_hash};

use crate::machine::Machine;

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
    /// Byte order of all of them.
    pub endian: Endian,
    /// The signer.
    pub trust: &'a TrustStore,
}

/// One way of loading.
struct Attempt {
    instructions: Vec<u8>,
    metadata: Vec<u8>,
    endian: Endian,
    bound_to: Option<[u8; 32]>,
    freeze: bool,
    /// What is done to the map after the load, before the run.
    meddle: Option<Meddle>,
    signature: Option<Vec<u8>>,
    place: Place,
    /// Whether the context asks for other sizes and values.
    asks: bool,
    /// What of the kernel's symbols there is; a real kernel has its own.
    symbols: Symbols,
    policy: Option<Policy>,
}

/// Who changes the metadata after it was looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Meddle {
    UserSpace,
    AnotherProgram,
    /// A program that has it as an inner map.
    ThroughOuter,
}

/// How the map gets to the program.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Honest,
    /// A second map behind it.
    WithAnother,
    /// Another map instead of it, with other metadata.
    Another,
    /// A BTF behind it.
    WithBtf,
    /// In `fd_array`, and not counted.
    NotCounted,
    /// By its descriptor in the instructions.
    Raw,
}

type Twist = fn(&mut Attempt);

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
        // Of the third instruction, a byte of its number.
        if let Some(byte) = a.instructions.get_mut(20) {
            *byte ^= 1;
        }
        a.bound_to = Some(excl_prog_hash(&a.instructions));
    }),
    attack("changed metadata", |a| flip(&mut a.metadata)),
    attack("an unfrozen map", |a| a.freeze = false),
    attack("an unfrozen map, changed between check and use", |a| {
        a.freeze = false;
        a.meddle = Some(Meddle::UserSpace);
    }),
    attack("a frozen map, changed nevertheless", |a| {
        a.meddle = Some(Meddle::UserSpace);
    }),
    attack("a map that is not exclusive", |a| a.bound_to = None),
    attack(
        "the same, changed by another program: a stale digest",
        |a| {
            a.bound_to = None;
            a.meddle = Some(Meddle::AnotherProgram);
        },
    ),
    attack("an exclusive map, changed by another program", |a| {
        a.meddle = Some(Meddle::AnotherProgram);
    }),
    attack("an exclusive map, changed as an inner map", |a| {
        a.meddle = Some(Meddle::ThroughOuter);
    }),
    attack("a map that is bound to another program", |a| {
        a.bound_to = Some([7; 32]);
    }),
    attack("another map in its place", |a| a.place = Place::Another),
    attack("a second map smuggled in", |a| a.place = Place::WithAnother),
    attack("a map by its raw descriptor", |a| a.place = Place::Raw),
    attack("the map left out of the count (sparse array)", |a| {
        a.place = Place::NotCounted;
    }),
    attack("a BTF through fd_array", |a| a.place = Place::WithBtf),
    attack("junk for a signature", |a| {
        a.signature = Some(vec![0x30, 0x42, 0x13, 0x37]);
    }),
    attack("no signature at all", |a| a.signature = None),
    modelled("a good signature, and a payload that fails", |a| {
        a.symbols = Symbols::Of(KernelSymbols::none());
    }),
    modelled(
        "its unsigned programs, under a policy that wants all signed",
        |a| {
            a.policy = Some(Policy::AllSigned);
        },
    ),
    modelled("sizes and values that the host gives", |a| a.asks = true),
];

/// The row about another artifact.
const REPLAY: Attack = attack("an older artifact, well signed, once more", |_| {});

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
    honest.chain([(&REPLAY, material.older)])
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
                real: Attempt::new(loader, material.endian, attack).run_on(&mut machine(), scheme),
                model: attempt(loader, material, attack).stopped,
            });
        }
    }
    tried
}

fn attempt(loader: &SealedLoader<'_>, material: &Material<'_>, attack: &Attack) -> Cell {
    let scheme = loader.seal.scheme;
    let attempt = Attempt::new(loader, material.endian, attack);
    let mut setting = Setting::new(Profile::of_scheme(scheme), material.trust);
    setting.policies = attempt.policy.clone().into_iter().collect();
    setting.symbols = attempt.symbols.clone();
    let mut kernel = setting.kernel(material.endian);
    let stopped = if attempt.asks {
        attempt.heard_by(&mut kernel, scheme)
    } else {
        attempt.run_on(&mut kernel, scheme)
    };
    let mut trail = kernel.modules.trail.iter();
    let integrity = trail.find(|told| told.hook == Hook::ProgLoadIntegrity);
    let integrity = integrity.and_then(|told| told.integrity);
    let first = kernel.admissions.first();
    Cell {
        stopped,
        admitted: first.is_some(),
        told: match integrity {
            Some(verdict) => first.map(|_| verdict.name().to_owned()),
            None => first.map(describe_admission),
        },
        nested: kernel
            .admissions
            .iter()
            .filter(|told| told.caller.is_kernel())
            .count(),
    }
}

impl Attempt {
    fn new(loader: &SealedLoader<'_>, endian: Endian, attack: &Attack) -> Self {
        let mut attempt = Self {
            instructions: loader.instructions.to_vec(),
            metadata: loader.metadata.to_vec(),
            endian,
            bound_to: Some(loader.seal.excl_prog_hash),
            freeze: true,
            meddle: None,
            signature: Some(loader.seal.signature.to_vec()),
            place: Place::Honest,
            asks: false,
            symbols: Symbols::All,
            policy: None,
        };
        (attack.twist)(&mut attempt);
        attempt
    }

    fn map(&self, machine: &mut dyn Machine, metadata: &[u8]) -> Result<Fd, Errno> {
        let mut wanted = MapCreate::metadata(
            u32::try_from(metadata.len()).unwrap_or(u32::MAX),
            self.bound_to.unwrap_or_default(),
        );
        if self.bound_to.is_none() {
            wanted.excl_prog_hash = None;
            wanted.excl_prog_hash_size = 0;
        }
        let map = machine.create_map(&wanted)?;
        machine.update(map, 0, metadata, 0)?;
        if self.freeze {
            machine.freeze(map)?;
        }
        Ok(map)
    }

    fn run_on(&self, machine: &mut dyn Machine, scheme: Scheme) -> Stopped {
        self.try_on(machine, scheme).err().unwrap_or(Stopped::Never)
    }

    fn try_on(&self, machine: &mut dyn Machine, scheme: Scheme) -> Result<(), Stopped> {
        let loader = self.load_on(machine, scheme)?;
        match machine.run(loader, self.context()) {
            Ok(0..) => Ok(()),
            Ok(returned) => {
                let errno = i32::try_from(-returned).map_or(Errno::EINVAL, Errno);
                Err(Stopped::AtRunTime(errno))
            }
            Err(errno) => Err(Stopped::AtRunTime(errno)),
        }
    }

    /// Everything but the run: the loader's descriptor.
    fn load_on(&self, machine: &mut dyn Machine, scheme: Scheme) -> Result<Fd, Stopped> {
        let mut other = self.metadata.clone();
        flip(&mut other);
        let mut map = self
            .map(machine, &self.metadata)
            .map_err(Stopped::AtTheMap)?;
        let mut array = vec![map];
        match self.place {
            Place::WithAnother => {
                array.push(self.map(machine, &other).map_err(Stopped::AtTheMap)?);
            }
            Place::Another => {
                map = self.map(machine, &other).map_err(Stopped::AtTheMap)?;
                array = vec![map];
            }
            Place::WithBtf => array.push(machine.load_btf().map_err(Stopped::AtTheMap)?),
            Place::Honest | Place::NotCounted | Place::Raw => {}
        }
        // The loading side has the kernel compute the digest that the loader compares.
        if scheme.checks_in_loader() {
            machine.digest(map, 32).map_err(Stopped::AtTheMap)?;
        }
        let mut instructions = self.instructions.clone();
        if self.place == Place::Raw {
            by_descriptor(&mut instructions, map);
        }
        let extra = matches!(self.place, Place::WithAnother | Place::WithBtf);
        let count = array.len() as u32;
        let signature = self.signature.as_ref().map(|bytes| Signature {
            bytes: bytes.clone(),
            size: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
            keyring: SESSION,
        });
        let mut load = request(Some(scheme), instructions, array, signature);
        match self.place {
            Place::NotCounted => {
                load.fd_array_cnt = 0;
                load.signature_maps.clear();
            }
            // The older schemes do not count, unless there is something to smuggle in.
            _ if extra && load.signature_maps.is_empty() => load.fd_array_cnt = count,
            _ => {}
        }
        let loader = machine.load(&load).result.map_err(Stopped::AtTheLoad)?;
        self.meddle_with(machine, map).map_err(Stopped::AtTheMap)?;
        Ok(loader)
    }

    fn meddle_with(&self, machine: &mut dyn Machine, map: Fd) -> Result<(), Errno> {
        let mut changed = self.metadata.clone();
        flip(&mut changed);
        // The metadata is below 2 GiB.
        let last = changed.len().saturating_sub(1);
        let byte = changed.last().copied().unwrap_or_default();
        match self.meddle {
            None => Ok(()),
            Some(Meddle::UserSpace) => machine.update(map, 0, &changed, 0),
            Some(Meddle::AnotherProgram) => machine.poke(map, last as u32, byte),
            Some(Meddle::ThroughOuter) => {
                let outer = machine.create_map(&MapCreate::of_maps("outer".to_owned(), map))?;
                machine.update(outer, 0, &map.to_ne_bytes(), 0)?;
                machine.poke_inner(outer, last as u32, byte)
            }
        }
    }

    fn subject(&self) -> Subject<'_> {
        Subject {
            instructions: &self.instructions,
            metadata: &self.metadata,
            context: bpfseal_loader::ContextLayout {
                maps: 64,
                programs: 64,
            },
            endian: self.endian,
        }
    }

    fn context(&self) -> Vec<u8> {
        if self.asks {
            asking_context(&self.subject())
        } else {
            vec![0; self.subject().context.size() as usize]
        }
    }

    /// Whether what the context asks for is listened to.
    fn heard_by(&self, kernel: &mut Kernel, scheme: Scheme) -> Stopped {
        match self.load_on(kernel, scheme) {
            Err(stopped) => stopped,
            Ok(loader) => {
                let ran = kernel.prog_run(loader, self.context());
                match (ran.end, ran.influences.is_empty()) {
                    (End::Returned(0..), true) => Stopped::Ignored,
                    _ => Stopped::Never,
                }
            }
        }
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
