//! BTF and maps by seed: good ones by construction, then changed, by words and by bytes.
//!
//! Sizes are small where the kernel would allocate them: what it answers then does not depend on
//! its memory.

use bpfseal_uapi::{MapType, btf_kind, limits};

use crate::random::Random;

const STRINGS: [&str; 24] = [
    "",
    "int",
    "a",
    "b",
    "_c.d",
    "1st",
    "Config<u8>",
    "two words",
    "x-y",
    "long",
    ".data",
    "bpf_spin_lock",
    "bpf_timer",
    "kptr",
    "kptr_untrusted",
    "uptr",
    "contains:node:n",
    "node",
    "n",
    "bpf_list_head",
    "bpf_list_node",
    "caf\u{e9}",
    "tab\there",
    "unsigned char",
];

/// BTF: types in words, what is changed of them, and of the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SomeBtf {
    types: Vec<Vec<u32>>,
    changes: Vec<u64>,
    bytes: Vec<u64>,
    long_header: bool,
}

fn offset_of(string: usize) -> u32 {
    STRINGS[..string].iter().map(|s| s.len() as u32 + 1).sum()
}

impl SomeBtf {
    /// BTF by seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let count = random.pick(&[1, 2, 3, 4, 6, 8, 12, 40]);
        let types = (0..count)
            .map(|_| a_type(&mut random, count as u32))
            .collect();
        let changes = random.pick(&[0, 0, 1, 1, 2, 4]);
        let bytes = random.pick(&[0, 0, 0, 0, 1, 2]);
        Self {
            types,
            changes: (0..changes).map(|_| random.next()).collect(),
            bytes: (0..bytes).map(|_| random.next()).collect(),
            long_header: random.once_in(8),
        }
    }

    /// The bytes for `BPF_BTF_LOAD`.
    #[must_use]
    pub fn build(&self) -> Vec<u8> {
        let mut types = self.types.clone();
        for seed in &self.changes {
            let mut random = Random::new(*seed);
            let index = random.below(types.len());
            let of = &mut types[index];
            let word = random.below(of.len());
            of[word] = match random.below(6) {
                0 => of[word] ^ (1 << random.below(32)),
                1 => random.pick(&[0, 1, 2, 7, 8, 32, 64, 0xff, 0xffff, 0xf_ffff, u32::MAX]),
                2 => random.below(types_and_more(self.types.len())) as u32,
                3 => offset_of(random.below(STRINGS.len())),
                4 => of[word].wrapping_add(1),
                _ => of[word].wrapping_sub(1),
            };
        }
        let words: Vec<u32> = types.concat();
        let strings: Vec<u8> = STRINGS.iter().flat_map(|s| s.bytes().chain([0])).collect();
        let len = 4 * words.len() as u32;
        let header = if self.long_header { 32 } else { 24 };
        let mut bytes = vec![0x9f, 0xeb, 1, 0];
        for word in [header, 0, len, len, strings.len() as u32] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.resize(header as usize, 0);
        bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        bytes.extend(strings);
        for seed in &self.bytes {
            let mut random = Random::new(*seed);
            // The header decides most.
            let most = if random.once_in(2) { 32 } else { bytes.len() };
            let at = random.below(most.min(bytes.len()).max(1));
            match random.below(4) {
                0 => bytes.truncate(at),
                1 => bytes.insert(at, random.below(256) as u8),
                _ => {
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte ^= 1 << random.below(8);
                    }
                }
            }
        }
        bytes
    }

    /// The same with less in it, as long as that is still so.
    #[must_use]
    pub fn shrunk(mut self, is_so: impl Fn(&Self) -> bool) -> Self {
        loop {
            let mut smaller = Vec::new();
            for index in 0..self.changes.len() {
                let mut fewer = self.clone();
                fewer.changes.remove(index);
                smaller.push(fewer);
            }
            for index in 0..self.bytes.len() {
                let mut fewer = self.clone();
                fewer.bytes.remove(index);
                smaller.push(fewer);
            }
            if self.types.len() > 1 {
                let mut fewer = self.clone();
                fewer.types.pop();
                smaller.push(fewer);
            }
            match smaller.into_iter().find(&is_so) {
                Some(found) => self = found,
                None => return self,
            }
        }
    }
}

fn types_and_more(count: usize) -> usize {
    count + 3
}

/// A type that is good if what it refers to is.
fn a_type(random: &mut Random, count: u32) -> Vec<u32> {
    let info = |kind: bpfseal_uapi::BtfKind, vlen: u32, flag: bool| {
        kind.0 << 24 | vlen | u32::from(flag) << 31
    };
    let named = |random: &mut Random| offset_of(random.pick(&[1, 2, 3, 4, 9, 17, 11, 12, 19, 20]));
    let any = |random: &mut Random| 1 + random.below(count as usize) as u32;
    let flag = random.once_in(3);
    match random.below(22) {
        0..4 => {
            let size = random.pick(&[1, 2, 4, 4, 8, 16]);
            let encoding: u32 = random.pick(&[0, 0, 1, 1, 2, 4, 3]);
            let name = named(random);
            vec![
                name,
                info(btf_kind::INT, 0, false),
                size,
                (8 * size).min(128) | encoding << 24,
            ]
        }
        4..6 => vec![0, info(btf_kind::PTR, 0, false), {
            let to = any(random);
            random.pick(&[0, to])
        }],
        6 => {
            let words = [
                any(random),
                any(random),
                random.pick(&[0, 1, 3, 0x8000_0000]),
            ];
            let mut of = vec![0, info(btf_kind::ARRAY, 0, false), 0];
            of.extend(words);
            of
        }
        kind @ 7..12 => {
            let is_union = kind == 7;
            let members = random.below(4) as u32;
            let size = random.pick(&[4, 8, 16, 24, 64, 64]);
            let of_kind = if is_union {
                btf_kind::UNION
            } else {
                btf_kind::STRUCT
            };
            let name = named(random);
            let mut of = vec![random.pick(&[0, name]), info(of_kind, members, flag), size];
            let mut at = 0;
            for _ in 0..members {
                let width = if flag {
                    random.pick(&[0, 0, 3, 8]) << 24
                } else {
                    0
                };
                of.extend([named(random), any(random), at | width]);
                at += if is_union {
                    0
                } else {
                    random.pick(&[0, 3, 8, 32, 32, 64])
                };
            }
            of
        }
        12 => {
            let mut of = vec![
                named(random),
                info(btf_kind::ENUM, 1, flag),
                random.pick(&[1, 4, 8]),
            ];
            of.extend([named(random), 7]);
            of
        }
        13 => {
            let mut of = vec![named(random), info(btf_kind::ENUM64, 1, flag), 8];
            of.extend([named(random), 7, 7]);
            of
        }
        14 => vec![named(random), info(btf_kind::FWD, 0, flag), 0],
        15 => {
            let kind = random.pick(&[btf_kind::VOLATILE, btf_kind::CONST, btf_kind::RESTRICT]);
            vec![0, info(kind, 0, false), {
                let to = any(random);
                random.pick(&[0, to])
            }]
        }
        16 => vec![
            named(random),
            info(btf_kind::TYPEDEF, 0, false),
            any(random),
        ],
        17 => {
            let tag = offset_of(random.pick(&[2, 13, 14, 15]));
            let flag = random.once_in(4);
            vec![tag, info(btf_kind::TYPE_TAG, 0, flag), any(random)]
        }
        18 => {
            let parameters = random.below(3) as u32;
            let of = vec![
                0,
                info(btf_kind::FUNC_PROTO, parameters, false),
                any(random),
            ];
            let more = (0..parameters).flat_map(|_| [named(random), any(random)]);
            [of, more.collect()].concat()
        }
        19 => vec![
            named(random),
            info(btf_kind::FUNC, random.below(2) as u32, false),
            any(random),
        ],
        20 => {
            let tag = offset_of(random.pick(&[2, 16]));
            let of = info(btf_kind::DECL_TAG, 0, random.once_in(4));
            vec![tag, of, any(random), random.pick(&[u32::MAX, 0, 1])]
        }
        _ => match random.below(3) {
            0 => vec![named(random), info(btf_kind::VAR, 0, false), any(random), 1],
            1 => vec![
                named(random),
                info(btf_kind::FLOAT, 0, false),
                random.pick(&[2, 4, 8, 12]),
            ],
            _ => {
                let size = random.pick(&[4, 8, 64]);
                let head = vec![offset_of(10), info(btf_kind::DATASEC, 1, false), size];
                [head, vec![any(random), 0, size]].concat()
            }
        },
    }
}

/// Attributes of a map, in words of the model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are those of `union bpf_attr`")]
pub struct SomeMap {
    pub name: String,
    pub map_type: MapType,
    pub key_size: u32,
    pub value_size: u32,
    pub max_entries: u32,
    pub map_flags: u32,
    pub map_extra: u64,
    pub numa_node: u32,
    pub key_type: u32,
    pub value_type: u32,
}

impl SomeMap {
    /// A map by seed; its types are numbers of [`types_of_maps`].
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let most = MapType::ALL.iter().map(|entry| entry.number).max();
        let map_type = MapType(random.below(most.unwrap_or_default() as usize + 2) as u32);
        let shapes: [(u32, u32, u32); 8] = [
            (4, 4, 1),
            (4, 8, 2),
            (0, 0, 4096),
            (4, 16, 1),
            (8, 4, 7),
            (0, 8, 3),
            (4, 4, 0),
            (16, 8, 0),
        ];
        let (key_size, value_size, max_entries) = random.pick(&shapes);
        let mut map = Self {
            name: random
                .pick(&["m", "", "a.b_1", "my-map", "<u8>", "exactly15bytes_"])
                .to_owned(),
            map_type,
            key_size,
            value_size,
            max_entries,
            map_flags: random.pick(&[0, 0, 1, 1, 0x400]),
            ..Self::default()
        };
        if random.once_in(3) {
            (map.key_type, map.value_type) = random.pick(&[
                (1, 1),
                (1, 2),
                (2, 1),
                (0, 1),
                (1, 3),
                (4, 1),
                (1, 0),
                (0, 5),
                (1, 6),
                (9, 1),
                (1, 4),
                (3, 2),
            ]);
        }
        for _ in 0..random.pick(&[0, 0, 1, 1, 2, 3]) {
            match random.below(8) {
                0 => map.key_size = random.pick(&[0, 1, 4, 5, 8, 16, 260, 261, 512, 513, 65536]),
                1 => {
                    let large = limits::MAX_KMALLOC;
                    map.value_size = random.pick(&[
                        0,
                        1,
                        4,
                        8,
                        12,
                        16,
                        32,
                        1016,
                        1017,
                        1024,
                        32768,
                        32769,
                        65407,
                        65408,
                        large + 1,
                        1 << 31,
                        u32::MAX,
                    ]);
                }
                2 => {
                    let counts = [0, 1, 2, 3, 100, 4096, 8192, 8193, 12288, 1 << 31, u32::MAX];
                    map.max_entries = random.pick(&counts);
                }
                // A token's flag asks for a descriptor.
                3 | 4 => map.map_flags ^= (1u32 << random.below(21)) & !0x1_0000,
                5 => map.map_extra = random.pick(&[0, 1, 15, 16, 4096, 1 << 32, u64::MAX]),
                6 => map.numa_node = random.pick(&[0, 1, 99, u32::MAX]),
                _ => map.name = String::from_utf8_lossy(&random.bytes(3)).replace('\0', "a"),
            }
        }
        map
    }

    /// Whether the kernel's answer may depend on its memory.
    #[must_use]
    pub fn is_large(&self) -> bool {
        let each = u64::from(self.key_size) + u64::from(self.value_size) + 256;
        each * u64::from(self.max_entries) > 8 << 20
    }
}

/// Good BTF that maps refer to: an `int`, a `long`, a struct with a lock, one of two words, a
/// section, one with a timer.
#[must_use]
pub fn types_of_maps() -> Vec<u8> {
    let name = |text: &str| {
        let index = STRINGS.iter().position(|known| *known == text);
        offset_of(index.unwrap_or_default())
    };
    let int = btf_kind::INT.0 << 24;
    let of = btf_kind::STRUCT.0 << 24;
    let types = vec![
        vec![name("int"), int, 4, 32 | 1 << 24],
        vec![name("long"), int, 8, 64 | 1 << 24],
        vec![name("a"), of | 2, 8, name("a"), 7, 0, name("b"), 1, 32],
        vec![name("b"), of | 2, 8, name("a"), 1, 0, name("b"), 1, 32],
        vec![name(".data"), btf_kind::DATASEC.0 << 24 | 1, 8, 8, 0, 8],
        vec![name("n"), of | 1, 16, name("n"), 10, 0],
        vec![name("bpf_spin_lock"), of | 1, 4, name("a"), 1, 0],
        vec![name("a"), btf_kind::VAR.0 << 24, 2, 1],
        vec![name("node"), of | 2, 16, name("a"), 2, 0, name("b"), 1, 64],
        vec![
            name("bpf_timer"),
            of | 2,
            16,
            name("a"),
            2,
            0,
            name("b"),
            2,
            64,
        ],
    ];
    SomeBtf {
        types,
        changes: Vec::new(),
        bytes: Vec::new(),
        long_header: false,
    }
    .build()
}
