//! Maps: made, filled, frozen, read, and what the kernel says of them.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;

use crate::attr::Attr;
use crate::error::SyscallError;
use crate::system::{Command, System};

/// `BPF_MAP_TYPE_ARRAY`.
pub(crate) const ARRAY: u32 = 2;
/// Bytes of `struct bpf_map_info` up to `hash_size`, included.
const INFO_LEN: usize = 104;

/// What a map is to be. The kernel checks it.
#[derive(Debug, Clone, Default)]
pub struct MapSpec<'a> {
    /// `BPF_MAP_TYPE_*`.
    pub map_type: u32,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value.
    pub value_size: u32,
    /// Count of entries.
    pub max_entries: u32,
    /// `BPF_F_*`.
    pub flags: u32,
    /// Name, cut to 15 bytes.
    pub name: &'a str,
    /// For a map of maps: one like those that it is to hold.
    pub inner_map: Option<&'a Map>,
    /// Digest of the program that alone may use the map. Needs Linux 6.18.
    pub excl_prog_hash: Option<&'a [u8]>,
}

/// What the kernel says of a map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapInfo {
    /// `BPF_MAP_TYPE_*`.
    pub map_type: u32,
    /// Its number in this kernel.
    pub id: u32,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value.
    pub value_size: u32,
    /// Count of entries.
    pub max_entries: u32,
    /// `BPF_F_*`.
    pub flags: u32,
    /// Name.
    pub name: String,
}

/// A map that is held by its descriptor.
#[derive(Debug)]
pub struct Map {
    fd: OwnedFd,
    /// Kept, so that no call is given too small a buffer.
    key_size: usize,
    value_size: usize,
    /// Bytes of what a lookup writes: the values of all CPUs, where each has its own.
    room: usize,
    max_entries: usize,
    name: String,
}

/// Takes a descriptor that a call has just returned.
pub(crate) fn owned_fd(fd: i64) -> OwnedFd {
    // A descriptor fits; one that does not would be refused by every call.
    let fd = RawFd::try_from(fd).unwrap_or(-1);
    // SAFETY: the kernel has just made the descriptor for us, and nobody else has it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

impl Map {
    /// `BPF_MAP_CREATE`.
    ///
    /// # Errors
    /// `EINVAL` for a digest of another size than 32, or what the type of map does not take.
    pub fn create(system: &dyn System, spec: &MapSpec<'_>) -> Result<Self, SyscallError> {
        // Without a digest the call is the one of older kernels.
        let len = if spec.excl_prog_hash.is_some() {
            92
        } else {
            72
        };
        let mut attr = Attr::new(len);
        attr.put_u32(0, spec.map_type)
            .put_u32(4, spec.key_size)
            .put_u32(8, spec.value_size)
            .put_u32(12, spec.max_entries)
            .put_u32(16, spec.flags)
            .put_name(28, spec.name);
        if let Some(inner) = spec.inner_map {
            attr.put_fd(20, inner.as_fd().as_raw_fd());
        }
        if let Some(hash) = spec.excl_prog_hash {
            attr.put_any_bytes(80, hash)
                .put_u32(88, u32::try_from(hash.len()).unwrap_or(u32::MAX));
        }
        let fd = system
            .bpf(Command::MapCreate, &mut attr)
            .map_err(|errno| Self::error_of(Command::MapCreate, spec.name, errno))?;
        Ok(Self {
            fd: owned_fd(fd),
            key_size: spec.key_size as usize,
            value_size: spec.value_size as usize,
            room: room(spec.map_type, spec.value_size)?,
            max_entries: spec.max_entries as usize,
            name: spec.name.to_owned(),
        })
    }

    /// `BPF_OBJ_GET`: a map that was pinned in bpffs.
    ///
    /// # Errors
    /// `ENOENT` when there is none, `EINVAL` when it is something else than a map.
    pub fn pinned(system: &dyn System, path: &Path) -> Result<Self, SyscallError> {
        Self::from_fd(system, crate::pin::get(system, path)?)
    }

    /// Takes over a descriptor of a map.
    ///
    /// # Errors
    /// When it is none.
    pub fn from_fd(system: &dyn System, fd: OwnedFd) -> Result<Self, SyscallError> {
        let info = info(system, fd.as_fd(), "descriptor")?;
        Ok(Self {
            fd,
            key_size: info.key_size as usize,
            value_size: info.value_size as usize,
            room: room(info.map_type, info.value_size)?,
            max_entries: info.max_entries as usize,
            name: info.name,
        })
    }

    fn error_of(command: Command, name: &str, errno: i32) -> SyscallError {
        SyscallError::new(command.name(), format!("map `{name}`"), errno)
    }

    fn error(&self, command: Command, errno: i32) -> SyscallError {
        Self::error_of(command, &self.name, errno)
    }

    /// `BPF_MAP_UPDATE_ELEM`. Where each CPU has its own value, `value` is all of them, each
    /// padded to 8 bytes.
    ///
    /// # Errors
    /// `EPERM` for a frozen map; `EINVAL` when key or value are of another size.
    pub fn update(
        &self,
        system: &dyn System,
        key: &[u8],
        value: &[u8],
        flags: u64,
    ) -> Result<(), SyscallError> {
        if key.len() != self.key_size || value.len() != self.room {
            return Err(self.error(Command::MapUpdateElem, libc::EINVAL));
        }
        let mut attr = Attr::new(32);
        attr.put_fd(0, self.fd.as_raw_fd())
            .put_bytes(8, key)
            .put_bytes(16, value)
            .put_u64(24, flags);
        system
            .bpf(Command::MapUpdateElem, &mut attr)
            .map(drop)
            .map_err(|errno| self.error(Command::MapUpdateElem, errno))
    }

    /// `BPF_MAP_LOOKUP_ELEM`. Where each CPU has its own value, all of them come back, each padded
    /// to 8 bytes.
    ///
    /// # Errors
    /// `ENOENT` when there is no such key; `EINVAL` for a key of another size.
    pub fn lookup(&self, system: &dyn System, key: &[u8]) -> Result<Vec<u8>, SyscallError> {
        self.read(system, Command::MapLookupElem, key)
    }

    /// `BPF_MAP_LOOKUP_AND_DELETE_ELEM`: takes a value out of a hash, queue or stack.
    ///
    /// # Errors
    /// `ENOENT` when there is none; `EINVAL` for a key of another size.
    pub fn take(&self, system: &dyn System, key: &[u8]) -> Result<Vec<u8>, SyscallError> {
        self.read(system, Command::MapLookupAndDeleteElem, key)
    }

    fn read(
        &self,
        system: &dyn System,
        command: Command,
        key: &[u8],
    ) -> Result<Vec<u8>, SyscallError> {
        if key.len() != self.key_size {
            return Err(self.error(command, libc::EINVAL));
        }
        let mut value = vec![0; self.room];
        let mut attr = Attr::new(32);
        attr.put_fd(0, self.fd.as_raw_fd())
            .put_bytes(8, key)
            .put_buffer(16, &mut value);
        system
            .bpf(command, &mut attr)
            .map_err(|errno| self.error(command, errno))?;
        Ok(value)
    }

    /// `BPF_MAP_DELETE_ELEM`.
    ///
    /// # Errors
    /// `ENOENT` when there is no such key; `EINVAL` for a key of another size.
    pub fn delete(&self, system: &dyn System, key: &[u8]) -> Result<(), SyscallError> {
        if key.len() != self.key_size {
            return Err(self.error(Command::MapDeleteElem, libc::EINVAL));
        }
        let mut attr = Attr::new(32);
        attr.put_fd(0, self.fd.as_raw_fd()).put_bytes(8, key);
        system
            .bpf(Command::MapDeleteElem, &mut attr)
            .map(drop)
            .map_err(|errno| self.error(Command::MapDeleteElem, errno))
    }

    /// `BPF_MAP_GET_NEXT_KEY`: the key behind another one, or the first; `None` behind the last.
    ///
    /// # Errors
    /// `EINVAL` for a key of another size, or a map that has no order.
    pub fn next_key(
        &self,
        system: &dyn System,
        key: Option<&[u8]>,
    ) -> Result<Option<Vec<u8>>, SyscallError> {
        let error = |errno| self.error(Command::MapGetNextKey, errno);
        if key.is_some_and(|key| key.len() != self.key_size) {
            return Err(error(libc::EINVAL));
        }
        let mut next = vec![0; self.key_size];
        let mut attr = Attr::new(32);
        attr.put_fd(0, self.fd.as_raw_fd())
            .put_bytes(8, key.unwrap_or_default())
            .put_buffer(16, &mut next);
        match system.bpf(Command::MapGetNextKey, &mut attr) {
            Ok(_) => Ok(Some(next)),
            Err(libc::ENOENT) => Ok(None),
            Err(errno) => Err(error(errno)),
        }
    }

    /// `BPF_MAP_FREEZE`: no change from user space any more.
    ///
    /// # Errors
    /// `EBUSY` when it is frozen already, or mapped writable.
    pub fn freeze(&self, system: &dyn System) -> Result<(), SyscallError> {
        let mut attr = Attr::new(4);
        attr.put_fd(0, self.fd.as_raw_fd());
        system
            .bpf(Command::MapFreeze, &mut attr)
            .map(drop)
            .map_err(|errno| self.error(Command::MapFreeze, errno))
    }

    /// What the kernel says of it.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn info(&self, system: &dyn System) -> Result<MapInfo, SyscallError> {
        info(system, self.fd.as_fd(), &self.name)
    }

    /// SHA-256 over all values, computed by the kernel into a buffer of `size` bytes. Needs
    /// Linux 6.18.
    ///
    /// # Errors
    /// `EINVAL` for a map that is no array or a size other than 32; `EPERM` for one that is not
    /// frozen.
    pub fn hash(&self, system: &dyn System, size: u32) -> Result<Vec<u8>, SyscallError> {
        let mut hash = vec![0; size as usize];
        let mut buffer = [0; INFO_LEN];
        buffer[88..96].copy_from_slice(&(hash.as_mut_ptr() as u64).to_ne_bytes());
        buffer[96..100].copy_from_slice(&size.to_ne_bytes());
        get_info(system, self.fd.as_fd(), &mut buffer)
            .map_err(|errno| self.error(Command::ObjGetInfoByFd, errno))?;
        // `hash` lives until here: the kernel has written through its address.
        Ok(hash)
    }

    /// Maps the values of an array that was made with `BPF_F_MMAPABLE` into memory.
    ///
    /// # Errors
    /// `EPERM` when a frozen map is to be mapped writable.
    pub fn mmap(&self, system: &dyn System, writable: bool) -> Result<Mapping, SyscallError> {
        let len = self.value_size.next_multiple_of(8) * self.max_entries;
        system
            .mmap(self.fd.as_fd(), len, writable)
            .map_err(|errno| SyscallError::new("mmap", format!("map `{}`", self.name), errno))
    }
}

impl AsFd for Map {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<Map> for OwnedFd {
    fn from(map: Map) -> Self {
        map.fd
    }
}

/// Values of a map in memory, until it is dropped. They change while programs run, so there is no
/// access to them by reference.
#[derive(Debug)]
pub struct Mapping {
    address: *mut libc::c_void,
    len: usize,
    writable: bool,
}

// SAFETY: the memory is shared with the kernel already; every access is volatile, and no reference
// to it is ever given out.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps `len` bytes of what a descriptor stands for.
    pub(crate) fn new(fd: BorrowedFd<'_>, len: usize, writable: bool) -> Result<Self, i32> {
        let protection = if writable {
            libc::PROT_READ | libc::PROT_WRITE
        } else {
            libc::PROT_READ
        };
        // SAFETY: the kernel chooses the address, so no memory of ours is replaced.
        let address = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                protection,
                libc::MAP_SHARED,
                fd.as_raw_fd(),
                0,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(std::io::Error::last_os_error()
                .raw_os_error()
                .unwrap_or(libc::EIO));
        }
        Ok(Self {
            address,
            len,
            writable,
        })
    }

    /// Bytes of it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether it can be written.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.writable
    }

    /// A copy of all bytes as they are now.
    #[must_use]
    pub fn read(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len];
        let _whole = self.read_at(0, &mut bytes);
        bytes
    }

    /// Copies bytes out of it; whether they are inside. 1, 2, 4 or 8 bytes at an offset that is a
    /// multiple of their count are read at once, as a program writes them.
    #[must_use = "nothing is copied when the bytes are not inside"]
    pub fn read_at(&self, offset: usize, to: &mut [u8]) -> bool {
        let Some(from) = self.inside(offset, to.len()) else {
            return false;
        };
        // SAFETY (all): `inside` has checked the range; the mapping is readable and lives as long
        // as `self`; it starts at a page, so that offsets align addresses.
        match to.len() {
            2 if offset.is_multiple_of(2) => {
                // SAFETY: see above.
                let value = unsafe { from.cast::<u16>().read_volatile() };
                to.copy_from_slice(&value.to_ne_bytes());
            }
            4 if offset.is_multiple_of(4) => {
                // SAFETY: see above.
                let value = unsafe { from.cast::<u32>().read_volatile() };
                to.copy_from_slice(&value.to_ne_bytes());
            }
            8 if offset.is_multiple_of(8) => {
                // SAFETY: see above.
                let value = unsafe { from.cast::<u64>().read_volatile() };
                to.copy_from_slice(&value.to_ne_bytes());
            }
            _ => {
                for (at, byte) in to.iter_mut().enumerate() {
                    // SAFETY: see above.
                    *byte = unsafe { from.add(at).read_volatile() };
                }
            }
        }
        true
    }

    /// Copies bytes into it; whether they are inside, and it is writable. Written at once as they
    /// are read.
    #[must_use = "nothing is written when the bytes are not inside"]
    pub fn write_at(&self, offset: usize, bytes: &[u8]) -> bool {
        let Some(to) = self.inside(offset, bytes.len()).filter(|_| self.writable) else {
            return false;
        };
        // SAFETY (all): as for `read_at`, and the mapping is writable.
        match *bytes {
            [a, b] if offset.is_multiple_of(2) => {
                // SAFETY: see above.
                unsafe { to.cast::<u16>().write_volatile(u16::from_ne_bytes([a, b])) };
            }
            [a, b, c, d] if offset.is_multiple_of(4) => {
                let value = u32::from_ne_bytes([a, b, c, d]);
                // SAFETY: see above.
                unsafe { to.cast::<u32>().write_volatile(value) };
            }
            [a, b, c, d, e, f, g, h] if offset.is_multiple_of(8) => {
                let value = u64::from_ne_bytes([a, b, c, d, e, f, g, h]);
                // SAFETY: see above.
                unsafe { to.cast::<u64>().write_volatile(value) };
            }
            _ => {
                for (at, byte) in bytes.iter().enumerate() {
                    // SAFETY: see above.
                    unsafe { to.add(at).write_volatile(*byte) };
                }
            }
        }
        true
    }

    fn inside(&self, offset: usize, len: usize) -> Option<*mut u8> {
        let end = offset.checked_add(len)?;
        // SAFETY: not behind the end of the mapping.
        (end <= self.len).then(|| unsafe { self.address.cast::<u8>().add(offset) })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: address and length are those that `mmap` returned, and nothing borrows from it.
        unsafe { libc::munmap(self.address, self.len) };
    }
}

/// Types of maps in which each CPU has a value of its own.
const PER_CPU: [u32; 4] = [5, 6, 10, 21];

/// Bytes that a lookup of a map writes.
fn room(map_type: u32, value_size: u32) -> Result<usize, SyscallError> {
    let size = value_size as usize;
    if !PER_CPU.contains(&map_type) {
        return Ok(size);
    }
    let cpus = possible_cpus().ok_or_else(|| {
        SyscallError::new("read", "/sys/devices/system/cpu/possible", libc::ENOENT)
    })?;
    Ok(size.next_multiple_of(8) * cpus)
}

/// How many CPUs the kernel has places for. Read from sysfs: the C library counts CPUs that are
/// there.
fn possible_cpus() -> Option<usize> {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/possible").ok()?;
    let mut count = 0;
    for range in text.trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        count += last.checked_sub(first)? + 1;
    }
    Some(count)
}

pub(crate) fn get_info(
    system: &dyn System,
    fd: BorrowedFd<'_>,
    buffer: &mut [u8],
) -> Result<(), i32> {
    let len = u32::try_from(buffer.len()).unwrap_or(0);
    let mut attr = Attr::new(16);
    attr.put_fd(0, fd.as_raw_fd())
        .put_u32(4, len)
        .put_buffer(8, buffer);
    system.bpf(Command::ObjGetInfoByFd, &mut attr).map(drop)
}

fn info(system: &dyn System, fd: BorrowedFd<'_>, name: &str) -> Result<MapInfo, SyscallError> {
    let mut buffer = [0; INFO_LEN];
    get_info(system, fd, &mut buffer)
        .map_err(|errno| Map::error_of(Command::ObjGetInfoByFd, name, errno))?;
    let word = |at: usize| {
        u32::from_ne_bytes([buffer[at], buffer[at + 1], buffer[at + 2], buffer[at + 3]])
    };
    Ok(MapInfo {
        map_type: word(0),
        id: word(4),
        key_size: word(8),
        value_size: word(12),
        max_entries: word(16),
        flags: word(20),
        name: text(&buffer[24..40]),
    })
}

/// Text up to its NUL.
pub(crate) fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}
