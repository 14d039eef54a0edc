//! Reading the small rules of the grammar from the front of a buffer.

use super::{DecodeError, Parsed};
use crate::command::{MailboxName, Tag};
use crate::set::{SequenceSet, SetBound};
use crate::utf7;
use std::borrow::Cow;
use std::num::NonZeroU32;

/// A position in the octets of one command.
#[derive(Clone)]
pub(crate) struct Cursor<'a> {
    octets: &'a [u8],
    at: usize,
}

/// `atom-specials`, with what list-mailbox and astring add back decided by the caller.
pub(crate) fn is_atom_char(b: u8) -> bool {
    b > 0x20 && b < 0x7f && !b"(){%*\"\\]".contains(&b)
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(octets: &'a [u8]) -> Self {
        Self { octets, at: 0 }
    }

    pub(crate) fn at(&self) -> usize {
        self.at
    }

    pub(crate) fn rest(&mut self) -> &'a [u8] {
        let rest = self.octets.get(self.at..).unwrap_or_default();
        self.at = self.octets.len();
        rest
    }

    pub(crate) fn peek(&self) -> Option<u8> {
        self.octets.get(self.at).copied()
    }

    pub(crate) fn is_end(&self) -> bool {
        self.at >= self.octets.len()
    }

    pub(crate) fn end(&self) -> Parsed<()> {
        if self.is_end() { Ok(()) } else { Err(self.error("the end of the command")) }
    }

    pub(crate) fn skip(&mut self, count: usize) {
        self.at = (self.at + count).min(self.octets.len());
    }

    pub(crate) fn error(&self, expected: &'static str) -> DecodeError {
        DecodeError::new(self.at, expected)
    }

    /// Takes the octet if it is next.
    pub(crate) fn take(&mut self, octet: u8) -> bool {
        let is_next = self.peek() == Some(octet);
        if is_next {
            self.at += 1;
        }
        is_next
    }

    pub(crate) fn byte(&mut self, octet: u8, expected: &'static str) -> Parsed<()> {
        if self.take(octet) { Ok(()) } else { Err(self.error(expected)) }
    }

    pub(crate) fn space(&mut self) -> Parsed<()> {
        self.byte(b' ', "a space")
    }

    /// Takes the word, in any case, if it is next; does not look at what follows.
    pub(crate) fn take_word(&mut self, word: &str) -> bool {
        let end = self.at + word.len();
        let next = self.octets.get(self.at..end);
        let is_next = next.is_some_and(|next| next.eq_ignore_ascii_case(word.as_bytes()));
        if is_next {
            self.at = end;
        }
        is_next
    }

    pub(crate) fn word(&mut self, word: &'static str) -> Parsed<()> {
        if self.take_word(word) { Ok(()) } else { Err(self.error(word)) }
    }

    fn take_while(&mut self, wanted: impl Fn(u8) -> bool) -> &'a [u8] {
        let rest = self.octets.get(self.at..).unwrap_or_default();
        let len = rest.iter().position(|b| !wanted(*b)).unwrap_or(rest.len());
        self.at += len;
        rest.get(..len).unwrap_or_default()
    }

    pub(crate) fn some_while(
        &mut self,
        expected: &'static str,
        wanted: impl Fn(u8) -> bool,
    ) -> Parsed<&'a [u8]> {
        let taken = self.take_while(wanted);
        if taken.is_empty() { Err(self.error(expected)) } else { Ok(taken) }
    }

    /// `atom = 1*ATOM-CHAR`
    pub(crate) fn atom(&mut self, expected: &'static str) -> Parsed<&'a [u8]> {
        self.some_while(expected, is_atom_char)
    }

    /// `tag = 1*<any ASTRING-CHAR except "+">`; a longer one is no tag but noise that nobody wants back.
    pub(crate) fn tag(&mut self) -> Parsed<Tag> {
        const LEN_MAX: usize = 256;
        let at = self.at;
        let tag = self.some_while("a tag", |b| (is_atom_char(b) || b == b']') && b != b'+')?;
        if tag.len() > LEN_MAX {
            return Err(DecodeError::new(at, "a tag of at most 256 octets"));
        }
        Ok(Tag(String::from_utf8_lossy(tag).into()))
    }

    /// `number64`, up to 2^63−1 (RFC 7162 §7, RFC 9051 §9)
    pub(crate) fn number(&mut self) -> Parsed<u64> {
        let at = self.at;
        let digits = self.some_while("a number", |b| b.is_ascii_digit())?;
        let value = digits.iter().try_fold(0_u64, |value, digit| {
            value.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
        });
        let value = value.filter(|value| i64::try_from(*value).is_ok());
        value.ok_or_else(|| DecodeError::new(at, "a number up to 9223372036854775807"))
    }

    /// `number = 1*DIGIT`, up to 2^32−1
    pub(crate) fn number_32(&mut self) -> Parsed<u32> {
        let at = self.at;
        u32::try_from(self.number()?).map_err(|_| DecodeError::new(at, "a number up to 4294967295"))
    }

    /// `nz-number = digit-nz *DIGIT`
    pub(crate) fn number_not_zero(&mut self) -> Parsed<NonZeroU32> {
        let at = self.at;
        let zero = || DecodeError::new(at, "a number from 1");
        if self.peek() == Some(b'0') {
            return Err(zero());
        }
        NonZeroU32::new(self.number_32()?).ok_or_else(zero)
    }

    /// `string = quoted / literal`; the framer has put literals in place.
    pub(crate) fn string(&mut self, expected: &'static str) -> Parsed<Cow<'a, [u8]>> {
        match self.peek() {
            Some(b'"') => self.quoted(),
            Some(b'{') => self.literal().map(Cow::Borrowed),
            _ => Err(self.error(expected)),
        }
    }

    /// `astring = 1*ASTRING-CHAR / string`
    pub(crate) fn astring(&mut self, expected: &'static str) -> Parsed<Cow<'a, [u8]>> {
        match self.peek() {
            Some(b'"' | b'{') => self.string(expected),
            _ => self.some_while(expected, |b| is_atom_char(b) || b == b']').map(Cow::Borrowed),
        }
    }

    /// `list-mailbox = 1*list-char / string`
    pub(crate) fn list_mailbox(&mut self) -> Parsed<String> {
        let at = self.at;
        let octets = match self.peek() {
            Some(b'"' | b'{') => self.string("a mailbox pattern")?,
            _ => {
                let wanted = |b| is_atom_char(b) || b"%*]".contains(&b);
                Cow::Borrowed(self.some_while("a mailbox pattern", wanted)?)
            }
        };
        utf7::decode(&octets).map_err(|error| DecodeError::new(at, error.expected))
    }

    /// `quoted = DQUOTE *QUOTED-CHAR DQUOTE`; 8-bit octets are let through, as many clients send them.
    fn quoted(&mut self) -> Parsed<Cow<'a, [u8]>> {
        self.byte(b'"', "a quoted string")?;
        let plain =
            self.take_while(|b| b != b'"' && b != b'\\' && b != b'\r' && b != b'\n' && b != 0);
        if self.take(b'"') {
            return Ok(Cow::Borrowed(plain));
        }
        let mut text = plain.to_vec();
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(Cow::Owned(text));
                }
                Some(b'\\') => {
                    self.at += 1;
                    match self.peek() {
                        Some(b @ (b'"' | b'\\')) => text.push(b),
                        _ => return Err(self.error("\" or \\ behind a backslash")),
                    }
                }
                Some(0 | b'\r' | b'\n') | None => return Err(self.error("the closing quote")),
                Some(b) => text.push(b),
            }
            self.at += 1;
        }
    }

    /// `literal = "{" number ["+"] "}" CRLF *CHAR8`
    fn literal(&mut self) -> Parsed<&'a [u8]> {
        let octets = self.literal8()?;
        let start = self.at - octets.len();
        match octets.iter().position(|b| *b == 0) {
            Some(nul) => Err(DecodeError::new(start + nul, "a literal without NUL")),
            None => Ok(octets),
        }
    }

    /// `literal8 = "~{" number ["+"] "}" CRLF *OCTET` (RFC 3516), also without the tilde
    pub(crate) fn literal8(&mut self) -> Parsed<&'a [u8]> {
        self.take(b'~');
        self.byte(b'{', "a literal")?;
        let at = self.at;
        let len = usize::try_from(self.number()?).map_err(|_| DecodeError::new(at, "a length"))?;
        self.take(b'+');
        self.byte(b'}', "}")?;
        self.take(b'\r');
        self.byte(b'\n', "the end of the line behind a literal's length")?;
        let end = self.at.checked_add(len).filter(|end| *end <= self.octets.len());
        let end = end.ok_or_else(|| self.error("as many octets as the literal announced"))?;
        let octets = self.octets.get(self.at..end).unwrap_or_default();
        self.at = end;
        Ok(octets)
    }

    /// `mailbox = "INBOX" / astring`, decoded; INBOX in any case, also as a superior.
    pub(crate) fn mailbox(&mut self) -> Parsed<MailboxName> {
        let at = self.at;
        let octets = self.astring("a mailbox name")?;
        if octets.is_empty() {
            return Err(DecodeError::new(at, "a mailbox name that is not empty"));
        }
        let name = utf7::decode(&octets).map_err(|error| DecodeError::new(at, error.expected))?;
        Ok(MailboxName(canonical(name)))
    }

    pub(crate) fn spaced_mailbox(&mut self) -> Parsed<MailboxName> {
        self.space()?;
        self.mailbox()
    }

    /// `sequence-set = (seq-number / seq-range) *("," sequence-set) / "$"` (RFC 3501 §9, RFC 5182)
    pub(crate) fn sequence_set(&mut self) -> Parsed<SequenceSet> {
        if self.take(b'$') {
            return Ok(SequenceSet::Saved);
        }
        let mut ranges = Vec::new();
        loop {
            let from = self.set_bound()?;
            let to = if self.take(b':') { self.set_bound()? } else { from };
            ranges.push((from, to));
            if !self.take(b',') {
                return Ok(SequenceSet::Ranges(ranges));
            }
        }
    }

    /// `seq-number = nz-number / "*"`
    fn set_bound(&mut self) -> Parsed<SetBound> {
        if self.take(b'*') {
            return Ok(SetBound::Star);
        }
        match self.peek() {
            Some(b'0'..=b'9') => self.number_not_zero().map(SetBound::Number),
            _ => Err(self.error("a number or *")),
        }
    }
}

/// The name with INBOX, alone or as the first level, in capitals.
pub(crate) fn canonical(name: String) -> String {
    match name.get(..5) {
        Some(head) if head.eq_ignore_ascii_case("INBOX") => match name.get(5..) {
            Some("") => "INBOX".to_owned(),
            Some(rest) if rest.starts_with('/') => format!("INBOX{rest}"),
            _ => name,
        },
        _ => name,
    }
}
