//! Steps of a test run, several at a time.
//!
//! Each step is a process of this program in a group of its own, whose output is kept until it is
//! done: what is printed is never mixed. When one fails, the others are ended with all that they
//! have started. When this process dies, each step notices and ends its group itself.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::time::Instant;

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::project;

/// What a step keeps busy; one of each kind runs at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lane {
    /// Cargo's folder of builds, which is locked for one.
    Build,
    /// One processor, with whatever is on it.
    Work,
    /// A virtual machine.
    Machine,
    /// One more, beside it.
    OtherMachine,
    /// The network, mostly.
    Fetch,
}

/// A part of a test run.
pub(crate) struct Step {
    pub(crate) name: String,
    pub(crate) lane: Lane,
    /// The steps that have to be done before, by their names.
    pub(crate) after: Vec<&'static str>,
    /// Whether it needs the network.
    pub(crate) network: bool,
    /// Whether only a run before a release has it.
    pub(crate) release: bool,
    pub(crate) run: Box<dyn Fn() -> anyhow::Result<()>>,
}

/// A step that is running.
struct Running {
    index: usize,
    start: u64,
    group: Option<Pid>,
    /// Closed by the end of this process, however it comes.
    _alive: Option<ChildStdin>,
}

/// When a step began and ended, in seconds of the run.
type Times = (u64, u64);

/// Runs all steps, each as soon as those before it are done and its lane is free. Steps that come
/// first in the list go first.
pub(crate) fn run(steps: &[Step]) -> anyhow::Result<()> {
    check(steps)?;
    let clock = Instant::now();
    let now = || clock.elapsed().as_secs();
    let logs = project::target().join("steps");
    std::fs::create_dir_all(&logs)?;
    let log = |index: usize| logs.join(format!("{index}.log"));
    let mut times: Vec<Option<Times>> = steps.iter().map(|_| None).collect();
    let mut waiting: Vec<usize> = (0..steps.len()).collect();
    let mut running: Vec<Running> = Vec::new();
    let (send, ended) = channel();
    loop {
        let done: BTreeSet<&str> = steps
            .iter()
            .zip(&times)
            .filter(|(_, times)| times.is_some())
            .map(|(step, _)| step.name.as_str())
            .collect();
        let ready = |index: usize, running: &[Running]| {
            let step = &steps[index];
            let free = running.iter().all(|r| steps[r.index].lane != step.lane);
            free && step.after.iter().all(|name| done.contains(name))
        };
        while let Some(at) = waiting.iter().position(|index| ready(*index, &running)) {
            let index = waiting.remove(at);
            match start(&steps[index], log(index), index, &send) {
                Ok((group, alive)) => running.push(Running {
                    index,
                    start: now(),
                    group,
                    _alive: alive,
                }),
                Err(error) => {
                    end(running, &ended);
                    return Err(error);
                }
            }
        }
        if running.is_empty() {
            break;
        }
        let (index, status): Ended = ended.recv()?;
        let at = running.iter().position(|r| r.index == index);
        let step = running.swap_remove(at.context("a step ends once")?);
        times[index] = Some((step.start, now()));
        let name = &steps[index].name;
        print(name, (step.start, now()), log(index))?;
        let good = status.is_ok_and(|status| status.success());
        if !good {
            end(running, &ended);
            bail!("`{name}` failed (cargo xtask test --step '{name}' runs it alone)");
        }
    }
    summary(steps, &times);
    Ok(())
}

/// The table of steps itself: names are unique, and name each other.
pub(crate) fn check(steps: &[Step]) -> anyhow::Result<()> {
    let mut before = BTreeSet::new();
    for step in steps {
        for name in &step.after {
            if !before.contains(name) {
                bail!(
                    "`{}` comes after `{name}`, which is no step before it",
                    step.name
                );
            }
        }
        if !before.insert(step.name.as_str()) {
            bail!("two steps are named `{}`", step.name);
        }
    }
    Ok(())
}

/// A step by its number, and how its process ended.
type Ended = (usize, std::io::Result<ExitStatus>);

fn start(
    step: &Step,
    log: PathBuf,
    index: usize,
    ended: &Sender<Ended>,
) -> anyhow::Result<(Option<Pid>, Option<ChildStdin>)> {
    let output = File::create(&log).with_context(|| log.display().to_string())?;
    // Not by its path: the step `build` may have put another file there.
    let mut child: Child = Command::new("/proc/self/exe")
        .args(["test", "--watched", "--step", &step.name])
        .stdin(Stdio::piped())
        .stdout(output.try_clone()?)
        .stderr(output)
        .process_group(0)
        .spawn()
        .context("starting a step")?;
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let alive = child.stdin.take();
    let ended = ended.clone();
    std::thread::spawn(move || {
        // Nobody listens any more when another step has failed.
        let _ = ended.send((index, child.wait()));
    });
    Ok((group, alive))
}

/// Ends what runs, with all that it has started, and waits until it has ended.
fn end(running: Vec<Running>, ended: &std::sync::mpsc::Receiver<Ended>) {
    for step in &running {
        if let Some(group) = step.group {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
    for _ in running {
        let _ = ended.recv();
    }
}

/// In the process of a step: ends its group when the run that it belongs to is no more.
pub(crate) fn watch() -> anyhow::Result<()> {
    // What is started here gets an empty input.
    let input = rustix::io::dup(rustix::stdio::stdin())?;
    rustix::io::fcntl_setfd(&input, rustix::io::FdFlags::CLOEXEC)?;
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    std::thread::spawn(move || {
        let mut input = File::from(input);
        while matches!(input.read(&mut [0; 1]), Ok(1..)) {}
        let _ = rustix::process::kill_current_process_group(Signal::KILL);
    });
    Ok(())
}

fn print(name: &str, (start, end): Times, log: PathBuf) -> anyhow::Result<()> {
    let text = std::fs::read(log)?;
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "\n== {name}: {} s, from {} to {}",
        end - start,
        minutes(start),
        minutes(end)
    )?;
    out.write_all(&text)?;
    if !text.is_empty() && !text.ends_with(b"\n") {
        writeln!(out)?;
    }
    out.flush()?;
    Ok(())
}

fn summary(steps: &[Step], times: &[Option<Times>]) {
    println!("\n== steps");
    let mut rows: Vec<(Times, &Step)> = times
        .iter()
        .zip(steps)
        .filter_map(|(times, step)| Some(((*times)?, step)))
        .collect();
    rows.sort_by_key(|(times, _)| *times);
    for ((start, end), step) in rows {
        println!(
            "{:>5} s  {} to {}  {}",
            end - start,
            minutes(start),
            minutes(end),
            step.name
        );
    }
}

/// Minutes and seconds.
pub(crate) fn minutes(seconds: u64) -> String {
    format!("{}:{:02}", seconds / 60, seconds % 60)
}
