//! Bytes as C string literals, in the form that scripts scrape from bpftool's headers.

use std::fmt;

/// Longest line, the `\` at its end not counted.
const LINE: usize = 78;
/// Hexadecimal digits.
const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Writes `"\⏎…"`: `\0` for zero and `\xNN` for everything else, lines continued with `\`.
pub(super) fn push_literal(out: &mut impl fmt::Write, bytes: &[u8]) -> fmt::Result {
    let mut line = [0; LINE + 2];
    let mut len = 0;
    out.write_str("\"\\\n")?;
    for &byte in bytes {
        if len + if byte == 0 { 2 } else { 4 } > LINE {
            line[len..len + 2].copy_from_slice(b"\\\n");
            put(out, &line[..len + 2])?;
            len = 0;
        }
        if byte == 0 {
            line[len..len + 2].copy_from_slice(b"\\0");
            len += 2;
        } else {
            let high = DIGITS[usize::from(byte >> 4)];
            let low = DIGITS[usize::from(byte & 15)];
            line[len..len + 4].copy_from_slice(&[b'\\', b'x', high, low]);
            len += 4;
        }
    }
    put(out, &line[..len])?;
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
}
