//! What the command prints, word for word. `cargo xtask bless` rewrites the files.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::process::Command;

/// A command line in a directory of the test data.
fn command(folder: &str, line: &str) -> Command {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../testdata")
        .join(folder);
    let mut command = Command::new(env!("CARGO_BIN_EXE_bpfseal"));
    command
        .args(line.split_whitespace())
        .current_dir(folder)
        .env("COLUMNS", "100");
    command
}

/// Its standard output and error.
fn run(folder: &str, line: &str) -> String {
    let output = command(folder, line).output().unwrap();
    format!(
        "$ bpfseal {line}\n{}{}(exit code {})\n",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
        output.status.code().unwrap()
    )
}

#[test]
fn inspect_an_object() {
    insta::assert_snapshot!(run("objects", "inspect sample.bpf.o --page-size 4096"));
    insta::assert_snapshot!(run(
        "objects",
        "inspect sample.bpf.o --page-size 4096 --json"
    ));
    insta::assert_snapshot!(run("objects", "inspect subprograms.bpf.o"));
    insta::assert_snapshot!(run("objects", "inspect inner_maps.bpf.o --page-size 4096"));
    insta::assert_snapshot!(run("objects", "inspect big-endian/globals.bpf.o"));
    insta::assert_snapshot!(run("objects", "inspect refused/struct_ops.bpf.o"));
    insta::assert_snapshot!(run("objects", "inspect refused/struct_ops_kinds.bpf.o"));
    insta::assert_snapshot!(run("objects", "inspect refused/program_slots.bpf.o --json"));
    for name in [
        "arena_data",
        "jump_tables",
        "legacy_kinds",
        "pinned",
        "replace_any",
        "unknown_section",
        "unlinked",
    ] {
        let line = format!("inspect refused/{name}.bpf.o --page-size 4096");
        insta::assert_snapshot!(format!("inspect_{name}"), run("objects", &line));
    }
    let line = "inspect kconfig.bpf.o --no-host --kernel-version 7.3.4";
    insta::assert_snapshot!("inspect_without_a_host", run("objects", line));
}

#[test]
fn diff_of_what_no_loader_can_be_made_of() {
    let line = "diff refused/struct_ops.bpf.o refused/struct_ops_kinds.bpf.o --name ops --brief";
    insta::assert_snapshot!(run("objects", line));
    let line = "diff refused/jumps.bpf.o refused/program_slots.bpf.o --name jumps --brief";
    insta::assert_snapshot!(run("objects", line));
}

#[test]
fn headers() {
    for (name, line) in [
        ("types", "gen skeleton -L types.bpf.o"),
        ("optional", "gen skeleton -L optional.bpf.o"),
        ("percpu", "gen skeleton -L percpu.bpf.o"),
        (
            "signed",
            "gen skeleton -S -k ../keys/p256.key.pem -i ../keys/p256.cert.pem globals.bpf.o",
        ),
    ] {
        let text = run("objects", line);
        // The bytes are compared with the reference elsewhere.
        let text: Vec<&str> = text
            .lines()
            .filter(|line| !line.starts_with("\\x") && !line.starts_with("\\0"))
            .collect();
        insta::assert_snapshot!(name, text.join("\n"));
    }
}

#[test]
fn the_skeleton_in_the_example_is_what_is_written() {
    let line = "seal work_tracing.bpf.o --name tracing -o - --emit rust --page-size 4096 \
                -k ../keys/rsa2048.key.pem -i ../keys/rsa2048.cert.pem";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/rust/src/tracing.rs");
    let written = command("objects", line).output().unwrap();
    assert!(written.status.success());
    if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
        std::fs::write(&path, &written.stdout).unwrap();
    }
    let committed = std::fs::read(path).unwrap();
    assert!(committed == written.stdout, "run `cargo xtask bless`");
}

#[test]
fn refusals() {
    let mut all = String::new();
    for name in [
        "arena_data",
        "jumps",
        "legacy_maps",
        "map_attribute",
        "no_target",
        "replace",
        "struct_ops",
        "undefined",
        "unknown_extern",
        "jump_tables",
        "legacy_kinds",
        "many_maps",
        "of_a_module",
        "pinned",
        "pinned_otherwise",
        "program_slots",
        "replace_any",
        "static_entry",
        "struct_ops_kinds",
        "unknown_section",
        "unlinked",
    ] {
        let line = format!("extract refused/{name}.bpf.o --dir nowhere --kconfig ../keys/make.sh");
        all.push_str(&run("objects", &line));
    }
    insta::assert_snapshot!(all);
}

#[test]
fn help() {
    insta::assert_snapshot!(run(".", "--help"));
    insta::assert_snapshot!(run(".", "seal --help"));
    insta::assert_snapshot!(run(".", "gen skeleton --help"));
    insta::assert_snapshot!(run(".", "verify --help"));
    insta::assert_snapshot!(run(".", "inspect --help"));
    insta::assert_snapshot!(run(".", "extract --help"));
    insta::assert_snapshot!(run(".", "audit --help"));
    insta::assert_snapshot!(run(".", "explain --help"));
    insta::assert_snapshot!(run(".", "diff --help"));
}
