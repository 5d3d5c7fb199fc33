//! Descriptors, and what they stand for.

/// A descriptor.
pub type Fd = i32;

/// What a descriptor stands for.
#[derive(Debug, Clone)]
pub enum Object {
    /// A map, by its number.
    Map(u32),
    /// Type information, by its number if it was looked at.
    Btf(Option<u32>),
    /// A program, by its number.
    Program(u32),
}
