//! Certificates, PEM and DER.
#![no_main]

use bpfseal::seal::Certificate;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for certificate in Certificate::all_from_bytes(bytes).unwrap_or_default() {
        let _ = (
            certificate.subject(),
            certificate.issuer(),
            certificate.fingerprint(),
        );
    }
});
