//! The schemas of the JSON of all reports.

use super::audit::AuditReport;
use super::diff::DiffReport;
use super::error::ErrorReport;
use super::explain::ExplainReport;
use super::host::{DoctorReport, KeyringReport, LoadReport};
use super::inspect::{ArtifactReport, ObjectReport};
use super::tbs::TbsReport;
use super::verify::VerifyReport;

/// The schemas of all reports: the name of each file in `docs/schema`, and JSON Schema (draft
/// 2020-12).
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
        of::<ErrorReport>("error.json"),
        of::<ExplainReport>("explain.json"),
        of::<ArtifactReport>("inspect-artifact.json"),
        of::<ObjectReport>("inspect-object.json"),
        of::<KeyringReport>("keyring-list.json"),
        of::<LoadReport>("load.json"),
        of::<TbsReport>("tbs.json"),
        of::<VerifyReport>("verify.json"),
    ]
}
