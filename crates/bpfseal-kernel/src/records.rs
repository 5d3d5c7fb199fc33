//! The smallest CO-RE record that changes an instruction, and what the kernel asks for with it.
//!
//! Records of this kind (`BPF_CORE_TYPE_ID_LOCAL`) need no type of the kernel: the number of the
//! type in the program's own BTF becomes the immediate of the instruction.

/// `int` (type 1), and a function `f` that returns it (type 3); for little-endian machines.
#[rustfmt::skip]
pub const BTF: &[u8] = &[
    0x9f, 0xeb, 1, 0, 24, 0, 0, 0, 0, 0, 0, 0, 40, 0, 0, 0, 40, 0, 0, 0, 9, 0, 0, 0,
    1, 0, 0, 0, 0, 0, 0, 1, 4, 0, 0, 0, 32, 0, 0, 1,
    0, 0, 0, 0, 0, 0, 0, 13, 1, 0, 0, 0,
    5, 0, 0, 0, 0, 0, 0, 12, 2, 0, 0, 0,
    0, b'i', b'n', b't', 0, b'f', 0, b'0', 0,
];

/// The program is that function.
pub const FUNC_INFO: [u8; 8] = [0, 0, 0, 0, 3, 0, 0, 0];

/// Where the access string of the record is: `0`, the type itself.
const ACCESS: u32 = 7;
/// `BPF_CORE_TYPE_ID_LOCAL`.
const TYPE_ID_LOCAL: u32 = 6;

/// A record for an instruction, by its number, which gets the number of a type.
#[must_use]
pub fn record(insn: usize, type_id: u32) -> [u8; 16] {
    let offset = u32::try_from(insn.saturating_mul(8)).unwrap_or(u32::MAX);
    let mut record = [0; 16];
    let words = [offset, type_id, ACCESS, TYPE_ID_LOCAL];
    for (place, word) in record.chunks_exact_mut(4).zip(words) {
        place.copy_from_slice(&word.to_ne_bytes());
    }
    record
}
