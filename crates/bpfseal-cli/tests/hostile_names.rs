//! Nothing that comes from a file reaches a terminal unescaped: hostile names in every field,
//! through every verb.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::process::{Command, Stdio};

use common::{Bench, testdata};

/// What a terminal obeys or hides: a colour, a title, C1 controls, a bell, bidirectional controls,
/// zero-width characters; and a line that somebody else made.
const HOSTILE: &str = "\nFORGED\x1b[31m\x07\x08\r\u{9b}\u{202e}\u{2066}\u{200b}\u{feff}\u{2028}";

/// Shorter ones for fields that are short, as a name may not get longer.
fn hostile(len: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for c in HOSTILE.chars().chain(std::iter::repeat('\x1b')) {
        let mut buffer = [0; 4];
        let encoded = c.encode_utf8(&mut buffer).as_bytes();
        if bytes.len() + encoded.len() <= len {
            bytes.extend(encoded);
        }
        if bytes.len() == len {
            return bytes;
        }
    }
    bytes
}

/// Another order, so that short fields see every character.
fn rotated(len: usize, by: usize) -> Vec<u8> {
    let all: Vec<char> = HOSTILE.chars().collect();
    let mut bytes = Vec::new();
    for c in all.iter().cycle().skip(by).take(all.len()) {
        let text = c.to_string();
        if bytes.len() + text.len() <= len {
            bytes.extend(text.as_bytes());
        }
    }
    bytes.resize(len, 0x1b);
    bytes
}

/// Replaces a text by one of the same length, wherever it stands.
fn patched(bytes: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    assert_eq!(old.len(), new.len());
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at + old.len() <= out.len() {
        if &out[at..at + old.len()] == old {
            out[at..at + old.len()].copy_from_slice(new);
            at += old.len();
        } else {
            at += 1;
        }
    }
    out
}

/// What is wrong with what was printed.
fn fault(printed: &[u8]) -> Option<String> {
    let Ok(text) = std::str::from_utf8(printed) else {
        return Some("it is not UTF-8".to_owned());
    };
    let bad = text.chars().find(|&c| {
        let hidden = matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{61c}');
        (c.is_control() && c != '\n') || hidden
    });
    if let Some(bad) = bad {
        return Some(format!("it has {bad:?}"));
    }
    if text.starts_with("<!DOCTYPE") {
        // In a page the end of a line is a space.
        return None;
    }
    let forged = text.lines().find(|line| line.starts_with("FORGED"));
    forged.map(|line| format!("a name made the line {line:?}"))
}

fn run(bench: &Bench, words: &[OsString]) -> (Vec<u8>, Vec<u8>) {
    let output = Command::new(env!("CARGO_BIN_EXE_bpfseal"))
        .args(words)
        .current_dir(bench.folder.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(
        output.status.code().is_some_and(|code| code <= 3),
        "{words:?}"
    );
    (output.stdout, output.stderr)
}

#[track_caller]
fn check(bench: &Bench, words: &[OsString], what: &str) -> bool {
    let (out, err) = run(bench, words);
    // What is in generated code is for its generators to say; here it goes into a pipe.
    let code = words[0] == "gen";
    for (name, printed) in [("standard output", &out), ("standard error", &err)] {
        if code && name == "standard output" {
            continue;
        }
        if let Some(fault) = fault(printed) {
            let text = String::from_utf8_lossy(printed);
            let start: String = text.chars().take(600).collect();
            panic!("{what}: {words:?}: {name}: {fault}: {start:?}");
        }
    }
    !out.is_empty()
}

fn words(line: &str) -> Vec<OsString> {
    line.split(' ').map(OsString::from).collect()
}

/// Verbs that take an object.
const OF_OBJECT: [&str; 15] = [
    "inspect X",
    "inspect X --json",
    "inspect X --html -",
    "diff X sample.bpf.o",
    "diff sample.bpf.o X --json",
    "seal X -k key.pem -i cert.pem -o out.bpfseal",
    "seal X sample.bpf.o -k key.pem -i cert.pem -o out",
    "seal X -k key.pem -i cert.pem -o out.seal",
    "tbs X -i cert.pem --dir out",
    "extract X --dir out",
    "gen skeleton -L X",
    "gen rust X",
    "verify X --seal good.seal --trust cert.pem",
    "audit good.bpfseal --object X",
    "audit good.bpfseal --object X --json",
];

/// Verbs that take an artifact.
const OF_ARTIFACT: [&str; 14] = [
    "inspect X",
    "inspect X --json",
    "inspect X --html -",
    "verify X --trust cert.pem",
    "verify X --trust cert.pem --json",
    "audit X",
    "audit X --object sample.bpf.o --json",
    "explain X --keyring cert.pem",
    "explain X --keyring cert.pem --kernel 7.3 --policy all-signed",
    "explain X --json",
    "diff X sample.bpf.o",
    "diff good.bpfseal X --json",
    "seal X --add-signature -k other.key.pem -i other.cert.pem -o out.bpfseal",
    "load X",
];

fn bench() -> Bench {
    let bench = Bench::new();
    bench.good("seal sample.bpf.o -k key.pem -i cert.pem -o good.seal");
    bench.good("seal sample.bpf.o -k key.pem -i cert.pem --scheme all-kernels -o good.bpfseal");
    bench
}

/// Names of an object that are worth changing: those of its strings that are long enough.
fn strings(bytes: &[u8]) -> Vec<Vec<u8>> {
    let words = bytes.split(|b| !(b.is_ascii_alphanumeric() || b"_/.".contains(b)));
    let mut all: Vec<_> = words
        .filter(|word| word.len() >= 3)
        .map(<[u8]>::to_vec)
        .collect();
    all.sort();
    all.dedup();
    all
}

#[test]
fn names_in_objects() {
    let bench = bench();
    let mut shown = 0;
    for (object, names) in [
        (
            "sample",
            vec![
                "on_sys_enter",
                "calls",
                "license",
                "GPL",
                ".maps",
                "tracepoint",
            ],
        ),
        (
            "kconfig",
            vec!["CONFIG_HZ", ".kconfig", "LINUX_KERNEL_VERSION"],
        ),
        ("ksyms", vec![".ksyms"]),
        ("globals", vec![".data", ".bss", ".rodata", "_license"]),
    ] {
        let path = testdata().join(format!("objects/{object}.bpf.o"));
        let good = std::fs::read(path).unwrap();
        // The named ones, and some of all the others.
        let others = strings(&good);
        let others: Vec<&[u8]> = others.iter().map(Vec::as_slice).step_by(40).collect();
        let names = names.iter().map(|name| name.as_bytes()).chain(others);
        for (index, name) in names.enumerate() {
            for new in [hostile(name.len()), rotated(name.len(), index)] {
                let bad = patched(&good, name, &new);
                if bad == good {
                    continue;
                }
                std::fs::write(bench.path("bad.bpf.o"), bad).unwrap();
                // All verbs for the named ones, some for the rest.
                let verbs = OF_OBJECT.iter().skip(index % 3);
                let step = if index < 6 { 1 } else { 5 };
                for line in verbs.step_by(step) {
                    let line = words(&line.replace('X', "bad.bpf.o"));
                    let what = format!("{object}: {}", name.escape_ascii());
                    shown += usize::from(check(&bench, &line, &what));
                }
            }
        }
    }
    assert!(shown > 100, "{shown}");
}

/// Generated code, on a terminal: `script` has one.
#[test]
fn code_on_a_terminal() {
    if Command::new("script").arg("--version").output().is_err() {
        eprintln!("SKIPPED: no `script`");
        return;
    }
    let bench = bench();
    let good = std::fs::read(testdata().join("objects/kconfig.bpf.o")).unwrap();
    let program = env!("CARGO_BIN_EXE_bpfseal");
    for name in ["unsigned", "CONFIG_HZ", "kconfig"] {
        let new = rotated(name.len(), 7);
        let bad = patched(&good, name.as_bytes(), &new);
        std::fs::write(bench.path("bad.bpf.o"), bad).unwrap();
        for (verb, is_text) in [
            ("gen skeleton -L bad.bpf.o", true),
            ("gen rust bad.bpf.o", true),
            ("inspect bad.bpf.o --html -", true),
            (
                "seal sample.bpf.o -k key.pem -i cert.pem -o - --emit bundle",
                false,
            ),
        ] {
            let output = Command::new("script")
                .args(["-qec", &format!("{program} {verb}"), "/dev/null"])
                .current_dir(bench.folder.path())
                .stdin(Stdio::null())
                .output()
                .unwrap();
            // The terminal adds these.
            let text = String::from_utf8(output.stdout)
                .unwrap()
                .replace("\r\n", "\n");
            let text = text.replace('\t', " ");
            let fault = fault(text.as_bytes());
            assert!(
                fault.is_none() || text.starts_with("/*") && is_text,
                "{verb}: {fault:?}"
            );
            assert!(!text.contains('\x1b'), "{verb}: {name}");
            assert_eq!(
                text.contains("redirect it to a file"),
                !is_text,
                "{verb}: {text}"
            );
        }
    }
}

#[test]
fn names_in_artifacts() {
    let bench = bench();
    bench.good("seal sample.bpf.o -k key.pem -i cert.pem --provenance -o p.bpfseal");
    bench.good("seal sample.bpf.o -k key.pem -i cert.pem -o g.lskel.h");
    bench.good("seal sample.bpf.o -k key.pem -i cert.pem -o g.rs");
    let mut shown = 0;
    for file in ["p.bpfseal", "good.bpfseal", "g.lskel.h", "g.rs"] {
        let good = bench.read(file);
        let ending = file.split_once('.').unwrap().1;
        for (index, name) in [
            "on_sys_enter",
            "calls",
            "sample_bpf",
            "tracepoint",
            "GPL",
            "bpfseal",
            "__u64",
            "skel",
        ]
        .iter()
        .enumerate()
        {
            for new in [hostile(name.len()), rotated(name.len(), index + 3)] {
                let bad = patched(&good, name.as_bytes(), &new);
                if bad == good {
                    continue;
                }
                let name = format!("bad.{ending}");
                std::fs::write(bench.path(&name), bad).unwrap();
                for line in OF_ARTIFACT {
                    let line = words(&line.replace('X', &name));
                    shown += usize::from(check(&bench, &line, file));
                }
            }
        }
    }
    assert!(shown > 50, "{shown}");
}

#[test]
fn names_in_certificates() {
    let bench = bench();
    let cn = HOSTILE.to_owned();
    let line = words("key new --key h.key --cert h.pem --cn");
    let line = [line, vec![OsString::from(cn)]].concat();
    let (_, err) = run(&bench, &line);
    assert!(
        bench.path("h.pem").exists(),
        "{}",
        String::from_utf8_lossy(&err)
    );
    bench.good("seal sample.bpf.o -k h.key -i h.pem --embed-chain -o h.bpfseal");
    let mut shown = 0;
    for line in OF_ARTIFACT {
        let line = line.replace('X', "h.bpfseal").replace("cert.pem", "h.pem");
        shown += usize::from(check(&bench, &words(&line), "certificate"));
    }
    assert!(shown > 10, "{shown}");
    for line in [
        "key show h.pem",
        "verify h.bpfseal --trust cert.pem",
        "verify h.bpfseal --trust h.pem --revoked h.pem",
        "verify good.bpfseal --trust cert.pem --require-chain-to h.pem",
        "seal sample.bpf.o -k key.pem -i h.pem -o x.h",
        "seal good.bpfseal --add-signature -k h.key -i h.pem -o x.bpfseal",
        "verify x.bpfseal --trust cert.pem",
        "keyring add h.pem",
        "keyring list",
        "keyring list --json",
        "load h.bpfseal --trust h.pem",
    ] {
        check(&bench, &words(line), "certificate");
    }
}

/// Names of files, where they exist and where not; and words of the command line.
#[test]
fn names_of_files() {
    let bench = bench();
    let mut name = HOSTILE.as_bytes().to_vec();
    name.extend(b"\xff\xfe");
    for ending in [".bpf.o", ".bpfseal", ".pem", ".seal", ".nothing"] {
        let name = OsString::from_vec([&name, ending.as_bytes()].concat());
        match ending {
            ".bpf.o" => bench.take(&bench.path("sample.bpf.o"), "x"),
            ".bpfseal" => bench.take(&bench.path("good.bpfseal"), "x"),
            ".pem" => bench.take(&bench.path("cert.pem"), "x"),
            _ => bench.take(&bench.path("good.seal"), "x"),
        }
        if ending != ".nothing" {
            std::fs::rename(bench.path("x"), bench.folder.path().join(&name)).unwrap();
        }
        let all = OF_OBJECT.iter().chain(&OF_ARTIFACT).copied();
        for line in all.chain([
            "X",
            "key show X",
            "key X",
            "seal sample.bpf.o -k X -i cert.pem",
            "seal sample.bpf.o -k key.pem -i X",
            "seal sample.bpf.o -k key.pem -i cert.pem -o X",
            "seal sample.bpf.o -k key.pem -i cert.pem --emit c -o X",
            "seal sample.bpf.o -k key.pem -i cert.pem -o no/such/X",
            "seal sample.bpf.o -k key.pem -i cert.pem --name X",
            "seal sample.bpf.o -k key.pem -i cert.pem --scheme X",
            "seal sample.bpf.o -k key.pem -i cert.pem --digest X",
            "seal sample.bpf.o -k key.pem -i cert.pem --kernel-version X",
            "seal sample.bpf.o -k key.pem -i cert.pem --kconfig X",
            "seal sample.bpf.o -k key.pem -i cert.pem --X",
            "extract sample.bpf.o --dir X",
            "inspect sample.bpf.o --html X",
            "attach sample.bpf.o -i cert.pem --signature X -o x.h",
            "verify good.bpfseal --trust X",
            "verify good.bpfseal --trust cert.pem --revoked X",
            "verify good.bpfseal --trust cert.pem --revoked tbs:X",
            "explain good.bpfseal --keyring X",
            "explain good.bpfseal --kernel X",
            "explain good.bpfseal --policy X",
            "explain good.bpfseal --keyring-id X",
            "explain good.bpfseal --kernel-btf X",
            "audit good.bpfseal --kernel-symbols X",
            "load good.bpfseal --keyring X",
            "load good.bpfseal --trust X",
            "load good.bpfseal --pin X",
            "load good.bpfseal --min-scheme X",
            "keyring list X",
            "keyring add X",
            "keyring new X --in session",
            "keyring restrict session --to X",
            "keyring find X",
            "key new --cn X --key key.pem --cert c.pem",
            "gen skeleton -L sample.bpf.o name X",
            "gen X",
        ]) {
            let line: Vec<OsString> = line
                .split(' ')
                .map(|word| match word.split_once('X') {
                    Some((before, _)) => {
                        let mut word = OsString::from(before);
                        word.push(&name);
                        word
                    }
                    None => OsString::from(word),
                })
                .collect();
            check(&bench, &line, "a file's name");
            let json = [line, vec!["--json".into()]].concat();
            check(&bench, &json, "a file's name, JSON");
        }
    }
}
