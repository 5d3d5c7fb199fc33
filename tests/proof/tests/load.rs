//! `bpfseal load` on a real kernel: what it loads, and in which words it explains a refusal.
//!
//! Runs in the virtual machines of `cargo xtask kernels`; elsewhere each test says that it was
//! skipped.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::ops::Deref;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use bpfseal_proof::bench::{CommandBench, person, said, trust};
use bpfseal_proof::object;

/// The command, with a sealed artifact.
struct Bench(CommandBench);

impl Deref for Bench {
    type Target = CommandBench;

    fn deref(&self) -> &CommandBench {
        &self.0
    }
}

impl Bench {
    fn new() -> Option<Self> {
        CommandBench::new().map(Self::sealed)
    }

    fn on_any_kernel() -> Option<Self> {
        CommandBench::on_any_kernel().map(Self::sealed)
    }

    fn sealed(bench: CommandBench) -> Self {
        let signer = person("rsa2048");
        bench.write("one_map.bpf.o", object!("one_map"));
        bench.write("key.pem", signer.key_pem);
        bench.write("cert.pem", signer.certificate_pem);
        bench.check("seal one_map.bpf.o -k key.pem -i cert.pem", 0, &[]);
        Self(bench)
    }

    /// Changes a byte of one of the artifact's arrays.
    fn tamper(&self, array: &str, to: &str) {
        let path = self.path().join("one_map.lskel.h");
        let mut text = std::fs::read_to_string(path).unwrap();
        let from = text.find(array).unwrap();
        let at = from + text[from..].find("\\x").unwrap();
        text.replace_range(at..at + 4, to);
        self.write(to.trim_start_matches('\\'), text.as_bytes());
    }
}

#[test]
fn a_trusted_artifact_is_loaded() {
    let Some(bench) = Bench::new() else { return };
    bench.check(
        "load one_map.lskel.h --trust cert.pem",
        0,
        &[
            "verified with a certificate of --trust",
            "map counts: id",
            "program count: id",
            "raw_tracepoint",
        ],
    );
    let output = bench.run("load one_map.lskel.h --trust cert.pem --json --keyring session");
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["programs"][0]["name"], "count");
    assert_eq!(json["maps"][0]["name"], "counts");
}

#[test]
fn refusals_are_explained() {
    let Some(bench) = Bench::new() else { return };
    bench.check(
        "load one_map.lskel.h --keyring builtin",
        1,
        &["not in the keyring", "ENOKEY", "--trust"],
    );
    bench.check(
        "load one_map.lskel.h --keyring 2147483647",
        1,
        &[
            "the keyring does not exist",
            "EINVAL",
            "cannot resolve signing keyring",
        ],
    );
    // The text around changed bytes is not what was generated, which would be said first.
    // What can be told without the kernel is: `--trust` tells more of it.
    bench.tamper("opts_data[]", "\\xee");
    bench.check(
        "load --bytes-only xee --trust cert.pem",
        1,
        &["does not hold", "not asked", "EKEYREJECTED"],
    );
    trust();
    bench.check(
        "load --bytes-only xee",
        1,
        &[
            "does not match",
            "EKEYREJECTED",
            "signature verification failed",
            "where the kernel checks the signature",
        ],
    );
    bench.tamper("opts_sig[]", "\\xed");
    bench.check(
        "load --bytes-only xed",
        1,
        &["malformed", "not asked", "EBADMSG"],
    );
    bench.tamper("opts_excl_hash[]", "\\xec");
    bench.check(
        "load --bytes-only xec",
        1,
        &["excl_prog_hash", "not asked", "EACCES"],
    );
    bench.check(
        "load one_map.lskel.h --keyring nonsense",
        2,
        &["is no keyring"],
    );
}

/// A light skeleton with any contents.
fn skeleton(instructions: &[u8], metadata: &[u8], signature: &[u8], hash: &[u8]) -> String {
    let array = |name: &str, bytes: &[u8]| {
        let mut text = format!("static const char {name}[] = \"");
        for byte in bytes {
            match byte {
                0 => text.push_str("\\0"),
                byte => text.push_str(&format!("\\x{byte:02x}")),
            }
        }
        text + "\";\n"
    };
    array("opts_insn", instructions)
        + &array("opts_data", metadata)
        + &array("opts_sig", signature)
        + &array("opts_excl_hash", hash)
}

/// Artifacts that are refused for what they are: by the command, which knows what the kernel would
/// answer, or by the kernel.
#[test]
fn refusals_of_crafted_artifacts_are_explained() {
    use bpfseal::artifact::Artifact;
    use bpfseal::seal::seal_load_time;
    let Some(bench) = Bench::new() else { return };
    let signer = person("rsa2048");
    let good = std::fs::read(bench.path().join("one_map.lskel.h")).unwrap();
    let good = Artifact::parse(&good).unwrap();
    let good = good.sealed().next().unwrap();
    let check = |text: String, words: &[&str]| {
        bench.write("crafted.h", text.as_bytes());
        bench.check("load --bytes-only crafted.h --trust cert.pem", 1, words);
    };
    let hash = &good.seal.excl_prog_hash;
    let with = |signature: &[u8]| skeleton(good.instructions, good.metadata, signature, hash);
    check(with(&[]), &["has 0 bytes", "not asked", "EINVAL"]);
    check(with(&[0x30; 8193]), &["has 8193 bytes", "EINVAL"]);
    let mut unknown = good.seal.signature.to_vec();
    unknown[99] = 0x77;
    check(with(&unknown), &["algorithm", "ENOPKG"]);
    let large = skeleton(good.instructions, &vec![0; 17 << 20], &unknown, hash);
    check(
        large,
        &["instructions and metadata have", "not asked", "E2BIG"],
    );
    // Signed by a trusted key, and still not let in: `r1 = map by descriptor 0; r0 = 0; exit`.
    let mut raw = vec![0x18, 0x11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    raw.extend([0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0]);
    let seal = seal_load_time(&raw, b"metadata", &signer.key, &signer.certificate).unwrap();
    let raw = skeleton(&raw, b"metadata", &seal.signature, &seal.excl_prog_hash);
    check(raw, &["by its descriptor", "EINVAL", "via fd_array index"]);
}

/// A delegated key: its certificate is in the signature, and only the issuer's is trusted.
#[test]
fn a_delegated_key_needs_its_issuer_only() {
    let Some(bench) = Bench::new() else { return };
    bench.check(
        "key new --cn CA --ca --key ca.key --cert ca.pem",
        0,
        &["made"],
    );
    let delegate =
        "key delegate --ca ca.pem --ca-key ca.key --ttl 12h --cn node --key k --cert c.pem";
    bench.check(delegate, 0, &["made"]);
    bench.check(
        "seal one_map.bpf.o -k k -i c.pem --embed-chain -o chain.bpfseal",
        0,
        &[],
    );
    bench.check(
        "verify chain.bpfseal --trust ca.pem",
        0,
        &["chain       CN=node"],
    );
    bench.check("load chain.bpfseal --keyring session", 1, &["ENOKEY"]);
    bench.check(
        "load chain.bpfseal --trust ca.pem",
        0,
        &["by the scheme load-time"],
    );
    // By key identifier the kernel does not find an embedded certificate, nor do we.
    bench.check("seal one_map.bpf.o -k k -i c.pem -o bare.bpfseal", 0, &[]);
    bench.check("load bare.bpfseal --trust ca.pem", 1, &["ENOKEY"]);
    bench.check("verify bare.bpfseal --trust ca.pem", 1, &["ENOKEY"]);
    // An expired certificate is the kernel's business as little as ours, unless we are asked.
    let short =
        "key delegate --ca ca.pem --ca-key ca.key --ttl 0s --cn late --key k2 --cert c2.pem";
    bench.check(short, 0, &["made"]);
    std::thread::sleep(std::time::Duration::from_secs(2));
    bench.check(
        "seal one_map.bpf.o -k k2 -i c2.pem --embed-chain -o late.bpfseal",
        0,
        &[],
    );
    bench.check("load late.bpfseal --trust ca.pem", 0, &["loaded"]);
    bench.check("verify late.bpfseal --trust ca.pem", 0, &["good"]);
    bench.check(
        "verify late.bpfseal --trust ca.pem --check-dates",
        1,
        &["is not valid now", "no kernel asks for this"],
    );
}

/// Other keys and digests than RSA with SHA-256: what this kernel was built with.
#[test]
fn keys_and_digests_are_taken() {
    let Some(bench) = Bench::new() else { return };
    for name in ["rsa3072", "p256", "p384", "p521"] {
        bench.write_keys(name);
        for digest in ["sha256", "sha384", "sha512"] {
            let line = format!(
                "seal one_map.bpf.o -k {name}.key.pem -i {name}.cert.pem --digest {digest} -o a.bpfseal"
            );
            bench.check(&line, 0, &[]);
            let line = format!("verify a.bpfseal --trust {name}.cert.pem");
            bench.check(&line, 0, &["good"]);
            let output = bench.run(&format!("load a.bpfseal --trust {name}.cert.pem"));
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            let loads = output.status.success();
            println!(
                "  {name} with {digest}: {}",
                if loads { "loads" } else { &text }
            );
            // A kernel without the algorithm says so; a signature of ours always holds.
            assert!(loads || text.contains("ENOPKG"), "{name} {digest}: {text}");
        }
    }
}

/// The object as it is, beside its signatures: two of them, of which one is trusted.
#[test]
fn an_object_is_loaded_by_its_detached_seal() {
    let Some(bench) = Bench::new() else { return };
    bench.write("detached.bpf.o", object!("one_map"));
    bench.write_keys("p256");
    bench.write_keys("p384");
    bench.check(
        "seal detached.bpf.o -k p256.key.pem -i p256.cert.pem -o a.seal",
        0,
        &[],
    );
    bench.check(
        "seal detached.bpf.o --seal a.seal --add-signature -k p384.key.pem -i p384.cert.pem",
        0,
        &[],
    );
    bench.check(
        "load detached.bpf.o --seal a.seal --trust p384.cert.pem",
        0,
        &["verified with a certificate of --trust", "program count"],
    );
}

#[test]
fn an_unsigned_artifact_has_to_be_asked_for() {
    let Some(bench) = Bench::new() else { return };
    let header = bench.run("gen skeleton -L one_map.bpf.o").stdout;
    bench.write("unsigned.h", &header);
    bench.check(
        "load unsigned.h",
        2,
        &["is not signed", "--insecure-unsigned"],
    );
    bench.check("load unsigned.h --insecure-unsigned", 0, &["program count"]);
}

#[test]
fn pins_are_all_or_nothing() {
    let Some(bench) = Bench::new() else { return };
    let folder = Path::new("/sys/fs/bpf/test");
    let line = "load one_map.lskel.h --trust cert.pem --pin /sys/fs/bpf/test";
    bench.check(line, 0, &["pinned in /sys/fs/bpf/test"]);
    assert!(folder.join("counts").exists() && folder.join("count").exists());
    // Taken by now: the second leaves the first as it is.
    std::fs::remove_file(folder.join("counts")).unwrap();
    bench.check(line, 3, &["not empty", "nothing was left behind"]);
    assert!(!folder.join("counts").exists() && folder.join("count").exists());
    std::fs::remove_dir_all(folder).unwrap();
    assert_eq!(std::fs::read_dir("/sys/fs/bpf").unwrap().count(), 0);
    // Somewhere else than in bpffs.
    bench.check(
        "load one_map.lskel.h --trust cert.pem --pin elsewhere",
        3,
        &["bpffs"],
    );
    assert!(!bench.path().join("elsewhere").exists());
}

/// The example in C, with our header.
#[test]
fn a_program_in_c_counts() {
    let Some(bench) = Bench::new() else { return };
    if !Path::new("/bin/counter-load-time").exists() {
        eprintln!("skipped: the example in C was not built");
        return;
    }
    let der = include_bytes!("../../../testdata/keys/rsa2048.cert.der");
    bench.write("cert.der", der);
    let run = |certificate: &str| {
        Command::new("/bin/counter-load-time")
            .arg(certificate)
            .current_dir(bench.path())
            .output()
            .unwrap()
    };
    said(
        &run("cert.der"),
        "counter",
        0,
        &["system calls counted: yes"],
    );
}

#[test]
fn doctor_knows_the_older_scheme() {
    let Some(bench) = Bench::on_any_kernel() else {
        return;
    };
    if bench.run("doctor").status.success() {
        eprintln!("skipped: this kernel verifies at load time");
        return;
    }
    let text = bench.check("doctor", 1, &["in-loader scheme", "use Linux 7.3"]);
    println!("{text}");
    bench.check(
        "load one_map.lskel.h --trust cert.pem",
        1,
        &["checks another scheme", "not asked"],
    );
}

#[test]
fn doctor_finds_load_time_verification() {
    let Some(bench) = Bench::new() else { return };
    let text = bench.check(
        "doctor",
        0,
        &[
            "verified at load time",
            "maps can be bound to one program",
            "BPF LSM is active",
            "mounted at /sys/fs/bpf",
            "builtin: keys:",
            "RSA-2048 with SHA-256: a signature was verified",
            "ECDSA P-256 with SHA-256: a signature was verified",
            "ECDSA P-384 with SHA-384: a signature was verified",
            "CO-RE records of the host change a signed program",
            "good for a program of any other type",
        ],
    );
    println!("{text}");
    let line = "doctor";
    let output = bench.command(line).uid(1000).gid(1000).output().unwrap();
    said(&output, line, 1, &["may not use BPF", "can not be tried"]);
}

#[test]
fn without_rights_it_says_so() {
    let Some(bench) = Bench::new() else { return };
    let line = "load one_map.lskel.h";
    let output = bench.command(line).uid(1000).gid(1000).output().unwrap();
    said(&output, line, 1, &["may not use BPF", "CAP_BPF"]);
}
