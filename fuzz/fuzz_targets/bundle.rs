//! Bundles: what is read, is written and read again.
#![no_main]

use bpfseal::seal::Bundle;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(bundle) = Bundle::decode(bytes) {
        let again = bundle.encode();
        assert!(Bundle::decode(&again).is_ok_and(|read| read == bundle));
    }
});
