//! The changes that can be asked of the store, and what comes of each.
//!
//! # Invariants
//! - A change names UIDs, never message numbers: the session resolves those against its own view.
//! - An outcome is answered only after the change is durable and published [H1].

use crate::account::AccountChange;
use crate::engine::{AccountId, EngineError, MailboxId};
use crate::mailbox::MailboxState;
use crate::receive::NewBody;
use imap::command::{DateTime, StoreAction};
use imap::flag::Flag;
use imap::number::{ModSeq, ModSeqOrZero, UidValidity};
use imap::set::UidSet;
use std::fmt;
use std::sync::Arc;

/// A change of mailboxes or of an account.
#[derive(Clone, Debug)]
pub enum Change {
    /// STORE (RFC 3501 §6.4.6, RFC 7162 §3.1.3).
    StoreFlags {
        /// The mailbox.
        mailbox: MailboxId,
        /// The messages.
        uids: UidSet,
        /// `(UNCHANGEDSINCE n)`.
        condition: Option<ModSeqOrZero>,
        /// Replace, add or remove.
        action: StoreAction,
        /// The flags named.
        flags: Vec<Flag>,
    },
    /// APPEND and delivery: all messages or none (RFC 3502).
    Append {
        /// The mailbox.
        mailbox: MailboxId,
        /// The messages.
        messages: Vec<NewMessage>,
    },
    /// Mail to the mailbox's own address: as [`Change::Append`], if `anyone` has `p` (RFC 4314 §2.1).
    Post {
        /// The mailbox.
        mailbox: MailboxId,
        /// The messages.
        messages: Vec<NewMessage>,
    },
    /// EXPUNGE: the messages that have `\Deleted`, and are in the set if one is given.
    Expunge {
        /// The mailbox.
        mailbox: MailboxId,
        /// `UID EXPUNGE`'s set (RFC 4315).
        uids: Option<UidSet>,
    },
    /// COPY, or MOVE with `remove`: both mailboxes in one commit (RFC 6851).
    Transfer {
        /// Where from.
        source: MailboxId,
        /// Where to; may be the same mailbox.
        target: MailboxId,
        /// The messages; those that are no longer there are left out.
        uids: UidSet,
        /// Whether they leave the source.
        remove: bool,
    },
    /// Changes a setting of the mailbox.
    Configure {
        /// The mailbox.
        mailbox: MailboxId,
        /// `conflicts = message`: conditions always compare the message's own mod-sequence.
        conflicts_by_message: bool,
    },
    /// A change of the account's names or subscriptions.
    Account {
        /// The account.
        account: AccountId,
        /// What changes.
        change: AccountChange,
    },
}

/// A message to be added.
#[derive(Clone, Debug)]
pub struct NewMessage {
    /// Its body.
    pub body: NewBody,
    /// Its flags.
    pub flags: Vec<Flag>,
    /// Its internal date.
    pub internal_date: DateTime,
}

/// What came of a change.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Of [`Change::StoreFlags`].
    Stored(Stored),
    /// Of [`Change::Append`] and [`Change::Post`].
    Appended(Appended),
    /// Of [`Change::Expunge`].
    Expunged(Expunged),
    /// Of [`Change::Transfer`].
    Transferred(Transferred),
    /// Of [`Change::Account`] when it made a mailbox.
    Created(MailboxId),
    /// Of the others.
    Done,
}

/// What a STORE did. The sets are disjoint; together with `missing` they are what was asked for.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The mailbox just before: previous flags and mod-sequences are read here.
    pub before: Arc<MailboxState>,
    /// The mailbox just after.
    pub after: Arc<MailboxState>,
    /// The mod-sequence given; `None` when nothing changed.
    pub mod_seq: Option<ModSeq>,
    /// Messages really changed [S-12].
    pub changed: UidSet,
    /// Messages that passed and were as wanted already: no new mod-sequence [S-13, S-80].
    pub unchanged: UidSet,
    /// Messages whose condition failed: MODIFIED [S-64].
    pub failed: UidSet,
    /// UIDs asked for that are not in the mailbox.
    pub missing: UidSet,
}

/// What an APPEND did.
#[derive(Clone, Debug)]
pub struct Appended {
    /// The mailbox's UIDVALIDITY.
    pub uid_validity: UidValidity,
    /// The UIDs given, in the order of the messages.
    pub uids: UidSet,
    /// Their mod-sequence.
    pub mod_seq: ModSeq,
    /// The mailbox just after.
    pub after: Arc<MailboxState>,
}

/// What an EXPUNGE did.
#[derive(Clone, Debug)]
pub struct Expunged {
    /// The mailbox just before.
    pub before: Arc<MailboxState>,
    /// The mailbox just after.
    pub after: Arc<MailboxState>,
    /// The messages removed.
    pub uids: UidSet,
    /// The mod-sequence of the removal; `None` when nothing was removed.
    pub mod_seq: Option<ModSeq>,
}

/// What a COPY or MOVE did.
#[derive(Clone, Debug)]
pub struct Transferred {
    /// The target's UIDVALIDITY.
    pub uid_validity: UidValidity,
    /// The messages taken, rising; the n-th became the n-th of `target_uids`.
    pub source_uids: UidSet,
    /// The UIDs given in the target, rising.
    pub target_uids: UidSet,
    /// The source just before.
    pub source_before: Arc<MailboxState>,
    /// The source just after.
    pub source_after: Arc<MailboxState>,
    /// The target just after.
    pub target_after: Arc<MailboxState>,
    /// UIDs asked for that are not in the source.
    pub missing: UidSet,
}

/// Why a change or a look-up did not succeed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Error {
    /// There is no such account, mailbox or body, or it was deleted meanwhile.
    NonExistent,
    /// The name is taken.
    AlreadyExists,
    /// The name has inferiors and no mailbox that could be deleted.
    HasChildren,
    /// The request can never be done.
    Cannot(&'static str),
    /// A limit was met; nothing was done.
    Limit(&'static str),
    /// The access control list does not allow it; nothing was done.
    NoPermission,
    /// A limit of the account's quota was met; nothing was done.
    OverQuota(&'static str),
    /// The disk is full; nothing was done.
    Full(String),
    /// A write or sync failed and the outcome is unknown: end the connection, never answer NO [H1].
    Broken(String),
    /// Stored data cannot be read.
    Damaged(String),
    /// The database cannot be reached just now; nothing was done.
    Unavailable(String),
    /// The server is going down; nothing was done.
    ShuttingDown,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NonExistent => f.write_str("there is no such mailbox"),
            Self::AlreadyExists => f.write_str("the name is already in use"),
            Self::HasChildren => {
                f.write_str("the name has inferior names and is no mailbox itself")
            }
            Self::Cannot(why) | Self::Limit(why) | Self::OverQuota(why) => f.write_str(why),
            Self::NoPermission => {
                f.write_str("the mailbox's access control list does not allow this: MYRIGHTS tells")
            }
            Self::Full(why) => {
                write!(f, "nothing was stored: {why}; free some space and try again")
            }
            Self::Broken(why) => write!(f, "a write failed, its outcome is unknown: {why}"),
            Self::Damaged(why) => write!(f, "stored data cannot be read: {why}"),
            Self::Unavailable(why) => write!(f, "the store cannot be reached: {why}; try again"),
            Self::ShuttingDown => f.write_str("the server is shutting down"),
        }
    }
}

impl std::error::Error for Error {}

impl From<EngineError> for Error {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Behind => Self::Unavailable("too many writers at once".into()),
            EngineError::Full(why) => Self::Full(why),
            EngineError::Broken(why) | EngineError::Unknown(why) => Self::Broken(why),
            EngineError::Damaged(why) => Self::Damaged(why),
            EngineError::Unavailable(why) => Self::Unavailable(why),
        }
    }
}
