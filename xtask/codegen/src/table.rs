//! The tables of the kernel's numbers: text with a fact a line, columns separated by tabs.
//!
//! `#` begins a comment; a line that begins with `@` opens a section and says what its rows are.

use std::path::Path;

use anyhow::{Context as _, bail, ensure};

/// The first kernel that has something, as the table writes it; `None` for `-`.
pub(crate) type Since = Option<[u16; 3]>;

/// A section of a table.
#[derive(Debug)]
pub(crate) enum Section {
    Enum(Enum),
    Flags(Flags),
    Layout(Layout),
    Rows(Kind, Vec<Row>),
}

/// What rows without columns of their own type are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Cve,
    Errno,
    Keyring,
    KeyType,
    Limit,
}

/// An enumeration.
#[derive(Debug)]
pub(crate) struct Enum {
    /// The kernel's name of it; `None` for one without a name.
    pub(crate) c_name: Option<String>,
    pub(crate) rust_type: String,
    pub(crate) module: String,
    /// What constants leave out of the kernel's names.
    pub(crate) prefix: String,
    pub(crate) rows: Vec<EnumRow>,
}

#[derive(Debug)]
pub(crate) struct EnumRow {
    pub(crate) name: String,
    pub(crate) number: u32,
    pub(crate) since: Since,
    pub(crate) alias: bool,
}

/// Numbers with a meaning.
#[derive(Debug)]
pub(crate) struct Flags {
    /// What they are flags of.
    pub(crate) of: String,
    pub(crate) rust_type: String,
    pub(crate) rows: Vec<FlagRow>,
}

#[derive(Debug)]
pub(crate) struct FlagRow {
    pub(crate) name: String,
    /// As the table writes it.
    pub(crate) text: String,
    pub(crate) value: i64,
    pub(crate) since: Since,
    pub(crate) meaning: String,
}

/// A structure.
#[derive(Debug)]
pub(crate) struct Layout {
    /// Path of the module, `a::b`.
    pub(crate) module: String,
    /// The C type, where the kernel's types are compared.
    pub(crate) c_type: Option<String>,
    /// The member of a union.
    pub(crate) member: Option<String>,
    /// The C type has more fields.
    pub(crate) partial: bool,
    /// The comment above it: what it is for.
    pub(crate) doc: String,
    pub(crate) rows: Vec<FieldRow>,
}

#[derive(Debug)]
pub(crate) struct FieldRow {
    pub(crate) name: String,
    pub(crate) offset: usize,
    pub(crate) holds: Holds,
    pub(crate) since: Since,
}

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holds {
    Bytes(usize),
    Fd,
    Pointer,
    Signed,
    Text(usize),
    Unsigned(usize),
}

impl Holds {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "u8" => Self::Unsigned(1),
            "u16" => Self::Unsigned(2),
            "u32" => Self::Unsigned(4),
            "u64" => Self::Unsigned(8),
            "i32" => Self::Signed,
            "fd" => Self::Fd,
            "ptr" => Self::Pointer,
            _ => match text.strip_prefix("name") {
                Some(count) => Self::Text(count.parse().ok()?),
                None => {
                    let count = text.strip_prefix("u8[")?.strip_suffix(']')?;
                    Self::Bytes(count.parse().ok()?)
                }
            },
        })
    }

    /// Bytes of it.
    pub(crate) fn size(self) -> usize {
        match self {
            Self::Fd | Self::Signed => 4,
            Self::Pointer => 8,
            Self::Bytes(size) | Self::Text(size) | Self::Unsigned(size) => size,
        }
    }
}

/// A row as it stands in the table.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) columns: Vec<String>,
    pub(crate) since: Since,
}

/// Reads a table.
pub(crate) fn read(path: &Path) -> anyhow::Result<Vec<Section>> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    parse(&text).with_context(|| path.display().to_string())
}

/// The sections of a table's text.
pub(crate) fn parse(text: &str) -> anyhow::Result<Vec<Section>> {
    let mut sections = Vec::new();
    let mut comment = String::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_end();
        if let Some(said) = line.strip_prefix('#') {
            comment = format!("{comment} {}", said.trim()).trim().to_owned();
            continue;
        }
        if line.is_empty() {
            comment.clear();
            continue;
        }
        let columns: Vec<&str> = line.split('\t').collect();
        let added = if let Some(kind) = line.strip_prefix('@') {
            let kind = kind.split('\t').next().unwrap_or_default();
            open(kind, &columns[1..], &comment).map(|section| sections.push(section))
        } else {
            add(&mut sections, &columns)
        };
        comment.clear();
        added.with_context(|| format!("line {}: `{line}`", index + 1))?;
    }
    Ok(sections)
}

fn optional(word: &str) -> Option<String> {
    (word != "-").then(|| word.to_owned())
}

fn open(kind: &str, words: &[&str], comment: &str) -> anyhow::Result<Section> {
    Ok(match (kind, words) {
        ("enum", [c_name, rust_type, module, prefix]) => Section::Enum(Enum {
            c_name: optional(c_name),
            rust_type: (*rust_type).to_owned(),
            module: (*module).to_owned(),
            prefix: optional(prefix).unwrap_or_default(),
            rows: Vec::new(),
        }),
        ("flags", [of, rust_type]) => Section::Flags(Flags {
            of: (*of).to_owned(),
            rust_type: (*rust_type).to_owned(),
            rows: Vec::new(),
        }),
        ("layout", [module, c_type, member, rest @ ..]) => Section::Layout(Layout {
            module: (*module).to_owned(),
            c_type: optional(c_type),
            member: optional(member),
            partial: match rest {
                [] => false,
                ["partial"] => true,
                _ => bail!("what is {rest:?}?"),
            },
            doc: comment.to_owned(),
            rows: Vec::new(),
        }),
        ("cve", []) => Section::Rows(Kind::Cve, Vec::new()),
        ("errno", []) => Section::Rows(Kind::Errno, Vec::new()),
        ("keyring", []) => Section::Rows(Kind::Keyring, Vec::new()),
        ("keytype", []) => Section::Rows(Kind::KeyType, Vec::new()),
        ("limit", []) => Section::Rows(Kind::Limit, Vec::new()),
        _ => bail!(
            "no section is called `{kind}` and has {} words",
            words.len()
        ),
    })
}

fn add(sections: &mut [Section], columns: &[&str]) -> anyhow::Result<()> {
    let section = sections.last_mut().context("a row before any section")?;
    match (section, columns) {
        (Section::Enum(of), [name, number, since, rest @ ..]) => {
            ensure!(rest.is_empty() || rest == ["alias"], "what is {rest:?}?");
            of.rows.push(EnumRow {
                name: (*name).to_owned(),
                number: number.parse()?,
                since: version(since)?,
                alias: !rest.is_empty(),
            });
        }
        (Section::Flags(of), [name, value, since, meaning]) => of.rows.push(FlagRow {
            name: (*name).to_owned(),
            text: (*value).to_owned(),
            value: integer(value).context("a number")?,
            since: version(since)?,
            meaning: (*meaning).to_owned(),
        }),
        (Section::Layout(of), [name, offset, holds, since]) => of.rows.push(FieldRow {
            name: (*name).to_owned(),
            offset: offset.parse()?,
            holds: Holds::parse(holds).with_context(|| format!("no type is `{holds}`"))?,
            since: version(since)?,
        }),
        (Section::Rows(kind, rows), columns) => {
            let (count, since) = match kind {
                Kind::Cve | Kind::Errno | Kind::KeyType => (3, None),
                Kind::Keyring => (5, Some(2)),
                Kind::Limit => (5, Some(3)),
            };
            ensure!(columns.len() == count, "{count} columns are expected");
            rows.push(Row {
                columns: columns.iter().map(|&column| column.to_owned()).collect(),
                since: since.map_or(Ok(None), |at| version(columns[at]))?,
            });
        }
        _ => bail!("another count of columns is expected"),
    }
    Ok(())
}

/// Decimal or hexadecimal.
pub(crate) fn integer(text: &str) -> Option<i64> {
    match text.strip_prefix("0x") {
        Some(digits) => i64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// A release, or `-`.
pub(crate) fn version(text: &str) -> anyhow::Result<Since> {
    if text == "-" {
        return Ok(None);
    }
    let numbers: Vec<u16> = text
        .split('.')
        .map(str::parse)
        .collect::<Result<_, _>>()
        .with_context(|| format!("`{text}` is no release"))?;
    match *numbers {
        [major, minor] => Ok(Some([major, minor, 0])),
        [major, minor, patch] => Ok(Some([major, minor, patch])),
        _ => bail!("`{text}` is no release"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_have_their_rows() {
        let text = "# About.\n\n@enum\tbpf_cmd\tCommand\tcmd\tBPF_\nBPF_A\t0\t3.18\nBPF_B\t0\t-\talias\n\
            \n# Of a map.\n@layout\tattr::a\t-\t-\nkey\t8\tptr\t2.6.10\nname\t16\tname16\t-\n";
        let sections = parse(text).unwrap();
        let [Section::Enum(of), Section::Layout(layout)] = &*sections else {
            panic!("{sections:?}");
        };
        assert_eq!((of.rows.len(), of.rows[1].alias), (2, true));
        assert_eq!(layout.doc, "Of a map.");
        assert_eq!(layout.rows[0].since, Some([2, 6, 10]));
        assert_eq!(layout.rows[1].holds, Holds::Text(16));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (text, line) in [
            ("a\t1\t-\n", "line 1"),
            ("@enum\tx\n", "line 1"),
            ("\n@flags\tx\tu32\nA\tone\t-\tm\n", "line 3"),
            ("@layout\ta\t-\t-\nkey\t0\tword\t-\n", "line 2"),
            ("@errno\nEPERM\t1\n", "line 2"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.starts_with(line), "{error}");
        }
    }
}
