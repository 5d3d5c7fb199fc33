//! A CMS signature, verified against what is trusted, on kernels of two configurations.
#![no_main]

use std::sync::LazyLock;

use bpfseal::seal::{
    Certificate, KernelConfig, SignatureSummary, Strictness, TrustStore, verify_detached,
};
use libfuzzer_sys::fuzz_target;

static TRUST: LazyLock<[TrustStore; 2]> = LazyLock::new(|| {
    [KernelConfig::DEBIAN_7_3, KernelConfig::EVERYTHING].map(|config| {
        let mut store = TrustStore::for_kernel(config);
        for bytes in [
            &include_bytes!("../../testdata/keys/root.cert.pem")[..],
            include_bytes!("../../testdata/keys/p384.cert.pem"),
            include_bytes!("../../testdata/keys/mldsa44.cert.pem"),
        ] {
            if let Ok(certificate) = Certificate::from_bytes(bytes) {
                store.add(certificate);
            }
        }
        store
    })
});

fuzz_target!(|bytes: &[u8]| {
    let _ = SignatureSummary::parse(bytes);
    let strictness = Strictness {
        at: Some(1_800_000_000),
        code_signing: true,
        chain_to: None,
    };
    for trust in &*TRUST {
        if let Ok(attestation) = verify_detached(&[b"bpfseal signs this"], bytes, trust) {
            let _ = attestation.check(&strictness, trust);
        }
    }
});
