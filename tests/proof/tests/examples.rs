//! The project's examples in Rust, as they are: run in a machine with a real kernel.
//!
//! Runs in the virtual machines of `cargo xtask kernels`; elsewhere it says that it was skipped.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::process::Command;

use bpfseal_proof::bench::{CommandBench, person};
use bpfseal_proof::object;

#[test]
fn examples_do_what_they_say() {
    let Some(bench) = CommandBench::new() else {
        return;
    };
    let signer = person("rsa2048");
    bench.write("key.pem", signer.key_pem);
    bench.write("cert.pem", signer.certificate_pem);
    bench.write("cert.der", signer.certificate.der());
    bench.write("tracing.bpf.o", object!("work_tracing"));
    // The Rust skeleton is an artifact as the C one is.
    let line = "seal tracing.bpf.o -k key.pem -i cert.pem -o tracing.rs";
    bench.check(line, 0, &[]);
    let certificate = bench.path().join("cert.pem");
    let artifact = bench.path().join("tracing.rs");
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
        Command::new("/bin/watch").arg(bench.path().join("cert.der")),
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
