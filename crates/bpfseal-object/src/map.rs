//! Maps of an object: those declared with BTF in `.maps`, those that carry global data, those of
//! struct_ops, and those of the first years.
//!
//! Reads what the object declares. What a host adds (the page size for ring buffers, the CPU
//! count for perf event arrays) is added when the load plan is made.
//! Source of the rules: `parse_btf_map_def` and its callers in libbpf 1.8.

use crate::btf::{Btf, Kind, Type, TypeId, VarLinkage};
use crate::contents::Contents;
use crate::elf::SectionIdx;
use crate::index::{MapIdx, ProgramIdx};
use crate::uapi::{self, MapType};
use crate::{Error, map_error::MapFault};

/// What a declaration says about a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MapDef {
    /// Type of the map.
    pub map_type: MapType,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value.
    pub value_size: u32,
    /// Count of entries as declared.
    pub max_entries: u32,
    /// `BPF_F_*` flags.
    pub map_flags: u32,
    /// Type-specific extra.
    pub map_extra: u64,
    /// NUMA node to allocate on.
    pub numa_node: u32,
    /// BTF type of the key; `void` when unknown.
    pub btf_key: TypeId,
    /// BTF type of the value; `void` when unknown.
    pub btf_value: TypeId,
}

impl Default for MapDef {
    fn default() -> Self {
        Self {
            map_type: uapi::map::UNSPEC,
            key_size: 0,
            value_size: 0,
            max_entries: 0,
            map_flags: 0,
            map_extra: 0,
            numa_node: 0,
            btf_key: TypeId::VOID,
            btf_value: TypeId::VOID,
        }
    }
}

/// Where the contents of a global data map come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DataKind {
    /// `.bss*`: zeroes.
    Bss,
    /// `.data*`.
    Data,
    /// `.kconfig`: values of the build host's kernel configuration.
    Kconfig,
    /// `.percpu*`: one copy for each CPU.
    Percpu,
    /// `.rodata*`: frozen before any program runs.
    Rodata,
}

/// Contents of a global data map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GlobalData {
    /// Which sort of section it is.
    pub kind: DataKind,
    /// Name of the ELF section.
    pub section_name: String,
    /// Initial bytes; for `.bss` and `.kconfig` all zero.
    pub contents: Contents,
}

/// A struct_ops map: a struct of the kernel's whose function pointers are programs.
///
/// The object knows its own declaration of the struct; size, members and their offsets in the
/// running kernel may differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StructOps {
    /// Name of the section, a leading `?` included.
    pub section_name: String,
    /// The struct in the object's BTF.
    pub type_id: TypeId,
    /// Name of the struct in the kernel: that of the object's without a flavour (`___…`).
    pub type_name: String,
    /// The struct as compiled, with zeroes where programs go.
    pub contents: Contents,
    /// Programs by the place of their member in the struct, in order.
    pub programs: Vec<(u32, ProgramIdx)>,
    /// Whether it is registered by a link (`.struct_ops.link`) instead of by its update.
    pub link: bool,
    /// Whether it is created with the object: false for sections that begin with `?`.
    pub autocreate: bool,
}

/// A map definition of the first years (`SEC("maps")`), whose length every loader chose for
/// itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LegacyDef {
    /// What follows the five fields `type`, `key_size`, `value_size`, `max_entries` and
    /// `map_flags`, in words. iproute2 and aya have `id` and `pinning` there, samples of the kernel
    /// the index of an inner map and a NUMA node; the object does not say which.
    pub extra: Vec<u32>,
}

/// What a map asks for in `pinning` (`enum libbpf_pin_type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Pinning {
    /// `LIBBPF_PIN_NONE` (0): not to be pinned.
    #[default]
    None,
    /// `LIBBPF_PIN_BY_NAME` (1): a map that is pinned under the name is used again; otherwise the
    /// new one is pinned there.
    ByName,
    /// A number that libbpf does not know.
    Other(u32),
}

impl Pinning {
    fn from_number(number: u32) -> Self {
        match number {
            0 => Self::None,
            1 => Self::ByName,
            other => Self::Other(other),
        }
    }

    /// The number of `enum libbpf_pin_type`.
    #[must_use]
    pub fn number(self) -> u32 {
        match self {
            Self::None => 0,
            Self::ByName => 1,
            Self::Other(number) => number,
        }
    }
}

/// One map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Map {
    /// The name the kernel gets, cut to 15 bytes there.
    pub name: String,
    /// Section it is declared in.
    pub(crate) section: SectionIdx,
    /// Offset of its declaration in the section.
    pub(crate) section_offset: u64,
    /// Size of its declaration.
    pub(crate) declared_size: u32,
    /// BTF type of the declaration.
    pub(crate) declaration: TypeId,
    /// What it is.
    pub def: MapDef,
    /// The template of the maps that this map of maps holds.
    pub inner: Option<MapDef>,
    /// Contents, for a map of global data.
    pub data: Option<GlobalData>,
    /// What a struct_ops map is filled with.
    pub struct_ops: Option<StructOps>,
    /// What is peculiar to a definition of the first years.
    pub legacy: Option<LegacyDef>,
    /// Filled slots of a map of maps or programs, by slot.
    pub slots: Vec<(u32, Slot)>,
    /// Whether and how it asks to be pinned.
    pub pinning: Pinning,
}

/// What a slot of a map of maps, or of programs, is filled with before the object runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// A map of the object.
    Map(MapIdx),
    /// A program of the object.
    Program(ProgramIdx),
}

impl Map {
    /// A map of which nothing but this is known.
    pub(crate) fn new(name: &str, section: SectionIdx, def: MapDef) -> Self {
        Self {
            name: name.to_owned(),
            section,
            section_offset: 0,
            declared_size: 0,
            declaration: TypeId::VOID,
            def,
            inner: None,
            data: None,
            struct_ops: None,
            legacy: None,
            slots: Vec::new(),
            pinning: Pinning::None,
        }
    }

    /// The name of the map to a user of the object: the section for data maps of own name.
    #[must_use]
    pub fn user_name(&self) -> &str {
        match &self.data {
            Some(data) if data.uses_section_name() => &data.section_name,
            _ => &self.name,
        }
    }

    /// Whether it is a map of maps.
    #[must_use]
    pub fn is_map_of_maps(&self) -> bool {
        is_map_of_maps(self.def.map_type)
    }
}

impl GlobalData {
    fn uses_section_name(&self) -> bool {
        match self.kind {
            DataKind::Data => self.section_name != ".data",
            DataKind::Rodata => self.section_name != ".rodata",
            DataKind::Percpu => true,
            DataKind::Bss | DataKind::Kconfig => false,
        }
    }
}

pub(crate) fn is_map_of_maps(map_type: MapType) -> bool {
    map_type == uapi::map::ARRAY_OF_MAPS || map_type == uapi::map::HASH_OF_MAPS
}

/// Longest name that the kernel takes, without the NUL (`BPF_OBJ_NAME_LEN` − 1).
pub const MAX_KERNEL_NAME: usize = uapi::limits::OBJ_NAME_LEN - 1;

/// Name of a global data map: some of the object's name, then the section's.
///
/// A section name of one dot follows as many bytes of the object's name as fit when at least
/// seven are kept for the section; one of several dots, or per-CPU data, stands alone.
pub(crate) fn internal_map_name(object_name: &str, section: &str, kind: DataKind) -> String {
    let suffix_room = section.len().clamp(7, MAX_KERNEL_NAME);
    let alone = section.get(1..).is_some_and(|s| s.contains('.')) || kind == DataKind::Percpu;
    let prefix = if alone {
        0
    } else {
        (MAX_KERNEL_NAME - suffix_room).min(object_name.len())
    };
    object_name
        .bytes()
        .take(prefix)
        .chain(section.bytes().take(suffix_room))
        .map(|b| {
            if b.is_ascii_alphanumeric() || b == b'_' || b == b'.' {
                char::from(b)
            } else {
                '_'
            }
        })
        .collect()
}

/// A declaration, while it is read.
#[derive(Debug, Default)]
struct Declared {
    def: MapDef,
    inner: Option<MapDef>,
    pinning: Pinning,
}

/// Reads the declaration of one variable of `.maps`.
pub(crate) fn parse_declaration(
    btf: &Btf,
    var: Type<'_>,
    secinfo_size: u32,
    section: SectionIdx,
    section_offset: u32,
) -> Result<Map, Error> {
    let name = var.name();
    let fault = |fault: MapFault| Error::Map {
        map: name.to_owned(),
        fault,
    };
    if var.var_linkage() != VarLinkage::GlobalAllocated {
        return Err(fault(MapFault::Linkage {
            found: var.var_linkage().name(),
        }));
    }
    let def_type = btf.skip_mods_and_typedefs(var.type_ref());
    if def_type.kind() != Kind::Struct {
        return Err(fault(MapFault::NotStruct {
            found: def_type.kind().name(),
        }));
    }
    if def_type.size() > secinfo_size {
        return Err(fault(MapFault::DefinitionSize {
            size: def_type.size(),
            room: secinfo_size,
        }));
    }
    let declared = parse_def(btf, def_type, true).map_err(fault)?;
    Ok(Map {
        section_offset: u64::from(section_offset),
        declared_size: secinfo_size,
        declaration: var.type_ref(),
        inner: declared.inner,
        pinning: declared.pinning,
        ..Map::new(name, section, declared.def)
    })
}

fn parse_def(btf: &Btf, def_type: Type<'_>, outer: bool) -> Result<Declared, MapFault> {
    let mut out = Declared::default();
    let count = def_type.members().len();
    for (i, member) in def_type.members().enumerate() {
        let name = btf.str(member.name_off).unwrap_or("");
        let int = || field_int(btf, member.type_id, name);
        let def = &mut out.def;
        match name {
            "type" => def.map_type = MapType(int()?),
            "max_entries" => def.max_entries = int()?,
            "map_flags" => def.map_flags = int()?,
            "numa_node" => def.numa_node = int()?,
            "key_size" => set_size(&mut def.key_size, int()?, "key")?,
            "value_size" => set_size(&mut def.value_size, int()?, "value")?,
            "key" => {
                let (id, size) = field_type(btf, member.type_id, "key")?;
                set_size(&mut def.key_size, size, "key")?;
                def.btf_key = id;
            }
            "value" => {
                let (id, size) = field_type(btf, member.type_id, "value")?;
                set_size(&mut def.value_size, size, "value")?;
                def.btf_value = id;
            }
            "values" => {
                if !outer {
                    return Err(MapFault::InnerOfInner);
                }
                if i != count - 1 {
                    return Err(MapFault::ValuesNotLast);
                }
                out.inner = parse_values(btf, member.type_id, def)?;
            }
            "pinning" => {
                if !outer {
                    return Err(MapFault::InnerPinned);
                }
                out.pinning = Pinning::from_number(int()?);
            }
            "map_extra" => def.map_extra = field_long(btf, member.type_id, name)?,
            unknown => {
                return Err(MapFault::UnknownField {
                    field: unknown.to_owned(),
                });
            }
        }
    }
    if out.def.map_type == uapi::map::UNSPEC {
        return Err(MapFault::NoType);
    }
    Ok(out)
}

fn set_size(place: &mut u32, size: u32, what: &'static str) -> Result<(), MapFault> {
    if *place != 0 && *place != size {
        return Err(MapFault::SizeConflict {
            what,
            first: *place,
            second: size,
        });
    }
    *place = size;
    Ok(())
}

/// An attribute written as a pointer to an array: its length is the value.
fn field_int(btf: &Btf, id: TypeId, field: &str) -> Result<u32, MapFault> {
    let wrong = |expected: &'static str, found: Kind| MapFault::FieldKind {
        field: field.to_owned(),
        expected,
        found: found.name(),
    };
    let pointer = btf.skip_mods_and_typedefs(id);
    if pointer.kind() != Kind::Ptr {
        return Err(wrong("ptr", pointer.kind()));
    }
    let array = btf.ty(pointer.type_ref());
    if array.kind() != Kind::Array {
        return Err(wrong("array", array.kind()));
    }
    Ok(array.array_len())
}

/// An attribute of 64 bits: as [`field_int`], or an enum of one constant.
fn field_long(btf: &Btf, id: TypeId, field: &str) -> Result<u64, MapFault> {
    let t = btf.skip_mods_and_typedefs(id);
    match t.kind() {
        Kind::Ptr => Ok(u64::from(field_int(btf, id, field)?)),
        Kind::Enum | Kind::Enum64 => {
            let mut values = t.enumerators();
            match (values.next(), values.next()) {
                // A 32-bit constant is widened with its sign, whatever the enum's flag says.
                (Some(only), None) if t.kind() == Kind::Enum => {
                    Ok(i64::from(only.value as u32 as i32).cast_unsigned())
                }
                (Some(only), None) => Ok(only.value),
                _ => Err(MapFault::FieldKind {
                    field: field.to_owned(),
                    expected: "enum of one constant",
                    found: "enum of another count",
                }),
            }
        }
        other => Err(MapFault::FieldKind {
            field: field.to_owned(),
            expected: "ptr, enum or enum64",
            found: other.name(),
        }),
    }
}

/// A key or value given by type: a pointer to it.
fn field_type(btf: &Btf, id: TypeId, what: &'static str) -> Result<(TypeId, u32), MapFault> {
    let pointer = btf.ty(id);
    if pointer.kind() != Kind::Ptr {
        return Err(MapFault::FieldKind {
            field: what.to_owned(),
            expected: "ptr",
            found: pointer.kind().name(),
        });
    }
    let target = pointer.type_ref();
    let size = btf.resolve_size(target).ok_or(MapFault::Unsized {
        what,
        type_id: target.0,
    })?;
    Ok((target, size))
}

/// The `values` member: the template of inner maps, or nothing for an array of programs.
fn parse_values(btf: &Btf, id: TypeId, def: &mut MapDef) -> Result<Option<MapDef>, MapFault> {
    let of_maps = is_map_of_maps(def.map_type);
    let of_programs = def.map_type == uapi::map::PROG_ARRAY;
    if !of_maps && !of_programs {
        return Err(MapFault::ValuesOfOtherMap {
            map_type: def.map_type,
        });
    }
    set_size(&mut def.value_size, 4, "value")?;
    let wrong = |expected: &'static str, found: Kind| MapFault::FieldKind {
        field: "values".to_owned(),
        expected,
        found: found.name(),
    };
    let array = btf.ty(id);
    if array.kind() != Kind::Array || array.array_len() != 0 {
        return Err(wrong("array without a length", array.kind()));
    }
    let pointer = btf.skip_mods_and_typedefs(array.array_element());
    if pointer.kind() != Kind::Ptr {
        return Err(wrong("ptr", pointer.kind()));
    }
    let target = btf.skip_mods_and_typedefs(pointer.type_ref());
    if of_programs {
        return match target.kind() {
            Kind::FuncProto => Ok(None),
            other => Err(wrong("func_proto", other)),
        };
    }
    if target.kind() != Kind::Struct {
        return Err(wrong("struct", target.kind()));
    }
    Ok(Some(parse_def(btf, target, false)?.def))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(object: &str, section: &str, kind: DataKind, expect: &str) {
        assert_eq!(internal_map_name(object, section, kind), expect);
    }

    #[test]
    fn names_of_global_data_maps() {
        check(
            "my_object_name",
            ".rodata",
            DataKind::Rodata,
            "my_objec.rodata",
        );
        check("my_object_name", ".bss", DataKind::Bss, "my_objec.bss");
        check(
            "my_object_name",
            ".kconfig",
            DataKind::Kconfig,
            "my_obje.kconfig",
        );
        check("ab", ".bss", DataKind::Bss, "ab.bss");
        check(
            "obj",
            ".rodata.abracadabra",
            DataKind::Rodata,
            ".rodata.abracad",
        );
        check("obj", ".percpu", DataKind::Percpu, ".percpu");
        check("a-b", ".data", DataKind::Data, "a_b.data");
    }
}
