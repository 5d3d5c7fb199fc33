//! Keys that are somewhere else: a command that signs, for any key service or token.

use std::io::Write as _;
use std::process::{Command, Stdio};

use bpfseal::seal::{Certificate, DigestAlgorithm, KeyAlgorithm, KeyError, Signer};

/// A command that is given what to sign on standard input, and answers the raw signature on
/// standard output.
#[derive(Debug)]
pub(crate) struct CommandSigner {
    command: String,
    /// Whether it gets the digest instead of the message.
    digest_only: bool,
    algorithm: KeyAlgorithm,
    public_key: Vec<u8>,
}

impl CommandSigner {
    /// For the key of a certificate; `None` for one that nothing is signed with.
    pub(crate) fn new(
        command: String,
        digest_only: bool,
        certificate: &Certificate,
    ) -> Option<Self> {
        Some(Self {
            command,
            digest_only,
            algorithm: KeyAlgorithm::of(certificate)?,
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
            .map_err(|e| e.to_string())?;
        let mut stdin = child.stdin.take();
        let written = stdin.as_mut().map(|stdin| stdin.write_all(input));
        drop(stdin);
        let output = child.wait_with_output().map_err(|e| e.to_string())?;
        if !output.status.success() {
            return Err(format!("it ended with {}", output.status));
        }
        // One that does not read its input can not have signed it.
        if let Some(Err(error)) = written {
            return Err(format!("it did not read what to sign: {error}"));
        }
        if output.stdout.is_empty() {
            return Err("it answered no signature".to_owned());
        }
        Ok(output.stdout)
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
        let input = if self.digest_only {
            hashed = digest.digest(message);
            &hashed
        } else {
            message
        };
        self.run(digest, input).map_err(|reason| KeyError::Signer {
            signer: format!("the command `{}`", self.command),
            reason,
        })
    }
}
