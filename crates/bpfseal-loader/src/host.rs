//! What a load plan takes from a host, as an explicit input.
//!
//! libbpf reads these from the machine that it runs on, so the bytes of some objects depend on
//! the build host. Here they are asked for one by one, only when an object needs them, and the
//! plan keeps a list of what was used. This crate reads no host; the command does.

/// Values of a host. Every method is called only when an object depends on it.
pub trait Host {
    /// Size of a memory page in bytes: rounds the size of ring buffers.
    fn page_size(&self) -> u32;

    /// Count of possible CPUs: the size of a perf event array without one.
    ///
    /// # Errors
    /// A sentence that says why it can not be told.
    fn possible_cpus(&self) -> Result<u32, String>;

    /// Kernel version as `KERNEL_VERSION(a, b, c)`: for `LINUX_KERNEL_VERSION`.
    ///
    /// # Errors
    /// A sentence that says why it can not be told.
    fn kernel_version(&self) -> Result<u32, String>;

    /// The kernel's configuration as text, uncompressed: for `CONFIG_…` values.
    ///
    /// # Errors
    /// A sentence that says why it can not be told.
    fn kconfig(&self) -> Result<Vec<u8>, String>;

    /// The kernel's symbol table, lines as in `/proc/kallsyms`: for ksyms without a type.
    ///
    /// # Errors
    /// A sentence that says why it can not be told.
    fn kallsyms(&self) -> Result<Vec<u8>, String>;
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

fn given<T: Clone>(value: &Option<T>, what: &str) -> Result<T, String> {
    value.clone().ok_or_else(|| format!("no {what} was given"))
}

impl Host for FixedHost {
    fn page_size(&self) -> u32 {
        if self.page_size == 0 {
            4096
        } else {
            self.page_size
        }
    }

    fn possible_cpus(&self) -> Result<u32, String> {
        given(&self.possible_cpus, "count of CPUs")
    }

    fn kernel_version(&self) -> Result<u32, String> {
        given(&self.kernel_version, "kernel version")
    }

    fn kconfig(&self) -> Result<Vec<u8>, String> {
        given(&self.kconfig, "kernel configuration")
    }

    fn kallsyms(&self) -> Result<Vec<u8>, String> {
        given(&self.kallsyms, "kernel symbols")
    }
}

/// Another host, of which is noted what is taken from it.
pub struct RecordingHost<'a> {
    host: &'a dyn Host,
    taken: std::cell::RefCell<FixedHost>,
}

impl std::fmt::Debug for RecordingHost<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("RecordingHost").field(&self.taken).finish()
    }
}

impl<'a> RecordingHost<'a> {
    /// Of a host.
    #[must_use]
    pub fn new(host: &'a dyn Host) -> Self {
        Self {
            host,
            taken: std::cell::RefCell::default(),
        }
    }

    /// What a plan with these dependencies took: a host that gives the same plan. Of texts, the
    /// lines that the plan depends on.
    #[must_use]
    pub fn into_taken(self, dependencies: &[HostDependency]) -> FixedHost {
        let mut taken = self.taken.into_inner();
        let is_wanted = |name: &[u8], symbol: bool| {
            dependencies.iter().any(|dependency| match dependency {
                HostDependency::Kconfig(known) => !symbol && known.as_bytes() == name,
                HostDependency::KernelSymbol(known) => symbol && known.as_bytes() == name,
                _ => false,
            })
        };
        let reduce = |text: &mut Option<Vec<u8>>, name_of: fn(&[u8]) -> &[u8], symbol| {
            if let Some(text) = text {
                let lines = text.split_inclusive(|b| *b == b'\n');
                *text = lines
                    .filter(|line| is_wanted(name_of(line), symbol))
                    .collect::<Vec<_>>()
                    .concat();
            }
        };
        reduce(&mut taken.kconfig, kconfig_name, false);
        reduce(&mut taken.kallsyms, kallsyms_name, true);
        taken
    }
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

impl Host for RecordingHost<'_> {
    fn page_size(&self) -> u32 {
        let size = self.host.page_size();
        self.taken.borrow_mut().page_size = size;
        size
    }

    fn possible_cpus(&self) -> Result<u32, String> {
        let count = self.host.possible_cpus()?;
        self.taken.borrow_mut().possible_cpus = Some(count);
        Ok(count)
    }

    fn kernel_version(&self) -> Result<u32, String> {
        let version = self.host.kernel_version()?;
        self.taken.borrow_mut().kernel_version = Some(version);
        Ok(version)
    }

    fn kconfig(&self) -> Result<Vec<u8>, String> {
        let text = self.host.kconfig()?;
        self.taken.borrow_mut().kconfig = Some(text.clone());
        Ok(text)
    }

    fn kallsyms(&self) -> Result<Vec<u8>, String> {
        let text = self.host.kallsyms()?;
        self.taken.borrow_mut().kallsyms = Some(text.clone());
        Ok(text)
    }
}
