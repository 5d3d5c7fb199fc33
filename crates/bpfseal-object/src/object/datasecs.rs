//! Data sections in BTF: sizes and offsets that only ELF knows.
//!
//! Source: `btf_fixup_datasec` of libbpf 1.8.

use std::collections::HashMap;

use object::elf as raw;

use crate::Error;
use crate::btf::{Btf, Kind, TypeId, VarLinkage};
use crate::elf::{Elf, Symbol};

/// Gives data sections their size and their variables the offsets that only ELF knows, and
/// marks hidden variables as static.
pub(super) fn fix_up(btf: &mut Btf, elf: &Elf<'_>) -> Result<(), Error> {
    let mut variables: HashMap<&str, &Symbol<'_>> = HashMap::new();
    for symbol in &elf.symbols {
        if symbol.kind == raw::STT_OBJECT
            && (symbol.bind == raw::STB_GLOBAL || symbol.bind == raw::STB_WEAK)
        {
            variables.entry(symbol.name).or_insert(symbol);
        }
    }
    let datasecs: Vec<TypeId> = btf
        .types()
        .filter(|t| t.kind() == Kind::Datasec)
        .map(|t| t.id)
        .collect();
    for id in datasecs {
        let name = btf.ty(id).name().to_owned();
        let fault = |what: &'static str, variable: &str| Error::Datasec {
            section: name.clone(),
            variable: variable.to_owned(),
            what,
        };
        // The sections of externs were laid out when the externs were collected.
        if name != ".kconfig" && name != ".ksyms" {
            let fix_offsets = btf.ty(id).size() == 0;
            if fix_offsets {
                let size = elf.section_by_name(&name).map_or(0, |s| s.size);
                let size = u32::try_from(size)
                    .ok()
                    .filter(|&s| s != 0)
                    .ok_or_else(|| fault("has no section of that name with contents", ""))?;
                btf.set_size(id, size);
            }
            let vars: Vec<_> = btf.ty(id).vars().collect();
            for (index, mut var) in vars.into_iter().enumerate() {
                let t = btf.ty(var.type_id);
                if t.kind() != Kind::Var {
                    return Err(fault("holds a type that is not a variable", t.name()));
                }
                if matches!(
                    t.var_linkage(),
                    VarLinkage::Static | VarLinkage::GlobalExtern
                ) {
                    continue;
                }
                let symbol = variables
                    .get(t.name())
                    .ok_or_else(|| fault("has a variable without a symbol", t.name()))?;
                if symbol.is_hidden() {
                    btf.set_var_linkage(var.type_id, VarLinkage::Static);
                }
                if fix_offsets {
                    var.offset = symbol.value as u32;
                    btf.set_var_secinfo(id, index, var);
                }
            }
        }
        btf.sort_vars(id);
    }
    Ok(())
}
