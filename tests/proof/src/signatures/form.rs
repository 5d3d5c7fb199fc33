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

/// Somebody with a certificate.
struct Person {
    key: &'static Key,
    subject: Node,
    issuer: Node,
    serial: Vec<u8>,
    key_id: Option<Vec<u8>>,
    certificate: Node,
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

    /// People, each certified by the one before; the first by itself.
    fn chain(&mut self, number: usize) -> Vec<Person> {
        let depth = self.random.pick(&[1, 1, 1, 2, 2, 3, 3]);
        let mut people: Vec<Person> = Vec::new();
        for level in 0..depth {
            let key = loop {
                let key = self.key();
                // A slow key in the middle is of no use.
                if !key.is_slow() || depth == 1 {
                    break key;
                }
            };
            let person = self.person(key, people.last(), number, level, depth);
            people.push(person);
        }
        people
    }

    fn person(
        &mut self,
        key: &'static Key,
        above: Option<&Person>,
        number: usize,
        level: usize,
        depth: usize,
    ) -> Person {
        let index = self.made;
        self.made += 1;
        let digest = self.random.pick(&DIGESTS);
        let subject = name(&format!("person {level} of chain {number}"));
        let issuer = above.map_or_else(|| subject.clone(), |above| above.subject.clone());
        let serial_len = self.random.pick(&[1, 8, 8, 8, 16, 20]);
        let mut serial = self.random.bytes(serial_len);
        serial[0] &= 0x7f;
        let key_id_len = self.random.pick(&[20, 20, 20, 20, 20, 20, 32, 1, 0]);
        let key_id = (key_id_len > 0).then(|| self.random.bytes(key_id_len));
        let authority = match above {
            Some(above) => (above.key_id.clone(), &above.issuer, above.serial.clone()),
            None => (key_id.clone(), &issuer, serial.clone()),
        };
        let mut extensions = Vec::new();
        if let Some(key_id) = &key_id {
            extensions.push(extension("2.5.29.14", Node::octets(key_id)));
        }
        extensions.extend(self.authority(authority, above.is_none()));
        if level + 1 < depth || self.random.once_in(4) {
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
        let algorithm = above
            .map_or(key, |above| above.key)
            .certificate_algorithm(digest);
        let mut to_be_signed = vec![
            Node::integer(&serial),
            algorithm.clone(),
            issuer.clone(),
            self.validity(),
            subject.clone(),
            key.info(),
        ];
        if !extensions.is_empty() || !self.random.once_in(10) {
            to_be_signed.insert(0, Node::of(0xa0, vec![Node::integer(&[2])]));
        }
        if self.random.once_in(20) {
            to_be_signed.push(Node::leaf(0x81, &[0, 1]));
        }
        if !extensions.is_empty() {
            to_be_signed.push(Node::of(0xa3, vec![Node::sequence(extensions)]));
        }
        let mut to_be_signed = Node::sequence(to_be_signed);
        self.changed(Target::ToBeSigned(index), &mut to_be_signed);
        let issuers_key = above.map_or(key, |above| above.key);
        let is_missing = matches!(
            digest,
            DigestAlgorithm::Sha3_256 | DigestAlgorithm::Sha3_512
        );
        let forged = (is_missing && !self.random.once_in(3)).then(|| issuers_key.sign_nothing());
        let signature = forged
            .flatten()
            .unwrap_or_else(|| issuers_key.sign(digest, &to_be_signed.encode()));
        let mut certificate = Node::sequence(vec![to_be_signed, algorithm, Node::bits(&signature)]);
        self.changed(Target::Certificate(index), &mut certificate);
        Person {
            key,
            subject,
            issuer,
            serial,
            key_id,
            certificate,
        }
    }

    /// authorityKeyIdentifier, in one of its forms.
    fn authority(
        &mut self,
        (key_id, issuer, mut serial): (Option<Vec<u8>>, &Node, Vec<u8>),
        own: bool,
    ) -> Option<Node> {
        let by_key = key_id.map(|id| Node::leaf(0x80, &id));
        if self.random.once_in(25) {
            serial.push(1);
        }
        let issuer = Node::of(0xa1, vec![Node::of(0xa4, vec![issuer.clone()])]);
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

    /// Certificates of a chain, to be added to a keyring.
    pub(super) fn certificates(mut self) -> Built {
        for person in self.chain(0) {
            self.built.trusted.push(person.certificate.encode());
        }
        self.built
    }

    /// A message of one to three signers, and the certificates that are trusted.
    pub(super) fn message(mut self) -> Built {
        let count = self.random.pick(&[1, 1, 1, 1, 1, 1, 2, 2, 3]);
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
            Node::integer(&person.serial),
            key.certificate_algorithm(DigestAlgorithm::Sha256),
            person.issuer.clone(),
            self.validity(),
            name("a twin"),
            key.info(),
        ];
        if let Some(key_id) = &person.key_id {
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
            self.built.trusted.push(person.certificate.encode());
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
        let id = match &signer.key_id {
            Some(key_id) if named => Node::leaf(0x80, key_id),
            _ => Node::sequence(vec![signer.issuer.clone(), Node::integer(&signer.serial)]),
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
        parts.push(signer.key.message_algorithm(digest));
        parts.push(Node::octets_of(&signer.key.sign(digest, &signed)));
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

fn name(common: &str) -> Node {
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
fn extension(oid: &str, value: Node) -> Node {
    Node::sequence(vec![Node::oid(oid), Node::of(4, vec![value])])
}

fn digest_oid(digest: DigestAlgorithm) -> Node {
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
