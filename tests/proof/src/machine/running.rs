//! The running kernel as a machine. Needs root, and leaves what it makes to the kernel's clean-up:
//! descriptors are closed when it is dropped.

use std::collections::BTreeMap;
use std::os::fd::{AsFd as _, AsRawFd as _};

use bpfseal_kernel::{
    self as kernel, Btf, Claim, CoreRecords, KeyringId, Linux, Map, MapSpec, Mapping, Program,
    ProgramSpec, SyscallError, records,
};
use bpfseal_model::Errno;
use bpfseal_model::kernel::{Answer, CoreRelo, Fd, MapCreate, ProgLoad};
use bpfseal_uapi::{BPF_F_SLEEPABLE, prog};

use super::Machine;
use super::claiming::Claiming;
use crate::bench::SMALL_BTF;

/// The running kernel.
#[derive(Debug, Default)]
pub struct Running {
    maps: BTreeMap<Fd, Map>,
    mappings: Vec<Mapping>,
    btfs: BTreeMap<Fd, Btf>,
    programs: BTreeMap<Fd, Program>,
}

/// Programs that write a byte of a map, instruction by instruction.
mod poking {
    use super::Fd;

    const EXIT: [u8; 8] = [0x95, 0, 0, 0, 0, 0, 0, 0];

    fn insn(code: u8, registers: u8, offset: i16, imm: i32) -> [u8; 8] {
        let mut out = [code, registers, 0, 0, 0, 0, 0, 0];
        out[2..4].copy_from_slice(&offset.to_le_bytes());
        out[4..].copy_from_slice(&imm.to_le_bytes());
        out
    }

    /// `r1 =` a map's value at an offset (pseudo 2), or a map (pseudo 1).
    fn take(pseudo: u8, fd: Fd, offset: u32) -> [[u8; 8]; 2] {
        [
            insn(0x18, 1 | pseudo << 4, 0, fd),
            insn(0, 0, 0, offset.cast_signed()),
        ]
    }

    /// `r0 = 0; exit`.
    const RETURN: [[u8; 8]; 2] = [[0xb7, 0, 0, 0, 0, 0, 0, 0], EXIT];

    pub(super) fn value(map: Fd, offset: u32, byte: u8) -> Vec<u8> {
        let write = [insn(0x72, 1, 0, i32::from(byte))];
        [&take(2, map, offset)[..], &write, &RETURN]
            .concat()
            .concat()
    }

    pub(super) fn inner(outer: Fd, offset: u32, byte: u8) -> Vec<u8> {
        // `*(u32 *)(r10 - 4) = 0; r2 = r10 - 4`, where keys are looked up.
        let key = [
            insn(0x62, 10, -4, 0),
            insn(0xbf, 2 | 10 << 4, 0, 0),
            insn(0x07, 2, 0, -4),
        ];
        let look_up = [insn(0x85, 0, 0, 1)];
        // `if r0 != 0 goto +1; exit`: what is not there ends it, with 0.
        let there = [insn(0x55, 0, 1, 0), EXIT];
        let from_r0 = [insn(0xbf, 1, 0, 0)];
        let write = [
            insn(0x07, 0, 0, offset.cast_signed()),
            insn(0x72, 0, 0, i32::from(byte)),
        ];
        let parts: [&[[u8; 8]]; 10] = [
            &take(1, outer, 0),
            &key,
            &look_up,
            &there,
            &from_r0,
            &key,
            &look_up,
            &there,
            &write,
            &RETURN,
        ];
        parts.concat().concat()
    }
}

impl Running {
    /// Loads and runs a program of ours.
    fn poke_with(&mut self, instructions: Vec<u8>) -> Result<(), Errno> {
        let load = ProgLoad {
            name: "poking".to_owned(),
            prog_type: prog::SYSCALL,
            instructions,
            ..ProgLoad::default()
        };
        let program = self.load(&load).result?;
        self.run(program, vec![0; 8]).map(|_| ())
    }
}

/// Loads a program with CO-RE records.
fn with_records(
    system: &Claiming,
    spec: &ProgramSpec<'_>,
    relos: &[CoreRelo],
) -> Result<Program, SyscallError> {
    let btf = Btf::load(&Linux, records::BTF)?;
    let encoded = relos
        .iter()
        .map(|relo| records::record(relo.insn, relo.type_id));
    let encoded: Vec<u8> = encoded.flatten().collect();
    let records = CoreRecords {
        btf: btf.as_fd(),
        func_info: &records::FUNC_INFO,
        records: &encoded,
    };
    Program::load_with_records(system, spec, &records)
}

fn errno(error: &SyscallError) -> Errno {
    error.errno
}

impl Machine for Running {
    fn create_map(&mut self, wanted: &MapCreate) -> Result<Fd, Errno> {
        let hash = wanted.excl_prog_hash.as_ref();
        let spec = MapSpec {
            map_type: wanted.map_type,
            key_size: wanted.key_size,
            value_size: wanted.value_size,
            max_entries: wanted.max_entries,
            flags: wanted.map_flags,
            name: &wanted.name,
            inner_map: self.maps.get(&wanted.inner),
            excl_prog_hash: hash.map(|hash| &hash[..]),
            ..MapSpec::default()
        };
        let size = wanted.excl_prog_hash_size;
        let honest = hash.map_or(0, |hash| hash.len() as u32);
        let mut system = Claiming::default();
        system.claim(Claim::ExclProgHashSize, size, honest);
        let map = Map::create(&system, &spec).map_err(|e| errno(&e))?;
        let fd = map.as_fd().as_raw_fd();
        self.maps.insert(fd, map);
        Ok(fd)
    }

    fn update(&mut self, fd: Fd, key: u32, value: &[u8], flags: u64) -> Result<(), Errno> {
        let done = self.maps[&fd].update(&Linux, &key.to_ne_bytes(), value, flags);
        done.map_err(|e| errno(&e))
    }

    fn lookup(&mut self, fd: Fd, key: u32) -> Result<Vec<u8>, Errno> {
        let value = self.maps[&fd].lookup(&Linux, &key.to_ne_bytes());
        value.map_err(|e| errno(&e))
    }

    fn freeze(&mut self, fd: Fd) -> Result<(), Errno> {
        self.maps[&fd].freeze(&Linux).map_err(|e| errno(&e))
    }

    fn digest(&mut self, fd: Fd, size: u32) -> Result<(), Errno> {
        let digest = self.maps[&fd].hash(&Linux, size);
        digest.map(|_| ()).map_err(|e| errno(&e))
    }

    fn writable(&mut self, fd: Fd) -> Result<(), Errno> {
        let mapping = self.maps[&fd].mmap(&Linux, true).map_err(|e| errno(&e))?;
        self.mappings.push(mapping);
        Ok(())
    }

    fn load_btf(&mut self) -> Result<Fd, Errno> {
        let btf = Btf::load(&Linux, SMALL_BTF).map_err(|e| errno(&e))?;
        let fd = btf.as_fd().as_raw_fd();
        self.btfs.insert(fd, btf);
        Ok(fd)
    }

    fn load(&mut self, load: &ProgLoad) -> Answer {
        let mut system = Claiming::default();
        let signature = load.signature.as_ref().map(|signature| {
            let honest = signature.bytes.len() as u32;
            system.claim(Claim::SignatureSize, signature.size, honest);
            kernel::Signature {
                bytes: &signature.bytes,
                keyring: KeyringId(signature.keyring),
            }
        });
        let fds = load.fd_array.as_deref().unwrap_or_default();
        system.claim(Claim::FdArrayCount, load.fd_array_cnt, 0);
        let spec = ProgramSpec {
            prog_type: load.prog_type,
            instructions: &load.instructions,
            license: "GPL",
            name: &load.name,
            // Other types do not know it.
            flags: match load.prog_type {
                prog::SYSCALL => BPF_F_SLEEPABLE,
                _ => 0,
            },
            fd_array: fds,
            fd_array_cnt: 0,
            signature,
            log_level: 1,
        };
        let loaded = if load.core_relos.is_empty() {
            Program::load(&system, &spec)
        } else {
            with_records(&system, &spec, &load.core_relos)
        };
        match loaded {
            Ok(program) => {
                let fd = program.as_fd().as_raw_fd();
                self.programs.insert(fd, program);
                Answer {
                    result: Ok(fd),
                    log: Vec::new(),
                }
            }
            Err(error) => Answer {
                result: Err(errno(&error)),
                log: error.log.lines().map(str::to_owned).collect(),
            },
        }
    }

    fn close(&mut self, fd: Fd) {
        self.maps.remove(&fd);
        self.btfs.remove(&fd);
        self.programs.remove(&fd);
    }

    fn run(&mut self, program: Fd, mut context: Vec<u8>) -> Result<i64, Errno> {
        let ran = self.programs[&program].run(&Linux, &mut context);
        ran.map(i64::from).map_err(|e| errno(&e))
    }

    fn poke(&mut self, map: Fd, offset: u32, byte: u8) -> Result<(), Errno> {
        self.poke_with(poking::value(map, offset, byte))
    }

    fn poke_inner(&mut self, outer: Fd, offset: u32, byte: u8) -> Result<(), Errno> {
        self.poke_with(poking::inner(outer, offset, byte))
    }
}
