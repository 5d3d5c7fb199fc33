//! Revoked signers on a real kernel, beside the offline verdict.
//!
//! The machine's firmware has the test certificate `middle` and the content of `minimal` on its
//! list of what is revoked, and `p256` on that of what is trusted (`cargo xtask kernels`).
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;

use bpfseal::artifact::Artifact;
use bpfseal::kernel::{InstallError, KeyringId, Linux, add_certificate, join_session};
use bpfseal::loader::FixedHost;
use bpfseal::object::Object;
use bpfseal::seal::{Certificate, DigestAlgorithm, Rejection, Revocation, SealOptions, TrustStore};
use bpfseal::{LoadError, LoadOptions, Sealer, load};
use bpfseal_proof::bench::{Person, person};
use bpfseal_proof::object;

fn leaf() -> Person {
    person("leaf")
}

fn rsa() -> Person {
    person("rsa2048")
}

fn p256() -> Person {
    person("p256")
}

fn middle() -> Certificate {
    person("middle").certificate
}

fn root() -> Certificate {
    person("root").certificate
}

fn sealed(signer: &Person, embed: Vec<Certificate>) -> Artifact {
    let object = Object::parse(object!("minimal"), "minimal").unwrap();
    let options = SealOptions {
        embed,
        ..SealOptions::default()
    };
    Sealer::new(&signer.certificate)
        .options(options)
        .host(&FixedHost::default())
        .seal(object, &signer.key)
        .unwrap()
        .into_artifact()
}

/// Signed by the leaf, with the revoked certificate between it and the root.
fn chained() -> Artifact {
    sealed(&leaf(), vec![leaf().certificate, middle()])
}

fn and(mut artifact: Artifact, signer: &Person) -> Artifact {
    let options = SealOptions::default();
    artifact
        .add_signature(&signer.key, &signer.certificate, &options)
        .unwrap();
    artifact
}

/// The kernel's answer, with these in a keyring of their own.
fn kernel(artifact: &Artifact, trusted: &[Certificate]) -> Option<String> {
    join_session(&Linux).unwrap();
    for certificate in trusted {
        add_certificate(&Linux, KeyringId::SESSION, "test", certificate.der()).unwrap();
    }
    let options = LoadOptions::from_keyring(KeyringId::SESSION);
    match load(artifact, &options) {
        Ok(_) => None,
        Err(LoadError::Refused(InstallError::Call { source, .. })) => Some(source.errno_name()),
        Err(other) => panic!("{other}"),
    }
}

/// The offline verdict, with the same revoked.
fn offline(artifact: &Artifact, trusted: &[Certificate]) -> Result<(), Rejection> {
    let mut trust = TrustStore::new();
    for certificate in trusted {
        trust.add(certificate.clone());
    }
    trust.revoke_by(Revocation::CertificateDigest(middle().tbs_digest()));
    artifact.sealed().next().unwrap().verify(&trust).map(|_| ())
}

/// Both say the same; where the kernel takes what is refused offline, the rejection says so.
#[track_caller]
fn same(artifact: &Artifact, trusted: &[Certificate], wanted: Option<&str>) {
    let seen = kernel(artifact, trusted);
    assert_eq!(seen.as_deref(), wanted);
    let offline = offline(artifact, trusted);
    let answer = offline.as_ref().err().and_then(Rejection::errno_name);
    assert_eq!(answer, wanted, "{offline:?}");
}

fn in_machine() -> bool {
    let there = std::env::var_os("BPFSEAL_VM").is_some() && Path::new("/sys/firmware/efi").exists();
    if !there {
        eprintln!("skipped: no virtual machine with firmware (`cargo xtask kernels` has one)");
    }
    there
}

#[test]
fn a_revoked_certificate_is_answered_as_offline() {
    if !in_machine() {
        return;
    }
    // It can not even be added.
    join_session(&Linux).unwrap();
    let error = add_certificate(&Linux, KeyringId::SESSION, "test", middle().der()).unwrap_err();
    assert!(error.to_string().contains("EKEYREJECTED"), "{error}");

    same(&chained(), &[root()], Some("EKEYREJECTED"));
    // Its leaf without it is nobody.
    same(
        &sealed(&leaf(), vec![leaf().certificate]),
        &[root()],
        Some("ENOKEY"),
    );
    // A second signer, who is trusted.
    same(
        &and(chained(), &p256()),
        &[root(), p256().certificate],
        None,
    );
    same(&and(chained(), &rsa()), &[rsa().certificate], None);
    // Neither is.
    same(
        &and(chained(), &rsa()),
        &[p256().certificate],
        Some("ENOKEY"),
    );
    // A second signature by somebody whom nobody trusts makes the kernel pass over the revocation.
    let laundered = and(chained(), &rsa());
    same(&laundered, &[root()], None);
    assert!(matches!(
        offline(&laundered, &[root()]).unwrap_err(),
        Rejection::RevokedButTaken { .. }
    ));
}

#[test]
fn revoked_content_is_not_asked_for() {
    if !in_machine() {
        return;
    }
    let artifact = sealed(&rsa(), Vec::new());
    let one = artifact.sealed().next().unwrap();
    let content = [one.instructions, one.metadata].concat();
    let digest = DigestAlgorithm::Sha256.digest(&content);
    // It is on the list, by the kernel's own account.
    let keys = std::fs::read_to_string("/proc/keys").unwrap_or_default();
    let listed = format!("bin:{}", bpfseal::seal::hex(&digest));
    assert!(keys.contains(&listed[..40]), "{keys}");
    assert_eq!(kernel(&artifact, &[rsa().certificate]), None);
    let mut trust = TrustStore::new();
    trust.add(rsa().certificate);
    trust.revoke_by(Revocation::Content(digest.try_into().unwrap()));
    let rejection = one.verify(&trust).unwrap_err();
    assert!(matches!(rejection, Rejection::RevokedContent { .. }));
    assert_eq!(rejection.errno_name(), None);
}

#[test]
fn the_platform_keyring_has_what_the_firmware_trusts() {
    if !in_machine() {
        return;
    }
    join_session(&Linux).unwrap();
    let options = LoadOptions::from_keyring(KeyringId::PLATFORM);
    load(&sealed(&p256(), Vec::new()), &options).unwrap();
    assert!(load(&sealed(&rsa(), Vec::new()), &options).is_err());
}
