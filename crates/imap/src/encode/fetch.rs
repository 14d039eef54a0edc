//! FETCH responses, item by item.

use super::{decimal, nstring, put, string};
use crate::command::{DateTime, FetchSection, SectionLabel, SectionText};
use crate::number::{ModSeq, SeqNum, Uid};
use std::io::Write;

/// One FETCH response being written. Items are written in the order of the calls.
#[derive(Debug)]
pub struct FetchLine<'a> {
    out: &'a mut Vec<u8>,
    first: bool,
}

impl<'a> FetchLine<'a> {
    /// Begins `* n FETCH (`.
    pub fn begin(out: &'a mut Vec<u8>, number: SeqNum) -> Self {
        out.extend_from_slice(b"* ");
        decimal(out, u64::from(number.value()));
        out.extend_from_slice(b" FETCH (");
        Self { out, first: true }
    }

    /// Goes on with a line of which something has been written already.
    pub fn resume(out: &'a mut Vec<u8>) -> Self {
        Self { out, first: false }
    }

    fn name(&mut self, name: impl AsRef<[u8]>) {
        if !self.first {
            self.out.push(b' ');
        }
        self.first = false;
        self.out.extend_from_slice(name.as_ref());
        self.out.push(b' ');
    }

    /// `UID n`
    pub fn uid(&mut self, uid: Uid) -> &mut Self {
        self.name("UID");
        decimal(self.out, u64::from(uid.value()));
        self
    }

    /// `MODSEQ (n)` [S-42]
    pub fn mod_seq(&mut self, mod_seq: ModSeq) -> &mut Self {
        self.name("MODSEQ");
        self.out.push(b'(');
        decimal(self.out, mod_seq.value());
        self.out.push(b')');
        self
    }

    /// `FLAGS (…)`
    pub fn flags<'n>(&mut self, names: impl IntoIterator<Item = &'n str>) -> &mut Self {
        self.name("FLAGS");
        let mut before = b'(';
        for name in names {
            self.out.push(before);
            self.out.extend_from_slice(name.as_bytes());
            before = b' ';
        }
        self.out.extend_from_slice(if before == b'(' { b"()" } else { b")" });
        self
    }

    /// `INTERNALDATE "…"`
    pub fn internal_date(&mut self, date: DateTime) -> &mut Self {
        self.name("INTERNALDATE");
        self.date(date);
        self
    }

    /// `SAVEDATE "…"` or NIL (RFC 8514)
    pub fn save_date(&mut self, date: Option<DateTime>) -> &mut Self {
        self.name("SAVEDATE");
        match date {
            Some(date) => self.date(date),
            None => self.out.extend_from_slice(b"NIL"),
        }
        self
    }

    fn date(&mut self, date: DateTime) {
        self.out.extend_from_slice(&date.octets());
    }

    /// `RFC822.SIZE n`
    pub fn size(&mut self, octets: u64) -> &mut Self {
        self.name("RFC822.SIZE");
        decimal(self.out, octets);
        self
    }

    /// An item whose value is in wire form already: `ENVELOPE`, `BODY`, `BODYSTRUCTURE`.
    pub fn raw(&mut self, name: &str, value: &[u8]) -> &mut Self {
        self.name(name);
        self.out.extend_from_slice(value);
        self
    }

    /// A section with its octets, NIL when there is no such part.
    pub fn section(&mut self, section: &FetchSection, octets: Option<&[u8]>) -> &mut Self {
        let label = label(section);
        self.name(label);
        match octets {
            // A message's octets go out as they are, NUL included [H8]: always a literal.
            Some(octets) if octets.contains(&0) => {
                put!(self.out, "{{{}}}\r\n", octets.len());
                self.out.extend_from_slice(octets);
            }
            octets => nstring(self.out, octets),
        }
        self
    }

    /// A section as a literal of this length, whose octets the caller writes next.
    pub fn section_literal_header(&mut self, section: &FetchSection, octets: u64) -> &mut Self {
        let label = label(section);
        self.name(label);
        put!(self.out, "{{{octets}}}\r\n");
        self
    }

    /// Ends the response.
    pub fn end(self) {
        self.out.extend_from_slice(b")\r\n");
    }
}

/// The section as the response names it (RFC 3501 §7.4.2). Field names may be any octets, in a literal.
fn label(section: &FetchSection) -> Vec<u8> {
    match section.label {
        SectionLabel::Rfc822 => return "RFC822".into(),
        SectionLabel::Rfc822Header => return "RFC822.HEADER".into(),
        SectionLabel::Rfc822Text => return "RFC822.TEXT".into(),
        SectionLabel::Body => {}
    }
    let mut out = b"BODY[".to_vec();
    for (i, part) in section.part.iter().enumerate() {
        put!(&mut out, "{}{part}", if i > 0 { "." } else { "" });
    }
    let dot = if section.part.is_empty() { "" } else { "." };
    match &section.text {
        SectionText::All => {}
        SectionText::Header => put!(&mut out, "{dot}HEADER"),
        SectionText::Text => put!(&mut out, "{dot}TEXT"),
        SectionText::Mime => put!(&mut out, "{dot}MIME"),
        SectionText::HeaderFields(names) => fields(&mut out, dot, "HEADER.FIELDS", names),
        SectionText::HeaderFieldsNot(names) => fields(&mut out, dot, "HEADER.FIELDS.NOT", names),
    }
    out.push(b']');
    if let Some((start, _)) = section.partial {
        put!(&mut out, "<{start}>");
    }
    out
}

fn fields(out: &mut Vec<u8>, dot: &str, word: &str, names: &[Vec<u8>]) {
    put!(out, "{dot}{word} (");
    for (i, name) in names.iter().enumerate() {
        if i > 0 {
            out.push(b' ');
        }
        let atom = name.iter().all(|b| *b > 0x20 && *b < 0x7f && !b"(){%*\"\\]".contains(b));
        if atom && !name.is_empty() {
            out.extend_from_slice(name);
        } else {
            string(out, name);
        }
    }
    out.push(b')');
}
