//! `cargo xtask attacks`: writes `docs/attacks.md`, the catalogue of attacks, from runs of the model.

use std::fmt::Write as _;

use anyhow::bail;
use bpfseal::loader::FixedHost;
use bpfseal::model::attacks::{Cell, Material, Stopped, catalogue};
use bpfseal::object::Object;
use bpfseal::seal::{Certificate, Scheme, SealOptions, SigningKey, TrustStore};
use bpfseal::{Sealed, seal_object_as};

use crate::project;

/// Seconds since 1970 of the signatures that say when: the text is to be the same each time.
const SIGNED: u64 = 1_750_000_000;

/// Attacks that are tried on real kernels too, by which test.
const SEEN: [(&str, &str); 13] = [
    ("none: the honest loader", "matrix"),
    ("changed instructions, map bound to them", "broken"),
    ("changed metadata", "broken"),
    ("metadata changed between check and use", "scenarios"),
    ("frozen, and changed nevertheless", "scenarios"),
    ("a map that is not exclusive", "scenarios"),
    ("a map that is bound to another program", "broken"),
    ("a map by its raw descriptor", "scenarios"),
    ("the map left out of the count (sparse array)", "scenarios"),
    ("a BTF through fd_array", "scenarios"),
    ("junk for a signature", "broken"),
    ("a second map smuggled in", "scenarios"),
    ("no signature at all", "load"),
];

#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Only see whether the file is as it should be
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let path = project::root().join("docs/attacks.md");
    let text = text()?;
    if args.check {
        let there = std::fs::read_to_string(&path).unwrap_or_default();
        if there != text {
            bail!("docs/attacks.md is not what the model says: cargo xtask attacks");
        }
        println!("docs/attacks.md is what the model says");
        return Ok(());
    }
    std::fs::write(&path, text)?;
    println!("{}", path.display());
    Ok(())
}

/// For `cargo xtask test`.
pub(crate) fn check() -> anyhow::Result<()> {
    run(&Args { check: true })
}

fn sealed(name: &str) -> anyhow::Result<Sealed> {
    let keys = project::root().join("testdata/keys");
    let key = SigningKey::from_pem(&std::fs::read(keys.join("p256.key.pem"))?)?;
    let certificate = Certificate::from_bytes(&std::fs::read(keys.join("p256.cert.pem"))?)?;
    let bytes = std::fs::read(project::objects().join(format!("{name}.bpf.o")))?;
    let object = Object::parse(&bytes, name)?;
    let options = SealOptions {
        signing_time: SIGNED,
        ..SealOptions::default()
    };
    let host = FixedHost::default();
    Ok(seal_object_as(
        &Scheme::ALL,
        object,
        &host,
        &key,
        &certificate,
        &options,
    )?)
}

fn text() -> anyhow::Result<String> {
    let keys = project::root().join("testdata/keys");
    let mut trust = TrustStore::new();
    trust.add(Certificate::from_bytes(&std::fs::read(
        keys.join("p256.cert.pem"),
    )?)?);
    let (honest, older) = (sealed("one_map")?, sealed("minimal")?);
    let honest: Vec<_> = honest.forms().collect();
    let older: Vec<_> = older.forms().collect();
    let rows = catalogue(&Material {
        honest: &honest,
        older: &older,
        trust: &trust,
    });
    let mut out = String::from(
        "# Attacks\n\n\
         What stops an attack on a signed loader, by scheme: the map (a call on it), the load before a \
         security module is asked, the load after it was told, the loader when it runs, or nothing.\n\
         Made by `cargo xtask attacks` from runs of [the model](model.md), each scheme on the kernel \
         that checks it; the tests see that it is current.\n\n",
    );
    let header: Vec<&str> = Scheme::ALL.iter().map(|scheme| scheme.name()).collect();
    writeln!(out, "| attack | {} | real kernels |", header.join(" | "))?;
    writeln!(out, "|---|{}---|", "---|".repeat(header.len()))?;
    for row in &rows {
        let cells: Vec<String> = row.cells.iter().map(cell).collect();
        let seen = SEEN.iter().find(|(name, _)| *name == row.name);
        let seen = seen.map_or_else(String::new, |(_, test)| format!("`{test}`"));
        writeln!(out, "| {} | {} | {seen} |", row.name, cells.join(" | "))?;
    }
    out.push_str(
        "\nIn brackets: what a security module was told at admission. \
         \"—\": a proposal, of which only the signature is modelled.\n\
         The last column names the test of `cargo xtask kernels` (`scenarios`: `random`, and \
         `cargo xtask scenarios`) that tries it on real kernels, where one does.\n\n\
         What it shows:\n\n\
         - With **load-time** whatever is changed is stopped before a security module is asked, or \
         after it was told of a program that then does not load. Nothing is left to the loader.\n\
         - With the **in-loader** schemes a security module is told \"verified\" of a loader whose \
         metadata nobody has checked yet; it is the loader that stops, when it runs.\n\
         - The in-loader schemes know no count: a sparse array is how they are always loaded.\n\
         - **Replay** of an older artifact is stopped by no scheme: what was signed stays signed. \
         Revoke its content or its signer, or have a policy that names versions.\n\
         - **Leaving the signature away** is no attack on a scheme: who may load unsigned programs \
         is for a security module to say, and it is told.\n\
         - A good signature under which a **payload fails to load** is told as verified, and its \
         programs as unsigned ones that the kernel loads: the audit trail has both.\n",
    );
    Ok(out)
}

fn cell(cell: &Cell) -> String {
    let stopped = match cell.stopped {
        Stopped::AtTheMap(errno) => format!("the map, {errno}"),
        Stopped::BeforeAdmission(errno) => format!("load, {errno}"),
        Stopped::AfterAdmission(errno) => format!("load, after admission, {errno}"),
        Stopped::AtRunTime(errno) => format!("**run time**, {errno}"),
        Stopped::Never => "**nothing**".to_owned(),
        Stopped::NotModelled => "—".to_owned(),
    };
    match cell.told.as_deref() {
        None => stopped,
        Some(told) => {
            let short = told.split(',').next().unwrap_or(told);
            format!("{stopped} ({short})")
        }
    }
}
