//! FETCH responses, item by item.
//!
//! # Standards
//! RFC 3501 §7.4.2, RFC 7162 §7 (`msg-att-dynamic`), RFC 8514 §4.2.

use super::value::value;
use super::{FlagName, Parsed, Value, flag_names};
use crate::command::{DateTime, SectionLabel, SectionText};
use crate::date;
use crate::number::{ModSeq, Uid};
use crate::parse::{Cursor, DecodeError, section_spec};

/// One item of a FETCH response.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum FetchData {
    /// `UID`
    Uid(Uid),
    /// `MODSEQ`
    ModSeq(ModSeq),
    /// `FLAGS`
    Flags(Vec<FlagName>),
    /// `INTERNALDATE`
    InternalDate(DateTime),
    /// `SAVEDATE`; `None` for NIL.
    SaveDate(Option<DateTime>),
    /// `RFC822.SIZE`
    Size(u64),
    /// `ENVELOPE`
    Envelope(Value),
    /// `BODY` without section
    Body(Value),
    /// `BODYSTRUCTURE`
    BodyStructure(Value),
    /// `BODY[…]`, `RFC822`, `RFC822.HEADER` and `RFC822.TEXT`
    Section(SectionData),
    /// An item that is not known, or a number that it cannot have, as MODSEQ 0 or beyond 63 bits: to be ignored.
    Unknown {
        /// The name in capitals, with what stands between brackets.
        name: String,
        /// What follows it.
        value: Value,
    },
}

/// A part of the message itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SectionData {
    /// How it is named.
    pub label: SectionLabel,
    /// Part numbers; empty for the whole message.
    pub part: Vec<u32>,
    /// Which text of that part.
    pub text: SectionText,
    /// `<n>`: the first octet, when only a part was asked for.
    pub origin: Option<u64>,
    /// The octets; `None` when there is no such part.
    pub octets: Option<Vec<u8>>,
}

/// `msg-att = "(" msg-att-item *(SP msg-att-item) ")"`, in any order
pub(super) fn items(c: &mut Cursor<'_>) -> Parsed<Vec<FetchData>> {
    c.byte(b'(', "( and items")?;
    let mut items = Vec::new();
    while !c.take(b')') {
        if !c.take(b' ') {
            items.push(item(c)?);
        }
    }
    Ok(items)
}

fn item(c: &mut Cursor<'_>) -> Parsed<FetchData> {
    let start = c.clone();
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    let name = c.some_while("an item", plain)?.to_ascii_uppercase();
    let label = match name.as_slice() {
        b"BODY" if c.peek() == Some(b'[') => Some((SectionLabel::Body, SectionText::All)),
        b"RFC822" => Some((SectionLabel::Rfc822, SectionText::All)),
        b"RFC822.HEADER" => Some((SectionLabel::Rfc822Header, SectionText::Header)),
        b"RFC822.TEXT" => Some((SectionLabel::Rfc822Text, SectionText::Text)),
        _ => None,
    };
    if let Some((label, text)) = label {
        return section(c, label, text);
    }
    let known = match name.as_slice() {
        b"FLAGS" => {
            c.space()?;
            return Ok(FetchData::Flags(flag_names(c)?));
        }
        b"INTERNALDATE" => {
            c.space()?;
            return Ok(FetchData::InternalDate(date::date_time(c)?));
        }
        b"SAVEDATE" => {
            c.space()?;
            let none = c.take_word("NIL");
            let date = if none { None } else { Some(date::date_time(c)?) };
            return Ok(FetchData::SaveDate(date));
        }
        b"ENVELOPE" => FetchData::Envelope,
        b"BODY" => FetchData::Body,
        b"BODYSTRUCTURE" => FetchData::BodyStructure,
        _ => {
            *c = start;
            return number(c, &name);
        }
    };
    c.space()?;
    let at = c.at();
    let value = value(c)?;
    match value.list() {
        Some(_) => Ok(known(value)),
        None => Err(DecodeError::new(at, "a list")),
    }
}

/// The items whose value is a number, and those that are unknown.
fn number(c: &mut Cursor<'_>, name: &[u8]) -> Parsed<FetchData> {
    let whole = whole_name(c)?;
    c.space()?;
    let value = value(c)?;
    let inside = match &value {
        Value::List(list) if name == b"MODSEQ" => match list.as_slice() {
            [one] => one.number(),
            _ => None,
        },
        value => value.number(),
    };
    let known = inside.and_then(|number| match name {
        b"UID" => u32::try_from(number).ok().and_then(Uid::new).map(FetchData::Uid),
        b"MODSEQ" => ModSeq::new(number).map(FetchData::ModSeq),
        b"RFC822.SIZE" => Some(FetchData::Size(number)),
        _ => None,
    });
    Ok(known.unwrap_or(FetchData::Unknown { name: whole, value }))
}

/// The item's name up to the space, what stands between brackets included: `BINARY[1.2]<0>`.
fn whole_name(c: &mut Cursor<'_>) -> Parsed<String> {
    let mut name = Vec::new();
    let mut depth = 0_usize;
    while let Some(b) = c.peek().filter(|b| depth > 0 || (*b > b' ' && !b"()\"{".contains(b))) {
        match b {
            b'[' => depth += 1,
            b']' => depth = depth.saturating_sub(1),
            b'\r' | b'\n' => break,
            _ => {}
        }
        name.push(b.to_ascii_uppercase());
        c.skip(1);
    }
    if name.is_empty() {
        Err(c.error("an item"))
    } else {
        Ok(String::from_utf8_lossy(&name).into())
    }
}

/// `("BODY" section ["<" number ">"] / "RFC822" [".HEADER" / ".TEXT"]) SP nstring`
fn section(c: &mut Cursor<'_>, label: SectionLabel, text: SectionText) -> Parsed<FetchData> {
    let mut data = SectionData { label, part: Vec::new(), text, origin: None, octets: None };
    if label == SectionLabel::Body {
        (data.part, data.text) = section_spec(c)?;
        if c.take(b'<') {
            data.origin = Some(c.number()?);
            c.byte(b'>', ">")?;
        }
    }
    c.space()?;
    let at = c.at();
    data.octets = match value(c)? {
        Value::Nil => None,
        Value::String(octets) => Some(octets),
        _ => return Err(DecodeError::new(at, "a string or NIL")),
    };
    Ok(FetchData::Section(data))
}
