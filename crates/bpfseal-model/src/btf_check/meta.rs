//! The first pass over the types: each by itself, in order (`btf_check_all_metas`).

use bpfseal_uapi::{Errno, btf_kind, limits};

use super::refused::BtfRefused;
use super::types::{PAIR_LEN, TRIPLE_LEN, TYPE_LEN, Type, Types};
use crate::names::{check_identifier, check_section};

/// Bits of an integer's description that mean something (`BTF_INT_MASK`).
const INT_MASK: u32 = 0x0fff_ffff;
const MAX_INT_BITS: u32 = 128;
/// Highest linkage of a function (`BTF_FUNC_GLOBAL`; of `extern` ones user space makes something
/// else).
const MAX_FUNC_LINKAGE: u32 = 1;
/// Highest linkage of a variable that the kernel takes (`BTF_VAR_GLOBAL_ALLOCATED`).
const MAX_VAR_LINKAGE: u32 = 1;

/// Reads and checks the types of a section.
pub(super) fn check(types: &mut Types, begin: usize, len: usize) -> Result<(), BtfRefused> {
    let end = begin + len;
    let mut at = begin;
    let mut id = 1;
    while at < end {
        let (of, len) = check_one(types, id, at, end - at)?;
        // More types than there are numbers are passed over.
        if types.len() < limits::MAX_BTF_TYPE {
            types.push(of);
        }
        at += len;
        id += 1;
    }
    Ok(())
}

/// `btf_check_meta`: the type, and its bytes.
fn check_one(types: &Types, id: u32, at: usize, left: usize) -> Result<(Type, usize), BtfRefused> {
    let whole = |what: String| BtfRefused {
        errno: Errno::EINVAL,
        log: format!("[{id}] {what}"),
        what,
        at: None,
    };
    if left < TYPE_LEN {
        return Err(whole(format!("meta_left:{left} meta_needed:{TYPE_LEN}")));
    }
    let (of, info) = types.read(at);
    if types.rules().unknown_info(info) {
        return Err(whole(format!("Invalid btf_info:{info:x}")));
    }
    if of.kind == btf_kind::UNKN || of.kind.0 > btf_kind::ENUM64.0 {
        return Err(whole(format!("Invalid kind:{}", of.kind.0)));
    }
    if !types.has_name(of.name) {
        return Err(whole(format!("Invalid name_offset:{}", of.name)));
    }
    let left = left - TYPE_LEN;
    let needed = needed(of);
    if left < needed {
        let what = format!("meta_left:{left} meta_needed:{needed}");
        return Err(types.refuse_basic(id, of, &what));
    }
    Meta { types, id, of }.check()?;
    Ok((of, TYPE_LEN + needed))
}

/// Bytes behind the three words of every type.
fn needed(of: Type) -> usize {
    let count = of.vlen as usize;
    match of.kind {
        btf_kind::INT | btf_kind::VAR | btf_kind::DECL_TAG => 4,
        btf_kind::ARRAY => TRIPLE_LEN,
        btf_kind::STRUCT | btf_kind::UNION | btf_kind::DATASEC | btf_kind::ENUM64 => {
            count * TRIPLE_LEN
        }
        btf_kind::ENUM | btf_kind::FUNC_PROTO => count * PAIR_LEN,
        _ => 0,
    }
}

/// A type that is looked at.
struct Meta<'a> {
    types: &'a Types,
    id: u32,
    of: Type,
}

impl Meta<'_> {
    fn check(&self) -> Result<(), BtfRefused> {
        match self.of.kind {
            btf_kind::INT => self.int(),
            btf_kind::ARRAY => self.array(),
            btf_kind::STRUCT | btf_kind::UNION => self.composite(),
            btf_kind::ENUM | btf_kind::ENUM64 => self.enumeration(),
            btf_kind::FWD => self.forward(),
            btf_kind::FUNC => self.function(),
            btf_kind::FUNC_PROTO => self.prototype(),
            btf_kind::VAR => self.variable(),
            btf_kind::DATASEC => self.section(),
            btf_kind::FLOAT => self.float(),
            btf_kind::DECL_TAG => self.declaration_tag(),
            _ => self.reference(),
        }
    }

    fn fail(&self, what: &str) -> Result<(), BtfRefused> {
        Err(self.types.refuse(self.id, self.of, Errno::EINVAL, what))
    }

    fn no_elements(&self) -> Result<(), BtfRefused> {
        match self.of.vlen {
            0 => Ok(()),
            _ => self.fail("vlen != 0"),
        }
    }

    fn no_flag(&self) -> Result<(), BtfRefused> {
        match self.of.flag {
            false => Ok(()),
            true => self.fail("Invalid btf_info kind_flag"),
        }
    }

    /// An identifier, which may be missing where that is allowed.
    fn named(&self, optional: bool) -> Result<(), BtfRefused> {
        let name = self.of.name;
        let good = match name {
            0 => optional,
            _ => check_identifier(self.types.name(name)).is_ok(),
        };
        match good {
            true => Ok(()),
            false => self.fail("Invalid name"),
        }
    }

    fn unnamed(&self) -> Result<(), BtfRefused> {
        match self.of.name {
            0 => Ok(()),
            _ => self.fail("Invalid name"),
        }
    }

    fn int(&self) -> Result<(), BtfRefused> {
        self.no_elements()?;
        self.no_flag()?;
        let data = self.types.extra(self.of, 0);
        if data & !INT_MASK != 0 {
            let what = format!("Invalid int_data:{data:x}");
            return Err(self.types.refuse_basic(self.id, self.of, &what));
        }
        let bits = (data & 0xff) + ((data >> 16) & 0xff);
        if bits > MAX_INT_BITS {
            return self.fail("nr_bits exceeds 128");
        }
        if bits.div_ceil(8) > self.of.word {
            return self.fail("nr_bits exceeds type_size");
        }
        // At most one of signed, character, and boolean.
        if ((data >> 24) & 0xf).count_ones() > 1 || data & 0x0800_0000 != 0 {
            let (id, of) = (self.id, self.of);
            let what = "Unsupported encoding";
            return Err(self.types.refuse(id, of, Errno::ENOTSUPP, what));
        }
        Ok(())
    }

    fn reference(&self) -> Result<(), BtfRefused> {
        self.no_elements()?;
        let is_tag = self.of.kind == btf_kind::TYPE_TAG;
        if !(is_tag && self.types.rules().tag_flags) {
            self.no_flag()?;
        }
        if self.of.word > limits::MAX_BTF_TYPE {
            return self.fail("Invalid type_id");
        }
        match self.of.kind {
            btf_kind::TYPEDEF => self.named(false),
            btf_kind::TYPE_TAG if self.types.name(self.of.name).is_empty() => {
                self.fail("Invalid name")
            }
            btf_kind::TYPE_TAG => Ok(()),
            _ => self.unnamed(),
        }
    }

    fn forward(&self) -> Result<(), BtfRefused> {
        self.no_elements()?;
        if self.of.word != 0 {
            return self.fail("type != 0");
        }
        self.named(false)
    }

    fn array(&self) -> Result<(), BtfRefused> {
        self.unnamed()?;
        self.no_elements()?;
        self.no_flag()?;
        if self.of.word != 0 {
            return self.fail("size != 0");
        }
        for (word, what) in [(0, "Invalid elem"), (1, "Invalid index")] {
            if !is_type(self.types.extra(self.of, word)) {
                return self.fail(what);
            }
        }
        Ok(())
    }

    fn composite(&self) -> Result<(), BtfRefused> {
        self.named(true)?;
        let mut last = 0;
        for index in 0..self.of.vlen {
            let member = self.types.member(self.of, index);
            let fail = |what: &str| {
                let types = self.types;
                Err(types.refuse_member(self.id, self.of, index, what))
            };
            if !self.types.has_name(member.name) {
                return fail(&format!("Invalid member name_offset:{}", member.name));
            }
            if member.name != 0 && check_identifier(self.types.name(member.name)).is_err() {
                return fail("Invalid name");
            }
            if !is_type(member.type_id) {
                return fail("Invalid type_id");
            }
            let offset = Types::bit_offset(self.of, member);
            if self.of.kind == btf_kind::UNION && offset != 0 {
                return fail("Invalid member bits_offset");
            }
            if last > offset {
                return fail("Invalid member bits_offset");
            }
            if offset.div_ceil(8) > self.of.word {
                return fail("Member bits_offset exceeds its struct size");
            }
            last = offset;
        }
        Ok(())
    }

    fn enumeration(&self) -> Result<(), BtfRefused> {
        if self.of.word > 8 || !self.of.word.is_power_of_two() {
            return self.fail("Unexpected size");
        }
        self.named(true)?;
        let words = if self.of.kind == btf_kind::ENUM { 2 } else { 3 };
        for index in 0..self.of.vlen {
            let name = self.types.extra(self.of, words * index as usize);
            let text = String::from_utf8_lossy(self.types.name(name)).into_owned();
            let mut place = self.types.place(self.id, self.of);
            place.member = Some((index, text));
            if !self.types.has_name(name) {
                return Err(BtfRefused {
                    errno: Errno::EINVAL,
                    what: format!("Invalid name_offset:{name}"),
                    log: format!("\tInvalid name_offset:{name}"),
                    at: Some(Box::new(place)),
                });
            }
            if name == 0 || check_identifier(self.types.name(name)).is_err() {
                let (id, of) = (self.id, self.of);
                let mut refused = self.types.refuse(id, of, Errno::EINVAL, "Invalid name");
                refused.at = Some(Box::new(place));
                return Err(refused);
            }
        }
        Ok(())
    }

    fn prototype(&self) -> Result<(), BtfRefused> {
        self.unnamed()?;
        self.no_flag()
    }

    fn function(&self) -> Result<(), BtfRefused> {
        self.named(false)?;
        if self.of.vlen > MAX_FUNC_LINKAGE {
            return self.fail("Invalid func linkage");
        }
        self.no_flag()
    }

    fn variable(&self) -> Result<(), BtfRefused> {
        self.no_elements()?;
        self.no_flag()?;
        self.named(false)?;
        if !is_type(self.of.word) {
            return self.fail("Invalid type_id");
        }
        if self.types.extra(self.of, 0) > MAX_VAR_LINKAGE {
            return self.fail("Linkage not supported");
        }
        Ok(())
    }

    fn section(&self) -> Result<(), BtfRefused> {
        let size = self.of.word;
        if size == 0 {
            return self.fail("size == 0");
        }
        self.no_flag()?;
        let name = self.of.name;
        if name == 0 || check_section(self.types.name(name)).is_err() {
            return self.fail("Invalid name");
        }
        let (mut end, mut sum) = (0u64, 0u64);
        for index in 0..self.of.vlen {
            let fail = |what: &str| {
                let types = self.types;
                Err(types.refuse_variable(self.id, self.of, index, what))
            };
            let (type_id, offset, len) = self.types.variable(self.of, index);
            if !is_type(type_id) {
                return fail("Invalid type_id");
            }
            if u64::from(offset) < end || offset >= size {
                return fail("Invalid offset");
            }
            if len == 0 || len > size {
                return fail("Invalid size");
            }
            // The kernel adds them as numbers of 32 bits.
            end = u64::from(offset.wrapping_add(len));
            if end > u64::from(size) {
                return fail("Invalid offset+size");
            }
            sum += u64::from(len);
        }
        if u64::from(size) < sum {
            return self.fail("Invalid btf_info size");
        }
        Ok(())
    }

    fn float(&self) -> Result<(), BtfRefused> {
        self.no_elements()?;
        self.no_flag()?;
        match self.of.word {
            2 | 4 | 8 | 12 | 16 => Ok(()),
            _ => self.fail("Invalid type_size"),
        }
    }

    fn declaration_tag(&self) -> Result<(), BtfRefused> {
        if self.types.name(self.of.name).is_empty() {
            return self.fail("Invalid value");
        }
        self.no_elements()?;
        if !self.types.rules().tag_flags {
            self.no_flag()?;
        }
        if self.types.extra(self.of, 0).cast_signed() < -1 {
            return self.fail("Invalid component_idx");
        }
        Ok(())
    }
}

/// A number that could be that of a type, and is not void's.
fn is_type(id: u32) -> bool {
    id != 0 && id <= limits::MAX_BTF_TYPE
}
