//! The running kernel: maps, programs, links and keys, and loading sealed loaders into it.
//!
//! The only crate with unsafe code, and with system calls. For whoever carries out an
//! [`InstallPlan`](bpfseal_artifact::install::InstallPlan), and for tests that ask a real kernel.
//!
//! ```text
//! InstallPlan ── install ── Installed {maps, programs} ── links, pins
//! ```
//!
//! Every call goes through [`System`], which has a test double, so that the order of calls is
//! tested without rights. Descriptors are owned; whatever goes wrong, none is left open.
#![deny(unsafe_op_in_unsafe_fn)]

mod apart;
mod attr;
mod btf;
mod error;
mod get_info;
mod ids;
mod install;
mod keyring;
mod link;
mod map;
mod mapping;
mod perf;
mod pin;
pub mod probe;
mod program;
pub mod records;
mod ring;
mod running;
mod system;
mod text;

pub use attr::{Attr, Claim, PerfAttr};
pub use bpfseal_uapi::{Command, Errno, KeyringId};
pub use btf::Btf;
pub use error::SyscallError;
pub use ids::{map_ids, program_ids};
pub use install::{InstallError, InstallOptions, Installed, install, install_with};
pub use keyring::{
    KeyInfo, KeySerial, Restriction, add_certificate, describe_key, find_by_key_id, join_session,
    keyring_serial, keys_of, link_key, new_keyring, restrict_keyring, revoke_key, unlink_key,
};
pub use link::{Direction, Link, LinkInfo, NetfilterHook, filter_socket};
pub use map::{Map, MapInfo, MapSpec};
pub use mapping::Mapping;
pub use perf::PerfEvent;
pub use pin::{get, pin};
pub use program::{CoreRecords, Program, ProgramInfo, ProgramSpec, Signature};
pub use ring::RingBuffer;
pub use system::{KeyCall, Leaving, Left, Linux, Ran, System};
