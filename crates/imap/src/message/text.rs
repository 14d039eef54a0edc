//! A message's text as a person reads it, for SEARCH: encoded words, transfer encodings and charsets decoded.
//!
//! # Standards
//! RFC 2047, RFC 2045 §6; RFC 3501 §6.4.4 (SENTBEFORE and its kin disregard time and zone).

use super::header::{Parameters, fields, parameters, slice, unfold, value};
use super::part::{self, Inner, Part};
use crate::command::Date;
use mail_parser::{HeaderName, MessageParser, PartType};
use std::borrow::Cow;

/// The value of each field with this name, decoded.
#[must_use]
pub fn searchable_field(header: &[u8], name: &[u8]) -> Vec<String> {
    let named = fields(header).filter(|field| field.name.eq_ignore_ascii_case(name));
    named.map(|field| decode_words(&unfold(field.value))).collect()
}

/// All header fields and all text parts, decoded; `headers` chooses whether the message's own header is in it.
///
/// The parts are those of [`super::analyse`], whose nesting is bounded; only one part at a time is decoded.
#[must_use]
pub fn searchable_text(octets: &[u8], headers: bool) -> String {
    let mut out = String::new();
    collect(octets, &part::scan(octets), headers, false, &mut out);
    out
}

fn collect(octets: &[u8], part: &Part, headers: bool, digest: bool, out: &mut String) {
    let header = slice(octets, &part.header);
    if headers {
        for field in fields(header) {
            out.push_str(&String::from_utf8_lossy(field.name));
            out.push_str(": ");
            out.push_str(&decode_words(&unfold(field.value)));
            out.push('\n');
        }
    }
    let kind = part::content_type(header, digest);
    match &part.inner {
        // BODY leaves out the message's own header, not those inside it.
        Inner::Message(inner) => collect(octets, inner, true, false, out),
        // A multipart in which no part was found is read as it stands.
        Inner::Multipart(parts)
            if parts.iter().all(|found| found.header.start == part.body.end) =>
        {
            out.push_str(&String::from_utf8_lossy(slice(octets, &part.body)));
            out.push('\n');
        }
        Inner::Multipart(parts) => {
            let digest = part::is(&kind, "multipart/digest");
            parts.iter().for_each(|part| collect(octets, part, true, digest, out));
        }
        Inner::Leaf if part::has_type(&kind, "text/") => {
            out.push_str(&decoded(slice(octets, &part.body), header, &kind));
            out.push('\n');
        }
        Inner::Leaf => {}
    }
}

/// A text part's body with its transfer encoding and charset decoded.
fn decoded<'a>(body: &'a [u8], header: &[u8], kind: &Parameters) -> Cow<'a, str> {
    let encoding = value(header, "Content-Transfer-Encoding").map(|text| parameters(&text).value);
    let encoding = token(&encoding.unwrap_or_default());
    let charset = token(&kind.get("charset").unwrap_or_default());
    let encoded = ["base64", "quoted-printable"].contains(&encoding.as_str());
    if !encoded && ["", "us-ascii", "utf-8"].contains(&charset.as_str()) {
        return String::from_utf8_lossy(body);
    }
    let mut message = format!("Content-Type: text/plain; charset=\"{charset}\"\r\n").into_bytes();
    message.extend_from_slice(format!("Content-Transfer-Encoding: {encoding}\r\n\r\n").as_bytes());
    message.extend_from_slice(body);
    let parsed = MessageParser::default().parse(&message);
    let text = parsed.as_ref().and_then(|message| match &message.parts.first()?.body {
        PartType::Text(text) | PartType::Html(text) => Some(text.clone().into_owned()),
        _ => None,
    });
    text.map_or_else(|| String::from_utf8_lossy(body), Cow::Owned)
}

/// The name of a charset or an encoding in small letters, without what such a name cannot hold.
fn token(name: &[u8]) -> String {
    let plain = name.iter().filter(|b| b.is_ascii_alphanumeric() || b"-_.:+".contains(b));
    plain.map(|b| char::from(b.to_ascii_lowercase())).collect()
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
