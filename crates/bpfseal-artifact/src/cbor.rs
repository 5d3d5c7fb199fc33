//! CBOR in its deterministic form (RFC 8949, section 4.2): the codec, which knows no format.
//!
//! The same value is always the same bytes, and bytes of another form are refused: the libraries
//! of the field take encodings that are not deterministic, and do not say so. Every length is
//! compared with a limit before anything is allocated. What the files of this crate say in it is
//! the grammar's business.

bpfseal_object::debug_as_chain!(CborError);

/// The bytes of the tag "this is CBOR" (RFC 8949, section 3.4.6), with which no text begins.
pub(crate) const MAGIC: [u8; 3] = [0xd9, 0xd9, 0xf7];
/// The number of that tag.
pub(crate) const SELF_DESCRIBED: u64 = 55799;

/// Why bytes are not the items that were expected.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields are what the message names")]
pub enum CborError {
    /// Not CBOR, or not of the types that belong there.
    #[error("byte {offset}: {reason}")]
    Malformed { offset: usize, reason: String },
    /// Longer than it may be.
    #[error("byte {offset}: {what} has {found}, at most {limit} are taken")]
    TooLong {
        offset: usize,
        what: &'static str,
        found: u64,
        limit: u64,
    },
    /// Not in the one form that the deterministic encoding has.
    #[error("byte {offset}: the encoding is not deterministic (RFC 8949, section 4.2)")]
    NotDeterministic { offset: usize },
}

/// Types of items, as the three upper bits of their first byte.
mod major {
    pub(super) const NUMBER: u8 = 0;
    pub(super) const BYTES: u8 = 2;
    pub(super) const TEXT: u8 = 3;
    pub(super) const ARRAY: u8 = 4;
    pub(super) const MAP: u8 = 5;
    pub(super) const TAG: u8 = 6;
    pub(super) const SIMPLE: u8 = 7;
}

/// `false` and `true`, as simple values.
const FALSE: u64 = 20;
const TRUE: u64 = 21;

/// Writes items, each head as short as it can be.
#[derive(Default)]
pub(crate) struct Writer(pub(crate) Vec<u8>);

impl Writer {
    fn head(&mut self, major: u8, value: u64) -> &mut Self {
        let first = major << 5;
        // Each width holds what the one before it does not.
        if let Ok(byte) = u8::try_from(value) {
            if byte < 24 {
                self.0.push(first | byte);
            } else {
                self.0.extend([first | 24, byte]);
            }
        } else if let Ok(short) = u16::try_from(value) {
            self.0.push(first | 25);
            self.0.extend(short.to_be_bytes());
        } else if let Ok(word) = u32::try_from(value) {
            self.0.push(first | 26);
            self.0.extend(word.to_be_bytes());
        } else {
            self.0.push(first | 27);
            self.0.extend(value.to_be_bytes());
        }
        self
    }

    pub(crate) fn number(&mut self, value: u64) -> &mut Self {
        self.head(major::NUMBER, value)
    }

    pub(crate) fn tag(&mut self, number: u64) -> &mut Self {
        self.head(major::TAG, number)
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.head(major::BYTES, bytes.len() as u64);
        self.0.extend(bytes);
        self
    }

    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        self.head(major::TEXT, text.len() as u64);
        self.0.extend(text.as_bytes());
        self
    }

    pub(crate) fn array(&mut self, len: usize) -> &mut Self {
        self.head(major::ARRAY, len as u64)
    }

    /// Fields follow: keys in ascending order, each with its value.
    pub(crate) fn map(&mut self, len: u64) -> &mut Self {
        self.head(major::MAP, len)
    }

    pub(crate) fn boolean(&mut self, value: bool) -> &mut Self {
        self.head(major::SIMPLE, if value { TRUE } else { FALSE })
    }
}

/// Reads what [`Writer`] writes, and nothing else.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    pub(crate) at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Nothing may follow.
    pub(crate) fn end(&self) -> Result<(), CborError> {
        if self.at == self.bytes.len() {
            return Ok(());
        }
        Err(CborError::Malformed {
            offset: self.at,
            reason: "there is more behind the end".to_owned(),
        })
    }

    /// The head of an item: the number in it. It has to be as short as it can be.
    fn head(&mut self, wanted: u8, what: &'static str) -> Result<u64, CborError> {
        let offset = self.at;
        let input = self.bytes;
        let Some(first) = input.get(offset) else {
            return Err(CborError::Malformed {
                offset,
                reason: format!("the file ends where {what} should be"),
            });
        };
        if first >> 5 != wanted {
            return Err(CborError::Malformed {
                offset,
                reason: format!("{what} is of another type"),
            });
        }
        let (len, least) = match first & 0x1f {
            small @ 0..24 => {
                self.at = offset + 1;
                return Ok(u64::from(small));
            }
            24 => (1, 24),
            25 => (2, 1 << 8),
            26 => (4, 1 << 16),
            27 => (8, 1 << 32),
            _ => return Err(CborError::NotDeterministic { offset }),
        };
        let Some(bytes) = input.get(offset + 1..offset + 1 + len) else {
            return Err(CborError::Malformed {
                offset,
                reason: format!("the file ends inside of {what}"),
            });
        };
        let value = bytes
            .iter()
            .fold(0, |value: u64, byte| value << 8 | u64::from(*byte));
        if value < least {
            return Err(CborError::NotDeterministic { offset });
        }
        self.at = offset + 1 + len;
        Ok(value)
    }

    pub(crate) fn number(&mut self, what: &'static str) -> Result<u64, CborError> {
        self.head(major::NUMBER, what)
    }

    pub(crate) fn tag(&mut self, what: &'static str) -> Result<u64, CborError> {
        self.head(major::TAG, what)
    }

    /// `None` for a simple value that is neither `false` nor `true`.
    pub(crate) fn boolean(&mut self, what: &'static str) -> Result<Option<bool>, CborError> {
        Ok(match self.head(major::SIMPLE, what)? {
            FALSE => Some(false),
            TRUE => Some(true),
            _ => None,
        })
    }

    /// Bytes or text, of which `limit` are taken.
    fn blob(&mut self, major: u8, what: &'static str, limit: usize) -> Result<&'a [u8], CborError> {
        let offset = self.at;
        let found = self.head(major, what)?;
        let len = usize::try_from(found).unwrap_or(usize::MAX);
        if len > limit {
            return Err(CborError::TooLong {
                offset,
                what,
                found,
                limit: limit as u64,
            });
        }
        let start = self.at;
        let bytes = self.bytes.get(start..start + len);
        let Some(bytes) = bytes else {
            return Err(CborError::Malformed {
                offset,
                reason: format!("the file ends inside of {what}"),
            });
        };
        self.at = start + len;
        Ok(bytes)
    }

    pub(crate) fn bytes(
        &mut self,
        what: &'static str,
        limit: usize,
    ) -> Result<&'a [u8], CborError> {
        self.blob(major::BYTES, what, limit)
    }

    pub(crate) fn text(&mut self, what: &'static str, limit: usize) -> Result<&'a str, CborError> {
        let offset = self.at;
        let bytes = self.blob(major::TEXT, what, limit)?;
        std::str::from_utf8(bytes).map_err(|_| CborError::Malformed {
            offset,
            reason: format!("{what} is not text"),
        })
    }

    /// The count of an array's elements.
    pub(crate) fn array(&mut self, what: &'static str, limit: u64) -> Result<u64, CborError> {
        let offset = self.at;
        let found = self.head(major::ARRAY, what)?;
        if found > limit {
            return Err(CborError::TooLong {
                offset,
                what,
                found,
                limit,
            });
        }
        Ok(found)
    }

    /// The fields of a map, in ascending order of their keys. `each` is given the key and its
    /// offset, and reads the value.
    pub(crate) fn map<E: From<CborError>>(
        &mut self,
        what: &'static str,
        mut each: impl FnMut(&mut Self, u64, usize) -> Result<(), E>,
    ) -> Result<(), E> {
        let count = self.head(major::MAP, what)?;
        let mut last = None;
        for _ in 0..count {
            let offset = self.at;
            let key = self.number("a field's key")?;
            if last.is_some_and(|last| key <= last) {
                return Err(CborError::NotDeterministic { offset }.into());
            }
            last = Some(key);
            each(self, key, offset)?;
        }
        Ok(())
    }

    /// Passes over one item, with what is in it; no bytes or text in it may be longer than
    /// `limit`. Every step takes at least a byte.
    pub(crate) fn skip(&mut self, limit: usize) -> Result<(), CborError> {
        const WHAT: &str = "a field that is not known";
        let mut items: u64 = 1;
        while items > 0 {
            items -= 1;
            let first = self.bytes.get(self.at).copied().unwrap_or(0xff);
            let major = first >> 5;
            if major == major::SIMPLE {
                // Simple values and floating-point numbers: no shortest form is asked for.
                self.at += match first & 0x1f {
                    ..24 => 1,
                    24 => 2,
                    25 => 3,
                    26 => 5,
                    27 => 9,
                    _ => return Err(CborError::NotDeterministic { offset: self.at }),
                };
                if self.at > self.bytes.len() {
                    return Err(CborError::Malformed {
                        offset: self.bytes.len(),
                        reason: format!("the file ends inside of {WHAT}"),
                    });
                }
                continue;
            }
            if matches!(major, major::BYTES | major::TEXT) {
                self.blob(major, WHAT, limit)?;
                continue;
            }
            let value = self.head(major, WHAT)?;
            let inside = match major {
                major::ARRAY => value,
                major::MAP => value.saturating_mul(2),
                major::TAG => 1,
                _ => 0,
            };
            items = items.saturating_add(inside);
        }
        Ok(())
    }
}
