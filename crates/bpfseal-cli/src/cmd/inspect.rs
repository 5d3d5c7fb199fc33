//! `bpfseal inspect`: what is in an object or an artifact.
//!
//! One description is made as a value, printed as JSON or, from the same value, as text.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use bpfseal::artifact::{Artifact, ArtifactKind};
use bpfseal::loader::{Form, LoadPlan, Loader};
use bpfseal::object::{ExternKind, KconfigType, Object, Program, RelocKind};
use bpfseal::seal::{SealedLoader, SignatureSummary, excl_prog_hash, hex};
use serde::Serialize;

use crate::Outcome;
use crate::args::name_of;
use crate::failure::{Failure, Report};
use crate::files;
use crate::host::HostArgs;
use crate::input::{SealFile, is_object};
use crate::page::Page;

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
    if is_object(&bytes) && args.seal.path.is_none() {
        let name = name_of(&args.input, args.name.as_deref())?;
        let host = args.host.load()?;
        let object =
            Object::parse(&bytes, &name).map_err(|e| Report::new(&place, &e, e.advice()))?;
        let plan = LoadPlan::new(&object, &host);
        if let Some(to) = &args.html {
            let plan = plan.map_err(|error| format!("{error}; {}", error.advice()));
            let page = Page::of_object(place, &bytes, &object, plan);
            return write_page(to, &page);
        }
        let description = describe_object(&place, &object, plan);
        return print(args.json, &description, object_text);
    }
    let artifact = args.seal.artifact_of(&place, &bytes)?;
    if let Some(to) = &args.html {
        let kind = match args.seal.path {
            Some(_) => "object with a detached seal",
            None => ArtifactKind::of(&bytes).name(),
        };
        let page = Page::of_artifact(place, &bytes, kind, &artifact);
        return write_page(to, &page);
    }
    print(
        args.json,
        &describe_artifact(&place, &bytes, &artifact),
        artifact_text,
    )
}

fn write_page(to: &Path, page: &Page<'_>) -> Outcome {
    files::write(to, &page.render().into_bytes())?;
    if !files::is_stdio(to) {
        eprintln!("written: {}", files::shown(to));
    }
    Ok(())
}

fn print<T: Serialize>(json: bool, description: &T, text: fn(&T) -> String) -> Outcome {
    if json {
        let text = serde_json::to_string_pretty(description)
            .map_err(|e| Failure::Input(Report::new("standard output", &e, "")))?;
        files::print(&format!("{text}\n"));
    } else {
        files::print(&text(description));
    }
    Ok(())
}

#[derive(Serialize)]
struct ObjectDescription {
    object: String,
    name: String,
    byte_order: &'static str,
    license: String,
    programs: Vec<ProgramDescription>,
    subprograms: Vec<String>,
    maps: Vec<MapDescription>,
    externs: Vec<ExternDescription>,
    btf_types: Option<u32>,
    steps: Vec<String>,
    loader: Option<LoaderDescription>,
    no_loader: Option<String>,
    depends_on_host: Vec<String>,
    notes: Vec<String>,
}

#[derive(Serialize)]
struct ProgramDescription {
    name: String,
    section: String,
    #[serde(rename = "type")]
    prog_type: Option<String>,
    attach_type: Option<String>,
    attach_target: Option<String>,
    autoload: bool,
    sleepable: bool,
    instructions: usize,
    relocations: Relocations,
}

#[derive(Serialize, Default)]
struct Relocations {
    calls: usize,
    co_re: usize,
    data: usize,
    externs: usize,
    maps: usize,
}

#[derive(Serialize)]
struct MapDescription {
    name: String,
    #[serde(rename = "type")]
    map_type: String,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    flags: u32,
    section: Option<String>,
    inner: Option<String>,
    pinned: bool,
}

#[derive(Serialize)]
struct ExternDescription {
    name: String,
    kind: &'static str,
    weak: bool,
}

#[derive(Serialize)]
struct LoaderDescription {
    instruction_bytes: usize,
    metadata_bytes: usize,
    context_bytes: u32,
    excl_prog_hash: String,
}

fn describe_object(
    place: &str,
    object: &Object,
    plan: Result<LoadPlan, bpfseal::loader::Error>,
) -> ObjectDescription {
    let mut description = ObjectDescription {
        object: place.to_owned(),
        name: object.name.clone(),
        byte_order: match object.endian {
            bpfseal::object::Endian::Big => "big",
            bpfseal::object::Endian::Little => "little",
        },
        license: object.license.clone(),
        programs: object.entry_programs().map(|(_, p)| program(p)).collect(),
        subprograms: object
            .programs
            .iter()
            .filter(|p| p.subprogram)
            .map(|p| p.name.clone())
            .collect(),
        maps: object.maps.iter().map(map).collect(),
        externs: object
            .externs
            .iter()
            .map(|e| ExternDescription {
                name: e.name.clone(),
                kind: extern_kind(&e.kind),
                weak: e.weak,
            })
            .collect(),
        btf_types: object.btf.as_ref().map(|btf| btf.type_count() - 1),
        steps: Vec::new(),
        loader: None,
        no_loader: None,
        depends_on_host: Vec::new(),
        notes: object.notes.clone(),
    };
    let loader = plan.and_then(|plan| {
        description.steps = (0..plan.steps.len())
            .map(|i| plan.describe_step(i))
            .collect();
        description.depends_on_host = plan.host.iter().map(ToString::to_string).collect();
        description.notes.extend(plan.notes.iter().cloned());
        Loader::new(&plan, bpfseal::loader::EmitOptions::new(Form::Signed))
    });
    match loader {
        Ok(loader) => {
            description.loader = Some(LoaderDescription {
                instruction_bytes: loader.instructions.len(),
                metadata_bytes: loader.metadata.len(),
                context_bytes: loader.context.size(),
                excl_prog_hash: hex(&excl_prog_hash(&loader.instructions)),
            });
        }
        Err(error) => description.no_loader = Some(format!("{error}; {}", error.advice())),
    }
    description
}

fn program(program: &Program) -> ProgramDescription {
    let mut relocations = Relocations::default();
    for reloc in &program.relocs {
        *match reloc.kind {
            RelocKind::Call(_) | RelocKind::SubprogAddr(_) => &mut relocations.calls,
            RelocKind::Core(_) => &mut relocations.co_re,
            RelocKind::Data(..) | RelocKind::InsnArray(..) => &mut relocations.data,
            RelocKind::ExternCall(_) | RelocKind::ExternLd64(_) => &mut relocations.externs,
            RelocKind::Map(_) => &mut relocations.maps,
        } += 1;
    }
    ProgramDescription {
        name: program.name.clone(),
        section: program.section_name.clone(),
        prog_type: program.def.map(|d| d.prog_type.to_string()),
        attach_type: program.def.map(|d| d.attach_type.to_string()),
        attach_target: program.attach_target().map(str::to_owned),
        autoload: program.autoload,
        sleepable: program.def.is_some_and(|d| d.sleepable),
        instructions: program.insns.len(),
        relocations,
    }
}

fn map(map: &bpfseal::object::Map) -> MapDescription {
    MapDescription {
        name: map.user_name().to_owned(),
        map_type: map.def.map_type.to_string(),
        key_size: map.def.key_size,
        value_size: map.def.value_size,
        max_entries: map.def.max_entries,
        flags: map.def.map_flags,
        section: map.data.as_ref().map(|d| d.section_name.clone()),
        inner: map.inner.as_ref().map(|inner| inner.map_type.to_string()),
        pinned: map.pin_by_name,
    }
}

fn extern_kind(kind: &ExternKind) -> &'static str {
    match kind {
        ExternKind::Kconfig { value_type, .. } => match value_type {
            KconfigType::Bool => "kconfig bool",
            KconfigType::Char => "kconfig char",
            KconfigType::CharArray => "kconfig string",
            KconfigType::Int => "kconfig integer",
            KconfigType::Tristate => "kconfig tristate",
        },
        ExternKind::Ksym { function: true, .. } => "kernel function",
        ExternKind::Ksym { typed: true, .. } => "kernel variable",
        ExternKind::Ksym { typed: false, .. } => "kernel symbol without type",
    }
}

fn object_text(d: &ObjectDescription) -> String {
    let mut out = String::new();
    let _ = writeln!(
        out,
        "object {} ({}): {}-endian, license {}, {}",
        d.object,
        d.name,
        d.byte_order,
        if d.license.is_empty() {
            "none"
        } else {
            &d.license
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
    section(&mut out, "load plan", d.steps.iter().cloned());
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
            let _ = writeln!(out, "no loader: {why}");
        }
        (None, None) => {}
    }
    section(
        &mut out,
        "depends on the host",
        d.depends_on_host.iter().cloned(),
    );
    section(&mut out, "notes", d.notes.iter().cloned());
    out
}

fn section(out: &mut String, title: &str, lines: impl ExactSizeIterator<Item = String>) {
    if lines.len() == 0 {
        return;
    }
    let _ = writeln!(out, "{title} ({})", lines.len());
    for line in lines {
        let _ = writeln!(out, "  {line}");
    }
}

fn program_line(p: &ProgramDescription) -> String {
    let mut line = format!(
        "{}: {} [{}], {} instructions",
        p.name,
        p.prog_type.as_deref().unwrap_or("unknown type"),
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

fn map_line(m: &MapDescription) -> String {
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
    if m.pinned {
        line.push_str(", pinned");
    }
    line
}

#[derive(Serialize)]
struct ArtifactDescription {
    artifact: String,
    kind: &'static str,
    signed: bool,
    scheme: Option<&'static str>,
    /// All of them, strongest first; `scheme` and what follows are about the first.
    schemes: Vec<&'static str>,
    instruction_bytes: usize,
    metadata_bytes: usize,
    excl_prog_hash: String,
    excl_prog_hash_matches: Option<bool>,
    signature_bytes: Option<usize>,
    signers: Vec<SignerDescription>,
    certificates: Vec<String>,
    malformed_signature: Option<String>,
}

#[derive(Serialize)]
struct SignerDescription {
    signer: serde_json::Value,
    algorithm: String,
    digest: &'static str,
    signed_attributes: bool,
}

fn describe_artifact(place: &str, bytes: &[u8], artifact: &Artifact) -> ArtifactDescription {
    let kind = ArtifactKind::of(bytes).name();
    if let Some(sealed) = artifact.sealed().next() {
        return ArtifactDescription {
            schemes: artifact.sealed().map(|s| s.seal.scheme.name()).collect(),
            ..describe_sealed(place, kind, sealed)
        };
    }
    let instructions = artifact.unsigned().unwrap_or_default();
    ArtifactDescription {
        artifact: place.to_owned(),
        kind,
        signed: false,
        scheme: None,
        schemes: Vec::new(),
        instruction_bytes: instructions.len(),
        metadata_bytes: artifact.metadata.len(),
        excl_prog_hash: hex(&excl_prog_hash(instructions)),
        excl_prog_hash_matches: None,
        signature_bytes: None,
        signers: Vec::new(),
        certificates: Vec::new(),
        malformed_signature: None,
    }
}

fn describe_sealed(
    place: &str,
    kind: &'static str,
    sealed: SealedLoader<'_>,
) -> ArtifactDescription {
    let summary = SignatureSummary::parse(&sealed.seal.signature);
    let (signers, certificates, malformed_signature) = match summary {
        Ok(summary) => (
            summary
                .signers
                .iter()
                .map(|s| SignerDescription {
                    signer: super::verify::signer_json(&s.id),
                    algorithm: s.algorithm.to_string(),
                    digest: s.digest.name(),
                    signed_attributes: s.signed_attributes,
                })
                .collect(),
            summary.certificates.iter().map(|c| c.subject()).collect(),
            None,
        ),
        Err(error) => (Vec::new(), Vec::new(), Some(error.to_string())),
    };
    let computed = excl_prog_hash(sealed.instructions);
    ArtifactDescription {
        artifact: place.to_owned(),
        kind,
        signed: true,
        scheme: Some(sealed.seal.scheme.name()),
        schemes: Vec::new(),
        instruction_bytes: sealed.instructions.len(),
        metadata_bytes: sealed.metadata.len(),
        excl_prog_hash: hex(&sealed.seal.excl_prog_hash),
        excl_prog_hash_matches: Some(computed == sealed.seal.excl_prog_hash),
        signature_bytes: Some(sealed.seal.signature.len()),
        signers,
        certificates,
        malformed_signature,
    }
}

fn artifact_text(d: &ArtifactDescription) -> String {
    let mut out = String::new();
    let _ = writeln!(
        out,
        "artifact {}: {}, {}",
        d.artifact,
        d.kind,
        if d.schemes.is_empty() {
            "not signed".to_owned()
        } else {
            format!("signed ({})", d.schemes.join(", "))
        }
    );
    let _ = writeln!(
        out,
        "  loader      {} bytes of instructions, {} of metadata",
        d.instruction_bytes, d.metadata_bytes
    );
    let matches = match d.excl_prog_hash_matches {
        Some(false) => " (NOT the digest of the instructions)",
        Some(true) | None => "",
    };
    let _ = writeln!(out, "  sha256      {}{matches}", d.excl_prog_hash);
    if let Some(size) = d.signature_bytes {
        let _ = writeln!(out, "  signature   {size} bytes, not verified here");
    }
    for signer in &d.signers {
        let attributes = if signer.signed_attributes {
            ", with signed attributes"
        } else {
            ""
        };
        let _ = writeln!(
            out,
            "  signer      {}, {}{attributes}",
            signer_text(&signer.signer),
            signer.algorithm,
        );
    }
    for certificate in &d.certificates {
        let _ = writeln!(out, "  embedded    {certificate}");
    }
    if let Some(why) = &d.malformed_signature {
        let _ = writeln!(out, "  malformed   {why}");
    }
    out
}

fn signer_text(signer: &serde_json::Value) -> String {
    match signer.get("subject_key_id").and_then(|v| v.as_str()) {
        Some(id) => format!("key id {id}"),
        None => format!(
            "serial number {}",
            signer.get("serial").and_then(|v| v.as_str()).unwrap_or("?")
        ),
    }
}
