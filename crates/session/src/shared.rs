//! What sessions are given: the store, the configuration, an observer, and a place to write to.

use crate::account::Authenticator;
use crate::search::SearchIndex;
use imap::encode::Status;
use imap::frame::Limits;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// A boxed future that may move between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What all sessions of a server share.
pub struct Shared {
    /// Mailboxes and bodies.
    pub store: store::Store,
    /// Who may come in.
    pub authenticator: Arc<dyn Authenticator>,
    /// Counts and measures.
    pub observer: Arc<dyn Observer>,
    /// What is remembered of messages that were searched.
    pub searched: SearchIndex,
    /// How the server is set up.
    pub config: Config,
}

/// How the server is set up, as far as a session cares.
#[derive(Clone)]
pub struct Config {
    /// Limits on what an authenticated client sends.
    pub limits: Limits,
    /// Limits on what a client sends before it is authenticated; smaller.
    pub limits_before_login: Limits,
    /// Capabilities switched off, by name as CAPABILITY would list them.
    pub without: Vec<String>,
    /// The name that ID answers with (RFC 2971).
    pub server_name: String,
    /// The version that ID answers with.
    pub server_version: String,
    /// Bad commands before login after which the connection is closed.
    pub bad_commands_max: u32,
    /// STOREs of one pipeline that wait for the store at the same time.
    pub stores_in_flight_max: usize,
    /// Messages in one APPEND (RFC 3502).
    pub append_messages_max: usize,
    /// Messages that are gone and that a client's commands have not let the server tell it of. A client that
    /// lags further is sent away, since its view keeps them in memory.
    pub held_back_max: u64,
    /// Memory for what is remembered of messages that were searched; see [`SearchIndex`].
    pub search_octets_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            limits_before_login: Limits {
                line_bytes_max: 8 * 1024,
                literal_bytes_max: 4 * 1024,
                command_bytes_max: 16 * 1024,
                ..Limits::default()
            },
            without: Vec::new(),
            server_name: "Highwater".into(),
            server_version: env!("CARGO_PKG_VERSION").into(),
            bad_commands_max: 20,
            stores_in_flight_max: 64,
            append_messages_max: 1000,
            held_back_max: 100_000,
            search_octets_max: 128 << 20,
        }
    }
}

/// Sees what sessions do; for metrics and logs.
pub trait Observer: Send + Sync {
    /// A steady count of nanoseconds, for measuring how long a command took.
    fn now_nanos(&self) -> u64;
    /// A command was answered.
    fn command(&self, name: &'static str, status: Status, nanos: u64);
    /// Something worth counting happened.
    fn count(&self, what: Event);
}

/// What an [`Observer`] counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// A conditional STORE found at least one message changed: MODIFIED was sent.
    Conflict,
    /// A resync could not be answered exactly and took the protocol's fallback [H6].
    ResyncFallback,
    /// A client named a mod-sequence above HIGHESTMODSEQ [H6].
    ModSeqFromTheFuture,
    /// A view that lagged was closed.
    LaggingViewClosed,
    /// A login failed.
    LoginFailed,
    /// A command was not understood.
    BadCommand,
}

/// An observer that sees nothing.
pub struct Silent;

impl Observer for Silent {
    fn now_nanos(&self) -> u64 {
        0
    }
    fn command(&self, _: &'static str, _: Status, _: u64) {}
    fn count(&self, _: Event) {}
}

/// Where a session writes: `buffer()` is what has not been sent yet.
pub trait Sink: Send {
    /// What has not been sent yet; a session appends to it.
    fn buffer(&mut self) -> &mut Vec<u8>;
    /// Sends the buffer and waits while the client is slow.
    ///
    /// # Errors
    /// [`Closed`] when the client is gone.
    fn flush(&mut self) -> impl Future<Output = Result<(), Closed>> + Send;
}

/// A sink for tests: everything is kept, and flushing does nothing.
impl Sink for Vec<u8> {
    fn buffer(&mut self) -> &mut Vec<u8> {
        self
    }
    async fn flush(&mut self) -> Result<(), Closed> {
        Ok(())
    }
}

/// The client is gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Closed;

/// The buffer is sent on when it grows past this many octets.
pub(crate) const FLUSH_BYTES: usize = 64 * 1024;

/// Sends the buffer on when it has grown large, so that memory stays bounded.
pub(crate) async fn relieve<S: Sink>(sink: &mut S) -> Result<(), Closed> {
    if sink.buffer().len() >= FLUSH_BYTES { sink.flush().await } else { Ok(()) }
}

/// Gives the thread to others once.
pub(crate) async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(|context| {
        if yielded {
            return std::task::Poll::Ready(());
        }
        yielded = true;
        context.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}
