//! What a running loader asks its kernel for, read from its memory and written down.
//!
//! Stands between [`crate::run`], which knows instructions and memory, and whoever answers
//! ([`Answers`]): a kernel that grants everything while a loader is audited, the model of a kernel
//! when it is run there.

use std::collections::{BTreeMap, BTreeSet};

use bpfseal_loader::plan::{CoreRef, Info, MapAttr};
use bpfseal_object::{BPF_INSN_SZ, Contents, CoreRelo, Endian, Insn};

use bpfseal_uapi::attr::{btf_load, link_create, map_create, map_elem, prog_load};
use bpfseal_uapi::{
    AttachType, Command, Errno, Field, MapType, Pointer, ProgType, attach, cmd, core_relo, limits,
};

use crate::attr::{Attr, MAX_LEN, fields};
use crate::memory::{Memory, OutOfBounds};
use crate::run::Kernel;
use crate::symbols::Symbols;

/// Ids of BTF types, which nothing else in a program looks like.
const FIRST_ID: u32 = 0x7b00_0000;
/// Addresses of symbols, likewise.
const FIRST_ADDRESS: u64 = 0xffff_b000_7b00_0000;
const ADDRESS_STEP: u64 = 64;
const NOT_FOUND: i64 = Errno::ENOENT.negative();
const NO_MEMORY: i64 = Errno::ENOMEM.negative();
/// Bytes that are written down of any loader.
const SPARE: usize = 16 << 20;
/// Most instructions, and records, of a program that are read.
const MAX_COUNT: u32 = 1 << 20;
/// Most places of `fd_array` that are read: loaders have 64 for maps.
const MAX_SLOTS: usize = 1024;

/// What a loader asked the kernel to do.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    LoadBtf {
        fd: i32,
        data: Vec<u8>,
    },
    CreateMap {
        fd: i32,
        attr: Box<MapAttr>,
        inner_fd: i32,
        btf_fd: i32,
        /// `btf_vmlinux_value_type_id`: the type of the value of a struct_ops map.
        value_type: u32,
        /// `excl_prog_hash`, if an address is given, and its size.
        excl_prog_hash: Option<Vec<u8>>,
        excl_prog_hash_size: u32,
    },
    Update {
        map_fd: i32,
        /// The map's name, if it is known.
        map: String,
        key: Vec<u8>,
        value: Contents,
        flags: u64,
    },
    Freeze {
        map_fd: i32,
    },
    /// `BPF_LINK_CREATE` with attach type `BPF_STRUCT_OPS`.
    LinkStructOps {
        fd: i32,
        map_fd: i32,
    },
    LoadProgram(Box<ProgramAct>),
    /// A command that loaders have no use for.
    Other {
        command: Command,
    },
}

impl Act {
    /// What it is called in messages.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::LoadBtf { .. } => "loading the BTF".to_owned(),
            Self::CreateMap { attr, .. } => format!("making map `{}`", attr.name),
            Self::Update { map, .. } => format!("writing the value of map `{map}`"),
            Self::Freeze { .. } => "freezing a map".to_owned(),
            Self::LinkStructOps { .. } => "registering a struct_ops map".to_owned(),
            Self::LoadProgram(program) => format!("loading program `{}`", program.name),
            Self::Other { command } => format!("command {} of bpf(2)", command.0.cast_signed()),
        }
    }

    /// The descriptor that it was answered with, of those that make one.
    fn set_fd(&mut self, answer: i64) {
        let answered = i32::try_from(answer).unwrap_or(i32::MIN);
        match self {
            Self::LoadBtf { fd, .. }
            | Self::CreateMap { fd, .. }
            | Self::LinkStructOps { fd, .. } => *fd = answered,
            Self::LoadProgram(program) => program.fd = answered,
            Self::Update { .. } | Self::Freeze { .. } | Self::Other { .. } => {}
        }
    }
}

/// Who answers.
pub(crate) trait Answers {
    /// A descriptor for what makes one, 0 for the rest, or a negative errno.
    fn answer(&mut self, insn: usize, act: &Act) -> i64;
    /// `close`: 0, or a negative errno.
    fn close(&mut self, fd: i32) -> i64;
    /// Which symbols there are.
    fn symbols(&self) -> &Symbols;
}

/// Something that a host, which is not vouched for, has a say in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Influence {
    /// The loader's instruction that uses it.
    pub insn: usize,
    /// What it is.
    pub what: String,
}

/// `BPF_PROG_LOAD`.
#[derive(Debug, Clone)]
pub(crate) struct ProgramAct {
    pub(crate) fd: i32,
    pub(crate) name: String,
    pub(crate) license: String,
    pub(crate) prog_type: ProgType,
    pub(crate) attach_type: AttachType,
    pub(crate) flags: u32,
    pub(crate) insns: Vec<Insn>,
    pub(crate) func_info: Info,
    pub(crate) line_info: Info,
    pub(crate) core_refs: Vec<CoreRef>,
    pub(crate) attach_btf_id: u32,
    pub(crate) btf_fd: i32,
    /// Descriptors by place in `fd_array`, as they were then.
    pub(crate) slots: Vec<i32>,
}

/// Writes down what a loader does.
#[derive(Debug)]
pub(crate) struct Recorder<A> {
    pub(crate) answers: A,
    pub(crate) acts: Vec<(usize, Act)>,
    pub(crate) influences: BTreeSet<Influence>,
    /// Instructions whose way on a host decides.
    pub(crate) decided: BTreeSet<usize>,
    /// Symbols that were looked up, by name and kind of BTF; their ids are in this order.
    pub(crate) types: Vec<(String, i32)>,
    /// Symbols that were looked up by address.
    pub(crate) addresses: Vec<String>,
    pub(crate) printed: usize,
    /// Fields that are set and that no plan has, by instruction.
    pub(crate) unplanned: Vec<(usize, String)>,
    pub(crate) endian: Endian,
    /// Bytes that may still be read.
    budget: usize,
    /// Symbols that were not there, in the order of their first look-up.
    pub(crate) missing: Vec<Vec<u8>>,
    /// The last of the look-ups that found nothing.
    pub(crate) last_missing: Option<Vec<u8>>,
    open: BTreeMap<i32, Shape>,
}

/// What has to be known of a map to read an update of it.
#[derive(Debug, Clone, Default)]
struct Shape {
    name: String,
    key_size: u32,
    value_size: u32,
}

impl<A: Answers> Recorder<A> {
    /// `metadata` is how many bytes the loader's maps have. What is written down is bounded by it:
    /// each byte is asked for a few times at most by a loader that is one.
    pub(crate) fn new(endian: Endian, answers: A, metadata: usize) -> Self {
        Self {
            answers,
            budget: metadata.saturating_mul(4).saturating_add(SPARE),
            acts: Vec::new(),
            influences: BTreeSet::new(),
            decided: BTreeSet::new(),
            types: Vec::new(),
            addresses: Vec::new(),
            printed: 0,
            unplanned: Vec::new(),
            endian,
            missing: Vec::new(),
            last_missing: None,
            open: BTreeMap::new(),
        }
    }

    /// The symbol of a type's id.
    pub(crate) fn type_of_id(&self, id: u32) -> Option<&(String, i32)> {
        let index = id.checked_sub(FIRST_ID)?;
        self.types.get(index as usize)
    }

    /// The symbol of an address.
    pub(crate) fn symbol_at(&self, address: u64) -> Option<&String> {
        let distance = address.checked_sub(FIRST_ADDRESS)?;
        let index = usize::try_from(distance / ADDRESS_STEP).ok()?;
        let exact = distance % ADDRESS_STEP == 0;
        self.addresses.get(index).filter(|_| exact)
    }

    fn not_found(&mut self, name: &[u8]) {
        self.last_missing = Some(name.to_vec());
        if !self.missing.iter().any(|known| known == name) {
            self.missing.push(name.to_vec());
        }
    }

    fn influence(&mut self, insn: usize, what: impl Into<String>) {
        self.influences.insert(Influence {
            insn,
            what: what.into(),
        });
    }

    /// Bytes at an address, and a note if a host has a say in them.
    fn bytes(
        &mut self,
        insn: usize,
        memory: &Memory<'_>,
        address: u64,
        len: usize,
        what: &str,
    ) -> Result<Vec<u8>, OutOfBounds> {
        if len == 0 {
            return Ok(Vec::new());
        }
        let (bytes, host) = memory.read(address, len)?;
        self.budget = self.budget.saturating_sub(len);
        if host {
            self.influence(insn, what);
        }
        Ok(bytes.into_owned())
    }

    /// The same, of what may be zeroes in large part.
    fn contents(
        &mut self,
        insn: usize,
        memory: &Memory<'_>,
        address: u64,
        len: usize,
        what: &str,
    ) -> Result<Contents, OutOfBounds> {
        if len == 0 {
            return Ok(Contents::zeroes(0));
        }
        let (contents, host) = memory.contents(address, len)?;
        // All of it was looked at.
        self.budget = self.budget.saturating_sub(len);
        if host {
            self.influence(insn, what);
        }
        Ok(contents)
    }

    fn create_map(
        &mut self,
        insn: usize,
        memory: &Memory<'_>,
        attr: &Attr,
    ) -> Result<Act, OutOfBounds> {
        let size = attr.word(map_create::EXCL_PROG_HASH_SIZE);
        let hash = match attr.address(map_create::EXCL_PROG_HASH) {
            0 => None,
            // Another size is refused before the digest is read.
            _ if size as usize != limits::HASH_SIZE => Some(Vec::new()),
            at => {
                let what = "a map's digest of its program";
                Some(self.bytes(insn, memory, at, limits::HASH_SIZE, what)?)
            }
        };
        Ok(Act::CreateMap {
            fd: 0,
            attr: Box::new(MapAttr {
                name: attr.text(map_create::MAP_NAME),
                map_type: MapType(attr.word(map_create::MAP_TYPE)),
                key_size: attr.word(map_create::KEY_SIZE),
                value_size: attr.word(map_create::VALUE_SIZE),
                max_entries: attr.word(map_create::MAX_ENTRIES),
                map_flags: attr.word(map_create::MAP_FLAGS),
                map_extra: attr.wide(map_create::MAP_EXTRA),
                numa_node: attr.word(map_create::NUMA_NODE),
                btf_key_type_id: attr.word(map_create::BTF_KEY_TYPE_ID),
                btf_value_type_id: attr.word(map_create::BTF_VALUE_TYPE_ID),
            }),
            inner_fd: attr.fd(map_create::INNER_MAP_FD),
            btf_fd: attr.fd(map_create::BTF_FD),
            value_type: attr.word(map_create::BTF_VMLINUX_VALUE_TYPE_ID),
            excl_prog_hash: hash,
            excl_prog_hash_size: size,
        })
    }

    fn update(
        &mut self,
        insn: usize,
        memory: &Memory<'_>,
        attr: &Attr,
    ) -> Result<Act, OutOfBounds> {
        let map_fd = attr.fd(map_elem::MAP_FD);
        let shape = self.open.get(&map_fd).cloned().unwrap_or_default();
        let key = attr.address(map_elem::KEY);
        let (key_size, value_size) = (shape.key_size as usize, shape.value_size as usize);
        let what = format!("the key of a value of map `{}`", shape.name);
        let key = self.bytes(insn, memory, key, key_size, &what)?;
        let value = attr.address(map_elem::VALUE);
        let what = format!("the initial value of map `{}`", shape.name);
        let value = self.contents(insn, memory, value, value_size, &what)?;
        Ok(Act::Update {
            map_fd,
            map: shape.name,
            key,
            value,
            flags: attr.wide(map_elem::FLAGS),
        })
    }

    fn records(
        &mut self,
        insn: usize,
        memory: &Memory<'_>,
        attr: &Attr,
        (size, count, at): (Field<u32>, Field<u32>, Field<Pointer>),
    ) -> Result<Info, OutOfBounds> {
        let (record_size, count) = (attr.word(size), attr.word(count).min(MAX_COUNT));
        let len = u64::from(record_size) * u64::from(count);
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let bytes = self.bytes(insn, memory, attr.address(at), len, at.name())?;
        Ok(Info {
            record_size,
            words: words(memory, &bytes),
        })
    }

    fn load_program(
        &mut self,
        insn: usize,
        memory: &Memory<'_>,
        attr: &Attr,
    ) -> Result<Act, OutOfBounds> {
        use prog_load as at;
        let count = attr.word(at::INSN_CNT).min(MAX_COUNT) as usize;
        let code = self.bytes(
            insn,
            memory,
            attr.address(at::INSNS),
            count * BPF_INSN_SZ,
            "the instructions of a program",
        )?;
        let func_info = self.records(
            insn,
            memory,
            attr,
            (at::FUNC_INFO_REC_SIZE, at::FUNC_INFO_CNT, at::FUNC_INFO),
        )?;
        let line_info = self.records(
            insn,
            memory,
            attr,
            (at::LINE_INFO_REC_SIZE, at::LINE_INFO_CNT, at::LINE_INFO),
        )?;
        let relos = self.records(
            insn,
            memory,
            attr,
            (at::CORE_RELO_REC_SIZE, at::CORE_RELO_CNT, at::CORE_RELOS),
        )?;
        // `struct bpf_core_relo`: four words; of others nothing is known.
        let core_refs = relos
            .words
            .chunks_exact(core_relo::LEN / 4)
            .map(|relo| CoreRef {
                insn: relo[0] / 8,
                relo: CoreRelo {
                    type_id: relo[1],
                    access_str_off: relo[2],
                    kind: relo[3],
                },
            });
        let license = memory.read_up_to(attr.address(at::LICENSE), limits::LICENSE_LEN)?;
        let license = license.split(|b| *b == 0).next().unwrap_or_default();
        let slots = memory.read_up_to(attr.address(at::FD_ARRAY), MAX_SLOTS * 4)?;
        let slots = words(memory, &slots);
        Ok(Act::LoadProgram(Box::new(ProgramAct {
            fd: 0,
            name: attr.text(prog_load::PROG_NAME),
            license: String::from_utf8_lossy(license).into_owned(),
            prog_type: ProgType(attr.word(at::PROG_TYPE)),
            attach_type: AttachType(attr.word(at::EXPECTED_ATTACH_TYPE)),
            flags: attr.word(at::PROG_FLAGS),
            insns: Insn::decode_all(&code, memory.endian),
            func_info,
            line_info,
            core_refs: core_refs.collect(),
            attach_btf_id: attr.word(at::ATTACH_BTF_ID),
            btf_fd: attr.fd(at::PROG_BTF_FD),
            slots: slots.into_iter().map(u32::cast_signed).collect(),
        })))
    }
}

fn words(memory: &Memory<'_>, bytes: &[u8]) -> Vec<u32> {
    bytes
        .chunks_exact(4)
        .map(|word| memory.endian.u32([word[0], word[1], word[2], word[3]]))
        .collect()
}

impl<A: Answers> Kernel for Recorder<A> {
    fn bpf(
        &mut self,
        insn: usize,
        command: Command,
        memory: &Memory<'_>,
        address: u64,
        len: usize,
    ) -> Result<i64, OutOfBounds> {
        let (given, _) = memory.read(address, len.min(MAX_LEN))?;
        if self.budget == 0 {
            return Ok(NO_MEMORY);
        }
        let attr = Attr::new(command, &given, memory.endian);
        let subject = match command {
            cmd::MAP_CREATE => format!(" of map `{}`", attr.text(map_create::MAP_NAME)),
            cmd::PROG_LOAD => format!(" of program `{}`", attr.text(prog_load::PROG_NAME)),
            _ => String::new(),
        };
        for field in fields(command) {
            // Where a host gives an address or a size, all of it is the host's.
            let at = address + field.offset as u64;
            if field.end() <= len && memory.read(at, field.size)?.1 {
                self.influence(insn, format!("`{}`{subject}", field.name));
            }
        }
        for name in attr.set_beyond_plan() {
            self.unplanned.push((insn, format!("`{name}`{subject}")));
        }
        let mut act = match command {
            cmd::BTF_LOAD => {
                let size = attr.word(btf_load::BTF_SIZE) as usize;
                Act::LoadBtf {
                    fd: 0,
                    data: self.bytes(insn, memory, attr.address(btf_load::BTF), size, "the BTF")?,
                }
            }
            cmd::MAP_CREATE => self.create_map(insn, memory, &attr)?,
            cmd::MAP_UPDATE_ELEM => self.update(insn, memory, &attr)?,
            cmd::MAP_FREEZE => Act::Freeze {
                map_fd: attr.fd(map_elem::MAP_FD),
            },
            cmd::PROG_LOAD => self.load_program(insn, memory, &attr)?,
            cmd::LINK_CREATE if attr.word(link_create::ATTACH_TYPE) == attach::BPF_STRUCT_OPS.0 => {
                Act::LinkStructOps {
                    fd: 0,
                    map_fd: attr.fd(link_create::MAP_FD),
                }
            }
            command => Act::Other { command },
        };
        let answer = self.answers.answer(insn, &act);
        act.set_fd(answer);
        if let Act::CreateMap { fd, attr, .. } = &act {
            let shape = Shape {
                name: attr.name.clone(),
                key_size: attr.key_size,
                value_size: attr.value_size,
            };
            self.open.insert(*fd, shape);
        }
        self.acts.push((insn, act));
        Ok(answer)
    }

    fn close(&mut self, _insn: usize, fd: i32) -> i64 {
        self.open.remove(&fd);
        self.answers.close(fd)
    }

    fn find_by_name_kind(&mut self, _insn: usize, name: &[u8], kind: i32) -> i64 {
        if !self.answers.symbols().has_type(name, kind) {
            self.not_found(name);
            return NOT_FOUND;
        }
        let symbol = (String::from_utf8_lossy(name).into_owned(), kind);
        let known = self.types.iter().position(|known| *known == symbol);
        let index = known.unwrap_or_else(|| {
            self.types.push(symbol);
            self.types.len() - 1
        });
        // Of the kernel proper: no descriptor above.
        i64::from(FIRST_ID) + index as i64
    }

    fn kallsyms(&mut self, _insn: usize, name: &[u8]) -> Result<u64, i64> {
        if !self.answers.symbols().has_address(name) {
            self.not_found(name);
            return Err(NOT_FOUND);
        }
        let name = String::from_utf8_lossy(name).into_owned();
        let known = self.addresses.iter().position(|known| *known == name);
        let index = known.unwrap_or_else(|| {
            self.addresses.push(name);
            self.addresses.len() - 1
        });
        Ok(FIRST_ADDRESS + index as u64 * ADDRESS_STEP)
    }

    fn printed(&mut self, _insn: usize) {
        self.printed += 1;
    }

    fn host_decides(&mut self, insn: usize) {
        self.decided.insert(insn);
    }
}
