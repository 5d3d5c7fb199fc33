//! What an object asks for and nobody has a value for.

use bpfseal_object::MapIdx;

use crate::Error;

/// Something that the object asks for and that has no value. In the plan it is zero.
///
/// A report shows the plan all the same; no loader can be made of it. The text is that of the
/// [`Error`] that making one ends with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unresolved {
    /// The host did not answer.
    Host {
        /// The extern or map that depends on the answer.
        name: String,
        /// The map whose size it is; `None` for an extern.
        map: Option<MapIdx>,
        /// Why there is no answer.
        reason: String,
    },
    /// A kconfig value does not fit its extern.
    KconfigValue {
        /// The extern, or the line that is malformed.
        name: String,
        /// The value.
        value: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The host answered, and has no such value.
    Missing {
        /// The extern.
        name: String,
        /// Why it has none.
        reason: String,
    },
    /// A symbol of an object that this one was not linked with.
    Undefined {
        /// The symbol.
        name: String,
        /// The data section that BTF has it in, such as `.maps`.
        section: Option<String>,
    },
}

impl std::fmt::Display for Unresolved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Error::from(self).fmt(f)
    }
}

impl From<&Unresolved> for Error {
    fn from(unresolved: &Unresolved) -> Self {
        match unresolved.clone() {
            Unresolved::Host { name, reason, .. } => Self::Host { name, reason },
            Unresolved::KconfigValue { name, value, what } => {
                Self::KconfigValue { name, value, what }
            }
            Unresolved::Missing { name, reason } => Self::ExternUnresolved { name, reason },
            Unresolved::Undefined {
                name: symbol,
                section: None,
            } => Self::ExternUndefined { symbol },
            Unresolved::Undefined {
                name: symbol,
                section: Some(section),
            } => Self::ExternUnknownSection { symbol, section },
        }
    }
}
