//! The manifest of the corpus that may lie beside the project: what the reference made of each
//! object, one line of JSON for each.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Deserialize;

#[derive(Debug, Deserialize)]
pub(crate) struct Entry {
    pub(crate) path: PathBuf,
    pub(crate) unsigned: Made,
    pub(crate) signed: Made,
}

/// What came of one run: pieces, or why there are none.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Made {
    Pieces(Pieces),
    Failed {
        /// Exit code; negative for the signal that ended it.
        rc: i32,
        error: Option<String>,
    },
}

#[derive(Debug, Deserialize)]
pub(crate) struct Pieces {
    pub(crate) insns_sha256: String,
    pub(crate) metadata_sha256: String,
    pub(crate) signature_sha256: Option<String>,
    #[serde(alias = "excl_hash", alias = "excl_prog_hash_hex")]
    pub(crate) excl_prog_hash: Option<String>,
}

/// Reads the manifest of a corpus.
pub(crate) fn read(corpus: &Path) -> anyhow::Result<Vec<Entry>> {
    let path = corpus.join("manifest.jsonl");
    let text =
        std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    text.lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| serde_json::from_str(line).with_context(|| format!("in {line}")))
        .collect()
}
