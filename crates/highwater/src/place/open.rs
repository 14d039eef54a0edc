//! The store of a place, opened for this process.
//!
//! # Invariants
//! - Whoever holds an [`OpenStore`] on a directory holds the directory's lock: no second process writes the store.
//! - A server on a database holds the lock of its node's directory, where no mail is. A command beside it is another
//!   node, and needs no directory.
//! - Each committer has a thread of its own and ends after everything that was queued is durable.
//! - Once the engine of a database refuses everything, whoever waits for [`OpenStore::broken`] is told.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use ring::rand::{SecureRandom as _, SystemRandom};
use store::embedded::{self, Directory, Embedded};
use store::engine::{AccountId, BodyStore, Engine, EngineError, LogId};
use store::migrate::Side;
use store::segments::{self, Maintained, Segments};
use store::{BatchReport, Clock, Executor, Options, Store};
use store_postgres::{Bodies, Postgres};
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::{Database, MARK, Place, holds_mail, mark};

/// What is called after each batch.
pub(crate) type OnBatch = Arc<dyn Fn(BatchReport) + Send + Sync>;

/// How long a body is kept after the last message that had it is gone. No view is so old: an idle client is
/// sent away sooner, and one that is not idle hears of what is gone.
const GRACE: Duration = Duration::from_secs(24 * 60 * 60);
/// How soon after the start space is given back, so that it is where a process never lasts long.
const SOON: Duration = Duration::from_secs(2);
/// How often space is given back.
const BETWEEN: Duration = Duration::from_secs(60 * 60);
/// How often a node asks what others have written to what its clients wait for, and whether the database is there: an
/// idle client is to hear of a change within a second, the answer's own time included.
const FOLLOW: Duration = Duration::from_millis(800);

/// What a store is opened for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Use {
    /// To serve.
    Serve,
    /// For one command, beside servers where the place allows that.
    Command,
}

/// Why a store could not be opened.
#[derive(Debug)]
pub(crate) enum OpenError {
    /// The directory.
    Directory(embedded::OpenError),
    /// The database.
    Database(store_postgres::OpenError),
    /// The directory is that of a node.
    IsNode {
        /// The directory.
        directory: PathBuf,
        /// Where its mail is.
        database: String,
    },
    /// The node's directory holds mail.
    HoldsMail(PathBuf),
    /// A thread could not be started.
    Thread(std::io::Error),
}

impl OpenError {
    /// Whether what was said is wrong, rather than what was found.
    pub(crate) fn is_configuration(&self) -> bool {
        use store_postgres::OpenError::{BodiesUrl, Tls, Url};
        matches!(self, Self::Database(Url(_) | Tls(_) | BodiesUrl(_)))
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(error) => error.fmt(f),
            Self::Database(error) => error.fmt(f),
            Self::IsNode { directory, database } => write!(
                f,
                "{} is the directory of a node whose mail is in {database}: say --store postgres://… as \
                 that node does, or name another directory",
                directory.display()
            ),
            Self::HoldsMail(directory) => write!(
                f,
                "{} holds mail itself: give the node a directory of its own with --data DIR, or bring that mail \
                 into the database with `highwater migrate`",
                directory.display()
            ),
            Self::Thread(error) => write!(f, "a thread of the store cannot be started: {error}"),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Directory(error) => error.source(),
            Self::Thread(error) => Some(error),
            _ => None,
        }
    }
}

impl From<embedded::OpenError> for OpenError {
    fn from(error: embedded::OpenError) -> Self {
        Self::Directory(error)
    }
}

impl From<store_postgres::OpenError> for OpenError {
    fn from(error: store_postgres::OpenError) -> Self {
        Self::Database(error)
    }
}

/// What the place is made of, for what the store does not do by itself.
#[derive(Clone)]
enum Parts {
    Directory { engine: Arc<Embedded>, bodies: Segments },
    Database { engine: Arc<Postgres>, bodies: Arc<dyn Bodies> },
}

/// A store with its committers.
pub(crate) struct OpenStore {
    /// The store.
    pub(crate) store: Store,
    /// What it is on.
    pub(crate) engine: Arc<dyn Engine>,
    parts: Parts,
    committers: Vec<JoinHandle<()>>,
    background: Vec<Background>,
    health: watch::Sender<Health>,
    /// That of a node; the engine of a directory has its own.
    _lock: Option<Directory>,
}

/// How the database is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Health {
    /// It answers.
    Good,
    /// It does not answer just now.
    Away,
    /// The engine refuses everything, and will.
    Broken(String),
}

/// A thread that does something now and then; it ends when its channel does.
struct Background {
    stop: mpsc::Sender<()>,
    thread: JoinHandle<()>,
}

impl Background {
    fn start(
        name: &str,
        first: Duration,
        between: Duration,
        mut work: impl FnMut() + Send + 'static,
    ) -> std::io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let thread = std::thread::Builder::new().name(name.into()).spawn(move || {
            let mut wait = first;
            while stopped.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
                work();
                wait = between;
            }
        })?;
        Ok(Self { stop, thread })
    }
}

impl OpenStore {
    /// Opens the place, and makes what it needs where there is none. Blocks; called inside the runtime.
    pub(crate) fn open(
        place: &Place,
        purpose: Use,
        on_batch: Option<OnBatch>,
    ) -> Result<Self, OpenError> {
        let mut options = Options { on_batch, ..Options::default() };
        let (lock, parts) = match place {
            Place::Directory(directory) => {
                if let Some(database) = mark(directory) {
                    return Err(OpenError::IsNode { directory: directory.clone(), database });
                }
                let engine = Arc::new(Embedded::open(directory)?);
                let bodies = Segments::open(directory, segments::Limits::default())?;
                (None, Parts::Directory { engine, bodies })
            }
            Place::Database(database) => {
                let lock = (purpose == Use::Serve).then(|| lock(database)).transpose()?;
                options.lanes = database.connections.0;
                let engine = Arc::new(Postgres::open(&database.url(), &database.options())?);
                let bodies = engine.bodies_at(database.bodies.as_deref())?;
                (lock, Parts::Database { engine, bodies })
            }
        };
        let (engine, bodies): (Arc<dyn Engine>, Arc<dyn BodyStore>) = match &parts {
            Parts::Directory { engine, bodies } => (engine.clone(), Arc::new(bodies.clone())),
            Parts::Database { engine, bodies } => (engine.clone(), bodies.clone()),
        };
        let lanes = options.lanes;
        let executor = Arc::new(Blocking(Handle::current()));
        let (store, committer) =
            Store::open(engine.clone(), bodies, executor, Arc::new(System), options);
        let commit = |_| {
            let committer = committer.clone();
            let thread = std::thread::Builder::new().name("committer".into());
            thread.spawn(move || committer.run()).map_err(OpenError::Thread)
        };
        let committers = (0..lanes).map(commit).collect::<Result<_, _>>()?;
        let (health, _) = watch::channel(Health::Good);
        let background = Vec::new();
        Ok(Self { store, engine, parts, committers, background, health, _lock: lock })
    }

    /// From now on gives the space of deleted messages back, in a thread of its own, and of the history of
    /// expunges that is older than so many seconds; all of it is kept when there is no such bound.
    pub(crate) fn keep(&mut self, history_seconds: Option<i64>) -> std::io::Result<()> {
        let (store, parts) = (self.store.clone(), self.parts.clone());
        self.background.push(Background::start("keeper", SOON, BETWEEN, move || {
            match reclaim(&store, &parts, GRACE, history_seconds) {
                Ok(done) if done == Reclaimed::default() => {}
                Ok(done) => tracing::info!(?done, "space was given back"),
                Err(error) => tracing::error!(%error, "space could not be given back"),
            }
        })?);
        Ok(())
    }

    /// From now on asks, where others write as well, what they have written, and watches the database's health.
    pub(crate) fn follow(&mut self) -> std::io::Result<()> {
        if !self.engine.is_shared() {
            return Ok(());
        }
        let (store, engine, health) =
            (self.store.clone(), Arc::clone(&self.engine), self.health.clone());
        self.background.push(Background::start("follower", FOLLOW, FOLLOW, move || {
            store.follow_watched();
            let now = match engine.head(LogId::from(AccountId::SHARED)) {
                Ok(_) => Health::Good,
                Err(EngineError::Broken(why)) => Health::Broken(why),
                Err(error) => {
                    if *health.borrow() == Health::Good {
                        tracing::warn!(%error, "the database does not answer");
                    }
                    Health::Away
                }
            };
            health.send_if_modified(|was| {
                let differs = *was != now;
                *was = now;
                differs
            });
        })?);
        Ok(())
    }

    /// What a migration is about.
    pub(crate) fn side(&self) -> Side<'_> {
        match &self.parts {
            Parts::Directory { engine, bodies } => Side { engine: &**engine, bodies },
            Parts::Database { engine, bodies } => Side { engine: &**engine, bodies: &**bodies },
        }
    }

    /// How many other nodes are connected to the database; none to a directory, which one process has.
    pub(crate) fn other_nodes(&self) -> Result<u64, EngineError> {
        match &self.parts {
            Parts::Directory { .. } => Ok(0),
            Parts::Database { engine, .. } => engine.others(),
        }
    }

    /// How the database is, as it changes.
    pub(crate) fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    /// Ready, with the reason, when the engine refuses everything and only a new start helps. Never on a directory:
    /// there mail can still be read.
    pub(crate) fn broken(&self) -> impl Future<Output = String> + use<> {
        let mut health = self.health.subscribe();
        async move {
            loop {
                if let Health::Broken(why) = &*health.borrow_and_update() {
                    return why.clone();
                }
                if health.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        }
    }

    /// Refuses further changes and waits until those that were taken are durable.
    pub(crate) async fn close(self) -> Result<()> {
        let Self { store, committers, background, .. } = self;
        store.shutdown();
        drop(store);
        let join = move || {
            let ended = |Background { stop, thread }| {
                drop(stop);
                thread.join().is_ok()
            };
            // All of them, whatever the first one says.
            let kept = background.into_iter().map(ended).fold(true, |all, one| all & one);
            let committed = committers.into_iter().map(|thread| thread.join().is_ok());
            committed.fold(kept, |all, one| all & one)
        };
        let ended = tokio::task::spawn_blocking(join).await.context("waiting for the committer")?;
        anyhow::ensure!(ended, "a thread of the store ended early; see the log above");
        Ok(())
    }
}

impl Database {
    fn options(&self) -> store_postgres::Options {
        let (writers, readers) = self.connections;
        let (durability, vouched_timeline) = (self.durability, self.vouched_timeline);
        store_postgres::Options { durability, writers, readers, vouched_timeline }
    }
}

/// Takes the directory of a node that serves, and marks it.
fn lock(database: &Database) -> Result<Directory, OpenError> {
    let lock = Directory::lock(&database.node)?;
    if holds_mail(&database.node) {
        return Err(OpenError::HoldsMail(database.node.clone()));
    }
    let mark = database.node.join(MARK);
    std::fs::write(&mark, format!("{}\n", database.location))
        .map_err(|source| embedded::OpenError::Io { tried: "write", path: mark, source })?;
    Ok(lock)
}

/// What was given back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Reclaimed {
    bodies: usize,
    files: Maintained,
    history_records: u64,
}

/// Gives back the space of bodies that nothing has referred to for so long, of files with little left, and of
/// history that is too old to be kept.
fn reclaim(
    store: &Store,
    parts: &Parts,
    grace: Duration,
    history_seconds: Option<i64>,
) -> Result<Reclaimed, store::Error> {
    let grace = i64::try_from(grace.as_secs()).unwrap_or(i64::MAX);
    let given_back = store.reclaim(grace)?;
    let before = store.now().saturating_sub(grace);
    let (files, left_over) = match parts {
        Parts::Directory { engine, bodies } => (segments::maintain(engine, bodies, before)?, 0),
        Parts::Database { engine, bodies } => {
            engine.tidy()?;
            (Maintained::default(), bodies.collect(grace)?)
        }
    };
    let forget = |seconds| store.forget_history(seconds);
    let history_records = history_seconds.map(forget).transpose()?.unwrap_or(0);
    Ok(Reclaimed { bodies: given_back + left_over, files, history_records })
}

/// Runs the store's blocking work on the runtime's threads for that.
struct Blocking(Handle);

impl Executor for Blocking {
    fn run(&self, job: Box<dyn FnOnce() + Send>) {
        self.0.spawn_blocking(job);
    }
}
/// The machine's clock and its random numbers.
struct System;

impl Clock for System {
    fn now(&self) -> i64 {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .ok()
            .and_then(|since| i64::try_from(since.as_secs()).ok())
            .unwrap_or(0)
    }

    fn random(&self) -> u64 {
        let mut octets = [0; 8];
        if SystemRandom::new().fill(&mut octets).is_err() {
            tracing::error!("the system gives no random numbers");
        }
        u64::from_be_bytes(octets)
    }
}

#[cfg(test)]
mod tests {
    use imap::command::DateTime;
    use store::{Change, NewMessage, Outcome};

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn the_space_of_an_expunged_message_is_given_back() {
        let data = tempfile::tempdir().unwrap();
        let opened =
            OpenStore::open(&Place::Directory(data.path().into()), Use::Serve, None).unwrap();
        let store = opened.store.clone();
        let account = store.create_account("a", Vec::new()).await.unwrap();
        let state = store.account(account).await.unwrap().state();
        let mailbox = state.mailbox("INBOX").unwrap().id.unwrap();
        for flags in [vec![], vec![imap::flag::Flag::System(imap::flag::SystemFlag::Deleted)]] {
            let mut receiver = store.receive().unwrap();
            receiver.write(b"A: b\r\n\r\nc").unwrap();
            let body = receiver.finish().await.unwrap();
            let internal_date = DateTime { unix: 0, zone_minutes: 0 };
            let messages = vec![NewMessage { body, flags, internal_date }];
            store.submit(Change::Append { mailbox, messages }).await.unwrap();
        }
        let expunged = store.submit(Change::Expunge { mailbox, uids: None }).await;
        assert!(matches!(expunged, Ok(Outcome::Expunged(_))));
        let give_back = |grace, history| reclaim(&store, &opened.parts, grace, history).unwrap();
        assert_eq!(give_back(GRACE, None), Reclaimed::default());
        assert_eq!(give_back(GRACE, Some(86_400)), Reclaimed::default());
        // The clock counts whole seconds: the moment must be past.
        let (mut bodies, mut records) = (0, 0);
        while bodies == 0 || records == 0 {
            tokio::task::yield_now().await;
            let past = give_back(Duration::ZERO, Some(0));
            bodies += past.bodies;
            records += past.history_records;
        }
        assert_eq!((bodies, records), (1, 1));
        drop(store);
        opened.close().await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_directory_of_a_node_and_one_with_mail_are_not_taken_for_each_other() {
        let directory = tempfile::tempdir().unwrap();
        let place = Place::Directory(directory.path().into());
        let database =
            Place::Database(Database::at("postgres://u:secret@127.0.0.1:1/x", directory.path()));
        let why = |place| match OpenStore::open(place, Use::Serve, None) {
            Ok(_) => panic!("it was opened"),
            Err(error) => error.to_string(),
        };
        // Marked, though the database is away.
        assert!(why(&database).contains("127.0.0.1:1"));
        assert!(
            why(&place).contains("whose mail is in postgres://127.0.0.1:1/x"),
            "{}",
            why(&place)
        );
        std::fs::remove_file(directory.path().join(MARK)).unwrap();
        OpenStore::open(&place, Use::Serve, None).unwrap().close().await.unwrap();
        assert!(why(&database).contains("highwater migrate"));
    }
}
