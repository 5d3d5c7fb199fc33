//! Private keys, and what signs with them.
//!
//! [`Signer`] is the seam: a key in a file here, a token or a service elsewhere. Keys come from
//! PEM, encrypted or not.

use der::Decode as _;
use der::asn1::ObjectIdentifier;
use p384::ecdsa::signature::hazmat::{PrehashSigner as _, RandomizedPrehashSigner as _};
use ring::rand::SystemRandom;
use ring::signature::{
    KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RsaEncoding, RsaKeyPair,
};

use crate::algorithm::KeyAlgorithm;
use crate::digest::DigestAlgorithm;
use crate::error::{KeyError, block_label};
use crate::ml_dsa::MlDsaSet;
use crate::ml_dsa_key::MlDsaKey;
use crate::oid::{EC_PUBLIC_KEY, P256, P384, P521, RSA};
use crate::p256_key::P256Key;
use crate::secret::Secret;

/// Something that signs with a private key: a [`SigningKey`], or a token or service for which
/// somebody implements this. The answers of all but the former are checked before they are used.
pub trait Signer {
    /// Algorithm of the key.
    fn algorithm(&self) -> KeyAlgorithm;

    /// The public key as in a certificate's `subjectPublicKey`: PKCS#1 `RSAPublicKey`, or an
    /// uncompressed point.
    fn public_key(&self) -> Vec<u8>;

    /// Signs a message with one of [`SIGNING_DIGESTS`](crate::SIGNING_DIGESTS): PKCS#1 v1.5 for RSA, `ECDSA-Sig-Value` in
    /// DER for ECDSA, the bytes themselves for ML-DSA.
    ///
    /// # Errors
    /// [`KeyError::Sign`] when the key can not sign.
    fn sign(&self, digest: DigestAlgorithm, message: &[u8]) -> Result<Vec<u8>, KeyError>;

    /// Whether this is a [`SigningKey`]. Nobody else can say so: outside of this crate the argument
    /// has no name, and no value.
    #[doc(hidden)]
    fn is_signing_key(&self, _: private::Token) -> bool {
        false
    }
}

mod private {
    /// What only this crate can name.
    #[derive(Debug, Clone, Copy)]
    pub struct Token(pub(super) ());
}

/// Whether a signer's answers are computed right here, with a key that is known to be what
/// [`Signer::public_key`] says.
pub(crate) fn is_in_memory(signer: &dyn Signer) -> bool {
    signer.is_signing_key(private::Token(()))
}

/// A private key in memory.
pub struct SigningKey(Inner);

enum Inner {
    Rsa(Box<RsaKeyPair>),
    P256(Box<P256Key>),
    P384(p384::ecdsa::SigningKey),
    P521(p521::ecdsa::SigningKey),
    MlDsa(Box<MlDsaKey>),
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never the key.
        write!(f, "SigningKey({})", self.algorithm())
    }
}

impl SigningKey {
    /// Reads the first private key of a PEM file: PKCS#8, PKCS#1 or SEC1, not encrypted.
    ///
    /// # Errors
    /// [`KeyError`] that says what was found instead, or what is wrong with the key.
    pub fn from_pem(bytes: &[u8]) -> Result<Self, KeyError> {
        Self::from_encrypted_pem(bytes, None)
    }

    /// Reads the first private key of a PEM file, which may be encrypted (PKCS#8, PBES2).
    ///
    /// # Errors
    /// [`KeyError::Encrypted`] without a passphrase, [`KeyError::Passphrase`] with a wrong one;
    /// else as [`Self::from_pem`].
    pub fn from_encrypted_pem(bytes: &[u8], passphrase: Option<&Secret>) -> Result<Self, KeyError> {
        let blocks = pem::parse_many(bytes).map_err(|e| malformed("PEM", pem_fault(&e)))?;
        let found = blocks.first().map(|block| block_label(block.tag()));
        for block in blocks {
            let label = block_label(block.tag());
            let label = label.as_str();
            let traditional = block.headers().get("Proc-Type");
            if traditional.is_some_and(|v| v.contains("ENCRYPTED")) {
                return Err(KeyError::TraditionalEncryption);
            }
            let contents = Secret::new(block.into_contents());
            let contents = contents.expose();
            if label == "ENCRYPTED PRIVATE KEY" {
                if is_encrypted_by_an_old_scheme(contents) {
                    return Err(KeyError::OldEncryption);
                }
                let passphrase = passphrase.ok_or(KeyError::Encrypted)?;
                let info = pkcs8::EncryptedPrivateKeyInfo::from_der(contents)
                    .map_err(|e| malformed(label, e))?;
                // Wiped when it goes out of scope.
                let plain = info.decrypt(passphrase.expose());
                let plain = plain.map_err(|_| KeyError::Passphrase)?;
                return from_pkcs8(plain.as_bytes());
            }
            match label {
                "PRIVATE KEY" => return from_pkcs8(contents),
                "RSA PRIVATE KEY" => {
                    return rsa(RsaKeyPair::from_der(contents), contents, label);
                }
                "EC PRIVATE KEY" => return from_sec1(contents, None, label),
                _ => {}
            }
        }
        Err(KeyError::NoKey { found })
    }
}

/// What is wrong with PEM, in words that quote nothing: the library's may repeat lines of the key.
fn pem_fault(error: &pem::PemError) -> &'static str {
    use pem::PemError as E;
    match error {
        E::MismatchedTags(..) => "BEGIN and END have different labels",
        E::MalformedFraming | E::MissingBeginTag | E::MissingEndTag => {
            "BEGIN or END is missing or damaged"
        }
        E::MissingData => "there is nothing between BEGIN and END",
        E::InvalidData(_) => "what is between BEGIN and END is not base64",
        E::InvalidHeader(_) => "a header has no `:`, or a blank line is in the middle",
        E::NotUtf8(_) => "it is not text",
    }
}

fn malformed(label: &str, reason: impl ToString) -> KeyError {
    KeyError::Malformed {
        label: label.to_owned(),
        reason: reason.to_string(),
    }
}

fn from_pkcs8(bytes: &[u8]) -> Result<SigningKey, KeyError> {
    let label = "PRIVATE KEY";
    let info = pkcs8::PrivateKeyInfo::from_der(bytes).map_err(|e| malformed(label, e))?;
    match info.algorithm.oid {
        RSA => rsa(RsaKeyPair::from_pkcs8(bytes), info.private_key, label),
        EC_PUBLIC_KEY => {
            let curve = info
                .algorithm
                .parameters_oid()
                .map_err(|e| malformed(label, e))?;
            from_sec1(info.private_key, Some(curve), label)
        }
        other => match MlDsaSet::from_oid(other.as_bytes()) {
            Some(set) => MlDsaKey::from_choice(set, info.private_key)
                .map(|key| SigningKey(Inner::MlDsa(Box::new(key))))
                .map_err(|e| malformed(label, e)),
            None => Err(unsupported(other)),
        },
    }
}

fn from_sec1(
    bytes: &[u8],
    curve: Option<ObjectIdentifier>,
    label: &str,
) -> Result<SigningKey, KeyError> {
    let key = sec1::EcPrivateKey::from_der(bytes).map_err(|e| malformed(label, e))?;
    let curve = curve
        .or_else(|| key.parameters.and_then(|p| p.named_curve()))
        .ok_or_else(|| malformed(label, "it names no curve"))?;
    match curve {
        P256 => P256Key::from_slice(key.private_key)
            .map(|k| SigningKey(Inner::P256(Box::new(k))))
            .map_err(|e| malformed(label, e)),
        P384 => p384::ecdsa::SigningKey::from_slice(key.private_key)
            .map(|k| SigningKey(Inner::P384(k)))
            .map_err(|e| malformed(label, e)),
        P521 => p521::ecdsa::SigningKey::from_slice(key.private_key)
            .map(|k| SigningKey(Inner::P521(k)))
            .map_err(|e| malformed(label, e)),
        other => Err(unsupported(other)),
    }
}

fn unsupported(oid: ObjectIdentifier) -> KeyError {
    let name = match oid.to_string().as_str() {
        "1.3.101.112" => "Ed25519".to_owned(),
        "1.3.101.113" => "Ed448".to_owned(),
        "1.2.840.113549.1.1.10" => "RSA-PSS".to_owned(),
        "1.3.132.0.10" => "ECDSA secp256k1".to_owned(),
        other => other.to_owned(),
    };
    KeyError::Unsupported { algorithm: name }
}

/// A key as `RSAPrivateKey` (PKCS#1), read by ring already.
fn rsa(
    key: Result<RsaKeyPair, ring::error::KeyRejected>,
    pkcs1: &[u8],
    label: &str,
) -> Result<SigningKey, KeyError> {
    let key = key.map_err(|e| match modulus_bits(pkcs1) {
        // What the library calls `TooLarge` and `TooSmall`.
        Some(bits) if !(2048..=4096).contains(&bits) => KeyError::RsaSize { bits },
        _ => malformed(label, e),
    })?;
    let bits = key.public().modulus_len() * 8;
    if !(2048..=4096).contains(&bits) {
        return Err(KeyError::RsaSize { bits });
    }
    Ok(SigningKey(Inner::Rsa(Box::new(key))))
}

/// Bits of the modulus, the second number of a PKCS#1 key.
fn modulus_bits(pkcs1: &[u8]) -> Option<usize> {
    use der::asn1::{AnyRef, UintRef};
    let sequence = AnyRef::from_der(pkcs1).ok()?;
    let mut numbers = der::SliceReader::new(sequence.value()).ok()?;
    let _version = UintRef::decode(&mut numbers).ok()?;
    let modulus = UintRef::decode(&mut numbers).ok()?;
    let bytes = modulus.as_bytes();
    let unused = bytes.first()?.leading_zeros() as usize;
    Some(bytes.len() * 8 - unused)
}

/// Whether an encrypted PKCS#8 key names a scheme older than PBES2: PBES1 (RFC 8018, A.3) or
/// PKCS#12's own (RFC 7292, C).
fn is_encrypted_by_an_old_scheme(der: &[u8]) -> bool {
    const PKCS5: [u8; 8] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05];
    const PKCS12: [u8; 9] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x01];
    const PBES1: [u8; 6] = [1, 3, 4, 6, 10, 11];
    // The identifier stands at the beginning.
    let start = &der[..der.len().min(40)];
    start
        .windows(PKCS12.len())
        .any(|w| w == PKCS12 || w.starts_with(&PKCS5) && PBES1.contains(&w[PKCS5.len()]))
}

impl Signer for SigningKey {
    fn is_signing_key(&self, _: private::Token) -> bool {
        true
    }

    fn algorithm(&self) -> KeyAlgorithm {
        match &self.0 {
            Inner::Rsa(key) => KeyAlgorithm::Rsa(key.public().modulus_len() * 8),
            Inner::P256(_) => KeyAlgorithm::EcdsaP256,
            Inner::P384(_) => KeyAlgorithm::EcdsaP384,
            Inner::P521(_) => KeyAlgorithm::EcdsaP521,
            Inner::MlDsa(key) => KeyAlgorithm::MlDsa(key.set()),
        }
    }

    fn public_key(&self) -> Vec<u8> {
        match &self.0 {
            Inner::Rsa(key) => key.public_key().as_ref().to_vec(),
            Inner::P256(key) => key.public_key(),
            Inner::P384(key) => key
                .verifying_key()
                .to_encoded_point(false)
                .as_bytes()
                .to_vec(),
            Inner::P521(key) => p521::ecdsa::VerifyingKey::from(key)
                .to_encoded_point(false)
                .as_bytes()
                .to_vec(),
            Inner::MlDsa(key) => key.public_key(),
        }
    }

    fn sign(&self, digest: DigestAlgorithm, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        if let Inner::Rsa(key) = &self.0 {
            let encoding: &'static dyn RsaEncoding = match digest {
                DigestAlgorithm::Sha256 => &RSA_PKCS1_SHA256,
                DigestAlgorithm::Sha384 => &RSA_PKCS1_SHA384,
                DigestAlgorithm::Sha512 => &RSA_PKCS1_SHA512,
                _ => return Err(KeyError::Sign),
            };
            let mut signature = vec![0; key.public().modulus_len()];
            key.sign(encoding, &SystemRandom::new(), message, &mut signature)
                .map_err(|_| KeyError::Sign)?;
            return Ok(signature);
        }
        if let Inner::MlDsa(key) = &self.0 {
            return key.sign(message).ok_or(KeyError::Sign);
        }
        // Any digest with any curve: the reference signs with SHA-256 whatever the curve.
        let digest = digest.digest(message);
        let failed = |_| KeyError::Sign;
        Ok(match &self.0 {
            Inner::Rsa(_) | Inner::MlDsa(_) => return Err(KeyError::Sign),
            Inner::P256(key) => key.sign(&digest).map_err(failed)?,
            Inner::P384(key) => {
                let signature: p384::ecdsa::Signature =
                    key.sign_prehash(&digest).map_err(failed)?;
                signature.to_der().as_bytes().to_vec()
            }
            Inner::P521(key) => {
                // Randomised: the library has no deterministic nonces for this curve.
                let signature: p521::ecdsa::Signature = key
                    .sign_prehash_with_rng(&mut rand_core::OsRng, &widened(&digest, 33))
                    .map_err(failed)?;
                signature.to_der().as_bytes().to_vec()
            }
        })
    }
}

/// A digest with zeroes in front, which do not change the number that it is: the libraries want at
/// least half as many bytes as the curve has.
fn widened(digest: &[u8], len: usize) -> Vec<u8> {
    let missing = len.saturating_sub(digest.len());
    [&vec![0; missing], digest].concat()
}
