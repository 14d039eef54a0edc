//! CREATE, LIST, LSUB and the items of STATUS.

use super::{Cursor, DecodeError, Parsed};
use crate::command::{CommandBody, List, ListReturn, ListSelect, StatusItem};

/// `create = "CREATE" SP mailbox [SP "(" "USE" SP "(" [use-attr *(SP use-attr)] ")" ")"]` (RFC 6154 §6)
pub(super) fn create(c: &mut Cursor<'_>) -> Parsed<CommandBody> {
    let mailbox = c.spaced_mailbox()?;
    let mut special_use = None;
    if c.take(b' ') {
        c.byte(b'(', "(")?;
        c.word("USE")?;
        c.space()?;
        special_use = Some(uses(c)?);
        c.byte(b')', ")")?;
    }
    Ok(CommandBody::Create { mailbox, special_use })
}

fn uses(c: &mut Cursor<'_>) -> Parsed<Vec<String>> {
    let mut uses = Vec::new();
    c.byte(b'(', "( and special uses")?;
    while !c.take(b')') {
        if !uses.is_empty() {
            c.space()?;
        }
        c.byte(b'\\', "a special use")?;
        uses.push(String::from_utf8_lossy(c.atom("a special use")?).into_owned());
    }
    Ok(uses)
}

/// `lsub = "LSUB" SP mailbox SP list-mailbox`
pub(super) fn lsub(c: &mut Cursor<'_>) -> Parsed<CommandBody> {
    c.space()?;
    let reference = reference(c)?;
    c.space()?;
    Ok(CommandBody::Lsub { reference, pattern: c.list_mailbox()? })
}

/// The reference is a mailbox name that may be empty.
fn reference(c: &mut Cursor<'_>) -> Parsed<String> {
    let at = c.at();
    let octets = c.astring("a reference name")?;
    crate::utf7::decode(&octets).map_err(|error| DecodeError::new(at, error.expected))
}

/// `list = "LIST" [SP list-select-opts] SP mailbox SP mbox-or-pat [SP list-return-opts]` (RFC 5258 §6)
pub(super) fn list(c: &mut Cursor<'_>) -> Parsed<List> {
    c.space()?;
    let mut extended = false;
    let mut select = Vec::new();
    if c.peek() == Some(b'(') {
        extended = true;
        select = select_options(c)?;
        c.space()?;
    }
    let reference = reference(c)?;
    c.space()?;
    let mut patterns = Vec::new();
    if c.take(b'(') {
        extended = true;
        loop {
            patterns.push(c.list_mailbox()?);
            if c.take(b')') {
                break;
            }
            c.space()?;
        }
    } else {
        patterns.push(c.list_mailbox()?);
    }
    let mut returns = Vec::new();
    if c.take(b' ') {
        extended = true;
        c.word("RETURN")?;
        c.space()?;
        returns = return_options(c)?;
    }
    Ok(List { reference, patterns, select, returns, extended })
}

/// `list-select-opts = "(" [list-select-opt *(SP list-select-opt)] ")"`
fn select_options(c: &mut Cursor<'_>) -> Parsed<Vec<ListSelect>> {
    let mut options = Vec::new();
    let start = c.at();
    c.byte(b'(', "(")?;
    while !c.take(b')') {
        if !options.is_empty() {
            c.space()?;
        }
        let at = c.at();
        let name = c.atom("a selection option")?.to_ascii_uppercase();
        options.push(match name.as_slice() {
            b"SUBSCRIBED" => ListSelect::Subscribed,
            b"REMOTE" => ListSelect::Remote,
            b"RECURSIVEMATCH" => ListSelect::RecursiveMatch,
            b"SPECIAL-USE" => ListSelect::SpecialUse,
            _ => {
                return Err(DecodeError::new(
                    at,
                    "SUBSCRIBED, REMOTE, RECURSIVEMATCH or SPECIAL-USE",
                ));
            }
        });
    }
    // RECURSIVEMATCH qualifies another option; alone or with REMOTE only it means nothing (RFC 5258 §3.1).
    let qualified =
        options.iter().any(|o| matches!(o, ListSelect::Subscribed | ListSelect::SpecialUse));
    if options.contains(&ListSelect::RecursiveMatch) && !qualified {
        return Err(DecodeError::new(start, "SUBSCRIBED or SPECIAL-USE beside RECURSIVEMATCH"));
    }
    Ok(options)
}

/// `list-return-opts = "RETURN" SP "(" [return-option *(SP return-option)] ")"`
fn return_options(c: &mut Cursor<'_>) -> Parsed<Vec<ListReturn>> {
    let mut options = Vec::new();
    c.byte(b'(', "(")?;
    while !c.take(b')') {
        if !options.is_empty() {
            c.space()?;
        }
        let at = c.at();
        let name = c.atom("a return option")?.to_ascii_uppercase();
        options.push(match name.as_slice() {
            b"SUBSCRIBED" => ListReturn::Subscribed,
            b"CHILDREN" => ListReturn::Children,
            b"SPECIAL-USE" => ListReturn::SpecialUse,
            b"MYRIGHTS" => ListReturn::MyRights,
            b"STATUS" => {
                c.space()?;
                ListReturn::Status(status_items(c)?)
            }
            _ => {
                return Err(DecodeError::new(
                    at,
                    "SUBSCRIBED, CHILDREN, SPECIAL-USE, MYRIGHTS or STATUS (…)",
                ));
            }
        });
    }
    Ok(options)
}

/// `"(" status-att *(SP status-att) ")"`
pub(super) fn status_items(c: &mut Cursor<'_>) -> Parsed<Vec<StatusItem>> {
    let mut items = Vec::new();
    c.byte(b'(', "( and status items")?;
    loop {
        let at = c.at();
        let name = c.atom("a status item")?;
        let item = StatusItem::from_name(name).ok_or_else(|| {
            let expected = "MESSAGES, RECENT, UIDNEXT, UIDVALIDITY, UNSEEN, DELETED, \
                            DELETED-STORAGE, SIZE, HIGHESTMODSEQ or APPENDLIMIT";
            DecodeError::new(at, expected)
        })?;
        if !items.contains(&item) {
            items.push(item);
        }
        if c.take(b')') {
            return Ok(items);
        }
        c.space()?;
    }
}
