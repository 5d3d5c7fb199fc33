//! The model of a kernel as the executor of a plan: what a loading side asks for, it answers.

use bpfseal_artifact::install::{Context, Executor, NewMap, NewProgram};
use bpfseal_uapi::{Errno, limits};

use crate::kernel::{End, Fd, Kernel, MapCreate, ProgLoad, Ran, Signature};

bpfseal_object::debug_as_chain!(Refused);

/// A call that the kernel refused.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("the kernel answers {errno}")]
pub struct Refused {
    /// Its answer.
    pub errno: Errno,
    /// What it logged, line by line.
    pub log: Vec<String>,
}

impl From<Errno> for Refused {
    fn from(errno: Errno) -> Self {
        Self {
            errno,
            log: Vec::new(),
        }
    }
}

/// Bytes and counts that do not fit are more than any kernel takes.
fn count(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

/// `BPF_MAP_CREATE` as a plan asks for it.
#[must_use]
pub fn map_create(map: &NewMap<'_>) -> MapCreate {
    MapCreate {
        name: map.name.clone().into_owned(),
        map_type: map.map_type,
        key_size: map.key_size,
        value_size: map.value_size,
        max_entries: map.max_entries,
        map_flags: 0,
        inner: 0,
        excl_prog_hash: map.excl_prog_hash,
        excl_prog_hash_size: map.excl_prog_hash.map_or(0, |hash| count(hash.len())),
    }
}

/// `BPF_PROG_LOAD` as a plan asks for it.
#[must_use]
pub fn prog_load(program: &NewProgram<'_>, fd_array: Vec<Fd>) -> ProgLoad {
    let signature = program.signature.as_ref();
    ProgLoad {
        name: program.name.clone().into_owned(),
        prog_type: program.prog_type,
        instructions: program.instructions.to_vec(),
        fd_array: (!fd_array.is_empty()).then_some(fd_array),
        fd_array_cnt: program.fd_array_cnt,
        signature_maps: program.signature_maps.clone(),
        signature: signature.map(|signature| Signature {
            bytes: signature.bytes.to_vec(),
            size: count(signature.bytes.len()),
            keyring: signature.keyring.0,
        }),
        // A plan has none.
        core_relos: Vec::new(),
    }
}

impl Executor for Kernel {
    type Map = Fd;
    type Program = Fd;
    type Ran = Ran;
    type Error = Refused;

    fn create_map(&mut self, map: &NewMap<'_>) -> Result<Fd, Refused> {
        Ok(self.map_create(&map_create(map))?)
    }

    fn write_map(&mut self, map: &Fd, value: &[u8]) -> Result<(), Refused> {
        Ok(self.map_update(*map, &[0; 4], value, 0)?)
    }

    fn freeze_map(&mut self, map: &Fd) -> Result<(), Refused> {
        Ok(self.map_freeze(*map)?)
    }

    fn digest_map(&mut self, map: &Fd) -> Result<(), Refused> {
        self.map_digest(*map, count(limits::HASH_SIZE))?;
        Ok(())
    }

    fn load_program(&mut self, program: &NewProgram<'_>, maps: &[&Fd]) -> Result<Fd, Refused> {
        let maps = maps.iter().map(|map| **map).collect();
        let answer = self.prog_load(&prog_load(program, maps));
        answer.result.map_err(|errno| Refused {
            errno,
            log: answer.log,
        })
    }

    fn run_program(&mut self, program: &Fd, context: &Context<'_>) -> Result<Ran, Refused> {
        // An address that is nobody's: what is read from it is unknown to the model.
        let context = context.encode(self.endian, |_| 0x5eed_5eed_0000);
        let ran = self.prog_run(*program, context);
        match ran.end {
            End::Refused(errno) => Err(errno.into()),
            End::Returned(_) | End::NotModelled(_) => Ok(ran),
        }
    }

    fn close_map(&mut self, map: Fd) {
        self.close(map);
    }

    fn close_program(&mut self, program: Fd) {
        self.close(program);
    }
}
