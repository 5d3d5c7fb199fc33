//! Whether the text around a loader is what was generated.

/// What the text of a skeleton is. A compiler sees all of it: conditions, macros, other
/// assignments, functions that run by themselves. Only a text that was generated says no more than
/// its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Text {
    /// What was read of it, generated anew, is this text, byte for byte.
    Canonical {
        /// The tool that writes it: `bpfseal 0.1.0`, `bpftool`.
        generator: String,
    },
    /// Somebody else has written some of it: edited, formatted, or with other line ends. Or it is
    /// by a version whose text is not known here.
    Other {
        /// The first line that differs, from 1.
        line: usize,
    },
}

impl Text {
    /// The text against what it should be.
    pub(crate) fn compared(text: &str, wanted: &str, generator: &str) -> Self {
        if text == wanted {
            return Self::Canonical {
                generator: generator.to_owned(),
            };
        }
        // Line ends count too; a text that ends early differs where it ends.
        let same = text
            .split('\n')
            .zip(wanted.split('\n'))
            .take_while(|(found, wanted)| found == wanted)
            .count();
        Self::Other { line: same + 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_difference_is_named() {
        let line = |text: &str| match Text::compared(text, "a\nb\n", "x") {
            Text::Canonical { .. } => 0,
            Text::Other { line } => line,
        };
        assert_eq!(line("a\nb\n"), 0);
        assert_eq!(line("a\nb"), 3);
        assert_eq!(line("a\r\nb\n"), 1);
        assert_eq!(line("a\nc\n"), 2);
        assert_eq!(line("a\nb\nc"), 3);
    }
}
