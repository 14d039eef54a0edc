//! Connections over TCP, with TLS and without, that block: a dialogue is played in order.
//!
//! # Invariants
//! - A password leaves only through TLS, or to this very machine, or when it is asked for all the same.
//! - No wait is longer than the patience, and [`Stop`] ends each within a quarter of a second.

use super::{Wire, answered, line_octets};
use crate::place::Place;
use crate::tls::Tls;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long one read lasts at most.
const GLANCE: Duration = Duration::from_millis(250);
const READ_BYTES: usize = 16 * 1024;
/// A line that is longer, its literals included, ends the connection.
const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Asks everybody who waits to give up.
#[derive(Clone, Default, Debug)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// From now on nobody waits any more.
    pub fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it was asked for.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// How to connect to a server.
#[derive(Clone, Debug)]
pub struct Door {
    /// Where it is.
    pub place: Place,
    /// Whom to trust; with `imaps`, or where STARTTLS is offered.
    pub tls: Option<Tls>,
    /// Send a password without TLS to another machine.
    pub insecure: bool,
    /// How long the server may be silent.
    pub patience: Duration,
}

impl Door {
    /// A new connection; its greeting is the first line.
    ///
    /// # Errors
    /// With the reason when there is none, or none that a password may be sent through.
    pub fn connect(&self, stop: &Stop) -> Result<Box<dyn Wire>, String> {
        Ok(Box::new(self.open(stop)?))
    }

    fn open(&self, stop: &Stop) -> Result<Tcp, String> {
        let tcp = self.reach()?;
        if self.place.implicit_tls {
            return self.secured(tcp, stop);
        }
        let raw = tcp.try_clone().map_err(|error| error.to_string())?;
        let mut wire = Tcp::new(Box::new(tcp), self.patience, stop);
        let greeting = wire.line().ok_or("no greeting")?;
        wire.send(b"tls CAPABILITY\r\n");
        let listed = answered(&mut wire, "tls")?.join(" ").to_ascii_uppercase();
        let offered = listed.split(' ').any(|name| name == "STARTTLS");
        if offered && self.tls.is_some() {
            wire.send(b"tls STARTTLS\r\n");
            answered(&mut wire, "tls")?;
            if !wire.buffer.is_empty() {
                return Err("something was said between STARTTLS and TLS".into());
            }
            wire = self.secured(raw, stop)?;
        } else if !(self.insecure || self.place.is_here()) {
            return Err("the server offers no TLS, and no password is sent without".into());
        }
        wire.buffer.splice(0..0, format!("{greeting}\r\n").into_bytes());
        Ok(wire)
    }

    fn reach(&self) -> Result<TcpStream, String> {
        let (host, port) = (self.place.host.as_str(), self.place.port);
        let mut why = String::from("no address");
        let found = (host, port).to_socket_addrs().map_err(|error| format!("{host}: {error}"))?;
        for address in found {
            match TcpStream::connect_timeout(&address, self.patience) {
                Ok(tcp) => {
                    let ready = tcp
                        .set_nodelay(true)
                        .and_then(|()| tcp.set_read_timeout(Some(GLANCE)))
                        .and_then(|()| tcp.set_write_timeout(Some(self.patience)));
                    return ready.map(|()| tcp).map_err(|error| error.to_string());
                }
                Err(error) => why = error.to_string(),
            }
        }
        Err(format!("{host}:{port}: {why}"))
    }

    fn secured(&self, tcp: TcpStream, stop: &Stop) -> Result<Tcp, String> {
        let tls = self.tls.as_ref().ok_or("there is no TLS configuration")?;
        let mut stream = tls.over(&self.place.host, tcp).map_err(|error| error.to_string())?;
        let begun = Instant::now();
        while stream.conn.is_handshaking() {
            let Err(error) = stream.conn.complete_io(&mut stream.sock) else { continue };
            let patient = begun.elapsed() < self.patience && !stop.is_stopped();
            if !(is_only_late(&error) && patient) {
                return Err(format!(
                    "TLS: {error}; a certificate of one's own can be named instead"
                ));
            }
        }
        Ok(Tcp::new(Box::new(stream), self.patience, stop))
    }
}

/// Whether to try again.
fn is_only_late(error: &std::io::Error) -> bool {
    let later = [ErrorKind::WouldBlock, ErrorKind::TimedOut, ErrorKind::Interrupted];
    later.contains(&error.kind())
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// A connection.
struct Tcp {
    stream: Box<dyn Stream>,
    buffer: Vec<u8>,
    closed: bool,
    patience: Duration,
    stop: Stop,
}

impl Tcp {
    fn new(stream: Box<dyn Stream>, patience: Duration, stop: &Stop) -> Self {
        Self { stream, buffer: Vec::new(), closed: false, patience, stop: stop.clone() }
    }

    /// Reads once; whether to try again.
    fn read(&mut self) -> bool {
        let mut octets = vec![0; READ_BYTES];
        match self.stream.read(&mut octets) {
            Ok(0) => self.closed = true,
            Ok(count) => self.buffer.extend_from_slice(octets.get(..count).unwrap_or_default()),
            Err(error) => {
                let later = [ErrorKind::WouldBlock, ErrorKind::TimedOut, ErrorKind::Interrupted];
                self.closed = !later.contains(&error.kind());
            }
        }
        !self.closed
    }
}

impl Wire for Tcp {
    fn send(&mut self, octets: &[u8]) {
        // A server that has closed the connection is found out when reading.
        let _ = self.stream.write_all(octets).and_then(|()| self.stream.flush());
    }

    fn line(&mut self) -> Option<String> {
        let begun = Instant::now();
        loop {
            if let Some(octets) = line_octets(&self.buffer).filter(|n| *n <= self.buffer.len()) {
                let line: Vec<u8> = self.buffer.drain(..octets).collect();
                let text = String::from_utf8_lossy(&line).into_owned();
                return Some(text.trim_end_matches(['\r', '\n']).to_owned());
            }
            let patient = begun.elapsed() < self.patience && !self.stop.is_stopped();
            self.closed |= self.buffer.len() > LINE_BYTES_MAX;
            if !(patient && !self.closed && self.read()) {
                return None;
            }
        }
    }

    fn closed(&mut self) -> bool {
        if !self.closed {
            let _ = self.line();
        }
        self.closed
    }
}
