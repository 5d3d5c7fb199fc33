//! Why a command has no other report to give.

use super::schema::schema;

schema!(
    /// Name and version of the schema.
    ErrorSchema = "bpfseal/error/1"
);

/// An error of the command, which is printed instead of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ErrorReport {
    /// Name and version of the schema.
    pub schema: ErrorSchema,
    /// What kind of error: `usage`, `input` (malformed or not supported), `output` (could not be
    /// written), `refused` (by the kernel), or the code of the refusal as in `explain --json`.
    pub code: String,
    /// Exit code of the command.
    pub exit_code: u8,
    /// The file that it is about.
    pub place: Option<String>,
    /// What is wrong.
    pub message: String,
    /// The causes of that, the nearest first.
    pub chain: Vec<String>,
    /// The step of a load that failed.
    pub step: Option<String>,
    /// The last lines of the kernel's log.
    pub log: Vec<String>,
    /// What to do about it.
    pub help: Option<String>,
}

impl ErrorReport {
    /// An error without causes.
    #[must_use]
    pub fn new(code: impl Into<String>, exit_code: u8, message: impl Into<String>) -> Self {
        Self {
            schema: ErrorSchema::V1,
            code: code.into(),
            exit_code,
            place: None,
            message: message.into(),
            chain: Vec::new(),
            step: None,
            log: Vec::new(),
            help: None,
        }
    }
}
