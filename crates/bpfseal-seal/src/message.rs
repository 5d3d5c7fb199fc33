//! A PKCS#7 message, read by the kernel's grammar (`crypto/asymmetric_keys/pkcs7.asn1` and
//! `pkcs7_parser.c` of Linux 7.3): what it looks at, and what it passes over.

use std::borrow::Cow;

use der::asn1::ObjectIdentifier;

use bpfseal_uapi::limits::MAX_SIGNATURE;

use crate::algorithm::{KeyKind, SignatureAlgorithm};
use crate::asn1::{Element, Found, Step, any, decode, fields, leaf, repeated};
use crate::attestation::SignerId;
use crate::ber::{BerError, INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, SEQUENCE, SET, Tlv};
use crate::certificate::Certificate;
use crate::config::KernelConfig;
use crate::digest::{DigestAlgorithm, DigestName};
use crate::hex::hex;
use crate::oid::{self, CONTENT_TYPE, DATA, MESSAGE_DIGEST, SIGNED_DATA, SIGNING_TIME};
use crate::public_key::{Signature, Signed};
use crate::rejection::Rejection;
use crate::x509::{self, OwnSignature, X509, issuer_serial_id};

/// Content of Authenticode, which the parser takes and the check does not.
const INDIRECT_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.2.1.4");
/// Attributes that only Authenticode may carry: S/MIME capabilities, the program's name and its
/// kind.
const AUTHENTICODE: [ObjectIdentifier; 3] = [
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.15"),
    ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.2.1.12"),
    ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.2.1.11"),
];

/// What the grammar takes notes of.
#[derive(Debug, Clone, Copy)]
enum Note {
    Attribute,
    Attributes,
    Certificate,
    Certificates,
    ContentInfo,
    ContentType,
    Data,
    DigestAlgorithm,
    Issuer,
    KeyId,
    Oid,
    Serial,
    Signature,
    SignatureAlgorithm,
    SignedDataVersion,
    SignerInfo,
    SignerInfoVersion,
}

const OID: Step<Note> = leaf(OBJECT_IDENTIFIER).note(Note::Oid).one();

const ALGORITHM: &[Step<Note>] = &[OID, any().optional().one()];

const NAME: &[Step<Note>] = &[repeated(SET, &[fields(SEQUENCE, &[OID, any().one()]).one()]).one()];

const CERTIFICATE: &[Step<Note>] = &[any().note(Note::Certificate).one()];

/// As a set, a list of certificates may be empty: each is a choice.
const CERTIFICATE_OR_OLDER: &[Step<Note>] = &[Step::Choice(&[any().note(Note::Certificate)])];

/// What the grammar calls a revocation list is a list of certificates too.
const REVOCATION_LISTS: &[Step<Note>] = &[repeated(SEQUENCE, CERTIFICATE).one()];

const SIGNED_ATTRIBUTES: &[Step<Note>] = &[fields(
    SEQUENCE,
    &[
        OID,
        repeated(SET, &[any().note(Note::Attribute).one()]).one(),
    ],
)
.one()];

const UNSIGNED_ATTRIBUTES: &[Step<Note>] = &[fields(
    SEQUENCE,
    &[
        leaf(OBJECT_IDENTIFIER).one(),
        repeated(SET, &[any().one()]).one(),
    ],
)
.one()];

const SIGNER_INFO: &[Step<Note>] = &[fields(
    SEQUENCE,
    &[
        leaf(INTEGER).note(Note::SignerInfoVersion).one(),
        Step::Choice(&[
            fields(
                SEQUENCE,
                &[
                    repeated(SEQUENCE, NAME).note(Note::Issuer).one(),
                    leaf(INTEGER).note(Note::Serial).one(),
                ],
            ),
            leaf(0x80).note(Note::KeyId),
        ]),
        fields(SEQUENCE, ALGORITHM)
            .note(Note::DigestAlgorithm)
            .one(),
        Step::Maybe(&[
            repeated(0xa0, SIGNED_ATTRIBUTES).note(Note::Attributes),
            // In this encoding, attributes are read, and then not counted as signed.
            fields(0xa2, &[repeated(SEQUENCE, SIGNED_ATTRIBUTES).one()]),
        ]),
        fields(SEQUENCE, ALGORITHM)
            .note(Note::SignatureAlgorithm)
            .one(),
        leaf(OCTET_STRING).note(Note::Signature).one(),
        Step::Maybe(&[
            repeated(0xa1, UNSIGNED_ATTRIBUTES),
            repeated(0xa3, UNSIGNED_ATTRIBUTES),
        ]),
    ],
)
.note(Note::SignerInfo)
.one()];

const SIGNED_DATA_FIELDS: &[Step<Note>] = &[
    leaf(INTEGER).note(Note::SignedDataVersion).one(),
    Step::Choice(&[
        repeated(SET, &[fields(SEQUENCE, ALGORITHM).one()]),
        repeated(SEQUENCE, &[fields(SEQUENCE, ALGORITHM).one()]),
    ]),
    fields(
        SEQUENCE,
        &[
            OID,
            fields(0xa0, &[any().note(Note::Data).one()])
                .optional()
                .one(),
        ],
    )
    .inline()
    .note(Note::ContentInfo)
    .one(),
    Step::Maybe(&[
        repeated(0xa0, CERTIFICATE_OR_OLDER),
        repeated(0xa2, CERTIFICATE),
    ]),
    Step::Note(Note::Certificates),
    Step::Maybe(&[
        repeated(0xa1, REVOCATION_LISTS),
        repeated(0xa3, REVOCATION_LISTS),
    ]),
    Step::Choice(&[repeated(SET, SIGNER_INFO), repeated(SEQUENCE, SIGNER_INFO)]),
];

const CONTENT_INFO: Element<Note> = fields(
    SEQUENCE,
    &[
        OID,
        Step::Note(Note::ContentType),
        fields(0xa0, &[fields(SEQUENCE, SIGNED_DATA_FIELDS).one()])
            .optional()
            .one(),
    ],
);

/// One signature of a message.
#[derive(Debug)]
pub(crate) struct SignerInfo<'a> {
    /// The name of the signer's certificate: subjectKeyIdentifier, or serial number and issuer.
    pub(crate) id: Vec<u8>,
    pub(crate) by_key_id: bool,
    pub(crate) issuer: &'a [u8],
    pub(crate) serial: &'a [u8],
    pub(crate) algorithm: SignatureAlgorithm,
    pub(crate) signature: &'a [u8],
    pub(crate) attributes: Option<Attributes<'a>>,
    /// Seconds since 1970.
    pub(crate) signing_time: Option<u64>,
}

/// Signed attributes.
#[derive(Debug)]
pub(crate) struct Attributes<'a> {
    /// As encoded, tag included.
    pub(crate) encoded: &'a [u8],
    /// Offset of the contents in the message.
    at: usize,
    pub(crate) message_digest: &'a [u8],
    /// The value of Hornet's attribute, which the kernel passes over.
    pub(crate) hornet: Option<Tlv<'a>>,
}

/// A certificate in a message.
#[derive(Debug)]
pub(crate) struct Embedded {
    pub(crate) certificate: Certificate,
    /// Whether it signed itself.
    pub(crate) own_signature: OwnSignature,
}

/// A message.
#[derive(Debug)]
pub(crate) struct Message<'a> {
    pub(crate) signers: Vec<SignerInfo<'a>>,
    pub(crate) certificates: Vec<Embedded>,
    /// Where content of its own is, if it has any.
    pub(crate) content_at: Option<usize>,
    /// Whether the content is that of Authenticode.
    pub(crate) is_authenticode: bool,
}

impl SignerInfo<'_> {
    /// How the signature names its signer.
    pub(crate) fn signer(&self) -> SignerId {
        if self.by_key_id {
            SignerId::SubjectKeyId(hex(&self.id))
        } else {
            SignerId::IssuerAndSerial {
                issuer: hex(self.issuer),
                serial: hex(self.serial),
            }
        }
    }

    /// The signature, over content, for a kernel. Where attributes are signed, the content is held
    /// against them first (`pkcs7_digest`).
    ///
    /// # Errors
    /// For a digest that the kernel does not have, and attributes that are not of the content.
    pub(crate) fn over<'s>(
        &'s self,
        content: &'s [u8],
        config: &KernelConfig,
    ) -> Result<Signature<'s>, Rejection> {
        let takes_message = matches!(self.algorithm.kind, KeyKind::MlDsa(_));
        let signature = |digest, signed| Signature {
            algorithm: SignatureAlgorithm {
                digest,
                ..self.algorithm
            },
            signed,
            bytes: self.signature,
        };
        if takes_message && self.attributes.is_none() {
            // The digest that is named beside it does not count.
            let beside = DigestName::Known(DigestAlgorithm::Sha512);
            return Ok(signature(beside, Signed::Message(Cow::Borrowed(content))));
        }
        let name = self.algorithm.digest;
        let digest = name
            .in_kernel(config)
            .ok_or_else(|| Rejection::UnsupportedAlgorithm {
                what: "digest",
                algorithm: name.name().to_owned(),
            })?;
        let computed = digest.digest(content);
        let Some(attributes) = &self.attributes else {
            return Ok(signature(name, Signed::Digest(computed)));
        };
        if computed.len() != attributes.message_digest.len() {
            return Err(Rejection::Malformed {
                offset: attributes.at,
                what: "the signed message digest is of another length",
            });
        }
        if computed != attributes.message_digest {
            return Err(Rejection::MessageDigest {
                found: hex(attributes.message_digest),
                computed: hex(&computed),
            });
        }
        // What is signed is the attributes as a SET, not under their tag in the message.
        let set = [&[SET], &attributes.encoded[1..]].concat();
        let signed = if takes_message {
            Signed::Message(Cow::Owned(set))
        } else {
            Signed::Digest(digest.digest(&set))
        };
        Ok(signature(name, signed))
    }
}

impl From<BerError> for Rejection {
    fn from(error: BerError) -> Self {
        Self::Malformed {
            offset: error.offset,
            what: error.what,
        }
    }
}

fn bad(found: Found<'_>, what: &'static str) -> Rejection {
    Rejection::Malformed {
        offset: found.at,
        what,
    }
}

fn invalid(found: Found<'_>, what: &'static str) -> Rejection {
    Rejection::Invalid {
        offset: found.at,
        what,
    }
}

impl<'a> Message<'a> {
    /// Reads a message, for a kernel: certificates in it that say they signed themselves are
    /// checked on the way, which needs its algorithms.
    ///
    /// # Errors
    /// What the kernel's parser answers.
    pub(crate) fn parse(bytes: &'a [u8], config: &KernelConfig) -> Result<Self, Rejection> {
        // As long as a load takes, which is far below what the decoder takes.
        if bytes.is_empty() || bytes.len() > MAX_SIGNATURE {
            return Err(Rejection::Size {
                size: bytes.len(),
                limit: MAX_SIGNATURE,
            });
        }
        let mut notes = Notes::new(config);
        decode(&CONTENT_INFO, bytes, &mut |note, found| {
            notes.take(note, found)
        })?;
        let signers = notes.signers;
        let with_attributes = signers.iter().filter(|s| s.attributes.is_some()).count();
        if signers.is_empty() {
            return Err(Rejection::Invalid {
                offset: 0,
                what: "there is no signature in it",
            });
        }
        if with_attributes != 0 && with_attributes != signers.len() {
            return Err(Rejection::Invalid {
                offset: 0,
                what: "only some of the signatures have signed attributes",
            });
        }
        Ok(Self {
            signers,
            certificates: notes.certificates.unwrap_or_default(),
            content_at: notes.content_at,
            is_authenticode: notes.content_type == INDIRECT_DATA.as_bytes(),
        })
    }
}

/// Notes on the way through a message. What names a signer stays, and can be found by the next one
/// that does not say.
struct Notes<'a, 'p> {
    config: &'p KernelConfig,
    oid: &'a [u8],
    version: u8,
    content_type: &'a [u8],
    content_at: Option<usize>,
    /// Certificates since the last list.
    read: Vec<Embedded>,
    certificates: Option<Vec<Embedded>>,
    by_key_id: bool,
    issuer: &'a [u8],
    serial: &'a [u8],
    key_id: &'a [u8],
    signer: Draft<'a>,
    signers: Vec<SignerInfo<'a>>,
}

/// A signature that is being read.
#[derive(Default)]
struct Draft<'a> {
    digest: Option<DigestName>,
    kind: Option<KeyKind>,
    signature: &'a [u8],
    content_type: bool,
    message_digest: Option<&'a [u8]>,
    signing_time: Option<u64>,
    authenticode: [bool; AUTHENTICODE.len()],
    hornet: Option<Tlv<'a>>,
    attributes: Option<Found<'a>>,
}

impl<'a, 'p> Notes<'a, 'p> {
    fn new(config: &'p KernelConfig) -> Self {
        Self {
            config,
            oid: &[],
            version: 0,
            content_type: &[],
            content_at: None,
            read: Vec::new(),
            certificates: None,
            by_key_id: false,
            issuer: &[],
            serial: &[],
            key_id: &[],
            signer: Draft::default(),
            signers: Vec::new(),
        }
    }

    fn take(&mut self, note: Note, found: Found<'a>) -> Result<(), Rejection> {
        let value = found.value();
        match note {
            Note::Oid => self.oid = value,
            Note::ContentType => {
                if self.oid != SIGNED_DATA.as_bytes() {
                    return Err(invalid(found, "the content type is not signedData"));
                }
            }
            Note::SignedDataVersion => {
                let [version @ (1 | 3)] = *value else {
                    let what = "the version of the signed data is not 1 or 3";
                    return Err(invalid(found, what));
                };
                self.version = version;
            }
            Note::Data => self.content_at = Some(found.at),
            Note::ContentInfo => {
                if ![DATA, INDIRECT_DATA]
                    .iter()
                    .any(|t| t.as_bytes() == self.oid)
                {
                    return Err(invalid(found, "the content type is not id-data"));
                }
                self.content_type = self.oid;
            }
            Note::Certificate => self.certificate(found)?,
            Note::Certificates => self.certificates = Some(std::mem::take(&mut self.read)),
            Note::SignerInfoVersion => {
                self.by_key_id = match *value {
                    [1] => false,
                    [3] => true,
                    _ => {
                        return Err(invalid(found, "the version of a signature is not 1 or 3"));
                    }
                };
                if self.by_key_id == (self.version == 1) {
                    let what = "the versions of signed data and signature do not go together";
                    return Err(bad(found, what));
                }
            }
            Note::Issuer => self.issuer = value,
            Note::Serial => self.serial = value,
            Note::KeyId => self.key_id = value,
            Note::DigestAlgorithm => {
                let digest = DigestName::from_oid(self.oid);
                self.signer.digest = Some(digest.ok_or_else(|| self.unsupported("digest"))?);
            }
            Note::Attribute => self.attribute(found)?,
            Note::Attributes => {
                if !self.signer.content_type || self.signer.message_digest.is_none() {
                    let what = "signed attributes without content type or message digest";
                    return Err(bad(found, what));
                }
                self.signer.attributes = Some(found);
            }
            Note::SignatureAlgorithm => {
                let kind = KeyKind::from_signature_oid(self.oid);
                self.signer.kind = Some(kind.ok_or_else(|| self.unsupported("signature"))?);
            }
            Note::Signature => self.signer.signature = value,
            Note::SignerInfo => self.signer_info(found)?,
        }
        Ok(())
    }

    fn unsupported(&self, what: &'static str) -> Rejection {
        Rejection::UnsupportedAlgorithm {
            what,
            algorithm: ObjectIdentifier::from_bytes(self.oid)
                .map_or_else(|_| hex(self.oid), |oid| oid.to_string()),
        }
    }

    /// Reads a certificate, and checks it where it says that it signed itself.
    fn certificate(&mut self, found: Found<'a>) -> Result<(), Rejection> {
        if found.tag != SEQUENCE {
            return Err(bad(found, "an embedded certificate is no sequence"));
        }
        // The end-of-contents is counted twice, by the kernel.
        let bytes = match found.whole() {
            [_, 0x80, ..] => found.whole_and(2),
            whole => whole,
        };
        let refused = |fault| Rejection::Embedded {
            offset: found.at,
            fault,
        };
        let parsed = X509::parse(bytes).map_err(refused)?;
        let own_signature = parsed.own_signature(self.config).map_err(refused)?;
        self.read.push(Embedded {
            certificate: Certificate::new(found.whole(), parsed),
            own_signature,
        });
        Ok(())
    }

    /// One value of a signed attribute (`pkcs7_sig_note_authenticated_attr`).
    fn attribute(&mut self, found: Found<'a>) -> Result<(), Rejection> {
        let repeated = || Err(Rejection::RepeatedAttribute { offset: found.at });
        let value = found.value();
        let draft = &mut self.signer;
        let is = |oid: ObjectIdentifier| self.oid == oid.as_bytes();
        if is(CONTENT_TYPE) {
            if std::mem::replace(&mut draft.content_type, true) {
                return repeated();
            }
            if value != self.content_type {
                return Err(bad(
                    found,
                    "the signed content type is not that of the content",
                ));
            }
        } else if is(SIGNING_TIME) {
            if draft.signing_time.is_some() {
                return repeated();
            }
            let time = x509::time(found).map_err(|_| bad(found, "the signing time is no time"))?;
            draft.signing_time = Some(time);
        } else if is(MESSAGE_DIGEST) {
            if draft.message_digest.is_some() {
                return repeated();
            }
            if found.tag != OCTET_STRING {
                return Err(bad(found, "the message digest is no octet string"));
            }
            draft.message_digest = Some(value);
        } else if let Some(index) = AUTHENTICODE.iter().position(|oid| is(*oid)) {
            if std::mem::replace(&mut draft.authenticode[index], true) {
                return repeated();
            }
            if self.content_type != INDIRECT_DATA.as_bytes() {
                return Err(Rejection::ForeignAttribute { offset: found.at });
            }
        } else if self.oid == oid::hornet() {
            draft.hornet = Some(Tlv {
                tag: found.tag,
                value,
                whole: found.whole(),
                at: found.at,
            });
        }
        Ok(())
    }

    fn signer_info(&mut self, found: Found<'a>) -> Result<(), Rejection> {
        let draft = std::mem::take(&mut self.signer);
        let attributes = draft.attributes.map(|attributes| Attributes {
            encoded: attributes.whole(),
            at: attributes.at,
            message_digest: draft.message_digest.unwrap_or_default(),
            hornet: draft.hornet,
        });
        if self.content_type == INDIRECT_DATA.as_bytes() && attributes.is_none() {
            return Err(bad(
                found,
                "content of Authenticode without signed attributes",
            ));
        }
        // The grammar has both.
        let (Some(kind), Some(digest)) = (draft.kind, draft.digest) else {
            return Err(bad(found, "a signature has no algorithm"));
        };
        self.signers.push(SignerInfo {
            id: if self.by_key_id {
                self.key_id.to_vec()
            } else {
                issuer_serial_id(self.serial, self.issuer)
            },
            by_key_id: self.by_key_id,
            issuer: self.issuer,
            serial: self.serial,
            algorithm: SignatureAlgorithm { kind, digest },
            signature: draft.signature,
            attributes,
            signing_time: draft.signing_time,
        });
        Ok(())
    }
}
