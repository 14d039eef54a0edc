//! How many may come in: connections in all, from one address, and to one account.
//!
//! # Invariants
//! - What was counted in is counted out when its guard is dropped, however the connection ends.
//! - Loopback is not counted by address: a proxy or webmail there speaks for many.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use store::AccountId;

use crate::config::Limits;

/// Counts who is in.
#[derive(Clone)]
pub(crate) struct Doors {
    all: Counts<()>,
    addresses: Counts<IpAddr>,
    accounts: Counts<AccountId>,
    limits: (usize, usize, usize),
}

/// A connection that was let in.
pub(crate) struct Inside {
    _all: Guard<()>,
    _address: Option<Guard<IpAddr>>,
}

/// Why a connection is not let in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refused {
    /// The server is full.
    Full,
    /// The address has as many as it may have.
    Address,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Full => "The server has as many connections as it takes, try again later",
            Self::Address => {
                "Your address has as many connections as it may have, close some first"
            }
        })
    }
}

impl Doors {
    /// Doors with these limits.
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            all: Counts::default(),
            addresses: Counts::default(),
            accounts: Counts::default(),
            limits: (
                limits.connections.0,
                limits.connections_per_address.0,
                limits.connections_per_account.0,
            ),
        }
    }

    /// Lets a connection in; an address is given for TCP.
    pub(crate) fn enter(&self, address: Option<IpAddr>) -> Result<Inside, Refused> {
        let all = self.all.enter((), self.limits.0).ok_or(Refused::Full)?;
        let address = address.map(|address| self.enter_address(address)).transpose()?;
        Ok(Inside { _all: all, _address: address.flatten() })
    }

    /// Counts a connection that was let in without an address as one from there.
    pub(crate) fn enter_from(
        &self,
        mut inside: Inside,
        address: IpAddr,
    ) -> Result<Inside, Refused> {
        inside._address = self.enter_address(address)?;
        Ok(inside)
    }

    fn enter_address(&self, address: IpAddr) -> Result<Option<Guard<IpAddr>>, Refused> {
        let counted = Some(address.to_canonical()).filter(|address| !address.is_loopback());
        counted
            .map(|address| self.addresses.enter(address, self.limits.1).ok_or(Refused::Address))
            .transpose()
    }

    /// Lets a connection into an account.
    pub(crate) fn enter_account(&self, account: AccountId) -> Option<Guard<AccountId>> {
        self.accounts.enter(account, self.limits.2)
    }
}

struct Counts<K>(Arc<Mutex<HashMap<K, usize>>>);

impl<K> Clone for Counts<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K> Default for Counts<K> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K: Hash + Eq + Copy> Counts<K> {
    fn enter(&self, key: K, limit: usize) -> Option<Guard<K>> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(key).or_insert(0);
        if *count >= limit {
            return None;
        }
        *count += 1;
        Some(Guard { counts: self.clone(), key })
    }
}

/// Counts out when dropped.
pub(crate) struct Guard<K: Hash + Eq + Copy> {
    counts: Counts<K>,
    key: K,
}

impl<K: Hash + Eq + Copy> Drop for Guard<K> {
    fn drop(&mut self) {
        let mut counts = self.counts.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Count;

    #[test]
    fn limits_hold_until_a_guard_is_dropped() {
        let limits = Limits {
            connections: Count(3),
            connections_per_address: Count(1),
            connections_per_account: Count(1),
            ..Limits::default()
        };
        let doors = Doors::new(&limits);
        let far = Some(IpAddr::from([192, 0, 2, 1]));
        let near = Some(IpAddr::from([127, 0, 0, 1]));
        let one = doors.enter(far);
        assert_eq!(doors.enter(far).err(), Some(Refused::Address));
        let _two = doors.enter(near);
        let three = doors.enter(near);
        assert_eq!(doors.enter(near).err(), Some(Refused::Full));
        drop(one);
        let proxied = doors.enter(None).unwrap();
        let four = doors.enter_from(proxied, IpAddr::from([192, 0, 2, 1]));
        assert!(four.is_ok());
        drop(three);
        let proxied = doors.enter(None).unwrap();
        let five = doors.enter_from(proxied, IpAddr::from([192, 0, 2, 1]));
        assert_eq!(five.err(), Some(Refused::Address));
        drop(four);
        assert!(doors.enter(far).is_ok());
        let account = doors.enter_account(AccountId(1));
        assert!(account.is_some() && doors.enter_account(AccountId(1)).is_none());
        drop(account);
        assert!(doors.enter_account(AccountId(1)).is_some());
    }
}
