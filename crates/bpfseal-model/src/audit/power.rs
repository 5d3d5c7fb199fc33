//! What a program can do, by what it calls and uses.

use std::collections::BTreeSet;

use bpfseal_loader::plan::ProgramLoad;
use bpfseal_object::{BPF_PSEUDO_MAP_IDX, BPF_PSEUDO_MAP_IDX_VALUE, MapIdx};

use super::symbol_names;
use crate::helpers::helper_power;

/// What a program can do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Powers {
    /// Helpers that it calls, by name.
    pub helpers: BTreeSet<String>,
    /// Kernel functions and variables that it takes.
    pub symbols: BTreeSet<String>,
    /// Maps that it uses.
    pub maps: BTreeSet<u32>,
    /// What of it reaches beyond its own maps, in words.
    pub notable: BTreeSet<&'static str>,
}

impl Powers {
    /// Of a program.
    #[must_use]
    pub fn of(program: &ProgramLoad) -> Self {
        let mut powers = Self {
            symbols: symbol_names(&program.kernel_refs)
                .into_iter()
                .map(str::to_owned)
                .collect(),
            ..Self::default()
        };
        let mut wide = false;
        for insn in &program.insns {
            // The second half of a load of 64 bits is no instruction.
            if std::mem::take(&mut wide) {
                continue;
            }
            wide = insn.is_ld_imm64();
            if let Some(helper) = insn.helper() {
                powers.helpers.insert(helper.to_string());
                powers.notable.extend(helper_power(helper));
            }
            let is_map = [BPF_PSEUDO_MAP_IDX, BPF_PSEUDO_MAP_IDX_VALUE].contains(&insn.src);
            if wide && is_map {
                powers.maps.insert(MapIdx(insn.imm.cast_unsigned()).0);
            }
        }
        powers
    }
}
