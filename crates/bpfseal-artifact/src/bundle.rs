//! Bundles (`.bpfseal`): one file for every kernel.
//!
//! CBOR, deterministically encoded (RFC 8949, section 4.2): the same bundle is always the same
//! bytes, and bytes that are not of that form are refused. The schema is in `docs/format.md`.

use std::borrow::Cow;

use bpfseal_object::Endian;
use bpfseal_seal::{Scheme, Seal};
use bpfseal_uapi::limits::MAX_SIGNATURE;

use crate::artifact::{Artifact, LoaderForm};
use crate::cbor::{
    CborError, FALSE, MAX_BLOB, OPTIONAL, Reader, SELF_DESCRIBED, TRUE, Writer, major,
};
use crate::interface::{AutoAttach, Interface, ProgramInterface};

/// Version of the format.
pub(crate) const VERSION: u64 = 1;

/// Most maps that a loader has.
const MAX_MAPS: u64 = 64;
/// Most programs, those that are not loaded included.
const MAX_PROGRAMS: u64 = 4096;
/// Most certificates, and bytes of one.
const MAX_CERTIFICATES: u64 = 32;
const MAX_CERTIFICATE: usize = 64 << 10;

/// Keys of the outer map.
mod key {
    pub(super) const VERSION: u64 = 1;
    pub(super) const NAME: u64 = 2;
    pub(super) const ENDIAN: u64 = 3;
    pub(super) const METADATA: u64 = 4;
    pub(super) const FORMS: u64 = 5;
    pub(super) const MAPS: u64 = 6;
    pub(super) const PROGRAMS: u64 = 7;
    pub(super) const OBJECT_DIGEST: u64 = super::OPTIONAL;
    pub(super) const CERTIFICATES: u64 = super::OPTIONAL + 1;
    pub(super) const PROVENANCE: u64 = super::OPTIONAL + 2;
}

/// An artifact with where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// What is loaded.
    pub artifact: Artifact,
    /// Byte order of the machines that it is for.
    pub endian: Endian,
    /// SHA-256 of the object that it was made of.
    pub object_digest: Option<[u8; 32]>,
    /// Certificates in DER, for who verifies: nobody trusts them for being here.
    pub certificates: Vec<Vec<u8>>,
    /// How it was made. Not signed: a statement, no proof.
    pub provenance: Option<Provenance>,
}

/// How a bundle was made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Provenance {
    /// Tool and version.
    pub tool: String,
    /// Options that it was given.
    pub options: Vec<String>,
    /// What it took from its host.
    pub host: Vec<String>,
}

impl Writer {
    fn form(&mut self, form: &LoaderForm) {
        match form {
            LoaderForm::Sealed { instructions, seal } => self.seal(seal, Some(instructions)),
            LoaderForm::Unsigned { instructions } => {
                self.map(1).number(2).bytes(instructions);
            }
        }
    }

    /// A seal, with the instructions that it is for or without them.
    pub(crate) fn seal(&mut self, seal: &Seal, instructions: Option<&[u8]>) {
        self.map(3 + u64::from(instructions.is_some()));
        self.number(1).text(seal.scheme.name());
        if let Some(instructions) = instructions {
            self.number(2).bytes(instructions);
        }
        self.number(3).bytes(&seal.signature);
        self.number(4).bytes(&seal.excl_prog_hash);
    }

    pub(crate) fn endian(&mut self, endian: Endian) {
        self.number(match endian {
            Endian::Little => 0,
            Endian::Big => 1,
        });
    }

    /// What comes last in a file, where there is any of it.
    pub(crate) fn statements(&mut self, certificates: &[Vec<u8>], provenance: Option<&Provenance>) {
        if !certificates.is_empty() {
            self.number(key::CERTIFICATES).array(certificates.len());
            for certificate in certificates {
                self.bytes(certificate);
            }
        }
        if let Some(provenance) = provenance {
            self.number(key::PROVENANCE).map(3);
            self.number(1).text(&provenance.tool);
            for (key, lines) in [(2, &provenance.options), (3, &provenance.host)] {
                self.number(key).array(lines.len());
                for line in lines {
                    self.text(line);
                }
            }
        }
    }

    fn program(&mut self, program: &ProgramInterface) {
        let fields =
            2 + u64::from(program.autoload.is_some()) + u64::from(program.attach_type.is_some());
        self.map(fields);
        self.number(1).text(&program.name);
        self.number(2);
        match &program.attach {
            AutoAttach::Manual => self.array(1).number(0),
            AutoAttach::RawTracepoint(name) => self.array(2).number(1).text(name),
            AutoAttach::Target => self.array(1).number(2),
            AutoAttach::Iterator => self.array(1).number(3),
        };
        if let Some(autoload) = program.autoload {
            let value = if autoload { TRUE } else { FALSE };
            self.number(3).head(major::SIMPLE, value);
        }
        if let Some(attach_type) = program.attach_type {
            self.number(4).number(u64::from(attach_type));
        }
    }
}

impl Bundle {
    /// The bytes of the file.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let artifact = &self.artifact;
        let interface = &artifact.interface;
        let fields = 7
            + u64::from(self.object_digest.is_some())
            + u64::from(!self.certificates.is_empty())
            + u64::from(self.provenance.is_some());
        let mut out = Writer::default();
        out.head(major::TAG, SELF_DESCRIBED).map(fields);
        out.number(key::VERSION).number(VERSION);
        out.number(key::NAME).text(&interface.name);
        out.number(key::ENDIAN).endian(self.endian);
        out.number(key::METADATA).bytes(&artifact.metadata);
        out.number(key::FORMS).array(artifact.forms.len());
        artifact.forms.iter().for_each(|form| out.form(form));
        out.number(key::MAPS).array(interface.maps.len());
        for map in interface.maps.iter() {
            out.text(map);
        }
        out.number(key::PROGRAMS).array(interface.programs.len());
        interface.programs.iter().for_each(|p| out.program(p));
        if let Some(digest) = &self.object_digest {
            out.number(key::OBJECT_DIGEST).bytes(digest);
        }
        out.statements(&self.certificates, self.provenance.as_ref());
        out.0
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`CborError`] that names the byte.
    pub fn decode(bytes: &[u8]) -> Result<Self, CborError> {
        let mut reader = Reader::of_file(bytes)?;
        let bundle = reader.bundle()?;
        reader.end()?;
        Ok(bundle)
    }
}

impl Reader<'_> {
    fn bundle(&mut self) -> Result<Bundle, CborError> {
        let mut version = None;
        let mut name = None;
        let mut endian = None;
        let mut metadata = None;
        let mut forms = Vec::new();
        let mut maps = Vec::new();
        let mut programs = Vec::new();
        let mut object_digest = None;
        let mut certificates = Vec::new();
        let mut provenance = None;
        self.fields("the bundle", |reader, key| {
            match key {
                key::VERSION => version = Some(reader.version()?),
                key::NAME => name = Some(reader.text("the name")?),
                key::ENDIAN => endian = Some(reader.endian()?),
                key::METADATA => {
                    metadata = Some(reader.bytes("the metadata", MAX_BLOB)?.to_vec());
                }
                key::FORMS => {
                    let count = reader.array("the list of forms", Scheme::ALL.len() as u64 + 1)?;
                    for _ in 0..count {
                        forms.push(reader.form()?);
                    }
                }
                key::MAPS => {
                    for _ in 0..reader.array("the list of maps", MAX_MAPS)? {
                        maps.push(Cow::Owned(reader.text("a map's name")?));
                    }
                }
                key::PROGRAMS => {
                    for _ in 0..reader.array("the list of programs", MAX_PROGRAMS)? {
                        programs.push(reader.program()?);
                    }
                }
                key::OBJECT_DIGEST => object_digest = Some(reader.digest("the object's digest")?),
                key::CERTIFICATES => certificates = reader.certificates()?,
                key::PROVENANCE => provenance = Some(reader.provenance()?),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        let missing = |what| CborError::Missing { what };
        version.ok_or(missing("version"))?;
        if forms.is_empty() {
            return Err(missing("form of the loader"));
        }
        Ok(Bundle {
            artifact: Artifact {
                interface: Interface {
                    name: Cow::Owned(name.ok_or(missing("name"))?),
                    maps: Cow::Owned(maps),
                    programs: Cow::Owned(programs),
                },
                metadata: Cow::Owned(metadata.ok_or(missing("metadata"))?),
                forms: Cow::Owned(forms),
            },
            endian: endian.ok_or(missing("byte order"))?,
            object_digest,
            certificates,
            provenance,
        })
    }

    pub(crate) fn version(&mut self) -> Result<u64, CborError> {
        let found = self.number("the version")?;
        if found != VERSION {
            return Err(CborError::Version {
                found,
                known: VERSION,
            });
        }
        Ok(found)
    }

    pub(crate) fn endian(&mut self) -> Result<Endian, CborError> {
        let offset = self.at;
        match self.number("the byte order")? {
            0 => Ok(Endian::Little),
            1 => Ok(Endian::Big),
            other => Err(CborError::Value {
                offset,
                what: "the byte order",
                found: other.to_string(),
            }),
        }
    }

    pub(crate) fn certificates(&mut self) -> Result<Vec<Vec<u8>>, CborError> {
        let count = self.array("the list of certificates", MAX_CERTIFICATES)?;
        let mut all = Vec::new();
        for _ in 0..count {
            all.push(self.bytes("a certificate", MAX_CERTIFICATE)?.to_vec());
        }
        Ok(all)
    }

    fn form(&mut self) -> Result<LoaderForm, CborError> {
        let (instructions, seal) = self.seal()?;
        let instructions = Cow::Owned(instructions.ok_or(CborError::Missing {
            what: "instructions in a form",
        })?);
        Ok(match seal {
            Some(seal) => LoaderForm::Sealed { instructions, seal },
            None => LoaderForm::Unsigned { instructions },
        })
    }

    /// A seal and instructions, as far as they are there.
    pub(crate) fn seal(&mut self) -> Result<(Option<Vec<u8>>, Option<Seal>), CborError> {
        let start = self.at;
        let mut scheme = None;
        let mut instructions = None;
        let mut signature = None;
        let mut excl_prog_hash = None;
        self.fields("a form", |reader, key| {
            let offset = reader.at;
            match key {
                1 => {
                    let found = reader.text("the scheme")?;
                    scheme = Some(Scheme::from_name(&found).ok_or(CborError::Value {
                        offset,
                        what: "the scheme",
                        found: format!("`{found}`, which is not known"),
                    })?);
                }
                2 => {
                    let bytes = reader.bytes("the instructions", MAX_BLOB)?;
                    if bytes.is_empty() || !bytes.len().is_multiple_of(8) {
                        return Err(CborError::Value {
                            offset,
                            what: "the length of the instructions",
                            found: format!("{} bytes, no whole instructions", bytes.len()),
                        });
                    }
                    instructions = Some(bytes.to_vec());
                }
                3 => signature = Some(reader.bytes("the signature", MAX_SIGNATURE)?.to_vec()),
                4 => excl_prog_hash = Some(reader.digest("excl_prog_hash")?),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        let seal = match (scheme, signature, excl_prog_hash) {
            (Some(scheme), Some(signature), Some(excl_prog_hash)) => Some(Seal {
                scheme,
                signature: Cow::Owned(signature),
                excl_prog_hash,
            }),
            (None, None, None) => None,
            _ => {
                return Err(CborError::Value {
                    offset: start,
                    what: "a form",
                    found: "half signed: scheme, signature and digest go together".to_owned(),
                });
            }
        };
        Ok((instructions, seal))
    }

    fn program(&mut self) -> Result<ProgramInterface, CborError> {
        let mut name = None;
        let mut autoload = None;
        let mut attach = AutoAttach::Manual;
        let mut attach_type = None;
        self.fields("a program", |reader, key| {
            let offset = reader.at;
            match key {
                1 => name = Some(reader.text("a program's name")?),
                2 => {
                    let count = reader.array("how a program is attached", 2)?;
                    let kind = if count > 0 {
                        reader.number("how a program is attached")?
                    } else {
                        u64::MAX
                    };
                    attach = match (kind, count) {
                        (0, 1) => AutoAttach::Manual,
                        (1, 2) => AutoAttach::RawTracepoint(Cow::Owned(
                            reader.text("the name of a raw tracepoint")?,
                        )),
                        (2, 1) => AutoAttach::Target,
                        (3, 1) => AutoAttach::Iterator,
                        _ => {
                            return Err(CborError::Value {
                                offset,
                                what: "how a program is attached",
                                found: "not known".to_owned(),
                            });
                        }
                    };
                }
                3 => {
                    const WHAT: &str = "whether a program is loaded";
                    autoload = Some(match reader.head(major::SIMPLE, WHAT)? {
                        FALSE => false,
                        TRUE => true,
                        other => {
                            return Err(CborError::Value {
                                offset,
                                what: WHAT,
                                found: format!("{other}, neither true nor false"),
                            });
                        }
                    });
                }
                4 => attach_type = Some(reader.word("an attach type")?),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(ProgramInterface {
            name: Cow::Owned(name.ok_or(CborError::Missing {
                what: "name of a program",
            })?),
            autoload,
            attach,
            attach_type,
        })
    }

    pub(crate) fn provenance(&mut self) -> Result<Provenance, CborError> {
        let mut provenance = Provenance::default();
        self.fields("the provenance", |reader, key| {
            match key {
                1 => provenance.tool = reader.text("the tool")?,
                2 => provenance.options = reader.lines("the options")?,
                3 => provenance.host = reader.lines("what was taken from the host")?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(provenance)
    }
}
