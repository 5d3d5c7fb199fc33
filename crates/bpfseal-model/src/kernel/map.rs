//! Maps: creation, values, freezing, digests.

use std::collections::BTreeMap;

use bpfseal_object::Endian;
use bpfseal_object::uapi::MapType;
use sha2::{Digest as _, Sha256};

use crate::errno::Errno;

/// `BPF_MAP_TYPE_HASH` and `BPF_MAP_TYPE_ARRAY`.
const HASH: MapType = MapType(1);
const ARRAY: MapType = MapType(2);

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
    /// The digest that it is bound to, if an address of one is given.
    pub excl_prog_hash: Option<[u8; 32]>,
    /// `excl_prog_hash_size`.
    pub excl_prog_hash_size: u32,
}

impl MapCreate {
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
            excl_prog_hash: Some(excl_prog_hash),
            excl_prog_hash_size: 32,
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
    /// Values of an array, one behind the other, each filled up to eight bytes.
    elements: Vec<u8>,
    /// Values of a hash map.
    entries: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// `BPF_F_MMAPABLE`.
const MMAPABLE: u32 = 1 << 10;

/// Flags of an update (`BPF_NOEXIST`, `BPF_EXIST`).
const NOEXIST: u64 = 1;
const EXIST: u64 = 2;

/// Most bytes that a map of the model has.
const MAX_BYTES: u64 = 64 << 20;

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
            if empty || wanted.map_flags & MMAPABLE != 0 {
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
            Some(_) if sized != 32 => return Err(Errno::EINVAL),
            None if sized != 0 => return Err(Errno::EINVAL),
            _ => {}
        }
        Ok(Self {
            created: wanted.clone(),
            frozen: false,
            writers: 0,
            elements: vec![0; bytes as usize],
            entries: BTreeMap::new(),
        })
    }

    fn stride(&self) -> usize {
        (self.created.value_size as usize).next_multiple_of(8)
    }

    /// `map_update_elem`, then `array_map_update_elem`.
    pub(super) fn update(
        &mut self,
        key: &[u8],
        value: &[u8],
        flags: u64,
        endian: Endian,
    ) -> Result<(), Errno> {
        if self.frozen {
            return Err(Errno::EPERM);
        }
        if flags > EXIST {
            return Err(Errno::EINVAL);
        }
        if self.created.map_type != ARRAY {
            let there = self.entries.contains_key(key);
            match flags {
                NOEXIST if there => return Err(Errno::EEXIST),
                EXIST if !there => return Err(Errno::ENOENT),
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
        if flags == NOEXIST {
            return Err(Errno::EEXIST);
        }
        let at = index as usize * self.stride();
        let len = value.len().min(self.created.value_size as usize);
        self.elements[at..at + len].copy_from_slice(&value[..len]);
        Ok(())
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
        if self.created.map_flags & MMAPABLE == 0 {
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
        if self.created.map_type != ARRAY || size != 32 {
            return Err(Errno::EINVAL);
        }
        if !self.frozen {
            return Err(Errno::EPERM);
        }
        Ok(Sha256::digest(&self.elements).into())
    }

    /// Whether it is a plain array, whose value has an address.
    pub(super) fn is_array(&self) -> bool {
        self.created.map_type == ARRAY
    }

    /// The first value of an array.
    #[must_use]
    pub fn value(&self) -> &[u8] {
        let len = (self.created.value_size as usize).min(self.elements.len());
        &self.elements[..len]
    }
}
