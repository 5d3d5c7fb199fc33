//! Options that name a kernel's symbols: its BTF and its symbol table.

use std::path::PathBuf;

use bpfseal::model::{KernelSymbols, Symbols};
use bpfseal::object::Endian;

use crate::failure::{Failure, Report};
use crate::files;

#[derive(Debug, Default, clap::Args)]
pub(crate) struct SymbolArgs {
    /// BTF of the kernel that it is for, such as /sys/kernel/btf/vmlinux: says which types and
    /// functions are there. What only modules have is not in it
    #[arg(long, value_name = "FILE")]
    kernel_btf: Option<PathBuf>,

    /// Symbol table of that kernel, such as /proc/kallsyms: says which symbols have an address
    #[arg(long, value_name = "FILE")]
    kernel_symbols: Option<PathBuf>,
}

impl SymbolArgs {
    /// Whether any is given.
    pub(crate) fn given(&self) -> bool {
        self.kernel_btf.is_some() || self.kernel_symbols.is_some()
    }

    /// The symbols: all, where none are given.
    pub(crate) fn load(&self, endian: Endian) -> Result<Symbols, Failure> {
        if !self.given() {
            return Ok(Symbols::All);
        }
        let mut symbols = KernelSymbols::default();
        if let Some(path) = &self.kernel_btf {
            let bytes = files::read(path)?;
            let place = files::shown(path);
            symbols.add_btf(&bytes, endian).map_err(|e| {
                Report::new(
                    &place,
                    &e,
                    "give the kernel's own BTF, /sys/kernel/btf/vmlinux",
                )
            })?;
        }
        if let Some(path) = &self.kernel_symbols {
            let bytes = files::read(path)?;
            if symbols.add_kallsyms(&String::from_utf8_lossy(&bytes)) == 0 {
                let error = std::io::Error::other("there is no symbol in it");
                let help = "give lines of address, kind and name, as /proc/kallsyms has them";
                return Err(Report::new(&files::shown(path), &error, help).into());
            }
        }
        Ok(Symbols::Of(symbols))
    }
}
