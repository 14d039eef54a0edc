//! Responses as a client reads them: from octets to typed values.
//!
//! [`ResponseFramer`] finds where a response ends; [`parse`] says what it is. A response that cannot be parsed does
//! not disturb those behind it.
//!
//! # Invariants
//! - No input panics; nesting, memory and work are bounded by the limits.
//! - What other servers are known to write is read: codes without text, codes and items that nobody knows, items in
//!   any order, mod-sequences beyond 63 bits [C-19, C-20, C-21, C-22], which count as unknown.
//! - Everything that [`crate::encode`] writes is read as what was meant.
//!
//! # Standards
//! RFC 3501 §7 and §9, RFC 7162 §7, RFC 4466 and RFC 4731 (ESEARCH), RFC 5258 (LIST), RFC 2342, RFC 2971,
//! RFC 5161, RFC 8514, RFC 4314, RFC 9208.

mod acl;
mod code;
mod data;
mod fetch;
mod framer;
mod quota;
mod value;

use crate::acl::{Identifier, Rights};
use crate::command::{IdField, MailboxName, StatusItem, Tag};
use crate::encode::{Code, Status};
use crate::flag::{Flag, Keyword, SystemFlag};
use crate::namespace::Namespaces;
use crate::number::{ModSeq, SeqNum};
use crate::parse::{Cursor, DecodeError};
use crate::quota::{QuotaRoot, ResourceUsage};
use crate::set::UidSet;
pub use fetch::{FetchData, SectionData};
pub use framer::{ResponseFramer, ResponseLimits, ResponsePart};
pub use value::Value;

/// One response.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Response {
    /// OK, NO, BAD, BYE or PREAUTH, tagged or not.
    Status {
        /// The command that it ends; `None` when untagged.
        tag: Option<Tag>,
        /// Which of them.
        status: Status,
        /// The response code.
        code: Option<ResponseCode>,
        /// What a person may read; may be empty.
        text: String,
    },
    /// `+`: the server waits. Text, or base64 during AUTHENTICATE.
    Continue(Vec<u8>),
    /// `CAPABILITY`, names as sent.
    Capability(Vec<String>),
    /// `ENABLED`
    Enabled(Vec<String>),
    /// `LIST`
    List(ListEntry),
    /// `LSUB`
    Lsub(ListEntry),
    /// `SEARCH`
    Search {
        /// Message numbers or UIDs, in the order sent.
        numbers: Vec<u32>,
        /// The greatest mod-sequence of the result (RFC 7162 §3.1.5).
        mod_seq: Option<ModSeq>,
    },
    /// `ESEARCH`
    ESearch(ESearchResult),
    /// `STATUS`; items that are unknown or beyond 63 bits are left out, NIL is `None`.
    MailboxStatus {
        /// The mailbox.
        mailbox: MailboxName,
        /// What it has.
        items: Vec<(StatusItem, Option<u64>)>,
    },
    /// `FLAGS`
    Flags(Vec<FlagName>),
    /// `n EXISTS`
    Exists(u32),
    /// `n RECENT`
    Recent(u32),
    /// `n EXPUNGE`
    Expunge(SeqNum),
    /// `VANISHED` (RFC 7162 §3.2.10)
    Vanished {
        /// `(EARLIER)`: message numbers stay as they are.
        earlier: bool,
        /// The UIDs that are gone, known before or not.
        uids: UidSet,
    },
    /// `n FETCH`
    Fetch {
        /// The message.
        number: SeqNum,
        /// What is said about it, in the order sent.
        items: Vec<FetchData>,
    },
    /// `ID`; `None` for NIL.
    Id(Option<Vec<IdField>>),
    /// `NAMESPACE`
    Namespace(Namespaces),
    /// `ACL` (RFC 4314 §3.6); of rights, virtual and unknown ones are left out, here and below.
    Acl {
        /// The mailbox.
        mailbox: MailboxName,
        /// Who has which rights or, by a leading `-`, lacks them.
        entries: Vec<(Identifier, Rights)>,
    },
    /// `LISTRIGHTS` (RFC 4314 §3.7)
    ListRights {
        /// The mailbox.
        mailbox: MailboxName,
        /// Who it is about.
        identifier: Identifier,
        /// What they always have.
        required: Rights,
        /// What they may be given, tied rights in one set; no set is empty.
        optional: Vec<Rights>,
    },
    /// `MYRIGHTS` (RFC 4314 §3.8, RFC 8440)
    MyRights {
        /// The mailbox.
        mailbox: MailboxName,
        /// What the user may do there.
        rights: Rights,
    },
    /// `QUOTA` (RFC 9208 §4.2.1); resources whose numbers are beyond 63 bits are left out.
    Quota {
        /// The quota root.
        root: QuotaRoot,
        /// What it limits.
        usages: Vec<ResourceUsage>,
    },
    /// `QUOTAROOT` (RFC 9208 §4.2.2)
    QuotaRoots {
        /// The mailbox.
        mailbox: MailboxName,
        /// The quota roots that govern it.
        roots: Vec<QuotaRoot>,
    },
    /// An untagged response of another kind, as sent.
    Unknown(Vec<u8>),
}

/// A response code, known or not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ResponseCode {
    /// One that the server's side writes, too.
    Known(Code),
    /// Another one, or one whose arguments do not fit: to be ignored (RFC 9051 §7.1).
    Other {
        /// The first word in capitals.
        name: String,
        /// What follows it.
        arguments: Vec<u8>,
    },
}

/// A mailbox that LIST or LSUB names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListEntry {
    /// Attributes with backslash, as sent.
    pub attributes: Vec<String>,
    /// The hierarchy delimiter; `None` for NIL.
    pub delimiter: Option<char>,
    /// The name, decoded; empty only in the answer to `LIST "" ""`.
    pub name: MailboxName,
    /// The options of CHILDINFO (RFC 5258 §3.5); other extended items are ignored.
    pub child_info: Option<Vec<String>>,
}

/// The result of an extended SEARCH (RFC 4731 §3.1).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ESearchResult {
    /// The tag of the command.
    pub tag: Option<Tag>,
    /// Whether numbers are UIDs.
    pub uid: bool,
    /// `MIN`
    pub min: Option<u32>,
    /// `MAX`
    pub max: Option<u32>,
    /// `COUNT`
    pub count: Option<u64>,
    /// `ALL`
    pub all: Option<UidSet>,
    /// `MODSEQ`
    pub mod_seq: Option<ModSeq>,
}

/// A flag as a server names it (RFC 3501 §9 `flag-fetch`, `flag-perm`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FlagName {
    /// A flag that can be stored.
    Flag(Flag),
    /// `\Recent`
    Recent,
    /// `\*`: new keywords may be made.
    Any,
    /// A flag of an extension, or what only the server takes for a keyword.
    Other(String),
}

type Parsed<T> = Result<T, DecodeError>;

/// Parses one response without its CRLF, literals inside as they were sent.
///
/// # Errors
/// When a response of a known kind does not have its form.
pub fn parse(octets: &[u8]) -> Result<Response, DecodeError> {
    let mut c = Cursor::new(octets);
    if c.take(b'+') {
        c.take(b' ');
        return Ok(Response::Continue(c.rest().to_vec()));
    }
    if c.take(b'*') {
        c.space()?;
        return data::untagged(&mut c, octets);
    }
    let tag = c.tag()?;
    c.space()?;
    let at = c.at();
    let word = c.atom("OK, NO or BAD")?;
    match status_word(word) {
        Some(status @ (Status::Ok | Status::No | Status::Bad)) => {
            Ok(status_response(&mut c, Some(tag), status))
        }
        _ => Err(DecodeError::new(at, "OK, NO or BAD")),
    }
}

fn status_word(word: &[u8]) -> Option<Status> {
    let all = [Status::Ok, Status::No, Status::Bad, Status::Bye, Status::PreAuth];
    all.into_iter().find(|status| status.as_str().as_bytes().eq_ignore_ascii_case(word))
}

/// `[SP ["[" resp-text-code "]"] [SP] text]`; RFC 7162's own examples leave the text out.
fn status_response(c: &mut Cursor<'_>, tag: Option<Tag>, status: Status) -> Response {
    c.take(b' ');
    let (code, text) = code::split(c.rest());
    let text = String::from_utf8_lossy(text).into_owned();
    Response::Status { tag, status, code, text }
}

impl FlagName {
    /// The flag that the text names.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let system = SystemFlag::ALL.into_iter().find(|f| f.as_str().eq_ignore_ascii_case(text));
        let flag = system.map(Flag::System).or_else(|| Keyword::new(text).map(Flag::Keyword));
        match flag {
            Some(flag) => Self::Flag(flag),
            None if text.eq_ignore_ascii_case("\\Recent") => Self::Recent,
            None if text == "\\*" => Self::Any,
            None => Self::Other(text.to_owned()),
        }
    }
}

/// `"(" [flag-fetch *(SP flag-fetch)] ")"`
fn flag_names(c: &mut Cursor<'_>) -> Parsed<Vec<FlagName>> {
    c.byte(b'(', "a list of flags")?;
    let mut flags = Vec::new();
    while !c.take(b')') {
        if c.take(b' ') {
            continue;
        }
        let name = c.some_while("a flag", |b| b > b' ' && !b"()".contains(&b))?;
        flags.push(FlagName::new(&String::from_utf8_lossy(name)));
    }
    Ok(flags)
}

/// `mod-sequence-value`; `None` outside 1 to 2^63−1 [S-8].
fn mod_seq(c: &mut Cursor<'_>) -> Parsed<Option<ModSeq>> {
    Ok(number_64(c)?.and_then(ModSeq::new))
}

/// A number; `None` when it is negative or beyond 63 bits, as some servers have them.
fn number_64(c: &mut Cursor<'_>) -> Parsed<Option<u64>> {
    let minus = c.take(b'-');
    let digits = c.some_while("a number", |b| b.is_ascii_digit())?;
    let number = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse::<i64>().ok());
    Ok(number.filter(|_| !minus).and_then(|number| u64::try_from(number).ok()))
}

/// `uid-set`: a set without `*` and `$`.
fn plain_set(c: &mut Cursor<'_>) -> Parsed<UidSet> {
    let at = c.at();
    let set = c.sequence_set()?;
    let plain = if set.has_star() { None } else { set.resolve(0) };
    plain.ok_or_else(|| DecodeError::new(at, "a set of numbers without *"))
}

/// The end of a response; some servers leave a space there.
fn end(c: &mut Cursor<'_>) -> Parsed<()> {
    while c.take(b' ') {}
    if c.is_end() { Ok(()) } else { Err(c.error("the end of the response")) }
}

#[cfg(test)]
mod tests;
