//! `BPF_PROG_RUN` of a program of type syscall, such as a loader: what it asks for is done in the
//! same kernel, as the kernel's own.
//!
//! Sources: `bpf_prog_test_run_syscall` of `net/bpf/test_run.c` and `bpf_sys_bpf` of
//! `kernel/bpf/syscall.c`, of Linux 7.3.

use std::borrow::Cow;

use bpfseal_loader::plan::MapAttr;

use super::{Caller, Fd, Kernel, MapAnswer, MapCreate, Object, ProgLoad, Task};
use crate::map_check::Wanted;
use crate::record::{Act, Answers, Influence, ProgramAct, Recorder};
use crate::run::{Bound, Fault, Machine, map_object};
use crate::symbols::Symbols;
use bpfseal_uapi::{Errno, cmd, limits, prog};

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The program ran, and returned this: of a loader 0, or the negative errno of what failed.
    Returned(i64),
    /// The kernel does not run it.
    Refused(Errno),
    /// The program does what the model does not run.
    NotModelled(Fault),
}

/// What a running program asked for and did not get.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Denied {
    /// The program's instruction.
    pub insn: usize,
    /// What it was, in words.
    pub what: String,
    /// The answer.
    pub errno: Errno,
    /// What was logged.
    pub log: Vec<String>,
}

/// A run.
#[derive(Debug, Clone)]
pub struct Ran {
    /// How it ended.
    pub end: End,
    /// The context, as the program left it.
    pub context: Vec<u8>,
    /// The last thing that was denied.
    pub denied: Option<Denied>,
    /// Symbols that it looked up and that are not there.
    pub missing: Vec<String>,
    /// What of the caller's context, which is not vouched for, had a say.
    pub influences: Vec<Influence>,
}

impl Ran {
    fn ended(end: End, context: Vec<u8>) -> Self {
        Self {
            end,
            context,
            denied: None,
            missing: Vec::new(),
            influences: Vec::new(),
        }
    }
}

impl Kernel {
    /// `BPF_PROG_RUN`, from user space.
    pub fn prog_run(&mut self, fd: Fd, context: Vec<u8>) -> Ran {
        self.prog_run_by(Task::FIRST, fd, context)
    }

    /// The same, by a task. What the program asks for while it runs is asked for by the kernel on
    /// that task, within this run.
    pub fn prog_run_by(&mut self, task: Task, fd: Fd, context: Vec<u8>) -> Ran {
        let program = match self.may_run(task, fd, &context) {
            Ok(program) => program,
            Err(errno) => return Ran::ended(End::Refused(errno), context),
        };
        let caller = self.begin_run(task, program);
        let ran = self.run(program, context, caller);
        self.end_run(caller);
        ran
    }

    /// The number of the program, if it may be run.
    fn may_run(&mut self, task: Task, fd: Fd, context: &[u8]) -> Result<u32, Errno> {
        self.modules.bpf(cmd::PROG_RUN, Caller::User(task))?;
        let number = match self.fds.get(&fd) {
            Some(Object::Program(number)) => *number,
            Some(_) => return Err(Errno::EINVAL),
            None => return Err(Errno::EBADF),
        };
        let program = self.programs.get(number as usize).ok_or(Errno::EBADF)?;
        if program.loaded.prog_type != prog::SYSCALL {
            return Err(Errno::ENOTSUPP);
        }
        if context.len() > limits::MAX_RUN_CONTEXT {
            return Err(Errno::EINVAL);
        }
        let maps = program.places.iter();
        let maps = maps.map(|number| number.map(|number| &self.maps[number as usize]));
        let maps: Vec<_> = maps.collect();
        self.modules.prog_run(program, &maps)?;
        Ok(number)
    }

    fn run(&mut self, program: u32, context: Vec<u8>, caller: Caller) -> Ran {
        let Some(program) = self.programs.get(program as usize) else {
            return Ran::ended(End::Refused(Errno::EBADF), context);
        };
        let places = program.places.clone();
        let endian = self.endian;
        let instructions = program.loaded.relocated(endian);
        let bound = places.iter().map(|number| {
            let map = &self.maps[(*number)? as usize];
            let exclusive = map.created.excl_prog_hash.is_some();
            let object = map_object(map.cached_digest(), exclusive, endian);
            Some((Cow::Owned(map.value().to_vec()), object))
        });
        let bound: Vec<Option<Bound<'_>>> = bound.collect();
        let size = bound.iter().flatten().map(|(value, _)| value.len()).sum();
        let answers = Nested {
            kernel: self,
            caller,
            denied: None,
        };
        let mut recorder = Recorder::new(endian, answers, size);
        let machine = Machine::new(&instructions, bound, context.clone(), endian, &mut recorder);
        let mut machine = match machine {
            Ok(machine) => machine,
            Err(fault) => return Ran::ended(End::NotModelled(fault), context),
        };
        let end = match machine.run() {
            Ok(returned) => End::Returned(returned),
            Err(fault) => End::NotModelled(fault),
        };
        let context = machine.context();
        let written = (0..places.len()).map(|place| machine.written_to(place));
        let written: Vec<_> = written.collect();
        let missing = recorder.missing.iter();
        let ran = Ran {
            end,
            context,
            missing: missing
                .map(|name| String::from_utf8_lossy(name).into_owned())
                .collect(),
            influences: recorder.influences.into_iter().collect(),
            denied: recorder.answers.denied,
        };
        for (number, written) in places.iter().zip(written) {
            let Some(number) = number else { continue };
            for (offset, bytes) in written {
                self.maps[*number as usize].write_by_program(offset, &bytes);
            }
        }
        ran
    }
}

/// The kernel, as its own caller.
struct Nested<'k> {
    kernel: &'k mut Kernel,
    caller: Caller,
    denied: Option<Denied>,
}

impl Nested<'_> {
    fn create(
        &mut self,
        attr: &MapAttr,
        inner_fd: Fd,
        hash: Option<&[u8]>,
        hash_size: u32,
        (btf_fd, value_type): (Fd, u32),
    ) -> Result<Fd, MapAnswer> {
        let hash = match hash {
            Some(bytes) => Some(bytes.try_into().map_err(|_| Errno::EINVAL)?),
            None => None,
        };
        let wanted = MapCreate {
            name: attr.name.clone(),
            map_type: attr.map_type,
            key_size: attr.key_size,
            value_size: attr.value_size,
            max_entries: attr.max_entries,
            map_flags: attr.map_flags,
            inner: inner_fd,
            excl_prog_hash: hash,
            excl_prog_hash_size: hash_size,
        };
        let full = Wanted {
            btf_vmlinux_value_type_id: value_type,
            ..Wanted::of_plan(attr)
        };
        let caller = self.caller;
        if wanted.holds_maps() && inner_fd == 0 {
            // Standard input of who runs the loader, which is no map.
            return Err(Errno::EINVAL.into());
        }
        self.kernel.create_map(&wanted, &full, Some(btf_fd), caller)
    }

    fn load(&mut self, program: &ProgramAct) -> (Result<Fd, Errno>, Vec<String>) {
        let endian = self.kernel.endian;
        let code = program.insns.iter().flat_map(|insn| insn.encode(endian));
        let load = ProgLoad {
            name: program.name.clone(),
            prog_type: program.prog_type,
            instructions: code.collect(),
            fd_array: Some(program.slots.clone()),
            ..ProgLoad::default()
        };
        let answer = self.kernel.prog_load_by(self.caller, &load);
        (answer.result, answer.log)
    }
}

impl Answers for Nested<'_> {
    fn answer(&mut self, insn: usize, act: &Act) -> i64 {
        let mut log = Vec::new();
        // More than what was asked for: where it is wrong.
        let mut why = None;
        let answer = match act {
            Act::LoadBtf { data, .. } => {
                let loaded = self.kernel.load_btf(data, self.caller);
                loaded.map_err(|(errno, refused)| {
                    if let Some(refused) = refused {
                        why = refused.at.map(|at| at.to_string());
                        log.extend(
                            (!refused.log.is_empty()).then(|| refused.log.trim().to_owned()),
                        );
                    }
                    errno
                })
            }
            Act::CreateMap {
                attr,
                inner_fd,
                excl_prog_hash,
                excl_prog_hash_size,
                btf_fd,
                value_type,
                ..
            } => {
                let hash = excl_prog_hash.as_deref();
                let types = (*btf_fd, *value_type);
                let made = self.create(attr, *inner_fd, hash, *excl_prog_hash_size, types);
                made.map_err(|refused| {
                    why = refused
                        .fault
                        .map(|fault| format!("{fault}; {}", fault.mend()));
                    refused.errno
                })
            }
            Act::Update {
                map_fd,
                key,
                value,
                flags,
                ..
            } => {
                let caller = self.caller;
                let value = value.range(0, value.len());
                let done = self.kernel.update_map(*map_fd, key, &value, *flags, caller);
                done.map(|()| 0)
            }
            Act::Freeze { map_fd } => self.kernel.freeze_map(*map_fd, self.caller).map(|()| 0),
            Act::LoadProgram(program) => {
                let (result, lines) = self.load(program);
                log = lines;
                result
            }
            // Of the other commands, `bpf_sys_bpf` lets some through; loaders give none.
            // Not modelled.
            Act::LinkStructOps { .. } | Act::Other { .. } => Err(Errno::EINVAL),
        };
        match answer {
            Ok(fd) => i64::from(fd),
            Err(errno) => {
                self.denied = Some(Denied {
                    insn,
                    what: match why {
                        Some(why) => format!("{}: {why}", act.describe()),
                        None => act.describe(),
                    },
                    errno,
                    log,
                });
                -i64::from(errno.0)
            }
        }
    }

    fn close(&mut self, fd: i32) -> i64 {
        if self.kernel.close(fd) {
            0
        } else {
            -i64::from(Errno::EBADF.0)
        }
    }

    fn symbols(&self) -> &Symbols {
        &self.kernel.symbols
    }
}
