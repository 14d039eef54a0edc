//! Modified UTF-7, the form of mailbox names on the wire.
//!
//! # Invariants
//! - Strict: a name has exactly one encoded form, and only that one is accepted.
//! - `decode(encode(name)) == name` for every name.
//!
//! # Standards
//! RFC 3501 §5.1.3. Names that are UTF-8 already are accepted as they are, since clients send them.

use crate::parse::DecodeError;
use base64::Engine as _;
use base64::alphabet::IMAP_MUTF7;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use std::borrow::Cow;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &IMAP_MUTF7,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone),
);

/// The name in UTF-8.
///
/// # Errors
/// When the octets are neither modified UTF-7 nor UTF-8.
pub fn decode(octets: &[u8]) -> Result<String, DecodeError> {
    let text = std::str::from_utf8(octets).map_err(|error| {
        DecodeError::new(error.valid_up_to(), "a mailbox name in modified UTF-7")
    })?;
    let mut name = String::with_capacity(text.len());
    let mut rest = text;
    let mut after_shift = false;
    while let Some((plain, shifted)) = rest.split_once('&') {
        let at = text.len() - shifted.len();
        let bad = |what: &'static str| DecodeError::new(at, what);
        name.push_str(plain);
        let (code, next) =
            shifted.split_once('-').ok_or_else(|| bad("a - that ends the encoded part"))?;
        rest = next;
        if code.is_empty() {
            name.push('&');
            after_shift = false;
            continue;
        }
        if after_shift && plain.is_empty() {
            return Err(bad("one encoded part instead of two side by side"));
        }
        name.push_str(
            &decode_shifted(code).ok_or_else(|| bad("modified base64 of non-ASCII characters"))?,
        );
        after_shift = true;
    }
    name.push_str(rest);
    match name.find(['\0', '\r', '\n']) {
        Some(at) => Err(DecodeError::new(at, "a mailbox name without NUL, CR and LF")),
        None => Ok(name),
    }
}

/// The characters of one encoded part; `None` unless it is the one form that they have.
fn decode_shifted(code: &str) -> Option<String> {
    let octets = BASE64.decode(code).ok()?;
    if octets.len() % 2 != 0 {
        return None;
    }
    let units: Vec<u16> =
        octets.as_chunks::<2>().0.iter().map(|pair| u16::from_be_bytes(*pair)).collect();
    let text = String::from_utf16(&units).ok()?;
    let all_foreign = !text.is_empty() && !text.chars().any(|ch| (' '..='~').contains(&ch));
    (all_foreign && BASE64.encode(&octets) == code).then_some(text)
}

/// The name in modified UTF-7.
#[must_use]
pub fn encode(name: &str) -> Cow<'_, str> {
    if name.bytes().all(|octet| (b' '..=b'~').contains(&octet) && octet != b'&') {
        return Cow::Borrowed(name);
    }
    let mut out = String::with_capacity(name.len());
    let mut foreign: Vec<u8> = Vec::new();
    let flush = |foreign: &mut Vec<u8>, out: &mut String| {
        if !foreign.is_empty() {
            out.push('&');
            BASE64.encode_string(&foreign, out);
            out.push('-');
            foreign.clear();
        }
    };
    for ch in name.chars() {
        if (' '..='~').contains(&ch) {
            flush(&mut foreign, &mut out);
            out.push(ch);
            if ch == '&' {
                out.push('-');
            }
        } else {
            let mut units = [0; 2];
            foreign.extend(ch.encode_utf16(&mut units).iter().flat_map(|unit| unit.to_be_bytes()));
        }
    }
    flush(&mut foreign, &mut out);
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rfcs_own_examples() {
        let name = "~peter/mail/台北/日本語";
        assert_eq!(encode(name), "~peter/mail/&U,BTFw-/&ZeVnLIqe-");
        assert_eq!(decode(encode(name).as_bytes()).unwrap(), name);
        assert_eq!(decode(b"a&-b").unwrap(), "a&b");
    }

    #[test]
    fn other_forms_of_a_name_are_refused() {
        for bad in [
            "&",
            "&a",
            "&AGE-",
            "&2AA-",
            "&U,BTFw-&ZeVnLIqe-",
            "&ZeVnLIqf-x&",
            "&Jjo!",
            "&AAA-",
            "&ZeVnLIqeA-",
        ] {
            assert!(decode(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(decode(b"\xff").is_err());
    }

    #[test]
    fn names_come_back() {
        for name in ["", "INBOX", "&", "Entwürfe/ü&-", "😀 x", "\u{1}", "a\u{fffd}"] {
            assert_eq!(decode(encode(name).as_bytes()).unwrap(), name);
        }
    }
}
