//! BTF: the type information of an object, as libbpf 1.8 reads it.
//!
//! All type data is made of 32-bit words, so it is kept as words in the host's own order and
//! written out in the object's order; the few fix-ups that libbpf makes before loading change
//! words in place. Nothing here knows of ELF. `.BTF.ext` is in [`ext`].
//!
//! Layout: the kernel's `include/uapi/linux/btf.h` (7.3: 24 bits of `vlen`, an optional layout
//! section between types and strings that gives the sizes of kinds a reader does not know).

pub mod ext;
mod kind;

use std::collections::HashMap;

use crate::elf::c_str;
use crate::{Endian, Error};

pub use kind::{FuncLinkage, Kind, VarLinkage};

const BTF_MAGIC: u16 = 0xeb9f;
/// Header up to and including `str_len`: what compilers wrote before the layout section.
const SHORT_HEADER: u32 = 24;
/// Header with `layout_off` and `layout_len`.
const FULL_HEADER: u32 = 32;
/// `BTF_MAX_NAME_OFFSET`, the bound of libbpf's reader on the string section.
const MAX_STR_OFFSET: u32 = 0x7fff_ffff;
/// Most types that are looked at for one alignment.
const MAX_ALIGN_STEPS: u32 = 1 << 18;
/// How far chains of modifiers are followed (`MAX_RESOLVE_DEPTH` of libbpf's btf.c).
const MAX_RESOLVE_DEPTH: usize = 32;
/// Words of `struct btf_type`: name offset, info, size or type.
const TYPE_WORDS: usize = 3;

/// Id of a type; 0 is `void`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TypeId(pub u32);

impl TypeId {
    /// The type without a record of its own.
    pub const VOID: Self = Self(0);

    /// Whether this is `void`.
    #[must_use]
    pub fn is_void(self) -> bool {
        self.0 == 0
    }
}

impl std::fmt::Display for TypeId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[{}]", self.0)
    }
}

/// A member of a struct or union.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Offset of the name in the string section.
    pub name_off: u32,
    /// Type of the member.
    pub type_id: TypeId,
    /// Offset from the start of the struct, in bits.
    pub bit_offset: u32,
    /// Width in bits of a bit-field; 0 for an ordinary member.
    pub bit_size: u32,
}

/// A parameter of a function prototype.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Param {
    /// Offset of the name in the string section; 0 when it has none.
    pub name_off: u32,
    /// Type of the parameter; `void` marks variable arguments.
    pub type_id: TypeId,
}

/// A constant of an enum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enumerator {
    /// Offset of the name in the string section.
    pub name_off: u32,
    /// Value, sign- or zero-extended to 64 bits as the enum's signedness says.
    pub value: u64,
}

/// Place of a variable in a data section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VarSecinfo {
    /// The variable (or, for `.ksyms`, function).
    pub type_id: TypeId,
    /// Offset in the section, bytes.
    pub offset: u32,
    /// Size, bytes.
    pub size: u32,
}

/// A view of one type.
#[derive(Debug, Clone, Copy)]
pub struct Type<'a> {
    btf: &'a Btf,
    /// Its id.
    pub id: TypeId,
    at: usize,
}

impl<'a> Type<'a> {
    fn word(&self, index: usize) -> u32 {
        // `void` has no words; everything else was measured by the parser.
        self.btf.words.get(self.at + index).copied().unwrap_or(0)
    }

    fn info(&self) -> u32 {
        if self.id.is_void() { 0 } else { self.word(1) }
    }

    /// What kind of type this is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        Kind::from_info(self.info())
    }

    /// The kind's number, known or not.
    #[must_use]
    pub fn kind_number(&self) -> u32 {
        Kind::number_of_info(self.info())
    }

    /// Count of members, parameters, constants or variables; the linkage of a function.
    #[must_use]
    pub fn vlen(&self) -> u32 {
        self.info() & 0x00ff_ffff
    }

    /// The kind flag: bit-fields in a struct, signedness of an enum, union in a forward.
    #[must_use]
    pub fn kind_flag(&self) -> bool {
        self.info() >> 31 != 0
    }

    /// Offset of the name in the string section.
    #[must_use]
    pub fn name_off(&self) -> u32 {
        if self.id.is_void() { 0 } else { self.word(0) }
    }

    /// The name; empty when it has none.
    #[must_use]
    pub fn name(&self) -> &'a str {
        self.btf.str(self.name_off()).unwrap_or("")
    }

    /// Whether the name is `name`, without measuring the whole of a long string.
    #[must_use]
    pub fn is_named(&self, name: &str) -> bool {
        self.btf.str_is(self.name_off(), name)
    }

    /// Size in bytes, for kinds that have one.
    #[must_use]
    pub fn size(&self) -> u32 {
        if self.id.is_void() { 0 } else { self.word(2) }
    }

    /// The type referred to, for kinds that refer to one.
    #[must_use]
    pub fn type_ref(&self) -> TypeId {
        TypeId(self.size())
    }

    /// Encoding word of an integer: bits, offset and flags.
    #[must_use]
    pub fn int_data(&self) -> u32 {
        self.word(TYPE_WORDS)
    }

    /// Width of an integer in bits.
    #[must_use]
    pub fn int_bits(&self) -> u32 {
        self.int_data() & 0xff
    }

    /// Whether an integer is signed (`BTF_INT_SIGNED`).
    #[must_use]
    pub fn int_is_signed(&self) -> bool {
        (self.int_data() >> 24) & 1 != 0
    }

    /// Whether an integer is a boolean (`BTF_INT_BOOL`).
    #[must_use]
    pub fn int_is_bool(&self) -> bool {
        (self.int_data() >> 24) & 4 != 0
    }

    /// Element type of an array.
    #[must_use]
    pub fn array_element(&self) -> TypeId {
        TypeId(self.word(TYPE_WORDS))
    }

    /// Count of elements of an array.
    #[must_use]
    pub fn array_len(&self) -> u32 {
        self.word(TYPE_WORDS + 2)
    }

    /// Linkage word of a variable.
    #[must_use]
    pub fn var_linkage(&self) -> VarLinkage {
        VarLinkage::from_word(self.word(TYPE_WORDS))
    }

    /// Linkage of a function.
    #[must_use]
    pub fn func_linkage(&self) -> FuncLinkage {
        FuncLinkage::from_word(self.vlen())
    }

    /// Which member or parameter a declaration tag belongs to; −1 for the whole.
    #[must_use]
    pub fn decl_tag_component(&self) -> i32 {
        self.word(TYPE_WORDS).cast_signed()
    }

    /// Members of a struct or union.
    pub fn members(&self) -> impl ExactSizeIterator<Item = Member> + use<'a> {
        let this = *self;
        let bit_fields = self.kind_flag();
        (0..self.counted(&[Kind::Struct, Kind::Union])).map(move |i| {
            let at = TYPE_WORDS + i * 3;
            let offset = this.word(at + 2);
            Member {
                name_off: this.word(at),
                type_id: TypeId(this.word(at + 1)),
                bit_offset: if bit_fields {
                    offset & 0x00ff_ffff
                } else {
                    offset
                },
                bit_size: if bit_fields { offset >> 24 } else { 0 },
            }
        })
    }

    /// Parameters of a function prototype.
    pub fn params(&self) -> impl ExactSizeIterator<Item = Param> + use<'a> {
        let this = *self;
        (0..self.counted(&[Kind::FuncProto])).map(move |i| Param {
            name_off: this.word(TYPE_WORDS + i * 2),
            type_id: TypeId(this.word(TYPE_WORDS + i * 2 + 1)),
        })
    }

    /// Constants of an enum of either width.
    pub fn enumerators(&self) -> impl ExactSizeIterator<Item = Enumerator> + use<'a> {
        let this = *self;
        let wide = self.kind() == Kind::Enum64;
        let signed = self.kind_flag();
        (0..self.counted(&[Kind::Enum, Kind::Enum64])).map(move |i| {
            if wide {
                let at = TYPE_WORDS + i * 3;
                Enumerator {
                    name_off: this.word(at),
                    value: u64::from(this.word(at + 1)) | (u64::from(this.word(at + 2)) << 32),
                }
            } else {
                let at = TYPE_WORDS + i * 2;
                let value = this.word(at + 1);
                Enumerator {
                    name_off: this.word(at),
                    value: if signed {
                        i64::from(value.cast_signed()).cast_unsigned()
                    } else {
                        u64::from(value)
                    },
                }
            }
        })
    }

    /// Variables of a data section.
    pub fn vars(&self) -> impl ExactSizeIterator<Item = VarSecinfo> + use<'a> {
        let this = *self;
        (0..self.counted(&[Kind::Datasec])).map(move |i| {
            let at = TYPE_WORDS + i * 3;
            VarSecinfo {
                type_id: TypeId(this.word(at)),
                offset: this.word(at + 1),
                size: this.word(at + 2),
            }
        })
    }

    fn counted(&self, kinds: &[Kind]) -> usize {
        if kinds.contains(&self.kind()) {
            self.vlen() as usize
        } else {
            0
        }
    }
}

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

    /// One more than the highest id: types are 0 (`void`) to this, exclusive.
    #[must_use]
    pub fn type_count(&self) -> u32 {
        // The parser bounds the count by the words of a 32-bit length.
        u32::try_from(self.starts.len() + 1).unwrap_or(u32::MAX)
    }

    /// The type of that id; `void` for 0, `None` when there is none.
    #[must_use]
    pub fn get(&self, id: TypeId) -> Option<Type<'_>> {
        if id.is_void() {
            return Some(Type {
                btf: self,
                id,
                at: usize::MAX / 2,
            });
        }
        let at = *self.starts.get(id.0 as usize - 1)? as usize;
        Some(Type { btf: self, id, at })
    }

    /// The type of that id, `void` when there is none. For ids that the parser has checked.
    #[must_use]
    pub fn ty(&self, id: TypeId) -> Type<'_> {
        self.get(id).unwrap_or(Type {
            btf: self,
            id: TypeId::VOID,
            at: usize::MAX / 2,
        })
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

    /// Size of a type in bytes, following references and multiplying arrays.
    ///
    /// `None` when it has no size (`btf__resolve_size` of libbpf fails).
    #[must_use]
    pub fn resolve_size(&self, id: TypeId) -> Option<u32> {
        let mut count: u32 = 1;
        let mut t = self.get(id)?;
        for _ in 0..MAX_RESOLVE_DEPTH {
            let size = match t.kind() {
                Kind::Int
                | Kind::Struct
                | Kind::Union
                | Kind::Enum
                | Kind::Enum64
                | Kind::Datasec
                | Kind::Float => t.size(),
                Kind::Ptr => 8,
                Kind::Typedef
                | Kind::Volatile
                | Kind::Const
                | Kind::Restrict
                | Kind::Var
                | Kind::DeclTag
                | Kind::TypeTag => {
                    t = self.get(t.type_ref())?;
                    continue;
                }
                Kind::Array => {
                    count = count.checked_mul(t.array_len())?;
                    t = self.get(t.array_element())?;
                    continue;
                }
                Kind::Void | Kind::Fwd | Kind::Func | Kind::FuncProto | Kind::Unknown => {
                    return None;
                }
            };
            return size.checked_mul(count);
        }
        None
    }

    /// Alignment of a type in bytes as C lays it out for BPF; `None` when it has none.
    #[must_use]
    pub fn align_of(&self, id: TypeId) -> Option<u32> {
        self.align_within(id, MAX_RESOLVE_DEPTH, &mut { MAX_ALIGN_STEPS })
    }

    /// `steps` bounds the work: structs that hold each other several times over would otherwise
    /// be walked exponentially often.
    fn align_within(&self, id: TypeId, depth: usize, steps: &mut u32) -> Option<u32> {
        let depth = depth.checked_sub(1)?;
        *steps = steps.checked_sub(1)?;
        let t = self.get(id)?;
        match t.kind() {
            Kind::Int | Kind::Enum | Kind::Enum64 | Kind::Float => {
                Some(t.size().min(8)).filter(|&a| a > 0)
            }
            Kind::Ptr => Some(8),
            Kind::Typedef | Kind::Volatile | Kind::Const | Kind::Restrict | Kind::TypeTag => {
                self.align_within(t.type_ref(), depth, steps)
            }
            Kind::Array => self.align_within(t.array_element(), depth, steps),
            Kind::Struct | Kind::Union => {
                let mut max = 1;
                for m in t.members() {
                    let align = self.align_within(m.type_id, depth, steps)?;
                    max = max.max(align);
                    // A member off its alignment says that the struct is packed.
                    if m.bit_size == 0 && m.bit_offset % (8 * align) != 0 {
                        return Some(1);
                    }
                }
                Some(if t.size() % max == 0 { max } else { 1 })
            }
            _ => None,
        }
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

    // --- the changes that libbpf makes ---

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

    fn add_str(&mut self, text: &str) -> u32 {
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
