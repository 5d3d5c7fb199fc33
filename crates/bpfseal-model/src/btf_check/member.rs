//! Whether a member fits into its struct, by the kind of its type (`check_member`,
//! `check_kflag_member`).

use bpfseal_uapi::btf_kind;

use super::refused::BtfRefused;
use super::types::{Member, Type, Types};

const MAX_COPIED_BITS: u32 = 128;
/// Bits of an enumeration in a struct with bit-fields, whatever its size.
const ENUM_BITS: u32 = 32;

/// A member of a struct, whose own types are known by now.
pub(super) struct InStruct<'a> {
    pub(super) types: &'a Types,
    /// Number of the struct.
    pub(super) id: u32,
    pub(super) of: Type,
    /// Number of the member, from 0.
    pub(super) index: u32,
}

impl InStruct<'_> {
    pub(super) fn check(&self) -> Result<(), BtfRefused> {
        let member = self.types.member(self.of, self.index);
        let Some(kind) = self.types.get(member.type_id) else {
            return self.fail(member, "Invalid member");
        };
        if !kind.is_modifier() {
            return self.by_kind(member, kind);
        }
        let Some((id, kind, _)) = self.types.sized(member.type_id) else {
            return self.fail(member, "Invalid member");
        };
        let member = Member {
            type_id: id,
            ..member
        };
        self.by_kind(member, kind)
    }

    fn fail(&self, member: Member, what: &str) -> Result<(), BtfRefused> {
        let member = (self.index, member);
        let types = self.types;
        Err(types.refuse_as_member(self.id, self.of, member, what))
    }

    fn by_kind(&self, member: Member, kind: Type) -> Result<(), BtfRefused> {
        match (kind.kind, self.of.flag) {
            (btf_kind::INT, false) => self.int(member, kind),
            (btf_kind::INT, true) => self.int_field(member, kind),
            (btf_kind::ENUM | btf_kind::ENUM64, true) => self.enum_field(member),
            (btf_kind::ENUM | btf_kind::ENUM64, false) => self.bytes(member, kind.word),
            (
                btf_kind::PTR
                | btf_kind::ARRAY
                | btf_kind::STRUCT
                | btf_kind::UNION
                | btf_kind::FLOAT,
                flag,
            ) => {
                if flag && member.offset >> 24 != 0 {
                    return self.fail(member, "Invalid member bitfield_size");
                }
                match kind.kind {
                    btf_kind::PTR => self.bytes(member, 8),
                    btf_kind::ARRAY => {
                        let size = self.types.sized(member.type_id);
                        self.bytes(member, size.map_or(0, |(_, _, size)| size))
                    }
                    btf_kind::FLOAT => self.float(member, kind),
                    _ => self.bytes(member, kind.word),
                }
            }
            (_, flag) => {
                let what = match flag {
                    true => "Unsupported check_kflag_member",
                    false => "Unsupported check_member",
                };
                Err(self.types.refuse_basic(self.id, self.of, what))
            }
        }
    }

    /// Whole bytes.
    fn bytes(&self, member: Member, size: u32) -> Result<(), BtfRefused> {
        if !member.offset.is_multiple_of(8) {
            return self.fail(member, "Member is not byte aligned");
        }
        // That the offset is inside was seen before.
        if self.of.word.wrapping_sub(member.offset / 8) < size {
            return self.fail(member, "Member exceeds struct_size");
        }
        Ok(())
    }

    fn float(&self, member: Member, kind: Type) -> Result<(), BtfRefused> {
        let align = 8 * kind.word.min(8);
        if !member.offset.is_multiple_of(align) {
            return self.fail(member, "Member is not properly aligned");
        }
        let end = u64::from(member.offset / 8) + u64::from(kind.word);
        if end > u64::from(self.of.word) {
            return self.fail(member, "Member exceeds struct_size");
        }
        Ok(())
    }

    /// Some bits, from an offset.
    fn bits(&self, member: Member, offset: u32, bits: u32) -> Result<(), BtfRefused> {
        let begin = offset / 8;
        let copied = bits + offset % 8;
        if copied > MAX_COPIED_BITS {
            return self.fail(member, "nr_copy_bits exceeds 128");
        }
        let size = self.of.word;
        if size < begin || size - begin < copied.div_ceil(8) {
            return self.fail(member, "Member exceeds struct_size");
        }
        Ok(())
    }

    fn int(&self, member: Member, kind: Type) -> Result<(), BtfRefused> {
        let data = self.types.extra(kind, 0);
        let Some(offset) = member.offset.checked_add((data >> 16) & 0xff) else {
            return self.fail(member, "bits_offset exceeds U32_MAX");
        };
        self.bits(member, offset, data & 0xff)
    }

    fn int_field(&self, member: Member, kind: Type) -> Result<(), BtfRefused> {
        if !self.types.is_regular_int(kind, None) {
            return self.fail(member, "Invalid member base type");
        }
        let offset = Types::bit_offset(self.of, member);
        let most = self.types.extra(kind, 0) & 0xff;
        let bits = match member.offset >> 24 {
            0 if !offset.is_multiple_of(8) => return self.fail(member, "Invalid member offset"),
            0 => most,
            bits if bits > most => return self.fail(member, "Invalid member bitfield_size"),
            bits => bits,
        };
        self.bits(member, offset, bits)
    }

    fn enum_field(&self, member: Member) -> Result<(), BtfRefused> {
        let offset = Types::bit_offset(self.of, member);
        let bits = match member.offset >> 24 {
            0 if !offset.is_multiple_of(8) => {
                return self.fail(member, "Member is not byte aligned");
            }
            0 => ENUM_BITS,
            bits if bits > ENUM_BITS => return self.fail(member, "Invalid member bitfield_size"),
            bits => bits,
        };
        if self.of.word < (offset + bits).div_ceil(8) {
            return self.fail(member, "Member exceeds struct_size");
        }
        Ok(())
    }
}
