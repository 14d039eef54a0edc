//! What an account has stored, and how much it may.
//!
//! # Standards
//! RFC 9208 §5 (the resources STORAGE, MESSAGE and MAILBOX).

use crate::codec::{Reader, Writer};
use crate::engine::EngineError;

/// What an account's messages come to, each counted in full in every mailbox that it is in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    /// Octets of all messages.
    pub octets: u64,
    /// Messages.
    pub messages: u64,
}

/// What a commit adds to an account's [`Usage`], or takes from it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct UsageChange {
    /// Octets.
    pub octets: i64,
    /// Messages.
    pub messages: i64,
}

impl UsageChange {
    /// Both together.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            octets: self.octets.saturating_add(other.octets),
            messages: self.messages.saturating_add(other.messages),
        }
    }

    /// The same taken away instead of added.
    #[must_use]
    pub const fn negated(self) -> Self {
        Self { octets: self.octets.saturating_neg(), messages: self.messages.saturating_neg() }
    }
}

impl Usage {
    /// After the change; never below 0.
    #[must_use]
    pub const fn after(self, change: UsageChange) -> Self {
        Self {
            octets: self.octets.saturating_add_signed(change.octets),
            messages: self.messages.saturating_add_signed(change.messages),
        }
    }
}

/// The limits of an account; `None` where there is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Quota {
    /// Octets of all messages.
    pub octets: Option<u64>,
    /// Messages.
    pub messages: Option<u64>,
    /// Mailboxes, INBOX included.
    pub mailboxes: Option<u64>,
}

impl Quota {
    /// What the limits forbid about an account that would have this much: the resource's name. Only growth is
    /// forbidden: who is above a limit that was lowered may still delete.
    pub(crate) fn forbids(&self, change: UsageChange, then: Usage) -> Option<&'static str> {
        let over = |limit: Option<u64>, value: u64| limit.is_some_and(|limit| value > limit);
        if change.octets > 0 && over(self.octets, then.octets) {
            Some("the account's messages have as many octets as they may: delete some first")
        } else if change.messages > 0 && over(self.messages, then.messages) {
            Some("the account has as many messages as it may: delete some first")
        } else {
            None
        }
    }

    pub(crate) fn encode(&self, w: &mut Writer) {
        for limit in [self.octets, self.messages, self.mailboxes] {
            w.byte(u8::from(limit.is_some()));
            w.number(limit.unwrap_or(0));
        }
    }

    pub(crate) fn decode(r: &mut Reader<'_>) -> Result<Self, EngineError> {
        let mut limit = || {
            let set = r.byte()? != 0;
            r.number().map(|value| set.then_some(value))
        };
        Ok(Self { octets: limit()?, messages: limit()?, mailboxes: limit()? })
    }
}
