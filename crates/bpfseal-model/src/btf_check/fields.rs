//! Special fields, such as timers and locks: found by the names of their types (`btf_parse_fields`).
//!
//! Whether a type is one of the kernel's, which only its own BTF tells, is not looked at: pointers
//! to objects are taken for pointers to the program's own.

use bpfseal_uapi::{Errno, btf_kind, limits};

use super::rules::Rules;
use super::types::{Type, Types};

/// Kinds of special fields, as a set of bits.
pub(crate) mod field {
    pub(crate) const SPIN_LOCK: u32 = 1 << 0;
    pub(crate) const RES_SPIN_LOCK: u32 = 1 << 1;
    pub(crate) const TIMER: u32 = 1 << 2;
    pub(crate) const WORKQUEUE: u32 = 1 << 3;
    pub(crate) const TASK_WORK: u32 = 1 << 4;
    pub(crate) const LIST_HEAD: u32 = 1 << 5;
    pub(crate) const LIST_NODE: u32 = 1 << 6;
    pub(crate) const RB_ROOT: u32 = 1 << 7;
    pub(crate) const RB_NODE: u32 = 1 << 8;
    pub(crate) const REFCOUNT: u32 = 1 << 9;
    pub(crate) const KPTR_UNREF: u32 = 1 << 10;
    pub(crate) const KPTR_REF: u32 = 1 << 11;
    pub(crate) const KPTR_PERCPU: u32 = 1 << 12;
    pub(crate) const UPTR: u32 = 1 << 13;
    pub(crate) const KPTR: u32 = KPTR_UNREF | KPTR_REF | KPTR_PERCPU;
    pub(crate) const GRAPH_ROOT: u32 = LIST_HEAD | RB_ROOT;
}

/// Kind, name of the struct, whether a value has one at most, bytes, alignment.
const NAMED: [(u32, &[u8], bool, u32, u32); 10] = [
    (field::SPIN_LOCK, b"bpf_spin_lock", true, 4, 4),
    (field::RES_SPIN_LOCK, b"bpf_res_spin_lock", true, 4, 4),
    (field::TIMER, b"bpf_timer", true, 16, 8),
    (field::WORKQUEUE, b"bpf_wq", true, 16, 8),
    (field::TASK_WORK, b"bpf_task_work", true, 8, 8),
    (field::LIST_HEAD, b"bpf_list_head", false, 16, 8),
    (field::LIST_NODE, b"bpf_list_node", false, 24, 8),
    (field::RB_ROOT, b"bpf_rb_root", false, 16, 8),
    (field::RB_NODE, b"bpf_rb_node", false, 32, 8),
    (field::REFCOUNT, b"bpf_refcount", true, 4, 4),
];
/// Tags of pointers.
const TAGS: [(u32, &[u8]); 4] = [
    (field::KPTR_UNREF, b"kptr_untrusted"),
    (field::KPTR_REF, b"kptr"),
    (field::KPTR_PERCPU, b"percpu_kptr"),
    (field::UPTR, b"uptr"),
];
const POINTER_LEN: u32 = 8;
/// What objects that programs allocate are looked through for.
const ALLOCATED: [&[u8]; 6] = [
    b"bpf_spin_lock",
    b"bpf_list_head",
    b"bpf_list_node",
    b"bpf_rb_root",
    b"bpf_rb_node",
    b"bpf_refcount",
];
/// How deep objects own each other (`BTF_MAX_OWNERSHIP_DEPTH`).
const MAX_OWNERSHIP: usize = 8;
/// Bytes of a page, which is the most that a pointer of user space shows.
const PAGE: u32 = 4096;

/// Kinds of fields that a release has.
fn known(rules: Rules) -> u32 {
    let mut mask = (field::UPTR << 1) - 1;
    for (has, kind) in [
        (rules.res_spin_lock, field::RES_SPIN_LOCK),
        (rules.task_work, field::TASK_WORK),
        (rules.uptr, field::UPTR),
    ] {
        if !has {
            mask &= !kind;
        }
    }
    mask
}

/// A special field.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Field {
    kind: u32,
    offset: u32,
    /// The type that a pointer points to, or that a list or tree contains.
    value: u32,
    /// Name of the node in the contained type.
    node: Vec<u8>,
}

/// The special fields of a type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    /// Kinds of them.
    pub(crate) kinds: u32,
    fields: Vec<Field>,
}

/// A struct with special fields.
struct Meta {
    id: u32,
    record: Record,
}

/// The end of `btf_parse`: the structs that programs may allocate.
pub(super) fn check_structs(types: &Types) -> Result<(), Errno> {
    let metas = metas(types)?;
    for meta in &metas {
        fix_up(types, &meta.record, Some(&metas))?;
    }
    let mut depths = vec![0; metas.len()];
    for index in 0..metas.len() {
        ownership(&metas, &mut depths, index, MAX_OWNERSHIP)?;
    }
    Ok(())
}

/// `btf_parse_struct_metas`.
fn metas(types: &Types) -> Result<Vec<Meta>, Errno> {
    let mut special: Vec<u32> = Vec::new();
    for name in ALLOCATED {
        special.extend(types.find(name, btf_kind::STRUCT));
    }
    for id in 1..types.len() {
        let Some(of) = types.get(id) else { break };
        if matches!(pointer(types, of, field::KPTR), Ok(Some(_))) {
            special.push(id);
        }
    }
    if special.is_empty() {
        return Ok(Vec::new());
    }
    special.sort_unstable();
    let mut metas = Vec::new();
    for id in 1..types.len() {
        let Some(of) = types.get(id) else { break };
        let is_special = |index| {
            let member = types.member(of, index);
            special.binary_search(&member.type_id).is_ok()
        };
        if of.kind != btf_kind::STRUCT || !(0..of.vlen).any(is_special) {
            continue;
        }
        let wanted = field::SPIN_LOCK
            | field::RES_SPIN_LOCK
            | field::LIST_HEAD
            | field::LIST_NODE
            | field::RB_ROOT
            | field::RB_NODE
            | field::REFCOUNT
            | field::KPTR;
        let record = record(types, of, wanted, of.word)?;
        let record = record.ok_or(Errno::EFAULT)?;
        metas.push(Meta { id, record });
    }
    Ok(metas)
}

/// `btf_check_and_fixup_fields`. What lists and trees contain has special fields itself.
fn fix_up(types: &Types, record: &Record, metas: Option<&[Meta]>) -> Result<(), Errno> {
    for field in &record.fields {
        if field.kind == field::UPTR {
            match types.get(field.value).map_or(0, |of| of.word) {
                0 => return Err(Errno::EINVAL),
                size if size > PAGE => return Err(Errno::E2BIG),
                _ => {}
            }
        } else if field.kind & field::GRAPH_ROOT != 0
            && let Some(metas) = metas
            && !metas.iter().any(|meta| meta.id == field.value)
        {
            return Err(Errno::EFAULT);
        }
    }
    Ok(())
}

/// `btf_ownership_depth`.
fn ownership(
    metas: &[Meta],
    depths: &mut [usize],
    index: usize,
    left: usize,
) -> Result<usize, Errno> {
    if left == 0 {
        return Err(Errno::ELOOP);
    }
    if depths[index] == 0 {
        let mut most = 0;
        for field in &metas[index].record.fields {
            let owns = field::GRAPH_ROOT | field::KPTR_REF | field::KPTR_PERCPU;
            if field.kind & owns == 0 {
                continue;
            }
            let owned = metas.iter().position(|meta| meta.id == field.value);
            if let Some(owned) = owned {
                most = most.max(ownership(metas, depths, owned, left - 1)?);
            }
        }
        depths[index] = most + 1;
    }
    match depths[index] {
        depth if depth > left => Err(Errno::ELOOP),
        depth => Ok(depth),
    }
}

/// The special fields of a map's value, as `map_check_btf` looks for them. That some are wrong is
/// not seen there, but when a program uses the map.
pub(crate) fn of_value(types: &Types, of: Type, size: u32) -> Result<Option<Record>, Errno> {
    let wanted = field::SPIN_LOCK
        | field::RES_SPIN_LOCK
        | field::TIMER
        | field::KPTR
        | field::LIST_HEAD
        | field::RB_ROOT
        | field::REFCOUNT
        | field::WORKQUEUE
        | field::UPTR
        | field::TASK_WORK;
    let record = record(types, of, wanted & known(types.rules()), size);
    let Ok(Some(record)) = record else {
        return Ok(None);
    };
    Ok(Some(record))
}

/// The last check of a map's fields.
pub(crate) fn check_value(types: &Types, record: &Record) -> Result<(), Errno> {
    let metas = metas(types)?;
    fix_up(types, record, Some(&metas))
}

/// `btf_parse_fields`.
fn record(types: &Types, of: Type, wanted: u32, size: u32) -> Result<Option<Record>, Errno> {
    let wanted = wanted & known(types.rules());
    let mut search = Search {
        types,
        wanted,
        seen: 0,
        found: Vec::new(),
    };
    match of.kind {
        btf_kind::STRUCT => search.composite(of, 0)?,
        btf_kind::DATASEC => search.section(of)?,
        _ => return Err(Errno::EINVAL),
    }
    if search.found.is_empty() {
        return Ok(None);
    }
    let mut next = 0;
    let mut kinds = 0;
    for field in &search.found {
        let len = len_of(field.kind);
        if u64::from(field.offset) + u64::from(len) > u64::from(size) {
            return Err(Errno::EFAULT);
        }
        if field.offset < next {
            return Err(Errno::EEXIST);
        }
        next = field.offset + len;
        kinds |= field.kind;
        match field.kind {
            field::LIST_HEAD => contained(types, field, b"bpf_list_node")?,
            field::RB_ROOT => contained(types, field, b"bpf_rb_node")?,
            _ => {}
        }
    }
    let has = |kind| kinds & kind != 0;
    let locked = has(field::SPIN_LOCK) || has(field::RES_SPIN_LOCK);
    if has(field::SPIN_LOCK) && has(field::RES_SPIN_LOCK)
        || has(field::GRAPH_ROOT) && !locked
        || has(field::LIST_NODE) && has(field::RB_NODE) && !has(field::REFCOUNT)
    {
        return Err(Errno::EINVAL);
    }
    Ok(Some(Record {
        kinds,
        fields: search.found,
    }))
}

fn len_of(kind: u32) -> u32 {
    let row = NAMED.iter().find(|row| row.0 == kind);
    row.map_or(POINTER_LEN, |row| row.3)
}

/// `btf_parse_graph_root`: the node in what a list or tree contains.
fn contained(types: &Types, field: &Field, node_type: &[u8]) -> Result<(), Errno> {
    let Some(of) = types.get(field.value) else {
        return Err(Errno::EINVAL);
    };
    let mut found = false;
    for index in 0..of.vlen {
        let member = types.member(of, index);
        let name = match member.name {
            0 => b"(anon)".as_slice(),
            name => types.name(name),
        };
        if name != field.node {
            continue;
        }
        let node = types.get(member.type_id);
        let is_node =
            |node: &Type| node.kind == btf_kind::STRUCT && types.name(node.name) == node_type;
        let node = node.filter(is_node).ok_or(Errno::EINVAL)?;
        // The kernel reads the offset as the node's own flag says.
        let bits = Types::bit_offset(node, member);
        if found || !bits.is_multiple_of(64) {
            return Err(Errno::EINVAL);
        }
        found = true;
    }
    match found {
        true => Ok(()),
        false => Err(Errno::ENOENT),
    }
}

/// `btf_find_kptr`: the kind of a pointer by its tag, and what it points to.
fn pointer(types: &Types, of: Type, wanted: u32) -> Result<Option<(u32, u32)>, Errno> {
    let mut of = Some(of);
    if of.is_some_and(|of| of.kind == btf_kind::VOLATILE) {
        of = of.and_then(|of| types.get(of.word));
    }
    let Some(pointer) = of.filter(|of| of.kind == btf_kind::PTR) else {
        return Ok(None);
    };
    let tag_of = |of: Type| {
        let row = TAGS.iter().find(|row| row.1 == types.name(of.name));
        row.map(|row| row.0)
    };
    let (kind, id) = if types.rules().tag_walk {
        let (mut id, mut kinds) = (pointer.word, 0u32);
        while let Some(of) = types.get(id).filter(|of| of.is_modifier()) {
            if of.kind == btf_kind::TYPE_TAG && !of.flag {
                kinds |= tag_of(of).unwrap_or(0);
            }
            id = of.word;
        }
        if kinds.count_ones() > 1 {
            return Err(Errno::EINVAL);
        }
        (kinds, id)
    } else {
        let is_tag = |id: u32| {
            let of = types.get(id)?;
            (of.kind == btf_kind::TYPE_TAG && !of.flag).then_some(of)
        };
        let Some(tag) = is_tag(pointer.word) else {
            return Ok(None);
        };
        if is_tag(tag.word).is_some() {
            return Err(Errno::EINVAL);
        }
        let kind = tag_of(tag).ok_or(Errno::EINVAL)?;
        (kind, types.without_modifiers(tag.word).0)
    };
    if kind & wanted == 0 {
        return match types.rules().tag_walk {
            true => Ok(None),
            false => Err(Errno::EINVAL),
        };
    }
    match types.get(id) {
        Some(of) if of.kind == btf_kind::STRUCT => Ok(Some((kind, id))),
        _ => Err(Errno::EINVAL),
    }
}

/// A search for fields.
struct Search<'a> {
    types: &'a Types,
    wanted: u32,
    /// Kinds of which there is one already.
    seen: u32,
    found: Vec<Field>,
}

impl Search<'_> {
    /// `btf_find_struct_field`.
    fn composite(&mut self, of: Type, level: usize) -> Result<(), Errno> {
        for index in 0..of.vlen {
            let member = self.types.member(of, index);
            let bits = Types::bit_offset(of, member);
            if !bits.is_multiple_of(8) {
                return Err(Errno::EINVAL);
            }
            if let Some(kind) = self.types.get(member.type_id) {
                let place = (of, Some(index), bits / 8, 0);
                self.one(place, kind, level)?;
            }
        }
        Ok(())
    }

    /// `btf_find_datasec_var`.
    fn section(&mut self, of: Type) -> Result<(), Errno> {
        for index in 0..of.vlen {
            let (id, offset, size) = self.types.variable(of, index);
            let Some(var) = self.types.get(id) else {
                continue;
            };
            if let Some(kind) = self.types.get(var.word) {
                self.one((var, None, offset, size), kind, 0)?;
            }
        }
        Ok(())
    }

    /// `btf_find_field_one`, of a member or variable: who has it, its number, its offset, and its
    /// size if that is told.
    fn one(
        &mut self,
        (owner, index, offset, expected): (Type, Option<u32>, u32, u32),
        mut of: Type,
        level: usize,
    ) -> Result<(), Errno> {
        let mut count = 1u32;
        let mut depth = 0;
        while of.kind == btf_kind::ARRAY {
            if depth == limits::MAX_RESOLVE_DEPTH {
                return Err(Errno::E2BIG);
            }
            depth += 1;
            count = count.wrapping_mul(self.types.extra(of, 2));
            of = match self.types.get(self.types.extra(of, 0)) {
                Some(of) => of,
                None => return Ok(()),
            };
        }
        if depth == limits::MAX_RESOLVE_DEPTH {
            return Err(Errno::E2BIG);
        }
        if count == 0 {
            return Ok(());
        }
        let Some((kind, size, align)) = self.kind_of(of)? else {
            if of.kind == btf_kind::STRUCT {
                if expected != 0 && expected != of.word.wrapping_mul(count) {
                    return Ok(());
                }
                return self.nested(of, offset, count, level);
            }
            return Ok(());
        };
        if expected != 0 && expected != size.wrapping_mul(count) || offset % align != 0 {
            return Ok(());
        }
        let mut field = Field {
            kind,
            offset,
            value: 0,
            node: Vec::new(),
        };
        if kind & (field::KPTR | field::UPTR) != 0 {
            match pointer(self.types, of, self.wanted)? {
                Some((kind, id)) => (field.kind, field.value) = (kind, id),
                None => return Ok(()),
            }
        } else {
            if of.kind != btf_kind::STRUCT || of.word != size {
                return Ok(());
            }
            if kind & field::GRAPH_ROOT != 0 {
                (field.value, field.node) = self.contains(owner, index)?;
            }
        }
        if self.found.len() == limits::MAX_BTF_FIELDS {
            return Err(Errno::E2BIG);
        }
        let first = self.found.len();
        self.found.push(field);
        if count > 1 {
            self.repeat(first, count, size)?;
        }
        Ok(())
    }

    /// `btf_find_nested_struct`.
    fn nested(&mut self, of: Type, offset: u32, count: u32, level: usize) -> Result<(), Errno> {
        let level = level + 1;
        if level >= limits::MAX_RESOLVE_DEPTH {
            return Err(Errno::E2BIG);
        }
        let first = self.found.len();
        self.composite(of, level)?;
        for field in &mut self.found[first..] {
            field.offset = field.offset.wrapping_add(offset);
        }
        if count > 1 && self.found.len() > first {
            self.repeat(first, count, of.word)?;
        }
        Ok(())
    }

    /// `btf_repeat_fields`.
    fn repeat(&mut self, first: usize, count: u32, size: u32) -> Result<(), Errno> {
        let repeated = field::KPTR | field::UPTR | field::GRAPH_ROOT;
        let fields = self.found[first..].to_vec();
        if fields.iter().any(|field| field.kind & repeated == 0) {
            return Err(Errno::EINVAL);
        }
        let all = fields.len() as u64 * u64::from(count);
        if all > (limits::MAX_BTF_FIELDS - first) as u64 {
            return Err(Errno::E2BIG);
        }
        for index in 1..count {
            self.found.extend(fields.iter().map(|field| Field {
                offset: field.offset.wrapping_add(index.wrapping_mul(size)),
                ..field.clone()
            }));
        }
        Ok(())
    }

    /// `btf_get_field_type`: kind, bytes, alignment.
    fn kind_of(&mut self, of: Type) -> Result<Option<(u32, u32, u32)>, Errno> {
        let name = self.types.name(of.name);
        for (kind, wanted, unique, size, align) in NAMED {
            if self.wanted & kind == 0 || name != wanted {
                continue;
            }
            if unique {
                if self.seen & kind != 0 {
                    return Err(Errno::E2BIG);
                }
                self.seen |= kind;
            }
            return Ok(Some((kind, size, align)));
        }
        let pointers = field::KPTR | field::UPTR;
        if self.wanted & pointers != 0 && of.kind != btf_kind::STRUCT {
            return Ok(Some((field::KPTR_REF, POINTER_LEN, POINTER_LEN)));
        }
        Ok(None)
    }

    /// `btf_find_graph_root`: the type and the node that a tag `contains:` names.
    fn contains(&self, owner: Type, index: Option<u32>) -> Result<(u32, Vec<u8>), Errno> {
        const KEY: &[u8] = b"contains:";
        let component = index.unwrap_or(u32::MAX);
        let mut value = None;
        for id in 1..self.types.len() {
            let Some(tag) = self.types.get(id) else { break };
            if tag.kind != btf_kind::DECL_TAG
                || self.types.get(tag.word) != Some(owner)
                || self.types.extra(tag, 0) != component
            {
                continue;
            }
            if let Some(rest) = self.types.name(tag.name).strip_prefix(KEY) {
                if value.is_some() {
                    return Err(Errno::EINVAL);
                }
                value = Some(rest);
            }
        }
        let value = value.ok_or(Errno::EINVAL)?;
        let colon = value.iter().position(|byte| *byte == b':');
        let (name, node) = value.split_at(colon.ok_or(Errno::EINVAL)?);
        let id = self.types.find(name, btf_kind::STRUCT);
        let id = id.ok_or(Errno::ENOENT)?;
        match &node[1..] {
            [] => Err(Errno::EINVAL),
            node => Ok((id, node.to_vec())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_single_bits() {
        let named = NAMED.iter().map(|row| row.0);
        let all: Vec<u32> = named.chain(TAGS.iter().map(|row| row.0)).collect();
        for (index, kind) in all.iter().enumerate() {
            assert_eq!(kind.count_ones(), 1);
            assert!(!all[..index].contains(kind));
        }
    }
}
