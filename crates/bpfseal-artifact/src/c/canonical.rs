//! Whether a header is one that was generated: what was read, written again, is the same text.
//!
//! A compiler sees more of a header than its arrays: conditions, macros, further assignments. So
//! nothing is looked for that could be wrong with it; it is written anew from what was read, and
//! compared to the byte. Declarations of global data come from the type information in the
//! loader's metadata, which is signed. White space, comments and line ends count: a header that
//! was formatted is not canonical.

use std::collections::HashSet;

use bpfseal_object::btf::{Btf, Kind, Type};
use bpfseal_object::{Contents, Endian};
use bpfseal_seal::{Scheme, Seal};

use super::names::{Renamed, is_name};
use super::runtime::STANDALONE;
use super::text::{Parts, ProgramPart, SCHEME, SectionPart};
use super::types::Declarer;
use crate::artifact::{Artifact, LoaderForm};
use crate::literal::Scanner;

/// Most maps that a loader has.
const MAX_MAPS: usize = 64;

/// The header that has these bytes and names, written anew; `None` if it would not be one of ours,
/// whatever its text is.
pub(super) fn rewritten(text: &str, artifact: &Artifact) -> Option<String> {
    let form = artifact.forms.first()?;
    let seal = match form {
        LoaderForm::Sealed { seal, .. } => Some(Seal {
            scheme: scheme(text),
            ..seal.clone()
        }),
        LoaderForm::Unsigned { .. } => None,
    };
    let interface = &artifact.interface;
    let names = interface
        .maps
        .iter()
        .chain(std::iter::once(&interface.name));
    let mut names = names.chain(interface.programs.iter().map(|program| &program.name));
    if !names.all(|name| is_name(name)) {
        return None;
    }
    if interface.maps.len() > MAX_MAPS {
        return None;
    }
    let left_out: HashSet<&str> = text
        .lines()
        .filter_map(|line| {
            line.strip_prefix("\tskel->progs.")?
                .strip_suffix(".prog_fd = 0;")
        })
        .collect();
    let programs = interface.programs.iter().map(|program| ProgramPart {
        name: program.name.clone(),
        autoload: !left_out.contains(&*program.name),
        attach: program.attach.clone(),
    });
    let btf = btf_in(&artifact.metadata, artifact.endian);
    let renamed = Renamed::read(text);
    let mut sections: Vec<SectionPart> = interface
        .maps
        .iter()
        .filter_map(|map| section(text, map))
        .collect();
    if let Some(btf) = &btf {
        let mut declarer = Declarer::new(btf);
        for part in &mut sections {
            let ident = renamed
                .original(&part.name)
                .unwrap_or(&part.name)
                .to_owned();
            let described = |t: &Type<'_>| SectionPart::describes(*t, &ident);
            let mut found = btf.types().filter(|t| t.kind() == Kind::Datasec);
            if let Some(variables) = found.find(described) {
                part.declare(&mut declarer, btf, variables).ok()?;
            }
        }
    }
    let parts = Parts {
        name: interface.name.clone(),
        renamed,
        maps: interface.maps.clone(),
        programs: programs.collect(),
        sections,
        has_types: btf.is_some(),
        standalone: text.contains(&format!("\tstruct {} ctx;\n", STANDALONE.context)),
        instructions: form.instructions(),
        metadata: &artifact.metadata,
        seal: seal.as_ref(),
    };
    Some(parts.to_string())
}

/// The scheme that the header names; without one it is the check at load time.
fn scheme(text: &str) -> Scheme {
    let mut lines = text.lines().take(20);
    let named = lines.find_map(|line| line.strip_prefix(SCHEME)?.strip_suffix('.'));
    named
        .and_then(Scheme::from_name)
        .unwrap_or(Scheme::LoadTime)
}

/// What a header has of the global data of a map, without its variables; `None` for a map that has
/// none, or whose data is not there.
fn section(text: &str, name: &str) -> Option<SectionPart> {
    if !text.contains(&format!("\n\t}} *{name};\n")) {
        return None;
    }
    let prepared = format!("\n\t\tskel->{name} = (__typeof__(skel->{name}))");
    let at = text.find(&prepared)?;
    let size = text[at..].split_once("__mmap_sz(")?.1;
    let size = size.split_once(')')?.0.parse().ok()?;
    // The definition of what it starts with is right in front of it.
    let definition = text[..at].rfind("static const char data[")?;
    let definition = definition + "static const char data[".len();
    let value = match text[definition..].split_once(']')? {
        ("", _) => Contents::new(&Scanner::new(text, definition).initialiser().ok()?),
        (len, _) => Contents::zeroes(len.parse::<usize>().ok()?.checked_sub(1)?),
    };
    // What is all zero is written as a number.
    let percpu = text.contains(&format!("\tif (mprotect(skel->{name}, "));
    let read_only = text.contains(&format!("\t\tPROT_READ, skel->maps.{name}.map_fd);\n"));
    Some(SectionPart {
        name: name.to_owned(),
        size,
        value,
        percpu,
        read_only,
        members: String::new(),
        assertions: Vec::new(),
    })
}

/// The type information that a loader loads: the first in its metadata that can be read. Loaders
/// have it in front of everything that comes from an object's sections.
pub(crate) fn btf_in(metadata: &[u8], endian: Endian) -> Option<Btf> {
    /// Bytes of the fields that every version has.
    const HEADER: usize = 24;
    let magic = match endian {
        Endian::Little => [0x9f, 0xeb, 1],
        Endian::Big => [0xeb, 0x9f, 1],
    };
    let word = |bytes: &[u8], at: usize| -> Option<usize> {
        let four: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
        let number = match endian {
            Endian::Little => u32::from_le_bytes(four),
            Endian::Big => u32::from_be_bytes(four),
        };
        usize::try_from(number).ok()
    };
    for start in (0..metadata.len().saturating_sub(HEADER)).step_by(8) {
        let rest = &metadata[start..];
        if !rest.starts_with(&magic) {
            continue;
        }
        // Header, then types and strings at offsets behind it; the section ends with the last.
        let (header, types, types_len) = (word(rest, 4)?, word(rest, 8)?, word(rest, 12)?);
        let (strings, strings_len) = (word(rest, 16)?, word(rest, 20)?);
        let len = header
            .checked_add((types.checked_add(types_len)?).max(strings.checked_add(strings_len)?))?;
        if let Some(btf) = rest
            .get(..len)
            .and_then(|bytes| Btf::parse(bytes, endian).ok())
        {
            return Some(btf);
        }
    }
    None
}
