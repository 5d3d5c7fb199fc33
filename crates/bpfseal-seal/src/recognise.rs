//! Which scheme a loader is made for, by its instructions.
//!
//! A label says what somebody called an artifact; the instructions say what the loader does. A
//! loader of an in-loader scheme compares its metadata before it does anything else, and these are
//! the instructions that are looked for here, in the one place where they have an effect. Whether
//! the rest of a loader does what it should is for the audit.

use crate::scheme::Scheme;

/// What a loader checks of its metadata before it does anything else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct MetadataCheck {
    /// SHA-256 that the metadata has to have.
    pub digest: [u8; 32],
    /// Whether its map has to be exclusive as well.
    pub exclusive: bool,
}

/// The in-loader scheme that a loader is made for: the one whose check of the metadata its
/// instructions begin with, for metadata of this SHA-256. None for a loader that checks nothing, or
/// other metadata: only a kernel that verifies at load time covers that.
#[must_use]
pub fn recognise(instructions: &[u8], metadata_digest: &[u8; 32]) -> Option<Scheme> {
    let check = metadata_check(instructions)?;
    (check.digest == *metadata_digest).then_some(check.scheme())
}

impl MetadataCheck {
    /// The scheme whose loaders check this.
    #[must_use]
    pub fn scheme(self) -> Scheme {
        if self.exclusive {
            Scheme::InLoaderExclusive
        } else {
            Scheme::InLoader
        }
    }
}

/// What a loader checks of its metadata before it does anything else; none if it checks nothing.
///
/// The instructions have to run whatever happens: they are reached from the first one without a
/// conditional jump, and each of their own leads to the clean-up code, which ends the loader.
#[must_use]
pub fn metadata_check(instructions: &[u8]) -> Option<MetadataCheck> {
    // `r6 = r1`, whose second byte holds the registers in the order of the bits.
    let big = instructions.get(1) == Some(&0x61);
    let mut code = Code {
        insns: instructions.chunks_exact(8).map(|i| Insn::new(i, big)),
        at: 0,
        cleanup: 0..0,
    };
    code.skip_prologue()?;
    let mut first = code.next()?;
    let mut exclusive = false;
    let mut digest = [0; 32];
    for word in 0..4 {
        let mut read = code.map(first)?;
        if word == 0 && read.is(LOAD_W, 2, 1, MARK) && read.imm == 0 {
            code.refuse_unless(JNE_IMM, 1)?;
            exclusive = true;
            first = code.next()?;
            read = code.map(first)?;
        }
        let offset = word * 8;
        if !(read.is(LOAD_DW, 2, 1, offset) && read.imm == 0) {
            return None;
        }
        let (low, high) = (code.next()?, code.next()?);
        if !(low.is(LD_IMM64, 3, 0, 0) && high.is(0, 0, 0, 0)) {
            return None;
        }
        let value = u64::from(high.imm.cast_unsigned()) << 32 | u64::from(low.imm.cast_unsigned());
        let bytes = if big {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        };
        let at = usize::from(offset.unsigned_abs());
        digest[at..at + 8].copy_from_slice(&bytes);
        code.refuse_unless(JNE_REG, 0)?;
        if word < 3 {
            first = code.next()?;
        }
    }
    Some(MetadataCheck { digest, exclusive })
}

/// Whether a loader takes a map from the first place of `fd_array`, which is its metadata's: it
/// can do nothing without metadata.
#[must_use]
pub(crate) fn uses_metadata(instructions: &[u8]) -> bool {
    let big = instructions.get(1) == Some(&0x61);
    let mut insns = instructions.chunks_exact(8).map(|i| Insn::new(i, big));
    insns.any(|insn| insn.code == LD_IMM64 && matches!(insn.src, MAP_IDX | MAP_IDX_VALUE))
}

/// `dst = imm64`, in two instructions.
const LD_IMM64: u8 = 0x18;
/// `BPF_PSEUDO_MAP_IDX`: `dst = ` a map of `fd_array`.
const MAP_IDX: u8 = 5;
/// `BPF_PSEUDO_MAP_IDX_VALUE`: `dst = ` the value of a map of `fd_array`.
const MAP_IDX_VALUE: u8 = 6;
/// `dst = *(u32 *)(src + off)`.
const LOAD_W: u8 = 0x61;
/// `dst = *(u64 *)(src + off)`.
const LOAD_DW: u8 = 0x79;
/// `dst = imm`.
const MOV_IMM: u8 = 0xb7;
/// `goto off`.
const JA: u8 = 0x05;
/// `if dst != imm goto off`.
const JNE_IMM: u8 = 0x55;
/// `if dst != src goto off`.
const JNE_REG: u8 = 0x5d;
/// Return `r0`.
const EXIT: u8 = 0x95;
/// Offset of `excl` in the kernel's `struct bpf_map`.
const MARK: i16 = 32;
/// `-EINVAL`.
const EINVAL: i32 = -22;

/// One instruction.
#[derive(Clone, Copy)]
struct Insn {
    code: u8,
    dst: u8,
    src: u8,
    off: i16,
    imm: i32,
}

impl Insn {
    /// Of 8 bytes.
    fn new(bytes: &[u8], big: bool) -> Self {
        let (off, imm) = (
            [bytes[2], bytes[3]],
            [bytes[4], bytes[5], bytes[6], bytes[7]],
        );
        let (low, high) = (bytes[1] & 15, bytes[1] >> 4);
        if big {
            Self {
                code: bytes[0],
                dst: high,
                src: low,
                off: i16::from_be_bytes(off),
                imm: i32::from_be_bytes(imm),
            }
        } else {
            Self {
                code: bytes[0],
                dst: low,
                src: high,
                off: i16::from_le_bytes(off),
                imm: i32::from_le_bytes(imm),
            }
        }
    }

    /// Whether it is this one, whatever its number.
    fn is(self, code: u8, dst: u8, src: u8, off: i16) -> bool {
        (self.code, self.dst, self.src, self.off) == (code, dst, src, off)
    }
}

/// Instructions on the one way from the first.
struct Code<I> {
    insns: I,
    at: usize,
    /// Where the clean-up code is, which ends the loader.
    cleanup: std::ops::Range<usize>,
}

impl<I: Iterator<Item = Insn>> Code<I> {
    fn next(&mut self) -> Option<Insn> {
        self.at += 1;
        self.insns.next()
    }

    /// Up to the instruction behind the clean-up code, which is jumped over. What stands before the
    /// jump clears the stack: moves, sums and a call.
    fn skip_prologue(&mut self) -> Option<()> {
        const CLEARING: [u8; 4] = [0xbf, 0x07, MOV_IMM, 0x85];
        let jump = loop {
            let insn = self.next()?;
            match insn.code {
                JA => break insn,
                code if CLEARING.contains(&code) => {}
                _ => return None,
            }
        };
        let len = usize::try_from(jump.off).ok().filter(|len| *len > 0)?;
        self.cleanup = self.at..self.at + len;
        let mut last = self.next()?;
        for _ in 1..len {
            last = self.next()?;
        }
        (last.code == EXIT).then_some(())
    }

    /// `r1 = ` the metadata map, in two of which the first is given; what comes after it.
    fn map(&mut self, first: Insn) -> Option<Insn> {
        let second = self.next()?;
        let is_map = first.is(LD_IMM64, 1, MAP_IDX, 0) && first.imm == 0;
        if is_map && second.is(0, 0, 0, 0) && second.imm == 0 {
            self.next()
        } else {
            None
        }
    }

    /// `r7 = -EINVAL; if r2 != … goto cleanup`.
    fn refuse_unless(&mut self, code: u8, imm: i32) -> Option<()> {
        let answer = self.next()?;
        let jump = self.next()?;
        let src = if code == JNE_REG { 3 } else { 0 };
        let to = i64::try_from(self.at).ok()? + i64::from(jump.off);
        let ends = usize::try_from(to).is_ok_and(|to| self.cleanup.contains(&to));
        let good = answer.is(MOV_IMM, 7, 0, 0)
            && answer.imm == EINVAL
            && (jump.code, jump.dst, jump.src, jump.imm) == (code, 2, src, imm)
            && ends;
        good.then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bpfseal_loader::{EmitOptions, FixedHost, Form, LoadPlan, Loader};
    use bpfseal_object::Object;
    use sha2::{Digest as _, Sha256};

    fn loader(form: Form) -> Loader {
        let bytes = include_bytes!("../../../testdata/objects/minimal.bpf.o");
        let object = Object::parse(bytes, "minimal").unwrap();
        let plan = LoadPlan::new(&object, &FixedHost::default()).unwrap();
        Loader::new(&plan, EmitOptions::new(form)).unwrap()
    }

    fn found(loader: &Loader) -> Option<Scheme> {
        let digest = Sha256::digest(&loader.metadata).into();
        recognise(&loader.instructions, &digest)
    }

    #[test]
    fn loaders_are_known_by_their_instructions() {
        for (form, scheme) in [
            (Form::CheckingExclusive, Some(Scheme::InLoaderExclusive)),
            (Form::CheckingMetadata, Some(Scheme::InLoader)),
            (Form::Signed, None),
            (Form::Unsigned, None),
        ] {
            let mut loader = loader(form);
            assert_eq!(found(&loader), scheme, "{form:?}");
            // Other metadata: the loader would refuse it.
            loader.metadata.push(0);
            assert_eq!(found(&loader), None, "{form:?}");
        }
    }

    /// Whatever instruction of the check is another one: it is no check, or one of another digest.
    #[test]
    fn a_changed_check_is_none() {
        for (form, len) in [
            (Form::CheckingExclusive, 5 + 28),
            (Form::CheckingMetadata, 28),
        ] {
            let honest = loader(form);
            let start = {
                let jump = &honest.instructions[6 * 8..7 * 8];
                assert_eq!(jump[0], JA);
                (7 + usize::from(u16::from_le_bytes([jump[2], jump[3]]))) * 8
            };
            for at in start..start + len * 8 {
                // Behind the check nothing is looked at, and in a jump any place of the clean-up
                // code will do.
                let is_offset = matches!(at % 8, 2 | 3) && {
                    let code = honest.instructions[at / 8 * 8];
                    matches!(code, JNE_IMM | JNE_REG)
                };
                let mut bad = honest.clone();
                bad.instructions[at] ^= 1;
                if is_offset {
                    continue;
                }
                assert_ne!(found(&bad), found(&honest), "byte {}", at - start);
            }
            // A jump that leads past the end of the clean-up code: the loader goes on.
            let mut bad = honest.clone();
            let jump = start + (len - 1) * 8;
            bad.instructions[jump + 2..jump + 4].copy_from_slice(&0u16.to_le_bytes());
            assert_eq!(found(&bad), None);
        }
    }

    /// The same instructions somewhere else in the loader say nothing.
    #[test]
    fn a_check_that_may_not_run_is_none() {
        let honest = loader(Form::CheckingMetadata);
        let mut late = loader(Form::Signed);
        late.metadata.clone_from(&honest.metadata);
        late.instructions.extend(&honest.instructions);
        assert_eq!(found(&late), None);
        let mut skipped = honest.clone();
        // `if r1 == 0 goto +1` before everything.
        let jump = [0x15, 1, 1, 0, 0, 0, 0, 0];
        skipped.instructions.splice(8..8, jump);
        assert_eq!(found(&skipped), None);
    }

    #[test]
    fn cut_off_anywhere_it_is_none() {
        let honest = loader(Form::CheckingExclusive);
        let end = honest.instructions.len().min(64 * 8);
        for len in 0..end {
            let check = metadata_check(&honest.instructions[..len]);
            assert!(check.is_none() || len > 40 * 8, "{len}");
        }
    }
}
