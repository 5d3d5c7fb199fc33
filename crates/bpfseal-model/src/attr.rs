//! Attributes of `bpf(2)` as they lie in memory, read field by field.
//!
//! Source: `union bpf_attr` of Linux 7.3. Fields past the end of what was given are zero, as the
//! kernel takes them.

use bpfseal_object::Endian;

/// Commands that loaders give.
pub(crate) mod command {
    pub(crate) const MAP_CREATE: i32 = 0;
    pub(crate) const MAP_UPDATE_ELEM: i32 = 2;
    pub(crate) const PROG_LOAD: i32 = 5;
    pub(crate) const BTF_LOAD: i32 = 18;
    pub(crate) const MAP_FREEZE: i32 = 22;
    pub(crate) const LINK_CREATE: i32 = 28;
}

/// Most bytes that are looked at: no command has more.
pub(crate) const MAX_LEN: usize = 192;

/// A field: its name, offset and size.
pub(crate) type Field = (&'static str, usize, usize);

/// Fields by command, but for those of logs: whoever loads may ask for a log, and it changes
/// nothing of what is installed.
pub(crate) fn fields(command: i32) -> &'static [Field] {
    match command {
        command::MAP_CREATE => MAP_CREATE,
        command::MAP_UPDATE_ELEM => MAP_UPDATE,
        command::PROG_LOAD => PROG_LOAD,
        command::BTF_LOAD => BTF_LOAD,
        command::MAP_FREEZE => MAP_FREEZE,
        command::LINK_CREATE => LINK_CREATE,
        _ => &[],
    }
}

const MAP_CREATE: &[Field] = &[
    ("map_type", 0, 4),
    ("key_size", 4, 4),
    ("value_size", 8, 4),
    ("max_entries", 12, 4),
    ("map_flags", 16, 4),
    ("inner_map_fd", 20, 4),
    ("numa_node", 24, 4),
    ("map_name", 28, 16),
    ("map_ifindex", 44, 4),
    ("btf_fd", 48, 4),
    ("btf_key_type_id", 52, 4),
    ("btf_value_type_id", 56, 4),
    ("btf_vmlinux_value_type_id", 60, 4),
    ("map_extra", 64, 8),
    ("value_type_btf_obj_fd", 72, 4),
    ("map_token_fd", 76, 4),
    ("excl_prog_hash", 80, 8),
    ("excl_prog_hash_size", 88, 4),
];
const MAP_UPDATE: &[Field] = &[
    ("map_fd", 0, 4),
    ("key", 8, 8),
    ("value", 16, 8),
    ("flags", 24, 8),
];
const MAP_FREEZE: &[Field] = &[("map_fd", 0, 4)];
const LINK_CREATE: &[Field] = &[
    ("map_fd", 0, 4),
    ("target_fd", 4, 4),
    ("attach_type", 8, 4),
    ("flags", 12, 4),
];
const BTF_LOAD: &[Field] = &[("btf", 0, 8), ("btf_size", 16, 4)];
const PROG_LOAD: &[Field] = &[
    ("prog_type", 0, 4),
    ("insn_cnt", 4, 4),
    ("insns", 8, 8),
    ("license", 16, 8),
    ("kern_version", 40, 4),
    ("prog_flags", 44, 4),
    ("prog_name", 48, 16),
    ("prog_ifindex", 64, 4),
    ("expected_attach_type", 68, 4),
    ("prog_btf_fd", 72, 4),
    ("func_info_rec_size", 76, 4),
    ("func_info", 80, 8),
    ("func_info_cnt", 88, 4),
    ("line_info_rec_size", 92, 4),
    ("line_info", 96, 8),
    ("line_info_cnt", 104, 4),
    ("attach_btf_id", 108, 4),
    ("attach_btf_obj_fd", 112, 4),
    ("core_relo_cnt", 116, 4),
    ("fd_array", 120, 8),
    ("core_relos", 128, 8),
    ("core_relo_rec_size", 136, 4),
    ("prog_token_fd", 144, 4),
    ("fd_array_cnt", 148, 4),
    ("signature", 152, 8),
    ("signature_size", 160, 4),
    ("keyring_id", 164, 4),
];

/// Fields that no step of a load plan has: loaders leave them zero.
fn unplanned(command: i32) -> &'static [&'static str] {
    match command {
        command::MAP_CREATE => &[
            "map_ifindex",
            "btf_vmlinux_value_type_id",
            "value_type_btf_obj_fd",
            "map_token_fd",
            "excl_prog_hash",
            "excl_prog_hash_size",
        ],
        command::PROG_LOAD => &[
            "kern_version",
            "prog_ifindex",
            "attach_btf_obj_fd",
            "prog_token_fd",
            "fd_array_cnt",
            "signature",
            "signature_size",
            "keyring_id",
        ],
        _ => &[],
    }
}

/// Where logs are asked for, offset and size.
fn logs(command: i32) -> &'static [(usize, usize)] {
    match command {
        command::PROG_LOAD => &[(24, 16), (140, 4)],
        command::BTF_LOAD => &[(8, 8), (20, 12)],
        _ => &[],
    }
}

/// Attributes of one call.
#[derive(Debug, Clone)]
pub(crate) struct Attr {
    bytes: [u8; MAX_LEN],
    endian: Endian,
    fields: &'static [Field],
}

impl Attr {
    pub(crate) fn new(command: i32, given: &[u8], endian: Endian) -> Self {
        let mut bytes = [0; MAX_LEN];
        let len = given.len().min(MAX_LEN);
        bytes[..len].copy_from_slice(&given[..len]);
        Self {
            bytes,
            endian,
            fields: fields(command),
        }
    }

    /// Offset and size; of a name that the command has not, nothing.
    fn place(&self, name: &str) -> (usize, usize) {
        let found = self.fields.iter().find(|field| field.0 == name);
        debug_assert!(found.is_some(), "no field {name}");
        found.map_or((0, 0), |field| (field.1, field.2))
    }

    pub(crate) fn raw(&self, name: &str) -> &[u8] {
        let (at, len) = self.place(name);
        &self.bytes[at..at + len]
    }

    pub(crate) fn word(&self, name: &str) -> u32 {
        match *self.raw(name) {
            [a, b, c, d] => self.endian.u32([a, b, c, d]),
            _ => 0,
        }
    }

    pub(crate) fn fd(&self, name: &str) -> i32 {
        self.word(name).cast_signed()
    }

    pub(crate) fn wide(&self, name: &str) -> u64 {
        match *self.raw(name) {
            [a, b, c, d, e, f, g, h] => match self.endian {
                Endian::Little => u64::from_le_bytes([a, b, c, d, e, f, g, h]),
                Endian::Big => u64::from_be_bytes([a, b, c, d, e, f, g, h]),
            },
            _ => 0,
        }
    }

    /// What is set of what a load plan has no place for.
    pub(crate) fn set_beyond_plan(&self, command: i32) -> Vec<&'static str> {
        let mut set: Vec<&'static str> = unplanned(command)
            .iter()
            .copied()
            .filter(|name| self.raw(name).iter().any(|byte| *byte != 0))
            .collect();
        let known = self.fields.iter().map(|(_, at, len)| (*at, *len));
        let known: Vec<_> = known.chain(logs(command).iter().copied()).collect();
        let inside = |at: usize| {
            known
                .iter()
                .any(|(from, len)| (*from..from + len).contains(&at))
        };
        let beyond = |(at, byte): (usize, &u8)| *byte != 0 && !inside(at);
        if !self.fields.is_empty() && self.bytes.iter().enumerate().any(beyond) {
            set.push("a field that loaders do not know");
        }
        set
    }

    /// A name, up to its NUL.
    pub(crate) fn text(&self, name: &str) -> String {
        let raw = self.raw(name);
        let len = raw.iter().position(|b| *b == 0).unwrap_or(raw.len());
        String::from_utf8_lossy(&raw[..len]).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_in_order_and_do_not_overlap() {
        for command in 0..40 {
            for pair in fields(command).windows(2) {
                assert!(pair[0].1 + pair[0].2 <= pair[1].1, "{pair:?}");
            }
            assert!(fields(command).iter().all(|f| f.1 + f.2 <= MAX_LEN));
        }
    }
}
