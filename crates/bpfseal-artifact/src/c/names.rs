//! Names that C and C++ can have, and what those are called that they can not.

use std::fmt;

use crate::ident::{Names, clean, identifier, is_identifier};

/// Words that are no names in C (to C23), C++ (to C++23) or their GNU dialects, and macros that
/// the headers which a skeleton includes define without a leading underscore. Sorted.
const WORDS: [&str; 163] = [
    "NULL",
    "_Alignas",
    "_Alignof",
    "_Atomic",
    "_BitInt",
    "_Bool",
    "_Complex",
    "_Decimal128",
    "_Decimal32",
    "_Decimal64",
    "_Float128",
    "_Float128x",
    "_Float16",
    "_Float32",
    "_Float32x",
    "_Float64",
    "_Float64x",
    "_Generic",
    "_Imaginary",
    "_Noreturn",
    "_Pragma",
    "_Static_assert",
    "_Thread_local",
    "__FUNCTION__",
    "__PRETTY_FUNCTION__",
    "__alignof",
    "__asm",
    "__attribute",
    "__auto_type",
    "__builtin_offsetof",
    "__builtin_va_arg",
    "__complex",
    "__const",
    "__cplusplus",
    "__decltype",
    "__extension__",
    "__float128",
    "__float80",
    "__func__",
    "__has_include",
    "__imag",
    "__inline",
    "__int128",
    "__is_class",
    "__is_empty",
    "__is_enum",
    "__is_pod",
    "__is_same",
    "__is_trivial",
    "__is_union",
    "__null",
    "__real",
    "__restrict",
    "__seg_fs",
    "__seg_gs",
    "__signed",
    "__thread",
    "__typeof",
    "__underlying_type",
    "__volatile",
    "alignas",
    "alignof",
    "and",
    "and_eq",
    "asm",
    "auto",
    "bitand",
    "bitor",
    "bool",
    "break",
    "case",
    "catch",
    "char",
    "char16_t",
    "char32_t",
    "char8_t",
    "class",
    "co_await",
    "co_return",
    "co_yield",
    "compl",
    "concept",
    "const",
    "const_cast",
    "consteval",
    "constexpr",
    "constinit",
    "continue",
    "decltype",
    "default",
    "delete",
    "do",
    "double",
    "dynamic_cast",
    "else",
    "enum",
    "errno",
    "explicit",
    "export",
    "extern",
    "false",
    "float",
    "for",
    "friend",
    "goto",
    "i386",
    "if",
    "inline",
    "int",
    "linux",
    "long",
    "mutable",
    "namespace",
    "new",
    "noexcept",
    "not",
    "not_eq",
    "nullptr",
    "offsetof",
    "operator",
    "or",
    "or_eq",
    "private",
    "protected",
    "public",
    "register",
    "reinterpret_cast",
    "requires",
    "restrict",
    "return",
    "short",
    "signed",
    "sizeof",
    "static",
    "static_assert",
    "static_cast",
    "stderr",
    "stdin",
    "stdout",
    "struct",
    "switch",
    "template",
    "this",
    "thread_local",
    "throw",
    "true",
    "try",
    "typedef",
    "typeid",
    "typename",
    "typeof",
    "typeof_unqual",
    "union",
    "unix",
    "unsigned",
    "using",
    "virtual",
    "void",
    "volatile",
    "wchar_t",
    "while",
    "xor",
    "xor_eq",
];

/// Whether C and C++ take a name: an identifier that is none of their words. Names between double
/// underscores are the compiler's.
pub(super) fn is_name(text: &str) -> bool {
    let predefined =
        text.len() > 4 && text.starts_with("__") && text.ends_with("__") && !text.ends_with("___");
    is_identifier(text) && !predefined && WORDS.binary_search(&text).is_err()
}

/// A name as C and C++ take it: other characters become `_`, and what is no name then gets one `_`
/// more.
pub(super) fn c_name(name: &str) -> String {
    let name = identifier(name);
    if is_name(&name) {
        name
    } else if name.starts_with(|c: char| c.is_ascii_digit()) {
        format!("_{name}")
    } else {
        format!("{name}_")
    }
}

/// Most renamed things that a header lists.
const MAX_RENAMED: usize = 1000;

/// Names of the object that are others in a header: those that are clean for a comment, and what
/// they became. In the order of the header, each once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Renamed(Vec<(String, String)>);

/// How the list begins and ends.
const FIRST: &str = "/*\n * Names that C or C++ can not have, or that came twice, are changed:\n";
const BETWEEN: &str = "` is ";
const LAST: &str = " */\n";

impl Renamed {
    /// A name that is free in its scope, for one of the object's.
    pub(super) fn name(&mut self, raw: &str, scope: &mut Names) -> String {
        let name = scope.unique(c_name(raw));
        self.note(raw, &name);
        name
    }

    /// Notes that a name of the object is another one in the header, if it is.
    pub(super) fn note(&mut self, raw: &str, name: &str) {
        let pair = (clean(raw), name.to_owned());
        if raw != name && !raw.is_empty() && self.0.len() < MAX_RENAMED && !self.0.contains(&pair) {
            self.0.push(pair);
        }
    }

    /// What the object calls the thing that has this name in the header.
    pub(super) fn original(&self, name: &str) -> Option<&str> {
        let mut pairs = self.0.iter();
        pairs.find_map(|(raw, known)| (known == name).then_some(&**raw))
    }

    /// Reads the list of a header. Lines that are not of its form end it; whoever writes the
    /// header anew will see them.
    pub(super) fn read(text: &str) -> Self {
        let mut all = Self::default();
        let Some(start) = text.find(FIRST) else {
            return all;
        };
        for line in text[start + FIRST.len()..].lines().take(MAX_RENAMED) {
            let Some((raw, name)) = line
                .strip_prefix(" *   `")
                .and_then(|rest| rest.split_once(BETWEEN))
            else {
                break;
            };
            if clean(raw) != raw || !is_name(name) {
                break;
            }
            all.0.push((raw.to_owned(), name.to_owned()));
        }
        all
    }
}

impl fmt::Display for Renamed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        out.write_str(FIRST)?;
        for (raw, name) in &self.0 {
            writeln!(out, " *   `{raw}{BETWEEN}{name}")?;
        }
        out.write_str(LAST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_sorted_and_changed() {
        assert!(WORDS.is_sorted());
        for word in WORDS {
            assert!(!is_name(word), "{word}");
            assert!(is_name(&c_name(word)), "{word}");
        }
        for (raw, expect) in [
            ("class", "class_"),
            ("9p", "_9p"),
            ("", "unnamed"),
            ("__LINE__", "__LINE___"),
            ("é", "__"),
            ("my-map", "my_map"),
            ("__pad0", "__pad0"),
            ("plain", "plain"),
        ] {
            assert_eq!(c_name(raw), expect);
        }
    }

    #[test]
    fn the_list_is_read_as_it_is_written() {
        let mut renamed = Renamed::default();
        let mut scope = Names::default();
        assert_eq!(renamed.name("new", &mut scope), "new_");
        assert_eq!(renamed.name("new_", &mut scope), "new__2");
        assert_eq!(renamed.name("a*/\n", &mut scope), "a___");
        assert_eq!(renamed.name("fine", &mut scope), "fine");
        let text = renamed.to_string();
        assert_eq!(text.matches("*/").count(), 1);
        assert_eq!(Renamed::read(&format!("x\n{text}y")), renamed);
        assert_eq!(renamed.original("new_"), Some("new"));
        assert_eq!(Renamed::read("").to_string(), "");
    }
}
