//! A file of another kind than was asked for is named by its kind; "damaged" is for damaged files.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::process::Command;

use common::{Bench, testdata};

/// Makes files with OpenSSL, from `k.pem` (P-256) on.
const OPENSSL: &str = "set -e
openssl ecparam -name prime256v1 -genkey -noout -out k.pem
openssl req -new -x509 -key k.pem -subj /CN=c -out c.pem
openssl x509 -in c.pem -outform DER -out c.der
openssl ec -in k.pem -conv_form compressed -out kc.pem
openssl req -new -x509 -key kc.pem -subj /CN=c -out compressed.pem
openssl req -new -key k.pem -subj /CN=c -out csr.pem
openssl req -in csr.pem -outform DER -out csr.der
openssl pkey -in k.pem -out p8.pem
openssl pkey -in k.pem -pubout -out pub.pem
openssl pkey -in k.pem -pubout -outform DER -out pub.der
openssl pkey -in k.pem -outform DER -out key.der
openssl pkcs8 -topk8 -nocrypt -in k.pem -outform DER -out p8.der
openssl pkcs8 -topk8 -in k.pem -passout pass:x -outform DER -out enc.der
openssl genrsa -traditional -out rsa.pem 2048
openssl rsa -in rsa.pem -traditional -outform DER -out rsa.der
openssl pkcs12 -export -inkey k.pem -in c.pem -passout pass:x -out b.p12
openssl pkcs8 -topk8 -in k.pem -v1 PBE-SHA1-3DES -passout pass:x -out pbes1.pem
openssl pkcs8 -topk8 -in k.pem -v1 PBE-MD5-DES -passout pass:x -out pbes1b.pem || cp pbes1.pem pbes1b.pem
openssl ec -in k.pem -aes128 -passout pass:x -out traditional.pem
openssl genrsa -out small.pem 1024
openssl crl2pkcs7 -nocrl -certfile c.pem -out certs.p7b
bpfseal tbs sample.bpf.o -i c.pem --dir t
sign() { openssl cms -sign -binary -in t/load-time.tbs -signer c.pem -inkey k.pem -noattr -nocerts -outform $1 -out $2; }
sign DER s.der; sign PEM s.pem; sign SMIME s.smime
base64 s.der > s.b64
openssl dgst -sha256 -sign k.pem -out raw t/load-time.tbs
base64 raw > raw.b64
od -An -v -tx1 raw | tr -d ' \\n' > raw.hex
cat c.pem k.pem > both.pem
";

/// File, the verb that it is given to (`X`), and what has to be said.
const CASES: [(&str, &str, &[&str]); 68] = [
    // For an object.
    ("common.o", "seal", &["common symbol", "-fno-common"]),
    (
        "bitcode",
        "seal",
        &["LLVM bitcode, not a BPF object", "-emit-llvm"],
    ),
    ("wrapped", "seal", &["LLVM bitcode"]),
    (
        "x86.o",
        "seal",
        &["an ELF file for x86-64, not a BPF object", "--target=bpf"],
    ),
    ("x86.o", "inspect", &["an ELF file for x86-64"]),
    ("x86.o", "verify", &["an ELF file for x86-64"]),
    ("x86.o", "diff", &["an ELF file for x86-64"]),
    ("arm.o", "extract", &["an ELF file for AArch64"]),
    ("odd.o", "seal", &["an ELF file for another machine"]),
    ("lib.a", "seal", &["an archive", "ar x"]),
    ("thin.a", "seal", &["a thin archive"]),
    ("empty", "seal", &["an empty file"]),
    ("object.gz", "seal", &["a gzip file", "decompress"]),
    ("object.xz", "seal", &["an xz file"]),
    (
        "source.c",
        "seal",
        &["it is text, not a BPF object", "clang"],
    ),
    ("c.pem", "seal", &["a certificate, not a BPF object"]),
    ("k.pem", "seal", &["a private key, not a BPF object"]),
    ("c.der", "seal", &["a certificate, not a BPF object"]),
    (
        "a.bpfseal",
        "seal",
        &["a bundle or a detached seal", "--add-signature"],
    ),
    (
        "hidden-map.o",
        "seal",
        &["default visibility", "-fvisibility=hidden"],
    ),
    // For an artifact.
    (
        "sample.bpf.o",
        "verify",
        &["a BPF object, not a bundle", "seal it first"],
    ),
    ("c.pem", "inspect", &["a certificate, not a bundle"]),
    ("s.der", "verify", &["a CMS (PKCS#7) message"]),
    ("empty", "explain", &["an empty file"]),
    ("lib.a", "audit", &["an archive"]),
    ("object.gz", "diff", &["a gzip file"]),
    ("b.p12", "load", &["a PKCS#12 file"]),
    // For a key.
    (
        "c.pem",
        "key",
        &["a certificate, not a private key", "with -i"],
    ),
    ("c.der", "key", &["a certificate, not a private key"]),
    ("csr.pem", "key", &["a certificate request"]),
    ("csr.der", "key", &["a certificate request"]),
    ("pub.pem", "key", &["a public key"]),
    ("pub.der", "key", &["a public key"]),
    ("key.der", "key", &["a private key in DER", "openssl pkey"]),
    ("p8.der", "key", &["a private key in DER"]),
    ("enc.der", "key", &["a private key in DER"]),
    ("rsa.der", "key", &["a private key in DER"]),
    ("b.p12", "key", &["a PKCS#12 file", "openssl pkcs12"]),
    ("jks", "key", &["a Java key store", "keytool"]),
    ("ssh", "key", &["an OpenSSH key", "ssh-keygen -p -m PEM"]),
    ("ssh.pub", "key", &["an OpenSSH key"]),
    (
        "pbes1.pem",
        "key",
        &["an old scheme", "openssl pkcs8 -topk8"],
    ),
    ("pbes1b.pem", "key", &["an old scheme"]),
    ("traditional.pem", "key", &["older form of OpenSSL"]),
    (
        "small.pem",
        "key",
        &["RSA keys of 1024 bits", "2048 to 4096"],
    ),
    (
        "large.pem",
        "key",
        &["RSA keys of 8192 bits", "2048 to 4096"],
    ),
    ("certs.p7b", "key", &["a CMS (PKCS#7) message"]),
    ("empty", "key", &["an empty file"]),
    ("sample.bpf.o", "key", &["a BPF object, not a private key"]),
    // For a certificate.
    (
        "k.pem",
        "cert",
        &["a private key, not an X.509 certificate", "with -k"],
    ),
    (
        "p8.pem",
        "cert",
        &["a private key, not an X.509 certificate"],
    ),
    ("key.der", "cert", &["a private key in DER"]),
    (
        "csr.pem",
        "cert",
        &["a certificate request", "openssl x509 -req"],
    ),
    ("csr.der", "cert", &["a certificate request"]),
    ("pub.der", "cert", &["a public key"]),
    ("b.p12", "cert", &["a PKCS#12 file"]),
    (
        "certs.p7b",
        "cert",
        &["a CMS (PKCS#7) message", "-print_certs"],
    ),
    ("jks", "cert", &["a Java key store"]),
    ("empty", "cert", &["an empty file"]),
    ("compressed.pem", "cert", &["compressed point"]),
    // For a signature.
    ("s.pem", "attach", &["a CMS message in PEM", "-outform DER"]),
    ("s.smime", "attach", &["an S/MIME message"]),
    ("s.b64", "attach", &["in base64", "base64 -d"]),
    ("raw.b64", "attach", &["in base64"]),
    ("raw.hex", "attach", &["in hexadecimal"]),
    ("empty", "attach", &["an empty file"]),
    ("c.pem", "attach", &["a certificate, not a raw signature"]),
    ("t/tbs.json", "attach", &["it is text"]),
];

/// Command lines by their name in the table.
fn line(verb: &str) -> &'static str {
    match verb {
        "seal" => "seal X -k k.pem -i c.pem -o out.h",
        "inspect" => "inspect X",
        "verify" => "verify X --trust c.pem",
        "diff" => "diff X sample.bpf.o",
        "extract" => "extract X --dir d",
        "explain" => "explain X",
        "audit" => "audit X",
        "load" => "load X",
        "key" => "seal sample.bpf.o -k X -i c.pem -o out.h",
        "cert" => "seal sample.bpf.o -k k.pem -i X -o out.h",
        "trust" => "verify a.bpfseal --trust X",
        "attach" => "attach sample.bpf.o -i c.pem --signature X -o out.h",
        other => panic!("{other}"),
    }
}

/// ELF with the symbols of these names changed: each by its entry in the symbol table.
fn with_symbols(object: &[u8], change: impl Fn(&str, &mut [u8])) -> Vec<u8> {
    let mut out = object.to_vec();
    let u16_at = |at: usize| usize::from(u16::from_le_bytes([object[at], object[at + 1]]));
    let u64_at = |at: usize| {
        let bytes: [u8; 8] = object[at..at + 8].try_into().unwrap();
        usize::try_from(u64::from_le_bytes(bytes)).unwrap()
    };
    let u32_at = |at: usize| {
        let bytes: [u8; 4] = object[at..at + 4].try_into().unwrap();
        usize::try_from(u32::from_le_bytes(bytes)).unwrap()
    };
    let headers = u64_at(0x28);
    for index in 0..u16_at(0x3c) {
        let section = headers + index * 64;
        if u32_at(section + 4) != 2 {
            continue;
        }
        let strings = headers + u32_at(section + 40) * 64;
        let strings = u64_at(strings + 24);
        let (from, len) = (u64_at(section + 24), u64_at(section + 32));
        for at in (from..from + len).step_by(24) {
            let name = &object[strings + u32_at(at)..];
            let name = name.split(|b| *b == 0).next().unwrap();
            change(std::str::from_utf8(name).unwrap(), &mut out[at..at + 24]);
        }
    }
    out
}

#[test]
fn another_kind_of_file_is_named() {
    let bench = Bench::new();
    let bpfseal = env!("CARGO_BIN_EXE_bpfseal");
    let script = OPENSSL.replace("bpfseal tbs", &format!("{bpfseal} tbs"));
    let made = Command::new("sh")
        .args(["-c", &script])
        .current_dir(bench.folder.path())
        .output()
        .unwrap();
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    bench.good("seal sample.bpf.o -k k.pem -i c.pem -o a.bpfseal");
    let write = |name: &str, bytes: &[u8]| std::fs::write(bench.path(name), bytes).unwrap();
    let object = bench.read("sample.bpf.o");
    let globals = std::fs::read(testdata().join("objects/globals.bpf.o")).unwrap();
    for (name, machine) in [("x86.o", 62u16), ("arm.o", 183), ("odd.o", 4711)] {
        let mut other = object.clone();
        other[18..20].copy_from_slice(&machine.to_le_bytes());
        write(name, &other);
    }
    // A global variable that -fcommon leaves to a linker.
    let common = with_symbols(&globals, |name, entry| {
        let is_data = entry[4] == 0x11 && !name.contains("license") && entry[16] == 4;
        if is_data {
            entry[6..8].copy_from_slice(&0xfff2u16.to_le_bytes());
        }
    });
    assert_ne!(common, globals);
    write("common.o", &common);
    // Programs may have hidden visibility, maps not: to libbpf it makes them static.
    for (file, kind) in [("hidden.o", 0x12), ("hidden-map.o", 0x11)] {
        let hidden = with_symbols(&object, |_, entry| {
            if entry[4] == kind {
                entry[5] = 2;
            }
        });
        assert_ne!(hidden, object);
        write(file, &hidden);
    }
    bench.good("seal hidden.o -k k.pem -i c.pem -o hidden.h");
    write("bitcode", b"BC\xc0\xde\x35\x14");
    write("wrapped", b"\xde\xc0\x17\x0b\0\0\0\0");
    write(
        "lib.a",
        b"!<arch>\nsample.bpf.o/   0           0     0     644     8         `\n",
    );
    write("thin.a", b"!<thin>\n//  ");
    write("empty", b"");
    write("object.gz", b"\x1f\x8b\x08\0\0\0\0\0\0\x03");
    write("object.xz", b"\xfd7zXZ\0\0\x04");
    write("source.c", b"#include <linux/bpf.h>\n\tint x;\n");
    write("jks", b"\xfe\xed\xfe\xed\0\0\0\x02");
    write("ssh", b"-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjE=\n-----END OPENSSH PRIVATE KEY-----\n");
    write("ssh.pub", b"ecdsa-sha2-nistp256 AAAAE2VjZHNh me@here\n");
    write("large.pem", large_rsa().as_bytes());
    for (file, verb, words) in CASES {
        let ran = bench.bad(&line(verb).replace('X', file), 3, words);
        assert!(
            ran.err.starts_with(&format!("error: {file}: ")),
            "{}",
            ran.err
        );
        assert!(!ran.err.contains("damaged"), "{file}: {}", ran.err);
        assert_eq!(ran.err.lines().count(), 2, "{file}: {}", ran.err);
    }
    // What is good stays good: keys and certificates in one file, a point that was compressed in
    // the key alone.
    for good in ["k.pem", "p8.pem", "both.pem", "kc.pem"] {
        bench.good(&line("key").replace('X', good));
    }
    for good in ["c.pem", "c.der", "both.pem"] {
        bench.good(&line("cert").replace('X', good));
    }
    for good in ["s.der", "raw"] {
        bench.good(&line("attach").replace('X', good));
    }
    // Swapped.
    bench.bad(
        "seal sample.bpf.o -k c.pem -i k.pem -o out.h",
        3,
        &[
            "c.pem: it is a certificate",
            "with -i, and the private key with -k",
        ],
    );
}

/// A key of 8,192 bits by its form: making one takes seconds.
fn large_rsa() -> String {
    fn tlv(tag: u8, contents: &[u8]) -> Vec<u8> {
        let len = u16::try_from(contents.len()).unwrap().to_be_bytes();
        [&[tag, 0x82], &len[..], contents].concat()
    }
    let number = |bytes: usize| {
        let mut contents = vec![0x01; bytes + 1];
        contents[0] = 0;
        contents[1] = 0xff;
        tlv(2, &contents)
    };
    let numbers = [
        vec![2, 1, 0],
        number(1024),
        vec![2, 3, 1, 0, 1],
        number(1024),
    ];
    let primes = [512; 5].map(number);
    let key = tlv(0x30, &[numbers.concat(), primes.concat()].concat());
    use base64ct::Encoding as _;
    let text = base64ct::Base64::encode_string(&key);
    format!("-----BEGIN RSA PRIVATE KEY-----\n{text}\n-----END RSA PRIVATE KEY-----\n")
}
