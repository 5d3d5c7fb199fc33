//! Random scenarios on a real kernel and in the model: the same answers, call by call.
//!
//! `BPFSEAL_SCENARIOS` says how many, `BPFSEAL_SEED` where to begin. A scenario that differs is
//! made smaller, call by call, and printed.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::os::fd::{AsFd as _, AsRawFd as _};

use bpfseal::kernel::{
    self, Btf, KeyringId, Linux, Map, MapSpec, Mapping, Program, ProgramSpec, SyscallError,
    add_certificate, join_session,
};
use bpfseal::model::Errno;
use bpfseal::model::kernel::{Answer, Fd, Kernel, MapCreate, Profile, ProgLoad, SESSION};
use bpfseal::model::scenario::{Machine, Outcome, Scenario, Signers, named, run};
use bpfseal::seal::{Certificate, SigningKey};

macro_rules! key_file {
    ($name:literal) => {
        include_bytes!(concat!("../../../testdata/keys/", $name)).as_slice()
    };
}

/// How many random scenarios, on the kernel that verifies at load time and on others.
const LOAD_TIME: u64 = 3000;
const OTHERS: u64 = 500;

/// The running kernel.
#[derive(Default)]
struct Real {
    maps: BTreeMap<Fd, Map>,
    mappings: Vec<Mapping>,
    others: BTreeMap<Fd, Box<dyn std::any::Any>>,
}

fn errno(error: &SyscallError) -> Errno {
    Errno(error.errno)
}

/// One type: `int`.
fn small_btf() -> Vec<u8> {
    let words: [u32; 9] = [24, 0, 16, 16, 5, 1, 1 << 24, 4, 32];
    let mut out = vec![0x9f, 0xeb, 1, 0];
    out.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    out.extend(b"\0int\0");
    out
}

impl Machine for Real {
    fn create_map(&mut self, wanted: &MapCreate) -> Result<Fd, Errno> {
        let spec = MapSpec {
            map_type: wanted.map_type.0,
            key_size: wanted.key_size,
            value_size: wanted.value_size,
            max_entries: wanted.max_entries,
            flags: wanted.map_flags,
            name: &wanted.name,
            inner_map: None,
            excl_prog_hash: wanted.excl_prog_hash.as_ref().map(|hash| &hash[..]),
            claimed_hash_size: (wanted.excl_prog_hash_size > 0)
                .then_some(wanted.excl_prog_hash_size),
        };
        let map = Map::create(&Linux, &spec).map_err(|e| errno(&e))?;
        let fd = map.as_fd().as_raw_fd();
        self.maps.insert(fd, map);
        Ok(fd)
    }

    fn update(&mut self, fd: Fd, key: u32, value: &[u8], flags: u64) -> Result<(), Errno> {
        let done = self.maps[&fd].update(&Linux, &key.to_ne_bytes(), value, flags);
        done.map_err(|e| errno(&e))
    }

    fn freeze(&mut self, fd: Fd) -> Result<(), Errno> {
        self.maps[&fd].freeze(&Linux).map_err(|e| errno(&e))
    }

    fn digest(&mut self, fd: Fd, size: u32) -> Result<(), Errno> {
        let digest = self.maps[&fd].hash(&Linux, size);
        digest.map(|_| ()).map_err(|e| errno(&e))
    }

    fn writable(&mut self, fd: Fd) -> Result<(), Errno> {
        let mapping = self.maps[&fd].mmap(&Linux, true).map_err(|e| errno(&e))?;
        self.mappings.push(mapping);
        Ok(())
    }

    fn load_btf(&mut self) -> Result<Fd, Errno> {
        let btf = Btf::load(&Linux, &small_btf()).map_err(|e| errno(&e))?;
        let fd = btf.as_fd().as_raw_fd();
        self.others.insert(fd, Box::new(btf));
        Ok(fd)
    }

    fn load(&mut self, load: &ProgLoad) -> Answer {
        let signature = load.signature.as_ref().map(|signature| kernel::Signature {
            bytes: &signature.bytes,
            keyring: KeyringId(signature.keyring),
            claimed_size: Some(signature.size),
        });
        let fds = load.fd_array.as_deref().unwrap_or_default();
        let loaded = Program::load(
            &Linux,
            &ProgramSpec {
                prog_type: load.prog_type,
                instructions: &load.instructions,
                license: "GPL",
                name: &load.name,
                flags: 1 << 4,
                fd_array: fds,
                bind: load.fd_array_cnt > 0,
                claimed_count: load.fd_array_cnt,
                signature,
                log_level: 1,
            },
        );
        match loaded {
            Ok(program) => {
                let fd = program.as_fd().as_raw_fd();
                self.others.insert(fd, Box::new(program));
                Answer {
                    result: Ok(fd),
                    log: Vec::new(),
                }
            }
            Err(error) => Answer {
                result: Err(errno(&error)),
                log: error.log.lines().map(str::to_owned).collect(),
            },
        }
    }

    fn close(&mut self, fd: Fd) {
        self.maps.remove(&fd);
        self.others.remove(&fd);
    }
}

fn key(bytes: &[u8]) -> SigningKey {
    SigningKey::from_pem(bytes).unwrap()
}

fn certificate(bytes: &[u8]) -> Certificate {
    Certificate::from_bytes(bytes).unwrap()
}

/// Both sides of a scenario.
struct Pair<'a> {
    profile: Profile,
    signers: Signers<'a>,
}

impl Pair<'_> {
    fn real(&self, scenario: &Scenario) -> Vec<Outcome> {
        run(scenario, &mut Real::default(), &self.signers)
    }

    fn model(&self, scenario: &Scenario) -> Vec<Outcome> {
        let mut kernel = Kernel::new(self.profile);
        let trusted = self.signers.trusted.1.clone();
        kernel.keyring_mut(SESSION).store.add(trusted);
        run(scenario, &mut kernel, &self.signers)
    }

    fn differs(&self, scenario: &Scenario) -> bool {
        self.real(scenario) != self.model(scenario)
    }

    /// Leaves out calls at the end, and then the others one by one, as long as it still differs.
    /// Calls are named by their places, so one that is left out becomes one that does nothing.
    fn shrunk(&self, mut scenario: Scenario) -> Scenario {
        while scenario.calls.len() > 1 {
            let mut shorter = scenario.clone();
            shorter.calls.pop();
            if !self.differs(&shorter) {
                break;
            }
            scenario = shorter;
        }
        for slot in 0..scenario.calls.len() {
            let mut without = scenario.clone();
            without.calls[slot] = bpfseal::model::scenario::Call::Close { of: usize::MAX };
            if self.differs(&without) {
                scenario = without;
            }
        }
        scenario
    }
}

/// What both tests start from: a session of their own with one key in it.
struct Setup {
    profile: Profile,
    release: String,
    trusted: (SigningKey, Certificate),
    other: (SigningKey, Certificate),
}

impl Setup {
    fn new() -> Option<Self> {
        if std::env::var_os("BPFSEAL_VM").is_none() {
            eprintln!("skipped: no virtual machine (`cargo xtask kernels` has them)");
            return None;
        }
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
        let release = release.trim().to_owned();
        join_session(&Linux).unwrap();
        let trusted = certificate(key_file!("p256.cert.pem"));
        add_certificate(&Linux, KeyringId::SESSION, "trusted", trusted.der()).unwrap();
        let other = certificate(key_file!("rsa2048.cert.pem"));
        Some(Self {
            profile: Profile::of(&release).unwrap(),
            release,
            trusted: (key(key_file!("p256.key.pem")), trusted),
            other: (key(key_file!("rsa2048.key.pem")), other),
        })
    }

    fn pair(&self) -> Pair<'_> {
        Pair {
            profile: self.profile,
            signers: Signers {
                trusted: (&self.trusted.0, &self.trusted.1),
                other: (&self.other.0, &self.other.1),
            },
        }
    }
}

fn short(errno: Option<Errno>) -> String {
    errno.map_or("ok".to_owned(), |errno| errno.to_string())
}

#[test]
fn named_scenarios_have_their_answers() {
    let Some(setup) = Setup::new() else { return };
    let pair = setup.pair();
    println!("  {:<60} {:<14} {}", "scenario", "model", setup.release);
    for one in named() {
        let (real, model) = (pair.real(&one.scenario), pair.model(&one.scenario));
        let last = |all: &[Outcome]| all.last().and_then(|outcome| outcome.errno);
        let (seen, told) = (last(&real), last(&model));
        println!("  {:<60} {:<14} {}", one.name, short(told), short(seen));
        assert_eq!(real, model, "{}", one.name);
        if setup.profile == Profile::V7_3 {
            assert_eq!(seen, one.answer, "{}", one.name);
        }
    }
}

#[test]
fn the_model_answers_as_the_kernel_does() {
    let Some(setup) = Setup::new() else { return };
    let pair = setup.pair();
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let default = if setup.profile == Profile::V7_3 {
        LOAD_TIME
    } else {
        OTHERS
    };
    let count = number("BPFSEAL_SCENARIOS").unwrap_or(default);
    let first = number("BPFSEAL_SEED").unwrap_or(0);
    let mut calls = 0;
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut wrong = 0;
    for seed in first..first + count {
        let scenario = Scenario::random(seed);
        let real = pair.real(&scenario);
        calls += real.len();
        for outcome in &real {
            *seen.entry(short(outcome.errno)).or_default() += 1;
        }
        if real == pair.model(&scenario) {
            continue;
        }
        wrong += 1;
        if wrong <= 5 {
            let small = pair.shrunk(scenario);
            println!("  scenario {seed}: {small:#?}");
            println!("  kernel: {:?}", pair.real(&small));
            println!("  model:  {:?}", pair.model(&small));
        }
    }
    println!("  {count} scenarios, {calls} calls: {wrong} differ; answers of the kernel: {seen:?}");
    assert_eq!(wrong, 0);
}
