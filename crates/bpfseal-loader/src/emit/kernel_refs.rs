//! Code that puts kernel symbols into a program's instructions while the loader runs.
//!
//! The first use of a symbol looks it up; later uses in the same program copy what the first
//! found. Descriptors of module BTF are closed after the program is loaded.

use bpfseal_object::Endian;
use bpfseal_uapi::{Errno, bpf_insn, btf_kind, helper};

use super::code::{Blob, MAP_SLOTS, MAX_KFUNC_SLOTS, Width, op};
use super::symbols::Symbol;
use super::{Emitter, Part};
use crate::Error;
use crate::plan::{KernelRef, KernelRefKind};

/// What the kernel answers for a symbol that it has not.
const NOT_FOUND: i32 = -Errno::ENOENT.0;
/// Offset of the byte of the registers in an instruction.
const INSN_REGS: u32 = bpf_insn::REGS.offset() as u32;
const INSN_OFF: u32 = bpf_insn::OFF.offset() as u32;
const INSN_IMM: u32 = bpf_insn::IMM.offset() as u32;
/// Offset of `imm` in the second half of a 64-bit load.
const INSN2_IMM: u32 = bpf_insn::LEN as u32 + INSN_IMM;

impl KernelRefKind {
    fn btf_kind(self) -> i32 {
        match self {
            Self::Call | Self::FunctionAddress => btf_kind::FUNC,
            Self::UntypedAddress | Self::VariableAddress => btf_kind::VAR,
        }
        .0
        .cast_signed()
    }

    fn is_load(self) -> bool {
        self != Self::Call
    }
}

impl Emitter<'_> {
    /// Puts a symbol into the instruction at `reference.insn` of the program at `insns`.
    pub(super) fn kernel_ref(
        &mut self,
        reference: &KernelRef,
        insns: Blob,
        program: &str,
    ) -> Result<(), Error> {
        let insn = insns + reference.insn * 8;
        self.code.blob_addr(8, insn);
        let index = self.symbol(reference);
        let symbol = &mut self.symbols.symbols[index];
        symbol.uses += 1;
        let first = symbol.uses == 1;
        if first {
            symbol.insn = insn;
        }
        match reference.kind {
            KernelRefKind::Call => self.call(reference, index, insn, program),
            KernelRefKind::UntypedAddress => self.untyped_address(reference, index, insn),
            KernelRefKind::FunctionAddress | KernelRefKind::VariableAddress => {
                self.typed_address(reference, index, insn)
            }
        }
    }

    fn symbol(&mut self, reference: &KernelRef) -> usize {
        let (btf_kind, load) = (reference.kind.btf_kind(), reference.kind.is_load());
        let symbols = &mut self.symbols.symbols;
        symbols
            .iter()
            .position(|s| s.btf_kind == btf_kind && s.load == load && s.name == reference.name)
            .unwrap_or_else(|| {
                symbols.push(Symbol {
                    name: reference.name.clone(),
                    btf_kind,
                    load,
                    untyped: false,
                    uses: 0,
                    insn: 0,
                    slot: 0,
                });
                symbols.len() - 1
            })
    }

    fn is_first(&self, index: usize) -> bool {
        self.symbols.symbols[index].uses == 1
    }

    fn find_symbol(&mut self, reference: &KernelRef) -> Result<(), Error> {
        let kind = reference.kind.btf_kind();
        let (name, len) = self.code.add_text(&reference.name, Part::SymbolName)?;
        self.find_by_name_kind(name, len, kind);
        self.code
            .log_result(&format!("find_by_name_kind({},{kind})", reference.name))?;
        if !reference.weak {
            self.code.check_error()?;
        }
        Ok(())
    }

    /// A call: BTF id into `imm`, slot of the module's descriptor into `off`.
    fn call(
        &mut self,
        reference: &KernelRef,
        index: usize,
        insn: Blob,
        program: &str,
    ) -> Result<(), Error> {
        if self.is_first(index) {
            self.find_symbol(reference)?;
            let slot = self.kfunc_slot(program)?;
            self.symbols.symbols[index].slot = slot;
            let code = &mut self.code;
            code.op(op::JSGE_IMM, 7, 0, 3, 0);
            code.store_imm(Width::W4, 8, INSN_IMM as i16, 0);
            code.store_imm(Width::W2, 8, INSN_OFF as i16, 0);
            code.op(op::JA, 0, 0, 10, 0);
            code.store(Width::W4, 8, 7, INSN_IMM as i16);
            code.mov_reg(9, 7);
            code.op(op::RSH64_IMM, 9, 0, 0, 32);
            let place = code.fd_slot(slot);
            code.blob_addr(0, place);
            code.store(Width::W4, 0, 9, 0);
            // A function of the kernel proper has no descriptor, and 0 for a slot.
            code.op(op::JNE_IMM, 9, 0, 2, 0);
            code.store_imm(Width::W2, 8, INSN_OFF as i16, 0);
            code.op(op::JA, 0, 0, 1, 0);
            code.store_imm(Width::W2, 8, INSN_OFF as i16, slot.cast_signed());
        } else {
            let from = self.symbols.symbols[index].insn;
            let code = &mut self.code;
            code.blob_to_blob(insn + INSN_IMM, Width::W4, from + INSN_IMM);
            code.blob_to_blob(insn + INSN_OFF, Width::W2, from + INSN_OFF);
        }
        self.log_call(index)
    }

    fn log_call(&mut self, index: usize) -> Result<(), Error> {
        if !self.code.log {
            return Ok(());
        }
        let symbol = &self.symbols.symbols[index];
        let (name, uses, slot) = (symbol.name.clone(), symbol.uses, symbol.slot);
        let code = &mut self.code;
        code.load(Width::W4, 7, 8, INSN_IMM as i16);
        code.load(Width::W2, 9, 8, INSN_OFF as i16);
        code.log_registers(
            7,
            Some(9),
            &format!(" func ({name}:count={uses}): imm: %d, off: %d"),
        )?;
        let place = code.fd_slot(slot);
        code.blob_addr(0, place);
        code.load(Width::W4, 9, 0, 0);
        code.log_registers(9, None, &format!(" func ({name}:count={uses}): btf_fd"))
    }

    /// The next slot for a module's descriptor; past the reserved ones, at the metadata's end.
    fn kfunc_slot(&mut self, program: &str) -> Result<u32, Error> {
        let slot = if self.symbols.slots == MAX_KFUNC_SLOTS {
            self.code.add_data(&[0; 4], Part::KernelFunctionSlot)? / 4
        } else {
            self.symbols.slots += 1;
            MAP_SLOTS + self.symbols.slots - 1
        };
        if slot > i16::MAX as u32 {
            return Err(Error::KfuncSlots {
                program: program.to_owned(),
            });
        }
        Ok(slot)
    }

    /// A 64-bit load: the symbol's address, from kallsyms.
    fn untyped_address(
        &mut self,
        reference: &KernelRef,
        index: usize,
        insn: Blob,
    ) -> Result<(), Error> {
        if self.is_first(index) {
            self.symbols.symbols[index].untyped = true;
            let (name, len) = self.code.add_text(&reference.name, Part::SymbolName)?;
            let result = self.code.add_data(&[0; 8], Part::SymbolAddress)?;
            let code = &mut self.code;
            code.blob_addr(1, name);
            code.mov_imm(2, len);
            code.mov_imm(3, 0);
            code.blob_addr(4, result);
            code.mov_reg(7, 4);
            code.call(helper::KALLSYMS_LOOKUP_NAME);
            code.load(Width::W8, 9, 7, 0);
            code.mov_reg(7, 0);
            code.log_result(&format!(
                "kallsyms_lookup_name({},{})",
                reference.name,
                reference.kind.btf_kind()
            ))?;
            // A symbol that does not exist is zero, weak or not.
            code.op(op::JEQ_IMM, 7, 0, 1, NOT_FOUND);
            code.check_error()?;
            code.store(Width::W4, 8, 9, INSN_IMM as i16);
            code.op(op::RSH64_IMM, 9, 0, 0, 32);
            code.store(Width::W4, 8, 9, INSN2_IMM as i16);
        } else {
            let from = self.symbols.symbols[index].insn;
            let code = &mut self.code;
            code.blob_to_blob(insn + INSN_IMM, Width::W4, from + INSN_IMM);
            code.blob_to_blob(insn + INSN2_IMM, Width::W4, from + INSN2_IMM);
        }
        self.log_load(reference, index)
    }

    /// A 64-bit load: BTF id and descriptor of the BTF object.
    fn typed_address(
        &mut self,
        reference: &KernelRef,
        index: usize,
        insn: Blob,
    ) -> Result<(), Error> {
        if self.is_first(index) {
            self.find_symbol(reference)?;
            let code = &mut self.code;
            code.op(op::JSGE_IMM, 7, 0, 3, 0);
            code.store_imm(Width::W4, 8, INSN_IMM as i16, 0);
            code.store_imm(Width::W4, 8, INSN2_IMM as i16, 0);
            code.op(op::JA, 0, 0, 4, 0);
            code.store(Width::W4, 8, 7, INSN_IMM as i16);
            code.op(op::RSH64_IMM, 7, 0, 0, 32);
            code.store(Width::W4, 8, 7, INSN2_IMM as i16);
            code.op(op::JA, 0, 0, 3, 0);
        } else {
            let from = self.symbols.symbols[index].insn;
            let code = &mut self.code;
            code.blob_to_blob(insn + INSN2_IMM, Width::W4, from + INSN2_IMM);
            code.blob_to_blob(insn + INSN_IMM, Width::W4, from + INSN_IMM);
            // r0 still holds the id that was copied.
            code.op(op::JNE_IMM, 0, 0, 3, 0);
        }
        // A symbol that was not found: the load is no longer one of a BTF id, so that the
        // verifier sees a plain zero.
        let keep = match self.code.endian {
            Endian::Little => 0x0f,
            Endian::Big => 0xf0,
        };
        self.code.load(Width::W1, 9, 8, INSN_REGS as i16);
        self.code.op(op::AND32_IMM, 9, 0, 0, keep);
        self.code.store(Width::W1, 8, 9, INSN_REGS as i16);
        self.log_load(reference, index)
    }

    fn log_load(&mut self, reference: &KernelRef, index: usize) -> Result<(), Error> {
        if !self.code.log {
            return Ok(());
        }
        let untyped = u8::from(reference.kind == KernelRefKind::UntypedAddress);
        let weak = u8::from(reference.weak);
        let place = format!(
            " var t={untyped} w={weak} ({}:count={})",
            reference.name, self.symbols.symbols[index].uses
        );
        let code = &mut self.code;
        code.load(Width::W4, 7, 8, INSN_IMM as i16);
        code.load(Width::W2, 9, 8, INSN2_IMM as i16);
        code.log_registers(7, Some(9), &format!("{place}: imm[0]: %d, imm[1]: %d"))?;
        code.load(Width::W1, 9, 8, INSN_REGS as i16);
        code.log_registers(9, None, &format!("{place}: insn.reg"))
    }

    /// Closes the descriptors that looking up symbols has opened, and forgets the symbols.
    pub(super) fn close_kernel_symbols(&mut self) -> Result<(), Error> {
        for symbol in std::mem::take(&mut self.symbols.symbols) {
            if symbol.load && !symbol.untyped {
                self.code.close_blob(symbol.insn + INSN2_IMM)?;
            } else if !symbol.load {
                let place = self.code.fd_slot(symbol.slot);
                self.code.close_blob(place)?;
                if symbol.slot < MAP_SLOTS + MAX_KFUNC_SLOTS {
                    self.symbols.slots -= 1;
                }
            }
        }
        Ok(())
    }
}
