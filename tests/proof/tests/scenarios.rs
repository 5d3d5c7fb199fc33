//! The scenarios of load-time verification, on a real kernel: what loads, what is refused, and
//! with which errno.
//!
//! They need root on Linux 7.3 or later, and change keyrings: `cargo xtask kernels` runs them in
//! a virtual machine. Elsewhere each says that it was skipped.
#![allow(clippy::unwrap_used, reason = "tests")]

use bpfseal::artifact::install::{Input, Step};
use bpfseal::kernel::{
    Btf, Claim, Errno, KeyringId, Linux, Map, MapSpec, Program, ProgramSpec, Signature, install,
};
use bpfseal::loader::Form;
use bpfseal::object::Object;
use bpfseal::seal::excl_prog_hash;
use bpfseal_uapi::{BPF_F_MMAPABLE, map, prog};

use bpfseal_proof::bench::{
    SESSION, Subject, errno, fd, in_machine, load, load_from, metadata_map, sign, spec, trust,
};
use bpfseal_proof::machine::Claiming;
use bpfseal_proof::object;

fn minimal() -> Subject {
    Subject::new(object!("minimal"), Form::Signed)
}

fn one_map() -> Subject {
    Subject::new(object!("one_map"), Form::Signed)
}

/// `r0 = 0; exit`.
const RETURN_ZERO: [u8; 16] = [0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];

/// `r1 = map; r0 = 0; exit`, with the map by descriptor (1) or by index (5).
fn touching_a_map(pseudo: u8, value: i32) -> Vec<u8> {
    let mut out = vec![0x18, 0x01 | pseudo << 4, 0, 0];
    out.extend(value.to_ne_bytes());
    out.extend([0; 8]);
    out.extend(RETURN_ZERO);
    out
}

#[test]
fn a_signed_loader_without_maps_installs_its_program() {
    if !in_machine() {
        return;
    }
    trust();
    let subject = minimal();
    let installed = install(&Linux, &subject.plan()).unwrap();
    assert_eq!((installed.maps.len(), installed.programs.len()), (0, 1));
    let program = installed.programs.into_iter().next().unwrap();
    let info = Program::from_fd(program, "minimal").info(&Linux).unwrap();
    assert_eq!(
        (info.name.as_str(), info.prog_type),
        ("minimal", prog::SOCKET_FILTER)
    );
}

#[test]
fn a_signed_loader_with_a_map_installs_both() {
    if !in_machine() {
        return;
    }
    trust();
    let subject = one_map();
    let installed = install(&Linux, &subject.plan()).unwrap();
    assert_eq!((installed.maps.len(), installed.programs.len()), (1, 1));
    let map = installed.maps.into_iter().next().unwrap();
    let info = Map::from_fd(&Linux, map).unwrap().info(&Linux).unwrap();
    assert_eq!((info.name.as_str(), info.max_entries), ("counts", 4));
}

#[test]
fn an_unsigned_loader_with_good_metadata_runs() {
    if !in_machine() {
        return;
    }
    let subject = minimal();
    let installed = install(&Linux, &subject.unsigned()).unwrap();
    assert_eq!(installed.programs.len(), 1);
}

#[test]
fn junk_is_no_signature() {
    if !in_machine() {
        return;
    }
    let subject = minimal();
    let map = subject.map();
    let junk = [0x30, 0x42, 0x13, 0x37];
    let result = load(&subject.instructions, &[fd(&map)], true, Some(&junk));
    assert_eq!(errno(result), "EBADMSG");
}

#[test]
fn a_map_that_is_not_exclusive_is_refused() {
    if !in_machine() {
        return;
    }
    trust();
    let subject = minimal();
    let map = metadata_map(&subject.metadata, None).unwrap();
    map.freeze(&Linux).unwrap();
    let error = subject.load(&map).unwrap_err();
    assert_eq!(error.errno_name(), "EPERM");
    assert!(error.log.contains("must be exclusive"), "{}", error.log);
}

#[test]
fn a_map_that_is_not_frozen_is_refused() {
    if !in_machine() {
        return;
    }
    trust();
    let subject = minimal();
    let error = subject.load(&subject.open_map()).unwrap_err();
    assert_eq!(error.errno_name(), "EPERM");
    assert!(error.log.contains("must be frozen"), "{}", error.log);
}

#[test]
fn a_map_that_is_no_array_is_refused() {
    if !in_machine() {
        return;
    }
    trust();
    let subject = minimal();
    let hash = excl_prog_hash(&subject.instructions);
    let map = Map::create(
        &Linux,
        &MapSpec {
            map_type: map::HASH,
            key_size: 4,
            value_size: 8,
            max_entries: 1,
            name: "hash",
            excl_prog_hash: Some(&hash),
            ..MapSpec::default()
        },
    )
    .unwrap();
    let error = subject.load(&map).unwrap_err();
    assert_eq!(error.errno_name(), "EINVAL");
    assert!(error.log.contains("must be an array"), "{}", error.log);
}

#[test]
fn a_map_of_another_program_is_refused() {
    if !in_machine() {
        return;
    }
    trust();
    let subject = minimal();
    let map = metadata_map(&subject.metadata, Some(&[7; 32])).unwrap();
    map.freeze(&Linux).unwrap();
    assert_eq!(errno(subject.load(&map)), "EACCES");
}

#[test]
fn the_log_says_that_the_signature_failed() {
    if !in_machine() {
        return;
    }
    trust();
    let subject = minimal();
    let other = sign(&subject.instructions, b"other metadata");
    let map = subject.map();
    let result = load(&subject.instructions, &[fd(&map)], true, Some(&other));
    let error = result.unwrap_err();
    assert_eq!(error.errno_name(), "EKEYREJECTED");
    assert!(
        error.log.contains("signature verification failed"),
        "{}",
        error.log
    );
}

#[test]
fn sizes_of_signatures_are_checked() {
    if !in_machine() {
        return;
    }
    trust();
    let subject = minimal();
    let map = subject.map();
    let fds = [fd(&map)];
    for size in [0, 8193, 64 << 20] {
        let spec = ProgramSpec {
            signature: Some(Signature {
                bytes: subject.signature(),
                keyring: SESSION,
            }),
            ..spec(&subject.instructions, &fds, true)
        };
        let told = Claiming::one(Claim::SignatureSize, size);
        assert_eq!(errno(Program::load(&told, &spec)), "EINVAL", "size {size}");
    }
}

#[test]
fn a_keyring_that_is_not_there_is_refused() {
    if !in_machine() {
        return;
    }
    let subject = minimal();
    let map = subject.map();
    let fds = [fd(&map)];
    let keyring = KeyringId(i32::MAX);
    let signature = Some(subject.signature());
    let result = load_from(&subject.instructions, &fds, true, signature, keyring);
    assert_eq!(errno(result), "EINVAL");
}

#[test]
fn a_key_that_is_not_in_the_keyring_is_refused() {
    if !in_machine() {
        return;
    }
    let subject = minimal();
    let map = subject.map();
    let fds = [fd(&map)];
    let signature = Some(subject.signature());
    let result = load_from(
        &subject.instructions,
        &fds,
        true,
        signature,
        KeyringId::BUILTIN,
    );
    assert_eq!(errno(result), "ENOKEY");
}

#[test]
fn a_changed_instruction_is_refused() {
    if !in_machine() {
        return;
    }
    trust();
    let mut subject = minimal();
    let last = subject.instructions.len() - 12;
    subject.instructions[last] ^= 1;
    // The map is bound to the new digest: only the signature can tell.
    assert_eq!(errno(subject.load(&subject.map())), "EKEYREJECTED");
}

#[test]
fn changed_metadata_is_refused() {
    if !in_machine() {
        return;
    }
    trust();
    let mut subject = minimal();
    let last = subject.metadata.len() - 1;
    subject.metadata[last] ^= 1;
    let error = install(&Linux, &subject.plan()).unwrap_err();
    let refusal = error.refusal().unwrap();
    assert_eq!(refusal.step, Step::LoadLoader);
    assert_eq!(refusal.errno, Errno::EKEYREJECTED);
}

#[test]
fn the_host_can_not_change_what_was_signed() {
    if !in_machine() {
        return;
    }
    trust();
    let subject = Subject::new(object!("host_values"), Form::Signed);
    // Another count for the first map, and another value for the second.
    let value = 99u64.to_ne_bytes();
    let inputs = [
        Input {
            max_entries: 99,
            initial_value: None,
        },
        Input {
            max_entries: 0,
            initial_value: Some(&value),
        },
    ];
    let installed = install(&Linux, &subject.plan().asking(&inputs)).unwrap();
    let maps = installed.maps.into_iter();
    let maps: Vec<_> = maps.map(|map| Map::from_fd(&Linux, map).unwrap()).collect();
    assert_eq!(maps[0].info(&Linux).unwrap().max_entries, 4);
    let initial = maps[1].lookup(&Linux, &[0; 4]).unwrap();
    assert_eq!(initial[..8], 0x1122_3344_5566_7788u64.to_ne_bytes());
}

#[test]
fn digests_of_maps() {
    if !in_machine() {
        return;
    }
    use sha2::Digest as _;
    let value: Vec<u8> = (0..=255).collect();
    let map = metadata_map(&value, None).unwrap();
    assert_eq!(errno(map.hash(&Linux, 32)), "EPERM", "before it is frozen");
    map.freeze(&Linux).unwrap();
    let digest = sha2::Sha256::digest(&value).to_vec();
    assert_eq!(map.hash(&Linux, 32).unwrap(), digest);
    assert_eq!(errno(map.hash(&Linux, 31)), "EINVAL", "another size");
    // Over several elements.
    let array = MapSpec {
        map_type: map::ARRAY,
        key_size: 4,
        value_size: 8,
        max_entries: 3,
        name: "several",
        ..MapSpec::default()
    };
    let several = Map::create(&Linux, &array).unwrap();
    for key in 0..3u32 {
        several
            .update(&Linux, &key.to_ne_bytes(), &[key as u8; 8], 0)
            .unwrap();
    }
    several.freeze(&Linux).unwrap();
    let all = [[0; 8], [1; 8], [2; 8]].concat();
    assert_eq!(
        several.hash(&Linux, 32).unwrap(),
        sha2::Sha256::digest(all).to_vec()
    );
    // Of what is no array.
    let hash = Map::create(
        &Linux,
        &MapSpec {
            map_type: map::HASH,
            ..array
        },
    )
    .unwrap();
    hash.freeze(&Linux).unwrap();
    assert_eq!(errno(hash.hash(&Linux, 32)), "EINVAL");
}

#[test]
fn frozen_maps_stay_as_they_are() {
    if !in_machine() {
        return;
    }
    let spec = MapSpec {
        map_type: map::ARRAY,
        key_size: 4,
        value_size: 8,
        max_entries: 1,
        flags: BPF_F_MMAPABLE,
        name: "mapped",
        ..MapSpec::default()
    };
    let map = Map::create(&Linux, &spec).unwrap();
    let writer = map.mmap(&Linux, true).unwrap();
    assert_eq!(
        errno(map.freeze(&Linux)),
        "EBUSY",
        "while it is mapped writable"
    );
    drop(writer);
    map.freeze(&Linux).unwrap();
    assert_eq!(errno(map.update(&Linux, &[0; 4], &[1; 8], 0)), "EPERM");
    assert_eq!(errno(map.mmap(&Linux, true)), "EPERM");
    assert_eq!(map.mmap(&Linux, false).unwrap().read(), [0; 8]);
}

#[test]
fn digests_to_bind_to_have_one_size() {
    if !in_machine() {
        return;
    }
    for size in [0, 16, 31, 33, 64] {
        let hash = vec![1; size];
        let result = metadata_map(b"value", Some(&hash));
        assert_eq!(errno(result), "EINVAL", "{size}");
    }
}

#[test]
fn a_signed_program_without_maps() {
    if !in_machine() {
        return;
    }
    trust();
    let signature = sign(&RETURN_ZERO, &[]);
    let program = load(&RETURN_ZERO, &[], false, Some(&signature)).unwrap();
    assert_eq!(program.run(&Linux, &mut [0; 8]).unwrap(), 0);
    let mut tampered = RETURN_ZERO;
    tampered[4] = 1;
    assert_eq!(
        errno(load(&tampered, &[], false, Some(&signature))),
        "EKEYREJECTED"
    );
}

#[test]
fn a_signed_program_takes_no_map_by_descriptor() {
    if !in_machine() {
        return;
    }
    trust();
    let map = metadata_map(b"value", None).unwrap();
    let code = touching_a_map(1, fd(&map));
    let error = load(&code, &[], false, Some(&sign(&code, &[]))).unwrap_err();
    assert_eq!(error.errno_name(), "EINVAL");
    assert!(
        error.log.contains("only via fd_array index"),
        "{}",
        error.log
    );
}

#[test]
fn a_signed_program_takes_no_map_that_is_not_bound() {
    if !in_machine() {
        return;
    }
    trust();
    let code = touching_a_map(5, 0);
    let hash = excl_prog_hash(&code);
    let map = metadata_map(b"value", Some(&hash)).unwrap();
    map.freeze(&Linux).unwrap();
    let error = load(&code, &[fd(&map)], false, Some(&sign(&code, &[]))).unwrap_err();
    assert_eq!(error.errno_name(), "EACCES");
    assert!(error.log.contains("fd_array"), "{}", error.log);
    // Bound, it is covered.
    let signature = sign(&code, b"value");
    load(&code, &[fd(&map)], true, Some(&signature)).unwrap();
}

#[test]
fn what_is_bound_has_to_be_a_map() {
    if !in_machine() {
        return;
    }
    trust();
    let subject = minimal();
    let map = subject.map();
    let closed = [fd(&map), 999];
    let signature = Some(subject.signature());
    let result = load(&subject.instructions, &closed, true, signature);
    assert_eq!(errno(result), "EBADF");
    let file = std::fs::File::open("/proc/self/status").unwrap();
    let fds = [fd(&map), fd(&file)];
    let error = load(&subject.instructions, &fds, true, signature).unwrap_err();
    assert_eq!(error.errno_name(), "EINVAL");
    assert!(
        error
            .log
            .contains("is not pointing to valid bpf_map or btf"),
        "{}",
        error.log
    );
    // Twice the same is once.
    let twice = [fd(&map), fd(&map)];
    load(&subject.instructions, &twice, true, signature).unwrap();
}

/// The type information of one of the project's objects.
fn btf() -> Btf {
    let object = Object::parse(object!("minimal"), "test").unwrap();
    Btf::load(&Linux, &object.btf.unwrap().to_bytes()).unwrap()
}

#[test]
fn a_signed_program_binds_no_type_information() {
    if !in_machine() {
        return;
    }
    trust();
    let subject = minimal();
    let map = subject.map();
    let btf = btf();
    let fds = [fd(&map), fd(&btf)];
    let signature = Some(subject.signature());
    let error = load(&subject.instructions, &fds, true, signature).unwrap_err();
    assert_eq!(error.errno_name(), "EACCES");
    assert!(error.log.contains("cannot bind any BTF"), "{}", error.log);
}

#[test]
fn a_signed_program_calls_no_function_of_a_module() {
    if !in_machine() {
        return;
    }
    trust();
    // call kfunc 1 of the type information at index 1; exit
    let mut code = vec![0x85, 0x20, 1, 0, 1, 0, 0, 0];
    code.extend(RETURN_ZERO);
    let btf = btf();
    let fds = [0, fd(&btf)];
    let error = load(&code, &fds, false, Some(&sign(&code, &[]))).unwrap_err();
    assert_eq!(error.errno_name(), "EACCES", "{}", error.log);
}
