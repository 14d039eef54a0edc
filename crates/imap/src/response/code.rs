//! Response codes.
//!
//! # Standards
//! RFC 3501 §7.1, RFC 5530, RFC 4315, RFC 7162 §7.

use super::{Parsed, ResponseCode, mod_seq, plain_set};
use crate::encode::Code;
use crate::number::{SeqNum, Uid, UidValidity};
use crate::parse::{Cursor, DecodeError};
use crate::set::{SequenceSet, SetBound, UidSet};

/// The codes that are one word.
pub(super) const BARE: [Code; 28] = [
    Code::Alert,
    Code::AlreadyExists,
    Code::AuthenticationFailed,
    Code::AuthorizationFailed,
    Code::Cannot,
    Code::ClientBug,
    Code::Closed,
    Code::Corruption,
    Code::ExpungeIssued,
    Code::HasChildren,
    Code::InUse,
    Code::Limit,
    Code::NoModSeq,
    Code::NonExistent,
    Code::NoPerm,
    Code::NotSaved,
    Code::OverQuota,
    Code::Parse,
    Code::PrivacyRequired,
    Code::ReadOnly,
    Code::ReadWrite,
    Code::ServerBug,
    Code::TooBig,
    Code::TryCreate,
    Code::UidNotSticky,
    Code::Unavailable,
    Code::UnknownCte,
    Code::UseAttr,
];

/// `["[" resp-text-code "]" [SP]] text`: the code, if there is one, and the text.
pub(super) fn split(text: &[u8]) -> (Option<ResponseCode>, &[u8]) {
    let Some(inside) = text.strip_prefix(b"[") else { return (None, text) };
    let Some(end) = closing(inside) else { return (None, text) };
    let (code, rest) = inside.split_at(end);
    let rest = rest.strip_prefix(b"]").unwrap_or(rest);
    (Some(response_code(code)), rest.strip_prefix(b" ").unwrap_or(rest))
}

/// Where the closing bracket is: the first outside quotes, or the first at all.
fn closing(text: &[u8]) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (i, &b) in text.iter().enumerate() {
        match b {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b']' if !quoted => return Some(i),
            _ => {}
        }
    }
    text.iter().position(|b| *b == b']')
}

fn response_code(text: &[u8]) -> ResponseCode {
    let at = text.iter().position(|b| *b == b' ').unwrap_or(text.len());
    let (name, rest) = text.split_at(at);
    let name = String::from_utf8_lossy(name).to_ascii_uppercase();
    let arguments = rest.strip_prefix(b" ").unwrap_or(rest);
    match known(&name, arguments) {
        Ok(Some(code)) => ResponseCode::Known(code),
        Ok(None) | Err(_) => ResponseCode::Other { name, arguments: arguments.to_vec() },
    }
}

/// `resp-text-code`; `None` when it is another one or its number is out of bounds [S-22, S-68].
fn known(name: &str, arguments: &[u8]) -> Parsed<Option<Code>> {
    let c = &mut Cursor::new(arguments);
    let code = match name {
        "HIGHESTMODSEQ" => mod_seq(c)?.map(Code::HighestModSeq),
        "MODIFIED" => Some(Code::Modified(plain_set(c)?)),
        "UIDNEXT" => Uid::new(c.number_32()?).map(Code::UidNext),
        "UIDVALIDITY" => UidValidity::new(c.number_32()?).map(Code::UidValidity),
        "UNSEEN" => SeqNum::new(c.number_32()?).map(Code::Unseen),
        "CAPABILITY" => Some(Code::Capability(String::from_utf8_lossy(c.rest()).into_owned())),
        "PERMANENTFLAGS" => {
            let list = c.rest().strip_prefix(b"(").and_then(|list| list.strip_suffix(b")"));
            list.map(|list| Code::PermanentFlags(String::from_utf8_lossy(list).into_owned()))
        }
        "APPENDUID" => {
            let validity = uid_validity(c)?;
            Some(Code::AppendUid(validity, ordered_set(c)?))
        }
        "COPYUID" => {
            let validity = uid_validity(c)?;
            let source = ordered_set(c)?;
            c.space()?;
            let target = ordered_set(c)?;
            Some(Code::CopyUid(validity, source, target))
        }
        "BADCHARSET" => Some(Code::BadCharset(charsets(c)?)),
        name => BARE.into_iter().find(|code| code.name() == name),
    };
    c.end()?;
    Ok(code)
}

fn uid_validity(c: &mut Cursor<'_>) -> Parsed<UidValidity> {
    let at = c.at();
    let validity = UidValidity::new(c.number_32()?);
    c.space()?;
    validity.ok_or_else(|| DecodeError::new(at, "a UIDVALIDITY from 1"))
}

/// A set whose order says which UID became which: it must ascend, else that would be lost.
fn ordered_set(c: &mut Cursor<'_>) -> Parsed<UidSet> {
    let at = c.at();
    let set = c.sequence_set()?;
    let mut last = 0;
    let mut ascends = |bound: &SetBound, strictly: bool| match bound {
        SetBound::Number(n) => {
            let fits = n.get() > last || (!strictly && n.get() == last);
            last = n.get();
            fits
        }
        SetBound::Star => false,
    };
    let plain = match &set {
        SequenceSet::Ranges(ranges) => {
            ranges.iter().all(|(low, high)| ascends(low, true) && ascends(high, false))
        }
        SequenceSet::Saved => false,
    };
    let plain = if plain { set.resolve(0) } else { None };
    plain.ok_or_else(|| DecodeError::new(at, "a set of ascending UIDs"))
}

/// `[SP "(" astring *(SP astring) ")"]`
fn charsets(c: &mut Cursor<'_>) -> Parsed<Vec<String>> {
    let mut names = Vec::new();
    if c.is_end() {
        return Ok(names);
    }
    c.byte(b'(', "( and charsets")?;
    loop {
        names.push(String::from_utf8_lossy(&c.astring("a charset")?).into_owned());
        if c.take(b')') {
            return Ok(names);
        }
        c.space()?;
    }
}
