//! Bundles and detached seals: what is read, is written and read again.
#![no_main]

use bpfseal::artifact::{Bundle, DetachedSeal};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(bundle) = Bundle::decode(bytes) {
        let again = bundle.encode();
        assert!(Bundle::decode(&again).is_ok_and(|read| read == bundle));
    }
    if let Ok(seal) = DetachedSeal::decode(bytes) {
        let again = seal.encode();
        assert!(DetachedSeal::decode(&again).is_ok_and(|read| read == seal));
    }
});
