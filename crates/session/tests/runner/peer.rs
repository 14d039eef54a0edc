//! A server of our own binary, over plain TCP, started for each dialogue.

use client::dialogue::{Door, Place, Stop, Wire};
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A server of our own binary, started for one dialogue and ended after it.
pub(crate) struct Spawned {
    child: Child,
    door: Door,
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
        Self { child, door: door(address) }
    }
}

/// The plain way to an address on loopback.
pub(crate) fn door(address: &str) -> Door {
    let place = format!("imap://{address}").parse().expect("PEER is no address");
    Door { place, tls: None, insecure: false, patience: Duration::from_secs(5) }
}

impl Drop for Spawned {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Place for Spawned {
    fn connect(&mut self) -> Result<Box<dyn Wire>, String> {
        self.door.connect(&Stop::default())
    }

    fn user(&self) -> (String, String) {
        ("alex".into(), "secret".into())
    }

    fn mailbox(&self, name: &str) -> String {
        name.to_owned()
    }
}
