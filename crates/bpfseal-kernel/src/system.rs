//! The seam to the kernel: every system call of this crate goes through [`System`].

use crate::attr::Attr;

/// Commands of `bpf(2)` that are used here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the names are the kernel's")]
pub enum Command {
    BtfLoad,
    LinkCreate,
    MapCreate,
    MapFreeze,
    MapGetNextId,
    MapLookupElem,
    MapUpdateElem,
    ObjGetInfoByFd,
    ObjPin,
    ProgGetNextId,
    ProgLoad,
    ProgRun,
    RawTracepointOpen,
}

/// Command, number (`enum bpf_cmd`), name.
const COMMANDS: [(Command, i64, &str); 13] = [
    (Command::MapCreate, 0, "BPF_MAP_CREATE"),
    (Command::MapLookupElem, 1, "BPF_MAP_LOOKUP_ELEM"),
    (Command::MapUpdateElem, 2, "BPF_MAP_UPDATE_ELEM"),
    (Command::ProgLoad, 5, "BPF_PROG_LOAD"),
    (Command::ObjPin, 6, "BPF_OBJ_PIN"),
    (Command::ProgRun, 10, "BPF_PROG_RUN"),
    (Command::ProgGetNextId, 11, "BPF_PROG_GET_NEXT_ID"),
    (Command::MapGetNextId, 12, "BPF_MAP_GET_NEXT_ID"),
    (Command::ObjGetInfoByFd, 15, "BPF_OBJ_GET_INFO_BY_FD"),
    (Command::RawTracepointOpen, 17, "BPF_RAW_TRACEPOINT_OPEN"),
    (Command::BtfLoad, 18, "BPF_BTF_LOAD"),
    (Command::MapFreeze, 22, "BPF_MAP_FREEZE"),
    (Command::LinkCreate, 28, "BPF_LINK_CREATE"),
];

impl Command {
    fn row(self) -> (i64, &'static str) {
        COMMANDS
            .iter()
            .find(|row| row.0 == self)
            .map_or((-1, "bpf"), |row| (row.1, row.2))
    }

    /// The kernel's name of it.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().1
    }
}

/// The kernel, or a test double of it. Results are those of the system calls; failures are errnos.
pub trait System {
    /// `bpf(2)`.
    ///
    /// # Errors
    /// The errno.
    fn bpf(&self, command: Command, attr: &mut Attr<'_>) -> Result<i64, i32>;

    /// `add_key(2)`; the new key's serial number.
    ///
    /// # Errors
    /// The errno.
    fn add_key(
        &self,
        key_type: &std::ffi::CStr,
        description: &std::ffi::CStr,
        payload: &[u8],
        keyring: i32,
    ) -> Result<i32, i32>;

    /// `KEYCTL_GET_KEYRING_ID` of `keyctl(2)`: the serial number behind a special id.
    ///
    /// # Errors
    /// The errno.
    fn keyring_serial(&self, keyring: i32) -> Result<i32, i32>;
}

/// The running kernel.
#[derive(Debug, Clone, Copy, Default)]
pub struct Linux;

fn answer(result: i64) -> Result<i64, i32> {
    if result < 0 {
        Err(std::io::Error::last_os_error()
            .raw_os_error()
            .unwrap_or(libc::EIO))
    } else {
        Ok(result)
    }
}

impl System for Linux {
    fn bpf(&self, command: Command, attr: &mut Attr<'_>) -> Result<i64, i32> {
        let len = attr.len();
        // SAFETY: the attributes are `len` bytes of initialised memory, and whatever they point at
        // is borrowed for as long as they live, mutably where the kernel writes. That the sizes
        // in them fit what they point at is kept by the functions of this crate that fill them
        // in, which nothing outside of it can do.
        answer(unsafe { libc::syscall(libc::SYS_bpf, command.row().0, attr.as_mut_ptr(), len) })
    }

    fn add_key(
        &self,
        key_type: &std::ffi::CStr,
        description: &std::ffi::CStr,
        payload: &[u8],
        keyring: i32,
    ) -> Result<i32, i32> {
        // SAFETY: both texts end in a NUL, and the payload is given with its length; the kernel
        // only reads them.
        let serial = unsafe {
            libc::syscall(
                libc::SYS_add_key,
                key_type.as_ptr(),
                description.as_ptr(),
                payload.as_ptr(),
                payload.len(),
                keyring,
            )
        };
        answer(serial).and_then(|serial| i32::try_from(serial).map_err(|_| libc::EIO))
    }

    fn keyring_serial(&self, keyring: i32) -> Result<i32, i32> {
        // SAFETY: this operation takes numbers only.
        let serial =
            unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_GET_KEYRING_ID, keyring, 0) };
        answer(serial).and_then(|serial| i32::try_from(serial).map_err(|_| libc::EIO))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_in_the_table_once() {
        let numbers: std::collections::BTreeSet<_> = COMMANDS.iter().map(|row| row.1).collect();
        assert_eq!(numbers.len(), COMMANDS.len());
        assert_eq!(Command::ProgLoad.name(), "BPF_PROG_LOAD");
    }
}
