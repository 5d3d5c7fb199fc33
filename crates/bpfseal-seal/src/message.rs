//! A PKCS#7 message, read by the kernel's grammar (`crypto/asymmetric_keys/pkcs7.asn1` and
//! `pkcs7_parser.c` of Linux 7.3): what it looks at, and what it passes over.

use der::Decode as _;
use der::asn1::ObjectIdentifier;

use crate::ber::{
    BerError, INTEGER, MAX_MESSAGE, OBJECT_IDENTIFIER, OCTET_STRING, Reader, SEQUENCE, SET, Tlv,
};
use crate::certificate::{Certificate, issuer_serial_id};
use crate::digest::DigestAlgorithm;
use crate::public_key::{KeyKind, SignatureAlgorithm};
use crate::rejection::Rejection;

const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
const DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.1");
const CONTENT_TYPE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.3");
const MESSAGE_DIGEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.4");
const SIGNING_TIME: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.5");
/// Attributes that only Authenticode may carry.
const AUTHENTICODE_ONLY: [&str; 3] = [
    "1.2.840.113549.1.9.15",
    "1.3.6.1.4.1.311.2.1.12",
    "1.3.6.1.4.1.311.2.1.11",
];

/// One signature of a message.
#[derive(Debug)]
pub(crate) struct SignerInfo<'a> {
    /// The name of the signer's certificate: subjectKeyIdentifier, or serial number and issuer.
    pub(crate) id: Vec<u8>,
    pub(crate) by_key_id: bool,
    pub(crate) issuer: &'a [u8],
    pub(crate) serial: &'a [u8],
    pub(crate) digest: DigestAlgorithm,
    pub(crate) algorithm: SignatureAlgorithm,
    pub(crate) signature: &'a [u8],
    pub(crate) attributes: Option<Attributes<'a>>,
}

/// Signed attributes.
#[derive(Debug)]
pub(crate) struct Attributes<'a> {
    /// As encoded, tag included.
    pub(crate) encoded: &'a [u8],
    pub(crate) message_digest: &'a [u8],
    /// Seconds since 1970.
    pub(crate) signing_time: Option<u64>,
    /// The value of Hornet's attribute, which the kernel passes over.
    pub(crate) hornet: Option<Tlv<'a>>,
}

/// A message.
#[derive(Debug)]
pub(crate) struct Message<'a> {
    pub(crate) signers: Vec<SignerInfo<'a>>,
    pub(crate) certificates: Vec<Certificate>,
}

fn malformed(error: BerError) -> Rejection {
    Rejection::Malformed {
        offset: error.offset,
        what: error.what,
    }
}

impl From<BerError> for Rejection {
    fn from(error: BerError) -> Self {
        malformed(error)
    }
}

fn oid(tlv: Tlv<'_>) -> Option<ObjectIdentifier> {
    ObjectIdentifier::from_der(tlv.whole).ok()
}

fn bad(tlv: Tlv<'_>, what: &'static str) -> Rejection {
    Rejection::Malformed {
        offset: tlv.at,
        what,
    }
}

fn invalid(tlv: Tlv<'_>, what: &'static str) -> Rejection {
    Rejection::Invalid {
        offset: tlv.at,
        what,
    }
}

impl<'a> Message<'a> {
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, Rejection> {
        if bytes.len() > MAX_MESSAGE {
            return Err(Rejection::Size {
                size: bytes.len(),
                limit: crate::verify::MAX_SIGNATURE,
            });
        }
        // What follows the outermost element is not looked at.
        let outer = Reader::new(bytes).expect(SEQUENCE, "the message is no sequence")?;
        let mut content_info = outer.inside();
        let content_type =
            content_info.expect(OBJECT_IDENTIFIER, "the message has no content type")?;
        if oid(content_type) != Some(SIGNED_DATA) {
            return Err(invalid(content_type, "the content type is not signedData"));
        }
        let wrapped = content_info.expect(0xa0, "the message has no content")?;
        content_info.end()?;
        let mut wrapped = wrapped.inside();
        let signed_data = wrapped.expect(SEQUENCE, "the signed data is no sequence")?;
        wrapped.end()?;
        Self::signed_data(signed_data)
    }

    fn signed_data(signed_data: Tlv<'a>) -> Result<Self, Rejection> {
        let mut reader = signed_data.inside();
        let version = reader.expect(INTEGER, "the signed data has no version")?;
        let version_number = match version.value {
            [1] => 1,
            [3] => 3,
            _ => {
                return Err(invalid(
                    version,
                    "the version of the signed data is not 1 or 3",
                ));
            }
        };
        let digests = set_or_sequence(&mut reader, "the signed data has no digest algorithms")?;
        for_each(digests, |element| {
            algorithm(element, "a digest algorithm is no sequence").map(|_| ())
        })?;
        let content = reader.expect(SEQUENCE, "the signed data has no content info")?;
        let mut inside = content.inside();
        let content_type = inside.expect(OBJECT_IDENTIFIER, "the content has no type")?;
        if let Some(data) = inside.take(0xa0)? {
            return Err(bad(data, "the signature carries content of its own"));
        }
        inside.end()?;
        if oid(content_type) != Some(DATA) {
            return Err(invalid(content_type, "the content type is not id-data"));
        }
        let mut certificates = Vec::new();
        let embedded = match reader.take(0xa0)? {
            Some(set) => Some(set),
            None => reader.take(0xa2)?,
        };
        if let Some(set) = embedded {
            for_each(set, |element| {
                certificates.push(embedded_certificate(element)?);
                Ok(())
            })?;
        }
        for tag in [0xa1, 0xa3] {
            if let Some(lists) = reader.take(tag)? {
                return Err(bad(lists, "revocation lists are not taken"));
            }
        }
        let infos = set_or_sequence(&mut reader, "the signed data has no signatures")?;
        reader.end()?;
        let mut signers = Vec::new();
        for_each(infos, |element| {
            signers.push(signer_info(element, version_number)?);
            Ok(())
        })?;
        let with_attributes = signers.iter().filter(|s| s.attributes.is_some()).count();
        if with_attributes != 0 && with_attributes != signers.len() {
            return Err(invalid(
                infos,
                "only some of the signatures have signed attributes",
            ));
        }
        Ok(Self {
            signers,
            certificates,
        })
    }
}

fn set_or_sequence<'a>(reader: &mut Reader<'a>, what: &'static str) -> Result<Tlv<'a>, Rejection> {
    match reader.take(SET)? {
        Some(set) => Ok(set),
        None => Ok(reader.expect(SEQUENCE, what)?),
    }
}

/// Walks a `SET OF` or `SEQUENCE OF`, which has at least one element.
fn for_each<'a>(
    list: Tlv<'a>,
    mut each: impl FnMut(Tlv<'a>) -> Result<(), Rejection>,
) -> Result<(), Rejection> {
    let mut reader = list.inside();
    loop {
        each(reader.next()?)?;
        if reader.is_empty() {
            return Ok(());
        }
    }
}

/// `SEQUENCE { OBJECT IDENTIFIER, ANY OPTIONAL }`: the identifier; parameters are not looked at.
fn algorithm<'a>(element: Tlv<'a>, what: &'static str) -> Result<Tlv<'a>, Rejection> {
    if element.tag & !0x20 != SEQUENCE & !0x20 {
        return Err(bad(element, what));
    }
    let mut reader = element.inside();
    let id = reader.expect(OBJECT_IDENTIFIER, "an algorithm has no identifier")?;
    if !reader.is_empty() {
        reader.next()?;
    }
    reader.end()?;
    Ok(id)
}

fn embedded_certificate(element: Tlv<'_>) -> Result<Certificate, Rejection> {
    if element.tag != SEQUENCE {
        return Err(bad(element, "an embedded certificate is no sequence"));
    }
    Certificate::from_der(element.whole)
        .map_err(|_| bad(element, "an embedded certificate can not be read"))
}

fn signer_info(element: Tlv<'_>, message_version: u8) -> Result<SignerInfo<'_>, Rejection> {
    if element.tag & !0x20 != SEQUENCE & !0x20 {
        return Err(bad(element, "a signature is no sequence"));
    }
    let mut reader = element.inside();
    let version = reader.expect(INTEGER, "a signature has no version")?;
    let by_key_id = match version.value {
        [1] => false,
        [3] => true,
        _ => return Err(invalid(version, "the version of a signature is not 1 or 3")),
    };
    if by_key_id == (message_version == 1) {
        return Err(bad(
            version,
            "the versions of signed data and signature do not go together",
        ));
    }
    let mut issuer: &[u8] = &[];
    let mut serial: &[u8] = &[];
    let mut key_id: &[u8] = &[];
    if let Some(sid) = reader.take(SEQUENCE)? {
        let mut sid = sid.inside();
        issuer = sid
            .expect(SEQUENCE, "the signer's issuer is no name")?
            .value;
        serial = sid
            .expect(INTEGER, "the signer's serial number is no number")?
            .value;
        sid.end()?;
    } else {
        key_id = reader.expect(0x80, "a signature names no signer")?.value;
    }
    let digest = reader.expect(SEQUENCE, "a signature has no digest algorithm")?;
    let digest = algorithm(digest, "a digest algorithm is no sequence")?;
    let digest = oid(digest)
        .and_then(|id| DigestAlgorithm::from_oid(&id))
        .ok_or_else(|| unsupported("digest", digest))?;
    let attributes = match reader.take(0xa0)? {
        Some(set) => Some(signed_attributes(set)?),
        None => {
            if let Some(sequence) = reader.take(0xa2)? {
                return Err(bad(
                    sequence,
                    "signed attributes as a sequence are not taken",
                ));
            }
            None
        }
    };
    let algorithm_id = reader.expect(SEQUENCE, "a signature has no signature algorithm")?;
    let algorithm_id = algorithm(algorithm_id, "a signature algorithm is no sequence")?;
    let kind = oid(algorithm_id)
        .and_then(|id| KeyKind::from_signature_oid(&id))
        .ok_or_else(|| unsupported("signature", algorithm_id))?;
    let signature = reader
        .expect(OCTET_STRING, "a signature has no signature value")?
        .value;
    for tag in [0xa1, 0xa3] {
        if let Some(set) = reader.take(tag)? {
            for_each(set, |attribute| attribute_parts(attribute).map(|_| ()))?;
            break;
        }
    }
    reader.end()?;
    Ok(SignerInfo {
        id: if by_key_id {
            key_id.to_vec()
        } else {
            issuer_serial_id(serial, issuer)
        },
        by_key_id,
        issuer,
        serial,
        digest,
        algorithm: SignatureAlgorithm { kind, digest },
        signature,
        attributes,
    })
}

fn unsupported(what: &'static str, id: Tlv<'_>) -> Rejection {
    Rejection::UnsupportedAlgorithm {
        what,
        algorithm: oid(id).map_or_else(|| crate::hex(id.value), |o| o.to_string()),
    }
}

fn attribute_parts(attribute: Tlv<'_>) -> Result<(Tlv<'_>, Tlv<'_>), Rejection> {
    if attribute.tag & !0x20 != SEQUENCE & !0x20 {
        return Err(bad(attribute, "an attribute is no sequence"));
    }
    let mut reader = attribute.inside();
    let id = reader.expect(OBJECT_IDENTIFIER, "an attribute has no type")?;
    let values = reader.expect(SET, "an attribute has no values")?;
    reader.end()?;
    Ok((id, values))
}

fn signed_attributes(set: Tlv<'_>) -> Result<Attributes<'_>, Rejection> {
    let mut content_type = false;
    let mut message_digest = None;
    let mut signing_time = None;
    let mut hornet = None;
    let hornet_oid = crate::writer::hornet_oid();
    for_each(set, |attribute| {
        let (id, values) = attribute_parts(attribute)?;
        // The library has no such long arcs.
        let is_hornet = id.value == hornet_oid;
        let id = oid(id);
        for_each(values, |value| {
            match id {
                _ if is_hornet => hornet = Some(value),
                Some(CONTENT_TYPE) => {
                    if std::mem::replace(&mut content_type, true) {
                        return Err(Rejection::RepeatedAttribute { offset: value.at });
                    }
                    if oid(value) != Some(DATA) {
                        return Err(bad(value, "the signed content type is not id-data"));
                    }
                }
                Some(MESSAGE_DIGEST) => {
                    if value.tag != OCTET_STRING {
                        return Err(bad(value, "the message digest is no octet string"));
                    }
                    if message_digest.replace(value.value).is_some() {
                        return Err(Rejection::RepeatedAttribute { offset: value.at });
                    }
                }
                Some(SIGNING_TIME) => {
                    let time = x509_cert::time::Time::from_der(value.whole)
                        .map_err(|_| bad(value, "the signing time is no time"))?;
                    if signing_time
                        .replace(time.to_unix_duration().as_secs())
                        .is_some()
                    {
                        return Err(Rejection::RepeatedAttribute { offset: value.at });
                    }
                }
                Some(other) if AUTHENTICODE_ONLY.contains(&other.to_string().as_str()) => {
                    return Err(Rejection::ForeignAttribute { offset: value.at });
                }
                _ => {}
            }
            Ok(())
        })
    })?;
    match (content_type, message_digest) {
        (true, Some(message_digest)) => Ok(Attributes {
            encoded: set.whole,
            message_digest,
            signing_time,
            hornet,
        }),
        _ => Err(bad(
            set,
            "signed attributes without content type or message digest",
        )),
    }
}
