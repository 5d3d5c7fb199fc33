//! Running a loader, instruction by instruction.
//!
//! Safe on any bytes: memory is bounded, every step is counted, and what is outside of what loaders
//! do ends the run with a [`Fault`] that names the instruction. Loaders go straight ahead, so an
//! instruction that runs twice is a loop, and a fault.

use std::borrow::Cow;
use std::collections::BTreeSet;

use bpfseal_object::{
    BPF_PSEUDO_MAP_IDX, BPF_PSEUDO_MAP_IDX_VALUE, CALL, EXIT, Endian, Insn, LD_IMM64,
};
use bpfseal_uapi::insn as op;
use bpfseal_uapi::{Command, Errno, Helper, helper, limits};

use crate::memory::{Memory, OutOfBounds, RegionId, Value};

/// Bytes of a program's stack frame.
const STACK: usize = limits::MAX_STACK;
/// Bytes above the frame that can be used all the same: loaders of more programs than the frame has
/// room for use them. The kernel's verifier refuses those, and it is noted.
const ABOVE: usize = 32 << 10;

/// What is read of the host. What is done with it is noted there; it is not zero, so that it is not
/// what was there.
const HOST_BYTE: u8 = 0xa5;

/// Why a run ended early.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields are what the message names")]
pub enum Fault {
    /// No instructions, or not whole ones.
    #[error("{bytes} bytes are no instructions")]
    Length { bytes: usize },
    /// An operation that there is not, or that is not run here.
    #[error("instruction {insn}: operation {code:#04x} is not one that loaders use")]
    Operation { insn: usize, code: u8 },
    /// A register that there is not, or that may not be written.
    #[error("instruction {insn}: register r{register} is not there to be used so")]
    Register { insn: usize, register: u8 },
    /// A jump, or the end of the code, to where there is no instruction.
    #[error("instruction {insn}: it goes on at {target}, where there is no instruction")]
    Jump { insn: usize, target: i64 },
    /// An instruction that runs again.
    #[error("instruction {insn} runs a second time: loaders have no loops")]
    Loop { insn: usize },
    /// A helper that loaders do not use.
    #[error("instruction {insn}: helper {helper} is not one that loaders use")]
    Helper { insn: usize, helper: i32 },
    /// A call that is not of a helper.
    #[error("instruction {insn}: it calls a function, which loaders do not")]
    Function { insn: usize },
    /// A map that the loader is not bound to.
    #[error("instruction {insn}: place {place} of fd_array has no map")]
    NoMap { insn: usize, place: i32 },
    /// Memory that is not there.
    #[error(
        "instruction {insn}: it {} {} bytes at {:#x}, where there is none for it",
        if .access.write { "writes" } else { "reads" }, .access.len, .access.address
    )]
    Memory { insn: usize, access: OutOfBounds },
    /// An address that the host gave, used as if it were the loader's own.
    #[error("instruction {insn}: it uses an address that the host gives")]
    HostAddress { insn: usize },
}

impl Fault {
    /// The instruction, where there is one.
    #[must_use]
    pub fn insn(&self) -> Option<usize> {
        match self {
            Self::Length { .. } => None,
            Self::Operation { insn, .. }
            | Self::Register { insn, .. }
            | Self::Jump { insn, .. }
            | Self::Loop { insn }
            | Self::Helper { insn, .. }
            | Self::Function { insn }
            | Self::NoMap { insn, .. }
            | Self::Memory { insn, .. }
            | Self::HostAddress { insn } => Some(*insn),
        }
    }
}

/// Who answers the calls that a loader makes.
pub(crate) trait Kernel {
    /// `bpf_sys_bpf`: a command, with the attributes at an address.
    fn bpf(
        &mut self,
        insn: usize,
        command: Command,
        memory: &Memory<'_>,
        attr: u64,
        len: usize,
    ) -> Result<i64, OutOfBounds>;
    /// `bpf_sys_close`.
    fn close(&mut self, insn: usize, fd: i32) -> i64;
    /// `bpf_btf_find_by_name_kind`: an id below, a descriptor above; or an error.
    fn find_by_name_kind(&mut self, insn: usize, name: &[u8], kind: i32) -> i64;
    /// `bpf_kallsyms_lookup_name`: an address.
    fn kallsyms(&mut self, insn: usize, name: &[u8]) -> Result<u64, i64>;
    /// `bpf_trace_printk`.
    fn printed(&mut self, insn: usize);
    /// The way that the run takes depends on a value of the host.
    fn host_decides(&mut self, insn: usize);
}

/// What a program does with a value that only the kernel knows: a descriptor, an id, an address.
/// Generated loaders check its sign, cut it in halves and hand it on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AnswerUse {
    /// It reads or writes memory at an address computed from it.
    Address,
    /// It passes it to a helper as an address, size or command.
    Argument,
    /// It branches on more than its sign.
    Branch,
    /// It calculates with it.
    Calculation,
}

impl AnswerUse {
    /// What the loader does, for a message.
    pub(crate) fn describe(self) -> &'static str {
        match self {
            Self::Address => "uses the kernel's answer as an address",
            Self::Argument => "makes an argument of a call from the kernel's answer",
            Self::Branch => "branches on more of the kernel's answer than whether it is an error",
            Self::Calculation => "calculates with the kernel's answer",
        }
    }
}

/// A loader, ready to run.
pub(crate) struct Machine<'k> {
    pub(crate) insns: Vec<Insn>,
    memory: Memory<'k>,
    /// The values of the maps that it is bound to, by place in `fd_array`.
    maps: Vec<Option<BoundMap>>,
    context: RegionId,
    stack: RegionId,
    registers: [Value; 11],
    ran: Vec<bool>,
    /// The first instruction that used memory above the frame.
    pub(crate) above_frame: Option<usize>,
    /// Where what the kernel answered is used for more than handing it on, and how.
    pub(crate) answers_used: Vec<(usize, AnswerUse)>,
    /// Addresses of the bytes that hold what the kernel answered.
    answered: BTreeSet<u64>,
    kernel: &'k mut dyn Kernel,
}

/// A map of `fd_array` before the run: its value, and how the kernel's object begins
/// ([`map_object`]).
pub(crate) type Bound<'k> = (Cow<'k, [u8]>, Vec<u8>);

/// A map of `fd_array`.
#[derive(Debug, Clone, Copy)]
struct BoundMap {
    value: RegionId,
    object: RegionId,
}

/// How the kernel's object of a map begins (`struct bpf_map` of Linux 6.18 and later): its digest,
/// zeroes until somebody asks for it, and whether it is exclusive. Only loaders that check their
/// metadata themselves look at it.
pub(crate) fn map_object(digest: [u8; 32], exclusive: bool, endian: Endian) -> Vec<u8> {
    let mut object = digest.to_vec();
    object.extend(endian.put_u32(u32::from(exclusive)));
    object
}

impl<'k> Machine<'k> {
    /// A loader with its maps by place in `fd_array`.
    pub(crate) fn new(
        instructions: &[u8],
        maps: Vec<Option<Bound<'k>>>,
        context: Vec<u8>,
        endian: Endian,
        kernel: &'k mut dyn Kernel,
    ) -> Result<Self, Fault> {
        if instructions.is_empty() || !instructions.len().is_multiple_of(8) {
            return Err(Fault::Length {
                bytes: instructions.len(),
            });
        }
        let insns = Insn::decode_all(instructions, endian);
        let mut memory = Memory::new(endian);
        let stack = memory.add(vec![0; STACK + ABOVE], true, false);
        let context = memory.add(context, true, true);
        let mut bind = |(value, object): Bound<'k>| BoundMap {
            value: memory.add(value, true, false),
            object: memory.add(object, false, false),
        };
        let maps = maps.into_iter().map(|map| map.map(&mut bind)).collect();
        Ok(Self {
            ran: vec![false; insns.len()],
            insns,
            memory,
            maps,
            context,
            stack,
            registers: [Value::default(); 11],
            above_frame: None,
            answers_used: Vec::new(),
            answered: BTreeSet::new(),
            kernel,
        })
    }

    /// The first bytes of the map at a place of `fd_array`, as the program left them.
    pub(crate) fn start_of(&self, place: usize, len: usize) -> Vec<u8> {
        let map = self.maps.get(place).copied().flatten();
        map.map_or_else(Vec::new, |map| {
            self.memory.start_of(map.value, len).into_owned()
        })
    }

    /// What the program has written to the map at a place of `fd_array`: offsets and bytes.
    pub(crate) fn written_to(&self, place: usize) -> Vec<(usize, Vec<u8>)> {
        let map = self.maps.get(place).copied().flatten();
        let written = map.map(|map| self.memory.written(map.value));
        let written = written.into_iter().flatten();
        written
            .map(|(offset, bytes)| (offset, bytes.into_owned()))
            .collect()
    }

    /// The context, as the program left it.
    pub(crate) fn context(&self) -> Vec<u8> {
        self.memory.start_of(self.context, usize::MAX).into_owned()
    }

    /// Runs it: what it returns.
    pub(crate) fn run(&mut self) -> Result<i64, Fault> {
        self.registers[1] = Value::known(Memory::address(self.context, 0));
        self.registers[10] = Value::known(Memory::address(self.stack, STACK as u64));
        let mut at = 0;
        loop {
            let Some(insn) = self.insns.get(at).copied() else {
                return Err(Fault::Jump {
                    insn: at.saturating_sub(1),
                    target: at as i64,
                });
            };
            if std::mem::replace(&mut self.ran[at], true) {
                return Err(Fault::Loop { insn: at });
            }
            if insn.code == EXIT {
                return Ok(self.registers[0].bits as i32 as i64);
            }
            at = self.step(at, insn)?;
        }
    }

    fn register(&self, insn: usize, register: u8) -> Result<Value, Fault> {
        let found = self.registers.get(usize::from(register));
        found.copied().ok_or(Fault::Register { insn, register })
    }

    fn set(&mut self, insn: usize, register: u8, value: Value) -> Result<(), Fault> {
        // r10 is the frame's address, and is not written.
        match self.registers.get_mut(usize::from(register)) {
            Some(place) if register != 10 => {
                *place = value;
                Ok(())
            }
            _ => Err(Fault::Register { insn, register }),
        }
    }

    /// One instruction: where it goes on.
    fn step(&mut self, at: usize, insn: Insn) -> Result<usize, Fault> {
        match insn.code & op::CLASS_MASK {
            op::BPF_LD if insn.code == LD_IMM64 => {
                self.load_wide(at, insn)?;
                Ok(at + 2)
            }
            op::BPF_LDX | op::BPF_ST | op::BPF_STX if insn.code & op::MODE_MASK == op::BPF_MEM => {
                self.access(at, insn)?;
                Ok(at + 1)
            }
            op::BPF_ALU | op::BPF_ALU64 => {
                self.calculate(at, insn)?;
                Ok(at + 1)
            }
            op::BPF_JMP if insn.code == CALL => {
                self.call(at, insn)?;
                Ok(at + 1)
            }
            op::BPF_JMP | op::BPF_JMP32 => self.jump(at, insn),
            _ => Err(Fault::Operation {
                insn: at,
                code: insn.code,
            }),
        }
    }

    fn load_wide(&mut self, at: usize, insn: Insn) -> Result<(), Fault> {
        let next = self.insns.get(at + 1).copied().ok_or(Fault::Jump {
            insn: at,
            target: at as i64 + 1,
        })?;
        // The second half is no instruction of its own: nothing may jump there.
        self.ran[at + 1] = true;
        let low = insn.imm.cast_unsigned();
        let high = next.imm.cast_unsigned();
        let place = usize::try_from(insn.imm).ok();
        let map = place.and_then(|place| self.maps.get(place).copied().flatten());
        let no_map = Fault::NoMap {
            insn: at,
            place: insn.imm,
        };
        let bits = match insn.src {
            0 => u64::from(high) << 32 | u64::from(low),
            BPF_PSEUDO_MAP_IDX => Memory::address(map.ok_or(no_map)?.object, 0),
            BPF_PSEUDO_MAP_IDX_VALUE => Memory::address(map.ok_or(no_map)?.value, u64::from(high)),
            _ => {
                return Err(Fault::Operation {
                    insn: at,
                    code: insn.code,
                });
            }
        };
        self.set(at, insn.dst, Value::known(bits))
    }

    fn access(&mut self, at: usize, insn: Insn) -> Result<(), Fault> {
        let width = match insn.code & op::SIZE_MASK {
            op::BPF_W => 4,
            op::BPF_H => 2,
            op::BPF_B => 1,
            _ => 8,
        };
        let is_load = insn.code & op::CLASS_MASK == op::BPF_LDX;
        let base = self.register(at, if is_load { insn.src } else { insn.dst })?;
        if base.host {
            return Err(Fault::HostAddress { insn: at });
        }
        if base.answer {
            self.answers_used.push((at, AnswerUse::Address));
        }
        let address = base.bits.wrapping_add_signed(i64::from(insn.off));
        let frame = Memory::address(self.stack, STACK as u64);
        if (frame..frame + ABOVE as u64).contains(&address) {
            self.above_frame.get_or_insert(at);
        }
        let fault = |access| Fault::Memory { insn: at, access };
        match insn.code & op::CLASS_MASK {
            op::BPF_LDX => {
                let mut value = self.memory.load(address, width).map_err(fault)?;
                value.answer = self.is_answer(address, width);
                self.set(at, insn.dst, value)
            }
            op::BPF_ST => {
                let value = Value::signed(i64::from(insn.imm));
                self.memory.store(address, width, value).map_err(fault)?;
                self.mark(address, width, false);
                Ok(())
            }
            _ => {
                let value = self.register(at, insn.src)?;
                self.memory.store(address, width, value).map_err(fault)?;
                self.mark(address, width, value.answer);
                Ok(())
            }
        }
    }

    /// Whether any of some bytes holds what the kernel answered.
    fn is_answer(&self, address: u64, len: usize) -> bool {
        let end = address.saturating_add(len as u64);
        self.answered.range(address..end).next().is_some()
    }

    /// Remembers whether some bytes, of one register, hold what the kernel answered.
    fn mark(&mut self, address: u64, width: usize, answer: bool) {
        for byte in (0..width as u64).map(|offset| address.wrapping_add(offset)) {
            if answer {
                self.answered.insert(byte);
            } else {
                self.answered.remove(&byte);
            }
        }
    }

    /// Notes the arguments of a call that are computed from what the kernel answered.
    fn check_arguments(&mut self, at: usize, called: Helper) {
        let checked = match called {
            helper::SYS_CLOSE | helper::TRACE_PRINTK => return,
            helper::SYS_BPF | helper::BTF_FIND_BY_NAME_KIND => &self.registers[1..=3],
            _ => &self.registers[1..=2],
        };
        if checked.iter().any(|argument| argument.answer) {
            self.answers_used.push((at, AnswerUse::Argument));
        }
    }

    fn calculate(&mut self, at: usize, insn: Insn) -> Result<(), Fault> {
        let wide = insn.code & op::CLASS_MASK == op::BPF_ALU64;
        let left = self.register(at, insn.dst)?;
        let right = if insn.code & op::BPF_X == 0 {
            Value::signed(i64::from(insn.imm))
        } else {
            self.register(at, insn.src)?
        };
        let bad = Fault::Operation {
            insn: at,
            code: insn.code,
        };
        // Signed division, sign extension and byte swaps have an offset or are not used.
        if insn.off != 0 {
            return Err(bad);
        }
        let (a, b) = if wide {
            (left.bits, right.bits)
        } else {
            (u64::from(left.bits as u32), u64::from(right.bits as u32))
        };
        let shift = (b as u32) & if wide { 63 } else { 31 };
        let bits = match insn.code & op::OP_MASK {
            op::BPF_ADD => a.wrapping_add(b),
            op::BPF_SUB => a.wrapping_sub(b),
            op::BPF_MUL => a.wrapping_mul(b),
            op::BPF_DIV => a.checked_div(b).unwrap_or(0),
            op::BPF_OR => a | b,
            op::BPF_AND => a & b,
            op::BPF_LSH => a << shift,
            op::BPF_RSH => a >> shift,
            op::BPF_NEG => a.wrapping_neg(),
            op::BPF_MOD => a.checked_rem(b).unwrap_or(a),
            op::BPF_XOR => a ^ b,
            op::BPF_MOV => b,
            op::BPF_ARSH if wide => (a.cast_signed() >> shift).cast_unsigned(),
            op::BPF_ARSH => u64::from(((a as i32) >> shift).cast_unsigned()),
            _ => return Err(bad),
        };
        let bits = if wide { bits } else { u64::from(bits as u32) };
        let host = match insn.code & op::OP_MASK {
            op::BPF_MOV => right.host,
            _ => left.host || right.host,
        };
        let operation = insn.code & op::OP_MASK;
        let answer = match operation {
            op::BPF_MOV => right.answer,
            _ => left.answer || right.answer,
        };
        let cut = operation == op::BPF_RSH && insn.code & op::BPF_X == 0 && insn.imm == 32;
        if answer && operation != op::BPF_MOV && !cut {
            self.answers_used.push((at, AnswerUse::Calculation));
        }
        self.set(at, insn.dst, Value { bits, host, answer })
    }

    fn jump(&mut self, at: usize, insn: Insn) -> Result<usize, Fault> {
        let wide = insn.code & op::CLASS_MASK == op::BPF_JMP;
        let operation = insn.code & op::OP_MASK;
        let target = |distance: i64| {
            let target = at as i64 + 1 + distance;
            match usize::try_from(target) {
                Ok(target) if target < self.insns.len() => Ok(target),
                _ => Err(Fault::Jump { insn: at, target }),
            }
        };
        if operation == op::BPF_JA {
            let distance = if wide {
                i64::from(insn.off)
            } else {
                i64::from(insn.imm)
            };
            return target(distance);
        }
        let left = self.register(at, insn.dst)?;
        let right = if insn.code & op::BPF_X == 0 {
            Value::signed(i64::from(insn.imm))
        } else {
            self.register(at, insn.src)?
        };
        let (a, b) = if wide {
            (left.bits, right.bits)
        } else {
            // Sign-extended, so that signed comparisons hold.
            let extend = |bits: u64| i64::from(bits as i32).cast_unsigned();
            (extend(left.bits), extend(right.bits))
        };
        let (sa, sb) = (a.cast_signed(), b.cast_signed());
        let taken = match operation {
            op::BPF_JEQ => a == b,
            op::BPF_JGT => a > b,
            op::BPF_JGE => a >= b,
            op::BPF_JSET => a & b != 0,
            op::BPF_JNE => a != b,
            op::BPF_JSGT => sa > sb,
            op::BPF_JSGE => sa >= sb,
            op::BPF_JLT => a < b,
            op::BPF_JLE => a <= b,
            op::BPF_JSLT => sa < sb,
            op::BPF_JSLE => sa <= sb,
            _ => {
                return Err(Fault::Operation {
                    insn: at,
                    code: insn.code,
                });
            }
        };
        let sign = [op::BPF_JSGT, op::BPF_JSGE, op::BPF_JSLT, op::BPF_JSLE].contains(&operation)
            && insn.code & op::BPF_X == 0
            && insn.imm == 0;
        // Whether there is such a symbol at all, and whether it is in a module.
        let absent = [op::BPF_JEQ, op::BPF_JNE].contains(&operation)
            && insn.code & op::BPF_X == 0
            && [0, Errno::ENOENT.negative()].contains(&i64::from(insn.imm));
        if (left.answer || right.answer) && !sign && !absent {
            self.answers_used.push((at, AnswerUse::Branch));
        }
        if left.host || right.host {
            self.kernel.host_decides(at);
        }
        if taken {
            target(i64::from(insn.off))
        } else {
            Ok(at + 1)
        }
    }

    fn call(&mut self, at: usize, insn: Insn) -> Result<(), Fault> {
        let Some(called) = insn.helper() else {
            return Err(Fault::Function { insn: at });
        };
        self.check_arguments(at, called);
        let [_, r1, r2, r3, r4, ..] = self.registers;
        let memory_fault = |access| Fault::Memory { insn: at, access };
        // Addresses that are read or written here; where the host gives a length or address of the
        // loader's own memory, nothing can be said of what happens.
        let own = |value: Value| {
            if value.host {
                Err(Fault::HostAddress { insn: at })
            } else {
                Ok(value.bits)
            }
        };
        let size = |value: Value| own(value).map(|bits| bits as u32 as usize);
        let result = match called {
            helper::SYS_BPF => {
                let len = size(r3)?;
                let command = Command(own(r1)? as u32);
                let address = own(r2)?;
                self.kernel
                    .bpf(at, command, &self.memory, address, len)
                    .map_err(memory_fault)?
            }
            helper::SYS_CLOSE => self.kernel.close(at, r1.bits as i32),
            helper::BTF_FIND_BY_NAME_KIND => {
                let (name, _) = self
                    .memory
                    .read(own(r1)?, size(r2)?)
                    .map_err(memory_fault)?;
                let name = name.strip_suffix(&[0]).unwrap_or(&name);
                self.kernel.find_by_name_kind(at, name, own(r3)? as i32)
            }
            helper::KALLSYMS_LOOKUP_NAME => {
                let (name, _) = self
                    .memory
                    .read(own(r1)?, size(r2)?)
                    .map_err(memory_fault)?;
                let name = name.strip_suffix(&[0]).unwrap_or(&name);
                let found = self.kernel.kallsyms(at, name);
                let value = Value::known(found.unwrap_or(0));
                self.memory
                    .store(own(r4)?, 8, value)
                    .map_err(memory_fault)?;
                self.mark(r4.bits, 8, true);
                found.err().unwrap_or(0)
            }
            helper::COPY_FROM_USER => {
                let len = size(r2)?;
                self.memory.check(own(r1)?, len).map_err(memory_fault)?;
                self.memory
                    .fill(own(r1)?, len, HOST_BYTE, true)
                    .map_err(memory_fault)?;
                0
            }
            helper::PROBE_READ_KERNEL => {
                let (len, to) = (size(r2)?, own(r1)?);
                // Bounded by what there is to write to.
                self.memory.check(to, len).map_err(memory_fault)?;
                let read = match r3.host {
                    true => None,
                    false => Some(self.memory.read(r3.bits, len)),
                };
                let (written, result) = match read {
                    None => (self.memory.fill(to, len, HOST_BYTE, true), 0),
                    Some(Ok((bytes, host))) => {
                        let bytes = bytes.into_owned();
                        (self.memory.write(to, &bytes, host), 0)
                    }
                    // What cannot be read clears what it was to fill.
                    Some(Err(_)) => (
                        self.memory.fill(to, len, 0, false),
                        Errno::EFAULT.negative(),
                    ),
                };
                written.map_err(memory_fault)?;
                result
            }
            helper::TRACE_PRINTK => {
                self.kernel.printed(at);
                0
            }
            Helper(other) => {
                return Err(Fault::Helper {
                    insn: at,
                    helper: other.cast_signed(),
                });
            }
        };
        // A call leaves nothing in the registers of its arguments.
        for register in 1..=5 {
            self.registers[register] = Value::default();
        }
        self.registers[0] = Value::answered(result);
        Ok(())
    }
}
