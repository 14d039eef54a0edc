//! One batch in the making: the states as they will be, the commit, the answers.
//!
//! # Invariants
//! - A task that fails leaves no trace in the batch: everything it needs is computed before anything is noted.
//! - Rights and quotas are tested here, against the state that the change is applied to, and nowhere before it.

mod account;

pub(crate) use account::RENAMED;

use super::{Job, Task};
use crate::account::AccountState;
use crate::apply::{Arrival, Hand, StoreFlags};
use crate::change::{Appended, Change, Error, Expunged, NewMessage, Outcome, Stored, Transferred};
use crate::delta::Delta;
use crate::directory::Directory;
use crate::engine::{
    AccountId, Append, BodyId, Commit, Engine, EngineError, Fold, LogId, MailboxId, Standing,
};
use crate::learn::Learnt;
use crate::mailbox::MailboxState;
use crate::open::{OpenAccount, OpenMailbox};
use crate::quota::UsageChange;
use crate::receive::NewBody;
use futures_channel::oneshot;
use imap::acl::Rights;
use imap::set::UidSet;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

type Reply = oneshot::Sender<Result<Outcome, Error>>;

/// A mailbox in this batch.
struct Touched {
    open: Arc<OpenMailbox>,
    state: Arc<MailboxState>,
    octets: usize,
    deleted: bool,
}

/// An account in this batch.
struct TouchedAccount {
    open: Arc<OpenAccount>,
    state: Arc<AccountState>,
    deleted: bool,
}

pub(super) struct Work {
    mailboxes: HashMap<MailboxId, Touched>,
    accounts: HashMap<AccountId, TouchedAccount>,
    usage: BTreeMap<AccountId, (Arc<OpenAccount>, UsageChange)>,
    folded: Vec<(Arc<OpenMailbox>, Arc<MailboxState>)>,
    renewed: Vec<Arc<OpenMailbox>>,
    bodies: Vec<NewBody>,
    pub(super) commit: Commit,
    pub(super) replies: Vec<(Reply, Outcome)>,
}

/// Who asks for a change, and the accounts that it needs.
#[derive(Clone, Copy)]
pub(super) struct Asker<'a> {
    /// The user; `None` for delivery and administration.
    user: Option<AccountId>,
    accounts: &'a [Arc<OpenAccount>],
}

impl<'a> Asker<'a> {
    fn account(&self, id: AccountId) -> Result<&'a Arc<OpenAccount>, Error> {
        let found = self.accounts.iter().find(|open| open.id() == id);
        found.ok_or(Error::NonExistent)
    }
}

/// A mailbox's delta and the state after it.
type Step = (Arc<OpenMailbox>, Delta, Arc<MailboxState>);

impl Work {
    pub(super) fn new(now: i64) -> Self {
        Self {
            mailboxes: HashMap::new(),
            accounts: HashMap::new(),
            usage: BTreeMap::new(),
            folded: Vec::new(),
            renewed: Vec::new(),
            bodies: Vec::new(),
            commit: Commit { now, ..Commit::default() },
            replies: Vec::new(),
        }
    }

    /// Takes in what others wrote to the logs of these jobs.
    pub(super) fn learn(
        &mut self,
        standings: &[Standing],
        jobs: &[Job],
    ) -> Result<(), EngineError> {
        let standings: HashMap<LogId, &Standing> =
            standings.iter().map(|standing| (standing.log, standing)).collect();
        for open in jobs.iter().flat_map(|job| &job.mailboxes) {
            let Some(standing) = standings.get(&open.id.into()) else { continue };
            if !self.mailboxes.contains_key(&open.id) {
                self.learn_mailbox(open, open.learn(standing)?);
            }
        }
        for open in jobs.iter().flat_map(|job| &job.accounts) {
            let Some(standing) = standings.get(&open.id().into()) else { continue };
            if !self.accounts.contains_key(&open.id()) {
                self.learn_account(open, open.learn(standing)?);
            }
        }
        Ok(())
    }

    fn learn_mailbox(&mut self, open: &Arc<OpenMailbox>, learnt: Learnt<MailboxState>) {
        let (state, octets, deleted) = match learnt {
            Learnt::Nothing => return,
            Learnt::Newer(state, octets) => (state, octets, false),
            Learnt::Gone => (open.published.state(), 0, true),
        };
        let touched = Touched { open: Arc::clone(open), state, octets, deleted };
        self.mailboxes.insert(open.id, touched);
    }

    fn learn_account(&mut self, open: &Arc<OpenAccount>, learnt: Learnt<AccountState>) {
        let (state, deleted) = match learnt {
            Learnt::Nothing => return,
            Learnt::Newer(state, _) => (state, false),
            Learnt::Gone => (open.published.state(), true),
        };
        let touched = TouchedAccount { open: Arc::clone(open), state, deleted };
        self.accounts.insert(open.id(), touched);
    }

    /// Does one job, or answers at once why not.
    pub(super) fn apply(&mut self, job: Job, engine: &dyn Engine) {
        let Job { task, mailboxes, accounts, reply } = job;
        let result = match task {
            Task::Change { change, by } => {
                self.change(change, &mailboxes, Asker { user: by, accounts: &accounts })
            }
            Task::CreateAccount { name, row } => self.create_account(name, row, engine),
            Task::UpdateAccount { name, record } => self.update_account(name, record, engine),
            Task::DeleteAccount { name, id } => {
                self.delete_account(name, id, &mailboxes, Asker { user: None, accounts: &accounts })
            }
            Task::Renew { mailbox } => self.renew(mailbox, &mailboxes, &accounts),
            Task::Fold { fold, state } => Ok(self.fold(fold, state, &mailboxes)),
            Task::FoldAccount => {
                accounts.first().map_or(Ok(Outcome::Done), |open| self.fold_account(open))
            }
        };
        match result {
            Ok(outcome) => self.replies.push((reply, outcome)),
            Err(error) => drop(reply.send(Err(error))),
        }
    }

    /// Takes a fold into the commit, unless another writer's has come between.
    fn fold(
        &mut self,
        fold: Fold,
        state: Arc<MailboxState>,
        mailboxes: &[Arc<OpenMailbox>],
    ) -> Outcome {
        for open in mailboxes {
            let mut folded = open.folded.lock().unwrap_or_else(PoisonError::into_inner);
            let fits = fold.base.is_none_or(|base| folded.is_base && base == folded.at);
            if fits && fold.seq >= folded.at {
                drop(folded);
                self.commit.folds.push(fold);
                self.folded.push((Arc::clone(open), state));
                break;
            }
            folded.running = false;
        }
        Outcome::Done
    }

    fn change(
        &mut self,
        change: Change,
        open: &[Arc<OpenMailbox>],
        asker: Asker<'_>,
    ) -> Result<Outcome, Error> {
        match change {
            Change::StoreFlags { mailbox, uids, condition, action, flags } => {
                let open = find(open, mailbox)?;
                let by = self.hand(open, asker)?;
                let store = StoreFlags { uids: &uids, condition, action, flags: &flags, by };
                self.store_flags(open, store)
            }
            Change::Append { mailbox, messages } => {
                self.append(find(open, mailbox)?, &messages, asker)
            }
            Change::Post { mailbox, messages } => {
                let open = find(open, mailbox)?;
                if !self.state(open)?.acl.rights_of_anyone().contains(Rights::POST) {
                    return Err(Error::NoPermission);
                }
                self.append(open, &messages, asker)
            }
            Change::Expunge { mailbox, uids } => {
                self.expunge(find(open, mailbox)?, uids.as_ref(), asker)
            }
            Change::Transfer { source, target, uids, remove } => {
                let (source, target) = (find(open, source)?, find(open, target)?);
                self.transfer(source, target, &uids, remove, asker)
            }
            // The administrator's.
            Change::Configure { .. } if asker.user.is_some() => Err(Error::NoPermission),
            Change::Configure { mailbox, conflicts_by_message } => {
                let open = find(open, mailbox)?;
                let mut delta = self.state(open)?.next_delta(recent(open))?;
                delta.conflicts_by_message = Some(conflicts_by_message);
                let step = self.step(open, delta)?;
                self.note(step);
                Ok(Outcome::Done)
            }
            Change::Account { account: id, change } => {
                self.account_change(asker.account(id)?, change, open, asker)
            }
        }
    }

    /// What the asker may do with the mailbox as it is now in this batch.
    fn hand(&self, open: &Arc<OpenMailbox>, asker: Asker<'_>) -> Result<Hand, Error> {
        let Some(user) = asker.user else { return Ok(Hand::SERVER) };
        let state = self.state(open)?;
        let directory = self.directory(asker)?;
        Ok(state.hand(Some(user), &directory))
    }

    /// Groups and grants as they are now in this batch.
    fn directory(&self, asker: Asker<'_>) -> Result<Arc<Directory>, Error> {
        let open = asker.account(AccountId::SHARED)?;
        Ok(Arc::clone(&self.account_state(open)?.directory))
    }

    /// The owner's account; fails when what is added would go over its quota.
    fn within_quota<'a>(
        &self,
        owner: AccountId,
        change: UsageChange,
        asker: Asker<'a>,
    ) -> Result<&'a Arc<OpenAccount>, Error> {
        let open = asker.account(owner)?;
        let quota = self.account_state(open)?.quota;
        let pending = self.usage.get(&owner).map(|(_, pending)| *pending).unwrap_or_default();
        let then = open.usage().after(pending.and(change));
        quota.forbids(change, then).map_or(Ok(open), |why| Err(Error::OverQuota(why)))
    }

    fn note_usage(&mut self, open: &Arc<OpenAccount>, change: UsageChange) {
        let new = || (Arc::clone(open), UsageChange::default());
        let (_, sum) = self.usage.entry(open.id()).or_insert_with(new);
        *sum = sum.and(change);
    }

    /// Puts into the commit what all changes together do to each account's usage.
    pub(super) fn finish(&mut self) {
        let changed = self.usage.iter().filter(|(_, (_, sum))| *sum != UsageChange::default());
        self.commit.usage = changed.map(|(id, (_, sum))| (*id, *sum)).collect();
    }

    fn store_flags(
        &mut self,
        open: &Arc<OpenMailbox>,
        store: StoreFlags<'_>,
    ) -> Result<Outcome, Error> {
        let before = self.state(open)?;
        let (delta, sorted) = before.store_flags(recent(open), store)?;
        let mod_seq = delta.as_ref().map(|delta| delta.mod_seq);
        let step = delta.map(|delta| self.step(open, delta)).transpose()?;
        let after = self.note_some(step).unwrap_or_else(|| Arc::clone(&before));
        Ok(Outcome::Stored(Stored {
            before,
            after,
            mod_seq,
            changed: sorted.changed,
            unchanged: sorted.unchanged,
            failed: sorted.failed,
            missing: sorted.missing,
        }))
    }

    fn append(
        &mut self,
        open: &Arc<OpenMailbox>,
        messages: &[NewMessage],
        asker: Asker<'_>,
    ) -> Result<Outcome, Error> {
        let by = self.hand(open, asker)?;
        if !by.rights.contains(Rights::INSERT) {
            return Err(Error::NoPermission);
        }
        let arrivals: Vec<_> = messages
            .iter()
            .map(|message| Arrival {
                flags: message.flags.clone(),
                internal_date: message.internal_date,
                size: message.body.len(),
                body: message.body.id(),
            })
            .collect();
        let before = self.state(open)?;
        let (delta, uids) = before.append(recent(open), &arrivals, by, self.commit.now)?;
        let mod_seq = delta.mod_seq;
        let step = self.step(open, delta)?;
        let usage = usage_of(arrivals.iter().map(|arrival| arrival.size));
        let owner = self.within_quota(open.id.account, usage, asker)?;
        self.note_usage(owner, usage);
        for message in messages {
            self.note_body(&message.body);
            self.commit.references.push((message.body.id(), 1));
        }
        let after = self.note(step);
        Ok(Outcome::Appended(Appended { uid_validity: after.uid_validity, uids, mod_seq, after }))
    }

    /// Writes the body's row once, in whichever commit is the first to refer to it.
    fn note_body(&mut self, body: &NewBody) {
        let noted = body.is_committed() || self.bodies.iter().any(|other| other.id() == body.id());
        if !noted {
            self.commit.bodies.push(body.row.as_ref().clone());
            self.bodies.push(body.clone());
        }
    }

    fn expunge(
        &mut self,
        open: &Arc<OpenMailbox>,
        within: Option<&UidSet>,
        asker: Asker<'_>,
    ) -> Result<Outcome, Error> {
        if !self.hand(open, asker)?.rights.contains(Rights::EXPUNGE) {
            return Err(Error::NoPermission);
        }
        let owner = asker.account(open.id.account)?;
        let before = self.state(open)?;
        let delta = before.expunge(recent(open), within)?;
        let mod_seq = delta.as_ref().map(|delta| delta.mod_seq);
        let uids = delta.as_ref().map(|delta| delta.expunged.clone()).unwrap_or_default();
        let step = delta.map(|delta| self.step(open, delta)).transpose()?;
        self.release(&before, &uids, owner);
        let after = self.note_some(step).unwrap_or_else(|| Arc::clone(&before));
        Ok(Outcome::Expunged(Expunged { before, after, uids, mod_seq }))
    }

    /// The messages leave: their bodies lose a reference, their owner has less.
    fn release(&mut self, before: &MailboxState, uids: &UidSet, owner: &Arc<OpenAccount>) {
        let lost = before.tree.iter_uids(uids).map(|(_, message)| (message.body, -1));
        self.commit.references.extend(lost);
        let usage = usage_of(before.tree.iter_uids(uids).map(|(_, message)| message.size));
        self.note_usage(owner, usage.negated());
    }

    fn transfer(
        &mut self,
        source: &Arc<OpenMailbox>,
        target: &Arc<OpenMailbox>,
        uids: &UidSet,
        remove: bool,
        asker: Asker<'_>,
    ) -> Result<Outcome, Error> {
        let by = self.may_transfer(source, target, remove, asker)?;
        let source_before = self.state(source)?;
        let (source_uids, arrivals) = source_before.arrivals_from(uids, asker.user);
        let missing = uids.difference(&source_uids);
        let target_before = self.state(target)?;
        if arrivals.is_empty() {
            return Ok(Outcome::Transferred(Transferred {
                uid_validity: target_before.uid_validity,
                source_uids,
                target_uids: UidSet::new(),
                source_after: Arc::clone(&source_before),
                source_before,
                target_after: target_before,
                missing,
            }));
        }
        let (delta, target_uids) =
            target_before.append(recent(target), &arrivals, by, self.commit.now)?;
        let usage = usage_of(arrivals.iter().map(|arrival| arrival.size));
        let (from, to) = (asker.account(source.id.account)?, asker.account(target.id.account)?);
        if !(remove && from.id() == to.id()) {
            self.within_quota(to.id(), usage, asker)?;
        }
        let arrive = self.step(target, delta)?;
        let same = source.id == target.id;
        let source_now = if same { Arc::clone(&arrive.2) } else { Arc::clone(&source_before) };
        let leave = match remove {
            true => source_now.remove(recent(source), source_uids.clone())?,
            false => None,
        };
        let leave = leave
            .map(|delta| {
                let next = Arc::new(source_now.advance(&delta)?);
                Ok::<_, Error>((Arc::clone(source), delta, next))
            })
            .transpose()?;
        self.commit.references.extend(arrivals.iter().map(|arrival| (arrival.body, 1)));
        self.note_usage(to, usage);
        let arrived = self.note(arrive);
        if leave.is_some() {
            self.release(&source_before, &source_uids, from);
        }
        let source_after = self.note_some(leave).unwrap_or(source_now);
        let target_after = if same { Arc::clone(&source_after) } else { arrived };
        Ok(Outcome::Transferred(Transferred {
            uid_validity: target_before.uid_validity,
            source_uids,
            target_uids,
            source_before,
            source_after,
            target_after,
            missing,
        }))
    }

    /// COPY needs `r` here and `i` there, MOVE `t` and `e` too (RFC 6851 §4.3); answers the hand for the target.
    fn may_transfer(
        &self,
        source: &Arc<OpenMailbox>,
        target: &Arc<OpenMailbox>,
        remove: bool,
        asker: Asker<'_>,
    ) -> Result<Hand, Error> {
        let leave = Rights::DELETE_MESSAGES.union(Rights::EXPUNGE);
        let needed = if remove { Rights::READ.union(leave) } else { Rights::READ };
        let by = self.hand(target, asker)?;
        let may = self.hand(source, asker)?.rights.contains(needed);
        if may && by.rights.contains(Rights::INSERT) { Ok(by) } else { Err(Error::NoPermission) }
    }

    /// The mailbox's state as the changes so far in this batch left it.
    fn state(&self, open: &Arc<OpenMailbox>) -> Result<Arc<MailboxState>, Error> {
        match self.mailboxes.get(&open.id) {
            Some(touched) if touched.deleted => Err(Error::NonExistent),
            Some(touched) => Ok(Arc::clone(&touched.state)),
            None if open.published.is_gone() => Err(Error::NonExistent),
            None => Ok(open.published.state()),
        }
    }

    fn step(&self, open: &Arc<OpenMailbox>, delta: Delta) -> Result<Step, Error> {
        let next = Arc::new(self.state(open)?.advance(&delta)?);
        Ok((Arc::clone(open), delta, next))
    }

    fn note_some(&mut self, step: Option<Step>) -> Option<Arc<MailboxState>> {
        step.map(|step| self.note(step))
    }

    /// Takes the step into the commit; answers the state after it.
    fn note(&mut self, (open, delta, next): Step) -> Arc<MailboxState> {
        let before = self.mailboxes.get(&open.id).map(|touched| Arc::clone(&touched.state));
        let before = before.unwrap_or_else(|| open.published.state());
        let octets = self.append_log(open.id.into(), before.highest.value(), &delta);
        let touched = self.mailboxes.entry(open.id).or_insert_with(|| Touched {
            state: Arc::clone(&next),
            octets: 0,
            deleted: false,
            open,
        });
        touched.state = Arc::clone(&next);
        touched.octets += octets;
        next
    }

    /// Adds the delta to the commit; answers its length.
    fn append_log(&mut self, log: LogId, after: u64, delta: &Delta) -> usize {
        let (octets, history) = (delta.encode(), delta.history());
        let len = octets.len();
        self.commit.appends.push(Append {
            log,
            after,
            seq: delta.mod_seq.value(),
            delta: octets,
            history,
        });
        len
    }

    /// Publishes everything, then answers; tells which mailboxes have grown deltas.
    pub(super) fn publish(self) -> Vec<Arc<OpenMailbox>> {
        for body in &self.bodies {
            body.note_committed();
        }
        for (open, state) in self.folded {
            let mut folded = open.folded.lock().unwrap_or_else(PoisonError::into_inner);
            folded.at = state.highest.value();
            folded.is_base = true;
            folded.tree = state.tree.clone();
            folded.private = state.private.clone();
            folded.pending = 0;
            folded.running = false;
        }
        let mut touched_mailboxes = Vec::new();
        for touched in self.mailboxes.into_values() {
            if touched.deleted {
                touched.open.published.go();
                continue;
            }
            let mut folded = touched.open.folded.lock().unwrap_or_else(PoisonError::into_inner);
            folded.pending += touched.octets;
            drop(folded);
            touched.open.published.publish_newer(touched.state, |state| state.highest);
            touched_mailboxes.push(touched.open);
        }
        for touched in self.accounts.into_values() {
            if touched.deleted {
                touched.open.published.go();
            } else {
                touched.open.pending.fetch_add(1, Ordering::AcqRel);
                touched.open.published.publish_newer(touched.state, |state| state.seq);
            }
        }
        for open in self.renewed {
            open.doubtful.store(false, Ordering::Release);
        }
        for (open, change) in self.usage.into_values() {
            open.add_usage(change);
        }
        for (reply, outcome) in self.replies {
            drop(reply.send(Ok(outcome)));
        }
        touched_mailboxes
    }

    /// Answers the failure to all; nothing is published.
    pub(super) fn fail(self, error: &Error) {
        for (open, _) in &self.folded {
            open.folded.lock().unwrap_or_else(PoisonError::into_inner).running = false;
        }
        for (reply, _) in self.replies {
            drop(reply.send(Err(error.clone())));
        }
    }
}

/// What messages of these sizes come to.
fn usage_of(sizes: impl Iterator<Item = u64>) -> UsageChange {
    sizes.fold(UsageChange::default(), |sum, size| {
        sum.and(UsageChange { octets: i64::try_from(size).unwrap_or(i64::MAX), messages: 1 })
    })
}

fn find(open: &[Arc<OpenMailbox>], id: MailboxId) -> Result<&Arc<OpenMailbox>, Error> {
    open.iter().find(|open| open.id == id).ok_or(Error::NonExistent)
}

fn recent(open: &OpenMailbox) -> u32 {
    open.recent.load(Ordering::Acquire)
}

/// All bodies that a mailbox refers to, each with the reference it gives up.
fn all_bodies(state: &MailboxState) -> impl Iterator<Item = (BodyId, i32)> {
    state.tree.iter().map(|(_, message)| (message.body, -1))
}
