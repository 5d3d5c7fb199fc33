//! The model as a machine.

use bpfseal_model::Errno;
use bpfseal_model::kernel::{Answer, End, Fd, Kernel, MapCreate, ProgLoad};

use super::Machine;

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

    /// The model runs loaders only, so what another program does is done to its state.
    fn poke(&mut self, map: Fd, offset: u32, byte: u8) -> Result<(), Errno> {
        let map = self.map_mut(map)?;
        // No other program has the digest that an exclusive map asks for.
        if map.created.excl_prog_hash.is_some() {
            return Err(Errno::EACCES);
        }
        map.write_by_program(offset as usize, &[byte]);
        Ok(())
    }

    fn poke_inner(&mut self, outer: Fd, offset: u32, byte: u8) -> Result<(), Errno> {
        let inner = self.inner_map_mut(outer, &[0; 4])?;
        inner.write_by_program(offset as usize, &[byte]);
        Ok(())
    }

    fn close(&mut self, fd: Fd) {
        Kernel::close(self, fd);
    }
}
