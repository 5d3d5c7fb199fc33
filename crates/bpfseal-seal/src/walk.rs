//! The kernel's walk through a PKCS#7 message, step by step.
//!
//! Order and answers are those of `verify_pkcs7_message_sig`, `pkcs7_verify` and
//! `pkcs7_validate_trust` of Linux 7.3, with what they note on certificates on the way. No validity
//! dates and no key usage are looked at, because the kernel looks at none; only a signing time in
//! the signature is held against the dates of an embedded certificate.

use bpfseal_uapi::Errno;

use crate::attestation::TrustPath;
use crate::certificate::Certificate;
use crate::config::KernelConfig;
use crate::fault::SignatureFault;
use crate::message::{Message, SignerInfo};
use crate::public_key::{self, Signature};
use crate::rejection::Rejection;
use crate::trust::{Found, TrustStore, find};
use crate::x509::OwnSignature;

/// What is noted on an embedded certificate.
#[derive(Debug, Clone, Default)]
struct Note {
    /// The embedded issuer; the certificate itself when it is its own.
    issuer: Option<usize>,
    /// It, or what vouches for it, is on the blacklist.
    blacklisted: bool,
    seen: bool,
    verified: Option<Verified>,
}

/// Who vouches for an embedded certificate.
#[derive(Debug, Clone)]
struct Verified {
    key: Certificate,
    /// The certificates from this one upwards that were checked: without the last, when that is
    /// the embedded copy of the key.
    checked: Vec<usize>,
}

/// Who vouches for a signer, and how.
#[derive(Debug, Clone)]
pub(crate) struct Trusted {
    pub(crate) key: Certificate,
    pub(crate) path: TrustPath,
    /// A certificate on the way whose signature the kernel checked without a digest.
    pub(crate) undigested: Option<String>,
}

/// A message on its way through the kernel.
pub(crate) struct Walk<'m, 'a> {
    message: &'m Message<'a>,
    content: &'m [u8],
    trust: &'m TrustStore,
    notes: Vec<Note>,
    /// The signatures, once their digests are computed.
    signatures: Vec<Option<Signature<'m>>>,
}

impl<'m, 'a> Walk<'m, 'a> {
    pub(crate) fn new(message: &'m Message<'a>, content: &'m [u8], trust: &'m TrustStore) -> Self {
        let certificates = message.certificates.iter();
        Self {
            message,
            content,
            trust,
            notes: certificates
                .map(|embedded| Note {
                    blacklisted: trust.is_blacklisted(&embedded.certificate),
                    ..Note::default()
                })
                .collect(),
            signatures: vec![None; message.signers.len()],
        }
    }

    fn config(&self) -> &'m KernelConfig {
        self.trust.config()
    }

    fn certificate(&self, index: usize) -> &'m Certificate {
        &self.message.certificates[index].certificate
    }

    /// The first embedded certificate that is so.
    fn position(&self, is: impl Fn(&Certificate) -> bool) -> Option<usize> {
        let mut all = self.message.certificates.iter();
        all.position(|embedded| is(&embedded.certificate))
    }

    /// By issuer and serial number only: a signer by key id is never found here.
    fn embedded_signer(&self, signer: &SignerInfo<'_>) -> Option<usize> {
        self.position(|certificate| certificate.id() == signer.id)
    }

    /// `pkcs7_verify`: each signature for itself. Those that can not be checked and those of
    /// revoked signers do not count, as long as there is another.
    pub(crate) fn verify(&mut self) -> Result<Vec<Result<(), Rejection>>, Rejection> {
        if let Some(offset) = self.message.content_at {
            return Err(Rejection::Malformed {
                offset,
                what: "the signature carries content of its own",
            });
        }
        if self.message.is_authenticode {
            return Err(Rejection::ForeignContent);
        }
        let mut checks = Vec::new();
        for index in 0..self.message.signers.len() {
            let check = self.verify_one(index);
            match &check {
                Ok(())
                | Err(Rejection::UnsupportedAlgorithm { .. } | Rejection::Revoked { .. }) => {
                    checks.push(check);
                }
                Err(error) => return Err(error.clone()),
            }
        }
        if checks.iter().any(Result::is_ok) {
            return Ok(checks);
        }
        let mut faults = checks.iter().filter_map(|check| check.as_ref().err());
        let revoked = faults
            .clone()
            .find(|fault| matches!(fault, Rejection::Revoked { .. }));
        match revoked.or(faults.next()) {
            Some(fault) => Err(fault.clone()),
            None => Ok(checks),
        }
    }

    /// `pkcs7_verify_one`: the digest, and the signature where the signer is embedded.
    fn verify_one(&mut self, index: usize) -> Result<(), Rejection> {
        let signer = &self.message.signers[index];
        self.signatures[index] = Some(signer.over(self.content, self.config())?);
        let Some(embedded) = self.embedded_signer(signer) else {
            return Ok(());
        };
        let certificate = self.certificate(embedded);
        if let Some(time) = signer.signing_time {
            let (from, to) = certificate.validity();
            if time < from || time > to {
                return Err(Rejection::SigningTime {
                    certificate: certificate.subject(),
                });
            }
        }
        self.check_content(index, certificate)
            .map_err(|fault| content_rejection(certificate, fault))?;
        self.chain(embedded)
    }

    /// Checks one of the signatures over the content.
    fn check_content(
        &self,
        signer: usize,
        certificate: &Certificate,
    ) -> Result<(), SignatureFault> {
        let Some(signature) = &self.signatures[signer] else {
            // One that can not be checked is never asked for again.
            return Err(SignatureFault::MISMATCH);
        };
        public_key::verify(certificate.parsed().public_key(), signature, self.config())
    }

    /// `pkcs7_verify_sig_chain`: up from a certificate while its issuers are embedded.
    fn chain(&mut self, first: usize) -> Result<(), Rejection> {
        let mut chain: Vec<usize> = Vec::new();
        let mut at = first;
        loop {
            let certificate = self.certificate(at);
            chain.push(at);
            if self.notes[at].blacklisted {
                for below in chain {
                    self.notes[below].blacklisted = true;
                }
                return Err(Rejection::Revoked {
                    certificate: certificate.subject(),
                });
            }
            if self.message.certificates[at].own_signature == OwnSignature::Holds {
                self.notes[at].issuer = Some(at);
                return Ok(());
            }
            let Some(issuer) = self.embedded_issuer(certificate)? else {
                return Ok(());
            };
            if chain.contains(&issuer) {
                return Ok(());
            }
            self.check_issued(certificate, self.certificate(issuer))?;
            self.notes[at].issuer = Some(issuer);
            at = issuer;
        }
    }

    fn embedded_issuer(&self, certificate: &Certificate) -> Result<Option<usize>, Rejection> {
        if let Some(id) = certificate.authority_id() {
            let found = self.position(|c| c.id() == id);
            if let (Some(index), Some(key_id)) = (found, certificate.authority_key_id())
                && self.certificate(index).subject_key_id() != Some(key_id)
            {
                return Err(Rejection::ChainMismatch {
                    certificate: certificate.subject(),
                });
            }
            return Ok(found);
        }
        Ok(certificate
            .authority_key_id()
            .and_then(|id| self.position(|c| c.subject_key_id() == Some(id))))
    }

    fn check_issued(
        &self,
        certificate: &Certificate,
        issuer: &Certificate,
    ) -> Result<(), Rejection> {
        certificate
            .check_issued(issuer, self.config())
            .map_err(|fault| Rejection::WrongSignature {
                what: format!("certificate `{}`", certificate.subject()),
                certificate: issuer.subject(),
                fault,
            })
    }

    /// `is_key_on_revocation_list`: a message that leads to a revoked certificate is refused.
    pub(crate) fn check_revocation_list(
        &mut self,
        checks: &[Result<(), Rejection>],
    ) -> Result<(), Rejection> {
        let list = self.trust.revocation_list();
        if list.is_empty() {
            return Ok(());
        }
        let found = self.validate(&list, checks).unwrap_or_default();
        match found.into_iter().find_map(Result::ok) {
            Some(trusted) => Err(Rejection::Revoked {
                certificate: trusted.key.subject(),
            }),
            None => Ok(()),
        }
    }

    /// `pkcs7_validate_trust`: who of the signers leads to a key of a keyring? A fault that is
    /// more than a missing key ends it.
    pub(crate) fn validate(
        &mut self,
        keyring: &[&Certificate],
        checks: &[Result<(), Rejection>],
    ) -> Result<Vec<Result<Trusted, Rejection>>, Rejection> {
        for note in &mut self.notes {
            note.seen = false;
        }
        let mut found = Vec::new();
        for (index, check) in checks.iter().enumerate() {
            let one = match check {
                Err(error @ Rejection::UnsupportedAlgorithm { .. }) => Err(error.clone()),
                // The kernel does not ask here whether the signer is revoked.
                _ => self.validate_one(index, keyring),
            };
            match one {
                Ok(_)
                | Err(
                    Rejection::NoKey { .. }
                    | Rejection::EmbeddedByKeyId { .. }
                    | Rejection::UnsupportedAlgorithm { .. },
                ) => found.push(one),
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    /// `pkcs7_validate_trust_one`: does the chain meet a key of the keyring?
    fn validate_one(
        &mut self,
        index: usize,
        keyring: &[&Certificate],
    ) -> Result<Trusted, Rejection> {
        let message = self.message;
        let signer = &message.signers[index];
        let no_key = || no_key(message, signer);
        let mut chain = Vec::new();
        let mut next = self.embedded_signer(signer);
        while let Some(at) = next {
            let certificate = self.certificate(at);
            if self.notes[at].seen {
                // Another signer came by, and found trust further up, or none.
                let Some(Verified { key, checked }) = self.notes[at].verified.clone() else {
                    return Err(no_key());
                };
                let checked = [chain.clone(), checked].concat();
                chain.push(at);
                return Ok(self.trusted(&chain, checked, key));
            }
            self.notes[at].seen = true;
            let id = certificate.id();
            if let Found::Key(key) = find(keyring, Some(&id), certificate.subject_key_id()) {
                // The trusted copy has to bear out what is below it; it is taken by its name, and
                // nothing else of the embedded one was checked.
                match chain.last() {
                    None => self.check_trusted_content(index, key)?,
                    Some(below) => self.check_trusted_issuer(*below, key)?,
                }
                let checked = chain.clone();
                chain.push(at);
                return Ok(self.trusted(&chain, checked, key.clone()));
            }
            chain.push(at);
            if self.notes[at].issuer == Some(at) {
                return Err(no_key());
            }
            next = self.notes[at].issuer;
        }
        if let Some(last) = chain.last() {
            let certificate = self.certificate(*last);
            let (id, key_id) = (certificate.authority_id(), certificate.authority_key_id());
            match find(keyring, id, key_id) {
                Found::Key(key) => {
                    self.check_trusted_issuer(*last, key)?;
                    return Ok(self.trusted(&chain, chain.clone(), key.clone()));
                }
                Found::Mismatch => {
                    return Err(Rejection::ChainMismatch {
                        certificate: certificate.subject(),
                    });
                }
                Found::Unnamed => return Err(Rejection::UnnamedSigner),
                Found::None => {}
            }
        }
        match find(keyring, Some(&signer.id), None) {
            Found::Key(key) => {
                self.check_trusted_content(index, key)?;
                Ok(Trusted {
                    key: key.clone(),
                    path: TrustPath::Direct,
                    undigested: None,
                })
            }
            Found::Unnamed => Err(Rejection::UnnamedSigner),
            Found::Mismatch | Found::None => Err(no_key()),
        }
    }

    /// Notes who vouches for the certificates of a chain.
    fn trusted(&mut self, chain: &[usize], checked: Vec<usize>, key: Certificate) -> Trusted {
        for (place, at) in chain.iter().enumerate() {
            self.notes[*at].verified = Some(Verified {
                key: key.clone(),
                checked: checked.get(place..).unwrap_or_default().to_vec(),
            });
        }
        let path: Vec<_> = checked.iter().map(|at| self.certificate(*at)).collect();
        let undigested = path
            .iter()
            .find(|certificate| !certificate.parsed().has_digest(self.config()))
            .map(|certificate| certificate.subject());
        Trusted {
            key,
            path: if path.is_empty() {
                TrustPath::Direct
            } else {
                TrustPath::Chain(path.into_iter().cloned().collect())
            },
            undigested,
        }
    }

    fn check_trusted_content(&self, signer: usize, key: &Certificate) -> Result<(), Rejection> {
        self.check_content(signer, key).map_err(|fault| {
            let algorithm = self.message.signers[signer].algorithm.to_string();
            if fault.is_missing_algorithm() {
                unsupported_key(key, algorithm)
            } else {
                content_rejection(key, as_trusted(fault))
            }
        })
    }

    fn check_trusted_issuer(&self, index: usize, key: &Certificate) -> Result<(), Rejection> {
        let certificate = self.certificate(index);
        let algorithm = certificate.parsed().signature_algorithm.to_string();
        self.check_issued(certificate, key)
            .map_err(|rejection| match rejection {
                Rejection::WrongSignature { fault, .. } if fault.is_missing_algorithm() => {
                    unsupported_key(key, algorithm)
                }
                Rejection::WrongSignature {
                    what,
                    certificate,
                    fault,
                } => Rejection::WrongSignature {
                    what,
                    certificate,
                    fault: as_trusted(fault),
                },
                other => other,
            })
    }
}

/// Whatever goes wrong with a trusted key, the kernel answers the same.
fn as_trusted(fault: SignatureFault) -> SignatureFault {
    SignatureFault::new(Errno::EKEYREJECTED, fault.what)
}

fn content_rejection(certificate: &Certificate, fault: SignatureFault) -> Rejection {
    Rejection::WrongSignature {
        what: "the content".to_owned(),
        certificate: certificate.subject(),
        fault,
    }
}

fn unsupported_key(key: &Certificate, algorithm: String) -> Rejection {
    Rejection::UnsupportedKey {
        certificate: key.subject(),
        algorithm,
    }
}

fn no_key(message: &Message<'_>, signer: &SignerInfo<'_>) -> Rejection {
    let id = signer.signer().to_string();
    let mut embedded = message.certificates.iter().map(|e| &e.certificate);
    let passed_over = embedded.find(|c| c.subject_key_id() == Some(&signer.id));
    match passed_over.filter(|_| signer.by_key_id) {
        Some(certificate) => Rejection::EmbeddedByKeyId {
            signer: id,
            certificate: certificate.subject(),
        },
        None => Rejection::NoKey { signer: id },
    }
}

/// Refuses a signer whose key is revoked, or one that is vouched for by a revoked key.
pub(crate) fn revoked_key(
    signer: &SignerInfo<'_>,
    verdict: &Result<Trusted, Rejection>,
    trust: &TrustStore,
) -> Result<(), Rejection> {
    let Ok(trusted) = verdict else {
        return Ok(());
    };
    let embedded: &[Certificate] = match &trusted.path {
        TrustPath::Direct => &[],
        TrustPath::Chain(chain) => chain,
    };
    let revoked = embedded.iter().chain([&trusted.key]).find(|c| {
        c.subject_key_id()
            .is_some_and(|id| trust.is_key_revoked(id))
    });
    match revoked {
        Some(certificate) => Err(Rejection::Revoked {
            certificate: certificate.subject(),
        }),
        None if signer.by_key_id && trust.is_key_revoked(&signer.id) => Err(Rejection::Revoked {
            certificate: trusted.key.subject(),
        }),
        None => Ok(()),
    }
}
