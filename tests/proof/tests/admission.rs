//! What a security module sees: a BPF LSM program of ours, sealed and loaded by ourselves, watches
//! the admission of programs on a real kernel.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::os::fd::AsRawFd as _;

use bpfseal::kernel::{Link, Linux, Map, Program, install, keyring_serial};
use bpfseal::loader::Form;

use bpfseal_proof::bench::{SESSION, Subject, errno, fd, in_machine, load, sign, trust};
use bpfseal_proof::object;
use bpfseal_uapi::{KeyringType, ProgType, SigVerdict, keyring_type, prog, verdict};

/// One admission: type of program, verdict, keyring type, keyring serial, by the kernel itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Admission {
    prog_type: ProgType,
    verdict: SigVerdict,
    keyring_type: KeyringType,
    keyring_serial: i32,
    by_kernel: bool,
}

struct Observer {
    admissions: Map,
    control: Map,
    _link: Link,
}

impl Observer {
    /// Watches this process until it is dropped: loaders run on a thread of their own.
    fn start() -> Self {
        let subject = Subject::new(object!("observer"), Form::Signed);
        let installed = install(&Linux, &subject.plan()).unwrap();
        let program = installed.programs.into_iter().next().unwrap();
        let program = Program::from_fd(program, "observe");
        let link = Link::raw_tracepoint(&Linux, None, &program).unwrap();
        let mut maps: Vec<Map> = installed
            .maps
            .into_iter()
            .map(|map| Map::from_fd(&Linux, map).unwrap())
            .collect();
        let mut take = |name: &str| {
            let named = |map: &Map| map.info(&Linux).unwrap().name == name;
            maps.swap_remove(maps.iter().position(named).unwrap())
        };
        let observer = Self {
            admissions: take("admissions"),
            control: take("control"),
            _link: link,
        };
        let update = |slot: u32, value: u32| {
            observer
                .control
                .update(&Linux, &slot.to_ne_bytes(), &value.to_ne_bytes(), 0)
                .unwrap();
        };
        update(1, 0);
        update(0, std::process::id());
        observer
    }

    /// What has been seen since the last time.
    fn take(&self) -> Vec<Admission> {
        let word =
            |bytes: &[u8], at: usize| i32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
        let one = 1u32.to_ne_bytes();
        let count = self.control.lookup(&Linux, &one).unwrap();
        let seen = (0..word(&count, 0))
            .map(|index| {
                let bytes = self
                    .admissions
                    .lookup(&Linux, &index.to_ne_bytes())
                    .unwrap();
                Admission {
                    prog_type: ProgType(word(&bytes, 0).cast_unsigned()),
                    verdict: SigVerdict(word(&bytes, 4).cast_unsigned()),
                    keyring_type: KeyringType(word(&bytes, 8).cast_unsigned()),
                    keyring_serial: word(&bytes, 12),
                    by_kernel: word(&bytes, 16) != 0,
                }
            })
            .collect();
        self.control.update(&Linux, &one, &[0; 4], 0).unwrap();
        seen
    }
}

#[test]
fn the_observer_sees_what_was_verified() {
    if !in_machine() {
        return;
    }
    trust();
    let observer = Observer::start();
    let serial = keyring_serial(&Linux, SESSION).unwrap().0;

    // Unsigned: the loader, and what it installs from inside of the kernel.
    let subject = Subject::new(object!("minimal"), Form::Signed);
    install(&Linux, &subject.unsigned()).unwrap();
    let unsigned = Admission {
        prog_type: prog::SYSCALL,
        verdict: verdict::UNSIGNED,
        keyring_type: keyring_type::NONE,
        keyring_serial: 0,
        by_kernel: false,
    };
    let installed = Admission {
        prog_type: prog::SOCKET_FILTER,
        by_kernel: true,
        ..unsigned
    };
    assert_eq!(observer.take(), [unsigned, installed]);

    // Signed: the loader is verified, what it installs is not signed of its own.
    install(&Linux, &subject.plan()).unwrap();
    let verified = Admission {
        verdict: verdict::VERIFIED,
        keyring_type: keyring_type::USER,
        keyring_serial: serial,
        ..unsigned
    };
    assert_eq!(observer.take(), [verified, installed]);

    // Signed over the instructions only, with the map left out of what is bound: the admission
    // sees a verified program, and the load fails after it.
    let map = subject.map();
    let signature = sign(&subject.instructions, &[]);
    let result = load(&subject.instructions, &[fd(&map)], false, Some(&signature));
    assert_eq!(errno(result), "EACCES");
    assert_eq!(observer.take(), [verified]);

    // Refused by its signature: it never gets to the admission.
    let result = load(&subject.instructions, &[fd(&map)], true, Some(&signature));
    assert_eq!(errno(result), "EKEYREJECTED");
    assert_eq!(observer.take(), []);
    assert!(map_is_open(&map));
}

fn map_is_open(map: &Map) -> bool {
    use std::os::fd::AsFd as _;
    std::fs::read_link(format!("/proc/self/fd/{}", map.as_fd().as_raw_fd())).is_ok()
}
