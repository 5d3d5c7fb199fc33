//! `cargo xtask attacks`: writes `docs/attacks.md`, the catalogue of attacks, from runs of the model.

use std::fmt::Write as _;

use anyhow::bail;
use bpfseal::loader::FixedHost;
use bpfseal::object::Object;
use bpfseal::seal::{Certificate, Scheme, SigningKey, TrustStore};
use bpfseal::{Sealed, Sealer};
use bpfseal_proof::attacks::{Cell, Material, Stopped, catalogue, plain, plain_seals};

use crate::project;

/// Seconds since 1970 of the signatures that say when: the text is to be the same each time.
const SIGNED: u64 = 1_750_000_000;

/// The object of the honest loaders: it looks up a symbol of the kernel.
const HONEST: &str = "work_lsm";

/// Where a scheme's attacks are tried on a real kernel (`cargo xtask kernels --test attacks`).
const SEEN: [(Scheme, &str); 3] = [
    (Scheme::LoadTime, "7.3"),
    (Scheme::InLoaderExclusive, "7.2"),
    (Scheme::InLoader, "6.19"),
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

fn signer() -> anyhow::Result<(SigningKey, Certificate)> {
    let keys = project::root().join("testdata/keys");
    let key = SigningKey::from_pem(&std::fs::read(keys.join("p256.key.pem"))?)?;
    let certificate = Certificate::from_bytes(&std::fs::read(keys.join("p256.cert.pem"))?)?;
    Ok((key, certificate))
}

fn sealed(name: &str) -> anyhow::Result<Sealed> {
    let (key, certificate) = signer()?;
    let bytes = std::fs::read(project::objects().join(format!("{name}.bpf.o")))?;
    let object = Object::parse(&bytes, name)?;
    let host = FixedHost::default();
    Ok(Sealer::new(&certificate)
        .schemes(&Scheme::ALL)
        .signing_time(SIGNED)
        .host(&host)
        .seal(object, &key)?)
}

fn text() -> anyhow::Result<String> {
    let (key, certificate) = signer()?;
    let seals = plain_seals(&key, &certificate)?;
    let plain = plain(&seals);
    let mut trust = TrustStore::new();
    trust.add(certificate);
    let (honest, older) = (sealed(HONEST)?, sealed("minimal")?);
    let endian = honest.made.plan.endian;
    let honest: Vec<_> = honest.forms().collect();
    let older: Vec<_> = older.forms().collect();
    let rows = catalogue(&Material {
        honest: &honest,
        older: &older,
        plain: &plain,
        endian,
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
    writeln!(out, "| attack | {} |", header.join(" | "))?;
    writeln!(out, "|---|{}", "---|".repeat(header.len()))?;
    for row in &rows {
        let cells = row.cells.iter().zip(Scheme::ALL);
        let cells: Vec<String> = cells
            .map(|(found, scheme)| {
                let seen = SEEN.iter().find(|(known, _)| *known == scheme && row.real);
                let seen = seen.map(|(_, kernel)| format!("; seen on {kernel}"));
                found.as_ref().map_or_else(
                    || "—".to_owned(),
                    |found| cell(found) + &seen.unwrap_or_default(),
                )
            })
            .collect();
        writeln!(out, "| {} | {} |", row.name, cells.join(" | "))?;
    }
    out.push_str(NOTES);
    Ok(out)
}

const NOTES: &str = "
In brackets: what a security module was told of the loader at admission, and of how many programs \
after that, which the loader installs (they have no signatures of their own, and come from the \
kernel). Of Hornet, which is a module itself, its verdict. Without brackets: none was asked by then.
\"seen on\": the same attack, call by call, was tried on that kernel and stopped at the same place by \
the same errno (`cargo xtask kernels --test attacks`, part of every test run). The proposals never \
were in a kernel that can be had.

What it shows:

- With **load-time** whatever is changed is stopped before a security module is asked, or after it \
was told of a program that then does not load. Nothing is left to the loader.
- With the **in-loader** schemes a security module is told \"verified\" of a loader whose metadata \
nobody has checked yet; it is the loader that stops, when it runs.
- The in-loader schemes know no count: a sparse array is how they are always loaded.
- **In-loader** without exclusive maps compares a digest that was computed earlier: another program \
can change the metadata after that. Kernels before the mend of CVE-2026-74364 let it do so through \
a map of maps even where the map is exclusive.
- The **hash chain**, as it was proposed, never asks whether a map is frozen or exclusive: what was \
checked can be changed before the loader runs.
- **Hornet** looks again before the run, and so sees changes by then.
- **Replay** of an older artifact is stopped by no scheme: what was signed stays signed. Revoke its \
content or its signer, or have a policy that names versions.
- **What no signature covers**: CO-RE records are applied to a program after its signature was \
checked, and the program's type, license and flags are nobody's. A security module has to refuse \
records of a signed program, and take nothing but loaders ([what to ask for](schemes.md#what-no-signature-covers)).
- **Leaving the signature away** is no attack on a scheme: who may load unsigned programs is for a \
security module to say, and it is told.
- A good signature under which a **payload fails** is told as verified, whatever comes of it.
- A policy that wants **every** program signed lets no loader install anything: it has to let through \
what the kernel loads for a loader (`bpfseal explain --policy`).
";

fn cell(cell: &Cell) -> String {
    let stopped = match cell.stopped {
        Stopped::AtTheMap(errno) => format!("the map, {errno}"),
        Stopped::AtTheLoad(errno) if cell.admitted => format!("load, after admission, {errno}"),
        Stopped::AtTheLoad(errno) => format!("load, {errno}"),
        Stopped::AtRunTime(errno) => format!("**run time**, {errno}"),
        Stopped::Ignored => "ignored".to_owned(),
        Stopped::Never => "**nothing**".to_owned(),
    };
    match cell.told.as_deref() {
        None => stopped,
        Some(told) => {
            let short = told.split(',').next().unwrap_or(told);
            match cell.nested {
                0 => format!("{stopped} ({short})"),
                nested => format!("{stopped} ({short}; +{nested})"),
            }
        }
    }
}
