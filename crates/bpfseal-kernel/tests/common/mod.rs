//! What the tests on real kernels share.
#![allow(
    dead_code,
    clippy::unwrap_used,
    unreachable_pub,
    missing_docs,
    reason = "test support"
)]

use std::os::fd::{AsFd, AsRawFd};

use bpfseal_kernel::probe::{self, Verification};
use bpfseal_kernel::{
    KeyringId, Linux, LoaderImage, Map, MapSpec, Program, ProgramSpec, Signature, SyscallError,
    add_certificate,
};
use bpfseal_loader::{ContextLayout, EmitOptions, FixedHost, Form, LoadPlan, Loader};
use bpfseal_object::Object;
use bpfseal_seal::{Certificate, SigningKey, excl_prog_hash, seal_load_time};

pub const KEY: &[u8] = include_bytes!("../../../../testdata/keys/rsa2048.key.pem");
pub const CERTIFICATE: &[u8] = include_bytes!("../../../../testdata/keys/rsa2048.cert.pem");

pub const SYSCALL: u32 = 31;
pub const SLEEPABLE: u32 = 1 << 4;
pub const ARRAY: u32 = 2;
pub const HASH: u32 = 1;
pub const MMAPABLE: u32 = 1 << 10;
pub const SESSION: KeyringId = KeyringId::SESSION;

/// Whether this is a machine for these tests: they are told by the one who started it.
pub fn in_any_vm() -> bool {
    let told = std::env::var_os("BPFSEAL_VM").is_some();
    if !told {
        eprintln!("skipped: no virtual machine (`cargo xtask kernels` has them)");
    }
    told
}

/// Whether this is such a machine, with a kernel that verifies at load time.
pub fn in_vm() -> bool {
    if !in_any_vm() {
        return false;
    }
    let scheme = probe::verification(&Linux);
    if scheme != Verification::LoadTime {
        eprintln!("skipped: this kernel does not verify at load time ({scheme:?})");
        return false;
    }
    true
}

/// Trusts the test key: in the session keyring of this thread.
pub fn trust() {
    let certificate = Certificate::from_bytes(CERTIFICATE).unwrap();
    add_certificate(&Linux, SESSION, "bpfseal test", certificate.der()).unwrap();
}

pub fn sign(instructions: &[u8], metadata: &[u8]) -> Vec<u8> {
    let key = SigningKey::from_pem(KEY).unwrap();
    let certificate = Certificate::from_bytes(CERTIFICATE).unwrap();
    seal_load_time(instructions, metadata, &key, &certificate)
        .unwrap()
        .signature
        .into_owned()
}

/// A loader of one of the project's objects, with its signature.
pub struct Subject {
    pub instructions: Vec<u8>,
    pub metadata: Vec<u8>,
    pub context: ContextLayout,
    pub signature: Vec<u8>,
}

impl Subject {
    pub fn new(bytes: &[u8], form: Form) -> Self {
        let host = FixedHost {
            page_size: 4096,
            possible_cpus: Some(1),
            kernel_version: Some(0x0007_0300),
            kconfig: Some(b"CONFIG_BPF_SYSCALL=y\nCONFIG_NET=y\nCONFIG_HZ=250\n".to_vec()),
            kallsyms: Some(b"ffffffff81000000 D init_task\n".to_vec()),
        };
        let object = Object::parse(bytes, "test").unwrap();
        let plan = LoadPlan::new(&object, &host).unwrap();
        let loader = Loader::new(&plan, EmitOptions::new(form)).unwrap();
        Self {
            signature: sign(&loader.instructions, &loader.metadata),
            instructions: loader.instructions,
            metadata: loader.metadata,
            context: loader.context,
        }
    }

    pub fn image(&self) -> LoaderImage<'_> {
        LoaderImage {
            signature: Some((&self.signature, SESSION)),
            ..LoaderImage::unsigned(&self.instructions, &self.metadata)
        }
    }

    /// The metadata map, as it has to be.
    pub fn map(&self) -> Map {
        let map = self.open_map();
        map.freeze(&Linux).unwrap();
        map
    }

    /// The metadata map, not frozen.
    pub fn open_map(&self) -> Map {
        let hash = excl_prog_hash(&self.instructions);
        metadata_map(&self.metadata, Some(&hash)).unwrap()
    }

    /// Loads the loader with a map that was made by hand.
    pub fn load(&self, map: &Map) -> Result<Program, SyscallError> {
        load(&self.instructions, &[fd(map)], true, Some(&self.signature))
    }
}

pub fn fd(of: &impl AsFd) -> i32 {
    of.as_fd().as_raw_fd()
}

pub fn metadata_map(value: &[u8], hash: Option<&[u8]>) -> Result<Map, SyscallError> {
    let map = Map::create(
        &Linux,
        &MapSpec {
            map_type: ARRAY,
            key_size: 4,
            value_size: u32::try_from(value.len()).unwrap(),
            max_entries: 1,
            name: "__loader.map",
            excl_prog_hash: hash,
            ..MapSpec::default()
        },
    )?;
    map.update(&Linux, &[0; 4], value, 0)?;
    Ok(map)
}

pub fn spec<'a>(instructions: &'a [u8], fds: &'a [i32], bind: bool) -> ProgramSpec<'a> {
    ProgramSpec {
        prog_type: SYSCALL,
        instructions,
        license: "Dual BSD/GPL",
        name: "__loader.prog",
        flags: SLEEPABLE,
        fd_array: fds,
        bind,
        claimed_count: 0,
        signature: None,
        log_level: 1,
    }
}

pub fn load(
    instructions: &[u8],
    fds: &[i32],
    bind: bool,
    signature: Option<&[u8]>,
) -> Result<Program, SyscallError> {
    load_from(instructions, fds, bind, signature, SESSION)
}

pub fn load_from(
    instructions: &[u8],
    fds: &[i32],
    bind: bool,
    signature: Option<&[u8]>,
    keyring: KeyringId,
) -> Result<Program, SyscallError> {
    let signature = signature.map(|bytes| Signature {
        bytes,
        keyring,
        claimed_size: None,
    });
    Program::load(
        &Linux,
        &ProgramSpec {
            signature,
            ..spec(instructions, fds, bind)
        },
    )
}

/// The errno by name, of what has to fail.
#[track_caller]
pub fn errno<T>(result: Result<T, SyscallError>) -> String {
    match result {
        Ok(_) => panic!("it was taken"),
        Err(error) => error.errno_name(),
    }
}

#[macro_export]
macro_rules! object {
    ($name:literal) => {
        include_bytes!(concat!("../../../testdata/objects/", $name, ".bpf.o"))
    };
}
