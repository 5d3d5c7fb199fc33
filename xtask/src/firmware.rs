//! A machine with UEFI, whose firmware revokes: the kernel fills its blacklist from the variable
//! `dbx`, and its platform keyring from `db`.
//!
//! The variables are written into a copy of OVMF's store, as the firmware would have (structures
//! of `AuthenticatedVariableFormat.h` of EDK II, and of the UEFI specification, section 32.4.1).

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use bpfseal::loader::{FixedHost, Form};
use bpfseal::make_loader;
use bpfseal::object::Object;
use bpfseal::seal::{Certificate, DigestAlgorithm};

use crate::project;

const CODE: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";
const VARIABLES: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";

/// Identifiers as they lie in memory: the first three parts are little-endian.
type Guid = [u8; 16];
const STORE: Guid = guid(0xaaf3_2c78, 0x947b, 0x439a, 0xa180_2e14_4ec3_7792);
const SECURITY_DATABASE: Guid = guid(0xd719_b2cb, 0x3d3a, 0x4596, 0xa3bc_dad0_0e67_656f);
const CERT_X509: Guid = guid(0xa5c0_59a1, 0x94e4, 0x4aa7, 0x87b5_ab15_5c2b_f072);
const CERT_X509_SHA256: Guid = guid(0x3bd2_a492, 0x96c0, 0x4079, 0xb420_fcf9_8ef1_03ed);
const CERT_SHA256: Guid = guid(0xc1c4_1626, 0x504c, 0x4092, 0xaca9_41f9_3693_4328);

const fn guid(a: u32, b: u16, c: u16, d: u64) -> Guid {
    let (a, b, c, d) = (
        a.to_le_bytes(),
        b.to_le_bytes(),
        c.to_le_bytes(),
        d.to_be_bytes(),
    );
    [
        a[0], a[1], a[2], a[3], b[0], b[1], c[0], c[1], d[0], d[1], d[2], d[3], d[4], d[5], d[6],
        d[7],
    ]
}

/// Non-volatile, for the boot and at run time, authenticated by time.
const ATTRIBUTES: u32 = 0x27;
const STORE_HEADER: usize = 28;

/// Options for QEMU, where the firmware is installed.
pub(crate) fn options() -> anyhow::Result<Option<Vec<String>>> {
    if !Path::new(CODE).is_file() {
        if project::in_ci() {
            anyhow::bail!("`{CODE}` is needed: apt-get install ovmf");
        }
        eprintln!("SKIPPED: revocation by the firmware: apt-get install ovmf");
        return Ok(None);
    }
    let variables = write_variables()?;
    let drive =
        |path: &Path, more: &str| format!("if=pflash,format=raw,file={}{more}", path.display());
    Ok(Some(vec![
        "-machine".to_owned(),
        "q35".to_owned(),
        "-drive".to_owned(),
        drive(Path::new(CODE), ",readonly=on"),
        "-drive".to_owned(),
        drive(&variables, ",snapshot=on"),
    ]))
}

fn write_variables() -> anyhow::Result<PathBuf> {
    let keys = project::root().join("testdata/keys");
    let certificate = |name: &str| -> anyhow::Result<Certificate> {
        let bytes = std::fs::read(keys.join(name))?;
        Ok(Certificate::from_bytes(&bytes)?)
    };
    let platform = certificate("p256.cert.pem")?;
    let revoked = certificate("middle.cert.pem")?;
    let bytes = std::fs::read(project::objects().join("minimal.bpf.o"))?;
    let object = Object::parse(&bytes, "minimal")?;
    let made = make_loader(object, &FixedHost::default(), Form::Signed)?;
    let content = [made.loader.instructions, made.loader.metadata].concat();
    let content = DigestAlgorithm::Sha256.digest(&content);

    let mut store = std::fs::read(VARIABLES).context(VARIABLES)?;
    let start = store
        .windows(STORE.len())
        .position(|window| window == STORE)
        .context("the firmware's store of variables is of another kind")?;
    let variables = [
        variable("db", &list(CERT_X509, platform.der())),
        variable(
            "dbx",
            &[
                list(CERT_X509_SHA256, &revoked.tbs_digest()),
                list(CERT_SHA256, &content),
            ]
            .concat(),
        ),
    ]
    .concat();
    let place = start + STORE_HEADER;
    store
        .get_mut(place..place + variables.len())
        .context("the store is too small")?
        .copy_from_slice(&variables);
    let path = project::target().join("kernels/firmware.fd");
    std::fs::write(&path, store)?;
    Ok(path)
}

/// `EFI_SIGNATURE_LIST` of one entry.
fn list(kind: Guid, entry: &[u8]) -> Vec<u8> {
    let entry = [&SECURITY_DATABASE, entry].concat();
    let size = |len: usize| u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes();
    let header = [size(28 + entry.len()), size(0), size(entry.len())].concat();
    [&kind[..], &header, &entry].concat()
}

/// `AUTHENTICATED_VARIABLE_HEADER`, name and data, filled up to four bytes.
fn variable(name: &str, data: &[u8]) -> Vec<u8> {
    let name: Vec<u8> = name
        .encode_utf16()
        .chain([0])
        .flat_map(u16::to_le_bytes)
        .collect();
    let size = |len: usize| u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes();
    // It is there, and was added.
    let mut out = vec![0xaa, 0x55, 0x3f, 0];
    out.extend(ATTRIBUTES.to_le_bytes());
    // No count, no time, no key of its own.
    out.extend([0; 8 + 16 + 4]);
    out.extend(size(name.len()));
    out.extend(size(data.len()));
    out.extend(SECURITY_DATABASE);
    out.extend(name);
    out.extend(data);
    out.resize(out.len().next_multiple_of(4), 0xff);
    out
}
