//! PKCS#11 URIs (RFC 7512): which token, which object, which module, where the PIN is.

use std::path::PathBuf;

bpfseal_object::debug_as_chain!(UriError);

/// Scheme of a URI.
const SCHEME: &str = "pkcs11:";

/// Which key of which token is meant, and where the PIN is. The PIN itself is never in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenUri {
    pub(super) token: Option<String>,
    pub(super) serial: Option<String>,
    pub(super) manufacturer: Option<String>,
    pub(super) model: Option<String>,
    pub(super) slot_id: Option<u64>,
    pub(super) object: Option<String>,
    pub(super) id: Option<Vec<u8>>,
    pub(super) pin_source: Option<PathBuf>,
    pub(super) module_path: Option<PathBuf>,
}

/// What is wrong with a PKCS#11 URI. Values are not repeated: one may be a PIN.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UriError {
    /// Another scheme.
    #[error("it does not begin with `pkcs11:`")]
    Scheme,
    /// An attribute without a value.
    #[error("attribute {place} has no `=`")]
    NoValue {
        /// The attribute's place, from 1.
        place: usize,
    },
    /// An attribute that is not known.
    #[error("attribute {place} is not known{}", named(.name))]
    Unknown {
        /// The attribute's place, from 1.
        place: usize,
        /// Its name, if it looks like one.
        name: Option<String>,
    },
    /// A `%` in a value.
    #[error("the value of `{name}` has a `%` that two hexadecimal digits do not follow")]
    Percent {
        /// The attribute.
        name: &'static str,
    },
    /// A value that is not text.
    #[error("the value of `{name}` is not text")]
    NotText {
        /// The attribute.
        name: &'static str,
    },
    /// A slot that is not a number.
    #[error("`slot-id` is not a number")]
    SlotId,
    /// Another object than a private key.
    #[error("its `type` is not `private`, and a key is to sign")]
    Type,
    /// The PIN itself.
    #[error(
        "a PIN on the command line can be read by everyone on the machine; put it into a file, and name that with `pin-source`"
    )]
    PinValue,
    /// A module by its name.
    #[error("name the module by its path, with `module-path`")]
    ModuleName,
}

fn named(name: &Option<String>) -> String {
    let name = name.as_ref();
    name.map_or_else(String::new, |name| format!(": `{name}`"))
}

/// Attributes of the path (before `?`) and of the query.
const PATH: [&str; 11] = [
    "id",
    "library-description",
    "library-manufacturer",
    "library-version",
    "manufacturer",
    "model",
    "object",
    "serial",
    "slot-id",
    "token",
    "type",
];
const QUERY: [&str; 4] = ["module-name", "module-path", "pin-source", "pin-value"];

impl TokenUri {
    /// Whether a text is a URI of this scheme, in any case of letters, right or wrong.
    #[must_use]
    pub fn is_uri(text: &[u8]) -> bool {
        let head = text.get(..SCHEME.len());
        head.is_some_and(|head| head.eq_ignore_ascii_case(SCHEME.as_bytes()))
    }

    /// Reads a URI.
    ///
    /// # Errors
    /// [`UriError`] for the first fault.
    pub fn parse(text: &str) -> Result<Self, UriError> {
        if !Self::is_uri(text.as_bytes()) {
            return Err(UriError::Scheme);
        }
        let rest = &text[SCHEME.len()..];
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut uri = Self::default();
        let mut place = 0;
        for (part, separator, known) in [(path, ';', &PATH[..]), (query, '&', &QUERY)] {
            for attribute in part.split(separator).filter(|a| !a.is_empty()) {
                place += 1;
                // Before anything is said of what follows it: an unescaped `&` may be in a PIN.
                if names_pin(attribute) {
                    return Err(UriError::PinValue);
                }
                let (name, value) = attribute
                    .split_once('=')
                    .ok_or(UriError::NoValue { place })?;
                let name = known.iter().find(|known| **known == name).ok_or_else(|| {
                    let plain = |b: u8| b.is_ascii_lowercase() || b == b'-';
                    let plain = name.len() <= 24 && name.bytes().all(plain);
                    let name = plain.then(|| name.to_owned());
                    UriError::Unknown { place, name }
                })?;
                uri.set(name, decoded(name, value)?)?;
            }
        }
        Ok(uri)
    }

    fn set(&mut self, name: &'static str, value: Vec<u8>) -> Result<(), UriError> {
        use std::os::unix::ffi::OsStringExt as _;
        let path = |bytes: Vec<u8>| PathBuf::from(std::ffi::OsString::from_vec(bytes));
        let text = |bytes| String::from_utf8(bytes).map_err(|_| UriError::NotText { name });
        match name {
            "token" => self.token = Some(text(value)?),
            "serial" => self.serial = Some(text(value)?),
            "manufacturer" => self.manufacturer = Some(text(value)?),
            "model" => self.model = Some(text(value)?),
            "object" => self.object = Some(text(value)?),
            "id" => self.id = Some(value),
            "slot-id" => {
                let number = text(value)?.parse().map_err(|_| UriError::SlotId)?;
                self.slot_id = Some(number);
            }
            "type" if value == b"private" => {}
            "type" => return Err(UriError::Type),
            "pin-source" => {
                // A file's URI, or its path.
                let bare = value.strip_prefix(b"file:".as_slice());
                let bare = bare.map(|b| b.strip_prefix(b"//".as_slice()).unwrap_or(b));
                self.pin_source = Some(path(bare.unwrap_or(&value).to_vec()));
            }
            "module-path" => self.module_path = Some(path(value)),
            "module-name" => return Err(UriError::ModuleName),
            // `library-…`: the module is named otherwise.
            _ => {}
        }
        Ok(())
    }

    /// Which token is meant, for people.
    pub(super) fn token_name(&self) -> String {
        let named = [
            ("", &self.token),
            ("serial number ", &self.serial),
            ("manufacturer ", &self.manufacturer),
            ("model ", &self.model),
        ];
        let mut words: Vec<_> = named
            .iter()
            .filter_map(|(what, name)| Some(format!("{what}`{}`", name.as_ref()?)))
            .collect();
        words.extend(self.slot_id.map(|id| format!("in slot {id}")));
        if words.is_empty() {
            "(any)".to_owned()
        } else {
            words.join(", ")
        }
    }

    /// Which key is meant, for people.
    pub(super) fn key_name(&self) -> String {
        match (&self.object, &self.id) {
            (Some(object), _) => format!("`{object}`"),
            (None, Some(id)) => format!("with id {}", bpfseal_seal::hex(id)),
            (None, None) => "(any)".to_owned(),
        }
    }
}

/// Whether an attribute is the PIN, however it is written.
fn names_pin(attribute: &str) -> bool {
    let name = attribute.split('=').next().unwrap_or_default();
    let letters = name.bytes().filter(u8::is_ascii_alphabetic);
    let name: Vec<u8> = letters.map(|b| b.to_ascii_lowercase()).collect();
    name.starts_with(b"pinvalue") || name == b"pin"
}

/// A value, decoded.
fn decoded(name: &'static str, value: &str) -> Result<Vec<u8>, UriError> {
    let mut bytes = Vec::new();
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut nibble = || rest.next().and_then(|b| char::from(b).to_digit(16));
        let (Some(high), Some(low)) = (nibble(), nibble()) else {
            return Err(UriError::Percent { name });
        };
        // Two digits fit a byte.
        bytes.push((high << 4 | low) as u8);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_are_taken_apart() {
        let uri = TokenUri::parse(
            "pkcs11:token=My%20token;object=signer;id=%01%ff;type=private?pin-source=file:/run/pin&module-path=/usr/lib/m.so",
        )
        .unwrap();
        assert_eq!(uri.token.as_deref(), Some("My token"));
        assert_eq!(uri.object.as_deref(), Some("signer"));
        assert_eq!(uri.id, Some(vec![1, 255]));
        assert_eq!(uri.pin_source, Some("/run/pin".into()));
        assert_eq!(uri.module_path, Some("/usr/lib/m.so".into()));
        for empty in ["pkcs11:", "PKCS11:"] {
            assert_eq!(TokenUri::parse(empty).unwrap(), TokenUri::default());
        }
        assert!(PATH.is_sorted() && QUERY.is_sorted());
    }

    #[test]
    fn what_is_wrong_is_said_without_a_pin() {
        for (text, words) in [
            ("pkcs:token=s3cr3t", "begin with"),
            ("pkcs11:token=x;s3cr3t", "attribute 2 has no `=`"),
            ("pkcs11:token=%4", "hexadecimal"),
            ("pkcs11:token=%ff", "not text"),
            ("pkcs11:colour=red", "attribute 1 is not known: `colour`"),
            ("pkcs11:token=x?s3cr3t=1", "attribute 2 is not known"),
            ("pkcs11:type=cert", "not `private`"),
            ("pkcs11:slot-id=s3cr3t", "not a number"),
            ("pkcs11:token=x?pin-value=s3cr3t", "command line"),
            ("pkcs11:token=x;pin-value=s3cr3t", "command line"),
            ("pkcs11:token=x?pin-value=%s3cr3t", "command line"),
            ("pkcs11:token=x?pin-value=a&s3cr3t", "command line"),
            ("pkcs11:token=x?PIN_VALUE=s3cr3t", "command line"),
            ("pkcs11:token=x?pin-value:s3cr3t", "command line"),
            ("pkcs11:token=x?pin=s3cr3t", "command line"),
            ("pkcs11:token=x?module-name=y", "module-path"),
        ] {
            let error = TokenUri::parse(text).unwrap_err();
            let said = format!("{error} {error:?}");
            assert!(said.contains(words), "{text}: {said}");
            assert!(!said.contains("s3cr3t"), "{text}: {said}");
        }
    }
}
