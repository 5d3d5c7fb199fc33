//! What some of the kernel's types and commands are: which of them hold maps, have a value for each
//! CPU, or return descriptors.

use crate::{Command, MapType, ProgType, cmd, map, prog};

impl Command {
    /// Whether the command returns a new descriptor.
    #[must_use]
    pub const fn makes_descriptor(self) -> bool {
        matches!(
            self,
            cmd::MAP_CREATE
                | cmd::PROG_LOAD
                | cmd::OBJ_GET
                | cmd::PROG_GET_FD_BY_ID
                | cmd::MAP_GET_FD_BY_ID
                | cmd::BTF_GET_FD_BY_ID
                | cmd::LINK_GET_FD_BY_ID
                | cmd::RAW_TRACEPOINT_OPEN
                | cmd::BTF_LOAD
                | cmd::LINK_CREATE
                | cmd::ENABLE_STATS
                | cmd::ITER_CREATE
                | cmd::TOKEN_CREATE
        )
    }
}

impl Default for MapType {
    /// `BPF_MAP_TYPE_UNSPEC`.
    fn default() -> Self {
        map::UNSPEC
    }
}

impl Default for ProgType {
    /// `BPF_PROG_TYPE_UNSPEC`.
    fn default() -> Self {
        prog::UNSPEC
    }
}

impl MapType {
    /// Whether each CPU has its own value. A look-up from user space returns all of them.
    #[must_use]
    pub const fn is_per_cpu(self) -> bool {
        matches!(
            self,
            map::PERCPU_HASH
                | map::PERCPU_ARRAY
                | map::LRU_PERCPU_HASH
                | map::PERCPU_CGROUP_STORAGE
        )
    }

    /// Whether the values are maps.
    #[must_use]
    pub const fn holds_maps(self) -> bool {
        matches!(self, map::ARRAY_OF_MAPS | map::HASH_OF_MAPS)
    }
}
