//! STORE, plain and conditional, and what a conditional one proves.
//!
//! A tagged OK and absence from MODIFIED prove nothing on servers that test the condition apart from the write:
//! two clients can both be told so. What counts is what the server says of the message afterwards.
//!
//! # Invariants
//! - *Won* takes an untagged FETCH, later than the command, with a MODSEQ above the condition and with the flags as
//!   this write leaves them; the last FETCH of each message counts.
//! - What gives no such sign is read back once in the same breath; what still gives none is *unproven*.
//!
//! # Standards
//! RFC 7162 §3.1.3 (UNCHANGEDSINCE, MODIFIED), §3.1.11 and §4.

use crate::answer::{Answer, Fetched};
use crate::connection::Connection;
use crate::error::Error;
use imap::command::{CommandBody, Fetch, FetchItem, Store, StoreAction};
use imap::encode::Status;
use imap::flag::Flag;
use imap::number::{ModSeq, ModSeqOrZero, Uid};
use imap::response::FlagName;
use imap::set::{SequenceSet, SetBound, UidSet};
use std::collections::BTreeMap;
use std::num::NonZeroU32;

/// How many ranges a set in a command has at most: with the longest numbers some 6600 octets of the 8192 that a line
/// may have (RFC 7162 §4).
const RANGES_MAX: usize = 300;

/// What a conditional STORE came to, message by message: the four are disjoint and make up what was asked for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[must_use = "a message that was lost, has vanished or is unproven was not changed by this write"]
pub struct StoreOutcome {
    /// Messages that this write changed, or found as it wanted them.
    pub won: Vec<Won>,
    /// Messages that had been changed since: the write was not done.
    pub lost: UidSet,
    /// Messages that are gone.
    pub vanished: UidSet,
    /// Messages of which the server gave no sign either way: to be treated as not changed.
    pub unproven: UidSet,
}

/// A message that a conditional STORE changed.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Won {
    /// The message.
    pub uid: Uid,
    /// Its mod-sequence now: the condition of the next write.
    pub mod_seq: ModSeq,
    /// Its flags now.
    pub flags: Vec<FlagName>,
}

/// A STORE that is being put together: see [`Connection::store`].
#[derive(Debug)]
pub struct StoreRequest<'a> {
    connection: &'a mut Connection,
    uids: UidSet,
}

/// A conditional STORE that is being put together.
#[derive(Debug)]
pub struct ConditionalStore<'a> {
    request: StoreRequest<'a>,
    since: ModSeq,
}

impl Connection {
    /// Begins a STORE on messages of the selected mailbox, by UID.
    pub fn store(&mut self, uids: UidSet) -> StoreRequest<'_> {
        StoreRequest { connection: self, uids }
    }
}

impl Connection {
    /// Fetches the flags of messages of the selected mailbox, and their mod-sequences where the server has them: what
    /// [`Answer::fetched`] tells of each is the condition of the next write to it. Messages that are gone are left out.
    ///
    /// # Errors
    /// As [`Connection::run`].
    pub async fn fetch_state(&mut self, uids: &UidSet) -> Result<Answer, Error> {
        // [C-2]
        let body = if self.has("CONDSTORE") || self.has("QRESYNC") { fetch_state } else { flags };
        let answers = self.ask_in_pieces(uids, body).await?;
        together(answers)
    }
}

impl<'a> StoreRequest<'a> {
    /// Only messages whose mod-sequence is not above this one are changed.
    #[must_use]
    pub fn unchanged_since(self, since: ModSeq) -> ConditionalStore<'a> {
        ConditionalStore { request: self, since }
    }

    /// Sets flags, whatever others did.
    ///
    /// # Errors
    /// As [`Connection::run`].
    pub async fn add(self, flags: &[Flag]) -> Result<Answer, Error> {
        self.send(StoreAction::Add, flags).await
    }

    /// Clears flags, whatever others did.
    ///
    /// # Errors
    /// As [`Connection::run`].
    pub async fn remove(self, flags: &[Flag]) -> Result<Answer, Error> {
        self.send(StoreAction::Remove, flags).await
    }

    /// Replaces all flags, whatever others did.
    ///
    /// # Errors
    /// As [`Connection::run`].
    pub async fn replace(self, flags: &[Flag]) -> Result<Answer, Error> {
        self.send(StoreAction::Replace, flags).await
    }

    async fn send(self, action: StoreAction, flags: &[Flag]) -> Result<Answer, Error> {
        let body = |set| store(set, None, action, flags);
        together(self.connection.ask_in_pieces(&self.uids, body).await?)
    }
}

impl ConditionalStore<'_> {
    /// Sets flags.
    ///
    /// # Errors
    /// As [`Connection::run`]; NO and BAD only when the whole command was refused.
    pub async fn add(self, flags: &[Flag]) -> Result<StoreOutcome, Error> {
        self.send(StoreAction::Add, flags).await
    }

    /// Clears flags.
    ///
    /// # Errors
    /// As [`ConditionalStore::add`].
    pub async fn remove(self, flags: &[Flag]) -> Result<StoreOutcome, Error> {
        self.send(StoreAction::Remove, flags).await
    }

    /// Replaces all flags.
    ///
    /// # Errors
    /// As [`ConditionalStore::add`].
    pub async fn replace(self, flags: &[Flag]) -> Result<StoreOutcome, Error> {
        self.send(StoreAction::Replace, flags).await
    }

    async fn send(self, action: StoreAction, flags: &[Flag]) -> Result<StoreOutcome, Error> {
        let Self { request: StoreRequest { connection, uids }, since } = self;
        if !(connection.has("CONDSTORE") || connection.has("QRESYNC")) {
            return Err(Error::Lacks("CONDSTORE"));
        }
        let condition = Some(ModSeqOrZero::from(since));
        let body = |set| store(set, condition, action, flags);
        let answers = connection.ask_in_pieces(&uids, body).await?;
        let wanted = Wanted { since, action, flags };
        let mut outcome = StoreOutcome::default();
        for (uids, answer) in answers {
            // NO with MODIFIED, or because some are gone, still tells which were done (RFC 7162 §3.1.3) [C-17].
            let tells = !answer.modified().is_empty() || answer.fetched().next().is_some();
            match answer.status {
                Status::Ok => outcome.add(judge(&uids, &wanted, &answer)),
                Status::No if tells => outcome.add(judge(&uids, &wanted, &answer)),
                // What the pieces before have done is not undone.
                _ if outcome != StoreOutcome::default() => {
                    outcome.unproven = outcome.unproven.union(&uids);
                }
                _ => drop(answer.ok()?),
            }
        }
        let unproven = outcome.unproven.clone();
        let mut answers = connection.ask_in_pieces(&unproven, fetch_state).await?.into_iter();
        // What cannot be read back stays unproven: the write itself was not refused.
        let all_told = answers.as_slice().iter().all(|(_, answer)| answer.status == Status::Ok);
        if let Some((_, mut all)) = answers.next().filter(|_| all_told) {
            all.untagged.extend(answers.flat_map(|(_, answer)| answer.untagged));
            outcome.read_back(&wanted, &all);
        }
        Ok(outcome)
    }
}

impl Connection {
    /// Asks the same of all messages, in as many commands as keep their lines short [C-31].
    async fn ask_in_pieces(
        &mut self,
        uids: &UidSet,
        body: impl Fn(SequenceSet) -> CommandBody,
    ) -> Result<Vec<(UidSet, Answer)>, Error> {
        let mut asked = Vec::new();
        for piece in uids.ranges().chunks(RANGES_MAX) {
            let piece = UidSet::from_ranges(piece.iter().copied());
            if let Some(set) = sequence(&piece) {
                asked.push((piece, self.submit(body(set))?));
            }
        }
        let mut answers = Vec::with_capacity(asked.len());
        for (piece, ticket) in asked {
            answers.push((piece, self.answer(ticket).await?));
        }
        Ok(answers)
    }
}

/// What a conditional STORE wanted.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The condition.
    pub since: ModSeq,
    /// Add, remove or replace.
    pub action: StoreAction,
    /// The flags named.
    pub flags: &'a [Flag],
}

impl Wanted<'_> {
    /// Whether the message is as this write leaves it, and was written after the condition: a MODSEQ alone proves
    /// nothing [C-18].
    fn is_proven_by(&self, fetched: &Fetched) -> Option<Won> {
        let (flags, mod_seq) = (fetched.flags.as_ref()?, fetched.mod_seq?);
        let has = |flag: &Flag| flags.contains(&FlagName::Flag(flag.clone()));
        let named = |flag: &FlagName| match flag {
            FlagName::Flag(flag) => self.flags.contains(flag),
            FlagName::Recent | FlagName::Any | FlagName::Other(_) => true,
        };
        let as_wanted = match self.action {
            StoreAction::Add => self.flags.iter().all(has),
            StoreAction::Remove => !self.flags.iter().any(has),
            StoreAction::Replace => self.flags.iter().all(has) && flags.iter().all(named),
        };
        (as_wanted && mod_seq > self.since).then(|| Won {
            uid: fetched.uid,
            mod_seq,
            flags: flags.clone(),
        })
    }
}

/// What the answer to a conditional `UID STORE` proves; pure, for those who pipeline commands themselves.
///
/// MODIFIED is believed whatever the flags are [C-15]; of the others those have won of which the server says so, not
/// all that MODIFIED leaves out [C-34].
pub fn judge(uids: &UidSet, wanted: &Wanted<'_>, answer: &Answer) -> StoreOutcome {
    let modified = answer.modified().intersection(uids);
    let vanished = answer.vanished().intersection(uids).difference(&modified);
    let mut last: BTreeMap<u32, Fetched> = BTreeMap::new();
    for fetched in answer.fetched() {
        last.insert(fetched.uid.value(), fetched);
    }
    let mut outcome = StoreOutcome { lost: modified, vanished, ..StoreOutcome::default() };
    for uid in uids.difference(&outcome.lost).difference(&outcome.vanished).iter() {
        match last.get(&uid).and_then(|fetched| wanted.is_proven_by(fetched)) {
            Some(won) => outcome.won.push(won),
            None => outcome.unproven.push(uid),
        }
    }
    outcome
}

/// What a conditional STORE came to for one message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate<'a> {
    /// This write changed it, or found it as wanted.
    Won(&'a Won),
    /// It had been changed since: the write was not done.
    Lost,
    /// It is gone.
    Vanished,
    /// The server gave no sign, or the message was not asked for.
    Unproven,
}

impl StoreOutcome {
    /// What it came to for this message.
    #[must_use]
    pub fn of(&self, uid: Uid) -> Fate<'_> {
        match self.won.iter().find(|won| won.uid == uid) {
            Some(won) => Fate::Won(won),
            None if self.lost.contains(uid.value()) => Fate::Lost,
            None if self.vanished.contains(uid.value()) => Fate::Vanished,
            None => Fate::Unproven,
        }
    }

    /// Adds what another command about other messages came to.
    fn add(&mut self, other: Self) {
        self.won.extend(other.won);
        self.lost = self.lost.union(&other.lost);
        self.vanished = self.vanished.union(&other.vanished);
        self.unproven = self.unproven.union(&other.unproven);
    }

    /// Sorts what is unproven by what a FETCH of it says: what is not told any more has vanished, what is otherwise
    /// than wanted was lost.
    pub fn read_back(&mut self, wanted: &Wanted<'_>, answer: &Answer) {
        let mut last: BTreeMap<u32, Fetched> = BTreeMap::new();
        for fetched in answer.fetched().filter(|f| f.flags.is_some() && f.mod_seq.is_some()) {
            last.insert(fetched.uid.value(), fetched);
        }
        let (mut unproven, mut vanished, mut lost) = (UidSet::new(), UidSet::new(), UidSet::new());
        for uid in self.unproven.iter() {
            match last.get(&uid) {
                None => vanished.push(uid),
                Some(fetched) => match wanted.is_proven_by(fetched) {
                    Some(won) => self.won.push(won),
                    // As wanted already and not above the condition: nobody wrote, so nothing is proven.
                    None if fetched.mod_seq.is_some_and(|n| n <= wanted.since) => {
                        unproven.push(uid);
                    }
                    None => lost.push(uid),
                },
            }
        }
        self.vanished = self.vanished.union(&vanished);
        self.lost = self.lost.union(&lost);
        self.unproven = unproven;
        self.won.sort_by_key(|won| won.uid);
    }
}

/// The answers to the pieces of one request as one, if all are OK.
fn together(answers: Vec<(UidSet, Answer)>) -> Result<Answer, Error> {
    let mut answers = answers.into_iter();
    let mut all = answers.next().ok_or_else(nothing)?.1.ok()?;
    for (_, answer) in answers {
        all.untagged.extend(answer.ok()?.untagged);
    }
    Ok(all)
}

fn nothing() -> Error {
    Error::Encode(imap::command_encode::EncodeError { expected: "at least one message" })
}

/// A `UID STORE` that wants to hear what became of each message.
#[must_use]
pub fn store(
    set: SequenceSet,
    unchanged_since: Option<ModSeqOrZero>,
    action: StoreAction,
    flags: &[Flag],
) -> CommandBody {
    let flags = flags.to_vec();
    CommandBody::Store(Store { uid: true, set, unchanged_since, action, silent: false, flags })
}

/// `UID FETCH set (UID FLAGS MODSEQ)`
#[must_use]
pub fn fetch_state(set: SequenceSet) -> CommandBody {
    fetch(set, vec![FetchItem::Uid, FetchItem::Flags, FetchItem::ModSeq])
}

/// `UID FETCH set (UID FLAGS)`
fn flags(set: SequenceSet) -> CommandBody {
    fetch(set, vec![FetchItem::Uid, FetchItem::Flags])
}

fn fetch(set: SequenceSet, items: Vec<FetchItem>) -> CommandBody {
    CommandBody::Fetch(Fetch { uid: true, set, items, changed_since: None, vanished: false })
}

/// The set as the wire says it; `None` when it is empty, which the wire cannot say.
#[must_use]
pub fn sequence(uids: &UidSet) -> Option<SequenceSet> {
    let bound = |n: u32| NonZeroU32::new(n).map(SetBound::Number);
    let ranges = uids.ranges().iter().filter_map(|(low, high)| Some((bound(*low)?, bound(*high)?)));
    let ranges: Vec<_> = ranges.collect();
    (!ranges.is_empty()).then_some(SequenceSet::Ranges(ranges))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conversation::Conversation;

    fn answer(lines: &str) -> Answer {
        let mut conversation = Conversation::default();
        conversation.receive(b"* OK hello\r\n").unwrap();
        let ticket = conversation.submit(CommandBody::Noop).unwrap();
        conversation.receive(lines.replace('\n', "\r\n").as_bytes()).unwrap();
        conversation.take_answer(ticket).unwrap()
    }

    fn flag(name: &str) -> Flag {
        match FlagName::new(name) {
            FlagName::Flag(flag) => flag,
            other => panic!("{other:?}"),
        }
    }

    fn uids(ranges: &[(u32, u32)]) -> UidSet {
        UidSet::from_ranges(ranges.iter().copied())
    }

    #[test]
    fn only_a_later_fetch_with_what_was_wanted_proves_anything() {
        // [C-15, C-17, C-18, C-34]: MODIFIED alone tells who lost, and a higher MODSEQ alone nothing.
        let flags = [flag("$mine")];
        let wanted =
            Wanted { since: ModSeq::new(10).unwrap(), action: StoreAction::Add, flags: &flags };
        let told = answer(
            "* 1 FETCH (UID 1 FLAGS ($mine) MODSEQ (11))\n\
             * 2 FETCH (UID 2 FLAGS ($other) MODSEQ (12))\n\
             * 3 FETCH (UID 3 FLAGS ($mine) MODSEQ (11))\n\
             * 3 FETCH (UID 3 FLAGS () MODSEQ (13))\n\
             * 4 FETCH (UID 4 FLAGS ($mine) MODSEQ (10))\n\
             * 5 FETCH (UID 5 FLAGS ($mine))\n\
             * VANISHED 6\nh1 OK [MODIFIED 7] done\n",
        );
        let mut outcome = judge(&uids(&[(1, 8)]), &wanted, &told);
        assert_eq!(outcome.won.iter().map(|won| won.uid.value()).collect::<Vec<_>>(), [1]);
        assert_eq!(
            (outcome.lost.clone(), outcome.vanished.clone()),
            (uids(&[(7, 7)]), uids(&[(6, 6)]))
        );
        assert_eq!(outcome.unproven, uids(&[(2, 5), (8, 8)]));
        let told = answer(
            "* 2 FETCH (UID 2 FLAGS ($other $mine) MODSEQ (14))\n\
             * 3 FETCH (UID 3 FLAGS () MODSEQ (13))\n\
             * 4 FETCH (UID 4 FLAGS ($mine) MODSEQ (10))\n\
             * 5 FETCH (UID 5 FLAGS ($mine) MODSEQ (11))\nh1 OK done\n",
        );
        outcome.read_back(&wanted, &told);
        assert_eq!(outcome.won.iter().map(|won| won.uid.value()).collect::<Vec<_>>(), [1, 2, 5]);
        assert_eq!(outcome.lost, uids(&[(3, 3), (7, 7)]));
        assert_eq!(outcome.vanished, uids(&[(6, 6), (8, 8)]));
        assert_eq!(outcome.unproven, uids(&[(4, 4)]));
        let of = |uid| outcome.of(Uid::new(uid).unwrap());
        assert!(matches!(of(2), Fate::Won(won) if won.mod_seq.value() == 14));
        assert_eq!(
            [of(3), of(6), of(4), of(9)],
            [Fate::Lost, Fate::Vanished, Fate::Unproven, Fate::Unproven]
        );
    }

    #[test]
    fn replace_wants_exactly_its_flags() {
        let flags = [flag("\\Deleted"), flag("$done")];
        let wanted =
            Wanted { since: ModSeq::new(10).unwrap(), action: StoreAction::Replace, flags: &flags };
        let told = answer(
            "* 1 FETCH (UID 1 FLAGS (\\Recent $Done \\Deleted) MODSEQ (11))\n\
             * 2 FETCH (UID 2 FLAGS ($done \\Deleted \\Seen) MODSEQ (11))\nh1 OK done\n",
        );
        let outcome = judge(&uids(&[(1, 2)]), &wanted, &told);
        assert_eq!(outcome.won.len(), 1);
        assert_eq!(outcome.unproven, uids(&[(2, 2)]));
    }
}
