//! Whether a kernel creates a map with these attributes (`map_create`, the `map_alloc_check` and
//! `map_alloc` of every type, `map_check_btf`), in the kernel's order.
//!
//! Not looked at: memory, of which the kernel may have too little, capabilities, tokens, and
//! machines with several NUMA nodes.
//!
//! Sources: `kernel/bpf/syscall.c` and the files of the map types, of Linux 6.12.117 and 7.3.4.

use bpfseal_uapi::{
    BPF_F_CLONE, BPF_F_INNER_MAP, BPF_F_LINK, BPF_F_MMAPABLE, BPF_F_NO_COMMON_LRU,
    BPF_F_NO_PREALLOC, BPF_F_NO_USER_CONV, BPF_F_NUMA_NODE, BPF_F_PRESERVE_ELEMS,
    BPF_F_RB_OVERWRITE, BPF_F_RDONLY, BPF_F_RDONLY_PROG, BPF_F_SEGV_ON_FAULT, BPF_F_STACK_BUILD_ID,
    BPF_F_TOKEN_FD, BPF_F_VTYPE_BTF_OBJ_FD, BPF_F_WRONLY, BPF_F_WRONLY_PROG, BPF_F_ZERO_SEED,
};
use bpfseal_uapi::{Errno, MapType, Version, btf_kind, limits, map};

use crate::btf_check::{Types, fields, fields::field};
use crate::names::{NameFault, check_object_name};

const PAGE: u32 = 4096;
/// Bytes of `struct htab_elem`.
const HASH_ELEMENT: u64 = 48;
/// Bytes of `struct bpf_local_storage_elem`, which with a value has to stay below 64 KiB.
const STORAGE_ELEMENT: u32 = 128;
/// Frames of a stack trace (`sysctl_perf_event_max_stack`).
const MAX_FRAMES: u32 = 127;
/// `NR_CPUS` of Debian's kernels for clouds and of most others for this architecture.
const MAX_CPUS: u32 = 8192;

/// What a map is asked to be: attributes of `BPF_MAP_CREATE`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are those of `union bpf_attr`")]
pub struct Wanted {
    pub name: Vec<u8>,
    pub map_type: MapType,
    pub key_size: u32,
    pub value_size: u32,
    pub max_entries: u32,
    pub map_flags: u32,
    pub map_extra: u64,
    pub numa_node: u32,
    pub btf_key_type_id: u32,
    pub btf_value_type_id: u32,
    pub btf_vmlinux_value_type_id: u32,
}

impl Wanted {
    /// Leaves out the types, which are taken for good ones.
    pub(crate) fn trust_types(&mut self) {
        (self.btf_key_type_id, self.btf_value_type_id) = (0, 0);
    }

    /// The attributes that a call of the model has.
    pub(crate) fn of(create: &crate::kernel::MapCreate) -> Self {
        Self {
            name: create.name.clone().into_bytes(),
            map_type: create.map_type,
            key_size: create.key_size,
            value_size: create.value_size,
            max_entries: create.max_entries,
            map_flags: create.map_flags,
            ..Self::default()
        }
    }

    /// The same with attributes of a plan.
    #[must_use]
    pub fn of_plan(attr: &bpfseal_loader::plan::MapAttr) -> Self {
        let name = attr.name.as_bytes();
        let len = name.len().min(limits::OBJ_NAME_LEN - 1);
        Self {
            name: name[..len].to_vec(),
            map_type: attr.map_type,
            key_size: attr.key_size,
            value_size: attr.value_size,
            max_entries: attr.max_entries,
            map_flags: attr.map_flags,
            map_extra: attr.map_extra,
            numa_node: attr.numa_node,
            btf_key_type_id: attr.btf_key_type_id,
            btf_value_type_id: attr.btf_value_type_id,
            btf_vmlinux_value_type_id: 0,
        }
    }
}

/// What is wrong with a map.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MapFault {
    /// The type is not known to the kernel.
    #[error("this kernel has no maps of type {0}")]
    Type(MapType),
    /// Flags that maps of the type do not have, as bits.
    #[error("maps of this type do not have the flags {0:#x}")]
    Flags(u32),
    /// A flag that is needed, by name.
    #[error("maps of this type need {0}")]
    NeedsFlag(&'static str),
    /// Flags that exclude each other.
    #[error("{0} exclude each other")]
    FlagPair(&'static str),
    /// A field has another value than the type wants.
    #[error("{field} is {found}, and has to be {wanted}")]
    Field {
        /// The attribute.
        field: &'static str,
        /// What it is.
        found: u64,
        /// What the type wants.
        wanted: &'static str,
    },
    /// Types that are needed.
    #[error("maps of this type need BTF of their key and value")]
    NeedsBtf,
    /// Types that do not fit.
    #[error("the BTF type of its {0}")]
    Btf(&'static str),
    /// The name.
    #[error("{0}")]
    Name(NameFault),
}

impl MapFault {
    /// What to do about it.
    #[must_use]
    pub fn mend(&self) -> &'static str {
        match self {
            Self::Type(_) => "use a map type that this kernel has",
            Self::Flags(_) => "remove these bits from `map_flags`",
            Self::NeedsFlag(_) => "add the flag to `map_flags`",
            Self::FlagPair(_) => "remove one of them from `map_flags`",
            Self::Field {
                field: "max_entries",
                found: 0,
                ..
            } => {
                "set `max_entries` in the object: a signed loader ignores a value that is set by \
                 the program that loads it"
            }
            Self::Field { .. } => "change it in the definition of the map",
            Self::NeedsBtf => "define the map with `__type(key, …)` and `__type(value, …)`",
            Self::Btf(_) => {
                "define the map with `__uint(key_size, …)` and `__uint(value_size, …)`, \
                             or correct the type"
            }
            Self::Name(_) => "name it with letters, digits, `_` and `.` only",
        }
    }
}

/// A map that a kernel does not create.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the kernel answers {errno}: {fault}")]
pub struct MapRefused {
    /// The answer.
    pub errno: Errno,
    /// Why.
    pub fault: MapFault,
}

type Checked = Result<(), MapRefused>;

fn refuse(errno: Errno, fault: MapFault) -> Checked {
    Err(MapRefused { errno, fault })
}

fn invalid(fault: MapFault) -> Checked {
    refuse(Errno::EINVAL, fault)
}

/// Checks a map as a release does. `types` is the BTF of `btf_fd`, if there is one.
///
/// What a map of maps is to hold is not looked at here.
///
/// # Errors
/// What the kernel answers, and why.
pub fn check(wanted: &Wanted, release: Version, types: Option<&Types>) -> Checked {
    Check { wanted, release }.all(types)
}

struct Check<'a> {
    wanted: &'a Wanted,
    release: Version,
}

impl Check<'_> {
    fn all(&self, types: Option<&Types>) -> Checked {
        let wanted = self.wanted;
        let late = self.release >= Version::new(7, 2, 0);
        if wanted.btf_vmlinux_value_type_id != 0 {
            let typed = wanted.btf_key_type_id != 0 || wanted.btf_value_type_id != 0;
            if wanted.map_type != map::STRUCT_OPS || typed {
                return invalid(MapFault::Btf("value"));
            }
        } else if wanted.btf_key_type_id != 0 && wanted.btf_value_type_id == 0 {
            return invalid(MapFault::Btf("value"));
        }
        let has_extra = matches!(wanted.map_type, map::BLOOM_FILTER | map::ARENA)
            || wanted.map_type == map::RHASH && late;
        if wanted.map_extra != 0 && !has_extra {
            return self.field("map_extra", "0");
        }
        if !late {
            self.file_flags()?;
        }
        if wanted.map_flags & BPF_F_NUMA_NODE != 0
            && wanted.numa_node != 0
            && wanted.numa_node != u32::MAX
        {
            return self.field("numa_node", "a node of the machine");
        }
        let since = wanted.map_type.since();
        if since.is_none_or(|since| since > self.release) || wanted.map_type == map::UNSPEC {
            return invalid(MapFault::Type(wanted.map_type));
        }
        self.by_type()?;
        if wanted.map_flags & BPF_F_TOKEN_FD != 0 {
            return invalid(MapFault::Flags(BPF_F_TOKEN_FD));
        }
        if let Err(fault) = check_object_name(&wanted.name) {
            return invalid(MapFault::Name(fault));
        }
        if wanted.btf_value_type_id != 0 {
            let Some(types) = types else {
                return invalid(MapFault::NeedsBtf);
            };
            self.btf(types)?;
        }
        if late {
            self.file_flags()?;
        }
        Ok(())
    }

    fn field(&self, field: &'static str, wanted: &'static str) -> Checked {
        refuse(Errno::EINVAL, self.fault(field, wanted))
    }

    fn too_big(&self, field: &'static str, wanted: &'static str) -> Checked {
        refuse(Errno::E2BIG, self.fault(field, wanted))
    }

    fn fault(&self, field: &'static str, wanted: &'static str) -> MapFault {
        let found = match field {
            "key_size" => self.wanted.key_size.into(),
            "value_size" => self.wanted.value_size.into(),
            "max_entries" => self.wanted.max_entries.into(),
            "numa_node" => self.wanted.numa_node.into(),
            _ => self.wanted.map_extra,
        };
        MapFault::Field {
            field,
            found,
            wanted,
        }
    }

    fn has(&self, flag: u32) -> bool {
        self.wanted.map_flags & flag != 0
    }

    /// Flags that a type has; the token's is taken away before.
    fn flags(&self, known: u32) -> Checked {
        match self.wanted.map_flags & !known & !BPF_F_TOKEN_FD {
            0 => Ok(()),
            unknown => invalid(MapFault::Flags(unknown)),
        }
    }

    /// `bpf_get_file_flag`.
    fn file_flags(&self) -> Checked {
        match self.has(BPF_F_RDONLY) && self.has(BPF_F_WRONLY) {
            true => invalid(MapFault::FlagPair("BPF_F_RDONLY and BPF_F_WRONLY")),
            false => Ok(()),
        }
    }

    /// `bpf_map_flags_access_ok`.
    fn access(&self) -> Checked {
        match self.has(BPF_F_RDONLY_PROG) && self.has(BPF_F_WRONLY_PROG) {
            true => invalid(MapFault::FlagPair(
                "BPF_F_RDONLY_PROG and BPF_F_WRONLY_PROG",
            )),
            false => Ok(()),
        }
    }

    fn entries(&self) -> Checked {
        match self.wanted.max_entries {
            0 => self.field("max_entries", "at least 1"),
            _ => Ok(()),
        }
    }

    fn key(&self, size: u32, wanted: &'static str) -> Checked {
        match self.wanted.key_size == size {
            true => Ok(()),
            false => self.field("key_size", wanted),
        }
    }

    fn value(&self, sizes: &[u32], wanted: &'static str) -> Checked {
        match sizes.contains(&self.wanted.value_size) {
            true => Ok(()),
            false => self.field("value_size", wanted),
        }
    }

    fn some_value(&self) -> Checked {
        match self.wanted.value_size {
            0 => self.field("value_size", "at least 1"),
            _ => Ok(()),
        }
    }

    fn by_type(&self) -> Checked {
        const ACCESS: u32 = BPF_F_RDONLY | BPF_F_WRONLY | BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG;
        const FILE: u32 = BPF_F_NUMA_NODE | BPF_F_RDONLY | BPF_F_WRONLY;
        let wanted = self.wanted;
        match wanted.map_type {
            map::ARRAY | map::PERCPU_ARRAY => self.array(),
            map::PROG_ARRAY | map::PERF_EVENT_ARRAY | map::CGROUP_ARRAY | map::ARRAY_OF_MAPS => {
                self.value(&[4], "4")?;
                if self.has(BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG) {
                    let bits = wanted.map_flags & (BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG);
                    return invalid(MapFault::Flags(bits));
                }
                self.array()
            }
            map::REUSEPORT_SOCKARRAY => {
                self.value(&[4, 8], "4 or 8")?;
                self.array()
            }
            map::HASH | map::PERCPU_HASH | map::LRU_HASH | map::LRU_PERCPU_HASH => self.hash(),
            map::HASH_OF_MAPS => {
                self.value(&[4], "4")?;
                self.hash()
            }
            map::RHASH => self.resizable_hash(),
            map::RINGBUF | map::USER_RINGBUF => {
                let known = match self.release >= Version::new(6, 19, 0) {
                    true if wanted.map_type == map::RINGBUF => BPF_F_RB_OVERWRITE,
                    _ => 0,
                };
                self.flags(known | BPF_F_NUMA_NODE)?;
                self.key(0, "0")?;
                self.value(&[0], "0")?;
                if !wanted.max_entries.is_power_of_two() || !wanted.max_entries.is_multiple_of(PAGE)
                {
                    return self.field(
                        "max_entries",
                        "a power of two and whole pages: the size of the ring buffer in bytes",
                    );
                }
                Ok(())
            }
            map::LPM_TRIE => {
                self.entries()?;
                self.preallocation("BPF_F_NO_PREALLOC")?;
                self.flags(BPF_F_NO_PREALLOC | BPF_F_NUMA_NODE | ACCESS)?;
                self.access()?;
                if !(5..=260).contains(&wanted.key_size) {
                    return self.field("key_size", "5 to 260");
                }
                let node = if self.release >= Version::new(6, 13, 0) {
                    24
                } else {
                    40
                };
                let most = limits::MAX_KMALLOC - 256 - node;
                if !(1..=most).contains(&wanted.value_size) {
                    return self.field("value_size", "at least 1, and less than 4 MiB");
                }
                Ok(())
            }
            map::BLOOM_FILTER => {
                if wanted.value_size > limits::MAX_KMALLOC {
                    return self.too_big("value_size", "at most 4 MiB");
                }
                self.key(0, "0")?;
                self.some_value()?;
                self.entries()?;
                self.flags(BPF_F_NUMA_NODE | BPF_F_ZERO_SEED | ACCESS)?;
                self.access()?;
                match wanted.map_extra {
                    0..=15 => Ok(()),
                    _ => self.field("map_extra", "at most 15: a count of hash functions"),
                }
            }
            map::QUEUE | map::STACK => {
                self.entries()?;
                self.key(0, "0")?;
                self.some_value()?;
                self.flags(BPF_F_NUMA_NODE | ACCESS)?;
                self.access()?;
                if wanted.value_size > limits::MAX_KMALLOC {
                    return self.too_big("value_size", "at most 4 MiB");
                }
                if wanted.max_entries >= u32::MAX / wanted.value_size {
                    return self.too_big("max_entries", "less: values would take 4 GiB");
                }
                Ok(())
            }
            map::SK_STORAGE | map::INODE_STORAGE | map::TASK_STORAGE | map::CGRP_STORAGE => {
                self.flags(BPF_F_NO_PREALLOC | BPF_F_CLONE)?;
                self.preallocation("BPF_F_NO_PREALLOC")?;
                if wanted.max_entries != 0 {
                    return self.field("max_entries", "0");
                }
                self.key(4, "4")?;
                self.some_value()?;
                if wanted.btf_key_type_id == 0 || wanted.btf_value_type_id == 0 {
                    return invalid(MapFault::NeedsBtf);
                }
                self.storage_value(u32::from(u16::MAX) - STORAGE_ELEMENT)
            }
            map::CGROUP_STORAGE | map::PERCPU_CGROUP_STORAGE => {
                if wanted.key_size != 16 && wanted.key_size != 8 {
                    return self.field("key_size", "8 or 16");
                }
                self.some_value()?;
                let most = u32::from(u16::MAX) - STORAGE_ELEMENT;
                self.storage_value(match wanted.map_type {
                    map::CGROUP_STORAGE => most,
                    _ => most.min(limits::MIN_PERCPU_UNIT),
                })?;
                self.flags(BPF_F_NUMA_NODE | ACCESS)?;
                self.access()?;
                match wanted.max_entries {
                    0 => Ok(()),
                    _ => self.field("max_entries", "0"),
                }
            }
            map::ARENA => self.arena(),
            map::DEVMAP | map::DEVMAP_HASH => {
                self.entries()?;
                self.key(4, "4")?;
                self.value(&[4, 8], "4 or 8")?;
                self.flags(FILE)?;
                if wanted.map_type == map::DEVMAP_HASH && wanted.max_entries > 1 << 31 {
                    return self.field("max_entries", "at most 2³¹");
                }
                Ok(())
            }
            map::CPUMAP => {
                self.entries()?;
                self.key(4, "4")?;
                self.value(&[4, 8], "4 or 8")?;
                self.flags(BPF_F_NUMA_NODE)?;
                match wanted.max_entries > MAX_CPUS {
                    true => self.too_big("max_entries", "at most the kernel's number of CPUs"),
                    false => Ok(()),
                }
            }
            map::XSKMAP => {
                self.entries()?;
                self.key(4, "4")?;
                self.value(&[4], "4")?;
                self.flags(FILE)
            }
            map::SOCKMAP => {
                self.entries()?;
                if wanted.max_entries > i32::MAX as u32 {
                    return self.field("max_entries", "less than 2³¹");
                }
                self.key(4, "4")?;
                self.value(&[4, 8], "4 or 8")?;
                self.flags(FILE)
            }
            map::SOCKHASH => {
                self.entries()?;
                if wanted.key_size == 0 {
                    return self.field("key_size", "at least 1");
                }
                self.value(&[4, 8], "4 or 8")?;
                self.flags(FILE)?;
                match wanted.key_size as usize > limits::MAX_STACK {
                    true => self.too_big("key_size", "at most 512"),
                    false => Ok(()),
                }
            }
            map::STACK_TRACE => {
                self.flags(FILE | BPF_F_STACK_BUILD_ID)?;
                self.entries()?;
                self.key(4, "4")?;
                let frame = if self.has(BPF_F_STACK_BUILD_ID) {
                    32
                } else {
                    8
                };
                let size = wanted.value_size;
                if size < 8 || !size.is_multiple_of(frame) || size / frame > MAX_FRAMES {
                    return self.field("value_size", "whole frames, 127 at most");
                }
                match wanted.max_entries > 1 << 31 {
                    true => self.too_big("max_entries", "at most 2³¹"),
                    false => Ok(()),
                }
            }
            map::STRUCT_OPS => {
                self.key(4, "4")?;
                if wanted.max_entries != 1 {
                    return self.field("max_entries", "1");
                }
                self.flags(BPF_F_LINK | BPF_F_VTYPE_BTF_OBJ_FD)?;
                match wanted.btf_vmlinux_value_type_id {
                    0 => invalid(MapFault::NeedsBtf),
                    _ => Ok(()),
                }
            }
            map::INSN_ARRAY => {
                self.entries()?;
                self.key(4, "4")?;
                self.value(&[16], "16")?;
                self.flags(0)
            }
            _ => Ok(()),
        }
    }

    fn preallocation(&self, name: &'static str) -> Checked {
        match self.has(BPF_F_NO_PREALLOC) {
            true => Ok(()),
            false => invalid(MapFault::NeedsFlag(name)),
        }
    }

    fn storage_value(&self, most: u32) -> Checked {
        match self.wanted.value_size > most {
            true => self.too_big(
                "value_size",
                "less than 64 KiB (32 KiB where CPUs have their own)",
            ),
            false => Ok(()),
        }
    }

    /// A value of which each CPU has its own.
    fn percpu_value(&self) -> Checked {
        let size = u64::from(self.wanted.value_size).next_multiple_of(8);
        match size > u64::from(limits::MIN_PERCPU_UNIT) {
            true => self.too_big(
                "value_size",
                "at most 32768 where each CPU has its own value",
            ),
            false => Ok(()),
        }
    }

    /// `array_map_alloc_check`.
    fn array(&self) -> Checked {
        let wanted = self.wanted;
        let percpu = wanted.map_type == map::PERCPU_ARRAY;
        self.entries()?;
        self.key(4, "4")?;
        self.some_value()?;
        let access = BPF_F_RDONLY | BPF_F_WRONLY | BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG;
        let mut known = BPF_F_NUMA_NODE | access;
        if wanted.map_type == map::ARRAY {
            known |= BPF_F_MMAPABLE | BPF_F_INNER_MAP;
        }
        if wanted.map_type == map::PERF_EVENT_ARRAY {
            known |= BPF_F_PRESERVE_ELEMS;
        }
        self.flags(known)?;
        self.access()?;
        if percpu && self.has(BPF_F_NUMA_NODE) && wanted.numa_node != u32::MAX {
            return invalid(MapFault::Flags(BPF_F_NUMA_NODE));
        }
        if wanted.value_size > i32::MAX as u32 {
            return self.too_big("value_size", "less than 2 GiB");
        }
        if percpu {
            return self.percpu_value();
        }
        Ok(())
    }

    /// `htab_map_alloc_check`, then the first checks of `htab_map_alloc`.
    fn hash(&self) -> Checked {
        let wanted = self.wanted;
        let percpu = matches!(wanted.map_type, map::PERCPU_HASH | map::LRU_PERCPU_HASH);
        let lru = matches!(wanted.map_type, map::LRU_HASH | map::LRU_PERCPU_HASH);
        let access = BPF_F_RDONLY | BPF_F_WRONLY | BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG;
        self.flags(
            BPF_F_NO_PREALLOC | BPF_F_NO_COMMON_LRU | BPF_F_NUMA_NODE | access | BPF_F_ZERO_SEED,
        )?;
        self.access()?;
        let own_lists = self.has(BPF_F_NO_COMMON_LRU);
        if !lru && own_lists {
            return invalid(MapFault::Flags(BPF_F_NO_COMMON_LRU));
        }
        if lru && self.has(BPF_F_NO_PREALLOC) {
            return refuse(Errno::ENOTSUPP, MapFault::Flags(BPF_F_NO_PREALLOC));
        }
        let on_node = self.has(BPF_F_NUMA_NODE) && wanted.numa_node != u32::MAX;
        if on_node && (percpu || own_lists) {
            return invalid(MapFault::Flags(BPF_F_NUMA_NODE));
        }
        self.entries()?;
        if wanted.key_size == 0 {
            return self.field("key_size", "at least 1");
        }
        self.some_value()?;
        let size = u64::from(wanted.key_size) + u64::from(wanted.value_size);
        if size >= u64::from(limits::MAX_KMALLOC) - HASH_ELEMENT {
            return self.too_big("value_size", "less: key and value have 4 MiB together");
        }
        if percpu {
            self.percpu_value()?;
        }
        // Buckets are as many as entries, up to a power of two, of sixteen bytes; their size is a
        // number of 32 bits. The resizable ones begin small.
        let most = if wanted.map_type == map::RHASH {
            1 << 31
        } else {
            1 << 27
        };
        if wanted.max_entries > most {
            return self.too_big("max_entries", "less: the table would take 4 GiB");
        }
        Ok(())
    }

    /// `rhtab_map_alloc_check`.
    fn resizable_hash(&self) -> Checked {
        let wanted = self.wanted;
        self.preallocation("BPF_F_NO_PREALLOC")?;
        if self.has(BPF_F_ZERO_SEED) {
            return invalid(MapFault::Flags(BPF_F_ZERO_SEED));
        }
        if wanted.key_size > u32::from(u16::MAX) {
            return self.too_big("key_size", "less than 64 KiB");
        }
        if wanted.map_extra >> 32 != 0 {
            return self.field("map_extra", "a hint of entries, less than 65536");
        }
        if wanted.map_extra > u64::from(u16::MAX) {
            return self.too_big("map_extra", "a hint of entries, less than 65536");
        }
        if wanted.map_extra > u64::from(wanted.max_entries) {
            return self.field("map_extra", "at most `max_entries`");
        }
        self.hash()
    }

    fn arena(&self) -> Checked {
        let wanted = self.wanted;
        self.key(0, "0")?;
        self.value(&[0], "0")?;
        self.entries()?;
        if !self.has(BPF_F_MMAPABLE) {
            return invalid(MapFault::NeedsFlag("BPF_F_MMAPABLE"));
        }
        self.flags(BPF_F_SEGV_ON_FAULT | BPF_F_MMAPABLE | BPF_F_NO_USER_CONV)?;
        if !wanted.map_extra.is_multiple_of(u64::from(PAGE)) {
            return self.field("map_extra", "an address of a page");
        }
        let len = u64::from(wanted.max_entries) * u64::from(PAGE);
        if len > 4 << 30 {
            return self.too_big("max_entries", "at most 1048576: an arena has 4 GiB at most");
        }
        let last = wanted.map_extra.wrapping_add(len - 1);
        if wanted.map_extra >> 32 != last >> 32 {
            let wanted = "an address from which the arena ends before the next 4 GiB";
            return refuse(Errno::ERANGE, self.fault("map_extra", wanted));
        }
        Ok(())
    }

    /// `map_check_btf`.
    fn btf(&self, types: &Types) -> Checked {
        let wanted = self.wanted;
        let key = match wanted.btf_key_type_id {
            // Types without a check of their own do not go without a key.
            0 if self.checks_no_types() => return invalid(MapFault::Btf("key")),
            0 => None,
            id => match types.sized(id) {
                Some((_, of, size)) if size == wanted.key_size => Some(of),
                _ => return invalid(MapFault::Btf("key")),
            },
        };
        let value = match types.sized(wanted.btf_value_type_id) {
            Some((_, of, size)) if size == wanted.value_size => of,
            _ => return invalid(MapFault::Btf("value")),
        };
        let record = fields::of_value(types, value, wanted.value_size);
        if let Ok(Some(record)) = &record {
            self.fields(record.kinds)?;
            if let Err(errno) = fields::check_value(types, record) {
                return refuse(errno, MapFault::Btf("value"));
            }
        }
        let is_int = |of, bytes| types.is_int(of, bytes);
        match wanted.map_type {
            map::ARRAY | map::PERCPU_ARRAY => match key {
                Some(key) if is_int(key, 4) => Ok(()),
                Some(_) => invalid(MapFault::Btf("key")),
                None => {
                    let percpu = types.rules().percpu_data;
                    let can = wanted.map_type == map::ARRAY || percpu;
                    match can && wanted.max_entries == 1 && value.kind() == btf_kind::DATASEC {
                        true => Ok(()),
                        false => invalid(MapFault::Btf("key")),
                    }
                }
            },
            map::HASH | map::PERCPU_HASH | map::LRU_HASH | map::LRU_PERCPU_HASH | map::RHASH => {
                match key {
                    Some(_) => Ok(()),
                    None => invalid(MapFault::Btf("key")),
                }
            }
            map::BLOOM_FILTER => match key {
                Some(_) => invalid(MapFault::Btf("key")),
                None => Ok(()),
            },
            map::LPM_TRIE => match key {
                Some(key) if key.kind() == btf_kind::STRUCT => Ok(()),
                _ => invalid(MapFault::Btf("key")),
            },
            map::SK_STORAGE | map::INODE_STORAGE | map::TASK_STORAGE | map::CGRP_STORAGE => {
                match key {
                    Some(key) if is_int(key, 4) => Ok(()),
                    _ => invalid(MapFault::Btf("key")),
                }
            }
            map::CGROUP_STORAGE | map::PERCPU_CGROUP_STORAGE => match key {
                Some(key) if wanted.key_size == 16 && types.is_cgroup_key(key) => Ok(()),
                Some(key) if wanted.key_size == 8 && is_int(key, 8) => Ok(()),
                _ => invalid(MapFault::Btf("key")),
            },
            map::INSN_ARRAY => match key {
                Some(key) if !is_int(key, 4) => invalid(MapFault::Btf("key")),
                None => invalid(MapFault::Btf("key")),
                Some(_) if is_int(value, 8) => Ok(()),
                Some(_) => invalid(MapFault::Btf("value")),
            },
            map::ARENA => Ok(()),
            _ if self.checks_no_types() => Ok(()),
            _ => refuse(Errno::ENOTSUPP, MapFault::Btf("key")),
        }
    }

    /// Whether the type has no `map_check_btf`.
    fn checks_no_types(&self) -> bool {
        matches!(
            self.wanted.map_type,
            map::PROG_ARRAY
                | map::STRUCT_OPS
                | map::REUSEPORT_SOCKARRAY
                | map::QUEUE
                | map::STACK
                | map::RINGBUF
                | map::USER_RINGBUF
        ) || matches!(
            self.wanted.map_type,
            map::HASH | map::PERCPU_HASH | map::LRU_HASH | map::LRU_PERCPU_HASH
        ) && self.wanted.btf_key_type_id == 0
    }

    /// Which special fields values of the type may have.
    fn fields(&self, kinds: u32) -> Checked {
        let wanted = self.wanted;
        let unsupported = || refuse(Errno::EOPNOTSUPP, MapFault::Btf("value"));
        let reads_only = matches!(
            wanted.map_type,
            map::DEVMAP | map::DEVMAP_HASH | map::INSN_ARRAY
        );
        if reads_only || self.has(BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG) {
            return refuse(Errno::EACCES, MapFault::Btf("value"));
        }
        let storage = matches!(
            wanted.map_type,
            map::SK_STORAGE | map::INODE_STORAGE | map::TASK_STORAGE | map::CGRP_STORAGE
        );
        let plain = matches!(wanted.map_type, map::HASH | map::ARRAY);
        let rhash = wanted.map_type == map::RHASH;
        let lru = wanted.map_type == map::LRU_HASH;
        let percpu = matches!(
            wanted.map_type,
            map::PERCPU_HASH | map::LRU_PERCPU_HASH | map::PERCPU_ARRAY
        );
        let locks = field::SPIN_LOCK | field::RES_SPIN_LOCK;
        let timers = field::TIMER | field::WORKQUEUE | field::TASK_WORK;
        let objects = field::KPTR | field::REFCOUNT;
        let taken = [
            (
                locks,
                plain || rhash || storage || wanted.map_type == map::CGROUP_STORAGE,
            ),
            (timers, plain || rhash || lru),
            (objects, plain || rhash || lru || percpu || storage),
            (field::UPTR, wanted.map_type == map::TASK_STORAGE),
            (field::GRAPH_ROOT, plain || lru),
        ];
        for (group, takes) in taken {
            if kinds & group != 0 && !takes {
                return unsupported();
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: Version = Version::new(7, 3, 4);

    #[track_caller]
    fn answer(wanted: &Wanted) -> Option<Errno> {
        check(wanted, NEW, None).err().map(|refused| refused.errno)
    }

    fn map(map_type: MapType, key_size: u32, value_size: u32, max_entries: u32) -> Wanted {
        Wanted {
            name: b"a".to_vec(),
            map_type,
            key_size,
            value_size,
            max_entries,
            ..Wanted::default()
        }
    }

    #[test]
    fn maps_of_public_reports() {
        let ring = |value, entries| answer(&map(map::RINGBUF, 0, value, entries));
        assert_eq!(ring(0, 4096), None);
        assert_eq!(ring(8, 4096), Some(Errno::EINVAL));
        assert_eq!(ring(0, 5000), Some(Errno::EINVAL));
        assert_eq!(ring(0, 0), Some(Errno::EINVAL));
        let trie = map(map::LPM_TRIE, 8, 4, 10);
        assert_eq!(answer(&trie), Some(Errno::EINVAL));
        let flagged = Wanted {
            map_flags: BPF_F_NO_PREALLOC,
            ..trie
        };
        assert_eq!(answer(&flagged), None);
        assert_eq!(
            answer(&map(map::PERCPU_ARRAY, 4, 40000, 1)),
            Some(Errno::E2BIG)
        );
        assert_eq!(answer(&map(map::HASH, 4, 4, 0)), Some(Errno::EINVAL));
        let dashed = Wanted {
            name: b"my-map".to_vec(),
            ..map(map::HASH, 4, 4, 1)
        };
        let refused = check(&dashed, NEW, None).unwrap_err();
        assert_eq!(refused.fault, MapFault::Name(NameFault::Byte(b'-')));
    }

    #[test]
    fn what_a_release_does_not_have() {
        let array = map(map::INSN_ARRAY, 4, 16, 1);
        assert_eq!(answer(&array), None);
        let refused = check(&array, Version::new(6, 12, 0), None).unwrap_err();
        assert_eq!(refused.fault, MapFault::Type(map::INSN_ARRAY));
    }
}
