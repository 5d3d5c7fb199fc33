//! One type of a BTF, as it is looked at: kind, name, size, members.
//!
//! Views borrow the words of their [`Btf`]; what a kind has not got is zero or empty.

use super::words::{Btf, TYPE_WORDS};
use super::{FuncLinkage, Kind, VarLinkage};

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
    pub(super) btf: &'a Btf,
    /// Its id.
    pub id: TypeId,
    /// Its words; none for `void`.
    pub(super) words: &'a [u32],
}

impl<'a> Type<'a> {
    pub(super) fn word(&self, index: usize) -> u32 {
        // `void` has no words; everything else was measured by the parser.
        self.words.get(index).copied().unwrap_or(0)
    }

    pub(super) fn info(&self) -> u32 {
        self.word(1)
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
        self.word(0)
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
        self.word(2)
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
