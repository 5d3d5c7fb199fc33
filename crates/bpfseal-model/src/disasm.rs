//! Instructions as text, for people who review them.
//!
//! In the notation of the kernel's own disassembler (`kernel/bpf/disasm.c`) and of LLVM: one line
//! an instruction, `r1 = *(u64 *)(r2 + 8)`. Numbers of helpers become names; what a program takes
//! of maps and of the kernel is named by [`Names`].
//!
//! ```
//! use bpfseal_loader::plan::ProgramLoad;
//! use bpfseal_loader::LoadPlan;
//! use bpfseal_model::disasm::{PlanNames, disassemble};
//!
//! fn listing(plan: &LoadPlan, program: &ProgramLoad) -> String {
//!     let lines = disassemble(&program.insns, &PlanNames { plan, program });
//!     let lines = lines.iter().map(|line| format!("{:>4}: {}\n", line.insn, line.text));
//!     lines.collect()
//! }
//! ```

use bpfseal_loader::LoadPlan;
use bpfseal_loader::plan::ProgramLoad;
use bpfseal_object::{
    BPF_PSEUDO_BTF_ID, BPF_PSEUDO_CALL, BPF_PSEUDO_FUNC, BPF_PSEUDO_KFUNC_CALL, BPF_PSEUDO_MAP_IDX,
    BPF_PSEUDO_MAP_IDX_VALUE, CALL, EXIT, Insn,
};
use bpfseal_uapi::Helper;
use bpfseal_uapi::insn::{self as op, BPF_PSEUDO_MAP_FD, BPF_PSEUDO_MAP_VALUE};

/// Names of what a program refers to.
pub trait Names {
    /// A map, by its place.
    fn map(&self, place: u32) -> Option<String>;
    /// What the kernel puts into an instruction.
    fn symbol(&self, insn: usize) -> Option<String>;
}

/// Names in a plan, for one of its programs.
#[derive(Debug, Clone, Copy)]
pub struct PlanNames<'a> {
    /// The plan.
    pub plan: &'a LoadPlan,
    /// The program.
    pub program: &'a ProgramLoad,
}

impl Names for PlanNames<'_> {
    fn map(&self, place: u32) -> Option<String> {
        let mut maps = self.plan.maps();
        let found = maps.find(|(map, _)| map.0 == place)?;
        Some(found.1.name.clone())
    }

    fn symbol(&self, insn: usize) -> Option<String> {
        let mut all = self.program.kernel_refs.iter();
        let found = all.find(|r| r.insn as usize == insn)?;
        Some(found.name.clone())
    }
}

/// One line of a disassembly.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Line {
    /// The instruction's place.
    pub insn: usize,
    /// The text, without the place.
    pub text: String,
}

/// Where an instruction may go on instead of at the next one: a jump, or a call of a function of the
/// same program. None where that is not inside of `count` instructions.
#[must_use]
pub fn target(at: usize, insn: Insn, count: usize) -> Option<usize> {
    let distance = match insn.code & op::CLASS_MASK {
        op::BPF_JMP if insn.code == CALL && insn.src == BPF_PSEUDO_CALL => i64::from(insn.imm),
        op::BPF_JMP | op::BPF_JMP32 if insn.code == CALL || insn.code == EXIT => return None,
        // `goto` of 32 bits has its distance where others have a number.
        op::BPF_JMP32 if insn.code & op::OP_MASK == op::BPF_JA => i64::from(insn.imm),
        op::BPF_JMP | op::BPF_JMP32 => i64::from(insn.off),
        op::BPF_LD if insn.is_ld_imm64() && insn.src == BPF_PSEUDO_FUNC => i64::from(insn.imm),
        _ => return None,
    };
    let target = usize::try_from(at as i64 + 1 + distance).ok()?;
    (target < count).then_some(target)
}

/// All instructions; a load of 64 bits, which takes two, is one line.
#[must_use]
pub fn disassemble(insns: &[Insn], names: &dyn Names) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut at = 0;
    while let Some(insn) = insns.get(at) {
        let wide = insn.is_ld_imm64();
        let text = if wide {
            load_wide(
                at,
                *insn,
                insns.get(at + 1).copied().unwrap_or_default(),
                names,
            )
        } else {
            one(at, *insn, names)
        };
        lines.push(Line { insn: at, text });
        at += if wide { 2 } else { 1 };
    }
    lines
}

fn load_wide(at: usize, insn: Insn, next: Insn, names: &dyn Names) -> String {
    let dst = insn.dst;
    let place = insn.imm.cast_unsigned();
    let map = || names.map(place).unwrap_or_else(|| format!("map {place}"));
    match insn.src {
        BPF_PSEUDO_MAP_IDX => format!("r{dst} = map `{}`", map()),
        BPF_PSEUDO_MAP_IDX_VALUE => format!("r{dst} = &`{}`[{}]", map(), next.imm),
        BPF_PSEUDO_FUNC => format!("r{dst} = function at {:+}", insn.imm),
        BPF_PSEUDO_MAP_FD | BPF_PSEUDO_MAP_VALUE => {
            format!("r{dst} = map of descriptor {}", insn.imm)
        }
        src => match names.symbol(at) {
            Some(name) => format!("r{dst} = &{name}"),
            None if src == BPF_PSEUDO_BTF_ID => format!("r{dst} = kernel variable {}", insn.imm),
            None => {
                let high = u64::from(next.imm.cast_unsigned());
                let value = high << 32 | u64::from(place);
                format!("r{dst} = {value:#x} ll")
            }
        },
    }
}

fn width(code: u8) -> &'static str {
    match code & op::SIZE_MASK {
        op::BPF_W => "u32",
        op::BPF_H => "u16",
        op::BPF_B => "u8",
        _ => "u64",
    }
}

fn one(at: usize, insn: Insn, names: &dyn Names) -> String {
    let Insn {
        code,
        dst,
        src,
        off,
        imm,
    } = insn;
    let place = |register: u8| format!("*({} *)(r{register} {})", width(code), signed(off));
    match (code & op::CLASS_MASK, code & op::MODE_MASK) {
        (op::BPF_LDX, op::BPF_MEM) => format!("r{dst} = {}", place(src)),
        (op::BPF_LDX, op::BPF_MEMSX) => {
            let text = place(src).replacen("(u", "(s", 1);
            format!("r{dst} = {text}")
        }
        (op::BPF_ST, op::BPF_MEM) => format!("{} = {imm}", place(dst)),
        (op::BPF_STX, op::BPF_MEM) => format!("{} = r{src}", place(dst)),
        (op::BPF_STX, op::BPF_ATOMIC) => atomic(insn),
        (op::BPF_ALU | op::BPF_ALU64, _) => calculation(insn),
        (op::BPF_JMP | op::BPF_JMP32, _) => jump(at, insn, names),
        (op::BPF_LD, op::BPF_ABS) => format!("r0 = *({} *)skb[{imm}]", width(code)),
        (op::BPF_LD, op::BPF_IND) => format!("r0 = *({} *)skb[r{src} + {imm}]", width(code)),
        _ => format!("operation {code:#04x} r{dst} r{src} {off} {imm}"),
    }
}

fn signed(off: i16) -> String {
    if off < 0 {
        format!("- {}", off.unsigned_abs())
    } else {
        format!("+ {off}")
    }
}

fn atomic(insn: Insn) -> String {
    let place = format!(
        "*({} *)(r{} {})",
        width(insn.code),
        insn.dst,
        signed(insn.off)
    );
    let src = insn.src;
    match insn.imm & !1 {
        0x00 => format!("lock {place} += r{src}"),
        0x40 => format!("lock {place} |= r{src}"),
        0x50 => format!("lock {place} &= r{src}"),
        0xa0 => format!("lock {place} ^= r{src}"),
        0xe0 => format!("r{src} = exchange({place}, r{src})"),
        0xf0 => format!("r0 = compare_exchange({place}, r0, r{src})"),
        other => format!("atomic {other:#x} {place} r{src}"),
    }
}

fn calculation(insn: Insn) -> String {
    let wide = insn.code & op::CLASS_MASK == op::BPF_ALU64;
    // Of 32 bits: the lower half.
    let name = |register: u8| format!("{}{register}", if wide { 'r' } else { 'w' });
    let dst = name(insn.dst);
    let operand = if insn.code & op::BPF_X == 0 {
        insn.imm.to_string()
    } else {
        name(insn.src)
    };
    let operator = match insn.code & op::OP_MASK {
        op::BPF_ADD => "+=",
        op::BPF_SUB => "-=",
        op::BPF_MUL => "*=",
        op::BPF_DIV if insn.off == 1 => "s/=",
        op::BPF_DIV => "/=",
        op::BPF_OR => "|=",
        op::BPF_AND => "&=",
        op::BPF_LSH => "<<=",
        op::BPF_RSH => ">>=",
        op::BPF_NEG => return format!("{dst} = -{dst}"),
        op::BPF_MOD if insn.off == 1 => "s%=",
        op::BPF_MOD => "%=",
        op::BPF_XOR => "^=",
        op::BPF_MOV if insn.off != 0 => return format!("{dst} = (s{}){operand}", insn.off),
        op::BPF_MOV => "=",
        op::BPF_ARSH => "s>>=",
        op::BPF_END => {
            let swap = match (wide, insn.code & op::BPF_X) {
                (true, _) => "bswap",
                (false, 0) => "le",
                (false, _) => "be",
            };
            return format!("r{0} = {swap}{1} r{0}", insn.dst, insn.imm);
        }
        other => return format!("operation {other:#04x} {dst} {operand}"),
    };
    format!("{dst} {operator} {operand}")
}

fn jump(at: usize, insn: Insn, names: &dyn Names) -> String {
    let wide = insn.code & op::CLASS_MASK == op::BPF_JMP;
    if insn.code == EXIT {
        return "exit".to_owned();
    }
    if insn.code == CALL {
        return match insn.src {
            BPF_PSEUDO_CALL => format!("call function at {:+}", insn.imm),
            BPF_PSEUDO_KFUNC_CALL => {
                let name = names.symbol(at);
                format!(
                    "call {}",
                    name.unwrap_or_else(|| format!("kernel function {}", insn.imm))
                )
            }
            _ => format!("call {}", Helper(insn.imm.cast_unsigned())),
        };
    }
    let operator = match insn.code & op::OP_MASK {
        op::BPF_JA if wide => return format!("goto {:+}", insn.off),
        op::BPF_JA => return format!("goto {:+}", insn.imm),
        op::BPF_JEQ => "==",
        op::BPF_JGT => ">",
        op::BPF_JGE => ">=",
        op::BPF_JSET => "&",
        op::BPF_JNE => "!=",
        op::BPF_JSGT => "s>",
        op::BPF_JSGE => "s>=",
        op::BPF_JLT => "<",
        op::BPF_JLE => "<=",
        op::BPF_JSLT => "s<",
        op::BPF_JSLE => "s<=",
        op::BPF_JCOND => return format!("may_goto {:+}", insn.off),
        other => return format!("operation {other:#04x} {:+}", insn.off),
    };
    let name = |register: u8| format!("{}{register}", if wide { 'r' } else { 'w' });
    let operand = if insn.code & op::BPF_X == 0 {
        insn.imm.to_string()
    } else {
        name(insn.src)
    };
    format!(
        "if {} {operator} {operand} goto {:+}",
        name(insn.dst),
        insn.off
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Two;

    impl Names for Two {
        fn map(&self, place: u32) -> Option<String> {
            (place == 1).then(|| "counts".to_owned())
        }

        fn symbol(&self, insn: usize) -> Option<String> {
            (insn == 0).then(|| "bpf_task_from_pid".to_owned())
        }
    }

    #[test]
    fn jumps_have_targets() {
        let jump = |code, src, off, imm| target(4, Insn::new(code, 1, src, off, imm), 10);
        assert_eq!(jump(0x15, 0, 2, 0), Some(7));
        assert_eq!(jump(0x05, 0, -5, 0), Some(0));
        assert_eq!(jump(0x05, 0, 5, 0), None);
        assert_eq!(jump(0x06, 0, 0, 1), Some(6));
        assert_eq!(jump(0x85, 1, 0, 4), Some(9));
        // A helper, the end, a sum.
        assert_eq!(jump(0x85, 0, 0, 1), None);
        assert_eq!(jump(0x95, 0, 0, 0), None);
        assert_eq!(jump(0x07, 0, 2, 0), None);
    }

    #[test]
    fn instructions_are_readable() {
        for (code, dst, src, off, imm, text) in [
            (0xb7, 1, 0, 0, -22, "r1 = -22"),
            (0xbc, 1, 2, 0, 0, "w1 = w2"),
            (0x07, 10, 0, 0, 8, "r10 += 8"),
            (0x61, 1, 6, -4, 0, "r1 = *(u32 *)(r6 - 4)"),
            (0x71, 0, 1, 2, 0, "r0 = *(u8 *)(r1 + 2)"),
            (0x7b, 10, 1, -8, 0, "*(u64 *)(r10 - 8) = r1"),
            (0x6a, 10, 0, -2, 5, "*(u16 *)(r10 - 2) = 5"),
            (0x15, 1, 0, 5, 0, "if r1 == 0 goto +5"),
            (0xde, 1, 2, -3, 0, "if w1 s<= w2 goto -3"),
            (0x05, 0, 0, 7, 0, "goto +7"),
            (0x85, 0, 0, 0, 1, "call bpf_map_lookup_elem"),
            (0x85, 0, 2, 0, 77, "call bpf_task_from_pid"),
            (0x85, 0, 1, 0, 3, "call function at +3"),
            (0xdb, 1, 2, 0, 0, "lock *(u64 *)(r1 + 0) += r2"),
            (0xdc, 1, 0, 0, 16, "r1 = be16 r1"),
            (0x95, 0, 0, 0, 0, "exit"),
        ] {
            let lines = disassemble(&[Insn::new(code, dst, src, off, imm)], &Two);
            assert_eq!(lines[0].text, text);
        }
        let wide = |src, imm| [Insn::new(0x18, 1, src, 0, imm), Insn::new(0, 0, 0, 0, 4)];
        assert_eq!(disassemble(&wide(5, 1), &Two)[0].text, "r1 = map `counts`");
        assert_eq!(disassemble(&wide(6, 1), &Two)[0].text, "r1 = &`counts`[4]");
        let value = [Insn::default(), wide(0, 5)[0], wide(0, 5)[1]];
        let lines = disassemble(&value, &Two);
        assert_eq!((lines.len(), lines[1].insn), (2, 1));
        assert_eq!(lines[1].text, "r1 = 0x400000005 ll");
    }
}
