//! BPF instructions: eight bytes each, decoded and encoded in either byte order.
//!
//! Only what reading, linking and generating programs needs; no disassembler.
//! Layout and opcodes: [`bpfseal_uapi::bpf_insn`] and [`bpfseal_uapi::insn`].

use bpfseal_uapi::insn as op;
use bpfseal_uapi::{Helper, bpf_insn};

use crate::Endian;

pub use bpfseal_uapi::insn::{
    BPF_PSEUDO_BTF_ID, BPF_PSEUDO_CALL, BPF_PSEUDO_FUNC, BPF_PSEUDO_KFUNC_CALL, BPF_PSEUDO_MAP_IDX,
    BPF_PSEUDO_MAP_IDX_VALUE,
};

/// Size of one instruction in bytes.
pub const BPF_INSN_SZ: usize = bpf_insn::LEN;

/// A call, of whatever kind `src` says.
pub const CALL: u8 = op::BPF_JMP | op::BPF_CALL;
/// Load of a 64-bit immediate, two instructions long.
pub const LD_IMM64: u8 = op::BPF_LD | op::BPF_IMM | op::BPF_DW;
/// The end of a function.
pub const EXIT: u8 = op::BPF_JMP | op::BPF_EXIT;

/// One BPF instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Insn {
    /// Operation: class, mode and size.
    pub code: u8,
    /// Destination register, 0 to 10.
    pub dst: u8,
    /// Source register, or the kind of a pseudo instruction.
    pub src: u8,
    /// Signed offset: of a jump in instructions, of a memory access in bytes.
    pub off: i16,
    /// Signed immediate.
    pub imm: i32,
}

impl Insn {
    /// Builds an instruction from its five fields.
    #[must_use]
    pub const fn new(code: u8, dst: u8, src: u8, off: i16, imm: i32) -> Self {
        Self {
            code,
            dst,
            src,
            off,
            imm,
        }
    }

    /// Decodes eight bytes. The two register nibbles change places with the byte order.
    #[must_use]
    pub fn decode(bytes: [u8; BPF_INSN_SZ], endian: Endian) -> Self {
        let regs = bytes[1];
        let (dst, src) = match endian {
            Endian::Little => (regs & 0xf, regs >> 4),
            Endian::Big => (regs >> 4, regs & 0xf),
        };
        Self {
            code: bytes[0],
            dst,
            src,
            off: endian.u16([bytes[2], bytes[3]]).cast_signed(),
            imm: endian
                .u32([bytes[4], bytes[5], bytes[6], bytes[7]])
                .cast_signed(),
        }
    }

    /// Encodes to eight bytes.
    #[must_use]
    pub fn encode(self, endian: Endian) -> [u8; BPF_INSN_SZ] {
        let regs = match endian {
            Endian::Little => (self.src << 4) | (self.dst & 0xf),
            Endian::Big => (self.dst << 4) | (self.src & 0xf),
        };
        let off = endian.put_u16(self.off.cast_unsigned());
        let imm = endian.put_u32(self.imm.cast_unsigned());
        [
            self.code, regs, off[0], off[1], imm[0], imm[1], imm[2], imm[3],
        ]
    }

    /// Decodes whole instructions; bytes past the last whole one are left out.
    #[must_use]
    pub fn decode_all(bytes: &[u8], endian: Endian) -> Vec<Self> {
        bytes
            .chunks_exact(BPF_INSN_SZ)
            .map(|c| Self::decode([c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7]], endian))
            .collect()
    }

    /// A call of any kind.
    #[must_use]
    pub fn is_call(self) -> bool {
        self.code == CALL
    }

    /// The first half of a 64-bit immediate load.
    #[must_use]
    pub fn is_ld_imm64(self) -> bool {
        self.code == LD_IMM64
    }

    /// A call into another function of the same program, as the compiler writes it.
    #[must_use]
    pub fn is_subprog_call(self) -> bool {
        self.code == CALL && self.src == BPF_PSEUDO_CALL && self.dst == 0 && self.off == 0
    }

    /// A load of a function's address.
    #[must_use]
    pub fn is_pseudo_func(self) -> bool {
        self.is_ld_imm64() && self.src == BPF_PSEUDO_FUNC
    }

    /// The helper that this instruction calls, if it is a call of a helper by number.
    #[must_use]
    pub fn helper(self) -> Option<Helper> {
        let is_helper = self.code == CALL && self.src == 0 && self.dst == 0;
        is_helper.then(|| Helper(self.imm.cast_unsigned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodes_register_nibbles_by_byte_order() {
        let insn = Insn::new(0x7b, 10, 1, -8, 0x0102_0304);
        assert_eq!(
            insn.encode(Endian::Little),
            [0x7b, 0x1a, 0xf8, 0xff, 4, 3, 2, 1]
        );
        assert_eq!(
            insn.encode(Endian::Big),
            [0x7b, 0xa1, 0xff, 0xf8, 1, 2, 3, 4]
        );
        for endian in [Endian::Little, Endian::Big] {
            assert_eq!(Insn::decode(insn.encode(endian), endian), insn);
        }
    }
}
