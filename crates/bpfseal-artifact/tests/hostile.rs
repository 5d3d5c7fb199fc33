//! Headers that somebody made to hurt: cut off at every length, and changed at random.

use bpfseal_artifact::Artifact;
use proptest::prelude::*;

const HEADER: &[u8] =
    b"static const char opts_data[] = \"\\x01\\0a\\\nb\";\nchar opts_insn[8] = {1, 2};\n";

#[test]
fn cut_off_at_every_length() {
    for len in 0..HEADER.len() {
        let _ = Artifact::parse(&HEADER[..len]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    #[test]
    fn changed_at_random(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut sample = HEADER.to_vec();
        for (at, byte) in changes {
            let at = at.index(sample.len());
            sample[at] = byte;
        }
        let _ = Artifact::parse(&sample);
    }

    #[test]
    fn anything(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Artifact::parse(&bytes);
    }
}
