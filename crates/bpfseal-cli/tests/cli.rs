//! The command as its users run it: the real binary in a temporary folder.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::path::Path;
use std::process::Command;

use common::{Bench, testdata};

#[test]
fn seal_then_verify() {
    let bench = Bench::new();
    bench.good("seal sample.bpf.o -k key.pem -i cert.pem");
    let ran = bench.good("verify sample.lskel.h --trust cert.pem");
    assert!(
        ran.out
            .starts_with("good: sample.lskel.h: load-time is verified; names"),
        "{}",
        ran.out
    );
    bench.good("verify sample.lskel.h --trust cert.der");
    bench.good("verify --trust cert.pem sample.lskel.h");
    bench.bad("verify --trust cert.pem", 2, &["no artifact"]);
    let ran = bench.good("verify sample.lskel.h --trust cert.pem --json");
    let json: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(json["verdict"], "good");
    assert_eq!(json["scheme"], "load-time");
    let ran = bench.bad(
        "verify sample.lskel.h --trust other.cert.pem --json",
        1,
        &["ENOKEY"],
    );
    let json: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(
        (&json["verdict"], &json["check"]),
        (&"rejected".into(), &"trust".into())
    );
    bench.bad(
        "verify sample.lskel.h --trust cert.pem --revoked cert.pem",
        1,
        &["revoked"],
    );
}

#[test]
fn an_unsigned_artifact_is_rejected() {
    let bench = Bench::new();
    let ran = bench.good("gen skeleton -L sample.bpf.o");
    std::fs::write(bench.path("unsigned.h"), ran.raw).unwrap();
    bench.bad("verify unsigned.h --trust cert.pem", 1, &["not signed"]);
}

#[test]
fn a_changed_byte_is_rejected() {
    let bench = Bench::new();
    bench.good("seal sample.bpf.o -k key.pem -i cert.pem -o good.h");
    let text = String::from_utf8(bench.read("good.h")).unwrap();
    for (array, words) in [
        ("opts_data[]", ["EKEYREJECTED", "signature"]),
        ("opts_insn[]", ["EACCES", "excl_prog_hash"]),
        ("opts_excl_hash[]", ["EACCES", "excl_prog_hash"]),
    ] {
        let from = text.find(array).unwrap();
        let at = from + text[from..].find("\\x").unwrap() + 2;
        let mut changed = text.clone();
        let digit = if &text[at..=at] == "a" { "b" } else { "a" };
        changed.replace_range(at..=at, digit);
        std::fs::write(bench.path("bad.h"), changed).unwrap();
        bench.bad("verify bad.h --trust cert.pem", 1, &words);
    }
}

#[test]
fn gen_skeleton_takes_what_bpftool_takes() {
    let bench = Bench::new();
    let sealed = bench.good("gen skeleton -L -S -k key.pem -i cert.pem sample.bpf.o");
    for line in [
        "-L -S -k key.pem -i cert.pem gen skeleton sample.bpf.o",
        "gen skeleton sample.bpf.o -S -k key.pem -i cert.pem",
        "gen -LS -kkey.pem -icert.der skeleton sample.bpf.o name sample_bpf",
        "--use-loader --sign -k key.pem -i cert.pem gen skeleton sample.bpf.o n sample_bpf",
    ] {
        assert_eq!(bench.good(line).out, sealed.out, "{line}");
    }
    bench.good("seal sample.bpf.o -k key.pem -i cert.pem -o other.h");
    assert_eq!(bench.read("other.h"), sealed.raw);
    let named = bench.good("gen skeleton -L sample.bpf.o name my_prog");
    assert!(named.out.contains("struct my_prog {"));
    bench.bad("gen skeleton sample.bpf.o", 2, &["add -L"]);
    bench.bad("gen skeleton -L -k key.pem sample.bpf.o", 2, &["add -S"]);
    bench.bad("gen skeleton -S -k key.pem sample.bpf.o", 2, &["-i CERT"]);
    bench.bad("gen skeleton -L sample.bpf.o name", 2, &["name NAME"]);
    bench.bad("gen skeleton -L sample.bpf.o name a-b", 2, &["letters"]);
}

#[test]
fn standard_input_and_output() {
    let bench = Bench::new();
    let object = bench.read("sample.bpf.o");
    let ran = bench.run_with(
        "seal - -k key.pem -i cert.pem --name sample_bpf -o -",
        &object,
    );
    assert_eq!(ran.code, 0, "{}", ran.err);
    bench.good("seal sample.bpf.o -k key.pem -i cert.pem");
    assert_eq!(ran.raw, bench.read("sample.lskel.h"));
    let verified = bench.run_with("verify - --trust cert.pem", &ran.raw);
    assert_eq!(verified.code, 0, "{}", verified.err);
}

#[test]
fn extract_gives_the_pieces() {
    use sha2::Digest as _;
    let bench = Bench::new();
    bench.good("extract sample.bpf.o --dir signed -k key.pem -i cert.pem");
    assert_eq!(
        bench.files("signed"),
        [
            "excl_prog_hash.bin",
            "insns.bin",
            "metadata.bin",
            "signature.der"
        ]
    );
    let digest = sha2::Sha256::digest(bench.read("signed/insns.bin"));
    assert_eq!(bench.read("signed/excl_prog_hash.bin"), digest.to_vec());
    // The same from the artifact.
    bench.good("seal sample.bpf.o -k key.pem -i cert.pem");
    bench.good("extract sample.lskel.h --dir artifact");
    for piece in bench.files("signed") {
        assert_eq!(
            bench.read(&format!("signed/{piece}")),
            bench.read(&format!("artifact/{piece}")),
            "{piece}"
        );
    }
    // Without a key: the unsigned form, or the signed one for a signature made elsewhere.
    bench.good("extract sample.bpf.o --dir form --form signed");
    assert_eq!(bench.read("form/insns.bin"), bench.read("signed/insns.bin"));
    bench.good("extract sample.bpf.o --dir form");
    assert_ne!(bench.read("form/insns.bin"), bench.read("signed/insns.bin"));
    // A signature of another loader is neither removed nor left beside these pieces.
    let before = bench.read("signed/insns.bin");
    bench.bad(
        "extract sample.bpf.o --dir signed",
        2,
        &["signed/signature.der", "remove it"],
    );
    assert_eq!(bench.read("signed/insns.bin"), before);
    assert!(bench.path("signed/signature.der").exists());
    bench.bad(
        "extract sample.lskel.h --dir x -k key.pem -i cert.pem",
        2,
        &["artifact"],
    );
}

#[test]
fn openssl_accepts_what_extract_gives() {
    let bench = Bench::new();
    for (key, cert) in [("key.pem", "cert.pem"), ("other.key.pem", "other.cert.pem")] {
        bench.good(&format!("extract sample.bpf.o --dir d -k {key} -i {cert}"));
        let content = [bench.read("d/insns.bin"), bench.read("d/metadata.bin")].concat();
        std::fs::write(bench.path("content"), content).unwrap();
        let output = Command::new("openssl")
            .args(["cms", "-verify", "-binary", "-inform", "DER", "-noverify"])
            .args([
                "-content",
                "content",
                "-in",
                "d/signature.der",
                "-out",
                "/dev/null",
            ])
            .args(["-certfile", cert])
            .current_dir(bench.folder.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    }
}

#[test]
fn many_objects_at_once() {
    let bench = Bench::new();
    std::fs::create_dir(bench.path("in")).unwrap();
    for name in ["globals", "maps", "core", "refused/struct_ops", "types"] {
        let file = format!("{name}.bpf.o");
        let to = format!("in/{}", file.rsplit('/').next().unwrap());
        bench.take(&testdata().join("objects").join(&file), &to);
    }
    let all = "in/globals.bpf.o in/maps.bpf.o in/struct_ops.bpf.o in/core.bpf.o in/types.bpf.o";
    let ran = bench.bad(
        &format!("seal {all} -k key.pem -i cert.pem -o out"),
        3,
        &["sealed: 4 of 5 objects", "failed:\n  in/struct_ops.bpf.o"],
    );
    assert!(ran.err.contains("struct_ops maps"), "{}", ran.err);
    assert_eq!(
        bench.files("out"),
        [
            "core.lskel.h",
            "globals.lskel.h",
            "maps.lskel.h",
            "types.lskel.h"
        ]
    );
    for name in bench.files("out") {
        bench.good(&format!("verify out/{name} --trust cert.pem"));
    }
    bench.bad(
        "seal in/core.bpf.o sample.bpf.o -k key.pem -i cert.pem -o - ",
        2,
        &["folder"],
    );
    bench.take(&testdata().join("objects/core.bpf.o"), "core.o");
    bench.bad(
        "seal in/core.bpf.o core.o -k key.pem -i cert.pem -o out",
        2,
        &["would both be written"],
    );
}

#[test]
fn every_refusal_says_what_and_what_to_do() {
    let bench = Bench::new();
    let folder = testdata().join("objects/refused");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let line = format!("seal {} -k key.pem -i cert.pem -o out.h", path.display());
        let ran = bench.bad(&line, 3, &["error: ", "help: "]);
        assert_eq!(ran.err.lines().count(), 2, "{}", ran.err);
        assert!(!bench.path("out.h").exists());
        count += 1;
    }
    assert!(count >= 9);
}

/// What no loader can be made of can be looked at and compared all the same.
#[test]
fn what_is_refused_is_shown() {
    let bench = Bench::new();
    let folder = testdata().join("objects/refused");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let path = path.display();
        if path.to_string().contains("map_attribute") {
            continue;
        }
        let ran = bench.good(&format!("inspect {path} --no-host"));
        assert!(ran.out.contains("load plan ("), "{path}: {}", ran.out);
        let lines = ran.out.lines().filter(|l| l.starts_with("no loader: "));
        assert_eq!(lines.count(), 1, "{path}: {}", ran.out);
        let ran = bench.good(&format!("inspect {path} --no-host --json"));
        let value: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
        assert!(value["no_loader"].is_string() && value["loader"].is_null());
        assert!(!value["steps"].as_array().unwrap().is_empty());
        let ran = bench.good(&format!("inspect {path} --no-host --html -"));
        assert!(ran.out.contains("none can be made of this"), "{path}");
        let ran = bench.good(&format!("diff {path} {path} --no-host --exit-code"));
        assert!(ran.out.contains("the same"), "{path}: {}", ran.out);
        assert!(ran.out.contains("no loader can be made of"), "{path}");
        count += 1;
    }
    assert!(count >= 20, "{count}");
}

#[test]
fn mistakes_are_explained() {
    let bench = Bench::new();
    bench.bad("seal sample.bpf.o", 2, &["-k KEY.pem -i CERT.pem"]);
    bench.bad(
        "seal nowhere.o -k key.pem -i cert.pem",
        3,
        &["nowhere.o", "No such file"],
    );
    bench.bad(
        "seal key.pem -k key.pem -i cert.pem",
        3,
        &["key.pem", "not a BPF object"],
    );
    bench.bad(
        "seal sample.bpf.o -k cert.pem -i cert.pem",
        3,
        &["it is a certificate, not a private key"],
    );
    bench.bad(
        "seal sample.bpf.o -k key.pem -i key.pem",
        3,
        &["it is a private key, not an X.509"],
    );
    bench.bad(
        "seal sample.bpf.o -k other.key.pem -i cert.pem",
        3,
        &["cert.pem: ", "does not belong", "wants the RSA-2048 key"],
    );
    bench.bad(
        "seal sample.bpf.o -k key.pem -i cert.pem -o out.xyz",
        2,
        &["ending"],
    );
    bench.bad(
        "seal sample.bpf.o -k key.pem -i cert.pem -o no/such/dir.h",
        3,
        &["no/such/dir.h"],
    );
    bench.bad(
        "verify sample.bpf.o --trust cert.pem",
        3,
        &["seal it first"],
    );
    bench.bad("verify sample.bpf.o", 2, &["--trust"]);
    bench.bad(
        "inspect cert.pem",
        3,
        &["it is a certificate, not a bundle"],
    );
    bench.bad("frobnicate", 2, &["frobnicate"]);
    bench.bad(
        "seal sample.bpf.o -k key.pem -i cert.pem --kernel-version x",
        2,
        &["7.3.4"],
    );
    assert_eq!(
        bench.files("."),
        Bench::new().files("."),
        "nothing is left behind"
    );
}

#[test]
fn what_depends_on_the_host_is_said_or_given() {
    let bench = Bench::new();
    bench.take(&testdata().join("objects/kconfig.bpf.o"), "kconfig.bpf.o");
    let config = "CONFIG_BPF_SYSCALL=y\nCONFIG_NET=y\nCONFIG_HZ=250\n";
    std::fs::write(bench.path("config"), config).unwrap();
    let given = "extract kconfig.bpf.o --dir a --no-host --kconfig config --kernel-version 7.3.4";
    let ran = bench.good(given);
    assert!(!ran.err.contains("this host"), "{}", ran.err);
    bench.good(
        &given
            .replace("7.3.4", "7.3.5")
            .replace("--dir a", "--dir b"),
    );
    assert_ne!(bench.read("a/metadata.bin"), bench.read("b/metadata.bin"));
    bench.bad(
        "extract kconfig.bpf.o --dir a --no-host",
        3,
        &["--kernel-version"],
    );
}

#[test]
fn every_verb_has_help_with_examples() {
    let bench = Bench::new();
    assert!(bench.good("--version").out.starts_with("bpfseal 0."));
    for verb in [
        "seal",
        "gen skeleton",
        "verify",
        "inspect",
        "load",
        "doctor",
        "extract",
    ] {
        let ran = bench.good(&format!("{verb} --help"));
        assert!(ran.out.contains("Examples:"), "{verb}");
    }
}

#[test]
fn two_steps_make_what_one_step_makes() {
    let bench = Bench::new();
    for (key, certificate) in [("key.pem", "cert.pem"), ("other.key.pem", "other.cert.pem")] {
        let options = format!("sample.bpf.o -i {certificate} --scheme all-kernels");
        let line = format!("tbs {options} --dir out");
        assert_eq!(bench.run(&line).code, 0);
        let described: serde_json::Value =
            serde_json::from_slice(&bench.read("out/tbs.json")).unwrap();
        let mut signatures = String::new();
        for scheme in ["load-time", "in-loader-exclusive", "in-loader"] {
            let signed = Command::new("openssl")
                .args(["dgst", "-sha256", "-sign", key, "-out", scheme])
                .arg(format!("out/{scheme}.tbs"))
                .current_dir(bench.folder.path())
                .status()
                .unwrap();
            assert!(signed.success());
            signatures.push_str(&format!(" --signature {scheme}={scheme}"));
            let list = described["to_be_signed"].as_array().unwrap();
            assert!(list.iter().any(|tbs| tbs["scheme"] == scheme));
        }
        let ran = bench.run(&format!("attach {options}{signatures} -o two.bpfseal"));
        assert_eq!(ran.code, 0, "{}", ran.err);
        let ran = bench.run(&format!("verify two.bpfseal --trust {certificate}"));
        assert_eq!(ran.out.matches(": good").count(), 3, "{}", ran.out);
        if key == "key.pem" {
            // RSA: the same signatures, and so the same artifact.
            let line = format!("attach {options}{signatures} -o two.rs");
            assert_eq!(bench.run(&line).code, 0);
            assert_eq!(
                bench
                    .run(&format!("seal {options} -k {key} -o one.rs"))
                    .code,
                0
            );
            assert_eq!(bench.read("one.rs"), bench.read("two.rs"));
        }
        // A signature over something else, or of another key.
        let line = format!("attach sample.bpf.o -i {certificate} --signature in-loader -o bad.h");
        let ran = bench.run(&line);
        assert_eq!(ran.code, 3, "{}", ran.err);
        assert!(ran.err.contains("does not hold"), "{}", ran.err);
        assert!(!bench.path("bad.h").exists());
    }
}

/// Words that are no verbs do nothing, whatever verb they begin like; nor does what the command
/// calls itself with.
#[test]
fn words_that_are_no_verbs_remove_nothing() {
    let mut bench = Bench::new();
    let folder = bench.path("bpfseal-17-precious");
    std::fs::create_dir(&folder).unwrap();
    let file = folder.join("file");
    std::fs::write(&file, "precious").unwrap();
    for word in [
        "guard",
        "guard-pins",
        "guard-pin",
        "g",
        "clean",
        "remove",
        "insp",
        "k",
        "s",
    ] {
        for line in [format!("{word} {}", folder.display()), word.to_owned()] {
            bench.bad(&line, 2, &["unrecognized subcommand"]);
            assert!(file.exists(), "{line}");
        }
    }
    bench.bad("keyring rev 1", 2, &["unrecognized subcommand"]);
    bench.bad("gen skel sample.bpf.o", 2, &[]);
    // The helper process, called by hand: standard output is the directory that it looks into.
    let call = |staging: &Path| {
        let status = Command::new(env!("CARGO_BIN_EXE_bpfseal"))
            .env("BPFSEAL_UNFINISHED_PINS", staging)
            .stdin(std::process::Stdio::null())
            .stdout(std::fs::File::open(bench.folder.path()).unwrap())
            .status()
            .unwrap();
        assert!(status.success());
        assert!(file.exists());
    };
    call(Path::new("bpfseal-17-precious"));
    call(&folder);
    bench.env = vec![(
        "BPFSEAL_UNFINISHED_PINS".to_owned(),
        "bpfseal-17-precious".to_owned(),
    )];
    assert!(bench.good("--version").out.starts_with("bpfseal "));
    assert!(file.exists());
}

/// A slip in `-o` costs no key and no object.
#[test]
fn an_input_is_not_replaced() {
    let bench = Bench::new();
    std::fs::hard_link(bench.path("key.pem"), bench.path("same.h")).unwrap();
    std::os::unix::fs::symlink("key.pem", bench.path("link.h")).unwrap();
    let names = ["key.pem", "cert.pem", "sample.bpf.o", "other.cert.pem"];
    let before = names.map(|name| bench.read(name));
    let seal = "seal sample.bpf.o -k key.pem -i cert.pem";
    for line in [
        format!("{seal} --emit c -o key.pem"),
        format!("{seal} --emit bundle -o ./key.pem"),
        format!("{seal} -o same.h"),
        format!("{seal} -o link.h"),
        format!("{seal} --emit detached -o cert.pem"),
        format!("{seal} --emit c -o sample.bpf.o"),
        format!("{seal} --embed-chain other.cert.pem --emit c -o other.cert.pem"),
    ] {
        bench.bad(&line, 3, &["is an input of this command"]);
        assert_eq!(names.map(|name| bench.read(name)), before, "{line}");
    }
    // What is there already, and was not read, is an older output.
    bench.good(&format!("{seal} -o a.bpfseal"));
    bench.good(&format!("{seal} -o a.bpfseal"));
    let add = "seal a.bpfseal --add-signature -k other.key.pem -i other.cert.pem";
    bench.good(&format!("{add} -o a.bpfseal"));
    bench.bad(
        &format!("{add} -o other.key.pem"),
        3,
        &["is an input of this command"],
    );
}

#[test]
fn a_command_signs() {
    let bench = Bench::new();
    let sign = |command: &str, output: &str| {
        let status = Command::new(env!("CARGO_BIN_EXE_bpfseal"))
            .args(["seal", "sample.bpf.o", "-i", "other.cert.pem", "-o", output])
            .args(["--signer-command", command])
            .current_dir(bench.folder.path())
            .output()
            .unwrap();
        (
            status.status.code(),
            String::from_utf8_lossy(&status.stderr).into_owned(),
        )
    };
    let (code, said) = sign(
        "openssl dgst -$BPFSEAL_DIGEST -sign other.key.pem",
        "a.lskel.h",
    );
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(bench.run("verify a.lskel.h --trust other.cert.pem").code, 0);
    for (command, words) in [
        ("false", "ended with"),
        ("cat > /dev/null", "answered no signature"),
        ("openssl dgst -sha256 -sign key.pem", "does not hold"),
    ] {
        let (code, said) = sign(command, "b.lskel.h");
        assert_eq!(code, Some(3), "{said}");
        assert!(said.contains(words), "{said}");
        assert!(!bench.path("b.lskel.h").exists());
    }
}

#[test]
fn encrypted_keys_are_opened() {
    let bench = Bench::new();
    bench.take(&testdata().join("keys/p256.encrypted.pem"), "locked.pem");
    let line = "seal sample.bpf.o -k locked.pem -i other.cert.pem -o a.bpfseal";
    let ran = bench.run(line);
    assert_eq!(ran.code, 3);
    assert!(ran.err.contains("--passphrase-file"), "{}", ran.err);
    let with = |word: &str| {
        let line = format!("{line} --passphrase-file -");
        bench.run_with(&line, word.as_bytes())
    };
    assert!(with("wrong\n").err.contains("check the passphrase"));
    assert_eq!(with("test\n").code, 0);
    assert_eq!(bench.run("verify a.bpfseal --trust other.cert.pem").code, 0);
    let ran = bench.run(&format!("{line} --passphrase-env NO_SUCH_VARIABLE"));
    assert_eq!(ran.code, 2);
}

#[test]
fn every_kind_of_artifact_is_read_back() {
    let bench = Bench::new();
    let mut pieces = Vec::new();
    for ending in ["lskel.h", "rs", "bpfseal"] {
        let line = format!("seal sample.bpf.o -k key.pem -i cert.pem -o a.{ending}");
        assert_eq!(bench.run(&line).code, 0);
        assert_eq!(
            bench
                .run(&format!("verify a.{ending} --trust cert.pem"))
                .code,
            0
        );
        let line = format!("verify a.{ending} --trust other.cert.pem");
        assert_eq!(bench.run(&line).code, 1);
        assert_eq!(
            bench
                .run(&format!("extract a.{ending} --dir {ending}.d"))
                .code,
            0
        );
        pieces.push(
            [
                "insns.bin",
                "metadata.bin",
                "signature.der",
                "excl_prog_hash.bin",
            ]
            .map(|name| bench.read(&format!("{ending}.d/{name}"))),
        );
        let ran = bench.run(&format!("inspect a.{ending} --json"));
        let json: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
        assert_eq!(json["schemes"][0], "load-time", "{ending}");
    }
    assert!(pieces.windows(2).all(|two| two[0] == two[1]));
    // Every scheme alone, in a C light skeleton too: tampered metadata is noticed in each.
    for scheme in [
        "load-time",
        "hash-chain",
        "hornet",
        "in-loader-exclusive",
        "in-loader",
    ] {
        let line =
            format!("seal sample.bpf.o -k key.pem -i cert.pem --scheme {scheme} -o b.bpfseal");
        assert_eq!(bench.run(&line).code, 0);
        let ran = bench.run("verify b.bpfseal --trust cert.pem --json");
        let json: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
        assert_eq!(json["scheme"], scheme);
        let mut bytes = bench.read("b.bpfseal");
        let metadata = &pieces[0][1];
        let at = bytes
            .windows(64)
            .position(|part| part == &metadata[1300..1364])
            .unwrap();
        bytes[at] ^= 1;
        std::fs::write(bench.path("c.bpfseal"), &bytes).unwrap();
        let ran = bench.run("verify c.bpfseal --trust cert.pem");
        assert_eq!(ran.code, 1, "{scheme}: {}", ran.out);
    }
    let ran = bench.run("seal sample.bpf.o -k key.pem -i cert.pem --scheme all-kernels -o x.h");
    assert_eq!(ran.code, 2);
}

#[test]
fn an_object_stays_as_it_is_beside_a_detached_seal() {
    let bench = Bench::new();
    let object = bench.read("sample.bpf.o");
    bench.good("seal sample.bpf.o -k key.pem -i cert.pem --scheme all-kernels -o sample.seal");
    assert!(bench.read("sample.bpf.o") == object);
    let ran = bench.good("verify sample.bpf.o --seal sample.seal --trust cert.pem");
    assert_eq!(ran.out.matches(": good").count(), 3, "{}", ran.out);
    bench.good("inspect sample.bpf.o --seal sample.seal");
    // It is the artifact that would have been written.
    bench.good("seal sample.bpf.o -k key.pem -i cert.pem -o sample.bpfseal");
    bench.good("tbs sample.bpf.o -i cert.pem --dir tbs");
    let openssl = Command::new("openssl")
        .args([
            "dgst",
            "-sha256",
            "-sign",
            "key.pem",
            "-out",
            "sig",
            "tbs/load-time.tbs",
        ])
        .current_dir(bench.folder.path())
        .status();
    assert!(openssl.unwrap().success());
    bench.good("attach sample.bpf.o -i cert.pem --signature sig -o attached.seal");
    bench.good("verify sample.bpf.o --seal attached.seal --trust cert.pem");
    // Mistakes.
    bench.bad("verify sample.bpf.o --trust cert.pem", 3, &["--seal"]);
    bench.bad("verify sample.seal --trust cert.pem", 3, &["--seal"]);
    bench.bad(
        "verify sample.bpfseal --seal sample.seal --trust cert.pem",
        2,
        &["no object"],
    );
    bench.bad(
        "verify sample.bpf.o --seal sample.bpfseal --trust cert.pem",
        3,
        &[".seal"],
    );
    bench.bad(
        "seal sample.bpf.o --seal sample.seal -k key.pem -i cert.pem",
        2,
        &["--add-signature"],
    );
    bench.bad("load sample.seal", 3, &["--seal"]);
    let mut other = object;
    other.push(0);
    std::fs::write(bench.path("other.bpf.o"), other).unwrap();
    bench.bad(
        "verify other.bpf.o --seal sample.seal --trust cert.pem",
        3,
        &["SHA-256", "as it was then"],
    );
}

#[test]
fn a_second_signer_is_added() {
    let bench = Bench::new();
    bench.good("seal sample.bpf.o -k key.pem -i cert.pem --scheme all-kernels -o a.bpfseal");
    bench.good("seal a.bpfseal --add-signature -k other.key.pem -i other.cert.pem -o b.bpfseal");
    bench.bad("verify a.bpfseal --trust other.cert.pem", 1, &["ENOKEY"]);
    for trusted in ["cert.pem", "other.cert.pem"] {
        let ran = bench.good(&format!("verify b.bpfseal --trust {trusted}"));
        assert_eq!(ran.out.matches("does not count").count(), 3, "{}", ran.out);
    }
    bench.bad(
        "verify b.bpfseal --trust other.cert.pem --revoked cert.pem --trust cert.pem",
        1,
        &["EKEYREJECTED", "is revoked"],
    );
    // In place.
    bench.good("seal a.bpfseal --add-signature -k other.key.pem -i other.cert.pem");
    assert!(bench.read("a.bpfseal") == bench.read("b.bpfseal"));
    bench.good("seal sample.bpf.o -k key.pem -i cert.pem -o a.seal");
    bench
        .good("seal sample.bpf.o --seal a.seal --add-signature -k other.key.pem -i other.cert.pem");
    bench.good("verify sample.bpf.o --seal a.seal --trust other.cert.pem");
    bench.good("seal sample.bpf.o -k key.pem -i cert.pem -o a.lskel.h");
    bench.bad(
        "seal a.lskel.h --add-signature -k other.key.pem -i other.cert.pem",
        3,
        &["no bundle"],
    );
    bench.bad(
        "seal a.bpfseal --add-signature -k key.pem -i other.cert.pem",
        3,
        &["does not belong"],
    );
}

#[test]
fn verify_can_ask_for_more_than_the_kernel() {
    let bench = Bench::new();
    let keys = testdata().join("keys");
    for name in [
        "leaf.key.pem",
        "leaf.cert.pem",
        "middle.cert.pem",
        "root.cert.pem",
        "p256.code.pem",
    ] {
        bench.take(&keys.join(name), name);
    }
    bench.good("seal sample.bpf.o -k leaf.key.pem -i leaf.cert.pem --embed-chain middle.cert.pem -o a.bpfseal");
    let verify =
        |options: &str| format!("verify a.bpfseal {options} --trust middle.cert.pem root.cert.pem");
    bench.good(&verify("--require-chain-to root.cert.pem"));
    bench.bad(
        &verify("--require-chain-to cert.pem"),
        1,
        &["is not below", "takes it"],
    );
    bench.bad(
        &verify("--require-eku code-signing"),
        1,
        &["codeSigning", "usage"],
    );
    // The digest of the part that the issuer signed.
    let der = Command::new("openssl")
        .args([
            "asn1parse",
            "-in",
            "leaf.cert.pem",
            "-strparse",
            "4",
            "-noout",
            "-out",
            "leaf.tbs",
        ])
        .current_dir(bench.folder.path())
        .status();
    assert!(der.unwrap().success());
    let digest = |bytes: &[u8]| {
        use sha2::Digest as _;
        sha2::Sha256::digest(bytes)
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect::<String>()
    };
    let tbs = digest(&bench.read("leaf.tbs"));
    bench.bad(
        &verify(&format!("--revoked tbs:{tbs}")),
        1,
        &["EKEYREJECTED", "leaf"],
    );
    bench.good("extract a.bpfseal --dir pieces");
    let content = [
        bench.read("pieces/insns.bin"),
        bench.read("pieces/metadata.bin"),
    ]
    .concat();
    bench.bad(
        &verify(&format!("--revoked bin:{}", digest(&content))),
        1,
        &["bin:", "takes it"],
    );

    bench.good("seal sample.bpf.o -k other.key.pem -i p256.code.pem -o code.bpfseal");
    bench.good("verify code.bpfseal --trust p256.code.pem --require-eku code-signing");
}

#[test]
fn audit_says_what_a_loader_does() {
    let bench = Bench::new();
    bench.good("seal sample.bpf.o -k key.pem -i cert.pem --scheme all-kernels -o a.bpfseal");
    let ran = bench.good("audit a.bpfseal --object sample.bpf.o");
    assert_eq!(ran.out.matches("good: ").count(), 3, "{}", ran.out);
    assert!(ran.out.contains("and nothing else"), "{}", ran.out);
    let ran = bench.good("audit a.bpfseal --json");
    let json: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(json["verdict"], "good");
    assert_eq!(json["forms"][0]["programs"][0]["name"], "on_sys_enter");
    assert!(json["forms"][0]["same_as_object"].is_null());
    // Beside its object; not signed, where a host has a say; another object.
    bench.good("seal sample.bpf.o -k key.pem -i cert.pem -o a.seal");
    bench.good("audit sample.bpf.o --seal a.seal --object sample.bpf.o");
    let header = bench.good("gen skeleton -L sample.bpf.o");
    std::fs::write(bench.path("u.lskel.h"), header.raw).unwrap();
    bench.good("audit u.lskel.h --object sample.bpf.o");
    bench.bad(
        "audit u.lskel.h --fail-on host-influenced",
        1,
        &["gives `max_entries` of map `calls`"],
    );
    bench.take(&testdata().join("objects/globals.bpf.o"), "globals.bpf.o");
    bench.good("seal globals.bpf.o -k key.pem -i cert.pem -o g.bpfseal");
    bench.bad(
        "audit g.bpfseal --object sample.bpf.o",
        1,
        &["bad: g.bpfseal", "should not be there"],
    );
    bench.bad(
        "audit g.bpfseal --object sample.bpf.o --fail-on new-capability",
        1,
        &["bpf_trace_printk"],
    );
    bench.good("audit g.bpfseal --object sample.bpf.o --fail-on never");
    bench.bad("audit sample.bpf.o", 3, &["bpfseal seal"]);
    bench.bad("audit a.bpfseal --object a.bpfseal", 3, &["a.bpfseal"]);
}

#[test]
fn explain_says_which_kernels_take_it() {
    let bench = Bench::new();
    bench.good("seal sample.bpf.o -k key.pem -i cert.pem --scheme all-kernels -o all.bpfseal");
    let ran = bench.good("explain all.bpfseal --keyring cert.pem");
    // The hash chain was an addition to the in-loader scheme, so that its kernel takes that, too.
    assert_eq!(ran.out.matches("takes it").count(), 4, "{}", ran.out);
    bench.good("explain all.bpfseal --keyring cert.pem --kernel 7.3 --kernel 6.19.14");
    bench.bad(
        "explain all.bpfseal --keyring cert.pem --kernel 6.1",
        1,
        &["EINVAL"],
    );
    bench.bad(
        "explain all.bpfseal --kernel 7.3.4",
        1,
        &[
            "ENOKEY",
            "signature verification failed: -126",
            "add its certificate",
        ],
    );
    bench.good("seal sample.bpf.o -k key.pem -i cert.pem -o one.bpfseal");
    let ran = bench.bad(
        "explain one.bpfseal --keyring cert.pem --kernel 7.2 --json",
        1,
        &["EKEYREJECTED", "all-kernels"],
    );
    let json: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(json["kernels"][0]["profile"], "7.2");
    assert_eq!(json["kernels"][0]["accepted"], false);
    bench.good("seal sample.bpf.o -k key.pem -i cert.pem --scheme hash-chain,hornet -o p.bpfseal");
    bench.good("explain p.bpfseal --keyring cert.pem --kernel hash-chain --kernel hornet");
    bench.bad("explain p.bpfseal --kernel next", 2, &["no kernel"]);
}

#[test]
fn explain_asks_policies_and_the_kernels_symbols() {
    let bench = Bench::new();
    bench.take(&testdata().join("objects/work_lsm.bpf.o"), "lsm.bpf.o");
    bench.good("seal lsm.bpf.o -k key.pem -i cert.pem -o a.bpfseal");
    let explain = |rest: &str| format!("explain a.bpfseal --keyring cert.pem --kernel 7.3 {rest}");
    let ran = bench.good(&explain("--policy signed"));
    assert!(
        ran.out
            .contains("`mkdir_rule`, loaded by the loader: unsigned"),
        "{}",
        ran.out
    );
    bench.bad(
        &explain("--policy all-signed"),
        1,
        &[
            "`all-signed` refuses loading program `mkdir_rule`",
            "let it through",
        ],
    );
    bench.bad(
        &explain("--policy signed=builtin"),
        1,
        &["`signed` refuses the loader"],
    );
    bench.good(&explain("--policy signed=builtin,user --policy signed"));
    bench.good(&explain("--policy signed=builtin --keyring-id builtin"));
    bench.bad(
        &explain("--policy signed=mine"),
        2,
        &["no policy", "all-signed"],
    );
    // A kernel without the function, and one with another kind of it.
    std::fs::write(bench.path("none.btf"), small_btf("bpf_lsm_other")).unwrap();
    std::fs::write(bench.path("good.btf"), small_btf("bpf_lsm_inode_mkdir")).unwrap();
    bench.bad(
        &explain("--kernel-btf none.btf"),
        1,
        &["ENOENT", "(`bpf_lsm_inode_mkdir`)"],
    );
    bench.good(&explain("--kernel-btf good.btf"));
    bench.bad(
        &explain("--kernel-btf cert.pem"),
        3,
        &["cert.pem", "vmlinux"],
    );
    bench.bad(
        &explain("--kernel-symbols cert.pem"),
        3,
        &["no symbol", "kallsyms"],
    );
    let ran = bench.good("audit a.bpfseal --kernel-btf none.btf");
    assert!(
        ran.out
            .contains("lacks `bpf_lsm_inode_mkdir`: it does not load"),
        "{}",
        ran.out
    );
    bench.bad(
        "audit a.bpfseal --kernel-btf none.btf --fail-on missing-symbol --json",
        1,
        &["kernel_lacks"],
    );
    bench.good("audit a.bpfseal --kernel-btf good.btf --fail-on missing-symbol");
}

/// BTF with one function.
fn small_btf(function: &str) -> Vec<u8> {
    // `FUNC_PROTO` without parameters, returning nothing; the function of it.
    let types: [u32; 6] = [0, 13 << 24, 0, 1, 12 << 24, 1];
    let strings = format!("\0{function}\0");
    let header: [u32; 5] = [24, 0, 24, 24, strings.len() as u32];
    let mut out = vec![0x9f, 0xeb, 1, 0];
    out.extend(
        header
            .iter()
            .chain(&types)
            .flat_map(|word| word.to_le_bytes()),
    );
    out.extend(strings.as_bytes());
    out
}

#[test]
fn diff_says_what_changed() {
    let bench = Bench::new();
    let objects = testdata().join("objects");
    bench.take(&objects.join("work_tc.bpf.o"), "one.bpf.o");
    bench.take(&objects.join("work_xdp.bpf.o"), "two.bpf.o");
    bench.take(&objects.join("sample.bpf.o"), "again.bpf.o");
    let same = bench.good("diff sample.bpf.o again.bpf.o --exit-code");
    assert!(same.out.contains("the same"), "{}", same.out);
    bench.bad(
        "diff one.bpf.o two.bpf.o --exit-code",
        1,
        &["program `filter`: added", "program `ingress`: removed"],
    );
    let ran = bench.good("diff one.bpf.o two.bpf.o --json");
    let json: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(json["same"], false);
    // Who signed, and by which scheme.
    bench.good("seal sample.bpf.o -k key.pem -i cert.pem -o a.bpfseal");
    bench.good("seal sample.bpf.o -k other.key.pem -i other.cert.pem -o b.bpfseal");
    bench.bad(
        "diff a.bpfseal b.bpfseal --exit-code",
        1,
        &[
            "- signed load-time",
            "rsa with sha256",
            "+ signed load-time",
            "ecdsa with sha256",
        ],
    );
    // An artifact beside its object, whatever that is called.
    bench.good("diff again.bpf.o a.bpfseal --exit-code");
    // A loader that leaves a host a say.
    let header = bench.good("gen skeleton -L sample.bpf.o");
    std::fs::write(bench.path("u.lskel.h"), header.raw).unwrap();
    bench.bad(
        "diff a.bpfseal u.lskel.h --exit-code",
        1,
        &["not signed", "a host gives `max_entries` of map `calls`"],
    );
    // Instructions, where a program of the same name has others.
    bench.take(&objects.join("big-endian/one_map.bpf.o"), "big.bpf.o");
    bench.take(&objects.join("one_map.bpf.o"), "little.bpf.o");
    bench.bad(
        "diff little.bpf.o big.bpf.o --exit-code",
        1,
        &["byte order: Little-endian -> Big-endian"],
    );
}
