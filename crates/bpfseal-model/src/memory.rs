//! The memory that a loader can reach: its stack frame, its context, its maps.
//!
//! Addresses are made up: a region lies at its number, shifted. Beside each byte stands whether it
//! came from the host, so that it can be told what a host has a say in. What a region held at first
//! is not copied: only pages that are written are kept, because a loader writes a few fields of
//! megabytes of metadata.

use std::borrow::Cow;

use bpfseal_object::{Contents, Endian};

/// Bits of an address below the number of its region.
const SHIFT: u32 = 40;
/// Bytes of a page, the unit that is kept when it is written.
const PAGE: usize = 4096;

/// A page that was written.
#[derive(Debug, Clone)]
enum Page {
    /// All of it by one call, with the same byte.
    Filled { byte: u8, host: bool },
    /// Byte by byte.
    Own(Box<OwnPage>),
}

impl Page {
    fn own(&mut self) -> &mut OwnPage {
        if let Self::Filled { byte, host } = *self {
            *self = Self::Own(Box::new(OwnPage {
                bytes: [byte; PAGE],
                host: [host; PAGE],
            }));
        }
        match self {
            Self::Own(page) => page,
            Self::Filled { .. } => unreachable!("it was replaced"),
        }
    }
}

#[derive(Debug, Clone)]
struct OwnPage {
    bytes: [u8; PAGE],
    /// Which of the bytes came from the host.
    host: [bool; PAGE],
}

/// A stretch of memory.
#[derive(Debug, Clone)]
struct Region<'a> {
    /// What it held at first.
    base: Cow<'a, [u8]>,
    /// Whether that came from the host.
    host: bool,
    writable: bool,
    /// What was written, by number of the page.
    pages: Vec<Option<Page>>,
}

/// A region, by its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RegionId(usize);

/// All that a loader can reach.
#[derive(Debug, Clone)]
pub(crate) struct Memory<'a> {
    pub(crate) endian: Endian,
    regions: Vec<Region<'a>>,
}

/// An access that is not inside of a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfBounds {
    /// The address.
    pub address: u64,
    /// Bytes from there.
    pub len: usize,
    /// Whether it is a write.
    pub write: bool,
}

/// A number, and whether a host has a say in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Value {
    pub(crate) bits: u64,
    pub(crate) host: bool,
    /// Whether it is, or was computed from, what the kernel answered. Memory does not keep it: who
    /// runs the program does.
    pub(crate) answer: bool,
}

impl Value {
    pub(crate) fn known(bits: u64) -> Self {
        Self {
            bits,
            host: false,
            answer: false,
        }
    }

    pub(crate) fn signed(number: i64) -> Self {
        Self::known(number.cast_unsigned())
    }

    /// What a call returned, which only the kernel knows.
    pub(crate) fn answered(number: i64) -> Self {
        Self {
            answer: true,
            ..Self::signed(number)
        }
    }
}

/// A part of a region that lies in one page.
struct Part {
    page: usize,
    /// From the start of the page.
    start: usize,
    end: usize,
    /// From the start of the region.
    offset: usize,
}

/// The parts of a range, page by page.
fn parts(offset: usize, len: usize) -> impl DoubleEndedIterator<Item = Part> {
    let end = offset + len;
    (offset / PAGE..end.div_ceil(PAGE)).map(move |page| {
        let from = offset.max(page * PAGE);
        let to = end.min((page + 1) * PAGE);
        Part {
            page,
            start: from - page * PAGE,
            end: to - page * PAGE,
            offset: from,
        }
    })
}

impl Region<'_> {
    fn page(&self, number: usize) -> Option<&Page> {
        self.pages.get(number)?.as_ref()
    }

    /// The bytes of a part, and whether any of them came from the host.
    fn part(&self, part: &Part) -> (Cow<'_, [u8]>, bool) {
        let len = part.end - part.start;
        match self.page(part.page) {
            None => {
                let bytes = &self.base[part.offset..part.offset + len];
                (Cow::Borrowed(bytes), self.host)
            }
            Some(Page::Filled { byte, host }) => (Cow::Owned(vec![*byte; len]), *host),
            Some(Page::Own(page)) => {
                let host = &page.host[part.start..part.end];
                let bytes = &page.bytes[part.start..part.end];
                (Cow::Borrowed(bytes), host.contains(&true))
            }
        }
    }

    fn read(&self, offset: usize, len: usize) -> (Cow<'_, [u8]>, bool) {
        let mut parts = parts(offset, len).peekable();
        let is_written = |part: Part| self.page(part.page).is_some();
        if len == 0 || !self::parts(offset, len).any(is_written) {
            let bytes = &self.base[offset..offset + len];
            return (Cow::Borrowed(bytes), len > 0 && self.host);
        }
        if let Some(first) = parts.next() {
            if parts.peek().is_none() {
                return self.part(&first);
            }
            let mut bytes = Vec::with_capacity(len);
            let mut from_host = false;
            for part in std::iter::once(first).chain(parts) {
                let (piece, host) = self.part(&part);
                bytes.extend_from_slice(&piece);
                from_host |= host;
            }
            return (Cow::Owned(bytes), from_host);
        }
        (Cow::Borrowed(&[]), false)
    }

    /// Which bytes of a range begin the zeroes at its end, and whether any came from the host.
    fn zeroes_at_end(&self, offset: usize, len: usize) -> (usize, bool) {
        let mut end = len;
        let mut from_host = false;
        let mut only_zeroes = true;
        for part in parts(offset, len).rev() {
            let (bytes, host) = self.part(&part);
            from_host |= host;
            if only_zeroes {
                let last = bytes.iter().rposition(|byte| *byte != 0);
                only_zeroes = last.is_none();
                end = part.offset - offset + last.map_or(0, |at| at + 1);
            }
        }
        (end, from_host)
    }

    /// A page of its own to write to.
    fn own_page(&mut self, number: usize) -> &mut OwnPage {
        if self.pages.len() <= number {
            self.pages.resize_with(number + 1, || None);
        }
        let start = number * PAGE;
        let end = self.base.len().min(start + PAGE);
        let (before, host) = (&self.base[start..end], self.host);
        let page = self.pages[number].get_or_insert_with(|| {
            let mut bytes = [0; PAGE];
            bytes[..before.len()].copy_from_slice(before);
            let host = [host; PAGE];
            Page::Own(Box::new(OwnPage { bytes, host }))
        });
        page.own()
    }
}

impl<'a> Memory<'a> {
    pub(crate) fn new(endian: Endian) -> Self {
        Self {
            endian,
            regions: Vec::new(),
        }
    }

    /// Adds a region; `host` says whether all of it comes from the host.
    pub(crate) fn add(
        &mut self,
        bytes: impl Into<Cow<'a, [u8]>>,
        writable: bool,
        host: bool,
    ) -> RegionId {
        self.regions.push(Region {
            base: bytes.into(),
            host,
            writable,
            pages: Vec::new(),
        });
        RegionId(self.regions.len() - 1)
    }

    /// The address of a byte of a region.
    pub(crate) fn address(region: RegionId, offset: u64) -> u64 {
        ((region.0 as u64 + 1) << SHIFT).wrapping_add(offset)
    }

    /// The first bytes of a region, at most that many.
    pub(crate) fn start_of(&self, region: RegionId, len: usize) -> Cow<'_, [u8]> {
        let region = &self.regions[region.0];
        region.read(0, len.min(region.base.len())).0
    }

    /// What was written to a region: offsets and bytes, in order.
    pub(crate) fn written(&self, region: RegionId) -> impl Iterator<Item = (usize, Cow<'_, [u8]>)> {
        let region = &self.regions[region.0];
        let size = region.base.len();
        let numbers = region.pages.iter().enumerate();
        numbers
            .filter(|(_, page)| page.is_some())
            .map(move |(number, _)| {
                let start = number * PAGE;
                (start, region.read(start, PAGE.min(size - start)).0)
            })
    }

    fn find(&self, address: u64, len: usize, write: bool) -> Result<(usize, usize), OutOfBounds> {
        let fault = OutOfBounds {
            address,
            len,
            write,
        };
        let index = (address >> SHIFT).checked_sub(1).ok_or(fault)?;
        let index = usize::try_from(index).map_err(|_| fault)?;
        let region = self.regions.get(index).ok_or(fault)?;
        let offset = (address & ((1 << SHIFT) - 1)) as usize;
        let end = offset.checked_add(len).ok_or(fault)?;
        if end > region.base.len() || (write && !region.writable) {
            return Err(fault);
        }
        Ok((index, offset))
    }

    /// Whether that many bytes can be read at an address.
    pub(crate) fn check(&self, address: u64, len: usize) -> Result<(), OutOfBounds> {
        self.find(address, len, false).map(|_| ())
    }

    /// Bytes, and whether any of them came from the host.
    pub(crate) fn read(
        &self,
        address: u64,
        len: usize,
    ) -> Result<(Cow<'_, [u8]>, bool), OutOfBounds> {
        let (index, offset) = self.find(address, len, false)?;
        Ok(self.regions[index].read(offset, len))
    }

    /// The same, without the zeroes at their end.
    pub(crate) fn contents(
        &self,
        address: u64,
        len: usize,
    ) -> Result<(Contents, bool), OutOfBounds> {
        let (index, offset) = self.find(address, len, false)?;
        let region = &self.regions[index];
        let (end, host) = region.zeroes_at_end(offset, len);
        let (head, _) = region.read(offset, end);
        Ok((Contents::with_zeroes(&head, len - end), host))
    }

    /// Bytes up to the end of their region, at most that many.
    pub(crate) fn read_up_to(
        &self,
        address: u64,
        len: usize,
    ) -> Result<Cow<'_, [u8]>, OutOfBounds> {
        let (index, offset) = self.find(address, 0, false)?;
        let region = &self.regions[index];
        Ok(region.read(offset, len.min(region.base.len() - offset)).0)
    }

    pub(crate) fn write(
        &mut self,
        address: u64,
        bytes: &[u8],
        host: bool,
    ) -> Result<(), OutOfBounds> {
        let (index, offset) = self.find(address, bytes.len(), true)?;
        for part in parts(offset, bytes.len()) {
            let page = self.regions[index].own_page(part.page);
            let from = part.offset - offset;
            let piece = &bytes[from..from + part.end - part.start];
            page.bytes[part.start..part.end].copy_from_slice(piece);
            page.host[part.start..part.end].fill(host);
        }
        Ok(())
    }

    /// Writes the same byte that many times.
    pub(crate) fn fill(
        &mut self,
        address: u64,
        len: usize,
        byte: u8,
        host: bool,
    ) -> Result<(), OutOfBounds> {
        let (index, offset) = self.find(address, len, true)?;
        let region = &mut self.regions[index];
        for part in parts(offset, len) {
            let page = region.own_page(part.page);
            page.bytes[part.start..part.end].fill(byte);
            page.host[part.start..part.end].fill(host);
            if part.start == 0 && part.end == PAGE {
                region.pages[part.page] = Some(Page::Filled { byte, host });
            }
        }
        Ok(())
    }

    pub(crate) fn load(&self, address: u64, width: usize) -> Result<Value, OutOfBounds> {
        let (bytes, host) = self.read(address, width)?;
        let mut wide = [0; 8];
        let bits = match self.endian {
            Endian::Little => {
                wide[..width].copy_from_slice(&bytes);
                u64::from_le_bytes(wide)
            }
            Endian::Big => {
                wide[8 - width..].copy_from_slice(&bytes);
                u64::from_be_bytes(wide)
            }
        };
        Ok(Value {
            host,
            ..Value::known(bits)
        })
    }

    pub(crate) fn store(
        &mut self,
        address: u64,
        width: usize,
        value: Value,
    ) -> Result<(), OutOfBounds> {
        let (little, big) = (value.bits.to_le_bytes(), value.bits.to_be_bytes());
        let bytes = match self.endian {
            Endian::Little => &little[..width],
            Endian::Big => &big[8 - width..],
        };
        self.write(address, bytes, value.host)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    /// What was written is there, whatever pages it lies in, and the rest is as it was.
    #[test]
    fn pages_are_seen_as_one_stretch() {
        let base: Vec<u8> = (0..3 * PAGE + 100).map(|at| (at % 251) as u8).collect();
        let mut memory = Memory::new(Endian::Little);
        memory.add(vec![0; 8], true, false);
        let region = memory.add(base.as_slice(), true, false);
        let at = |offset: usize| Memory::address(region, offset as u64);
        let mut expect = base.clone();
        let mut from_host = vec![false; base.len()];
        let mut put = |memory: &mut Memory<'_>, offset: usize, bytes: &[u8], host| {
            memory.write(at(offset), bytes, host).unwrap();
            expect[offset..offset + bytes.len()].copy_from_slice(bytes);
            from_host[offset..offset + bytes.len()].fill(host);
        };
        put(&mut memory, 10, &[1, 2, 3], true);
        put(&mut memory, PAGE - 1, &[4, 5], false);
        put(&mut memory, 3 * PAGE + 98, &[6, 7], true);
        memory.fill(at(PAGE), 2 * PAGE, 9, true).unwrap();
        expect[PAGE..3 * PAGE].fill(9);
        from_host[PAGE..3 * PAGE].fill(true);
        memory.fill(at(2 * PAGE + 5), 7, 0, false).unwrap();
        expect[2 * PAGE + 5..2 * PAGE + 12].fill(0);
        from_host[2 * PAGE + 5..2 * PAGE + 12].fill(false);
        for (offset, len) in [
            (0, base.len()),
            (9, 1),
            (9, 2),
            (13, PAGE),
            (PAGE - 2, 4),
            (2 * PAGE + 5, 7),
            (2 * PAGE + 4, 8),
            (3 * PAGE, 100),
            (40, 0),
        ] {
            let (bytes, host) = memory.read(at(offset), len).unwrap();
            let range = offset..offset + len;
            assert_eq!(bytes, &expect[range.clone()], "{offset} {len}");
            assert_eq!(host, from_host[range].contains(&true), "{offset} {len}");
        }
        let written: Vec<usize> = memory.written(region).map(|(offset, _)| offset).collect();
        assert_eq!(written, [0, PAGE, 2 * PAGE, 3 * PAGE]);
        for (offset, bytes) in memory.written(region) {
            assert_eq!(bytes, &expect[offset..offset + bytes.len()]);
        }
        for (offset, len) in [(base.len(), 1), (3 * PAGE, 101), (usize::MAX >> 30, 1)] {
            assert!(memory.read(at(offset), len).is_err());
            assert!(memory.write(at(offset), &vec![0; len], false).is_err());
        }
    }

    #[test]
    fn zeroes_at_the_end_are_a_number() {
        let mut memory = Memory::new(Endian::Little);
        let region = memory.add(vec![0; 5 * PAGE], true, false);
        let at = |offset: usize| Memory::address(region, offset as u64);
        let contents = |memory: &Memory<'_>, offset, len| memory.contents(at(offset), len).unwrap();
        let (all, host) = contents(&memory, 7, 4 * PAGE);
        assert!(all.is_zero() && all.len() == 4 * PAGE && !host);
        memory.write(at(PAGE + 1), &[8], false).unwrap();
        memory.write(at(3 * PAGE), &[0], true).unwrap();
        let (found, host) = contents(&memory, PAGE, 3 * PAGE);
        assert_eq!(
            (found.head(), found.len(), host),
            (&[0, 8][..], 3 * PAGE, true)
        );
        let (found, host) = contents(&memory, PAGE, PAGE);
        assert_eq!(
            (found.head(), found.len(), host),
            (&[0, 8][..], PAGE, false)
        );
        assert!(contents(&memory, 0, 0).0.is_empty());
    }

    #[test]
    fn what_is_only_read_cannot_be_written() {
        let mut memory = Memory::new(Endian::Big);
        let region = memory.add(vec![1, 2, 3, 4], false, true);
        let address = Memory::address(region, 0);
        assert!(memory.write(address, &[0], false).is_err());
        assert!(memory.fill(address, 1, 0, false).is_err());
        let value = memory.load(address, 4).unwrap();
        assert_eq!((value.bits, value.host), (0x0102_0304, true));
        assert_eq!(*memory.read_up_to(address + 2, 9).unwrap(), [3, 4]);
        assert_eq!(*memory.start_of(region, 2), [1, 2]);
    }
}
