//! Bundles (`.bpfseal`): one file for every kernel.
//!
//! CBOR, deterministically encoded (RFC 8949, section 4.2): the same bundle is always the same
//! bytes, and bytes that are not of that form are refused. The schema is in `docs/format.md`.

use bpfseal_seal::Scheme;

use crate::artifact::Artifact;
use crate::cbor::{Reader, Writer};
use crate::grammar::{self, FormatError, MAX_BLOB, Provenance, digest, fields, name, word};
use crate::interface::{AutoAttach, Interface, ProgramInterface};

/// Most maps that a loader has.
const MAX_MAPS: u64 = 64;
/// Most programs, those that are not loaded included.
const MAX_PROGRAMS: u64 = 4096;

/// Keys of the outer map.
mod key {
    pub(super) use crate::grammar::key::{CERTIFICATES, ENDIAN, NAME, PROVENANCE, VERSION};

    pub(super) const METADATA: u64 = 4;
    pub(super) const FORMS: u64 = 5;
    pub(super) const MAPS: u64 = 6;
    pub(super) const PROGRAMS: u64 = 7;
    pub(super) const OBJECT_DIGEST: u64 = crate::grammar::OPTIONAL;
}

/// An artifact with where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// What is loaded.
    pub artifact: Artifact,
    /// SHA-256 of the object that it was made of.
    pub object_digest: Option<[u8; 32]>,
    /// Certificates in DER, for verifiers: being here makes none of them trusted.
    pub certificates: Vec<Vec<u8>>,
    /// How it was made. Not signed: a statement, no proof.
    pub provenance: Option<Provenance>,
}

impl From<Artifact> for Bundle {
    /// An artifact about whose origin nothing is said.
    fn from(artifact: Artifact) -> Self {
        Self {
            artifact,
            object_digest: None,
            certificates: Vec::new(),
            provenance: None,
        }
    }
}

impl Bundle {
    /// The bytes of the file.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let artifact = &self.artifact;
        let interface = &artifact.interface;
        let provenance = self.provenance.as_ref();
        let mut out = grammar::begin(
            7 + u64::from(self.object_digest.is_some())
                + grammar::statement_count(&self.certificates, provenance),
        );
        grammar::write_head(&mut out, &interface.name, artifact.endian);
        out.number(key::METADATA).bytes(&artifact.metadata);
        out.number(key::FORMS).array(artifact.forms.len());
        for form in &artifact.forms {
            grammar::write_form(&mut out, form);
        }
        out.number(key::MAPS).array(interface.maps.len());
        for map in &interface.maps {
            out.text(map);
        }
        out.number(key::PROGRAMS).array(interface.programs.len());
        for program in &interface.programs {
            write_program(&mut out, program);
        }
        if let Some(digest) = &self.object_digest {
            out.number(key::OBJECT_DIGEST).bytes(digest);
        }
        grammar::write_statements(&mut out, &self.certificates, provenance);
        out.0
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`FormatError`] that names the byte.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut reader = grammar::open(bytes)?;
        let bundle = bundle(&mut reader)?;
        reader.end()?;
        Ok(bundle)
    }
}

fn bundle(reader: &mut Reader<'_>) -> Result<Bundle, FormatError> {
    let mut version = None;
    let mut object = None;
    let mut endian = None;
    let mut metadata = None;
    let mut forms = Vec::new();
    let mut maps = Vec::new();
    let mut programs = Vec::new();
    let mut object_digest = None;
    let mut certificates = Vec::new();
    let mut provenance = None;
    fields(reader, "the bundle", |reader, key| {
        match key {
            key::VERSION => version = Some(grammar::version(reader)?),
            key::NAME => object = Some(name(reader, "the name")?),
            key::ENDIAN => endian = Some(grammar::endian(reader)?),
            key::METADATA => metadata = Some(reader.bytes("the metadata", MAX_BLOB)?.to_vec()),
            key::FORMS => {
                let count = reader.array("the list of forms", Scheme::ALL.len() as u64 + 1)?;
                for _ in 0..count {
                    forms.push(grammar::form(reader)?);
                }
            }
            key::MAPS => {
                for _ in 0..reader.array("the list of maps", MAX_MAPS)? {
                    maps.push(name(reader, "a map's name")?);
                }
            }
            key::PROGRAMS => {
                for _ in 0..reader.array("the list of programs", MAX_PROGRAMS)? {
                    programs.push(program(reader)?);
                }
            }
            key::OBJECT_DIGEST => object_digest = Some(digest(reader, "the object's digest")?),
            key::CERTIFICATES => certificates = grammar::certificates(reader)?,
            key::PROVENANCE => provenance = Some(grammar::provenance(reader)?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let missing = |what| FormatError::Missing { what };
    version.ok_or(missing("version"))?;
    if forms.is_empty() {
        return Err(missing("form of the loader"));
    }
    Ok(Bundle {
        artifact: Artifact {
            interface: Interface {
                name: object.ok_or(missing("name"))?,
                maps,
                programs,
            },
            metadata: metadata.ok_or(missing("metadata"))?,
            forms,
            endian: endian.ok_or(missing("byte order"))?,
        },
        object_digest,
        certificates,
        provenance,
    })
}

fn write_program(out: &mut Writer, program: &ProgramInterface) {
    let fields =
        2 + u64::from(program.autoload.is_some()) + u64::from(program.attach_type.is_some());
    out.map(fields);
    out.number(1).text(&program.name);
    out.number(2);
    match &program.attach {
        AutoAttach::Manual => out.array(1).number(0),
        AutoAttach::RawTracepoint(name) => out.array(2).number(1).text(name),
        AutoAttach::Target => out.array(1).number(2),
        AutoAttach::Iterator => out.array(1).number(3),
    };
    if let Some(autoload) = program.autoload {
        out.number(3).boolean(autoload);
    }
    if let Some(attach_type) = program.attach_type {
        out.number(4).number(u64::from(attach_type));
    }
}

fn program(reader: &mut Reader<'_>) -> Result<ProgramInterface, FormatError> {
    let mut function = None;
    let mut autoload = None;
    let mut attached = AutoAttach::Manual;
    let mut attach_type = None;
    fields(reader, "a program", |reader, key| {
        let offset = reader.at;
        match key {
            1 => function = Some(name(reader, "a program's name")?),
            2 => attached = attach(reader)?,
            3 => {
                const WHAT: &str = "whether a program is loaded";
                let value = reader.boolean(WHAT)?.ok_or_else(|| FormatError::Value {
                    offset,
                    what: WHAT,
                    found: "neither true nor false".to_owned(),
                })?;
                autoload = Some(value);
            }
            4 => attach_type = Some(word(reader, "an attach type")?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(ProgramInterface {
        name: function.ok_or(FormatError::Missing {
            what: "name of a program",
        })?,
        autoload,
        attach: attached,
        attach_type,
    })
}

/// How a program is attached: a list of what it is, and of the name that goes with it.
fn attach(reader: &mut Reader<'_>) -> Result<AutoAttach, FormatError> {
    const WHAT: &str = "how a program is attached";
    let offset = reader.at;
    let count = reader.array(WHAT, 2)?;
    let kind = if count > 0 {
        reader.number(WHAT)?
    } else {
        u64::MAX
    };
    Ok(match (kind, count) {
        (0, 1) => AutoAttach::Manual,
        (1, 2) => AutoAttach::RawTracepoint(name(reader, "the name of a raw tracepoint")?),
        (2, 1) => AutoAttach::Target,
        (3, 1) => AutoAttach::Iterator,
        _ => {
            return Err(FormatError::Value {
                offset,
                what: WHAT,
                found: "not known".to_owned(),
            });
        }
    })
}
