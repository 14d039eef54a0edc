//! A server that somebody else runs, used through scratch mailboxes that are taken away afterwards.
//!
//! # Invariants
//! - Every mailbox that is made, written to or deleted has a name that begins with a prefix of this run alone.
//! - The user's INBOX is never touched.

use super::needs::Offer;
use super::wire::{Door, Stop};
use super::words::{inner, plain, split};
use super::{Place, Wire, answered, log_in, quoted};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

/// See the module.
pub struct Scratch {
    door: Door,
    user: String,
    password: String,
    stop: Stop,
    offer: Offer,
    /// What the name of everything that this run makes begins with.
    run: String,
    /// The dialogue that is played.
    count: u64,
}

impl Scratch {
    /// Connects, logs in and asks what the server offers. `unique` is to be another one in each run.
    ///
    /// # Errors
    /// With the reason when the server cannot be reached or does not let the user in.
    pub fn open(
        door: Door,
        user: &str,
        password: &str,
        unique: u64,
        stop: Stop,
    ) -> Result<Self, String> {
        let (user, password) = (user.to_owned(), password.to_owned());
        let mut scratch = Self {
            door,
            user,
            password,
            stop,
            offer: Offer::default(),
            run: String::new(),
            count: 0,
        };
        // Mechanisms are listed before login only, most of the rest after it.
        let mut stranger = scratch.door.connect(&Stop::default())?;
        stranger.line().ok_or("no greeting")?;
        let mut wire = scratch.housekeeper()?;
        let mut capabilities = listed_by(&mut *wire)?;
        let before = listed_by(&mut *stranger)?;
        capabilities.extend(before.into_iter().filter(|name| name.starts_with("AUTH=")));
        scratch.offer.capabilities = capabilities;
        let (personal, delimiter) = namespace(&mut *wire, &scratch.offer)?;
        scratch.offer.delimiter = delimiter;
        let below = scratch.door.place.mailbox.clone().map_or(personal, |name| {
            let name = name.trim_end_matches('/');
            format!("{name}{}", delimiter.map(String::from).unwrap_or_default())
        });
        scratch.run = format!("{below}highwater-replay-{unique:016x}-");
        Ok(scratch)
    }

    /// What the server offers.
    #[must_use]
    pub fn offer(&self) -> &Offer {
        &self.offer
    }

    /// What the names of this run's mailboxes begin with.
    #[must_use]
    pub fn run(&self) -> &str {
        &self.run
    }

    /// Begins the next dialogue: other names than those before.
    pub fn next(&mut self) {
        self.count += 1;
    }

    /// Takes away every mailbox and subscription of this run, also when it was asked to stop.
    ///
    /// # Errors
    /// With what is still there.
    pub fn clean(&mut self) -> Result<(), String> {
        let mut wire = self.housekeeper()?;
        let subscribed = listed(&mut *wire, "LSUB", &self.run)?;
        for name in subscribed {
            let _ = command(&mut *wire, &format!("UNSUBSCRIBE {}", quoted(&name)));
        }
        // What is below goes first.
        let mut names = listed(&mut *wire, "LIST", &self.run)?;
        names.sort_by_key(|name| std::cmp::Reverse(name.len()));
        for name in &names {
            let _ = command(&mut *wire, &format!("DELETE {}", quoted(name)));
        }
        let left = listed(&mut *wire, "LIST", &self.run)?;
        if left.is_empty() {
            return Ok(());
        }
        Err(format!("these mailboxes could not be deleted: {}", left.join(", ")))
    }

    /// A connection that does not stop when asked to: it is to tidy up.
    fn housekeeper(&self) -> Result<Box<dyn Wire>, String> {
        let mut wire = self.door.connect(&Stop::default())?;
        wire.line().ok_or("no greeting")?;
        self.enter(&mut *wire)?;
        Ok(wire)
    }

    fn enter(&self, wire: &mut dyn Wire) -> Result<(), String> {
        let Err(why) = log_in(wire, &self.user, &self.password) else { return Ok(()) };
        wire.send(b"ask CAPABILITY\r\n");
        let listed = answered(wire, "ask")?.join(" ");
        if !(listed.contains("LOGINDISABLED") && listed.contains("AUTH=PLAIN")) {
            return Err(format!("LOGIN: {why}"));
        }
        let words = format!("\0{}\0{}", self.user, self.password);
        wire.send(b"plain AUTHENTICATE PLAIN\r\n");
        let line = wire.line().unwrap_or_default();
        if !line.starts_with('+') {
            return Err(format!("AUTHENTICATE: {line}"));
        }
        wire.send(format!("{}\r\n", BASE64_STANDARD.encode(words)).as_bytes());
        answered(wire, "plain").map(drop)
    }
}

impl Place for Scratch {
    fn connect(&mut self) -> Result<Box<dyn Wire>, String> {
        self.door.connect(&self.stop)
    }

    fn user(&self) -> (String, String) {
        (self.user.clone(), self.password.clone())
    }

    fn mailbox(&self, name: &str) -> String {
        format!("{}{name}", self.prefix())
    }

    fn prefix(&self) -> String {
        format!("{}{}-", self.run, self.count)
    }
}

impl std::fmt::Debug for Scratch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Scratch({} below {})", self.door.place, self.run)
    }
}

fn listed_by(wire: &mut dyn Wire) -> Result<Vec<String>, String> {
    wire.send(b"what CAPABILITY\r\n");
    let lines = answered(wire, "what")?;
    let names = lines.iter().filter_map(|line| line.strip_prefix("* CAPABILITY "));
    Ok(names.flat_map(|names| names.split(' ')).map(str::to_owned).collect())
}

fn command(wire: &mut dyn Wire, command: &str) -> Result<Vec<String>, String> {
    wire.send(format!("tidy {command}\r\n").as_bytes());
    answered(wire, "tidy")
}

/// What the user's own mailboxes begin with, and what separates levels.
fn namespace(wire: &mut dyn Wire, offer: &Offer) -> Result<(String, Option<char>), String> {
    if offer.has("NAMESPACE") {
        let lines = command(wire, "NAMESPACE")?;
        let told = lines.iter().find_map(|line| line.strip_prefix("* NAMESPACE "));
        // (("INBOX." ".")) …
        let first = told.and_then(|told| split(told).into_iter().next());
        let first = first.as_deref().and_then(inner).and_then(|all| split(all).into_iter().next());
        let pair = first.as_deref().and_then(inner).map(split).unwrap_or_default();
        if let [prefix, delimiter, ..] = pair.as_slice() {
            return Ok((plain(prefix), delimiter_of(delimiter)));
        }
    }
    let lines = command(wire, "LIST \"\" \"\"")?;
    let words = lines.iter().find_map(|line| line.strip_prefix("* LIST ")).map(split);
    let delimiter = words.as_ref().and_then(|words| words.get(1));
    Ok((String::new(), delimiter.and_then(|word| delimiter_of(word))))
}

fn delimiter_of(word: &str) -> Option<char> {
    (!word.eq_ignore_ascii_case("NIL")).then(|| plain(word).chars().next()).flatten()
}

/// The names that begin so; what is only there for the sake of others is no name.
fn listed(wire: &mut dyn Wire, how: &str, prefix: &str) -> Result<Vec<String>, String> {
    let lines = command(wire, &format!("{how} \"\" {}", quoted(&format!("{prefix}*"))))?;
    let named = lines.iter().filter_map(|line| {
        let words = split(line.strip_prefix(&format!("* {how} "))?);
        let unreal = words.first()?.to_ascii_lowercase().contains("\\nonexistent");
        let name = plain(words.get(2)?);
        (!unreal && name.starts_with(prefix)).then_some(name)
    });
    Ok(named.collect())
}
