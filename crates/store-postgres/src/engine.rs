//! The engine: what is asked, over which connection, and what its answers are worth.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use store::engine::{
    AccountId, AccountRow, Begun, BodyId, BodyRow, Commit, Engine, EngineError, Held, LogHead,
    LogId, Standing, Tell, Visit,
};
use store::quota::Usage;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::time::timeout;

use crate::blobs::{Blobs, Bodies};
use crate::convert::number;
use crate::error::{Fault, OpenError};
use crate::health::{Health, REPLACED, Trust};
use crate::link::{Link, PATIENCE, slow};
use crate::notice::Notices;
use crate::objects::{self, Objects};
use crate::place::Place;
use crate::pool::{Lent, Pool};
use crate::schema::{self, Server, unusable};
use crate::{commit, read};

/// What an acknowledged change must survive.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Durability {
    /// The loss of the primary: a synchronous standby has it.
    #[default]
    Synchronous,
    /// A power cut of the one server.
    SingleDatabase,
    /// Nothing: the server may lose what it has acknowledged. Mailboxes get a new UIDVALIDITY when it may have.
    AllowDataLoss,
}

/// How the database is used.
#[derive(Clone, Debug)]
pub struct Options {
    /// What the server must be set up for.
    pub durability: Durability,
    /// Connections that write, and so committers that can work at once.
    pub writers: usize,
    /// Connections that read.
    pub readers: usize,
    /// The administrator vouches that the server on this timeline has every commit that was acknowledged.
    pub vouched_timeline: Option<u32>,
}

impl Default for Options {
    fn default() -> Self {
        let durability = Durability::default();
        Self { durability, writers: 4, readers: 4, vouched_timeline: None }
    }
}

/// The engine on a PostgreSQL database, which other nodes write to as well.
pub struct Postgres {
    pub(crate) inner: Arc<Inner>,
    /// Takes care of the connections; ended when the engine is dropped.
    _threads: Threads,
}

/// A runtime that may be dropped anywhere: within another one, too.
struct Threads(Option<Runtime>);

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

pub(crate) struct Inner {
    pub(crate) runtime: Handle,
    pub(crate) health: Health,
    pub(crate) notices: Arc<Notices>,
    pub(crate) writers: Pool,
    readers: Pool,
    /// Upper half of every number for a body that this node gives out, and how many it has.
    block: u64,
    bodies: AtomicU32,
    blobs: AtomicU32,
}

impl std::fmt::Debug for Postgres {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Postgres")
    }
}

impl Postgres {
    /// Connects, and makes the tables where there are none. Blocks.
    ///
    /// # Errors
    /// [`OpenError`], which says what to do.
    pub fn open(url: &str, options: &Options) -> Result<Self, OpenError> {
        let node = format!("{:016x}", fastrand::u64(..));
        let durable = options.durability != Durability::AllowDataLoss;
        let place = Arc::new(Place::parse(url, &format!("highwater {node}"), durable)?);
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("postgres")
            .enable_all()
            .build()
            .map_err(|error| unusable(&place, format!("no thread could be started: {error}")))?;
        let handle = runtime.handle().clone();
        let threads = Threads(Some(runtime));
        let inner = wait(&handle, Inner::open(node, &place, &handle, options))?;
        let notices = Arc::clone(&inner.notices);
        inner.runtime.spawn(notices.run(place, handle));
        Ok(Self { inner: Arc::new(inner), _threads: threads })
    }

    /// The place for bodies in the same database.
    pub fn bodies(&self) -> Blobs {
        Blobs::new(Arc::clone(&self.inner))
    }

    /// The place for bodies: the object store at `s3://BUCKET[/PREFIX]` or `file:///DIR`, or the database where none is
    /// named. Bodies that are in the database are read in either case. Blocks.
    ///
    /// # Errors
    /// [`OpenError`], when the place cannot be used, or the database's bodies are in another one.
    pub fn bodies_at(&self, address: Option<&str>) -> Result<Arc<dyn Bodies>, OpenError> {
        Ok(match address {
            Some(address) => Arc::new(Objects::open(Arc::clone(&self.inner), address)?),
            None => {
                self.wait(objects::none_used(&self.inner))?;
                Arc::new(self.bodies())
            }
        })
    }

    /// Removes what was kept only to find out what became of commits, once it is an hour old; answers how much. Blocks.
    ///
    /// # Errors
    /// [`EngineError::Unavailable`].
    pub fn tidy(&self) -> Result<u64, EngineError> {
        const SQL: &str = "WITH gone AS (DELETE FROM highwater.batch WHERE at < now() - interval '1 hour' RETURNING 1)
            SELECT count(*) FROM gone";
        let tidy = async |link: &Link| {
            Ok(link.query(SQL, &[]).await?.first().map_or(0, |row| number(row, 0)))
        };
        self.wait(self.inner.with(tidy))
    }

    /// How many other nodes, commands among them, are connected to the database just now. Blocks.
    ///
    /// # Errors
    /// [`EngineError::Unavailable`].
    pub fn others(&self) -> Result<u64, EngineError> {
        const SQL: &str = "SELECT count(DISTINCT application_name) FROM pg_stat_activity
            WHERE datname = current_database() AND application_name LIKE 'highwater %'
            AND application_name <> current_setting('application_name')";
        let others = async |link: &Link| {
            Ok(link.query(SQL, &[]).await?.first().map_or(0, |row| number(row, 0)))
        };
        self.wait(self.inner.with(others))
    }

    fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        wait(&self.inner.runtime, future)
    }
}

/// Waits on this thread, while the runtime's own take care of the connections.
pub(crate) fn wait<T>(runtime: &Handle, future: impl Future<Output = T>) -> T {
    let _timers = runtime.enter();
    pollster::block_on(future)
}

impl Inner {
    async fn open(
        node: String,
        place: &Arc<Place>,
        runtime: &Handle,
        options: &Options,
    ) -> Result<Self, OpenError> {
        let link = Link::connect(place, runtime, None).await?;
        require(&link, place, options.durability).await?;
        let failed = |fault: Fault| unusable(place, fault.why());
        let server = Server::of(&link).await.map_err(failed)?;
        schema::ensure(&link, place, &server).await?;
        let lossy = options.durability == Durability::AllowDataLoss;
        let trust = Trust { lossy, timeline: options.vouched_timeline };
        let health = Health::begin(node.clone(), &link, place, server, &trust).await?;
        let block = next(&link, "block").await.map_err(failed)?;
        let pool = |size| Pool::new(Arc::clone(place), runtime.clone(), size);
        Ok(Self {
            runtime: runtime.clone(),
            health,
            notices: Notices::new(node),
            writers: pool(options.writers),
            readers: pool(options.readers),
            block: block << 32,
            bodies: AtomicU32::new(0),
            blobs: AtomicU32::new(0),
        })
    }

    /// A number for a new blob, never given out before.
    pub(crate) fn next_blob(&self) -> u64 {
        self.block | u64::from(self.blobs.fetch_add(1, Ordering::Relaxed))
    }

    /// [`Inner::with`] for a transaction: what has failed in it is rolled back.
    pub(crate) async fn with_transaction<T>(
        &self,
        mut work: impl AsyncFnMut(&Link) -> Result<T, Fault>,
    ) -> Result<T, EngineError> {
        self.with(async |link| {
            let done = work(link).await;
            if matches!(done, Err(Fault::Refused(_))) {
                link.run("ROLLBACK").await?;
            }
            done
        })
        .await
    }

    /// Keeps a body's number from being given out here; answers the block of one that is not from here.
    pub(crate) fn note_body(&self, id: BodyId) -> Option<u64> {
        let block = id.0 >> 32;
        if block != self.block >> 32 {
            return Some(block);
        }
        let next = u32::try_from(id.0 & u64::from(u32::MAX)).unwrap_or(u32::MAX).saturating_add(1);
        self.bodies.fetch_max(next, Ordering::Relaxed);
        None
    }

    /// A connection to write with, to a server that has what this node was acknowledged.
    pub(crate) async fn writer(&self) -> Result<Lent, Fault> {
        self.greeted(&self.writers).await
    }

    /// A connection to read with.
    pub(crate) async fn reader(&self) -> Result<Lent, Fault> {
        self.greeted(&self.readers).await
    }

    async fn greeted(&self, pool: &Pool) -> Result<Lent, Fault> {
        loop {
            self.health.check()?;
            let lent = pool.lend().await.map_err(|error| Fault::Lost(error.to_string()))?;
            if lent.is_new {
                let greeted = timeout(PATIENCE, self.health.greet(&lent)).await;
                if let Err(fault) = greeted.unwrap_or_else(|_| Err(slow())) {
                    lent.give_up();
                    return Err(fault);
                }
            }
            if self.health.leads_here(&lent) {
                return Ok(lent);
            }
            // It was idle while another server took this one's place.
            let is_new = lent.is_new;
            lent.give_up();
            if is_new {
                return Err(Fault::Lost(REPLACED.into()));
            }
        }
    }

    /// Does what changes nothing, or can be done twice, over a connection; a lost one is replaced once.
    pub(crate) async fn with<T>(
        &self,
        mut work: impl AsyncFnMut(&Link) -> Result<T, Fault>,
    ) -> Result<T, EngineError> {
        let began = Instant::now();
        loop {
            let lent = self.reader().await.map_err(Fault::nothing_done)?;
            match work(&lent).await {
                Ok(answer) => return Ok(answer),
                Err(Fault::Refused(error)) => return Err(error),
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
}

/// How long after a failure over an old connection it is tried over another.
pub(crate) const SOON: Duration = Duration::from_secs(5);

/// A counter's next value.
async fn next(link: &Link, name: &str) -> Result<u64, Fault> {
    let sql = "UPDATE highwater.counter SET value = value + 1 WHERE name = $1 RETURNING value";
    let rows = link.query(sql, &[&name]).await?;
    let gone =
        || EngineError::Damaged(format!("the counter `{name}` is gone: restore the database"));
    Ok(rows.first().map(|row| number(row, 0)).ok_or_else(gone)?)
}

/// Refuses a server that would lose what it acknowledges, unless that was said to be wanted.
async fn require(link: &Link, place: &Place, durability: Durability) -> Result<(), OpenError> {
    let sql = "SELECT current_setting('synchronous_commit'), current_setting('synchronous_standby_names'),
               current_setting('fsync'), current_setting('full_page_writes')";
    let failed = |fault: Fault| unusable(place, fault.why());
    let rows = link.query(sql, &[]).await.map_err(failed)?;
    let Some(row) = rows.first().filter(|_| durability != Durability::AllowDataLoss) else {
        return Ok(());
    };
    let setting = |at| row.get::<_, String>(at);
    let why = if setting(2) != "on" || setting(3) != "on" {
        "fsync or full_page_writes is off there: a power cut would lose mail. Set both to on, or start with \
         --allow-data-loss"
    } else if !["on", "remote_apply"].contains(&setting(0).as_str()) {
        "synchronous_commit is not `on` there: a power cut would lose mail. Set it, or start with --allow-data-loss"
    } else if durability == Durability::Synchronous && setting(1).is_empty() {
        "no synchronous standby is named in synchronous_standby_names there: the loss of this server would lose mail. \
         Name one, or start with --single-database if one server is meant"
    } else {
        return Ok(());
    };
    Err(unusable(place, why.into()))
}

impl Engine for Postgres {
    fn commit(&self, commit: &Commit) -> Result<(), EngineError> {
        let held = commit::logs(commit).into_iter().map(|log| Held { log, seq: u64::MAX });
        let held: Vec<Held> = held.collect();
        self.wait(async {
            let begun = commit::Begun::begin(&self.inner, &held, &[], false).await?;
            begun.commit(commit).await
        })
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn begin(&self, locked: &[Held], watched: &[Held]) -> Result<Option<Begun<'_>>, EngineError> {
        let begun = self.wait(commit::Begun::begin(&self.inner, locked, watched, true))?;
        Ok(Some(begun.open()))
    }

    fn news(&self, held: &[Held]) -> Result<Vec<Standing>, EngineError> {
        self.wait(read::news(&self.inner, held))
    }

    fn listen(&self, tell: Tell) {
        self.inner.notices.listen(tell);
    }

    fn head(&self, log: LogId) -> Result<Option<LogHead>, EngineError> {
        self.wait(self.inner.with(async |link| read::head(&self.inner, link, log).await))
    }

    fn load(
        &self,
        log: LogId,
        page: Visit<'_>,
        delta: Visit<'_>,
    ) -> Result<Option<LogHead>, EngineError> {
        self.wait(read::load(&self.inner, log, page, delta))
    }

    fn history(&self, log: LogId, after: u64, visit: Visit<'_>) -> Result<u64, EngineError> {
        self.wait(read::history(&self.inner, log, after, visit))
    }

    fn forget_history(&self, before: i64) -> Result<u64, EngineError> {
        self.wait(commit::forget_history(&self.inner, before))
    }

    fn bodies(&self, ids: &[BodyId]) -> Result<Vec<BodyRow>, EngineError> {
        self.wait(self.inner.with(async |link| read::bodies(link, ids).await))
    }

    fn next_body(&self) -> BodyId {
        let count = self.inner.bodies.fetch_add(1, Ordering::Relaxed);
        BodyId(self.inner.block | u64::from(count))
    }

    fn reclaimable(&self, before: i64, limit: usize) -> Result<Vec<BodyRow>, EngineError> {
        self.wait(self.inner.with(async |link| read::reclaimable(link, before, limit).await))
    }

    fn forget_bodies(&self, ids: &[BodyId]) -> Result<Vec<BodyId>, EngineError> {
        self.wait(self.inner.with(async |link| commit::forget_bodies(link, ids).await))
    }

    fn account(&self, name: &str) -> Result<Option<AccountRow>, EngineError> {
        self.wait(self.inner.with(async |link| read::account(link, name).await))
    }

    fn accounts(&self) -> Result<Vec<(String, AccountRow)>, EngineError> {
        self.wait(self.inner.with(read::accounts))
    }

    fn usage(&self, account: AccountId) -> Result<Usage, EngineError> {
        self.wait(self.inner.with(async |link| read::usage(link, account).await))
    }

    fn next_account(&self) -> Result<AccountId, EngineError> {
        self.wait(self.inner.with(async |link| next(link, "account").await)).map(AccountId)
    }
}
