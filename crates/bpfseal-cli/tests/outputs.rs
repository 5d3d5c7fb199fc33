//! Outputs harm nobody: every verb that writes, into every kind of place.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::io::Read as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use common::{Bench, Ran};

/// Verbs that write one file: `OUT` is its name.
const FILES: [&str; 9] = [
    "seal sample.bpf.o -k key.pem -i cert.pem --emit c -o OUT",
    "seal sample.bpf.o -k key.pem -i cert.pem --emit rust -o OUT",
    "seal sample.bpf.o -k key.pem -i cert.pem --emit bundle -o OUT",
    "seal sample.bpf.o -k key.pem -i cert.pem --emit detached -o OUT",
    "seal in.bpfseal --add-signature -k other.key.pem -i other.cert.pem -o OUT",
    "attach sample.bpf.o -i cert.pem --signature in.sig --emit bundle -o OUT",
    "inspect sample.bpf.o --html OUT",
    "inspect in.bpfseal --html OUT",
    "inspect sample.bpf.o --seal in.seal --html OUT",
];

/// Verbs that write into a directory, and the file that the test looks at.
const DIRECTORIES: [(&str, &str); 4] = [
    ("extract sample.bpf.o --dir DIR", "insns.bin"),
    ("extract in.bpfseal --dir DIR", "signature.der"),
    ("tbs sample.bpf.o -i cert.pem --dir DIR", "load-time.tbs"),
    (
        "seal sample.bpf.o -k key.pem -i cert.pem -o DIR/",
        "sample.lskel.h",
    ),
];

/// Verbs that print results.
const PRINTS: [&str; 18] = [
    "seal sample.bpf.o -k key.pem -i cert.pem -o -",
    "gen skeleton -L sample.bpf.o",
    "gen rust sample.bpf.o",
    "gen skeleton -S -k key.pem -i cert.pem sample.bpf.o",
    "verify in.bpfseal --trust cert.pem",
    "verify in.bpfseal --trust cert.pem --json",
    "audit in.bpfseal",
    "audit in.bpfseal --json",
    "explain in.bpfseal --keyring cert.pem",
    "explain in.bpfseal --keyring cert.pem --json",
    "diff sample.bpf.o in.bpfseal",
    "diff sample.bpf.o in.bpfseal --json",
    "inspect sample.bpf.o",
    "inspect sample.bpf.o --json",
    "inspect in.bpfseal --html -",
    "key show cert.pem",
    "tbs sample.bpf.o -i cert.pem --dir tbs",
    "--help",
];

fn bench() -> Bench {
    let mut bench = Bench::new();
    // Signatures that are added have a time.
    bench.env = vec![("SOURCE_DATE_EPOCH".to_owned(), "1".to_owned())];
    bench.good("seal sample.bpf.o -k key.pem -i cert.pem -o in.bpfseal");
    bench.good("seal sample.bpf.o -k key.pem -i cert.pem -o in.seal");
    bench.good("extract in.bpfseal --dir in");
    std::fs::rename(bench.path("in/signature.der"), bench.path("in.sig")).unwrap();
    bench
}

/// The lines of both tables for an output of that name, which has to end like an object's artifact.
fn lines(out: &str) -> Vec<String> {
    FILES.map(|line| line.replace("OUT", out)).to_vec()
}

/// No file that was not there is left: none with a temporary name above all.
#[track_caller]
fn nothing_left(bench: &Bench, folder: &str, before: &[String], line: &str) {
    assert_eq!(bench.files(folder), before, "{line}");
}

fn shell(bench: &Bench, script: &str) -> Ran {
    let program = env!("CARGO_BIN_EXE_bpfseal");
    let output = Command::new("sh")
        .arg("-c")
        .arg(format!("bpfseal() {{ '{program}' \"$@\"; }}; {script}"))
        .current_dir(bench.folder.path())
        .envs(bench.env.iter().cloned())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Ran {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        raw: output.stdout,
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().mode() & 0o7777
}

#[test]
fn a_new_file_and_what_is_replaced() {
    let bench = bench();
    for line in lines("new") {
        bench.good(&line);
        let bytes = bench.read("new");
        let masked = format!("umask 027; bpfseal {}", line.replace(" new", " masked"));
        assert_eq!(shell(&bench, &masked).code, 0);
        assert_eq!(mode(&bench.path("masked")), 0o640, "{line}");
        assert!(bench.read("masked") == bytes, "{line}");
        // An older output keeps its mode.
        for bits in [0o600, 0o755, 0o444, 0o4711] {
            std::fs::write(bench.path("old"), "old").unwrap();
            let permissions = std::fs::Permissions::from_mode(bits);
            std::fs::set_permissions(bench.path("old"), permissions).unwrap();
            bench.good(&line.replace(" new", " old"));
            assert_eq!(mode(&bench.path("old")), bits, "{line}");
            assert!(bench.read("old") == bytes, "{line}");
            std::fs::remove_file(bench.path("old")).unwrap();
        }
        for name in ["new", "masked"] {
            std::fs::remove_file(bench.path(name)).unwrap();
        }
    }
    for (line, file) in DIRECTORIES {
        bench.good(&line.replace("DIR", "d/e"));
        let path = bench.path("d/e").join(file);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o604)).unwrap();
        bench.good(&line.replace("DIR", "d/e"));
        assert_eq!(mode(&path), 0o604, "{line}");
        let names = bench.files("d/e");
        assert!(names.iter().all(|name| !name.starts_with('.')), "{names:?}");
        std::fs::remove_dir_all(bench.path("d")).unwrap();
    }
}

/// The owner of what is replaced stays: only root can show it.
#[test]
fn an_owner_is_kept() {
    let bench = bench();
    let line = "seal sample.bpf.o -k key.pem -i cert.pem -o a.h";
    bench.good(line);
    let path = bench.path("a.h");
    if std::os::unix::fs::chown(&path, Some(4711), Some(4712)).is_err() {
        eprintln!("SKIPPED: needs root");
        return;
    }
    bench.good(line);
    let now = path.metadata().unwrap();
    assert_eq!((now.uid(), now.gid()), (4711, 4712));
    // Another user: the file is written where it is if it may be, and else nothing happens.
    let permit = |path: &Path, bits| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(bits)).unwrap();
    };
    let inside = bench.path("inside");
    std::fs::create_dir(&inside).unwrap();
    let program = bench.path("bpfseal-copy");
    std::fs::copy(env!("CARGO_BIN_EXE_bpfseal"), &program).unwrap();
    permit(bench.folder.path(), 0o755);
    permit(&bench.path("key.pem"), 0o644);
    let as_other = |output: &str| {
        use std::os::unix::process::CommandExt as _;
        let mut command = Command::new(&program);
        command
            .args("seal sample.bpf.o -k key.pem -i cert.pem -o".split(' '))
            .arg(output)
            .current_dir(bench.folder.path())
            .uid(4713)
            .gid(4713);
        command.output().unwrap()
    };
    for (folder_mode, file_mode, good) in [
        (0o755, 0o666, true),
        (0o755, 0o644, false),
        (0o777, 0o666, true),
        (0o777, 0o644, false),
    ] {
        permit(&inside, folder_mode);
        let file = inside.join("a.h");
        std::fs::write(&file, "old").unwrap();
        permit(&file, file_mode);
        let output = as_other("inside/a.h");
        assert_eq!(output.status.success(), good, "{output:?}");
        let now = file.metadata().unwrap();
        assert_eq!((now.uid(), now.mode() & 0o777), (0, file_mode));
        assert_eq!(std::fs::read(&file).unwrap() != b"old", good);
        assert_eq!(bench.files("inside"), ["a.h"]);
    }
    // A link that somebody else has put where everybody writes is not followed.
    permit(&inside, 0o1777);
    symlink("/nowhere/x.h", inside.join("l.h")).unwrap();
    std::os::unix::fs::lchown(inside.join("l.h"), Some(4714), None).unwrap();
    let output = as_other("inside/l.h");
    assert_eq!(output.status.code(), Some(3));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("another user's symbolic link"), "{said}");
}

#[test]
fn links_are_kept() {
    let bench = bench();
    std::fs::create_dir(bench.path("sub")).unwrap();
    symlink("sub/target", bench.path("link")).unwrap();
    symlink("link", bench.path("chain")).unwrap();
    symlink("dangling-target", bench.path("sub/dangling")).unwrap();
    symlink("b", bench.path("a")).unwrap();
    symlink("a", bench.path("b")).unwrap();
    symlink("sub", bench.path("folder")).unwrap();
    for line in lines("chain") {
        std::fs::write(bench.path("sub/target"), "old").unwrap();
        bench.good(&line);
        for (name, target) in [("chain", "link"), ("link", "sub/target")] {
            let now = std::fs::read_link(bench.path(name)).unwrap();
            assert_eq!(now, Path::new(target), "{line}");
        }
        let bytes = bench.read("sub/target");
        assert!(bytes != b"old", "{line}");
        // A link to nothing: what it names is made.
        bench.good(&line.replace(" chain", " sub/dangling"));
        assert!(bench.read("sub/dangling-target") == bytes, "{line}");
        std::fs::remove_file(bench.path("sub/dangling-target")).unwrap();
        // Through a link to a directory.
        bench.good(&line.replace(" chain", " folder/x"));
        assert!(bench.read("sub/x") == bytes, "{line}");
        std::fs::remove_file(bench.path("sub/x")).unwrap();
        bench.bad(
            &line.replace(" chain", " a"),
            3,
            &["error: a: ", "symbolic links"],
        );
        nothing_left(&bench, "sub", &["dangling".into(), "target".into()], &line);
    }
    for (line, file) in DIRECTORIES {
        std::fs::create_dir(bench.path("d")).unwrap();
        symlink("../elsewhere", bench.path("d").join(file)).unwrap();
        bench.good(&line.replace("DIR", "d"));
        assert!(!bench.read("elsewhere").is_empty(), "{line}");
        assert!(bench.path("d").join(file).is_symlink(), "{line}");
        std::fs::remove_dir_all(bench.path("d")).unwrap();
        std::fs::remove_file(bench.path("elsewhere")).unwrap();
    }
}

#[test]
fn devices_and_pipes_are_fed() {
    let bench = bench();
    let made = Command::new("mkfifo")
        .arg("fifo")
        .current_dir(bench.folder.path())
        .status();
    assert!(made.unwrap().success());
    let before = bench.files(".");
    for line in lines("new") {
        bench.good(&line);
        let bytes = bench.read("new");
        std::fs::remove_file(bench.path("new")).unwrap();
        bench.good(&line.replace(" new", " /dev/null"));
        let null = Path::new("/dev/null").metadata().unwrap();
        assert!(null.file_type().is_char_device(), "{line}");
        // Standard output by each of its names.
        for name in ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"] {
            let ran = bench.good(&line.replace(" new", &format!(" {name}")));
            assert!(ran.raw == bytes, "{line}: {name}");
            // A file that a shell has opened keeps what it has.
            let line = line.replace(" new", &format!(" {name}"));
            let script = format!("(echo first; bpfseal {line}; echo last) > all");
            assert_eq!(shell(&bench, &script).code, 0, "{script}");
            let expect = [b"first\n".as_slice(), &bytes, b"last\n"].concat();
            assert!(bench.read("all") == expect, "{line}");
            std::fs::remove_file(bench.path("all")).unwrap();
        }
        let line3 = line.replace(" new", " /dev/fd/3");
        let script = format!("bpfseal {line3} 3> third");
        assert_eq!(shell(&bench, &script).code, 0, "{script}");
        assert!(bench.read("third") == bytes, "{line}");
        std::fs::remove_file(bench.path("third")).unwrap();
        let path = bench.path("fifo");
        let reader = std::thread::spawn(move || std::fs::read(path).unwrap());
        bench.good(&line.replace(" new", " fifo"));
        assert!(reader.join().unwrap() == bytes, "{line}");
        nothing_left(&bench, ".", &before, &line);
    }
}

#[test]
fn an_input_is_never_replaced() {
    let bench = bench();
    std::fs::create_dir(bench.path("sub")).unwrap();
    std::fs::create_dir(bench.path("d")).unwrap();
    let inputs = [
        "sample.bpf.o",
        "key.pem",
        "cert.pem",
        "in.bpfseal",
        "in.seal",
        "in.sig",
        "other.key.pem",
        "other.cert.pem",
    ];
    let before = inputs.map(|name| bench.read(name));
    let mut tried = 0;
    for line in FILES {
        for input in inputs
            .iter()
            .filter(|input| line.split(' ').any(|word| word == **input))
        {
            // The artifact to which a signature is added is replaced on purpose, by its own name.
            let replaced = line.contains("--add-signature") && *input == "in.bpfseal";
            std::fs::hard_link(bench.path(input), bench.path("d/hard")).unwrap();
            symlink(bench.path(input), bench.path("d/soft")).unwrap();
            let mut names = vec![format!("sub/../{input}"), "d/hard".into(), "d/soft".into()];
            names.extend((!replaced).then(|| (*input).to_owned()));
            for name in &names {
                let line = line.replace("OUT", name);
                bench.bad(&line, 3, &["is an input of this command"]);
                let now = inputs.map(|name| bench.read(name));
                assert!(now == before, "{line}");
                tried += 1;
            }
            std::fs::remove_dir_all(bench.path("d")).unwrap();
            std::fs::create_dir(bench.path("d")).unwrap();
        }
    }
    assert!(tried > 60, "{tried}");
    // Read from standard input, or only later in a batch.
    let script = "bpfseal seal - -k key.pem -i cert.pem --emit c -o sample.bpf.o < sample.bpf.o";
    let ran = shell(&bench, script);
    assert_eq!(ran.code, 3, "{}", ran.err);
    bench.take(&bench.path("sample.bpf.o"), "b.lskel.h");
    bench.take(&bench.path("sample.bpf.o"), "b.bpf.o");
    let object = bench.read("sample.bpf.o");
    let line = "seal b.bpf.o b.lskel.h -k key.pem -i cert.pem -o .";
    bench.bad(line, 3, &["is an input of this command"]);
    assert!(bench.read("b.lskel.h") == object);
    for (line, file) in DIRECTORIES {
        std::fs::create_dir_all(bench.path("in-place")).unwrap();
        std::fs::hard_link(
            bench.path("sample.bpf.o"),
            bench.path("in-place").join(file),
        )
        .unwrap();
        let line = line.replace("in.bpfseal", "sample.bpf.o -k key.pem -i cert.pem");
        let line = line.replace("DIR", "in-place");
        bench.bad(&line, 3, &["is an input of this command"]);
        assert!(bench.read("sample.bpf.o") == object, "{line}");
        std::fs::remove_dir_all(bench.path("in-place")).unwrap();
    }
}

#[test]
fn keys_replace_nothing() {
    let bench = bench();
    let before = bench.files(".");
    symlink("nowhere", bench.path("link")).unwrap();
    let new = "key new --cn me --key KEY --cert CERT";
    let delegate =
        "key delegate --ca cert.pem --ca-key key.pem --ttl 1h --cn me --key KEY --cert CERT";
    let cases = [
        ("cert.pem", "c.pem"),
        ("k.pem", "cert.pem"),
        ("k.pem", "k.pem"),
        ("link", "c.pem"),
        ("k.pem", "link"),
        ("no/k.pem", "c.pem"),
        ("k.pem", "no/c.pem"),
        ("/dev/full", "c.pem"),
        ("k.pem", "/dev/full"),
        ("/dev/stdout", "c.pem"),
        ("in", "c.pem"),
    ];
    for verb in [new, delegate] {
        for (key, cert) in cases {
            let line = verb.replace("KEY", key).replace("CERT", cert);
            bench.bad(&line, 3, &["error: "]);
        }
    }
    std::fs::remove_file(bench.path("link")).unwrap();
    nothing_left(&bench, ".", &before, new);
    bench.good(&new.replace("KEY", "k.pem").replace("CERT", "c.pem"));
    assert_eq!(mode(&bench.path("k.pem")), 0o600);
    bench.good("seal sample.bpf.o -k k.pem -i c.pem -o a.h");
}

#[test]
fn several_objects_need_a_directory() {
    let bench = bench();
    bench.take(&bench.path("sample.bpf.o"), "b.bpf.o");
    std::fs::write(bench.path("there"), "there").unwrap();
    symlink("nowhere", bench.path("dangling")).unwrap();
    let before = bench.files(".");
    for out in [
        "out.h",
        "out.rs",
        "out.bpfseal",
        "out.seal",
        "there",
        "dangling",
        "key.pem",
    ] {
        let line = format!("seal sample.bpf.o b.bpf.o -k key.pem -i cert.pem -o {out}");
        bench.bad(&line, 2, &["is one file", "-o DIR/"]);
    }
    // Nothing is made for a mistake that is noticed later.
    bench.bad(
        "seal sample.bpf.o b.bpf.o -k no.pem -i cert.pem -o d",
        3,
        &["no.pem"],
    );
    bench.bad(
        "seal sample.bpf.o -k no.pem -i cert.pem -o d/",
        3,
        &["no.pem"],
    );
    nothing_left(&bench, ".", &before, "several");
    bench.good("seal sample.bpf.o b.bpf.o -k key.pem -i cert.pem -o d");
    assert_eq!(bench.files("d"), ["b.lskel.h", "sample.lskel.h"]);
    // Names that are none.
    bench.take(&bench.path("sample.bpf.o"), ".bpf.o");
    for name in [".bpf.o", ".."] {
        let line = format!("seal {name} b.bpf.o -k key.pem -i cert.pem -o d");
        bench.bad(&line, 2, &["has no name"]);
    }
}

#[test]
fn what_is_no_place_for_a_file() {
    let bench = bench();
    std::fs::create_dir(bench.path("a-dir")).unwrap();
    symlink("a-dir", bench.path("to-dir")).unwrap();
    let before = bench.files(".");
    for line in lines("OUT") {
        let seal = line.contains("--emit");
        for (name, words) in [
            ("a-dir", "give the name of a file"),
            ("to-dir", "give the name of a file"),
            ("new/", "give the name of a file"),
            ("no/such/file", "create the directory first"),
            ("key.pem/file", "Not a directory"),
        ] {
            // `seal` takes a directory.
            if !seal || name.contains("file") {
                bench.bad(&line.replace("OUT", name), 3, &[words]);
            }
        }
        nothing_left(&bench, ".", &before, &line);
    }
}

#[test]
fn a_full_disk_is_one_line() {
    let bench = bench();
    for line in lines("/dev/full") {
        let ran = bench.bad(&line, 3, &["error: /dev/full: No space left"]);
        assert_eq!(ran.err.lines().count(), 1, "{line}: {}", ran.err);
    }
    let full: Vec<String> = [PRINTS.to_vec(), FILES.to_vec()]
        .concat()
        .iter()
        .map(|line| line.replace("OUT", "-"))
        .collect();
    for line in full {
        let ran = shell(&bench, &format!("bpfseal {line} > /dev/full"));
        assert_eq!(ran.code, 3, "{line}: {}", ran.err);
        let mut errors = ran.err.lines();
        let words = "error: standard output: No space left";
        assert!(errors.any(|l| l.starts_with(words)), "{line}: {}", ran.err);
        assert_eq!(ran.err.lines().count(), 1, "{line}: {}", ran.err);
        // Nor is it an accident when nobody can be told what is wrong.
        let ran = shell(&bench, &format!("bpfseal {line} > /dev/full 2> /dev/full"));
        assert_eq!(ran.code, 3, "{line}");
        let ran = shell(&bench, &format!("bpfseal {line} > /dev/null 2> /dev/full"));
        assert_eq!(ran.code, 0, "{line}");
    }
    let ran = shell(&bench, "bpfseal frobnicate 2> /dev/full");
    assert_eq!(ran.code, 2);
}

#[test]
fn a_closed_pipe_is_one_line() {
    let bench = bench();
    for line in PRINTS {
        let mut child = Command::new(env!("CARGO_BIN_EXE_bpfseal"))
            .args(line.split(' '))
            .current_dir(bench.folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Before it can have written all: most write more than a pipe holds, or are slower.
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        if line == "--help" {
            assert_eq!((output.status.code(), &*said), (Some(0), ""));
            continue;
        }
        assert!(said.lines().count() <= 1, "{line}: {said}");
        let broken = said.starts_with("error: standard output: Broken pipe");
        // It may have been faster than this test; then nothing went wrong.
        let code = output.status.code();
        assert!(
            code == Some(3) && broken || code == Some(0),
            "{line}: {code:?} {said}"
        );
    }
}

/// Whether files without a name are known where the tests run: only with them SIGKILL leaves nothing.
fn has_unnamed_files(folder: &Path) -> bool {
    use rustix::fs::{Mode, OFlags, open};
    open(folder, OFlags::TMPFILE | OFlags::WRONLY, Mode::RUSR).is_ok()
}

/// A batch that is ended by a signal leaves whole artifacts, and nothing else.
#[test]
fn a_signal_leaves_nothing_half_done() {
    let bench = bench();
    for index in 0..300 {
        let name = format!("o{index:03}.bpf.o");
        std::fs::hard_link(bench.path("sample.bpf.o"), bench.path(&name)).unwrap();
    }
    bench.good("seal sample.bpf.o -k key.pem -i cert.pem --name o -o whole.h");
    let whole = bench.read("whole.h").len();
    let inodes = || -> Vec<u64> {
        let Ok(folder) = std::fs::read_dir(bench.path("out")) else {
            return Vec::new();
        };
        let metadata = folder.map(|entry| entry.unwrap().path().symlink_metadata());
        metadata.flatten().map(|file| file.ino()).collect()
    };
    // Into a new directory first, then over what is there.
    for signal in ["KILL", "INT", "TERM", "HUP"] {
        if signal == "KILL" && !has_unnamed_files(bench.folder.path()) {
            eprintln!("SKIPPED: this file system has no files without names");
            continue;
        }
        let before = inodes();
        let script = format!(
            "exec {} seal o*.bpf.o -k key.pem -i cert.pem -o out",
            env!("CARGO_BIN_EXE_bpfseal")
        );
        let mut child = Command::new("sh")
            .args(["-c", &script])
            .current_dir(bench.folder.path())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        while !inodes().iter().any(|inode| !before.contains(inode)) {
            assert!(child.try_wait().unwrap().is_none(), "it wrote nothing");
        }
        let kill = Command::new("kill")
            .args([format!("-{signal}"), child.id().to_string()])
            .status();
        assert!(kill.unwrap().success());
        child.wait().unwrap();
        for name in bench.files("out") {
            assert!(name.ends_with(".lskel.h"), "{signal}: {name}");
            let len = bench.read(&format!("out/{name}")).len();
            assert!(len.abs_diff(whole) < whole / 8, "{signal}: {name}: {len}");
        }
    }
}

/// Where files without a name are not known: `/dev/shm` and most others know them, so this is only
/// that what is read back is right on another file system.
#[test]
fn another_file_system() {
    let Ok(folder) = tempfile::tempdir_in("/dev/shm") else {
        eprintln!("SKIPPED: no /dev/shm");
        return;
    };
    let bench = bench();
    let out = folder.path().join("a.bpfseal");
    bench.good(&format!(
        "seal sample.bpf.o -k key.pem -i cert.pem -o {}",
        out.display()
    ));
    let mut bytes = Vec::new();
    let mut file = std::fs::File::open(out).unwrap();
    file.read_to_end(&mut bytes).unwrap();
    assert!(bytes == bench.read("in.bpfseal"));
}
