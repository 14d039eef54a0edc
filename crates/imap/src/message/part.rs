//! The tree of parts and where each lies.
//!
//! # Standards
//! RFC 2046 §5.1 (multipart: a delimiter's leading line end belongs to it), §5.2.1 (message/rfc822).

use super::header::{Parameters, is_blank, line_len, parameters, slice, value};
use crate::parse::DecodeError;
use std::ops::Range;

/// A part: its header, its body, and what is inside.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Part {
    /// The header's octets, the closing blank line included.
    pub(super) header: Range<u64>,
    /// The body's octets.
    pub(super) body: Range<u64>,
    pub(super) inner: Inner,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Inner {
    /// Nothing further.
    Leaf,
    /// The parts of a multipart; at least one.
    Multipart(Vec<Part>),
    /// The message in a message/rfc822 part.
    Message(Box<Part>),
}

/// How deep parts may nest; deeper ones are leaves.
const DEPTH_MAX: usize = 100;
/// How many parts a message may have; further ones are not looked for.
const PARTS_MAX: usize = 10_000;

/// What may still be spent on one message.
struct Budget {
    parts: usize,
    octets: usize,
}

/// Finds the parts of a message.
pub(super) fn scan(octets: &[u8]) -> Part {
    let mut budget = Budget { parts: PARTS_MAX, octets: octets.len().saturating_mul(20) };
    scan_part(octets, 0..octets.len() as u64, 0, &mut budget, false)
}

fn scan_part(
    octets: &[u8],
    range: Range<u64>,
    depth: usize,
    budget: &mut Budget,
    digest: bool,
) -> Part {
    let text = slice(octets, &range);
    let middle = range.start + header_len(text) as u64;
    let (header, body) = (range.start..middle, middle..range.end);
    let kind = content_type(slice(octets, &header), digest);
    let mut part = Part { header, body, inner: Inner::Leaf };
    budget.parts = budget.parts.saturating_sub(1);
    let len = usize::try_from(part.body.end - part.body.start).unwrap_or(usize::MAX);
    if depth >= DEPTH_MAX || budget.parts == 0 || budget.octets < len {
        return part;
    }
    budget.octets -= len;
    if is(&kind, "message/rfc822") || is(&kind, "message/global") {
        let inner = scan_part(octets, part.body.clone(), depth + 1, budget, false);
        part.inner = Inner::Message(Box::new(inner));
    } else if has_type(&kind, "multipart/") {
        let boundary = kind.get("boundary").filter(|boundary| !boundary.is_empty());
        let ranges = boundary.map(|b| children(octets, &part.body, &b, budget)).unwrap_or_default();
        let digest = is(&kind, "multipart/digest");
        let mut kids: Vec<_> =
            ranges.into_iter().map(|r| scan_part(octets, r, depth + 1, budget, digest)).collect();
        if kids.is_empty() {
            // A multipart without parts is said to have one empty part, as the grammar wants at least one.
            let end = part.body.end..part.body.end;
            kids.push(Part { header: end.clone(), body: end, inner: Inner::Leaf });
        }
        part.inner = Inner::Multipart(kids);
    }
    part
}

/// The length of the header, its closing blank line included.
fn header_len(text: &[u8]) -> usize {
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        if is_blank(rest) {
            return at + line_len(rest);
        }
        at += line_len(rest);
    }
    text.len()
}

/// The Content-Type with its defaults (RFC 2045 §5.2, RFC 2046 §5.1.5).
pub(super) fn content_type(header: &[u8], digest: bool) -> Parameters {
    let given = value(header, "Content-Type").map(|text| parameters(&text));
    let whole = |p: &Parameters| {
        let slash = p.value.iter().position(|b| *b == b'/');
        slash.is_some_and(|at| at > 0 && at + 1 < p.value.len())
    };
    given.filter(whole).unwrap_or_else(|| {
        if digest {
            return Parameters { value: b"message/rfc822".to_vec(), list: Vec::new() };
        }
        let charset = (b"charset".to_vec(), b"us-ascii".to_vec());
        Parameters { value: b"text/plain".to_vec(), list: vec![charset] }
    })
}

pub(super) fn is(kind: &Parameters, name: &str) -> bool {
    kind.value.eq_ignore_ascii_case(name.as_bytes())
}

pub(super) fn has_type(kind: &Parameters, prefix: &str) -> bool {
    let head = kind.value.get(..prefix.len());
    head.is_some_and(|head| head.eq_ignore_ascii_case(prefix.as_bytes()))
}

/// The octets of each part between delimiters.
fn children(octets: &[u8], body: &Range<u64>, boundary: &[u8], budget: &Budget) -> Vec<Range<u64>> {
    let text = slice(octets, body);
    let boundary = boundary.trim_ascii_end();
    let mut found = Vec::new();
    let mut open: Option<usize> = None;
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let len = line_len(rest);
        if let Some(last) = delimiter(rest.get(..len).unwrap_or_default(), boundary) {
            if let Some(start) = open.take() {
                found.push(start..before_line_end(text, start, at));
            }
            if last || found.len() >= budget.parts {
                at = text.len();
                break;
            }
            open = Some(at + len);
        }
        at += len;
    }
    if let Some(start) = open {
        found.push(start.min(at)..at);
    }
    let offset = |n: usize| body.start + n as u64;
    found.into_iter().map(|r| offset(r.start)..offset(r.end)).collect()
}

/// Whether the line is a delimiter, and if so whether it is the last one.
fn delimiter(line: &[u8], boundary: &[u8]) -> Option<bool> {
    let rest = line.strip_prefix(b"--")?.strip_prefix(boundary)?.trim_ascii_end();
    match rest {
        b"" => Some(false),
        b"--" => Some(true),
        _ => None,
    }
}

/// The end of a part: the line end before the delimiter belongs to the delimiter.
fn before_line_end(text: &[u8], start: usize, at: usize) -> usize {
    let part = text.get(start..at).unwrap_or_default();
    let part = part.strip_suffix(b"\n").unwrap_or(part);
    start + part.strip_suffix(b"\r").unwrap_or(part).len()
}

impl Part {
    /// The part with these numbers (RFC 3501 §6.4.5); the empty path is the message itself.
    pub(super) fn find(&self, path: &[u32]) -> Option<&Self> {
        let Some((first, rest)) = path.split_first() else { return Some(self) };
        let index = usize::try_from(*first).ok()?.checked_sub(1)?;
        let part = match &self.inner {
            Inner::Multipart(parts) => parts.get(index)?,
            // A message that is no multipart has one part, number 1: its own body.
            _ if index == 0 => self,
            _ => return None,
        };
        match (&part.inner, rest) {
            (_, []) => Some(part),
            (Inner::Message(inner), rest) => inner.find(rest),
            (Inner::Multipart(_), rest) => part.find(rest),
            (Inner::Leaf, _) => None,
        }
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        write_number(out, self.header.start);
        write_number(out, self.header.end - self.header.start);
        write_number(out, self.body.end - self.body.start);
        match &self.inner {
            Inner::Leaf => out.push(0),
            Inner::Message(inner) => {
                out.push(1);
                inner.write(out);
            }
            Inner::Multipart(parts) => {
                out.push(2);
                write_number(out, parts.len() as u64);
                parts.iter().for_each(|part| part.write(out));
            }
        }
    }

    /// Reads where the part lies, and not what is inside.
    pub(super) fn read_ends(rest: &mut &[u8]) -> Result<Self, DecodeError> {
        let bad = || DecodeError::new(0, "a part of a structure");
        let start = read_number(rest)?;
        let middle = start.checked_add(read_number(rest)?).ok_or_else(bad)?;
        let end = middle.checked_add(read_number(rest)?).ok_or_else(bad)?;
        Ok(Self { header: start..middle, body: middle..end, inner: Inner::Leaf })
    }

    /// Reads the part with what is inside.
    pub(super) fn read(rest: &mut &[u8], depth: usize) -> Result<Self, DecodeError> {
        let bad = || DecodeError::new(0, "a part of a structure");
        let ends = Self::read_ends(rest)?;
        let inner = match read_number(rest)? {
            _ if depth > DEPTH_MAX + 1 => return Err(bad()),
            0 => Inner::Leaf,
            1 => Inner::Message(Box::new(Self::read(rest, depth + 1)?)),
            2 => {
                let count = read_number(rest)?;
                let parts = (0..count).map(|_| Self::read(rest, depth + 1));
                Inner::Multipart(parts.collect::<Result<_, _>>()?)
            }
            _ => return Err(bad()),
        };
        Ok(Self { inner, ..ends })
    }
}

/// LEB128.
pub(super) fn write_number(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let low = u8::try_from(value & 0x7f).unwrap_or(0);
        value >>= 7;
        if value == 0 {
            return out.push(low);
        }
        out.push(low | 0x80);
    }
}

/// Reads what [`write_number`] wrote.
pub(super) fn read_number(rest: &mut &[u8]) -> Result<u64, DecodeError> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let cut = || DecodeError::new(0, "a whole structure");
        let (byte, behind) = rest.split_first().ok_or_else(cut)?;
        *rest = behind;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(DecodeError::new(0, "a number of at most 64 bits"))
}
