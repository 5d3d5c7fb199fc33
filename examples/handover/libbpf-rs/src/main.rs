//! bpfseal loads and attaches a signed artifact, libbpf-rs reads its maps.
//!
//! ```text
//! handover-libbpf-rs ARTIFACT CERTIFICATE
//! ```
//!
//! The artifact is made of `bpf/work_tracing.bpf.c`. libbpf-rs takes no descriptors, but numbers
//! of maps.
#![forbid(unsafe_code)]

use std::cell::Cell;
use std::error::Error;
use std::time::Duration;

use bpfseal::artifact::Artifact;
use bpfseal::kernel::{KeyringId, Linux, add_certificate};
use bpfseal::seal::Certificate;
use bpfseal::{LoadOptions, Loaded};
use libbpf_rs::{MapCore as _, MapFlags, MapHandle, RingBufferBuilder};

fn main() -> Result<(), Box<dyn Error>> {
    let [artifact, certificate] = std::env::args()
        .skip(1)
        .collect::<Vec<_>>()
        .try_into()
        .map_err(|_| "usage: handover-libbpf-rs ARTIFACT CERTIFICATE")?;
    let certificate = Certificate::from_bytes(&std::fs::read(certificate)?)?;
    add_certificate(&Linux, KeyringId::SESSION, "handover", certificate.der())?;
    let artifact = Artifact::parse(&std::fs::read(artifact)?)?;
    let loaded = bpfseal::load(&artifact, &LoadOptions::default())?;
    let _links = loaded.attach()?;

    // From here on, the maps are libbpf's.
    let events = MapHandle::from_map_id(number(&loaded, "events")?)?;
    let counts = MapHandle::from_map_id(number(&loaded, "by_number")?)?;
    let received = Cell::new(0);
    let mut builder = RingBufferBuilder::new();
    builder.add(&events, |event| {
        assert_eq!(event.len(), 16, "the size of `struct event`");
        received.set(received.get() + 1);
        0
    })?;
    let buffer = builder.build()?;

    // `only_tgid` is alone in its section, `.data.config`.
    let config = loaded.data("data_config")?;
    let set = |process: u32| config.write_at(0, &process.to_ne_bytes());
    assert!(set(std::process::id()), "the variable is inside");
    std::thread::yield_now();
    assert!(set(0), "the variable is inside");

    buffer.poll(Duration::from_secs(1))?;
    let mut counted = 0;
    for key in counts.keys() {
        if let Some(value) = counts.lookup(&key, MapFlags::ANY)? {
            counted += u64::from_ne_bytes(value.as_slice().try_into()?);
        }
    }
    println!(
        "events received: {}; system calls counted: {counted}",
        received.get()
    );
    if received.get() == 0 || counted == 0 {
        return Err("nothing arrived".into());
    }
    Ok(())
}

fn number(loaded: &Loaded, map: &str) -> Result<u32, Box<dyn Error>> {
    let map = loaded.map(map).ok_or("the artifact has other maps")?;
    Ok(map.info(&Linux)?.id)
}
