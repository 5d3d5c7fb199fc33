//! The `bpfseal` command in a directory of its own, in a machine that has it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::{person, verifies_at_load_time};

/// The command, and the directory that it runs in.
#[derive(Debug)]
pub struct CommandBench {
    folder: tempfile::TempDir,
    program: PathBuf,
}

impl CommandBench {
    /// In a machine with a kernel that verifies at load time.
    #[must_use]
    pub fn new() -> Option<Self> {
        let bench = Self::on_any_kernel()?;
        verifies_at_load_time().then_some(bench)
    }

    /// In any machine. The directory can be read by everybody.
    #[must_use]
    pub fn on_any_kernel() -> Option<Self> {
        let Some(program) = std::env::var_os("BPFSEAL_BIN") else {
            eprintln!("skipped: no virtual machine (`cargo xtask kernels` has them)");
            return None;
        };
        std::fs::create_dir_all("/tmp").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(folder.path(), open).unwrap();
        Some(Self {
            folder,
            program: program.into(),
        })
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file into it.
    pub fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.folder.path().join(name), bytes).unwrap();
    }

    /// Writes somebody's key and certificate into it, as `NAME.key.pem` and `NAME.cert.pem`.
    pub fn write_keys(&self, name: &str) {
        let person = person(name);
        self.write(&format!("{name}.key.pem"), person.key_pem);
        self.write(&format!("{name}.cert.pem"), person.certificate_pem);
    }

    /// The command with these arguments, not started yet.
    #[must_use]
    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(line.split_whitespace())
            .current_dir(self.folder.path());
        command
    }

    /// Runs it.
    #[must_use]
    pub fn run(&self, line: &str) -> Output {
        self.command(line).output().unwrap()
    }

    /// Runs it: it has to end with this exit code and say these words. Everything that it says.
    #[track_caller]
    pub fn check(&self, line: &str, code: i32, words: &[&str]) -> String {
        said(&self.run(line), line, code, words)
    }
}

/// The same of a command that was run.
#[track_caller]
pub fn said(output: &Output, line: &str, code: i32, words: &[&str]) -> String {
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(output.status.code(), Some(code), "{line}: {text}");
    for word in words {
        assert!(text.contains(word), "{line}: no `{word}` in {text}");
    }
    text
}
