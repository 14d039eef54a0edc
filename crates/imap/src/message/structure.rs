//! ENVELOPE and BODYSTRUCTURE on the wire.
//!
//! # Standards
//! RFC 3501 §7.4.2 and §9 (`envelope`, `body`).

use super::address::addresses;
use super::header::{Parameters, parameters, slice, value};
use super::part::{Inner, Part, content_type};
use crate::encode::{nstring, put, string};
use std::io::Write;

/// `envelope`: ten fields; Sender and Reply-To default to From.
pub(super) fn envelope(out: &mut Vec<u8>, octets: &[u8], message: &Part) {
    let header = slice(octets, &message.header);
    out.push(b'(');
    for name in ["Date", "Subject"] {
        nstring(out, value(header, name).as_deref());
        out.push(b' ');
    }
    let from = value(header, "From");
    for name in ["From", "Sender", "Reply-To", "To", "Cc", "Bcc"] {
        let given = value(header, name).filter(|text| !text.is_empty());
        let text = match name {
            "Sender" | "Reply-To" => given.or_else(|| from.clone()),
            _ => given,
        };
        addresses(out, text.as_deref().unwrap_or_default());
        out.push(b' ');
    }
    nstring(out, value(header, "In-Reply-To").as_deref());
    out.push(b' ');
    nstring(out, value(header, "Message-ID").as_deref());
    out.push(b')');
}

/// `body`, with the extension data of BODYSTRUCTURE if asked.
pub(super) fn body(out: &mut Vec<u8>, octets: &[u8], part: &Part, extended: bool) {
    body_in(out, octets, part, extended, false);
}

fn body_in(out: &mut Vec<u8>, octets: &[u8], part: &Part, extended: bool, digest: bool) {
    let header = slice(octets, &part.header);
    let mut kind = content_type(header, digest);
    // What is inside decides: a multipart or message too deep to look into is said to be a leaf.
    let says = |prefix: &str| super::part::has_type(&kind, prefix);
    let leaf = matches!(part.inner, Inner::Leaf);
    let encapsulated =
        super::part::is(&kind, "message/rfc822") || super::part::is(&kind, "message/global");
    if leaf && (says("multipart/") || encapsulated) {
        kind = Parameters { value: b"application/octet-stream".to_vec(), list: Vec::new() };
    }
    out.push(b'(');
    match &part.inner {
        Inner::Multipart(parts) => multipart(out, octets, parts, &kind, extended),
        Inner::Message(_) | Inner::Leaf => single(out, octets, part, &kind, extended),
    }
    if extended {
        if !matches!(part.inner, Inner::Multipart(_)) {
            out.push(b' ');
            nstring(out, value(header, "Content-MD5").as_deref());
        }
        extension(out, header);
    }
    out.push(b')');
}

/// `1*body SP media-subtype [SP body-ext-mpart]`
fn multipart(out: &mut Vec<u8>, octets: &[u8], parts: &[Part], kind: &Parameters, extended: bool) {
    let digest = super::part::is(kind, "multipart/digest");
    for part in parts {
        body_in(out, octets, part, extended, digest);
    }
    out.push(b' ');
    string(out, &halves(kind).1);
    if extended {
        out.push(b' ');
        parameter_list(out, kind);
    }
}

/// `media-type SP body-fields [SP envelope SP body] [SP body-fld-lines]`
fn single(out: &mut Vec<u8>, octets: &[u8], part: &Part, kind: &Parameters, extended: bool) {
    let header = slice(octets, &part.header);
    let (main, sub) = halves(kind);
    string(out, &main);
    out.push(b' ');
    string(out, &sub);
    out.push(b' ');
    parameter_list(out, kind);
    for name in ["Content-ID", "Content-Description"] {
        out.push(b' ');
        nstring(out, value(header, name).as_deref());
    }
    out.push(b' ');
    let encoding = value(header, "Content-Transfer-Encoding").map(|text| parameters(&text).value);
    let encoding = encoding.filter(|text| !text.is_empty()).unwrap_or_else(|| b"7bit".to_vec());
    string(out, &encoding);
    put!(out, " {}", part.body.end - part.body.start);
    if let Inner::Message(inner) = &part.inner {
        out.push(b' ');
        envelope(out, octets, inner);
        out.push(b' ');
        body_in(out, octets, inner, extended, false);
    }
    if main.eq_ignore_ascii_case(b"text") || matches!(part.inner, Inner::Message(_)) {
        let lines = slice(octets, &part.body).iter().filter(|b| **b == b'\n').count();
        put!(out, " {lines}");
    }
}

/// `SP body-fld-dsp SP body-fld-lang SP body-fld-loc`
fn extension(out: &mut Vec<u8>, header: &[u8]) {
    out.push(b' ');
    match value(header, "Content-Disposition").map(|text| parameters(&text)) {
        Some(disposition) if !disposition.value.is_empty() => {
            out.push(b'(');
            string(out, &disposition.value);
            out.push(b' ');
            parameter_list(out, &disposition);
            out.push(b')');
        }
        _ => out.extend_from_slice(b"NIL"),
    }
    out.push(b' ');
    let languages = value(header, "Content-Language").unwrap_or_default();
    let languages: Vec<_> =
        languages.split(|b| *b == b',').map(<[u8]>::trim_ascii).filter(|l| !l.is_empty()).collect();
    match languages.as_slice() {
        [] => out.extend_from_slice(b"NIL"),
        [one] => string(out, one),
        many => {
            out.push(b'(');
            for (i, language) in many.iter().enumerate() {
                if i > 0 {
                    out.push(b' ');
                }
                string(out, language);
            }
            out.push(b')');
        }
    }
    out.push(b' ');
    nstring(out, value(header, "Content-Location").as_deref());
}

fn halves(kind: &Parameters) -> (Vec<u8>, Vec<u8>) {
    let mut halves = kind.value.splitn(2, |b| *b == b'/').map(|half| half.trim_ascii().to_vec());
    (halves.next().unwrap_or_default(), halves.next().unwrap_or_default())
}

/// `body-fld-param = "(" string SP string *(SP string SP string) ")" / nil`
fn parameter_list(out: &mut Vec<u8>, kind: &Parameters) {
    if kind.list.is_empty() {
        out.extend_from_slice(b"NIL");
        return;
    }
    for (i, (name, value)) in kind.list.iter().enumerate() {
        out.push(if i == 0 { b'(' } else { b' ' });
        string(out, name);
        out.push(b' ');
        string(out, value);
    }
    out.push(b')');
}
