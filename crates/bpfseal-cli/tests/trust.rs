//! What is trusted and revoked on the command line, and what the kernel would not hold.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::process::Command;

use common::{Bench, testdata};
use serde_json::Value;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// A folder with a sealed artifact.
fn sealed() -> Bench {
    let bench = Bench::new();
    bench.good("seal sample.bpf.o -k key.pem -i cert.pem -o a.bpfseal");
    bench
}

/// A certificate by OpenSSL: `options` with spaces.
fn certificate(bench: &Bench, name: &str, options: &str) {
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-new",
            "-subj",
            "/CN=somebody",
            "-days",
            "3000",
            "-out",
            name,
        ])
        .args(options.split_whitespace())
        .current_dir(bench.folder.path())
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
}

/// The cases of the kernel's answers, as a user would ask for them.
#[test]
fn certificates_are_answered_as_the_kernel_does() {
    let folder = testdata().join("cases/certificates");
    let bench = Bench::new();
    let text = std::fs::read_to_string(folder.join("manifest.jsonl")).unwrap();
    let mut untrusted = 0;
    for row in text.lines().map(json) {
        let file = row["file"].as_str().unwrap();
        bench.take(&folder.join(file), file);
        let trust = row["trust"].as_array().unwrap();
        let trust: Vec<_> = trust.iter().map(|name| name.as_str().unwrap()).collect();
        for name in &trust {
            bench.take(&folder.join(name), name);
        }
        let ran = bench.run(&format!("verify {file} --json --trust {}", trust.join(" ")));
        let report = json(&ran.out);
        let wanted = row["kernel_7_3_4"].as_str().unwrap();
        if wanted == "loads" {
            assert_eq!(
                (ran.code, &report["verdict"]),
                (0, &"good".into()),
                "{file}"
            );
        } else {
            assert_eq!((ran.code, &report["errno"]), (1, &wanted.into()), "{file}");
        }
        let first = &report["untrusted"][0];
        if row["add_key_errno_of_first"] == 0 {
            assert!(first.is_null(), "{file}: {first}");
        } else {
            assert_eq!(first["file"], trust[0]);
            assert!(!first["errno"].as_str().unwrap().is_empty(), "{first}");
            untrusted += 1;
        }
    }
    assert!(untrusted > 0);
}

#[test]
fn what_the_kernel_would_not_hold_is_no_anchor() {
    let bench = sealed();
    let mut der = bench.read("cert.der");
    // In the serial number.
    der[20] ^= 1;
    std::fs::write(bench.path("changed.der"), &der).unwrap();
    std::fs::write(bench.path("cut.der"), &der[..100]).unwrap();
    let line = "verify a.bpfseal --trust changed.der cut.der";
    let note = "note: changed.der is not a trust anchor: the kernel answers EKEYREJECTED: it says that it signed itself, but";
    bench.bad(line, 1, &["ENOKEY", note, "note: cut.der", "EBADMSG"]);
    let ran = bench.run(&format!("{line} --json"));
    let untrusted = &json(&ran.out)["untrusted"];
    assert_eq!(untrusted[0]["check"], "own-signature");
    assert_eq!(untrusted[1]["check"], "form");
    assert!(ran.err.is_empty(), "{}", ran.err);
    // Beside one that is one, it changes nothing.
    bench.good("verify a.bpfseal --trust changed.der cert.pem");
    bench.bad(
        "explain a.bpfseal --keyring changed.der --kernel 7.3",
        1,
        &["ENOKEY", "note: changed.der is not a trust anchor"],
    );
    // One whose digest is revoked.
    let digest = tbs_digest(&bench);
    bench.bad(
        &format!("verify a.bpfseal --trust cert.pem --revoked tbs:{digest}"),
        1,
        &["ENOKEY", "note: cert.pem", "EKEYREJECTED", "revoked"],
    );
}

/// SHA-256 of the part of `cert.der` that is signed, by OpenSSL.
fn tbs_digest(bench: &Bench) -> String {
    let cut = Command::new("openssl")
        .args([
            "asn1parse",
            "-inform",
            "DER",
            "-in",
            "cert.der",
            "-strparse",
            "4",
        ])
        .args(["-noout", "-out", "tbs"])
        .current_dir(bench.folder.path())
        .status();
    assert!(cut.unwrap().success());
    use sha2::Digest as _;
    let digest = sha2::Sha256::digest(bench.read("tbs"));
    digest.iter().map(|b| format!("{b:02x}")).collect()
}

#[test]
fn a_revocation_is_never_a_file_and_a_file_never_a_revocation() {
    let bench = sealed();
    let verify = |revoked: &str| format!("verify a.bpfseal --trust cert.pem --revoked {revoked}");
    let zeroes = "0".repeat(64);
    for kind in ["tbs", "bin", "key"] {
        let name = format!("{kind}:{zeroes}");
        // A file of that name changes nothing, unless it is said to be one.
        bench.take(&bench.path("cert.pem"), &name);
        bench.good(&verify(&name));
        bench.bad(
            &verify(&format!("./{name}")),
            1,
            &["EKEYREJECTED", "revoked"],
        );
        for bad in ["", "0", "zz", "00:", "0:0"] {
            bench.bad(
                &verify(&format!("{kind}:{bad}")),
                2,
                &["is not a revocation"],
            );
        }
    }
    bench.bad(&verify("tbs:00"), 2, &["64 hexadecimal digits"]);
    // Other text is a file, which has to be there and to be read.
    for missing in ["nothing:00", "TBS:00", "key", "nothing.pem"] {
        bench.bad(&verify(missing), 3, &[missing]);
    }
}

#[test]
fn what_is_revoked_is_read_whole() {
    let bench = sealed();
    let verify = |revoked: &str| format!("verify a.bpfseal --trust cert.pem --revoked {revoked}");
    let write = |name: &str, parts: &[&[u8]]| {
        std::fs::write(bench.path(name), parts.concat()).unwrap();
    };
    let (other, pem) = (bench.read("other.cert.pem"), bench.read("cert.pem"));
    write("two.pem", &[&other, b"# and\n", &pem]);
    bench.bad(&verify("two.pem"), 1, &["revoked"]);
    write("keys.pem", &[&other, &bench.read("other.key.pem")]);
    bench.good(&verify("keys.pem"));
    write("cut.pem", &[&other, &pem[..pem.len() - 20]]);
    write("dashes.pem", &[&other, b"-", &pem]);
    write(
        "list.pem",
        &[
            &other,
            b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n",
        ],
    );
    write(
        "two.der",
        &[&bench.read("cert.der"), &bench.read("cert.der")],
    );
    write("text", &[b"nothing"]);
    write("empty", &[]);
    for unread in [
        "cut.pem",
        "dashes.pem",
        "list.pem",
        "two.der",
        "text",
        "empty",
    ] {
        bench.bad(&verify(unread), 3, &[unread]);
    }
}

#[test]
fn directories_are_read_whole_or_refused() {
    let bench = sealed();
    std::fs::create_dir(bench.path("certs")).unwrap();
    bench.bad("verify a.bpfseal --trust certs", 3, &["certs", "empty"]);
    // Whatever it is called.
    bench.take(&bench.path("cert.pem"), "certs/mine");
    bench.good("verify a.bpfseal --trust certs");
    bench.bad(
        "verify a.bpfseal --trust cert.pem --revoked certs",
        1,
        &["revoked"],
    );
    for (name, contents) in [("key.pem", bench.read("key.pem")), (".x", b"x".to_vec())] {
        let path = format!("certs/{name}");
        std::fs::write(bench.path(&path), contents).unwrap();
        for option in ["--trust certs", "--trust cert.pem --revoked certs"] {
            bench.bad(&format!("verify a.bpfseal {option}"), 3, &[&path]);
        }
        std::fs::remove_file(bench.path(&path)).unwrap();
    }
    std::fs::create_dir(bench.path("certs/inner")).unwrap();
    bench.bad(
        "verify a.bpfseal --trust certs",
        3,
        &["certs/inner", "directory"],
    );
}

/// The certificate in the message has the name and the key of the trusted one, and says more.
#[test]
fn usages_are_those_of_the_trusted_certificate() {
    let bench = Bench::new();
    certificate(&bench, "plain.pem", "-key key.pem -set_serial 7");
    let usage = "-addext extendedKeyUsage=codeSigning";
    certificate(
        &bench,
        "alike.pem",
        &format!("-key key.pem -set_serial 7 {usage}"),
    );
    bench.good("seal sample.bpf.o -k key.pem -i alike.pem --embed-chain -o a.bpfseal");
    bench.good("verify a.bpfseal --trust plain.pem");
    let verify =
        |trusted: &str| format!("verify a.bpfseal --require-eku code-signing --trust {trusted}");
    bench.bad(&verify("plain.pem"), 1, &["not for signing code", "usage"]);
    bench.good(&verify("alike.pem"));
}

#[test]
fn dates_are_by_the_clock_or_by_a_flag() {
    let mut bench = sealed();
    let verify = |options: &str| format!("verify a.bpfseal --trust cert.pem {options}");
    // What a build sets is not what is checked by.
    bench.env = vec![("SOURCE_DATE_EPOCH".to_owned(), "0".to_owned())];
    bench.good(&verify("--check-dates"));
    for early in ["0", "1999-12-31", "1999-12-31T23:59:59Z"] {
        bench.bad(
            &verify(&format!("--check-dates-at {early}")),
            1,
            &["dates", "takes it"],
        );
    }
    bench.good(&verify("--check-dates-at 2027-01-01"));
    for bad in ["now", "2026-13-01", "2026-11-25T12:00:00", "-1"] {
        bench.bad(
            &verify(&format!("--check-dates-at={bad}")),
            2,
            &["seconds since 1970"],
        );
    }
    bench.bad(
        &verify("--check-dates --check-dates-at 0"),
        2,
        &["cannot be used"],
    );
}

#[test]
fn kernels_are_told_apart_by_their_configuration() {
    let bench = sealed();
    let verify = |options: &str| format!("verify a.bpfseal --trust cert.pem {options}");
    bench.good(&verify("--kernel-options debian,-ecdsa"));
    bench.bad(&verify("--kernel-options debian,-sha256"), 1, &["ENOPKG"]);
    bench.bad(
        &verify("--kernel-options all,+big-endian"),
        1,
        &["byte-order", "big-endian"],
    );
    for bad in ["other", "debian,rsa", "debian,+md5", ""] {
        bench.bad(
            &verify(&format!("--kernel-options={bad}")),
            2,
            &["debian or all"],
        );
    }
    let config = "CONFIG_CRYPTO_RSA=y\nCONFIG_CRYPTO_SHA256=y\n";
    std::fs::write(bench.path("config"), config).unwrap();
    bench.good(&verify("--kernel-config config"));
    std::fs::write(bench.path("config"), "CONFIG_CRYPTO_SHA256=m\n").unwrap();
    bench.bad(&verify("--kernel-config config"), 1, &["ENOPKG"]);
    bench.bad(&verify("--kernel-config cert.pem"), 3, &["CONFIG_"]);
    bench.bad(
        "explain a.bpfseal --keyring cert.pem --kernel 7.3 --kernel-options debian,-sha256",
        1,
        &["ENOPKG"],
    );
}

#[test]
fn a_loader_is_for_machines_of_one_byte_order() {
    let bench = sealed();
    let object = testdata().join("objects/big-endian/minimal.bpf.o");
    bench.take(&object, "big.bpf.o");
    bench.good("seal big.bpf.o -k key.pem -i cert.pem -o big.bpfseal");
    let ran = bench.good("verify a.bpfseal --trust cert.pem --json");
    assert_eq!(json(&ran.out)["byte_order"], "little");
    let ran = bench.bad("verify big.bpfseal --trust cert.pem --json", 1, &["EACCES"]);
    let report = json(&ran.out);
    assert_eq!(
        (&report["byte_order"], &report["check"]),
        (&"big".into(), &"byte-order".into())
    );
    bench.good("verify big.bpfseal --trust cert.pem --kernel-options debian,+big-endian");
    // What the signature says comes first.
    bench.bad("verify big.bpfseal --trust other.cert.pem", 1, &["ENOKEY"]);
}
