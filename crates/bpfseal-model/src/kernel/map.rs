//! Maps: creation, values, freezing, digests.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bpfseal_object::Endian;
use sha2::{Digest as _, Sha256};

use super::Fd;
use bpfseal_uapi::map::{ARRAY, ARRAY_OF_MAPS, HASH};
use bpfseal_uapi::{
    BPF_EXIST, BPF_F_ALL_CPUS, BPF_F_MMAPABLE, BPF_NOEXIST, Errno, MapType, limits,
};

/// What `BPF_MAP_CREATE` is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapCreate {
    /// Name, as the kernel keeps it.
    pub name: String,
    /// `map_type`.
    pub map_type: MapType,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value.
    pub value_size: u32,
    /// Count of entries.
    pub max_entries: u32,
    /// `BPF_F_*`.
    pub map_flags: u32,
    /// `inner_map_fd`: of maps of maps, a map like those that it will hold.
    pub inner: Fd,
    /// The digest that it is bound to, if an address of one is given.
    pub excl_prog_hash: Option<[u8; 32]>,
    /// `excl_prog_hash_size`.
    pub excl_prog_hash_size: u32,
}

impl MapCreate {
    /// An array of one map, which is to be like that of a descriptor.
    #[must_use]
    pub fn of_maps(name: String, inner: Fd) -> Self {
        Self {
            name,
            map_type: ARRAY_OF_MAPS,
            key_size: 4,
            value_size: 4,
            max_entries: 1,
            map_flags: 0,
            inner,
            excl_prog_hash: None,
            excl_prog_hash_size: 0,
        }
    }

    /// Whether it holds maps.
    pub(super) fn holds_maps(&self) -> bool {
        self.map_type.holds_maps()
    }

    /// `bpf_map_meta_equal`: whether two maps can take each other's place in a map of maps.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.map_type == other.map_type
            && self.key_size == other.key_size
            && self.value_size == other.value_size
            && self.map_flags == other.map_flags
    }

    /// The metadata map of a loader.
    #[must_use]
    pub fn metadata(len: u32, excl_prog_hash: [u8; 32]) -> Self {
        Self {
            name: "__loader.map".to_owned(),
            map_type: ARRAY,
            key_size: 4,
            value_size: len,
            max_entries: 1,
            map_flags: 0,
            inner: 0,
            excl_prog_hash: Some(excl_prog_hash),
            excl_prog_hash_size: limits::HASH_SIZE as u32,
        }
    }
}

/// A map.
#[derive(Debug, Clone)]
pub struct Map {
    /// What it was made of.
    pub created: MapCreate,
    /// Whether user space can not change it any more.
    pub frozen: bool,
    /// Updates that are under way, and writable mappings.
    pub writers: u32,
    /// Values of an array, one behind the other, each filled up to eight bytes; behind the last
    /// one that was written there are zeroes.
    elements: Vec<u8>,
    /// Values of a hash map.
    entries: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Of a map of maps, what its inner maps are like, and their numbers by key.
    pub(super) inner_like: Option<MapCreate>,
    pub(super) inner: BTreeMap<Vec<u8>, u32>,
    /// The digest, once somebody asked for it.
    digest: Option<[u8; 32]>,
}

/// Most bytes that a map of the model has: what a machine of this memory could give.
const MAX_BYTES: u64 = 4 << 30;
/// Zeroes, to be digested.
static ZEROES: [u8; 1 << 16] = [0; 1 << 16];

impl Map {
    /// `array_map_alloc_check`, then the end of `map_create_alloc` of Linux 7.3. Of types other
    /// than arrays and hash maps, only the common part is modelled.
    pub(super) fn create(wanted: &MapCreate) -> Result<Self, Errno> {
        let bytes = if wanted.map_type == ARRAY {
            if wanted.max_entries == 0 || wanted.key_size != 4 || wanted.value_size == 0 {
                return Err(Errno::EINVAL);
            }
            if wanted.value_size > i32::MAX as u32 {
                return Err(Errno::E2BIG);
            }
            u64::from(wanted.value_size).next_multiple_of(8) * u64::from(wanted.max_entries)
        } else if wanted.map_type == HASH {
            let empty = wanted.max_entries == 0 || wanted.key_size == 0 || wanted.value_size == 0;
            if empty || wanted.map_flags & BPF_F_MMAPABLE != 0 {
                return Err(Errno::EINVAL);
            }
            0
        } else if wanted.holds_maps() {
            if wanted.max_entries == 0 || wanted.value_size != 4 {
                return Err(Errno::EINVAL);
            }
            0
        } else {
            0
        };
        if bytes > MAX_BYTES {
            return Err(Errno::ENOMEM);
        }
        let sized = wanted.excl_prog_hash_size;
        match wanted.excl_prog_hash {
            Some(_) if sized as usize != limits::HASH_SIZE => return Err(Errno::EINVAL),
            None if sized != 0 => return Err(Errno::EINVAL),
            _ => {}
        }
        Ok(Self {
            created: wanted.clone(),
            frozen: false,
            writers: 0,
            elements: Vec::new(),
            entries: BTreeMap::new(),
            inner_like: None,
            inner: BTreeMap::new(),
            digest: None,
        })
    }

    /// Whether it has a value for each processor.
    pub(super) fn of_processors(&self) -> bool {
        self.created.map_type.is_per_cpu()
    }

    fn stride(&self) -> usize {
        (self.created.value_size as usize).next_multiple_of(8)
    }

    /// `map_lookup_elem`, then `bpf_map_copy_value`.
    pub(super) fn lookup(&self, key: &[u8], endian: Endian) -> Result<Vec<u8>, Errno> {
        if !self.is_array() {
            return self.entries.get(key).cloned().ok_or(Errno::ENOENT);
        }
        let index = <[u8; 4]>::try_from(key).map_err(|_| Errno::EFAULT)?;
        let index = endian.u32(index);
        if index >= self.created.max_entries {
            return Err(Errno::ENOENT);
        }
        let at = index as usize * self.stride();
        let len = self.created.value_size as usize;
        let there = self.elements.get(at..).unwrap_or_default();
        let mut value = there[..there.len().min(len)].to_vec();
        value.resize(len, 0);
        Ok(value)
    }

    /// `map_update_elem`, then `array_map_update_elem`.
    pub(super) fn update(
        &mut self,
        key: &[u8],
        value: &[u8],
        mut flags: u64,
        endian: Endian,
    ) -> Result<(), Errno> {
        if self.frozen {
            return Err(Errno::EPERM);
        }
        if self.of_processors() {
            // Kernels that do not know it have been asked before.
            flags &= !BPF_F_ALL_CPUS;
        }
        if flags > BPF_EXIST {
            return Err(Errno::EINVAL);
        }
        if self.created.map_type != ARRAY {
            let there = self.entries.contains_key(key);
            match flags {
                BPF_NOEXIST if there => return Err(Errno::EEXIST),
                BPF_EXIST if !there => return Err(Errno::ENOENT),
                _ if !there && self.entries.len() as u64 >= u64::from(self.created.max_entries) => {
                    return Err(Errno::E2BIG);
                }
                _ => {}
            }
            self.entries.insert(key.to_vec(), value.to_vec());
            return Ok(());
        }
        let index = <[u8; 4]>::try_from(key).map_err(|_| Errno::EFAULT)?;
        let index = endian.u32(index);
        if index >= self.created.max_entries {
            return Err(Errno::E2BIG);
        }
        if flags == BPF_NOEXIST {
            return Err(Errno::EEXIST);
        }
        let at = index as usize * self.stride();
        self.write(at, value);
        Ok(())
    }

    fn write(&mut self, at: usize, value: &[u8]) {
        let len = value.len().min(self.created.value_size as usize);
        if self.elements.len() < at + len {
            self.elements.resize(at + len, 0);
        }
        self.elements[at..at + len].copy_from_slice(&value[..len]);
    }

    /// What a program that has the map writes into its first value: programs write frozen maps,
    /// too. What does not fit into the value is left out, and so is all of it where the map is no
    /// array.
    pub fn write_by_program(&mut self, offset: usize, bytes: &[u8]) {
        let room = (self.created.value_size as usize).saturating_sub(offset);
        let bytes = &bytes[..bytes.len().min(room)];
        if self.is_array() && !bytes.is_empty() {
            self.write(offset, bytes);
        }
    }

    /// `map_freeze`: a frozen map has no permission to be written, which is looked at before
    /// writers are.
    pub(super) fn freeze(&mut self) -> Result<(), Errno> {
        if self.frozen {
            return Err(Errno::EPERM);
        }
        if self.writers > 0 {
            return Err(Errno::EBUSY);
        }
        self.frozen = true;
        Ok(())
    }

    pub(super) fn map_writable(&mut self) -> Result<(), Errno> {
        if self.created.map_type != ARRAY {
            return Err(Errno::ENOTSUPP);
        }
        if self.frozen {
            return Err(Errno::EPERM);
        }
        if self.created.map_flags & BPF_F_MMAPABLE == 0 {
            return Err(Errno::EINVAL);
        }
        self.writers += 1;
        Ok(())
    }

    /// The part of `bpf_map_get_info_by_fd` that is about digests.
    ///
    /// # Errors
    /// `EINVAL` for another size than 32 and for what is no array, `EPERM` before it is frozen.
    pub fn digest(&self, size: u32) -> Result<[u8; 32], Errno> {
        if self.created.map_type != ARRAY || size as usize != limits::HASH_SIZE {
            return Err(Errno::EINVAL);
        }
        if !self.frozen {
            return Err(Errno::EPERM);
        }
        self.digest_now()
    }

    /// `map_get_hash`: the digest of what is there now, frozen or not.
    pub(super) fn digest_now(&self) -> Result<[u8; 32], Errno> {
        if self.created.map_type != ARRAY {
            return Err(Errno::EINVAL);
        }
        let mut hasher = Sha256::new();
        hasher.update(&self.elements);
        let all = self.stride() as u64 * u64::from(self.created.max_entries);
        let mut rest = all.saturating_sub(self.elements.len() as u64);
        while rest > 0 {
            let part = rest.min(ZEROES.len() as u64);
            hasher.update(&ZEROES[..part as usize]);
            rest -= part;
        }
        Ok(hasher.finalize().into())
    }

    /// The same, kept in the kernel's object, where programs can see it.
    pub(super) fn cache_digest(&mut self, size: u32) -> Result<[u8; 32], Errno> {
        let digest = self.digest(size)?;
        self.digest = Some(digest);
        Ok(digest)
    }

    /// The digest that programs see: of when it was asked for, or zeroes.
    pub(super) fn cached_digest(&self) -> [u8; 32] {
        self.digest.unwrap_or_default()
    }

    /// Whether it is a plain array, whose value has an address.
    pub(super) fn is_array(&self) -> bool {
        self.created.map_type == ARRAY
    }

    /// The first value of an array.
    #[must_use]
    pub fn value(&self) -> Cow<'_, [u8]> {
        if !self.is_array() {
            return Cow::Borrowed(&[]);
        }
        let len = self.created.value_size as usize;
        match self.elements.get(..len) {
            Some(value) => Cow::Borrowed(value),
            None => {
                let mut value = self.elements.clone();
                value.resize(len, 0);
                Cow::Owned(value)
            }
        }
    }
}
