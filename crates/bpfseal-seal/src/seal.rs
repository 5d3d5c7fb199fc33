//! Signing loaders: what is to be signed, and the seals that come of it.

use std::borrow::Cow;

use bpfseal_uapi::limits::MAX_SIGNATURE;
use sha2::Digest as _;

use crate::algorithm::{KeyAlgorithm, PublicKeyAlgorithm, SignatureAlgorithm};
use crate::attestation::SignerId;
use crate::certificate::Certificate;
use crate::config::KernelConfig;
use crate::digest::{DigestAlgorithm, DigestName};
use crate::encode::tlv;
use crate::error::SealError;
use crate::fault::SignatureFault;
use crate::hex::hex;
use crate::key::{Signer, is_in_memory};
use crate::public_key::{self, PublicKey, Signature, Signed};
use crate::rejection::Rejection;
use crate::scheme::Scheme;
use crate::sealed::{Seal, SealedLoader, excl_prog_hash};
use crate::summary::SignatureSummary;
use crate::trust::TrustStore;
use crate::writer;

/// How a loader is signed, besides with which key.
#[derive(Debug, Clone, Default)]
pub struct SealOptions {
    /// Digest of the signature; SHA-256 without one.
    pub digest: Option<DigestAlgorithm>,
    /// Certificates to embed: the signer's, then those between it and what is trusted. The signer
    /// is named by issuer and serial number then, as the kernel's walk wants it.
    pub embed: Vec<Certificate>,
    /// When it is signed, in seconds since 1970: in Hornet's signatures, which have to say so.
    pub signing_time: u64,
}

/// What is to be signed. It becomes a [`Seal`] by a key, with [`Self::sign`], or by a signature that
/// was made somewhere else, with [`Self::attach`]. There is no third way: a signature that this
/// process did not make itself is checked before there is a seal.
#[derive(Debug, Clone)]
pub struct ToBeSigned<'a> {
    scheme: Scheme,
    instructions: Cow<'a, [u8]>,
    metadata: Cow<'a, [u8]>,
    certificate: Cow<'a, Certificate>,
    options: Cow<'a, SealOptions>,
    algorithm: KeyAlgorithm,
    digest: DigestAlgorithm,
    by_issuer: bool,
    beside: Option<Cow<'a, [u8]>>,
}

impl<'a> ToBeSigned<'a> {
    /// A loader, to be signed by the key of a certificate.
    ///
    /// # Errors
    /// When the certificate can not name the signer, or its key does not sign with the digest.
    pub fn new(
        scheme: Scheme,
        instructions: &'a [u8],
        metadata: &'a [u8],
        certificate: &'a Certificate,
        options: &'a SealOptions,
    ) -> Result<Self, SealError> {
        let algorithm = certificate
            .key_algorithm()
            .ok_or_else(|| SealError::UnknownKey {
                subject: certificate.subject(),
            })?;
        let digest = options.digest.unwrap_or(algorithm.default_digest());
        if !algorithm.takes(digest) {
            return Err(SealError::Digest { algorithm });
        }
        if scheme != Scheme::Hornet
            && options.embed.is_empty()
            && certificate.subject_key_id().is_none()
        {
            return Err(SealError::NoKeyIdentifier {
                subject: certificate.subject(),
            });
        }
        Ok(Self {
            scheme,
            instructions: instructions.into(),
            metadata: metadata.into(),
            certificate: Cow::Borrowed(certificate),
            options: Cow::Borrowed(options),
            algorithm,
            digest,
            // As Hornet's own tool does.
            by_issuer: !options.embed.is_empty() || scheme == Scheme::Hornet,
            beside: None,
        })
    }

    /// Puts the signature into a message, beside those that are there: vendor and operator, say.
    /// The kernel takes the message when it trusts one of them, and refuses it when any of them
    /// does not hold.
    ///
    /// # Errors
    /// [`SealError::Beside`] for bytes that are no message, [`SealError::Mixed`] where the kernel
    /// takes no message with both signatures.
    pub fn beside(mut self, seal: &'a Seal) -> Result<Self, SealError> {
        let there = SignatureSummary::parse(&seal.signature)
            .map_err(|rejection| SealError::Beside(Box::new(rejection)))?;
        let by_issuer = there
            .signers
            .iter()
            .any(|signer| matches!(signer.id, SignerId::IssuerAndSerial { .. }));
        if self.by_issuer && !by_issuer {
            return Err(SealError::Mixed {
                there: "names its signer by key id",
                this: "this one would name it by issuer and serial number, for embedded certificates",
            });
        }
        // All signers of a message are named alike.
        self.by_issuer = by_issuer;
        self.beside = Some(Cow::Borrowed(&seal.signature));
        Ok(self)
    }

    /// With copies of everything that it refers to.
    #[must_use]
    pub fn into_owned(self) -> ToBeSigned<'static> {
        fn owned<T: ToOwned + ?Sized>(value: Cow<'_, T>) -> Cow<'static, T> {
            Cow::Owned(value.into_owned())
        }
        ToBeSigned {
            scheme: self.scheme,
            instructions: owned(self.instructions),
            metadata: owned(self.metadata),
            certificate: owned(self.certificate),
            options: owned(self.options),
            algorithm: self.algorithm,
            digest: self.digest,
            by_issuer: self.by_issuer,
            beside: self.beside.map(owned),
        }
    }

    /// The loader's instructions.
    #[must_use]
    pub fn instructions(&self) -> &[u8] {
        &self.instructions
    }

    /// The scheme.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The digest of the loader's instructions.
    #[must_use]
    pub fn excl_prog_hash(&self) -> [u8; 32] {
        excl_prog_hash(&self.instructions)
    }

    /// Digest of the signature.
    #[must_use]
    pub fn digest(&self) -> DigestAlgorithm {
        self.digest
    }

    /// The bytes that the signature is over.
    #[must_use]
    pub fn message(&self) -> Vec<u8> {
        match self.attributes() {
            Some(attributes) => tlv(crate::ber::SET, &attributes),
            None => self
                .scheme
                .content(&self.instructions, &self.metadata)
                .concat(),
        }
    }

    /// The digest of [`Self::message`], for signers that take no message.
    #[must_use]
    pub fn message_digest(&self) -> Vec<u8> {
        self.digest.digest(&self.message())
    }

    /// Hornet's signed attributes.
    fn attributes(&self) -> Option<Vec<u8>> {
        (self.scheme == Scheme::Hornet).then(|| {
            let content = self.scheme.content(&self.instructions, &self.metadata);
            writer::hornet_attributes(
                &self.digest.digest(&content.concat()),
                &utc_time(self.options.signing_time),
                &[sha2::Sha256::digest(&self.metadata).into()],
            )
        })
    }

    /// Signs it. Whatever a signer answers is checked with the certificate's key, except what a
    /// [`SigningKey`](crate::SigningKey) in the memory of this process computed.
    ///
    /// # Errors
    /// [`SealError::KeyMismatch`] for another key than the certificate's; [`SealError::Key`] when
    /// the key can not sign; else as [`Self::attach`].
    pub fn sign(&self, key: &dyn Signer) -> Result<Seal, SealError> {
        check_key(key, &self.certificate)?;
        let message = self.message();
        let signature = key.sign(self.digest, &message)?;
        if is_in_memory(key) {
            self.encode(&signature)
        } else {
            self.take(&message, &signature)
        }
    }

    /// Puts in a signature that was made somewhere else: a raw one of the certificate's key, or a
    /// whole CMS message. It is checked as the kernel would.
    ///
    /// # Errors
    /// [`SealError::WrongSignature`] when it does not hold, [`SealError::TooLong`] when the kernel
    /// would not take it, [`SealError::WholeMessage`] for a CMS message that is to go beside others.
    pub fn attach(&self, signature: &[u8]) -> Result<Seal, SealError> {
        self.take(&self.message(), signature)
    }

    /// Checks a signature, and makes a seal of it.
    fn take(&self, message: &[u8], signature: &[u8]) -> Result<Seal, SealError> {
        let wrong = |rejection| SealError::WrongSignature {
            rejection: Box::new(rejection),
        };
        // By its size first: a raw RSA signature may begin with any bytes.
        let raw = matches!(self.algorithm, KeyAlgorithm::Rsa(bits) if signature.len() * 8 == bits);
        if raw || !is_cms(signature) {
            let key = self.certificate.parsed().public_key();
            verify_raw(key, self.digest, message, signature).map_err(|fault| {
                wrong(Rejection::WrongSignature {
                    what: "the content".to_owned(),
                    certificate: self.certificate.subject(),
                    fault,
                })
            })?;
            return self.encode(signature);
        }
        if self.beside.is_some() {
            return Err(SealError::WholeMessage);
        }
        let seal = self.seal(signature.to_vec())?;
        // Which kernels have the algorithm is not asked here.
        let mut trust = TrustStore::for_kernel(KernelConfig::EVERYTHING);
        trust.add(self.certificate.clone().into_owned());
        let sealed = SealedLoader {
            instructions: &self.instructions,
            metadata: &self.metadata,
            seal: &seal,
        };
        sealed.verify(&trust).map_err(wrong)?;
        Ok(seal)
    }

    /// Puts a signature into a message. Never one that was not checked, or made right here.
    fn encode(&self, signature: &[u8]) -> Result<Seal, SealError> {
        let shape = writer::Shape {
            certificate: &self.certificate,
            digest: self.digest,
            by_issuer: self.by_issuer,
            embed: &self.options.embed,
            attributes: self.attributes(),
            beside: self.beside.as_deref(),
        };
        self.seal(writer::signed_data(&shape, self.algorithm, signature)?)
    }

    fn seal(&self, message: Vec<u8>) -> Result<Seal, SealError> {
        if message.len() > MAX_SIGNATURE {
            return Err(SealError::TooLong {
                size: message.len(),
                limit: MAX_SIGNATURE,
            });
        }
        Ok(Seal {
            scheme: self.scheme,
            signature: message,
            excl_prog_hash: self.excl_prog_hash(),
        })
    }
}

/// Checks a raw signature over a message, by the one algorithm that the key is for.
fn verify_raw(
    key: PublicKey<'_>,
    digest: DigestAlgorithm,
    message: &[u8],
    bytes: &[u8],
) -> Result<(), SignatureFault> {
    let signature = Signature {
        algorithm: SignatureAlgorithm {
            kind: key.algorithm.kind(),
            digest: DigestName::Known(digest),
        },
        signed: match key.algorithm {
            PublicKeyAlgorithm::MlDsa(_) => Signed::Message(message.into()),
            _ => Signed::Digest(digest.digest(message)),
        },
        bytes,
    };
    // Which kernels have the algorithm is not asked here.
    public_key::verify(key, &signature, &KernelConfig::EVERYTHING)
}

/// Whether bytes are a CMS message, and no raw signature: `SEQUENCE { OBJECT IDENTIFIER …`. An
/// ECDSA signature is a sequence too, but of numbers.
fn is_cms(bytes: &[u8]) -> bool {
    crate::ber::Reader::new(bytes)
        .next()
        .and_then(|outer| outer.inside().next())
        .is_ok_and(|first| first.tag == crate::ber::OBJECT_IDENTIFIER)
}

/// `YYMMDDHHMMSSZ`.
fn utc_time(seconds: u64) -> String {
    let time = der::DateTime::from_unix_duration(std::time::Duration::from_secs(seconds));
    // The time of an encoding that ends in 2049, and then begins again.
    time.map_or_else(
        |_| "700101000000Z".to_owned(),
        |t| {
            format!(
                "{:02}{:02}{:02}{:02}{:02}{:02}Z",
                t.year() % 100,
                t.month(),
                t.day(),
                t.hour(),
                t.minutes(),
                t.seconds()
            )
        },
    )
}

/// Signs a loader.
///
/// # Errors
/// As [`ToBeSigned::new`] and [`ToBeSigned::sign`].
pub fn seal(
    scheme: Scheme,
    instructions: &[u8],
    metadata: &[u8],
    key: &dyn Signer,
    certificate: &Certificate,
    options: &SealOptions,
) -> Result<Seal, SealError> {
    ToBeSigned::new(scheme, instructions, metadata, certificate, options)?.sign(key)
}

/// Signs a loader for load-time verification, with SHA-256 and by key identifier, as bpftool does.
///
/// # Errors
/// As [`seal`].
pub fn seal_load_time(
    instructions: &[u8],
    metadata: &[u8],
    key: &dyn Signer,
    certificate: &Certificate,
) -> Result<Seal, SealError> {
    let options = SealOptions::default();
    seal(
        Scheme::LoadTime,
        instructions,
        metadata,
        key,
        certificate,
        &options,
    )
}

/// Checks that a key is the certificate's: both have to have the same public key.
///
/// # Errors
/// [`SealError::KeyMismatch`], which says which key the certificate wants.
pub fn check_key(key: &dyn Signer, certificate: &Certificate) -> Result<(), SealError> {
    let given = key.public_key();
    if given == certificate.public_key() {
        return Ok(());
    }
    let short = |bytes: &[u8]| hex(&sha2::Sha256::digest(bytes)[..10]);
    Err(SealError::KeyMismatch {
        subject: certificate.subject(),
        wanted: certificate_key_name(certificate),
        wanted_id: short(certificate.public_key()),
        given: key.algorithm().to_string(),
        given_id: short(&given),
    })
}

fn certificate_key_name(certificate: &Certificate) -> String {
    certificate
        .key_algorithm()
        .map_or_else(|| "another".to_owned(), |algorithm| algorithm.to_string())
}
