//! `BPF_PROG_LOAD`: admission, and the structural checks that a signature adds.
//!
//! One function a step, in the order of the kernel. Sources: `bpf_prog_load` of
//! `kernel/bpf/syscall.c`, `bpf_check`, `process_fd_array`, `bpf_prog_verify_signature` and
//! `resolve_pseudo_ldimm64` of `kernel/bpf/verifier.c`, of Linux 7.3; and
//! `bpf_prog_verify_signature` of `kernel/bpf/syscall.c` of Linux 6.18, and of the proposal "BPF
//! signature hash chains" of September 2025. What the verifier finds out
//! about a program's data flow is not modelled.

use bpfseal_object::{
    BPF_INSN_SZ, BPF_PSEUDO_KFUNC_CALL, BPF_PSEUDO_MAP_IDX, BPF_PSEUDO_MAP_IDX_VALUE, Insn,
};
use bpfseal_seal::{excl_prog_hash, kernel_answer};

use sha2::{Digest as _, Sha256};

use crate::names::check_object_name;
use crate::stack::stack_fault;

use super::{
    Answer, Asked, Caller, Fd, Kernel, Map, Object, Profile, ProgLoad, Program, Signature, USER,
    Verdict,
};
use bpfseal_uapi::insn::{BPF_PSEUDO_MAP_FD, BPF_PSEUDO_MAP_VALUE};
use bpfseal_uapi::limits::{MAX_FD_ARRAY, MAX_INSNS, MAX_SIGNATURE, MAX_SIGNED_PAYLOAD};
use bpfseal_uapi::{Errno, cmd};

/// `r1 = r2`.
const MOV64_REG: u8 = 0xbf;

/// A load on its way.
struct Loading<'k> {
    kernel: &'k Kernel,
    load: &'k ProgLoad,
    caller: Caller,
    /// The program's digest, as far as the kernel has it: zeroes before.
    digest: [u8; 32],
    log: Vec<String>,
    /// Numbers of the maps that are bound, in order.
    maps: Vec<u32>,
    verdict: Verdict,
}

/// A refusal that is on its way up; the log has been written.
type Refused = Errno;

impl Kernel {
    /// `BPF_PROG_LOAD`, from user space.
    pub fn prog_load(&mut self, load: &ProgLoad) -> Answer {
        self.prog_load_by(USER, load)
    }

    /// The same, for whoever asks. That the kernel is within a run counts only while that run is
    /// under way on its task.
    pub fn prog_load_by(&mut self, caller: Caller, load: &ProgLoad) -> Answer {
        let caller = self.checked(caller);
        // Modules are asked while the kernel is looked at.
        let mut modules = std::mem::take(&mut self.modules);
        let mut loading = Loading {
            kernel: self,
            load,
            caller,
            digest: [0; 32],
            log: Vec::new(),
            maps: Vec::new(),
            verdict: Verdict::default(),
        };
        let admitted = modules
            .bpf(cmd::PROG_LOAD, caller)
            .and_then(|()| loading.before());
        let result = admitted.map(|()| {
            let asked = loading.asked();
            let told = match loading.kernel.profile {
                Profile::Hornet => modules.integrity(&asked),
                _ => Ok(()),
            };
            told.and_then(|()| modules.prog_load(&asked))
        });
        // The outer error comes before modules are asked, the inner one of them or after.
        let result = result.map(|answer| answer.and_then(|()| loading.after()));
        let array = load.fd_array.as_deref().unwrap_or_default();
        let places = array.iter().map(|fd| match loading.kernel.object(*fd) {
            Some(Object::Map(number)) => Some(*number),
            _ => None,
        });
        let places = places.collect();
        let Loading {
            log, maps, verdict, ..
        } = loading;
        let program = Program {
            loaded: load.clone(),
            verdict,
            maps,
            places,
        };
        let asked = result.is_ok();
        let result = result
            .and_then(|after| after)
            .and_then(|()| modules.prog(&program));
        if asked && result.is_err() {
            modules.prog_free(&load.name);
        }
        self.modules = modules;
        if asked {
            self.admitted(load, verdict, caller, result.is_ok());
        }
        let result = result.and_then(|()| self.install(program));
        Answer { result, log }
    }
}

impl Loading<'_> {
    fn say(&mut self, line: impl Into<String>) {
        self.log.push(line.into());
    }

    /// What security modules are told.
    fn asked(&self) -> Asked<'_> {
        let array = self.load.fd_array.as_deref().unwrap_or_default();
        let maps = array.iter().map(|fd| match self.kernel.object(*fd) {
            Some(Object::Map(number)) => Some(self.map(*number)),
            _ => None,
        });
        let keyring = self.load.signature.as_ref();
        let keyring = keyring.and_then(|signature| self.kernel.keyring(signature.keyring));
        Asked {
            load: self.load,
            caller: self.caller,
            loader: self.kernel.loader_of(self.caller),
            verdict: self.verdict,
            maps: maps.collect(),
            keyring: keyring.map(|(store, ..)| store),
        }
    }

    /// Up to `security_bpf_prog_load`.
    fn before(&mut self) -> Result<(), Refused> {
        let count = self.load.instructions.len() / BPF_INSN_SZ;
        let profile = self.kernel.profile;
        if !profile.has_signatures() && self.load.signature.is_some() {
            // `bpf_check_uarg_tail_zero`: fields that this kernel does not know are not zero.
            return Err(Errno::E2BIG);
        }
        if !profile.has_signatures() && self.load.fd_array_cnt > 0 {
            // `CHECK_ATTR`, as of 6.12: the count came with 6.14.
            return Err(Errno::EINVAL);
        }
        if count == 0 || count > MAX_INSNS {
            return Err(Errno::E2BIG);
        }
        if check_object_name(self.load.name.as_bytes()).is_err() {
            return Err(Errno::EINVAL);
        }
        let signature = self.load.signature.as_ref();
        if !profile.binds_maps() {
            return match signature {
                // There the module checks it.
                Some(_) if profile == Profile::Hornet => Ok(()),
                Some(signature) => self.verify_alone(signature),
                None => Ok(()),
            };
        }
        // `bpf_prog_calc_tag`: of an unsigned program there is no digest yet.
        if signature.is_some() {
            self.digest = excl_prog_hash(&self.load.instructions);
        }
        self.process_fd_array()?;
        signature.map_or(Ok(()), |signature| self.verify_with_maps(signature))
    }

    /// What comes after it. Before 7.3 it stood before the verifier's entry: there is no digest
    /// when maps are bound, so that no exclusive one can be, not even the program's own.
    fn after(&mut self) -> Result<(), Refused> {
        if !self.binds() {
            self.process_fd_array()?;
        }
        self.look_at_the_first()?;
        self.resolve_instructions()?;
        self.look_at_maps()?;
        self.look_at_the_stack()
    }

    /// Of what the verifier finds out about data flow, what loaders depend on: which fields of
    /// `struct bpf_map` a program may read.
    fn look_at_maps(&self) -> Result<(), Refused> {
        let insns = Insn::decode_all(&self.load.instructions, self.kernel.endian);
        let mut read = insns
            .windows(3)
            .filter(|w| w[0].is_ld_imm64() && w[0].src == BPF_PSEUDO_MAP_IDX)
            // A load by the register that the address was put into.
            .filter(|w| w[2].code & 7 == 1 && w[2].src == w[0].dst)
            .map(|w| w[2].off);
        let profile = self.kernel.profile;
        if read.all(|offset| profile.shows_map_field(offset)) {
            Ok(())
        } else {
            Err(Errno::EACCES)
        }
    }

    /// The first instruction has the context and the stack, and nothing else. What was compiled for
    /// the other byte order fails here.
    fn look_at_the_first(&mut self) -> Result<(), Refused> {
        let insns = Insn::decode_all(&self.load.instructions, self.kernel.endian);
        let is_copy = |insn: &&Insn| insn.code == MOV64_REG;
        if let Some(first) = insns.first().filter(is_copy)
            && !matches!(first.src, 1 | 10)
        {
            self.say(format!("R{} !read_ok", first.src));
            return Err(Errno::EACCES);
        }
        Ok(())
    }

    /// Accesses by the frame pointer stay inside of the frame (`check_stack_access_within_bounds`).
    fn look_at_the_stack(&mut self) -> Result<(), Refused> {
        let insns = Insn::decode_all(&self.load.instructions, self.kernel.endian);
        let Some(fault) = stack_fault(&insns) else {
            return Ok(());
        };
        self.say(fault.to_string());
        Err(Errno::EACCES)
    }

    /// Linux 6.18 to 7.2: over the instructions, before anything else. Nothing is logged.
    fn verify_alone(&mut self, signature: &Signature) -> Result<(), Refused> {
        if signature.size as usize > MAX_SIGNATURE {
            return Err(Errno::EINVAL);
        }
        let keyring = self.kernel.keyring(signature.keyring);
        let (store, kind, serial) = keyring.ok_or(Errno::EINVAL)?;
        let chained;
        let content = if self.load.signature_maps.is_empty() {
            self.load.instructions.as_slice()
        } else {
            chained = self.chain()?;
            &chained
        };
        let bytes = given(signature);
        if bytes.is_empty() {
            // No limit below: the parser finds nothing.
            return Err(Errno::EBADMSG);
        }
        kernel_answer(&[content], bytes, store)?;
        self.verdict = Verdict {
            verified: true,
            keyring: kind,
            serial,
        };
        Ok(())
    }

    /// The proposal with a chain of digests: from the last map to the first, then the instructions.
    /// Whether a map is frozen is not asked.
    fn chain(&self) -> Result<[u8; 32], Refused> {
        let array = self.load.fd_array.as_deref().unwrap_or_default();
        let mut chain = None;
        for place in self.load.signature_maps.iter().rev() {
            let fd = array.get(*place as usize).ok_or(Errno::EFAULT)?;
            let digest = self.kernel.map(*fd)?.digest_now()?;
            chain = Some(match chain {
                None => digest,
                Some(rest) => pair(rest, digest),
            });
        }
        let instructions = excl_prog_hash(&self.load.instructions);
        Ok(pair(instructions, chain.unwrap_or_default()))
    }

    /// `process_fd_array`: all that is bound, before anything of the program is looked at.
    fn process_fd_array(&mut self) -> Result<(), Refused> {
        let count = self.load.fd_array_cnt;
        if count == 0 {
            return Ok(());
        }
        let Some(array) = &self.load.fd_array else {
            self.say(format!("fd_array_cnt {count} without fd_array is invalid"));
            return Err(Errno::EINVAL);
        };
        if count > MAX_FD_ARRAY {
            self.say(format!(
                "fd_array has too many entries ({count}, max {MAX_FD_ARRAY})"
            ));
            return Err(Errno::E2BIG);
        }
        for index in 0..count as usize {
            let fd = array.get(index).copied().ok_or(Errno::EFAULT)?;
            match self.kernel.object(fd) {
                Some(Object::Map(map)) => self.add_map(*map)?,
                Some(Object::Btf(_)) if self.load.signature.is_some() && self.binds() => {
                    self.say("signed program cannot bind any BTF");
                    return Err(Errno::EACCES);
                }
                Some(Object::Btf(_)) => {}
                other => {
                    let errno = match other {
                        None => Errno::EBADF,
                        Some(_) => Errno::EINVAL,
                    };
                    self.say(format!("fd {fd} is not pointing to valid bpf_map or btf"));
                    return Err(errno);
                }
            }
        }
        Ok(())
    }

    fn binds(&self) -> bool {
        self.kernel.profile.binds_maps()
    }

    fn map(&self, number: u32) -> &Map {
        &self.kernel.maps[number as usize]
    }

    /// `__add_used_map`, and of `check_map_prog_compatibility` what is about exclusive maps.
    fn add_map(&mut self, number: u32) -> Result<(), Refused> {
        if self.maps.contains(&number) {
            return Ok(());
        }
        let map = self.map(number);
        if self.binds() && self.load.signature.is_some() && self.verdict.verified {
            let line = format!(
                "signed program cannot bind map '{}' not covered by the signature",
                map.created.name
            );
            self.say(line);
            return Err(Errno::EACCES);
        }
        if map
            .created
            .excl_prog_hash
            .is_some_and(|hash| hash != self.digest)
        {
            self.say("program's hash doesn't match map's excl_prog_hash");
            return Err(Errno::EACCES);
        }
        self.maps.push(number);
        Ok(())
    }

    /// `bpf_prog_verify_signature` of Linux 7.3.
    fn verify_with_maps(&mut self, signature: &Signature) -> Result<(), Refused> {
        if signature.size == 0 || signature.size as usize > MAX_SIGNATURE {
            return Err(Errno::EINVAL);
        }
        let Some((store, kind, serial)) = self.kernel.keyring(signature.keyring) else {
            let id = signature.keyring;
            self.say(format!(
                "cannot resolve signing keyring with keyring_id {id}"
            ));
            return Err(Errno::EINVAL);
        };
        let mut size = self.load.instructions.len() as u64;
        for number in self.maps.clone() {
            let map = self.map(number);
            let fault = if !map.is_array() {
                Some(("must be an array", Errno::EINVAL))
            } else if !map.frozen {
                Some(("must be frozen", Errno::EPERM))
            } else if map.writers > 0 {
                Some(("has active writers", Errno::EBUSY))
            } else if map.created.excl_prog_hash.is_none() {
                Some(("must be exclusive", Errno::EPERM))
            } else {
                None
            };
            size += u64::from(map.created.value_size);
            if let Some((fault, errno)) = fault {
                let name = map.created.name.clone();
                self.say(format!("signed program metadata map '{name}' {fault}"));
                return Err(errno);
            }
        }
        if size > MAX_SIGNED_PAYLOAD as u64 {
            self.say(format!("signed payload too large: {size} bytes"));
            return Err(Errno::E2BIG);
        }
        let maps = self.maps.iter().map(|number| self.map(*number));
        // A value's address is that of its first element.
        if maps.clone().any(|map| map.created.max_entries != 1) {
            let name = maps
                .clone()
                .find(|map| map.created.max_entries != 1)
                .map(|map| map.created.name.clone());
            // `array_map_direct_value_addr`: `-ENOTSUPP`.
            let name = name.unwrap_or_default();
            let errno = Errno::ENOTSUPP;
            self.say(format!(
                "failed to read signed metadata map '{name}': -{}",
                errno.0
            ));
            return Err(errno);
        }
        let mut content = vec![self.load.instructions.as_slice()];
        let values: Vec<_> = maps.map(Map::value).collect();
        content.extend(values.iter().map(AsRef::as_ref));
        match kernel_answer(&content, given(signature), store) {
            Ok(()) => {
                self.say("signature verification passed");
                self.verdict = Verdict {
                    verified: true,
                    keyring: kind,
                    serial,
                };
                Ok(())
            }
            Err(errno) => {
                self.say(format!("signature verification failed: -{}", errno.0));
                Err(errno)
            }
        }
    }

    /// What of `resolve_pseudo_ldimm64`, and of the look-up of kernel functions, a signature adds.
    fn resolve_instructions(&mut self) -> Result<(), Refused> {
        let signed = self.load.signature.is_some() && self.binds();
        self.digest = excl_prog_hash(&self.load.instructions);
        let insns = Insn::decode_all(&self.load.instructions, self.kernel.endian);
        // Functions of modules come before maps: `add_subprog_and_kfunc`.
        for insn in &insns {
            let of_module = insn.is_call() && insn.src == BPF_PSEUDO_KFUNC_CALL && insn.off != 0;
            if of_module && signed {
                self.say("signed program cannot bind any BTF");
                return Err(Errno::EACCES);
            }
        }
        let mut at = 0;
        while at < insns.len() {
            let insn = insns[at];
            at += 1;
            if !insn.is_ld_imm64() {
                continue;
            }
            at += 1;
            match insn.src {
                BPF_PSEUDO_MAP_IDX | BPF_PSEUDO_MAP_IDX_VALUE => self.map_by_index(insn.imm)?,
                BPF_PSEUDO_MAP_FD | BPF_PSEUDO_MAP_VALUE if signed => {
                    self.say(
                        "signed program cannot reference a map by fd, only via fd_array index",
                    );
                    return Err(Errno::EINVAL);
                }
                BPF_PSEUDO_MAP_FD | BPF_PSEUDO_MAP_VALUE => self.map_by_fd(insn.imm)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// `fd_array_get_map_idx`.
    fn map_by_index(&mut self, index: i32) -> Result<(), Refused> {
        let index = index.cast_unsigned();
        let count = self.load.fd_array_cnt;
        // Before 7.3 the caller's array is read again, whatever its count.
        if count > 0 && self.binds() {
            if index >= count {
                self.say(format!(
                    "fd_idx {index} out of bounds, fd_array_cnt {count}"
                ));
                return Err(Errno::EINVAL);
            }
            let array = self.load.fd_array.as_deref().unwrap_or_default();
            let fd = array.get(index as usize).copied().unwrap_or(-1);
            return match self.kernel.object(fd) {
                Some(Object::Map(map)) => self.add_map(*map),
                _ => {
                    self.say(format!("fd_idx {index} is not a map"));
                    Err(Errno::EINVAL)
                }
            };
        }
        if self.load.signature.is_some() && self.binds() {
            self.say("signed program must bind maps via a continuous fd_array (fd_array_cnt)");
            return Err(Errno::EACCES);
        }
        let Some(array) = &self.load.fd_array else {
            self.say("fd_idx without fd_array is invalid");
            return Err(Errno::EPROTO);
        };
        let fd = array.get(index as usize).copied().ok_or(Errno::EFAULT)?;
        self.map_by_fd(fd)
    }

    /// `add_used_map`.
    fn map_by_fd(&mut self, fd: Fd) -> Result<(), Refused> {
        let errno = match self.kernel.object(fd) {
            Some(Object::Map(map)) => return self.add_map(*map),
            None => Errno::EBADF,
            Some(_) => Errno::EINVAL,
        };
        self.say(format!("fd {fd} is not pointing to valid bpf_map"));
        Err(errno)
    }
}

/// SHA-256 over two digests.
fn pair(first: [u8; 32], second: [u8; 32]) -> [u8; 32] {
    Sha256::new()
        .chain_update(first)
        .chain_update(second)
        .finalize()
        .into()
}

/// The bytes that the kernel copies.
fn given(signature: &Signature) -> &[u8] {
    let len = signature.bytes.len().min(signature.size as usize);
    &signature.bytes[..len]
}
