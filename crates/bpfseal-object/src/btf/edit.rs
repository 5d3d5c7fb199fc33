//! The changes that libbpf makes before BTF is loaded.

use super::words::{Btf, TYPE_WORDS, len32};
use super::{FuncLinkage, Kind, TypeId, VarLinkage, VarSecinfo};

impl Btf {
    fn start(&self, id: TypeId) -> Option<usize> {
        let index = (id.0 as usize).checked_sub(1)?;
        Some(*self.starts.get(index)? as usize)
    }

    fn set_word(&mut self, id: TypeId, index: usize, value: u32) {
        if let Some(start) = self.start(id)
            && let Some(word) = self.words.get_mut(start + index)
        {
            *word = value;
        }
    }

    /// Sets the size of a data section.
    pub(crate) fn set_size(&mut self, id: TypeId, size: u32) {
        self.set_word(id, 2, size);
    }

    /// Points a reference at another type.
    pub(crate) fn set_type_ref(&mut self, id: TypeId, to: TypeId) {
        self.set_word(id, 2, to.0);
    }

    pub(crate) fn set_var_linkage(&mut self, id: TypeId, linkage: VarLinkage) {
        self.set_word(id, TYPE_WORDS, linkage.word());
    }

    pub(crate) fn set_func_linkage(&mut self, id: TypeId, linkage: FuncLinkage) {
        let kept = self.ty(id).info() & !0xffff;
        self.set_word(id, 1, kept | linkage.word());
    }

    /// Marks a function as static; unlike [`Self::set_func_linkage`] the whole info word is new.
    pub(crate) fn set_func_static(&mut self, id: TypeId) {
        self.set_word(
            id,
            1,
            (Kind::Func.number() << 24) | FuncLinkage::Static.word(),
        );
    }

    pub(crate) fn set_param_name(&mut self, id: TypeId, index: usize, name_off: u32) {
        self.set_word(id, TYPE_WORDS + index * 2, name_off);
    }

    pub(crate) fn set_var_secinfo(&mut self, id: TypeId, index: usize, info: VarSecinfo) {
        let at = TYPE_WORDS + index * 3;
        self.set_word(id, at, info.type_id.0);
        self.set_word(id, at + 1, info.offset);
        self.set_word(id, at + 2, info.size);
    }

    /// Sorts the variables of a data section by offset; those of equal offset keep their order.
    pub(crate) fn sort_vars(&mut self, id: TypeId) {
        let mut vars: Vec<VarSecinfo> = self.ty(id).vars().collect();
        if vars.is_sorted_by_key(|v| v.offset) {
            return;
        }
        vars.sort_by_key(|v| v.offset);
        for (i, var) in vars.into_iter().enumerate() {
            self.set_var_secinfo(id, i, var);
        }
    }

    /// Appends a variable; the name is shared with an equal string if there is one.
    pub(crate) fn add_var(&mut self, name: &str, linkage: VarLinkage, to: TypeId) -> TypeId {
        let name_off = self.add_str(name);
        let id = TypeId(self.type_count());
        self.starts.push(len32(self.words.len()));
        self.words
            .extend_from_slice(&[name_off, Kind::Var.number() << 24, to.0, linkage.word()]);
        self.extended = true;
        let types_len = len32(self.words.len() * 4);
        if self.layout.is_empty() {
            self.str_off = self.type_off + types_len;
        } else {
            self.layout_off = self.type_off + types_len;
            self.str_off = self.layout_off + len32(self.layout.len());
        }
        id
    }

    pub(super) fn add_str(&mut self, text: &str) -> u32 {
        // Only whole strings are shared, not the tails of longer ones.
        let mut at = 0;
        while at < self.strings.len() {
            if self.str_is(len32(at), text) {
                return len32(at);
            }
            at += self.strings[at..]
                .iter()
                .position(|&b| b == 0)
                .map_or(self.strings.len(), |n| n + 1);
        }
        let offset = len32(self.strings.len());
        self.strings.extend_from_slice(text.as_bytes());
        self.strings.push(0);
        offset
    }
}
