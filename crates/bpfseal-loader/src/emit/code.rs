//! The loader's two buffers and the instruction sequences that everything else is made of.
//!
//! The loader is one `BPF_PROG_TYPE_SYSCALL` program. Register use: r6 the context, r7 the result
//! of the last `sys_bpf`, r8 an instruction that is relocated, r9 scratch that lives over calls.
//! The stack frame holds the BTF descriptor, that of an inner map, and those of the programs.
//! Source: `tools/lib/bpf/gen_loader.c`.

use bpfseal_object::{
    BPF_INSN_SZ, BPF_PSEUDO_MAP_IDX, BPF_PSEUDO_MAP_IDX_VALUE, CALL, Contents, EXIT, Endian, Insn,
    LD_IMM64,
};
use bpfseal_uapi::{Command, Errno, Helper, helper, insn, map_object};
use sha2::Digest as _;

use super::{DataRegion, InsnRegion, Part};
use crate::Error;
use crate::plan::{MAX_MAPS, MAX_PROGRAMS};

/// Slots for descriptors of kernel module BTF, after those of maps.
pub(super) const MAX_KFUNC_SLOTS: u32 = 256;
/// Slots for maps.
pub(super) const MAP_SLOTS: u32 = MAX_MAPS as u32;
/// Bytes of the stack frame: BTF and inner map descriptor, then one for each program.
const STACK_SIZE: i32 = 8 + 4 * MAX_PROGRAMS as i32;
/// Most bytes of either buffer (`INT32_MAX`).
const MAX_BYTES: u64 = i32::MAX as u64;

/// A loader's bytes and where they come from.
pub(super) struct Finished {
    pub(super) instructions: Vec<u8>,
    pub(super) metadata: Vec<u8>,
    pub(super) insn_regions: Vec<InsnRegion>,
    pub(super) data_regions: Vec<DataRegion>,
}

/// Places of descriptors in the stack frame.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stack {
    Btf,
    InnerMap,
    Program(u32),
}

impl Stack {
    /// Offset from r10. Program slots past the frame wrap like the reference's.
    fn offset(self) -> i16 {
        let at = match self {
            Self::Btf => 0,
            Self::InnerMap => 4,
            Self::Program(i) => 8 + 4 * i.cast_signed(),
        };
        (at - STACK_SIZE) as i16
    }
}

/// Opcodes that the loader uses.
pub(super) mod op {
    use bpfseal_uapi::insn::{
        BPF_ADD, BPF_ALU, BPF_ALU64, BPF_AND, BPF_JA as ALWAYS, BPF_JEQ, BPF_JMP, BPF_JNE,
        BPF_JSET, BPF_JSGE, BPF_JSLE, BPF_JSLT, BPF_K, BPF_MOV, BPF_RSH, BPF_X,
    };

    pub(in super::super) const MOV64_REG: u8 = BPF_ALU64 | BPF_MOV | BPF_X;
    pub(in super::super) const MOV64_IMM: u8 = BPF_ALU64 | BPF_MOV | BPF_K;
    pub(in super::super) const ADD64_IMM: u8 = BPF_ALU64 | BPF_ADD | BPF_K;
    pub(in super::super) const RSH64_IMM: u8 = BPF_ALU64 | BPF_RSH | BPF_K;
    pub(in super::super) const AND32_IMM: u8 = BPF_ALU | BPF_AND | BPF_K;
    pub(in super::super) const JA: u8 = BPF_JMP | ALWAYS;
    pub(in super::super) const JEQ_IMM: u8 = BPF_JMP | BPF_JEQ | BPF_K;
    pub(in super::super) const JNE_IMM: u8 = BPF_JMP | BPF_JNE | BPF_K;
    pub(in super::super) const JNE_REG: u8 = BPF_JMP | BPF_JNE | BPF_X;
    pub(in super::super) const JSGE_IMM: u8 = BPF_JMP | BPF_JSGE | BPF_K;
    pub(in super::super) const JSLT_IMM: u8 = BPF_JMP | BPF_JSLT | BPF_K;
    pub(in super::super) const JSLE_IMM: u8 = BPF_JMP | BPF_JSLE | BPF_K;
    pub(in super::super) const JSET_IMM: u8 = BPF_JMP | BPF_JSET | BPF_K;
}

/// Width of a memory access.
#[derive(Debug, Clone, Copy)]
pub(super) enum Width {
    W1,
    W2,
    W4,
    W8,
}

impl Width {
    fn bits(self) -> u8 {
        match self {
            Self::W4 => insn::BPF_W,
            Self::W2 => insn::BPF_H,
            Self::W1 => insn::BPF_B,
            Self::W8 => insn::BPF_DW,
        }
    }

    fn load(self) -> u8 {
        insn::BPF_LDX | insn::BPF_MEM | self.bits()
    }

    fn store(self) -> u8 {
        insn::BPF_STX | insn::BPF_MEM | self.bits()
    }

    fn store_imm(self) -> u8 {
        insn::BPF_ST | insn::BPF_MEM | self.bits()
    }
}

/// Offset of a byte in the metadata.
pub(super) type Blob = u32;

/// Bytes that grow. What is behind their end is zero already, so that a stretch of zeroes is
/// neither written nor, where the system gives memory only to what is written, paid for.
struct Metadata {
    bytes: Vec<u8>,
    len: usize,
}

impl Metadata {
    fn new(expected: usize) -> Self {
        Self {
            bytes: vec![0; expected],
            len: 0,
        }
    }

    /// Appends `len` bytes, which begin with `head` and are zero behind it.
    fn push(&mut self, head: &[u8], len: usize) {
        let end = self.len + len;
        if end > self.bytes.len() {
            let room = end.max(self.bytes.len().saturating_mul(2));
            self.bytes.resize(room, 0);
        }
        self.bytes[self.len..self.len + head.len()].copy_from_slice(head);
        self.len = end;
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn into_vec(mut self) -> Vec<u8> {
        self.bytes.truncate(self.len);
        self.bytes
    }
}

/// The instructions and metadata of a loader while it is made.
pub(super) struct Code {
    pub(super) endian: Endian,
    pub(super) log: bool,
    insns: Vec<Insn>,
    data: Metadata,
    cleanup: usize,
    /// Loads of the words of the metadata's digest, which is known last.
    digest_words: Vec<usize>,
    step: Option<usize>,
    pub(super) insn_regions: Vec<InsnRegion>,
    pub(super) data_regions: Vec<DataRegion>,
}

impl Code {
    /// `expected` is about how many bytes of metadata there will be.
    pub(super) fn new(endian: Endian, log: bool, expected: usize) -> Self {
        Self {
            endian,
            log,
            insns: Vec::new(),
            data: Metadata::new(expected),
            cleanup: 0,
            digest_words: Vec::new(),
            step: None,
            insn_regions: Vec::new(),
            data_regions: Vec::new(),
        }
    }

    /// What is emitted from here on belongs to a step of the plan, or to none.
    pub(super) fn begin_step(&mut self, step: Option<usize>) {
        self.step = step;
    }

    /// What is emitted from here on does this.
    pub(super) fn mark(&mut self, what: &'static str) {
        self.insn_regions.push(InsnRegion {
            start: self.insns.len(),
            step: self.step,
            what,
        });
    }

    pub(super) fn finish(mut self) -> Result<Finished, Error> {
        if !self.digest_words.is_empty() {
            self.fill_digest();
        }
        let size = (self.insns.len() * BPF_INSN_SZ) as u64;
        if size > MAX_BYTES {
            return Err(Error::TooLarge {
                what: "the loader's instructions",
                size,
                limit: MAX_BYTES,
            });
        }
        let mut bytes = Vec::with_capacity(self.insns.len() * BPF_INSN_SZ);
        for insn in &self.insns {
            bytes.extend_from_slice(&insn.encode(self.endian));
        }
        Ok(Finished {
            instructions: bytes,
            metadata: self.data.into_vec(),
            insn_regions: self.insn_regions,
            data_regions: self.data_regions,
        })
    }

    // --- metadata ---

    /// Adds bytes, padded with zeroes to a multiple of eight; their offset.
    pub(super) fn add_data(&mut self, bytes: &[u8], part: Part) -> Result<Blob, Error> {
        self.add(bytes, bytes.len(), part)
    }

    /// The same, of contents with the zeroes at their end.
    pub(super) fn add_contents(&mut self, contents: &Contents, part: Part) -> Result<Blob, Error> {
        self.add(contents.head(), contents.len(), part)
    }

    /// Adds `len` bytes, which begin with `head` and are zero behind it.
    fn add(&mut self, head: &[u8], len: usize, part: Part) -> Result<Blob, Error> {
        let start = self.data.len;
        let size = start as u64 + len.next_multiple_of(8) as u64;
        if size > MAX_BYTES {
            return Err(Error::TooLarge {
                what: "the loader's metadata",
                size,
                limit: MAX_BYTES,
            });
        }
        self.data.push(head, len.next_multiple_of(8));
        self.data_regions.push(DataRegion {
            start,
            len,
            step: self.step,
            part,
        });
        Ok(start as Blob)
    }

    /// Adds text with its NUL; offset and length.
    pub(super) fn add_text(&mut self, text: &str, part: Part) -> Result<(Blob, i32), Error> {
        let mut bytes = Vec::with_capacity(text.len() + 1);
        bytes.extend_from_slice(text.as_bytes());
        bytes.push(0);
        let len = bytes.len() as i32;
        Ok((self.add_data(&bytes, part)?, len))
    }

    // --- instructions ---

    pub(super) fn emit(&mut self, insn: Insn) {
        self.insns.push(insn);
    }

    pub(super) fn op(&mut self, code: u8, dst: u8, src: u8, off: i16, imm: i32) {
        self.emit(Insn::new(code, dst, src, off, imm));
    }

    pub(super) fn mov_reg(&mut self, dst: u8, src: u8) {
        self.op(op::MOV64_REG, dst, src, 0, 0);
    }

    pub(super) fn mov_imm(&mut self, dst: u8, imm: i32) {
        self.op(op::MOV64_IMM, dst, 0, 0, imm);
    }

    pub(super) fn call(&mut self, helper: Helper) {
        self.op(CALL, 0, 0, 0, helper.imm());
    }

    pub(super) fn exit(&mut self) {
        self.op(EXIT, 0, 0, 0, 0);
    }

    /// `dst = &metadata[blob]`: an address in the value of map 0 of `fd_array`.
    pub(super) fn blob_addr(&mut self, dst: u8, blob: Blob) {
        self.op(LD_IMM64, dst, BPF_PSEUDO_MAP_IDX_VALUE, 0, 0);
        self.op(0, 0, 0, 0, blob.cast_signed());
    }

    pub(super) fn load(&mut self, width: Width, dst: u8, base: u8, off: i16) {
        self.op(width.load(), dst, base, off, 0);
    }

    pub(super) fn store(&mut self, width: Width, base: u8, src: u8, off: i16) {
        self.op(width.store(), base, src, off, 0);
    }

    pub(super) fn store_imm(&mut self, width: Width, base: u8, off: i16, imm: i32) {
        self.op(width.store_imm(), base, 0, off, imm);
    }

    pub(super) fn load_stack(&mut self, dst: u8, slot: Stack) {
        self.load(Width::W4, dst, 10, slot.offset());
    }

    pub(super) fn store_stack(&mut self, slot: Stack, src: u8) {
        self.store(Width::W4, 10, src, slot.offset());
    }

    /// `*(u64 *)&metadata[at] = &metadata[target]`.
    pub(super) fn store_pointer(&mut self, at: Blob, target: Blob) {
        self.blob_addr(0, target);
        self.blob_addr(1, at);
        self.store(Width::W8, 1, 0, 0);
    }

    pub(super) fn blob_to_blob(&mut self, to: Blob, width: Width, from: Blob) {
        self.blob_addr(2, from);
        self.load(width, 0, 2, 0);
        self.blob_addr(1, to);
        self.store(width, 1, 0, 0);
    }

    pub(super) fn blob_to_ctx(&mut self, to: u32, width: Width, from: Blob) {
        self.blob_addr(1, from);
        self.load(width, 0, 1, 0);
        self.store(width, 6, 0, to as i16);
    }

    /// With `unless_zero`, a zero in the context leaves the metadata as it is.
    pub(super) fn ctx_to_blob(&mut self, to: Blob, width: Width, from: u32, unless_zero: bool) {
        self.load(width, 0, 6, from as i16);
        if unless_zero {
            self.op(op::JEQ_IMM, 0, 0, 3, 0);
        }
        self.blob_addr(1, to);
        self.store(width, 1, 0, 0);
    }

    pub(super) fn stack_to_blob(&mut self, to: Blob, from: Stack) {
        self.load_stack(0, from);
        self.blob_addr(1, to);
        self.store(Width::W4, 1, 0, 0);
    }

    pub(super) fn stack_to_ctx(&mut self, to: u32, from: Stack) {
        self.load_stack(0, from);
        self.store(Width::W4, 6, 0, to as i16);
    }

    /// `r7 = sys_bpf(command, &metadata[attr], size)`.
    pub(super) fn sys_bpf(&mut self, command: Command, attr: Blob, size: usize) {
        self.mov_imm(1, command.0.cast_signed());
        self.blob_addr(2, attr);
        self.mov_imm(3, size as i32);
        self.call(helper::SYS_BPF);
        self.mov_reg(7, 0);
    }

    /// `if r7 < 0 goto cleanup`.
    pub(super) fn check_error(&mut self) -> Result<(), Error> {
        let off = self.to_cleanup()?;
        self.op(op::JSLT_IMM, 7, 0, off, 0);
        Ok(())
    }

    /// The offset of a jump from the next instruction to the cleanup code.
    fn to_cleanup(&self) -> Result<i16, Error> {
        let distance = self.insns.len() - self.cleanup;
        i16::try_from(-(distance as i64) - 1).map_err(|_| Error::JumpTooFar {
            insns: self.insns.len(),
        })
    }

    // --- the loader's own check of its metadata (Linux 6.18 to 7.2) ---

    /// Compares the digest that the kernel has of the metadata map with that of the metadata,
    /// which is filled in when it is complete; before that, with `exclusive`, whether the map is
    /// bound to one program.
    ///
    /// The map's address (`BPF_PSEUDO_MAP_IDX`) is that of `struct bpf_map`, which begins with the
    /// digest, 32 bytes, and the mark of exclusive maps, 4 bytes.
    pub(super) fn check_metadata(&mut self, exclusive: bool) -> Result<(), Error> {
        self.mark("check of the metadata");
        if exclusive {
            self.map_addr(1);
            self.load(Width::W4, 2, 1, map_object::EXCL.offset() as i16);
            self.mov_imm(7, -Errno::EINVAL.0);
            let off = self.to_cleanup()?;
            self.op(op::JNE_IMM, 2, 0, off, 1);
        }
        for word in 0..4 {
            self.map_addr(1);
            self.load(Width::W8, 2, 1, word * 8);
            self.digest_words.push(self.insns.len());
            self.op(LD_IMM64, 3, 0, 0, 0);
            self.op(0, 0, 0, 0, 0);
            self.mov_imm(7, -Errno::EINVAL.0);
            let off = self.to_cleanup()?;
            self.op(op::JNE_REG, 2, 3, off, 0);
        }
        Ok(())
    }

    /// `dst = map 0 of fd_array`.
    fn map_addr(&mut self, dst: u8) {
        self.op(LD_IMM64, dst, BPF_PSEUDO_MAP_IDX, 0, 0);
        self.op(0, 0, 0, 0, 0);
    }

    /// Fills in the digest of the metadata, where it is compared.
    fn fill_digest(&mut self) {
        let digest = sha2::Sha256::digest(self.data.bytes());
        let words = digest.chunks_exact(4).map(|half| {
            let half = [half[0], half[1], half[2], half[3]];
            match self.endian {
                Endian::Big => i32::from_be_bytes(half),
                Endian::Little => i32::from_le_bytes(half),
            }
        });
        let halves: Vec<i32> = words.collect();
        for (at, pair) in self.digest_words.iter().zip(halves.chunks_exact(2)) {
            // As one load of 64 bits sees it: the first half is the upper one in big-endian order.
            let (low, high) = match self.endian {
                Endian::Big => (pair[1], pair[0]),
                Endian::Little => (pair[0], pair[1]),
            };
            self.insns[*at].imm = low;
            self.insns[at + 1].imm = high;
        }
    }

    // --- descriptors ---

    pub(super) fn fd_slot(&self, index: u32) -> Blob {
        // The descriptors are the first thing in the metadata.
        index * 4
    }

    fn close_r1(&mut self) -> Result<(), Error> {
        let logged = if self.log { 6 } else { 0 };
        self.op(op::JSLE_IMM, 1, 0, 2 + logged, 0);
        self.mov_reg(9, 1);
        self.call(helper::SYS_CLOSE);
        self.log_registers(9, Some(0), "close(%d) = %d")
    }

    pub(super) fn close_stack(&mut self, slot: Stack) -> Result<(), Error> {
        self.load_stack(1, slot);
        self.close_r1()
    }

    pub(super) fn close_blob(&mut self, blob: Blob) -> Result<(), Error> {
        self.blob_addr(0, blob);
        self.load(Width::W4, 1, 0, 0);
        self.close_r1()
    }

    // --- beginning ---

    /// Saves the context, clears the stack frame, and lays down the cleanup code that every
    /// failure jumps to: close all descriptors, return r7.
    pub(super) fn prologue(&mut self, functions: u32, maps: u32) -> Result<(), Error> {
        self.mark("prologue");
        self.mov_reg(6, 1);
        self.mov_reg(1, 10);
        self.op(op::ADD64_IMM, 1, 0, 0, -STACK_SIZE);
        self.mov_imm(2, STACK_SIZE);
        self.mov_imm(3, 0);
        self.call(helper::PROBE_READ_KERNEL);
        let used = 2 + functions;
        let close_map = 6 + if self.log { 6 } else { 0 };
        let cleanup_len = used
            .wrapping_mul(3)
            .wrapping_add(2)
            .wrapping_add(maps.wrapping_mul(close_map));
        // More functions than a jump can pass make a loader that the verifier refuses; the
        // reference lets the offset wrap, and so do we.
        self.op(op::JA, 0, 0, cleanup_len as i16, 0);
        self.mark("cleanup");
        self.cleanup = self.insns.len();
        for slot in 0..used {
            let off = (slot.wrapping_mul(4).cast_signed()).wrapping_sub(STACK_SIZE) as i16;
            self.load(Width::W4, 1, 10, off);
            self.op(op::JSLE_IMM, 1, 0, 1, 0);
            self.call(helper::SYS_CLOSE);
        }
        for map in 0..maps {
            self.close_blob(self.fd_slot(map))?;
        }
        self.mov_reg(0, 7);
        self.exit();
        Ok(())
    }

    // --- log ---

    /// Prints to the kernel's trace pipe, when the loader is made with a log level.
    pub(super) fn log_registers(
        &mut self,
        first: u8,
        second: Option<u8>,
        format: &str,
    ) -> Result<(), Error> {
        if !self.log {
            return Ok(());
        }
        // The kernel's printk buffer ends there, and so does the reference's.
        let mut text: String = format.chars().take(1016).collect();
        if second.is_none() {
            text.push_str(" r=%d");
        }
        let (blob, len) = self.add_text(&text, Part::LogFormat)?;
        self.blob_addr(1, blob);
        self.mov_imm(2, len);
        self.mov_reg(3, first);
        if let Some(second) = second {
            self.mov_reg(4, second);
        }
        self.call(helper::TRACE_PRINTK);
        Ok(())
    }

    pub(super) fn log_result(&mut self, format: &str) -> Result<(), Error> {
        self.log_registers(7, None, format)
    }
}
