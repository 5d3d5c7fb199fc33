//! Signers that lie: by no way does an answer that does not hold become a seal.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;

use bpfseal_artifact::{Artifact, Interface, LoaderForm};
use bpfseal_object::Endian;
use bpfseal_seal::{
    Certificate, DigestAlgorithm, KernelConfig, KeyAlgorithm, KeyError, Scheme, Seal, SealError,
    SealOptions, Signer, SigningKey, ToBeSigned, TrustStore, seal, seal_load_time,
};

const INSTRUCTIONS: [u8; 16] = [0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];
const METADATA: &[u8] = b"metadata of a small loader";
const NAMES: [&str; 5] = ["rsa2048", "p256", "p384", "p521", "mldsa44"];

fn file(name: &str) -> Vec<u8> {
    let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/keys");
    std::fs::read(keys.join(name)).unwrap()
}

fn key(name: &str) -> SigningKey {
    SigningKey::from_pem(&file(&format!("{name}.key.pem"))).unwrap()
}

fn certificate(name: &str) -> Certificate {
    Certificate::from_bytes(&file(&format!("{name}.cert.pem"))).unwrap()
}

fn trust(name: &str) -> TrustStore {
    let mut store = TrustStore::for_kernel(KernelConfig::EVERYTHING);
    store.add(certificate(name));
    store
}

/// What a signer answers.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Answer {
    Honest,
    Nothing,
    /// One bit is another.
    Changed,
    /// Of something else.
    OtherMessage,
    /// Of another key of the same kind.
    OtherKey,
    /// With the digest of another length.
    OtherDigest,
    /// A whole message, that was a good signature of another loader.
    OtherLoader,
    /// Noise of the right size.
    Noise,
}

const LIES: [Answer; 7] = [
    Answer::Nothing,
    Answer::Changed,
    Answer::OtherMessage,
    Answer::OtherKey,
    Answer::OtherDigest,
    Answer::OtherLoader,
    Answer::Noise,
];

/// A signer of a user of the library: it forwards everything, its answers aside.
#[derive(Clone, Copy)]
struct Liar<'a> {
    name: &'static str,
    key: &'a SigningKey,
    answer: Answer,
}

impl Signer for Liar<'_> {
    fn algorithm(&self) -> KeyAlgorithm {
        self.key.algorithm()
    }

    fn public_key(&self) -> Vec<u8> {
        self.key.public_key()
    }

    fn sign(&self, digest: DigestAlgorithm, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let mut good = self.key.sign(digest, message)?;
        Ok(match self.answer {
            Answer::Honest => good,
            Answer::Nothing => Vec::new(),
            Answer::Changed => {
                let last = good.len() - 1;
                good[last] ^= 1;
                good
            }
            Answer::OtherMessage => self.key.sign(digest, &[message, b"x"].concat())?,
            Answer::OtherKey => match self.name {
                "rsa2048" => {
                    let signature = key("rsa3072").sign(digest, message)?;
                    signature[..good.len()].to_vec()
                }
                "p256" => key("leaf").sign(digest, message)?,
                _ => key("p256").sign(digest, message)?,
            },
            Answer::OtherDigest => match self.key.algorithm() {
                // It takes the message itself; so does a signer that is given its digest.
                KeyAlgorithm::MlDsa(_) => self.key.sign(digest, &digest.digest(message))?,
                _ => self.key.sign(DigestAlgorithm::Sha384, message)?,
            },
            Answer::OtherLoader => {
                let certificate = certificate(self.name);
                let seal = seal_load_time(&INSTRUCTIONS, b"other", self.key, &certificate);
                seal.unwrap().signature.to_vec()
            }
            Answer::Noise => (0..good.len()).map(|i| (i * 7 + 3) as u8).collect(),
        })
    }
}

/// Every way from a signer to a seal; `there` is a seal of another signer.
fn ways(liar: Liar<'_>, scheme: Scheme, there: &Seal) -> Vec<(String, Result<Seal, SealError>)> {
    let certificate = certificate(liar.name);
    let options = SealOptions::default();
    let tbs = ToBeSigned::new(scheme, &INSTRUCTIONS, METADATA, &certificate, &options).unwrap();
    let beside = tbs.clone().beside(there).unwrap();
    let boxed: Box<dyn Signer + '_> = Box::new(liar);
    let raw = liar.sign(tbs.digest(), &tbs.message()).unwrap();
    let mut artifact = artifact(there.clone());
    let added = artifact.add_signature(&liar, &certificate, &options);
    let sealed = artifact.sealed().next().unwrap().seal.clone();
    assert!(added.is_ok() || sealed == *there);
    let whole = seal(
        scheme,
        &INSTRUCTIONS,
        METADATA,
        &liar,
        &certificate,
        &options,
    );
    let mut all = vec![
        ("seal", whole),
        ("sign", tbs.sign(&liar)),
        ("boxed", tbs.sign(&*boxed)),
        ("attach", tbs.attach(&raw)),
        ("beside, sign", beside.sign(&liar)),
        ("beside, attach", beside.attach(&raw)),
        ("add_signature", added.map(|()| sealed)),
    ];
    if scheme == Scheme::LoadTime {
        let seal = seal_load_time(&INSTRUCTIONS, METADATA, &liar, &certificate);
        all.push(("seal_load_time", seal));
    }
    let named = |(way, result)| {
        let Liar { name, answer, .. } = liar;
        let scheme = scheme.name();
        (format!("{way}: {answer:?}, {name}, {scheme}"), result)
    };
    all.into_iter().map(named).collect()
}

/// Every key, every scheme, every way, with such answers.
fn each(answers: &[Answer], mut check: impl FnMut(&str, &str, Scheme, Result<Seal, SealError>)) {
    let other = (key("leaf"), certificate("leaf"));
    let options = SealOptions::default();
    for name in NAMES {
        let key = &key(name);
        for scheme in Scheme::ALL {
            let there = seal(
                scheme,
                &INSTRUCTIONS,
                METADATA,
                &other.0,
                &other.1,
                &options,
            )
            .unwrap();
            for answer in answers.iter().copied() {
                for (way, result) in ways(Liar { name, key, answer }, scheme, &there) {
                    check(&way, name, scheme, result);
                }
            }
        }
    }
}

fn artifact(seal: Seal) -> Artifact {
    Artifact {
        interface: Interface::default(),
        metadata: METADATA.into(),
        forms: vec![LoaderForm::Sealed {
            instructions: INSTRUCTIONS.to_vec(),
            seal,
        }],
        endian: Endian::Little,
    }
}

#[test]
fn no_lie_becomes_a_seal() {
    each(&LIES, |way, _, _, result| match result {
        Err(SealError::WrongSignature { .. } | SealError::WholeMessage) => {}
        other => panic!("{way}: {other:?}"),
    });
}

#[test]
fn honest_signers_seal() {
    each(&[Answer::Honest], |way, name, scheme, result| {
        let seal = result.unwrap_or_else(|error| panic!("{way}: {error}"));
        // The check of the metadata is the loader's, and this one is too small for it.
        if scheme.checks_in_loader() {
            return;
        }
        let artifact = artifact(seal);
        let sealed = artifact.sealed().next().unwrap();
        let found = sealed.verify(&trust(name));
        assert!(found.is_ok(), "{way}: {found:?}");
        assert!(sealed.verify(&TrustStore::new()).is_err(), "{way}");
    });
}

/// A key that is not the certificate's, in memory or not.
#[test]
fn a_key_has_to_be_the_certificates() {
    let options = SealOptions::default();
    let (ours, other) = (certificate("p256"), key("leaf"));
    let tbs = ToBeSigned::new(Scheme::LoadTime, &INSTRUCTIONS, METADATA, &ours, &options).unwrap();
    let liar = Liar {
        name: "leaf",
        key: &other,
        answer: Answer::Honest,
    };
    for key in [&other as &dyn Signer, &liar] {
        let error = tbs.sign(key).unwrap_err();
        assert!(matches!(error, SealError::KeyMismatch { .. }), "{error}");
    }
}

/// A whole message is taken where it stands alone, and never where it would push others out.
#[test]
fn a_whole_message_stands_alone() {
    let options = SealOptions::default();
    let certificate = certificate("p256");
    let tbs = ToBeSigned::new(
        Scheme::LoadTime,
        &INSTRUCTIONS,
        METADATA,
        &certificate,
        &options,
    )
    .unwrap();
    let whole = tbs.sign(&key("p256")).unwrap();
    assert_eq!(tbs.attach(&whole.signature).unwrap(), whole);
    let (other, rsa) = (key("rsa2048"), self::certificate("rsa2048"));
    let there = seal_load_time(&INSTRUCTIONS, METADATA, &other, &rsa).unwrap();
    let error = tbs.beside(&there).unwrap().attach(&whole.signature);
    assert!(matches!(error, Err(SealError::WholeMessage)), "{error:?}");
}
