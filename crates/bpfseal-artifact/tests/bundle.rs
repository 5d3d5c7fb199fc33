//! Bundles: what is written is read, and nothing else is.
#![allow(clippy::unwrap_used, reason = "tests")]

use bpfseal_artifact::{
    Artifact, ArtifactFile, ArtifactKind, AutoAttach, Bundle, Interface, LoaderForm,
    ProgramInterface, Provenance,
};
use bpfseal_object::Endian;
use bpfseal_seal::{Scheme, Seal};
use proptest::collection::vec;
use proptest::prelude::*;

fn text() -> impl Strategy<Value = String> {
    "[a-zà-ö0-9_/.]{0,40}"
}

/// What things of an object may be called.
fn name() -> impl Strategy<Value = String> {
    "[a-zà-ö0-9_]{1,40}"
}

fn attach() -> impl Strategy<Value = AutoAttach> {
    prop_oneof![
        Just(AutoAttach::Manual),
        Just(AutoAttach::Target),
        Just(AutoAttach::Iterator),
        text().prop_map(AutoAttach::RawTracepoint),
    ]
}

fn program() -> impl Strategy<Value = ProgramInterface> {
    (
        name(),
        any::<Option<bool>>(),
        attach(),
        any::<Option<u32>>(),
    )
        .prop_map(|(name, autoload, attach, attach_type)| ProgramInterface {
            name,
            autoload,
            attach,
            attach_type,
        })
}

fn form() -> impl Strategy<Value = LoaderForm> {
    let instructions = vec(any::<[u8; 8]>(), 1..20).prop_map(|insns| insns.concat());
    let scheme = prop_oneof![
        Just(None),
        (0..Scheme::ALL.len()).prop_map(|i| Some(Scheme::ALL[i]))
    ];
    (
        instructions,
        scheme,
        vec(any::<u8>(), 0..300),
        any::<[u8; 32]>(),
    )
        .prop_map(
            |(instructions, scheme, signature, excl_prog_hash)| match scheme {
                Some(scheme) => LoaderForm::Sealed {
                    instructions,
                    seal: Seal {
                        scheme,
                        signature,
                        excl_prog_hash,
                    },
                },
                None => LoaderForm::Unsigned { instructions },
            },
        )
}

fn provenance() -> impl Strategy<Value = Provenance> {
    (text(), vec(text(), 0..4), vec(text(), 0..4)).prop_map(|(tool, options, host)| Provenance {
        tool,
        options,
        host,
    })
}

prop_compose! {
    fn bundle()(
        name in name(),
        maps in vec(name(), 0..5),
        programs in vec(program(), 0..5),
        forms in vec(form(), 1..6),
        metadata in vec(any::<u8>(), 0..400),
        big: bool,
        object_digest: Option<[u8; 32]>,
        certificates in vec(vec(any::<u8>(), 0..300), 0..3),
        provenance in proptest::option::of(provenance()),
    ) -> Bundle {
        Bundle {
            artifact: Artifact {
                interface: Interface {
                    name,
                    maps,
                    programs,
                },
                metadata,
                forms,
                endian: if big { Endian::Big } else { Endian::Little },
            },
            object_digest,
            certificates,
            provenance,
        }
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(bundle in bundle()) {
        let bytes = bundle.encode();
        let file = ArtifactFile::parse(&bytes).unwrap();
        prop_assert_eq!(file.kind, ArtifactKind::Bundle);
        prop_assert_eq!(&file.generator, &bundle.provenance.as_ref().map(|p| p.tool.clone()));
        prop_assert_eq!(file.into_bundle(), bundle);
    }

    /// What is taken is a bundle in its one form, but for fields that may be passed over.
    #[test]
    fn a_bundle_has_one_form(
        bundle in bundle(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = bundle.encode();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Ok(read) = Bundle::decode(&bytes) {
            let again = read.encode();
            prop_assert!(again == bytes || again.len() < bytes.len());
            prop_assert_eq!(Bundle::decode(&again).unwrap(), read);
        }
    }

    #[test]
    fn anything_is_read_or_refused(bytes in vec(any::<u8>(), 0..200)) {
        let _ = Bundle::decode(&bytes);
        let _ = Bundle::decode(&[&[0xd9, 0xd9, 0xf7], &bytes[..]].concat());
    }
}

fn small() -> Bundle {
    Bundle {
        artifact: Artifact {
            interface: Interface {
                name: "small".into(),
                ..Interface::default()
            },
            metadata: vec![1, 2, 3],
            forms: vec![LoaderForm::Unsigned {
                instructions: vec![0; 8],
            }],
            endian: Endian::Little,
        },
        object_digest: Some([7; 32]),
        certificates: Vec::new(),
        provenance: None,
    }
}

#[test]
fn truncated_and_extended_files_are_refused() {
    let bytes = small().encode();
    for len in 0..bytes.len() {
        assert!(Bundle::decode(&bytes[..len]).is_err(), "{len}");
    }
    let longer = [&bytes[..], &[0]].concat();
    let error = Bundle::decode(&longer).unwrap_err().to_string();
    assert!(error.contains("more behind the end"), "{error}");
}

#[test]
fn twenty_thousand_changes_do_no_harm() {
    let bytes = small().encode();
    let mut state = 0x2545_f491_4f6c_dd1du64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    for _ in 0..20_000 {
        let mut bad = bytes.clone();
        for _ in 0..=random(3) {
            let at = random(bad.len());
            match random(3) {
                0 => bad[at] = random(256) as u8,
                1 => drop(bad.remove(at)),
                _ => bad.insert(at, random(256) as u8),
            }
        }
        if let Ok(read) = Bundle::decode(&bad) {
            let again = read.encode();
            assert!(again == bad || again.len() < bad.len());
        }
    }
}

#[test]
fn sizes_that_lie_are_refused() {
    #[track_caller]
    fn check(fields: &[u8], words: &str) {
        let bytes = [&[0xd9, 0xd9, 0xf7], fields].concat();
        let error = Bundle::decode(&bytes).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    // More fields than bytes; metadata of 2^63 bytes; of another type; a version to come.
    check(
        &[0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        "ends where",
    );
    check(&[0xa1, 4, 0x5b, 0x80, 0, 0, 0, 0, 0, 0, 0], "at most");
    check(&[0xa1, 4, 0x5a, 0x00, 0x10, 0, 0], "ends inside");
    check(&[0xa1, 4, 0x60], "another type");
    check(&[0xa1, 1, 2], "version 2");
    // A field that is not known; the same twice; not as short as it can be.
    check(&[0xa2, 1, 1, 9, 0], "field 9 of the bundle is not known");
    check(&[0xa2, 1, 1, 1, 1], "not deterministic");
    check(&[0xa1, 1, 0x18, 1], "not deterministic");
    check(&[0xbf, 1, 1, 0xff], "not deterministic");
    check(&[0xa1, 6, 0x98, 65], "at most 64");
    // A field that may be passed over.
    let mut more = small();
    more.object_digest = None;
    let mut bytes = more.encode();
    assert_eq!(bytes[3], 0xa7);
    bytes[3] = 0xa8;
    bytes.extend([0x19, 0x27, 0x10, 0x82, 1, 0x61, b'x']);
    assert_eq!(Bundle::decode(&bytes).unwrap(), more);
}
