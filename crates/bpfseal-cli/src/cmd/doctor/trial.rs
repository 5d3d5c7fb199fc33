//! Programs that were signed beforehand, to try what the running kernel verifies: one for each kind
//! of key and digest, and one for what no signature covers.
//!
//! The keys are those of the project's tests, which are public. Their certificates are in a keyring
//! that goes away with the process, so that nothing is trusted because of them.

use std::os::fd::AsFd as _;

use bpfseal::artifact::install::InstallPlan;
use bpfseal::kernel::{
    self, Btf, CoreRecords, Errno, KeyringId, Linux, Program, ProgramSpec, Signature, SyscallError,
    records,
};
use bpfseal::loader::ContextLayout;
use bpfseal::seal::{Scheme, Seal, SealedLoader, excl_prog_hash};
use bpfseal::uapi::{BPF_F_SLEEPABLE, ProgType, prog};

/// `r0 = 0; exit`: the smallest loader.
pub(super) const LOADER: [u8; 16] = [0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];
/// Its metadata.
pub(super) const METADATA: [u8; 8] = [0; 8];
/// `r0 = 7; exit`: a program without maps.
pub(super) const PLAIN: [u8; 16] = [0xb7, 0, 0, 0, 7, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];

/// A kind of signature: its name, the signer's certificate, the signature of [`LOADER`].
pub(super) struct Trial {
    pub(super) name: &'static str,
    pub(super) certificate: &'static [u8],
    pub(super) signature: &'static [u8],
}

macro_rules! trials {
    ($($name:literal, $key:literal, $digest:literal;)*) => {
        &[$(Trial {
            name: $name,
            certificate: include_bytes!(concat!($key, ".cer")),
            signature: include_bytes!(concat!($key, ".", $digest, ".p7s")),
        },)*]
    };
}

/// What is tried.
pub(super) const TRIALS: &[Trial] = trials![
    "RSA-2048 with SHA-256", "rsa2048", "sha256";
    "RSA-2048 with SHA-384", "rsa2048", "sha384";
    "RSA-2048 with SHA-512", "rsa2048", "sha512";
    "ECDSA P-256 with SHA-256", "p256", "sha256";
    "ECDSA P-384 with SHA-384", "p384", "sha384";
    "ECDSA P-521 with SHA-512", "p521", "sha512";
    "ML-DSA-44", "mldsa44", "sha512";
    "ML-DSA-65", "mldsa65", "sha512";
    "ML-DSA-87", "mldsa87", "sha512";
];

/// The signature of [`PLAIN`], by the key that every kernel takes.
const PLAIN_SIGNATURE: &[u8] = include_bytes!("plain.p7s");

/// A keyring of this process with one certificate in it.
fn keyring(certificate: &[u8]) -> Result<KeyringId, SyscallError> {
    let keyring = kernel::new_keyring(&Linux, KeyringId::PROCESS, "bpfseal doctor")?;
    kernel::add_certificate(&Linux, keyring.into(), "trial", certificate)?;
    Ok(keyring.into())
}

/// Loads and runs the smallest loader with a signature; why not, if the kernel does not.
pub(super) fn verified(trial: &Trial) -> Result<(), String> {
    let keyring = keyring(trial.certificate).map_err(|e| e.to_string())?;
    let seal = Seal {
        scheme: Scheme::LoadTime,
        signature: trial.signature.to_vec(),
        excl_prog_hash: excl_prog_hash(&LOADER),
    };
    let sealed = SealedLoader {
        instructions: &LOADER,
        metadata: &METADATA,
        seal: &seal,
    };
    let context = ContextLayout {
        maps: 0,
        programs: 0,
    };
    let plan = InstallPlan::sealed(sealed, keyring, context);
    let installed = kernel::install(&Linux, &plan);
    installed.map(drop).map_err(|e| e.to_string())
}

fn plain(prog_type: ProgType, keyring: KeyringId) -> ProgramSpec<'static> {
    ProgramSpec {
        prog_type,
        instructions: &PLAIN,
        license: "GPL",
        name: "bpfseal_trial",
        flags: if prog_type == prog::SYSCALL {
            BPF_F_SLEEPABLE
        } else {
            0
        },
        fd_array: &[],
        fd_array_cnt: 0,
        signature: Some(Signature {
            bytes: PLAIN_SIGNATURE,
            keyring,
        }),
        log_level: 0,
    }
}

/// Whether CO-RE records change a signed program after its signature was checked; `EACCES` of a
/// kernel that takes no records of signed programs.
pub(super) fn records_change_it() -> Result<bool, Errno> {
    let errno = |error: SyscallError| error.errno;
    let keyring = keyring(TRIALS[0].certificate).map_err(errno)?;
    let btf = Btf::load(&Linux, records::BTF).map_err(errno)?;
    let record = records::record(0, 1);
    let records = CoreRecords {
        btf: btf.as_fd(),
        func_info: &records::FUNC_INFO,
        records: &record,
    };
    let spec = plain(prog::SYSCALL, keyring);
    let program = Program::load_with_records(&Linux, &spec, &records).map_err(errno)?;
    let answer = program.run(&Linux, &mut [0; 8]).map_err(errno)?;
    Ok(answer != 7)
}

/// Whether the signature of a program is good for a program of another type, too.
pub(super) fn any_type_is_taken() -> Result<bool, Errno> {
    let errno = |error: SyscallError| error.errno;
    let keyring = keyring(TRIALS[0].certificate).map_err(errno)?;
    let loaded = Program::load(&Linux, &plain(prog::SOCKET_FILTER, keyring));
    loaded.map(|_| true).map_err(errno)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use bpfseal::seal::{
        Certificate, KernelConfig, SIGNING_DIGESTS, SealOptions, SigningKey, TrustStore, seal,
        verify_detached,
    };
    use std::path::Path;

    fn holds(certificate: &[u8], content: &[&[u8]], signature: &[u8]) {
        let mut trust = TrustStore::for_kernel(KernelConfig::EVERYTHING);
        trust.add(Certificate::from_der(certificate).unwrap());
        verify_detached(content, signature, &trust).unwrap();
    }

    /// With `BPFSEAL_TRIALS` in the environment they are signed anew, by the test keys.
    #[test]
    fn what_is_tried_is_well_signed() {
        if std::env::var_os("BPFSEAL_TRIALS").is_some() {
            sign_anew();
            return;
        }
        for trial in TRIALS {
            holds(trial.certificate, &[&LOADER, &METADATA], trial.signature);
        }
        holds(TRIALS[0].certificate, &[&PLAIN], PLAIN_SIGNATURE);
    }

    fn sign_anew() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let keys = root.join("../../testdata/keys");
        let folder = root.join("src/cmd/doctor");
        for (name, digests) in [
            ("rsa2048", &["sha256", "sha384", "sha512"][..]),
            ("p256", &["sha256"]),
            ("p384", &["sha384"]),
            ("p521", &["sha512"]),
            ("mldsa44", &["sha512"]),
            ("mldsa65", &["sha512"]),
            ("mldsa87", &["sha512"]),
        ] {
            let read = |ending: &str| std::fs::read(keys.join(format!("{name}.{ending}"))).unwrap();
            let key = SigningKey::from_pem(&read("key.pem")).unwrap();
            let certificate = Certificate::from_bytes(&read("cert.pem")).unwrap();
            let cer = folder.join(format!("{name}.cer"));
            std::fs::write(cer, certificate.der()).unwrap();
            let sign = |file: &str, digest: &str, content: &[u8], metadata: &[u8]| {
                let options = SealOptions {
                    digest: SIGNING_DIGESTS
                        .into_iter()
                        .find(|known| known.name() == digest && !name.starts_with("mldsa")),
                    ..SealOptions::default()
                };
                let scheme = Scheme::LoadTime;
                let seal = seal(scheme, content, metadata, &key, &certificate, &options);
                std::fs::write(folder.join(file), seal.unwrap().signature).unwrap();
            };
            for digest in digests {
                sign(&format!("{name}.{digest}.p7s"), digest, &LOADER, &METADATA);
            }
            if name == "rsa2048" {
                sign("plain.p7s", "sha256", &PLAIN, &[]);
            }
        }
    }
}
