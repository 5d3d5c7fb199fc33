//! A certificate, read by the kernel's grammar (`crypto/asymmetric_keys/x509.asn1`,
//! `x509_akid.asn1`, `x509_cert_parser.c` and `x509_public_key.c` of Linux 7.3): what it looks at,
//! what it passes over, and in which order it complains.

use std::borrow::Cow;

use bpfseal_uapi::Errno;
use der::asn1::ObjectIdentifier;

use crate::algorithm::{KeyKind, PublicKeyAlgorithm, SignatureAlgorithm};
use crate::asn1::{Element, Found, MAX_LEN, Step, any, decode, fields, leaf, repeated};
use crate::ber::{
    BIT_STRING, BOOLEAN, BerError, GENERALIZED_TIME, INTEGER, OBJECT_IDENTIFIER, OCTET_STRING,
    SEQUENCE, SET, UTC_TIME,
};
use crate::config::KernelConfig;
use crate::public_key::{self, PublicKey, Signature, Signed};

bpfseal_object::debug_as_chain!(CertificateFault);

const SUBJECT_KEY_IDENTIFIER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.14");
const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");
const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");
const AUTHORITY_KEY_IDENTIFIER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.35");
const EXTENDED_KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37");

/// What the grammar takes notes of.
#[derive(Debug, Clone, Copy)]
enum Note {
    AuthorityKeyId,
    AuthorityName,
    AuthoritySerial,
    Extension,
    Issuer,
    KeyData,
    NotAfter,
    NotBefore,
    Oid,
    Parameters,
    Serial,
    SignatureAlgorithm,
    SignatureValue,
    Subject,
    ToBeSigned,
}

const ALGORITHM: &[Step<Note>] = &[
    leaf(OBJECT_IDENTIFIER).note(Note::Oid).one(),
    any().optional().note(Note::Parameters).one(),
];

/// Relative distinguished names, at least one with at least one attribute.
const NAME: &[Step<Note>] = &[repeated(
    SET,
    &[fields(
        SEQUENCE,
        &[leaf(OBJECT_IDENTIFIER).note(Note::Oid).one(), any().one()],
    )
    .one()],
)
.one()];

const TIME: Step<Note> = Step::Choice(&[leaf(UTC_TIME), leaf(GENERALIZED_TIME)]);

const EXTENSION: &[Step<Note>] = &[fields(
    SEQUENCE,
    &[
        leaf(OBJECT_IDENTIFIER).note(Note::Oid).one(),
        leaf(BOOLEAN).optional().one(),
        leaf(OCTET_STRING).note(Note::Extension).one(),
    ],
)
.one()];

/// A note of an element that is not one itself comes after it.
const TO_BE_SIGNED: &[Step<Note>] = &[
    fields(0xa0, &[leaf(INTEGER).one()]).optional().one(),
    leaf(INTEGER).note(Note::Serial).one(),
    fields(SEQUENCE, ALGORITHM)
        .note(Note::SignatureAlgorithm)
        .one(),
    repeated(SEQUENCE, NAME).note(Note::Issuer).one(),
    fields(
        SEQUENCE,
        &[
            TIME,
            Step::Note(Note::NotBefore),
            TIME,
            Step::Note(Note::NotAfter),
        ],
    )
    .one(),
    repeated(SEQUENCE, NAME).note(Note::Subject).one(),
    fields(
        SEQUENCE,
        &[
            fields(SEQUENCE, ALGORITHM).one(),
            leaf(BIT_STRING).note(Note::KeyData).one(),
        ],
    )
    .one(),
    leaf(0x81).optional().one(),
    leaf(0x82).optional().one(),
    fields(0xa3, &[repeated(SEQUENCE, EXTENSION).one()])
        .optional()
        .one(),
];

const CERTIFICATE: Element<Note> = fields(
    SEQUENCE,
    &[
        fields(SEQUENCE, TO_BE_SIGNED).note(Note::ToBeSigned).one(),
        fields(SEQUENCE, ALGORITHM).one(),
        leaf(BIT_STRING).note(Note::SignatureValue).one(),
    ],
);

const AUTHORITY: Element<Note> = fields(
    SEQUENCE,
    &[
        leaf(0x80).optional().note(Note::AuthorityKeyId).one(),
        repeated(0xa1, GENERAL_NAME).optional().one(),
        leaf(0x82).optional().note(Note::AuthoritySerial).one(),
    ],
);

/// `GeneralName` (RFC 5280, 4.2.1.6).
const GENERAL_NAME: &[Step<Note>] = &[Step::Choice(&[
    fields(
        0xa0,
        &[
            leaf(OBJECT_IDENTIFIER).one(),
            fields(0xa0, &[any().one()]).one(),
        ],
    ),
    leaf(0x81),
    leaf(0x82),
    fields(0xa3, &[any().one()]),
    fields(
        0xa4,
        &[repeated(SEQUENCE, NAME).note(Note::AuthorityName).one()],
    ),
    fields(
        0xa5,
        &[
            fields(0xa0, &[any().one()]).optional().one(),
            fields(0xa1, &[any().one()]).one(),
        ],
    ),
    leaf(0x86),
    leaf(0x87),
    leaf(0x88),
])];

/// Why the kernel does not take a certificate.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}{what}{}", .check.prefix(), at_byte(.offset))]
#[non_exhaustive]
pub struct CertificateFault {
    pub(crate) errno: Errno,
    pub(crate) what: &'static str,
    /// Where in the certificate, when it is a place.
    pub(crate) offset: Option<usize>,
    check: Check,
}

/// Which check it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Check {
    Form,
    OwnSignature,
    Revocation,
}

impl Check {
    fn prefix(self) -> &'static str {
        match self {
            Self::OwnSignature => "it says that it signed itself, but ",
            Self::Form | Self::Revocation => "",
        }
    }
}

fn at_byte(offset: &Option<usize>) -> String {
    offset.map_or_else(String::new, |offset| format!(" (byte {offset})"))
}

impl CertificateFault {
    /// The digest of the certificate's signed part is on the kernel's blacklist.
    pub(crate) const REVOKED: Self = Self {
        check: Check::Revocation,
        ..Self::new(
            Errno::EKEYREJECTED,
            "the digest of its signed part is revoked",
            None,
        )
    };

    const fn new(errno: Errno, what: &'static str, offset: Option<usize>) -> Self {
        Self {
            errno,
            what,
            offset,
            check: Check::Form,
        }
    }

    /// What `add_key` answers, or the load of a message with the certificate in it.
    #[must_use]
    pub fn errno(&self) -> Errno {
        self.errno
    }

    /// Which of the kernel's checks it was, as a word: `form`, `own-signature` or `revocation`.
    #[must_use]
    pub fn check(&self) -> &'static str {
        match self.check {
            Check::Form => "form",
            Check::OwnSignature => "own-signature",
            Check::Revocation => "revocation",
        }
    }

    fn of_own_signature(errno: Errno, what: &'static str) -> Self {
        Self {
            check: Check::OwnSignature,
            ..Self::new(errno, what, None)
        }
    }
}

impl From<BerError> for CertificateFault {
    fn from(error: BerError) -> Self {
        Self::new(Errno::EBADMSG, error.what, Some(error.offset))
    }
}

fn bad(found: Found<'_>, what: &'static str) -> CertificateFault {
    CertificateFault::new(Errno::EBADMSG, what, Some(found.at))
}

/// What a certificate says, as the kernel reads it. Nothing of it is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct X509 {
    pub(crate) to_be_signed: Vec<u8>,
    /// Contents of the serial number.
    pub(crate) serial: Vec<u8>,
    /// Contents of the names: without their outermost header.
    pub(crate) issuer: Vec<u8>,
    pub(crate) subject: Vec<u8>,
    /// Seconds since 1970.
    pub(crate) not_before: u64,
    pub(crate) not_after: u64,
    pub(crate) key_algorithm: PublicKeyAlgorithm,
    pub(crate) key: Vec<u8>,
    pub(crate) signature_algorithm: SignatureAlgorithm,
    pub(crate) signature: Vec<u8>,
    pub(crate) subject_key_id: Option<Vec<u8>>,
    pub(crate) authority_key_id: Option<Vec<u8>>,
    /// Authority by issuer and serial number, in the form of [`X509::id`].
    pub(crate) authority_id: Option<Vec<u8>>,
    /// Contents of each extendedKeyUsage, which the kernel does not look at.
    pub(crate) extended_key_usage: Vec<Vec<u8>>,
}

/// What comes of checking a certificate that says it signed itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OwnSignature {
    /// It did.
    Holds,
    /// It may have, but the kernel lacks an algorithm to see it: it goes on as if not.
    Unchecked,
    /// Somebody else signed it, by what it says.
    Others,
}

/// Notes on the way through a certificate.
#[derive(Default)]
struct Notes<'a> {
    oid: &'a [u8],
    to_be_signed: &'a [u8],
    serial: &'a [u8],
    issuer: &'a [u8],
    subject: Option<&'a [u8]>,
    not_before: u64,
    not_after: u64,
    key_algorithm: Option<PublicKeyAlgorithm>,
    parameters: Option<&'a [u8]>,
    key: Option<&'a [u8]>,
    signature_oid: &'a [u8],
    signature_algorithm: Option<SignatureAlgorithm>,
    signature: &'a [u8],
    subject_key_id: Option<&'a [u8]>,
    authority: Option<&'a [u8]>,
    extended_key_usage: Vec<&'a [u8]>,
}

impl<'a> Notes<'a> {
    fn take(&mut self, note: Note, found: Found<'a>) -> Result<(), CertificateFault> {
        let value = found.value();
        match note {
            Note::Oid => self.oid = value,
            Note::Serial => self.serial = value,
            Note::SignatureAlgorithm => {
                let algorithm = SignatureAlgorithm::of_certificate(self.oid);
                self.signature_algorithm = Some(algorithm.ok_or(CertificateFault::new(
                    Errno::ENOPKG,
                    "the kernel knows no signatures of that algorithm",
                    Some(found.at),
                ))?);
                self.signature_oid = self.oid;
            }
            Note::Issuer => self.issuer = value,
            Note::Subject => self.subject = Some(value),
            Note::NotBefore => self.not_before = time(found)?,
            Note::NotAfter => self.not_after = time(found)?,
            Note::Parameters => {
                // Of the three algorithms, the key's: after the subject, and before the key.
                if self.subject.is_some() && self.key.is_none() {
                    self.parameters = Some(found.whole());
                }
            }
            Note::KeyData => self.key_data(found)?,
            Note::Extension => self.extension(found)?,
            Note::ToBeSigned => self.to_be_signed = found.whole(),
            Note::SignatureValue => {
                if self.oid != self.signature_oid {
                    return Err(CertificateFault::new(
                        Errno::EINVAL,
                        "the algorithms inside and outside of what is signed differ",
                        Some(found.at),
                    ));
                }
                self.signature = whole_bytes(found)?;
            }
            // Of another grammar.
            Note::AuthorityKeyId | Note::AuthorityName | Note::AuthoritySerial => {}
        }
        Ok(())
    }

    fn key_data(&mut self, found: Found<'a>) -> Result<(), CertificateFault> {
        let algorithm = PublicKeyAlgorithm::of_certificate(self.oid, self.parameters);
        self.key_algorithm = Some(
            algorithm
                .map_err(|fault| CertificateFault::new(fault.errno, fault.what, Some(found.at)))?,
        );
        self.key = Some(whole_bytes(found)?);
        Ok(())
    }

    /// The extensions that the kernel reads, by their bytes (`x509_process_extension`).
    fn extension(&mut self, found: Found<'a>) -> Result<(), CertificateFault> {
        let value = found.value();
        let is = |oid: ObjectIdentifier| self.oid == oid.as_bytes();
        if is(SUBJECT_KEY_IDENTIFIER) {
            let id = match value {
                [OCTET_STRING, len, id @ ..] if !id.is_empty() && usize::from(*len) == id.len() => {
                    id
                }
                _ => return Err(bad(found, "the subjectKeyIdentifier is malformed")),
            };
            if self.subject_key_id.replace(id).is_some() {
                return Err(bad(found, "there are two subjectKeyIdentifiers"));
            }
        } else if is(KEY_USAGE) {
            // The length is not looked at, nor what follows.
            if !matches!(value, [BIT_STRING, _, 0..8, _, ..]) {
                return Err(bad(found, "the keyUsage is malformed"));
            }
        } else if is(AUTHORITY_KEY_IDENTIFIER) {
            self.authority = Some(value);
        } else if is(BASIC_CONSTRAINTS) {
            let inside = match value {
                [SEQUENCE, len, inside @ ..] if usize::from(*len) == inside.len() => inside,
                _ => return Err(bad(found, "the basicConstraints are malformed")),
            };
            // `CA:FALSE` is the default, and not written.
            if !matches!(inside, [] | [BOOLEAN, 1, 0xff, ..]) {
                return Err(bad(found, "the basicConstraints do not begin with CA:TRUE"));
            }
        } else if is(EXTENDED_KEY_USAGE) {
            self.extended_key_usage.push(value);
        }
        Ok(())
    }
}

/// The contents of a bit string of whole bytes.
fn whole_bytes(found: Found<'_>) -> Result<&[u8], CertificateFault> {
    match found.value() {
        [0, bytes @ ..] => Ok(bytes),
        _ => Err(bad(found, "a bit string is not one of whole bytes")),
    }
}

/// A time in seconds since 1970, as `x509_decode_time` takes it: in UTC, to the second, in the form
/// that RFC 5280 wants for its year. Midnight may be 24:00 and a minute have 61 seconds.
pub(crate) fn time(found: Found<'_>) -> Result<u64, CertificateFault> {
    parse_time(found.tag, found.value()).ok_or(bad(found, "a time is malformed"))
}

fn parse_time(tag: u8, value: &[u8]) -> Option<u64> {
    let (digits, b'Z') = value.split_last().map(|(last, digits)| (digits, *last))? else {
        return None;
    };
    let pairs: Option<Vec<u64>> = digits
        .chunks(2)
        .map(|pair| match pair {
            [high @ b'0'..=b'9', low @ b'0'..=b'9'] => {
                Some(u64::from(high - b'0') * 10 + u64::from(low - b'0'))
            }
            _ => None,
        })
        .collect();
    let (year, rest) = match (tag, &*pairs?) {
        (UTC_TIME, [year @ 50..=99, rest @ ..]) => (1900 + year, rest.to_vec()),
        (UTC_TIME, [year, rest @ ..]) => (2000 + year, rest.to_vec()),
        (GENERALIZED_TIME, [century, year, rest @ ..]) => (century * 100 + year, rest.to_vec()),
        _ => return None,
    };
    if tag == GENERALIZED_TIME && (1950..=2049).contains(&year) {
        return None;
    }
    let [month, day, hour, minute, second] = *rest else {
        return None;
    };
    if year < 1970 || !(1..=12).contains(&month) || hour > 24 || minute > 59 || second > 60 {
        return None;
    }
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let lengths = [
        31,
        28 + u64::from(leap),
        31,
        30,
        31,
        30,
        31,
        31,
        30,
        31,
        30,
        31,
    ];
    let index = usize::try_from(month - 1).ok()?;
    if day < 1 || day > lengths[index] {
        return None;
    }
    let years_days = |year: u64| year * 365 + year / 4 - year / 100 + year / 400;
    let days =
        years_days(year - 1) - years_days(1969) + lengths[..index].iter().sum::<u64>() + day - 1;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

/// Serial number, then the contents of the issuer's name, as the kernel joins them.
pub(crate) fn issuer_serial_id(serial: &[u8], issuer: &[u8]) -> Vec<u8> {
    [serial, issuer].concat()
}

impl X509 {
    /// Reads a certificate. What follows it is not looked at.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, CertificateFault> {
        if bytes.len() > MAX_LEN {
            return Err(CertificateFault::new(
                Errno::EMSGSIZE,
                "the certificate is longer than 65535 bytes",
                None,
            ));
        }
        let mut notes = Notes::default();
        decode(&CERTIFICATE, bytes, &mut |note, found| {
            notes.take(note, found)
        })?;
        let (authority_key_id, authority_id) = match notes.authority {
            Some(authority) => parse_authority(authority)?,
            None => (None, None),
        };
        // The grammar has both.
        let (Some(key_algorithm), Some(signature_algorithm)) =
            (notes.key_algorithm, notes.signature_algorithm)
        else {
            let what = "the certificate has no key";
            return Err(CertificateFault::new(Errno::EBADMSG, what, None));
        };
        Ok(Self {
            to_be_signed: notes.to_be_signed.to_vec(),
            serial: notes.serial.to_vec(),
            issuer: notes.issuer.to_vec(),
            subject: notes.subject.unwrap_or_default().to_vec(),
            not_before: notes.not_before,
            not_after: notes.not_after,
            key_algorithm,
            key: notes.key.unwrap_or_default().to_vec(),
            signature_algorithm,
            signature: notes.signature.to_vec(),
            subject_key_id: notes.subject_key_id.map(<[u8]>::to_vec),
            authority_key_id,
            authority_id,
            extended_key_usage: notes
                .extended_key_usage
                .into_iter()
                .map(<[u8]>::to_vec)
                .collect(),
        })
    }

    /// The name that the kernel finds a certificate by: serial number, then issuer.
    pub(crate) fn id(&self) -> Vec<u8> {
        issuer_serial_id(&self.serial, &self.issuer)
    }

    pub(crate) fn public_key(&self) -> PublicKey<'_> {
        PublicKey {
            algorithm: self.key_algorithm,
            bytes: &self.key,
        }
    }

    /// Whether a kernel can compute the digest that the certificate is signed over.
    pub(crate) fn has_digest(&self, config: &KernelConfig) -> bool {
        matches!(self.signature_algorithm.kind, KeyKind::MlDsa(_))
            || self.signature_algorithm.digest.in_kernel(config).is_some()
    }

    /// The signature of the issuer, for a kernel: one whose digest it does not have is kept without
    /// one.
    pub(crate) fn issuers_signature(&self, config: &KernelConfig) -> Signature<'_> {
        let SignatureAlgorithm { kind, digest } = self.signature_algorithm;
        let signed = match (kind, digest.in_kernel(config)) {
            (KeyKind::MlDsa(_), _) => Signed::Message(Cow::Borrowed(&self.to_be_signed)),
            (_, Some(digest)) => Signed::Digest(digest.digest(&self.to_be_signed)),
            (_, None) => Signed::NoDigest,
        };
        Signature {
            algorithm: self.signature_algorithm,
            signed,
            bytes: &self.signature,
        }
    }

    /// Looks whether the certificate signed itself, and if it says so, whether it did
    /// (`x509_check_for_self_signed`).
    ///
    /// # Errors
    /// What the kernel answers for a certificate that says so, and did not.
    pub(crate) fn own_signature(
        &self,
        config: &KernelConfig,
    ) -> Result<OwnSignature, CertificateFault> {
        if self.subject != self.issuer {
            return Ok(OwnSignature::Others);
        }
        let key_id = self.authority_key_id.as_ref();
        let id = self.authority_id.as_ref();
        if key_id.is_some() || id.is_some() {
            let same_key = key_id.is_some() && key_id == self.subject_key_id.as_ref();
            let same_id = id.is_some_and(|id| *id == self.id());
            if !same_key && !same_id {
                return Ok(OwnSignature::Others);
            }
            if same_key != same_id && key_id.is_some() && id.is_some() {
                return Err(CertificateFault::of_own_signature(
                    Errno::EKEYREJECTED,
                    "its authorityKeyIdentifier names another certificate too",
                ));
            }
        }
        if !self.has_digest(config) {
            return Ok(OwnSignature::Unchecked);
        }
        public_key::verify(self.public_key(), &self.issuers_signature(config), config)
            .map_err(|fault| CertificateFault::of_own_signature(fault.errno, fault.what))?;
        Ok(OwnSignature::Holds)
    }
}

type Authority = (Option<Vec<u8>>, Option<Vec<u8>>);

/// The authorityKeyIdentifier: key identifier, and issuer with serial number.
fn parse_authority(bytes: &[u8]) -> Result<Authority, CertificateFault> {
    let (mut key_id, mut id, mut name) = (None, None, None);
    decode(&AUTHORITY, bytes, &mut |note, found: Found<'_>| {
        match note {
            Note::AuthorityKeyId => key_id = Some(found.value().to_vec()),
            Note::AuthorityName => name = Some(found.value().to_vec()),
            Note::AuthoritySerial => {
                let name = name.as_ref();
                id = name.map(|name| issuer_serial_id(found.value(), name));
            }
            _ => {}
        }
        Ok::<(), CertificateFault>(())
    })?;
    Ok((key_id, id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_rfc_5280() {
        let utc = |text: &str| parse_time(UTC_TIME, text.as_bytes());
        let general = |text: &str| parse_time(GENERALIZED_TIME, text.as_bytes());
        assert_eq!(utc("700101000000Z"), Some(0));
        assert_eq!(utc("260228235960Z"), utc("260301000000Z"));
        assert_eq!(utc("261125044500Z"), Some(1_795_581_900));
        assert_eq!(utc("000229240000Z"), utc("000301000000Z"));
        assert_eq!(general("20500101000000Z"), Some(2_524_608_000));
        assert_eq!(general("99991231235959Z"), Some(253_402_300_799));
        for bad in [
            "691231235959Z",
            "990229000000Z",
            "261300000000Z",
            "260100000000Z",
            "260132000000Z",
            "260101250000Z",
            "260101006000Z",
            "260101000061Z",
            "2601010000Z",
            "260101000000",
            "260101000000+",
            "26010100000aZ",
            "",
        ] {
            assert_eq!(utc(bad), None, "{bad}");
        }
        for bad in ["20491231235959Z", "19500101000000Z", "1969123123595Z"] {
            assert_eq!(general(bad), None, "{bad}");
        }
        assert_eq!(parse_time(0x30, b""), None);
    }
}
