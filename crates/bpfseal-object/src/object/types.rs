//! The object's BTF, after libbpf's fix-ups.
//!
//! Comes after the sections, and before maps, which are declared in BTF. Source:
//! `bpf_object__init_btf`, `bpf_object_fixup_btf` and `bpf_object__sanitize_and_load_btf` of libbpf
//! 1.8.

use std::collections::HashMap;

use super::{Object, Roles};
use crate::Error;
use crate::btf::ext::BtfExt;
use crate::btf::{Btf, FuncLinkage, Kind, TypeId};
use crate::elf::{Elf, SectionIdx};

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
