//! The verbs, a file for each.

mod audit;
mod diff;
mod doctor;
mod explain;
mod extract;
mod generate;
mod inspect;
mod key;
mod keyring;
mod load;
mod seal;
mod two_steps;
mod verify;

use clap::Subcommand;

use crate::failure::Outcome;

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Make a signed loader from BPF objects
    Seal(seal::Args),
    /// Write what is to be signed, for a key that is somewhere else
    Tbs(two_steps::TbsArgs),
    /// Put in signatures over what `tbs` wrote
    Attach(two_steps::AttachArgs),
    /// Generate code from a BPF object, with the arguments of bpftool
    Gen(generate::Args),
    /// Check what a signature attests to, and whether it is trusted
    Verify(verify::Args),
    /// Run a loader in a model of the kernel: what does it do, and is that the object?
    Audit(audit::Args),
    /// Show what changed between two objects or artifacts
    Diff(diff::Args),
    /// Ask a model of the kernel: which kernels take an artifact, and why not?
    Explain(explain::Args),
    /// Show what is in an object or an artifact
    Inspect(inspect::Args),
    /// Load an artifact into the running kernel
    Load(load::Args),
    /// Make and show keys and certificates
    Key(key::Args),
    /// Show and change the keyrings that the running kernel looks for signers in
    Keyring(keyring::Args),
    /// Find out what the running kernel can do, and what to do about the rest
    Doctor(doctor::Args),
    /// Write the raw pieces of a loader into a folder
    Extract(extract::Args),
}

impl Verb {
    pub(crate) fn run(&self) -> Outcome {
        match self {
            Self::Seal(args) => seal::run(args),
            Self::Tbs(args) => two_steps::tbs(args),
            Self::Attach(args) => two_steps::attach(args),
            Self::Gen(args) => generate::run(args),
            Self::Verify(args) => verify::run(args),
            Self::Audit(args) => audit::run(args),
            Self::Diff(args) => diff::run(args),
            Self::Explain(args) => explain::run(args),
            Self::Inspect(args) => inspect::run(args),
            Self::Doctor(args) => doctor::run(args),
            Self::Key(args) => key::run(args),
            Self::Keyring(args) => keyring::run(args),
            Self::Load(args) => load::run(args),
            Self::Extract(args) => extract::run(args),
        }
    }
}
