//! Security modules: who is asked, in which order, and what they answered.
//!
//! The hooks are those of Linux 7.3, and with [`super::Profile::Hornet`] those of the integrity
//! framework that was proposed in 2025 and 2026: every module's verdict on a program's integrity
//! is reported to all modules, which may refuse at once, or remember it and decide when the load
//! itself is asked for. As with real modules, the first refusal ends it.

use bpfseal_seal::{Rejection, TrustStore, listed_maps, verify_detached};

use super::{Caller, Map, MapCreate, ProgLoad, Program, Verdict};
use bpfseal_uapi::{Command, Errno};

/// A verdict on a program's integrity (`enum lsm_integrity_verdict` of the proposal).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are the proposal's")]
pub enum Integrity {
    None,
    Ok,
    Unsigned,
    PartialSig,
    BadSig,
    UnknownKey,
    Fault,
    Unexpected,
}

impl Integrity {
    /// Its name in the proposal.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Ok => "OK",
            Self::Unsigned => "UNSIGNED",
            Self::PartialSig => "PARTIALSIG",
            Self::BadSig => "BADSIG",
            Self::UnknownKey => "UNKNOWNKEY",
            Self::Fault => "FAULT",
            Self::Unexpected => "UNEXPECTED",
        }
    }
}

/// What a module is told of a load.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Asked<'a> {
    /// The load.
    pub load: &'a ProgLoad,
    /// Who asks for it. Real modules are told whether it is the kernel, and can find out the rest:
    /// by the current task, and by where runs begin and end on it.
    pub caller: Caller,
    /// The program in whose run it is asked for: the loader of a program that is being installed.
    pub loader: Option<&'a Program>,
    /// What the kernel recorded.
    pub verdict: Verdict,
    /// The maps of `fd_array`, by their places; none for what is not a map.
    pub maps: Vec<Option<&'a Map>>,
    /// The keyring that the load names.
    pub keyring: Option<&'a TrustStore>,
}

/// A security module. What it does not care about, it allows.
pub trait SecurityModule: std::fmt::Debug {
    /// Its name, in the trail.
    fn name(&self) -> &'static str;

    /// `security_bpf`: any command, and who gives it.
    ///
    /// # Errors
    /// Its refusal.
    fn bpf(&mut self, _command: Command, _caller: Caller) -> Result<(), Errno> {
        Ok(())
    }

    /// `security_bpf_map_create`.
    ///
    /// # Errors
    /// Its refusal.
    fn map_create(&mut self, _wanted: &MapCreate, _caller: Caller) -> Result<(), Errno> {
        Ok(())
    }

    /// `security_bpf` with `BPF_PROG_RUN`, from user space: the program, and the maps of its
    /// `fd_array` by their places.
    ///
    /// # Errors
    /// Its refusal.
    fn prog_run(&mut self, _program: &Program, _maps: &[Option<&Map>]) -> Result<(), Errno> {
        Ok(())
    }

    /// `security_bpf_prog_load_integrity` (proposed): its verdict, if it has one.
    fn prog_load_integrity(&mut self, _asked: &Asked<'_>) -> Option<Integrity> {
        None
    }

    /// `security_bpf_prog_load_post_integrity` (proposed): another module's verdict, or its own.
    ///
    /// # Errors
    /// Its refusal, at once.
    fn prog_load_post_integrity(
        &mut self,
        _asked: &Asked<'_>,
        _module: &'static str,
        _verdict: Integrity,
    ) -> Result<(), Errno> {
        Ok(())
    }

    /// `security_bpf_prog_load`: admission.
    ///
    /// # Errors
    /// Its refusal.
    fn prog_load(&mut self, _asked: &Asked<'_>) -> Result<(), Errno> {
        Ok(())
    }

    /// `security_bpf_prog`: a new descriptor of a program.
    ///
    /// # Errors
    /// Its refusal.
    fn prog(&mut self, _program: &Program) -> Result<(), Errno> {
        Ok(())
    }

    /// `security_bpf_prog_free`: the end of a program, or of a load that failed.
    fn prog_free(&mut self, _name: &str) {}
}

/// A hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are the kernel's")]
pub enum Hook {
    Bpf,
    MapCreate,
    ProgLoadIntegrity,
    ProgLoadPostIntegrity,
    ProgLoad,
    Prog,
    ProgRun,
    ProgFree,
}

/// A line of the trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The hook.
    pub hook: Hook,
    /// The module that was asked.
    pub module: &'static str,
    /// A verdict on integrity, of this module or, in the hook after it, of another.
    pub integrity: Option<Integrity>,
    /// The answer.
    pub answer: Result<(), Errno>,
}

/// The modules of a kernel, in order, and what they were asked.
#[derive(Debug, Default)]
pub struct Modules {
    all: Vec<Box<dyn SecurityModule>>,
    /// Every question, in order.
    pub trail: Vec<Told>,
}

impl Modules {
    /// Adds a module behind those that are there.
    pub fn add(&mut self, module: Box<dyn SecurityModule>) {
        self.all.push(module);
    }

    /// Asks all, until one refuses.
    fn ask(
        &mut self,
        hook: Hook,
        integrity: Option<Integrity>,
        mut question: impl FnMut(&mut dyn SecurityModule) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        for module in &mut self.all {
            let answer = question(&mut **module);
            self.trail.push(Told {
                hook,
                module: module.name(),
                integrity,
                answer,
            });
            answer?;
        }
        Ok(())
    }

    pub(super) fn bpf(&mut self, command: Command, caller: Caller) -> Result<(), Errno> {
        self.ask(Hook::Bpf, None, |module| module.bpf(command, caller))
    }

    pub(super) fn map_create(&mut self, wanted: &MapCreate, caller: Caller) -> Result<(), Errno> {
        self.ask(Hook::MapCreate, None, |module| {
            module.map_create(wanted, caller)
        })
    }

    pub(super) fn prog_run(
        &mut self,
        program: &Program,
        maps: &[Option<&Map>],
    ) -> Result<(), Errno> {
        self.ask(Hook::ProgRun, None, |module| module.prog_run(program, maps))
    }

    /// Every module's verdict, each reported to all as soon as it is there.
    pub(super) fn integrity(&mut self, asked: &Asked<'_>) -> Result<(), Errno> {
        for index in 0..self.all.len() {
            let from = self.all[index].name();
            let Some(verdict) = self.all[index].prog_load_integrity(asked) else {
                continue;
            };
            self.trail.push(Told {
                hook: Hook::ProgLoadIntegrity,
                module: from,
                integrity: Some(verdict),
                answer: Ok(()),
            });
            self.ask(Hook::ProgLoadPostIntegrity, Some(verdict), |module| {
                module.prog_load_post_integrity(asked, from, verdict)
            })?;
        }
        Ok(())
    }

    pub(super) fn prog_load(&mut self, asked: &Asked<'_>) -> Result<(), Errno> {
        self.ask(Hook::ProgLoad, None, |module| module.prog_load(asked))
    }

    pub(super) fn prog(&mut self, program: &Program) -> Result<(), Errno> {
        self.ask(Hook::Prog, None, |module| module.prog(program))
    }

    pub(super) fn prog_free(&mut self, name: &str) {
        // Nobody can refuse an end.
        let _ = self.ask(Hook::ProgFree, None, |module| {
            module.prog_free(name);
            Ok(())
        });
    }
}

/// Hornet, as proposed: its verdict, and a refusal of everything that is not well signed with the
/// digests of its maps; before a run it looks at them again.
#[derive(Debug, Clone, Default)]
pub struct Hornet {
    /// What was taken, and the digests that were listed for it.
    taken: Vec<(ProgLoad, Vec<Vec<u8>>)>,
}

impl Hornet {
    /// The verdict, and the digests that the signature lists.
    fn judge(asked: &Asked<'_>) -> (Integrity, Vec<Vec<u8>>) {
        let verdict = |verdict| (verdict, Vec::new());
        let Some(signature) = &asked.load.signature else {
            return verdict(Integrity::Unsigned);
        };
        let Some(keyring) = asked.keyring else {
            return verdict(Integrity::UnknownKey);
        };
        let content = [asked.load.instructions.as_slice()];
        let attestation = match verify_detached(&content, &signature.bytes, keyring) {
            Ok(attestation) => attestation,
            Err(Rejection::NoKey { .. } | Rejection::EmbeddedByKeyId { .. }) => {
                return verdict(Integrity::UnknownKey);
            }
            Err(_) => return verdict(Integrity::BadSig),
        };
        let listed = match listed_maps(&signature.bytes, &attestation) {
            Ok(Some(listed)) => listed,
            Ok(None) => return verdict(Integrity::PartialSig),
            Err(_) => return verdict(Integrity::BadSig),
        };
        let mut digests = Vec::new();
        for (index, wanted) in listed {
            // An empty digest: not looked at.
            if wanted.is_empty() {
                continue;
            }
            let map = asked.maps.get(index).copied().flatten();
            let Some(digest) = map.and_then(|map| map.digest(32).ok()) else {
                return verdict(Integrity::Fault);
            };
            if digest.as_slice() != wanted {
                return verdict(Integrity::Unexpected);
            }
            digests.push(wanted);
        }
        (Integrity::Ok, digests)
    }
}

impl SecurityModule for Hornet {
    fn name(&self) -> &'static str {
        "hornet"
    }

    fn prog_load_integrity(&mut self, asked: &Asked<'_>) -> Option<Integrity> {
        let (verdict, digests) = Self::judge(asked);
        if verdict == Integrity::Ok {
            self.taken.push((asked.load.clone(), digests));
        }
        Some(verdict)
    }

    fn prog_load_post_integrity(
        &mut self,
        asked: &Asked<'_>,
        module: &'static str,
        verdict: Integrity,
    ) -> Result<(), Errno> {
        // What a verified loader installs comes from the kernel, and is not signed.
        let own = module == self.name();
        if own && !asked.caller.is_kernel() && verdict != Integrity::Ok {
            return Err(Errno::EPERM);
        }
        Ok(())
    }

    /// Every frozen map with a digest has to be listed, and every listed digest to be there.
    fn prog_run(&mut self, program: &Program, maps: &[Option<&Map>]) -> Result<(), Errno> {
        let mut taken = self.taken.iter().rev();
        let Some((_, listed)) = taken.find(|(load, _)| *load == program.loaded) else {
            return Ok(());
        };
        let digests = maps.iter().flatten().filter_map(|map| map.digest(32).ok());
        let digests: Vec<_> = digests.collect();
        let all_listed = digests
            .iter()
            .all(|digest| listed.iter().any(|listed| listed == digest));
        let all_there = listed
            .iter()
            .all(|listed| digests.iter().any(|digest| listed == digest));
        if all_listed && all_there {
            Ok(())
        } else {
            Err(Errno::EPERM)
        }
    }
}
