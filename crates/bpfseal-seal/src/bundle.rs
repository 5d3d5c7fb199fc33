//! Bundles (`.bpfseal`): one file for every kernel.
//!
//! CBOR, deterministically encoded (RFC 8949, section 4.2): the same bundle is always the same
//! bytes, and bytes that are not of that form are refused. The schema is in `docs/format.md`.
//! Heads of items are read and written here: the libraries of the field take encodings that are
//! not deterministic, and do not say so.

use std::borrow::Cow;

use crate::artifact::{Artifact, LoaderForm};
use crate::scheme::Scheme;
use crate::seal::Seal;
use bpfseal_loader::{AutoAttach, Interface, ProgramInterface};
use bpfseal_object::Endian;

/// A bundle begins with this: the tag of CBOR for "this is CBOR", which no text begins with.
pub(crate) const MAGIC: [u8; 3] = [0xd9, 0xd9, 0xf7];
const SELF_DESCRIBED: u64 = 55799;
/// Version of the format.
const VERSION: u64 = 1;
/// Keys from here on may be passed over by who does not know them; below, they may not.
const OPTIONAL: u64 = 1000;

/// Most bytes of a name.
const MAX_NAME: usize = 1024;
/// Most maps that a loader has.
const MAX_MAPS: u64 = 64;
/// Most programs, those that are not loaded included.
const MAX_PROGRAMS: u64 = 4096;
/// Most bytes of instructions, and of metadata: what a kernel verifies is less.
const MAX_BLOB: usize = 64 << 20;
/// Most bytes of a signature: what a kernel takes.
const MAX_SIGNATURE: usize = 8192;
/// Most certificates, and bytes of one.
const MAX_CERTIFICATES: u64 = 32;
const MAX_CERTIFICATE: usize = 64 << 10;
/// Most lines of a statement of provenance.
const MAX_LINES: u64 = 256;

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

/// Why bytes are no bundle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields are what the message names")]
pub enum BundleError {
    /// Not CBOR, or not of the types that belong there.
    #[error("byte {offset}: {reason}")]
    Malformed { offset: usize, reason: String },
    /// Another version.
    #[error("the bundle is of version {found}, this is for version {VERSION}")]
    Version { found: u64 },
    /// Something that may not be passed over.
    #[error("byte {offset}: field {key} of {what} is not known, and may not be passed over")]
    UnknownField {
        offset: usize,
        what: &'static str,
        key: u64,
    },
    /// Something that has to be there.
    #[error("the bundle has no {what}")]
    Missing { what: &'static str },
    /// Longer than it may be.
    #[error("byte {offset}: {what} has {found}, at most {limit} are taken")]
    TooLong {
        offset: usize,
        what: &'static str,
        found: u64,
        limit: u64,
    },
    /// A value that there is not.
    #[error("byte {offset}: {what} is {found}")]
    Value {
        offset: usize,
        what: &'static str,
        found: String,
    },
    /// Not in the one form that a bundle has.
    #[error("byte {offset}: the encoding is not deterministic (RFC 8949, section 4.2)")]
    NotDeterministic { offset: usize },
}

/// Types of items, as the three upper bits of their first byte.
mod major {
    pub(super) const NUMBER: u8 = 0;
    pub(super) const BYTES: u8 = 2;
    pub(super) const TEXT: u8 = 3;
    pub(super) const ARRAY: u8 = 4;
    pub(super) const MAP: u8 = 5;
    pub(super) const TAG: u8 = 6;
    pub(super) const SIMPLE: u8 = 7;
}

/// `false` and `true`, as simple values.
const FALSE: u64 = 20;
const TRUE: u64 = 21;

/// Writes items, each head as short as it can be.
#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn head(&mut self, major: u8, value: u64) -> &mut Self {
        let first = major << 5;
        // Each width holds what the one before it does not.
        if let Ok(byte) = u8::try_from(value) {
            if byte < 24 {
                self.0.push(first | byte);
            } else {
                self.0.extend([first | 24, byte]);
            }
        } else if let Ok(short) = u16::try_from(value) {
            self.0.push(first | 25);
            self.0.extend(short.to_be_bytes());
        } else if let Ok(word) = u32::try_from(value) {
            self.0.push(first | 26);
            self.0.extend(word.to_be_bytes());
        } else {
            self.0.push(first | 27);
            self.0.extend(value.to_be_bytes());
        }
        self
    }

    fn number(&mut self, value: u64) -> &mut Self {
        self.head(major::NUMBER, value)
    }

    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.head(major::BYTES, bytes.len() as u64);
        self.0.extend(bytes);
        self
    }

    fn text(&mut self, text: &str) -> &mut Self {
        self.head(major::TEXT, text.len() as u64);
        self.0.extend(text.as_bytes());
        self
    }

    fn array(&mut self, len: usize) -> &mut Self {
        self.head(major::ARRAY, len as u64)
    }

    fn map(&mut self, len: u64) -> &mut Self {
        self.head(major::MAP, len)
    }

    fn form(&mut self, form: &LoaderForm) {
        match form {
            LoaderForm::Sealed { instructions, seal } => {
                self.map(4);
                self.number(1).text(seal.scheme.name());
                self.number(2).bytes(instructions);
                self.number(3).bytes(&seal.signature);
                self.number(4).bytes(&seal.excl_prog_hash);
            }
            LoaderForm::Unsigned { instructions } => {
                self.map(1).number(2).bytes(instructions);
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
        out.number(key::ENDIAN).number(match self.endian {
            Endian::Little => 0,
            Endian::Big => 1,
        });
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
        if !self.certificates.is_empty() {
            out.number(key::CERTIFICATES).array(self.certificates.len());
            for certificate in &self.certificates {
                out.bytes(certificate);
            }
        }
        if let Some(provenance) = &self.provenance {
            out.number(key::PROVENANCE).map(3);
            out.number(1).text(&provenance.tool);
            for (key, lines) in [(2, &provenance.options), (3, &provenance.host)] {
                out.number(key).array(lines.len());
                for line in lines {
                    out.text(line);
                }
            }
        }
        out.0
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`BundleError`] that names the byte.
    pub fn decode(bytes: &[u8]) -> Result<Self, BundleError> {
        let mut reader = Reader { bytes, at: 0 };
        let bundle = reader.bundle()?;
        let end = reader.at;
        if end != bytes.len() {
            return Err(BundleError::Malformed {
                offset: end,
                reason: "there is more behind the bundle".to_owned(),
            });
        }
        Ok(bundle)
    }
}

/// Reads what [`Bundle::encode`] writes, and nothing else.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// The head of an item: the number in it. It has to be as short as it can be.
    fn head(&mut self, wanted: u8, what: &'static str) -> Result<u64, BundleError> {
        let offset = self.at;
        let input = self.bytes;
        let Some(first) = input.get(offset) else {
            return Err(BundleError::Malformed {
                offset,
                reason: format!("the bundle ends where {what} should be"),
            });
        };
        if first >> 5 != wanted {
            return Err(BundleError::Malformed {
                offset,
                reason: format!("{what} is of another type"),
            });
        }
        let (len, least) = match first & 0x1f {
            small @ 0..24 => {
                self.at = offset + 1;
                return Ok(u64::from(small));
            }
            24 => (1, 24),
            25 => (2, 1 << 8),
            26 => (4, 1 << 16),
            27 => (8, 1 << 32),
            _ => return Err(BundleError::NotDeterministic { offset }),
        };
        let Some(bytes) = input.get(offset + 1..offset + 1 + len) else {
            return Err(BundleError::Malformed {
                offset,
                reason: format!("the bundle ends inside of {what}"),
            });
        };
        let value = bytes
            .iter()
            .fold(0, |value: u64, byte| value << 8 | u64::from(*byte));
        if value < least {
            return Err(BundleError::NotDeterministic { offset });
        }
        self.at = offset + 1 + len;
        Ok(value)
    }

    fn number(&mut self, what: &'static str) -> Result<u64, BundleError> {
        self.head(major::NUMBER, what)
    }

    /// Bytes or text, of which `limit` are taken.
    fn blob(
        &mut self,
        major: u8,
        what: &'static str,
        limit: usize,
    ) -> Result<&'a [u8], BundleError> {
        let offset = self.at;
        let found = self.head(major, what)?;
        let len = usize::try_from(found).unwrap_or(usize::MAX);
        if len > limit {
            return Err(BundleError::TooLong {
                offset,
                what,
                found,
                limit: limit as u64,
            });
        }
        let start = self.at;
        let bytes = self.bytes.get(start..start + len);
        let Some(bytes) = bytes else {
            return Err(BundleError::Malformed {
                offset,
                reason: format!("the bundle ends inside of {what}"),
            });
        };
        self.at = start + len;
        Ok(bytes)
    }

    fn bytes(&mut self, what: &'static str, limit: usize) -> Result<&'a [u8], BundleError> {
        self.blob(major::BYTES, what, limit)
    }

    fn text(&mut self, what: &'static str) -> Result<String, BundleError> {
        let offset = self.at;
        let bytes = self.blob(major::TEXT, what, MAX_NAME)?;
        let text = std::str::from_utf8(bytes).map_err(|_| BundleError::Malformed {
            offset,
            reason: format!("{what} is not text"),
        })?;
        Ok(text.to_owned())
    }

    /// The count of an array's elements.
    fn array(&mut self, what: &'static str, limit: u64) -> Result<u64, BundleError> {
        let offset = self.at;
        let found = self.head(major::ARRAY, what)?;
        if found > limit {
            return Err(BundleError::TooLong {
                offset,
                what,
                found,
                limit,
            });
        }
        Ok(found)
    }

    /// The fields of a map, in ascending order of their keys.
    fn fields(
        &mut self,
        what: &'static str,
        mut each: impl FnMut(&mut Self, u64) -> Result<bool, BundleError>,
    ) -> Result<(), BundleError> {
        let count = self.head(major::MAP, what)?;
        let mut last = None;
        for _ in 0..count {
            let offset = self.at;
            let key = self.number("a field's key")?;
            if last.is_some_and(|last| key <= last) {
                return Err(BundleError::NotDeterministic { offset });
            }
            last = Some(key);
            if each(self, key)? {
                continue;
            }
            if key < OPTIONAL {
                return Err(BundleError::UnknownField { offset, what, key });
            }
            self.skip()?;
        }
        Ok(())
    }

    /// Passes over one item, with what is in it. Every step takes at least a byte.
    fn skip(&mut self) -> Result<(), BundleError> {
        const WHAT: &str = "a field that is not known";
        let mut items: u64 = 1;
        while items > 0 {
            items -= 1;
            let first = self.bytes.get(self.at).copied().unwrap_or(0xff);
            let major = first >> 5;
            if major == major::SIMPLE {
                // Simple values and floating-point numbers: no shortest form is asked for.
                self.at += match first & 0x1f {
                    ..24 => 1,
                    24 => 2,
                    25 => 3,
                    26 => 5,
                    27 => 9,
                    _ => return Err(BundleError::NotDeterministic { offset: self.at }),
                };
                if self.at > self.bytes.len() {
                    return Err(BundleError::Malformed {
                        offset: self.bytes.len(),
                        reason: format!("the bundle ends inside of {WHAT}"),
                    });
                }
                continue;
            }
            if matches!(major, major::BYTES | major::TEXT) {
                self.blob(major, WHAT, MAX_BLOB)?;
                continue;
            }
            let value = self.head(major, WHAT)?;
            let inside = match major {
                major::ARRAY => value,
                major::MAP => value.saturating_mul(2),
                major::TAG => 1,
                _ => 0,
            };
            items = items.saturating_add(inside);
        }
        Ok(())
    }

    fn digest(&mut self, what: &'static str) -> Result<[u8; 32], BundleError> {
        let offset = self.at;
        let bytes = self.bytes(what, 32)?;
        bytes.try_into().map_err(|_| BundleError::Value {
            offset,
            what,
            found: format!("{} bytes long, not 32", bytes.len()),
        })
    }

    fn bundle(&mut self) -> Result<Bundle, BundleError> {
        let offset = self.at;
        if self.head(major::TAG, "the tag of a bundle")? != SELF_DESCRIBED {
            return Err(BundleError::Value {
                offset,
                what: "the tag",
                found: "not that of a bundle".to_owned(),
            });
        }
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
            let offset = reader.at;
            match key {
                key::VERSION => {
                    let found = reader.number("the version")?;
                    if found != VERSION {
                        return Err(BundleError::Version { found });
                    }
                    version = Some(found);
                }
                key::NAME => name = Some(reader.text("the name")?),
                key::ENDIAN => {
                    endian = Some(match reader.number("the byte order")? {
                        0 => Endian::Little,
                        1 => Endian::Big,
                        other => {
                            return Err(BundleError::Value {
                                offset,
                                what: "the byte order",
                                found: other.to_string(),
                            });
                        }
                    });
                }
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
                key::CERTIFICATES => {
                    for _ in 0..reader.array("the list of certificates", MAX_CERTIFICATES)? {
                        let der = reader.bytes("a certificate", MAX_CERTIFICATE)?;
                        certificates.push(der.to_vec());
                    }
                }
                key::PROVENANCE => provenance = Some(reader.provenance()?),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        let missing = |what| BundleError::Missing { what };
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

    fn form(&mut self) -> Result<LoaderForm, BundleError> {
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
                    scheme = Some(Scheme::from_name(&found).ok_or(BundleError::Value {
                        offset,
                        what: "the scheme",
                        found: format!("`{found}`, which is not known"),
                    })?);
                }
                2 => {
                    let bytes = reader.bytes("the instructions", MAX_BLOB)?;
                    if bytes.is_empty() || !bytes.len().is_multiple_of(8) {
                        return Err(BundleError::Value {
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
        let instructions = Cow::Owned(instructions.ok_or(BundleError::Missing {
            what: "instructions in a form",
        })?);
        match (scheme, signature, excl_prog_hash) {
            (Some(scheme), Some(signature), Some(excl_prog_hash)) => Ok(LoaderForm::Sealed {
                instructions,
                seal: Seal {
                    scheme,
                    signature: Cow::Owned(signature),
                    excl_prog_hash,
                },
            }),
            (None, None, None) => Ok(LoaderForm::Unsigned { instructions }),
            _ => Err(BundleError::Value {
                offset: start,
                what: "a form",
                found: "half signed: scheme, signature and digest go together".to_owned(),
            }),
        }
    }

    fn program(&mut self) -> Result<ProgramInterface, BundleError> {
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
                            return Err(BundleError::Value {
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
                            return Err(BundleError::Value {
                                offset,
                                what: WHAT,
                                found: format!("{other}, neither true nor false"),
                            });
                        }
                    });
                }
                4 => {
                    let found = reader.number("an attach type")?;
                    let number = u32::try_from(found).map_err(|_| BundleError::Value {
                        offset,
                        what: "an attach type",
                        found: found.to_string(),
                    })?;
                    attach_type = Some(number);
                }
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(ProgramInterface {
            name: Cow::Owned(name.ok_or(BundleError::Missing {
                what: "name of a program",
            })?),
            autoload,
            attach,
            attach_type,
        })
    }

    fn provenance(&mut self) -> Result<Provenance, BundleError> {
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

    fn lines(&mut self, what: &'static str) -> Result<Vec<String>, BundleError> {
        let count = self.array(what, MAX_LINES)?;
        (0..count).map(|_| self.text(what)).collect()
    }
}
