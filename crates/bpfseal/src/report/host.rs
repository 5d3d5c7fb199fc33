//! What the running kernel has and can do: loaded artifacts, keyrings, abilities.

use super::parts::Hex;
use super::schema::schema;
use crate::kernel::{self, KeyInfo, KeySerial, KeyringId, Linux, SyscallError};
use crate::seal::{Scheme, hex};
use crate::{Links, Loaded};

schema!(
    /// Name and version of the schema.
    LoadSchema = "bpfseal/load/1"
);

schema!(
    /// Name and version of the schema.
    KeyringSchema = "bpfseal/keyring-list/1"
);

schema!(
    /// Name and version of the schema.
    DoctorSchema = "bpfseal/doctor/1"
);

/// What was loaded into the running kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct LoadReport {
    /// Name and version of the schema.
    pub schema: LoadSchema,
    /// The file, or else the name of the object.
    pub artifact: String,
    /// The scheme by which the kernel verified it; none for an unsigned loader.
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "super::names::scheme_or_none")
    )]
    #[cfg_attr(
        feature = "schema",
        schemars(with = "Option<super::names::SchemeName>")
    )]
    pub scheme: Option<Scheme>,
    /// The keyring that has the signer's key; none for an unsigned loader.
    pub keyring: Option<String>,
    /// The maps, in the object's order.
    pub maps: Vec<LoadedMap>,
    /// The programs, in the object's order.
    pub programs: Vec<LoadedProgram>,
    /// The directory that all was pinned into; none when nothing was.
    pub pinned: Option<String>,
}

/// A map in the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct LoadedMap {
    /// Its name.
    pub name: String,
    /// The kernel's number for it.
    pub id: u32,
    /// The kernel's number of its type.
    #[cfg_attr(feature = "serde", serde(rename = "type"))]
    pub map_type: u32,
}

/// A program in the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct LoadedProgram {
    /// Its name.
    pub name: String,
    /// The kernel's number for it.
    pub id: u32,
    /// The kernel's number of its type.
    #[cfg_attr(feature = "serde", serde(rename = "type"))]
    pub program_type: u32,
    /// The kernel's digest of its instructions.
    pub tag: Hex,
    /// The kernel's number of the link that attaches it; none when it is not attached.
    pub link: Option<u32>,
}

impl LoadReport {
    /// Of what was loaded, with what the kernel says of it and of the links of its programs.
    ///
    /// # Errors
    /// What the kernel answers, if it does not say.
    pub fn new(loaded: &Loaded, links: &Links) -> Result<Self, SyscallError> {
        let mut attached = Vec::new();
        for (name, link) in links {
            attached.push((name, link.info(&Linux)?.id));
        }
        let mut maps = Vec::new();
        for (name, map) in loaded.maps() {
            let info = map.info(&Linux)?;
            maps.push(LoadedMap {
                name: name.to_owned(),
                id: info.id,
                map_type: info.map_type.0,
            });
        }
        let mut programs = Vec::new();
        for (name, program) in loaded.programs() {
            let info = program.info(&Linux)?;
            let link = attached.iter().find(|(known, _)| *known == name);
            programs.push(LoadedProgram {
                name: name.to_owned(),
                id: info.id,
                program_type: info.prog_type.0,
                tag: info.tag.into(),
                link: link.map(|(_, id)| *id),
            });
        }
        Ok(Self {
            schema: LoadSchema::V1,
            artifact: loaded.name().to_owned(),
            scheme: loaded.verified.map(|(scheme, _)| scheme),
            keyring: loaded.verified.map(|(_, keyring)| keyring.to_string()),
            maps,
            programs,
            pinned: None,
        })
    }
}

/// The keys of a keyring.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct KeyringReport {
    /// Name and version of the schema.
    pub schema: KeyringSchema,
    /// Its name or number.
    pub keyring: String,
    /// The keys.
    pub keys: Vec<KeyReport>,
}

/// A key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct KeyReport {
    /// The kernel's number for it.
    pub serial: i32,
    /// What the kernel says of it; none for a key that may not be seen.
    #[cfg_attr(feature = "serde", serde(flatten))]
    pub description: Option<KeyDetails>,
    /// Name of the errno, for a key that may not be seen.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub error: Option<String>,
    /// The kernel's answer in words, for a key that may not be seen.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub answer: Option<String>,
}

/// What the kernel says of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct KeyDetails {
    /// Its type, such as `asymmetric`.
    #[cfg_attr(feature = "serde", serde(rename = "type"))]
    pub key_type: String,
    /// Its description.
    pub description: String,
    /// The user that it belongs to.
    pub uid: u32,
    /// Its permissions, hexadecimal.
    pub permissions: String,
    /// Algorithm of a certificate's key; none where `/proc/keys` does not show it.
    pub algorithm: Option<String>,
    /// The last 8 digits of a certificate's key id; none where `/proc/keys` does not show it.
    pub key_id_end: Option<String>,
}

/// Lists the keys of a keyring of the running kernel.
///
/// # Errors
/// What the kernel answers, if the keyring cannot be read.
pub fn list_keyring(keyring: KeyringId) -> Result<KeyringReport, SyscallError> {
    let keys = kernel::keys_of(&Linux, keyring)?;
    let all = std::fs::read_to_string("/proc/keys").unwrap_or_default();
    let report = |key: KeySerial| {
        let mut report = KeyReport {
            serial: key.0,
            description: None,
            error: None,
            answer: None,
        };
        match kernel::describe_key(&Linux, key) {
            Ok(info) => report.description = Some(KeyDetails::new(info, key_id(key, &all))),
            Err(error) => {
                report.error = Some(error.errno_name());
                report.answer = Some(error.to_string());
            }
        }
        report
    };
    Ok(KeyringReport {
        schema: KeyringSchema::V1,
        keyring: keyring.to_string(),
        keys: keys.into_iter().map(report).collect(),
    })
}

impl KeyDetails {
    fn new(info: KeyInfo, id: Option<(String, String)>) -> Self {
        let (algorithm, key_id_end) = id.unzip();
        Self {
            key_type: info.key_type,
            description: info.description,
            uid: info.uid,
            permissions: format!("{:08x}", info.permissions),
            algorithm,
            key_id_end,
        }
    }
}

/// What `/proc/keys` says of a certificate, behind its description: algorithm and the end of its
/// key id. Nothing where it is not shown.
fn key_id(key: KeySerial, all: &str) -> Option<(String, String)> {
    let serial = hex(&key.0.to_be_bytes());
    let line = all.lines().find(|line| line.starts_with(&serial))?;
    let (_, tail) = line.rsplit_once(": X509.")?;
    let mut words = tail.split_whitespace();
    Some((words.next()?.to_owned(), words.next()?.to_owned()))
}

/// What the running kernel can do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct DoctorReport {
    /// Name and version of the schema.
    pub schema: DoctorSchema,
    /// What was found, in the order in which it was asked.
    pub findings: Vec<HostFinding>,
}

/// One thing that was found out about the running kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct HostFinding {
    /// What was asked: `kernel`, `bpf`, `exclusive`, `signatures`, `algorithm`, `hole`, `btf`,
    /// `bpffs`, `lsm`, `lockdown` or `keyring`.
    pub name: &'static str,
    /// How it is.
    pub state: HostState,
    /// What was found.
    pub text: String,
    /// What to do; empty when there is nothing to be done.
    pub help: String,
}

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "lowercase")
)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum HostState {
    /// Not as it should be.
    Bad,
    /// As it should be.
    Good,
    /// Neither good nor bad.
    Note,
    /// It could not be found out.
    Unknown,
}

impl From<Vec<HostFinding>> for DoctorReport {
    fn from(findings: Vec<HostFinding>) -> Self {
        Self {
            schema: DoctorSchema::V1,
            findings,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_ids_are_in_proc() {
        let line = "0c4bbb69 I------     1 perm 1f030000     0     0 asymmetri CN=a: b: X509.rsa 2aa56d39 []\n";
        let (algorithm, id) = key_id(KeySerial(0x0c4b_bb69), line).unwrap();
        assert_eq!((algorithm.as_str(), id.as_str()), ("rsa", "2aa56d39"));
        assert_eq!(key_id(KeySerial(1), line), None);
    }
}
