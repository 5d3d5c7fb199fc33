//! Ring buffers: records that programs send to user space.
//!
//! The kernel's side is `kernel/bpf/ringbuf.c` and `Documentation/bpf/ringbuf.rst`: one page with
//! the position up to which everything was read, which the reader writes; one page with the
//! position up to which something was written; then the data, mapped twice in a row, so that no
//! record is ever in two pieces. Positions only grow. Before each record stands its length, in
//! which one bit says that the program is still writing it, and one that it took it back.

use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bpfseal_uapi::{
    BPF_F_RB_OVERWRITE, BPF_RINGBUF_BUSY_BIT as BUSY, BPF_RINGBUF_DISCARD_BIT as DISCARDED,
    BPF_RINGBUF_HDR_SZ, Errno, map,
};

use crate::error::{SyscallError, last_errno, of_io};
use crate::map::Map;
use crate::system::System;

/// Bytes before a record.
const HEADER: usize = BPF_RINGBUF_HDR_SZ as usize;

/// The reader of a ring buffer (`BPF_MAP_TYPE_RINGBUF`, Linux 5.8). A ring buffer has one reader:
/// two take each other's records away.
///
/// ```no_run
/// # fn show(events: &bpfseal_kernel::Map) -> Result<(), bpfseal_kernel::SyscallError> {
/// use std::time::Duration;
/// use bpfseal_kernel::{Linux, RingBuffer};
///
/// let mut ring = RingBuffer::new(&Linux, events)?;
/// while ring.wait(Some(Duration::from_secs(1)))? {
///     while let Some(record) = ring.next_record() {
///         println!("{} bytes", record.len());
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct RingBuffer {
    fd: OwnedFd,
    name: String,
    memory: Memory,
    /// Where the next record begins: what the page of the reader says, too.
    position: usize,
    /// A copy of the record that was read last.
    record: Vec<u8>,
}

impl RingBuffer {
    /// Reads what programs send through a map. Reading goes on where it was left off: the kernel
    /// keeps the position in the map.
    ///
    /// # Errors
    /// `EINVAL` for a map that is no ring buffer; `EOPNOTSUPP` for one that overwrites what was not
    /// read (`BPF_F_RB_OVERWRITE`), which has no place to go on from; what `dup` and `mmap` answer.
    pub fn new(system: &dyn System, map: &Map) -> Result<Self, SyscallError> {
        let info = map.info(system)?;
        let fail = |call, errno| SyscallError::new(call, format!("map `{}`", info.name), errno);
        if info.map_type != map::RINGBUF {
            return Err(fail("mmap", Errno::EINVAL));
        }
        if info.flags & BPF_F_RB_OVERWRITE != 0 {
            return Err(fail("mmap", Errno::EOPNOTSUPP));
        }
        let fd = map.as_fd().try_clone_to_owned();
        let fd = fd.map_err(|e| fail("dup", of_io(&e)))?;
        let size = info.max_entries as usize;
        let memory = Memory::map(fd.as_fd(), size).map_err(|errno| fail("mmap", errno))?;
        let position = memory.consumer().load(Ordering::Relaxed);
        Ok(Self {
            fd,
            name: info.name,
            memory,
            position,
            record: Vec::new(),
        })
    }

    /// The next record, if there is one: a copy, which stays until the next call. What a program
    /// took back is passed over.
    pub fn next_record(&mut self) -> Option<&[u8]> {
        loop {
            let written = self.memory.producer().load(Ordering::Acquire);
            let unread = written.wrapping_sub(self.position);
            if unread == 0 {
                return None;
            }
            let word = self.memory.header(self.position).load(Ordering::Acquire);
            if word & BUSY != 0 {
                return None;
            }
            let len = (word & !DISCARDED) as usize;
            let next = (HEADER + len).next_multiple_of(HEADER);
            if unread > self.memory.size || next > unread {
                // No kernel writes this. What there is can not be told apart any more.
                self.advance(unread);
                return None;
            }
            let discarded = word & DISCARDED != 0;
            if !discarded {
                self.memory
                    .copy(self.position.wrapping_add(HEADER), len, &mut self.record);
            }
            self.advance(next);
            if !discarded {
                return Some(&self.record);
            }
        }
    }

    /// Gives the kernel the room of what was read.
    fn advance(&mut self, bytes: usize) {
        self.position = self.position.wrapping_add(bytes);
        // Whatever was read was read before.
        self.memory
            .consumer()
            .store(self.position, Ordering::Release);
    }

    /// Waits until there is a record, as long as `timeout` at most, or for ever without one.
    /// Whether there is one: a program may still be writing it, so that
    /// [`Self::next_record`] may find nothing yet.
    ///
    /// # Errors
    /// What `poll` answers. That a signal came is no error: the wait goes on.
    pub fn wait(&self, timeout: Option<Duration>) -> Result<bool, SyscallError> {
        let end = timeout.map(|timeout| Instant::now() + timeout);
        loop {
            let left = match end {
                None => -1,
                Some(end) => {
                    let left = end.saturating_duration_since(Instant::now());
                    // Not shorter than asked for: `poll` counts whole milliseconds.
                    let left = left.as_nanos().div_ceil(1_000_000);
                    i32::try_from(left).unwrap_or(i32::MAX)
                }
            };
            match poll(self.fd.as_fd(), left) {
                Ok(0) if end.is_some_and(|end| Instant::now() < end) => {}
                Ok(ready) => return Ok(ready > 0),
                Err(Errno::EINTR) => {}
                Err(errno) => {
                    let on = format!("map `{}`", self.name);
                    return Err(SyscallError::new("poll", on, errno));
                }
            }
        }
    }
}

impl AsFd for RingBuffer {
    /// The map's descriptor: it is readable when there is a record, for loops that wait for more
    /// than one thing.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn poll(fd: BorrowedFd<'_>, timeout: i32) -> Result<i32, Errno> {
    let mut asked = libc::pollfd {
        fd: fd.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one initialised entry, which is borrowed for the call.
    let ready = unsafe { libc::poll(&raw mut asked, 1, timeout) };
    if ready < 0 {
        Err(last_errno())
    } else {
        Ok(ready)
    }
}

/// The pages of a ring buffer.
#[derive(Debug)]
struct Memory {
    /// The page of the reader, writable.
    own: Pages,
    /// The page of the writer, and the data twice; read only.
    theirs: Pages,
    /// Bytes of the data: a power of two, and a multiple of a page.
    size: usize,
    page: usize,
}

impl Memory {
    fn map(fd: BorrowedFd<'_>, size: usize) -> Result<Self, Errno> {
        // SAFETY: it only answers.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        let page = usize::try_from(page).map_err(|_| Errno::EINVAL)?;
        if !size.is_power_of_two() || !size.is_multiple_of(page) {
            return Err(Errno::EINVAL);
        }
        let all = size.checked_mul(2).and_then(|data| data.checked_add(page));
        let all = all.ok_or(Errno::EINVAL)?;
        Ok(Self {
            own: Pages::map(fd, 0, page, libc::PROT_READ | libc::PROT_WRITE)?,
            theirs: Pages::map(fd, page, all, libc::PROT_READ)?,
            size,
            page,
        })
    }

    /// How far everything was read.
    fn consumer(&self) -> &AtomicUsize {
        // SAFETY: a page of that mapping, aligned and readable and writable, which lives as long
        // as `self`; the kernel reads it at once, and nobody accesses it otherwise.
        unsafe { AtomicUsize::from_ptr(self.own.at(0).cast()) }
    }

    /// How far something was written.
    fn producer(&self) -> &AtomicUsize {
        // SAFETY: as above; it is only read, which the page allows, and the kernel writes it at
        // once.
        unsafe { AtomicUsize::from_ptr(self.theirs.at(0).cast()) }
    }

    /// The first word of the record at a position: length and bits.
    fn header(&self, position: usize) -> &AtomicU32 {
        // Positions are multiples of 8; one that is not would only be rounded down.
        let at = self.page + (position & (self.size - 1) & !(HEADER - 1));
        // SAFETY: inside of the mapped data, aligned, and only read, as above.
        unsafe { AtomicU32::from_ptr(self.theirs.at(at).cast()) }
    }

    /// Copies a record out, which goes over the end of the data into its second mapping.
    fn copy(&self, position: usize, len: usize, to: &mut Vec<u8>) {
        let len = len.min(self.size);
        let from = self.theirs.at(self.page + (position & (self.size - 1)));
        to.clear();
        to.reserve(len);
        // SAFETY: the data is mapped twice, so that `len` bytes, at most its size, are there
        // behind any place in the first. The kernel does not write to a record between its end and
        // our moving on, and no reference to it is ever given out. `to` has room for them, and all
        // of them are written.
        unsafe {
            std::ptr::copy_nonoverlapping(from, to.as_mut_ptr(), len);
            to.set_len(len);
        }
    }
}

/// Mapped pages.
#[derive(Debug)]
struct Pages {
    address: *mut libc::c_void,
    len: NonZeroUsize,
}

// SAFETY: the pages belong to whoever has them; they can be unmapped from any thread. All access
// is by atomics, or by a copy under the exclusive borrow of a `RingBuffer`.
unsafe impl Send for Pages {}
// SAFETY: as above.
unsafe impl Sync for Pages {}

impl Pages {
    fn map(fd: BorrowedFd<'_>, offset: usize, len: usize, protection: i32) -> Result<Self, Errno> {
        let len = NonZeroUsize::new(len).ok_or(Errno::EINVAL)?;
        let offset = libc::off_t::try_from(offset).map_err(|_| Errno::EINVAL)?;
        // SAFETY: the kernel chooses the address, so no memory of ours is replaced.
        let address = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len.get(),
                protection,
                libc::MAP_SHARED,
                fd.as_raw_fd(),
                offset,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(last_errno());
        }
        Ok(Self { address, len })
    }

    /// The address of a byte inside of them.
    fn at(&self, offset: usize) -> *mut u8 {
        assert!(offset < self.len.get(), "callers stay inside");
        // SAFETY: not behind the end of the mapping.
        unsafe { self.address.cast::<u8>().add(offset) }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: address and length are those that `mmap` returned, and nothing borrows from it.
        unsafe { libc::munmap(self.address, self.len.get()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::fd::FromRawFd as _;
    use std::os::unix::fs::FileExt as _;

    /// A file laid out as a ring buffer, and who writes into it as the kernel does.
    struct Fake {
        file: File,
        page: usize,
        size: usize,
        written: usize,
    }

    impl Fake {
        fn new(start: usize) -> (Self, RingBuffer) {
            // SAFETY: it only answers.
            let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
            // SAFETY: the name ends in a NUL.
            let fd = unsafe { libc::memfd_create(c"ring".as_ptr(), libc::MFD_CLOEXEC) };
            assert!(fd >= 0);
            // SAFETY: the kernel has just made it, and nobody else has it.
            let file = File::from(unsafe { OwnedFd::from_raw_fd(fd) });
            let size = page;
            file.set_len((2 * page + 2 * size) as u64).unwrap();
            let fake = Self {
                file,
                page,
                size,
                written: start,
            };
            fake.put(0, &start.to_ne_bytes());
            fake.put(page, &start.to_ne_bytes());
            let ring = RingBuffer {
                fd: fake.file.as_fd().try_clone_to_owned().unwrap(),
                name: "fake".to_owned(),
                memory: Memory::map(fake.file.as_fd(), size).unwrap(),
                position: start,
                record: Vec::new(),
            };
            (fake, ring)
        }

        fn put(&self, at: usize, bytes: &[u8]) {
            self.file.write_all_at(bytes, at as u64).unwrap();
        }

        /// Writes data where both mappings of it show it.
        fn data(&self, position: usize, bytes: &[u8]) {
            for (index, byte) in bytes.iter().enumerate() {
                let at = position.wrapping_add(index) & (self.size - 1);
                self.put(2 * self.page + at, &[*byte]);
                self.put(2 * self.page + self.size + at, &[*byte]);
            }
        }

        /// Writes a record with these bits; where it begins.
        fn write(&mut self, bytes: &[u8], bits: u32) -> usize {
            let start = self.written;
            let word = u32::try_from(bytes.len()).unwrap() | bits;
            self.data(start, &word.to_ne_bytes());
            self.data(start.wrapping_add(HEADER), bytes);
            self.written = start.wrapping_add((HEADER + bytes.len()).next_multiple_of(8));
            self.put(self.page, &self.written.to_ne_bytes());
            start
        }

        fn read_up_to(&self) -> usize {
            let mut bytes = [0; size_of::<usize>()];
            self.file.read_exact_at(&mut bytes, 0).unwrap();
            usize::from_ne_bytes(bytes)
        }
    }

    #[test]
    fn records_come_in_order_and_make_room() {
        let (mut fake, mut ring) = Fake::new(0);
        assert_eq!(ring.next_record(), None);
        fake.write(b"one", 0);
        fake.write(b"", 0);
        fake.write(b"taken back", DISCARDED);
        fake.write(b"four four", 0);
        for expect in [&b"one"[..], b"", b"four four"] {
            assert_eq!(ring.next_record(), Some(expect));
        }
        assert_eq!(ring.next_record(), None);
        assert_eq!(fake.read_up_to(), fake.written);
    }

    #[test]
    fn what_is_still_written_is_waited_for() {
        let (mut fake, mut ring) = Fake::new(0);
        let start = fake.write(b"slow", BUSY);
        fake.write(b"fast", 0);
        assert_eq!(ring.next_record(), None);
        assert_eq!(fake.read_up_to(), 0);
        fake.data(start, &4u32.to_ne_bytes());
        assert_eq!(ring.next_record(), Some(&b"slow"[..]));
        assert_eq!(ring.next_record(), Some(&b"fast"[..]));
    }

    #[test]
    fn records_go_over_the_end_and_positions_around() {
        // Positions begin just before they start again from 0.
        for start in [0, usize::MAX - 4095] {
            let (mut fake, mut ring) = Fake::new(start);
            for round in 0..40u8 {
                let bytes = vec![round; 997 - usize::from(round)];
                fake.write(&bytes, 0);
                assert_eq!(ring.next_record(), Some(&bytes[..]), "{round}");
            }
            assert_eq!(ring.next_record(), None);
        }
    }

    #[test]
    fn lengths_that_can_not_be_are_passed_over() {
        for word in [4096, !BUSY & !DISCARDED] {
            let (mut fake, mut ring) = Fake::new(0);
            let start = fake.write(b"12345678", 0);
            fake.data(start, &u32::to_ne_bytes(word));
            assert_eq!(ring.next_record(), None);
            assert_eq!(fake.read_up_to(), fake.written);
            fake.write(b"again", 0);
            assert_eq!(ring.next_record(), Some(&b"again"[..]));
        }
    }

    #[test]
    fn sizes_that_no_ring_has_are_refused() {
        let (fake, _ring) = Fake::new(0);
        for size in [0, 1, fake.page * 3, usize::MAX] {
            let refused = Memory::map(fake.file.as_fd(), size).unwrap_err();
            assert_eq!(refused, Errno::EINVAL, "{size}");
        }
    }
}
