//! Checks that no other file defines a number that the tables have.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::places::{project, read, tables};
use crate::table::{Kind, Section, integer};

/// Where sources are.
const PLACES: [&str; 4] = ["crates", "examples", "tests", "xtask"];
/// The one home.
const HOME: &str = "crates/bpfseal-uapi/";
/// Calls that take a field of attributes; a literal offset instead of a field is an error.
const BY_OFFSET: [&str; 9] = [
    ".put_any_bytes(",
    ".put_buffer(",
    ".put_bytes(",
    ".put_fd(",
    ".put_name(",
    ".put_u32(",
    ".put_u64(",
    "attr.u32(",
    "attr.u64(",
];

/// Types of enumerations, with the numbers that have a name.
type Named = BTreeMap<String, BTreeSet<i64>>;

/// Lists the lines that define a number a second time.
pub(crate) fn second() -> anyhow::Result<Vec<String>> {
    let (known, named) = numbers()?;
    let mut found = Vec::new();
    for place in PLACES {
        for path in sources(&project().join(place))? {
            let shown = path.strip_prefix(project()).unwrap_or(&path);
            if shown.starts_with(HOME) || shown.starts_with("xtask/codegen") {
                continue;
            }
            let text = std::fs::read_to_string(&path)?;
            for (index, line) in text.lines().enumerate() {
                if let Some(why) = fault(line, &known, &named) {
                    found.push(format!("{}:{}: {why}", shown.display(), index + 1));
                }
            }
        }
    }
    Ok(found)
}

/// What is wrong with a line of code.
fn fault(line: &str, known: &BTreeMap<String, Vec<i64>>, named: &Named) -> Option<String> {
    let line = line.trim();
    if let Some(number) = unnamed(line, named) {
        return Some(format!("`{number}` has a name in bpfseal-uapi"));
    }
    let by_offset = BY_OFFSET.iter().find(|call| {
        let behind = line.split(**call).nth(1).unwrap_or_default();
        let rest = behind.trim_start_matches(|c: char| c.is_ascii_digit());
        rest.len() < behind.len() && rest.starts_with([',', ')'])
    });
    if let Some(call) = by_offset {
        return Some(format!(
            "`{call}` with an offset: name the field of bpfseal-uapi"
        ));
    }
    let (name, value) = definition(line)?;
    let is_known = known.get(name)?.contains(&value);
    is_known.then(|| format!("`{name}` = {value} is defined in bpfseal-uapi: use that"))
}

/// A literal number of an enumeration that has a name: `MapType(2)`.
fn unnamed(line: &str, named: &Named) -> Option<String> {
    named.iter().find_map(|(name, numbers)| {
        let made = format!("{name}(");
        let behind = line.split(&made).skip(1);
        let mut written = behind.filter_map(|rest| integer(rest.split(')').next()?));
        let number = written.find(|number| *number != 0 && numbers.contains(number))?;
        Some(format!("{name}({number})"))
    })
}

/// Name and value of a constant that is a number.
fn definition(line: &str) -> Option<(&str, i64)> {
    let (before, rest) = line.split_once("const ")?;
    if !(before.is_empty() || before.starts_with("pub")) {
        return None;
    }
    let (name, rest) = rest.split_once(':')?;
    let value = rest.split_once('=')?.1.trim().strip_suffix(';')?;
    // A type of its own around it, or a bit.
    let value = match value.split_once('(') {
        Some((_, inner)) => inner.strip_suffix(')')?,
        None => value,
    };
    let value = match value.split_once("<<") {
        Some((one, bit)) if one.trim() == "1" => 1 << bit.trim().parse::<u32>().ok()?.min(62),
        Some(_) => return None,
        None => integer(value.trim())?,
    };
    Some((name.trim(), value))
}

/// Every name that a constant would have, with its numbers; and the numbers of every enumeration.
fn numbers() -> anyhow::Result<(BTreeMap<String, Vec<i64>>, Named)> {
    let mut named = Named::new();
    let mut known: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    let mut add = |name: &str, value: i64| {
        // Short names with the value 0 are too common.
        if value != 0 || name.contains('_') {
            known.entry(name.to_owned()).or_default().push(value);
        }
    };
    for table in tables()? {
        for section in read(&table)? {
            match section {
                Section::Enum(of) => {
                    let numbers = of.rows.iter().map(|row| i64::from(row.number));
                    named.entry(of.rust_type).or_default().extend(numbers);
                    for row in of.rows {
                        let short = row.name.strip_prefix(&of.prefix).unwrap_or(&row.name);
                        add(&row.name, row.number.into());
                        add(&short.to_uppercase(), row.number.into());
                        if let Some(kind) = row.name.strip_prefix("BTF_") {
                            add(kind, row.number.into());
                        }
                    }
                }
                Section::Flags(of) => {
                    for row in of.rows {
                        for prefix in ["", "BPF_", "BPF_F_", "KEYCTL_", "PERF_TYPE_", "XDP_FLAGS_"]
                        {
                            if let Some(short) = row.name.strip_prefix(prefix) {
                                add(short, row.value);
                            }
                        }
                    }
                }
                Section::Layout(of) => {
                    for row in of.rows {
                        let name = row.name.replace('.', "_").to_uppercase();
                        add(&name, i64::try_from(row.offset)?);
                    }
                }
                Section::Rows(kind, rows) => {
                    if kind == Kind::Errno {
                        let numbers = rows.iter().filter_map(|row| integer(&row.columns[1]));
                        named.entry("Errno".to_owned()).or_default().extend(numbers);
                    }
                    for row in rows {
                        if let Some(value) = integer(&row.columns[1]) {
                            add(&row.columns[0], value);
                        }
                    }
                }
            }
        }
    }
    Ok((known, named))
}

/// All files of Rust below a folder, sorted.
fn sources(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_home_is_found() {
        let (known, named) = numbers().unwrap();
        for line in [
            "const ENOKEY: i32 = 126;",
            "    pub(crate) const SYSCALL: u32 = 31;",
            "const SLEEPABLE: u32 = 1 << 4;",
            "pub(crate) const PROG_LOAD: i32 = 5;",
            "const HASH: MapType = MapType(1);",
            "    pub(in super::super) const SYS_BPF: i32 = 166;",
            "const KEYRING_ID: usize = 164;",
            "const KIND_FUNC: i32 = 12;",
            "const SESSION: i32 = -3;",
            "const MAX_FD_ARRAY: u32 = 4096;",
            "program(plan).prog_type = ProgType(2);",
            "let errno = Errno(22);",
            "assert_eq!(attr.u32(148), 1);",
            "    attr.put_fd(0, fd)",
        ] {
            assert!(fault(line, &known, &named).is_some(), "{line}");
        }
        for line in [
            "const ARRAY: u8 = 4;",
            "const NONE: u32 = 0;",
            "let unknown = MapType(99);",
            "self.endian.put_u32(0x5eed)",
            "use bpfseal_uapi::prog::SYSCALL;",
            "const SYSCALL: ProgType = prog::SYSCALL;",
            "attr.put_fd(at::MAP_FD, fd)",
            "// const ENOKEY: i32 = 126;",
        ] {
            assert_eq!(fault(line, &known, &named), None, "{line}");
        }
    }
}
