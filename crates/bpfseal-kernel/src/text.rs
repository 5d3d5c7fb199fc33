//! What the kernel writes: words and texts.

use bpfseal_uapi::Field;

/// A word of a structure; 0 behind its end.
pub(crate) fn word(bytes: &[u8], field: Field<u32>) -> u32 {
    let word = bytes.get(field.range()).and_then(|b| b.try_into().ok());
    word.map_or(0, u32::from_ne_bytes)
}

/// Text up to its NUL.
pub(crate) fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}
