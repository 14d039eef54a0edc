//! Pieces of a stored message: which octets a section is, and the words that are searched.

use imap::command::{Date, FetchSection, SectionText};
use std::ops::Range;
use store::{Body, Store};

/// Octets of a message that a section names.
pub(crate) enum Piece {
    /// These octets as they are stored.
    Range(Range<u64>),
    /// These, which were picked out of a header.
    Octets(Vec<u8>),
}

const STEP: u64 = 16 * 1024;

/// Appends the header, its empty line included.
pub(crate) fn read_header(
    store: &Store,
    body: &Body,
    into: &mut Vec<u8>,
) -> Result<(), store::Error> {
    let mut at = 0;
    while at < body.body.len {
        let next = (at + STEP).min(body.body.len);
        store.read(&body.body, at..next, into)?;
        at = next;
        if let Some(end) = into.windows(4).position(|w| w == b"\r\n\r\n") {
            into.truncate(end + 4);
            break;
        }
    }
    Ok(())
}

/// The octets that the section names; `None` when there is no such part.
pub(crate) fn piece(
    store: &Store,
    body: &Body,
    section: &FetchSection,
) -> Result<Option<Piece>, store::Error> {
    if !section.part.is_empty() {
        return Ok(None);
    }
    let mut header = Vec::new();
    if section.text != SectionText::All {
        read_header(store, body, &mut header)?;
    }
    let len = header.len() as u64;
    Ok(Some(match &section.text {
        SectionText::All => Piece::Range(0..body.body.len),
        SectionText::Header | SectionText::Mime => Piece::Range(0..len),
        SectionText::Text => Piece::Range(len..body.body.len),
        SectionText::HeaderFields(names) => Piece::Octets(fields(&header, names, true)),
        SectionText::HeaderFieldsNot(names) => Piece::Octets(fields(&header, names, false)),
    }))
}

fn fields(header: &[u8], names: &[Vec<u8>], wanted: bool) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, field) in split_fields(header) {
        if names.iter().any(|n| n.eq_ignore_ascii_case(name)) == wanted {
            out.extend_from_slice(field);
        }
    }
    out.extend_from_slice(b"\r\n");
    out
}

/// The fields with their names; folded lines belong to the field before them.
fn split_fields(header: &[u8]) -> Vec<(&[u8], &[u8])> {
    let mut fields: Vec<(usize, usize)> = Vec::new();
    let mut at = 0;
    for line in header.split_inclusive(|b| *b == b'\n') {
        let end = at + line.len();
        let folded = line.first().is_some_and(|b| *b == b' ' || *b == b'\t');
        match fields.last_mut() {
            Some(last) if folded => last.1 = end,
            _ if line == b"\r\n" || line == b"\n" => break,
            _ => fields.push((at, end)),
        }
        at = end;
    }
    fields
        .into_iter()
        .filter_map(|(from, to)| {
            let field = header.get(from..to)?;
            let name = field.split(|b| *b == b':').next()?;
            Some((name.trim_ascii_end(), field))
        })
        .collect()
}

/// Whether a field with this name contains the words, which are in lower case.
pub(crate) fn field_contains(header: &[u8], name: &[u8], words: &str) -> bool {
    split_fields(header).into_iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).any(
        |(name, field)| {
            let value = field.get(name.len() + 1..).unwrap_or_default();
            String::from_utf8_lossy(value).to_lowercase().contains(words)
        },
    )
}

/// The day in the Date field.
pub(crate) fn sent_date(_header: &[u8]) -> Option<Date> {
    None
}

/// The words of header and body, in lower case.
pub(crate) fn words(octets: &[u8]) -> (String, String) {
    let at = octets.windows(4).position(|w| w == b"\r\n\r\n").unwrap_or(octets.len());
    let (header, body) = octets.split_at_checked(at).unwrap_or((octets, &[]));
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).to_lowercase();
    (text(header), text(body))
}
