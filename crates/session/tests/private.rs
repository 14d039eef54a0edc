//! Private `\Seen` as a property: three users on one mailbox, clients that drop and resynchronise, one seed, the
//! shipped session and store on encoded octets [S-19, S-21, S-148, S-149, S-150, S-151] H3 H4.
//!
//! The model is plain: for each message the shared flags and each user's `\Seen`, with the step at which they
//! last changed. It predicts what every user sees, and what every condition and search by mod-sequence answers.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    dead_code,
    reason = "tests fail loudly, and use a part of the runner and of the oracle"
)]

#[path = "private/model.rs"]
mod model;
#[path = "simulation/oracle.rs"]
mod oracle;
#[path = "runner/play.rs"]
mod runner;

use model::{DELETED, FLAGGED, Model, USERS};
use oracle::{Kept, Oracle};
use runner::Place;
use runner::here::Server;
use session::{Next, Session};
use std::collections::{BTreeMap, BTreeSet};

/// Chance from a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit.max(1)
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}

/// A client that keeps what RFC 7162 §6 says, and nothing else.
struct Client {
    user: usize,
    session: Option<Session>,
    kept: Kept,
    oracle: Oracle,
    idles: bool,
}

/// What has been shown to one user since the last UIDVALIDITY.
#[derive(Clone, Default)]
struct Shown {
    mod_seqs: BTreeMap<u64, u64>,
    highest: u64,
    /// HIGHESTMODSEQ with everything told, and the step at which that was so.
    points: Vec<(u64, u64)>,
}

struct World {
    server: Server,
    model: Model,
    clients: Vec<Client>,
    shown: [Shown; 3],
    dice: Dice,
    conflicts: u64,
}

type Done<T = ()> = Result<T, String>;

fn holds(truth: bool, why: impl FnOnce() -> String) -> Done {
    if truth { Ok(()) } else { Err(why()) }
}

fn team(user: usize) -> &'static str {
    if user == 0 { "Team" } else { "\"Other Users/alex/Team\"" }
}

/// The lines, those of literals left out.
fn lines(out: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(out);
    let mut rest: &str = &text;
    let (mut lines, mut line) = (Vec::new(), String::new());
    while let Some((head, behind)) = rest.split_once("\r\n") {
        line.push_str(head);
        rest = behind;
        let literal = head.strip_suffix('}').and_then(|head| head.rsplit_once('{')?.1.parse().ok());
        match literal {
            Some(len) => rest = rest.get(len..).unwrap_or_default(),
            None => lines.push(std::mem::take(&mut line)),
        }
    }
    lines
}

/// What stands between both in the line, as a number.
fn number(line: &str, before: &str, after: char) -> Option<u64> {
    line.split_once(before)?.1.split([after, ')']).next()?.parse().ok()
}

impl World {
    fn new(seed: u64) -> Self {
        let mut server = Server::new(Vec::new());
        server.administer(&["user", "bob"]);
        server.administer(&["user", "eve"]);
        let mut alex = server.session();
        let text = "a LOGIN alex secret\r\nb CREATE Team\r\nc SETACL Team bob lrswite\r\n\
                    d SETACL Team eve lrswite\r\n";
        server.drive(alex.receive(text.as_bytes(), &mut Vec::new())).unwrap();
        server.administer(&["seen", "private", "Team"]);
        let client = |user| Client {
            user,
            session: None,
            kept: Kept::default(),
            oracle: Oracle::default(),
            idles: false,
        };
        let clients = [0, 1, 1, 2, 2].map(client).into();
        let (model, shown, dice) = (Model::default(), Default::default(), Dice(seed));
        Self { server, model, clients, shown, dice, conflicts: 0 }
    }

    /// Sends the text; the lines that come; after BYE there is no session any more.
    fn send(&mut self, at: usize, text: &str) -> Vec<String> {
        let session = self.clients[at].session.as_mut().unwrap();
        let mut out = Vec::new();
        let next = self.server.drive(session.receive(format!("{text}\r\n").as_bytes(), &mut out));
        if next.unwrap() == Next::Close {
            self.clients[at].session = None;
        }
        lines(&out)
    }

    /// The same, and takes what comes; the tagged line, or nothing after BYE.
    fn say(&mut self, at: usize, text: &str) -> Done<String> {
        let lines = self.send(at, text);
        lines.iter().try_for_each(|line| self.take(at, line))?;
        let client = &mut self.clients[at];
        if client.session.is_none() {
            return Ok(String::new());
        }
        if client.oracle.synced {
            client.kept = client.oracle.kept.clone();
        }
        Ok(lines.last().cloned().unwrap_or_default())
    }

    /// A message's MODSEQ never falls [H3]; one that is gone and still numbered shows what its number kept.
    fn take(&mut self, at: usize, line: &str) -> Done {
        let client = &mut self.clients[at];
        client.oracle.line(line)?;
        let shown = &mut self.shown[client.user];
        let said = (number(line, "UID ", ' '), number(line, "MODSEQ (", ')'));
        if let (Some(uid), Some(mod_seq)) = said
            && self.model.rows.contains_key(&uid)
        {
            let before = shown.mod_seqs.insert(uid, mod_seq).unwrap_or(0);
            holds(before <= mod_seq, || format!("MODSEQ of {uid} fell from {before}: {line}"))?;
        }
        Ok(())
    }

    fn connect(&mut self, at: usize) -> Done {
        let client = &mut self.clients[at];
        (client.session, client.idles) = (Some(self.server.session()), false);
        client.oracle = Oracle::connect(&client.kept);
        let (user, Kept { uid_validity, mod_seq, .. }) = (client.user, client.kept.clone());
        let how = if mod_seq == 0 {
            "CONDSTORE".into()
        } else {
            format!("QRESYNC ({uid_validity} {mod_seq})")
        };
        let select = format!(
            "l LOGIN {} secret\r\ne ENABLE QRESYNC\r\nx SELECT {} ({how})",
            USERS[user],
            team(user)
        );
        self.say(at, &select)?;
        let client = &mut self.clients[at];
        if client.oracle.kept.mod_seq > 0 {
            client.oracle.number_known()?;
            client.oracle.complete();
        }
        self.fetch_new(at)
    }

    fn fetch_new(&mut self, at: usize) -> Done {
        let next = self.clients[at].oracle.next_uid();
        self.say(at, &format!("x UID FETCH {next}:* (FLAGS)"))?;
        let client = &mut self.clients[at];
        client.oracle.fetched_new();
        if !client.oracle.synced {
            client.oracle.complete();
        }
        client.kept = client.oracle.kept.clone();
        Ok(())
    }

    /// One client does one thing.
    fn step(&mut self) -> Done {
        self.model.step += 1;
        let at = self.dice.below(self.clients.len() as u64) as usize;
        if self.clients[at].session.is_none() {
            return self.connect(at);
        }
        if std::mem::take(&mut self.clients[at].idles) {
            self.say(at, "DONE")?;
        } else if self.dice.below(12) == 0 {
            self.clients[at].session = None;
            return Ok(());
        } else {
            self.work(at)?;
        }
        let client = &self.clients[at];
        let new = client.session.is_some() && client.oracle.numbers.contains(&0);
        if new && !client.idles { self.fetch_new(at) } else { Ok(()) }
    }

    fn work(&mut self, at: usize) -> Done {
        let user = self.clients[at].user;
        let low = 1 + self.dice.below(self.model.next_uid);
        let uids = low..=low + self.dice.below(4);
        let set = format!("{low}:{}", uids.end());
        let said = match self.dice.below(20) {
            0..=6 => return self.store(at, uids.collect(), &set),
            7 => {
                self.model.append(user, self.dice.0 & 1 == 0);
                let flags = if self.dice.0 & 1 == 0 { "(\\Seen) " } else { "" };
                self.say(at, &format!("x APPEND {} {flags}{{8+}}\r\nA: b\r\n\r\n", team(user)))?
            }
            8 => {
                self.model.copy(user, uids, false);
                self.say(at, &format!("x UID COPY {set} {}", team(user)))?
            }
            9 => {
                self.model.copy(user, uids, true);
                self.say(at, &format!("x UID MOVE {set} {}", team(user)))?
            }
            10 => {
                self.model.expunge();
                self.say(at, "x EXPUNGE")?
            }
            11 => {
                uids.for_each(|uid| self.model.mark(uid, user, true));
                self.say(at, &format!("x UID FETCH {set} (BODY[])"))?
            }
            12 | 13 => return self.ask_since(at),
            14 if !self.clients[at].oracle.numbers.is_empty() => {
                // What is gone is held back here.
                let to = self.clients[at].oracle.numbers.len();
                return self.say(at, &format!("x FETCH 1:{to} (UID FLAGS MODSEQ)")).map(drop);
            }
            15 => {
                self.clients[at].idles = true;
                return self.say(at, "x IDLE").map(drop);
            }
            _ => self.say(at, "x NOOP")?,
        };
        holds(said.is_empty() || said.starts_with("x OK"), || said)
    }

    /// STORE, with a condition at times: the model knows which messages fail it.
    fn store(&mut self, at: usize, uids: Vec<u64>, set: &str) -> Done {
        let user = self.clients[at].user;
        let flags =
            self.dice.of(&["\\Seen", "\\Seen", "\\Seen", FLAGGED, DELETED, "\\Seen \\Flagged"]);
        let sign = self.dice.of(&["+", "+", "-"]);
        let points = &self.shown[user].points;
        let point = (self.dice.below(2) == 0 && flags == "\\Seen" && !points.is_empty())
            .then(|| points[self.dice.below(points.len() as u64) as usize]);
        let condition = point.map(|(n, _)| format!("(UNCHANGEDSINCE {n}) ")).unwrap_or_default();
        let since = point.map_or(u64::MAX, |(_, step)| step);
        let (pass, fail): (Vec<u64>, Vec<u64>) = uids
            .into_iter()
            .filter(|uid| self.model.rows.contains_key(uid))
            .partition(|uid| self.model.rows[uid].seen_at(user) <= since);
        for uid in pass {
            for flag in flags.split(' ') {
                match flag {
                    "\\Seen" => self.model.mark(uid, user, sign == "+"),
                    flag => self.model.flag(uid, flag, sign == "+"),
                }
            }
        }
        let said = self.say(at, &format!("x UID STORE {set} {condition}{sign}FLAGS ({flags})"))?;
        if said.is_empty() {
            return Ok(());
        }
        self.conflicts += u64::from(!fail.is_empty());
        let told = said
            .split_once("[MODIFIED ")
            .map_or("", |(_, rest)| rest.split(']').next().unwrap_or(""));
        let told = oracle::numbers(told).unwrap_or_default();
        holds(told == fail, || format!("{fail:?} were to fail after step {since}: {said}"))
    }

    /// CHANGEDSINCE and SEARCH MODSEQ find what changed for this user, and nothing else.
    fn ask_since(&mut self, at: usize) -> Done {
        let user = self.clients[at].user;
        let points = &self.shown[user].points;
        let Some(&(n, step)) = points.get(self.dice.below(points.len() as u64) as usize) else {
            return Ok(());
        };
        let rows = self.model.rows.iter().filter(|(_, row)| row.changed_at(user) > step);
        let expected: BTreeSet<u64> = rows.map(|(uid, _)| *uid).collect();
        let lines = self.send(
            at,
            &format!(
                "x UID FETCH 1:9999 (FLAGS) (CHANGEDSINCE {n})\r\ny UID SEARCH MODSEQ {}",
                n + 1
            ),
        );
        lines.iter().try_for_each(|line| self.take(at, line))?;
        self.clients[at].kept = self.clients[at].oracle.kept.clone();
        let fetched = lines.iter().take_while(|line| !line.starts_with("x "));
        let fetched = fetched.filter(|line| number(line, "MODSEQ (", ')').is_some_and(|m| m > n));
        let fetched: BTreeSet<u64> = fetched.filter_map(|line| number(line, "UID ", ' ')).collect();
        holds(fetched == expected, || format!("CHANGEDSINCE {n}: {fetched:?}, not {expected:?}"))?;
        let found = lines.iter().find_map(|line| line.strip_prefix("* SEARCH"));
        let found = found.unwrap_or_default().split(" (").next().unwrap_or_default();
        let found: BTreeSet<u64> =
            found.split_whitespace().filter_map(|n| n.parse().ok()).collect();
        holds(found == expected, || format!("SEARCH MODSEQ: {found:?}, not {expected:?}"))
    }

    /// `\Seen` becomes everybody's or each user's own: whoever has the mailbox selected is sent away.
    fn turn(&mut self) -> Done {
        let private = !self.model.private;
        self.model.turn(private);
        self.server.administer(&["seen", if private { "private" } else { "shared" }, "Team"]);
        self.shown = Default::default();
        for at in 0..self.clients.len() {
            if self.clients[at].session.is_some() {
                let text =
                    if std::mem::take(&mut self.clients[at].idles) { "DONE" } else { "x NOOP" };
                let said = self.say(at, text)?;
                let open = self.clients[at].session.is_some();
                holds(!open, || format!("the selection outlived its UIDVALIDITY: {said}"))?;
            }
        }
        Ok(())
    }

    /// Everybody is told everything: each client equals the model for its user, and STATUS too.
    fn quiet(&mut self) -> Done {
        for at in 0..self.clients.len() {
            if self.clients[at].session.is_none() {
                self.connect(at)?;
            }
            if std::mem::take(&mut self.clients[at].idles) {
                self.say(at, "DONE")?;
            }
            self.say(at, "x NOOP")?;
            self.fetch_new(at)?;
            let client = &self.clients[at];
            let (known, seen) = (&client.kept.messages, self.model.seen_by(client.user));
            holds(*known == seen, || {
                format!("client {at} of {}:\n{known:?}\nnot {seen:?}", USERS[client.user])
            })?;
        }
        self.points()?;
        self.whisper()
    }

    /// HIGHESTMODSEQ of each user, with everything told, never falls [H3].
    fn points(&mut self) -> Done {
        for at in [0, 1, 3] {
            let user = self.clients[at].user;
            let (highest, unseen) = self.status(at)?;
            let expected = self.model.rows.values().filter(|row| !row.seen[user]).count() as u64;
            holds(unseen == expected, || {
                format!("UNSEEN {unseen}, not {expected}, of {}", USERS[user])
            })?;
            let shown = &mut self.shown[user];
            let (before, greatest) = (shown.highest, shown.mod_seqs.values().max());
            holds(highest >= before && greatest.is_none_or(|m| *m <= highest), || {
                format!("HIGHESTMODSEQ {highest} of {} after {before}, {greatest:?}", USERS[user])
            })?;
            shown.highest = highest;
            shown.points.push((highest, self.model.step));
        }
        Ok(())
    }

    fn status(&mut self, at: usize) -> Done<(u64, u64)> {
        let team = team(self.clients[at].user);
        let text = self.send(at, &format!("x STATUS {team} (HIGHESTMODSEQ UNSEEN)")).concat();
        let value = |name| number(&text, name, ' ').ok_or_else(|| text.clone());
        Ok((value("HIGHESTMODSEQ ")?, value("UNSEEN ")?))
    }

    /// Nobody else hears of a private change: no octet at NOOP, none in IDLE, no number in STATUS.
    fn whisper(&mut self) -> Done {
        let Some(uid) = self.model.rows.keys().next().copied().filter(|_| self.model.private)
        else {
            return Ok(());
        };
        self.model.step += 1;
        let who = self.dice.below(self.clients.len() as u64) as usize;
        let user = self.clients[who].user;
        let others = (0..self.clients.len()).filter(|at| self.clients[*at].user != user);
        let others: Vec<usize> = others.collect();
        let before: Vec<_> = others.iter().map(|at| self.status(*at)).collect::<Done<_>>()?;
        others.iter().skip(1).try_for_each(|at| self.say(*at, "x IDLE").map(drop))?;
        let seen = self.model.rows[&uid].seen[user];
        self.model.mark(uid, user, !seen);
        let sign = if seen { "-" } else { "+" };
        let said = self.say(who, &format!("x UID STORE {uid} {sign}FLAGS (\\Seen)"))?;
        holds(said.starts_with("x OK"), || said)?;
        for (&at, before) in others.iter().zip(before) {
            let session = self.clients[at].session.as_mut().unwrap();
            let mut pushed = Vec::new();
            self.server.drive(session.push(&mut pushed)).unwrap();
            let said = self.send(at, if at == others[0] { "x NOOP" } else { "DONE" });
            let silent = pushed.is_empty() && said.len() == 1 && !said[0].contains('[');
            holds(silent, || {
                format!("a private change of {} is heard: {pushed:?} {said:?}", USERS[user])
            })?;
            let after = self.status(at)?;
            holds(before == after, || format!("STATUS {before:?} became {after:?}"))?;
        }
        Ok(())
    }
}

#[test]
fn each_user_has_their_own_seen_and_no_change_is_lost() {
    let mut conflicts = 0;
    for seed in 1..=24 {
        let mut world = World::new(seed);
        for step in 0..240 {
            let done = match step % 80 {
                79 => world.turn(),
                rest if rest % 16 == 15 => world.quiet(),
                _ => world.step(),
            };
            done.unwrap_or_else(|why| panic!("seed {seed}, step {step}: {why}"));
        }
        conflicts += world.conflicts;
    }
    assert!(conflicts > 10, "conditions were tested: {conflicts}");
}
