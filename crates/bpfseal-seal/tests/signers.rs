//! Who signed, and whether that counts: several signers, revocation, what is stricter than the
//! kernel, and ML-DSA.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use bpfseal_seal::{
    Attestation, Certificate, KeyAlgorithm, MlDsaSet, Rejection, Revocation, Scheme, SealError,
    SealOptions, Signer as _, SigningKey, Strictness, ToBeSigned, TrustPath, TrustStore, seal,
};
use common::{Owned, certificate, file, key, trust};
use sha2::{Digest as _, Sha256};

const INSTRUCTIONS: [u8; 16] = [0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];
const METADATA: &[u8] = b"metadata of a small loader";

fn embedding(names: &[&str]) -> SealOptions {
    SealOptions {
        embed: names.iter().map(|name| certificate(name)).collect(),
        ..SealOptions::default()
    }
}

fn sealed_with(scheme: Scheme, name: &str, options: &SealOptions) -> Owned {
    let seal = seal(
        scheme,
        &INSTRUCTIONS,
        METADATA,
        &key(name),
        &certificate(name),
        options,
    )
    .unwrap();
    Owned {
        instructions: INSTRUCTIONS.to_vec(),
        metadata: METADATA.to_vec(),
        seal,
    }
}

fn sealed(name: &str, options: &SealOptions) -> Owned {
    sealed_with(Scheme::LoadTime, name, options)
}

/// A second signature beside the first.
fn add(sealed: &Owned, name: &str, options: &SealOptions) -> Result<Owned, SealError> {
    let (instructions, metadata) = (&sealed.instructions, &sealed.metadata);
    let certificate = certificate(name);
    let scheme = sealed.seal.scheme;
    let tbs = ToBeSigned::new(scheme, instructions, metadata, &certificate, options)?;
    let seal = tbs.beside(&sealed.seal)?.sign(&key(name))?;
    Ok(Owned {
        seal,
        ..sealed.clone()
    })
}

fn and(sealed: Owned, name: &str, options: &SealOptions) -> Owned {
    add(&sealed, name, options).unwrap()
}

fn verify(sealed: &Owned, trust: &TrustStore) -> Result<Attestation, Rejection> {
    sealed.verify(trust)
}

fn store(trusted: &[&str], revoked: &[Revocation]) -> TrustStore {
    let mut store = TrustStore::new();
    for name in trusted {
        store.add(certificate(name));
    }
    for revocation in revoked {
        store.revoke_by(revocation.clone());
    }
    store
}

fn digest_of(name: &str) -> Revocation {
    Revocation::CertificateDigest(certificate(name).tbs_digest())
}

fn listed(name: &str) -> Revocation {
    Revocation::Certificate(Box::new(certificate(name)))
}

fn key_id(name: &str) -> Revocation {
    Revocation::KeyId(certificate(name).subject_key_id().unwrap().to_vec())
}

#[test]
fn any_of_several_signers_can_be_trusted() {
    let names = ["p256", "rsa2048", "p384", "mldsa44"];
    let options = SealOptions::default();
    let mut loader = sealed(names[0], &options);
    for name in &names[1..] {
        loader = and(loader, name, &options);
    }
    for name in names {
        let found = verify(&loader, &trust(name)).unwrap();
        assert_eq!(found.trusted, certificate(name));
        assert_eq!(found.signatures.len(), names.len());
        let counting = found.signatures.iter().filter(|s| s.verdict.is_ok());
        assert_eq!(counting.count(), 1);
        assert!(found.signatures[found.decisive].verdict.is_ok());
    }
    assert!(matches!(
        verify(&loader, &trust("rsa3072")).unwrap_err(),
        Rejection::NoKey { .. }
    ));
    // The same signer again changes nothing.
    assert_eq!(and(loader.clone(), "p256", &options), loader);
}

#[test]
fn a_signature_of_a_changed_loader_makes_all_of_them_bad() {
    let options = SealOptions::default();
    let mut loader = sealed("p256", &options);
    loader.metadata = b"other metadata of the loader".into();
    let loader = and(loader, "rsa2048", &options);
    // The key that signed last is fine by itself; that of the first one is found, and wrong.
    assert!(verify(&loader, &trust("rsa2048")).is_ok());
    let both = verify(&loader, &store(&["p256", "rsa2048"], &[]));
    assert!(matches!(
        both.unwrap_err(),
        Rejection::WrongSignature { .. }
    ));
}

#[test]
fn signers_are_named_alike_in_a_message() {
    let by_key_id = sealed("p256", &SealOptions::default());
    let error = add(&by_key_id, "leaf", &embedding(&["leaf"])).unwrap_err();
    assert!(matches!(error, SealError::Mixed { .. }), "{error}");
    // By issuer and serial number, the second one follows the first.
    let chain = sealed("leaf", &embedding(&["leaf", "middle"]));
    let both = and(chain, "p256", &SealOptions::default());
    for name in ["root", "p256"] {
        assert_eq!(
            verify(&both, &trust(name)).unwrap().trusted,
            certificate(name)
        );
    }
}

/// Of Hornet's list of maps only that of a trusted signer counts.
#[test]
fn an_untrusted_signer_lists_no_maps() {
    let good = sealed_with(Scheme::Hornet, "p256", &SealOptions::default());
    let mut changed = good.clone();
    changed.metadata = b"changed".into();
    let error = verify(&changed, &trust("p256")).unwrap_err();
    assert!(matches!(error, Rejection::MapDigest { .. }));
    let laundered = and(changed, "rsa2048", &SealOptions::default());
    let error = verify(&laundered, &trust("p256")).unwrap_err();
    assert!(matches!(error, Rejection::MapDigest { .. }), "{error}");
    assert!(verify(&laundered, &trust("rsa2048")).is_ok());
}

#[test]
fn what_is_on_the_revocation_list_refuses_the_message() {
    let options = SealOptions::default();
    let both = and(sealed("p256", &options), "rsa2048", &options);
    let chain = sealed("leaf", &embedding(&["leaf", "middle"]));
    for kind in [listed, key_id] {
        for revoked in ["p256", "rsa2048"] {
            // Whoever else is trusted.
            let store = store(&["p256", "rsa2048"], &[kind(revoked)]);
            let error = verify(&both, &store).unwrap_err();
            assert!(matches!(error, Rejection::Revoked { .. }), "{error}");
            assert_eq!(error.errno_name(), Some("EKEYREJECTED"));
        }
        for revoked in ["leaf", "middle", "root"] {
            let error = verify(&chain, &store(&["root"], &[kind(revoked)])).unwrap_err();
            assert!(
                matches!(error, Rejection::Revoked { .. }),
                "{revoked}: {error}"
            );
        }
        assert!(verify(&chain, &store(&["root"], &[kind("p256")])).is_ok());
    }
}

/// As the kernel's blacklist of digests does: embedded certificates alone are looked at.
#[test]
fn a_blacklisted_certificate_does_not_count() {
    let chain = || sealed("leaf", &embedding(&["leaf", "middle"]));
    for revoked in ["leaf", "middle"] {
        let error = verify(&chain(), &store(&["root"], &[digest_of(revoked)])).unwrap_err();
        assert!(
            matches!(error, Rejection::Revoked { .. }),
            "{revoked}: {error}"
        );
    }
    // Not taken into a keyring.
    let error = verify(&chain(), &store(&["root"], &[digest_of("root")])).unwrap_err();
    assert!(matches!(error, Rejection::NoKey { .. }), "{error}");
    // Another signer decides, if trusted.
    let both = and(chain(), "p256", &SealOptions::default());
    let good = verify(&both, &store(&["root", "p256"], &[digest_of("leaf")])).unwrap();
    assert_eq!(good.trusted, certificate("p256"));
    let revoked = good.signatures.iter().filter(|s| s.verdict.is_err());
    assert_eq!(revoked.count(), 1);
    // Not where the walk ends at the revoked leaf, whose issuer is not trusted itself.
    let error = verify(&both, &store(&["root"], &[digest_of("leaf")])).unwrap_err();
    assert!(matches!(error, Rejection::NoKey { .. }), "{error}");
    // Not trusted: the kernel takes the message nevertheless, this does not.
    let error = verify(&both, &store(&["root"], &[digest_of("middle")])).unwrap_err();
    assert!(
        matches!(error, Rejection::RevokedButTaken { .. }),
        "{error}"
    );
    assert_eq!(error.errno_name(), None);
}

#[test]
fn content_can_be_revoked() {
    let digest = Sha256::digest([&INSTRUCTIONS, METADATA].concat()).into();
    let loader = sealed("p256", &SealOptions::default());
    let error = verify(&loader, &store(&["p256"], &[Revocation::Content(digest)])).unwrap_err();
    assert!(matches!(error, Rejection::RevokedContent { .. }));
    assert_eq!(error.errno_name(), None);
    let other = Revocation::Content([7; 32]);
    assert!(verify(&loader, &store(&["p256"], &[other])).is_ok());
}

#[test]
fn a_signer_by_key_id_is_not_found_among_embedded_certificates() {
    // As other tools write it: OpenSSL with `-keyid` and without `-nocerts`.
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| common::keys_dir().canonicalize().unwrap().join(name);
    let status = std::process::Command::new("openssl")
        .args([
            "cms", "-sign", "-binary", "-outform", "DER", "-md", "sha256",
        ])
        .args(["-noattr", "-keyid", "-out", "sig.der"])
        .arg("-in")
        .arg(path("content.bin"))
        .arg("-signer")
        .arg(path("leaf.cert.pem"))
        .arg("-inkey")
        .arg(path("leaf.key.pem"))
        .arg("-certfile")
        .arg(path("middle.cert.pem"))
        .current_dir(&dir)
        .status()
        .unwrap();
    assert!(status.success());
    let signature = std::fs::read(dir.path().join("sig.der")).unwrap();
    let content = file("content.bin");
    let error = bpfseal_seal::verify_detached(&[&content], &signature, &trust("root")).unwrap_err();
    assert!(
        matches!(error, Rejection::EmbeddedByKeyId { .. }),
        "{error}"
    );
    assert_eq!(error.errno_name(), Some("ENOKEY"));
    // With the signer itself in the store, it is.
    let found = bpfseal_seal::verify_detached(&[&content], &signature, &trust("leaf")).unwrap();
    assert_eq!(found.path, TrustPath::Direct);
}

#[test]
fn more_can_be_asked_than_the_kernel_asks() {
    let chain = sealed("leaf", &embedding(&["leaf", "middle"]));
    let trust = store(&["middle", "root", "p256"], &[]);
    let found = verify(&chain, &trust).unwrap();
    let check = |strictness: &Strictness| found.check(strictness, &trust);
    assert_eq!(check(&Strictness::default()), Ok(()));
    // Dates.
    let (from, to) = certificate("leaf").validity();
    for (at, good) in [(from, true), (to, true), (from - 1, false), (to + 1, false)] {
        let strictness = Strictness {
            at: Some(at),
            ..Strictness::default()
        };
        assert_eq!(check(&strictness).is_ok(), good, "{at}");
    }
    // Where trust comes from.
    for (name, good) in [("middle", true), ("root", true), ("p256", false)] {
        let strictness = Strictness {
            chain_to: Some(certificate(name)),
            ..Strictness::default()
        };
        assert_eq!(check(&strictness).is_ok(), good, "{name}");
    }
    // What the key is for.
    let strictness = Strictness {
        code_signing: true,
        ..Strictness::default()
    };
    assert!(matches!(
        check(&strictness).unwrap_err(),
        Rejection::NotForCode { .. }
    ));
    let code = Certificate::from_bytes(&file("p256.code.pem")).unwrap();
    let mut trust = TrustStore::new();
    trust.add(code);
    let found = verify(&sealed("p256", &SealOptions::default()), &trust).unwrap();
    assert_eq!(found.check(&strictness, &trust), Ok(()));
}

#[test]
fn ml_dsa_signs_the_message_itself() {
    let sets = [
        ("mldsa44", MlDsaSet::MlDsa44),
        ("mldsa65", MlDsaSet::MlDsa65),
        ("mldsa87", MlDsaSet::MlDsa87),
    ];
    for (name, set) in sets {
        assert_eq!(key(name).algorithm(), KeyAlgorithm::MlDsa(set));
        for scheme in [Scheme::LoadTime, Scheme::Hornet] {
            let loader = sealed_with(scheme, name, &SealOptions::default());
            let found = verify(&loader, &trust(name)).unwrap();
            assert_eq!(found.algorithm.to_string(), set.to_string());
            assert!(verify(&loader, &trust("p256")).is_err());
            let mut bad = loader.clone();
            bad.metadata = b"changed".into();
            assert!(verify(&bad, &trust(name)).is_err());
            // Debian's kernel does not have it, and takes neither certificate nor signature.
            let mut debian = TrustStore::new();
            let refused = debian.add_key(certificate(name)).unwrap_err();
            assert_eq!(refused.errno().to_string(), "ENOENT");
            let rejection = verify(&loader, &debian).unwrap_err();
            assert_eq!(rejection.errno_name(), Some("ENOKEY"));
        }
    }
    let seed = SigningKey::from_pem(&file("mldsa44.seed.pem")).unwrap();
    assert_eq!(seed.public_key(), key("mldsa44").public_key());
    let options = SealOptions {
        digest: Some(bpfseal_seal::DigestAlgorithm::Sha256),
        ..SealOptions::default()
    };
    let certificate = certificate("mldsa44");
    let error = ToBeSigned::new(
        Scheme::LoadTime,
        &INSTRUCTIONS,
        METADATA,
        &certificate,
        &options,
    )
    .unwrap_err();
    assert!(matches!(error, SealError::Digest { .. }), "{error}");
}

#[test]
fn too_many_signatures_are_too_long() {
    let options = SealOptions::default();
    let mut loader = sealed("mldsa87", &options);
    // 4,627 and 3,309 bytes: in 8,192 with what is around them there is no room for a third.
    loader = and(loader, "mldsa65", &options);
    let error = add(&loader, "p256", &options).unwrap_err();
    assert!(matches!(error, SealError::TooLong { .. }), "{error}");
}
