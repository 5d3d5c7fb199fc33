//! What tests in virtual machines start from: the machine itself, the project's test keys and
//! objects, and the command.
//!
//! Everything is compiled in, because a machine has no files but its tests. What cannot go on
//! panics: it is a test that fails.
#![allow(clippy::unwrap_used, reason = "test support")]

mod command;
mod people;
mod setup;
mod subject;

use bpfseal_kernel::Linux;
use bpfseal_kernel::probe::{self, Verification};

pub use command::{CommandBench, said};
pub use people::{Person, person};
pub use setup::{Setup, release};
pub use subject::{SESSION, Subject, errno, fd, load, load_from, metadata_map, sign, spec, trust};

/// One of the project's test objects, compiled in.
#[macro_export]
macro_rules! object {
    ($name:literal) => {
        include_bytes!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../testdata/objects/",
            $name,
            ".bpf.o"
        ))
        .as_slice()
    };
}

/// Small, good BTF: one type, `int`.
pub const SMALL_BTF: &[u8] = &[
    0x9f, 0xeb, 1, 0, 24, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0, 16, 0, 0, 0, 5, 0, 0, 0, 1, 0, 0, 0, 0,
    0, 0, 1, 4, 0, 0, 0, 32, 0, 0, 0, 0, b'i', b'n', b't', 0,
];

/// Whether this is a machine for these tests: whoever started it says so.
#[must_use]
pub fn in_any_machine() -> bool {
    let told = std::env::var_os("BPFSEAL_VM").is_some();
    if !told {
        eprintln!("skipped: no virtual machine (`cargo xtask kernels` has them)");
    }
    told
}

/// Whether this is such a machine, with a kernel that verifies at load time.
#[must_use]
pub fn in_machine() -> bool {
    in_any_machine() && verifies_at_load_time()
}

fn verifies_at_load_time() -> bool {
    let scheme = probe::verification(&Linux);
    if scheme != Verification::LoadTime {
        eprintln!("skipped: this kernel does not verify at load time ({scheme:?})");
    }
    scheme == Verification::LoadTime
}
