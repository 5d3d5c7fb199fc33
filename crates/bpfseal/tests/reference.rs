//! Our bytes are the reference's, as it was recorded: `cargo xtask conformance --record` wrote
//! down what bpftool 7.8 makes of the project's own objects.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;

use bpfseal::loader::{FixedHost, Form};
use bpfseal::object::{Object, object_name};
use bpfseal::seal::{Certificate, SigningKey, hex};
use bpfseal::{Sealer, make_loader};
use serde_json::Value;
use sha2::Digest as _;

fn sha256(bytes: &[u8]) -> String {
    hex(&sha2::Sha256::digest(bytes))
}

#[test]
fn every_recorded_object() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata");
    let read = |name: &str| std::fs::read(data.join(name)).unwrap();
    let key = SigningKey::from_pem(&read("keys/rsa2048.key.pem")).unwrap();
    let certificate = Certificate::from_bytes(&read("keys/rsa2048.cert.pem")).unwrap();
    let host = FixedHost {
        page_size: 4096,
        ..FixedHost::default()
    };
    let mut made = 0;
    let mut refused = 0;
    for line in String::from_utf8(read("objects/reference.jsonl"))
        .unwrap()
        .lines()
    {
        let entry: Value = serde_json::from_str(line).unwrap();
        let path = entry["path"].as_str().unwrap();
        let bytes = read(&format!("objects/{path}"));
        let object = Object::parse(&bytes, &object_name(path));
        if entry["unsigned"]["rc"].is_number() {
            let result = object
                .map_err(bpfseal::MakeError::from)
                .and_then(|object| make_loader(object, &host, Form::Unsigned));
            assert!(result.is_err(), "{path} is made");
            refused += 1;
            continue;
        }
        let object = object.unwrap();
        let unsigned = make_loader(object.clone(), &host, Form::Unsigned).unwrap();
        let sealed = Sealer::new(&certificate)
            .host(&host)
            .seal(object, &key)
            .unwrap();
        for (expect, loader) in [
            (&entry["unsigned"], &unsigned.loader),
            (&entry["signed"], &sealed.made.loader),
        ] {
            assert_eq!(
                expect["insns_sha256"],
                sha256(&loader.instructions),
                "{path}"
            );
            assert_eq!(
                expect["metadata_sha256"],
                sha256(&loader.metadata),
                "{path}"
            );
        }
        let expect = &entry["signed"];
        assert_eq!(
            expect["signature_sha256"],
            sha256(&sealed.sealed_loader().seal.signature),
            "{path}"
        );
        assert_eq!(
            expect["excl_prog_hash"],
            hex(&sealed.sealed_loader().seal.excl_prog_hash),
            "{path}"
        );
        made += 1;
    }
    assert!(made >= 30 && refused >= 8, "{made} made, {refused} refused");
}
