//! Maps: made, filled, frozen, read, and what the kernel says of them.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use bpfseal_uapi::attr::{map_create, map_elem};
use bpfseal_uapi::{Command, Errno, MapType, cmd, info};

use crate::attr::Attr;
use crate::btf::Btf;
use crate::error::SyscallError;
use crate::get_info::get_info;
use crate::mapping::Mapping;
use crate::running::{self, Sizes, possible_cpus};
use crate::system::{System, make};
use crate::text::{text, word};

/// Bytes of `struct bpf_map_info`, which is aligned.
const INFO_LEN: usize = info::map::LEN.next_multiple_of(8);

/// What a map is to be. The kernel checks it.
#[derive(Debug, Clone, Default)]
pub struct MapSpec<'a> {
    /// Type.
    pub map_type: MapType,
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
    /// `map_extra`, whose meaning depends on the type.
    pub extra: u64,
    /// NUMA node, for `BPF_F_NUMA_NODE`.
    pub numa_node: u32,
    /// Type information, and in it the types of key and value; 0 for none.
    pub types: Option<(&'a Btf, u32, u32)>,
}

/// What the kernel says of a map.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MapInfo {
    /// Type.
    pub map_type: MapType,
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
    key_size: usize,
    value_size: usize,
    /// Bytes that a look-up writes: the values of all CPUs for per-CPU maps.
    room: usize,
    max_entries: usize,
    /// Whether the running kernel reported these sizes for this descriptor, so that buffers of these
    /// sizes are large enough. Otherwise they come from a test double.
    real_sizes: bool,
    name: String,
}

impl Map {
    /// `BPF_MAP_CREATE`.
    ///
    /// # Errors
    /// `EINVAL` for a digest of another size than 32, or what the type of map does not take.
    pub fn create(system: &dyn System, spec: &MapSpec<'_>) -> Result<Self, SyscallError> {
        use map_create as at;
        // Without a digest the call is the one of older kernels.
        let len = match spec.excl_prog_hash {
            Some(_) => at::EXCL_PROG_HASH_SIZE.end(),
            None => at::MAP_EXTRA.end(),
        };
        let mut attr = Attr::new(cmd::MAP_CREATE, len);
        attr.put_u32(at::MAP_TYPE, spec.map_type.0)
            .put_u32(at::KEY_SIZE, spec.key_size)
            .put_u32(at::VALUE_SIZE, spec.value_size)
            .put_u32(at::MAX_ENTRIES, spec.max_entries)
            .put_u32(at::MAP_FLAGS, spec.flags)
            .put_name(at::MAP_NAME, spec.name);
        attr.put_u64(at::MAP_EXTRA, spec.extra)
            .put_u32(at::NUMA_NODE, spec.numa_node);
        if let Some((btf, key, value)) = spec.types {
            attr.put_fd(at::BTF_FD, btf.as_fd())
                .put_u32(at::BTF_KEY_TYPE_ID, key)
                .put_u32(at::BTF_VALUE_TYPE_ID, value);
        }
        if let Some(inner) = spec.inner_map {
            attr.put_fd(at::INNER_MAP_FD, inner.as_fd());
        }
        if let Some(hash) = spec.excl_prog_hash {
            let size = u32::try_from(hash.len()).unwrap_or(u32::MAX);
            attr.put_any_bytes(at::EXCL_PROG_HASH, hash)
                .put_u32(at::EXCL_PROG_HASH_SIZE, size);
        }
        let fd = make(system, &mut attr)
            .map_err(|errno| Self::error_of(cmd::MAP_CREATE, spec.name, errno))?;
        let sizes = Sizes {
            map_type: spec.map_type,
            key_size: spec.key_size,
            value_size: spec.value_size,
            max_entries: spec.max_entries,
        };
        Self::new(fd, sizes, spec.name.to_owned())
    }

    /// A map with the given sizes, unless the running kernel reports others.
    fn new(fd: OwnedFd, said: Sizes, name: String) -> Result<Self, SyscallError> {
        let real = running::sizes(fd.as_fd());
        let sizes = real.unwrap_or(said);
        let value_size = sizes.value_size as usize;
        Ok(Self {
            fd,
            key_size: sizes.key_size as usize,
            value_size,
            room: room(sizes.map_type, value_size)?,
            max_entries: sizes.max_entries as usize,
            real_sizes: real.is_ok(),
            name,
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
        let sizes = Sizes {
            map_type: info.map_type,
            key_size: info.key_size,
            value_size: info.value_size,
            max_entries: info.max_entries,
        };
        Self::new(fd, sizes, info.name)
    }

    fn error_of(command: Command, name: &str, errno: Errno) -> SyscallError {
        SyscallError::new(command.call(), format!("map `{name}`"), errno)
    }

    fn error(&self, command: Command, errno: Errno) -> SyscallError {
        Self::error_of(command, &self.name, errno)
    }

    /// Attributes of a call about an element.
    fn attr<'a>(&self, command: Command) -> Attr<'a> {
        let attr = Attr::new(command, map_elem::LEN);
        let mut attr = attr.with_real_sizes(self.real_sizes);
        attr.put_fd(map_elem::MAP_FD, self.fd.as_fd());
        attr
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
            return Err(self.error(cmd::MAP_UPDATE_ELEM, Errno::EINVAL));
        }
        let mut attr = self.attr(cmd::MAP_UPDATE_ELEM);
        attr.put_bytes(map_elem::KEY, key)
            .put_bytes(map_elem::VALUE, value)
            .put_u64(map_elem::FLAGS, flags);
        system
            .bpf(&mut attr)
            .map(drop)
            .map_err(|errno| self.error(cmd::MAP_UPDATE_ELEM, errno))
    }

    /// `BPF_MAP_LOOKUP_ELEM`. Where each CPU has its own value, all of them come back, each padded
    /// to 8 bytes.
    ///
    /// # Errors
    /// `ENOENT` when there is no such key; `EINVAL` for a key of another size.
    pub fn lookup(&self, system: &dyn System, key: &[u8]) -> Result<Vec<u8>, SyscallError> {
        self.read(system, cmd::MAP_LOOKUP_ELEM, key)
    }

    /// `BPF_MAP_LOOKUP_AND_DELETE_ELEM`: takes a value out of a hash, queue or stack.
    ///
    /// # Errors
    /// `ENOENT` when there is none; `EINVAL` for a key of another size.
    pub fn take(&self, system: &dyn System, key: &[u8]) -> Result<Vec<u8>, SyscallError> {
        self.read(system, cmd::MAP_LOOKUP_AND_DELETE_ELEM, key)
    }

    fn read(
        &self,
        system: &dyn System,
        command: Command,
        key: &[u8],
    ) -> Result<Vec<u8>, SyscallError> {
        if key.len() != self.key_size {
            return Err(self.error(command, Errno::EINVAL));
        }
        let mut value = vec![0; self.room];
        let mut attr = self.attr(command);
        attr.put_bytes(map_elem::KEY, key)
            .put_buffer(map_elem::VALUE, &mut value);
        system
            .bpf(&mut attr)
            .map_err(|errno| self.error(command, errno))?;
        Ok(value)
    }

    /// `BPF_MAP_DELETE_ELEM`.
    ///
    /// # Errors
    /// `ENOENT` when there is no such key; `EINVAL` for a key of another size.
    pub fn delete(&self, system: &dyn System, key: &[u8]) -> Result<(), SyscallError> {
        if key.len() != self.key_size {
            return Err(self.error(cmd::MAP_DELETE_ELEM, Errno::EINVAL));
        }
        let mut attr = self.attr(cmd::MAP_DELETE_ELEM);
        attr.put_bytes(map_elem::KEY, key);
        system
            .bpf(&mut attr)
            .map(drop)
            .map_err(|errno| self.error(cmd::MAP_DELETE_ELEM, errno))
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
        let error = |errno| self.error(cmd::MAP_GET_NEXT_KEY, errno);
        if key.is_some_and(|key| key.len() != self.key_size) {
            return Err(error(Errno::EINVAL));
        }
        let mut next = vec![0; self.key_size];
        let mut attr = self.attr(cmd::MAP_GET_NEXT_KEY);
        attr.put_bytes(map_elem::KEY, key.unwrap_or_default())
            .put_buffer(map_elem::NEXT_KEY, &mut next);
        match system.bpf(&mut attr) {
            Ok(_) => Ok(Some(next)),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(error(errno)),
        }
    }

    /// `BPF_MAP_FREEZE`: no change from user space any more.
    ///
    /// # Errors
    /// `EBUSY` when it is frozen already, or mapped writable.
    pub fn freeze(&self, system: &dyn System) -> Result<(), SyscallError> {
        let mut attr = Attr::new(cmd::MAP_FREEZE, map_elem::MAP_FD.end());
        attr.put_fd(map_elem::MAP_FD, self.fd.as_fd());
        system
            .bpf(&mut attr)
            .map(drop)
            .map_err(|errno| self.error(cmd::MAP_FREEZE, errno))
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
        let mut hash: Vec<u8> = vec![0; size as usize];
        let mut buffer = [0; INFO_LEN];
        let address = hash.as_mut_ptr() as u64;
        buffer[info::map::HASH.range()].copy_from_slice(&address.to_ne_bytes());
        buffer[info::map::HASH_SIZE.range()].copy_from_slice(&size.to_ne_bytes());
        get_info(system, self.fd.as_fd(), &mut buffer)
            .map_err(|errno| self.error(cmd::OBJ_GET_INFO_BY_FD, errno))?;
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

/// Bytes that a look-up writes: the values of all CPUs for per-CPU maps.
fn room(map_type: MapType, value_size: usize) -> Result<usize, SyscallError> {
    if !map_type.is_per_cpu() {
        return Ok(value_size);
    }
    let cpus = possible_cpus()
        .map_err(|errno| SyscallError::new("read", "/sys/devices/system/cpu/possible", errno))?;
    Ok(value_size.next_multiple_of(8).saturating_mul(cpus))
}

fn info(system: &dyn System, fd: BorrowedFd<'_>, name: &str) -> Result<MapInfo, SyscallError> {
    use info::map as at;
    let mut buffer = [0; INFO_LEN];
    get_info(system, fd, &mut buffer)
        .map_err(|errno| Map::error_of(cmd::OBJ_GET_INFO_BY_FD, name, errno))?;
    Ok(MapInfo {
        map_type: MapType(word(&buffer, at::TYPE)),
        id: word(&buffer, at::ID),
        key_size: word(&buffer, at::KEY_SIZE),
        value_size: word(&buffer, at::VALUE_SIZE),
        max_entries: word(&buffer, at::MAX_ENTRIES),
        flags: word(&buffer, at::MAP_FLAGS),
        name: text(&buffer[at::NAME.range()]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Left, Linux};
    use bpfseal_uapi::map as types;

    /// The running kernel, except that it says nothing about its objects.
    struct Silent;

    impl System for Silent {
        fn bpf(&self, attr: &mut Attr<'_>) -> Result<Option<OwnedFd>, Errno> {
            if attr.command() == cmd::OBJ_GET_INFO_BY_FD {
                return Ok(None);
            }
            Linux.bpf(attr)
        }

        fn adopt(&self, left: Left) -> Result<OwnedFd, Errno> {
            Linux.adopt(left)
        }
    }

    /// A map of the running kernel, where this process may make one.
    fn map(map_type: MapType) -> Option<Map> {
        let made = Map::create(
            &Linux,
            &MapSpec {
                map_type,
                key_size: 4,
                value_size: 12,
                max_entries: 1,
                name: "sizes",
                ..MapSpec::default()
            },
        );
        match made {
            Ok(map) => Some(map),
            Err(error) if matches!(error.errno, Errno::EPERM | Errno::ENOSYS) => {
                eprintln!("skipped: {error}");
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn sizes_are_the_running_kernels() {
        for map_type in [types::ARRAY, types::PERCPU_ARRAY] {
            let Some(map) = map(map_type) else { return };
            let honest = map.lookup(&Linux, &[0; 4]).unwrap();
            // As if it had keys and values of no bytes, and one CPU.
            let map = Map::from_fd(&Silent, map.into()).unwrap();
            assert_eq!(map.lookup(&Linux, &[0; 4]).unwrap(), honest);
            assert_eq!(map.lookup(&Silent, &[0; 4]).unwrap().len(), honest.len());
            assert_eq!(map.next_key(&Linux, None).unwrap(), Some(vec![0; 4]));
            let wrong = map.lookup(&Linux, &[]).unwrap_err();
            assert_eq!(wrong.errno, Errno::EINVAL);
        }
    }

    #[test]
    fn what_is_no_map_of_the_kernel_does_not_get_there() {
        let file = std::fs::File::open("/dev/null").unwrap();
        let map = Map::from_fd(&Silent, file.into()).unwrap();
        let error = map.lookup(&Linux, &[]).unwrap_err();
        assert_eq!(error.errno, Errno::EINVAL);
    }

    #[test]
    fn only_what_was_made_since_is_adopted() {
        use crate::running::{Kind, adopt, id};
        use std::os::fd::{AsRawFd as _, IntoRawFd as _};
        let (Some(first), Some(second)) = (map(types::ARRAY), map(types::HASH)) else {
            return;
        };
        let (old, new) = (id(first.as_fd()).unwrap(), id(second.as_fd()).unwrap());
        // Older than, or the same as, what was made before the run.
        let number = first.as_fd().as_raw_fd();
        assert_eq!(adopt(number, Kind::Map, new).unwrap_err(), Errno::EBADF);
        assert_eq!(adopt(number, Kind::Map, old).unwrap_err(), Errno::EBADF);
        // Of another kind.
        let number = second.as_fd().as_raw_fd();
        assert_eq!(
            adopt(number, Kind::Program, old).unwrap_err(),
            Errno::EINVAL
        );
        assert!(second.info(&Linux).is_ok(), "it is still open");
        // As a loader leaves it.
        let number = OwnedFd::from(second).into_raw_fd();
        let adopted = adopt(number, Kind::Map, old).unwrap();
        assert_eq!(adopted.as_raw_fd(), number);
    }
}
