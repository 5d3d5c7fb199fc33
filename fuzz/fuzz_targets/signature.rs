//! A CMS signature, verified against a trusted chain.
#![no_main]

use std::sync::LazyLock;

use bpfseal::seal::{Certificate, SignatureSummary, TrustStore, verify_detached};
use libfuzzer_sys::fuzz_target;

static TRUST: LazyLock<TrustStore> = LazyLock::new(|| {
    let mut store = TrustStore::new();
    for bytes in [
        &include_bytes!("../../testdata/keys/root.cert.pem")[..],
        include_bytes!("../../testdata/keys/p384.cert.pem"),
    ] {
        if let Ok(certificate) = Certificate::from_bytes(bytes) {
            store.add(certificate);
        }
    }
    store
});

fuzz_target!(|bytes: &[u8]| {
    let _ = SignatureSummary::parse(bytes);
    let _ = verify_detached(&[b"bpfseal signs this"], bytes, &TRUST);
});
