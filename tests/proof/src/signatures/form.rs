//! Messages and certificates as tools make them, of every form, by seed; with changes to what is
//! signed before it is signed, and to what is around it.

use bpfseal_seal::DigestAlgorithm;

use super::change::{Change, Target, change, change_bytes};
use super::der::Node;
use super::keys::{self, Key, ODD, USUAL};
use crate::random::Random;

/// What is signed: a loader that does nothing.
pub const CONTENT: [u8; 16] = [0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];

/// What a case comes to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Built {
    /// Certificates in DER, to be added to a keyring in this order.
    pub trusted: Vec<Vec<u8>>,
    /// A signature of [`CONTENT`].
    pub signature: Vec<u8>,
    /// What was changed.
    pub notes: Vec<String>,
}

const DIGESTS: [DigestAlgorithm; 12] = [
    DigestAlgorithm::Sha256,
    DigestAlgorithm::Sha256,
    DigestAlgorithm::Sha256,
    DigestAlgorithm::Sha256,
    DigestAlgorithm::Sha256,
    DigestAlgorithm::Sha384,
    DigestAlgorithm::Sha512,
    DigestAlgorithm::Sha512,
    DigestAlgorithm::Sha1,
    DigestAlgorithm::Sha224,
    DigestAlgorithm::Sha3_256,
    DigestAlgorithm::Sha3_512,
];

/// How somebody is named, and by which key they sign.
#[derive(Clone)]
struct Names {
    key: &'static Key,
    subject: Node,
    issuer: Node,
    serial: Vec<u8>,
    key_id: Option<Vec<u8>>,
}

/// Somebody with a certificate.
struct Person {
    names: Names,
    certificate: Node,
    /// What stands after the certificate, where it is trusted.
    trailing: Vec<u8>,
}

/// What an enemy would have certified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Oddity {
    Authority,
    Curve,
    DirectoryNames,
    Duplicate,
    Extension,
    KeyAlgorithm,
    KeyId,
    KeyUsage,
    Name,
    NoName,
    OuterAlgorithm,
    Point,
    RsaNumbers,
    Serial,
    Time,
    Trailing,
    UniqueIds,
    Version,
    WrongAuthority,
}

impl Oddity {
    const ALL: [Self; 19] = [
        Self::Authority,
        Self::Curve,
        Self::DirectoryNames,
        Self::Duplicate,
        Self::Extension,
        Self::KeyAlgorithm,
        Self::KeyId,
        Self::KeyUsage,
        Self::Name,
        Self::NoName,
        Self::OuterAlgorithm,
        Self::Point,
        Self::RsaNumbers,
        Self::Serial,
        Self::Time,
        Self::Trailing,
        Self::UniqueIds,
        Self::Version,
        Self::WrongAuthority,
    ];
}

/// A form while it is made: its numbers, and the changes that are to be made to it.
pub(super) struct Maker<'a> {
    random: Random,
    changes: &'a [Change],
    made: usize,
    built: Built,
}

impl<'a> Maker<'a> {
    pub(super) fn new(form: u64, changes: &'a [Change]) -> Self {
        Self {
            random: Random::new(form),
            changes,
            made: 0,
            built: Built::default(),
        }
    }

    /// Makes the changes to one part.
    fn changed(&mut self, target: Target, node: &mut Node) {
        for one in self.changes.iter().filter(|change| change.target == target) {
            let what = change(node, &mut Random::new(one.seed));
            self.built.notes.push(format!("{target:?}: {what}"));
        }
    }

    /// A key, now and then an odd one.
    fn key(&mut self) -> &'static Key {
        if self.random.once_in(12) {
            keys::key(self.random.pick(&ODD))
        } else {
            keys::key(self.random.pick(&USUAL))
        }
    }

    /// People, each certified by the one before; the first by itself. Now and then the first is
    /// certified by the last, so that there is no first one.
    fn chain(&mut self, number: usize) -> Vec<Person> {
        let depth = self.random.pick(&[1, 1, 1, 2, 2, 3, 3]);
        let mut names: Vec<Names> = Vec::new();
        for level in 0..depth {
            let key = loop {
                let key = self.key();
                // A slow key in the middle is of no use.
                if !key.is_slow() || depth == 1 {
                    break key;
                }
            };
            let above = names.last().cloned();
            names.push(self.names(key, above.as_ref(), number, level));
        }
        let is_circle = depth > 1 && self.random.once_in(30);
        if is_circle {
            names[0].issuer = names[depth - 1].subject.clone();
        }
        let mut people = Vec::new();
        for level in 0..depth {
            let above = match level {
                0 if is_circle => Some(names[depth - 1].clone()),
                0 => None,
                level => Some(names[level - 1].clone()),
            };
            let person = self.person(names[level].clone(), above.as_ref(), level + 1 < depth);
            people.push(person);
        }
        people
    }

    /// Names of somebody new.
    fn names(
        &mut self,
        key: &'static Key,
        above: Option<&Names>,
        number: usize,
        level: usize,
    ) -> Names {
        let subject = name(&format!("person {level} of chain {number}"));
        let issuer = above.map_or_else(|| subject.clone(), |above| above.subject.clone());
        let serial_len = self.random.pick(&[1, 8, 8, 8, 16, 20]);
        let mut serial = self.random.bytes(serial_len);
        serial[0] &= 0x7f;
        let key_id_len = self.random.pick(&[20, 20, 20, 20, 20, 20, 32, 1, 0]);
        let key_id = (key_id_len > 0).then(|| self.random.bytes(key_id_len));
        Names {
            key,
            subject,
            issuer,
            serial,
            key_id,
        }
    }

    fn person(&mut self, mut names: Names, above: Option<&Names>, has_issued: bool) -> Person {
        let index = self.made;
        self.made += 1;
        let digest = self.random.pick(&DIGESTS);
        let odd = self
            .random
            .once_in(6)
            .then(|| self.random.pick(&Oddity::ALL));
        if let Some(odd) = odd {
            self.built.notes.push(format!("person {index}: {odd:?}"));
            self.odd_names(&mut names, odd);
        }
        let authority = match above {
            Some(above) => (above.key_id.clone(), &above.issuer, above.serial.clone()),
            None => (names.key_id.clone(), &names.issuer, names.serial.clone()),
        };
        let mut extensions = Vec::new();
        if let Some(key_id) = &names.key_id {
            extensions.push(extension("2.5.29.14", Node::octets(key_id)));
        }
        extensions.extend(self.authority(authority, above.is_none(), odd));
        if has_issued || self.random.once_in(4) {
            let inside = if self.random.once_in(6) {
                Vec::new()
            } else {
                vec![Node::leaf(1, &[0xff])]
            };
            extensions.push(extension("2.5.29.19", Node::sequence(inside)));
        }
        if self.random.once_in(3) {
            let usage = self
                .random
                .pick(&[vec![7, 0x80], vec![2, 0x04], vec![1, 0x06, 0x40]]);
            extensions.push(extension("2.5.29.15", Node::leaf(3, &usage)));
        }
        if self.random.once_in(5) {
            let usage = Node::sequence(vec![Node::oid("1.3.6.1.5.5.7.3.3")]);
            extensions.push(extension("2.5.29.37", usage));
        }
        if let Some(odd) = odd {
            self.odd_extensions(&mut extensions, odd);
        }
        let issuers_key = above.map_or(names.key, |above| above.key);
        let mut algorithm = issuers_key.certificate_algorithm(digest);
        let mut info = names.key.info();
        let mut validity = self.validity();
        match odd {
            Some(Oddity::Curve | Oddity::Point | Oddity::RsaNumbers | Oddity::KeyAlgorithm) => {
                self.odd_key(&mut info, odd);
            }
            Some(Oddity::Time) => validity = self.odd_validity(),
            _ => {}
        }
        let mut to_be_signed = vec![
            Node::integer(&names.serial),
            algorithm.clone(),
            names.issuer.clone(),
            validity,
            names.subject.clone(),
            info,
        ];
        if odd == Some(Oddity::Version) {
            let version = self
                .random
                .pick(&[&[0][..], &[1], &[3], &[0xff], &[], &[0; 9]]);
            let version = vec![Node::integer(version)];
            to_be_signed.insert(0, Node::of(0xa0, version));
        } else if !extensions.is_empty() || !self.random.once_in(10) {
            to_be_signed.insert(0, Node::of(0xa0, vec![Node::integer(&[2])]));
        }
        if odd == Some(Oddity::UniqueIds) {
            for tag in self
                .random
                .pick(&[&[0x81][..], &[0x82], &[0x81, 0x82], &[0x82, 0x81]])
            {
                to_be_signed.push(Node::leaf(*tag, &[0, 1]));
            }
        }
        if !extensions.is_empty() {
            to_be_signed.push(Node::of(0xa3, vec![Node::sequence(extensions)]));
        }
        let mut to_be_signed = Node::sequence(to_be_signed);
        self.changed(Target::ToBeSigned(index), &mut to_be_signed);
        let is_missing = matches!(
            digest,
            DigestAlgorithm::Sha3_256 | DigestAlgorithm::Sha3_512
        );
        let forged = (is_missing && !self.random.once_in(3)).then(|| issuers_key.sign_nothing());
        let signature = forged
            .flatten()
            .unwrap_or_else(|| issuers_key.sign(digest, &to_be_signed.encode()));
        if odd == Some(Oddity::OuterAlgorithm) {
            let other = self.random.pick(&DIGESTS);
            algorithm = match self.random.below(3) {
                0 => keys::key("p256").certificate_algorithm(other),
                1 => keys::key("rsa1024").certificate_algorithm(other),
                _ => Node::sequence(vec![algorithm.children()[0].clone(), Node::octets(&[1])]),
            };
        }
        let mut certificate = Node::sequence(vec![to_be_signed, algorithm, Node::bits(&signature)]);
        self.changed(Target::Certificate(index), &mut certificate);
        let trailing = if odd == Some(Oddity::Trailing) {
            let len = self.random.pick(&[1, 2, 9]);
            self.random.pick(&[vec![0; len], vec![0x30; len]])
        } else {
            Vec::new()
        };
        Person {
            names,
            certificate,
            trailing,
        }
    }

    fn odd_names(&mut self, names: &mut Names, odd: Oddity) {
        let own = names.issuer == names.subject;
        match odd {
            Oddity::Serial => {
                names.serial = match self.random.below(6) {
                    0 => Vec::new(),
                    1 => vec![0],
                    2 => vec![0xff; 8],
                    3 => [vec![0; 4], self.random.bytes(4)].concat(),
                    4 => self.random.bytes(21),
                    _ => self.random.bytes(150),
                }
            }
            Oddity::KeyId => {
                let len = self.random.pick(&[0, 2, 21, 64, 127, 128, 200]);
                names.key_id = Some(self.random.bytes(len));
            }
            Oddity::Name => names.subject = self.odd_name(),
            Oddity::NoName => match self.random.below(3) {
                0 => names.subject = Node::sequence(Vec::new()),
                1 => names.issuer = Node::sequence(Vec::new()),
                _ => names.subject = Node::sequence(vec![Node::set(Vec::new())]),
            },
            _ => {}
        }
        // Those below name what they were given; one that is its own issuer stays so.
        if own && odd != Oddity::NoName {
            names.issuer = names.subject.clone();
        }
    }

    /// A name of any string type: UTF-8, printable, teletex, IA5, universal and BMP.
    fn odd_name(&mut self) -> Node {
        let part = |oid: &str, tag: u8, value: &[u8]| {
            Node::sequence(vec![Node::oid(oid), Node::leaf(tag, value)])
        };
        let oid = self
            .random
            .pick(&["2.5.4.3", "2.5.4.10", "2.5.4.6", "1.2.840.113549.1.9.1"]);
        let tag = self
            .random
            .pick(&[0x0c, 0x13, 0x14, 0x16, 0x1c, 0x1e, 0x04, 0x30]);
        let text = self.random.pick(&[
            &b"\0n\0a\0m\0e"[..],
            b"name",
            b"",
            &[0xff; 40],
            &[b'n'; 130],
        ]);
        let one = part(oid, tag, text);
        match self.random.below(3) {
            0 => Node::sequence(vec![Node::set(vec![
                one.clone(),
                part("2.5.4.3", 0x0c, b"two"),
            ])]),
            1 => Node::sequence(vec![Node::set(vec![one.clone()]), Node::set(vec![one])]),
            _ => Node::sequence(vec![Node::set(vec![one])]),
        }
    }

    fn odd_extensions(&mut self, extensions: &mut Vec<Node>, odd: Oddity) {
        match odd {
            Oddity::KeyUsage => {
                let usage = self.random.pick(&[
                    &[][..],
                    &[0],
                    &[0, 0],
                    &[0, 0x80],
                    &[8, 0x80],
                    &[7, 0x80, 0x80],
                    &[1, 0x06],
                    &[0, 0x06, 0, 0],
                    &[0xff, 0x06],
                ]);
                let usage = Node::leaf(self.random.pick(&[3, 3, 3, 4, 0x23]), usage);
                extensions.push(extension("2.5.29.15", usage));
            }
            Oddity::Authority => {
                let inside = self.random.pick(&[
                    &[1, 1, 0][..],
                    &[1, 1, 1],
                    &[1, 1, 0xff, 2, 1, 0],
                    &[1, 1, 0, 2, 1, 0],
                    &[2, 1, 0],
                    &[1, 1, 0xff, 1, 1, 0xff],
                    &[1, 0],
                    &[1, 2, 0xff, 0xff],
                    &[0x81, 1, 0xff],
                ]);
                let node = Node::leaf(self.random.pick(&[0x30, 0x30, 0x30, 0x31, 0x10]), inside);
                extensions.push(extension("2.5.29.19", node));
            }
            Oddity::Duplicate if !extensions.is_empty() => {
                let one = extensions[self.random.below(extensions.len())].clone();
                let at = self.random.below(extensions.len() + 1);
                extensions.insert(at, one);
            }
            Oddity::Extension => {
                let critical = self.random.pick(&[&[0xff][..], &[0], &[1], &[]]);
                let oid = self
                    .random
                    .pick(&["2.5.29.30", "2.5.29.36", "2.5.29.54", "1.2.3.4"]);
                extensions.push(Node::sequence(vec![
                    Node::oid(oid),
                    Node::leaf(1, critical),
                    Node::octets(&[5, 0]),
                ]));
            }
            _ => {}
        }
    }

    /// Changes a `SubjectPublicKeyInfo`: not the key that it is, but how it is written, or a part.
    fn odd_key(&mut self, info: &mut Node, odd: Option<Oddity>) {
        let key = info.children()[1].contents();
        let [algorithm, parameters @ ..] = info.children()[0].children() else {
            return;
        };
        let is_point = key.get(1) == Some(&4);
        let mut algorithm = vec![algorithm.clone()];
        let mut parameters = parameters.to_vec();
        let mut key = key.get(1..).unwrap_or_default().to_vec();
        match odd {
            Some(Oddity::Curve) => {
                parameters = match self.random.below(7) {
                    0 => Vec::new(),
                    1 => vec![Node::null()],
                    2 => vec![Node::oid("1.3.132.0.10")],
                    3 => vec![Node::oid("1.3.132.0.34")],
                    4 => vec![Node::sequence(vec![Node::integer(&[1])])],
                    5 => vec![Node::leaf(6, &[])],
                    _ => [parameters, vec![Node::null()]].concat(),
                };
            }
            Some(Oddity::KeyAlgorithm) => {
                let oids = [
                    "1.2.840.10040.4.1",
                    "1.2.840.113549.1.1.10",
                    "1.3.101.112",
                    "1.3.101.113",
                    "1.2.643.7.1.1.1.1",
                    "2.16.840.1.101.3.4.3.17",
                    "2.16.840.1.101.3.4.3.18",
                    "1.2.840.113549.1.1.1",
                    "1.2.840.10045.2.1",
                ];
                algorithm = vec![Node::oid(self.random.pick(&oids))];
            }
            _ if is_point => {
                let half = (key.len() - 1) / 2;
                let (x, y) = (key[1..=half].to_vec(), key[1 + half..].to_vec());
                let zeroes = self.random.pick(&[1, 6, 8]);
                key = match self.random.below(10) {
                    0 => [&[2 | y[half - 1] & 1], &*x].concat(),
                    1 => [&[6 | y[half - 1] & 1], &*x, &y].concat(),
                    2 => vec![0],
                    3 => vec![4],
                    4 => [&[4], &*vec![0; half], &vec![0; half]].concat(),
                    5 => [&[4], &*vec![0xff; half], &y].concat(),
                    6 => [&[4], &*y, &x].concat(),
                    7 => [&[4], &*x, &y, &[0]].concat(),
                    8 => {
                        let pad = vec![0; zeroes];
                        [&[4], &*pad, &x, &pad, &y].concat()
                    }
                    _ => key[..key.len() - 2].to_vec(),
                };
            }
            _ => {
                let Some(mut nodes) = Node::parse(&key) else {
                    return;
                };
                let count = nodes[0].children().len();
                let exponent = self.random.pick(&[
                    &[][..],
                    &[0],
                    &[1],
                    &[2],
                    &[3],
                    &[0, 0, 0, 0, 1, 0, 1],
                    &[0xff],
                    &[0x7f; 200],
                ]);
                if count == 2 && self.random.once_in(2) {
                    let modulus = nodes[0].children()[0].clone();
                    nodes = vec![Node::sequence(vec![modulus, Node::integer(exponent)])];
                } else {
                    let more = self.random.pick(&[vec![0], vec![0; 8], vec![0xff; 8]]);
                    if let Some(modulus) = nodes[0].nth(1) {
                        *modulus = Node::integer(&[more, modulus.contents()].concat());
                    }
                }
                key = nodes.iter().flat_map(Node::encode).collect();
            }
        }
        let unused = if self.random.once_in(10) { 1 } else { 0 };
        *info = Node::sequence(vec![
            Node::sequence([algorithm, parameters].concat()),
            Node::leaf(3, &[&[unused], &*key].concat()),
        ]);
    }

    /// authorityKeyIdentifier, in one of its forms.
    fn authority(
        &mut self,
        (mut key_id, issuer, mut serial): (Option<Vec<u8>>, &Node, Vec<u8>),
        own: bool,
        odd: Option<Oddity>,
    ) -> Option<Node> {
        if odd == Some(Oddity::WrongAuthority) {
            match self.random.below(3) {
                0 => key_id = Some(self.random.bytes(20)),
                1 => key_id = Some(Vec::new()),
                _ => serial.push(1),
            }
        }
        let by_key = key_id.map(|id| Node::leaf(0x80, &id));
        let mut names = vec![Node::of(0xa4, vec![issuer.clone()])];
        if odd == Some(Oddity::DirectoryNames) {
            let other = match self.random.below(7) {
                0 => Node::of(0xa4, vec![name("somebody else")]),
                1 => Node::leaf(0x81, b"mail"),
                2 => Node::leaf(0x82, b"dns"),
                3 => Node::leaf(0x86, b"uri"),
                4 => Node::leaf(0x87, &[127, 0, 0, 1]),
                5 => Node::leaf(0x88, &[0x2a]),
                _ => Node::of(
                    0xa0,
                    vec![Node::oid("1.2.3"), Node::of(0xa0, vec![Node::null()])],
                ),
            };
            let at = self.random.below(2);
            names.insert(at, other);
        }
        let issuer = Node::of(0xa1, names);
        let by_serial = vec![issuer, Node::leaf(0x82, &serial)];
        let forms = if own {
            [0, 0, 0, 0, 0, 1, 1, 2, 3, 3]
        } else {
            [0, 1, 1, 1, 1, 1, 2, 3, 3, 3]
        };
        let parts = match self.random.pick(&forms) {
            0 => return None,
            1 => by_key.into_iter().collect(),
            2 => by_serial,
            _ => by_key.into_iter().chain(by_serial).collect(),
        };
        Some(extension("2.5.29.35", Node::sequence(parts)))
    }

    fn validity(&mut self) -> Node {
        let from = self
            .random
            .pick(&["200101000000Z", "700101000000Z", "260101000000Z"]);
        let to = self
            .random
            .pick(&["400101000000Z", "491231235959Z", "20600101000000Z"]);
        let tag = if to.len() == 13 { 0x17 } else { 0x18 };
        Node::sequence(vec![
            Node::leaf(0x17, from.as_bytes()),
            Node::leaf(tag, to.as_bytes()),
        ])
    }

    /// Times that are not of the form that their year wants, or none at all.
    fn odd_validity(&mut self) -> Node {
        let mut time = || {
            let text = self.random.pick(&[
                "20300101000000Z",
                "19700101000000Z",
                "19500101000000Z",
                "20491231235959Z",
                "20500101000000Z",
                "691231235959Z",
                "500101000000Z",
                "260229000000Z",
                "260101240000Z",
                "260101000060Z",
                "2601010000Z",
                "260101000000+0100",
                "",
            ]);
            let tag = if self.random.once_in(6) {
                self.random.pick(&[0x16, 0x17, 0x18, 0x0c])
            } else if text.len() < 14 {
                0x17
            } else {
                0x18
            };
            Node::leaf(tag, text.as_bytes())
        };
        Node::sequence(vec![time(), time()])
    }

    /// Certificates of a chain, to be added to a keyring.
    pub(super) fn certificates(mut self) -> Built {
        for person in self.chain(0) {
            self.trust(Some(&person));
        }
        self.change_trusted();
        self.built
    }

    /// Changes certificates that are trusted, once they are encoded.
    fn change_trusted(&mut self) {
        for one in self.changes {
            let Target::Trusted(index) = one.target else {
                continue;
            };
            if let Some(der) = self.built.trusted.get_mut(index) {
                let what = change_bytes(der, &mut Random::new(one.seed));
                self.built.notes.push(format!("Trusted({index}): {what}"));
            }
        }
    }

    /// A message of one to three signers, and the certificates that are trusted.
    pub(super) fn message(mut self) -> Built {
        let count = if self.random.once_in(50) {
            self.random.pick(&[5, 8, 12])
        } else {
            self.random.pick(&[1, 1, 1, 1, 1, 1, 2, 2, 3])
        };
        let chains: Vec<_> = (0..count).map(|number| self.chain(number)).collect();
        let by_key_id = self.random.once_in(2);
        let with_attributes = self.random.once_in(3);
        let mut embedded = Vec::new();
        let mut digests = Vec::new();
        let mut signers = Vec::new();
        for (number, chain) in chains.iter().enumerate() {
            let kept = match self.random.below(8) {
                0..3 => 0,
                3..5 => 1,
                5..7 => 2,
                _ => 3,
            };
            embedded.extend(chain.iter().rev().take(kept).map(|p| p.certificate.clone()));
            let digest = self.random.pick(&DIGESTS);
            digests.push(Node::sequence(vec![digest_oid(digest)]));
            let odd = self.random.once_in(40);
            let signer = chain.last().map(|signer| {
                let attributes = with_attributes != self.random.once_in(60);
                self.signer_info(signer, number, digest, by_key_id != odd, attributes)
            });
            signers.extend(signer);
            match self.random.below(10) {
                0..4 => self.trust(chain.last()),
                4..7 => self.trust(chain.first()),
                7 => self.trust(chain.get(chain.len() / 2)),
                8 => chain.iter().for_each(|person| self.trust(Some(person))),
                _ => {}
            }
        }
        if self.random.once_in(10) {
            let stranger = self.chain(9);
            embedded.extend(stranger.into_iter().map(|p| p.certificate));
        }
        if self.random.once_in(4) {
            embedded.reverse();
        }
        if self.random.once_in(15) {
            self.twin(&mut embedded, &chains);
        }
        let mut content = vec![Node::oid(if self.random.once_in(60) {
            "1.3.6.1.4.1.311.2.1.4"
        } else {
            "1.2.840.113549.1.7.1"
        })];
        if self.random.once_in(50) {
            content.push(Node::of(0xa0, vec![Node::octets(&CONTENT)]));
        }
        let mut parts = vec![
            Node::integer(&[if by_key_id { 3 } else { 1 }]),
            Node::set(digests),
            Node::sequence(content),
        ];
        let listed = embedded.clone();
        if !embedded.is_empty() {
            let tag = if self.random.once_in(15) { 0xa2 } else { 0xa0 };
            parts.push(Node::of(tag, embedded));
        }
        if self.random.once_in(20) {
            let list = vec![Node::sequence(listed)];
            parts.push(Node::of(self.random.pick(&[0xa1, 0xa3]), list));
        }
        parts.push(if self.random.once_in(20) {
            Node::sequence(signers)
        } else {
            Node::set(signers)
        });
        let mut message = Node::sequence(vec![
            Node::oid("1.2.840.113549.1.7.2"),
            Node::of(0xa0, vec![Node::sequence(parts)]),
        ]);
        self.changed(Target::Message, &mut message);
        let mut signature = message.encode();
        for one in self.changes.iter().filter(|c| c.target == Target::Bytes) {
            let what = change_bytes(&mut signature, &mut Random::new(one.seed));
            self.built.notes.push(format!("Bytes: {what}"));
        }
        self.built.signature = signature;
        self.change_trusted();
        self.built
    }

    /// A certificate with the names of somebody else's, and another key: embedded in place of
    /// that, or trusted.
    fn twin(&mut self, embedded: &mut Vec<Node>, chains: &[Vec<Person>]) {
        let people: Vec<_> = chains.iter().flatten().collect();
        let Some(person) = people.get(self.random.below(people.len())) else {
            return;
        };
        let key = keys::key(self.random.pick(&["p256", "rsa1024", "rsa2048"]));
        let mut parts = vec![
            Node::integer(&person.names.serial),
            key.certificate_algorithm(DigestAlgorithm::Sha256),
            person.names.issuer.clone(),
            self.validity(),
            name("a twin"),
            key.info(),
        ];
        if let Some(key_id) = &person.names.key_id {
            let key_id = extension("2.5.29.14", Node::octets(key_id));
            parts.push(Node::of(0xa3, vec![Node::sequence(vec![key_id])]));
        }
        let to_be_signed = Node::sequence(parts);
        let digest = DigestAlgorithm::Sha256;
        let signature = key.sign(digest, &to_be_signed.encode());
        let algorithm = key.certificate_algorithm(digest);
        let twin = Node::sequence(vec![to_be_signed, algorithm, Node::bits(&signature)]);
        match self.random.below(3) {
            0 => self.built.trusted.insert(0, twin.encode()),
            1 => embedded.insert(0, twin),
            _ => {
                for one in embedded.iter_mut().filter(|c| **c == person.certificate) {
                    *one = twin.clone();
                }
            }
        }
    }

    fn trust(&mut self, person: Option<&Person>) {
        if let Some(person) = person {
            let der = [person.certificate.encode(), person.trailing.clone()].concat();
            self.built.trusted.push(der);
        }
    }

    fn signer_info(
        &mut self,
        signer: &Person,
        number: usize,
        digest: DigestAlgorithm,
        by_key_id: bool,
        with_attributes: bool,
    ) -> Node {
        // Now and then it is named in the other way than the version says.
        let named = by_key_id != self.random.once_in(30);
        let id = match &signer.names.key_id {
            Some(key_id) if named => Node::leaf(0x80, key_id),
            _ => Node::sequence(vec![
                signer.names.issuer.clone(),
                Node::integer(&signer.names.serial),
            ]),
        };
        let mut parts = vec![
            Node::integer(&[if by_key_id { 3 } else { 1 }]),
            id,
            Node::sequence(vec![digest_oid(digest)]),
        ];
        let mut signed = CONTENT.to_vec();
        if with_attributes {
            let mut attributes = self.attributes(digest);
            self.changed(Target::Attributes(number), &mut attributes);
            // As a set it is signed, and under its tag it is in the message.
            signed = attributes.encode();
            let mut tagged = attributes;
            if tagged.tag == 0x31 {
                tagged.tag = 0xa0;
            }
            // In the other encoding, they are not what is signed.
            if self.random.once_in(25) {
                tagged.tag = 0x30;
                tagged = Node::of(0xa2, vec![tagged]);
                if self.random.once_in(2) {
                    signed = CONTENT.to_vec();
                }
            }
            parts.push(tagged);
        }
        parts.push(signer.names.key.message_algorithm(digest));
        parts.push(Node::octets_of(&signer.names.key.sign(digest, &signed)));
        if self.random.once_in(12) {
            let attribute = attribute("1.2.840.113549.1.9.16.2.14", Node::octets(&[1]));
            parts.push(Node::of(0xa1, vec![attribute]));
        }
        Node::sequence(parts)
    }

    fn attributes(&mut self, digest: DigestAlgorithm) -> Node {
        let content_type = Node::oid("1.2.840.113549.1.7.1");
        let mut all = vec![
            attribute("1.2.840.113549.1.9.3", content_type),
            attribute(
                "1.2.840.113549.1.9.4",
                Node::octets(&digest.digest(&CONTENT)),
            ),
        ];
        if self.random.once_in(2) {
            let time = self
                .random
                .pick(&["300101000000Z", "300101000000Z", "660101000000Z"]);
            let tag = if time.starts_with('6') { 0x18 } else { 0x17 };
            let time = Node::leaf(tag, time.as_bytes());
            all.push(attribute("1.2.840.113549.1.9.5", time));
        }
        if self.random.once_in(15) {
            all.push(attribute(
                "1.2.840.113549.1.9.15",
                Node::sequence(Vec::new()),
            ));
        }
        if self.random.once_in(6) {
            all.push(attribute("1.2.3.4", Node::octets(&[7])));
        }
        if self.random.once_in(4) {
            all.reverse();
        }
        Node::set(all)
    }
}

fn attribute(oid: &str, value: Node) -> Node {
    Node::sequence(vec![Node::oid(oid), Node::set(vec![value])])
}

pub(super) fn name(common: &str) -> Node {
    let part = |oid, text: &str| {
        let value = Node::leaf(0x0c, text.as_bytes());
        Node::set(vec![Node::sequence(vec![Node::oid(oid), value])])
    };
    Node::sequence(vec![
        part("2.5.4.10", "bpfseal tests"),
        part("2.5.4.3", common),
    ])
}

/// An extension: the value is an octet string with an element in it.
pub(super) fn extension(oid: &str, value: Node) -> Node {
    Node::sequence(vec![Node::oid(oid), Node::of(4, vec![value])])
}

pub(super) fn digest_oid(digest: DigestAlgorithm) -> Node {
    Node::oid(match digest {
        DigestAlgorithm::Sha1 => "1.3.14.3.2.26",
        DigestAlgorithm::Sha224 => "2.16.840.1.101.3.4.2.4",
        DigestAlgorithm::Sha384 => "2.16.840.1.101.3.4.2.2",
        DigestAlgorithm::Sha512 => "2.16.840.1.101.3.4.2.3",
        DigestAlgorithm::Sha3_256 => "2.16.840.1.101.3.4.2.8",
        DigestAlgorithm::Sha3_512 => "2.16.840.1.101.3.4.2.10",
        _ => "2.16.840.1.101.3.4.2.1",
    })
}
