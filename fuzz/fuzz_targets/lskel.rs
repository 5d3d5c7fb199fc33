//! C light skeletons.
#![no_main]

use bpfseal::artifact::Artifact;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = Artifact::parse(bytes);
});
