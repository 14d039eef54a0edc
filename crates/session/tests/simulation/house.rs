//! The server of a simulation, which a crash takes away and the next one follows, and what is around it.

use crate::clock::{Ticks, drive};
use imap::command::Secret;
use session::{
    AuthFailure, Authenticator, BoxFuture, Config, Event, Exchange, Identity, Observer, Peer,
    Session, Shared, Status,
};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use store::memory::{Memory, MemoryBodies};
use store::{AccountId, Committer, Inline, MailboxState, Options, Store};

/// Lets everyone in as the one user.
struct Anyone(Identity);

impl Authenticator for Anyone {
    fn mechanisms(&self, _: &Peer) -> Vec<&'static str> {
        Vec::new()
    }

    fn login_allowed(&self, _: &Peer) -> bool {
        true
    }

    fn login<'a>(
        &'a self,
        _: &'a Peer,
        _: &'a [u8],
        _: &'a Secret,
    ) -> BoxFuture<'a, Result<Identity, AuthFailure>> {
        Box::pin(std::future::ready(Ok(self.0.clone())))
    }

    fn begin(&self, _: &Peer, _: &str) -> Option<Box<dyn Exchange>> {
        None
    }
}

/// Counts resyncs that took the protocol's fallback.
#[derive(Default)]
pub(crate) struct Fallbacks(pub(crate) AtomicU64);

impl Observer for Fallbacks {
    fn now_nanos(&self) -> u64 {
        0
    }

    fn command(&self, _: &'static str, _: Status, _: u64) {}

    fn count(&self, what: Event) {
        if what == Event::ResyncFallback {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What outlives a crash besides the engine: the world's clock, and what was counted.
#[derive(Clone)]
pub(crate) struct Around {
    pub(crate) clock: Arc<Ticks>,
    pub(crate) fallbacks: Arc<Fallbacks>,
}

/// One server of the moment.
struct Node {
    committer: Committer,
    shared: Arc<Shared>,
}

/// The servers of the moment, and what they share.
pub(crate) struct House {
    pub(crate) engine: Arc<Memory>,
    pub(crate) bodies: Arc<MemoryBodies>,
    nodes: Vec<Node>,
    pub(crate) account: AccountId,
    pub(crate) around: Around,
}

impl House {
    /// So many servers over this engine, which must be one for several if they are.
    pub(crate) fn open(
        engine: Memory,
        bodies: MemoryBodies,
        around: Around,
        account: Option<AccountId>,
        nodes: usize,
    ) -> Self {
        let (engine, bodies) = (Arc::new(engine), Arc::new(bodies));
        let known = account.unwrap_or(AccountId::SHARED);
        let mut house = Self { engine, bodies, nodes: Vec::new(), account: known, around };
        let first = house.start();
        house.nodes.push(first);
        if account.is_none() {
            let store = house.store(0).clone();
            house.account = house.drive(store.create_account("alex", Vec::new())).unwrap();
            house.restart(0);
        }
        while house.nodes.len() < nodes {
            let next = house.start();
            house.nodes.push(next);
        }
        house
    }

    fn start(&self) -> Node {
        let clock = self.around.clock.clone();
        let options = Options { fold_bytes: 600, ..Options::default() };
        let (engine, bodies) = (self.engine.clone(), self.bodies.clone());
        let (store, committer) = Store::open(engine, bodies, Arc::new(Inline), clock, options);
        let identity = Identity {
            name: "alex".into(),
            account: self.account,
            version: 1,
            without: Vec::new(),
        };
        let shared = Shared {
            searched: session::SearchIndex::default(),
            store,
            authenticator: Arc::new(Anyone(identity)),
            observer: self.around.fallbacks.clone(),
            config: Config::default(),
        };
        Node { committer, shared: Arc::new(shared) }
    }

    /// One server ends at once, with what it had in memory, and comes back.
    pub(crate) fn restart(&mut self, node: usize) {
        self.nodes[node] = self.start();
    }

    pub(crate) fn nodes(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn store(&self, node: usize) -> &Store {
        &self.nodes[node].shared.store
    }

    /// A session of somebody who comes in.
    pub(crate) fn session(&self, node: usize) -> Session {
        let shared = Arc::clone(&self.nodes[node].shared);
        Session::new(shared, Peer { loopback: true, ..Peer::default() })
    }

    /// Lets one server commit what waits.
    pub(crate) fn commit(&self, node: usize) -> bool {
        self.nodes[node].committer.step()
    }

    /// Lets every server commit what waits; false when nothing did.
    pub(crate) fn commit_all(&self) -> bool {
        (0..self.nodes.len()).filter(|node| self.commit(*node)).count() > 0
    }

    pub(crate) fn drive<T>(&self, future: impl Future<Output = T>) -> T {
        drive(future, || self.commit_all())
    }

    /// Puts so many messages into INBOX.
    pub(crate) fn fill(&self, count: usize) {
        let messages = " {8+}\r\nA: b\r\n\r\n".repeat(count);
        let octets = format!("l LOGIN alex secret\r\na APPEND INBOX{messages}\r\n").into_bytes();
        let (mut session, mut out) = (self.session(0), Vec::new());
        let done = self.drive(session.receive(&octets, &mut out));
        assert!(done.is_ok() && self.inbox().exists() as usize == count, "INBOX was not filled");
    }

    pub(crate) fn inbox(&self) -> Arc<MailboxState> {
        let store = self.store(0);
        self.drive(async {
            let account = store.account(self.account).await.unwrap().state();
            store.mailbox(account.mailbox("INBOX").unwrap().id.unwrap()).await.unwrap().state()
        })
    }
}
