//! `.BTF.ext`: which function, source line and CO-RE relocation belongs to which instruction.
//!
//! Records are kept as words and handed on as they are; CO-RE relocations are recorded for the
//! loader, never applied. Layout: `struct btf_ext_header` in the kernel's
//! `include/uapi/linux/btf.h` family and `tools/lib/bpf/libbpf_internal.h`.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use bpfseal_object::Object;
//!
//! let object = Object::parse(&std::fs::read("prog.bpf.o")?, "prog")?;
//! let ext = object.btf_ext.ok_or("compile it with -g")?;
//! for section in &ext.line_info.sections {
//!     let lines = ext.line_info.records(section).count();
//!     println!("{:?}: {lines} lines", section.section);
//! }
//! # Ok(())
//! # }
//! ```

use crate::elf::SectionIdx;
use crate::{Endian, Error};

/// Records of one kind for one section of code.
#[derive(Debug, Clone)]
pub struct InfoSection {
    /// Offset of the section's name in the BTF strings.
    pub name_off: u32,
    /// The ELF section of that name; `None` when there is none (the records are then unused).
    pub section: Option<SectionIdx>,
    /// All records, one after the other.
    records: Vec<u32>,
}

/// Records of one kind.
#[derive(Debug, Clone, Default)]
pub struct Info {
    /// Size of one record in bytes; a multiple of 4. 0 when there are no records.
    pub record_size: u32,
    /// One entry for each section of code, in file order.
    pub sections: Vec<InfoSection>,
}

impl Info {
    /// Whether there is no record at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sections.is_empty()
    }

    /// Records of a section, each a slice of words; the first word is the byte offset of the
    /// instruction in its section.
    pub fn records<'a>(&self, section: &'a InfoSection) -> impl Iterator<Item = &'a [u32]> {
        let words = (self.record_size as usize / 4).max(1);
        section.records.chunks_exact(words)
    }
}

/// A parsed `.BTF.ext` section.
#[derive(Debug, Clone, Default)]
pub struct BtfExt {
    /// `struct bpf_func_info`: instruction offset, BTF id of the function.
    pub func_info: Info,
    /// `struct bpf_line_info`: instruction offset, file name, line text, line and column.
    pub line_info: Info,
    /// `struct bpf_core_relo`: instruction offset, type id, access string, kind.
    pub core_relo: Info,
}

/// Smallest record of each table in bytes: function, line, CO-RE.
const MIN_RECORD: [u32; 3] = [8, 16, 16];
/// Where each table's offset and length stand in the header.
const TABLE_AT: [usize; 3] = [8, 16, 24];
/// Header up to and including the line table.
const SHORT_HEADER: u32 = 24;
/// Header with the CO-RE table.
const CORE_HEADER: u32 = 32;

impl BtfExt {
    /// Reads a `.BTF.ext` section of an object of byte order `endian`.
    ///
    /// # Errors
    /// [`Error::BtfExt`] when it is not as libbpf accepts it.
    pub fn parse(bytes: &[u8], endian: Endian) -> Result<Self, Error> {
        let fail = |offset: usize, what: &'static str| Error::BtfExt { offset, what };
        if bytes.len() < 8 {
            return Err(fail(0, "header is shorter than 8 bytes"));
        }
        if endian.u16([bytes[0], bytes[1]]) != 0xeb9f {
            return Err(fail(0, "magic is not 0xeb9f in the object's byte order"));
        }
        if bytes[2] != 1 {
            return Err(fail(2, "version is not 1"));
        }
        if bytes[3] != 0 {
            return Err(fail(3, "flags are not 0"));
        }
        let word = |at: usize| {
            bytes
                .get(at..at + 4)
                .map(|b| endian.u32([b[0], b[1], b[2], b[3]]))
        };
        let header_len = word(4).unwrap_or(0);
        if (bytes.len() as u64) < u64::from(header_len) {
            return Err(fail(4, "header length is beyond the section"));
        }
        if bytes.len() as u64 == u64::from(header_len) {
            return Err(fail(4, "there is nothing behind the header"));
        }
        if header_len < SHORT_HEADER {
            return Err(fail(4, "header has no function and line tables"));
        }
        let table = |index: usize| -> Result<Info, Error> {
            let at = TABLE_AT[index];
            let (off, len) = (word(at).unwrap_or(0), word(at + 4).unwrap_or(0));
            parse_table(bytes, endian, header_len, off, len, MIN_RECORD[index])
        };
        Ok(Self {
            func_info: table(0)?,
            line_info: table(1)?,
            core_relo: if header_len >= CORE_HEADER {
                table(2)?
            } else {
                Info::default()
            },
        })
    }

    /// Tells every table which ELF section its entries speak of.
    pub(crate) fn resolve_sections(&mut self, find: impl Fn(u32) -> Option<SectionIdx>) {
        for info in [
            &mut self.func_info,
            &mut self.line_info,
            &mut self.core_relo,
        ] {
            for section in &mut info.sections {
                section.section = find(section.name_off);
            }
        }
    }
}

fn parse_table(
    bytes: &[u8],
    endian: Endian,
    header_len: u32,
    off: u32,
    len: u32,
    min_record: u32,
) -> Result<Info, Error> {
    if len == 0 {
        return Ok(Info::default());
    }
    let start = header_len as usize + off as usize;
    let fail = |at: usize, what: &'static str| Error::BtfExt { offset: at, what };
    if !off.is_multiple_of(4) {
        return Err(fail(start, "a table is not aligned to 4 bytes"));
    }
    let table = bytes
        .get(start..start + len as usize)
        .ok_or_else(|| fail(start, "a table reaches beyond the section"))?;
    if table.len() < 4 {
        return Err(fail(start, "a table has no record size"));
    }
    let word = |at: usize| endian.u32([table[at], table[at + 1], table[at + 2], table[at + 3]]);
    let record_size = word(0);
    // Swapping needs to know all fields, so a big-endian object can not have longer records.
    if record_size < min_record
        || (endian == Endian::Big && record_size != min_record)
        || record_size % 4 != 0
    {
        return Err(fail(start, "a table has an invalid record size"));
    }
    if table.len() == 4 {
        return Err(fail(start, "a table has no records"));
    }
    let mut sections = Vec::new();
    let mut at = 4;
    while at < table.len() {
        if table.len() - at < 8 {
            return Err(fail(start + at, "a section header is cut off"));
        }
        let (name_off, count) = (word(at), word(at + 4));
        at += 8;
        let size = u64::from(count) * u64::from(record_size);
        if count == 0 || (table.len() - at) as u64 > u64::MAX - size {
            return Err(fail(start + at - 4, "a section has no records"));
        }
        let records = usize::try_from(size)
            .ok()
            .and_then(|size| table.get(at..at + size))
            .ok_or_else(|| fail(start + at - 4, "records reach beyond their table"))?;
        sections.push(InfoSection {
            name_off,
            section: None,
            records: endian.words(records),
        });
        at += records.len();
    }
    Ok(Info {
        record_size,
        sections,
    })
}
