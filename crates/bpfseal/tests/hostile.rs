//! Objects that somebody made to hurt: cut off at every length, and changed at random. What may
//! happen is an error or a loader; never a panic, an endless loop, or memory without bound.
//!
//! `PROPTEST_CASES` asks for more cases than the default.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::{Path, PathBuf};

use bpfseal::loader::plan::{MemberValue, Step};
use bpfseal::loader::{FixedHost, Form, LoadPlan};
use bpfseal::make_loader;
use bpfseal::object::Object;
use proptest::prelude::*;

/// Most bytes of a loader for each byte of an object: what a loader adds to an object is bounded
/// by its steps. (Zeroed data is left out: an object may ask for it without having the bytes.)
const MAX_GROWTH: usize = 64;

fn objects() -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/objects");
    let mut found = Vec::new();
    for folder in [
        folder.clone(),
        folder.join("big-endian"),
        folder.join("refused"),
    ] {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                let bytes = std::fs::read(&path).unwrap();
                found.push((path, bytes));
            }
        }
    }
    found.sort();
    found
}

fn host() -> FixedHost {
    FixedHost {
        page_size: 4096,
        possible_cpus: Some(2),
        kernel_version: Some(0x0007_0300),
        kconfig: Some(b"CONFIG_BPF_SYSCALL=y\nCONFIG_NET=y\nCONFIG_HZ=250\n".to_vec()),
        kallsyms: Some(b"ffffffff81000000 D init_task\n".to_vec()),
    }
}

/// About how many bytes of a step grow with the object.
fn bytes_of(step: &Step) -> usize {
    match step {
        Step::LoadBtf { data } => data.len(),
        Step::SeedMap { value, .. } => value.head().len(),
        Step::FillArena { contents, .. } => contents.head().len(),
        Step::CreateLegacyMap { extra, .. } => extra.len() * 4,
        Step::SetStructOps { members, .. } => {
            let members = members.iter().map(|member| match &member.value {
                MemberValue::Bytes(bytes) => bytes.len(),
                _ => 8,
            });
            members.sum()
        }
        Step::LoadProgram(program) => {
            let tables = program.jump_tables.iter();
            let targets: usize = tables.map(|table| table.targets.len()).sum();
            (program.insns.len() + targets) * 8
        }
        _ => 0,
    }
}

/// All that is done with an object.
fn all_of_it(bytes: &[u8]) {
    let Ok(object) = Object::parse(bytes, "hostile") else {
        return;
    };
    // What no loader can be made of has a plan all the same, of bounded size.
    let host = host();
    if let Ok(plan) = LoadPlan::new(&object, &host) {
        let size: usize = plan.steps.iter().map(bytes_of).sum();
        assert!(size <= bytes.len() * MAX_GROWTH + 65536, "{size} bytes");
        for index in 0..plan.steps.len() {
            let _ = plan.describe_step(index);
        }
    }
    let Ok(made) = make_loader(object, &host, Form::Unsigned) else {
        return;
    };
    let zeroes: usize = made
        .object
        .maps
        .iter()
        .map(|map| map.def.value_size as usize)
        .sum();
    let size = made.loader.instructions.len() + made.loader.metadata.len();
    assert!(
        size <= bytes.len() * MAX_GROWTH + 2 * zeroes + 65536,
        "{size} bytes"
    );
    if let Ok(header) = made.c_header() {
        let _ = header.to_string();
    }
}

#[test]
fn cut_off_at_every_length() {
    let mut cases = 0;
    for (path, bytes) in objects() {
        // Every length of the small ones; the large ones in odd steps, so that every alignment
        // comes up.
        let step = if bytes.len() < 4096 { 1 } else { 61 };
        for len in (0..bytes.len()).step_by(step) {
            let result = Object::parse(&bytes[..len], "hostile");
            assert!(
                len > 64 || result.is_err(),
                "{} cut to {len} bytes is taken",
                path.display()
            );
            all_of_it(&bytes[..len]);
            cases += 1;
        }
    }
    eprintln!("{cases} cases");
    assert!(cases > 5000);
}

fn cases() -> u32 {
    std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(20_000)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 0, ..ProptestConfig::default() })]

    #[test]
    fn changed_at_random(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        words in prop::collection::vec((any::<prop::sample::Index>(), any::<u32>()), 0..3),
    ) {
        let all = OBJECTS.with(Clone::clone);
        let mut bytes = all[which.index(all.len())].1.clone();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        // Lengths and offsets are words.
        for (at, value) in words {
            let at = at.index(bytes.len() / 4) * 4;
            bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        all_of_it(&bytes);
    }
}

thread_local! {
    static OBJECTS: std::rc::Rc<Vec<(PathBuf, Vec<u8>)>> = std::rc::Rc::new(objects());
}
