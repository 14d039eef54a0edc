//! Several writers of one [`Memory`]: which logs are held, and a commit that has begun.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::Memory;
use crate::engine::{Begun, Commit, Engine, EngineError, Held, LogId, Standing, Tell, Transaction};
use crate::rules;

/// Which logs are held by a transaction.
#[derive(Debug, Default)]
pub(super) struct Locks {
    held: Mutex<BTreeSet<LogId>>,
    freed: Condvar,
}

impl Locks {
    fn lock(&self) -> MutexGuard<'_, BTreeSet<LogId>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes all of them at once, when nobody holds any.
    fn take(&self, logs: BTreeSet<LogId>) {
        let mut held = self.lock();
        while !held.is_disjoint(&logs) {
            held = self.freed.wait(held).unwrap_or_else(PoisonError::into_inner);
        }
        held.extend(logs);
    }

    fn give_back(&self, logs: &BTreeSet<LogId>) {
        self.lock().retain(|log| !logs.contains(log));
        self.freed.notify_all();
    }
}

/// Those who want to hear what others wrote.
#[derive(Default)]
pub(super) struct Listeners {
    all: Mutex<Vec<Tell>>,
    lose: AtomicBool,
}

impl Listeners {
    pub(super) fn add(&self, tell: Tell) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).push(tell);
    }

    pub(super) fn lose(&self, lose: bool) {
        self.lose.store(lose, Ordering::Release);
    }

    fn tell(&self, commit: &Commit) {
        if self.lose.load(Ordering::Acquire) {
            return;
        }
        let logs: BTreeSet<LogId> = commit.appends.iter().map(|append| append.log).collect();
        let logs: Vec<LogId> = logs.into_iter().chain(commit.dropped.iter().copied()).collect();
        let listeners = self.all.lock().unwrap_or_else(PoisonError::into_inner).clone();
        listeners.iter().for_each(|tell| tell(&logs));
    }
}

impl std::fmt::Debug for Listeners {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Listeners")
    }
}

struct Holding<'a> {
    memory: &'a Memory,
    logs: BTreeSet<LogId>,
}

impl Transaction for Holding<'_> {
    fn commit(self: Box<Self>, commit: &Commit) -> Result<(), EngineError> {
        self.memory.commit(commit)?;
        self.memory.listeners.tell(commit);
        Ok(())
    }
}

impl Drop for Holding<'_> {
    fn drop(&mut self) {
        self.memory.locks.give_back(&self.logs);
    }
}

/// See [`Engine::begin`].
pub(super) fn begin<'a>(
    memory: &'a Memory,
    locked: &[Held],
    watched: &[Held],
) -> Result<Begun<'a>, EngineError> {
    let logs: BTreeSet<LogId> = locked.iter().map(|held| held.log).collect();
    memory.locks.take(logs.clone());
    let transaction = Box::new(Holding { memory, logs });
    let all = locked.iter().chain(watched);
    let standings = all.map(|held| rules::standing(memory, *held));
    let standings = standings.collect::<Result<Vec<Standing>, _>>()?;
    Ok(Begun { standings, transaction })
}
