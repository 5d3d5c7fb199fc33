//! Files that hold an artifact, of every format.
#![no_main]

use bpfseal::artifact::ArtifactFile;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = ArtifactFile::parse(bytes);
});
