//! The engine in memory, for tests and simulation: a map, and a crash as a value.
//!
//! A failure is asked for with [`Memory::fail_next_commit`]; [`Memory::crash`] answers the engine as it would
//! be found when opened again after the power went.
//!
//! # Invariants
//! - A commit that returned `Ok` survives every crash; the one whose outcome is unknown survives whole or
//!   not at all [H1].
//! - A commit is checked whole before any of it is done, so a refused one leaves nothing behind.

mod bodies;
mod shared;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use bodies::MemoryBodies;
use shared::{Listeners, Locks};

use crate::engine::{
    AccountId, AccountRow, Append, Begun, BodyId, BodyRow, Commit, Engine, EngineError, Fold, Held,
    LogHead, LogId, Tell, Visit,
};
use crate::quota::Usage;
use crate::rules;

/// What becomes in a crash of something that was written but not yet durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It is there, whole.
    Kept,
    /// It is not there.
    Lost,
    /// A part of it is there. A commit is never torn: for it this is [`Fate::Lost`].
    Torn,
}

impl Fate {
    /// The fate that a random number stands for, each as likely as the others.
    pub fn from_random(random: u64) -> Self {
        match random % 3 {
            0 => Self::Kept,
            1 => Self::Lost,
            _ => Self::Torn,
        }
    }
}

/// How the next commit fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// As on a full disk: nothing is done.
    Full,
    /// As after a failed sync: the outcome is unknown until [`Memory::crash`] decides it.
    Broken,
    /// As if another writer had been faster: nothing is done.
    Behind,
}

/// The engine in memory.
#[derive(Debug, Default)]
pub struct Memory {
    inner: Mutex<Inner>,
    body_max: AtomicU64,
    is_shared: bool,
    locks: Locks,
    listeners: Listeners,
}

#[derive(Debug, Default)]
struct Inner {
    state: State,
    fault: Option<Fault>,
    /// The commit that came back as [`EngineError::Broken`].
    in_flight: Option<Commit>,
    broken: Option<&'static str>,
}

impl Memory {
    /// An empty engine.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty engine for several stores at once.
    pub fn shared() -> Self {
        Self { is_shared: true, ..Self::default() }
    }

    /// From now on hints are lost, or not.
    pub fn lose_hints(&self, lost: bool) {
        self.listeners.lose(lost);
    }

    /// Makes every mailbox doubtful, as after a failover that may have lost commits.
    pub fn doubt(&self) {
        let mut inner = self.lock();
        let mailboxes = inner.state.logs.iter_mut().filter(|(log, _)| log.number != 0);
        mailboxes.for_each(|(_, log)| Arc::make_mut(log).head.doubtful = true);
    }

    /// Makes the next commit fail.
    pub fn fail_next_commit(&self, fault: Fault) {
        self.lock().fault = Some(fault);
    }

    /// The engine as it is found when opened again after a crash now; `fate` decides about a commit whose
    /// outcome is unknown. This one refuses writes from here on, as the process is no more.
    pub fn crash(&self, fate: impl FnOnce() -> Fate) -> Self {
        let mut inner = self.lock();
        inner.broken = Some("the engine has crashed");
        let mut state = inner.state.clone();
        if let Some(commit) = &inner.in_flight
            && fate() == Fate::Kept
            && let Ok(references) = state.check(commit)
        {
            state.apply(commit, &references);
        }
        let body_max = AtomicU64::new(state.body_max);
        let inner = Mutex::new(Inner { state, ..Inner::default() });
        Self { inner, body_max, is_shared: self.is_shared, ..Self::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A snapshot of the log, read by its owner without holding anything.
    fn log(&self, id: LogId) -> Option<Arc<Log>> {
        self.lock().state.logs.get(&id).map(Arc::clone)
    }
}

impl Engine for Memory {
    fn commit(&self, commit: &Commit) -> Result<(), EngineError> {
        let mut inner = self.lock();
        inner.writable()?;
        let references = inner.state.check(commit)?;
        match inner.fault.take() {
            None => inner.state.apply(commit, &references),
            Some(Fault::Full) => return Err(EngineError::Full("the disk is full".to_owned())),
            Some(Fault::Behind) => return Err(EngineError::Behind),
            Some(Fault::Broken) => {
                inner.in_flight = Some(commit.clone());
                inner.broken = Some("a sync failed");
                return inner.writable();
            }
        }
        self.body_max.fetch_max(inner.state.body_max, Ordering::Relaxed);
        Ok(())
    }

    fn is_shared(&self) -> bool {
        self.is_shared
    }

    fn begin(&self, locked: &[Held], watched: &[Held]) -> Result<Option<Begun<'_>>, EngineError> {
        self.is_shared.then(|| shared::begin(self, locked, watched)).transpose()
    }

    fn listen(&self, tell: Tell) {
        self.listeners.add(tell);
    }

    fn head(&self, log: LogId) -> Result<Option<LogHead>, EngineError> {
        Ok(self.log(log).map(|log| log.head))
    }

    fn load(
        &self,
        log: LogId,
        page: Visit<'_>,
        delta: Visit<'_>,
    ) -> Result<Option<LogHead>, EngineError> {
        let Some(log) = self.log(log) else { return Ok(None) };
        for (key, octets) in &log.pages {
            page(*key, octets)?;
        }
        for (seq, octets) in &log.deltas {
            delta(*seq, octets)?;
        }
        Ok(Some(log.head))
    }

    fn history(&self, log: LogId, after: u64, visit: Visit<'_>) -> Result<u64, EngineError> {
        let Some(log) = self.log(log) else { return Ok(0) };
        if let Some(first) = after.checked_add(1) {
            let mut records = log.history.range(first..);
            records.try_for_each(|(seq, record)| visit(*seq, &record.octets))?;
        }
        Ok(log.forgotten)
    }

    fn forget_history(&self, before: i64) -> Result<u64, EngineError> {
        let mut inner = self.lock();
        inner.writable()?;
        let logs = inner.state.logs.values_mut();
        Ok(logs.map(|log| Arc::make_mut(log).forget_history(before)).sum())
    }

    fn bodies(&self, ids: &[BodyId]) -> Result<Vec<BodyRow>, EngineError> {
        let inner = self.lock();
        let row = |id: &BodyId| {
            let body = inner.state.bodies.get(id).ok_or_else(|| rules::no_body(*id))?;
            Ok(body.row.as_ref().clone())
        };
        ids.iter().map(row).collect()
    }

    fn next_body(&self) -> BodyId {
        BodyId(self.body_max.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn reclaimable(&self, before: i64, limit: usize) -> Result<Vec<BodyRow>, EngineError> {
        let inner = self.lock();
        let free = inner.state.bodies.values().filter(|body| body.free_before(before));
        Ok(free.take(limit).map(|body| body.row.as_ref().clone()).collect())
    }

    fn forget_bodies(&self, ids: &[BodyId]) -> Result<Vec<BodyId>, EngineError> {
        let mut inner = self.lock();
        inner.writable()?;
        let mut forgotten = Vec::new();
        for id in ids {
            if inner.state.bodies.get(id).is_some_and(|body| body.references == 0) {
                inner.state.bodies.remove(id);
                forgotten.push(*id);
            }
        }
        Ok(forgotten)
    }

    fn account(&self, name: &str) -> Result<Option<AccountRow>, EngineError> {
        Ok(self.lock().state.accounts.get(name).cloned())
    }

    fn accounts(&self) -> Result<Vec<(String, AccountRow)>, EngineError> {
        let inner = self.lock();
        Ok(inner.state.accounts.iter().map(|(name, row)| (name.clone(), row.clone())).collect())
    }

    fn usage(&self, account: AccountId) -> Result<Usage, EngineError> {
        Ok(self.lock().state.usage.get(&account).copied().unwrap_or_default())
    }

    fn next_account(&self) -> Result<AccountId, EngineError> {
        let mut inner = self.lock();
        inner.writable()?;
        inner.state.account_max += 1;
        Ok(AccountId(inner.state.account_max))
    }
}

impl Inner {
    fn writable(&self) -> Result<(), EngineError> {
        self.broken.map_or(Ok(()), |why| Err(EngineError::Broken(why.to_owned())))
    }
}

/// Everything that is durable.
#[derive(Clone, Debug, Default)]
struct State {
    logs: BTreeMap<LogId, Arc<Log>>,
    bodies: BTreeMap<BodyId, Body>,
    accounts: BTreeMap<String, AccountRow>,
    usage: BTreeMap<AccountId, Usage>,
    body_max: u64,
    account_max: u64,
}

/// Shared with readers, copied when it is written to while one of them still reads.
#[derive(Clone, Debug)]
struct Log {
    head: LogHead,
    deltas: BTreeMap<u64, Arc<[u8]>>,
    pages: BTreeMap<u64, Arc<[u8]>>,
    history: BTreeMap<u64, Record>,
    /// Up to where history was forgotten.
    forgotten: u64,
}

/// A record of history, and when it was committed.
#[derive(Clone, Debug)]
struct Record {
    at: i64,
    octets: Arc<[u8]>,
}

#[derive(Clone, Debug)]
struct Body {
    row: Arc<BodyRow>,
    references: i64,
    /// When the references fell to 0; meaningless while there are some.
    freed: i64,
}

impl Body {
    fn free_before(&self, before: i64) -> bool {
        self.references == 0 && self.freed < before
    }
}

impl State {
    /// Tests the whole commit; answers how many references each body gains.
    fn check(&self, commit: &Commit) -> Result<BTreeMap<BodyId, i64>, EngineError> {
        let mut heads = BTreeMap::new();
        for append in &commit.appends {
            let head = heads.entry(append.log).or_insert_with(|| self.head(append.log));
            rules::check_append(*head, append)?;
            head.seq = append.seq;
        }
        for fold in &commit.folds {
            let head = heads.entry(fold.log).or_insert_with(|| self.head(fold.log));
            if rules::check_fold(*head, fold)? {
                head.folded = fold.seq;
            }
        }
        for (name, row) in &commit.accounts {
            if let (Some(old), Some(new)) = (self.accounts.get(name), row) {
                rules::check_account(old.id, old.version, new)?;
            }
        }
        self.check_references(commit)
    }

    fn check_references(&self, commit: &Commit) -> Result<BTreeMap<BodyId, i64>, EngineError> {
        let gained = rules::references(commit)?;
        for (id, gain) in &gained {
            let there = self.bodies.get(id).map(|body| body.references);
            rules::check_references(*id, there, *gain)?;
        }
        Ok(gained.into_iter().map(|(id, gain)| (id, gain.change)).collect())
    }

    fn head(&self, log: LogId) -> LogHead {
        self.logs.get(&log).map_or_else(LogHead::default, |log| log.head)
    }

    /// Does what [`State::check`] has found possible.
    fn apply(&mut self, commit: &Commit, references: &BTreeMap<BodyId, i64>) {
        for append in &commit.appends {
            let log = Arc::make_mut(self.logs.entry(append.log).or_insert_with(Log::empty));
            log.append(append, commit.now);
        }
        for fold in &commit.folds {
            if let Some(log) = self.logs.get_mut(&fold.log) {
                Arc::make_mut(log).fold(fold);
            }
        }
        for (log, seq) in &commit.forgotten {
            if let Some(log) = self.logs.get_mut(log) {
                let log = Arc::make_mut(log);
                log.forgotten = log.forgotten.max(*seq);
            }
        }
        for log in &commit.renewed {
            if let Some(log) = self.logs.get_mut(log) {
                Arc::make_mut(log).head.doubtful = false;
            }
        }
        for row in &commit.bodies {
            let body = Body { row: Arc::new(row.clone()), references: 0, freed: commit.now };
            self.bodies.insert(row.id, body);
            self.body_max = self.body_max.max(row.id.0);
        }
        for (id, change) in references {
            if let Some(body) = self.bodies.get_mut(id) {
                body.references += change;
                body.freed = commit.now;
            }
        }
        for log in &commit.dropped {
            self.logs.remove(log);
        }
        for (account, change) in &commit.usage {
            let usage = self.usage.entry(*account).or_default();
            *usage = usage.after(*change);
        }
        for (name, row) in &commit.accounts {
            self.set_account(name, row.as_ref());
        }
        self.account_max = self.account_max.max(commit.taken.map_or(0, |id| id.0));
    }

    fn set_account(&mut self, name: &str, row: Option<&AccountRow>) {
        if let Some(row) = row {
            self.account_max = self.account_max.max(row.id.0);
            self.accounts.insert(name.to_owned(), row.clone());
        } else if let Some(row) = self.accounts.remove(name) {
            self.logs.retain(|log, _| log.account != row.id);
            self.usage.remove(&row.id);
        }
    }
}

impl Log {
    fn empty() -> Arc<Self> {
        Arc::new(Self {
            head: LogHead::default(),
            deltas: BTreeMap::new(),
            pages: BTreeMap::new(),
            history: BTreeMap::new(),
            forgotten: 0,
        })
    }

    fn append(&mut self, append: &Append, now: i64) {
        self.deltas.insert(append.seq, append.delta.as_slice().into());
        if let Some(history) = &append.history {
            let record = Record { at: now, octets: history.as_slice().into() };
            self.history.insert(append.seq, record);
        }
        self.head.seq = append.seq;
    }

    fn fold(&mut self, fold: &Fold) {
        if fold.base.is_none() {
            self.pages.clear();
        }
        for key in &fold.removed {
            self.pages.remove(key);
        }
        for (key, octets) in &fold.pages {
            self.pages.insert(*key, octets.as_slice().into());
        }
        self.deltas.retain(|seq, _| *seq > fold.seq);
        self.head.folded = fold.seq;
    }

    fn forget_history(&mut self, before: i64) -> u64 {
        let mut count = 0;
        while let Some(oldest) = self.history.first_entry().filter(|it| it.get().at < before) {
            self.forgotten = self.forgotten.max(*oldest.key());
            oldest.remove();
            count += 1;
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: LogId = LogId { account: AccountId(1), number: 1 };

    fn append(after: u64, seq: u64) -> Commit {
        let delta = vec![7; 3];
        let append = Append { log: LOG, after, seq, delta, history: None };
        Commit { appends: vec![append], ..Commit::default() }
    }

    #[test]
    fn a_commit_in_flight_survives_whole_or_not_at_all() {
        for (fate, seq) in [(Fate::Kept, 5), (Fate::Lost, 3), (Fate::Torn, 3)] {
            let memory = Memory::new();
            memory.commit(&append(0, 3)).unwrap();
            memory.fail_next_commit(Fault::Broken);
            assert!(matches!(memory.commit(&append(3, 5)), Err(EngineError::Broken(_))));
            assert!(matches!(memory.commit(&append(3, 6)), Err(EngineError::Broken(_))));
            assert_eq!(memory.head(LOG).unwrap().map(|head| head.seq), Some(3));

            let reopened = memory.crash(|| fate);
            assert_eq!(reopened.head(LOG).unwrap().map(|head| head.seq), Some(seq));
            reopened.commit(&append(seq, 9)).unwrap();
        }
    }

    #[test]
    fn full_and_behind_do_nothing_and_pass() {
        let memory = Memory::new();
        memory.fail_next_commit(Fault::Full);
        assert!(matches!(memory.commit(&append(0, 1)), Err(EngineError::Full(_))));
        memory.fail_next_commit(Fault::Behind);
        assert!(matches!(memory.commit(&append(0, 1)), Err(EngineError::Behind)));
        assert_eq!(memory.head(LOG).unwrap(), None);
        memory.commit(&append(0, 1)).unwrap();
    }

    #[test]
    fn the_crashed_engine_writes_no_more() {
        let memory = Memory::new();
        let reopened = memory.crash(|| Fate::Kept);
        assert!(matches!(memory.commit(&append(0, 1)), Err(EngineError::Broken(_))));
        assert_eq!(reopened.head(LOG).unwrap(), None);
    }
}
