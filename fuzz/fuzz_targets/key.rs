//! Private keys in PEM.
#![no_main]

use bpfseal::seal::{DigestAlgorithm, Signer, SigningKey};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(key) = SigningKey::from_pem(bytes) {
        let _ = (
            key.public_key(),
            key.sign(DigestAlgorithm::Sha256, b"message"),
        );
    }
});
