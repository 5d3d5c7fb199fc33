//! The running host, as far as an object can depend on it.
//!
//! Reads files of the running kernel; nothing is cached and nothing is read that is not asked
//! for. The places are those that libbpf 1.8 reads, so that both take the same values.

use std::fs;
use std::io::Read;

use bpfseal_loader::{Host, HostError};

/// Most bytes that are read of any file of the kernel.
const MAX_FILE: u64 = 256 << 20;

/// The host that this program runs on.
#[derive(Debug, Clone, Copy, Default)]
pub struct RunningHost;

impl Host for RunningHost {
    fn page_size(&self) -> u32 {
        u32::try_from(rustix::param::page_size()).unwrap_or(4096)
    }

    fn possible_cpus(&self) -> Result<u32, HostError> {
        let path = "/sys/devices/system/cpu/possible";
        let list = read_text(path)?;
        count_cpus(list.trim())
            .ok_or_else(|| HostError::new(format!("`{path}` is not a list of CPUs: `{list}`")))
    }

    fn kernel_version(&self) -> Result<u32, HostError> {
        // Ubuntu and Debian number their kernels otherwise than they name them.
        if let Ok(signature) = read_text("/proc/version_signature")
            && let Some(word) = signature.split_whitespace().nth(2)
            && let Some(version) = parse_version(word)
        {
            return Ok(version);
        }
        if let Ok(version) = read_text("/proc/sys/kernel/version")
            && let Some((_, debian)) = version.split_once("Debian ")
            && let Some(version) = parse_version(debian)
        {
            return Ok(version);
        }
        let release = read_text("/proc/sys/kernel/osrelease")?;
        parse_version(&release).ok_or_else(|| {
            HostError::new(format!(
                "kernel release `{}` has no version",
                release.trim()
            ))
        })
    }

    fn kconfig(&self) -> Result<Vec<u8>, HostError> {
        let release = read_text("/proc/sys/kernel/osrelease")?;
        let boot = format!("/boot/config-{}", release.trim());
        let raw = read_bytes(&boot)
            .or_else(|_| read_bytes("/proc/config.gz"))
            .map_err(|_| {
                HostError::new(format!(
                    "neither `{boot}` nor `/proc/config.gz` could be read"
                ))
            })?;
        if !raw.starts_with(&[0x1f, 0x8b]) {
            return Ok(raw);
        }
        let mut text = Vec::new();
        flate2::read::MultiGzDecoder::new(raw.as_slice())
            .take(MAX_FILE)
            .read_to_end(&mut text)
            .map_err(|e| {
                HostError::caused_by("the kernel configuration could not be decompressed", e)
            })?;
        Ok(text)
    }

    fn kallsyms(&self) -> Result<Vec<u8>, HostError> {
        read_bytes("/proc/kallsyms")
    }
}

fn read_bytes(path: &str) -> Result<Vec<u8>, HostError> {
    let mut bytes = Vec::new();
    fs::File::open(path)
        .and_then(|file| file.take(MAX_FILE).read_to_end(&mut bytes))
        .map_err(|e| HostError::caused_by(format!("`{path}` could not be read"), e))?;
    Ok(bytes)
}

fn read_text(path: &str) -> Result<String, HostError> {
    read_bytes(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// `KERNEL_VERSION(a, b, c)` of text that begins with `a.b.c`; `c` is held to 255.
#[must_use]
pub fn parse_version(text: &str) -> Option<u32> {
    let mut parts = text.trim_start().splitn(3, '.');
    let mut number = || {
        let part = parts.next()?;
        let end = part
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(part.len());
        part[..end].parse::<u32>().ok()
    };
    let (major, minor, patch) = (number()?, number()?, number()?);
    Some(
        (major << 16)
            .wrapping_add(minor << 8)
            .wrapping_add(patch.min(255)),
    )
}

/// Count of CPUs in a list such as `0-3,8`.
fn count_cpus(list: &str) -> Option<u32> {
    let mut count: u32 = 0;
    for range in list.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u32, u32) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        count = count.checked_add(last.checked_sub(first)?.checked_add(1)?)?;
    }
    Some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_cpu_lists() {
        assert_eq!(parse_version("6.18.44-fc"), Some(0x0006_122c));
        assert_eq!(parse_version("7.3.4-1~bpo13+1"), Some(0x0007_0304));
        assert_eq!(parse_version("5.10"), None);
        assert_eq!(count_cpus("0-3,8"), Some(5));
        assert_eq!(count_cpus("0"), Some(1));
        assert_eq!(count_cpus("3-0"), None);
    }
}
