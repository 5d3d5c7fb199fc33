//! What a file is that is not what was asked for.
//!
//! "Damaged" is said of damaged files only. A file of another kind is named by its kind, which is
//! known by its first bytes, the label of its PEM block or the first elements of its DER.

use crate::failure::Report;

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    Object,
    Artifact,
    Key,
    Certificate,
    Signature,
}

impl Wanted {
    fn noun(self) -> &'static str {
        match self {
            Self::Object => "a BPF object",
            Self::Artifact => "a bundle or a light skeleton",
            Self::Key => "a private key in PEM",
            Self::Certificate => "an X.509 certificate",
            Self::Signature => "a raw signature or a CMS message in DER",
        }
    }
}

/// A kind of file: what it is called, and what to do with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kind(&'static str, &'static str);

const COMPILE: &str = "compile it for BPF: `clang --target=bpf -g -O2 -c prog.bpf.c -o prog.bpf.o`";
const DECOMPRESS: &str = "decompress it first";
const CERTIFICATE: Kind = Kind(
    "a certificate",
    "give the certificate with -i, and the private key with -k",
);
const PRIVATE: Kind = Kind(
    "a private key",
    "give the private key with -k, and its certificate with -i",
);
const PUBLIC: Kind = Kind(
    "a public key",
    "a public key neither signs nor names its holder: give a private key or a certificate",
);
const REQUEST: Kind = Kind(
    "a certificate request",
    "have it signed by a CA, or make a self-signed certificate: `openssl x509 -req -in REQUEST -signkey KEY`",
);
const CMS: Kind = Kind(
    "a CMS (PKCS#7) message",
    "certificates can be taken out of it: `openssl pkcs7 -print_certs -in FILE`",
);
const DER_KEY: Kind = Kind(
    "a private key in DER",
    "convert it to PEM: `openssl pkey -inform DER -in KEY.der -out KEY.pem`",
);
const OPENSSH: Kind = Kind(
    "an OpenSSH key",
    "convert a copy of the private key to PEM: `ssh-keygen -p -m PEM -f KEY`",
);
const PKCS12: Kind = Kind(
    "a PKCS#12 file",
    "take key and certificate out of it: `openssl pkcs12 -in FILE -nodes -out both.pem`",
);

/// First bytes.
const MAGIC: [(&[u8], Kind); 18] = [
    (
        b"BC\xc0\xde",
        Kind("LLVM bitcode", "compile without -emit-llvm and -flto"),
    ),
    (
        b"\xde\xc0\x17\x0b",
        Kind("LLVM bitcode", "compile without -emit-llvm and -flto"),
    ),
    (
        b"!<arch>\n",
        Kind("an archive", "take the object out of it: `ar x FILE`"),
    ),
    (
        b"!<thin>\n",
        Kind(
            "a thin archive",
            "give one of the objects that `ar t FILE` lists",
        ),
    ),
    (b"\x1f\x8b", Kind("a gzip file", DECOMPRESS)),
    (b"\xfd7zXZ\0", Kind("an xz file", DECOMPRESS)),
    (b"\x28\xb5\x2f\xfd", Kind("a zstd file", DECOMPRESS)),
    (b"BZh", Kind("a bzip2 file", DECOMPRESS)),
    (b"PK\x03\x04", Kind("a zip file", DECOMPRESS)),
    (
        b"\xfe\xed\xfe\xed",
        Kind(
            "a Java key store (JKS)",
            "convert it: `keytool -importkeystore -srckeystore FILE -destkeystore FILE.p12 -deststoretype PKCS12`",
        ),
    ),
    (
        b"\xce\xce\xce\xce",
        Kind(
            "a Java key store (JCEKS)",
            "convert it: `keytool -importkeystore -srckeystore FILE -destkeystore FILE.p12 -deststoretype PKCS12`",
        ),
    ),
    (b"ssh-", OPENSSH),
    (b"ecdsa-sha2-", OPENSSH),
    (
        b"MIME-Version:",
        Kind(
            "an S/MIME message",
            "write it in DER: `openssl cms -sign -outform DER …`",
        ),
    ),
    (b"MZ", Kind("a Windows program", COMPILE)),
    (b"\xcf\xfa\xed\xfe", Kind("a Mach-O file", COMPILE)),
    (b"\0asm", Kind("a WebAssembly module", COMPILE)),
    (
        b"\xd9\xd9\xf7",
        Kind(
            "a bundle or a detached seal",
            "give the object that it was made of; to add a signature: --add-signature",
        ),
    ),
];

/// Labels of PEM blocks.
const LABELS: [(&str, Kind); 15] = [
    ("CERTIFICATE", CERTIFICATE),
    ("X509 CERTIFICATE", CERTIFICATE),
    (
        "TRUSTED CERTIFICATE",
        Kind(
            "a certificate with OpenSSL's trust settings",
            "write it without them: `openssl x509 -in CERT -out CERT.pem`",
        ),
    ),
    ("CERTIFICATE REQUEST", REQUEST),
    ("NEW CERTIFICATE REQUEST", REQUEST),
    ("PUBLIC KEY", PUBLIC),
    ("RSA PUBLIC KEY", PUBLIC),
    ("PRIVATE KEY", PRIVATE),
    ("ENCRYPTED PRIVATE KEY", PRIVATE),
    ("RSA PRIVATE KEY", PRIVATE),
    ("EC PRIVATE KEY", PRIVATE),
    ("OPENSSH PRIVATE KEY", OPENSSH),
    ("PKCS7", CMS),
    ("CMS", CMS),
    (
        "X509 CRL",
        Kind(
            "a certificate revocation list",
            "give the revoked certificate itself",
        ),
    ),
];

/// Machines of BPF objects: `EM_BPF`, and none, as old compilers wrote.
const BPF: [u16; 2] = [247, 0];

/// Machines of ELF files.
const MACHINES: [(u16, Kind); 9] = [
    (3, Kind("an ELF file for x86", COMPILE)),
    (8, Kind("an ELF file for MIPS", COMPILE)),
    (21, Kind("an ELF file for PowerPC", COMPILE)),
    (22, Kind("an ELF file for s390", COMPILE)),
    (40, Kind("an ELF file for Arm", COMPILE)),
    (62, Kind("an ELF file for x86-64", COMPILE)),
    (183, Kind("an ELF file for AArch64", COMPILE)),
    (243, Kind("an ELF file for RISC-V", COMPILE)),
    (258, Kind("an ELF file for LoongArch", COMPILE)),
];

/// Says what a file is, if that is not what was wanted. What can not be recognised, or is what was
/// wanted and damaged, is for the parser to report.
pub(crate) fn instead(place: &str, bytes: &[u8], wanted: Wanted) -> Option<Report> {
    let Kind(what, help) = kind(bytes, wanted)?;
    let error = std::io::Error::other(format!("it is {what}, not {}", wanted.noun()));
    let help = match (what, wanted) {
        ("an empty file", Wanted::Key | Wanted::Certificate) => "check how it was made",
        _ => help,
    };
    Some(Report::new(place, &error, help))
}

fn kind(bytes: &[u8], wanted: Wanted) -> Option<Kind> {
    if bytes.is_empty() {
        return Some(Kind("an empty file", "check the command that wrote it"));
    }
    if bytes.starts_with(b"\x7fELF") {
        return elf(bytes, wanted);
    }
    if let Some((_, kind)) = MAGIC.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        let is_own = bytes[0] == 0xd9 && wanted == Wanted::Artifact;
        return (!is_own).then_some(*kind);
    }
    if bytes[0] == 0x30 {
        let kind = der(bytes)?;
        let good = match wanted {
            Wanted::Certificate => kind == CERTIFICATE,
            Wanted::Signature => kind == CMS,
            _ => false,
        };
        return (!good).then_some(kind);
    }
    let text = std::str::from_utf8(bytes).ok()?;
    if let Some(label) = label(text) {
        let (_, kind) = LABELS.iter().find(|(known, _)| *known == label)?;
        let good = match wanted {
            Wanted::Certificate => *kind == CERTIFICATE,
            Wanted::Key => *kind == PRIVATE,
            _ => false,
        };
        if wanted == Wanted::Signature && *kind == CMS {
            return Some(Kind(
                "a CMS message in PEM",
                "convert it to DER: `openssl pkcs7 -in FILE -outform DER`",
            ));
        }
        return (!good).then_some(*kind);
    }
    plain(text, wanted)
}

fn elf(bytes: &[u8], wanted: Wanted) -> Option<Kind> {
    let number: [u8; 2] = bytes.get(18..20)?.try_into().ok()?;
    let machine = match bytes[5] {
        2 => u16::from_be_bytes(number),
        _ => u16::from_le_bytes(number),
    };
    if !BPF.contains(&machine) {
        let known = MACHINES.iter().find(|(known, _)| *known == machine);
        return Some(known.map_or(Kind("an ELF file for another machine", COMPILE), |m| m.1));
    }
    match wanted {
        Wanted::Object => None,
        Wanted::Artifact => Some(Kind(
            "a BPF object",
            "seal it first with `bpfseal seal`, or give its detached seal with --seal",
        )),
        _ => Some(Kind("a BPF object", "check the order of the arguments")),
    }
}

/// The label of the first PEM block.
fn label(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("-----BEGIN ")?;
    let (label, _) = rest.split_once("-----")?;
    Some(label)
}

/// Text without PEM.
fn plain(text: &str, wanted: Wanted) -> Option<Kind> {
    let is_text = text
        .chars()
        .all(|c| !c.is_control() || c.is_ascii_whitespace());
    match wanted {
        Wanted::Object if is_text => Some(Kind("text", COMPILE)),
        Wanted::Signature if is_text => {
            let letters: String = text.split_ascii_whitespace().collect();
            let hex = letters.bytes().all(|b| b.is_ascii_hexdigit());
            let base64 = |b: u8| b.is_ascii_alphanumeric() || b"+/=".contains(&b);
            Some(if hex {
                Kind(
                    "a signature in hexadecimal",
                    "convert it to bytes: `xxd -r -p FILE`",
                )
            } else if letters.bytes().all(base64) {
                Kind("a signature in base64", "decode it: `base64 -d FILE`")
            } else {
                Kind(
                    "text",
                    "sign what `bpfseal tbs` wrote, and give the signature",
                )
            })
        }
        _ => None,
    }
}

/// What the first elements of DER tell.
fn der(bytes: &[u8]) -> Option<Kind> {
    const INTEGER: u8 = 2;
    const OCTETS: u8 = 4;
    const BITS: u8 = 3;
    const OID: u8 = 6;
    const SEQUENCE: u8 = 0x30;
    const SIGNED_DATA: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02";
    let (_, outer, _) = element(bytes)?;
    let (first_tag, first, rest) = element(outer)?;
    let second = element(rest).map(|(tag, contents, _)| (tag, contents));
    match (first_tag, second?) {
        (OID, _) if first == SIGNED_DATA => Some(CMS),
        (INTEGER, (SEQUENCE, _)) if first == [3] => Some(PKCS12),
        (INTEGER, (SEQUENCE | INTEGER, _)) if first == [0] || first == [1] => Some(DER_KEY),
        (INTEGER, (OCTETS, _)) if first == [1] => Some(DER_KEY),
        (SEQUENCE, (OCTETS, _)) => Some(DER_KEY),
        (SEQUENCE, (BITS, _)) => Some(PUBLIC),
        (SEQUENCE, (SEQUENCE, _)) => {
            // A request begins with its version and a name; a certificate's algorithm is no name.
            let (tag, version, rest) = element(first)?;
            let (next, contents, _) = element(rest)?;
            let is_name = next == SEQUENCE && element(contents).is_none_or(|(tag, ..)| tag == 0x31);
            let is_request = tag == INTEGER && version == [0] && is_name;
            Some(if is_request { REQUEST } else { CERTIFICATE })
        }
        _ => None,
    }
}

/// The first element: its tag, its contents, and what follows it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (len, rest) = match usize::from(first) {
        short @ 0..=0x7f => (short, rest),
        long @ 0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(long - 0x80)?;
            let len = digits
                .iter()
                .fold(0, |len, &digit| len << 8 | usize::from(digit));
            (len, rest)
        }
        // Without a length, or longer than any file.
        _ => return None,
    };
    let (contents, rest) = rest.split_at_checked(len)?;
    Some((tag, contents, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_have_no_doubles() {
        for (index, (magic, _)) in MAGIC.iter().enumerate() {
            let before = &MAGIC[..index];
            assert!(
                !before.iter().any(|(other, _)| magic.starts_with(other)),
                "{magic:?}"
            );
        }
        for two in MACHINES.windows(2) {
            assert!(two[0].0 < two[1].0);
        }
        for (index, (label, _)) in LABELS.iter().enumerate() {
            assert!(LABELS[..index].iter().all(|(other, _)| other != label));
        }
    }

    #[test]
    fn lengths_are_checked() {
        assert_eq!(element(b"\x30\x80"), None);
        assert_eq!(element(b"\x30\x84\xff\xff\xff\xff"), None);
        assert_eq!(
            element(b"\x02\x81\x01\x07\x05"),
            Some((2, &b"\x07"[..], &b"\x05"[..]))
        );
        for len in 0..40 {
            assert_eq!(der(&vec![0x30; len]), None);
        }
    }
}
