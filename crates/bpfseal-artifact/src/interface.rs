//! What a loader installs, by name: the interface between an artifact and who uses it.
//!
//! A loader's context has places and no names. This says which place is which map or program, and
//! how a program is attached. It is no part of what is signed: it tells a host what to do with
//! descriptors, as the text of a light skeleton does.

use bpfseal_loader::ContextLayout;
use bpfseal_object::uapi::{attach, prog};
use bpfseal_object::{Object, Program};

use crate::ident::{identifier, map_ident};

bpfseal_object::debug_as_chain!(NameError);

/// Names of what a loader installs, in the order of its context.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Interface {
    /// Name of the object.
    pub name: String,
    /// Maps.
    pub maps: Vec<String>,
    /// Programs, those that are not loaded by default included.
    pub programs: Vec<ProgramInterface>,
}

/// One program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramInterface {
    /// Name of its function.
    pub name: String,
    /// Whether the loader loads it; `None` when the artifact does not say.
    pub autoload: Option<bool>,
    /// How it is attached.
    pub attach: AutoAttach,
    /// `enum bpf_attach_type` that it was made for, when the artifact says so.
    pub attach_type: Option<u32>,
}

/// How a light skeleton attaches a program. Exhaustive: it can not do more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AutoAttach {
    /// An iterator over all of its things.
    Iterator,
    /// Only the caller knows what to attach it to.
    Manual,
    /// A raw tracepoint of this name.
    RawTracepoint(String),
    /// The target that it was loaded for: tracing, LSM.
    Target,
}

impl AutoAttach {
    /// What the section of a program says. Follows `gen_trace` of bpftool 7.8.
    #[must_use]
    pub fn of(program: &Program) -> Self {
        let Some(def) = program.def else {
            return Self::Manual;
        };
        match def.prog_type {
            prog::RAW_TRACEPOINT => program.attach_target().map_or(Self::Manual, |target| {
                Self::RawTracepoint(target.to_owned())
            }),
            prog::TRACING if def.attach_type == attach::BPF_TRACE_ITER => Self::Iterator,
            prog::TRACING | prog::LSM => Self::Target,
            _ => Self::Manual,
        }
    }
}

/// A name of an object, map or program that becomes a file, a line or a word somewhere, and would
/// be more than that: nothing, a path, or something that a terminal obeys.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("the {what} name `{}` {why}", .name.escape_debug())]
#[non_exhaustive]
pub struct NameError {
    /// What has it: `object`, `map`, `program`.
    pub what: &'static str,
    /// The name.
    pub name: String,
    /// What is wrong with it.
    pub why: &'static str,
}

impl NameError {
    /// Checks a name.
    fn check(what: &'static str, name: &str) -> Result<(), Self> {
        let why = if name.is_empty() {
            "is empty"
        } else if name.contains('/') {
            "has a `/` in it"
        } else if name == "." || name.contains("..") {
            "has a `..` in it, or is `.`"
        } else if name.contains(|c: char| c.is_control()) {
            "has a control character in it"
        } else {
            return Ok(());
        };
        Err(Self {
            what,
            name: name.to_owned(),
            why,
        })
    }
}

impl Interface {
    /// Whether maps and programs have names that can be shown, and be those of pins. Everything
    /// that is read from a file was checked.
    ///
    /// # Errors
    /// [`NameError`] for the first one that is empty, or has a `/`, `..` or a control character in
    /// it.
    pub fn check_names(&self) -> Result<(), NameError> {
        // A header need not have the object's.
        if !self.name.is_empty() {
            NameError::check("object", &self.name)?;
        }
        for map in &self.maps {
            NameError::check("map", map)?;
        }
        for program in &self.programs {
            NameError::check("program", &program.name)?;
        }
        Ok(())
    }

    /// The interface of an object's loader.
    #[must_use]
    pub fn new(object: &Object, name: &str) -> Self {
        let maps = object.maps.iter().map(map_ident);
        let programs = object
            .entry_programs()
            .map(|(_, program)| ProgramInterface {
                name: identifier(&program.name),
                autoload: Some(program.autoload),
                attach: AutoAttach::of(program),
                attach_type: program.def.map(|def| def.attach_type.0),
            });
        Self {
            name: name.to_owned(),
            maps: maps.collect(),
            programs: programs.collect(),
        }
    }

    /// How the context is laid out.
    #[must_use]
    pub fn context(&self) -> ContextLayout {
        let count = |len| u32::try_from(len).unwrap_or(u32::MAX);
        ContextLayout {
            maps: count(self.maps.len()),
            programs: count(self.programs.len()),
        }
    }
}
