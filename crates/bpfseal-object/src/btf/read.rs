//! Reading a `.BTF` section: header, types, strings, and whether they refer to what is there.
//!
//! Source: `btf_parse_hdr`, `btf_parse_type_sec` and `btf_sanity_check` of libbpf 1.8.

use super::words::{BTF_MAGIC, Btf, FULL_HEADER, TYPE_WORDS};
use super::{Kind, Type, TypeId};
use crate::{Endian, Error};

/// Header up to and including `str_len`: what compilers wrote before the layout section.
const SHORT_HEADER: u32 = 24;
/// `BTF_MAX_NAME_OFFSET`, the bound of libbpf's reader on the string section.
const MAX_STR_OFFSET: u32 = 0x7fff_ffff;

impl Btf {
    /// Reads a `.BTF` section of an object of byte order `endian`.
    ///
    /// # Errors
    /// [`Error::Btf`] when header, types, strings or references are not as libbpf accepts them.
    pub fn parse(bytes: &[u8], object_endian: Endian) -> Result<Self, Error> {
        let fail = |offset: usize, what: &'static str| Error::Btf { offset, what };
        if bytes.len() < SHORT_HEADER as usize {
            return Err(fail(0, "header is shorter than 24 bytes"));
        }
        let endian = match (bytes[0], bytes[1]) {
            (0x9f, 0xeb) => Endian::Little,
            (0xeb, 0x9f) => Endian::Big,
            _ => return Err(fail(0, "magic is not 0xeb9f")),
        };
        // The reference converts between its host's order and the section's; an object whose
        // BTF differs from its own ELF order is not something a compiler writes.
        if endian != object_endian {
            return Err(fail(0, "byte order differs from the object's"));
        }
        debug_assert_eq!(endian.u16([bytes[0], bytes[1]]), BTF_MAGIC);
        let word = |at: usize| -> u32 {
            bytes
                .get(at..at + 4)
                .map_or(0, |b| endian.u32([b[0], b[1], b[2], b[3]]))
        };
        let header_len = word(4);
        if header_len < SHORT_HEADER {
            return Err(fail(4, "header length is below 24"));
        }
        let (type_off, type_len, str_off, str_len) = (word(8), word(12), word(16), word(20));
        let (layout_off, layout_len) = if header_len >= FULL_HEADER {
            (word(24), word(28))
        } else {
            (0, 0)
        };
        let size = bytes.len() as u64;
        if size < u64::from(header_len) {
            return Err(fail(4, "header length is beyond the section"));
        }
        let left = size - u64::from(header_len);
        if left < u64::from(str_off) + u64::from(str_len) {
            return Err(fail(16, "strings reach beyond the section"));
        }
        let types_end = u64::from(type_off) + u64::from(type_len);
        if types_end > u64::from(str_off) {
            return Err(fail(8, "types overlap the strings"));
        }
        if type_off % 4 != 0 {
            return Err(fail(8, "types are not aligned to 4 bytes"));
        }
        if layout_len != 0
            && (layout_off % 4 != 0
                || u64::from(layout_off) < types_end
                || u64::from(layout_off) + u64::from(layout_len) > u64::from(str_off)
                || layout_len % 4 != 0)
        {
            return Err(fail(24, "layout section is misplaced"));
        }
        let at = |off: u32, len: u32| -> &[u8] {
            let start = header_len as usize + off as usize;
            bytes.get(start..start + len as usize).unwrap_or(&[])
        };
        let strings = at(str_off, str_len).to_vec();
        if strings.is_empty()
            || str_len - 1 > MAX_STR_OFFSET
            || strings.last() != Some(&0)
            || strings.first() != Some(&0)
        {
            return Err(fail(
                16,
                "strings do not begin and end with an empty string",
            ));
        }
        if type_len % 4 != 0 {
            return Err(fail(12, "types end inside a word"));
        }
        let mut btf = Self {
            endian,
            header: bytes[..header_len as usize].to_vec(),
            original: Vec::new(),
            extended: false,
            type_off,
            str_off,
            words: endian.words(at(type_off, type_len)),
            starts: Vec::new(),
            layout: at(layout_off, layout_len).to_vec(),
            layout_off,
            strings,
        };
        btf.index_types(header_len as usize + type_off as usize)?;
        btf.check_references()?;
        let gapless = type_off == 0
            && str_off == type_len
            && layout_len == 0
            && bytes.len() == btf.header.len() + type_len as usize + btf.strings.len();
        if !gapless {
            btf.original = bytes.to_vec();
        }
        Ok(btf)
    }

    fn index_types(&mut self, base: usize) -> Result<(), Error> {
        let mut at = 0;
        while at < self.words.len() {
            let fail = |what| Error::Btf {
                offset: base + at * 4,
                what,
            };
            if at + TYPE_WORDS > self.words.len() {
                return Err(fail("a type is cut off by the end of the types"));
            }
            let len = self
                .type_words(self.words[at + 1])
                .ok_or_else(|| fail("a type is of an unknown kind"))?;
            let end = at
                .checked_add(len)
                .filter(|&end| end <= self.words.len())
                .ok_or_else(|| fail("a type is cut off by the end of the types"))?;
            self.starts
                .push(u32::try_from(at).map_err(|_| fail("there are too many types"))?);
            at = end;
        }
        Ok(())
    }

    /// Length of a type in words, by its info word.
    fn type_words(&self, info: u32) -> Option<usize> {
        let vlen = (info & 0x00ff_ffff) as usize;
        let number = Kind::number_of_info(info);
        match Kind::from_info(info) {
            Kind::Unknown => {
                // A kind of the future: its sizes stand in the layout section, if anywhere.
                // libbpf can not swap such a type, so a big-endian object may not have one.
                let entry = self
                    .layout
                    .get(number as usize * 4..number as usize * 4 + 2)?;
                let (info_sz, elem_sz) = (usize::from(entry[0]), usize::from(entry[1]));
                (self.endian == Endian::Little && info_sz % 4 == 0 && elem_sz % 4 == 0)
                    .then(|| TYPE_WORDS + info_sz / 4 + vlen * (elem_sz / 4))
            }
            kind => Some(TYPE_WORDS + kind.fixed_words() + vlen * kind.element_words()),
        }
    }

    fn check_references(&self) -> Result<(), Error> {
        let count = self.type_count();
        let id_ok = |t: Type<'_>, id: TypeId| -> Result<(), Error> {
            if id.0 < count {
                Ok(())
            } else {
                Err(Error::BtfReference {
                    type_id: t.id.0,
                    referenced: id.0,
                })
            }
        };
        let str_ok = |t: Type<'_>, off: u32| -> Result<(), Error> {
            if (off as usize) < self.strings.len() {
                Ok(())
            } else {
                Err(Error::BtfString {
                    type_id: t.id.0,
                    offset: off,
                })
            }
        };
        for t in self.types() {
            str_ok(t, t.name_off())?;
            match t.kind() {
                Kind::Ptr
                | Kind::Typedef
                | Kind::Volatile
                | Kind::Const
                | Kind::Restrict
                | Kind::Var
                | Kind::DeclTag
                | Kind::TypeTag => id_ok(t, t.type_ref())?,
                Kind::Func => {
                    id_ok(t, t.type_ref())?;
                    if self.kind_of(t.type_ref()) != Kind::FuncProto {
                        return Err(Error::BtfFuncProto {
                            type_id: t.id.0,
                            referenced: t.type_ref().0,
                        });
                    }
                }
                Kind::Array => {
                    id_ok(t, t.array_element())?;
                    id_ok(t, TypeId(t.word(TYPE_WORDS + 1)))?;
                }
                Kind::Struct | Kind::Union => {
                    for m in t.members() {
                        str_ok(t, m.name_off)?;
                        id_ok(t, m.type_id)?;
                    }
                }
                Kind::Enum | Kind::Enum64 => {
                    for e in t.enumerators() {
                        str_ok(t, e.name_off)?;
                    }
                }
                Kind::FuncProto => {
                    id_ok(t, t.type_ref())?;
                    for p in t.params() {
                        str_ok(t, p.name_off)?;
                        id_ok(t, p.type_id)?;
                    }
                }
                Kind::Datasec => {
                    for v in t.vars() {
                        id_ok(t, v.type_id)?;
                    }
                }
                Kind::Void | Kind::Int | Kind::Fwd | Kind::Float | Kind::Unknown => {}
            }
        }
        Ok(())
    }
}
