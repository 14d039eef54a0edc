//! The world of a simulation: one server or several, their clients, chance, time and crashes.

use crate::client::{Client, Kind, Line, Stage};
use crate::clock::Ticks;
use crate::house::{Around, Fallbacks, House};
use crate::oracle::Flags;
use crate::watcher::Watcher;
use session::{Next, Session};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use store::memory::{Fate, Memory, MemoryBodies};

/// A generator of numbers: the same seed, the same run.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let x = self.0 ^ (self.0 >> 33);
        (x.wrapping_mul(0xff51_afd7_ed55_8ccd) >> 33) % limit.max(1)
    }

    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// A fault planted on the wire, to see that the harness would find it in the server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// HIGHESTMODSEQ is said past an expunge that is held back.
    HighestPastHeldBack,
    /// One expunge is never told.
    ExpungeOmitted,
    /// One changed message is left out of a resync, as if its subtree's greatest mod-sequence were stale.
    ChangeOmitted,
    /// Numbers are those of the newest state rather than of what was told.
    NumbersOfNewest,
}

impl Fault {
    pub(crate) const ALL: [Self; 4] = [
        Self::HighestPastHeldBack,
        Self::ExpungeOmitted,
        Self::ChangeOmitted,
        Self::NumbersOfNewest,
    ];
}

/// What happened.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) commands: u64,
    pub(crate) drops: u64,
    pub(crate) crashes: u64,
    /// Servers killed while others went on.
    pub(crate) nodes_lost: u64,
    pub(crate) quiet_points: u64,
    pub(crate) held_back: u64,
    pub(crate) conflicts: u64,
    /// Resyncs from before what the server remembers.
    pub(crate) fallbacks: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        self.commands += other.commands;
        self.drops += other.drops;
        self.crashes += other.crashes;
        self.nodes_lost += other.nodes_lost;
        self.quiet_points += other.quiet_points;
        self.held_back += other.held_back;
        self.conflicts += other.conflicts;
        self.fallbacks += other.fallbacks;
    }
}

/// How long a forgetful world remembers expunges. Its clock goes on when it is looked at: some ten steps.
const HISTORY_SECONDS: i64 = 5;
/// Messages that a large world begins with: more than one leaf of the tree holds, so that there are subtrees.
const LARGE: usize = 300;

/// Servers in a world that has several.
const NODES: usize = 3;

pub(crate) struct World {
    dice: Dice,
    /// Whether the server remembers expunges for a short time only.
    forgetful: bool,
    fault: Option<Fault>,
    house: Option<House>,
    clients: Vec<Client>,
    watchers: Vec<Watcher>,
    /// To which server each client is connected, and each watcher.
    places: (Vec<usize>, Vec<usize>),
    /// The watchers' own, so that the others do the same with and without them.
    watchers_dice: Dice,
    pub(crate) tally: Tally,
    /// The greatest HIGHESTMODSEQ and UIDNEXT seen: neither may fall while UIDVALIDITY stands [H3].
    marks: (u32, u64, u32),
    /// What was heard last.
    heard: String,
}

impl World {
    /// With `SIM_TRACE` set, shows what goes over the wire.
    fn trace(who: usize, side: &str, text: &str) {
        if std::env::var_os("SIM_TRACE").is_some() {
            text.lines().for_each(|line| println!("{side}{who}: {line}"));
        }
    }

    pub(crate) fn new(seed: u64, fault: Option<Fault>) -> Self {
        let kinds = [Kind::QResync, Kind::QResync, Kind::QResync, Kind::CondStore, Kind::CondStore];
        let around =
            Around { clock: Arc::new(Ticks::new()), fallbacks: Arc::new(Fallbacks::default()) };
        let nodes = if seed % 4 == 1 { NODES } else { 1 };
        let engine = if nodes > 1 { Memory::shared() } else { Memory::new() };
        let house = House::open(engine, MemoryBodies::new(), around, None, nodes);
        if seed.is_multiple_of(2) {
            house.fill(LARGE);
        }
        Self {
            forgetful: seed.is_multiple_of(3),
            dice: Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            fault,
            house: Some(house),
            places: (vec![0; kinds.len()], vec![0; 4]),
            clients: kinds.into_iter().map(Client::new).collect(),
            watchers: vec![
                Watcher::new(true, true),
                Watcher::new(true, true),
                Watcher::new(false, true),
                Watcher::new(false, false),
            ],
            watchers_dice: Dice(seed.wrapping_mul(0xd134_2543_de82_ef95) | 1),
            tally: Tally::default(),
            marks: (0, 0, 0),
            heard: String::new(),
        }
    }

    pub(crate) fn is_quiet_due(&mut self, step: u64) -> bool {
        step % 150 == 149
    }

    fn house(&self) -> &House {
        self.house.as_ref().expect("there is always a server")
    }

    /// One thing happens: somebody speaks, somebody goes on, a batch is committed, a line drops, a crash.
    pub(crate) fn step(&mut self) -> Result<(), String> {
        if self.dice.one_in(400) {
            self.crash();
            return self.check_marks();
        }
        if self.house().nodes() > 1 && self.dice.one_in(100) {
            self.crash_one();
        }
        if self.dice.one_in(3) {
            let node = self.any_node();
            self.house().commit(node);
        }
        if self.forgetful && self.dice.one_in(10) {
            let kept = self.house().store(0).forget_history(HISTORY_SECONDS);
            kept.map_err(|error| format!("history was not forgotten: {error}"))?;
        }
        let watcher = self.watchers_dice.below(2 * self.watchers.len() as u64) as usize;
        if watcher < self.watchers.len() {
            self.watch(watcher)?;
        }
        let who = self.dice.below(self.clients.len() as u64) as usize;
        self.act(who)
    }

    /// One thing happens to a watcher.
    fn watch(&mut self, who: usize) -> Result<(), String> {
        let name = format!("watcher {who}");
        let watcher = &mut self.watchers[who];
        match std::mem::replace(&mut watcher.line, Line::Down) {
            Line::Down => {
                let nodes = self.house().nodes() as u64;
                let node = if nodes > 1 { self.watchers_dice.below(nodes) as usize } else { 0 };
                self.places.1[who] = node;
                let session = self.house().session(node);
                self.watchers[who].connect(session);
            }
            Line::Waiting(session) => {
                let (shown, running) = watcher.send(*session);
                watcher.line = Line::Running(running);
                Self::trace(100 + who, "C", &shown);
            }
            Line::Running(mut running) => {
                let polled = running.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                let Poll::Ready((session, out, next)) = polled else {
                    watcher.line = Line::Running(running);
                    return Ok(());
                };
                let text = self.spoil(String::from_utf8_lossy(&out).into_owned());
                Self::trace(100 + who, "S", &text);
                if next == Next::Close {
                    self.watchers[who].drop_line(&mut self.watchers_dice);
                    return Ok(());
                }
                self.watchers[who].hear(&text).map_err(|why| format!("{name}: {why}"))?;
                if self.watchers_dice.one_in(8) {
                    self.tally.drops += 1;
                    self.watchers[who].drop_line(&mut self.watchers_dice);
                    return Ok(());
                }
                self.watchers[who].line = Line::Waiting(Box::new(session));
            }
        }
        Ok(())
    }

    /// Lets a watcher catch up; then it must equal the mailbox.
    fn compare_watcher(&mut self, who: usize) -> Result<(), String> {
        let mut levels = 0;
        for _ in 0..10_000 {
            // The second time it is level by a command that began after all was quiet.
            levels += usize::from(self.watchers[who].is_level());
            if levels > 1 {
                break;
            }
            self.house().commit_all();
            self.watch(who)?;
        }
        if let Some(why) = self.watchers[who].contradiction() {
            return Err(format!("watcher {who}: {why}"));
        }
        let (here, there) = (self.watchers[who].shown(), self.mailbox_rows());
        if here == there {
            return Ok(());
        }
        Err(format!("watcher {who} differs: it has {here:?}, the mailbox {there:?}"))
    }

    fn act(&mut self, who: usize) -> Result<(), String> {
        let client = &mut self.clients[who];
        match std::mem::replace(&mut client.line, Line::Down) {
            // Whoever is gone stays away for a while, so that things are forgotten.
            Line::Down if self.forgetful && !self.dice.one_in(4) => Ok(()),
            Line::Down => {
                let node = self.any_node();
                self.places.0[who] = node;
                let session = self.house().session(node);
                self.clients[who].connect(session);
                Ok(())
            }
            Line::Waiting(session) => {
                let text = client.speak(&mut self.dice);
                Self::trace(who, "C", &text);
                let octets = text.into_bytes();
                let mut session = *session;
                client.line = Line::Running(Box::pin(async move {
                    let mut out = Vec::new();
                    let next = session.receive(&octets, &mut out).await.unwrap_or(Next::Close);
                    (session, out, next)
                }));
                self.tally.commands += 1;
                Ok(())
            }
            Line::Running(mut running) => {
                let polled = running.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                match polled {
                    Poll::Pending => {
                        client.line = Line::Running(running);
                        Ok(())
                    }
                    Poll::Ready((session, out, next)) => self.hear(who, session, &out, next),
                }
            }
        }
    }

    /// The client reads what was sent; it may drop at any tagged response.
    fn hear(
        &mut self,
        who: usize,
        mut session: Session,
        out: &[u8],
        next: Next,
    ) -> Result<(), String> {
        let text = self.spoil(String::from_utf8_lossy(out).into_owned());
        Self::trace(who, "S", &text);
        self.heard.clone_from(&text);
        let mut answered = false;
        let client = &mut self.clients[who];
        for line in lines(&text) {
            client.oracle.line(&line).map_err(|why| format!("client {who}: {why} in {line:?}"))?;
            if line.contains("[MODIFIED") {
                self.tally.conflicts += 1;
            }
            if line.starts_with(&format!("{} ", client.waits_for)) {
                answered = true;
                if line.split(' ').nth(1) == Some("BAD") {
                    return Err(format!("client {who}: {line}"));
                }
                if line.contains("[HIGHESTMODSEQ") && line.contains(" OK ") {
                    self.tally.held_back += 1;
                }
            }
        }
        if next == Next::Close {
            client.drop_line();
            return Ok(());
        }
        if answered {
            client.answered().map_err(|why| format!("client {who}: {why}"))?;
            if self.dice.one_in(8) {
                self.tally.drops += 1;
                Self::trace(who, "--", "drops");
                self.clients[who].drop_line();
                return Ok(());
            }
        } else if client.idling && self.dice.one_in(2) {
            return self.push(who, session);
        }
        let _ = &mut session;
        self.clients[who].line = Line::Waiting(Box::new(session));
        Ok(())
    }

    /// While a client idles, the server tells it what happened.
    fn push(&mut self, who: usize, session: Session) -> Result<(), String> {
        let mut session = session;
        let mut out = Vec::new();
        let next = self.house().drive(session.push(&mut out)).unwrap_or(Next::Close);
        let text = self.spoil(String::from_utf8_lossy(&out).into_owned());
        Self::trace(who, "S", &text);
        let client = &mut self.clients[who];
        for line in lines(&text) {
            client.oracle.line(&line).map_err(|why| format!("client {who}: {why} in {line:?}"))?;
        }
        if next == Next::Close {
            client.drop_line();
        } else {
            client.line = Line::Waiting(Box::new(session));
        }
        Ok(())
    }

    /// Plants the fault, if there is one.
    fn spoil(&mut self, text: String) -> String {
        let Some(fault) = self.fault else { return text };
        let plain_vanished = |l: &str| l.starts_with("* VANISHED ") || l.ends_with(" EXPUNGE\r\n");
        let changed =
            |l: &str| l.contains(" FETCH (") && l.contains("FLAGS (") && l.contains("MODSEQ (");
        let mut planted = self.dice.one_in(20);
        let highest = self.house().inbox().highest_mod_seq();
        text.split_inclusive("\r\n")
            .filter_map(|line| {
                let hit = match fault {
                    Fault::HighestPastHeldBack => {
                        let Some((head, rest)) = line.split_once("[HIGHESTMODSEQ ") else {
                            return Some(line.to_owned());
                        };
                        let behind = rest.split_once(']').map_or("", |(_, behind)| behind);
                        return Some(format!("{head}[HIGHESTMODSEQ {highest}]{behind}"));
                    }
                    Fault::ExpungeOmitted => plain_vanished(line),
                    Fault::ChangeOmitted => changed(line),
                    Fault::NumbersOfNewest => {
                        return Some(match line.split_once(" FETCH (UID ") {
                            Some((head, rest)) if planted && head.len() > 2 => {
                                planted = false;
                                let number: u64 = head[2..].parse().unwrap_or(2);
                                format!("* {} FETCH (UID {rest}", (number - 1).max(1))
                            }
                            _ => line.to_owned(),
                        });
                    }
                };
                let drop = hit && std::mem::take(&mut planted);
                (!drop).then(|| line.to_owned())
            })
            .collect()
    }

    /// A server by chance; no chance is spent where there is one.
    fn any_node(&mut self) -> usize {
        let nodes = self.house().nodes() as u64;
        if nodes > 1 { self.dice.below(nodes) as usize } else { 0 }
    }

    /// One server of several is killed; and what they tell each other is lost from now on, or not.
    fn crash_one(&mut self) {
        let node = self.any_node();
        let lost = self.dice.one_in(2);
        self.house().engine.lose_hints(lost);
        let here = |places: &[usize]| -> Vec<usize> {
            (0..places.len()).filter(|who| places[*who] == node).collect()
        };
        for who in here(&self.places.0) {
            self.clients[who].drop_line();
        }
        for who in here(&self.places.1) {
            self.watchers[who].drop_line(&mut self.watchers_dice);
        }
        self.house.as_mut().expect("there is always a server").restart(node);
        self.tally.nodes_lost += 1;
        Self::trace(node, "--", "node crash");
    }

    /// Everything that is not durable may be gone; every connection is.
    fn crash(&mut self) {
        let house = self.house.take().expect("there is always a server");
        for client in &mut self.clients {
            client.drop_line();
        }
        for watcher in &mut self.watchers {
            watcher.drop_line(&mut self.watchers_dice);
        }
        let dice = &mut self.dice;
        let engine = house.engine.crash(|| Fate::from_random(dice.below(3)));
        let bodies = house.bodies.crash(|| Fate::from_random(dice.below(3)));
        let (nodes, account) = (house.nodes(), Some(house.account));
        self.house = Some(House::open(engine, bodies, house.around, account, nodes));
        self.tally.crashes += 1;
        Self::trace(0, "--", "crash");
    }

    fn check_marks(&mut self) -> Result<(), String> {
        let inbox = self.house().inbox();
        let now = (inbox.uid_validity().value(), inbox.highest_mod_seq().value(), inbox.uid_next());
        let before = self.marks;
        if now.0 == before.0 && (now.1 < before.1 || now.2 < before.2) {
            return Err(format!("HIGHESTMODSEQ or UIDNEXT fell from {before:?} to {now:?}"));
        }
        self.marks = now;
        Ok(())
    }

    /// Lets everyone finish and catch up; then every client must equal the mailbox [H4].
    pub(crate) fn quiet(&mut self) -> Result<(), String> {
        self.tally.quiet_points += 1;
        self.tally.fallbacks = self.house().around.fallbacks.0.load(Ordering::Relaxed);
        for who in 0..self.clients.len() {
            self.settle(who, |client| client.stage == Stage::Work)?;
        }
        for who in 0..self.clients.len() {
            self.say(who, "NOOP")?;
            self.settle(who, |client| client.stage == Stage::Work)?;
            self.compare(who)?;
        }
        for who in 0..self.watchers.len() {
            self.compare_watcher(who)?;
        }
        self.check_marks()
    }

    /// Goes on with one client until it waits at a point that suits.
    fn settle(&mut self, who: usize, suits: impl Fn(&Client) -> bool) -> Result<(), String> {
        for _ in 0..10_000 {
            let client = &self.clients[who];
            if matches!(client.line, Line::Waiting(_)) && suits(client) && !client.idling {
                return Ok(());
            }
            self.house().commit_all();
            self.act(who)?;
        }
        let client = &self.clients[who];
        Err(format!(
            "client {who} ({:?}) never comes to rest: {:?}, numbers {:?}, last heard {:?}",
            client.kind, client.stage, client.oracle.numbers, self.heard
        ))
    }

    /// The client sends this command and hears the answer, without dropping.
    fn say(&mut self, who: usize, command: &str) -> Result<(), String> {
        let client = &mut self.clients[who];
        let Line::Waiting(session) = std::mem::replace(&mut client.line, Line::Down) else {
            return Err(format!("client {who} is not waiting"));
        };
        client.tags += 1;
        client.waits_for = format!("t{}", client.tags);
        let octets = format!("{} {command}\r\n", client.waits_for).into_bytes();
        let (mut session, mut out) = (*session, Vec::new());
        let received = self.house().drive(session.receive(&octets, &mut out));
        received.map_err(|_| format!("client {who}: closed"))?;
        let text = self.spoil(String::from_utf8_lossy(&out).into_owned());
        Self::trace(who, "S", &text);
        let client = &mut self.clients[who];
        for line in lines(&text) {
            client.oracle.line(&line).map_err(|why| format!("client {who}: {why} in {line:?}"))?;
        }
        client.answered()?;
        client.line = Line::Waiting(Box::new(session));
        Ok(())
    }

    /// UIDs and flags, sorted.
    fn mailbox_rows(&self) -> Vec<(u64, Flags)> {
        let state = self.house().inbox();
        let row = |message: &store::Message| {
            let names = state.keywords().names_of(message.flags);
            let mut flags: Flags = names.map(str::to_owned).collect();
            flags.sort();
            (u64::from(message.uid.value()), flags)
        };
        state.tree().iter().map(|(_, message)| row(message)).collect()
    }

    fn compare(&self, who: usize) -> Result<(), String> {
        let client = &self.clients[who];
        let there = self.mailbox_rows();
        let here: Vec<(u64, Flags)> =
            client.oracle.kept.messages.iter().map(|(uid, flags)| (*uid, flags.clone())).collect();
        if here != there {
            let differ = |a: &[(u64, Flags)], b: &[(u64, Flags)]| -> Vec<(u64, Flags)> {
                a.iter().filter(|m| !b.contains(m)).take(5).cloned().collect()
            };
            return Err(format!(
                "client {who} ({:?}) differs: it has {:?}, the mailbox {:?}",
                client.kind,
                differ(&here, &there),
                differ(&there, &here)
            ));
        }
        let uids: Vec<u64> = there.iter().map(|(uid, _)| *uid).collect();
        if client.oracle.numbers != uids {
            return Err(format!("client {who}: numbers {:?}, not {uids:?}", client.oracle.numbers));
        }
        Ok(())
    }
}

/// The response lines, a literal replaced by nothing.
fn lines(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut rest = text;
    let mut line = String::new();
    while let Some((head, behind)) = rest.split_once("\r\n") {
        line.push_str(head);
        rest = behind;
        let literal = head
            .strip_suffix('}')
            .and_then(|h| h.rsplit_once('{'))
            .and_then(|(_, n)| n.parse().ok());
        match literal {
            Some(len) => rest = behind.get(len..).unwrap_or_default(),
            None => lines.push(std::mem::take(&mut line)),
        }
    }
    lines
}
