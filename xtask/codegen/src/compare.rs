//! Compares the tables with headers and kernel BTF.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

use crate::header::{self, CEnum};
use crate::places::{home, read as sections_of, tables};
use crate::table::{Enum, Flags, Kind, Layout, Row, Section};

/// Headers that define numbers by `#define`.
const HEADERS: [&str; 8] = [
    "linux/bpf.h",
    "linux/bpf_common.h",
    "linux/btf.h",
    "linux/keyctl.h",
    "linux/if_link.h",
    "linux/perf_event.h",
    "asm-generic/errno-base.h",
    "asm-generic/errno.h",
];
/// Prefixes of definitions that the tables should have.
const FAMILIES: [&str; 2] = ["BPF_F_", "BPF_PSEUDO_"];
/// Combinations of flags, which have such a name but are no flags.
const NO_FLAGS: [&str; 1] = ["BPF_F_REDIRECT_FLAGS"];

/// What the headers of a kernel say.
struct Kernel {
    vmlinux: String,
    enums: Vec<CEnum>,
    defines: BTreeMap<String, i64>,
}

/// Compares the tables with the headers below `usr/include` of a directory, which include
/// `vmlinux.h`. Returns one line for each difference. With `add`, new values of enumerations are
/// added to the tables.
///
/// # Errors
/// When a header is missing, or a table could not be written.
pub fn compare(root: &Path, add: bool) -> anyhow::Result<Vec<String>> {
    let kernel = read(root)?;
    let mut said = Vec::new();
    let mut known = BTreeSet::new();
    for table in tables()? {
        let mut new = Vec::new();
        for section in sections_of(&table)? {
            match section {
                Section::Enum(of) => new.extend(enumeration(&of, &kernel, &mut said)),
                Section::Flags(of) => {
                    known.extend(of.rows.iter().map(|row| row.name.clone()));
                    flags(&of, &kernel, &mut said);
                }
                Section::Layout(of) => layout(&of, &kernel, &mut said),
                Section::Rows(Kind::Errno, rows) => errnos(&rows, &kernel, &mut said),
                Section::Rows(..) => {}
            }
        }
        if add && !new.is_empty() {
            let path = home().join(format!("table/{table}.tsv"));
            let text = std::fs::read_to_string(&path)?;
            std::fs::write(&path, with_values(&text, &new))?;
        }
    }
    unknown_flags(&kernel, &known, &mut said);
    Ok(said)
}

fn read(root: &Path) -> anyhow::Result<Kernel> {
    let vmlinux = find(&root.join("usr/include"), "vmlinux.h").context("no vmlinux.h")?;
    let vmlinux = std::fs::read_to_string(vmlinux)?;
    let mut defines = BTreeMap::new();
    for header in HEADERS {
        let path = root.join("usr/include").join(header);
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("reading {}", path.display()))?;
        defines.extend(header::defines(&text));
    }
    let enums = header::enums(&vmlinux);
    ensure!(!enums.is_empty(), "vmlinux.h has no enumerations");
    Ok(Kernel {
        vmlinux,
        enums,
        defines,
    })
}

fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?;
    let mut entries: Vec<_> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
    entries.sort();
    entries.into_iter().find_map(|path| {
        if path.is_dir() && !path.is_symlink() {
            return find(&path, name);
        }
        (path.file_name()? == name).then_some(path)
    })
}

/// A value that a table lacks: the section's first line, and the row.
type NewValue = (String, String);

fn enumeration(of: &Enum, kernel: &Kernel, said: &mut Vec<String>) -> Vec<NewValue> {
    let shared = |c: &&CEnum| match &of.c_name {
        Some(_) => c.name == of.c_name,
        // One without a name is found by its values.
        None => of
            .rows
            .iter()
            .any(|row| c.values.iter().any(|v| v.0 == row.name)),
    };
    let title = of.c_name.as_deref().unwrap_or(&of.module);
    let Some(found) = kernel.enums.iter().find(shared) else {
        said.push(format!("gone: enum {title}"));
        return Vec::new();
    };
    let mut new = Vec::new();
    for (name, value) in &found.values {
        // End markers, and flags that are combined with a number.
        if name.starts_with("__") || name.starts_with("NR_") || *value >= 1 << 16 {
            continue;
        }
        match of.rows.iter().find(|row| row.name == *name) {
            Some(row) if i64::from(row.number) == *value => {}
            Some(row) => said.push(format!(
                "different: {name} is {value}, the table has {}",
                row.number
            )),
            None if name.ends_with("_MAX") => {}
            None => {
                said.push(format!("new: {name} = {value} in enum {title}"));
                let prefix = if of.prefix.is_empty() {
                    "-"
                } else {
                    &of.prefix
                };
                let c_name = of.c_name.as_deref().unwrap_or("-");
                let head = format!("@enum\t{c_name}\t{}\t{}\t{prefix}", of.rust_type, of.module);
                new.push((head, format!("{name}\t{value}\t-")));
            }
        }
    }
    for row in &of.rows {
        if !found.values.iter().any(|(name, _)| *name == row.name) {
            said.push(format!("gone: {} of enum {title}", row.name));
        }
    }
    new
}

/// A table's text with new rows at the end of their sections.
fn with_values(text: &str, new: &[NewValue]) -> String {
    let mut out = String::new();
    let mut waiting: Vec<&str> = Vec::new();
    for line in text.lines() {
        let ends = line.is_empty() || line.starts_with(['#', '@']);
        if ends {
            for row in waiting.drain(..) {
                out.push_str(row);
                out.push('\n');
            }
        }
        if line.starts_with('@') {
            waiting.extend(new.iter().filter(|n| n.0 == line).map(|n| n.1.as_str()));
        }
        out.push_str(line);
        out.push('\n');
    }
    for row in waiting {
        out.push_str(row);
        out.push('\n');
    }
    out
}

impl Kernel {
    /// The value of a name, wherever it is.
    fn value(&self, name: &str) -> Option<i64> {
        let in_enum = self.enums.iter().flat_map(|of| &of.values);
        let in_enum = in_enum.into_iter().find(|(known, _)| known == name);
        in_enum
            .map(|(_, value)| *value)
            .or_else(|| self.defines.get(name).copied())
    }
}

fn flags(of: &Flags, kernel: &Kernel, said: &mut Vec<String>) {
    for row in &of.rows {
        match kernel.value(&row.name) {
            Some(value) if value == row.value => {}
            Some(value) => said.push(format!(
                "different: {} is {value:#x}, the table has {:#x}",
                row.name, row.value
            )),
            // Those of the verifier's log and of loaders are in no header of the interface.
            None if row.name.starts_with("BPF_LOG_") || row.name.starts_with("BPF_SKEL_") => {}
            // Masks are in macros.
            None if row.name.ends_with("_MASK") => {}
            None => said.push(format!("gone: {}", row.name)),
        }
    }
}

/// Flags that no table has: those in an enumeration beside one that is known, and definitions.
fn unknown_flags(kernel: &Kernel, known: &BTreeSet<String>, said: &mut Vec<String>) {
    let beside = kernel
        .enums
        .iter()
        .filter(|of| of.name.is_none() && of.values.iter().any(|(name, _)| known.contains(name)));
    let beside = beside.flat_map(|of| of.values.iter().map(|(name, value)| (name, *value)));
    let defined = kernel.defines.iter().map(|(name, value)| (name, *value));
    let defined = defined.filter(|(name, _)| FAMILIES.iter().any(|f| name.starts_with(f)));
    let all: BTreeMap<&String, i64> = beside.chain(defined).collect();
    for (name, value) in all {
        if !known.contains(name) && !name.starts_with("__") && !NO_FLAGS.contains(&name.as_str()) {
            said.push(format!("new: {name} = {value:#x}, a flag"));
        }
    }
}

fn layout(of: &Layout, kernel: &Kernel, said: &mut Vec<String>) {
    let Some(c_type) = &of.c_type else {
        return;
    };
    let Some(found) = header::fields(&kernel.vmlinux, c_type, of.member.as_deref()) else {
        said.push(format!("gone: {c_type} for {}", of.module));
        return;
    };
    for row in &of.rows {
        match found.iter().find(|field| field.name == row.name) {
            None => said.push(format!("gone: {}.{}", of.module, row.name)),
            Some(field) if field.offset != row.offset || field.size != row.holds.size() => {
                said.push(format!(
                    "different: {}.{} is {} bytes at {}, the table has {} at {}",
                    of.module,
                    row.name,
                    field.size,
                    field.offset,
                    row.holds.size(),
                    row.offset
                ));
            }
            Some(_) => {}
        }
    }
    if of.partial {
        return;
    }
    for field in found {
        if !of.rows.iter().any(|row| row.name == field.name) {
            said.push(format!(
                "new: {}.{}, {} bytes at {}",
                of.module, field.name, field.size, field.offset
            ));
        }
    }
}

fn errnos(rows: &[Row], kernel: &Kernel, said: &mut Vec<String>) {
    let number = |row: &Row| crate::table::integer(&row.columns[1]);
    for row in rows {
        let name = &row.columns[0];
        let value = kernel.defines.get(name);
        // The kernel's own is in no header of the interface.
        if name != "ENOTSUPP" && value.copied() != number(row) {
            said.push(format!(
                "different: {name} is {value:?}, the table has {}",
                row.columns[1]
            ));
        }
    }
    for (name, value) in &kernel.defines {
        let is_errno = name.starts_with('E') && name.chars().all(|c| c.is_ascii_alphanumeric());
        if is_errno && !rows.iter().any(|row| number(row) == Some(*value)) {
            said.push(format!("new: {name} = {value}, an errno"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_values_go_to_the_end_of_their_section() {
        let text = "# a\n@enum\ta\tA\ta\t-\nX\t0\t-\n\n@enum\tb\tB\tb\t-\nZ\t0\t-\n";
        let row = |head: &str, row: &str| (head.to_owned(), row.to_owned());
        let new = [
            row("@enum\ta\tA\ta\t-", "Y\t1\t-"),
            row("@enum\tb\tB\tb\t-", "ZZ\t1\t-"),
        ];
        assert_eq!(
            with_values(text, &new),
            "# a\n@enum\ta\tA\ta\t-\nX\t0\t-\nY\t1\t-\n\n@enum\tb\tB\tb\t-\nZ\t0\t-\nZZ\t1\t-\n"
        );
    }
}
