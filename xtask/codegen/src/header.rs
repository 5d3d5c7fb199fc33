//! Names, numbers and offsets in C headers: `vmlinux.h`, which bpftool writes from the kernel's BTF,
//! and definitions of numbers in headers that people wrote.

use std::collections::BTreeMap;

use crate::table::integer;

/// An enumeration: its name, if it has one, and its names and values.
pub(crate) struct CEnum {
    pub(crate) name: Option<String>,
    pub(crate) values: Vec<(String, i64)>,
}

/// The enumerations of a `vmlinux.h`.
pub(crate) fn enums(text: &str) -> Vec<CEnum> {
    let mut found = Vec::new();
    let mut open: Option<CEnum> = None;
    for line in text.lines() {
        match &mut open {
            None => {
                let Some(rest) = line.strip_prefix("enum ") else {
                    continue;
                };
                let Some(name) = rest.strip_suffix('{') else {
                    continue;
                };
                let name = name.trim();
                open = Some(CEnum {
                    name: (!name.is_empty()).then(|| name.to_owned()),
                    values: Vec::new(),
                });
            }
            Some(_) if line.starts_with('}') => found.extend(open.take()),
            Some(of) => {
                let value = line.trim().trim_end_matches(',').split_once(" = ");
                if let Some((name, value)) = value
                    && let Some(value) = number(value)
                {
                    of.values.push((name.to_owned(), value));
                }
            }
        }
    }
    found
}

/// Numbers that a header defines by `#define`. What is calculated from other names is left out.
pub(crate) fn defines(text: &str) -> BTreeMap<String, i64> {
    let mut found = BTreeMap::new();
    for line in text.lines() {
        let Some(rest) = line.trim_start().strip_prefix('#') else {
            continue;
        };
        let Some(rest) = rest.trim_start().strip_prefix("define") else {
            continue;
        };
        let rest = rest.split("/*").next().unwrap_or_default().trim();
        if let Some((name, value)) = rest.split_once(char::is_whitespace)
            && !name.contains('(')
            && let Some(value) = number(value.trim())
        {
            found.insert(name.to_owned(), value);
        }
    }
    found
}

/// A number in C, or a bit: `16U`, `0x0c`, `-3`, `(1U << 4)`.
fn number(text: &str) -> Option<i64> {
    let text = text.trim().trim_start_matches('(').trim_end_matches(')');
    if let Some((left, right)) = text.split_once("<<") {
        let shift = u32::try_from(number(right)?).ok()?;
        return number(left)?.checked_shl(shift);
    }
    integer(text.trim_end_matches(['U', 'u', 'L', 'l']))
}

/// A field of a C type, as deep as it is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CField {
    /// Names of members with a name, then the field's, with dots.
    pub(crate) name: String,
    pub(crate) offset: usize,
    pub(crate) size: usize,
}

/// A declaration in a structure or union.
enum Member {
    Field {
        name: String,
        size: usize,
        align: usize,
        bits: Option<usize>,
    },
    Within {
        name: String,
        union: bool,
        members: Vec<Member>,
    },
}

/// The fields of a type such as `struct bpf_map_info`. Of a union with `member`, those of that
/// member: by its name, or by a field that it has as the first of the union. Fields behind one of a
/// type that is not known here are left out, and so are bits.
pub(crate) fn fields(text: &str, c_type: &str, member: Option<&str>) -> Option<Vec<CField>> {
    let head = format!("\n{c_type} {{\n");
    let start = text.find(&head)? + head.len();
    let mut lines = text[start..].lines();
    let (members, _) = block(&mut lines);
    let of = match member {
        None => &members,
        Some(wanted) => members.iter().find_map(|one| match one {
            Member::Within { name, members, .. } => {
                let is_it = name == wanted || name.is_empty() && has(members, wanted);
                is_it.then_some(members)
            }
            Member::Field { .. } => None,
        })?,
    };
    let mut found = Vec::new();
    place(
        of,
        c_type.starts_with("union") && member.is_none(),
        0,
        "",
        &mut found,
    );
    Some(found)
}

/// Whether a field is there, in members without a name too.
fn has(members: &[Member], wanted: &str) -> bool {
    members.iter().any(|one| match one {
        Member::Field { name, .. } => name == wanted,
        Member::Within { name, members, .. } => name.is_empty() && has(members, wanted),
    })
}

/// Declarations up to the closing brace, and the name behind it.
fn block<'a>(lines: &mut impl Iterator<Item = &'a str>) -> (Vec<Member>, String) {
    let mut members = Vec::new();
    while let Some(line) = lines.next() {
        let line = line.trim();
        if let Some(rest) = line.strip_prefix('}') {
            let name: String = rest
                .trim()
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            return (members, name);
        }
        if line == "struct {" || line == "union {" {
            let (within, name) = block(lines);
            members.push(Member::Within {
                name,
                union: line.starts_with("union"),
                members: within,
            });
        } else if let Some(field) = declaration(line) {
            members.push(field);
        } else {
            // What follows is somewhere that is not known.
            break;
        }
    }
    // After a type that is not known, only the end of the block is looked for.
    let mut depth = 0;
    for line in lines {
        let line = line.trim();
        if line.ends_with('{') {
            depth += 1;
        } else if line.starts_with('}') {
            if depth == 0 {
                break;
            }
            depth -= 1;
        }
    }
    (members, String::new())
}

/// `__u32 map_type;`, `char name[16];`, `__u64 disabled: 1;`.
fn declaration(line: &str) -> Option<Member> {
    let text = line.strip_suffix(';')?;
    let (text, bits) = match text.split_once(':') {
        Some((text, bits)) => (text.trim(), Some(bits.trim().parse().ok()?)),
        None => (text, None),
    };
    let (text, count) = match text.split_once('[') {
        Some((text, count)) => (text, count.strip_suffix(']')?.parse().ok()?),
        None => (text, 1),
    };
    let (c_type, name) = match text.rsplit_once([' ', '*']) {
        Some((c_type, name)) if !known_type(text) => (c_type.trim(), name),
        // Bits without a name.
        _ => (text, ""),
    };
    let unit = if text.contains('*') {
        8
    } else {
        size_of_type(c_type)?
    };
    Some(Member::Field {
        name: name.to_owned(),
        size: unit * count,
        align: unit,
        bits,
    })
}

fn known_type(text: &str) -> bool {
    size_of_type(text).is_some() && !text.starts_with("enum")
}

fn size_of_type(name: &str) -> Option<usize> {
    Some(match name {
        "char" | "__u8" | "u8" | "unsigned char" => 1,
        "__u16" | "__s16" | "u16" => 2,
        "__u32" | "__s32" | "u32" | "s32" | "int" | "unsigned int" => 4,
        "__u64" | "__s64" | "u64" | "s64" | "long" | "long unsigned int" => 8,
        _ if name.starts_with("enum ") => 4,
        _ => return None,
    })
}

/// Places members one after the other, or all at the beginning of a union; size and alignment of
/// the whole.
fn place(
    members: &[Member],
    union: bool,
    base: usize,
    path: &str,
    found: &mut Vec<CField>,
) -> (usize, usize) {
    let (mut at, mut end, mut largest) = (0_usize, 0, 1);
    for member in members {
        if union {
            at = 0;
        }
        match member {
            Member::Field {
                name,
                size,
                align,
                bits: Some(bits),
            } => {
                let unit = align * 8;
                if *bits == 0 || at % unit + bits > unit {
                    at = at.next_multiple_of(unit);
                }
                at += bits;
                // Bits without a name do not align the whole.
                if !name.is_empty() {
                    largest = largest.max(*align);
                }
                let _ = size;
            }
            Member::Field {
                name, size, align, ..
            } => {
                at = at.next_multiple_of(align * 8);
                found.push(CField {
                    name: format!("{path}{name}"),
                    offset: base + at / 8,
                    size: *size,
                });
                at += size * 8;
                largest = largest.max(*align);
            }
            Member::Within {
                name,
                union,
                members,
            } => {
                let (size, align) = place(members, *union, 0, "", &mut Vec::new());
                at = at.next_multiple_of(align * 8);
                let path = match name.as_str() {
                    "" => path.to_owned(),
                    name => format!("{path}{name}."),
                };
                place(members, *union, base + at / 8, &path, found);
                at += size * 8;
                largest = largest.max(align);
            }
        }
        end = end.max(at);
    }
    (end.div_ceil(8).next_multiple_of(largest), largest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\nenum bpf_cmd {\n\tBPF_A = 0,\n\tBPF_B = 4294967295ULL,\n};\n\n\
        enum {\n\tBPF_F_X = -1,\n};\n\nunion u {\n\tstruct {\n\t\t__u32 kind;\n\t\tchar name[6];\n\
        \t\tunion {\n\t\t\t__u64 wide;\n\t\t\t__u32 narrow;\n\t\t};\n\t};\n\tstruct {\n\
        \t\t__u32 fd;\n\t\tstruct {\n\t\t\t__u64 cookie;\n\t\t} inner;\n\t} link;\n};\n\n\
        struct bits {\n\t__u32 a;\n\t__u64 one: 1;\n\t__u64 rest: 62;\n\t__u32 after;\n\
        \tvoid *pointer;\n\tstruct other x;\n\t__u32 unknown;\n};\n";

    fn check(c_type: &str, member: Option<&str>, expect: &[(&str, usize, usize)]) {
        let found = fields(TEXT, c_type, member).unwrap();
        let found: Vec<_> = found
            .iter()
            .map(|f| (f.name.as_str(), f.offset, f.size))
            .collect();
        assert_eq!(found, expect);
    }

    #[test]
    fn fields_are_where_a_compiler_puts_them() {
        let first = [
            ("kind", 0, 4),
            ("name", 4, 6),
            ("wide", 16, 8),
            ("narrow", 16, 4),
        ];
        check("union u", Some("kind"), &first);
        check("union u", Some("narrow"), &first);
        let link = [("fd", 0, 4), ("inner.cookie", 8, 8)];
        check("union u", Some("link"), &link);
        let bits = [("a", 0, 4), ("after", 16, 4), ("pointer", 24, 8)];
        check("struct bits", None, &bits);
        assert_eq!(fields(TEXT, "struct none", None), None);
    }

    #[test]
    fn values_of_enumerations() {
        let enums = enums(TEXT);
        assert_eq!(enums[0].name.as_deref(), Some("bpf_cmd"));
        assert_eq!(enums[0].values[1], ("BPF_B".to_owned(), 0xffff_ffff));
        assert_eq!(enums[1].name, None);
        assert_eq!(enums[1].values, [("BPF_F_X".to_owned(), -1)]);
    }

    #[test]
    fn definitions_of_numbers() {
        let found = defines(
            "#define A\t(1U << 4)\n# define B 0x10 /* text */\n#define C(x) 1\n#define D A\n#define E -3\n",
        );
        let expect = [("A", 16), ("B", 16), ("E", -3)];
        assert_eq!(
            found,
            expect.map(|(name, value)| (name.to_owned(), value)).into()
        );
    }
}
