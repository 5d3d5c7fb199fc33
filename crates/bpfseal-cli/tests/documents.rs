//! Every command line of the documentation runs, in order, in a fresh directory.
//!
//! Blocks marked `sh` have commands; blocks marked `console` have commands after `$ ` and what they
//! print, where `…` stands for any text within a line. A command that cannot run here has its
//! reason at its end, as a comment: one of [`REASONS`]. A comment `# exit code N` says that the
//! command fails so.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::testdata;

/// Why a command is not run here.
const REASONS: [&str; 4] = [
    // Builds, or tests of hours.
    "in the source tree",
    // `cargo xtask kernels --test load` runs these verbs, as root on real kernels.
    "needs root",
    // tests/pkcs11.rs signs with one.
    "needs a token",
    "needs a kernel keyring",
];

/// Documents with commands, and how many of them run at least.
const DOCUMENTS: [(&str, usize); 10] = [
    ("README.md", 24),
    ("docs/signing.md", 18),
    ("docs/json.md", 1),
    ("docs/attacks.md", 0),
    ("docs/format.md", 0),
    ("docs/model.md", 0),
    ("docs/schemes.md", 0),
    ("ARCHITECTURE.md", 0),
    ("CONTRIBUTING.md", 0),
    ("SECURITY.md", 0),
];

#[derive(Debug, PartialEq)]
struct Step {
    line: usize,
    command: String,
    /// What is printed, of commands that say so.
    expect: Option<String>,
}

/// The commands of a document.
fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((_, fence)) = lines.next() {
        let kind = match fence.trim() {
            "```sh" | "```bash" | "```shell" => "sh",
            "```console" => "console",
            other => {
                // Blocks of another kind are passed over whole.
                if other.starts_with("```") {
                    lines.find(|(_, line)| line.trim() == "```");
                }
                continue;
            }
        };
        while let Some((number, line)) = lines.next() {
            if line.trim() == "```" {
                break;
            }
            let command = match (kind, line.strip_prefix("$ ")) {
                ("sh", _) => line,
                (_, Some(command)) => command,
                (_, None) => {
                    let expect = &mut steps.last_mut().unwrap().expect;
                    let printed = expect.as_mut().unwrap();
                    printed.push_str(line);
                    printed.push('\n');
                    continue;
                }
            };
            if command.trim().is_empty() || command.starts_with('#') {
                continue;
            }
            let mut command = command.to_owned();
            while command.ends_with('\\') {
                command.push('\n');
                command.push_str(lines.next().unwrap().1);
            }
            if let Some((_, word)) = command.clone().split_once("<<'") {
                let end = word.split('\'').next().unwrap();
                for (_, line) in lines.by_ref() {
                    command.push('\n');
                    command.push_str(line);
                    if line == end {
                        break;
                    }
                }
            }
            steps.push(Step {
                line: number + 1,
                command,
                expect: (kind == "console").then(String::new),
            });
        }
    }
    steps
}

/// Whether a text is as expected, where `…` stands for anything on its line.
fn matches(expect: &str, printed: &str) -> bool {
    let (mut expect, mut printed) = (expect.lines(), printed.lines());
    loop {
        match (expect.next(), printed.next()) {
            (None, None) => return true,
            (Some(expect), Some(printed)) => {
                let mut rest = printed;
                let mut parts = expect.split('…');
                let Some(after) = parts.next().and_then(|first| rest.strip_prefix(first)) else {
                    return false;
                };
                rest = after;
                let mut open = false;
                for part in parts {
                    let Some(at) = rest.find(part) else {
                        return false;
                    };
                    rest = &rest[at + part.len()..];
                    open = part.is_empty();
                }
                if !rest.is_empty() && !open {
                    return false;
                }
            }
            _ => return false,
        }
    }
}

/// Programs that the documents use: bpfseal, and clang by any of its names. Without one, a script
/// stands in that copies an object of the test data to what follows `-o`.
fn programs(folder: &Path) -> PathBuf {
    let bin = folder.join(".bin");
    std::fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_bpfseal"), bin.join("bpfseal")).unwrap();
    let found = ["clang", "clang-21", "clang-20", "clang-19", "clang-18"]
        .into_iter()
        .find(|name| {
            // One that cannot make BPF is none.
            let made = Command::new(name)
                .args([
                    "--target=bpf",
                    "-c",
                    "-x",
                    "c",
                    "/dev/null",
                    "-o",
                    "/dev/null",
                ])
                .stderr(Stdio::null())
                .status();
            made.is_ok_and(|status| status.success())
        });
    let script = match found {
        Some(name) => format!("#!/bin/sh\nexec {name} \"$@\"\n"),
        None => {
            eprintln!("SKIPPED: compiling, no clang: an object of the test data instead");
            let object = testdata().join("objects/sample.bpf.o");
            let object = object.canonicalize().unwrap();
            format!(
                "#!/bin/sh\nfor last; do :; done\ncp {} \"$last\"\n",
                object.display()
            )
        }
    };
    let clang = bin.join("clang");
    std::fs::write(&clang, script).unwrap();
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(clang, std::fs::Permissions::from_mode(0o755)).unwrap();
    bin
}

#[test]
fn every_command_line_runs() {
    let root = testdata().join("..");
    let mut skipped: BTreeMap<&str, usize> = BTreeMap::new();
    for (document, least) in DOCUMENTS {
        let text = std::fs::read_to_string(root.join(document)).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let bin = programs(folder.path());
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        let mut ran = 0;
        for step in steps(&text) {
            let place = format!("{document}:{}: {}", step.line, step.command);
            let comment = step.command.rsplit_once('#').map_or("", |(_, c)| c.trim());
            if let Some(reason) = REASONS.iter().find(|reason| comment.starts_with(**reason)) {
                *skipped.entry(reason).or_default() += 1;
                continue;
            }
            let expected = comment
                .split_once("exit code ")
                .and_then(|(_, n)| n.parse().ok());
            let output = Command::new("sh")
                .args(["-c", &step.command])
                .current_dir(folder.path())
                .env("PATH", &path)
                .env("KEY_PASSPHRASE", "none is needed")
                .stdin(Stdio::null())
                .output()
                .unwrap();
            let out = String::from_utf8_lossy(&output.stdout);
            let err = String::from_utf8_lossy(&output.stderr);
            let code = output.status.code();
            assert_eq!(code, Some(expected.unwrap_or(0)), "{place}\n{out}{err}");
            if let Some(expect) = step.expect {
                let all = format!("{out}{err}");
                assert!(matches(&expect, &all), "{place}: it printed:\n{all}");
            }
            ran += 1;
        }
        assert!(ran >= least, "{document}: {ran} commands");
    }
    for (reason, count) in skipped {
        eprintln!("SKIPPED: {count} command lines: {reason}");
    }
}

#[test]
fn documents_are_taken_apart() {
    let text = "# a\n```sh\n# comment\n\na b \\\n  c\ncat <<'E' > x\n```not a fence\nE\n```\n\
                ```c\n$ no\n```\n```console\n$ d\none\ntwo\n```\n";
    let commands: Vec<_> = steps(text)
        .into_iter()
        .map(|s| (s.command, s.expect))
        .collect();
    assert_eq!(
        commands,
        [
            ("a b \\\n  c".to_owned(), None),
            ("cat <<'E' > x\n```not a fence\nE".to_owned(), None),
            ("d".to_owned(), Some("one\ntwo\n".to_owned())),
        ]
    );
    for (expect, printed, good) in [
        ("a\n", "a\n", true),
        ("a…\n", "a b c\n", true),
        ("a … c\n", "a b c\n", true),
        ("a … c\n", "a b cd\n", false),
        ("a\n", "a\nb\n", false),
        ("…b\n", "a\n", false),
    ] {
        assert_eq!(matches(expect, printed), good, "{expect:?} {printed:?}");
    }
}
