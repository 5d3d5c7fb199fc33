//! Externs: what an object takes from the kernel that loads it (`.ksyms`) or from the
//! configuration of the kernel that it is built for (`.kconfig`), and what it takes from objects
//! that it has not been linked with yet.
//!
//! Finds them among the symbols, sorts them as libbpf does (their order decides offsets) and
//! makes the changes to BTF that turn them into variables that the kernel accepts.

use std::collections::HashMap;

use crate::Error;
use crate::btf::{Btf, FuncLinkage, Kind, TypeId, VarLinkage, VarSecinfo};
use crate::elf::Elf;

/// Index into the object's externs, in libbpf's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExternIdx(pub u32);

/// How a kconfig value is written in C.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KconfigType {
    /// `bool`.
    Bool,
    /// `char`.
    Char,
    /// An array of `char`.
    CharArray,
    /// An integer of 2, 4 or 8 bytes.
    Int,
    /// `enum libbpf_tristate`.
    Tristate,
}

/// What an extern stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExternKind {
    /// A value of the kernel configuration, or a `LINUX_*` value.
    Kconfig {
        /// Type in C.
        value_type: KconfigType,
        /// Size in bytes.
        size: u32,
        /// Alignment in bytes.
        align: u32,
        /// Offset in the `.kconfig` map.
        offset: u32,
        /// Whether an integer is signed.
        signed: bool,
    },
    /// A symbol of the kernel.
    Ksym {
        /// Whether a type was given: then it is looked up in BTF, otherwise in kallsyms.
        typed: bool,
        /// Whether it is a function.
        function: bool,
    },
    /// A symbol of another object, to which this one was not linked.
    Undefined {
        /// The data section that BTF has it in, such as `.maps`.
        section: Option<String>,
    },
}

/// One extern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extern {
    /// Name in C.
    pub name: String,
    /// What it stands for.
    pub kind: ExternKind,
    /// Whether the program does without it.
    pub weak: bool,
    pub(crate) symbol: usize,
}

impl Extern {
    /// Order of libbpf: kconfig before ksyms; kconfig by falling alignment, then size, then name.
    fn sort_key(&self) -> (u8, std::cmp::Reverse<u32>, u32, &str) {
        match &self.kind {
            ExternKind::Kconfig { align, size, .. } => {
                (0, std::cmp::Reverse(*align), *size, &self.name)
            }
            ExternKind::Ksym { .. } => (1, std::cmp::Reverse(0), 0, &self.name),
            // In the order of the symbols: the sort keeps it.
            ExternKind::Undefined { .. } => (2, std::cmp::Reverse(0), 0, ""),
        }
    }
}

/// Finds the externs of an object and prepares its BTF for them.
pub(crate) fn collect(elf: &Elf<'_>, btf: Option<&mut Btf>) -> Result<Vec<Extern>, Error> {
    let Some(btf) = btf else {
        // Without BTF nothing can be said of an extern.
        return match elf
            .symbols
            .iter()
            .find(|s| s.is_extern() && !s.name.is_empty())
        {
            Some(symbol) => Err(Error::ExternWithoutBtf {
                symbol: symbol.name.to_owned(),
            }),
            None => Ok(Vec::new()),
        };
    };
    let dummy = add_dummy_var(btf);
    let mut externs = find(elf, btf)?;
    if externs.is_empty() {
        return Ok(externs);
    }
    externs.sort_by(|a, b| a.sort_key().cmp(&b.sort_key()));
    // Only sections that an extern was found in are changed, as in the reference.
    if externs
        .iter()
        .any(|e| matches!(e.kind, ExternKind::Ksym { .. }))
    {
        rewrite_ksyms(btf, &externs, dummy)?;
    }
    if externs
        .iter()
        .any(|e| matches!(e.kind, ExternKind::Kconfig { .. }))
    {
        lay_out_kconfig(btf, &mut externs)?;
    }
    Ok(externs)
}

fn find(elf: &Elf<'_>, btf: &Btf) -> Result<Vec<Extern>, Error> {
    let by_name = btf.symbols_by_name();
    let mut section_of: HashMap<TypeId, TypeId> = HashMap::new();
    for datasec in btf.types().filter(|t| t.kind() == Kind::Datasec) {
        for var in datasec.vars() {
            section_of.entry(var.type_id).or_insert(datasec.id);
        }
    }
    let mut externs = Vec::new();
    for (index, symbol) in elf.symbols.iter().enumerate() {
        if !symbol.is_extern() || symbol.name.is_empty() {
            continue;
        }
        let name = symbol.name.to_owned();
        let id = *by_name.get(symbol.name).ok_or_else(|| Error::ExternBtf {
            symbol: name.clone(),
        })?;
        let t = btf.ty(id);
        let declared_extern = match t.kind() {
            Kind::Var => t.var_linkage() == VarLinkage::GlobalExtern,
            _ => t.func_linkage() == FuncLinkage::Extern,
        };
        if !declared_extern {
            return Err(Error::ExternLinkage { symbol: name });
        }
        let section = section_of.get(&id).map(|section| btf.ty(*section).name());
        let kind = match section {
            Some(".kconfig") => kconfig_kind(btf, id, &name)?,
            Some(".ksyms") => ExternKind::Ksym {
                typed: !btf.skip_mods_and_typedefs(t.type_ref()).id.is_void(),
                function: t.kind() == Kind::Func,
            },
            other => ExternKind::Undefined {
                section: other.map(str::to_owned),
            },
        };
        externs.push(Extern {
            name,
            kind,
            weak: symbol.bind == object::elf::STB_WEAK,
            symbol: index,
        });
    }
    Ok(externs)
}

fn kconfig_kind(btf: &Btf, id: TypeId, name: &str) -> Result<ExternKind, Error> {
    let t = btf.ty(id);
    let unsupported = || Error::KconfigType {
        symbol: name.to_owned(),
    };
    if t.kind() == Kind::Func {
        return Err(unsupported());
    }
    let value = t.type_ref();
    let size = btf
        .resolve_size(value)
        .filter(|&s| s > 0 && i32::try_from(s).is_ok())
        .ok_or_else(unsupported)?;
    let align = btf.align_of(value).ok_or_else(unsupported)?;
    let (value_type, signed) = kconfig_type(btf, value, 0).ok_or_else(unsupported)?;
    Ok(ExternKind::Kconfig {
        value_type,
        size,
        align,
        offset: 0,
        signed,
    })
}

fn kconfig_type(btf: &Btf, id: TypeId, depth: u8) -> Option<(KconfigType, bool)> {
    let t = btf.skip_mods_and_typedefs(id);
    match t.kind() {
        Kind::Int if t.int_is_bool() => (t.size() == 1).then_some((KconfigType::Bool, false)),
        Kind::Int => match t.size() {
            1 => Some((KconfigType::Char, t.int_is_signed())),
            2 | 4 | 8 => Some((KconfigType::Int, t.int_is_signed())),
            _ => None,
        },
        Kind::Enum if t.size() == 4 && t.is_named("libbpf_tristate") => {
            Some((KconfigType::Tristate, false))
        }
        Kind::Enum64 if t.is_named("libbpf_tristate") => Some((KconfigType::Tristate, false)),
        // An array of arrays of char is no string.
        Kind::Array if t.array_len() > 0 && depth == 0 => {
            match kconfig_type(btf, t.array_element(), 1)? {
                (KconfigType::Char, _) => Some((KconfigType::CharArray, false)),
                _ => None,
            }
        }
        _ => None,
    }
}

fn first_int32(btf: &Btf) -> TypeId {
    btf.types()
        .find(|t| t.kind() == Kind::Int && t.int_bits() == 32)
        .map_or(TypeId::VOID, |t| t.id)
}

/// Adds the variable that stands in for functions of `.ksyms`, if there are any.
fn add_dummy_var(btf: &mut Btf) -> Option<TypeId> {
    let ksyms = btf.find_kind(".ksyms", Kind::Datasec)?;
    let has_function = ksyms.vars().any(|v| btf.ty(v.type_id).kind() == Kind::Func);
    if !has_function {
        return None;
    }
    let int = first_int32(btf);
    Some(btf.add_var("dummy_ksym", VarLinkage::GlobalAllocated, int))
}

/// The section that the externs of one sort stand in: the last one that libbpf saw.
fn extern_section(btf: &Btf, name: &str) -> Option<TypeId> {
    btf.types()
        .filter(|t| t.kind() == Kind::Datasec && t.is_named(name))
        .map(|t| t.id)
        .next()
}

/// Makes every ksym a variable of four bytes: the kernel accepts no extern in a data section.
fn rewrite_ksyms(btf: &mut Btf, externs: &[Extern], dummy: Option<TypeId>) -> Result<(), Error> {
    let Some(section) = extern_section(btf, ".ksyms") else {
        return Ok(());
    };
    let int = first_int32(btf);
    let dummy_name = dummy.map_or(0, |id| btf.ty(id).name_off());
    let vars: Vec<VarSecinfo> = btf.ty(section).vars().collect();
    let known: std::collections::HashSet<&str> = externs.iter().map(|e| e.name.as_str()).collect();
    let mut offset = 0;
    for (i, var) in vars.iter().enumerate() {
        let t = btf.ty(var.type_id);
        if !known.contains(t.name()) {
            return Err(Error::ExternUnused {
                section: ".ksyms",
                symbol: t.name().to_owned(),
            });
        }
        let mut stand_in = var.type_id;
        if t.kind() == Kind::Func {
            let proto = t.type_ref();
            let nameless: Vec<usize> = btf
                .ty(proto)
                .params()
                .enumerate()
                .filter(|(_, p)| !p.type_id.is_void() && p.name_off == 0)
                .map(|(index, _)| index)
                .collect();
            for index in nameless {
                btf.set_param_name(proto, index, dummy_name);
            }
            btf.set_func_linkage(var.type_id, FuncLinkage::Global);
            stand_in = dummy.unwrap_or(var.type_id);
        } else {
            btf.set_var_linkage(var.type_id, VarLinkage::GlobalAllocated);
            btf.set_type_ref(var.type_id, int);
        }
        btf.set_var_secinfo(
            section,
            i,
            VarSecinfo {
                type_id: stand_in,
                offset,
                size: 4,
            },
        );
        offset += 4;
    }
    btf.set_size(section, offset);
    Ok(())
}

/// Gives every kconfig value its place in the `.kconfig` map.
fn lay_out_kconfig(btf: &mut Btf, externs: &mut [Extern]) -> Result<(), Error> {
    let Some(section) = extern_section(btf, ".kconfig") else {
        return Ok(());
    };
    let mut end: u32 = 0;
    let mut offsets: HashMap<String, u32> = HashMap::new();
    for ext in externs.iter_mut() {
        if let ExternKind::Kconfig {
            size,
            align,
            offset,
            ..
        } = &mut ext.kind
        {
            *offset = end
                .checked_next_multiple_of(*align)
                .ok_or(Error::KconfigTooLarge)?;
            end = offset.checked_add(*size).ok_or(Error::KconfigTooLarge)?;
            offsets.insert(ext.name.clone(), *offset);
        }
    }
    btf.set_size(section, end);
    let vars: Vec<VarSecinfo> = btf.ty(section).vars().collect();
    for (i, var) in vars.iter().enumerate() {
        let name = btf.ty(var.type_id).name();
        let Some(&offset) = offsets.get(name) else {
            return Err(Error::ExternUnused {
                section: ".kconfig",
                symbol: name.to_owned(),
            });
        };
        btf.set_var_linkage(var.type_id, VarLinkage::GlobalAllocated);
        btf.set_var_secinfo(section, i, VarSecinfo { offset, ..*var });
    }
    Ok(())
}
