//! bpfseal loads and attaches a signed artifact, aya reads its maps.
//!
//! ```text
//! handover-aya ARTIFACT CERTIFICATE
//! ```
//!
//! The artifact is made of `bpf/work_tracing.bpf.c`.
#![forbid(unsafe_code)]

use std::error::Error;
use std::os::fd::{AsFd as _, OwnedFd};

use aya::maps::{HashMap, Map, MapData, RingBuf};
use bpfseal::artifact::Artifact;
use bpfseal::kernel::{KeyringId, Linux, add_certificate};
use bpfseal::seal::Certificate;
use bpfseal::{LoadOptions, Loaded};

fn main() -> Result<(), Box<dyn Error>> {
    let [artifact, certificate] = std::env::args()
        .skip(1)
        .collect::<Vec<_>>()
        .try_into()
        .map_err(|_| "usage: handover-aya ARTIFACT CERTIFICATE")?;
    let certificate = Certificate::from_bytes(&std::fs::read(certificate)?)?;
    add_certificate(&Linux, KeyringId::SESSION, "handover", certificate.der())?;
    let artifact = Artifact::parse(&std::fs::read(artifact)?)?;
    let loaded = bpfseal::load(&artifact, &LoadOptions::default())?;
    let _links = loaded.attach()?;

    // From here on, the maps are aya's.
    let events = Map::RingBuf(MapData::from_fd(descriptor(&loaded, "events")?)?);
    let mut events = RingBuf::try_from(events)?;
    let counts = Map::HashMap(MapData::from_fd(descriptor(&loaded, "by_number")?)?);
    let counts: HashMap<_, u64, u64> = HashMap::try_from(counts)?;

    // `only_tgid` is alone in its section, `.data.config`.
    let config = loaded.data("data_config")?;
    let set = |process: u32| config.write_at(0, &process.to_ne_bytes());
    assert!(set(std::process::id()), "the variable is inside");
    std::thread::yield_now();
    assert!(set(0), "the variable is inside");

    let mut received = 0;
    while let Some(event) = events.next() {
        assert_eq!(event.len(), 16, "the size of `struct event`");
        received += 1;
    }
    let counted: u64 = counts.iter().map(|entry| entry.map_or(0, |(_, n)| n)).sum();
    println!("events received: {received}; system calls counted: {counted}");
    if received == 0 || counted == 0 {
        return Err("nothing arrived".into());
    }
    Ok(())
}

/// A descriptor that another library may own.
fn descriptor(loaded: &Loaded, map: &str) -> Result<OwnedFd, Box<dyn Error>> {
    let map = loaded.map(map).ok_or("the artifact has other maps")?;
    Ok(map.as_fd().try_clone_to_owned()?)
}
