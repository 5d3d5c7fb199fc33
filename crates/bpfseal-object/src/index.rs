//! Places of maps and programs in an object, by which its parts refer to each other.

/// Index of a map among the object's maps, and of its slot in the loader's `fd_array`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MapIdx(pub u32);

/// Index of a program among all programs of an object, ordered by section and offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProgramIdx(pub usize);
