//! What Linux 7.3.4 answered to changed signatures and hand-made certificates, and what is said
//! here: `testdata/cases`.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::{Path, PathBuf};

use bpfseal::artifact::Artifact;
use bpfseal::seal::{Certificate, CertificateError, TrustStore};
use serde_json::Value;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../testdata/cases")
        .join(name)
}

fn manifest(folder: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.join("manifest.jsonl")).unwrap();
    let rows: Vec<_> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(!rows.is_empty());
    rows
}

/// The errno that `add_key` answers to a certificate, or 0 for one that is trusted then.
fn add_key(store: &mut TrustStore, der: &[u8]) -> i32 {
    let added = match Certificate::from_der(der) {
        Ok(certificate) => store.add_key(certificate),
        Err(CertificateError::Refused(fault)) => Err(fault),
        Err(other) => panic!("{other}"),
    };
    added.err().map_or(0, |fault| fault.errno().0)
}

/// The rows whose answer is another one.
fn different(name: &str) -> Vec<String> {
    let folder = folder(name);
    let mut different = Vec::new();
    for row in manifest(&folder) {
        let file = row["file"].as_str().unwrap();
        let mut store = TrustStore::new();
        let mut added = Vec::new();
        for certificate in row["trust"].as_array().unwrap() {
            let der = std::fs::read(folder.join(certificate.as_str().unwrap())).unwrap();
            added.push(add_key(&mut store, &der));
        }
        if let Some(wanted) = row["add_key_errno_of_first"].as_i64()
            && i64::from(added[0]) != wanted
        {
            different.push(format!("{file}: add_key: {}, not {wanted}", added[0]));
        }
        let artifact = Artifact::parse(&std::fs::read(folder.join(file)).unwrap()).unwrap();
        let verdict = artifact.sealed().next().unwrap().verify(&store);
        let said = match &verdict {
            Ok(_) => "loads",
            Err(rejection) => rejection.errno_name().unwrap_or("loads"),
        };
        let wanted = row["kernel_7_3_4"].as_str().unwrap();
        if said != wanted {
            let what = row["what"].as_str().unwrap_or_default();
            let why = verdict.err().map(|rejection| rejection.to_string());
            different.push(format!("{file} {what}: {said}, not {wanted}: {why:?}"));
        }
    }
    different
}

#[test]
fn certificates_are_answered_as_the_kernel_does() {
    assert_eq!(different("certificates"), Vec::<String>::new());
}

#[test]
fn signatures_are_answered_as_the_kernel_does() {
    assert_eq!(different("signatures"), Vec::<String>::new());
}
