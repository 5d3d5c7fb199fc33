//! Work on a thread whose descriptor table nobody shares.
//!
//! What a loader makes lies in the table of its task, by number, until it is taken. Another thread
//! with the same table can write to a map before the loader freezes it, or put a map of its own in
//! its place (`dup2(2)`); the loader cannot tell. On a thread with a table of its own nobody can:
//! what was made is handed over when the loader has ended.
//!
//! Nothing here keeps root out: a tracer, or whoever may open maps by their ids, reaches them still.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd, RawFd};

use bpfseal_uapi::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

use crate::error::last_errno;

/// Descriptors of one message. The kernel takes 253 at most.
const BATCH: usize = 64;

/// Does something on a new thread, whose descriptor table has nothing but standard input, output and
/// error, and what is to be kept. The descriptors that it puts into the list are handed over to the
/// caller, in their order; all others that it opens are closed.
///
/// There are fewer than were made if the caller may not have that many.
///
/// # Errors
/// Where there is no such thread; the work has not begun then.
pub(crate) fn apart<T: Send>(
    keep: BorrowedFd<'_>,
    work: impl FnOnce(&mut Vec<OwnedFd>) -> T + Send,
) -> Result<(T, Vec<OwnedFd>), Errno> {
    let flags = SocketFlags::CLOEXEC;
    let pair = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None);
    let (here, there) = pair.map_err(errno)?;
    let there = &there;
    let (done, sent) = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("bpfseal-loader".to_owned());
        let thread = thread.spawn_scoped(scope, move || {
            own_table([keep.as_raw_fd(), there.as_raw_fd()])?;
            let mut made = Vec::new();
            let done = work(&mut made);
            let sent = made
                .chunks(BATCH)
                .map_while(|fds| send(there.as_fd(), fds).ok());
            let sent = sent.sum::<usize>();
            drop(made);
            // Before the caller goes on: a thread's table outlives it for a moment.
            close_range(libc::STDERR_FILENO + 1, RawFd::MAX, 0);
            Ok((done, sent))
        });
        let thread = thread.map_err(|e| crate::error::of_io(&e))?;
        thread.join().map_err(|_| Errno::EIO)?
    })?;
    let mut fds = Vec::new();
    while fds.len() < sent {
        let expected = (sent - fds.len()).min(BATCH);
        let got = receive(here.as_fd())?;
        let all = got.len() == expected;
        fds.extend(got);
        if !all {
            break;
        }
    }
    Ok((done, fds))
}

fn errno(error: rustix::io::Errno) -> Errno {
    Errno(error.raw_os_error())
}

/// Gives the calling thread a descriptor table of its own, with the standard descriptors and two
/// more in it.
fn own_table(mut keep: [RawFd; 2]) -> Result<(), Errno> {
    keep.sort_unstable();
    let [first, second] = keep;
    // At once, where the kernel can: descriptors that are not kept are not even copied.
    if !close_range(second + 1, RawFd::MAX, libc::CLOSE_RANGE_UNSHARE) {
        // SAFETY: takes flags only. Nothing of this thread refers to a descriptor by its number but
        // what the caller keeps, which is in the copy of the table too.
        if unsafe { libc::unshare(libc::CLONE_FILES) } < 0 {
            return Err(last_errno());
        }
        close_range(second + 1, RawFd::MAX, 0);
    }
    let standard = libc::STDERR_FILENO;
    close_range(standard + 1, first - 1, 0);
    close_range(first + 1, second - 1, 0);
    // A loader takes a descriptor 0 for none, and standard ones are nobody's to leave.
    loop {
        // SAFETY: duplicates a descriptor that the caller keeps, into the lowest free place.
        let filled = unsafe { libc::fcntl(second, libc::F_DUPFD, 0) };
        if filled < 0 {
            return Err(last_errno());
        }
        if filled > standard {
            close_range(filled, filled, 0);
            return Ok(());
        }
    }
}

/// Closes descriptors of the calling thread's table, from one to another; false where the kernel
/// does not. With [`libc::CLOSE_RANGE_UNSHARE`] it is the thread's own table first.
///
/// Only for [`apart`]: no descriptor of its table but those it keeps has an owner on its thread.
fn close_range(first: RawFd, last: RawFd, flags: libc::c_uint) -> bool {
    if first > last {
        return true;
    }
    // SAFETY: three numbers. The table is the thread's own, before or by this call, so that no
    // descriptor of another thread is closed; those of this thread that are in the range have no
    // owner, which the callers see to.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) };
    result == 0
}

/// Sends descriptors; how many.
fn send(socket: BorrowedFd<'_>, fds: &[OwnedFd]) -> Result<usize, Errno> {
    let fds: Vec<_> = fds.iter().map(OwnedFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
    let mut message = SendAncillaryBuffer::new(&mut space);
    message.push(SendAncillaryMessage::ScmRights(&fds));
    let sent = sendmsg(
        socket,
        &[IoSlice::new(b"d")],
        &mut message,
        SendFlags::DONTWAIT,
    );
    sent.map_err(errno)?;
    Ok(fds.len())
}

/// Receives the descriptors of one message; fewer where this process may not have more.
fn receive(socket: BorrowedFd<'_>) -> Result<Vec<OwnedFd>, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
    let mut message = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let mut byte = [0];
    recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut byte)],
        &mut message,
        flags,
    )
    .map_err(errno)?;
    let mut fds = Vec::new();
    for part in message.drain() {
        if let RecvAncillaryMessage::ScmRights(part) = part {
            fds.extend(part);
        }
    }
    Ok(fds)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use std::path::{Path, PathBuf};

    /// What the descriptors of a thread refer to.
    fn table(thread: &Path) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(thread.join("fd")).unwrap();
        let links = entries.map(|entry| std::fs::read_link(entry.unwrap().path()));
        // The one of the folder itself is gone by now.
        links.filter_map(Result::ok).collect()
    }

    fn this_thread() -> PathBuf {
        let thread = std::fs::read_link("/proc/thread-self").unwrap();
        Path::new("/proc").join(thread)
    }

    /// Files with names of their own.
    struct Files(PathBuf);

    impl Files {
        fn new(name: &str) -> Self {
            let folder = format!("bpfseal-apart-{name}-{}", std::process::id());
            let folder = std::env::temp_dir().join(folder);
            std::fs::create_dir_all(&folder).unwrap();
            Self(folder.canonicalize().unwrap())
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.join(name)
        }

        fn open(&self, name: &str) -> OwnedFd {
            std::fs::File::create(self.path(name)).unwrap().into()
        }
    }

    impl Drop for Files {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn nobody_shares_the_table() {
        let files = Files::new("table");
        let (kept, other) = (files.open("kept"), files.open("other"));
        let caller = this_thread();
        let files = &files;
        let ((), handed) = apart(kept.as_fd(), |hand| {
            let (left, given) = (files.open("left"), files.open("given"));
            let (own, callers) = (table(&this_thread()), table(&caller));
            let is_in = |table: &[PathBuf], name| table.contains(&files.path(name));
            assert!(is_in(&own, "left") && is_in(&own, "given") && is_in(&own, "kept"));
            assert!(!is_in(&own, "other"));
            assert!(!is_in(&callers, "left") && !is_in(&callers, "given"));
            hand.push(given);
            // What is not given goes with the thread.
            std::mem::forget(left);
        })
        .unwrap();
        let here = table(&this_thread());
        assert_eq!(handed.len(), 1);
        let link = format!("/proc/self/fd/{}", handed[0].as_raw_fd());
        assert_eq!(std::fs::read_link(link).unwrap(), files.path("given"));
        assert!(!here.contains(&files.path("left")));
        assert!(here.contains(&files.path("other")));
        drop((kept, other));
    }

    #[test]
    fn many_come_in_their_order() {
        let files = Files::new("many");
        let kept = files.open("kept");
        let files = &files;
        for count in [0, 1, BATCH, BATCH + 1, 3 * BATCH - 1] {
            let (made, handed) = apart(kept.as_fd(), |hand| {
                hand.extend((0..count).map(|number| files.open(&number.to_string())));
                count
            })
            .unwrap();
            assert_eq!((made, handed.len()), (count, count));
            for (number, fd) in handed.iter().enumerate() {
                let link = format!("/proc/self/fd/{}", fd.as_raw_fd());
                let path = files.path(&number.to_string());
                assert_eq!(std::fs::read_link(link).unwrap(), path);
            }
        }
    }

    #[test]
    fn work_that_panics_is_an_error() {
        let files = Files::new("panic");
        let kept = files.open("kept");
        // Without the hook that prints.
        let result = apart(kept.as_fd(), |_| -> () {
            std::panic::resume_unwind(Box::new(()))
        });
        assert_eq!(result.map(drop), Err(Errno::EIO));
    }
}
