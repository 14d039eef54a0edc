//! Untagged responses.
//!
//! # Standards
//! RFC 3501 §7.2 to §7.4, RFC 4731 §3.1, RFC 7162 §7 and §3.2.10.

use super::value::value;
use super::{
    ESearchResult, ListEntry, Parsed, Response, Value, acl, end, fetch, flag_names, mod_seq,
    number_64, plain_set, quota, status_response, status_word,
};
use crate::command::{MailboxName, StatusItem, Tag};
use crate::namespace::{Namespace, Namespaces};
use crate::number::SeqNum;
use crate::parse::{Cursor, DecodeError, canonical};
use crate::utf7;

/// `response-data = "*" SP (resp-cond-state / resp-cond-bye / mailbox-data / message-data / capability-data)`
pub(super) fn untagged(c: &mut Cursor<'_>, octets: &[u8]) -> Parsed<Response> {
    if c.peek().is_some_and(|b| b.is_ascii_digit()) {
        return numbered(c, octets);
    }
    let word = c.atom("a response")?;
    if let Some(status) = status_word(word) {
        return Ok(status_response(c, None, status));
    }
    let response = match word.to_ascii_uppercase().as_slice() {
        b"CAPABILITY" => Response::Capability(words(c)?),
        b"ENABLED" => Response::Enabled(words(c)?),
        b"LIST" => Response::List(list(c)?),
        b"LSUB" => Response::Lsub(list(c)?),
        b"SEARCH" => search(c)?,
        b"ESEARCH" => Response::ESearch(esearch(c)?),
        b"STATUS" => mailbox_status(c)?,
        b"FLAGS" => {
            c.space()?;
            Response::Flags(flag_names(c)?)
        }
        b"VANISHED" => {
            c.space()?;
            let earlier = c.take_word("(EARLIER) ");
            Response::Vanished { earlier, uids: plain_set(c)? }
        }
        b"ID" => id(c)?,
        b"NAMESPACE" => Response::Namespace(Namespaces {
            personal: namespaces(c)?,
            others: namespaces(c)?,
            shared: namespaces(c)?,
        }),
        b"ACL" => acl::acl(c)?,
        b"LISTRIGHTS" => acl::list_rights(c)?,
        b"MYRIGHTS" => acl::my_rights(c)?,
        b"QUOTA" => quota::quota(c)?,
        b"QUOTAROOT" => quota::quota_roots(c)?,
        _ => return Ok(Response::Unknown(octets.to_vec())),
    };
    end(c)?;
    Ok(response)
}

/// `nz-number SP ("EXPUNGE" / ("FETCH" SP msg-att)) / number SP ("EXISTS" / "RECENT")`
fn numbered(c: &mut Cursor<'_>, octets: &[u8]) -> Parsed<Response> {
    let at = c.at();
    let number = c.number_32()?;
    c.space()?;
    let message = || SeqNum::new(number).ok_or_else(|| DecodeError::new(at, "a number from 1"));
    let response = match c.atom("a response")?.to_ascii_uppercase().as_slice() {
        b"EXISTS" => Response::Exists(number),
        b"RECENT" => Response::Recent(number),
        b"EXPUNGE" => Response::Expunge(message()?),
        b"FETCH" => {
            c.space()?;
            Response::Fetch { number: message()?, items: fetch::items(c)? }
        }
        _ => return Ok(Response::Unknown(octets.to_vec())),
    };
    end(c)?;
    Ok(response)
}

/// `*(SP capability)`
fn words(c: &mut Cursor<'_>) -> Parsed<Vec<String>> {
    let mut words = Vec::new();
    while c.take(b' ') {
        if !c.is_end() && c.peek() != Some(b' ') {
            let word = c.some_while("a word", |b| b > b' ')?;
            words.push(String::from_utf8_lossy(word).into_owned());
        }
    }
    Ok(words)
}

/// A mailbox name, decoded; may be empty.
pub(super) fn mailbox(c: &mut Cursor<'_>) -> Parsed<MailboxName> {
    let at = c.at();
    let octets = c.astring("a mailbox name")?;
    let name = utf7::decode(&octets).map_err(|error| DecodeError::new(at, error.expected))?;
    Ok(MailboxName(canonical(name)))
}

/// `mailbox-list = "(" [mbx-list-flags] ")" SP (DQUOTE QUOTED-CHAR DQUOTE / nil) SP mailbox
/// [SP mbox-list-extended]` (RFC 5258 §6)
fn list(c: &mut Cursor<'_>) -> Parsed<ListEntry> {
    c.space()?;
    let at = c.at();
    let attributes = value(c)?;
    let attributes = attributes.list().ok_or_else(|| DecodeError::new(at, "a list"))?;
    let attributes = attributes.iter().filter_map(Value::text).collect();
    c.space()?;
    let delimiter = value(c)?.text().and_then(|text| text.chars().next());
    c.space()?;
    let name = mailbox(c)?;
    let mut child_info = None;
    if c.take(b' ') && !c.is_end() {
        let extended = value(c)?;
        let pairs = extended.list().unwrap_or_default().as_chunks::<2>().0;
        for [key, options] in pairs {
            if key.octets().is_some_and(|key| key.eq_ignore_ascii_case(b"CHILDINFO")) {
                let options = options.list().unwrap_or_default();
                child_info = Some(options.iter().filter_map(Value::text).collect());
            }
        }
    }
    Ok(ListEntry { attributes, delimiter, name, child_info })
}

/// `"SEARCH" *(SP nz-number) [SP "(" "MODSEQ" SP mod-sequence-value ")"]` (RFC 7162 §7)
fn search(c: &mut Cursor<'_>) -> Parsed<Response> {
    let mut numbers = Vec::new();
    let mut greatest = None;
    while c.take(b' ') {
        match c.peek() {
            None => break,
            Some(b'(') => {
                c.skip(1);
                c.word("MODSEQ")?;
                c.space()?;
                greatest = mod_seq(c)?;
                c.byte(b')', ")")?;
            }
            Some(_) => numbers.push(c.number_not_zero()?.get()),
        }
    }
    Ok(Response::Search { numbers, mod_seq: greatest })
}

/// `"ESEARCH" [SP "(" "TAG" SP string ")"] [SP "UID"] *(SP search-return-data)`
fn esearch(c: &mut Cursor<'_>) -> Parsed<ESearchResult> {
    let mut result = ESearchResult::default();
    if c.take_word(" (TAG ") {
        let tag = c.astring("a tag")?;
        result.tag = Some(Tag(String::from_utf8_lossy(&tag).into()));
        c.byte(b')', ")")?;
    }
    while c.take(b' ') && !c.is_end() {
        let name = c.atom("a result")?.to_ascii_uppercase();
        if name == b"UID" {
            result.uid = true;
            continue;
        }
        c.space()?;
        match name.as_slice() {
            b"MIN" => result.min = Some(c.number_not_zero()?.get()),
            b"MAX" => result.max = Some(c.number_not_zero()?.get()),
            b"COUNT" => result.count = number_64(c)?,
            b"ALL" => result.all = Some(plain_set(c)?),
            b"MODSEQ" => result.mod_seq = mod_seq(c)?,
            _ => {
                value(c)?;
            }
        }
    }
    Ok(result)
}

/// `"STATUS" SP mailbox SP "(" [status-att SP number *(SP status-att SP number)] ")"`
fn mailbox_status(c: &mut Cursor<'_>) -> Parsed<Response> {
    c.space()?;
    let mailbox = mailbox(c)?;
    c.space()?;
    c.byte(b'(', "( and status items")?;
    let mut items = Vec::new();
    while !c.take(b')') {
        if c.take(b' ') {
            continue;
        }
        let item = StatusItem::from_name(c.atom("a status item")?);
        c.space()?;
        match (item, value(c)?) {
            (Some(item), Value::Nil) => items.push((item, None)),
            (Some(item), value) => {
                items.extend(value.number().map(|number| (item, Some(number))));
            }
            (None, _) => {}
        }
    }
    Ok(Response::MailboxStatus { mailbox, items })
}

/// `"ID" SP ("(" [string SP nstring *(SP string SP nstring)] ")" / nil)` (RFC 2971 §3.2)
fn id(c: &mut Cursor<'_>) -> Parsed<Response> {
    c.space()?;
    let at = c.at();
    let fields = match value(c)? {
        Value::Nil => None,
        Value::List(values) => {
            let (pairs, odd) = values.as_chunks::<2>();
            let field = |[name, value]: &[Value; 2]| {
                name.octets().map(|name| (name.to_vec(), value.octets().map(<[u8]>::to_vec)))
            };
            let fields: Option<Vec<_>> = pairs.iter().map(field).collect();
            let fields = fields.filter(|_| odd.is_empty());
            Some(fields.ok_or_else(|| DecodeError::new(at, "fields with their values"))?)
        }
        _ => return Err(DecodeError::new(at, "( or NIL")),
    };
    Ok(Response::Id(fields))
}

/// `namespace = nil / "(" 1*("(" string SP (DQUOTE QUOTED-CHAR DQUOTE / nil) *ext ")") ")"` (RFC 2342 §6)
fn namespaces(c: &mut Cursor<'_>) -> Parsed<Vec<Namespace>> {
    c.space()?;
    let at = c.at();
    let all = value(c)?;
    let one = |entry: &Value| {
        let [prefix, delimiter, ..] = entry.list()? else { return None };
        let prefix = utf7::decode(prefix.octets()?).ok()?;
        let delimiter = delimiter.text().and_then(|text| text.chars().next());
        Some(Namespace { prefix, delimiter })
    };
    let parsed: Option<Vec<_>> = match &all {
        Value::Nil => Some(Vec::new()),
        all => all.list().and_then(|entries| entries.iter().map(one).collect()),
    };
    parsed.ok_or_else(|| DecodeError::new(at, "namespaces or NIL"))
}
