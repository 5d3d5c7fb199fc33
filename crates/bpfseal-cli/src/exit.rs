//! How the command ends: what is said last, and the exit code.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::error::ErrorKind;

use crate::failure::{Failure, without_pin};
use crate::files;
use crate::terminal::{self, visible};

/// Whether a command line asks for JSON, even if it has mistakes.
pub(crate) fn asks_for_json(arguments: &[OsString]) -> bool {
    let options = arguments.iter().take_while(|word| *word != "--");
    options.into_iter().any(|word| word == "--json")
}

/// Says why a verb failed: on standard error, or in JSON mode on standard output.
pub(crate) fn failed(failure: &Failure, as_json: bool) -> ExitCode {
    let printed = as_json
        // An output that can not be written to can not be told so.
        && !failure.is_output()
        && failure
            .report()
            .is_some_and(|report| files::print_json(&report).is_ok());
    if !printed && let Some(text) = failure.text() {
        terminal::say_text(&text);
    }
    failure.exit_code()
}

/// Prints the help that was asked for, or what is wrong with a command line.
pub(crate) fn not_understood(error: &clap::Error, as_json: bool) -> ExitCode {
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    ) {
        let printed = error.print().and_then(|()| io::stdout().flush());
        return match printed {
            // A pager that was left early is no reason to complain.
            Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
                terminal::say_text(&format!("error: standard output: {e}"));
                ExitCode::from(3)
            }
            _ => ExitCode::SUCCESS,
        };
    }
    let text = error.to_string();
    let safe = without_pin(&text);
    if as_json {
        let mut paragraphs = safe.split("\n\n").map(str::trim);
        let message = paragraphs.next().unwrap_or_default();
        let message = message.strip_prefix("error: ").unwrap_or(message);
        let help: Vec<&str> = paragraphs.collect();
        return failed(&Failure::usage(message, help.join("\n")), true);
    }
    let safe = visible(&safe);
    if safe == text {
        // With colours, where there are any.
        let _ = error.print();
    } else {
        terminal::say_text(safe.trim_end());
    }
    ExitCode::from(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_asked_for_by_an_option() {
        let asks = |line: &str| {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            asks_for_json(&words)
        };
        assert!(asks("verify x --json --no-such"));
        assert!(!asks("verify x"));
        assert!(!asks("verify -- --json"));
    }
}
