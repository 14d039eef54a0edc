//! What is computed about a message once, at arrival: ENVELOPE, BODY and BODYSTRUCTURE as they stand on the
//! wire, and where in its octets each part lies.
//!
//! # Invariants
//! - Never fails: broken MIME gives the best structure that can be said, always well formed.
//! - Offsets point into the octets as they were appended: sections come back octet for octet [H8].
//! - Nesting, the number of parts and the work are bounded, whatever the message.
//!
//! # Standards
//! RFC 3501 §6.4.5 and §7.4.2, RFC 2045, RFC 2046 §5.1. Decoding for SEARCH is `mail-parser`'s.

mod address;
mod header;
mod part;
mod structure;
mod text;

use crate::command::{FetchSection, SectionText};
use crate::parse::DecodeError;
pub use header::filter_fields;
use part::{Inner, Part};
use std::ops::Range;
pub use text::{searchable_field, searchable_text, sent_date};

/// A message's structure, kept in its stored form: most of what is asked of it stands there ready to be sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Structure {
    stored: Vec<u8>,
    envelope: Range<usize>,
    body: Range<usize>,
    bodystructure: Range<usize>,
    /// The tree of parts, read when a part is asked for.
    parts: Range<usize>,
}

/// What a section consists of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Piece {
    /// These octets of the message.
    Octets(Range<u64>),
    /// These octets, a header, filtered by [`filter_fields`].
    Fields {
        /// The header's octets.
        header: Range<u64>,
        /// Field names in any case.
        names: Vec<Vec<u8>>,
        /// Whether the named fields are left out rather than kept.
        not: bool,
    },
}

/// Computes a message's structure.
#[must_use]
pub fn analyse(octets: &[u8]) -> Structure {
    let root = part::scan(octets);
    let mut stored = vec![VERSION];
    let mut text = Vec::new();
    let mut put = |write: &dyn Fn(&mut Vec<u8>)| {
        text.clear();
        write(&mut text);
        part::write_number(&mut stored, text.len() as u64);
        let begin = stored.len();
        stored.extend_from_slice(&text);
        begin..stored.len()
    };
    let envelope = put(&|out| structure::envelope(out, octets, &root));
    let body = put(&|out| structure::body(out, octets, &root, false));
    let bodystructure = put(&|out| structure::body(out, octets, &root, true));
    let parts = put(&|out| root.write(out));
    Structure { stored, envelope, body, bodystructure, parts }
}

const VERSION: u8 = 1;

impl Structure {
    fn part(&self, range: &Range<usize>) -> &[u8] {
        self.stored.get(range.clone()).unwrap_or_default()
    }

    /// The value of ENVELOPE.
    #[must_use]
    pub fn envelope(&self) -> &[u8] {
        self.part(&self.envelope)
    }

    /// The value of BODY.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        self.part(&self.body)
    }

    /// The value of BODYSTRUCTURE.
    #[must_use]
    pub fn bodystructure(&self) -> &[u8] {
        self.part(&self.bodystructure)
    }

    /// The message's header, its closing blank line included.
    #[must_use]
    pub fn header(&self) -> Range<u64> {
        Part::read_ends(&mut self.part(&self.parts)).map_or(0..0, |root| root.header)
    }

    /// What the section consists of; `None` when there is no such part.
    #[must_use]
    pub fn section(&self, section: &FetchSection) -> Option<Piece> {
        let mut parts = self.part(&self.parts);
        let whole = section.part.is_empty();
        let root = if whole { Part::read_ends(&mut parts) } else { Part::read(&mut parts, 0) };
        let root = root.ok()?;
        let part = root.find(&section.part)?;
        // HEADER and TEXT of a part mean the message inside a message/rfc822 part.
        let message = match (&part.inner, whole) {
            (_, true) => Some(part),
            (Inner::Message(inner), false) => Some(inner.as_ref()),
            _ => None,
        };
        Some(match &section.text {
            SectionText::All if whole => Piece::Octets(part.header.start..part.body.end),
            SectionText::All => Piece::Octets(part.body.clone()),
            SectionText::Mime => Piece::Octets(part.header.clone()),
            SectionText::Header => Piece::Octets(message?.header.clone()),
            SectionText::Text => Piece::Octets(message?.body.clone()),
            SectionText::HeaderFields(names) | SectionText::HeaderFieldsNot(names) => {
                Piece::Fields {
                    header: message?.header.clone(),
                    names: names.clone(),
                    not: matches!(section.text, SectionText::HeaderFieldsNot(_)),
                }
            }
        })
    }

    /// The stored form.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.stored
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// When it is cut short or of another version.
    pub fn from_bytes(octets: &[u8]) -> Result<Self, DecodeError> {
        let mut rest = octets;
        if part::read_number(&mut rest)? != u64::from(VERSION) {
            return Err(DecodeError::new(0, "a structure of version 1"));
        }
        let mut text = || {
            let len = usize::try_from(part::read_number(&mut rest)?).unwrap_or(usize::MAX);
            let begin = octets.len() - rest.len();
            let cut = || DecodeError::new(begin, "a whole structure");
            rest = rest.get(len..).ok_or_else(cut)?;
            Ok(begin..begin + len)
        };
        let (envelope, body, bodystructure, parts) = (text()?, text()?, text()?, text()?);
        let stored = octets.to_vec();
        Ok(Self { stored, envelope, body, bodystructure, parts })
    }
}

#[cfg(test)]
mod tests;
