//! From one format of the database to the next.

use rusqlite::{Error, Transaction};

use super::read::load_in;
use super::write::{Refusal, usage};
use crate::engine::{AccountId, LogId, MailboxId, Visit};
use crate::flags::Keywords;
use crate::open::OpenMailbox;
use crate::quota::UsageChange;

/// Format 2 keeps what each account has stored: counted once from all mailboxes.
pub(super) fn count_usage(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    transaction.execute_batch(
        "CREATE TABLE usage(account INTEGER PRIMARY KEY, octets INTEGER NOT NULL,
         messages INTEGER NOT NULL);",
    )?;
    let mut select = transaction.prepare("SELECT account, number FROM log WHERE number > 0")?;
    let logs = select
        .query_map([], |row| Ok(LogId { account: AccountId(row.get(0)?), number: row.get(1)? }))?;
    for log in logs {
        count(transaction, log?).map_err(|refusal| match refusal {
            Refusal::Sql(error) => error,
            Refusal::Engine(error) => Error::ToSqlConversionFailure(Box::new(error)),
        })?;
    }
    Ok(())
}

/// Format 3 knows when each record of history was made, and up to where there are none any more. What was there
/// before counts from now on.
pub(super) fn age_history(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    transaction.execute_batch(
        "ALTER TABLE log ADD COLUMN forgotten INTEGER NOT NULL DEFAULT 0;
         ALTER TABLE history RENAME TO history_2;
         CREATE TABLE history(account INTEGER NOT NULL, number INTEGER NOT NULL,
           seq INTEGER NOT NULL, at INTEGER NOT NULL, octets BLOB NOT NULL,
           PRIMARY KEY(account, number, seq)) WITHOUT ROWID;
         INSERT INTO history SELECT account, number, seq, unixepoch(), octets FROM history_2
           ORDER BY account, number, seq;
         DROP TABLE history_2;",
    )
}

fn count(transaction: &Transaction<'_>, log: LogId) -> Result<(), Refusal> {
    let id = MailboxId { account: log.account, number: log.number };
    let load = |page: Visit<'_>, delta: Visit<'_>| load_in(transaction, log, page, delta);
    let Some(open) = OpenMailbox::read(id, Keywords::COUNT_MAX, load)? else { return Ok(()) };
    let sum = open.published.state().tree().summary();
    let octets = i64::try_from(sum.size).unwrap_or(i64::MAX);
    usage(transaction, log.account, UsageChange { octets, messages: i64::from(sum.count) })
}
