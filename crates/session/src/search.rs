//! The search engine: a command's criteria, compiled against a view, tested message by message.
//!
//! What a record answers is asked first, then the header is read, and only then the whole message.
//!
//! # Invariants
//! - Only messages that the client's numbering has are found.
//! - Sets are ranges: nothing is expanded [S-174]; MODSEQ is answered in time that follows the change [H5].
//!
//! # Standards
//! RFC 3501 §6.4.4, RFC 7162 §3.1.5, RFC 5032, RFC 8514.

mod compile;
mod test;

pub(crate) use compile::{compile, has_mod_seq, has_numbers};
pub(crate) use test::{holds, holds_by_record};

use imap::command::Date;
use imap::set::UidSet;
use store::{FlagBit, Message};

/// A criterion, compiled: names are bits, numbers are UIDs, words are lower case.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Key {
    /// Always true.
    All,
    /// One of these UIDs.
    Among(UidSet),
    /// The flag is set; `None` for a keyword that the mailbox does not know.
    Has(Option<FlagBit>),
    /// `\Recent` in this session.
    Recent,
    /// The mod-sequence, of the message or of one flag, is at least this.
    ModSeq(Item, u64),
    /// Internal date: within these days, the last not included.
    Arrived(Days),
    /// The day in the Date field.
    Sent(Days),
    /// The day on which it was saved here.
    Saved(Days),
    /// Octets: more than this.
    Larger(u64),
    /// Octets: less than this.
    Smaller(u64),
    /// Internal date at or before this moment.
    Until(i64),
    /// Internal date at or after this moment.
    From(i64),
    /// A header field with this name contains these words; empty words ask for the field only.
    Header(Vec<u8>, String),
    /// The body contains these words.
    Body(String),
    /// Header or body contain these words.
    Text(String),
    /// Not this.
    Not(Box<Self>),
    /// All of these.
    And(Vec<Self>),
    /// One of these.
    Or(Box<(Self, Self)>),
}

/// Days from the first, which is included, to the last, which is not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Days {
    from: i32,
    to: i32,
}

impl Days {
    pub(crate) const fn before(date: Date) -> Self {
        Self { from: i32::MIN, to: date.days }
    }

    pub(crate) const fn on(date: Date) -> Self {
        Self { from: date.days, to: date.days.saturating_add(1) }
    }

    pub(crate) const fn since(date: Date) -> Self {
        Self { from: date.days, to: i32::MAX }
    }

    const fn contains(self, date: Date) -> bool {
        self.from <= date.days && date.days < self.to
    }
}

/// Which mod-sequence SEARCH MODSEQ means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Item {
    /// The message's.
    Message,
    /// That of one flag's last change [S-91].
    Flag(FlagBit),
    /// That of a flag that the mailbox does not know: it last changed when the message arrived [S-90].
    Unknown,
}

impl Item {
    fn of(self, message: &Message) -> u64 {
        match self {
            Self::Message => message.mod_seq.value(),
            Self::Flag(bit) => message.item(bit).value(),
            Self::Unknown => message.arrival.value(),
        }
    }
}

/// The messages that can match at all, as far as it can be told without looking at each.
pub(crate) struct Scope {
    /// Their UIDs are among these; `None` when any may be.
    pub(crate) uids: Option<UidSet>,
    /// Their mod-sequences are above this.
    pub(crate) since: u64,
}

/// Narrows the search down by the criteria that must all hold.
pub(crate) fn scope(keys: &[Key]) -> Scope {
    let mut scope = Scope { uids: None, since: 0 };
    narrow(keys, &mut scope);
    scope
}

fn narrow(keys: &[Key], scope: &mut Scope) {
    for key in keys {
        match key {
            Key::Among(uids) => {
                let so_far = scope.uids.as_ref();
                scope.uids =
                    Some(so_far.map_or_else(|| uids.clone(), |all| all.intersection(uids)));
            }
            // An item's mod-sequence is never above the message's.
            Key::ModSeq(_, at_least) => scope.since = scope.since.max(at_least.saturating_sub(1)),
            Key::And(keys) => narrow(keys, scope),
            _ => {}
        }
    }
}
