//! What loading costs, measured inside of a virtual machine: ours beside the reference's code with
//! the reference's bytes, and signed beside unsigned. Ratios only: the machine is emulated.
#![forbid(unsafe_code)]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use bpfseal::LoadOptions;
use bpfseal::artifact::Artifact;
use bpfseal::artifact::install::InstallPlan;
use bpfseal::kernel::{KeyringId, Linux, add_certificate, install};
use bpfseal::seal::Certificate;

/// Where the objects are: `NAME.lskel.h` of ours, and `NAME.pieces` of the reference.
const FOLDER: &str = "/bench";
/// How often each is done; what is compared is the median.
const TIMES: usize = 41;

fn main() -> anyhow::Result<()> {
    let certificate = Certificate::from_bytes(&std::fs::read("/bench/cert.pem")?)?;
    add_certificate(&Linux, KeyringId::SESSION, "bench", certificate.der())?;
    println!("object                     process  library   signed/unsigned");
    let mut paths: Vec<_> = std::fs::read_dir(FOLDER)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|ending| ending == "h"))
        .collect();
    paths.sort();
    for path in paths {
        measure(&path)?;
    }
    Ok(())
}

fn measure(path: &Path) -> anyhow::Result<()> {
    let artifact = Artifact::parse(&std::fs::read(path)?)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let name = name.trim_end_matches(".lskel.h");
    let pieces = format!("{FOLDER}/{name}.pieces");

    let process = compare(
        || process(Command::new("/bin/bpfseal").arg("load").arg(path)),
        || process(Command::new("/bin/reference-loader").arg(&pieces)),
    )?;

    // The reference's program says how long its best load took, in its own process.
    let options = LoadOptions::default();
    let ours = best(|| Ok(bpfseal::load(&artifact, &options)?))?;
    let output = Command::new("/bin/reference-loader")
        .args([&pieces, &TIMES.to_string()])
        .output()?;
    let theirs: u64 = String::from_utf8(output.stdout)?.trim().parse()?;
    let library = ours.as_secs_f64() / Duration::from_nanos(theirs).as_secs_f64();

    let sealed = artifact.sealed().next().context("it is signed")?;
    let context = artifact.interface.context();
    let signed = InstallPlan::sealed(sealed, KeyringId::SESSION, context);
    // The same instructions without the signature: only its check is left out.
    let unsigned = InstallPlan::unsigned(sealed.instructions, sealed.metadata, context);
    let signature = compare(
        || Ok(install(&Linux, &signed)?),
        || Ok(install(&Linux, &unsigned)?),
    )?;
    println!("{name:<25} {process:>7.3}x {library:>7.3}x {signature:>7.3}x");
    Ok(())
}

fn process(command: &mut Command) -> anyhow::Result<()> {
    let status = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    if !status.success() {
        bail!("{command:?} failed");
    }
    Ok(())
}

/// The median of one thing's times by that of another's, taken by turns.
fn compare<T>(
    mut ours: impl FnMut() -> anyhow::Result<T>,
    mut theirs: impl FnMut() -> anyhow::Result<T>,
) -> anyhow::Result<f64> {
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for _ in 0..TIMES {
        a.push(time(&mut ours)?);
        b.push(time(&mut theirs)?);
    }
    a.sort_unstable();
    b.sort_unstable();
    Ok(a[TIMES / 2].as_secs_f64() / b[TIMES / 2].as_secs_f64())
}

fn best<T>(mut what: impl FnMut() -> anyhow::Result<T>) -> anyhow::Result<Duration> {
    let mut best = Duration::MAX;
    for _ in 0..TIMES {
        best = best.min(time(&mut what)?);
    }
    Ok(best)
}

/// With what dropping the result takes.
fn time<T>(what: &mut impl FnMut() -> anyhow::Result<T>) -> anyhow::Result<Duration> {
    let start = Instant::now();
    drop(what()?);
    Ok(start.elapsed())
}
