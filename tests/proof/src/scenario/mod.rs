//! Scenarios: sequences of calls, run on the model and on a real kernel alike.
//!
//! What is random comes from a seed, so a scenario is known by its number. [`run`] drives any
//! [`Machine`], and outcomes of two machines are compared call by call.

mod named;
mod random;

use std::cell::RefCell;
use std::collections::BTreeMap;

use bpfseal_model::Errno;
use bpfseal_model::kernel::{Fd, MapCreate, ProgLoad, Signature};
use bpfseal_seal::{Certificate, Scheme, SealOptions, Signer, excl_prog_hash};
use bpfseal_uapi::{BPF_F_MMAPABLE, map, prog};

use crate::machine::Machine;

pub use named::{Named, named};

/// One call. Maps and other objects are named by the call that made them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are those of the calls")]
pub enum Call {
    CreateMap {
        hash: bool,
        value_size: u32,
        entries: u32,
        bound: Bound,
        mmapable: bool,
    },
    Update {
        map: usize,
        key: u32,
        byte: u8,
        flags: u64,
    },
    Lookup {
        map: usize,
        key: u32,
    },
    Freeze {
        map: usize,
    },
    Digest {
        map: usize,
        size: u32,
    },
    Writable {
        map: usize,
    },
    LoadBtf,
    Load {
        code: Code,
        array: Vec<usize>,
        bind: bool,
        sign: Option<Sign>,
    },
    /// A map of maps like this one.
    CreateOuter {
        inner: usize,
    },
    /// A map is put into a map of maps.
    PutInner {
        outer: usize,
        inner: usize,
    },
    Close {
        of: usize,
    },
}

/// Which program a map is bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bound {
    /// None.
    Nothing,
    /// One of these instructions.
    To(Code),
    /// One that there is not.
    Other,
    /// A size without a digest.
    SizeAlone(u32),
}

/// Instructions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Code {
    /// `r0 = number; exit`.
    Returns(u8),
    /// The same, after it has taken a map by its place.
    ByIndex(u8),
    /// The same, by its descriptor: that of a call.
    ByFd(usize),
}

/// How a load is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sign {
    /// By the key that is trusted, or by another.
    pub trusted: bool,
    /// Over what.
    pub over: Over,
    /// In the session keyring, or in one that there is not.
    pub keyring: i32,
    /// Another size than it has.
    pub claimed: Option<u32>,
}

/// What a signature is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Over {
    InstructionsAndMaps,
    Instructions,
    SomethingElse,
    /// No signature, but bytes.
    Junk,
}

/// A keyring that there is not.
pub const NO_KEYRING: i32 = i32::MAX;
/// Most places of `fd_array` that instructions name.
const MAX_PLACES: usize = 4;
/// A descriptor that is closed.
const CLOSED: Fd = 900;

/// A scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scenario {
    /// The calls, in order.
    pub calls: Vec<Call>,
}

/// How a call went.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// The errno, or none when it went well; calls on what was never made are left out.
    pub errno: Option<Errno>,
    /// Of a load that was refused, the line of the log that says why.
    pub line: Option<String>,
    /// Of a look-up, the value.
    pub value: Option<Vec<u8>>,
}

/// Who signs.
#[derive(Clone, Copy)]
pub struct Signers<'a> {
    /// The key in the session keyring.
    pub trusted: (&'a dyn Signer, &'a Certificate),
    /// A key that is nowhere.
    pub other: (&'a dyn Signer, &'a Certificate),
    /// What both have signed so far.
    pub made: &'a Signatures,
}

/// Signatures that were made before, by the signer and the digest of what is signed. A scenario is
/// run at least twice, and in an emulated machine signing takes longer than all else that it does.
#[derive(Debug, Default)]
pub struct Signatures(RefCell<BTreeMap<Signed, Vec<u8>>>);

/// Whether it is the trusted key, and the digest of what is signed.
type Signed = (bool, [u8; 32]);

impl Signers<'_> {
    /// A signature over bytes, as a scheme without metadata has it.
    fn sign(&self, trusted: bool, content: &[u8]) -> Vec<u8> {
        let wanted = (trusted, excl_prog_hash(content));
        let mut made = self.made.0.borrow_mut();
        let sign = || {
            let (key, certificate) = if trusted { self.trusted } else { self.other };
            let options = SealOptions::default();
            let seal =
                bpfseal_seal::seal(Scheme::LoadTime, content, &[], key, certificate, &options);
            seal.map(|seal| seal.signature).unwrap_or_default()
        };
        made.entry(wanted).or_insert_with(sign).clone()
    }
}

impl Code {
    fn bytes(&self, fds: &BTreeMap<usize, Fd>) -> Vec<u8> {
        let take = |pseudo: u8, number: i32| {
            let mut out = vec![0x18, 0x01 | pseudo << 4, 0, 0];
            out.extend(number.to_le_bytes());
            out.extend([0; 8]);
            out
        };
        let (mut out, number) = match self {
            Self::Returns(number) => (Vec::new(), *number),
            Self::ByIndex(index) => (take(5, i32::from(*index)), 0),
            Self::ByFd(slot) => (take(1, fds.get(slot).copied().unwrap_or(CLOSED)), 0),
        };
        out.extend([0xb7, 0, 0, 0, number, 0, 0, 0]);
        out.extend([0x95, 0, 0, 0, 0, 0, 0, 0]);
        out
    }
}

/// The line of a log that says why a load was refused, with numbers of descriptors left out: they
/// are others on another machine.
#[must_use]
pub fn decisive_line<'a>(log: impl IntoIterator<Item = &'a str>) -> Option<String> {
    const STARTS: [&str; 8] = [
        "signature verification failed",
        "signed p",
        "program's hash",
        "fd ",
        "fd_idx ",
        "fd_array",
        "cannot resolve signing keyring",
        "failed to read signed",
    ];
    let found = log
        .into_iter()
        .filter(|line| STARTS.iter().any(|start| line.starts_with(start)))
        .last()?;
    let line = match found.strip_prefix("fd ") {
        Some(rest) => rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '-'),
        None => return Some(found.to_owned()),
    };
    Some(format!("fd{line}"))
}

/// What is known of maps, to sign them.
#[derive(Default)]
struct Shadow {
    fds: BTreeMap<usize, Fd>,
    values: BTreeMap<usize, Vec<u8>>,
    hash: BTreeMap<usize, bool>,
}

/// Runs a scenario.
pub fn run(scenario: &Scenario, machine: &mut dyn Machine, signers: &Signers<'_>) -> Vec<Outcome> {
    let mut shadow = Shadow::default();
    scenario
        .calls
        .iter()
        .enumerate()
        .map(|(slot, call)| one(slot, call, machine, signers, &mut shadow))
        .collect()
}

fn one(
    slot: usize,
    call: &Call,
    machine: &mut dyn Machine,
    signers: &Signers<'_>,
    shadow: &mut Shadow,
) -> Outcome {
    let outcome = |result: Result<(), Errno>| Outcome {
        errno: result.err(),
        ..Outcome::default()
    };
    let left_out = Outcome::default();
    let fd_of = |shadow: &Shadow, map: &usize| shadow.fds.get(map).copied();
    match call {
        Call::CreateMap {
            hash,
            value_size,
            entries,
            bound,
            mmapable,
        } => {
            let (excl_prog_hash, excl_prog_hash_size) = match bound {
                Bound::Nothing => (None, 0),
                Bound::To(code) => (Some(excl_prog_hash(&code.bytes(&shadow.fds))), 32),
                Bound::Other => (Some([7; 32]), 32),
                Bound::SizeAlone(size) => (None, *size),
            };
            let made = machine.create_map(&MapCreate {
                name: format!("map_{slot}"),
                map_type: if *hash { map::HASH } else { map::ARRAY },
                key_size: 4,
                value_size: *value_size,
                max_entries: *entries,
                map_flags: if *mmapable { BPF_F_MMAPABLE } else { 0 },
                inner: 0,
                excl_prog_hash,
                excl_prog_hash_size,
            });
            if let Ok(fd) = made {
                shadow.fds.insert(slot, fd);
                shadow.values.insert(slot, vec![0; *value_size as usize]);
                shadow.hash.insert(slot, *hash);
            }
            outcome(made.map(|_| ()))
        }
        Call::Update {
            map,
            key,
            byte,
            flags,
        } => {
            let Some(fd) = fd_of(shadow, map) else {
                return left_out;
            };
            let value = vec![*byte; shadow.values.get(map).map_or(0, Vec::len)];
            let result = machine.update(fd, *key, &value, *flags);
            if result.is_ok() && *key == 0 {
                shadow.values.insert(*map, value);
            }
            outcome(result)
        }
        Call::Lookup { map, key } => match fd_of(shadow, map) {
            Some(fd) => {
                let found = machine.lookup(fd, *key);
                Outcome {
                    errno: found.as_ref().err().copied(),
                    line: None,
                    value: found.ok(),
                }
            }
            None => left_out,
        },
        Call::Freeze { map } => match fd_of(shadow, map) {
            Some(fd) => outcome(machine.freeze(fd)),
            None => left_out,
        },
        Call::Digest { map, size } => match fd_of(shadow, map) {
            Some(fd) => outcome(machine.digest(fd, *size)),
            None => left_out,
        },
        Call::Writable { map } => match fd_of(shadow, map) {
            Some(fd) => outcome(machine.writable(fd)),
            None => left_out,
        },
        Call::LoadBtf => {
            let made = machine.load_btf();
            if let Ok(fd) = made {
                shadow.fds.insert(slot, fd);
            }
            outcome(made.map(|_| ()))
        }
        Call::CreateOuter { inner } => match fd_of(shadow, inner) {
            Some(fd) => {
                let made = machine.create_map(&MapCreate::of_maps(format!("map_{slot}"), fd));
                if let Ok(fd) = made {
                    shadow.fds.insert(slot, fd);
                }
                outcome(made.map(|_| ()))
            }
            None => left_out,
        },
        Call::PutInner { outer, inner } => match (fd_of(shadow, outer), fd_of(shadow, inner)) {
            (Some(outer), Some(inner)) => {
                outcome(machine.update(outer, 0, &inner.to_ne_bytes(), 0))
            }
            _ => left_out,
        },
        Call::Close { of } => {
            if let Some(fd) = shadow.fds.remove(of) {
                machine.close(fd);
            }
            left_out
        }
        Call::Load {
            code,
            array,
            bind,
            sign,
        } => {
            let load = program(code, array, *bind, sign.as_ref(), signers, shadow);
            let answer = machine.load(&load);
            if let Ok(fd) = answer.result {
                shadow.fds.insert(slot, fd);
            }
            let errno = answer.result.err();
            let line = decisive_line(answer.log.iter().map(String::as_str));
            Outcome {
                errno,
                line: line.filter(|_| errno.is_some()),
                value: None,
            }
        }
    }
}

fn program(
    code: &Code,
    array: &[usize],
    bind: bool,
    sign: Option<&Sign>,
    signers: &Signers<'_>,
    shadow: &Shadow,
) -> ProgLoad {
    let instructions = code.bytes(&shadow.fds);
    let mut fds: Vec<Fd> = array
        .iter()
        .map(|slot| shadow.fds.get(slot).copied().unwrap_or(CLOSED))
        .collect();
    let count = fds.len() as u32;
    // Kernels read at whatever place an instruction names, if there is no count, or before 7.3.
    if count > 0 {
        fds.resize(fds.len().max(MAX_PLACES), CLOSED);
    }
    let signature = sign.map(|sign| {
        let content = match sign.over {
            Over::InstructionsAndMaps if bind => {
                let mut content = instructions.clone();
                let mut seen = Vec::new();
                for slot in array {
                    if !seen.contains(slot) {
                        seen.push(*slot);
                        content.extend(shadow.values.get(slot).into_iter().flatten());
                    }
                }
                content
            }
            Over::InstructionsAndMaps | Over::Instructions => instructions.clone(),
            Over::SomethingElse | Over::Junk => b"something else".to_vec(),
        };
        let bytes = match sign.over {
            Over::Junk => content,
            _ => signers.sign(sign.trusted, &content),
        };
        Signature {
            size: sign.claimed.unwrap_or(bytes.len() as u32),
            bytes,
            keyring: sign.keyring,
        }
    });
    ProgLoad {
        name: "scenario".to_owned(),
        prog_type: prog::SYSCALL,
        instructions,
        fd_array_cnt: if bind { count } else { 0 },
        fd_array: (!fds.is_empty()).then_some(fds),
        signature,
        ..ProgLoad::default()
    }
}
