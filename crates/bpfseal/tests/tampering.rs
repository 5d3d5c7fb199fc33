//! Bundles and detached seals that somebody changed: what still verifies, says the same.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;

use bpfseal::artifact::{Artifact, Bundle, DetachedSeal};
use bpfseal::loader::FixedHost;
use bpfseal::seal::{Certificate, Scheme, SigningKey, TrustStore};
use bpfseal::{Sealed, Sealer, Source, reunite};

const KCONFIG: &[u8] = b"CONFIG_UNUSED=y\nCONFIG_BPF_SYSCALL=y\nCONFIG_NET=y\nCONFIG_HZ=250\n\
    CONFIG_DEFAULT_HOSTNAME=\"host\"\n";

fn testdata(name: &str) -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata");
    std::fs::read(root.join(name)).unwrap()
}

fn certificate() -> Certificate {
    Certificate::from_bytes(&testdata("keys/p256.cert.pem")).unwrap()
}

fn trust() -> TrustStore {
    let mut trust = TrustStore::new();
    trust.add(certificate());
    trust
}

fn sealed(name: &str, schemes: &[Scheme]) -> (Vec<u8>, Sealed) {
    let bytes = testdata(&format!("objects/{name}.bpf.o"));
    let source = Source::parse(&bytes, name).unwrap();
    let key = SigningKey::from_pem(&testdata("keys/p256.key.pem")).unwrap();
    let sealed = Sealer::new(&certificate())
        .schemes(schemes)
        .host(&host())
        .seal(source, &key)
        .unwrap();
    (bytes, sealed)
}

fn host() -> FixedHost {
    FixedHost {
        page_size: 4096,
        possible_cpus: Some(4),
        kernel_version: Some(0x0007_0304),
        kconfig: Some(KCONFIG.to_vec()),
        kallsyms: Some(b"ffffffff81000000 T _text\nffffffff81000040 D init_task\n".to_vec()),
    }
}

/// What the signatures are over.
fn signed(artifact: &Artifact) -> Vec<(Scheme, Vec<u8>, Vec<u8>)> {
    let of = |one: bpfseal::seal::SealedLoader<'_>| {
        (
            one.seal.scheme,
            one.instructions.to_vec(),
            one.metadata.to_vec(),
        )
    };
    artifact.sealed().map(of).collect()
}

/// A bit of every byte changed, cut off everywhere, and 20,000 changes by chance: what of it is
/// taken and verifies has to be what was signed.
fn tamper(
    original: &[u8],
    wanted: &[(Scheme, Vec<u8>, Vec<u8>)],
    read: &dyn Fn(&[u8]) -> Option<Artifact>,
) {
    let check = |bytes: &[u8]| {
        let Some(artifact) = read(bytes) else {
            return false;
        };
        for one in artifact.sealed() {
            if one.verify(&trust()).is_err() {
                continue;
            }
            let found = (
                one.seal.scheme,
                one.instructions.to_vec(),
                one.metadata.to_vec(),
            );
            assert!(wanted.contains(&found), "another loader verifies");
        }
        true
    };
    assert!(check(original));
    for len in 0..original.len() {
        assert!(!check(&original[..len]), "cut off at {len}");
    }
    for at in 0..original.len() {
        let mut bad = original.to_vec();
        bad[at] ^= 1 << (at % 8);
        check(&bad);
    }
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    for _ in 0..20_000 {
        let mut bad = original.to_vec();
        for _ in 0..=random(3) {
            let at = random(bad.len());
            match random(3) {
                0 => bad[at] = random(256) as u8,
                1 => drop(bad.remove(at)),
                _ => bad.insert(at, random(256) as u8),
            }
        }
        check(&bad);
    }
}

#[test]
fn a_changed_bundle_says_the_same_or_nothing() {
    let (_, sealed) = sealed("minimal", &Scheme::KERNELS);
    let bundle = sealed.into_bundle();
    let wanted = signed(&bundle.artifact);
    tamper(&bundle.encode(), &wanted, &|bytes| {
        Bundle::decode(bytes).ok().map(|bundle| bundle.artifact)
    });
}

#[test]
fn a_changed_detached_seal_says_the_same_or_nothing() {
    let (object, sealed) = sealed("minimal", &Scheme::KERNELS);
    let wanted = signed(&sealed.clone().into_artifact());
    let seal = sealed.into_detached(&host()).unwrap();
    tamper(&seal.encode(), &wanted, &|bytes| {
        reunite(&object, &DetachedSeal::decode(bytes).ok()?).ok()
    });
}

/// The values of the host come along, so that the loader is the same elsewhere.
#[test]
fn every_object_finds_its_detached_seal() {
    let mut with_host = 0;
    for name in [
        "minimal",
        "globals",
        "host_values",
        "kconfig",
        "ksyms",
        "maps",
        "percpu",
        "work_maps",
    ] {
        let (object, sealed) = sealed(name, &[Scheme::LoadTime, Scheme::InLoader]);
        let artifact = sealed.clone().into_artifact();
        let seal = sealed.into_detached(&host()).unwrap();
        let read = DetachedSeal::decode(&seal.encode()).unwrap();
        assert_eq!(read, seal, "{name}");
        assert_eq!(reunite(&object, &read).unwrap(), artifact, "{name}");
        with_host += usize::from(seal.host != FixedHost::default());
        let text = seal.host.kconfig.unwrap_or_default();
        assert!(!text.starts_with(b"CONFIG_UNUSED"), "{name}");
        // Another object, or the same one under another name.
        assert!(reunite(&object[1..], &read).is_err());
        let renamed = DetachedSeal {
            name: "other".to_owned(),
            ..read
        };
        // The name is part of the names of its internal maps.
        if name == "globals" {
            assert!(reunite(&object, &renamed).is_err());
        }
    }
    assert!(with_host >= 3, "{with_host}");
}
