//! Whether a module is one that was generated: what was read, written again, is the same text.
//!
//! All but global data is in the bundle; types come from the type information in the loader's
//! metadata. What else there is about a section stands in the text: which map it belongs to, how
//! long it is, and what it starts with.

use std::collections::BTreeMap;

use bpfseal_object::btf::{Kind, Type};
use bpfseal_object::{Contents, MapIdx};

use super::module::{KERNEL_VALUES, PERCPU, Section, Sections};
use crate::bundle::Bundle;
use crate::ident::{clean, section_ident};
use crate::literal::Scanner;

/// Most maps that a loader has.
const MAX_MAPS: u32 = 64;

/// The module that embeds this bundle, written anew; `None` if it would not be one of ours,
/// whatever its text is.
pub(crate) fn rewritten(text: &str, bundle: &Bundle) -> Option<String> {
    let artifact = &bundle.artifact;
    let Some(btf) = crate::c::canonical::btf_in(&artifact.metadata, artifact.endian) else {
        let module = super::module::RustModule::without_data(bundle.clone());
        return Some(module.to_string());
    };
    let mut found = BTreeMap::new();
    for line in text.lines() {
        if let Some(section) = mapped(text, line).or_else(|| percpu(line)) {
            if section.index.0 >= MAX_MAPS || clean(&section.shown) != section.shown {
                return None;
            }
            found.insert(section.index.0, section);
        }
    }
    let mut sections = Sections::new(&btf);
    for (index, section) in found {
        let ident = artifact.interface.maps.get(index as usize)?;
        let described = |t: &Type<'_>| section_ident(t.name()).is_some_and(|name| name == *ident);
        let mut types = btf.types().filter(|t| t.kind() == Kind::Datasec);
        let variables = types.find(described);
        sections.add(&btf, section, ident, variables).ok()?;
    }
    Some(sections.into_module(bundle.clone()).to_string())
}

/// Global data that is mapped, by the line that maps it.
fn mapped(text: &str, line: &str) -> Option<Section> {
    let (ident, rest) = line
        .strip_prefix("            ")?
        .split_once(": loaded.data_at(")?;
    let (index, len) = rest.strip_suffix(")?,")?.split_once(", ")?;
    let index = MapIdx(index.parse().ok()?);
    let accessor = text.find(&format!("{KERNEL_VALUES}\n    pub fn {ident}(&self) -> "))?;
    let shown = text[..accessor].rsplit_once("/// Global variables of `")?.1;
    // In an unsigned module the value is given where it is read; zeroes are a number.
    let start = text
        .split_once(&format!("            {ident}: rt::Value::read("))
        .and_then(|(_, rest)| rest.split_once("),\n"))
        .map(|(start, _)| start);
    let literal = start.and_then(|start| {
        let definition = format!("static {start}: &[u8] = b");
        let at = text.find(&definition)?;
        Scanner::new(text, at + definition.len()).quoted().ok()?
    });
    let value = match literal {
        Some(bytes) => Contents::new(&bytes),
        None => Contents::zeroes(len.parse().ok()?),
    };
    let mut section = Section::new(index, shown, value);
    section.read_only = is_read_only(text, shown);
    Some(section)
}

/// Whether the variables of a section are constants in its struct.
fn is_read_only(text: &str, shown: &str) -> bool {
    text.split_once(&format!("\n/// Global variables of `{shown}`.\n"))
        .and_then(|(_, rest)| rest.split_once("\n}\n"))
        .is_some_and(|(body, _)| body.contains(": rt::Const<"))
}

/// Global data with a value for each CPU, by its comment.
fn percpu(line: &str) -> Option<Section> {
    let (shown, rest) = line.strip_prefix(PERCPU)?.split_once("` (map ")?;
    let (index, rest) = rest.split_once(") has a value of ")?;
    let (len, _) = rest.split_once(' ')?;
    let value = Contents::zeroes(len.parse().ok()?);
    let mut section = Section::new(MapIdx(index.parse().ok()?), shown, value);
    section.percpu = true;
    Some(section)
}
