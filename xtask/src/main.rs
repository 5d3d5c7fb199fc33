//! What developers of bpfseal run: `cargo xtask VERB`.
//!
//! `test` runs everything that CI runs, each step of which is a verb of its own or has one:
//!
//! - Against the reference: `conformance` compares bytes with bpftool's, `algorithms` has
//!   signatures checked by OpenSSL, `bench` measures.
//! - Against kernels: `kernels` runs tests on real ones, `scenarios` compares the model with them,
//!   `attacks` writes a catalogue, `audit` runs every loader in the model.
//! - About the code: `structure` checks the order of crates and files, `api` the public interface,
//!   `features` the library with each feature alone, `skeletons` compiles Rust skeletons, `msrv`
//!   compiles with the oldest compiler.
//! - Generated files: `codegen`, `schema`, `api` and `attacks` write them, `bless` the golden ones.
//! - For users: `demo` shows what the command does, `dist` builds what is given away.
#![forbid(unsafe_code)]

mod algorithms;
mod api;
mod attacks;
mod audit;
mod bench;
mod bench_sealing;
mod codegen;
mod conformance;
mod demo;
mod features;
mod firmware;
mod headers;
mod initramfs;
mod kernels;
mod licences;
mod machine;
mod manifest;
mod msrv;
mod project;
mod proof;
mod reference;
mod roster;
mod schema;
mod skeletons;
mod static_link;
mod steps;
mod structure;
mod test;

use clap::{Parser, Subcommand};

/// Developers' commands of bpfseal.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Seal the sample object with a throw-away key, verify, tamper, be refused
    Demo,
    /// Format, lints, tests, documentation, licences, conformance: all that CI runs
    Test(test::Args),
    /// Compare loaders, signatures and headers with the reference, byte by byte
    Conformance(conformance::Args),
    /// Have signatures of every kind of key checked by OpenSSL
    Algorithms,
    /// Run every loader in the model, and compare what it does with its object
    Audit(audit::Args),
    /// Make the code of the kernel's numbers from its tables
    Codegen(codegen::Args),
    /// Write the catalogue of attacks from runs of the model
    Attacks(attacks::Args),
    /// Compile the published crates with the oldest compiler that they promise
    Msrv,
    /// Write the public interface of every published crate into docs/api
    Api(api::Args),
    /// Write the schemas of the JSON reports
    Schema(schema::Args),
    /// Compile the library with each of its features alone
    Features,
    /// Compile the Rust skeletons of every object that can be sealed
    Skeletons,
    /// Check the order of crates, and that files use each other in no circle
    Structure,
    /// Scenarios in the model beside real kernels: named ones as a table, and random ones
    Scenarios,
    /// Run the tests that need a kernel in virtual machines, on real ones
    Kernels(kernels::Args),
    /// Time, processor time and memory beside the reference, in the same run
    Bench(bench::Args),
    /// Build the command as one static file, ready to be given away
    Dist,
    /// Rewrite the golden files of the tests; review the difference like code
    Bless,
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().verb {
        Verb::Demo => demo::run(),
        Verb::Test(args) => test::run(&args),
        Verb::Conformance(args) => conformance::run(&args),
        Verb::Attacks(args) => attacks::run(&args),
        Verb::Audit(args) => audit::run(&args),
        Verb::Algorithms => algorithms::run(),
        Verb::Codegen(args) => codegen::run(&args),
        Verb::Features => features::run(),
        Verb::Msrv => msrv::run(),
        Verb::Api(args) => api::run(&args),
        Verb::Schema(args) => schema::run(&args),
        Verb::Skeletons => skeletons::run(),
        Verb::Structure => structure::run(),
        Verb::Scenarios => kernels::scenarios(),
        Verb::Kernels(args) => kernels::run(&args),
        Verb::Bench(args) if args.in_process => bench_sealing::run(),
        Verb::Bench(args) => bench::run(&args),
        Verb::Dist => {
            println!("{}", project::build_dist()?.display());
            Ok(())
        }
        Verb::Bless => test::bless(),
    }
}
