//! Whether this is the database that acknowledged what this node knows, and whether what it shows is durable.
//!
//! A *barrier* is a commit of the node's own row. Acknowledged without a warning, it stands after everything that was
//! visible before it, so all of that is on the synchronous standby, and the server is still the primary. A node
//! remembers the number of its last barrier (`beat`) and its last commits: a server that lacks one of them has lost
//! acknowledged commits. Then the *epoch* rises, every mailbox written in an earlier one is doubtful and gets a new
//! UIDVALIDITY, and the node refuses everything, so that nothing of its memory survives.
//!
//! # Invariants
//! - Nothing read over a new connection is given out before a barrier over it, and before the server has shown to
//!   have what this node was acknowledged [H1, H3].
//! - A server on a timeline that no node can vouch for begins a new epoch [H3, H6].

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use store::engine::EngineError;
use tokio::time::{sleep, timeout};

use crate::convert::big;
use crate::error::{Fault, OpenError};
use crate::link::{Link, PATIENCE};
use crate::place::Place;
use crate::schema::{Server, unusable};

/// How long a barrier proves that the server is the primary.
const LEASE: Duration = Duration::from_secs(3);
/// How many commits are remembered; more than ever are on their way at once.
const COMMITS: usize = 32;
/// How old a remembered commit may be: its row stays an hour.
const COMMIT_AGE: Duration = Duration::from_secs(30 * 60);
/// How long a node that starts gives those that run to vouch for a new timeline.
const VOUCHING: Duration = Duration::from_secs(15);

/// A commit that was acknowledged: the key of its row in `batch`.
#[derive(Clone, Copy)]
pub(crate) struct BatchId {
    pub(crate) account: i64,
    pub(crate) id: i64,
}

/// A moment by two clocks: one of them may stand still while the machine is suspended.
#[derive(Clone, Copy)]
struct Moment(Instant, SystemTime);

impl Moment {
    fn now() -> Self {
        Self(Instant::now(), SystemTime::now())
    }

    fn age(self) -> Duration {
        self.0.elapsed().max(self.1.elapsed().unwrap_or_default())
    }
}

/// One that this node remembers.
struct Acknowledged {
    batch: BatchId,
    at: Moment,
    /// Which of the servers acknowledged it.
    met: u64,
}

/// The server as this node knows it.
#[derive(Clone)]
struct Known {
    server: Server,
    epoch: i64,
}

/// What this node remembers of the server.
pub(crate) struct Health {
    node: String,
    known: Mutex<Known>,
    commits: Mutex<VecDeque<Acknowledged>>,
    /// The number of the last barrier that was acknowledged.
    beat: AtomicU64,
    /// How many servers it has met: rises when another one, or the same started anew, is met.
    met: AtomicU64,
    /// Barriers asked for, those among them that are done, and when the last one began.
    asked: AtomicU64,
    done: tokio::sync::Mutex<u64>,
    lease: Mutex<Option<Instant>>,
    /// When the last barrier was.
    beaten: Mutex<Moment>,
    broken: Mutex<Option<String>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the cluster's row says.
struct Cluster {
    server: Server,
    epoch: i64,
}

impl Cluster {
    async fn read(link: &Link) -> Result<Self, Fault> {
        let sql = "SELECT system, timeline, started, epoch FROM highwater.cluster";
        let rows = link.query(sql, &[]).await?;
        let row = rows.first().ok_or_else(|| {
            EngineError::Damaged(
                "the row of highwater.cluster is gone: restore the database".into(),
            )
        })?;
        let server = Server { system: row.get(0), timeline: row.get(1), started: row.get(2) };
        Ok(Self { server, epoch: row.get(3) })
    }

    /// Notes the server, in a new epoch if acknowledged commits may be lost; false when another was faster.
    async fn note(&self, link: &Link, server: &Server, new_epoch: bool) -> Result<bool, Fault> {
        let sql =
            "UPDATE highwater.cluster SET system = $1, timeline = $2, started = $3, epoch = $4
                   WHERE epoch = $5 RETURNING 1";
        let epoch = self.epoch + i64::from(new_epoch);
        let Server { system, timeline, started } = server;
        let rows = link.query(sql, &[system, timeline, started, &epoch, &self.epoch]).await?;
        Ok(!rows.is_empty())
    }
}

/// What a node that starts goes by.
pub(crate) struct Trust {
    /// Acknowledged commits may be lost in a crash of the server.
    pub(crate) lossy: bool,
    /// The administrator vouches for this timeline.
    pub(crate) timeline: Option<u32>,
}

impl Health {
    /// Comes to know the server, when the node starts.
    pub(crate) async fn begin(
        node: String,
        link: &Link,
        place: &Place,
        server: Server,
        trust: &Trust,
    ) -> Result<Self, OpenError> {
        let failed = |fault: Fault| unusable(place, fault.why());
        let known = vouch(link, server, trust).await.map_err(failed)?;
        let health = Self {
            node,
            known: Mutex::new(known),
            commits: Mutex::default(),
            beat: AtomicU64::new(0),
            met: AtomicU64::new(1),
            asked: AtomicU64::new(0),
            done: tokio::sync::Mutex::new(0),
            lease: Mutex::default(),
            beaten: Mutex::new(Moment::now()),
            broken: Mutex::default(),
        };
        let old = "DELETE FROM highwater.node WHERE seen < now() - interval '1 day'";
        link.query(old, &[]).await.map_err(failed)?;
        link.set_met(1);
        health.barrier(link).await.map_err(failed)?;
        Ok(health)
    }

    /// Whether anything may be done at all.
    pub(crate) fn check(&self) -> Result<(), EngineError> {
        lock(&self.broken).clone().map_or(Ok(()), |why| Err(EngineError::Broken(why)))
    }

    fn break_with(&self, why: &str) -> EngineError {
        let why = lock(&self.broken).get_or_insert_with(|| why.to_owned()).clone();
        EngineError::Broken(why)
    }

    /// The epoch in which this node writes.
    pub(crate) fn epoch(&self) -> i64 {
        lock(&self.known).epoch
    }

    /// Remembers a commit that the server of this number has acknowledged.
    pub(crate) fn acknowledged(&self, batch: BatchId, met: u64) {
        let mut commits = lock(&self.commits);
        commits.push_back(Acknowledged { batch, at: Moment::now(), met });
        if commits.len() > COMMITS {
            commits.pop_front();
        }
    }

    /// Whether it leads to the server that was met last: only then is a barrier over another connection worth
    /// anything for what is read over this one.
    pub(crate) fn leads_here(&self, link: &Link) -> bool {
        link.met() == self.met()
    }

    /// The number of the server that was met last.
    pub(crate) fn met(&self) -> u64 {
        self.met.load(Ordering::Acquire)
    }

    fn test_leads_here(&self, link: &Link) -> Result<(), Fault> {
        if self.leads_here(link) { Ok(()) } else { Err(Fault::Lost(REPLACED.into())) }
    }

    /// Makes durable what was visible over this connection before. Callers at the same time share one.
    pub(crate) async fn barrier(&self, link: &Link) -> Result<(), Fault> {
        let ticket = self.asked.fetch_add(1, Ordering::AcqRel) + 1;
        let mut done = timeout(PATIENCE, self.done.lock()).await.map_err(|_| unconfirmed())?;
        self.test_leads_here(link)?;
        if *done >= ticket {
            return Ok(());
        }
        let upto = self.asked.load(Ordering::Acquire);
        self.commit_barrier(link).await?;
        *done = upto;
        Ok(())
    }

    async fn commit_barrier(&self, link: &Link) -> Result<(), Fault> {
        const SQL: &str = "INSERT INTO highwater.node VALUES($1, $2, now())
            ON CONFLICT (id) DO UPDATE SET beat = excluded.beat, seen = excluded.seen
            RETURNING (SELECT epoch FROM highwater.cluster)";
        const TRIES: usize = 3;
        for _ in 0..TRIES {
            let began = Instant::now();
            let beat = self.beat.load(Ordering::Acquire) + 1;
            link.take_warned();
            let rows = link.query(SQL, &[&self.node, &big(beat)]).await;
            let rows = rows.map_err(|fault| match fault {
                Fault::Lost(why) => {
                    Fault::Lost(format!("{why}: is its synchronous standby there?"))
                }
                refused @ Fault::Refused(_) => refused,
            })?;
            if link.take_warned() {
                continue;
            }
            self.test_leads_here(link)?;
            self.beat.store(beat, Ordering::Release);
            *lock(&self.lease) = Some(began);
            // Whoever has the barrier has what was acknowledged before it.
            let met = link.met();
            lock(&self.commits).retain(|commit| commit.at.0 >= began || commit.met != met);
            *lock(&self.beaten) = Moment::now();
            let epoch: i64 = rows.first().map_or(-1, |row| row.get(0));
            return if epoch == self.epoch() {
                Ok(())
            } else {
                Err(self.break_with(ELSEWHERE).into())
            };
        }
        Err(unconfirmed())
    }

    /// Makes sure that the server was the primary a moment ago.
    pub(crate) async fn renew_lease(&self, link: &Link) -> Result<(), Fault> {
        self.test_leads_here(link)?;
        let is_good = lock(&self.lease).is_some_and(|began| began.elapsed() < LEASE);
        if is_good { Ok(()) } else { self.barrier(link).await }
    }

    /// Meets the server over a new connection: has it what this node was acknowledged?
    pub(crate) async fn greet(&self, link: &Link) -> Result<(), Fault> {
        let server = Server::of(link).await?;
        let cluster = Cluster::read(link).await?;
        let is_same =
            cluster.server.system == server.system && cluster.server.timeline == server.timeline;
        let has_all = self.has_all(link, is_same).await?;
        let known = lock(&self.known).clone();
        if cluster.epoch != known.epoch {
            return Err(self.break_with(ELSEWHERE).into());
        }
        if server.system != known.server.system || !has_all {
            // Whoever is first raises it; all who were acknowledged something end.
            cluster.note(link, &server, true).await?;
            return Err(self.break_with(LOST).into());
        }
        if cluster.server != server && !cluster.note(link, &server, false).await? {
            return Err(self.break_with(ELSEWHERE).into());
        }
        link.set_met(self.meet(server));
        self.barrier_over(link).await
    }

    /// The number of this server. Another than before makes nothing of what was proven of that one.
    fn meet(&self, server: Server) -> u64 {
        let mut known = lock(&self.known);
        if known.server == server {
            return self.met();
        }
        known.server = server;
        *lock(&self.lease) = None;
        self.met.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// One over this very connection.
    async fn barrier_over(&self, link: &Link) -> Result<(), Fault> {
        let _one_at_a_time =
            timeout(PATIENCE, self.done.lock()).await.map_err(|_| unconfirmed())?;
        self.commit_barrier(link).await
    }

    /// Whether this node was idle for so long that one that started may have removed its row.
    fn is_forgotten(&self) -> bool {
        const AGE: Duration = Duration::from_secs(12 * 60 * 60);
        lock(&self.beaten).age() > AGE
    }

    /// Whether the server has the last barrier and the last commits. Of a node whose row went by its age nothing is
    /// known, as of one that starts: what counts is whether the server is still the same.
    async fn has_all(&self, link: &Link, is_same: bool) -> Result<bool, Fault> {
        let beat = big(self.beat.load(Ordering::Acquire));
        let young = |commit: &&Acknowledged| commit.at.age() < COMMIT_AGE;
        let commits: Vec<BatchId> =
            lock(&self.commits).iter().filter(young).map(|commit| commit.batch).collect();
        let sql = "SELECT beat FROM highwater.node WHERE id = $1";
        let rows = link.query(sql, &[&self.node]).await?;
        let Some(row) = rows.first() else { return Ok(self.is_forgotten() && is_same) };
        if row.get::<_, i64>(0) < beat {
            return Ok(false);
        }
        for batch in commits {
            let sql = "SELECT 1 FROM highwater.batch WHERE account = $1 AND id = $2 AND done";
            if link.query(sql, &[&batch.account, &batch.id]).await?.is_empty() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn unconfirmed() -> Fault {
    let why = "the standby did not confirm: it may be gone, or its waiting was cancelled";
    Fault::Lost(why.into())
}

pub(crate) const REPLACED: &str = "another PostgreSQL server has taken the place of this one";
const LOST: &str = "the PostgreSQL server lacks commits that it had acknowledged, as after a failover to an asynchronous \
    standby: every mailbox gets a new UIDVALIDITY; this node must start anew";
const ELSEWHERE: &str = "another node has found that the PostgreSQL server may lack commits that it had acknowledged: every \
    mailbox gets a new UIDVALIDITY; this node must start anew";

/// Decides, when a node starts, whether the server can be the one that acknowledged what clients know.
async fn vouch(link: &Link, server: Server, trust: &Trust) -> Result<Known, Fault> {
    let began = Instant::now();
    loop {
        let cluster = Cluster::read(link).await?;
        let vouched = trust.timeline.map(i64::from) == Some(server.timeline);
        let same = cluster.server.system == server.system
            && cluster.server.timeline == server.timeline
            && (!trust.lossy || cluster.server.started == server.started);
        if same {
            return Ok(Known { server, epoch: cluster.epoch });
        }
        // One that runs may know; it says so over its next connection.
        let may_wait = !vouched && cluster.server.system == server.system;
        if may_wait && began.elapsed() < VOUCHING && others_run(link).await? {
            sleep(Duration::from_millis(200)).await;
            continue;
        }
        if cluster.note(link, &server, !vouched).await? {
            return Ok(Known { server, epoch: cluster.epoch + i64::from(!vouched) });
        }
    }
}

/// Whether another node was heard of in the last minute.
async fn others_run(link: &Link) -> Result<bool, Fault> {
    let sql = "SELECT 1 FROM highwater.node WHERE seen > now() - interval '1 minute' LIMIT 1";
    Ok(!link.query(sql, &[]).await?.is_empty())
}
