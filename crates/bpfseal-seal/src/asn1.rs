//! The kernel's ASN.1 decoder: a grammar, walked along a message, with notes taken on the way.
//!
//! Follows what `asn1_ber_decoder` of Linux 7.3 does with the grammars that it is given, where it
//! is laxer than BER and where it is stricter: the order of the checks decides which errno a
//! message gets. It knows no message; [`crate::message`], [`crate::x509`] and the keys bring their
//! grammars.
//!
//! Four of its habits decide verdicts:
//!
//! - Tags have one byte, lengths at most two bytes after the first. A length need not be minimal.
//! - The bit for "constructed" is not looked at where the grammar has a constructed element.
//! - At the end of the enclosing element, whatever is optional is passed over, and so is a choice
//!   that is not, unless an optional element was looked for in vain just before it. A note that is
//!   taken after such a choice is of the element before it.
//! - What an enclosing element of indefinite length ends at is its end-of-contents, but what an
//!   element may reach to, and what counts as the end, is the element around that one.

use crate::ber::BerError;

/// Longest message that the decoder takes. A longer one is `EMSGSIZE`.
pub(crate) const MAX_LEN: usize = 65535;

/// Set in the tag of a constructed element.
const CONSTRUCTED: u8 = 0x20;
/// The number of a tag that goes on in further bytes.
const LONG_TAG: u8 = 0x1f;
const INDEFINITE: u8 = 0x80;

/// One step of a grammar. `N` says which note is to be taken.
#[derive(Debug)]
pub(crate) enum Step<N: 'static> {
    /// An element.
    One(Element<N>),
    /// One of several elements.
    Choice(&'static [Element<N>]),
    /// One of several elements, or none.
    Maybe(&'static [Element<N>]),
    /// A note of the element before.
    Note(N),
}

/// An element of a grammar.
#[derive(Debug)]
pub(crate) struct Element<N: 'static> {
    /// `None` for any.
    tag: Option<u8>,
    inside: Inside<N>,
    optional: bool,
    inline: bool,
    note: Option<N>,
}

#[derive(Debug)]
enum Inside<N: 'static> {
    /// Not looked at.
    Bytes,
    /// These, one after the other.
    Fields(&'static [Step<N>]),
    /// These, once or more often.
    Repeated(&'static [Step<N>]),
}

/// An element whose contents are not looked at: a primitive one, by its exact tag.
pub(crate) const fn leaf<N: Copy>(tag: u8) -> Element<N> {
    element(Some(tag), Inside::Bytes)
}

/// An element of any tag.
pub(crate) const fn any<N: Copy>() -> Element<N> {
    element(None, Inside::Bytes)
}

/// A constructed element with fields.
pub(crate) const fn fields<N: Copy>(tag: u8, fields: &'static [Step<N>]) -> Element<N> {
    element(Some(tag), Inside::Fields(fields))
}

/// A constructed element with one or more of the same.
pub(crate) const fn repeated<N: Copy>(tag: u8, of: &'static [Step<N>]) -> Element<N> {
    element(Some(tag), Inside::Repeated(of))
}

const fn element<N: Copy>(tag: Option<u8>, inside: Inside<N>) -> Element<N> {
    Element {
        tag,
        inside,
        optional: false,
        inline: false,
        note: None,
    }
}

impl<N: Copy> Element<N> {
    /// It may be missing.
    pub(crate) const fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    /// The kernel has it in the middle of its code, because it is used once and always there: that
    /// it was found is not remembered at its end. It matters where something optional stands last
    /// in it, and a choice after it.
    pub(crate) const fn inline(mut self) -> Self {
        self.inline = true;
        self
    }

    /// A note is taken of it: at its end, when it has an inside.
    pub(crate) const fn note(mut self, note: N) -> Self {
        self.note = Some(note);
        self
    }

    /// As a step.
    pub(crate) const fn one(self) -> Step<N> {
        Step::One(self)
    }
}

/// An element of a message, as a note is taken of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found<'a> {
    message: &'a [u8],
    /// The tag; 0 for an element that was entered.
    pub(crate) tag: u8,
    header: usize,
    /// Offset of the contents in the message.
    pub(crate) at: usize,
    len: usize,
}

impl<'a> Found<'a> {
    /// The contents. Of an element of indefinite length that was not entered, its end-of-contents
    /// is one of them.
    pub(crate) fn value(&self) -> &'a [u8] {
        &self.message[self.at..self.at + self.len]
    }

    /// Header and contents.
    pub(crate) fn whole(&self) -> &'a [u8] {
        &self.message[self.at - self.header..self.at + self.len]
    }

    /// As [`Self::whole`], and up to that many bytes that follow.
    pub(crate) fn whole_and(&self, more: usize) -> &'a [u8] {
        let end = (self.at + self.len + more).min(self.message.len());
        &self.message[self.at - self.header..end]
    }
}

/// Walks a grammar along a message. What follows the outermost element is not looked at.
///
/// # Errors
/// A fault of the encoding, or what taking a note answers, whichever comes first.
pub(crate) fn decode<'a, N, E>(
    grammar: &'static Element<N>,
    message: &'a [u8],
    note: &mut dyn FnMut(N, Found<'a>) -> Result<(), E>,
) -> Result<(), E>
where
    N: Copy,
    E: From<BerError>,
{
    let mut decoder = Decoder {
        message,
        at: 0,
        end: message.len(),
        found: false,
        last: Found {
            message,
            tag: 0,
            header: 0,
            at: 0,
            len: 0,
        },
        note,
    };
    decoder.required(grammar)
}

struct Decoder<'a, 'n, N, E> {
    message: &'a [u8],
    at: usize,
    /// Of the innermost element of definite length.
    end: usize,
    /// Whether the element that was looked for last was there.
    found: bool,
    /// The element that was read last.
    last: Found<'a>,
    note: &'n mut dyn FnMut(N, Found<'a>) -> Result<(), E>,
}

impl<'a, N: Copy + 'static, E: From<BerError>> Decoder<'a, '_, N, E> {
    fn fault<T>(&self, what: &'static str) -> Result<T, E> {
        let offset = self.at;
        Err(BerError { offset, what }.into())
    }

    fn left(&self) -> usize {
        self.end.saturating_sub(self.at)
    }

    fn steps(&mut self, steps: &'static [Step<N>]) -> Result<(), E> {
        for step in steps {
            match step {
                Step::One(element) if element.optional => {
                    if self.at != self.end {
                        self.matches(element)?;
                    }
                }
                Step::One(element) => self.required(element)?,
                Step::Choice(elements) => {
                    if !self.one_of(elements)? {
                        self.fault("an element is none of those that the grammar has here")?;
                    }
                }
                Step::Maybe(elements) => {
                    self.one_of(elements)?;
                }
                Step::Note(note) => (self.note)(*note, self.last)?,
            }
        }
        Ok(())
    }

    fn required(&mut self, element: &'static Element<N>) -> Result<(), E> {
        if self.matches(element)? {
            Ok(())
        } else {
            self.fault("an element is not the one that the grammar has here")
        }
    }

    /// Reads the first element that has its tag. At the end, none has to be there: what counts then
    /// is the element before.
    fn one_of(&mut self, elements: &'static [Element<N>]) -> Result<bool, E> {
        if self.at == self.end {
            return Ok(self.found);
        }
        for element in elements {
            if self.matches(element)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Reads an element if it has the tag.
    fn matches(&mut self, element: &'static Element<N>) -> Result<bool, E> {
        self.found = false;
        if self.left() < 2 {
            return self.fault("the message is cut off");
        }
        let tag = self.message[self.at];
        if tag & LONG_TAG == LONG_TAG {
            return self.fault("a tag of several bytes");
        }
        let wanted = element.tag.unwrap_or(tag);
        let looked_at = !(wanted & CONSTRUCTED);
        if element.tag.is_some() && (wanted ^ tag) & looked_at != 0 {
            return Ok(false);
        }
        self.found = true;
        let start = self.at;
        let len = self.length(tag)?;
        self.last = Found {
            message: self.message,
            tag,
            header: self.at - start,
            at: self.at,
            len: len.unwrap_or(0),
        };
        match element.inside {
            Inside::Bytes => {
                if len.is_none() {
                    self.last.len = self.indefinite_len()?;
                }
                if let Some(note) = element.note {
                    (self.note)(note, self.last)?;
                }
                self.at += self.last.len;
            }
            Inside::Fields(steps) => self.enter(steps, len, false, element.note)?,
            Inside::Repeated(steps) => self.enter(steps, len, true, element.note)?,
        }
        self.found |= !element.inline;
        Ok(true)
    }

    /// Reads the length after a tag; `None` for an indefinite one.
    fn length(&mut self, tag: u8) -> Result<Option<usize>, E> {
        let first = self.message[self.at + 1];
        self.at += 2;
        let len = match first {
            INDEFINITE => {
                if tag & CONSTRUCTED == 0 {
                    return self.fault("an indefinite length of a primitive element");
                }
                if self.left() < 2 {
                    return self.fault("the message is cut off");
                }
                return Ok(None);
            }
            0..=0x7f => usize::from(first),
            _ => {
                let count = usize::from(first - INDEFINITE);
                if count > 2 {
                    return self.fault("a length of more than two bytes");
                }
                if count > self.left() {
                    return self.fault("a length is cut off");
                }
                let digits = &self.message[self.at..self.at + count];
                self.at += count;
                digits.iter().fold(0, |n, b| n << 8 | usize::from(*b))
            }
        };
        if len > self.left() {
            return self.fault("an element reaches beyond the one around it");
        }
        Ok(Some(len))
    }

    fn enter(
        &mut self,
        steps: &'static [Step<N>],
        len: Option<usize>,
        repeated: bool,
        note: Option<N>,
    ) -> Result<(), E> {
        let Found { header, at, .. } = self.last;
        let around = self.end;
        if let Some(len) = len {
            self.end = self.at + len;
        }
        loop {
            self.steps(steps)?;
            if len.is_none() {
                if self.left() < 2 {
                    return self.fault("an end-of-contents is missing");
                }
                if self.message[self.at] == 0 {
                    break;
                }
            } else if self.at == self.end {
                break;
            }
            if !repeated {
                return self.fault("there is more than the grammar has");
            }
        }
        self.last.header = header;
        self.last.at = at;
        self.last.len = self.at - at;
        if len.is_none() {
            if self.message[self.at + 1] != 0 {
                return self.fault("an end-of-contents is not empty");
            }
            self.at += 2;
        }
        self.end = around;
        match note {
            Some(note) => (self.note)(
                note,
                Found {
                    tag: 0,
                    ..self.last
                },
            ),
            None => Ok(()),
        }
    }

    /// How many bytes an element of indefinite length has from here, end-of-contents and all.
    fn indefinite_len(&mut self) -> Result<usize, E> {
        let start = self.at;
        let mut depth = 1;
        let mut at = start;
        let overrun = "an element of indefinite length reaches beyond the one around it";
        let byte = |at: usize| self.message.get(at).copied().filter(|_| at < self.end);
        loop {
            let (Some(tag), Some(second)) = (byte(at), byte(at + 1)) else {
                return self.fault(overrun);
            };
            if tag == 0 {
                if second != 0 {
                    return self.fault("an end-of-contents is not empty");
                }
                at += 2;
                depth -= 1;
                if depth == 0 {
                    return Ok(at - start);
                }
                continue;
            }
            at += 1;
            if tag & LONG_TAG == LONG_TAG {
                loop {
                    let (Some(part), Some(_)) = (byte(at), byte(at + 1)) else {
                        return self.fault(overrun);
                    };
                    at += 1;
                    if part & 0x80 == 0 {
                        break;
                    }
                }
            }
            // There is one more byte, or the element would have been cut off.
            let first = byte(at).unwrap_or(0);
            at += 1;
            if first == INDEFINITE {
                if tag & CONSTRUCTED == 0 {
                    return self.fault("an indefinite length of a primitive element");
                }
                depth += 1;
                continue;
            }
            let mut len = usize::from(first);
            if first > INDEFINITE {
                let count = usize::from(first - INDEFINITE);
                if count >= size_of::<u64>() {
                    return self.fault("a length of more than seven bytes");
                }
                let Some(digits) = self.message.get(at..at + count) else {
                    return self.fault(overrun);
                };
                len = digits
                    .iter()
                    .fold(0, |n: usize, b| n << 8 | usize::from(*b));
                at += count;
            }
            if at > self.end || len > self.end - at {
                return self.fault(overrun);
            }
            at += len;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Notes by number.
    const NUMBERS: Element<u8> = fields(
        0x30,
        &[
            leaf(2).note(1).one(),
            Step::Choice(&[leaf(4).note(2), repeated(0xa0, &[any().note(3).one()])]),
            Step::Note(9),
            leaf(1).optional().one(),
        ],
    );

    type Notes = Vec<(u8, Vec<u8>)>;

    fn notes(message: &[u8]) -> Result<Notes, &'static str> {
        let mut all = Notes::new();
        let mut note = |number, found: Found<'_>| {
            all.push((number, found.value().to_vec()));
            Ok::<(), BerError>(())
        };
        match decode(&NUMBERS, message, &mut note) {
            Ok(()) => Ok(all),
            Err(error) => Err(error.what),
        }
    }

    #[track_caller]
    fn takes(message: &[u8], wanted: &[(u8, &[u8])]) {
        let wanted: Notes = wanted.iter().map(|(n, v)| (*n, v.to_vec())).collect();
        assert_eq!(notes(message), Ok(wanted));
    }

    #[test]
    fn lengths_of_every_form() {
        let wanted: &[(u8, &[u8])] = &[(1, &[7]), (2, &[8]), (9, &[8])];
        takes(&[0x30, 6, 2, 1, 7, 4, 1, 8], wanted);
        // Not minimal, not said to be constructed, and followed by something.
        takes(&[0x10, 0x82, 0, 7, 2, 0x81, 1, 7, 4, 1, 8, 99], wanted);
        takes(&[0x30, 0x80, 2, 1, 7, 4, 1, 8, 0, 0], wanted);
        for cut in 0..7 {
            assert!(notes(&[0x30, 6, 2, 1, 7, 4, 1, 8][..cut]).is_err());
        }
        let faults: [(&[u8], _); 5] = [
            (
                &[0x30, 0x83, 0, 0, 6, 2, 1, 7],
                "a length of more than two bytes",
            ),
            (&[0x30, 7, 2, 1, 7, 4, 1, 8, 0], "the message is cut off"),
            (
                &[0x30, 8, 2, 1, 7, 4, 1, 8, 5, 0],
                "there is more than the grammar has",
            ),
            (
                &[0x10, 0x80, 2, 1, 7, 0, 0],
                "an indefinite length of a primitive element",
            ),
            (
                &[0x30, 0x80, 2, 1, 7, 4, 1, 8, 0, 1],
                "an end-of-contents is not empty",
            ),
        ];
        for (message, what) in faults {
            assert_eq!(notes(message), Err(what), "{message:?}");
        }
    }

    #[test]
    fn a_choice_at_the_end_is_passed_over() {
        takes(&[0x30, 3, 2, 1, 7], &[(1, &[7]), (9, &[7])]);
        // In an element of indefinite length, the end is that of the one around it.
        assert!(notes(&[0x30, 0x80, 2, 1, 7, 0, 0]).is_err());
    }

    /// In an element of indefinite length, what is optional is looked for where the end is.
    #[test]
    fn a_choice_at_the_end_is_not_passed_over_after_something_missing() {
        const OPTIONAL: &[Step<u8>] = &[leaf(2).one(), leaf(1).optional().one()];
        const CHOICE: Step<u8> = Step::Choice(&[leaf(4)]);
        const INLINE: Element<u8> = fields(0x30, &[fields(0x31, OPTIONAL).inline().one(), CHOICE]);
        const OUT_OF_LINE: Element<u8> = fields(0x30, &[fields(0x31, OPTIONAL).one(), CHOICE]);
        let missing = [0x30, 7, 0x31, 0x80, 2, 1, 7, 0, 0];
        let there = [0x30, 10, 0x31, 0x80, 2, 1, 7, 1, 1, 0, 0, 0];
        let definite = [0x30, 5, 0x31, 3, 2, 1, 7];
        let takes = |grammar, message: &[u8]| {
            decode(grammar, message, &mut |_, _| Ok::<(), BerError>(())).is_ok()
        };
        assert!(!takes(&INLINE, &missing));
        assert!(takes(&OUT_OF_LINE, &missing));
        for message in [&there[..], &definite] {
            assert!(takes(&INLINE, message));
            assert!(takes(&OUT_OF_LINE, message));
        }
    }

    #[test]
    fn what_is_not_entered_has_its_end_of_contents_in_it() {
        let inner = [0x30, 0x80, 2, 1, 5, 0, 0];
        let message = [&[0x30, 12, 2, 1, 7, 0xa0, 7][..], &inner].concat();
        takes(&message, &[(1, &[7]), (3, &[2, 1, 5, 0, 0]), (9, &inner)]);
    }

    #[test]
    fn one_or_more_are_repeated() {
        assert_eq!(
            notes(&[0x30, 5, 2, 1, 7, 0xa0, 0]),
            Err("the message is cut off")
        );
        takes(
            &[0x30, 9, 2, 1, 7, 0xa0, 4, 4, 0, 4, 0],
            &[(1, &[7]), (3, &[]), (3, &[]), (9, &[4, 0, 4, 0])],
        );
    }
}
