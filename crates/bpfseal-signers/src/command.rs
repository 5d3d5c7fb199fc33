//! A command that signs, for any key service or token.

use std::ffi::{OsStr, OsString};
use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

use bpfseal_seal::{Certificate, DigestAlgorithm, KeyAlgorithm, KeyError, Signer};

/// Most bytes that a command may answer: more than any signature has.
const MAX_ANSWER: u64 = 64 * 1024;

/// What a command reads on its standard input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CommandInput {
    /// The digest of the message.
    Digest,
    /// The message itself.
    Message,
}

/// A command that is given what to sign on standard input, and answers the raw signature on
/// standard output: PKCS#1 v1.5, `ECDSA-Sig-Value` in DER, or that of ML-DSA.
///
/// `sh` runs it. `BPFSEAL_DIGEST` in its environment is the digest's name (`sha256`), `BPFSEAL_KEY`
/// the algorithm of the key.
pub struct CommandSigner {
    /// May have secrets in it: not for messages.
    command: OsString,
    input: CommandInput,
    algorithm: KeyAlgorithm,
    public_key: Vec<u8>,
}

impl std::fmt::Debug for CommandSigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CommandSigner")
            .field("program", &program(&self.command))
            .field("input", &self.input)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

impl CommandSigner {
    /// For the key of a certificate; `None` for one of a kind that nothing is signed with.
    #[must_use]
    pub fn new(
        command: impl Into<OsString>,
        input: CommandInput,
        certificate: &Certificate,
    ) -> Option<Self> {
        Some(Self {
            command: command.into(),
            input,
            algorithm: certificate.key_algorithm()?,
            public_key: certificate.public_key().to_vec(),
        })
    }

    fn run(&self, digest: DigestAlgorithm, input: &[u8]) -> Result<Vec<u8>, String> {
        let mut child = Command::new("sh")
            .arg("-c")
            .arg(&self.command)
            .env("BPFSEAL_DIGEST", digest.name())
            .env("BPFSEAL_KEY", self.algorithm.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| format!("`sh` could not be started: {e}"))?;
        let mut stdin = child.stdin.take();
        let written = stdin.as_mut().map(|stdin| stdin.write_all(input));
        drop(stdin);
        let mut answer = Vec::new();
        let read = child
            .stdout
            .take()
            .map(|stdout| stdout.take(MAX_ANSWER + 1).read_to_end(&mut answer));
        let status = child.wait().map_err(|e| e.to_string())?;
        if answer.len() as u64 > MAX_ANSWER {
            return Err("it answered more than a signature".to_owned());
        }
        if !status.success() {
            return Err(format!("it ended with {status}"));
        }
        if let Some(Err(error)) = read {
            return Err(format!("its answer could not be read: {error}"));
        }
        // One that does not read its input cannot have signed it.
        if let Some(Err(error)) = written {
            return Err(format!("it did not read what to sign: {error}"));
        }
        if answer.is_empty() {
            return Err("it answered no signature".to_owned());
        }
        Ok(answer)
    }
}

impl Signer for CommandSigner {
    fn algorithm(&self) -> KeyAlgorithm {
        self.algorithm
    }

    fn public_key(&self) -> Vec<u8> {
        self.public_key.clone()
    }

    fn sign(&self, digest: DigestAlgorithm, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let hashed;
        let input = match self.input {
            CommandInput::Digest => {
                hashed = digest.digest(message);
                &hashed
            }
            CommandInput::Message => message,
        };
        self.run(digest, input).map_err(|reason| KeyError::Signer {
            signer: program(&self.command).map_or_else(
                || "the signer command".to_owned(),
                |program| format!("the signer command (`{program} …`)"),
            ),
            reason,
        })
    }
}

/// The program that a command line begins with, after variables that it sets; `None` where that is
/// not a plain name or path. Nothing else of a command line is for messages.
fn program(command: &OsStr) -> Option<&str> {
    let is_name = |text: &str| {
        let mut chars = text.chars();
        chars
            .next()
            .is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
            && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    for word in command.to_str()?.split_whitespace() {
        if word.contains(['\'', '"', '\\', '`', '$']) {
            // A word of the shell's may go on after a blank.
            return None;
        }
        match word.split_once('=') {
            Some((name, _)) if is_name(name) => {}
            _ => {
                let plain = |c: char| c.is_ascii_alphanumeric() || "/._+-".contains(c);
                return word.chars().all(plain).then_some(word);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_program_is_named() {
        for (command, expect) in [
            ("openssl dgst -sign key.pem", Some("openssl")),
            ("  /usr/bin/sign --pin=1234", Some("/usr/bin/sign")),
            ("TOKEN=s3cr3t A_1=x sign", Some("sign")),
            ("TOKEN='two words' sign", None),
            ("TOKEN=\"two words\" sign", None),
            ("TOKEN=two\\ words sign", None),
            ("TOKEN=$(cat pin) sign", None),
            ("$SIGNER --pin 1234", None),
            ("(sign; true)", None),
            ("s3cr3t|sign", None),
            ("TOKEN=s3cr3t", None),
            ("-=s3cr3t sign", None),
            ("", None),
        ] {
            assert_eq!(program(OsStr::new(command)), expect, "{command}");
        }
    }
}
