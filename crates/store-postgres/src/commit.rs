//! A commit: the rows that it is about are locked, what others wrote is read, everything is written in one transaction.
//!
//! Two round trips: the locks with what must be read; then all that is written, the batch's own row, and COMMIT.
//!
//! # Invariants
//! - Log rows are locked first and in the order of their ids, then accounts by name, bodies by id, usage by account: no
//!   two commits wait for each other in a circle.
//! - What is refused is refused before COMMIT is sent, or by a statement that fails and so undoes the whole.
//! - A COMMIT whose answer is lost is in doubt. The doubt ends by writing a row in place of the batch's own: that
//!   waits for the lost transaction, and either finds its row, or keeps it from ever committing [H1, H2].

mod write;

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use store::engine::{
    BodyId, Commit, EngineError, Held, LogHead, LogId, News, Standing, Transaction,
};
use tokio::time::sleep;
use tokio_postgres::Row;

use crate::convert::{bits, from_bits, key, number};
use crate::engine::{Inner, SOON, wait};
use crate::error::Fault;
use crate::health::{BatchId, REPLACED};
use crate::link::{Link, Step};
use crate::pool::Lent;
use crate::read::{catch_up_steps, head_of, standing, whole};

const LOCK: &str = "SELECT seq, folded, epoch FROM highwater.log
    WHERE account = $1 AND number = $2 FOR UPDATE";
/// How long it is tried to find out what became of a commit.
const DOUBT: Duration = Duration::from_secs(30);

/// The logs that a commit writes to.
pub(crate) fn logs(commit: &Commit) -> BTreeSet<LogId> {
    let appended = commit.appends.iter().map(|append| append.log);
    let folded = commit.folds.iter().map(|fold| fold.log);
    let forgotten = commit.forgotten.iter().map(|(log, _)| log);
    let others = commit.dropped.iter().chain(&commit.renewed).chain(forgotten).copied();
    appended.chain(folded).chain(others).collect()
}

/// A transaction that holds its logs.
pub(crate) struct Begun<'a> {
    inner: &'a Inner,
    lent: Option<Lent>,
    /// The rows that are locked; `None` for one that is not there.
    locked: HashMap<LogId, Option<LogHead>>,
    standings: Vec<Standing>,
}

impl<'a> Begun<'a> {
    /// Locks and, if asked to, reads.
    pub(crate) async fn begin(
        inner: &'a Inner,
        locked: &[Held],
        watched: &[Held],
        read: bool,
    ) -> Result<Self, EngineError> {
        let mut sorted = locked.to_vec();
        sorted.sort_by_key(|held| held.log);
        let began = Instant::now();
        loop {
            let lent = inner.writer().await.map_err(Fault::nothing_done)?;
            match Self::take(inner, &lent, &sorted, watched, read).await {
                Ok((locked, standings)) => {
                    return Ok(Self { inner, lent: Some(lent), locked, standings });
                }
                Err(Fault::Refused(error)) => {
                    if lent.run("ROLLBACK").await.is_err() {
                        lent.give_up();
                    }
                    return Err(error);
                }
                Err(fault @ Fault::Lost(_)) => {
                    let was_old = !lent.is_new;
                    lent.give_up();
                    if !was_old || began.elapsed() > SOON {
                        return Err(fault.nothing_done());
                    }
                }
            }
        }
    }

    async fn take(
        inner: &Inner,
        link: &Link,
        locked: &[Held],
        watched: &[Held],
        read: bool,
    ) -> Result<(HashMap<LogId, Option<LogHead>>, Vec<Standing>), Fault> {
        let mut steps = vec![Step::Plain("BEGIN")];
        steps.extend(locked.iter().map(|held| lock_step(held.log)));
        let asked: Vec<Held> =
            if read { locked.iter().chain(watched).copied().collect() } else { Vec::new() };
        steps.extend(asked.iter().flat_map(|held| catch_up_steps(*held)));
        let answers = link.pipeline(&steps).await?;
        let (locks, reads) = answers.get(1..).unwrap_or_default().split_at(locked.len());
        let rows =
            locked.iter().zip(locks).map(|(held, rows)| (held.log, head(inner, held.log, rows)));
        let rows = rows.collect();
        let mut standings = Vec::with_capacity(asked.len());
        for (held, answers) in asked.iter().zip(reads.chunks(3)) {
            let mut standing = standing(inner, *held, answers);
            if let News::Whole { pages, deltas } = &mut standing.news {
                match whole(inner, link, held.log).await? {
                    Some(found) => (standing.head, *pages, *deltas) = found,
                    None => standing.news = News::Dropped,
                }
            }
            standings.push(standing);
        }
        Ok((rows, standings))
    }

    /// As the store takes it.
    pub(crate) fn open(mut self) -> store::engine::Begun<'a> {
        let standings = std::mem::take(&mut self.standings);
        let learnt = standings.iter().any(|standing| standing.news != News::None);
        let transaction = Box::new(Open { begun: self, learnt });
        store::engine::Begun { standings, transaction }
    }

    /// Writes and commits.
    pub(crate) async fn commit(mut self, commit: &Commit) -> Result<(), EngineError> {
        let Some(lent) = self.lent.take() else { return Ok(()) };
        let first = logs(commit).first().map_or(0, |log| key(*log).0);
        let batch = BatchId { account: first, id: bits(fastrand::u64(..)) };
        match write::write(self.inner, &lent, &mut self.locked, commit, batch).await {
            Ok(()) if !lent.take_warned() => {
                let met = lent.met();
                self.inner.health.acknowledged(batch, met);
                if !self.inner.health.leads_here(&lent) {
                    lent.give_up();
                    resolve(self.inner, batch, REPLACED).await?;
                }
            }
            // Committed there, and perhaps not on the standby: what follows it is not acknowledged before it.
            Ok(()) => {
                if let Err(fault) = self.inner.health.barrier(&lent).await {
                    lent.give_up();
                    resolve(self.inner, batch, &fault.why()).await?;
                }
                self.inner.health.acknowledged(batch, self.inner.health.met());
            }
            Err(Fault::Refused(error)) => {
                if lent.run("ROLLBACK").await.is_err() {
                    lent.give_up();
                }
                return Err(error);
            }
            Err(Fault::Lost(why)) => {
                lent.give_up();
                resolve(self.inner, batch, &why).await?;
                self.inner.health.acknowledged(batch, self.inner.health.met());
            }
        }
        let written = commit.appends.iter().map(|append| append.log);
        self.inner.notices.add(written.chain(commit.dropped.iter().copied()));
        Ok(())
    }

    /// Ends a transaction that has written nothing; what it has read is made durable if it is new.
    async fn end(mut self, learnt: bool) -> Result<(), EngineError> {
        let Some(lent) = self.lent.take() else { return Ok(()) };
        let ended = async {
            lent.run("COMMIT").await?;
            let health = &self.inner.health;
            if learnt { health.barrier(&lent).await } else { health.renew_lease(&lent).await }
        };
        let ended = ended.await;
        if ended.is_err() {
            lent.give_up();
        }
        ended.map_err(Fault::nothing_done)
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        if let Some(lent) = self.lent.take() {
            self.inner.runtime.spawn(async move {
                if lent.run("ROLLBACK").await.is_err() {
                    lent.give_up();
                }
            });
        }
    }
}

fn lock_step(log: LogId) -> Step<'static> {
    let (account, number) = key(log);
    Step::Query(LOCK, vec![Box::new(account), Box::new(number)])
}

fn head(inner: &Inner, log: LogId, rows: &[Row]) -> Option<LogHead> {
    rows.first().map(|row| head_of(inner, log, row))
}

/// See [`store::engine::Begun`].
struct Open<'a> {
    begun: Begun<'a>,
    learnt: bool,
}

impl Transaction for Open<'_> {
    fn commit(self: Box<Self>, commit: &Commit) -> Result<(), EngineError> {
        let Self { begun, learnt } = *self;
        let runtime = begun.inner.runtime.clone();
        let writes = *commit != Commit { now: commit.now, ..Commit::default() };
        if writes {
            wait(&runtime, begun.commit(commit))
        } else {
            wait(&runtime, begun.end(learnt))
        }
    }
}

/// Finds out what became of a commit: `Ok` when it is done, and durable.
async fn resolve(inner: &Inner, batch: BatchId, why: &str) -> Result<(), EngineError> {
    // It is told from the commit's own row: this may have been written before, and its answer lost as well.
    const END: &str = "INSERT INTO highwater.batch(account, id, done) VALUES($1, $2, false)
        ON CONFLICT DO NOTHING";
    const DONE: &str = "SELECT done FROM highwater.batch WHERE account = $1 AND id = $2";
    let began = Instant::now();
    let mut last = String::new();
    while began.elapsed() < DOUBT {
        let tried = async {
            let lent = inner.writer().await?;
            let asked = async {
                lent.query(END, &[&batch.account, &batch.id]).await?;
                let rows = lent.query(DONE, &[&batch.account, &batch.id]).await?;
                inner.health.barrier(&lent).await?;
                Ok(rows.first().is_some_and(|row| row.get(0)))
            };
            let asked = asked.await;
            if matches!(asked, Err(Fault::Lost(_))) {
                lent.give_up();
            }
            asked
        };
        match tried.await {
            Ok(true) => return Ok(()),
            Ok(false) => {
                return Err(EngineError::Unavailable(format!(
                    "the connection to PostgreSQL was lost before the commit: {why}"
                )));
            }
            Err(Fault::Refused(EngineError::Broken(why))) => return Err(EngineError::Broken(why)),
            Err(fault) => last = fault.why(),
        }
        sleep(Duration::from_millis(200)).await;
    }
    Err(EngineError::Unknown(format!(
        "the connection to PostgreSQL was lost in a commit ({why}), and then: {last}"
    )))
}

/// Removes bodies without references; their octets are noted for whoever collects what is left over.
pub(crate) async fn forget_bodies(link: &Link, ids: &[BodyId]) -> Result<Vec<BodyId>, Fault> {
    const SQL: &str = "WITH held AS (SELECT id FROM highwater.body WHERE id = ANY($1) AND refs = 0
          ORDER BY id FOR UPDATE),
        gone AS (DELETE FROM highwater.body AS b USING held WHERE b.id = held.id
          RETURNING b.id, b.locator),
        noted AS (INSERT INTO highwater.upload
          SELECT locator, extract(epoch FROM now())::bigint FROM gone
          WHERE substr(locator, 1, 1) IN ('\\x62', '\\x6f') ON CONFLICT DO NOTHING)
        SELECT id FROM gone";
    let wanted: Vec<i64> = ids.iter().map(|id| bits(id.0)).collect();
    let rows = link.query(SQL, &[&wanted]).await?;
    let gone: BTreeSet<u64> = rows.iter().map(|row| from_bits(row, 0)).collect();
    Ok(ids.iter().filter(|id| gone.contains(&id.0)).copied().collect())
}

/// In pieces, so that no commit waits long.
pub(crate) async fn forget_history(inner: &Inner, before: i64) -> Result<u64, EngineError> {
    const OLD: &str =
        "SELECT account, number FROM highwater.log AS l WHERE (account, number) > ($1, $2)
        AND (SELECT at FROM highwater.history AS h WHERE h.account = l.account
             AND h.number = l.number ORDER BY seq LIMIT 1) < $3
        ORDER BY account, number LIMIT 256";
    let (mut after, mut total) = ((-1_i64, -1_i64), 0);
    loop {
        let old = async |link: &Link| link.query(OLD, &[&after.0, &after.1, &before]).await;
        let logs: Vec<(i64, i64)> =
            inner.with(old).await?.iter().map(|row| (row.get(0), row.get(1))).collect();
        let Some(last) = logs.last() else { return Ok(total) };
        after = *last;
        for log in logs {
            let mut count = 1;
            while count > 0 {
                count = inner.with(async |link| forget_some(link, log, before).await).await?;
                total += count;
            }
        }
    }
}

/// Forgets the log's oldest records, a bounded number of them; answers how many.
async fn forget_some(link: &Link, (account, log): (i64, i64), before: i64) -> Result<u64, Fault> {
    const SQL: &str = "WITH held AS (SELECT 1 FROM highwater.log
          WHERE account = $1 AND number = $2 FOR UPDATE),
        oldest AS (SELECT seq, at FROM highwater.history
          WHERE account = $1 AND number = $2 AND EXISTS (SELECT FROM held) ORDER BY seq LIMIT 2000),
        first_kept AS (SELECT min(seq) AS seq FROM oldest WHERE at >= $3),
        gone AS (DELETE FROM highwater.history AS h USING oldest AS o
          WHERE h.account = $1 AND h.number = $2 AND h.seq = o.seq
          AND NOT EXISTS (SELECT FROM first_kept AS k WHERE k.seq <= o.seq) RETURNING h.seq),
        noted AS (UPDATE highwater.log SET forgotten = greatest(forgotten, (SELECT max(seq) FROM gone))
          WHERE account = $1 AND number = $2 AND EXISTS (SELECT FROM gone))
        SELECT count(*) FROM gone";
    let rows = link.query(SQL, &[&account, &log, &before]).await?;
    Ok(rows.first().map_or(0, |row| number(row, 0)))
}
