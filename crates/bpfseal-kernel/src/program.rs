//! Programs: loaded, signed or not, run, and what the kernel says of them.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use crate::attr::Attr;
use crate::error::SyscallError;
use crate::keyring::KeyringId;
use crate::map::{get_info, owned_fd, text};
use crate::system::{Command, System};

/// Bytes of `struct bpf_prog_info` up to the name, included.
const INFO_LEN: usize = 80;
/// Bytes that the kernel's log may have.
const LOG_LEN: usize = 64 * 1024;

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
    /// `BPF_PROG_TYPE_*`.
    pub prog_type: u32,
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
    /// Whether the kernel is told how many they are, and binds them to the program.
    pub bind: bool,
    /// The signature, for a signed program.
    pub signature: Option<Signature<'a>>,
    /// How much the kernel is to log; 0 for nothing.
    pub log_level: u32,
}

/// What the kernel says of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramInfo {
    /// `BPF_PROG_TYPE_*`.
    pub prog_type: u32,
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
    /// `BPF_PROG_LOAD`.
    ///
    /// # Errors
    /// What verification of signature or program answers; the error has the kernel's log when one
    /// was asked for.
    pub fn load(system: &dyn System, spec: &ProgramSpec<'_>) -> Result<Self, SyscallError> {
        let license = [spec.license.as_bytes(), &[0]].concat();
        let fds: Vec<u8> = spec
            .fd_array
            .iter()
            .flat_map(|fd| fd.to_ne_bytes())
            .collect();
        let mut log = vec![0; if spec.log_level > 0 { LOG_LEN } else { 0 }];
        let count = u32::try_from(spec.instructions.len() / 8).unwrap_or(u32::MAX);
        let mut attr = Attr::new(168);
        attr.put_u32(0, spec.prog_type)
            .put_u32(4, count)
            .put_bytes(8, spec.instructions)
            .put_bytes(16, &license)
            .put_u32(44, spec.flags)
            .put_name(48, spec.name);
        if !fds.is_empty() {
            attr.put_bytes(120, &fds);
        }
        if spec.bind {
            attr.put_u32(148, u32::try_from(spec.fd_array.len()).unwrap_or(u32::MAX));
        }
        if let Some(signature) = &spec.signature {
            let size = u32::try_from(signature.bytes.len()).unwrap_or(u32::MAX);
            // An empty one too: without an address the load would not be a signed one.
            attr.put_any_bytes(152, signature.bytes)
                .put_u32(160, size)
                .put_fd(164, signature.keyring.0);
        }
        if spec.log_level > 0 {
            attr.put_u32(24, spec.log_level)
                .put_u32(28, LOG_LEN as u32)
                .put_buffer(32, &mut log);
        }
        let result = system.bpf(Command::ProgLoad, &mut attr);
        match result {
            Ok(fd) => Ok(Self {
                fd: owned_fd(fd),
                name: spec.name.to_owned(),
            }),
            Err(errno) => {
                let on = format!("program `{}`", spec.name);
                let mut error = SyscallError::new(Command::ProgLoad.name(), on, errno);
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
        let len = u32::try_from(context.len()).unwrap_or(u32::MAX);
        let mut attr = Attr::new(80);
        attr.put_fd(0, self.fd.as_raw_fd())
            .put_u32(40, len)
            .put_buffer(48, context);
        system
            .bpf(Command::ProgRun, &mut attr)
            .map_err(|errno| self.error(Command::ProgRun, errno))?;
        Ok(attr.u32(4).cast_signed())
    }

    /// `BPF_PROG_RUN` of a program that takes a packet, XDP's or a socket's: the program's return
    /// value. The packet is a copy.
    ///
    /// # Errors
    /// When the program was not run.
    pub fn run_on_packet(&self, system: &dyn System, packet: &[u8]) -> Result<u32, SyscallError> {
        let len = u32::try_from(packet.len()).unwrap_or(u32::MAX);
        let mut attr = Attr::new(80);
        attr.put_fd(0, self.fd.as_raw_fd())
            .put_u32(8, len)
            .put_bytes(16, packet)
            .put_u32(32, 1);
        system
            .bpf(Command::ProgRun, &mut attr)
            .map_err(|errno| self.error(Command::ProgRun, errno))?;
        Ok(attr.u32(4))
    }

    /// A program that was pinned in bpffs.
    ///
    /// # Errors
    /// `ENOENT` when there is none.
    pub fn pinned(system: &dyn System, path: &Path) -> Result<Self, SyscallError> {
        let fd = crate::pin::get(system, path)?;
        Ok(Self::from_fd(fd, &path.display().to_string()))
    }

    fn error(&self, command: Command, errno: i32) -> SyscallError {
        SyscallError::new(command.name(), format!("program `{}`", self.name), errno)
    }

    /// What the kernel says of it.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn info(&self, system: &dyn System) -> Result<ProgramInfo, SyscallError> {
        let mut buffer = [0; INFO_LEN];
        get_info(system, self.fd.as_fd(), &mut buffer)
            .map_err(|errno| self.error(Command::ObjGetInfoByFd, errno))?;
        let word = |at: usize| {
            u32::from_ne_bytes([buffer[at], buffer[at + 1], buffer[at + 2], buffer[at + 3]])
        };
        let mut tag = [0; 8];
        tag.copy_from_slice(&buffer[8..16]);
        Ok(ProgramInfo {
            prog_type: word(0),
            id: word(4),
            tag,
            name: text(&buffer[64..80]),
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
