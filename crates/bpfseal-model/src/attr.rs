//! Attributes of `bpf(2)` as they lie in memory, read field by field.
//!
//! Where the fields are is said by [`bpfseal_uapi::attr`]; which of them loaders set, and which a
//! load plan has, is said here. Fields past the end of what was given are zero, as the kernel takes
//! them.

use bpfseal_object::Endian;
use bpfseal_uapi::attr::{btf_load, link_create, map_create, map_elem, prog_load};
use bpfseal_uapi::{Command, Fd, Field, FieldInfo, FieldType, Pointer, Text, cmd};

/// Most bytes that are looked at: no command has more.
pub(crate) const MAX_LEN: usize = 192;

/// Fields by command, but for those of logs: whoever loads may ask for a log, and it changes
/// nothing of what is installed.
pub(crate) fn fields(command: Command) -> &'static [FieldInfo] {
    match command {
        cmd::MAP_CREATE => map_create::FIELDS,
        cmd::MAP_UPDATE_ELEM => MAP_UPDATE,
        cmd::PROG_LOAD => PROG_LOAD,
        cmd::BTF_LOAD => BTF_LOAD,
        cmd::MAP_FREEZE => MAP_FREEZE,
        cmd::LINK_CREATE => LINK_CREATE,
        _ => &[],
    }
}

const MAP_UPDATE: &[FieldInfo] = &[
    map_elem::MAP_FD.info(),
    map_elem::KEY.info(),
    map_elem::VALUE.info(),
    map_elem::FLAGS.info(),
];
const MAP_FREEZE: &[FieldInfo] = &[map_elem::MAP_FD.info()];
const LINK_CREATE: &[FieldInfo] = &[
    link_create::MAP_FD.info(),
    link_create::TARGET_FD.info(),
    link_create::ATTACH_TYPE.info(),
    link_create::FLAGS.info(),
];
const BTF_LOAD: &[FieldInfo] = &[btf_load::BTF.info(), btf_load::BTF_SIZE.info()];
const PROG_LOAD: &[FieldInfo] = &[
    prog_load::PROG_TYPE.info(),
    prog_load::INSN_CNT.info(),
    prog_load::INSNS.info(),
    prog_load::LICENSE.info(),
    prog_load::KERN_VERSION.info(),
    prog_load::PROG_FLAGS.info(),
    prog_load::PROG_NAME.info(),
    prog_load::PROG_IFINDEX.info(),
    prog_load::EXPECTED_ATTACH_TYPE.info(),
    prog_load::PROG_BTF_FD.info(),
    prog_load::FUNC_INFO_REC_SIZE.info(),
    prog_load::FUNC_INFO.info(),
    prog_load::FUNC_INFO_CNT.info(),
    prog_load::LINE_INFO_REC_SIZE.info(),
    prog_load::LINE_INFO.info(),
    prog_load::LINE_INFO_CNT.info(),
    prog_load::ATTACH_BTF_ID.info(),
    prog_load::ATTACH_BTF_OBJ_FD.info(),
    prog_load::CORE_RELO_CNT.info(),
    prog_load::FD_ARRAY.info(),
    prog_load::CORE_RELOS.info(),
    prog_load::CORE_RELO_REC_SIZE.info(),
    prog_load::PROG_TOKEN_FD.info(),
    prog_load::FD_ARRAY_CNT.info(),
    prog_load::SIGNATURE.info(),
    prog_load::SIGNATURE_SIZE.info(),
    prog_load::KEYRING_ID.info(),
];

/// Fields that no step of a load plan has: loaders leave them zero.
fn unplanned(command: Command) -> &'static [FieldInfo] {
    const MAP_CREATE: &[FieldInfo] = &[
        map_create::MAP_IFINDEX.info(),
        map_create::BTF_VMLINUX_VALUE_TYPE_ID.info(),
        map_create::VALUE_TYPE_BTF_OBJ_FD.info(),
        map_create::MAP_TOKEN_FD.info(),
        map_create::EXCL_PROG_HASH.info(),
        map_create::EXCL_PROG_HASH_SIZE.info(),
    ];
    const PROG_LOAD: &[FieldInfo] = &[
        prog_load::KERN_VERSION.info(),
        prog_load::PROG_IFINDEX.info(),
        prog_load::ATTACH_BTF_OBJ_FD.info(),
        prog_load::PROG_TOKEN_FD.info(),
        prog_load::FD_ARRAY_CNT.info(),
        prog_load::SIGNATURE.info(),
        prog_load::SIGNATURE_SIZE.info(),
        prog_load::KEYRING_ID.info(),
    ];
    match command {
        cmd::MAP_CREATE => MAP_CREATE,
        cmd::PROG_LOAD => PROG_LOAD,
        _ => &[],
    }
}

/// Where logs are asked for.
fn logs(command: Command) -> &'static [FieldInfo] {
    const PROG_LOAD: &[FieldInfo] = &[
        prog_load::LOG_LEVEL.info(),
        prog_load::LOG_SIZE.info(),
        prog_load::LOG_BUF.info(),
        prog_load::LOG_TRUE_SIZE.info(),
    ];
    const BTF_LOAD: &[FieldInfo] = &[
        btf_load::BTF_LOG_BUF.info(),
        btf_load::BTF_LOG_SIZE.info(),
        btf_load::BTF_LOG_LEVEL.info(),
        btf_load::BTF_LOG_TRUE_SIZE.info(),
    ];
    match command {
        cmd::PROG_LOAD => PROG_LOAD,
        cmd::BTF_LOAD => BTF_LOAD,
        _ => &[],
    }
}

/// Attributes of one call.
#[derive(Debug, Clone)]
pub(crate) struct Attr {
    bytes: [u8; MAX_LEN],
    endian: Endian,
    command: Command,
}

impl Attr {
    pub(crate) fn new(command: Command, given: &[u8], endian: Endian) -> Self {
        let mut bytes = [0; MAX_LEN];
        let len = given.len().min(MAX_LEN);
        bytes[..len].copy_from_slice(&given[..len]);
        Self {
            bytes,
            endian,
            command,
        }
    }

    fn raw<T: FieldType, const N: usize>(&self, field: Field<T>) -> [u8; N] {
        // Every field is of the size of its type, and none is behind `MAX_LEN`.
        let raw = self.bytes.get(field.range()).unwrap_or_default();
        raw.try_into().unwrap_or([0; N])
    }

    pub(crate) fn word(&self, field: Field<u32>) -> u32 {
        self.endian.u32(self.raw(field))
    }

    pub(crate) fn fd(&self, field: Field<Fd>) -> i32 {
        self.endian.u32(self.raw(field)).cast_signed()
    }

    pub(crate) fn wide(&self, field: Field<u64>) -> u64 {
        self.endian.u64(self.raw(field))
    }

    pub(crate) fn address(&self, field: Field<Pointer>) -> u64 {
        self.endian.u64(self.raw(field))
    }

    /// A name, up to its NUL.
    pub(crate) fn text<const N: usize>(&self, field: Field<Text<N>>) -> String {
        let raw: [u8; N] = self.raw(field);
        let len = raw.iter().position(|b| *b == 0).unwrap_or(N);
        String::from_utf8_lossy(&raw[..len]).into_owned()
    }

    /// What is set of what a load plan has no place for.
    pub(crate) fn set_beyond_plan(&self) -> Vec<&'static str> {
        let is_set = |field: &&FieldInfo| self.bytes[field.range()].iter().any(|byte| *byte != 0);
        let mut set: Vec<&'static str> = unplanned(self.command)
            .iter()
            .filter(is_set)
            .map(|field| field.name)
            .collect();
        let known = fields(self.command);
        let inside = |at: usize| {
            let mut all = known.iter().chain(logs(self.command));
            all.any(|field| field.range().contains(&at))
        };
        let beyond = |(at, byte): (usize, &u8)| *byte != 0 && !inside(at);
        if !known.is_empty() && self.bytes.iter().enumerate().any(beyond) {
            set.push("a field that loaders do not know");
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_in_order_and_do_not_overlap() {
        for entry in Command::ALL {
            let command = Command(entry.number);
            for pair in fields(command).windows(2) {
                assert!(pair[0].end() <= pair[1].offset, "{pair:?}");
            }
            let all = fields(command).iter().chain(logs(command));
            assert!(all.clone().all(|field| field.end() <= MAX_LEN));
            for field in unplanned(command) {
                assert!(fields(command).contains(field), "{}", field.name);
            }
        }
    }

    #[test]
    fn what_a_plan_has_no_place_for_is_named() {
        let mut bytes = [0; 168];
        assert!(
            Attr::new(cmd::PROG_LOAD, &bytes, Endian::Little)
                .set_beyond_plan()
                .is_empty()
        );
        bytes[prog_load::SIGNATURE_SIZE.offset()] = 1;
        // Of a log nothing is said.
        bytes[prog_load::LOG_TRUE_SIZE.offset()] = 1;
        let attr = Attr::new(cmd::PROG_LOAD, &bytes, Endian::Little);
        assert_eq!(attr.set_beyond_plan(), ["signature_size"]);
        let attr = Attr::new(cmd::MAP_FREEZE, &bytes, Endian::Little);
        assert_eq!(attr.set_beyond_plan(), ["a field that loaders do not know"]);
    }

    #[test]
    fn fields_are_read_in_either_byte_order() {
        let mut bytes = [0; 32];
        bytes[map_elem::FLAGS.range()].copy_from_slice(&16u64.to_be_bytes());
        bytes[map_elem::MAP_FD.range()].copy_from_slice(&(-1i32).to_be_bytes());
        let attr = Attr::new(cmd::MAP_UPDATE_ELEM, &bytes, Endian::Big);
        assert_eq!(
            (attr.wide(map_elem::FLAGS), attr.fd(map_elem::MAP_FD)),
            (16, -1)
        );
        assert_eq!(attr.address(map_elem::KEY), 0);
    }
}
