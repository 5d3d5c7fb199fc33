//! Runs one command and prints what it took: wall and processor time in microseconds, peak
//! resident memory in bytes.
//!
//! A program of its own because the kernel counts into a process's peak what its parent had in
//! memory when it started it: the parent has to be smaller than what is measured.
#![forbid(unsafe_code)]

use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use wait4::Wait4;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let Some(program) = arguments.next() else {
        return ExitCode::from(2);
    };
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let start = Instant::now();
    let Ok(used) = command.spawn().and_then(|mut child| child.wait4()) else {
        return ExitCode::from(2);
    };
    let wall = start.elapsed();
    if !used.status.success() {
        return ExitCode::FAILURE;
    }
    let cpu = used.rusage.utime + used.rusage.stime;
    println!(
        "{} {} {}",
        wall.as_micros(),
        cpu.as_micros(),
        used.rusage.maxrss
    );
    ExitCode::SUCCESS
}
