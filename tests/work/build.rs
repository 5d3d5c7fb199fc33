//! Seals the objects that the tests use, as Rust skeletons.
#![allow(clippy::unwrap_used, reason = "a build that can not go on has to stop")]

use std::path::Path;

use bpfseal::RunningHost;
use bpfseal::object::{Object, object_name};
use bpfseal::seal::{Certificate, SigningKey};

fn main() {
    let testdata = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata");
    println!("cargo::rerun-if-changed={}", testdata.display());
    let read = |name: &str| std::fs::read(testdata.join(name)).unwrap();
    let key = SigningKey::from_pem(&read("keys/rsa2048.key.pem")).unwrap();
    let certificate = Certificate::from_bytes(&read("keys/rsa2048.cert.pem")).unwrap();
    let out = std::env::var("OUT_DIR").unwrap();
    for entry in std::fs::read_dir(testdata.join("objects")).unwrap() {
        let path = entry.unwrap().path();
        let name = object_name(&path.to_string_lossy());
        let Some(short) = name
            .strip_prefix("work_")
            .and_then(|n| n.strip_suffix("_bpf"))
        else {
            continue;
        };
        let bytes = std::fs::read(&path).unwrap();
        let object = Object::parse(&bytes, &name).unwrap();
        let sealed = bpfseal::Sealer::new(&certificate)
            .seal(object, &key)
            .unwrap();
        let module = sealed.rust_module().unwrap().to_string();
        std::fs::write(Path::new(&out).join(format!("{short}.rs")), module).unwrap();
        if short == "syscall" {
            // Not signed too: there, initial values can be set.
            let object = Object::parse(&bytes, &name).unwrap();
            let form = bpfseal::loader::Form::Unsigned;
            let made = bpfseal::make_loader(object, &RunningHost, form).unwrap();
            let module = made.rust_module().unwrap().to_string();
            std::fs::write(Path::new(&out).join("syscall_unsigned.rs"), module).unwrap();
        }
    }
}
