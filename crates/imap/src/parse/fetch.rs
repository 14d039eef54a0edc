//! FETCH: items, sections and modifiers.

use super::{Cursor, DecodeError, Parsed, mod_seq_or_zero};
use crate::command::{Fetch, FetchItem, FetchSection, SectionLabel, SectionText};

/// `fetch = "FETCH" SP sequence-set SP ("ALL" / "FULL" / "FAST" / fetch-att / "(" fetch-att *(SP fetch-att) ")")
/// [fetch-modifiers]` [S-45]
pub(super) fn fetch(c: &mut Cursor<'_>, uid: bool) -> Parsed<Fetch> {
    c.space()?;
    let set = c.sequence_set()?;
    c.space()?;
    let items = items(c)?;
    let mut fetch = Fetch { uid, set, items, changed_since: None, vanished: false };
    if !c.take(b' ') {
        return Ok(fetch);
    }
    c.byte(b'(', "( and a modifier")?;
    loop {
        let at = c.at();
        let name = c.atom("CHANGEDSINCE or VANISHED")?;
        if name.eq_ignore_ascii_case(b"CHANGEDSINCE") && fetch.changed_since.is_none() {
            c.space()?;
            fetch.changed_since = Some(mod_seq_or_zero(c)?);
        } else if name.eq_ignore_ascii_case(b"VANISHED") && !fetch.vanished {
            fetch.vanished = true;
        } else {
            return Err(DecodeError::new(at, "CHANGEDSINCE or VANISHED, each at most once"));
        }
        if c.take(b')') {
            return Ok(fetch);
        }
        c.space()?;
    }
}

fn items(c: &mut Cursor<'_>) -> Parsed<Vec<FetchItem>> {
    use FetchItem::{Body, Envelope, Flags, InternalDate, Size};
    // The macros have no MODSEQ [S-47].
    let fast = [Flags, InternalDate, Size];
    let rest: &[FetchItem] = match () {
        () if macro_word(c, "ALL") => &[Envelope],
        () if macro_word(c, "FAST") => &[],
        () if macro_word(c, "FULL") => &[Envelope, Body],
        () => return listed_items(c),
    };
    Ok(fast.into_iter().chain(rest.iter().cloned()).collect())
}

/// Takes the macro if it stands alone.
fn macro_word(c: &mut Cursor<'_>, word: &'static str) -> bool {
    let mut ahead = c.clone();
    let found = ahead.take_word(word) && matches!(ahead.peek(), None | Some(b' '));
    if found {
        *c = ahead;
    }
    found
}

fn listed_items(c: &mut Cursor<'_>) -> Parsed<Vec<FetchItem>> {
    const ITEMS_MAX: usize = 1000;
    if !c.take(b'(') {
        return Ok(vec![item(c)?]);
    }
    let mut items = Vec::new();
    loop {
        let item = item(c)?;
        if !items.contains(&item) {
            items.push(item);
        }
        if items.len() > ITEMS_MAX {
            return Err(c.error("at most 1000 items"));
        }
        if c.take(b')') {
            return Ok(items);
        }
        c.space()?;
    }
}

/// `fetch-att` (RFC 3501 §9, RFC 7162 §7, RFC 8514 §4.2)
fn item(c: &mut Cursor<'_>) -> Parsed<FetchItem> {
    let at = c.at();
    let name = name(c);
    Ok(match name.as_str() {
        "ENVELOPE" => FetchItem::Envelope,
        "FLAGS" => FetchItem::Flags,
        "INTERNALDATE" => FetchItem::InternalDate,
        "SAVEDATE" => FetchItem::SaveDate,
        "RFC822.SIZE" => FetchItem::Size,
        "UID" => FetchItem::Uid,
        "MODSEQ" => FetchItem::ModSeq,
        "BODYSTRUCTURE" => FetchItem::BodyStructure,
        "RFC822" => whole(SectionLabel::Rfc822, SectionText::All, false),
        "RFC822.HEADER" => whole(SectionLabel::Rfc822Header, SectionText::Header, true),
        "RFC822.TEXT" => whole(SectionLabel::Rfc822Text, SectionText::Text, false),
        "BODY" if c.peek() != Some(b'[') => FetchItem::Body,
        "BODY" => section(c, false)?,
        "BODY.PEEK" => section(c, true)?,
        _ => return Err(DecodeError::new(at, "a FETCH item")),
    })
}

/// The item's name up to a bracket, a parenthesis or a space.
fn name(c: &mut Cursor<'_>) -> String {
    let mut name = String::new();
    while let Some(b) = c.peek().filter(|b| b.is_ascii_alphanumeric() || *b == b'.') {
        name.push(char::from(b.to_ascii_uppercase()));
        c.skip(1);
    }
    name
}

fn whole(label: SectionLabel, text: SectionText, peek: bool) -> FetchItem {
    FetchItem::Section(FetchSection { label, part: Vec::new(), text, partial: None, peek })
}

/// `"BODY" [".PEEK"] section ["<" number "." nz-number ">"]`
fn section(c: &mut Cursor<'_>, peek: bool) -> Parsed<FetchItem> {
    let (part, text) = section_spec(c)?;
    let partial = if c.take(b'<') {
        let start = c.number()?;
        c.byte(b'.', "a dot and a count")?;
        let count = c.number()?;
        if count == 0 {
            return Err(c.error("a count from 1"));
        }
        c.byte(b'>', ">")?;
        Some((start, count))
    } else {
        None
    };
    let label = SectionLabel::Body;
    Ok(FetchItem::Section(FetchSection { label, part, text, partial, peek }))
}

/// `section = "[" [section-spec] "]"; section-spec = section-msgtext / (section-part ["." section-text])`
pub(crate) fn section_spec(c: &mut Cursor<'_>) -> Parsed<(Vec<u32>, SectionText)> {
    const DEPTH_MAX: usize = 128;
    c.byte(b'[', "[")?;
    let mut part = Vec::new();
    let mut dot = true;
    while dot && c.peek().is_some_and(|b| b.is_ascii_digit()) {
        part.push(c.number_not_zero()?.get());
        if part.len() > DEPTH_MAX {
            return Err(c.error("a part at most 128 levels deep"));
        }
        dot = c.take(b'.');
    }
    // A text stands alone or behind a dot; a part ends without one.
    let whole = !dot || (part.is_empty() && c.peek() == Some(b']'));
    let text = if whole { SectionText::All } else { section_text(c, &part)? };
    c.byte(b']', "]")?;
    Ok((part, text))
}

/// `section-text = section-msgtext / "MIME"`
fn section_text(c: &mut Cursor<'_>, part: &[u32]) -> Parsed<SectionText> {
    let at = c.at();
    let name = name(c);
    Ok(match name.as_str() {
        "HEADER" => SectionText::Header,
        "TEXT" => SectionText::Text,
        "MIME" if !part.is_empty() => SectionText::Mime,
        "HEADER.FIELDS" => SectionText::HeaderFields(header_list(c)?),
        "HEADER.FIELDS.NOT" => SectionText::HeaderFieldsNot(header_list(c)?),
        _ => {
            let expected =
                "HEADER, HEADER.FIELDS (…), HEADER.FIELDS.NOT (…), TEXT, or MIME behind a part";
            return Err(DecodeError::new(at, expected));
        }
    })
}

/// `header-list = "(" header-fld-name *(SP header-fld-name) ")"`
fn header_list(c: &mut Cursor<'_>) -> Parsed<Vec<Vec<u8>>> {
    c.space()?;
    c.byte(b'(', "( and field names")?;
    let mut names = Vec::new();
    loop {
        names.push(c.astring("a field name")?.into_owned());
        if c.take(b')') {
            return Ok(names);
        }
        c.space()?;
    }
}
