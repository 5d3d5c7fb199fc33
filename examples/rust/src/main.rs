//! Counts the system calls of this process: a complete program with a Rust skeleton.
//!
//! ```text
//! watch CERTIFICATE
//! ```
//!
//! The BPF program is `bpf/work_tracing.bpf.c`. It was sealed once, where the key is, and its
//! skeleton is part of this program's source:
//!
//! ```text
//! bpfseal seal work_tracing.bpf.o --name tracing -k KEY -i CERT -o tracing.rs
//! ```
//!
//! The certificate (DER) goes into the session keyring, where the kernel looks for the signer.
#![forbid(unsafe_code)]

use std::error::Error;

use bpfseal_rt::kernel::{KeyringId, Linux, add_certificate};

/// The generated skeleton.
mod tracing;

use tracing::Tracing;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("usage: watch CERTIFICATE")?;
    add_certificate(&Linux, KeyringId::SESSION, "watch", &std::fs::read(path)?)?;

    // Each step is a type: there is no way to attach before loading, nor to set initial values
    // that the kernel would ignore, because they are signed.
    let skel = Tracing::open_and_load()?.attach()?;

    // Variables of `.bss` and `.data` can be set now.
    let own = i32::try_from(std::process::id())?;
    skel.data_config().only_tgid.set(own);
    for _ in 0..100 {
        std::thread::yield_now();
    }
    skel.data_config().only_tgid.set(0);

    println!("system calls counted: {}", skel.bss().calls.get());
    let maps = skel.maps();
    let mut key = maps.by_number.next_key(&Linux, None)?;
    while let Some(number) = key {
        let count = maps.by_number.lookup(&Linux, &number)?;
        println!("  number {:>3}: {} times", word(&number), word(&count));
        key = maps.by_number.next_key(&Linux, Some(&number))?;
    }
    Ok(())
    // Dropping the skeleton detaches, and closes everything.
}

fn word(bytes: &[u8]) -> u64 {
    bytes.try_into().map_or(0, u64::from_ne_bytes)
}
