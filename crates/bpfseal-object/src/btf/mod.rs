//! BTF: the type information of an object, as libbpf 1.8 reads it.
//!
//! All type data is made of 32-bit words, so it is kept as words in the host's own order and
//! written out in the object's order; the few fix-ups that libbpf makes before loading change
//! words in place. Nothing here knows of ELF. `.BTF.ext` is in [`ext`].
//!
//! Layout: the kernel's `include/uapi/linux/btf.h` (7.3: 24 bits of `vlen`, an optional layout
//! section between types and strings that gives the sizes of kinds a reader does not know).
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use bpfseal_object::Object;
//! use bpfseal_object::btf::Kind;
//!
//! let object = Object::parse(&std::fs::read("prog.bpf.o")?, "prog")?;
//! let btf = object.btf.ok_or("compile it with -g")?;
//! if let Some(event) = btf.find_kind("event", Kind::Struct) {
//!     for member in event.members() {
//!         let name = btf.str(member.name_off).unwrap_or("");
//!         println!("{name}: {}, at bit {}", btf.ty(member.type_id).name(), member.bit_offset);
//!     }
//! }
//! # Ok(())
//! # }
//! ```

mod edit;
pub mod ext;
mod kind;
mod layout;
mod read;
mod view;
mod words;

use std::collections::HashMap;

pub use kind::{FuncLinkage, Kind, VarLinkage};
pub use view::{Enumerator, Member, Param, Type, TypeId, VarSecinfo};
pub use words::Btf;

impl Btf {
    /// One more than the highest id: types are 0 (`void`) to this, exclusive.
    #[must_use]
    pub fn type_count(&self) -> u32 {
        // The parser bounds the count by the words of a 32-bit length.
        u32::try_from(self.starts.len() + 1).unwrap_or(u32::MAX)
    }

    /// The type of that id; `void` for 0, `None` when there is none.
    #[must_use]
    pub fn get(&self, id: TypeId) -> Option<Type<'_>> {
        let Some(index) = (id.0 as usize).checked_sub(1) else {
            return Some(self.void());
        };
        let start = *self.starts.get(index)? as usize;
        let next = self.starts.get(index + 1);
        let end = next.map_or(self.words.len(), |next| *next as usize);
        Some(Type {
            btf: self,
            id,
            words: self.words.get(start..end)?,
        })
    }

    /// `void`, which has no words.
    fn void(&self) -> Type<'_> {
        Type {
            btf: self,
            id: TypeId::VOID,
            words: &[],
        }
    }

    /// The type of that id, `void` when there is none. For ids that the parser has checked.
    #[must_use]
    pub fn ty(&self, id: TypeId) -> Type<'_> {
        self.get(id).unwrap_or_else(|| self.void())
    }

    fn kind_of(&self, id: TypeId) -> Kind {
        self.ty(id).kind()
    }

    /// All types but `void`, by id.
    pub fn types(&self) -> impl Iterator<Item = Type<'_>> {
        (1..self.type_count()).map(|id| self.ty(TypeId(id)))
    }

    /// The first type of that name, of any kind.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<Type<'_>> {
        self.types().find(|t| t.is_named(name))
    }

    /// The first type of that name and kind.
    #[must_use]
    pub fn find_kind(&self, name: &str, kind: Kind) -> Option<Type<'_>> {
        self.types().find(|t| t.kind() == kind && t.is_named(name))
    }

    /// Follows modifiers and typedefs to the type behind them.
    #[must_use]
    pub fn skip_mods_and_typedefs(&self, id: TypeId) -> Type<'_> {
        let mut t = self.ty(id);
        // A cycle of modifiers would be endless; no chain is longer than there are types.
        for _ in 0..self.starts.len() {
            if !(t.kind().is_modifier() || t.kind() == Kind::Typedef) {
                break;
            }
            t = self.ty(t.type_ref());
        }
        if t.kind().is_modifier() || t.kind() == Kind::Typedef {
            return self.ty(TypeId::VOID);
        }
        t
    }

    /// What stands at an offset of the section as it was read, in words.
    #[must_use]
    pub fn place(&self, offset: usize) -> String {
        let types = self.header.len() + self.type_off as usize;
        let strings = self.header.len() + self.str_off as usize;
        let Some(at) = offset
            .checked_sub(types)
            .filter(|at| at / 4 < self.words.len())
        else {
            return match offset.checked_sub(strings) {
                Some(at) => format!("byte {at} of the strings"),
                None => format!("byte {offset} of the header"),
            };
        };
        let word = at / 4;
        let index = self.starts.partition_point(|start| *start as usize <= word);
        let t = self.ty(TypeId(u32::try_from(index).unwrap_or(0)));
        let start = index
            .checked_sub(1)
            .and_then(|i| self.starts.get(i))
            .map_or(0, |start| *start as usize);
        format!(
            "BTF type {} ({} `{}`), word {}",
            t.id,
            t.kind().name(),
            t.name(),
            word - start
        )
    }

    /// Ids of functions and variables by name; the first of each name.
    pub(crate) fn symbols_by_name(&self) -> HashMap<&str, TypeId> {
        let mut names = HashMap::new();
        for t in self.types() {
            if matches!(t.kind(), Kind::Func | Kind::Var) {
                names.entry(t.name()).or_insert(t.id);
            }
        }
        names
    }
}

#[cfg(test)]
mod tests;
