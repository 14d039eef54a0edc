//! Changes of accounts and of mailbox names, in the same batch as everything else.

use super::{TouchedAccount, Work, all_bodies, find, recent};
use crate::account::{AccountChange, AccountDelta, AccountState, DELIMITER, INBOX, SpecialUse};
use crate::apply::birth;
use crate::change::{Error, Outcome};
use crate::engine::{AccountId, AccountRow, Append, Engine, LogId, MailboxId};
use crate::mailbox::MailboxState;
use crate::open::{OpenAccount, OpenMailbox};
use imap::number::UidValidity;
use std::sync::Arc;

impl Work {
    pub(super) fn account_change(
        &mut self,
        id: AccountId,
        open: &Arc<OpenAccount>,
        change: AccountChange,
        mailboxes: &[Arc<OpenMailbox>],
    ) -> Result<Outcome, Error> {
        let state = self.account_state(id, open)?;
        match change {
            AccountChange::Create { name, special_use } => {
                self.create(open, &state, name, special_use).map(Outcome::Created)
            }
            AccountChange::Delete { name } => self.delete(open, &state, name, mailboxes),
            AccountChange::Rename { from, to } if from == INBOX => {
                self.rename_inbox(open, &state, to, mailboxes)
            }
            AccountChange::Rename { from, to } => {
                may_rename(&state, &from, &to)?;
                self.note_account(open, &state, &AccountDelta::Rename { from, to });
                Ok(Outcome::Done)
            }
            AccountChange::Subscribe { name } => {
                if !state.is_subscribed(&name) {
                    self.note_account(open, &state, &AccountDelta::Subscribe { name });
                }
                Ok(Outcome::Done)
            }
            AccountChange::Unsubscribe { name } => {
                if state.is_subscribed(&name) {
                    self.note_account(open, &state, &AccountDelta::Unsubscribe { name });
                }
                Ok(Outcome::Done)
            }
        }
    }

    fn create(
        &mut self,
        open: &Arc<OpenAccount>,
        state: &AccountState,
        name: String,
        special_use: Vec<SpecialUse>,
    ) -> Result<MailboxId, Error> {
        may_take(state, &name)?;
        let (id, uid_validity) = next_mailbox(state)?;
        let delta = birth(uid_validity);
        self.append_log(id.into(), 0, &delta);
        let create = AccountDelta::Create { name, number: id.number, uid_validity, special_use };
        self.note_account(open, state, &create);
        Ok(id)
    }

    fn delete(
        &mut self,
        open: &Arc<OpenAccount>,
        state: &AccountState,
        name: String,
        mailboxes: &[Arc<OpenMailbox>],
    ) -> Result<Outcome, Error> {
        if name == INBOX {
            return Err(Error::Cannot("INBOX cannot be deleted"));
        }
        let entry = state.mailbox(&name).ok_or(Error::NonExistent)?;
        let id = entry.id.ok_or(Error::HasChildren)?;
        self.drop_mailbox(find(mailboxes, id).map_err(|_| RENAMED)?)?;
        self.note_account(open, state, &AccountDelta::Delete { name });
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
        let (uids, arrivals) = before.arrivals_from(&all);
        let leave = before.remove(recent(inbox), uids)?;
        let leave = leave.map(|delta| self.step(inbox, delta)).transpose()?;
        let (id, uid_validity) = next_mailbox(state)?;
        let born = birth(uid_validity);
        let new = MailboxState::unborn(id, before.keywords.limit()).advance(&born)?;
        let (arrive, _) = new.append(0, &arrivals, self.commit.now)?;
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
        self.note_account(open, state, &create);
        Ok(Outcome::Created(id))
    }

    fn account_state(
        &self,
        id: AccountId,
        open: &Arc<OpenAccount>,
    ) -> Result<Arc<AccountState>, Error> {
        match self.accounts.get(&id) {
            Some(touched) if touched.deleted => Err(Error::NonExistent),
            Some(touched) => Ok(Arc::clone(&touched.state)),
            None if open.published.is_gone() => Err(Error::NonExistent),
            None => Ok(open.published.state()),
        }
    }

    fn note_account(
        &mut self,
        open: &Arc<OpenAccount>,
        state: &AccountState,
        delta: &AccountDelta,
    ) {
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
        uid_validity: u32,
        engine: &dyn Engine,
    ) -> Result<Outcome, Error> {
        if self.row(&name, engine)?.is_some() {
            return Err(Error::AlreadyExists);
        }
        let id = MailboxId { account: row.id, number: 1 };
        let first = UidValidity::new(uid_validity).unwrap_or(UidValidity::MIN);
        let begin = AccountDelta::Begin { uid_validity: first.value() };
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
        self.append_log(id.into(), 0, &birth(first));
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
        account: Option<&Arc<OpenAccount>>,
    ) -> Result<Outcome, Error> {
        let account = account.ok_or(Error::NonExistent)?;
        let state = self.account_state(id, account)?;
        let all: Vec<MailboxId> = state.mailboxes().filter_map(|(_, entry)| entry.id).collect();
        if !all.iter().all(|id| find(mailboxes, *id).is_ok()) {
            return Err(RENAMED);
        }
        for open in mailboxes {
            self.drop_mailbox(open)?;
        }
        let touched = TouchedAccount { open: Arc::clone(account), state, deleted: true };
        self.accounts.insert(id, touched);
        self.commit.accounts.push((name, None));
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

fn next_mailbox(state: &AccountState) -> Result<(MailboxId, UidValidity), Error> {
    let id = MailboxId { account: state.id, number: state.next_number };
    let uid_validity = UidValidity::new(state.next_uid_validity);
    match (uid_validity, state.next_number.checked_add(1)) {
        (Some(uid_validity), Some(_)) => Ok((id, uid_validity)),
        _ => Err(Error::Limit("the account has used up its mailbox numbers")),
    }
}
