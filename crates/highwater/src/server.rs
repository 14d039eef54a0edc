//! The server: listeners, what they share, and an orderly end.
//!
//! # Invariants
//! - Nothing is accepted before every listener is bound, and everything is bound or nothing is served.
//! - At the end no new command is begun, running ones finish within the time for it, and the store is closed
//!   last.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use session::{SearchIndex, Shared};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{Semaphore, broadcast, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use crate::auth::Accounts;
use crate::config::{Config, ListenAddress};
use crate::context::Context;
use crate::control::{self, Admin};
use crate::doors::{Doors, Inside, Refused};
use crate::logins::Logins;
use crate::metrics::{Metrics, Protocol};
use crate::place::{OpenStore, Place, Use};
use crate::wire::Stream;
use crate::{balancer, connection, http, lmtp, tls};

/// Clients that are being told that there is no room; more are dropped without a word.
const REFUSED_MAX: usize = 64;
/// Changes of accounts that a busy connection may not have heard of yet.
const EVICTIONS_MAX: usize = 256;
/// Conversations at the control socket at once.
const CONTROLS_MAX: usize = 16;

/// A listener that is bound.
enum Bound {
    Tcp(Protocol, TcpListener),
    Unix(UnixListener),
}

/// A listener as the `ready` line names it.
pub(crate) struct Ready {
    /// `imap`, `imaps`, `lmtp` or `http`.
    pub(crate) name: &'static str,
    /// Where it listens.
    pub(crate) address: String,
}

/// A server whose listeners are bound.
pub(crate) struct Server {
    context: Arc<Context>,
    opened: OpenStore,
    /// Administration of its store.
    pub(crate) admin: Arc<Admin>,
    bound: Vec<Bound>,
    control: UnixListener,
    http: Option<TcpListener>,
    /// The listeners, for the `ready` line.
    pub(crate) ready: Vec<Ready>,
    sockets: Vec<PathBuf>,
    stop: watch::Sender<bool>,
}

/// Why a server could not be started.
#[derive(Debug)]
pub(crate) enum StartError {
    /// The store could not be opened.
    Store(anyhow::Error),
    /// An address could not be bound.
    Listen(anyhow::Error),
    /// Something else.
    Other(anyhow::Error),
}

impl Server {
    /// Opens the store and binds every listener.
    pub(crate) async fn start(config: &Config, place: &Place) -> Result<Self, StartError> {
        let other = |error: io::Error| StartError::Other(error.into());
        let data = place.directory();
        let metrics = Arc::new(Metrics::new());
        let observer = Arc::clone(&metrics);
        let mut opened = tokio::task::block_in_place(|| {
            OpenStore::open(place, Use::Serve, Some(Arc::new(move |report| observer.batch(report))))
        })
        .map_err(|error| StartError::Store(error.into()))?;
        opened.keep(config.history.keep.seconds()).map_err(other)?;
        opened.follow().map_err(other)?;
        let tls = tls::acceptor(&config.tls, data).map_err(StartError::Other)?;
        let accounts = Accounts::new(opened.store.clone(), config.limits.password_checks.0)
            .map_err(|error| StartError::Other(error.into()))?;
        let shared = Shared {
            searched: SearchIndex::default(),
            store: opened.store.clone(),
            authenticator: Arc::new(accounts),
            observer: Arc::clone(&metrics) as Arc<dyn session::Observer>,
            config: session_config(config),
        };
        let (stop, stopping) = watch::channel(false);
        let (evict, _) = broadcast::channel(EVICTIONS_MAX);
        let context = Arc::new(Context {
            shared: Arc::new(shared),
            store: opened.store.clone(),
            tls,
            doors: Doors::new(&config.limits),
            balancers: config.listen.balancers.iter().map(|network| network.0).collect(),
            metrics,
            limits: config.limits.clone(),
            evict: evict.clone(),
            logins: Logins::default(),
            stopping,
        });
        let admin = Admin::new(opened.store.clone(), data, config.limits.message.0, evict);
        let control = control::bind(data)
            .with_context(|| format!("the control socket in {} cannot be made", data.display()))
            .map_err(StartError::Other)?;
        let mut server = Self {
            context,
            opened,
            admin,
            bound: Vec::new(),
            control,
            http: None,
            ready: Vec::new(),
            sockets: vec![data.join(control::protocol::SOCKET)],
            stop,
        };
        server.bind_all(config).await.map_err(StartError::Listen)?;
        Ok(server)
    }

    async fn bind_all(&mut self, config: &Config) -> Result<()> {
        let listen = &config.listen;
        for (protocol, name, addresses) in [
            (Protocol::Imap, "imap", &listen.imap),
            (Protocol::Imaps, "imaps", &listen.imaps),
            (Protocol::Lmtp, "lmtp", &listen.lmtp),
        ] {
            for address in addresses {
                let bound = match address {
                    ListenAddress::Tcp(address) => {
                        let listener = bind_tcp(*address).await?;
                        self.announce(name, listener.local_addr()?.to_string());
                        Bound::Tcp(protocol, listener)
                    }
                    ListenAddress::Unix(path) => {
                        let listener = bind_unix(path).await?;
                        self.announce(name, address.to_string());
                        self.sockets.push(path.clone());
                        Bound::Unix(listener)
                    }
                };
                self.bound.push(bound);
            }
        }
        if let Some(ListenAddress::Tcp(address)) = &config.http.listen {
            let listener = bind_tcp(*address).await?;
            self.announce("http", listener.local_addr()?.to_string());
            self.http = Some(listener);
        }
        Ok(())
    }

    fn announce(&mut self, name: &'static str, address: String) {
        self.ready.push(Ready { name, address });
    }

    /// The number of this process's listeners that answer to this name.
    pub(crate) fn first(&self, name: &str) -> Option<&str> {
        self.ready.iter().find(|ready| ready.name == name).map(|ready| ready.address.as_str())
    }

    /// Serves until `until` is ready, then ends in order. Answers why it ended, if that was not to be: see
    /// [`OpenStore::broken`].
    pub(crate) async fn run(self, until: impl Future<Output = ()>) -> Result<Option<String>> {
        let mut tasks = JoinSet::new();
        for bound in self.bound {
            let context = Arc::clone(&self.context);
            match bound {
                Bound::Tcp(protocol, listener) => {
                    tasks.spawn(accept_tcp(context, listener, protocol));
                }
                Bound::Unix(listener) => {
                    tasks.spawn(accept_unix(context, listener));
                }
            }
        }
        tasks.spawn(accept_control(Arc::clone(&self.context), self.control, self.admin));
        if let Some(listener) = self.http {
            let (metrics, stopping) =
                (Arc::clone(&self.context.metrics), self.context.stopping.clone());
            tasks.spawn(http::serve(listener, metrics, self.opened.health(), stopping));
        }
        let watching = self.opened.engine.is_shared().then(|| {
            let (logins, store) = (self.context.logins.clone(), self.context.store.clone());
            tokio::spawn(logins.watch(store, self.context.evict.clone()))
        });
        let broken = tokio::select! {
            () = until => None,
            why = self.opened.broken() => Some(why),
        };
        if let Some(why) = &broken {
            tracing::error!(why, "the server ends, since only a new start helps");
        }
        tracing::info!("stopping: running commands finish, no new ones are begun");
        let time_to_stop = self.context.limits.time_to_stop.0;
        self.stop.send_replace(true);
        let all = async { while tasks.join_next().await.is_some() {} };
        if timeout(time_to_stop, all).await.is_err() {
            tracing::warn!("some connections did not end in time and are cut off");
            tasks.shutdown().await;
        }
        for socket in self.sockets {
            if let Err(error) = std::fs::remove_file(&socket) {
                tracing::debug!(%error, "a socket could not be removed");
            }
        }
        watching.inspect(JoinHandle::abort);
        drop(self.context);
        self.opened.close().await.map(|()| broken)
    }
}

/// What a session needs to know of the configuration.
fn session_config(config: &Config) -> session::Config {
    let limits = &config.limits;
    let mut to = session::Config { without: config.imap.without.clone(), ..Default::default() };
    to.limits.line_bytes_max = limits.line.as_len();
    to.limits.literal_bytes_max = limits.literal.as_len();
    to.limits.command_bytes_max = limits.command.as_len();
    to.limits.message_bytes_max = limits.message.0;
    to.search_octets_max = limits.search_memory.as_len();
    let before = &mut to.limits_before_login;
    before.line_bytes_max = before.line_bytes_max.min(to.limits.line_bytes_max);
    before.literal_bytes_max = before.literal_bytes_max.min(to.limits.literal_bytes_max);
    before.command_bytes_max = before.command_bytes_max.min(to.limits.command_bytes_max);
    to
}

async fn bind_tcp(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("{address} cannot be listened on: another program may have it; choose another port, 0 takes a free one")
    })
}

/// Binds a unix socket; what a process that ended has left there is removed.
async fn bind_unix(path: &Path) -> Result<UnixListener> {
    let left_behind = match UnixStream::connect(path).await {
        Err(error) => error.kind() == io::ErrorKind::ConnectionRefused,
        Ok(_) => false,
    };
    if left_behind {
        std::fs::remove_file(path)
            .with_context(|| format!("{} cannot be removed", path.display()))?;
    }
    UnixListener::bind(path).with_context(|| format!("{} cannot be listened on", path.display()))
}

/// The next connection; `None` when the server stops. Tasks that have ended are forgotten meanwhile.
async fn next<T, F: Future<Output = io::Result<T>>>(
    context: &Context,
    tasks: &mut JoinSet<()>,
    accept: impl Fn() -> F,
) -> Option<T> {
    loop {
        let accepted = tokio::select! {
            biased;
            () = context.stopped() => return None,
            Some(_) = tasks.join_next() => continue,
            accepted = accept() => accepted,
        };
        match accepted {
            Ok(accepted) => return Some(accepted),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be taken");
                // A lack of file descriptors must not become a busy loop.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn accept_tcp(context: Arc<Context>, listener: TcpListener, protocol: Protocol) {
    let mut tasks = JoinSet::new();
    let refused = Arc::new(Semaphore::new(REFUSED_MAX));
    while let Some((stream, address)) = next(&context, &mut tasks, || listener.accept()).await {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection ended as it came");
        }
        let balanced = balancer::is_balancer(&context.balancers, address.ip());
        match context.doors.enter((!balanced).then(|| address.ip())) {
            Ok(inside) => {
                let context = Arc::clone(&context);
                tasks.spawn(async move {
                    let arrived = Arrived { stream, address, inside };
                    let arrived = match balanced {
                        true => forwarded(&context, arrived, protocol).await,
                        false => Some(arrived),
                    };
                    let Some(Arrived { stream, address, inside: _inside }) = arrived else {
                        return;
                    };
                    context.metrics.opened(protocol);
                    converse(&context, stream, address, protocol).await;
                    context.metrics.closed(protocol);
                });
            }
            Err(why) => {
                context.metrics.refused(protocol);
                let Ok(permit) = Arc::clone(&refused).try_acquire_owned() else { continue };
                let context = Arc::clone(&context);
                tasks.spawn(async move {
                    let _permit = permit;
                    refuse(&context, stream, protocol, why).await;
                });
            }
        }
    }
    drop(listener);
    while tasks.join_next().await.is_some() {}
}

/// A connection that was let in.
struct Arrived {
    stream: TcpStream,
    address: SocketAddr,
    inside: Inside,
}

/// The client for whom a load balancer connected; `None` when it did not say, or the client has no room.
async fn forwarded(context: &Context, arrived: Arrived, protocol: Protocol) -> Option<Arrived> {
    let Arrived { mut stream, address: balancer, inside } = arrived;
    let address = match balancer::client_address(&mut stream, balancer).await {
        Ok(address) => address,
        Err(error) => {
            tracing::warn!(%balancer, %error, "a connection from a load balancer is dropped");
            return None;
        }
    };
    match context.doors.enter_from(inside, address.ip()) {
        Ok(inside) => Some(Arrived { stream, address, inside }),
        Err(why) => {
            context.metrics.refused(protocol);
            refuse(context, stream, protocol, why).await;
            None
        }
    }
}

async fn converse(
    context: &Arc<Context>,
    stream: TcpStream,
    address: SocketAddr,
    protocol: Protocol,
) {
    let context = Arc::clone(context);
    match protocol {
        Protocol::Imap => connection::converse(context, stream, address, false).await,
        Protocol::Imaps => connection::converse(context, stream, address, true).await,
        Protocol::Lmtp => {
            lmtp::converse(context, Stream::Tcp(stream), address.ip().to_string()).await;
        }
    }
}

async fn refuse(context: &Context, stream: TcpStream, protocol: Protocol, why: Refused) {
    match protocol {
        Protocol::Imap => connection::refuse(context, stream, why, false).await,
        Protocol::Imaps => connection::refuse(context, stream, why, true).await,
        Protocol::Lmtp => lmtp::refuse(Stream::Tcp(stream), why).await,
    }
}

/// LMTP on a unix socket.
async fn accept_unix(context: Arc<Context>, listener: UnixListener) {
    let mut tasks = JoinSet::new();
    while let Some((stream, _)) = next(&context, &mut tasks, || listener.accept()).await {
        let stream = Stream::Unix(stream);
        let context = Arc::clone(&context);
        match context.doors.enter(None) {
            Ok(inside) => tasks.spawn(async move {
                let _inside = inside;
                context.metrics.opened(Protocol::Lmtp);
                lmtp::converse(Arc::clone(&context), stream, "local".into()).await;
                context.metrics.closed(Protocol::Lmtp);
            }),
            Err(why) => {
                context.metrics.refused(Protocol::Lmtp);
                tasks.spawn(lmtp::refuse(stream, why))
            }
        };
    }
    drop(listener);
    while tasks.join_next().await.is_some() {}
}

async fn accept_control(context: Arc<Context>, listener: UnixListener, admin: Arc<Admin>) {
    let room = Arc::new(Semaphore::new(CONTROLS_MAX));
    let mut tasks = JoinSet::new();
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        let accepted = next(&context, &mut tasks, || listener.accept()).await;
        let Some((stream, _)) = accepted else { break };
        let admin = Arc::clone(&admin);
        tasks.spawn(async move {
            let _permit = permit;
            admin.converse(stream).await;
        });
    }
    drop(listener);
    while tasks.join_next().await.is_some() {}
}
