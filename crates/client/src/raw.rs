//! A connection that parses nothing: octets go out as they are given, responses come back cut apart.
//!
//! For whoever measures a server, and must cost less than it does. [`Connection`](crate::Connection) is for all others.
//!
//! # Invariants
//! - A response is handed over whole, with its literals, or not at all.
//! - Nothing that a server sends makes this hold more than [`RESPONSE_BYTES_MAX`] and one read.
//! - A password may leave only through TLS or to this very machine, unless the options say otherwise.
//!
//! # Standards
//! RFC 3501 §2.2 (lines and literals), RFC 8314 (TLS).

use crate::connection::{Options, Stream};
use crate::error::Error;
use crate::place::Place;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The longest response that is taken, its literals counted.
pub const RESPONSE_BYTES_MAX: usize = 256 * 1024 * 1024;
const READ_BYTES: usize = 256 * 1024;
/// The longest number of a literal's length.
const DIGITS_MAX: usize = 10;

/// See the module.
pub struct Raw {
    stream: Box<dyn Stream>,
    input: Vec<u8>,
    /// Where in `input` the next response begins.
    at: usize,
    patience: Duration,
    received: u64,
    sent: u64,
}

impl Raw {
    /// Connects, with TLS for `imaps` and without for `imap`; the greeting is the first response.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Tls`], [`Error::TimedOut`], and [`Error::Lacks`] when a password would leave this
    /// machine without TLS.
    pub async fn open(place: &Place, options: &Options) -> Result<Self, Error> {
        if !(place.implicit_tls || place.is_here() || options.insecure) {
            return Err(Error::Lacks("TLS, without which no password is sent: name it imaps://"));
        }
        let reaching = timeout(options.patience, reach(place, options));
        let stream = reaching.await.map_err(|_| Error::TimedOut)??;
        let patience = options.patience;
        Ok(Self { stream, input: Vec::new(), at: 0, patience, received: 0, sent: 0 })
    }

    /// Sends these octets.
    ///
    /// # Errors
    /// [`Error::Io`], and [`Error::TimedOut`] when the server does not take them.
    pub async fn send(&mut self, octets: &[u8]) -> Result<(), Error> {
        let sending = async {
            self.stream.write_all(octets).await?;
            self.stream.flush().await
        };
        timeout(self.patience, sending).await.map_err(|_| Error::TimedOut)??;
        self.sent = self.sent.saturating_add(octets.len() as u64);
        Ok(())
    }

    /// The next response, its literals included, without the CRLF at its end.
    ///
    /// # Errors
    /// [`Error::Io`] when the connection ends, [`Error::TimedOut`], and [`Error::Protocol`] when there is no end.
    pub async fn response(&mut self) -> Result<&[u8], Error> {
        self.forget();
        let begin = self.at;
        let mut looked = begin;
        let end = loop {
            let rest = self.input.get(looked..).unwrap_or_default();
            let Some(found) = memchr::memchr(b'\n', rest) else {
                looked = self.input.len().max(looked);
                self.read(begin).await?;
                continue;
            };
            let end = looked + found + 1;
            match literal(self.input.get(looked..end).unwrap_or_default()) {
                None => break end,
                Some(size) => {
                    looked = end.saturating_add(size);
                    if looked - begin > RESPONSE_BYTES_MAX {
                        return Err(too_long());
                    }
                    while self.input.len() < looked {
                        self.read(begin).await?;
                    }
                }
            }
        };
        self.at = end;
        let line = self.input.get(begin..end).unwrap_or_default();
        Ok(line.strip_suffix(b"\r\n").or(line.strip_suffix(b"\n")).unwrap_or(line))
    }

    /// How long the server may be silent from now on.
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Octets of IMAP that were received.
    #[must_use]
    pub fn octets_received(&self) -> u64 {
        self.received
    }

    /// Octets of IMAP that were sent.
    #[must_use]
    pub fn octets_sent(&self) -> u64 {
        self.sent
    }

    /// Gives back the room of responses that were handed over.
    fn forget(&mut self) {
        if self.at == self.input.len() {
            self.input.clear();
            self.at = 0;
        } else if self.at >= READ_BYTES {
            self.input.drain(..self.at);
            self.at = 0;
        }
    }

    async fn read(&mut self, begin: usize) -> Result<(), Error> {
        if self.input.len() - begin > RESPONSE_BYTES_MAX {
            return Err(too_long());
        }
        // An idle connection is to hold little: it begins small.
        let room = if self.input.is_empty() { 4096 } else { READ_BYTES };
        if self.input.capacity() - self.input.len() < 1024 {
            self.input.reserve(room);
        }
        let reading = self.stream.read_buf(&mut self.input);
        let count = timeout(self.patience, reading).await.map_err(|_| Error::TimedOut)??;
        if count == 0 {
            let ended = "the server closed the connection";
            return Err(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, ended).into());
        }
        self.received = self.received.saturating_add(count as u64);
        Ok(())
    }
}

async fn reach(place: &Place, options: &Options) -> Result<Box<dyn Stream>, Error> {
    let tcp = TcpStream::connect((place.host.as_str(), place.port)).await?;
    tcp.set_nodelay(true)?;
    if !place.implicit_tls {
        return Ok(Box::new(tcp));
    }
    let tls = options.tls.as_ref().ok_or(Error::Lacks("a TLS configuration"))?;
    Ok(Box::new(tls.connect(&place.host, tcp).await?))
}

fn too_long() -> Error {
    Error::Protocol(format!("a response is longer than {RESPONSE_BYTES_MAX} octets"))
}

/// The length of the literal that this line announces at its end.
fn literal(line: &[u8]) -> Option<usize> {
    let inside = line.strip_suffix(b"}\r\n")?;
    let tail = inside.get(inside.len().saturating_sub(DIGITS_MAX + 1)..)?;
    let open = tail.iter().rposition(|octet| *octet == b'{')?;
    std::str::from_utf8(tail.get(open + 1..)?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    /// A connection whose server has sent these pieces and closed it.
    async fn fed(octets: &'static [u8]) -> Raw {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place = format!("imap://{}/", listener.local_addr().unwrap()).parse().unwrap();
        let options = Options::new(None);
        let serve = async {
            let (mut socket, _) = listener.accept().await.unwrap();
            socket.write_all(octets).await.unwrap();
        };
        let (raw, ()) = tokio::join!(Raw::open(&place, &options), serve);
        raw.unwrap()
    }

    #[tokio::test]
    async fn responses_are_cut_apart_and_literals_stay_inside() {
        const SENT: &[u8] =
            b"* OK hi\r\n* 1 FETCH (BODY[] {5}\r\na\r\nb\n X {0}\r\n)\r\nt OK {x}\r\n";
        let mut raw = fed(SENT).await;
        assert_eq!(raw.response().await.unwrap(), b"* OK hi");
        let fetch = b"* 1 FETCH (BODY[] {5}\r\na\r\nb\n X {0}\r\n)";
        assert_eq!(raw.response().await.unwrap(), fetch);
        assert_eq!(raw.response().await.unwrap(), b"t OK {x}");
        assert!(matches!(raw.response().await, Err(Error::Io(_))));
        assert_eq!(raw.octets_received(), SENT.len() as u64);
    }

    #[tokio::test]
    async fn a_literal_that_is_cut_off_or_too_long_is_no_response() {
        let mut raw = fed(b"* 1 FETCH (BODY[] {50}\r\nabc").await;
        assert!(matches!(raw.response().await, Err(Error::Io(_))));
        let mut raw = fed(b"* 1 FETCH (BODY[] {4294967295}\r\nabc").await;
        assert!(matches!(raw.response().await, Err(Error::Protocol(_))));
    }
}
