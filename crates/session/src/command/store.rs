//! STORE and UID STORE, plain and conditional.
//!
//! Consecutive STOREs are submitted without waiting for each other; the store carries them out in the order
//! submitted, and they are answered in that order [S-82].
//!
//! # Invariants
//! - Message numbers are resolved against the session's own view, which does not move while STOREs wait.
//! - Every message that was asked for is answered for, or known to be as the client has it.
//!
//! # Standards
//! RFC 3501 §6.4.6, RFC 7162 §3.1.3.

use super::copy::numbers_expected;
use crate::refusal::{Refusal, Stop};
use crate::session::{Next, Reply, Session, Tell};
use crate::shared::{Closed, Event, Sink, relieve};
use crate::view::{Line, View, Voice};
use imap::command::{Store, Tag};
use imap::encode::{Code, Status};
use imap::set::{SequenceSet, UidSet};
use store::{Change, Message, Outcome, Pending, Stored};

const NAME: &str = "STORE";

/// A STORE that waits for the store.
pub(crate) struct InFlight {
    tag: Tag,
    command: Store,
    /// What message numbers stood for; `None` for UIDs.
    numbered: Option<UidSet>,
    since: u64,
    pending: Pending,
}

impl Session {
    /// Submits a STORE. It is answered when the next command is not a STORE, or nothing more was received.
    pub(crate) async fn store_begin<S: Sink>(
        &mut self,
        tag: Tag,
        command: Store,
        since: u64,
        sink: &mut S,
    ) -> Result<Next, Closed> {
        let conditional = command.unchanged_since.is_some();
        let checked = self.check_store(&command);
        if (checked.is_err() || conditional && !self.voice.aware)
            && self.finish_stores(sink).await? == Next::Close
        {
            return Ok(Next::Close);
        }
        let (change, numbered) = match checked {
            Ok(checked) => checked,
            Err(refusal) => return self.finish(&tag, NAME, since, Err(refusal.into()), sink).await,
        };
        if conditional {
            // HIGHESTMODSEQ as it is before this STORE [S-26, S-27, S-84].
            self.become_aware(sink);
        }
        let pending = match self.login() {
            Ok(login) => self.shared.store.submit_by(login.identity.account, change),
            Err(refusal) => return self.finish(&tag, NAME, since, Err(refusal.into()), sink).await,
        };
        self.in_flight.push_back(InFlight { tag, command, numbered, since, pending });
        if self.in_flight.len() >= self.shared.config.stores_in_flight_max
            && let Some(first) = self.in_flight.pop_front()
        {
            return self.store_end(first, sink).await;
        }
        Ok(Next::Read)
    }

    /// The change that the command asks for, and what its message numbers stand for.
    fn check_store(&mut self, command: &Store) -> Result<(Change, Option<UidSet>), Refusal> {
        self.login()?;
        let has_mod_seqs = self.has_mod_seqs();
        let view = self.selected()?;
        if command.unchanged_since.is_some() && !has_mod_seqs {
            return Err(no_mod_seqs()); // [S-35]
        }
        if view.read_only {
            return Err(Refusal::read_only()); // [S-83]
        }
        let uids = if command.uid {
            view.uids_of_uids(&command.set)
        } else {
            view.uids_of_numbers(&command.set).ok_or_else(numbers_expected)? // [S-72]
        };
        let by_number = !command.uid && command.set != SequenceSet::Saved;
        let numbered = by_number.then(|| uids.clone());
        let change = Change::StoreFlags {
            mailbox: view.mailbox.id(),
            uids,
            condition: command.unchanged_since,
            action: command.action,
            flags: command.flags.clone(),
        };
        Ok((change, numbered))
    }

    /// Answers every STORE that was submitted.
    pub(crate) async fn finish_stores<S: Sink>(&mut self, sink: &mut S) -> Result<Next, Closed> {
        while let Some(first) = self.in_flight.pop_front() {
            if self.store_end(first, sink).await? == Next::Close {
                // What the others did is unknown to the client, as is this one [H1].
                self.in_flight.clear();
                return Ok(Next::Close);
            }
            relieve(sink).await?;
        }
        Ok(Next::Read)
    }

    async fn store_end<S: Sink>(&mut self, job: InFlight, sink: &mut S) -> Result<Next, Closed> {
        let InFlight { tag, command, numbered, since, pending } = job;
        let result = match pending.await {
            Ok(Outcome::Stored(stored)) => {
                self.store_answer(&command, numbered.as_ref(), &stored, sink).await
            }
            Ok(_) => Err(Refusal::no("The store answered something else").into()),
            Err(error) => Err(error.into()),
        };
        self.finish(&tag, NAME, since, result, sink).await
    }

    /// The lines that a STORE owes, and its tagged answer.
    async fn store_answer<S: Sink>(
        &mut self,
        command: &Store,
        numbered: Option<&UidSet>,
        stored: &Stored,
        sink: &mut S,
    ) -> Result<Reply, Stop> {
        let voice = self.voice;
        // Numbers that a later STORE of the pipeline named must still be valid for it [S-60, S-143].
        let expunges = command.uid && self.in_flight.is_empty();
        let view = self.selected()?;
        let after = view.accept(&stored.after)?;
        view.tell_numbers(&after, expunges, voice, sink).await?;
        view.tell_keywords(sink);
        let touched = stored.changed.union(&stored.unchanged).union(&stored.failed);
        for (_, message) in after.tree().iter_uids(&touched) {
            if let Some(line) = owed(view, command, stored, message, voice) {
                view.tell_message(message, line, voice, sink);
                relieve(sink).await?;
            }
        }
        let state = after;
        let mut reply = Reply::ok("Stored").tell(Tell::UpTo { state, expunges, known: touched });
        if !stored.failed.is_empty() {
            // With OK, even if all failed [S-69]: message numbers for STORE, UIDs for UID STORE
            // [S-66, S-67, S-68].
            let failed = &stored.failed;
            let named =
                if command.uid { failed.clone() } else { view.numbering().seqs_of_uids(failed) };
            reply.code = Some(Code::Modified(named));
            reply.text = "Some were changed since".into();
            self.shared.observer.count(Event::Conflict);
        }
        let gone = numbered.is_some_and(|uids| {
            uids.difference(&stored.before.tree().existing(uids)) != UidSet::new()
        });
        if gone {
            // The others are done; MODIFIED names none of those that are gone [S-70, S-147].
            reply.status = Status::No;
            reply.text = "Some of the messages are gone: NOOP tells which".into();
            reply.code = reply.code.or(Some(Code::ExpungeIssued));
        }
        Ok(reply)
    }
}

/// BAD for commands that need mod-sequences where there are none [S-35].
pub(super) fn no_mod_seqs() -> Refusal {
    Refusal::bad("This mailbox has no mod-sequences: expected a command without them")
}

/// The line that this STORE owes for a message of its set, if any.
fn owed(
    view: &View,
    command: &Store,
    stored: &Stored,
    message: &Message,
    voice: Voice,
) -> Option<Line> {
    let uid = message.uid.value();
    let before = view.mailbox.message_of(&stored.before, message.uid);
    let before = before.as_ref().unwrap_or(message);
    // Somebody else's change is told whatever this command is silent about [S-59].
    let untold = view.untold(before);
    // The client's own condition says that it may know less than it was told [S-76].
    let newer = command.unchanged_since.is_some_and(|n| before.mod_seq.value() > n.value());
    let flags = !command.silent || untold || newer;
    let line = Line { flags, uid: command.uid };
    if stored.failed.contains(uid) {
        return Some(Line { flags: true, ..line }); // [S-77]
    }
    let changed = stored.changed.contains(uid);
    let conditional = command.unchanged_since.is_some();
    // A conditional STORE that passes is always answered [S-63, S-80]; a silent one tells an aware client
    // the new MODSEQ [S-57]; one that is not silent echoes [S-58].
    let due = flags || conditional || (changed && voice.aware);
    due.then_some(line)
}
