//! What NOTIFY asks to be told of.
//!
//! Only what a client needs that waits on many mailboxes; a command that asks for more does not parse.
//!
//! # Standards
//! RFC 5465 §3 to §6.

use super::MailboxName;

/// `NOTIFY SET` (RFC 5465 §3.1).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Notify {
    /// `STATUS`: how things stand now is told first, for mailboxes that are not selected.
    pub status: bool,
    /// Where what is to be told; a mailbox takes the first that fits it.
    pub groups: Vec<NotifyGroup>,
}

/// `event-group` (RFC 5465 §8).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NotifyGroup {
    /// Where.
    pub mailboxes: NotifyMailboxes,
    /// What; empty for `NONE`.
    pub events: Vec<NotifyEvent>,
}

/// `filter-mailboxes` (RFC 5465 §6).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NotifyMailboxes {
    /// `selected`
    Selected,
    /// `mailboxes`, one at least.
    Mailboxes(Vec<MailboxName>),
}

/// `event` (RFC 5465 §5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotifyEvent {
    /// `MessageNew`
    MessageNew,
    /// `MessageExpunge`
    MessageExpunge,
    /// `FlagChange`
    FlagChange,
}

impl NotifyEvent {
    /// All events.
    pub const ALL: [Self; 3] = [Self::MessageNew, Self::MessageExpunge, Self::FlagChange];

    /// The event's name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MessageNew => "MessageNew",
            Self::MessageExpunge => "MessageExpunge",
            Self::FlagChange => "FlagChange",
        }
    }

    /// The event with this name, in any case.
    #[must_use]
    pub fn from_name(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|event| event.as_str().as_bytes().eq_ignore_ascii_case(name))
    }
}
