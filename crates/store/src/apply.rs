//! The pure heart: a state and a change give a delta and what to answer.
//!
//! # Invariants
//! - No I/O, no clock, no randomness: the same state and change always give the same delta.
//! - The condition is tested and the mod-sequence handed out here, in one step, against one state [H2, S-79].
//! - Each change that does anything gets a mod-sequence of its own, greater than all before [S-9, S-10, S-16].

use crate::change::Error;
use crate::condition::Affected;
use crate::delta::{Delta, FlagRun};
use crate::engine::BodyId;
use crate::flags::{FlagSet, Keywords};
use crate::mailbox::MailboxState;
use crate::message::Message;
use imap::command::{DateTime, StoreAction};
use imap::flag::Flag;
use imap::number::{ModSeq, ModSeqOrZero, Uid};
use imap::set::UidSet;

/// A STORE as `apply` sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StoreFlags<'a> {
    pub(crate) uids: &'a UidSet,
    pub(crate) condition: Option<ModSeqOrZero>,
    pub(crate) action: StoreAction,
    pub(crate) flags: &'a [Flag],
}

/// Which messages a STORE changed, left, refused and missed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Sorted {
    pub(crate) changed: UidSet,
    pub(crate) unchanged: UidSet,
    pub(crate) failed: UidSet,
    pub(crate) missing: UidSet,
}

/// A message about to arrive.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    pub(crate) flags: Vec<Flag>,
    pub(crate) internal_date: DateTime,
    pub(crate) size: u64,
    pub(crate) body: BodyId,
}

const KEYWORDS_FULL: Error =
    Error::Limit("the mailbox has as many keywords as it can: use one of those it has");

impl MailboxState {
    /// A delta with the next mod-sequence that does nothing yet.
    pub(crate) fn next_delta(&self, recent: u32) -> Result<Delta, Error> {
        let next = self
            .highest
            .next()
            .ok_or(Error::Limit("the mod-sequences of this mailbox are used up"))?;
        Ok(Delta::new(next, self.uid_next, recent))
    }

    /// STORE: sorts the messages and makes the delta, `None` when nothing changes [S-13, S-55]. One that fails
    /// its condition stops none of the others [S-65].
    pub(crate) fn store_flags(
        &self,
        recent: u32,
        store: StoreFlags<'_>,
    ) -> Result<(Option<Delta>, Sorted), Error> {
        let known = |f: &Flag| self.keywords.bit_of(f);
        let named = store.flags.iter().filter_map(known).fold(FlagSet::EMPTY, FlagSet::with);
        let affected = Affected {
            action: store.action,
            named,
            names_new_keyword: store.flags.iter().any(|f| known(f).is_none()),
            by_message: self.conflicts_by_message,
        };
        let mut keywords = self.keywords.clone();
        let wanted = match store.action {
            StoreAction::Remove => named,
            StoreAction::Add | StoreAction::Replace => register(&mut keywords, store.flags)?,
        };
        let mut sorted = Sorted::default();
        let mut runs: Vec<FlagRun> = Vec::new();
        for (_, message) in self.tree.iter_uids(store.uids) {
            let uid = message.uid.value();
            // Each message is tested once against the state before, so naming it twice cannot fail it [S-78].
            if store.condition.is_some_and(|n| !affected.passes(message, n)) {
                sorted.failed.push(uid);
                continue;
            }
            let (set, clear) = effect(store.action, wanted, message.flags);
            if set.is_empty() && clear.is_empty() {
                sorted.unchanged.push(uid);
                continue;
            }
            sorted.changed.push(uid);
            match runs.iter_mut().find(|run| run.set == set && run.clear == clear) {
                Some(run) => run.uids.push(uid),
                None => runs.push(FlagRun { uids: UidSet::one(message.uid), set, clear }),
            }
        }
        let found = sorted.changed.union(&sorted.unchanged).union(&sorted.failed);
        // What is not there has not failed [S-71].
        sorted.missing = store.uids.difference(&found);
        if runs.is_empty() {
            return Ok((None, sorted));
        }
        let mut delta = self.next_delta(recent)?;
        delta.keywords = new_keywords(&self.keywords, &keywords);
        delta.flags = runs;
        Ok((Some(delta), sorted))
    }

    /// APPEND and delivery: one mod-sequence above all before, for the messages and their flags [S-14].
    pub(crate) fn append(
        &self,
        recent: u32,
        arrivals: &[Arrival],
        now: i64,
    ) -> Result<(Delta, UidSet), Error> {
        let mut delta = self.next_delta(recent)?;
        let mut keywords = self.keywords.clone();
        for arrival in arrivals {
            let flags = register(&mut keywords, &arrival.flags)?;
            let message = Message {
                uid: take_uid(&mut delta)?,
                flags,
                mod_seq: delta.mod_seq,
                arrival: delta.mod_seq,
                items: None,
                internal_date: arrival.internal_date,
                save_date: now,
                size: arrival.size,
                body: arrival.body,
            };
            delta.arrivals.push(message);
        }
        delta.keywords = new_keywords(&self.keywords, &keywords);
        let uids = delta.arrivals.iter().map(|m| m.uid).collect();
        Ok((delta, uids))
    }

    /// EXPUNGE: `None` when nothing is removed.
    pub(crate) fn expunge(
        &self,
        recent: u32,
        within: Option<&UidSet>,
    ) -> Result<Option<Delta>, Error> {
        let mut gone = UidSet::new();
        for (_, message) in self.tree.iter_deleted() {
            if within.is_none_or(|set| set.contains(message.uid.value())) {
                gone.push(message.uid.value());
            }
        }
        self.remove(recent, gone)
    }

    /// Removes these messages, with a mod-sequence of their own [S-136]: `None` when there are none.
    pub(crate) fn remove(&self, recent: u32, uids: UidSet) -> Result<Option<Delta>, Error> {
        if uids.is_empty() {
            return Ok(None);
        }
        let mut delta = self.next_delta(recent)?;
        delta.expunged = uids;
        Ok(Some(delta))
    }

    /// What COPY takes from here, in a form that any mailbox can take [S-154].
    pub(crate) fn arrivals_from(&self, uids: &UidSet) -> (UidSet, Vec<Arrival>) {
        let mut found = UidSet::new();
        let arrivals = self.tree.iter_uids(uids).map(|(_, message)| {
            found.push(message.uid.value());
            Arrival {
                flags: self.flags_of(message),
                internal_date: message.internal_date,
                size: message.size,
                body: message.body,
            }
        });
        let arrivals = arrivals.collect();
        (found, arrivals)
    }

    fn flags_of(&self, message: &Message) -> Vec<Flag> {
        let system = imap::flag::SystemFlag::ALL.into_iter().filter(|f| message.flags.has(*f));
        let keywords = self.keywords.names().filter(|keyword| {
            self.keywords.bit(keyword).is_some_and(|bit| message.flags.contains(bit))
        });
        system.map(Flag::System).chain(keywords.cloned().map(Flag::Keyword)).collect()
    }
}

/// What really becomes set and clear on a message with these flags.
fn effect(action: StoreAction, wanted: FlagSet, present: FlagSet) -> (FlagSet, FlagSet) {
    let missing = wanted.without(present);
    match action {
        StoreAction::Add => (missing, FlagSet::EMPTY),
        StoreAction::Remove => (FlagSet::EMPTY, wanted.intersection(present)),
        StoreAction::Replace => (missing, present.without(wanted)),
    }
}

/// The bits of the flags, new keywords added to the table.
fn register(keywords: &mut Keywords, flags: &[Flag]) -> Result<FlagSet, Error> {
    flags.iter().try_fold(FlagSet::EMPTY, |set, flag| {
        let bit = match flag {
            Flag::System(_) => keywords.bit_of(flag),
            Flag::Keyword(keyword) => keywords.add(keyword),
        };
        bit.map(|bit| set.with(bit)).ok_or(KEYWORDS_FULL)
    })
}

fn new_keywords(before: &Keywords, after: &Keywords) -> Vec<imap::flag::Keyword> {
    after.names().skip(before.names().count()).cloned().collect()
}

fn take_uid(delta: &mut Delta) -> Result<Uid, Error> {
    const USED_UP: Error =
        Error::Limit("the UIDs of this mailbox are used up: move its messages to a new one");
    let uid = Uid::new(delta.uid_next).ok_or(USED_UP)?;
    delta.uid_next = delta.uid_next.checked_add(1).ok_or(USED_UP)?;
    Ok(uid)
}

/// The first delta of a mailbox: HIGHESTMODSEQ begins at 1 [S-22].
pub(crate) fn birth(uid_validity: imap::number::UidValidity) -> Delta {
    let mut delta = Delta::new(ModSeq::MIN, 1, 0);
    delta.uid_validity = Some(uid_validity);
    delta
}

#[cfg(test)]
mod tests;
