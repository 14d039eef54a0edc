//! Logins that succeeded a short while ago, so that a client that logs in every minute costs no PBKDF2.
//!
//! # Invariants
//! - What is remembered is a keyed hash, under a key that dies with the process; never a password.
//! - The hash includes the account row's version: a new password or a disabled account ends it at once.
//! - Nothing is remembered for longer than [`KEPT`], and never more than [`ENTRIES_MAX`] logins.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ring::hmac;

/// How long a success counts.
const KEPT: Duration = Duration::from_secs(5 * 60);
/// How many successes are remembered.
const ENTRIES_MAX: usize = 10_000;

/// The memory.
#[derive(Debug)]
pub(crate) struct LoginCache {
    key: hmac::Key,
    entries: Mutex<HashMap<[u8; 32], Instant>>,
}

impl LoginCache {
    /// An empty memory under this key.
    pub(crate) fn new(key: hmac::Key) -> Self {
        Self { key, entries: Mutex::default() }
    }

    /// Whether this login succeeded within the last [`KEPT`].
    pub(crate) fn knows(&self, account: u64, version: u64, password: &str, now: Instant) -> bool {
        let hash = self.hash(account, version, password);
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.get(&hash).is_some_and(|since| now.duration_since(*since) < KEPT)
    }

    /// Remembers a success.
    pub(crate) fn remember(&self, account: u64, version: u64, password: &str, now: Instant) {
        let hash = self.hash(account, version, password);
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= ENTRIES_MAX {
            entries.retain(|_, since| now.duration_since(*since) < KEPT);
        }
        if entries.len() < ENTRIES_MAX {
            entries.insert(hash, now);
        }
    }

    fn hash(&self, account: u64, version: u64, password: &str) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(&account.to_be_bytes());
        context.update(&version.to_be_bytes());
        context.update(password.as_bytes());
        let mut out = [0; 32];
        out.copy_from_slice(context.sign().as_ref());
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_success_counts_for_its_row_version_and_five_minutes_only() {
        let cache = LoginCache::new(hmac::Key::new(hmac::HMAC_SHA256, b"k"));
        let now = Instant::now();
        cache.remember(1, 1, "p", now);
        assert!(cache.knows(1, 1, "p", now));
        assert!(!cache.knows(1, 2, "p", now));
        assert!(!cache.knows(2, 1, "p", now));
        assert!(!cache.knows(1, 1, "q", now));
        assert!(!cache.knows(1, 1, "p", now + KEPT));
    }

    #[test]
    fn the_memory_is_bounded() {
        let cache = LoginCache::new(hmac::Key::new(hmac::HMAC_SHA256, b"k"));
        let now = Instant::now();
        for account in 0..=u64::try_from(ENTRIES_MAX).unwrap() {
            cache.remember(account, 1, "p", now);
        }
        assert!(cache.knows(0, 1, "p", now));
        assert!(!cache.knows(u64::try_from(ENTRIES_MAX).unwrap(), 1, "p", now));
        cache.remember(0, 9, "p", now + KEPT);
        assert!(cache.knows(0, 9, "p", now + KEPT));
    }
}
