//! Telling other nodes what was written, and hearing it from them: hints, sent after the commit.
//!
//! # Invariants
//! - Never inside a writing transaction: NOTIFY would make all commits of the database wait for each other.
//! - A connection that is lost loses hints and nothing else.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use store::engine::{AccountId, LogId, Tell};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_postgres::Notification;

use crate::error::Fault;
use crate::link::{Heard, Link};
use crate::place::Place;

/// What is written in so long a time is told at once.
const TOGETHER: Duration = Duration::from_millis(15);
/// How long after a failure the next attempt is made.
const AGAIN: Duration = Duration::from_secs(1);
/// Octets in one notification: PostgreSQL takes less than 8000.
const PAYLOAD_MAX: usize = 7000;

/// What is to be told, and who wants to hear.
pub(crate) struct Notices {
    node: String,
    written: Mutex<BTreeSet<LogId>>,
    wake: Notify,
    listeners: Mutex<Vec<Tell>>,
}

impl Notices {
    pub(crate) fn new(node: String) -> Arc<Self> {
        let (written, listeners) = (Mutex::default(), Mutex::default());
        Arc::new(Self { node, written, wake: Notify::new(), listeners })
    }

    /// To be told to others soon.
    pub(crate) fn add(&self, logs: impl Iterator<Item = LogId>) {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).extend(logs);
        self.wake.notify_one();
    }

    pub(crate) fn listen(&self, tell: Tell) {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).push(tell);
    }

    /// Sends and hears until the engine is gone.
    pub(crate) async fn run(self: Arc<Self>, place: Arc<Place>, runtime: Handle) {
        let hearer = Arc::downgrade(&self);
        let heard: Heard = Arc::new(move |said| {
            if let Some(notices) = hearer.upgrade() {
                notices.hear(&said);
            }
        });
        loop {
            if let Ok(link) = Link::connect(&place, &runtime, Some(Arc::clone(&heard))).await
                && link.run("LISTEN highwater").await.is_ok()
            {
                while self.send(&link).await.is_ok() {}
            }
            sleep(AGAIN).await;
        }
    }

    async fn send(&self, link: &Link) -> Result<(), Fault> {
        while timeout(AGAIN, self.wake.notified()).await.is_err() {
            if !link.is_whole() {
                return Err(Fault::Lost("nothing can be heard any more".into()));
            }
        }
        sleep(TOGETHER).await;
        let logs =
            std::mem::take(&mut *self.written.lock().unwrap_or_else(PoisonError::into_inner));
        for payload in payloads(&self.node, &logs) {
            link.query("SELECT pg_notify('highwater', $1)", &[&payload]).await?;
        }
        Ok(())
    }

    fn hear(&self, said: &Notification) {
        let mut words = said.payload().split(' ');
        if words.next() == Some(&self.node) {
            return;
        }
        let log = |word: &str| {
            let (account, number) = word.split_once(':')?;
            Some(LogId { account: AccountId(account.parse().ok()?), number: number.parse().ok()? })
        };
        let logs: Vec<LogId> = words.filter_map(log).collect();
        let listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner).clone();
        listeners.iter().for_each(|tell| tell(&logs));
    }
}

/// `NODE ACCOUNT:NUMBER ACCOUNT:NUMBER …`, as many of them as are needed.
fn payloads(node: &str, logs: &BTreeSet<LogId>) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for log in logs {
        let word = format!(" {}:{}", log.account.0, log.number);
        match all.last_mut().filter(|last| last.len() + word.len() <= PAYLOAD_MAX) {
            Some(last) => last.push_str(&word),
            None => all.push(format!("{node}{word}")),
        }
    }
    all
}
