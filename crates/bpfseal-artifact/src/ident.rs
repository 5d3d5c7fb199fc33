//! Names of things of an object, as the languages of skeletons can have them.
//!
//! Names come from files that anybody may have made. What is written as a name is an identifier,
//! and what is written into a comment can not leave it: every name goes through here.

use std::collections::HashSet;
use std::fmt::Write as _;

use bpfseal_object::{DataKind, Map};

/// What something without a name is called.
const UNNAMED: &str = "unnamed";

/// A name with everything but letters, digits and `_` replaced by `_`, as bpftool makes them.
pub(crate) fn identifier(name: &str) -> String {
    if name.is_empty() {
        return UNNAMED.to_owned();
    }
    name.bytes()
        .map(|b| {
            if b.is_ascii_alphanumeric() {
                char::from(b)
            } else {
                '_'
            }
        })
        .collect()
}

/// Whether a text is an identifier of C and Rust, keywords not counted out.
pub(crate) fn is_identifier(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    !text.starts_with(|c: char| c.is_ascii_digit()) && !text.is_empty() && text.bytes().all(word)
}

/// A name for a comment or a doc comment of either language: printable ASCII without what ends a
/// comment, continues a line, or quotes; everything else is written as `%XX`. What is clean stays
/// as it is.
pub(crate) fn clean(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'`' | b'*' | b'/' | b'\\' | b'?' => {
                let _ = write!(out, "%{byte:02x}");
            }
            b' '..=b'~' => out.push(char::from(byte)),
            _ => {
                let _ = write!(out, "%{byte:02x}");
            }
        }
    }
    out
}

/// Names that are taken, so that each comes once.
#[derive(Debug, Default)]
pub(crate) struct Names(HashSet<String>);

impl FromIterator<String> for Names {
    fn from_iter<I: IntoIterator<Item = String>>(names: I) -> Self {
        Self(names.into_iter().collect())
    }
}

impl Names {
    /// The name, with a number behind it if it is taken.
    pub(crate) fn unique(&mut self, name: String) -> String {
        let mut number = 2;
        let mut candidate = name.clone();
        while !self.0.insert(candidate.clone()) {
            candidate = format!("{}_{number}", name.trim_start_matches("r#"));
            number += 1;
        }
        candidate
    }
}

/// Sections by what their maps' names contain, in the order in which they are looked for.
const DATA_NAMES: [&str; 4] = [".data", ".rodata", ".bss", ".kconfig"];

/// The name of a map in the skeleton: its own, or for global data the section's.
pub(crate) fn map_ident(map: &Map) -> String {
    let name = map.user_name();
    match &map.data {
        None => identifier(name),
        Some(data) if data.kind == DataKind::Percpu => identifier(name.get(1..).unwrap_or(name)),
        Some(_) => {
            let found = DATA_NAMES.iter().find_map(|part| name.find(part));
            let tail = found.and_then(|at| name.get(at + 1..)).unwrap_or(name);
            identifier(tail)
        }
    }
}

/// The name of a data section in the skeleton; `None` for sections that are not global data.
pub(crate) fn section_ident(section: &str) -> Option<String> {
    if section == ".addr_space.1" {
        return Some("arena".to_owned());
    }
    [".data", ".rodata", ".bss", ".percpu", ".kconfig"]
        .iter()
        .any(|prefix| section.starts_with(prefix))
        .then(|| identifier(&section[1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_lose_their_dot() {
        assert_eq!(section_ident(".rodata.str1.1").unwrap(), "rodata_str1_1");
        assert_eq!(section_ident(".bss").unwrap(), "bss");
        assert_eq!(section_ident(".addr_space.1").unwrap(), "arena");
        assert_eq!(section_ident("license"), None);
    }

    #[test]
    fn what_is_clean_stays_so() {
        for name in ["a*/b", "x\ny", "\\", "??/", "`", "é", "plain name.1"] {
            let once = clean(name);
            assert_eq!(clean(&once), once);
            assert!(!once.contains(['*', '/', '\\', '`', '?', '\n']), "{once}");
        }
        assert_eq!(clean("a.b c"), "a.b c");
        assert_eq!(clean("*/"), "%2a%2f");
    }

    #[test]
    fn nothing_is_no_identifier() {
        assert_eq!(identifier(""), UNNAMED);
        assert!(is_identifier(UNNAMED));
        for text in ["", "1a", "a b", "a;", "é"] {
            assert!(!is_identifier(text), "{text}");
        }
    }
}
