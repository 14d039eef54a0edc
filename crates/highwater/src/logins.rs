//! Who is logged in here, so that connections end when their account changes, whichever node changes it.
//!
//! # Invariants
//! - A connection ends when the row that let it in has a newer version: at once when this process wrote that, and else
//!   when the row is read anew, a bounded number of rows a second.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use session::Identity;
use store::{AccountId, AccountRow, Store};
use tokio::sync::broadcast;
use tokio::time::{MissedTickBehavior, interval};

/// How often rows are read.
const BETWEEN: Duration = Duration::from_secs(1);
/// How many, each time.
const ROWS_MAX: usize = 100;

/// Ends the connections of an account that an older version of its row let in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Eviction {
    /// The account.
    pub(crate) account: AccountId,
    /// The version of its row; the greatest when there is none any more.
    pub(crate) version: u64,
}

impl Eviction {
    /// Ends all of them.
    pub(crate) fn of_all(account: AccountId) -> Self {
        Self { account, version: u64::MAX }
    }

    /// Whether it is about one who was let in so.
    pub(crate) fn is_of(&self, own: LetIn) -> bool {
        own.account == self.account && own.version < self.version
    }
}

/// By which row a connection was let in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LetIn {
    account: AccountId,
    version: u64,
}

impl From<&Identity> for LetIn {
    fn from(identity: &Identity) -> Self {
        Self { account: identity.account, version: identity.version }
    }
}

/// The accounts that somebody is logged in to.
#[derive(Clone, Default)]
pub(crate) struct Logins(Arc<Mutex<BTreeMap<AccountId, Login>>>);

struct Login {
    name: String,
    connections: usize,
    /// No connection was let in by an older version than this.
    version: u64,
}

/// One connection; counted out when dropped.
pub(crate) struct LoggedIn {
    logins: Logins,
    account: AccountId,
}

impl Logins {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<AccountId, Login>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a connection in.
    pub(crate) fn enter(&self, identity: &Identity) -> LoggedIn {
        let mut all = self.lock();
        let new = || Login { name: identity.name.clone(), connections: 0, version: u64::MAX };
        let login = all.entry(identity.account).or_insert_with(new);
        login.connections += 1;
        login.version = login.version.min(identity.version);
        LoggedIn { logins: self.clone(), account: identity.account }
    }

    /// The next accounts after this one, from the beginning again after the last.
    fn some_after(&self, last: AccountId) -> Vec<(AccountId, String)> {
        let all = self.lock();
        let after = all.range((Excluded(last), Unbounded)).chain(all.range(..=last));
        after.take(ROWS_MAX).map(|(id, login)| (*id, login.name.clone())).collect()
    }

    /// What follows from the account's row as it is now.
    fn heed(&self, account: AccountId, row: Option<&AccountRow>) -> Option<Eviction> {
        let row = row.filter(|row| row.id == account);
        let version = row.map_or(u64::MAX, |row| row.version);
        let mut all = self.lock();
        let login = all.get_mut(&account).filter(|login| login.version < version)?;
        login.version = version;
        Some(Eviction { account, version })
    }

    /// Reads the rows of who is logged in, again and again.
    pub(crate) async fn watch(self, store: Store, evict: broadcast::Sender<Eviction>) {
        let mut ticks = interval(BETWEEN);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last = AccountId::SHARED;
        loop {
            ticks.tick().await;
            for (account, name) in self.some_after(last) {
                last = account;
                // One that cannot be read now is read the next time.
                let Ok(row) = store.account_row(&name).await else { continue };
                if let Some(eviction) = self.heed(account, row.as_ref()) {
                    // An error means that there are no connections.
                    let _ = evict.send(eviction);
                }
            }
        }
    }
}

impl Drop for LoggedIn {
    fn drop(&mut self) {
        let mut all = self.logins.lock();
        if let Some(login) = all.get_mut(&self.account) {
            login.connections -= 1;
            if login.connections == 0 {
                all.remove(&self.account);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(account: u64, version: u64) -> Identity {
        let account = AccountId(account);
        Identity { name: format!("u{}", account.0), account, version, without: Vec::new() }
    }

    fn row(account: u64, version: u64) -> AccountRow {
        AccountRow { id: AccountId(account), version, record: Vec::new() }
    }

    #[test]
    fn who_was_let_in_by_an_older_row_goes() {
        let logins = Logins::default();
        let (old, new) = (identity(1, 3), identity(1, 4));
        let _one = logins.enter(&old);
        let _two = logins.enter(&new);
        assert_eq!(logins.heed(AccountId(1), Some(&row(1, 3))), None);
        let eviction = logins.heed(AccountId(1), Some(&row(1, 4))).unwrap();
        let is_of = |identity: &Identity| eviction.is_of(LetIn::from(identity));
        assert!(is_of(&old) && !is_of(&new) && !is_of(&identity(2, 1)));
        assert_eq!(logins.heed(AccountId(1), Some(&row(1, 4))), None, "it is told once");
        // One whose row was read before that and who comes only now.
        let _late = logins.enter(&old);
        assert!(logins.heed(AccountId(1), Some(&row(1, 4))).is_some());
        for gone in [None, Some(row(9, 9))] {
            let _back = logins.enter(&new);
            let eviction = logins.heed(AccountId(1), gone.as_ref()).unwrap();
            assert_eq!(eviction, Eviction::of_all(AccountId(1)));
        }
    }

    #[test]
    fn all_have_their_turn() {
        let logins = Logins::default();
        let count = u64::try_from(ROWS_MAX).unwrap() + 20;
        let inside: Vec<_> = (1..=count).map(|n| logins.enter(&identity(n, 1))).collect();
        let first = logins.some_after(AccountId::SHARED);
        assert_eq!((first.len(), first[0].0), (ROWS_MAX, AccountId(1)));
        let second = logins.some_after(first[ROWS_MAX - 1].0);
        assert_eq!((second.len(), second[0].0.0, second[20].0), (ROWS_MAX, 101, AccountId(1)));
        drop(inside);
        assert!(logins.some_after(AccountId::SHARED).is_empty());
    }
}
