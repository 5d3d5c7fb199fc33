//! `bpfseal load` where something is missing, or is killed: nothing is left behind, and it says
//! what is wrong.
//!
//! Runs in the virtual machines of `cargo xtask kernels`; elsewhere each test says that it was
//! skipped.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use bpfseal::kernel::{
    KeyringId, Linux, Restriction, add_certificate, describe_key, find_by_key_id, join_session,
    keys_of, link_key, map_ids, new_keyring, program_ids, restrict_keyring, revoke_key, unlink_key,
};
use bpfseal::seal::hex;
use bpfseal_proof::bench::{CommandBench, person, said};
use bpfseal_proof::object;
use bpfseal_work::{kill, maps};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const BPFFS: &str = "/sys/fs/bpf";

/// The command, with two sealed artifacts.
fn bench() -> Option<CommandBench> {
    let bench = CommandBench::new()?;
    let signer = person("rsa2048");
    bench.write("key.pem", signer.key_pem);
    bench.write("cert.pem", signer.certificate_pem);
    bench.write("tracing.bpf.o", object!("work_tracing"));
    bench.write("maps.bpf.o", object!("work_maps"));
    let line = "seal tracing.bpf.o maps.bpf.o -k key.pem -i cert.pem";
    bench.check(line, 0, &[]);
    Some(bench)
}

/// How many maps and programs there are.
fn census() -> (usize, usize) {
    let maps = map_ids(&Linux).unwrap().len();
    (maps, program_ids(&Linux).unwrap().len())
}

/// How many there are when what was used before has been freed.
fn baseline() -> (usize, usize) {
    let mut last = census();
    let mut same = 0;
    while same < 5 {
        std::thread::sleep(Duration::from_millis(50));
        let now = census();
        same = if now == last { same + 1 } else { 0 };
        last = now;
    }
    last
}

/// Waits until there are as many as before: the kernel frees them after a while.
#[track_caller]
fn nothing_left(before: (usize, usize)) {
    let start = Instant::now();
    while census() != before {
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "maps and programs: {before:?} before, {:?} after",
            census()
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn pins() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(BPFFS).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn whatever_fails_leaves_nothing() {
    let Some(bench) = bench() else { return };
    let before = baseline();
    bench.check(
        "load tracing.lskel.h --trust cert.pem --attach",
        0,
        &["attached: link", "it goes away now"],
    );
    nothing_left(before);
    // Attached, pinned, and found again.
    let line = "load tracing.lskel.h --trust cert.pem --attach --pin /sys/fs/bpf/a/b --json";
    let output = bench.run(line);
    said(&output, line, 0, &["\"pinned\": \"/sys/fs/bpf/a/b\""]);
    let folder = Path::new("/sys/fs/bpf/a/b");
    for name in ["by_number", "bss", "entry", "link_entry", "link_raw_enter"] {
        assert!(folder.join(name).exists(), "{name}");
    }
    std::fs::remove_dir_all("/sys/fs/bpf/a").unwrap();
    nothing_left(before);
    // As an ordinary user.
    let line = "load tracing.lskel.h";
    let output = bench.command(line).uid(1000).gid(1000).output().unwrap();
    said(&output, line, 1, &["may not use BPF", "CAP_BPF"]);
    nothing_left(before);
    // Where there is no bpffs.
    bench.check(
        "load tracing.lskel.h --trust cert.pem --pin /tmp/no/bpffs",
        3,
        &["/sys/fs/bpf", "nothing was left behind"],
    );
    assert!(!Path::new("/tmp/no").exists());
    bench.check(
        "load tracing.lskel.h --trust cert.pem --pin /proc/here",
        3,
        &["is not on a bpf file system", "nothing was left behind"],
    );
    nothing_left(before);
    // A dot is nothing that bpffs takes.
    bench.check(
        "load tracing.lskel.h --trust cert.pem --pin /sys/fs/bpf/a.b",
        3,
        &["nothing was left behind"],
    );
    nothing_left(before);
    assert_eq!(pins(), Vec::<PathBuf>::new());
}

#[test]
fn few_descriptors_are_a_clear_message() {
    let Some(bench) = bench() else { return };
    let before = baseline();
    let usual = getrlimit(Resource::Nofile);
    let few = Rlimit {
        current: Some(16),
        ..usual
    };
    // For the child; what this process has open already stays open.
    let line = "load maps.lskel.h --trust cert.pem";
    let mut command = bench.command(line);
    command.stdin(Stdio::null());
    setrlimit(Resource::Nofile, few).unwrap();
    let output = command.output();
    setrlimit(Resource::Nofile, usual).unwrap();
    said(
        &output.unwrap(),
        line,
        1,
        &["EMFILE", "too many open files", "ulimit -n"],
    );
    nothing_left(before);
    bench.check("load maps.lskel.h --trust cert.pem", 0, &["map programs"]);
    nothing_left(before);
}

#[test]
fn without_keyring_rights_it_says_so() {
    let Some(bench) = bench() else { return };
    // In a thread of its own, which alone gets another session.
    std::thread::scope(|scope| {
        scope.spawn(|| {
            join_session(&Linux).unwrap();
            restrict_keyring(&Linux, KeyringId::SESSION, &Restriction::Nothing).unwrap();
            // That has a keyring of its own.
            bench.check(
                "load tracing.lskel.h --trust cert.pem",
                0,
                &["verified with a certificate of --trust"],
            );
            bench.check("keyring add cert.pem", 1, &["refused", "not restricted"]);
            bench.check(
                "load tracing.lskel.h",
                1,
                &["not in the keyring", "--trust"],
            );
        });
    });
    bench.check("keyring add cert.pem --to builtin", 1, &["refused"]);
    bench.check("keyring list 2147483647", 1, &["ENOKEY"]);
}

#[test]
fn keyrings_are_listed_linked_restricted_and_revoked() {
    let Some(bench) = bench() else { return };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            join_session(&Linux).unwrap();
            let session = KeyringId::SESSION;
            let certificate = person("rsa2048").certificate;
            let own = new_keyring(&Linux, session, "trusted").unwrap();
            let key = add_certificate(&Linux, own.into(), "signer", certificate.der()).unwrap();
            assert_eq!(keys_of(&Linux, own.into()).unwrap(), [key]);
            assert_eq!(describe_key(&Linux, key).unwrap().description, "signer");
            let id = hex(certificate.subject_key_id().unwrap());
            assert_eq!(find_by_key_id(&Linux, session, &id).unwrap(), key);
            let end = &id[id.len() - 12..];
            assert_eq!(find_by_key_id(&Linux, session, end).unwrap(), key);
            assert!(find_by_key_id(&Linux, session, "00000000").is_err());
            // By its serial number, and by what the command makes of it.
            let line = format!("load tracing.lskel.h --keyring {}", own.0);
            bench.check(&line, 0, &["verified with a key of the"]);
            bench.check(
                &format!("keyring list {}", own.0),
                0,
                &["asymmetric", "signer", "rsa, key id …"],
            );
            bench.check(&format!("keyring find {id}"), 0, &["signer"]);
            bench.check("keyring find xyz", 2, &["is no key id"]);
            let made = bench.run("keyring new other");
            let other: i32 = String::from_utf8(made.stdout)
                .unwrap()
                .trim()
                .parse()
                .unwrap();
            let other = KeyringId(other);
            link_key(&Linux, key, other).unwrap();
            assert_eq!(keys_of(&Linux, other).unwrap(), [key]);
            unlink_key(&Linux, key, other).unwrap();
            assert_eq!(keys_of(&Linux, other).unwrap(), []);
            // Restricted to what a key of `own` vouches for: the signer vouches for itself.
            let rule = format!("keyring restrict {} --to {}", other.0, own.0);
            bench.check(&rule, 0, &[]);
            bench.check(&rule, 1, &["EEXIST"]);
            let stranger = person("p256").certificate;
            let error = add_certificate(&Linux, other, "x", stranger.der()).unwrap_err();
            assert_eq!(error.errno_name(), "ENOKEY");
            revoke_key(&Linux, key).unwrap();
            let line = format!("load tracing.lskel.h --keyring {}", own.0);
            bench.check(&line, 1, &["refused"]);
        });
    });
}

/// Every step of loading, attaching and pinning: a process that is killed there leaves no map, no
/// program, and either no folder or a whole one.
#[test]
fn killed_at_every_step_it_leaves_nothing() {
    let Some(bench) = bench() else { return };
    let certificate = person("rsa2048").certificate;
    add_certificate(&Linux, KeyringId::SESSION, "x", certificate.der()).unwrap();
    let skel = kill::WorkKill::open_and_load().unwrap();
    let skel = skel.attach().unwrap();
    let before = baseline();
    let folder = Path::new("/sys/fs/bpf/killed");
    let line = "load tracing.lskel.h --attach --pin /sys/fs/bpf/killed";
    let run = |kill_at: u64| {
        let bss = skel.bss();
        bss.steps.set(0);
        bss.kill_at.set(kill_at);
        bss.parent_tgid.set(std::process::id().cast_signed());
        let output = bench.run(line);
        bss.parent_tgid.set(0);
        (output, bss.steps.get())
    };
    let (output, steps) = run(u64::MAX);
    said(&output, line, 0, &["pinned in"]);
    std::fs::remove_dir_all(folder).unwrap();
    nothing_left(before);
    assert!(steps > 20, "{steps}");
    let mut complete = 0;
    for step in 1..=steps {
        let (output, _) = run(step);
        assert_eq!(output.status.code(), None, "step {step}: it was killed");
        if folder.exists() {
            // Killed when it was through with pinning.
            let count = std::fs::read_dir(folder).unwrap().count();
            assert_eq!(count, 12, "step {step}: 4 maps, 4 programs, 4 links");
            complete += 1;
            std::fs::remove_dir_all(folder).unwrap();
        }
        nothing_left(before);
        let start = Instant::now();
        while !pins().is_empty() {
            assert!(start.elapsed() < Duration::from_secs(10), "{:?}", pins());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    println!("  killed at each of {steps} steps; {complete} times when all was pinned already");
    assert_eq!(skel.bss().kills.get(), steps);
    assert!(complete < steps / 2);
    // The library: dropping closes everything.
    let before = baseline();
    drop(maps::WorkMaps::open_and_load().unwrap());
    nothing_left(before);
}
