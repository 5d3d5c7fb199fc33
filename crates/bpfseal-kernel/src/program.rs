//! Programs: loaded, signed or not, run, and what the kernel says of them.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use bpfseal_uapi::attr::{prog_load, prog_run};
use bpfseal_uapi::{Command, Errno, KeyringId, ProgType, cmd, core_relo, info};

use crate::attr::{Attr, run_attr};
use crate::error::SyscallError;
use crate::get_info::get_info;
use crate::system::{Leaving, Place, Ran, System, make};
use crate::text::{text, word};

/// Bytes of `struct bpf_prog_info` up to the name, included.
const INFO_LEN: usize = info::prog::NAME.end();
/// Bytes of the attributes of a run, rounded up as the kernel's union is.
const RUN_LEN: usize = prog_run::LEN.next_multiple_of(8);
/// Bytes of a `struct bpf_func_info`.
const FUNC_INFO: usize = 8;
/// Bytes for the kernel's log: the next size where it does not fit.
pub(crate) const LOG_SIZES: [usize; 4] = [64 << 10, 1 << 20, 8 << 20, 64 << 20];

/// A signature for load-time verification. Needs Linux 7.3.
#[derive(Debug, Clone, Copy)]
pub struct Signature<'a> {
    /// CMS in DER.
    pub bytes: &'a [u8],
    /// Where the signer's key is looked for.
    pub keyring: KeyringId,
}

/// What is to be loaded.
#[derive(Debug, Clone)]
pub struct ProgramSpec<'a> {
    /// Type.
    pub prog_type: ProgType,
    /// Instructions, 8 bytes each.
    pub instructions: &'a [u8],
    /// Licence, without a NUL.
    pub license: &'a str,
    /// Name, cut to 15 bytes.
    pub name: &'a str,
    /// `BPF_F_*`.
    pub flags: u32,
    /// Descriptors that instructions refer to by index.
    pub fd_array: &'a [i32],
    /// How many of them the kernel is told of and binds to the program, the first ones; 0 binds
    /// none, and leaves the array sparse.
    pub fd_array_cnt: u32,
    /// The signature, for a signed program.
    pub signature: Option<Signature<'a>>,
    /// How much the kernel is to log; 0 for nothing.
    pub log_level: u32,
}

/// What a host can ask for besides a program's instructions, and no signature covers: CO-RE records,
/// which the kernel applies to the instructions after it has checked the signature. Loading an
/// artifact never sends them; trying them tells whether a kernel has that hole.
#[derive(Debug, Clone, Copy)]
pub struct CoreRecords<'a> {
    /// The types that the records refer to.
    pub btf: BorrowedFd<'a>,
    /// `struct bpf_func_info`, 8 bytes each; the kernel applies no records without.
    pub func_info: &'a [u8],
    /// `struct bpf_core_relo`, 16 bytes each.
    pub records: &'a [u8],
}

/// What the kernel says of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProgramInfo {
    /// Type.
    pub prog_type: ProgType,
    /// Its number in this kernel.
    pub id: u32,
    /// Digest of its instructions, shortened by the kernel.
    pub tag: [u8; 8],
    /// Name.
    pub name: String,
}

/// A program that is held by its descriptor.
#[derive(Debug)]
pub struct Program {
    fd: OwnedFd,
    name: String,
}

impl Program {
    /// `BPF_PROG_LOAD`. A log that does not fit is enlarged, and left out where the largest does not
    /// do: that it is too long says nothing about the program.
    ///
    /// # Errors
    /// What verification of signature or program answers; the error has the kernel's log when one
    /// was asked for.
    pub fn load(system: &dyn System, spec: &ProgramSpec<'_>) -> Result<Self, SyscallError> {
        for size in LOG_SIZES.iter().filter(|_| spec.log_level > 0) {
            match Self::load_once(system, spec, None, *size) {
                Err(error) if error.errno == Errno::ENOSPC => {}
                answer => return answer,
            }
        }
        Self::load_once(system, spec, None, 0)
    }

    /// The same with [`CoreRecords`], and without a log.
    ///
    /// # Errors
    /// As [`Self::load`]; `EACCES` from a kernel that takes no records of a signed program.
    pub fn load_with_records(
        system: &dyn System,
        spec: &ProgramSpec<'_>,
        records: &CoreRecords<'_>,
    ) -> Result<Self, SyscallError> {
        Self::load_once(system, spec, Some(records), 0)
    }

    /// With a log of this size, or without one.
    fn load_once(
        system: &dyn System,
        spec: &ProgramSpec<'_>,
        records: Option<&CoreRecords<'_>>,
        log_size: usize,
    ) -> Result<Self, SyscallError> {
        let license = [spec.license.as_bytes(), &[0]].concat();
        let fds: Vec<u8> = spec
            .fd_array
            .iter()
            .flat_map(|fd| fd.to_ne_bytes())
            .collect();
        let mut log = vec![0; log_size];
        let count = u32::try_from(spec.instructions.len() / 8).unwrap_or(u32::MAX);
        use prog_load as at;
        let mut attr = Attr::new(cmd::PROG_LOAD, at::KEYRING_ID.end());
        attr.put_u32(at::PROG_TYPE, spec.prog_type.0)
            .put_u32(at::INSN_CNT, count)
            .put_bytes(at::INSNS, spec.instructions)
            .put_bytes(at::LICENSE, &license)
            .put_u32(at::PROG_FLAGS, spec.flags)
            .put_name(at::PROG_NAME, spec.name)
            .put_bytes(at::FD_ARRAY, &fds);
        // No more than there are: the kernel would read what lies behind them.
        let most = u32::try_from(spec.fd_array.len()).unwrap_or(u32::MAX);
        attr.put_u32(at::FD_ARRAY_CNT, spec.fd_array_cnt.min(most));
        if let Some(signature) = &spec.signature {
            let size = u32::try_from(signature.bytes.len()).unwrap_or(u32::MAX);
            // An empty one too: without an address the load would not be a signed one.
            attr.put_any_bytes(at::SIGNATURE, signature.bytes)
                .put_u32(at::SIGNATURE_SIZE, size)
                .put_i32(at::KEYRING_ID, signature.keyring.0);
        }
        if let Some(records) = records {
            let count = |bytes: &[u8], size: usize| u32::try_from(bytes.len() / size);
            attr.put_fd(at::PROG_BTF_FD, records.btf)
                .put_u32(at::FUNC_INFO_REC_SIZE, FUNC_INFO as u32)
                .put_u32(
                    at::FUNC_INFO_CNT,
                    count(records.func_info, FUNC_INFO).unwrap_or(u32::MAX),
                )
                .put_bytes(at::FUNC_INFO, records.func_info)
                .put_u32(at::CORE_RELO_REC_SIZE, core_relo::LEN as u32)
                .put_u32(
                    at::CORE_RELO_CNT,
                    count(records.records, core_relo::LEN).unwrap_or(u32::MAX),
                )
                .put_bytes(at::CORE_RELOS, records.records);
        }
        if log_size > 0 {
            attr.put_u32(at::LOG_LEVEL, spec.log_level)
                .put_u32(at::LOG_SIZE, u32::try_from(log_size).unwrap_or(u32::MAX))
                .put_buffer(at::LOG_BUF, &mut log);
        }
        match make(system, &mut attr) {
            Ok(fd) => Ok(Self {
                fd,
                name: spec.name.to_owned(),
            }),
            Err(errno) => {
                let on = format!("program `{}`", spec.name);
                let mut error = SyscallError::new(cmd::PROG_LOAD.call(), on, errno);
                error.log = text(&log);
                Err(error)
            }
        }
    }

    /// Takes over a descriptor of a program.
    #[must_use]
    pub fn from_fd(fd: OwnedFd, name: &str) -> Self {
        Self {
            fd,
            name: name.to_owned(),
        }
    }

    /// With another name in errors.
    #[must_use]
    pub fn with_name(self, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..self
        }
    }

    /// `BPF_PROG_RUN` of a program that takes a context; the program's return value. The context
    /// comes back as the program left it.
    ///
    /// # Errors
    /// When the program was not run.
    pub fn run(&self, system: &dyn System, context: &mut [u8]) -> Result<i32, SyscallError> {
        let mut attr = run_attr(self.fd.as_fd(), context);
        system
            .bpf(&mut attr)
            .map_err(|errno| self.error(cmd::PROG_RUN, errno))?;
        Ok(attr.u32(prog_run::RETVAL).cast_signed())
    }

    /// `BPF_PROG_RUN` of a syscall program that leaves descriptors in places of its context.
    pub(crate) fn run_leaving(
        &self,
        system: &dyn System,
        context: &mut [u8],
        places: &[Place],
    ) -> Result<Ran, SyscallError> {
        let mut leaving = Leaving::new(self.fd.as_fd(), context, places);
        let ran = system.run_leaving(&mut leaving);
        ran.map_err(|errno| self.error(cmd::PROG_RUN, errno))
    }

    /// `BPF_PROG_RUN` of a program that takes a packet, XDP's or a socket's: the program's return
    /// value. The packet is a copy.
    ///
    /// # Errors
    /// When the program was not run.
    pub fn run_on_packet(&self, system: &dyn System, packet: &[u8]) -> Result<u32, SyscallError> {
        let len = u32::try_from(packet.len()).unwrap_or(u32::MAX);
        let mut attr = Attr::new(cmd::PROG_RUN, RUN_LEN);
        attr.put_fd(prog_run::PROG_FD, self.fd.as_fd())
            .put_u32(prog_run::DATA_SIZE_IN, len)
            .put_bytes(prog_run::DATA_IN, packet)
            .put_u32(prog_run::REPEAT, 1);
        system
            .bpf(&mut attr)
            .map_err(|errno| self.error(cmd::PROG_RUN, errno))?;
        Ok(attr.u32(prog_run::RETVAL))
    }

    /// A program that was pinned in bpffs.
    ///
    /// # Errors
    /// `ENOENT` when there is none.
    pub fn pinned(system: &dyn System, path: &Path) -> Result<Self, SyscallError> {
        let fd = crate::pin::get(system, path)?;
        Ok(Self::from_fd(fd, &path.display().to_string()))
    }

    fn error(&self, command: Command, errno: Errno) -> SyscallError {
        SyscallError::new(command.call(), format!("program `{}`", self.name), errno)
    }

    /// What the kernel says of it.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn info(&self, system: &dyn System) -> Result<ProgramInfo, SyscallError> {
        let mut buffer = [0; INFO_LEN];
        get_info(system, self.fd.as_fd(), &mut buffer)
            .map_err(|errno| self.error(cmd::OBJ_GET_INFO_BY_FD, errno))?;
        use info::prog as at;
        let mut tag = [0; 8];
        tag.copy_from_slice(&buffer[at::TAG.range()]);
        Ok(ProgramInfo {
            prog_type: ProgType(word(&buffer, at::TYPE)),
            id: word(&buffer, at::ID),
            tag,
            name: text(&buffer[at::NAME.range()]),
        })
    }
}

impl AsFd for Program {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<Program> for OwnedFd {
    fn from(program: Program) -> Self {
        program.fd
    }
}
