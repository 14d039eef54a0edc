//! A connection to a server, driven by tokio.
//!
//! # Invariants
//! - A password or a token leaves only through TLS, or to this very machine.
//! - After an error that [`Error::is_fatal`] the connection is of no use: what was on its way may have been done or not.
//! - An answer is waited for as long as the options say, and not longer.
//!
//! # Standards
//! RFC 3501, RFC 8314 (TLS), RFC 2177 (IDLE), RFC 7888 (literals).

mod compress;
mod identify;
mod login;
mod notify;
mod plain;
mod transfer;

use crate::answer::Answer;
use crate::conversation::{Conversation, NewMessage, Ticket};
use crate::error::Error;
use crate::place::Place;
use crate::record::{Passage, Record};
use crate::tls::{Tls, channel_binding};
use compress::Deflate;
use imap::command::{AppendHead, CommandBody, DateTime, IdField, MailboxName, Secret, Select};
use imap::flag::Flag;
use plain::Plain;
use std::os::fd::AsFd as _;
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

/// Who logs in, and with what.
#[derive(Clone)]
#[non_exhaustive]
pub enum Credentials {
    /// A name and a password.
    Password {
        /// The name.
        user: String,
        /// The password.
        password: Secret,
    },
    /// A name and an OAuth 2.0 access token.
    Token {
        /// The name.
        user: String,
        /// The token, as the authorisation server gave it.
        token: Secret,
    },
    /// Nobody: the conversation begins before login.
    None,
}

impl Credentials {
    /// A name and a password.
    pub fn password(user: impl Into<String>, password: impl Into<Vec<u8>>) -> Self {
        Self::Password { user: user.into(), password: Secret(password.into()) }
    }

    /// A name and an OAuth 2.0 access token.
    pub fn token(user: impl Into<String>, token: impl Into<Vec<u8>>) -> Self {
        Self::Token { user: user.into(), token: Secret(token.into()) }
    }
}

/// How a connection behaves.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// Whom to trust; `None` for no TLS at all.
    pub tls: Option<Tls>,
    /// Send a password without TLS to another machine: whoever stands in between reads it.
    pub insecure: bool,
    /// How long the server may be silent while it owes an answer.
    pub patience: Duration,
}

impl Options {
    /// This TLS or none, and 60 seconds of patience.
    #[must_use]
    pub fn new(tls: Option<Tls>) -> Self {
        Self { tls, insecure: false, patience: Duration::from_mins(1) }
    }

    /// With this much patience.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Without TLS, where the server has none, even to another machine.
    #[must_use]
    pub fn with_insecure(self, insecure: bool) -> Self {
        Self { insecure, ..self }
    }

    /// TLS with what the system trusts, and 60 seconds of patience.
    ///
    /// # Errors
    /// When the system trusts nobody.
    pub fn system() -> Result<Self, Error> {
        Ok(Self::new(Some(Tls::system()?)))
    }
}

/// What octets come from and go to.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {
    /// The socket below.
    fn socket(&self) -> &TcpStream;
}

impl Stream for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }
}

impl Stream for TlsStream<TcpStream> {
    fn socket(&self) -> &TcpStream {
        self.get_ref().0
    }
}

/// See the module.
pub struct Connection {
    core: Conversation,
    stream: Box<dyn Stream>,
    /// What was taken from the core and is not sent yet.
    unsent: Vec<u8>,
    /// What was received and the core was not given yet.
    inbox: Vec<u8>,
    patience: Duration,
    /// IDLE was said and DONE was not: whoever waited has gone.
    idling: Option<Ticket>,
    binding: Option<Vec<u8>>,
    secure: bool,
    /// A password may be sent.
    trusted: bool,
    deflate: Option<Deflate>,
    /// What the server has said of itself.
    id: Option<Vec<IdField>>,
    record: Record,
}

const READ_BYTES: usize = 64 * 1024;

/// What a turn waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    /// Something has come.
    Received,
    /// Something has come, or all is sent.
    Sent,
}

impl Connection {
    /// Connects, secures the connection and logs in by the strongest way that the server has: see
    /// [`crate::sasl::choose`].
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Tls`], [`Error::TimedOut`]; [`Error::Refused`] or [`Error::TokenRefused`] when the
    /// login fails, [`Error::Sasl`] when the server does not prove itself, and [`Error::Lacks`] when there is no
    /// way to log in, or none without giving the password away.
    pub async fn open(
        place: &Place,
        credentials: &Credentials,
        options: &Options,
    ) -> Result<Self, Error> {
        let mut connection = timeout(options.patience, Self::reach(place, options))
            .await
            .map_err(|_| Error::TimedOut)??;
        connection.trusted = connection.secure || place.is_here() || options.insecure;
        if !matches!(credentials, Credentials::None) {
            connection.log_in(place, credentials).await?;
        }
        Ok(connection)
    }

    /// Connects up to the greeting, with TLS where the place or the server wants it.
    async fn reach(place: &Place, options: &Options) -> Result<Self, Error> {
        let (host, port) = (place.host.as_str(), place.port);
        let tcp = TcpStream::connect((host, port)).await.map_err(|error| {
            std::io::Error::new(error.kind(), format!("{host}:{port}: {error}"))
        })?;
        tcp.set_nodelay(true)?;
        if place.implicit_tls {
            let tls = options.tls.as_ref().ok_or(Error::Lacks("a TLS configuration"))?;
            let stream = tls.connect(&place.host, tcp).await?;
            let binding = channel_binding(&stream);
            let mut connection = Self::over(Box::new(stream), options.patience);
            (connection.binding, connection.secure) = (binding, true);
            connection.greeted().await?;
            return Ok(connection);
        }
        let mut plain = Plain { core: Conversation::default(), tcp };
        plain.greeted().await?;
        match (&options.tls, plain.core.has("STARTTLS")) {
            (Some(tls), true) => {
                let (mut core, tcp) = plain.start_tls().await?;
                core.forget_capabilities();
                let stream = tls.connect(&place.host, tcp).await?;
                let binding = channel_binding(&stream);
                let mut connection = Self::over(Box::new(stream), options.patience);
                (connection.core, connection.binding, connection.secure) = (core, binding, true);
                connection.run(CommandBody::Capability).await?;
                Ok(connection)
            }
            _ => {
                let mut connection = Self::over(Box::new(plain.tcp), options.patience);
                connection.core = plain.core;
                connection.learn_capabilities().await?;
                Ok(connection)
            }
        }
    }

    fn over(stream: Box<dyn Stream>, patience: Duration) -> Self {
        let core = Conversation::default();
        Self {
            core,
            stream,
            unsent: Vec::new(),
            inbox: Vec::new(),
            patience,
            idling: None,
            binding: None,
            secure: false,
            trusted: false,
            deflate: None,
            id: None,
            record: Record::default(),
        }
    }

    async fn greeted(&mut self) -> Result<(), Error> {
        while self.core.greeting().is_none() {
            self.step().await?;
        }
        self.alive()?;
        self.learn_capabilities().await
    }

    async fn learn_capabilities(&mut self) -> Result<(), Error> {
        if self.core.capabilities().is_empty() {
            self.run(CommandBody::Capability).await?;
        }
        Ok(())
    }

    /// Whether the server has listed this capability.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.core.has(name)
    }

    /// What the server has listed.
    #[must_use]
    pub fn capabilities(&self) -> &[String] {
        self.core.capabilities()
    }

    /// How many octets of IMAP were received.
    #[must_use]
    pub fn octets_received(&self) -> u64 {
        self.core.octets_received()
    }

    /// Whether the server has said that this extension is enabled (RFC 5161).
    #[must_use]
    pub fn is_enabled(&self, name: &str) -> bool {
        self.core.is_enabled(name)
    }

    /// Whether TLS protects the connection.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// The connection's `tls-exporter` channel binding (RFC 9266), which TLS 1.3 gives.
    #[must_use]
    pub fn channel_binding(&self) -> Option<&[u8]> {
        self.binding.as_deref()
    }

    /// Sends a command and waits for its answer.
    ///
    /// # Errors
    /// [`Error::Refused`] for NO and BAD, and what else may end the connection.
    pub async fn run(&mut self, body: CommandBody) -> Result<Answer, Error> {
        self.ask(body).await?.ok()
    }

    /// Sends a command and waits for its answer, whatever it is.
    ///
    /// # Errors
    /// What may end the connection.
    pub async fn ask(&mut self, body: CommandBody) -> Result<Answer, Error> {
        let ticket = self.submit(body)?;
        self.answer(ticket).await
    }

    /// Queues a command without waiting; it is sent with the next wait. Answers come in the order of the commands.
    ///
    /// # Errors
    /// [`Error::Encode`], or [`Error::Bye`] once the server has said goodbye.
    pub fn submit(&mut self, body: CommandBody) -> Result<Ticket, Error> {
        self.begin()?;
        self.core.submit(body)
    }

    /// Waits for the answer to a command that was queued.
    ///
    /// # Errors
    /// What may end the connection.
    pub async fn answer(&mut self, ticket: Ticket) -> Result<Answer, Error> {
        loop {
            if let Some(answer) = self.core.take_answer(ticket) {
                return Ok(answer);
            }
            self.alive()?;
            let step = timeout(self.patience, self.step());
            step.await.map_err(|_| Error::TimedOut)??;
        }
    }

    /// Sends what is queued without waiting for an answer.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn flush(&mut self) -> Result<(), Error> {
        self.gather()?;
        self.stream.write_all(&self.unsent).await?;
        self.unsent.clear();
        self.stream.flush().await?;
        Ok(())
    }

    /// Before a command: an IDLE that was left is ended, and what came with it comes with the command's answer.
    fn begin(&mut self) -> Result<(), Error> {
        self.alive()?;
        if let Some(ticket) = self.end_idle() {
            self.core.leave(ticket);
        }
        Ok(())
    }

    /// Whether commands can be sent.
    fn alive(&self) -> Result<(), Error> {
        self.not_gone()?;
        match self.core.lacks() {
            Some(left) => Err(Error::Unfinished(left)),
            None => Ok(()),
        }
    }

    fn not_gone(&self) -> Result<(), Error> {
        match self.core.bye() {
            Some(text) => Err(Error::Bye(text.to_owned())),
            None => Ok(()),
        }
    }

    /// Makes what the core wants to say ready to be sent.
    fn gather(&mut self) -> Result<(), Error> {
        let mut octets = self.core.take_output();
        self.record.keep(true, &octets);
        match &mut self.deflate {
            Some(deflate) if !octets.is_empty() => deflate.pack(&octets, &mut self.unsent)?,
            _ => self.unsent.append(&mut octets),
        }
        Ok(())
    }

    async fn step(&mut self) -> Result<(), Error> {
        if self.inbox.is_empty() {
            self.turn(Until::Received).await?;
        }
        while self.take_piece()? {
            // Whoever wanted one has gone.
            self.core.end_bodies();
        }
        Ok(())
    }

    /// Gives the core what was received, at most a piece of bounded size; whether there was anything.
    fn take_piece(&mut self) -> Result<bool, Error> {
        let octets = match &mut self.deflate {
            Some(deflate) => deflate.unpack(&mut self.inbox)?,
            None => std::mem::take(&mut self.inbox),
        };
        self.record.keep(false, &octets);
        self.core.receive(&octets)?;
        Ok(!octets.is_empty())
    }

    /// Writes and reads, whichever is possible first, so that a long pipeline cannot stand still on both sides.
    async fn turn(&mut self, until: Until) -> Result<(), Error> {
        self.gather()?;
        let mut buffer = vec![0; READ_BYTES];
        let (mut read, mut write) = tokio::io::split(&mut self.stream);
        let unsent = &mut self.unsent;
        let sending = async {
            while !unsent.is_empty() {
                let count = write.write(unsent).await?;
                if count == 0 {
                    return Err(std::io::ErrorKind::WriteZero.into());
                }
                unsent.drain(..count);
            }
            write.flush().await
        };
        let receiving = read.read(&mut buffer);
        let mut sending = std::pin::pin!(sending);
        let mut receiving = std::pin::pin!(receiving);
        let mut sent = false;
        // Biased towards sending: an answer comes only to what was sent.
        let received = std::future::poll_fn(|context| {
            if !sent && let Poll::Ready(done) = sending.as_mut().poll(context) {
                sent = true;
                if let Err(error) = done {
                    return Poll::Ready(Err(error));
                }
            }
            match receiving.as_mut().poll(context) {
                Poll::Pending if sent && until == Until::Sent => Poll::Ready(Ok(None)),
                polled => polled.map_ok(Some),
            }
        })
        .await?;
        let Some(received) = received else { return Ok(()) };
        if received == 0 {
            let ended = std::io::Error::new(
                std::io::ErrorKind::UnexpectedEof,
                "the server closed the connection",
            );
            self.not_gone()?;
            return Err(ended.into());
        }
        buffer.truncate(received);
        self.inbox.append(&mut buffer);
        Ok(())
    }

    /// Whether the system holds octets of the server's that were not read yet, or the connection has ended.
    ///
    /// A command that was flushed, and of whose answer nothing is here, is in flight.
    #[must_use]
    pub fn has_input(&self) -> bool {
        // Asked of the system, not of tokio, which learns of it only when it looks.
        let socket = self.stream.socket().as_fd().try_clone_to_owned();
        let peeked = socket.and_then(|fd| std::net::TcpStream::from(fd).peek(&mut [0]));
        !self.inbox.is_empty()
            || !matches!(peeked, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
    }

    /// Keeps from now on what is said, and forgets what was kept before.
    pub fn record(&mut self) {
        self.record.begin();
    }

    /// What was said since [`Connection::record`] was called last.
    #[must_use]
    pub fn recorded(&self) -> &[Passage] {
        self.record.passages()
    }

    /// SELECT or EXAMINE without a resync, aware of mod-sequences where the server has them.
    ///
    /// # Errors
    /// As [`Connection::run`].
    pub async fn select(&mut self, mailbox: &str, read_only: bool) -> Result<Answer, Error> {
        let condstore = self.has("CONDSTORE") || self.has("QRESYNC");
        let mailbox = MailboxName(mailbox.to_owned());
        self.run(CommandBody::Select(Select { mailbox, read_only, condstore, qresync: None })).await
    }

    /// Adds a message; answers with APPENDUID where the server has UIDPLUS.
    ///
    /// # Errors
    /// As [`Connection::run`].
    pub async fn append(
        &mut self,
        mailbox: &str,
        flags: &[Flag],
        internal_date: Option<DateTime>,
        octets: &[u8],
    ) -> Result<Answer, Error> {
        let head = AppendHead { first: None, flags: flags.to_vec(), internal_date };
        let ticket = self.submit_append(mailbox, &[NewMessage { head, octets }])?;
        self.answer(ticket).await?.ok()
    }

    /// Queues an APPEND of one message, or of several where the server has MULTIAPPEND.
    ///
    /// # Errors
    /// As [`Connection::submit`].
    pub fn submit_append(
        &mut self,
        mailbox: &str,
        messages: &[NewMessage<'_>],
    ) -> Result<Ticket, Error> {
        self.begin()?;
        self.core.submit_append(mailbox, messages)
    }

    /// IDLE (RFC 2177) until the server says something or the time is over; answers what it said, and how it
    /// ended.
    ///
    /// # Errors
    /// [`Error::Lacks`] without IDLE, and as [`Connection::run`].
    pub async fn idle(&mut self, at_most: Duration) -> Result<Answer, Error> {
        self.idle_until(tokio::time::sleep(at_most)).await
    }

    /// IDLE as [`Connection::idle`] does it, until the server says something or `wake` is over.
    ///
    /// # Errors
    /// As [`Connection::idle`].
    pub async fn idle_until(&mut self, wake: impl Future<Output = ()>) -> Result<Answer, Error> {
        if !self.has("IDLE") {
            return Err(Error::Lacks("IDLE"));
        }
        let ticket = self.submit(CommandBody::Idle)?;
        self.idling = Some(ticket);
        // What came before counts: it is not said again. All of it stays where it is until the end, so that nothing is
        // lost with a future that is dropped.
        let listening = async {
            while !self.core.has_untagged() {
                self.alive()?;
                self.step().await?;
            }
            Ok::<(), Error>(())
        };
        {
            let mut listening = std::pin::pin!(listening);
            let mut wake = std::pin::pin!(wake);
            std::future::poll_fn(|context| match listening.as_mut().poll(context) {
                Poll::Pending => wake.as_mut().poll(context).map(Ok),
                ready => ready,
            })
            .await?;
        }
        self.end_idle();
        self.answer(ticket).await?.ok()
    }

    /// Says DONE if it is due.
    fn end_idle(&mut self) -> Option<Ticket> {
        let ticket = self.idling.take()?;
        // A server that has not said + yet takes DONE all the same.
        self.core.take_continuation();
        self.core.submit_line(b"DONE");
        Some(ticket)
    }

    /// Says LOGOUT and closes.
    pub async fn close(mut self) {
        if let Ok(ticket) = self.submit(CommandBody::Logout) {
            let _ = timeout(Duration::from_secs(2), self.answer(ticket)).await;
        }
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Connection(secure: {}, {:?})", self.secure, self.core)
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Password { user, .. } => write!(f, "Password({user}, …)"),
            Self::Token { user, .. } => write!(f, "Token({user}, …)"),
            Self::None => f.write_str("None"),
        }
    }
}
