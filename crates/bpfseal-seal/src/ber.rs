//! Reading encoded elements one after the other, where no grammar of the kernel's is followed:
//! attributes that the kernel passes over, private keys, messages that are added to.
//!
//! As lax as the kernel's decoder, [`crate::asn1`]: tags of one byte, lengths of at most two bytes
//! after the first, indefinite lengths for constructed elements.

/// How deep indefinite lengths may nest.
const MAX_DEPTH: usize = 10;

/// `SEQUENCE`, constructed.
pub(crate) const SEQUENCE: u8 = 0x30;
/// `SET`, constructed.
pub(crate) const SET: u8 = 0x31;
/// `INTEGER`.
pub(crate) const INTEGER: u8 = 0x02;
/// `BOOLEAN`.
pub(crate) const BOOLEAN: u8 = 0x01;
/// `BIT STRING`.
pub(crate) const BIT_STRING: u8 = 0x03;
/// `UTCTime`.
pub(crate) const UTC_TIME: u8 = 0x17;
/// `GeneralizedTime`.
pub(crate) const GENERALIZED_TIME: u8 = 0x18;
/// `OCTET STRING`.
pub(crate) const OCTET_STRING: u8 = 0x04;
/// `OBJECT IDENTIFIER`.
pub(crate) const OBJECT_IDENTIFIER: u8 = 0x06;

/// A fault of the encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {offset}")]
pub struct BerError {
    /// Where, counted from the start of the message.
    pub(crate) offset: usize,
    /// What.
    pub(crate) what: &'static str,
}

/// One element.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tlv<'a> {
    pub(crate) tag: u8,
    /// Contents.
    pub(crate) value: &'a [u8],
    /// Header and contents.
    #[cfg_attr(
        not(feature = "sign"),
        allow(dead_code, reason = "for messages that signatures are added to")
    )]
    pub(crate) whole: &'a [u8],
    /// Offset of the contents in the message.
    pub(crate) at: usize,
}

impl<'a> Tlv<'a> {
    /// A reader of the contents.
    pub(crate) fn inside(&self) -> Reader<'a> {
        Reader {
            bytes: self.value,
            base: self.at,
        }
    }
}

/// Reads elements one after the other.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    base: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, base: 0 }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn fault(&self, what: &'static str) -> BerError {
        BerError {
            offset: self.base,
            what,
        }
    }

    /// The tag of the next element.
    pub(crate) fn peek(&self) -> Option<u8> {
        self.bytes.first().copied()
    }

    /// The next element, whatever it is.
    pub(crate) fn next(&mut self) -> Result<Tlv<'a>, BerError> {
        let (tlv, used) = self.element(0)?;
        self.bytes = &self.bytes[used..];
        self.base += used;
        Ok(tlv)
    }

    /// The next element, which has to have that tag. Where the grammar has a constructed element,
    /// the bit that says so is not looked at, as in the kernel.
    pub(crate) fn expect(&mut self, tag: u8, what: &'static str) -> Result<Tlv<'a>, BerError> {
        match self.peek() {
            Some(found) if matches_tag(tag, found) => self.next(),
            _ => Err(self.fault(what)),
        }
    }

    /// The next element if it has that tag.
    #[cfg(feature = "sign")]
    pub(crate) fn take(&mut self, tag: u8) -> Result<Option<Tlv<'a>>, BerError> {
        match self.peek() {
            Some(found) if matches_tag(tag, found) => self.next().map(Some),
            _ => Ok(None),
        }
    }

    fn element(&self, depth: usize) -> Result<(Tlv<'a>, usize), BerError> {
        let bytes = self.bytes;
        let [tag, first, ..] = *bytes else {
            return Err(self.fault("the message is cut off"));
        };
        if tag & 0x1f == 0x1f {
            return Err(self.fault("a tag of several bytes"));
        }
        let (header, len) = match first {
            0x80 => return self.indefinite(tag, depth),
            0..=0x7f => (2, usize::from(first)),
            _ => {
                let count = usize::from(first - 0x80);
                if count > 2 {
                    return Err(self.fault("a length of more than two bytes"));
                }
                let digits = bytes
                    .get(2..2 + count)
                    .ok_or_else(|| self.fault("a length is cut off"))?;
                let len = digits.iter().fold(0, |n, &b| (n << 8) | usize::from(b));
                (2 + count, len)
            }
        };
        let end = header + len;
        let whole = bytes
            .get(..end)
            .ok_or_else(|| self.fault("an element reaches beyond the message"))?;
        Ok((
            Tlv {
                tag,
                value: &whole[header..],
                whole,
                at: self.base + header,
            },
            end,
        ))
    }

    fn indefinite(&self, tag: u8, depth: usize) -> Result<(Tlv<'a>, usize), BerError> {
        if tag & 0x20 == 0 {
            return Err(self.fault("an indefinite length of a primitive element"));
        }
        if depth >= MAX_DEPTH {
            return Err(self.fault("indefinite lengths nest too deep"));
        }
        let mut inner = Reader {
            bytes: &self.bytes[2..],
            base: self.base + 2,
        };
        loop {
            if inner.bytes.starts_with(&[0, 0]) {
                break;
            }
            let (_, used) = inner.element(depth + 1)?;
            inner.bytes = &inner.bytes[used..];
            inner.base += used;
        }
        let end = self.bytes.len() - inner.bytes.len();
        Ok((
            Tlv {
                tag,
                value: &self.bytes[2..end],
                whole: &self.bytes[..end + 2],
                at: self.base + 2,
            },
            end + 2,
        ))
    }
}

fn matches_tag(wanted: u8, found: u8) -> bool {
    (wanted ^ found) & !(wanted & 0x20) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_every_form() {
        let mut bytes = vec![0x04, 0x82, 0x01, 0x00];
        bytes.extend([7; 256]);
        assert_eq!(Reader::new(&bytes).next().unwrap().value.len(), 256);
        assert!(Reader::new(&bytes[..200]).next().is_err());
        assert!(Reader::new(&[0x04, 0x83, 0, 0, 1, 9]).next().is_err());
        let indefinite = [0x30, 0x80, 0x02, 0x01, 0x05, 0x00, 0x00, 0xff];
        let mut reader = Reader::new(&indefinite);
        assert_eq!(reader.next().unwrap().value, [2, 1, 5]);
        assert_eq!(reader.peek(), Some(0xff));
    }
}
