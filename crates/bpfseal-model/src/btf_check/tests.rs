use bpfseal_object::Endian;
use bpfseal_uapi::{Errno, Version};

use super::{BtfRefused, check};

const NEW: Version = Version::new(7, 3, 4);
const OLD: Version = Version::new(6, 12, 117);

/// BTF of types, in words, and of strings behind the empty one.
fn btf(types: &[u32], strings: &str) -> Vec<u8> {
    let mut text = vec![0];
    text.extend(strings.bytes());
    text.push(0);
    let types_len = 4 * types.len() as u32;
    let header = [24, 0, types_len, types_len, text.len() as u32];
    let mut bytes = vec![0x9f, 0xeb, 1, 0];
    let words = header.iter().chain(types);
    bytes.extend(words.flat_map(|word| word.to_le_bytes()));
    bytes.extend(text);
    bytes
}

#[track_caller]
fn refused(bytes: &[u8], release: Version) -> BtfRefused {
    check(bytes, Endian::Little, release).unwrap_err()
}

const INT: [u32; 4] = [1, 0x0100_0000, 4, 32];

#[test]
fn an_int_is_taken() {
    let bytes = btf(&INT, "int");
    assert!(check(&bytes, Endian::Little, NEW).is_ok());
    assert!(check(&bytes, Endian::Little, OLD).is_ok());
    let other = refused_by_other_machines(&bytes);
    assert_eq!(other.log, "btf_header not found");
}

fn refused_by_other_machines(bytes: &[u8]) -> BtfRefused {
    check(bytes, Endian::Big, NEW).unwrap_err()
}

#[test]
fn names_of_rust_are_not_taken() {
    let bytes = btf(&[1, 0x0400_0000, 0], "Config<u8>");
    let refused = refused(&bytes, NEW);
    assert_eq!(refused.errno, Errno::EINVAL);
    assert_eq!(
        refused.log,
        "[1] STRUCT Config<u8> size=0 vlen=0 Invalid name"
    );
    let at = refused.at.unwrap();
    assert_eq!(at.to_string(), "type 1 (struct `Config<u8>`)");
}

#[test]
fn characters_with_a_sign_are_not_taken() {
    let bytes = btf(&[1, 0x0100_0000, 1, 8 | 3 << 24], "char");
    let refused = refused(&bytes, NEW);
    assert_eq!(refused.errno, Errno::ENOTSUPP);
    assert_eq!(refused.what, "Unsupported encoding");
}

#[test]
fn a_type_that_holds_itself_is_a_loop() {
    // struct s { struct s s; }
    let bytes = btf(&[1, 0x0400_0001, 8, 1, 1, 0], "s");
    let found = refused(&bytes, NEW);
    assert_eq!(found.errno, Errno::EEXIST);
    assert_eq!(found.log, "[1] STRUCT s size=8 vlen=1 Loop detected");
    // Through a pointer it is none.
    let bytes = btf(&[1, 0x0400_0001, 8, 1, 2, 0, 0, 0x0200_0000, 1], "s");
    assert!(check(&bytes, Endian::Little, NEW).is_ok());
}

#[test]
fn releases_differ() {
    // A type tag with its flag.
    let bytes = btf(&[1, 0x9200_0000, 2, 1, 0x0100_0000, 4, 32], "tag");
    assert!(check(&bytes, Endian::Little, NEW).is_ok());
    assert_eq!(refused(&bytes, OLD).what, "Invalid btf_info kind_flag");
    // A kind that none has yet, and bits that some know nothing of.
    let bytes = btf(&[0, 0x2000_0000, 0], "");
    assert_eq!(refused(&bytes, NEW).log, "[1] Invalid kind:32");
    assert_eq!(refused(&bytes, OLD).log, "[1] Invalid btf_info:20000000");
}

#[test]
fn what_is_cut_off_is_no_panic() {
    let bytes = btf(&[1, 0x0400_0001, 8, 1, 2, 0, 0, 0x0200_0000, 1], "s");
    for len in 0..bytes.len() {
        assert!(check(&bytes[..len], Endian::Little, NEW).is_err());
    }
}
