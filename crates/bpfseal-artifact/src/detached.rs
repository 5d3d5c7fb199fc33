//! Detached seals (`.seal`): signatures beside an object that stays as it is.
//!
//! Neither instructions nor metadata: whoever has the object makes the loader again, which is the
//! same to the byte, and checks it against the signature. So that it is the same on another
//! machine, the values that it took from a host come along. CBOR like a bundle; the schema is in
//! `docs/format.md`.

use bpfseal_loader::FixedHost;
use bpfseal_object::Endian;
use bpfseal_seal::{Scheme, Seal};

use crate::bundle::{Provenance, VERSION};
use crate::cbor::{CborError, MAGIC, OPTIONAL, Reader, SELF_DESCRIBED, Writer, major};

/// Most bytes of a host's configuration or symbols, of which only the lines in use are kept.
const MAX_LINES: usize = 1 << 20;

/// Keys of the outer map. Those that a bundle has as well have the same numbers.
mod key {
    /// What a bundle does not have: it begins with it, so that neither is taken for the other.
    pub(super) const KIND: u64 = 0;
    pub(super) const VERSION: u64 = 1;
    pub(super) const NAME: u64 = 2;
    pub(super) const ENDIAN: u64 = 3;
    pub(super) const SEALS: u64 = 8;
    pub(super) const OBJECT_DIGEST: u64 = 9;
    pub(super) const METADATA_DIGEST: u64 = 10;
    pub(super) const HOST: u64 = 11;
    pub(super) const CERTIFICATES: u64 = super::OPTIONAL + 1;
    pub(super) const PROVENANCE: u64 = super::OPTIONAL + 2;
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
    /// Certificates in DER, for who verifies: nobody trusts them for being here.
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
        let fields =
            8 + u64::from(!self.certificates.is_empty()) + u64::from(self.provenance.is_some());
        let mut out = Writer::default();
        out.head(major::TAG, SELF_DESCRIBED).map(fields);
        out.number(key::KIND).text(KIND);
        out.number(key::VERSION).number(VERSION);
        out.number(key::NAME).text(&self.name);
        out.number(key::ENDIAN).endian(self.endian);
        out.number(key::SEALS).array(self.seals.len());
        self.seals.iter().for_each(|seal| out.seal(seal, None));
        out.number(key::OBJECT_DIGEST).bytes(&self.object_digest);
        out.number(key::METADATA_DIGEST)
            .bytes(&self.metadata_digest);
        out.number(key::HOST);
        write_host(&mut out, &self.host);
        out.statements(&self.certificates, self.provenance.as_ref());
        out.0
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`CborError`] that names the byte.
    pub fn decode(bytes: &[u8]) -> Result<Self, CborError> {
        let mut reader = Reader::of_file(bytes)?;
        let mut kind = None;
        let mut version = None;
        let mut name = None;
        let mut endian = None;
        let mut seals = Vec::new();
        let mut object_digest = None;
        let mut metadata_digest = None;
        let mut host = None;
        let mut certificates = Vec::new();
        let mut provenance = None;
        reader.fields("the seal", |reader, key| {
            let offset = reader.at;
            match key {
                key::KIND => {
                    let found = reader.text("the kind of file")?;
                    if found != KIND {
                        return Err(CborError::Value {
                            offset,
                            what: "the kind of file",
                            found: format!("`{found}`, not `{KIND}`"),
                        });
                    }
                    kind = Some(());
                }
                key::VERSION => version = Some(reader.version()?),
                key::NAME => name = Some(reader.text("the name")?),
                key::ENDIAN => endian = Some(reader.endian()?),
                key::SEALS => {
                    for _ in 0..reader.array("the list of seals", Scheme::ALL.len() as u64)? {
                        let offset = reader.at;
                        match reader.seal()? {
                            (None, Some(seal)) => seals.push(seal),
                            _ => {
                                return Err(CborError::Value {
                                    offset,
                                    what: "a seal",
                                    found: "not a signature alone".to_owned(),
                                });
                            }
                        }
                    }
                }
                key::OBJECT_DIGEST => object_digest = Some(reader.digest("the object's digest")?),
                key::METADATA_DIGEST => {
                    metadata_digest = Some(reader.digest("the metadata's digest")?);
                }
                key::HOST => host = Some(read_host(reader)?),
                key::CERTIFICATES => certificates = reader.certificates()?,
                key::PROVENANCE => provenance = Some(reader.provenance()?),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        reader.end()?;
        let missing = |what| CborError::Missing { what };
        kind.ok_or(missing("kind"))?;
        version.ok_or(missing("version"))?;
        if seals.is_empty() {
            return Err(missing("signature"));
        }
        Ok(Self {
            name: name.ok_or(missing("name"))?,
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

fn read_host(reader: &mut Reader<'_>) -> Result<FixedHost, CborError> {
    let mut host = FixedHost::default();
    reader.fields("the values of the host", |reader, key| {
        match key {
            1 => {
                let offset = reader.at;
                host.page_size = reader.word("the page size")?;
                // Zero is how it is not there.
                if !host.page_size.is_power_of_two() {
                    return Err(CborError::Value {
                        offset,
                        what: "the page size",
                        found: host.page_size.to_string(),
                    });
                }
            }
            2 => host.possible_cpus = Some(reader.word("the count of CPUs")?),
            3 => host.kernel_version = Some(reader.word("the kernel's version")?),
            4 => host.kconfig = Some(reader.bytes("the configuration", MAX_LINES)?.to_vec()),
            5 => host.kallsyms = Some(reader.bytes("the symbols", MAX_LINES)?.to_vec()),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(host)
}
