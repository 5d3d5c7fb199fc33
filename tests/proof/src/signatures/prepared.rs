//! Cases that are made before a machine starts, with the answers that are predicted.
//!
//! A machine is emulated, and this host is fast: it signs, and it verifies as the model does. The
//! machine only asks its kernel. A case that differs is made again there, from its seed.

use std::io::{BufRead, Write};

use bpfseal_seal::{Rejection, TrustStore, verify_detached};
use bpfseal_uapi::Errno;
use serde::{Deserialize, Serialize};

use super::{Built, CONTENT, Case};

/// Where a machine finds its cases.
pub const PATH: &str = "/signatures.jsonl";

/// How many in a test run that says nothing else: they take about a minute of an emulated
/// machine, and most of them its arithmetic.
const MESSAGES: u64 = 1000;
const CERTIFICATES: u64 = 500;

/// What is answered to a case: for each certificate that is added, then for the load.
pub type Answers = Vec<Option<Errno>>;

/// Messages, or certificates alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum What {
    /// With the certificates that are trusted.
    Messages,
    /// What `add_key` says of them.
    Certificates,
}

impl What {
    /// The case of a seed.
    #[must_use]
    pub fn case(self, seed: u64) -> Case {
        match self {
            Self::Messages => Case::message(seed),
            Self::Certificates => Case::certificates(seed),
        }
    }
}

/// A case that only a kernel has to answer.
#[derive(Debug, Serialize, Deserialize)]
pub struct Prepared {
    /// Which kind of case.
    pub what: What,
    /// What it was made from.
    pub seed: u64,
    /// Certificates in DER, in the order in which they are added.
    #[serde(with = "hex_strings")]
    pub trusted: Vec<Vec<u8>>,
    /// A signature of [`CONTENT`]; empty for certificates alone.
    #[serde(with = "hex_string")]
    pub signature: Vec<u8>,
    /// Numbers of errnos.
    predicted: Vec<Option<i32>>,
    /// Whether it is refused here although the kernel takes it.
    pub refused: bool,
}

impl Prepared {
    fn new(what: What, seed: u64) -> Self {
        let built = what.case(seed).build();
        let (answers, refused) = offline(&built);
        let predicted = answers.iter().map(|errno| errno.map(|errno| errno.0));
        Self {
            what,
            seed,
            predicted: predicted.collect(),
            refused,
            trusted: built.trusted,
            signature: built.signature,
        }
    }

    /// The answers that are predicted.
    #[must_use]
    pub fn predicted(&self) -> Answers {
        let errnos = self.predicted.iter();
        errnos.map(|errno| errno.map(Errno)).collect()
    }
}

/// Writes the cases of a test run, a line each. `BPFSEAL_MESSAGES` and `BPFSEAL_CERTIFICATES` say
/// how many, `BPFSEAL_SEED` where to begin.
///
/// # Errors
///
/// Those of writing.
pub fn write(mut out: impl Write) -> std::io::Result<()> {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let first = number("BPFSEAL_SEED").unwrap_or(0);
    let seeds = |variable, default| first..first + number(variable).unwrap_or(default);
    let messages = seeds("BPFSEAL_MESSAGES", MESSAGES).map(|seed| (What::Messages, seed));
    let certificates =
        seeds("BPFSEAL_CERTIFICATES", CERTIFICATES).map(|seed| (What::Certificates, seed));
    for (what, seed) in messages.chain(certificates) {
        serde_json::to_writer(&mut out, &Prepared::new(what, seed))?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

/// Reads them back, one at a time.
pub fn read(input: impl BufRead) -> impl Iterator<Item = std::io::Result<Prepared>> {
    input.lines().map(|line| Ok(serde_json::from_str(&line?)?))
}

/// The answers that are predicted, and whether a message that the kernel takes is refused here.
#[must_use]
pub fn offline(built: &Built) -> (Answers, bool) {
    let mut store = TrustStore::new();
    let mut answers = Answers::new();
    let mut refused = false;
    for der in &built.trusted {
        answers.push(store.add_der(der).err().map(|fault| fault.errno()));
    }
    if !built.signature.is_empty() {
        let verdict = verify_detached(&[&CONTENT], &built.signature, &store);
        let errno = verdict.as_ref().err().and_then(Rejection::errno);
        refused = verdict.is_err() && errno.is_none();
        answers.push(errno);
    }
    (answers, refused)
}

/// Bytes as text.
mod hex_string {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&bpfseal_seal::hex(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        parse(&String::deserialize(from)?).map_err(D::Error::custom)
    }

    pub(super) fn parse(text: &str) -> Result<Vec<u8>, String> {
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let pair = |pair: &[u8]| match *pair {
            [high, low] => u8::try_from(digit(high)? * 16 + digit(low)?).ok(),
            _ => None,
        };
        let bytes: Option<Vec<u8>> = text.as_bytes().chunks(2).map(pair).collect();
        bytes.ok_or_else(|| format!("`{text}` is not hexadecimal"))
    }
}

mod hex_strings {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(all: &[Vec<u8>], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(all.iter().map(|bytes| bpfseal_seal::hex(bytes)))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<Vec<u8>>, D::Error> {
        let all = Vec::<String>::deserialize(from)?;
        let all = all.iter().map(|text| super::hex_string::parse(text));
        all.collect::<Result<_, _>>().map_err(D::Error::custom)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for what in [What::Messages, What::Certificates] {
            let prepared = Prepared::new(what, 7);
            let text = serde_json::to_vec(&prepared).unwrap();
            let back = read(&*text).next().unwrap().unwrap();
            assert_eq!(back.trusted, what.case(7).build().trusted);
            assert_eq!(back.signature, what.case(7).build().signature);
            assert_eq!(back.predicted(), offline(&what.case(7).build()).0);
        }
        assert!(read(&b"{}\n"[..]).next().unwrap().is_err());
    }
}
