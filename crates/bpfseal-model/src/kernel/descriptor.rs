//! Descriptors, and what they stand for.

/// A descriptor.
pub type Fd = i32;

/// What a descriptor stands for.
#[derive(Debug, Clone)]
pub enum Object {
    /// A map, by its number.
    Map(u32),
    /// Type information.
    Btf,
    /// A program, by its number.
    Program(u32),
}
