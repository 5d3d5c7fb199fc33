//! `bpfseal inspect --html`: one page about an object or an artifact, for people who decide about it.
//!
//! The page is a file of its own: no network, no other files, nothing that runs but its own script,
//! which only makes it easier to search. All that comes out of an input is escaped by the templates,
//! and a content security policy keeps everything else out.

mod code;
mod diagram;

use bpfseal::report::{
    FormReport, InspectReport, PlanReport, PlannedMap, PlannedProgram, StepKind,
};
use bpfseal::seal::{Scheme, excl_prog_hash, hex};
use maud::{DOCTYPE, Markup, PreEscaped, html};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");
/// SHA-256 of the script in base64, by which the page's policy knows it.
const SCRIPT_DIGEST: &str = include_str!("script.sha256");

/// What a page is about.
pub(crate) struct Page<'a> {
    report: &'a InspectReport,
    /// The input.
    bytes: &'a [u8],
}

impl<'a> Page<'a> {
    /// Of a report in full, and of the file that it is about.
    pub(crate) fn new(report: &'a InspectReport, bytes: &'a [u8]) -> Self {
        Self { report, bytes }
    }

    /// Where it came from.
    fn place(&self) -> &str {
        match self.report {
            InspectReport::Artifact(report) => &report.artifact,
            InspectReport::Object(report) => &report.object,
            _ => "",
        }
    }

    /// Its name.
    fn name(&self) -> &str {
        match self.report {
            InspectReport::Artifact(report) => &report.name,
            InspectReport::Object(report) => &report.name,
            _ => "",
        }
    }

    /// What kind of file it is.
    fn kind(&self) -> &str {
        match self.report {
            InspectReport::Artifact(report) => &report.kind,
            _ => "object",
        }
    }

    /// What is installed: of an artifact, what its first loader does when it runs.
    fn plan(&self) -> Result<&PlanReport, &str> {
        match self.report {
            InspectReport::Artifact(report) => report.plan.as_ref().ok_or("it has no loader"),
            InspectReport::Object(report) => {
                let why = report.no_loader.as_deref();
                report.plan.as_ref().ok_or(why.unwrap_or_default())
            }
            _ => Err(""),
        }
    }

    /// Why no loader can be made of an object.
    fn no_loader(&self) -> Option<&str> {
        match self.report {
            InspectReport::Object(report) => report.no_loader.as_deref(),
            _ => None,
        }
    }

    fn forms(&self) -> &[FormReport] {
        match self.report {
            InspectReport::Artifact(report) => &report.forms,
            _ => &[],
        }
    }

    fn notes(&self) -> Vec<String> {
        let InspectReport::Object(report) = self.report else {
            return Vec::new();
        };
        let host = report.depends_on_host.iter();
        let host = host.map(|value| format!("depends on the host: {value}"));
        let unresolved = report.unresolved.iter().cloned();
        report
            .notes
            .iter()
            .cloned()
            .chain(host)
            .chain(unresolved)
            .collect()
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
                    title { (self.name()) " — bpfseal" }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    a.skip href="#content" { "To the content" }
                    (self.header())
                    main #content {
                        (self.summary())
                        @if !self.forms().is_empty() { (self.signatures()) }
                        @match self.plan() {
                            Ok(plan) => {
                                (picture(plan))
                                (programs(plan))
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
                h1 { (self.name()) }
                p.where { (self.place()) }
                nav aria-label="Sections" {
                    ul {
                        li { a href="#summary" { "Summary" } }
                        @if !self.forms().is_empty() {
                            li { a href="#signatures" { "Signatures" } }
                        }
                        @if let Ok(plan) = self.plan() {
                            li { a href="#picture" { "Picture" } }
                            @if !plan.programs.is_empty() {
                                li { a href="#programs" { "Programs" } }
                            }
                            @if !plan.maps.is_empty() {
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
                    dd { (self.kind()) ", " (bytes(self.bytes.len())) }
                    dt { "SHA-256" }
                    dd.digest { (hex(&excl_prog_hash(self.bytes))) }
                    @if let Ok(plan) = self.plan() {
                        dt { "License" }
                        dd { @if plan.license.is_empty() { "none" } @else { (plan.license) } }
                        dt { "Byte order" }
                        dd {
                            (plan.byte_order.name()) "-endian"
                        }
                        dt { "Installs" }
                        dd {
                            (count(plan.programs.len(), "program")) ", "
                            (count(plan.maps.len(), "map"))
                        }
                    }
                    @if let Some(why) = self.no_loader() {
                        dt { "Loader" }
                        dd.warn { "none can be made of this: " (why) }
                    }
                    dt { "Signed" }
                    dd {
                        @let schemes: Vec<&str> = self
                            .forms()
                            .iter()
                            .filter_map(|form| form.scheme.map(Scheme::name))
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
                @let notes = self.notes();
                @if !notes.is_empty() {
                    h3 { "Notes" }
                    ul { @for note in &notes { li { (note) } } }
                }
            }
        }
    }

    /// What programs can do that others may have to know, with the programs.
    fn notable(&self) -> Vec<(&str, Vec<(usize, &str)>)> {
        let Ok(plan) = self.plan() else {
            return Vec::new();
        };
        let mut all: Vec<(&str, Vec<(usize, &str)>)> = Vec::new();
        for (index, planned) in plan.programs.iter().enumerate() {
            for what in &planned.program.notable {
                let who = (index, planned.program.name.as_str());
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
                @for form in self.forms() { (form_article(form)) }
            }
        }
    }
}

fn picture(plan: &PlanReport) -> Markup {
    html! {
        section #picture {
            h2 { "What the loader makes" }
            div.picture tabindex="0" role="group"
                aria-label="Picture of loader, maps, programs and attach points; it can be scrolled" {
                (diagram::render(plan))
            }
            p.hint { "The loader makes the maps and loads the programs; lines from maps go to the programs that use them." }
        }
    }
}

fn programs(plan: &PlanReport) -> Markup {
    html! {
        @if !plan.programs.is_empty() {
            section #programs {
                h2 { "Programs" }
                @for (index, planned) in plan.programs.iter().enumerate() {
                    (program_article(plan, index, planned))
                }
            }
        }
    }
}

fn program_article(plan: &PlanReport, index: usize, planned: &PlannedProgram) -> Markup {
    let names = |all: &[String]| {
        html! {
            @for (at, name) in all.iter().enumerate() {
                @if at > 0 { ", " }
                code { (name) }
            }
        }
    };
    let program = &planned.program;
    html! {
        article.program id=(format!("program-{index}")) data-search=(program.name) {
            h3 { (program.name) }
            dl.facts {
                dt { "Type" }
                dd { (program.program_type) }
                dt { "Attaches to" }
                dd { (planned.attach) }
                dt { "Instructions" }
                dd { (program.instructions) }
                @if !planned.map_indexes.is_empty() {
                    dt { "Maps" }
                    dd {
                        @for (at, place) in planned.map_indexes.iter().enumerate() {
                            @if at > 0 { ", " }
                            (map_link(plan, *place))
                        }
                    }
                }
                @if !program.helpers.is_empty() {
                    dt { "Helpers" }
                    dd { (names(&program.helpers)) }
                }
                @if !program.kernel_symbols.is_empty() {
                    dt { "Kernel symbols" }
                    dd { (names(&program.kernel_symbols)) }
                }
                @if planned.core_relocations > 0 {
                    dt { "CO-RE" }
                    dd { (count(planned.core_relocations, "relocation")) ", resolved by the kernel it is loaded into" }
                }
                @if !program.notable.is_empty() {
                    dt { "Notable" }
                    dd.warn {
                        @for (at, what) in program.notable.iter().enumerate() {
                            @if at > 0 { "; " }
                            (what)
                        }
                    }
                }
            }
            (code::render(index, planned))
        }
    }
}

fn map_link(plan: &PlanReport, place: u32) -> Markup {
    let found = plan.maps.iter().find(|planned| planned.index == place);
    html! {
        @match found {
            Some(planned) => a href=(format!("#map-{place}")) { (planned.map.name) },
            None => (format!("map {place}")),
        }
    }
}

/// What happens to a map after it was made.
fn fate(plan: &PlanReport, of: u32) -> Vec<String> {
    plan.steps
        .iter()
        .filter_map(|step| match &step.kind {
            StepKind::SeedMap {
                index, bytes: size, ..
            } if *index == of => Some(format!("gets an initial value of {}", bytes(*size))),
            StepKind::FreezeMap { index, .. } if *index == of => Some("is frozen".to_owned()),
            StepKind::SetInnerMap { index, slot, .. } if *index == of => {
                Some(format!("gets a map in slot {slot}"))
            }
            StepKind::SetProgram {
                index,
                slot,
                program,
                ..
            } if *index == of => Some(format!("gets program {program} in slot {slot}")),
            StepKind::FillArena {
                index, bytes: size, ..
            } if *index == of => Some(format!("gets variables of {}", bytes(*size))),
            StepKind::SetStructOps { index, members, .. } if *index == of => {
                Some(format!("gets {}", count(members.len(), "member")))
            }
            StepKind::LinkStructOps { index, .. } if *index == of => {
                Some("is registered by a link".to_owned())
            }
            StepKind::PinMap { index, .. } if *index == of => Some("is pinned".to_owned()),
            _ => None,
        })
        .collect()
}

fn maps(plan: &PlanReport) -> Markup {
    let row = |planned: &PlannedMap| {
        let attr = &planned.map;
        html! {
            tr id=(format!("map-{}", planned.index)) data-search=(attr.name) {
                th scope="row" { (attr.name) }
                td { (attr.map_type) }
                td.number { (attr.key_size) }
                td.number { (attr.value_size) }
                td.number { (attr.max_entries) }
                td { @if attr.flags != 0 { code { (format!("{:#x}", attr.flags)) } } }
                td { (fate(plan, planned.index).join(", ")) }
            }
        }
    };
    html! {
        @if !plan.maps.is_empty() {
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
                        tbody { @for planned in &plan.maps { (row(planned)) } }
                    }
                }
                p.hint { "Keys and values in bytes." }
            }
        }
    }
}

fn steps(plan: &PlanReport) -> Markup {
    html! {
        section #steps {
            h2 { "Load plan" }
            p { "What the loader does, in this order; where one step fails, it undoes what it did and ends." }
            ol.steps {
                @for step in &plan.steps { li { (step) } }
            }
        }
    }
}

fn form_article(form: &FormReport) -> Markup {
    let findings = form.findings.as_deref().unwrap_or_default();
    let influences = form.host_influences.as_deref().unwrap_or_default();
    html! {
        article.form {
            @match form.scheme {
                Some(scheme) => {
                    h3 { (scheme.name()) }
                    p { (scheme.kernels()) }
                    (signer(form))
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
                            td.number data-label="Bytes" { (form.instruction_bytes) }
                            td data-label="Vouched for by" { (form.scheme.map_or("nobody", |_| "the signature")) }
                            td.digest data-label="SHA-256" { (form.instructions_sha256) }
                        }
                        tr {
                            th scope="row" { "Metadata: programs, maps, values" }
                            td.number data-label="Bytes" { (form.metadata_bytes) }
                            td data-label="Vouched for by" { (form.scheme.map_or("nobody", metadata_by)) }
                            td.digest data-label="SHA-256" { (form.metadata_sha256) }
                        }
                        tr {
                            th scope="row" { "Context: sizes and values from the host" }
                            td.number {}
                            td data-label="Vouched for by" {
                                @if influences.is_empty() {
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
            @if let Some(weakness) = form.scheme.and_then(Scheme::weakness) {
                p.warn { "Known weakness: " (weakness) }
            }
            @if form.excl_prog_hash_matches == Some(false) {
                p.bad { "The digest that the metadata map is bound to is not that of the instructions: no kernel loads it." }
            }
            @if !findings.is_empty() {
                h4.bad { "Not as loaders are" }
                ul { @for finding in findings { li { (finding.text) } } }
            }
            @if !influences.is_empty() {
                details {
                    summary { "What the host can change (" (influences.len()) ")" }
                    ul {
                        @for influence in influences {
                            li { "instruction " (influence.instruction) ": " (influence.what) }
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

fn signer(form: &FormReport) -> Markup {
    if let Some(error) = &form.malformed_signature {
        return html! { p.bad { "The signature is malformed: " (error) } };
    }
    html! {
        dl.facts {
            @for signer in &form.signers {
                dt { "Signer" }
                dd.digest { (signer.signer) }
                dt { "Algorithm" }
                dd {
                    (signer.algorithm)
                    @if signer.signed_attributes { ", with signed attributes" }
                }
            }
            @for certificate in &form.certificates {
                dt { "Embedded certificate" }
                dd { (certificate) }
            }
            dt { "Signature" }
            dd { (bytes(form.signature_bytes.unwrap_or(0))) ", not verified here" }
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
