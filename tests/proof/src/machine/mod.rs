//! What scenarios and attacks are run on: the model, or the running kernel.
//!
//! Both answer the same calls with the same numbers, so that a driver cannot tell them apart.

mod claiming;
mod model;
mod running;

use bpfseal_model::Errno;
use bpfseal_model::kernel::{Answer, Fd, MapCreate, ProgLoad};

pub use claiming::Claiming;
pub use running::Running;

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
