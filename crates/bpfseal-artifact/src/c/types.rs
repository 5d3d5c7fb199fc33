//! BTF types as C declarations.
//!
//! Named structs, unions, enums and typedefs are referred to by name: whoever includes a skeleton
//! has their definitions, as with bpftool's headers. Anonymous ones are written out in place.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

use bpfseal_object::btf::{Btf, Kind, Type, TypeId};

use super::names::{Renamed, c_name};
use crate::ident::Names;

bpfseal_object::debug_as_chain!(DeclarationError);

/// Most bytes of declarations in a header: hostile BTF could otherwise ask for any number.
const MAX_LENGTH: usize = 4 << 20;
/// What every part of a declaration counts for at least, so that the work is bounded too.
const PART: usize = 16;
/// How deep types may nest in one declaration.
const MAX_DEPTH: usize = 64;

/// Why a type can not be declared.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeclarationError {
    /// A type that no variable can have.
    #[error("BTF type {0} is not the type of a variable")]
    Kind(TypeId),
    /// Longer than any real one.
    #[error("the declarations are longer than 4 MiB")]
    TooLong,
    /// Types inside types without end.
    #[error("its types nest too deep")]
    TooDeep,
}

/// Typedefs of the kernel that a user's program need not have, and their names in
/// `<linux/types.h>`, which every skeleton includes.
const KERNEL_INTEGERS: [(&str, &str); 8] = [
    ("s8", "__s8"),
    ("s16", "__s16"),
    ("s32", "__s32"),
    ("s64", "__s64"),
    ("u8", "__u8"),
    ("u16", "__u16"),
    ("u32", "__u32"),
    ("u64", "__u64"),
];

/// Integer types of C as compilers for BPF call them, and their bytes there. BTF of other
/// languages has other names.
const INTEGERS: [(&str, u32); 27] = [
    ("__int128", 16),
    ("__int128 unsigned", 16),
    ("char", 1),
    ("int", 4),
    ("long", 8),
    ("long int", 8),
    ("long long", 8),
    ("long long int", 8),
    ("long long unsigned int", 8),
    ("long unsigned int", 8),
    ("short", 2),
    ("short int", 2),
    ("short unsigned int", 2),
    ("signed __int128", 16),
    ("signed char", 1),
    ("signed int", 4),
    ("signed short", 2),
    ("unsigned", 4),
    ("unsigned __int128", 16),
    ("unsigned char", 1),
    ("unsigned int", 4),
    ("unsigned long", 8),
    ("unsigned long int", 8),
    ("unsigned long long", 8),
    ("unsigned long long int", 8),
    ("unsigned short", 2),
    ("unsigned short int", 2),
];

/// Floating-point types of C.
const FLOATS: [&str; 3] = ["double", "float", "long double"];

/// Writes declarations of one header. Enumerators share one name space there, so a name that
/// comes again gets a number, as in bpftool's headers.
#[derive(Debug)]
pub(super) struct Declarer<'a> {
    btf: &'a Btf,
    /// How often a name of an enumerator came.
    enumerators: HashMap<String, u32>,
    /// What enumerators are called in the header.
    taken_enumerators: HashSet<String>,
    /// Names of members of the structs that are being written, the innermost last.
    scopes: Vec<Names>,
    /// What could not keep its name.
    pub(super) renamed: Renamed,
    /// Bytes that may still be written.
    budget: usize,
}

/// Whether `const`, `volatile` and `restrict` are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Qualifiers {
    Drop,
    Keep,
}

/// Where in the header a declaration stands.
#[derive(Debug, Clone, Copy)]
struct Place {
    qualifiers: Qualifiers,
    /// Tabs in front of the line.
    indent: usize,
    depth: usize,
    /// Whether it is a struct or union without a name inside of another one, which its members
    /// belong to.
    unnamed: bool,
}

impl Place {
    fn deeper(self) -> Result<Self, DeclarationError> {
        if self.depth >= MAX_DEPTH {
            return Err(DeclarationError::TooDeep);
        }
        Ok(Self {
            depth: self.depth + 1,
            ..self
        })
    }
}

impl<'a> Declarer<'a> {
    pub(super) fn new(btf: &'a Btf) -> Self {
        Self {
            btf,
            enumerators: HashMap::new(),
            taken_enumerators: HashSet::new(),
            scopes: Vec::new(),
            renamed: Renamed::default(),
            budget: MAX_LENGTH,
        }
    }

    /// `type name`, without a semicolon. The name is one of C.
    pub(super) fn declare(
        &mut self,
        id: TypeId,
        name: &str,
        qualifiers: Qualifiers,
        indent: usize,
    ) -> Result<String, DeclarationError> {
        let place = Place {
            qualifiers,
            indent,
            depth: 0,
            unnamed: false,
        };
        self.wrap(id, name.to_owned(), place)
    }

    /// Works from the name outwards: each layer of the type goes around what is there.
    fn wrap(
        &mut self,
        mut id: TypeId,
        mut inner: String,
        place: Place,
    ) -> Result<String, DeclarationError> {
        let place = place.deeper()?;
        // Qualifiers met since the last layer: they belong to the next one inwards.
        let mut qualifiers = String::new();
        for _ in 0..MAX_DEPTH {
            let t = self.btf.ty(id);
            match t.kind() {
                Kind::Const | Kind::Volatile | Kind::Restrict => {
                    if place.qualifiers == Qualifiers::Keep {
                        qualifiers.push_str(t.kind().name());
                        qualifiers.push(' ');
                    }
                    id = t.type_ref();
                }
                // Tags are for the verifier; compilers of user space do not know them.
                Kind::TypeTag => id = t.type_ref(),
                Kind::Ptr => {
                    inner = format!("*{qualifiers}{inner}");
                    qualifiers.clear();
                    id = t.type_ref();
                    let pointee = self.skip_qualifiers(id);
                    if matches!(pointee.kind(), Kind::Array | Kind::FuncProto) {
                        inner = format!("({inner})");
                    }
                }
                Kind::Array => {
                    // Qualifiers of an array are those of its elements.
                    let _ = write!(inner, "[{}]", t.array_len());
                    id = t.array_element();
                }
                Kind::FuncProto => {
                    qualifiers.clear();
                    let arguments = self.arguments(t, place)?;
                    let _ = write!(inner, "({arguments})");
                    id = t.type_ref();
                }
                _ => {
                    let base = self.base(t, place)?;
                    let space = if inner.is_empty() { "" } else { " " };
                    let text = format!("{qualifiers}{base}{space}{inner}");
                    self.spend(text.len())?;
                    return Ok(text);
                }
            }
        }
        Err(DeclarationError::TooDeep)
    }

    fn spend(&mut self, bytes: usize) -> Result<(), DeclarationError> {
        self.budget = self
            .budget
            .checked_sub(bytes.max(PART))
            .ok_or(DeclarationError::TooLong)?;
        Ok(())
    }

    fn skip_qualifiers(&self, mut id: TypeId) -> Type<'a> {
        for _ in 0..MAX_DEPTH {
            let t = self.btf.ty(id);
            if !t.kind().is_modifier() {
                break;
            }
            id = t.type_ref();
        }
        self.btf.ty(id)
    }

    fn arguments(&mut self, t: Type<'a>, place: Place) -> Result<String, DeclarationError> {
        let params: Vec<_> = t.params().collect();
        if params.is_empty() || (params.len() == 1 && params[0].type_id.is_void()) {
            return Ok("void".to_owned());
        }
        let mut texts = Vec::with_capacity(params.len());
        let mut scope = Names::default();
        for (i, param) in params.iter().enumerate() {
            if param.type_id.is_void() && i + 1 == params.len() {
                texts.push("...".to_owned());
            } else {
                let name = match self.btf.str(param.name_off) {
                    Some(raw) if !raw.is_empty() => self.renamed.name(raw, &mut scope),
                    _ => String::new(),
                };
                texts.push(self.wrap(param.type_id, name, place)?);
            }
        }
        Ok(texts.join(", "))
    }

    /// The type that everything else is wrapped around.
    fn base(&mut self, t: Type<'a>, place: Place) -> Result<String, DeclarationError> {
        let name = t.name();
        Ok(match t.kind() {
            Kind::Void => "void".to_owned(),
            // C++ has no `_Bool`, and `bpf.h` includes `<stdbool.h>`.
            Kind::Int if name == "_Bool" => "bool".to_owned(),
            Kind::Int => integer(t)?,
            Kind::Float if FLOATS.contains(&name) => name.to_owned(),
            Kind::Float => match t.size() {
                4 => "float".to_owned(),
                8 => "double".to_owned(),
                _ => return Err(DeclarationError::Kind(t.id)),
            },
            // A word of C++ and of C23, and a name in `<stdbool.h>`.
            Kind::Typedef if name == "bool" => name.to_owned(),
            Kind::Typedef => match KERNEL_INTEGERS.iter().find(|(kernel, _)| *kernel == name) {
                Some((_, user)) => (*user).to_owned(),
                None => self.tag(name),
            },
            Kind::Fwd if t.kind_flag() => format!("union {}", self.tag(name)),
            Kind::Fwd => format!("struct {}", self.tag(name)),
            Kind::Struct if !name.is_empty() => format!("struct {}", self.tag(name)),
            Kind::Union if !name.is_empty() => format!("union {}", self.tag(name)),
            Kind::Enum | Kind::Enum64 if !name.is_empty() => format!("enum {}", self.tag(name)),
            Kind::Struct | Kind::Union => self.aggregate(t, place)?,
            Kind::Enum | Kind::Enum64 => self.enumeration(t, place)?,
            _ => return Err(DeclarationError::Kind(t.id)),
        })
    }

    /// A type's name. Whoever includes the header defines it, so it is the same each time.
    fn tag(&mut self, raw: &str) -> String {
        let name = c_name(raw);
        self.renamed.note(raw, &name);
        name
    }

    /// What a member is called. One without a name is an unnamed struct or union, whose members
    /// belong to the outer one, or an unnamed bit-field; C has no other.
    fn member_name(&mut self, raw: &str, type_id: TypeId, bit_field: bool) -> String {
        let inside = || {
            let t = self.skip_qualifiers(type_id);
            matches!(t.kind(), Kind::Struct | Kind::Union) && t.name().is_empty()
        };
        if raw.is_empty() && (bit_field || inside()) {
            return String::new();
        }
        match self.scopes.last_mut() {
            Some(scope) => self.renamed.name(raw, scope),
            None => c_name(raw),
        }
    }

    /// An anonymous struct or union with its members, at the offsets that BTF gives them.
    fn aggregate(&mut self, t: Type<'a>, place: Place) -> Result<String, DeclarationError> {
        let is_struct = t.kind() == Kind::Struct;
        let packed = is_struct && self.is_packed(t);
        let widest = u64::from(self.btf.align_of(t.id).unwrap_or(1));
        let inner = Place {
            indent: place.indent + 1,
            unnamed: false,
            ..place
        };
        if !place.unnamed {
            self.scopes.push(Names::default());
        }
        let tabs = "\t".repeat(inner.indent);
        let mut text = format!("{} {{\n", t.kind().name());
        let mut end: u64 = 0;
        let mut after_bit_field = false;
        for member in t.members() {
            let start = u64::from(member.bit_offset);
            let bit_field = member.bit_size != 0;
            if is_struct {
                let align = if packed {
                    1
                } else {
                    u64::from(self.btf.align_of(member.type_id).unwrap_or(1))
                };
                let continued = bit_field && after_bit_field;
                self.push_gap(&mut text, &tabs, (end, start), (align, widest), continued)?;
            }
            let raw = self.btf.str(member.name_off).unwrap_or("");
            let name = self.member_name(raw, member.type_id, bit_field);
            let inner = Place {
                unnamed: name.is_empty(),
                ..inner
            };
            let declaration = self.wrap(member.type_id, name, inner)?;
            text.push_str(&tabs);
            text.push_str(&declaration);
            if bit_field {
                let _ = write!(text, ": {}", member.bit_size);
                end = start + u64::from(member.bit_size);
            } else {
                let size = self.btf.resolve_size(member.type_id).unwrap_or(0);
                end = start + u64::from(size) * 8;
            }
            after_bit_field = bit_field;
            text.push_str(";\n");
        }
        if is_struct {
            let whole = u64::from(t.size()) * 8;
            self.push_gap(&mut text, &tabs, (end, whole), (widest, widest), false)?;
        }
        if !place.unnamed {
            self.scopes.pop();
        }
        let _ = write!(text, "{}}}", "\t".repeat(place.indent));
        if packed {
            text.push_str(" __attribute__((packed))");
        }
        Ok(text)
    }

    /// Whether the layout is one that C gives to a packed struct only.
    fn is_packed(&self, t: Type<'a>) -> bool {
        let mut widest = 1;
        for member in t.members() {
            let align = self.btf.align_of(member.type_id).unwrap_or(1);
            if member.bit_size == 0 && !member.bit_offset.is_multiple_of(8 * align) {
                return true;
            }
            widest = widest.max(align);
        }
        !t.size().is_multiple_of(widest)
    }

    fn enumeration(&mut self, t: Type<'a>, place: Place) -> Result<String, DeclarationError> {
        let tabs = "\t".repeat(place.indent + 1);
        let wide = t.kind() == Kind::Enum64;
        let mut text = "enum {\n".to_owned();
        let mut fits_int = true;
        for constant in t.enumerators() {
            let raw = self.btf.str(constant.name_off).unwrap_or("");
            self.spend(raw.len())?;
            let name = self.enumerator(raw);
            let _ = write!(text, "{tabs}{name}");
            let value = constant.value;
            fits_int &= value >> 32 == 0;
            let _ = match (t.kind_flag(), wide) {
                (true, false) => writeln!(text, " = {},", value.cast_signed()),
                (false, false) => writeln!(text, " = {value},"),
                (true, true) => writeln!(text, " = {}LL,", value.cast_signed()),
                (false, true) => writeln!(text, " = {value}ULL,"),
            };
        }
        let _ = write!(text, "{}}}", "\t".repeat(place.indent));
        match t.size() {
            1 => text.push_str(" __attribute__((mode(byte)))"),
            8 if !wide || fits_int => text.push_str(" __attribute__((mode(word)))"),
            _ => {}
        }
        Ok(text)
    }

    /// What an enumerator is called.
    fn enumerator(&mut self, raw: &str) -> String {
        let plain = c_name(raw);
        let count = self.enumerators.entry(plain.clone()).or_insert(0);
        loop {
            *count += 1;
            let name = match *count {
                1 => plain.clone(),
                count => format!("{plain}___{count}"),
            };
            if self.taken_enumerators.insert(name.clone()) {
                self.renamed.note(raw, &name);
                return name;
            }
        }
    }

    /// Fills the gap between two members, both in bits, where C would not leave it by itself.
    /// `align` is that of the next member, `widest` that of the struct, bytes.
    fn push_gap(
        &mut self,
        text: &mut String,
        tabs: &str,
        (end, next): (u64, u64),
        (align, widest): (u64, u64),
        bit_field: bool,
    ) -> Result<(), DeclarationError> {
        if end >= next {
            return Ok(());
        }
        let in_bits = bit_field || !end.is_multiple_of(8) || !next.is_multiple_of(8);
        if !in_bits && end.next_multiple_of(align.max(1) * 8) == next {
            return Ok(());
        }
        let mut at = end;
        while at < next {
            let (unit, bits) = if in_bits {
                // Never over the edge of a unit of 32 bits, where C would begin a new one.
                ("int", next.min((at / 32 + 1) * 32) - at)
            } else {
                // The widest unit that neither crosses `next` nor asks for more alignment than
                // there is.
                UNITS
                    .into_iter()
                    .find(|(_, bits)| {
                        *bits <= widest.max(1) * 8 && at.is_multiple_of(*bits) && at + bits <= next
                    })
                    .unwrap_or(("char", 8))
            };
            self.spend(tabs.len())?;
            let _ = writeln!(text, "{tabs}{unit}: {bits};");
            at += bits;
        }
        Ok(())
    }
}

/// An integer type as C calls it; by its size and sign, if its name is not one of C.
fn integer(t: Type<'_>) -> Result<String, DeclarationError> {
    let name = t.name();
    if INTEGERS.contains(&(name, t.size())) {
        return Ok(name.to_owned());
    }
    let name = match (t.size(), t.int_is_bool(), t.int_is_signed()) {
        (1, true, _) => "bool",
        (1, _, false) => "__u8",
        (1, _, true) => "__s8",
        (2, _, false) => "__u16",
        (2, _, true) => "__s16",
        (4, _, false) => "__u32",
        (4, _, true) => "__s32",
        (8, _, false) => "__u64",
        (8, _, true) => "__s64",
        (16, _, false) => "unsigned __int128",
        (16, _, true) => "__int128",
        _ => return Err(DeclarationError::Kind(t.id)),
    };
    Ok(name.to_owned())
}

/// Types of unnamed bit-fields and their bits, widest first.
const UNITS: [(&str, u64); 4] = [("__u64", 64), ("int", 32), ("short", 16), ("char", 8)];

#[cfg(test)]
mod tests {
    use super::*;
    use bpfseal_object::Endian;
    use proptest::prelude::*;

    /// A section of type information: types as words, strings by offset 1, 3, 5, … of one letter.
    fn btf(types: &[u32]) -> Btf {
        let strings = b"\0a\0b\0c\0d\0e\0int\0";
        let mut bytes = vec![0x9f, 0xeb, 1, 0, 24, 0, 0, 0];
        let len = u32::try_from(types.len() * 4).unwrap();
        for word in [0, len, len, u32::try_from(strings.len()).unwrap()] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(types.iter().flat_map(|word| word.to_le_bytes()));
        bytes.extend(strings);
        Btf::parse(&bytes, Endian::Little).unwrap()
    }

    const INT: [u32; 4] = [11, 1 << 24, 4, 32 | 1 << 24];
    const PTR: u32 = 2 << 24;
    const CONST: u32 = 10 << 24;

    #[track_caller]
    fn check(types: &[u32], id: u32, qualifiers: Qualifiers, expect: &str) {
        let btf = btf(&[&INT[..], types].concat());
        let text = Declarer::new(&btf).declare(TypeId(id), "x", qualifiers, 0);
        assert_eq!(text.unwrap(), expect);
    }

    #[test]
    fn layers_go_around_the_name() {
        use Qualifiers::{Drop, Keep};
        check(&[], 1, Keep, "int x");
        check(&[0, PTR, 1], 2, Keep, "int *x");
        // const pointer, and pointer to const
        check(&[0, PTR, 1, 0, CONST, 2], 3, Keep, "int *const x");
        check(&[0, CONST, 1, 0, PTR, 2], 3, Keep, "const int *x");
        check(&[0, CONST, 1, 0, PTR, 2], 3, Drop, "int *x");
        // array of pointers, and pointer to array
        let array = 3 << 24;
        check(&[0, PTR, 1, 0, array, 0, 2, 1, 5], 3, Keep, "int *x[5]");
        check(&[0, array, 0, 1, 1, 5, 0, PTR, 2], 3, Keep, "int (*x)[5]");
        // pointer to function without arguments, and with variable ones
        let function = 13 << 24;
        check(&[0, function, 1, 0, PTR, 2], 3, Keep, "int (*x)(void)");
        check(
            &[0, function | 2, 0, 1, 1, 0, 0, 0, PTR, 2],
            3,
            Keep,
            "void (*x)(int a, ...)",
        );
    }

    #[test]
    fn gaps_of_any_size_end() {
        // A struct with one member whose offset is as large as it can be.
        let structure = 4 << 24 | 1;
        let types = [&INT[..], &[0, structure, u32::MAX, 1, 1, u32::MAX - 4]].concat();
        let btf = btf(&types);
        let result = Declarer::new(&btf).declare(TypeId(2), "x", Qualifiers::Drop, 0);
        assert_eq!(result, Err(DeclarationError::TooLong));
    }

    /// Names that anybody may have written into BTF.
    fn hostile() -> impl Strategy<Value = String> {
        prop_oneof![
            "[ -~]{0,12}",
            "[a-c\n*/\\\\;{}()#\"]{0,8}",
            proptest::sample::select(vec![
                "int",
                "class",
                "__LINE__",
                "*/ x",
                "a; } evil; {",
                "a\n#define b",
                "??/",
                "é",
                "",
            ])
            .prop_map(str::to_owned),
        ]
    }

    proptest! {
        /// Whatever things are called, the declaration has the same tokens.
        #[test]
        fn names_do_not_leave_their_place(names in proptest::collection::vec(hostile(), 7)) {
            let shape = |names: &[String]| {
                let mut strings = b"\0int\0".to_vec();
                let at: Vec<u32> = names
                    .iter()
                    .map(|name| {
                        let at = u32::try_from(strings.len()).unwrap();
                        strings.extend(name.bytes().filter(|b| *b != 0));
                        strings.push(0);
                        at
                    })
                    .collect();
                let function = 13 << 24 | 1;
                let types = [
                    1, 1 << 24, 4, 32 | 1 << 24,
                    // 2: a typedef, 3: a function with a parameter, 4: a pointer to it
                    at[0], 8 << 24, 1,
                    0, function, 1, at[1], 1,
                    0, PTR, 3,
                    // 5: an enumeration, 6: a struct that has all of them
                    0, 6 << 24 | 1, 4, at[2], 7,
                    0, 4 << 24 | 3, 24, at[3], 2, 0, at[4], 4, 64, at[5], 5, 128,
                ];
                let len = u32::try_from(types.len() * 4).unwrap();
                let mut bytes = vec![0x9f, 0xeb, 1, 0, 24, 0, 0, 0];
                for word in [0, len, len, u32::try_from(strings.len()).unwrap()] {
                    bytes.extend(word.to_le_bytes());
                }
                bytes.extend(types.iter().flat_map(|word| word.to_le_bytes()));
                bytes.extend(&strings);
                let btf = Btf::parse(&bytes, Endian::Little).ok()?;
                let mut declarer = Declarer::new(&btf);
                let text = declarer.declare(TypeId(6), "x", Qualifiers::Keep, 0).ok()?;
                let list = declarer.renamed.to_string();
                // One comment, which ends at its end.
                assert!(list.is_empty() || list.find("*/") == Some(list.len() - 3), "{list}");
                let mut shape = String::new();
                let mut word = String::new();
                for c in text.chars().chain([' ']) {
                    if c.is_ascii_alphanumeric() || c == '_' {
                        word.push(c);
                        continue;
                    }
                    let known = ["struct", "enum", "int"].contains(&&*word);
                    shape.push_str(match &*word {
                        "" => "",
                        word if known => word,
                        number if number.starts_with(|c: char| c.is_ascii_digit()) => number,
                        name => {
                            assert!(super::super::names::is_name(name), "{name}");
                            "NAME"
                        }
                    });
                    word.clear();
                    shape.push(c);
                }
                Some(shape)
            };
            let plain = ["tt", "p", "e", "a", "b", "c", "d"].map(str::to_owned);
            if let Some(found) = shape(&names) {
                // A parameter needs no name.
                let wanted = shape(&plain).unwrap();
                let found = found.replace("(int)", "(int NAME)");
                prop_assert_eq!(found, wanted);
            }
        }
    }
}
