//! How a report says which JSON it is.

/// The field of a report that names its schema and version.
macro_rules! schema {
    ($(#[$doc:meta])* $name:ident = $text:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize))]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        #[non_exhaustive]
        pub enum $name {
            /// The first version.
            #[default]
            #[cfg_attr(feature = "serde", serde(rename = $text))]
            V1,
        }
    };
}
pub(super) use schema;
