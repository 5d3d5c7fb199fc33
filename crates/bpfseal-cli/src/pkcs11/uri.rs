//! PKCS#11 URIs (RFC 7512): which token, which object, which module, where the PIN is.

use std::path::PathBuf;

/// A URI, taken apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Uri {
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

pub(super) const SCHEME: &str = "pkcs11:";

impl Uri {
    /// Reads a URI; the sentence of an error says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let rest = text
            .strip_prefix(SCHEME)
            .ok_or("it does not begin with `pkcs11:`")?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut uri = Self::default();
        for attribute in path.split(';').filter(|a| !a.is_empty()) {
            uri.path_attribute(attribute)?;
        }
        for attribute in query.split('&').filter(|a| !a.is_empty()) {
            uri.query_attribute(attribute)?;
        }
        Ok(uri)
    }

    fn path_attribute(&mut self, attribute: &str) -> Result<(), String> {
        let (name, value) = parts(attribute)?;
        let text = || {
            let bytes = value.clone();
            String::from_utf8(bytes).map_err(|_| format!("the value of `{name}` is not text"))
        };
        match name {
            "token" => self.token = Some(text()?),
            "serial" => self.serial = Some(text()?),
            "manufacturer" => self.manufacturer = Some(text()?),
            "model" => self.model = Some(text()?),
            "object" => self.object = Some(text()?),
            "id" => self.id = Some(value),
            "slot-id" => {
                let number = text()?.parse();
                self.slot_id = Some(number.map_err(|_| "`slot-id` is no number".to_owned())?);
            }
            "type" if value == b"private" => {}
            "type" => return Err("its `type` is not `private`, and a key is to sign".to_owned()),
            // The module is named otherwise.
            "library-manufacturer" | "library-description" | "library-version" => {}
            other => return Err(format!("attribute `{other}` is not known")),
        }
        Ok(())
    }

    fn query_attribute(&mut self, attribute: &str) -> Result<(), String> {
        use std::os::unix::ffi::OsStringExt as _;
        let (name, value) = parts(attribute)?;
        let path = |bytes: Vec<u8>| PathBuf::from(std::ffi::OsString::from_vec(bytes));
        match name {
            "pin-source" => {
                // A file's URI, or its path.
                let bare = value.strip_prefix(b"file:".as_slice());
                let bare = bare.map(|b| b.strip_prefix(b"//".as_slice()).unwrap_or(b));
                self.pin_source = Some(path(bare.unwrap_or(&value).to_vec()));
            }
            "module-path" => self.module_path = Some(path(value)),
            "pin-value" => {
                return Err(
                    "a PIN on the command line can be read by everyone on the machine; put it into a file, and name that with `pin-source`"
                        .to_owned(),
                );
            }
            "module-name" => {
                return Err("name the module by its path, with `module-path`".to_owned());
            }
            other => return Err(format!("attribute `{other}` is not known")),
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
            (None, Some(id)) => format!("with id {}", bpfseal::seal::hex(id)),
            (None, None) => "(any)".to_owned(),
        }
    }
}

/// `name=value`, the value decoded.
fn parts(attribute: &str) -> Result<(&str, Vec<u8>), String> {
    let (name, value) = attribute
        .split_once('=')
        .ok_or_else(|| format!("`{attribute}` has no `=`"))?;
    let bad =
        || format!("the value of `{name}` has a `%` that two hexadecimal digits do not follow");
    let mut bytes = Vec::new();
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut nibble = || rest.next().and_then(|b| char::from(b).to_digit(16));
        let (high, low) = (nibble().ok_or_else(bad)?, nibble().ok_or_else(bad)?);
        // Two digits fit a byte.
        bytes.push((high << 4 | low) as u8);
    }
    Ok((name, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_are_taken_apart() {
        let uri = Uri::parse(
            "pkcs11:token=My%20token;object=signer;id=%01%ff;type=private?pin-source=file:/run/pin&module-path=/usr/lib/m.so",
        )
        .unwrap();
        assert_eq!(uri.token.as_deref(), Some("My token"));
        assert_eq!(uri.object.as_deref(), Some("signer"));
        assert_eq!(uri.id, Some(vec![1, 255]));
        assert_eq!(uri.pin_source, Some("/run/pin".into()));
        assert_eq!(uri.module_path, Some("/usr/lib/m.so".into()));
        assert_eq!(Uri::parse("pkcs11:").unwrap(), Uri::default());
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, words) in [
            ("pkcs:token=x", "begin with"),
            ("pkcs11:token", "no `=`"),
            ("pkcs11:token=%4", "hexadecimal"),
            ("pkcs11:colour=red", "`colour` is not known"),
            ("pkcs11:type=cert", "not `private`"),
            ("pkcs11:slot-id=x", "no number"),
            ("pkcs11:token=x?pin-value=1234", "command line"),
            ("pkcs11:token=x?module-name=y", "module-path"),
        ] {
            let error = Uri::parse(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
