//! Attacks on signed loaders, tried in the model: what stops each, and what a security module had
//! been told by then.
//!
//! Each attack is a way of loading that differs from the honest one in one place. It is tried with
//! every scheme, on the kernel that checks the scheme.

use bpfseal_seal::{Scheme, SealedLoader, TrustStore, excl_prog_hash};

use crate::errno::Errno;
use crate::explain::{describe_admission, run};
use crate::kernel::{Fd, Kernel, MapCreate, Profile, ProgLoad, SESSION, Signature};

/// What stops an attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// A call on the map.
    AtTheMap(Errno),
    /// The load, before a security module is asked.
    BeforeAdmission(Errno),
    /// The load, after a security module was told that all is well.
    AfterAdmission(Errno),
    /// The loader itself, when it runs.
    AtRunTime(Errno),
    /// Nothing.
    Never,
    /// The model has no answer: a proposal, of which only the signature is modelled.
    NotModelled,
}

/// An attack with one scheme.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// What stops it.
    pub stopped: Stopped,
    /// What a security module is told of the loader, if it is asked.
    pub told: Option<String>,
}

/// An attack with every scheme, in the order of [`Scheme::ALL`].
#[derive(Debug, Clone)]
pub struct Row {
    /// The attack.
    pub name: &'static str,
    /// What comes of it.
    pub cells: Vec<Cell>,
}

/// What is needed to try: an honest loader for each scheme, whose signer is trusted.
#[derive(Clone, Copy)]
pub struct Material<'a> {
    /// Loaders by scheme, with the same metadata.
    pub honest: &'a [SealedLoader<'a>],
    /// An older version of the same object's loaders, signed as well.
    pub older: &'a [SealedLoader<'a>],
    /// The signer.
    pub trust: &'a TrustStore,
}

/// One way of loading.
struct Attempt {
    instructions: Vec<u8>,
    metadata: Vec<u8>,
    bound_to: Option<[u8; 32]>,
    freeze: bool,
    /// Another value that the map gets after the load, before the run.
    change: Option<Vec<u8>>,
    signature: Option<Vec<u8>>,
    place: Place,
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

const ATTACKS: [(&str, Twist); 14] = [
    ("none: the honest loader", |_| {}),
    ("changed instructions, map bound to them", |a| {
        a.instructions[20] ^= 1;
        a.bound_to = Some(excl_prog_hash(&a.instructions));
    }),
    ("changed metadata", |a| flip(&mut a.metadata)),
    ("metadata changed between check and use", |a| {
        a.freeze = false;
        let mut other = a.metadata.clone();
        flip(&mut other);
        a.change = Some(other);
    }),
    ("frozen, and changed nevertheless", |a| {
        let mut other = a.metadata.clone();
        flip(&mut other);
        a.change = Some(other);
    }),
    ("a map that is not exclusive", |a| a.bound_to = None),
    ("a map that is bound to another program", |a| {
        a.bound_to = Some([7; 32]);
    }),
    ("another map in its place", |a| a.place = Place::Another),
    ("a second map smuggled in", |a| a.place = Place::WithAnother),
    ("a map by its raw descriptor", |a| a.place = Place::Raw),
    ("the map left out of the count (sparse array)", |a| {
        a.place = Place::NotCounted;
    }),
    ("a BTF through fd_array", |a| a.place = Place::WithBtf),
    ("junk for a signature", |a| {
        a.signature = Some(vec![0x30, 0x42, 0x13, 0x37]);
    }),
    ("no signature at all", |a| {
        a.signature = None;
        a.place = Place::NotCounted;
    }),
];

fn flip(bytes: &mut [u8]) {
    if let Some(last) = bytes.last_mut() {
        *last ^= 1;
    }
}

/// Tries every attack with every scheme.
#[must_use]
pub fn catalogue(material: &Material<'_>) -> Vec<Row> {
    let mut rows: Vec<Row> = ATTACKS
        .iter()
        .map(|(name, twist)| row(name, material.honest, material.trust, *twist))
        .collect();
    rows.push(row(
        "an older artifact, well signed, once more",
        material.older,
        material.trust,
        |_| {},
    ));
    rows
}

fn row(name: &'static str, loaders: &[SealedLoader<'_>], trust: &TrustStore, twist: Twist) -> Row {
    let cells = Scheme::ALL.iter().map(|scheme| {
        let found = loaders.iter().find(|loader| loader.seal.scheme == *scheme);
        found.map_or(NONE, |loader| attempt(loader, trust, twist))
    });
    Row {
        name,
        cells: cells.collect(),
    }
}

const NONE: Cell = Cell {
    stopped: Stopped::NotModelled,
    told: None,
};

fn attempt(loader: &SealedLoader<'_>, trust: &TrustStore, twist: Twist) -> Cell {
    let scheme = loader.seal.scheme;
    let mut attempt = Attempt {
        instructions: loader.instructions.to_vec(),
        metadata: loader.metadata.to_vec(),
        bound_to: Some(loader.seal.excl_prog_hash),
        freeze: true,
        change: None,
        signature: Some(loader.seal.signature.to_vec()),
        place: Place::Honest,
    };
    twist(&mut attempt);
    let profile = match scheme {
        Scheme::LoadTime => Profile::V7_3,
        Scheme::InLoaderExclusive => Profile::V7_2,
        Scheme::InLoader => Profile::V6_18,
        _ => return proposal(loader, &attempt, trust),
    };
    let mut kernel = Kernel::new(profile);
    kernel.endian = crate::audit::endian_of(&attempt.instructions);
    kernel.keyring_mut(SESSION).store = trust.clone();
    let stopped = attempt.run_on(&mut kernel, scheme);
    Cell {
        stopped,
        told: kernel.admissions.first().map(describe_admission),
    }
}

impl Attempt {
    fn map(&self, kernel: &mut Kernel, metadata: &[u8]) -> Result<Fd, Errno> {
        let mut wanted = MapCreate::metadata(
            u32::try_from(metadata.len()).unwrap_or(u32::MAX),
            self.bound_to.unwrap_or_default(),
        );
        if self.bound_to.is_none() {
            wanted.excl_prog_hash = None;
            wanted.excl_prog_hash_size = 0;
        }
        let map = kernel.map_create(&wanted)?;
        kernel.map_update(map, &[0; 4], metadata, 0)?;
        if self.freeze {
            kernel.map_freeze(map)?;
        }
        Ok(map)
    }

    fn run_on(&self, kernel: &mut Kernel, scheme: Scheme) -> Stopped {
        let map = match self.map(kernel, &self.metadata) {
            Ok(map) => map,
            Err(errno) => return Stopped::AtTheMap(errno),
        };
        // The loading side has the kernel compute the digest that the loader compares.
        if scheme.checks_in_loader()
            && let Err(errno) = kernel.map_digest(map, 32)
        {
            return Stopped::AtTheMap(errno);
        }
        let mut used = map;
        let mut array = vec![map];
        let mut other = self.metadata.clone();
        flip(&mut other);
        match self.place {
            Place::WithAnother => array.extend(self.map(kernel, &other)),
            Place::Another => {
                array = self.map(kernel, &other).into_iter().collect();
                used = array.first().copied().unwrap_or(map);
                if scheme.checks_in_loader()
                    && let Err(errno) = kernel.map_digest(used, 32)
                {
                    return Stopped::AtTheMap(errno);
                }
            }
            Place::WithBtf => array.push(kernel.btf_load()),
            Place::Honest | Place::NotCounted | Place::Raw => {}
        }
        let mut instructions = self.instructions.clone();
        if self.place == Place::Raw {
            by_descriptor(&mut instructions, map);
        }
        // The older schemes do not count, unless there is something to smuggle in.
        let extra = matches!(self.place, Place::WithAnother | Place::WithBtf);
        let counted = self.place != Place::NotCounted && (!scheme.checks_in_loader() || extra);
        let answer = kernel.prog_load(&ProgLoad {
            name: "__loader.prog".to_owned(),
            prog_type: 31,
            instructions,
            fd_array_cnt: if counted { array.len() as u32 } else { 0 },
            fd_array: Some(array),
            signature: self.signature.as_ref().map(|bytes| Signature {
                bytes: bytes.clone(),
                size: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
                keyring: SESSION,
            }),
            kernel: false,
        });
        if let Err(errno) = answer.result {
            return if kernel.admissions.is_empty() {
                Stopped::BeforeAdmission(errno)
            } else {
                Stopped::AfterAdmission(errno)
            };
        }
        if let Some(change) = &self.change
            && let Err(errno) = kernel.map_update(used, &[0; 4], change, 0)
        {
            return Stopped::AtTheMap(errno);
        }
        let metadata = kernel.map(used).map(|map| map.value().to_vec());
        let metadata = metadata.unwrap_or_default();
        run(&self.instructions, &metadata, self.bound_to.is_some())
            .map_or(Stopped::Never, Stopped::AtRunTime)
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

/// A proposal: of what is about maps, nothing is known but their digests.
fn proposal(loader: &SealedLoader<'_>, attempt: &Attempt, trust: &TrustStore) -> Cell {
    let only_bytes = attempt.place == Place::Honest
        && attempt.freeze
        && attempt.change.is_none()
        && attempt
            .bound_to
            .is_some_and(|hash| hash == excl_prog_hash(&attempt.instructions));
    let Some(signature) = attempt.signature.clone().filter(|_| only_bytes) else {
        return NONE;
    };
    let mut seal = loader.seal.clone();
    seal.signature = signature.into();
    seal.excl_prog_hash = excl_prog_hash(&attempt.instructions);
    let changed = SealedLoader {
        instructions: &attempt.instructions,
        metadata: &attempt.metadata,
        seal: &seal,
    };
    let stopped = match changed.verify(trust) {
        Ok(_) => Stopped::Never,
        // Hornet is a security module: it is what is asked.
        Err(_) if loader.seal.scheme == Scheme::Hornet => Stopped::AfterAdmission(Errno::EPERM),
        Err(rejection) => Stopped::BeforeAdmission(Errno::of_rejection(&rejection)),
    };
    Cell {
        stopped,
        told: None,
    }
}
