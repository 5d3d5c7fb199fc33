//! A real kernel as the machine of scenarios and attacks, and what tests that use it start from.
#![allow(dead_code, reason = "each test uses its part")]

use std::collections::BTreeMap;
use std::os::fd::{AsFd as _, AsRawFd as _};

use bpfseal::kernel::{
    self, Btf, KeyringId, Linux, Map, MapSpec, Mapping, Program, ProgramSpec, SyscallError,
    add_certificate, join_session,
};
use bpfseal::model::Errno;
use bpfseal::model::kernel::{Answer, Fd, MapCreate, Profile, ProgLoad};
use bpfseal::model::scenario::{Machine, Signers};
use bpfseal::seal::{Certificate, SigningKey};

macro_rules! key_file {
    ($name:literal) => {
        include_bytes!(concat!("../../../../testdata/keys/", $name)).as_slice()
    };
}

/// The running kernel.
#[derive(Default)]
pub(crate) struct Real {
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
        let offset = i16::try_from(offset).unwrap();
        let write = [insn(0x72, 0, offset, i32::from(byte))];
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

impl Real {
    /// Loads and runs a program of ours.
    fn poke_with(&mut self, instructions: Vec<u8>) -> Result<(), Errno> {
        let load = ProgLoad {
            name: "poking".to_owned(),
            prog_type: 31,
            instructions,
            ..ProgLoad::default()
        };
        let program = self.load(&load).result?;
        self.run(program, vec![0; 8]).map(|_| ())
    }
}

fn errno(error: &SyscallError) -> Errno {
    Errno(error.errno)
}

/// One type: `int`.
fn small_btf() -> Vec<u8> {
    let words: [u32; 9] = [24, 0, 16, 16, 5, 1, 1 << 24, 4, 32];
    let mut out = vec![0x9f, 0xeb, 1, 0];
    out.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    out.extend(b"\0int\0");
    out
}

impl Machine for Real {
    fn create_map(&mut self, wanted: &MapCreate) -> Result<Fd, Errno> {
        let spec = MapSpec {
            map_type: wanted.map_type.0,
            key_size: wanted.key_size,
            value_size: wanted.value_size,
            max_entries: wanted.max_entries,
            flags: wanted.map_flags,
            name: &wanted.name,
            inner_map: self.maps.get(&wanted.inner),
            excl_prog_hash: wanted.excl_prog_hash.as_ref().map(|hash| &hash[..]),
            claimed_hash_size: (wanted.excl_prog_hash_size > 0)
                .then_some(wanted.excl_prog_hash_size),
        };
        let map = Map::create(&Linux, &spec).map_err(|e| errno(&e))?;
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
        let btf = Btf::load(&Linux, &small_btf()).map_err(|e| errno(&e))?;
        let fd = btf.as_fd().as_raw_fd();
        self.btfs.insert(fd, btf);
        Ok(fd)
    }

    fn load(&mut self, load: &ProgLoad) -> Answer {
        let signature = load.signature.as_ref().map(|signature| kernel::Signature {
            bytes: &signature.bytes,
            keyring: KeyringId(signature.keyring),
            claimed_size: Some(signature.size),
        });
        let fds = load.fd_array.as_deref().unwrap_or_default();
        let loaded = Program::load(
            &Linux,
            &ProgramSpec {
                prog_type: load.prog_type,
                instructions: &load.instructions,
                license: "GPL",
                name: &load.name,
                flags: 1 << 4,
                fd_array: fds,
                bind: load.fd_array_cnt > 0,
                claimed_count: load.fd_array_cnt,
                signature,
                log_level: 1,
            },
        );
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

fn key(bytes: &[u8]) -> SigningKey {
    SigningKey::from_pem(bytes).unwrap()
}

fn certificate(bytes: &[u8]) -> Certificate {
    Certificate::from_bytes(bytes).unwrap()
}

/// What tests start from: a session of their own with one key in it.
pub(crate) struct Setup {
    pub(crate) profile: Profile,
    pub(crate) release: String,
    pub(crate) trusted: (SigningKey, Certificate),
    pub(crate) other: (SigningKey, Certificate),
}

impl Setup {
    pub(crate) fn new() -> Option<Self> {
        if std::env::var_os("BPFSEAL_VM").is_none() {
            eprintln!("skipped: no virtual machine (`cargo xtask kernels` has them)");
            return None;
        }
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
        let release = release.trim().to_owned();
        join_session(&Linux).unwrap();
        let trusted = certificate(key_file!("p256.cert.pem"));
        add_certificate(&Linux, KeyringId::SESSION, "trusted", trusted.der()).unwrap();
        let other = certificate(key_file!("rsa2048.cert.pem"));
        Some(Self {
            profile: Profile::of(&release).unwrap(),
            release,
            trusted: (key(key_file!("p256.key.pem")), trusted),
            other: (key(key_file!("rsa2048.key.pem")), other),
        })
    }

    pub(crate) fn signers(&self) -> Signers<'_> {
        Signers {
            trusted: (&self.trusted.0, &self.trusted.1),
            other: (&self.other.0, &self.other.1),
        }
    }
}
