//! Address lists of a header field, as ENVELOPE shows them.
//!
//! # Standards
//! RFC 5322 §3.4 with the obsolete forms of §4.4; RFC 3501 §7.4.2 (groups).

use super::header::unquote;
use crate::encode::nstring;

/// The most addresses of one field that are shown.
const ADDRESSES_MAX: usize = 10_000;

#[derive(Debug, PartialEq)]
enum Token {
    /// An atom, a quoted string (unquoted) or a domain literal.
    Word(Vec<u8>),
    Special(u8),
    Comment(Vec<u8>),
}

/// Splits a field's value into words, specials and comments; whatever it is, all of it is read.
fn tokens(text: &[u8]) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(&b) = text.get(at) {
        let end = match b {
            b'"' => quoted_end(text, at),
            b'(' => comment_end(text, at),
            b'[' => {
                text.iter().skip(at).position(|b| *b == b']').map_or(text.len(), |n| at + n + 1)
            }
            b'<' | b'>' | b'@' | b',' | b':' | b';' | b' ' | b'\t' => at + 1,
            _ => {
                let stop = |b: &u8| b"\"([<>@,:; \t".contains(b);
                text.iter().skip(at).position(stop).map_or(text.len(), |n| at + n.max(1))
            }
        };
        let raw = text.get(at..end).unwrap_or_default();
        match b {
            b' ' | b'\t' => {}
            b'"' => tokens.push(Token::Word(unquote(raw))),
            b'(' => {
                let inner = raw.strip_prefix(b"(").unwrap_or(raw);
                tokens.push(Token::Comment(inner.strip_suffix(b")").unwrap_or(inner).to_vec()));
            }
            b'<' | b'>' | b'@' | b',' | b':' | b';' => tokens.push(Token::Special(b)),
            _ => tokens.push(Token::Word(raw.to_vec())),
        }
        at = end;
    }
    tokens
}

fn quoted_end(text: &[u8], at: usize) -> usize {
    let mut escaped = false;
    for (i, &b) in text.iter().enumerate().skip(at + 1) {
        match b {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return i + 1,
            _ => {}
        }
    }
    text.len()
}

fn comment_end(text: &[u8], at: usize) -> usize {
    let (mut depth, mut escaped) = (0_usize, false);
    for (i, &b) in text.iter().enumerate().skip(at) {
        match b {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'(' => depth += 1,
            b')' if depth == 1 => return i + 1,
            b')' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    text.len()
}

/// An address in the making.
#[derive(Default)]
struct Address {
    /// Words seen so far, each with whether a dot or an at sign stood before it.
    words: Vec<u8>,
    comment: Option<Vec<u8>>,
    name: Option<Vec<u8>>,
    route: Option<Vec<u8>>,
    local: Option<Vec<u8>>,
    domain: Option<Vec<u8>>,
    in_angle: bool,
    glue: bool,
}

impl Address {
    fn word(&mut self, word: &[u8]) {
        let part = match (&mut self.domain, self.local.is_some()) {
            (Some(domain), true) => domain,
            _ => &mut self.words,
        };
        if !part.is_empty() && !self.glue {
            part.push(b' ');
        }
        part.extend_from_slice(word);
        self.glue = false;
    }

    fn special(&mut self, special: u8) {
        match special {
            b'<' => {
                let name = std::mem::take(&mut self.words);
                self.name = (!name.is_empty()).then_some(name);
                self.in_angle = true;
                self.glue = true;
                (self.local, self.domain) = (None, None);
            }
            b'@' if self.local.is_none() => {
                self.local = Some(std::mem::take(&mut self.words));
                self.domain = Some(Vec::new());
                self.glue = true;
            }
            b':' if self.in_angle => {
                // An obsolete route, "<@a,@b:c@d>".
                self.route = self.domain.take().map(|domain| [b"@".as_slice(), &domain].concat());
                self.local = None;
                self.words.clear();
                self.glue = true;
            }
            other => {
                self.glue = true;
                self.word(&[other]);
                self.glue = true;
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.words.is_empty() && self.local.is_none() && self.name.is_none() && !self.in_angle
    }

    fn write(mut self, out: &mut Vec<u8>) {
        let words = std::mem::take(&mut self.words);
        let local = self.local.or_else(|| (!words.is_empty()).then_some(words));
        let name = self.name.or(self.comment);
        out.push(b'(');
        nstring(out, name.as_deref());
        out.push(b' ');
        nstring(out, self.route.as_deref());
        out.push(b' ');
        // A mailbox of NIL would mean the end of a group.
        nstring(out, Some(local.as_deref().unwrap_or_default()));
        out.push(b' ');
        // A host of NIL would mean the begin of a group.
        nstring(out, Some(self.domain.as_deref().unwrap_or_default()));
        out.push(b')');
    }
}

/// `"(" 1*address ")" / nil`
pub(super) fn addresses(out: &mut Vec<u8>, text: &[u8]) {
    let start = out.len();
    out.push(b'(');
    let before = out.len();
    let mut address = Address::default();
    let mut in_group = false;
    let mut count = 0;
    for token in tokens(text) {
        if count >= ADDRESSES_MAX {
            break;
        }
        match token {
            Token::Word(word) => address.word(&word),
            Token::Comment(comment) => address.comment = Some(comment),
            Token::Special(b':') if !address.in_angle && !in_group && address.local.is_none() => {
                let name = std::mem::take(&mut address).words;
                group_begin(out, &name);
                in_group = true;
            }
            Token::Special(b',') if !(address.in_angle && address.route_open()) => {
                count += finish(out, &mut address);
            }
            Token::Special(b';') => {
                count += finish(out, &mut address);
                if in_group {
                    out.extend_from_slice(b"(NIL NIL NIL NIL)");
                }
                in_group = false;
            }
            Token::Special(b'>') => address.glue = false,
            Token::Special(other) => address.special(other),
        }
    }
    finish(out, &mut address);
    if in_group {
        out.extend_from_slice(b"(NIL NIL NIL NIL)");
    }
    if out.len() == before {
        out.truncate(start);
        out.extend_from_slice(b"NIL");
    } else {
        out.push(b')');
    }
}

impl Address {
    /// Whether an obsolete route may still be going on: "<@a,…".
    fn route_open(&self) -> bool {
        self.local.as_ref().is_some_and(Vec::is_empty) && self.route.is_none()
    }
}

fn group_begin(out: &mut Vec<u8>, name: &[u8]) {
    out.extend_from_slice(b"(NIL NIL ");
    nstring(out, Some(name));
    out.extend_from_slice(b" NIL)");
}

/// Writes the address, if there is one; answers how many were written.
fn finish(out: &mut Vec<u8>, address: &mut Address) -> usize {
    let address = std::mem::take(address);
    if address.is_empty() {
        return 0;
    }
    address.write(out);
    1
}
