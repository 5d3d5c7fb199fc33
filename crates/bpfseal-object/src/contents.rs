//! Initial contents of maps: bytes, and the zeroes behind them as a number.
//!
//! A `.bss` of 60 MB is a few bytes in the file that asks for it, and stays a few bytes here: in
//! the object, in the load plan and in every copy of them. Where real bytes are wanted, the
//! consumer writes the zeroes.

use std::borrow::Cow;
use std::sync::Arc;

/// Bytes of a known length, of which the zeroes at the end are not kept. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Contents {
    /// Empty, or ending in a byte that is not zero: equal contents are equal in both fields.
    head: Arc<[u8]>,
    len: usize,
}

impl Contents {
    /// Contents of these bytes.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self::with_zeroes(bytes, 0)
    }

    /// Contents of nothing but zeroes.
    #[must_use]
    pub fn zeroes(len: usize) -> Self {
        Self::with_zeroes(&[], len)
    }

    /// These bytes, followed by zeroes.
    #[must_use]
    pub fn with_zeroes(bytes: &[u8], zeroes: usize) -> Self {
        let end = bytes.iter().rposition(|byte| *byte != 0);
        Self {
            head: bytes[..end.map_or(0, |at| at + 1)].into(),
            len: bytes.len().saturating_add(zeroes),
        }
    }

    /// Count of bytes, zeroes included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no byte at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes up to the last one that is not zero; everything behind them is zero.
    #[must_use]
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    /// Whether every byte is zero.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.head.is_empty()
    }

    /// The first `len` bytes, or all of them if there are fewer.
    #[must_use]
    pub fn truncated(&self, len: usize) -> Self {
        if len >= self.len {
            return self.clone();
        }
        match self.head.get(..len) {
            Some(head) => Self::new(head),
            None => Self {
                head: Arc::clone(&self.head),
                len,
            },
        }
    }

    /// Bytes of a range; those beyond the end are left out. Borrowed where no zeroes have to be
    /// written.
    #[must_use]
    pub fn range(&self, start: usize, len: usize) -> Cow<'_, [u8]> {
        let end = start.saturating_add(len).min(self.len);
        let start = start.min(end);
        if let Some(bytes) = self.head.get(start..end) {
            return Cow::Borrowed(bytes);
        }
        let mut bytes = self.head.get(start..).unwrap_or_default().to_vec();
        bytes.resize(end - start, 0);
        Cow::Owned(bytes)
    }

    /// All bytes, zeroes included.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        self.range(0, self.len).into_owned()
    }

    /// The bytes that differ from those of other contents, by offset: each with its value here and
    /// there. Of contents of different lengths, the shorter one counts as followed by zeroes.
    pub fn differences<'a>(
        &'a self,
        other: &'a Self,
    ) -> impl Iterator<Item = (usize, u8, u8)> + use<'a> {
        let end = self.head.len().max(other.head.len());
        let byte = |contents: &Self, at| contents.head.get(at).copied().unwrap_or(0);
        (0..end)
            .map(move |at| (at, byte(self, at), byte(other, at)))
            .filter(|(_, here, there)| here != there)
    }
}

impl std::fmt::Debug for Contents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} and ", self.head)?;
        write!(f, "{} zeroes", self.len - self.head.len())
    }
}

impl From<Vec<u8>> for Contents {
    fn from(bytes: Vec<u8>) -> Self {
        Self::new(&bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeroes_at_the_end_are_a_number() {
        let contents = Contents::new(&[1, 0, 2, 0, 0]);
        assert_eq!(contents.head(), [1, 0, 2]);
        assert_eq!(contents.len(), 5);
        assert_eq!(contents.to_vec(), [1, 0, 2, 0, 0]);
        assert_eq!(contents, Contents::with_zeroes(&[1, 0, 2, 0], 1));
        assert_ne!(contents, Contents::new(&[1, 0, 2]));
        assert!(Contents::zeroes(7).is_zero() && !contents.is_zero());
        assert_eq!(Contents::zeroes(usize::MAX).len(), usize::MAX);
    }

    #[test]
    fn ranges_and_cuts() {
        let contents = Contents::with_zeroes(&[1, 2, 3], 3);
        assert_eq!(*contents.range(1, 2), [2, 3]);
        assert_eq!(*contents.range(2, 3), [3, 0, 0]);
        assert_eq!(*contents.range(5, 9), [0]);
        assert_eq!(*contents.range(9, 9), []);
        assert_eq!(contents.truncated(2), Contents::new(&[1, 2]));
        assert_eq!(contents.truncated(4), Contents::new(&[1, 2, 3, 0]));
        assert_eq!(contents.truncated(9), contents);
    }

    #[test]
    fn differences_are_named_by_offset() {
        let (a, b) = (Contents::new(&[1, 2, 0, 4]), Contents::new(&[1, 3, 0, 0]));
        let found: Vec<_> = a.differences(&b).collect();
        assert_eq!(found, [(1, 2, 3), (3, 4, 0)]);
        assert_eq!(a.differences(&a.clone()).next(), None);
    }
}
