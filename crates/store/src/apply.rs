//! The pure heart: a state and a change give a delta and what to answer.
//!
//! # Invariants
//! - No I/O, no clock, no randomness: the same state and change always give the same delta.
//! - The condition is tested and the mod-sequence handed out here, in one step, against one state [H2, S-79].
//! - Each change that does anything gets a mod-sequence of its own, greater than all before [S-9, S-10, S-16].

use crate::acl::Acl;
use crate::change::Error;
use crate::condition::Affected;
use crate::delta::{Delta, FlagRun};
use crate::directory::Directory;
use crate::engine::{AccountId, BodyId};
use crate::flags::{FlagSet, Keywords};
use crate::mailbox::MailboxState;
use crate::message::Message;
use crate::private::MarkRun;
use imap::acl::Rights;
use imap::command::{DateTime, StoreAction};
use imap::flag::{Flag, SystemFlag};
use imap::number::{ModSeq, ModSeqOrZero, Uid, UidValidity};
use imap::set::UidSet;

/// On whose behalf a change is made, and what they may do with the mailbox.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hand {
    /// The user; `None` for delivery and administration.
    pub(crate) user: Option<AccountId>,
    pub(crate) rights: Rights,
}

impl Hand {
    /// Delivery and administration: everything is allowed, nothing is private.
    pub(crate) const SERVER: Self = Self { user: None, rights: Rights::ALL };

    /// The flags that may be changed (RFC 4314 §4) [S-167].
    fn flags(&self) -> FlagSet {
        let part = |right, flags| if self.rights.contains(right) { flags } else { FlagSet::EMPTY };
        let others = FlagSet(!FlagSet::SEEN.union(FlagSet::DELETED).0);
        part(Rights::SEEN, FlagSet::SEEN)
            .union(part(Rights::DELETE_MESSAGES, FlagSet::DELETED))
            .union(part(Rights::WRITE, others))
    }

    /// Whether the flag may be changed.
    fn may_change(&self, flag: &Flag) -> bool {
        self.rights.contains(match flag {
            Flag::System(SystemFlag::Seen) => Rights::SEEN,
            Flag::System(SystemFlag::Deleted) => Rights::DELETE_MESSAGES,
            Flag::System(_) | Flag::Keyword(_) => Rights::WRITE,
        })
    }
}

/// A STORE as `apply` sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StoreFlags<'a> {
    pub(crate) uids: &'a UidSet,
    pub(crate) condition: Option<ModSeqOrZero>,
    pub(crate) action: StoreAction,
    pub(crate) flags: &'a [Flag],
    pub(crate) by: Hand,
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
    /// A delta with the next mod-sequence, counted and never read from a clock [S-11], that does nothing yet.
    pub(crate) fn next_delta(&self, recent: u32) -> Result<Delta, Error> {
        let next = self
            .highest
            .next()
            .ok_or(Error::Limit("the mod-sequences of this mailbox are used up"))?;
        Ok(Delta::new(next, self.uid_next, recent))
    }

    /// The mailbox's rights of this user.
    pub(crate) fn hand(&self, user: Option<AccountId>, directory: &Directory) -> Hand {
        Hand { user, rights: user.map_or(Rights::ALL, |user| self.rights(user, directory)) }
    }

    /// STORE: sorts the messages and makes the delta, `None` when nothing changes [S-13, S-55]. One that fails
    /// its condition is left alone [S-64] and stops none of the others [S-65].
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
        let allowed: Vec<Flag> =
            store.flags.iter().filter(|flag| store.by.may_change(flag)).cloned().collect();
        let replaces = store.action == StoreAction::Replace;
        if if replaces {
            store.by.flags().is_empty()
        } else {
            allowed.is_empty() && !store.flags.is_empty()
        } {
            return Err(Error::NoPermission);
        }
        let mut keywords = self.keywords.clone();
        let wanted = match store.action {
            StoreAction::Remove => named,
            StoreAction::Add | StoreAction::Replace => register(&mut keywords, &allowed)?,
        };
        let may = self.may_change(store.by);
        let mut sorted = Sorted::default();
        let mut runs = Runs::default();
        for (_, shared) in self.tree.iter_uids(store.uids) {
            let message = self.own_message(store.by.user, shared);
            let uid = message.uid.value();
            // Each message is tested once against the state before, so naming it twice cannot fail it [S-78].
            if store.condition.is_some_and(|n| !affected.passes(&message, n)) {
                sorted.failed.push(uid);
                continue;
            }
            let (set, clear) = effect(store.action, wanted, message.flags);
            let (set, clear) = (set.intersection(may), clear.intersection(may));
            if set.is_empty() && clear.is_empty() {
                sorted.unchanged.push(uid);
                continue;
            }
            sorted.changed.push(uid);
            runs.add(message.uid, set, clear, self.private_user(store.by));
        }
        let found = sorted.changed.union(&sorted.unchanged).union(&sorted.failed);
        // What is not there has not failed [S-71].
        sorted.missing = store.uids.difference(&found);
        if sorted.changed.is_empty() {
            return Ok((None, sorted));
        }
        let mut delta = self.next_delta(recent)?;
        delta.keywords = new_keywords(&self.keywords, &keywords);
        (delta.flags, delta.marks) = (runs.flags, runs.marks);
        Ok((Some(delta), sorted))
    }

    /// Whose own `\Seen` a change is about, where it is private.
    fn private_user(&self, by: Hand) -> Option<AccountId> {
        by.user.filter(|_| self.private.is_some())
    }

    /// The flags that a STORE may change here: nobody changes everybody's `\Seen` while it is private.
    fn may_change(&self, by: Hand) -> FlagSet {
        let nobodys = self.private.is_some() && by.user.is_none();
        if nobodys { by.flags().without(FlagSet::SEEN) } else { by.flags() }
    }

    /// APPEND and delivery: one mod-sequence above all before, for the messages and their flags [S-14].
    pub(crate) fn append(
        &self,
        recent: u32,
        arrivals: &[Arrival],
        by: Hand,
        now: i64,
    ) -> Result<(Delta, UidSet), Error> {
        let mut delta = self.next_delta(recent)?;
        let mut keywords = self.keywords.clone();
        let mut seen = UidSet::new();
        for arrival in arrivals {
            // Flags without the right to set them are left out, the message is taken (RFC 4314 §4).
            let flags: Vec<Flag> =
                arrival.flags.iter().filter(|flag| by.may_change(flag)).cloned().collect();
            let mut flags = register(&mut keywords, &flags)?;
            if self.private_user(by).is_some() && !flags.intersection(FlagSet::SEEN).is_empty() {
                flags = flags.without(FlagSet::SEEN);
                seen.push(delta.uid_next);
            }
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
        if let Some(user) = self.private_user(by).filter(|_| !seen.is_empty()) {
            delta.marks = vec![MarkRun { user, seen: true, uids: seen }];
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
    pub(crate) fn arrivals_from(
        &self,
        uids: &UidSet,
        user: Option<AccountId>,
    ) -> (UidSet, Vec<Arrival>) {
        let mut found = UidSet::new();
        let arrivals = self.tree.iter_uids(uids).map(|(_, message)| {
            found.push(message.uid.value());
            Arrival {
                flags: self.flags_of(&self.own_message(user, message)),
                internal_date: message.internal_date,
                size: message.size,
                body: message.body,
            }
        });
        let arrivals = arrivals.collect();
        (found, arrivals)
    }

    /// `\Seen` becomes each user's own, or what it was for the owner becomes everybody's; `None` when it is so
    /// already.
    pub(crate) fn set_private_seen(
        &self,
        recent: u32,
        private: bool,
        uid_validity: UidValidity,
    ) -> Result<Option<Delta>, Error> {
        if self.private.is_some() == private {
            return Ok(None);
        }
        let mut delta = self.next_delta(recent)?;
        delta.private_seen = Some(private);
        delta.uid_validity = Some(uid_validity);
        let owners = self.private.as_ref().and_then(|private| private.of(self.id.account));
        if let Some(own) = owners {
            let (seen, unseen) = (own.differing(true), own.differing(false));
            let set = FlagRun { uids: seen, set: FlagSet::SEEN, clear: FlagSet::EMPTY };
            let clear = FlagRun { uids: unseen, set: FlagSet::EMPTY, clear: FlagSet::SEEN };
            delta.flags = [set, clear].into_iter().filter(|run| !run.uids.is_empty()).collect();
        }
        Ok(Some(delta))
    }

    fn flags_of(&self, message: &Message) -> Vec<Flag> {
        let system = SystemFlag::ALL.into_iter().filter(|f| message.flags.has(*f));
        let keywords = self.keywords.names().filter(|keyword| {
            self.keywords.bit(keyword).is_some_and(|bit| message.flags.contains(bit))
        });
        system.map(Flag::System).chain(keywords.cloned().map(Flag::Keyword)).collect()
    }
}

/// What a STORE changes, in as few runs as there are ways of changing.
#[derive(Default)]
struct Runs {
    flags: Vec<FlagRun>,
    marks: Vec<MarkRun>,
}

impl Runs {
    /// Adds a message; `private` is whose own `\Seen` it is about.
    fn add(&mut self, uid: Uid, set: FlagSet, clear: FlagSet, private: Option<AccountId>) {
        let seen = set.union(clear).intersection(FlagSet::SEEN);
        let (mut set_here, mut clear_here) = (set, clear);
        if let Some(user) = private.filter(|_| !seen.is_empty()) {
            (set_here, clear_here) = (set.without(FlagSet::SEEN), clear.without(FlagSet::SEEN));
            let seen = !set.intersection(FlagSet::SEEN).is_empty();
            match self.marks.iter_mut().find(|run| run.seen == seen) {
                Some(run) => run.uids.push(uid.value()),
                None => self.marks.push(MarkRun { user, seen, uids: UidSet::one(uid) }),
            }
        }
        if set_here.is_empty() && clear_here.is_empty() {
            return;
        }
        match self.flags.iter_mut().find(|run| run.set == set_here && run.clear == clear_here) {
            Some(run) => run.uids.push(uid.value()),
            None => self.flags.push(FlagRun {
                uids: UidSet::one(uid),
                set: set_here,
                clear: clear_here,
            }),
        }
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
pub(crate) fn birth(uid_validity: UidValidity, acl: &Acl) -> Delta {
    let mut delta = Delta::new(ModSeq::MIN, 1, 0);
    delta.uid_validity = Some(uid_validity);
    delta.acl = (!acl.is_empty()).then(|| acl.clone());
    delta
}

#[cfg(test)]
mod tests;
