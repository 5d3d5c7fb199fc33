//! Checking a signature with a public key, the way the kernel's `public_key.c` does.

use der::asn1::ObjectIdentifier;
use p256::ecdsa::signature::hazmat::PrehashVerifier as _;
use ring::signature::{self, RsaParameters, UnparsedPublicKey};

use crate::ber::{INTEGER, Reader, SEQUENCE};
use crate::certificate::Certificate;
use crate::digest::DigestAlgorithm;
use crate::ml_dsa::MlDsaSet;
use crate::writer::tlv;

/// NIST P-256.
pub(crate) const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
/// NIST P-384.
pub(crate) const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
/// NIST P-521.
pub(crate) const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");

/// The family of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum KeyKind {
    Ecdsa,
    Rsa,
    MlDsa(MlDsaSet),
}

impl KeyKind {
    /// By the signature algorithm of a message: of an ECDSA identifier only the family counts,
    /// the digest has an identifier of its own.
    pub(crate) fn from_signature_oid(oid: &ObjectIdentifier) -> Option<Self> {
        match oid.to_string().as_str() {
            "1.2.840.113549.1.1.1" => Some(Self::Rsa),
            "1.2.840.10045.4.1"
            | "1.2.840.10045.4.3.1"
            | "1.2.840.10045.4.3.2"
            | "1.2.840.10045.4.3.3"
            | "1.2.840.10045.4.3.4"
            | "2.16.840.1.101.3.4.3.10"
            | "2.16.840.1.101.3.4.3.11"
            | "2.16.840.1.101.3.4.3.12" => Some(Self::Ecdsa),
            _ => MlDsaSet::from_oid(oid).map(Self::MlDsa),
        }
    }

    fn of_certificate(certificate: &Certificate) -> Option<Self> {
        let oid = certificate.public_key_algorithm();
        match oid.to_string().as_str() {
            "1.2.840.113549.1.1.1" => Some(Self::Rsa),
            "1.2.840.10045.2.1" => Some(Self::Ecdsa),
            _ => MlDsaSet::from_oid(&oid).map(Self::MlDsa),
        }
    }
}

/// How something was signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SignatureAlgorithm {
    pub(crate) kind: KeyKind,
    pub(crate) digest: DigestAlgorithm,
}

impl SignatureAlgorithm {
    /// By the signature algorithm of a certificate, which names the digest too.
    pub(crate) fn of_certificate(oid: &ObjectIdentifier) -> Option<Self> {
        use DigestAlgorithm as D;
        let (kind, digest) = match oid.to_string().as_str() {
            "1.2.840.113549.1.1.5" => (KeyKind::Rsa, D::Sha1),
            "1.2.840.113549.1.1.14" => (KeyKind::Rsa, D::Sha224),
            "1.2.840.113549.1.1.11" => (KeyKind::Rsa, D::Sha256),
            "1.2.840.113549.1.1.12" => (KeyKind::Rsa, D::Sha384),
            "1.2.840.113549.1.1.13" => (KeyKind::Rsa, D::Sha512),
            "1.2.840.10045.4.1" => (KeyKind::Ecdsa, D::Sha1),
            "1.2.840.10045.4.3.1" => (KeyKind::Ecdsa, D::Sha224),
            "1.2.840.10045.4.3.2" => (KeyKind::Ecdsa, D::Sha256),
            "1.2.840.10045.4.3.3" => (KeyKind::Ecdsa, D::Sha384),
            "1.2.840.10045.4.3.4" => (KeyKind::Ecdsa, D::Sha512),
            // It takes the message itself; SHA-512 is what stands beside it in a message.
            _ => (KeyKind::MlDsa(MlDsaSet::from_oid(oid)?), D::Sha512),
        };
        Some(Self { kind, digest })
    }
}

impl std::fmt::Display for SignatureAlgorithm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match self.kind {
            KeyKind::Ecdsa => "ecdsa",
            KeyKind::Rsa => "rsa",
            KeyKind::MlDsa(set) => return write!(f, "{set}"),
        };
        write!(f, "{kind} with {}", self.digest.name())
    }
}

/// Why a signature was not checked, or did not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It does not hold.
    Wrong,
    /// The algorithm is one that is not computed here.
    Unsupported,
}

/// Checks a signature over a message with the public key of a certificate.
pub(crate) fn verify(
    certificate: &Certificate,
    algorithm: SignatureAlgorithm,
    message: &[u8],
    signature: &[u8],
) -> Result<(), Fault> {
    let kind = KeyKind::of_certificate(certificate).ok_or(Fault::Unsupported)?;
    if kind != algorithm.kind {
        return Err(Fault::Wrong);
    }
    match kind {
        KeyKind::Rsa => rsa(
            certificate.public_key(),
            algorithm.digest,
            message,
            signature,
        ),
        KeyKind::Ecdsa => ecdsa(certificate, algorithm.digest, message, signature),
        KeyKind::MlDsa(set) => set.verify(certificate.public_key(), message, signature),
    }
}

fn rsa(
    public_key: &[u8],
    digest: DigestAlgorithm,
    message: &[u8],
    signature: &[u8],
) -> Result<(), Fault> {
    let parameters: &'static RsaParameters = match digest {
        DigestAlgorithm::Sha1 => &signature::RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY,
        DigestAlgorithm::Sha256 => &signature::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
        DigestAlgorithm::Sha384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        DigestAlgorithm::Sha512 => &signature::RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY,
        DigestAlgorithm::Sha224
        | DigestAlgorithm::Sha3_256
        | DigestAlgorithm::Sha3_384
        | DigestAlgorithm::Sha3_512 => return Err(Fault::Unsupported),
    };
    UnparsedPublicKey::new(parameters, public_key)
        .verify(message, signature)
        .map_err(|_| Fault::Wrong)
}

fn ecdsa(
    certificate: &Certificate,
    digest: DigestAlgorithm,
    message: &[u8],
    signature: &[u8],
) -> Result<(), Fault> {
    let digest = digest.digest(message);
    let point = certificate.public_key();
    match certificate.public_key_curve() {
        Some(P256) => {
            let raw = fixed_signature(signature, 32).ok_or(Fault::Wrong)?;
            let signature = p256::ecdsa::Signature::from_slice(&raw).map_err(|_| Fault::Wrong)?;
            p256::ecdsa::VerifyingKey::from_sec1_bytes(point)
                .and_then(|key| key.verify_prehash(&digest, &signature))
                .map_err(|_| Fault::Wrong)
        }
        Some(P384) => {
            let raw = fixed_signature(signature, 48).ok_or(Fault::Wrong)?;
            let signature = p384::ecdsa::Signature::from_slice(&raw).map_err(|_| Fault::Wrong)?;
            p384::ecdsa::VerifyingKey::from_sec1_bytes(point)
                .and_then(|key| key.verify_prehash(&digest, &signature))
                .map_err(|_| Fault::Wrong)
        }
        Some(P521) => {
            let raw = fixed_signature(signature, 66).ok_or(Fault::Wrong)?;
            let signature = p521::ecdsa::Signature::from_slice(&raw).map_err(|_| Fault::Wrong)?;
            p521::ecdsa::VerifyingKey::from_sec1_bytes(point)
                .and_then(|key| key.verify_prehash(&widened(&digest, 33), &signature))
                .map_err(|_| Fault::Wrong)
        }
        _ => Err(Fault::Unsupported),
    }
}

/// A digest with zeroes in front, which do not change the number that it is: the libraries want at
/// least half as many bytes as the curve has.
pub(crate) fn widened(digest: &[u8], len: usize) -> Vec<u8> {
    let missing = len.saturating_sub(digest.len());
    [&vec![0; missing], digest].concat()
}

/// `SEQUENCE { r INTEGER, s INTEGER }` as two numbers of the field's size.
fn fixed_signature(bytes: &[u8], size: usize) -> Option<Vec<u8>> {
    let mut inside = Reader::new(bytes).expect(SEQUENCE, "").ok()?.inside();
    let mut out = Vec::with_capacity(size * 2);
    for _ in 0..2 {
        let number = inside.expect(INTEGER, "").ok()?.value;
        let number = match number {
            [] => return None,
            [0, rest @ ..] => rest,
            all => all,
        };
        out.resize(out.len() + size.checked_sub(number.len())?, 0);
        out.extend_from_slice(number);
    }
    inside.end().ok()?;
    Some(out)
}

/// Two numbers of the field's size, as tokens answer an ECDSA signature, as `ECDSA-Sig-Value` in
/// DER. `None` for bytes of another length.
#[must_use]
pub fn ecdsa_to_der(raw: &[u8], size: usize) -> Option<Vec<u8>> {
    if size == 0 || raw.len() != size * 2 {
        return None;
    }
    let number = |bytes: &[u8]| {
        let skipped = bytes.iter().take_while(|b| **b == 0).count();
        let bytes = &bytes[skipped.min(bytes.len() - 1)..];
        // A number whose first bit is set would be negative.
        let sign: &[u8] = if bytes[0] & 0x80 == 0 { &[] } else { &[0] };
        tlv(INTEGER, &[sign, bytes].concat())
    };
    let (r, s) = raw.split_at(size);
    Some(tlv(SEQUENCE, &[number(r), number(s)].concat()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_signatures_of_ecdsa_are_encoded() {
        let der = ecdsa_to_der(&[0, 0x80, 0, 0], 2).unwrap();
        assert_eq!(der, [0x30, 7, 2, 2, 0, 0x80, 2, 1, 0]);
        assert_eq!(fixed_signature(&der, 2), Some(vec![0, 0x80, 0, 0]));
        assert_eq!(ecdsa_to_der(&[1, 2, 3], 2), None);
        assert_eq!(ecdsa_to_der(&[], 0), None);
    }
}
