//! Bodies that wait for the next sync, which whoever waits for it shares.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use store::engine::EngineError;

use crate::locator::Locator;

/// What waits for the next sync, and how the syncs before it went.
#[derive(Default)]
pub(crate) struct Group {
    state: Mutex<State>,
    synced: Condvar,
}

#[derive(Default)]
struct State {
    /// In the order in which they came; those that a sync is writing are still among them.
    due: Vec<Arc<Small>>,
    /// Bodies that came, and those of them that are durable.
    finished: u64,
    synced: u64,
    /// The sync on its way: up to which body it goes.
    syncing: Option<u64>,
    /// How many syncs have ended, and why the last one failed if it did.
    ended: u64,
    failed: Option<String>,
}

/// A body whose octets have all arrived and are not written yet.
pub(crate) struct Small {
    pub(crate) locator: Locator,
    pub(crate) octets: Vec<u8>,
}

impl Group {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a body; refuses when the database has not taken any for so long that too many wait.
    pub(crate) fn add(&self, small: Small) -> Result<(), EngineError> {
        const WAITING_MAX: usize = 256 << 20;
        let mut state = self.lock();
        let waiting: usize = state.due.iter().map(|small| small.octets.len()).sum();
        if waiting > WAITING_MAX {
            return Err(EngineError::Unavailable(
                "where messages are written to takes none just now".into(),
            ));
        }
        state.finished += 1;
        state.due.push(Arc::new(small));
        Ok(())
    }

    /// One that is not written yet.
    pub(crate) fn find(&self, locator: Locator) -> Option<Arc<Small>> {
        self.lock().due.iter().find(|small| small.locator == locator).cloned()
    }

    /// Takes part in the next sync, or makes it.
    pub(crate) fn sync(
        &self,
        write: impl Fn(&[Arc<Small>]) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        let mut state = self.lock();
        let mine = state.finished;
        while state.synced < mine {
            if let Some(upto) = state.syncing {
                let this = state.ended + 1;
                while state.syncing.is_some() && state.ended < this {
                    state = self.synced.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                if let Some(why) =
                    state.failed.clone().filter(|_| mine <= upto && state.ended == this)
                {
                    return Err(EngineError::Unavailable(why));
                }
                continue;
            }
            let (upto, due) = (state.finished, state.due.clone());
            state.syncing = Some(upto);
            drop(state);
            let done = write(&due);
            state = self.lock();
            state.syncing = None;
            state.ended += 1;
            state.failed = done.as_ref().err().map(ToString::to_string);
            if done.is_ok() {
                // Else they stay due: whoever asks later must not be told of a later sync that they were not in.
                state.synced = upto;
                state.due.drain(..due.len());
            }
            self.synced.notify_all();
            done?;
        }
        Ok(())
    }
}
