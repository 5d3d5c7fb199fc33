//! BTF and maps on a real kernel, and in the model: the same errno.
//!
//! `BPFSEAL_BTF` and `BPFSEAL_MAPS` say how many, 1,000 each without them; `BPFSEAL_SEED` says where to
//! begin. One that differs is made smaller and printed.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;

use bpfseal::kernel::{Btf, Linux, Map, MapSpec};
use bpfseal::model::{Errno, btf_check, map_check};
use bpfseal_object::Endian;
use bpfseal_proof::bench::{in_any_machine, release};
use bpfseal_proof::taken::{SomeBtf, SomeMap, types_of_maps};
use bpfseal_uapi::Version;

/// How many that differ are printed.
const PRINTED: usize = 12;

fn number(name: &str, otherwise: u64) -> u64 {
    let told = std::env::var(name).ok();
    told.and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

fn shown(answer: Option<Errno>) -> String {
    answer.map_or("ok".to_owned(), |errno| errno.to_string())
}

fn version() -> Version {
    Version::parse(&release()).unwrap()
}

fn btf_of_kernel(bytes: &[u8]) -> Option<Errno> {
    Btf::load(&Linux, bytes).err().map(|error| error.errno)
}

fn btf_of_model(bytes: &[u8], version: Version) -> Option<Errno> {
    let checked = btf_check::check(bytes, Endian::Little, version);
    checked.err().map(|refused| refused.errno)
}

#[test]
fn btf_is_answered_as_the_kernel_does() {
    if !in_any_machine() {
        return;
    }
    let version = version();
    let (count, first) = (number("BPFSEAL_BTF", 1000), number("BPFSEAL_SEED", 0));
    let differs = |case: &SomeBtf| {
        let bytes = case.build();
        btf_of_kernel(&bytes) != btf_of_model(&bytes, version)
    };
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut wrong = 0;
    for seed in first..first + count {
        let case = SomeBtf::new(seed);
        *seen.entry(shown(btf_of_kernel(&case.build()))).or_default() += 1;
        if !differs(&case) {
            continue;
        }
        wrong += 1;
        if wrong <= PRINTED {
            let bytes = case.shrunk(differs).build();
            println!("  seed {seed}: kernel: {}", shown(btf_of_kernel(&bytes)));
            let model = btf_check::check(&bytes, Endian::Little, version);
            println!("  model: {:?}", model.err());
            println!("  BTF: {}", bpfseal::seal::hex(&bytes));
        }
    }
    println!("  {version}: {count} BTFs: {wrong} differ; answers of the kernel: {seen:?}");
    assert_eq!(wrong, 0);
}

#[test]
fn maps_are_answered_as_the_kernel_does() {
    if !in_any_machine() {
        return;
    }
    let version = version();
    let (count, first) = (number("BPFSEAL_MAPS", 1000), number("BPFSEAL_SEED", 0));
    let bytes = types_of_maps();
    let types = btf_check::check(&bytes, Endian::Little, version).unwrap();
    let btf = Btf::load(&Linux, &bytes).unwrap();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let (mut wrong, mut done, mut seed) = (0, 0, first);
    while done < count {
        let map = SomeMap::new(seed);
        seed += 1;
        let typed = map.key_type != 0 || map.value_type != 0;
        let wanted = map_check::Wanted {
            name: map.name.bytes().take(15).collect(),
            map_type: map.map_type,
            key_size: map.key_size,
            value_size: map.value_size,
            max_entries: map.max_entries,
            map_flags: map.map_flags,
            map_extra: map.map_extra,
            numa_node: map.numa_node,
            btf_key_type_id: map.key_type,
            btf_value_type_id: map.value_type,
            btf_vmlinux_value_type_id: 0,
        };
        let model = map_check::check(&wanted, version, typed.then_some(&types));
        let holds_maps = map.map_type.holds_maps();
        if (map.is_large() && model.is_ok()) || holds_maps && model.is_ok() {
            continue;
        }
        done += 1;
        let spec = MapSpec {
            map_type: map.map_type,
            key_size: map.key_size,
            value_size: map.value_size,
            max_entries: map.max_entries,
            flags: map.map_flags,
            name: &map.name,
            extra: map.map_extra,
            numa_node: map.numa_node,
            types: typed.then_some((&btf, map.key_type, map.value_type)),
            ..MapSpec::default()
        };
        let kernel = Map::create(&Linux, &spec).err().map(|error| error.errno);
        *seen.entry(shown(kernel)).or_default() += 1;
        // A map of maps needs one to be like; what is said of the others is EINVAL as well.
        let predicted = model.as_ref().err().map(|refused| refused.errno);
        if kernel == predicted {
            continue;
        }
        wrong += 1;
        if wrong <= PRINTED {
            println!("  seed {}: kernel: {}", seed - 1, shown(kernel));
            println!("  model: {:?}", model.err());
            println!("  {map:?}");
        }
    }
    println!("  {version}: {count} maps: {wrong} differ; answers of the kernel: {seen:?}");
    assert_eq!(wrong, 0);
}
