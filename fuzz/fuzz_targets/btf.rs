//! Type information: checked as kernels do, written out again and walked through.
#![no_main]

use bpfseal::model::btf_check::check;
use bpfseal::object::Endian;
use bpfseal::object::uapi::Version;
use bpfseal::object::btf::Btf;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for endian in [Endian::Little, Endian::Big] {
        for release in [Version::new(6, 12, 0), Version::new(7, 3, 0)] {
            let _ = check(bytes, endian, release);
        }
        let Ok(btf) = Btf::parse(bytes, endian) else {
            continue;
        };
        let _ = btf.to_bytes();
        for t in btf.types() {
            let _ = (t.name(), btf.resolve_size(t.id), btf.align_of(t.id));
            let _ = btf.skip_mods_and_typedefs(t.id);
            let _ = (
                t.members().count(),
                t.vars().count(),
                t.enumerators().count(),
            );
        }
    }
});
