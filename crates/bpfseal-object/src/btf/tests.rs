use super::words::BTF_MAGIC;
use super::*;
use crate::Endian;

/// A section with `int`, a variable of it and a data section, strings after them.
fn sample(endian: Endian) -> Vec<u8> {
    let strings = b"\0int\0counter\0.bss\0";
    let types: Vec<u32> = vec![
        1,
        1 << 24,
        4,
        32, // [1] int, 32 bits
        5,
        14 << 24,
        1,
        1, // [2] var counter, global
        13,
        (15 << 24) | 1,
        0,
        2,
        0,
        4, // [3] datasec .bss with one var
    ];
    let mut out = Vec::new();
    out.extend_from_slice(&endian.put_u16(BTF_MAGIC));
    out.extend_from_slice(&[1, 0]);
    let len = u32::try_from(types.len() * 4).unwrap();
    for word in [24, 0, len, len, u32::try_from(strings.len()).unwrap()] {
        out.extend_from_slice(&endian.put_u32(word));
    }
    out.extend_from_slice(&endian.put_words(&types));
    out.extend_from_slice(strings);
    out
}

#[test]
fn round_trips_in_both_byte_orders() {
    for endian in [Endian::Little, Endian::Big] {
        let bytes = sample(endian);
        let btf = Btf::parse(&bytes, endian).unwrap();
        assert_eq!(btf.type_count(), 4);
        assert_eq!(btf.find_kind(".bss", Kind::Datasec).unwrap().id, TypeId(3));
        assert_eq!(btf.ty(TypeId(2)).name(), "counter");
        assert_eq!(btf.resolve_size(TypeId(2)), Some(4));
        assert_eq!(btf.to_bytes(), bytes);
    }
}

#[test]
fn added_variable_extends_types_and_strings() {
    for endian in [Endian::Little, Endian::Big] {
        let mut btf = Btf::parse(&sample(endian), endian).unwrap();
        let id = btf.add_var("dummy_ksym", VarLinkage::GlobalAllocated, TypeId(1));
        assert_eq!(id, TypeId(4));
        let again = Btf::parse(&btf.to_bytes(), endian).unwrap();
        assert_eq!(again.ty(id).name(), "dummy_ksym");
        assert_eq!(again.ty(TypeId(3)).name(), ".bss");
    }
}

#[test]
fn an_equal_string_is_shared_but_not_a_tail() {
    let mut btf = Btf::parse(&sample(Endian::Little), Endian::Little).unwrap();
    assert_eq!(btf.add_str("counter"), 5);
    assert_eq!(btf.add_str("ounter"), 18);
}

#[test]
fn every_truncation_is_refused() {
    let bytes = sample(Endian::Little);
    for len in 0..bytes.len() {
        assert!(Btf::parse(&bytes[..len], Endian::Little).is_err(), "{len}");
    }
}

#[test]
fn a_cycle_of_modifiers_ends() {
    let mut bytes = sample(Endian::Little);
    // Turn the variable into `const` of itself.
    let at = 24 + 16;
    bytes[at + 4..at + 12]
        .copy_from_slice(&[(10u32 << 24).to_le_bytes(), 2u32.to_le_bytes()].concat());
    bytes[at + 12..at + 16].copy_from_slice(&1u32.to_le_bytes());
    // The stray word makes the next type's header; the parser refuses or ends, never hangs.
    if let Ok(btf) = Btf::parse(&bytes, Endian::Little) {
        assert!(btf.skip_mods_and_typedefs(TypeId(2)).id.is_void());
        assert_eq!(btf.resolve_size(TypeId(2)), None);
    }
}
