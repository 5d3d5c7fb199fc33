//! Whether a header is one that bpftool wrote.
//!
//! Its text is not ours to have a copy of, so `bpftool.tsv` has lengths and digests: for each line
//! how many bytes stand between the names in it, and SHA-256 of what stands there. With the names
//! that were read, that tells the line from every other. Declarations and assertions come from the
//! type information in the loader's metadata, arrays from their bytes, as in our own headers.
//!
//! Letters: `N` object, `G` its guard, `M` map, `P` program, `S` section, `V` variable, `T`
//! tracepoint, `Z` number, `F` protection.
//!
//! Headers of bpftool 7.3 to 7.8 are known. Those before have no named arrays. A header that names
//! things as C++ can not, or with a flexible array that has values, is not taken for canonical: it
//! does not compile, or has wrong offsets.

use std::collections::HashMap;

use bpfseal_object::Contents;
use bpfseal_object::btf::{Kind, Type};
use bpfseal_seal::sha256;

use super::canonical::btf_in;
use super::names::is_name;
use super::text::{SectionPart, array};
use super::types::Declarer;
use crate::artifact::Artifact;
use crate::interface::AutoAttach;
use crate::literal::{Scanner, push_literal};
use crate::text::Text;

/// Lengths and digests.
const LINES: &str = include_str!("bpftool.tsv");
/// What [`Text::Canonical`] says.
const TOOL: &str = "bpftool";
/// Sizes of pages that a header may have been made for.
const PAGES: [u64; 3] = [4096, 16384, 65536];
/// Most maps that a loader has.
const MAX_MAPS: usize = 64;

/// Whether a header is bpftool's; else the first line that is not.
pub(super) fn text(text: &str, artifact: &Artifact) -> Text {
    let modern = walk(text, artifact, "");
    let older = || walk(text, artifact, "_before_7.7");
    match modern.or_else(|line| older().map_err(|other| line.max(other))) {
        Ok(()) => Text::Canonical {
            generator: TOOL.to_owned(),
        },
        Err(line) => Text::Other { line },
    }
}

/// What a header has of the global data of a map.
struct Section {
    part: SectionPart,
    /// Bytes of the mapping, in whole pages.
    mapped: String,
}

/// Goes through a header, block by block; the first line that differs is the error.
fn walk(text: &str, artifact: &Artifact, version: &str) -> Result<(), usize> {
    let interface = &artifact.interface;
    let name = &*interface.name;
    let programs = &interface.programs;
    let mut names = interface
        .maps
        .iter()
        .chain(programs.iter().map(|p| &p.name));
    let form = artifact.forms.first().ok_or(1_usize)?;
    if !is_name(name) || !names.all(|name| is_name(name)) || interface.maps.len() > MAX_MAPS {
        return Err(1);
    }
    let guard = format!("__{name}_SKEL_H__").to_ascii_uppercase();
    let btf = btf_in(&artifact.metadata, artifact.endian);
    let mut sections: Vec<Section> = Vec::new();
    let mut declarer = btf.as_ref().map(|btf| (btf, Declarer::new(btf)));
    for map in &interface.maps {
        let Some(mut section) = section(text, map) else {
            continue;
        };
        if let Some((btf, declarer)) = &mut declarer {
            let mut types = btf.types().filter(|t| t.kind() == Kind::Datasec);
            let found = types.find(|t: &Type<'_>| SectionPart::describes(*t, map));
            if let Some(variables) = found {
                section
                    .part
                    .declare(declarer, btf, variables)
                    .map_err(|_| 1_usize)?;
            }
        }
        sections.push(section);
    }
    let mut walk = Walk::new(text);
    let base = [("N", name), ("G", &*guard)];
    let with = |more: &[(&'static str, &str)]| -> Vec<(&'static str, String)> {
        let all = base.iter().chain(more);
        all.map(|(letter, value)| (*letter, (*value).to_owned()))
            .collect()
    };
    walk.block("prologue", &with(&[]))?;
    if !interface.maps.is_empty() {
        walk.block("open", &[])?;
        for map in &interface.maps {
            walk.block("map", &with(&[("M", map)]))?;
        }
        walk.block("maps", &[])?;
    }
    if !programs.is_empty() {
        for (first, each, last) in [("open", "prog", "progs"), ("open", "link", "links")] {
            walk.block(first, &[])?;
            for program in programs {
                walk.block(each, &with(&[("P", &program.name)]))?;
            }
            walk.block(last, &[])?;
        }
    }
    if form.seal().is_some() {
        walk.block("keyring", &[])?;
    }
    for Section { part, .. } in &sections {
        walk.block("section", &with(&[("S", &part.name)]))?;
        walk.members(&part.members)?;
        walk.block("pointer", &with(&[("S", &part.name)]))?;
    }
    walk.block("close", &[])?;
    for program in programs {
        let this = with(&[("P", &program.name)]);
        walk.block("attach", &this)?;
        match &program.attach {
            AutoAttach::Iterator => walk.block("iterator", &[])?,
            AutoAttach::Manual => walk.block("manual", &[])?,
            AutoAttach::RawTracepoint(target) => {
                // It is written as it is.
                let plain = |b: u8| matches!(b, b' '..=b'~') && b != b'"' && b != b'\\';
                if !target.bytes().all(plain) {
                    return Err(walk.line);
                }
                walk.block("raw", &with(&[("T", target)]))?;
            }
            AutoAttach::Target => walk.block("target", &[])?,
        }
        walk.block("attached", &this)?;
    }
    for (first, each) in [
        ("attach_all", "attach_one"),
        ("detach_all", "detach_one"),
        ("destroy", "close_prog"),
    ] {
        walk.block(first, &with(&[]))?;
        for program in programs {
            walk.block(each, &with(&[("P", &program.name)]))?;
        }
    }
    for map in &interface.maps {
        if let Some(section) = sections.iter().find(|s| s.part.name == *map) {
            walk.block("free_data", &with(&[("S", map), ("Z", &section.mapped)]))?;
        }
        walk.block("close_map", &with(&[("M", map)]))?;
    }
    walk.block(&format!("new{version}"), &with(&[]))?;
    for Section { part, mapped } in &sections {
        walk.block("block", &[])?;
        let mut data = "\t\tstatic const char data[] __attribute__((__aligned__(8))) = ".to_owned();
        // Writing to a string does not fail.
        let _ = push_literal(&mut data, &part.value.to_vec());
        walk.text(&(data + ";\n\n"))?;
        walk.block(
            &format!("prepare{version}"),
            &with(&[("S", &part.name), ("Z", mapped)]),
        )?;
    }
    walk.block("load", &with(&[]))?;
    walk.array("opts_data", &artifact.metadata)?;
    walk.array("opts_insn", form.instructions())?;
    if let Some(seal) = form.seal() {
        walk.array("opts_sig", &seal.signature)?;
        walk.array("opts_excl_hash", &seal.excl_prog_hash)?;
        walk.block("signed", &[])?;
    }
    walk.block("run", &[])?;
    for Section { part, mapped } in &sections {
        let this = [("S", &*part.name), ("Z", mapped)];
        if part.percpu {
            walk.block("protect", &with(&this))?;
            continue;
        }
        let flags = match part.read_only {
            true => "PROT_READ",
            false => "PROT_READ | PROT_WRITE",
        };
        let this = [this[0], this[1], ("F", flags)];
        walk.block(&format!("finalize{version}"), &with(&this))?;
    }
    walk.block("loaded", &with(&[]))?;
    if btf.is_some() {
        walk.block("assert", &with(&[]))?;
        for Section { part, .. } in &sections {
            for assertion in &part.assertions {
                let size = assertion.size.to_string();
                let this = [("S", &*part.name), ("V", &*assertion.member), ("Z", &*size)];
                walk.block("size", &with(&this))?;
            }
        }
        walk.block("asserted", &[])?;
    }
    walk.block("end", &with(&[]))?;
    walk.end()
}

/// What the text says of the global data of a map; `None` when it has none.
fn section(text: &str, name: &str) -> Option<Section> {
    if !text.contains(&format!("\n\t}} *{name};\n")) {
        return None;
    }
    let prepared = text.find(&format!("\n\t\tskel->{name} = "))?;
    let mapped = text[prepared..].split_once("(void *)data, ")?.1;
    let mapped = mapped.split_once(',')?.0;
    let definition = text[..prepared].rfind("static const char data[]")?;
    let definition = definition + "static const char data[".len();
    let value = Scanner::new(text, definition).initialiser().ok()?;
    let size: u64 = mapped.parse().ok()?;
    let whole = |page: &u64| size.is_multiple_of(*page) && size >= value.len() as u64;
    if !PAGES.iter().any(whole) || size.to_string() != mapped {
        return None;
    }
    Some(Section {
        part: SectionPart {
            name: name.to_owned(),
            size,
            percpu: text.contains(&format!("skel_protect_map_data(skel->{name}, ")),
            read_only: text.contains(&format!(", PROT_READ, skel->maps.{name}.map_fd);\n")),
            value: Contents::new(&value),
            members: String::new(),
            assertions: Vec::new(),
        },
        mapped: mapped.to_owned(),
    })
}

/// A place in a text.
struct Walk<'a> {
    blocks: HashMap<&'static str, Vec<&'static str>>,
    rest: &'a str,
    /// The line that is next, from 1.
    line: usize,
}

impl<'a> Walk<'a> {
    fn new(text: &'a str) -> Self {
        let mut blocks: HashMap<_, Vec<_>> = HashMap::new();
        let mut current = "";
        for line in LINES.lines().filter(|line| !line.starts_with('#')) {
            match line.strip_prefix('@') {
                Some(name) => current = name,
                None => blocks.entry(current).or_default().push(line),
            }
        }
        Self {
            blocks,
            rest: text,
            line: 1,
        }
    }

    /// The lines of a block come next.
    fn block(&mut self, block: &str, names: &[(&'static str, String)]) -> Result<(), usize> {
        let lines = self.blocks.get(block).ok_or(self.line)?.clone();
        for known in lines {
            let Some((line, rest)) = self.rest.split_once('\n') else {
                return Err(self.line);
            };
            if !is_line(line, known, names).unwrap_or(false) {
                return Err(self.line);
            }
            self.rest = rest;
            self.line += 1;
        }
        Ok(())
    }

    /// This text comes next.
    fn text(&mut self, wanted: &str) -> Result<(), usize> {
        match self.rest.strip_prefix(wanted) {
            Some(rest) => {
                self.rest = rest;
                self.line += wanted.matches('\n').count();
                Ok(())
            }
            None => {
                let pairs = self.rest.split('\n').zip(wanted.split('\n'));
                Err(self.line + pairs.take_while(|(found, wanted)| found == wanted).count())
            }
        }
    }

    /// These declarations come next. bpftool fills gaps with unnamed bit-fields of other types
    /// than ours; they have to be as many bits.
    fn members(&mut self, wanted: &str) -> Result<(), usize> {
        let mut wanted = wanted.lines().peekable();
        loop {
            let mut gap = 0;
            while let Some(bits) = wanted.peek().and_then(|line| unnamed(line)) {
                gap += bits;
                wanted.next();
            }
            let mut found = 0;
            while let Some((bits, rest)) = self
                .rest
                .split_once('\n')
                .and_then(|(line, rest)| Some((unnamed(line)?, rest)))
            {
                found += bits;
                self.rest = rest;
                self.line += 1;
            }
            // Whole words, where alignment does the rest by itself.
            let aligned = found > 0 && found.is_multiple_of(64) && found < gap && gap - found < 64;
            if gap != found && !aligned {
                return Err(self.line);
            }
            match wanted.next() {
                Some(line) => self.text(&format!("{line}\n"))?,
                None => return Ok(()),
            }
        }
    }

    fn array(&mut self, name: &str, bytes: &[u8]) -> Result<(), usize> {
        let mut wanted = String::new();
        // Writing to a string does not fail.
        let _ = array(&mut wanted, name, bytes);
        self.text(&wanted)
    }

    /// Nothing comes any more.
    fn end(&self) -> Result<(), usize> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(self.line)
        }
    }
}

/// The bits of an unnamed bit-field.
fn unnamed(line: &str) -> Option<u64> {
    let (kind, bits) = line.trim_start_matches('\t').split_once(": ")?;
    let known = ["__u64", "char", "int", "long", "long long", "short"].contains(&kind);
    let bits: u64 = bits.strip_suffix(';')?.parse().ok()?;
    (known && bits <= 64).then_some(bits)
}

/// Whether a line is a known one, with these names in it; `None` for one that ends early.
fn is_line(line: &str, known: &str, names: &[(&'static str, String)]) -> Option<bool> {
    let (shape, digest) = known.split_once('\t')?;
    let mut between = Vec::new();
    let mut rest = line.as_bytes();
    for part in shape.split(' ') {
        if let Ok(count) = part.parse::<usize>() {
            let (literal, more) = rest.split_at_checked(count)?;
            between.extend_from_slice(literal);
            rest = more;
        } else {
            let (_, name) = names.iter().find(|(letter, _)| *letter == part)?;
            rest = rest.strip_prefix(name.as_bytes())?;
        }
    }
    let found = sha256(&between);
    let hex: String = found[..16].iter().map(|b| format!("{b:02x}")).collect();
    Some(rest.is_empty() && hex == digest)
}
