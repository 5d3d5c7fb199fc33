//! Values of `.kconfig` externs, from the kernel's version and configuration.
//!
//! Source of the rules: `bpf_object__resolve_externs` and `set_kcfg_value_*` of libbpf 1.8.
//! Values are written little-endian whatever the object's byte order, as the reference does on
//! the hosts that it is built on. A value that cannot be had is zero, and its reason is kept.

use bpfseal_object::{Extern, ExternKind, KconfigType};

use super::Unresolved;
use crate::Host;

/// Longest line that is read at once (`PATH_MAX` − 1, the reference's buffer); the rest of a
/// longer one counts as a line of its own.
const MAX_LINE: usize = 4095;

/// The place of a value.
struct Slot<'a> {
    name: &'a str,
    value_type: KconfigType,
    signed: bool,
    place: &'a mut [u8],
}

/// Fills in the values of all kconfig externs; those that have none come back in the order in
/// which the reference would stumble over them.
pub(super) fn fill(externs: &[Extern], data: &mut [u8], host: &dyn Host) -> Vec<Unresolved> {
    let mut unresolved = Vec::new();
    // What has a value, or a reason why it has none.
    let mut told = vec![false; externs.len()];
    let mut need_config = false;
    for (i, ext) in externs.iter().enumerate() {
        let Some(mut slot) = slot(ext, data) else {
            continue;
        };
        if ext.name.starts_with("CONFIG_") {
            need_config = true;
            continue;
        }
        told[i] = true;
        let set =
            fixed_value(ext, host).and_then(|value| slot.set_number(value, &value.to_string()));
        unresolved.extend(set.err());
    }
    if need_config {
        match host.kconfig() {
            Ok(config) => {
                let mut malformed = false;
                for line in lines(&config) {
                    let fault = match setting(line) {
                        Some(Ok((name, value))) => set(name, value, externs, &mut told, data).err(),
                        // One tells as much as a thousand.
                        Some(Err(fault)) if !std::mem::replace(&mut malformed, true) => Some(fault),
                        Some(Err(_)) | None => None,
                    };
                    unresolved.extend(fault);
                }
            }
            Err(error) => {
                unresolved.push(Unresolved::Host {
                    name: first_config(externs),
                    map: None,
                    reason: error.reason(),
                });
                return unresolved;
            }
        }
    }
    for (ext, told) in externs.iter().zip(&told) {
        if matches!(ext.kind, ExternKind::Kconfig { .. }) && !told && !ext.weak {
            unresolved.push(Unresolved::Missing {
                name: ext.name.clone(),
                reason: "the kernel configuration does not set it".to_owned(),
            });
        }
    }
    unresolved
}

/// A value that is not in the kernel's configuration.
fn fixed_value(ext: &Extern, host: &dyn Host) -> Result<u64, Unresolved> {
    match ext.name.as_str() {
        "LINUX_KERNEL_VERSION" => {
            host.kernel_version()
                .map(u64::from)
                .map_err(|error| Unresolved::Host {
                    name: ext.name.clone(),
                    map: None,
                    reason: error.reason(),
                })
        }
        // A loader is made for a kernel that has every feature.
        "LINUX_HAS_BPF_COOKIE" | "LINUX_HAS_SYSCALL_WRAPPER" => Ok(1),
        name if name.starts_with("LINUX_") && ext.weak => Ok(0),
        _ => Err(Unresolved::Missing {
            name: ext.name.clone(),
            reason: "only CONFIG_… and a few LINUX_… values are known".to_owned(),
        }),
    }
}

fn first_config(externs: &[Extern]) -> String {
    externs
        .iter()
        .map(|e| &e.name)
        .find(|n| n.starts_with("CONFIG_"))
        .cloned()
        .unwrap_or_default()
}

fn slot<'a>(ext: &'a Extern, data: &'a mut [u8]) -> Option<Slot<'a>> {
    let ExternKind::Kconfig {
        value_type,
        size,
        offset,
        signed,
        ..
    } = ext.kind
    else {
        return None;
    };
    Some(Slot {
        name: &ext.name,
        value_type,
        signed,
        place: data.get_mut(offset as usize..offset as usize + size as usize)?,
    })
}

fn lines(config: &[u8]) -> impl Iterator<Item = &[u8]> {
    config
        .split(|&b| b == b'\n')
        .flat_map(|line| line.chunks(MAX_LINE))
}

/// Name and value.
type Setting<'l> = (&'l [u8], &'l [u8]);

/// What a line sets, if it is one for a setting.
fn setting(line: &[u8]) -> Option<Result<Setting<'_>, Unresolved>> {
    if !line.starts_with(b"CONFIG_") {
        return None;
    }
    let malformed = |what| Unresolved::KconfigValue {
        name: String::from_utf8_lossy(line).into_owned(),
        value: String::new(),
        what,
    };
    let Some(eq) = line.iter().position(|&b| b == b'=') else {
        return Some(Err(malformed("is missing: the line has no `=`")));
    };
    let (name, value) = (&line[..eq], &line[eq + 1..]);
    Some(if value.is_empty() {
        Err(malformed("is empty"))
    } else {
        Ok((name, value))
    })
}

/// Gives an extern of that name its value, if there is one without.
fn set(
    name: &[u8],
    value: &[u8],
    externs: &[Extern],
    told: &mut [bool],
    data: &mut [u8],
) -> Result<(), Unresolved> {
    let found = externs
        .iter()
        .position(|e| e.name.as_bytes() == name)
        .filter(|&i| !told[i]);
    let Some(index) = found else { return Ok(()) };
    let Some(mut slot) = slot(&externs[index], data) else {
        return Ok(());
    };
    told[index] = true;
    let text = String::from_utf8_lossy(value);
    match value[0] {
        letter @ (b'y' | b'n' | b'm') => slot.set_tristate(letter, &text)?,
        b'"' => slot.set_string(value, &text)?,
        _ => {
            let number =
                parse_number(&text).ok_or_else(|| slot.wrong(&text, "is not an integer"))?;
            if !matches!(slot.value_type, KconfigType::Int | KconfigType::Char) {
                return Err(slot.wrong(&text, "needs an integer type"));
            }
            slot.set_number(number, &text)?;
        }
    }
    Ok(())
}

/// A number as C's `strtoull` with base 0 reads it, whole.
fn parse_number(text: &str) -> Option<u64> {
    let text = text.trim_start_matches([' ', '\t', '\r', '\x0b', '\x0c']);
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (digits, radix) = match digits.as_bytes() {
        [b'0', b'x' | b'X', _, ..] => (&digits[2..], 16),
        [b'0', _, ..] => (&digits[1..], 8),
        _ => (digits, 10),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let value = u64::from_str_radix(digits, radix).ok()?;
    Some(if negative {
        value.wrapping_neg()
    } else {
        value
    })
}

impl Slot<'_> {
    fn wrong(&self, value: &str, what: &'static str) -> Unresolved {
        Unresolved::KconfigValue {
            name: self.name.to_owned(),
            value: value.to_owned(),
            what,
        }
    }

    fn set_tristate(&mut self, letter: u8, text: &str) -> Result<(), Unresolved> {
        match self.value_type {
            KconfigType::Bool if letter == b'm' => {
                return Err(self.wrong(text, "needs a tristate or char"));
            }
            KconfigType::Bool => self.place[0] = u8::from(letter == b'y'),
            KconfigType::Tristate => {
                let value: u32 = match letter {
                    b'y' => 1,
                    b'm' => 2,
                    _ => 0,
                };
                self.place[..4].copy_from_slice(&value.to_le_bytes());
            }
            KconfigType::Char => self.place[0] = letter,
            KconfigType::Int | KconfigType::CharArray => {
                return Err(self.wrong(text, "needs a bool, tristate or char"));
            }
        }
        Ok(())
    }

    fn set_string(&mut self, value: &[u8], text: &str) -> Result<(), Unresolved> {
        if self.value_type != KconfigType::CharArray {
            return Err(self.wrong(text, "needs an array of char"));
        }
        let inner = value
            .strip_prefix(b"\"")
            .and_then(|v| v.strip_suffix(b"\""))
            .ok_or_else(|| self.wrong(text, "has no closing quote"))?;
        // Cut to leave room for the NUL; what was there before stays behind it, as zeroes do.
        let kept = inner.len().min(self.place.len() - 1);
        self.place[..kept].copy_from_slice(&inner[..kept]);
        self.place[kept] = 0;
        Ok(())
    }

    fn set_number(&mut self, value: u64, text: &str) -> Result<(), Unresolved> {
        match self.value_type {
            KconfigType::Int | KconfigType::Char => {}
            KconfigType::Bool if value <= 1 => {}
            KconfigType::Bool => return Err(self.wrong(text, "is neither 0 nor 1")),
            KconfigType::Tristate | KconfigType::CharArray => {
                return Err(self.wrong(text, "needs an integer type"));
            }
        }
        let size = self.place.len();
        let bits = size * 8;
        let fits = match (size, self.signed) {
            (8, _) => true,
            (_, true) => value.wrapping_add(1 << (bits - 1)) < 1 << bits,
            (_, false) => value >> bits == 0,
        };
        if !fits {
            return Err(self.wrong(text, "does not fit the extern's size"));
        }
        let bytes = value.to_le_bytes();
        self.place.copy_from_slice(&bytes[..size]);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: Option<u64>) {
        assert_eq!(parse_number(text), expect, "{text}");
    }

    #[test]
    fn numbers_are_read_as_in_c() {
        check("250", Some(250));
        check("0x10", Some(16));
        check("017", Some(15));
        check("0", Some(0));
        check("-1", Some(u64::MAX));
        check("12a", None);
        check("", None);
        check("018", None);
        check("0xffffffff81000000", Some(0xffff_ffff_8100_0000));
    }
}
