//! Reading a C light skeleton (`.lskel.h`), bpftool's or ours: the four arrays by name.
//!
//! Not a C parser: looks for `opts_data[…] = …`, `opts_insn`, `opts_sig` and `opts_excl_hash`
//! and reads the string literals, or the list in braces, behind each.

use crate::seal::{Scheme, Seal, SealedLoader};

/// A fault of a header.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields are what the message names")]
pub enum LskelError {
    /// Not text.
    #[error("the header is not text")]
    NotText,
    /// An array is missing.
    #[error("the header has no array `{array}`; is it a light skeleton (`gen skeleton -L`)?")]
    Missing { array: &'static str },
    /// An array can not be read.
    #[error("line {line}: array `{array}`: {what}")]
    Array {
        line: usize,
        array: &'static str,
        what: &'static str,
    },
    /// Only one of signature and digest.
    #[error("the header has `{found}` but no `{missing}`")]
    HalfSealed {
        found: &'static str,
        missing: &'static str,
    },
    /// A digest of another length.
    #[error("array `opts_excl_hash` has {size} bytes, expected 32")]
    HashSize { size: usize },
    /// Instructions that are not whole.
    #[error("array `opts_insn` has {size} bytes, which are no whole instructions of 8 bytes")]
    InsnSize { size: usize },
}

/// What a light skeleton carries. Exhaustive: it is signed or it is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LightSkeleton {
    /// With a signature for load-time verification.
    Signed(SealedLoader),
    /// Without.
    Unsigned {
        /// The loader's instructions.
        instructions: Vec<u8>,
        /// The value of its metadata map.
        metadata: Vec<u8>,
    },
}

impl LightSkeleton {
    /// Reads a header.
    ///
    /// # Errors
    /// [`LskelError`] that names the array and the line.
    pub fn parse(bytes: &[u8]) -> Result<Self, LskelError> {
        let text = std::str::from_utf8(bytes).map_err(|_| LskelError::NotText)?;
        let required = |array| array_of(text, array)?.ok_or(LskelError::Missing { array });
        let metadata = required("opts_data")?;
        let instructions = required("opts_insn")?;
        if instructions.is_empty() || instructions.len() % 8 != 0 {
            return Err(LskelError::InsnSize {
                size: instructions.len(),
            });
        }
        match (
            array_of(text, "opts_sig")?,
            array_of(text, "opts_excl_hash")?,
        ) {
            (None, None) => Ok(Self::Unsigned {
                instructions,
                metadata,
            }),
            (Some(signature), Some(hash)) => {
                let size = hash.len();
                let excl_prog_hash = hash.try_into().map_err(|_| LskelError::HashSize { size })?;
                Ok(Self::Signed(SealedLoader {
                    instructions,
                    metadata,
                    seal: Seal {
                        scheme: Scheme::LoadTime,
                        signature,
                        excl_prog_hash,
                    },
                }))
            }
            (Some(_), None) => Err(LskelError::HalfSealed {
                found: "opts_sig",
                missing: "opts_excl_hash",
            }),
            (None, Some(_)) => Err(LskelError::HalfSealed {
                found: "opts_excl_hash",
                missing: "opts_sig",
            }),
        }
    }
}

/// Names that a light skeleton declares, in the order of the loader's context.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SkeletonNames {
    /// Maps.
    pub maps: Vec<String>,
    /// Programs, those that are not loaded by default included.
    pub programs: Vec<String>,
}

impl SkeletonNames {
    /// Reads them off a header: `struct bpf_map_desc NAME;` and `struct bpf_prog_desc NAME;`.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let mut names = Self::default();
        for line in text.lines() {
            let line = line.trim();
            let name = |prefix| {
                line.strip_prefix(prefix)
                    .and_then(|rest: &str| rest.strip_suffix(';'))
            };
            if let Some(map) = name("struct bpf_map_desc ") {
                names.maps.push(map.to_owned());
            } else if let Some(program) = name("struct bpf_prog_desc ") {
                names.programs.push(program.to_owned());
            }
        }
        names
    }
}

/// The bytes of an array; `None` when the text does not define it.
fn array_of(text: &str, array: &'static str) -> Result<Option<Vec<u8>>, LskelError> {
    let Some(definition) = find_definition(text, array) else {
        return Ok(None);
    };
    let mut scanner = Scanner {
        bytes: text.as_bytes(),
        at: definition,
        array,
    };
    scanner.initialiser().map(Some)
}

/// The offset behind the name of an array that is defined, not merely used: `name[`.
fn find_definition(text: &str, array: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    text.match_indices(array).find_map(|(start, _)| {
        let end = start + array.len();
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        let own = start == 0 || !word(bytes[start - 1]);
        (own && bytes.get(end) == Some(&b'[')).then_some(end)
    })
}

struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    array: &'static str,
}

impl Scanner<'_> {
    fn fault(&self, what: &'static str) -> LskelError {
        let seen = &self.bytes[..self.at.min(self.bytes.len())];
        LskelError::Array {
            line: 1 + seen.iter().filter(|b| **b == b'\n').count(),
            array: self.array,
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

    /// `[…] attributes = initialiser`.
    fn initialiser(&mut self) -> Result<Vec<u8>, LskelError> {
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
    fn strings(&mut self) -> Result<Vec<u8>, LskelError> {
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

    fn string(&mut self, out: &mut Vec<u8>) -> Result<(), LskelError> {
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
    fn escape(&mut self) -> Result<Option<u8>, LskelError> {
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

    fn hex_escape(&mut self) -> Result<u8, LskelError> {
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

    fn octal_escape(&mut self, first: u8) -> Result<u8, LskelError> {
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
    fn list(&mut self) -> Result<Vec<u8>, LskelError> {
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

    #[track_caller]
    fn check(text: &str, expect: &[u8]) {
        assert_eq!(array_of(text, "opts_sig").unwrap().unwrap(), expect);
    }

    #[test]
    fn literals_and_lists() {
        check(
            "opts_sig[] = \"\\\n\\x01\\0\\x7fG\\\n\\101\";",
            &[1, 0, 0x7f, b'G', b'A'],
        );
        check("x = opts_sig; char opts_sig[3] = \"a\" \"b\";", b"ab");
        check(
            "opts_sig[] __attribute__((__aligned__(8))) = { 0x01, 2, 0xff };",
            &[1, 2, 255],
        );
    }

    #[test]
    fn names_are_in_order() {
        let header = "struct x {\n\tstruct {\n\t\tstruct bpf_map_desc b;\n\t\tstruct bpf_map_desc a;\n\t} maps;\n\tstruct {\n\t\tstruct bpf_prog_desc run;\n\t} progs;\n";
        let names = SkeletonNames::parse(header.as_bytes());
        assert_eq!(names.maps, ["b", "a"]);
        assert_eq!(names.programs, ["run"]);
    }

    #[test]
    fn faults_name_the_line() {
        let error = array_of("\n\nopts_sig[] = \"\\q\";", "opts_sig").unwrap_err();
        assert!(error.to_string().starts_with("line 3:"), "{error}");
        assert!(array_of("opts_sig[] = \"abc", "opts_sig").is_err());
        assert!(array_of("opts_sig[];", "opts_sig").is_err());
        assert!(array_of("opts_sig[] = { 256 };", "opts_sig").is_err());
        assert!(matches!(array_of("opts_signature", "opts_sig"), Ok(None)));
    }
}
