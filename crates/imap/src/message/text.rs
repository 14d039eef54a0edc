//! A message's text as a person reads it, for SEARCH: encoded words, transfer encodings and charsets decoded.
//!
//! # Standards
//! RFC 2047, RFC 2045 §6; RFC 3501 §6.4.4 (SENTBEFORE and its kin disregard time and zone).

use super::header::{fields, unfold, value};
use crate::command::Date;
use mail_parser::{HeaderName, HeaderValue, MessageParser, PartType};

/// The value of each field with this name, decoded.
#[must_use]
pub fn searchable_field(header: &[u8], name: &[u8]) -> Vec<String> {
    let named = fields(header).filter(|field| field.name.eq_ignore_ascii_case(name));
    named.map(|field| decode_words(&unfold(field.value))).collect()
}

/// All header fields and all text parts, decoded; `headers` chooses whether headers are in it.
#[must_use]
pub fn searchable_text(octets: &[u8], headers: bool) -> String {
    let mut out = String::new();
    let parser = MessageParser::new().default_header_text();
    if let Some(message) = parser.parse(octets) {
        collect(&message, headers, &mut out, 0);
    }
    out
}

/// How deep messages inside messages are read.
const DEPTH_MAX: usize = 100;

fn collect(message: &mail_parser::Message<'_>, headers: bool, out: &mut String, depth: usize) {
    for (index, part) in message.parts.iter().enumerate() {
        // TEXT looks at every header; BODY leaves out the message's own, not those inside it.
        if headers || index > 0 || depth > 0 {
            for header in &part.headers {
                out.push_str(header.name.as_str());
                out.push_str(": ");
                match &header.value {
                    HeaderValue::Text(text) => out.push_str(text),
                    // Addresses, dates and the like: as they stand, with their encoded words decoded.
                    _ => {
                        let from = usize::try_from(header.offset_start).unwrap_or(usize::MAX);
                        let to = usize::try_from(header.offset_end).unwrap_or(usize::MAX);
                        let raw = message.raw_message.get(from..to).unwrap_or_default();
                        out.push_str(&decode_words(&unfold(raw)));
                    }
                }
                out.push('\n');
            }
        }
        match &part.body {
            PartType::Text(text) | PartType::Html(text) => {
                out.push_str(text);
                out.push('\n');
            }
            PartType::Message(inner) if depth < DEPTH_MAX => collect(inner, true, out, depth + 1),
            _ => {}
        }
    }
}

/// A field's value with its encoded words decoded (RFC 2047).
fn decode_words(value: &[u8]) -> String {
    if !value.windows(2).any(|pair| pair == b"=?") {
        return String::from_utf8_lossy(value).into_owned();
    }
    let line = [b"X: ".as_slice(), value, b"\r\n\r\n"].concat();
    let parser = MessageParser::new().header_text(HeaderName::Other("X".into()));
    let decoded = parser.parse_headers(&line).and_then(|message| {
        let header = message.parts.first()?.headers.first()?.value.as_text()?.to_owned();
        Some(header)
    });
    decoded.unwrap_or_else(|| String::from_utf8_lossy(value).into_owned())
}

/// The day in the Date field, in its own zone; `None` when there is none that can be read.
#[must_use]
pub fn sent_date(header: &[u8]) -> Option<Date> {
    let text = String::from_utf8_lossy(&value(header, "Date")?).into_owned();
    let date = mail_parser::DateTime::parse_rfc822(&text)?;
    Date::from_civil(i32::from(date.year), u32::from(date.month), u32::from(date.day))
}
