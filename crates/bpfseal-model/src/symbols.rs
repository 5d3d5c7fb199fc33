//! Symbols of a kernel: which of those that loaders look up are there.
//!
//! A loader names functions, types and variables of the kernel, and looks them up when it runs. By
//! default every symbol is there, as a symbol; with the BTF and the symbol table of a kernel it can
//! be said what that kernel lacks.

use std::collections::BTreeSet;

use bpfseal_object::Endian;
use bpfseal_object::btf::Btf;

/// Which symbols there are.
#[derive(Debug, Clone, Default)]
pub enum Symbols {
    /// All that are asked for.
    #[default]
    All,
    /// All but these.
    AllBut(BTreeSet<Vec<u8>>),
    /// Those of a kernel.
    Of(KernelSymbols),
}

/// The symbols of a kernel.
#[derive(Debug, Clone, Default)]
pub struct KernelSymbols {
    /// Names and kinds of its BTF; without one, all are taken to be there.
    types: Option<BTreeSet<(Vec<u8>, i32)>>,
    /// Names that have an address; without them, likewise.
    addresses: Option<BTreeSet<Vec<u8>>>,
}

impl KernelSymbols {
    /// A kernel that has nothing that a loader looks up.
    #[must_use]
    pub fn none() -> Self {
        Self {
            types: Some(BTreeSet::new()),
            addresses: Some(BTreeSet::new()),
        }
    }

    /// Adds the BTF of a kernel, such as `/sys/kernel/btf/vmlinux`. What only its modules have is
    /// not in it.
    ///
    /// # Errors
    /// When it is malformed.
    pub fn add_btf(&mut self, bytes: &[u8], endian: Endian) -> Result<(), bpfseal_object::Error> {
        let btf = Btf::parse(bytes, endian)?;
        let types = self.types.get_or_insert_default();
        // Kinds are below 32.
        let named = btf.types().filter(|ty| !ty.name().is_empty());
        types.extend(named.map(|ty| {
            let kind = i32::try_from(ty.kind_number()).unwrap_or(-1);
            (ty.name().as_bytes().to_vec(), kind)
        }));
        Ok(())
    }

    /// Adds a symbol table as text, lines of address, kind, name: `/proc/kallsyms`. How many
    /// symbols it has.
    pub fn add_kallsyms(&mut self, text: &str) -> usize {
        let name = |line: &str| {
            let mut words = line.split_whitespace();
            u64::from_str_radix(words.next()?, 16).ok()?;
            Some(words.nth(1)?.as_bytes().to_vec())
        };
        let names: Vec<Vec<u8>> = text.lines().filter_map(name).collect();
        let count = names.len();
        self.addresses.get_or_insert_default().extend(names);
        count
    }
}

impl Symbols {
    /// Whether there is a type of this name and `BTF_KIND_*`.
    pub(crate) fn has_type(&self, name: &[u8], kind: i32) -> bool {
        self.has(name, |kernel| {
            let types = kernel.types.as_ref()?;
            Some(types.contains(&(name.to_vec(), kind)))
        })
    }

    /// Whether there is an address of this name.
    pub(crate) fn has_address(&self, name: &[u8]) -> bool {
        self.has(name, |kernel| {
            Some(kernel.addresses.as_ref()?.contains(name))
        })
    }

    /// `of` says what a kernel has, if that is known.
    fn has(&self, name: &[u8], of: impl Fn(&KernelSymbols) -> Option<bool>) -> bool {
        match self {
            Self::All => true,
            Self::AllBut(missing) => !missing.contains(name),
            Self::Of(kernel) => of(kernel).unwrap_or(true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_given_is_taken_to_be_there() {
        let mut kernel = KernelSymbols::default();
        kernel
            .add_kallsyms("ffffffff81000000 T _stext\nffffffff81000040 t vfs_read\tmodule\n\nodd");
        let symbols = Symbols::Of(kernel);
        assert!(symbols.has_type(b"task_struct", 4));
        assert!(symbols.has_address(b"vfs_read"));
        assert!(!symbols.has_address(b"vfs_write"));
    }
}
