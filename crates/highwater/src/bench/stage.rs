//! The mailboxes of a run: made, filled and removed; and the clock and the gauge that measure what is done in them.
//!
//! # Invariants
//! - Every mailbox has a name drawn for this run, and is known here before it is made.

use std::time::Instant;

use futures_util::future::join_all;
use ring::rand::{SecureRandom as _, SystemRandom};

use super::gauge::Reading;
use super::line::{Line, quoted, refused};
use super::mail::message;
use super::scan::{after, has, numbered, text};
use super::tally::{Measured, Samples};
use super::{Failed, Gauge, Plan};

/// Octets of messages in the middle and the large mailbox.
const OCTETS: usize = 1024;
/// Messages in one MULTIAPPEND, or in one pipeline of APPENDs.
const BATCH: u64 = 200;
/// Turns at least, whatever the time.
const TURNS_MIN: u64 = 3;

/// A mailbox that was filled.
#[derive(Clone, Debug)]
pub(super) struct Filled {
    /// Its name in quotes.
    pub(super) name: String,
    /// How many messages it has.
    pub(super) count: u64,
}

/// See the module.
pub(super) struct Stage {
    pub(super) plan: Plan,
    pub(super) gauge: Option<Gauge>,
    /// What the server says of itself.
    pub(super) server: String,
    capabilities: Vec<String>,
    prefix: String,
    pub(super) delimiter: String,
    /// User and name of what there may be.
    made: Vec<(usize, String)>,
    large: Option<Filled>,
    middle: Option<Filled>,
    /// The mailboxes that are listed were made.
    pub(super) has_many: bool,
    /// Connections that idle, all on one mailbox.
    pub(super) idlers: Vec<Line>,
}

/// The clock and the gauge, running.
pub(super) struct Running {
    begun: Instant,
    before: Option<Reading>,
    octets: (u64, u64),
}

impl Stage {
    /// Looks at the server, and draws a name.
    pub(super) async fn open(plan: Plan) -> Result<Self, Failed> {
        let mut random = [0; 4];
        SystemRandom::new()
            .fill(&mut random)
            .map_err(|_| Failed::wrong("there are no random numbers"))?;
        let mut stage = Self {
            gauge: Gauge::new(&plan.pids)?,
            plan,
            server: String::new(),
            capabilities: Vec::new(),
            prefix: String::new(),
            delimiter: String::new(),
            made: Vec::new(),
            large: None,
            middle: None,
            has_many: false,
            idlers: Vec::new(),
        };
        let mut line = stage.line(0).await?;
        stage.look(&mut line).await?;
        stage.prefix += &format!("highwater-bench-{:08x}", u32::from_ne_bytes(random));
        line.log_out().await?;
        Ok(stage)
    }

    /// What the server can and is, and where a user's own mailboxes are.
    async fn look(&mut self, line: &mut Line) -> Result<(), Failed> {
        let mut capabilities = Vec::new();
        line.must("CAPABILITY", |response| {
            if let Some(list) = response.strip_prefix(b"* CAPABILITY ") {
                let words = list.split(|octet| *octet == b' ');
                capabilities.extend(words.map(|word| text(word).to_uppercase()));
            }
            Ok(())
        })
        .await?;
        self.capabilities = capabilities;
        if self.has("ID") {
            let server = &mut self.server;
            line.must("ID NIL", |response| {
                if let Some(fields) = response.strip_prefix(b"* ID ") {
                    *server = text(fields);
                }
                Ok(())
            })
            .await?;
        }
        if self.has("NAMESPACE") {
            let prefix = &mut self.prefix;
            line.must("NAMESPACE", |response| {
                if let Some(own) = response.strip_prefix(b"* NAMESPACE ((\"") {
                    *prefix = text(own.split(|octet| *octet == b'"').next().unwrap_or_default());
                }
                Ok(())
            })
            .await?;
        }
        let delimiter = &mut self.delimiter;
        line.must("LIST \"\" \"\"", |response| {
            let list = text(response);
            if let Some(quoted) = list.split("\\\"").nth(1) {
                quoted.clone_into(delimiter);
            }
            Ok(())
        })
        .await?;
        Ok(())
    }

    /// Whether the server has listed this.
    pub(super) fn has(&self, capability: &str) -> bool {
        self.capabilities.iter().any(|known| known == capability)
    }

    /// An error that says what the server lacks.
    pub(super) fn need(&self, capability: &str) -> Result<(), Failed> {
        if self.has(capability) { Ok(()) } else { Err(Failed::lacks(capability)) }
    }

    /// CONDSTORE, which QRESYNC brings along.
    pub(super) fn need_condstore(&self) -> Result<(), Failed> {
        if self.has("QRESYNC") { Ok(()) } else { self.need("CONDSTORE") }
    }

    /// A connection of this user's, logged in.
    pub(super) async fn line(&self, user: usize) -> Result<Line, Failed> {
        let mut line = Line::connect(&self.plan.place, &self.plan.options).await?;
        let login = self.plan.logins.get(user % self.plan.logins.len().max(1));
        line.log_in(login.ok_or_else(|| Failed::wrong("there is nobody to log in"))?).await?;
        Ok(line)
    }

    /// Connections of so many users in turn.
    pub(super) async fn lines(&self, count: usize) -> Result<Vec<Line>, Failed> {
        let opened = join_all((0..count).map(|user| self.line(user))).await;
        opened.into_iter().collect()
    }

    /// Why the server cannot be asked any more.
    pub(super) async fn is_gone(&mut self) -> Option<String> {
        self.idlers.clear();
        match self.line(0).await {
            Ok(line) => line.log_out().await.err().map(|failed| failed.to_string()),
            Err(failed) => Some(failed.to_string()),
        }
    }

    /// The name in quotes of a mailbox of this run.
    pub(super) fn name(&self, what: &str) -> String {
        quoted(&self.plain_name(what))
    }

    /// Likewise, without them.
    pub(super) fn plain_name(&self, what: &str) -> String {
        format!("{}-{what}", self.prefix)
    }

    /// Makes a mailbox that this user has not; its name in quotes.
    pub(super) async fn make(&mut self, user: usize, what: &str) -> Result<String, Failed> {
        let name = self.name(what);
        self.made.push((user, name.clone()));
        let mut line = self.line(user).await?;
        line.done(&format!("CREATE {name}")).await?;
        line.log_out().await?;
        Ok(name)
    }

    /// Remembers a mailbox of the first user's that is about to be made.
    pub(super) fn will_make(&mut self, name: String) {
        self.made.push((0, name));
    }

    /// Forgets those of the first user's whose names begin so, which are gone.
    pub(super) fn forget(&mut self, beginning: &str) {
        self.made.retain(|(user, name)| *user != 0 || !name.starts_with(beginning));
    }

    /// Removes a mailbox.
    pub(super) async fn remove(&mut self, user: usize, name: &str) -> Result<(), Failed> {
        let mut line = self.line(user).await?;
        line.done(&format!("DELETE {name}")).await?;
        self.made.retain(|(whose, known)| *whose != user || known != name);
        line.log_out().await?;
        Ok(())
    }

    /// Whether the first user may have this mailbox.
    pub(super) fn has_made(&self, name: &str) -> bool {
        self.made.iter().any(|(user, known)| *user == 0 && known == name)
    }

    /// Removes all that there may be.
    pub(super) async fn clean(&mut self) -> Result<(), Failed> {
        self.idlers.clear();
        let mut made = std::mem::take(&mut self.made);
        made.reverse();
        let mut failed = Ok(());
        for one_user in made.chunk_by(|(user, _), (next, _)| user == next) {
            let Some((user, _)) = one_user.first() else { continue };
            let mut line = self.line(*user).await?;
            for (_, name) in one_user {
                let (done, answer) = line.ask(&format!("DELETE {name}"), |_| Ok(())).await?;
                if !done && is_there(&mut line, name).await? {
                    failed = Err(refused(&format!("DELETE {name}"), &answer));
                }
            }
            line.log_out().await?;
        }
        failed
    }

    /// The large mailbox, filled.
    pub(super) async fn large(&mut self) -> Result<Filled, Failed> {
        if let Some(filled) = &self.large {
            return Ok(filled.clone());
        }
        let filled = self.filled("large", self.plan.messages).await?;
        self.large = Some(filled.clone());
        Ok(filled)
    }

    /// The middle mailbox, filled.
    pub(super) async fn middle(&mut self) -> Result<Filled, Failed> {
        if let Some(filled) = &self.middle {
            return Ok(filled.clone());
        }
        let filled = self.filled("middle", self.tenth()).await?;
        self.middle = Some(filled.clone());
        Ok(filled)
    }

    /// How many messages the middle mailbox has.
    pub(super) fn tenth(&self) -> u64 {
        (self.plan.messages / 10).max(100)
    }

    /// How many messages of a mailbox have no `\\Seen`, if it has all that it was filled with.
    pub(super) fn unseen(&self, filled: &Filled) -> Option<u64> {
        let unseen = (0..filled.count).filter(|number| is_unseen(*number));
        (filled.count == self.plan.messages).then(|| unseen.count() as u64)
    }

    /// The large mailbox is another from now on.
    pub(super) fn set_large(&mut self, filled: Filled) {
        self.large = Some(filled);
    }

    /// Makes and fills a mailbox of the first user's.
    pub(super) async fn filled(&mut self, what: &str, count: u64) -> Result<Filled, Failed> {
        let name = self.make(0, what).await?;
        let mut line = self.line(0).await?;
        self.fill(&mut line, &name, count, &mut Samples::default()).await?;
        line.log_out().await?;
        Ok(Filled { name, count })
    }

    /// Fills a mailbox by MULTIAPPEND, or by APPENDs in a pipeline, and verifies how many messages it has.
    pub(super) async fn fill(
        &self,
        line: &mut Line,
        name: &str,
        count: u64,
        samples: &mut Samples,
    ) -> Result<(), Failed> {
        for first in (0..count).step_by(usize::try_from(BATCH).unwrap_or(1)) {
            let numbers = first..count.min(first + BATCH);
            samples.did(numbers.end - numbers.start);
            let begun = Instant::now();
            self.append(line, name, numbers).await?;
            samples.add(begun.elapsed());
        }
        let there = self.count(line, name).await?;
        if there != count {
            return Err(Failed::wrong(format!(
                "{count} messages were appended, {there} are there"
            )));
        }
        Ok(())
    }

    /// Appends these messages.
    async fn append(
        &self,
        line: &mut Line,
        name: &str,
        numbers: std::ops::Range<u64>,
    ) -> Result<(), Failed> {
        let plus = self.has("LITERAL+");
        let multi = self.has("MULTIAPPEND");
        let mut out = Vec::with_capacity((OCTETS + 120) * 256);
        let mut tags = Vec::new();
        for number in numbers {
            if tags.is_empty() || !multi {
                let tag = line.tag();
                out.extend_from_slice(format!("{tag} APPEND {name}").as_bytes());
                tags.push(tag);
            }
            let head = head(number);
            let (message, sign) = (message(number, OCTETS), if plus { "+" } else { "" });
            out.extend_from_slice(format!(" {head} {{{}{sign}}}\r\n", message.len()).as_bytes());
            if !plus {
                line.raw.send(&out).await?;
                line.continuation().await?;
                out.clear();
            }
            out.extend_from_slice(&message);
            if !multi {
                out.extend_from_slice(b"\r\n");
            }
        }
        if multi {
            out.extend_from_slice(b"\r\n");
        }
        line.raw.send(&out).await?;
        for tag in tags {
            let (done, answer) = line.answer(&tag, |_| Ok(())).await?;
            if !done {
                return Err(refused("APPEND", &answer));
            }
        }
        Ok(())
    }

    /// How many messages a mailbox has.
    pub(super) async fn count(&self, line: &mut Line, name: &str) -> Result<u64, Failed> {
        let mut there = None;
        line.must(&format!("STATUS {name} (MESSAGES)"), |response| {
            there = after(response, b"MESSAGES ").or(there);
            Ok(())
        })
        .await?;
        there.ok_or_else(|| Failed::wrong("STATUS does not say MESSAGES"))
    }

    /// Selects a mailbox that must have so many messages; HIGHESTMODSEQ and UIDVALIDITY, nought where not said.
    pub(super) async fn select(
        &self,
        line: &mut Line,
        filled: &Filled,
    ) -> Result<(u64, u64), Failed> {
        let parameter = if self.need_condstore().is_ok() { " (CONDSTORE)" } else { "" };
        let command = format!("SELECT {}{parameter}", filled.name);
        let (mut exists, mut mod_seq, mut validity) = (None, 0, 0);
        line.must(&command, |response| {
            exists = numbered(response, b"EXISTS").or(exists);
            mod_seq = after(response, b"[HIGHESTMODSEQ ").unwrap_or(mod_seq);
            validity = after(response, b"[UIDVALIDITY ").unwrap_or(validity);
            Ok(())
        })
        .await?;
        equal("messages by SELECT", exists, filled.count)?;
        Ok((mod_seq, validity))
    }

    /// Starts the clock and the gauge, once the server rests.
    pub(super) async fn begin(&self, lines: &[Line]) -> Result<Running, Failed> {
        let before = match &self.gauge {
            Some(gauge) => Some(gauge.rest().await?),
            None => None,
        };
        Ok(Running { before, octets: octets(lines), begun: Instant::now() })
    }

    /// Stops both.
    pub(super) async fn end(
        &self,
        running: Running,
        lines: &[Line],
        samples: Samples,
    ) -> Result<Measured, Failed> {
        let seconds = running.begun.elapsed().as_secs_f64();
        let (sent, received) = octets(lines);
        let mut measured = Measured { samples, seconds, ..Measured::default() };
        (measured.sent, measured.received) = (sent - running.octets.0, received - running.octets.1);
        if let (Some(gauge), Some(before)) = (&self.gauge, running.before) {
            measured.used = Some(gauge.since(before).await?);
            measured.memory = Some(gauge.memory()?);
        }
        Ok(measured)
    }

    /// One client that does the same again and again; `work` is told the turn, and tells how many things it has done.
    pub(super) async fn repeat(
        &self,
        line: &mut Line,
        mut work: impl AsyncFnMut(&mut Line, u64) -> Result<u64, Failed>,
    ) -> Result<Measured, Failed> {
        work(line, 0).await?;
        let lines = std::slice::from_mut(line);
        let running = self.begin(lines).await?;
        let (mut samples, mut turn) = (Samples::default(), 1);
        while turn <= TURNS_MIN || running.begun.elapsed() < self.plan.time {
            let begun = Instant::now();
            let Some(line) = lines.first_mut() else { break };
            samples.did(work(line, turn).await?);
            samples.add(begun.elapsed());
            turn += 1;
        }
        self.end(running, lines, samples).await
    }

    /// Several clients at once, each of which does the same until the time is over.
    pub(super) async fn together(
        &self,
        lines: &mut [Line],
        work: impl AsyncFn(usize, &mut Line, u64) -> Result<(), Failed>,
    ) -> Result<Measured, Failed> {
        let running = self.begin(lines).await?;
        let until = running.begun + self.plan.time;
        let work = &work;
        let clients = lines.iter_mut().enumerate().map(async |(client, line)| {
            let mut samples = Samples::default();
            let mut turn = 0;
            while turn < TURNS_MIN || Instant::now() < until {
                let begun = Instant::now();
                work(client, line, turn).await?;
                samples.add(begun.elapsed());
                turn += 1;
            }
            Ok::<_, Failed>(samples)
        });
        let mut samples = Samples::default();
        for done in join_all(clients).await {
            samples.join(done?);
        }
        self.end(running, lines, samples).await
    }

    /// Says goodbye on all.
    pub(super) async fn close(&self, lines: Vec<Line>) -> Result<(), Failed> {
        let closed = join_all(lines.into_iter().map(Line::log_out)).await;
        closed.into_iter().try_for_each(|done| done.map(|_| ()))
    }
}

async fn is_there(line: &mut Line, name: &str) -> Result<bool, Failed> {
    let mut there = false;
    line.must(&format!("LIST \"\" {name}"), |response| {
        let only_a_name =
            [b"oselect".as_slice(), b"onExist"].iter().any(|word| has(response, word));
        there |= response.starts_with(b"* LIST ") && !only_a_name;
        Ok(())
    })
    .await?;
    Ok(there)
}

/// An error unless the server said just this number.
pub(super) fn equal(what: &str, found: impl Into<Option<u64>>, right: u64) -> Result<(), Failed> {
    match found.into() {
        Some(found) if found == right => Ok(()),
        Some(found) => Err(Failed::wrong(format!("{what}: {found}, and {right} is right"))),
        None => Err(Failed::wrong(format!("{what}: nothing is said, and {right} is right"))),
    }
}

/// Flags and the date of message `number` of a filled mailbox.
fn head(number: u64) -> String {
    let flags = if is_unseen(number) { "()" } else { "(\\Seen)" };
    format!("{flags} \"{:02}-Jan-2026 {:02}:00:11 +0000\"", day(number), 8 + number % 8)
}

/// Whether message `number` of a filled mailbox is unseen.
pub(super) fn is_unseen(number: u64) -> bool {
    number.is_multiple_of(10)
}

/// On which day of January 2026 it arrived.
pub(super) fn day(number: u64) -> u64 {
    1 + number % 28
}

fn octets(lines: &[Line]) -> (u64, u64) {
    let both = lines.iter().map(|line| (line.raw.octets_sent(), line.raw.octets_received()));
    both.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
}
