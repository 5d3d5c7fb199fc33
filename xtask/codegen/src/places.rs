//! Where the tables and the generated code are.

use std::path::{Path, PathBuf};

use crate::table::{self, Section};

/// The project's directory.
pub(crate) fn project() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(Path::new("."))
}

/// The crate of the numbers.
pub(crate) fn home() -> PathBuf {
    project().join("crates/bpfseal-uapi")
}

/// Names of the tables, sorted.
pub(crate) fn tables() -> anyhow::Result<Vec<String>> {
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

pub(crate) fn read(table: &str) -> anyhow::Result<Vec<Section>> {
    table::read(&home().join(format!("table/{table}.tsv")))
}
