//! Loaders of the project's test objects, and loads of them by hand.

use std::os::fd::{AsFd, AsRawFd};

use bpfseal_artifact::install::InstallPlan;
use bpfseal_kernel::{
    KeyringId, Linux, Map, MapSpec, Program, ProgramSpec, Signature, SyscallError, add_certificate,
};
use bpfseal_loader::{ContextLayout, EmitOptions, FixedHost, Form, LoadPlan, Loader};
use bpfseal_object::Object;
use bpfseal_seal::{Seal, SealedLoader, excl_prog_hash, seal_load_time};
use bpfseal_uapi::{BPF_F_SLEEPABLE, map, prog};

use super::{Person, person};

/// The session keyring.
pub const SESSION: KeyringId = KeyringId::SESSION;

/// Who signs here.
fn signer() -> Person {
    person("rsa2048")
}

/// Trusts the signer of what is signed here: in the session keyring of this thread.
pub fn trust() {
    let certificate = signer().certificate;
    add_certificate(&Linux, SESSION, "bpfseal test", certificate.der()).unwrap();
}

/// A signature for load-time verification.
#[must_use]
pub fn sign(instructions: &[u8], metadata: &[u8]) -> Vec<u8> {
    seal(instructions, metadata).signature
}

fn seal(instructions: &[u8], metadata: &[u8]) -> Seal {
    let Person {
        key, certificate, ..
    } = signer();
    seal_load_time(instructions, metadata, &key, &certificate).unwrap()
}

/// A loader of one of the project's objects, with its signature.
#[derive(Debug)]
pub struct Subject {
    /// Its instructions.
    pub instructions: Vec<u8>,
    /// The value of its metadata map.
    pub metadata: Vec<u8>,
    /// Its context.
    pub context: ContextLayout,
    /// What vouches for both: the test key, for load-time verification.
    pub seal: Seal,
}

impl Subject {
    /// Of the bytes of an object.
    #[must_use]
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
            seal: seal(&loader.instructions, &loader.metadata),
            instructions: loader.instructions,
            metadata: loader.metadata,
            context: loader.context,
        }
    }

    /// The signature.
    #[must_use]
    pub fn signature(&self) -> &[u8] {
        &self.seal.signature
    }

    /// How it is installed, signed.
    #[must_use]
    pub fn plan(&self) -> InstallPlan<'_> {
        let sealed = SealedLoader {
            instructions: &self.instructions,
            metadata: &self.metadata,
            seal: &self.seal,
        };
        InstallPlan::sealed(sealed, SESSION, self.context)
    }

    /// How it is installed without its signature.
    #[must_use]
    pub fn unsigned(&self) -> InstallPlan<'_> {
        InstallPlan::unsigned(&self.instructions, &self.metadata, self.context)
    }

    /// The metadata map, as it has to be.
    #[must_use]
    pub fn map(&self) -> Map {
        let map = self.open_map();
        map.freeze(&Linux).unwrap();
        map
    }

    /// The metadata map, not frozen.
    #[must_use]
    pub fn open_map(&self) -> Map {
        let hash = excl_prog_hash(&self.instructions);
        metadata_map(&self.metadata, Some(&hash)).unwrap()
    }

    /// Loads the loader with a map that was made by hand.
    ///
    /// # Errors
    /// The kernel's.
    pub fn load(&self, map: &Map) -> Result<Program, SyscallError> {
        load(&self.instructions, &[fd(map)], true, Some(self.signature()))
    }
}

/// The number of a descriptor.
pub fn fd(of: &impl AsFd) -> i32 {
    of.as_fd().as_raw_fd()
}

/// A map like a loader's metadata map, not frozen.
///
/// # Errors
/// The kernel's.
pub fn metadata_map(value: &[u8], hash: Option<&[u8]>) -> Result<Map, SyscallError> {
    let map = Map::create(
        &Linux,
        &MapSpec {
            map_type: map::ARRAY,
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

/// What loading a loader asks for, unsigned.
#[must_use]
pub fn spec<'a>(instructions: &'a [u8], fds: &'a [i32], bind: bool) -> ProgramSpec<'a> {
    ProgramSpec {
        prog_type: prog::SYSCALL,
        instructions,
        license: "Dual BSD/GPL",
        name: "__loader.prog",
        flags: BPF_F_SLEEPABLE,
        fd_array: fds,
        fd_array_cnt: if bind { fds.len() as u32 } else { 0 },
        signature: None,
        log_level: 1,
    }
}

/// Loads a loader, with its signer's key in the session keyring.
///
/// # Errors
/// The kernel's, with its log.
pub fn load(
    instructions: &[u8],
    fds: &[i32],
    bind: bool,
    signature: Option<&[u8]>,
) -> Result<Program, SyscallError> {
    load_from(instructions, fds, bind, signature, SESSION)
}

/// Loads a loader, with its signer's key in a keyring.
///
/// # Errors
/// The kernel's, with its log.
pub fn load_from(
    instructions: &[u8],
    fds: &[i32],
    bind: bool,
    signature: Option<&[u8]>,
    keyring: KeyringId,
) -> Result<Program, SyscallError> {
    let signature = signature.map(|bytes| Signature { bytes, keyring });
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
