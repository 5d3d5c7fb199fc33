//! The part of the kernel that decides: maps, descriptors, keyrings, admission.
//!
//! Deterministic, and without side effects: every call answers what the kernel would, and notes
//! what a security module would have been told.
//!
//! ```
//! use bpfseal_model::kernel::{Kernel, MapCreate, Profile};
//!
//! # fn main() -> Result<(), bpfseal_uapi::Errno> {
//! let mut kernel = Kernel::new(Profile::V7_3);
//! let map = kernel.map_create(&MapCreate {
//!     name: "metadata".to_owned(),
//!     map_type: bpfseal_uapi::map::ARRAY,
//!     key_size: 4,
//!     value_size: 8,
//!     max_entries: 1,
//!     map_flags: 0,
//!     inner: 0,
//!     excl_prog_hash: None,
//!     excl_prog_hash_size: 0,
//! })?;
//! kernel.map_update(map, &[0; 4], &[1; 8], 0)?;
//! kernel.map_freeze(map)?;
//! assert_eq!(kernel.map_update(map, &[0; 4], &[2; 8], 0), Err(bpfseal_uapi::Errno::EPERM));
//! # Ok(())
//! # }
//! ```

mod caller;
mod descriptor;
mod keyring;
mod load;
mod lsm;
mod map;
mod policy;
mod profile;
mod program;
mod run;

use std::borrow::Cow;
use std::collections::BTreeMap;

use bpfseal_object::Endian;
use bpfseal_seal::TrustStore;

pub use caller::{Caller, RunId, Task};
pub use descriptor::{Fd, Object};
pub use keyring::{Keyring, KeyringType, SESSION};
pub use lsm::{Asked, Hook, Hornet, Integrity, Modules, SecurityModule, Told};
pub use map::{Map, MapCreate};
pub(crate) use policy::PolicyModule;
pub use policy::{Policy, PolicyError};
pub use profile::Profile;
pub use program::{Answer, CoreRelo, ProgLoad, Program, Signature, Verdict};
pub use run::{Denied, End, Ran};

use crate::btf_check::{self, BtfRefused, Types};
use crate::map_check::{self, MapFault, MapRefused, Wanted};
use crate::symbols::Symbols;
use bpfseal_uapi::{BPF_F_ALL_CPUS, Errno, KeyringId, cmd};

/// What a security module is told, and what came of it (`security_bpf_prog_load`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission {
    /// Name of the program.
    pub name: String,
    /// What is recorded on it.
    pub verdict: Verdict,
    /// Who asked for it.
    pub caller: Caller,
    /// Whether the checks after that went well, too.
    pub loaded: bool,
}

/// A kernel.
#[derive(Debug)]
pub struct Kernel {
    /// Which one.
    pub profile: Profile,
    /// Byte order of the machine.
    pub endian: Endian,
    /// Security modules, and what they were asked.
    pub modules: Modules,
    /// Every admission, in order.
    pub admissions: Vec<Admission>,
    /// Which of its symbols loaders find.
    pub symbols: Symbols,
    keyrings: BTreeMap<i32, Keyring>,
    fds: BTreeMap<Fd, Object>,
    maps: Vec<Map>,
    programs: Vec<Program>,
    types: Vec<Types>,
    runs: Vec<caller::Running>,
    opened: Fd,
}

/// A map that is not made: the errno, and why where that is known.
struct MapAnswer {
    errno: Errno,
    fault: Option<MapFault>,
}

impl From<Errno> for MapAnswer {
    fn from(errno: Errno) -> Self {
        Self { errno, fault: None }
    }
}

impl From<MapRefused> for MapAnswer {
    fn from(refused: MapRefused) -> Self {
        Self {
            errno: refused.errno,
            fault: Some(refused.fault),
        }
    }
}

/// Who calls where nobody is named.
const USER: Caller = Caller::User(Task::FIRST);

/// The first descriptor that a process opens itself.
const FIRST_FD: Fd = 3;
/// Serial numbers of keyrings begin here.
const FIRST_SERIAL: i32 = 0x1000_0000;

impl Kernel {
    /// A kernel just started, with its own keyrings empty, and an empty session keyring.
    #[must_use]
    pub fn new(profile: Profile) -> Self {
        let keyring = |serial| Keyring {
            store: TrustStore::new(),
            serial,
        };
        let own = [
            KeyringId::BUILTIN,
            KeyringId::SECONDARY,
            KeyringId::PLATFORM,
        ];
        let keyrings = own.map(|id| (id.0, keyring(0)));
        let session = (SESSION, keyring(FIRST_SERIAL));
        Self {
            profile,
            endian: Endian::Little,
            modules: Modules::default(),
            admissions: Vec::new(),
            symbols: Symbols::All,
            keyrings: keyrings.into_iter().chain([session]).collect(),
            fds: BTreeMap::new(),
            maps: Vec::new(),
            programs: Vec::new(),
            types: Vec::new(),
            runs: Vec::new(),
            opened: FIRST_FD - 1,
        }
    }

    /// The keyring of an id, to put keys into.
    pub fn keyring_mut(&mut self, id: i32) -> &mut Keyring {
        self.keyrings.entry(id).or_insert_with(|| Keyring {
            store: TrustStore::new(),
            serial: id,
        })
    }

    fn keyring(&self, id: i32) -> Option<(&TrustStore, KeyringType, i32)> {
        let keyring = self.keyrings.get(&id)?;
        Some((&keyring.store, keyring::classify(id), keyring.serial))
    }

    fn open(&mut self, object: Object) -> Fd {
        self.opened += 1;
        self.fds.insert(self.opened, object);
        self.opened
    }

    fn object(&self, fd: Fd) -> Option<&Object> {
        self.fds.get(&fd)
    }

    fn admitted(&mut self, load: &ProgLoad, verdict: Verdict, caller: Caller, loaded: bool) {
        self.admissions.push(Admission {
            name: load.name.clone(),
            verdict,
            caller,
            loaded,
        });
    }

    /// The kernel as the caller on a task: within the run that is under way there, or within none,
    /// as on a worker.
    #[must_use]
    pub fn caller_on(&self, task: Task) -> Caller {
        let is_here = |run: &caller::Running| run.task == task && !run.over;
        let found = self.runs.iter().rposition(is_here);
        let within = found.and_then(|index| u32::try_from(index).ok()).map(RunId);
        Caller::Kernel { task, within }
    }

    /// The program whose run a call belongs to: the loader of what is loaded from inside of the
    /// kernel. None for user space, and for calls of the kernel that belong to no run.
    #[must_use]
    pub fn loader_of(&self, caller: Caller) -> Option<&Program> {
        let run = self.runs.get(caller.run()?.0 as usize)?;
        self.programs.get(run.program as usize)
    }

    /// A caller as it is: the kernel is within a run only while that run is under way on its task.
    fn checked(&self, caller: Caller) -> Caller {
        match caller {
            Caller::User(_) => caller,
            Caller::Kernel { task, .. } => self.caller_on(task),
        }
    }

    /// A run of a program begins on a task.
    fn begin_run(&mut self, task: Task, program: u32) -> Caller {
        self.runs.push(caller::Running {
            task,
            program,
            over: false,
        });
        self.caller_on(task)
    }

    /// The run of a caller is over.
    fn end_run(&mut self, caller: Caller) {
        let run = caller.run();
        if let Some(run) = run.and_then(|run| self.runs.get_mut(run.0 as usize)) {
            run.over = true;
        }
    }

    /// The map of a descriptor.
    ///
    /// # Errors
    /// `EBADF` for a closed descriptor, `EINVAL` for one of something else.
    pub fn map(&self, fd: Fd) -> Result<&Map, Errno> {
        match self.object(fd) {
            Some(Object::Map(number)) => Ok(&self.maps[*number as usize]),
            Some(_) => Err(Errno::EINVAL),
            None => Err(Errno::EBADF),
        }
    }

    /// The same, to be changed. The model runs loaders and nothing else: whoever drives it does
    /// here what other programs would do to a map ([`Map::write_by_program`]).
    ///
    /// # Errors
    /// As [`Kernel::map`].
    pub fn map_mut(&mut self, fd: Fd) -> Result<&mut Map, Errno> {
        self.map(fd)?;
        match self.fds.get(&fd) {
            Some(Object::Map(number)) => Ok(&mut self.maps[*number as usize]),
            _ => Err(Errno::EBADF),
        }
    }

    /// The map that a map of maps holds under a key, to be changed, as [`Kernel::map_mut`].
    ///
    /// # Errors
    /// As [`Kernel::map`]; `ENOENT` when there is no map under that key.
    pub fn inner_map_mut(&mut self, outer: Fd, key: &[u8]) -> Result<&mut Map, Errno> {
        let number = self.map(outer)?.inner.get(key).copied();
        let number = number.ok_or(Errno::ENOENT)?;
        self.maps.get_mut(number as usize).ok_or(Errno::ENOENT)
    }

    /// The program of a descriptor, if it is one.
    #[must_use]
    pub fn program(&self, fd: Fd) -> Option<&Program> {
        match self.object(fd) {
            Some(Object::Program(number)) => self.programs.get(*number as usize),
            _ => None,
        }
    }

    /// `BPF_PROG_GET_FD_BY_ID`, with the number of a program for its id: in the order in which they
    /// were loaded, from 0. Modules are asked as for a new program.
    ///
    /// # Errors
    /// `ENOENT` when there is none, or none any more; a security module's refusal.
    pub fn prog_get_fd_by_id(&mut self, id: u32) -> Result<Fd, Errno> {
        self.modules.bpf(cmd::PROG_GET_FD_BY_ID, USER)?;
        if !self.has_program(id) {
            return Err(Errno::ENOENT);
        }
        let program = self.programs.get(id as usize).ok_or(Errno::ENOENT)?;
        self.modules.prog(program)?;
        Ok(self.open(Object::Program(id)))
    }

    /// Whether a descriptor of a program is open.
    fn has_program(&self, number: u32) -> bool {
        let is_it = |object: &Object| matches!(object, Object::Program(n) if *n == number);
        self.fds.values().any(is_it)
    }

    /// A program that was loaded: its descriptor.
    fn install(&mut self, program: Program) -> Result<Fd, Errno> {
        let number = u32::try_from(self.programs.len()).map_err(|_| Errno::ENOMEM)?;
        self.programs.push(program);
        Ok(self.open(Object::Program(number)))
    }

    /// `BPF_MAP_CREATE`.
    ///
    /// # Errors
    /// As the kernel's; `EINVAL` for a digest on a kernel that does not know it.
    pub fn map_create(&mut self, wanted: &MapCreate) -> Result<Fd, Errno> {
        let full = Wanted::of(wanted);
        let made = self.create_map(wanted, &full, None, USER);
        made.map_err(|refused| refused.errno)
    }

    /// The same, for whoever asks.
    fn create_map(
        &mut self,
        wanted: &MapCreate,
        full: &Wanted,
        btf: Option<Fd>,
        caller: Caller,
    ) -> Result<Fd, MapAnswer> {
        self.modules.bpf(cmd::MAP_CREATE, caller)?;
        let exclusive = wanted.excl_prog_hash.is_some() || wanted.excl_prog_hash_size != 0;
        if exclusive && !self.profile.has_signatures() {
            // `CHECK_ATTR`: the union has room for it, the command does not know it.
            return Err(Errno::EINVAL.into());
        }
        let types = match btf.and_then(|fd| self.object(fd)) {
            Some(Object::Btf(Some(number))) => self.types.get(*number as usize),
            _ => None,
        };
        // What was taken without being looked at has types that fit.
        let mut full = Cow::Borrowed(full);
        if types.is_none() && matches!(btf.and_then(|fd| self.object(fd)), Some(Object::Btf(_))) {
            full.to_mut().trust_types();
        }
        map_check::check(&full, self.profile.release(), types)?;
        let mut map = Map::create(wanted)?;
        if wanted.holds_maps() {
            map.inner_like = Some(self.inner_map(wanted.inner)?.1.created.clone());
        }
        self.modules.map_create(wanted, caller)?;
        self.maps.push(map);
        let number = u32::try_from(self.maps.len() - 1).map_err(|_| Errno::ENOMEM)?;
        Ok(self.open(Object::Map(number)))
    }

    /// A map that is to be inside of another: `bpf_map_meta_alloc`, `bpf_map_fd_get_ptr`.
    fn inner_map(&self, fd: Fd) -> Result<(u32, &Map), Errno> {
        let map = self.map(fd)?;
        if map.created.holds_maps() {
            return Err(Errno::EINVAL);
        }
        if map.created.excl_prog_hash.is_some() && self.profile.keeps_exclusive_maps_out() {
            return Err(Errno::ENOTSUPP);
        }
        match self.object(fd) {
            Some(Object::Map(number)) => Ok((*number, map)),
            _ => Err(Errno::EBADF),
        }
    }

    /// `BPF_MAP_LOOKUP_ELEM`, from user space. Of a map of maps the numbers of maps are not shown.
    ///
    /// # Errors
    /// As the kernel's.
    pub fn map_lookup(&mut self, fd: Fd, key: &[u8]) -> Result<Vec<u8>, Errno> {
        self.modules.bpf(cmd::MAP_LOOKUP_ELEM, USER)?;
        self.map(fd)?.lookup(key, self.endian)
    }

    /// `BPF_MAP_UPDATE_ELEM`, from user space.
    ///
    /// # Errors
    /// As the kernel's.
    pub fn map_update(
        &mut self,
        fd: Fd,
        key: &[u8],
        value: &[u8],
        flags: u64,
    ) -> Result<(), Errno> {
        self.update_map(fd, key, value, flags, USER)
    }

    fn update_map(
        &mut self,
        fd: Fd,
        key: &[u8],
        value: &[u8],
        flags: u64,
        caller: Caller,
    ) -> Result<(), Errno> {
        self.modules.bpf(cmd::MAP_UPDATE_ELEM, caller)?;
        let endian = self.endian;
        if flags & BPF_F_ALL_CPUS != 0 && !self.profile.writes_all_processors() {
            return Err(Errno::EINVAL);
        }
        let Some(like) = self.map(fd)?.inner_like.clone() else {
            return self.map_mut(fd)?.update(key, value, flags, endian);
        };
        let descriptor = <[u8; 4]>::try_from(value).map_err(|_| Errno::EINVAL)?;
        let (number, inner) = self.inner_map(endian.u32(descriptor).cast_signed())?;
        if !inner.created.is_like(&like) {
            return Err(Errno::EINVAL);
        }
        let outer = self.map_mut(fd)?;
        if outer.frozen {
            return Err(Errno::EPERM);
        }
        outer.inner.insert(key.to_vec(), number);
        Ok(())
    }

    /// `BPF_MAP_FREEZE`.
    ///
    /// # Errors
    /// As the kernel's.
    pub fn map_freeze(&mut self, fd: Fd) -> Result<(), Errno> {
        self.freeze_map(fd, USER)
    }

    fn freeze_map(&mut self, fd: Fd, caller: Caller) -> Result<(), Errno> {
        self.modules.bpf(cmd::MAP_FREEZE, caller)?;
        self.map_mut(fd)?.freeze()
    }

    /// A writable mapping of a map (`bpf_map_mmap`), which is a writer for as long as it is there.
    ///
    /// # Errors
    /// `ENOTSUPP` for maps without one, `EPERM` for a frozen one, `EINVAL` for one that was not
    /// made for it.
    pub fn map_writable(&mut self, fd: Fd) -> Result<(), Errno> {
        self.map_mut(fd)?.map_writable()
    }

    /// `BPF_OBJ_GET_INFO_BY_FD`, asking for the digest of a map.
    ///
    /// # Errors
    /// As the kernel's; `E2BIG` on a kernel that has no digests.
    pub fn map_digest(&mut self, fd: Fd, size: u32) -> Result<[u8; 32], Errno> {
        self.modules.bpf(cmd::OBJ_GET_INFO_BY_FD, USER)?;
        if !self.profile.has_signatures() {
            return Err(Errno::E2BIG);
        }
        self.map_mut(fd)?.cache_digest(size)
    }

    /// `BPF_BTF_LOAD`, of BTF that is good and is not looked at.
    ///
    /// # Errors
    /// A security module's.
    pub fn btf_load(&mut self) -> Result<Fd, Errno> {
        self.modules.bpf(cmd::BTF_LOAD, USER)?;
        Ok(self.open(Object::Btf(None)))
    }

    /// `BPF_BTF_LOAD` of these bytes; the answer, and why.
    fn load_btf(
        &mut self,
        bytes: &[u8],
        caller: Caller,
    ) -> Result<Fd, (Errno, Option<BtfRefused>)> {
        let asked = self.modules.bpf(cmd::BTF_LOAD, caller);
        asked.map_err(|errno| (errno, None))?;
        let types = btf_check::check(bytes, self.endian, self.profile.release());
        let types = types.map_err(|refused| (refused.errno, Some(refused)))?;
        self.types.push(types);
        let number = u32::try_from(self.types.len() - 1).ok();
        Ok(self.open(Object::Btf(number)))
    }

    /// Closes a descriptor; whether it was open. With the last one of a program it is freed.
    pub fn close(&mut self, fd: Fd) -> bool {
        let closed = self.fds.remove(&fd);
        if let Some(Object::Program(number)) = closed
            && !self.has_program(number)
            && let Some(program) = self.programs.get(number as usize)
        {
            self.modules.prog_free(&program.loaded.name);
        }
        closed.is_some()
    }
}
