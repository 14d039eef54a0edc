//! A job queue in a mailbox: each message is a job, and of all workers one holds it.
//!
//! A claim is a conditional STORE of the worker's own five keywords, and counts only when the server then shows the
//! message with exactly those and with a higher mod-sequence. That mod-sequence is the *token*: every later write of
//! the holder is conditional on it, so a worker that has lost its lease can acknowledge nothing.
//!
//! [`Queue`] speaks to the server; what it decides by is pure: [`Marks`] (what flags mean), [`View`] (what was
//! told), [`Policy`] (what may be taken when).
//!
//! # Invariants
//! - A job is held only by proof; what is not proven is left to its lease.
//! - No clocks are compared: leases are watched, not written.
//! - After a fatal error what was on its way may have been done: [`Queue::resume`] reads the state before anything.
//!
//! # Standards
//! RFC 7162 §3.1.3 (conditional STORE), RFC 4315 (APPENDUID, UID EXPUNGE), RFC 6851 (MOVE), RFC 5032 (WITHIN).

mod alphabet;
mod claim;
mod policy;
mod put;
mod settle;
mod upkeep;
mod view;
mod worker;

pub use alphabet::{Marks, OwnerCode, keywords};
pub use claim::{Claim, Token, TokenError};
pub use policy::{Policy, Standing};
pub use put::{NewJob, message};
pub use settle::{Settle, Settled};
pub use view::{Job, View};
pub use worker::Sentinel;

use crate::answer::Answer;
use crate::connection::Connection;
use crate::conversation::Ticket;
use crate::error::Error;
use crate::store::sequence;
use imap::command::{
    CommandBody, Fetch, FetchItem, FetchSection, List, MailboxName, Search, SearchKey,
    SectionLabel, SectionText, StoreAction,
};
use imap::encode::Code;
use imap::number::{Uid, UidValidity};
use imap::response::{FetchData, Response};
use imap::set::UidSet;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, Instant, SystemTime};

/// Why something about the queue did not go as asked.
#[derive(Debug)]
#[non_exhaustive]
pub enum QueueError {
    /// The connection or the server.
    Client(Error),
    /// The mailbox may only be read.
    ReadOnly,
    /// The mailbox takes no new keywords.
    Keywords,
    /// The mailbox was made anew: all tokens are void.
    Renewed,
    /// All 252 owner codes are in use.
    Crowded,
    /// A claim was tried without a registration.
    Unregistered,
    /// The registration's UID could not be found out.
    Unnumbered,
}

impl QueueError {
    /// Whether to connect anew.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        matches!(self, Self::Client(error) if error.is_fatal())
    }
}

impl fmt::Display for QueueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client(error) => return error.fmt(f),
            Self::ReadOnly => {
                "this user may only read the mailbox: a queue needs the rights l, r, s, w, i, t and e"
            }
            Self::Keywords => "the mailbox takes no new keywords, which the queue's marks are",
            Self::Renewed => "the mailbox was made anew (UIDVALIDITY has changed): all claims are void",
            Self::Crowded => "all 252 owner codes are in use: there are too many workers",
            Self::Unregistered => "only a registered worker can claim",
            Self::Unnumbered => "the server does not tell where it has put the registration",
        })
    }
}

impl std::error::Error for QueueError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Client(error) => error.source(),
            _ => None,
        }
    }
}

impl<E: Into<Error>> From<E> for QueueError {
    fn from(error: E) -> Self {
        Self::Client(error.into())
    }
}

/// What a queue promises on this server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Footing {
    /// Conditional STORE with one winner always.
    Exact,
    /// Conditional STORE that must be proven.
    Proven,
    /// No mod-sequences: mark, read back, undo. A late worker cannot be kept from acknowledging.
    Marked,
}

/// A worker's own registration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Worker {
    uid: Uid,
    code: OwnerCode,
}

/// A queue, as one connection sees it.
#[derive(Debug)]
pub struct Queue {
    connection: Connection,
    mailbox: String,
    policy: Policy,
    footing: Footing,
    uid_validity: UidValidity,
    view: View,
    worker: Option<Worker>,
    /// What it is registered with, to do so again.
    registration: Option<(String, String)>,
    held: BTreeSet<u32>,
    /// How far the server's clock is ahead of this machine's, in seconds.
    clock_ahead: i64,
    chance: u64,
    archive: Option<String>,
    dead: Option<String>,
    /// An EXPUNGE whose answer is waited for with the next command's: what it clears away is done already.
    clearing: Option<Ticket>,
}

type Outcome<T> = Result<T, QueueError>;

impl Queue {
    /// Opens the mailbox as a queue.
    ///
    /// # Errors
    /// [`QueueError::ReadOnly`], [`QueueError::Keywords`], and what may end the connection.
    pub async fn open(mut connection: Connection, mailbox: &str, policy: Policy) -> Outcome<Self> {
        let (footing, uid_validity, numbered) = select(&mut connection, mailbox).await?;
        Ok(Self {
            connection,
            mailbox: mailbox.to_owned(),
            policy,
            footing,
            uid_validity,
            view: View::new(numbered),
            worker: None,
            registration: None,
            held: BTreeSet::new(),
            clock_ahead: 0,
            chance: chance(),
            archive: None,
            dead: None,
            clearing: None,
        })
    }

    /// Goes on over another connection after the old one broke. Answers whether the mailbox is still the same; if it
    /// is not, all claims are void.
    ///
    /// # Errors
    /// As [`Queue::open`].
    pub async fn resume(&mut self, mut connection: Connection) -> Outcome<bool> {
        let (footing, uid_validity, numbered) = select(&mut connection, &self.mailbox).await?;
        let same = uid_validity == self.uid_validity;
        let known = std::mem::replace(&mut self.view, View::new(numbered));
        (self.connection, self.footing, self.uid_validity) = (connection, footing, uid_validity);
        self.clearing = None;
        let told = self.fetch_from(1).await;
        let newer = std::mem::replace(&mut self.view, known);
        told?;
        if same {
            self.view.succeed(newer);
        } else {
            (self.view, self.worker) = (newer, None);
            self.held.clear();
        }
        self.confirm_registration().await?;
        self.find_due().await?;
        Ok(same)
    }

    /// Where acknowledged jobs go; `None` to delete them.
    pub fn set_archive(&mut self, mailbox: Option<String>) {
        self.archive = mailbox;
    }

    /// Where dead jobs go.
    pub fn set_dead(&mut self, mailbox: String) {
        self.dead = Some(mailbox);
    }

    /// Plays by other rules from now on.
    pub fn set_policy(&mut self, policy: Policy) {
        self.policy = policy;
    }

    /// The rules.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// What this server's STORE is worth.
    #[must_use]
    pub fn footing(&self) -> Footing {
        self.footing
    }

    /// The mailbox's UIDVALIDITY.
    #[must_use]
    pub fn uid_validity(&self) -> UidValidity {
        self.uid_validity
    }

    /// What was told of the mailbox so far.
    #[must_use]
    pub fn view(&self) -> &View {
        &self.view
    }

    /// The connection, for what is not about the queue.
    pub fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Reads the whole mailbox: flags, mod-sequences and dates.
    ///
    /// # Errors
    /// What may end the connection.
    pub async fn load(&mut self) -> Outcome<()> {
        self.fetch_from(1).await?;
        self.find_due().await
    }

    /// Reads only these messages, and those that are no jobs but the queue's own.
    ///
    /// # Errors
    /// What may end the connection.
    pub async fn load_only(&mut self, uids: &[Uid]) -> Outcome<()> {
        let own = self.search(alphabet::worker_key()).await?;
        let set = set_of(own.into_iter().chain(uids.iter().map(|uid| uid.value())));
        let mut items = vec![FetchItem::Uid, FetchItem::Flags, FetchItem::InternalDate];
        items.extend((self.footing != Footing::Marked).then_some(FetchItem::ModSeq));
        self.fetch(&set, items).await?;
        Ok(())
    }

    /// Learns what is new.
    ///
    /// # Errors
    /// What may end the connection.
    pub async fn refresh(&mut self) -> Outcome<()> {
        self.ask(CommandBody::Noop).await?;
        self.catch_up().await
    }

    /// Fetches messages that were announced, and says whose time has come.
    async fn catch_up(&mut self) -> Outcome<()> {
        if let Some(from) = self.view.take_news() {
            self.fetch_from(from).await?;
        }
        self.find_due().await
    }

    /// Waits until the server has something to tell, or `wake` is over; then learns what is new.
    ///
    /// # Errors
    /// What may end the connection.
    pub async fn wait(&mut self, wake: impl Future<Output = ()>) -> Outcome<()> {
        self.cleared().await?;
        if self.connection.has("IDLE") {
            let told = self.connection.idle_until(wake).await?;
            self.learn(&told.untagged);
            self.catch_up().await
        } else {
            wake.await;
            self.refresh().await
        }
    }

    async fn fetch_from(&mut self, from: u32) -> Outcome<()> {
        let all = UidSet::from_ranges([(from, u32::MAX)]);
        let mut items = vec![FetchItem::Uid, FetchItem::Flags, FetchItem::InternalDate];
        items.extend((self.footing != Footing::Marked).then_some(FetchItem::ModSeq));
        self.fetch(&all, items).await?;
        self.view.take_news();
        self.view.set_fetched();
        Ok(())
    }

    async fn fetch(&mut self, uids: &UidSet, items: Vec<FetchItem>) -> Outcome<Option<Answer>> {
        match fetch(uids, items) {
            Some(body) => Ok(Some(self.ask(body).await?.ok()?)),
            None => Ok(None),
        }
    }

    /// Reads the state of these messages, after a command that is on its way; those that the server does not tell of
    /// are gone. What FETCH shows may come before the answer to either.
    async fn read_back(&mut self, before: Option<Ticket>, uids: &UidSet) -> Outcome<Vec<Answer>> {
        let mut items = vec![FetchItem::Uid, FetchItem::Flags];
        items.extend((self.footing != Footing::Marked).then_some(FetchItem::ModSeq));
        let fetch = fetch(uids, items).map(|body| self.connection.submit(body)).transpose()?;
        let mut answers = self.answers(before).await?;
        if let Some(fetch) = fetch {
            answers.push(self.answer(fetch).await?.ok()?);
        }
        let told = answers.iter().flat_map(Answer::fetched).map(|fetched| fetched.uid.value());
        let told: BTreeSet<u32> = told.collect();
        for uid in uids.iter().filter(|uid| !told.contains(uid)) {
            self.view.remove(uid);
        }
        Ok(answers)
    }

    /// Says which delayed jobs are due, on the server's clock.
    async fn find_due(&mut self) -> Outcome<()> {
        let now = self.server_now();
        let due = |job: &&Job| !job.due && job.arrived.is_none_or(|date| date.unix <= now);
        let due: Vec<u32> = self.view.jobs().filter(due).map(|job| job.uid.value()).collect();
        self.view.set_due(due.into_iter());
        // By this machine's clock they are for later; where the server can, it has the last word.
        let near = now.saturating_add(3600);
        let later = |job: &&Job| !job.due && job.arrived.is_some_and(|date| date.unix <= near);
        let later = set_of(self.view.jobs().filter(later).take(1000).map(|job| job.uid.value()));
        if let Some(set) = sequence(&later).filter(|_| self.connection.has("WITHIN")) {
            let found = self.search(vec![SearchKey::Uid(set), SearchKey::Older(1)]).await?;
            self.view.set_due(found.into_iter());
        }
        Ok(())
    }

    async fn search(&mut self, keys: Vec<SearchKey>) -> Outcome<Vec<u32>> {
        let search = Search { uid: true, returns: None, charset: None, keys };
        Ok(self.ask(CommandBody::Search(search)).await?.ok()?.found().iter().collect())
    }

    /// The server's clock, as far as known: seconds since 1970.
    #[must_use]
    pub fn server_now(&self) -> i64 {
        unix_now().saturating_add(self.clock_ahead)
    }

    /// The message itself; `None` when it is gone.
    ///
    /// # Errors
    /// What may end the connection.
    pub async fn message(&mut self, uid: Uid) -> Outcome<Option<Vec<u8>>> {
        Ok(self.messages(&[uid]).await?.remove(&uid))
    }

    /// The messages themselves, fetched at once; those that are gone are left out.
    ///
    /// # Errors
    /// What may end the connection.
    pub async fn messages(&mut self, uids: &[Uid]) -> Outcome<BTreeMap<Uid, Vec<u8>>> {
        self.sections(uids, SectionText::All).await
    }

    /// The named header fields of messages, as they stand there.
    ///
    /// # Errors
    /// What may end the connection.
    pub async fn headers(&mut self, uids: &[Uid], field: &str) -> Outcome<BTreeMap<Uid, Vec<u8>>> {
        let fields = SectionText::HeaderFields(vec![field.as_bytes().to_vec()]);
        self.sections(uids, fields).await
    }

    async fn sections(
        &mut self,
        uids: &[Uid],
        text: SectionText,
    ) -> Outcome<BTreeMap<Uid, Vec<u8>>> {
        let set = set_of(uids.iter().map(|uid| uid.value()));
        let label = SectionLabel::Body;
        let section = FetchSection { label, part: vec![], text, partial: None, peek: true };
        let items = vec![FetchItem::Uid, FetchItem::Section(section)];
        let Some(answer) = self.fetch(&set, items).await? else { return Ok(BTreeMap::new()) };
        let mut found = BTreeMap::new();
        for response in answer.untagged {
            let Response::Fetch { items, .. } = response else { continue };
            let (mut uid, mut octets) = (None, None);
            for item in items {
                match item {
                    FetchData::Uid(value) => uid = Some(value),
                    FetchData::Section(section) => octets = section.octets,
                    _ => {}
                }
            }
            found.extend(uid.zip(octets));
        }
        Ok(found)
    }

    /// Moves messages that are this connection's to move; makes the other mailbox if need be.
    async fn relocate(&mut self, uids: &UidSet, mailbox: &str) -> Outcome<()> {
        let Some(set) = sequence(uids) else { return Ok(()) };
        let to = MailboxName(mailbox.to_owned());
        let transfer = imap::command::Transfer { uid: true, set, mailbox: to.clone() };
        let moves = self.connection.has("MOVE");
        let body = if moves { CommandBody::Move } else { CommandBody::Copy };
        let mut answer = self.ask(body(transfer.clone())).await?;
        if answer.codes().any(|code| matches!(code, Code::TryCreate | Code::NonExistent)) {
            let made = CommandBody::Create { mailbox: to, special_use: None };
            self.ask(made).await?.ok()?;
            answer = self.ask(body(transfer)).await?;
        }
        answer.ok()?;
        if !moves {
            let deleted = Marks { done: true, deleted: true, ..Marks::default() }.flags();
            if let Some(set) = sequence(uids) {
                let store = crate::store::store(set, None, StoreAction::Add, &deleted);
                self.ask(store).await?.ok()?;
            }
            self.expunge(uids).await?;
        }
        Ok(())
    }

    async fn expunge(&mut self, uids: &UidSet) -> Outcome<()> {
        self.submit_expunge(uids).await?;
        self.cleared().await
    }

    /// Likewise, and does not wait for the answer.
    async fn submit_expunge(&mut self, uids: &UidSet) -> Outcome<()> {
        let Some(set) = sequence(uids) else { return Ok(()) };
        self.cleared().await?;
        // Without UIDPLUS everything that is deleted goes, also what others have marked so.
        let set = self.connection.has("UIDPLUS").then_some(set);
        self.clearing = Some(self.connection.submit(CommandBody::Expunge(set))?);
        Ok(())
    }

    /// Waits until what was acknowledged is gone; [`Queue::settle`] does not.
    ///
    /// # Errors
    /// When the server refuses that, and what may end the connection.
    pub async fn cleared(&mut self) -> Outcome<()> {
        if let Some(ticket) = self.clearing.take() {
            let answer = self.connection.answer(ticket).await?;
            self.learn(&answer.untagged);
            answer.ok()?;
        }
        Ok(())
    }

    /// The mailbox's name with another level below it.
    ///
    /// # Errors
    /// What may end the connection.
    pub async fn below(&mut self, name: &str) -> Outcome<String> {
        let list = List {
            reference: String::new(),
            patterns: vec![self.mailbox.clone()],
            select: vec![],
            returns: vec![],
            extended: false,
        };
        let answer = self.ask(CommandBody::List(list)).await?.ok()?;
        let delimiter = answer.untagged.iter().find_map(|response| match response {
            Response::List(entry) => entry.delimiter,
            _ => None,
        });
        Ok(format!("{}{}{name}", self.mailbox, delimiter.unwrap_or('/')))
    }

    async fn ask(&mut self, body: CommandBody) -> Outcome<Answer> {
        let ticket = self.connection.submit(body)?;
        self.answer(ticket).await
    }

    async fn answer(&mut self, ticket: Ticket) -> Outcome<Answer> {
        self.cleared().await?;
        let answer = self.connection.answer(ticket).await?;
        self.learn(&answer.untagged);
        Ok(answer)
    }

    /// The answer to a command that was perhaps sent.
    async fn answers(&mut self, ticket: Option<Ticket>) -> Outcome<Vec<Answer>> {
        match ticket {
            Some(ticket) => Ok(vec![self.answer(ticket).await?]),
            None => Ok(Vec::new()),
        }
    }

    fn learn(&mut self, told: &[Response]) {
        let now = Instant::now();
        for response in told {
            self.view.take(response, now);
        }
    }

    /// A number that differs each time, for who goes where.
    fn toss(&mut self) -> u64 {
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 7;
        self.chance ^= self.chance << 17;
        self.chance
    }

    /// Leaves: takes back the registration and says LOGOUT.
    pub async fn close(mut self) {
        let left = async {
            self.cleared().await?;
            self.leave().await
        };
        // Best effort: a registration that stays is cleared away by others.
        let _ = tokio::time::timeout(Duration::from_secs(5), left).await;
        self.connection.close().await;
    }
}

/// The set of these numbers, which come in any order.
fn set_of(uids: impl Iterator<Item = u32>) -> UidSet {
    UidSet::from_ranges(uids.map(|uid| (uid, uid)))
}

/// `UID FETCH`, unless it is of nothing.
fn fetch(uids: &UidSet, items: Vec<FetchItem>) -> Option<CommandBody> {
    let set = sequence(uids)?;
    let fetch = Fetch { uid: true, set, items, changed_since: None, vanished: false };
    Some(CommandBody::Fetch(fetch))
}

/// Selects the mailbox; answers what STORE is worth, the UIDVALIDITY, and whether EXPUNGE is told by number.
async fn select(
    connection: &mut Connection,
    mailbox: &str,
) -> Outcome<(Footing, UidValidity, bool)> {
    let quirks = connection.identify().await?;
    let mut numbered = true;
    if connection.has("QRESYNC") && quirks.qresync {
        let answer = connection.ask(CommandBody::Enable(vec!["QRESYNC".into()])).await?;
        let enabled = |response: &Response| match response {
            Response::Enabled(names) => names.iter().any(|n| n.eq_ignore_ascii_case("QRESYNC")),
            _ => false,
        };
        numbered = !answer.untagged.iter().any(enabled);
    }
    let answer = connection.select(mailbox, false).await?;
    let mut footing = Footing::Marked;
    let mut uid_validity = None;
    let mut writable = true;
    let mut takes_keywords = true;
    for code in answer.all_codes() {
        match code {
            Code::HighestModSeq(_) => {
                footing = if quirks.exact_store { Footing::Exact } else { Footing::Proven }
            }
            Code::UidValidity(value) => uid_validity = Some(*value),
            Code::ReadOnly => writable = false,
            Code::PermanentFlags(list) => {
                let has =
                    |name: &str| list.split_whitespace().any(|f| f.eq_ignore_ascii_case(name));
                takes_keywords = has("\\*") || keywords().all(|flag| has(&flag.to_string()));
            }
            _ => {}
        }
    }
    match uid_validity {
        _ if !writable => Err(QueueError::ReadOnly),
        _ if !takes_keywords => Err(QueueError::Keywords),
        None => Err(Error::Protocol("SELECT told no UIDVALIDITY".into()).into()),
        Some(value) => Ok((footing, value, numbered)),
    }
}

fn unix_now() -> i64 {
    let elapsed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(elapsed.as_secs()).unwrap_or(i64::MAX)
}

/// A number that nobody else has.
fn chance() -> u64 {
    use std::hash::{BuildHasher as _, Hasher as _, RandomState};
    RandomState::new().build_hasher().finish() | 1
}
