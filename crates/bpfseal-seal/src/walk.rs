//! The kernel's walk through a PKCS#7 message, step by step.
//!
//! Order and answers are those of `pkcs7_verify` and `pkcs7_validate_trust` of Linux 7.3, with what
//! they note on certificates on the way. No validity dates and no key usage are looked at, because
//! the kernel looks at none; only a signing time in the signature is held against the dates of an
//! embedded certificate.

use crate::certificate::{Certificate, IssueFault};
use crate::hex;
use crate::message::{Message, SignerInfo};
use crate::public_key::{self, Fault};
use crate::rejection::Rejection;
use crate::trust::{Found, TrustStore, find};
use crate::verify::{TrustPath, signer_id};

/// What is noted on an embedded certificate.
#[derive(Debug, Clone, Default)]
struct Note {
    /// The embedded issuer; the certificate itself when it is its own.
    issuer: Option<usize>,
    /// It, or what vouches for it, is on the blacklist.
    blacklisted: bool,
    seen: bool,
    /// Who was found to vouch for it.
    verified: Option<Certificate>,
}

/// Who vouches for a signer, and how.
pub(crate) type Trusted = (Certificate, TrustPath);

/// A message on its way through the kernel.
pub(crate) struct Walk<'m, 'a> {
    message: &'m Message<'a>,
    content: &'m [u8],
    trust: &'m TrustStore,
    notes: Vec<Note>,
}

impl<'m, 'a> Walk<'m, 'a> {
    pub(crate) fn new(message: &'m Message<'a>, content: &'m [u8], trust: &'m TrustStore) -> Self {
        let note = |certificate| Note {
            blacklisted: trust.is_blacklisted(certificate),
            ..Note::default()
        };
        Self {
            message,
            content,
            trust,
            notes: message.certificates.iter().map(note).collect(),
        }
    }

    fn certificate(&self, index: usize) -> &'m Certificate {
        &self.message.certificates[index]
    }

    /// By issuer and serial number only: a signer by key id is never found here.
    fn embedded_signer(&self, signer: &SignerInfo<'_>) -> Option<usize> {
        let mut all = self.message.certificates.iter();
        all.position(|c| c.id() == signer.id)
    }

    /// `pkcs7_verify`: each signature for itself. Those that can not be checked and those of
    /// revoked signers do not count, as long as there is another.
    pub(crate) fn verify(&mut self) -> Result<Vec<Result<(), Rejection>>, Rejection> {
        let mut checks = Vec::new();
        for signer in &self.message.signers {
            let check = self.verify_one(signer);
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
    fn verify_one(&mut self, signer: &SignerInfo<'_>) -> Result<(), Rejection> {
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
        let Some(index) = self.embedded_signer(signer) else {
            return Ok(());
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
            if certificate.is_self_issued() {
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
        certificate
            .check_issued(issuer)
            .map_err(|fault| match fault {
                IssueFault::Wrong => Rejection::WrongSignature {
                    what: format!("certificate `{}`", certificate.subject()),
                    certificate: issuer.subject(),
                },
                IssueFault::Unsupported(algorithm) => Rejection::UnsupportedAlgorithm {
                    what: "certificate signature",
                    algorithm,
                },
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
            Some((certificate, _)) => Err(Rejection::Revoked {
                certificate: certificate.subject(),
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
        for (signer, check) in self.message.signers.iter().zip(checks) {
            let one = match check {
                Err(error @ Rejection::UnsupportedAlgorithm { .. }) => Err(error.clone()),
                // The kernel does not ask here whether the signer is revoked.
                _ => self.validate_one(signer, keyring),
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
        signer: &SignerInfo<'_>,
        keyring: &[&Certificate],
    ) -> Result<Trusted, Rejection> {
        let message = self.message;
        let no_key = || no_key(message, signer);
        let certificates = |chain: &[usize]| {
            let all = chain.iter().map(|i| message.certificates[*i].clone());
            TrustPath::Chain(all.collect())
        };
        let mut chain = Vec::new();
        let mut next = self.embedded_signer(signer);
        while let Some(at) = next {
            let certificate = self.certificate(at);
            if self.notes[at].seen {
                // Another signer came by, and found trust further up, or none.
                if let Some(key) = self.notes[at].verified.clone() {
                    chain.push(at);
                    self.mark_verified(&chain, &key);
                    return Ok((key, certificates(&chain)));
                }
                return Err(no_key());
            }
            self.notes[at].seen = true;
            if let Found::Key(key) = find(
                keyring,
                Some(&certificate.id()),
                certificate.subject_key_id(),
            ) {
                // The trusted copy has to bear out what is below it.
                match chain.last() {
                    None => as_trusted(self.check_signature(signer, key), key)?,
                    Some(below) => {
                        as_trusted(self.check_issued(self.certificate(*below), key), key)?;
                    }
                }
                chain.push(at);
                let path = certificates(&chain);
                self.mark_verified(&chain, key);
                return Ok((key.clone(), path));
            }
            chain.push(at);
            if self.notes[at].issuer == Some(at) {
                return Err(no_key());
            }
            next = self.notes[at].issuer;
        }
        if let Some(last) = chain.last() {
            let certificate = self.certificate(*last);
            match find(
                keyring,
                certificate.authority_id(),
                certificate.authority_key_id(),
            ) {
                Found::Key(key) => {
                    as_trusted(self.check_issued(certificate, key), key)?;
                    let path = certificates(&chain);
                    self.mark_verified(&chain, key);
                    return Ok((key.clone(), path));
                }
                Found::Mismatch => {
                    return Err(Rejection::ChainMismatch {
                        certificate: certificate.subject(),
                    });
                }
                Found::None => {}
            }
        }
        match find(keyring, Some(&signer.id), None) {
            Found::Key(key) => {
                as_trusted(self.check_signature(signer, key), key)?;
                Ok((key.clone(), TrustPath::Direct))
            }
            Found::Mismatch | Found::None => Err(no_key()),
        }
    }

    fn mark_verified(&mut self, chain: &[usize], key: &Certificate) {
        for at in chain {
            self.notes[*at].verified = Some(key.clone());
        }
    }
}

fn no_key(message: &Message<'_>, signer: &SignerInfo<'_>) -> Rejection {
    let id = signer_id(signer).to_string();
    let mut embedded = message.certificates.iter();
    let passed_over = embedded.find(|c| c.subject_key_id() == Some(&signer.id));
    match passed_over.filter(|_| signer.by_key_id) {
        Some(certificate) => Rejection::EmbeddedByKeyId {
            signer: id,
            certificate: certificate.subject(),
        },
        None => Rejection::NoKey { signer: id },
    }
}

/// Whatever goes wrong with a trusted key is a rejection.
fn as_trusted(result: Result<(), Rejection>, key: &Certificate) -> Result<(), Rejection> {
    result.map_err(|rejection| match rejection {
        Rejection::UnsupportedAlgorithm { algorithm, .. } => Rejection::UnsupportedKey {
            certificate: key.subject(),
            algorithm,
        },
        other => other,
    })
}

/// Refuses a signer whose key is revoked, or one that is vouched for by a revoked key.
pub(crate) fn revoked_key(
    signer: &SignerInfo<'_>,
    verdict: &Result<Trusted, Rejection>,
    trust: &TrustStore,
) -> Result<(), Rejection> {
    let Ok((trusted, path)) = verdict else {
        return Ok(());
    };
    let embedded: &[Certificate] = match path {
        TrustPath::Direct => &[],
        TrustPath::Chain(chain) => chain,
    };
    let revoked = embedded.iter().chain([trusted]).find(|c| {
        c.subject_key_id()
            .is_some_and(|id| trust.is_key_revoked(id))
    });
    match revoked {
        Some(certificate) => Err(Rejection::Revoked {
            certificate: certificate.subject(),
        }),
        None if signer.by_key_id && trust.is_key_revoked(&signer.id) => Err(Rejection::Revoked {
            certificate: trusted.subject(),
        }),
        None => Ok(()),
    }
}
