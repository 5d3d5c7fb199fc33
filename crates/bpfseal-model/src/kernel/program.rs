//! Programs: what a load asks for, what is recorded, what is answered.

use bpfseal_object::{BPF_INSN_SZ, Endian};
use bpfseal_uapi::{Errno, ProgType};

use super::Fd;
use super::keyring::KeyringType;

/// What `BPF_PROG_LOAD` is asked for, as far as it is decided on here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProgLoad {
    /// Name, as the kernel keeps it.
    pub name: String,
    /// `prog_type`.
    pub prog_type: ProgType,
    /// Instructions, in the byte order of the machine.
    pub instructions: Vec<u8>,
    /// `fd_array`, if an address is given.
    pub fd_array: Option<Vec<Fd>>,
    /// `fd_array_cnt`.
    pub fd_array_cnt: u32,
    /// `signature_maps` of the proposal with a chain of digests: places in `fd_array`.
    pub signature_maps: Vec<u32>,
    /// The signature, if an address is given.
    pub signature: Option<Signature>,
    /// `core_relos`. No signature covers them, and no kernel up to 7.3 refuses them: they are applied
    /// after the signature was checked (`bpf_core_apply`, from `check_btf_info`).
    pub core_relos: Vec<CoreRelo>,
}

impl ProgLoad {
    /// The instructions that run.
    #[must_use]
    pub fn relocated(&self, endian: Endian) -> Vec<u8> {
        let mut instructions = self.instructions.clone();
        for relo in &self.core_relos {
            let at = relo.insn.saturating_mul(BPF_INSN_SZ).saturating_add(4);
            let end = at.saturating_add(4);
            if let Some(immediate) = instructions.get_mut(at..end) {
                immediate.copy_from_slice(&endian.put_u32(relo.type_id));
            }
        }
        instructions
    }
}

/// A CO-RE record of a load, of a kind that needs no type of the kernel
/// (`BPF_CORE_TYPE_ID_LOCAL`): an instruction gets the number of a type as its immediate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CoreRelo {
    /// Which instruction.
    pub insn: usize,
    /// The type, by its number in the BTF of the load.
    pub type_id: u32,
}

/// A signature of a load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// `signature_size`, which need not be their count.
    pub size: u32,
    /// `keyring_id`.
    pub keyring: i32,
}

/// What the kernel recorded on a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Verdict {
    /// Whether a signature was verified.
    pub verified: bool,
    /// The kind of keyring that its key was in.
    pub keyring: KeyringType,
    /// The serial number of a user's keyring, 0 for others.
    pub serial: i32,
}

/// A program that was loaded.
#[derive(Debug, Clone)]
pub struct Program {
    /// What it was loaded of.
    pub loaded: ProgLoad,
    /// What was recorded.
    pub verdict: Verdict,
    /// Maps that it is bound to.
    pub maps: Vec<u32>,
    /// Numbers of the maps of its `fd_array`, by their places.
    pub places: Vec<Option<u32>>,
}

/// An answer to a load: a descriptor or an errno, and what was logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The descriptor.
    pub result: Result<Fd, Errno>,
    /// Lines of the log.
    pub log: Vec<String>,
}
