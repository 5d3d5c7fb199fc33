//! How a verb fails: what is printed, and with which exit code.

use std::error::Error;
use std::process::ExitCode;

/// A failure of the whole command.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The answer is no. What there is to say has been said.
    Rejected,
    /// The command was used wrongly.
    Usage {
        /// What is wrong.
        message: String,
        /// What to do instead.
        help: String,
    },
    /// An input is malformed or not supported, or reading or writing failed.
    Input(Report),
    /// Some of many inputs failed. What there is to say has been said.
    Some,
}

/// What is wrong with an input, for people.
#[derive(Debug)]
pub(crate) struct Report {
    /// The file.
    pub(crate) place: String,
    /// What is wrong, and where in the file.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) help: String,
}

impl Report {
    /// Of an error with its causes.
    pub(crate) fn new(place: &str, error: &dyn Error, help: &str) -> Self {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            let text = error.to_string();
            // Some libraries repeat their cause in their own text.
            if !message.ends_with(&text) {
                message.push_str(": ");
                message.push_str(&text);
            }
            cause = error.source();
        }
        Self {
            place: place.to_owned(),
            message,
            help: help.to_owned(),
        }
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "error: {}: {}", self.place, self.message)?;
        if !self.help.is_empty() {
            write!(f, "\n  help: {}", self.help)?;
        }
        Ok(())
    }
}

impl From<Report> for Failure {
    fn from(report: Report) -> Self {
        Self::Input(report)
    }
}

impl Failure {
    /// Wrong usage.
    pub(crate) fn usage(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Usage {
            message: message.into(),
            help: help.into(),
        }
    }

    /// Says on standard error what there is to say.
    pub(crate) fn print(&self) {
        match self {
            Self::Usage { message, help } => eprintln!("error: {message}\n  help: {help}"),
            Self::Input(report) => eprintln!("{report}"),
            Self::Rejected | Self::Some => {}
        }
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Rejected => 1,
            Self::Usage { .. } => 2,
            Self::Input(_) | Self::Some => 3,
        })
    }
}
