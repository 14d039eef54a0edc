//! One sync for all who wait at the same time.
//!
//! # Invariants
//! - A caller returns `Ok` only after a sync that began when its body was already finished.
//! - A failed sync is the last: all who wait and all who come get [`EngineError::Broken`].

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::embedded::directory::sync_directory;
use crate::engine::EngineError;

#[derive(Debug, Default)]
pub(super) struct Group {
    state: Mutex<State>,
    synced: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Bodies finished so far.
    finished: u64,
    /// How many of them are durable.
    synced: u64,
    /// Somebody syncs now.
    syncing: bool,
    due: Due,
    broken: Option<String>,
}

/// What the next sync has to cover.
#[derive(Debug, Default)]
struct Due {
    files: Vec<Arc<File>>,
    directories: BTreeSet<PathBuf>,
}

impl Group {
    pub(super) fn check(&self) -> Result<(), EngineError> {
        self.lock().check()
    }

    /// Notes that a body's octets are all written to this file.
    pub(super) fn finished(&self, file: &Arc<File>) {
        let mut state = self.lock();
        state.finished += 1;
        if !state.due.files.iter().any(|due| Arc::ptr_eq(due, file)) {
            state.due.files.push(Arc::clone(file));
        }
    }

    /// Notes that a name in this directory is new.
    pub(super) fn named(&self, directory: &Path) {
        self.lock().due.directories.insert(directory.to_owned());
    }

    pub(super) fn sync(&self) -> Result<(), EngineError> {
        let mut state = self.lock();
        let mine = state.finished;
        loop {
            state.check()?;
            if state.synced >= mine {
                return Ok(());
            }
            if state.syncing {
                state = self.synced.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            state.syncing = true;
            let upto = state.finished;
            let due = std::mem::take(&mut state.due);
            drop(state);
            let done = due.sync();
            state = self.lock();
            state.syncing = false;
            match done {
                Ok(()) => state.synced = upto,
                Err(error) => state.broken = Some(format!("a sync of bodies failed: {error}")),
            }
            self.synced.notify_all();
        }
    }

    /// Refuses everything from now on.
    pub(super) fn break_with(&self, why: String) -> EngineError {
        let mut state = self.lock();
        state.broken.get_or_insert_with(|| why.clone());
        self.synced.notify_all();
        EngineError::Broken(why)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn check(&self) -> Result<(), EngineError> {
        self.broken.as_ref().map_or(Ok(()), |why| Err(EngineError::Broken(why.clone())))
    }
}

impl Due {
    fn sync(&self) -> io::Result<()> {
        self.files.iter().try_for_each(|file| file.sync_data())?;
        self.directories.iter().try_for_each(|directory| sync_directory(directory))
    }
}
