//! Generates the code of `bpfseal-uapi` from its tables of the kernel's numbers.
//!
//! The tables are facts, maintained by hand. [`check`] verifies that the generated code matches
//! them, and that no other file defines the same numbers. [`compare`] reports differences to headers
//! and kernel BTF. Headers are read for names and numbers only; no text is copied.
//!
//! A crate of its own, without dependencies on the other crates: code can be generated while they do
//! not compile. Usually called as `cargo xtask codegen`.
#![forbid(unsafe_code)]

mod compare;
mod header;
mod homes;
mod places;
mod rust;
mod table;

use anyhow::{Context as _, bail};

pub use compare::compare;

use places::{home, read, tables};

/// Writes the generated code.
///
/// # Errors
/// When a table is malformed, or a file could not be written.
pub fn write() -> anyhow::Result<()> {
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

/// Checks that the generated code matches the tables, and that no other file defines their numbers.
///
/// # Errors
/// Lists every file that does not match, and every line that defines such a number.
pub fn check() -> anyhow::Result<()> {
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
    wrong.extend(homes::second()?);
    if wrong.is_empty() {
        return Ok(());
    }
    bail!("{}", wrong.join("\n"));
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
