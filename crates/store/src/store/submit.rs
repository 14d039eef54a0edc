//! From a change to a job in the queue: what it needs is brought into memory first.

use super::{Pending, Store};
use crate::account::AccountChange;
use crate::batch::{Job, RENAMED, Task};
use crate::change::{Change, Error, Outcome};
use crate::engine::{AccountId, MailboxId};
use crate::open::{OpenAccount, OpenMailbox};
use futures_channel::oneshot;
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl Store {
    /// Submits a change for delivery or administration: rights are not tested, nothing is private. See
    /// [`Store::submit_by`].
    pub fn submit(&self, change: Change) -> Pending {
        self.submit_job(change, None)
    }

    /// Submits a change on behalf of a user, whose rights are tested against the state that the change is
    /// applied to. Changes of mailboxes that are in memory are queued at once, in the order of the calls; others
    /// once they have been read.
    pub fn submit_by(&self, user: AccountId, change: Change) -> Pending {
        self.submit_job(change, Some(user))
    }

    fn submit_job(&self, change: Change, by: Option<AccountId>) -> Pending {
        let (reply, receive) = oneshot::channel();
        match self.in_memory(&change) {
            Some(needed) => self.queue(change, by, needed, reply),
            None => {
                let store = self.clone();
                self.inner.executor.run(Box::new(move || store.submit_closed(change, by, reply)));
            }
        }
        Pending { reply: receive }
    }

    /// What the change needs, or why it cannot be, if all of it is in memory.
    fn in_memory(&self, change: &Change) -> Option<Result<Needed, Error>> {
        let directory = Arc::clone(self.inner.directory.get()?);
        let mut ids = mailboxes_of(change);
        let owners = accounts_of(change, &ids);
        let owners = owners.into_iter().map(|id| self.inner.registry.account(id));
        let mut accounts = owners.collect::<Option<Vec<_>>>()?;
        match self.named(change, &accounts) {
            Ok(named) => ids.extend(named),
            Err(error) => return Some(Err(error)),
        }
        let known = |id: &MailboxId| {
            let open = self.inner.registry.mailbox(*id);
            open.filter(|open| !open.doubtful.load(Ordering::Acquire))
        };
        let mailboxes = ids.iter().map(known).collect::<Option<Vec<_>>>()?;
        accounts.push(directory);
        Some(Ok((mailboxes, accounts)))
    }

    /// The mailbox that a change of names touches, once the change is within what an account may have.
    fn named(
        &self,
        change: &Change,
        accounts: &[Arc<OpenAccount>],
    ) -> Result<Option<MailboxId>, Error> {
        let (Some(account), Change::Account { change, .. }) = (accounts.first(), change) else {
            return Ok(None);
        };
        let state = account.published.state();
        check_count(&state, change, self.inner.options.mailboxes_max)?;
        Ok(named_mailbox(&state, change))
    }

    fn queue(
        &self,
        change: Change,
        by: Option<AccountId>,
        needed: Result<Needed, Error>,
        reply: oneshot::Sender<Result<Outcome, Error>>,
    ) {
        match needed {
            Ok((mailboxes, accounts)) => {
                let task = Task::Change { change, by };
                self.inner.batcher.submit(Job { task, mailboxes, accounts, reply });
            }
            Err(error) => drop(reply.send(Err(error))),
        }
    }

    /// Reads what the change needs, then queues it. Blocks.
    fn submit_closed(
        &self,
        change: Change,
        by: Option<AccountId>,
        reply: oneshot::Sender<Result<Outcome, Error>>,
    ) {
        let needed = self.gather(&change);
        self.queue(change, by, needed, reply);
    }

    /// What the change needs, read where it is not in memory. Blocks.
    fn gather(&self, change: &Change) -> Result<Needed, Error> {
        let inner = &self.inner;
        let mut ids = mailboxes_of(change);
        let owners = accounts_of(change, &ids);
        let mut accounts = owners
            .into_iter()
            .map(|id| inner.registry.load_account(self.engine(), id))
            .collect::<Result<Vec<_>, _>>()?;
        ids.extend(self.named(change, &accounts)?);
        accounts.push(self.load_directory()?);
        let mailboxes =
            ids.iter().map(|id| self.load_mailbox(*id)).collect::<Result<Vec<_>, _>>()?;
        for open in mailboxes.iter().filter(|open| open.doubtful.load(Ordering::Acquire)) {
            // Queued before the change, so done before it.
            let account = inner.registry.load_account(self.engine(), open.id.account)?;
            let task = Task::Renew { mailbox: open.id };
            self.submit_task(task, vec![Arc::clone(open)], vec![account]);
        }
        Ok((mailboxes, accounts))
    }

    /// Changes an account for its own user or for the administrator.
    ///
    /// # Errors
    /// As the change's own rules say, see [`AccountChange`].
    pub async fn submit_account(
        &self,
        account: AccountId,
        change: AccountChange,
    ) -> Result<Outcome, Error> {
        self.change_account(account, change, None).await
    }

    /// Changes an account on behalf of a user, whose rights are tested.
    ///
    /// # Errors
    /// As [`Store::submit_account`], and [`Error::NoPermission`].
    pub async fn submit_account_by(
        &self,
        user: AccountId,
        account: AccountId,
        change: AccountChange,
    ) -> Result<Outcome, Error> {
        self.change_account(account, change, Some(user)).await
    }

    async fn change_account(
        &self,
        account: AccountId,
        change: AccountChange,
        by: Option<AccountId>,
    ) -> Result<Outcome, Error> {
        for _ in 0..10 {
            let change = Change::Account { account, change: change.clone() };
            match self.submit_job(change, by).await {
                Err(error) if error == RENAMED => {}
                done => {
                    self.fold_account_if_due(account);
                    self.fold_account_if_due(AccountId::SHARED);
                    return done;
                }
            }
        }
        Err(RENAMED)
    }
}

/// Everything in memory that a change needs.
type Needed = (Vec<Arc<OpenMailbox>>, Vec<Arc<OpenAccount>>);

/// The accounts that a change is about, or whose usage it changes; a change of an account names that one first.
fn accounts_of(change: &Change, mailboxes: &[MailboxId]) -> Vec<AccountId> {
    match change {
        Change::Account { account, .. } => vec![*account],
        Change::StoreFlags { .. } | Change::Configure { .. } => Vec::new(),
        Change::Append { .. }
        | Change::Post { .. }
        | Change::Expunge { .. }
        | Change::Transfer { .. } => {
            let mut owners: Vec<AccountId> = mailboxes.iter().map(|id| id.account).collect();
            owners.dedup();
            owners
        }
    }
}

/// The mailboxes that a change names by id.
fn mailboxes_of(change: &Change) -> Vec<MailboxId> {
    match change {
        Change::StoreFlags { mailbox, .. }
        | Change::Append { mailbox, .. }
        | Change::Post { mailbox, .. }
        | Change::Expunge { mailbox, .. }
        | Change::Configure { mailbox, .. } => vec![*mailbox],
        Change::Transfer { source, target, .. } if source == target => vec![*source],
        Change::Transfer { source, target, .. } => vec![*source, *target],
        Change::Account { .. } => Vec::new(),
    }
}

/// The mailbox whose messages a change of names touches.
fn named_mailbox(
    state: &crate::account::AccountState,
    change: &AccountChange,
) -> Option<MailboxId> {
    match change {
        AccountChange::Delete { name }
        | AccountChange::SetAcl { name, .. }
        | AccountChange::SetPrivateSeen { name, .. } => state.mailbox(name)?.id,
        AccountChange::Rename { from, .. } if from == crate::account::INBOX => {
            state.mailbox(from)?.id
        }
        _ => None,
    }
}

fn check_count(
    state: &crate::account::AccountState,
    change: &AccountChange,
    limit: usize,
) -> Result<(), Error> {
    let adds_one = match change {
        AccountChange::Create { .. } => true,
        AccountChange::Rename { from, .. } => from == crate::account::INBOX,
        _ => false,
    };
    if adds_one && state.count() >= limit {
        return Err(Error::Limit("the account has as many mailboxes as it may have"));
    }
    Ok(())
}
