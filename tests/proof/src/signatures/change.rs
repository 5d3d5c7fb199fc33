//! Changes to a tree of elements, by seed.

use super::der::{Body, Form, Node, oid};
use crate::random::Random;

/// One change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) target: Target,
    pub(super) seed: u64,
}

/// What is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// What the issuer of a certificate signs.
    ToBeSigned(usize),
    /// A certificate with its signature.
    Certificate(usize),
    /// Signed attributes of a signature.
    Attributes(usize),
    Message,
    /// The encoded message.
    Bytes,
    /// An encoded certificate that is trusted: not its embedded copy.
    Trusted(usize),
}

/// Object identifiers that mean something to somebody.
const OIDS: [&str; 45] = [
    "1.2.156.10197.1.401",
    "1.2.643.7.1.1.1.1",
    "1.2.643.7.1.1.2.2",
    "1.2.643.7.1.1.3.2",
    "1.2.840.10045.2.1",
    "1.2.840.10045.3.1.1",
    "1.2.840.10045.3.1.7",
    "1.2.840.10045.4.1",
    "1.2.840.10045.4.3.1",
    "1.2.840.10045.4.3.2",
    "1.2.840.10045.4.3.3",
    "1.2.840.10045.4.3.4",
    "1.2.840.113549.1.1.1",
    "1.2.840.113549.1.1.10",
    "1.2.840.113549.1.1.11",
    "1.2.840.113549.1.1.12",
    "1.2.840.113549.1.1.13",
    "1.2.840.113549.1.1.5",
    "1.2.840.113549.1.7.1",
    "1.2.840.113549.1.7.2",
    "1.2.840.113549.1.9.15",
    "1.2.840.113549.1.9.3",
    "1.2.840.113549.1.9.4",
    "1.2.840.113549.1.9.5",
    "1.2.840.113549.2.5",
    "1.3.101.112",
    "1.3.132.0.10",
    "1.3.132.0.34",
    "1.3.132.0.35",
    "1.3.14.3.2.26",
    "1.3.6.1.4.1.311.2.1.11",
    "1.3.6.1.4.1.311.2.1.12",
    "1.3.6.1.4.1.311.2.1.4",
    "2.16.840.1.101.3.4.2.1",
    "2.16.840.1.101.3.4.2.2",
    "2.16.840.1.101.3.4.2.3",
    "2.16.840.1.101.3.4.2.4",
    "2.16.840.1.101.3.4.2.8",
    "2.16.840.1.101.3.4.3.10",
    "2.16.840.1.101.3.4.3.17",
    "2.5.29.14",
    "2.5.29.15",
    "2.5.29.19",
    "2.5.29.35",
    "2.5.4.3",
];

/// Times, and what is not quite one.
const TIMES: [&str; 18] = [
    "00010100000Z",
    "000101000000+0000",
    "000101000000Z",
    "000229000000Z",
    "010229000000Z",
    "300101000000Z",
    "491231235959Z",
    "500101000000Z",
    "701231235960Z",
    "990101240000Z",
    "990101250000Z",
    "19700101000000Z",
    "20300101000000Z",
    "20491231235959Z",
    "20500101000000Z",
    "21000229000000Z",
    "99991231235959Z",
    "99991231235959.5Z",
];

/// Of the group of P-256.
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6,
    0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

/// Tags that occur, and some that do not.
const TAGS: [u8; 28] = [
    0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x0a, 0x0c, 0x10, 0x11, 0x13, 0x16, 0x17, 0x18, 0x1f,
    0x24, 0x30, 0x31, 0x80, 0x81, 0x82, 0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xff,
];

/// Changes one element of a tree. What was done, in a few words.
pub(super) fn change(tree: &mut Node, random: &mut Random) -> String {
    let count = tree.count();
    if random.once_in(20) {
        return exchange(tree, random);
    }
    let number = random.below(count);
    let other = {
        let mut copy = tree.clone();
        let other = random.below(count);
        copy.nth(other).cloned()
    };
    let Some(node) = tree.nth(number) else {
        return "nothing".to_owned();
    };
    let has_children = !node.children().is_empty();
    let what = match random.below(if has_children { 14 } else { 10 }) {
        0 => {
            let before = node.tag;
            node.tag = if random.once_in(3) {
                node.tag ^ 0x20
            } else {
                random.pick(&TAGS)
            };
            format!("tag {before:#04x} becomes {:#04x}", node.tag)
        }
        1 => {
            node.form = form(random);
            format!("length {:?}", node.form)
        }
        2 => {
            let Some(other) = other else {
                return "nothing".to_owned();
            };
            let what = format!("becomes a copy of one with tag {:#04x}", other.tag);
            *node = other;
            what
        }
        3..10 if !has_children => value(node, random),
        3..7 => {
            // Inside, where there is more to change.
            let within = random.below(node.count());
            match node.nth(within) {
                Some(inner) if inner.children().is_empty() => value(inner, random),
                Some(inner) => {
                    inner.form = form(random);
                    format!("inner length {:?}", inner.form)
                }
                None => "nothing".to_owned(),
            }
        }
        choice => children(node, choice, other, random),
    };
    format!("element {number} of {count}: {what}")
}

/// Exchanges two elements, wherever they are.
fn exchange(tree: &mut Node, random: &mut Random) -> String {
    let count = tree.count();
    let (one, other) = (random.below(count), random.below(count));
    let (first, second) = (one.min(other), one.max(other));
    let (Some(a), Some(b)) = (tree.nth(first).cloned(), tree.nth(second).cloned()) else {
        return "nothing".to_owned();
    };
    // The later one first: the number of the other stays what it is, unless one is in the other.
    if let Some(node) = tree.nth(second) {
        *node = a;
    }
    if let Some(node) = tree.nth(first) {
        *node = b;
    }
    format!("elements {first} and {second} of {count} exchanged")
}

fn form(random: &mut Random) -> Form {
    match random.below(8) {
        0 => Form::Long(1),
        1 => Form::Long(2),
        2 => Form::Long(3),
        3..6 => Form::Indefinite,
        _ => Form::Off(random.pick(&[-2, -1, 1, 2])),
    }
}

/// Changes what is in an element that has others.
fn children(node: &mut Node, choice: usize, other: Option<Node>, random: &mut Random) -> String {
    let (Body::Nodes(nodes) | Body::Bits(nodes)) = &mut node.body else {
        return "nothing".to_owned();
    };
    let at = random.below(nodes.len());
    match choice {
        7 | 8 => {
            let gone = nodes.remove(at);
            format!("loses part {at}, of tag {:#04x}", gone.tag)
        }
        9 => {
            let again = nodes[at].clone();
            nodes.insert(at, again);
            format!("has part {at} twice")
        }
        10 => {
            let with = random.below(nodes.len());
            nodes.swap(at, with);
            format!("parts {at} and {with} swapped")
        }
        11 => {
            let new = small(random);
            let at = random.below(nodes.len() + 1);
            let what = format!("gets one with tag {:#04x} at {at}", new.tag);
            nodes.insert(at, new);
            what
        }
        12 => {
            let Some(other) = other else {
                return "nothing".to_owned();
            };
            let at = random.below(nodes.len() + 1);
            let what = format!("gets a copy of one with tag {:#04x} at {at}", other.tag);
            nodes.insert(at, other);
            what
        }
        _ => {
            nodes.truncate(at);
            format!("ends at part {at}")
        }
    }
}

/// A small element.
fn small(random: &mut Random) -> Node {
    match random.below(8) {
        0 => Node::null(),
        1 => Node::leaf(0, &[]),
        2 => Node::integer(&[random.below(4) as u8]),
        3 => Node::octets(&[]),
        4 => Node::sequence(Vec::new()),
        5 => Node::oid(random.pick(&OIDS)),
        6 => Node::leaf(1, &[random.pick(&[0, 1, 0xff])]),
        _ => Node::leaf(random.pick(&TAGS), &[0]),
    }
}

/// Changes a value.
fn value(node: &mut Node, random: &mut Random) -> String {
    let mut bytes = node.contents();
    let what = match (node.tag, random.below(8)) {
        (6, 0..5) => {
            let text = random.pick(&OIDS);
            bytes = oid(text);
            format!("OID {text}")
        }
        (0x17 | 0x18, 0..6) => {
            let text = random.pick(&TIMES);
            bytes = text.as_bytes().to_vec();
            if random.once_in(3) {
                node.tag = if text.len() < 14 { 0x17 } else { 0x18 };
            }
            format!("time {text} with tag {:#04x}", node.tag)
        }
        (2, 0..4) => {
            bytes = match random.below(14) {
                0 => vec![],
                1 => vec![0, 1],
                2 => vec![0xff],
                3 => vec![0x7f; 32],
                4 => vec![0xff; 40],
                // The order of P-256, and the number below it.
                5 => [&[0][..], &ORDER].concat(),
                6 => [&[0][..], &ORDER[..31], &[0x50]].concat(),
                7 => [&[0; 5][..], &bytes].concat(),
                8 => random.bytes(128),
                9 => random.bytes(256),
                number => vec![number as u8 - 10],
            };
            format!("number {bytes:02x?}")
        }
        (_, 0) => {
            bytes.clear();
            "emptied".to_owned()
        }
        (_, 1) => {
            bytes.pop();
            "a byte shorter".to_owned()
        }
        (_, 2) => {
            bytes.insert(0, random.pick(&[0, 0x80, 0xff]));
            "a byte longer in front".to_owned()
        }
        (_, 3) => {
            bytes.push(random.below(256) as u8);
            "a byte longer at the end".to_owned()
        }
        (_, 4) if bytes.len() > 1 => {
            bytes.remove(0);
            "without its first byte".to_owned()
        }
        (_, 5) => {
            let len = random.pick(&[1, 2, 20, 129, 130, 200]);
            bytes = random.bytes(len);
            format!("{len} other bytes")
        }
        _ if bytes.is_empty() => {
            bytes.push(0);
            "a zero".to_owned()
        }
        _ => {
            // Headers within are at the beginning.
            let at = if random.once_in(2) {
                random.below(bytes.len().min(6))
            } else {
                random.below(bytes.len())
            };
            let bit = random.below(8);
            bytes[at] ^= 1 << bit;
            format!("bit {bit} of byte {at}")
        }
    };
    let what = format!("value with tag {:#04x}: {what}", node.tag);
    node.body = Body::Bytes(bytes);
    what
}

/// Bytes that mean something in a header.
const BYTES: [u8; 16] = [
    0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x10, 0x1f, 0x30, 0x7f, 0x80, 0x81, 0x82, 0x83, 0xff,
];

/// Changes encoded bytes, without a look at what they mean.
pub(super) fn change_bytes(bytes: &mut Vec<u8>, random: &mut Random) -> String {
    if bytes.is_empty() {
        return "nothing".to_owned();
    }
    // Where a range begins, and how long it is: mostly short.
    let at = random.below(bytes.len());
    let len = match random.below(3) {
        0 => 1,
        1 => 1 + random.below(8),
        _ => 1 + random.below(64),
    };
    let end = (at + len).min(bytes.len());
    match random.below(10) {
        0 => {
            bytes.truncate(at);
            format!("cut off after {at} bytes")
        }
        1 => {
            let more = 1 + random.below(8);
            bytes.extend(random.bytes(more));
            format!("{more} bytes after the end")
        }
        2 => {
            bytes.drain(at..end);
            format!("bytes {at} to {end} left away")
        }
        3 => {
            let again = bytes[at..end].to_vec();
            bytes.splice(at..at, again);
            format!("bytes {at} to {end} twice")
        }
        4 => {
            let to = random.below(bytes.len());
            let moved: Vec<u8> = bytes[at..end].to_vec();
            let to_end = (to + moved.len()).min(bytes.len());
            bytes[to..to_end].copy_from_slice(&moved[..to_end - to]);
            format!("bytes {at} to {end} written over those from {to}")
        }
        5 => {
            let byte = random.pick(&BYTES);
            bytes.insert(at, byte);
            format!("byte {byte:#04x} before byte {at}")
        }
        6 => {
            let byte = random.pick(&BYTES);
            bytes[at] = byte;
            format!("byte {at} becomes {byte:#04x}")
        }
        7 => {
            bytes[at] = bytes[at].wrapping_add(random.pick(&[1, 0xff]));
            format!("byte {at} one more or less")
        }
        _ => {
            let bit = random.below(8);
            bytes[at] ^= 1 << bit;
            format!("bit {bit} of byte {at}")
        }
    }
}
