//! Reading.
//!
//! # Invariants
//! - A log is read as one instant: one transaction that sees one snapshot.
//! - Deltas are read before the head that says where they lead, so that a fold in between shows.
//! - Whatever is new is made durable before it is given out [H1]; reading waits for nobody [H7].

use std::collections::HashMap;
use std::pin::pin;

use futures_util::TryStreamExt as _;
use store::engine::{
    AccountId, AccountRow, BodyId, BodyRef, BodyRow, EngineError, Held, LogHead, LogId, News,
    Numbered, Standing, Visit,
};
use store::quota::Usage;
use store::rules::{self, Missing};
use tokio_postgres::Row;

use crate::convert::{big, bits, from_bits, key, number};
use crate::engine::Inner;
use crate::error::Fault;
use crate::link::{Link, Step, patiently};

pub(crate) const HEAD: &str = "SELECT seq, folded, epoch FROM highwater.log
    WHERE account = $1 AND number = $2 AND seq > 0";
pub(crate) const DELTAS: &str = "SELECT seq, octets FROM highwater.delta
    WHERE account = $1 AND number = $2 AND seq > $3 ORDER BY seq";
pub(crate) const PAGES: &str = "SELECT key, octets FROM highwater.page
    WHERE account = $1 AND number = $2 ORDER BY key";
pub(crate) const USAGE: &str = "SELECT octets, messages FROM highwater.usage WHERE account = $1";

/// A head as the columns `seq`, `folded` and `epoch` have it.
pub(crate) fn head_of(inner: &Inner, log: LogId, row: &Row) -> LogHead {
    let doubtful = log.number != 0 && row.get::<_, i64>(2) < inner.health.epoch();
    LogHead { seq: number(row, 0), folded: number(row, 1), doubtful }
}

pub(crate) fn numbered(rows: &[Row]) -> Numbered {
    rows.iter().map(|row| (number(row, 0), row.get(1))).collect()
}

pub(crate) fn usage_of(rows: &[Row]) -> Usage {
    let row = |row: &Row| Usage { octets: number(row, 0), messages: number(row, 1) };
    rows.first().map(row).unwrap_or_default()
}

pub(crate) async fn head(inner: &Inner, link: &Link, log: LogId) -> Result<Option<LogHead>, Fault> {
    let (account, number) = key(log);
    let rows = link.query(HEAD, &[&account, &number]).await?;
    Ok(rows.first().map(|row| head_of(inner, log, row)))
}

/// One transaction with one snapshot; what it found is durable before this answers.
pub(crate) async fn load(
    inner: &Inner,
    log: LogId,
    page: Visit<'_>,
    delta: Visit<'_>,
) -> Result<Option<LogHead>, EngineError> {
    let mut visited = false;
    let read = async |link: &Link| {
        if visited {
            return Err(Fault::Lost("the connection was lost while a mailbox was read".into()));
        }
        link.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        let found = async {
            let Some(head) = head(inner, link, log).await? else { return Ok(None) };
            visited = true;
            stream(link, PAGES, log, None, page).await?;
            stream(link, DELTAS, log, Some(0), delta).await?;
            Ok::<_, Fault>(Some(head))
        };
        let found = found.await;
        link.run("COMMIT").await?;
        let found = found?;
        inner.health.barrier(link).await?;
        Ok(found)
    };
    inner.with(read).await
}

async fn stream(
    link: &Link,
    sql: &'static str,
    log: LogId,
    after: Option<u64>,
    visit: Visit<'_>,
) -> Result<(), Fault> {
    let statement = link.prepared(sql).await?;
    let (account, log) = key(log);
    let mut parameters = vec![account, log];
    parameters.extend(after.map(big));
    let rows = link.client().query_raw(&statement, parameters);
    let mut rows = pin!(patiently(rows).await?);
    while let Some(row) = patiently(rows.try_next()).await? {
        visit(number(&row, 0), row.get(1))?;
    }
    Ok(())
}

/// See [`store::engine::Engine::news`].
pub(crate) async fn news(inner: &Inner, held: &[Held]) -> Result<Vec<Standing>, EngineError> {
    let standings = inner
        .with(async |link| {
            inner.health.renew_lease(link).await?;
            let behind = behind(inner, link, held).await?;
            let standings = catch_up(inner, link, &behind).await?;
            if standings.iter().any(|standing| standing.news != News::None) {
                inner.health.barrier(link).await?;
            }
            Ok(standings)
        })
        .await?;
    fill(inner, standings).await
}

/// Those that are not where they are held, and accounts.
async fn behind(inner: &Inner, link: &Link, held: &[Held]) -> Result<Vec<Held>, Fault> {
    const SQL: &str = "SELECT l.seq, l.folded, l.epoch, l.account, l.number FROM highwater.log l
        JOIN unnest($1::bigint[], $2::bigint[]) AS held(account, number)
        ON l.account = held.account AND l.number = held.number WHERE l.seq > 0";
    let (accounts, numbers): (Vec<i64>, Vec<i64>) = held.iter().map(|held| key(held.log)).unzip();
    let rows = link.query(SQL, &[&accounts, &numbers]).await?;
    let heads: HashMap<(i64, i64), LogHead> = rows
        .iter()
        .map(|row| {
            let log = LogId {
                account: AccountId(number(row, 3)),
                number: row.get::<_, i64>(4).try_into().unwrap_or(0),
            };
            (key(log), head_of(inner, log, row))
        })
        .collect();
    let is_behind = |held: &&Held| {
        let head = heads.get(&key(held.log)).copied();
        held.log.number == 0 || rules::missing(**held, head) != Missing::Nothing
    };
    Ok(held.iter().filter(is_behind).copied().collect())
}

/// Deltas, then heads, then what accounts have stored, in one round trip.
async fn catch_up(inner: &Inner, link: &Link, held: &[Held]) -> Result<Vec<Standing>, Fault> {
    let steps: Vec<Step<'_>> = held.iter().flat_map(|held| catch_up_steps(*held)).collect();
    let answers = link.pipeline(&steps).await?;
    Ok(held
        .iter()
        .zip(answers.chunks(3))
        .map(|(held, answers)| standing(inner, *held, answers))
        .collect())
}

/// What tells where a log stands.
pub(crate) fn catch_up_steps(held: Held) -> [Step<'static>; 3] {
    let (account, number) = key(held.log);
    [
        Step::Query(DELTAS, vec![Box::new(account), Box::new(number), Box::new(big(held.seq))]),
        Step::Query(HEAD, vec![Box::new(account), Box::new(number)]),
        Step::Query(USAGE, vec![Box::new(account)]),
    ]
}

/// What [`catch_up_steps`] have found. A log that must be read as a whole is [`News::Whole`] without anything.
pub(crate) fn standing(inner: &Inner, held: Held, answers: &[Vec<Row>]) -> Standing {
    let rows = |at: usize| answers.get(at).map(Vec::as_slice).unwrap_or_default();
    let deltas = numbered(rows(0));
    let head = rows(1).first().map(|row| head_of(inner, held.log, row));
    let news = match rules::missing(held, head) {
        Missing::Nothing => News::None,
        Missing::Log => News::Dropped,
        Missing::All => News::Whole { pages: Numbered::new(), deltas: Numbered::new() },
        // The head was read later: what came between is left for the next time.
        Missing::Deltas if deltas.is_empty() => News::None,
        Missing::Deltas => News::Deltas(deltas),
    };
    let mut head = head.unwrap_or_default();
    match &news {
        News::Deltas(deltas) => head.seq = deltas.last().map_or(head.seq, |(seq, _)| *seq),
        News::None => head.seq = held.seq,
        _ => {}
    }
    let usage = (held.log.number == 0).then(|| usage_of(rows(2)));
    Standing { log: held.log, head, news, usage }
}

/// The log as a whole, as one statement sees it: nobody's fold comes between its pages and its deltas.
pub(crate) async fn whole(
    inner: &Inner,
    link: &Link,
    log: LogId,
) -> Result<Option<(LogHead, Numbered, Numbered)>, Fault> {
    const SQL: &str = "SELECT seq, folded, epoch, 0 AS kind, 0::bigint AS at, NULL::bytea AS octets
          FROM highwater.log WHERE account = $1 AND number = $2 AND seq > 0
        UNION ALL SELECT 0, 0, 0, 1, key, octets FROM highwater.page
          WHERE account = $1 AND number = $2
        UNION ALL SELECT 0, 0, 0, 2, seq, octets FROM highwater.delta
          WHERE account = $1 AND number = $2
        ORDER BY kind, at";
    let statement = link.prepared(SQL).await?;
    let (account, log_number) = key(log);
    let rows = link.client().query_raw(&statement, [account, log_number]);
    let mut rows = pin!(patiently(rows).await?);
    let (mut head, mut pages, mut deltas) = (None, Numbered::new(), Numbered::new());
    while let Some(row) = patiently(rows.try_next()).await? {
        match row.get(3) {
            0 => head = Some(head_of(inner, log, &row)),
            1 => pages.push((number(&row, 4), row.get(5))),
            _ => deltas.push((number(&row, 4), row.get(5))),
        }
    }
    Ok(head.map(|head| (head, pages, deltas)))
}

/// Fills in those that must be read as a whole.
async fn fill(inner: &Inner, standings: Vec<Standing>) -> Result<Vec<Standing>, EngineError> {
    let mut all = Vec::with_capacity(standings.len());
    for mut standing in standings {
        if let News::Whole { pages, deltas } = &mut standing.news {
            let page = &mut |key, octets: &[u8]| take(pages, key, octets);
            let delta = &mut |seq, octets: &[u8]| take(deltas, seq, octets);
            match load(inner, standing.log, page, delta).await? {
                Some(head) => standing.head = head,
                None => standing.news = News::Dropped,
            }
        }
        all.push(standing);
    }
    Ok(all)
}

fn take(into: &mut Numbered, number: u64, octets: &[u8]) -> Result<(), EngineError> {
    into.push((number, octets.to_vec()));
    Ok(())
}

/// In pieces, each of which has been read before the visitor sees it.
pub(crate) async fn history(
    inner: &Inner,
    log: LogId,
    mut after: u64,
    visit: Visit<'_>,
) -> Result<u64, EngineError> {
    const SQL: &str = "SELECT seq, octets FROM highwater.history
        WHERE account = $1 AND number = $2 AND seq > $3 ORDER BY seq LIMIT 1000";
    let (account, number) = key(log);
    loop {
        let from = big(after);
        let piece = inner
            .with(async |link| Ok(numbered(&link.query(SQL, &[&account, &number, &from]).await?)))
            .await?;
        let Some((last, _)) = piece.last() else { break };
        after = *last;
        piece.iter().try_for_each(|(seq, octets)| visit(*seq, octets))?;
    }
    let sql = "SELECT forgotten FROM highwater.log WHERE account = $1 AND number = $2";
    let rows = inner.with(async |link| link.query(sql, &[&account, &number]).await).await?;
    Ok(rows.first().map_or(0, |row| crate::convert::number(row, 0)))
}

fn body_row(row: &Row) -> BodyRow {
    let crc = u32::try_from(row.get::<_, i64>(3)).unwrap_or(0);
    BodyRow {
        id: BodyId(from_bits(row, 0)),
        body: BodyRef { locator: row.get(1), len: number(row, 2), crc },
        meta: row.get(4),
    }
}

pub(crate) async fn bodies(link: &Link, ids: &[BodyId]) -> Result<Vec<BodyRow>, Fault> {
    let sql = "SELECT id, locator, len, crc, meta FROM highwater.body WHERE id = ANY($1)";
    let wanted: Vec<i64> = ids.iter().map(|id| bits(id.0)).collect();
    let rows = link.query(sql, &[&wanted]).await?;
    let found: HashMap<BodyId, BodyRow> =
        rows.iter().map(body_row).map(|row| (row.id, row)).collect();
    let row = |id: &BodyId| found.get(id).cloned().ok_or_else(|| rules::no_body(*id).into());
    ids.iter().map(row).collect()
}

pub(crate) async fn reclaimable(
    link: &Link,
    before: i64,
    limit: usize,
) -> Result<Vec<BodyRow>, Fault> {
    let sql = "SELECT id, locator, len, crc, meta FROM highwater.body
               WHERE freed < $1 AND refs = 0 ORDER BY freed LIMIT $2";
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    Ok(link.query(sql, &[&before, &limit]).await?.iter().map(body_row).collect())
}

/// An account's row from the columns `id`, `version` and `record`, from the one at `first` on.
fn account_row(row: &Row, first: usize) -> AccountRow {
    AccountRow {
        id: AccountId(number(row, first)),
        version: number(row, first + 1),
        record: row.get(first + 2),
    }
}

pub(crate) async fn account(link: &Link, name: &str) -> Result<Option<AccountRow>, Fault> {
    let sql = "SELECT id, version, record FROM highwater.account WHERE name = $1";
    Ok(link.query(sql, &[&name]).await?.first().map(|row| account_row(row, 0)))
}

pub(crate) async fn accounts(link: &Link) -> Result<Vec<(String, AccountRow)>, Fault> {
    let sql = "SELECT name, id, version, record FROM highwater.account ORDER BY name COLLATE \"C\"";
    let rows = link.query(sql, &[]).await?;
    Ok(rows.iter().map(|row| (row.get(0), account_row(row, 1))).collect())
}

pub(crate) async fn usage(link: &Link, account: AccountId) -> Result<Usage, Fault> {
    Ok(usage_of(&link.query(USAGE, &[&big(account.0)]).await?))
}
