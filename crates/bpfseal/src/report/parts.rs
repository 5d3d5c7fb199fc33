//! What several reports have in common.

use crate::object::Endian;
use crate::seal::{Certificate, RefusedAnchor, SignerId, TrustStore, hex};

/// Byte orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "lowercase")
)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum ByteOrder {
    /// Most significant byte first.
    Big,
    /// Least significant byte first.
    Little,
}

impl ByteOrder {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Big => "big",
            Self::Little => "little",
        }
    }
}

impl From<Endian> for ByteOrder {
    fn from(endian: Endian) -> Self {
        match endian {
            Endian::Big => Self::Big,
            Endian::Little => Self::Little,
        }
    }
}

/// Bytes that are shown as lower-case hexadecimal: digests and identifiers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Hex(Vec<u8>);

impl Hex {
    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl<T: AsRef<[u8]>> From<T> for Hex {
    fn from(bytes: T) -> Self {
        Self(bytes.as_ref().to_vec())
    }
}

impl std::fmt::Display for Hex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Hex {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Hex {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Hex".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^([0-9a-f]{2})*$" })
    }
}

/// How a signature names its signer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(untagged))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub enum SignerReport {
    /// By issuer and serial number.
    #[non_exhaustive]
    IssuerAndSerial {
        /// The issuer's name in DER, hexadecimal.
        issuer_der: String,
        /// The serial number, hexadecimal.
        serial: String,
    },
    /// By subjectKeyIdentifier.
    #[non_exhaustive]
    SubjectKeyId {
        /// The identifier, hexadecimal.
        subject_key_id: String,
    },
}

impl From<&SignerId> for SignerReport {
    fn from(id: &SignerId) -> Self {
        match id {
            SignerId::IssuerAndSerial { issuer, serial } => Self::IssuerAndSerial {
                issuer_der: issuer.clone(),
                serial: serial.clone(),
            },
            SignerId::SubjectKeyId(id) => Self::SubjectKeyId {
                subject_key_id: id.clone(),
            },
        }
    }
}

impl std::fmt::Display for SignerReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::IssuerAndSerial { serial, .. } => write!(f, "serial number {serial}"),
            Self::SubjectKeyId { subject_key_id } => write!(f, "key id {subject_key_id}"),
        }
    }
}

/// A certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct CertificateReport {
    /// Its subject, as text.
    pub subject: String,
    /// Its issuer, as text.
    pub issuer: String,
    /// Its serial number, hexadecimal.
    pub serial: String,
    /// Its subjectKeyIdentifier, if it has one.
    pub subject_key_id: Option<Hex>,
    /// SHA-256 of its DER encoding, hexadecimal.
    pub sha256: String,
}

impl From<&Certificate> for CertificateReport {
    fn from(certificate: &Certificate) -> Self {
        Self {
            subject: certificate.subject(),
            issuer: certificate.issuer(),
            serial: certificate.serial(),
            subject_key_id: certificate.subject_key_id().map(Hex::from),
            sha256: certificate.fingerprint(),
        }
    }
}

impl std::fmt::Display for CertificateReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.subject)?;
        match &self.subject_key_id {
            Some(id) => write!(f, ", key id {id}"),
            None => Ok(()),
        }
    }
}

/// Something that loaders do not do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct FindingReport {
    /// What kind it is, as a word.
    pub kind: &'static str,
    /// The finding in words.
    pub text: String,
}

/// Something that a host has a say in. No signature covers it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct HostInfluence {
    /// The loader's instruction that uses it.
    pub instruction: usize,
    /// What the host gives.
    pub what: String,
}

/// A certificate that was given as trusted, and is no trust anchor: the kernel would not take it
/// into a keyring.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct UntrustedReport {
    /// The file. The library leaves it to the command, which knows it.
    pub file: Option<String>,
    /// Its subject; none for one that the kernel cannot read.
    pub subject: Option<String>,
    /// The check that failed, as a word: `form`, `own-signature` or `revocation`.
    pub check: &'static str,
    /// What `add_key` answers: the errno's name.
    pub errno: String,
    /// Why, as a sentence.
    pub reason: String,
    /// The certificate, as it was given.
    #[cfg_attr(feature = "serde", serde(skip))]
    #[cfg_attr(feature = "schema", schemars(skip))]
    pub der: Vec<u8>,
}

impl From<RefusedAnchor> for UntrustedReport {
    fn from(refused: RefusedAnchor) -> Self {
        Self {
            file: None,
            subject: refused.subject,
            check: refused.fault.check(),
            errno: refused.fault.errno().to_string(),
            reason: refused.fault.to_string(),
            der: refused.der,
        }
    }
}

/// What of a trust store is no trust anchor.
pub(super) fn untrusted(store: &TrustStore) -> Vec<UntrustedReport> {
    store.refused().into_iter().map(Into::into).collect()
}
