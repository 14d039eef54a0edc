//! Parsing one complete command, as the framer yields it: text with buffered literals inside.
//!
//! One function per rule of the grammar; the rule stands above the function.
//!
//! # Invariants
//! - No input panics; nothing is guessed: what does not fit the grammar is a [`DecodeError`] that says where
//!   and what was expected.
//! - Work and memory follow the length of the input; nesting is bounded.
//!
//! # Standards
//! RFC 3501 §9, RFC 4466, RFC 7162 §7, RFC 4314 §7, RFC 9208 §7. Keywords ignore case [S-5].

mod acl;
mod cursor;
mod fetch;
mod list;
mod notify;
mod quota;
mod search;
mod select;

use crate::command::{AppendHead, Command, CommandBody, Secret, Store, StoreAction, Tag, Transfer};
use crate::date;
use crate::flag::{Flag, Keyword, SystemFlag};
use crate::number::ModSeqOrZero;
pub(crate) use acl::identifier;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
pub(crate) use cursor::{Cursor, canonical, is_atom_char};
pub(crate) use fetch::section_spec;
pub(crate) use quota::root as quota_root;
use std::borrow::Cow;
use std::fmt;

/// What was wrong with the input, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DecodeError {
    /// The octet, from 0, at which the input stopped fitting.
    pub at: usize,
    /// What would have fitted there.
    pub expected: Cow<'static, str>,
}

impl DecodeError {
    /// An error at this octet.
    pub fn new(at: usize, expected: impl Into<Cow<'static, str>>) -> Self {
        Self { at, expected: expected.into() }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {} at octet {}", self.expected, self.at + 1)
    }
}

impl std::error::Error for DecodeError {}

/// A command that could not be parsed, with its tag if that could be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommandError {
    /// The tag to answer BAD with.
    pub tag: Option<Tag>,
    /// What was wrong.
    pub error: DecodeError,
}

type Parsed<T> = Result<T, DecodeError>;

/// Parses one command line without its CRLF, literals inside as they were sent.
///
/// # Errors
/// [`CommandError`] with the tag, if one could be read.
pub fn command(octets: &[u8]) -> Result<Command, CommandError> {
    let mut c = Cursor::new(octets);
    let tag = c.tag().and_then(|tag| if c.is_end() { Ok(tag) } else { c.space().map(|()| tag) });
    let tag = tag.map_err(|error| CommandError { tag: None, error })?;
    match body(&mut c) {
        Ok(body) => Ok(Command { tag, body }),
        Err(error) => Err(CommandError { tag: Some(tag), error }),
    }
}

/// The tag that a line begins with, if a space follows it.
pub(crate) fn tag_of(line: &[u8]) -> Option<Tag> {
    let mut c = Cursor::new(line);
    let tag = c.tag().ok()?;
    c.take(b' ').then_some(tag)
}

/// A client's answer to a SASL challenge.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SaslAnswer {
    /// `*`: the client gives up.
    Cancel,
    /// The decoded answer.
    Data(Secret),
}

/// `base64 / "*"` (RFC 3501 §6.2.2).
///
/// # Errors
/// When the line is not base64.
pub fn sasl_response(line: &[u8]) -> Parsed<SaslAnswer> {
    if line == b"*" {
        return Ok(SaslAnswer::Cancel);
    }
    match BASE64.decode(line) {
        Ok(data) => Ok(SaslAnswer::Data(Secret(data))),
        Err(_) => Err(DecodeError::new(0, "base64, or * to cancel")),
    }
}

/// What stands before a message literal: `[tag SP "APPEND" SP mailbox] [SP flag-list] [SP date-time] SP`.
///
/// # Errors
/// When the text does not fit; the tag is told when it could be read.
pub fn append_head(octets: &[u8], first: bool) -> Result<AppendHead, CommandError> {
    let mut c = Cursor::new(octets);
    let mut tag = None;
    let parsed = append_head_in(&mut c, first, &mut tag);
    parsed.map_err(|error| CommandError { tag, error })
}

fn append_head_in(c: &mut Cursor<'_>, first: bool, tag: &mut Option<Tag>) -> Parsed<AppendHead> {
    let mut head = AppendHead { first: None, flags: Vec::new(), internal_date: None };
    if first {
        let named = c.tag()?;
        *tag = Some(named.clone());
        c.space()?;
        c.word("APPEND")?;
        c.space()?;
        head.first = Some((named, c.mailbox()?));
    }
    c.space()?;
    if c.peek() == Some(b'(') {
        head.flags = flag_list(c)?;
        c.space()?;
    }
    if c.peek() == Some(b'"') {
        head.internal_date = Some(date::date_time(c)?);
        c.space()?;
    }
    c.end()?;
    Ok(head)
}

/// `command = tag SP (command-any / command-auth / command-nonauth / command-select)`
fn body(c: &mut Cursor<'_>) -> Parsed<CommandBody> {
    let at = c.at();
    let name = c.atom("a command name")?.to_ascii_uppercase();
    let body = match name.as_slice() {
        b"UID" => {
            c.space()?;
            let at = c.at();
            let name = c.atom("a command name behind UID")?.to_ascii_uppercase();
            uid_command(c, &name, at)?
        }
        name => plain_command(c, name, at)?,
    };
    c.end()?;
    Ok(body)
}

fn plain_command(c: &mut Cursor<'_>, name: &[u8], at: usize) -> Parsed<CommandBody> {
    Ok(match name {
        b"CAPABILITY" => CommandBody::Capability,
        b"NOOP" => CommandBody::Noop,
        b"LOGOUT" => CommandBody::Logout,
        b"STARTTLS" => CommandBody::StartTls,
        b"NAMESPACE" => CommandBody::Namespace,
        b"IDLE" => CommandBody::Idle,
        b"COMPRESS" => {
            c.space()?;
            c.word("DEFLATE")?;
            CommandBody::Compress
        }
        b"NOTIFY" => notify::notify(c)?,
        b"CHECK" => CommandBody::Check,
        b"CLOSE" => CommandBody::Close,
        b"UNSELECT" => CommandBody::Unselect,
        b"EXPUNGE" => CommandBody::Expunge(None),
        b"ID" => id(c)?,
        b"AUTHENTICATE" => authenticate(c)?,
        b"LOGIN" => {
            c.space()?;
            let user = c.astring("a user name")?.into_owned();
            c.space()?;
            let password = Secret(c.astring("a password")?.into_owned());
            CommandBody::Login { user, password }
        }
        b"ENABLE" => enable(c)?,
        b"SELECT" => CommandBody::Select(select::select(c, false)?),
        b"EXAMINE" => CommandBody::Select(select::select(c, true)?),
        b"CREATE" => list::create(c)?,
        b"DELETE" => CommandBody::Delete(c.spaced_mailbox()?),
        b"RENAME" => {
            let from = c.spaced_mailbox()?;
            CommandBody::Rename { from, to: c.spaced_mailbox()? }
        }
        b"SUBSCRIBE" => CommandBody::Subscribe(c.spaced_mailbox()?),
        b"UNSUBSCRIBE" => CommandBody::Unsubscribe(c.spaced_mailbox()?),
        b"LIST" => CommandBody::List(list::list(c)?),
        b"LSUB" => list::lsub(c)?,
        b"STATUS" => {
            let mailbox = c.spaced_mailbox()?;
            c.space()?;
            CommandBody::Status { mailbox, items: list::status_items(c)? }
        }
        b"SEARCH" => CommandBody::Search(search::search(c, false)?),
        b"FETCH" => CommandBody::Fetch(fetch::fetch(c, false)?),
        b"STORE" => CommandBody::Store(store(c, false)?),
        b"COPY" => CommandBody::Copy(transfer(c, false)?),
        b"MOVE" => CommandBody::Move(transfer(c, false)?),
        b"SETACL" => acl::set_acl(c)?,
        b"DELETEACL" => acl::delete_acl(c)?,
        b"GETACL" => CommandBody::GetAcl(c.spaced_mailbox()?),
        b"LISTRIGHTS" => acl::list_rights(c)?,
        b"MYRIGHTS" => CommandBody::MyRights(c.spaced_mailbox()?),
        b"GETQUOTA" => quota::get_quota(c)?,
        b"GETQUOTAROOT" => CommandBody::GetQuotaRoot(c.spaced_mailbox()?),
        b"SETQUOTA" => quota::set_quota(c)?,
        b"APPEND" => return Err(append_without_literal(c)),
        _ => return Err(DecodeError::new(at, "a command name")),
    })
}

fn uid_command(c: &mut Cursor<'_>, name: &[u8], at: usize) -> Parsed<CommandBody> {
    Ok(match name {
        b"SEARCH" => CommandBody::Search(search::search(c, true)?),
        b"FETCH" => CommandBody::Fetch(fetch::fetch(c, true)?),
        b"STORE" => CommandBody::Store(store(c, true)?),
        b"COPY" => CommandBody::Copy(transfer(c, true)?),
        b"MOVE" => CommandBody::Move(transfer(c, true)?),
        b"EXPUNGE" => {
            c.space()?;
            CommandBody::Expunge(Some(c.sequence_set()?))
        }
        _ => return Err(DecodeError::new(at, "SEARCH, FETCH, STORE, COPY, MOVE or EXPUNGE")),
    })
}

/// An APPEND that reaches the parser whole has no message literal: says where it went wrong.
fn append_without_literal(c: &mut Cursor<'_>) -> DecodeError {
    let whole = c.spaced_mailbox().and_then(|_| {
        c.space()?;
        if c.peek() == Some(b'(') {
            flag_list(c)?;
            c.space()?;
        }
        if c.peek() == Some(b'"') {
            date::date_time(c)?;
            c.space()?;
        }
        Ok(())
    });
    whole.err().unwrap_or_else(|| DecodeError::new(c.at(), "the message as a literal"))
}

/// `id = "ID" SP id-params-list; id-params-list = "(" *(string SP nstring) ")" / nil` (RFC 2971 §3.3)
fn id(c: &mut Cursor<'_>) -> Parsed<CommandBody> {
    const FIELDS_MAX: usize = 30;
    c.space()?;
    if c.take_word("NIL") {
        return Ok(CommandBody::Id(None));
    }
    let mut fields = Vec::new();
    c.byte(b'(', "( or NIL")?;
    while c.peek() != Some(b')') {
        if !fields.is_empty() {
            c.space()?;
        }
        if fields.len() == FIELDS_MAX {
            return Err(DecodeError::new(c.at(), "at most 30 fields"));
        }
        let name = c.string("a field name")?.into_owned();
        c.space()?;
        let value =
            if c.take_word("NIL") { None } else { Some(c.string("a value or NIL")?.into_owned()) };
        fields.push((name, value));
    }
    c.byte(b')', ")")?;
    Ok(CommandBody::Id(Some(fields)))
}

/// `authenticate = "AUTHENTICATE" SP auth-type [SP (base64 / "=")]` (RFC 4959 §3)
fn authenticate(c: &mut Cursor<'_>) -> Parsed<CommandBody> {
    c.space()?;
    let mechanism = c.atom("a SASL mechanism")?;
    let mechanism = String::from_utf8_lossy(mechanism).to_ascii_uppercase();
    let initial = if c.take(b' ') {
        let at = c.at();
        let text = c.rest();
        let data = match text {
            b"=" => Some(Vec::new()),
            b"" => None,
            text => BASE64.decode(text).ok(),
        };
        Some(Secret(data.ok_or_else(|| DecodeError::new(at, "base64 or ="))?))
    } else {
        None
    };
    Ok(CommandBody::Authenticate { mechanism, initial })
}

/// `enable = "ENABLE" 1*(SP capability)` (RFC 5161 §4) [S-110]
fn enable(c: &mut Cursor<'_>) -> Parsed<CommandBody> {
    let mut names = Vec::new();
    loop {
        c.space()?;
        let name = c.atom("a capability name")?;
        names.push(String::from_utf8_lossy(name).to_ascii_uppercase());
        if c.is_end() {
            return Ok(CommandBody::Enable(names));
        }
    }
}

/// `copy = "COPY" SP sequence-set SP mailbox`, likewise MOVE
fn transfer(c: &mut Cursor<'_>, uid: bool) -> Parsed<Transfer> {
    c.space()?;
    let set = c.sequence_set()?;
    Ok(Transfer { uid, set, mailbox: c.spaced_mailbox()? })
}

/// `store = "STORE" SP sequence-set [store-modifiers] SP store-att-flags` (RFC 4466 §2.5) [S-61]
fn store(c: &mut Cursor<'_>, uid: bool) -> Parsed<Store> {
    c.space()?;
    let set = c.sequence_set()?;
    c.space()?;
    let mut unchanged_since = None;
    if c.take(b'(') {
        c.word("UNCHANGEDSINCE")?;
        c.space()?;
        unchanged_since = Some(mod_seq_or_zero(c)?);
        c.byte(b')', ") behind the one UNCHANGEDSINCE")?;
        c.space()?;
    }
    let action = match c.peek() {
        Some(b'+') => StoreAction::Add,
        Some(b'-') => StoreAction::Remove,
        _ => StoreAction::Replace,
    };
    if action != StoreAction::Replace {
        c.skip(1);
    }
    c.word("FLAGS")?;
    let silent = c.take_word(".SILENT");
    c.space()?;
    let flags = if c.peek() == Some(b'(') { flag_list(c)? } else { flags_without_list(c)? };
    Ok(Store { uid, set, unchanged_since, action, silent, flags })
}

/// `mod-sequence-valzer = "0" / mod-sequence-value`, at most 2^63−1 [S-46, S-88]
fn mod_seq_or_zero(c: &mut Cursor<'_>) -> Parsed<ModSeqOrZero> {
    let at = c.at();
    let value = c.number()?;
    ModSeqOrZero::new(value)
        .ok_or_else(|| DecodeError::new(at, "a mod-sequence up to 9223372036854775807"))
}

/// `flag-list = "(" [flag *(SP flag)] ")"`
fn flag_list(c: &mut Cursor<'_>) -> Parsed<Vec<Flag>> {
    let mut flags = Vec::new();
    c.byte(b'(', "a list of flags")?;
    if c.take(b')') {
        return Ok(flags);
    }
    loop {
        push_flag(c, &mut flags)?;
        if c.take(b')') {
            return Ok(flags);
        }
        c.space()?;
    }
}

/// `flag *(SP flag)`
fn flags_without_list(c: &mut Cursor<'_>) -> Parsed<Vec<Flag>> {
    let mut flags = Vec::new();
    loop {
        push_flag(c, &mut flags)?;
        if c.is_end() {
            return Ok(flags);
        }
        c.space()?;
    }
}

fn push_flag(c: &mut Cursor<'_>, flags: &mut Vec<Flag>) -> Parsed<()> {
    let flag = flag(c)?;
    if !flags.contains(&flag) {
        flags.push(flag);
    }
    Ok(())
}

/// `flag = "\Answered" / "\Flagged" / "\Deleted" / "\Seen" / "\Draft" / flag-keyword / flag-extension`
pub(crate) fn flag(c: &mut Cursor<'_>) -> Parsed<Flag> {
    let at = c.at();
    let system = c.take(b'\\');
    let name = c.atom("a flag")?;
    if system {
        let named = |f: &SystemFlag| {
            f.as_str().as_bytes().get(1..).is_some_and(|n| n.eq_ignore_ascii_case(name))
        };
        let flag = SystemFlag::ALL.into_iter().find(named);
        let expected = "\\Answered, \\Flagged, \\Deleted, \\Seen, \\Draft or a keyword (\\Recent cannot be set)";
        return flag.map(Flag::System).ok_or_else(|| DecodeError::new(at, expected));
    }
    let keyword = std::str::from_utf8(name).ok().and_then(Keyword::new);
    keyword
        .map(Flag::Keyword)
        .ok_or_else(|| DecodeError::new(at, "a keyword of at most 255 octets without ]"))
}

#[cfg(test)]
mod tests;
