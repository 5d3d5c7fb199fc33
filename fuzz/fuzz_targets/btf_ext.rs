//! Function, line and CO-RE records.
#![no_main]

use bpfseal::object::Endian;
use bpfseal::object::btf::ext::BtfExt;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = BtfExt::parse(bytes, Endian::Little);
    let _ = BtfExt::parse(bytes, Endian::Big);
});
