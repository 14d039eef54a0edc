//! A store in memory that a test steps by hand.

use imap::command::DateTime;
use imap::set::UidSet;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use store::memory::{Memory, MemoryBodies};
use store::{AccountChange, Change, Clock, Committer, Inline, Mailbox, NewMessage, Options, Store};

pub(crate) struct Ticks(pub(crate) AtomicU64);

impl Clock for Ticks {
    fn now(&self) -> i64 {
        1_700_000_000
    }

    fn random(&self) -> u64 {
        self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed)
    }
}

/// A store in memory that is stepped by hand.
pub(crate) struct House {
    pub(crate) engine: Arc<Memory>,
    pub(crate) bodies: Arc<MemoryBodies>,
    pub(crate) store: Store,
    pub(crate) committer: Committer,
}

impl House {
    #[allow(dead_code, reason = "some tests have several stores over one engine")]
    pub(crate) fn new(engine: Memory, bodies: MemoryBodies, options: Options) -> Self {
        Self::with_clock(engine, bodies, Arc::new(Ticks(AtomicU64::new(1))), options)
    }

    #[allow(dead_code, reason = "some tests have several stores over one engine")]
    pub(crate) fn with_clock(
        engine: Memory,
        bodies: MemoryBodies,
        clock: Arc<dyn Clock>,
        options: Options,
    ) -> Self {
        Self::over(Arc::new(engine), Arc::new(bodies), clock, options)
    }

    /// One of several, perhaps, over the same engine and bodies.
    pub(crate) fn over(
        engine: Arc<Memory>,
        bodies: Arc<MemoryBodies>,
        clock: Arc<dyn Clock>,
        options: Options,
    ) -> Self {
        let (store, committer) =
            Store::open(engine.clone(), bodies.clone(), Arc::new(Inline), clock, options);
        Self { engine, bodies, store, committer }
    }

    /// Drives the future, committing whenever it waits.
    pub(crate) fn run<T>(&self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        let mut context = Context::from_waker(Waker::noop());
        loop {
            match future.as_mut().poll(&mut context) {
                Poll::Ready(value) => return value,
                Poll::Pending => assert!(self.committer.step(), "waits for what nobody will do"),
            }
        }
    }

    pub(crate) fn account(&self, name: &str) -> store::Account {
        self.run(async {
            let id = self.store.create_account(name, Vec::new()).await.unwrap();
            self.store.account(id).await.unwrap()
        })
    }

    pub(crate) fn mailbox(&self, account: &store::Account, name: &str) -> Mailbox {
        let id = account.state().mailbox(name).unwrap().id.unwrap();
        self.run(self.store.mailbox(id)).unwrap()
    }

    pub(crate) fn create(&self, account: &store::Account, name: &str) -> Mailbox {
        let change = AccountChange::Create { name: name.into(), special_use: Vec::new() };
        self.run(self.store.submit_account(account.id(), change)).unwrap();
        self.mailbox(account, name)
    }

    pub(crate) fn append(&self, mailbox: &Mailbox, count: usize) {
        for n in 0..count {
            let message = self.message(format!("Subject: {n}\r\n\r\nbody {n}\r\n").as_bytes());
            let change = Change::Append { mailbox: mailbox.id(), messages: vec![message] };
            self.run(self.store.submit(change)).unwrap();
        }
    }

    /// Of all UIDs; `None` when that has been forgotten.
    #[allow(dead_code, reason = "only some tests ask for history")]
    pub(crate) fn expunged_since(&self, mailbox: &Mailbox, after: u64) -> Option<UidSet> {
        let all = UidSet::from_ranges([(1, u32::MAX)]);
        self.run(self.store.expunged_since(mailbox.id(), after, all, 100_000)).unwrap()
    }

    pub(crate) fn message(&self, octets: &[u8]) -> NewMessage {
        let mut receiver = self.store.receive().unwrap();
        receiver.write(octets).unwrap();
        let body = self.run(receiver.finish()).unwrap();
        let internal_date = DateTime { unix: 1, zone_minutes: 60 };
        NewMessage { body, flags: Vec::new(), internal_date }
    }
}
