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

mod args;
mod cmd;
mod command_signer;
mod compat;
mod failure;
mod files;
mod host;
mod input;
mod page;
mod pkcs11;
mod symbols;

use std::process::ExitCode;

use clap::Parser;

use failure::Failure;

/// The toolchain for signed BPF: seal objects, verify seals, load them, look inside.
#[derive(Debug, Parser)]
#[command(
    name = "bpfseal",
    version,
    infer_subcommands = true,
    after_help = "Exit codes: 0 done, 1 rejected or refused, 2 wrong usage, 3 malformed input or I/O.\n\
                  Start with: bpfseal seal prog.bpf.o -k key.pem -i cert.pem"
)]
struct Cli {
    #[command(subcommand)]
    verb: cmd::Verb,
}

fn main() -> ExitCode {
    let cli = Cli::parse_from(compat::arguments(std::env::args_os()));
    match cli.verb.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.print();
            failure.exit_code()
        }
    }
}

/// What every verb returns.
type Outcome = Result<(), Failure>;

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
