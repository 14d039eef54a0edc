//! The store of a data directory, opened for this process alone.
//!
//! # Invariants
//! - Whoever holds an [`OpenStore`] holds the directory's lock: no second process writes the store.
//! - The committer has a thread of its own and ends after everything that was queued is durable.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use ring::rand::{SecureRandom as _, SystemRandom};
use store::embedded::{Embedded, OpenError};
use store::segments::{self, Segments};
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

/// A store with its committer.
pub(crate) struct OpenStore {
    /// The store.
    pub(crate) store: Store,
    committer: JoinHandle<()>,
}

impl OpenStore {
    /// Opens the directory, and makes it where there is none. Blocks; called inside the runtime.
    pub(crate) fn open(data: &Path, on_batch: Option<OnBatch>) -> Result<Self, OpenError> {
        let engine = Embedded::open(data)?;
        let bodies = Segments::open(data, segments::Limits::default())?;
        let options = Options { on_batch, ..Options::default() };
        let executor = Arc::new(Blocking(Handle::current()));
        let (store, committer) =
            Store::open(Arc::new(engine), Arc::new(bodies), executor, Arc::new(System), options);
        let thread = std::thread::Builder::new().name("committer".into());
        let committer = thread.spawn(move || committer.run()).map_err(|source| OpenError::Io {
            tried: "start the committer's thread for",
            path: data.into(),
            source,
        })?;
        Ok(Self { store, committer })
    }

    /// Refuses further changes and waits until those that were taken are durable.
    pub(crate) async fn close(self) -> Result<()> {
        self.store.shutdown();
        drop(self.store);
        tokio::task::spawn_blocking(move || self.committer.join())
            .await
            .context("waiting for the committer")?
            .map_err(|_| anyhow::anyhow!("the committer ended early; see the log above"))
    }
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
    use super::*;

    #[test]
    fn a_database_is_refused_by_name() {
        assert!(directory("postgres://x/y").unwrap_err().contains("PostgreSQL"));
        assert_eq!(directory("./d"), Ok(PathBuf::from("./d")));
    }
}
