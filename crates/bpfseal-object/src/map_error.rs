//! What can be wrong with a map's declaration.

use crate::uapi::MapType;

crate::debug_as_chain!(MapFault);

/// A fault in a map's declaration.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MapFault {
    /// The declaration is larger than the variable that holds it.
    #[error("the definition takes {size} bytes, but the variable has {room}")]
    DefinitionSize {
        /// Bytes of the struct.
        size: u32,
        /// Bytes of the variable.
        room: u32,
    },
    /// A member is not written the way attributes are.
    #[error("attribute `{field}` is of kind {found}, expected {expected}")]
    FieldKind {
        /// Name of the member.
        field: String,
        /// What it should be.
        expected: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// An inner map that has inner maps.
    #[error("inner maps can not have inner maps themselves")]
    InnerOfInner,
    /// An inner map that asks to be pinned.
    #[error("an inner map can not be pinned")]
    InnerPinned,
    /// A static or extern map.
    #[error("its linkage is {found}; a map has to be a global variable of default visibility")]
    Linkage {
        /// What the linkage is.
        found: &'static str,
    },
    /// No `type` attribute.
    #[error("attribute `type` is missing")]
    NoType,
    /// Not declared as a struct.
    #[error("it is declared as {found}, expected a struct")]
    NotStruct {
        /// Kind of the type.
        found: &'static str,
    },
    /// Outside of `.maps`.
    #[error("it stands at bytes {offset} to {end} of `.maps`, which has {size}")]
    OutOfSection {
        /// Start.
        offset: u32,
        /// End.
        end: u64,
        /// Size of the section.
        size: u64,
    },
    /// Two attributes disagree on a size.
    #[error("the {what} is {first} bytes by one attribute and {second} by another")]
    SizeConflict {
        /// `key` or `value`.
        what: &'static str,
        /// Size of the earlier attribute.
        first: u32,
        /// Size of the later attribute.
        second: u32,
    },
    /// An attribute that libbpf does not know.
    #[error("attribute `{field}` is unknown")]
    UnknownField {
        /// Name of the member.
        field: String,
    },
    /// A key or value type without a size.
    #[error("the size of the {what} type [{type_id}] can not be told")]
    Unsized {
        /// `key` or `value`.
        what: &'static str,
        /// The type.
        type_id: u32,
    },
    /// `values` is followed by another member.
    #[error("`values` has to be the last attribute")]
    ValuesNotLast,
    /// `values` in a map that holds neither maps nor programs.
    #[error("`values` is for maps of maps and program arrays, not for type {map_type}")]
    ValuesOfOtherMap {
        /// Type of the map.
        map_type: MapType,
    },
}
