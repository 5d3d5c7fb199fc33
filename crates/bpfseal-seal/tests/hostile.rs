//! Input that somebody made to hurt: cut off at every length, and changed at random.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use bpfseal_seal::{Certificate, SigningKey, TrustStore, verify_detached};
use common::{file, trust};
use proptest::prelude::*;

fn every_parser(bytes: &[u8], store: &TrustStore) {
    let _ = SigningKey::from_pem(bytes);
    let _ = Certificate::all_from_bytes(bytes);
    let _ = verify_detached(&[b"bpfseal signs this"], bytes, store);
}

fn samples() -> Vec<Vec<u8>> {
    [
        "rsa2048.key.pem",
        "p256.key.pem",
        "p384.sec1.pem",
        "p256.cert.pem",
        "rsa2048.cert.der",
        "chain.sig.der",
        "attributes.sig.der",
        "p384.sig.der",
    ]
    .map(file)
    .to_vec()
}

#[test]
fn cut_off_at_every_length() {
    let store = trust("root");
    for sample in samples() {
        for len in 0..sample.len() {
            every_parser(&sample[..len], &store);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    #[test]
    fn changed_at_random(
        which in 0..8usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut sample = samples().swap_remove(which);
        for (at, byte) in changes {
            let at = at.index(sample.len());
            sample[at] = byte;
        }
        every_parser(&sample, &trust("root"));
    }

    #[test]
    fn anything(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        every_parser(&bytes, &TrustStore::new());
    }
}
