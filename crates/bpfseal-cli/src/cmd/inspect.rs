//! `bpfseal inspect`: what is in an object or an artifact.
//!
//! The report of the library, as text, as JSON or as a page.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use bpfseal::object::Object;
use bpfseal::report::{
    ArtifactReport, Detail, FormReport, InspectReport, ObjectMap, ObjectProgram, ObjectReport,
};

use crate::args::name_of;
use crate::failure::Outcome;
use crate::files;
use crate::host::HostArgs;
use crate::input::{SealFile, is_object, object_report, read_artifact};
use crate::page::Page;
use crate::terminal::{one_line, say, visible};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Nothing is verified: for that there is `bpfseal verify`.\n\nExamples:\n  \
    bpfseal inspect prog.bpf.o\n  \
    bpfseal inspect prog.lskel.h --json\n  \
    bpfseal inspect prog.bpf.o --json | jq .programs[].section\n  \
    bpfseal inspect prog.bpfseal --html prog.html"
)]
pub(crate) struct Args {
    /// BPF object or artifact; `-` is standard input
    #[arg(value_name = "OBJ|ARTIFACT")]
    input: PathBuf,

    #[command(flatten)]
    seal: SealFile,

    /// Print as JSON
    #[arg(long)]
    json: bool,

    /// Write a page that says all of it, with a picture, instructions and source lines: one file,
    /// to be opened in a browser; `-` is standard output
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    html: Option<PathBuf>,

    /// Name of the object instead of that of its file
    #[arg(long)]
    name: Option<String>,

    #[command(flatten)]
    host: HostArgs,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let place = files::shown(&args.input);
    let bytes = files::read(&args.input)?;
    let detail = match args.html {
        Some(_) => Detail::Full,
        None => Detail::Brief,
    };
    let report = if is_object(&bytes) && args.seal.path.is_none() {
        let name = name_of(&args.input, args.name.as_deref())?;
        let host = args.host.load()?;
        let object = Object::parse(&bytes, &name)
            .map_err(|e| object_report(&place, &bytes, &e, e.advice()))?;
        let mut report = bpfseal::inspect_object(&object, &host, detail);
        report.object = place;
        InspectReport::Object(Box::new(report))
    } else {
        let (artifact, kind) = match args.seal.path {
            Some(_) => (
                args.seal.artifact_of(&place, &bytes)?,
                "object with a detached seal",
            ),
            None => {
                let artifact = args.seal.artifact_of(&place, &bytes)?;
                (artifact, read_artifact(&place, &bytes)?.kind.name())
            }
        };
        let mut report = bpfseal::inspect_artifact(&artifact, kind, detail);
        report.artifact = place;
        InspectReport::Artifact(Box::new(report))
    };
    if let Some(to) = &args.html {
        return write_page(to, &Page::new(&report, &bytes));
    }
    if args.json {
        files::print_json(&report)?;
        return Ok(());
    }
    let text = match &report {
        InspectReport::Artifact(report) => artifact_text(report),
        InspectReport::Object(report) => object_text(report),
        _ => String::new(),
    };
    files::print(&text)?;
    Ok(())
}

fn write_page(to: &Path, page: &Page<'_>) -> Outcome {
    files::write(to, &visible(&page.render()).into_owned())?;
    if !files::is_stdio(to) {
        say!("written: {}", files::shown(to));
    }
    Ok(())
}

fn object_text(d: &ObjectReport) -> String {
    let mut out = String::new();
    let license = one_line(&d.license);
    let _ = writeln!(
        out,
        "object {} ({}): {}-endian, license {}, {}",
        d.object,
        one_line(&d.name),
        d.byte_order.name(),
        if d.license.is_empty() {
            "none"
        } else {
            &license
        },
        d.btf_types
            .map_or("no BTF".to_owned(), |n| format!("{n} BTF types"))
    );
    section(&mut out, "programs", d.programs.iter().map(program_line));
    section(&mut out, "subprograms", d.subprograms.iter().cloned());
    section(&mut out, "maps", d.maps.iter().map(map_line));
    section(
        &mut out,
        "externs",
        d.externs.iter().map(|e| {
            format!(
                "{}: {}{}",
                e.name,
                e.kind,
                if e.weak { ", weak" } else { "" }
            )
        }),
    );
    section(
        &mut out,
        "load plan",
        d.steps.iter().map(ToString::to_string),
    );
    match (&d.loader, &d.no_loader) {
        (Some(loader), _) => {
            let _ = writeln!(
                out,
                "loader (signed form): {} bytes of instructions, {} of metadata, context of {}\n  sha256 {}",
                loader.instruction_bytes,
                loader.metadata_bytes,
                loader.context_bytes,
                loader.excl_prog_hash
            );
        }
        (None, Some(why)) => {
            let _ = writeln!(out, "no loader: {}", one_line(why));
        }
        (None, None) => {}
    }
    section(
        &mut out,
        "depends on the host",
        d.depends_on_host.iter().cloned(),
    );
    section(&mut out, "without a value", d.unresolved.iter().cloned());
    section(&mut out, "notes", d.notes.iter().cloned());
    out
}

fn section(out: &mut String, title: &str, lines: impl ExactSizeIterator<Item = String>) {
    if lines.len() == 0 {
        return;
    }
    let _ = writeln!(out, "{title} ({})", lines.len());
    for line in lines {
        let _ = writeln!(out, "  {}", one_line(&line));
    }
}

fn program_line(p: &ObjectProgram) -> String {
    let mut line = format!(
        "{}: {} [{}], {} instructions",
        p.name,
        p.program_type.as_deref().unwrap_or("unknown type"),
        p.section,
        p.instructions
    );
    let r = &p.relocations;
    for (count, what) in [
        (r.maps, "map"),
        (r.data, "data"),
        (r.calls, "call"),
        (r.externs, "extern"),
        (r.co_re, "CO-RE"),
    ] {
        if count > 0 {
            let _ = write!(line, ", {count} {what}");
        }
    }
    if p.sleepable {
        line.push_str(", sleepable");
    }
    if !p.autoload {
        line.push_str(", not loaded by default");
    }
    line
}

fn map_line(m: &ObjectMap) -> String {
    let mut line = format!(
        "{}: {}, {} entries of {} + {} bytes",
        m.name, m.map_type, m.max_entries, m.key_size, m.value_size
    );
    if m.flags != 0 {
        let _ = write!(line, ", flags {:#x}", m.flags);
    }
    if let Some(inner) = &m.inner {
        let _ = write!(line, ", of {inner} maps");
    }
    if let Some(name) = &m.struct_ops {
        let _ = write!(line, ", a `{name}`");
    }
    for (is_so, what) in [
        (m.pinned, "pinned"),
        (m.legacy, "by a legacy definition"),
        (!m.autocreate, "not created by default"),
    ] {
        if is_so {
            let _ = write!(line, ", {what}");
        }
    }
    line
}

fn artifact_text(d: &ArtifactReport) -> String {
    let mut out = String::new();
    let schemes: Vec<&str> = d.schemes.iter().map(|scheme| scheme.name()).collect();
    let signed = if schemes.is_empty() {
        "not signed".to_owned()
    } else {
        format!("signed ({})", schemes.join(", "))
    };
    let _ = writeln!(out, "artifact {}: {}, {signed}", d.artifact, d.kind);
    // What is signed is of more interest.
    let mut forms = d.forms.iter();
    let signed = forms.clone().find(|form| form.scheme.is_some());
    if let Some(form) = signed.or(forms.next()) {
        form_text(&mut out, form);
    }
    out
}

fn form_text(out: &mut String, form: &FormReport) {
    let mut row = |name: &str, value: &str| {
        let _ = writeln!(out, "  {name:<11} {}", one_line(value));
    };
    row(
        "loader",
        &format!(
            "{} bytes of instructions, {} of metadata",
            form.instruction_bytes, form.metadata_bytes
        ),
    );
    let matches = match form.excl_prog_hash_matches {
        Some(false) => " (NOT the digest of the instructions)",
        Some(true) | None => "",
    };
    row("sha256", &format!("{}{matches}", form.excl_prog_hash));
    if let Some(size) = form.signature_bytes {
        row("signature", &format!("{size} bytes, not verified here"));
    }
    for signer in &form.signers {
        let attributes = if signer.signed_attributes {
            ", with signed attributes"
        } else {
            ""
        };
        row(
            "signer",
            &format!("{}, {}{attributes}", signer.signer, signer.algorithm),
        );
    }
    for certificate in &form.certificates {
        row("embedded", certificate);
    }
    if let Some(why) = &form.malformed_signature {
        row("malformed", why);
    }
}
