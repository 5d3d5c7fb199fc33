//! Security modules in the model: order, refusals, verdicts on integrity.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;

use bpfseal_model::Errno;
use bpfseal_model::kernel::{
    Asked, Caller, End, Fd, Hook, Hornet, Integrity, Kernel, Map, MapCreate, Profile, ProgLoad,
    Program, Ran, SESSION, SecurityModule, Signature, Task,
};
use bpfseal_seal::{Certificate, Scheme, SealOptions, SigningKey, excl_prog_hash, seal};
use bpfseal_uapi::{Command, prog};

const INSTRUCTIONS: [u8; 16] = [0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];
const METADATA: &[u8] = b"metadata of a small loader, 40 bytes....";

fn person(name: &str) -> (SigningKey, Certificate) {
    let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/keys");
    let read = |kind: &str| std::fs::read(keys.join(format!("{name}.{kind}.pem"))).unwrap();
    (
        SigningKey::from_pem(&read("key")).unwrap(),
        Certificate::from_bytes(&read("cert")).unwrap(),
    )
}

fn signature(scheme: Scheme, signer: &str, metadata: &[u8]) -> Signature {
    let (key, certificate) = person(signer);
    let options = SealOptions::default();
    let seal = seal(
        scheme,
        &INSTRUCTIONS,
        metadata,
        &key,
        &certificate,
        &options,
    )
    .unwrap();
    Signature {
        size: seal.signature.len() as u32,
        bytes: seal.signature,
        keyring: SESSION,
    }
}

fn kernel(profile: Profile) -> Kernel {
    let mut kernel = Kernel::new(profile);
    kernel.keyring_mut(SESSION).store.add(person("p256").1);
    kernel
}

fn metadata_map(kernel: &mut Kernel) -> Fd {
    let wanted = MapCreate::metadata(METADATA.len() as u32, excl_prog_hash(&INSTRUCTIONS));
    let map = kernel.map_create(&wanted).unwrap();
    kernel.map_update(map, &[0; 4], METADATA, 0).unwrap();
    kernel.map_freeze(map).unwrap();
    map
}

fn load(map: Fd, count: u32, signature: Option<Signature>) -> ProgLoad {
    ProgLoad {
        name: "loader".to_owned(),
        prog_type: prog::SYSCALL,
        instructions: INSTRUCTIONS.to_vec(),
        fd_array: Some(vec![map]),
        fd_array_cnt: count,
        signature,
        ..ProgLoad::default()
    }
}

/// Refuses in one hook.
#[derive(Debug)]
struct Refusing(Hook);

impl Refusing {
    fn answer(&self, hook: Hook) -> Result<(), Errno> {
        if self.0 == hook {
            Err(Errno::EPERM)
        } else {
            Ok(())
        }
    }
}

impl SecurityModule for Refusing {
    fn name(&self) -> &'static str {
        "refusing"
    }

    fn bpf(&mut self, _command: Command, _caller: Caller) -> Result<(), Errno> {
        self.answer(Hook::Bpf)
    }

    fn map_create(&mut self, _wanted: &MapCreate, _caller: Caller) -> Result<(), Errno> {
        self.answer(Hook::MapCreate)
    }

    fn prog_load(&mut self, _asked: &Asked<'_>) -> Result<(), Errno> {
        self.answer(Hook::ProgLoad)
    }

    fn prog(&mut self, _program: &Program) -> Result<(), Errno> {
        self.answer(Hook::Prog)
    }

    fn prog_run(&mut self, _program: &Program, _maps: &[Option<&Map>]) -> Result<(), Errno> {
        self.answer(Hook::ProgRun)
    }
}

/// Wants a verified loader, and lets it install what it likes.
#[derive(Debug)]
struct VerifiedOnly;

impl SecurityModule for VerifiedOnly {
    fn name(&self) -> &'static str {
        "verified-only"
    }

    fn prog_load(&mut self, asked: &Asked<'_>) -> Result<(), Errno> {
        if asked.verdict.verified || asked.caller.is_kernel() {
            Ok(())
        } else {
            Err(Errno::EACCES)
        }
    }
}

/// Remembers what others say of integrity, and decides when the load is asked for.
#[derive(Debug, Default)]
struct Deferred {
    seen: Vec<(&'static str, Integrity)>,
}

impl SecurityModule for Deferred {
    fn name(&self) -> &'static str {
        "deferred"
    }

    fn prog_load_post_integrity(
        &mut self,
        _asked: &Asked<'_>,
        module: &'static str,
        verdict: Integrity,
    ) -> Result<(), Errno> {
        self.seen.push((module, verdict));
        Ok(())
    }

    fn prog_load(&mut self, _asked: &Asked<'_>) -> Result<(), Errno> {
        if self
            .seen
            .iter()
            .any(|(_, verdict)| *verdict == Integrity::Ok)
        {
            Ok(())
        } else {
            Err(Errno::EACCES)
        }
    }
}

/// Only says what it finds: of every program, that it is unsigned.
#[derive(Debug)]
struct Pessimist;

impl SecurityModule for Pessimist {
    fn name(&self) -> &'static str {
        "pessimist"
    }

    fn prog_load_integrity(&mut self, _asked: &Asked<'_>) -> Option<Integrity> {
        Some(Integrity::Unsigned)
    }
}

#[test]
fn the_first_refusal_ends_it() {
    for hook in [Hook::Bpf, Hook::MapCreate, Hook::ProgLoad, Hook::Prog] {
        let mut kernel = kernel(Profile::V7_3);
        if hook == Hook::ProgLoad || hook == Hook::Prog {
            let map = metadata_map(&mut kernel);
            kernel.modules.add(Box::new(Refusing(hook)));
            kernel.modules.add(Box::new(VerifiedOnly));
            let good = signature(Scheme::LoadTime, "p256", METADATA);
            let answer = kernel.prog_load(&load(map, 1, Some(good)));
            assert_eq!(answer.result, Err(Errno::EPERM));
            assert!(!kernel.admissions[0].loaded);
            // A load that failed after it was asked for is freed.
            let freed = kernel
                .modules
                .trail
                .iter()
                .any(|told| told.hook == Hook::ProgFree);
            assert!(freed, "{hook:?}");
        } else {
            kernel.modules.add(Box::new(Refusing(hook)));
            kernel.modules.add(Box::new(VerifiedOnly));
            let wanted = MapCreate::metadata(8, [0; 32]);
            assert_eq!(kernel.map_create(&wanted), Err(Errno::EPERM));
        }
        // The module behind it is not asked.
        let refused = kernel
            .modules
            .trail
            .iter()
            .position(|told| told.answer.is_err());
        let after = &kernel.modules.trail[refused.unwrap() + 1..];
        assert!(
            after.iter().all(|told| told.hook == Hook::ProgFree),
            "{after:?}"
        );
    }
}

#[test]
fn a_module_decides_by_the_verdict() {
    let mut kernel = kernel(Profile::V7_3);
    kernel.modules.add(Box::new(VerifiedOnly));
    let map = metadata_map(&mut kernel);
    let good = signature(Scheme::LoadTime, "p256", METADATA);
    assert!(kernel.prog_load(&load(map, 1, Some(good))).result.is_ok());
    let unsigned = kernel.prog_load(&load(map, 0, None));
    assert_eq!(unsigned.result, Err(Errno::EACCES));
    // What a loader installs comes from the kernel.
    let nested = kernel.caller_on(Task::FIRST);
    let installed = kernel.prog_load_by(nested, &load(map, 0, None));
    assert!(installed.result.is_ok());
    // One whose signature does not hold is not even asked for.
    let before = kernel.modules.trail.len();
    let bad = signature(Scheme::LoadTime, "p256", b"other");
    assert_eq!(
        kernel.prog_load(&load(map, 1, Some(bad))).result,
        Err(Errno::EKEYREJECTED)
    );
    let asked = &kernel.modules.trail[before..];
    assert!(asked.iter().all(|told| told.hook == Hook::Bpf), "{asked:?}");
}

#[test]
fn hornet_has_a_verdict_for_everything() {
    let verdict = |signature: Option<Signature>, frozen: bool| {
        let mut kernel = kernel(Profile::Hornet);
        kernel.modules.add(Box::new(Hornet::default()));
        let wanted = MapCreate::metadata(METADATA.len() as u32, excl_prog_hash(&INSTRUCTIONS));
        let map = kernel.map_create(&wanted).unwrap();
        kernel.map_update(map, &[0; 4], METADATA, 0).unwrap();
        if frozen {
            kernel.map_freeze(map).unwrap();
        }
        let answer = kernel.prog_load(&load(map, 0, signature));
        let told = kernel
            .modules
            .trail
            .iter()
            .find(|told| told.integrity.is_some());
        let verdict = told.unwrap().integrity.unwrap();
        assert_eq!(answer.result.is_ok(), verdict == Integrity::Ok);
        verdict
    };
    let good = || signature(Scheme::Hornet, "p256", METADATA);
    assert_eq!(verdict(Some(good()), true), Integrity::Ok);
    assert_eq!(verdict(Some(good()), false), Integrity::Fault);
    assert_eq!(verdict(None, true), Integrity::Unsigned);
    let other = signature(Scheme::Hornet, "p256", b"other metadata");
    assert_eq!(verdict(Some(other), true), Integrity::Unexpected);
    // Over the instructions, and no list of maps.
    let partial = signature(Scheme::InLoader, "p256", METADATA);
    assert_eq!(verdict(Some(partial), true), Integrity::PartialSig);
    let unknown = signature(Scheme::Hornet, "rsa2048", METADATA);
    assert_eq!(verdict(Some(unknown), true), Integrity::UnknownKey);
    let mut bad = good();
    let last = bad.bytes.len() - 1;
    bad.bytes[last] ^= 1;
    assert_eq!(verdict(Some(bad), true), Integrity::BadSig);
    let nowhere = Signature {
        keyring: i32::MAX,
        ..good()
    };
    assert_eq!(verdict(Some(nowhere), true), Integrity::UnknownKey);
}

/// Several verdicts, each reported to all modules; one that decides later weighs them.
#[test]
fn verdicts_are_reported_to_all() {
    let mut kernel = kernel(Profile::Hornet);
    kernel.modules.add(Box::new(Deferred::default()));
    kernel.modules.add(Box::new(Pessimist));
    kernel.modules.add(Box::new(Hornet::default()));
    let map = metadata_map(&mut kernel);
    let good = signature(Scheme::Hornet, "p256", METADATA);
    assert!(kernel.prog_load(&load(map, 0, Some(good))).result.is_ok());
    let trail: Vec<_> = kernel
        .modules
        .trail
        .iter()
        .filter(|told| told.hook == Hook::ProgLoadPostIntegrity)
        .map(|told| (told.module, told.integrity.unwrap()))
        .collect();
    let all = ["deferred", "pessimist", "hornet"];
    let wanted: Vec<_> = [Integrity::Unsigned, Integrity::Ok]
        .into_iter()
        .flat_map(|verdict| all.map(|module| (module, verdict)))
        .collect();
    assert_eq!(trail, wanted);
    // Without Hornet nobody says that it is good.
    let mut kernel = self::kernel(Profile::Hornet);
    kernel.modules.add(Box::new(Deferred::default()));
    kernel.modules.add(Box::new(Pessimist));
    let map = metadata_map(&mut kernel);
    let good = signature(Scheme::Hornet, "p256", METADATA);
    let answer = kernel.prog_load(&load(map, 0, Some(good)));
    assert_eq!(answer.result, Err(Errno::EACCES));
}

/// Every way to a program asks: its load, its run, another descriptor; and its end is told once.
#[test]
fn runs_descriptors_and_ends_are_told() {
    let mut kernel = kernel(Profile::V7_3);
    kernel.modules.add(Box::new(Refusing(Hook::ProgRun)));
    let map = metadata_map(&mut kernel);
    let good = signature(Scheme::LoadTime, "p256", METADATA);
    let loader = kernel.prog_load(&load(map, 1, Some(good))).result.unwrap();
    let refused = kernel.prog_run(loader, vec![0; 64]);
    assert_eq!(refused.end, End::Refused(Errno::EPERM));
    let second = kernel.prog_get_fd_by_id(0).unwrap();
    assert_eq!(kernel.prog_get_fd_by_id(1), Err(Errno::ENOENT));
    let count = |kernel: &Kernel, hook| {
        let trail = kernel.modules.trail.iter();
        trail.filter(|told| told.hook == hook).count()
    };
    assert_eq!(count(&kernel, Hook::Prog), 2);
    assert!(kernel.close(loader));
    assert_eq!(count(&kernel, Hook::ProgFree), 0);
    assert!(kernel.close(second));
    assert_eq!(count(&kernel, Hook::ProgFree), 1);
    assert_eq!(kernel.prog_get_fd_by_id(0), Err(Errno::ENOENT));

    // Not asked, it runs: its code returns 0.
    let mut kernel = self::kernel(Profile::V7_3);
    let map = metadata_map(&mut kernel);
    let loader = kernel.prog_load(&load(map, 0, None)).result.unwrap();
    assert_eq!(kernel.prog_run(loader, Vec::new()).end, End::Returned(0));
    let errno = |ran: Ran| match ran.end {
        End::Refused(errno) => errno,
        other => panic!("{other:?}"),
    };
    assert_eq!(errno(kernel.prog_run(map, Vec::new())), Errno::EINVAL);
    assert_eq!(errno(kernel.prog_run(99, Vec::new())), Errno::EBADF);
    let large = vec![0; 1 << 16];
    assert_eq!(errno(kernel.prog_run(loader, large)), Errno::EINVAL);
}

/// Hornet looks at the maps again before a run: one more, and one changed by another program.
#[test]
fn hornet_looks_again_before_a_run() {
    let run = |exclusive: bool, changed: bool| {
        let mut kernel = kernel(Profile::Hornet);
        kernel.modules.add(Box::new(Hornet::default()));
        let mut wanted = MapCreate::metadata(METADATA.len() as u32, excl_prog_hash(&INSTRUCTIONS));
        if !exclusive {
            wanted.excl_prog_hash = None;
            wanted.excl_prog_hash_size = 0;
        }
        let map = kernel.map_create(&wanted).unwrap();
        kernel.map_update(map, &[0; 4], METADATA, 0).unwrap();
        kernel.map_freeze(map).unwrap();
        let good = signature(Scheme::Hornet, "p256", METADATA);
        let loader = kernel.prog_load(&load(map, 0, Some(good))).result.unwrap();
        if changed {
            kernel.map_mut(map).unwrap().write_by_program(0, b"M");
        }
        kernel.prog_run(loader, Vec::new()).end
    };
    assert_eq!(run(true, false), End::Returned(0));
    assert_eq!(run(false, false), End::Returned(0));
    assert_eq!(run(false, true), End::Refused(Errno::EPERM));
}
