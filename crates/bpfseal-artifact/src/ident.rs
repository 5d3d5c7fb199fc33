//! Names of things of an object as C identifiers, as bpftool makes them.

use bpfseal_object::{DataKind, Map};

/// A name with everything but letters, digits and `_` replaced by `_`.
pub(crate) fn identifier(name: &str) -> String {
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
}
