//! Limits of the kernel.

use crate::Version;

/// A limit, for reports; the constants in [`crate::limits`] are for code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Limit {
    /// Its name here.
    pub name: &'static str,
    /// How much.
    pub value: u64,
    /// The first kernel that is known to have it.
    pub since: Option<Version>,
    /// Of what, and what the kernel calls it.
    pub what: &'static str,
}
