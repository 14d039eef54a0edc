//! Plays a dialogue against sessions in process, or against a server over TCP.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    dead_code,
    reason = "tests fail loudly, and each uses a part of the runner"
)]

pub(crate) mod clock;
pub(crate) mod here;
pub(crate) mod pattern;
pub(crate) mod peer;
pub(crate) mod script;

use pattern::Bound;
use script::{Dialogue, Sent, Step, ends_block};
use std::collections::HashMap;

/// A connection to whatever is being tested.
pub(crate) trait Wire {
    /// Sends octets.
    fn send(&mut self, octets: &[u8]);
    /// The next line that has come, literals included, without its CRLF; `None` when nothing more comes.
    fn line(&mut self) -> Option<String>;
    /// Whether the server has ended the connection, as far as is known.
    fn closed(&mut self) -> bool;
}

/// Where connections come from.
pub(crate) trait Place {
    fn connect(&mut self) -> Box<dyn Wire>;
    fn user(&self) -> (String, String);
    /// The name that stands for this one there.
    fn mailbox(&self, name: &str) -> String;
    /// Does what an administrator does.
    fn administer(&mut self, words: &[&str]) {
        panic!("nobody administers this server: {words:?}");
    }
}

struct Stage {
    place: Box<dyn Place>,
    wires: HashMap<usize, Box<dyn Wire>>,
    bound: Bound,
    names: Vec<(String, String)>,
}

/// Plays one dialogue.
pub(crate) fn run(dialogue: &Dialogue, peer: Option<&str>) -> Result<(), String> {
    let without = dialogue.steps.iter().find_map(|(_, step)| match step {
        Step::Server { without } => Some(without.clone()),
        _ => None,
    });
    let spawned = peer.is_some_and(|peer| peer.starts_with('/'));
    let administered = dialogue.steps.iter().any(|(_, step)| matches!(step, Step::Admin { .. }));
    if peer.is_some() && (administered || without.is_some() && !spawned) {
        return Ok(());
    }
    let place: Box<dyn Place> = match peer {
        Some(binary) if spawned => {
            Box::new(peer::Spawned::new(binary, &without.unwrap_or_default()))
        }
        Some(address) => Box::new(peer::Remote::new(address)),
        None => Box::new(here::Server::new(without.unwrap_or_default())),
    };
    let mut stage = Stage { place, wires: HashMap::new(), bound: Bound::new(), names: Vec::new() };
    for (at, step) in &dialogue.steps {
        stage.play(step).map_err(|why| format!("{} line {at}: {why}", dialogue.title))?;
    }
    Ok(())
}

impl Stage {
    fn play(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Server { .. } => Ok(()),
            Step::Admin { words } => {
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                self.place.administer(&words);
                Ok(())
            }
            Step::Mailbox { name, count } => self.mailbox(name, *count),
            Step::Five { name } => {
                self.mailbox(name, 0)?;
                let there = self.there(name);
                for (n, flags) in ["", "\\Seen", "\\Deleted", "$Work", ""].iter().enumerate() {
                    self.append(&there, flags, "", &message(n + 1))?;
                }
                Ok(())
            }
            Step::Message { name, flags, date, text } => {
                let text = text.clone().unwrap_or_else(|| message(0));
                self.append(&self.there(name), flags, date, &text)
            }
            Step::Connect { connection } => {
                let mut wire = self.place.connect();
                wire.line().ok_or("no greeting")?;
                self.wires.insert(*connection, wire);
                Ok(())
            }
            Step::Send { connection, lines } => self.send(*connection, lines),
            Step::Expect { connection, lines } => self.expect(*connection, lines),
            Step::Assert { left, operator, right } => {
                let value = |text: &str| -> Result<u64, String> {
                    let text = pattern::substitute(text, &self.bound);
                    text.parse().map_err(|_| format!("{text} is no number"))
                };
                let (l, r) = (value(left)?, value(right)?);
                let holds = match operator.as_str() {
                    ">" => l > r,
                    ">=" => l >= r,
                    "<" => l < r,
                    "==" => l == r,
                    "!=" => l != r,
                    other => return Err(format!("{other} is no comparison")),
                };
                if holds { Ok(()) } else { Err(format!("{l} {operator} {r} does not hold")) }
            }
        }
    }

    fn there(&self, name: &str) -> String {
        self.names
            .iter()
            .find(|(from, _)| from == name)
            .map_or_else(|| name.to_owned(), |(_, to)| to.clone())
    }

    /// The connection, logged in when it is new.
    fn wire(&mut self, connection: usize) -> Result<&mut Box<dyn Wire>, String> {
        if !self.wires.contains_key(&connection) {
            let (user, password) = self.place.user();
            let mut wire = self.place.connect();
            wire.line().ok_or("no greeting")?;
            wire.send(format!("login LOGIN {user} {password}\r\n").as_bytes());
            answered(&mut wire, "login")?;
            self.wires.insert(connection, wire);
        }
        Ok(self.wires.get_mut(&connection).unwrap())
    }

    /// A new mailbox with messages that are alike but for their number.
    fn mailbox(&mut self, name: &str, count: usize) -> Result<(), String> {
        let made = self.names.iter().any(|(from, _)| from == name);
        let there = if made { self.there(name) } else { self.place.mailbox(name) };
        if !made {
            self.names.push((name.to_owned(), there.clone()));
        }
        if there != "INBOX" && !made {
            let wire = self.wire(0)?;
            wire.send(format!("make CREATE {there}\r\n").as_bytes());
            answered(wire, "make")?;
        }
        for n in 1..=count {
            self.append(&there, "", "", &message(n))?;
        }
        Ok(())
    }

    fn append(&mut self, name: &str, flags: &str, date: &str, text: &str) -> Result<(), String> {
        let wire = self.wire(0)?;
        let date = if date.is_empty() { String::new() } else { format!("\"{date}\" ") };
        let head = format!("add APPEND {name} ({flags}) {date}{{{}}}\r\n", text.len());
        wire.send(head.as_bytes());
        let line = wire.line().unwrap_or_default();
        if !line.starts_with('+') {
            return Err(format!("fixture: {line}"));
        }
        wire.send(format!("{text}\r\n").as_bytes());
        answered(wire, "add")
    }

    fn send(&mut self, connection: usize, lines: &[Sent]) -> Result<(), String> {
        let mut octets = Vec::new();
        for (i, sent) in lines.iter().enumerate() {
            match sent {
                Sent::Line(text) => {
                    let mut text = self.here_to_there(text);
                    if let Some(Sent::Octets(next)) = lines.get(i + 1) {
                        let len = script::unescape(next).len();
                        text = text.replace("{*", &format!("{{{len}"));
                    }
                    octets.extend_from_slice(text.as_bytes());
                    octets.extend_from_slice(b"\r\n");
                }
                Sent::Octets(text) => {
                    octets.extend_from_slice(script::unescape(text).as_bytes());
                }
            }
        }
        self.wire(connection)?.send(&octets);
        Ok(())
    }

    fn here_to_there(&self, text: &str) -> String {
        let mut text = pattern::substitute(text, &self.bound);
        for (from, to) in self.names.iter().filter(|(from, to)| from != to) {
            text = text.replace(from.as_str(), to);
        }
        text
    }

    fn expect(&mut self, connection: usize, lines: &[String]) -> Result<(), String> {
        let lines: Vec<String> = lines.iter().map(|l| self.expected(l)).collect();
        let (untagged, last) = match lines.split_last() {
            Some((last, rest)) if ends_block(last) => (rest.to_vec(), Some(last.clone())),
            _ => (lines, None),
        };
        let bound = self.bound.clone();
        let wire = self.wire(connection)?;
        let mut came = Vec::new();
        let end = loop {
            let Some(line) = wire.line() else { break None };
            if line.starts_with("* OK [") && line.ends_with(']') {
                return Err(format!("a response code without a text [S-37]: {line}"));
            }
            let tagged = !line.starts_with("* ");
            if tagged {
                break Some(line);
            }
            came.push(line);
            if last.is_none() && segments(&untagged, &came, &bound).is_ok() {
                break None;
            }
        };
        let show = |why: String| {
            format!(
                "{why}\n  came: {}",
                came.iter().chain(&end).cloned().collect::<Vec<_>>().join("\n        ")
            )
        };
        let bound = segments(&untagged, &came, &bound).map_err(show)?;
        let bound = match (last.as_deref(), &end) {
            (None, None) => bound,
            (Some("closed"), None) if wire.closed() => bound,
            (Some(pattern), Some(line)) => pattern::line(pattern, line, &bound)
                .ok_or_else(|| show(format!("expected {pattern}")))?,
            (wanted, _) => return Err(show(format!("expected {wanted:?} at the end"))),
        };
        self.bound = bound;
        Ok(())
    }

    /// An expected line with the names of the mailboxes there.
    fn expected(&self, line: &str) -> String {
        let mut line = line.to_owned();
        for (from, to) in self.names.iter().filter(|(from, to)| from != to) {
            line = line.replace(from.as_str(), to);
        }
        line
    }
}

/// Matches parts that are separated by `---`, in this order.
fn segments(expected: &[String], came: &[String], bound: &Bound) -> Result<Bound, String> {
    let open = expected.iter().any(|l| l == "...");
    let Some(at) = expected.iter().position(|l| l == "---") else {
        return pattern::block(expected, came, bound);
    };
    let mut first = expected[..at].to_vec();
    if open {
        first.push("...".into());
    }
    let mut rest = expected[at + 1..].to_vec();
    if open {
        rest.push("...".into());
    }
    let mut why = String::from("the order is wrong");
    for cut in 0..=came.len() {
        match pattern::block(&first, &came[..cut], bound) {
            Ok(with) => match segments(&rest, &came[cut..], &with) {
                Ok(done) => return Ok(done),
                Err(reason) => why = reason,
            },
            Err(reason) => why = reason,
        }
    }
    Err(format!("{why} (in this order)"))
}

fn answered(wire: &mut Box<dyn Wire>, tag: &str) -> Result<(), String> {
    loop {
        let line = wire.line().ok_or("no answer to the fixture")?;
        if let Some(rest) = line.strip_prefix(tag) {
            return if rest.starts_with(" OK") { Ok(()) } else { Err(format!("fixture: {line}")) };
        }
    }
}

fn message(n: usize) -> String {
    format!("From: a@example.org\r\nTo: b@example.org\r\nSubject: message {n}\r\n\r\nbody {n}\r\n")
}
