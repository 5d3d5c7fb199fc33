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
mod error;
#[cfg(feature = "model")]
mod explain;
#[cfg(feature = "kernel")]
mod host;
mod inspect;
#[cfg(feature = "serde")]
mod names;
mod parts;
mod plan;
mod schema;
#[cfg(feature = "schema")]
mod schemas;
#[cfg(feature = "sign")]
mod tbs;
mod verify;

#[cfg(feature = "model")]
pub use audit::{
    AuditOptions, AuditReport, AuditSchema, AuditedForm, Change, Difference, KernelLacks, Reason,
    ReproductionReport, Verdict, audit,
};
#[cfg(feature = "model")]
pub use diff::{DiffReport, DiffSchema, DiffSide, SideReport, SignatureClaim, diff};
pub use error::{ErrorReport, ErrorSchema};
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
    ArtifactReport, ArtifactSchema, Detail, FormReport, InspectReport, LoaderReport, ObjectExtern,
    ObjectMap, ObjectProgram, ObjectReport, ObjectSchema, Relocations, SignerClaim,
    inspect_artifact, inspect_object,
};
pub use parts::{
    ByteOrder, CertificateReport, FindingReport, Hex, HostInfluence, SignerReport, UntrustedReport,
};
pub use plan::{
    CodeLine, MapReport, PlanReport, PlannedMap, PlannedProgram, ProgramReport, SourceLine, Step,
    StepKind,
};
#[cfg(feature = "schema")]
pub use schemas::schemas;
#[cfg(feature = "sign")]
pub use tbs::{MessageReport, TbsReport, TbsSchema};
pub use verify::{
    FormVerdict, GoodForm, RejectedForm, SignatureReport, VerifyReport, VerifySchema, verify,
};
