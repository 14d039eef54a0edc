//! The configuration file `highwater.toml`: every key, its default, and errors that name file and line.
//!
//! # Invariants
//! - An unknown key is an error, never ignored.
//! - `docs/highwater.toml` names every key with its default; a test reads it and compares.

mod value;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

pub(crate) use value::{Count, Keep, ListenAddress, Network, Octets, Time};

use crate::place::Location;

/// The whole file.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// Where mail is kept.
    pub(crate) store: Store,
    /// What is remembered of what is gone.
    pub(crate) history: History,
    /// Where clients come in.
    pub(crate) listen: Listen,
    /// The certificate.
    pub(crate) tls: Tls,
    /// How much of anything.
    pub(crate) limits: Limits,
    /// What is offered.
    pub(crate) imap: Imap,
    /// Metrics and health.
    pub(crate) http: Http,
    /// What is logged.
    pub(crate) log: Log,
}

/// `[store]`
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Store {
    /// A directory, or a PostgreSQL database; all other keys are about the latter.
    pub(crate) location: Option<Location>,
    /// The directory of this node.
    pub(crate) data: Option<PathBuf>,
    /// A file whose first line is the password.
    pub(crate) password_file: Option<PathBuf>,
    /// Where message bodies are, if not in the database.
    pub(crate) bodies: Option<String>,
    /// There is no standby.
    pub(crate) single_database: bool,
    /// What was acknowledged may be lost.
    pub(crate) allow_data_loss: bool,
    /// Connections that write.
    pub(crate) writers: Count,
    /// Connections that read.
    pub(crate) readers: Count,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            location: None,
            data: None,
            password_file: None,
            bodies: None,
            single_database: false,
            allow_data_loss: false,
            writers: Count(4),
            readers: Count(4),
        }
    }
}

/// `[history]`
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct History {
    /// How long it is remembered which messages were expunged.
    pub(crate) keep: Keep,
}

/// `[listen]`: an address or a list of addresses for each protocol.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Listen {
    /// IMAP with STARTTLS.
    pub(crate) imap: Vec<ListenAddress>,
    /// IMAP over TLS from the first octet.
    pub(crate) imaps: Vec<ListenAddress>,
    /// LMTP, for the mail server that hands mail over.
    pub(crate) lmtp: Vec<ListenAddress>,
    /// Load balancers, whose connections begin with a PROXY header.
    pub(crate) balancers: Vec<Network>,
}

impl Default for Listen {
    fn default() -> Self {
        let local = |port| vec![ListenAddress::Tcp(([127, 0, 0, 1], port).into())];
        Self { imap: local(1143), imaps: local(1993), lmtp: local(1024), balancers: Vec::new() }
    }
}

/// `[tls]`: both or neither.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Tls {
    /// The chain in PEM, the server's own certificate first.
    pub(crate) certificate: Option<PathBuf>,
    /// The private key in PEM.
    pub(crate) key: Option<PathBuf>,
}

/// `[limits]`
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Limits {
    /// Connections of all kinds at once.
    pub(crate) connections: Count,
    /// Connections from one address at once; loopback is not counted.
    pub(crate) connections_per_address: Count,
    /// IMAP connections logged in to one account at once.
    pub(crate) connections_per_account: Count,
    /// From the greeting to a login.
    pub(crate) time_before_login: Time,
    /// Without a command, after login (RFC 3501 §5.4: at least 30 minutes).
    pub(crate) time_idle: Time,
    /// For a client to take what it is sent.
    pub(crate) time_to_write: Time,
    /// For running commands to finish when the server stops.
    pub(crate) time_to_stop: Time,
    /// The text of one command.
    pub(crate) line: Octets,
    /// One literal that is not a message.
    pub(crate) literal: Octets,
    /// A command's text with its literals.
    pub(crate) command: Octets,
    /// A message, by APPEND, LMTP or import.
    pub(crate) message: Octets,
    /// Recipients of one LMTP transaction.
    pub(crate) recipients: Count,
    /// Memory for what is remembered of messages that were searched.
    pub(crate) search_memory: Octets,
    /// Passwords being checked at once; each takes some 30 ms of a processor.
    pub(crate) password_checks: Count,
}

impl Default for Limits {
    fn default() -> Self {
        let seconds = |n| Time(Duration::from_secs(n));
        Self {
            connections: Count(4096),
            connections_per_address: Count(64),
            connections_per_account: Count(64),
            time_before_login: seconds(60),
            time_idle: seconds(30 * 60),
            time_to_write: seconds(60),
            time_to_stop: seconds(10),
            line: Octets(64 << 10),
            literal: Octets(64 << 10),
            command: Octets(256 << 10),
            message: Octets(100 << 20),
            recipients: Count(100),
            search_memory: Octets(128 << 20),
            password_checks: Count(4),
        }
    }
}

/// `[imap]`
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Imap {
    /// Capabilities that are not offered.
    pub(crate) without: Vec<String>,
}

/// `[http]`
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Http {
    /// Where `/metrics`, `/live` and `/ready` are served; off when absent.
    pub(crate) listen: Option<ListenAddress>,
    /// Whether an address that is not loopback is meant so.
    pub(crate) allow_remote: bool,
}

/// `[log]`
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Log {
    /// The least level that is written.
    pub(crate) level: Level,
}

/// A log level.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    /// What stopped working.
    Error,
    /// And what may need care.
    Warn,
    /// And what the server does.
    #[default]
    Info,
    /// And each connection.
    Debug,
}

/// What is wrong with a configuration file, and where.
#[derive(Debug)]
pub(crate) struct ConfigError {
    file: PathBuf,
    line: Option<usize>,
    what: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.what)
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Reads the file.
    ///
    /// # Errors
    /// When it cannot be read, an unknown key stands in it, or a value is not what it must be.
    pub(crate) fn read(file: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(file).map_err(|error| ConfigError {
            file: file.into(),
            line: None,
            what: format!("cannot be read: {error}"),
        })?;
        Self::parse(file, &text)
    }

    fn parse(file: &Path, text: &str) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text).map_err(|error| ConfigError {
            file: file.into(),
            line: error.span().map(|span| line_of(text, span.start)),
            what: error.message().trim().replace('\n', ", "),
        })?;
        config.check().map_err(|(key, what)| ConfigError {
            file: file.into(),
            line: text
                .lines()
                .position(|line| line.trim_start().starts_with(key))
                .map(|index| index + 1),
            what,
        })?;
        Ok(config)
    }

    /// What one value cannot tell alone: the key to blame, and why.
    fn check(&self) -> Result<(), (&'static str, String)> {
        match (&self.tls.certificate, &self.tls.key) {
            (Some(_), None) => {
                return Err(("certificate", "a certificate needs its key: set tls.key too".into()));
            }
            (None, Some(_)) => {
                return Err(("key", "a key needs its certificate: set tls.certificate too".into()));
            }
            _ => {}
        }
        if self.store.single_database && self.store.allow_data_loss {
            let why = "single_database and allow_data_loss are different promises: choose one";
            return Err(("allow_data_loss", why.into()));
        }
        let tcp_only = [("imap ", &self.listen.imap), ("imaps ", &self.listen.imaps)];
        for (key, addresses) in tcp_only {
            if addresses.iter().any(|address| matches!(address, ListenAddress::Unix(_))) {
                return Err((key, "only lmtp can listen on a unix socket: use IP:PORT".into()));
            }
        }
        match &self.http.listen {
            Some(ListenAddress::Unix(_)) => {
                Err(("listen ", "http.listen cannot be a unix socket: use IP:PORT".into()))
            }
            Some(ListenAddress::Tcp(address))
                if !address.ip().is_loopback() && !self.http.allow_remote =>
            {
                Err((
                    "listen ",
                    format!(
                        "http.listen = {address} is open to other machines: \
                         set http.allow_remote = true if that is meant"
                    ),
                ))
            }
            _ => Ok(()),
        }
    }
}

fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes().iter().take(at).filter(|&&octet| octet == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(Path::new("highwater.toml"), text).map_err(|error| error.to_string())
    }

    #[test]
    fn the_commented_example_says_every_default() {
        let example = include_str!("../../../docs/highwater.toml");
        assert_eq!(parse(example), Ok(Config::default()));
        let commented: String = example
            .lines()
            .map(|line| line.strip_prefix("#= ").unwrap_or(line))
            .fold(String::new(), |text, line| text + line + "\n");
        let all = parse(&commented).unwrap();
        assert!(all.store.data.is_some() && all.store.password_file.is_some());
        assert!(all.store.location.is_some() && all.tls.key.is_some() && all.http.listen.is_some());
    }

    #[test]
    fn an_unknown_key_is_an_error_with_its_line() {
        let error = parse("[limits]\nline = 5\nlins = 6\n").unwrap_err();
        assert!(error.starts_with("highwater.toml:3: unknown field `lins`, expected"), "{error}");
    }

    #[test]
    fn a_bad_value_is_an_error_with_its_line() {
        for (text, line, word) in [
            ("\n[listen]\nimap = [\"localhost\"]\n", 3, "IP:PORT"),
            ("[limits]\ntime_idle = \"5\"\n", 2, "min"),
            ("[history]\nkeep = \"0 days\"\n", 2, "forever"),
            ("[limits]\n\nconnections = 0\n", 3, "from 1 up"),
            ("[http]\nlisten = \"0.0.0.0:80\"\n", 2, "allow_remote"),
            ("[listen]\nbalancers = [\"10.0.0.0/33\"]\n", 2, "IP/PREFIX"),
            ("[tls]\ncertificate = \"x\"\n", 2, "tls.key"),
            ("[store]\nsingle_database = true\nallow_data_loss = true\n", 3, "choose one"),
            ("[store\n", 1, ""),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.starts_with(&format!("highwater.toml:{line}: ")), "{error}");
            assert!(error.contains(word), "{error}");
        }
    }
}
