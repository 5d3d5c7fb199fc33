//! Global variables of loaded programs, by type.
//!
//! The memory is shared with the kernel and changes while programs run. So a variable is never
//! given out by reference: [`Var::get`] makes a copy, and [`Var::set`] writes one. Integers of up
//! to 8 bytes are read and written at once; anything larger is copied in pieces, and a program may
//! change it meanwhile.
//!
//! ```
//! use bpfseal_rt::data::{Value as _, field, put};
//!
//! let mut bytes = [0; 8];
//! put(7u32, &mut bytes, 4);
//! assert_eq!(field::<u32>(&bytes, 4), 7);
//! assert_eq!(<[u16; 2]>::SIZE, 4);
//! ```

use std::marker::PhantomData;

use crate::kernel::Mapping;

/// A value that can be read from the bytes that BPF programs see, and written to them.
///
/// Exactly [`Self::SIZE`] bytes are given; they are in the byte order of this machine.
pub trait Value: Copy {
    /// Its size, bytes.
    const SIZE: usize;

    /// Reads it.
    fn read(bytes: &[u8]) -> Self;

    /// Writes it. Bytes that belong to no field stay as they are.
    fn write(self, bytes: &mut [u8]);
}

macro_rules! numbers {
    ($($number:ty),*) => {$(
        impl Value for $number {
            const SIZE: usize = size_of::<$number>();

            fn read(bytes: &[u8]) -> Self {
                let mut own = [0; size_of::<$number>()];
                own.copy_from_slice(bytes);
                Self::from_ne_bytes(own)
            }

            fn write(self, bytes: &mut [u8]) {
                bytes.copy_from_slice(&self.to_ne_bytes());
            }
        }
    )*};
}

numbers!(u8, u16, u32, u64, u128, i8, i16, i32, i64, i128, f32, f64);

impl Value for bool {
    const SIZE: usize = 1;

    fn read(bytes: &[u8]) -> Self {
        bytes[0] != 0
    }

    fn write(self, bytes: &mut [u8]) {
        bytes[0] = u8::from(self);
    }
}

/// An address in the kernel, or in an arena: of no use to a process but as a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Pointer(pub u64);

impl Value for Pointer {
    const SIZE: usize = 8;

    fn read(bytes: &[u8]) -> Self {
        Self(u64::read(bytes))
    }

    fn write(self, bytes: &mut [u8]) {
        self.0.write(bytes);
    }
}

impl<T: Value, const N: usize> Value for [T; N] {
    const SIZE: usize = T::SIZE * N;

    fn read(bytes: &[u8]) -> Self {
        std::array::from_fn(|i| field(bytes, i * T::SIZE))
    }

    fn write(self, bytes: &mut [u8]) {
        for (i, element) in self.into_iter().enumerate() {
            put(element, bytes, i * T::SIZE);
        }
    }
}

/// Reads a field at an offset.
#[must_use]
pub fn field<T: Value>(bytes: &[u8], offset: usize) -> T {
    T::read(&bytes[offset..offset + T::SIZE])
}

/// Writes a field at an offset.
pub fn put<T: Value>(value: T, bytes: &mut [u8], offset: usize) {
    value.write(&mut bytes[offset..offset + T::SIZE]);
}

/// A number that a bit-field can hold.
pub trait BitField: Copy {
    /// From the bits of the field, which are the lowest ones.
    fn from_bits(bits: u64, width: u32) -> Self;

    /// As bits; those above the field's width are cut off by who writes them.
    fn to_bits(self) -> u64;
}

macro_rules! bit_fields {
    ($($unsigned:ty, $signed:ty);*) => {$(
        impl BitField for $unsigned {
            fn from_bits(bits: u64, _: u32) -> Self {
                // The field is no wider than its type.
                bits as Self
            }

            fn to_bits(self) -> u64 {
                u64::from(self)
            }
        }

        impl BitField for $signed {
            fn from_bits(bits: u64, width: u32) -> Self {
                let unused = 64 - width;
                // The field is no wider than its type, and its sign is spread over the rest.
                ((bits << unused).cast_signed() >> unused) as Self
            }

            fn to_bits(self) -> u64 {
                i64::from(self).cast_unsigned()
            }
        }
    )*};
}

bit_fields!(u8, i8; u16, i16; u32, i32; u64, i64);

/// Reads a bit-field of `width` bits (1 to 64) at an offset in bits, as BTF counts them: from the
/// lowest bit on little-endian machines, from the highest on big-endian ones.
#[must_use]
pub fn bits<T: BitField>(bytes: &[u8], offset: usize, width: u32) -> T {
    let (range, shift) = place(offset, width);
    T::from_bits((load(&bytes[range]) >> shift) as u64 & mask(width), width)
}

/// Writes a bit-field; its neighbours stay as they are.
pub fn put_bits<T: BitField>(value: T, bytes: &mut [u8], offset: usize, width: u32) {
    let (range, shift) = place(offset, width);
    let bytes = &mut bytes[range];
    let cleared = load(bytes) & !(u128::from(mask(width)) << shift);
    store(
        cleared | u128::from(value.to_bits() & mask(width)) << shift,
        bytes,
    );
}

fn mask(width: u32) -> u64 {
    u64::MAX >> (64 - width.clamp(1, 64))
}

/// The bytes that a bit-field touches, and by how much it is shifted in the number that they are.
fn place(offset: usize, width: u32) -> (std::ops::Range<usize>, usize) {
    let width = width as usize;
    let (first, last) = (offset / 8, (offset + width).div_ceil(8));
    let shift = if cfg!(target_endian = "little") {
        offset % 8
    } else {
        (last - first) * 8 - offset % 8 - width
    };
    (first..last, shift)
}

/// At most 9 bytes as a number, in the byte order of this machine.
fn load(bytes: &[u8]) -> u128 {
    let add = |number: u128, byte: &u8| number << 8 | u128::from(*byte);
    if cfg!(target_endian = "little") {
        bytes.iter().rev().fold(0, add)
    } else {
        bytes.iter().fold(0, add)
    }
}

fn store(number: u128, bytes: &mut [u8]) {
    let len = bytes.len();
    for (i, byte) in bytes.iter_mut().enumerate() {
        let at = if cfg!(target_endian = "little") {
            i
        } else {
            len - 1 - i
        };
        *byte = (number >> (8 * at)) as u8;
    }
}

/// A variable that programs and this process can write.
#[derive(Debug)]
pub struct Var<'a, T> {
    mapping: &'a Mapping,
    offset: usize,
    value: PhantomData<T>,
}

/// A variable that nobody writes any more.
#[derive(Debug)]
pub struct Const<'a, T>(Var<'a, T>);

impl<T> Clone for Var<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Var<'_, T> {}

impl<T> Clone for Const<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Const<'_, T> {}

impl<'a, T: Value> Var<'a, T> {
    /// The variable at an offset of a mapping.
    ///
    /// # Panics
    /// When it is not inside.
    #[must_use]
    pub fn new(mapping: &'a Mapping, offset: usize) -> Self {
        assert!(
            offset
                .checked_add(T::SIZE)
                .is_some_and(|end| end <= mapping.len()),
            "a variable has to be inside of its section"
        );
        Self {
            mapping,
            offset,
            value: PhantomData,
        }
    }

    /// What it is now.
    #[must_use]
    pub fn get(&self) -> T {
        let mut small = [0; 8];
        let mut large = Vec::new();
        let bytes = match small.get_mut(..T::SIZE) {
            Some(bytes) => bytes,
            None => {
                large.resize(T::SIZE, 0);
                &mut large
            }
        };
        let inside = self.mapping.read_at(self.offset, bytes);
        debug_assert!(inside, "`new` has checked it");
        T::read(bytes)
    }

    /// Changes it.
    pub fn set(&self, value: T) {
        let mut bytes = vec![0; T::SIZE];
        if T::SIZE > 8 {
            // What belongs to no field stays as it is.
            let _inside = self.mapping.read_at(self.offset, &mut bytes);
        }
        value.write(&mut bytes);
        let written = self.mapping.write_at(self.offset, &bytes);
        debug_assert!(written, "only variables of writable sections are made");
    }
}

impl<'a, T: Value, const N: usize> Var<'a, [T; N]> {
    /// One element of an array; `None` behind its end.
    #[must_use]
    pub fn at(&self, index: usize) -> Option<Var<'a, T>> {
        (index < N).then(|| Var::new(self.mapping, self.offset + index * T::SIZE))
    }
}

impl<'a, T: Value> Const<'a, T> {
    /// The variable at an offset of a mapping.
    ///
    /// # Panics
    /// When it is not inside.
    #[must_use]
    pub fn new(mapping: &'a Mapping, offset: usize) -> Self {
        Self(Var::new(mapping, offset))
    }

    /// What it is.
    #[must_use]
    pub fn get(&self) -> T {
        self.0.get()
    }
}

impl<'a, T: Value, const N: usize> Const<'a, [T; N]> {
    /// One element of an array; `None` behind its end.
    #[must_use]
    pub fn at(&self, index: usize) -> Option<Const<'a, T>> {
        self.0.at(index).map(Const)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn arrays_are_their_elements() {
        let value = [[1u16, 2], [3, 4], [5, 6]];
        let mut bytes = [0; 12];
        value.write(&mut bytes);
        assert_eq!(<[[u16; 2]; 3]>::read(&bytes), value);
        assert_eq!(field::<u16>(&bytes, 6), 4);
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn bit_fields_are_where_c_puts_them() {
        // struct { u32 a: 3, b: 7; i32 c: 5; } with a = 5, b = 100, c = -3
        let bytes = [0x25, 0x77, 0, 0];
        assert_eq!(bits::<u32>(&bytes, 0, 3), 5);
        assert_eq!(bits::<u32>(&bytes, 3, 7), 100);
        assert_eq!(bits::<i32>(&bytes, 10, 5), -3);
    }

    proptest! {
        #[test]
        fn a_bit_field_touches_nothing_else(
            before in proptest::array::uniform12(any::<u8>()),
            offset in 0usize..32,
            width in 1u32..=64,
            value: u64,
        ) {
            let mut bytes = before;
            put_bits(value, &mut bytes, offset, width);
            prop_assert_eq!(bits::<u64>(&bytes, offset, width), value & mask(width));
            put_bits(bits::<u64>(&before, offset, width), &mut bytes, offset, width);
            prop_assert_eq!(bytes, before);
        }
    }
}
