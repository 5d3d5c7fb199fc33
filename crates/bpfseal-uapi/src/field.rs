//! Fields of structures that user space and the kernel share.

use core::fmt;
use core::marker::PhantomData;
use core::ops::Range;

use crate::Version;

/// A field: its place and its type. `T` is one of the [`FieldType`]s, so that an address cannot be
/// written where a number belongs.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Field<T> {
    info: FieldInfo,
    holds: PhantomData<T>,
}

/// A field of any type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FieldInfo {
    /// The kernel's name. A field of a union's member is named `member.field`.
    pub name: &'static str,
    /// Offset in the structure, in bytes.
    pub offset: usize,
    /// Size in bytes.
    pub size: usize,
    /// The first release of Linux that has it, if known.
    pub since: Option<Version>,
}

impl FieldInfo {
    /// The offset after it.
    #[must_use]
    pub const fn end(&self) -> usize {
        self.offset + self.size
    }

    /// The bytes that it occupies.
    #[must_use]
    pub const fn range(&self) -> Range<usize> {
        self.offset..self.end()
    }
}

impl<T: FieldType> Field<T> {
    /// A field by its name, offset in bytes, and first kernel.
    #[must_use]
    pub(crate) const fn new(name: &'static str, offset: usize, since: Option<Version>) -> Self {
        Self {
            info: FieldInfo {
                name,
                offset,
                size: T::SIZE,
                since,
            },
            holds: PhantomData,
        }
    }

    /// The field without its type.
    #[must_use]
    pub const fn info(self) -> FieldInfo {
        self.info
    }

    /// The kernel's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.info.name
    }

    /// Offset in the structure, in bytes.
    #[must_use]
    pub const fn offset(self) -> usize {
        self.info.offset
    }

    /// The offset after it: the length of a structure that ends with this field.
    #[must_use]
    pub const fn end(self) -> usize {
        self.info.end()
    }

    /// The bytes that it occupies.
    #[must_use]
    pub const fn range(self) -> Range<usize> {
        self.info.range()
    }
}

impl<T> fmt::Debug for Field<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.info.name, self.info.offset)
    }
}

/// Types of fields. All are in the byte order of the machine.
pub trait FieldType: sealed::Sealed {
    /// Size in bytes.
    const SIZE: usize;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! field_types {
    ($($type:ty = $size:expr,)*) => {
        $(
            impl sealed::Sealed for $type {}
            impl FieldType for $type {
                const SIZE: usize = $size;
            }
        )*
    };
}

field_types! {
    u8 = 1,
    u16 = 2,
    u32 = 4,
    i32 = 4,
    u64 = 8,
    Fd = 4,
    Pointer = 8,
}

/// A descriptor: 32 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fd {}

/// An address: 64 bits on every machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pointer {}

/// A text of at most `N` bytes, its NUL included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Text<const N: usize> {}

impl<const N: usize> sealed::Sealed for Text<N> {}
impl<const N: usize> FieldType for Text<N> {
    const SIZE: usize = N;
}

impl<const N: usize> sealed::Sealed for [u8; N] {}
impl<const N: usize> FieldType for [u8; N] {
    const SIZE: usize = N;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{attr, info, loader};

    /// Every structure: its name, the fields, and whether some share a place (unions).
    fn all() -> [(&'static str, &'static [FieldInfo]); 8] {
        [
            ("map_create", attr::map_create::FIELDS),
            ("map_elem", attr::map_elem::FIELDS),
            ("prog_load", attr::prog_load::FIELDS),
            ("btf_load", attr::btf_load::FIELDS),
            ("link_create", attr::link_create::FIELDS),
            ("info::map", info::map::FIELDS),
            ("info::prog", info::prog::FIELDS),
            ("loader::ctx", loader::ctx::FIELDS),
        ]
    }

    #[test]
    fn fields_are_aligned_and_named_once() {
        for (of, fields) in all() {
            for (i, field) in fields.iter().enumerate() {
                let unit = match field.size {
                    4 | 8 => field.size,
                    _ => 1,
                };
                assert!(field.offset.is_multiple_of(unit), "{of}.{}", field.name);
                let twice = fields[..i].iter().any(|other| other.name == field.name);
                assert!(!twice, "{of}.{}", field.name);
                // Fields overlap only where they begin together, or in members of a union.
                let overlaps = fields[..i].iter().any(|other| {
                    other.end() > field.offset
                        && field.end() > other.offset
                        && other.offset != field.offset
                });
                assert!(!overlaps || of == "link_create", "{of}.{}", field.name);
            }
        }
    }

    #[test]
    fn attributes_are_where_the_kernel_has_them() {
        // Seen in programs that load on real kernels.
        assert_eq!(attr::map_create::EXCL_PROG_HASH.range(), 80..88);
        assert_eq!(attr::prog_load::FD_ARRAY_CNT.range(), 148..152);
        assert_eq!(attr::prog_load::KEYRING_ID.end(), 168);
        assert_eq!(attr::prog_run::CTX_IN.range(), 48..56);
        assert_eq!(info::map::HASH.range(), 88..96);
        assert_eq!(loader::ctx::LEN, 24);
    }
}
