//! The `bpfseal` command.
//!
//! Opens files, prints and decides on exit codes; everything else is done by the libraries. One
//! file for each verb under `cmd`.
//!
//! | exit code | meaning |
//! |---|---|
//! | 0 | done; for `verify`: good |
//! | 1 | the answer is no: a signature or its trust was rejected, or the kernel refused |
//! | 2 | the command was used wrongly |
//! | 3 | an input is malformed or not supported, or reading or writing failed |
#![forbid(unsafe_code)]
// Text leaves by `files::print` and `say!`, which escape what a terminal would obey.
#![warn(clippy::print_stderr, clippy::print_stdout)]

mod advice;
mod args;
mod cleaner;
mod cmd;
mod compat;
mod exit;
mod failure;
mod files;
mod host;
mod input;
mod page;
mod prompt;
mod recognise;
mod signer;
mod symbols;
mod terminal;
mod trust;

use std::process::ExitCode;

use clap::Parser;

/// The toolchain for signed BPF: seal objects, verify seals, load them, look inside.
#[derive(Debug, Parser)]
#[command(
    name = "bpfseal",
    version,
    after_help = "Exit codes: 0 done, 1 rejected or refused, 2 wrong usage, 3 malformed input or I/O.\n\
                  Start with: bpfseal seal prog.bpf.o -k key.pem -i cert.pem"
)]
struct Cli {
    #[command(subcommand)]
    verb: cmd::Verb,
}

fn main() -> ExitCode {
    if cleaner::run_if_called() {
        return ExitCode::SUCCESS;
    }
    let arguments = compat::arguments(std::env::args_os());
    let as_json = exit::asks_for_json(&arguments);
    match Cli::try_parse_from(&arguments) {
        Ok(cli) => match cli.verb.run() {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => exit::failed(&failure, as_json),
        },
        Err(error) => {
            // What is quoted of the arguments stays on its line.
            let safe = arguments
                .iter()
                .map(|word| terminal::one_line(&word.to_string_lossy()).into_owned());
            let error = Cli::try_parse_from(safe).err().unwrap_or(error);
            exit::not_understood(&error, as_json)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    /// Every word that is taken for a verb is one that `--help` shows.
    #[test]
    fn verbs_are_shown_and_not_abbreviated() {
        fn check(command: &clap::Command, path: &[&str]) {
            for verb in command.get_subcommands() {
                let name = verb.get_name();
                assert!(!verb.is_hide_set(), "{name} is hidden");
                assert_eq!(verb.get_all_aliases().count(), 0, "{name}");
                let shorter = (1..name.len()).map(|len| &name[..len]);
                // `key` is the beginning of `keyring`, and a verb itself.
                for word in shorter.filter(|word| command.find_subcommand(word).is_none()) {
                    let line = [path, &[word]].concat();
                    let error = Cli::command()
                        .try_get_matches_from(line.clone())
                        .unwrap_err();
                    let kind = error.kind();
                    assert_eq!(kind, clap::error::ErrorKind::InvalidSubcommand, "{line:?}");
                }
                check(verb, &[path, &[name]].concat());
            }
        }
        check(&Cli::command(), &["bpfseal"]);
    }
}
