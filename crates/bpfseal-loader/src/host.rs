//! What a load plan takes from a host, as an explicit input.
//!
//! libbpf reads these from the machine that it runs on, so the bytes of some objects depend on
//! the build host. Here they are asked for one by one, only when an object needs them, and the
//! plan keeps a list of what was used. This crate reads no host; the command does.

bpfseal_object::debug_as_chain!(HostError);

/// Why a host has no answer: one sentence, and what caused it.
///
/// Every host has its own reasons, so this is made of text.
#[derive(thiserror::Error)]
#[error("{message}")]
#[non_exhaustive]
pub struct HostError {
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl HostError {
    /// An error of one sentence: lower case, no full stop.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            source: None,
        }
    }

    /// An error with what caused it.
    #[must_use]
    pub fn caused_by(
        message: impl Into<String>,
        cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self {
            message: message.into(),
            source: Some(cause.into()),
        }
    }

    /// The sentence and its causes on one line: what a plan keeps of it.
    #[must_use]
    pub fn reason(&self) -> String {
        let mut text = self.message.clone();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        text
    }
}

/// Values of a host. Every method is called only when an object depends on it.
pub trait Host {
    /// Size of a memory page in bytes: rounds the size of ring buffers.
    fn page_size(&self) -> u32;

    /// Count of possible CPUs: the size of a perf event array without one.
    ///
    /// # Errors
    /// When it is not available.
    fn possible_cpus(&self) -> Result<u32, HostError>;

    /// Kernel version as `KERNEL_VERSION(a, b, c)`: for `LINUX_KERNEL_VERSION`.
    ///
    /// # Errors
    /// When it is not available.
    fn kernel_version(&self) -> Result<u32, HostError>;

    /// The kernel's configuration as text, uncompressed: for `CONFIG_…` values.
    ///
    /// # Errors
    /// When it is not available.
    fn kconfig(&self) -> Result<Vec<u8>, HostError>;

    /// The kernel's symbol table, lines as in `/proc/kallsyms`: for ksyms without a type.
    ///
    /// # Errors
    /// When it is not available.
    fn kallsyms(&self) -> Result<Vec<u8>, HostError>;
}

/// A value of the host that a plan depends on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum HostDependency {
    /// The address of a ksym without a type stands in the program as it was on this host. The
    /// loader replaces it when it runs.
    KernelSymbol(String),
    /// The value of a kconfig extern.
    Kconfig(String),
    /// The size of a page, in the size of this map.
    PageSize(String),
    /// The count of CPUs, as the size of this map.
    PossibleCpus(String),
}

impl std::fmt::Display for HostDependency {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::KernelSymbol(name) => write!(f, "address of kernel symbol `{name}`"),
            Self::Kconfig(name) => write!(f, "kernel configuration value `{name}`"),
            Self::PageSize(map) => write!(f, "page size, in the size of map `{map}`"),
            Self::PossibleCpus(map) => write!(f, "count of CPUs, as the size of map `{map}`"),
        }
    }
}

/// A host of given values, for tests and reproducible builds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FixedHost {
    /// Size of a page in bytes; 4096 when 0.
    pub page_size: u32,
    /// Count of possible CPUs.
    pub possible_cpus: Option<u32>,
    /// `KERNEL_VERSION(a, b, c)`.
    pub kernel_version: Option<u32>,
    /// Text of the kernel's configuration.
    pub kconfig: Option<Vec<u8>>,
    /// Lines as in `/proc/kallsyms`.
    pub kallsyms: Option<Vec<u8>>,
}

fn given<T: Clone>(value: &Option<T>, what: &str) -> Result<T, HostError> {
    value
        .clone()
        .ok_or_else(|| HostError::new(format!("no {what} was given")))
}

impl Host for FixedHost {
    fn page_size(&self) -> u32 {
        if self.page_size == 0 {
            4096
        } else {
            self.page_size
        }
    }

    fn possible_cpus(&self) -> Result<u32, HostError> {
        given(&self.possible_cpus, "count of CPUs")
    }

    fn kernel_version(&self) -> Result<u32, HostError> {
        given(&self.kernel_version, "kernel version")
    }

    fn kconfig(&self) -> Result<Vec<u8>, HostError> {
        given(&self.kconfig, "kernel configuration")
    }

    fn kallsyms(&self) -> Result<Vec<u8>, HostError> {
        given(&self.kallsyms, "kernel symbols")
    }
}

impl FixedHost {
    /// What a plan with these dependencies takes from a host: a host that gives the same plan. Of
    /// texts it has the lines that the plan depends on.
    ///
    /// # Errors
    /// When a value is not available any more.
    pub fn taken_from(host: &dyn Host, dependencies: &[HostDependency]) -> Result<Self, HostError> {
        let mut taken = Self {
            // Asked for to check sizes, too.
            page_size: host.page_size(),
            ..Self::default()
        };
        let mut options = Vec::new();
        let mut symbols = Vec::new();
        for dependency in dependencies {
            match dependency {
                HostDependency::PageSize(_) => {}
                HostDependency::PossibleCpus(_) => {
                    taken.possible_cpus = Some(host.possible_cpus()?);
                }
                HostDependency::Kconfig(name) if name == "LINUX_KERNEL_VERSION" => {
                    taken.kernel_version = Some(host.kernel_version()?);
                }
                // Others are answers of libbpf, not of the host.
                HostDependency::Kconfig(name) if !name.starts_with("CONFIG_") => {}
                HostDependency::Kconfig(name) => options.push(name.as_bytes()),
                HostDependency::KernelSymbol(name) => symbols.push(name.as_bytes()),
            }
        }
        if !options.is_empty() {
            taken.kconfig = Some(lines_of(&host.kconfig()?, &options, kconfig_name));
        }
        if !symbols.is_empty() {
            taken.kallsyms = Some(lines_of(&host.kallsyms()?, &symbols, kallsyms_name));
        }
        Ok(taken)
    }
}

/// The lines of a text with these names.
fn lines_of(text: &[u8], names: &[&[u8]], name_of: fn(&[u8]) -> &[u8]) -> Vec<u8> {
    text.split_inclusive(|b| *b == b'\n')
        .filter(|line| names.contains(&name_of(line)))
        .collect::<Vec<_>>()
        .concat()
}

/// `NAME=value`.
fn kconfig_name(line: &[u8]) -> &[u8] {
    line.split(|b| *b == b'=').next().unwrap_or_default()
}

/// `address type NAME`, and a module behind it.
fn kallsyms_name(line: &[u8]) -> &[u8] {
    line.split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty())
        .nth(2)
        .unwrap_or_default()
}
