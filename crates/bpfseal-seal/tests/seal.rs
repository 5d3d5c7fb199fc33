//! Sealing and verifying: every key type, against OpenSSL and against the reference's samples.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use bpfseal_seal::Signer as _;
use bpfseal_seal::{
    Certificate, KeyError, Rejection, SIGNING_DIGESTS, Scheme, Seal, SealError, SealOptions,
    Secret, SigningKey, TrustPath, TrustStore, chain, excl_prog_hash, seal, seal_load_time,
    verify_detached,
};
use common::{KEYS, Owned, certificate, file, key, keys_dir, openssl_accepts, trust, vectors};

const INSTRUCTIONS: [u8; 16] = [0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];
const METADATA: &[u8] = b"metadata of a small loader";

fn sealed(name: &str) -> Owned {
    Owned {
        instructions: INSTRUCTIONS.to_vec(),
        metadata: METADATA.to_vec(),
        seal: seal_load_time(&INSTRUCTIONS, METADATA, &key(name), &certificate(name)).unwrap(),
    }
}

#[test]
fn every_key_type_signs_and_openssl_agrees() {
    let content = [&INSTRUCTIONS, METADATA].concat();
    for name in KEYS {
        let sealed = sealed(name);
        let attestation = sealed.verify(&trust(name)).unwrap();
        assert_eq!(attestation.covered, content.len() as u64);
        assert_eq!(attestation.path, TrustPath::Direct);
        let certificate = keys_dir().join(format!("{name}.cert.pem"));
        let signature = &sealed.seal.signature;
        assert!(openssl_accepts(&content, signature, &certificate), "{name}");
        let mut other = content.clone();
        other[3] ^= 1;
        assert!(!openssl_accepts(&other, signature, &certificate), "{name}");
    }
}

#[test]
fn signing_is_deterministic() {
    for name in KEYS {
        assert_eq!(sealed(name), sealed(name), "{name}");
    }
}

#[test]
fn older_key_formats_are_the_same_keys() {
    for (old, name) in [
        ("rsa2048.pkcs1.pem", "rsa2048"),
        ("p256.sec1.pem", "p256"),
        ("p384.sec1.pem", "p384"),
    ] {
        let key = SigningKey::from_pem(&file(old)).unwrap();
        let seal = seal_load_time(&INSTRUCTIONS, METADATA, &key, &certificate(name)).unwrap();
        assert_eq!(seal, sealed(name).seal, "{old}");
    }
    assert_eq!(
        Certificate::from_bytes(&file("rsa2048.cert.der")).unwrap(),
        certificate("rsa2048")
    );
}

#[test]
fn keys_that_can_not_sign_say_why() {
    #[track_caller]
    fn check(name: &str, part: &str) {
        let error = SigningKey::from_pem(&file(name)).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    check("p256.encrypted.pem", "no passphrase was given");
    let encrypted = file("p256.encrypted.pem");
    let [wrong, right] = ["wrong", "test"].map(|word| Secret::from(word.to_owned()));
    let wrong = SigningKey::from_encrypted_pem(&encrypted, Some(&wrong));
    assert!(matches!(wrong.unwrap_err(), KeyError::Passphrase));
    let right = SigningKey::from_encrypted_pem(&encrypted, Some(&right)).unwrap();
    assert_eq!(right.public_key(), key("p256").public_key());
    check("ed25519.key.pem", "Ed25519");
    check("p256.cert.pem", "found `CERTIFICATE`");
    assert!(matches!(
        SigningKey::from_pem(b"").unwrap_err(),
        KeyError::NoKey { found: None }
    ));
}

#[test]
fn key_and_certificate_have_to_match() {
    let error = seal_load_time(
        &INSTRUCTIONS,
        METADATA,
        &key("p256"),
        &certificate("rsa4096"),
    )
    .unwrap_err();
    assert!(matches!(error, SealError::KeyMismatch { .. }));
    let text = error.to_string();
    assert!(text.contains("wants the RSA-4096 key"), "{text}");
    assert!(text.contains("given is ECDSA P-256"), "{text}");
    let bare = Certificate::from_bytes(&file("p256.no-key-id.pem")).unwrap();
    let error = seal_load_time(&INSTRUCTIONS, METADATA, &key("p256"), &bare).unwrap_err();
    assert!(matches!(error, SealError::NoKeyIdentifier { .. }));
}

#[test]
fn who_is_not_trusted_is_refused() {
    for name in KEYS {
        let sealed = sealed(name);
        let other = if name == "p256" { "p384" } else { "p256" };
        for store in [trust(other), TrustStore::new()] {
            let error = sealed.verify(&store).unwrap_err();
            assert_eq!(error.errno_name(), Some("ENOKEY"));
            assert_eq!(error.check(), "trust");
        }
        let mut store = trust(name);
        store.revoke(certificate(name));
        let error = sealed.verify(&store).unwrap_err();
        assert!(matches!(error, Rejection::Revoked { .. }), "{error}");
    }
}

#[test]
fn every_changed_byte_of_what_is_signed_is_refused() {
    for name in ["rsa2048", "p256", "p384"] {
        let good = sealed(name);
        let store = trust(name);
        for at in 0..good.instructions.len() {
            let mut bad = good.clone();
            bad.instructions[at] ^= 0x10;
            assert_eq!(bad.verify(&store).unwrap_err().check(), "excl_prog_hash");
            // Whoever changes the instructions can change the digest as well.
            let content = [bad.instructions.as_slice(), METADATA];
            let error = verify_detached(&content, &bad.seal.signature, &store).unwrap_err();
            assert_eq!(error.errno_name(), Some("EKEYREJECTED"));
        }
        for at in 0..good.metadata.len() {
            let mut bad = good.clone();
            bad.metadata[at] ^= 0x01;
            let error = bad.verify(&store).unwrap_err();
            assert_eq!(
                (error.errno_name(), error.check()),
                (Some("EKEYREJECTED"), "signature")
            );
        }
        for at in 0..32 {
            let mut bad = good.clone();
            bad.seal.excl_prog_hash[at] ^= 0x80;
            assert_eq!(bad.verify(&store).unwrap_err().errno_name(), Some("EACCES"));
        }
    }
}

/// The bits of a signature that nobody looks at, the kernel no more than we: bytes, bits, why.
///
/// Offsets into the signature of an RSA key with 2048 bits:
///
/// ```text
///   0 SEQUENCE   4 OID signedData   15 [0]   19 SEQUENCE   23 INTEGER 3
///  26 SET       28 SEQUENCE         30 OID sha256
///  41 SEQUENCE  43 OID data         54 SET   58 SEQUENCE   62 INTEGER 3   65 [0] key id
///  87 SEQUENCE  89 OID sha256      100 SEQUENCE  102 OID rsaEncryption   113 NULL
/// 115 OCTET STRING signature
/// ```
const NOT_COVERED: [(&[usize], u8, &str); 4] = [
    (
        &[0, 15, 19, 26, 28, 41, 54, 58, 87, 100],
        0x20,
        "the bit that says `constructed` is not looked at where the grammar wants it",
    ),
    (&[26, 54], 0x01, "a SET may be written as a SEQUENCE"),
    (
        &[32, 33, 34, 35, 36, 37, 38, 39, 40],
        0xff,
        "the list of digest algorithms is read past: each signature names its own",
    ),
    (
        &[113],
        0xff,
        "parameters of the signature algorithm are read past",
    ),
];

#[test]
fn every_changed_byte_of_the_signature_is_refused_or_explained() {
    let good = sealed("rsa2048");
    let store = trust("rsa2048");
    let mut taken = std::collections::BTreeSet::new();
    for at in 0..good.seal.signature.len() {
        for bit in 0..8 {
            let mut bad = good.clone();
            bad.seal.signature[at] ^= 1 << bit;
            if bad.verify(&store).is_ok() {
                taken.insert((at, bit));
            }
        }
    }
    let explained: std::collections::BTreeSet<_> = NOT_COVERED
        .iter()
        .flat_map(|(bytes, mask, _)| bytes.iter().map(move |at| (*at, *mask)))
        .flat_map(|(at, mask)| {
            (0..8)
                .filter(move |bit| mask >> bit & 1 == 1)
                .map(move |bit| (at, bit))
        })
        .collect();
    assert_eq!(taken, explained);
}

#[test]
fn signatures_of_other_forms() {
    let content = file("content.bin");
    let check = |signature: &str, anchor: &str| {
        verify_detached(&[&content], &file(signature), &trust(anchor))
    };
    for name in ["chain.sig.der", "attributes.sig.der"] {
        for anchor in ["root", "middle", "leaf"] {
            let found = check(name, anchor).unwrap();
            assert_eq!(found.trusted, certificate(anchor), "{name} {anchor}");
        }
        assert_eq!(
            check(name, "p256").unwrap_err().errno_name(),
            Some("ENOKEY")
        );
        let mut store = trust("root");
        store.revoke(certificate("middle"));
        let error = verify_detached(&[&content], &file(name), &store).unwrap_err();
        assert_eq!(error.errno_name(), Some("EKEYREJECTED"));
    }
    assert!(check("sha512.sig.der", "rsa2048").is_ok());
    assert!(check("p384.sig.der", "p384").is_ok());
    let error = verify_detached(&[b"other"], &file("attributes.sig.der"), &trust("root"));
    assert!(matches!(
        error.unwrap_err(),
        Rejection::MessageDigest { .. }
    ));
}

#[test]
fn malformed_signatures_have_the_kernels_errno() {
    let check = |signature: &[u8]| {
        verify_detached(&[b"x"], signature, &trust("p256"))
            .unwrap_err()
            .errno_name()
    };
    assert_eq!(check(b""), Some("EINVAL"));
    assert_eq!(check(&[0; 8193]), Some("EINVAL"));
    assert_eq!(check(b"junk"), Some("EBADMSG"));
}

#[test]
fn the_reference_samples_verify_and_come_out_the_same() {
    let Some(dir) = vectors() else { return };
    let read = |name: &str| std::fs::read(dir.join(name)).unwrap();
    let key = SigningKey::from_pem(&read("key.pem")).unwrap();
    let certificate = Certificate::from_bytes(&read("cert.pem")).unwrap();
    assert_eq!(
        certificate,
        Certificate::from_bytes(&read("cert.der")).unwrap()
    );
    let instructions = read("loadtime/insns.bin");
    let metadata = read("loadtime/metadata.bin");
    let seal = seal_load_time(&instructions, &metadata, &key, &certificate).unwrap();
    assert_eq!(
        seal,
        Seal {
            scheme: Scheme::LoadTime,
            signature: read("loadtime/signature.der"),
            excl_prog_hash: read("loadtime/excl_prog_hash.bin").try_into().unwrap(),
        }
    );
    let mut anchor = TrustStore::new();
    anchor.add(Certificate::from_bytes(&read("chain/ca.pem")).unwrap());
    let content = [read("chain/insns.bin"), read("chain/metadata.bin")];
    let content: Vec<&[u8]> = content.iter().map(Vec::as_slice).collect();
    let found = verify_detached(&content, &read("chain/signature.der"), &anchor).unwrap();
    assert!(matches!(found.path, TrustPath::Chain(_)));
}

/// The samples of the other schemes: their bytes where signing is deterministic, and what is in
/// them.
#[test]
fn the_samples_of_every_scheme() {
    let Some(dir) = vectors() else { return };
    let read = |name: &str| std::fs::read(dir.join(name)).unwrap();
    let key = SigningKey::from_pem(&read("key.pem")).unwrap();
    let certificate = Certificate::from_bytes(&read("cert.pem")).unwrap();
    let mut store = TrustStore::new();
    store.add(certificate.clone());
    for (scheme, folder) in [
        (Scheme::LoadTime, "loadtime"),
        (Scheme::InLoaderExclusive, "inloader-exclusive"),
        (Scheme::InLoader, "inloader-libbpf-1.7"),
        (Scheme::HashChain, "hashchain"),
        (Scheme::Hornet, "hornet"),
    ] {
        let instructions = read(&format!("{folder}/insns.bin"));
        let metadata = read(&format!("{folder}/metadata.bin"));
        let signature = read(&format!("{folder}/signature.der"));
        let options = SealOptions {
            signing_time: signing_time(&signature),
            ..SealOptions::default()
        };
        let ours = seal(
            scheme,
            &instructions,
            &metadata,
            &key,
            &certificate,
            &options,
        )
        .unwrap();
        if scheme == Scheme::HashChain {
            let end = read("hashchain/signed-bytes.bin");
            assert_eq!(chain(&instructions, &[&metadata]).to_vec(), end);
        }
        let theirs = Owned {
            seal: Seal {
                signature,
                ..ours.clone()
            },
            instructions,
            metadata,
        };
        let attestation = theirs.verify(&store).unwrap();
        assert_eq!(attestation.trusted, certificate, "{folder}");
        assert_eq!(ours, theirs.seal, "{folder}");
        // Every scheme covers both, one way or the other.
        for at in [0, theirs.metadata.len() - 1] {
            let mut bad = theirs.clone();
            bad.metadata[at] ^= 1;
            assert!(bad.verify(&store).is_err(), "{folder}");
        }
        let mut bad = theirs.clone();
        bad.instructions[100] ^= 1;
        assert_eq!(bad.verify(&store).unwrap_err().errno_name(), Some("EACCES"));
        bad.seal.excl_prog_hash = excl_prog_hash(&bad.instructions);
        assert_eq!(
            bad.verify(&store).unwrap_err().errno_name(),
            Some("EKEYREJECTED")
        );
    }
}

/// The UTCTime of a signature, in seconds since 1970; 0 without one.
fn signing_time(signature: &[u8]) -> u64 {
    use std::process::{Command, Stdio};
    let Some(at) = signature.windows(2).position(|two| two == [0x17, 13]) else {
        return 0;
    };
    let text = std::str::from_utf8(&signature[at + 2..at + 14]).unwrap();
    let part = |i: usize| text[i..i + 2].to_owned();
    let date = format!(
        "20{}-{}-{} {}:{}:{}",
        part(0),
        part(2),
        part(4),
        part(6),
        part(8),
        part(10)
    );
    let output = Command::new("date")
        .args(["-u", "-d", &date, "+%s"])
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    String::from_utf8(output.stdout)
        .unwrap()
        .trim()
        .parse()
        .unwrap()
}

#[test]
fn every_key_signs_with_every_digest_and_openssl_agrees() {
    for name in ["rsa2048", "p256", "p384", "p521"] {
        for digest in SIGNING_DIGESTS {
            let options = SealOptions {
                digest: Some(digest),
                ..SealOptions::default()
            };
            let (key, certificate) = (key(name), certificate(name));
            let scheme = Scheme::LoadTime;
            let seal = seal(
                scheme,
                &INSTRUCTIONS,
                METADATA,
                &key,
                &certificate,
                &options,
            )
            .unwrap();
            let owned = Owned {
                instructions: INSTRUCTIONS.to_vec(),
                metadata: METADATA.to_vec(),
                seal,
            };
            assert!(owned.verify(&trust(name)).is_ok(), "{name} {digest:?}");
            let content = [&INSTRUCTIONS, METADATA].concat();
            let path = keys_dir().join(format!("{name}.cert.pem"));
            let accepted = openssl_accepts(&content, &owned.seal.signature, &path);
            assert!(accepted, "{name} {digest:?}");
        }
    }
}

/// The signer's certificate and what is between it and the trusted one are embedded.
#[test]
fn a_chain_is_embedded() {
    let options = SealOptions {
        embed: vec![certificate("leaf"), certificate("middle")],
        ..SealOptions::default()
    };
    let seal = seal(
        Scheme::LoadTime,
        &INSTRUCTIONS,
        METADATA,
        &key("leaf"),
        &certificate("leaf"),
        &options,
    )
    .unwrap();
    let owned = Owned {
        instructions: INSTRUCTIONS.to_vec(),
        metadata: METADATA.to_vec(),
        seal,
    };
    for anchor in ["root", "middle", "leaf"] {
        let attestation = owned.verify(&trust(anchor)).unwrap();
        assert_eq!(attestation.trusted, certificate(anchor), "{anchor}");
    }
    assert_eq!(
        owned.verify(&trust("p256")).unwrap_err().errno_name(),
        Some("ENOKEY")
    );
    let root = keys_dir().join("root.cert.pem");
    let content = [&INSTRUCTIONS, METADATA].concat();
    assert!(openssl_accepts(&content, &owned.seal.signature, &root));
    // Named by key identifier, nobody finds the embedded one.
    let bare = seal_load_time(&INSTRUCTIONS, METADATA, &key("leaf"), &certificate("leaf")).unwrap();
    let owned = Owned {
        seal: bare,
        ..owned
    };
    assert_eq!(
        owned.verify(&trust("root")).unwrap_err().errno_name(),
        Some("ENOKEY")
    );
}
