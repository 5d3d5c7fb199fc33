//! A BTF as it is kept: header, words of types, strings; and written out again.

use crate::Endian;
use crate::elf::c_str;

pub(super) const BTF_MAGIC: u16 = 0xeb9f;
/// Header with `layout_off` and `layout_len`.
pub(super) const FULL_HEADER: u32 = 32;
/// Words of `struct btf_type`: name offset, info, size or type.
pub(super) const TYPE_WORDS: usize = 3;

/// BTF of an object: parsed, fixed up in place, written out again.
#[derive(Debug, Clone)]
pub struct Btf {
    pub(super) endian: Endian,
    /// Header words after the first (magic, version, flags), as far as the header is long.
    pub(super) header: Vec<u8>,
    /// The section as it was read, if there is anything in it besides header, types and strings
    /// without a gap; output starts from it while no type has been added.
    pub(super) original: Vec<u8>,
    /// Whether types or strings were added, so that the section is laid out anew.
    pub(super) extended: bool,
    pub(super) type_off: u32,
    pub(super) str_off: u32,
    pub(super) words: Vec<u32>,
    /// Where each type starts in `words`; entry 0 belongs to type 1.
    pub(super) starts: Vec<u32>,
    pub(super) layout: Vec<u8>,
    pub(super) layout_off: u32,
    pub(super) strings: Vec<u8>,
}

impl Btf {
    /// The string at an offset of the string section.
    #[must_use]
    pub fn str(&self, offset: u32) -> Option<&str> {
        c_str(&self.strings, offset as usize)
    }

    pub(super) fn str_is(&self, offset: u32, name: &str) -> bool {
        self.strings
            .get(offset as usize..)
            .and_then(|s| s.strip_prefix(name.as_bytes()))
            .is_some_and(|rest| rest.first() == Some(&0))
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
}

/// A length that is known to fit: sections are below 4 GiB, and so is what is made of them.
pub(super) fn len32(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
