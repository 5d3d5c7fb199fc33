//! The grammar that bundles and detached seals share: how a file begins, seals and loader forms,
//! and the statements at its end.
//!
//! Stands between the codec ([`crate::cbor`]) and the two formats. The schema is in
//! `docs/format.md`.

use bpfseal_object::Endian;
use bpfseal_seal::{Scheme, Seal};
use bpfseal_uapi::limits::MAX_SIGNATURE;

use crate::artifact::LoaderForm;
use crate::cbor::{CborError, Reader, SELF_DESCRIBED, Writer};

bpfseal_object::debug_as_chain!(FormatError);

/// Version of both formats.
const VERSION: u64 = 1;

/// Readers may pass over fields from this key on that they do not know, and below it may not.
pub(crate) const OPTIONAL: u64 = 1000;

/// Most bytes of instructions, and of metadata: what a kernel verifies is less.
pub(crate) const MAX_BLOB: usize = 64 << 20;
/// Most bytes of a name.
const MAX_NAME: usize = 1024;
/// Most lines of a list of texts.
const MAX_LINES: u64 = 256;
/// Most certificates, and bytes of one.
const MAX_CERTIFICATES: u64 = 32;
const MAX_CERTIFICATE: usize = 64 << 10;

/// Keys of the outer map that both formats have.
pub(crate) mod key {
    pub(crate) const VERSION: u64 = 1;
    pub(crate) const NAME: u64 = 2;
    pub(crate) const ENDIAN: u64 = 3;
    pub(crate) const CERTIFICATES: u64 = super::OPTIONAL + 1;
    pub(crate) const PROVENANCE: u64 = super::OPTIONAL + 2;
}

/// Why bytes are not a bundle or a detached seal.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields are what the message names")]
pub enum FormatError {
    /// The encoding.
    #[error(transparent)]
    Encoding(#[from] CborError),
    /// Another version.
    #[error("the file is of version {found}, this is for version {known}")]
    Version { found: u64, known: u64 },
    /// Something that may not be passed over.
    #[error("byte {offset}: field {key} of {what} is not known, and may not be passed over")]
    UnknownField {
        offset: usize,
        what: &'static str,
        key: u64,
    },
    /// Something that has to be there.
    #[error("the file has no {what}")]
    Missing { what: &'static str },
    /// A value that the format does not have.
    #[error("byte {offset}: {what} is {found}")]
    Value {
        offset: usize,
        what: &'static str,
        found: String,
    },
}

/// How an artifact was made. Not signed: a statement, no proof.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Provenance {
    /// Tool and version.
    pub tool: String,
    /// Options that it was given.
    pub options: Vec<String>,
    /// What it took from its host.
    pub host: Vec<String>,
}

/// Begins a file: its tag, and the head of a map with so many fields.
pub(crate) fn begin(fields: u64) -> Writer {
    let mut out = Writer::default();
    out.tag(SELF_DESCRIBED).map(fields);
    out
}

/// Reads the tag of a file; the outer map is next.
pub(crate) fn open(bytes: &[u8]) -> Result<Reader<'_>, FormatError> {
    let mut reader = Reader::new(bytes);
    if reader.tag("the tag of the file")? != SELF_DESCRIBED {
        return Err(FormatError::Value {
            offset: 0,
            what: "the tag",
            found: "not that of a bundle or a seal".to_owned(),
        });
    }
    Ok(reader)
}

/// The fields of a map. `each` reads the value of a key, or answers `false` for one that it does
/// not know.
pub(crate) fn fields(
    reader: &mut Reader<'_>,
    what: &'static str,
    mut each: impl FnMut(&mut Reader<'_>, u64) -> Result<bool, FormatError>,
) -> Result<(), FormatError> {
    reader.map(what, |reader, key, offset| {
        if each(reader, key)? {
            return Ok(());
        }
        if key < OPTIONAL {
            return Err(FormatError::UnknownField { offset, what, key });
        }
        Ok(reader.skip(MAX_BLOB)?)
    })
}

/// A number of 32 bits.
pub(crate) fn word(reader: &mut Reader<'_>, what: &'static str) -> Result<u32, FormatError> {
    let offset = reader.at;
    let found = reader.number(what)?;
    u32::try_from(found).map_err(|_| FormatError::Value {
        offset,
        what,
        found: found.to_string(),
    })
}

pub(crate) fn name(reader: &mut Reader<'_>, what: &'static str) -> Result<String, FormatError> {
    Ok(reader.text(what, MAX_NAME)?.to_owned())
}

pub(crate) fn digest(reader: &mut Reader<'_>, what: &'static str) -> Result<[u8; 32], FormatError> {
    let offset = reader.at;
    let bytes = reader.bytes(what, 32)?;
    bytes.try_into().map_err(|_| FormatError::Value {
        offset,
        what,
        found: format!("{} bytes long, not 32", bytes.len()),
    })
}

/// Checks that the version is the one that is known.
pub(crate) fn version(reader: &mut Reader<'_>) -> Result<(), FormatError> {
    let found = reader.number("the version")?;
    if found != VERSION {
        return Err(FormatError::Version {
            found,
            known: VERSION,
        });
    }
    Ok(())
}

pub(crate) fn endian(reader: &mut Reader<'_>) -> Result<Endian, FormatError> {
    let offset = reader.at;
    match reader.number("the byte order")? {
        0 => Ok(Endian::Little),
        1 => Ok(Endian::Big),
        other => Err(FormatError::Value {
            offset,
            what: "the byte order",
            found: other.to_string(),
        }),
    }
}

/// Writes version, name and byte order, the first fields that both formats have.
pub(crate) fn write_head(out: &mut Writer, name: &str, endian: Endian) {
    out.number(key::VERSION).number(VERSION);
    out.number(key::NAME).text(name);
    out.number(key::ENDIAN).number(match endian {
        Endian::Little => 0,
        Endian::Big => 1,
    });
}

pub(crate) fn write_form(out: &mut Writer, form: &LoaderForm) {
    match form {
        LoaderForm::Sealed { instructions, seal } => write_seal(out, seal, Some(instructions)),
        LoaderForm::Unsigned { instructions } => {
            out.map(1).number(2).bytes(instructions);
        }
    }
}

pub(crate) fn form(reader: &mut Reader<'_>) -> Result<LoaderForm, FormatError> {
    let (instructions, seal) = seal(reader)?;
    let instructions = instructions.ok_or(FormatError::Missing {
        what: "instructions in a form",
    })?;
    Ok(match seal {
        Some(seal) => LoaderForm::Sealed { instructions, seal },
        None => LoaderForm::Unsigned { instructions },
    })
}

/// A seal, with the instructions that it is for or without them.
pub(crate) fn write_seal(out: &mut Writer, seal: &Seal, instructions: Option<&[u8]>) {
    out.map(3 + u64::from(instructions.is_some()));
    out.number(1).text(seal.scheme.name());
    if let Some(instructions) = instructions {
        out.number(2).bytes(instructions);
    }
    out.number(3).bytes(&seal.signature);
    out.number(4).bytes(&seal.excl_prog_hash);
}

/// Instructions and a seal, as far as they are there.
pub(crate) fn seal(
    reader: &mut Reader<'_>,
) -> Result<(Option<Vec<u8>>, Option<Seal>), FormatError> {
    let start = reader.at;
    let mut scheme = None;
    let mut instructions = None;
    let mut signature = None;
    let mut excl_prog_hash = None;
    fields(reader, "a form", |reader, key| {
        let offset = reader.at;
        match key {
            1 => {
                let found = name(reader, "the scheme")?;
                scheme = Some(Scheme::from_name(&found).ok_or(FormatError::Value {
                    offset,
                    what: "the scheme",
                    found: format!("`{found}`, which is not known"),
                })?);
            }
            2 => {
                let bytes = reader.bytes("the instructions", MAX_BLOB)?;
                if bytes.is_empty() || !bytes.len().is_multiple_of(8) {
                    return Err(FormatError::Value {
                        offset,
                        what: "the length of the instructions",
                        found: format!("{} bytes, no whole instructions", bytes.len()),
                    });
                }
                instructions = Some(bytes.to_vec());
            }
            3 => signature = Some(reader.bytes("the signature", MAX_SIGNATURE)?.to_vec()),
            4 => excl_prog_hash = Some(digest(reader, "excl_prog_hash")?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let seal = match (scheme, signature, excl_prog_hash) {
        (Some(scheme), Some(signature), Some(excl_prog_hash)) => Some(Seal {
            scheme,
            signature,
            excl_prog_hash,
        }),
        (None, None, None) => None,
        _ => {
            return Err(FormatError::Value {
                offset: start,
                what: "a form",
                found: "half signed: scheme, signature and digest go together".to_owned(),
            });
        }
    };
    Ok((instructions, seal))
}

/// How many fields [`write_statements`] writes.
pub(crate) fn statement_count(certificates: &[Vec<u8>], provenance: Option<&Provenance>) -> u64 {
    u64::from(!certificates.is_empty()) + u64::from(provenance.is_some())
}

/// Writes what comes last in a file, where there is any of it.
pub(crate) fn write_statements(
    out: &mut Writer,
    certificates: &[Vec<u8>],
    provenance: Option<&Provenance>,
) {
    if !certificates.is_empty() {
        out.number(key::CERTIFICATES).array(certificates.len());
        for certificate in certificates {
            out.bytes(certificate);
        }
    }
    if let Some(provenance) = provenance {
        out.number(key::PROVENANCE).map(3);
        out.number(1).text(&provenance.tool);
        for (key, lines) in [(2, &provenance.options), (3, &provenance.host)] {
            out.number(key).array(lines.len());
            for line in lines {
                out.text(line);
            }
        }
    }
}

pub(crate) fn certificates(reader: &mut Reader<'_>) -> Result<Vec<Vec<u8>>, FormatError> {
    let count = reader.array("the list of certificates", MAX_CERTIFICATES)?;
    let mut all = Vec::new();
    for _ in 0..count {
        all.push(reader.bytes("a certificate", MAX_CERTIFICATE)?.to_vec());
    }
    Ok(all)
}

pub(crate) fn provenance(reader: &mut Reader<'_>) -> Result<Provenance, FormatError> {
    let mut provenance = Provenance::default();
    fields(reader, "the provenance", |reader, key| {
        match key {
            1 => provenance.tool = name(reader, "the tool")?,
            2 => provenance.options = lines(reader, "the options")?,
            3 => provenance.host = lines(reader, "what was taken from the host")?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(provenance)
}

fn lines(reader: &mut Reader<'_>, what: &'static str) -> Result<Vec<String>, FormatError> {
    let count = reader.array(what, MAX_LINES)?;
    (0..count).map(|_| name(reader, what)).collect()
}
