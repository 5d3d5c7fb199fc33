//! No secret in any message: from every place where one comes in, through every error.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::ffi::{OsStr, OsString};
use std::io::{Read as _, Write as _};
use std::os::unix::ffi::OsStringExt as _;
use std::process::{Command, Stdio};

use common::{Bench, testdata};

/// What must not be seen. Letters alone, so that it may stand anywhere a name may.
const PROGRAM: &str = env!("CARGO_BIN_EXE_bpfseal");
const SECRET: &str = "swordfish";

fn command(bench: &Bench) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bpfseal"));
    command
        .current_dir(bench.folder.path())
        .envs(bench.env.iter().cloned());
    command
}

/// Runs what has to fail, and looks at everything that it says for a secret.
#[track_caller]
fn silent<S: AsRef<OsStr>>(mut command: Command, args: &[S], input: &[u8], secrets: &[&str]) {
    let mut child = command
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // One that does not read it is gone already.
    let _ = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    let line: Vec<_> = args.iter().map(AsRef::as_ref).collect();
    assert!(!output.status.success(), "{line:?}");
    let all = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&all).to_lowercase();
    assert!(!said.is_empty(), "{line:?}");
    for secret in secrets {
        assert!(!said.contains(&secret.to_lowercase()), "{line:?}: {said}");
    }
}

#[track_caller]
fn line(bench: &Bench, line: &str) {
    let words: Vec<_> = line.split_whitespace().collect();
    silent(command(bench), &words, b"", &[SECRET]);
}

#[test]
fn a_pin_in_a_uri() {
    let bench = Bench::new();
    for uri in [
        "pkcs11:token=x?pin-value=swordfish",
        "pkcs11:token=x;pin-value=swordfish",
        "pkcs11:token=x?pin-value=swordfish&module-path=/no/such",
        "pkcs11:token=x?module-path=/no/such&pin-value=swordfish",
        "pkcs11:token=x?pin-value=%swordfish",
        "pkcs11:token=x?pin-value=a&swordfish",
        "pkcs11:token=x?pin-value:swordfish",
        "pkcs11:token=x?pin_value=swordfish",
        "pkcs11:token=x?pin=swordfish",
        "pkcs11:token=x?swordfish",
        "pkcs11:swordfish",
        "pkcs11:slot-id=swordfish",
        "pkcs11:type=swordfish",
        "PKCS11:token=x?pin-value=swordfish",
        "pkcs12:token=x?pin-value=swordfish",
        "x/pkcs11:token=x?pin-value=swordfish",
    ] {
        for verb in [
            "seal sample.bpf.o -i cert.pem -k",
            "seal sample.bpf.o -i cert.pem --passphrase-env HOME -k",
            "extract sample.bpf.o --dir x -i cert.pem -k",
            "gen skeleton -S sample.bpf.o -i cert.pem -k",
            "seal x.bpfseal --add-signature -i cert.pem -k",
        ] {
            line(&bench, &format!("{verb} {uri}"));
        }
    }
    // Where no key belongs.
    let uri = "pkcs11:token=x?pin-value=swordfish";
    for words in [
        "verify -k",
        "verify",
        "inspect",
        "key",
        "key show",
        "key delegate --ca cert.pem --ttl 1h --cn x --key k --cert c --ca-key",
        "seal -i cert.pem -k key.pem",
        "seal sample.bpf.o -k key.pem -i",
        "tbs sample.bpf.o --dir x -i cert.pem -k",
        "tbs sample.bpf.o --dir x -i",
        "seal sample.bpf.o --scheme",
        "load --keyring",
    ] {
        line(&bench, &format!("{words} {uri}"));
    }
    let raw = OsString::from_vec(b"pkcs11:token=\xff?pin-value=swordfish".to_vec());
    let mut words: Vec<OsString> = ["seal", "sample.bpf.o", "-i", "cert.pem", "-k"]
        .map(OsString::from)
        .to_vec();
    words.push(raw);
    silent(command(&bench), &words, b"", &[SECRET]);
}

#[test]
fn a_passphrase_in_a_file_or_the_environment() {
    let mut bench = Bench::new();
    bench.take(&testdata().join("keys/p256.encrypted.pem"), "locked.pem");
    let write = |name: &str, bytes: &[u8]| std::fs::write(bench.path(name), bytes).unwrap();
    write("pass", b"swordfish\nswordfish\n");
    write("raw", b"swordfish\xff\xfe");
    bench.env = vec![("PASS".to_owned(), SECRET.to_owned())];
    let seal = "seal sample.bpf.o -i other.cert.pem -k";
    for key in ["locked.pem", "cert.pem", "sample.bpf.o", "pass", "no-key"] {
        for from in [
            "--passphrase-file pass",
            "--passphrase-file raw",
            "--passphrase-env PASS",
            // The passphrase itself, by mistake.
            "--passphrase-env swordfish",
        ] {
            line(&bench, &format!("{seal} {key} {from}"));
        }
        // Of the last one it is not known, but it is there.
        let words: Vec<_> = format!("{seal} {key} --passphrase-file -")
            .split(' ')
            .map(str::to_owned)
            .collect();
        silent(command(&bench), &words, b"swordfish\n", &[SECRET]);
    }
    // The key is not encrypted, and something else is wrong.
    line(
        &bench,
        "seal sample.bpf.o -i cert.pem -k other.key.pem --passphrase-file pass",
    );
    line(
        &bench,
        "seal pass -i cert.pem -k key.pem --passphrase-file pass",
    );
    // A value that is not text.
    let mut not_text = command(&bench);
    not_text.env("PASS", OsString::from_vec(b"swordfish\xff".to_vec()));
    let words = format!("{seal} locked.pem --passphrase-env PASS");
    let words: Vec<_> = words.split(' ').collect();
    silent(not_text, &words, b"", &[SECRET]);
    // A passphrase file where something else belongs.
    for words in [
        "verify pass --trust cert.pem",
        "verify sample.bpf.o --trust pass",
        "inspect pass",
        "audit pass",
        "diff pass sample.bpf.o",
        "explain pass",
        "key show pass",
        "extract pass --dir x",
        "seal pass -k key.pem -i cert.pem",
        "seal sample.bpf.o -k key.pem -i pass",
        "seal sample.bpf.o -k key.pem -i cert.pem --embed-chain pass -o x.h",
        "attach sample.bpf.o -i cert.pem --signature pass -o x.h",
        "keyring add pass",
    ] {
        line(&bench, words);
    }
}

/// On a terminal: `script` has one.
#[test]
fn a_passphrase_that_is_typed() {
    if Command::new("script").arg("--version").output().is_err() {
        eprintln!("skipped: no `script`");
        return;
    }
    let bench = Bench::new();
    bench.take(&testdata().join("keys/p256.encrypted.pem"), "locked.pem");
    let run = format!("{PROGRAM} seal sample.bpf.o -k locked.pem -i other.cert.pem -o x.h");
    let (said, code) = on_a_terminal(&bench, &run, b"swordfish\n");
    assert_ne!(code, Some(0), "{said}");
    assert!(said.contains("check the passphrase"), "{said}");
    assert!(!said.contains(SECRET), "{said}");
}

/// Ctrl-C ends the command as a signal does, and the terminal is as before.
#[test]
fn an_interrupt_at_the_prompt() {
    if Command::new("script").arg("--version").output().is_err() {
        eprintln!("skipped: no `script`");
        return;
    }
    let bench = Bench::new();
    bench.take(&testdata().join("keys/p256.encrypted.pem"), "locked.pem");
    let run = format!(
        "{PROGRAM} seal sample.bpf.o -k locked.pem -i cert.pem -o x.h; echo code $?; stty -a"
    );
    let (said, _) = on_a_terminal(&bench, &run, b"sword\x03");
    assert!(said.contains("code 130"), "{said}");
    for mode in [" echo ", " icanon ", "isig "] {
        assert!(said.contains(mode), "no `{mode}`: {said}");
    }
    assert!(!said.contains("sword"), "{said}");
    assert!(!bench.folder.path().join("x.h").exists());
}

/// Runs a command line of a shell on a terminal of its own, and answers its first question with
/// `keys`; what was shown, and the exit code.
fn on_a_terminal(bench: &Bench, run: &str, keys: &[u8]) -> (String, Option<i32>) {
    let mut child = Command::new("script")
        .args(["-qec", run, "/dev/null"])
        .current_dir(bench.folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut said = Vec::new();
    let mut out = child.stdout.take().unwrap();
    let mut byte = [0];
    // Echoing stopped before it asks.
    while !said.ends_with(b"locked.pem: ") {
        assert_eq!(out.read(&mut byte).unwrap(), 1, "{said:?}");
        said.push(byte[0]);
    }
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(keys).unwrap();
    out.read_to_end(&mut said).unwrap();
    let code = child.wait().unwrap().code();
    (String::from_utf8_lossy(&said).into_owned(), code)
}

#[test]
fn secrets_of_a_signer_command() {
    let mut bench = Bench::new();
    bench.env = vec![("TOKEN".to_owned(), SECRET.to_owned())];
    for signer in [
        "false --pin swordfish",
        "PIN=swordfish false",
        "PIN='a swordfish' false",
        "echo swordfish | false",
        "cat > /dev/null; exit 3; echo swordfish",
        "exec < /dev/null; echo swordfish",
        "test -z \"$TOKEN\"",
        // Its answer is no signature.
        "cat > /dev/null; echo $TOKEN",
        "cat > /dev/null; echo $TOKEN; exit 3",
        "cat > /dev/null; kill -9 $$",
        // A good signature of another key.
        "openssl dgst -sha256 -sign key.pem -passin pass:swordfish",
    ] {
        for rest in [
            &["-i", "other.cert.pem"][..],
            &["-i", "other.cert.pem", "--signer-digest"],
            &["-i", "no.pem"],
            &["-i", "other.cert.pem", "--scheme", "none"],
            &["-i", "other.cert.pem", "--no-such-option"],
            &["-k", "key.pem", "-i", "other.cert.pem"],
            &[],
        ] {
            let words = [&["seal", "sample.bpf.o", "--signer-command", signer], rest].concat();
            silent(command(&bench), &words, b"", &[SECRET]);
        }
    }
}

/// Keys that are damaged in every way, where a key belongs and where it does not.
#[test]
fn the_body_of_a_key() {
    let bench = Bench::new();
    // Of none of them, so that nothing succeeds.
    bench.take(&testdata().join("keys/p384.cert.pem"), "third.pem");
    let names = [
        "p256.key.pem",
        "p256.sec1.pem",
        "rsa2048.pkcs1.pem",
        "mldsa44.seed.pem",
        "p256.encrypted.pem",
        "ed25519.key.pem",
    ];
    for name in names {
        let good = std::fs::read_to_string(testdata().join("keys").join(name)).unwrap();
        let lines: Vec<&str> = good.lines().collect();
        let body: Vec<&str> = lines
            .iter()
            .copied()
            .filter(|l| !l.contains("---"))
            .collect();
        let begin = lines[0];
        let end = *lines.last().unwrap();
        let all = body.join("\n");
        let damaged = [
            // A blank line makes headers of what is before it.
            format!("{begin}\n{}\n\n{}\n{end}\n", &all[..20], &all[20..]),
            format!("{begin}\n{all}\n\n{end}\n"),
            format!("{begin}\nX: {all}\n\n{end}\n"),
            // Dashes are missing: the label goes on.
            format!("{}\n{all}\n{end}\n", begin.trim_end_matches('-')),
            format!(
                "{}\n{all}\n{end}\n{begin}\n{all}\n{end}\n",
                begin.trim_end_matches('-')
            ),
            format!(
                "{}-\n{all}\n-----END {all}-----\n",
                begin.trim_end_matches('-')
            ),
            format!("{begin}\n{all}\n{}\n", end.trim_start_matches('-')),
            format!("{begin}\n{all}\n"),
            format!("{begin}{all}{end}"),
            format!("{begin}\n{all}\n-----END {}-----\n", body[0]),
            format!("-----BEGIN {0}-----\n{all}\n-----END {0}-----\n", body[0]),
            format!("-----BEGIN X-----\n{all}\n-----END X-----\n"),
            format!("-----BEGIN CERTIFICATE-----\n{all}\n-----END CERTIFICATE-----\n"),
            // Not base64, or of another length.
            format!("{begin}\n{}!{}\n{end}\n", &all[..20], &all[20..]),
            format!("{begin}\n{}\n{end}\n", &all[..all.len() - 5]),
            format!("{begin}\n{}\n{end}\n", &all[8..]),
            format!("{begin}\n{}\n{end}\n", &all[..20]),
            format!("{begin}\n{all}{all}\n{end}\n"),
            format!("Proc-Type: {all}\n{begin}\n{all}\n{end}\n"),
            all.clone(),
        ];
        // Any eight letters of the body.
        let letters: String = body.concat();
        let windows: Vec<&str> = (0..letters.len() - 8)
            .step_by(4)
            .map(|at| &letters[at..at + 8])
            // Numbers of algorithms are no secret, and zeroes stand everywhere.
            .filter(|window| *window != "AAAAAAAA")
            .collect();
        for (index, text) in damaged.iter().enumerate() {
            std::fs::write(bench.path("bad.pem"), text).unwrap();
            let mut lines = vec![
                "seal sample.bpf.o -k bad.pem -i third.pem -o x.h",
                "seal sample.bpf.o -k bad.pem -i third.pem -o x.h --passphrase-file cert.pem",
                "key delegate --ca third.pem --ca-key bad.pem --ttl 1h --cn x --key k --cert c",
                "seal sample.bpf.o -k key.pem -i bad.pem",
            ];
            // Where no key belongs: the same for each kind of damage, so once for each key.
            if index % 5 == 0 {
                lines.extend([
                    "verify bad.pem --trust cert.pem",
                    "verify sample.bpf.o --trust bad.pem",
                    "verify sample.bpf.o --seal bad.pem --trust cert.pem",
                    "inspect bad.pem",
                    "audit bad.pem",
                    "diff bad.pem sample.bpf.o",
                    "explain bad.pem",
                    "key show bad.pem",
                    "extract bad.pem --dir x",
                    "seal bad.pem -k key.pem -i cert.pem",
                    "seal bad.pem --add-signature -k key.pem -i cert.pem",
                    "attach sample.bpf.o -i cert.pem --signature bad.pem -o x.h",
                ]);
            }
            for line in lines {
                let words: Vec<_> = line.split(' ').collect();
                silent(command(&bench), &words, b"", &windows);
            }
        }
    }
}
