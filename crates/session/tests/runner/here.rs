//! Sessions in this process, over the memory engine, with a committer that is stepped by whoever waits.

use super::clock::{Ticks, drive};
use super::{Place, Wire};
use session::{
    AuthFailure, Authenticator, BoxFuture, Config, Exchange, Identity, Next, Peer, Session, Shared,
    Silent, Step,
};
use std::future::Future;
use std::sync::{Arc, Mutex};
use store::engine::{BodyStore, Engine};
use store::{Committer, Inline, Options, Store};

/// Knows one user.
struct OneUser(Identity);

impl Authenticator for OneUser {
    fn mechanisms(&self, _: &Peer) -> Vec<&'static str> {
        vec!["PLAIN"]
    }

    fn login_allowed(&self, peer: &Peer) -> bool {
        peer.secure || peer.loopback
    }

    fn login<'a>(
        &'a self,
        _: &'a Peer,
        user: &'a [u8],
        password: &'a imap::command::Secret,
    ) -> BoxFuture<'a, Result<Identity, AuthFailure>> {
        let known = user == b"alex" && password.0 == b"secret";
        let result = if known { Ok(self.0.clone()) } else { Err(AuthFailure::Credentials) };
        Box::pin(std::future::ready(result))
    }

    fn begin(&self, _: &Peer, mechanism: &str) -> Option<Box<dyn Exchange>> {
        (mechanism == "PLAIN").then(|| Box::new(Plain(self.0.clone())) as Box<dyn Exchange>)
    }
}

/// SASL PLAIN (RFC 4616).
struct Plain(Identity);

impl Exchange for Plain {
    fn step<'a>(&'a mut self, answer: Option<&'a [u8]>) -> BoxFuture<'a, Step> {
        let step = match answer {
            None => Step::Challenge(Vec::new()),
            Some(b"\0alex\0secret") => Step::Done { identity: self.0.clone(), last: None },
            Some(_) => Step::Failed(AuthFailure::Credentials),
        };
        Box::pin(std::future::ready(step))
    }
}

/// A server with one user.
pub(crate) struct Server {
    shared: Arc<Shared>,
    committer: Arc<Mutex<Committer>>,
}

impl Server {
    pub(crate) fn new(without: Vec<String>) -> Self {
        Self::with(Config { without, ..Config::default() })
    }

    pub(crate) fn with(config: Config) -> Self {
        let engine = Arc::new(store::memory::Memory::new());
        let bodies = Arc::new(store::memory::MemoryBodies::new()) as Arc<dyn BodyStore>;
        let clock = Arc::new(Ticks::new());
        let engine = engine as Arc<dyn Engine>;
        let (store, committer) =
            Store::open(engine, bodies, Arc::new(Inline), clock, Options::default());
        let account = drive(store.create_account("alex", Vec::new()), &committer).unwrap();
        let identity = Identity { name: "alex".into(), account };
        let shared = Shared {
            store,
            authenticator: Arc::new(OneUser(identity)),
            observer: Arc::new(Silent),
            config,
        };
        Self { shared: Arc::new(shared), committer: Arc::new(Mutex::new(committer)) }
    }
}

impl Server {
    /// A session that nobody has greeted yet.
    pub(crate) fn session(&self) -> Session {
        let peer = Peer { loopback: true, ..Peer::default() };
        Session::new(Arc::clone(&self.shared), peer)
    }

    /// Gives back the space of all bodies that nothing refers to; answers how many.
    #[allow(dead_code, reason = "only some tests take bodies away")]
    pub(crate) fn reclaim(&self) -> usize {
        self.shared.store.reclaim(-1_000_000).unwrap()
    }

    /// Forgets all expunges so far; answers how many records there were.
    #[allow(dead_code, reason = "only some tests forget")]
    pub(crate) fn forget_history(&self) -> u64 {
        self.shared.store.forget_history(-1_000_000).unwrap()
    }

    /// Polls the future to its end.
    #[allow(dead_code, reason = "only the tests that speak octets drive a session by themselves")]
    pub(crate) fn drive<T>(&self, future: impl Future<Output = T>) -> T {
        drive(future, &self.committer.lock().unwrap())
    }
}

impl Place for Server {
    fn connect(&mut self) -> Box<dyn Wire> {
        let mut session = self.session();
        let mut out = Vec::new();
        session.greet(&mut out);
        let committer = Arc::clone(&self.committer);
        Box::new(Local { session, out, committer, closed: false })
    }

    fn user(&self) -> (String, String) {
        ("alex".into(), "secret".into())
    }

    fn mailbox(&self, name: &str) -> String {
        name.to_owned()
    }
}

struct Local {
    session: Session,
    out: Vec<u8>,
    committer: Arc<Mutex<Committer>>,
    closed: bool,
}

impl Wire for Local {
    fn send(&mut self, octets: &[u8]) {
        if self.closed {
            return;
        }
        let committer = self.committer.lock().unwrap();
        let next = drive(self.session.receive(octets, &mut self.out), &committer).unwrap();
        self.closed = next == Next::Close;
    }

    fn line(&mut self) -> Option<String> {
        if self.out.is_empty() && !self.closed && self.session.waiting_for().is_some() {
            let committer = self.committer.lock().unwrap();
            let next = drive(self.session.push(&mut self.out), &committer).unwrap();
            self.closed = next == Next::Close;
        }
        let end = line_end(&self.out)?;
        let line: Vec<u8> = self.out.drain(..end).collect();
        let text = String::from_utf8_lossy(&line).into_owned();
        Some(text.trim_end_matches(['\r', '\n']).to_owned())
    }

    fn closed(&mut self) -> bool {
        self.closed
    }
}

/// Where the first line ends, the literals in it counted as part of it.
fn line_end(octets: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += octets[at..].iter().position(|b| *b == b'\n')? + 1;
        match literal_at_end(&octets[..at]) {
            Some(len) => at += len,
            None => return Some(at),
        }
    }
}

/// The length that `{n}` at the end of the line announces.
pub(crate) fn literal_at_end(line: &[u8]) -> Option<usize> {
    let text = line.strip_suffix(b"}\r\n")?;
    let at = text.iter().rposition(|b| *b == b'{')?;
    std::str::from_utf8(&text[at + 1..]).ok()?.parse().ok()
}
