//! Sessions in this process, over the memory engine, with a committer that is stepped by whoever waits.

use super::clock::{Ticks, drive};
use client::dialogue::{Place, Wire, line_octets};
use imap::acl::{Rights, RightsChange};
use session::{
    AuthFailure, Authenticator, BoxFuture, Config, Exchange, Identity, Next, Peer, Session, Shared,
    Silent, Step,
};
use std::future::Future;
use std::sync::{Arc, Mutex};
use store::engine::{BodyStore, Engine};
use store::{AccountChange, AccountId, Committer, Grantee, Inline, Options, Quota, Store};

/// Knows the users that there are, all with one password.
struct Users(Store);

impl Users {
    async fn find(&self, user: &[u8], password: &[u8]) -> Result<Identity, AuthFailure> {
        let name = std::str::from_utf8(user).map_err(|_| AuthFailure::Credentials)?;
        match self.0.account_row(name).await {
            Ok(Some(row)) if password == b"secret" => Ok(Identity {
                name: name.to_owned(),
                account: row.id,
                version: row.version,
                without: Vec::new(),
            }),
            _ => Err(AuthFailure::Credentials),
        }
    }
}

impl Authenticator for Users {
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
        Box::pin(self.find(user, &password.0))
    }

    fn begin(&self, _: &Peer, mechanism: &str) -> Option<Box<dyn Exchange>> {
        (mechanism == "PLAIN").then(|| Box::new(Plain(Self(self.0.clone()))) as Box<dyn Exchange>)
    }
}

/// SASL PLAIN (RFC 4616).
struct Plain(Users);

impl Exchange for Plain {
    fn step<'a>(&'a mut self, answer: Option<&'a [u8]>) -> BoxFuture<'a, Step> {
        Box::pin(async move {
            let Some(answer) = answer else { return Step::Challenge(Vec::new()) };
            let parts: Vec<&[u8]> = answer.split(|octet| *octet == 0).collect();
            let [b"", user, password] = parts.as_slice() else {
                return Step::Failed(AuthFailure::Credentials);
            };
            match self.0.find(user, password).await {
                Ok(identity) => Step::Done { identity, last: None },
                Err(failure) => Step::Failed(failure),
            }
        })
    }
}

/// A server with one user, alex, until others are made.
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
        drive(store.create_account("alex", Vec::new()), || committer.step()).unwrap();
        let shared = Shared {
            searched: session::SearchIndex::default(),
            authenticator: Arc::new(Users(store.clone())),
            store,
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
        let committer = self.committer.lock().unwrap();
        drive(future, || committer.step())
    }
}

impl Place for Server {
    fn connect(&mut self) -> Result<Box<dyn Wire>, String> {
        let mut session = self.session();
        let mut out = Vec::new();
        session.greet(&mut out);
        let committer = Arc::clone(&self.committer);
        Ok(Box::new(Local { session, out, committer, closed: false }))
    }

    fn user(&self) -> (String, String) {
        ("alex".into(), "secret".into())
    }

    fn mailbox(&self, name: &str) -> String {
        name.to_owned()
    }

    fn administer(&mut self, words: &[&str]) -> Result<(), String> {
        let store = &self.shared.store;
        let account = |name: &str| match name {
            "Shared" => AccountId::SHARED,
            name => self.drive(store.account_row(name)).unwrap().unwrap().id,
        };
        let grantee = |name: &str| match (name, name.strip_prefix('$')) {
            ("anyone", _) => Grantee::Anyone,
            (_, Some(group)) => Grantee::Group(group.to_owned()),
            _ => Grantee::User { account: account(name), name: name.to_owned() },
        };
        let (owner, change) = match *words {
            ["user", name] => {
                self.drive(store.create_account(name, Vec::new())).unwrap();
                return Ok(());
            }
            ["shared", name] => {
                let (name, special_use) = (name.to_owned(), Vec::new());
                (AccountId::SHARED, AccountChange::Create { name, special_use })
            }
            ["acl", name, identifier, rights] => {
                let bare = identifier.strip_prefix('-');
                let change = AccountChange::SetAcl {
                    name: name.to_owned(),
                    grantee: grantee(bare.unwrap_or(identifier)),
                    negative: bare.is_some(),
                    rights: RightsChange::Set(Rights::parse(rights).unwrap()),
                    owner: String::new(),
                };
                (AccountId::SHARED, change)
            }
            ["seen", how, name] => {
                let (name, private) = (name.to_owned(), how == "private");
                (account("alex"), AccountChange::SetPrivateSeen { name, private })
            }
            ["group", group, name] => {
                let bare = name.strip_prefix('-');
                let (group, name) = (group.to_owned(), bare.unwrap_or(name).to_owned());
                let (account, member) = (account(&name), bare.is_none());
                let change = AccountChange::SetMember { group, account, name, member };
                (AccountId::SHARED, change)
            }
            ["quota", name, ref limits @ ..] => {
                let limit = |what: &str| {
                    let found = limits.iter().find_map(|limit| limit.strip_prefix(what));
                    found.map(|value| value.parse().unwrap())
                };
                let (octets, messages) = (limit("octets="), limit("messages="));
                let quota = Quota { octets, messages, mailboxes: limit("mailboxes=") };
                (account(name), AccountChange::SetQuota(quota))
            }
            _ => return Err(format!("not in the dialect: admin {}", words.join(" "))),
        };
        self.drive(store.submit_account(owner, change)).unwrap();
        Ok(())
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
        let next = drive(self.session.receive(octets, &mut self.out), || committer.step()).unwrap();
        self.closed = next == Next::Close;
    }

    fn line(&mut self) -> Option<String> {
        if self.out.is_empty() && !self.closed && self.session.waiting_for().is_some() {
            let committer = self.committer.lock().unwrap();
            let next = drive(self.session.push(&mut self.out), || committer.step()).unwrap();
            self.closed = next == Next::Close;
        }
        let end = line_octets(&self.out)?;
        let line: Vec<u8> = self.out.drain(..end).collect();
        let text = String::from_utf8_lossy(&line).into_owned();
        Some(text.trim_end_matches(['\r', '\n']).to_owned())
    }

    fn closed(&mut self) -> bool {
        self.closed
    }
}
