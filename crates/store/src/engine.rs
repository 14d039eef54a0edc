//! What the store asks of a database and of a place for bodies, and nothing more.
//!
//! A *log* is what changes as one: a mailbox, or an account. The engine keeps, per log, the deltas that
//! `apply` returned, keyed by a strictly rising number, and now and then a fold: the state as pages, which
//! replaces the deltas up to it. Expunges are kept in a history of their own, until the host says
//! [`Engine::forget_history`].
//!
//! # Invariants
//! - `commit` returns `Ok` only when everything in it would survive a power cut; all of it or nothing [H1].
//! - After [`EngineError::Broken`] the engine refuses every further write.
//! - Reads see only committed batches, each whole.
//!
//! # Several writers
//! An engine on which several processes write answers [`Engine::is_shared`]. A writer then holds in memory what it
//! has read, takes the logs it is about to write with [`Engine::begin`], which tells what others wrote meanwhile,
//! applies, and commits: so a condition is tested against the one newest state [H2]. Between two writes it asks with
//! [`Engine::news`].

use crate::quota::{Usage, UsageChange};
use crate::rules;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// An account's number: never used again for another account.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AccountId(pub u64);

impl AccountId {
    /// The account that no user has: the mailboxes below `Shared/` belong to it, and in its state stand the groups
    /// and who shares with whom. Users' accounts begin at 1.
    pub const SHARED: Self = Self(0);
}

/// A mailbox: its owner's account and its number there, from 1; never used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct MailboxId {
    /// The owner.
    pub account: AccountId,
    /// The mailbox's number in the account, ≥ 1.
    pub number: u32,
}

/// A log: `number` 0 is the account's own, others are its mailboxes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LogId {
    /// The account.
    pub account: AccountId,
    /// 0 for the account itself, else the mailbox's number.
    pub number: u32,
}

impl From<MailboxId> for LogId {
    fn from(id: MailboxId) -> Self {
        Self { account: id.account, number: id.number }
    }
}

impl From<AccountId> for LogId {
    fn from(account: AccountId) -> Self {
        Self { account, number: 0 }
    }
}

/// A stored body's number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct BodyId(pub u64);

/// Where a body's octets are and how to check them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BodyRef {
    /// The place, as the [`BodyStore`] that wrote it understands it.
    pub locator: Vec<u8>,
    /// The length in octets.
    pub len: u64,
    /// CRC-32 (IEEE) of all octets [H8].
    pub crc: u32,
}

/// A body with what was computed about it at arrival.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BodyRow {
    /// Its number.
    pub id: BodyId,
    /// Where it is.
    pub body: BodyRef,
    /// Envelope, structure and ids in the store's own encoding; opaque to the engine.
    pub meta: Vec<u8>,
}

/// A delta for one log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Append {
    /// The log.
    pub log: LogId,
    /// The number of the log's last delta as the writer knows it; 0 for a new log. Anything else in the
    /// engine makes the whole commit fail with [`EngineError::Behind`].
    pub after: u64,
    /// The delta's number, greater than `after`. For a mailbox it is its HIGHESTMODSEQ after the delta.
    pub seq: u64,
    /// The delta.
    pub delta: Vec<u8>,
    /// The part of it that outlives folds: UIDs expunged by it, in the store's own encoding.
    pub history: Option<Vec<u8>>,
}

/// A fold of one log: pages that replace all deltas up to `seq`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fold {
    /// The log.
    pub log: LogId,
    /// The fold whose pages these change, as [`LogHead::folded`] had it; any other in the engine makes the commit
    /// fail with [`EngineError::Behind`]. `None` when they are all pages, and those that are there go.
    pub base: Option<u64>,
    /// The number of the last delta that the pages contain.
    pub seq: u64,
    /// Pages written anew, by key, below 2^63.
    pub pages: Vec<(u64, Vec<u8>)>,
    /// Pages of the base that are no more.
    pub removed: Vec<u64>,
}

/// What one commit makes durable.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Commit {
    /// Deltas; several for one log stand in rising order.
    pub appends: Vec<Append>,
    /// New bodies, with no references yet.
    pub bodies: Vec<BodyRow>,
    /// References gained (+) and lost (−) by bodies, new ones included. A body that falls to 0 becomes
    /// reclaimable once its grace period is over; `commit` notes the moment with `now`.
    pub references: Vec<(BodyId, i32)>,
    /// Logs that are no more: deltas, pages and history go.
    pub dropped: Vec<LogId>,
    /// Logs that are [`LogHead::doubtful`] no more: the commit gives the mailbox a new UIDVALIDITY.
    pub renewed: Vec<LogId>,
    /// Folds.
    pub folds: Vec<Fold>,
    /// Up to where history was forgotten before these logs came here: [`Engine::history`] answers at least that
    /// from now on.
    pub forgotten: Vec<(LogId, u64)>,
    /// What each account's usage grows or shrinks by; an account has none before the first.
    pub usage: Vec<(AccountId, UsageChange)>,
    /// Account rows: `None` removes the account row, its usage and all its logs.
    pub accounts: Vec<(String, Option<AccountRow>)>,
    /// Numbers up to this one were accounts' elsewhere: [`Engine::next_account`] never gives them out.
    pub taken: Option<AccountId>,
    /// Seconds since 1970, for the grace period of unreferenced bodies and the age of history only.
    pub now: i64,
}

/// An account as login reads it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AccountRow {
    /// Its number.
    pub id: AccountId,
    /// Rises with every change of the row.
    pub version: u64,
    /// Credentials and settings in the program's own encoding; opaque to the store.
    pub record: Vec<u8>,
}

/// How far a log has come; all 0 for one that is not there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LogHead {
    /// The number of the last delta.
    pub seq: u64,
    /// The number up to which pages hold the state; 0 when never folded.
    pub folded: u64,
    /// The engine may have lost acknowledged commits since the log was last written: what clients know of the
    /// mailbox may be of another history, so it needs a new UIDVALIDITY before anybody sees it [H3, H6].
    pub doubtful: bool,
}

/// Numbers (of deltas, or keys of pages) with the stored octets, in rising order.
pub type Numbered = Vec<(u64, Vec<u8>)>;

/// How far a writer has come with a log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Held {
    /// The log.
    pub log: LogId,
    /// The number of the last delta that it has in memory; 0 for none.
    pub seq: u64,
}

/// What others wrote to a log since it was [`Held`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum News {
    /// Nothing.
    None,
    /// All deltas after the one held.
    Deltas(Numbered),
    /// The log as a whole, since a fold replaced some of those: pages, then the deltas after the fold.
    Whole {
        /// The pages.
        pages: Numbered,
        /// The deltas.
        deltas: Numbered,
    },
    /// The log is no more.
    Dropped,
}

/// Where a log stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Standing {
    /// The log.
    pub log: LogId,
    /// How far it has come.
    pub head: LogHead,
    /// What leads there from where it was held.
    pub news: News,
    /// For an account's own log, what the account has stored.
    pub usage: Option<Usage>,
}

/// Why an engine could not do as asked.
#[derive(Debug)]
pub enum EngineError {
    /// Another writer was faster: nothing of this commit was done; catch up and apply again.
    Behind,
    /// Nothing of this commit was done and the engine is whole: the disk is full, or a limit was met.
    Full(String),
    /// Whether the commit is durable is unknown; the engine refuses writes until it is opened anew [H1].
    Broken(String),
    /// A read failed, or what was read is damaged.
    Damaged(String),
    /// The engine cannot be reached just now; nothing was done.
    Unavailable(String),
    /// Whether this commit is durable could not be found out. The engine goes on: what became of it shows in
    /// the log.
    Unknown(String),
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Behind => f.write_str("another writer changed the mailbox first"),
            Self::Full(why) => write!(f, "nothing was stored: {why}"),
            Self::Broken(why) => {
                write!(
                    f,
                    "a write or sync failed, the outcome is unknown, restart the server: {why}"
                )
            }
            Self::Damaged(why) => write!(f, "stored data cannot be read: {why}"),
            Self::Unavailable(why) => write!(f, "the database cannot be reached: {why}"),
            Self::Unknown(why) => write!(f, "whether it was stored is unknown: {why}"),
        }
    }
}

impl std::error::Error for EngineError {}

/// What reading calls back with: a number (delta or page key) and the stored octets; `Err` ends the reading.
pub type Visit<'a> = &'a mut dyn FnMut(u64, &[u8]) -> Result<(), EngineError>;

/// What is called with the logs that other writers say they have written to. Must not block.
pub type Tell = Arc<dyn Fn(&[LogId]) + Send + Sync>;

/// Logs taken for writing, and where they stand.
pub struct Begun<'a> {
    /// Where they stand, in any order. Durable only once the transaction is committed [H1].
    pub standings: Vec<Standing>,
    /// Holds the locked logs until it is committed or dropped.
    pub transaction: Box<dyn Transaction + 'a>,
}

impl fmt::Debug for Begun<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Begun").field("standings", &self.standings).finish_non_exhaustive()
    }
}

/// A commit that has begun. Dropped, nothing of it is done.
pub trait Transaction {
    /// Makes the commit, which may be empty, and the standings durable.
    ///
    /// # Errors
    /// As [`Engine::commit`].
    fn commit(self: Box<Self>, commit: &Commit) -> Result<(), EngineError>;
}

/// A database for logs, body rows and accounts. Blocking; called from threads that may block.
pub trait Engine: Send + Sync + 'static {
    /// Makes the commit durable, whole or not at all.
    ///
    /// # Errors
    /// See [`EngineError`]: [`EngineError::Broken`] and [`EngineError::Unknown`] leave the outcome unknown.
    fn commit(&self, commit: &Commit) -> Result<(), EngineError>;

    /// Whether other processes write to the same database.
    fn is_shared(&self) -> bool {
        false
    }

    /// Takes the `locked` logs, in the order of their ids, against every other writer, then reads where they and
    /// the `watched` ones stand. `None` from an engine with one writer: nothing can have happened.
    ///
    /// # Errors
    /// [`EngineError::Unavailable`] when a lock was not to be had in time; as [`Engine::load`].
    fn begin(&self, _locked: &[Held], _watched: &[Held]) -> Result<Option<Begun<'_>>, EngineError> {
        Ok(None)
    }

    /// Where these logs stand: at least each that is not where it is held, in any order. What it answers is
    /// durable [H1].
    ///
    /// # Errors
    /// As [`Engine::load`].
    fn news(&self, held: &[Held]) -> Result<Vec<Standing>, EngineError> {
        held.iter().map(|held| rules::standing(self, *held)).collect()
    }

    /// From now on calls `tell` when other writers say that they have written. Only hints: they may come twice,
    /// late or never.
    fn listen(&self, _tell: Tell) {}

    /// How far the log has come, `None` when there is no such log.
    ///
    /// # Errors
    /// [`EngineError::Damaged`] or [`EngineError::Unavailable`].
    fn head(&self, log: LogId) -> Result<Option<LogHead>, EngineError>;

    /// Reads the log as one instant: pages in rising key order, then deltas after the fold in rising order.
    ///
    /// Answers the head that belongs to what was read, `None` when there is no such log.
    ///
    /// # Errors
    /// As [`Engine::head`], and whatever a visitor returned.
    fn load(
        &self,
        log: LogId,
        page: Visit<'_>,
        delta: Visit<'_>,
    ) -> Result<Option<LogHead>, EngineError>;

    /// Reads the expunge history after the mod-sequence `after`, in rising order, streamed: memory does not
    /// grow with its length [H5].
    ///
    /// Answers the mod-sequence up to which records may have been forgotten, as it is once all has been read;
    /// 0 when nothing ever was. What was read is whole only if that is not above `after` [H6].
    ///
    /// # Errors
    /// As [`Engine::load`].
    fn history(&self, log: LogId, after: u64, visit: Visit<'_>) -> Result<u64, EngineError>;

    /// Forgets the history that was committed before `before` (seconds since 1970, as [`Commit::now`] had it),
    /// of each log from its oldest record up to the first that is not so old. In the same step the log notes
    /// up to where, for good. Answers how many records are gone.
    ///
    /// # Errors
    /// As [`Engine::commit`]; what was forgotten before it stays so.
    fn forget_history(&self, before: i64) -> Result<u64, EngineError>;

    /// The rows of these bodies, in the order asked; a body that is not there is an error.
    ///
    /// # Errors
    /// As [`Engine::head`].
    fn bodies(&self, ids: &[BodyId]) -> Result<Vec<BodyRow>, EngineError>;

    /// A number for a new body, never given out before, here or by another writer.
    fn next_body(&self) -> BodyId;

    /// Bodies without references since before `before` (seconds since 1970), at most `limit`.
    ///
    /// # Errors
    /// As [`Engine::head`].
    fn reclaimable(&self, before: i64, limit: usize) -> Result<Vec<BodyRow>, EngineError>;

    /// Removes the rows of bodies that still have no references; answers those removed.
    ///
    /// # Errors
    /// As [`Engine::commit`].
    fn forget_bodies(&self, ids: &[BodyId]) -> Result<Vec<BodyId>, EngineError>;

    /// The account's row, read from the database each time.
    ///
    /// # Errors
    /// As [`Engine::head`].
    fn account(&self, name: &str) -> Result<Option<AccountRow>, EngineError>;

    /// All accounts, by name.
    ///
    /// # Errors
    /// As [`Engine::head`].
    fn accounts(&self) -> Result<Vec<(String, AccountRow)>, EngineError>;

    /// What the account has stored: all [`Commit::usage`] of it together.
    ///
    /// # Errors
    /// As [`Engine::head`].
    fn usage(&self, account: AccountId) -> Result<Usage, EngineError>;

    /// A number for a new account, never given out before.
    ///
    /// # Errors
    /// As [`Engine::commit`].
    fn next_account(&self) -> Result<AccountId, EngineError>;
}

/// A place for octets. Blocking; called from threads that may block, except [`BodyWriter::write`] and
/// [`BodyStore::read`] of a few KiB.
pub trait BodyStore: Send + Sync + 'static {
    /// Begins a body. Up to a small size it stays in memory; a longer one goes to a file of its own as it arrives.
    ///
    /// # Errors
    /// [`EngineError::Full`] or [`EngineError::Broken`].
    fn writer(&self) -> Result<Box<dyn BodyWriter>, EngineError>;

    /// Makes every body finished before the call durable. Callers at the same time share one sync.
    ///
    /// # Errors
    /// [`EngineError::Broken`] when a sync failed: nothing written since the last sync may be referred to.
    fn sync(&self) -> Result<(), EngineError>;

    /// Reads the octets in `range` (cut to the body's length) and appends them to `into`. Reading the
    /// whole body checks its CRC; a part is checked by the caller reading on to the end.
    ///
    /// # Errors
    /// [`EngineError::Damaged`] when the body is not there, is shorter, or its CRC differs.
    fn read(
        &self,
        body: &BodyRef,
        range: Range<u64>,
        into: &mut Vec<u8>,
    ) -> Result<(), EngineError>;

    /// Gives the space of these bodies back; nothing refers to them any more.
    ///
    /// # Errors
    /// [`EngineError::Damaged`] when a file could not be removed.
    fn reclaim(&self, bodies: &[BodyRef]) -> Result<(), EngineError>;
}

/// A body that is being written. Dropped before `finish`, it leaves nothing behind.
pub trait BodyWriter: Send {
    /// Takes the next octets.
    ///
    /// # Errors
    /// [`EngineError::Full`] or [`EngineError::Broken`].
    fn write(&mut self, octets: &[u8]) -> Result<(), EngineError>;

    /// Ends the body and puts it in its place; durable only after [`BodyStore::sync`].
    ///
    /// # Errors
    /// [`EngineError::Full`] or [`EngineError::Broken`].
    fn finish(self: Box<Self>) -> Result<BodyRef, EngineError>;
}
