//! Types of BTF as the kernel keeps them while it checks: where they are, and what they came to.

use std::ops::Range;

use bpfseal_object::Endian;
use bpfseal_uapi::{BtfKind, Errno, btf_kind};

use super::refused::{BtfPlace, BtfRefused};
use super::rules::Rules;

/// Bytes of `struct btf_type`.
pub(super) const TYPE_LEN: usize = 12;
/// Bytes of `struct btf_member`, `struct btf_var_secinfo` and `struct btf_enum64`.
pub(super) const TRIPLE_LEN: usize = 12;
/// Bytes of `struct btf_enum` and `struct btf_param`.
pub(super) const PAIR_LEN: usize = 8;

/// A type: where it begins, and its three words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Type {
    at: usize,
    pub(super) name: u32,
    pub(super) kind: BtfKind,
    pub(super) vlen: u32,
    pub(super) flag: bool,
    /// `size` or `type`.
    pub(super) word: u32,
}

/// `void`, which is not written down.
const VOID: Type = Type {
    at: 0,
    name: 0,
    kind: btf_kind::UNKN,
    vlen: 0,
    flag: false,
    word: 0,
};

/// A member of a struct or union.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) name: u32,
    pub(super) type_id: u32,
    /// As it is written: with a bit-field's width in the upper byte where the struct's flag is set.
    pub(super) offset: u32,
}

/// What a type came to.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Resolved {
    pub(super) id: u32,
    pub(super) size: u32,
}

/// The types of BTF that the kernel takes, with what it found out about them.
#[derive(Debug, Clone)]
pub struct Types {
    data: Vec<u8>,
    endian: Endian,
    rules: Rules,
    strings: Range<usize>,
    list: Vec<Type>,
    pub(super) resolved: Vec<Resolved>,
}

impl Types {
    pub(super) fn new(data: Vec<u8>, endian: Endian, rules: Rules, strings: Range<usize>) -> Self {
        Self {
            data,
            endian,
            rules,
            strings,
            list: vec![VOID],
            resolved: Vec::new(),
        }
    }

    pub(crate) fn rules(&self) -> Rules {
        self.rules
    }

    /// Count of types, void included.
    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.list.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn push(&mut self, of: Type) {
        self.list.push(of);
    }

    /// `btf_type_by_id`; 0 is void.
    pub(crate) fn get(&self, id: u32) -> Option<Type> {
        self.list.get(id as usize).copied()
    }

    /// A word anywhere; 0 behind the end, which is never asked for once sizes are checked.
    pub(super) fn word(&self, at: usize) -> u32 {
        let bytes = self.data.get(at..).and_then(|rest| rest.first_chunk());
        bytes.map_or(0, |bytes| self.endian.u32(*bytes))
    }

    /// The three words of a type, whatever they say.
    pub(super) fn read(&self, at: usize) -> (Type, u32) {
        let info = self.word(at + 4);
        let of = Type {
            at,
            name: self.word(at),
            kind: BtfKind(self.rules.kind(info)),
            vlen: self.rules.vlen(info),
            flag: info >> 31 != 0,
            word: self.word(at + 8),
        };
        (of, info)
    }

    /// A word behind the three of every type.
    pub(super) fn extra(&self, of: Type, index: usize) -> u32 {
        self.word(of.at + TYPE_LEN + 4 * index)
    }

    pub(super) fn member(&self, of: Type, index: u32) -> Member {
        let at = of.at + TYPE_LEN + TRIPLE_LEN * index as usize;
        Member {
            name: self.word(at),
            type_id: self.word(at + 4),
            offset: self.word(at + 8),
        }
    }

    /// The variable of a section: type, offset, size.
    pub(super) fn variable(&self, of: Type, index: u32) -> (u32, u32, u32) {
        let member = self.member(of, index);
        (member.name, member.type_id, member.offset)
    }

    /// The parameter of a function: name and type.
    pub(super) fn parameter(&self, of: Type, index: u32) -> (u32, u32) {
        let at = of.at + TYPE_LEN + PAIR_LEN * index as usize;
        (self.word(at), self.word(at + 4))
    }

    /// `btf_name_offset_valid`.
    pub(super) fn has_name(&self, offset: u32) -> bool {
        offset <= bpfseal_uapi::limits::MAX_BTF_NAME_OFFSET
            && (offset as usize) < self.strings.len()
    }

    /// A name; empty where its offset is none.
    pub(super) fn name(&self, offset: u32) -> &[u8] {
        let strings = &self.data[self.strings.clone()];
        let rest = strings.get(offset as usize..).unwrap_or_default();
        rest.split(|byte| *byte == 0).next().unwrap_or_default()
    }

    /// A name in a log: `__btf_name_by_offset`.
    pub(super) fn shown(&self, offset: u32) -> String {
        match offset {
            0 => "(anon)".to_owned(),
            offset if (offset as usize) < self.strings.len() => {
                String::from_utf8_lossy(self.name(offset)).into_owned()
            }
            _ => "(invalid-name-offset)".to_owned(),
        }
    }

    /// `btf_find_by_name_kind`.
    pub(super) fn find(&self, name: &[u8], kind: BtfKind) -> Option<u32> {
        let is_it = |of: &Type| of.kind == kind && self.name(of.name) == name;
        let index = self.list.iter().skip(1).position(is_it)?;
        u32::try_from(index + 1).ok()
    }

    /// Offset of a member in bits: `__btf_member_bit_offset`.
    pub(super) fn bit_offset(of: Type, member: Member) -> u32 {
        if of.flag {
            member.offset & 0x00ff_ffff
        } else {
            member.offset
        }
    }

    /// `btf_type_id_size`: the type with a size that a number stands for, and the size.
    pub(crate) fn sized(&self, id: u32) -> Option<(u32, Type, u32)> {
        let size = |id: u32, of: Type| -> Option<u32> {
            if of.has_size() {
                Some(of.word)
            } else if of.kind == btf_kind::ARRAY {
                Some(self.resolved(id).size)
            } else if of.kind == btf_kind::PTR {
                Some(8)
            } else {
                None
            }
        };
        let of = self.get(id).filter(|of| !of.is_sizeless())?;
        if let Some(size) = size(id, of) {
            return Some((id, of, size));
        }
        if !of.is_modifier() && of.kind != btf_kind::VAR {
            return None;
        }
        let id = self.resolved(id).id;
        let of = self.get(id).filter(|of| !of.is_sizeless())?;
        Some((id, of, size(id, of)?))
    }

    pub(super) fn resolved(&self, id: u32) -> Resolved {
        self.resolved.get(id as usize).copied().unwrap_or_default()
    }

    /// `btf_type_skip_modifiers`. Chains of modifiers end by the time that this is asked.
    pub(super) fn without_modifiers(&self, mut id: u32) -> (u32, Type) {
        for _ in 0..=self.list.len() {
            match self.get(id) {
                Some(of) if of.is_modifier() => id = of.word,
                Some(of) => return (id, of),
                None => break,
            }
        }
        (0, VOID)
    }

    /// Whether it is an integer of a machine, of so many bytes or of any: `btf_type_int_is_regular`.
    pub(super) fn is_regular_int(&self, of: Type, bytes: Option<u32>) -> bool {
        let data = self.extra(of, 0);
        let (bits, offset) = (data & 0xff, (data >> 16) & 0xff);
        let len = bits.div_ceil(8);
        bits % 8 == 0
            && offset == 0
            && len <= 16
            && len.is_power_of_two()
            && bytes.is_none_or(|bytes| bytes == len)
    }

    /// `btf_type_is_i32`, `btf_type_is_i64`.
    pub(crate) fn is_int(&self, of: Type, bytes: u32) -> bool {
        of.kind == btf_kind::INT && self.is_regular_int(of, Some(bytes))
    }

    /// Whether both members of a struct are integers of a machine without padding between them, as
    /// a key of cgroup storage is.
    pub(crate) fn is_cgroup_key(&self, of: Type) -> bool {
        let is_member = |index: u32, at: u32, size: u32| {
            let member = self.member(of, index);
            let Some((_, int, _)) = self.sized(member.type_id) else {
                return false;
            };
            if int.kind != btf_kind::INT {
                return false;
            }
            let data = self.extra(int, 0);
            let (bits, offset) = (data & 0xff, (data >> 16) & 0xff);
            if of.flag {
                let bit = Self::bit_offset(of, member);
                return member.offset >> 24 == 0
                    && bit.div_ceil(8) == at
                    && bits.div_ceil(8) == size;
            }
            offset == 0
                && member.offset.is_multiple_of(8)
                && member.offset / 8 == at
                && bits % 8 == 0
                && bits / 8 == size
        };
        of.kind == btf_kind::STRUCT && of.vlen == 2 && is_member(0, 0, 8) && is_member(1, 8, 4)
    }

    /// Where a type is, in words.
    pub(super) fn place(&self, id: u32, of: Type) -> BtfPlace {
        BtfPlace {
            type_id: id,
            kind: of.kind.name().unwrap_or("unknown"),
            name: String::from_utf8_lossy(self.name(of.name)).into_owned(),
            member: None,
        }
    }

    /// A refusal because of a type, with the line that `btf_verifier_log_type` writes.
    pub(super) fn refuse(&self, id: u32, of: Type, errno: Errno, what: &str) -> BtfRefused {
        let details = self.details(of);
        let name = self.shown(of.name);
        BtfRefused {
            errno,
            what: what.to_owned(),
            log: format!("[{id}] {} {name} {details} {what}", of.kind_shown()),
            at: Some(Box::new(self.place(id, of))),
        }
    }

    /// The same without details: `btf_verifier_log_basic`.
    pub(super) fn refuse_basic(&self, id: u32, of: Type, what: &str) -> BtfRefused {
        BtfRefused {
            errno: Errno::EINVAL,
            what: what.to_owned(),
            log: format!("[{id}] {} {} {what}", of.kind_shown(), self.shown(of.name)),
            at: Some(Box::new(self.place(id, of))),
        }
    }

    /// A refusal because of a member: `btf_verifier_log_member`.
    pub(super) fn refuse_member(&self, id: u32, of: Type, index: u32, what: &str) -> BtfRefused {
        let member = self.member(of, index);
        self.refuse_as_member(id, of, (index, member), what)
    }

    /// The same for a member whose type is another one by now.
    pub(super) fn refuse_as_member(
        &self,
        id: u32,
        of: Type,
        (index, member): (u32, Member),
        what: &str,
    ) -> BtfRefused {
        let name = self.shown(member.name);
        let type_id = member.type_id;
        let log = if of.flag {
            let (width, bits) = (member.offset >> 24, Self::bit_offset(of, member));
            format!("\t{name} type_id={type_id} bitfield_size={width} bits_offset={bits} {what}")
        } else {
            let bits = member.offset;
            format!("\t{name} type_id={type_id} bits_offset={bits} {what}")
        };
        let mut place = self.place(id, of);
        let name = String::from_utf8_lossy(self.name(member.name)).into_owned();
        place.member = Some((index, name));
        BtfRefused {
            errno: Errno::EINVAL,
            what: what.to_owned(),
            log,
            at: Some(Box::new(place)),
        }
    }

    /// A refusal because of a variable of a section: `btf_verifier_log_vsi`.
    pub(super) fn refuse_variable(&self, id: u32, of: Type, index: u32, what: &str) -> BtfRefused {
        let (type_id, offset, size) = self.variable(of, index);
        let mut place = self.place(id, of);
        let name = self.get(type_id).map(|of| self.name(of.name));
        let name = String::from_utf8_lossy(name.unwrap_or_default()).into_owned();
        place.member = Some((index, name));
        BtfRefused {
            errno: Errno::EINVAL,
            what: what.to_owned(),
            log: format!("\t type_id={type_id} offset={offset} size={size} {what}"),
            at: Some(Box::new(place)),
        }
    }

    /// What the kernel logs of a type.
    fn details(&self, of: Type) -> String {
        let size = of.word;
        match of.kind {
            btf_kind::INT => {
                let data = self.extra(of, 0);
                let encoding = match (data >> 24) & 0xf {
                    0 => "(none)",
                    1 => "SIGNED",
                    2 => "CHAR",
                    4 => "BOOL",
                    _ => "UNKN",
                };
                let (offset, bits) = ((data >> 16) & 0xff, data & 0xff);
                format!("size={size} bits_offset={offset} nr_bits={bits} encoding={encoding}")
            }
            btf_kind::FWD => (if of.flag { "union" } else { "struct" }).to_owned(),
            btf_kind::ARRAY => {
                let [of_type, index, count] = [0, 1, 2].map(|word| self.extra(of, word));
                format!("type_id={of_type} index_type_id={index} nr_elems={count}")
            }
            btf_kind::STRUCT
            | btf_kind::UNION
            | btf_kind::ENUM
            | btf_kind::ENUM64
            | btf_kind::DATASEC => format!("size={size} vlen={}", of.vlen),
            btf_kind::FUNC_PROTO => self.function(of),
            btf_kind::VAR => format!("type_id={size} linkage={}", self.extra(of, 0)),
            btf_kind::FLOAT => format!("size={size}"),
            btf_kind::DECL_TAG => {
                let index = self.extra(of, 0).cast_signed();
                format!("type={size} component_idx={index}")
            }
            _ => format!("type_id={size}"),
        }
    }

    fn function(&self, of: Type) -> String {
        let all: Vec<_> = (0..of.vlen).map(|i| self.parameter(of, i)).collect();
        let last = all.len().saturating_sub(1);
        let shown = all.iter().enumerate().map(|(index, (name, type_id))| {
            if index == last && *type_id == 0 {
                "vararg".to_owned()
            } else {
                format!("{type_id} {}", self.shown(*name))
            }
        });
        let shown = match all.len() {
            0 => "void".to_owned(),
            _ => shown.collect::<Vec<_>>().join(", "),
        };
        format!("return={} args=({shown})", of.word)
    }
}

impl Type {
    fn kind_shown(self) -> String {
        let name = self.kind.name().unwrap_or("unknown");
        name.to_uppercase()
    }

    /// `btf_type_is_modifier`.
    pub(super) fn is_modifier(self) -> bool {
        matches!(
            self.kind,
            btf_kind::TYPEDEF
                | btf_kind::VOLATILE
                | btf_kind::CONST
                | btf_kind::RESTRICT
                | btf_kind::TYPE_TAG
        )
    }

    pub(crate) fn kind(self) -> BtfKind {
        self.kind
    }

    pub(crate) fn is_void(self) -> bool {
        self.kind == btf_kind::UNKN
    }

    pub(super) fn is_composite(self) -> bool {
        matches!(self.kind, btf_kind::STRUCT | btf_kind::UNION)
    }

    /// `btf_type_nosize`.
    pub(super) fn is_sizeless(self) -> bool {
        self.is_void()
            || matches!(
                self.kind,
                btf_kind::FWD | btf_kind::FUNC | btf_kind::FUNC_PROTO | btf_kind::DECL_TAG
            )
    }

    /// `btf_type_has_size`.
    fn has_size(self) -> bool {
        self.is_composite()
            || matches!(
                self.kind,
                btf_kind::INT
                    | btf_kind::ENUM
                    | btf_kind::DATASEC
                    | btf_kind::FLOAT
                    | btf_kind::ENUM64
            )
    }

    /// `btf_type_is_resolve_source_only`.
    pub(super) fn is_source_only(self) -> bool {
        matches!(
            self.kind,
            btf_kind::VAR | btf_kind::DECL_TAG | btf_kind::DATASEC
        )
    }

    /// `btf_type_needs_resolve`.
    pub(super) fn needs_resolving(self) -> bool {
        self.is_modifier()
            || self.is_composite()
            || self.is_source_only()
            || matches!(self.kind, btf_kind::PTR | btf_kind::ARRAY | btf_kind::FUNC)
    }
}
