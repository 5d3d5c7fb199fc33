//! `cargo xtask codegen`: the kernel's numbers, from the tables of `bpfseal-uapi` to its code.
//!
//! The tables are facts, written by people. `--check` says whether the code is theirs;
//! `--update` compares the tables with the newest headers and BTF that
//! Debian has, and says what is new. No text of a header is copied: only names and numbers.

mod compare;
mod header;
mod rust;
mod table;

use std::path::PathBuf;

use anyhow::{Context as _, bail};

use crate::project;

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
        return check();
    }
    if args.update {
        compare::run(args.add)?;
        if !args.add {
            return Ok(());
        }
    }
    let folder = home().join("src/generated");
    std::fs::create_dir_all(&folder)?;
    for (name, text) in generate()? {
        let path = folder.join(name);
        if std::fs::read_to_string(&path).is_ok_and(|old| old == text) {
            continue;
        }
        std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        println!("wrote {}", path.display());
    }
    Ok(())
}

/// Whether the code is that of the tables.
pub(crate) fn check() -> anyhow::Result<()> {
    let folder = home().join("src/generated");
    let mut wrong = Vec::new();
    let generated = generate()?;
    for (name, text) in &generated {
        if std::fs::read_to_string(folder.join(name)).is_ok_and(|found| found == *text) {
            continue;
        }
        wrong.push(format!(
            "crates/bpfseal-uapi/src/generated/{name} is not what the tables say: run `cargo xtask codegen`"
        ));
    }
    for entry in std::fs::read_dir(&folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !generated.iter().any(|(known, _)| *known == name) {
            wrong.push(format!(
                "crates/bpfseal-uapi/src/generated/{name} has no table"
            ));
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    bail!("{}", wrong.join("\n"));
}

/// The crate of the numbers.
fn home() -> PathBuf {
    project::root().join("crates/bpfseal-uapi")
}

/// Names of the tables, sorted.
fn tables() -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(home().join("table"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "tsv") {
            names.extend(
                path.file_stem()
                    .map(|stem| stem.to_string_lossy().into_owned()),
            );
        }
    }
    names.sort();
    Ok(names)
}

fn read(table: &str) -> anyhow::Result<Vec<table::Section>> {
    table::read(&home().join(format!("table/{table}.tsv")))
}

/// Every generated file: its name and its text.
fn generate() -> anyhow::Result<Vec<(String, String)>> {
    let tables = tables()?;
    let mut files = vec![("mod.rs".to_owned(), rust::index(&tables)?)];
    for table in &tables {
        files.push((format!("{table}.rs"), rust::file(table, &read(table)?)?));
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    #[test]
    fn generated_code_is_that_of_the_tables() {
        super::check().unwrap();
    }
}
