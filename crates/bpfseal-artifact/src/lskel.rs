//! Reading light skeletons, C headers (`.lskel.h`, bpftool's or ours) and Rust modules (`.rs`,
//! ours): the bytes by the names of their arrays, and what the loader installs by the names in the
//! text.
//!
//! No parser of C or Rust: looks for `opts_data[…] = …`, `opts_insn`, `opts_sig` and
//! `opts_excl_hash` and reads the string literals, or the list in braces, behind each.

use std::borrow::Cow;

use bpfseal_seal::{Scheme, Seal};

use crate::artifact::{Artifact, LoaderForm};
use crate::interface::{AutoAttach, Interface, ProgramInterface};

/// A fault of a header.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields are what the message names")]
pub enum LskelError {
    /// Not text.
    #[error("the header is not text")]
    NotText,
    /// Text of something else.
    #[error("this is neither a bundle nor a light skeleton (`gen skeleton -L`)")]
    SomethingElse,
    /// An array is missing.
    #[error("the light skeleton has no array `{array}`")]
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

/// Reads a C header.
///
/// # Errors
/// [`LskelError`] that names the array and the line.
pub(crate) fn parse_c(bytes: &[u8]) -> Result<Artifact, LskelError> {
    let text = std::str::from_utf8(bytes).map_err(|_| LskelError::NotText)?;
    if !text.contains("opts_") {
        return Err(LskelError::SomethingElse);
    }
    let required = |array| array_of(text, array)?.ok_or(LskelError::Missing { array });
    let metadata = required("opts_data")?;
    let instructions = whole(required("opts_insn")?)?;
    let form = match (
        array_of(text, "opts_sig")?,
        array_of(text, "opts_excl_hash")?,
    ) {
        (None, None) => LoaderForm::Unsigned { instructions },
        (Some(signature), Some(hash)) => {
            let size = hash.len();
            let excl_prog_hash = hash.try_into().map_err(|_| LskelError::HashSize { size })?;
            LoaderForm::Sealed {
                instructions,
                seal: Seal {
                    scheme: Scheme::LoadTime,
                    signature: Cow::Owned(signature),
                    excl_prog_hash,
                },
            }
        }
        (Some(_), None) => {
            return Err(LskelError::HalfSealed {
                found: "opts_sig",
                missing: "opts_excl_hash",
            });
        }
        (None, Some(_)) => {
            return Err(LskelError::HalfSealed {
                found: "opts_excl_hash",
                missing: "opts_sig",
            });
        }
    };
    Ok(Artifact {
        interface: c_interface(text),
        metadata: Cow::Owned(metadata),
        forms: Cow::Owned(vec![form]),
    })
}

/// Whether a text is a Rust module of ours.
pub(crate) fn is_rust(bytes: &[u8]) -> bool {
    const MARK: &[u8] = b"\nuse ::bpfseal::skeleton as rt;\n";
    bytes
        .get(..4096.min(bytes.len()))
        .is_some_and(|start| start.windows(MARK.len()).any(|part| part == MARK))
}

/// Reads a Rust module.
///
/// # Errors
/// [`LskelError`] that names the array and the line.
pub(crate) fn parse_rust(bytes: &[u8]) -> Result<Artifact, LskelError> {
    let text = std::str::from_utf8(bytes).map_err(|_| LskelError::NotText)?;
    let metadata = static_of(text, "METADATA")?.ok_or(LskelError::Missing { array: "METADATA" })?;
    let mut forms = Vec::new();
    for scheme in Scheme::ALL {
        let (instructions, signature) = scheme.constants();
        let (Some(instructions), Some(signature)) =
            (static_of(text, instructions)?, static_of(text, signature)?)
        else {
            continue;
        };
        forms.push(LoaderForm::Sealed {
            seal: Seal {
                scheme,
                signature: Cow::Owned(signature),
                // The text has it too, but it says nothing that the instructions do not.
                excl_prog_hash: bpfseal_seal::excl_prog_hash(&instructions),
            },
            instructions: whole(instructions)?,
        });
    }
    if let Some(instructions) = static_of(text, "UNSIGNED_INSTRUCTIONS")? {
        let instructions = whole(instructions)?;
        forms.push(LoaderForm::Unsigned { instructions });
    }
    if forms.is_empty() {
        return Err(LskelError::Missing {
            array: "…_INSTRUCTIONS",
        });
    }
    Ok(Artifact {
        interface: rust_interface(text),
        metadata: Cow::Owned(metadata),
        forms: Cow::Owned(forms),
    })
}

/// Instructions that are whole.
fn whole(instructions: Vec<u8>) -> Result<Cow<'static, [u8]>, LskelError> {
    let size = instructions.len();
    if size == 0 || !size.is_multiple_of(8) {
        return Err(LskelError::InsnSize { size });
    }
    Ok(Cow::Owned(instructions))
}

/// Names that a header declares, in the order of the loader's context: `struct bpf_map_desc NAME;`
/// and `struct bpf_prog_desc NAME;`; and how its functions attach programs.
fn c_interface(text: &str) -> Interface {
    let mut interface = Interface::default();
    let mut current = None;
    for line in text.lines() {
        let start = line;
        let line = line.trim();
        let name = |prefix| {
            line.strip_prefix(prefix)
                .and_then(|rest: &str| rest.strip_suffix(';'))
        };
        if let Some(map) = name("struct bpf_map_desc ") {
            interface.maps.to_mut().push(Cow::Owned(map.to_owned()));
        } else if let Some(program) = name("struct bpf_prog_desc ") {
            interface.programs.to_mut().push(ProgramInterface {
                name: Cow::Owned(program.to_owned()),
                autoload: None,
                attach: AutoAttach::Manual,
                attach_type: None,
            });
        } else if let (true, Some(object)) = (
            interface.name.is_empty(),
            start
                .strip_prefix("struct ")
                .and_then(|rest| rest.strip_suffix(" {")),
        ) {
            interface.name = Cow::Owned(object.to_owned());
        } else if let Some((function, _)) = line.split_once("__attach(struct ") {
            let program = function
                .strip_prefix(&*interface.name)
                .and_then(|rest| rest.strip_prefix("__"));
            current = interface
                .programs
                .iter()
                .position(|known| Some(&*known.name) == program);
        } else if let (Some(index), Some(attach)) = (current, c_attach(line)) {
            interface.programs.to_mut()[index].attach = attach;
        }
    }
    interface
}

/// How a line of a header attaches the program that it is about.
fn c_attach(line: &str) -> Option<AutoAttach> {
    if line.contains("= skel_link_create(") {
        return Some(AutoAttach::Iterator);
    }
    let (_, argument) = line.split_once("= skel_raw_tracepoint_open(")?;
    if argument.starts_with("NULL") {
        return Some(AutoAttach::Target);
    }
    let mut scanner = Scanner {
        bytes: argument.as_bytes(),
        at: 0,
        array: "",
    };
    let mut target = Vec::new();
    (scanner.take() == Some(b'"') && scanner.string(&mut target).is_ok())
        .then(|| String::from_utf8_lossy(&target).into_owned())
        .map(|target| AutoAttach::RawTracepoint(Cow::Owned(target)))
}

/// The same, of a Rust module: one line a thing.
fn rust_interface(text: &str) -> Interface {
    let mut interface = Interface::default();
    let lines = text
        .lines()
        .skip_while(|line| !line.starts_with("static ARTIFACT:"))
        .take_while(|line| !line.starts_with("};"))
        .map(str::trim);
    let mut in_maps = false;
    let mut in_programs = false;
    for line in lines {
        let text = || {
            let (_, rest) = line.split_once("Borrowed(\"")?;
            let (text, _) = rest.split_once("\")")?;
            Some(Cow::Owned(text.to_owned()))
        };
        if line.starts_with("maps:") {
            in_maps = true;
        } else if line.starts_with("programs:") {
            in_programs = true;
        } else if line.starts_with("])") {
            (in_maps, in_programs) = (false, false);
        } else if in_maps {
            interface.maps.to_mut().extend(text());
        } else if line.starts_with("name:") && !in_programs {
            interface.name = text().unwrap_or_default();
        } else if line.starts_with("name:") {
            interface.programs.to_mut().push(ProgramInterface {
                name: text().unwrap_or_default(),
                autoload: None,
                attach: AutoAttach::Manual,
                attach_type: None,
            });
        } else if let Some(program) = interface.programs.to_mut().last_mut() {
            if let Some(value) = line.strip_prefix("autoload: ") {
                program.autoload = match value {
                    "Some(true)," => Some(true),
                    "Some(false)," => Some(false),
                    _ => None,
                };
            } else if let Some(value) = line.strip_prefix("attach_type: Some(") {
                program.attach_type = value.trim_end_matches("),").parse().ok();
            } else if let Some(value) = line.strip_prefix("attach: rt::AutoAttach::") {
                program.attach = match value {
                    "Iterator," => AutoAttach::Iterator,
                    "Target," => AutoAttach::Target,
                    _ => text().map_or(AutoAttach::Manual, AutoAttach::RawTracepoint),
                };
            }
        }
    }
    interface
}

/// The bytes of a static of a Rust module; `None` when the text does not define it.
fn static_of(text: &str, array: &'static str) -> Result<Option<Vec<u8>>, LskelError> {
    let definition = format!("\nstatic {array}: &[u8] = b\"");
    let Some(start) = text.find(&definition) else {
        return Ok(None);
    };
    let mut scanner = Scanner {
        bytes: text.as_bytes(),
        at: start + definition.len(),
        array,
    };
    let mut out = Vec::new();
    scanner.string(&mut out)?;
    Ok(Some(out))
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
        let header = "struct x {\n\tstruct {\n\t\tstruct bpf_map_desc b;\n\t\tstruct bpf_map_desc a;\n\t} maps;\n\tstruct {\n\t\tstruct bpf_prog_desc run;\n\t\tstruct bpf_prog_desc walk;\n\t} progs;\n};\nx__run__attach(struct x *skel)\n{\n\tint fd = skel_raw_tracepoint_open(\"sys\\137enter\", f);\n}\nx__walk__attach(struct x *skel)\n\tint fd = skel_raw_tracepoint_open(NULL, f);\n";
        let interface = c_interface(header);
        assert_eq!(interface.name, "x");
        assert_eq!(*interface.maps, ["b", "a"]);
        let programs: Vec<_> = interface
            .programs
            .iter()
            .map(|p| (&*p.name, p.attach.clone()))
            .collect();
        let first = AutoAttach::RawTracepoint("sys_enter".into());
        assert_eq!(programs, [("run", first), ("walk", AutoAttach::Target)]);
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
