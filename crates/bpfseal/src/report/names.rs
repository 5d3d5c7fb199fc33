//! Values of other crates that stand in reports by their name.

#[cfg(any(feature = "model", feature = "schema"))]
use crate::artifact::install::Code;
use crate::seal::Scheme;

pub(super) fn scheme<S: serde::Serializer>(scheme: &Scheme, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(scheme.name())
}

pub(super) fn scheme_or_none<S: serde::Serializer>(
    scheme: &Option<Scheme>,
    to: S,
) -> Result<S::Ok, S::Error> {
    match scheme {
        Some(scheme) => to.serialize_some(scheme.name()),
        None => to.serialize_none(),
    }
}

pub(super) fn schemes<S: serde::Serializer>(all: &[Scheme], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(all.iter().map(|scheme| scheme.name()))
}

/// What a refusal means, by name; the explanations of the model have it.
#[cfg(feature = "model")]
pub(super) fn code<S: serde::Serializer>(code: &Code, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(code.name())
}

/// The schema of what a refusal means.
#[cfg(feature = "schema")]
pub(super) struct CodeName;

#[cfg(feature = "schema")]
impl schemars::JsonSchema for CodeName {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Code".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let names = Code::ALL.iter().map(|code| code.name());
        schemars::json_schema!({
            "description": "What a refusal means, in a word. More may be added.",
            "type": "string",
            "enum": names.collect::<Vec<_>>(),
        })
    }
}

/// The schema of a scheme's name.
#[cfg(feature = "schema")]
pub(super) struct SchemeName;

#[cfg(feature = "schema")]
impl schemars::JsonSchema for SchemeName {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Scheme".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "Which bytes are signed, and who checks them.",
            "type": "string",
            "enum": Scheme::ALL.map(Scheme::name),
        })
    }
}
