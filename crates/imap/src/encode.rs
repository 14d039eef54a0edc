//! Responses as the server writes them: plain functions that append to a buffer.
//!
//! # Invariants
//! - Every status response has text, since RFC 3501's grammar wants it [S-37].
//! - What is written parses by RFC 3501 §9, whatever names and strings hold.

mod acl;
mod fetch;
mod quota;

use crate::command::{StatusItem, Tag};
use crate::namespace::{Namespace, Namespaces};
use crate::number::{ModSeq, SeqNum, Uid, UidValidity};
use crate::parse::is_atom_char;
use crate::set::UidSet;
use crate::utf7;
pub use acl::{acl, list_rights, my_rights};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
pub use fetch::FetchLine;
pub use quota::{quota, quota_root};
use std::io::Write;

/// The kinds of status response (RFC 3501 §7.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Status {
    /// `OK`
    Ok,
    /// `NO`
    No,
    /// `BAD`
    Bad,
    /// `BYE`
    Bye,
    /// `PREAUTH`
    PreAuth,
}

impl Status {
    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::No => "NO",
            Self::Bad => "BAD",
            Self::Bye => "BYE",
            Self::PreAuth => "PREAUTH",
        }
    }
}

/// A response code (RFC 3501 §7.1, RFC 5530, RFC 7162 §7, and where noted).
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Code {
    /// `ALERT`
    Alert,
    /// `ALREADYEXISTS`
    AlreadyExists,
    /// `APPENDUID` (RFC 4315)
    AppendUid(UidValidity, UidSet),
    /// `AUTHENTICATIONFAILED`
    AuthenticationFailed,
    /// `AUTHORIZATIONFAILED`
    AuthorizationFailed,
    /// `BADCHARSET` with the charsets that are known
    BadCharset(Vec<String>),
    /// `CANNOT`
    Cannot,
    /// `CAPABILITY` with the capabilities, joined
    Capability(String),
    /// `CLIENTBUG`
    ClientBug,
    /// `CLOSED` (RFC 7162 §3.2.11)
    Closed,
    /// `COPYUID` (RFC 4315): target's UIDVALIDITY, source UIDs, target UIDs
    CopyUid(UidValidity, UidSet, UidSet),
    /// `CORRUPTION`
    Corruption,
    /// `EXPUNGEISSUED`
    ExpungeIssued,
    /// `HASCHILDREN` (RFC 9051)
    HasChildren,
    /// `HIGHESTMODSEQ` [S-22]
    HighestModSeq(ModSeq),
    /// `INUSE`
    InUse,
    /// `LIMIT`
    Limit,
    /// `MODIFIED`: message numbers or UIDs [S-67, S-68]
    Modified(UidSet),
    /// `NOMODSEQ`
    NoModSeq,
    /// `NONEXISTENT`
    NonExistent,
    /// `NOPERM`
    NoPerm,
    /// `NOTSAVED` (RFC 5182)
    NotSaved,
    /// `OVERQUOTA`
    OverQuota,
    /// `PARSE`
    Parse,
    /// `PERMANENTFLAGS` with the flags, joined
    PermanentFlags(String),
    /// `PRIVACYREQUIRED`
    PrivacyRequired,
    /// `READ-ONLY`
    ReadOnly,
    /// `READ-WRITE`
    ReadWrite,
    /// `SERVERBUG`
    ServerBug,
    /// `TOOBIG` (RFC 4469)
    TooBig,
    /// `TRYCREATE`
    TryCreate,
    /// `UIDNEXT`
    UidNext(Uid),
    /// `UIDNOTSTICKY`
    UidNotSticky,
    /// `UIDVALIDITY`
    UidValidity(UidValidity),
    /// `UNAVAILABLE`
    Unavailable,
    /// `UNKNOWN-CTE` (RFC 3516)
    UnknownCte,
    /// `UNSEEN`
    Unseen(SeqNum),
    /// `USEATTR` (RFC 6154)
    UseAttr,
}

macro_rules! put {
    ($out:expr, $($arg:tt)*) => {{
        let written = write!($out, $($arg)*);
        debug_assert!(written.is_ok(), "writing to a Vec cannot fail");
    }};
}
pub(crate) use put;

/// A number, without the machinery of formatting: these are most of what a FETCH writes.
fn decimal(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

impl Code {
    /// The code's first word.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Alert => "ALERT",
            Self::AlreadyExists => "ALREADYEXISTS",
            Self::AppendUid(..) => "APPENDUID",
            Self::AuthenticationFailed => "AUTHENTICATIONFAILED",
            Self::AuthorizationFailed => "AUTHORIZATIONFAILED",
            Self::BadCharset(_) => "BADCHARSET",
            Self::Cannot => "CANNOT",
            Self::Capability(_) => "CAPABILITY",
            Self::ClientBug => "CLIENTBUG",
            Self::Closed => "CLOSED",
            Self::CopyUid(..) => "COPYUID",
            Self::Corruption => "CORRUPTION",
            Self::ExpungeIssued => "EXPUNGEISSUED",
            Self::HasChildren => "HASCHILDREN",
            Self::HighestModSeq(_) => "HIGHESTMODSEQ",
            Self::InUse => "INUSE",
            Self::Limit => "LIMIT",
            Self::Modified(_) => "MODIFIED",
            Self::NoModSeq => "NOMODSEQ",
            Self::NonExistent => "NONEXISTENT",
            Self::NoPerm => "NOPERM",
            Self::NotSaved => "NOTSAVED",
            Self::OverQuota => "OVERQUOTA",
            Self::Parse => "PARSE",
            Self::PermanentFlags(_) => "PERMANENTFLAGS",
            Self::PrivacyRequired => "PRIVACYREQUIRED",
            Self::ReadOnly => "READ-ONLY",
            Self::ReadWrite => "READ-WRITE",
            Self::ServerBug => "SERVERBUG",
            Self::TooBig => "TOOBIG",
            Self::TryCreate => "TRYCREATE",
            Self::UidNext(_) => "UIDNEXT",
            Self::UidNotSticky => "UIDNOTSTICKY",
            Self::UidValidity(_) => "UIDVALIDITY",
            Self::Unavailable => "UNAVAILABLE",
            Self::UnknownCte => "UNKNOWN-CTE",
            Self::Unseen(_) => "UNSEEN",
            Self::UseAttr => "USEATTR",
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        put!(out, "[{}", self.name());
        match self {
            Self::AppendUid(validity, uids) => put!(out, " {validity} {uids}"),
            Self::CopyUid(validity, source, target) => put!(out, " {validity} {source} {target}"),
            Self::BadCharset(known) if !known.is_empty() => put!(out, " ({})", known.join(" ")),
            Self::Capability(list) => put!(out, " {list}"),
            Self::PermanentFlags(list) => put!(out, " ({list})"),
            Self::HighestModSeq(value) => put!(out, " {value}"),
            Self::Modified(set) => put!(out, " {set}"),
            Self::UidNext(uid) => put!(out, " {uid}"),
            Self::UidValidity(value) => put!(out, " {value}"),
            Self::Unseen(number) => put!(out, " {number}"),
            _ => {}
        }
        out.extend_from_slice(b"] ");
    }
}

fn status_line(out: &mut Vec<u8>, status: Status, code: Option<&Code>, text: &str) {
    out.push(b' ');
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    match (code, text.strip_prefix('[')) {
        (Some(code), _) => {
            code.write(out);
            plain_text(out, text);
        }
        // Text that begins with a bracket would be read as a code.
        (None, Some(rest)) => {
            out.push(b'(');
            plain_text(out, rest);
        }
        (None, None) => plain_text(out, text),
    }
    out.extend_from_slice(b"\r\n");
}

/// `text = 1*TEXT-CHAR`: 7-bit, no CR, LF or NUL, never empty.
fn plain_text(out: &mut Vec<u8>, text: &str) {
    if text.is_empty() {
        out.push(b'.');
    }
    let plain = |ch: char| if (' '..='~').contains(&ch) { ch } else { '?' };
    out.extend(text.chars().map(plain).filter_map(|ch| u8::try_from(ch).ok()));
}

/// The tagged response that ends a command.
pub fn tagged(out: &mut Vec<u8>, tag: &Tag, status: Status, code: Option<&Code>, text: &str) {
    out.extend_from_slice(tag.0.as_bytes());
    status_line(out, status, code, text);
}

/// An untagged status response.
pub fn untagged(out: &mut Vec<u8>, status: Status, code: Option<&Code>, text: &str) {
    out.push(b'*');
    status_line(out, status, code, text);
}

/// A continuation request with text.
pub fn continuation(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(b"+ ");
    plain_text(out, text);
    out.extend_from_slice(b"\r\n");
}

/// A SASL challenge.
pub fn continuation_base64(out: &mut Vec<u8>, data: &[u8]) {
    put!(out, "+ {}\r\n", BASE64.encode(data));
}

/// `* CAPABILITY …`
pub fn capability(out: &mut Vec<u8>, list: &str) {
    put!(out, "* CAPABILITY {list}\r\n");
}

/// `* ENABLED …`, also when nothing was enabled [S-110].
pub fn enabled(out: &mut Vec<u8>, names: &[&str]) {
    out.extend_from_slice(b"* ENABLED");
    for name in names {
        put!(out, " {name}");
    }
    out.extend_from_slice(b"\r\n");
}

/// `* n EXISTS`
pub fn exists(out: &mut Vec<u8>, count: u32) {
    put!(out, "* {count} EXISTS\r\n");
}

/// `* n RECENT`
pub fn recent(out: &mut Vec<u8>, count: u32) {
    put!(out, "* {count} RECENT\r\n");
}

/// `* n EXPUNGE`
pub fn expunge(out: &mut Vec<u8>, number: SeqNum) {
    put!(out, "* {number} EXPUNGE\r\n");
}

/// `* VANISHED [(EARLIER)] uids`, in lines of at most about 4 KiB; nothing for an empty set [S-133].
pub fn vanished(out: &mut Vec<u8>, earlier: bool, uids: &UidSet) {
    const RANGES_PER_LINE: usize = 180;
    for ranges in uids.ranges().chunks(RANGES_PER_LINE) {
        let part = UidSet::from_ranges(ranges.iter().copied());
        put!(out, "* VANISHED {}{part}\r\n", if earlier { "(EARLIER) " } else { "" });
    }
}

/// `* FLAGS (…)`
pub fn flags(out: &mut Vec<u8>, list: &str) {
    put!(out, "* FLAGS ({list})\r\n");
}

/// `* LIST` or `* LSUB`; `childinfo` adds the extended item of RFC 5258 §3.5.
pub fn list(
    out: &mut Vec<u8>,
    lsub: bool,
    attributes: &[&str],
    delimiter: Option<char>,
    name: &str,
    childinfo: Option<&[&str]>,
) {
    out.extend_from_slice(if lsub { b"* LSUB (" } else { b"* LIST (" });
    for (i, attribute) in attributes.iter().enumerate() {
        out.extend_from_slice(if i > 0 { b" " } else { b"" });
        out.extend_from_slice(attribute.as_bytes());
    }
    match delimiter {
        Some(delimiter) => put!(out, ") \"{delimiter}\" "),
        None => out.extend_from_slice(b") NIL "),
    }
    mailbox(out, name);
    if let Some(options) = childinfo {
        let quoted: Vec<_> = options.iter().map(|option| format!("\"{option}\"")).collect();
        put!(out, " (\"CHILDINFO\" ({}))", quoted.join(" "));
    }
    out.extend_from_slice(b"\r\n");
}

/// `* STATUS mailbox (…)`; `None` is NIL, which only APPENDLIMIT may be (RFC 7889).
pub fn status(out: &mut Vec<u8>, name: &str, items: &[(StatusItem, Option<u64>)]) {
    out.extend_from_slice(b"* STATUS ");
    mailbox(out, name);
    out.extend_from_slice(b" (");
    for (i, (item, value)) in items.iter().enumerate() {
        out.extend_from_slice(if i > 0 { b" " } else { b"" });
        out.extend_from_slice(item.as_str().as_bytes());
        out.push(b' ');
        match value {
            Some(value) => decimal(out, *value),
            None => out.extend_from_slice(b"NIL"),
        }
    }
    out.extend_from_slice(b")\r\n");
}

/// `* NAMESPACE personal others shared`, each a list or NIL (RFC 2342 §5).
pub fn namespaces(out: &mut Vec<u8>, all: &Namespaces) {
    out.extend_from_slice(b"* NAMESPACE");
    for list in [&all.personal, &all.others, &all.shared] {
        out.push(b' ');
        namespace(out, list);
    }
    out.extend_from_slice(b"\r\n");
}

/// `namespace = nil / "(" 1*("(" string SP (DQUOTE QUOTED-CHAR DQUOTE / nil) ")") ")"` (RFC 2342 §6)
fn namespace(out: &mut Vec<u8>, list: &[Namespace]) {
    if list.is_empty() {
        out.extend_from_slice(b"NIL");
        return;
    }
    out.push(b'(');
    for Namespace { prefix, delimiter } in list {
        out.push(b'(');
        string(out, utf7::encode(prefix).as_bytes());
        out.push(b' ');
        nstring(out, delimiter.map(String::from).as_ref().map(String::as_bytes));
        out.push(b')');
    }
    out.push(b')');
}

/// `* ID (…)` (RFC 2971)
pub fn id(out: &mut Vec<u8>, fields: &[(&str, &str)]) {
    out.extend_from_slice(b"* ID (");
    for (i, (name, value)) in fields.iter().enumerate() {
        if i > 0 {
            out.push(b' ');
        }
        string(out, name.as_bytes());
        out.push(b' ');
        string(out, value.as_bytes());
    }
    out.extend_from_slice(b")\r\n");
}

/// `* SEARCH …`, of numbers or of UIDs [S-95], in one line [S-96]; the mod-sequence is written only behind a result [S-92, S-93].
pub fn search(out: &mut Vec<u8>, numbers: &UidSet, mod_seq: Option<ModSeq>) {
    out.extend_from_slice(b"* SEARCH");
    for &(low, high) in numbers.ranges() {
        count_up(out, low, high);
    }
    if let Some(mod_seq) = mod_seq.filter(|_| !numbers.is_empty()) {
        put!(out, " (MODSEQ {mod_seq})");
    }
    out.extend_from_slice(b"\r\n");
}

/// Every number from `low` to `high` with a space before it.
///
/// The digits are counted up in place, and copied with what stands behind them, since a copy whose length is known to the
/// compiler costs next to nothing: together a fifth of what it costs to format each.
fn count_up(out: &mut Vec<u8>, low: u32, high: u32) {
    const ROOM: usize = 16;
    let mut first = itoa::Buffer::new();
    let first = first.format(low).as_bytes();
    let mut text = [b' '; ROOM];
    text.iter_mut().skip(1).zip(first).for_each(|(place, digit)| *place = *digit);
    let mut len = 1 + first.len();
    out.reserve(usize::try_from(high - low).unwrap_or(0).min(1 << 16) * len + ROOM);
    for number in low..=high {
        let end = out.len() + len;
        out.extend_from_slice(&text);
        out.truncate(end);
        if number == high {
            return;
        }
        len = next_decimal(&mut text, len);
    }
}

/// Counts the digits between the space and `len` up by one; answers their new end.
fn next_decimal(text: &mut [u8], len: usize) -> usize {
    for digit in text.iter_mut().take(len).skip(1).rev() {
        if *digit != b'9' {
            *digit += 1;
            return len;
        }
        *digit = b'0';
    }
    // All were nines: a one comes before them.
    text.iter_mut().skip(1).take(1).for_each(|digit| *digit = b'1');
    text.iter_mut().skip(len).take(1).for_each(|digit| *digit = b'0');
    len + 1
}

/// The result of an extended SEARCH (RFC 4731 §3.1).
#[derive(Clone, Debug)]
pub struct ESearch<'a> {
    /// The tag of the command.
    pub tag: &'a Tag,
    /// Whether numbers are UIDs.
    pub uid: bool,
    /// `MIN`
    pub min: Option<u32>,
    /// `MAX`
    pub max: Option<u32>,
    /// `COUNT`
    pub count: Option<u64>,
    /// `ALL`; an empty set is not written.
    pub all: Option<UidSet>,
    /// `MODSEQ` [S-97]
    pub mod_seq: Option<ModSeq>,
}

/// `* ESEARCH (TAG "…") …`
pub fn esearch(out: &mut Vec<u8>, result: &ESearch<'_>) {
    out.extend_from_slice(b"* ESEARCH (TAG ");
    string(out, result.tag.0.as_bytes());
    out.push(b')');
    if result.uid {
        out.extend_from_slice(b" UID");
    }
    if let Some(min) = result.min {
        put!(out, " MIN {min}");
    }
    if let Some(max) = result.max {
        put!(out, " MAX {max}");
    }
    if let Some(count) = result.count {
        put!(out, " COUNT {count}");
    }
    if let Some(all) = result.all.as_ref().filter(|all| !all.is_empty()) {
        put!(out, " ALL {all}");
    }
    if let Some(mod_seq) = result.mod_seq {
        put!(out, " MODSEQ {mod_seq}");
    }
    out.extend_from_slice(b"\r\n");
}

/// A mailbox name in modified UTF-7, as atom or string.
pub fn mailbox(out: &mut Vec<u8>, name: &str) {
    astring(out, utf7::encode(name).as_bytes());
}

/// An atom, or a string where it cannot be one or would be taken for NIL.
fn astring(out: &mut Vec<u8>, octets: &[u8]) {
    let is_atom = !octets.is_empty()
        && !octets.eq_ignore_ascii_case(b"NIL")
        && octets.iter().copied().all(is_atom_char);
    if is_atom {
        out.extend_from_slice(octets);
    } else {
        string(out, octets);
    }
}

/// A quoted string, or a literal where quoting cannot say it. NUL cannot be said at all and is left out.
pub fn string(out: &mut Vec<u8>, octets: &[u8]) {
    const QUOTED_MAX: usize = 1000;
    let plain = |b: &u8| (0x20..0x7f).contains(b) || *b == b'\t';
    if octets.len() <= QUOTED_MAX && octets.iter().all(plain) {
        out.push(b'"');
        for &b in octets {
            if b == b'"' || b == b'\\' {
                out.push(b'\\');
            }
            out.push(b);
        }
        out.push(b'"');
        return;
    }
    let len = octets.iter().filter(|b| **b != 0).count();
    put!(out, "{{{len}}}\r\n");
    out.extend(octets.iter().filter(|b| **b != 0));
}

/// A string, or NIL.
pub fn nstring(out: &mut Vec<u8>, octets: Option<&[u8]>) {
    match octets {
        Some(octets) => string(out, octets),
        None => out.extend_from_slice(b"NIL"),
    }
}

#[cfg(test)]
mod tests;
