//! SEARCH: return options, charset and criteria.

use super::{Cursor, DecodeError, Parsed, flag, mod_seq_or_zero};
use crate::command::{EntryKind, ModSeqItem, Search, SearchKey, SearchReturn};
use crate::date;
use crate::flag::{Keyword, SystemFlag};

/// How deep criteria may nest, and how many there may be.
const DEPTH_MAX: usize = 64;
const KEYS_MAX: usize = 2000;

/// `search = "SEARCH" [search-return-opts] SP [charset SP] search-key *(SP search-key)` (RFC 4466 §2.6)
pub(super) fn search(c: &mut Cursor<'_>, uid: bool) -> Parsed<Search> {
    let mut search = Search { uid, returns: None, charset: None, keys: Vec::new() };
    c.space()?;
    if c.take_word("RETURN ") {
        search.returns = Some(returns(c)?);
        c.space()?;
    }
    if c.take_word("CHARSET ") {
        let charset = c.astring("a charset")?;
        search.charset = Some(String::from_utf8_lossy(&charset).into_owned());
        c.space()?;
    }
    let mut left = KEYS_MAX;
    loop {
        search.keys.push(key(c, 0, &mut left)?);
        if c.is_end() {
            return Ok(search);
        }
        c.space()?;
    }
}

/// `search-return-opts = SP "RETURN" SP "(" [search-return-opt *(SP search-return-opt)] ")"`
fn returns(c: &mut Cursor<'_>) -> Parsed<Vec<SearchReturn>> {
    let mut returns = Vec::new();
    c.byte(b'(', "( and return options")?;
    while !c.take(b')') {
        if !returns.is_empty() {
            c.space()?;
        }
        let at = c.at();
        let option = match c.atom("a return option")?.to_ascii_uppercase().as_slice() {
            b"MIN" => SearchReturn::Min,
            b"MAX" => SearchReturn::Max,
            b"ALL" => SearchReturn::All,
            b"COUNT" => SearchReturn::Count,
            b"SAVE" => SearchReturn::Save,
            _ => return Err(DecodeError::new(at, "MIN, MAX, ALL, COUNT or SAVE")),
        };
        if returns.contains(&option) {
            return Err(DecodeError::new(at, "each return option at most once"));
        }
        returns.push(option);
    }
    Ok(returns)
}

/// `search-key`
fn key(c: &mut Cursor<'_>, depth: usize, left: &mut usize) -> Parsed<SearchKey> {
    if depth > DEPTH_MAX || *left == 0 {
        return Err(c.error("fewer search criteria: at most 64 levels and 2000 keys"));
    }
    *left -= 1;
    match c.peek() {
        Some(b'(') => list(c, depth, left),
        Some(b'0'..=b'9' | b'*' | b'$') => Ok(SearchKey::Numbers(c.sequence_set()?)),
        _ => named(c, depth, left),
    }
}

fn list(c: &mut Cursor<'_>, depth: usize, left: &mut usize) -> Parsed<SearchKey> {
    c.byte(b'(', "(")?;
    let mut keys = Vec::new();
    loop {
        keys.push(key(c, depth + 1, left)?);
        if c.take(b')') {
            return Ok(SearchKey::And(keys));
        }
        c.space()?;
    }
}

fn named(c: &mut Cursor<'_>, depth: usize, left: &mut usize) -> Parsed<SearchKey> {
    use SystemFlag::{Answered, Deleted, Draft, Flagged, Seen};
    let at = c.at();
    let name = c.atom("a search key")?.to_ascii_uppercase();
    Ok(match name.as_slice() {
        b"ALL" => SearchKey::All,
        b"ANSWERED" => SearchKey::Flag(Answered),
        b"DELETED" => SearchKey::Flag(Deleted),
        b"DRAFT" => SearchKey::Flag(Draft),
        b"FLAGGED" => SearchKey::Flag(Flagged),
        b"SEEN" => SearchKey::Flag(Seen),
        b"UNANSWERED" => SearchKey::NotFlag(Answered),
        b"UNDELETED" => SearchKey::NotFlag(Deleted),
        b"UNDRAFT" => SearchKey::NotFlag(Draft),
        b"UNFLAGGED" => SearchKey::NotFlag(Flagged),
        b"UNSEEN" => SearchKey::NotFlag(Seen),
        b"NEW" => SearchKey::New,
        b"OLD" => SearchKey::Old,
        b"RECENT" => SearchKey::Recent,
        b"KEYWORD" => SearchKey::Keyword(keyword(c)?),
        b"UNKEYWORD" => SearchKey::NotKeyword(keyword(c)?),
        b"BCC" | b"CC" | b"FROM" | b"TO" | b"SUBJECT" => SearchKey::Header(name, text(c)?),
        b"HEADER" => SearchKey::Header(text(c)?, text(c)?),
        b"BODY" => SearchKey::Body(text(c)?),
        b"TEXT" => SearchKey::Text(text(c)?),
        b"BEFORE" => SearchKey::Before(day(c)?),
        b"ON" => SearchKey::On(day(c)?),
        b"SINCE" => SearchKey::Since(day(c)?),
        b"SENTBEFORE" => SearchKey::SentBefore(day(c)?),
        b"SENTON" => SearchKey::SentOn(day(c)?),
        b"SENTSINCE" => SearchKey::SentSince(day(c)?),
        b"SAVEDBEFORE" => SearchKey::SavedBefore(day(c)?),
        b"SAVEDON" => SearchKey::SavedOn(day(c)?),
        b"SAVEDSINCE" => SearchKey::SavedSince(day(c)?),
        b"SAVEDATESUPPORTED" => SearchKey::SaveDateSupported,
        b"LARGER" => SearchKey::Larger(spaced(c, Cursor::number)?),
        b"SMALLER" => SearchKey::Smaller(spaced(c, Cursor::number)?),
        b"OLDER" => SearchKey::Older(spaced(c, Cursor::number_not_zero)?.get()),
        b"YOUNGER" => SearchKey::Younger(spaced(c, Cursor::number_not_zero)?.get()),
        b"UID" => SearchKey::Uid(spaced(c, Cursor::sequence_set)?),
        b"MODSEQ" => mod_seq(c)?,
        b"NOT" => {
            c.space()?;
            SearchKey::Not(Box::new(key(c, depth + 1, left)?))
        }
        b"OR" => {
            c.space()?;
            let one = key(c, depth + 1, left)?;
            c.space()?;
            SearchKey::Or(Box::new(one), Box::new(key(c, depth + 1, left)?))
        }
        _ => return Err(DecodeError::new(at, "a search key")),
    })
}

fn spaced<'a, T>(c: &mut Cursor<'a>, rule: impl Fn(&mut Cursor<'a>) -> Parsed<T>) -> Parsed<T> {
    c.space()?;
    rule(c)
}

fn text(c: &mut Cursor<'_>) -> Parsed<Vec<u8>> {
    c.space()?;
    Ok(c.astring("a string")?.into_owned())
}

fn day(c: &mut Cursor<'_>) -> Parsed<crate::command::Date> {
    c.space()?;
    date::date(c)
}

fn keyword(c: &mut Cursor<'_>) -> Parsed<Keyword> {
    c.space()?;
    let at = c.at();
    let name = c.atom("a keyword")?;
    let keyword = std::str::from_utf8(name).ok().and_then(Keyword::new);
    keyword.ok_or_else(|| DecodeError::new(at, "a keyword of at most 255 octets"))
}

/// `"MODSEQ" [SP DQUOTE "/flags/" attr-flag DQUOTE SP entry-type-req] SP mod-sequence-valzer` [S-87, S-88, S-89]
fn mod_seq(c: &mut Cursor<'_>) -> Parsed<SearchKey> {
    c.space()?;
    let mut item = None;
    if c.peek() == Some(b'"') {
        let at = c.at();
        let name = c.string("an entry name")?;
        let rest = name.get(..7).filter(|p| p.eq_ignore_ascii_case(b"/flags/")).and(name.get(7..));
        let rest = rest.filter(|rest| !rest.is_empty());
        let rest = rest.ok_or_else(|| DecodeError::new(at, "\"/flags/…\""))?;
        let mut inner = Cursor::new(rest);
        let known = flag(&mut inner).ok().filter(|_| inner.is_end());
        c.space()?;
        let at = c.at();
        let kind = match c.atom("priv, shared or all")?.to_ascii_lowercase().as_slice() {
            b"priv" => EntryKind::Private,
            b"shared" => EntryKind::Shared,
            b"all" => EntryKind::All,
            _ => return Err(DecodeError::new(at, "priv, shared or all")),
        };
        c.space()?;
        item = Some(ModSeqItem { flag: known, kind });
    }
    Ok(SearchKey::ModSeq { item, at_least: mod_seq_or_zero(c)? })
}
