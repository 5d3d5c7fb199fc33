//! Writing signatures: CMS `SignedData`, detached (RFC 5652, section 5).
//!
//! ```text
//! ContentInfo { signedData, SignedData {
//!     version, { digest }, { id-data }, [0] certificates,
//!     { SignerInfo { version, signer, digest, [0] attributes, algorithm, signature } } } }
//! ```
//!
//! Without certificates and attributes, by key identifier, it is the one form that bpftool writes.
//! Encoded here, because one attribute has an identifier with an arc of 128 bits, which no library
//! of the field takes; it is but nested lengths.

use crate::algorithm::KeyAlgorithm;
use crate::ber::{BerError, INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, Reader, SEQUENCE, SET, Tlv};
use crate::certificate::Certificate;
use crate::digest::DigestAlgorithm;
use crate::encode::{algorithm_identifier, tlv};
use crate::error::SealError;
use crate::oid;
use crate::rejection::Rejection;

/// What a signature is to say besides the signature itself.
#[derive(Debug, Clone)]
pub(crate) struct Shape<'a> {
    pub(crate) certificate: &'a Certificate,
    pub(crate) digest: DigestAlgorithm,
    /// Name the signer by issuer and serial number, instead of by key identifier.
    pub(crate) by_issuer: bool,
    /// Certificates to embed.
    pub(crate) embed: &'a [Certificate],
    /// Signed attributes: the contents of the set, sorted, without its tag.
    pub(crate) attributes: Option<Vec<u8>>,
    /// A message to put the signature into, beside those that it has.
    pub(crate) beside: Option<&'a [u8]>,
}

/// The parts of a message that signatures are added to, each an encoded element.
#[derive(Debug, Default)]
struct Parts {
    digests: Vec<Vec<u8>>,
    certificates: Vec<Vec<u8>>,
    signers: Vec<Vec<u8>>,
}

impl Parts {
    /// Of a message that the kernel's grammar takes.
    fn of(message: &[u8]) -> Result<Self, Rejection> {
        let mut content_info = Reader::new(message).next()?.inside();
        content_info.next()?;
        let mut signed_data = content_info.next()?.inside().next()?.inside();
        signed_data.next()?;
        let elements = |list: Tlv<'_>| -> Result<Vec<Vec<u8>>, BerError> {
            let mut inside = list.inside();
            let mut all = Vec::new();
            while !inside.is_empty() {
                all.push(inside.next()?.whole.to_vec());
            }
            Ok(all)
        };
        let digests = elements(signed_data.next()?)?;
        signed_data.next()?;
        let certificates = match signed_data.take(CERTIFICATES)? {
            Some(list) => elements(list)?,
            None => Vec::new(),
        };
        Ok(Self {
            digests,
            certificates,
            signers: elements(signed_data.next()?)?,
        })
    }
}

/// Tag of the certificates in a message.
const CERTIFICATES: u8 = 0xa0;

/// The attributes of a Hornet signature over instructions, whose maps have these digests.
pub(crate) fn hornet_attributes(
    message_digest: &[u8],
    signing_time: &str,
    maps: &[[u8; 32]],
) -> Vec<u8> {
    let entries: Vec<Vec<u8>> = maps
        .iter()
        .enumerate()
        .map(|(index, sha)| {
            // At most 64 maps: one byte.
            let index = tlv(INTEGER, &[index as u8]);
            tlv(SEQUENCE, &[index, tlv(OCTET_STRING, sha)].concat())
        })
        .collect();
    let list = tlv(SEQUENCE, &set_of(entries));
    let mut attributes = [
        attribute(
            oid::CONTENT_TYPE.as_bytes(),
            tlv(OBJECT_IDENTIFIER, oid::DATA.as_bytes()),
        ),
        attribute(
            oid::SIGNING_TIME.as_bytes(),
            tlv(UTC_TIME, signing_time.as_bytes()),
        ),
        attribute(
            oid::MESSAGE_DIGEST.as_bytes(),
            tlv(OCTET_STRING, message_digest),
        ),
        attribute(&oid::hornet(), list),
    ];
    attributes.sort();
    attributes.concat()
}

const UTC_TIME: u8 = 0x17;

fn attribute(id: &[u8], value: Vec<u8>) -> Vec<u8> {
    let id = tlv(OBJECT_IDENTIFIER, id);
    tlv(SEQUENCE, &[id, tlv(SET, &value)].concat())
}

/// Encodes a signature.
pub(crate) fn signed_data(
    shape: &Shape<'_>,
    algorithm: KeyAlgorithm,
    signature: &[u8],
) -> Result<Vec<u8>, SealError> {
    let mut parts = match shape.beside {
        Some(message) => {
            Parts::of(message).map_err(|rejection| SealError::Beside(Box::new(rejection)))?
        }
        None => Parts::default(),
    };
    let add = |list: &mut Vec<Vec<u8>>, element: Vec<u8>| {
        if !list.contains(&element) {
            list.push(element);
        }
    };
    let digest = algorithm_identifier(shape.digest.oid_contents(), &[]);
    add(&mut parts.digests, digest);
    for certificate in shape.embed {
        add(&mut parts.certificates, certificate.der().to_vec());
    }
    add(
        &mut parts.signers,
        signer_info(shape, algorithm, signature)?,
    );
    parts.certificates.sort();
    let certificates = if parts.certificates.is_empty() {
        Vec::new()
    } else {
        tlv(CERTIFICATES, &parts.certificates.concat())
    };
    // Version 3 for signers by key identifier (RFC 5652, section 5.1).
    let version = if shape.by_issuer { 1 } else { 3 };
    Ok(content_info(&[
        tlv(INTEGER, &[version]),
        set_of(parts.digests),
        tlv(SEQUENCE, &tlv(OBJECT_IDENTIFIER, oid::DATA.as_bytes())),
        certificates,
        set_of(parts.signers),
    ]))
}

fn content_info(parts: &[Vec<u8>]) -> Vec<u8> {
    let signed_data = tlv(SEQUENCE, &parts.concat());
    let content_type = tlv(OBJECT_IDENTIFIER, oid::SIGNED_DATA.as_bytes());
    tlv(SEQUENCE, &[content_type, tlv(0xa0, &signed_data)].concat())
}

fn signer_info(
    shape: &Shape<'_>,
    algorithm: KeyAlgorithm,
    signature: &[u8],
) -> Result<Vec<u8>, SealError> {
    let (version, id) = if shape.by_issuer {
        (1, issuer_and_serial(shape.certificate))
    } else {
        let key_id =
            shape
                .certificate
                .subject_key_id()
                .ok_or_else(|| SealError::NoKeyIdentifier {
                    subject: shape.certificate.subject(),
                })?;
        (3, tlv(0x80, key_id))
    };
    let attributes = match &shape.attributes {
        Some(attributes) => tlv(0xa0, attributes),
        None => Vec::new(),
    };
    let parts = [
        tlv(INTEGER, &[version]),
        id,
        algorithm_identifier(shape.digest.oid_contents(), &[]),
        attributes,
        algorithm.signature_identifier(shape.digest),
        tlv(OCTET_STRING, signature),
    ];
    Ok(tlv(SEQUENCE, &parts.concat()))
}

/// Elements in the order that DER wants of a `SET OF`, under its tag.
fn set_of(mut elements: Vec<Vec<u8>>) -> Vec<u8> {
    elements.sort();
    tlv(SET, &elements.concat())
}

/// `IssuerAndSerialNumber`.
fn issuer_and_serial(certificate: &Certificate) -> Vec<u8> {
    let parsed = certificate.parsed();
    let parts = [tlv(SEQUENCE, &parsed.issuer), tlv(INTEGER, &parsed.serial)];
    tlv(SEQUENCE, &parts.concat())
}
