//! The kernel's verification of a PKCS#7 signature, step by step.
//!
//! Order and answers are those of `verify_pkcs7_message_sig`, `pkcs7_verify` and
//! `pkcs7_validate_trust` of Linux 7.3. No validity dates and no key usage are looked at, because
//! the kernel looks at none; only a signing time in the signature is held against the dates of an
//! embedded certificate.

use crate::certificate::Certificate;
use crate::hex;
use crate::message::{Message, SignerInfo};
use crate::public_key::{self, Fault, SignatureAlgorithm};
use crate::trust::{Found, TrustStore};

/// Longest signature that `BPF_PROG_LOAD` takes, bytes.
pub(crate) const MAX_SIGNATURE: usize = 8192;

/// Why a signature is refused. The kernel's answer is [`Rejection::errno_name`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields are what the message names")]
pub enum Rejection {
    /// The digest that the metadata map is bound to is not that of the instructions.
    #[error("excl_prog_hash is {found}, but the instructions have SHA-256 {computed}")]
    ExclProgHash { found: String, computed: String },
    /// The metadata is not what the loader checks it to be when it runs.
    #[error(
        "the loader checks its metadata for SHA-256 {found}, but the metadata has {computed}: it would refuse to run"
    )]
    LoaderCheck { found: String, computed: String },
    /// A map is not what the signed attribute says.
    #[error("map {index} has SHA-256 {computed}, but the signed attribute lists {found}")]
    MapDigest {
        index: usize,
        found: String,
        computed: String,
    },
    /// The attribute with the digests of maps is missing.
    #[error("the signature lists no maps: it covers the instructions alone (partial)")]
    Partial,
    /// No signature, or one that is too long.
    #[error("the signature has {size} bytes, the kernel takes 1 to {limit}")]
    Size { size: usize, limit: usize },
    /// The message does not follow the grammar.
    #[error("the signature is malformed: {what} (byte {offset})")]
    Malformed { offset: usize, what: &'static str },
    /// The message follows the grammar, but the kernel does not take it.
    #[error("the signature is not of a form that the kernel takes: {what} (byte {offset})")]
    Invalid { offset: usize, what: &'static str },
    /// An attribute stands twice.
    #[error("a signed attribute is repeated (byte {offset})")]
    RepeatedAttribute { offset: usize },
    /// An attribute of Authenticode.
    #[error("a signed attribute is for Authenticode only (byte {offset})")]
    ForeignAttribute { offset: usize },
    /// An algorithm that the kernel, or this tool, does not know.
    #[error("{what} algorithm {algorithm} is not supported")]
    UnsupportedAlgorithm {
        what: &'static str,
        algorithm: String,
    },
    /// The signed digest is not that of the content.
    #[error("the signed message digest is {found}, but the content has {computed}")]
    MessageDigest { found: String, computed: String },
    /// The signing time lies outside of the validity of the signer's certificate.
    #[error("the signing time lies outside of the validity of `{certificate}`")]
    SigningTime { certificate: String },
    /// A signature does not hold.
    #[error(
        "the signature of {what} does not hold with the key of `{certificate}`: the content was changed, or another key signed it"
    )]
    WrongSignature { what: String, certificate: String },
    /// A chain of embedded certificates contradicts itself.
    #[error("embedded certificate `{certificate}` names another issuer key than its issuer has")]
    ChainMismatch { certificate: String },
    /// A certificate is revoked.
    #[error("certificate `{certificate}` is revoked")]
    Revoked { certificate: String },
    /// Nobody who is trusted signed.
    #[error("no trusted certificate for the signer ({signer})")]
    NoKey { signer: String },
}

impl Rejection {
    /// The errno that the kernel answers, by name.
    #[must_use]
    pub fn errno_name(&self) -> &'static str {
        match self {
            Self::ExclProgHash { .. } => "EACCES",
            // The loader answers it, not the kernel.
            Self::LoaderCheck { .. } => "EINVAL",
            // As a security module would.
            Self::MapDigest { .. } | Self::Partial => "EPERM",
            Self::Size { .. } | Self::Invalid { .. } => "EINVAL",
            Self::Malformed { .. } => "EBADMSG",
            Self::UnsupportedAlgorithm { .. } => "ENOPKG",
            Self::RepeatedAttribute { .. }
            | Self::ForeignAttribute { .. }
            | Self::MessageDigest { .. }
            | Self::SigningTime { .. }
            | Self::WrongSignature { .. }
            | Self::ChainMismatch { .. }
            | Self::Revoked { .. } => "EKEYREJECTED",
            Self::NoKey { .. } => "ENOKEY",
        }
    }

    /// The check that failed, in a word for scripts.
    #[must_use]
    pub fn check(&self) -> &'static str {
        match self {
            Self::ExclProgHash { .. } => "excl_prog_hash",
            Self::LoaderCheck { .. } | Self::MapDigest { .. } | Self::Partial => "metadata",
            Self::NoKey { .. } | Self::Revoked { .. } => "trust",
            Self::MessageDigest { .. } | Self::WrongSignature { .. } => "signature",
            _ => "form",
        }
    }

    /// What can be done about it.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match self {
            Self::ExclProgHash { .. }
            | Self::LoaderCheck { .. }
            | Self::MapDigest { .. }
            | Self::MessageDigest { .. }
            | Self::WrongSignature { .. } => {
                "do not load it; get the artifact from its maker again"
            }
            Self::NoKey { .. } => {
                "give the signer's certificate, or that of its issuer, with `--trust`"
            }
            Self::Revoked { .. } => "get an artifact that is signed with another key",
            Self::UnsupportedAlgorithm { .. } => "sign with RSA or ECDSA and SHA-256",
            _ => "sign the loader again",
        }
    }
}

/// How the signer is named in a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignerId {
    /// By issuer and serial number, hexadecimal.
    IssuerAndSerial {
        /// The issuer's name in DER.
        issuer: String,
        /// The serial number.
        serial: String,
    },
    /// By subjectKeyIdentifier, hexadecimal.
    SubjectKeyId(String),
}

impl std::fmt::Display for SignerId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::IssuerAndSerial { serial, .. } => write!(f, "serial number {serial}"),
            Self::SubjectKeyId(id) => write!(f, "key id {id}"),
        }
    }
}

/// How trust in the signer was found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrustPath {
    /// The trusted certificate made the signature itself.
    Direct,
    /// Through certificates in the signature, from the signer upwards, by subject.
    Chain(Vec<String>),
}

/// What a good signature says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attestation {
    /// Bytes of content that the signature covers.
    pub covered: u64,
    /// How it was signed.
    pub algorithm: SignatureAlgorithm,
    /// Who signed.
    pub signer: SignerId,
    /// The trusted certificate that vouches for it.
    pub trusted: Certificate,
    /// How the two are connected.
    pub path: TrustPath,
}

/// A certificate of the message, and where the walk up went from it.
struct Link {
    certificate: usize,
    /// The embedded issuer; the certificate itself when it is its own.
    issuer: Option<usize>,
}

/// Verifies a detached signature over content that comes in pieces.
///
/// # Errors
/// The [`Rejection`] that the kernel would hit first.
pub fn verify_detached(
    content: &[&[u8]],
    signature: &[u8],
    trust: &TrustStore,
) -> Result<Attestation, Rejection> {
    if signature.is_empty() || signature.len() > MAX_SIGNATURE {
        return Err(Rejection::Size {
            size: signature.len(),
            limit: MAX_SIGNATURE,
        });
    }
    let message = Message::parse(signature)?;
    let content = content.concat();
    let walk = Walk {
        message: &message,
        content: &content,
        trust,
    };
    // First what the message says of itself, then whether any of it is trusted.
    let mut chains = Vec::new();
    let mut unsupported = None;
    let mut revoked = None;
    for signer in &message.signers {
        match walk.verify_one(signer) {
            Ok(chain) => chains.push((signer, chain)),
            Err(error @ Rejection::UnsupportedAlgorithm { .. }) => unsupported = Some(error),
            Err(error @ Rejection::Revoked { .. }) => revoked = Some(error),
            Err(error) => return Err(error),
        }
    }
    let mut attestation = None;
    for (signer, chain) in &chains {
        match walk.trust_one(signer, chain) {
            Ok(found) => {
                attestation.get_or_insert(found);
            }
            Err(Rejection::NoKey { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    if let Some(attestation) = attestation {
        return Ok(attestation);
    }
    Err(revoked.or(unsupported).unwrap_or_else(|| Rejection::NoKey {
        signer: chains
            .first()
            .map(|(s, _)| signer_id(s).to_string())
            .unwrap_or_default(),
    }))
}

pub(crate) fn signer_id(signer: &SignerInfo<'_>) -> SignerId {
    if signer.by_key_id {
        SignerId::SubjectKeyId(hex(&signer.id))
    } else {
        SignerId::IssuerAndSerial {
            issuer: hex(signer.issuer),
            serial: hex(signer.serial),
        }
    }
}

struct Walk<'m, 'a> {
    message: &'m Message<'a>,
    content: &'m [u8],
    trust: &'m TrustStore,
}

impl<'m> Walk<'m, '_> {
    fn certificate(&self, index: usize) -> &'m Certificate {
        &self.message.certificates[index]
    }

    /// `pkcs7_verify_one`: the digest, and the signature where the signer is embedded.
    fn verify_one(&self, signer: &SignerInfo<'_>) -> Result<Vec<Link>, Rejection> {
        if let Some(attributes) = &signer.attributes {
            let computed = signer.digest.digest(self.content);
            if computed.len() != attributes.message_digest.len() {
                return Err(Rejection::Malformed {
                    offset: 0,
                    what: "the signed message digest is of another length",
                });
            }
            if computed != attributes.message_digest {
                return Err(Rejection::MessageDigest {
                    found: hex(attributes.message_digest),
                    computed: hex(&computed),
                });
            }
        }
        // By issuer and serial number only: a signer by key id is never found here.
        let Some(index) = self
            .message
            .certificates
            .iter()
            .position(|c| c.id() == signer.id)
        else {
            return Ok(Vec::new());
        };
        let certificate = self.certificate(index);
        if let Some(time) = signer.attributes.as_ref().and_then(|a| a.signing_time) {
            let (from, to) = certificate.validity();
            if time < from || time > to {
                return Err(Rejection::SigningTime {
                    certificate: certificate.subject(),
                });
            }
        }
        self.check_signature(signer, certificate)?;
        self.chain(index)
    }

    fn check_signature(
        &self,
        signer: &SignerInfo<'_>,
        certificate: &Certificate,
    ) -> Result<(), Rejection> {
        let attributes;
        let signed: &[u8] = match &signer.attributes {
            // What is signed is the attributes as a SET, not under their tag in the message.
            Some(found) => {
                attributes = [&[0x31], &found.encoded[1..]].concat();
                &attributes
            }
            None => self.content,
        };
        public_key::verify(certificate, signer.algorithm, signed, signer.signature).map_err(
            |fault| match fault {
                Fault::Wrong => Rejection::WrongSignature {
                    what: "the content".to_owned(),
                    certificate: certificate.subject(),
                },
                Fault::Unsupported => Rejection::UnsupportedAlgorithm {
                    what: "signature",
                    algorithm: signer.algorithm.to_string(),
                },
            },
        )
    }

    /// `pkcs7_verify_sig_chain`: up from a certificate while its issuers are embedded.
    fn chain(&self, first: usize) -> Result<Vec<Link>, Rejection> {
        let mut chain: Vec<Link> = Vec::new();
        let mut at = first;
        loop {
            let certificate = self.certificate(at);
            if self.trust.is_revoked(certificate) {
                return Err(Rejection::Revoked {
                    certificate: certificate.subject(),
                });
            }
            if certificate.is_self_issued() {
                chain.push(Link {
                    certificate: at,
                    issuer: Some(at),
                });
                return Ok(chain);
            }
            let issuer = self.embedded_issuer(certificate)?;
            let seen = issuer.is_some_and(|i| i == at || chain.iter().any(|l| l.certificate == i));
            let Some(issuer) = issuer.filter(|_| !seen) else {
                chain.push(Link {
                    certificate: at,
                    issuer: None,
                });
                return Ok(chain);
            };
            self.check_issued(certificate, self.certificate(issuer))?;
            chain.push(Link {
                certificate: at,
                issuer: Some(issuer),
            });
            at = issuer;
        }
    }

    fn embedded_issuer(&self, certificate: &Certificate) -> Result<Option<usize>, Rejection> {
        let all = &self.message.certificates;
        if let Some(id) = certificate.authority_id() {
            let found = all.iter().position(|c| c.id() == id);
            if let (Some(index), Some(key_id)) = (found, certificate.authority_key_id())
                && all[index].subject_key_id() != Some(key_id)
            {
                return Err(Rejection::ChainMismatch {
                    certificate: certificate.subject(),
                });
            }
            return Ok(found);
        }
        Ok(certificate
            .authority_key_id()
            .and_then(|id| all.iter().position(|c| c.subject_key_id() == Some(id))))
    }

    fn check_issued(
        &self,
        certificate: &Certificate,
        issuer: &Certificate,
    ) -> Result<(), Rejection> {
        let what = || format!("certificate `{}`", certificate.subject());
        let oid = certificate.signature_algorithm();
        let algorithm = SignatureAlgorithm::of_certificate(&oid).ok_or_else(|| {
            Rejection::UnsupportedAlgorithm {
                what: "certificate signature",
                algorithm: oid.to_string(),
            }
        })?;
        public_key::verify(
            issuer,
            algorithm,
            &certificate.to_be_signed(),
            certificate.signature(),
        )
        .map_err(|fault| match fault {
            Fault::Wrong => Rejection::WrongSignature {
                what: what(),
                certificate: issuer.subject(),
            },
            Fault::Unsupported => Rejection::UnsupportedAlgorithm {
                what: "certificate signature",
                algorithm: algorithm.to_string(),
            },
        })
    }

    /// `pkcs7_validate_trust_one`: does the chain meet a trusted certificate?
    fn trust_one(&self, signer: &SignerInfo<'_>, chain: &[Link]) -> Result<Attestation, Rejection> {
        let no_key = || Rejection::NoKey {
            signer: signer_id(signer).to_string(),
        };
        let attest = |trusted: &Certificate, path: TrustPath| Attestation {
            covered: self.content.len() as u64,
            algorithm: signer.algorithm,
            signer: signer_id(signer),
            trusted: trusted.clone(),
            path,
        };
        let subjects = |links: &[Link]| {
            links
                .iter()
                .map(|l| self.certificate(l.certificate).subject())
                .collect()
        };
        for (depth, link) in chain.iter().enumerate() {
            let certificate = self.certificate(link.certificate);
            if let Found::Key(key) = self
                .trust
                .find(Some(&certificate.id()), certificate.subject_key_id())
            {
                // The trusted copy has to bear out what is below it.
                match depth.checked_sub(1) {
                    None => self.check_signature(signer, key)?,
                    Some(below) => {
                        self.check_issued(self.certificate(chain[below].certificate), key)?;
                    }
                }
                return Ok(attest(key, TrustPath::Chain(subjects(&chain[..=depth]))));
            }
            if link.issuer == Some(link.certificate) {
                return Err(no_key());
            }
        }
        if let Some(last) = chain.last() {
            let certificate = self.certificate(last.certificate);
            match self
                .trust
                .find(certificate.authority_id(), certificate.authority_key_id())
            {
                Found::Key(key) => {
                    self.check_issued(certificate, key)?;
                    return Ok(attest(key, TrustPath::Chain(subjects(chain))));
                }
                Found::Mismatch => {
                    return Err(Rejection::ChainMismatch {
                        certificate: certificate.subject(),
                    });
                }
                Found::None => {}
            }
        }
        match self.trust.find(Some(&signer.id), None) {
            Found::Key(key) => {
                if self.trust.is_revoked(key) {
                    return Err(Rejection::Revoked {
                        certificate: key.subject(),
                    });
                }
                self.check_signature(signer, key)?;
                Ok(attest(key, TrustPath::Direct))
            }
            Found::Mismatch | Found::None => Err(no_key()),
        }
    }
}
