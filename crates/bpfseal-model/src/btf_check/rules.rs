//! What releases of Linux check differently.

use bpfseal_uapi::Version;

/// The rules of a release, as far as they changed since 6.12.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rules {
    /// Seven bits of kind and 24 of vlen instead of five and 16, all others zero; a third section
    /// of layouts, and a header that names it.
    pub(crate) wide: bool,
    /// `kind_flag` of declaration tags and type tags.
    pub(crate) tag_flags: bool,
    /// Type tags stand in front of other modifiers.
    pub(crate) tags_first: bool,
    /// Tags of a pointer are looked for behind all modifiers, and unknown ones passed over; before,
    /// there was one tag, known, right behind the pointer.
    pub(crate) tag_walk: bool,
    /// `bpf_res_spin_lock`.
    pub(crate) res_spin_lock: bool,
    /// Pointers of user space.
    pub(crate) uptr: bool,
    /// `bpf_task_work`.
    pub(crate) task_work: bool,
    /// Per-CPU arrays may have a section for their value and no type for their key.
    pub(crate) percpu_data: bool,
}

impl Rules {
    pub(crate) fn of(release: Version) -> Self {
        let since = |major, minor| release >= Version::new(major, minor, 0);
        Self {
            wide: since(7, 1),
            tag_flags: since(6, 15),
            tags_first: !since(7, 2),
            tag_walk: since(7, 2),
            res_spin_lock: since(6, 15),
            uptr: since(6, 13),
            task_work: since(6, 18),
            percpu_data: since(7, 3),
        }
    }

    /// Bytes of a header that the release knows.
    pub(crate) fn header_len(self) -> usize {
        if self.wide { 32 } else { 24 }
    }

    pub(crate) fn kind(self, info: u32) -> u32 {
        let mask = if self.wide { 0x7f } else { 0x1f };
        (info >> 24) & mask
    }

    pub(crate) fn vlen(self, info: u32) -> u32 {
        let mask = if self.wide { 0x00ff_ffff } else { 0xffff };
        info & mask
    }

    /// Bits of `info` that mean nothing.
    pub(crate) fn unknown_info(self, info: u32) -> bool {
        !self.wide && info & !0x9f00_ffff != 0
    }
}
