//! Seals the BPF object and writes its Rust skeleton, as `bpfseal seal --emit rust` would.
//!
//! The key is the project's test key. A real project signs where its key is, and builds with the
//! skeleton that comes from there.

use std::error::Error;
use std::path::Path;

use bpfseal::object::Object;
use bpfseal::seal::{Certificate, SigningKey};

fn main() -> Result<(), Box<dyn Error>> {
    let testdata = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata");
    let object = testdata.join("objects/work_tracing.bpf.o");
    println!("cargo::rerun-if-changed={}", object.display());
    let key = SigningKey::from_pem(&std::fs::read(testdata.join("keys/rsa2048.key.pem"))?)?;
    let certificate = std::fs::read(testdata.join("keys/rsa2048.cert.pem"))?;
    let certificate = Certificate::from_bytes(&certificate)?;

    let object = Object::parse(&std::fs::read(object)?, "tracing")?;
    let sealed = bpfseal::Sealer::new(&certificate).seal(object, &key)?;
    let out = Path::new(&std::env::var("OUT_DIR")?).join("tracing.rs");
    std::fs::write(out, sealed.rust_module()?.to_string())?;
    Ok(())
}
