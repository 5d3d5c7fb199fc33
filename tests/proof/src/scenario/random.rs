//! Random scenarios, each by its seed.

use super::{Bound, Call, Code, NO_KEYRING, Over, Scenario, Sign};
use crate::random::Random;
use bpfseal_model::kernel::SESSION;

impl Scenario {
    /// A scenario of one to twelve calls. Most are what a loading side does, with a slip here and
    /// there; others are anything.
    #[must_use]
    pub fn random(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let calls = if random.once_in(3) {
            let count = 1 + random.below(12);
            let mut calls = Vec::new();
            for slot in 0..count {
                let call = any_call(&mut random, &calls, slot);
                calls.push(call);
            }
            calls
        } else {
            usual(&mut random)
        };
        Self { calls }
    }
}

fn code(random: &mut Random, calls: &[Call]) -> Code {
    match random.below(5) {
        0 | 1 => Code::Returns(random.below(3) as u8),
        2 | 3 => Code::ByIndex(random.below(3) as u8),
        _ => match maps(calls).first() {
            Some(map) => Code::ByFd(*map),
            None => Code::Returns(0),
        },
    }
}

fn outer_maps(calls: &[Call]) -> Vec<usize> {
    let is_outer = |call: &Call| matches!(call, Call::CreateOuter { .. });
    (0..calls.len())
        .filter(|slot| is_outer(&calls[*slot]))
        .collect()
}

fn maps(calls: &[Call]) -> Vec<usize> {
    let is_map = |call: &Call| matches!(call, Call::CreateMap { .. });
    (0..calls.len())
        .filter(|slot| is_map(&calls[*slot]))
        .collect()
}

fn sign(random: &mut Random) -> Sign {
    let over = [
        Over::InstructionsAndMaps,
        Over::InstructionsAndMaps,
        Over::InstructionsAndMaps,
        Over::Instructions,
        Over::SomethingElse,
        Over::Junk,
    ];
    Sign {
        trusted: !random.once_in(5),
        over: random.pick(&over),
        keyring: if random.once_in(8) {
            NO_KEYRING
        } else {
            SESSION
        },
        claimed: match random.below(12) {
            0 => Some(0),
            1 => Some(8193),
            2 => Some(64 << 20),
            _ => None,
        },
    }
}

fn create(random: &mut Random, bound: Bound) -> Call {
    Call::CreateMap {
        hash: random.once_in(8),
        value_size: random.pick(&[8, 8, 16, 40, 12, 1, 0]),
        entries: random.pick(&[1, 1, 1, 1, 1, 2, 0]),
        bound,
        mmapable: random.once_in(4),
    }
}

fn any_call(random: &mut Random, calls: &[Call], slot: usize) -> Call {
    let maps = maps(calls);
    let kind = if maps.is_empty() { 0 } else { random.below(13) };
    let map = if maps.is_empty() {
        0
    } else {
        random.pick(&maps)
    };
    match kind {
        0 | 1 => {
            let bound = match random.below(6) {
                0 => Bound::Nothing,
                1 => Bound::Other,
                2 => Bound::SizeAlone(random.pick(&[32, 31, 1])),
                _ => Bound::To(match random.below(2) {
                    0 => Code::Returns(random.below(3) as u8),
                    _ => Code::ByIndex(random.below(3) as u8),
                }),
            };
            create(random, bound)
        }
        2 => Call::Update {
            map,
            key: random.pick(&[0, 0, 0, 1, 2]),
            byte: random.below(256) as u8,
            flags: random.pick(&[0, 0, 0, 1, 2, 9]),
        },
        3 => Call::Freeze { map },
        4 => Call::Digest {
            map,
            size: random.pick(&[32, 32, 32, 16, 64]),
        },
        5 => Call::Writable { map },
        6 if random.once_in(2) => match outer_maps(calls).first() {
            Some(outer) => Call::PutInner {
                outer: *outer,
                inner: map,
            },
            None => Call::CreateOuter { inner: map },
        },
        8 if random.once_in(2) => Call::LoadBtf,
        9 => Call::Lookup {
            map,
            key: random.pick(&[0, 0, 0, 1, 2]),
        },
        7 if random.once_in(3) => Call::Close {
            of: random.below(slot.max(1)),
        },
        _ => Call::Load {
            code: code(random, calls),
            array: (0..random.below(4))
                .map(|_| random.below(slot.max(1) + 1))
                .collect(),
            bind: !random.once_in(4),
            sign: (!random.once_in(4)).then(|| sign(random)),
        },
    }
}

/// Metadata map, value, freezing, load; each with a slip now and then.
fn usual(random: &mut Random) -> Vec<Call> {
    let code = match random.below(3) {
        0 => Code::Returns(random.below(3) as u8),
        _ => Code::ByIndex(0),
    };
    let bound = match random.below(10) {
        0 => Bound::Nothing,
        1 => Bound::Other,
        _ => Bound::To(code.clone()),
    };
    let mut calls = vec![Call::CreateMap {
        hash: random.once_in(12),
        value_size: random.pick(&[8, 16, 40, 12]),
        entries: if random.once_in(12) { 2 } else { 1 },
        bound,
        mmapable: random.once_in(3),
    }];
    if random.once_in(8) {
        calls.push(Call::LoadBtf);
    }
    if !random.once_in(6) {
        calls.push(Call::Update {
            map: 0,
            key: 0,
            byte: random.below(256) as u8,
            flags: 0,
        });
    }
    if random.once_in(8) {
        calls.push(Call::Writable { map: 0 });
    }
    if !random.once_in(6) {
        calls.push(Call::Freeze { map: 0 });
    }
    if random.once_in(3) {
        calls.push(Call::Digest { map: 0, size: 32 });
    }
    if random.once_in(6) {
        calls.push(Call::Update {
            map: 0,
            key: 0,
            byte: 1,
            flags: 0,
        });
    }
    let mut array = vec![0];
    if random.once_in(6) {
        array.push(random.below(calls.len()));
    }
    if random.once_in(12) {
        array.clear();
    }
    let sign = match random.below(6) {
        0 => Some(sign(random)),
        1 => None,
        _ => Some(Sign {
            trusted: true,
            over: Over::InstructionsAndMaps,
            keyring: SESSION,
            claimed: None,
        }),
    };
    calls.push(Call::Load {
        code,
        array,
        bind: !random.once_in(6),
        sign,
    });
    calls
}
