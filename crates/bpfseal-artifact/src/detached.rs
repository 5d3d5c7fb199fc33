//! Detached seals (`.seal`): signatures beside an object that stays as it is.
//!
//! Neither instructions nor metadata: whoever has the object makes the loader again, which is the
//! same to the byte, and checks it against the signature. So that it is the same on another
//! machine, the values that it took from a host come along. CBOR like a bundle; the schema is in
//! `docs/format.md`.

use bpfseal_loader::FixedHost;
use bpfseal_object::Endian;
use bpfseal_seal::{Scheme, Seal};

use crate::cbor::{MAGIC, Reader, Writer};
use crate::grammar::{self, FormatError, Provenance, digest, fields, name, word};

/// Most bytes of a host's configuration or symbols, of which only the lines in use are kept.
const MAX_LINES: usize = 1 << 20;

/// Keys of the outer map.
mod key {
    pub(super) use crate::grammar::key::{CERTIFICATES, ENDIAN, NAME, PROVENANCE, VERSION};

    /// What a bundle does not have: it begins with it, so that neither is taken for the other.
    pub(super) const KIND: u64 = 0;
    pub(super) const SEALS: u64 = 8;
    pub(super) const OBJECT_DIGEST: u64 = 9;
    pub(super) const METADATA_DIGEST: u64 = 10;
    pub(super) const HOST: u64 = 11;
}

const KIND: &str = "seal";

/// Signatures for an object, and what it takes to make its loader again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DetachedSeal {
    /// Name of the object, which is part of its loader.
    pub name: String,
    /// Byte order of the machines that it is for.
    pub endian: Endian,
    /// The signatures, strongest scheme first.
    pub seals: Vec<Seal>,
    /// SHA-256 of the object.
    pub object_digest: [u8; 32],
    /// SHA-256 of the metadata that its loader has.
    pub metadata_digest: [u8; 32],
    /// Values that were taken from a host; of its texts the lines in use.
    pub host: FixedHost,
    /// Certificates in DER, for verifiers: being here makes none of them trusted.
    pub certificates: Vec<Vec<u8>>,
    /// How it was made. Not signed: a statement, no proof.
    pub provenance: Option<Provenance>,
}

impl DetachedSeal {
    /// Whether bytes look like a detached seal.
    #[must_use]
    pub fn is_detached(bytes: &[u8]) -> bool {
        // Tag, head of a map, its first key.
        bytes.starts_with(&MAGIC) && bytes.get(4) == Some(&0)
    }

    /// The bytes of the file.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let provenance = self.provenance.as_ref();
        let mut out = grammar::begin(8 + grammar::statement_count(&self.certificates, provenance));
        out.number(key::KIND).text(KIND);
        grammar::write_head(&mut out, &self.name, self.endian);
        out.number(key::SEALS).array(self.seals.len());
        for seal in &self.seals {
            grammar::write_seal(&mut out, seal, None);
        }
        out.number(key::OBJECT_DIGEST).bytes(&self.object_digest);
        out.number(key::METADATA_DIGEST)
            .bytes(&self.metadata_digest);
        out.number(key::HOST);
        write_host(&mut out, &self.host);
        grammar::write_statements(&mut out, &self.certificates, provenance);
        out.0
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`FormatError`] that names the byte.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut reader = grammar::open(bytes)?;
        let mut kind = None;
        let mut version = None;
        let mut object = None;
        let mut endian = None;
        let mut seals = Vec::new();
        let mut object_digest = None;
        let mut metadata_digest = None;
        let mut host = None;
        let mut certificates = Vec::new();
        let mut provenance = None;
        fields(&mut reader, "the seal", |reader, key| {
            let offset = reader.at;
            match key {
                key::KIND => {
                    let found = name(reader, "the kind of file")?;
                    if found != KIND {
                        return Err(FormatError::Value {
                            offset,
                            what: "the kind of file",
                            found: format!("`{found}`, not `{KIND}`"),
                        });
                    }
                    kind = Some(());
                }
                key::VERSION => version = Some(grammar::version(reader)?),
                key::NAME => object = Some(name(reader, "the name")?),
                key::ENDIAN => endian = Some(grammar::endian(reader)?),
                key::SEALS => {
                    for _ in 0..reader.array("the list of seals", Scheme::ALL.len() as u64)? {
                        let offset = reader.at;
                        match grammar::seal(reader)? {
                            (None, Some(seal)) => seals.push(seal),
                            _ => {
                                return Err(FormatError::Value {
                                    offset,
                                    what: "a seal",
                                    found: "not a signature alone".to_owned(),
                                });
                            }
                        }
                    }
                }
                key::OBJECT_DIGEST => object_digest = Some(digest(reader, "the object's digest")?),
                key::METADATA_DIGEST => {
                    metadata_digest = Some(digest(reader, "the metadata's digest")?);
                }
                key::HOST => host = Some(read_host(reader)?),
                key::CERTIFICATES => certificates = grammar::certificates(reader)?,
                key::PROVENANCE => provenance = Some(grammar::provenance(reader)?),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        reader.end()?;
        let missing = |what| FormatError::Missing { what };
        kind.ok_or(missing("kind"))?;
        version.ok_or(missing("version"))?;
        if seals.is_empty() {
            return Err(missing("signature"));
        }
        Ok(Self {
            name: object.ok_or(missing("name"))?,
            endian: endian.ok_or(missing("byte order"))?,
            seals,
            object_digest: object_digest.ok_or(missing("digest of the object"))?,
            metadata_digest: metadata_digest.ok_or(missing("digest of the metadata"))?,
            host: host.ok_or(missing("values of the host"))?,
            certificates,
            provenance,
        })
    }
}

fn write_host(out: &mut Writer, host: &FixedHost) {
    let numbers = [
        (1, (host.page_size != 0).then_some(host.page_size)),
        (2, host.possible_cpus),
        (3, host.kernel_version),
    ];
    let texts = [(4, &host.kconfig), (5, &host.kallsyms)];
    let fields = numbers.iter().filter(|(_, value)| value.is_some()).count()
        + texts.iter().filter(|(_, value)| value.is_some()).count();
    out.map(fields as u64);
    for (key, value) in numbers {
        if let Some(value) = value {
            out.number(key).number(u64::from(value));
        }
    }
    for (key, value) in texts {
        if let Some(value) = value {
            out.number(key).bytes(value);
        }
    }
}

fn read_host(reader: &mut Reader<'_>) -> Result<FixedHost, FormatError> {
    let mut host = FixedHost::default();
    fields(reader, "the values of the host", |reader, key| {
        match key {
            1 => {
                let offset = reader.at;
                host.page_size = word(reader, "the page size")?;
                // Zero is how it is not there.
                if !host.page_size.is_power_of_two() {
                    return Err(FormatError::Value {
                        offset,
                        what: "the page size",
                        found: host.page_size.to_string(),
                    });
                }
            }
            2 => host.possible_cpus = Some(word(reader, "the count of CPUs")?),
            3 => host.kernel_version = Some(word(reader, "the kernel's version")?),
            4 => host.kconfig = Some(reader.bytes("the configuration", MAX_LINES)?.to_vec()),
            5 => host.kallsyms = Some(reader.bytes("the symbols", MAX_LINES)?.to_vec()),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(host)
}
