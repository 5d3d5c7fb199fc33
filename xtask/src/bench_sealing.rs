//! `cargo xtask bench --in-process`: what sealing and verifying cost in one process, beside the
//! bare cryptography in the same run.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use bpfseal::Sealer;
use bpfseal::artifact::{Artifact, Bundle};
use bpfseal::object::{Object, object_name};
use bpfseal::seal::{Certificate, DigestAlgorithm, Scheme, Signer as _, SigningKey, TrustStore};
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

use crate::project;

/// How long each is measured.
const TIME: Duration = Duration::from_secs(2);
/// Bundles that are verified.
const BUNDLES: usize = 1000;

pub(crate) fn run() -> anyhow::Result<()> {
    if cfg!(debug_assertions) {
        anyhow::bail!(
            "a build without optimisation says nothing: cargo run --release -p xtask -- bench --in-process"
        );
    }
    let mut objects = project::objects_in(&project::objects())?;
    if let Some(corpus) = project::shared("corpus") {
        objects.extend(project::objects_in(&corpus)?);
    }
    let sizes = objects
        .into_iter()
        .map(|path| Ok((std::fs::metadata(&path)?.len(), path)))
        .collect::<std::io::Result<Vec<_>>>()?;
    let keys = project::root().join("testdata/keys");
    let read = |name: &str| std::fs::read(keys.join(name));
    let key = SigningKey::from_pem(&read("p256.key.pem")?)?;
    let certificate = Certificate::from_bytes(&read("p256.cert.pem")?)?;
    println!("sealing with P-256, one core:");
    for wanted in [10 << 10, 100 << 10] {
        sealing(&sizes, wanted, &key, &certificate)?;
    }
    openssl_rate()?;
    let key = SigningKey::from_pem(&read("rsa2048.key.pem")?)?;
    let certificate = Certificate::from_bytes(&read("rsa2048.cert.pem")?)?;
    verifying(&sizes, &key, &certificate)
}

/// Parse, generate, sign; and signing alone.
fn sealing(
    sizes: &[(u64, PathBuf)],
    wanted: u64,
    key: &SigningKey,
    certificate: &Certificate,
) -> anyhow::Result<()> {
    let mut by_distance: Vec<_> = sizes.iter().collect();
    by_distance.sort_by_key(|(size, _)| size.abs_diff(wanted));
    for (size, path) in by_distance {
        let bytes = std::fs::read(path)?;
        let name = object_name(&path.to_string_lossy());
        let seal = || {
            let object = Object::parse(&bytes, &name)?;
            Sealer::new(certificate).seal(object, key)
        };
        let Ok(sealed) = seal() else { continue };
        let one = sealed.sealed_loader();
        let message = [one.instructions, one.metadata].concat();
        let whole = rate(|| drop(seal()));
        let bare = rate(|| drop(key.sign(DigestAlgorithm::Sha256, &message)));
        println!(
            "  {} ({} KiB): {:.0} objects/s; signing its {} KiB alone {:.0}/s; everything else {:.3} ms",
            path.file_name().unwrap_or_default().display(),
            size >> 10,
            1.0 / whole,
            message.len() >> 10,
            1.0 / bare,
            (whole - bare) * 1e3
        );
        return Ok(());
    }
    Ok(())
}

fn openssl_rate() -> anyhow::Result<()> {
    let output = Command::new("openssl")
        .args(["speed", "-seconds", "1", "ecdsap256"])
        .output()
        .context("openssl")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find(|line| line.contains("nistp256"));
    println!("  openssl speed: {}", line.unwrap_or("no answer").trim());
    Ok(())
}

/// Many bundles, beside their digests and RSA verifications alone.
fn verifying(
    sizes: &[(u64, PathBuf)],
    key: &SigningKey,
    certificate: &Certificate,
) -> anyhow::Result<()> {
    let mut bundles = Vec::new();
    for (_, path) in sizes {
        let bytes = std::fs::read(path)?;
        let Ok(object) = Object::parse(&bytes, &object_name(&path.to_string_lossy())) else {
            continue;
        };
        let schemes = [Scheme::LoadTime];
        let sealed = Sealer::new(certificate).schemes(&schemes).seal(object, key);
        if let Ok(sealed) = sealed {
            bundles.push(sealed.into_bundle().encode());
        }
    }
    let mut trust = TrustStore::new();
    trust.add(certificate.clone());
    let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, certificate.public_key());
    // What the bare verifications are given, made ready before.
    let prepared = bundles
        .iter()
        .map(|bytes| {
            let artifact = Bundle::decode(bytes)?.artifact;
            let sealed = artifact.sealed().next().context("it is signed")?;
            let message = [sealed.instructions, sealed.metadata].concat();
            let signature = key.sign(DigestAlgorithm::Sha256, &message)?;
            Ok((sealed.instructions.to_vec(), message, signature))
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    let mut ours = Duration::MAX;
    let mut bare = Duration::MAX;
    for _ in 0..5 {
        let start = Instant::now();
        for bytes in bundles.iter().cycle().take(BUNDLES) {
            let artifact = Artifact::parse(bytes)?;
            let sealed = artifact.sealed().next().context("it is signed")?;
            sealed.verify(&trust)?;
        }
        ours = ours.min(start.elapsed());
        let start = Instant::now();
        for (instructions, message, signature) in prepared.iter().cycle().take(BUNDLES) {
            std::hint::black_box(DigestAlgorithm::Sha256.digest(instructions));
            public
                .verify(message, signature)
                .ok()
                .context("it is good")?;
        }
        bare = bare.min(start.elapsed());
    }
    println!(
        "verifying {BUNDLES} bundles: {:.0} ms; their SHA-256 and RSA verifications alone {:.0} ms: {:.2} of the bare rate",
        ours.as_secs_f64() * 1e3,
        bare.as_secs_f64() * 1e3,
        bare.as_secs_f64() / ours.as_secs_f64()
    );
    Ok(())
}

/// Seconds that one takes.
fn rate(mut what: impl FnMut()) -> f64 {
    let start = Instant::now();
    let mut count = 0u32;
    while start.elapsed() < TIME {
        what();
        count += 1;
    }
    start.elapsed().as_secs_f64() / f64::from(count)
}
