//! What is in an object or an artifact. Nothing is verified.

use super::parts::{ByteOrder, FindingReport, Hex, HostInfluence, SignerReport};
use super::plan::{PlanReport, Step};
use super::schema::schema;
use crate::artifact::{Artifact, LoaderForm};
use crate::loader::{EmitOptions, Form, Host, LoadPlan, Loader};
use crate::object::{ExternKind, KconfigType, Map, Object, Pinning, Program, RelocKind};
use crate::seal::{Scheme, SealedLoader, SignatureSummary, excl_prog_hash};

schema!(
    /// Name and version of the schema.
    ObjectSchema = "bpfseal/inspect-object/1"
);

schema!(
    /// Name and version of the schema.
    ArtifactSchema = "bpfseal/inspect-artifact/1"
);

/// How much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Detail {
    /// What the file says.
    #[default]
    Brief,
    /// Also what is installed, with instructions and source lines. The loader of an artifact is
    /// run in the model of the kernel for it.
    #[cfg(feature = "model")]
    Full,
}

/// Describes an object, and what its loader would be.
#[must_use]
pub fn inspect_object(object: &Object, host: &dyn Host, detail: Detail) -> ObjectReport {
    let mut report = ObjectReport::new(object);
    let plan = match LoadPlan::new(object, host) {
        Ok(plan) => plan,
        Err(error) => {
            report.no_loader = Some(format!("{error}; {}", error.advice()));
            return report;
        }
    };
    report.steps = Step::all_of(&plan);
    report.depends_on_host = plan.host.iter().map(ToString::to_string).collect();
    report.unresolved = plan.unresolved.iter().map(ToString::to_string).collect();
    report.notes.extend(plan.notes.iter().cloned());
    #[cfg(feature = "model")]
    {
        let release = bpfseal_model::kernel::Profile::V7_3.release();
        let found = bpfseal_model::foresee::foresee(&plan, release);
        report.notes.extend(found.iter().map(ToString::to_string));
    }
    match Loader::new(&plan, EmitOptions::new(Form::Signed)) {
        Ok(loader) => report.loader = Some((&loader).into()),
        Err(error) => report.no_loader = Some(format!("{error}; {}", error.advice())),
    }
    match detail {
        Detail::Brief => {}
        #[cfg(feature = "model")]
        Detail::Full => report.plan = Some(PlanReport::of_object(&plan)),
    }
    report
}

/// Describes an artifact. `kind` says what kind of file it is, in words.
#[must_use]
pub fn inspect_artifact(artifact: &Artifact, kind: &str, detail: Detail) -> ArtifactReport {
    let forms = artifact.forms.iter();
    let report = ArtifactReport {
        schema: ArtifactSchema::V1,
        artifact: artifact.interface.name.to_string(),
        name: artifact.interface.name.to_string(),
        kind: kind.to_owned(),
        signed: artifact.sealed().next().is_some(),
        schemes: artifact.sealed().map(|sealed| sealed.seal.scheme).collect(),
        forms: forms.map(|form| FormReport::new(artifact, form)).collect(),
        plan: None,
    };
    match detail {
        Detail::Brief => report,
        #[cfg(feature = "model")]
        Detail::Full => report.in_full(artifact),
    }
}

/// An object or an artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(untagged))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub enum InspectReport {
    /// An artifact.
    Artifact(Box<ArtifactReport>),
    /// An object.
    Object(Box<ObjectReport>),
}

/// What is in an object.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ObjectReport {
    /// Name and version of the schema.
    pub schema: ObjectSchema,
    /// The file, or else the name of the object.
    pub object: String,
    /// Name of the object.
    pub name: String,
    /// Byte order.
    pub byte_order: ByteOrder,
    /// License; empty for none.
    pub license: String,
    /// Programs that can be loaded.
    pub programs: Vec<ObjectProgram>,
    /// Names of subprograms, which are linked into programs.
    pub subprograms: Vec<String>,
    /// Maps.
    pub maps: Vec<ObjectMap>,
    /// Externs.
    pub externs: Vec<ObjectExtern>,
    /// Count of types in its BTF, if it has one.
    pub btf_types: Option<u32>,
    /// The load plan, in order.
    pub steps: Vec<Step>,
    /// The loader in the signed form; none where there is no loader.
    pub loader: Option<LoaderReport>,
    /// Why there is no loader.
    pub no_loader: Option<String>,
    /// Values of the host that the load plan depends on, in words.
    pub depends_on_host: Vec<String>,
    /// What the load plan has no value for, in words: the host has none, or another object has it.
    pub unresolved: Vec<String>,
    /// What else there is to know, in words.
    pub notes: Vec<String>,
    /// What is installed, if it was asked for in full.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub plan: Option<PlanReport>,
}

impl ObjectReport {
    fn new(object: &Object) -> Self {
        let subprograms = object.programs.iter().filter(|p| p.subprogram);
        Self {
            schema: ObjectSchema::V1,
            object: object.name.clone(),
            name: object.name.clone(),
            byte_order: object.endian.into(),
            license: object.license.clone(),
            programs: object.entry_programs().map(|(_, p)| p.into()).collect(),
            subprograms: subprograms.map(|p| p.name.clone()).collect(),
            maps: object.maps.iter().map(Into::into).collect(),
            externs: object
                .externs
                .iter()
                .map(|e| ObjectExtern {
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
            unresolved: Vec::new(),
            notes: object.notes.clone(),
            plan: None,
        }
    }
}

/// A program of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ObjectProgram {
    /// Its name.
    pub name: String,
    /// The section that it is in.
    pub section: String,
    /// Its type, if the section tells one.
    #[cfg_attr(feature = "serde", serde(rename = "type"))]
    pub program_type: Option<String>,
    /// How it attaches, if the section tells.
    pub attach_type: Option<String>,
    /// What it attaches to, if the section tells.
    pub attach_target: Option<String>,
    /// Whether it is loaded by default.
    pub autoload: bool,
    /// Whether it may sleep.
    pub sleepable: bool,
    /// Count of instructions, before linking.
    pub instructions: usize,
    /// Counts of its relocations.
    pub relocations: Relocations,
}

/// Counts of relocations, by what they refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Relocations {
    /// Functions of the object.
    pub calls: usize,
    /// Types of the kernel.
    pub co_re: usize,
    /// Global data.
    pub data: usize,
    /// Externs.
    pub externs: usize,
    /// Maps.
    pub maps: usize,
}

impl From<&Program> for ObjectProgram {
    fn from(program: &Program) -> Self {
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
        Self {
            name: program.name.clone(),
            section: program.section_name.clone(),
            program_type: program.def.map(|d| d.prog_type.to_string()),
            attach_type: program.def.map(|d| d.attach_type.to_string()),
            attach_target: program.attach_target().map(str::to_owned),
            autoload: program.autoload,
            sleepable: program.def.is_some_and(|d| d.sleepable),
            instructions: program.insns.len(),
            relocations,
        }
    }
}

/// A map of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ObjectMap {
    /// Its name.
    pub name: String,
    /// Its type.
    #[cfg_attr(feature = "serde", serde(rename = "type"))]
    pub map_type: String,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value.
    pub value_size: u32,
    /// Count of entries.
    pub max_entries: u32,
    /// `BPF_F_*`.
    pub flags: u32,
    /// The section of global data that it holds.
    pub section: Option<String>,
    /// Type of the maps in it, for a map of maps.
    pub inner: Option<String>,
    /// Whether it asks to be pinned.
    pub pinned: bool,
    /// The struct of the kernel's, for a struct_ops map.
    pub struct_ops: Option<String>,
    /// Whether its definition is one of the first years.
    pub legacy: bool,
    /// Whether it is created by default.
    pub autocreate: bool,
}

impl From<&Map> for ObjectMap {
    fn from(map: &Map) -> Self {
        Self {
            name: map.user_name().to_owned(),
            map_type: map.def.map_type.to_string(),
            key_size: map.def.key_size,
            value_size: map.def.value_size,
            max_entries: map.def.max_entries,
            flags: map.def.map_flags,
            section: map.data.as_ref().map(|d| d.section_name.clone()),
            inner: map.inner.as_ref().map(|inner| inner.map_type.to_string()),
            pinned: map.pinning != Pinning::None,
            struct_ops: map.struct_ops.as_ref().map(|s| s.type_name.clone()),
            legacy: map.legacy.is_some(),
            autocreate: map.struct_ops.as_ref().is_none_or(|s| s.autocreate),
        }
    }
}

/// An extern of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ObjectExtern {
    /// Its name.
    pub name: String,
    /// What it is, in words.
    pub kind: &'static str,
    /// Whether the object does without it.
    pub weak: bool,
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
        ExternKind::Undefined { .. } => "symbol of another object",
        ExternKind::Ksym { function: true, .. } => "kernel function",
        ExternKind::Ksym { typed: true, .. } => "kernel variable",
        ExternKind::Ksym { typed: false, .. } => "kernel symbol without type",
    }
}

/// A loader.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct LoaderReport {
    /// Bytes of its instructions.
    pub instruction_bytes: usize,
    /// Bytes of its metadata.
    pub metadata_bytes: usize,
    /// Bytes of its context, which the host supplies.
    pub context_bytes: u32,
    /// SHA-256 of its instructions, which its metadata map is bound to.
    pub excl_prog_hash: Hex,
}

impl From<&Loader> for LoaderReport {
    fn from(loader: &Loader) -> Self {
        Self {
            instruction_bytes: loader.instructions.len(),
            metadata_bytes: loader.metadata.len(),
            context_bytes: loader.context.size(),
            excl_prog_hash: excl_prog_hash(&loader.instructions).into(),
        }
    }
}

/// What is in an artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ArtifactReport {
    /// Name and version of the schema.
    pub schema: ArtifactSchema,
    /// The file, or else the name of the object.
    pub artifact: String,
    /// Name of the object.
    pub name: String,
    /// What kind of file it is, in words.
    pub kind: String,
    /// Whether any form is signed.
    pub signed: bool,
    /// Schemes of the signed forms, strongest first.
    #[cfg_attr(feature = "serde", serde(serialize_with = "super::names::schemes"))]
    #[cfg_attr(feature = "schema", schemars(with = "Vec<super::names::SchemeName>"))]
    pub schemes: Vec<Scheme>,
    /// Each form of the loader, strongest scheme first.
    pub forms: Vec<FormReport>,
    /// What the first form installs, if it was asked for in full.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub plan: Option<PlanReport>,
}

/// One form of a loader, and what its signature says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct FormReport {
    /// The scheme; none for a form without a signature.
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "super::names::scheme_or_none")
    )]
    #[cfg_attr(
        feature = "schema",
        schemars(with = "Option<super::names::SchemeName>")
    )]
    pub scheme: Option<Scheme>,
    /// Bytes of the loader's instructions.
    pub instruction_bytes: usize,
    /// SHA-256 of the instructions, computed.
    pub instructions_sha256: Hex,
    /// Bytes of the metadata.
    pub metadata_bytes: usize,
    /// SHA-256 of the metadata, computed.
    pub metadata_sha256: Hex,
    /// The digest that the metadata map is bound to: that of the instructions, if all is well.
    pub excl_prog_hash: Hex,
    /// Whether it is that of the instructions; none for a form without a signature.
    pub excl_prog_hash_matches: Option<bool>,
    /// Bytes of the signature.
    pub signature_bytes: Option<usize>,
    /// Who claims to have signed.
    pub signers: Vec<SignerClaim>,
    /// Subjects of certificates that came along.
    pub certificates: Vec<String>,
    /// Why the signature cannot be read.
    pub malformed_signature: Option<String>,
    /// What the loader does that loaders do not do, if it was asked for in full.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub findings: Option<Vec<FindingReport>>,
    /// What a host can change of what it installs, if it was asked for in full.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub host_influences: Option<Vec<HostInfluence>>,
}

/// Who claims to have signed, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct SignerClaim {
    /// How the signer is named.
    pub signer: SignerReport,
    /// How it was signed.
    pub algorithm: String,
    /// The digest that is named beside it.
    pub digest: &'static str,
    /// Whether attributes are signed, and the content through them.
    pub signed_attributes: bool,
}

impl FormReport {
    fn new(artifact: &Artifact, form: &LoaderForm) -> Self {
        let instructions = form.instructions();
        let metadata: &[u8] = &artifact.metadata;
        let mut report = Self {
            scheme: None,
            instruction_bytes: instructions.len(),
            instructions_sha256: excl_prog_hash(instructions).into(),
            metadata_bytes: metadata.len(),
            metadata_sha256: excl_prog_hash(metadata).into(),
            excl_prog_hash: form.excl_prog_hash().into(),
            excl_prog_hash_matches: None,
            signature_bytes: None,
            signers: Vec::new(),
            certificates: Vec::new(),
            malformed_signature: None,
            findings: None,
            host_influences: None,
        };
        if let Some(seal) = form.seal() {
            report.add_signature(SealedLoader {
                instructions,
                metadata,
                seal,
            });
        }
        report
    }

    fn add_signature(&mut self, sealed: SealedLoader<'_>) {
        self.scheme = Some(sealed.seal.scheme);
        self.excl_prog_hash_matches = Some(self.excl_prog_hash == self.instructions_sha256);
        self.signature_bytes = Some(sealed.seal.signature.len());
        match SignatureSummary::parse(&sealed.seal.signature) {
            Ok(summary) => {
                let signers = summary.signers.iter().map(|signer| SignerClaim {
                    signer: (&signer.id).into(),
                    algorithm: signer.algorithm.to_string(),
                    digest: signer.digest.name(),
                    signed_attributes: signer.signed_attributes,
                });
                self.signers = signers.collect();
                self.certificates = summary.certificates.iter().map(|c| c.subject()).collect();
            }
            Err(error) => self.malformed_signature = Some(error.to_string()),
        }
    }
}
