//! Changes of accounts and of mailbox names, in the same batch as everything else.

use super::{Asker, TouchedAccount, Work, all_bodies, find, recent};
use crate::account::{AccountChange, AccountDelta, AccountState, DELIMITER, INBOX, SpecialUse};
use crate::acl::{Acl, Grantee};
use crate::apply::{Hand, birth};
use crate::change::{Error, Outcome};
use crate::engine::{AccountId, AccountRow, Append, Engine, Fold, LogId, MailboxId};
use crate::mailbox::MailboxState;
use crate::open::{OpenAccount, OpenMailbox};
use crate::quota::UsageChange;
use imap::acl::{Rights, RightsChange};
use imap::number::UidValidity;
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl Work {
    pub(super) fn account_change(
        &mut self,
        open: &Arc<OpenAccount>,
        change: AccountChange,
        mailboxes: &[Arc<OpenMailbox>],
        asker: Asker<'_>,
    ) -> Result<Outcome, Error> {
        let state = self.account_state(open)?;
        self.may_change_account(&state, &change, asker)?;
        let delta = match change {
            AccountChange::Create { name, special_use } => {
                return self.create(open, &state, name, special_use, asker).map(Outcome::Created);
            }
            AccountChange::Delete { name } => {
                return self.delete(open, &state, name, mailboxes, asker);
            }
            AccountChange::Rename { from, to } if from == INBOX => {
                return self.rename_inbox(open, &state, to, mailboxes);
            }
            AccountChange::SetAcl { name, grantee, negative, rights, owner } => {
                let entry = (&grantee, negative, rights);
                return self.set_acl(open, &name, entry, &owner, mailboxes, asker);
            }
            AccountChange::SetPrivateSeen { name, private } => {
                return self.set_private_seen(open, &state, name, private, mailboxes);
            }
            AccountChange::Rename { from, to } => {
                may_rename(&state, &from, &to)?;
                Some(AccountDelta::Rename { from, to })
            }
            AccountChange::Subscribe { name } => {
                (!state.is_subscribed(&name)).then_some(AccountDelta::Subscribe { name })
            }
            AccountChange::Unsubscribe { name } => {
                state.is_subscribed(&name).then_some(AccountDelta::Unsubscribe { name })
            }
            AccountChange::SetQuota(quota) => {
                (state.quota != quota).then_some(AccountDelta::Quota(quota))
            }
            AccountChange::SetMember { group, account, name, member } => {
                let is = state.directory.is_member(&group, account);
                (is != member).then_some(AccountDelta::Member { group, account, name, member })
            }
        };
        delta.iter().try_for_each(|delta| self.note_account(open, delta))?;
        Ok(Outcome::Done)
    }

    /// Whether the asker may do this to the account: another's names need rights (RFC 4314 §4).
    fn may_change_account(
        &self,
        state: &AccountState,
        change: &AccountChange,
        asker: Asker<'_>,
    ) -> Result<(), Error> {
        let Some(user) = asker.user else { return Ok(()) };
        let own = user == state.id;
        let directory = self.directory(asker)?;
        let has = |name: &str, right| state.rights(name, user, &directory).contains(right);
        let above = |name| own || state.parent(name).is_some_and(|name| has(name, Rights::CREATE));
        let may = match change {
            // What a special use is for is the owner's to say (RFC 6154 §7).
            AccountChange::Create { name, special_use } => {
                above(name) && (own || special_use.is_empty())
            }
            AccountChange::Delete { name } => has(name, Rights::DELETE_MAILBOX),
            AccountChange::Rename { from, to } => {
                own || from != INBOX && has(from, Rights::DELETE_MAILBOX) && above(to)
            }
            AccountChange::SetAcl { name, .. } => has(name, Rights::ADMINISTER),
            AccountChange::Subscribe { .. } | AccountChange::Unsubscribe { .. } => own,
            // The administrator's.
            AccountChange::SetPrivateSeen { .. }
            | AccountChange::SetQuota(_)
            | AccountChange::SetMember { .. } => false,
        };
        if may { Ok(()) } else { Err(Error::NoPermission) }
    }

    fn create(
        &mut self,
        open: &Arc<OpenAccount>,
        state: &AccountState,
        name: String,
        special_use: Vec<SpecialUse>,
        asker: Asker<'_>,
    ) -> Result<MailboxId, Error> {
        may_take(state, &name)?;
        let begin = (state.next_number == 1).then(|| AccountDelta::begin(self.commit.now));
        let begun = begin.as_ref().map(|delta| state.advance(delta, state.seq + 1));
        let (id, uid_validity) = new_mailbox(begun.as_ref().unwrap_or(state), self.commit.now)?;
        // The entries of the mailbox above (RFC 4314 §4).
        let above = state.parent(&name).and_then(|parent| state.mailbox(parent));
        let acl = above.map(|entry| Arc::clone(&entry.acl)).unwrap_or_default();
        // Looked up first: from here on nothing may fail.
        asker.account(AccountId::SHARED)?;
        begin.iter().try_for_each(|delta| self.note_account(open, delta))?;
        self.append_log(id.into(), 0, &birth(uid_validity, &acl));
        let inherited = AccountDelta::Acl { name: name.clone(), acl: acl.as_ref().clone() };
        let create = AccountDelta::Create { name, number: id.number, uid_validity, special_use };
        self.note_account(open, &create)?;
        if !acl.is_empty() {
            self.note_account(open, &inherited)?;
        }
        Ok(id)
    }

    fn delete(
        &mut self,
        open: &Arc<OpenAccount>,
        state: &AccountState,
        name: String,
        mailboxes: &[Arc<OpenMailbox>],
        asker: Asker<'_>,
    ) -> Result<Outcome, Error> {
        if name == INBOX {
            return Err(Error::Cannot("INBOX cannot be deleted"));
        }
        let entry = state.mailbox(&name).ok_or(Error::NonExistent)?;
        let id = entry.id.ok_or(Error::HasChildren)?;
        let mailbox = find(mailboxes, id).map_err(|_| RENAMED)?;
        let messages = self.state(mailbox)?.tree.summary();
        let directory = asker.account(AccountId::SHARED)?;
        self.drop_mailbox(mailbox)?;
        let octets = i64::try_from(messages.size).unwrap_or(i64::MAX);
        let usage = UsageChange { octets, messages: i64::from(messages.count) };
        self.note_usage(open, usage.negated());
        self.note_account(open, &AccountDelta::Delete { name })?;
        self.note_grants(open, state, "", directory)?;
        Ok(Outcome::Done)
    }

    /// SETACL: the mailbox's own list, the copy beside its name, and by what others find the account.
    fn set_acl(
        &mut self,
        open: &Arc<OpenAccount>,
        name: &str,
        (grantee, negative, rights): (&Grantee, bool, RightsChange),
        owner: &str,
        mailboxes: &[Arc<OpenMailbox>],
        asker: Asker<'_>,
    ) -> Result<Outcome, Error> {
        const FULL: Error = Error::Limit("the access control list is full: use a group");
        let before = self.account_state(open)?;
        let id = before.mailbox(name).and_then(|entry| entry.id).ok_or(Error::NonExistent)?;
        if *grantee == (Grantee::User { account: id.account, name: owner.to_owned() }) {
            return Err(Error::Cannot("the owner of a mailbox always has every right"));
        }
        let mailbox = find(mailboxes, id).map_err(|_| RENAMED)?;
        let directory = asker.account(AccountId::SHARED)?;
        let state = self.state(mailbox)?;
        let acl = state.acl.with(grantee, negative, rights).ok_or(FULL)?;
        if acl == *state.acl {
            return Ok(Outcome::Done);
        }
        let mut delta = state.next_delta(recent(mailbox))?;
        delta.acl = Some(acl.clone());
        let step = self.step(mailbox, delta)?;
        self.note(step);
        self.note_account(open, &AccountDelta::Acl { name: name.to_owned(), acl })?;
        self.note_grants(open, &before, owner, directory)?;
        Ok(Outcome::Done)
    }

    /// Brings the directory up to what the account's lists say now.
    fn note_grants(
        &mut self,
        open: &Arc<OpenAccount>,
        before: &AccountState,
        owner: &str,
        directory: &Arc<OpenAccount>,
    ) -> Result<(), Error> {
        let (before, after) = (before.grants(), self.account_state(open)?.grants());
        let given = after.difference(&before).map(|key| (key, true));
        let taken = before.difference(&after).map(|key| (key, false));
        for (key, given) in given.chain(taken) {
            let (key, name) = (key.clone(), owner.to_owned());
            let grant = AccountDelta::Grant { key, owner: open.id(), name, given };
            self.note_account(directory, &grant)?;
        }
        Ok(())
    }

    fn set_private_seen(
        &mut self,
        open: &Arc<OpenAccount>,
        state: &AccountState,
        name: String,
        private: bool,
        mailboxes: &[Arc<OpenMailbox>],
    ) -> Result<Outcome, Error> {
        let id = state.mailbox(&name).and_then(|entry| entry.id).ok_or(Error::NonExistent)?;
        let mailbox = find(mailboxes, id).map_err(|_| RENAMED)?;
        let (_, uid_validity) = next_mailbox(state, self.commit.now)?;
        let before = self.state(mailbox)?;
        let delta = before.set_private_seen(recent(mailbox), private, uid_validity)?;
        let step = delta.map(|delta| self.step(mailbox, delta)).transpose()?;
        if self.note_some(step).is_some() {
            self.note_account(open, &AccountDelta::Revalidate { name, uid_validity })?;
        }
        Ok(Outcome::Done)
    }

    /// What clients know of the mailbox may be of another history: it gets a new UIDVALIDITY [H3, H6].
    pub(super) fn renew(
        &mut self,
        id: MailboxId,
        mailboxes: &[Arc<OpenMailbox>],
        accounts: &[Arc<OpenAccount>],
    ) -> Result<Outcome, Error> {
        let (mailbox, account) =
            (find(mailboxes, id)?, accounts.first().ok_or(Error::NonExistent)?);
        if !mailbox.doubtful.load(Ordering::Acquire) {
            return Ok(Outcome::Done);
        }
        let state = self.account_state(account)?;
        let entry = state.mailboxes().find(|(_, entry)| entry.id == Some(id));
        let name = entry.map(|(name, _)| name.to_owned()).ok_or(Error::NonExistent)?;
        let (_, uid_validity) = next_mailbox(&state, self.commit.now)?;
        let mut delta = self.state(mailbox)?.next_delta(recent(mailbox))?;
        delta.uid_validity = Some(uid_validity);
        let step = self.step(mailbox, delta)?;
        self.note(step);
        self.note_account(account, &AccountDelta::Revalidate { name, uid_validity })?;
        self.commit.renewed.push(id.into());
        self.renewed.push(Arc::clone(mailbox));
        Ok(Outcome::Done)
    }

    /// Takes the account's whole state into the commit, in place of its deltas.
    pub(super) fn fold_account(&mut self, open: &Arc<OpenAccount>) -> Result<Outcome, Error> {
        let state = self.account_state(open)?;
        let (log, seq, removed) = (state.id.into(), state.seq, Vec::new());
        let pages = vec![(0, state.encode())];
        self.commit.folds.push(Fold { log, base: None, seq, pages, removed });
        Ok(Outcome::Done)
    }

    /// The mailbox ends: its log goes, its bodies lose their references, later changes find nothing.
    fn drop_mailbox(&mut self, open: &Arc<OpenMailbox>) -> Result<(), Error> {
        let state = self.state(open)?;
        self.commit.references.extend(all_bodies(&state));
        self.commit.appends.retain(|append| append.log != LogId::from(open.id));
        self.commit.folds.retain(|fold| fold.log != LogId::from(open.id));
        self.commit.dropped.push(open.id.into());
        let touched = super::Touched { open: Arc::clone(open), state, octets: 0, deleted: true };
        self.mailboxes.insert(open.id, touched);
        Ok(())
    }

    /// RENAME INBOX: the messages go to a new mailbox, INBOX stays empty [S-157].
    fn rename_inbox(
        &mut self,
        open: &Arc<OpenAccount>,
        state: &AccountState,
        to: String,
        mailboxes: &[Arc<OpenMailbox>],
    ) -> Result<Outcome, Error> {
        may_take(state, &to)?;
        let inbox = state.mailbox(INBOX).and_then(|entry| entry.id).ok_or(Error::NonExistent)?;
        let inbox = find(mailboxes, inbox).map_err(|_| RENAMED)?;
        let before = self.state(inbox)?;
        let all = before.tree.existing(&imap::set::UidSet::from_ranges([(1, u32::MAX)]));
        let (uids, arrivals) = before.arrivals_from(&all, Some(before.id.account));
        let leave = before.remove(recent(inbox), uids)?;
        let leave = leave.map(|delta| self.step(inbox, delta)).transpose()?;
        let (id, uid_validity) = new_mailbox(state, self.commit.now)?;
        let born = birth(uid_validity, &Acl::default());
        let new = MailboxState::unborn(id, before.keywords.limit()).advance(&born)?;
        let (arrive, _) = new.append(0, &arrivals, Hand::SERVER, self.commit.now)?;
        self.append_log(id.into(), 0, &born);
        if leave.is_some() {
            self.append_log(id.into(), born.mod_seq.value(), &arrive);
        }
        self.note_some(leave);
        let create = AccountDelta::Create {
            name: to,
            number: id.number,
            uid_validity,
            special_use: Vec::new(),
        };
        self.note_account(open, &create)?;
        Ok(Outcome::Created(id))
    }

    pub(super) fn account_state(
        &self,
        open: &Arc<OpenAccount>,
    ) -> Result<Arc<AccountState>, Error> {
        match self.accounts.get(&open.id()) {
            Some(touched) if touched.deleted => Err(Error::NonExistent),
            Some(touched) => Ok(Arc::clone(&touched.state)),
            None if open.published.is_gone() => Err(Error::NonExistent),
            None => Ok(open.published.state()),
        }
    }

    /// Takes the delta into the commit. Fails only for an account that is no more, which the caller has found
    /// to be there before it notes anything.
    fn note_account(&mut self, open: &Arc<OpenAccount>, delta: &AccountDelta) -> Result<(), Error> {
        let state = self.account_state(open)?;
        let seq = state.seq + 1;
        let next = Arc::new(state.advance(delta, seq));
        self.commit.appends.push(Append {
            log: state.id.into(),
            after: state.seq,
            seq,
            delta: delta.encode(),
            history: None,
        });
        let touched = TouchedAccount { open: Arc::clone(open), state: next, deleted: false };
        self.accounts.insert(state.id, touched);
        Ok(())
    }

    /// The account's row as the changes so far in this batch left it.
    fn row(&self, name: &str, engine: &dyn Engine) -> Result<Option<AccountRow>, Error> {
        match self.commit.accounts.iter().rev().find(|(other, _)| other == name) {
            Some((_, row)) => Ok(row.clone()),
            None => Ok(engine.account(name)?),
        }
    }

    pub(super) fn create_account(
        &mut self,
        name: String,
        row: AccountRow,
        engine: &dyn Engine,
    ) -> Result<Outcome, Error> {
        if self.row(&name, engine)?.is_some() {
            return Err(Error::AlreadyExists);
        }
        let id = MailboxId { account: row.id, number: 1 };
        let first = AccountDelta::first_uid_validity(self.commit.now);
        let begin = AccountDelta::begin(self.commit.now);
        let inbox = AccountDelta::Create {
            name: INBOX.to_owned(),
            number: id.number,
            uid_validity: first,
            special_use: Vec::new(),
        };
        for (after, delta) in [(0, begin), (1, inbox)] {
            let delta = delta.encode();
            self.commit.appends.push(Append {
                log: row.id.into(),
                after,
                seq: after + 1,
                delta,
                history: None,
            });
        }
        self.append_log(id.into(), 0, &birth(first, &Acl::default()));
        self.commit.accounts.push((name, Some(row)));
        Ok(Outcome::Done)
    }

    pub(super) fn update_account(
        &mut self,
        name: String,
        record: Vec<u8>,
        engine: &dyn Engine,
    ) -> Result<Outcome, Error> {
        let row = self.row(&name, engine)?.ok_or(Error::NonExistent)?;
        let row = AccountRow { id: row.id, version: row.version + 1, record };
        self.commit.accounts.push((name, Some(row)));
        Ok(Outcome::Done)
    }

    pub(super) fn delete_account(
        &mut self,
        name: String,
        id: AccountId,
        mailboxes: &[Arc<OpenMailbox>],
        asker: Asker<'_>,
    ) -> Result<Outcome, Error> {
        let (account, directory) = (asker.account(id)?, asker.account(AccountId::SHARED)?);
        let state = self.account_state(account)?;
        // Those that are left: one may have been deleted since they were looked up.
        let all = state.mailboxes().filter_map(|(_, entry)| entry.id);
        let all = all.map(|id| find(mailboxes, id).map_err(|_| RENAMED));
        let all = all.collect::<Result<Vec<_>, _>>()?;
        for open in all {
            self.drop_mailbox(open)?;
        }
        let touched = TouchedAccount { open: Arc::clone(account), state, deleted: true };
        self.accounts.insert(id, touched);
        self.usage.remove(&id);
        self.commit.accounts.push((name, None));
        if self.account_state(directory)?.directory.knows(id) {
            self.note_account(directory, &AccountDelta::Forget { account: id })?;
        }
        Ok(Outcome::Done)
    }
}

/// The names changed between looking them up and getting here; asking again helps.
pub(crate) const RENAMED: Error =
    Error::Limit("the mailbox was renamed at the same moment: try again");

/// The longest mailbox name in octets, and its greatest depth.
const NAME_BYTES_MAX: usize = 1024;
const DEPTH_MAX: usize = 64;

/// Whether a mailbox may be made under this name.
fn may_take(state: &AccountState, name: &str) -> Result<(), Error> {
    check_name(name)?;
    match state.mailbox(name) {
        Some(entry) if entry.id.is_some() => Err(Error::AlreadyExists),
        _ => Ok(()),
    }
}

/// Whether the name and its inferiors may go there: nothing that stays may be written over.
fn may_rename(state: &AccountState, from: &str, to: &str) -> Result<(), Error> {
    if state.mailbox(from).is_none() {
        return Err(Error::NonExistent);
    }
    let moved: Vec<&str> =
        std::iter::once(from).chain(state.inferiors(from).map(|(name, _)| name)).collect();
    for name in &moved {
        let target = format!("{to}{}", name.strip_prefix(from).unwrap_or_default());
        check_name(&target)?;
        if state.mailbox(&target).is_some() && !moved.contains(&target.as_str()) {
            return Err(Error::AlreadyExists);
        }
    }
    Ok(())
}

fn check_name(name: &str) -> Result<(), Error> {
    if name.len() > NAME_BYTES_MAX || name.matches(DELIMITER).count() >= DEPTH_MAX {
        return Err(Error::Cannot(
            "the mailbox name is too long or too deep: 1024 octets and 64 levels at most",
        ));
    }
    let empty_level = name.split(DELIMITER).any(str::is_empty);
    if empty_level || name.chars().any(char::is_control) {
        return Err(Error::Cannot("the mailbox name has an empty level or a control character"));
    }
    Ok(())
}

/// The numbers of one mailbox more, if the quota has room for it.
fn new_mailbox(state: &AccountState, now: i64) -> Result<(MailboxId, UidValidity), Error> {
    if state.quota.mailboxes.is_some_and(|limit| state.count() as u64 >= limit) {
        return Err(Error::OverQuota(
            "the account has as many mailboxes as it may have: delete one first",
        ));
    }
    next_mailbox(state, now)
}

/// UIDVALIDITY is never below the clock, so that one that was given out by a state that was lost does not come again.
fn next_mailbox(state: &AccountState, now: i64) -> Result<(MailboxId, UidValidity), Error> {
    let id = MailboxId { account: state.id, number: state.next_number };
    let clock = u32::try_from(now).unwrap_or(0);
    let uid_validity = UidValidity::new(state.next_uid_validity.max(clock));
    match (uid_validity, state.next_number.checked_add(1)) {
        (Some(uid_validity), Some(_)) => Ok((id, uid_validity)),
        _ => Err(Error::Limit("the account has used up its mailbox numbers")),
    }
}
