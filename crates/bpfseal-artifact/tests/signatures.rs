//! A second signature in every signed form of an artifact.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;

use bpfseal_artifact::{Artifact, Interface, LoaderForm};
use bpfseal_object::Endian;
use bpfseal_seal::{Certificate, Scheme, SealError, SealOptions, SigningKey, TrustStore, seal};

const INSTRUCTIONS: [u8; 16] = [0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];
const METADATA: &[u8] = b"metadata of a small loader";

fn signer(name: &str) -> (SigningKey, Certificate) {
    let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/keys");
    let file = |ending| std::fs::read(keys.join(format!("{name}.{ending}"))).unwrap();
    (
        SigningKey::from_pem(&file("key.pem")).unwrap(),
        Certificate::from_bytes(&file("cert.pem")).unwrap(),
    )
}

fn artifact(forms: Vec<LoaderForm>) -> Artifact {
    Artifact {
        interface: Interface::default(),
        metadata: METADATA.into(),
        forms,
        endian: Endian::Little,
    }
}

#[test]
fn every_signed_form_gets_the_signature() {
    let options = SealOptions::default();
    let (first, second) = (signer("p256"), signer("p384"));
    let instructions = INSTRUCTIONS.to_vec();
    let sealed = [Scheme::LoadTime, Scheme::Hornet].map(|scheme| LoaderForm::Sealed {
        instructions: instructions.clone(),
        seal: seal(
            scheme,
            &INSTRUCTIONS,
            METADATA,
            &first.0,
            &first.1,
            &options,
        )
        .unwrap(),
    });
    let mut forms = sealed.to_vec();
    forms.push(LoaderForm::Unsigned { instructions });
    let mut both = artifact(forms);
    both.add_signature(&second.0, &second.1, &options).unwrap();
    for (_, certificate) in [&first, &second] {
        let mut trust = TrustStore::new();
        trust.add(certificate.clone());
        let found: Vec<_> = both
            .sealed()
            .map(|sealed| (sealed.seal.scheme, sealed.verify(&trust).is_ok()))
            .collect();
        assert_eq!(found, [(Scheme::LoadTime, true), (Scheme::Hornet, true)]);
    }
    assert_eq!(both.unsigned(), Some(&INSTRUCTIONS[..]));
    // The same signer again changes nothing.
    let mut again = both.clone();
    again.add_signature(&second.0, &second.1, &options).unwrap();
    assert_eq!(again, both);
}

#[test]
fn nothing_is_added_to_what_is_not_signed() {
    let (key, certificate) = signer("p256");
    let mut unsigned = artifact(vec![LoaderForm::Unsigned {
        instructions: INSTRUCTIONS.to_vec(),
    }]);
    let error = unsigned
        .add_signature(&key, &certificate, &SealOptions::default())
        .unwrap_err();
    assert!(matches!(error, SealError::NotSigned), "{error}");
}
