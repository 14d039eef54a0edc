//! SEARCH and its criteria.
//!
//! # Standards
//! RFC 3501 §6.4.4, RFC 4731 and RFC 5182 (SEARCH RETURN), RFC 5032 (WITHIN), RFC 7162 §3.1.5, RFC 8514 (SAVEDATE).

use super::Date;
use crate::flag::{Flag, Keyword, SystemFlag};
use crate::number::ModSeqOrZero;
use crate::set::SequenceSet;

/// `SEARCH` (RFC 3501 §6.4.4, RFC 4731, RFC 5182).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Search {
    /// Whether the command was UID SEARCH.
    pub uid: bool,
    /// `RETURN (…)`; `None` when absent, an empty list for `RETURN ()`, which means ALL.
    pub returns: Option<Vec<SearchReturn>>,
    /// `CHARSET`, as typed.
    pub charset: Option<String>,
    /// The criteria; all must hold.
    pub keys: Vec<SearchKey>,
}

/// A result option of extended SEARCH.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SearchReturn {
    /// `MIN`
    Min,
    /// `MAX`
    Max,
    /// `ALL`
    All,
    /// `COUNT`
    Count,
    /// `SAVE` (RFC 5182)
    Save,
}

/// A search criterion.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SearchKey {
    /// `ALL`
    All,
    /// A system flag is set: `ANSWERED`, `DELETED`, `DRAFT`, `FLAGGED`, `SEEN`.
    Flag(SystemFlag),
    /// A system flag is not set: `UNANSWERED` and so on.
    NotFlag(SystemFlag),
    /// `KEYWORD k`
    Keyword(Keyword),
    /// `UNKEYWORD k`
    NotKeyword(Keyword),
    /// `NEW`: recent and not seen.
    New,
    /// `OLD`: not recent.
    Old,
    /// `RECENT`
    Recent,
    /// `BCC`, `CC`, `FROM`, `TO`, `SUBJECT` and `HEADER`: field name as typed and the substring, which may be empty.
    Header(Vec<u8>, Vec<u8>),
    /// `BODY`
    Body(Vec<u8>),
    /// `TEXT`
    Text(Vec<u8>),
    /// `BEFORE`: internal date before the day.
    Before(Date),
    /// `ON`
    On(Date),
    /// `SINCE`
    Since(Date),
    /// `SENTBEFORE`
    SentBefore(Date),
    /// `SENTON`
    SentOn(Date),
    /// `SENTSINCE`
    SentSince(Date),
    /// `SAVEDBEFORE` (RFC 8514)
    SavedBefore(Date),
    /// `SAVEDON`
    SavedOn(Date),
    /// `SAVEDSINCE`
    SavedSince(Date),
    /// `SAVEDATESUPPORTED`
    SaveDateSupported,
    /// `LARGER n`, octets
    Larger(u64),
    /// `SMALLER n`, octets
    Smaller(u64),
    /// `OLDER n` (RFC 5032): internal date at least n seconds ago.
    Older(u32),
    /// `YOUNGER n`
    Younger(u32),
    /// `UID set`
    Uid(SequenceSet),
    /// A set of message numbers.
    Numbers(SequenceSet),
    /// `MODSEQ [entry type] n` (RFC 7162 §3.1.5) [S-87, S-89]
    ModSeq {
        /// The flag named by `"/flags/…"`, if any.
        item: Option<ModSeqItem>,
        /// Matches mod-sequences ≥ this.
        at_least: ModSeqOrZero,
    },
    /// `NOT`
    Not(Box<SearchKey>),
    /// `OR`
    Or(Box<SearchKey>, Box<SearchKey>),
    /// A parenthesised list: all must hold.
    And(Vec<SearchKey>),
}

/// The metadata item that SEARCH MODSEQ names (RFC 7162 §3.1.5): unknown flags are kept as text and match no flag.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ModSeqItem {
    /// The flag.
    pub flag: Option<Flag>,
    /// `priv`, `shared` or `all`.
    pub kind: EntryKind,
}

/// `entry-type-req` (RFC 7162 §7).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EntryKind {
    /// `priv`
    Private,
    /// `shared`
    Shared,
    /// `all`
    All,
}
