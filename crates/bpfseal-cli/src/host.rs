//! Values of the host: given on the command line, or else of the running host.

use std::path::PathBuf;

use bpfseal::loader::{Host, HostDependency, HostError};
use bpfseal::{RunningHost, parse_version};
use clap::Args;

use crate::failure::Failure;
use crate::files;

/// What an object can depend on. Without these, the running host is asked, and it is said so.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Values of the host (for objects that depend on them)")]
pub(crate) struct HostArgs {
    /// Kernel version for LINUX_KERNEL_VERSION, such as 7.3.4
    #[arg(long, value_name = "VERSION")]
    kernel_version: Option<String>,

    /// Kernel configuration for CONFIG_ values, as text
    #[arg(long, value_name = "FILE")]
    kconfig: Option<PathBuf>,

    /// Kernel symbols for ksyms without a type, as in /proc/kallsyms
    #[arg(long, value_name = "FILE")]
    kallsyms: Option<PathBuf>,

    /// Count of possible CPUs for perf event arrays without a size
    #[arg(long, value_name = "N")]
    possible_cpus: Option<u32>,

    /// Page size in bytes for ring buffers
    #[arg(long, value_name = "BYTES")]
    page_size: Option<u32>,

    /// Take nothing from the running host; fail where it would be needed
    #[arg(long)]
    no_host: bool,
}

/// The values in use.
#[derive(Debug, Clone, Default)]
pub(crate) struct Values {
    kernel_version: Option<u32>,
    kconfig: Option<Vec<u8>>,
    kallsyms: Option<Vec<u8>>,
    possible_cpus: Option<u32>,
    page_size: Option<u32>,
    no_host: bool,
}

impl HostArgs {
    /// Reads what was given.
    pub(crate) fn load(&self) -> Result<Values, Failure> {
        let kernel_version = match &self.kernel_version {
            Some(text) => Some(
                parse_version(text)
                    .or_else(|| parse_version(&format!("{text}.0")))
                    .ok_or_else(|| {
                        Failure::usage(
                            format!("`{text}` is no kernel version"),
                            "write it as 7.3.4",
                        )
                    })?,
            ),
            None => None,
        };
        if self.page_size.is_some_and(|size| !size.is_power_of_two()) {
            return Err(Failure::usage(
                "a page size is a power of two",
                "use 4096, 16384 or 65536",
            ));
        }
        let read = |path: &Option<PathBuf>| path.as_deref().map(files::read).transpose();
        Ok(Values {
            kernel_version,
            kconfig: read(&self.kconfig)?,
            kallsyms: read(&self.kallsyms)?,
            possible_cpus: self.possible_cpus,
            page_size: self.page_size,
            no_host: self.no_host,
        })
    }
}

impl Values {
    /// Which of a plan's dependencies were taken from the running host.
    pub(crate) fn of_running_host<'a>(
        &self,
        dependencies: &'a [HostDependency],
    ) -> Vec<&'a HostDependency> {
        dependencies
            .iter()
            .filter(|dependency| match dependency {
                HostDependency::KernelSymbol(_) => self.kallsyms.is_none(),
                HostDependency::Kconfig(name) if name == "LINUX_KERNEL_VERSION" => {
                    self.kernel_version.is_none()
                }
                HostDependency::Kconfig(name) => {
                    self.kconfig.is_none() && name.starts_with("CONFIG_")
                }
                HostDependency::PageSize(_) => self.page_size.is_none(),
                HostDependency::PossibleCpus(_) => self.possible_cpus.is_none(),
                _ => true,
            })
            .collect()
    }

    fn value<T: Clone>(
        &self,
        given: &Option<T>,
        option: &str,
        running: impl FnOnce() -> Result<T, HostError>,
    ) -> Result<T, HostError> {
        match given {
            Some(value) => Ok(value.clone()),
            None if self.no_host => Err(HostError::new(format!(
                "--no-host was given, and no {option}"
            ))),
            None => running(),
        }
    }
}

impl Host for Values {
    fn page_size(&self) -> u32 {
        match self.page_size {
            Some(size) => size,
            None if self.no_host => 4096,
            None => RunningHost.page_size(),
        }
    }

    fn possible_cpus(&self) -> Result<u32, HostError> {
        self.value(&self.possible_cpus, "--possible-cpus", || {
            RunningHost.possible_cpus()
        })
    }

    fn kernel_version(&self) -> Result<u32, HostError> {
        self.value(&self.kernel_version, "--kernel-version", || {
            RunningHost.kernel_version()
        })
    }

    fn kconfig(&self) -> Result<Vec<u8>, HostError> {
        self.value(&self.kconfig, "--kconfig", || RunningHost.kconfig())
    }

    fn kallsyms(&self) -> Result<Vec<u8>, HostError> {
        self.value(&self.kallsyms, "--kallsyms", || RunningHost.kallsyms())
    }
}
