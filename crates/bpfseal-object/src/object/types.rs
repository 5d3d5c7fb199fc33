//! The object's BTF, after libbpf's fix-ups.
//!
//! Comes after the sections, and before maps, which are declared in BTF. Source:
//! `bpf_object__init_btf`, `bpf_object_fixup_btf` and `bpf_object__sanitize_and_load_btf` of libbpf
//! 1.8.

use std::collections::HashMap;

use object::elf as raw;

use super::{Object, Roles};
use crate::Error;
use crate::btf::ext::BtfExt;
use crate::btf::{Btf, FuncLinkage, Kind, TypeId, VarLinkage};
use crate::elf::{Elf, SectionIdx, Symbol};

impl Object {
    pub(super) fn read_btf(&mut self, elf: &Elf<'_>, roles: &Roles) -> Result<(), Error> {
        for program in &mut self.programs {
            program.subprogram = roles.text == Some(program.section);
        }
        let needed = roles.maps.is_some() || !roles.struct_ops.is_empty();
        let bytes = |idx: Option<SectionIdx>| idx.and_then(|i| elf.section(i)).map(|s| s.data);
        let Some(btf) = bytes(roles.btf) else {
            return if needed { Err(Error::NoBtf) } else { Ok(()) };
        };
        match Btf::parse(btf, self.endian) {
            Ok(btf) => self.btf = Some(btf),
            Err(error) if needed => return Err(error),
            Err(error) => {
                self.notes
                    .push(format!("`.BTF` is left out, it can not be read: {error}"));
                return Ok(());
            }
        }
        let (Some(ext), Some(btf)) = (bytes(roles.btf_ext), &self.btf) else {
            return Ok(());
        };
        match BtfExt::parse(ext, self.endian) {
            Ok(mut ext) => {
                ext.resolve_sections(|name_off| {
                    let name = btf.str(name_off).filter(|n| !n.is_empty())?;
                    elf.section_by_name(name).map(|s| s.index)
                });
                self.btf_ext = Some(ext);
            }
            Err(error) if needed => return Err(error),
            Err(error) => self.notes.push(format!(
                "`.BTF.ext` is left out, it can not be read: {error}"
            )),
        }
        Ok(())
    }

    /// Hidden subprograms are static to the verifier, which then knows what their callers know.
    pub(super) fn mark_hidden_subprograms(&mut self) {
        let Some(btf) = &mut self.btf else { return };
        let mut global: HashMap<&str, TypeId> = HashMap::new();
        for t in btf.types() {
            if t.kind() == Kind::Func && t.func_linkage() == FuncLinkage::Global {
                global.entry(t.name()).or_insert(t.id);
            }
        }
        let ids: Vec<TypeId> = self
            .programs
            .iter()
            .filter(|p| p.subprogram && p.hidden)
            .filter_map(|p| global.get(p.name.as_str()).copied())
            .collect();
        for id in ids {
            btf.set_func_static(id);
        }
    }
}

/// Gives data sections their size and their variables the offsets that only ELF knows, and
/// marks hidden variables as static.
pub(super) fn fix_up_datasecs(btf: &mut Btf, elf: &Elf<'_>) -> Result<(), Error> {
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
