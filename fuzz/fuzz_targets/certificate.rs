//! Certificates, PEM and DER: read, trusted as the kernel would, and revoked.
#![no_main]

use bpfseal::seal::{Certificate, KernelConfig, TrustStore};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut debian = TrustStore::new();
    let mut everything = TrustStore::for_kernel(KernelConfig::EVERYTHING);
    for der in Certificate::split(bytes).unwrap_or_default() {
        // Both read it alike: what a kernel has decides about its signature alone.
        let added = [debian.add_der(&der), everything.add_der(&der)];
        let read = Certificate::from_der(&der);
        assert!(read.is_ok() || added.iter().all(Result::is_err));
        let Ok(certificate) = read else {
            continue;
        };
        let _ = (
            certificate.subject(),
            certificate.issuer(),
            certificate.fingerprint(),
            certificate.key_algorithm(),
            certificate.is_for_code_signing(),
            certificate.has_trailing_bytes(),
            certificate.validity(),
        );
        debian.revoke(certificate);
    }
    let _ = debian.refused();
});
