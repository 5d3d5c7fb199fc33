//! Kinds of BTF types and linkages: one table of numbers and sizes.
//!
//! The numbers are those of [`bpfseal_uapi::btf_kind`].

/// Kind of a BTF type. Exhaustive for what libbpf 1.8 knows; others are [`Kind::Unknown`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are those of BTF_KIND_*")]
pub enum Kind {
    Void,
    Int,
    Ptr,
    Array,
    Struct,
    Union,
    Enum,
    Fwd,
    Typedef,
    Volatile,
    Const,
    Restrict,
    Func,
    FuncProto,
    Var,
    Datasec,
    Float,
    DeclTag,
    TypeTag,
    Enum64,
    Unknown,
}

/// Kind, name, words after the three of every type, words for each of `vlen` elements.
/// The place in the table is the number of the kind.
const KINDS: [(Kind, &str, usize, usize); 20] = [
    (Kind::Void, "void", 0, 0),
    (Kind::Int, "int", 1, 0),
    (Kind::Ptr, "ptr", 0, 0),
    (Kind::Array, "array", 3, 0),
    (Kind::Struct, "struct", 0, 3),
    (Kind::Union, "union", 0, 3),
    (Kind::Enum, "enum", 0, 2),
    (Kind::Fwd, "fwd", 0, 0),
    (Kind::Typedef, "typedef", 0, 0),
    (Kind::Volatile, "volatile", 0, 0),
    (Kind::Const, "const", 0, 0),
    (Kind::Restrict, "restrict", 0, 0),
    (Kind::Func, "func", 0, 0),
    (Kind::FuncProto, "func_proto", 0, 2),
    (Kind::Var, "var", 1, 0),
    (Kind::Datasec, "datasec", 0, 3),
    (Kind::Float, "float", 0, 0),
    (Kind::DeclTag, "decl_tag", 1, 0),
    (Kind::TypeTag, "type_tag", 0, 0),
    (Kind::Enum64, "enum64", 0, 3),
];

impl Kind {
    pub(super) fn number_of_info(info: u32) -> u32 {
        (info >> 24) & 0x7f
    }

    pub(super) fn from_info(info: u32) -> Self {
        KINDS
            .get(Self::number_of_info(info) as usize)
            .map_or(Self::Unknown, |row| row.0)
    }

    /// `BTF_KIND_*`.
    #[must_use]
    pub fn number(self) -> u32 {
        KINDS
            .iter()
            .position(|row| row.0 == self)
            .and_then(|n| u32::try_from(n).ok())
            .unwrap_or(0x7f)
    }

    /// The kind's name in messages, as libbpf prints it.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().map_or("unknown", |row| row.1)
    }

    /// `const`, `volatile`, `restrict` or a type tag.
    #[must_use]
    pub fn is_modifier(self) -> bool {
        matches!(
            self,
            Self::Volatile | Self::Const | Self::Restrict | Self::TypeTag
        )
    }

    pub(super) fn fixed_words(self) -> usize {
        self.row().map_or(0, |row| row.2)
    }

    pub(super) fn element_words(self) -> usize {
        self.row().map_or(0, |row| row.3)
    }

    fn row(self) -> Option<&'static (Self, &'static str, usize, usize)> {
        KINDS.iter().find(|row| row.0 == self)
    }
}

/// Linkage of a variable (`BTF_VAR_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VarLinkage {
    /// Local to its file, or hidden.
    Static,
    /// Defined here and visible outside.
    GlobalAllocated,
    /// Defined elsewhere.
    GlobalExtern,
    /// A number that is none of these.
    Other(u32),
}

impl VarLinkage {
    pub(super) fn from_word(word: u32) -> Self {
        match word {
            0 => Self::Static,
            1 => Self::GlobalAllocated,
            2 => Self::GlobalExtern,
            other => Self::Other(other),
        }
    }

    pub(super) fn word(self) -> u32 {
        match self {
            Self::Static => 0,
            Self::GlobalAllocated => 1,
            Self::GlobalExtern => 2,
            Self::Other(other) => other,
        }
    }

    /// Name in messages, as libbpf prints it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Static => "static",
            Self::GlobalAllocated => "global",
            Self::GlobalExtern => "extern",
            Self::Other(_) => "unknown",
        }
    }
}

/// Linkage of a function (`BTF_FUNC_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FuncLinkage {
    /// Verified in the context of its callers.
    Static,
    /// Verified on its own.
    Global,
    /// Defined elsewhere.
    Extern,
    /// A number that is none of these.
    Other(u32),
}

impl FuncLinkage {
    pub(super) fn from_word(word: u32) -> Self {
        match word {
            0 => Self::Static,
            1 => Self::Global,
            2 => Self::Extern,
            other => Self::Other(other),
        }
    }

    pub(super) fn word(self) -> u32 {
        match self {
            Self::Static => 0,
            Self::Global => 1,
            Self::Extern => 2,
            Self::Other(other) => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_is_complete_and_in_order_of_numbers() {
        for (number, row) in KINDS.iter().enumerate() {
            assert_eq!(row.0.number() as usize, number);
            assert_eq!(Kind::from_info((number as u32) << 24), row.0);
        }
        assert_eq!(Kind::from_info(20 << 24), Kind::Unknown);
    }

    #[test]
    fn the_place_in_the_table_is_the_kernels_number() {
        let entries = bpfseal_uapi::BtfKind::ALL;
        assert_eq!(KINDS.len(), entries.len());
        for (row, entry) in KINDS.iter().zip(entries).skip(1) {
            assert_eq!((row.1, row.0.number()), (entry.name, entry.number));
        }
    }
}
