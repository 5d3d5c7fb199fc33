//! Kernel symbols that a program uses, while its loader is made.

use super::code::Blob;

/// A symbol that the current program uses.
pub(super) struct Symbol {
    pub(super) name: String,
    pub(super) btf_kind: i32,
    pub(super) load: bool,
    pub(super) untyped: bool,
    pub(super) uses: u32,
    /// The first instruction that uses it.
    pub(super) insn: Blob,
    /// Slot of the module BTF's descriptor, for calls.
    pub(super) slot: u32,
}

/// The symbols of the current program, and the slots that calls have taken.
#[derive(Default)]
pub(super) struct KernelSymbols {
    pub(super) symbols: Vec<Symbol>,
    pub(super) slots: u32,
}
