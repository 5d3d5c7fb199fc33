//! How a verb fails: what is printed, and with which exit code.

use std::error::Error;
use std::process::ExitCode;

/// What every verb returns.
pub(crate) type Outcome = Result<(), Failure>;

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
        let (place, message) = (without_pin(&self.place), without_pin(&self.message));
        write!(f, "error: {place}: {message}")?;
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

    /// What there is to say, if it has not been said.
    pub(crate) fn text(&self) -> Option<String> {
        match self {
            Self::Usage { message, help } => {
                Some(format!("error: {}\n  help: {help}", without_pin(message)))
            }
            Self::Input(report) => Some(report.to_string()),
            Self::Rejected | Self::Some => None,
        }
    }

    /// Says on standard error what there is to say.
    pub(crate) fn print(&self) {
        if let Some(text) = self.text() {
            eprintln!("{text}");
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

/// Prints what is wrong with the command line, or the help that was asked for, and ends the process.
pub(crate) fn exit_for(error: &clap::Error) -> ! {
    let text = error.to_string();
    let safe = without_pin(&text);
    if text == safe {
        error.exit();
    }
    eprint!("{safe}");
    std::process::exit(error.exit_code())
}

/// A text without the PINs of PKCS#11 URIs in it: somebody put one where it does not belong, and
/// what is quoted from a command line must not repeat it.
pub(crate) fn without_pin(text: &str) -> String {
    const NAME: &str = "pin-value";
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let Some(at) = line.to_ascii_lowercase().find(NAME) else {
            out.push_str(line);
            continue;
        };
        let after = at + NAME.len();
        // What a quotation may have in it, it has up to the last quote of the line.
        let rest = &line[after..];
        let quote = rest.rfind(['`', '\'']);
        let end = quote.or(rest.find('\n')).unwrap_or(rest.len());
        out.push_str(&line[..after]);
        out.push('…');
        out.push_str(&rest[end..]);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_are_cut_out() {
        for (text, expect) in [
            ("nothing", "nothing"),
            ("a\nb\n", "a\nb\n"),
            (
                "`pkcs11:x?pin-value=1`2` is\nno\n",
                "`pkcs11:x?pin-value…` is\nno\n",
            ),
            ("x: PIN-VALUE=1 2", "x: PIN-VALUE…"),
            ("x: pin-value=12\nhelp", "x: pin-value…\nhelp"),
        ] {
            assert_eq!(without_pin(text), expect);
        }
    }
}
