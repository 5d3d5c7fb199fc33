//! `bpfseal inspect --html`: one page about an object or an artifact, for people who decide about it.
//!
//! The page is a file of its own: no network, no other files, nothing that runs but its own script,
//! which only makes it easier to search. All that comes out of an input is escaped by the templates,
//! and a content security policy keeps everything else out.

mod code;
mod diagram;

use bpfseal::artifact::{Artifact, AutoAttach, Interface, LoaderForm, ProgramInterface};
use bpfseal::loader::LoadPlan;
use bpfseal::loader::plan::{MapAttr, ProgramLoad, Step};
use bpfseal::model::audit::{Audit, Powers, Subject, audit};
use bpfseal::object::btf::Btf;
use bpfseal::object::{MapIdx, Object};
use bpfseal::seal::{Scheme, SignatureSummary, excl_prog_hash, hex};
use maud::{DOCTYPE, Markup, PreEscaped, html};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");
/// SHA-256 of the script in base64, by which the page's policy knows it.
const SCRIPT_DIGEST: &str = include_str!("script.sha256");

/// What a page is about.
pub(crate) struct Page<'a> {
    /// Where it came from.
    pub(crate) place: String,
    /// The input.
    pub(crate) bytes: &'a [u8],
    /// Its name.
    pub(crate) name: String,
    /// What kind of file it is.
    pub(crate) kind: &'a str,
    plan: Result<LoadPlan, String>,
    powers: Vec<Powers>,
    /// What each program attaches to.
    attach: Vec<String>,
    forms: Vec<Form<'a>>,
    notes: Vec<String>,
}

/// A loader with what vouches for it.
struct Form<'a> {
    form: &'a LoaderForm,
    metadata: &'a [u8],
    audit: Audit,
}

impl<'a> Page<'a> {
    /// Of an object, with its plan or why there is none.
    pub(crate) fn of_object(
        place: String,
        bytes: &'a [u8],
        object: &Object,
        plan: Result<LoadPlan, String>,
    ) -> Self {
        let mut notes = object.notes.clone();
        if let Ok(plan) = &plan {
            notes.extend(plan.notes.iter().cloned());
            let host = plan.host.iter();
            notes.extend(host.map(|value| format!("depends on the host: {value}")));
        }
        Self {
            place,
            bytes,
            name: object.name.clone(),
            kind: "object",
            powers: plan
                .as_ref()
                .map(|plan| plan.programs().map(Powers::of).collect())
                .unwrap_or_default(),
            attach: plan
                .as_ref()
                .map(|plan| plan.programs().map(|p| p.section.clone()).collect())
                .unwrap_or_default(),
            plan,
            forms: Vec::new(),
            notes,
        }
    }

    /// Of an artifact: its plan is what its first loader does when it runs.
    pub(crate) fn of_artifact(
        place: String,
        bytes: &'a [u8],
        kind: &'a str,
        artifact: &'a Artifact,
    ) -> Self {
        let forms: Vec<Form<'a>> = artifact
            .forms
            .iter()
            .map(|form| Form {
                form,
                metadata: &artifact.metadata,
                audit: audit(&Subject::of(artifact, form)),
            })
            .collect();
        let first = &forms[0].audit;
        Self {
            place,
            bytes,
            name: artifact.interface.name.to_string(),
            kind,
            plan: Ok(first.plan.clone()),
            powers: first.powers.clone(),
            attach: first
                .plan
                .programs()
                .map(|program| attach_point(program, &artifact.interface))
                .collect(),
            forms,
            notes: Vec::new(),
        }
    }

    /// The whole page.
    pub(crate) fn render(&self) -> String {
        let policy = format!(
            "default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{}'; base-uri 'none'; form-action 'none'",
            SCRIPT_DIGEST.trim()
        );
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta http-equiv="Content-Security-Policy" content=(policy);
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    meta name="generator" content=(generator());
                    title { (self.name) " — bpfseal" }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    a.skip href="#content" { "To the content" }
                    (self.header())
                    main #content {
                        (self.summary())
                        @if !self.forms.is_empty() { (self.signatures()) }
                        @match &self.plan {
                            Ok(plan) => {
                                (self.picture(plan))
                                (self.programs(plan))
                                (maps(plan))
                                (steps(plan))
                            }
                            Err(why) => section #plan {
                                h2 { "No load plan" }
                                p.bad { (why) }
                            }
                        }
                    }
                    footer {
                        p {
                            "Made by " (generator()) ". Nothing was verified: whether the signature holds, and \
                            whether you trust who signed, says " code { "bpfseal verify" } "."
                        }
                    }
                    script { (PreEscaped(SCRIPT)) }
                }
            }
        };
        page.into_string()
    }

    fn header(&self) -> Markup {
        html! {
            header {
                h1 { (self.name) }
                p.where { (self.place) }
                nav aria-label="Sections" {
                    ul {
                        li { a href="#summary" { "Summary" } }
                        @if !self.forms.is_empty() {
                            li { a href="#signatures" { "Signatures" } }
                        }
                        @if let Ok(plan) = &self.plan {
                            li { a href="#picture" { "Picture" } }
                            @if plan.programs().next().is_some() {
                                li { a href="#programs" { "Programs" } }
                            }
                            @if plan.maps().next().is_some() {
                                li { a href="#maps" { "Maps" } }
                            }
                            li { a href="#steps" { "Load plan" } }
                        }
                    }
                    // Shown by the script: without one, the browser's own search does.
                    div.search hidden role="search" {
                        label for="search" { "Search" }
                        input #search type="search" placeholder="name, helper, instruction, source"
                            autocomplete="off" spellcheck="false";
                        output #found aria-live="polite" for="search" {}
                    }
                }
            }
        }
    }

    fn summary(&self) -> Markup {
        let notable: Vec<(&str, Vec<(usize, &str)>)> = self.notable();
        html! {
            section #summary {
                h2 { "Summary" }
                dl.facts {
                    dt { "File" }
                    dd { (self.kind) ", " (bytes(self.bytes.len())) }
                    dt { "SHA-256" }
                    dd.digest { (hex(&excl_prog_hash(self.bytes))) }
                    @if let Ok(plan) = &self.plan {
                        dt { "License" }
                        dd { @if plan.license.is_empty() { "none" } @else { (plan.license) } }
                        dt { "Byte order" }
                        dd {
                            @match plan.endian {
                                bpfseal::object::Endian::Big => "big-endian",
                                bpfseal::object::Endian::Little => "little-endian",
                            }
                        }
                        dt { "Installs" }
                        dd {
                            (count(plan.programs().count(), "program")) ", "
                            (count(plan.maps().count(), "map"))
                        }
                    }
                    dt { "Signed" }
                    dd {
                        @let schemes: Vec<&str> = self
                            .forms
                            .iter()
                            .filter_map(|form| form.form.seal().map(|seal| seal.scheme.name()))
                            .collect();
                        @if schemes.is_empty() {
                            span.warn { "no" }
                        } @else {
                            (schemes.join(", "))
                        }
                    }
                }
                @if !notable.is_empty() {
                    h3 { "Reaches beyond its own maps" }
                    ul.notable {
                        @for (what, programs) in &notable {
                            li {
                                strong { (what) } ": "
                                @for (at, (index, name)) in programs.iter().enumerate() {
                                    @if at > 0 { ", " }
                                    a href=(format!("#program-{index}")) { (name) }
                                }
                            }
                        }
                    }
                }
                @if !self.notes.is_empty() {
                    h3 { "Notes" }
                    ul { @for note in &self.notes { li { (note) } } }
                }
            }
        }
    }

    /// What programs can do that others may have to know, with the programs.
    fn notable(&self) -> Vec<(&str, Vec<(usize, &str)>)> {
        let Ok(plan) = &self.plan else {
            return Vec::new();
        };
        let mut all: Vec<(&str, Vec<(usize, &str)>)> = Vec::new();
        for (index, (program, powers)) in plan.programs().zip(&self.powers).enumerate() {
            for what in &powers.notable {
                let who = (index, program.name.as_str());
                match all.iter_mut().find(|(known, _)| known == what) {
                    Some((_, programs)) => programs.push(who),
                    None => all.push((what, vec![who])),
                }
            }
        }
        all
    }

    fn signatures(&self) -> Markup {
        html! {
            section #signatures {
                h2 { "Who signed it, and what that covers" }
                @for form in &self.forms { (form.render()) }
            }
        }
    }

    fn picture(&self, plan: &LoadPlan) -> Markup {
        html! {
            section #picture {
                h2 { "What the loader makes" }
                div.picture tabindex="0" role="group"
                    aria-label="Picture of loader, maps, programs and attach points; it can be scrolled" {
                    (diagram::render(plan, &self.powers, &self.attach))
                }
                p.hint { "The loader makes the maps and loads the programs; lines from maps go to the programs that use them." }
            }
        }
    }

    fn programs(&self, plan: &LoadPlan) -> Markup {
        let btf = btf_of(plan);
        let about = self
            .powers
            .iter()
            .zip(self.attach.iter().map(String::as_str));
        html! {
            @if plan.programs().next().is_some() {
                section #programs {
                    h2 { "Programs" }
                    @for (index, (program, about)) in plan.programs().zip(about).enumerate() {
                        (program_article(plan, index, program, about, btf.as_ref()))
                    }
                }
            }
        }
    }
}

/// The BTF that the plan loads, which has the source lines.
fn btf_of(plan: &LoadPlan) -> Option<Btf> {
    let data = plan.steps.iter().find_map(|step| match step {
        Step::LoadBtf { data } => Some(data),
        _ => None,
    })?;
    Btf::parse(data, plan.endian).ok()
}

fn program_article(
    plan: &LoadPlan,
    index: usize,
    program: &ProgramLoad,
    (powers, attach): (&Powers, &str),
    btf: Option<&Btf>,
) -> Markup {
    let names = |all: &std::collections::BTreeSet<String>| {
        html! {
            @for (at, name) in all.iter().enumerate() {
                @if at > 0 { ", " }
                code { (name) }
            }
        }
    };
    html! {
        article.program id=(format!("program-{index}")) data-search=(program.name) {
            h3 { (program.name) }
            dl.facts {
                dt { "Type" }
                dd { (program.prog_type) }
                dt { "Attaches to" }
                dd { (attach) }
                dt { "Instructions" }
                dd { (program.insns.len()) }
                @if !powers.maps.is_empty() {
                    dt { "Maps" }
                    dd {
                        @for (at, place) in powers.maps.iter().enumerate() {
                            @if at > 0 { ", " }
                            (map_link(plan, *place))
                        }
                    }
                }
                @if !powers.helpers.is_empty() {
                    dt { "Helpers" }
                    dd { (names(&powers.helpers)) }
                }
                @if !powers.symbols.is_empty() {
                    dt { "Kernel symbols" }
                    dd { (names(&powers.symbols)) }
                }
                @if !program.core_refs.is_empty() {
                    dt { "CO-RE" }
                    dd { (count(program.core_refs.len(), "relocation")) ", resolved by the kernel it is loaded into" }
                }
                @if !powers.notable.is_empty() {
                    dt { "Notable" }
                    dd.warn {
                        @for (at, what) in powers.notable.iter().enumerate() {
                            @if at > 0 { "; " }
                            (what)
                        }
                    }
                }
            }
            (code::render(plan, index, program, btf))
        }
    }
}

/// What a program of a loader attaches to. The target of those that are loaded for one is signed;
/// the rest is what the artifact says, which is not.
fn attach_point(program: &ProgramLoad, interface: &Interface) -> String {
    if let Some(target) = &program.attach_target {
        return target.name.clone();
    }
    let is_it = |known: &&ProgramInterface| {
        known
            .name
            .chars()
            .take(15)
            .eq(program.name.chars().take(15))
    };
    match interface.programs.iter().find(is_it).map(|p| &p.attach) {
        Some(AutoAttach::RawTracepoint(name)) => format!("raw_tp/{name} (not signed)"),
        _ => "as its loader likes".to_owned(),
    }
}

fn map_link(plan: &LoadPlan, place: u32) -> Markup {
    let found = plan.maps().find(|(map, _)| map.0 == place);
    html! {
        @match found {
            Some((_, attr)) => a href=(format!("#map-{place}")) { (attr.name) },
            None => (format!("map {place}")),
        }
    }
}

/// What happens to a map after it was made.
fn fate(plan: &LoadPlan, of: MapIdx) -> Vec<String> {
    plan.steps
        .iter()
        .filter_map(|step| match step {
            Step::SeedMap { map, value, .. } if *map == of => {
                Some(format!("gets an initial value of {}", bytes(value.len())))
            }
            Step::FreezeMap { map } if *map == of => Some("is frozen".to_owned()),
            Step::SetInnerMap { outer, slot, .. } if *outer == of => {
                Some(format!("gets a map in slot {slot}"))
            }
            _ => None,
        })
        .collect()
}

fn maps(plan: &LoadPlan) -> Markup {
    let row = |map: MapIdx, attr: &MapAttr| {
        html! {
            tr id=(format!("map-{}", map.0)) data-search=(attr.name) {
                th scope="row" { (attr.name) }
                td { (attr.map_type) }
                td.number { (attr.key_size) }
                td.number { (attr.value_size) }
                td.number { (attr.max_entries) }
                td { @if attr.map_flags != 0 { code { (format!("{:#x}", attr.map_flags)) } } }
                td { (fate(plan, map).join(", ")) }
            }
        }
    };
    html! {
        @if plan.maps().next().is_some() {
            section #maps {
                h2 { "Maps" }
                div.table tabindex="0" role="group" aria-label="Table of maps; it can be scrolled" {
                    table {
                        thead {
                            tr {
                                th scope="col" { "Name" }
                                th scope="col" { "Type" }
                                th.number scope="col" { "Key" }
                                th.number scope="col" { "Value" }
                                th.number scope="col" { "Entries" }
                                th scope="col" { "Flags" }
                                th scope="col" { "Then" }
                            }
                        }
                        tbody { @for (map, attr) in plan.maps() { (row(map, attr)) } }
                    }
                }
                p.hint { "Keys and values in bytes." }
            }
        }
    }
}

fn steps(plan: &LoadPlan) -> Markup {
    html! {
        section #steps {
            h2 { "Load plan" }
            p { "What the loader does, in this order; where one step fails, it undoes what it did and ends." }
            ol.steps {
                @for index in 0..plan.steps.len() { li { (plan.describe_step(index)) } }
            }
        }
    }
}

impl Form<'_> {
    fn render(&self) -> Markup {
        let digest = |bytes: &[u8]| hex(&excl_prog_hash(bytes));
        let seal = self.form.seal();
        html! {
            article.form {
                @match seal {
                    Some(seal) => {
                        h3 { (seal.scheme.name()) }
                        p { (seal.scheme.kernels()) }
                        (signer(&seal.signature))
                    }
                    None => {
                        h3 { "Not signed" }
                        p.warn { "Nobody vouches for it." }
                    }
                }
                div.table.covers tabindex="0" role="group" aria-label="Table of what is covered; it can be scrolled" {
                    table {
                        thead {
                            tr {
                                th scope="col" { "Part" }
                                th.number scope="col" { "Bytes" }
                                th scope="col" { "Vouched for by" }
                                th scope="col" { "SHA-256" }
                            }
                        }
                        tbody {
                            tr {
                                th scope="row" { "Loader: instructions" }
                                td.number data-label="Bytes" { (self.form.instructions().len()) }
                                td data-label="Vouched for by" { (seal.map_or("nobody", |_| "the signature")) }
                                td.digest data-label="SHA-256" { (digest(self.form.instructions())) }
                            }
                            tr {
                                th scope="row" { "Metadata: programs, maps, values" }
                                td.number data-label="Bytes" { (self.metadata.len()) }
                                td data-label="Vouched for by" { (seal.map_or("nobody", |seal| metadata_by(seal.scheme))) }
                                td.digest data-label="SHA-256" { (digest(self.metadata)) }
                            }
                            tr {
                                th scope="row" { "Context: sizes and values from the host" }
                                td.number {}
                                td data-label="Vouched for by" {
                                    @if self.audit.influences.is_empty() {
                                        "nobody, and the loader does not listen to it"
                                    } @else {
                                        span.warn { "nobody: see below" }
                                    }
                                }
                                td {}
                            }
                        }
                    }
                }
                @if let Some(weakness) = seal.and_then(|seal| seal.scheme.weakness()) {
                    p.warn { "Known weakness: " (weakness) }
                }
                @if let Some(seal) = seal {
                    @if seal.excl_prog_hash != excl_prog_hash(self.form.instructions()) {
                        p.bad { "The digest that the metadata map is bound to is not that of the instructions: no kernel loads it." }
                    }
                }
                @if !self.audit.findings.is_empty() {
                    h4.bad { "Not as loaders are" }
                    ul { @for finding in &self.audit.findings { li { (finding) } } }
                }
                @if !self.audit.influences.is_empty() {
                    details {
                        summary { "What the host can change (" (self.audit.influences.len()) ")" }
                        ul {
                            @for influence in &self.audit.influences {
                                li { "instruction " (influence.insn) ": " (influence.what) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Who vouches for the metadata, in words.
fn metadata_by(scheme: Scheme) -> &'static str {
    match scheme {
        Scheme::LoadTime => "the signature",
        Scheme::HashChain => "the signature, by a chain of digests",
        Scheme::Hornet => "the signature, by a digest that it lists; the security module looks",
        _ => "the loader, when it runs: the digest is in its instructions",
    }
}

fn signer(signature: &[u8]) -> Markup {
    let summary = match SignatureSummary::parse(signature) {
        Ok(summary) => summary,
        Err(error) => {
            return html! { p.bad { "The signature is malformed: " (error) } };
        }
    };
    html! {
        dl.facts {
            @for signer in &summary.signers {
                dt { "Signer" }
                dd.digest { (signer.id) }
                dt { "Algorithm" }
                dd {
                    (signer.algorithm)
                    @if signer.signed_attributes { ", with signed attributes" }
                }
            }
            @for certificate in &summary.certificates {
                dt { "Embedded certificate" }
                dd { (certificate.subject()) }
            }
            dt { "Signature" }
            dd { (bytes(signature.len())) ", not verified here" }
        }
    }
}

fn generator() -> String {
    format!("bpfseal {}", env!("CARGO_PKG_VERSION"))
}

fn count(number: usize, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        _ => format!("{number} {what}s"),
    }
}

/// A size with its digits in groups.
fn bytes(number: usize) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out + if number == 1 { " byte" } else { " bytes" }
}

#[cfg(test)]
mod tests {
    use base64ct::{Base64, Encoding as _};
    use sha2::Digest as _;

    use super::*;

    #[test]
    fn the_pages_policy_knows_its_script() {
        let digest = Base64::encode_string(&sha2::Sha256::digest(SCRIPT));
        assert_eq!(SCRIPT_DIGEST.trim(), digest, "put it into script.sha256");
    }

    #[test]
    fn sizes_are_grouped() {
        for (number, text) in [
            (0, "0 bytes"),
            (1, "1 byte"),
            (999, "999 bytes"),
            (18_296, "18,296 bytes"),
            (1_234_567, "1,234,567 bytes"),
        ] {
            assert_eq!(bytes(number), text);
        }
    }
}
