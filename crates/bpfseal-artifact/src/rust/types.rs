//! BTF types as Rust types.
//!
//! Layouts are not left to Rust: a generated type knows how to read itself from bytes and write
//! itself to them, field by field at the offsets that BTF gives. So packed structs, bit-fields and
//! unions are right without any unsafe code.

use std::collections::HashMap;
use std::fmt::Write as _;

use bpfseal_object::btf::{Btf, Kind, Member, Type, TypeId};

use crate::error::SkeletonError;
use crate::ident::{Names, clean, identifier};

/// Most bytes of definitions in a module: hostile BTF could otherwise ask for any number.
const MAX_LENGTH: usize = 4 << 20;
/// How deep types may nest.
const MAX_DEPTH: usize = 64;

/// Words that can not be names, not even as `r#…`.
const NEVER: [&str; 5] = ["_", "Self", "crate", "self", "super"];
/// Words that can be names as `r#…`.
const KEYWORDS: [&str; 47] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "do", "dyn",
    "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let",
    "loop", "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref", "return",
    "static", "struct", "trait", "true", "try", "type", "typeof", "unsafe", "unsized", "use",
    "virtual", "where", "while",
];

/// Types, traits and modules that a module uses by these names; the object's get others.
pub(super) const PRELUDE: [&str; 30] = [
    "Clone",
    "Copy",
    "Debug",
    "Eq",
    "Hash",
    "Ok",
    "Option",
    "PartialEq",
    "Result",
    "Some",
    "Vec",
    "bool",
    "char",
    "f32",
    "f64",
    "i128",
    "i16",
    "i32",
    "i64",
    "i8",
    "isize",
    "rt",
    "str",
    "types",
    "u128",
    "u16",
    "u32",
    "u64",
    "u8",
    "usize",
];

/// A name as a Rust identifier.
pub(super) fn rust_ident(name: &str) -> String {
    let name = identifier(name);
    if NEVER.contains(&name.as_str()) || name.is_empty() {
        format!("{name}_")
    } else if KEYWORDS.contains(&name.as_str()) {
        format!("r#{name}")
    } else if name.starts_with(|c: char| c.is_ascii_digit()) || name == "yield" {
        format!("_{name}")
    } else {
        name
    }
}

/// A field of a struct, or a variable of a section.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: String,
    /// Its type in Rust.
    pub(super) rust: String,
    pub(super) place: Bits,
    /// Bytes of its type.
    pub(super) size: u32,
    /// What there is to say about it.
    pub(super) note: String,
}

/// Where a field is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bits {
    /// Whole bytes: offset.
    Bytes(u32),
    /// A bit-field: offset and width in bits.
    Field(u32, u32),
}

impl Field {
    fn read(&self) -> String {
        match self.place {
            Bits::Bytes(offset) => format!("rt::field(bytes, {offset})"),
            Bits::Field(offset, width) => format!("rt::bits(bytes, {offset}, {width})"),
        }
    }

    fn write(&self) -> String {
        let name = &self.name;
        match self.place {
            Bits::Bytes(offset) => format!("rt::put(self.{name}, bytes, {offset});"),
            Bits::Field(offset, width) => {
                format!("rt::put_bits(self.{name}, bytes, {offset}, {width});")
            }
        }
    }
}

/// Collects the types that a module needs, each once.
#[derive(Debug)]
pub(super) struct RustTypes<'a> {
    btf: &'a Btf,
    /// What types are called; `None` while one is being written.
    known: HashMap<TypeId, Option<String>>,
    names: Names,
    /// Definitions so far.
    pub(super) text: String,
}

impl<'a> RustTypes<'a> {
    pub(super) fn new(btf: &'a Btf) -> Self {
        Self {
            btf,
            known: HashMap::new(),
            names: PRELUDE.iter().map(|name| (*name).to_owned()).collect(),
            text: String::new(),
        }
    }

    /// The Rust type of a BTF type that takes `size` bytes: `None` for one that Rust has nothing
    /// for, which is given as bytes then. `hint` names what has no name.
    pub(super) fn rust(
        &mut self,
        id: TypeId,
        hint: &str,
        depth: usize,
    ) -> Result<Option<String>, SkeletonError> {
        if depth > MAX_DEPTH || self.text.len() > MAX_LENGTH {
            return Err(SkeletonError::TooManyTypes);
        }
        let t = self.bare(id);
        let size = t.size();
        Ok(match t.kind() {
            Kind::Int => int(&t),
            Kind::Float if size == 4 => Some("f32".to_owned()),
            Kind::Float if size == 8 => Some("f64".to_owned()),
            Kind::Ptr => Some("rt::Pointer".to_owned()),
            Kind::Array => {
                let element = self.rust(t.array_element(), hint, depth + 1)?;
                element.map(|element| format!("[{element}; {}]", t.array_len()))
            }
            Kind::Struct | Kind::Union | Kind::Enum | Kind::Enum64 => {
                if let Some(name) = self.known.get(&t.id) {
                    // One that is inside of itself has no size.
                    return Ok(name.clone().map(|name| format!("types::{name}")));
                }
                self.known.insert(t.id, None);
                let name = if t.name().is_empty() { hint } else { t.name() };
                let name = self.names.unique(rust_ident(name));
                match t.kind() {
                    Kind::Struct => self.structure(&t, &name, depth)?,
                    Kind::Union => self.union(&t, &name, depth)?,
                    _ => self.enumeration(&t, &name),
                }
                self.known.insert(t.id, Some(name.clone()));
                Some(format!("types::{name}"))
            }
            _ => None,
        })
    }

    /// The type without names, qualifiers and tags.
    fn bare(&self, id: TypeId) -> Type<'a> {
        let mut t = self.btf.ty(id);
        for _ in 0..MAX_DEPTH {
            match t.kind() {
                Kind::Const | Kind::Volatile | Kind::Restrict | Kind::Typedef | Kind::TypeTag => {
                    t = self.btf.ty(t.type_ref());
                }
                _ => break,
            }
        }
        t
    }

    fn structure(&mut self, t: &Type<'a>, name: &str, depth: usize) -> Result<(), SkeletonError> {
        let mut fields = Vec::new();
        let mut names = Names::default();
        let mut after_anonymous = 0;
        for member in t.members() {
            let plain = self.btf.str(member.name_off).unwrap_or_default();
            let field_name = if plain.is_empty() {
                after_anonymous += 1;
                format!("anon_{after_anonymous}")
            } else {
                rust_ident(plain)
            };
            let field_name = names.unique(field_name);
            let hint = format!("{}_{}", unraw(name), unraw(&field_name));
            if let Some(field) = self.member(t, &member, field_name, &hint, depth)? {
                fields.push(field);
            }
        }
        let shown = if t.name().is_empty() {
            "An anonymous struct".to_owned()
        } else {
            format!("`struct {}`", clean(t.name()))
        };
        let size = t.size();
        let _ = write!(self.text, "\n/// {shown}, {size} bytes.\n");
        push_struct(
            &mut self.text,
            name,
            size,
            &fields.iter().collect::<Vec<_>>(),
        );
        Ok(())
    }

    /// A member as a field; `None` for one that is not inside of its struct, or has no bytes.
    fn member(
        &mut self,
        t: &Type<'a>,
        member: &Member,
        name: String,
        hint: &str,
        depth: usize,
    ) -> Result<Option<Field>, SkeletonError> {
        let whole = u64::from(t.size()) * 8;
        if member.bit_size != 0 {
            let end = u64::from(member.bit_offset) + u64::from(member.bit_size);
            let underlying = self.bare(member.type_id);
            let signed = match underlying.kind() {
                Kind::Int => underlying.int_is_signed(),
                Kind::Enum | Kind::Enum64 => underlying.kind_flag(),
                _ => return Ok(None),
            };
            let size = underlying.size();
            let fits = matches!(size, 1 | 2 | 4 | 8) && member.bit_size <= size * 8;
            if end > whole || !fits {
                return Ok(None);
            }
            let sign = if signed { 'i' } else { 'u' };
            let note = format!("{} bits.", member.bit_size);
            return Ok(Some(Field {
                name,
                rust: format!("{sign}{}", size * 8),
                place: Bits::Field(member.bit_offset, member.bit_size),
                size,
                note,
            }));
        }
        let Some(size) = self.btf.resolve_size(member.type_id) else {
            return Ok(None);
        };
        let end = u64::from(member.bit_offset) + u64::from(size) * 8;
        if end > whole || !member.bit_offset.is_multiple_of(8) {
            return Ok(None);
        }
        self.field(
            member.type_id,
            name,
            hint,
            member.bit_offset / 8,
            size,
            depth,
        )
        .map(Some)
    }

    /// A field of whole bytes; as bytes, and said so, when Rust has no type for it.
    pub(super) fn field(
        &mut self,
        id: TypeId,
        name: String,
        hint: &str,
        offset: u32,
        size: u32,
        depth: usize,
    ) -> Result<Field, SkeletonError> {
        let (rust, note) = match self.rust(id, hint, depth + 1)? {
            Some(rust) => (rust, String::new()),
            None => (
                format!("[u8; {size}]"),
                "As bytes: its type has no equal in Rust.".to_owned(),
            ),
        };
        Ok(Field {
            name,
            rust,
            place: Bits::Bytes(offset),
            size,
            note,
        })
    }

    fn union(&mut self, t: &Type<'a>, name: &str, depth: usize) -> Result<(), SkeletonError> {
        let size = t.size();
        let mut methods = String::new();
        let mut names = Names::default();
        let mut anonymous = 0;
        for member in t.members() {
            let plain = self.btf.str(member.name_off).unwrap_or_default();
            let plain = if plain.is_empty() {
                anonymous += 1;
                format!("anon_{anonymous}")
            } else {
                rust_ident(plain)
            };
            let plain = names.unique(plain);
            let setter = names.unique(format!("set_{}", unraw(&plain)));
            let hint = format!("{}_{}", unraw(name), unraw(&plain));
            let Some(field) = self.member(t, &member, plain.clone(), &hint, depth)? else {
                continue;
            };
            // Field by field would move bits around; a union is what its bytes are.
            let Bits::Bytes(offset) = field.place else {
                continue;
            };
            let _ = write!(
                methods,
                "\n    /// As `{plain}`. {note}\n    \
                 pub fn {plain}(&self) -> {rust} {{\n        rt::field(&self.0, {offset})\n    }}\n\n    \
                 /// Writes `{plain}`.\n    \
                 pub fn {setter}(&mut self, value: {rust}) {{\n        rt::put(value, &mut self.0, {offset});\n    }}\n",
                rust = field.rust,
                note = field.note,
                plain = plain,
            );
        }
        let shown = if t.name().is_empty() {
            "An anonymous union".to_owned()
        } else {
            format!("`union {}`", clean(t.name()))
        };
        let _ = write!(
            self.text,
            "\n/// {shown}, {size} bytes: whichever of its members was written last.\n\
             #[derive(Clone, Copy, Debug, PartialEq)]\n\
             pub struct {name}(pub [u8; {size}]);\n\n\
             impl {name} {{{methods}}}\n\n{}",
            newtype_value(name, size)
        );
        Ok(())
    }

    fn enumeration(&mut self, t: &Type<'a>, name: &str) {
        let size = match t.size() {
            size @ (1 | 2 | 4 | 8) => size,
            _ => 4,
        };
        let bits = size * 8;
        let sign = if t.kind_flag() { 'i' } else { 'u' };
        let shown = if t.name().is_empty() {
            "An anonymous enum".to_owned()
        } else {
            format!("`enum {}`", clean(t.name()))
        };
        let mut names = Names::default();
        let mut constants = String::new();
        for constant in t.enumerators() {
            let plain = self.btf.str(constant.name_off).unwrap_or_default();
            let constant_name = names.unique(rust_ident(plain));
            // Cut to the type's bits, with its sign.
            let shift = 64 - bits;
            let value = if t.kind_flag() {
                ((constant.value.cast_signed() << shift) >> shift).to_string()
            } else {
                ((constant.value << shift) >> shift).to_string()
            };
            let _ = write!(
                constants,
                "    /// `{}`\n    pub const {constant_name}: Self = Self({value});\n",
                clean(plain)
            );
        }
        let _ = write!(
            self.text,
            "\n/// {shown}; other values than the named ones can occur.\n\
             #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]\n\
             pub struct {name}(pub {sign}{bits});\n\n\
             impl {name} {{\n{constants}}}\n\n{}",
            newtype_value(name, size)
        );
    }
}

/// A struct, and how it is read and written.
pub(super) fn push_struct(text: &mut String, name: &str, size: u32, fields: &[&Field]) {
    let _ = writeln!(
        text,
        "#[derive(Clone, Copy, Debug, PartialEq)]\npub struct {name} {{"
    );
    for field in fields {
        let note = if field.note.is_empty() {
            format!("`{}`", unraw(&field.name))
        } else {
            field.note.clone()
        };
        let _ = writeln!(
            text,
            "    /// {note}\n    pub {}: {},",
            field.name, field.rust
        );
    }
    let _ = writeln!(
        text,
        "}}\n\nimpl rt::Value for {name} {{\n    const SIZE: usize = {size};\n\n    \
         fn read(bytes: &[u8]) -> Self {{\n        let _ = bytes;\n        Self {{"
    );
    for field in fields {
        let _ = writeln!(text, "            {}: {},", field.name, field.read());
    }
    text.push_str(
        "        }\n    }\n\n    fn write(self, bytes: &mut [u8]) {\n        let _ = &bytes;\n",
    );
    for field in fields {
        let _ = writeln!(text, "        {}", field.write());
    }
    text.push_str("    }\n}\n");
}

/// How a struct with one unnamed field is read and written.
fn newtype_value(name: &str, size: u32) -> String {
    format!(
        "impl rt::Value for {name} {{\n    const SIZE: usize = {size};\n\n    \
         fn read(bytes: &[u8]) -> Self {{\n        Self(rt::field(bytes, 0))\n    }}\n\n    \
         fn write(self, bytes: &mut [u8]) {{\n        rt::put(self.0, bytes, 0);\n    }}\n}}\n"
    )
}

fn unraw(name: &str) -> &str {
    name.trim_start_matches("r#")
}

fn int(t: &Type<'_>) -> Option<String> {
    let size = t.size();
    if !matches!(size, 1 | 2 | 4 | 8 | 16) {
        return None;
    }
    if t.int_is_bool() && size == 1 {
        return Some("bool".to_owned());
    }
    let sign = if t.int_is_signed() { 'i' } else { 'u' };
    Some(format!("{sign}{}", size * 8))
}
