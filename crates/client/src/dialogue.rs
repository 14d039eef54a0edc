//! Dialogues: files that say what a client sends and what a server is to answer, and their player.
//!
//! [`dialogues`] reads a file, [`play`] plays one dialogue at a [`Place`]: a server on the network, made usable
//! by [`Scratch`], or one in this process. docs/replay.md describes the dialect.
//!
//! # Invariants
//! - Neither a file nor a server makes it panic: what is wrong is told with its file and line.
//! - It waits only as long as the [`Wire`] does, and hears no more than ten thousand lines at a time.

mod block;
mod cite;
mod names;
mod needs;
mod octets;
mod pattern;
mod play;
mod remote;
mod script;
mod wire;
mod words;

pub use cite::{Cite, cites, ids};
pub use needs::Offer;
pub use octets::line_octets;
pub use play::play;
pub use remote::Scratch;
pub use script::{Dialogue, ScriptError, Sent, Step, dialogues};
pub use wire::{Door, Stop};

use std::fmt;

/// Untagged lines that are heard in one answer.
const LINES_MAX: usize = 10_000;

/// A connection to whatever is being tested.
pub trait Wire {
    /// Sends octets.
    fn send(&mut self, octets: &[u8]);
    /// The next line that has come, literals included, without its CRLF; `None` when nothing more comes.
    fn line(&mut self) -> Option<String>;
    /// Whether the server has ended the connection, as far as is known.
    fn closed(&mut self) -> bool;
}

/// Where connections come from.
pub trait Place {
    /// A new connection, its greeting not read yet.
    ///
    /// # Errors
    /// With the reason.
    fn connect(&mut self) -> Result<Box<dyn Wire>, String>;
    /// Who logs in, with which password.
    fn user(&self) -> (String, String);
    /// The name that stands for this mailbox there.
    fn mailbox(&self, name: &str) -> String;
    /// What scratch mailboxes' names begin with there.
    fn prefix(&self) -> String {
        String::new()
    }
    /// Does what an administrator does.
    ///
    /// # Errors
    /// When nobody administers this server, or the words mean nothing.
    fn administer(&mut self, words: &[&str]) -> Result<(), String> {
        Err(format!("nobody administers this server: {}", words.join(" ")))
    }
}

/// What a server's answers are measured by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Measure {
    /// What Highwater promises: exactly what is written down.
    Ours,
    /// What the RFCs demand: what they leave open is not held against a server (docs/replay.md lists it).
    Rfc,
}

/// A dialogue that did not hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// The file.
    pub file: String,
    /// The line of the step.
    pub line: usize,
    /// The dialogue.
    pub title: String,
    /// What is wrong.
    pub why: String,
    /// The mailboxes and messages that it begins with could not be made: nothing was found out.
    pub fixture: bool,
    /// What was sent last on that connection.
    pub sent: Vec<String>,
    /// What was expected.
    pub expected: Vec<String>,
    /// What came.
    pub came: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}\n  {}", self.file, self.line, self.title, on_one_line(&self.why))?;
        for (head, lines) in
            [("sent", &self.sent), ("expected", &self.expected), ("came", &self.came)]
        {
            for line in lines {
                write!(f, "\n  {head:>8}  {}", on_one_line(line))?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

/// The text with its control characters written out.
fn on_one_line(text: &str) -> String {
    let written = |c: char| match c {
        '\r' => "\\r".into(),
        '\n' => "\\n".into(),
        c if c.is_control() => c.escape_unicode().to_string(),
        c => c.to_string(),
    };
    text.chars().map(written).collect()
}

/// Logs in with LOGIN.
///
/// # Errors
/// With what the server said.
pub fn log_in(wire: &mut dyn Wire, user: &str, password: &str) -> Result<(), String> {
    wire.send(format!("login LOGIN {} {}\r\n", quoted(user), quoted(password)).as_bytes());
    answered(wire, "login").map(drop)
}

/// A quoted string (RFC 3501 §9).
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Reads up to the tagged answer; the lines before it when that is OK.
fn answered(wire: &mut dyn Wire, tag: &str) -> Result<Vec<String>, String> {
    let mut lines = Vec::new();
    while lines.len() < LINES_MAX {
        let line = wire.line().ok_or_else(|| format!("no answer to {tag}"))?;
        match line.strip_prefix(tag).and_then(|rest| rest.strip_prefix(' ')) {
            Some(rest) if rest.starts_with("OK") => return Ok(lines),
            Some(_) => return Err(line),
            None => lines.push(line),
        }
    }
    Err(format!("no end of the answer to {tag}"))
}
