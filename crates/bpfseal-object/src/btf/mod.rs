//! BTF: the type information of an object, as libbpf 1.8 reads it.
//!
//! All type data is made of 32-bit words, so it is kept as words in the host's own order and
//! written out in the object's order; the few fix-ups that libbpf makes before loading change
//! words in place. Nothing here knows of ELF. `.BTF.ext` is in [`ext`].
//!
//! Layout: the kernel's `include/uapi/linux/btf.h` (7.3: 24 bits of `vlen`, an optional layout
//! section between types and strings that gives the sizes of kinds a reader does not know).

mod edit;
pub mod ext;
mod kind;
mod layout;
mod read;
mod view;

use std::collections::HashMap;

use crate::Endian;
use crate::elf::c_str;

pub use kind::{FuncLinkage, Kind, VarLinkage};
pub use view::{Enumerator, Member, Param, Type, TypeId, VarSecinfo};

const BTF_MAGIC: u16 = 0xeb9f;
/// Header with `layout_off` and `layout_len`.
const FULL_HEADER: u32 = 32;
/// Words of `struct btf_type`: name offset, info, size or type.
const TYPE_WORDS: usize = 3;

/// BTF of an object: parsed, fixed up in place, written out again.
#[derive(Debug, Clone)]
pub struct Btf {
    endian: Endian,
    /// Header words after the first (magic, version, flags), as far as the header is long.
    header: Vec<u8>,
    /// The section as it was read, if there is anything in it besides header, types and strings
    /// without a gap; output starts from it while no type has been added.
    original: Vec<u8>,
    /// Whether types or strings were added, so that the section is laid out anew.
    extended: bool,
    type_off: u32,
    str_off: u32,
    words: Vec<u32>,
    /// Where each type starts in `words`; entry 0 belongs to type 1.
    starts: Vec<u32>,
    layout: Vec<u8>,
    layout_off: u32,
    strings: Vec<u8>,
}

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

    /// The string at an offset of the string section.
    #[must_use]
    pub fn str(&self, offset: u32) -> Option<&str> {
        c_str(&self.strings, offset as usize)
    }

    fn str_is(&self, offset: u32, name: &str) -> bool {
        self.strings
            .get(offset as usize..)
            .and_then(|s| s.strip_prefix(name.as_bytes()))
            .is_some_and(|rest| rest.first() == Some(&0))
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

    /// The section as it goes to the kernel, in the object's byte order.
    ///
    /// Little-endian output keeps the bytes that no type owns as they were; a section that was
    /// extended, or that libbpf on its usual little-endian host had to swap, is laid out anew:
    /// header, types, layout, strings, without gaps.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        if !self.extended && self.endian == Endian::Little && !self.original.is_empty() {
            let mut out = self.original.clone();
            let types = self.endian.put_words(&self.words);
            let start = self.header.len() + self.type_off as usize;
            if let Some(place) = out.get_mut(start..start + types.len()) {
                place.copy_from_slice(&types);
            }
            return out;
        }
        let type_len = self.words.len() * 4;
        let mut out = Vec::with_capacity(
            self.header.len() + type_len + self.layout.len() + self.strings.len(),
        );
        out.extend_from_slice(&self.header);
        let mut put = |at: usize, value: u32| {
            if let Some(place) = out.get_mut(at..at + 4) {
                place.copy_from_slice(&self.endian.put_u32(value));
            }
        };
        // The reference writes lengths and offsets as it keeps them, which may leave an
        // offset that counted a gap; only what an added type changes is changed.
        put(12, len32(type_len));
        put(16, self.str_off);
        put(20, len32(self.strings.len()));
        if self.header.len() >= FULL_HEADER as usize {
            put(24, self.layout_off);
        }
        for &word in &self.words {
            out.extend_from_slice(&self.endian.put_u32(word));
        }
        out.extend_from_slice(&self.layout);
        out.extend_from_slice(&self.strings);
        out
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

/// A length that is known to fit: sections are below 4 GiB, and so is what is made of them.
fn len32(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
