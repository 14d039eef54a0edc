//! Everything that a commit writes, as statements that are sent together.

use std::collections::{BTreeMap, HashMap};

use store::engine::{
    AccountId, AccountRow, Append, BodyRow, Commit, EngineError, Fold, LogHead, LogId,
};
use store::rules;
use tokio_postgres::types::ToSql;

use super::lock_step;
use crate::convert::{big, bits, key, number};
use crate::engine::Inner;
use crate::error::Fault;
use crate::health::BatchId;
use crate::link::{Link, Step};

/// Logs by their ids, and what their rows say; `None` where there is no row.
type Locked = HashMap<LogId, Option<LogHead>>;

/// Numbers of accounts up to this are taken.
const RAISE_ACCOUNT: &str =
    "UPDATE highwater.counter SET value = greatest(value, $1::bigint) WHERE name = 'account'";

type Parameter<'a> = Box<dyn ToSql + Sync + Send + 'a>;

fn step<'a, const N: usize>(sql: &'static str, parameters: [Parameter<'a>; N]) -> Step<'a> {
    Step::Query(sql, parameters.into())
}

/// Sends the whole commit. [`Fault::Refused`] means that nothing was done.
pub(super) async fn write(
    inner: &Inner,
    link: &Link,
    locked: &mut Locked,
    commit: &Commit,
    batch: BatchId,
) -> Result<(), Fault> {
    lock_more(inner, link, locked, commit).await?;
    let accounts = accounts(link, commit).await?;
    let epoch = inner.health.epoch();
    let mut steps = Vec::new();
    appends(&mut steps, locked, commit, epoch)?;
    folds(&mut steps, locked, commit)?;
    references(&mut steps, inner, commit)?;
    for (log, seq) in &commit.forgotten {
        let (account, number) = key(*log);
        let sql = "UPDATE highwater.log SET forgotten = greatest(forgotten, $3::bigint)
            WHERE account = $1 AND number = $2";
        steps.push(step(sql, [Box::new(account), Box::new(number), Box::new(big(*seq))]));
    }
    for log in &commit.renewed {
        let (account, number) = key(*log);
        let sql = "UPDATE highwater.log SET epoch = $3 WHERE account = $1 AND number = $2";
        steps.push(step(sql, [Box::new(account), Box::new(number), Box::new(epoch)]));
    }
    commit.dropped.iter().for_each(|log| drop_log(&mut steps, *log));
    let mut usage: Vec<_> = commit.usage.iter().collect();
    usage.sort_by_key(|(account, _)| *account);
    for (account, change) in usage {
        let sql = "INSERT INTO highwater.usage AS u VALUES($1, greatest($2::bigint, 0), greatest($3::bigint, 0))
            ON CONFLICT (account) DO UPDATE SET octets = greatest(u.octets + $2::bigint, 0),
            messages = greatest(u.messages + $3::bigint, 0)";
        let parameters: [Parameter<'_>; 3] =
            [Box::new(big(account.0)), Box::new(change.octets), Box::new(change.messages)];
        steps.push(step(sql, parameters));
    }
    for (name, old, new) in accounts {
        account(&mut steps, name, old, new)?;
    }
    if let Some(id) = commit.taken {
        steps.push(step(RAISE_ACCOUNT, [Box::new(big(id.0))]));
    }
    let sql = "INSERT INTO highwater.batch(account, id, done) VALUES($1, $2, true)";
    steps.push(step(sql, [Box::new(batch.account), Box::new(batch.id)]));
    link.take_warned();
    // A statement that fails makes COMMIT a rollback; COMMIT itself fails only by what leaves it in doubt.
    steps.push(Step::Plain("COMMIT"));
    link.pipeline(&steps).await.map(drop)
}

/// Logs that the commit writes to and that nobody asked for in time: those that it makes need not be held.
async fn lock_more(
    inner: &Inner,
    link: &Link,
    locked: &mut Locked,
    commit: &Commit,
) -> Result<(), Fault> {
    let new = |log: &LogId| {
        let first = commit.appends.iter().find(|append| append.log == *log);
        first.is_some_and(|append| append.after == 0) && log.account != AccountId::SHARED
    };
    for log in
        super::logs(commit).into_iter().filter(|log| !locked.contains_key(log)).collect::<Vec<_>>()
    {
        let head = if new(&log) {
            None
        } else {
            let rows = link.pipeline(&[lock_step(log)]).await?;
            rows.first().and_then(|rows| super::head(inner, log, rows))
        };
        locked.insert(log, head);
    }
    Ok(())
}

/// Tests all deltas, then writes those of each log with its new end.
fn appends<'a>(
    steps: &mut Vec<Step<'a>>,
    locked: &mut Locked,
    commit: &'a Commit,
    epoch: i64,
) -> Result<(), EngineError> {
    const MORE: &str =
        "WITH new AS (INSERT INTO highwater.delta SELECT $1::bigint, $2::bigint, d.seq, d.octets
          FROM unnest($3::bigint[], $4::bytea[]) AS d(seq, octets))
        UPDATE highwater.log SET seq = $5 WHERE account = $1 AND number = $2";
    const FIRST: &str =
        "WITH new AS (INSERT INTO highwater.delta SELECT $1::bigint, $2::bigint, d.seq, d.octets
          FROM unnest($3::bigint[], $4::bytea[]) AS d(seq, octets))
        INSERT INTO highwater.log VALUES($1, $2, $5, 0, 0, $6)";
    let mut logs: BTreeMap<LogId, Vec<&Append>> = BTreeMap::new();
    for append in &commit.appends {
        logs.entry(append.log).or_default().push(append);
    }
    for (log, appends) in logs {
        let row = locked.get(&log).copied().flatten();
        let mut head = row.unwrap_or_default();
        for append in &appends {
            rules::check_append(head, append)?;
            head.seq = append.seq;
        }
        locked.insert(log, Some(head));
        let (account, number) = key(log);
        let seqs: Vec<i64> = appends.iter().map(|append| big(append.seq)).collect();
        let deltas: Vec<&[u8]> = appends.iter().map(|append| append.delta.as_slice()).collect();
        let parameters: [Parameter<'a>; 5] = [
            Box::new(account),
            Box::new(number),
            Box::new(seqs),
            Box::new(deltas),
            Box::new(big(head.seq)),
        ];
        let mut parameters: Vec<Parameter<'a>> = parameters.into();
        if row.is_some() {
            steps.push(Step::Query(MORE, parameters));
        } else {
            parameters.push(Box::new(epoch));
            steps.push(Step::Query(FIRST, parameters));
        }
        history(steps, log, &appends, commit.now);
    }
    Ok(())
}

fn history<'a>(steps: &mut Vec<Step<'a>>, log: LogId, appends: &[&'a Append], now: i64) {
    const SQL: &str =
        "INSERT INTO highwater.history SELECT $1::bigint, $2::bigint, h.seq, $5::bigint, h.octets
        FROM unnest($3::bigint[], $4::bytea[]) AS h(seq, octets)";
    let records =
        appends.iter().filter_map(|append| Some((big(append.seq), append.history.as_deref()?)));
    let (seqs, octets): (Vec<i64>, Vec<&'a [u8]>) = records.unzip();
    if !seqs.is_empty() {
        let (account, number) = key(log);
        let parameters: [Parameter<'a>; 5] =
            [Box::new(account), Box::new(number), Box::new(seqs), Box::new(octets), Box::new(now)];
        steps.push(step(SQL, parameters));
    }
}

fn folds<'a>(
    steps: &mut Vec<Step<'a>>,
    locked: &mut Locked,
    commit: &'a Commit,
) -> Result<(), EngineError> {
    for fold in &commit.folds {
        let mut head = locked.get(&fold.log).copied().flatten().unwrap_or_default();
        if rules::check_fold(head, fold)? {
            head.folded = fold.seq;
            locked.insert(fold.log, Some(head));
            write_fold(steps, fold);
        }
    }
    Ok(())
}

fn write_fold<'a>(steps: &mut Vec<Step<'a>>, fold: &'a Fold) {
    const ALL: &str = "DELETE FROM highwater.page WHERE account = $1 AND number = $2";
    const SOME: &str =
        "DELETE FROM highwater.page WHERE account = $1 AND number = $2 AND key = ANY($3)";
    const PAGES: &str = "INSERT INTO highwater.page SELECT $1::bigint, $2::bigint, p.key, p.octets
        FROM unnest($3::bigint[], $4::bytea[]) AS p(key, octets)
        ON CONFLICT (account, number, key) DO UPDATE SET octets = excluded.octets";
    const DELTAS: &str =
        "DELETE FROM highwater.delta WHERE account = $1 AND number = $2 AND seq <= $3";
    const LOG: &str = "UPDATE highwater.log SET folded = $3 WHERE account = $1 AND number = $2";
    let (account, number) = key(fold.log);
    let keys: Vec<i64> = fold.pages.iter().map(|(key, _)| big(*key)).collect();
    let pages: Vec<&[u8]> = fold.pages.iter().map(|(_, octets)| octets.as_slice()).collect();
    let removed: Vec<i64> = fold.removed.iter().map(|key| big(*key)).collect();
    if fold.base.is_none() {
        steps.push(step(ALL, [Box::new(account), Box::new(number)]));
    } else if !removed.is_empty() {
        steps.push(step(SOME, [Box::new(account), Box::new(number), Box::new(removed)]));
    }
    let parameters: [Parameter<'a>; 4] =
        [Box::new(account), Box::new(number), Box::new(keys), Box::new(pages)];
    steps.push(step(PAGES, parameters));
    let seq = big(fold.seq);
    steps.push(step(DELTAS, [Box::new(account), Box::new(number), Box::new(seq)]));
    steps.push(step(LOG, [Box::new(account), Box::new(number), Box::new(seq)]));
}

/// What bodies gain and lose; a statement that does not find all of them divides by zero, which undoes the commit.
fn references<'a>(
    steps: &mut Vec<Step<'a>>,
    inner: &Inner,
    commit: &'a Commit,
) -> Result<(), EngineError> {
    const HOLD: &str = "SELECT FROM highwater.body WHERE id = ANY($1) ORDER BY id FOR UPDATE";
    const CHANGE: &str = "WITH changed AS (UPDATE highwater.body AS b SET refs = b.refs + g.change,
          freed = CASE WHEN b.refs + g.change = 0 THEN $3::bigint END
          FROM unnest($1::bigint[], $2::bigint[]) AS g(id, change) WHERE b.id = g.id RETURNING 1)
        SELECT 1 / (CASE WHEN (SELECT count(*) FROM changed) = $4::bigint THEN 1 ELSE 0 END)";
    let gains = rules::references(commit)?;
    let old =
        gains.iter().filter(|(_, gain)| !gain.new).map(|(id, gain)| (bits(id.0), gain.change));
    let (ids, changes): (Vec<i64>, Vec<i64>) = old.unzip();
    if !ids.is_empty() {
        let count = i64::try_from(ids.len()).unwrap_or(i64::MAX);
        if ids.len() > 1 {
            steps.push(step(HOLD, [Box::new(ids.clone())]));
        }
        let parameters: [Parameter<'a>; 4] =
            [Box::new(ids), Box::new(changes), Box::new(commit.now), Box::new(count)];
        steps.push(step(CHANGE, parameters));
    }
    let change = |row: &BodyRow| gains.get(&row.id).map_or(0, |gain| gain.change);
    if !commit.bodies.is_empty() {
        new_bodies(steps, commit, commit.bodies.iter().map(change).collect());
        let foreign = commit.bodies.iter().filter_map(|row| inner.note_body(row.id)).max();
        if let Some(block) = foreign {
            let sql = "UPDATE highwater.counter SET value = greatest(value, $1::bigint) WHERE name = 'block'";
            steps.push(step(sql, [Box::new(big(block))]));
        }
    }
    Ok(())
}

fn new_bodies<'a>(steps: &mut Vec<Step<'a>>, commit: &'a Commit, references: Vec<i64>) {
    const BODIES: &str = "INSERT INTO highwater.body SELECT b.id, b.locator, b.len, b.crc, b.refs,
          CASE WHEN b.refs = 0 THEN $7::bigint END, b.meta
        FROM unnest($1::bigint[], $2::bytea[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bytea[])
          AS b(id, locator, len, crc, refs, meta)";
    // Fewer than asked for have the root of a negative number, which undoes the commit.
    const UPLOADS: &str =
        "WITH gone AS (DELETE FROM highwater.upload WHERE locator = ANY($1) RETURNING 1)
        SELECT sqrt((SELECT count(*) FROM gone)::float8 - $2::bigint::float8)";
    let bodies = &commit.bodies;
    let locators: Vec<&[u8]> = bodies.iter().map(|row| row.body.locator.as_slice()).collect();
    let uploads: Vec<&[u8]> = locators
        .iter()
        .copied()
        .filter(|locator| matches!(locator.first(), Some(b'b' | b'o')))
        .collect();
    let parameters: [Parameter<'a>; 7] = [
        Box::new(bodies.iter().map(|row| bits(row.id.0)).collect::<Vec<_>>()),
        Box::new(locators),
        Box::new(bodies.iter().map(|row| big(row.body.len)).collect::<Vec<_>>()),
        Box::new(bodies.iter().map(|row| i64::from(row.body.crc)).collect::<Vec<_>>()),
        Box::new(references),
        Box::new(bodies.iter().map(|row| row.meta.as_slice()).collect::<Vec<_>>()),
        Box::new(commit.now),
    ];
    steps.push(step(BODIES, parameters));
    if !uploads.is_empty() {
        let count = i64::try_from(uploads.len()).unwrap_or(i64::MAX);
        steps.push(step(UPLOADS, [Box::new(uploads), Box::new(count)]));
    }
}

fn drop_log(steps: &mut Vec<Step<'_>>, log: LogId) {
    let (account, number) = key(log);
    for sql in [
        "DELETE FROM highwater.log WHERE account = $1 AND number = $2",
        "DELETE FROM highwater.delta WHERE account = $1 AND number = $2",
        "DELETE FROM highwater.page WHERE account = $1 AND number = $2",
        "DELETE FROM highwater.history WHERE account = $1 AND number = $2",
    ] {
        steps.push(step(sql, [Box::new(account), Box::new(number)]));
    }
}

/// An account's name, its id and version as they are, and the row that it gets.
type AccountStep<'a> = (&'a str, Option<(u64, u64)>, Option<&'a AccountRow>);

/// The rows of the accounts that the commit is about, locked.
async fn accounts<'a>(link: &Link, commit: &'a Commit) -> Result<Vec<AccountStep<'a>>, Fault> {
    const SQL: &str = "SELECT id, version, name FROM highwater.account WHERE name = ANY($1)
        ORDER BY name FOR UPDATE";
    let mut all: Vec<AccountStep<'a>> = Vec::new();
    if commit.accounts.is_empty() {
        return Ok(all);
    }
    let names: Vec<&str> = commit.accounts.iter().map(|(name, _)| name.as_str()).collect();
    let rows = link.query(SQL, &[&names]).await?;
    let found: HashMap<String, (u64, u64)> =
        rows.iter().map(|row| (row.get(2), (number(row, 0), number(row, 1)))).collect();
    for (name, row) in &commit.accounts {
        let earlier = all.iter().rev().find(|(other, _, _)| other == name);
        let old = match earlier {
            Some((_, _, row)) => row.map(|row| (row.id.0, row.version)),
            None => found.get(name).copied(),
        };
        all.push((name, old, row.as_ref()));
    }
    Ok(all)
}

fn account<'a>(
    steps: &mut Vec<Step<'a>>,
    name: &'a str,
    old: Option<(u64, u64)>,
    new: Option<&'a AccountRow>,
) -> Result<(), EngineError> {
    const NEW: &str = "INSERT INTO highwater.account VALUES($1, $2, $3, $4)";
    const CHANGED: &str =
        "UPDATE highwater.account SET id = $2, version = $3, record = $4 WHERE name = $1";
    if let Some(row) = new {
        if let Some((id, version)) = old {
            rules::check_account(AccountId(id), version, row)?;
        }
        let sql = if old.is_some() { CHANGED } else { NEW };
        let id = big(row.id.0);
        let parameters: [Parameter<'a>; 4] = [
            Box::new(name),
            Box::new(id),
            Box::new(big(row.version)),
            Box::new(row.record.as_slice()),
        ];
        steps.push(step(sql, parameters));
        if old.is_none() {
            steps.push(step(RAISE_ACCOUNT, [Box::new(id)]));
        }
    } else if let Some((id, _)) = old {
        steps.push(step("DELETE FROM highwater.account WHERE name = $1", [Box::new(name)]));
        for sql in [
            "DELETE FROM highwater.log WHERE account = $1",
            "DELETE FROM highwater.delta WHERE account = $1",
            "DELETE FROM highwater.page WHERE account = $1",
            "DELETE FROM highwater.history WHERE account = $1",
            "DELETE FROM highwater.usage WHERE account = $1",
        ] {
            steps.push(step(sql, [Box::new(big(id))]));
        }
    }
    Ok(())
}
