//! Passphrases, PINs and the bytes of key files: what no message may show.

use zeroize::Zeroizing;

/// A passphrase, a PIN, or the contents of a key file. Wiped when it goes; it has no `Display`, and
/// its `Debug` shows nothing of it.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes the bytes over: no other copy is made.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes, for those who need them.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// What is before the first line break: how passphrases and PINs stand in files.
    #[must_use]
    pub fn first_line(&self) -> Self {
        let line = self.0.split(|byte| *byte == b'\n').next();
        let line = line.unwrap_or_default();
        Self::new(line.strip_suffix(b"\r").unwrap_or(line).to_vec())
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::new(text.into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_it_is_shown() {
        let secret = Secret::from("hunter2".to_owned());
        assert_eq!(secret.expose(), b"hunter2");
        for text in [format!("{secret:?}"), format!("{:#?}", Some(&secret))] {
            assert!(!text.contains("hunter"), "{text}");
        }
    }

    #[test]
    fn the_first_line_counts() {
        for (text, line) in [
            ("a b\nc", "a b"),
            ("a\r\n", "a"),
            ("a", "a"),
            ("", ""),
            ("\n", ""),
        ] {
            let secret = Secret::from(text.to_owned());
            assert_eq!(secret.first_line().expose(), line.as_bytes());
        }
    }
}
