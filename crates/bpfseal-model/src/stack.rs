//! Accesses to the stack by the frame pointer, which have to stay inside of the frame.
//!
//! What is reached through other registers is data flow, and is not looked at.

use bpfseal_object::Insn;
use bpfseal_uapi::limits;

const FRAME_POINTER: u8 = 10;

/// An access outside of the frame, as the verifier logs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StackFault {
    /// Number of the instruction.
    pub insn: usize,
    write: bool,
    offset: i16,
    size: i32,
}

impl std::fmt::Display for StackFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let way = if self.write { "write to" } else { "read from" };
        let (offset, size) = (self.offset, self.size);
        write!(f, "invalid {way} stack R10 off={offset} size={size}")
    }
}

/// The first access outside of the frame.
#[must_use]
pub fn stack_fault(insns: &[Insn]) -> Option<StackFault> {
    let mut index = 0;
    while let Some(insn) = insns.get(index) {
        // Classes: load, store of a number, store of a register.
        let base = match insn.code & 7 {
            1 => Some(insn.src),
            2 | 3 => Some(insn.dst),
            _ => None,
        };
        let size = match insn.code & 0x18 {
            0x00 => 4,
            0x08 => 2,
            0x10 => 1,
            _ => 8,
        };
        let end = i32::from(insn.off) + size;
        if base == Some(FRAME_POINTER)
            && (end > 0 || i32::from(insn.off) < -(limits::MAX_STACK as i32))
        {
            return Some(StackFault {
                insn: index,
                write: insn.code & 7 != 1,
                offset: insn.off,
                size,
            });
        }
        index += if insn.is_ld_imm64() { 2 } else { 1 };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_has_512_bytes() {
        let load = |off| Insn {
            code: 0x61,
            dst: 1,
            src: FRAME_POINTER,
            off,
            imm: 0,
        };
        assert_eq!(stack_fault(&[load(-4), load(-512)]), None);
        let fault = stack_fault(&[load(-4), load(0)]).unwrap();
        assert_eq!(
            fault.to_string(),
            "invalid read from stack R10 off=0 size=4"
        );
        assert!(stack_fault(&[load(-516)]).is_some());
    }
}
