//! The engine for one machine: one SQLite database in one directory.
//!
//! One connection writes, a few read, and one more checkpoints on a thread of its own.
//!
//! # Invariants
//! - A commit is one transaction, synced before `Ok` (`synchronous=FULL`) [H1].
//! - After a failed write or sync nothing is written until the engine is opened anew, which then begins by
//!   writing the database into a new file.
//! - Reading never waits for writing, nor writing for reading [H7].

mod checkpoint;
pub(crate) mod directory;
mod health;
mod migrate;
mod read;
mod schema;
mod write;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;

use checkpoint::Checkpointer;
use directory::io_error;
pub use directory::{Directory, OpenError};
use health::Health;
use read::{Readers, read_error};

use crate::engine::{
    AccountId, AccountRow, BodyId, BodyRow, Commit, Engine, EngineError, LogHead, LogId, Visit,
};
use crate::quota::Usage;

/// The engine on one SQLite database. What holds the directory's lock is dropped last.
#[derive(Debug)]
pub struct Embedded {
    writer: Mutex<Connection>,
    readers: Readers,
    checkpointer: Checkpointer,
    health: Arc<Health>,
    body_max: AtomicU64,
    directory: Directory,
}

impl Embedded {
    /// Opens the database in `directory`, and makes both where there are none.
    ///
    /// # Errors
    /// [`OpenError`], which says what to do.
    pub fn open(directory: &Path) -> Result<Self, OpenError> {
        Self::open_with(directory, schema::MIGRATIONS)
    }

    fn open_with(path: &Path, migrations: &[schema::Migration]) -> Result<Self, OpenError> {
        let directory = Directory::lock(path)?;
        let connection = schema::open(&directory, migrations)?;
        let database = directory.file(schema::DATABASE);
        let body_max = read::body_max(&connection).map_err(|error| OpenError::Database {
            tried: "read",
            path: database.clone(),
            why: error.to_string(),
        })?;
        let health = Arc::new(Health::new(directory.file(schema::BROKEN)));
        let wal = directory.file(&format!("{}-wal", schema::DATABASE));
        let own = schema::connect(&database)?;
        let checkpointer = Checkpointer::start(own, wal, Arc::clone(&health))
            .map_err(io_error("start a thread for checkpoints of", &database))?;
        Ok(Self {
            writer: Mutex::new(connection),
            readers: Readers::new(database),
            checkpointer,
            health,
            body_max: AtomicU64::new(body_max),
            directory,
        })
    }

    /// The data directory.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Writes a checked copy of the database into the data directory, under this name, while others go on.
    ///
    /// # Errors
    /// [`OpenError`] when it cannot be written, or the copy is damaged.
    pub fn copy(&self, name: &str) -> Result<(), OpenError> {
        let connection = schema::connect(&self.directory.file(schema::DATABASE))?;
        schema::copy(&self.directory, &connection, name)
    }

    /// The bodies whose locator begins with `prefix`, by locator, without what was computed about them.
    ///
    /// # Errors
    /// As [`Engine::head`].
    pub fn located(&self, prefix: &[u8]) -> Result<Vec<BodyRow>, EngineError> {
        self.readers.with(|reader| read::located(reader, prefix).map_err(read_error))
    }

    /// How many octets the bodies have whose locator begins with `prefix`.
    ///
    /// # Errors
    /// As [`Engine::head`].
    pub fn located_octets(&self, prefix: &[u8]) -> Result<u64, EngineError> {
        self.readers.with(|reader| read::located_octets(reader, prefix).map_err(read_error))
    }

    /// Gives bodies new locators, all or none; answers those that were still at their old one.
    ///
    /// # Errors
    /// As [`Engine::commit`].
    pub fn relocate(
        &self,
        moves: &[(BodyId, Vec<u8>, Vec<u8>)],
    ) -> Result<Vec<BodyId>, EngineError> {
        self.write(|transaction| write::relocate(transaction, moves))
    }

    fn write<T>(
        &self,
        work: impl FnOnce(&rusqlite::Transaction<'_>) -> Result<T, write::Refusal>,
    ) -> Result<T, EngineError> {
        let answer = write::transact(&mut self.writer(), &self.health, work)?;
        self.checkpointer.committed();
        Ok(answer)
    }

    fn writer(&self) -> MutexGuard<'_, Connection> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine for Embedded {
    fn commit(&self, commit: &Commit) -> Result<(), EngineError> {
        self.write(|transaction| write::apply(transaction, commit))?;
        if let Some(last) = commit.bodies.iter().map(|body| body.id.0).max() {
            self.body_max.fetch_max(last, Ordering::Relaxed);
        }
        Ok(())
    }

    fn head(&self, log: LogId) -> Result<Option<LogHead>, EngineError> {
        self.readers.with(|reader| write::head(reader, log).map_err(read_error))
    }

    fn load(
        &self,
        log: LogId,
        page: Visit<'_>,
        delta: Visit<'_>,
    ) -> Result<Option<LogHead>, EngineError> {
        self.readers.with(|reader| read::load(reader, log, page, delta))
    }

    fn history(&self, log: LogId, mut after: u64, visit: Visit<'_>) -> Result<u64, EngineError> {
        loop {
            let read = |reader: &mut Connection| read::history(reader, log, after);
            let piece = self.readers.with(|reader| read(reader).map_err(read_error))?;
            let Some((last, _)) = piece.last() else { break };
            after = *last;
            piece.iter().try_for_each(|(seq, octets)| visit(*seq, octets))?;
        }
        self.readers.with(|reader| read::forgotten(reader, log).map_err(read_error))
    }

    /// In pieces, so that no commit waits long.
    fn forget_history(&self, before: i64) -> Result<u64, EngineError> {
        const LOGS_AT_ONCE: u64 = 256;
        const RECORDS_AT_ONCE: u64 = 2000;
        let (mut after, mut total) = (LogId { account: AccountId(0), number: 0 }, 0);
        loop {
            let read = |reader: &mut Connection| {
                read::logs_with_older(reader, after, before, LOGS_AT_ONCE).map_err(read_error)
            };
            let logs = self.readers.with(read)?;
            let Some(last) = logs.last() else { return Ok(total) };
            after = *last;
            for log in logs {
                let mut count = RECORDS_AT_ONCE;
                while count == RECORDS_AT_ONCE {
                    count = self.write(|transaction| {
                        write::forget_history(transaction, log, before, RECORDS_AT_ONCE)
                    })?;
                    total += count;
                }
            }
        }
    }

    fn bodies(&self, ids: &[BodyId]) -> Result<Vec<BodyRow>, EngineError> {
        self.readers.with(|reader| read::bodies(reader, ids))
    }

    fn next_body(&self) -> BodyId {
        BodyId(self.body_max.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn reclaimable(&self, before: i64, limit: usize) -> Result<Vec<BodyRow>, EngineError> {
        self.readers.with(|reader| read::reclaimable(reader, before, limit).map_err(read_error))
    }

    fn forget_bodies(&self, ids: &[BodyId]) -> Result<Vec<BodyId>, EngineError> {
        self.write(|transaction| write::forget(transaction, ids))
    }

    fn account(&self, name: &str) -> Result<Option<AccountRow>, EngineError> {
        self.readers.with(|reader| read::account(reader, name).map_err(read_error))
    }

    fn accounts(&self) -> Result<Vec<(String, AccountRow)>, EngineError> {
        self.readers.with(|reader| read::accounts(reader).map_err(read_error))
    }

    fn usage(&self, account: AccountId) -> Result<Usage, EngineError> {
        self.readers.with(|reader| read::usage(reader, account).map_err(read_error))
    }

    fn next_account(&self) -> Result<AccountId, EngineError> {
        self.write(write::next_account)
    }
}

#[cfg(test)]
mod tests;
