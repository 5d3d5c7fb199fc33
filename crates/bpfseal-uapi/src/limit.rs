//! Limits of the kernel.

use crate::Version;

/// A limit for reports. Code uses the constants in [`crate::limits`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Limit {
    /// Name of the constant.
    pub name: &'static str,
    /// The limit.
    pub value: u64,
    /// The first release of Linux that is known to have it.
    pub since: Option<Version>,
    /// What is limited, and the kernel's name for the limit.
    pub what: &'static str,
}
