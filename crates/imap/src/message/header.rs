//! Header fields: finding them, unfolding them, and reading the parameters of MIME fields.
//!
//! # Standards
//! RFC 5322 §2.2, RFC 2045 §5.1, RFC 2183, RFC 2231.

use std::ops::Range;

/// A field: its name, its value still folded, and all its octets.
pub(super) struct Field<'a> {
    pub(super) name: &'a [u8],
    pub(super) value: &'a [u8],
    pub(super) whole: &'a [u8],
}

/// The fields up to the blank line, in order; lines that are no field belong to none.
pub(super) fn fields(header: &[u8]) -> impl Iterator<Item = Field<'_>> {
    let mut rest = header;
    std::iter::from_fn(move || {
        loop {
            if rest.is_empty() || is_blank(rest) {
                return None;
            }
            let mut end = line_len(rest);
            while matches!(rest.get(end), Some(b' ' | b'\t'))
                && !is_blank(rest.get(end..).unwrap_or_default())
            {
                end += line_len(rest.get(end..).unwrap_or_default());
            }
            let (whole, behind) = rest.split_at(end);
            rest = behind;
            let Some(colon) = whole.iter().position(|b| *b == b':') else { continue };
            let name = whole.get(..colon).unwrap_or_default().trim_ascii_end();
            if name.is_empty() || name.iter().any(|b| *b <= b' ' || *b >= 0x7f) {
                continue;
            }
            return Some(Field { name, value: whole.get(colon + 1..).unwrap_or_default(), whole });
        }
    })
}

/// The length of the first line, its end included.
pub(super) fn line_len(octets: &[u8]) -> usize {
    octets.iter().position(|b| *b == b'\n').map_or(octets.len(), |at| at + 1)
}

/// Whether the octets begin with an empty line.
pub(super) fn is_blank(octets: &[u8]) -> bool {
    octets.starts_with(b"\r\n") || octets.starts_with(b"\n")
}

/// The value of the first field with this name, unfolded and trimmed.
pub(super) fn value(header: &[u8], name: &str) -> Option<Vec<u8>> {
    let found = fields(header).find(|field| field.name.eq_ignore_ascii_case(name.as_bytes()))?;
    Some(unfold(found.value))
}

/// The value on one line: line ends go, the space that follows them stays.
pub(super) fn unfold(value: &[u8]) -> Vec<u8> {
    let line: Vec<u8> = value.iter().copied().filter(|b| !matches!(b, b'\r' | b'\n' | 0)).collect();
    line.trim_ascii().to_vec()
}

/// The header with only the named fields, or all but them, and its closing blank line, if it has one
/// (RFC 3501 §6.4.5: a message without a body may have none).
#[must_use]
pub fn filter_fields(header: &[u8], names: &[Vec<u8>], not: bool) -> Vec<u8> {
    let mut out = Vec::new();
    for field in fields(header) {
        let named = names.iter().any(|name| name.eq_ignore_ascii_case(field.name));
        if named != not {
            out.extend_from_slice(field.whole);
        }
    }
    out.extend_from_slice(blank_line(header));
    out
}

/// The empty line that the header ends in, as it was sent.
fn blank_line(header: &[u8]) -> &[u8] {
    for end in [b"\r\n".as_slice(), b"\n"] {
        if header.strip_suffix(end).is_some_and(|rest| rest.is_empty() || rest.ends_with(b"\n")) {
            return end;
        }
    }
    b""
}

/// A MIME field's value and parameters, as Content-Type and Content-Disposition have them.
#[derive(Default)]
pub(super) struct Parameters {
    pub(super) value: Vec<u8>,
    pub(super) list: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Parameters {
    /// The value of a parameter, also in the forms of RFC 2231: `name*`, `name*0`, `name*0*` and so on.
    pub(super) fn get(&self, name: &str) -> Option<Vec<u8>> {
        if let Some(plain) = self.exactly(name) {
            return Some(plain.to_vec());
        }
        if let Some(extended) = self.exactly(&format!("{name}*")) {
            return Some(percent_decoded(without_charset(extended)));
        }
        let mut joined = None;
        for index in 0..self.list.len() {
            if let Some(plain) = self.exactly(&format!("{name}*{index}")) {
                joined.get_or_insert_with(Vec::new).extend_from_slice(plain);
            } else if let Some(extended) = self.exactly(&format!("{name}*{index}*")) {
                let extended = if index == 0 { without_charset(extended) } else { extended };
                joined.get_or_insert_with(Vec::new).extend(percent_decoded(extended));
            } else {
                break;
            }
        }
        joined
    }

    fn exactly(&self, name: &str) -> Option<&[u8]> {
        let found = self.list.iter().find(|(key, _)| key.eq_ignore_ascii_case(name.as_bytes()));
        found.map(|(_, value)| value.as_slice())
    }
}

/// What follows `[charset] "'" [language] "'"` (RFC 2231 §7), or all of it without those.
fn without_charset(text: &[u8]) -> &[u8] {
    text.splitn(3, |b| *b == b'\'').nth(2).unwrap_or(text)
}

/// The octets with each `%` and two hexadecimal digits replaced (RFC 2231 §7).
fn percent_decoded(text: &[u8]) -> Vec<u8> {
    let digit = |at: usize| {
        let digit = char::from(*text.get(at)?).to_digit(16)?;
        u8::try_from(digit).ok()
    };
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&b) = text.get(at) {
        match (b, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push(high << 4 | low);
                at += 3;
            }
            _ => {
                out.push(b);
                at += 1;
            }
        }
    }
    out
}

/// The most parameters that are looked at.
const PARAMETERS_MAX: usize = 100;

/// `value *(";" attribute "=" (token / quoted-string))`, comments left out.
pub(super) fn parameters(text: &[u8]) -> Parameters {
    let text = without_comments(text);
    let (value, mut rest) = split(&text, b';');
    let mut parsed = Parameters { value: value.trim_ascii().to_vec(), list: Vec::new() };
    while let Some(more) = rest {
        if parsed.list.len() == PARAMETERS_MAX {
            break;
        }
        let (one, behind) = split(more, b';');
        rest = behind;
        let (name, value) = split(one, b'=');
        let name = name.trim_ascii();
        if let Some(value) = value.filter(|_| !name.is_empty()) {
            parsed.list.push((name.to_vec(), unquote(value.trim_ascii())));
        }
    }
    parsed
}

/// Splits at the first octet `at` that is not inside quotes.
fn split(text: &[u8], at: u8) -> (&[u8], Option<&[u8]>) {
    let mut quoted = false;
    let mut escaped = false;
    for (i, &b) in text.iter().enumerate() {
        match b {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b if b == at && !quoted => {
                return (text.get(..i).unwrap_or_default(), text.get(i + 1..));
            }
            _ => {}
        }
    }
    (text, None)
}

/// A quoted string without its quotes and backslashes; anything else as it is.
pub(super) fn unquote(text: &[u8]) -> Vec<u8> {
    let Some(inner) = text.strip_prefix(b"\"") else { return text.to_vec() };
    let mut out = Vec::with_capacity(inner.len());
    let mut escaped = false;
    for &b in inner {
        match b {
            b'\\' if !escaped => escaped = true,
            b'"' if !escaped => break,
            b => {
                escaped = false;
                out.push(b);
            }
        }
    }
    out
}

/// The text with each comment, which may nest, replaced by a space.
fn without_comments(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for &b in text {
        let plain = depth == 0;
        match b {
            _ if escaped => escaped = false,
            b'\\' if quoted || depth > 0 => escaped = true,
            b'"' if plain => quoted = !quoted,
            b'(' if !quoted => {
                depth += 1;
                out.push(b' ');
            }
            b')' if !plain && !quoted => {
                depth -= 1;
                continue;
            }
            _ => {}
        }
        if depth == 0 {
            out.push(b);
        }
    }
    out
}

/// The octets of a range of the message.
pub(super) fn slice<'a>(octets: &'a [u8], range: &Range<u64>) -> &'a [u8] {
    let at = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    octets.get(at(range.start)..at(range.end)).unwrap_or_default()
}
