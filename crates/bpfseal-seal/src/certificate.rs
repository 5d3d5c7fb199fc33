//! X.509 certificates: what people have in files, read as the kernel reads it.

use der::Decode as _;
use der::asn1::ObjectIdentifier;
use sha2::Digest as _;
use x509_cert::ext::pkix::ExtendedKeyUsage;

use crate::algorithm::{KeyAlgorithm, PublicKeyAlgorithm};
use crate::ber::{Reader, SEQUENCE};
use crate::config::KernelConfig;
use crate::ecdsa::Curve;
use crate::encode::tlv;
use crate::error::{CertificateError, block_label};
use crate::fault::SignatureFault;
use crate::hex::hex;
use crate::public_key;
use crate::rsa;
use crate::x509::X509;

/// What a PEM block begins with.
const BEGIN: &[u8] = b"-----BEGIN";
/// Set in the tag of a constructed element.
const CONSTRUCTED: u8 = 0x20;

/// Whether a PEM block is a key or its parameters, which say nothing about certificates.
fn is_key(tag: &str) -> bool {
    tag.ends_with("PRIVATE KEY") || tag.ends_with("PUBLIC KEY") || tag.ends_with(" PARAMETERS")
}

const CODE_SIGNING: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.3");

/// A certificate that the kernel's parser takes. Whether a kernel takes it into a keyring, where it
/// would check a certificate that says it signed itself, [`crate::TrustStore::add_key`] says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    der: Vec<u8>,
    parsed: X509,
}

impl Certificate {
    /// Reads one certificate, PEM or DER: the first of several. Text around PEM blocks is skipped.
    ///
    /// # Errors
    /// [`CertificateError`] that says what was found instead, or what is wrong with it.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CertificateError> {
        let mut all = Self::all_from_bytes(bytes)?;
        Ok(all.swap_remove(0))
    }

    /// Reads all certificates of a PEM file, or the one of a DER file.
    ///
    /// # Errors
    /// As [`Certificate::from_bytes`].
    pub fn all_from_bytes(bytes: &[u8]) -> Result<Vec<Self>, CertificateError> {
        let all = Self::split(bytes)?;
        all.iter().map(|der| Self::from_der(der)).collect()
    }

    /// The certificates of a PEM file, or the one of a DER file, as they are encoded: at least one.
    /// Text around PEM blocks is skipped, and so are keys; anything else has to be a certificate,
    /// so that none is passed over. What the kernel makes of them,
    /// [`crate::TrustStore::add_der`] says.
    ///
    /// # Errors
    /// [`CertificateError`] for a file without a certificate, or one that is not read whole.
    pub fn split(bytes: &[u8]) -> Result<Vec<Vec<u8>>, CertificateError> {
        let is_text = std::str::from_utf8(bytes).is_ok_and(|text| {
            text.chars()
                .all(|c| !c.is_control() || c.is_ascii_whitespace())
        });
        // The kernel does not look at the bit that says constructed.
        let is_sequence = bytes
            .first()
            .is_some_and(|tag| tag | CONSTRUCTED == SEQUENCE);
        let begins = bytes.windows(BEGIN.len()).filter(|w| *w == BEGIN).count();
        if !is_text && (is_sequence || begins == 0) {
            return Ok(vec![bytes.to_vec()]);
        }
        let blocks = pem::parse_many(bytes).map_err(|_| CertificateError::Damaged)?;
        // The library passes over a block without an end.
        if blocks.len() != begins {
            return Err(CertificateError::Damaged);
        }
        let mut all = Vec::new();
        let mut key = None;
        for block in &blocks {
            match block.tag() {
                "CERTIFICATE" | "X509 CERTIFICATE" => all.push(block.contents().to_vec()),
                tag if is_key(tag) => key = Some(block_label(tag)),
                tag => {
                    return Err(CertificateError::NoCertificate {
                        found: Some(block_label(tag)),
                    });
                }
            }
        }
        if all.is_empty() {
            return Err(CertificateError::NoCertificate { found: key });
        }
        Ok(all)
    }

    /// Whether more follows the certificate in its file, which the kernel does not look at.
    #[must_use]
    pub fn has_trailing_bytes(&self) -> bool {
        let mut reader = Reader::new(&self.der);
        !(reader.next().is_ok() && reader.is_empty())
    }

    /// Reads a certificate in DER. What follows it is not looked at, and kept.
    ///
    /// # Errors
    /// [`CertificateError::Refused`] with what the kernel answers.
    pub fn from_der(bytes: &[u8]) -> Result<Self, CertificateError> {
        let parsed = X509::parse(bytes).map_err(CertificateError::Refused)?;
        Ok(Self::new(bytes, parsed))
    }

    pub(crate) fn new(bytes: &[u8], parsed: X509) -> Self {
        Self {
            der: bytes.to_vec(),
            parsed,
        }
    }

    pub(crate) fn parsed(&self) -> &X509 {
        &self.parsed
    }

    /// The certificate in DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Subject, as text.
    #[must_use]
    pub fn subject(&self) -> String {
        name(&self.parsed.subject)
    }

    /// Issuer, as text.
    #[must_use]
    pub fn issuer(&self) -> String {
        name(&self.parsed.issuer)
    }

    /// Serial number, hexadecimal.
    #[must_use]
    pub fn serial(&self) -> String {
        hex(&self.parsed.serial)
    }

    /// The subjectKeyIdentifier extension.
    #[must_use]
    pub fn subject_key_id(&self) -> Option<&[u8]> {
        self.parsed.subject_key_id.as_deref()
    }

    pub(crate) fn authority_key_id(&self) -> Option<&[u8]> {
        self.parsed.authority_key_id.as_deref()
    }

    pub(crate) fn authority_id(&self) -> Option<&[u8]> {
        self.parsed.authority_id.as_deref()
    }

    /// SHA-256 of the certificate, hexadecimal.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        hex(&sha2::Sha256::digest(&self.der))
    }

    /// The name that the kernel finds a certificate by: serial number, then issuer.
    pub(crate) fn id(&self) -> Vec<u8> {
        self.parsed.id()
    }

    /// The public key as it is in the certificate (`subjectPublicKey`).
    #[must_use]
    pub fn public_key(&self) -> &[u8] {
        &self.parsed.key
    }

    /// The algorithm of its key, if it is one that signatures are made with.
    #[must_use]
    pub fn key_algorithm(&self) -> Option<KeyAlgorithm> {
        match self.parsed.key_algorithm {
            PublicKeyAlgorithm::Rsa => {
                Some(KeyAlgorithm::Rsa(rsa::modulus_bits(self.public_key())))
            }
            PublicKeyAlgorithm::MlDsa(set) => Some(KeyAlgorithm::MlDsa(set)),
            PublicKeyAlgorithm::Ecdsa(Curve::P256) => Some(KeyAlgorithm::EcdsaP256),
            PublicKeyAlgorithm::Ecdsa(Curve::P384) => Some(KeyAlgorithm::EcdsaP384),
            PublicKeyAlgorithm::Ecdsa(Curve::P521) => Some(KeyAlgorithm::EcdsaP521),
            PublicKeyAlgorithm::Ecdsa(Curve::P192) | PublicKeyAlgorithm::Ecrdsa => None,
        }
    }

    /// Whether the certificate is for signing code (`extendedKeyUsage`, RFC 5280, 4.2.1.12).
    #[must_use]
    pub fn is_for_code_signing(&self) -> bool {
        // One that says it twice may say two things.
        let [usage] = &*self.parsed.extended_key_usage else {
            return false;
        };
        ExtendedKeyUsage::from_der(usage).is_ok_and(|usage| usage.0.contains(&CODE_SIGNING))
    }

    /// SHA-256 of the part that its issuer signed, as it is encoded: what the kernel's blacklist
    /// names it by.
    #[must_use]
    pub fn tbs_digest(&self) -> [u8; 32] {
        sha2::Sha256::digest(&self.parsed.to_be_signed).into()
    }

    /// Whether an issuer's name and key made this.
    pub(crate) fn is_issued_by(&self, issuer: &Self, config: &KernelConfig) -> bool {
        self.parsed.issuer == issuer.parsed.subject
            && self.parsed.has_digest(config)
            && self.check_issued(issuer, config).is_ok()
    }

    /// Checks that an issuer's key signed this, as the kernel does.
    pub(crate) fn check_issued(
        &self,
        issuer: &Self,
        config: &KernelConfig,
    ) -> Result<(), SignatureFault> {
        let signature = self.parsed.issuers_signature(config);
        public_key::verify(issuer.parsed.public_key(), &signature, config)
    }

    /// From when to when it is valid, in seconds since 1970.
    #[must_use]
    pub fn validity(&self) -> (u64, u64) {
        (self.parsed.not_before, self.parsed.not_after)
    }
}

/// A name as text (RFC 4514); in hexadecimal when it is no name that has one. What would change a
/// terminal is escaped.
fn name(contents: &[u8]) -> String {
    let encoded = tlv(SEQUENCE, contents);
    let text = match x509_cert::name::Name::from_der(&encoded) {
        Ok(name) => name.to_string(),
        Err(_) => return format!("#{}", hex(&encoded)),
    };
    let escaped = text.chars().map(|c| {
        let hidden = c.is_control() || HIDDEN.iter().any(|range| range.contains(&c));
        if hidden {
            c.escape_unicode().to_string()
        } else {
            c.to_string()
        }
    });
    escaped.collect()
}

/// Characters that are not seen, or turn around what is.
const HIDDEN: [std::ops::RangeInclusive<char>; 3] = [
    '\u{200b}'..='\u{200f}',
    '\u{2028}'..='\u{202e}',
    '\u{2066}'..='\u{2069}',
];
