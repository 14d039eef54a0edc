//! The store of a data directory, opened for this process alone.
//!
//! # Invariants
//! - Whoever holds an [`OpenStore`] holds the directory's lock: no second process writes the store.
//! - The committer has a thread of its own and ends after everything that was queued is durable.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use ring::rand::{SecureRandom as _, SystemRandom};
use store::embedded::{Embedded, OpenError};
use store::engine::Engine;
use store::segments::{self, Maintained, Segments};
use store::{BatchReport, Clock, Executor, Options, Store};
use tokio::runtime::Handle;

/// What is called after each batch.
pub(crate) type OnBatch = Arc<dyn Fn(BatchReport) + Send + Sync>;

/// Where the store is, as the command line, the environment or the file names it.
pub(crate) fn directory(location: &str) -> Result<PathBuf, String> {
    if location.starts_with("postgres://") || location.starts_with("postgresql://") {
        return Err(
            "this program cannot keep mail in PostgreSQL: name a directory with --data DIR".into(),
        );
    }
    if location.is_empty() {
        return Err("the store's location is empty: name a directory with --data DIR".into());
    }
    Ok(PathBuf::from(location))
}

/// How long a body is kept after the last message that had it is gone. No view is so old: an idle client is
/// sent away sooner, and one that is not idle hears of what is gone.
const GRACE: Duration = Duration::from_secs(24 * 60 * 60);
/// How often space is given back.
const BETWEEN: Duration = Duration::from_secs(60 * 60);
/// A store with its committer.
pub(crate) struct OpenStore {
    /// The store.
    pub(crate) store: Store,
    engine: Arc<Embedded>,
    bodies: Segments,
    committer: JoinHandle<()>,
    keeper: Option<Keeper>,
}

/// The thread that gives space back; it ends when its channel does.
struct Keeper {
    stop: mpsc::Sender<()>,
    thread: JoinHandle<()>,
}

impl OpenStore {
    /// Opens the directory, and makes it where there is none. Blocks; called inside the runtime.
    pub(crate) fn open(data: &Path, on_batch: Option<OnBatch>) -> Result<Self, OpenError> {
        let engine = Embedded::open(data)?;
        let bodies = Segments::open(data, segments::Limits::default())?;
        let options = Options { on_batch, ..Options::default() };
        let executor = Arc::new(Blocking(Handle::current()));
        let engine = Arc::new(engine);
        let (store, committer) = Store::open(
            Arc::clone(&engine) as Arc<dyn Engine>,
            Arc::new(bodies.clone()),
            executor,
            Arc::new(System),
            options,
        );
        let thread = std::thread::Builder::new().name("committer".into());
        let committer = thread.spawn(move || committer.run()).map_err(|source| OpenError::Io {
            tried: "start the committer's thread for",
            path: data.into(),
            source,
        })?;
        Ok(Self { store, engine, bodies, committer, keeper: None })
    }

    /// From now on gives the space of deleted messages back, in a thread of its own, and of the history of
    /// expunges that is older than so many seconds; all of it is kept when there is no such bound.
    pub(crate) fn keep(&mut self, history_seconds: Option<i64>) -> std::io::Result<()> {
        let (stop, stopped) = mpsc::channel();
        let (store, engine) = (self.store.clone(), Arc::clone(&self.engine));
        let bodies = self.bodies.clone();
        let thread = std::thread::Builder::new().name("keeper".into()).spawn(move || {
            while stopped.recv_timeout(BETWEEN) == Err(RecvTimeoutError::Timeout) {
                match reclaim(&store, &engine, &bodies, GRACE, history_seconds) {
                    Ok(done) if done == Reclaimed::default() => {}
                    Ok(done) => tracing::info!(?done, "space was given back"),
                    Err(error) => tracing::error!(%error, "space could not be given back"),
                }
            }
        })?;
        self.keeper = Some(Keeper { stop, thread });
        Ok(())
    }

    /// Refuses further changes and waits until those that were taken are durable.
    pub(crate) async fn close(self) -> Result<()> {
        let Self { store, committer, keeper, engine: _, bodies: _ } = self;
        store.shutdown();
        drop(store);
        let join = move || {
            let kept = keeper.is_none_or(|Keeper { stop, thread }| {
                drop(stop);
                thread.join().is_ok()
            });
            committer.join().is_ok() && kept
        };
        let ended = tokio::task::spawn_blocking(join).await.context("waiting for the committer")?;
        anyhow::ensure!(ended, "the committer or the keeper ended early; see the log above");
        Ok(())
    }
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
    engine: &Embedded,
    bodies: &Segments,
    grace: Duration,
    history_seconds: Option<i64>,
) -> Result<Reclaimed, store::Error> {
    let grace = i64::try_from(grace.as_secs()).unwrap_or(i64::MAX);
    let given_back = store.reclaim(grace)?;
    let files = segments::maintain(engine, bodies, store.now().saturating_sub(grace))?;
    let forget = |seconds| store.forget_history(seconds);
    let history_records = history_seconds.map(forget).transpose()?.unwrap_or(0);
    Ok(Reclaimed { bodies: given_back, files, history_records })
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
        let opened = OpenStore::open(data.path(), None).unwrap();
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
        let give_back = |grace, history| {
            reclaim(&store, &opened.engine, &opened.bodies, grace, history).unwrap()
        };
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

    #[test]
    fn a_database_is_refused_by_name() {
        assert!(directory("postgres://x/y").unwrap_err().contains("PostgreSQL"));
        assert_eq!(directory("./d"), Ok(PathBuf::from("./d")));
    }
}
