//! The server of a simulation, which a crash takes away and the next one follows, and what is around it.

use crate::clock::{Ticks, drive};
use imap::command::Secret;
use session::{
    AuthFailure, Authenticator, BoxFuture, Config, Event, Exchange, Identity, Observer, Peer,
    Session, Shared, Status,
};
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

/// The server of the moment.
pub(crate) struct House {
    pub(crate) engine: Arc<Memory>,
    pub(crate) bodies: Arc<MemoryBodies>,
    pub(crate) committer: Committer,
    pub(crate) shared: Arc<Shared>,
    pub(crate) account: AccountId,
    pub(crate) around: Around,
}

impl House {
    pub(crate) fn open(
        engine: Memory,
        bodies: MemoryBodies,
        around: Around,
        account: Option<AccountId>,
    ) -> Self {
        let (engine, bodies) = (Arc::new(engine), Arc::new(bodies));
        let clock = around.clock.clone();
        let options = Options { fold_bytes: 600, ..Options::default() };
        let (store, committer) =
            Store::open(engine.clone(), bodies.clone(), Arc::new(Inline), clock, options);
        let account = account.unwrap_or_else(|| {
            drive(store.create_account("alex", Vec::new()), &committer).unwrap()
        });
        let identity = Identity { name: "alex".into(), account, without: Vec::new() };
        let shared = Shared {
            store,
            authenticator: Arc::new(Anyone(identity)),
            observer: around.fallbacks.clone(),
            config: Config::default(),
        };
        Self { engine, bodies, committer, shared: Arc::new(shared), account, around }
    }

    /// A session of somebody who comes in.
    pub(crate) fn session(&self) -> Session {
        Session::new(Arc::clone(&self.shared), Peer { loopback: true, ..Peer::default() })
    }

    /// Puts so many messages into INBOX.
    pub(crate) fn fill(&self, count: usize) {
        let messages = " {8+}\r\nA: b\r\n\r\n".repeat(count);
        let octets = format!("l LOGIN alex secret\r\na APPEND INBOX{messages}\r\n").into_bytes();
        let (mut session, mut out) = (self.session(), Vec::new());
        let done = drive(session.receive(&octets, &mut out), &self.committer);
        assert!(done.is_ok() && self.inbox().exists() as usize == count, "INBOX was not filled");
    }

    pub(crate) fn inbox(&self) -> Arc<MailboxState> {
        let store = &self.shared.store;
        drive(
            async {
                let id =
                    store.account(self.account).await.unwrap().state().mailbox("INBOX").unwrap().id;
                store.mailbox(id.unwrap()).await.unwrap().state()
            },
            &self.committer,
        )
    }
}
