//! Bytes as C string literals, in the form that scripts scrape from bpftool's headers.

use std::fmt;

/// Longest line, the `\` at its end not counted.
const LINE: usize = 78;
/// Each byte as it is written, `\0` padded to the width of the others.
const WRITTEN: [[u8; 4]; 256] = {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut table = [*b"\\0  "; 256];
    let mut byte = 1;
    while byte < 256 {
        table[byte] = [b'\\', b'x', DIGITS[byte >> 4], DIGITS[byte & 15]];
        byte += 1;
    }
    table
};
/// Bytes that are collected before they are handed on.
const CHUNK: usize = 1024;

/// Writes `"\⏎…"`: `\0` for zero and `\xNN` for everything else, lines continued with `\`.
///
/// Most of the time that a header takes is spent here, so the loop has no branch that depends on
/// the data but that at the end of a line.
pub(super) fn push_literal(out: &mut impl fmt::Write, bytes: &[u8]) -> fmt::Result {
    let mut chunk = [0; CHUNK];
    let mut len = 0;
    let mut column = 0;
    out.write_str("\"\\\n")?;
    for &byte in bytes {
        let width = 2 + 2 * usize::from(byte != 0);
        column += width;
        if column > LINE {
            // Room for the end of this line, the whole next one, and the padding of its last byte.
            if len + LINE + 6 > CHUNK {
                put(out, &chunk[..len])?;
                len = 0;
            }
            chunk[len..len + 2].copy_from_slice(b"\\\n");
            len += 2;
            column = width;
        }
        chunk[len..len + 4].copy_from_slice(&WRITTEN[usize::from(byte)]);
        len += width;
    }
    put(out, &chunk[..len])?;
    out.write_str("\"")
}

/// Writes what is ASCII by its making.
fn put(out: &mut impl fmt::Write, ascii: &[u8]) -> fmt::Result {
    out.write_str(std::str::from_utf8(ascii).map_err(|_| fmt::Error)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_continued() {
        let mut out = String::new();
        push_literal(&mut out, &[0, 1, 0xab]).unwrap();
        assert_eq!(out, "\"\\\n\\0\\x01\\xab\"");
        out.clear();
        push_literal(&mut out, &[0; 40]).unwrap();
        let lines: Vec<_> = out.lines().collect();
        assert_eq!(lines, ["\"\\", &format!("{}\\", "\\0".repeat(39)), "\\0\""]);
    }

    #[test]
    fn chunks_do_not_show() {
        let bytes: Vec<u8> = (0..5000u32).map(|i| (i * i % 7) as u8 * 31).collect();
        let mut out = String::new();
        push_literal(&mut out, &bytes).unwrap();
        assert!(out.lines().all(|line| line.len() <= LINE + 1));
        let written: Vec<u8> = out
            .replace("\\\n", "")
            .trim_matches('"')
            .split('\\')
            .skip(1)
            .map(|byte| u8::from_str_radix(byte.trim_start_matches('x'), 16).unwrap())
            .collect();
        assert_eq!(written, bytes);
    }
}
