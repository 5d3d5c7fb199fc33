//! The memory that a loader can reach: its stack frame, its context, its maps.
//!
//! Addresses are made up: a region lies at its number, shifted. Beside each byte stands whether it
//! came from the host, so that it can be told what a host has a say in.

use bpfseal_object::Endian;

/// Bits of an address below the number of its region.
const SHIFT: u32 = 40;

/// A stretch of memory.
#[derive(Debug, Clone)]
pub(crate) struct Region {
    bytes: Vec<u8>,
    /// Which of the bytes came from the host.
    host: Vec<bool>,
    writable: bool,
}

/// A region, by its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RegionId(usize);

/// All that a loader can reach.
#[derive(Debug, Clone)]
pub(crate) struct Memory {
    pub(crate) endian: Endian,
    regions: Vec<Region>,
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
}

impl Value {
    pub(crate) fn known(bits: u64) -> Self {
        Self { bits, host: false }
    }

    pub(crate) fn signed(number: i64) -> Self {
        Self::known(number.cast_unsigned())
    }
}

impl Memory {
    pub(crate) fn new(endian: Endian) -> Self {
        Self {
            endian,
            regions: Vec::new(),
        }
    }

    /// Adds a region; `host` says whether all of it comes from the host.
    pub(crate) fn add(&mut self, bytes: Vec<u8>, writable: bool, host: bool) -> RegionId {
        self.regions.push(Region {
            host: vec![host; bytes.len()],
            bytes,
            writable,
        });
        RegionId(self.regions.len() - 1)
    }

    /// The address of a byte of a region.
    pub(crate) fn address(region: RegionId, offset: u64) -> u64 {
        ((region.0 as u64 + 1) << SHIFT).wrapping_add(offset)
    }

    pub(crate) fn bytes_of(&self, region: RegionId) -> &[u8] {
        &self.regions[region.0].bytes
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
        if end > region.bytes.len() || (write && !region.writable) {
            return Err(fault);
        }
        Ok((index, offset))
    }

    /// Bytes, and whether any of them came from the host.
    pub(crate) fn read(&self, address: u64, len: usize) -> Result<(&[u8], bool), OutOfBounds> {
        let (index, offset) = self.find(address, len, false)?;
        let region = &self.regions[index];
        let range = offset..offset + len;
        let host = region.host[range.clone()].iter().any(|host| *host);
        Ok((&region.bytes[range], host))
    }

    /// Bytes up to the end of their region, at most that many.
    pub(crate) fn read_up_to(&self, address: u64, len: usize) -> Result<&[u8], OutOfBounds> {
        let (index, offset) = self.find(address, 0, false)?;
        let bytes = &self.regions[index].bytes[offset..];
        Ok(&bytes[..bytes.len().min(len)])
    }

    pub(crate) fn write(
        &mut self,
        address: u64,
        bytes: &[u8],
        host: bool,
    ) -> Result<(), OutOfBounds> {
        let (index, offset) = self.find(address, bytes.len(), true)?;
        let region = &mut self.regions[index];
        let range = offset..offset + bytes.len();
        region.bytes[range.clone()].copy_from_slice(bytes);
        region.host[range].fill(host);
        Ok(())
    }

    pub(crate) fn load(&self, address: u64, width: usize) -> Result<Value, OutOfBounds> {
        let (bytes, host) = self.read(address, width)?;
        let mut wide = [0; 8];
        let bits = match self.endian {
            Endian::Little => {
                wide[..width].copy_from_slice(bytes);
                u64::from_le_bytes(wide)
            }
            Endian::Big => {
                wide[8 - width..].copy_from_slice(bytes);
                u64::from_be_bytes(wide)
            }
        };
        Ok(Value { bits, host })
    }

    pub(crate) fn store(
        &mut self,
        address: u64,
        width: usize,
        value: Value,
    ) -> Result<(), OutOfBounds> {
        let bytes = match self.endian {
            Endian::Little => value.bits.to_le_bytes()[..width].to_vec(),
            Endian::Big => value.bits.to_be_bytes()[8 - width..].to_vec(),
        };
        self.write(address, &bytes, value.host)
    }
}
