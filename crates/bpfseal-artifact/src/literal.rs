//! Bytes as string literals of C and Rust, which both languages read alike: written in the form
//! that scripts scrape from bpftool's headers, and read in every form that C has.

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
pub(crate) fn push_literal(out: &mut impl fmt::Write, bytes: &[u8]) -> fmt::Result {
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

/// A fault of a literal, or of what is around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LiteralError {
    /// Line of the text, counted from 1.
    pub(crate) line: usize,
    pub(crate) what: &'static str,
}

/// Reads literals from a text.
pub(crate) struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    /// Begins at an offset of the text.
    pub(crate) fn new(text: &'a str, at: usize) -> Self {
        Self {
            bytes: text.as_bytes(),
            at,
        }
    }

    fn fault(&self, what: &'static str) -> LiteralError {
        let seen = &self.bytes[..self.at.min(self.bytes.len())];
        LiteralError {
            line: 1 + seen.iter().filter(|b| **b == b'\n').count(),
            what,
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn take(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    /// Skips white space and line continuations.
    fn skip_space(&mut self) {
        while let Some(byte) = self.peek() {
            if byte.is_ascii_whitespace() || byte == b'\\' {
                self.at += 1;
            } else {
                break;
            }
        }
    }

    /// `[…] attributes = initialiser`: the bytes of the array.
    pub(crate) fn initialiser(&mut self) -> Result<Vec<u8>, LiteralError> {
        loop {
            match self.take() {
                Some(b'=') => break,
                Some(b';' | b'"') | None => return Err(self.fault("it has no initialiser")),
                Some(_) => {}
            }
        }
        self.skip_space();
        match self.peek() {
            Some(b'"') => self.strings(),
            Some(b'{') => self.list(),
            _ => Err(self.fault("the initialiser is neither a string nor a list")),
        }
    }

    /// One or more string literals. The NUL that C adds is not counted.
    fn strings(&mut self) -> Result<Vec<u8>, LiteralError> {
        let mut out = Vec::new();
        loop {
            self.skip_space();
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    self.string(&mut out)?;
                }
                Some(b';') => return Ok(out),
                _ => return Err(self.fault("the string is not followed by `;`")),
            }
        }
    }

    /// A string that begins here; `None` when something else does.
    pub(crate) fn quoted(&mut self) -> Result<Option<Vec<u8>>, LiteralError> {
        if self.peek() != Some(b'"') {
            return Ok(None);
        }
        self.at += 1;
        let mut out = Vec::new();
        self.string(&mut out)?;
        Ok(Some(out))
    }

    /// The rest of a string, behind its opening quote.
    fn string(&mut self, out: &mut Vec<u8>) -> Result<(), LiteralError> {
        loop {
            match self.take() {
                Some(b'"') => return Ok(()),
                Some(b'\\') => {
                    if let Some(byte) = self.escape()? {
                        out.push(byte);
                    }
                }
                Some(b'\n') | None => return Err(self.fault("the string is not closed")),
                Some(byte) => out.push(byte),
            }
        }
    }

    /// The byte of an escape; `None` for a continued line.
    fn escape(&mut self) -> Result<Option<u8>, LiteralError> {
        let first = self
            .take()
            .ok_or_else(|| self.fault("the string ends in an escape"))?;
        Ok(Some(match first {
            b'\n' => return Ok(None),
            b'\r' if self.peek() == Some(b'\n') => {
                self.at += 1;
                return Ok(None);
            }
            b'x' => self.hex_escape()?,
            b'0'..=b'7' => self.octal_escape(first)?,
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            b'a' => 7,
            b'b' => 8,
            b'f' => 12,
            b'v' => 11,
            b'\\' | b'"' | b'\'' | b'?' => first,
            _ => return Err(self.fault("the string has an unknown escape")),
        }))
    }

    fn hex_escape(&mut self) -> Result<u8, LiteralError> {
        let start = self.at;
        let mut value: u32 = 0;
        while let Some(digit) = self.peek().and_then(|b| char::from(b).to_digit(16)) {
            self.at += 1;
            value = value * 16 + digit;
            if value > 0xff {
                return Err(self.fault("an escape does not fit a byte"));
            }
        }
        if self.at == start {
            return Err(self.fault("a `\\x` has no digits"));
        }
        // Held below 256 above.
        Ok(value as u8)
    }

    fn octal_escape(&mut self, first: u8) -> Result<u8, LiteralError> {
        let mut value = u32::from(first - b'0');
        for _ in 0..2 {
            match self.peek() {
                Some(digit @ b'0'..=b'7') => {
                    self.at += 1;
                    value = value * 8 + u32::from(digit - b'0');
                }
                _ => break,
            }
        }
        u8::try_from(value).map_err(|_| self.fault("an escape does not fit a byte"))
    }

    /// `{ 0x01, 2, … }`.
    fn list(&mut self) -> Result<Vec<u8>, LiteralError> {
        self.at += 1;
        let mut out = Vec::new();
        loop {
            self.skip_space();
            match self.peek() {
                Some(b'}') => return Ok(out),
                Some(b',') => self.at += 1,
                Some(b'0'..=b'9') => {
                    let start = self.at;
                    while self.peek().is_some_and(|b| b.is_ascii_alphanumeric()) {
                        self.at += 1;
                    }
                    let word = std::str::from_utf8(&self.bytes[start..self.at]).unwrap_or("");
                    let value = match word.strip_prefix("0x").or(word.strip_prefix("0X")) {
                        Some(digits) => u8::from_str_radix(digits, 16),
                        None => word.parse(),
                    };
                    out.push(
                        value.map_err(|_| self.fault("the list has something else than bytes"))?,
                    );
                }
                _ => return Err(self.fault("the list has something else than bytes")),
            }
        }
    }
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

    #[track_caller]
    fn check(text: &str, expect: &[u8]) {
        assert_eq!(Scanner::new(text, 0).initialiser().unwrap(), expect);
    }

    #[test]
    fn literals_and_lists_are_read() {
        check(
            "[] = \"\\\n\\x01\\0\\x7fG\\\n\\101\";",
            &[1, 0, 0x7f, b'G', b'A'],
        );
        check("[3] = \"a\" \"b\";", b"ab");
        check(
            "[] __attribute__((__aligned__(8))) = { 0x01, 2, 0xff };",
            &[1, 2, 255],
        );
    }

    #[test]
    fn what_is_written_is_read() {
        let bytes: Vec<u8> = (0..5000u32).map(|i| (i * i % 7) as u8 * 31).collect();
        let mut out = String::new();
        push_literal(&mut out, &bytes).unwrap();
        assert_eq!(Scanner::new(&out, 0).quoted().unwrap().unwrap(), bytes);
    }

    #[test]
    fn faults_name_the_line() {
        let fault = |text| Scanner::new(text, 0).initialiser().unwrap_err();
        assert_eq!(fault("\n\n[] = \"\\q\";").line, 3);
        fault("[] = \"abc");
        fault("[];");
        fault("[] = { 256 };");
    }
}
