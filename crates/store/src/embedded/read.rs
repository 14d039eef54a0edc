//! Reading: a small pool of connections beside the writer's, and bounded transactions.
//!
//! # Invariants
//! - A log is read as one instant: one transaction, in which the visitor only takes the octets in. It ends
//!   with the log, and a log's deltas are bounded by its folds.
//! - History, which may be long, is read in pieces, each in a transaction that has ended before the visitor
//!   sees it. It is added to at its end, so the pieces fit; what is forgotten meanwhile at its beginning is
//!   seen by asking for that last [H5, H6, H7].

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, Transaction, params};

use super::schema;
use super::write::head;
use crate::engine::{
    AccountId, AccountRow, BodyId, BodyRef, BodyRow, EngineError, LogHead, LogId, Visit,
};
use crate::quota::Usage;
use crate::rules;

const IDLE_MAX: usize = 4;
const HISTORY_ROWS: usize = 1000;
const HISTORY_OCTETS: usize = 1 << 20;

/// Connections that only read. One that is missing is opened, so a visitor may read in turn.
#[derive(Debug)]
pub(super) struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, idle: Mutex::default() }
    }

    pub(super) fn with<T>(
        &self,
        read: impl FnOnce(&mut Connection) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => self.open().map_err(|error| EngineError::Unavailable(error.to_string()))?,
        };
        let answer = read(&mut connection);
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(connection);
        }
        answer
    }

    fn open(&self) -> Result<Connection, super::OpenError> {
        let connection = schema::connect(&self.path)?;
        let query_only = connection.pragma_update(None, "query_only", true);
        query_only.map_err(|error| super::OpenError::Database {
            tried: "read",
            path: self.path.clone(),
            why: error.to_string(),
        })?;
        Ok(connection)
    }
}

/// What an error while reading means.
pub(super) fn read_error(error: rusqlite::Error) -> EngineError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::CannotOpen) => {
            EngineError::Unavailable(error.to_string())
        }
        _ => EngineError::Damaged(error.to_string()),
    }
}

pub(super) fn load(
    connection: &mut Connection,
    log: LogId,
    page: Visit<'_>,
    delta: Visit<'_>,
) -> Result<Option<LogHead>, EngineError> {
    let transaction = connection.transaction().map_err(read_error)?;
    load_in(&transaction, log, page, delta)
}

/// The same inside a transaction.
pub(super) fn load_in(
    transaction: &Transaction<'_>,
    log: LogId,
    page: Visit<'_>,
    delta: Visit<'_>,
) -> Result<Option<LogHead>, EngineError> {
    let Some(head) = head(transaction, log).map_err(read_error)? else { return Ok(None) };
    let pages = "SELECT key, octets FROM page WHERE account = ?1 AND number = ?2 AND key >= ?3
                 ORDER BY key";
    visit(transaction, pages, log, 0, page)?;
    visit(transaction, DELTAS, log, 0, delta)?;
    Ok(Some(head))
}

const DELTAS: &str = "SELECT seq, octets FROM delta WHERE account = ?1 AND number = ?2
                      AND seq > ?3 ORDER BY seq";

/// One statement is one transaction.
fn visit(
    connection: &Connection,
    sql: &str,
    log: LogId,
    after: u64,
    each: Visit<'_>,
) -> Result<(), EngineError> {
    let mut select = connection.prepare_cached(sql).map_err(read_error)?;
    let mut rows =
        select.query(params![log.account.0, log.number, within(after)]).map_err(read_error)?;
    while let Some(row) = rows.next().map_err(read_error)? {
        let number = row.get(0).map_err(read_error)?;
        let octets = row.get_ref(1).map_err(read_error)?.as_blob();
        each(number, octets.map_err(|error| EngineError::Damaged(error.to_string()))?)?;
    }
    Ok(())
}

/// The next piece of history, after which nothing of it is held.
pub(super) fn history(
    connection: &Connection,
    log: LogId,
    after: u64,
) -> rusqlite::Result<Vec<(u64, Vec<u8>)>> {
    let mut select = connection.prepare_cached(
        "SELECT seq, octets FROM history WHERE account = ?1 AND number = ?2 AND seq > ?3
         ORDER BY seq",
    )?;
    let mut rows = select.query(params![log.account.0, log.number, within(after)])?;
    let mut piece = Vec::new();
    let mut octets = 0;
    while piece.len() < HISTORY_ROWS && octets < HISTORY_OCTETS {
        let Some(row) = rows.next()? else { break };
        let entry: (u64, Vec<u8>) = (row.get(0)?, row.get(1)?);
        octets += entry.1.len();
        piece.push(entry);
    }
    Ok(piece)
}

/// Up to where history was forgotten.
pub(super) fn forgotten(connection: &Connection, log: LogId) -> rusqlite::Result<u64> {
    let mut select = connection
        .prepare_cached("SELECT forgotten FROM log WHERE account = ?1 AND number = ?2")?;
    let found = select.query_row(params![log.account.0, log.number], |row| row.get(0));
    Ok(found.optional()?.unwrap_or(0))
}

/// The next logs, by account and number, whose oldest history was committed before `before`.
pub(super) fn logs_with_older(
    connection: &Connection,
    after: LogId,
    before: i64,
    limit: u64,
) -> rusqlite::Result<Vec<LogId>> {
    let mut select = connection.prepare_cached(
        "SELECT account, number FROM log WHERE (account, number) > (?1, ?2)
         AND (SELECT at FROM history WHERE account = log.account AND number = log.number
              ORDER BY seq LIMIT 1) < ?3
         ORDER BY account, number LIMIT ?4",
    )?;
    let log = |row: &Row<'_>| Ok(LogId { account: AccountId(row.get(0)?), number: row.get(1)? });
    select.query_map(params![after.account.0, after.number, before, limit], log)?.collect()
}

pub(super) fn bodies(connection: &Connection, ids: &[BodyId]) -> Result<Vec<BodyRow>, EngineError> {
    // One transaction: else each row takes and gives back SQLite's locks, which costs more than the row.
    let reading = (ids.len() > 1).then(|| connection.unchecked_transaction()).transpose();
    let _until_the_end = reading.map_err(read_error)?;
    let mut select = connection
        .prepare_cached("SELECT id, locator, len, crc, meta FROM body WHERE id = ?1")
        .map_err(read_error)?;
    let mut row = |id: &BodyId| {
        let row = select.query_row([within(id.0)], body_row).optional().map_err(read_error)?;
        row.ok_or_else(|| rules::no_body(*id))
    };
    ids.iter().map(&mut row).collect()
}

pub(super) fn reclaimable(
    connection: &Connection,
    before: i64,
    limit: usize,
) -> rusqlite::Result<Vec<BodyRow>> {
    let mut select = connection.prepare_cached(
        "SELECT id, locator, len, crc, meta FROM body WHERE freed < ?1 ORDER BY freed LIMIT ?2",
    )?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    select.query_map(params![before, limit], body_row)?.collect()
}

/// The bodies whose locator begins so, by locator.
pub(super) fn located(connection: &Connection, prefix: &[u8]) -> rusqlite::Result<Vec<BodyRow>> {
    let mut select = connection.prepare_cached(
        "SELECT id, locator, len, crc, x'' FROM body
         WHERE locator >= ?1 AND (?2 IS NULL OR locator < ?2) ORDER BY locator",
    )?;
    select.query_map(params![prefix, after_prefix(prefix)], body_row)?.collect()
}

/// How many octets of bodies lie where the locator begins so.
pub(super) fn located_octets(connection: &Connection, prefix: &[u8]) -> rusqlite::Result<u64> {
    let mut select = connection.prepare_cached(
        "SELECT ifnull(sum(len), 0) FROM body
         WHERE locator >= ?1 AND (?2 IS NULL OR locator < ?2)",
    )?;
    select.query_row(params![prefix, after_prefix(prefix)], |row| row.get(0))
}

/// The first locator after all that begin so, `None` when there is none.
fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if let Some(next) = last.checked_add(1) {
            end.push(next);
            return Some(end);
        }
    }
    None
}

fn body_row(row: &Row<'_>) -> rusqlite::Result<BodyRow> {
    let body = BodyRef { locator: row.get(1)?, len: row.get(2)?, crc: row.get(3)? };
    Ok(BodyRow { id: BodyId(row.get(0)?), body, meta: row.get(4)? })
}

pub(super) fn account(connection: &Connection, name: &str) -> rusqlite::Result<Option<AccountRow>> {
    let mut select = connection
        .prepare_cached("SELECT name, id, version, record FROM account WHERE name = ?1")?;
    Ok(select.query_row([name], account_row).optional()?.map(|(_, row)| row))
}

pub(super) fn usage(connection: &Connection, account: AccountId) -> rusqlite::Result<Usage> {
    let mut select =
        connection.prepare_cached("SELECT octets, messages FROM usage WHERE account = ?1")?;
    let usage = select
        .query_row([account.0], |row| Ok(Usage { octets: row.get(0)?, messages: row.get(1)? }));
    Ok(usage.optional()?.unwrap_or_default())
}

pub(super) fn accounts(connection: &Connection) -> rusqlite::Result<Vec<(String, AccountRow)>> {
    let mut select =
        connection.prepare_cached("SELECT name, id, version, record FROM account ORDER BY name")?;
    select.query_map([], account_row)?.collect()
}

fn account_row(row: &Row<'_>) -> rusqlite::Result<(String, AccountRow)> {
    let account =
        AccountRow { id: AccountId(row.get(1)?), version: row.get(2)?, record: row.get(3)? };
    Ok((row.get(0)?, account))
}

/// The greatest number that a body has or had.
pub(super) fn body_max(connection: &Connection) -> rusqlite::Result<u64> {
    let sql = "SELECT max(value, ifnull((SELECT max(id) FROM body), 0)) FROM counter
               WHERE name = 'body'";
    connection.query_row(sql, [], |row| row.get(0))
}

/// Numbers in the database end at 2^63−1, and none there is greater.
fn within(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
