//! Makes the INBOX of an account large, and its history of expunges long: what `bench/resync` measures on.
//!
//! `cargo run --release -p highwater-store --example grow -- DIRECTORY ACCOUNT MESSAGES EXPUNGES`
//!
//! The directory is a server's data directory, with no server on it. Messages beyond the first few thousand are
//! copies; each of the expunges is a change of its own, with a record of its own. Messages that are expunged come
//! back as new ones, as MOVE within a mailbox does, so that the number of messages stays.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a program for measuring, which ends at the first error and prints"
)]

use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{SystemTime, UNIX_EPOCH};

use imap::command::DateTime;
use imap::set::UidSet;
use store::embedded::Embedded;
use store::segments::{Limits, Segments};
use store::{Change, Clock, Committer, Inline, Mailbox, NewMessage, Options, Store};

/// Messages that are appended; all others are copies of them.
const ORIGINALS: u32 = 1000;
/// Messages copied by one change.
const COPIES: u32 = 10_000;
/// Expunges in one commit.
const AT_ONCE: usize = 5000;

struct System;

impl Clock for System {
    fn now(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        since.as_secs().try_into().unwrap()
    }

    fn random(&self) -> u64 {
        7
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [directory, account, messages, expunges] = arguments.as_slice() else {
        println!("usage: grow DIRECTORY ACCOUNT MESSAGES EXPUNGES");
        return;
    };
    let house = House::open(Path::new(directory), account);
    house.fill(messages.parse().unwrap());
    house.churn(expunges.parse().unwrap());
    let state = house.inbox.state();
    println!("{} messages, UIDNEXT {}", state.exists(), state.uid_next());
}

struct House {
    store: Store,
    committer: Committer,
    inbox: Mailbox,
}

impl House {
    fn open(directory: &Path, account: &str) -> Self {
        let engine = Arc::new(Embedded::open(directory).unwrap());
        let bodies = Arc::new(Segments::open(directory, Limits::default()).unwrap());
        let clock = Arc::new(System);
        let (store, committer) =
            Store::open(engine, bodies, Arc::new(Inline), clock, Options::default());
        let open = async {
            let id = store.account_row(account).await.unwrap().unwrap().id;
            let account = store.account(id).await.unwrap();
            let id = account.state().mailbox("INBOX").unwrap().id.unwrap();
            store.mailbox(id).await.unwrap()
        };
        let inbox = drive(open, &committer);
        Self { store, committer, inbox }
    }

    fn submit(&self, change: Change) {
        drive(self.store.submit(change), &self.committer).unwrap();
    }

    /// Appends and copies until there are so many.
    fn fill(&self, messages: u32) {
        let body = |n: u32| {
            let mut receiver = self.store.receive().unwrap();
            let text = format!("From: a@example.org\r\nSubject: {n}\r\n\r\nx\r\n");
            receiver.write(text.as_bytes()).unwrap();
            let body = drive(receiver.finish(), &self.committer).unwrap();
            let internal_date = DateTime { unix: 1_700_000_000, zone_minutes: 0 };
            NewMessage { body, flags: Vec::new(), internal_date }
        };
        let mailbox = self.inbox.id();
        let exists = || self.inbox.state().exists();
        let originals = ORIGINALS.min(messages).saturating_sub(exists());
        self.submit(Change::Append { mailbox, messages: (0..originals).map(body).collect() });
        while exists() < messages {
            let count = exists().min(COPIES).min(messages - exists());
            let first = self.inbox.state().tree().iter().next().unwrap().1.uid.value();
            let uids = UidSet::from_ranges([(first, first + count - 1)]);
            self.submit(Change::Transfer { source: mailbox, target: mailbox, uids, remove: false });
        }
    }

    /// Expunges one message after the other, anywhere in the mailbox.
    fn churn(&self, expunges: usize) {
        let state = self.inbox.state();
        let mut there: Vec<u32> = state.tree().iter().map(|(_, m)| m.uid.value()).collect();
        let (mut next, mut chance) = (state.uid_next(), 42_u64);
        let mailbox = self.inbox.id();
        for round in 0..expunges.div_ceil(AT_ONCE) {
            for _ in 0..AT_ONCE.min(expunges - round * AT_ONCE) {
                chance = chance
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                let at = usize::try_from(chance >> 33).unwrap() % there.len();
                let uids = UidSet::from_ranges([(there[at], there[at])]);
                there[at] = next;
                next += 1;
                let change =
                    Change::Transfer { source: mailbox, target: mailbox, uids, remove: true };
                drop(self.store.submit(change));
            }
            while self.committer.step() {}
        }
        assert_eq!(self.inbox.state().uid_next(), next, "every expunge was carried out");
    }
}

/// Polls to the end; whenever nothing else can go on, the committer makes a batch.
fn drive<T>(future: impl Future<Output = T>, committer: &Committer) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(done) = future.as_mut().poll(&mut context) {
            return done;
        }
        assert!(committer.step(), "waits for what nobody will do");
    }
}
