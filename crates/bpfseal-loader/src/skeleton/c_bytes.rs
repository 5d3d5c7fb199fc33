//! Bytes as C string literals, in the form that scripts scrape from bpftool's headers.

/// Longest line, the `\` at its end not counted.
const LINE: usize = 78;
const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Appends `"\⏎…"`: `\0` for zero and `\xNN` for everything else, lines continued with `\`.
pub(super) fn push_literal(out: &mut String, bytes: &[u8]) {
    // A line of zeroes is the densest: two characters a byte.
    out.reserve(bytes.len() * 3 + 8);
    out.push_str("\"\\\n");
    let mut column = 0;
    for &byte in bytes {
        let width = if byte == 0 { 2 } else { 4 };
        column += width;
        if column > LINE {
            out.push_str("\\\n");
            column = width;
        }
        if byte == 0 {
            out.push_str("\\0");
        } else {
            out.push_str("\\x");
            out.push(char::from(DIGITS[usize::from(byte >> 4)]));
            out.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_continued() {
        let mut out = String::new();
        push_literal(&mut out, &[0, 1, 0xab]);
        assert_eq!(out, "\"\\\n\\0\\x01\\xab\"");
        out.clear();
        push_literal(&mut out, &[0; 40]);
        let lines: Vec<_> = out.lines().collect();
        assert_eq!(lines, ["\"\\", &format!("{}\\", "\\0".repeat(39)), "\\0\""]);
    }
}
