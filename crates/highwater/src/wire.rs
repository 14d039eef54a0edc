//! A connection's octets: plain or TLS, read without holding a buffer, written under a time limit.
//!
//! # Invariants
//! - Waiting for a client costs no buffer: octets are read onto the stack and kept only when there are some.
//! - A client that does not take what it is sent is dropped after the time limit; what waits for it is bounded
//!   by the session, which flushes when its buffer has grown.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use session::{Closed, Sink};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// What is read at once at most.
const READ_MAX: usize = 16 * 1024;
/// How long a client is given to close its side.
const TIME_TO_PART: Duration = Duration::from_millis(500);
/// A buffer larger than this is given back once it is empty.
const KEPT_MAX: usize = 4 * 1024;

/// A connection of any kind.
pub(crate) enum Stream {
    /// TCP in clear text.
    Tcp(TcpStream),
    /// TLS over TCP.
    Tls(Box<TlsStream<TcpStream>>),
    /// A unix socket.
    Unix(UnixStream),
    /// Between two states of the connection, or after its end.
    Gone,
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(context, into),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, into),
            Self::Unix(stream) => Pin::new(stream).poll_read(context, into),
            Self::Gone => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(context, octets),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, octets),
            Self::Unix(stream) => Pin::new(stream).poll_write(context, octets),
            Self::Gone => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
            Self::Unix(stream) => Pin::new(stream).poll_flush(context),
            Self::Gone => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Gone => Poll::Ready(Ok(())),
        }
    }
}

/// A connection with what has not been sent yet.
pub(crate) struct Wire {
    stream: Stream,
    out: Vec<u8>,
    time_to_write: Duration,
}

impl Wire {
    /// A connection with nothing to send.
    pub(crate) fn new(stream: Stream, time_to_write: Duration) -> Self {
        Self { stream, out: Vec::new(), time_to_write }
    }

    /// The next octets; none at the end. Holds no buffer while it waits, and loses nothing when dropped.
    pub(crate) async fn read(&mut self) -> io::Result<Vec<u8>> {
        let stream = &mut self.stream;
        poll_fn(move |context| {
            let mut space = [MaybeUninit::uninit(); READ_MAX];
            let mut into = ReadBuf::uninit(&mut space);
            ready!(Pin::new(&mut *stream).poll_read(context, &mut into))?;
            Poll::Ready(Ok(into.filled().to_vec()))
        })
        .await
    }

    /// The client has more to send before it is answered: acknowledge at once what has come.
    ///
    /// A client that writes a literal and its line end in two pieces waits with the second until the first is
    /// acknowledged (RFC 896); the kernel would delay that by 40 ms, having nothing to send with it.
    pub(crate) fn expect_more(&self) {
        let stream = match &self.stream {
            Stream::Tcp(stream) => stream,
            Stream::Tls(stream) => stream.get_ref().0,
            Stream::Unix(_) | Stream::Gone => return,
        };
        if let Err(error) = stream.set_quickack(true) {
            tracing::debug!(%error, "acknowledgements cannot be hurried");
        }
    }

    /// Does the server's half of a TLS handshake; answers the `tls-exporter` channel binding if there is one.
    pub(crate) async fn secure(&mut self, acceptor: &TlsAcceptor) -> io::Result<Option<Vec<u8>>> {
        match std::mem::replace(&mut self.stream, Stream::Gone) {
            Stream::Tcp(stream) => {
                let stream = acceptor.accept(stream).await?;
                let binding = crate::tls::channel_binding(stream.get_ref().1);
                self.stream = Stream::Tls(Box::new(stream));
                Ok(binding)
            }
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Sends what waits and ends the connection.
    ///
    /// What the client still sends is swallowed for a moment: closing with octets unread resets the
    /// connection, and the client would lose our last words.
    pub(crate) async fn finish(mut self) {
        if self.flush().await.is_err() {
            return;
        }
        let end = async {
            self.stream.shutdown().await?;
            while !self.read().await?.is_empty() {}
            io::Result::Ok(())
        };
        if timeout(TIME_TO_PART, end).await.is_err() {
            tracing::debug!("a client did not close its side");
        }
    }
}

impl Sink for Wire {
    fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    async fn flush(&mut self) -> Result<(), Closed> {
        if self.out.is_empty() {
            return Ok(());
        }
        let send = async {
            self.stream.write_all(&self.out).await?;
            self.stream.flush().await
        };
        match timeout(self.time_to_write, send).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(Closed),
            Err(_) => {
                tracing::info!("a client did not take what it was sent and is dropped");
                return Err(Closed);
            }
        }
        self.out.clear();
        if self.out.capacity() > KEPT_MAX {
            self.out = Vec::new();
        }
        Ok(())
    }
}

/// Whether the address is this machine's own.
pub(crate) fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}
