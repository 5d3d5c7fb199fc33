//! The project's examples in Rust, as they are: run in a machine with a real kernel.
//!
//! Runs in the virtual machines of `cargo xtask kernels`; elsewhere it says that it was skipped.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::process::Command;

use bpfseal::kernel::Linux;
use bpfseal::kernel::probe::{self, Verification};

const KEY: &[u8] = include_bytes!("../../../testdata/keys/rsa2048.key.pem");
const CERTIFICATE: &[u8] = include_bytes!("../../../testdata/keys/rsa2048.cert.pem");
const OBJECT: &[u8] = include_bytes!("../../../testdata/objects/work_tracing.bpf.o");

#[test]
fn examples_do_what_they_say() {
    let Some(bpfseal) = std::env::var_os("BPFSEAL_BIN") else {
        eprintln!("skipped: no virtual machine (`cargo xtask kernels` has them)");
        return;
    };
    let scheme = probe::verification(&Linux);
    if scheme != Verification::LoadTime {
        eprintln!("skipped: this kernel does not verify at load time ({scheme:?})");
        return;
    }
    let folder = tempfile::tempdir_in("/").unwrap();
    let put = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let (key, certificate) = (put("key.pem", KEY), put("cert.pem", CERTIFICATE));
    let object = put("tracing.bpf.o", OBJECT);
    // The Rust skeleton is an artifact as the C one is.
    let artifact = folder.path().join("tracing.rs");
    let sealed = Command::new(bpfseal)
        .arg("seal")
        .arg(&object)
        .arg("-k")
        .arg(&key)
        .arg("-i")
        .arg(&certificate)
        .arg("-o")
        .arg(&artifact)
        .status()
        .unwrap();
    assert!(sealed.success());
    #[track_caller]
    fn says(command: &mut Command, words: &str) {
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command:?}: {text}{errors}");
        assert!(text.contains(words), "{command:?}: {text}");
        println!("  {}", text.lines().next().unwrap());
    }
    says(
        Command::new("/bin/watch").arg(&certificate),
        "system calls counted: 1",
    );
    for name in ["handover-aya", "handover-libbpf-rs"] {
        let program = Path::new("/bin").join(name);
        if !program.exists() {
            eprintln!("skipped: `{name}` was not built");
            continue;
        }
        says(
            Command::new(program).arg(&artifact).arg(&certificate),
            "events received: ",
        );
    }
}
