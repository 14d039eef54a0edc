//! Which mailboxes and accounts are in memory.
//!
//! # Invariants
//! - At most one [`OpenMailbox`] per mailbox: reading one in happens under a lock for its number, and only
//!   when nobody holds the one before. Whoever has a change waiting holds it.
//! - Besides those in use, a bounded number is kept; the one that was read longest ago goes first.

use crate::change::Error;
use crate::engine::{AccountId, Engine, EngineError, MailboxId};
use crate::open::{OpenAccount, OpenMailbox};
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Things in memory by their key.
struct Table<K, V> {
    open: Mutex<HashMap<K, Weak<V>>>,
    kept: Mutex<VecDeque<Arc<V>>>,
    kept_max: usize,
    reading: Vec<Mutex<()>>,
    hasher: RandomState,
}

impl<K: Hash + Eq + Copy, V> Table<K, V> {
    fn new(kept_max: usize) -> Self {
        Self {
            open: Mutex::default(),
            kept: Mutex::default(),
            kept_max,
            reading: (0..64).map(|_| Mutex::new(())).collect(),
            hasher: RandomState::new(),
        }
    }

    fn find(&self, key: K) -> Option<Arc<V>> {
        lock(&self.open).get(&key).and_then(Weak::upgrade)
    }

    fn all(&self) -> Vec<Arc<V>> {
        lock(&self.open).values().filter_map(Weak::upgrade).collect()
    }

    /// The one in memory, or what `read` brings.
    fn find_or_read(
        &self,
        key: K,
        read: impl FnOnce() -> Result<Option<V>, EngineError>,
    ) -> Result<Arc<V>, Error> {
        let at =
            usize::try_from(self.hasher.hash_one(key)).unwrap_or(0) % self.reading.len().max(1);
        let _reading = self.reading.get(at).map(lock);
        if let Some(found) = self.find(key) {
            return Ok(found);
        }
        let read = Arc::new(read()?.ok_or(Error::NonExistent)?);
        let mut open = lock(&self.open);
        open.insert(key, Arc::downgrade(&read));
        if open.len() > 2 * self.kept_max + 1024 {
            open.retain(|_, weak| weak.strong_count() > 0);
        }
        drop(open);
        self.keep(&read);
        Ok(read)
    }

    fn keep(&self, value: &Arc<V>) {
        let mut kept = lock(&self.kept);
        kept.push_back(Arc::clone(value));
        let dropped = if kept.len() > self.kept_max { kept.pop_front() } else { None };
        drop(kept);
        drop(dropped);
    }
}

/// What is in memory.
pub(crate) struct Registry {
    mailboxes: Table<MailboxId, OpenMailbox>,
    accounts: Table<AccountId, OpenAccount>,
}

impl Registry {
    pub(crate) fn new(kept_max: usize) -> Self {
        Self { mailboxes: Table::new(kept_max), accounts: Table::new(kept_max) }
    }

    pub(crate) fn mailbox(&self, id: MailboxId) -> Option<Arc<OpenMailbox>> {
        self.mailboxes.find(id)
    }

    pub(crate) fn account(&self, id: AccountId) -> Option<Arc<OpenAccount>> {
        self.accounts.find(id)
    }

    /// All mailboxes in memory.
    pub(crate) fn mailboxes(&self) -> Vec<Arc<OpenMailbox>> {
        self.mailboxes.all()
    }

    /// All accounts in memory.
    pub(crate) fn accounts(&self) -> Vec<Arc<OpenAccount>> {
        self.accounts.all()
    }

    /// The mailbox, read if it must be. Blocks.
    pub(crate) fn load_mailbox(
        &self,
        engine: &dyn Engine,
        id: MailboxId,
        keywords_max: usize,
    ) -> Result<Arc<OpenMailbox>, Error> {
        self.mailboxes.find_or_read(id, || OpenMailbox::load(engine, id, keywords_max))
    }

    /// The account, read if it must be. Blocks.
    pub(crate) fn load_account(
        &self,
        engine: &dyn Engine,
        id: AccountId,
    ) -> Result<Arc<OpenAccount>, Error> {
        self.accounts.find_or_read(id, || OpenAccount::load(engine, id))
    }
}
