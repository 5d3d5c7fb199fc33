//! Linking: an entry function and the subprograms that it reaches become one program.
//!
//! Subprograms are appended in the order of their first use, depth first; calls, function
//! addresses and records of `.BTF.ext` move with them. Then references to maps, data and externs
//! are written into the code. Source of the order: `bpf_object__relocate` of libbpf 1.8.

use std::collections::HashMap;

use bpfseal_object::btf::ext::Info as ExtInfo;
use bpfseal_object::btf::{FuncLinkage, Kind};
use bpfseal_object::{
    BPF_INSN_SZ, BPF_PSEUDO_BTF_ID, BPF_PSEUDO_FUNC, BPF_PSEUDO_KFUNC_CALL, BPF_PSEUDO_MAP_IDX,
    BPF_PSEUDO_MAP_IDX_VALUE, ExternKind, Insn, MapIdx, Object, Program, ProgramIdx, Reloc,
    RelocKind,
};

use super::{CoreRef, Info, JumpTable, KernelRef, KernelRefKind, UndefinedRef};
use crate::Error;

/// Most instructions of all linked programs together, entries of jump tables included. A loader carries them in its metadata,
/// of which the kernel takes about 16 MiB; without a bound, many programs that share one large
/// function would need memory without limit.
const MAX_INSNS: usize = (64 << 20) / BPF_INSN_SZ;

/// Addresses of kernel symbols on the host, for externs without a type.
pub(super) type KernelAddresses = HashMap<String, u64>;

/// A linked program.
#[derive(Debug, Default)]
pub(super) struct Linked {
    pub(super) insns: Vec<Insn>,
    pub(super) subprograms: Vec<(u32, String)>,
    pub(super) func_info: Info,
    pub(super) line_info: Info,
    pub(super) core_refs: Vec<CoreRef>,
    pub(super) kernel_refs: Vec<KernelRef>,
    pub(super) jump_tables: Vec<JumpTable>,
    pub(super) undefined: Vec<UndefinedRef>,
}

/// Links the programs of one object.
pub(super) struct Linker<'a> {
    object: &'a Object,
    addresses: &'a KernelAddresses,
    kconfig_map: Option<i32>,
    /// The arena, and where its variables begin in it, bytes.
    arena: Option<(MapIdx, u64)>,
    insns_left: usize,
    /// `exception_callback:` tags: the function that has one, and the callback.
    exception_tags: Vec<(String, String, bool)>,
}

/// A function whose code is being looked through.
struct Visit {
    program: ProgramIdx,
    base: usize,
    next: usize,
}

impl<'a> Linker<'a> {
    pub(super) fn new(
        object: &'a Object,
        addresses: &'a KernelAddresses,
        arena: Option<(MapIdx, u64)>,
    ) -> Self {
        Self {
            arena,
            object,
            addresses,
            kconfig_map: object.kconfig_map().and_then(|m| i32::try_from(m.0).ok()),
            insns_left: MAX_INSNS,
            exception_tags: exception_tags(object),
        }
    }

    /// Links one entry program.
    pub(super) fn link(&mut self, entry: ProgramIdx) -> Result<Linked, Error> {
        let mut linked = Code {
            linker: self,
            entry,
            placed: HashMap::new(),
            tables: HashMap::new(),
            out: Linked::default(),
            relocs: Vec::new(),
        };
        linked.append(entry)?;
        linked.visit(entry)?;
        if let Some(callback) = linked.linker.exception_callback(entry)?
            && !linked.placed.contains_key(&callback)
        {
            linked.append(callback)?;
            linked.visit(callback)?;
        }
        linked.resolve()
    }

    /// Takes some of the instructions that may still be linked.
    fn take(&mut self, insns: usize) -> Result<(), Error> {
        self.insns_left = self.insns_left.checked_sub(insns).ok_or(Error::TooLarge {
            what: "the linked programs",
            size: (MAX_INSNS * BPF_INSN_SZ) as u64 + 1,
            limit: (MAX_INSNS * BPF_INSN_SZ) as u64,
        })?;
        Ok(())
    }

    fn exception_callback(&self, entry: ProgramIdx) -> Result<Option<ProgramIdx>, Error> {
        let program = &self.object.programs[entry.0];
        let mut found: Option<ProgramIdx> = None;
        for (function, callback, on_global_function) in &self.exception_tags {
            let fault = |what| Error::ExceptionCallback {
                program: program.name.clone(),
                callback: callback.clone(),
                what,
            };
            if !on_global_function {
                return Err(fault("is declared on something that is no global function"));
            }
            if *function != program.name {
                continue;
            }
            if found.is_some() {
                // Two callbacks: left to the verifier, which refuses them.
                return Ok(None);
            }
            if callback.is_empty() {
                return Err(fault("has no name"));
            }
            let (index, subprogram) = self
                .object
                .programs
                .iter()
                .enumerate()
                .find(|(_, p)| p.subprogram && p.name == *callback)
                .ok_or_else(|| fault("does not exist"))?;
            if !subprogram.global || subprogram.hidden {
                return Err(fault("is static or hidden"));
            }
            found = Some(ProgramIdx(index));
        }
        Ok(found)
    }
}

/// All `exception_callback:` tags in order: function, callback, whether the function is global.
fn exception_tags(object: &Object) -> Vec<(String, String, bool)> {
    let Some(btf) = &object.btf else {
        return Vec::new();
    };
    btf.types()
        .filter(|t| t.kind() == Kind::DeclTag && t.decl_tag_component() == -1)
        .filter_map(|t| {
            let callback = t.name().strip_prefix("exception_callback:")?;
            let function = btf.ty(t.type_ref());
            let global =
                function.kind() == Kind::Func && function.func_linkage() == FuncLinkage::Global;
            Some((function.name().to_owned(), callback.to_owned(), global))
        })
        .collect()
}

/// The code of one program while it is put together.
struct Code<'l, 'a> {
    linker: &'l mut Linker<'a>,
    entry: ProgramIdx,
    /// Where each subprogram was put.
    placed: HashMap<ProgramIdx, usize>,
    /// Jump tables by function and place in `.jumptables`: where they are in `out`.
    tables: HashMap<(ProgramIdx, u32, u64), usize>,
    out: Linked,
    relocs: Vec<Reloc>,
}

impl<'a> Code<'_, 'a> {
    fn program(&self, index: ProgramIdx) -> &'a Program {
        &self.linker.object.programs[index.0]
    }

    fn fault(&self, insn: usize, what: &'static str) -> Error {
        Error::Relocation {
            program: self.program(self.entry).name.clone(),
            insn: insn as u64,
            what,
        }
    }

    /// Puts the code of a function behind what is there.
    fn append(&mut self, index: ProgramIdx) -> Result<(), Error> {
        let program = self.program(index);
        let base = self.out.insns.len();
        self.linker.take(program.insns.len())?;
        self.out.insns.extend_from_slice(&program.insns);
        let shift = u32::try_from(base).unwrap_or(u32::MAX);
        for reloc in &program.relocs {
            // Marks a load of a function's address before calls are looked for.
            if matches!(reloc.kind, RelocKind::SubprogAddr(_)) {
                self.out.insns[base + reloc.insn as usize].src = BPF_PSEUDO_FUNC;
            }
            self.relocs.push(Reloc {
                insn: reloc.insn + shift,
                ..*reloc
            });
        }
        if index != self.entry {
            self.placed.insert(index, base);
            self.out.subprograms.push((shift, program.name.clone()));
        }
        Ok(())
    }

    /// Looks through a function and all that it calls, without recursion: a chain of calls may
    /// be as long as the object has functions.
    fn visit(&mut self, first: ProgramIdx) -> Result<(), Error> {
        let mut stack = vec![self.enter(first)?];
        while let Some(visit) = stack.last_mut() {
            let program = &self.linker.object.programs[visit.program.0];
            let Some(at) = (visit.next < program.insns.len()).then_some(visit.next) else {
                stack.pop();
                continue;
            };
            let place = visit.base + at;
            let insn = self.out.insns[place];
            if !insn.is_subprog_call() && !insn.is_pseudo_func() {
                visit.next += 1;
                continue;
            }
            let Some(target) = self.call_target(program, at, insn)? else {
                visit.next += 1;
                continue;
            };
            let Some(&target_base) = self.placed.get(&target) else {
                // First use: this instruction is looked at again once the callee has its place.
                self.append(target)?;
                let callee = self.enter(target)?;
                stack.push(callee);
                continue;
            };
            visit.next += 1;
            // Relative to the instruction after this one; both are far below 2^31.
            let distance = target_base as i64 - place as i64 - 1;
            self.out.insns[place].imm = distance as i32;
        }
        Ok(())
    }

    fn enter(&mut self, index: ProgramIdx) -> Result<Visit, Error> {
        let base = self.placed.get(&index).copied().unwrap_or(0);
        self.append_info(index, base)?;
        Ok(Visit {
            program: index,
            base,
            next: 0,
        })
    }

    /// The subprogram that an instruction calls or takes the address of; `None` for a kernel
    /// function.
    fn call_target(
        &self,
        program: &Program,
        at: usize,
        insn: Insn,
    ) -> Result<Option<ProgramIdx>, Error> {
        let fault = |what| Error::Relocation {
            program: program.name.clone(),
            insn: at as u64,
            what,
        };
        let reloc = program
            .relocs
            .binary_search_by_key(&at, |r| r.insn as usize)
            .ok()
            .map(|i| program.relocs[i].kind);
        // Offsets are 32 bits wide and wrap, as in the reference.
        let target = match reloc {
            Some(RelocKind::ExternCall(_)) => return Ok(None),
            Some(RelocKind::Call(symbol)) => u64::from(symbol / BPF_INSN_SZ as u32)
                .wrapping_add_signed(i64::from(insn.imm))
                .wrapping_add(1),
            Some(RelocKind::SubprogAddr(symbol)) => {
                u64::from(symbol.wrapping_add_signed(insn.imm)) / BPF_INSN_SZ as u64
            }
            Some(_) => return Err(fault("a call has a relocation that is not for calls")),
            None if insn.is_pseudo_func() => {
                return Err(fault("the address of a function has no relocation"));
            }
            None => (program.section_insn + at as u64)
                .wrapping_add_signed(i64::from(insn.imm))
                .wrapping_add(1),
        };
        self.linker
            .object
            .subprogram_at(target)
            .map(Some)
            .ok_or_else(|| fault("calls a function that is not in `.text`"))
    }

    /// Adds the function and line records of a function that was put at `base`.
    fn append_info(&mut self, index: ProgramIdx, base: usize) -> Result<(), Error> {
        let Some(ext) = &self.linker.object.btf_ext else {
            return Ok(());
        };
        let program = self.program(index);
        let is_entry = index == self.entry;
        let entry_name = &self.program(self.entry).name;
        let missing = |what| Error::InfoMissing {
            program: entry_name.clone(),
            function: program.name.clone(),
            what,
        };
        // An entry function without records goes without, and so do its subprograms; but once
        // it has them, every subprogram needs them too.
        if is_entry || self.out.func_info.record_size != 0 {
            let found = records_of(&ext.func_info, program, base, &mut self.out.func_info);
            if !found && !is_entry {
                return Err(missing("function record"));
            }
        }
        if is_entry || self.out.line_info.record_size != 0 {
            let found = records_of(&ext.line_info, program, base, &mut self.out.line_info);
            if !found && !is_entry {
                return Err(missing("line records"));
            }
        }
        Ok(())
    }

    /// Writes references to maps, data and externs into the code, and records what only the
    /// running kernel knows.
    fn resolve(mut self) -> Result<Linked, Error> {
        for reloc in std::mem::take(&mut self.relocs) {
            let at = reloc.insn as usize;
            match reloc.kind {
                RelocKind::Map(map) => {
                    let insn = &mut self.out.insns[at];
                    insn.src = BPF_PSEUDO_MAP_IDX;
                    insn.imm = map.0.cast_signed();
                }
                RelocKind::Data(map, offset) => {
                    let mut offset = self.out.insns[at].imm.wrapping_add(offset.cast_signed());
                    if let Some((arena, start)) = self.linker.arena
                        && arena == map
                    {
                        // The field has 32 bits, as the largest arena has.
                        offset = offset.wrapping_add(start as i32);
                    }
                    self.load_value(at, map.0.cast_signed(), offset)?;
                }
                RelocKind::ExternLd64(ext) => self.extern_load(at, reloc.insn, ext.0 as usize)?,
                RelocKind::ExternCall(ext) => {
                    let ext = &self.linker.object.externs[ext.0 as usize];
                    if matches!(ext.kind, ExternKind::Undefined { .. }) {
                        self.undefined(reloc.insn, &ext.name);
                        continue;
                    }
                    if !matches!(ext.kind, ExternKind::Ksym { typed: true, .. }) {
                        return Err(self.fault(at, "calls an extern that is no kernel function"));
                    }
                    let insn = &mut self.out.insns[at];
                    insn.src = BPF_PSEUDO_KFUNC_CALL;
                    insn.imm = 0;
                    insn.off = 0;
                    self.out.kernel_refs.push(KernelRef {
                        insn: reloc.insn,
                        name: ext.name.clone(),
                        weak: ext.weak,
                        kind: KernelRefKind::Call,
                    });
                }
                RelocKind::Core(relo) => self.out.core_refs.push(CoreRef {
                    insn: reloc.insn,
                    relo,
                }),
                RelocKind::InsnArray(start, size) => {
                    self.jump_table(at, reloc.insn, start, size)?
                }
                RelocKind::SubprogAddr(_) => {
                    if self.out.insns[at].src != BPF_PSEUDO_FUNC {
                        return Err(self.fault(at, "the load of a function's address was changed"));
                    }
                }
                RelocKind::Call(_) => {}
            }
        }
        Ok(self.out)
    }

    fn undefined(&mut self, insn: u32, name: &str) {
        self.out.undefined.push(UndefinedRef {
            insn,
            name: name.to_owned(),
        });
    }

    /// A load of the address of a jump table, whose entries are offsets in the section of the
    /// function that the load belongs to.
    fn jump_table(&mut self, at: usize, insn: u32, start: u32, size: u64) -> Result<(), Error> {
        const ENTRY: usize = 8;
        // The function that was put there: the last one that begins at or before the load.
        let placed = self.placed.iter().filter(|(_, base)| **base <= at);
        let (function, base) = placed
            .max_by_key(|(_, base)| **base)
            .map_or((self.entry, 0), |(function, base)| (*function, *base));
        if let Some(known) = self.tables.get(&(function, start, size)) {
            self.out.jump_tables[*known].loads.push(insn);
            return Ok(());
        }
        let key = (function, start, size);
        let tables = self.linker.object.jump_tables.as_ref();
        let start = start as usize;
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let inside = tables
            .filter(|all| start.checked_add(size).is_some_and(|end| end <= all.len()))
            .filter(|_| start.is_multiple_of(ENTRY) && size.is_multiple_of(ENTRY));
        let Some(tables) = inside else {
            return Err(self.fault(at, "a jump table is not in `.jumptables` as a whole"));
        };
        self.linker.take(size / ENTRY)?;
        let section_insn = self.program(function).section_insn;
        let endian = self.linker.object.endian;
        let targets: Option<Vec<u32>> = tables
            .range(start, size)
            .chunks_exact(ENTRY)
            .map(|entry| {
                let offset = endian.u64(entry.try_into().ok()?);
                let insn = (offset / BPF_INSN_SZ as u64).checked_sub(section_insn)?;
                u32::try_from(insn.checked_add(base as u64)?).ok()
            })
            .collect();
        let targets = targets
            .ok_or_else(|| self.fault(at, "a jump table leads out of the function's section"))?;
        self.tables.insert(key, self.out.jump_tables.len());
        self.out.jump_tables.push(JumpTable {
            loads: vec![insn],
            targets,
        });
        Ok(())
    }

    /// Makes a 64-bit load the address of a byte of a map's value.
    fn load_value(&mut self, at: usize, map: i32, offset: i32) -> Result<(), Error> {
        if at + 1 >= self.out.insns.len() {
            return Err(self.fault(at, "a 64-bit load is cut off"));
        }
        self.out.insns[at].src = BPF_PSEUDO_MAP_IDX_VALUE;
        self.out.insns[at].imm = map;
        self.out.insns[at + 1].imm = offset;
        Ok(())
    }

    fn extern_load(&mut self, at: usize, insn: u32, ext: usize) -> Result<(), Error> {
        let ext = &self.linker.object.externs[ext];
        match ext.kind {
            ExternKind::Undefined { .. } => {
                self.undefined(insn, &ext.name);
                Ok(())
            }
            ExternKind::Kconfig { offset, .. } => {
                let map = self.linker.kconfig_map.unwrap_or(-1);
                self.load_value(at, map, offset.cast_signed())
            }
            ExternKind::Ksym { typed, function } => {
                if at + 1 >= self.out.insns.len() {
                    return Err(self.fault(at, "a 64-bit load is cut off"));
                }
                if typed {
                    self.out.insns[at].src = BPF_PSEUDO_BTF_ID;
                    self.out.insns[at].imm = 0;
                    self.out.insns[at + 1].imm = 0;
                } else {
                    let address = self.linker.addresses.get(&ext.name).copied().unwrap_or(0);
                    self.out.insns[at].imm = address as i32;
                    self.out.insns[at + 1].imm = (address >> 32) as i32;
                }
                let kind = match (typed, function) {
                    (true, true) => KernelRefKind::FunctionAddress,
                    (true, false) => KernelRefKind::VariableAddress,
                    (false, _) => KernelRefKind::UntypedAddress,
                };
                self.out.kernel_refs.push(KernelRef {
                    insn,
                    name: ext.name.clone(),
                    weak: ext.weak,
                    kind,
                });
                Ok(())
            }
        }
    }
}

/// Appends the records of a function; whether there were any.
fn records_of(table: &ExtInfo, program: &Program, base: usize, out: &mut Info) -> bool {
    let Some(section) = table
        .sections
        .iter()
        .find(|s| s.section == Some(program.section))
    else {
        return false;
    };
    let start = program.section_insn;
    let end = start + program.insns.len() as u64;
    let mut first = None;
    let mut last = 0;
    for (i, record) in table.records(section).enumerate() {
        let insn = u64::from(record[0]) / BPF_INSN_SZ as u64;
        if insn < start {
            continue;
        }
        if insn >= end {
            break;
        }
        first.get_or_insert(i);
        last = i + 1;
    }
    let Some(first) = first else { return false };
    // From the function's place in its section to its place in the program; both directions
    // are possible, so this wraps.
    let shift = (base as u32).wrapping_sub(start as u32);
    for record in table.records(section).skip(first).take(last - first) {
        out.words
            .push((record[0] / BPF_INSN_SZ as u32).wrapping_add(shift));
        out.words.extend_from_slice(&record[1..]);
    }
    out.record_size = table.record_size;
    true
}
