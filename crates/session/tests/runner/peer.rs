//! Another server, over plain TCP: one that somebody runs, or a binary that is started for each dialogue.

use super::{Place, Wire};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A server that somebody else runs.
pub(crate) struct Remote {
    address: String,
    prefix: String,
}

impl Remote {
    pub(crate) fn new(address: &str) -> Self {
        use std::sync::atomic::{AtomicU64, Ordering};
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        Self { address: address.to_owned(), prefix: format!("t{}-{n}-", now.as_nanos()) }
    }
}

impl Place for Remote {
    fn connect(&mut self) -> Box<dyn Wire> {
        connect(&self.address)
    }

    fn user(&self) -> (String, String) {
        let get = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
        (get("USER"), get("PASS"))
    }

    fn mailbox(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}

/// A server of our own binary, started for one dialogue and ended after it.
pub(crate) struct Spawned {
    child: Child,
    address: String,
}

impl Spawned {
    /// Starts the binary at this path and waits until it listens.
    pub(crate) fn new(binary: &str, without: &[String]) -> Self {
        let mut command = Command::new(binary);
        command.args(["serve", "--ephemeral", "--account", "alex:secret", "--exit-with-parent"]);
        command.args(without.iter().flat_map(|name| ["--without", name]));
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("PEER cannot be started");
        let said = BufReader::new(child.stdout.take().unwrap());
        let ready = said.lines().map_while(Result::ok).find(|line| line.starts_with("ready "));
        let ready = ready.expect("PEER ended before it was ready");
        let address = ready.split_whitespace().find_map(|word| word.strip_prefix("imap=")).unwrap();
        Self { child, address: address.to_owned() }
    }
}

impl Drop for Spawned {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Place for Spawned {
    fn connect(&mut self) -> Box<dyn Wire> {
        connect(&self.address)
    }

    fn user(&self) -> (String, String) {
        ("alex".into(), "secret".into())
    }

    fn mailbox(&self, name: &str) -> String {
        name.to_owned()
    }
}

fn connect(address: &str) -> Box<dyn Wire> {
    let stream = TcpStream::connect(address).expect("PEER cannot be reached");
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    Box::new(Tcp { reader: BufReader::new(stream), closed: false })
}

struct Tcp {
    reader: BufReader<TcpStream>,
    closed: bool,
}

impl Wire for Tcp {
    fn send(&mut self, octets: &[u8]) {
        // A server that has closed the connection is found out when reading.
        let _ = self.reader.get_mut().write_all(octets);
    }

    fn line(&mut self) -> Option<String> {
        let mut out = Vec::new();
        loop {
            match self.reader.read_until(b'\n', &mut out) {
                Ok(0) => {
                    self.closed = true;
                    return None;
                }
                Ok(_) => {}
                Err(_) => return None,
            }
            let Some(len) = super::here::literal_at_end(&out) else { break };
            let mut literal = vec![0; len];
            self.reader.read_exact(&mut literal).ok()?;
            out.extend_from_slice(&literal);
        }
        let text = String::from_utf8_lossy(&out).into_owned();
        Some(text.trim_end_matches(['\r', '\n']).to_owned())
    }

    fn closed(&mut self) -> bool {
        if !self.closed {
            let _ = self.line();
        }
        self.closed
    }
}
