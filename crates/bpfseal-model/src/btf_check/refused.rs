//! What the kernel answers to BTF that it does not take.

use bpfseal_uapi::Errno;

/// A refusal of BTF: the errno, what decided, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the kernel refuses the BTF with {errno}: {what}")]
pub struct BtfRefused {
    /// The kernel's answer.
    pub errno: Errno,
    /// What is wrong, in the words of the kernel's log.
    pub what: String,
    /// The deciding line of the kernel's log; empty where the kernel logs nothing.
    pub log: String,
    /// Where it is; none for faults of the header and its sections.
    pub at: Option<Box<BtfPlace>>,
}

/// A place in BTF.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BtfPlace {
    /// Number of the type, from 1.
    pub type_id: u32,
    /// Kind of the type, such as `struct`.
    pub kind: &'static str,
    /// Its name; empty for a type without one.
    pub name: String,
    /// The member, enumerator, parameter or variable, from 0, and its name.
    pub member: Option<(u32, String)>,
}

impl std::fmt::Display for BtfPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "type {} ({}", self.type_id, self.kind)?;
        if !self.name.is_empty() {
            write!(f, " `{}`", self.name)?;
        }
        f.write_str(")")?;
        match &self.member {
            Some((_, name)) if !name.is_empty() => write!(f, ", member `{name}`"),
            Some((index, _)) => write!(f, ", member {index}"),
            None => Ok(()),
        }
    }
}

impl BtfRefused {
    /// A fault of the whole, with the line that the kernel logs.
    pub(super) fn whole(errno: Errno, line: &str) -> Self {
        Self {
            errno,
            what: line.to_owned(),
            log: line.to_owned(),
            at: None,
        }
    }
}
