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

/// A message's structure.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Structure {
    envelope: Vec<u8>,
    body: Vec<u8>,
    bodystructure: Vec<u8>,
    root: Part,
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
    let mut envelope = Vec::new();
    let mut body = Vec::new();
    let mut bodystructure = Vec::new();
    structure::envelope(&mut envelope, octets, &root);
    structure::body(&mut body, octets, &root, false);
    structure::body(&mut bodystructure, octets, &root, true);
    Structure { envelope, body, bodystructure, root }
}

const VERSION: u8 = 1;

impl Structure {
    /// The value of ENVELOPE.
    #[must_use]
    pub fn envelope(&self) -> &[u8] {
        &self.envelope
    }

    /// The value of BODY.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The value of BODYSTRUCTURE.
    #[must_use]
    pub fn bodystructure(&self) -> &[u8] {
        &self.bodystructure
    }

    /// The message's header, its closing blank line included.
    #[must_use]
    pub fn header(&self) -> Range<u64> {
        self.root.header.clone()
    }

    /// What the section consists of; `None` when there is no such part.
    #[must_use]
    pub fn section(&self, section: &FetchSection) -> Option<Piece> {
        let part = self.root.find(&section.part)?;
        let whole = section.part.is_empty();
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
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        for octets in [&self.envelope, &self.body, &self.bodystructure] {
            part::write_number(&mut out, octets.len() as u64);
            out.extend_from_slice(octets);
        }
        self.root.write(&mut out);
        out
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// When it is cut short or of another version.
    pub fn from_bytes(octets: &[u8]) -> Result<Self, DecodeError> {
        let mut rest = octets;
        let version = part::read_number(&mut rest)?;
        if version != u64::from(VERSION) {
            return Err(DecodeError::new(0, "a structure of version 1"));
        }
        let mut text = || {
            let len = usize::try_from(part::read_number(&mut rest)?).unwrap_or(usize::MAX);
            let cut = || DecodeError::new(0, "a whole structure");
            let (text, behind) = rest.split_at_checked(len).ok_or_else(cut)?;
            rest = behind;
            Ok(text.to_vec())
        };
        let (envelope, body, bodystructure) = (text()?, text()?, text()?);
        let root = Part::read(&mut rest, 0)?;
        Ok(Self { envelope, body, bodystructure, root })
    }
}

#[cfg(test)]
mod tests;
