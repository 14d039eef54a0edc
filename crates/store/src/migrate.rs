//! Brings accounts from one place to another, whatever engines they are on: a directory to a database, or back.
//!
//! Everything keeps its number: accounts, mailboxes, UIDs, mod-sequences, bodies, and the history of expunges. So UIDVALIDITY
//! stays, and a client that was synchronized with the one place resynchronizes with the other as if nothing had
//! happened [H3, H6]. That is why what numbers are taken already, for something else, is refused.
//!
//! # Invariants
//! - Nothing may be written to either place meanwhile but by this: the host sees to that.
//! - An account is seen in the target only once all of it is there: its row is written last.
//! - A mailbox is whole once its log stands where the source's stands. What a migration that ended early left of others
//!   is dropped and copied anew; bodies that came are found again by their number, length and checksum.
//! - Before anything comes, the target takes note of the account numbers: nobody gets one of an account that is half there.
//! - What is said to be there has been read there: every mailbox is compared, and the octets of its messages with their
//!   checksum, whether this migration brought them or an earlier one [H8].
//! - No reference to a body is ever missing; some may be counted twice, after an early end in the middle of a very large
//!   mailbox, or before the source changed. Such a body's space is not given back when its message goes.

mod bodies;
mod check;
mod log;

use crate::engine::{
    AccountId, AccountRow, BodyStore, Commit, Engine, EngineError, LogHead, LogId, MailboxId,
};
use crate::open::OpenAccount;
use crate::quota::UsageChange;
use std::collections::HashMap;
use std::fmt;

/// A database with the place for its bodies.
#[derive(Clone, Copy)]
pub struct Side<'a> {
    /// The database.
    pub engine: &'a dyn Engine,
    /// The bodies.
    pub bodies: &'a dyn BodyStore,
}

impl fmt::Debug for Side<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Side")
    }
}

/// What has been brought so far, and what of it was there already.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Moved {
    /// Accounts, whole.
    pub accounts: u64,
    /// Of them, those that an earlier migration brought.
    pub accounts_there: u64,
    /// Mailboxes.
    pub mailboxes: u64,
    /// Messages.
    pub messages: u64,
    /// Octets of bodies that were copied.
    pub octets: u64,
}

/// Why a migration ended early. What it has brought stays, and the next one goes on from there.
#[derive(Debug)]
pub enum MigrateError {
    /// The source has no account with this name.
    NoAccount(String),
    /// The target has another account with this name, or with this number.
    Taken {
        /// The account's name in the source.
        name: String,
        /// Its number.
        id: AccountId,
        /// The name of the account in the target.
        by: String,
    },
    /// The target has groups, sharing or mailboxes below `Shared/` of its own.
    SharedTaken,
    /// An account came whole, and something was changed since, there or in the source.
    Changed {
        /// The mailbox, or the names, and whose.
        whose: String,
    },
    /// The target has another message under this number.
    BodyTaken(u64),
    /// A mailbox is to get a new UIDVALIDITY first.
    Doubtful(LogId),
    /// What came is not what is in the source.
    Differs {
        /// The mailbox, or the names, and whose.
        whose: String,
        /// What differs.
        what: &'static str,
    },
    /// Reading or writing failed.
    Engine {
        /// Which of the two places.
        side: &'static str,
        /// What was on its way.
        what: String,
        /// Why.
        error: EngineError,
    },
}

impl fmt::Display for MigrateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAccount(name) => write!(f, "the source has no account `{name}`"),
            Self::Taken { name, id, by } if name == by => write!(
                f,
                "the target has an account `{name}` that this source did not bring there (number {}): rename or \
                 delete one of the two, or choose an empty target",
                id.0
            ),
            Self::Taken { name, id, by } => write!(
                f,
                "account `{name}` has number {}, which account `{by}` has in the target: mail keeps its numbers, so \
                 choose an empty target, or one that was filled from this source",
                id.0
            ),
            Self::SharedTaken => f.write_str(
                "the target has groups, sharing or shared mailboxes of its own: choose an empty target, or bring \
                 accounts one by one with --account, which leaves those behind",
            ),
            Self::Changed { whose } => write!(
                f,
                "{whose}: the account was brought before and has changed since, here or there; nothing of it is written \
                 over. To bring it anew, delete it in the target first"
            ),
            Self::BodyTaken(id) => write!(
                f,
                "the target has another message under number {id}: choose an empty target, or one that was filled from this \
                 source"
            ),
            Self::Doubtful(log) => write!(
                f,
                "mailbox {} of account {} awaits a new UIDVALIDITY, since its database may have lost changes: start a \
                 node on the source and select it once",
                log.number, log.account.0
            ),
            Self::Differs { whose, what } => write!(
                f,
                "{whose}: {what} in the target differs from the source: is something else writing to one of them? stop it \
                 and migrate again"
            ),
            Self::Engine { side, what, error } => write!(f, "{side}, {what}: {error}"),
        }
    }
}

impl std::error::Error for MigrateError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            // What is shown has the error itself in it.
            Self::Engine { error, .. } => error.source(),
            _ => None,
        }
    }
}

/// An account, and a mailbox of it or else what it has beside them.
#[derive(Clone, Copy)]
struct Whose<'a> {
    account: &'a str,
    mailbox: Option<&'a str>,
}

impl fmt::Display for Whose<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mailbox {
            Some(mailbox) => write!(f, "mailbox `{mailbox}` of `{}`", self.account),
            None => write!(f, "the mailbox names and rights of `{}`", self.account),
        }
    }
}

/// Notes where an engine's error came from.
trait At<T> {
    fn in_source(self, what: impl FnOnce() -> String) -> Result<T, MigrateError>;
    fn in_target(self, what: impl FnOnce() -> String) -> Result<T, MigrateError>;
}

impl<T> At<T> for Result<T, EngineError> {
    fn in_source(self, what: impl FnOnce() -> String) -> Result<T, MigrateError> {
        self.map_err(|error| MigrateError::Engine { side: "the source", what: what(), error })
    }

    fn in_target(self, what: impl FnOnce() -> String) -> Result<T, MigrateError> {
        self.map_err(|error| MigrateError::Engine { side: "the target", what: what(), error })
    }
}

/// One migration on its way.
struct Migration<'a> {
    from: Side<'a>,
    to: Side<'a>,
    /// Who has which number in the target, before it began.
    there: HashMap<AccountId, String>,
    now: i64,
    moved: Moved,
    /// The account on its way was whole when it began: nothing of it is written.
    is_there: bool,
    tell: &'a mut dyn FnMut(&str, &Moved),
    renew: &'a mut dyn FnMut(MailboxId),
}

/// Brings these accounts, or all of them with groups and what is below `Shared/`. Blocks for as long as it takes.
///
/// `tell` hears which account is on its way, and how much has come; `renew` is asked to give a mailbox of the source its
/// new UIDVALIDITY when it is to have one. `now` is in seconds since 1970.
///
/// # Errors
/// See [`MigrateError`]. The source is left as it was, but that one account number will never be given out there.
pub fn migrate(
    from: Side<'_>,
    to: Side<'_>,
    only: &[String],
    now: i64,
    tell: &mut dyn FnMut(&str, &Moved),
    renew: &mut dyn FnMut(MailboxId),
) -> Result<Moved, MigrateError> {
    let there = to.engine.accounts().in_target(|| "the accounts".into())?;
    let there = there.into_iter().map(|(name, row)| (row.id, name)).collect();
    let moved = Moved::default();
    let mut migration = Migration { from, to, there, now, moved, is_there: false, tell, renew };
    let rows = from.engine.accounts().in_source(|| "the accounts".into())?;
    if let Some(name) = only.iter().find(|name| !rows.iter().any(|(other, _)| other == *name)) {
        return Err(MigrateError::NoAccount(name.clone()));
    }
    let what = || "a number for an account".to_owned();
    let taken = Some(from.engine.next_account().in_source(what)?);
    to.engine.commit(&Commit { taken, now, ..Commit::default() }).in_target(what)?;
    if only.is_empty() {
        migration.shared()?;
    }
    for (name, row) in rows {
        if only.is_empty() || only.contains(&name) {
            migration.account(&name, row)?;
        }
    }
    Ok(migration.moved)
}

impl Migration<'_> {
    /// Groups, who shares with whom, and the mailboxes below `Shared/`.
    fn shared(&mut self) -> Result<(), MigrateError> {
        let log = LogId::from(AccountId::SHARED);
        let what = || "groups and sharing".to_owned();
        let (here, there) = (self.from.engine.head(log), self.to.engine.head(log));
        let here = here.in_source(what)?.unwrap_or_default();
        let there = there.in_target(what)?.unwrap_or_default();
        if here.seq == 0 && there.seq == 0 {
            return Ok(());
        }
        if there.seq > 0 && !is_whole(here, there) {
            return Err(MigrateError::SharedTaken);
        }
        self.is_there = there.seq > 0;
        self.logs("Shared/", AccountId::SHARED)
    }

    /// One account: its mailboxes, then its names, then the row that makes it one.
    fn account(&mut self, name: &str, row: AccountRow) -> Result<(), MigrateError> {
        let what = || format!("account `{name}`");
        let there = self.to.engine.account(name).in_target(what)?;
        self.is_there = there.is_some();
        let by = match self.there.get(&row.id) {
            Some(other) if other != name => Some(other.clone()),
            _ => there.filter(|there| *there != row).map(|_| name.to_owned()),
        };
        if let Some(by) = by {
            return Err(MigrateError::Taken { name: name.into(), id: row.id, by });
        }
        (self.tell)(name, &self.moved);
        self.logs(name, row.id)?;
        self.moved.accounts += 1;
        if self.is_there {
            self.moved.accounts_there += 1;
            return Ok(());
        }
        let accounts = vec![(name.to_owned(), Some(row))];
        let commit = Commit { accounts, now: self.now, ..Commit::default() };
        self.to.engine.commit(&commit).in_target(what)
    }

    /// The account's logs and what it has stored; its own log last, so that what is there of that says that all is.
    fn logs(&mut self, name: &str, account: AccountId) -> Result<(), MigrateError> {
        let whose = Whose { account: name, mailbox: None };
        let what = || whose.to_string();
        let open = OpenAccount::load(self.from.engine, account).in_source(what)?;
        let Some(open) = open else { return Ok(()) };
        for (mailbox, entry) in open.published.state().mailboxes() {
            if let Some(id) = entry.id {
                self.mailbox(Whose { account: name, mailbox: Some(mailbox) }, id)?;
            }
        }
        // An earlier migration may have brought all but the account's row, and the source may have changed since.
        let here = self.from.engine.usage(account).in_source(what)?;
        let there = self.to.engine.usage(account).in_target(what)?;
        let change = UsageChange {
            octets: difference(here.octets, there.octets),
            messages: difference(here.messages, there.messages),
        };
        let last = Commit { usage: vec![(account, change)], ..Commit::default() };
        self.log(whose, LogId::from(account), last)?;
        self.check_account(whose, account)
    }
}

fn difference(here: u64, there: u64) -> i64 {
    let magnitude = i64::try_from(here.abs_diff(there)).unwrap_or(i64::MAX);
    if here < there { -magnitude } else { magnitude }
}

/// Whether a log of the target that stands there has all that the source's has: what completes it is written last.
fn is_whole(source: LogHead, target: LogHead) -> bool {
    (source.seq, source.folded) == (target.seq, target.folded)
}
