//! BTF as the kernel checks it before it takes it (`btf_parse`), in the kernel's order.
//!
//! Takes the bytes of `BPF_BTF_LOAD`, and gives the errno with the line that the kernel logs, or
//! the types with what they came to, which maps are then checked by. Nothing is allocated that is
//! not in proportion to the bytes.
//!
//! Not looked at: the running kernel's own types, which pointers to its objects are looked up in;
//! and memory, of which the kernel may have too little.
//!
//! Sources: `kernel/bpf/btf.c` of Linux 6.12.117 and 7.3.4; the releases between by measurement.

pub(crate) mod fields;
mod member;
mod meta;
mod refused;
mod resolve;
mod rules;
mod types;

use bpfseal_object::Endian;
use bpfseal_uapi::{Errno, Version, limits};

pub use refused::{BtfPlace, BtfRefused};
use rules::Rules;
pub(crate) use types::Type;
pub use types::Types;

const MAGIC: u16 = 0xeb9f;
const VERSION: u8 = 1;
/// Bytes of the longest header that is known.
const HEADER: usize = 32;
/// Where the fields of `struct btf_header` are.
mod at {
    pub(super) const VERSION: usize = 2;
    pub(super) const FLAGS: usize = 3;
    pub(super) const HDR_LEN: usize = 4;
    /// Offset and length of the types, of the strings, of the layouts.
    pub(super) const SECTIONS: [usize; 3] = [8, 16, 24];
}
/// Bytes of `struct btf_layout`.
const LAYOUT_LEN: u32 = 4;

/// Checks BTF as a release does, on a machine of a byte order.
///
/// # Errors
/// What the kernel answers, and why.
pub fn check(bytes: &[u8], endian: Endian, release: Version) -> Result<Types, BtfRefused> {
    if bytes.len() > limits::MAX_BTF {
        return Err(BtfRefused {
            errno: Errno::E2BIG,
            what: format!("it has more than {} bytes", limits::MAX_BTF),
            log: String::new(),
            at: None,
        });
    }
    let rules = Rules::of(release);
    let header = Header::read(bytes, endian, rules)?;
    header.check_strings(bytes)?;
    header.check_layout(bytes.len())?;
    let begin = header.len + header.types.offset as usize;
    let strings = header.len + header.strings.offset as usize;
    let strings = strings..strings + header.strings.len as usize;
    if header.types.offset % 4 != 0 {
        return Err(BtfRefused::whole(Errno::EINVAL, "Unaligned type_off"));
    }
    if header.types.len == 0 {
        return Err(BtfRefused::whole(Errno::EINVAL, "No type found"));
    }
    let mut types = Types::new(bytes.to_vec(), endian, rules, strings);
    meta::check(&mut types, begin, header.types.len as usize)?;
    resolve::check(&mut types)?;
    check_modifiers(&types)?;
    fields::check_structs(&types).map_err(|errno| BtfRefused {
        errno,
        what: "special fields of a struct, such as locks, lists or tagged pointers, \
               are not as the kernel wants them"
            .to_owned(),
        log: String::new(),
        at: None,
    })?;
    Ok(types)
}

/// A section, by its offset behind the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Section {
    offset: u32,
    len: u32,
}

/// What a header says.
struct Header {
    len: usize,
    /// Whether it is long enough to name layouts.
    is_long: bool,
    types: Section,
    strings: Section,
    layout: Section,
}

impl Header {
    /// `btf_parse_hdr`.
    fn read(bytes: &[u8], endian: Endian, rules: Rules) -> Result<Self, BtfRefused> {
        let fail = |line: &str| Err(BtfRefused::whole(Errno::EINVAL, line));
        let word = |bytes: &[u8], at: usize| {
            let word = bytes.get(at..).and_then(|rest| rest.first_chunk());
            word.map_or(0, |word| endian.u32(*word))
        };
        if bytes.len() < at::HDR_LEN + 4 {
            return fail("hdr_len not found");
        }
        let len = word(bytes, at::HDR_LEN) as usize;
        if bytes.len() < len {
            return fail("btf_header not found");
        }
        let known = rules.header_len();
        if len > known && bytes[known..len].iter().any(|byte| *byte != 0) {
            return Err(BtfRefused::whole(Errno::E2BIG, "Unsupported btf_header"));
        }
        // A short one has zeroes for what it does not have, even for its own length.
        let mut header = [0; HEADER];
        let copied = len.min(known);
        header[..copied].copy_from_slice(&bytes[..copied]);
        if endian.u16([header[0], header[1]]) != MAGIC {
            return fail("Invalid magic");
        }
        for (field, wanted, line) in [
            (at::VERSION, VERSION, "Unsupported version"),
            (at::FLAGS, 0, "Unsupported flags"),
        ] {
            if header[field] != wanted {
                return Err(BtfRefused::whole(Errno::ENOTSUPP, line));
            }
        }
        let len = word(&header, at::HDR_LEN) as usize;
        if bytes.len() == len {
            return fail("No data");
        }
        let [types, strings, layout] = at::SECTIONS.map(|at| Section {
            offset: word(&header, at),
            len: word(&header, at + 4),
        });
        let header = Self {
            len,
            is_long: rules.wide && len >= HEADER,
            types,
            strings,
            layout,
        };
        header.check_sections(bytes.len() - len)?;
        Ok(header)
    }

    fn has_layout(&self) -> bool {
        self.is_long && self.layout.len != 0
    }

    /// `btf_check_sec_info`: the sections follow each other without gaps.
    fn check_sections(&self, all: usize) -> Result<(), BtfRefused> {
        let fail = |line: &str| Err(BtfRefused::whole(Errno::EINVAL, line));
        let mut sections = vec![self.types, self.strings];
        if self.has_layout() {
            sections.push(self.layout);
        }
        // By offset and length, as the kernel compares: the difference with its sign.
        sections.sort_by(|a, b| {
            let difference = |a: u32, b: u32| a.wrapping_sub(b).cast_signed().cmp(&0);
            difference(a.offset, b.offset).then(difference(a.len, b.len))
        });
        let all = u32::try_from(all).unwrap_or(u32::MAX);
        let mut total = 0u32;
        for section in sections {
            if all < section.offset {
                return fail("Invalid section offset");
            }
            if total < section.offset {
                return fail("Unsupported section found");
            }
            if total > section.offset {
                return fail("Section overlap found");
            }
            if all - total < section.len {
                return fail("Total section length too long");
            }
            total += section.len;
        }
        if all != total {
            return fail("Unsupported section found");
        }
        Ok(())
    }

    /// `btf_parse_str_sec`.
    fn check_strings(&self, bytes: &[u8]) -> Result<(), BtfRefused> {
        let fail = |line: &str| Err(BtfRefused::whole(Errno::EINVAL, line));
        let begin = self.len + self.strings.offset as usize;
        let end = begin + self.strings.len as usize;
        if !self.is_long && end != bytes.len() {
            return fail("String section is not at the end");
        }
        match &bytes[begin..end] {
            [0] => Ok(()),
            [0, .., 0] if self.strings.len - 1 <= limits::MAX_BTF_NAME_OFFSET => Ok(()),
            _ => fail("Invalid string section"),
        }
    }

    /// `btf_parse_layout_sec`.
    fn check_layout(&self, all: usize) -> Result<(), BtfRefused> {
        let fail = |line: &str| Err(BtfRefused::whole(Errno::EINVAL, line));
        if !self.has_layout() {
            return Ok(());
        }
        let Section { offset, len } = self.layout;
        if offset % 4 != 0 {
            return fail("Unaligned layout_off");
        }
        if len < LAYOUT_LEN {
            return fail("Layout section is too small");
        }
        if len % LAYOUT_LEN != 0 {
            return fail("layout_len is not multiple of 4");
        }
        if self.len + offset as usize + len as usize > all {
            return fail("Layout section is too big");
        }
        Ok(())
    }
}

/// `btf_check_modifier_chain_length`, `btf_check_type_tags`.
fn check_modifiers(types: &Types) -> Result<(), BtfRefused> {
    let mut good = 0;
    for id in 1..types.len() {
        let Some(mut of) = types.get(id) else { break };
        if !of.is_modifier() {
            continue;
        }
        let refuse = |errno: Errno, line: &str| {
            let mut refused = BtfRefused::whole(errno, line);
            let first = types.get(id);
            refused.at = first.map(|of| Box::new(types.place(id, of)));
            refused
        };
        let mut left = limits::MAX_RESOLVE_DEPTH;
        let mut current = id;
        let is_tag = |of: Type| of.kind == bpfseal_uapi::btf_kind::TYPE_TAG;
        let mut in_tags = is_tag(of);
        while of.is_modifier() {
            if left == 0 {
                let line = "Max chain length or cycle detected";
                return Err(refuse(Errno::ELOOP, line));
            }
            left -= 1;
            if types.rules().tags_first {
                if is_tag(of) && !in_tags {
                    let line = "Type tags don't precede modifiers";
                    return Err(refuse(Errno::EINVAL, line));
                }
                in_tags = is_tag(of);
            }
            if current <= good {
                break;
            }
            current = of.word;
            of = types
                .get(current)
                .ok_or_else(|| refuse(Errno::EINVAL, "Invalid type_id"))?;
        }
        good = id;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
