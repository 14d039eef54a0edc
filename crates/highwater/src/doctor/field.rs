//! The clients of the races, and what all races are made of.
//!
//! # Invariants
//! - All requests of a volley are written before anything of an answer is read: no client can know of another's.
//! - A request counts as in flight when all were written and its connection still had nothing to read: it was on its
//!   way or at work then, together with every other such request.

use std::time::Instant;

use client::store::{fetch_state, sequence, store};
use client::{Answer, Connection, Error};
use imap::command::{AppendHead, CommandBody, StoreAction};
use imap::encode::Code;
use imap::flag::{Flag, Keyword, SystemFlag};
use imap::number::{ModSeq, ModSeqOrZero, Uid};
use imap::response::FlagName;
use imap::set::{SequenceSet, SetBound, UidSet};

use super::chance::Chance;
use super::door::Scratch;
use super::judge::states;
use super::transcript::Transcript;
use crate::remote::Door;

/// Messages that are claimed in turn.
pub(super) const POOL: usize = 64;

const MESSAGE: &[u8] = b"From: doctor@localhost\r\nSubject: one job\r\n\r\nto be claimed once\r\n";

/// The connections.
pub(super) struct Field {
    pub(super) door: Door,
    pub(super) scratch: Scratch,
    /// Prepares rounds and looks at what they came to.
    pub(super) control: Connection,
    /// Those who race.
    pub(super) clients: Vec<Connection>,
    pub(super) chance: Chance,
}

/// What a volley came to.
pub(super) struct Volley {
    begun: Instant,
    /// In the order of the clients.
    pub(super) answers: Vec<Answer>,
    /// When all requests were written.
    written: Instant,
    /// Requests proven to have been in flight at one moment.
    pub(super) in_flight: usize,
}

impl Field {
    /// Clients that have the scratch mailbox selected.
    pub(super) async fn open(
        door: &Door,
        scratch: &Scratch,
        clients: usize,
        chance: Chance,
    ) -> Result<Self, Error> {
        let mut all = Vec::new();
        for _ in 0..=clients {
            let mut connection = door.connect().await?;
            let selected = connection.select(&scratch.mailbox, false).await?;
            if selected.codes().any(|code| *code == Code::NoModSeq) {
                return Err(Error::Lacks("mod-sequences in this mailbox (NOMODSEQ)"));
            }
            all.push(connection);
        }
        let control = all.pop().ok_or(Error::Lacks("a connection"))?;
        let (door, scratch) = (door.clone(), scratch.clone());
        Ok(Self { door, scratch, control, clients: all, chance })
    }

    /// Sends every client's request, then reads every client's answer.
    pub(super) async fn volley(
        &mut self,
        request: impl Fn(usize) -> CommandBody,
    ) -> Result<Volley, Error> {
        let begun = Instant::now();
        let mut clients: Vec<_> = self.clients.iter_mut().enumerate().collect();
        self.chance.shuffle(&mut clients);
        let mut tickets = Vec::new();
        for (number, client) in &mut clients {
            client.record();
            tickets.push(client.submit(request(*number))?);
        }
        for (_, client) in &mut clients {
            client.flush().await?;
        }
        let written = Instant::now();
        let in_flight = clients.iter().filter(|(_, client)| !client.has_input()).count();
        let mut answers = Vec::new();
        for ((number, client), ticket) in clients.into_iter().zip(tickets) {
            answers.push((number, client.answer(ticket).await?));
        }
        answers.sort_by_key(|(number, _)| *number);
        let answers = answers.into_iter().map(|(_, answer)| answer).collect();
        Ok(Volley { begun, answers, written, in_flight })
    }

    /// What two of these clients said in the last volley.
    pub(super) fn transcript(&self, what: String, volley: &Volley, who: &[usize]) -> Transcript {
        let shown: Vec<usize> = who.iter().copied().take(2).collect();
        let clients = self.clients.iter().enumerate();
        let clients = clients.filter(|(number, _)| shown.contains(number));
        let moment = format!(
            "all {} requests are written, and {} connections have nothing to read",
            self.clients.len(),
            volley.in_flight
        );
        Transcript::of(what, volley.begun, Some((volley.written, moment)), clients)
    }

    /// Has every client hear what there is to hear.
    pub(super) async fn hear(&mut self) -> Result<(), Error> {
        let mut tickets = Vec::new();
        for client in &mut self.clients {
            tickets.push(client.submit(CommandBody::Noop)?);
            client.flush().await?;
        }
        for (client, ticket) in self.clients.iter_mut().zip(tickets) {
            client.answer(ticket).await?;
        }
        Ok(())
    }

    /// Flags and mod-sequences as the server now tells them.
    pub(super) async fn look(&mut self, set: SequenceSet) -> Result<States, Error> {
        // One after the other: a server may work on a FETCH before it has told what a NOOP in front of it found.
        self.control.run(CommandBody::Noop).await?;
        Ok(states(&self.control.run(fetch_state(set)).await?))
    }

    /// The messages that there are.
    pub(super) async fn look_at_all(&mut self) -> Result<States, Error> {
        self.look(all()).await
    }

    /// Adds messages; answers their UIDs.
    pub(super) async fn add(&mut self, count: usize) -> Result<Vec<Uid>, Error> {
        let mut tickets = Vec::new();
        for _ in 0..count {
            let head = AppendHead { first: None, flags: Vec::new(), internal_date: None };
            let message = client::NewMessage { head, octets: MESSAGE };
            tickets.push(self.control.submit_append(&self.scratch.mailbox, &[message])?);
        }
        let mut uids = UidSet::new();
        for ticket in tickets {
            let answer = self.control.answer(ticket).await?.ok()?;
            let (_, uid) = answer.append_uid().ok_or(Error::Lacks("UIDPLUS"))?;
            uids = uids.union(&uid);
        }
        Ok(uids.iter().filter_map(Uid::new).collect())
    }

    /// Removes messages.
    pub(super) async fn remove(
        &mut self,
        uids: impl IntoIterator<Item = Uid>,
    ) -> Result<(), Error> {
        let uids: UidSet = uids.into_iter().collect();
        let Some(set) = sequence(&uids) else { return Ok(()) };
        let deleted = [Flag::System(SystemFlag::Deleted)];
        self.control.run(store(set.clone(), None, StoreAction::Add, &deleted)).await?;
        self.control.run(CommandBody::Expunge(Some(set))).await?;
        Ok(())
    }

    /// [`POOL`] messages without flags, in a random order, which all clients have heard of.
    pub(super) async fn pool(&mut self) -> Result<Vec<(Uid, ModSeq)>, Error> {
        let mut found = self.look_at_all().await?;
        let surplus: Vec<Uid> = found.keys().skip(POOL).copied().collect();
        if !surplus.is_empty() {
            found.retain(|uid, _| !surplus.contains(uid));
            self.remove(surplus).await?;
        }
        self.add(POOL.saturating_sub(found.len())).await?;
        let marked = |flags: &[FlagName]| flags.iter().any(|flag| *flag != FlagName::Recent);
        let marked = found.iter().filter(|(_, (flags, _))| marked(flags)).map(|(uid, _)| *uid);
        self.clear(marked.collect()).await?;
        let pool = self.look_at_all().await?;
        if pool.len() != POOL {
            let shown = format!("{} messages where there are {POOL}", pool.len());
            return Err(Error::Protocol(shown));
        }
        self.hear().await?;
        let mut pool: Vec<_> = pool.into_iter().map(|(uid, (_, n))| (uid, n)).collect();
        self.chance.shuffle(&mut pool);
        Ok(pool)
    }

    /// Takes all flags from messages.
    pub(super) async fn clear(&mut self, uids: UidSet) -> Result<(), Error> {
        if let Some(set) = sequence(&uids) {
            self.control.run(store(set, None, StoreAction::Replace, &[])).await?;
        }
        Ok(())
    }
}

/// What messages have, by UID.
pub(super) type States = std::collections::BTreeMap<Uid, (Vec<FlagName>, ModSeq)>;

/// `1:*`
pub(super) fn all() -> SequenceSet {
    let first = SetBound::Number(std::num::NonZeroU32::MIN);
    SequenceSet::Ranges(vec![(first, SetBound::Star)])
}

/// A conditional `UID STORE`; the UIDs are at least one.
pub(super) fn claim(
    uids: &UidSet,
    since: ModSeq,
    action: StoreAction,
    mark: &[Flag],
) -> CommandBody {
    // An empty set is never asked for; `*` would then be claimed, which fails the round's judgement, not the server.
    let set = sequence(uids).unwrap_or_else(all);
    store(set, Some(ModSeqOrZero::from(since)), action, mark)
}

/// A keyword of the doctor's.
pub(super) fn keyword(name: &str) -> Result<Flag, Error> {
    Keyword::new(name).map(Flag::Keyword).ok_or(Error::Lacks("a keyword by that name"))
}

/// A mark of each client's own.
pub(super) fn own_marks(clients: usize) -> Result<Vec<Vec<Flag>>, Error> {
    (0..clients).map(|number| Ok(vec![keyword(&format!("$doctor{number}"))?])).collect()
}
