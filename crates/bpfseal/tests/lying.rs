//! A remote signer that lies: by no way does an object become an artifact with its answer.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;

use bpfseal::loader::FixedHost;
use bpfseal::object::Object;
use bpfseal::seal::{
    Certificate, DigestAlgorithm, KeyAlgorithm, KeyError, Scheme, SealError, Signer, SigningKey,
};
use bpfseal::{MakeError, Sealed, Sealer};

fn testdata(name: &str) -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata");
    std::fs::read(root.join(name)).unwrap()
}

/// Signs something else than it is given, or is honest.
struct Remote {
    key: SigningKey,
    honest: bool,
}

impl Signer for Remote {
    fn algorithm(&self) -> KeyAlgorithm {
        self.key.algorithm()
    }

    fn public_key(&self) -> Vec<u8> {
        self.key.public_key()
    }

    fn sign(&self, digest: DigestAlgorithm, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let message = if self.honest { message } else { b"other" };
        self.key.sign(digest, message)
    }
}

#[test]
fn every_way_checks_what_a_signer_answers() {
    let host = FixedHost {
        page_size: 4096,
        ..FixedHost::default()
    };
    for name in ["rsa2048", "p256", "mldsa65"] {
        let read = |ending: &str| testdata(&format!("keys/{name}.{ending}.pem"));
        let certificate = Certificate::from_bytes(&read("cert")).unwrap();
        let object = || Object::parse(&testdata("objects/one_map.bpf.o"), "one_map").unwrap();
        for honest in [false, true] {
            let key = Remote {
                key: SigningKey::from_pem(&read("key")).unwrap(),
                honest,
            };
            let check = |way: &str, result: Result<Sealed, MakeError>| match result {
                Ok(_) => assert!(honest, "{way} with {name}"),
                Err(MakeError::Seal(SealError::WrongSignature { .. })) => {
                    assert!(!honest, "{way} with {name}");
                }
                Err(other) => panic!("{way} with {name}: {other}"),
            };
            let one = Sealer::new(&certificate).host(&host);
            let all = one.clone().schemes(&Scheme::ALL);
            let prepared = || all.prepare(object()).unwrap();
            check("seal, one scheme", one.seal(object(), &key));
            check("seal", all.seal(object(), &key));
            check("sign", prepared().sign(&key));
            let mut artifact = all.seal(object(), &key.key).unwrap().into_artifact();
            let before = artifact.clone();
            match all.add_to(&mut artifact, &key) {
                Ok(()) => assert!(honest, "add_to with {name}"),
                Err(error) => {
                    assert!(matches!(error, SealError::WrongSignature { .. }), "{error}");
                    assert!(!honest && artifact == before, "add_to with {name}");
                }
            }
            let signatures: Vec<_> = prepared()
                .to_be_signed()
                .map(|tbs| {
                    let signature = key.sign(tbs.digest(), &tbs.message()).unwrap();
                    (tbs.scheme(), signature)
                })
                .collect();
            check("attach", prepared().attach(&signatures));
        }
    }
}
