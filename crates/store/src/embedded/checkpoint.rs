//! Checkpoints, on a thread of their own so that no commit waits for one.
//!
//! # Invariants
//! - A checkpoint that fails on input or output breaks the engine: what it could not write is still in the
//!   WAL, and must stay there [H1].
//! - `TRUNCATE`, which keeps writers out, comes only after `PASSIVE` has done the work.

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use std::{fs, io, thread};

use rusqlite::{Connection, ErrorCode};

use super::health::Health;

const PASSIVE_OCTETS: u64 = 4 << 20;
const TRUNCATE_OCTETS: u64 = 64 << 20;
/// At least this lies between two looks at the WAL.
const PAUSE: Duration = Duration::from_millis(100);
/// Without a commit for so long, the WAL is emptied.
const IDLE: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Checkpointer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    committed: bool,
    stopping: bool,
}

impl Checkpointer {
    /// Starts the thread; the connection is its own.
    pub(super) fn start(
        connection: Connection,
        wal: PathBuf,
        health: Arc<Health>,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let work = Work { connection, wal, health };
        let thread = thread::Builder::new()
            .name("checkpoint".to_owned())
            .spawn(move || theirs.run(&work))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Tells that the WAL has grown.
    pub(super) fn committed(&self) {
        let mut state = self.shared.lock();
        if !state.committed {
            state.committed = true;
            self.shared.changed.notify_one();
        }
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.shared.lock().stopping = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, work: &Work) {
        let mut passed = 0;
        loop {
            match self.wait() {
                Woken::Stopping => return work.truncate(),
                Woken::Idle => {
                    work.truncate();
                    passed = 0;
                }
                Woken::Committed => passed = work.look(passed),
            }
        }
    }

    fn wait(&self) -> Woken {
        let state = self.lock();
        let idle = |state: &mut State| !state.committed && !state.stopping;
        let (state, timeout) = self
            .changed
            .wait_timeout_while(state, IDLE, idle)
            .unwrap_or_else(PoisonError::into_inner);
        if timeout.timed_out() {
            return Woken::Idle;
        }
        let (mut state, _) = self
            .changed
            .wait_timeout_while(state, PAUSE, |state| !state.stopping)
            .unwrap_or_else(PoisonError::into_inner);
        state.committed = false;
        if state.stopping { Woken::Stopping } else { Woken::Committed }
    }
}

enum Woken {
    Committed,
    Idle,
    Stopping,
}

struct Work {
    connection: Connection,
    wal: PathBuf,
    health: Arc<Health>,
}

impl Work {
    /// Checkpoints when the WAL has grown enough since `passed`; answers its length at the last checkpoint.
    /// A WAL that starts again from its beginning keeps its file's length and needs nothing before the end.
    fn look(&self, passed: u64) -> u64 {
        let octets = self.octets();
        if octets >= TRUNCATE_OCTETS {
            self.truncate();
            return 0;
        }
        if octets < passed.saturating_add(PASSIVE_OCTETS) {
            return passed.min(octets);
        }
        self.checkpoint("PRAGMA wal_checkpoint(PASSIVE)");
        octets
    }

    fn truncate(&self) {
        if self.octets() > 0 {
            self.checkpoint("PRAGMA wal_checkpoint(PASSIVE)");
            self.checkpoint("PRAGMA wal_checkpoint(TRUNCATE)");
        }
    }

    fn octets(&self) -> u64 {
        fs::metadata(&self.wal).map_or(0, |file| file.len())
    }

    fn checkpoint(&self, sql: &str) {
        if self.health.check().is_err() {
            return;
        }
        if let Err(error) = self.connection.query_row(sql, [], |_| Ok(()))
            && !matches!(
                error.sqlite_error_code(),
                Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::DiskFull)
            )
        {
            drop(self.health.break_with(format!("a checkpoint failed: {error}")));
        }
    }
}
