//! A commit as one transaction, and what its errors mean.
//!
//! # Invariants
//! - Whatever is refused before `COMMIT` is rolled back whole.
//! - A failed `COMMIT`, and every input or output error, is [`EngineError::Broken`]; only a full disk that
//!   was rolled back is [`EngineError::Full`].

use rusqlite::{CachedStatement, Connection, ErrorCode, OptionalExtension, Transaction};
use rusqlite::{TransactionBehavior, params};

use super::health::Health;
use crate::engine::{
    AccountId, AccountRow, Append, BodyId, BodyRow, Commit, EngineError, Fold, LogHead, LogId,
};
use crate::quota::UsageChange;
use crate::rules;

/// Why the work inside a transaction ended early.
pub(super) enum Refusal {
    Engine(EngineError),
    Sql(rusqlite::Error),
}

impl From<EngineError> for Refusal {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}

impl From<rusqlite::Error> for Refusal {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

/// Runs the work in one durable transaction.
pub(super) fn transact<T>(
    connection: &mut Connection,
    health: &Health,
    work: impl FnOnce(&Transaction<'_>) -> Result<T, Refusal>,
) -> Result<T, EngineError> {
    health.check()?;
    let done = (|| {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let answer = work(&transaction)?;
        Ok((answer, transaction.commit()))
    })();
    match done {
        Ok((answer, Ok(()))) => Ok(answer),
        Ok((_, Err(error))) => Err(refused(connection, health, &error, true)),
        Err(Refusal::Sql(error)) => Err(refused(connection, health, &error, false)),
        Err(Refusal::Engine(error)) if connection.is_autocommit() => Err(error),
        Err(Refusal::Engine(error)) => {
            Err(health.break_with(format!("a transaction could not be rolled back after: {error}")))
        }
    }
}

/// What an error means, the transaction having been dropped.
fn refused(
    connection: &Connection,
    health: &Health,
    error: &rusqlite::Error,
    committing: bool,
) -> EngineError {
    let why = error.to_string();
    if !connection.is_autocommit() {
        return health.break_with(format!("a transaction could not be rolled back: {why}"));
    }
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => EngineError::Full(format!("the disk is full: {why}")),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => EngineError::Unavailable(why),
        Some(ErrorCode::SystemIoFailure) => health.break_with(why),
        _ if committing => health.break_with(why),
        Some(ErrorCode::TooBig | ErrorCode::OutOfMemory) => EngineError::Full(why),
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen) => EngineError::Unavailable(why),
        _ => EngineError::Damaged(why),
    }
}

/// Everything that a commit asks for.
pub(super) fn apply(transaction: &Transaction<'_>, commit: &Commit) -> Result<(), Refusal> {
    commit.appends.iter().try_for_each(|it| append(transaction, it, commit.now))?;
    commit.folds.iter().try_for_each(|it| fold(transaction, it))?;
    commit.forgotten.iter().try_for_each(|(log, seq)| raise_forgotten(transaction, *log, *seq))?;
    references(transaction, commit)?;
    commit.dropped.iter().try_for_each(|log| drop_log(transaction, *log))?;
    commit.usage.iter().try_for_each(|(id, change)| usage(transaction, *id, *change))?;
    commit.accounts.iter().try_for_each(|(name, row)| account(transaction, name, row.as_ref()))?;
    commit.taken.map_or(Ok(()), |id| Ok(raise(transaction, "account", id.0)?))
}

fn append(transaction: &Transaction<'_>, append: &Append, now: i64) -> Result<(), Refusal> {
    let LogId { account: AccountId(account), number } = append.log;
    let head = head(transaction, append.log)?;
    rules::check_append(head.unwrap_or_default(), append)?;
    if head.is_none() {
        let mut insert = transaction.prepare_cached("INSERT INTO log VALUES(?1, ?2, 0, 0)")?;
        insert.execute(params![account, number])?;
    }
    let mut insert = transaction.prepare_cached("INSERT INTO delta VALUES(?1, ?2, ?3, ?4)")?;
    insert.execute(params![account, number, append.seq, append.delta])?;
    if let Some(history) = &append.history {
        let mut insert =
            transaction.prepare_cached("INSERT INTO history VALUES(?1, ?2, ?3, ?4, ?5)")?;
        insert.execute(params![account, number, append.seq, now, history])?;
    }
    Ok(())
}

fn fold(transaction: &Transaction<'_>, fold: &Fold) -> Result<(), Refusal> {
    let LogId { account: AccountId(account), number } = fold.log;
    let head = head(transaction, fold.log)?;
    if !rules::check_fold(head.unwrap_or_default(), fold)? {
        return Ok(());
    }
    let mut delete = transaction
        .prepare_cached("DELETE FROM page WHERE account = ?1 AND number = ?2 AND key = ?3")?;
    for key in &fold.removed {
        delete.execute(params![account, number, key])?;
    }
    if fold.base.is_none() {
        let all = "DELETE FROM page WHERE account = ?1 AND number = ?2";
        transaction.prepare_cached(all)?.execute(params![account, number])?;
    }
    let mut insert =
        transaction.prepare_cached("INSERT OR REPLACE INTO page VALUES(?1, ?2, ?3, ?4)")?;
    for (key, octets) in &fold.pages {
        insert.execute(params![account, number, key, octets])?;
    }
    let mut delete = transaction
        .prepare_cached("DELETE FROM delta WHERE account = ?1 AND number = ?2 AND seq <= ?3")?;
    delete.execute(params![account, number, fold.seq])?;
    let mut update = transaction
        .prepare_cached("UPDATE log SET folded = ?3 WHERE account = ?1 AND number = ?2")?;
    update.execute(params![account, number, fold.seq])?;
    Ok(())
}

fn raise_forgotten(transaction: &Transaction<'_>, log: LogId, seq: u64) -> Result<(), Refusal> {
    let mut update = transaction.prepare_cached(
        "UPDATE log SET forgotten = max(forgotten, ?3) WHERE account = ?1 AND number = ?2",
    )?;
    update.execute(params![log.account.0, log.number, seq])?;
    Ok(())
}

fn references(transaction: &Transaction<'_>, commit: &Commit) -> Result<(), Refusal> {
    let gains = rules::references(commit)?;
    let mut select = transaction.prepare_cached("SELECT refs FROM body WHERE id = ?1")?;
    let mut update =
        transaction.prepare_cached("UPDATE body SET refs = ?2, freed = ?3 WHERE id = ?1")?;
    let mut insert = transaction.prepare_cached(
        "INSERT INTO body(id, locator, len, crc, refs, freed, meta) VALUES(?1,?2,?3,?4,?5,?6,?7)",
    )?;
    let freed = |references: i64| (references == 0).then_some(commit.now);
    for (id, gain) in &gains {
        let there: Option<i64> = select.query_row([id.0], |row| row.get(0)).optional()?;
        let references = rules::check_references(*id, there, *gain)?;
        if !gain.new {
            update.execute(params![id.0, references, freed(references)])?;
        }
    }
    for row in &commit.bodies {
        let references = gains.get(&row.id).map_or(0, |gain| gain.change);
        insert_body(&mut insert, row, references, freed(references))?;
    }
    Ok(())
}

fn insert_body(
    insert: &mut CachedStatement<'_>,
    row: &BodyRow,
    references: i64,
    freed: Option<i64>,
) -> Result<(), Refusal> {
    let BodyRow { id, body, meta } = row;
    insert.execute(params![id.0, body.locator, body.len, body.crc, references, freed, meta])?;
    Ok(())
}

fn drop_log(transaction: &Transaction<'_>, log: LogId) -> Result<(), Refusal> {
    for sql in [
        "DELETE FROM log WHERE account = ?1 AND number = ?2",
        "DELETE FROM delta WHERE account = ?1 AND number = ?2",
        "DELETE FROM page WHERE account = ?1 AND number = ?2",
        "DELETE FROM history WHERE account = ?1 AND number = ?2",
    ] {
        transaction.prepare_cached(sql)?.execute(params![log.account.0, log.number])?;
    }
    Ok(())
}

pub(super) fn usage(
    transaction: &Transaction<'_>,
    account: AccountId,
    change: UsageChange,
) -> Result<(), Refusal> {
    let mut upsert = transaction.prepare_cached(
        "INSERT INTO usage VALUES(?1, max(?2, 0), max(?3, 0)) ON CONFLICT(account) DO UPDATE
         SET octets = max(octets + ?2, 0), messages = max(messages + ?3, 0)",
    )?;
    upsert.execute(params![account.0, change.octets, change.messages])?;
    Ok(())
}

fn account(
    transaction: &Transaction<'_>,
    name: &str,
    row: Option<&AccountRow>,
) -> Result<(), Refusal> {
    let old: Option<(u64, u64)> = transaction
        .prepare_cached("SELECT id, version FROM account WHERE name = ?1")?
        .query_row([name], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    if let Some(row) = row {
        if let Some((id, version)) = old {
            rules::check_account(AccountId(id), version, row)?;
        }
        transaction
            .prepare_cached("INSERT OR REPLACE INTO account VALUES(?1, ?2, ?3, ?4)")?
            .execute(params![name, row.id.0, row.version, row.record])?;
        raise(transaction, "account", row.id.0)?;
    } else if let Some((id, _)) = old {
        transaction.prepare_cached("DELETE FROM account WHERE name = ?1")?.execute([name])?;
        for sql in [
            "DELETE FROM log WHERE account = ?1",
            "DELETE FROM delta WHERE account = ?1",
            "DELETE FROM page WHERE account = ?1",
            "DELETE FROM history WHERE account = ?1",
            "DELETE FROM usage WHERE account = ?1",
        ] {
            transaction.prepare_cached(sql)?.execute([id])?;
        }
    }
    Ok(())
}

/// How far the log has come. The number of the last delta is not kept a second time: a change then writes
/// one page of the database less.
pub(super) fn head(connection: &Connection, log: LogId) -> rusqlite::Result<Option<LogHead>> {
    let mut select = connection.prepare_cached(
        "SELECT folded, (SELECT max(seq) FROM delta WHERE account = ?1 AND number = ?2)
         FROM log WHERE account = ?1 AND number = ?2",
    )?;
    let head = select.query_row(params![log.account.0, log.number], |row| {
        let (folded, last): (u64, Option<u64>) = (row.get(0)?, row.get(1)?);
        Ok(LogHead { seq: last.unwrap_or(folded), folded, doubtful: false })
    });
    head.optional()
}

/// Raises a counter to at least this value.
fn raise(transaction: &Transaction<'_>, name: &str, value: u64) -> rusqlite::Result<()> {
    let mut update = transaction
        .prepare_cached("UPDATE counter SET value = ?2 WHERE name = ?1 AND value < ?2")?;
    update.execute(params![name, value]).map(drop)
}

pub(super) fn next_account(transaction: &Transaction<'_>) -> Result<AccountId, Refusal> {
    let mut update = transaction.prepare_cached(
        "UPDATE counter SET value = value + 1 WHERE name = 'account' RETURNING value",
    )?;
    Ok(AccountId(update.query_row([], |row| row.get(0))?))
}

/// Removes rows without references and keeps their numbers from being given out again.
pub(super) fn forget(
    transaction: &Transaction<'_>,
    ids: &[BodyId],
) -> Result<Vec<BodyId>, Refusal> {
    let mut delete = transaction.prepare_cached("DELETE FROM body WHERE id = ?1 AND refs = 0")?;
    let mut forgotten = Vec::new();
    for id in ids {
        if delete.execute([id.0])? > 0 {
            forgotten.push(*id);
        }
    }
    if let Some(last) = forgotten.iter().max() {
        raise(transaction, "body", last.0)?;
    }
    Ok(forgotten)
}

/// Forgets the log's history from its oldest record up to the first that was not committed before `before`,
/// at most `limit` records; answers how many.
pub(super) fn forget_history(
    transaction: &Transaction<'_>,
    log: LogId,
    before: i64,
    limit: u64,
) -> Result<u64, Refusal> {
    let LogId { account: AccountId(account), number } = log;
    let mut select = transaction.prepare_cached(
        "SELECT seq, at FROM history WHERE account = ?1 AND number = ?2 ORDER BY seq LIMIT ?3",
    )?;
    let mut rows = select.query(params![account, number, limit])?;
    let (mut last, mut count) = (0_u64, 0);
    while let Some(row) = rows.next()? {
        if row.get::<_, i64>(1)? >= before {
            break;
        }
        last = row.get(0)?;
        count += 1;
    }
    if count > 0 {
        let mut delete = transaction.prepare_cached(
            "DELETE FROM history WHERE account = ?1 AND number = ?2 AND seq <= ?3",
        )?;
        delete.execute(params![account, number, last])?;
        raise_forgotten(transaction, log, last)?;
    }
    Ok(count)
}

/// Gives bodies new places; answers those that still were where they are said to have been.
pub(super) fn relocate(
    transaction: &Transaction<'_>,
    moves: &[(BodyId, Vec<u8>, Vec<u8>)],
) -> Result<Vec<BodyId>, Refusal> {
    let mut update = transaction
        .prepare_cached("UPDATE body SET locator = ?3 WHERE id = ?1 AND locator = ?2")?;
    let mut moved = Vec::new();
    for (id, from, to) in moves {
        if update.execute(params![id.0, from, to])? > 0 {
            moved.push(*id);
        }
    }
    Ok(moved)
}
