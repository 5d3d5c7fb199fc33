//! `cargo xtask codegen`: the kernel's numbers, from the tables of `bpfseal-uapi` to its code.

use crate::{project, reference};

/// The packages that have `vmlinux.h`, and the headers of the interface.
const PACKAGES: [&str; 2] = ["linux-bpf-dev", "linux-libc-dev"];

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Write nothing; fail if the code is not that of the tables
    #[arg(long)]
    check: bool,
    /// Compare the tables with Debian's newest headers and kernel BTF
    #[arg(long, conflicts_with = "check")]
    update: bool,
    /// Add new values of enumerations to the tables (with --update)
    #[arg(long, requires = "update")]
    add: bool,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    if args.check {
        return codegen::check();
    }
    if args.update {
        update(args.add)?;
        if !args.add {
            return Ok(());
        }
    }
    codegen::write()
}

fn update(add: bool) -> anyhow::Result<()> {
    let folder = project::target().join("uapi");
    let root = folder.join("root");
    let debs = reference::download(&folder, &PACKAGES)?;
    for deb in &debs {
        println!("{}", deb.file_name().unwrap_or_default().to_string_lossy());
    }
    reference::unpack(&debs, &root)?;
    let said = codegen::compare(&root, add)?;
    for line in &said {
        println!("{line}");
    }
    println!("{} differences", said.len());
    Ok(())
}
