//! Keys in a token, with SoftHSM2.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::process::Command;

use common::{Bench, testdata};

const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";

/// A bench with a token that has two keys; `None` where there is no SoftHSM2.
fn bench() -> Option<Bench> {
    if !std::path::Path::new(MODULE).is_file() {
        assert!(
            std::env::var_os("CI").is_none(),
            "the tests need SoftHSM2: apt-get install softhsm2"
        );
        eprintln!("skipped: no SoftHSM2");
        return None;
    }
    let mut bench = Bench::new();
    std::fs::create_dir(bench.path("tokens")).unwrap();
    let config = format!(
        "directories.tokendir = {}\n",
        bench.path("tokens").display()
    );
    std::fs::write(bench.path("softhsm2.conf"), config).unwrap();
    std::fs::write(bench.path("pin"), "1234\n").unwrap();
    std::fs::write(bench.path("wrong-pin"), "4321\n").unwrap();
    bench.env = vec![
        (
            "SOFTHSM2_CONF".to_owned(),
            bench.path("softhsm2.conf").display().to_string(),
        ),
        ("PKCS11_MODULE_PATH".to_owned(), MODULE.to_owned()),
        ("PIN".to_owned(), "1234".to_owned()),
    ];
    softhsm(
        &bench,
        "--init-token --free --label signing --pin 1234 --so-pin 0000",
    );
    for (id, name) in KEYS {
        let key = testdata().join("keys").join(format!("{name}.key.pem"));
        let key = key.canonicalize().unwrap();
        softhsm(
            &bench,
            &format!(
                "--import {} --token signing --label {name} --id {id} --pin 1234",
                key.display()
            ),
        );
        let certificate = format!("{name}.cert.pem");
        bench.take(&testdata().join("keys").join(&certificate), &certificate);
    }
    Some(bench)
}

const KEYS: [(&str, &str); 4] = [
    ("01", "rsa2048"),
    ("02", "p256"),
    ("03", "p384"),
    ("04", "p521"),
];

fn softhsm(bench: &Bench, line: &str) {
    let output = Command::new("softhsm2-util")
        .args(line.split_whitespace())
        .envs(bench.env.iter().cloned())
        .output()
        .unwrap();
    assert!(output.status.success(), "{line}: {output:?}");
}

#[test]
fn a_token_signs_with_every_kind_of_key() {
    let Some(bench) = bench() else { return };
    for (_, name) in KEYS {
        for digest in ["sha256", "sha384", "sha512"] {
            let key = format!("pkcs11:token=signing;object={name}?pin-source=pin");
            bench.good(&format!(
                "seal sample.bpf.o -k {key} -i {name}.cert.pem --digest {digest} -o a.bpfseal"
            ));
            bench.good(&format!("verify a.bpfseal --trust {name}.cert.pem"));
        }
    }
    // The same signature as with the key in a file.
    bench.good("seal sample.bpf.o -k key.pem -i cert.pem -o file.bpfseal");
    bench.good(
        "seal sample.bpf.o -k pkcs11:token=signing;id=%01 -i cert.pem --passphrase-file pin -o token.bpfseal",
    );
    assert!(bench.read("file.bpfseal") == bench.read("token.bpfseal"));
    bench.good(
        "seal sample.bpf.o -k pkcs11:object=rsa2048 -i cert.pem --passphrase-env PIN -o token.bpfseal",
    );
    // Many objects with one session.
    bench.good(
        "seal sample.bpf.o -k pkcs11:object=p256?pin-source=file:pin -i other.cert.pem -o out/",
    );
}

#[test]
fn what_is_wrong_with_a_token_is_said() {
    let Some(bench) = bench() else { return };
    let bad = |key: &str, code: i32, words: &[&str]| {
        let line = format!("seal sample.bpf.o -k {key} -i cert.pem -o out.bpfseal");
        bench.bad(&line, code, words);
        assert!(!bench.path("out.bpfseal").exists(), "{key}");
    };
    bad(
        "pkcs11:token=signing;object=rsa2048?pin-source=wrong-pin",
        3,
        &["the PIN is not that of token `signing`", "lock themselves"],
    );
    bad(
        "pkcs11:token=signing;object=rsa2048",
        3,
        &["wants a PIN, and none was given", "pin-source"],
    );
    bad(
        "pkcs11:token=missing;object=rsa2048?pin-source=pin",
        3,
        &["no token `missing`", "there are `signing`"],
    );
    bad(
        "pkcs11:token=signing;object=gone?pin-source=pin",
        3,
        &["has no private key `gone`", "`p256`"],
    );
    bad(
        "pkcs11:token=signing?pin-source=pin",
        3,
        &["more than one private key", "`rsa2048`"],
    );
    bad(
        "pkcs11:token=signing;object=rsa2048?module-path=/no/such.so",
        3,
        &["/no/such.so", "module-path"],
    );
    bad(
        "pkcs11:token=signing;object=rsa2048?pin-source=no-pin",
        3,
        &["no-pin", "No such file"],
    );
    bad(
        "pkcs11:token=signing?pin-value=1234",
        2,
        &["can be read by everyone"],
    );
    // Another key than the certificate's.
    bad(
        "pkcs11:token=signing;object=p256?pin-source=pin",
        3,
        &["did not sign"],
    );
    // The objects are removed, and then the token.
    let token = std::fs::read_dir(bench.path("tokens")).unwrap().next();
    let token = token.unwrap().unwrap().path();
    for file in std::fs::read_dir(&token).unwrap() {
        let file = file.unwrap().path();
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        if name.ends_with(".object") && name != "token.object" {
            std::fs::remove_file(file).unwrap();
        }
    }
    bad(
        "pkcs11:token=signing;object=rsa2048?pin-source=pin",
        3,
        &["has no private key `rsa2048`", "it has none"],
    );
    std::fs::remove_dir_all(token).unwrap();
    bad(
        "pkcs11:token=signing;object=rsa2048?pin-source=pin",
        3,
        &["no token `signing`", "there is none"],
    );
}
