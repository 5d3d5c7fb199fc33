//! Values of a map in the memory of this process.

use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::sync::{PoisonError, RwLock};

use bpfseal_uapi::Errno;

/// Values of a map in memory, until it is dropped. They change while programs run, so there is no
/// access to them by reference.
///
/// BPF programs write at any time, so a read may return part of an old value and part of a new one.
/// Reads of 1, 2, 4 or 8 bytes at a multiple of their size are a single access. Threads of this process that
/// share a mapping never see half of each other's writes.
#[derive(Debug)]
pub struct Mapping {
    address: *mut libc::c_void,
    len: usize,
    writable: bool,
    /// Serializes the accesses of this process. Accesses by the kernel are outside the language's
    /// memory model, like those of another process; volatile accesses by two threads are not, and
    /// would be a data race.
    turn: RwLock<()>,
}

// SAFETY: no reference to the memory is ever handed out. Accesses are volatile, because the kernel
// accesses the memory too, and `turn` orders those of this process: readers together, a writer
// alone.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps `len` bytes of what a descriptor stands for.
    pub(crate) fn new(fd: BorrowedFd<'_>, len: usize, writable: bool) -> Result<Self, Errno> {
        let protection = if writable {
            libc::PROT_READ | libc::PROT_WRITE
        } else {
            libc::PROT_READ
        };
        // SAFETY: the kernel chooses the address, so no memory of ours is replaced.
        let address = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                protection,
                libc::MAP_SHARED,
                fd.as_raw_fd(),
                0,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(crate::error::last_errno());
        }
        Ok(Self {
            address,
            len,
            writable,
            turn: RwLock::new(()),
        })
    }

    /// Bytes of it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether it can be written.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.writable
    }

    /// A copy of all bytes as they are now.
    #[must_use]
    pub fn read(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len];
        let _whole = self.read_at(0, &mut bytes);
        bytes
    }

    /// Copies bytes out of it; whether they are inside. 1, 2, 4 or 8 bytes at an offset that is a
    /// multiple of their count are read at once, as a program writes them.
    #[must_use = "nothing is copied when the bytes are not inside"]
    pub fn read_at(&self, offset: usize, to: &mut [u8]) -> bool {
        let Some(from) = self.inside(offset, to.len()) else {
            return false;
        };
        // The lock protects no state that a panic could leave inconsistent.
        let _turn = self.turn.read().unwrap_or_else(PoisonError::into_inner);
        // SAFETY (all): `inside` has checked the range; the mapping is readable and lives as long
        // as `self`; it starts at a page, so that offsets align addresses; no other thread of this
        // process writes through this mapping until `_turn` is dropped.
        match to.len() {
            2 if offset.is_multiple_of(2) => {
                // SAFETY: see above.
                let value = unsafe { from.cast::<u16>().read_volatile() };
                to.copy_from_slice(&value.to_ne_bytes());
            }
            4 if offset.is_multiple_of(4) => {
                // SAFETY: see above.
                let value = unsafe { from.cast::<u32>().read_volatile() };
                to.copy_from_slice(&value.to_ne_bytes());
            }
            8 if offset.is_multiple_of(8) => {
                // SAFETY: see above.
                let value = unsafe { from.cast::<u64>().read_volatile() };
                to.copy_from_slice(&value.to_ne_bytes());
            }
            _ => {
                for (at, byte) in to.iter_mut().enumerate() {
                    // SAFETY: see above.
                    *byte = unsafe { from.add(at).read_volatile() };
                }
            }
        }
        true
    }

    /// Copies bytes into it; whether they are inside, and it is writable. Written at once as they
    /// are read.
    #[must_use = "nothing is written when the bytes are not inside"]
    pub fn write_at(&self, offset: usize, bytes: &[u8]) -> bool {
        let Some(to) = self.inside(offset, bytes.len()).filter(|_| self.writable) else {
            return false;
        };
        let _turn = self.turn.write().unwrap_or_else(PoisonError::into_inner);
        // SAFETY (all): as for `read_at`, and the mapping is writable; no other thread of this
        // process reads or writes through it until `_turn` is dropped.
        match *bytes {
            [a, b] if offset.is_multiple_of(2) => {
                // SAFETY: see above.
                unsafe { to.cast::<u16>().write_volatile(u16::from_ne_bytes([a, b])) };
            }
            [a, b, c, d] if offset.is_multiple_of(4) => {
                let value = u32::from_ne_bytes([a, b, c, d]);
                // SAFETY: see above.
                unsafe { to.cast::<u32>().write_volatile(value) };
            }
            [a, b, c, d, e, f, g, h] if offset.is_multiple_of(8) => {
                let value = u64::from_ne_bytes([a, b, c, d, e, f, g, h]);
                // SAFETY: see above.
                unsafe { to.cast::<u64>().write_volatile(value) };
            }
            _ => {
                for (at, byte) in bytes.iter().enumerate() {
                    // SAFETY: see above.
                    unsafe { to.add(at).write_volatile(*byte) };
                }
            }
        }
        true
    }

    fn inside(&self, offset: usize, len: usize) -> Option<*mut u8> {
        let end = offset.checked_add(len)?;
        // SAFETY: not behind the end of the mapping.
        (end <= self.len).then(|| unsafe { self.address.cast::<u8>().add(offset) })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: address and length are those that `mmap` returned, and nothing borrows from it.
        unsafe { libc::munmap(self.address, self.len) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::{AsFd as _, FromRawFd as _, OwnedFd};

    /// Memory that is mapped as a map would be.
    fn memory(len: usize, writable: bool) -> Mapping {
        // SAFETY: the name ends in a NUL.
        let fd = unsafe { libc::memfd_create(c"test".as_ptr(), libc::MFD_CLOEXEC) };
        assert!(fd >= 0);
        // SAFETY: the kernel has just made it, and nobody else has it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let file = std::fs::File::from(fd);
        file.set_len(len as u64).unwrap();
        Mapping::new(file.as_fd(), len, writable).unwrap()
    }

    #[test]
    fn what_is_written_is_read_at_any_width() {
        let mapping = memory(64, true);
        for len in [1, 2, 3, 4, 7, 8, 16] {
            for offset in [0, 1, 4, 8, 13] {
                let bytes: Vec<u8> = (0..len).map(|i| i * 3 + offset as u8).collect();
                assert!(mapping.write_at(offset, &bytes));
                let mut read = vec![0; bytes.len()];
                assert!(mapping.read_at(offset, &mut read));
                assert_eq!(read, bytes, "{len} bytes at {offset}");
            }
        }
        assert!(!mapping.write_at(61, &[0; 4]) && !mapping.read_at(usize::MAX, &mut [0; 2]));
        assert!(!memory(64, false).write_at(0, &[1]));
    }

    #[test]
    fn threads_do_not_see_half_of_a_write() {
        let mapping = memory(64, true);
        let part = |from: usize, to: u8| {
            for round in 0..to {
                assert!(mapping.write_at(from, &[round; 24]));
                let mut read = [0; 24];
                assert!(mapping.read_at(from, &mut read));
                assert!(read.iter().all(|byte| *byte == read[0]), "{read:?}");
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| part(8, 200));
            }
        });
    }
}
