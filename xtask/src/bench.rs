//! `cargo xtask bench`: bpfseal beside bpftool, in the same run, one process for each object.
//!
//! These machines are noisy, so the two take turns on every object and what counts is the ratio.
//! Ours is the command as `cargo xtask dist` builds it. A static program that does nothing takes its
//! turn too: what nobody can save, so the ratio of what is above it is printed as well.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::project;
use crate::reference::Reference;
use anyhow::bail;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folders with objects; without one, the corpus beside the project, or else its own objects
    folders: Vec<PathBuf>,

    /// Measure sealing and verifying in one process instead, beside the bare cryptography
    #[arg(long)]
    pub(crate) in_process: bool,

    /// How often each object is measured; the fastest run counts
    #[arg(long, default_value_t = 3)]
    repeat: u32,
}

/// What a process took.
#[derive(Debug, Clone, Copy)]
struct Cost {
    wall: Duration,
    cpu: Duration,
    /// Peak resident memory, bytes.
    peak: u64,
}

impl Cost {
    fn best(self, other: Self) -> Self {
        Self {
            wall: self.wall.min(other.wall),
            cpu: self.cpu.min(other.cpu),
            peak: self.peak.min(other.peak),
        }
    }
}

/// What all processes of one side took.
#[derive(Debug, Default)]
struct Total {
    wall: Duration,
    cpu: Duration,
    peak_sum: u64,
    peak_max: u64,
    count: u32,
}

impl Total {
    fn add(&mut self, cost: Cost) {
        self.wall += cost.wall;
        self.cpu += cost.cpu;
        self.peak_sum += cost.peak;
        self.peak_max = self.peak_max.max(cost.peak);
        self.count += 1;
    }
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let ours = project::build_dist()?;
    project::run(
        "cargo",
        &["build", "--quiet", "--release", "--package", "xtask"],
    )?;
    let measurer = project::target().join("release/measure");
    let reference = Reference::fetch()?;
    let empty = empty_program()?;
    let folders = match (args.folders.as_slice(), project::shared("corpus")) {
        ([], Some(corpus)) => vec![corpus],
        ([], None) => vec![project::objects()],
        (given, _) => given.to_vec(),
    };
    let mut objects = Vec::new();
    for folder in &folders {
        objects.extend(project::objects_in(folder)?);
    }
    let keys = project::root().join("testdata/keys");
    let sign = (keys.join("rsa2048.key.pem"), keys.join("rsa2048.cert.pem"));
    for signed in [false, true] {
        let mut totals = [Total::default(), Total::default(), Total::default()];
        for object in &objects {
            let command = |mut command: Command| {
                command.args(["gen", "skeleton", "-L"]);
                if signed {
                    command
                        .arg("-S")
                        .arg("-k")
                        .arg(&sign.0)
                        .arg("-i")
                        .arg(&sign.1);
                }
                command.arg(object);
                command
            };
            let mut best: [Option<Cost>; 3] = [None, None, None];
            for _ in 0..args.repeat.max(1) {
                for (side, best) in best.iter_mut().enumerate() {
                    let program = match side {
                        0 => command(Command::new(&ours)),
                        1 => command(reference.command()),
                        _ => Command::new(&empty),
                    };
                    if let Some(cost) = measure(&measurer, &program)? {
                        *best = Some(best.map_or(cost, |other| other.best(cost)));
                    }
                }
            }
            // Only what both make can be compared.
            if let [Some(ours), Some(theirs), Some(empty)] = best {
                totals[0].add(ours);
                totals[1].add(theirs);
                totals[2].add(empty);
            }
        }
        report(signed, &totals)?;
    }
    many(&ours, &objects, &sign)
}

/// Builds a static program that does nothing; where it is.
fn empty_program() -> anyhow::Result<PathBuf> {
    let folder = project::target().join("bench");
    std::fs::create_dir_all(&folder)?;
    let source = folder.join("empty.rs");
    std::fs::write(&source, "fn main() {}\n")?;
    let program = folder.join("empty");
    let mut rustc = Command::new("rustc");
    rustc
        .args(["--edition", "2024", "-Copt-level=3", "-Cpanic=abort"])
        .args(project::STATIC.split(' '))
        .arg(&source)
        .arg("-o")
        .arg(&program);
    project::check(&mut rustc)?;
    Ok(program)
}

/// Runs a process under the `measure` program; `None` when it fails.
fn measure(measurer: &Path, command: &Command) -> anyhow::Result<Option<Cost>> {
    let output = Command::new(measurer)
        .arg(command.get_program())
        .args(command.get_args())
        .output()?;
    if !output.status.success() {
        return Ok(None);
    }
    let text = String::from_utf8(output.stdout)?;
    let numbers: Vec<u64> = text
        .split_whitespace()
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    let [wall, cpu, peak] = numbers[..] else {
        bail!("`measure` printed `{text}`");
    };
    Ok(Some(Cost {
        wall: Duration::from_micros(wall),
        cpu: Duration::from_micros(cpu),
        peak,
    }))
}

fn report(signed: bool, [ours, theirs, empty]: &[Total; 3]) -> anyhow::Result<()> {
    if ours.count == 0 {
        bail!("there is no object that both sides take");
    }
    let form = if signed {
        "signed, RSA-2048"
    } else {
        "unsigned"
    };
    println!(
        "{form}: {} objects, one process each, mean of each object's best run",
        ours.count
    );
    println!("{:24}{:>12}{:>12}{:>8}", "", "bpfseal", "bpftool", "ratio");
    let count = f64::from(ours.count);
    let row = |name: &str, unit: &str, ours: f64, theirs: f64| {
        println!(
            "  {name:<22}{ours:>9.2} {unit:<2}{theirs:>9.2} {unit:<2}{:>8.3}",
            ours / theirs
        );
    };
    let ms = |time: Duration| time.as_secs_f64() * 1000.0 / count;
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    row("wall", "ms", ms(ours.wall), ms(theirs.wall));
    let floor = ms(empty.wall);
    row(
        "wall above the floor",
        "ms",
        ms(ours.wall) - floor,
        ms(theirs.wall) - floor,
    );
    row("processor", "ms", ms(ours.cpu), ms(theirs.cpu));
    row(
        "peak memory, mean",
        "M",
        mib(ours.peak_sum) / count,
        mib(theirs.peak_sum) / count,
    );
    row(
        "peak memory, largest",
        "M",
        mib(ours.peak_max),
        mib(theirs.peak_max),
    );
    println!(
        "  floor: a static program that does nothing takes {floor:.2} ms and {:.2} M",
        mib(empty.peak_sum) / count
    );
    Ok(())
}

/// All objects in one process, on all cores.
fn many(ours: &Path, objects: &[PathBuf], sign: &(PathBuf, PathBuf)) -> anyhow::Result<()> {
    // Objects of the same name would be written to the same place.
    let mut names = std::collections::BTreeSet::new();
    let distinct: Vec<_> = objects
        .iter()
        .filter(|path| names.insert(path.file_name().unwrap_or_default().to_owned()))
        .collect();
    let out = project::target().join("bench");
    let mut command = Command::new(ours);
    command
        .arg("seal")
        .args(&distinct)
        .arg("-k")
        .arg(&sign.0)
        .arg("-i")
        .arg(&sign.1)
        .arg("-o")
        .arg(&out)
        .stderr(Stdio::null());
    let start = Instant::now();
    command.status()?;
    println!(
        "bpfseal seal with {} objects in one process: {:.1} ms",
        distinct.len(),
        start.elapsed().as_secs_f64() * 1000.0
    );
    Ok(())
}
