//! Encoded elements as a tree that can be changed, and written in any form.

/// An element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) tag: u8,
    pub(crate) body: Body,
    pub(crate) form: Form,
}

/// What is in an element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Body {
    Bytes(Vec<u8>),
    /// Elements, whether the tag says so or not.
    Nodes(Vec<Node>),
    /// Elements in a bit string of whole bytes.
    Bits(Vec<Node>),
}

/// How a length is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Minimal,
    /// With so many bytes after the first.
    Long(usize),
    /// Indefinite, with an end-of-contents.
    Indefinite,
    /// Wrong by so much.
    Off(i8),
}

pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;

impl Node {
    pub(crate) fn of(tag: u8, nodes: Vec<Self>) -> Self {
        Self {
            tag,
            body: Body::Nodes(nodes),
            form: Form::Minimal,
        }
    }

    pub(crate) fn leaf(tag: u8, bytes: &[u8]) -> Self {
        Self {
            tag,
            body: Body::Bytes(bytes.to_vec()),
            form: Form::Minimal,
        }
    }

    pub(crate) fn sequence(nodes: Vec<Self>) -> Self {
        Self::of(SEQUENCE, nodes)
    }

    pub(crate) fn set(nodes: Vec<Self>) -> Self {
        Self::of(SET, nodes)
    }

    pub(crate) fn integer(bytes: &[u8]) -> Self {
        Self::leaf(2, bytes)
    }

    pub(crate) fn octets(bytes: &[u8]) -> Self {
        Self::leaf(4, bytes)
    }

    pub(crate) fn null() -> Self {
        Self::leaf(5, &[])
    }

    /// An object identifier, by its numbers.
    pub(crate) fn oid(text: &str) -> Self {
        Self::leaf(6, &oid(text))
    }

    /// A bit string of whole bytes: of an element, when it is one.
    pub(crate) fn bits(bytes: &[u8]) -> Self {
        let body = match Self::parse(bytes) {
            Some(nodes) if !nodes.is_empty() => Body::Bits(nodes),
            _ => Body::Bytes([&[0], bytes].concat()),
        };
        Self {
            tag: 3,
            body,
            form: Form::Minimal,
        }
    }

    /// An octet string, of an element when it is one.
    pub(crate) fn octets_of(bytes: &[u8]) -> Self {
        match Self::parse(bytes) {
            Some(nodes) if !nodes.is_empty() => Self::of(4, nodes),
            _ => Self::octets(bytes),
        }
    }

    /// What is in it, encoded.
    pub(crate) fn contents(&self) -> Vec<u8> {
        match &self.body {
            Body::Bytes(bytes) => bytes.clone(),
            Body::Nodes(nodes) => nodes.iter().flat_map(Self::encode).collect(),
            Body::Bits(nodes) => {
                let encoded = nodes.iter().flat_map(Self::encode);
                std::iter::once(0).chain(encoded).collect()
            }
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let contents = self.contents();
        let mut out = vec![self.tag];
        let len = contents.len();
        match self.form {
            Form::Minimal => push_length(&mut out, len, minimal(len)),
            Form::Long(count) => push_length(&mut out, len, count.max(minimal(len)).max(1)),
            Form::Off(by) => {
                let wrong = len.saturating_add_signed(isize::from(by));
                push_length(&mut out, wrong, minimal(wrong));
            }
            Form::Indefinite => {
                out.push(0x80);
                out.extend(contents);
                out.extend([0, 0]);
                return out;
            }
        }
        out.extend(contents);
        out
    }

    /// Reads well-formed elements. Primitive ones are not looked into.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Vec<Self>> {
        let mut rest = bytes;
        let mut nodes = Vec::new();
        while let [tag, first, ..] = *rest {
            let (header, len) = match first {
                0..=0x7f => (2, usize::from(first)),
                0x81 => (3, usize::from(*rest.get(2)?)),
                0x82 => (
                    4,
                    usize::from(*rest.get(2)?) << 8 | usize::from(*rest.get(3)?),
                ),
                _ => return None,
            };
            let contents = rest.get(header..header + len)?;
            let nested = if tag & 0x20 == 0 {
                None
            } else {
                Self::parse(contents)
            };
            nodes.push(match nested {
                Some(nested) => Self::of(tag, nested),
                None => Self::leaf(tag, contents),
            });
            rest = &rest[header + len..];
        }
        rest.is_empty().then_some(nodes)
    }

    pub(crate) fn children(&self) -> &[Self] {
        match &self.body {
            Body::Bytes(_) => &[],
            Body::Nodes(nodes) | Body::Bits(nodes) => nodes,
        }
    }

    /// How many elements there are, with this one.
    pub(crate) fn count(&self) -> usize {
        1 + self.children().iter().map(Self::count).sum::<usize>()
    }

    /// The element of that number, in the order in which they are written.
    pub(crate) fn nth(&mut self, number: usize) -> Option<&mut Self> {
        if number == 0 {
            return Some(self);
        }
        let mut left = number - 1;
        let (Body::Nodes(nodes) | Body::Bits(nodes)) = &mut self.body else {
            return None;
        };
        for node in nodes {
            let count = node.count();
            if left < count {
                return node.nth(left);
            }
            left -= count;
        }
        None
    }
}

/// How many bytes a length needs after the first.
fn minimal(len: usize) -> usize {
    match len {
        0..0x80 => 0,
        0x80..0x100 => 1,
        0x100..0x1_0000 => 2,
        _ => 3,
    }
}

fn push_length(out: &mut Vec<u8>, len: usize, count: usize) {
    if count == 0 {
        out.push(len as u8);
        return;
    }
    out.push(0x80 | count as u8);
    let digits = (len as u64).to_be_bytes();
    out.resize(out.len() + count.saturating_sub(8), 0);
    out.extend(&digits[8 - count.min(8)..]);
}

/// The contents of an object identifier.
pub(crate) fn oid(text: &str) -> Vec<u8> {
    let mut arcs = text.split('.').map(|arc| arc.parse::<u64>().unwrap_or(0));
    let first = arcs.next().unwrap_or(0) * 40 + arcs.next().unwrap_or(0);
    let mut out = Vec::new();
    for arc in std::iter::once(first).chain(arcs) {
        let mut digits = vec![(arc & 0x7f) as u8];
        let mut rest = arc >> 7;
        while rest > 0 {
            digits.push((rest & 0x7f) as u8 | 0x80);
            rest >>= 7;
        }
        digits.reverse();
        out.extend(digits);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_a_length() {
        let node = Node::octets(&[1, 2]);
        let with = |form| {
            Node {
                form,
                ..node.clone()
            }
            .encode()
        };
        assert_eq!(with(Form::Minimal), [4, 2, 1, 2]);
        assert_eq!(with(Form::Long(2)), [4, 0x82, 0, 2, 1, 2]);
        assert_eq!(with(Form::Indefinite), [4, 0x80, 1, 2, 0, 0]);
        assert_eq!(with(Form::Off(1)), [4, 3, 1, 2]);
        let long = Node::octets(&[7; 300]);
        assert_eq!(long.encode()[..4], [4, 0x82, 1, 44]);
        let tree = Node::sequence(vec![long, Node::oid("2.5.29.14"), Node::null()]);
        assert_eq!(Node::parse(&tree.encode()), Some(vec![tree.clone()]));
        assert_eq!(tree.count(), 4);
        assert_eq!(
            tree.clone().nth(2),
            Some(&mut Node::leaf(6, &[0x55, 29, 14]))
        );
    }
}
