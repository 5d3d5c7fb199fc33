//! What is answered about objects and artifacts: reports, as plain data.
//!
//! Each function that asks something ([`crate::verify`], `audit`, …) returns one of
//! these. The text, the JSON and the page of the command are all made from them.
//! Some need a feature: `model` for what loaders do, `kernel` for what is in the running kernel,
//! `sign` for what is to be signed.
//!
//! With the feature `serde` a report serializes to the JSON that the command prints, and with
//! `schema` it describes that JSON (`docs/schema`). Every document names its schema and version in
//! the field `schema`. Fields may be added to a version; none is removed or changes its meaning.
//!
//! Sizes are in bytes. Digests and identifiers are lower-case hexadecimal.
//!
//! ```
//! use bpfseal::report::VerifyReport;
//! use bpfseal::seal::Scheme;
//!
//! /// Whether an artifact carries a good load-time signature.
//! fn is_signed(report: &VerifyReport) -> bool {
//!     report.is_good() && report.forms().iter().any(|form| form.scheme() == Some(Scheme::LoadTime))
//! }
//! # let _ = is_signed;
//! ```

#[cfg(feature = "model")]
mod audit;
#[cfg(feature = "model")]
mod detail;
#[cfg(feature = "model")]
mod diff;
#[cfg(feature = "model")]
mod explain;
#[cfg(feature = "kernel")]
mod host;
mod inspect;
#[cfg(feature = "serde")]
mod names;
mod parts;
mod plan;
#[cfg(feature = "sign")]
mod tbs;
mod verify;

#[cfg(feature = "model")]
pub use audit::{
    AuditOptions, AuditReport, AuditSchema, AuditedForm, Change, Difference, KernelLacks, Reason,
    Verdict, audit,
};
#[cfg(feature = "model")]
pub use diff::{DiffReport, DiffSchema, DiffSide, SideReport, SignatureClaim, diff};
#[cfg(feature = "model")]
pub use explain::{
    AdmissionReport, ExplainOptions, ExplainReport, ExplainSchema, FormAnswer, InstallStep,
    KernelAnswer, RefusalReport, UnknownKernel, explain,
};
#[cfg(feature = "kernel")]
pub use host::{
    DoctorReport, DoctorSchema, HostFinding, HostState, KeyDetails, KeyReport, KeyringReport,
    KeyringSchema, LoadReport, LoadSchema, LoadedMap, LoadedProgram, list_keyring,
};
pub use inspect::{
    ArtifactReport, ArtifactSchema, ByteOrder, Detail, FormReport, InspectReport, LoaderReport,
    ObjectExtern, ObjectMap, ObjectProgram, ObjectReport, ObjectSchema, Relocations, SignerClaim,
    inspect_artifact, inspect_object,
};
pub use parts::{CertificateReport, FindingReport, Hex, HostInfluence, SignerReport};
pub use plan::{
    CodeLine, MapReport, PlanReport, PlannedMap, PlannedProgram, ProgramReport, SourceLine, Step,
    StepKind,
};
#[cfg(feature = "sign")]
pub use tbs::{MessageReport, TbsReport, TbsSchema};
pub use verify::{
    FormVerdict, GoodForm, RejectedForm, SignatureReport, VerifyReport, VerifySchema, verify,
};

/// The field of a report that names its schema and version.
macro_rules! schema {
    ($(#[$doc:meta])* $name:ident = $text:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize))]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        #[non_exhaustive]
        pub enum $name {
            /// The first version.
            #[default]
            #[cfg_attr(feature = "serde", serde(rename = $text))]
            V1,
        }
    };
}
use schema;

/// The schemas of all reports: the name of each file in `docs/schema`, and JSON Schema (draft
/// 2020-12).
#[cfg(feature = "schema")]
#[must_use]
pub fn schemas() -> Vec<(&'static str, String)> {
    fn of<T: schemars::JsonSchema>(name: &'static str) -> (&'static str, String) {
        let settings = schemars::generate::SchemaSettings::draft2020_12().for_serialize();
        let schema = settings.into_generator().into_root_schema_for::<T>();
        (name, format!("{:#}\n", schema.as_value()))
    }
    vec![
        of::<AuditReport>("audit.json"),
        of::<DiffReport>("diff.json"),
        of::<DoctorReport>("doctor.json"),
        of::<ExplainReport>("explain.json"),
        of::<ArtifactReport>("inspect-artifact.json"),
        of::<ObjectReport>("inspect-object.json"),
        of::<KeyringReport>("keyring-list.json"),
        of::<LoadReport>("load.json"),
        of::<TbsReport>("tbs.json"),
        of::<VerifyReport>("verify.json"),
    ]
}
