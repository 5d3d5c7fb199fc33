//! `cargo xtask demo`: what the command does, in a minute, with nothing to prepare.
//!
//! Takes the committed sample object, makes a throw-away key, seals, verifies, changes one byte,
//! and shows that this is refused.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::project;

pub(crate) fn run() -> anyhow::Result<()> {
    println!("Building the command ...");
    let command = project::build_command(false)?;
    let folder = project::target().join("demo");
    std::fs::create_dir_all(&folder)?;
    std::fs::copy(
        project::objects().join("sample.bpf.o"),
        folder.join("sample.bpf.o"),
    )?;
    make_key(&folder)?;
    let demo = Demo {
        command: &command,
        folder: &folder,
    };

    say("What is in the object?");
    demo.run(&["inspect", "sample.bpf.o"], 0)?;
    say("Seal it: make the loader, sign it with the throw-away key.");
    demo.run(
        &[
            "seal",
            "sample.bpf.o",
            "-k",
            "key.pem",
            "-i",
            "cert.pem",
            "--page-size",
            "4096",
        ],
        0,
    )?;
    say("Verify it offline, as the kernel would: what is attested, and by whom?");
    demo.run(&["verify", "sample.lskel.h", "--trust", "cert.pem"], 0)?;
    say("Change one byte of what was signed ...");
    tamper(&folder)?;
    say("... and it is refused, with the errno that the kernel would answer.");
    demo.run(&["verify", "tampered.lskel.h", "--trust", "cert.pem"], 1)?;
    println!("\nThe files are in {}.", folder.display());
    Ok(())
}

fn say(text: &str) {
    println!("\n== {text}");
}

struct Demo<'a> {
    command: &'a Path,
    folder: &'a Path,
}

impl Demo<'_> {
    fn run(&self, arguments: &[&str], expect: i32) -> anyhow::Result<()> {
        println!("$ bpfseal {}", arguments.join(" "));
        let status = Command::new(self.command)
            .args(arguments)
            .current_dir(self.folder)
            .status()?;
        if status.code() != Some(expect) {
            bail!("expected exit code {expect}, but it was {status}");
        }
        println!("(exit code {expect})");
        Ok(())
    }
}

/// A key and a certificate that nobody trusts.
fn make_key(folder: &Path) -> anyhow::Result<()> {
    use rcgen::{CertificateParams, DnType, IsCa, KeyPair};
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, "throw-away key of the demo");
    // Only then is there a subjectKeyIdentifier, which a signature names its signer by.
    params.is_ca = IsCa::ExplicitNoCa;
    let certificate = params.self_signed(&key)?;
    std::fs::write(folder.join("key.pem"), key.serialize_pem())?;
    std::fs::write(folder.join("cert.pem"), certificate.pem())?;
    Ok(())
}

/// Another value for one byte of the metadata.
fn tamper(folder: &Path) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(folder.join("sample.lskel.h"))?;
    let data = text.find("opts_data[]").context("the header has data")?;
    let at = data
        + text[data..]
            .find("\\x47")
            .context("the metadata has a byte 0x47")?;
    let mut changed = text;
    changed.replace_range(at..at + 4, "\\x48");
    std::fs::write(folder.join("tampered.lskel.h"), changed)?;
    Ok(())
}
