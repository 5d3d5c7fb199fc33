//! Which bytes the kernel takes in names: of maps and programs, and in BTF.
//!
//! The kernel's table of characters is that of Latin-1 (`lib/ctype.c`): letters are not only those
//! of ASCII. Text in UTF-8 never passes nevertheless, because its continuation bytes are no letters.
//!
//! Sources: `bpf_obj_name_cpy` of `kernel/bpf/syscall.c`, `btf_name_valid_identifier` and
//! `btf_name_valid_section` of `kernel/bpf/btf.c`, of Linux 6.12 and 7.3.

use bpfseal_uapi::limits;

/// What is wrong with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameFault {
    /// It is empty.
    #[error("the name is empty")]
    Empty,
    /// A byte that names cannot have.
    #[error("the kernel does not take {} in this name", Shown(.0))]
    Byte(u8),
    /// It is too long.
    #[error("the name is longer than {0} bytes")]
    TooLong(usize),
}

/// A byte, as a character where it is one.
struct Shown<'a>(&'a u8);

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self.0 {
            byte @ b' '..=b'~' => write!(f, "`{}`", char::from(byte)),
            byte => write!(f, "the byte {byte:#04x}"),
        }
    }
}

/// `isalpha`.
fn is_letter(byte: u8) -> bool {
    // Of the upper half, the signs for multiplication and division are none.
    byte.is_ascii_alphabetic() || (byte >= 0xc0 && byte != 0xd7 && byte != 0xf7)
}

/// `isprint`.
fn is_printable(byte: u8) -> bool {
    matches!(byte, b' '..=b'~' | 0xa0..)
}

/// A letter, a digit (not as the first byte of an identifier), `_` or `.`.
fn is_in_names(byte: u8, first: bool) -> bool {
    is_letter(byte) || (!first && byte.is_ascii_digit()) || byte == b'_' || byte == b'.'
}

/// Checks the name of a map or program, without its NUL. An empty one is none, and is taken.
///
/// # Errors
/// What the kernel answers `EINVAL` to.
pub fn check_object_name(name: &[u8]) -> Result<(), NameFault> {
    if let Some(byte) = name.iter().find(|byte| !is_in_names(**byte, false)) {
        return Err(NameFault::Byte(*byte));
    }
    if name.len() >= limits::OBJ_NAME_LEN {
        return Err(NameFault::TooLong(limits::OBJ_NAME_LEN - 1));
    }
    Ok(())
}

/// Checks an identifier of BTF: the name of a type, member, parameter or enumerator.
///
/// # Errors
/// What the kernel calls an invalid name.
pub fn check_identifier(name: &[u8]) -> Result<(), NameFault> {
    let first = *name.first().ok_or(NameFault::Empty)?;
    if !is_in_names(first, true) {
        return Err(NameFault::Byte(first));
    }
    within(name, |byte| is_in_names(byte, false))
}

/// Checks the name of a section in BTF: anything that can be printed.
///
/// # Errors
/// As [`check_identifier`].
pub fn check_section(name: &[u8]) -> Result<(), NameFault> {
    if name.is_empty() {
        return Err(NameFault::Empty);
    }
    within(name, is_printable)
}

fn within(name: &[u8], takes: impl Fn(u8) -> bool) -> Result<(), NameFault> {
    let looked_at = &name[..name.len().min(limits::MAX_SYMBOL)];
    // The first byte of an identifier was looked at; it passes here too.
    if let Some(byte) = looked_at.iter().find(|byte| !takes(**byte)) {
        return Err(NameFault::Byte(*byte));
    }
    if name.len() > limits::MAX_SYMBOL {
        return Err(NameFault::TooLong(limits::MAX_SYMBOL));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_have_letters_digits_dots_and_underscores() {
        for name in ["", "a", "1st", "my_map.data", "fifteen_bytes_1", ".rodata"] {
            assert_eq!(check_object_name(name.as_bytes()), Ok(()), "{name}");
        }
        for (name, byte) in [
            ("my-map", b'-'),
            ("a b", b' '),
            ("Config<u8>", b'<'),
            ("a:b", b':'),
            ("größe", 0xb6),
        ] {
            let fault = check_object_name(name.as_bytes());
            assert_eq!(fault, Err(NameFault::Byte(byte)), "{name}");
        }
        let long = check_object_name(b"sixteen_bytes_16");
        assert_eq!(long, Err(NameFault::TooLong(15)));
    }

    #[test]
    fn identifiers_do_not_begin_with_a_digit() {
        assert_eq!(check_identifier(b"1st"), Err(NameFault::Byte(b'1')));
        assert_eq!(check_identifier(b"_1.st"), Ok(()));
        assert_eq!(check_identifier(b""), Err(NameFault::Empty));
        assert_eq!(check_identifier(&[0xe9]), Ok(()));
        assert_eq!(check_identifier(&[0xd7]), Err(NameFault::Byte(0xd7)));
        assert_eq!(check_identifier(&[b'a'; limits::MAX_SYMBOL]), Ok(()));
        let long = check_identifier(&[b'a'; limits::MAX_SYMBOL + 1]);
        assert_eq!(long, Err(NameFault::TooLong(limits::MAX_SYMBOL)));
    }

    #[test]
    fn sections_have_what_can_be_printed() {
        assert_eq!(check_section(b"?struct_ops/a b"), Ok(()));
        assert_eq!(check_section(b"a\tb"), Err(NameFault::Byte(b'\t')));
        assert_eq!(check_section(&[0x9f]), Err(NameFault::Byte(0x9f)));
    }

    #[test]
    fn faults_are_said_in_words() {
        let text = NameFault::Byte(b'<').to_string();
        assert_eq!(text, "the kernel does not take `<` in this name");
        let text = NameFault::Byte(9).to_string();
        assert_eq!(text, "the kernel does not take the byte 0x09 in this name");
    }
}
