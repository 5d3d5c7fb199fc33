//! Text on its way out: the one place where it leaves the command.
//!
//! Names come from files that anybody may have written. A terminal obeys some characters, hides
//! others, and shows text after a bidirectional control in another order. None of them is printed:
//! [`visible`] and [`one_line`] write them as `\u{…}`, and everything that is printed goes through
//! one of them, whatever a verb did with it before.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::Write as _;

/// Characters that are not printed as they are, besides control characters (C0, DEL and C1):
/// those that Unicode shows as nothing, and those that change the order or the lines of a text.
const HIDDEN: [std::ops::RangeInclusive<char>; 20] = [
    '\u{ad}'..='\u{ad}',
    '\u{34f}'..='\u{34f}',
    '\u{61c}'..='\u{61c}',
    '\u{115f}'..='\u{1160}',
    '\u{17b4}'..='\u{17b5}',
    '\u{180b}'..='\u{180f}',
    '\u{200b}'..='\u{200f}',
    '\u{2028}'..='\u{202e}',
    '\u{2060}'..='\u{206f}',
    '\u{2800}'..='\u{2800}',
    '\u{3164}'..='\u{3164}',
    '\u{e000}'..='\u{f8ff}',
    '\u{fe00}'..='\u{fe0f}',
    '\u{feff}'..='\u{feff}',
    '\u{ffa0}'..='\u{ffa0}',
    '\u{fff0}'..='\u{fffb}',
    '\u{1bca0}'..='\u{1bca3}',
    '\u{1d173}'..='\u{1d17a}',
    '\u{e0000}'..='\u{e0fff}',
    '\u{f0000}'..='\u{10ffff}',
];

/// Whether a character is written as an escape.
fn is_hidden(c: char) -> bool {
    !c.is_ascii() && HIDDEN.iter().any(|range| range.contains(&c)) || c.is_control()
}

/// Text of several lines, or code, safe for a terminal.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    escape(text, |c| is_hidden(c) && c != '\n' && c != '\t')
}

/// Text that has to stay on its line: a line break in it is written as `\n`.
pub(crate) fn one_line(text: &str) -> Cow<'_, str> {
    escape(text, is_hidden)
}

fn escape(text: &str, hidden: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&hidden) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            c if !hidden(c) => out.push(c),
            '\n' | '\r' | '\t' => out.extend(c.escape_default()),
            c => out.extend(c.escape_unicode()),
        }
    }
    Cow::Owned(out)
}

/// JSON with the same characters escaped in the way of JSON. Outside of strings it has line breaks
/// only, and inside of them none.
pub(crate) fn json(text: String) -> String {
    let hidden = |c: char| is_hidden(c) && c != '\n';
    if !text.contains(hidden) {
        return text;
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if !hidden(c) {
            out.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            let _ = write!(out, "\\u{unit:04x}");
        }
    }
    out
}

/// Prints lines on standard error. There is nobody to tell if that fails.
pub(crate) fn say_text(text: &str) {
    let text = visible(text);
    let mut out = std::io::stderr().lock();
    let _ = out.write_all(text.as_bytes());
    let _ = out.write_all(b"\n");
}

/// Prints a formatted line on standard error.
macro_rules! say {
    ($($argument:tt)*) => {
        $crate::terminal::say_text(&format!($($argument)*))
    };
}
pub(crate) use say;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_written_out() {
        for (text, lines, line) in [
            ("plain, ünïcode, 漢字 🦀", None, None),
            ("a\n\tb", None, Some("a\\n\\tb")),
            ("\x1b[31mred", Some("\\u{1b}[31mred"), None),
            ("\x07\x08\x7f\r", Some("\\u{7}\\u{8}\\u{7f}\\r"), None),
            ("c1: \u{9b}31m", Some("c1: \\u{9b}31m"), None),
            ("\u{202e}cba\u{2066}", Some("\\u{202e}cba\\u{2066}"), None),
            ("a\u{200b}b\u{feff}", Some("a\\u{200b}b\\u{feff}"), None),
            ("a\u{2028}b", Some("a\\u{2028}b"), None),
            ("\u{e0041}", Some("\\u{e0041}"), None),
        ] {
            let lines = lines.unwrap_or(text);
            assert_eq!(visible(text), lines);
            assert_eq!(one_line(text), line.unwrap_or(lines));
        }
    }

    #[test]
    fn json_stays_what_it_was() {
        let hostile = "\x1b\u{7f}\u{9b}\u{202e}\n\u{e0041}\"\\";
        let text = serde_json::to_string_pretty(&[hostile]).unwrap();
        let safe = json(text);
        assert_eq!(visible(&safe), safe);
        assert!(safe.is_ascii(), "{safe}");
        let read: Vec<String> = serde_json::from_str(&safe).unwrap();
        assert_eq!(read, [hostile]);
    }

    #[test]
    fn the_table_is_sorted() {
        for two in HIDDEN.windows(2) {
            assert!(two[0].end() < two[1].start(), "{two:?}");
        }
    }
}
