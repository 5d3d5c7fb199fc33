//! How a verb fails: what is printed, as text or as JSON, and with which exit code.

use std::error::Error;
use std::process::ExitCode;

use bpfseal::report::ErrorReport;

use crate::terminal::one_line;

/// What every verb returns.
pub(crate) type Outcome = Result<(), Failure>;

/// A failure of the whole command.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The answer is no, and the results on standard output say so.
    Rejected,
    /// The kernel refused, or bpfseal did not ask it.
    Refused(Box<Refused>),
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

/// What is wrong with an input or an output, for people.
#[derive(Debug)]
pub(crate) struct Report {
    /// Whether it is an output.
    output: bool,
    /// The file.
    place: String,
    /// What is wrong, and where in the file.
    message: String,
    /// Its causes, the nearest first.
    chain: Vec<String>,
    /// What to do about it.
    help: String,
}

/// Why something was not loaded or changed in the kernel.
#[derive(Debug, Default)]
pub(crate) struct Refused {
    /// The file, if it is about one.
    pub(crate) place: Option<String>,
    /// A name for programs to know it by, if it is not just `refused`.
    pub(crate) code: Option<String>,
    /// What it means.
    pub(crate) message: String,
    /// The step that failed.
    pub(crate) step: Option<String>,
    /// What the kernel answered.
    pub(crate) answer: Option<String>,
    /// How many lines of the log are not in `log`.
    pub(crate) log_skipped: usize,
    /// The last lines of the kernel's log.
    pub(crate) log: Vec<String>,
    /// What to do about it.
    pub(crate) help: String,
}

impl Report {
    /// Of an error about an input, with its causes.
    pub(crate) fn new(place: &str, error: &dyn Error, help: &str) -> Self {
        let message = error.to_string();
        let mut chain = Vec::new();
        let mut last = message.clone();
        let mut cause = error.source();
        while let Some(error) = cause {
            let text = error.to_string();
            // Some libraries repeat their cause in their own text.
            if !last.ends_with(&text) {
                chain.push(text.clone());
                last = text;
            }
            cause = error.source();
        }
        Self {
            output: false,
            place: place.to_owned(),
            message,
            chain,
            help: help.to_owned(),
        }
    }

    /// The same, about an output.
    pub(crate) fn output(place: &str, error: &dyn Error, help: &str) -> Self {
        Self {
            output: true,
            ..Self::new(place, error, help)
        }
    }

    fn report(&self) -> ErrorReport {
        let code = if self.output { "output" } else { "input" };
        let mut report = ErrorReport::new(code, 3, without_pin(&self.message));
        report.place = Some(without_pin(&self.place));
        report.chain = self.chain.iter().map(|cause| without_pin(cause)).collect();
        report.help = Some(self.help.clone()).filter(|help| !help.is_empty());
        report
    }
}

impl From<Report> for Failure {
    fn from(report: Report) -> Self {
        Self::Input(report)
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        Self::Refused(Box::new(refused))
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

    /// Whether it is about an output, so that nothing more can be written there.
    pub(crate) fn is_output(&self) -> bool {
        matches!(self, Self::Input(report) if report.output)
    }

    /// What there is to say, if it has not been said.
    pub(crate) fn report(&self) -> Option<ErrorReport> {
        Some(match self {
            Self::Rejected | Self::Some => return None,
            Self::Usage { message, help } => {
                let mut report = ErrorReport::new("usage", 2, without_pin(message));
                report.help = Some(help.clone());
                report
            }
            Self::Input(report) => report.report(),
            Self::Refused(refused) => {
                let code = refused.code.as_deref().unwrap_or("refused");
                let mut report = ErrorReport::new(code, 1, &refused.message);
                report.place.clone_from(&refused.place);
                report.step.clone_from(&refused.step);
                report.chain = refused.answer.iter().cloned().collect();
                report.log.clone_from(&refused.log);
                report.help = Some(refused.help.clone()).filter(|help| !help.is_empty());
                report
            }
        })
    }

    /// The same as text.
    pub(crate) fn text(&self) -> Option<String> {
        let report = self.report()?;
        let mut lines = Vec::new();
        let help = report.help.as_deref().map(one_line);
        let place = report.place.as_deref().map(|place| format!("{place}: "));
        let place = place.unwrap_or_default();
        if let Self::Refused(refused) = self {
            lines.push(format!("refused: {place}{}", report.message));
            let mut row = |name: &str, value: &str| {
                lines.push(format!("  {name:<6} {}", one_line(value)));
            };
            if let Some(step) = &report.step {
                row("step", step);
            }
            for answer in &report.chain {
                row("answer", answer);
            }
            if refused.log_skipped > 0 {
                let text = format!("({} lines before these)", refused.log_skipped);
                row("kernel", &text);
            }
            for line in &report.log {
                row("kernel", line);
            }
            if let Some(help) = help {
                row("help", &help);
            }
            return Some(lines.join("\n"));
        }
        let message = match report.chain.as_slice() {
            [] => report.message,
            chain => format!("{}: {}", report.message, chain.join(": ")),
        };
        lines.push(format!("error: {}", one_line(&format!("{place}{message}"))));
        if let Some(help) = help {
            lines.push(format!("  help: {help}"));
        }
        Some(lines.join("\n"))
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Rejected | Self::Refused(_) => 1,
            Self::Usage { .. } => 2,
            Self::Input(_) | Self::Some => 3,
        })
    }
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

    #[test]
    fn an_error_is_two_lines() {
        let error = std::io::Error::other("a\nerror: b");
        let failure = Failure::from(Report::new("x\ny", &error, "do\nthis"));
        let text = failure.text().unwrap_or_default();
        assert_eq!(text, "error: x\\ny: a\\nerror: b\n  help: do\\nthis");
    }
}
