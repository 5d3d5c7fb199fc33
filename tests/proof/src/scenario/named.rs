//! The scenarios of the kernel's own self-test of signed loaders, by name.
//!
//! Source of the cases and answers: `prog_tests/signed_loader.c` of Linux 7.3, as seen on 7.3.4.
//! Those that are about the run of a loader, or about what a security module sees, are tests of
//! their own on a real kernel.

use super::{Bound, Call, Code, NO_KEYRING, Over, Scenario, Sign};
use bpfseal_model::Errno;
use bpfseal_model::kernel::SESSION;

/// A scenario with a name, and what Linux 7.3 answers to its last call.
#[derive(Debug, Clone)]
pub struct Named {
    /// What it tries.
    pub name: &'static str,
    /// The calls.
    pub scenario: Scenario,
    /// The answer to the last call; none when it goes well.
    pub answer: Option<Errno>,
}

const CODE: Code = Code::ByIndex(0);

fn map(bound: Bound) -> Call {
    Call::CreateMap {
        hash: false,
        value_size: 40,
        entries: 1,
        bound,
        mmapable: false,
    }
}

fn mapped(bound: Bound) -> Call {
    match map(bound) {
        Call::CreateMap {
            hash,
            value_size,
            entries,
            bound,
            ..
        } => Call::CreateMap {
            hash,
            value_size,
            entries,
            bound,
            mmapable: true,
        },
        other => other,
    }
}

fn hash_map(bound: Bound) -> Call {
    Call::CreateMap {
        hash: true,
        value_size: 40,
        entries: 1,
        bound,
        mmapable: false,
    }
}

const WRITE: Call = Call::Update {
    map: 0,
    key: 0,
    byte: 0x5a,
    flags: 0,
};
const FREEZE: Call = Call::Freeze { map: 0 };

fn good() -> Sign {
    Sign {
        trusted: true,
        over: Over::InstructionsAndMaps,
        keyring: SESSION,
        claimed: None,
    }
}

fn load(code: Code, array: &[usize], bind: bool, sign: Option<Sign>) -> Call {
    Call::Load {
        code,
        array: array.to_vec(),
        bind,
        sign,
    }
}

/// A loader with its map, as it should be, and how it is signed.
fn loader(sign: Option<Sign>) -> Vec<Call> {
    vec![
        map(Bound::To(CODE)),
        WRITE,
        FREEZE,
        load(CODE, &[0], true, sign),
    ]
}

fn over(over: Over) -> Option<Sign> {
    Some(Sign { over, ..good() })
}

/// All of them.
#[must_use]
pub fn named() -> Vec<Named> {
    let returns = Code::Returns(0);
    let claimed = |size| {
        Some(Sign {
            claimed: Some(size),
            ..good()
        })
    };
    let rows: Vec<(&'static str, Vec<Call>, Option<Errno>)> = vec![
        (
            "signed, without maps",
            vec![load(returns.clone(), &[], false, Some(good()))],
            None,
        ),
        ("signed, with its map", loader(Some(good())), None),
        (
            "unsigned, its map in a sparse fd_array",
            vec![
                map(Bound::To(CODE)),
                WRITE,
                FREEZE,
                load(CODE, &[0], false, None),
            ],
            None,
        ),
        (
            "unsigned, its map bound by fd_array_cnt",
            loader(None),
            Some(Errno::EACCES),
        ),
        (
            "junk for a signature",
            loader(over(Over::Junk)),
            Some(Errno::EBADMSG),
        ),
        (
            "a map that is not exclusive",
            vec![
                map(Bound::Nothing),
                WRITE,
                FREEZE,
                load(CODE, &[0], true, Some(good())),
            ],
            Some(Errno::EPERM),
        ),
        (
            "a map that is not frozen",
            vec![
                map(Bound::To(CODE)),
                WRITE,
                load(CODE, &[0], true, Some(good())),
            ],
            Some(Errno::EPERM),
        ),
        (
            "a map that is bound to another program",
            vec![
                map(Bound::Other),
                WRITE,
                FREEZE,
                load(CODE, &[0], true, Some(good())),
            ],
            Some(Errno::EACCES),
        ),
        (
            "an exclusive map that is not an array",
            vec![
                hash_map(Bound::To(CODE)),
                WRITE,
                FREEZE,
                load(CODE, &[0], true, Some(good())),
            ],
            Some(Errno::EINVAL),
        ),
        (
            "a BTF in fd_array",
            vec![
                map(Bound::To(CODE)),
                WRITE,
                FREEZE,
                Call::LoadBtf,
                load(CODE, &[0, 3], true, Some(good())),
            ],
            Some(Errno::EACCES),
        ),
        (
            "a closed descriptor in fd_array",
            vec![
                map(Bound::To(CODE)),
                WRITE,
                FREEZE,
                load(CODE, &[0, 9], true, Some(good())),
            ],
            Some(Errno::EBADF),
        ),
        (
            "a signature of 64 MiB",
            loader(claimed(64 << 20)),
            Some(Errno::EINVAL),
        ),
        (
            "a signature of size 0",
            loader(claimed(0)),
            Some(Errno::EINVAL),
        ),
        (
            "a keyring that there is not",
            loader(Some(Sign {
                keyring: NO_KEYRING,
                ..good()
            })),
            Some(Errno::EINVAL),
        ),
        (
            "a key that is not in the keyring",
            loader(Some(Sign {
                trusted: false,
                ..good()
            })),
            Some(Errno::ENOKEY),
        ),
        (
            "other instructions or metadata than were signed",
            loader(over(Over::SomethingElse)),
            Some(Errno::EKEYREJECTED),
        ),
        (
            "a signature over instructions alone, with a map",
            loader(over(Over::Instructions)),
            Some(Errno::EKEYREJECTED),
        ),
        (
            "signed over instructions, the map left out of fd_array_cnt",
            vec![
                map(Bound::To(CODE)),
                WRITE,
                FREEZE,
                load(CODE, &[0], false, over(Over::Instructions)),
            ],
            Some(Errno::EACCES),
        ),
        (
            "signed, without maps, other instructions than were signed",
            vec![load(returns, &[], false, over(Over::SomethingElse))],
            Some(Errno::EKEYREJECTED),
        ),
        (
            "signed, a map by its descriptor",
            vec![
                map(Bound::Nothing),
                load(Code::ByFd(0), &[], false, Some(good())),
            ],
            Some(Errno::EINVAL),
        ),
        (
            "a digest before the map is frozen",
            vec![
                map(Bound::To(CODE)),
                WRITE,
                Call::Digest { map: 0, size: 32 },
            ],
            Some(Errno::EPERM),
        ),
        (
            "a digest after that",
            vec![
                map(Bound::To(CODE)),
                WRITE,
                FREEZE,
                Call::Digest { map: 0, size: 32 },
            ],
            None,
        ),
        (
            "a digest of another size",
            vec![
                map(Bound::To(CODE)),
                FREEZE,
                Call::Digest { map: 0, size: 16 },
            ],
            Some(Errno::EINVAL),
        ),
        (
            "a digest of a hash map",
            vec![
                hash_map(Bound::Nothing),
                FREEZE,
                Call::Digest { map: 0, size: 32 },
            ],
            Some(Errno::EINVAL),
        ),
        (
            "an update of a frozen map",
            vec![map(Bound::To(CODE)), FREEZE, WRITE],
            Some(Errno::EPERM),
        ),
        (
            "freezing while a writable mapping is held",
            vec![mapped(Bound::To(CODE)), Call::Writable { map: 0 }, FREEZE],
            Some(Errno::EBUSY),
        ),
        (
            "freezing a second time",
            vec![map(Bound::To(CODE)), FREEZE, FREEZE],
            Some(Errno::EPERM),
        ),
        (
            "a writable mapping of a frozen map",
            vec![mapped(Bound::To(CODE)), FREEZE, Call::Writable { map: 0 }],
            Some(Errno::EPERM),
        ),
        (
            "a digest's size without a digest",
            vec![map(Bound::SizeAlone(32))],
            Some(Errno::EINVAL),
        ),
        (
            "an exclusive map as the model of an inner one",
            vec![map(Bound::To(CODE)), Call::CreateOuter { inner: 0 }],
            Some(Errno::ENOTSUPP),
        ),
        (
            "an exclusive map put into a map of maps",
            vec![
                map(Bound::To(CODE)),
                map(Bound::Nothing),
                Call::CreateOuter { inner: 1 },
                Call::PutInner { outer: 2, inner: 0 },
            ],
            Some(Errno::ENOTSUPP),
        ),
    ];
    rows.into_iter()
        .map(|(name, calls, answer)| Named {
            name,
            scenario: Scenario { calls },
            answer,
        })
        .collect()
}
