//! The command as its users run it: the real binary in a temporary folder.
#![allow(
    dead_code,
    clippy::unwrap_used,
    missing_docs,
    unreachable_pub,
    reason = "test support"
)]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A folder with the sample object, keys and certificates in it.
pub struct Bench {
    pub folder: tempfile::TempDir,
    /// Environment variables of what is run.
    pub env: Vec<(String, String)>,
}

pub struct Ran {
    pub code: i32,
    pub out: String,
    pub raw: Vec<u8>,
    pub err: String,
}

pub fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata")
}

impl Bench {
    pub fn new() -> Self {
        let bench = Self {
            folder: tempfile::tempdir().unwrap(),
            env: Vec::new(),
        };
        let data = testdata();
        bench.take(&data.join("objects/sample.bpf.o"), "sample.bpf.o");
        for (from, to) in [
            ("rsa2048.key.pem", "key.pem"),
            ("rsa2048.cert.pem", "cert.pem"),
            ("rsa2048.cert.der", "cert.der"),
            ("p256.key.pem", "other.key.pem"),
            ("p256.cert.pem", "other.cert.pem"),
        ] {
            bench.take(&data.join("keys").join(from), to);
        }
        bench
    }

    pub fn take(&self, from: &Path, to: &str) {
        std::fs::copy(from, self.path(to)).unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    /// Names of all files, sorted.
    pub fn files(&self, folder: &str) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(self.path(folder))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    pub fn run(&self, line: &str) -> Ran {
        self.run_with(line, b"")
    }

    pub fn run_with(&self, line: &str, input: &[u8]) -> Ran {
        let mut child = Command::new(env!("CARGO_BIN_EXE_bpfseal"))
            .args(line.split_whitespace())
            .envs(self.env.iter().cloned())
            .current_dir(self.folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        Ran {
            code: output.status.code().expect("it was ended by a signal"),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            raw: output.stdout,
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    #[track_caller]
    pub fn good(&self, line: &str) -> Ran {
        let ran = self.run(line);
        assert_eq!(ran.code, 0, "{line}: {}{}", ran.out, ran.err);
        ran
    }

    /// Runs what has to fail, with that exit code and these words.
    #[track_caller]
    pub fn bad(&self, line: &str, code: i32, words: &[&str]) -> Ran {
        let ran = self.run(line);
        assert_eq!(ran.code, code, "{line}: {}{}", ran.out, ran.err);
        for word in words {
            assert!(
                ran.err.contains(word) || ran.out.contains(word),
                "{line}: no `{word}` in {}{}",
                ran.out,
                ran.err
            );
        }
        ran
    }
}
