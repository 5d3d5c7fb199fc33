//! What scenarios and attacks are run on: the model, or in tests a real kernel.

use crate::errno::Errno;
use crate::kernel::{Answer, End, Fd, Kernel, MapCreate, ProgLoad};

/// Something that answers calls as a kernel does.
pub trait Machine {
    /// `BPF_MAP_CREATE`.
    ///
    /// # Errors
    /// The kernel's.
    fn create_map(&mut self, wanted: &MapCreate) -> Result<Fd, Errno>;
    /// `BPF_MAP_UPDATE_ELEM`.
    ///
    /// # Errors
    /// The kernel's.
    fn update(&mut self, fd: Fd, key: u32, value: &[u8], flags: u64) -> Result<(), Errno>;
    /// `BPF_MAP_LOOKUP_ELEM`.
    ///
    /// # Errors
    /// The kernel's.
    fn lookup(&mut self, fd: Fd, key: u32) -> Result<Vec<u8>, Errno>;
    /// `BPF_MAP_FREEZE`.
    ///
    /// # Errors
    /// The kernel's.
    fn freeze(&mut self, fd: Fd) -> Result<(), Errno>;
    /// A map's digest, by `BPF_OBJ_GET_INFO_BY_FD`.
    ///
    /// # Errors
    /// The kernel's.
    fn digest(&mut self, fd: Fd, size: u32) -> Result<(), Errno>;
    /// A writable mapping, which stays.
    ///
    /// # Errors
    /// The kernel's.
    fn writable(&mut self, fd: Fd) -> Result<(), Errno>;
    /// `BPF_BTF_LOAD` of small, good BTF.
    ///
    /// # Errors
    /// The kernel's.
    fn load_btf(&mut self) -> Result<Fd, Errno>;
    /// `BPF_PROG_LOAD`.
    fn load(&mut self, load: &ProgLoad) -> Answer;
    /// `BPF_PROG_RUN` of a program of type syscall: what it returns.
    ///
    /// # Errors
    /// The kernel's.
    fn run(&mut self, program: Fd, context: Vec<u8>) -> Result<i64, Errno>;
    /// Another program, which is bound to an array, writes a byte of its first value.
    ///
    /// # Errors
    /// The kernel's, where that program does not load.
    fn poke(&mut self, map: Fd, offset: u32, byte: u8) -> Result<(), Errno>;
    /// Another program writes a byte of the array that is the first inner map of this one.
    ///
    /// # Errors
    /// The kernel's, where that program does not load.
    fn poke_inner(&mut self, outer: Fd, offset: u32, byte: u8) -> Result<(), Errno>;
    /// `close`.
    fn close(&mut self, fd: Fd);
}

impl Machine for Kernel {
    fn create_map(&mut self, wanted: &MapCreate) -> Result<Fd, Errno> {
        self.map_create(wanted)
    }

    fn update(&mut self, fd: Fd, key: u32, value: &[u8], flags: u64) -> Result<(), Errno> {
        self.map_update(fd, &key.to_le_bytes(), value, flags)
    }

    fn lookup(&mut self, fd: Fd, key: u32) -> Result<Vec<u8>, Errno> {
        self.map_lookup(fd, &key.to_le_bytes())
    }

    fn freeze(&mut self, fd: Fd) -> Result<(), Errno> {
        self.map_freeze(fd)
    }

    fn digest(&mut self, fd: Fd, size: u32) -> Result<(), Errno> {
        self.map_digest(fd, size).map(|_| ())
    }

    fn writable(&mut self, fd: Fd) -> Result<(), Errno> {
        self.map_writable(fd)
    }

    fn load_btf(&mut self) -> Result<Fd, Errno> {
        self.btf_load()
    }

    fn load(&mut self, load: &ProgLoad) -> Answer {
        self.prog_load(load)
    }

    fn run(&mut self, program: Fd, context: Vec<u8>) -> Result<i64, Errno> {
        match self.prog_run(program, context).end {
            End::Returned(returned) => Ok(returned),
            End::Refused(errno) => Err(errno),
            // What the model does not run, the kernel's verifier refuses in what is tried here.
            End::NotModelled(_) => Err(Errno::EINVAL),
        }
    }

    fn poke(&mut self, map: Fd, offset: u32, byte: u8) -> Result<(), Errno> {
        self.poke_by_another_program(map, offset, byte)
    }

    fn poke_inner(&mut self, outer: Fd, offset: u32, byte: u8) -> Result<(), Errno> {
        Kernel::poke_inner(self, outer, offset, byte)
    }

    fn close(&mut self, fd: Fd) {
        Kernel::close(self, fd);
    }
}
