//! Broken artifacts: what `explain` says of each is what the running kernel answers, the step, the
//! errno and the line of its log.
//!
//! Runs on every kernel of `cargo xtask kernels`.
#![allow(clippy::unwrap_used, reason = "tests")]

use bpfseal::Sealer;
use bpfseal::artifact::install::{InstallPlan, Refusal, Step};
use bpfseal::artifact::{Artifact, LoaderForm};
use bpfseal::kernel::{self, KeyringId, Linux, add_certificate, join_session};
use bpfseal::loader::FixedHost;
use bpfseal::model::Errno;
use bpfseal::model::explain::{Setting, explain};
use bpfseal::model::kernel::Profile;
use bpfseal::object::Object;
use bpfseal::seal::{Certificate, Scheme, SealOptions, TrustStore, excl_prog_hash};
use bpfseal_proof::bench::{Person, in_any_machine, person, release};
use bpfseal_proof::object;
use bpfseal_proof::scenario::decisive_line;

/// In the keyring.
fn trusted() -> Person {
    person("p256")
}

/// Nowhere.
fn unknown() -> Person {
    person("rsa2048")
}

/// Below `middle`, which is below `root`, which is in the keyring.
fn leaf() -> Person {
    person("leaf")
}

fn middle() -> Certificate {
    person("middle").certificate
}

fn root() -> Certificate {
    person("root").certificate
}

fn sealed(scheme: Scheme, signer: &Person, embed: Vec<Certificate>) -> Artifact {
    let object = Object::parse(object!("one_map"), "one_map").unwrap();
    let options = SealOptions {
        embed,
        ..SealOptions::default()
    };
    let (key, certificate) = (&signer.key, &signer.certificate);
    let host = FixedHost::default();
    Sealer::new(certificate)
        .schemes(&[scheme])
        .options(options)
        .host(&host)
        .seal(object, key)
        .unwrap()
        .into_artifact()
}

/// The same with a signature over what it is now.
fn changed(artifact: &Artifact, edit: impl FnOnce(&mut Vec<u8>, &mut Vec<u8>)) -> Artifact {
    let mut artifact = artifact.clone();
    let LoaderForm::Sealed { instructions, seal } = &mut artifact.forms[0] else {
        panic!("it is signed");
    };
    edit(instructions, &mut artifact.metadata);
    seal.excl_prog_hash = excl_prog_hash(instructions);
    artifact
}

fn signature(artifact: &Artifact, edit: impl FnOnce(&mut Vec<u8>)) -> Artifact {
    let mut artifact = artifact.clone();
    let LoaderForm::Sealed { seal, .. } = &mut artifact.forms[0] else {
        panic!("it is signed");
    };
    edit(&mut seal.signature);
    artifact
}

fn bound_to(artifact: &Artifact, digest: [u8; 32]) -> Artifact {
    let mut artifact = artifact.clone();
    if let LoaderForm::Sealed { seal, .. } = &mut artifact.forms[0] {
        seal.excl_prog_hash = digest;
    }
    artifact
}

/// Artifacts that are good for some kernel, and such that are for none.
fn artifacts() -> Vec<(&'static str, Artifact)> {
    let good = || sealed(Scheme::LoadTime, &trusted(), Vec::new());
    let chain = || {
        sealed(
            Scheme::LoadTime,
            &leaf(),
            vec![leaf().certificate, middle()],
        )
    };
    let instruction = |insns: &mut Vec<u8>, _: &mut Vec<u8>| insns[20] ^= 1;
    let last = |_: &mut Vec<u8>, metadata: &mut Vec<u8>| {
        let last = metadata.len() - 1;
        metadata[last] ^= 1;
    };
    let mut all = vec![
        ("good", good()),
        ("good by a chain", chain()),
        (
            "by a chain without its middle",
            sealed(Scheme::LoadTime, &leaf(), vec![leaf().certificate]),
        ),
        (
            "leaf by key id",
            sealed(Scheme::LoadTime, &leaf(), Vec::new()),
        ),
        (
            "unknown signer",
            sealed(Scheme::LoadTime, &unknown(), Vec::new()),
        ),
        (
            "unknown signer, embedded",
            sealed(Scheme::LoadTime, &unknown(), vec![unknown().certificate]),
        ),
        ("changed instruction", changed(&good(), instruction)),
        ("changed metadata", changed(&good(), last)),
        ("changed instruction, chain", changed(&chain(), instruction)),
        (
            "changed metadata, unknown signer",
            changed(&sealed(Scheme::LoadTime, &unknown(), Vec::new()), last),
        ),
        (
            "more metadata",
            changed(&good(), |_, metadata| metadata.push(0)),
        ),
        (
            "less metadata",
            changed(&good(), |_, metadata| {
                metadata.pop();
            }),
        ),
        ("bound to another program", bound_to(&good(), [9; 32])),
        ("no signature bytes", signature(&good(), Vec::clear)),
        (
            "junk for a signature",
            signature(&good(), |bytes| *bytes = vec![0x30, 2, 1]),
        ),
        (
            "half a signature",
            signature(&good(), |bytes| bytes.truncate(bytes.len() / 2)),
        ),
        (
            "a signature too long",
            signature(&good(), |bytes| bytes.resize(8193, 0)),
        ),
        (
            "a longer signature",
            signature(&good(), |bytes| bytes.push(0)),
        ),
        (
            "changed last byte of the signature",
            signature(&good(), |bytes| {
                let last = bytes.len() - 1;
                bytes[last] ^= 1;
            }),
        ),
        (
            "changed signer",
            signature(&good(), |bytes| {
                let id = trusted().certificate.subject_key_id().unwrap().to_vec();
                let at = bytes.windows(id.len()).position(|w| w == id).unwrap();
                bytes[at] ^= 1;
            }),
        ),
        (
            "changed digest algorithm",
            signature(&good(), |bytes| {
                // SHA-256 to SHA-512, where the signer says it.
                let id = [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1];
                let at = bytes.windows(id.len()).rposition(|w| w == id).unwrap();
                bytes[at + 8] = 3;
            }),
        ),
        (
            "unknown digest algorithm",
            signature(&good(), |bytes| {
                let id = [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1];
                let at = bytes.windows(id.len()).rposition(|w| w == id).unwrap();
                bytes[at + 8] = 0x70;
            }),
        ),
        ("SHA-512", {
            let object = Object::parse(object!("one_map"), "one_map").unwrap();
            let options = SealOptions {
                digest: Some(bpfseal::seal::DigestAlgorithm::Sha512),
                ..SealOptions::default()
            };
            let Person {
                key, certificate, ..
            } = trusted();
            Sealer::new(&certificate)
                .options(options)
                .host(&FixedHost::default())
                .seal(object, &key)
                .unwrap()
                .into_artifact()
        }),
    ];
    let two = |first: &Person, second: &Person| {
        let mut artifact = sealed(Scheme::LoadTime, first, Vec::new());
        let options = SealOptions::default();
        artifact
            .add_signature(&second.key, &second.certificate, &options)
            .unwrap();
        artifact
    };
    all.push(("two signers, one unknown", two(&unknown(), &trusted())));
    all.push((
        "two signers, of a changed loader",
        changed(&two(&unknown(), &trusted()), last),
    ));
    for scheme in [Scheme::InLoader, Scheme::InLoaderExclusive] {
        let good = sealed(scheme, &trusted(), Vec::new());
        let name = |text: &'static str, exclusive: &'static str| match scheme {
            Scheme::InLoader => text,
            _ => exclusive,
        };
        all.push((name("in-loader", "in-loader-exclusive"), good.clone()));
        all.push((
            name(
                "in-loader, changed metadata",
                "in-loader-exclusive, changed metadata",
            ),
            changed(&good, last),
        ));
        all.push((
            name(
                "in-loader, changed instruction",
                "in-loader-exclusive, changed instruction",
            ),
            changed(&good, instruction),
        ));
        all.push((
            name(
                "in-loader, unknown signer",
                "in-loader-exclusive, unknown signer",
            ),
            sealed(scheme, &unknown(), Vec::new()),
        ));
    }
    all
}

/// Step, errno, and the line of the log.
type Answer = Option<(Step, Errno, Option<String>)>;

/// A refusal, as far as model and kernel have to agree.
fn answer(refusal: &Refusal) -> Answer {
    let line = decisive_line(refusal.log.lines());
    Some((refusal.step, refusal.errno, line))
}

/// The kernel itself is asked: `load` would refuse some of them before.
fn real(artifact: &Artifact) -> Answer {
    let plan = InstallPlan::of(artifact, &artifact.forms[0], KeyringId::SESSION);
    match kernel::install(&Linux, &plan) {
        Ok(_) => None,
        Err(error) => match error.refusal() {
            Some(refusal) => answer(refusal),
            None => panic!("{error}"),
        },
    }
}

#[test]
fn what_explain_says_is_what_the_kernel_answers() {
    if !in_any_machine() {
        return;
    }
    let profile = Profile::of(&release()).unwrap();
    join_session(&Linux).unwrap();
    let mut keyring = TrustStore::new();
    for certificate in [trusted().certificate, root()] {
        add_certificate(
            &Linux,
            KeyringId::SESSION,
            &certificate.subject(),
            certificate.der(),
        )
        .unwrap();
        keyring.add(certificate);
    }
    let mut wrong = 0;
    let mut all = artifacts();
    // A matter of configuration, which the model does not know: Debian's 7.1 has it as a module.
    let algorithms = std::fs::read_to_string("/proc/crypto").unwrap_or_default();
    if !algorithms.lines().any(|line| line.ends_with(": sha512")) {
        println!("  left out: this kernel has no SHA-512 built in");
        all.retain(|(name, _)| !["SHA-512", "changed digest algorithm"].contains(name));
    }
    for (name, artifact) in &all {
        let seen = real(artifact);
        let told = explain(
            artifact,
            &artifact.forms[0],
            &Setting::new(profile, &keyring),
        );
        let told = told.refusal.as_ref().and_then(answer);
        let short = |answer: &Answer| match answer {
            None => "taken".to_owned(),
            Some((step, errno, line)) => {
                format!("{step:?} {errno} {}", line.clone().unwrap_or_default())
            }
        };
        println!("  {name:<42} {}", short(&seen));
        if seen != told {
            wrong += 1;
            println!("    explain says: {}", short(&told));
        }
    }
    println!(
        "  {} artifacts: {wrong} explained otherwise than answered",
        all.len()
    );
    assert_eq!(wrong, 0);
}
