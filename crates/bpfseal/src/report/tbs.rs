//! What is to be signed, for keys that are somewhere else.

use super::parts::Hex;
use super::schema::schema;
use crate::Prepared;
use crate::seal::Scheme;

schema!(
    /// Name and version of the schema.
    TbsSchema = "bpfseal/tbs/1"
);

/// What is to be signed of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct TbsReport {
    /// Name and version of the schema.
    pub schema: TbsSchema,
    /// The file, or else the name of the object.
    pub object: String,
    /// Name of the object, which is part of what is signed.
    pub name: String,
    /// What is to be signed for each scheme, strongest first.
    pub to_be_signed: Vec<MessageReport>,
}

/// What is to be signed for one scheme.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct MessageReport {
    /// The scheme.
    #[cfg_attr(feature = "serde", serde(serialize_with = "super::names::scheme"))]
    #[cfg_attr(feature = "schema", schemars(with = "super::names::SchemeName"))]
    pub scheme: Scheme,
    /// What the scheme attests to.
    pub attests: &'static str,
    /// Name of a file with the bytes to sign.
    pub message: String,
    /// How many bytes that are.
    pub message_bytes: usize,
    /// Name of a file with their digest.
    pub digest: String,
    /// Algorithm of the digest.
    pub digest_algorithm: &'static str,
    /// The digest.
    pub digest_hex: Hex,
    /// SHA-256 of the loader's instructions.
    pub excl_prog_hash: Hex,
}

impl Prepared {
    /// What is to be signed. The files that it names are `SCHEME.tbs` and `SCHEME.digest`; who
    /// writes them calls them so.
    #[must_use]
    pub fn report(&self) -> TbsReport {
        let message = |tbs: &crate::seal::ToBeSigned<'_>| {
            let name = tbs.scheme().name();
            MessageReport {
                scheme: tbs.scheme(),
                attests: tbs.scheme().attests(),
                message: format!("{name}.tbs"),
                message_bytes: tbs.message().len(),
                digest: format!("{name}.digest"),
                digest_algorithm: tbs.digest().name(),
                digest_hex: tbs.message_digest().into(),
                excl_prog_hash: tbs.excl_prog_hash().into(),
            }
        };
        TbsReport {
            schema: TbsSchema::V1,
            object: self.made.plan.name.clone(),
            name: self.made.plan.name.clone(),
            to_be_signed: self.to_be_signed().map(message).collect(),
        }
    }
}
