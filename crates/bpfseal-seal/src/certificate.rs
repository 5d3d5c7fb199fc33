//! X.509 certificates, as far as signing and the kernel's trust walk look at them.

use der::asn1::ObjectIdentifier;
use der::{Decode as _, Encode as _};
use sha2::Digest as _;
use x509_cert::ext::pkix::{AuthorityKeyIdentifier, ExtendedKeyUsage, SubjectKeyIdentifier};

use crate::error::CertificateError;
use crate::hex;
use crate::public_key::{Fault, SignatureAlgorithm};

const SUBJECT_KEY_IDENTIFIER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.14");
const AUTHORITY_KEY_IDENTIFIER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.35");
const EXTENDED_KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37");
const CODE_SIGNING: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.3");

/// Why a certificate is not seen to be an issuer's.
pub(crate) enum IssueFault {
    /// The signature does not hold.
    Wrong,
    /// Its algorithm is one that is not computed here.
    Unsupported(String),
}

/// A certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    der: Vec<u8>,
    parsed: x509_cert::Certificate,
    subject_key_id: Option<Vec<u8>>,
    authority_key_id: Option<Vec<u8>>,
    /// Authority by issuer and serial number, in the form of [`Certificate::id`].
    authority_id: Option<Vec<u8>>,
}

impl Certificate {
    /// Reads one certificate, PEM or DER. Text around a PEM block is skipped.
    ///
    /// # Errors
    /// [`CertificateError`] that says what was found instead, or what is wrong with it.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CertificateError> {
        if bytes.first() == Some(&0x30) {
            return Self::from_der(bytes);
        }
        let mut all = Self::all_from_pem(bytes)?;
        Ok(all.swap_remove(0))
    }

    /// Reads all certificates of a PEM file, or the one of a DER file.
    ///
    /// # Errors
    /// As [`Certificate::from_bytes`].
    pub fn all_from_bytes(bytes: &[u8]) -> Result<Vec<Self>, CertificateError> {
        if bytes.first() == Some(&0x30) {
            return Self::from_der(bytes).map(|c| vec![c]);
        }
        Self::all_from_pem(bytes)
    }

    /// At least one.
    fn all_from_pem(bytes: &[u8]) -> Result<Vec<Self>, CertificateError> {
        let blocks = pem::parse_many(bytes).unwrap_or_default();
        let found = blocks.first().map(|b| b.tag().to_owned());
        let all = blocks
            .iter()
            .filter(|b| b.tag() == "CERTIFICATE" || b.tag() == "X509 CERTIFICATE")
            .map(|b| Self::from_der(b.contents()))
            .collect::<Result<Vec<_>, _>>()?;
        if all.is_empty() {
            return Err(CertificateError::NoCertificate { found });
        }
        Ok(all)
    }

    /// Reads a certificate in DER.
    ///
    /// # Errors
    /// [`CertificateError::Malformed`].
    pub fn from_der(bytes: &[u8]) -> Result<Self, CertificateError> {
        let malformed = |source| CertificateError::Malformed { source };
        let parsed = x509_cert::Certificate::from_der(bytes).map_err(malformed)?;
        let extension = |oid: ObjectIdentifier| {
            parsed
                .tbs_certificate
                .extensions
                .iter()
                .flatten()
                .find(|e| e.extn_id == oid)
                .map(|e| e.extn_value.as_bytes())
        };
        let subject_key_id = extension(SUBJECT_KEY_IDENTIFIER)
            .map(SubjectKeyIdentifier::from_der)
            .transpose()
            .map_err(malformed)?
            .map(|id| id.0.as_bytes().to_vec());
        let authority = extension(AUTHORITY_KEY_IDENTIFIER)
            .map(AuthorityKeyIdentifier::from_der)
            .transpose()
            .map_err(malformed)?;
        let authority_key_id = authority
            .as_ref()
            .and_then(|a| a.key_identifier.as_ref())
            .map(|id| id.as_bytes().to_vec());
        let authority_id = authority.as_ref().and_then(|a| {
            let serial = a.authority_cert_serial_number.as_ref()?;
            let name = a
                .authority_cert_issuer
                .as_ref()?
                .iter()
                .find_map(|n| match n {
                    x509_cert::ext::pkix::name::GeneralName::DirectoryName(name) => Some(name),
                    _ => None,
                })?;
            Some(issuer_serial_id(serial.as_bytes(), &name_contents(name)?))
        });
        Ok(Self {
            der: bytes.to_vec(),
            parsed,
            subject_key_id,
            authority_key_id,
            authority_id,
        })
    }

    /// The certificate in DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Subject, as text.
    #[must_use]
    pub fn subject(&self) -> String {
        self.parsed.tbs_certificate.subject.to_string()
    }

    /// Issuer, as text.
    #[must_use]
    pub fn issuer(&self) -> String {
        self.parsed.tbs_certificate.issuer.to_string()
    }

    /// Serial number, hexadecimal.
    #[must_use]
    pub fn serial(&self) -> String {
        hex(self.parsed.tbs_certificate.serial_number.as_bytes())
    }

    /// The subjectKeyIdentifier extension.
    #[must_use]
    pub fn subject_key_id(&self) -> Option<&[u8]> {
        self.subject_key_id.as_deref()
    }

    /// `IssuerAndSerialNumber` of CMS.
    pub(crate) fn issuer_and_serial(&self) -> Result<Vec<u8>, der::Error> {
        let tbs = &self.parsed.tbs_certificate;
        let parts = [tbs.issuer.to_der()?, tbs.serial_number.to_der()?];
        Ok(crate::writer::tlv(crate::ber::SEQUENCE, &parts.concat()))
    }

    pub(crate) fn authority_key_id(&self) -> Option<&[u8]> {
        self.authority_key_id.as_deref()
    }

    pub(crate) fn authority_id(&self) -> Option<&[u8]> {
        self.authority_id.as_deref()
    }

    /// SHA-256 of the certificate, hexadecimal.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        hex(&sha2::Sha256::digest(&self.der))
    }

    /// The name that the kernel finds a certificate by: serial number, then issuer.
    pub(crate) fn id(&self) -> Vec<u8> {
        let tbs = &self.parsed.tbs_certificate;
        issuer_serial_id(
            tbs.serial_number.as_bytes(),
            &name_contents(&tbs.issuer).unwrap_or_default(),
        )
    }

    pub(crate) fn is_self_issued(&self) -> bool {
        let tbs = &self.parsed.tbs_certificate;
        let same_key = match (&self.authority_key_id, &self.subject_key_id) {
            (Some(authority), Some(own)) => authority == own,
            _ => true,
        };
        tbs.subject == tbs.issuer && same_key
    }

    pub(crate) fn public_key_algorithm(&self) -> ObjectIdentifier {
        self.parsed
            .tbs_certificate
            .subject_public_key_info
            .algorithm
            .oid
    }

    pub(crate) fn public_key_curve(&self) -> Option<ObjectIdentifier> {
        self.parsed
            .tbs_certificate
            .subject_public_key_info
            .algorithm
            .parameters
            .as_ref()
            .and_then(|p| p.decode_as().ok())
    }

    /// The public key as it is in the certificate (`subjectPublicKey`).
    #[must_use]
    pub fn public_key(&self) -> &[u8] {
        self.parsed
            .tbs_certificate
            .subject_public_key_info
            .subject_public_key
            .raw_bytes()
    }

    /// Bits of the modulus of an RSA key: `SEQUENCE { modulus INTEGER, exponent INTEGER }`.
    pub(crate) fn rsa_bits(&self) -> usize {
        crate::ber::Reader::new(self.public_key())
            .next()
            .and_then(|sequence| sequence.inside().next())
            .map_or(0, |modulus| {
                modulus.value.iter().skip_while(|b| **b == 0).count() * 8
            })
    }

    /// Whether the certificate is for signing code (`extendedKeyUsage`, RFC 5280, 4.2.1.12).
    #[must_use]
    pub fn is_for_code_signing(&self) -> bool {
        let extensions = self.parsed.tbs_certificate.extensions.iter().flatten();
        extensions
            .filter(|e| e.extn_id == EXTENDED_KEY_USAGE)
            .filter_map(|e| ExtendedKeyUsage::from_der(e.extn_value.as_bytes()).ok())
            .any(|usage| usage.0.contains(&CODE_SIGNING))
    }

    /// SHA-256 of the part that its issuer signed: what the kernel's blacklist names it by.
    #[must_use]
    pub fn tbs_digest(&self) -> [u8; 32] {
        sha2::Sha256::digest(self.to_be_signed()).into()
    }

    /// The part that its issuer signed.
    pub(crate) fn to_be_signed(&self) -> Vec<u8> {
        self.parsed.tbs_certificate.to_der().unwrap_or_default()
    }

    pub(crate) fn signature_algorithm(&self) -> ObjectIdentifier {
        self.parsed.signature_algorithm.oid
    }

    pub(crate) fn signature(&self) -> &[u8] {
        self.parsed.signature.raw_bytes()
    }

    /// Checks that an issuer's key signed this.
    pub(crate) fn check_issued(&self, issuer: &Self) -> Result<(), IssueFault> {
        let oid = self.signature_algorithm();
        let algorithm = SignatureAlgorithm::of_certificate(&oid)
            .ok_or_else(|| IssueFault::Unsupported(oid.to_string()))?;
        let message = self.to_be_signed();
        crate::public_key::verify(issuer, algorithm, &message, self.signature()).map_err(|fault| {
            match fault {
                Fault::Wrong => IssueFault::Wrong,
                Fault::Unsupported => IssueFault::Unsupported(algorithm.to_string()),
            }
        })
    }

    /// Whether an issuer's name and key made this.
    pub(crate) fn is_issued_by(&self, issuer: &Self) -> bool {
        self.parsed.tbs_certificate.issuer == issuer.parsed.tbs_certificate.subject
            && self.check_issued(issuer).is_ok()
    }

    /// From when to when it is valid, in seconds since 1970.
    #[must_use]
    pub fn validity(&self) -> (u64, u64) {
        let validity = &self.parsed.tbs_certificate.validity;
        (
            validity.not_before.to_unix_duration().as_secs(),
            validity.not_after.to_unix_duration().as_secs(),
        )
    }
}

/// Serial number, then the contents of the issuer's name, as the kernel joins them.
pub(crate) fn issuer_serial_id(serial: &[u8], issuer: &[u8]) -> Vec<u8> {
    [serial, issuer].concat()
}

/// The inside of a name's outer sequence.
fn name_contents(name: &x509_cert::name::Name) -> Option<Vec<u8>> {
    let der = name.to_der().ok()?;
    crate::ber::Reader::new(&der)
        .next()
        .ok()
        .map(|tlv| tlv.value.to_vec())
}
