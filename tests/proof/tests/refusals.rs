//! Every refusal of the admission of signed programs that user space can bring about, on a real
//! kernel, and the words that explain it.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::os::fd::AsRawFd as _;

use bpfseal::artifact::install::{Circumstances, Code, Refusal, Step};
use bpfseal::kernel::{
    Btf, Claim, KeyringId, Linux, Map, MapSpec, Program, ProgramSpec, Signature, SyscallError,
};
use bpfseal::loader::Form;
use bpfseal::seal::{Scheme, excl_prog_hash};
use bpfseal_uapi::map;

use bpfseal_proof::bench::{
    SESSION, SMALL_BTF, Subject, errno, fd, in_machine, load, load_from, metadata_map, sign, spec,
    trust,
};
use bpfseal_proof::machine::Claiming;
use bpfseal_proof::object;

/// `r0 = 0; exit`.
const RETURN_ZERO: [u8; 16] = [0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];

/// What a failed load of a loader has to be: errno, and what it means.
#[track_caller]
fn check(result: Result<Program, SyscallError>, errno: &str, code: Code) {
    let source = match result {
        Ok(_) => panic!("it was taken, and should be refused: {code:?}"),
        Err(source) => source,
    };
    let said = format!("{source}; log: {}", source.log);
    assert_eq!(source.errno_name(), errno, "{said}");
    let known = Circumstances {
        scheme: Some(Scheme::LoadTime),
        ..Circumstances::default()
    };
    let refusal = Refusal::new(Step::LoadLoader, source.errno, source.log, known);
    assert_eq!(refusal.code, code, "{said}");
    println!("  {errno:<13} {refusal}");
}

/// A map that is frozen.
fn frozen(spec: &MapSpec<'_>) -> Map {
    let map = Map::create(&Linux, spec).unwrap();
    map.freeze(&Linux).unwrap();
    map
}

/// A signed program that loads the address of a map, given by `pseudo` and `value`.
fn touching(pseudo: u8, value: i32) -> Vec<u8> {
    let mut instructions = vec![0x18, pseudo << 4 | 1, 0, 0];
    instructions.extend(value.to_le_bytes());
    instructions.extend([0; 8]);
    instructions.extend(RETURN_ZERO);
    instructions
}

#[test]
fn what_is_bound() {
    if !in_machine() {
        return;
    }
    trust();
    let subject = Subject::new(object!("minimal"), Form::Signed);
    let insns = &subject.instructions;
    let signed = |fds: &[i32]| load(insns, fds, true, Some(subject.signature()));
    let told = Claiming::one(Claim::FdArrayCount, 1);
    check(
        Program::load(&told, &spec(insns, &[], true)),
        "EINVAL",
        Code::SignatureSize,
    );
    let map = subject.map();
    check(signed(&vec![fd(&map); 4097]), "E2BIG", Code::TooManyMaps);
    check(signed(&[1 << 20]), "EBADF", Code::NotOpen);
    let file = std::fs::File::open("/proc/self/exe").unwrap();
    check(signed(&[file.as_raw_fd()]), "EINVAL", Code::NotAMap);
    let other = frozen(&MapSpec {
        map_type: map::ARRAY,
        key_size: 4,
        value_size: 8,
        max_entries: 1,
        name: "other",
        excl_prog_hash: Some(&[7; 32]),
        ..MapSpec::default()
    });
    check(signed(&[fd(&other)]), "EACCES", Code::BoundToAnother);
    let btf = Btf::load(&Linux, SMALL_BTF).unwrap();
    check(signed(&[fd(&map), fd(&btf)]), "EACCES", Code::BindsBtf);
    // Twice the same map is one map.
    assert!(signed(&[fd(&map), fd(&map)]).is_ok());
}

#[test]
fn the_signature() {
    if !in_machine() {
        return;
    }
    trust();
    let subject = Subject::new(object!("minimal"), Form::Signed);
    let insns = &subject.instructions;
    let map = subject.map();
    let fds = [fd(&map)];
    for size in [0, 8193] {
        let spec = ProgramSpec {
            signature: Some(Signature {
                bytes: subject.signature(),
                keyring: SESSION,
            }),
            ..spec(insns, &fds, true)
        };
        let told = Claiming::one(Claim::SignatureSize, size);
        let loaded = Program::load(&told, &spec);
        check(loaded, "EINVAL", Code::SignatureSize);
    }
    let from = |keyring| load_from(insns, &fds, true, Some(subject.signature()), keyring);
    check(from(KeyringId(i32::MAX)), "EINVAL", Code::NoKeyring);
    check(from(KeyringId::BUILTIN), "ENOKEY", Code::NoKey);
    let signed = |signature: &[u8]| load(insns, &fds, true, Some(signature));
    check(signed(&[0x30, 0x42, 0x13, 0x37]), "EBADMSG", Code::NotPkcs7);
    let other = sign(insns, b"other metadata");
    check(signed(&other), "EKEYREJECTED", Code::ChangedOrOtherScheme);
    // A digest that the kernel does not know, where there was SHA-256.
    let mut unknown = subject.signature().to_vec();
    assert_eq!(unknown[91..100], [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1]);
    unknown[99] = 0x77;
    check(signed(&unknown), "ENOPKG", Code::NoAlgorithm);
}

#[test]
fn the_maps() {
    if !in_machine() {
        return;
    }
    trust();
    let subject = Subject::new(object!("minimal"), Form::Signed);
    let hash = excl_prog_hash(&subject.instructions);
    let table = frozen(&MapSpec {
        map_type: map::HASH,
        key_size: 4,
        value_size: 8,
        max_entries: 1,
        name: "table",
        excl_prog_hash: Some(&hash),
        ..MapSpec::default()
    });
    check(subject.load(&table), "EINVAL", Code::MapNotArray);
    check(
        subject.load(&subject.open_map()),
        "EPERM",
        Code::MapNotReady,
    );
    let shared = metadata_map(&subject.metadata, None).unwrap();
    shared.freeze(&Linux).unwrap();
    check(subject.load(&shared), "EPERM", Code::MapNotReady);
    let large = vec![0; 17 << 20];
    let map = metadata_map(&large, Some(&hash)).unwrap();
    map.freeze(&Linux).unwrap();
    check(subject.load(&map), "E2BIG", Code::PayloadTooLarge);
    // Rules of the maps themselves.
    for (size, digest) in [(31, &[1; 31][..]), (33, &[1; 33])] {
        let result = metadata_map(b"12345678", Some(digest));
        assert_eq!(errno(result), "EINVAL", "{size}");
    }
    let inner = metadata_map(b"12345678", Some(&hash)).unwrap();
    let template = metadata_map(b"12345678", None).unwrap();
    let outer = |inner: &Map| {
        Map::create(
            &Linux,
            &MapSpec {
                // BPF_MAP_TYPE_ARRAY_OF_MAPS
                map_type: map::ARRAY_OF_MAPS,
                key_size: 4,
                value_size: 4,
                max_entries: 1,
                name: "outer",
                inner_map: Some(inner),
                ..MapSpec::default()
            },
        )
    };
    let outside = outer(&template).unwrap();
    let descriptor = fd(&inner).to_ne_bytes();
    let result = outside.update(&Linux, &[0; 4], &descriptor, 0);
    assert_eq!(
        errno(result),
        "ENOTSUPP",
        "an exclusive map as an inner one"
    );
}

#[test]
fn what_is_reached() {
    if !in_machine() {
        return;
    }
    trust();
    // By descriptor, which differs from load to load.
    let map = frozen(&MapSpec {
        map_type: map::ARRAY,
        key_size: 4,
        value_size: 8,
        max_entries: 1,
        name: "free",
        ..MapSpec::default()
    });
    let insns = touching(1, fd(&map));
    let signature = sign(&insns, &[]);
    check(
        load(&insns, &[], false, Some(&signature)),
        "EINVAL",
        Code::MapByDescriptor,
    );
    // By its place in an array that the kernel was not told the length of.
    let insns = touching(5, 0);
    let signature = sign(&insns, &[]);
    let sparse = load(&insns, &[fd(&map)], false, Some(&signature));
    check(sparse, "EACCES", Code::InLoaderScheme);
}
